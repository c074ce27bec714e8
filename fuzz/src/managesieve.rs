//! ManageSieve: both machines against any peer, with an application that does as the input says.

use std::sync::Arc;

use bytes::Bytes;
use mailwright_line_proto::{
    AuthRefusal, AuthStep, Authenticate, Peer, Secret,
    testing::{Seen, Side, Subject},
};
use mailwright_sieve::managesieve::{
    Accepted, Capability, CheckScript, Client, DeleteScript, GetScript, HaveSpace, ListScripts, Listed,
    Logout, Noop, PutScript, Refusal, RenameScript, ScriptName, Server, SetActive, StartTls, Unauthenticate,
    client, server,
};

use crate::machine::{Choices, Plan};

/// A ManageSieve server against any client.
pub fn managesieve_server(data: &[u8]) {
    let Some(plan) = Plan::new(data) else { return };
    plan.play(|| Serving { choices: plan.choices.clone() });
}

/// A ManageSieve client against any server.
pub fn managesieve_client(data: &[u8]) {
    let Some(plan) = Plan::new(data) else { return };
    plan.play(|| Calling { choices: plan.choices.clone() });
}

struct Serving {
    choices: Choices,
}

impl Serving {
    fn done(&mut self) -> Result<(), Refusal> {
        if self.choices.below(3) == 0 { Err(Refusal::nonexistent()) } else { Ok(()) }
    }
}

impl Subject for Serving {
    type Machine = Server;

    fn build(&self) -> Server {
        let mut config = server::Config::default();
        config.starttls = true;
        config.allow_plaintext_auth = true;
        config.mechanisms = vec!["PLAIN".to_owned(), "X-LONG".to_owned()];
        config.script = 100;
        config.limits.line = 300;
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
            Event::Authenticate(ask) => match self.choices.below(5) {
                0 => server.answer(ask, AuthStep::Challenge("challenge".into())).unwrap(),
                1 => server.answer(ask, AuthStep::Refuse(AuthRefusal::Busy)).unwrap(),
                2 => server.refer("sieve://other.example"),
                _ => server.answer(ask, AuthStep::Accept).unwrap(),
            },
            Event::Upload(ask) => {
                assert!((1..=100).contains(&ask.size), "{ask:?}");
                server.answer(ask, self.done()).unwrap();
            }
            Event::PutScript(ask) => server.answer(ask, self.done().map(|()| Accepted::default())).unwrap(),
            Event::CheckScript(ask) => server.answer(ask, Ok(Accepted::with_warnings("a\r\nb"))).unwrap(),
            Event::ListScripts(ask) => {
                let all = vec![Listed::new("a \"b\"".parse().unwrap(), true)];
                server.answer(ask, self.done().map(|()| all)).unwrap();
            }
            Event::GetScript(ask) => {
                server.answer(ask, Ok(10)).unwrap();
                for _ in 0..10 {
                    server.send_body(Bytes::from_static(b"x")).unwrap();
                }
                match self.choices.below(8) {
                    0 => server.abort_body(),
                    _ => server.end_body().unwrap(),
                }
            }
            Event::SetActive(ask) => server.answer(ask, self.done()).unwrap(),
            Event::Unauthenticate(ask) => server.answer(ask, self.done()).unwrap(),
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
        let name = || ScriptName::new("a \"b\"").unwrap();
        let plain = || Authenticate::new("PLAIN".to_owned(), Some(Secret::from("\0a\0b")));
        let called = match self.choices.below(14) {
            0 => client.call(Capability).is_ok(),
            1 => client.call(StartTls).is_ok(),
            2 => client.call(plain()).is_ok(),
            3 => client.call(Noop(Some("tag".to_owned()))).is_ok(),
            4 => client.call(HaveSpace { name: name(), size: 7 }).is_ok(),
            5 => client.call(GetScript { name: name() }).is_ok(),
            6 => client.call(GetScript { name: name() }).map(|ticket| client.cancel(ticket)).is_ok(),
            7 => client.call(SetActive(None)).is_ok(),
            8 => client.call(DeleteScript { name: name() }).is_ok(),
            9 => client.call(RenameScript { from: name(), to: name() }).is_ok(),
            10 => client.call(Unauthenticate).is_ok(),
            11 => client.call(Logout).is_ok(),
            12 => client.call(PutScript { name: name(), size: 5 }).is_ok() && send(client),
            _ => client.call(CheckScript { size: 5 }).is_ok() && send(client),
        };
        if !called {
            let _ = client.call(plain()).is_ok() || client.call(ListScripts).is_ok();
        }
    }
}

fn send(client: &mut Client) -> bool {
    client.send_body("keep;".into()).unwrap();
    client.end_body().unwrap();
    true
}

impl Subject for Calling {
    type Machine = Client;

    fn build(&self) -> Client {
        let mut config = client::Config::default();
        config.allow_plaintext_auth = true;
        config.limits.literal = 100;
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
            _ => {
                self.call(client);
                self.call(client);
            }
        }
        Seen::Event(seen)
    }
}
