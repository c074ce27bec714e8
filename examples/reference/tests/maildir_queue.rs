//! The running server over Maildirs: what goes on from there, and what comes back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;
#[path = "relay/world.rs"]
#[allow(dead_code, reason = "this uses a part of it")]
mod world;

use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use common::{Server, USER, free_port, succeed, wait_for};
use tempfile::TempDir;
use world::{Behaviour, Host, Names, Site};

/// A server over Maildirs in a folder of theirs; all that is not for here goes to the host.
struct World {
    site: Site,
    host: Host,
    mail: TempDir,
}

fn start(behaviour: Behaviour) -> World {
    let (host, mail) = (Host::start(behaviour), tempfile::tempdir().unwrap());
    World { site: site(&mail, host.port), host, mail }
}

fn site(mail: &TempDir, port: u16) -> Site {
    let extra = format!(
        "[store]\nkind = \"maildir\"\npath = \"{}/%d/%n/Maildir\"\n[relay.transport]\n\"*\" = \"smtp:[127.0.0.1]:{port}\"\n",
        mail.path().display(),
    );
    Site::start("a.example", "127.0.0.1", free_port(), &Names::none(), &extra, &["ann", "ben"])
}

impl World {
    /// Files of messages of a user.
    fn files(&self, name: &str) -> Vec<PathBuf> {
        let folder = self.mail.path().join("a.example").join(name).join("Maildir");
        let parts = ["new", "cur"].into_iter().filter_map(|part| fs::read_dir(folder.join(part)).ok());
        parts.flatten().map(|file| file.unwrap().path()).collect()
    }

    fn submit(&self, to: &[&str], subject: &str) {
        let mut talk = self.site.talk("submission");
        talk.reply();
        talk.smtp("EHLO laptop.example");
        assert!(talk.smtp(&self.site.auth("ann@a.example")).starts_with("235"));
        assert_eq!(send(&mut talk, "ann@a.example", to, subject), "250");
    }

    /// From outside.
    fn receive(&self, from: &str, to: &[&str], subject: &str) {
        let mut talk = self.site.talk("smtp");
        talk.reply();
        talk.smtp("EHLO sender.example");
        assert_eq!(send(&mut talk, from, to, subject), "250");
    }

    fn waiting(&self) -> Vec<serde_json::Value> {
        let listed = self.site.queue(&["list", "--json"]);
        listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits for a message at the host.
    fn passed_on(&self, subject: &str) -> String {
        let line = format!("Subject: {subject}\r\n");
        wait_for("the message at the host", || {
            self.host.received().into_iter().find(|text| text.contains(&line))
        })
    }

    fn script(&self, name: &str, script: &str) {
        let folder = self.mail.path().join("a.example").join(name);
        fs::create_dir_all(folder.join("sieve")).unwrap();
        fs::write(folder.join("sieve/all.sieve"), script).unwrap();
        std::os::unix::fs::symlink("sieve/all.sieve", folder.join(".dovecot.sieve")).unwrap();
    }
}

/// The first three digits of what comes of it.
fn send(talk: &mut common::Talk, from: &str, to: &[&str], subject: &str) -> String {
    talk.smtp(&format!("MAIL FROM:<{from}>"));
    for to in to {
        let reply = talk.smtp(&format!("RCPT TO:<{to}>"));
        assert!(reply.starts_with("250"), "{to}: {reply}");
    }
    assert!(talk.smtp("DATA").starts_with("354"));
    let body = "0123456789 ".repeat(30_000);
    talk.send(format!(
        "From: <{from}>\r\nTo: <{}>\r\nSubject: {subject}\r\nMessage-ID: <{subject}@x.example>\r\n\r\nbegin\r\n{body}\r\nend\r\n",
        to.join(">, <")
    ));
    talk.smtp(".")[..3].to_owned()
}

#[test]
fn messages_go_here_and_elsewhere() {
    let world = start(Behaviour::Greylist);
    world.submit(&["ben@a.example", "bob@b.example"], "both");
    // It is in the mailbox at once, and waits for its next try.
    assert_eq!(world.files("ben").len(), 1);
    let waiting = world.waiting();
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    assert_eq!(waiting[0]["recipients"][0]["address"], "bob@b.example");
    let text = world.site.queue(&["show", waiting[0]["id"].as_str().unwrap()]);
    assert!(text.contains("Subject: both") && text.contains("end"), "{text}");
    wait_for("the host to refuse it first", || {
        world.waiting()[0]["last_error"].as_str().is_some_and(|error| error.contains("450")).then_some(())
    });
    assert_eq!(world.site.queue(&["retry", "--all"]), "1 tried again\n");
    let text = world.passed_on("both");
    assert!(text.contains("begin\r\n") && text.ends_with("end\r\n"), "{}", text.len());
    assert!(!text.contains("Return-Path"), "that is for mailboxes");
    wait_for("an empty queue", || world.waiting().is_empty().then_some(()));
    // It survives the end of the server, and can be taken out.
    assert_eq!(world.files("ben").len(), 1);
}

#[test]
fn the_queue_is_kept_and_changed() {
    // Nobody is at the port yet.
    let (port, mail) = (free_port(), tempfile::tempdir().unwrap());
    let site = site(&mail, port);
    let world = World { site, host: Host::start(Behaviour::DropAt("nothing")), mail };
    world.submit(&["ben@a.example", "bob@b.example"], "one");
    world.submit(&["eve@c.example"], "two");
    assert_eq!(world.site.queue(&["hold", "--all"]), "2 held\n");
    let World { site, mail, .. } = world;
    let world = World { site: site.again(), host: Host::at(port, Behaviour::DropAt("nothing")), mail };
    assert_eq!(world.waiting().len(), 2);
    assert!(world.site.run(&["mailq"]).ends_with("in 2 Requests.\n"));
    assert_eq!(world.site.queue(&["delete", "--to", "@c.example"]), "1 deleted\n");
    assert_eq!(world.site.queue(&["release", "--all"]), "1 released\n");
    world.site.queue(&["retry", "--all"]);
    world.passed_on("one");
    assert_eq!(world.files("ben").len(), 1);
}

#[test]
fn failures_are_reported_into_mailboxes() {
    let world = start(Behaviour::Answer("RCPT", "550 5.1.1 nobody here"));
    world.submit(&["bob@b.example"], "lost");
    let file = wait_for("a report", || world.files("ann").pop());
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains("Action: failed") && text.contains("Status: 5.1.1"), "{text}");
    assert!(text.contains("Subject: lost"), "the message is returned");
    wait_for("an empty queue", || world.waiting().is_empty().then_some(()));
    assert_eq!(world.files("ann").len(), 1, "it is reported once");
}

#[test]
fn forwards_go_on_with_and_without_a_copy() {
    let world = start(Behaviour::Greylist);
    world.host.limit(0);
    let set = |name: &str, keep: &str| {
        world.site.run(&["user", "set", name, "--forward", "away@b.example", "--keep", keep]);
    };
    set("ann@a.example", "true");
    set("ben@a.example", "false");
    world.receive("x@c.example", &["ann@a.example"], "kept");
    world.receive("x@c.example", &["ben@a.example"], "gone");
    wait_for("the host to refuse one of them", || {
        world.waiting().iter().any(|entry| !entry["last_error"].is_null()).then_some(())
    });
    world.site.queue(&["retry", "--all"]);
    world.passed_on("kept");
    world.passed_on("gone");
    assert_eq!((world.files("ann").len(), world.files("ben").len()), (1, 0));
}

#[test]
fn scripts_answer_and_redirect() {
    let world = start(Behaviour::DropAt("nothing"));
    world.script(
        "ann",
        "require [\"vacation\", \"copy\"]; redirect :copy \"away@b.example\"; vacation :addresses \"ann@a.example\" \"At sea.\";",
    );
    world.receive("x@c.example", &["ann@a.example"], "tea");
    assert_eq!(world.files("ann").len(), 1);
    assert!(world.passed_on("tea").contains("end\r\n"));
    let answer =
        wait_for("an answer", || world.host.received().into_iter().find(|text| text.contains("At sea.")));
    assert!(answer.contains("In-Reply-To: <tea@x.example>"), "{answer}");
    // To the same sender there is one.
    world.receive("x@c.example", &["ann@a.example"], "tea2");
    world.passed_on("tea2");
    assert_eq!(world.files("ann").len(), 2);
    assert_eq!(world.host.received().len(), 3);
}

/// Out of the queue into a mailbox and back into the queue, once (RFC 4865).
#[test]
fn what_is_held_back_comes_at_its_time() {
    let world = start(Behaviour::DropAt("nothing"));
    let mut talk = world.site.talk("submission");
    talk.reply();
    talk.smtp("EHLO laptop.example");
    assert!(talk.smtp(&world.site.auth("ann@a.example")).starts_with("235"));
    assert!(talk.smtp("MAIL FROM:<ann@a.example> HOLDFOR=1000").starts_with("250"));
    for to in ["ben@a.example", "bob@b.example"] {
        assert!(talk.smtp(&format!("RCPT TO:<{to}>")).starts_with("250"));
    }
    assert!(talk.smtp("DATA").starts_with("354"));
    talk.send("From: <ann@a.example>\r\nSubject: later\r\n\r\nHello.\r\n");
    assert!(talk.smtp(".").starts_with("250"));
    assert_eq!((world.waiting().len(), world.files("ben").len()), (1, 0));
    assert_eq!(world.site.queue(&["release", "--all"]), "1 released\n");
    world.passed_on("later");
    wait_for("an empty queue", || world.waiting().is_empty().then_some(()));
    assert_eq!((world.files("ben").len(), world.host.received().len()), (1, 1));
}

/// Mail that goes into files of other programs goes on as well.
#[test]
fn messages_go_into_mbox_files_and_elsewhere() {
    // Where root runs this, files belong to users of the system.
    let (host, mail) = (Host::start(Behaviour::Greylist), tempfile::tempdir().unwrap());
    let extra = format!(
        "[store]\nmbox = \"{}/%n\"\n[relay.transport]\n\"*\" = \"smtp:[127.0.0.1]:{}\"\n",
        mail.path().display(),
        host.port
    );
    let site = Site::start("a.example", "127.0.0.1", free_port(), &Names::none(), &extra, &["ann", "daemon"]);
    let world = World { site, host, mail };
    world.submit(&["daemon@a.example", "bob@b.example"], "both");
    wait_for("the host to refuse it first", || {
        world.waiting().iter().any(|entry| !entry["last_error"].is_null()).then_some(())
    });
    // New connections, rules and the file read again: the queue goes on.
    world.site.run(&["reload"]);
    world.submit(&["bob@b.example"], "elsewhere");
    world.submit(&["daemon@a.example"], "here");
    let text = fs::read_to_string(world.mail.path().join("daemon")).unwrap();
    assert_eq!(text.matches("\nSubject: both\n").count(), 1);
    assert_eq!(text.matches("\nSubject: here\n").count(), 1);
    world.site.queue(&["retry", "--all"]);
    assert!(world.passed_on("both").ends_with("end\r\n"));
    world.passed_on("elsewhere");
}

#[test]
fn programs_send_by_sendmail() {
    let host = Host::start(Behaviour::DropAt("nothing"));
    let mut server = Server::prepare(
        "allow_plaintext_auth = true\norigin = \"example.org\"\nstore.kind = \"maildir\"\nstore.path = \"mail/%d/%n/Maildir\"",
    );
    let config = server.folder.path().join("mailwright.toml");
    let text = fs::read_to_string(&config).unwrap();
    let relay = format!("[relay.transport]\n\"*\" = \"smtp:[127.0.0.1]:{}\"\n", host.port);
    fs::write(&config, text + "[sendmail]\nsocket = \"sendmail.sock\"\n" + &relay).unwrap();
    let program = server.folder.path().join("sendmail");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_mailwrightd"), &program).unwrap();
    server.add_user(USER, common::PASSWORD);
    server.serve();
    let mut command = Command::new(program);
    command.args(["bob@b.example", "alice"]).env("MAILWRIGHT_CONFIG", &config);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"Subject: from a program\n\nline\n").unwrap();
    assert!(child.wait().unwrap().success());
    wait_for("the message at the host", || {
        host.received().iter().any(|text| text.contains("Subject: from a program")).then_some(())
    });
    let folder = server.folder.path().join("mail/example.org/alice/Maildir/new");
    assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
    // What waits is told of without the server, too.
    server.stop();
    assert_eq!(succeed(&mut server.command(&["queue", "list"])), b"");
}
