//! Every transcript, whole and at every split, on the machines it is for; and the laws of the contract.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use common::{Pop, Script, client_config, server_config, transcripts};
use mailwright_line_proto::testing::{Pace, Run, Subject, Transcript, check_laws, run};
use mailwright_pop3_proto::server;

/// Plays it in every way of cutting its input; gives the session.
fn play<S: Subject>(name: &str, make: impl Fn() -> S, transcript: &Transcript) -> Run {
    println!("{name}");
    let whole = run(&mut make(), transcript, Pace::default());
    let longest = transcript.input(make().side()).len();
    for split in 1..longest.min(200) {
        for lazy in [false, true] {
            assert_eq!(run(&mut make(), transcript, Pace { split, lazy }), whole, "{name} by {split}");
        }
    }
    whole
}

fn tls_only() -> server::Config {
    let mut config = server_config();
    config.allow_plaintext_auth = false;
    config
}

#[test]
fn the_server_follows_every_session() {
    for (name, transcript) in transcripts("session").into_iter().chain(transcripts("server")) {
        play(&name, || Pop::new(server_config()), &transcript);
    }
    for (name, transcript) in transcripts("server-tls") {
        play(&name, || Pop::new(tls_only()), &transcript);
    }
}

#[test]
fn the_client_follows_every_session() {
    for (name, transcript) in transcripts("session").into_iter().chain(transcripts("client")) {
        play(&name, || Script::of(&transcript), &transcript);
    }
}

fn all(directories: &[&str]) -> Vec<Transcript> {
    directories
        .iter()
        .flat_map(|directory| transcripts(directory))
        .map(|(_, transcript)| transcript)
        .collect()
}

#[test]
fn the_server_keeps_the_laws() {
    let starttls = Transcript::parse("S: +OK POP3 server ready\nC: STLS\nS: +OK begin TLS").unwrap();
    let sessions = all(&["session", "server"]);
    check_laws(|| Pop::new(server_config()), &sessions, Some(&starttls));
    check_laws(|| Pop::new(tls_only()), &all(&["server-tls"]), Some(&starttls));
}

#[test]
fn the_client_keeps_the_laws() {
    let starttls = Transcript::parse("S: +OK ready\nC: STLS\nS: +OK begin TLS").unwrap();
    for transcript in all(&["session", "client"]) {
        check_laws(|| Script::of(&transcript), std::slice::from_ref(&transcript), None);
    }
    let waiting = Transcript::parse("S: +OK ready\nC: STLS").unwrap();
    check_laws(|| Script::new(client_config(), &["STLS"]), &[waiting], Some(&starttls));
}
