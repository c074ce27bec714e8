//! Exchanges with a Kerberos that is only played.

use super::super::{Client, Context, Mechanism, Server};
use super::*;
use crate::testing::MockRealm;

fn start(credentials: &Credentials) -> Result<Client, ClientError> {
    Client::new(Mechanism::find("GSSAPI").unwrap(), credentials, &Context::plaintext(), [0; 32])
}

fn ticket(realm: &MockRealm, principal: &'static str) -> Credentials {
    let realm = realm.clone();
    Credentials::gssapi(move || Ok(realm.initiator(principal)))
}

/// Plays both sides; each message of the client may be changed on its way. What came of it, with the number of challenges.
fn play(
    client: &mut Client,
    acceptor: Box<dyn GssContext>,
    initial: bool,
    mut change: impl FnMut(usize, Bytes) -> Bytes,
) -> (ServerStep, usize) {
    let mut server = Server::gssapi(acceptor);
    let first = if initial { client.initial().map(|token| change(0, token)) } else { None };
    let mut step = server.step(first.as_deref());
    let mut challenges = 0;
    while let ServerStep::Challenge(challenge) = &step {
        challenges += 1;
        let response = client.respond(challenge).unwrap();
        step = server.step(Some(&change(challenges, response)));
    }
    // Whatever it was, it is over.
    assert!(matches!(server.step(Some(b"")), ServerStep::Refuse(AuthRefusal::Malformed)));
    (step, challenges)
}

#[test]
fn a_ticket_opens_its_account_however_many_tokens_it_takes() {
    for legs in 1..=12 {
        let realm = MockRealm::new(legs);
        for (initial, authzid) in [(true, None), (false, Some("other@example.org"))] {
            let credentials = ticket(&realm, "tim");
            let credentials = match authzid {
                Some(authzid) => credentials.acting_as(authzid),
                None => credentials,
            };
            let mut client = start(&credentials).unwrap();
            assert_eq!(client.finish(None), Err(ClientError::Unproven), "nothing was proved yet");
            let (step, challenges) = play(&mut client, realm.acceptor(), initial, |_, message| message);
            let authzid = authzid.map(str::to_owned);
            assert_eq!(step, ServerStep::Done(Identity { authcid: "tim".into(), authzid }), "{legs}");
            // The server's tokens and its offer, and the empty one where the client may not begin.
            let expected = usize::from(legs / 2) + 1 + usize::from(!initial);
            assert_eq!(challenges, expected, "{legs}");
            assert_eq!(client.finish(None), Ok(()));
        }
    }
}

/// A library without keys.
struct Empty;

impl GssContext for Empty {
    fn step(&mut self, _: &[u8]) -> Result<GssStep, GssError> {
        Err(GssError::Unavailable("no key table".into()))
    }
    fn wrap(&mut self, _: &[u8]) -> Result<Bytes, GssError> {
        unreachable!()
    }
    fn unwrap(&mut self, _: &[u8]) -> Result<Bytes, GssError> {
        unreachable!()
    }
    fn peer(&self) -> Option<String> {
        unreachable!()
    }
}

#[test]
fn who_is_not_who_it_says_is_refused() {
    let realm = MockRealm::new(2);
    // A ticket of another realm, one that was seen already, and one of somebody without an account.
    let stranger = ticket(&MockRealm::new(2), "tim");
    let (step, _) = play(&mut start(&stranger).unwrap(), realm.acceptor(), true, |_, message| message);
    assert_eq!(step, ServerStep::Refuse(AuthRefusal::Credentials));
    let mut seen = Bytes::new();
    let mut client = start(&ticket(&realm, "tim")).unwrap();
    let (step, _) = play(&mut client, realm.acceptor(), true, |number, message| {
        if number == 0 {
            seen = message.clone();
        }
        message
    });
    assert!(matches!(step, ServerStep::Done(_)));
    assert_eq!(
        Server::gssapi(realm.acceptor()).step(Some(&seen)),
        ServerStep::Refuse(AuthRefusal::Credentials)
    );
    let mut nobody = start(&ticket(&realm, "nobody")).unwrap();
    let (step, challenges) = play(&mut nobody, realm.acceptor(), true, |_, message| message);
    assert_eq!((step, challenges), (ServerStep::Refuse(AuthRefusal::Credentials), 2));
    // No key table, no ticket.
    assert_eq!(
        Server::gssapi(Box::new(Empty)).step(Some(b"x")),
        ServerStep::Refuse(AuthRefusal::Unavailable)
    );
    let none = Credentials::gssapi(|| Ok(Box::new(Empty)));
    let why = ClientError::Gssapi(GssError::Unavailable("no key table".into()));
    assert_eq!(start(&none).err(), Some(why.clone()));
    assert_eq!(why.to_string(), "GSS-API: no key table");
    // With such credentials there is no other mechanism, and with a password not this one.
    let chosen = Client::choose(["PLAIN", "GSSAPI"], &none, &Context::trusted());
    assert_eq!(chosen.map(Mechanism::name), Some("GSSAPI"));
    let password = Credentials::new("tim", "x".into());
    assert_eq!(Client::choose(["GSSAPI"], &password, &Context::trusted()), None);
    assert_eq!(start(&password).err(), Some(ClientError::OtherCredentials("GSSAPI")));
    assert_eq!(start(&none.acting_as("a\nb")).err(), Some(ClientError::Unusable));
    // Without an acceptor there is nothing to begin with.
    let started = Server::start("GSSAPI", &Context::trusted(), [0; 32]);
    assert_eq!(started.err(), Some(AuthRefusal::Mechanism));
}

/// Wraps something else than the exchange has it wrap.
struct Lying(Box<dyn GssContext>, Vec<u8>);

impl GssContext for Lying {
    fn step(&mut self, token: &[u8]) -> Result<GssStep, GssError> {
        self.0.step(token)
    }
    fn wrap(&mut self, _: &[u8]) -> Result<Bytes, GssError> {
        self.0.wrap(&self.1)
    }
    fn unwrap(&mut self, message: &[u8]) -> Result<Bytes, GssError> {
        self.0.unwrap(message)
    }
    fn peer(&self) -> Option<String> {
        self.0.peer()
    }
}

#[test]
fn a_server_takes_no_layer_but_none() {
    let realm = MockRealm::new(2);
    for (choice, expected) in [
        (&b"\x01\0\0\0"[..], Ok(None)),
        (b"\x01\0\0\0tim", Ok(Some("tim"))),
        ("\u{1}\0\0\0J\u{fc}rgen".as_bytes(), Ok(Some("J\u{fc}rgen"))),
        // Integrity, confidentiality, two at once, none at all.
        (b"\x02\0\x10\0", Err(AuthRefusal::Malformed)),
        (b"\x04\0\x10\0tim", Err(AuthRefusal::Malformed)),
        (b"\x03\0\0\0", Err(AuthRefusal::Malformed)),
        (b"\0\0\0\0", Err(AuthRefusal::Malformed)),
        // Octets that fit into no layer, too short, no UTF-8, what no name may hold.
        (b"\x01\0\x10\0", Err(AuthRefusal::Malformed)),
        (b"\x01\0\0", Err(AuthRefusal::Malformed)),
        (b"", Err(AuthRefusal::Malformed)),
        (b"\x01\0\0\0t\xffm", Err(AuthRefusal::Malformed)),
        (b"\x01\0\0\0tim\0", Err(AuthRefusal::Malformed)),
        (b"\x01\0\0\0a\r\nb", Err(AuthRefusal::Malformed)),
    ] {
        let lying = realm.clone();
        let credentials =
            Credentials::gssapi(move || Ok(Box::new(Lying(lying.initiator("tim"), choice.to_vec()))));
        let (step, _) = play(&mut start(&credentials).unwrap(), realm.acceptor(), true, |_, message| message);
        let expected = match expected {
            Ok(authzid) => {
                ServerStep::Done(Identity { authcid: "tim".into(), authzid: authzid.map(str::to_owned) })
            }
            Err(refusal) => ServerStep::Refuse(refusal),
        };
        assert_eq!(step, expected, "{choice:?}");
    }
}

#[test]
fn a_client_goes_on_without_layer_or_not_at_all() {
    let realm = MockRealm::new(2);
    for (offer, expected) in [
        (&[1, 0, 0, 0][..], Ok(())),
        // More layers, and the size that they take.
        (&[7, 0, 16, 0], Ok(())),
        (&[6, 0, 16, 0], Err(ClientError::BadChallenge("an offer to go on without security layer"))),
        (&[0, 0, 0, 0], Err(ClientError::BadChallenge("an offer to go on without security layer"))),
        (&[1, 0, 16, 0], Err(ClientError::BadChallenge("a size of 0 where there is no security layer"))),
        (&[1, 0, 0], Err(ClientError::BadChallenge("an offer of four octets"))),
        (&[1, 0, 0, 0, 0], Err(ClientError::BadChallenge("an offer of four octets"))),
        (&[], Err(ClientError::BadChallenge("an offer of four octets"))),
    ] {
        let mut server = Server::gssapi(Box::new(Lying(realm.acceptor(), offer.to_vec())));
        let mut client = start(&ticket(&realm, "tim")).unwrap();
        let ServerStep::Challenge(token) = server.step(client.initial().as_deref()) else { panic!() };
        let ServerStep::Challenge(wrapped) = server.step(Some(&client.respond(&token).unwrap())) else {
            panic!()
        };
        assert_eq!(client.respond(&wrapped).map(drop), expected, "{offer:?}");
        assert_eq!(client.finish(None).is_ok(), expected.is_ok(), "{offer:?}");
        assert_eq!(client.respond(b""), Err(ClientError::Over));
    }
    // An offer that the server of the context has not made.
    let mut client = start(&ticket(&realm, "tim")).unwrap();
    let mut server = Server::gssapi(realm.acceptor());
    let ServerStep::Challenge(token) = server.step(client.initial().as_deref()) else { panic!() };
    client.respond(&token).unwrap();
    assert!(matches!(client.respond(b"\x01\0\0\0"), Err(ClientError::Gssapi(GssError::Refused(_)))));
    assert_eq!(client.finish(None), Err(ClientError::Unproven));
}

#[test]
fn messages_out_of_order_or_changed_are_refused() {
    for legs in 1..=5 {
        for at in 0..=usize::from(legs / 2) + 1 {
            for (name, changed) in [("empty", &b""[..]), ("other", b"x"), ("raw", &NO_LAYER)] {
                let realm = MockRealm::new(legs);
                let mut was_empty = false;
                let mut client = start(&ticket(&realm, "tim")).unwrap();
                let (step, _) = play(&mut client, realm.acceptor(), true, |number, message| {
                    if number != at {
                        return message;
                    }
                    was_empty = message.is_empty();
                    Bytes::from_static(changed)
                });
                // The client's answer to the server's last token is empty anyway.
                let same = was_empty && changed.is_empty();
                assert_eq!(matches!(step, ServerStep::Done(_)), same, "{legs} {at} {name}");
            }
        }
    }
    // Nothing at all where a token is due.
    let realm = MockRealm::new(3);
    let mut server = Server::gssapi(realm.acceptor());
    assert_eq!(server.step(None), ServerStep::Challenge(Bytes::new()));
    assert_eq!(server.step(None), ServerStep::Refuse(AuthRefusal::Malformed));
    let mut server = Server::gssapi(realm.acceptor());
    assert_eq!(server.resume(Verdict::Accept), ServerStep::Refuse(AuthRefusal::Unavailable));
}

/// Never done, and wordy.
struct Endless(usize);

impl GssContext for Endless {
    fn step(&mut self, _: &[u8]) -> Result<GssStep, GssError> {
        Ok(GssStep::Continue(vec![b'x'; self.0].into()))
    }
    fn wrap(&mut self, _: &[u8]) -> Result<Bytes, GssError> {
        unreachable!()
    }
    fn unwrap(&mut self, _: &[u8]) -> Result<Bytes, GssError> {
        unreachable!()
    }
    fn peer(&self) -> Option<String> {
        None
    }
}

#[test]
fn neither_side_goes_on_for_ever() {
    let mut server = Server::gssapi(Box::new(Endless(1)));
    for _ in 0..LEGS {
        assert_eq!(server.step(Some(b"x")), ServerStep::Challenge("x".into()));
    }
    assert_eq!(server.step(Some(b"x")), ServerStep::Refuse(AuthRefusal::Malformed));
    let mut client = start(&Credentials::gssapi(|| Ok(Box::new(Endless(1))))).unwrap();
    assert_eq!(client.initial().as_deref(), Some(&b"x"[..]));
    for _ in 1..LEGS {
        assert_eq!(client.respond(b"x").as_deref(), Ok(&b"x"[..]));
    }
    assert_eq!(client.respond(b"x"), Err(ClientError::BadChallenge("fewer and shorter tokens")));
    assert_eq!(client.finish(None), Err(ClientError::Unproven));
    // The longest token, and one octet more.
    for (length, fits) in [(LONGEST, true), (LONGEST + 1, false)] {
        let token = vec![b'x'; length];
        let step = Server::gssapi(Box::new(Endless(1))).step(Some(&token));
        assert_eq!(
            step,
            if fits { ServerStep::Challenge("x".into()) } else { ServerStep::Refuse(AuthRefusal::Malformed) }
        );
        let step = Server::gssapi(Box::new(Endless(length))).step(Some(b"x"));
        assert_eq!(matches!(step, ServerStep::Challenge(_)), fits);
        let mut client = start(&Credentials::gssapi(|| Ok(Box::new(Endless(1))))).unwrap();
        let _ = client.initial();
        assert_eq!(client.respond(&token).is_ok(), fits);
    }
}
