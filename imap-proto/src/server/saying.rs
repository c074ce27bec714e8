//! What is said: status responses, the ends of commands, and the trace of both sides.

use mailwright_line_proto::{Traced, Transmit};
use mailwright_mail_model::ModSeq;

use super::{Phase, Server, State};
use crate::{
    Refusal,
    command::Spec,
    grammar::Input,
    response::{ResponseCode, Status, StatusKind},
};

impl Server {
    /// Announces what is new and ends a command.
    pub(super) fn finish(&mut self, tag: &str, status: &Status, may_expunge: bool) {
        let may_expunge = may_expunge && self.slots.may_expunge();
        self.announce(may_expunge, !self.workarounds.delay_new_mail);
        self.end(tag, status);
    }

    /// Ends a command.
    pub(super) fn end(&mut self, tag: &str, status: &Status) {
        let tells = matches!(status.code, Some(ResponseCode::HighestModSeq(_)));
        if let Some(mod_seq) = self.held_back().filter(|_| !tells) {
            // RFC 7162 §6: mod-sequences were told beside flags that are above those of expunges yet to be announced. A
            // client that is gone after this and comes back must not ask from there on.
            let status = Status::ok("changes are still to be told");
            self.say(None, &status.with(ResponseCode::HighestModSeq(mod_seq)));
        }
        self.say(Some(tag), status);
        // A session may last for weeks: what its user once did wrong is forgotten when something goes well.
        if status.kind == StatusKind::Ok && self.is_logged_in() {
            self.errors = 0;
        }
        self.since = None;
    }

    pub(super) fn held_back(&self) -> Option<ModSeq> {
        match &self.state {
            State::Selected { view, .. } if self.enabled.resync => view.held_back(),
            _ => None,
        }
    }

    /// Tells that not all is as it should be, though the command goes on: an untagged NO (RFC 9051 §7.1.2). Before the answer to what it is
    /// about.
    pub fn warn(&mut self, refusal: Refusal) {
        if !matches!(self.phase, Phase::Closing(_)) {
            self.say(None, &refusal.into());
        }
    }

    /// Sends a status response.
    pub(super) fn say(&mut self, tag: Option<&str>, status: &Status) {
        let mut line = Vec::new();
        self.wording.put(tag, status, &mut line);
        self.out().put(&line);
        self.trace.line(Traced::Sent(line.strip_suffix(b"\r\n").unwrap_or(&line)));
    }

    pub(super) fn trace_received(&mut self, command: &[u8]) {
        if matches!(self.phase, Phase::Challenged { .. }) {
            return self.trace.line(Traced::ReceivedSecret("SASL response"));
        }
        let mut input = Input::new(command);
        let named = input.tag().and_then(|_| input.space()).and_then(|()| Spec::find(&mut input));
        self.trace.line(match named {
            Ok(spec) if matches!(spec.name, "LOGIN" | "AUTHENTICATE") => Traced::ReceivedSecret(spec.name),
            _ => {
                // A literal begins behind the first line.
                let end = memchr::memchr(b'\r', command).unwrap_or(command.len());
                Traced::Received(command.get(..end).unwrap_or_default())
            }
        });
    }

    /// Where a response goes that is not part of the section being sent.
    pub(super) fn out(&mut self) -> &mut Transmit {
        if self.stream.is_some() { &mut self.held } else { &mut self.transmit }
    }
}
