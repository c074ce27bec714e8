//! What the machine says of its own accord, and how it ends a connection.

use bytes::Bytes;
use mailwright_line_proto::{Closed, Deadline, Output, PeerMisbehaved, Shutdown, Traced};

use super::{Event, Phase, Protocol, Server};
use crate::Reply;

impl Server {
    /// How many replies the end of a message has.
    pub(super) fn replies_to(&self, recipients: usize) -> usize {
        match self.config.protocol {
            Protocol::Smtp => 1,
            Protocol::Lmtp => recipients,
        }
    }

    /// RFC 1870 §6.3
    pub(super) fn too_large() -> Reply {
        Reply::fixed(552, (5, 3, 4), "Message size exceeds fixed limit")
    }

    pub(super) fn reply(&mut self, reply: &Reply) {
        let encoded = self.traced(reply);
        self.pipeline.push(encoded, &mut self.transmit);
    }

    pub(super) fn reply_each(&mut self, replies: Vec<Reply>) {
        replies.iter().for_each(|reply| self.reply(reply));
    }

    pub(super) fn traced(&mut self, reply: &Reply) -> Bytes {
        let encoded = reply.encode();
        for line in encoded.split(|octet| *octet == b'\n').filter(|line| !line.is_empty()) {
            self.trace.line(Traced::Sent(line.strip_suffix(b"\r").unwrap_or(line)));
        }
        encoded
    }

    /// Refuses a command that was wrong, or closes when it was one too many.
    pub(super) fn refuse(&mut self, reply: &Reply) -> Option<Output<Event>> {
        self.errors = self.errors.saturating_add(1);
        let limit = self.config.limits.errors.min(self.most_errors);
        if self.errors > limit {
            self.reply_421((4, 7, 0), "Too many errors");
            return self.close(Closed::Misbehaved(PeerMisbehaved::TooManyErrors { limit }));
        }
        self.reply(reply);
        None
    }

    pub(super) fn say(&mut self, reply: &Reply) -> Option<Output<Event>> {
        self.reply(reply);
        None
    }

    pub(super) fn reply_421(&mut self, enhanced: (u8, u16, u16), text: &str) {
        // RFC 5321 §4.2.2: "421 <domain> ..."
        let text = format!("{} {text}", self.config.hostname);
        self.reply(&Reply::lossy(421, enhanced, text));
    }

    pub(super) fn close_foreign(&mut self, expected: &'static str, received: &str) -> Option<Output<Event>> {
        self.reply_421((4, 7, 0), "This is a mail server; closing the connection");
        self.close(Closed::Misbehaved(PeerMisbehaved::BadReply { expected, received: received.to_owned() }))
    }

    pub(super) fn time_out(&mut self, deadline: Deadline) -> Option<Output<Event>> {
        self.reply_421((4, 4, 2), "Timeout exceeded");
        self.close(Closed::TimedOut(deadline))
    }

    pub(super) fn say_goodbye(&mut self, why: Shutdown) -> Option<Output<Event>> {
        let (enhanced, text) = match why {
            Shutdown::TooBusy => ((4, 3, 2), "Too many connections; try again later"),
            Shutdown::Revoked => ((4, 7, 0), "The account has changed; log in again"),
            Shutdown::Unanswered => ((4, 3, 0), "An answer took too long; try again later"),
            _ => ((4, 3, 2), "Service not available; closing the connection"),
        };
        self.reply_421(enhanced, text);
        self.close(Closed::Shutdown(why))
    }

    pub(super) fn close(&mut self, why: Closed) -> Option<Output<Event>> {
        self.held = None;
        self.phase = Phase::Closing(why);
        None
    }
}
