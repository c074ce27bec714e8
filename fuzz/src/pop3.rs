//! pop3-proto: both machines against any peer, with an application that does as the input says.

use std::{num::NonZeroU32, sync::Arc};

use bytes::Bytes;
use mailwright_line_proto::{
    AuthRefusal, AuthStep, Authenticate, Login, Peer, Secret,
    testing::{Seen, Side, Subject},
};
use mailwright_pop3_proto::{
    Apop, Capa, Client, Dele, Expire, Lang, Last, List, Maildrop, Noop, Quit, Refusal, Retr, Rset, Server,
    Stat, Stls, Timestamp, Top, Uidl, UniqueId, Utf8, client, server,
};

use crate::machine::{Choices, Plan};

/// A POP3 server against any client.
pub fn pop3_server(data: &[u8]) {
    let Some(plan) = Plan::new(data) else { return };
    plan.play(|| Serving { choices: plan.choices.clone() });
}

/// A POP3 client against any server.
pub fn pop3_client(data: &[u8]) {
    let Some(plan) = Plan::new(data) else { return };
    plan.play(|| Calling { choices: plan.choices.clone() });
}

struct Serving {
    choices: Choices,
}

const MESSAGES: [&str; 4] = [
    "A: b\r\n\r\n.one\r\n.\r\ntwo\r\n",
    "\r\n",
    "A: b\n\n.no end",
    "A: \u{fc}\0 \u{20ac}\u{20ac}\u{20ac} no end",
];

fn maildrop() -> Maildrop {
    let mut maildrop = Maildrop::default();
    for (key, message) in MESSAGES.iter().enumerate() {
        let id = UniqueId::new(format!("id{key}")).unwrap();
        maildrop.push(key as u64, message.len() as u64, &id).unwrap();
    }
    maildrop.expire(NonZeroU32::MIN);
    maildrop
}

impl Serving {
    fn send(&mut self, server: &mut Server, message: &str) {
        let split = 1 + usize::from(self.choices.below(9));
        for piece in message.as_bytes().chunks(split) {
            let _ = server.send_body(Bytes::copy_from_slice(piece)).unwrap();
        }
        match self.choices.below(8) {
            0 => server.abort_body(),
            _ => server.end_body().unwrap(),
        }
    }
}

impl Subject for Serving {
    type Machine = Server;

    fn build(&self) -> Server {
        let mut config = server::Config::default();
        config.starttls = true;
        config.allow_plaintext_auth = true;
        config.mechanisms = vec!["PLAIN".to_owned(), "X-LONG".to_owned()];
        config.expire = Some(Expire::Days(0));
        config.workarounds.no_nuls = true;
        config.workarounds.end_of_header = true;
        let mut server = Server::new(Arc::new(config), Peer::unknown());
        server.offer_apop(Timestamp::new("<1.2@pop.example>").unwrap());
        server
    }

    fn side(&self) -> Side {
        Side::Server
    }

    fn react(&mut self, server: &mut Server, event: server::Event) -> Seen {
        use server::Event;
        let seen = format!("{event:?}");
        match event {
            Event::Closed(_) => return Seen::Closed(seen),
            Event::Login(ask) => {
                let answer = if self.choices.below(4) == 0 { Err(AuthRefusal::Credentials) } else { Ok(()) };
                server.answer(ask, answer).unwrap();
            }
            Event::Apop(ask) => {
                let answer = if self.choices.below(4) == 0 { Err(AuthRefusal::Credentials) } else { Ok(()) };
                server.answer(ask, answer).unwrap();
            }
            Event::Authenticate(ask) => {
                let step = match self.choices.below(3) {
                    0 => AuthStep::Accept,
                    1 => AuthStep::Challenge("challenge".into()),
                    _ => AuthStep::Refuse(AuthRefusal::Busy),
                };
                server.answer(ask, step).unwrap();
            }
            Event::Open(ask) => {
                let answer = if self.choices.below(8) == 0 { Err(Refusal::in_use()) } else { Ok(maildrop()) };
                server.answer(ask, answer).unwrap();
            }
            Event::Read(ask) => {
                let message = MESSAGES[ask.key as usize];
                server.answer(ask, Ok(())).unwrap();
                self.send(server, message);
            }
            Event::Commit(ask) => {
                assert!(!ask.delete.is_empty() && ask.delete.is_sorted());
                server.answer(ask, Ok(())).unwrap();
            }
            other => server.decline(other),
        }
        Seen::Event(seen)
    }
}

struct Calling {
    choices: Choices,
}

impl Calling {
    /// One call, of whatever kind; what the machine does not allow at the moment is none of the peer's.
    fn call(&mut self, client: &mut Client) {
        let number = NonZeroU32::MIN.saturating_add(self.choices.below(3).into());
        let one = (self.choices.below(2) == 0).then_some(number);
        let called = match self.choices.below(18) {
            0 => client.call(Capa).is_ok(),
            1 => client.call(Stls).is_ok(),
            2 => client.call(Authenticate::new("PLAIN".to_owned(), None)).is_ok(),
            3 => client.call(Stat).is_ok(),
            4 => client.call(List(one)).is_ok(),
            5 => client.call(Uidl(one)).is_ok(),
            6 => client.call(Retr(number)).map(|ticket| one.is_none().then(|| client.cancel(ticket))).is_ok(),
            7 => client.call(Top { number, lines: 1 }).is_ok(),
            8 => client.call(Dele(number)).is_ok(),
            9 => client.call(Noop).is_ok(),
            10 => client.call(Rset).is_ok(),
            11 => client.call(Quit).is_ok(),
            12 => client.call(Last).is_ok(),
            13 => client.call(Utf8).is_ok(),
            14 => client.call(Lang(one.map(|_| "en".to_owned()))).is_ok(),
            15 => client.call(Apop::new("user", [7; 16])).is_ok(),
            _ => false,
        };
        if !called {
            let login = client.call(Login::new("user", Secret::from("password"))).is_ok();
            let _ = login || client.call(Noop).is_ok();
        }
    }
}

impl Subject for Calling {
    type Machine = Client;

    fn build(&self) -> Client {
        let mut config = client::Config::default();
        config.allow_plaintext_auth = true;
        Client::new(Arc::new(config))
    }

    fn side(&self) -> Side {
        Side::Client
    }

    fn react(&mut self, client: &mut Client, event: client::Event) -> Seen {
        use client::Event;
        let seen = format!("{event:?}");
        match event {
            Event::Body(chunk) => return Seen::Body(chunk),
            Event::Closed(_) => return Seen::Closed(seen),
            Event::Challenge(ticket, _) if self.choices.below(2) == 0 => client.cancel(ticket),
            Event::Challenge(..) => {
                let response = Some(Secret::from("response"));
                client.call(Authenticate::new("PLAIN".to_owned(), response)).unwrap();
            }
            Event::Listed(..) | Event::Identified(..) => {}
            _ => {
                self.call(client);
                self.call(client);
            }
        }
        Seen::Event(seen)
    }
}
