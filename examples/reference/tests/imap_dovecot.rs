//! Our IMAP client at Debian's Dovecot: copies of mailboxes that others change meanwhile, and compression.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;
#[path = "common/dovecot.rs"]
mod dovecot;

use std::{fs, os::unix::fs::chown, process::Command, sync::Arc, thread, time::Duration};

use common::{PASSWORD, free_port, have, run};
use dovecot::{Dovecot, OWNER, is_installed};
use mailwright::{
    client::{Endpoint, ImapClient, Replica, Security, SyncMethod},
    imap_proto::{client::Config, command::Append},
    line_proto::Secret,
    mail_model::{FlagSet, MailboxName, Uid, UidSet, query::Query},
};
use tempfile::TempDir;

const ALICE: &str = "alice";

/// Dovecot with a mailbox, as long as this is there.
struct World {
    _dovecot: Dovecot,
    folder: TempDir,
    imap: u16,
}

impl World {
    /// Announces this instead of what it can do, if it is not empty. Nothing if there is none.
    fn start(capability: &str) -> Option<Self> {
        if !is_installed(&["imap"]) || !have("python3") {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().display();
        for part in ["", "home", "home/alice", "home/alice/Maildir"] {
            let path = folder.path().join(part);
            fs::create_dir_all(&path).unwrap();
            if chown(&path, Some(OWNER), Some(OWNER)).is_err() {
                println!("skipped: only root can run Dovecot for another user");
                return None;
            }
        }
        let imap = free_port();
        let announced = match capability {
            "" => String::new(),
            names => format!("imap_capability = {names}\n"),
        };
        let lines = format!(
            "protocols = imap\n{announced}passdb {{\n  driver = static\n  args = password={PASSWORD}\n}}\n\
             userdb {{\n  driver = static\n  args = uid={OWNER} gid={OWNER} home={base}/home/%u allow_all_users=yes\n}}\n\
             mail_location = maildir:~/Maildir\nmail_plugins = zlib\n\
             protocol imap {{\n  mail_plugins = $mail_plugins imap_zlib\n}}\n\
             namespace inbox {{\n  inbox = yes\n  separator = /\n}}\n\
             service imap-login {{\n  inet_listener imap {{\n    port = {imap}\n  }}\n  inet_listener imaps {{\n    port = 0\n  }}\n}}\n"
        );
        let dovecot = Dovecot::start(folder.path(), &lines, &[imap]);
        Some(Self { _dovecot: dovecot, folder, imap })
    }

    async fn client(&self) -> ImapClient {
        let mut config = Config::default();
        config.allow_plaintext_auth = true;
        let endpoint = Endpoint::new("127.0.0.1", self.imap, Security::Plain);
        let mut client = ImapClient::connect(&endpoint, Arc::new(config)).await.unwrap();
        client.login(ALICE, &Secret::from(PASSWORD)).await.unwrap();
        client
    }

    /// Lets Python's imaplib do something with INBOX: lines of Python over `imap`.
    fn python(&self, lines: &str) {
        let program = format!(
            "import imaplib\n\
             imap = imaplib.IMAP4('127.0.0.1', {})\n\
             imap.login('{ALICE}', '{PASSWORD}')\n\
             def append(number):\n    \
                 answer = imap.append('INBOX', '', None, b'Subject: %d\\r\\n\\r\\nhi\\r\\n' % number)\n    \
                 assert answer[0] == 'OK', answer\n\
             imap.select('INBOX')\n\
             {lines}\n\
             imap.logout()\n",
            self.imap
        );
        let output = run(Command::new("python3").args(["-c", &program]));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

fn uids(text: &str) -> UidSet {
    text.parse().unwrap()
}

/// Whatever Dovecot says that it can do, a copy is brought up to date; and by what it can do.
async fn copies(capability: &str, best: SyncMethod) {
    let Some(dovecot) = World::start(capability) else { return };
    let inbox = MailboxName::inbox();
    dovecot.python("for number in range(1, 9): append(number)");
    let mut replica = Replica::default();
    let mut client = dovecot.client().await;
    let synced = client.sync(inbox.clone(), true, &mut replica).await.unwrap();
    assert_eq!((synced.method, synced.added), (SyncMethod::Full, uids("1:8")));
    client.logout().await.unwrap();

    // Nothing happened; then something of every kind, while nobody looked.
    let mut client = dovecot.client().await;
    let synced = client.sync(inbox.clone(), true, &mut replica).await.unwrap();
    assert_eq!(synced.method, best);
    assert!(synced.added.is_empty() && synced.changed.is_empty() && synced.removed.is_empty(), "{synced:?}");
    client.logout().await.unwrap();
    dovecot.python(
        "imap.uid('STORE', '2,4', '+FLAGS', '(\\\\Seen \\\\Flagged)')\n\
         imap.uid('STORE', '7', '+FLAGS', '($Work)')\n\
         imap.uid('STORE', '3,5:6', '+FLAGS', '(\\\\Deleted)')\n\
         imap.expunge()\n\
         append(9)\n\
         append(10)",
    );
    let mut client = dovecot.client().await;
    let synced = client.sync(inbox.clone(), true, &mut replica).await.unwrap();
    assert_eq!(synced.method, best);
    assert_eq!((synced.added, synced.changed, synced.removed), (uids("9:10"), uids("2,4,7"), uids("3,5:6")));
    assert_eq!(replica.flags.keys().copied().collect::<UidSet>(), uids("1:2,4,7:10"));
    let flags: FlagSet = "\\Seen \\Flagged".parse().unwrap();
    assert_eq!(replica.flags[&Uid::new(4).unwrap()], flags);

    // The last is gone and one is new: as many as before.
    dovecot.python("imap.uid('STORE', '10', '+FLAGS', '(\\\\Deleted)')\nimap.expunge()\nappend(11)");
    let synced = client.sync(inbox.clone(), true, &mut replica).await.unwrap();
    assert_eq!((synced.added, synced.removed), (uids("11"), uids("10")));
    assert_eq!(replica.flags.len(), 7);
    client.logout().await.unwrap();

    // Another mailbox in its place. Its UIDVALIDITY is the time in seconds, which must have gone on.
    thread::sleep(Duration::from_millis(1_100));
    fs::remove_dir_all(dovecot.folder.path().join("home/alice/Maildir")).unwrap();
    dovecot.python("append(1)");
    let synced = dovecot.client().await.sync(inbox, true, &mut replica).await.unwrap();
    assert!(synced.reset, "{synced:?}");
    assert_eq!((synced.added, synced.removed), (uids("1"), uids("1:2,4,7:9,11")));
}

#[tokio::test]
async fn copies_by_resync() {
    copies("", SyncMethod::Resync).await;
}

#[tokio::test]
async fn copies_by_mod_sequences() {
    copies("IMAP4rev1 LITERAL+ SASL-IR UIDPLUS ENABLE CONDSTORE", SyncMethod::ChangedSince).await;
}

#[tokio::test]
async fn copies_without_help() {
    copies("IMAP4rev1", SyncMethod::Full).await;
}

#[tokio::test]
async fn compressed() {
    let Some(dovecot) = World::start("") else { return };
    let mut client = dovecot.client().await;
    assert!(client.compress().await.unwrap());
    let message = "Subject: large\r\n\r\n".to_owned() + &"the same again and again\r\n".repeat(40_000);
    let append = Append::new(MailboxName::inbox(), message.len() as u64);
    client.append(append, &mut message.as_bytes()).await.unwrap();
    client.select(MailboxName::inbox()).await.unwrap();
    let found = client.search(Query::all()).await.unwrap();
    let mut read = Vec::new();
    client.message(found[0], &mut read).await.unwrap();
    assert!(read == message.as_bytes());
    client.logout().await.unwrap();
}
