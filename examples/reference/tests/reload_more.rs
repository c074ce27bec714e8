//! What goes on for long goes by the configuration as it was read last: mail that is fetched, providers that are called, limits that count.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;
#[path = "relay/world.rs"]
#[allow(dead_code, reason = "this test needs a part of it")]
mod world;

use std::{fs, io::Write, path::Path, process::Stdio};

use common::{PASSWORD, Server, USER, deliver, free_port, imap, succeed, wait_for, write_private};
use world::{Behaviour, Host, Names, Site};

const KEEP: &str = "keep;\n";
const SORT: &str = "require [\"fileinto\", \"mailbox\"]; fileinto :create \"Sorted\";\n";

fn reload(server: &Server) {
    let said = String::from_utf8(succeed(&mut server.command(&["reload"]))).unwrap();
    assert_eq!(said, "the configuration and the certificates were read again\n");
}

/// The subjects of the messages of a mailbox.
fn subjects(server: &Server, mailbox: &str) -> Vec<String> {
    let mut talk = imap(server);
    talk.imap("e", &format!("EXAMINE {mailbox}"));
    let lines = talk.imap("f", "FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]");
    lines.iter().filter_map(|line| line.strip_prefix("Subject: ")).map(str::to_owned).collect()
}

fn add(server: &Server, options: &[&str]) {
    let mut command = server.command(&[&["fetch", "add", USER], options].concat());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{PASSWORD}\n").as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

fn message(subject: &str) -> String {
    format!("From: bob@example.net\r\nSubject: {subject}\r\nMessage-ID: <{subject}@example.net>\r\n\r\nx\r\n")
}

/// By POP3, a look at a time, and by IMAP in one session that listens.
#[test]
fn fetched_mail_is_filtered_by_the_scripts_of_now() {
    for (protocol, options) in [("pop3", &["--every", "1s", "--delete"][..]), ("imap", &["--delete"])] {
        let foreign = Server::start("allow_plaintext_auth = true");
        let scripts = tempfile::tempdir().unwrap();
        let script = scripts.path().join("all.sieve");
        fs::write(&script, KEEP).unwrap();
        let mut home = Server::prepare(&format!(
            "allow_plaintext_auth = true\nsieve.before = [{script:?}]\nfetch = {{ first_retry_seconds = 1, longest_retry_seconds = 2 }}"
        ));
        home.add_user(USER, PASSWORD);
        home.serve();
        deliver(&foreign, USER, &message("one"));
        let source = format!("{protocol}://{USER}@127.0.0.1:{}", foreign.port(protocol, "starttls"));
        add(&home, &[&[&source, "--in-clear"], options].concat());
        wait_for("the first message", || (subjects(&home, "INBOX") == ["one"]).then_some(()));
        fs::write(&script, SORT).unwrap();
        reload(&home);
        deliver(&foreign, USER, &message("two"));
        wait_for("the second message", || (subjects(&home, "Sorted") == ["two"]).then_some(()));
        // Size too: what has become too large stays there.
        let file = home.folder.path().join("mailwright.toml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("[limits]\n", "[limits]\nmessage_size = 65536\n")).unwrap();
        reload(&home);
        let large = format!("{}{}", message("large"), format!("{}\r\n", "x".repeat(70)).repeat(1_000));
        deliver(&foreign, USER, &large);
        wait_for("it to be told of", || {
            let told = String::from_utf8(succeed(&mut home.command(&["fetch", "status", "--json"]))).unwrap();
            told.contains("\"refused\":1").then_some(())
        });
        assert_eq!(subjects(&home, "Sorted"), ["two"]);
    }
}

/// A provider that holds mail for b.example, of which `office` comes for it.
fn provider() -> Site {
    let extra = "[[listener]]\nprotocol = \"odmr\"\naddress = \"127.0.0.1:0\"\n\
                 [on_demand.accounts]\n\"office@a.example\" = [\"b.example\"]\n";
    let site = Site::start("a.example", "127.0.0.1", free_port(), &Names::none(), extra, &["ann", "office"]);
    site.run(&["domain", "add", "b.example", "--relay"]);
    site
}

fn submit(site: &Site, subject: &str) {
    let mut talk = site.talk("submission");
    talk.reply();
    talk.smtp("EHLO laptop.example");
    assert!(talk.smtp(&site.auth("ann@a.example")).starts_with("235"));
    assert!(talk.smtp("MAIL FROM:<ann@a.example>").starts_with("250"));
    assert!(talk.smtp("RCPT TO:<bob@b.example>").starts_with("250"));
    assert!(talk.smtp("DATA").starts_with("354"));
    talk.send(format!("From: <ann@a.example>\r\nSubject: {subject}\r\n\r\nHello.\r\n"));
    assert!(talk.smtp(".").starts_with("250"));
}

fn customer(port: u16, folder: &Path, script: &Path) -> Site {
    let password = folder.join("password");
    write_private(&password, &format!("{PASSWORD}\n"));
    let extra = format!(
        "[sieve]\nbefore = [{script:?}]\n\
         [[on_demand.provider]]\nhost = \"localhost\"\nport = {port}\ntls = \"none\"\nuser = \"office@a.example\"\n\
         password_file = {password:?}\nevery_seconds = 1\n"
    );
    Site::start("b.example", "127.0.0.1", free_port(), &Names::none(), &extra, &["bob"])
}

#[test]
fn mail_of_providers_is_filtered_by_the_scripts_of_now() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("all.sieve");
    fs::write(&script, KEEP).unwrap();
    let a = provider();
    let b = customer(a.port("odmr"), folder.path(), &script);
    submit(&a, "one");
    wait_for("the first message", || b.fetch("bob@b.example", 1));
    fs::write(&script, SORT).unwrap();
    b.run(&["reload"]);
    submit(&a, "two");
    let sorted = || {
        let mut talk = b.talk("imap");
        talk.line();
        talk.imap("a", &format!("LOGIN bob@b.example {PASSWORD}"));
        talk.imap("b", "EXAMINE Sorted");
        talk.imap("c", "FETCH 1 BODY.PEEK[]").iter().any(|line| line == "Subject: two").then_some(())
    };
    wait_for("the second message", sorted);
    assert!(b.fetch("bob@b.example", 2).is_none());
}

#[test]
fn what_was_sent_counts_behind_a_reload() {
    let mut server = Server::prepare("rules.messages_per_client = 0\nrules.messages_per_sender = 2");
    server.add_user(USER, PASSWORD);
    server.serve();
    let mail = |sender: &str| {
        let mut talk = server.talk(server.port("smtp", "starttls"));
        talk.reply();
        talk.smtp("EHLO client.example");
        talk.smtp(&format!("MAIL FROM:<{sender}>"))
    };
    for _ in 0..2 {
        assert!(mail("ann@example.net").starts_with("250"));
    }
    let refused = mail("ann@example.net");
    assert!(refused.starts_with("450 4.7.1 Too many messages from this sender"), "{refused}");
    reload(&server);
    let refused = mail("ann@example.net");
    assert!(refused.starts_with("450 4.7.1 Too many messages from this sender"), "{refused}");
    assert!(mail("ben@example.net").starts_with("250"));
    // More are allowed: two of three were sent.
    let file = server.folder.path().join("mailwright.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("messages_per_sender = 2", "messages_per_sender = 3")).unwrap();
    reload(&server);
    assert!(mail("ann@example.net").starts_with("250"));
    assert!(mail("ann@example.net").starts_with("450"));
}

/// A server whose mail for others goes to one host, on a port of this machine, and is tried again every second.
fn sender(port: u16) -> Site {
    let extra = format!(
        "[queue]\nfirst_retry_seconds = 1\nlongest_retry_seconds = 1\n[relay.transport]\n\"*\" = \"smtp:[127.0.0.1]:{port}\"\n"
    );
    Site::start("a.example", "127.0.0.1", free_port(), &Names::none(), &extra, &["ann", "ben"])
}

/// Puts a message into the queue, and waits until its host was not there.
fn queued(site: &Site, to: &[&str], subject: &str) {
    let mut talk = site.talk("submission");
    talk.reply();
    talk.smtp("EHLO laptop.example");
    assert!(talk.smtp(&site.auth("ann@a.example")).starts_with("235"));
    assert!(talk.smtp("MAIL FROM:<ann@a.example>").starts_with("250"));
    for to in to {
        assert!(talk.smtp(&format!("RCPT TO:<{to}>")).starts_with("250"));
    }
    assert!(talk.smtp("DATA").starts_with("354"));
    talk.send(format!("From: <ann@a.example>\r\nSubject: {subject}\r\n\r\nHello.\r\n"));
    assert!(talk.smtp(".").starts_with("250"));
    wait_for("the first attempt", || {
        let list = site.queue(&["list", "--json"]);
        list.lines().all(|line| line.contains("\"last_error\":\"")).then_some(())
    });
}

/// Changes the configuration and has it read again.
fn change(site: &Site, from: &str, to: &str) {
    let file = site.folder.path().join("mailwright.toml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{from}: {text}");
    fs::write(&file, text.replace(from, to)).unwrap();
    site.run(&["reload"]);
}

#[test]
fn what_waits_for_a_domain_that_becomes_ours_is_delivered_here() {
    // Nobody is there all the while.
    let site = sender(free_port());
    queued(&site, &["bob@new.example", "eve@c.example"], "both");
    queued(&site, &["nobody@new.example"], "lost");
    queued(&site, &["info@file.example"], "by the file");
    // By the directory, while the host counts as dead; nothing has them tried by hand.
    site.run(&["queue", "hold", "--all"]);
    site.run(&["domain", "add", "new.example"]);
    site.run(&["alias", "add", "bob@new.example", "ben@a.example"]);
    site.run(&["queue", "release", "--all"]);
    let text = wait_for("the message", || site.fetch("ben@a.example", 1));
    assert!(text.contains("Return-Path: <ann@a.example>") && text.contains("Subject: both"), "{text}");
    let report = wait_for("a report", || site.fetch("ann@a.example", 1));
    assert!(report.contains("Status: 5.1.1") && report.contains("nobody@new.example"), "{report}");
    assert!(!report.contains("bob@new.example") && !report.contains("eve@c.example"), "{report}");
    // By the file of the configuration.
    site.run(&["queue", "hold", "--all"]);
    change(&site, "domains = [\"a.example\"]", "domains = [\"a.example\", \"file.example\"]");
    site.run(&["alias", "add", "info@file.example", "ben@a.example"]);
    site.run(&["queue", "release", "--all"]);
    let text = wait_for("the message", || site.fetch("ben@a.example", 2));
    assert!(text.contains("Subject: by the file"), "{text}");
    // The other recipient waits for the host as before, and everybody got it once.
    let left: Vec<serde_json::Value> = wait_for("one that waits", || {
        let list = site.queue(&["list", "--json"]);
        let all: Vec<_> = list.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (all.len() == 1).then_some(all)
    });
    let waiting: Vec<&str> = left[0]["recipients"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|recipient| recipient["state"] == "waiting")
        .map(|recipient| recipient["address"].as_str().unwrap())
        .collect();
    assert_eq!(waiting, ["eve@c.example"], "{left:?}");
    assert!(left[0]["destination"].as_str().unwrap().contains("127.0.0.1"), "{left:?}");
    assert!(site.fetch("ben@a.example", 3).is_none() && site.fetch("ann@a.example", 2).is_none());
}

#[test]
fn what_waits_goes_by_the_routes_of_its_next_attempt() {
    let dead = free_port();
    let site = sender(dead);
    queued(&site, &["eve@c.example"], "moved");
    let host = Host::start(Behaviour::DropAt("nothing"));
    change(&site, &format!(":{dead}\""), &format!(":{}\"", host.port));
    let text = wait_for("the message at the new host", || host.received().first().cloned());
    assert!(text.contains("Subject: moved"), "{text}");
    wait_for("an empty queue", || site.queue(&["list"]).is_empty().then_some(()));
}

#[test]
fn what_is_held_back_for_a_domain_that_is_ours_no_more_goes_on() {
    let host = Host::start(Behaviour::DropAt("nothing"));
    let site = sender(host.port);
    site.run(&["domain", "add", "new.example"]);
    site.run(&["alias", "add", "bob@new.example", "ben@a.example"]);
    let mut talk = site.talk("submission");
    talk.reply();
    talk.smtp("EHLO laptop.example");
    assert!(talk.smtp(&site.auth("ann@a.example")).starts_with("235"));
    assert!(talk.smtp("MAIL FROM:<ann@a.example> HOLDFOR=1000").starts_with("250"));
    assert!(talk.smtp("RCPT TO:<bob@new.example>").starts_with("250"));
    assert!(talk.smtp("DATA").starts_with("354"));
    talk.send("From: <ann@a.example>\r\nSubject: later\r\n\r\nHello.\r\n");
    assert!(talk.smtp(".").starts_with("250"));
    site.run(&["alias", "remove", "bob@new.example"]);
    site.run(&["domain", "remove", "new.example"]);
    assert_eq!(site.queue(&["release", "--all"]), "1 released\n");
    let text = wait_for("the message at the host", || host.received().first().cloned());
    assert!(text.contains("Subject: later") && !text.contains("Return-Path"), "{text}");
    assert!(site.fetch("ben@a.example", 1).is_none());
}
