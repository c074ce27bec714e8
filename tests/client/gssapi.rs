//! GSSAPI on all four protocols: machines back to back, an octet at a time, and clients against the services.

use std::sync::Arc;

use mailwright::{
    client::{AuthError, ClientError, ImapClient, ManageSieveClient, Pop3Client},
    line_proto::{
        AuthStep, Authenticate, Peer, Secret,
        sasl::{self, Context, Credentials, GssError, Mechanism, ServerStep},
        testing::{MockRealm, Pair},
    },
    pop3_proto::Maildrop,
    smtp_proto::{self, Hello},
};

use super::{
    smtp,
    world::{BOB, Protection, USER, World},
};

fn ticket(realm: &MockRealm, principal: &'static str) -> Credentials {
    let realm = realm.clone();
    Credentials::gssapi(move || Ok(realm.initiator(principal)))
}

/// A server's part of an exchange, and what it came to.
struct Accepts {
    realm: MockRealm,
    server: sasl::Server,
    begun: u32,
    user: Option<String>,
}

impl Accepts {
    fn new(realm: &MockRealm) -> Self {
        let server = sasl::Server::gssapi(realm.acceptor());
        Self { realm: realm.clone(), server, begun: 0, user: None }
    }

    fn step(&mut self, ask: &Authenticate) -> AuthStep {
        assert_eq!(ask.mechanism, "GSSAPI");
        if !ask.continues {
            self.server = sasl::Server::gssapi(self.realm.acceptor());
            self.begun += 1;
        }
        let step = self.server.step(ask.response.as_ref().map(Secret::expose));
        if let ServerStep::Done(identity) = &step {
            self.user = Some(identity.authcid.clone());
        }
        step.answer().unwrap()
    }
}

fn initiate(realm: &MockRealm) -> sasl::Client {
    let gssapi = Mechanism::find("GSSAPI").unwrap();
    sasl::Client::new(gssapi, &ticket(realm, USER), &Context::plaintext(), [0; 32]).unwrap()
}

fn secret(octets: &[u8]) -> Secret {
    Secret::from(octets)
}

/// How an exchange goes: to its end, cancelled by the client at its first challenge and begun again, or with a message changed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Right,
    Cancelled,
    Forged,
}

const WAYS: [Way; 3] = [Way::Right, Way::Cancelled, Way::Forged];

/// A client and a server of one protocol: all of an exchange, whole and an octet at a time.
macro_rules! back_to_back {
    ($test:ident, $protocol:path, $server:expr, $client:expr, $initial:expr, $other:expr) => {
        #[test]
        fn $test() {
            use $protocol::{client, server};
            for (legs, way, split) in (1..=4)
                .flat_map(|legs| WAYS.map(|way| (legs, way)))
                .flat_map(|(legs, way)| [1, 2, 5, 1000].map(|split| (legs, way, split)))
            {
                let realm = MockRealm::new(legs);
                let (mut accepts, mut initiates) = (Accepts::new(&realm), initiate(&realm));
                let mut config = server::Config::default();
                $server(&mut config);
                let server = server::Server::new(Arc::new(config), Peer::unknown());
                let mut config = client::Config::default();
                config.allow_plaintext_auth = true;
                let mut pair = Pair::new(server, $client(Arc::new(config)), split);
                let (mut outcomes, mut responses) = (Vec::new(), 0);
                for _ in 0..=usize::from(way == Way::Cancelled) {
                    pair.run(|_, _| (), |_, _| ());
                    let initial =
                        if $initial { initiates.initial().map(|token| secret(&token)) } else { None };
                    let request = Authenticate::new("GSSAPI".to_owned(), initial);
                    let ticket = pair.client.machine.call(request).unwrap();
                    pair.run(
                        |server, event| match event {
                            server::Event::Authenticate(ask) => {
                                let step = accepts.step(ask.request());
                                let _ = server.answer(ask, step);
                            }
                            event => $other(server, event),
                        },
                        |client, event| match event {
                            client::Event::Challenge(_, challenge) => {
                                responses += 1;
                                if way == Way::Cancelled && outcomes.is_empty() {
                                    return client.cancel(ticket);
                                }
                                let mut response = initiates.respond(&challenge).unwrap();
                                if way == Way::Forged && initiates.finish(None).is_ok() {
                                    response = b"\x01\0\0\0"[..].into();
                                }
                                client
                                    .call(Authenticate::new("GSSAPI".to_owned(), Some(secret(&response))))
                                    .unwrap();
                            }
                            client::Event::Authenticate(_, outcome) => outcomes.push(outcome.is_ok()),
                            _ => {}
                        },
                    );
                    if outcomes == [false] && way == Way::Cancelled {
                        initiates = initiate(&realm);
                    }
                }
                let case = format!("{legs} {way:?} {split} {responses}");
                let expected = match way {
                    Way::Right => vec![true],
                    Way::Cancelled => vec![false, true],
                    Way::Forged => vec![false],
                };
                assert_eq!(outcomes, expected, "{case}");
                assert_eq!(accepts.user.as_deref(), (way != Way::Forged).then_some(USER), "{case}");
                assert_eq!(accepts.begun as usize, expected.len(), "{case}");
                assert_eq!(initiates.finish(None), Ok(()), "{case}");
            }
        }
    };
}

back_to_back! {
    imap_machines_an_octet_at_a_time,
    mailwright::imap_proto,
    |config: &mut server::Config| config.auth_mechanisms = vec!["GSSAPI".into()],
    |config| client::Client::new(config, [0; 32]),
    true,
    |_: &mut server::Server, _| ()
}

back_to_back! {
    pop3_machines_an_octet_at_a_time,
    mailwright::pop3_proto,
    |config: &mut server::Config| {
        (config.mechanisms, config.allow_plaintext_auth) = (vec!["GSSAPI".into()], true);
    },
    client::Client::new,
    false,
    |server: &mut server::Server, event| {
        if let server::Event::Open(ask) = event {
            server.answer::<server::Open>(ask, Ok(Maildrop::default())).unwrap();
        }
    }
}

back_to_back! {
    managesieve_machines_an_octet_at_a_time,
    mailwright::sieve::managesieve,
    |config: &mut server::Config| {
        (config.mechanisms, config.allow_plaintext_auth) = (vec!["GSSAPI".into()], true);
    },
    client::Client::new,
    true,
    |_: &mut server::Server, _| ()
}

#[test]
fn smtp_machines_an_octet_at_a_time() {
    use smtp_proto::{client, server};
    for (legs, way, split) in (1..=4)
        .flat_map(|legs| WAYS.map(|way| (legs, way)))
        .flat_map(|(legs, way)| [1, 2, 5, 1000].map(|split| (legs, way, split)))
    {
        let realm = MockRealm::new(legs);
        let (mut accepts, mut initiates) = (Accepts::new(&realm), initiate(&realm));
        let mut config = server::Config::smtp("mail.example.org").unwrap();
        (config.auth_mechanisms, config.allow_plaintext_auth) = (vec!["GSSAPI".into()], true);
        let server = server::Server::new(Arc::new(config), Peer::unknown());
        // Not shown to whoever listens: no exception is needed.
        let client = client::Client::new(Arc::default());
        let mut pair = Pair::new(server, client, split);
        let mut outcomes = Vec::new();
        pair.run(|_, _| (), |_, _| ());
        pair.client.machine.call(Hello::new("client.example.org".parse().unwrap())).unwrap();
        pair.run(
            |server, event| {
                if let server::Event::Hello(ask) = event {
                    server.answer(ask, Ok(())).unwrap();
                }
            },
            |_, _| (),
        );
        for _ in 0..=usize::from(way == Way::Cancelled) {
            let initial = initiates.initial().map(|token| secret(&token));
            let request = Authenticate::new("GSSAPI".to_owned(), initial);
            let ticket = pair.client.machine.call(request).unwrap();
            pair.run(
                |server, event| {
                    if let server::Event::Authenticate(ask) = event {
                        let step = accepts.step(ask.request());
                        let _ = server.answer(ask, step);
                    }
                },
                |client, event| match event {
                    client::Event::Challenge(_, challenge) => {
                        if way == Way::Cancelled && outcomes.is_empty() {
                            return client.respond(ticket, None).unwrap();
                        }
                        let mut response = initiates.respond(challenge.expose()).unwrap();
                        if way == Way::Forged && initiates.finish(None).is_ok() {
                            response = b"\x01\0\0\0"[..].into();
                        }
                        client.respond(ticket, Some(&secret(&response))).unwrap();
                    }
                    client::Event::Authenticate(_, reply) => outcomes.push(reply.code()),
                    _ => {}
                },
            );
            if outcomes == [501] {
                initiates = initiate(&realm);
            }
        }
        let case = format!("{legs} {way:?} {split}");
        // RFC 4954 §4: 501 for what was cancelled.
        let expected = match way {
            Way::Right => vec![235],
            Way::Cancelled => vec![501, 235],
            Way::Forged => vec![535],
        };
        assert_eq!(outcomes, expected, "{case}");
        assert_eq!(accepts.user.as_deref(), (way != Way::Forged).then_some(USER), "{case}");
    }
}

/// Logs in to all four services.
async fn log_in(world: &World, credentials: &Credentials) -> [Result<(), ClientError>; 4] {
    let mut client = smtp(world, Protection::Starttls).await;
    let by_smtp = client.authenticate(credentials).await;
    let endpoint = world.imap(Protection::Plain);
    let config = Arc::new(super::world::imap_config(Protection::Plain));
    let mut client = ImapClient::connect(&endpoint, config).await.unwrap();
    let by_imap = client.authenticate(credentials).await;
    let endpoint = world.pop3(Protection::Implicit);
    let mut client = Pop3Client::connect(&endpoint, Arc::default()).await.unwrap();
    let by_pop3 = client.authenticate(credentials).await;
    let endpoint = world.managesieve(Protection::Starttls);
    let mut client = ManageSieveClient::connect(&endpoint, Arc::default()).await.unwrap();
    [by_smtp, by_imap, by_pop3, client.authenticate(credentials).await]
}

#[tokio::test]
async fn a_ticket_logs_in_to_every_service_of_a_host_with_kerberos() {
    for legs in 1..=3 {
        let realm = MockRealm::new(legs);
        let world = World::with_realm(&realm).await;
        for outcome in log_in(&world, &ticket(&realm, USER)).await {
            outcome.unwrap();
        }
        assert_eq!(world.last_login(), "proof");
        // One's own name, another's, and a ticket of elsewhere.
        for outcome in log_in(&world, &ticket(&realm, USER).acting_as(USER)).await {
            outcome.unwrap();
        }
        for refused in [ticket(&realm, USER).acting_as(BOB), ticket(&MockRealm::new(legs), USER)] {
            for outcome in log_in(&world, &refused).await {
                let error = outcome.unwrap_err();
                assert!(matches!(error, ClientError::Refused(_)), "{error}");
            }
        }
        // Without a ticket nothing is said to the server.
        let none = Credentials::gssapi(|| Err(GssError::Unavailable("no credentials cache".into())));
        for outcome in log_in(&world, &none).await {
            let error = outcome.unwrap_err();
            let expected = "login: GSS-API: no credentials cache";
            assert!(matches!(error, ClientError::Auth(AuthError::Exchange(_))), "{error}");
            assert_eq!(error.to_string(), expected);
        }
    }
}

#[tokio::test]
async fn a_host_without_kerberos_does_not_offer_it() {
    let (world, realm) = (World::new(false).await, MockRealm::new(1));
    for outcome in log_in(&world, &ticket(&realm, USER)).await {
        let Err(ClientError::Auth(AuthError::NoMechanism { offered })) = outcome else {
            panic!("{outcome:?}")
        };
        assert!(!offered.iter().any(|name| name == "GSSAPI"), "{offered:?}");
    }
}
