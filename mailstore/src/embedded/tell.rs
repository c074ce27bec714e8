//! Telling whoever follows a user's feed what a group changed.

use super::committer::Group;
#[cfg(feature = "fulltext")]
use super::live::{Change, ChangeKind};
use super::{arrange, row};
use crate::{FeedEvent, User};

impl Group<'_> {
    /// What is to be told of the group to those who follow a feed, if anybody does.
    pub(super) fn news(&mut self) -> Vec<(Box<[u8]>, FeedEvent)> {
        let mut news = std::mem::take(&mut self.events);
        if !self.core.feeds.is_followed() {
            return Vec::new();
        }
        let replaced = self.replaced.iter().map(|(key, staged)| (key, staged));
        for (key, staged) in self.mailboxes.iter().chain(replaced).filter(|(_, staged)| staged.dirty) {
            let user = row::user_of(key);
            if staged.new || staged.header.is_none() {
                news.push((user.into(), FeedEvent::Mailboxes));
            }
            let prefix = [user, b"\0"].concat();
            if !staged.changes.is_empty()
                && let Ok(name) = arrange::name_of(&prefix, key)
            {
                news.push((user.into(), FeedEvent::Messages(name)));
            }
        }
        news
    }

    /// Tells it, once everybody who looks sees what the group did: who is told before would look too early, and not again.
    pub(super) fn tell(&self, news: Vec<(Box<[u8]>, FeedEvent)>) {
        if self.warned {
            self.core.warned.raise();
        }
        for (user, event) in news {
            self.core.feeds.tell(&user, event);
        }
    }

    /// The users to whom messages came or from whom they went.
    #[cfg(feature = "fulltext")]
    pub(super) fn moved(&self) -> Vec<Box<[u8]>> {
        if self.core.fulltext.is_none() {
            return Vec::new();
        }
        let replaced = self.replaced.iter().map(|(key, staged)| (key, staged));
        let changed = self.mailboxes.iter().chain(replaced).filter(|(_, staged)| staged.dirty);
        let moves = |change: &Change| !matches!(change.kind, ChangeKind::Flags(_));
        changed
            .filter(|(_, staged)| staged.header.is_none() || staged.changes.iter().any(moves))
            .map(|(key, _)| row::user_of(key).into())
            .collect()
    }

    /// Tells it, once it can be seen.
    #[cfg(feature = "fulltext")]
    pub(super) fn tell_moved(&self, users: &[Box<[u8]>]) {
        if let Some(texts) = &self.core.fulltext {
            users.iter().for_each(|user| texts.tell(user));
        }
    }

    /// Notes that the subscriptions of a user change.
    pub(super) fn subscriptions_change(&mut self, user: &User) {
        self.events.push((user.as_str().as_bytes().into(), FeedEvent::Subscriptions));
    }
}
