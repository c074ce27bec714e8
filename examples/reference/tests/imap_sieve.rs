//! Scripts that run when messages in mailboxes change (IMAPSIEVE, RFC 6785), in the running server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use base64::{Engine, prelude::BASE64_STANDARD};
use common::{PASSWORD, Server, Talk, USER};

const BOB: &str = "bob@example.org";

struct World {
    server: Server,
    imap: Talk,
}

impl World {
    /// Alice is logged in, has the mailboxes, and this script is hers and that of `Watched`.
    fn new(script: &str) -> Self {
        let mut server = Server::prepare("allow_plaintext_auth = true");
        server.add_user(USER, PASSWORD);
        server.add_user(BOB, PASSWORD);
        server.serve();
        let imap = server.talk(server.port("imap", "starttls"));
        let mut world = Self { server, imap };
        world.imap.line();
        world.ok(&format!("LOGIN {USER} {PASSWORD}"));
        for mailbox in ["Watched", "Copies"] {
            world.ok(&format!("CREATE {mailbox}"));
        }
        world.put("watch", script);
        world.ok("SETMETADATA Watched (/shared/imapsieve/script \"watch\")");
        world
    }

    fn put(&self, name: &str, script: &str) {
        let mut talk = self.server.talk(self.server.port("managesieve", "starttls"));
        assert!(talk.until("OK").join("\n").contains("imapsieve"));
        let plain = BASE64_STANDARD.encode(format!("\0{USER}\0{PASSWORD}"));
        talk.send(format!("AUTHENTICATE \"PLAIN\" \"{plain}\"\r\n"));
        talk.until("OK");
        talk.send(format!("PUTSCRIPT \"{name}\" {{{}+}}\r\n{script}\r\n", script.len()));
        let answer = talk.line();
        assert!(answer.starts_with("OK"), "{answer}");
    }

    fn ok(&mut self, command: &str) -> String {
        let answer = self.imap.imap("x", command);
        assert!(answer.last().unwrap().starts_with("x OK"), "{command}: {answer:?}");
        answer.join("\n")
    }

    fn append(&mut self, mailbox: &str, flags: &str, subject: &str) {
        let message = format!("From: ann@example.net\r\nSubject: {subject}\r\n\r\nbody\r\n");
        self.ok(&format!("APPEND {mailbox} ({flags}) {{{}+}}\r\n{message}", message.len()));
    }

    /// The flags and subjects of the messages of a mailbox.
    fn list(&mut self, mailbox: &str) -> String {
        self.ok(&format!("EXAMINE {mailbox}"));
        let found = self.ok("FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])");
        self.ok("UNSELECT");
        found
    }

    fn count(&mut self, mailbox: &str) -> usize {
        self.list(mailbox).matches("Subject: ").count()
    }
}

#[test]
fn it_is_announced_where_it_can_be_used() {
    let mut world = World::new("keep;");
    assert!(world.ok("CAPABILITY").contains(" IMAPSIEVE=sieve://"));
}

/// RFC 6785 §5, example 1.
#[test]
fn what_is_new_in_a_mailbox_is_sent_on() {
    let mut world = World::new(
        r#"require ["copy", "environment", "imapsieve"];
           if anyof (environment :is "imap.cause" "APPEND", environment :is "imap.cause" "COPY") {
               if environment :is "imap.mailbox" "Watched" { redirect :copy "bob@example.org"; }
           }"#,
    );
    world.append("Watched", "", "one");
    world.append("INBOX", "", "two");
    world.append("INBOX", "", "three");
    world.ok("SELECT INBOX");
    world.ok("COPY 1 Watched");
    // RFC 6851 §4.6
    world.ok("MOVE 2 Watched");
    world.ok("STORE 1 +FLAGS (\\Flagged)");
    assert_eq!((world.count("Watched"), world.count("INBOX")), (3, 1));
    assert!(!world.list("Watched").contains("Deleted"));
    let mut bob = world.server.talk(world.server.port("imap", "starttls"));
    bob.line();
    bob.imap("a", &format!("LOGIN {BOB} {PASSWORD}"));
    bob.imap("b", "EXAMINE INBOX");
    let all = bob.imap("c", "FETCH 1:* BODY.PEEK[]").join("\n");
    for subject in ["one", "two", "three"] {
        assert_eq!(all.matches(&format!("Subject: {subject}")).count(), 1, "{all}");
    }
    // RFC 6785 §3.4
    assert!(all.contains(&format!("Return-Path: <{USER}>")), "{all}");
}

#[test]
fn scripts_see_what_happened() {
    let mut world = World::new(
        r#"require ["environment", "imapsieve", "variables", "fileinto", "mailbox", "imap4flags", "copy"];
           if environment :matches "imap.cause" "*" { set "cause" "${1}"; }
           if environment :matches "imap.user" "*" { set "user" "${1}"; }
           if environment :matches "imap.changedflags" "*" { set "changed" "${1}"; }
           if environment :matches "location" "*" { set "location" "${1}"; }
           if environment :matches "phase" "*" { set "phase" "${1}"; }
           set "flagged" "no";
           if hasflag "\\Flagged" { set "flagged" "yes"; }
           fileinto :copy :create "${cause} ${user} ${location} ${phase} ${flagged} ${changed}";"#,
    );
    world.append("Watched", "\\Seen", "one");
    world.ok("SELECT Watched");
    world.ok("STORE 1 +FLAGS (\\Flagged)");
    world.ok("STORE 1 -FLAGS.SILENT (\\Flagged \\Draft)");
    // What changes nothing is no event.
    world.ok("STORE 1 -FLAGS (\\Draft)");
    let all = world.ok("LIST \"\" *");
    for name in [
        format!("APPEND {USER} MS post no "),
        format!("FLAG {USER} MS post yes \\\\Flagged"),
        format!("FLAG {USER} MS post no \\\\Flagged"),
    ] {
        assert!(all.contains(&name), "{name}: {all}");
    }
    assert_eq!(all.matches(" MS post ").count(), 3, "{all}");
}

#[test]
fn reading_a_message_is_an_event_too() {
    let mut world = World::new(
        r#"require ["environment", "imapsieve", "fileinto", "copy"];
           if environment :is "imap.changedflags" "\\Seen" { fileinto :copy "Copies"; }"#,
    );
    world.append("Watched", "", "one");
    world.ok("SELECT Watched");
    world.ok("FETCH 1 BODY.PEEK[]");
    assert_eq!(world.count("Copies"), 0);
    world.ok("SELECT Watched");
    world.ok("FETCH 1 BODY[]");
    world.ok("FETCH 1 BODY[]");
    assert_eq!(world.count("Copies"), 1);
}

#[test]
fn flags_are_changed_and_that_is_no_event() {
    let mut world = World::new(
        r#"require ["imap4flags", "imapsieve", "environment", "fileinto", "copy"];
           if environment :is "imap.cause" "APPEND" { addflag "$New"; }
           if environment :is "imap.cause" "FLAG" { addflag "$Changed"; removeflag "$New"; fileinto :copy "Copies"; }"#,
    );
    world.append("Watched", "\\Seen", "one");
    let after = world.list("Watched");
    assert!(after.contains("$New") && after.contains("\\Seen") && !after.contains("$Changed"), "{after}");
    assert_eq!(world.count("Copies"), 0);
    world.ok("SELECT Watched");
    world.ok("STORE 1 +FLAGS (\\Flagged)");
    // The client is told of what the script did.
    let told = world.ok("NOOP");
    assert!(told.contains("$Changed"), "{told}");
    let after = world.list("Watched");
    assert!(after.contains("$Changed") && after.contains("\\Flagged") && !after.contains("$New"), "{after}");
    assert_eq!(world.count("Copies"), 1);
}

#[test]
fn what_is_not_kept_is_marked() {
    let mut world = World::new(
        r#"require ["fileinto", "editheader", "imapsieve"];
           if header :is "subject" "discard" { discard; }
           elsif header :is "subject" "file" { addheader "X-Changed" "yes"; fileinto "Copies"; }
           elsif header :is "subject" "both" { fileinto "Copies"; keep; }
           elsif header :is "subject" "lost" { fileinto "Nowhere"; }"#,
    );
    for subject in ["discard", "file", "both", "lost", "keep"] {
        world.append("Watched", "", subject);
    }
    let watched = world.list("Watched");
    let deleted = |subject: &str| {
        let place = watched.find(&format!("Subject: {subject}")).unwrap();
        watched[..place].rsplit("FETCH").next().unwrap().contains("\\Deleted")
    };
    assert!(deleted("discard") && deleted("file"), "{watched}");
    // A mailbox that is not there leaves the message where it is.
    assert!(!deleted("both") && !deleted("keep") && !deleted("lost"), "{watched}");
    assert_eq!((world.count("Copies"), world.count("INBOX")), (2, 0));
    world.ok("EXAMINE Copies");
    let copies = world.ok("FETCH 1:* BODY.PEEK[]");
    assert_eq!(copies.matches("X-Changed: yes").count(), 1, "{copies}");
}

#[test]
fn what_is_for_delivery_alone_ends_the_script() {
    let mut world = World::new(
        r#"require ["envelope", "imapsieve", "fileinto"];
           fileinto "Copies";
           if envelope :matches "from" "*" { discard; }"#,
    );
    world.append("Watched", "\\Seen", "one");
    let watched = world.list("Watched");
    assert!(watched.contains("\\Seen") && !watched.contains("Deleted"), "{watched}");
    world.put("away", "require \"vacation\"; vacation \"away\"; discard;");
    world.ok("SETMETADATA Watched (/shared/imapsieve/script \"away\")");
    world.append("Watched", "", "two");
    // No such script, and none at all.
    for name in ["\"none\"", "\"\"", "NIL"] {
        world.ok(&format!("SETMETADATA Watched (/shared/imapsieve/script {name})"));
        world.append("Watched", "", "three");
    }
    assert!(!world.list("Watched").contains("Deleted"));
    assert_eq!((world.count("Watched"), world.count("Copies")), (5, 0));
}

#[test]
fn it_can_be_switched_off() {
    let mut server = Server::prepare("allow_plaintext_auth = true");
    let file = server.folder.path().join("mailwright.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}\n[sieve]\nimap = false\n")).unwrap();
    server.add_user(USER, PASSWORD);
    server.serve();
    let mut talk = server.talk(server.port("imap", "starttls"));
    talk.line();
    talk.imap("a", &format!("LOGIN {USER} {PASSWORD}"));
    assert!(!talk.imap("b", "CAPABILITY").join("\n").contains("IMAPSIEVE"));
    let mut talk = server.talk(server.port("managesieve", "starttls"));
    assert!(!talk.until("OK").join("\n").contains("imapsieve"));
}
