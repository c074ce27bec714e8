//! line-proto: who somebody is. Dovecot's authentication protocol, SASL and the PROXY protocol, against any peer.

use mailwright_line_proto::{
    AuthRefusal, ProxyHeader, Secret, TlsInfo,
    dovecot_auth::{
        Answer, AuthRequest, Client, ClientEvent, MechanismOffer, Server, ServerConfig, ServerEvent,
    },
    sasl::{self, Context, Credentials, Mechanism, ScramKeys, ServerStep, Verdict, Verify},
    testing::{MockRealm, Seen, Side, Subject},
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

/// The header of a proxy: read by as much as is certainly its own, and the same whatever stands behind it.
pub fn auth_proxy(data: &[u8]) {
    let mut taken = 0;
    let found = loop {
        match ProxyHeader::read(&data[..taken]) {
            ProxyHeader::Wants(more) => {
                assert!(more > 0 && taken + more <= ProxyHeader::LONGEST, "{more} behind {taken}");
                if taken + more > data.len() {
                    return;
                }
                taken += more;
            }
            found => break found,
        }
    };
    if let ProxyHeader::Whole(peer) = found {
        assert!(data.starts_with(b"PROXY ") || data.starts_with(b"\r\n\r\n\0\r\nQUIT\n"));
        assert!(peer.is_none_or(|peer| peer.remote.is_some() && peer.local.is_some()));
        let behind = [&data[..taken], b"x"].concat();
        assert_eq!(ProxyHeader::read(&behind), ProxyHeader::Malformed, "what is behind it is none of it");
    }
}

/// A mechanism, and the peer's messages, a line each: nobody comes in whom the application has not let in, and a client believes no server
/// that has not proved what it had to.
pub fn auth_sasl(data: &[u8]) {
    let Some((choice, messages)) = data.split_first() else { return };
    let all: Vec<Mechanism> = Mechanism::all().collect();
    let mechanism = all[usize::from(*choice) % all.len()];
    let mut tls = TlsInfo::default();
    (tls.exporter, tls.peer_certificates) = (Some([9; 32]), vec![vec![1]]);
    let context = Context::tls(&tls).allow_legacy();
    let messages = messages.split(|octet| *octet == b'\n').take(8);
    let mut server = match mechanism.name() {
        "GSSAPI" => sasl::Server::gssapi(MockRealm::new(2).acceptor()),
        name => sasl::Server::start(name, &context, [3; 32]).expect("it can be used here"),
    };
    let mut step = server.step(messages.clone().next());
    for message in messages.clone().skip(1).map(Some).chain([None]) {
        step = match step {
            ServerStep::Done(identity) => panic!("{} lets {identity:?} in", mechanism.name()),
            ServerStep::Verify(Verify::Scram { username, hash, .. }) => {
                server.resume(Verdict::Keys(ScramKeys::fake(hash, &"secret".into(), &username, 4096)))
            }
            ServerStep::Verify(Verify::Shared { .. }) => server.resume(Verdict::Shared(None)),
            ServerStep::Verify(_) => server.resume(Verdict::Refuse(AuthRefusal::Credentials)),
            ServerStep::Challenge(_) => server.step(message),
            ServerStep::Refuse(_) => break,
            _ => break,
        };
    }
    assert!(!matches!(step, ServerStep::Done(_)), "{} lets anybody in", mechanism.name());
    let credentials = match mechanism.name() {
        "OAUTHBEARER" | "XOAUTH2" => Credentials::bearer("tim", "token".into()),
        "EXTERNAL" => Credentials::certificate(),
        "GSSAPI" => Credentials::gssapi(|| Ok(MockRealm::new(2).initiator("tim"))),
        "ANONYMOUS" => Credentials::anonymous("tim"),
        _ => Credentials::new("tim", "pass".into()),
    };
    let Ok(mut client) = sasl::Client::new(mechanism, &credentials, &context, [3; 32]) else { return };
    let _ = client.initial();
    for message in messages {
        // An iteration count that takes its time is for the tests of SCRAM.
        if message.windows(6).any(|part| part.starts_with(b"i=") && part[2..].iter().all(u8::is_ascii_digit))
        {
            return;
        }
        if client.respond(message).is_err() {
            assert!(client.finish(None).is_err(), "after a failure nothing is believed");
            return;
        }
    }
    if mechanism.name().starts_with("SCRAM") || mechanism.name() == "GSSAPI" {
        assert!(client.finish(None).is_err(), "a server without the password proves nothing");
    }
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
