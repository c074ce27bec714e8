//! A run of messages, shared by all snapshots in which nothing of it changed.

use std::{ops::Deref, sync::OnceLock};

use mailwright_mail_model::{Flag, FlagSet};

use super::Message;

/// Messages, sorted by UID, and what is known of all of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Block {
    messages: Vec<Message>,
    /// Found out when it is asked for first.
    about: OnceLock<About>,
}

/// What would take a look at every message.
#[derive(Clone, Debug)]
pub(super) struct About {
    /// All keywords of all of them.
    pub(super) keywords: FlagSet,
    /// Where the first is that has no `\Seen`.
    pub(super) first_unseen: Option<usize>,
}

impl Block {
    pub(super) fn of(message: Message) -> Self {
        Self { messages: vec![message], about: OnceLock::new() }
    }

    /// The messages, to be changed.
    pub(super) fn change(&mut self) -> &mut Vec<Message> {
        self.about = OnceLock::new();
        &mut self.messages
    }

    pub(super) fn about(&self) -> &About {
        self.about.get_or_init(|| {
            let mut keywords = FlagSet::new();
            for message in &self.messages {
                if !message.flags.keywords().is_empty() {
                    keywords.extend(message.flags.keywords().iter().cloned().map(Flag::Keyword));
                }
            }
            let first_unseen = self.messages.iter().position(|message| !message.flags.contains(&Flag::Seen));
            About { keywords, first_unseen }
        })
    }

    /// Whether no UID is missing between the first and the last.
    pub(super) fn is_dense(&self) -> bool {
        let (Some(first), Some(last)) = (self.messages.first(), self.messages.last()) else { return true };
        (last.uid.get() - first.uid.get()) as usize + 1 == self.messages.len()
    }
}

impl Deref for Block {
    type Target = [Message];

    fn deref(&self) -> &[Message] {
        &self.messages
    }
}

impl PartialEq for Block {
    fn eq(&self, other: &Self) -> bool {
        self.messages == other.messages
    }
}

impl Eq for Block {}
