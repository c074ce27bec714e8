//! An open maildrop and what is marked deleted in it.

use std::num::NonZeroU32;

use crate::{Maildrop, Message, Totals};

/// The TRANSACTION state's knowledge (RFC 1939 §5).
#[derive(Debug)]
pub(super) struct Session {
    maildrop: Maildrop,
    /// One bit a message; nothing is allotted before the first mark.
    deleted: Vec<u64>,
    left: Totals,
}

impl Session {
    pub(super) fn new(maildrop: Maildrop) -> Self {
        let left = Totals::new(maildrop.len(), maildrop.octets());
        Self { maildrop, deleted: Vec::new(), left }
    }

    /// What is not marked deleted.
    pub(super) fn totals(&self) -> Totals {
        self.left
    }

    /// A message, unless it is marked deleted.
    pub(super) fn message(&self, number: NonZeroU32) -> Option<Message<'_>> {
        self.maildrop.message(number).filter(|_| !self.is_deleted(number))
    }

    /// The first message not marked deleted from `number` on.
    pub(super) fn message_from(&self, number: NonZeroU32) -> Option<Message<'_>> {
        (number.get()..=self.maildrop.len())
            .filter_map(NonZeroU32::new)
            .find_map(|number| self.message(number))
    }

    /// Marks a message; says whether it was there and not marked before.
    pub(super) fn delete(&mut self, number: NonZeroU32) -> bool {
        let Some(octets) = self.message(number).map(|message| message.octets) else { return false };
        if self.deleted.is_empty() {
            self.deleted = vec![0; self.maildrop.len() as usize / 64 + 1];
        }
        let (word, bit) = place(number);
        if let Some(word) = self.deleted.get_mut(word) {
            *word |= bit;
        }
        self.left.messages -= 1;
        self.left.octets = self.left.octets.saturating_sub(octets);
        true
    }

    /// Takes back all marks.
    pub(super) fn reset(&mut self) {
        self.deleted = Vec::new();
        self.left = Totals::new(self.maildrop.len(), self.maildrop.octets());
    }

    /// The keys of all messages marked deleted.
    pub(super) fn deleted(&self) -> Vec<u64> {
        if self.deleted.is_empty() {
            return Vec::new();
        }
        (1..=self.maildrop.len())
            .filter_map(NonZeroU32::new)
            .filter(|number| self.is_deleted(*number))
            .filter_map(|number| self.maildrop.message(number))
            .map(|message| message.key)
            .collect()
    }

    fn is_deleted(&self, number: NonZeroU32) -> bool {
        let (word, bit) = place(number);
        self.deleted.get(word).is_some_and(|word| word & bit != 0)
    }
}

fn place(number: NonZeroU32) -> (usize, u64) {
    let index = number.get() - 1;
    (index as usize / 64, 1 << (index % 64))
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
            prop_assert_eq!(session.deleted(), deleted.map(|number| u64::from(number) + 999).collect::<Vec<_>>());
            session.reset();
            prop_assert_eq!(session.totals().messages, length);
            prop_assert!(session.deleted().is_empty());
        }
    }
}
