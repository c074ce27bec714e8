//! Telling whoever follows a user's feed what a group changed.

use super::committer::Group;
use super::{arrange, row};
use crate::{FeedEvent, User};

impl Group<'_> {
    /// Tells of everything in the group, which is committed.
    pub(super) fn tell(&mut self) {
        let core = self.core;
        if self.warned {
            core.warned.raise();
        }
        let events = std::mem::take(&mut self.events);
        if !core.feeds.is_followed() {
            return;
        }
        for (user, event) in events {
            core.feeds.tell(&user, event);
        }
        let replaced = self.replaced.iter().map(|(key, staged)| (key, staged));
        for (key, staged) in self.mailboxes.iter().chain(replaced).filter(|(_, staged)| staged.dirty) {
            let user = row::user_of(key);
            if staged.new || staged.header.is_none() {
                core.feeds.tell(user, FeedEvent::Mailboxes);
            }
            let prefix = [user, b"\0"].concat();
            if !staged.changes.is_empty()
                && let Ok(name) = arrange::name_of(&prefix, key)
            {
                core.feeds.tell(user, FeedEvent::Messages(name));
            }
        }
    }

    /// Notes that the subscriptions of a user change.
    pub(super) fn subscriptions_change(&mut self, user: &User) {
        self.events.push((user.as_str().as_bytes().into(), FeedEvent::Subscriptions));
    }
}
