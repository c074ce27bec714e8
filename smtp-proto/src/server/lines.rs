//! Reading the client's lines.

use std::time::Instant;

use bytes::BytesMut;
use mailwright_line_proto::{Closed, Deadline, Output, PeerMisbehaved, frame::Line};

use super::{Event, Phase, Server, wait};
use crate::Reply;

type Step = Option<Output<Event>>;

/// What a line begins with that is too long to be a command: what follows it may be a message, which must not be run as
/// commands all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Beginning {
    Bdat,
    Data,
    #[default]
    Other,
}

impl Beginning {
    fn of(line: &[u8]) -> Self {
        match line.split_first_chunk::<4>() {
            Some((_, [next, ..])) if next.is_ascii_alphanumeric() => Self::Other,
            Some((verb, _)) if verb.eq_ignore_ascii_case(b"BDAT") => Self::Bdat,
            Some((verb, _)) if verb.eq_ignore_ascii_case(b"DATA") => Self::Data,
            _ => Self::Other,
        }
    }
}

impl Server {
    /// Reads the next command or SASL response and runs it.
    pub(super) fn read_line(&mut self, now: Instant, since: Instant, rx: &mut BytesMut) -> Step {
        if self.pipeline.is_empty() {
            if let Some(why) = self.shutdown {
                return self.say_goodbye(why);
            }
            if let Some((row, command)) = self.held.take() {
                return self.run(now, row, command, rx);
            }
        } else if self.held.is_some() || self.pipeline.in_flight() >= self.config.limits.in_flight {
            return wait(false, self.pipeline.deadline());
        }
        if self.transmit.len() >= self.config.limits.transmit {
            // Law 5: the client does not take its replies, so no more of its commands are read.
            return match since + self.config.timeouts.write {
                until if until <= now => self.close(Closed::TimedOut(Deadline::Write)),
                until => wait(false, Some(until)),
            };
        }
        if self.is_tls_record(rx) {
            return self.close_foreign("a command", "\\x16");
        }
        let challenged = matches!(self.phase, Phase::Challenged(_));
        let limit = self.line_limit(challenged, rx);
        if rx.len() >= limit && !self.lines.is_skipping() {
            self.beginning = if challenged { Beginning::Other } else { Beginning::of(rx) };
        }
        match self.lines.next(rx, limit, self.config.limits.skip) {
            Line::Partial => self.wait_for_line(now, since),
            Line::Endless => {
                self.reply(&Reply::fixed(500, (5, 5, 2), "Line too long"));
                let limit = self.config.limits.skip;
                self.close(Closed::Misbehaved(PeerMisbehaved::Endless { limit }))
            }
            Line::TooLong => {
                self.since = Some(now);
                // RFC 4954 §4: 500 5.5.6 for an exchange line that is too long
                let detail = if challenged { 6 } else { 2 };
                self.phase = Phase::Command;
                let reply = Reply::fixed(500, (5, 5, detail), "Line too long");
                if self.beginning == Beginning::Bdat {
                    return self.refuse_unbounded(&reply);
                }
                self.data_refused |= self.beginning == Beginning::Data;
                self.refuse(&reply)
            }
            Line::Whole(line) => {
                self.since = Some(now);
                if challenged { self.run_response(now, &line) } else { self.run_line(now, &line, rx) }
            }
        }
    }

    fn wait_for_line(&mut self, now: Instant, since: Instant) -> Step {
        if !self.pipeline.is_empty() {
            // The client waits for us, not we for it.
            return wait(!self.ended, self.pipeline.deadline());
        }
        if self.ended {
            return self.close(Closed::Eof);
        }
        let timeouts = &self.config.timeouts;
        let command = (since + timeouts.command, Deadline::Command);
        let must_log_in = self.config.require_auth && !self.session.authenticated;
        let login =
            self.started.filter(|_| must_log_in).map(|started| (started + timeouts.login, Deadline::Login));
        let (until, deadline) = login.filter(|login| login.0 < command.0).unwrap_or(command);
        if until <= now { self.time_out(deadline) } else { wait(true, Some(until)) }
    }

    /// How long the line at the front may be: only AUTH and what follows it carry more than a command.
    fn line_limit(&self, challenged: bool, rx: &[u8]) -> usize {
        let limits = &self.config.limits;
        let is_auth = || rx.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"AUTH "));
        match self.session.authenticated {
            _ if challenged || is_auth() => limits.sasl_line,
            false => limits.line_before_login,
            true => limits.line,
        }
    }

    /// A TLS handshake where no TLS is yet. It has no line end to wait for.
    fn is_tls_record(&self, rx: &[u8]) -> bool {
        self.session.tls.is_none() && !self.lines.is_skipping() && rx.first() == Some(&0x16)
    }
}
