//! The messages behind those that a client retrieves one after another, read while it takes what it was sent.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use mailwright_mail_model::Uid;
use mailwright_mailstore::{MailboxRef, Message, MessageRef, Result, Snapshot, Store};

use crate::begun::Begun;

/// How many messages are read ahead at a time at most, and how many octets of them. While those are sent the next ones are read: a session
/// that stays holds twice as much for nothing.
const MESSAGES: usize = 8;
const OCTETS: u64 = 64 * 1024;

type Read = Result<Vec<Option<Bytes>>>;

/// What is read already, and what is being read.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// What was retrieved last.
    last: Option<Uid>,
    ready: VecDeque<(Uid, Bytes)>,
    next: Option<(Vec<Uid>, Begun<Read>)>,
}

impl Ahead {
    /// The octets of a message that is retrieved now, if they are there. What is before it is not wanted any more.
    pub(super) async fn take(&mut self, uid: Uid) -> Option<Bytes> {
        self.pass(uid);
        let comes = |next: &mut (Vec<Uid>, Begun<Read>)| next.0.contains(&uid);
        if self.ready.is_empty()
            && let Some((uids, read)) = self.next.take_if(comes)
        {
            // What cannot be read is read again when it is retrieved, to say so.
            let read = read.end().await.unwrap_or_default();
            self.ready =
                uids.into_iter().zip(read).filter_map(|(uid, octets)| Some((uid, octets?))).collect();
            self.pass(uid);
        }
        match self.ready.front() {
            Some((next, _)) if *next == uid => self.ready.pop_front().map(|(_, octets)| octets),
            _ => {
                (self.ready, self.next) = (VecDeque::new(), None);
                None
            }
        }
    }

    fn pass(&mut self, uid: Uid) {
        while self.ready.pop_front_if(|(next, _)| *next < uid).is_some() {}
    }

    /// Reads on behind a message that was just sent, if it came behind another one. Does not wait for it.
    pub(super) fn read<S: Store + 'static>(
        &mut self,
        store: &Arc<S>,
        mailbox: &MailboxRef,
        snapshot: &Snapshot,
        message: &MessageRef,
    ) {
        let uid = message.uid;
        let between =
            |last: Uid| last < uid && behind(snapshot, last).next().is_some_and(|next| next.uid == uid);
        let goes_on = self.last.replace(uid).is_some_and(between);
        if !goes_on || self.next.is_some() {
            return;
        }
        let mut octets = 0_u64;
        let fits = |message: &&Message| {
            octets = octets.saturating_add(message.size);
            octets <= OCTETS
        };
        let from = self.ready.back().map_or(uid, |(last, _)| *last);
        let next = behind(snapshot, from).take(MESSAGES).take_while(fits);
        let next: Vec<MessageRef> = next.map(|message| mailbox.message(message)).collect();
        if next.is_empty() {
            return;
        }
        let uids = next.iter().map(|message| message.uid).collect();
        let store = Arc::clone(store);
        self.next = Some((uids, Begun::new(async move { store.read_together(&next).await })));
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

    type Filled = (Arc<Memory>, MailboxRef, Arc<Snapshot>);

    /// A store with messages of these sizes.
    async fn filled(sizes: &[usize]) -> Filled {
        let (store, user) = (Arc::new(Memory::new()), User::new("alice").unwrap());
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
        async fn retrieved(&mut self, (store, mailbox, snapshot): &Filled, number: u32) -> bool {
            let octets = self.take(uid(number)).await;
            let message = mailbox.message(snapshot.message(uid(number)).unwrap());
            if let Some(octets) = &octets {
                assert_eq!(octets.len() as u64, message.size);
                assert!(octets.iter().all(|octet| *octet == b'a' + number as u8 - 1));
            }
            self.read(store, mailbox, snapshot, &message);
            octets.is_some()
        }

        /// The lengths of what is read already, whether somebody has looked or not.
        async fn held(&mut self) -> Vec<usize> {
            let mut held: Vec<usize> = self.ready.iter().map(|(_, octets)| octets.len()).collect();
            if let Some((uids, read)) = self.next.take() {
                let read = read.end().await.unwrap();
                held.extend(read.iter().flatten().map(Bytes::len));
                self.next = Some((uids, Begun::new(std::future::ready(Ok(read)))));
            }
            held
        }
    }

    #[tokio::test]
    async fn whoever_goes_on_finds_the_next_one_there() {
        let filled = filled(&[100; 25]).await;
        let mut ahead = Ahead::default();
        for number in 1..=25 {
            assert_eq!(ahead.retrieved(&filled, number).await, number > 2, "{number}");
            assert!(ahead.held().await.len() < 2 * MESSAGES);
        }
        assert!(ahead.held().await.is_empty());
    }

    #[tokio::test]
    async fn whoever_does_not_go_on_has_nothing_read() {
        let filled = filled(&[100; 12]).await;
        let mut ahead = Ahead::default();
        for number in [12, 11, 10, 5, 7, 9] {
            assert!(!ahead.retrieved(&filled, number).await, "{number}");
            assert!(ahead.held().await.is_empty());
        }
        // Nor keeps it who leaves off.
        ahead.retrieved(&filled, 10).await;
        assert_eq!(ahead.held().await.len(), 2);
        assert!(!ahead.retrieved(&filled, 2).await);
        assert!(ahead.held().await.is_empty());
        // What is passed over is let go of, and the rest is there.
        ahead.retrieved(&filled, 3).await;
        assert!(ahead.retrieved(&filled, 6).await);
        assert_eq!(ahead.held().await.len(), 5);
    }

    #[tokio::test]
    async fn no_more_is_read_than_may_be_held() {
        let filled = filled(&[10, 10, 40_000, 20_000, 10_000, 200_000, 10]).await;
        let mut ahead = Ahead::default();
        for (number, there) in
            [(1, false), (2, false), (3, true), (4, true), (5, true), (6, false), (7, true)]
        {
            assert_eq!(ahead.retrieved(&filled, number).await, there, "{number}");
            let held: usize = ahead.held().await.iter().sum();
            assert!(held as u64 <= 2 * OCTETS, "{held}");
        }
    }
}
