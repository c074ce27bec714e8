//! Peers that answer what was not asked, or say what no command is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod support;

use std::{sync::Arc, time::Instant};

use bytes::BytesMut;
use mailwright_line_proto::{
    Authenticate, Closed, Machine, Misuse, Output, PeerMisbehaved, Secret,
    testing::{Pace, Seen, run_input},
};
use mailwright_smtp_proto::{
    Command, Data, Hello, Mail, Outcome, Rcpt, Rset, Syntax,
    client::{self, Client, Event},
    server,
};
use support::{Receiving, message};

/// A client, and what it has not read yet.
struct Caller {
    client: Client,
    rx: BytesMut,
}

impl Caller {
    /// Past a hello to which the server announces this.
    fn greeted(config: client::Config, keywords: &[&str]) -> Self {
        let mut caller = Self { client: Client::new(Arc::new(config)), rx: BytesMut::new() };
        assert!(matches!(caller.hear("220 mx"), Event::Greeting(_)));
        caller.hello(keywords);
        caller
    }

    fn hello(&mut self, keywords: &[&str]) {
        self.client.call(Hello::new("a.example".parse().unwrap())).unwrap();
        assert!(matches!(
            self.hear(&format!("250-mx\r\n250-{}\r\n250 DSN", keywords.join("\r\n250-"))),
            Event::Hello(_, Ok(()))
        ));
    }

    fn poll(&mut self, line: &str) -> Output<Event> {
        self.rx.extend_from_slice(format!("{line}\r\n").as_bytes());
        self.client.poll(Instant::now(), &mut self.rx)
    }

    fn hear(&mut self, line: &str) -> Event {
        match self.poll(line) {
            Output::Event(event) => event,
            other => panic!("{other:?}"),
        }
    }

    /// A message to so many recipients, up to the answer to the last of them.
    fn address(&mut self, recipients: usize) {
        self.client.call(mail()).unwrap();
        assert!(matches!(self.hear("250 Ok"), Event::Mail(..)));
        for _ in 0..recipients {
            self.client.call(rcpt()).unwrap();
            assert!(matches!(self.hear("250 Ok"), Event::Rcpt(..)));
        }
    }

    fn send(&mut self) {
        self.client.call(Data).unwrap();
        assert!(matches!(self.hear("354 Go on"), Event::Data(_, Ok(()))));
        self.client.send_body("x\r\n".into()).unwrap();
        self.client.end_body().unwrap();
    }
}

fn mail() -> Mail {
    message("<a@example.org>", &["<b@example.com>"]).mail
}

fn rcpt() -> Rcpt {
    message("<a@example.org>", &["<b@example.com>"]).recipients.remove(0)
}

#[test]
fn recipients_of_a_transaction_that_was_forgotten_count_no_more() {
    // LMTP has a reply for each that counts; for one too many the client would wait until its patience ends.
    let mut caller = Caller::greeted(client::Config::lmtp(), &["PIPELINING"]);
    caller.client.call(mail()).unwrap();
    caller.client.call(rcpt()).unwrap();
    caller.client.call(rcpt()).unwrap();
    caller.client.call(Rset).unwrap();
    caller.client.call(mail()).unwrap();
    caller.client.call(rcpt()).unwrap();
    for _ in 0..6 {
        caller.hear("250 Ok");
    }
    caller.send();
    let Event::BodyEnd(_, Outcome::Each(replies)) = caller.hear("250 Ok") else { panic!() };
    assert_eq!(replies.len(), 1);

    // A hello forgets them too, and so does the end of the message.
    let mut caller = Caller::greeted(client::Config::default(), &["PIPELINING"]);
    let nobody = Err(Misuse::WrongState { request: "Data", state: "without an accepted recipient" });
    caller.address(1);
    caller.hello(&["PIPELINING"]);
    assert_eq!(caller.client.call(Data), nobody);
    caller.address(1);
    caller.send();
    assert!(matches!(caller.hear("250 Ok"), Event::BodyEnd(..)));
    assert_eq!(caller.client.call(Data), nobody);
    // A MAIL that was refused leaves what was begun before it.
    caller.address(2);
    caller.client.call(mail()).unwrap();
    assert!(matches!(caller.hear("503 Nested MAIL"), Event::Mail(..)));
    assert!(caller.client.call(Data).is_ok());
}

#[test]
fn what_is_announced_behind_the_end_of_the_list_is_bounded() {
    for line in ["250 HELP me", "250 AUTH X", "250-SIZE 1\r\n250 DSN"] {
        let count = 512 / line.lines().count();
        let mut caller = Caller::greeted(client::Config::default(), &["SIZE"]);
        for _ in 0..count {
            assert!(matches!(caller.poll(line), Output::Wait(_)), "{line}");
        }
        let Event::Closed(Closed::Misbehaved(PeerMisbehaved::BadReply { expected, .. })) = caller.hear(line)
        else {
            panic!("{line}")
        };
        assert_eq!(expected, "an end of what is announced");
    }
}

#[test]
fn after_xclient_there_is_a_login_again() {
    let mut config = client::Config::default();
    config.allow_plaintext_auth = true;
    let offered = ["AUTH PLAIN", "XCLIENT NAME"];
    let mut caller = Caller::greeted(config, &offered);
    let login = || Authenticate::new("PLAIN".to_owned(), Some(Secret::from("\0user\0pass")));
    let Ok(Command::XClient(other)) = Command::parse(b"XCLIENT NAME=a.example", Syntax::Strict) else {
        panic!()
    };
    for _ in 0..2 {
        caller.client.call(login()).unwrap();
        assert!(matches!(caller.hear("235 Ok"), Event::Authenticate(..)));
        assert!(caller.client.call(login()).is_err(), "once");
        caller.client.call((*other).clone()).unwrap();
        assert!(matches!(caller.hear("220 mx"), Event::XClient(..)));
        caller.hello(&offered);
    }
}

/// A command too long to be read, and the message that whoever takes it for less sends behind it.
fn play(command: &str, split: usize) -> (usize, String, bool) {
    let input = format!(
        "EHLO a.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\n{command}{}\r\n\
         Subject: x\r\nRSET\r\nMAIL FROM:<evil@example.org>\r\n",
        " ".repeat(6000)
    );
    let config = Arc::new(server::Config::smtp("mx.example").unwrap());
    let run = run_input(&mut Receiving(config), input.as_bytes(), Pace { split, lazy: false }, true);
    let mails = run.seen.iter().filter(|seen| matches!(seen, Seen::Event(text) if text.starts_with("Mail(")));
    let closed = run
        .seen
        .iter()
        .any(|seen| matches!(seen, Seen::Closed(why) if why.starts_with("Misbehaved(BadReply")));
    (mails.count(), String::from_utf8(run.sent).unwrap(), closed)
}

#[test]
fn no_message_behind_a_command_that_is_too_long_is_run() {
    for split in [1, 7, 512, usize::MAX] {
        for command in ["BDAT 60 LAST", "bdat\t", "DATA ", "data\0"] {
            let (mails, sent, closed) = play(command, split);
            assert_eq!((mails, closed), (1, true), "{command:?} by {split}: {sent}");
            assert!(sent.contains("500 5.5.2 Line too long\r\n"), "{command:?} by {split}: {sent}");
        }
        for command in ["DATABASE ", "BDATA", "BDA", "NOOP "] {
            let (mails, sent, closed) = play(command, split);
            assert_eq!((mails, closed), (2, false), "{command:?} by {split}: {sent}");
        }
    }
}
