//! The peer's commands, one after the other.

use std::time::Instant;

use bytes::Bytes;
use mailwright_line_proto::{
    Ask, AuthRefusal, Authenticate, Closed, PeerMisbehaved, Secret, Traced, can_offer, frame::Counted,
};

use super::{Event, Incoming, Question, Server, Source, State, Upload};
use crate::managesieve::{
    Capabilities, CheckScript, ListScripts, PutScript, Refusal, ResponseCode, ScriptName, Unauthenticate,
    command::{self, Auth, Command, Row, decode},
    reply::{Reply, Status},
    token::{Arguments, Token},
};

impl Server {
    /// A literal comes next: it is held, passed over, or the script of a command that takes one.
    pub(super) fn literal(&mut self, now: Instant, length: u64) -> Option<Event> {
        if self.doom.is_none() {
            match self.look(length) {
                Ok(None) => self.hold_or_skip(length, self.config.limits.literal),
                Ok(Some(upload)) => {
                    let source = Source::Literal(Counted::new(length));
                    return Some(self.offer(now, Incoming { upload, source }));
                }
                Err(doom) => self.doom = Some(doom),
            }
        }
        if self.doom.is_some() {
            self.pass_over(length);
        }
        None
    }

    /// What the command that a literal belongs to makes of it.
    fn look(&self, length: u64) -> Result<Option<Upload>, (Refusal, bool)> {
        let wrong = |text: String| (Refusal::new(None, text), true);
        if self.gather.is_malformed() {
            return Err(wrong("expected atoms, strings and numbers".into()));
        }
        if matches!(self.state, State::Received(_)) {
            return Err(wrong("expected nothing behind the script".into()));
        }
        let tokens = self.gather.tokens();
        let row = self.row(tokens)?;
        if row.before_script != tokens.len().checked_sub(1) {
            return Ok(None);
        }
        let (Some(Command::PutScript(..) | Command::CheckScript(_)), Ok(size)) =
            (row.command(tokens.to_vec()), u32::try_from(length))
        else {
            return Err(wrong(expected(row, tokens)));
        };
        let name = match row.command(tokens.to_vec()) {
            Some(Command::PutScript(name, _)) => Some(name),
            _ => None,
        };
        self.fits(size).map_err(|refusal| (refusal, false))?;
        Ok(Some(Upload::new(name, size)))
    }

    fn fits(&self, size: u32) -> Result<(), Refusal> {
        let limit = self.config.script;
        match size {
            // RFC 5804 §2.6: a script of no length should be disallowed.
            0 => Err(Refusal::new(None, "the script is empty")),
            size if size > limit => {
                let text = format!("a script has at most {limit} octets, this one has {size}");
                Err(Refusal::new(Some(ResponseCode::QuotaMaxSize), text))
            }
            _ => Ok(()),
        }
    }

    /// A literal of a command that is held as a whole.
    pub(super) fn hold_or_skip(&mut self, length: u64, limit: u64) {
        let together = self.gather.held().saturating_add(length);
        if self.doom.is_none() && length <= limit && together <= self.config.limits.command {
            return self.gather.hold(length);
        }
        self.doom.get_or_insert_with(|| (Refusal::new(None, "the literal is too long"), true));
        self.pass_over(length);
    }

    /// Passes over a literal of a command that was refused already; of a stranger, not over every length.
    fn pass_over(&mut self, length: u64) {
        let limit = self.config.limits.skip;
        // RFC 5804 §4: a number has 32 bits.
        let most = if self.logged_in { u64::from(u32::MAX) } else { limit };
        if length > most {
            self.doom = None;
            let why = Closed::Misbehaved(PeerMisbehaved::Endless { limit: most });
            return self.bye(None, "the literal is too long", why);
        }
        self.gather.discard();
        self.gather.skip(length);
    }

    /// The row of a command that is allowed now.
    fn row(&self, tokens: &[Token]) -> Result<&'static Row, (Refusal, bool)> {
        let wrong = |text: String| (Refusal::new(None, text), true);
        let row = command::find(tokens).ok_or_else(|| wrong("unknown command".into()))?;
        if !row.states.contain(self.logged_in) {
            let when = if self.logged_in { "after login" } else { "before login" };
            return Err(wrong(format!("{} is not allowed {when}", row.verb)));
        }
        Ok(row)
    }

    /// Does what a command says. `alone` is whether nothing stood behind it.
    pub(super) fn command(&mut self, now: Instant, tokens: Vec<Token>, alone: bool) -> Option<Event> {
        let row = match self.row(&tokens) {
            Ok(row) => row,
            Err((refusal, _)) => {
                self.out.received(Traced::ReceivedSecret("a command that is none"));
                self.bad_command(refusal);
                return None;
            }
        };
        self.out.received(if row.secret {
            Traced::ReceivedSecret(row.verb)
        } else {
            Traced::Received(row.verb.as_bytes())
        });
        let wrong = expected(row, &tokens);
        match row.command(tokens) {
            Some(command) => self.execute(now, command, row, alone),
            None => {
                self.bad_command(Refusal::new(None, wrong));
                None
            }
        }
    }

    fn execute(&mut self, now: Instant, command: Command, row: &Row, alone: bool) -> Option<Event> {
        Some(match command {
            Command::Capability => {
                self.capabilities();
                return None;
            }
            Command::Noop(noop) => {
                // RFC 5804 §2.13
                let code = noop.0.map(ResponseCode::Tag);
                self.reply(&Reply::new(Status::Ok, code, "done"));
                return None;
            }
            Command::Logout => {
                self.ok("bye");
                self.close(Closed::Farewell);
                return None;
            }
            Command::StartTls => {
                self.start_tls(alone);
                return None;
            }
            Command::Authenticate(auth) => return self.begin_exchange(now, auth),
            Command::Unauthenticate if !self.config.unauthenticate => {
                self.bad_command(Refusal::new(None, "UNAUTHENTICATE is not offered"));
                return None;
            }
            Command::Unauthenticate => {
                Event::Unauthenticate(self.ask(now, Question::Unauthenticate, Unauthenticate))
            }
            Command::PutScript(name, Some(script)) => return self.quoted(now, Some(name), script),
            Command::CheckScript(Some(script)) => return self.quoted(now, None, script),
            Command::PutScript(_, None) | Command::CheckScript(None) => {
                self.bad_command(Refusal::new(None, expected(row, &[])));
                return None;
            }
            Command::ListScripts => Event::ListScripts(self.ask(now, Question::ListScripts, ListScripts)),
            Command::HaveSpace(space) => {
                if let Err(refusal) = self.fits(space.size.max(1)) {
                    self.no(refusal);
                    return None;
                }
                Event::HaveSpace(self.ask(now, Question::HaveSpace, space))
            }
            Command::SetActive(active) => Event::SetActive(self.ask(now, Question::SetActive, active)),
            Command::GetScript(get) => Event::GetScript(self.ask(now, Question::GetScript, get)),
            Command::DeleteScript(delete) => {
                Event::DeleteScript(self.ask(now, Question::DeleteScript, delete))
            }
            Command::RenameScript(rename) => {
                Event::RenameScript(self.ask(now, Question::RenameScript, rename))
            }
        })
    }

    /// A script that came quoted: it is short, and here.
    fn quoted(&mut self, now: Instant, name: Option<ScriptName>, script: Bytes) -> Option<Event> {
        // At most 1024 octets.
        let size = u32::try_from(script.len()).unwrap_or(u32::MAX);
        if let Err(refusal) = self.fits(size) {
            self.no(refusal);
            return None;
        }
        let incoming = Incoming { upload: Upload::new(name, size), source: Source::Quoted(Some(script)) };
        Some(self.offer(now, incoming))
    }

    /// Asks whether a script may come.
    fn offer(&mut self, now: Instant, incoming: Incoming) -> Event {
        let (id, deadline) = self.number(now);
        let ask = Ask::new(id, incoming.upload.clone());
        self.state = State::Uploading { id, upload: incoming, deadline };
        Event::Upload(ask)
    }

    /// A script came to its end, and this is the rest of its command.
    pub(super) fn received(&mut self, now: Instant, upload: Upload, rest: &[Token]) -> Option<Event> {
        // What came before the script is in front.
        let before = if upload.name.is_some() { 2 } else { 1 };
        if rest.len() > before {
            self.bad_command(Refusal::new(None, "expected nothing behind the script"));
            return None;
        }
        Some(match upload.name {
            Some(name) => {
                Event::PutScript(self.ask(now, Question::PutScript, PutScript { name, size: upload.size }))
            }
            None => {
                Event::CheckScript(self.ask(now, Question::CheckScript, CheckScript { size: upload.size }))
            }
        })
    }

    pub(super) fn capabilities(&mut self) {
        for line in self.offered().encode() {
            self.out.line(&line);
        }
        self.ok("");
    }

    /// What works in this state, and nothing else (RFC 5804 §1.7).
    fn offered(&self) -> Capabilities {
        let config = &self.config;
        let mut offered = Capabilities::default();
        offered.push("IMPLEMENTATION", Some(config.implementation.clone()));
        offered.push("SIEVE", Some(config.extensions.join(" ")));
        // Without TLS the list may be empty: STARTTLS comes first.
        let mechanisms: Vec<_> = if self.may_log_in() { self.mechanisms().collect() } else { Vec::new() };
        offered.push("SASL", Some(mechanisms.join(" ")));
        if self.may_start_tls() && !self.logged_in {
            offered.push("STARTTLS", None);
        }
        if let Some(redirects) = config.max_redirects {
            offered.push("MAXREDIRECTS", Some(redirects.to_string()));
        }
        if !config.notify.is_empty() {
            offered.push("NOTIFY", Some(config.notify.join(" ")));
        }
        if !config.external_lists.is_empty() {
            offered.push("EXTLISTS", Some(config.external_lists.join(" ")));
        }
        if let Some(language) = &config.language {
            offered.push("LANGUAGE", Some(language.clone()));
        }
        if let Some(owner) = self.owner.as_ref().filter(|_| self.logged_in) {
            offered.push("OWNER", Some(owner.clone()));
        }
        if config.unauthenticate {
            offered.push("UNAUTHENTICATE", None);
        }
        offered.push("VERSION", Some("1.0".to_owned()));
        offered
    }

    fn mechanisms(&self) -> impl Iterator<Item = &str> {
        self.config.mechanisms.iter().map(String::as_str).filter(|name| can_offer(name, self.tls.as_ref()))
    }

    fn may_start_tls(&self) -> bool {
        self.config.starttls && self.tls.is_none()
    }

    fn start_tls(&mut self, alone: bool) {
        if !self.may_start_tls() {
            return self.bad_command(Refusal::new(None, "STARTTLS is not offered"));
        }
        if !alone {
            // CVE-2011-0411: it would be taken for what came through TLS.
            let why = Closed::Misbehaved(PeerMisbehaved::PlaintextBehindTls);
            return self.bye(None, "octets behind STARTTLS", why);
        }
        self.ok("begin TLS");
        self.state = State::Tls;
    }

    fn begin_exchange(&mut self, now: Instant, auth: Auth) -> Option<Event> {
        if !self.may_log_in() {
            self.bad_command(AuthRefusal::NeedsTls.into());
            return None;
        }
        if !self.mechanisms().any(|offered| offered == auth.mechanism) {
            self.bad_command(AuthRefusal::Mechanism.into());
            return None;
        }
        match auth.initial.as_ref().map(|initial| decode(initial.expose())).transpose() {
            Ok(response) => {
                let response = response.map(|octets| Secret::from(&octets[..]));
                Some(self.authenticate(now, Authenticate::new(auth.mechanism, response)))
            }
            Err(_) => {
                self.fail_login(AuthRefusal::Malformed.into());
                None
            }
        }
    }

    /// What follows a challenge.
    pub(super) fn response(&mut self, now: Instant, mechanism: String, tokens: Vec<Token>) -> Option<Event> {
        self.out.received(Traced::ReceivedSecret("SASL response"));
        let mut arguments = Arguments::new(tokens);
        let response = arguments.string().filter(|_| arguments.is_empty());
        // RFC 5804 §2.1: a single "*" cancels.
        if response.as_deref() == Some(b"*") {
            self.fail_login(Refusal::new(None, "authentication cancelled"));
            return None;
        }
        match response.map(|text| decode(&text)) {
            Some(Ok(octets)) => {
                let request = Authenticate::response(mechanism, Secret::from(&octets[..]));
                Some(self.authenticate(now, request))
            }
            _ => {
                self.fail_login(AuthRefusal::Malformed.into());
                None
            }
        }
    }

    fn authenticate(&mut self, now: Instant, request: Authenticate) -> Event {
        Event::Authenticate(self.ask(now, Question::Authenticate, request))
    }
}

/// What was expected of a command that was not understood: a name that can be one, or other arguments.
fn expected(row: &Row, tokens: &[Token]) -> String {
    let strings = tokens.iter().filter_map(|token| match token {
        Token::String(octets) => str::from_utf8(octets).ok(),
        _ => None,
    });
    let names = strings.take(row.arguments.matches("name").count());
    let wrong = names.filter_map(|name| ScriptName::new(name).err()).next();
    wrong.map_or_else(|| format!("expected {}{}", row.verb, row.arguments), |error| error.to_string())
}
