//! A message that its store finds damaged: every protocol says so by its code, and the others are served.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use mailwright::{
    Authenticator, CancellationToken, ListenerTls, imap, imap_proto,
    line_proto::Peer,
    mail_model::{DateTime, MailboxName, Uid, UidValidity},
    mailstore::{
        Mailbox, Message, MessageRef, Result, Snapshot, Store, StoreError, User,
        accounts::{LoginError, LoginRequest, from_fn},
    },
    pop3::Pop3,
    pop3_proto,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const TEXT: &str = "Subject: x\r\n\r\nhello\r\n";

/// Three messages, of which the second cannot be read.
#[derive(Default)]
struct Damaged {
    /// Whether more is given than is asked for.
    lavish: bool,
}

impl Store for Damaged {
    async fn mailboxes(&self, _: &User) -> Result<Vec<Mailbox>> {
        Ok(vec![Mailbox::inbox()])
    }

    async fn open(&self, _: &User, _: &MailboxName) -> Result<Arc<Snapshot>> {
        let message = |uid| Message::new(uid, TEXT.len() as u64, DateTime::new(0, 0).unwrap());
        let messages = (1..=3).filter_map(Uid::new).map(message);
        let empty = Snapshot::builder(UidValidity::new(1).unwrap());
        Ok(Arc::new(messages.fold(empty, |snapshot, message| snapshot.message(message)).build()))
    }

    async fn read(&self, message: &MessageRef, range: Range<u64>) -> Result<Bytes> {
        if message.uid.get() == 2 {
            return Err(StoreError::Corrupt("UID 2".into()));
        }
        let end = if self.lavish { u64::MAX } else { range.end };
        let end = end.min(TEXT.len() as u64) as usize;
        Ok(Bytes::from_static(TEXT.as_bytes()).slice(range.start as usize..end))
    }
}

/// What a service says to all of this.
macro_rules! said {
    ($service:expr, $commands:expr) => {{
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (theirs, _) = listener.accept().await.unwrap();
        let service = $service;
        let serving = tokio::spawn(async move {
            service.session(theirs, Peer::unknown(), CancellationToken::new()).await;
        });
        socket.write_all($commands.as_bytes()).await.unwrap();
        let mut said = String::new();
        socket.read_to_string(&mut said).await.unwrap();
        serving.await.unwrap();
        said
    }};
}

fn authenticator() -> Arc<Authenticator<impl mailwright::mailstore::accounts::Accounts>> {
    let accounts = from_fn(|_: LoginRequest| async { User::new("me").map_err(|_| LoginError::Credentials) });
    Arc::new(Authenticator::with_random_secret(accounts).unwrap())
}

/// RFC 5530 §3: CORRUPTION.
#[tokio::test]
async fn imap_names_it_and_goes_on() {
    let mut config = imap_proto::server::Config::default();
    config.allow_plaintext_auth = true;
    let service = imap::Imap::new(Arc::new(Damaged::default()), authenticator(), ListenerTls::None, config);
    let said = said!(
        service,
        "a LOGIN me me\r\nb EXAMINE INBOX\r\nc FETCH 1 BODY[TEXT]\r\nd FETCH 2 BODY[TEXT]\r\ne FETCH 2 FLAGS\r\n\
         f FETCH 3 BODY[TEXT]\r\ng LOGOUT\r\n"
    );
    let (_, said) = said.split_once("\r\nb OK").unwrap();
    let hello = |number| format!("* {number} FETCH (BODY[TEXT] {{7}}\r\nhello\r\n)");
    assert!(said.contains(&hello(1)) && said.contains(&hello(3)), "{said}");
    assert!(said.contains("\r\nd NO [CORRUPTION] "), "{said}");
    assert!(said.contains("\r\n* 2 FETCH (FLAGS (") && said.contains("\r\ng OK"), "{said}");
}

/// RFC 3206 §3: SYS/PERM.
#[tokio::test]
async fn pop3_names_it_and_goes_on() {
    let mut config = pop3_proto::server::Config::default();
    config.allow_plaintext_auth = true;
    let service = Pop3::new(Arc::new(Damaged::default()), authenticator(), ListenerTls::None, config);
    let said = said!(service, "USER me\r\nPASS me\r\nRETR 1\r\nRETR 2\r\nTOP 2 0\r\nRETR 3\r\nQUIT\r\n");
    let hello = format!("\r\n{TEXT}.\r\n");
    assert_eq!(said.matches(&hello).count(), 2, "{said}");
    assert_eq!(said.matches("\r\n-ERR [SYS/PERM] ").count(), 2, "{said}");
    assert!(said.trim_end().lines().last().unwrap().starts_with("+OK"), "{said}");
}

/// What a store gives beyond what was asked for would be taken for a response.
#[tokio::test]
async fn no_more_is_sent_than_was_announced() {
    let mut config = imap_proto::server::Config::default();
    config.allow_plaintext_auth = true;
    let service =
        imap::Imap::new(Arc::new(Damaged { lavish: true }), authenticator(), ListenerTls::None, config);
    let said = said!(
        service,
        "a LOGIN me me\r\nb EXAMINE INBOX\r\nc FETCH 1 BODY[HEADER]\r\nd FETCH 1 BODY[]<3.5>\r\ne FETCH 3 (BODY[1]<1.2> FLAGS)\r\n\
         f FETCH 1 BODY[HEADER.FIELDS (SUBJECT)]\r\ng LOGOUT\r\n"
    );
    let (_, said) = said.split_once("\r\nb OK").unwrap();
    for part in [
        "(BODY[HEADER] {14}\r\nSubject: x\r\n\r\n)\r\n",
        "(BODY[]<3> {5}\r\nject:)\r\n",
        "{2}\r\nel",
        "{14}\r\nSubject: x\r\n\r\n)\r\n",
        "\r\ng OK",
    ] {
        assert!(said.contains(part), "{part:?} in {said}");
    }
    assert!(!said.contains("hello"), "{said}");
}
