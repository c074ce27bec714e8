//! OAUTHBEARER (RFC 7628) and its predecessor XOAUTH2: a token in place of a password.

use bytes::Bytes;

use super::{
    client::{ClientError, ClientSide, Credentials, Proof},
    mechanism::Row,
    scram::{decode_name, encode_name},
    server::{Identified, ServerSide, ServerStep, Verdict, Verify},
};
use crate::{AuthRefusal, Secret};

pub(super) static OAUTHBEARER: Row = Row {
    name: "OAUTHBEARER",
    shows_secret: true,
    binds_channel: false,
    needs_certificate: false,
    legacy: false,
    server: Some(|_, _| Box::new(BearerServer::new(Form::Oauthbearer))),
    client: |credentials, _, _| {
        BearerClient::new(Form::Oauthbearer, credentials).map(|side| Box::new(side) as _)
    },
};

pub(super) static XOAUTH2: Row = Row {
    name: "XOAUTH2",
    shows_secret: true,
    binds_channel: false,
    needs_certificate: false,
    legacy: false,
    server: Some(|_, _| Box::new(BearerServer::new(Form::Xoauth2))),
    client: |credentials, _, _| BearerClient::new(Form::Xoauth2, credentials).map(|side| Box::new(side) as _),
};

/// What stands between the pairs (RFC 7628 §3.1).
const SEPARATOR: char = '\x01';

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Oauthbearer,
    Xoauth2,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::Oauthbearer => "OAUTHBEARER",
            Self::Xoauth2 => "XOAUTH2",
        }
    }

    /// Whom the client wants to be, and its token.
    fn parse(self, message: &[u8]) -> Option<(Option<String>, Secret)> {
        let text = std::str::from_utf8(message).ok()?;
        // Both end with two separators.
        let (first, pairs) = text.strip_suffix("\x01\x01")?.split_once(SEPARATOR)?;
        let user = match self {
            // RFC 5801 §4: there is no channel binding for this mechanism (RFC 7628 §3.1).
            Self::Oauthbearer => {
                let rest =
                    first.strip_prefix("n,").or_else(|| first.strip_prefix("y,"))?.strip_suffix(',')?;
                match rest {
                    "" => None,
                    some => Some(decode_name(some.strip_prefix("a=")?)?),
                }
            }
            Self::Xoauth2 => Some(first.strip_prefix("user=")?.to_owned()),
        };
        if user.as_deref().is_some_and(|user| user.is_empty() || user.chars().any(char::is_control)) {
            return None;
        }
        let mut token = None;
        for pair in pairs.split(SEPARATOR) {
            let (key, value) = pair.split_once('=')?;
            if key == "auth" {
                let (scheme, value) = value.split_once(' ')?;
                let value = value.trim_matches(' ');
                // RFC 6750 §2.1; the name of a scheme is in any case (RFC 9110 §11.1).
                if !scheme.eq_ignore_ascii_case("bearer") || !is_token(value) || token.is_some() {
                    return None;
                }
                token = Some(Secret::from(value));
            }
        }
        Some((user, token?))
    }

    /// RFC 7628 §3.2.2: why it is refused, for the client alone.
    fn problem(self, refusal: AuthRefusal) -> &'static str {
        match (self, refusal) {
            (Self::Oauthbearer, AuthRefusal::NotAuthorized) => r#"{"status":"insufficient_scope"}"#,
            (Self::Oauthbearer, _) => r#"{"status":"invalid_token"}"#,
            (Self::Xoauth2, _) => r#"{"status":"401","schemes":"bearer"}"#,
        }
    }
}

/// RFC 6750 §2.1: `b64token`.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-._~+/=".contains(&octet))
}

struct BearerServer {
    form: Form,
    state: State,
    identified: Identified,
}

enum State {
    Start(bool),
    Asked,
    /// The client was told why; whatever it says to that, it is refused.
    Told(AuthRefusal),
    Over,
}

impl BearerServer {
    fn new(form: Form) -> Self {
        Self { form, state: State::Start(false), identified: Identified::default() }
    }
}

impl ServerSide for BearerServer {
    fn step(&mut self, response: Option<&[u8]>) -> ServerStep {
        match (std::mem::replace(&mut self.state, State::Over), response) {
            (State::Start(false), None) => {
                self.state = State::Start(true);
                ServerStep::Challenge(Bytes::new())
            }
            (State::Start(_), Some(message)) => match self.form.parse(message) {
                Some((authzid, token)) => {
                    self.state = State::Asked;
                    self.identified.ask(authzid.clone(), Verify::Bearer { authzid, token })
                }
                None => ServerStep::Refuse(AuthRefusal::Malformed),
            },
            (State::Told(refusal), _) => ServerStep::Refuse(refusal),
            _ => ServerStep::Refuse(AuthRefusal::Malformed),
        }
    }

    fn resume(&mut self, verdict: Verdict) -> ServerStep {
        match self.identified.resume(verdict) {
            // Whether the token is bad; that nobody can tell now is no fault of it.
            ServerStep::Refuse(
                refusal @ (AuthRefusal::Credentials | AuthRefusal::NotAuthorized | AuthRefusal::Expired),
            ) => {
                self.state = State::Told(refusal);
                ServerStep::Challenge(Bytes::from_static(self.form.problem(refusal).as_bytes()))
            }
            step => step,
        }
    }
}

struct BearerClient {
    form: Form,
    message: Secret,
    state: u8,
}

impl BearerClient {
    fn new(form: Form, credentials: &Credentials) -> Result<Self, ClientError> {
        let Proof::Token(token) = &credentials.proof else {
            return Err(ClientError::OtherCredentials(form.name()));
        };
        let token = token.expose_str().filter(|token| is_token(token)).ok_or(ClientError::Unusable)?;
        let user = credentials.authzid.as_deref().unwrap_or(&credentials.authcid);
        if user.is_empty() || user.chars().any(char::is_control) {
            return Err(ClientError::Unusable);
        }
        let message = match form {
            Form::Oauthbearer => format!("n,a={},\x01auth=Bearer {token}\x01\x01", encode_name(user)),
            Form::Xoauth2 => format!("user={user}\x01auth=Bearer {token}\x01\x01"),
        };
        Ok(Self { form, message: Secret::from(message.as_str()), state: 0 })
    }
}

impl ClientSide for BearerClient {
    fn initial(&mut self) -> Option<Bytes> {
        self.state = 1;
        Some(Bytes::copy_from_slice(self.message.expose()))
    }

    fn respond(&mut self, _: &[u8]) -> Result<Bytes, ClientError> {
        // RFC 7628 §3.2.3: the server has said what is wrong and waits for a word to refuse.
        match std::mem::replace(&mut self.state, 2) {
            1 => Ok(match self.form {
                Form::Oauthbearer => Bytes::from_static(b"\x01"),
                Form::Xoauth2 => Bytes::new(),
            }),
            _ => Err(ClientError::Over),
        }
    }

    fn is_finished(&self) -> bool {
        self.state == 1
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Client, Context, Mechanism, Server};
    use super::*;

    const TOKEN: &str = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==";

    #[test]
    fn the_messages_of_rfc_7628_and_of_xoauth2() {
        // RFC 7628 §4.1, with its host and port, and what XOAUTH2 makes of the same.
        for (form, message, user) in [
            (
                Form::Oauthbearer,
                format!(
                    "n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer {TOKEN}\x01\x01"
                ),
                Some("user@example.com"),
            ),
            (Form::Oauthbearer, format!("n,,\x01auth=bearer  {TOKEN}\x01\x01"), None),
            (Form::Oauthbearer, format!("y,a=so=2Cme=3D,\x01auth=Bearer {TOKEN}\x01\x01"), Some("so,me=")),
            (
                Form::Xoauth2,
                format!("user=someuser@example.com\x01auth=Bearer {TOKEN}\x01\x01"),
                Some("someuser@example.com"),
            ),
        ] {
            let found = form.parse(message.as_bytes()).unwrap();
            assert_eq!(found, (user.map(str::to_owned), Secret::from(TOKEN)));
        }
    }

    #[test]
    fn malformed_messages_are_refused() {
        for name in ["OAUTHBEARER", "XOAUTH2"] {
            for message in [
                "",
                "\x01\x01",
                "n,,\x01\x01",
                "n,,\x01auth=Bearer \x01\x01",
                "n,,\x01auth=Basic abc\x01\x01",
                "n,,\x01auth=Bearer abc\x01",
                "n,,\x01auth=Bearer abc",
                "n,,\x01auth=Bearer a b\x01\x01",
                "n,,\x01auth=Bearer a\x01auth=Bearer b\x01\x01",
                "n,,\x01nothing\x01\x01",
                "n,user,\x01auth=Bearer abc\x01\x01",
                "n,a=,\x01auth=Bearer abc\x01\x01",
                "p=tls-exporter,,\x01auth=Bearer abc\x01\x01",
                "user=\x01auth=Bearer abc\x01\x01",
                "user=a\nb\x01auth=Bearer abc\x01\x01",
                "usr=a\x01auth=Bearer abc\x01\x01",
            ] {
                let mut server = Server::start(name, &Context::trusted(), [0; 32]).unwrap();
                let refused = ServerStep::Refuse(AuthRefusal::Malformed);
                assert_eq!(server.step(Some(message.as_bytes())), refused, "{name} {message:?}");
            }
            let start = Server::start(name, &Context::plaintext(), [0; 32]);
            assert_eq!(start.err(), Some(AuthRefusal::NeedsTls));
        }
    }

    #[test]
    fn both_sides_with_a_good_token_and_a_bad_one() {
        let credentials = Credentials::bearer("user@example.com", TOKEN.into());
        for (name, problem, word) in [
            ("OAUTHBEARER", r#"{"status":"invalid_token"}"#, &b"\x01"[..]),
            ("XOAUTH2", r#"{"status":"401","schemes":"bearer"}"#, b""),
        ] {
            let mechanism = Mechanism::find(name).unwrap();
            assert_eq!(Client::choose([name, "PLAIN"], &credentials, &Context::trusted()), Some(mechanism));
            let start = || {
                let mut client = Client::new(mechanism, &credentials, &Context::trusted(), [0; 32]).unwrap();
                let mut server = Server::start(name, &Context::trusted(), [0; 32]).unwrap();
                let asked = Verify::Bearer { authzid: Some("user@example.com".into()), token: TOKEN.into() };
                assert_eq!(server.step(client.initial().as_deref()), ServerStep::Verify(asked));
                (client, server)
            };
            let (mut client, mut server) = start();
            let ServerStep::Done(identity) = server.resume(Verdict::Identity("user@example.com".into()))
            else {
                panic!()
            };
            assert_eq!(identity.authzid.as_deref(), Some("user@example.com"));
            assert_eq!(client.finish(None), Ok(()));

            let (mut client, mut server) = start();
            let told = server.resume(Verdict::Refuse(AuthRefusal::Credentials));
            assert_eq!(told, ServerStep::Challenge(problem.into()));
            assert_eq!(client.respond(problem.as_bytes()).as_deref(), Ok(word));
            assert_eq!(server.step(Some(word)), ServerStep::Refuse(AuthRefusal::Credentials));
            assert_eq!(client.finish(None), Err(ClientError::Unproven));

            let (_, mut server) = start();
            let later = ServerStep::Refuse(AuthRefusal::Unavailable);
            assert_eq!(server.resume(Verdict::Refuse(AuthRefusal::Unavailable)), later);
        }
        let injected = Credentials::bearer("user", "a\x01host=x".into());
        assert_eq!(Client::choose(["XOAUTH2"], &injected, &Context::trusted()), None);
    }
}
