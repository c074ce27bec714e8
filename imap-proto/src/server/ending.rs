//! The end of a connection: by the client, by deadlines, for misbehaviour, or because the server stops.

use std::time::Instant;

use mailwright_line_proto::{Closed, Deadline, Output, PeerMisbehaved, Shutdown};

use super::{Event, Phase, Server, State, wait};
use crate::response::{ResponseCode, Status};

impl Server {
    /// It is the client's turn, or it has gone.
    pub(super) fn wait_for_client(&mut self, now: Instant, answer: Option<Instant>) -> Option<Output<Event>> {
        if self.ended {
            return if self.slots.is_empty() { self.close(Closed::Eof) } else { wait(false, answer) };
        }
        if !self.slots.is_empty() {
            self.since = None;
            return wait(true, answer);
        }
        let timeouts = &self.config.timeouts;
        let since = *self.since.get_or_insert(now);
        let (until, deadline) = match (&self.phase, &self.state) {
            (Phase::Tls { .. }, _) => (since + timeouts.tls, Deadline::Tls),
            (_, State::NotAuthenticated) => (self.started.unwrap_or(since) + timeouts.login, Deadline::Login),
            _ => (since + timeouts.command, Deadline::Command),
        };
        if until <= now { self.time_out(deadline) } else { wait(true, Some(until)) }
    }

    /// RFC 3501 §5.4: the autologout timer.
    pub(super) fn time_out(&mut self, deadline: Deadline) -> Option<Output<Event>> {
        if deadline != Deadline::Tls {
            self.say(None, &Status::bye("timed out; logging out"));
        }
        self.close(Closed::TimedOut(deadline))
    }

    pub(super) fn stop(&mut self, why: Shutdown) -> Option<Output<Event>> {
        let status = match why {
            Shutdown::TooBusy => Status::bye("too many connections").with(ResponseCode::Unavailable),
            Shutdown::Stopping => Status::bye("shutting down").with(ResponseCode::Unavailable),
            // RFC 5530 §3: what the client logged in with is not to be used any more.
            Shutdown::Revoked => {
                Status::bye("the account has changed; log in again").with(ResponseCode::Expired)
            }
            // RFC 5530 §3: the client may try again.
            Shutdown::Unanswered => {
                Status::bye("an answer took too long; try again later").with(ResponseCode::Unavailable)
            }
            // RFC 9051 §7.1.5: the reason may be shown to the user, who can do something about these.
            Shutdown::Gone => Status::bye("the mailbox was deleted or renamed; log in again"),
            Shutdown::Forbidden => {
                Status::bye("you may no longer read this mailbox").with(ResponseCode::NoPerm)
            }
            _ => Status::bye("closing this connection"),
        };
        self.say(None, &status);
        self.close(Closed::Shutdown(why))
    }

    pub(super) fn misbehaved(&mut self, how: PeerMisbehaved, text: &'static str) -> Option<Output<Event>> {
        self.say(None, &Status::bye(text));
        self.close(Closed::Misbehaved(how))
    }

    /// Nothing more is read or answered; what is written still goes out.
    pub(super) fn close(&mut self, why: Closed) -> Option<Output<Event>> {
        self.slots.clear();
        self.follow = None;
        self.ready = None;
        self.stream = None;
        self.held.clear();
        self.state = State::NotAuthenticated;
        self.phase = Phase::Closing(why);
        None
    }

    /// A bad command, `BAD` for it, and the end of patience if there were too many.
    pub(super) fn bad(&mut self, tag: Option<&str>, status: &Status) -> Option<Output<Event>> {
        self.say(tag, status);
        self.errors += 1;
        let limit = self.config.limits.errors.min(self.most_errors);
        if self.errors >= limit {
            return self.misbehaved(PeerMisbehaved::TooManyErrors { limit }, "too many bad commands");
        }
        None
    }
}
