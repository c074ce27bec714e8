//! A store that fails at once, or says at once that something has changed when nothing has: it is not asked again and again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::{
    io::IoSlice,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use mailwright::{
    Authenticator, CancellationToken, ListenerTls, Pipe, Socket, imap, imap_proto,
    line_proto::Peer,
    mail_model::{MailboxName, UidValidity},
    mailstore::{
        Feed, FeedPosition, Mailbox, MessageRef, News, Result, Snapshot, Store, StoreError, User, Watch,
        accounts::{LoginError, LoginRequest, from_fn},
    },
};

/// An empty INBOX, of which there is always news.
#[derive(Default)]
struct Restless {
    fails: bool,
    asked: AtomicUsize,
}

impl Restless {
    fn answer<T>(&self, value: T) -> Result<T> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.fails { Err(StoreError::Unavailable("not now".into())) } else { Ok(value) }
    }
}

fn empty() -> Arc<Snapshot> {
    Arc::new(Snapshot::builder(UidValidity::MIN).build())
}

impl Store for Restless {
    async fn mailboxes(&self, _: &User) -> Result<Vec<Mailbox>> {
        Ok(vec![Mailbox::inbox()])
    }

    async fn open(&self, _: &User, _: &MailboxName) -> Result<Arc<Snapshot>> {
        Ok(empty())
    }

    async fn read(&self, _: &MessageRef, _: Range<u64>) -> Result<Bytes> {
        Err(StoreError::NotFound)
    }

    fn watch(&self) -> Option<&impl Watch> {
        Some(self)
    }

    fn feed(&self) -> Option<&impl Feed> {
        Some(self)
    }
}

impl Watch for Restless {
    async fn changed(&self, _: &User, _: &MailboxName, _: &Snapshot) -> Result<Arc<Snapshot>> {
        self.answer(empty())
    }
}

impl Feed for Restless {
    async fn position(&self, _: &User) -> Result<FeedPosition> {
        Ok(FeedPosition::new(1))
    }

    async fn after(&self, _: &User, _: FeedPosition) -> Result<News> {
        self.answer(News::new(FeedPosition::new(1), Vec::new()))
    }
}

async fn send(client: &Pipe, text: &str) {
    client.writable().await.unwrap();
    assert_eq!(client.try_write_vectored(&[IoSlice::new(text.as_bytes())]).unwrap(), text.len());
}

/// How often it is asked while a client waits for a minute, and whether a command is answered at once all the same.
async fn asked(wait: &str, fails: bool) {
    let store = Arc::new(Restless { fails, ..Restless::default() });
    let accounts = from_fn(|_: LoginRequest| async { User::new("me").map_err(|_| LoginError::Credentials) });
    let authenticator = Arc::new(Authenticator::with_random_secret(accounts).unwrap());
    let mut config = imap_proto::server::Config::default();
    config.allow_plaintext_auth = true;
    let service = imap::Imap::new(Arc::clone(&store), authenticator, ListenerTls::None, config);
    let (client, theirs) = Pipe::pair(1 << 16);
    let serving = tokio::spawn(async move {
        service.session(theirs, Peer::unknown(), CancellationToken::new()).await;
    });
    let commands = format!("a LOGIN me me\r\nb EXAMINE INBOX\r\n{wait}\r\n");
    send(&client, &commands).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let asked = store.asked.load(Ordering::Relaxed);
    assert!((2..=62).contains(&asked), "{wait}: asked {asked} times");
    let before = tokio::time::Instant::now();
    send(&client, "DONE\r\nd NOOP\r\n").await;
    let mut heard = BytesMut::new();
    while !String::from_utf8_lossy(&heard).contains("\r\nd OK") {
        client.readable().await.unwrap();
        assert!(client.try_read_buf(&mut heard, 4096).unwrap() > 0, "{heard:?}");
    }
    assert!(before.elapsed() < Duration::from_secs(1), "{wait}: {heard:?}");
    drop(client);
    serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn idle_leaves_it_in_peace() {
    for fails in [false, true] {
        asked("c IDLE", fails).await;
    }
}

#[tokio::test(start_paused = true)]
async fn notify_leaves_it_in_peace() {
    for fails in [false, true] {
        asked("c NOTIFY SET (personal (MessageNew MessageExpunge))", fails).await;
    }
}
