//! Which message has which UID, as far as the server has said.

use mailwright_mail_model::{Uid, UidSet};

/// The messages of the selected mailbox by number, each with its UID if that is known.
///
/// In chunks, so that removing one of a million costs about as much as removing one of a thousand.
#[derive(Debug, Default)]
pub(super) struct Messages {
    chunks: Vec<Chunk>,
}

#[derive(Debug, Default)]
struct Chunk {
    messages: u32,
    /// UIDs, 0 where unknown; empty while none is known.
    uids: Vec<u32>,
    /// Between which of them all of these are that are known.
    known: Option<(Uid, Uid)>,
}

/// The most messages of a chunk.
const CHUNK: u32 = 1024;

impl Messages {
    /// The mailbox has so many messages now. Above `limit` nothing is remembered.
    pub(super) fn grow(&mut self, messages: u32, limit: u32) {
        if messages > limit {
            self.chunks = Vec::new();
            return;
        }
        let before: u32 = self.chunks.iter().map(|chunk| chunk.messages).sum();
        if before > messages {
            // RFC 9051 §7.4.1: only EXPUNGE makes it smaller. What is known now is worth nothing.
            self.chunks = Vec::new();
            return self.grow(messages, limit);
        }
        let mut more = messages - before;
        if let Some(last) = self.chunks.last_mut() {
            let take = more.min(CHUNK.saturating_sub(last.messages));
            last.messages += take;
            more -= take;
        }
        while more > 0 {
            let messages = more.min(CHUNK);
            self.chunks.push(Chunk { messages, ..Chunk::default() });
            more -= messages;
        }
    }

    /// The UID of a message.
    pub(super) fn uid(&self, sequence: u32) -> Option<Uid> {
        let (chunk, at) = self.find(sequence)?;
        self.chunks.get(chunk)?.uids.get(at).copied().and_then(Uid::new)
    }

    /// The message has this UID.
    pub(super) fn learn(&mut self, sequence: u32, uid: Uid) {
        let Some((chunk, at)) = self.find(sequence) else { return };
        let Some(chunk) = self.chunks.get_mut(chunk) else { return };
        if chunk.uids.len() <= at {
            chunk.uids.resize(at + 1, 0);
        }
        if let Some(slot) = chunk.uids.get_mut(at) {
            *slot = uid.get();
        }
        chunk.known = Some(chunk.known.map_or((uid, uid), |(low, high)| (low.min(uid), high.max(uid))));
    }

    /// These messages are gone (RFC 7162 §3.2.10). Where one of them was that is not known, no number is sure any more.
    pub(super) fn vanish(&mut self, uids: &UidSet, limit: u32) {
        let before: u32 = self.chunks.iter().map(|chunk| chunk.messages).sum();
        let mut left = u32::try_from(uids.len()).unwrap_or(u32::MAX);
        for chunk in &mut self.chunks {
            let Some((low, high)) = chunk.known else { continue };
            if uids.within(low..=high).is_empty() {
                continue;
            }
            let length = chunk.uids.len();
            chunk.uids.retain(|uid| !Uid::new(*uid).is_some_and(|uid| uids.contains(uid)));
            let gone = u32::try_from(length - chunk.uids.len()).unwrap_or(u32::MAX);
            chunk.messages = chunk.messages.saturating_sub(gone);
            left = left.saturating_sub(gone);
        }
        self.chunks.retain(|chunk| chunk.messages > 0);
        if left > 0 {
            self.chunks = Vec::new();
            self.grow(before.saturating_sub(u32::try_from(uids.len()).unwrap_or(u32::MAX)), limit);
        }
    }

    /// The message is gone; gives its UID.
    pub(super) fn remove(&mut self, sequence: u32) -> Option<Uid> {
        let (index, at) = self.find(sequence)?;
        let chunk = self.chunks.get_mut(index)?;
        chunk.messages -= 1;
        let uid = if at < chunk.uids.len() { Uid::new(chunk.uids.remove(at)) } else { None };
        if chunk.messages == 0 {
            self.chunks.remove(index);
        }
        uid
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.chunks = Vec::new();
    }

    fn find(&self, sequence: u32) -> Option<(usize, usize)> {
        let mut rest = sequence.checked_sub(1)?;
        for (index, chunk) in self.chunks.iter().enumerate() {
            if rest < chunk.messages {
                return Some((index, rest as usize));
            }
            rest -= chunk.messages;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Grow(u32),
        Learn(u32, u32),
        Remove(u32),
    }

    fn steps() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..1500_u32).prop_map(Step::Grow),
            (1..5000_u32, 1..9999_u32).prop_map(|(sequence, uid)| Step::Learn(sequence, uid)),
            (1..5000_u32).prop_map(Step::Remove),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_list(steps in prop::collection::vec(steps(), 0..60)) {
            let (mut messages, mut model) = (Messages::default(), Vec::<Option<Uid>>::new());
            for step in steps {
                match step {
                    Step::Grow(more) => {
                        model.resize(model.len() + more as usize, None);
                        messages.grow(model.len() as u32, u32::MAX);
                    }
                    Step::Learn(sequence, uid) => {
                        messages.learn(sequence, Uid::new(uid).unwrap());
                        if let Some(slot) = model.get_mut(sequence as usize - 1) {
                            *slot = Uid::new(uid);
                        }
                    }
                    Step::Remove(sequence) => {
                        let at = sequence as usize - 1;
                        let expected = if at < model.len() { model.remove(at) } else { None };
                        prop_assert_eq!(messages.remove(sequence), expected);
                    }
                }
            }
            for (index, uid) in model.iter().enumerate() {
                prop_assert_eq!(messages.uid(index as u32 + 1), *uid);
            }
            prop_assert_eq!(messages.uid(model.len() as u32 + 1), None);
        }
    }

    #[test]
    fn what_vanishes_makes_those_behind_it_move_up() {
        let known =
            |all: &Messages, count| (1..=count).map(|at| all.uid(at).map(Uid::get)).collect::<Vec<_>>();
        let mut messages = Messages::default();
        messages.grow(3000, u32::MAX);
        for sequence in 1..=3000 {
            messages.learn(sequence, Uid::new(sequence * 2).unwrap());
        }
        let gone: UidSet = "4,2046,2048,2050,2052,6000".parse().unwrap();
        messages.vanish(&gone, u32::MAX);
        let expected: Vec<_> = (1..=3000)
            .map(|number| number * 2)
            .filter(|uid| !gone.contains(Uid::new(*uid).unwrap()))
            .map(Some)
            .collect();
        assert_eq!(expected.len(), 2994);
        assert_eq!(known(&messages, 2994), expected);
        assert_eq!(messages.uid(2995), None);
        // One that nobody has told of: how many there are is known, which is where is not.
        messages.vanish(&"3".parse().unwrap(), u32::MAX);
        assert_eq!(known(&messages, 2993), [None; 2993]);
        messages.learn(2993, Uid::MIN);
        assert_eq!(messages.uid(2993), Some(Uid::MIN));
        messages.learn(2994, Uid::MIN);
        assert_eq!(messages.uid(2994), None);
    }

    #[test]
    fn too_many_messages_are_not_remembered() {
        let mut messages = Messages::default();
        messages.grow(u32::MAX, 1 << 20);
        messages.learn(1, Uid::MIN);
        assert_eq!(messages.uid(1), None);
    }
}
