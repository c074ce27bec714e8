//! ManageSieve in the running server: what it says of itself, referrals, and the port it once had.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::fs;

use base64::{Engine, prelude::BASE64_STANDARD};
use common::{PASSWORD, Server, Talk, USER, free_port, run};

const BOB: &str = "bob@example.org";

fn server(config: &str) -> Server {
    let mut server = Server::prepare("allow_plaintext_auth = true");
    let file = server.folder.path().join("mailwright.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}\n{config}\n")).unwrap();
    server.add_user(USER, PASSWORD);
    server.add_user(BOB, PASSWORD);
    server.serve();
    server
}

fn log_in(talk: &mut Talk, user: &str) -> String {
    let plain = BASE64_STANDARD.encode(format!("\0{user}\0{PASSWORD}"));
    talk.send(format!("AUTHENTICATE \"PLAIN\" \"{plain}\"\r\n"));
    talk.line()
}

/// RFC 5804 §1.7
#[test]
fn it_says_what_it_can_do() {
    let server = server("");
    let mut talk = server.talk(server.port("managesieve", "starttls"));
    let before = talk.until("OK").join("\n");
    for line in [
        "\"LANGUAGE\" \"en\"",
        "\"NOTIFY\" \"mailto\"",
        "\"VERSION\" \"1.0\"",
        "\"MAXREDIRECTS\" \"4\"",
        "\"STARTTLS\"",
    ] {
        assert!(before.contains(line), "{line}: {before}");
    }
    assert!(!before.contains("OWNER") && !before.contains("EXTLISTS"), "{before}");
    assert!(log_in(&mut talk, USER).starts_with("OK"));
    talk.send("CAPABILITY\r\n");
    let after = talk.until("OK").join("\n");
    assert!(after.contains(&format!("\"OWNER\" \"{USER}\"")), "{after}");
    assert!(!after.contains("STARTTLS"), "{after}");
}

/// RFC 5804 §1.3
#[test]
fn users_of_other_servers_are_sent_there() {
    let server = server(
        "[sieve]\nreferrals = { \"Alice@example.org\" = \"sieve://other.example.org\", \"example.net\" = \"sieve://sieve.example.net\" }",
    );
    let port = server.port("managesieve", "starttls");
    let mut talk = server.talk(port);
    talk.until("OK");
    let answer = log_in(&mut talk, USER);
    assert!(answer.starts_with("BYE (REFERRAL \"sieve://other.example.org\")"), "{answer}");
    assert!(talk.at_end());
    let mut talk = server.talk(port);
    talk.until("OK");
    assert!(log_in(&mut talk, BOB).starts_with("OK"));
    // Who cannot log in learns nothing.
    let mut talk = server.talk(port);
    talk.until("OK");
    let wrong = BASE64_STANDARD.encode(format!("\0{USER}\0wrong"));
    talk.send(format!("AUTHENTICATE \"PLAIN\" \"{wrong}\"\r\n"));
    assert!(talk.line().starts_with("NO"));
    let file = server.folder.path().join("mailwright.toml");
    let text = fs::read_to_string(&file).unwrap().replace("sieve://other", "https://other");
    fs::write(&file, text).unwrap();
    let output = run(&mut server.command(&["config", "check"]));
    assert!(!output.status.success());
}

/// Before RFC 5804 it was found at port 2000; clients of that time still look there.
#[test]
fn it_listens_at_two_ports() {
    // Port 2000 itself may be somebody else's here.
    let port = free_port();
    let server = server(&format!(
        "[[listener]]\nprotocol = \"managesieve\"\naddress = \"127.0.0.1:{port}\"\ntls = \"none\""
    ));
    for port in [port, server.port("managesieve", "starttls")] {
        let mut talk = server.talk(port);
        talk.until("OK");
        assert!(log_in(&mut talk, USER).starts_with("OK"));
    }
}
