//! The application's calls.

use std::collections::VecDeque;

use mailwright_line_proto::{Authenticate, Login, Misuse, Request, Secret, Ticket};

use super::{Client, Phase};
use crate::{
    Apop, Capa, Capabilities, Capability, Dele, Lang, Language, Last, List, Noop, Quit, Refusal, Retr, Rset,
    Stat, Stls, Top, Uidl, Utf8,
    command::{self, Auth, Row, TABLE},
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
    Capa(Capabilities),
    Stls,
    /// The password is sent when USER is granted, unless it is on its way already.
    User {
        password: Option<Secret>,
    },
    /// The refusal of the USER before it, if that was refused.
    Pass {
        refused: Option<Refusal>,
    },
    Apop,
    Authenticate,
    Utf8,
    Lang {
        /// Whether one was asked for, and not the listing.
        one: bool,
        found: Vec<Language>,
    },
    Stat,
    List {
        one: bool,
        count: u32,
    },
    Uidl {
        one: bool,
        count: u32,
    },
    Retr,
    Top,
    Dele,
    Noop,
    Rset,
    Last,
    Quit,
}

impl Kind {
    /// Whether nothing may be called until its reply is there, because that changes what can be.
    fn is_last(&self) -> bool {
        matches!(
            self,
            Self::Stls | Self::User { .. } | Self::Pass { .. } | Self::Apop | Self::Authenticate | Self::Quit
        )
    }
}

impl Client {
    /// Sends a request. Its ticket comes back with the answer.
    ///
    /// A second one may be called before the first is answered if the server announced PIPELINING (RFC 2449 §6.6).
    ///
    /// # Errors
    /// [`Misuse`], without any effect: the moment or an argument is wrong, or too much is under way.
    pub fn call<R: Call>(&mut self, request: R) -> Result<Ticket<R>, Misuse> {
        request.start(self).map(Ticket::new)
    }

    /// Gives up a call: no more is heard of it, though its reply is still read to its end.
    ///
    /// For a SASL exchange whose challenge waits for a response, it sends the `*` that cancels; the answer to it
    /// still comes. To be spared a reply without an end, [`shutdown`](Self::shutdown).
    pub fn cancel<R: Call>(&mut self, ticket: Ticket<R>) {
        let Some(expected) = self.queue.iter_mut().find(|expected| expected.id == ticket.id()) else {
            return;
        };
        match expected.kind {
            Kind::Authenticate if self.challenged => {
                self.challenged = false;
                self.since = None;
                // RFC 5034 §4
                self.out.line(b"*");
            }
            // They decide how the session goes on: the application must hear of them.
            Kind::Apop
            | Kind::Authenticate
            | Kind::Stls
            | Kind::User { .. }
            | Kind::Pass { .. }
            | Kind::Quit => {}
            _ => expected.muted = true,
        }
    }

    /// Sends a line, if the table of commands and what is under way allow it.
    fn send(&mut self, row: &Row, line: &[u8], kind: Kind) -> Result<u32, Misuse> {
        self.check(row)?;
        if line.len() > self.config.limits.sasl_line {
            return Err(Misuse::Argument("the command is longer than a line may be"));
        }
        if row.secret {
            self.out.secret_line(line, row.verb);
        } else {
            self.out.line(line);
        }
        Ok(self.expect(kind))
    }

    fn check(&self, row: &Row) -> Result<(), Misuse> {
        let wrong = |state| Misuse::WrongState { request: row.verb, state };
        match self.phase {
            Phase::Closing(_) | Phase::Closed => return Err(Misuse::Closed),
            Phase::Greeting => return Err(wrong("before the greeting")),
            Phase::Tls(_) | Phase::Secured(_) => return Err(wrong("while TLS starts")),
            Phase::Authorization if !row.states.contain(false) => return Err(wrong("before login")),
            Phase::Transaction if !row.states.contain(true) => return Err(wrong("after login")),
            Phase::Authorization | Phase::Transaction => {}
        }
        if row.needs_tls && !self.tls && !self.config.allow_plaintext_auth {
            return Err(wrong("without TLS, unless `allow_plaintext_auth` is set"));
        }
        let most = if self.may_pipeline() { self.config.limits.in_flight } else { 1 };
        if self.queue.len() >= most || self.queue.iter().any(|expected| expected.kind.is_last()) {
            return Err(Misuse::Busy);
        }
        Ok(())
    }

    fn expect(&mut self, kind: Kind) -> u32 {
        if self.queue.is_empty() {
            self.since = None;
        }
        self.calls = self.calls.wrapping_add(1);
        self.queue.push_back(Expected { id: self.calls, kind, muted: false });
        self.calls
    }

    fn may_pipeline(&self) -> bool {
        self.capabilities.as_ref().is_some_and(|offered| offered.contain(&Capability::Pipelining))
    }

    /// The table's row of a verb: what is not in it cannot be called.
    fn row(verb: &'static str) -> Result<&'static Row, Misuse> {
        TABLE.iter().find(|row| row.verb == verb).ok_or(Misuse::NotOffered(verb))
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
                let line: fn($request) -> Vec<u8> = $line;
                let kind: fn($request) -> Kind = $kind;
                client.send(Client::row($verb)?, &line(self), kind(self))
            }
        }
    )*};
}

one_line! {
    Capa "CAPA" |_| Capa::LINE.to_vec() => |_| Kind::Capa(Capabilities::default());
    Stat "STAT" |_| Stat::LINE.to_vec() => |_| Kind::Stat;
    List "LIST" |list| list.encode().into() => |list| Kind::List { one: list.0.is_some(), count: 0 };
    Uidl "UIDL" |uidl| uidl.encode().into() => |uidl| Kind::Uidl { one: uidl.0.is_some(), count: 0 };
    Retr "RETR" |retr| retr.encode().into() => |_| Kind::Retr;
    Top "TOP" |top| top.encode().into() => |_| Kind::Top;
    Dele "DELE" |dele| dele.encode().into() => |_| Kind::Dele;
    Noop "NOOP" |_| Noop::LINE.to_vec() => |_| Kind::Noop;
    Rset "RSET" |_| Rset::LINE.to_vec() => |_| Kind::Rset;
    Last "LAST" |_| Last::LINE.to_vec() => |_| Kind::Last;
    Utf8 "UTF8" |_| Utf8::LINE.to_vec() => |_| Kind::Utf8;
    Quit "QUIT" |_| Quit::LINE.to_vec() => |_| Kind::Quit;
}

impl sealed::Start for Stls {
    fn start(self, client: &mut Client) -> Result<u32, Misuse> {
        if client.tls {
            return Err(Misuse::WrongState { request: "STLS", state: "when TLS is up" });
        }
        let refused = |offered: &Capabilities| !offered.contain(&Capability::Stls);
        if client.capabilities.as_ref().is_some_and(refused) {
            return Err(Misuse::NotOffered("STLS"));
        }
        // Whatever is under way would be answered within TLS, or behind the reply to STLS.
        if !client.queue.is_empty() {
            return Err(Misuse::Busy);
        }
        client.send(Client::row("STLS")?, Self::LINE, Kind::Stls)
    }
}

impl sealed::Start for Lang {
    fn start(self, client: &mut Client) -> Result<u32, Misuse> {
        let line = self.encode().ok_or(Misuse::Argument("this is no language range"))?;
        let kind = Kind::Lang { one: self.0.is_some(), found: Vec::new() };
        client.send(Client::row("LANG")?, line.as_bytes(), kind)
    }
}

impl sealed::Start for Apop {
    fn start(self, client: &mut Client) -> Result<u32, Misuse> {
        if client.timestamp.is_none() {
            return Err(Misuse::NotOffered("APOP"));
        }
        let line = self.encode().ok_or(Misuse::Argument("this is no user name"))?;
        client.send(Client::row("APOP")?, line.as_bytes(), Kind::Apop)
    }
}

impl sealed::Start for Login {
    fn start(self, client: &mut Client) -> Result<u32, Misuse> {
        let user = command::encode_user(&self.user).ok_or(Misuse::Argument("this is no user name"))?;
        let password =
            command::encode_pass(&self.password).ok_or(Misuse::Argument("this password cannot be sent"))?;
        if client.may_pipeline() {
            client.send(Client::row("USER")?, user.as_bytes(), Kind::User { password: None })?;
            client.out.secret_line(password.expose(), "PASS");
            // One call, two replies.
            let id = client.calls;
            let kind = Kind::Pass { refused: None };
            client.queue.push_back(Expected { id, kind, muted: false });
            return Ok(id);
        }
        client.send(Client::row("USER")?, user.as_bytes(), Kind::User { password: Some(password) })
    }
}

impl sealed::Start for Authenticate {
    fn start(self, client: &mut Client) -> Result<u32, Misuse> {
        if !client.challenged {
            let line = Auth::encode(&self).ok_or(Misuse::Argument("this is no mechanism's name"))?;
            return client.send(Client::row("AUTH")?, line.expose(), Kind::Authenticate);
        }
        let response = self.response.ok_or(Misuse::Argument("a challenge wants a response"))?;
        let line = Secret::from(command::encode_response(response.expose()).as_str());
        client.challenged = false;
        client.since = None;
        client.out.secret_line(line.expose(), "SASL response");
        client.queue.front().map(|expected| expected.id).ok_or(Misuse::Closed)
    }
}
