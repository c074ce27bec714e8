//! The application's calls, on their way and waiting for it.

use std::collections::VecDeque;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use mailwright_line_proto::{Closed, Misuse, Secret, Ticket, Traced};
use mailwright_mail_model::thread::Threads;

use super::{
    Client, Event, Phase, Session,
    about::About,
    event::{Opened, Outcome},
    request::Call,
    skipped::asked_for,
};
use crate::{
    command::{Command, CopyUid, Spec, When},
    grammar::{CommandWriter, Input, LiteralMode, Wire},
    response::{
        Acl, Capabilities, Esearch, Listed, MailboxStatus, Namespaces, OwnRights, QuotaRoot, RightsOf,
        ServerId,
    },
};

/// The commands whose answer is what is told of single messages, by FETCH, EXPUNGE, VANISHED or FILTERED.
const OF_MESSAGES: [&str; 7] = ["FETCH", "STORE", "EXPUNGE", "MOVE", "FILTER", "SELECT", "EXAMINE"];

/// A call whose answer is awaited.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) id: u32,
    pub(super) kind: Kind,
    /// The application no longer wants to hear of it.
    pub(super) muted: bool,
    /// How many octets of its answer are held.
    pub(super) collected: u64,
    /// Whether numbers of messages stand in it, so that no EXPUNGE can come before it is answered.
    uses_seqs: bool,
    /// Whether what is told of single messages is part of its answer.
    of_messages: bool,
    /// The responses that it asks for.
    asks_for: &'static [&'static str],
    /// The mailboxes that they have to be of.
    pub(super) about: About,
}

impl Pending {
    /// Whether a response of this name is part of its answer.
    pub(super) fn asks_for(&self, name: &[u8]) -> bool {
        self.asks_for.iter().any(|one| one.as_bytes().eq_ignore_ascii_case(name))
    }
}

/// A call that waits for others, and what is to be sent.
#[derive(Debug)]
pub(super) struct Unsent {
    pending: Pending,
    parts: VecDeque<Bytes>,
}

/// What kind of call, and what came of it so far.
#[derive(Debug)]
pub(super) enum Kind {
    Plain(fn(u32, Outcome<()>) -> Event),
    /// CLOSE and UNSELECT.
    Leave(fn(u32, Outcome<()>) -> Event),
    Capability(Option<Capabilities>),
    Id(Option<ServerId>),
    Enable(Capabilities),
    Namespace(Option<Namespaces>),
    Select(Box<Opened>),
    List(Vec<Listed>),
    Lsub(Vec<Listed>),
    Rlist(Vec<Listed>),
    Rlsub(Vec<Listed>),
    Status(Option<MailboxStatus>),
    Search(Vec<u32>),
    Sort(Vec<u32>),
    Thread(Threads),
    /// A search whose answer is told as it was asked for.
    Find(Box<Esearch>),
    Quota(Option<QuotaRoot>),
    SetQuota(Option<QuotaRoot>),
    QuotaRoots(Vec<QuotaRoot>),
    Acl(Option<Acl>),
    RightsOf(Option<RightsOf>),
    OwnRights(Option<OwnRights>),
    Annotations(Vec<(String, Option<Bytes>)>),
    Append {
        size: u64,
    },
    Copy(Option<CopyUid>),
    Move(Option<CopyUid>),
    Idle {
        idling: bool,
        done: bool,
    },
    StartTls,
    Compress,
    Login,
    Authenticate {
        initial: Option<Secret>,
        rounds: u32,
    },
    Logout,
}

impl Kind {
    /// Whether it changes what can be called, so that it runs alone.
    fn is_alone(&self) -> bool {
        matches!(
            self,
            Self::Select(_)
                | Self::Leave(_)
                | Self::Idle { .. }
                | Self::StartTls
                | Self::Compress
                | Self::Login
                | Self::Authenticate { .. }
                | Self::Logout
        )
    }

    /// Whether the untagged responses to both could be taken for each other's (RFC 9051 §5.5).
    fn is_like(&self, other: &Self) -> bool {
        let searches = |kind: &Self| matches!(kind, Self::Search(_) | Self::Find(_));
        let quotas = |kind: &Self| matches!(kind, Self::Quota(_) | Self::SetQuota(_) | Self::QuotaRoots(_));
        !matches!(self, Self::Plain(_) | Self::Append { .. })
            && (std::mem::discriminant(self) == std::mem::discriminant(other)
                || searches(self) && searches(other)
                || quotas(self) && quotas(other))
    }
}

/// The message that is being sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    remaining: u64,
    announced: u64,
    /// The server has refused it.
    refused: bool,
}

/// So many octets of a message that was refused are still sent, so that the session can go on behind them.
const FEW: u64 = 256 * 1024;

impl Client {
    /// Sends a request, or puts it behind those that must be answered before it. Its ticket comes back with the answer.
    ///
    /// # Errors
    /// [`Misuse`], without any effect: the moment or an argument is wrong, or too much is under way.
    pub fn call<R: Call>(&mut self, request: R) -> Result<Ticket<R>, Misuse> {
        request.start(self).map(Ticket::new)
    }

    /// Gives up a call. An IDLE ends and its answer still comes; of a SASL exchange whose challenge waits for a
    /// response, too. Of any other call no answer is told, though FETCH responses on their way still are.
    pub fn cancel<R: Call>(&mut self, ticket: Ticket<R>) {
        let id = ticket.id();
        let waiting = self.unsent.iter_mut().map(|unsent| &mut unsent.pending);
        let Some(pending) = self.pending.iter_mut().chain(waiting).find(|pending| pending.id == id) else {
            return;
        };
        match &mut pending.kind {
            Kind::Idle { idling, done } => {
                if *idling && !*done {
                    self.out.put(b"DONE\r\n");
                    self.since = None;
                }
                *done = true;
            }
            Kind::Authenticate { .. } if self.challenged => {
                self.challenged = false;
                self.since = None;
                // RFC 9051 §6.2.2
                self.out.put(b"*\r\n");
            }
            // They decide how the session goes on: the application must hear of them.
            kind if kind.is_alone() => {}
            _ => pending.muted = true,
        }
    }

    /// Sends the next octets of the message that [`Event::Ready`] asked for.
    ///
    /// # Errors
    /// [`Misuse::NoBody`] if none is wanted, or the server has refused it in the middle of much more; [`Misuse::BodyLength`], and the connection
    /// closes, if they are more than were announced.
    pub fn send_body(&mut self, chunk: Bytes) -> Result<(), Misuse> {
        let body = self.body.as_mut().ok_or(Misuse::NoBody)?;
        match body.remaining.checked_sub(chunk.len() as u64) {
            Some(remaining) => body.remaining = remaining,
            None => return Err(self.wrong_length()),
        }
        self.out.put_bytes(chunk);
        Ok(())
    }

    /// Ends the message.
    ///
    /// # Errors
    /// As for [`send_body`](Self::send_body); [`Misuse::BodyLength`], and the connection closes, if octets are missing.
    pub fn end_body(&mut self) -> Result<(), Misuse> {
        let body = self.body.as_ref().ok_or(Misuse::NoBody)?;
        if body.remaining > 0 {
            return Err(self.wrong_length());
        }
        self.body = None;
        self.out.put(b"\r\n");
        self.since = None;
        self.flush();
        Ok(())
    }

    /// Whether the message that is being sent was refused, but is sent to its end, because that is near: the session goes on behind it
    /// (RFC 7888 §4). The octets themselves do not matter any more.
    pub fn owes_body(&self) -> bool {
        self.body.as_ref().is_some_and(|body| body.refused)
    }

    /// The message that is being sent is refused. If too much of it is left, the rest cannot be sent and nothing else either: `false`.
    pub(super) fn body_refused(&mut self) -> bool {
        let Some(body) = &mut self.body else { return true };
        body.refused = true;
        body.remaining <= FEW
    }

    fn wrong_length(&mut self) -> Misuse {
        let announced = self.body.take().map_or(0, |body| body.announced);
        let misuse = Misuse::BodyLength { announced };
        self.close(Closed::Misuse(misuse));
        misuse
    }

    pub(super) fn is_challenged(&self) -> bool {
        self.challenged
    }

    /// The response to a SASL challenge.
    pub(super) fn respond(&mut self, response: &Secret) -> Result<u32, Misuse> {
        let id = self.pending.front().map(|pending| pending.id).ok_or(Misuse::Closed)?;
        self.challenged = false;
        self.send_response(response);
        Ok(id)
    }

    pub(super) fn send_response(&mut self, response: &Secret) {
        self.trace.line(Traced::SentSecret("SASL response"));
        let line = Secret::from(STANDARD.encode(response.expose()).as_str());
        self.out.put(line.expose());
        self.out.put(b"\r\n");
        self.since = None;
    }

    pub(super) fn start(&mut self, command: &Command, kind: Kind) -> Result<u32, Misuse> {
        let mut writer = CommandWriter::new(self.literals());
        let id = self.calls.wrapping_add(1);
        writer.put_display(format_args!("{}{id} ", self.prefix));
        let tag = writer.as_slice().len();
        command.encode(&mut writer);
        let text = writer.as_slice().get(tag..).unwrap_or_default();
        let spec = Spec::find(&mut Input::new(text)).map_err(|_| Misuse::Argument("no such command"))?;
        self.check(spec, &kind)?;
        // RFC 3501 §4.3: no string of any form may hold NUL.
        if memchr::memchr(0, text).is_some() {
            return Err(Misuse::Argument("NUL cannot be sent"));
        }
        if !matches!(kind, Kind::Append { .. }) {
            writer.put(b"\r\n");
        }
        self.calls = id;
        let name = spec.name.strip_prefix("UID ").unwrap_or(spec.name);
        let pending = Pending {
            id,
            asks_for: asked_for(name),
            about: About::of(command),
            kind,
            muted: false,
            collected: 0,
            uses_seqs: spec.uses_seqs,
            of_messages: OF_MESSAGES.contains(&name),
        };
        self.unsent.push_back(Unsent { pending, parts: writer.into_parts().collect() });
        self.flush();
        Ok(id)
    }

    /// The literals that the server takes unasked.
    fn literals(&self) -> LiteralMode {
        match &self.capabilities {
            Some(offered) if offered.has("LITERAL+") => LiteralMode::Plus,
            // RFC 9051 §4.3: a part of IMAP4rev2
            Some(offered) if offered.has("LITERAL-") || offered.has("IMAP4REV2") => LiteralMode::Minus,
            _ => LiteralMode::Synchronizing,
        }
    }

    fn check(&self, spec: &Spec, kind: &Kind) -> Result<(), Misuse> {
        let wrong = |state| Misuse::WrongState { request: spec.name, state };
        match self.phase {
            Phase::Closing(_) | Phase::Closed => return Err(Misuse::Closed),
            Phase::Greeting => return Err(wrong("before the greeting")),
            Phase::Tls(_) | Phase::Secured(_) => return Err(wrong("while TLS starts")),
            Phase::Deflate(_) | Phase::Deflated(_) => return Err(wrong("while compression starts")),
            Phase::Open => {}
        }
        if self.body.is_some() {
            return Err(Misuse::BodyOpen);
        }
        let mut calls = self.pending.iter().chain(self.unsent.iter().map(|unsent| &unsent.pending));
        if calls.any(|call| call.kind.is_alone())
            || self.pending.len() + self.unsent.len() >= self.config.limits.in_flight
        {
            return Err(Misuse::Busy);
        }
        match (spec.when, self.session) {
            (When::Always, _)
            | (When::NotAuthenticated, Session::NotAuthenticated)
            | (When::Authenticated, Session::Authenticated | Session::Selected)
            | (When::Selected, Session::Selected) => {}
            (When::NotAuthenticated, _) => return Err(wrong("after login")),
            (When::Authenticated, _) => return Err(wrong("before login")),
            (When::Selected, _) => return Err(wrong("without a mailbox selected")),
        }
        match kind {
            Kind::StartTls if self.tls => Err(wrong("with TLS")),
            // RFC 4978 §3
            Kind::Compress if self.compressed => Err(wrong("with compression")),
            Kind::Login | Kind::Authenticate { .. } if !self.tls && !self.config.allow_plaintext_auth => {
                Err(wrong("without TLS, unless `allow_plaintext_auth` is set"))
            }
            _ => Ok(()),
        }
    }

    /// Sends what may be sent now.
    pub(super) fn flush(&mut self) {
        while self.may_send_next() {
            let Some(Unsent { pending, parts }) = self.unsent.pop_front() else { return };
            if self.pending.is_empty() {
                self.since = None;
            }
            if matches!(pending.kind, Kind::Select(_)) {
                self.messages.clear();
            }
            self.pending.push_back(pending);
            self.parts = parts;
            self.send_part();
        }
    }

    fn may_send_next(&self) -> bool {
        let Some(Unsent { pending: next, .. }) = self.unsent.front() else { return false };
        if !self.parts.is_empty() || self.body.is_some() {
            return false;
        }
        if next.kind.is_alone() {
            return self.pending.is_empty();
        }
        // RFC 9051 §5.5: numbers may change while anything runs that does not use them itself.
        self.pending
            .iter()
            .all(|other| !other.kind.is_like(&next.kind) && (other.uses_seqs || !next.uses_seqs))
    }

    /// Sends the next part of the last command, up to where it must wait for `+`.
    pub(super) fn send_part(&mut self) {
        let Some(part) = self.parts.pop_front() else { return };
        let Some(last) = self.pending.back() else { return };
        match last.kind {
            Kind::Login => self.trace.line(Traced::SentSecret("LOGIN")),
            Kind::Authenticate { .. } => self.trace.line(Traced::SentSecret("AUTHENTICATE")),
            _ if part.is_empty() => {}
            _ => self.trace.line(Traced::Sent(part.strip_suffix(b"\r\n").unwrap_or(&part))),
        }
        self.out.put_bytes(part);
        if let (Kind::Append { size }, true) = (&last.kind, self.parts.is_empty()) {
            self.body = Some(Outgoing { remaining: *size, announced: *size, refused: false });
            self.ready = Some(last.id);
        }
    }

    /// Something of a message was told: the deadline of a call that it is part of the answer to begins anew.
    pub(super) fn comes_of_messages(&mut self) {
        if self.pending.iter().any(|pending| pending.of_messages) {
            self.since = None;
        }
    }

    /// Whether the last command waits for `+`.
    pub(super) fn is_amid_command(&self) -> bool {
        !self.parts.is_empty()
    }
}
