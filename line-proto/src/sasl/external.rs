//! EXTERNAL (RFC 4422 appendix A): the TLS certificate says who it is.

use bytes::Bytes;

use super::{
    client::{ClientError, ClientSide, Credentials, Proof},
    mechanism::Row,
    server::{Identified, ServerSide, ServerStep, Verdict, Verify},
};
use crate::AuthRefusal;

pub(super) static ROW: Row = Row {
    name: "EXTERNAL",
    shows_secret: false,
    binds_channel: false,
    needs_certificate: true,
    legacy: false,
    server: Some(|_, _| Box::new(ExternalServer::default())),
    client: |credentials, _, _| ExternalClient::new(credentials).map(|side| Box::new(side) as _),
};

#[derive(Default)]
struct ExternalServer {
    asked: bool,
    identified: Identified,
}

impl ServerSide for ExternalServer {
    fn step(&mut self, response: Option<&[u8]>) -> ServerStep {
        match response {
            None if !self.asked => {
                self.asked = true;
                ServerStep::Challenge(Bytes::new())
            }
            // RFC 4422 appendix A.1: nothing, or whom to act as; no NUL, and here no other control character either.
            Some(message) => match std::str::from_utf8(message) {
                Ok(authzid) if !authzid.chars().any(char::is_control) => {
                    let authzid = Some(authzid.to_owned()).filter(|authzid| !authzid.is_empty());
                    self.identified.ask(authzid.clone(), Verify::External { authzid })
                }
                _ => ServerStep::Refuse(AuthRefusal::Malformed),
            },
            None => ServerStep::Refuse(AuthRefusal::Malformed),
        }
    }

    fn resume(&mut self, verdict: Verdict) -> ServerStep {
        self.identified.resume(verdict)
    }
}

struct ExternalClient {
    authzid: String,
    sent: bool,
}

impl ExternalClient {
    fn new(credentials: &Credentials) -> Result<Self, ClientError> {
        let Proof::Certificate = credentials.proof else {
            return Err(ClientError::OtherCredentials("EXTERNAL"));
        };
        let authzid = credentials.authzid.clone().unwrap_or_default();
        if authzid.chars().any(char::is_control) {
            return Err(ClientError::Unusable);
        }
        Ok(Self { authzid, sent: false })
    }
}

impl ClientSide for ExternalClient {
    fn initial(&mut self) -> Option<Bytes> {
        self.sent = true;
        Some(self.authzid.clone().into())
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
    use crate::TlsInfo;

    fn context(certificates: usize) -> Context {
        Context::tls(&TlsInfo { peer_certificates: vec![vec![1]; certificates], ..TlsInfo::default() })
    }

    #[test]
    fn the_certificate_says_who_and_the_message_as_whom() {
        let external = Mechanism::find("EXTERNAL").unwrap();
        for authzid in [None, Some("fred@example.com")] {
            let mut credentials = Credentials::certificate();
            if let Some(authzid) = authzid {
                credentials = credentials.acting_as(authzid);
            }
            let mut client = Client::new(external, &credentials, &context(1), [0; 32]).unwrap();
            let mut server = Server::start("EXTERNAL", &context(1), [0; 32]).unwrap();
            let expected = Verify::External { authzid: authzid.map(str::to_owned) };
            assert_eq!(server.step(client.initial().as_deref()), ServerStep::Verify(expected));
            let ServerStep::Done(identity) = server.resume(Verdict::Identity("bob".into())) else { panic!() };
            assert_eq!((identity.authcid.as_str(), identity.authzid.as_deref()), ("bob", authzid));
            assert_eq!(client.finish(None), Ok(()));
        }
    }

    #[test]
    fn it_is_there_only_with_a_certificate() {
        let start = |context: &Context| Server::start("EXTERNAL", context, [0; 32]).err();
        assert_eq!(start(&context(0)), Some(AuthRefusal::Mechanism));
        assert_eq!(start(&Context::trusted()), Some(AuthRefusal::Mechanism));
        let mut server = Server::start("EXTERNAL", &context(1), [0; 32]).unwrap();
        assert_eq!(server.step(Some(b"a\0b")), ServerStep::Refuse(AuthRefusal::Malformed));
        let mut server = Server::start("EXTERNAL", &context(1), [0; 32]).unwrap();
        let _ = server.step(Some(b""));
        assert_eq!(server.resume(Verdict::Accept), ServerStep::Refuse(AuthRefusal::Unavailable));
        let password = Credentials::new("bob", "x".into());
        assert_eq!(Client::choose(["EXTERNAL"], &password, &context(1)), None);
    }
}
