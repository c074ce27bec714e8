//! ANONYMOUS (RFC 4505): nobody in particular, with a word of who it is.

use bytes::Bytes;

use super::{
    client::{ClientError, ClientSide, Credentials, Proof},
    mechanism::Row,
    server::{Identified, ServerSide, ServerStep, Verdict, Verify},
};
use crate::AuthRefusal;

pub(super) static ROW: Row = Row {
    name: "ANONYMOUS",
    shows_secret: false,
    binds_channel: false,
    needs_certificate: false,
    legacy: false,
    server: Some(|_, _| Box::new(AnonymousServer::default())),
    client: |credentials, _, _| AnonymousClient::new(credentials).map(|side| Box::new(side) as _),
};

/// RFC 4505 §2: the longest trace, in characters.
const LONGEST: usize = 255;

#[derive(Default)]
struct AnonymousServer {
    asked: bool,
    identified: Identified,
}

impl ServerSide for AnonymousServer {
    fn step(&mut self, response: Option<&[u8]>) -> ServerStep {
        match response {
            None if !self.asked => {
                self.asked = true;
                ServerStep::Challenge(Bytes::new())
            }
            Some(message) => match std::str::from_utf8(message).ok().filter(|trace| is_trace(trace)) {
                Some(trace) => self.identified.ask(None, Verify::Anonymous { trace: trace.to_owned() }),
                None => ServerStep::Refuse(AuthRefusal::Malformed),
            },
            None => ServerStep::Refuse(AuthRefusal::Malformed),
        }
    }

    fn resume(&mut self, verdict: Verdict) -> ServerStep {
        self.identified.resume(verdict)
    }
}

fn is_trace(text: &str) -> bool {
    text.chars().count() <= LONGEST && !text.chars().any(char::is_control)
}

struct AnonymousClient {
    trace: String,
    sent: bool,
}

impl AnonymousClient {
    fn new(credentials: &Credentials) -> Result<Self, ClientError> {
        let Proof::None = credentials.proof else { return Err(ClientError::OtherCredentials("ANONYMOUS")) };
        if credentials.authzid.is_some() {
            return Err(ClientError::NoActing("ANONYMOUS"));
        }
        if !is_trace(&credentials.authcid) {
            return Err(ClientError::Unusable);
        }
        Ok(Self { trace: credentials.authcid.clone(), sent: false })
    }
}

impl ClientSide for AnonymousClient {
    fn initial(&mut self) -> Option<Bytes> {
        self.sent = true;
        Some(self.trace.clone().into())
    }

    fn respond(&mut self, _: &[u8]) -> Result<Bytes, ClientError> {
        Err(ClientError::Over)
    }

    fn is_finished(&self) -> bool {
        self.sent
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Client, Context, Mechanism, Server};
    use super::*;

    #[test]
    fn the_example_of_rfc_4505() {
        let anonymous = Mechanism::find("ANONYMOUS").unwrap();
        let credentials = Credentials::anonymous("sirhc");
        let mut client = Client::new(anonymous, &credentials, &Context::plaintext(), [0; 32]).unwrap();
        let mut server = Server::start("ANONYMOUS", &Context::plaintext(), [0; 32]).unwrap();
        let asked = server.step(client.initial().as_deref());
        assert_eq!(asked, ServerStep::Verify(Verify::Anonymous { trace: "sirhc".into() }));
        let ServerStep::Done(identity) = server.resume(Verdict::Identity("guest".into())) else { panic!() };
        assert_eq!((identity.authcid.as_str(), identity.authzid), ("guest", None));
        assert_eq!(client.finish(None), Ok(()));
        let context = Context::trusted();
        assert_eq!(Client::choose(["PLAIN", "ANONYMOUS"], &credentials, &context), Some(anonymous));
        let named = Credentials::new("tim", "x".into());
        assert_eq!(Client::choose(["ANONYMOUS"], &named, &context), None);
    }

    #[test]
    fn a_trace_has_a_length_and_no_control_characters() {
        for (trace, fits) in [
            (String::new(), true),
            ("ä".repeat(255), true),
            ("ä".repeat(256), false),
            ("a\r\nb".to_owned(), false),
        ] {
            let mut server = Server::start("ANONYMOUS", &Context::plaintext(), [0; 32]).unwrap();
            assert_eq!(server.step(None), ServerStep::Challenge(Bytes::new()));
            let refused = server.step(Some(trace.as_bytes())) == ServerStep::Refuse(AuthRefusal::Malformed);
            assert_eq!(refused, !fits, "{trace:?}");
        }
    }
}
