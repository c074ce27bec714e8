//! The server through every transcript, whole and at every split, and the laws of the contract.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod server_common;

use std::{fs, num::NonZeroU32, path::Path, time::Instant};

use bytes::BytesMut;
use mailwright_imap_proto::server::{Abilities, Config, Event, Server};
use mailwright_line_proto::{
    Machine, Output, Peer,
    testing::{Pace, Transcript, check_laws, run},
};
use server_common::{App, config};

const JMAP: &str = "https://mail.example/.well-known/jmap";

/// All but annotations of messages: what is said of those in every SELECT stands in transcripts of their own.
fn everything() -> Abilities {
    let mut abilities = Abilities::everything();
    abilities.annotates = false;
    abilities
}

/// What a server of everything announces after the login, which is long.
fn all() -> String {
    let mut config = config();
    config.abilities = everything();
    config.jmap_url = Some(JMAP.into());
    announced(config)
}

/// The same of one that keeps annotations too.
fn annotates() -> String {
    let mut config = config();
    config.abilities = Abilities::everything();
    announced(config)
}

/// The same of one that deals with few messages at a time.
fn limited() -> String {
    announced(few_at_a_time())
}

fn few_at_a_time() -> Config {
    let mut config = config();
    config.abilities = everything();
    (config.message_limit, config.save_limit) = (NonZeroU32::new(2), NonZeroU32::new(3));
    config
}

fn announced(config: Config) -> String {
    let mut server = Server::new(config.into(), Peer::unknown());
    let mut rx = BytesMut::from(&b"a LOGIN SMITH SESAME\r\n"[..]);
    let Output::Event(Event::Login(ask)) = server.poll(Instant::now(), &mut rx) else { panic!() };
    server.answer(ask, Ok(())).unwrap();
    server.capabilities().iter().collect::<Vec<_>>().join(" ").replacen(
        "IMAP4REV1 IMAP4REV2",
        "IMAP4rev1 IMAP4rev2",
        1,
    )
}

fn transcripts(directory: &str) -> Vec<(String, Transcript)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(directory);
    let mut found: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path)
                .unwrap()
                .replace("@ALL", &all())
                .replace("@LIMITED", &limited())
                .replace("@ANNOTATES", &annotates());
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let transcript = Transcript::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, transcript)
        })
        .collect();
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found
}

fn keeps_the_laws(directory: &str, config: impl Fn() -> Config) {
    keep_the_laws(transcripts(directory), config);
}

fn keep_the_laws(all: Vec<(String, Transcript)>, config: impl Fn() -> Config) {
    assert!(!all.is_empty());
    for (name, transcript) in all {
        println!("{name}");
        check_laws(|| App::new(config()), &[transcript], None);
    }
}

/// Long work each: repeated without end, some of their commands are answered with much.
const LONG: [&str; 4] = ["folders.txt", "messages.txt", "pipelined.txt", "rfc3501-8.txt"];

fn alone(name: &str) {
    assert!(LONG.contains(&name));
    keep_the_laws(transcripts("server").into_iter().filter(|(found, _)| found == name).collect(), config);
}

#[test]
fn with_everything_on() {
    let short = transcripts("server").into_iter().filter(|(name, _)| !LONG.contains(&name.as_str()));
    keep_the_laws(short.collect(), config);
}

#[test]
fn folders() {
    alone("folders.txt");
}

#[test]
fn messages() {
    alone("messages.txt");
}

#[test]
fn pipelined() {
    alone("pipelined.txt");
}

#[test]
fn a_session_of_rfc_3501() {
    alone("rfc3501-8.txt");
}

/// Each extension by itself: whole, octet by octet, and at other splits. The laws that go over every octet of a session are
/// tried on the others.
#[test]
fn extensions() {
    let make = || {
        let mut config = config();
        config.abilities = everything();
        config.jmap_url = Some(JMAP.into());
        App::new(config)
    };
    for (name, transcript) in transcripts("server-extensions") {
        println!("{name}");
        let whole = run(&mut make(), &transcript, Pace::default());
        for split in [1, 2, 3, 5, 7, 16, 61] {
            for lazy in [false, true] {
                let found = run(&mut make(), &transcript, Pace { split, lazy });
                assert_eq!(found, whole, "{name}: {split}");
            }
        }
    }
}

/// ANNOTATE: the examples of RFC 5257, and what is refused.
#[test]
fn annotations() {
    let make = || {
        let mut config = config();
        config.abilities = Abilities::everything();
        App::new(config)
    };
    for (name, transcript) in transcripts("server-annotate") {
        println!("{name}");
        let whole = run(&mut make(), &transcript, Pace::default());
        for split in [1, 2, 3, 5, 7, 16, 61] {
            for lazy in [false, true] {
                let found = run(&mut make(), &transcript, Pace { split, lazy });
                assert_eq!(found, whole, "{name}: {split}");
            }
        }
    }
}

/// RFC 2221, RFC 2193
#[test]
fn for_those_whose_mail_is_elsewhere() {
    keeps_the_laws("server-referrals", || {
        let mut config = config();
        (config.login_referrals, config.mailbox_referrals) = (true, true);
        config
    });
}

/// Exchanges of several steps, as the RFCs show them.
#[test]
fn exchanges() {
    keeps_the_laws("server-sasl", || {
        let mut config = config();
        config.abilities = everything();
        config.jmap_url = Some(JMAP.into());
        config.auth_mechanisms = vec!["GSSAPI".into(), "SCRAM-SHA-256".into()];
        config
    });
}

/// RFC 9738
#[test]
fn of_few_messages_at_a_time() {
    keeps_the_laws("server-limits", few_at_a_time);
}

#[test]
fn before_tls() {
    let make = || {
        let mut config = Config::default();
        config.starttls = true;
        config.auth_mechanisms = vec!["PLAIN".into()];
        App::new(config)
    };
    let all = transcripts("server-tls");
    let (_, starttls) = all.iter().find(|(name, _)| name == "starttls-only.txt").unwrap();
    check_laws(
        make,
        &all.iter().map(|(_, transcript)| transcript.clone()).collect::<Vec<_>>(),
        Some(starttls),
    );
}

#[test]
fn for_reading_only() {
    keeps_the_laws("server-read-only", || {
        let mut config = config();
        config.abilities = Abilities::read_only();
        config
    });
}
