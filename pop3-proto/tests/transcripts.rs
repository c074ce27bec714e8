//! Every transcript, whole and at every split, on the machines it is for; and the laws of the contract.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use common::{Script, client_config, pop_for, transcripts};
use mailwright_line_proto::testing::{Pace, Run, Subject, Transcript, check_laws, run};

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

/// Of both sides, and of servers alone.
const SESSIONS: [&str; 3] = ["session", "session-apop", "session-policies"];
const SERVERS: [&str; 3] = ["server", "server-tls", "server-workarounds"];

#[test]
fn the_server_follows_every_session() {
    for directory in SESSIONS.iter().chain(&SERVERS) {
        for (name, transcript) in transcripts(directory) {
            play(&name, || pop_for(directory), &transcript);
        }
    }
}

#[test]
fn the_client_follows_every_session() {
    for (name, transcript) in SESSIONS.iter().chain(&["client"]).flat_map(|directory| transcripts(directory))
    {
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
    for directory in SESSIONS.iter().chain(&SERVERS) {
        // The greeting that is expected has no timestamp.
        let starttls = Some(&starttls).filter(|_| *directory != "session-apop");
        check_laws(|| pop_for(directory), &all(&[directory]), starttls);
    }
}

#[test]
fn the_client_keeps_the_laws() {
    let starttls = Transcript::parse("S: +OK ready\nC: STLS\nS: +OK begin TLS").unwrap();
    for transcript in all(&[&SESSIONS[..], &["client"]].concat()) {
        check_laws(|| Script::of(&transcript), std::slice::from_ref(&transcript), None);
    }
    let waiting = Transcript::parse("S: +OK ready\nC: STLS").unwrap();
    check_laws(|| Script::new(client_config(), &["STLS"]), &[waiting], Some(&starttls));
}
