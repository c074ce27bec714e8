//! Mail is taken over once more: at the source it went on, and here too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::{
    fs::{self, File},
    process::{Command, Stdio},
    thread,
    time::{Duration, UNIX_EPOCH},
};

use common::{PASSWORD, Server, USER, imap, succeed};

const STORES: [&str; 2] = ["", "store = { kind = \"maildir\", path = \"mail/%u\" }"];

/// A source, and where its mail goes.
struct Both {
    source: Server,
    target: Server,
}

impl Both {
    fn new(store: &str) -> Self {
        let mut source = Server::prepare("allow_plaintext_auth = true");
        source.add_user(USER, PASSWORD);
        source.serve();
        let target = Server::prepare(&format!("allow_plaintext_auth = true\n{store}"));
        target.add_user(USER, PASSWORD);
        fs::write(target.folder.path().join("password"), PASSWORD).unwrap();
        Self { source, target }
    }

    fn command(&self, more: &[&str]) -> Command {
        let from = format!("imaps:localhost:{}", self.source.port("imap", "implicit"));
        let certificate = self.source.certificate();
        let certificate = ["--certificate", certificate.to_str().unwrap()];
        let arguments = ["migrate", "--from", &from, "--to", USER];
        let mut command = self.target.command(&[&arguments[..], &certificate, more].concat());
        command.stdin(File::open(self.target.folder.path().join("password")).unwrap());
        command
    }

    /// Takes over; what is said of INBOX.
    fn migrate(&self, more: &[&str]) -> String {
        let output = self.command(more).output().unwrap();
        assert!(output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Commands for the target, which is stopped again.
    fn here(&mut self, commands: &[&str]) -> String {
        self.target.serve();
        let mut talk = imap(&self.target);
        talk.imap("s", "SELECT INBOX");
        let lines: Vec<_> = commands.iter().map(|command| talk.imap("c", command).join("\n")).collect();
        drop(talk);
        self.target.stop();
        lines.join("\n")
    }

    fn there(&self, commands: &[&str]) {
        let mut talk = imap(&self.source);
        talk.imap("s", "SELECT INBOX");
        for command in commands {
            let said = talk.imap("c", command).join("\n");
            assert!(said.contains("c OK"), "{said}");
        }
    }
}

/// A command that puts a short message there.
fn append(flags: &str, second: u32, text: &str) -> String {
    let message = format!("Subject: report\r\n\r\n{text}\r\n");
    let length = message.len();
    format!("APPEND INBOX ({flags}) \"20-Mar-2011 09:00:{second:02} +0000\" {{{length}+}}\r\n{message}")
}

/// Flags and texts of what is here.
fn all(both: &mut Both) -> Vec<(String, String)> {
    let said = both.here(&["UID FETCH 1:* (FLAGS BODY.PEEK[TEXT])"]);
    let lines: Vec<_> = said.lines().collect();
    let head = |line: &str| {
        line.split_once("FLAGS (")
            .map(|(_, rest)| rest.split(')').next().unwrap().replace("\\Recent", "").trim().to_owned())
    };
    lines.windows(2).filter_map(|pair| Some((head(pair[0])?, pair[1].to_owned()))).collect()
}

#[test]
fn other_messages_are_never_taken_for_those_of_the_source() {
    for store in STORES {
        let mut both = Both::new(store);
        for number in 1..4 {
            both.there(&[&append("", number, &format!("there {number}"))]);
        }
        assert!(both.migrate(&[]).contains("3 messages, 3 copied"));
        // UID 4 of the same size, 5 of the same second, 6 of both, and one below that is removed while another of its second came.
        let ours = [
            append("\\Flagged", 50, "_here 4"),
            append("\\Flagged", 5, "here, longer"),
            append("\\Flagged", 6, "_here 6"),
        ];
        both.here(&ours.each_ref().map(String::as_str));
        both.here(&[&append("\\Flagged", 2, "_here 2"), "UID STORE 2 +FLAGS (\\Deleted)", "EXPUNGE"]);
        for number in 4..7 {
            both.there(&[&append("\\Seen", number, &format!("there {number}"))]);
        }
        let said = both.migrate(&[]);
        assert!(said.contains("6 messages, 3 copied, 0 with other flags"), "{said}");
        assert!(said.contains("UID 2 is not here any more: it was removed here"), "{said}");
        let said = both.migrate(&[]);
        assert!(said.contains("6 messages, 0 copied, 0 with other flags"), "{said}");
        let said = both.migrate(&["--missing"]);
        assert!(said.contains("6 messages, 1 copied, 0 with other flags"), "{said}");
        let mut found = all(&mut both);
        found.retain(|(flags, _)| !flags.is_empty());
        found.sort();
        let flagged = ["_here 2", "_here 4", "_here 6", "here, longer"].map(|text| ("\\Flagged", text));
        let seen = ["there 4", "there 5", "there 6"].map(|text| ("\\Seen", text));
        let wanted: Vec<_> = flagged
            .into_iter()
            .chain(seen)
            .map(|(flags, text)| (flags.to_owned(), text.to_owned()))
            .collect();
        assert_eq!(found, wanted);
        assert_eq!(all(&mut both).len(), 10);
    }
}

#[test]
fn flags_that_were_changed_here_stay_and_those_changed_there_come() {
    for store in STORES {
        let mut both = Both::new(store);
        for (number, flags) in ["\\Seen", "\\Seen \\Flagged", "", "Work"].into_iter().enumerate() {
            both.there(&[&append(flags, 1, &format!("there {number}"))]);
        }
        assert!(both.migrate(&[]).contains("4 messages, 4 copied"));
        both.here(&[
            "UID STORE 1 FLAGS (\\Answered)",
            "UID STORE 2 +FLAGS (Mine)",
            "UID STORE 3 FLAGS (\\Seen)",
        ]);
        both.there(&["UID STORE 2 -FLAGS (\\Flagged)", "UID STORE 4 +FLAGS (\\Answered)"]);
        let said = both.migrate(&[]);
        assert!(
            said.contains(
                "4 messages, 0 copied, 2 with other flags, the same on both sides, but for the flags of 3"
            ),
            "{said}"
        );
        let said = both.migrate(&[]);
        assert!(said.contains("4 messages, 0 copied, 0 with other flags"), "{said}");
        let flags: Vec<_> = all(&mut both).into_iter().map(|(flags, _)| flags).collect();
        assert_eq!(flags, ["\\Answered", "\\Seen Mine", "\\Seen", "\\Answered Work"]);
    }
}

#[test]
fn a_mailbox_that_was_renamed_or_deleted_here_is_filled_anew() {
    let mut both = Both::new("");
    both.there(&[
        "CREATE A",
        "CREATE B",
        &append("", 1, "there").replace("INBOX", "A"),
        &append("", 1, "there").replace("INBOX", "B"),
    ]);
    both.migrate(&[]);
    both.here(&["RENAME A C", "DELETE B"]);
    let said = both.migrate(&[]);
    assert!(said.contains("A: 1 messages, 1 copied") && said.contains("B: 1 messages, 1 copied"), "{said}");
    // Of an account that was erased nothing is known.
    for arguments in [["user", "remove", USER], ["user", "erase", USER]] {
        succeed(&mut both.target.command(&arguments));
    }
    both.target.add_user(USER, PASSWORD);
    let said = both.migrate(&[]);
    assert!(said.contains("A: 1 messages, 1 copied") && said.contains("B: 1 messages, 1 copied"), "{said}");
}

#[test]
fn a_run_that_was_killed_brings_nothing_twice() {
    for store in STORES {
        let server = Server::prepare(store);
        server.add_user(USER, PASSWORD);
        let root = server.folder.path().join("tree");
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(root.join(part)).unwrap();
        }
        for number in 0..600_u64 {
            // Many are of one moment and one size.
            let path = root.join(format!("cur/1000000000.{number}.host:2,S"));
            fs::write(&path, format!("Subject: report\n\n{number:04}\n")).unwrap();
            let time = UNIX_EPOCH + Duration::from_secs(1_000_000_000 + number / 50);
            File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        }
        let from = format!("maildir:{}", root.display());
        let migrate = || server.command(&["migrate", "--from", &from, "--to", USER]);
        for pause in [150, 300, 600] {
            let mut child = migrate().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            thread::sleep(Duration::from_millis(pause));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        // "is only here" would be one that came twice.
        let said = String::from_utf8(succeed(&mut migrate())).unwrap();
        assert!(said.contains("600 messages") && said.contains("the same on both sides"), "{said}");
        let said = String::from_utf8(succeed(&mut migrate())).unwrap();
        assert!(
            said.contains("600 messages, 0 copied, 0 with other flags, the same on both sides"),
            "{said}"
        );
    }
}
