//! imap-proto: the server against any client, and every command that can be read.

use std::sync::Arc;

use bytes::Bytes;
use mailwright_imap_proto::{
    Answered, Refusal,
    command::{Command, CopyUid, Fetch, FetchItem, SearchContext},
    grammar::{CommandWriter, Input, LiteralMode},
    response::{MailboxStatus, Namespaces, ServerId},
    server::{AppendUid, Change, Config, Event, FetchData, ListEntry, Opened, Server},
};
use mailwright_line_proto::{
    Ask, AuthRefusal, AuthStep, Peer,
    testing::{Seen, Side, Subject},
};
use mailwright_mail_model::{FlagSet, MailboxName, Uid, UidSet, UidValidity, mime::Structure};

use crate::machine::{Choices, Plan};

/// An IMAP server against any client.
pub fn imap_server(data: &[u8]) {
    let Some(plan) = Plan::new(data) else { return };
    plan.play(|| Serving { choices: plan.choices.clone(), next: 10 });
}

/// A command that can be read is written so that it is read as the same.
pub fn imap_command(data: &[u8]) {
    let messages = UidSet::from(Uid::MIN..=Uid::MAX);
    let context = || SearchContext::new(&messages, &messages);
    let Ok(command) = Command::parse(&mut Input::new(data), context()) else { return };
    let mut written = CommandWriter::new(LiteralMode::Plus);
    command.encode(&mut written);
    let octets = written.as_slice();
    let octets = match command {
        Command::Append(_) => octets.strip_suffix(b"\r\n").unwrap(),
        _ => octets,
    };
    let again = Command::parse(&mut Input::new(octets), context());
    if let (Ok(Command::Notify(again)), Command::Notify(command)) = (&again, &command) {
        // Events of a kind that nobody knows are not written again.
        assert_eq!((again.status, &again.groups), (command.status, &command.groups));
        return;
    }
    assert_eq!(again, Ok(command), "{}", octets.escape_ascii());
}

struct Serving {
    choices: Choices,
    /// The UID of the next message.
    next: u32,
}

const MESSAGE: &str =
    "Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b--\r\n";

fn validity() -> UidValidity {
    UidValidity::new(7).unwrap()
}

impl Serving {
    fn or_refusal<T>(&mut self, answer: T) -> Answered<T> {
        if self.choices.below(5) == 4 { Err(Refusal::unavailable()) } else { Ok(answer) }
    }

    /// Something happens in the mailbox, or nothing.
    fn disturb(&mut self, server: &mut Server) {
        match self.choices.below(6) {
            0 => {
                let uid = Uid::new(self.next).unwrap();
                self.next += 3;
                server.notify(Change::Added { uids: uid.into(), recent: uid.into() });
            }
            1 => server.notify(Change::Removed("2,11:13".parse().unwrap())),
            2 => server.notify(Change::Flags {
                uid: Uid::MIN,
                flags: "\\Seen x".parse().unwrap(),
                mod_seq: None,
            }),
            _ => {}
        }
    }

    fn fetch(&mut self, server: &mut Server, ask: Ask<Fetch<UidSet>>) {
        let structure = Structure::of(MESSAGE.as_bytes());
        let (flags, octets) = (FlagSet::new(), Bytes::from(MESSAGE));
        for uid in ask.messages.iter().take(20) {
            self.disturb(server);
            let mut open = false;
            let mut data = Vec::new();
            for item in &ask.items {
                data.push(match item {
                    FetchItem::Flags => FetchData::Flags(&flags),
                    FetchItem::Envelope => {
                        FetchData::Envelope(structure.part(0).unwrap().envelope().unwrap())
                    }
                    FetchItem::Body => FetchData::Body(&structure),
                    FetchItem::BodyStructure => FetchData::BodyStructure(&structure),
                    FetchItem::Section(section) if self.choices.below(2) == 0 => {
                        let found = structure.locate(&section.section.locator().unwrap());
                        FetchData::Section(section, found.map(|_| &octets))
                    }
                    FetchItem::Section(section) => {
                        open = true;
                        data.push(FetchData::Stream(section, 5));
                        break;
                    }
                    _ => FetchData::Size(MESSAGE.len() as u64),
                });
            }
            if server.fetch(&ask, uid, &data).unwrap() && open {
                server.send_body("he".into()).unwrap();
                server.send_body("llo".into()).unwrap();
                server.end_body().unwrap();
            }
        }
        let answer = self.or_refusal(());
        server.answer(ask, answer).unwrap();
    }
}

impl Subject for Serving {
    type Machine = Server;

    fn build(&self) -> Server {
        let mut config = Config::default();
        config.allow_plaintext_auth = true;
        config.auth_mechanisms = vec!["PLAIN".into()];
        Server::new(Arc::new(config), Peer::unknown())
    }

    fn side(&self) -> Side {
        Side::Server
    }

    fn react(&mut self, server: &mut Server, event: Event) -> Seen {
        let seen = Seen::Event(format!("{event:?}"));
        if !matches!(event, Event::Body(_)) {
            self.disturb(server);
        }
        let answered = match event {
            Event::Body(octets) => return Seen::Body(octets),
            Event::Closed(why) => return Seen::Closed(format!("{why:?}")),
            Event::Login(ask) => {
                let right = self.choices.below(5) < 4;
                server.answer(ask, if right { Ok(()) } else { Err(AuthRefusal::Credentials) })
            }
            Event::Authenticate(ask) => {
                let step = match self.choices.below(3) {
                    0 => AuthStep::Accept,
                    1 => AuthStep::Challenge("challenge".into()),
                    _ => AuthStep::Refuse(AuthRefusal::Credentials),
                };
                server.answer(ask, step)
            }
            Event::Open(ask) => {
                let answer = self.or_refusal(Opened::new("1:3,7".parse().unwrap(), validity()));
                server.answer(ask, answer)
            }
            Event::Mailboxes(ask) => {
                let names = ["INBOX", "a", "a/b", "a/b/\u{e9}"].map(|name| MailboxName::new(name).unwrap());
                let answer = self.or_refusal(names.map(ListEntry::new).to_vec());
                server.answer(ask, answer)
            }
            Event::Status(ask) => {
                let status = MailboxStatus::new(ask.mailbox.clone());
                server.answer(ask, Ok(status))
            }
            Event::Id(ask) => server.answer(ask, Ok(ServerId::default())),
            Event::Namespace(ask) => server.answer(ask, Ok(Namespaces::personal('/'))),
            Event::Message(ask) => {
                let answer = self.or_refusal(());
                server.answer(ask, answer)
            }
            Event::BodyEnd(ask) => {
                let answer = self.or_refusal(Some(AppendUid::new(validity(), Uid::MIN)));
                server.answer(ask, answer)
            }
            Event::Find(ask) => {
                let found: UidSet = "1:2,7,99".parse().unwrap();
                let answer = self.or_refusal(found.into());
                server.answer(ask, answer)
            }
            Event::Fetch(ask) => {
                self.fetch(server, ask);
                Ok(())
            }
            Event::Store(ask) => {
                for uid in ask.messages.iter().take(20) {
                    let flags = ask.operation.apply(&FlagSet::new(), &ask.flags);
                    server.fetch_flags(&ask, uid, &flags, None).unwrap();
                }
                server.answer(ask, Ok(UidSet::new()))
            }
            Event::Expunge(ask) => server.answer(ask, Ok("1,3,8".parse().unwrap())),
            Event::Copy(ask) => {
                let uids = ask.messages.clone();
                let answer = self.or_refusal(Some(CopyUid::new(validity(), uids.clone(), uids)));
                server.answer(ask, answer)
            }
            Event::Move(ask) => {
                let uids = ask.messages.clone();
                server.answer(ask, Ok(CopyUid::new(validity(), uids.clone(), uids)))
            }
            other => {
                server.decline(other);
                Ok(())
            }
        };
        answered.unwrap();
        seen
    }
}
