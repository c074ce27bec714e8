//! line-proto: Dovecot's authentication protocol, both machines against any peer.

use mailwright_line_proto::{
    AuthRefusal, Secret,
    dovecot_auth::{
        Answer, AuthRequest, Client, ClientEvent, MechanismOffer, Server, ServerConfig, ServerEvent,
    },
    testing::{Seen, Side, Subject},
};

use crate::machine::{Choices, Plan};

/// A server of Dovecot's authentication protocol against any client.
pub fn auth_server(data: &[u8]) {
    let Some(plan) = Plan::new(data) else { return };
    plan.play(|| Serving { choices: plan.choices.clone() });
}

/// A client of it against any server.
pub fn auth_client(data: &[u8]) {
    let Some(plan) = Plan::new(data) else { return };
    plan.play(|| Asking { choices: plan.choices.clone() });
}

struct Serving {
    choices: Choices,
}

impl Subject for Serving {
    type Machine = Server;

    fn build(&self) -> Server {
        let mechanisms =
            vec![MechanismOffer::new("PLAIN", true), MechanismOffer::new("SCRAM-SHA-256", false)];
        let mut config = ServerConfig::new(mechanisms);
        config.exchanges = 4;
        Server::new(config)
    }

    fn side(&self) -> Side {
        Side::Server
    }

    fn react(&mut self, server: &mut Server, event: ServerEvent) -> Seen {
        let seen = format!("{event:?}");
        match event {
            ServerEvent::Closed(_) => return Seen::Closed(seen),
            ServerEvent::Exchange(ask) => {
                let answer = match self.choices.below(4) {
                    0 => Answer::Accept("tim\t\n\u{1}@example.org".into()),
                    1 => Answer::Refuse(AuthRefusal::Credentials),
                    2 => Answer::Refuse(AuthRefusal::Busy),
                    _ => Answer::Challenge("\0a challenge\n".into()),
                };
                // It may be gone: the client cancels what it likes.
                let _ = server.answer(ask, answer);
            }
            _ => {}
        }
        Seen::Event(seen)
    }
}

struct Asking {
    choices: Choices,
}

impl Asking {
    fn ask(&mut self, client: &mut Client) {
        let mut request =
            AuthRequest::new(["PLAIN", "SCRAM-SHA-256"][usize::from(self.choices.below(2))], "imap");
        request.secured = self.choices.below(2) == 0;
        request.initial = (self.choices.below(2) == 0).then(|| Secret::from("\0tim\0pass"));
        // What the server does not offer cannot be asked.
        let _ = client.authenticate(&request);
    }
}

impl Subject for Asking {
    type Machine = Client;

    fn build(&self) -> Client {
        Client::new(7)
    }

    fn side(&self) -> Side {
        Side::Client
    }

    fn react(&mut self, client: &mut Client, event: ClientEvent) -> Seen {
        let seen = format!("{event:?}");
        match event {
            ClientEvent::Closed(_) => return Seen::Closed(seen),
            ClientEvent::Ready(_) => {
                for _ in 0..=self.choices.below(3) {
                    self.ask(client);
                }
            }
            ClientEvent::Challenge(id, _) => client.respond(id, &Secret::from("\0tim\0pass")).unwrap(),
            ClientEvent::Done(..) if self.choices.below(4) == 0 => client.quit(),
            ClientEvent::Done(..) => self.ask(client),
            _ => {}
        }
        Seen::Event(seen)
    }
}
