//! A run of messages, shared by all snapshots in which nothing of it changed.

use std::ops::Deref;
use std::sync::{Mutex, OnceLock};

use mailwright_mail_model::{Flag, FlagSet, Uid};

use super::Message;
use super::run::{self, Outline};
use crate::signal::lock;

/// Messages, sorted by UID, and what is known of all of them.
#[derive(Debug)]
pub(super) struct Block {
    /// Those of `encoded` once somebody looks at one of them.
    messages: OnceLock<Vec<Message>>,
    /// [Octets](run), until then: only one of the two takes memory.
    encoded: Mutex<Option<Box<[u8]>>>,
    /// Of `encoded`: the first and the last UID, and how many there are.
    extent: Option<(Uid, Uid, usize)>,
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
        Self::from(vec![message])
    }

    /// The messages of a run that was written by [`run::encode`], which made sure that they come back.
    pub(super) fn encoded(outline: &Outline, run: &[u8]) -> Self {
        let keywords = outline.sets.iter().fold(FlagSet::new(), |all, set| all.union(set));
        Self {
            messages: OnceLock::new(),
            encoded: Mutex::new(Some(run.into())),
            extent: Some((outline.first, outline.last, outline.messages as usize)),
            about: OnceLock::from(About { keywords, first_unseen: outline.first_unseen }),
        }
    }

    fn messages(&self) -> &Vec<Message> {
        self.messages.get_or_init(|| {
            let encoded = lock(&self.encoded).take();
            encoded.and_then(|encoded| run::decode(&encoded)).unwrap_or_default()
        })
    }

    /// Changes the messages.
    pub(super) fn change<T>(&mut self, work: impl FnOnce(&mut Vec<Message>) -> T) -> T {
        self.messages();
        let mut messages = self.messages.take().unwrap_or_default();
        let done = work(&mut messages);
        *self = Self::from(messages);
        done
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.extent.map_or_else(|| self.messages().len(), |(_, _, length)| length)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The UIDs of the first and the last.
    pub(super) fn ends(&self) -> Option<(Uid, Uid)> {
        let looked = || self.messages().first().zip(self.messages().last());
        let extent = self.extent.map(|(first, last, _)| (first, last));
        extent.or_else(|| looked().map(|(first, last)| (first.uid, last.uid)))
    }

    pub(super) fn about(&self) -> &About {
        self.about.get_or_init(|| {
            let mut keywords = FlagSet::new();
            for message in self.messages() {
                if !message.flags.keywords().is_empty() {
                    keywords.extend(message.flags.keywords().iter().cloned().map(Flag::Keyword));
                }
            }
            let first_unseen = self.iter().position(|message| !message.flags.contains(&Flag::Seen));
            About { keywords, first_unseen }
        })
    }

    /// The UIDs, if none is missing between the first and the last.
    pub(super) fn dense(&self) -> Option<(Uid, Uid)> {
        self.ends().filter(|(first, last)| (last.get() - first.get()) as usize + 1 == self.len())
    }
}

impl From<Vec<Message>> for Block {
    fn from(messages: Vec<Message>) -> Self {
        Self {
            messages: OnceLock::from(messages),
            encoded: Mutex::new(None),
            extent: None,
            about: OnceLock::new(),
        }
    }
}

/// A copy is made to be changed.
impl Clone for Block {
    fn clone(&self) -> Self {
        Self::from(self.messages().clone())
    }
}

impl Deref for Block {
    type Target = [Message];

    fn deref(&self) -> &[Message] {
        self.messages()
    }
}
