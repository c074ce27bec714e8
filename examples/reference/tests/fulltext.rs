//! Two servers with the same mail, one of them with an index of its texts: clients cannot tell them apart.
#![cfg(feature = "fulltext")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;
#[path = "common/two.rs"]
mod two;

use std::{fs, path::PathBuf};

use common::{Server, Talk, deliver, inbox, run, succeed, wait_for};
use two::BOB;

const WORDS: &[&str] =
    &["tea", "Teatime", "caf\u{e9}", "invoice", "report", "lunch", "meeting", "12345", "gr\u{fc}n"];

fn server(fulltext: bool) -> Server {
    two::server(&format!("[store]\nfulltext = {fulltext}"))
}

/// Dice that fall the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn word(&mut self) -> &'static str {
        WORDS[self.below(WORDS.len())]
    }

    fn message(&mut self) -> String {
        let vocabulary = [self.word(), self.word(), self.word()];
        let words = self.below(300);
        let body: Vec<_> = (0..words).map(|_| vocabulary[self.below(3)]).collect();
        let from = ["ann@example.net", "bob@example.org"][self.below(2)];
        format!(
            "From: {from}\r\nSubject: {} {}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{}\r\n",
            self.word(),
            self.word(),
            body.join(" ")
        )
    }

    fn key(&mut self, depth: usize) -> String {
        let word = self.word();
        let characters: Vec<char> = word.chars().collect();
        let some: String = characters[self.below(2)..].iter().collect();
        match self.below(if depth == 0 { 5 } else { 9 }) {
            0 => format!("TEXT \"{some}\""),
            1 => format!("BODY \"{some} {}\"", self.word()),
            2 => format!("SUBJECT \"{some}\""),
            3 => "FROM \"example.net\"".into(),
            4 => format!("LARGER {}", self.below(2_000)),
            5 => format!("NOT {}", self.key(depth - 1)),
            6 => format!("FUZZY {}", self.key(depth - 1)),
            7 => format!("OR {} {}", self.key(depth - 1), self.key(depth - 1)),
            _ => format!("({} {})", self.key(depth - 1), self.key(depth - 1)),
        }
    }
}

/// The directories of the index, one for each user who has mail.
fn indexes(server: &Server) -> Vec<PathBuf> {
    let place = server.folder.path().join("data/store/fulltext");
    fs::read_dir(place).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

/// Conversations in which a quoted string may have any letter (RFC 9051 §5.1).
fn open(servers: &[Server; 2]) -> [Talk; 2] {
    servers.each_ref().map(|server| {
        let mut talk = inbox(server);
        assert!(talk.imap("e", "ENABLE IMAP4rev2").last().unwrap().starts_with("e OK"));
        talk
    })
}

fn same(talks: &mut [Talk; 2], dice: &mut Dice, times: usize) {
    for _ in 0..times {
        let keys = dice.key(3);
        let [plain, indexed] = talks.each_mut().map(|talk| talk.imap("a", &format!("UID SEARCH {keys}")));
        assert_eq!(indexed, plain, "{keys}");
        assert!(plain.last().unwrap().starts_with("a OK"), "{keys}: {plain:?}");
    }
}

#[test]
fn with_an_index_the_same_is_found() {
    let mut servers = [server(false), server(true)];
    let mut dice = Dice(7);
    let fill = |servers: &[Server; 2], dice: &mut Dice, messages: usize| {
        for _ in 0..messages {
            let message = dice.message();
            // Not delivered: trace fields would differ.
            for server in servers {
                let mut talk = inbox(server);
                talk.send(format!("p APPEND INBOX {{{}+}}\r\n{message}\r\n", message.len()));
                assert!(talk.until("p").last().unwrap().starts_with("p OK"));
            }
        }
    };
    fill(&servers, &mut dice, 40);
    let mut talks = open(&servers);
    // Before, while and after the mail is indexed.
    same(&mut talks, &mut dice, 60);
    wait_for("the index", || (indexes(&servers[1]).len() == 1).then_some(()));
    same(&mut talks, &mut dice, 100);
    fill(&servers, &mut dice, 5);
    same(&mut talks, &mut dice, 50);
    for talk in &mut talks {
        talk.imap("b", "STORE 3:9 +FLAGS.SILENT (\\Deleted)");
        talk.imap("b", "EXPUNGE");
        talk.imap("b", "COPY 1:5 INBOX");
    }
    same(&mut talks, &mut dice, 50);
    drop(talks);

    // It is kept up while nobody searches, and is in no backup.
    deliver(&servers[1], BOB, "Subject: lunch\r\n\r\nx\r\n");
    wait_for("the index of somebody else", || (indexes(&servers[1]).len() == 2).then_some(()));
    assert!(indexes(&servers[0]).is_empty());
    servers[1].stop();
    let (backup, data) = (tempfile::tempdir().unwrap(), servers[1].folder.path().join("data"));
    succeed(servers[1].command(&["backup"]).arg(backup.path()));
    fs::rename(&data, servers[1].folder.path().join("lost")).unwrap();
    succeed(servers[1].command(&["restore"]).arg(backup.path()));
    assert!(data.join("store").exists() && indexes(&servers[1]).is_empty());
    servers[1].serve();
    same(&mut open(&servers), &mut dice, 30);
    wait_for("the indexes of what came back", || (indexes(&servers[1]).len() == 2).then_some(()));
    servers[1].stop();

    // Damaged, and started again; removed, and started again.
    for place in indexes(&servers[1]) {
        for entry in fs::read_dir(place).unwrap() {
            fs::write(entry.unwrap().path(), b"nonsense").unwrap();
        }
    }
    servers[1].serve();
    same(&mut open(&servers), &mut dice, 30);
    servers[1].stop();
    succeed(servers[1].command(&["fsck"]).stdin(std::process::Stdio::null()));
    fs::remove_dir_all(data.join("store/fulltext")).unwrap();
    servers[1].serve();
    let mut talks = open(&servers);
    same(&mut talks, &mut dice, 30);
    wait_for("the indexes of both", || (indexes(&servers[1]).len() == 2).then_some(()));
    same(&mut talks, &mut dice, 30);

    // Who is erased leaves nothing.
    for arguments in [["user", "remove", BOB], ["user", "erase", BOB]] {
        succeed(&mut servers[1].command(&arguments));
    }
    wait_for("the index of whoever is there", || (indexes(&servers[1]).len() == 1).then_some(()));
    // Switched off, it is gone.
    servers[1].stop();
    let path = servers[1].folder.path().join("mailwright.toml");
    let config = fs::read_to_string(&path).unwrap().replace("fulltext = true", "fulltext = false");
    fs::write(&path, config).unwrap();
    servers[1].serve();
    assert!(indexes(&servers[1]).is_empty());
    assert!(run(&mut servers[1].command(&["config", "check"])).status.success());
}
