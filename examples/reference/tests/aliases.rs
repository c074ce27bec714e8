//! `/etc/aliases`, `~/.forward`, files and programs that mail is handed to, and programs that are transports.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
};

use common::{PASSWORD, Server, deliver, run, wait_for};

/// Who programs run as when the test is root.
const NOBODY: u32 = 65_534;

/// A server with an alias file, a directory of programs, and a place where everybody may write.
struct World {
    server: Server,
}

impl World {
    fn prepare(aliases: &str, more: &str) -> Self {
        let server = Server::prepare("allow_plaintext_auth = true");
        let world = Self { server };
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        mode(world.server.folder.path(), 0o755);
        for (folder, its) in [("spool", 0o777), ("programs", 0o755), ("home", 0o755)] {
            fs::create_dir(world.path(folder)).unwrap();
            mode(&world.path(folder), its);
        }
        world.aliases(aliases);
        let config = world.path("mailwright.toml");
        let mut text = fs::read_to_string(&config).unwrap();
        text += &format!(
            "[aliases]\nfile = \"aliases\"\nforward = \"home/%n/.forward\"\nprograms = \"programs\"\nprogram_seconds = 2\n\
             [queue]\nfirst_retry_seconds = 1\nlongest_retry_seconds = 1\n{more}"
        );
        fs::write(config, text).unwrap();
        world
    }

    fn start(aliases: &str, more: &str) -> Self {
        let mut world = Self::prepare(aliases, more);
        for user in ["alice@example.org", "bob@example.org"] {
            world.server.add_user(user, PASSWORD);
        }
        world.server.serve();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.server.folder.path().join(name)
    }

    /// The alias file; SPOOL and HERE stand for folders.
    fn aliases(&self, text: &str) {
        let text = text.replace("SPOOL", &self.path("spool").display().to_string());
        fs::write(
            self.path("aliases"),
            text.replace("HERE", &self.server.folder.path().display().to_string()),
        )
        .unwrap();
    }

    /// A program of this name, a shell script in which $SPOOL is known.
    fn program(&self, name: &str, script: &str) {
        let path = self.path("programs").join(name);
        fs::write(&path, format!("#!/bin/sh\nSPOOL={}\n{script}\n", self.path("spool").display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A user's forward file; if we are root, it is somebody's.
    fn forward(&self, user: &str, text: &str) -> PathBuf {
        let home = self.path("home").join(user);
        fs::create_dir_all(&home).unwrap();
        let path = home.join(".forward");
        let text = text.replace("SPOOL", &self.path("spool").display().to_string());
        fs::write(&path, text.replace("HERE", &self.server.folder.path().display().to_string())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        if self.is_root() {
            chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        path
    }

    fn is_root(&self) -> bool {
        fs::metadata(self.path("aliases")).unwrap().uid() == 0
    }

    fn spool(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path("spool").join(name)).ok().filter(|text| text.ends_with('\n'))
    }

    fn wait(&self, name: &str) -> String {
        wait_for(name, || self.spool(name))
    }

    fn command(&self, command: &str) -> (Option<i32>, String) {
        let words: Vec<&str> = command.split_whitespace().collect();
        let output = run(&mut self.server.command(&words));
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }

    fn queue(&self) -> String {
        self.command("queue list --json").1
    }

    /// How many messages a user has.
    fn has(&self, user: &str) -> usize {
        let mut talk = self.server.talk(self.server.port("imap", "starttls"));
        talk.line();
        talk.imap("a", &format!("LOGIN {user} {PASSWORD}"));
        let answer = talk.imap("b", "STATUS INBOX (MESSAGES)");
        answer[0].rsplit(' ').next().unwrap().trim_end_matches(')').parse().unwrap()
    }

    /// The reply to a recipient.
    fn rcpt(&self, to: &str) -> String {
        let mut talk = self.server.talk(self.server.port("smtp", "starttls"));
        talk.reply();
        talk.smtp("EHLO client.example");
        talk.smtp("MAIL FROM:<bob@example.net>");
        talk.smtp(&format!("RCPT TO:<{to}>"))
    }
}

const MESSAGE: &str = "Subject: hello\r\n\r\nFrom here on\r\n.dot\r\n";

#[test]
fn every_kind_of_target_gets_its_mail() {
    let world = World::start(
        "root: alice\n\
         archive: SPOOL/archive\n\
         both: \\alice, SPOOL/both\n\
         kept: SPOOL/kept/\n\
         alice: \\alice, bob\n\
         keep: \"|/usr/lib/keep --mark 'a b' -x\"\n\
         list: :include:HERE/list\n\
         owner-list: alice\n\
         nobody: /dev/null\n\
         circle: circle2\ncircle2: circle\n",
        "",
    );
    world.program("keep", "{ echo \"$*|$SENDER|$RECIPIENT|$EXTENSION|$HOME|$(id -u)\"; cat; } > $SPOOL/keep.new && mv $SPOOL/keep.new $SPOOL/keep");
    fs::write(world.path("list"), "# members\nbob@example.org\nalice@example.org, root\n").unwrap();
    for to in ["root", "archive", "archive", "both", "kept", "keep+more", "nobody"] {
        deliver(&world.server, &format!("{to}@example.org"), MESSAGE);
    }
    let archive = wait_for("two messages", || {
        world.spool("archive").filter(|text| text.matches("\nSubject: hello\n").count() == 2)
    });
    assert!(archive.starts_with("From bob@example.net "), "{archive}");
    assert!(
        archive.contains("Return-Path: <bob@example.net>\nDelivered-To: archive@example.org\nReceived: ")
    );
    assert!(archive.contains("\n>From here on\n.dot\n\nFrom bob@example.net "), "{archive}");
    world.wait("both");
    let file = wait_for("the file in the Maildir", || {
        Some(fs::read_dir(world.path("spool/kept/new")).ok()?.next()?.unwrap().path())
    });
    let kept = fs::read_to_string(&file).unwrap();
    assert!(kept.starts_with("Return-Path: <bob@example.net>\nDelivered-To: kept@example.org\nReceived: "));
    assert!(kept.ends_with("\nSubject: hello\n\nFrom here on\n.dot\n"), "{kept}");
    assert!(file.display().to_string().ends_with(&format!(",S={}", kept.len())));
    let keep = world.wait("keep");
    let uid = if world.is_root() { NOBODY } else { fs::metadata(world.path("aliases")).unwrap().uid() };
    let (first, message) = keep.split_once('\n').unwrap();
    assert!(first.starts_with("--mark a b -x|bob@example.net|keep+more@example.org|more|/"), "{first}");
    assert!(first.ends_with(&format!("|{uid}")), "{first}");
    assert!(
        message
            .starts_with("Return-Path: <bob@example.net>\nDelivered-To: keep+more@example.org\nReceived: ")
    );
    assert!(message.ends_with("\nSubject: hello\n\nFrom here on\n.dot\n"), "{message}");
    if world.is_root() {
        let kept = fs::metadata(&file).unwrap();
        assert_eq!((kept.uid(), kept.mode() & 0o777), (NOBODY, 0o600));
        let archive = fs::metadata(world.path("spool/archive")).unwrap();
        assert_eq!((archive.uid(), archive.mode() & 0o777), (NOBODY, 0o600));
    }
    // root is alice, alice is herself and bob; both is her mailbox alone.
    assert_eq!((world.has("alice@example.org"), world.has("bob@example.org")), (2, 1));
    deliver(&world.server, "list@example.org", MESSAGE);
    assert_eq!((world.has("alice@example.org"), world.has("bob@example.org")), (3, 2), "each once");
    assert!(world.rcpt("circle@example.org").starts_with("550 5."));
    wait_for("an empty queue", || world.queue().is_empty().then_some(()));
    let (_, said) = world.command("address keep@example.org");
    assert!(said.contains("handed to the program /usr/lib/keep --mark 'a b' -x"), "{said}");
    assert!(world.command("address archive@example.org").1.contains("appended to /"));
    // Nobody logs in by an alias, and it is not shown among those of the directory.
    assert!(world.command("alias list").1.is_empty());
}

#[test]
fn what_a_program_ends_with_is_what_becomes_of_the_message() {
    let world = World::start(
        "later: |later\nrefused: \"|refuse now\"\ndead: |dead\nslow: |slow\nmissing: |missing\nclosed: |closed\n",
        "",
    );
    world.program(
        "later",
        "if [ -e $SPOOL/once ]; then cat > $SPOOL/later; else echo busy; : > $SPOOL/once; exit 75; fi",
    );
    world.program("refuse", "cat >/dev/null; echo 'we do not want that' >&2; exit 77");
    world.program("dead", "kill -9 $$");
    world.program("slow", "sleep 300 & wait; : > $SPOOL/never");
    world.program("closed", "exec <&-; echo closed > $SPOOL/closed; exit 0");
    let big = format!("Subject: big\r\n\r\n{}", "a line of some octets\r\n".repeat(20_000));
    deliver(&world.server, "closed@example.org", &big);
    // Reports go to a sender here, so that they can be read.
    let mut talk = world.server.talk(world.server.port("lmtp", "none"));
    talk.reply();
    talk.smtp("LHLO client.example");
    talk.smtp("MAIL FROM:<alice@example.org>");
    for to in ["later", "refused", "dead", "slow", "missing"] {
        assert!(talk.smtp(&format!("RCPT TO:<{to}@example.org>")).starts_with("250"), "{to}");
    }
    talk.smtp("DATA");
    talk.send(MESSAGE.replace("\r\n.", "\r\n..") + ".\r\n");
    for _ in 0..5 {
        assert!(talk.reply().starts_with("250 2.0.0"));
    }
    assert!(world.wait("later").contains("\nSubject: hello\n"), "tried again");
    world.wait("closed");
    wait_for("the report", || (world.has("alice@example.org") == 1).then_some(()));
    let mut imap = common::inbox(&world.server);
    let report = imap.imap("f", "FETCH 1 BODY[]").join("\n");
    assert!(report.contains("Final-Recipient: rfc822; refused@example.org"), "{report}");
    assert!(report.contains("Status: 5.7.0") && report.contains("we do not want that"), "{report}");
    // What is nobody's fault waits, and says why.
    for (to, why) in
        [("dead", "signal 9"), ("slow", "more than 2 seconds"), ("missing", "not one that aliases may name")]
    {
        wait_for(why, || {
            let queue = world.queue();
            queue
                .lines()
                .any(|line| line.contains(&format!("{to}@example.org")) && line.contains(why))
                .then_some(())
        });
    }
    assert!(world.spool("never").is_none(), "what it had started was ended with it");
    assert_eq!(world.has("alice@example.org"), 1, "one report only");
    // An address of ours is not left alone because a program refused.
    assert!(!world.command("queue suppress list").1.contains("refused@"));
}

#[test]
fn newaliases_takes_all_or_leaves_what_was() {
    let world = World::start("one: alice\n", "");
    assert!(world.rcpt("one@example.org").starts_with("250"));
    assert!(world.rcpt("two@example.org").starts_with("550 5.1.1"));
    world.aliases("one: alice\ntwo: bob, one\n");
    assert!(world.rcpt("two@example.org").starts_with("550 5.1.1"), "not before it is read");
    let (code, said) = world.command("newaliases");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("2 aliases"), "{said}");
    assert!(world.rcpt("two@example.org").starts_with("250"));
    for (text, why) in [
        ("one: alice\nthree bob\n", "line 2: expected `name: targets`"),
        ("one: |a && b\n", "without a shell"),
    ] {
        world.aliases(text);
        let (code, said) = world.command("newaliases");
        assert_eq!(code, Some(1), "{text}");
        assert!(said.contains(why), "{text}: {said}");
        assert!(world.rcpt("two@example.org").starts_with("250"), "{text}");
    }
    // A list that cannot be read, or names a program, is tried again and not lost.
    world.aliases("lost: :include:HERE/none\nbad: :include:HERE/bad\n");
    fs::write(world.path("bad"), "|keep\n").unwrap();
    assert_eq!(world.command("newaliases").0, Some(0));
    for to in ["lost", "bad"] {
        assert!(world.rcpt(&format!("{to}@example.org")).starts_with("450 4.3.0"), "{to}");
    }
    let members: String = (0..100_000).map(|number| format!("user{number}@example.org\n")).collect();
    fs::write(world.path("bad"), format!("alice\n{members}")).unwrap();
    assert!(world.rcpt("bad@example.org").starts_with("250"), "a hundred thousand lines are read");
}

/// As with Postfix's newaliases, which warns and keeps the first.
#[test]
fn the_first_of_two_lines_with_one_name_counts_and_both_are_told_of() {
    let mut world = World::prepare("one: alice\n# office\nOne: bob\n", "");
    let told = "line 3: the alias One is there already, in line 1";
    let (code, said) = world.command("config check");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("/aliases, ") && said.contains(told), "{said}");
    for user in ["alice@example.org", "bob@example.org"] {
        world.server.add_user(user, PASSWORD);
    }
    world.server.serve();
    wait_for("a warning at the start", || world.server.log().contains(told).then_some(()));
    deliver(&world.server, "one@example.org", MESSAGE);
    assert_eq!((world.has("alice@example.org"), world.has("bob@example.org")), (1, 0));

    world.aliases("two: bob\none: bob\ntwo: alice\n");
    let (code, said) = world.command("newaliases");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("2 aliases") && said.contains("line 3: the alias two"), "{said}");
    deliver(&world.server, "two@example.org", MESSAGE);
    assert_eq!((world.has("alice@example.org"), world.has("bob@example.org")), (1, 1));

    world.aliases("two: bob\n\n\ntwo: alice\n");
    let (code, said) = world.command("reload");
    assert_eq!(code, Some(0), "{said}");
    wait_for("a warning at the reload", || {
        world.server.log().contains("line 4: the alias two is there already, in line 1").then_some(())
    });
}

#[test]
fn a_server_without_the_directory_of_programs_runs_none() {
    let world = World::prepare("p: |/bin/sh\n", "");
    let config = world.path("mailwright.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("programs = \"programs\"\n", "")).unwrap();
    let (code, said) = world.command("newaliases");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("[aliases] programs does not enable"), "{said}");
}

#[test]
fn forward_files_have_the_rights_of_their_owner() {
    let world = World::start("log: SPOOL/log\n", "");
    world.program("whoami", "{ id -u; cat; } > $SPOOL/who.new && mv $SPOOL/who.new $SPOOL/who");
    let path = world.forward("alice", "\\alice, bob\n\"|whoami\", SPOOL/copy\nlog\n");
    let owner = fs::metadata(&path).unwrap().uid();
    deliver(&world.server, "alice@example.org", MESSAGE);
    assert!(world.wait("who").starts_with(&format!("{owner}\nReturn-Path: <bob@example.net>\n")));
    assert!(world.wait("copy").contains("\nSubject: hello\n"));
    world.wait("log");
    assert_eq!(fs::metadata(world.path("spool/copy")).unwrap().uid(), owner);
    assert_eq!((world.has("alice@example.org"), world.has("bob@example.org")), (1, 1));
    // Round and back: each gets it once.
    world.forward("alice", "bob\n");
    world.forward("bob", "alice\n");
    deliver(&world.server, "alice@example.org", MESSAGE);
    assert_eq!((world.has("alice@example.org"), world.has("bob@example.org")), (2, 1));
    // A file that anybody could have written is not believed, nor one that cannot be understood.
    world.forward("bob", "\"|whoami\n");
    assert!(world.rcpt("bob@example.org").starts_with("450 4.3.0"));
    let path = world.forward("bob", "alice\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(world.rcpt("bob@example.org").starts_with("450 4.3.0"));
    // A link leads to no other file: the message waits.
    let target = world.path("spool/target");
    fs::write(&target, "untouched\n").unwrap();
    symlink(&target, world.path("spool/link")).unwrap();
    world.forward("bob", "SPOOL/link\n");
    deliver(&world.server, "bob@example.org", MESSAGE);
    wait_for("a refusal", || world.queue().contains("spool/link").then_some(()));
    assert_eq!(fs::read_to_string(&target).unwrap(), "untouched\n");
    if world.is_root() {
        // Nothing is done with the rights of root.
        let path = world.forward("bob", "SPOOL/roots\n");
        chown(&path, Some(0), Some(0)).unwrap();
        deliver(&world.server, "bob@example.org", MESSAGE);
        wait_for("a refusal", || world.queue().contains("rights of root").then_some(()));
        assert!(world.spool("roots").is_none());
    }
}

#[test]
fn a_program_can_be_a_transport() {
    let mut world = World::prepare(
        "",
        "[relay.transport]\n\"piped.example\" = \"pipe:take\"\n\
         [relay.pipes.take]\ncommand = [\"PROGRAM\", \"${sender}\", \"<${recipient}>\", \"${user}\", \"${extension}\"]\n\
         seconds = 20\n",
    );
    let config = world.path("mailwright.toml");
    let text = fs::read_to_string(&config).unwrap();
    let program = world.path("programs/take").display().to_string();
    fs::write(&config, text.replace("PROGRAM", &program).replace("\"${user}\"", "\"--\", \"${user}\""))
        .unwrap();
    world.program("take", "case $4 in nobody) echo unknown here; exit 67;; esac\n{ echo \"$*\"; cat; } > $SPOOL/$4.new && mv $SPOOL/$4.new $SPOOL/$4");
    world.server.add_user("alice@example.org", PASSWORD);
    world.server.serve();
    assert_eq!(world.command("domain add piped.example --relay").0, Some(0));
    deliver(&world.server, "carol+x@piped.example", MESSAGE);
    let taken = world.wait("carol");
    assert!(
        taken.starts_with("bob@example.net <carol+x@piped.example> -- carol x\nReturn-Path: "),
        "{taken}"
    );
    let mut talk = world.server.talk(world.server.port("lmtp", "none"));
    talk.reply();
    talk.smtp("LHLO client.example");
    talk.smtp("MAIL FROM:<alice@example.org>");
    assert!(talk.smtp("RCPT TO:<nobody@piped.example>").starts_with("250"));
    assert!(talk.smtp("RCPT TO:<-rf@piped.example>").starts_with("250"));
    talk.smtp("DATA");
    talk.send("Subject: x\r\n\r\nx\r\n.\r\n");
    talk.reply();
    talk.reply();
    wait_for("reports", || {
        let mut imap = common::inbox(&world.server);
        let all = imap.imap("f", "FETCH 1:* BODY[]").join("\n");
        (all.contains("Status: 5.1.1")
            && all.contains("unknown here")
            && all.contains("begins with a hyphen"))
        .then_some(())
    });
    assert!(world.spool("-rf").is_none());
    wait_for("an empty queue", || world.queue().is_empty().then_some(()));
    // A transport that there is not, and a variable that there is not, are said before the server starts.
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("pipe:take", "pipe:other").replace("${extension}", "${nexthop}"))
        .unwrap();
    let (code, said) = world.command("config check");
    assert_eq!(code, Some(2));
    assert!(said.contains("pipe:other") && said.contains("nexthop"), "{said}");
}
