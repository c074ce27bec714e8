//! The peer's commands, one after the other.

use std::{num::NonZeroU32, time::Instant};

use mailwright_line_proto::{
    AuthRefusal, Authenticate, Closed, Language, Login, PeerMisbehaved, Secret, Traced, can_offer,
};

use super::{Commit, Event, Question, Read, Server, State};
use crate::{
    Apop, Capabilities, Capability, Expire, Identified, Listed, Message, Refusal, ResponseCode, Text,
    command::{self, Auth, Command, Row},
    language::CATALOGUE,
};

/// A listing under way.
#[derive(Debug)]
pub(super) struct Listing {
    kind: Kind,
    /// The first number that was not looked at; none if all were.
    next: Option<NonZeroU32>,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Sizes,
    UniqueIds,
}

impl Kind {
    fn line(self, message: Message<'_>) -> String {
        match self {
            Self::Sizes => Listed::new(message.number, message.octets).encode(),
            Self::UniqueIds => Identified::encode(message.number, message.unique_id),
        }
    }
}

impl Server {
    /// Does what a line says. `alone` is whether nothing stood behind it.
    pub(super) fn command(&mut self, now: Instant, line: &[u8], alone: bool) -> Option<Event> {
        let Some((row, arguments)) = command::find(line) else {
            self.out.received(Traced::Received(line));
            self.bad_command("unknown command");
            return None;
        };
        self.out.received(if row.secret { Traced::ReceivedSecret(row.verb) } else { Traced::Received(line) });
        if !row.states.contain(self.session.is_some()) {
            let when = if self.session.is_some() { "after login" } else { "before login" };
            self.bad_command(&format!("{} is not allowed {when}", row.verb));
            return None;
        }
        if row.needs_tls && !self.may_log_in() {
            self.bad_command(&AuthRefusal::NeedsTls.to_string());
            return None;
        }
        match (row.parse)(arguments) {
            Some(command) => self.execute(now, command, row, alone),
            None => {
                self.bad_command(&format!("expected {}{}", row.verb, row.arguments));
                None
            }
        }
    }

    fn execute(&mut self, now: Instant, command: Command, row: &Row, alone: bool) -> Option<Event> {
        match command {
            Command::Capa(_) => self.capabilities(),
            Command::Stls(_) => self.start_tls(alone),
            Command::User(_) | Command::Pass(_) if !self.config.password_login => {
                self.bad_command(&format!("{} is not offered", row.verb));
            }
            Command::User(name) => {
                self.user = Some(name);
                // Whether there is such a user is not said (RFC 1939 §13).
                self.ok("password?");
            }
            Command::Pass(password) => return self.password(now, password),
            Command::Apop(apop) => return self.apop(now, apop),
            Command::Utf8(_) => {
                self.utf8 = true;
                self.ok("UTF-8 it is");
            }
            Command::Lang(lang) => self.speak(lang.0.as_deref()),
            Command::Auth(auth) => return self.begin_exchange(now, &auth),
            Command::Stat(_) => {
                let totals = self.session.as_ref()?.totals().encode();
                self.ok_with(&totals);
            }
            Command::List(list) => self.list(Kind::Sizes, list.0),
            Command::Uidl(uidl) => self.list(Kind::UniqueIds, uidl.0),
            Command::Retr(retr) => return self.read(now, retr.0, None),
            Command::Top(top) => return self.read(now, top.number, Some(top.lines)),
            Command::Dele(dele) => {
                let session = self.session.as_mut()?;
                if session.is_read_only() {
                    self.refuse(&Refusal::fixed(Some(ResponseCode::SysPerm), "the maildrop is read-only"));
                } else if session.delete(dele.0) {
                    self.ok(&format!("message {} deleted", dele.0));
                } else {
                    self.no_such_message();
                }
            }
            Command::Noop(_) => self.ok(""),
            Command::Rset(_) => {
                let session = self.session.as_mut()?;
                session.reset();
                let totals = session.totals().describe();
                self.ok(&format!("maildrop has {totals}"));
            }
            Command::Last(_) => {
                let last = self.session.as_ref()?.last();
                self.ok_with(&last.to_string());
            }
            Command::Quit(_) => return self.quit(now),
        }
        None
    }

    fn capabilities(&mut self) {
        let capabilities = self.offered();
        self.ok("capability list follows");
        for capability in capabilities.iter() {
            self.out.line(capability.to_string().as_bytes());
        }
        self.out.line(b".");
    }

    /// What works in this state, and nothing else.
    fn offered(&self) -> Capabilities {
        let mut offered = Capabilities::default();
        for capability in [
            Capability::Top,
            Capability::Uidl,
            Capability::RespCodes,
            Capability::AuthRespCode,
            Capability::Pipelining,
            Capability::Utf8 { logins: self.config.utf8_logins },
            Capability::Lang,
        ] {
            offered.push(capability);
        }
        // RFC 2449 §6.5, §6.7: whoever asks again after login learns more.
        let announced = self.config.announced.filter(|_| self.session.is_none());
        let per_user = announced.is_some();
        let (expire, login_delay) = match announced {
            Some(strictest) => (strictest.expire, strictest.login_delay),
            None => self.policies(),
        };
        offered.extend(expire.map(|after| Capability::Expire { after, per_user }));
        offered.extend(login_delay.map(|seconds| Capability::LoginDelay { seconds, per_user }));
        // RFC 2595 §4: only where STLS is permitted.
        if self.may_start_tls() && self.session.is_none() {
            offered.push(Capability::Stls);
        }
        if self.may_log_in() {
            if self.config.password_login {
                offered.push(Capability::User);
            }
            let mechanisms = self.mechanisms().map(str::to_owned).collect::<Vec<_>>();
            if !mechanisms.is_empty() {
                offered.push(Capability::Sasl(mechanisms));
            }
        }
        if let Some(software) = &self.config.implementation {
            offered.push(Capability::Implementation(software.clone()));
        }
        offered
    }

    /// What holds: for the user, or for those who have no policies of their own.
    fn policies(&self) -> (Option<Expire>, Option<u32>) {
        let (expire, login_delay) =
            self.session.as_ref().map(|session| session.policies()).unwrap_or_default();
        (expire.or(self.config.expire), login_delay.or(self.config.login_delay))
    }

    fn mechanisms(&self) -> impl Iterator<Item = &str> {
        self.config.mechanisms.iter().map(String::as_str).filter(|name| can_offer(name, self.tls.as_ref()))
    }

    fn may_start_tls(&self) -> bool {
        self.config.starttls && self.tls.is_none()
    }

    fn start_tls(&mut self, alone: bool) {
        if !self.may_start_tls() {
            return self.bad_command("STLS is not offered");
        }
        // RFC 6856 §2.1: clients must not.
        if self.utf8 {
            return self.bad_command("STLS comes before UTF8");
        }
        if !alone {
            // CVE-2011-0411: it would be taken for what came through TLS.
            self.refuse(&Refusal::fixed(None, "octets behind STLS"));
            return self.close(Closed::Misbehaved(PeerMisbehaved::PlaintextBehindTls));
        }
        self.ok("begin TLS");
        self.state = State::Tls;
    }

    fn password(&mut self, now: Instant, password: Secret) -> Option<Event> {
        // RFC 1939 §7: PASS follows a USER, and each USER serves once.
        let Some(user) = self.user.take() else {
            self.bad_command("USER comes first");
            return None;
        };
        Some(Event::Login(self.ask(now, Question::Login, Login::new(user, password))))
    }

    fn apop(&mut self, now: Instant, apop: Apop) -> Option<Event> {
        self.user = None;
        if self.timestamp.is_none() {
            self.bad_command("APOP is not offered");
            return None;
        }
        Some(Event::Apop(self.ask(now, Question::Apop, apop)))
    }

    /// RFC 6856 §3.2
    fn speak(&mut self, range: Option<&str>) {
        let Some(range) = range else {
            self.ok("language listing follows");
            for language in Language::ALL {
                self.out.line(format!("{} {}", language.tag(), language.name()).as_bytes());
            }
            return self.out.line(b".");
        };
        let meant = if range == "*" { Some(self.config.preferred_language) } else { Language::lookup(range) };
        let Some(language) = meant else {
            let text = Text::received(format!("invalid language {range}").as_bytes());
            return self.refuse(&Refusal::new(None, text));
        };
        self.language = language;
        let text = format!("{} it is", language.name());
        self.ok_with(&format!("{} {}", language.tag(), CATALOGUE.text(language, &text)));
    }

    fn begin_exchange(&mut self, now: Instant, auth: &Auth) -> Option<Event> {
        self.user = None;
        if !self.mechanisms().any(|offered| offered == auth.mechanism) {
            self.bad_command(&AuthRefusal::Mechanism.to_string());
            return None;
        }
        match auth.response() {
            Ok(response) => Some(self.authenticate(now, Authenticate::new(auth.mechanism.clone(), response))),
            Err(_) => {
                self.fail_login(&AuthRefusal::Malformed.into());
                None
            }
        }
    }

    /// The line that follows a challenge.
    pub(super) fn response(&mut self, now: Instant, mechanism: String, line: &[u8]) -> Option<Event> {
        self.out.received(Traced::ReceivedSecret("SASL response"));
        // RFC 5034 §4: a single "*" cancels.
        if line == b"*" {
            self.fail_login(&Refusal::fixed(None, "authentication cancelled"));
            return None;
        }
        match command::decode(line) {
            Ok(response) => {
                let request = Authenticate::response(mechanism, Secret::from(&response[..]));
                Some(self.authenticate(now, request))
            }
            Err(_) => {
                self.fail_login(&AuthRefusal::Malformed.into());
                None
            }
        }
    }

    fn authenticate(&mut self, now: Instant, request: Authenticate) -> Event {
        Event::Authenticate(self.ask(now, Question::Login, request))
    }

    fn list(&mut self, kind: Kind, one: Option<NonZeroU32>) {
        let Some(session) = &self.session else { return };
        match one {
            Some(number) => match session.message(number).map(|message| kind.line(message)) {
                Some(line) => self.ok_with(&line),
                None => self.no_such_message(),
            },
            None => {
                let totals = session.totals().describe();
                self.ok(&totals);
                self.state = State::Listing(Listing { kind, next: Some(NonZeroU32::MIN) });
            }
        }
    }

    /// Writes as much of a listing as may wait to be sent.
    pub(super) fn go_on_listing(&mut self) {
        let (State::Listing(listing), Some(session)) = (&mut self.state, &self.session) else { return };
        while self.out.len() < self.config.limits.transmit {
            let Some(message) = listing.next.and_then(|next| session.message_from(next)) else {
                self.out.line(b".");
                self.state = State::Command;
                self.idle_since = None;
                return;
            };
            listing.next = message.number.checked_add(1);
            self.out.line(listing.kind.line(message).as_bytes());
        }
    }

    fn read(&mut self, now: Instant, number: NonZeroU32, lines: Option<u32>) -> Option<Event> {
        let Some(message) = self.session.as_ref()?.message(number) else {
            self.no_such_message();
            return None;
        };
        let read = Read::new(message.key, number, message.octets, lines);
        Some(Event::Read(self.ask(now, Question::Read, read)))
    }

    fn no_such_message(&mut self) {
        self.refuse(&Refusal::fixed(None, "no such message"));
    }

    fn quit(&mut self, now: Instant) -> Option<Event> {
        // RFC 2449 §6.7: with "EXPIRE 0" a message that was retrieved is taken for deleted.
        let leave_nothing = self.policies().0 == Some(Expire::Days(0));
        let session = self.session.as_ref();
        let delete = session.map(|session| session.to_delete(leave_nothing)).unwrap_or_default();
        if delete.is_empty() {
            self.sign_off();
            return None;
        }
        Some(Event::Commit(self.ask(now, Question::Commit, Commit::new(delete))))
    }

    pub(super) fn sign_off(&mut self) {
        self.ok("bye");
        self.close(Closed::Farewell);
    }
}
