//! Applications that behave the same every time, for both machines.
#![allow(dead_code, reason = "every test file uses a part of it")]

pub(crate) mod caller;
pub(crate) mod desk;

use std::{collections::VecDeque, num::NonZeroU32, path::Path, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use mailwright_line_proto::{
    AuthRefusal, AuthStep, Authenticate, Login, Peer, Secret, Ticket,
    testing::{Seen, Side, Step, Subject, Transcript},
};
use mailwright_pop3_proto::{
    Apop, Capa, Client, Dele, Expire, Lang, Last, List, Maildrop, Noop, Quit, Refusal, Retr, Rset, Server,
    Stat, Stls, Text, Timestamp, Top, Uidl, UniqueId, Utf8, client, server,
};

/// The messages of the user `odd`: without a last line end, empty, a dot alone, no header, bare line ends.
pub(crate) const ODD: [&str; 5] = ["A: b\r\n\r\nno end", "", ".", "\r\n..\r\n", "A: b\n\n.x\n"];

/// The two messages of RFC 1939 §10: 120 and 200 octets.
pub(crate) fn rose() -> Vec<String> {
    let first = format!("From: rose@example.org\r\nSubject: one\r\n\r\n.dot\r\n.\r\n{}\r\n", "x".repeat(69));
    let lines = (1..=8).map(|line| format!("line {line}\r\n")).collect::<String>();
    let second = format!("Subject: two\r\n\r\n{lines}{0}\r\n{0}\r\n", "y".repeat(58));
    assert_eq!((first.len(), second.len()), (120, 200));
    vec![first, second]
}

pub(crate) fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

/// A maildrop of these messages; their keys are their places.
pub(crate) fn maildrop<M: AsRef<str>>(messages: &[M]) -> Maildrop {
    let mut maildrop = Maildrop::default();
    for (key, message) in messages.iter().enumerate() {
        let id = UniqueId::new(format!("id-{key}")).unwrap();
        maildrop.push(key as u64, message.as_ref().len() as u64, &id).unwrap();
    }
    maildrop
}

pub(crate) fn server_config() -> server::Config {
    let mut config = server::Config::default();
    config.starttls = true;
    config.allow_plaintext_auth = true;
    config.mechanisms = vec!["PLAIN".to_owned(), "X-TWO".to_owned(), "X-TWO-PLUS".to_owned()];
    config
}

/// The messages of the user `utf8`: header fields beyond ASCII, and a body.
pub(crate) const UTF8: [&str; 2] = [
    "Subject: Gr\u{fc}\u{df}e aus K\u{f6}ln\r\nFrom: J\u{fc}rgen <j@a.example>\r\n\r\nf\u{fc}r\r\n",
    "Subject: plain\r\n\r\nf\u{fc}r\r\n",
];

/// The messages of the user `nul`: NULs, and a header without an end.
pub(crate) const NUL: [&str; 3] = ["A: b\0\r\n\r\nc\0\0\r\n", "A: b\r\n", "A: b"];

/// The server that the transcripts of a directory are about.
pub(crate) fn pop_for(directory: &str) -> Pop {
    let mut config = server_config();
    let mut timestamp = None;
    match directory {
        // RFC 1939 §7
        "session-apop" => timestamp = Some(Timestamp::new("<1896.697170952@dbc.mtview.ca.us>").unwrap()),
        "session-policies" => {
            config.announced = Some(server::Announced::new(Some(Expire::Days(0)), Some(900)));
            config.utf8_logins = true;
            config.implementation = Some(Text::new("Shlemazle-Plotz-v302").unwrap());
        }
        "server-workarounds" => {
            config.surrogates = false;
            config.workarounds.no_nuls = true;
            config.workarounds.end_of_header = true;
        }
        "server-tls" => config.allow_plaintext_auth = false,
        _ => {}
    }
    Pop { timestamp, ..Pop::new(config) }
}

/// A server with users `mrose` (password `tanstaaf`), `test` (`test`), `odd`, `utf8`, `nul`,
/// `hasty`, `kept`, `locked`, `late`, `sticky` and `guest`.
#[derive(Debug, Clone)]
pub(crate) struct Pop {
    pub(crate) config: Arc<server::Config>,
    pub(crate) messages: Vec<String>,
    pub(crate) user: String,
    pub(crate) timestamp: Option<Timestamp>,
    /// What was deleted for good.
    pub(crate) deleted: Vec<u64>,
}

impl Pop {
    pub(crate) fn new(config: server::Config) -> Self {
        Self {
            config: Arc::new(config),
            messages: rose(),
            user: String::new(),
            timestamp: None,
            deleted: Vec::new(),
        }
    }

    pub(crate) fn serve(&mut self, server: &mut Server, event: server::Event) {
        use server::Event;
        match event {
            Event::Login(ask) if ask.user == "late" => {}
            Event::Login(ask) => {
                self.user = ask.user.clone();
                let answer = match ask.password.expose() {
                    b"tanstaaf" | b"test" => Ok(()),
                    _ => Err(AuthRefusal::Credentials),
                };
                server.answer(ask, answer).unwrap();
            }
            Event::Apop(ask) => {
                self.user = ask.user.clone();
                // MD5 of the RFC's timestamp and its password.
                let right = ask.digest == 0xc4c9_334b_ac56_0ecc_979e_5800_1b3e_22fb_u128.to_be_bytes();
                server.answer(ask, if right { Ok(()) } else { Err(AuthRefusal::Credentials) }).unwrap();
            }
            Event::Authenticate(ask) => {
                let step = match (ask.mechanism.as_str(), ask.response.as_ref().map(Secret::expose)) {
                    ("PLAIN", None) => AuthStep::Challenge(Bytes::new()),
                    ("PLAIN", Some(b"test\0test\0test" | b"\0test\0test")) => AuthStep::Accept,
                    ("X-TWO", None | Some(b"")) => AuthStep::Challenge("one".into()),
                    ("X-TWO", Some(b"1")) => AuthStep::Challenge("two".into()),
                    ("X-TWO", Some(b"2")) => AuthStep::Accept,
                    _ => AuthStep::Refuse(AuthRefusal::Credentials),
                };
                self.user = "test".to_owned();
                server.answer(ask, step).unwrap();
            }
            Event::Open(ask) => {
                let answer = match self.user.as_str() {
                    "locked" => Err(Refusal::in_use()),
                    "hasty" => Err(Refusal::login_delay()),
                    "odd" => Ok(self.messages_are(&ODD)),
                    "utf8" => Ok(self.messages_are(&UTF8)),
                    "nul" => Ok(self.messages_are(&NUL)),
                    "kept" => {
                        let mut maildrop = maildrop(&self.messages);
                        maildrop.set_policies(Some(Expire::Days(30)), Some(60));
                        maildrop.expire(number(2));
                        Ok(maildrop)
                    }
                    "guest" => {
                        let mut maildrop = maildrop(&self.messages);
                        maildrop.set_policies(Some(Expire::Days(0)), None);
                        maildrop.expire(number(2));
                        maildrop.set_read_only();
                        Ok(maildrop)
                    }
                    _ => Ok(maildrop(&self.messages)),
                };
                server.answer(ask, answer).unwrap();
            }
            Event::Read(ask) => {
                let message = self.messages[ask.key as usize].clone();
                server.answer(ask, Ok(())).unwrap();
                for piece in message.as_bytes().chunks(7) {
                    let _ = server.send_body(Bytes::copy_from_slice(piece)).unwrap();
                }
                server.end_body().unwrap();
            }
            Event::Commit(ask) if ["sticky", "guest"].contains(&&*self.user) => {
                server.decline(Event::Commit(ask))
            }
            Event::Commit(ask) => {
                self.deleted = ask.delete.clone();
                server.answer(ask, Ok(())).unwrap();
            }
            other => server.decline(other),
        }
    }
}

impl Pop {
    fn messages_are(&mut self, messages: &[&str]) -> Maildrop {
        self.messages = messages.iter().map(|message| (*message).to_owned()).collect();
        maildrop(&self.messages)
    }
}

impl Subject for Pop {
    type Machine = Server;

    fn build(&self) -> Server {
        let mut server = Server::new(Arc::clone(&self.config), Peer::unknown());
        if let Some(timestamp) = &self.timestamp {
            server.offer_apop(timestamp.clone());
        }
        server
    }

    fn side(&self) -> Side {
        Side::Server
    }

    fn react(&mut self, machine: &mut Server, event: server::Event) -> Seen {
        let seen = match &event {
            server::Event::Closed(why) => Seen::Closed(format!("{why:?}")),
            event => Seen::Event(format!("{event:?}")),
        };
        self.serve(machine, event);
        seen
    }
}

pub(crate) fn client_config() -> client::Config {
    let mut config = client::Config::default();
    config.allow_plaintext_auth = true;
    config
}

/// A client that calls what a transcript's client says, one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) config: Arc<client::Config>,
    lines: VecDeque<String>,
}

impl Script {
    pub(crate) fn new(config: client::Config, lines: &[&str]) -> Self {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        Self { config: Arc::new(config), lines }
    }

    pub(crate) fn of(transcript: &Transcript) -> Self {
        let mut all = Vec::new();
        for step in &transcript.steps {
            if let Step::Client(lines) = step {
                all.extend_from_slice(lines);
            }
        }
        let text = String::from_utf8(all).unwrap();
        Self::new(client_config(), &text.lines().collect::<Vec<_>>())
    }

    fn call_next(&mut self, client: &mut Client) {
        let Some(line) = self.lines.pop_front() else { return };
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let one = || rest.parse().unwrap();
        let ok = match verb {
            "CAPA" => client.call(Capa).is_ok(),
            "STLS" => client.call(Stls).is_ok(),
            "USER" => {
                let password = self.lines.pop_front().unwrap_or_default();
                let password = Secret::from(password.strip_prefix("PASS ").unwrap_or_default());
                client.call(Login::new(rest, password)).is_ok()
            }
            "AUTH" => {
                let (mechanism, initial) = rest.split_once(' ').unwrap_or((rest, ""));
                let initial = match initial {
                    "" => None,
                    "=" => Some(Secret::default()),
                    base64 => Some(Secret::from(STANDARD.decode(base64).unwrap().as_slice())),
                };
                client.call(Authenticate::new(mechanism.to_owned(), initial)).is_ok()
            }
            "APOP" => {
                let (user, digits) = rest.rsplit_once(' ').unwrap();
                let digest = u128::from_str_radix(digits, 16).unwrap().to_be_bytes();
                client.call(Apop::new(user, digest)).is_ok()
            }
            "UTF8" => client.call(Utf8).is_ok(),
            "LANG" => client.call(Lang(Some(rest.to_owned()).filter(|rest| !rest.is_empty()))).is_ok(),
            "LAST" => client.call(Last).is_ok(),
            "STAT" => client.call(Stat).is_ok(),
            "LIST" => client.call(List(rest.parse().ok())).is_ok(),
            "UIDL" => client.call(Uidl(rest.parse().ok())).is_ok(),
            "RETR" => client.call(Retr(one())).is_ok(),
            "TOP" => {
                let (message, lines) = rest.split_once(' ').unwrap();
                client.call(Top { number: message.parse().unwrap(), lines: lines.parse().unwrap() }).is_ok()
            }
            "DELE" => client.call(Dele(one())).is_ok(),
            "NOOP" => client.call(Noop).is_ok(),
            "RSET" => client.call(Rset).is_ok(),
            "QUIT" => client.call(Quit).is_ok(),
            // Damaged replies lead a script astray: a SASL response is then taken for a call.
            _ => false,
        };
        if !ok {
            // The rest of the script waits for ever.
            self.lines.clear();
        }
    }

    fn respond(&mut self, client: &mut Client, ticket: Ticket<Authenticate>) {
        match self.lines.pop_front().as_deref() {
            None => {}
            Some("*") => client.cancel(ticket),
            Some(base64) => {
                let response = STANDARD.decode(base64).unwrap_or_default();
                let next = Authenticate::new("ANY".to_owned(), Some(Secret::from(response.as_slice())));
                client.call(next).unwrap();
            }
        }
    }
}

impl Subject for Script {
    type Machine = Client;

    fn build(&self) -> Client {
        Client::new(Arc::clone(&self.config))
    }

    fn side(&self) -> Side {
        Side::Client
    }

    fn react(&mut self, machine: &mut Client, event: client::Event) -> Seen {
        use client::Event;
        let seen = format!("{event:?}");
        match event {
            Event::Body(chunk) => return Seen::Body(chunk),
            Event::Closed(_) => return Seen::Closed(seen),
            Event::Listed(..) | Event::Identified(..) => {}
            Event::Retr(_, Ok(())) | Event::Top(_, Ok(())) => {}
            Event::Challenge(ticket, _) => self.respond(machine, ticket),
            _ => self.call_next(machine),
        }
        Seen::Event(seen)
    }
}

/// All transcripts of a directory, with their names.
pub(crate) fn transcripts(directory: &str) -> Vec<(String, Transcript)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(directory);
    let mut all = Vec::new();
    for entry in std::fs::read_dir(&path).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        all.push((
            name,
            Transcript::parse(&text).unwrap_or_else(|wrong| panic!("{}: {wrong}", path.display())),
        ));
    }
    assert!(!all.is_empty(), "no transcripts in {}", path.display());
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    all
}
