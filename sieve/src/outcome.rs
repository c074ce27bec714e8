//! How a run ended.

use std::{fmt, sync::Arc};

use crate::{Action, Delivery, Message, Position};

/// What is to be done, and what there is to say about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// What is to be done, in order. Empty if the message is to be discarded.
    pub actions: Vec<Action>,
    /// Whether the message is kept because nothing in the script kept it from that.
    pub implicit_keep: bool,
    /// How the message is kept if none of its [`Action::Pipe`]s without `:copy` succeeds: where nothing but these kept it from being
    /// kept.
    pub unless_piped: Option<Delivery>,
    /// Where each script ended that another one followed, in order.
    pub ended: Vec<Ended>,
    /// What went wrong. The script's actions are then not done, and the message is kept (RFC 5228 §2.10.6).
    pub error: Option<RuntimeError>,
    /// What the user should be told: `debug_log`, and why things were not done.
    pub log: Vec<LogLine>,
    /// What is to be remembered once the actions have been done (RFC 7352 §3).
    pub seen: Vec<Seen>,
    /// The steps, if [`Input::trace`](crate::Input::trace) is set.
    pub trace: Vec<TraceLine>,
}

impl Outcome {
    /// Undoes what the script wants that the action at this index is of, and what those behind it want: something of it failed that must
    /// not. What scripts before it want stays done, and the message, of so many octets, is kept as it came (RFC 5228 §2.10.6).
    pub fn undo(&mut self, action: usize, octets: u64) {
        while self.ended.last().is_some_and(|ended| ended.actions > action) {
            self.ended.pop();
        }
        let Ended { actions, seen, flags } = self.ended.last().cloned().unwrap_or_default();
        self.actions.truncate(actions);
        self.seen.truncate(seen);
        self.actions.push(Action::Keep(Delivery {
            flags,
            message: Message::original(octets),
            ..Delivery::default()
        }));
        self.implicit_keep = true;
        self.unless_piped = None;
    }

    /// Goes on with the actions alone that `keep` says yes to.
    pub fn retain(&mut self, keep: impl FnMut(&Action) -> bool) {
        let stays: Vec<bool> = self.actions.iter().map(keep).collect();
        for ended in &mut self.ended {
            ended.actions = stays.iter().take(ended.actions).filter(|stays| **stays).count();
        }
        let mut stays = stays.into_iter();
        self.actions.retain(|_| stays.next().unwrap_or(true));
    }
}

/// The end of a script that is followed by another one: what it and those before it want is done whatever becomes of later ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// How many actions there were, from the first.
    pub actions: usize,
    /// How many identifiers to remember.
    pub seen: usize,
    /// The flags that the message would have been kept with; `None` if nothing was said of them.
    pub flags: Option<Vec<String>>,
}

/// An identifier of `duplicate` to remember.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen {
    /// What identifies the message.
    pub key: String,
    /// For how many seconds.
    pub seconds: u64,
    /// Whether it was remembered before, and is to be for longer now (`:last`).
    pub known: bool,
}

/// Why a script could not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub struct RuntimeError {
    /// The included script it happened in; `None` for the one that was run.
    pub script: Option<String>,
    /// Where.
    pub position: Position,
    /// Why, for the author of the script.
    pub message: String,
}

impl fmt::Display for RuntimeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(script) = &self.script {
            write!(formatter, "script `{script}`, ")?;
        }
        let Position { line, column } = self.position;
        write!(formatter, "line {line}, column {column}: {}", self.message)
    }
}

/// A line for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogLine {
    /// Where in the script.
    pub position: Position,
    /// What.
    pub message: String,
}

/// A step of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceLine {
    /// In which of the scripts that run one after another ([`Run::then`](crate::Run::then)), from 0.
    pub script: usize,
    /// The name of the included script it is in.
    pub included: Option<Arc<str>>,
    /// Where in the script.
    pub position: Position,
    /// How deep in included scripts.
    pub depth: usize,
    /// What was done there, and with what result.
    pub text: String,
}

impl fmt::Display for TraceLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:1$}{2:4}: {3}", "", self.depth * 2, self.position.line, self.text)
    }
}
