//! Servers that refuse in the middle of what is sent to them, talk without an end, or talk before they may.

use std::{
    future::pending,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use mailwright::{
    client::{ClientError, Endpoint, ImapClient, ManageSieveClient, Refusal, Security, SmtpClient},
    imap_proto::{
        client::{Config, Event},
        command::{Append, FetchItem},
        response::ResponseCode,
    },
    line_proto::{
        Closed, PeerMisbehaved,
        tls::{client_config, roots},
    },
    mail_model::{MailboxName, UidSet},
};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::time::{sleep, timeout};

use super::message;

type Server = BufReader<TcpStream>;

/// Does this with one connection.
fn serve(how: impl FnOnce(&mut Server) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || how(&mut BufReader::new(listener.accept().unwrap().0)));
    port
}

fn say(server: &mut Server, text: &str) {
    // Whoever has gone hears nothing.
    let _ = server.get_mut().write_all(text.as_bytes());
}

/// The next command: its tag, and the rest. Empty once the client has gone.
fn command(server: &mut Server) -> (String, String) {
    let mut line = String::new();
    server.read_line(&mut line).unwrap_or_default();
    let (tag, rest) = line.trim_end().split_once(' ').unwrap_or_else(|| (line.trim_end(), ""));
    (tag.to_owned(), rest.to_owned())
}

async fn imap(port: u16, change: impl FnOnce(&mut Config)) -> ImapClient {
    let mut config = Config::default();
    config.allow_plaintext_auth = true;
    change(&mut config);
    let endpoint = Endpoint::new("127.0.0.1", port, Security::Plain);
    ImapClient::connect(&endpoint, Arc::new(config)).await.unwrap()
}

async fn soon<T>(doing: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), doing).await.expect("it takes too long")
}

const GREETING: &str = "* PREAUTH [CAPABILITY IMAP4rev1 IDLE LITERAL+] ready\r\n";
const LARGE: usize = 20_000_000;

/// RFC 7888 §4: what is too large is refused as soon as the server knows, and it need not read the rest.
#[tokio::test]
async fn an_append_hears_that_it_is_refused() {
    for goes in [false, true, true, true, true] {
        let port = serve(move |server| {
            say(server, GREETING);
            let (tag, _) = command(server);
            say(server, &format!("{tag} NO [TOOBIG] at most 10 MB\r\n"));
            match goes {
                true => say(server, "* BYE cannot skip so much\r\n"),
                false => thread::sleep(Duration::from_secs(30)),
            }
        });
        let mut client = imap(port, |_| {}).await;
        let append = Append::new(MailboxName::inbox(), LARGE as u64);
        let body = vec![b'x'; LARGE];
        let error = soon(client.append(append, &mut &*body)).await.unwrap_err();
        let ClientError::Refused(Refusal::Imap(refused)) = &error else { panic!("{goes}: {error}") };
        assert_eq!(refused.0.code, Some(ResponseCode::TooBig));
        // Nothing can follow half a message.
        let error = client.noop().await.unwrap_err();
        assert!(matches!(error, ClientError::Closed(_) | ClientError::Misuse(_)), "{error}");
    }
}

/// It is refused for its mailbox, say, and the server reads it to its end all the same.
#[tokio::test]
async fn a_small_message_that_is_refused_leaves_the_session_as_it_is() {
    let port = serve(|server| {
        say(server, GREETING);
        let (tag, _) = command(server);
        say(server, &format!("{tag} NO [TRYCREATE] no such mailbox\r\n* 3 EXISTS\r\n"));
        let mut skipped = [0; 7];
        server.read_exact(&mut skipped).unwrap();
        assert_eq!(&skipped, b"hello\r\n");
        let (tag, _) = command(server);
        say(server, &format!("{tag} OK done\r\n"));
        command(server);
    });
    let mut client = imap(port, |_| {}).await;
    let (mut write, mut read) = tokio::io::duplex(64);
    let late = async {
        for part in [&b"he"[..], b"llo"] {
            // Long after the refusal.
            sleep(Duration::from_millis(200)).await;
            tokio::io::AsyncWriteExt::write_all(&mut write, part).await.unwrap();
        }
        drop(write);
    };
    let append = client.append(Append::new(MailboxName::new("Sent").unwrap(), 5), &mut read);
    let (appended, ()) = tokio::join!(append, late);
    assert!(matches!(appended, Err(ClientError::Refused(_))), "{appended:?}");
    soon(client.noop()).await.unwrap();
    assert_eq!(client.news(), Some(Event::Exists(3)));
}

#[tokio::test]
async fn scripts_and_mail_are_refused_in_the_middle_too() {
    let port = serve(|server| {
        let capabilities = "\"IMPLEMENTATION\" \"x\"\r\n\"SIEVE\" \"\"\r\n\"SASL\" \"PLAIN\"\r\n\"VERSION\" \"1.0\"\r\nOK\r\n";
        say(server, capabilities);
        command(server);
        say(server, "OK\r\n");
        command(server);
        say(server, capabilities);
        command(server);
        say(server, "NO (QUOTA/MAXSIZE) \"too large\"\r\n");
        thread::sleep(Duration::from_secs(30));
    });
    let endpoint = Endpoint::new("127.0.0.1", port, Security::Plain);
    let mut config = mailwright::sieve::managesieve::client::Config::default();
    config.allow_plaintext_auth = true;
    let mut client = ManageSieveClient::connect(&endpoint, Arc::new(config)).await.unwrap();
    soon(client.login("ann", &"secret".into())).await.unwrap();
    let error = soon(client.check(&vec![b' '; LARGE])).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused(Refusal::ManageSieve(_))), "{error}");

    for goes in [false, true] {
        let port = serve(move |server| {
            say(server, "220 mx.test ESMTP\r\n");
            for reply in
                ["250 mx.test\r\n", "250 ok\r\n", "250 ok\r\n", "354 go on\r\n552 5.3.4 too large\r\n"]
            {
                command(server);
                say(server, reply);
            }
            if !goes {
                thread::sleep(Duration::from_secs(30));
            }
        });
        let endpoint = Endpoint::new("127.0.0.1", port, Security::Plain);
        let name = "client.example.org".parse().unwrap();
        let mut client = SmtpClient::connect(&endpoint, name, Arc::default()).await.unwrap();
        let body = b"x\r\n".repeat(LARGE / 3);
        let replies = soon(client.send(message(&["bob@example.net"]), &body)).await.unwrap();
        assert_eq!(replies[0].code(), 552, "{goes}");
    }
}

/// As many as the server likes, each of few octets: what is held of them is counted as it is held.
#[tokio::test]
async fn what_is_told_of_messages_is_bounded() {
    for (count, fits) in [(50, true), (50_000, false)] {
        let port = serve(move |server| {
            say(server, GREETING);
            let (tag, _) = command(server);
            say(server, &format!("* {count} EXISTS\r\n{tag} OK done\r\n"));
            let (tag, _) = command(server);
            say(server, &format!("{}{tag} OK done\r\n", "* 1 FETCH (UID 1)\r\n".repeat(count)));
            command(server);
        });
        let mut client = imap(port, |config| config.answer = 100_000).await;
        client.examine(MailboxName::inbox()).await.unwrap();
        let all: UidSet = "1:*".parse().unwrap_or_else(|_| "1:9".parse().unwrap());
        match client.items(all, [FetchItem::Uid]).await {
            Ok(found) => assert!(fits && found.len() == count),
            Err(ClientError::Closed(Closed::Misbehaved(PeerMisbehaved::TooLongAnswer {
                limit: 100_000,
                ..
            }))) => {
                assert!(!fits);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Answers each IDLE so, and gives how many there were.
fn idling(answer: &'static str) -> (u16, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let port = serve(move |server| {
        say(server, GREETING);
        loop {
            let (tag, command) = command(server);
            match command.as_str() {
                "IDLE" => {
                    counted.fetch_add(1, Ordering::Relaxed);
                    say(server, &answer.replace("TAG", &tag));
                }
                "" if tag.is_empty() => return,
                "" => {}
                _ => say(server, &format!("{tag} OK done\r\n")),
            }
        }
    });
    (port, count)
}

#[tokio::test]
async fn an_idle_that_ends_at_once_is_not_begun_again_at_once() {
    let (port, count) = idling("+ idling\r\nTAG OK done\r\n");
    let mut client = imap(port, |_| {}).await;
    client.examine(MailboxName::inbox()).await.unwrap();
    let begun = Instant::now();
    let news = soon(client.idle(sleep(Duration::from_millis(1_500)))).await.unwrap();
    assert!(news.is_none() && begun.elapsed() >= Duration::from_millis(1_400));
    assert_eq!(count.load(Ordering::Relaxed), 1);
    client.noop().await.unwrap();
    // As often as was asked for, though.
    let (port, count) = idling("+ idling\r\nTAG OK done\r\n");
    let mut client = imap(port, |config| config.idle = Duration::from_millis(100)).await;
    client.examine(MailboxName::inbox()).await.unwrap();
    soon(client.idle(sleep(Duration::from_millis(1_500)))).await.unwrap();
    assert!((5..=16).contains(&count.load(Ordering::Relaxed)));
    // Without a beginning there is no end.
    let (port, _) = idling("TAG OK done\r\n");
    let mut client = imap(port, |_| {}).await;
    client.examine(MailboxName::inbox()).await.unwrap();
    let error = soon(client.idle(pending())).await.unwrap_err();
    assert!(
        matches!(error, ClientError::Closed(Closed::Misbehaved(PeerMisbehaved::BadReply { .. }))),
        "{error}"
    );
}

/// RFC 9051 §6.2.1, CVE-2011-0411: what somebody on the way has put before TLS is not told as if the server had said it.
#[tokio::test]
async fn what_came_before_tls_is_no_news() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let trusted = client_config(roots(made.cert.pem().as_bytes()).unwrap()).unwrap();
    let port = serve(move |server| {
        say(server, "* OK [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n");
        let (tag, _) = command(server);
        say(
            server,
            &format!(
                "* OK [ALERT] renew your password at http://evil.example/\r\n* 99 EXISTS\r\n* 7 EXPUNGE\r\n{tag} OK go\r\n"
            ),
        );
        let connection = ServerConnection::new(Arc::new(tls)).unwrap();
        let stream = StreamOwned::new(connection, server.get_mut().try_clone().unwrap());
        let mut stream = BufReader::new(stream);
        for answer in ["* CAPABILITY IMAP4rev1\r\n", "* OK [ALERT] hello\r\n"] {
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            let tag = line.split(' ').next().unwrap();
            stream.get_mut().write_all(format!("{answer}{tag} OK done\r\n").as_bytes()).unwrap();
            stream.get_mut().flush().unwrap();
        }
    });
    let endpoint = Endpoint::new("localhost", port, Security::Starttls(Arc::new(trusted)));
    let endpoint = endpoint.at(([127, 0, 0, 1], port).into());
    let mut client = ImapClient::connect(&endpoint, Arc::default()).await.unwrap();
    assert_eq!(client.news(), None);
    client.noop().await.unwrap();
    let news = client.news();
    assert!(matches!(&news, Some(Event::Notice(status)) if status.text.to_string() == "hello"), "{news:?}");
}
