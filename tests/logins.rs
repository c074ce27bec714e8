//! Logins at servers that offer what they then refuse.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::sync::{Arc, Mutex};

use base64::{Engine, engine::general_purpose::STANDARD};
use mailwright::{
    client::{ClientError, Endpoint, ImapClient, ManageSieveClient, Pop3Client, Security, SmtpClient},
    imap_proto,
    line_proto::{Secret, tls},
    pop3_proto,
    sieve::managesieve,
    smtp_proto,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

const HOST: &str = "mail.example.org";
const OFFER: &[&str] = &["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN", "LOGIN"];
const ALL: [Protocol; 4] = [Protocol::Smtp, Protocol::Imap, Protocol::Pop3, Protocol::ManageSieve];

#[derive(Clone, Copy, PartialEq, Debug)]
enum Protocol {
    Smtp,
    Imap,
    Pop3,
    ManageSieve,
}

/// How a connection is protected, and what may be shown on it.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    Tls,
    /// The configuration allows passwords there.
    Clear,
    /// It does not.
    Closed,
}

/// What the server does with a login by SCRAM.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Scram {
    /// Refuses the first message.
    AtOnce,
    /// Refuses the proof.
    AfterProof,
}

/// A server that does not do what it offers.
#[derive(Clone, Copy)]
struct Script {
    protocol: Protocol,
    offer: &'static [&'static str],
    scram: Scram,
    /// The refusal of SCRAM.
    refusal: &'static str,
    /// Whether the password is right where it is shown.
    takes_password: bool,
    /// Whether it closes behind its first refusal.
    hangs_up: bool,
}

impl Script {
    fn new(protocol: Protocol, scram: Scram) -> Self {
        let refusal = protocol.credentials();
        Self { protocol, offer: OFFER, scram, refusal, takes_password: true, hangs_up: false }
    }

    /// Logs in; what the server saw of it, and what the client makes of it.
    async fn login(self, way: Way) -> (Vec<String>, Result<(), ClientError>) {
        let made = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let acceptor =
            TlsAcceptor::from(Arc::new(tls::server_config(chain.as_bytes(), key.as_bytes()).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&seen);
        tokio::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            if way == Way::Tls {
                Server::new(acceptor.accept(socket).await.unwrap(), self, told).run().await;
            } else {
                Server::new(socket, self, told).run().await;
            }
        });
        let security = match way {
            Way::Tls => Security::Implicit(Arc::new(
                tls::client_config(tls::roots(chain.as_bytes()).unwrap()).unwrap(),
            )),
            Way::Clear | Way::Closed => Security::Plain,
        };
        let endpoint = Endpoint::new(HOST, 0, security).at(address);
        let outcome = self.protocol.login(&endpoint, way == Way::Clear).await;
        (seen.lock().unwrap().clone(), outcome)
    }
}

macro_rules! config {
    ($protocol:ident, $in_clear:expr) => {{
        let mut config = $protocol::client::Config::default();
        config.allow_plaintext_auth = $in_clear;
        Arc::new(config)
    }};
}

impl Protocol {
    /// The usual refusal of a wrong password.
    fn credentials(self) -> &'static str {
        match self {
            Self::Smtp => "535 5.7.8 no",
            Self::Imap => "NO [AUTHENTICATIONFAILED] no",
            Self::Pop3 => "-ERR [AUTH] no",
            Self::ManageSieve => "NO \"no\"",
        }
    }

    /// The refusal of a server that cannot look at passwords now.
    fn later(self) -> &'static str {
        match self {
            Self::Smtp => "454 4.7.0 later",
            Self::Imap => "NO [UNAVAILABLE] later",
            Self::Pop3 => "-ERR [SYS/TEMP] later",
            Self::ManageSieve => "NO (TRYLATER) \"later\"",
        }
    }

    async fn login(self, endpoint: &Endpoint, in_clear: bool) -> Result<(), ClientError> {
        let password = Secret::from("correct horse");
        match self {
            Self::Smtp => {
                let config = config!(smtp_proto, in_clear);
                let name = "client.example.org".parse().unwrap();
                SmtpClient::connect(endpoint, name, config).await?.login("ann", &password).await
            }
            Self::Imap => {
                let config = config!(imap_proto, in_clear);
                ImapClient::connect(endpoint, config).await?.login("ann", &password).await
            }
            Self::Pop3 => {
                let config = config!(pop3_proto, in_clear);
                Pop3Client::connect(endpoint, config).await?.login("ann", &password).await
            }
            Self::ManageSieve => {
                let config = config!(managesieve, in_clear);
                ManageSieveClient::connect(endpoint, config).await?.login("ann", &password).await
            }
        }
    }
}

/// One connection of a server.
struct Server<S> {
    stream: BufStream<S>,
    script: Script,
    seen: Arc<Mutex<Vec<String>>>,
    tag: String,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Server<S> {
    fn new(stream: S, script: Script, seen: Arc<Mutex<Vec<String>>>) -> Self {
        Self { stream: BufStream::new(stream), script, seen, tag: String::new() }
    }

    async fn run(mut self) {
        let offer = self.script.offer.join(" ");
        let sieve =
            format!("\"IMPLEMENTATION\" \"x\"\r\n\"SASL\" \"{offer}\"\r\n\"SIEVE\" \"fileinto\"\r\nOK\r\n");
        let auth: String = self.script.offer.iter().map(|name| format!(" AUTH={name}")).collect();
        let imap = format!("CAPABILITY IMAP4rev1 SASL-IR{auth}");
        self.say(match self.script.protocol {
            Protocol::Smtp => "220 mail.example.org ESMTP\r\n".to_owned(),
            Protocol::Imap => format!("* OK [{imap}] hello\r\n"),
            Protocol::Pop3 => "+OK hello\r\n".to_owned(),
            Protocol::ManageSieve => sieve.clone(),
        })
        .await;
        while let Some(line) = self.line().await {
            let line = if self.script.protocol == Protocol::Imap {
                let (tag, rest) = line.split_once(' ').unwrap();
                self.tag = format!("{tag} ");
                rest.to_owned()
            } else {
                line
            };
            let words: Vec<_> = line.split(' ').map(|word| word.trim_matches('"').to_owned()).collect();
            match (words[0].as_str(), self.script.protocol) {
                ("EHLO", _) => self.say(format!("250-mail.example.org\r\n250 AUTH {offer}\r\n")).await,
                ("CAPA", _) => self.say(format!("+OK\r\nUSER\r\nSASL {offer}\r\n.\r\n")).await,
                ("CAPABILITY", Protocol::ManageSieve) => self.say(sieve.clone()).await,
                ("CAPABILITY", _) => self.say(format!("* {imap}\r\n{}OK done\r\n", self.tag)).await,
                ("AUTH" | "AUTHENTICATE", _) => self.authenticate(&words[1], words.get(2)).await,
                ("LOGIN" | "PASS", _) => {
                    self.seen.lock().unwrap().push(words[0].clone());
                    self.verdict(self.script.takes_password).await;
                }
                ("USER", _) => self.say("+OK\r\n".to_owned()).await,
                other => panic!("{other:?}"),
            }
            if self.script.hangs_up && !self.seen.lock().unwrap().is_empty() {
                return;
            }
        }
    }

    async fn authenticate(&mut self, mechanism: &str, initial: Option<&String>) {
        self.seen.lock().unwrap().push(mechanism.to_owned());
        if mechanism.starts_with("SCRAM") {
            if self.script.scram == Scram::AfterProof {
                let first = String::from_utf8(STANDARD.decode(initial.unwrap()).unwrap()).unwrap();
                let nonce = first.split_once(",r=").unwrap().1;
                let challenge = STANDARD.encode(format!("r={nonce}server,s=c2FsdA==,i=4096"));
                self.say(match self.script.protocol {
                    Protocol::Smtp => format!("334 {challenge}\r\n"),
                    Protocol::Imap | Protocol::Pop3 => format!("+ {challenge}\r\n"),
                    Protocol::ManageSieve => format!("\"{challenge}\"\r\n"),
                })
                .await;
                let proof = self.line().await.unwrap();
                let proof = STANDARD.decode(proof.trim_matches('"')).unwrap();
                assert!(String::from_utf8(proof).unwrap().contains(",p="));
            }
            self.say(format!("{}{}\r\n", self.tag, self.script.refusal)).await;
        } else {
            assert_eq!(STANDARD.decode(initial.unwrap()).unwrap(), b"\0ann\0correct horse");
            self.verdict(self.script.takes_password).await;
        }
    }

    async fn verdict(&mut self, is_right: bool) {
        let accepted = match self.script.protocol {
            Protocol::Smtp => "235 2.7.0 welcome",
            Protocol::Pop3 => "+OK welcome",
            Protocol::Imap | Protocol::ManageSieve => "OK \"welcome\"",
        };
        let said = if is_right { accepted } else { self.script.protocol.credentials() };
        self.say(format!("{}{said}\r\n", self.tag)).await;
    }

    async fn say(&mut self, text: String) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// A line without its end; a literal stands in it as a word.
    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        loop {
            let mut part = String::new();
            if self.stream.read_line(&mut part).await.ok()? == 0 {
                return None;
            }
            let part = part.trim_end();
            let Some((before, count)) = part.strip_suffix("+}").and_then(|part| part.rsplit_once('{')) else {
                return Some(line + part);
            };
            let mut literal = vec![0; count.parse().unwrap()];
            self.stream.read_exact(&mut literal).await.unwrap();
            line = line + before + &String::from_utf8(literal).unwrap();
        }
    }
}

#[tokio::test]
async fn scram_that_cannot_be_done_for_the_account_is_followed_by_the_next() {
    for protocol in ALL {
        let (seen, outcome) = Script::new(protocol, Scram::AtOnce).login(Way::Tls).await;
        assert_eq!(seen, ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"], "{protocol:?}");
        outcome.unwrap();
        let (seen, outcome) = Script::new(protocol, Scram::AfterProof).login(Way::Tls).await;
        assert_eq!(seen, ["SCRAM-SHA-512", "PLAIN"], "{protocol:?}");
        outcome.unwrap();
    }
}

#[tokio::test]
async fn a_wrong_password_is_tried_by_proof_and_once_as_it_is() {
    for protocol in ALL {
        let script = Script { takes_password: false, ..Script::new(protocol, Scram::AfterProof) };
        let (seen, outcome) = script.login(Way::Tls).await;
        assert_eq!(seen, ["SCRAM-SHA-512", "PLAIN"], "{protocol:?}");
        let error = outcome.unwrap_err();
        assert!(matches!(error, ClientError::Refused(_)), "{protocol:?}: {error}");
        assert!(!error.is_temporary(), "{protocol:?}: {error}");
        // Where nothing but the password can be shown, once is all.
        let script = Script { offer: &["PLAIN", "LOGIN"], ..script };
        let (seen, outcome) = script.login(Way::Tls).await;
        assert_eq!(seen, ["PLAIN"], "{protocol:?}");
        assert!(matches!(outcome, Err(ClientError::Refused(_))), "{protocol:?}");
    }
}

#[tokio::test]
async fn what_the_configuration_does_not_allow_is_not_fallen_back_to() {
    for protocol in ALL {
        let (seen, outcome) = Script::new(protocol, Scram::AtOnce).login(Way::Closed).await;
        // All but SMTP take the switch for logins of all kinds.
        let expected = if protocol == Protocol::Smtp { &["SCRAM-SHA-512", "SCRAM-SHA-256"][..] } else { &[] };
        assert_eq!(seen, expected, "{protocol:?}");
        assert_eq!(matches!(outcome, Err(ClientError::Refused(_))), !expected.is_empty(), "{protocol:?}");
        outcome.unwrap_err();
        // It is where it is allowed, but a listener is not shown what a proof has hidden.
        let (seen, outcome) = Script::new(protocol, Scram::AtOnce).login(Way::Clear).await;
        assert_eq!(seen, ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"], "{protocol:?}");
        outcome.unwrap();
        let (seen, outcome) = Script::new(protocol, Scram::AfterProof).login(Way::Clear).await;
        assert_eq!(seen, ["SCRAM-SHA-512"], "{protocol:?}");
        assert!(matches!(outcome, Err(ClientError::Refused(_))), "{protocol:?}");
    }
}

#[tokio::test]
async fn trouble_of_the_server_is_no_reason_to_try_another() {
    for protocol in ALL {
        for scram in [Scram::AtOnce, Scram::AfterProof] {
            let script = Script { refusal: protocol.later(), ..Script::new(protocol, scram) };
            let (seen, outcome) = script.login(Way::Tls).await;
            assert_eq!(seen, ["SCRAM-SHA-512"], "{protocol:?}");
            assert!(outcome.unwrap_err().is_temporary(), "{protocol:?}");
        }
        // A connection that ends behind a refusal is a refusal: it would not help to come again.
        let script = Script { hangs_up: true, ..Script::new(protocol, Scram::AtOnce) };
        let (seen, outcome) = script.login(Way::Tls).await;
        assert_eq!(seen, ["SCRAM-SHA-512"], "{protocol:?}");
        assert!(matches!(outcome, Err(ClientError::Refused(_))), "{protocol:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn codes_that_name_the_mechanism_are_heeded() {
    for (protocol, refusal, rest) in [
        (Protocol::Smtp, "504 5.5.4 not for you", &["SCRAM-SHA-256", "PLAIN"][..]),
        (Protocol::Smtp, "534 5.7.9 too weak", &["SCRAM-SHA-256", "PLAIN"]),
        (Protocol::Smtp, "432 4.7.12 a transition is needed", &["PLAIN"]),
        (Protocol::Smtp, "535 5.7.13 disabled", &[]),
        (Protocol::Imap, "NO [CANNOT] not for you", &["SCRAM-SHA-256", "PLAIN"]),
        (Protocol::Imap, "BAD unknown", &["SCRAM-SHA-256", "PLAIN"]),
        (Protocol::Imap, "NO [EXPIRED] ask for another", &[]),
        (Protocol::ManageSieve, "NO (AUTH-TOO-WEAK) \"no\"", &["SCRAM-SHA-256", "PLAIN"]),
        (Protocol::ManageSieve, "NO (TRANSITION-NEEDED) \"no\"", &["PLAIN"]),
        (Protocol::ManageSieve, "NO (ENCRYPT-NEEDED) \"no\"", &[]),
        (Protocol::Pop3, "-ERR [SYS/PERM] no", &[]),
        (Protocol::Pop3, "-ERR what?", &["SCRAM-SHA-256", "PLAIN"]),
    ] {
        let script = Script { refusal, ..Script::new(protocol, Scram::AtOnce) };
        let (seen, outcome) = script.login(Way::Tls).await;
        assert_eq!(
            (seen[0].as_str(), &seen[1..]),
            ("SCRAM-SHA-512", &rest.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()[..]),
            "{refusal}"
        );
        assert_eq!(outcome.is_ok(), !rest.is_empty(), "{refusal}: {outcome:?}");
    }
}

#[tokio::test]
async fn commands_that_show_the_password_come_last() {
    for (protocol, command) in [(Protocol::Imap, "LOGIN"), (Protocol::Pop3, "PASS")] {
        let script = Script { offer: &["SCRAM-SHA-256"], ..Script::new(protocol, Scram::AtOnce) };
        for (way, scram, reached) in [
            (Way::Tls, Scram::AtOnce, true),
            (Way::Tls, Scram::AfterProof, true),
            (Way::Clear, Scram::AtOnce, true),
            (Way::Clear, Scram::AfterProof, false),
        ] {
            let (seen, outcome) = Script { scram, ..script }.login(way).await;
            let expected = if reached { &["SCRAM-SHA-256", command][..] } else { &["SCRAM-SHA-256"] };
            assert_eq!(seen, expected, "{protocol:?} {way:?} {scram:?}");
            assert_eq!(outcome.is_ok(), reached, "{protocol:?} {way:?} {scram:?}");
            if let Err(error) = outcome {
                assert!(matches!(error, ClientError::Refused(_)), "{error}");
            }
        }
    }
}
