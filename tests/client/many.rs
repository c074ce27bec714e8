//! IMAP servers that take lines of 8,192 octets and no longer ones, and those that are slow to begin an IDLE.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use mailwright::{
    client::{ClientError, Endpoint, ImapClient, Security},
    imap_proto::{
        MessageSet, SequenceSet,
        client::{Config, Event},
        command::{Fetch, FetchItem, StoreOperation},
    },
    mail_model::{MailboxName, Uid, UidSet},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    sync::Notify,
    time::{sleep, timeout},
};

/// The commands that a server was sent.
type Told = Arc<Mutex<Vec<String>>>;

async fn client(address: SocketAddr) -> ImapClient {
    let endpoint = Endpoint::new("imap.example.com", address.port(), Security::Plain).at(address);
    let mut config = Config::default();
    config.allow_plaintext_auth = true;
    let mut client = ImapClient::connect(&endpoint, Arc::new(config)).await.unwrap();
    client.select(MailboxName::inbox()).await.unwrap();
    client
}

/// A server whose messages have odd UIDs, and copies even ones. It refuses what names the UID 77,777.
async fn server() -> (SocketAddr, Told) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, told) = (listener.local_addr().unwrap(), Told::default());
    let noted = Arc::clone(&told);
    tokio::spawn(async move {
        let (read, mut write) = listener.accept().await.unwrap().0.into_split();
        let mut lines = BufReader::new(read).lines();
        write.write_all(b"* PREAUTH [CAPABILITY IMAP4rev1 UIDPLUS MOVE] hello\r\n").await.unwrap();
        while let Ok(Some(line)) = lines.next_line().await {
            let (tag, command) = line.split_once(' ').unwrap();
            let words: Vec<_> = command.split(' ').collect();
            let uids: UidSet = words.get(2).and_then(|set| set.parse().ok()).unwrap_or_default();
            let answer = if line.len() + 2 > 8_192 {
                format!("{tag} BAD line too long\r\n")
            } else if uids.contains(Uid::new(77_777).unwrap()) {
                format!("{tag} NO not that one\r\n")
            } else {
                match (words[0], words.get(1)) {
                    ("UID", Some(&"FETCH")) => {
                        let told: String =
                            uids.iter().map(|uid| format!("* 1 FETCH (UID {uid} FLAGS ())\r\n")).collect();
                        format!("{told}{tag} OK done\r\n")
                    }
                    ("UID", Some(&"COPY")) => {
                        let copies: UidSet = uids.iter().filter_map(|uid| Uid::new(uid.get() * 2)).collect();
                        // To tell of it all in one line, which servers do in theirs.
                        format!("{tag} OK [COPYUID 9 {uids} {copies}] done\r\n")
                    }
                    ("UID", Some(&"MOVE")) => {
                        format!("* OK [COPYUID 9 {uids} {uids}] x\r\n{tag} OK done\r\n")
                    }
                    ("SELECT", _) => format!("* 50000 EXISTS\r\n{tag} OK done\r\n"),
                    _ => format!("{tag} OK done\r\n"),
                }
            };
            noted.lock().unwrap().push(words[..2.min(words.len())].join(" "));
            write.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (address, told)
}

fn scattered(messages: u32) -> UidSet {
    (0..messages).filter_map(|number| Uid::new(2 * number + 1)).collect()
}

#[tokio::test]
async fn any_number_of_messages_may_be_named() {
    let (address, told) = server().await;
    let mut client = client(address).await;
    let all = scattered(30_000);
    let items = client.items(all.clone(), [FetchItem::Flags]).await.unwrap();
    assert_eq!(items.len(), 30_000);
    client.store(all.clone(), StoreOperation::Add, "\\Seen".parse().unwrap()).await.unwrap();
    let name = MailboxName::new("Elsewhere").unwrap();
    let copied = client.copy(all.clone(), name.clone()).await.unwrap().unwrap();
    assert!(copied.source == all && copied.destination.len() == 30_000);
    assert_eq!(copied.destination.last(), Uid::new(2 * 59_999));
    let moved = client.move_to(all.clone(), name).await.unwrap().unwrap();
    assert!(moved.source == all && moved.destination == all);
    let told = std::mem::take(&mut *told.lock().unwrap());
    for command in ["UID FETCH", "UID STORE", "UID COPY", "UID MOVE"] {
        assert!((20..30).contains(&told.iter().filter(|one| *one == command).count()), "{told:?}");
    }
}

/// What is refused in the middle ends it, and what is not read to its end asks for no more.
#[tokio::test]
async fn one_of_several_commands_may_be_refused() {
    let (address, told) = server().await;
    let mut client = client(address).await;
    let all = scattered(50_000);
    let outcome = client.items(all.clone(), [FetchItem::Flags]).await.map(|items| items.len());
    assert!(matches!(outcome, Err(ClientError::Refused(_))), "{outcome:?}");
    let outcome = client.store(all.clone(), StoreOperation::Add, "\\Seen".parse().unwrap()).await;
    assert!(matches!(outcome, Err(ClientError::Refused(_))), "{outcome:?}");
    client.noop().await.unwrap();
    told.lock().unwrap().clear();
    let mut fetching = client.fetch(Fetch::new(all.into(), [FetchItem::Flags])).await.unwrap();
    assert!(matches!(fetching.next().await.unwrap(), Some(Event::Fetched { .. })));
    client.noop().await.unwrap();
    assert_eq!(*told.lock().unwrap(), ["UID FETCH", "NOOP"]);
    // One line has room for many that stand together, and numbers are not UIDs.
    let items = client.items(scattered(1), [FetchItem::Flags]).await.unwrap();
    assert_eq!(items.len(), 1);
    client.items(MessageSet::Sequence(SequenceSet::all()), [FetchItem::Flags]).await.unwrap();
}

#[tokio::test]
async fn waiting_may_be_stopped_before_the_server_has_begun() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let begin = Arc::new(Notify::new());
    let beginning = Arc::clone(&begin);
    let serving = tokio::spawn(async move {
        let (read, mut write) = listener.accept().await.unwrap().0.into_split();
        let (mut lines, mut told) = (BufReader::new(read).lines(), Vec::new());
        write.write_all(b"* PREAUTH [CAPABILITY IMAP4rev1 IDLE] hello\r\n").await.unwrap();
        let mut idling = String::new();
        while let Ok(Some(line)) = lines.next_line().await {
            let (tag, command) = line.split_once(' ').unwrap_or(("", &line));
            let answer = match command {
                "IDLE" => {
                    idling = tag.to_owned();
                    beginning.notified().await;
                    "+ idling\r\n".to_owned()
                }
                "DONE" => format!("{idling} OK done\r\n"),
                _ => format!("{tag} OK done\r\n"),
            };
            told.push(command.to_owned());
            write.write_all(answer.as_bytes()).await.unwrap();
        }
        told
    });
    let mut client = client(address).await;
    let stopped = timeout(Duration::from_secs(60), client.idle(sleep(Duration::from_millis(50)))).await;
    assert_eq!(stopped.unwrap().unwrap(), None);
    // Nor does the next one wait for it longer than it may.
    let stopped = timeout(Duration::from_secs(60), client.idle(sleep(Duration::from_millis(50)))).await;
    assert_eq!(stopped.unwrap().unwrap(), None);
    begin.notify_one();
    client.noop().await.unwrap();
    drop(client);
    assert_eq!(serving.await.unwrap(), ["SELECT INBOX", "IDLE", "DONE", "NOOP"]);
}
