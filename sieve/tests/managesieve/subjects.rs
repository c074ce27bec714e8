//! Applications that behave the same every time, for both machines.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use mailwright_line_proto::{
    AuthRefusal, AuthStep, Authenticate, Peer, Secret, Ticket,
    testing::{Seen, Side, Step, Subject, Transcript},
};
use mailwright_sieve::managesieve::{
    Accepted, Capability, CheckScript, Client, DeleteScript, GetScript, HaveSpace, ListScripts, Listed,
    Logout, Noop, PutScript, Refusal, RenameScript, ResponseCode, ScriptName, Server, SetActive, StartTls,
    Unauthenticate, client, server,
};

pub(crate) fn server_config() -> server::Config {
    let mut config = server::Config::default();
    config.starttls = true;
    config.allow_plaintext_auth = true;
    config.mechanisms = ["PLAIN", "X-TWO", "X-TWO-PLUS"].map(str::to_owned).to_vec();
    config.extensions = ["fileinto", "vacation"].map(str::to_owned).to_vec();
    config.max_redirects = Some(5);
    config.notify = vec!["mailto".to_owned()];
    config.language = Some("en".to_owned());
    config
}

pub(crate) fn client_config() -> client::Config {
    let mut config = client::Config::default();
    config.allow_plaintext_auth = true;
    config
}

/// What the server of [`server_config`] says first.
pub(crate) const GREETING: &str = "S: \"IMPLEMENTATION\" \"ManageSieve\"\nS: \"SIEVE\" \"fileinto vacation\"\n\
    S: \"SASL\" \"PLAIN X-TWO\"\nS: \"STARTTLS\"\nS: \"MAXREDIRECTS\" \"5\"\nS: \"NOTIFY\" \"mailto\"\n\
    S: \"LANGUAGE\" \"en\"\nS: \"UNAUTHENTICATE\"\nS: \"VERSION\" \"1.0\"\nS: OK\n";

/// The same and the login of the user `test`.
pub(crate) const LOGIN: &str = "C: AUTHENTICATE \"PLAIN\" \"AHRlc3QAdGVzdA==\"\nS: OK\n";

/// A transcript with `@greeting`, `@tls` (the greeting inside TLS) and `@login` written out.
pub(crate) fn transcript(text: &str) -> Transcript {
    let tls = GREETING.replace("S: \"STARTTLS\"\n", "").replace("X-TWO", "X-TWO X-TWO-PLUS");
    let text = text
        .replace("@greeting\n", GREETING)
        .replace("@tls\n", &tls)
        .replace("@login\n", &format!("{GREETING}{LOGIN}"));
    Transcript::parse(&text).unwrap()
}

/// A server with the users `test` (password `test`) and `away`, whose scripts are elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct Vault {
    pub(crate) config: Arc<server::Config>,
    pub(crate) scripts: BTreeMap<ScriptName, Bytes>,
    pub(crate) active: Option<ScriptName>,
    incoming: Vec<u8>,
}

impl Vault {
    pub(crate) fn new(config: server::Config) -> Self {
        Self { config: Arc::new(config), scripts: BTreeMap::new(), active: None, incoming: Vec::new() }
    }

    pub(crate) fn server(&self) -> Server {
        Server::new(Arc::clone(&self.config), Peer::unknown())
    }

    fn exists(&self, name: &ScriptName) -> Result<(), Refusal> {
        if self.scripts.contains_key(name) { Ok(()) } else { Err(Refusal::nonexistent()) }
    }

    fn check(&self) -> Result<Accepted, Refusal> {
        let text = String::from_utf8_lossy(&self.incoming);
        match text.lines().position(|line| line.contains("InvalidSieveCommand")) {
            Some(at) => Err(Refusal::new(None, format!("line {}: Syntax error\r\nand no more", at + 1))),
            None if text.contains("redirect") => {
                Ok(Accepted::with_warnings("line 8: \"redirect\" may be ignored"))
            }
            None => Ok(Accepted::default()),
        }
    }

    pub(crate) fn serve(&mut self, server: &mut Server, event: server::Event) {
        use server::Event;
        match event {
            Event::Authenticate(ask) => {
                let step = match (ask.mechanism.as_str(), ask.response.as_ref().map(Secret::expose)) {
                    ("PLAIN", None) => AuthStep::Challenge(Bytes::new()),
                    ("PLAIN", Some(b"\0test\0test")) => AuthStep::Accept,
                    ("PLAIN", Some(b"\0away\0away")) => return server.refer("sieve://other.example"),
                    ("X-TWO", None | Some(b"")) => AuthStep::Challenge("one".into()),
                    ("X-TWO", Some(b"1")) => AuthStep::Challenge(vec![b'2'; 1200].into()),
                    ("X-TWO", Some(b"2")) => AuthStep::Accept,
                    _ => AuthStep::Refuse(AuthRefusal::Credentials),
                };
                server.set_owner("test");
                server.answer(ask, step).unwrap();
            }
            Event::Unauthenticate(ask) => server.answer(ask, Ok(())).unwrap(),
            Event::HaveSpace(ask) => {
                let quota = || Refusal::new(Some(ResponseCode::QuotaMaxScripts), "Quota exceeded");
                let full = self.scripts.len() >= 4 && !self.scripts.contains_key(&ask.name);
                server.answer(ask, if full { Err(quota()) } else { Ok(()) }).unwrap();
            }
            Event::Upload(ask) => {
                self.incoming.clear();
                let refused = ask.name.as_ref().is_some_and(|name| name.as_str() == "refused");
                let answer =
                    if refused { Err(Refusal::new(Some(ResponseCode::Quota), "no")) } else { Ok(()) };
                server.answer(ask, answer).unwrap();
            }
            Event::Body(chunk) => self.incoming.extend_from_slice(&chunk),
            Event::PutScript(ask) => {
                assert_eq!(ask.size as usize, self.incoming.len());
                let answer = self.check();
                if answer.is_ok() {
                    self.scripts.insert(ask.name.clone(), self.incoming.clone().into());
                }
                server.answer(ask, answer).unwrap();
            }
            Event::CheckScript(ask) => {
                let answer = self.check();
                server.answer(ask, answer).unwrap();
            }
            Event::ListScripts(ask) => {
                let listed =
                    |name: &ScriptName| Listed::new(name.clone(), self.active.as_ref() == Some(name));
                server.answer(ask, Ok(self.scripts.keys().map(listed).collect())).unwrap();
            }
            Event::SetActive(ask) => {
                let answer = ask.0.as_ref().map_or(Ok(()), |name| self.exists(name));
                if answer.is_ok() {
                    self.active = ask.0.clone();
                }
                server.answer(ask, answer).unwrap();
            }
            Event::GetScript(ask) => {
                let script = self.scripts.get(&ask.name).cloned();
                let answer =
                    script.as_ref().map(|script| script.len() as u32).ok_or_else(Refusal::nonexistent);
                server.answer(ask, answer).unwrap();
                if let Some(script) = script {
                    for piece in script.chunks(7) {
                        server.send_body(Bytes::copy_from_slice(piece)).unwrap();
                    }
                    server.end_body().unwrap();
                }
            }
            Event::DeleteScript(ask) => {
                let answer = if self.active.as_ref() == Some(&ask.name) {
                    Err(Refusal::new(Some(ResponseCode::Active), "You may not delete an active script"))
                } else {
                    self.scripts.remove(&ask.name).map(drop).ok_or_else(Refusal::nonexistent)
                };
                server.answer(ask, answer).unwrap();
            }
            Event::RenameScript(ask) => {
                let answer = match (self.exists(&ask.from), self.exists(&ask.to)) {
                    (Ok(()), Err(_)) => {
                        let script = self.scripts.remove(&ask.from).unwrap();
                        self.scripts.insert(ask.to.clone(), script);
                        if self.active.as_ref() == Some(&ask.from) {
                            self.active = Some(ask.to.clone());
                        }
                        Ok(())
                    }
                    (Err(refusal), _) => Err(refusal),
                    _ => Err(Refusal::new(Some(ResponseCode::AlreadyExists), "bar already exists")),
                };
                server.answer(ask, answer).unwrap();
            }
            other => server.decline(other),
        }
    }
}

impl Subject for Vault {
    type Machine = Server;

    fn build(&self) -> Server {
        self.server()
    }

    fn side(&self) -> Side {
        Side::Server
    }

    fn react(&mut self, machine: &mut Server, event: server::Event) -> Seen {
        let seen = match &event {
            server::Event::Closed(why) => Seen::Closed(format!("{why:?}")),
            server::Event::Body(chunk) => Seen::Body(chunk.clone()),
            event => Seen::Event(format!("{event:?}")),
        };
        self.serve(machine, event);
        seen
    }
}

/// A client that calls what a transcript's client says, one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) config: Arc<client::Config>,
    /// Lines, and behind the one of a script its octets.
    lines: VecDeque<Vec<u8>>,
}

impl Script {
    pub(crate) fn new(config: client::Config, lines: &[&str]) -> Self {
        let lines = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
        Self { config: Arc::new(config), lines }
    }

    pub(crate) fn of(transcript: &Transcript) -> Self {
        let mut all = Vec::new();
        for step in &transcript.steps {
            if let Step::Client(sent) = step {
                all.extend_from_slice(sent);
            }
        }
        let (mut rest, mut lines) = (&all[..], VecDeque::new());
        while !rest.is_empty() {
            let end = rest.windows(2).position(|two| two == b"\r\n").unwrap();
            let line = &rest[..end];
            rest = &rest[end + 2..];
            lines.push_back(line.to_vec());
            if let Some(mark) = line.strip_suffix(b"+}") {
                let digits = mark.iter().rposition(|octet| *octet == b'{').unwrap();
                let length: usize = std::str::from_utf8(&mark[digits + 1..]).unwrap().parse().unwrap();
                lines.push_back(rest[..length].to_vec());
                rest = &rest[length + 2..];
            }
        }
        Self { config: Arc::new(client_config()), lines }
    }

    fn call_next(&mut self, client: &mut Client) {
        let Some(line) = self.lines.pop_front() else { return };
        let line = String::from_utf8(line).unwrap();
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let strings: Vec<_> = rest.split('"').skip(1).step_by(2).map(str::to_owned).collect();
        let name = |index: usize| strings.get(index).and_then(|name| ScriptName::new(name).ok());
        let any = || ScriptName::new("x").unwrap();
        let named = |index: usize| name(index).unwrap_or_else(any);
        let ok = match verb {
            "CAPABILITY" => client.call(Capability).is_ok(),
            "STARTTLS" => client.call(StartTls).is_ok(),
            "LOGOUT" => client.call(Logout).is_ok(),
            "NOOP" => client.call(Noop(strings.first().cloned())).is_ok(),
            "UNAUTHENTICATE" => client.call(Unauthenticate).is_ok(),
            "LISTSCRIPTS" => client.call(ListScripts).is_ok(),
            "SETACTIVE" => client.call(SetActive(name(0))).is_ok(),
            "GETSCRIPT" => client.call(GetScript { name: named(0) }).is_ok(),
            "DELETESCRIPT" => client.call(DeleteScript { name: named(0) }).is_ok(),
            "RENAMESCRIPT" => client.call(RenameScript { from: named(0), to: named(1) }).is_ok(),
            "HAVESPACE" => {
                let size = rest.rsplit(' ').next().unwrap().parse().unwrap();
                client.call(HaveSpace { name: named(0), size }).is_ok()
            }
            "PUTSCRIPT" | "CHECKSCRIPT" => {
                let script = self.lines.pop_front().unwrap();
                let size = script.len() as u32;
                let called = match verb {
                    "PUTSCRIPT" => client.call(PutScript { name: named(0), size }).is_ok(),
                    _ => client.call(CheckScript { size }).is_ok(),
                };
                if called {
                    for piece in script.chunks(9) {
                        client.send_body(Bytes::copy_from_slice(piece)).unwrap();
                    }
                    client.end_body().unwrap();
                }
                called
            }
            "AUTHENTICATE" => {
                let initial = strings.get(1).map(|text| Secret::from(&STANDARD.decode(text).unwrap()[..]));
                client.call(Authenticate::new(strings[0].clone(), initial)).is_ok()
            }
            // Damaged replies lead a script astray: a SASL response is then taken for a call.
            _ => false,
        };
        if !ok {
            // The rest of the script waits for ever.
            self.lines.clear();
        }
    }

    fn respond(&mut self, client: &mut Client, ticket: Ticket<Authenticate>) {
        let line = self.lines.pop_front().map(|line| String::from_utf8(line).unwrap());
        match line.as_deref().map(|line| line.trim_matches('"')) {
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
            Event::GetScript(_, Ok(_)) => {}
            Event::Challenge(ticket, _) => self.respond(machine, ticket),
            _ => self.call_next(machine),
        }
        Seen::Event(seen)
    }
}
