//! More of Sieve in the running server: whose mail vacation answers, what is remembered, and scripts that cannot be used.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::fs;

use base64::{Engine, prelude::BASE64_STANDARD};
use common::{PASSWORD, Server, Talk, USER, succeed};

const BOB: &str = "bob@example.org";

/// A server with alice and bob, and this `[sieve]` section; the default script stands in a file.
fn server(script: &str, section: &str) -> Server {
    let mut server = Server::prepare("allow_plaintext_auth = true");
    fs::write(server.folder.path().join("default.sieve"), script).unwrap();
    configure(&server, &format!("default = \"default.sieve\"\n{section}"));
    for user in [USER, BOB] {
        server.add_user(user, PASSWORD);
    }
    server.serve();
    server
}

/// Gives the configuration another `[sieve]` section.
fn configure(server: &Server, section: &str) {
    let file = server.folder.path().join("mailwright.toml");
    let text = fs::read_to_string(&file).unwrap();
    let before = text.split("\n[sieve]\n").next().unwrap();
    fs::write(&file, format!("{before}\n[sieve]\n{section}\n")).unwrap();
}

fn run(server: &Server, arguments: &[&str]) {
    succeed(&mut server.command(arguments));
}

fn log_in(server: &Server, user: &str) -> Talk {
    let mut talk = server.talk(server.port("imap", "starttls"));
    talk.line();
    assert!(talk.imap("a", &format!("LOGIN {user} {PASSWORD}")).last().unwrap().starts_with("a OK"));
    talk
}

fn count(server: &Server, user: &str, mailbox: &str) -> usize {
    let answer = log_in(server, user).imap("b", &format!("STATUS {mailbox} (MESSAGES)"));
    let found = answer[0].split_once("MESSAGES ").map(|(_, number)| number.trim_end_matches(')'));
    found.map_or(0, |number| number.parse().unwrap())
}

/// Sends a message from this user here.
fn send(server: &Server, from: &str, rcpt: &str, header: &str) {
    let mut talk = server.talk(server.port("smtp", "starttls"));
    talk.reply();
    talk.smtp("EHLO client.example");
    talk.smtp(&format!("MAIL FROM:<{from}>"));
    assert_eq!(talk.smtp(&format!("RCPT TO:<{rcpt}>")), "250 2.1.5 Ok");
    assert!(talk.smtp("DATA").starts_with("354"));
    talk.send(format!("From: {from}\r\n{header}\r\n\r\nx\r\n"));
    assert!(talk.smtp(".").starts_with("250 "));
}

/// A ManageSieve session, and how its login was answered.
fn managesieve(server: &Server, user: &str) -> (Talk, String) {
    let mut talk = server.talk(server.port("managesieve", "starttls"));
    talk.until("OK");
    let plain = BASE64_STANDARD.encode(format!("\0{user}\0{PASSWORD}"));
    talk.send(format!("AUTHENTICATE \"PLAIN\" \"{plain}\"\r\n"));
    let answer = talk.line();
    (talk, answer)
}

/// Makes this alice's script; what was answered.
fn put(server: &Server, script: &str) -> String {
    let (mut talk, answer) = managesieve(server, USER);
    assert!(answer.starts_with("OK"), "{answer}");
    talk.send(format!("PUTSCRIPT \"mine\" {{{}+}}\r\n{script}\r\nSETACTIVE \"mine\"\r\n", script.len()));
    let mut said = talk.line();
    // A text of several lines is a literal.
    if let Some((_, length)) = said.rsplit_once('{') {
        let mut octets = vec![0; length.trim_end_matches('}').parse().unwrap()];
        std::io::Read::read_exact(&mut talk.stream, &mut octets).unwrap();
        said += &String::from_utf8(octets).unwrap();
        talk.line();
    }
    let active = talk.line();
    assert!(active.starts_with("OK"), "{said} {active}");
    said
}

#[test]
fn a_script_that_cannot_be_used_keeps_the_message_and_nothing_stands_in_for_it() {
    let mut server = server("discard;", "spam_field = \"X-Spam\"");
    assert!(put(&server, "require \"spamtest\"; discard;").starts_with("OK"));
    send(&server, BOB, USER, "Subject: one");
    assert_eq!(count(&server, USER, "INBOX"), 0);
    // The server cannot do any more what the script requires; its owner never asked for what the default does.
    server.stop();
    fs::write(
        server.folder.path().join("before.sieve"),
        "require [\"fileinto\", \"copy\", \"mailbox\"]; fileinto :copy :create \"Before\";",
    )
    .unwrap();
    configure(&server, "default = \"default.sieve\"\nbefore = [\"before.sieve\"]");
    server.serve();
    send(&server, BOB, USER, "Subject: two");
    assert_eq!((count(&server, USER, "INBOX"), count(&server, USER, "Before")), (1, 1));
    // Who has no script has the default.
    send(&server, USER, BOB, "Subject: three");
    assert_eq!(count(&server, BOB, "INBOX"), 0);
}

/// RFC 5230 §4.5
#[test]
fn vacation_answers_what_is_sent_to_an_address_of_ones_own() {
    let script = r#"require ["vacation", "envelope", "fileinto", "mailbox"];
        if not envelope :is "from" "bob@example.org" { vacation :seconds 0 "I am at sea."; }
        if envelope :is "to" "sales@example.org" { fileinto :create "Sales"; }"#
        .replace("\"vacation\"", "\"vacation\", \"vacation-seconds\"");
    let server = server(&script, "");
    const CARL: &str = "carl@example.org";
    server.add_user(CARL, PASSWORD);
    run(&server, &["alias", "add", "al@example.org", USER]);
    run(&server, &["alias", "add", "two@example.org", USER, BOB]);
    run(&server, &["group", "add", "sales@example.org", USER]);
    run(&server, &["domain", "add", "other.example", "--unknown", USER]);
    let mut answered = 0;
    for (rcpt, to, own) in [
        (USER, USER, true),
        ("al@example.org", "al@example.org", true),
        ("alice+tea@example.org", "alice+tea@example.org", true),
        // By whatever address it came: one of hers is named.
        (USER, "al@example.org", true),
        (USER, "Alice+other@example.org", true),
        ("sales@example.org", "Alice@Example.org", true),
        ("sales@example.org", "sales@example.org", false),
        ("two@example.org", "two@example.org", false),
        ("anybody@other.example", "anybody@other.example", false),
        (USER, "somebody@elsewhere.example", false),
    ] {
        send(&server, CARL, rcpt, &format!("To: {to}\r\nSubject: {rcpt} {to}"));
        answered += usize::from(own);
        assert_eq!(count(&server, CARL, "INBOX"), answered, "{rcpt}, {to}");
    }
    // The script sees by which address it came.
    assert_eq!(count(&server, USER, "Sales"), 2);
}

#[test]
fn what_was_seen_and_answered_is_remembered_over_a_restart() {
    let script = r#"require ["duplicate", "vacation", "envelope"];
        if duplicate { discard; stop; }
        if envelope :is "to" "alice@example.org" { vacation :days 1 "I am at sea."; }"#;
    let mut server = server(script, "");
    let mail = |server: &Server, id: &str| {
        send(server, BOB, USER, &format!("To: {USER}\r\nMessage-ID: <{id}@x>"));
        (count(server, USER, "INBOX"), count(server, BOB, "INBOX"))
    };
    assert_eq!(mail(&server, "one"), (1, 1));
    assert_eq!(mail(&server, "one"), (1, 1));
    assert_eq!(mail(&server, "two"), (2, 1));
    server.stop();
    server.serve();
    assert_eq!(mail(&server, "one"), (2, 1));
    assert_eq!(mail(&server, "three"), (3, 1));
    server.kill();
    server.serve();
    assert_eq!(mail(&server, "three"), (3, 1));
    assert_eq!(mail(&server, "four"), (4, 1));
}

/// RFC 5804 §2.6
#[test]
fn a_script_is_taken_with_warnings() {
    let server = server("keep;", "");
    let said = put(&server, "require \"fileinto\";\r\nstop;\r\nkeep;\r\n");
    assert!(said.starts_with("OK (WARNINGS) "), "{said}");
    assert!(said.contains("line "), "{said}");
    assert!(put(&server, "keep;\r\n").starts_with("OK") && !put(&server, "keep;\r\n").contains("WARNINGS"));
}

#[test]
fn nobody_logs_in_by_an_alias() {
    let server = server("keep;", "");
    run(&server, &["alias", "add", "al@example.org", USER]);
    for (name, lets_in) in [("al@example.org", false), ("alice+x@example.org", false), (USER, true)] {
        let (_, answer) = managesieve(&server, name);
        assert_eq!(answer.starts_with("OK"), lets_in, "{name}: {answer}");
    }
}

/// spec-bosch-sieve-dovecot-environment §4
#[test]
fn scripts_know_for_whom_they_run_and_what_the_configuration_tells_them() {
    let script = r#"require ["variables", "fileinto", "mailbox"];
        require "vnd.dovecot.environment";
        if header :is "Subject" "user" { fileinto :create "User/${env.vnd.dovecot.username}"; }
        elsif header :is "Subject" "default" { fileinto :create "Of ${env.vnd.dovecot.default_mailbox}"; }
        elsif environment :is "vnd.dovecot.config.Support-Folder" "Help" {
            fileinto :create "${env.vnd.dovecot.config.support_folder}";
        }"#;
    let server = server(script, "[sieve.environment]\nsupport_folder = \"Help\"");
    for (subject, mailbox) in [("user", "User/alice@example.org"), ("default", "\"Of INBOX\""), ("x", "Help")]
    {
        send(&server, BOB, USER, &format!("Subject: {subject}"));
        assert_eq!(count(&server, USER, mailbox), 1, "{subject}");
    }
    assert_eq!(count(&server, USER, "INBOX"), 0);
}

const LOG: &str = "/private/vendor/mailwright/sieve/log";

/// The user's log, as IMAP has it.
fn told(server: &Server, user: &str) -> String {
    log_in(server, user).imap("m", &format!("GETMETADATA INBOX {LOG}")).join("\n")
}

#[test]
fn users_are_told_what_their_scripts_do_wrong() {
    let mut server = server("keep;", "spam_field = \"X-Spam\"");
    assert!(!told(&server, USER).contains("line"), "{}", told(&server, USER));
    let script = "require [\"vnd.dovecot.debug\", \"variables\", \"include\"];\r\n\
                  if header :matches \"Subject\" \"say *\" { debug_log \"heard ${1}\"; stop; }\r\n\
                  include :personal \"missing\";\r\n";
    assert!(put(&server, script).starts_with("OK"));
    for subject in ["say hello", "other", "other", "say hello", "say bye"] {
        send(&server, BOB, USER, &format!("Subject: {subject}"));
    }
    assert_eq!(count(&server, USER, "INBOX"), 5);
    let log = told(&server, USER);
    for (line, times) in [("line 2: heard hello", 1), ("line 2: heard bye", 1), ("; the message is kept", 1)]
    {
        assert_eq!(log.matches(line).count(), times, "{line}: {log}");
    }
    assert!(!told(&server, BOB).contains("heard"), "it is hers alone");
    // A script that can be used no more; and the command tells the same, whether the server runs or not.
    assert!(put(&server, "require \"spamtest\"; keep;").starts_with("OK"));
    server.stop();
    configure(&server, "");
    server.serve();
    for _ in 0..3 {
        send(&server, BOB, USER, "Subject: x");
    }
    let log = told(&server, USER);
    assert_eq!(log.matches("the script \"mine\" is not right: ").count(), 1, "{log}");
    let command = |server: &Server, options: &[&str]| {
        String::from_utf8(succeed(server.command(&["sieve", "log", USER]).args(options))).unwrap()
    };
    let lines = command(&server, &["--json"]);
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines.is_sorted_by_key(|line| line["at"].as_i64().unwrap()), "{lines:?}");
    assert_eq!(command(&server, &[]).lines().count(), 4);
    let mut talk = log_in(&server, USER);
    assert!(talk.imap("d", &format!("SETMETADATA INBOX ({LOG} NIL)")).last().unwrap().starts_with("d OK"));
    assert_eq!(command(&server, &[]), "");
    server.stop();
    assert_eq!(command(&server, &[]), "");
}
