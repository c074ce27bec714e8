//! What the server says by itself, as much of it as is kept.

use std::collections::VecDeque;

use mailwright_imap_proto::{
    client::Event,
    response::{Fetched, FetchedItem},
};
use mailwright_line_proto::{Closed, PeerMisbehaved, Shutdown};

use super::ImapClient;
use crate::client::ClientError;

/// How many unasked events are kept, and how many octets of them.
const EVENTS: usize = 4096;
const OCTETS: usize = 16 << 20;

/// Unasked events, the oldest first, each with the octets that it holds.
#[derive(Debug, Default)]
pub(super) struct News {
    events: VecDeque<(Event, usize)>,
    octets: usize,
}

impl News {
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.events.iter().map(|(event, _)| event)
    }

    fn pop(&mut self) -> Option<Event> {
        let (event, octets) = self.events.pop_front()?;
        self.octets -= octets;
        Some(event)
    }

    fn push(&mut self, event: Event, octets: usize) {
        self.events.push_back((event, octets));
        self.octets += octets;
        while self.events.len() > EVENTS || self.octets > OCTETS {
            self.pop();
        }
    }

    /// Takes the first of these.
    pub(super) fn take_first(&mut self, wanted: impl Fn(&Event) -> bool) -> Option<Event> {
        let at = self.iter().position(wanted)?;
        let (event, octets) = self.events.remove(at)?;
        self.octets -= octets;
        Some(event)
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Event) -> bool) {
        self.events.retain(|(event, _)| keep(event));
        self.octets = self.events.iter().map(|(_, octets)| octets).sum();
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// How many octets an event about holds, whose response had so many: a short item may take more room here than it had on the wire.
fn held(event: &Event, response: usize) -> usize {
    let more = match event {
        Event::Fetched { fetched, .. } => held_by(fetched),
        _ => 0,
    };
    size_of::<Event>() + 2 * response + more
}

fn held_by(fetched: &Fetched) -> usize {
    /// A keyword with its place in a set.
    const KEYWORD: usize = 64;
    let keywords = |item: &FetchedItem| match item {
        FetchedItem::Flags(list) => list.flags.keywords().len() * KEYWORD,
        _ => 0,
    };
    fetched.items.iter().map(|item| size_of::<FetchedItem>() + keywords(item)).sum()
}

impl ImapClient {
    /// The oldest of what the server said by itself: changes of the mailbox, notices, alerts.
    pub fn news(&mut self) -> Option<Event> {
        self.news.pop()
    }

    /// Keeps what was not asked for.
    pub(super) fn note(&mut self, event: Event) {
        if matches!(event, Event::FetchBody { .. } | Event::Body(_) | Event::BodyEnd) {
            return;
        }
        self.count.note(&event);
        let octets = self.held(&event);
        self.news.push(event, octets);
    }

    /// How many octets the last event holds, about.
    pub(super) fn held(&mut self, event: &Event) -> usize {
        held(event, self.link.machine().response_length())
    }

    /// What the server has last said of how many messages are in the mailbox, if that is among the news.
    pub(crate) fn told_exists(&self) -> Option<u32> {
        self.news.iter().rev().find_map(|event| match event {
            Event::Exists(messages) => Some(*messages),
            _ => None,
        })
    }

    /// The server says more than anybody could want: the connection ends.
    pub(super) fn too_long(&mut self, what: &'static str, limit: u64) -> ClientError {
        self.link.machine().shutdown(Shutdown::Kicked);
        ClientError::Closed(Closed::Misbehaved(PeerMisbehaved::TooLongAnswer { what, limit }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_have_two_bounds() {
        let mut news = News::default();
        for number in 0..5000 {
            news.push(Event::Exists(number), 10);
        }
        assert_eq!(
            (news.events.len(), news.octets, news.pop()),
            (EVENTS, EVENTS * 10, Some(Event::Exists(904)))
        );
        news.push(Event::Recent(1), OCTETS - 20);
        assert_eq!((news.events.len(), news.octets), (3, OCTETS));
        assert_eq!(news.take_first(|event| matches!(event, Event::Recent(_))), Some(Event::Recent(1)));
        assert_eq!(news.octets, 20);
        news.push(Event::Recent(2), OCTETS + 1);
        assert_eq!((news.events.len(), news.octets), (0, 0));
        news.push(Event::Recent(3), 5);
        news.push(Event::Exists(3), 6);
        news.retain(|event| matches!(event, Event::Exists(_)));
        assert_eq!((news.octets, news.iter().count()), (6, 1));
        news.clear();
        assert_eq!((news.octets, news.pop()), (0, None));
    }
}
