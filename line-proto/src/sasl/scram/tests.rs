//! SCRAM against the RFC's own example, against itself, and against people who lie.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;

use super::super::{
    Client, ClientError, Context, Credentials, KeysError, Mechanism, ScramHash, ScramKeys, Server,
    ServerStep, Verdict, Verify, client::ClientSide, server::ServerSide,
};
use super::*;
use crate::{AuthRefusal, Secret, TlsInfo};

const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";
const CLIENT_NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const CLIENT_FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const SERVER_FIRST: &[u8] =
    b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const CLIENT_FINAL: &[u8] = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SERVER_FINAL: &[u8] = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn user() -> Credentials {
    Credentials::new("user", "pencil".into())
}

fn keys() -> ScramKeys {
    ScramKeys::derive(ScramHash::Sha256, &"pencil".into(), &STANDARD.decode(SALT).unwrap(), 4096).unwrap()
}

fn tls(octet: u8) -> Context {
    Context::tls(&TlsInfo { exporter: Some([octet; 32]), ..TlsInfo::default() })
}

fn example_client() -> ScramClient {
    ScramClient::new(ScramHash::Sha256, &user(), false, None, CLIENT_NONCE.to_owned()).unwrap()
}

/// A server that has sent its challenge of the example.
fn example_server() -> ScramServer {
    let mut server = ScramServer::new(ScramHash::Sha256, false, None, SERVER_NONCE.to_owned());
    assert!(matches!(server.step(Some(CLIENT_FIRST)), ServerStep::Verify(Verify::Scram { .. })));
    assert_eq!(server.resume(Verdict::Keys(keys())), ServerStep::Challenge(SERVER_FIRST.into()));
    server
}

/// Plays the whole exchange; the server's last step.
fn play(client: &mut Client, server: &mut Server, keys: impl Fn(&str) -> ScramKeys) -> ServerStep {
    let mut step = server.step(client.initial().as_deref());
    loop {
        step = match step {
            ServerStep::Challenge(challenge) => match client.respond(&challenge) {
                Ok(response) => server.step(Some(&response)),
                Err(error) => panic!("{error}"),
            },
            ServerStep::Verify(Verify::Scram { username, .. }) => {
                server.resume(Verdict::Keys(keys(&username)))
            }
            step => return step,
        };
    }
}

#[test]
fn the_example_of_rfc_7677() {
    let mut client = example_client();
    assert_eq!(client.initial().as_deref(), Some(CLIENT_FIRST));
    assert_eq!(client.respond(SERVER_FIRST).as_deref(), Ok(CLIENT_FINAL));
    assert!(!client.is_finished());
    assert_eq!(client.respond(SERVER_FINAL), Ok(Bytes::new()));
    assert!(client.is_finished());

    let mut server = example_server();
    assert_eq!(server.step(Some(CLIENT_FINAL)), ServerStep::Challenge(SERVER_FINAL.into()));
    let ServerStep::Done(identity) = server.step(Some(b"")) else { panic!() };
    assert_eq!((identity.authcid.as_str(), identity.authzid), ("user", None));
}

/// RFC 5802 §5, and the example of RFC 7677 with SHA-512, computed with Python's `hashlib`.
#[test]
fn the_same_with_other_hashes() {
    for (hash, nonces, salt, proof, signature) in [
        (
            ScramHash::Sha1,
            ("fyko+d2lbbFgONRv9qkxdawL", "3rfcNHYJY1ZVvWVs7j"),
            "QSXCR+Q6sek8bf92",
            "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        ),
        (
            ScramHash::Sha512,
            (CLIENT_NONCE, SERVER_NONCE),
            SALT,
            "gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ==",
            "ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw==",
        ),
    ] {
        let mut client = ScramClient::new(hash, &user(), false, None, nonces.0.to_owned()).unwrap();
        let mut server = ScramServer::new(hash, false, None, nonces.1.to_owned());
        let first = client.initial().unwrap();
        assert!(matches!(server.step(Some(&first)), ServerStep::Verify(Verify::Scram { .. })));
        let keys = ScramKeys::derive(hash, &"pencil".into(), &STANDARD.decode(salt).unwrap(), 4096).unwrap();
        let challenge = format!("r={}{},s={salt},i=4096", nonces.0, nonces.1);
        assert_eq!(server.resume(Verdict::Keys(keys)), ServerStep::Challenge(challenge.clone().into()));
        let last = client.respond(challenge.as_bytes()).unwrap();
        assert_eq!(last, format!("c=biws,r={}{},p={proof}", nonces.0, nonces.1));
        let proved = server.step(Some(&last));
        assert_eq!(proved, ServerStep::Challenge(format!("v={signature}").into()));
        assert_eq!(client.respond(format!("v={signature}").as_bytes()), Ok(Bytes::new()));
    }
}

#[test]
fn both_sides_with_and_without_the_channel() {
    for (name, context) in [
        ("SCRAM-SHA-256", Context::plaintext()),
        ("SCRAM-SHA-256", Context::trusted()),
        ("SCRAM-SHA-256-PLUS", tls(7)),
    ] {
        let credentials = user().acting_as("so,me=one");
        let mechanism = Client::choose([name, "PLAIN"], &credentials, &context).unwrap();
        assert_eq!(mechanism.name(), name);
        let mut client = Client::new(mechanism, &credentials, &context, [1; 32]).unwrap();
        let mut server = Server::start(name, &context, [2; 32]).unwrap();
        let ServerStep::Done(identity) = play(&mut client, &mut server, |_| keys()) else { panic!() };
        assert_eq!(identity.authzid.as_deref(), Some("so,me=one"));
        assert_eq!(client.finish(None), Ok(()));
        assert_eq!(client.respond(b"v=x"), Err(ClientError::Over));
        assert_eq!(server.step(Some(b"")), ServerStep::Refuse(AuthRefusal::Malformed));
    }
}

#[test]
fn a_channel_in_the_middle_and_a_hidden_offer_are_found() {
    let plus = Mechanism::find("SCRAM-SHA-256-PLUS").unwrap();
    let mut client = Client::new(plus, &user(), &tls(1), [1; 32]).unwrap();
    let mut server = Server::start("SCRAM-SHA-256-PLUS", &tls(2), [2; 32]).unwrap();
    assert_eq!(play(&mut client, &mut server, |_| keys()), ServerStep::Refuse(AuthRefusal::Credentials));
    assert_eq!(client.finish(None), Err(ClientError::Unproven));

    // The offer of -PLUS was taken out on the way.
    let weaker = Client::choose(["SCRAM-SHA-256", "PLAIN"], &user(), &tls(1)).unwrap();
    let mut client = Client::new(weaker, &user(), &tls(1), [1; 32]).unwrap();
    let mut server = Server::start("SCRAM-SHA-256", &tls(1), [2; 32]).unwrap();
    assert_eq!(play(&mut client, &mut server, |_| keys()), ServerStep::Refuse(AuthRefusal::Credentials));

    // A server that has no exporter cannot have offered it.
    let mut client = Client::new(weaker, &user(), &tls(1), [1; 32]).unwrap();
    let mut server = Server::start("SCRAM-SHA-256", &Context::trusted(), [2; 32]).unwrap();
    assert!(matches!(play(&mut client, &mut server, |_| keys()), ServerStep::Done(_)));

    let start = |name, context: &Context| Server::start(name, context, [0; 32]).err();
    assert_eq!(start("SCRAM-SHA-256-PLUS", &Context::trusted()), Some(AuthRefusal::Mechanism));
    for (name, first) in [
        ("SCRAM-SHA-256-PLUS", "n,,n=user,r=abc"),
        ("SCRAM-SHA-256-PLUS", "y,,n=user,r=abc"),
        ("SCRAM-SHA-256-PLUS", "p=tls-unique,,n=user,r=abc"),
        ("SCRAM-SHA-256", "p=tls-exporter,,n=user,r=abc"),
        ("SCRAM-SHA-256", "n,,m=x,n=user,r=abc"),
        ("SCRAM-SHA-256", "n,,n=us\u{7}er,r=abc"),
        ("SCRAM-SHA-256", ""),
    ] {
        let mut server = Server::start(name, &tls(1), [2; 32]).unwrap();
        let refused = ServerStep::Refuse(AuthRefusal::Malformed);
        assert_eq!(server.step(Some(first.as_bytes())), refused, "{first}");
    }
}

#[test]
fn wrong_proofs_are_refused() {
    let text = std::str::from_utf8(CLIENT_FINAL).unwrap();
    for (from, to, refusal) in [
        ("c=biws", "c=eSws", AuthRefusal::Credentials),
        ("c=biws", "c=*", AuthRefusal::Malformed),
        ("p=dHz", "p=eHz", AuthRefusal::Credentials),
        ("p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "p=dHzb", AuthRefusal::Credentials),
        ("p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "p=", AuthRefusal::Credentials),
        ("p=dHz", "x=dHz", AuthRefusal::Malformed),
        ("$k0", "$k1", AuthRefusal::Credentials),
        ("r=", "r", AuthRefusal::Malformed),
        (",p=", ",m=x,p=", AuthRefusal::Malformed),
    ] {
        assert!(text.contains(from));
        let mut server = example_server();
        let step = server.step(Some(text.replace(from, to).as_bytes()));
        assert_eq!(step, ServerStep::Refuse(refusal), "{from} for {to}");
    }
    assert_eq!(example_server().step(None), ServerStep::Refuse(AuthRefusal::Malformed));
    let mut server = example_server();
    let _ = server.step(Some(CLIENT_FINAL));
    assert_eq!(server.step(Some(b"more")), ServerStep::Refuse(AuthRefusal::Malformed));
}

#[test]
fn a_server_that_lies_is_given_up() {
    let first = std::str::from_utf8(SERVER_FIRST).unwrap();
    for (challenge, expected) in [
        (first.replace("r=rOp", "r=xOp"), ClientError::Nonce),
        (first.replace(SERVER_NONCE, ""), ClientError::Nonce),
        (first.replace("i=4096", "i=1"), ClientError::Iterations(1)),
        (first.replace("i=4096", "i=4095"), ClientError::Iterations(4095)),
        (first.replace("i=4096", "i=1000001"), ClientError::Iterations(1_000_001)),
        (first.replace("i=4096", "i=2147483648"), ClientError::Iterations(1 << 31)),
        (first.replace("i=4096", "i=-1"), ClientError::BadChallenge("r=…,s=…,i=…")),
        (first.replace("i=4096", "i=+4096"), ClientError::BadChallenge("r=…,s=…,i=…")),
        (first.replace("s=W22", "s=!22"), ClientError::BadChallenge("r=…,s=…,i=…")),
        (format!("m=x,{first}"), ClientError::BadChallenge("r=…,s=…,i=…")),
        (String::new(), ClientError::BadChallenge("r=…,s=…,i=…")),
    ] {
        let mut client = example_client();
        assert_eq!(client.respond(challenge.as_bytes()), Err(expected), "{challenge}");
        assert_eq!(client.respond(SERVER_FIRST), Err(ClientError::Over));
    }
    for (last, expected) in [
        (&b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5="[..], ClientError::BadChallenge("v=…")),
        (b"v=AAAA", ClientError::Unproven),
        (b"v=", ClientError::Unproven),
        (b"", ClientError::BadChallenge("v=…")),
        (b"e=other-error", ClientError::Refused("other-error".into())),
    ] {
        let mut client = example_client();
        client.respond(SERVER_FIRST).unwrap();
        assert_eq!(client.respond(last), Err(expected));
        assert!(!client.is_finished());
    }
}

#[test]
fn success_without_proof_is_not_believed() {
    let scram = Mechanism::find("SCRAM-SHA-256").unwrap();
    let start = || {
        let client = Client::new(scram, &user(), &Context::plaintext(), [1; 32]).unwrap();
        let mut server = Server::start("SCRAM-SHA-256", &Context::plaintext(), [2; 32]).unwrap();
        let _ = server.step(None);
        (client, server)
    };
    let (mut client, mut server) = start();
    assert_eq!(client.finish(None), Err(ClientError::Unproven));
    let _ = server.step(client.initial().as_deref());
    assert_eq!(client.finish(None), Err(ClientError::Unproven));
    let ServerStep::Challenge(challenge) = server.resume(Verdict::Keys(keys())) else { panic!() };
    let last = client.respond(&challenge).unwrap();
    assert_eq!(client.finish(None), Err(ClientError::Unproven));
    // The proof may come with the success (RFC 5804 §2.1).
    let ServerStep::Challenge(proof) = server.step(Some(&last)) else { panic!() };
    assert_eq!(client.finish(Some(&proof)), Ok(()));
}

#[test]
fn an_unknown_user_gets_a_challenge_like_any_other() {
    let secret = Secret::from("the server's own");
    let fake = |name: &str| ScramKeys::fake(ScramHash::Sha256, &secret, name, 4096);
    assert_eq!(fake("nobody"), fake("nobody"));
    assert_ne!(fake("nobody").salt(), fake("nobody2").salt());
    assert_ne!(fake("x").stored_key(), fake("x").server_key());
    assert_eq!((fake("nobody").salt().len(), fake("nobody").iterations()), (16, 4096));

    let scram = Mechanism::find("SCRAM-SHA-256").unwrap();
    let mut client = Client::new(scram, &user(), &Context::plaintext(), [1; 32]).unwrap();
    let mut server = Server::start("SCRAM-SHA-256", &Context::plaintext(), [2; 32]).unwrap();
    let step = play(&mut client, &mut server, |name| {
        assert_eq!(name, "user");
        fake(name)
    });
    assert_eq!(step, ServerStep::Refuse(AuthRefusal::Credentials));
}

#[test]
fn keys_are_checked_and_not_shown() {
    let keys = keys();
    let kept = |salt: &[u8], iterations, stored: &Secret| {
        ScramKeys::new(ScramHash::Sha256, salt, iterations, stored.clone(), keys.server_key().clone())
    };
    assert_eq!(kept(keys.salt(), 4096, keys.stored_key()), Ok(keys.clone()));
    assert_eq!(kept(b"", 4096, keys.stored_key()), Err(KeysError::Form));
    assert_eq!(kept(b"salt", 0, keys.stored_key()), Err(KeysError::Form));
    assert_eq!(kept(b"salt", 1, &Secret::from("short")), Err(KeysError::Form));
    let derive = |password: &str| ScramKeys::derive(ScramHash::Sha256, &password.into(), b"salt", 1).err();
    assert_eq!(
        (derive("x"), derive(""), derive("\u{7}")),
        (None, Some(KeysError::Password), Some(KeysError::Password))
    );
    assert_eq!(format!("{keys:?}"), "ScramKeys(Sha256, 4096 iterations, ..)");
    // Only keys answer the question for keys.
    let mut server = ScramServer::new(ScramHash::Sha256, false, None, SERVER_NONCE.to_owned());
    let _ = server.step(Some(CLIENT_FIRST));
    assert_eq!(server.resume(Verdict::Accept), ServerStep::Refuse(AuthRefusal::Unavailable));
}
