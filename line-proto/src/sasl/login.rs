//! LOGIN (draft-murchison-sasl-login-00): obsolete, and all that some clients know.

use bytes::Bytes;

use super::{
    client::{ClientError, ClientSide, Credentials},
    mechanism::Row,
    prepare,
    server::{ServerSide, ServerStep, Shown, Verdict},
};
use crate::{AuthRefusal, Secret};

pub(super) static ROW: Row = Row {
    name: "LOGIN",
    shows_secret: true,
    binds_channel: false,
    needs_certificate: false,
    legacy: false,
    server: Some(|_, _| Box::new(LoginServer { state: State::Start, shown: Shown::default() })),
    client: |credentials, _, _| LoginClient::new(credentials).map(|side| Box::new(side) as _),
};

struct LoginServer {
    state: State,
    shown: Shown,
}

enum State {
    Start,
    Name,
    Password(String),
    Over,
}

impl ServerSide for LoginServer {
    fn step(&mut self, response: Option<&[u8]>) -> ServerStep {
        // Draft §2.2: a widely used client wants to be asked with exactly these words.
        match (std::mem::replace(&mut self.state, State::Over), response) {
            (State::Start, None) => {
                self.state = State::Name;
                ServerStep::Challenge(Bytes::from_static(b"Username:"))
            }
            // Some clients send the name as an initial response.
            (State::Start | State::Name, Some(name)) => match std::str::from_utf8(name) {
                Ok(name) if prepare::name(name).is_some() => {
                    self.state = State::Password(name.to_owned());
                    ServerStep::Challenge(Bytes::from_static(b"Password:"))
                }
                _ => ServerStep::Refuse(AuthRefusal::Malformed),
            },
            (State::Password(name), Some(password)) => self.shown.ask(None, &name, password),
            _ => ServerStep::Refuse(AuthRefusal::Malformed),
        }
    }

    fn resume(&mut self, verdict: Verdict) -> ServerStep {
        self.shown.resume(verdict)
    }
}

struct LoginClient {
    name: String,
    password: Secret,
    asked: u8,
}

impl LoginClient {
    fn new(credentials: &Credentials) -> Result<Self, ClientError> {
        if credentials.authzid.is_some() {
            return Err(ClientError::NoActing("LOGIN"));
        }
        Ok(Self {
            name: prepare::name(&credentials.authcid).ok_or(ClientError::Unusable)?,
            password: prepare::password(credentials.password("LOGIN")?.expose())
                .ok_or(ClientError::Unusable)?,
            asked: 0,
        })
    }
}

impl ClientSide for LoginClient {
    fn initial(&mut self) -> Option<Bytes> {
        None
    }

    fn respond(&mut self, _: &[u8]) -> Result<Bytes, ClientError> {
        // Draft §2.1: the challenges are ignored; only their number counts.
        self.asked += 1;
        match self.asked {
            1 => Ok(Bytes::copy_from_slice(self.name.as_bytes())),
            2 => Ok(Bytes::copy_from_slice(self.password.expose())),
            _ => {
                self.asked = 3;
                Err(ClientError::Over)
            }
        }
    }

    fn is_finished(&self) -> bool {
        self.asked == 2
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Client, Context, Mechanism, Server, Verify};
    use super::*;

    #[test]
    fn asks_for_name_and_password() {
        for initial in [None, Some(&b"tim"[..])] {
            let mut server = Server::start("login", &Context::trusted(), [0; 32]).unwrap();
            let mut step = server.step(initial);
            if initial.is_none() {
                assert_eq!(step, ServerStep::Challenge("Username:".into()));
                step = server.step(Some(b"tim"));
            }
            assert_eq!(step, ServerStep::Challenge("Password:".into()));
            let ServerStep::Verify(Verify::Password { authcid, password, .. }) =
                server.step(Some(b"tanstaaftanstaaf"))
            else {
                panic!("no password")
            };
            assert_eq!((authcid.as_str(), password.expose()), ("tim", &b"tanstaaftanstaaf"[..]));
            let refused = ServerStep::Refuse(AuthRefusal::Credentials);
            assert_eq!(server.resume(Verdict::Refuse(AuthRefusal::Credentials)), refused);
        }
    }

    #[test]
    fn malformed_names_are_refused_at_once() {
        for name in [&b""[..], b"\xff", b"a\r\nb"] {
            let mut server = Server::start("LOGIN", &Context::trusted(), [0; 32]).unwrap();
            assert_eq!(server.step(Some(name)), ServerStep::Refuse(AuthRefusal::Malformed));
        }
    }

    #[test]
    fn the_client_answers_twice_and_no_more() {
        let login = Mechanism::find("LOGIN").unwrap();
        let credentials = Credentials::new("tim", "x".into());
        let mut client = Client::new(login, &credentials, &Context::trusted(), [0; 32]).unwrap();
        assert_eq!(client.initial(), None);
        assert_eq!(client.respond(b"User Name\0").as_deref(), Ok(&b"tim"[..]));
        assert_eq!(client.finish(None), Err(ClientError::Unproven));
        assert_eq!(client.respond(b"Password:").as_deref(), Ok(&b"x"[..]));
        assert_eq!(client.finish(None), Ok(()));
        assert_eq!(client.respond(b"Again:"), Err(ClientError::Over));
        let acting = credentials.acting_as("kurt");
        assert_eq!(
            Client::new(login, &acting, &Context::trusted(), [0; 32]).err(),
            Some(ClientError::NoActing("LOGIN"))
        );
    }
}
