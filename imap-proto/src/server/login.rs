//! Logging in.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mailwright_line_proto::{AuthRefusal, AuthStep, Authenticate, Login, Output, PeerMisbehaved, Request};

use super::{Event, Phase, Server, State, answer::Reply, slots::Slot};
use crate::{command::decode_response, response::Status};

impl Server {
    /// The client's response to a challenge.
    pub(super) fn sasl_response(&mut self, line: &[u8]) -> Option<Output<Event>> {
        let Phase::Challenged { tag, mechanism } = std::mem::replace(&mut self.phase, Phase::Commands) else {
            return None;
        };
        // RFC 3501 §6.2.2: a lone asterisk cancels, and the server answers BAD.
        if line == b"*" {
            self.failed_login(&tag, &Status::bad("AUTHENTICATE cancelled"));
            return None;
        }
        // The empty response of SASL-IR is for the first one only.
        let response = if line == b"=" { None } else { decode_response(line) };
        let Some(response) = response else {
            self.failed_login(&tag, &Status::bad("expected base64"));
            return None;
        };
        let request = Authenticate::response(mechanism, response);
        self.ask_login(tag, "AUTHENTICATE", request, Event::Authenticate)
    }

    fn logged_in(&mut self, tag: &str) {
        self.state = State::Authenticated;
        let status = self.logged_in_status();
        self.finish(tag, &status, true);
    }

    fn refuse_login(&mut self, tag: &str, refusal: AuthRefusal) {
        let status = self.refused_login(refusal);
        self.failed_login(tag, &status);
    }

    pub(super) fn failed_login(&mut self, tag: &str, status: &Status) {
        self.finish(tag, status, true);
        self.failed_logins += 1;
        let limit = self.config.limits.logins.min(self.most_errors);
        if self.failed_logins >= limit {
            let _ = self.misbehaved(PeerMisbehaved::TooManyLogins { limit }, "too many failed logins");
        }
    }
}

impl Reply for Login {
    fn reply(server: &mut Server, slot: Slot, _: Self, answer: <Self as Request>::Answer) {
        match answer {
            Ok(()) => server.logged_in(&slot.tag),
            Err(refusal) => server.refuse_login(&slot.tag, refusal),
        }
    }
}

impl Reply for Authenticate {
    fn reply(server: &mut Server, slot: Slot, request: Self, answer: AuthStep) {
        match answer {
            AuthStep::Challenge(challenge) => {
                server.transmit.put(b"+ ");
                server.transmit.put(STANDARD.encode(challenge).as_bytes());
                server.transmit.put(b"\r\n");
                server.phase = Phase::Challenged { tag: slot.tag, mechanism: request.mechanism };
            }
            AuthStep::Accept => server.logged_in(&slot.tag),
            AuthStep::Refuse(refusal) => server.refuse_login(&slot.tag, refusal),
            _ => server.refuse_login(&slot.tag, AuthRefusal::Unavailable),
        }
    }
}
