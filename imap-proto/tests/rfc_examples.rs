//! The examples of the RFCs, one line each, in `tests/examples`: every command is understood and written again, every response is
//! understood, whole and cut at every octet.
//!
//! Whole dialogues, with what the server answers to what, are the transcripts in `tests/transcripts`; lines with literals, whose octets the
//! RFCs abridge, are there alone. What an RFC itself shows as wrong, or has misprinted, begins with `!` here, with the reason behind
//! `#`. A comparison with what a file lacks is `examples_are_all_there`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::{fs, path::Path, sync::Arc, time::Instant};

use bytes::{Buf, BytesMut};
use mailwright_imap_proto::{
    client::{Client, Config, Event},
    command::{Command, SearchContext, Select},
    grammar::{CommandWriter, Input, LiteralMode},
    response::{Leniency, Response},
    server::{Abilities, Config as ServerConfig, Event as Asked, Opened, Server},
};
use mailwright_line_proto::{Login, Machine, Output, Peer, Secret};
use mailwright_mail_model::{MailboxName, UidSet, UidValidity};

/// The lines of one side, each with the RFC it is from.
fn lines(side: &str) -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples");
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut all = Vec::new();
    for path in files {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        for line in fs::read_to_string(&path).unwrap().lines() {
            if let Some(rest) = line.strip_prefix(side) {
                all.push((name.clone(), rest.to_owned()));
            }
        }
    }
    all
}

/// What has been asked for is read in a mailbox of many messages, some of them found before.
fn parse(text: &[u8]) -> Result<Command, String> {
    let messages: UidSet = "1:100000".parse().unwrap();
    let filters = [("on-the-road".into(), "SUBJECT travel".into())];
    let context = SearchContext::new(&messages, &messages).with_saved(&messages).with_filters(&filters);
    Command::parse(&mut Input::new(text).with_utf8(true), context).map_err(|error| error.to_string())
}

fn written(command: &Command) -> Vec<u8> {
    let mut writer = CommandWriter::new(LiteralMode::Plus);
    command.encode(&mut writer);
    writer.as_slice().to_vec()
}

#[test]
fn commands_are_understood_and_written_again() {
    let mut wrong = Vec::new();
    for (rfc, line) in lines("C: ") {
        let text = line.split_once(' ').unwrap().1;
        let command = match parse(text.as_bytes()) {
            Ok(command) => command,
            Err(error) => {
                wrong.push(format!("{rfc}: {line}: {error}"));
                continue;
            }
        };
        let text = written(&command);
        match parse(&text) {
            // A search keeps the words in which it was asked for; those may be others.
            Ok(again) if again == command || written(&again) == text => {}
            other => wrong.push(format!("{rfc}: {line}: {} {other:?}", text.escape_ascii())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn responses_are_understood() {
    let mut wrong = Vec::new();
    for (rfc, line) in lines("S: ") {
        if let Err(error) = Response::parse(format!("{line}\r\n").as_bytes(), Leniency::tolerant()) {
            wrong.push(format!("{rfc}: {line}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a server with a mailbox open makes of a command that comes in these pieces.
fn asked(config: &Arc<ServerConfig>, pieces: &[&[u8]]) -> String {
    let mut server = Server::new(Arc::clone(config), Peer::unknown());
    let mut rx = BytesMut::from(&b"x LOGIN ann x\r\n"[..]);
    let Output::Event(Asked::Login(ask)) = server.poll(Instant::now(), &mut rx) else { panic!() };
    server.answer(ask, Ok(())).unwrap();
    rx.extend_from_slice(b"x SELECT INBOX\r\n");
    let Output::Event(Asked::Open(ask)) = server.poll(Instant::now(), &mut rx) else { panic!() };
    let validity = UidValidity::new(1).unwrap();
    server.answer(ask, Ok(Opened::new("1:100000".parse().unwrap(), validity))).unwrap();
    let waiting = server.transmit().remaining();
    server.transmit().advance(waiting);
    let mut seen = Vec::new();
    for piece in pieces {
        rx.extend_from_slice(piece);
        while let Output::Event(event) = server.poll(Instant::now(), &mut rx) {
            seen.push(format!("{event:?}"));
        }
    }
    let waiting = server.transmit().remaining();
    let said = server.transmit().copy_to_bytes(waiting);
    format!("{seen:?} {}", said.escape_ascii())
}

#[test]
fn commands_are_the_same_however_they_are_cut() {
    let mut config = ServerConfig::default();
    config.allow_plaintext_auth = true;
    config.abilities = Abilities::everything();
    let config = Arc::new(config);
    for (rfc, line) in lines("C: ") {
        let octets = format!("{line}\r\n").into_bytes();
        let whole = asked(&config, &[&octets]);
        for at in 1..octets.len() {
            let (one, other) = octets.split_at(at);
            assert_eq!(asked(&config, &[one, other]), whole, "{rfc}: {line}: {at}");
        }
        let each: Vec<&[u8]> = octets.chunks(1).collect();
        assert_eq!(asked(&config, &each), whole, "{rfc}: {line}");
    }
}

/// What a client with a mailbox open makes of it.
fn events(octets: &[u8], piece: usize) -> Vec<String> {
    let mut config = Config::default();
    config.allow_plaintext_auth = true;
    let mut client = Client::new(Arc::new(config), [0; 32]);
    let say = |client: &mut Client, text: &[u8], events: &mut Vec<String>| {
        let mut rx = BytesMut::new();
        for piece in text.chunks(piece) {
            rx.extend_from_slice(piece);
            while let Output::Event(event) = client.poll(Instant::now(), &mut rx) {
                let skipped = matches!(event, Event::Skipped { .. } | Event::Closed(_));
                assert!(!skipped, "{}: {event:?}", text.escape_ascii());
                events.push(format!("{event:?}"));
            }
        }
    };
    let mut seen = Vec::new();
    say(&mut client, b"* OK [CAPABILITY IMAP4rev1] ready\r\n", &mut seen);
    client.call(Login::new("ann", Secret::from("x"))).unwrap();
    say(&mut client, b"aaaa1 OK in\r\n", &mut seen);
    client.call(Select::new(MailboxName::inbox(), false)).unwrap();
    say(&mut client, b"* 9000 EXISTS\r\naaaa2 OK [READ-WRITE] open\r\n", &mut seen);
    say(&mut client, octets, &mut seen);
    seen
}

#[test]
fn responses_are_the_same_however_they_are_cut() {
    for (rfc, line) in lines("S: * ") {
        let word = line.split(' ').next().unwrap().to_ascii_uppercase();
        if matches!(word.as_str(), "BYE" | "PREAUTH") {
            continue;
        }
        let octets = format!("* {line}\r\n").into_bytes();
        let whole = events(&octets, usize::MAX);
        for piece in [1, 2, 7] {
            assert_eq!(events(&octets, piece), whole, "{rfc}: {line}");
        }
    }
}

/// None is lost: so many there are of each RFC.
#[test]
fn examples_are_all_there() {
    let (commands, responses) = (lines("C: ").len(), lines("S: ").len());
    let wrong = lines("!").len();
    assert!(commands >= 440 && responses >= 1_200, "{commands} commands, {responses} responses");
    assert!(wrong * 20 < commands + responses, "{wrong} of them are passed over");
    for (_, line) in lines("!") {
        assert!(line.contains(" # "), "no reason: {line}");
    }
}
