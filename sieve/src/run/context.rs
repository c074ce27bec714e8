//! What the code of commands and tests works with.

use std::{any::Any, borrow::Cow, collections::BTreeMap, sync::Arc};

use regex_automata::meta;

use super::{reading::Current, strings::truncate, watch::Watch};
use crate::{
    Action, Answer, Delivery, Ended, Input, Limits, LogLine, Outcome, Position, Program, Request,
    RuntimeError, Seen, TraceLine,
};

/// The state of a run, as the code of commands and tests sees it.
///
/// Code asks the host with [`ask`](Self::ask), and must ask before it changes anything: when the answer is there it is called anew, and
/// `ask` with the same request gives the answer.
#[derive(Debug)]
pub struct Context {
    input: Input,
    limits: Limits,
    answers: Vec<(Request, Answer)>,
    progress: Vec<Box<dyn Any + Send>>,
    pub(crate) position: Position,
    pub(crate) depth: usize,
    /// The message as it is now.
    pub(crate) current: Current,
    pub(crate) locals: Vec<String>,
    pub(crate) globals: BTreeMap<Arc<str>, String>,
    pub(crate) captures: Vec<String>,
    captures_on: bool,
    /// RFC 5232 §2: the internal variable.
    pub(crate) flags: Vec<String>,
    pub(crate) loops: Vec<PartLoop>,
    pub(crate) actions: Vec<Action>,
    /// How many actions are those of scripts that have ended.
    pub(crate) committed: usize,
    /// Where each of these ended.
    ended: Vec<Ended>,
    /// The flags that a `keep` of these named, and the internal variable as it was at the end of its script.
    pub(super) kept_with: Option<(Vec<String>, Vec<String>)>,
    pub(crate) implicit_keep: bool,
    pub(crate) explicit_keep: bool,
    /// Whether nothing but `pipe` has cancelled the implicit keep.
    pub(super) only_piped: bool,
    pub(super) unless_piped: Option<Delivery>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) once: Vec<(bool, String)>,
    pub(crate) added_headers: usize,
    pub(crate) caught: Option<RuntimeError>,
    log: Vec<LogLine>,
    trace: Vec<TraceLine>,
    /// Which script this is of those that run one after another, and the name of the included one in it.
    script: usize,
    pub(super) included: Option<Arc<str>>,
    spent: u64,
    pub(super) watch: Watch,
    /// The octets that were put together for the instruction that is being carried out.
    pub(super) expanded: usize,
    /// Those of them that are kept to the end of the run: in actions, and in the header.
    held: usize,
    /// What the search for a regular expression needs, for the next.
    pub(crate) scratch: Option<Box<meta::Cache>>,
}

/// Where a `foreverypart` is.
#[derive(Debug, Clone)]
pub(crate) struct PartLoop {
    /// The part whose parts these are.
    pub(crate) root: usize,
    /// The part it is at.
    pub(crate) part: usize,
}

/// How it goes on behind a command.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Flow {
    /// With the next one.
    Next,
    /// Not at all: the whole run ends.
    Stop,
    /// Behind the `include` that led here; in the first script like [`Stop`](Self::Stop).
    Return,
    /// Behind the innermost block of the command of this name, and with this `:name` if one is given.
    Leave(Cow<'static, str>, Option<String>),
    /// In this script, which has this name, and then with the next one.
    Run(Arc<Program>, String),
}

/// Why code cannot go on now.
#[derive(Debug, Clone)]
pub struct Stop(pub(crate) StopKind);

#[derive(Debug, Clone)]
pub(crate) enum StopKind {
    Need(Box<Request>),
    Error(String),
}

impl Stop {
    /// The script ends with an error, and the message is kept (RFC 5228 §2.10.6).
    pub fn error(message: impl Into<String>) -> Self {
        Self(StopKind::Error(message.into()))
    }
}

impl Context {
    pub(crate) fn new(input: Input, limits: Limits) -> Self {
        Self {
            current: Current::new(&input.structure),
            input,
            limits,
            answers: Vec::new(),
            progress: Vec::new(),
            position: Position::default(),
            depth: 0,
            locals: Vec::new(),
            globals: BTreeMap::new(),
            captures: Vec::new(),
            captures_on: false,
            flags: Vec::new(),
            loops: Vec::new(),
            actions: Vec::new(),
            committed: 0,
            ended: Vec::new(),
            kept_with: None,
            implicit_keep: true,
            explicit_keep: false,
            only_piped: false,
            unless_piped: None,
            seen: Vec::new(),
            once: Vec::new(),
            added_headers: 0,
            caught: None,
            log: Vec::new(),
            trace: Vec::new(),
            script: 0,
            included: None,
            spent: 0,
            watch: Watch::default(),
            expanded: 0,
            held: 0,
            scratch: None,
        }
    }

    /// What the run was told at its start.
    pub const fn input(&self) -> &Input {
        &self.input
    }

    pub(crate) fn set_input(&mut self, input: Input) {
        self.input = input;
    }

    /// Variables hold so many octets at most from now on.
    pub(crate) const fn limit_variables(&mut self, octets: usize) {
        self.limits.variable = octets;
    }

    /// The bounds of the run.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The host's answer to a question.
    ///
    /// # Errors
    /// If the host has to be asked first: give the error back, and be called anew. Also if the host has failed.
    pub fn ask(&mut self, request: Request) -> Result<Answer, Stop> {
        match self.answers.iter().find(|(asked, _)| *asked == request) {
            Some((_, Answer::Failed(message))) => Err(Stop::error(message.clone())),
            Some((_, answer)) => Ok(answer.clone()),
            None => Err(Stop(StopKind::Need(Box::new(request)))),
        }
    }

    /// The host's answer to a question that wants a text.
    ///
    /// # Errors
    /// As [`ask`](Self::ask); and if the answer is no text.
    pub fn ask_text(&mut self, request: Request) -> Result<Option<String>, Stop> {
        match self.ask(request)? {
            Answer::Text(text) => Ok(text),
            other => Err(Stop::error(format!("the host answered {other:?} where a text was asked"))),
        }
    }

    /// Remembers how far the code of this command or test has come, so that it need not begin anew: [`progress`](Self::progress) gives
    /// it back. There is one for each type.
    pub fn save<T: Any + Send>(&mut self, progress: T) {
        self.progress.retain(|other| !other.is::<T>());
        self.progress.push(Box::new(progress));
    }

    /// Drops the answers this command or test has had so far: what they led to is in what it will [save](Self::save).
    pub fn forget(&mut self) {
        self.answers.clear();
    }

    /// Takes what was [saved](Self::save) last by the command or test that is being carried out.
    pub fn progress<T: Any + Send>(&mut self) -> Option<T> {
        let at = self.progress.iter().position(|saved| saved.is::<T>())?;
        self.progress.swap_remove(at).downcast().ok().map(|progress| *progress)
    }

    /// Spends an instruction and one more for each KiB of `octets`.
    ///
    /// # Errors
    /// If there are none left, or the host says that it takes too long ([`Run::until`](crate::Run::until)).
    pub fn charge(&mut self, octets: usize) -> Result<(), Stop> {
        self.spend(1 + (octets as u64 >> 10))
    }

    /// Spends so many instructions.
    ///
    /// # Errors
    /// As [`charge`](Self::charge).
    pub(crate) fn spend(&mut self, steps: u64) -> Result<(), Stop> {
        self.spent = self.spent.saturating_add(steps);
        if self.spent > self.limits.instructions {
            return Err(Stop::error(format!(
                "the script takes more than {} steps",
                self.limits.instructions
            )));
        }
        match self.watch.is_over(self.spent) {
            true => Err(Stop::error(TOO_LONG)),
            false => Ok(()),
        }
    }

    /// A pause within what takes long, however few instructions it is.
    ///
    /// # Errors
    /// If the host says that it takes too long.
    pub(crate) fn pause(&mut self) -> Result<(), Stop> {
        match self.watch.ask(self.spent) {
            true => Err(Stop::error(TOO_LONG)),
            false => Ok(()),
        }
    }

    /// What has been put together for this instruction is kept to the end of the run.
    ///
    /// # Errors
    /// If that is more than [`Limits::memory`], all of the run together.
    pub(crate) fn hold(&mut self) -> Result<(), Stop> {
        self.held = self.held.saturating_add(std::mem::take(&mut self.expanded));
        let most = self.limits.memory;
        match self.held > most {
            true => Err(Stop::error(format!("the actions hold more than {most} octets"))),
            false => Ok(()),
        }
    }

    /// Sets the internal variable of flags (RFC 5232 §2), which holds no more than others do: what is too much is left out.
    pub(crate) fn set_flags(&mut self, mut flags: Vec<String>) {
        let mut left = self.limits.variable;
        flags.retain(|flag| match left.checked_sub(flag.len() + 1) {
            Some(less) => {
                left = less;
                true
            }
            None => false,
        });
        self.flags = flags;
    }

    /// Tells the user something.
    pub fn log(&mut self, message: impl Into<String>) {
        if self.log.len() < self.limits.log {
            let mut message = message.into();
            truncate(&mut message, self.limits.variable);
            self.log.push(LogLine { position: self.position, message });
        }
    }

    /// The error that a block which [catches](crate::Definition::catching) errors is being left by.
    pub const fn caught(&self) -> Option<&RuntimeError> {
        self.caught.as_ref()
    }

    pub(crate) const fn tracing(&self) -> bool {
        self.input.trace
    }

    pub(crate) fn trace(&mut self, position: Position, text: String) {
        if self.trace.len() < TRACE {
            let (script, included) = (self.script, self.included.clone());
            self.trace.push(TraceLine { script, included, position, depth: self.depth, text });
        }
    }

    pub(crate) const fn captures_on(&mut self, on: bool) {
        self.captures_on = on;
    }

    pub(crate) const fn captures_wanted(&self) -> bool {
        self.captures_on
    }

    /// RFC 5229 §3.2: what the last match has matched.
    pub(crate) fn set_captures(&mut self, mut captures: Vec<String>) {
        if self.captures_on {
            captures.truncate(self.limits.match_values);
            // RFC 5229 §6: they are as long as other variables at most.
            for capture in &mut captures {
                truncate(capture, self.limits.variable);
                capture.shrink_to_fit();
            }
            self.captures = captures;
        }
    }

    pub(super) fn answered(&mut self, request: Request, answer: Answer) {
        self.answers.push((request, answer));
    }

    pub(super) fn instruction_done(&mut self) {
        if !self.answers.is_empty() {
            self.answers.clear();
        }
        self.progress.clear();
    }

    /// The first script, or one after another, begins.
    pub(super) fn begin(&mut self, program: &Program) {
        self.locals = vec![String::new(); program.variables];
        self.globals.clear();
        self.captures.clear();
        // What scripts do to the message and its flags the next one goes on with, as in Pigeonhole.
        if self.script == 0 {
            self.flags.clone_from(&self.input.flags);
        }
        self.loops.clear();
        self.implicit_keep = true;
        self.explicit_keep = false;
        self.only_piped = false;
    }

    /// An included script begins; gives the variables of the one that includes it.
    pub(super) fn enter(&mut self, program: &Program) -> Vec<String> {
        std::mem::replace(&mut self.locals, vec![String::new(); program.variables])
    }

    /// What a script that has ended did is done.
    pub(super) fn commit(&mut self) {
        self.script += 1;
        let kept = self.actions.iter().skip(self.committed).find_map(|action| match action {
            Action::Keep(keep) => keep.flags.clone(),
            _ => None,
        });
        // What it shares with the internal variable, that holds anyway.
        if let Some(kept) = kept {
            self.kept_with = (kept != self.flags).then(|| (kept, self.flags.clone()));
        }
        self.actions.retain(|action| !matches!(action, Action::Keep(_)));
        self.committed = self.actions.len();
        let (actions, seen, flags) = (self.committed, self.seen.len(), self.implicit_flags());
        self.ended.push(Ended { actions, seen, flags });
    }

    pub(super) fn outcome(&mut self) -> Outcome {
        Outcome {
            actions: std::mem::take(&mut self.actions),
            implicit_keep: self.implicit_keep,
            unless_piped: self.unless_piped.take(),
            ended: std::mem::take(&mut self.ended),
            error: None,
            log: std::mem::take(&mut self.log),
            seen: std::mem::take(&mut self.seen),
            trace: std::mem::take(&mut self.trace),
        }
    }
}

const TOO_LONG: &str = "the script takes too long";

/// The most lines of a trace.
const TRACE: usize = 10_000;
