//! What a policy says before the greeting and behind the message.

use std::sync::Arc;

use mailwright::{
    ListenerTls,
    line_proto::Peer,
    mailstore::{
        Store, User,
        accounts::{Accounts, LoginError, LoginRequest, Recipients},
        memory::Memory,
    },
    relay_policy::{Chain, Policy, Session, Verdict, authentication::Examined},
    smtp::{Smtp, StoreInbox},
    smtp_proto::{Message, Reply, server::Config},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

/// Turns away who comes from 192.0.2.0/24 for good and the rest of 192.0.0.0/16 for now, and messages from mallory.
struct Doorman;

impl Policy for Doorman {
    fn name(&self) -> &str {
        "doorman"
    }

    async fn connect(&self, session: &Session) -> Verdict {
        match session.peer.remote.map(|remote| remote.ip().to_string()) {
            Some(address) if address.starts_with("192.0.2.") => {
                Verdict::Reject(Reply::permanent((7, 1), "Not from there"))
            }
            Some(address) if address.starts_with("192.0.") => {
                Verdict::Reject(Reply::transient((7, 1), "Not now"))
            }
            _ => Verdict::Pass,
        }
    }

    async fn message(&self, session: &Session, message: &Message, header: &Examined) -> Verdict {
        assert!(session.hello.is_some() && message.recipients.len() == 1);
        let writers = header.writers().unwrap_or_default();
        if writers.iter().any(|writer| writer.local().unquoted() == "mallory") {
            return Verdict::Reject(Reply::permanent((7, 1), "Not from mallory"));
        }
        Verdict::Pass
    }
}

/// All mail is Ann's, and nobody logs in.
struct Ann;

impl Accounts for Ann {
    async fn login(&self, _: &LoginRequest) -> Result<User, LoginError> {
        Err(LoginError::Credentials)
    }
}

impl Recipients for Ann {
    async fn lookup(&self, _: &str) -> mailwright::mailstore::Result<Option<User>> {
        Ok(Some(User::new("ann").unwrap()))
    }
}

/// What is said to these lines, each line a reply, from the greeting on, by a client at this address.
async fn said(store: &Memory, address: &str, lhlo: bool, lines: &[&str]) -> Vec<String> {
    let inbox = Arc::new(StoreInbox::new(store.clone(), Ann, Chain::default().then(Doorman), "mx.example"));
    let config = if lhlo { Config::lmtp("mx.example") } else { Config::smtp("mx.example") };
    let service = Smtp::<_, Ann>::new(inbox, None, ListenerTls::None, config.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (socket, _) = listener.accept().await.unwrap();
    let peer = Peer::new(Some((address.parse::<std::net::IpAddr>().unwrap(), 7).into()), None);
    let session = tokio::spawn(async move { service.session(socket, peer, CancellationToken::new()).await });
    let (read, mut write) = client.into_split();
    let mut read = BufReader::new(read).lines();
    let mut replies = Vec::new();
    let mut lines = lines.iter();
    loop {
        let Ok(Some(line)) = read.next_line().await else { break };
        if line.as_bytes().get(3) == Some(&b' ') {
            replies.push(line);
            let Some(next) = lines.next() else { break };
            // It may have closed.
            let _ = write.write_all(format!("{next}\r\n").as_bytes()).await;
        }
    }
    drop((read, write));
    session.await.unwrap();
    replies
}

#[tokio::test]
async fn a_policy_turns_clients_away_before_the_greeting() {
    let store = Memory::new();
    let hello = ["EHLO client.example", "QUIT"];
    assert_eq!(
        said(&store, "192.0.2.1", false, &hello).await,
        ["554 5.7.1 Not from there", "503 5.5.1 No service here; say QUIT", "221 2.0.0 Bye"]
    );
    assert_eq!(said(&store, "192.0.3.1", false, &hello).await, ["421 4.7.1 Not now"]);
    let others = said(&store, "198.51.100.1", false, &hello).await;
    assert!(others[0].starts_with("220 mx.example") && others[1].starts_with("250 "), "{others:?}");
}

#[tokio::test]
async fn a_policy_refuses_messages_by_their_headers() {
    let store = Memory::new();
    for (hello, lhlo) in [("EHLO client.example", false), ("LHLO client.example", true)] {
        let mut begin = vec![hello];
        for from in ["mallory@a.example", "ann@a.example"] {
            begin.extend(["MAIL FROM:<x@a.example>", "RCPT TO:<ann@mx.example>", "DATA"]);
            begin.push(match from {
                "ann@a.example" => "From: Ann <ann@a.example>\r\n\r\nFrom: mallory@a.example\r\n.",
                _ => "From: Mallory\r\n <mallory@a.example>\r\n\r\nbody\r\n.",
            });
        }
        let replies = said(&store, "198.51.100.1", lhlo, &begin).await;
        assert_eq!(replies[5], "550 5.7.1 Not from mallory", "{replies:?}");
        assert!(replies[9].starts_with("250 2.0.0 Ok: queued as "), "{replies:?}");
    }
    let (ann, inbox) = (User::new("ann").unwrap(), mailwright::mail_model::MailboxName::inbox());
    let opened = store.open(&ann, &inbox).await.unwrap();
    assert_eq!(opened.messages().count(), 2, "nothing of what was refused is kept");
}
