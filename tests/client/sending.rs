//! Messages that are sent, whole and in pieces.

use std::{
    io,
    num::NonZeroU32,
    pin::Pin,
    sync::{Arc, Mutex},
    task,
};

use mailwright::{
    CancellationToken, Listener, ListenerTls,
    client::{ClientError, Endpoint, Security, SmtpClient},
    imap_proto::command::Append,
    line_proto::{Closed, Misuse},
    mail_model::{MailboxName, Uid},
    relay_policy::Session,
    smtp::{Body, Inbox, Smtp},
    smtp_proto::{self, Message, Outcome, Rcpt, Reply},
};
use tokio::io::{AsyncRead, ReadBuf};

use super::{
    ONE, SMALL, imap, message, pop3, smtp,
    world::{Protection, USER, World},
};

#[tokio::test]
async fn tells_what_became_of_each_recipient() {
    let world = World::new(true).await;
    let mut client = smtp(&world, Protection::Starttls).await;
    let replies =
        client.send(message(&["nobody@example.org", USER, "x@elsewhere.test"]), SMALL).await.unwrap();
    let codes: Vec<_> = replies.iter().map(|reply| reply.code()).collect();
    assert_eq!(codes, [550, 250, 554]);
    // Nobody is left, so there is no body; the connection goes on.
    let replies = client.send(message(&["nobody@example.org"]), SMALL).await.unwrap();
    assert_eq!(replies[0].code(), 550);
    let replies = client.send(message(&[USER]), SMALL).await.unwrap();
    assert_eq!(replies[0].code(), 250);
    // A body that cannot be read is not delivered.
    let error = client.send_from(message(&[USER]), &mut Broken).await.unwrap_err();
    assert!(matches!(error, ClientError::Body(_)), "{error}");
    let error = client.send(message(&[USER]), SMALL).await.unwrap_err();
    assert!(matches!(error, ClientError::Misuse(Misuse::Closed)), "{error}");
    drop(client);

    let config = Arc::new(smtp_proto::client::Config::lmtp());
    let name = "client.example.org".parse().unwrap();
    let mut client = SmtpClient::connect(&world.lmtp(), name, config).await.unwrap();
    let replies =
        client.send(message(&[USER, "nobody@example.org", "bob@example.org"]), SMALL).await.unwrap();
    let codes: Vec<_> = replies.iter().map(|reply| reply.code()).collect();
    assert_eq!(codes, [250, 550, 250]);
    client.quit().await.unwrap();
    assert_eq!(pop3(&world).await.stat().await.unwrap().messages, 3);
}

#[tokio::test]
async fn streams_twenty_megabytes_both_ways() {
    const SIZE: u64 = 20 << 20;
    let world = World::new(true).await;
    let mut client = smtp(&world, Protection::Starttls).await;
    let replies = client.send_from(message(&[USER]), &mut Lines::new(SIZE)).await.unwrap();
    assert!(replies[0].is_positive(), "{replies:?}");
    client.quit().await.unwrap();
    let mut client = imap(&world).await;
    client.select(MailboxName::inbox()).await.unwrap();
    let mut read = Vec::new();
    client.message(Uid::new(1).unwrap(), &mut read).await.unwrap();
    let (trace, body) = read.split_at(read.len() - SIZE as usize);
    assert!(body == &*Lines::whole(SIZE) && trace.starts_with(b"Return-Path:"));
    let append = Append::new(MailboxName::inbox(), SIZE);
    let appended = client.append(append, &mut Lines::new(SIZE)).await.unwrap().unwrap();
    assert_eq!(appended.uid, Uid::new(2).unwrap());
    client.logout().await.unwrap();

    let mut client = pop3(&world).await;
    let mut download = client.open(ONE).await.unwrap();
    let (mut at, mut parts) = (0, 0);
    while let Some(chunk) = download.next().await.unwrap() {
        assert!(read[at..].starts_with(&chunk));
        (at, parts) = (at + chunk.len(), parts + 1);
    }
    assert!(at == read.len() && parts > 10, "{parts} parts");
    let mut second = Vec::new();
    client.retr(NonZeroU32::new(2).unwrap(), &mut second).await.unwrap();
    assert!(second == Lines::whole(SIZE));
}

#[tokio::test]
async fn a_message_goes_piece_by_piece() {
    let world = World::new(true).await;
    let mut client = smtp(&world, Protection::Starttls).await;
    let mut sending = client.begin(message(&["nobody@example.org", USER])).await.unwrap();
    assert!(sending.is_wanted() && sending.addressed().recipients[0].is_permanent());
    for octet in SMALL.chunks(1) {
        sending.write(octet.into()).await.unwrap();
    }
    let codes: Vec<_> = sending.finish().await.unwrap().iter().map(Reply::code).collect();
    assert_eq!(codes, [550, 250]);
    // Nobody is left: what is written goes nowhere, and the connection goes on.
    let mut sending = client.begin(message(&["nobody@example.org"])).await.unwrap();
    assert!(!sending.is_wanted());
    sending.write(SMALL.into()).await.unwrap();
    assert_eq!(sending.finish().await.unwrap()[0].code(), 550);
    client.noop().await.unwrap();
    // Half a message is none.
    let mut sending = client.begin(message(&[USER])).await.unwrap();
    sending.write(SMALL.into()).await.unwrap();
    drop(sending);
    let error = client.noop().await.unwrap_err();
    assert!(matches!(error, ClientError::Misuse(Misuse::Closed)), "{error}");
    drop(client);
    let mut client = pop3(&world).await;
    assert_eq!(client.stat().await.unwrap().messages, 1);
    let mut read = Vec::new();
    client.retr(ONE, &mut read).await.unwrap();
    assert!(read.ends_with(SMALL));
}

/// Breaks the connection in the midst of a message from `broken@`, refuses the recipient `later@`, and keeps the rest.
#[derive(Default)]
struct Faulty(Mutex<Vec<Vec<u8>>>);

impl Inbox for Faulty {
    async fn recipient(&self, _: &Session, rcpt: &Rcpt) -> Reply {
        match rcpt.to.address().map(|address| address.local().unquoted().to_owned()).as_deref() {
            Some("later") => Reply::transient((2, 2), "Not now"),
            _ => Reply::RECIPIENT_OK,
        }
    }

    async fn deliver(&self, _: &Session, message: &Message, body: &mut Body<'_>) -> Outcome {
        let mut octets = Vec::new();
        while let Ok(Some(chunk)) = body.next().await {
            octets.extend_from_slice(&chunk);
            if message.mail.from.to_string().starts_with("<broken@") {
                body.break_off();
                assert!(body.next().await.is_err());
            }
        }
        self.0.lock().unwrap().push(octets);
        Reply::queued("1").into()
    }
}

#[tokio::test]
async fn a_test_breaks_connections_and_refuses_as_it_likes() {
    let (stop, inbox) = (CancellationToken::new(), Arc::new(Faulty::default()));
    let mut config = smtp_proto::server::Config::smtp("sink.example.org").unwrap();
    config.max_message_size = Some(100_000);
    let service = Smtp::without_logins(Arc::clone(&inbox), ListenerTls::None, config);
    let listener = Listener::bind("127.0.0.1:0", stop.clone()).await.unwrap();
    let endpoint = Endpoint::new("127.0.0.1", listener.local_addr().unwrap().port(), Security::Plain);
    let serving = tokio::spawn(Arc::new(service).serve(listener, stop.clone()));
    let connect = || SmtpClient::connect(&endpoint, "client.example.org".parse().unwrap(), Arc::default());

    let mut client = connect().await.unwrap();
    assert!(client.capabilities().auth.is_empty());
    let replies = client.send(message(&["later@example.org"]), SMALL).await.unwrap();
    assert_eq!(replies[0].code(), 450);
    let mut broken = message(&[USER]);
    broken.mail = smtp_proto::Mail::new(
        "broken@example.net".parse::<mailwright::mail_model::Address>().unwrap().into(),
    );
    let error = client.send(broken, SMALL).await.unwrap_err();
    assert!(matches!(error, ClientError::Io(_) | ClientError::Closed(Closed::Eof)), "{error}");
    assert!(error.is_temporary());
    // Refused while it still comes: the rest of it goes nowhere, and the connection goes on.
    let mut client = connect().await.unwrap();
    let mut sending = client.begin(message(&[USER])).await.unwrap();
    for _ in 0..50 {
        sending.write(Lines::whole(32 << 10).into()).await.unwrap();
    }
    assert_eq!(sending.finish().await.unwrap()[0].code(), 552);
    let replies = client.send(message(&[USER]), SMALL).await.unwrap();
    assert_eq!(replies[0].code(), 250);
    stop.cancel();
    serving.await.unwrap();
    let kept = inbox.0.lock().unwrap();
    assert_eq!((kept.len(), &kept[2][..]), (3, SMALL));
}

/// Lines of text that are made as they are read, dots at their starts among them.
struct Lines {
    at: u64,
    size: u64,
}

impl Lines {
    fn new(size: u64) -> Self {
        Self { at: 0, size }
    }

    fn octet(&self, at: u64) -> u8 {
        match (self.size - at, at % 64) {
            (1, _) | (_, 63) => b'\n',
            (2, _) | (_, 62) => b'\r',
            (_, 0) => b'.',
            // After a header of one line.
            (_, 1) if at == 1 => b'x',
            (_, place) => b'a' + ((at / 64 + place) % 26) as u8,
        }
    }

    fn whole(size: u64) -> Vec<u8> {
        (0..size).map(|at| Self::new(size).octet(at)).collect()
    }
}

impl AsyncRead for Lines {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> task::Poll<io::Result<()>> {
        let count = (buffer.remaining() as u64).min(self.size - self.at);
        for at in self.at..self.at + count {
            buffer.put_slice(&[self.octet(at)]);
        }
        self.at += count;
        task::Poll::Ready(Ok(()))
    }
}

/// Gives a little and then fails.
struct Broken;

impl AsyncRead for Broken {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> task::Poll<io::Result<()>> {
        task::Poll::Ready(Err(io::Error::other("the file is gone")))
    }
}
