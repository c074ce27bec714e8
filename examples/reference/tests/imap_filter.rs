//! Scripts run by clients on messages that are here already (FILTER=SIEVE, draft-bosch-imap-filter-sieve), in the running server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    sync::Barrier,
    thread,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use common::{PASSWORD, Server, Talk, USER, wait_for};

const BOB: &str = "bob@example.org";

struct World {
    server: Server,
    imap: Talk,
}

impl World {
    /// Alice is logged in, has a mailbox `Copies`, and in INBOX a message of each subject.
    fn new(extra: &str, files: &[(&str, &str)], subjects: &[&str]) -> Self {
        let mut server = Server::prepare("allow_plaintext_auth = true");
        let folder = server.folder.path();
        for (name, text) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let file = folder.join("mailwright.toml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{text}\n[sieve]\n{extra}\n")).unwrap();
        server.add_user(USER, PASSWORD);
        server.add_user(BOB, PASSWORD);
        server.serve();
        let imap = server.talk(server.port("imap", "starttls"));
        let mut world = Self { server, imap };
        world.imap.line();
        world.ok(&format!("LOGIN {USER} {PASSWORD}"));
        world.ok("CREATE Copies");
        for subject in subjects {
            let message = format!(
                "Return-Path: <ann@example.net>\r\nFrom: ann@example.net\r\nSubject: {subject}\r\n\r\nbody\r\n"
            );
            world.ok(&format!("APPEND INBOX (\\Seen) {{{}+}}\r\n{message}", message.len()));
        }
        world
    }

    /// What a command is answered with, which ends so.
    fn says(&mut self, end: &str, command: &str) -> String {
        let answer = self.imap.imap("x", command);
        assert!(answer.last().unwrap().starts_with(&format!("x {end}")), "{command}: {answer:?}");
        answer.join("\n")
    }

    fn ok(&mut self, command: &str) -> String {
        self.says("OK", command)
    }

    fn script(&mut self, script: &str, keys: &str) -> String {
        self.ok("SELECT INBOX");
        self.ok(&format!("UID FILTER SIEVE SCRIPT {{{}+}}\r\n{script} {keys}", script.len()))
    }

    fn put(&self, name: &str, script: &str, active: bool) {
        let mut talk = self.server.talk(self.server.port("managesieve", "starttls"));
        talk.until("OK");
        let plain = BASE64_STANDARD.encode(format!("\0{USER}\0{PASSWORD}"));
        talk.send(format!("AUTHENTICATE \"PLAIN\" \"{plain}\"\r\n"));
        talk.until("OK");
        talk.send(format!("PUTSCRIPT \"{name}\" {{{}+}}\r\n{script}\r\n", script.len()));
        let answer = talk.line();
        assert!(answer.starts_with("OK"), "{answer}");
        if active {
            talk.send(format!("SETACTIVE \"{name}\"\r\n"));
            talk.until("OK");
        }
    }

    /// The flags of the messages of a mailbox, and what they say.
    fn list(&mut self, mailbox: &str) -> String {
        self.ok(&format!("EXAMINE {mailbox}"));
        let found = self.ok("FETCH 1:* (FLAGS BODY.PEEK[])");
        self.ok("UNSELECT");
        found
    }

    /// The subjects of the messages of a mailbox that are not marked as deleted.
    fn subjects(&mut self, mailbox: &str) -> Vec<String> {
        let all = self.list(mailbox);
        let messages = all.split("\n* ").filter(|message| !message.contains("\\Deleted"));
        messages
            .filter_map(|message| Some(message.split("Subject: ").nth(1)?.lines().next()?.to_owned()))
            .collect()
    }
}

#[test]
fn messages_are_filed_marked_and_flagged() {
    let mut world = World::new("", &[], &["keep", "file", "both", "discard", "flag", "lost", "here", "fail"]);
    assert!(world.ok("CAPABILITY").contains(" FILTER=SIEVE"));
    let script = r#"require ["fileinto", "imap4flags", "variables", "copy"];
        if header :is "subject" "file" { fileinto "Copies"; }
        elsif header :is "subject" "both" { fileinto :copy "Copies"; }
        elsif header :is "subject" "discard" { discard; }
        elsif allof (header :is "subject" "flag", hasflag "\\Seen") { addflag "\\Flagged"; }
        elsif header :is "subject" "lost" { fileinto "Nowhere"; }
        elsif header :is "subject" "here" { fileinto "INBOX"; }
        elsif header :is "subject" "fail" { discard; redirect "${nobody}"; }"#;
    let answer = world.script(script, "ALL");
    for line in [
        "* 2 FILTERED (TAG \"x\") UID 2 OK",
        "* 3 FILTERED (TAG \"x\") UID 3 OK",
        "* 4 FILTERED (TAG \"x\") UID 4 OK",
        "* 5 FILTERED (TAG \"x\") UID 5 OK",
        "* 6 FILTERED (TAG \"x\") UID 6 WARNINGS \"",
        "* 8 FILTERED (TAG \"x\") UID 8 ERRORS \"",
        // The client is told of what has become of the messages.
        "* 5 FETCH",
    ] {
        assert!(answer.contains(line), "{line}: {answer}");
    }
    assert_eq!(answer.matches(" FILTERED ").count(), 6, "{answer}");
    assert_eq!(world.subjects("INBOX"), ["keep", "both", "flag", "lost", "here", "fail"]);
    assert_eq!(world.subjects("Copies"), ["file", "both"]);
    let inbox = world.list("INBOX");
    assert_eq!(inbox.matches("\\Flagged").count(), 1, "{inbox}");
    // The messages that a search finds, and no others; sequence numbers alone.
    world.ok("SELECT INBOX");
    let answer = world.ok("FILTER SIEVE SCRIPT \"discard;\" SUBJECT keep");
    assert!(answer.contains("* 1 FILTERED (TAG \"x\") OK"), "{answer}");
    assert_eq!(answer.matches(" FILTERED ").count(), 1, "{answer}");
    world.says("NO [BADCHARSET", "FILTER SIEVE SCRIPT \"discard;\" CHARSET BOGUS-8 SUBJECT keep");
    world.says("BAD", "FILTER SIEVE ALL");
}

#[test]
fn what_a_script_makes_of_a_message_takes_its_place() {
    let mut world = World::new("", &[], &["one"]);
    let answer = world.script(r#"require "editheader"; addheader "X-Changed" "yes";"#, "ALL");
    assert!(answer.contains("UID 1 OK"), "{answer}");
    let inbox = world.list("INBOX");
    assert_eq!(world.subjects("INBOX"), ["one"], "{inbox}");
    let kept = inbox.split("\n* ").find(|message| !message.contains("\\Deleted")).unwrap();
    assert!(kept.contains("X-Changed: yes") && kept.contains("\\Seen"), "{inbox}");
}

#[test]
fn nobody_is_answered_and_the_owner_sends() {
    let mut world = World::new("", &[], &["away", "no", "on", "where"]);
    let script = r#"require ["vacation", "reject", "envelope", "environment", "fileinto"];
        if header :is "subject" "away" { vacation :addresses "alice@example.org" "I am away"; }
        elsif header :is "subject" "no" { reject "I do not want this"; }
        elsif allof (header :is "subject" "on", envelope :is "from" "ann@example.net") { redirect "bob@example.org"; }
        elsif allof (environment :is "location" "MS", environment :is "phase" "post") { fileinto "Copies"; }"#;
    let answer = world.script(script, "ALL");
    assert_eq!(answer.matches(" FILTERED ").count(), 2, "{answer}");
    assert_eq!(world.subjects("INBOX"), ["away", "no"]);
    assert_eq!(world.subjects("Copies"), ["where"]);
    let mut bob = world.server.talk(world.server.port("imap", "starttls"));
    bob.line();
    bob.imap("a", &format!("LOGIN {BOB} {PASSWORD}"));
    let found = wait_for("the message", || {
        bob.imap("b", "SELECT INBOX");
        let found = bob.imap("c", "FETCH 1:* BODY.PEEK[]").join("\n");
        found.contains("Subject: on").then_some(found)
    });
    assert_eq!(found.matches("Return-Path").count(), 1, "{found}");
    assert!(found.contains(&format!("Return-Path: <{USER}>")), "{found}");
}

#[test]
fn scripts_have_names() {
    let files =
        [("house/tidy.sieve", "require \"fileinto\"; fileinto \"Copies\";"), ("after.sieve", "discard;")];
    let extra = "included = \"house\"\nafter = [\"after.sieve\"]";
    let mut world = World::new(extra, &files, &["one", "two", "three"]);
    world.put("mine", "if header :is \"subject\" \"one\" { discard; }", false);
    world.ok("SELECT INBOX");
    let answer = world.ok("UID FILTER SIEVE PERSONAL mine ALL");
    assert!(answer.contains("UID 1 OK") && !answer.contains("UID 2"), "{answer}");
    let answer = world.ok("UID FILTER SIEVE GLOBAL tidy SUBJECT two");
    assert!(answer.contains("UID 2 OK"), "{answer}");
    assert_eq!(world.subjects("INBOX"), ["three"]);
    assert_eq!(world.subjects("Copies"), ["two"]);
    // What runs at delivery: the active script, and those of the server around it.
    world.put("active", "if header :is \"subject\" \"three\" { stop; }", true);
    world.ok("SELECT INBOX");
    world.ok("UID FILTER SIEVE DELIVERY SUBJECT three");
    assert_eq!(world.subjects("INBOX"), [""; 0]);
    world.ok("SELECT INBOX");
    for (command, told) in [
        ("UID FILTER SIEVE PERSONAL none ALL", "there is no script"),
        ("UID FILTER SIEVE PERSONAL ../mine ALL", "there is no script"),
        ("UID FILTER SIEVE GLOBAL none ALL", "has no script"),
        ("UID FILTER SIEVE SCRIPT \"if subject {}\" ALL", "line 1"),
        ("UID FILTER SIEVE SCRIPT \"require \\\"imapsieve\\\";\" ALL", "imapsieve"),
    ] {
        let answer = world.says("NO", command);
        assert!(answer.contains("* FILTER (TAG \"x\") ERRORS ") && answer.contains(told), "{answer}");
    }
}

/// RFC 4314 §4: in a mailbox of somebody else, as far as the rights go; what is filed and sent is filed and sent for whom the scripts are.
#[test]
fn others_mailboxes_are_filtered_as_far_as_the_rights_go() {
    let mut world = World::new("", &[], &[]);
    let mut bob = world.server.talk(world.server.port("imap", "starttls"));
    bob.line();
    let mut bobs = |command: &str| {
        let answer = bob.imap("b", command);
        assert!(answer.last().unwrap().starts_with("b OK"), "{command}: {answer:?}");
        answer.join("\n")
    };
    bobs(&format!("LOGIN {BOB} {PASSWORD}"));
    let script = r#"require ["fileinto", "imap4flags", "editheader", "copy"];
        if header :is "subject" "file" { fileinto "Copies"; }
        elsif header :is "subject" "copy" { fileinto :copy "Copies"; }
        elsif header :is "subject" "flag" { addflag "\\Flagged"; }
        elsif header :is "subject" "unseen" { removeflag "\\Seen"; }
        elsif header :is "subject" "change" { addheader "X-Changed" "yes"; }
        elsif header :is "subject" "send" { redirect "bob@example.org"; }
        elsif header :is "subject" "lost" { fileinto "Nowhere"; }"#;
    let subjects = ["file", "copy", "flag", "unseen", "change", "send", "lost", "keep"];
    // The rights, and what is done of what is asked.
    for (round, (rights, done)) in [
        ("rs", "copy unseen"),
        ("rw", "copy flag"),
        ("rt", "file copy send lost"),
        ("rti", "file copy change send lost"),
        ("rswti", "file copy flag unseen change send lost"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("there{round}");
        bobs(&format!("CREATE {name}"));
        for subject in subjects {
            let message = format!("From: ann@example.net\r\nSubject: {subject}\r\n\r\nbody\r\n");
            bobs(&format!("APPEND {name} (\\Seen) {{{}+}}\r\n{message}", message.len()));
        }
        bobs(&format!("SETACL {name} {USER} l{rights}"));
        let before = world.subjects("Copies").len();
        let sent = bobs("STATUS INBOX (MESSAGES)");
        world.ok(&format!("SELECT \"Other Users/{BOB}/{name}\""));
        let answer = world.ok(&format!("UID FILTER SIEVE SCRIPT {{{}+}}\r\n{script} ALL", script.len()));
        world.ok("UNSELECT");
        let has = |subject: &str| done.split(' ').any(|done| done == subject);
        for (place, subject) in subjects.iter().enumerate() {
            let of = format!("UID {} ", place + 1);
            let told = answer.lines().find(|line| line.contains("FILTERED") && line.contains(&of));
            let right = match (has(subject), *subject, told) {
                (_, "keep", told) => told.is_none(),
                (false, _, Some(told)) => told.contains("ERRORS \"you may not"),
                (true, "lost", Some(told)) => told.contains("WARNINGS"),
                (true, _, Some(told)) => told.contains(&format!("{of}OK")),
                (_, _, None) => false,
            };
            assert!(right, "{rights} {subject}: {answer}");
        }
        bobs(&format!("EXAMINE {name}"));
        let there = bobs("FETCH 1:* (FLAGS BODY.PEEK[])");
        bobs("UNSELECT");
        let of = |subject: &str| -> Vec<&str> {
            there.split("\n* ").filter(|one| one.contains(&format!("Subject: {subject}"))).collect()
        };
        for subject in ["file", "change", "send"] {
            assert_eq!(of(subject)[0].contains("\\Deleted"), has(subject), "{rights} {subject}: {there}");
        }
        for subject in ["copy", "lost", "keep", "flag"] {
            assert!(!of(subject)[0].contains("\\Deleted"), "{rights} {subject}: {there}");
        }
        assert_eq!(of("flag")[0].contains("\\Flagged"), has("flag"), "{rights}: {there}");
        assert_eq!(of("unseen")[0].contains("\\Seen"), !has("unseen"), "{rights}: {there}");
        let changed = of("change");
        assert_eq!(changed.len(), 1 + usize::from(has("change")), "{rights}: {there}");
        if let Some(changed) = changed.get(1) {
            assert!(
                changed.contains("X-Changed: yes") && !changed.contains("\\Deleted"),
                "{rights}: {there}"
            );
            // Who may not set a flag may not add a message with it.
            assert_eq!(changed.contains("\\Seen"), rights.contains('s'), "{rights}: {there}");
        }
        let filed = 1 + usize::from(has("file"));
        assert_eq!(world.subjects("Copies").len() - before, filed, "{rights}");
        assert_eq!(bobs("STATUS INBOX (MESSAGES)") != sent, has("send"), "{rights}");
    }
    // What may not be changed at all.
    bobs("CREATE fixed");
    bobs(&format!("SETACL fixed {USER} lr"));
    world.ok(&format!("SELECT \"Other Users/{BOB}/fixed\""));
    world.says("NO", "FILTER SIEVE SCRIPT \"discard;\" ALL");
}

#[test]
fn it_is_for_mailboxes_that_can_be_changed_and_can_be_switched_off() {
    let mut world = World::new("", &[], &["one"]);
    world.says("BAD", "FILTER SIEVE DELIVERY ALL");
    world.ok("EXAMINE INBOX");
    world.says("NO", "FILTER SIEVE SCRIPT \"discard;\" ALL");
    assert_eq!(world.subjects("INBOX"), ["one"]);
    let mut world = World::new("filter_command = false", &[], &["one"]);
    assert!(!world.ok("CAPABILITY").contains("FILTER=SIEVE"));
    world.ok("SELECT INBOX");
    world.says("NO", "FILTER SIEVE SCRIPT \"discard;\" ALL");
    assert_eq!(world.subjects("INBOX"), ["one"]);
}

/// RFC 7352: three sessions filter a message at once, or add copies of one where a script watches (RFC 6785). Nobody can take it back from a
/// program.
#[test]
fn of_copies_that_are_filtered_or_added_at_once_a_program_is_given_one() {
    const COUNT: &str = "#!/bin/sh\ncat > /dev/null; echo ran >> \"${0%/*}/counted\"; sleep 0.3\n";
    let script = "require [\"vnd.dovecot.pipe\", \"copy\", \"duplicate\"]; if not duplicate { pipe :copy \"count\"; } keep;";
    let append = |mailbox: &str, id: &str| {
        let message = format!("Message-ID: <{id}@x>\r\nSubject: x\r\n\r\nx\r\n");
        format!("APPEND {mailbox} {{{}+}}\r\n{message}", message.len())
    };
    for store in ["", "[store]\nkind = \"maildir\"\npath = \"mail/%d/%n/Maildir\""] {
        let extra = format!("programs = \"programs\"\n{store}");
        let mut world = World::new(&extra, &[("programs/count", COUNT)], &[]);
        let programs = world.server.folder.path().join("programs");
        fs::set_permissions(programs.join("count"), Permissions::from_mode(0o755)).unwrap();
        world.ok("CREATE Watched");
        world.put("watch", script, false);
        world.ok("SETMETADATA Watched (/shared/imapsieve/script \"watch\")");
        world.ok(&append("INBOX", "filtered"));
        let filter = format!("UID FILTER SIEVE SCRIPT {{{}+}}\r\n{script} ALL", script.len());
        for (round, command) in [filter, append("Watched", "added")].iter().enumerate() {
            let gate = Barrier::new(3);
            thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        let mut imap = world.server.talk(world.server.port("imap", "starttls"));
                        imap.line();
                        imap.imap("l", &format!("LOGIN {USER} {PASSWORD}"));
                        imap.imap("s", "SELECT INBOX");
                        gate.wait();
                        let answer = imap.imap("f", command);
                        assert!(answer.last().unwrap().starts_with("f OK"), "{command}: {answer:?}");
                        // Whatever the command has begun is over behind this one.
                        imap.imap("n", "NOOP");
                    });
                }
            });
            let counted = fs::read_to_string(programs.join("counted")).unwrap_or_default();
            assert_eq!(counted.lines().count(), round + 1, "{store} {command}\n{}", world.server.log());
        }
    }
}
