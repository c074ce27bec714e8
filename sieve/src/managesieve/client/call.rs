//! The application's calls.

use std::collections::VecDeque;

use mailwright_line_proto::{Authenticate, Misuse, Request, Secret, Ticket};

use super::{Client, Phase};
use crate::managesieve::{
    Capability, CheckScript, DeleteScript, GetScript, HaveSpace, ListScripts, Listed, Logout, Noop,
    PutScript, RenameScript, SetActive, StartTls, Unauthenticate,
    command::{Auth, Row, TABLE, encode_response},
};

/// What a [`Client`] can call. Not for others to implement.
pub trait Call: sealed::Start {}

impl<R: sealed::Start> Call for R {}

/// The calls whose replies are awaited, in order.
pub(super) type Queue = VecDeque<Expected>;

/// A reply that is awaited.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) id: u32,
    pub(super) kind: Kind,
    /// The application no longer wants to hear of it.
    pub(super) muted: bool,
}

/// What kind of reply, and what came of it so far.
#[derive(Debug)]
pub(super) enum Kind {
    Capability,
    StartTls,
    Authenticate,
    Unauthenticate,
    HaveSpace,
    PutScript,
    CheckScript,
    ListScripts(Vec<Listed>),
    SetActive,
    GetScript(Progress),
    DeleteScript,
    RenameScript,
    Noop,
    Logout,
}

/// How far a script came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing of it.
    Awaited,
    /// All but the end of its line.
    AtLineEnd,
    /// All of it: the reply is next.
    Complete,
}

impl Kind {
    /// Whether nothing may be called until its reply is there: RFC 5804 §2 says so, or it changes what can be.
    fn is_last(&self) -> bool {
        matches!(
            self,
            Self::StartTls | Self::Authenticate | Self::Unauthenticate | Self::HaveSpace | Self::Logout
        )
    }
}

impl Client {
    /// Sends a request. Its ticket comes back with the answer.
    ///
    /// # Errors
    /// [`Misuse`], without any effect: the moment or an argument is wrong, or too much is under way.
    pub fn call<R: Call>(&mut self, request: R) -> Result<Ticket<R>, Misuse> {
        request.start(self).map(Ticket::new)
    }

    /// Gives up a call: no more is heard of it, though its reply is still read to its end.
    ///
    /// For a SASL exchange whose challenge waits for a response, it sends the `"*"` that cancels; the answer to it
    /// still comes.
    pub fn cancel<R: Call>(&mut self, ticket: Ticket<R>) {
        let Some(expected) = self.queue.iter_mut().find(|expected| expected.id == ticket.id()) else {
            return;
        };
        match expected.kind {
            Kind::Authenticate if self.challenged => {
                self.challenged = false;
                self.since = None;
                // RFC 5804 §2.1
                self.out.line(b"\"*\"");
            }
            // They decide how the session goes on: the application must hear of them.
            Kind::Authenticate | Kind::StartTls | Kind::Unauthenticate | Kind::Logout => {}
            _ => expected.muted = true,
        }
    }

    /// Sends a line, if the table of commands and what is under way allow it.
    fn send(&mut self, verb: &'static str, line: &[u8], kind: Kind) -> Result<u32, Misuse> {
        let row = TABLE.iter().find(|row| row.verb == verb).ok_or(Misuse::NotOffered(verb))?;
        self.check(row)?;
        if row.secret {
            self.out.secret_line(line, row.verb);
        } else {
            self.out.line(line);
        }
        if self.queue.is_empty() {
            self.since = None;
        }
        self.calls = self.calls.wrapping_add(1);
        self.queue.push_back(Expected { id: self.calls, kind, muted: false });
        Ok(self.calls)
    }

    fn check(&self, row: &Row) -> Result<(), Misuse> {
        let wrong = |state| Misuse::WrongState { request: row.verb, state };
        match self.phase {
            Phase::Closing(_) | Phase::Closed => return Err(Misuse::Closed),
            Phase::Greeting => return Err(wrong("before the greeting")),
            Phase::Tls(_) | Phase::Secured(_) => return Err(wrong("while TLS starts")),
            Phase::Open => {}
        }
        if self.sending.is_some() {
            return Err(Misuse::BodyOpen);
        }
        if !row.states.contain(self.logged_in) {
            return Err(wrong(if self.logged_in { "after login" } else { "before login" }));
        }
        if row.secret && !self.tls && !self.config.allow_plaintext_auth {
            return Err(wrong("without TLS, unless `allow_plaintext_auth` is set"));
        }
        let full = self.queue.len() >= self.config.limits.in_flight;
        if full || self.queue.iter().any(|expected| expected.kind.is_last()) {
            return Err(Misuse::Busy);
        }
        Ok(())
    }

    /// The command up to its script, whose octets are the application's to send.
    fn send_script(&mut self, verb: &'static str, line: &[u8], kind: Kind, size: u32) -> Result<u32, Misuse> {
        if size == 0 {
            // RFC 5804 §2.6
            return Err(Misuse::Argument("a script is not empty"));
        }
        let id = self.send(verb, line, kind)?;
        self.sending = Some((size, size));
        Ok(id)
    }
}

mod sealed {
    #![expect(unnameable_types, reason = "sealed: nobody else is to implement it")]

    use super::{Client, Misuse, Request};

    pub trait Start: Request {
        /// Sends the request and gives the number of the call.
        fn start(self, client: &mut Client) -> Result<u32, Misuse>;
    }
}

/// The calls that are one line and one reply.
macro_rules! one_line {
    ($($request:ident $verb:literal $line:expr => $kind:expr;)*) => {$(
        impl sealed::Start for $request {
            fn start(self, client: &mut Client) -> Result<u32, Misuse> {
                let line: fn(&$request) -> Vec<u8> = $line;
                client.send($verb, &line(&self), $kind)
            }
        }
    )*};
}

one_line! {
    Capability "CAPABILITY" |_| Capability::LINE.to_vec() => Kind::Capability;
    HaveSpace "HAVESPACE" |space| space.encode() => Kind::HaveSpace;
    ListScripts "LISTSCRIPTS" |_| ListScripts::LINE.to_vec() => Kind::ListScripts(Vec::new());
    SetActive "SETACTIVE" |active| active.encode() => Kind::SetActive;
    GetScript "GETSCRIPT" |get| get.encode() => Kind::GetScript(Progress::Awaited);
    DeleteScript "DELETESCRIPT" |delete| delete.encode() => Kind::DeleteScript;
    RenameScript "RENAMESCRIPT" |rename| rename.encode() => Kind::RenameScript;
    Logout "LOGOUT" |_| Logout::LINE.to_vec() => Kind::Logout;
}

impl sealed::Start for Noop {
    fn start(self, client: &mut Client) -> Result<u32, Misuse> {
        if self.0.as_ref().is_some_and(|tag| tag.len() > 1024) {
            return Err(Misuse::Argument("a tag has at most 1024 octets"));
        }
        client.send("NOOP", &self.encode(), Kind::Noop)
    }
}

impl sealed::Start for Unauthenticate {
    fn start(self, client: &mut Client) -> Result<u32, Misuse> {
        if !client.capabilities.contain("UNAUTHENTICATE") {
            return Err(Misuse::NotOffered("UNAUTHENTICATE"));
        }
        if !client.queue.is_empty() {
            return Err(Misuse::Busy);
        }
        client.send("UNAUTHENTICATE", Self::LINE, Kind::Unauthenticate)
    }
}

impl sealed::Start for StartTls {
    fn start(self, client: &mut Client) -> Result<u32, Misuse> {
        if client.tls {
            return Err(Misuse::WrongState { request: "STARTTLS", state: "when TLS is up" });
        }
        if matches!(client.phase, Phase::Open) && !client.capabilities.contain("STARTTLS") {
            return Err(Misuse::NotOffered("STARTTLS"));
        }
        // Whatever is under way would be answered within TLS, or behind the reply to STARTTLS.
        if !client.queue.is_empty() {
            return Err(Misuse::Busy);
        }
        client.send("STARTTLS", Self::LINE, Kind::StartTls)
    }
}

impl sealed::Start for PutScript {
    fn start(self, client: &mut Client) -> Result<u32, Misuse> {
        client.send_script("PUTSCRIPT", &self.encode(), Kind::PutScript, self.size)
    }
}

impl sealed::Start for CheckScript {
    fn start(self, client: &mut Client) -> Result<u32, Misuse> {
        client.send_script("CHECKSCRIPT", &self.encode(), Kind::CheckScript, self.size)
    }
}

impl sealed::Start for Authenticate {
    fn start(self, client: &mut Client) -> Result<u32, Misuse> {
        if !client.challenged {
            let line = Auth::encode(&self).ok_or(Misuse::Argument("this is no mechanism's name"))?;
            return client.send("AUTHENTICATE", line.expose(), Kind::Authenticate);
        }
        let response = self.response.ok_or(Misuse::Argument("a challenge wants a response"))?;
        let line = Secret::from(&encode_response(response.expose(), "+")[..]);
        client.challenged = false;
        client.since = None;
        client.out.secret_line(line.expose(), "SASL response");
        client.queue.front().map(|expected| expected.id).ok_or(Misuse::Closed)
    }
}
