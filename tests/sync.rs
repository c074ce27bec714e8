//! A copy of a mailbox is brought up to date, by every method there is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

#[path = "client/world.rs"]
#[allow(dead_code, reason = "shared with the tests of the clients")]
mod world;

use std::{future::pending, sync::Arc, time::Duration};

use mailwright::{
    client::{ClientError, Endpoint, ImapClient, Replica, Security, SyncMethod},
    imap_proto::{
        client::{Config, Event},
        command::{Append, StoreOperation},
        response::Response,
    },
    line_proto::Secret,
    mail_model::{FlagSet, MailboxName, Uid, UidSet},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};
use world::{PASSWORD, Protection, USER, World};

async fn client(world: &World) -> ImapClient {
    let config = Arc::new(world::imap_config(Protection::Plain));
    let mut client = ImapClient::connect(&world.imap(Protection::Plain), config).await.unwrap();
    client.login(USER, &Secret::from(PASSWORD)).await.unwrap();
    client
}

fn uids(text: &str) -> UidSet {
    text.parse().unwrap()
}

fn flags(text: &str) -> FlagSet {
    text.parse().unwrap()
}

async fn append(client: &mut ImapClient, name: &MailboxName) {
    let message: &[u8] = b"Subject: x\r\n\r\n";
    client.append(Append::new(name.clone(), message.len() as u64), &mut &*message).await.unwrap();
}

#[tokio::test]
async fn a_copy_is_brought_up_to_date_by_every_method() {
    let world = World::new(false).await;
    let name = MailboxName::new("Copied").unwrap();
    let mut other = client(&world).await;
    other.create(name.clone()).await.unwrap();
    for _ in 0..5 {
        append(&mut other, &name).await;
    }
    let methods = [SyncMethod::Full, SyncMethod::ChangedSince, SyncMethod::Resync];
    let mut replicas = methods.map(|_| Replica::default());
    let mut clients = [client(&world).await, client(&world).await, client(&world).await];
    for ((client, replica), method) in clients.iter_mut().zip(&mut replicas).zip(methods) {
        let synced = client.sync_by(method, name.clone(), true, replica).await.unwrap();
        assert_eq!((synced.method, synced.reset), (SyncMethod::Full, false));
        assert_eq!((synced.added, synced.opened.messages), (uids("1:5"), 5));
        // Nothing has happened.
        let synced = client.sync_by(method, name.clone(), true, replica).await.unwrap();
        assert_eq!(synced.method, method);
        assert!(synced.added.is_empty() && synced.changed.is_empty() && synced.removed.is_empty());
    }

    other.select(name.clone()).await.unwrap();
    other.store(uids("2"), StoreOperation::Add, flags("\\Seen $work")).await.unwrap();
    other.store(uids("3:4"), StoreOperation::Add, flags("\\Deleted")).await.unwrap();
    other.expunge().await.unwrap();
    append(&mut other, &name).await;
    for ((client, replica), method) in clients.iter_mut().zip(&mut replicas).zip(methods) {
        let synced = client.sync_by(method, name.clone(), true, replica).await.unwrap();
        assert_eq!(synced.method, method);
        assert_eq!((synced.added, synced.changed, synced.removed), (uids("6"), uids("2"), uids("3:4")));
        assert_eq!(replica.flags.keys().copied().collect::<UidSet>(), uids("1:2,5:6"));
        assert_eq!(replica.flags[&Uid::new(2).unwrap()], flags("\\Seen $work"));
    }
    assert!(replicas[0] == replicas[2] && replicas[1] == replicas[2], "{replicas:?}");

    // Another mailbox of the same name.
    other.delete(name.clone()).await.unwrap();
    let mut other = client(&world).await;
    other.create(name.clone()).await.unwrap();
    append(&mut other, &name).await;
    for (replica, method) in replicas.iter_mut().zip(methods) {
        let mut client = client(&world).await;
        let synced = client.sync_by(method, name.clone(), true, replica).await.unwrap();
        assert!(synced.reset && synced.changed.is_empty(), "{synced:?}");
        assert_eq!((synced.added, synced.removed), (uids("1"), uids("1:2,5:6")));
    }
    // A copy that is wrong is put right, whatever the server says.
    let replica = &mut replicas[2];
    replica.flags.insert(Uid::new(9).unwrap(), FlagSet::new());
    let synced = client(&world).await.sync(name, true, replica).await.unwrap();
    assert_eq!((synced.method, synced.removed), (SyncMethod::Full, uids("9")));
}

/// RFC 7162 §3.2.10: with QRESYNC, what is gone is told in another way, which is waited for too.
#[tokio::test]
async fn waiting_and_bringing_up_to_date_go_together() {
    let world = World::new(false).await;
    let name = MailboxName::inbox();
    let (mut other, mut waiting) = (client(&world).await, client(&world).await);
    for _ in 0..3 {
        append(&mut other, &name).await;
    }
    other.select(name.clone()).await.unwrap();
    let mut replica = Replica::default();
    for round in 1..=3 {
        let synced = waiting.sync(name.clone(), true, &mut replica).await.unwrap();
        assert_eq!(replica.flags.len(), 4 - round);
        assert_eq!(synced.removed.len(), u64::from(round > 1));
        // What was told before is known.
        while let Some(news) = waiting.news() {
            assert!(matches!(news, Event::Notice(_) | Event::Capabilities(_)), "{news:?}");
        }
        let change = async {
            other
                .store(*replica.flags.keys().next().unwrap(), StoreOperation::Add, flags("\\Deleted"))
                .await
                .unwrap();
            // Until that was told there are more than one to be told.
            tokio::time::sleep(Duration::from_millis(200)).await;
            other.expunge().await.unwrap();
        };
        let (told, ()) = tokio::join!(waiting.idle(pending()), change);
        assert!(matches!(told.unwrap(), Some(Event::Fetched { .. })));
        let told = waiting.idle(pending()).await.unwrap();
        let Some(Event::Unasked(Response::Vanished { earlier: false, uids })) = told else {
            panic!("{told:?}")
        };
        assert_eq!(uids.len(), 1);
        // The state survives a restart of the program.
        replica = replica.to_string().parse().unwrap();
    }
}

async fn scripted(answers: &'static [&'static str]) -> ImapClient {
    scripted_with("IMAP4rev1 ENABLE CONDSTORE QRESYNC", answers).await
}

/// A server that can do this and answers so, one command after the other: what is before `|` is sent as it is, what is behind it has the tag
/// before it. What is before `>`, if anything is, has to be in the command.
async fn scripted_with(capabilities: &'static str, answers: &'static [&'static str]) -> ImapClient {
    scripted_by(world::imap_config(Protection::Plain), capabilities, answers).await
}

async fn scripted_by(
    config: Config,
    capabilities: &'static str,
    answers: &'static [&'static str],
) -> ImapClient {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        let greeting = format!("* PREAUTH [CAPABILITY {capabilities}] ready\r\n");
        stream.write_all(greeting.as_bytes()).await.unwrap();
        for answer in answers {
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            let tag = line.split(' ').next().unwrap();
            let (asked, answer) = answer.split_once('>').unwrap_or(("", answer));
            assert!(line.contains(asked), "{line}");
            let (said, done) = answer.split_once('|').unwrap();
            stream.write_all(format!("{said}{tag} {done}\r\n").as_bytes()).await.unwrap();
        }
        stream.read_line(&mut String::new()).await.unwrap();
    });
    let endpoint = Endpoint::new("127.0.0.1", port, Security::Plain);
    ImapClient::connect(&endpoint, Arc::new(config)).await.unwrap()
}

const ENABLED: &str = "* ENABLED QRESYNC\r\n|OK enabled";

#[tokio::test]
async fn what_a_server_has_forgotten_is_asked_for() {
    // Restored from a backup: its mod-sequences are lower than what it told once, and it says that nothing has changed.
    let mut client = scripted(&[
        ENABLED,
        "* 2 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [HIGHESTMODSEQ 20] x\r\n|OK [READ-ONLY] done",
        "* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n* 2 FETCH (UID 2 FLAGS ())\r\n|OK done",
    ])
    .await;
    let mut replica: Replica = "7 90\n1 ()\n2 ()\n".parse().unwrap();
    let synced = client.sync(MailboxName::inbox(), true, &mut replica).await.unwrap();
    assert_eq!((synced.method, synced.changed), (SyncMethod::Full, uids("1")));
    assert_eq!(replica.mod_seq.map(|mod_seq| mod_seq.get()), Some(20));
}

#[tokio::test]
async fn uids_that_do_not_last_are_not_believed() {
    let mut client = scripted(&[
        ENABLED,
        "* 1 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNOTSTICKY] x\r\n* OK [HIGHESTMODSEQ 90] x\r\n|OK done",
        "* 1 FETCH (UID 1 FLAGS ())\r\n|OK done",
    ])
    .await;
    let mut replica: Replica = "7 90\n1 ()\n".parse().unwrap();
    let synced = client.sync(MailboxName::inbox(), true, &mut replica).await.unwrap();
    assert!(synced.reset && synced.added == uids("1") && synced.removed == uids("1"), "{synced:?}");
}

/// Servers that lie: what is kept is what was told last, and the connection goes on.
#[tokio::test]
async fn what_does_not_add_up_is_asked_for_again() {
    let mut client = scripted(&[
        ENABLED,
        // UIDs in no order, twice, of messages that are not there and without a number of their own; the count goes down.
        "* 4 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [HIGHESTMODSEQ 95] x\r\n* VANISHED (EARLIER) 1:2\r\n\
         * 2 FETCH (UID 9 FLAGS ())\r\n* 1 FETCH (UID 5 FLAGS ())\r\n* 77 FETCH (FLAGS ())\r\n* garbage (\r\n|OK done",
        "* 3 EXISTS\r\n* 3 FETCH (UID 5 FLAGS (\\Seen))\r\n* 2 FETCH (UID 9 FLAGS ())\r\n\
         * 2 FETCH (UID 9 FLAGS (x))\r\n* 1 FETCH (UID 12 FLAGS ())\r\n|OK done",
        "|OK done",
    ])
    .await;
    let mut replica: Replica = "7 90\n1 ()\n2 ()\n".parse().unwrap();
    let synced = client.sync(MailboxName::inbox(), true, &mut replica).await.unwrap();
    assert_eq!(
        (synced.method, synced.added, synced.removed),
        (SyncMethod::Full, uids("5,9,12"), uids("1:2"))
    );
    assert_eq!(replica.to_string(), "7 95\n5 (\\Seen)\n9 (x)\n12 ()\n");
    client.noop().await.unwrap();
}

/// A hundred thousand numbers are more than half a million octets.
#[tokio::test]
async fn what_is_there_is_told_in_ranges_by_servers_that_can() {
    let opened = "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [HIGHESTMODSEQ 95] x\r\n|OK done";
    let changed = "* 3 FETCH (UID 9 FLAGS (x) MODSEQ (95))\r\n|OK done";
    for (capabilities, script) in [
        ("IMAP4rev1 CONDSTORE ESEARCH", "UID SEARCH RETURN (ALL) ALL>* ESEARCH UID ALL 1,8:9\r\n|OK done"),
        ("IMAP4rev1 CONDSTORE", "UID SEARCH ALL>* SEARCH 1 8 9\r\n|OK done"),
    ] {
        let answers: &'static [&'static str] = Box::leak(Box::new([opened, changed, script]));
        let mut client = scripted_with(capabilities, answers).await;
        let mut replica: Replica = "7 90\n1 ()\n2 ()\n3 (a)\n8 ()\n".parse().unwrap();
        let synced = client.sync(MailboxName::inbox(), true, &mut replica).await.unwrap();
        assert_eq!((synced.method, synced.added), (SyncMethod::ChangedSince, uids("9")), "{capabilities}");
        assert_eq!((synced.changed, synced.removed), (UidSet::new(), uids("2:3")));
        assert_eq!(replica.to_string(), "7 95\n1 ()\n8 ()\n9 (x)\n");
    }
}

/// A server says that everything there could be is gone, and what is there all the same.
#[tokio::test]
async fn what_vanished_is_looked_for_among_what_was_known() {
    let mut client = scripted(&[
        ENABLED,
        "* 2 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [HIGHESTMODSEQ 95] x\r\n* VANISHED (EARLIER) 1:4294967295\r\n\
         * 1 FETCH (UID 2 FLAGS (\\Seen) MODSEQ (95))\r\n* 2 FETCH (UID 5 FLAGS () MODSEQ (95))\r\n|OK done",
    ])
    .await;
    let mut replica: Replica = "7 90\n1 ()\n2 ()\n".parse().unwrap();
    let synced = client.sync(MailboxName::inbox(), true, &mut replica).await.unwrap();
    assert_eq!((synced.method, synced.added), (SyncMethod::Resync, uids("5")));
    assert_eq!((synced.changed, synced.removed), (uids("2"), uids("1")));
}

/// A response that cannot be read is no sign that its message is gone: EXISTS and SEARCH say that it is there.
#[tokio::test]
async fn what_cannot_be_read_is_not_gone() {
    let opened = "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n|OK done";
    let odd = format!(
        "* 2 FETCH (UID 5 FLAGS ({}))\r\n",
        (0..1001).map(|n| format!("k{n}")).collect::<Vec<_>>().join(" ")
    );
    for odd in ["* 2 FETCH (UID 5 FLAGS \\Seen)\r\n", "", &odd] {
        let told = format!("* 1 FETCH (UID 4 FLAGS (x))\r\n{odd}* 3 FETCH (UID 6 FLAGS ())\r\n|OK done");
        let told: &'static str = told.leak();
        let search = "UID SEARCH ALL>* SEARCH 4 5 6\r\n|OK done";
        let answers: &'static [&'static str] = Box::leak(Box::new([opened, told, search, "|OK done"]));
        let mut client = scripted_with("IMAP4rev1", answers).await;
        let mut replica: Replica = "7 -\n3 ()\n4 ()\n5 (\\Seen)\n6 ()\n".parse().unwrap();
        let synced = client.sync(MailboxName::inbox(), true, &mut replica).await.unwrap();
        assert_eq!(synced.method, SyncMethod::Full, "{odd}");
        assert_eq!((synced.removed, synced.changed, synced.added), (uids("3"), uids("4"), UidSet::new()));
        assert_eq!(replica.to_string(), "7 -\n4 (x)\n5 (\\Seen)\n6 ()\n");
        client.noop().await.unwrap();
    }
    // One that is new, and came while others were told of, so that their number is right.
    let mut client = scripted_with(
        "IMAP4rev1",
        &[
            "* 2 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n|OK done",
            "* 1 FETCH (UID 4 FLAGS ())\r\n* 2 FETCH (UID 5 FLAGS \\Seen)\r\n* 3 EXISTS\r\n* 3 FETCH (UID 6 FLAGS ())\r\n|OK done",
            "UID SEARCH ALL>* SEARCH 4 5 6\r\n|OK done",
            "|OK done",
        ],
    )
    .await;
    let mut replica: Replica = "7 -\n4 ()\n".parse().unwrap();
    let synced = client.sync(MailboxName::inbox(), true, &mut replica).await.unwrap();
    assert_eq!((synced.added, synced.removed), (uids("5:6"), UidSet::new()));
    client.noop().await.unwrap();
    // More than there are.
    let mut client = scripted_with(
        "IMAP4rev1",
        &[
            "* 2 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n|OK done",
            "* 1 FETCH (UID 4 FLAGS ())\r\n|OK done",
            "* ESEARCH UID ALL 1:1000000\r\n|OK done",
        ],
    )
    .await;
    let before = replica.clone();
    let error = client.sync(MailboxName::inbox(), true, &mut replica).await.unwrap_err().to_string();
    assert!(error.contains("2"), "{error}");
    assert_eq!(replica, before);
}

/// RFC 7162 §3.2.11: until CLOSED it is about the mailbox that is left, whose UIDs are none of the other's.
#[tokio::test]
async fn news_of_the_mailbox_that_is_left_are_not_those_of_the_other() {
    let mut client = scripted(&[
        ENABLED,
        "* 0 EXISTS\r\n* OK [UIDVALIDITY 8] x\r\n|OK done",
        "* 3 FETCH (UID 5 FLAGS (\\Deleted) MODSEQ (91))\r\n* VANISHED 6\r\n* VANISHED (EARLIER) 4\r\n* 9 EXISTS\r\n* 8 EXPUNGE\r\n\
         * OK [CLOSED] gone\r\n* 2 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [HIGHESTMODSEQ 21] x\r\n\
         * 1 FETCH (UID 4 FLAGS (new) MODSEQ (21))\r\n|OK done",
        "|OK done",
    ])
    .await;
    client.sync(MailboxName::inbox(), true, &mut Replica::default()).await.unwrap();
    let mut replica: Replica = "7 20\n4 ()\n5 (\\Seen)\n".parse().unwrap();
    let synced = client.sync(MailboxName::new("B").unwrap(), true, &mut replica).await.unwrap();
    assert_eq!((synced.method, synced.opened.messages), (SyncMethod::Resync, 2));
    assert_eq!((synced.changed, synced.removed), (uids("4"), UidSet::new()));
    assert_eq!(replica.to_string(), "7 21\n4 (new)\n5 (\\Seen)\n");
    assert!(!matches!(
        client.news(),
        Some(Event::Expunged { .. } | Event::Unasked(_) | Event::Fetched { .. })
    ));
    client.noop().await.unwrap();
}

const OPENED: &str = "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [HIGHESTMODSEQ 95] x\r\n";

/// What a server that has mod-sequences tells once it does not tell again: nothing of it may be lost.
#[tokio::test]
async fn changes_that_cannot_be_read_are_asked_for_again() {
    let known: Replica = "7 90\n1 ()\n2 ()\n3 ()\n".parse().unwrap();
    let odd = "* 1 FETCH (UID 1 FLAGS NIL MODSEQ (95))\r\n";
    let even = "* 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (95))\r\n";
    let there = "UID SEARCH>* SEARCH 1 2 3\r\n|OK done".to_owned();
    let resync = [
        ENABLED.to_owned(),
        format!("QRESYNC (7 90>{OPENED}{odd}|OK done"),
        there.clone(),
        format!("QRESYNC (7 90>{OPENED}{even}|OK done"),
    ];
    let changed_since = [
        format!("CONDSTORE>{OPENED}|OK done"),
        format!("CHANGEDSINCE 90>{odd}|OK done"),
        there,
        format!("CONDSTORE>{OPENED}|OK done"),
        format!("CHANGEDSINCE 90>{even}|OK done"),
    ];
    for (capabilities, method, answers) in [
        ("IMAP4rev1 ENABLE CONDSTORE QRESYNC", SyncMethod::Resync, &resync[..]),
        ("IMAP4rev1 CONDSTORE", SyncMethod::ChangedSince, &changed_since),
    ] {
        let mut client = scripted_with(capabilities, leaked(answers)).await;
        let mut replica = known.clone();
        let synced = client.sync(MailboxName::inbox(), true, &mut replica).await.unwrap();
        assert_eq!((synced.method, &replica), (method, &known));
        assert!(synced.added.is_empty() && synced.changed.is_empty() && synced.removed.is_empty());
        let synced = client.sync(MailboxName::inbox(), true, &mut replica).await.unwrap();
        assert_eq!((synced.method, synced.changed), (method, uids("1")));
        assert_eq!(replica.to_string(), "7 95\n1 (\\Seen)\n2 ()\n3 ()\n");
    }
}

fn leaked(answers: &[String]) -> &'static [&'static str] {
    let answers: Vec<&'static str> = answers.iter().map(|answer| &*answer.clone().leak()).collect();
    answers.leak()
}

/// As many as before, for one that is new and one that is gone could not be read.
#[tokio::test]
async fn a_count_that_is_right_by_chance_is_not_believed() {
    let odd = "* 3 FETCH (UID 4 FLAGS NIL MODSEQ (95))\r\n";
    let there = "UID SEARCH>* SEARCH 1 2 4\r\n|OK done".to_owned();
    let all = "(FLAGS)>* 1 FETCH (UID 1 FLAGS ())\r\n* 2 FETCH (UID 2 FLAGS ())\r\n* 3 FETCH (UID 4 FLAGS (x))\r\n|OK done".to_owned();
    let resync = [
        ENABLED.to_owned(),
        format!("QRESYNC>{OPENED}* VANISHED (EARLIER) 3,x\r\n{odd}|OK done"),
        there.clone(),
        all.clone(),
    ];
    let changed_since =
        [format!("CONDSTORE>{OPENED}|OK done"), format!("CHANGEDSINCE>{odd}|OK done"), there, all];
    for (capabilities, answers) in
        [("IMAP4rev1 ENABLE CONDSTORE QRESYNC", resync), ("IMAP4rev1 CONDSTORE", changed_since)]
    {
        let mut client = scripted_with(capabilities, leaked(&answers)).await;
        let mut replica: Replica = "7 90\n1 ()\n2 ()\n3 ()\n".parse().unwrap();
        let synced = client.sync(MailboxName::inbox(), true, &mut replica).await.unwrap();
        assert_eq!((synced.added, synced.removed), (uids("4"), uids("3")), "{capabilities}");
        assert_eq!(replica.to_string(), "7 95\n1 ()\n2 ()\n4 (x)\n");
    }
}

/// EXISTS says that more are there than anything is told of.
#[tokio::test]
async fn messages_that_are_counted_are_not_gone() {
    let known: Replica = "7 -\n1 ()\n2 ()\n3 ()\n".parse().unwrap();
    let fetched = "* 2 FETCH (UID 2 FLAGS (x))\r\n|OK done";
    let opened = "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n|OK done";
    for search in ["UID SEARCH>|OK done", "UID SEARCH>* SEARCH 2\r\n|OK done"] {
        let answers = [opened, fetched, search, "NOOP>|OK done", "NOOP>|OK done"].map(str::to_owned);
        let mut client = scripted_with("IMAP4rev1", leaked(&answers)).await;
        let mut replica = known.clone();
        let error = client.sync(MailboxName::inbox(), true, &mut replica).await.unwrap_err();
        assert!(matches!(error, ClientError::MessagesMissing { told: 1, exists: 3 }), "{error}");
        assert_eq!(replica, known);
        client.noop().await.unwrap();
    }
    // An EXISTS that cannot be read leaves nothing to go by.
    let answers = &["* -3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n|OK done", "NOOP>|OK done"];
    let mut client = scripted_with("IMAP4rev1", answers).await;
    let mut replica = known.clone();
    let error = client.sync(MailboxName::inbox(), true, &mut replica).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreadable(_)) && replica == known, "{error}");
    client.noop().await.unwrap();
    // They went away while they were asked for, which may be told late.
    for (search, noop) in [
        ("UID SEARCH>* SEARCH 2\r\n* 1 EXPUNGE\r\n* 2 EXPUNGE\r\n|OK done", "NOOP>|OK done"),
        ("UID SEARCH>* SEARCH 2\r\n|OK done", "NOOP>* 1 EXPUNGE\r\n* 2 EXPUNGE\r\n|OK done"),
    ] {
        let answers = [opened, fetched, search, noop].map(str::to_owned);
        let mut client = scripted_with("IMAP4rev1", leaked(&answers)).await;
        let mut replica = known.clone();
        let synced = client.sync(MailboxName::inbox(), true, &mut replica).await.unwrap();
        assert_eq!((synced.removed, synced.changed), (uids("1,3"), uids("2")));
    }
}

/// Nobody has so many messages as a server may name.
#[tokio::test]
async fn what_is_told_of_a_mailbox_is_bounded() {
    let flags: String = (1..2_000).map(|uid| format!("* 1 FETCH (UID {uid} FLAGS ())\r\n")).collect();
    let vanished: String =
        (1..5_000).map(|uid| format!("* VANISHED (EARLIER) {}\r\n", 10_000 - 2 * uid)).collect();
    let keywords = (1..900).map(|number| format!("k{number}")).collect::<Vec<_>>().join(" ");
    let keywords = format!("* 1 FETCH (UID 1 FLAGS ({keywords}))\r\n");
    let many = "* 1 FETCH (UID 1 FLAGS ())\r\n".repeat(5_000);
    for (told, fits) in [(flags, false), (vanished, false), (keywords, false), (many, true)] {
        let mut config = world::imap_config(Protection::Plain);
        config.answer = 30_000;
        let answers = [ENABLED.to_owned(), format!("{OPENED}{told}|OK done"), "|OK done".to_owned()];
        let mut client = scripted_by(config, "IMAP4rev1 ENABLE CONDSTORE QRESYNC", leaked(&answers)).await;
        let mut replica: Replica = "7 90\n1 ()\n2 ()\n3 ()\n".parse().unwrap();
        let outcome = client.sync(MailboxName::inbox(), true, &mut replica).await;
        match outcome {
            Ok(_) => assert!(fits),
            Err(error) => assert!(!fits && error.to_string().contains("30000"), "{error}"),
        }
    }
}
