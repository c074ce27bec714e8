//! An open maildrop and what is marked deleted in it.

use std::num::NonZeroU32;

use crate::{Expire, Maildrop, Message, Totals, maildrop::Marks};

/// The TRANSACTION state's knowledge (RFC 1939 §5).
#[derive(Debug)]
pub(super) struct Session {
    maildrop: Maildrop,
    deleted: Marks,
    /// What was retrieved to its end.
    retrieved: Marks,
    /// The highest message of those that were retrieved since the last RSET.
    last: u32,
    left: Totals,
}

impl Session {
    pub(super) fn new(maildrop: Maildrop) -> Self {
        let left = Totals::new(maildrop.len(), maildrop.octets());
        Self { maildrop, deleted: Marks::default(), retrieved: Marks::default(), last: 0, left }
    }

    /// What is not marked deleted.
    pub(super) fn totals(&self) -> Totals {
        self.left
    }

    /// The policies for this user, where they are its own.
    pub(super) fn policies(&self) -> (Option<Expire>, Option<u32>) {
        self.maildrop.policies()
    }

    /// A message, unless it is marked deleted.
    pub(super) fn message(&self, number: NonZeroU32) -> Option<Message<'_>> {
        self.maildrop.message(number).filter(|_| !self.deleted.contain(number))
    }

    /// The first message not marked deleted from `number` on.
    pub(super) fn message_from(&self, number: NonZeroU32) -> Option<Message<'_>> {
        self.numbers(number).find_map(|number| self.message(number))
    }

    fn numbers(&self, from: NonZeroU32) -> impl Iterator<Item = NonZeroU32> {
        (from.get()..=self.maildrop.len()).filter_map(NonZeroU32::new)
    }

    /// Whether nothing may be deleted.
    pub(super) fn is_read_only(&self) -> bool {
        self.maildrop.is_read_only()
    }

    /// Marks a message; says whether it was there and not marked before.
    pub(super) fn delete(&mut self, number: NonZeroU32) -> bool {
        let Some(octets) = self.message(number).map(|message| message.octets) else { return false };
        self.deleted.set(number, self.maildrop.len());
        self.left.messages -= 1;
        self.left.octets = self.left.octets.saturating_sub(octets);
        true
    }

    /// Takes back all marks.
    pub(super) fn reset(&mut self) {
        self.deleted = Marks::default();
        self.last = 0;
        self.left = Totals::new(self.maildrop.len(), self.maildrop.octets());
    }

    /// Notes that a message was sent, whole.
    pub(super) fn retrieved(&mut self, number: NonZeroU32) {
        self.last = self.last.max(number.get());
        self.retrieved.set(number, self.maildrop.len());
    }

    /// The answer to LAST.
    pub(super) fn last(&self) -> u32 {
        self.last
    }

    /// The keys of all messages that are to be deleted: those marked, those whose time is over, and if nothing may be left on
    /// the server those that were retrieved.
    pub(super) fn to_delete(&self, leave_nothing: bool) -> Vec<u64> {
        if self.is_read_only() {
            return Vec::new();
        }
        let goes = |number: &NonZeroU32| {
            self.deleted.contain(*number)
                || self.maildrop.is_expired(*number)
                || (leave_nothing && self.retrieved.contain(*number))
        };
        self.numbers(NonZeroU32::MIN)
            .filter(goes)
            .filter_map(|number| self.maildrop.message(number))
            .map(|message| message.key)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::UniqueId;

    proptest! {
        #[test]
        fn counts_like_a_set(length in 0_u32..200, marks in prop::collection::vec(1_u32..210, 0..60)) {
            let mut maildrop = Maildrop::default();
            for key in 0..u64::from(length) {
                maildrop.push(key + 1000, key, &UniqueId::new(format!("id{key}")).unwrap()).unwrap();
            }
            let mut session = Session::new(maildrop);
            let mut left = (1..=length).collect::<std::collections::BTreeSet<_>>();
            for mark in marks {
                let number = NonZeroU32::new(mark).unwrap();
                prop_assert_eq!(session.delete(number), left.remove(&mark));
                let next = left.range(mark..).next().copied();
                prop_assert_eq!(session.message_from(number).map(|message| message.number.get()), next);
            }
            let octets = left.iter().map(|number| u64::from(*number) - 1).sum();
            prop_assert_eq!(session.totals(), Totals::new(left.len() as u32, octets));
            let deleted = (1..=length).filter(|number| !left.contains(number));
            prop_assert_eq!(session.to_delete(false), deleted.map(|number| u64::from(number) + 999).collect::<Vec<_>>());
            session.reset();
            prop_assert_eq!(session.totals().messages, length);
            prop_assert!(session.to_delete(false).is_empty());
        }
    }

    #[test]
    fn what_must_go_goes() {
        let mut maildrop = Maildrop::default();
        let number = |number| NonZeroU32::new(number).unwrap();
        for key in 1..=100 {
            maildrop.push(key, 1, &UniqueId::new(format!("id{key}")).unwrap()).unwrap();
            if key % 40 == 0 {
                maildrop.expire(number(key as u32));
            }
        }
        maildrop.expire(number(101));
        let mut session = Session::new(maildrop);
        assert_eq!(session.to_delete(true), [40, 80]);
        session.retrieved(number(9));
        session.retrieved(number(3));
        session.delete(number(1));
        assert_eq!((session.last(), session.to_delete(false)), (9, vec![1, 40, 80]));
        assert_eq!(session.to_delete(true), [1, 3, 9, 40, 80]);
        // RFC 1460 §5: what was looked at is forgotten; what was retrieved was retrieved all the same.
        session.reset();
        assert_eq!((session.last(), session.to_delete(true)), (0, vec![3, 9, 40, 80]));
    }
}
