//! Which message has which UID, as far as the server has said.

use mailwright_mail_model::Uid;

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
            self.chunks.push(Chunk { messages, uids: Vec::new() });
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
    fn too_many_messages_are_not_remembered() {
        let mut messages = Messages::default();
        messages.grow(u32::MAX, 1 << 20);
        messages.learn(1, Uid::MIN);
        assert_eq!(messages.uid(1), None);
    }
}
