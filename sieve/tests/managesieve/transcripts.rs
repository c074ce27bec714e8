//! Every transcript, whole and at every split, on the machines it is for; and the laws of the contract.

use std::path::Path;

use mailwright_line_proto::testing::{Pace, Subject, Transcript, check_laws, run};
use mailwright_sieve::managesieve::server;

use crate::subjects::{Script, Vault, client_config, server_config, transcript};

/// All transcripts of a directory, with their names.
fn transcripts(directory: &str) -> Vec<(String, Transcript)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts/managesieve").join(directory);
    let mut all = Vec::new();
    for entry in std::fs::read_dir(&path).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        all.push((name, transcript(&std::fs::read_to_string(&path).unwrap())));
    }
    assert!(!all.is_empty(), "no transcripts in {}", path.display());
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    all
}

/// Plays it in every way of cutting its input.
fn play<S: Subject>(name: &str, make: impl Fn() -> S, transcript: &Transcript) {
    println!("{name}");
    let whole = run(&mut make(), transcript, Pace::default());
    let longest = transcript.input(make().side()).len();
    for split in 1..longest.min(150) {
        for lazy in [false, true] {
            assert_eq!(run(&mut make(), transcript, Pace { split, lazy }), whole, "{name} by {split}");
        }
    }
}

fn tls_only() -> server::Config {
    let mut config = server_config();
    config.allow_plaintext_auth = false;
    config
}

#[test]
fn the_server_follows_every_session() {
    for (name, transcript) in transcripts("session").into_iter().chain(transcripts("server")) {
        play(&name, || Vault::new(server_config()), &transcript);
    }
}

#[test]
fn the_client_follows_every_session() {
    for (name, transcript) in transcripts("session").into_iter().chain(transcripts("client")) {
        play(&name, || Script::of(&transcript), &transcript);
    }
}

#[test]
fn nobody_logs_in_without_tls_unless_that_is_allowed() {
    let text = "@greeting\nC: AUTHENTICATE \"PLAIN\" \"AHRlc3QAdGVzdA==\"\n\
        S: NO (ENCRYPT-NEEDED) \"TLS is required before authentication\"\nC: STARTTLS\nS: OK \"begin TLS\"\n@tls\n\
        C: AUTHENTICATE \"PLAIN\" \"AHRlc3QAdGVzdA==\"\nS: OK\n";
    let mut transcript = transcript(text);
    for step in &mut transcript.steps {
        if let mailwright_line_proto::testing::Step::Server(sent) = step
            && let Ok(text) = String::from_utf8(sent.clone())
            && text.contains("STARTTLS")
        {
            *sent = text.replace("PLAIN X-TWO", "").into_bytes();
        }
    }
    play("tls only", || Vault::new(tls_only()), &transcript);
}

fn all(directories: &[&str]) -> Vec<Transcript> {
    let all = directories.iter().flat_map(|directory| transcripts(directory));
    all.map(|(_, transcript)| transcript).collect()
}

#[test]
fn the_server_keeps_the_laws() {
    let starttls = transcript("@greeting\nC: STARTTLS\nS: OK \"begin TLS\"\n@tls\n");
    check_laws(|| Vault::new(server_config()), &all(&["session", "server"]), Some(&starttls));
}

#[test]
fn the_client_keeps_the_laws() {
    let starttls = transcript("@greeting\nC: STARTTLS\nS: OK");
    for transcript in all(&["session", "client"]) {
        check_laws(|| Script::of(&transcript), std::slice::from_ref(&transcript), None);
    }
    let waiting = transcript("@greeting\nC: STARTTLS");
    check_laws(|| Script::new(client_config(), &["STARTTLS"]), &[waiting], Some(&starttls));
}
