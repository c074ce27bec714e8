//! The life of a message, told afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::{fs, process::Command};

use base64::{Engine, prelude::BASE64_STANDARD};
use common::{PASSWORD, Server, Talk, USER, have, run, wait_for};
use serde_json::Value;

fn start(extra: &str) -> Server {
    let mut server = Server::prepare("allow_plaintext_auth = true");
    let config = server.folder.path().join("mailwright.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text + extra).unwrap();
    server.add_user(USER, PASSWORD);
    server.add_user("bob@example.org", PASSWORD);
    server.serve();
    server
}

fn trace(server: &Server, wanted: &str) -> Vec<Value> {
    let output = run(&mut server.command(&["trace", wanted, "--json"]));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits until something is told of.
fn traced(server: &Server, wanted: &str, what: &str) -> Vec<Value> {
    wait_for(what, || {
        let records = trace(server, wanted);
        records.iter().any(|record| record["what"] == what).then_some(records)
    })
}

fn whats(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["what"].as_str().unwrap()).collect()
}

fn submission(server: &Server) -> Talk {
    let mut talk = server.talk(server.port("submission", "starttls"));
    talk.reply();
    talk.smtp("EHLO laptop.example");
    let login = BASE64_STANDARD.encode(format!("\0{USER}\0{PASSWORD}"));
    assert!(talk.smtp(&format!("AUTH PLAIN {login}")).starts_with("235"));
    talk
}

/// Sends a message; gives its id.
fn send(talk: &mut Talk, from: &str, to: &[&str], subject: &str) -> String {
    assert!(talk.smtp(&format!("MAIL FROM:<{from}>")).starts_with("250"));
    for to in to {
        assert!(talk.smtp(&format!("RCPT TO:<{to}>")).starts_with("250"), "{to}");
    }
    talk.smtp("DATA");
    talk.send(format!("Subject: {subject}\r\nMessage-ID: <{subject}@laptop.example>\r\n\r\nx\r\n"));
    let reply = talk.smtp(".");
    reply.strip_prefix("250 2.0.0 Ok: queued as ").unwrap_or_else(|| panic!("{reply}")).to_owned()
}

#[test]
fn a_life_from_the_first_word_to_the_report() {
    let mut server = start(
        "[relay.transport]\n\"gone.example\" = \"error:there is nobody\"\n\"later.example\" = \"[127.0.0.1]:1\"\n",
    );
    let script = "require \"fileinto\"; fileinto \"Sorted\";";
    let mut imap = common::imap(&server);
    imap.imap("a", "CREATE Sorted");
    let mut sieve = server.talk(server.port("managesieve", "starttls"));
    while !sieve.line().starts_with("OK") {}
    let login = BASE64_STANDARD.encode(format!("\0{USER}\0{PASSWORD}"));
    for command in [
        format!("AUTHENTICATE \"PLAIN\" \"{login}\""),
        format!("PUTSCRIPT \"s\" {{{}+}}\r\n{script}", script.len()),
        "SETACTIVE \"s\"".to_owned(),
    ] {
        sieve.send(format!("{command}\r\n"));
        let answer = sieve.line();
        assert!(answer.starts_with("OK"), "{command}: {answer}");
    }
    let mut talk = submission(&server);
    let id = send(&mut talk, USER, &[USER, "bob@example.org", "eve@later.example"], "first");
    let life = traced(&server, "<first@laptop.example>", "sent on");
    assert!(life.iter().all(|record| record["id"] == *id), "{life:?}");
    let accepted = life.iter().find(|record| record["what"] == "accepted").unwrap();
    assert_eq!((&accepted["user"], &accepted["hello"]), (&USER.into(), &"laptop.example".into()));
    let rules: Vec<_> =
        life.iter().filter(|record| record["what"] == "recipient").map(|record| &record["rule"]).collect();
    assert_eq!(rules, ["recipient-here", "recipient-here", "logged-in"]);
    let filtered: Vec<_> =
        life.iter().filter(|record| record["what"] == "filtered").map(|record| &record["into"]).collect();
    assert_eq!(filtered, ["Sorted", "INBOX"]);
    let delivered: Vec<_> =
        life.iter().filter(|record| record["what"] == "delivered").map(|record| &record["mailbox"]).collect();
    assert_eq!(delivered, ["Sorted", "INBOX"]);
    let sent = life.iter().find(|record| record["what"] == "sent on").unwrap();
    assert_eq!((&sent["status"], &sent["to"]), (&"deferred".into(), &"eve@later.example".into()));
    // Found by all of them, and by nobody else.
    for wanted in [&*id, USER, "bob@example.org", "eve@later.example", "first@laptop.example"] {
        assert!(trace(&server, wanted).iter().any(|record| record["what"] == "accepted"), "{wanted}");
    }
    assert!(trace(&server, "carol@example.org").is_empty());
    // In words, and by a message that says what can be asked.
    let told = run(&mut server.command(&["trace", &id]));
    let told = String::from_utf8(told.stdout).unwrap();
    for words in [
        "accepted from 127.0.0.1:",
        "logged in as alice@example.org",
        "allowed, for the client is logged in",
        "the filter of alice@example.org chose Sorted",
        "delivered to bob@example.org, INBOX",
        "in the queue for [127.0.0.1]:1: eve@later.example",
        "deferred eve@later.example",
    ] {
        assert!(told.contains(words), "{words:?} is not in {told}");
    }
    let nothing = run(&mut server.command(&["trace", "nobody@nowhere.example"]));
    assert_eq!(nothing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("Message-ID"));
    // A refusal before there is a message is about the address.
    let mut stranger = server.talk(server.port("smtp", "starttls"));
    stranger.reply();
    stranger.smtp("EHLO stranger.example");
    stranger.smtp("MAIL FROM:<x@elsewhere.example>");
    assert!(stranger.smtp("RCPT TO:<victim@elsewhere.example>").starts_with("554"));
    let refused = traced(&server, "victim@elsewhere.example", "refused by policy");
    assert_eq!(refused[0]["rule"], "recipients");
    // What is refused later comes back, and the report belongs to it.
    server.stop();
    let known = trace(&server, &id);
    assert_eq!(whats(&known)[..4], ["accepted", "recipient", "recipient", "recipient"], "without the server");
    server.serve();
    assert_eq!(trace(&server, &id)[..known.len()], known, "and after it is back");
}

#[test]
fn a_report_belongs_to_what_it_reports_on() {
    let server = start(
        "[relay.transport]\n\"x.example\" = \"pipe:no\"\n[relay.pipes.no]\ncommand = [\"/bin/false\"]\n",
    );
    let id = send(&mut submission(&server), USER, &["eve@x.example"], "back");
    let life = wait_for("the report", || {
        let life = trace(&server, &id);
        life.iter().any(|record| record["why"] == "a report").then_some(life)
    });
    let report = life.iter().find(|record| record["what"] == "sender told").unwrap()["report"].clone();
    assert_eq!(life.iter().find(|record| record["what"] == "sent on").unwrap()["status"], "bounced");
    let delivered = life.iter().find(|record| record["why"] == "a report").unwrap();
    assert_eq!((&delivered["id"], &delivered["user"]), (&report, &USER.into()));
}

#[test]
fn what_is_not_to_be_kept_is_not() {
    let server = start("[trace]\nkeep = \"0\"\n");
    common::deliver(&server, USER, "Subject: x\r\n\r\nx\r\n");
    let nothing = run(&mut server.command(&["trace", USER]));
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("[trace]"), "{nothing:?}");
    assert!(!server.folder.path().join("data/trace").exists());
}

/// A delivery flushes as often with a trace as without one.
#[test]
fn a_trace_costs_no_flush() {
    if !have("strace") {
        return;
    }
    let count = |extra: &str| {
        let mut server = start(extra);
        common::deliver(&server, USER, "Subject: warm\r\n\r\nx\r\n");
        let out = server.folder.path().join("strace");
        let mut strace = Command::new("strace")
            .args(["-f", "-qq", "-e", "trace=fsync,fdatasync", "-o"])
            .arg(&out)
            .args(["-p", &server.pid().to_string()])
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let status = format!("/proc/{}/status", server.pid());
        let attached = wait_for("strace", || {
            let traced = !fs::read_to_string(&status).unwrap().contains("TracerPid:\t0\n");
            (traced || strace.try_wait().unwrap().is_some()).then_some(traced)
        });
        if !attached {
            return None;
        }
        // It takes the threads one after the other.
        std::thread::sleep(std::time::Duration::from_secs(2));
        for number in 0..40 {
            common::deliver(&server, USER, &format!("Subject: {number}\r\n\r\nx\r\n"));
        }
        server.kill();
        strace.wait().unwrap();
        let text = fs::read_to_string(out).unwrap_or_default();
        Some(text.lines().filter(|line| line.contains("sync(")).count())
    };
    let (Some(with), Some(without)) = (count(""), count("[trace]\nkeep = \"0\"\n")) else {
        eprintln!("skipped: programs may not be traced here");
        return;
    };
    println!("flushes of 40 deliveries: {with} with a trace, {without} without");
    // The thread that writes it flushes every ten seconds, however many there are.
    assert!(without >= 40 && with <= without + 6, "{with} with a trace, {without} without");
}
