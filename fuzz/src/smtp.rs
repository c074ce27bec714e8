//! smtp-proto: both machines against any peer, with an application that does as the input says.

use std::sync::Arc;

use bytes::Bytes;
use mailwright_line_proto::{
    AuthRefusal, AuthStep, Authenticate, Peer, Secret, Shutdown,
    testing::{Seen, Side, Subject},
};
use mailwright_mail_model::{ForwardPath, ReversePath};
use mailwright_smtp_proto::{
    BodyKind, Burl, Command, Data, Etrn, Hello, Mail, Message, Noop, Outcome, Quit, Rcpt, Reply, Rset,
    SevenBit, StartTls, Syntax, Vrfy, XClient,
    client::{self, Client},
    server::{self, Server},
};

use crate::machine::{Choices, Plan};

/// An SMTP or LMTP server against any client.
pub fn smtp_server(data: &[u8]) {
    let Some(plan) = Plan::new(data) else { return };
    plan.play(|| Receiving { choices: plan.choices.clone() });
}

/// An SMTP or LMTP client against any server.
pub fn smtp_client(data: &[u8]) {
    let Some(plan) = Plan::new(data) else { return };
    plan.play(|| Sending { choices: plan.choices.clone() });
}

/// A message encoded for servers that take ASCII: any split gives the same, and nothing beyond ASCII comes out.
pub fn smtp_seven_bit(data: &[u8]) {
    let Some((split, message)) = data.split_first() else { return };
    let encode = |split: usize| -> Result<Vec<u8>, &'static str> {
        let (mut encoder, mut output) = (SevenBit::new(), Vec::new());
        for piece in message.chunks(split) {
            encoder.push(piece, &mut output)?;
        }
        encoder.finish(&mut output)?;
        Ok(output)
    };
    let whole = encode(usize::MAX);
    assert_eq!(whole, encode(1 + usize::from(*split)), "the split of the input matters");
    assert!(whole.is_err() || whole.is_ok_and(|octets| octets.is_ascii()));
}

/// A command line: what is read is written so that the same is read again. And so for a reply.
pub fn smtp_grammar(data: &[u8]) {
    for syntax in [Syntax::Strict, Syntax::Lenient] {
        if let Ok(command) = Command::parse(data, syntax) {
            let line = command.encode();
            let line = line.strip_suffix("\r\n").expect("a command ends with CRLF");
            assert!(!line.bytes().any(|octet| octet.is_ascii_control()), "{line:?}");
            // The name of a client stays as it was given, right or wrong.
            let kept = if matches!(command, Command::Hello(_)) { syntax } else { Syntax::Strict };
            assert_eq!(Command::parse(line.as_bytes(), kept), Ok(command));
        }
    }
    if let Ok(reply) = Reply::parse(data) {
        // What had other octets, or a longer line than may be sent, is not sent again.
        let encoded = reply.encode();
        let again = Reply::parse(&encoded).expect("a reply that was read can be read again");
        assert_eq!(again.code(), reply.code());
        assert_eq!(again.lines().count(), reply.lines().count());
    }
}

struct Receiving {
    choices: Choices,
}

impl Receiving {
    fn reply(&mut self, accepted: Reply) -> Reply {
        match self.choices.below(12) {
            0 => Reply::NO_SUCH_USER,
            1 => Reply::transient((2, 0), "later"),
            2 => Reply::new(421, (4, 3, 2), "gone").unwrap(),
            3 => Reply::new(354, None, "odd").unwrap(),
            _ => accepted,
        }
    }
}

impl Subject for Receiving {
    type Machine = Server;

    fn build(&self) -> Server {
        let mut choices = self.choices.clone();
        let mut config = match choices.below(3) {
            0 => server::Config::lmtp("mx.example"),
            1 => server::Config::submission("mx.example"),
            _ => server::Config::smtp("mx.example"),
        }
        .unwrap();
        config.starttls = true;
        config.allow_plaintext_auth = true;
        config.auth_mechanisms = vec!["PLAIN".to_owned()];
        config.max_recipients = 3;
        config.max_message_size = Some(100);
        config.abilities.binary = true;
        config.abilities.dsn = true;
        config.abilities.each_recipient = true;
        config.abilities.start_queue = true;
        config.abilities.turn = true;
        config.abilities.burl = Some(vec!["imap".to_owned()]);
        config.xclient = true;
        config.xforward = true;
        if choices.below(2) == 0 {
            config.syntax = Syntax::Lenient;
            config.bare_line_ends = server::BareLineEnds::Accept;
            config.vrfy = server::VrfyPolicy::Ask;
            config.ask_connect = true;
            config.expn = server::VrfyPolicy::Ask;
        }
        Server::new(Arc::new(config), Peer::unknown())
    }

    fn side(&self) -> Side {
        Side::Server
    }

    fn react(&mut self, server: &mut Server, event: server::Event) -> Seen {
        use server::Event;
        let seen = format!("{event:?}");
        match event {
            Event::Closed(_) => return Seen::Closed(seen),
            Event::Body(chunk) => return Seen::Body(chunk),
            Event::Authenticate(ask) => {
                let step = match self.choices.below(3) {
                    0 => AuthStep::Accept,
                    1 => AuthStep::Challenge("challenge".into()),
                    _ => AuthStep::Refuse(AuthRefusal::Credentials),
                };
                server.answer(ask, step).unwrap();
            }
            Event::Mail(ask) => {
                let reply = self.reply(Reply::SENDER_OK);
                server.answer(ask, reply).unwrap();
            }
            Event::Rcpt(ask) => {
                let reply = self.reply(Reply::RECIPIENT_OK);
                server.answer(ask, reply).unwrap();
            }
            Event::Burl(ask) => {
                let reply = self.reply(Reply::OK);
                server.answer(ask, reply).unwrap();
            }
            Event::XClient(ask) => {
                let answer = if self.choices.below(2) == 0 { Err(Reply::DENIED) } else { Ok(()) };
                server.answer(ask, answer).unwrap();
            }
            Event::Message(ask) => {
                assert!((1..=3).contains(&ask.recipients.len()));
                let answer = if self.choices.below(6) == 0 { Err(Reply::DENIED) } else { Ok(()) };
                server.answer(ask, answer).unwrap();
            }
            Event::BodyEnd(ask) => {
                assert!(ask.size <= 100);
                let replies = ask.recipients - usize::from(self.choices.below(4) == 0);
                server.answer(ask, Outcome::Each(vec![Reply::OK; replies])).unwrap();
            }
            other => server.decline(other),
        }
        Seen::Event(seen)
    }
}

struct Sending {
    choices: Choices,
}

impl Sending {
    /// One call, of whatever kind; what the machine does not allow at the moment is none of the peer's.
    fn call(&mut self, client: &mut Client) {
        let mail = Mail::new(ReversePath::Null);
        let rcpt = || Rcpt::new(ForwardPath::Postmaster);
        let mut each = mail.clone();
        each.parameters.each_recipient = true;
        each.parameters.body = Some(BodyKind::BinaryMime);
        let called = match self.choices.below(18) {
            14 => client.call(Message::new(each, vec![rcpt(); 2])).is_ok(),
            15 => client.call(Burl::new("imap://x", true).unwrap()).is_ok(),
            16 => client.call(Etrn::Queue("x".to_owned())).is_ok(),
            17 => client.call(XClient::default()).is_ok(),
            0 => client.call(StartTls).is_ok(),
            1 => client.call(Authenticate::new("PLAIN".to_owned(), Some(Secret::from("\0a\0b")))).is_ok(),
            2 => client.call(mail).is_ok() && client.call(rcpt()).is_ok(),
            3 => client.call(rcpt()).is_ok(),
            4 => client.call(Data).is_ok(),
            5 => client.call(Rset).is_ok(),
            6 => client.call(Noop).is_ok(),
            7 => client.call(Vrfy::new("x").unwrap()).is_ok(),
            8 => client.call(Quit).is_ok(),
            9 => client.call(Hello::new("a.example".parse().unwrap())).is_ok(),
            _ => client.call(Message::new(mail, vec![rcpt(); 3])).is_ok(),
        };
        if !called {
            let _ =
                client.call(Hello::new("a.example".parse().unwrap())).is_ok() || client.call(Noop).is_ok();
        }
    }

    fn send(&mut self, client: &mut Client) {
        let split = 1 + usize::from(self.choices.below(9));
        for piece in b"A: b\n\r\n.one\r.\r\ntwo\r".chunks(split) {
            // What cannot be encoded ends the connection.
            if client.send_body(Bytes::copy_from_slice(piece)).is_err() {
                return client.shutdown(Shutdown::Kicked);
            }
        }
        client.end_body().map(drop).unwrap();
    }
}

impl Subject for Sending {
    type Machine = Client;

    fn build(&self) -> Client {
        let lmtp = self.choices.clone().below(2) == 0;
        let mut config = if lmtp { client::Config::lmtp() } else { client::Config::default() };
        config.allow_plaintext_auth = true;
        if self.choices.clone().below(3) == 0 {
            config.chunking = client::Chunking::WhenOffered;
        }
        Client::new(Arc::new(config))
    }

    fn side(&self) -> Side {
        Side::Client
    }

    fn react(&mut self, client: &mut Client, event: client::Event) -> Seen {
        use client::Event;
        let seen = format!("{event:?}");
        match event {
            Event::Closed(_) => return Seen::Closed(seen),
            Event::Challenge(ticket, _) => {
                let response = (self.choices.below(2) == 0).then(|| Secret::from("response"));
                client.respond(ticket, response.as_ref()).unwrap();
            }
            Event::Data(_, Ok(())) => self.send(client),
            Event::Message(_, addressed) if addressed.is_ready() => self.send(client),
            // The answer is told before the closing event.
            _ => self.call(client),
        }
        Seen::Event(seen)
    }
}
