//! A store that does not answer: sessions end with what their protocol has for "try again later", and what was begun may be done all the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::{
    future::pending,
    io,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use mailwright::{
    Authenticator, CancellationToken, ListenerTls, Pipe, Socket, imap, imap_proto,
    line_proto::Peer,
    mail_model::{MailboxName, UidSet},
    mailstore::{
        Appended, CommitError, Copied, Expunge, Expunged, FlagChange, FlagsStored, Mailbox, MailboxRef,
        MessageRef, Result, Scripts, Sink, Snapshot, Store, Target, Upload, User, Write,
        accounts::{Accounts, LoginError, LoginRequest, from_fn},
        memory::Memory,
    },
    managesieve::ManageSieve,
    pop3::Pop3,
    pop3_proto,
    relay_policy::Chain,
    sieve::{self, Language},
    smtp::{Smtp, StoreInbox},
    smtp_proto,
};
const PATIENCE: Duration = Duration::from_secs(20);

/// What hangs.
#[derive(Clone, Copy, Default, PartialEq)]
enum Hangs {
    #[default]
    Nothing,
    Open,
    Read,
    /// No read hangs, but many of them together take longer than one may.
    Slowly,
    Write,
    /// It is done, and nobody is told.
    Commit,
    Change,
}

/// A store of which one call hangs at a time.
#[derive(Clone, Default)]
struct Hanging {
    store: Memory,
    hangs: Arc<Mutex<Hangs>>,
    /// Whether a call is hanging.
    hung: Arc<AtomicBool>,
}

impl Hanging {
    async fn at(&self, call: Hangs) {
        if *self.hangs.lock().unwrap() == call {
            self.hung.store(true, Ordering::Relaxed);
            pending::<()>().await;
        }
    }

    fn hang(&self, call: Hangs) {
        *self.hangs.lock().unwrap() = call;
    }

    fn was_hung(&self) -> bool {
        self.hung.swap(false, Ordering::Relaxed)
    }
}

impl Store for Hanging {
    async fn mailboxes(&self, user: &User) -> Result<Vec<Mailbox>> {
        self.store.mailboxes(user).await
    }

    async fn open(&self, user: &User, name: &MailboxName) -> Result<Arc<Snapshot>> {
        self.at(Hangs::Open).await;
        self.store.open(user, name).await
    }

    async fn read(&self, message: &MessageRef, range: Range<u64>) -> Result<Bytes> {
        self.at(Hangs::Read).await;
        if *self.hangs.lock().unwrap() == Hangs::Slowly {
            tokio::time::sleep(PATIENCE / 4).await;
        }
        self.store.read(message, range).await
    }

    fn writer(&self) -> Option<&impl Write> {
        Some(self)
    }

    fn scripts(&self) -> Option<&impl Scripts> {
        self.store.scripts()
    }
}

impl Write for Hanging {
    async fn begin(&self, size: Option<u64>) -> Result<Upload> {
        let upload = self.store.begin(size).await?;
        Ok(Upload::new(HangingSink { store: self.clone(), upload }))
    }

    async fn store_flags(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        change: &FlagChange,
    ) -> Result<FlagsStored> {
        self.at(Hangs::Change).await;
        self.store.store_flags(mailbox, uids, change).await
    }

    async fn expunge(&self, mailbox: &MailboxRef, which: &Expunge) -> Result<Expunged> {
        self.at(Hangs::Change).await;
        self.store.expunge(mailbox, which).await
    }

    async fn copy(&self, mailbox: &MailboxRef, uids: &UidSet, to: &MailboxName) -> Result<Copied> {
        self.store.copy(mailbox, uids, to).await
    }

    async fn move_to(&self, mailbox: &MailboxRef, uids: &UidSet, to: &MailboxName) -> Result<Copied> {
        self.store.move_to(mailbox, uids, to).await
    }
}

struct HangingSink {
    store: Hanging,
    upload: Upload,
}

impl Sink for HangingSink {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.store.at(Hangs::Write).await;
        self.upload.write(chunk).await
    }

    async fn commit(&mut self, targets: &[Target]) -> Result<Vec<Appended>, CommitError> {
        let done = self.upload.commit(targets).await;
        self.store.at(Hangs::Commit).await;
        done
    }
}

fn authenticator() -> Arc<Authenticator<impl Accounts>> {
    let accounts = from_fn(|_: LoginRequest| async { User::new("me").map_err(|_| LoginError::Credentials) });
    Arc::new(Authenticator::with_random_secret(accounts).unwrap())
}

struct Everybody;

impl mailwright::mailstore::accounts::Recipients for Everybody {
    async fn lookup(&self, _: &str) -> Result<Option<User>> {
        Ok(User::new("me").ok())
    }
}

/// How many messages `me` has.
async fn count(store: &Hanging) -> u32 {
    let inbox = store.store.open(&User::new("me").unwrap(), &MailboxName::inbox()).await.unwrap();
    inbox.len()
}

async fn deliver(store: &Hanging, text: &'static str) {
    let mut upload = store.store.begin(None).await.unwrap();
    upload.write(Bytes::from_static(text.as_bytes())).await.unwrap();
    let date = mailwright::mail_model::DateTime::EPOCH;
    let target = Target::new(User::new("me").unwrap(), MailboxName::inbox(), date);
    upload.commit(&[target]).await.unwrap();
}

async fn send(client: &Pipe, mut text: &str) {
    while !text.is_empty() {
        client.writable().await.unwrap();
        let count = client.try_write_vectored(&[io::IoSlice::new(text.as_bytes())]).unwrap();
        text = &text[count..];
    }
}

/// Adds what came; how much that was, nothing at the end.
async fn hear(client: &Pipe, heard: &mut Vec<u8>) -> usize {
    client.readable().await.unwrap();
    let mut octets = BytesMut::new();
    let count = client.try_read_buf(&mut octets, 64 * 1024).unwrap();
    heard.extend_from_slice(&octets);
    count
}

/// What a service says after the last commands of a client, at which the store hangs, to the end of the connection; it must come after the patience and
/// soon.
macro_rules! said {
    ($service:expr, $store:expr, $before:expr, $hangs:expr, $last:expr) => {{
        let (service, store): (_, &Hanging) = ($service, $store);
        let (client, server) = Pipe::pair(64 * 1024);
        let serving = tokio::spawn(async move {
            service.session(server, Peer::unknown(), CancellationToken::new()).await;
        });
        send(&client, $before).await;
        // Until the service has answered all of it.
        tokio::time::sleep(Duration::from_secs(1)).await;
        store.hang($hangs);
        send(&client, $last).await;
        let begun = tokio::time::Instant::now();
        let mut heard = Vec::new();
        while hear(&client, &mut heard).await > 0 {}
        serving.await.unwrap();
        let took = begun.elapsed();
        assert!(store.was_hung(), "nothing hung");
        store.hang(Hangs::Nothing);
        assert!(took >= PATIENCE && took <= PATIENCE + Duration::from_secs(2), "{took:?}");
        String::from_utf8(heard).unwrap()
    }};
}

fn last_lines(said: &str, count: usize) -> Vec<&str> {
    let lines: Vec<_> = said.lines().collect();
    lines[lines.len().saturating_sub(count)..].to_vec()
}

fn imap(store: &Hanging) -> imap::Imap<Hanging, impl Accounts + use<>> {
    let mut config = imap_proto::server::Config::default();
    config.allow_plaintext_auth = true;
    config.timeouts.work = PATIENCE;
    imap::Imap::new(Arc::new(store.clone()), authenticator(), ListenerTls::None, config)
}

/// RFC 5530 §3: UNAVAILABLE.
#[tokio::test(start_paused = true)]
async fn imap_says_so_and_ends() {
    let store = Hanging::default();
    deliver(&store, "Subject: x\r\n\r\nhello\r\n").await;
    let before = "a LOGIN me me\r\nb SELECT INBOX\r\n";
    let bye = "* BYE [UNAVAILABLE] an answer took too long; try again later";
    for (hangs, last) in [
        (Hangs::Open, "c STATUS INBOX (MESSAGES)\r\n"),
        (Hangs::Read, "c FETCH 1 BODY[TEXT]\r\n"),
        (Hangs::Read, "c SEARCH TEXT hello\r\n"),
        (Hangs::Change, "c STORE 1 +FLAGS (\\Seen)\r\nd NOOP\r\n"),
        (Hangs::Change, "c UID EXPUNGE 1\r\n"),
    ] {
        let said = said!(imap(&store), &store, before, hangs, last);
        let [no, end] = last_lines(&said, 2)[..] else { panic!("{said}") };
        assert!(no.starts_with("c NO [UNAVAILABLE] "), "{last:?}: {said}");
        assert_eq!(end, bye, "{last:?}");
    }
    // A message half of which has come gets no answer of its own; one that was committed is there, and its sender may send it again.
    let said = said!(imap(&store), &store, before, Hangs::Write, "c APPEND INBOX {9+}\r\nhalf");
    assert_eq!(last_lines(&said, 1), [bye], "{said}");
    assert_eq!(count(&store).await, 1);
    let said = said!(imap(&store), &store, before, Hangs::Commit, "c APPEND INBOX {9+}\r\nSubject:x\r\n");
    let [no, end] = last_lines(&said, 2)[..] else { panic!("{said}") };
    assert!(no.starts_with("c NO [UNAVAILABLE] ") && end == bye, "{said}");
    assert_eq!(count(&store).await, 2);
}

/// A client that takes its time keeps its session, however long that is in all.
#[tokio::test(start_paused = true)]
async fn clients_that_take_their_time_are_not_taken_for_it() {
    let store = Hanging::default();
    let text: &'static str = Box::leak(format!("Subject: x\r\n\r\n{}", "line\r\n".repeat(300_000)).into());
    deliver(&store, text).await;
    let (client, server) = Pipe::pair(64 * 1024);
    let service = imap(&store);
    let serving = tokio::spawn(async move {
        service.session(server, Peer::unknown(), CancellationToken::new()).await;
    });
    send(&client, "a LOGIN me me\r\nb SELECT INBOX\r\nc FETCH 1 BODY[]\r\nd LOGOUT\r\n").await;
    let mut heard = Vec::new();
    loop {
        tokio::time::sleep(PATIENCE * 2).await;
        if hear(&client, &mut heard).await == 0 {
            break;
        }
    }
    serving.await.unwrap();
    assert!(heard.len() > text.len(), "{} of {}", heard.len(), text.len());
}

/// Nor does a store that is slow and goes on, whether a client hears of it by messages or by how far a search is.
#[tokio::test(start_paused = true)]
async fn stores_that_go_on_are_waited_for() {
    let store = Hanging::default();
    let text: &'static str = Box::leak(format!("Subject: x\r\n\r\n{}", "line\r\n".repeat(30_000)).into());
    for _ in 0..24 {
        deliver(&store, text).await;
    }
    for command in ["FETCH 1:* BODY.PEEK[]", "SEARCH BODY nothing"] {
        let (client, server) = Pipe::pair(4 << 20);
        let mut options = imap::Options::default();
        options.progress_interval = PATIENCE / 10;
        let service = imap(&store).with_options(options);
        let serving = tokio::spawn(async move {
            service.session(server, Peer::unknown(), CancellationToken::new()).await;
        });
        send(&client, "a LOGIN me me\r\nb SELECT INBOX\r\n").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        store.hang(Hangs::Slowly);
        let begun = tokio::time::Instant::now();
        send(&client, &format!("c {command}\r\nd LOGOUT\r\n")).await;
        let mut heard = Vec::new();
        while hear(&client, &mut heard).await > 0 {}
        serving.await.unwrap();
        store.hang(Hangs::Nothing);
        let said = String::from_utf8(heard).unwrap();
        let took = begun.elapsed();
        assert!(took > PATIENCE, "{command} took {took:?}");
        let done = last_lines(&said, 3);
        assert!(done[0].starts_with("c OK ") && done[2].starts_with("d OK "), "{command}: {done:?}");
    }
}

/// RFC 3206 §4: SYS/TEMP.
#[tokio::test(start_paused = true)]
async fn pop3_says_so_and_ends() {
    let store = Hanging::default();
    deliver(&store, "Subject: x\r\n\r\nhello\r\n").await;
    let mut config = pop3_proto::server::Config::default();
    config.allow_plaintext_auth = true;
    config.timeouts.work = PATIENCE;
    let service = || Pop3::new(Arc::new(store.clone()), authenticator(), ListenerTls::None, config.clone());
    let before = "USER me\r\nPASS me\r\nDELE 1\r\nRSET\r\n";
    let said = said!(service(), &store, "", Hangs::Open, "USER me\r\nPASS me\r\n");
    let ends = ["-ERR [SYS/TEMP] ", "-ERR [SYS/TEMP] an answer took too long; try again later"];
    let check = |said: &str| {
        let lines = last_lines(said, 2);
        assert!(lines[0].starts_with(ends[0]) && lines[1] == ends[1], "{said}");
    };
    check(&said);
    check(&said!(service(), &store, before, Hangs::Read, "RETR 1\r\n"));
    // RFC 1939 §6: what cannot be removed is said not to have been.
    let said = said!(service(), &store, before, Hangs::Change, "DELE 1\r\nQUIT\r\n");
    assert!(last_lines(&said, 1)[0].starts_with(ends[0]), "{said}");
    // The maildrop is free again.
    let said = said!(service(), &store, before, Hangs::Read, "RETR 1\r\n");
    check(&said);
}

/// RFC 5321 §4.2.1: 451 for the message, 421 for the session; RFC 2033 §4.2: one reply a recipient.
#[tokio::test(start_paused = true)]
async fn smtp_and_lmtp_say_so_and_end() {
    for protocol in [smtp_proto::server::Protocol::Smtp, smtp_proto::server::Protocol::Lmtp] {
        let store = Hanging::default();
        let mut config = smtp_proto::server::Config::smtp("mail.example.org").unwrap();
        config.protocol = protocol;
        config.timeouts.work = PATIENCE;
        let service = || {
            let inbox = StoreInbox::new(store.clone(), Everybody, Chain::default(), "mail.example.org");
            Smtp::without_logins(Arc::new(inbox), ListenerTls::None, config.clone())
        };
        let is_lmtp = protocol == smtp_proto::server::Protocol::Lmtp;
        let hello = if is_lmtp { "LHLO" } else { "EHLO" };
        let before = format!(
            "{hello} c.example.net\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.org>\r\nRCPT TO:<c@example.org>\r\nDATA\r\n"
        );
        let half = format!("Subject: x\r\n\r\n{}", "line\r\n".repeat(50_000));
        let message = "Subject: x\r\n\r\nx\r\n.\r\n";
        let said = said!(service(), &store, &before, Hangs::Commit, message);
        let replies = if is_lmtp { 2 } else { 1 };
        let lines = last_lines(&said, replies + 2);
        assert!(lines[0].starts_with("354 "), "{said}");
        assert!(lines[1..=replies].iter().all(|line| line.starts_with("451 4.")), "{said}");
        assert!(lines[replies + 1].starts_with("421 4.3.0 "), "{said}");
        // It is there, and the sender sends it once more, which the log says: it is not lost, and came twice.
        assert!(count(&store).await >= 1);
        let there = count(&store).await;
        let said = said!(service(), &store, &before, Hangs::Write, &half);
        assert!(last_lines(&said, 1)[0].starts_with("421 4.3.0 "), "{said}");
        assert_eq!(count(&store).await, there, "half a message is none");
    }
}

/// RFC 5804 §1.3: TRYLATER.
#[tokio::test(start_paused = true)]
async fn managesieve_says_so_and_ends() {
    struct Locked;
    impl Accounts for Locked {
        async fn login(&self, _: &LoginRequest) -> Result<User, LoginError> {
            pending().await
        }
    }
    let mut config = sieve::managesieve::server::Config::default();
    config.allow_plaintext_auth = true;
    config.timeouts.work = PATIENCE;
    let service = ManageSieve::new(
        Arc::new(Memory::new()),
        Arc::new(Authenticator::with_random_secret(Locked).unwrap()),
        Arc::new(Language::default()),
        ListenerTls::None,
        config,
        mailwright::mailstore::ScriptLimits::default(),
    );
    let store = Hanging::default();
    store.hung.store(true, Ordering::Relaxed);
    let said = said!(service, &store, "", Hangs::Nothing, "AUTHENTICATE \"PLAIN\" \"AG1lAG1l\"\r\n");
    let [no, bye] = last_lines(&said, 2)[..] else { panic!("{said}") };
    assert!(no.starts_with("NO") && bye.starts_with("BYE (TRYLATER)"), "{said}");
}
