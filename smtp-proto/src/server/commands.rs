//! What each command does in each state.

use std::time::Instant;

use bytes::BytesMut;
use mailwright_line_proto::{Authenticate, Closed, Output, PeerMisbehaved, Shutdown, Traced};

use super::{Asked, Event, Parts, Phase, Protocol, Server, VrfyPolicy, event, parts, session::Transaction};
use crate::{
    BodyKind, Capabilities, Command, Hello, HelloKind, Hold, Mail, MailParameters, Message, Rcpt, Reply,
    SyntaxError,
    command::{self, Row, TABLE},
    params,
};

type Step = Option<Output<Event>>;

const BAD_SEQUENCE: (u8, u16, u16) = (5, 5, 1);

impl Server {
    /// Reads a command and runs it, or holds it until those before it are answered.
    pub(super) fn run_line(&mut self, now: Instant, line: &[u8], rx: &BytesMut) -> Step {
        if line.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"AUTH ")) {
            self.trace.line(Traced::ReceivedSecret("AUTH"));
        } else {
            self.trace.line(Traced::Received(line));
        }
        let (row, arguments) = match command::find(line) {
            Ok(found) => found,
            Err(_) if command::is_foreign(line) => {
                // What a browser was made to send.
                let verb = line.split(|octet| *octet == b' ').next().unwrap_or_default();
                let verb = String::from_utf8_lossy(verb).into_owned();
                return self.close_foreign("a command of SMTP", &verb);
            }
            Err(error) if parts::is_bdat(line) => return self.refuse_unbounded(&error.reply()),
            Err(SyntaxError::Unknown | SyntaxError::Octets) if self.data_refused => {
                return self.close_foreign("RSET after a refused DATA", "the lines of a message");
            }
            Err(error) => return self.refuse(&error.reply()),
        };
        if let Some(refusal) = self.not_now(row) {
            self.data_refused |= row.verb == "DATA";
            if row.verb == "BDAT" {
                return self.refuse_bdat(arguments, refusal);
            }
            return self.refuse(&refusal);
        }
        match (row.parse)(arguments, self.config.syntax) {
            Ok(command) if !self.pipeline.is_empty() && (!row.overlaps || self.must_count(&command)) => {
                self.held = Some((row, command));
                None
            }
            Ok(command) => self.run(now, row, command, rx),
            Err(error) if row.verb == "BDAT" => self.refuse_unbounded(&error.reply()),
            Err(error) => {
                self.data_refused |= row.verb == "DATA";
                self.refuse(&error.reply())
            }
        }
    }

    /// Runs a command whose turn has come.
    pub(super) fn run(&mut self, now: Instant, row: &'static Row, command: Command, rx: &BytesMut) -> Step {
        if row.junk {
            self.junk = self.junk.saturating_add(1);
            if self.junk > self.config.junk_commands {
                let reply = Reply::fixed(450, (4, 7, 0), "Too many commands without a message");
                return self.refuse(&reply);
            }
        }
        match command {
            Command::Hello(hello) => self.run_hello(now, row, hello),
            Command::StartTls => self.run_starttls(rx),
            Command::Authenticate(authenticate) => self.run_auth(now, authenticate),
            Command::Mail(mail) => self.run_mail(now, mail),
            Command::Rcpt(rcpt) => self.run_rcpt(now, rcpt),
            Command::Data => self.run_data(now),
            Command::Rset => {
                self.forget_transaction();
                self.say(&Reply::OK)
            }
            Command::Noop => self.say(&Reply::OK),
            Command::Bdat(bdat) => self.run_bdat(now, row, bdat),
            Command::Burl(burl) => self.run_burl(now, row, burl),
            command @ (Command::Vrfy(_)
            | Command::Expn(_)
            | Command::Etrn(_)
            | Command::Atrn(_)
            | Command::XClient(_)
            | Command::XForward(_)) => self.run_question(now, command),
            Command::Help => {
                let verbs = TABLE.iter().filter(|row| self.is_offered(row)).map(|row| row.verb);
                let text = format!("Commands: {}", verbs.collect::<Vec<_>>().join(" "));
                self.say(&Reply::lossy(214, (2, 0, 0), text))
            }
            Command::Quit => {
                self.reply(&Reply::BYE);
                self.close(Closed::Farewell)
            }
        }
    }

    /// The client's answer to a challenge.
    pub(super) fn run_response(&mut self, now: Instant, line: &[u8]) -> Step {
        self.trace.line(Traced::ReceivedSecret("SASL response"));
        let Phase::Challenged(mechanism) = std::mem::replace(&mut self.phase, Phase::Command) else {
            return None;
        };
        match command::response(line) {
            Ok(Some(response)) => {
                let id = self.ask(now, Asked::Authenticate);
                event(Event::Authenticate, id, Authenticate::response(mechanism, response))
            }
            // RFC 4954 §4: 501 for a cancelled exchange
            Ok(None) => self.refuse(&Reply::fixed(501, (5, 7, 0), "Authentication cancelled")),
            Err(error) => self.refuse(&error.reply()),
        }
    }

    /// Forgets the transaction and what a refused DATA left behind.
    pub(super) fn forget_transaction(&mut self) {
        self.data_refused = false;
        self.reset |= self.transaction.take().is_some();
        self.abandoned |= matches!(self.parts.take(), Some(Parts::Open(_)));
    }

    /// Why the command cannot come in this state of the session, whatever its arguments are.
    fn not_now(&self, row: &Row) -> Option<Reply> {
        if self.refused && row.verb != "QUIT" {
            // RFC 5321 §3.1: after a 554 greeting, 503 to all but QUIT
            return Some(Reply::fixed(503, BAD_SEQUENCE, "No service here; say QUIT"));
        }
        if !self.is_offered(row) {
            let error = match row.verb {
                // RFC 2033 §4.1: 500 for the hello of the other protocol
                "HELO" | "EHLO" | "LHLO" => SyntaxError::Unknown,
                _ => SyntaxError::NotImplemented,
            };
            return Some(error.reply());
        }
        if self.config.require_tls && self.session.tls.is_none() && !row.before_tls {
            return Some(Reply::fixed(530, (5, 7, 0), "Must issue a STARTTLS command first"));
        }
        if self.parts.is_some() && !row.amid_parts {
            // RFC 3030 §2: nothing comes between the parts of a message
            return Some(Reply::fixed(503, BAD_SEQUENCE, "Message not complete; send BDAT or RSET"));
        }
        let strict = self.config.syntax == crate::Syntax::Strict;
        if strict && self.session.hello.is_none() && !row.before_hello {
            let text = match self.config.protocol {
                Protocol::Smtp => "Send HELO or EHLO first",
                Protocol::Lmtp => "Send LHLO first",
            };
            return Some(Reply::fixed(503, BAD_SEQUENCE, text));
        }
        if self.config.require_auth && !self.session.authenticated && !row.before_auth {
            return Some(Reply::fixed(530, (5, 7, 0), "Authentication required"));
        }
        None
    }

    /// Whether the command exists on this listener.
    fn is_offered(&self, row: &Row) -> bool {
        match row.verb {
            // RFC 2033 §4.1: LHLO in place of HELO and EHLO
            "HELO" | "EHLO" => self.config.protocol == Protocol::Smtp,
            "LHLO" => self.config.protocol == Protocol::Lmtp,
            "STARTTLS" => self.config.starttls || self.session.tls.is_some(),
            "AUTH" => !self.config.auth_mechanisms.is_empty(),
            "VRFY" => self.config.vrfy != VrfyPolicy::Off,
            "EXPN" => self.config.expn != VrfyPolicy::Off,
            "ETRN" => self.config.abilities.start_queue,
            "ATRN" => self.config.abilities.turn,
            "BURL" => self.config.abilities.burl.is_some(),
            "XCLIENT" => self.config.xclient,
            "XFORWARD" => self.config.xforward,
            "TURN" => false,
            _ => true,
        }
    }

    /// Whether the answers in flight decide if there is room for this recipient.
    fn must_count(&self, command: &Command) -> bool {
        let room = |transaction: &Transaction| {
            transaction.accepted() + self.pipeline.in_flight() < self.config.max_recipients
        };
        matches!(command, Command::Rcpt(_)) && !self.transaction.as_ref().is_none_or(room)
    }

    fn run_hello(&mut self, now: Instant, row: &'static Row, hello: Hello) -> Step {
        if self.parts.is_some() {
            // Before the question, so that the application can make room for it.
            self.forget_transaction();
            self.held = Some((row, Command::Hello(hello)));
            return None;
        }
        let id = self.ask(now, Asked::Hello);
        event(Event::Hello, id, hello)
    }

    fn run_starttls(&mut self, rx: &BytesMut) -> Step {
        if self.session.tls.is_some() {
            return self.refuse(&Reply::fixed(503, BAD_SEQUENCE, "TLS is active already"));
        }
        if self.transaction.is_some() {
            return self.refuse(&Reply::fixed(
                503,
                BAD_SEQUENCE,
                "STARTTLS not permitted during a mail transaction",
            ));
        }
        if !rx.is_empty() {
            // Law 8: what came in the clear must not be taken for something said inside TLS.
            self.reply(&Reply::fixed(554, (5, 7, 0), "Octets behind STARTTLS"));
            return self.close(Closed::Misbehaved(PeerMisbehaved::PlaintextBehindTls));
        }
        self.reply(&Reply::fixed(220, (2, 0, 0), "Ready to start TLS"));
        self.phase = Phase::Tls { started: false };
        None
    }

    fn run_auth(&mut self, now: Instant, authenticate: Authenticate) -> Step {
        // RFC 4954 §4: not twice, and not within a transaction
        if self.session.authenticated {
            return self.refuse(&Reply::fixed(503, BAD_SEQUENCE, "Already authenticated"));
        }
        if self.transaction.is_some() {
            return self.refuse(&Reply::fixed(
                503,
                BAD_SEQUENCE,
                "AUTH not permitted during a mail transaction",
            ));
        }
        if self.session.tls.is_none() && !self.config.allow_plaintext_auth {
            return self.refuse(&Self::needs_tls());
        }
        if !self.offered().any(|name| name == authenticate.mechanism) {
            return self.refuse(&Reply::fixed(504, (5, 5, 4), "Authentication mechanism not supported"));
        }
        let limit = self.config.limits.logins.min(self.most_errors);
        if self.failed_logins >= limit {
            self.reply_421((4, 7, 0), "Too many failed logins");
            return self.close(Closed::Misbehaved(PeerMisbehaved::TooManyLogins { limit }));
        }
        let id = self.ask(now, Asked::Authenticate);
        event(Event::Authenticate, id, authenticate)
    }

    /// RFC 4954 §6
    pub(super) fn needs_tls() -> Reply {
        Reply::fixed(538, (5, 7, 11), "Encryption required for requested authentication mechanism")
    }

    fn run_mail(&mut self, now: Instant, mail: Mail) -> Step {
        if self.transaction.is_some() {
            return self.refuse(&Reply::fixed(503, BAD_SEQUENCE, "Nested MAIL command"));
        }
        if self.data_refused {
            return self.refuse(&Self::wants_rset());
        }
        if self.config.max_messages.is_some_and(|limit| self.messages >= limit) {
            // RFC 9422 §4.2
            self.reply_421((4, 7, 0), "Too many messages on this connection");
            return self.close(Closed::Shutdown(Shutdown::TooBusy));
        }
        let mut announced = self.capabilities();
        // RFC 4954 §5: it may be said by whoever may relay; who that is, the application knows.
        announced.auth.push(String::new());
        let abilities = &self.config.abilities;
        let unknown = params::not_taken(params::MAIL, &mail.parameters, &announced, |other| {
            abilities.takes_of_mail(other)
        });
        if let Some(keyword) = unknown {
            return self.refuse(&SyntaxError::UnknownParameter(keyword).reply());
        }
        if let Some(keyword) = beyond(&mail.parameters, &announced) {
            return self.refuse(&SyntaxError::Value(keyword).reply());
        }
        if mail.parameters.verp.is_some() && mail.from.address().is_none() {
            // As Postfix answers it: there is nothing to write the recipient into.
            return self.refuse(&Reply::fixed(503, (5, 5, 4), "XVERP requires a sender"));
        }
        if !mail.from.is_ascii() && !mail.parameters.smtputf8 {
            return self.refuse(&Self::wants_smtputf8());
        }
        if self.config.max_message_size.zip(mail.parameters.size).is_some_and(|(limit, size)| size > limit) {
            // RFC 1870 §6.1; an honest client's message, no error of its own
            return self.say(&SyntaxError::Size.reply());
        }
        let id = self.ask(now, Asked::Mail);
        event(Event::Mail, id, mail)
    }

    fn run_rcpt(&mut self, now: Instant, rcpt: Rcpt) -> Step {
        if self.data_refused {
            return self.refuse(&Self::wants_rset());
        }
        let Some(transaction) = &mut self.transaction else {
            return self.refuse(&Reply::fixed(503, BAD_SEQUENCE, "Need MAIL command"));
        };
        let (announced, abilities) = (&mut Capabilities::default(), &self.config.abilities);
        abilities.announce(self.session.tls.is_some(), announced);
        let unknown = params::not_taken(params::RCPT, &rcpt.parameters, announced, |other| {
            abilities.takes_of_rcpt(other)
        });
        if let Some(keyword) = unknown {
            return self.refuse(&SyntaxError::UnknownParameter(keyword).reply());
        }
        if !rcpt.to.is_ascii() && !transaction.mail.parameters.smtputf8 {
            return self.refuse(&Self::wants_smtputf8());
        }
        if transaction.accepted() >= self.config.max_recipients {
            // RFC 5321 §4.5.3.1.10: 452, so that the client sends the rest in another transaction
            return self.say(&Reply::fixed(452, (4, 5, 3), "Too many recipients"));
        }
        let id = self.pipeline.open(now + self.config.timeouts.answer);
        transaction.asked(id);
        event(Event::Rcpt, id, rcpt)
    }

    fn run_data(&mut self, now: Instant) -> Step {
        let refusal = match self.transaction.as_ref().map(Transaction::accepted) {
            _ if self.data_refused => Self::wants_rset(),
            None => Reply::fixed(503, BAD_SEQUENCE, "Need MAIL command"),
            // RFC 5321 §3.3
            Some(0) => Reply::fixed(554, BAD_SEQUENCE, "No valid recipients"),
            Some(_) if self.is_binary() => {
                // RFC 3030 §3
                Reply::fixed(503, BAD_SEQUENCE, "A BINARYMIME message is sent by BDAT")
            }
            Some(_) => {
                let (mail, recipients) = self.transaction.take().map(Transaction::into_parts)?;
                self.each_recipient = mail.parameters.each_recipient;
                let id = self.ask(now, Asked::Message);
                return event(Event::Message, id, Message::new(mail, recipients));
            }
        };
        self.data_refused = true;
        self.refuse(&refusal)
    }

    fn is_binary(&self) -> bool {
        let body = self.transaction.as_ref().map(|transaction| transaction.mail.parameters.body);
        body == Some(Some(BodyKind::BinaryMime))
    }

    pub(super) fn wants_rset() -> Reply {
        Reply::fixed(503, BAD_SEQUENCE, "Send RSET first")
    }

    /// RFC 6531 §3.4
    fn wants_smtputf8() -> Reply {
        Reply::fixed(553, (5, 6, 7), "Address needs SMTPUTF8")
    }

    /// What the client is told when its hello was accepted.
    pub(super) fn reply_to_hello(&self, hello: &Hello) -> Reply {
        match hello.kind {
            HelloKind::Helo => Reply::plain(250, self.config.hostname.to_string()),
            _ => self.capabilities().reply(self.config.hostname.as_str()),
        }
    }
}

/// The parameter that asks for more than was announced.
fn beyond(parameters: &MailParameters, announced: &Capabilities) -> Option<&'static str> {
    let hold = parameters.hold.zip(announced.future_release);
    let least = announced.deliver_by.flatten().map_or(0, i64::from);
    match hold {
        Some((Hold::For(seconds), limits)) if seconds.get() > limits.most_seconds => Some("HOLDFOR"),
        Some((Hold::Until(moment), limits)) if moment.seconds() > limits.latest.seconds() => {
            Some("HOLDUNTIL")
        }
        // RFC 2852 §4.1.4.1
        _ if parameters.deliver_by.is_some_and(|by| by.seconds() > 0 && i64::from(by.seconds()) < least) => {
            Some("BY")
        }
        _ => None,
    }
}
