//! CRAM-MD5 (RFC 2195): obsolete, and weak where the password is; only where somebody has switched it on.

use std::fmt::Write;

use bytes::Bytes;
use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

use super::{
    client::{ClientError, ClientSide, Credentials},
    mechanism::Row,
    prepare,
    server::{Identity, ServerSide, ServerStep, Verdict, Verify},
};
use crate::{AuthRefusal, Secret};

pub(super) static ROW: Row = Row {
    name: "CRAM-MD5",
    shows_secret: false,
    binds_channel: false,
    needs_certificate: false,
    legacy: true,
    server: Some(|_, entropy| Box::new(CramServer { entropy, state: State::Start })),
    client: |credentials, _, _| CramClient::new(credentials).map(|side| Box::new(side) as _),
};

struct CramServer {
    entropy: [u8; 32],
    state: State,
}

enum State {
    Start,
    Response(String),
    Secret { challenge: String, username: String, digest: String },
    Over,
}

impl ServerSide for CramServer {
    fn step(&mut self, response: Option<&[u8]>) -> ServerStep {
        match (std::mem::replace(&mut self.state, State::Over), response) {
            (State::Start, None) => {
                // RFC 2195 §2: never the same twice, in the form of a Message-ID.
                let challenge = format!("<{}@localhost>", hex(&self.entropy));
                self.state = State::Response(challenge.clone());
                ServerStep::Challenge(challenge.into())
            }
            (State::Response(challenge), Some(message)) => {
                let parsed = std::str::from_utf8(message).ok().and_then(|text| text.rsplit_once(' '));
                let Some((name, digest)) = parsed else { return ServerStep::Refuse(AuthRefusal::Malformed) };
                let Some(username) = prepare::name(name) else {
                    return ServerStep::Refuse(AuthRefusal::Malformed);
                };
                self.state =
                    State::Secret { challenge, username: username.clone(), digest: digest.to_owned() };
                ServerStep::Verify(Verify::Shared { username })
            }
            _ => ServerStep::Refuse(AuthRefusal::Malformed),
        }
    }

    fn resume(&mut self, verdict: Verdict) -> ServerStep {
        match (std::mem::replace(&mut self.state, State::Over), verdict) {
            (State::Secret { challenge, username, digest }, Verdict::Shared(secret)) => {
                // For an unknown user as much is computed as for a known one.
                let known = secret.is_some();
                let secret = secret.unwrap_or_else(|| Secret::from(&self.entropy[..]));
                let expected = answer(&secret, challenge.as_bytes());
                let right = bool::from(expected.as_bytes().ct_eq(digest.to_ascii_lowercase().as_bytes()));
                if right && known {
                    ServerStep::Done(Identity { authcid: username, authzid: None })
                } else {
                    ServerStep::Refuse(AuthRefusal::Credentials)
                }
            }
            (_, Verdict::Refuse(refusal)) => ServerStep::Refuse(refusal),
            _ => ServerStep::Refuse(AuthRefusal::Unavailable),
        }
    }
}

struct CramClient {
    name: String,
    password: Secret,
    answered: bool,
}

impl CramClient {
    fn new(credentials: &Credentials) -> Result<Self, ClientError> {
        if credentials.authzid.is_some() {
            return Err(ClientError::NoActing("CRAM-MD5"));
        }
        Ok(Self {
            name: prepare::name(&credentials.authcid).ok_or(ClientError::Unusable)?,
            password: prepare::password(credentials.password("CRAM-MD5")?.expose())
                .ok_or(ClientError::Unusable)?,
            answered: false,
        })
    }
}

impl ClientSide for CramClient {
    fn initial(&mut self) -> Option<Bytes> {
        None
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Bytes, ClientError> {
        if std::mem::replace(&mut self.answered, true) {
            return Err(ClientError::Over);
        }
        Ok(format!("{} {}", self.name, answer(&self.password, challenge)).into())
    }

    fn is_finished(&self) -> bool {
        self.answered
    }
}

/// The HMAC-MD5 (RFC 2104 §2) of the challenge under the password, in lower-case hexadecimal digits.
fn answer(password: &Secret, challenge: &[u8]) -> String {
    const BLOCK: usize = 64;
    let key = password.expose();
    let hashed = (key.len() > BLOCK).then(|| Md5::digest(key));
    let key = hashed.as_deref().unwrap_or(key);
    let padded = |pad: u8| {
        let octets = key.iter().copied().chain(std::iter::repeat(0)).take(BLOCK);
        zeroize::Zeroizing::new(octets.map(|octet| octet ^ pad).collect::<Vec<u8>>())
    };
    let inner = Md5::new().chain_update(padded(0x36).as_slice()).chain_update(challenge).finalize();
    hex(&Md5::new().chain_update(padded(0x5C).as_slice()).chain_update(inner).finalize())
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::with_capacity(octets.len() * 2), |mut text, octet| {
        // Writing into a text cannot fail.
        let _ = write!(text, "{octet:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Client, Context, Mechanism, Server};
    use super::*;

    #[test]
    fn the_vectors_of_rfc_2195_and_rfc_2202() {
        let digest = answer(&"tanstaaftanstaaf".into(), b"<1896.697170952@postoffice.reston.mci.net>");
        assert_eq!(digest, "b913a602c7eda7a495b4e6e7334d3890");
        let long = Secret::from(&[0xAA; 80][..]);
        let digest = answer(&long, b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(digest, "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd");
    }

    #[test]
    fn both_sides_agree_where_it_is_switched_on() {
        let context = Context::plaintext().allow_legacy();
        let credentials = Credentials::new("tim", "tanstaaftanstaaf".into());
        assert_eq!(Client::choose(["CRAM-MD5"], &credentials, &Context::plaintext()), None);
        assert_eq!(
            Server::start("CRAM-MD5", &Context::plaintext(), [0; 32]).err(),
            Some(AuthRefusal::Mechanism)
        );
        let cram = Mechanism::find("CRAM-MD5").unwrap();
        for (secret, right) in [(Some("tanstaaftanstaaf"), true), (Some("other"), false), (None, false)] {
            let mut client = Client::new(cram, &credentials, &context, [0; 32]).unwrap();
            let mut server = Server::start("CRAM-MD5", &context, [7; 32]).unwrap();
            let ServerStep::Challenge(challenge) = server.step(client.initial().as_deref()) else { panic!() };
            let response = client.respond(&challenge).unwrap();
            let asked = ServerStep::Verify(Verify::Shared { username: "tim".into() });
            assert_eq!(server.step(Some(&response)), asked);
            let step = server.resume(Verdict::Shared(secret.map(Secret::from)));
            assert_eq!(matches!(step, ServerStep::Done(identity) if identity.authcid == "tim"), right);
            assert_eq!(client.finish(None), Ok(()));
            assert_eq!(client.respond(b"<2@x>"), Err(ClientError::Over));
        }
    }

    #[test]
    fn malformed_answers_are_refused() {
        for answer in [&b""[..], b"tim", b" abc", b"\xff abc", b"t\0m abc"] {
            let mut server =
                Server::start("CRAM-MD5", &Context::plaintext().allow_legacy(), [7; 32]).unwrap();
            let _ = server.step(None);
            assert_eq!(server.step(Some(answer)), ServerStep::Refuse(AuthRefusal::Malformed), "{answer:?}");
        }
        let mut server = Server::start("CRAM-MD5", &Context::plaintext().allow_legacy(), [7; 32]).unwrap();
        assert_eq!(server.step(Some(b"tim x")), ServerStep::Refuse(AuthRefusal::Malformed));
    }
}
