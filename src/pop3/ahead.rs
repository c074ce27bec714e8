//! The messages behind those that a client retrieves one after another, read while it takes what it was sent.

use std::collections::VecDeque;

use bytes::Bytes;
use mailwright_mail_model::Uid;
use mailwright_mailstore::{MailboxRef, Message, MessageRef, Snapshot, Store};

/// How many messages are read ahead at most, and how many octets of them: what a session that stays holds for nothing.
const MESSAGES: usize = 8;
const OCTETS: u64 = 64 * 1024;

/// What is read already.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// What was retrieved last.
    last: Option<Uid>,
    ready: VecDeque<(Uid, Bytes)>,
}

impl Ahead {
    /// The octets of a message that is retrieved now, if they are there. What is before it is not wanted any more.
    pub(super) fn take(&mut self, uid: Uid) -> Option<Bytes> {
        while let Some((next, _)) = self.ready.front()
            && *next < uid
        {
            self.ready.pop_front();
        }
        match self.ready.front() {
            Some((next, _)) if *next == uid => self.ready.pop_front().map(|(_, octets)| octets),
            _ => {
                self.ready = VecDeque::new();
                None
            }
        }
    }

    /// Reads on behind a message that was just sent, if it came behind another one.
    pub(super) async fn read(
        &mut self,
        store: &impl Store,
        mailbox: &MailboxRef,
        snapshot: &Snapshot,
        message: &MessageRef,
    ) {
        let uid = message.uid;
        let between =
            |last: Uid| last < uid && behind(snapshot, last).next().is_some_and(|next| next.uid == uid);
        let goes_on = self.last.replace(uid).is_some_and(between);
        if !goes_on || !self.ready.is_empty() {
            return;
        }
        let mut octets = 0_u64;
        let fits = |message: &&Message| {
            octets = octets.saturating_add(message.size);
            octets <= OCTETS
        };
        let next = behind(snapshot, uid).take(MESSAGES).take_while(fits);
        let next: Vec<MessageRef> = next.map(|message| mailbox.message(message)).collect();
        if next.is_empty() {
            return;
        }
        // What cannot be read is read again when it is retrieved, to say so.
        let read = store.read_together(&next).await.unwrap_or_default();
        self.ready =
            next.iter().zip(read).filter_map(|(message, octets)| Some((message.uid, octets?))).collect();
    }
}

/// The messages behind this one.
fn behind(snapshot: &Snapshot, uid: Uid) -> impl Iterator<Item = &Message> {
    let first = uid.next();
    first.into_iter().flat_map(|first| snapshot.range(first..=Uid::MAX))
}

#[cfg(test)]
mod tests {
    use mailwright_mail_model::{DateTime, MailboxName};
    use mailwright_mailstore::{Target, User, Write as _, memory::Memory};

    use super::*;

    fn uid(number: u32) -> Uid {
        Uid::new(number).unwrap()
    }

    /// A store with messages of these sizes.
    async fn filled(sizes: &[usize]) -> (Memory, MailboxRef, std::sync::Arc<Snapshot>) {
        let (store, user) = (Memory::new(), User::new("alice").unwrap());
        for (number, size) in sizes.iter().enumerate() {
            let mut upload = store.begin(None).await.unwrap();
            upload.write(Bytes::from(vec![b'a' + number as u8; *size])).await.unwrap();
            let target = Target::new(user.clone(), MailboxName::inbox(), DateTime::new(0, 0).unwrap());
            upload.commit(&[target]).await.unwrap();
        }
        let snapshot = store.open(&user, &MailboxName::inbox()).await.unwrap();
        (store, MailboxRef::new(user, MailboxName::inbox(), &snapshot), snapshot)
    }

    impl Ahead {
        async fn retrieved(
            &mut self,
            (store, mailbox, snapshot): &(Memory, MailboxRef, std::sync::Arc<Snapshot>),
            number: u32,
        ) -> bool {
            let octets = self.take(uid(number));
            let message = mailbox.message(snapshot.message(uid(number)).unwrap());
            if let Some(octets) = &octets {
                assert_eq!(octets.len() as u64, message.size);
                assert!(octets.iter().all(|octet| *octet == b'a' + number as u8 - 1));
            }
            self.read(store, mailbox, snapshot, &message).await;
            octets.is_some()
        }
    }

    #[tokio::test]
    async fn whoever_goes_on_finds_the_next_one_there() {
        let filled = filled(&[100; 25]).await;
        let mut ahead = Ahead::default();
        for number in 1..=25 {
            assert_eq!(ahead.retrieved(&filled, number).await, number > 2, "{number}");
            assert!(ahead.ready.len() <= MESSAGES);
        }
        assert!(ahead.ready.is_empty());
    }

    #[tokio::test]
    async fn whoever_does_not_go_on_has_nothing_read() {
        let filled = filled(&[100; 12]).await;
        let mut ahead = Ahead::default();
        for number in [12, 11, 10, 5, 7, 9] {
            assert!(!ahead.retrieved(&filled, number).await, "{number}");
            assert!(ahead.ready.is_empty());
        }
        // Nor keeps it who leaves off.
        ahead.retrieved(&filled, 10).await;
        assert_eq!(ahead.ready.len(), 2);
        assert!(!ahead.retrieved(&filled, 2).await);
        assert!(ahead.ready.is_empty());
        // What is passed over is let go of, and the rest is there.
        ahead.retrieved(&filled, 3).await;
        assert!(ahead.retrieved(&filled, 6).await);
        assert_eq!(ahead.ready.len(), 5);
    }

    #[tokio::test]
    async fn no_more_is_read_than_may_be_held() {
        let filled = filled(&[10, 10, 40_000, 20_000, 10_000, 200_000, 10]).await;
        let mut ahead = Ahead::default();
        for (number, there) in
            [(1, false), (2, false), (3, true), (4, true), (5, true), (6, false), (7, true)]
        {
            assert_eq!(ahead.retrieved(&filled, number).await, there, "{number}");
            let held: usize = ahead.ready.iter().map(|(_, octets)| octets.len()).sum();
            assert!(held as u64 <= OCTETS, "{held}");
        }
    }
}
