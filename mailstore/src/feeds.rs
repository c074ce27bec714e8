//! The feeds of all users, in memory: what both back ends of this crate tell by [`Feed`](crate::Feed).

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::signal::{Signal, lock};
use crate::{FeedEvent, FeedPosition, News};

/// How many events a user's feed remembers, and of how many users there is a feed.
const REMEMBERED: usize = 1_024;
const USERS: usize = 16_384;

/// Of whom nobody asked for the position, nothing is kept.
#[derive(Default)]
pub(crate) struct Feeds {
    users: Mutex<HashMap<Box<[u8]>, Arc<UserFeed>>>,
    /// Of the last event, over all users, so that a feed that was forgotten is noticed.
    number: AtomicU64,
}

#[derive(Default)]
struct UserFeed {
    log: Mutex<Log>,
    told: Signal,
}

#[derive(Default)]
struct Log {
    /// The number up to which nothing is remembered, and that of the last event.
    since: u64,
    last: u64,
    events: VecDeque<(u64, FeedEvent)>,
}

impl Feeds {
    /// Where the feed of a user is; from now on it is kept.
    pub(crate) fn position(&self, user: &[u8]) -> FeedPosition {
        FeedPosition::new(lock(&self.feed(user).log).last)
    }

    fn feed(&self, user: &[u8]) -> Arc<UserFeed> {
        let mut users = lock(&self.users);
        if let Some(feed) = users.get(user) {
            return Arc::clone(feed);
        }
        if users.len() >= USERS {
            users.retain(|_, feed| Arc::strong_count(feed) > 1);
        }
        let number = self.number.load(Ordering::Relaxed);
        let log = Log { since: number, last: number, events: VecDeque::new() };
        let feed = Arc::new(UserFeed { log: Mutex::new(log), told: Signal::default() });
        users.insert(user.into(), Arc::clone(&feed));
        feed
    }

    /// Whether somebody follows any feed.
    #[cfg(any(test, feature = "embedded"))]
    pub(crate) fn is_followed(&self) -> bool {
        !lock(&self.users).is_empty()
    }

    /// Tells of something.
    pub(crate) fn tell(&self, user: &[u8], event: FeedEvent) {
        let Some(feed) = lock(&self.users).get(user).cloned() else { return };
        {
            let mut log = lock(&feed.log);
            log.last = self.number.fetch_add(1, Ordering::Relaxed) + 1;
            // Told again, so that the earlier one can go: as many events as there are things.
            if let Some(place) = log.events.iter().rev().take(16).position(|(_, told)| *told == event) {
                let place = log.events.len() - 1 - place;
                log.events.remove(place);
            }
            let entry = (log.last, event);
            log.events.push_back(entry);
            if log.events.len() > REMEMBERED
                && let Some((number, _)) = log.events.pop_front()
            {
                log.since = number;
            }
        }
        feed.told.raise();
    }

    /// Waits for something after `since`.
    pub(crate) async fn after(&self, user: &[u8], since: FeedPosition) -> News {
        let feed = self.feed(user);
        loop {
            // Counted before looking, so that what is told after the look is not slept through.
            let raised = feed.told.raised();
            {
                let log = lock(&feed.log);
                let position = FeedPosition::new(log.last);
                if since.get() < log.since || since > position {
                    return News::new(position, vec![FeedEvent::Anything]);
                }
                let mut events: Vec<FeedEvent> = Vec::new();
                for (_, event) in log.events.iter().filter(|(number, _)| *number > since.get()) {
                    if !events.contains(event) {
                        events.push(event.clone());
                    }
                }
                if !events.is_empty() {
                    return News::new(position, events);
                }
            }
            feed.told.wait(raised).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block_on;

    #[test]
    fn too_much_at_once_is_told_as_anything() {
        let feeds = Feeds::default();
        assert!(!feeds.is_followed());
        let start = feeds.position(b"alice");
        feeds.tell(b"bob", FeedEvent::Mailboxes);
        for number in 0..2_000 {
            let name = mailwright_mail_model::MailboxName::new(&format!("m{number}")).unwrap();
            feeds.tell(b"alice", FeedEvent::Messages(name));
        }
        let news = block_on(feeds.after(b"alice", start));
        assert_eq!(news.events, [FeedEvent::Anything]);
        feeds.tell(b"alice", FeedEvent::Mailboxes);
        feeds.tell(b"alice", FeedEvent::Subscriptions);
        feeds.tell(b"alice", FeedEvent::Mailboxes);
        let news = block_on(feeds.after(b"alice", news.position));
        assert_eq!(news.events, [FeedEvent::Subscriptions, FeedEvent::Mailboxes]);
    }
}
