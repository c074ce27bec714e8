//! Mail programs, and our own client, do the same at our server and at Debian's Dovecot, and find the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;
#[path = "common/dovecot.rs"]
mod dovecot;

use std::{path::Path, process::Command, sync::Arc};

use common::{PASSWORD, Server, USER, free_port, have, run};
use dovecot::Dovecot;
use mailwright::{
    client::{Endpoint, ImapClient, Security},
    imap_proto::{
        client::Config,
        command::{Append, FetchItem, StatusItem, StoreOperation},
        response::{FetchedItem, ListedName},
    },
    line_proto::Secret,
    mail_model::{MailboxName, Uid, UidSet, query::Query},
};
use tempfile::TempDir;

/// Both servers, as long as this is there.
struct Both {
    server: Server,
    _dovecot: Dovecot,
    folder: TempDir,
    theirs: u16,
}

impl Both {
    /// Nothing if there is no Dovecot.
    fn start() -> Option<Self> {
        let (folder, theirs) = (tempfile::tempdir().unwrap(), free_port());
        let dovecot = Dovecot::for_anybody(folder.path(), theirs, PASSWORD)?;
        Some(Self { server: Server::start("allow_plaintext_auth = true"), _dovecot: dovecot, folder, theirs })
    }

    fn ours(&self) -> u16 {
        self.server.port("imap", "starttls")
    }

    /// Lets these programs do what `interop/programs.py` has for them.
    fn use_programs(&self, programs: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/programs.py");
        let homes = self.folder.path().join("programs");
        std::fs::create_dir(&homes).unwrap();
        for program in programs {
            // Each has as long as a program may take.
            let output = run(Command::new("python3")
                .arg(&script)
                .args([USER, PASSWORD])
                .args([self.ours(), self.theirs].map(|port| port.to_string()))
                .arg(&homes)
                .arg(program));
            assert!(
                output.status.success(),
                "{}\n{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
}

#[test]
fn programs_find_and_leave_the_same() {
    if !["python3", "curl", "imapfilter", "mbsync", "offlineimap"].iter().all(|program| have(program)) {
        return;
    }
    let Some(both) = Both::start() else { return };
    both.use_programs(&["imaplib", "curl", "imapfilter", "mbsync", "offlineimap"]);
}

#[test]
fn programs_at_a_terminal_find_and_leave_the_same() {
    if !["python3", "mutt", "alpine"].iter().all(|program| have(program)) {
        return;
    }
    let Some(both) = Both::start() else { return };
    both.use_programs(&["mutt", "alpine"]);
}

fn name(text: &str) -> MailboxName {
    MailboxName::new(text).unwrap()
}

fn uids(text: &str) -> UidSet {
    text.parse().unwrap()
}

/// What our client is told while it works with a mailbox that is empty at first, and what it finds in the end.
async fn told(port: u16) -> Vec<String> {
    let mut config = Config::default();
    config.allow_plaintext_auth = true;
    let endpoint = Endpoint::new("127.0.0.1", port, Security::Plain);
    let mut client = ImapClient::connect(&endpoint, Arc::new(config)).await.unwrap();
    client.login(USER, &Secret::from(PASSWORD)).await.unwrap();
    let mut told = Vec::new();
    for mailbox in ["Work", "Work/2026", "Entw\u{fc}rfe"] {
        client.create(name(mailbox)).await.unwrap();
    }
    for number in 1..=6 {
        let message = format!(
            "From: \"A, B\" <bob{number}@example.net>\r\nTo: alice@example.org\r\nSubject: number {number}\r\n\
             Date: Sat, 21 Nov 2026 10:0{number}:00 +0000\r\n\r\n.dot {number}\r\n"
        );
        let mut append = Append::new(MailboxName::inbox(), message.len() as u64);
        append.flags = if number % 2 == 0 { "\\Seen $Work".parse().unwrap() } else { Default::default() };
        let appended = client.append(append, &mut message.as_bytes()).await.unwrap();
        told.push(format!("appended {:?}", appended.map(|appended| appended.uid)));
    }
    let opened = client.select(MailboxName::inbox()).await.unwrap();
    told.push(format!("opened {} {:?} {:?}", opened.messages, opened.unseen, opened.uid_next));
    for query in ["bob3", "number", "nowhere"] {
        let text = mailwright::mail_model::query::Key::Text(query.into());
        told.push(format!("{query}: {:?}", client.search(Query::from(text)).await.unwrap()));
    }
    client.store(uids("1:2"), StoreOperation::Add, "\\Flagged".parse().unwrap()).await.unwrap();
    client.store(uids("4"), StoreOperation::Remove, "$Work".parse().unwrap()).await.unwrap();
    let copied = client.copy(uids("1:3"), name("Work/2026")).await.unwrap();
    let moved = client.move_to(uids("4"), name("Entw\u{fc}rfe")).await.unwrap();
    for went in [copied, moved] {
        told.push(format!("{:?}", went.map(|went| (went.source, went.destination))));
    }
    client.store(uids("5"), StoreOperation::Add, "\\Deleted".parse().unwrap()).await.unwrap();
    client.expunge().await.unwrap();
    client.rename(name("Work/2026"), name("Work/2027")).await.unwrap();
    told.push(format!("{}", client.copy(uids("6"), name("none")).await.is_err()));
    let mut names: Vec<_> = client.list("*").await.unwrap().into_iter().map(|listed| listed.name).collect();
    names.sort_by_key(|name| format!("{name:?}"));
    for listed in names {
        let ListedName::Name(mailbox) = listed else { panic!("{listed:?}") };
        let status = client.status(mailbox.clone(), [StatusItem::Messages, StatusItem::UidNext]).await;
        let status = status.unwrap().unwrap();
        told.push(format!("{mailbox}: {:?} {:?}", status.messages, status.uid_next));
        client.examine(mailbox.clone()).await.unwrap();
        if status.messages == Some(0) {
            continue;
        }
        let items = [FetchItem::Flags, FetchItem::Size, FetchItem::Envelope];
        for mut fetched in client.items(uids("1:100"), items).await.unwrap() {
            for item in &mut fetched.items {
                // Who is told first of a message is chance.
                if let FetchedItem::Flags(flags) = item {
                    flags.recent = false;
                }
            }
            let mut items: Vec<_> = fetched.items.iter().map(|item| format!("{item:?}")).collect();
            items.sort();
            told.push(format!("{mailbox} {}: {items:?}", fetched.sequence));
            let mut octets = Vec::new();
            let uid: Uid = fetched.uid().unwrap();
            client.message(uid, &mut octets).await.unwrap();
            told.push(String::from_utf8(octets).unwrap());
        }
    }
    client.logout().await.unwrap();
    told
}

#[tokio::test]
async fn our_client_is_told_the_same() {
    let Some(both) = Both::start() else { return };
    let (ours, theirs) = (told(both.ours()).await, told(both.theirs).await);
    assert!(ours.len() > 20, "{ours:?}");
    assert_eq!(ours, theirs);
}
