//! PLAIN (RFC 4616): the password itself, in one message.

use bytes::Bytes;

use super::{
    client::{ClientError, ClientSide, Credentials},
    mechanism::Row,
    prepare,
    server::{ServerSide, ServerStep, Shown, Verdict},
};
use crate::{AuthRefusal, Secret};

pub(super) static ROW: Row = Row {
    name: "PLAIN",
    shows_secret: true,
    binds_channel: false,
    needs_certificate: false,
    legacy: false,
    server: Some(|_, _| Box::new(PlainServer::default())),
    client: |credentials, _, _| PlainClient::new(credentials).map(|side| Box::new(side) as _),
};

#[derive(Default)]
struct PlainServer {
    asked: bool,
    shown: Shown,
}

impl ServerSide for PlainServer {
    fn step(&mut self, response: Option<&[u8]>) -> ServerStep {
        match response {
            None if !self.asked => {
                self.asked = true;
                ServerStep::Challenge(Bytes::new())
            }
            Some(message) => match parse(message) {
                Some((authzid, authcid, password)) => self.shown.ask(authzid, authcid, password),
                None => ServerStep::Refuse(AuthRefusal::Malformed),
            },
            None => ServerStep::Refuse(AuthRefusal::Malformed),
        }
    }

    fn resume(&mut self, verdict: Verdict) -> ServerStep {
        self.shown.resume(verdict)
    }
}

/// RFC 4616 §2: `[authzid] NUL authcid NUL passwd`, in UTF-8, and no NUL more.
fn parse(message: &[u8]) -> Option<(Option<&str>, &str, &[u8])> {
    let mut fields = std::str::from_utf8(message).ok()?.split('\0');
    let (authzid, authcid, password) = (fields.next()?, fields.next()?, fields.next()?);
    // An identity is a name, so what no name may hold is refused here as it is there.
    if fields.next().is_some() || authzid.chars().any(char::is_control) {
        return None;
    }
    Some((Some(authzid).filter(|authzid| !authzid.is_empty()), authcid, password.as_bytes()))
}

struct PlainClient {
    message: Secret,
    sent: bool,
}

impl PlainClient {
    fn new(credentials: &Credentials) -> Result<Self, ClientError> {
        let authzid = credentials.authzid.as_deref().unwrap_or_default();
        let authcid = prepare::name(&credentials.authcid).ok_or(ClientError::Unusable)?;
        let password =
            prepare::password(credentials.password("PLAIN")?.expose()).ok_or(ClientError::Unusable)?;
        if authzid.chars().any(char::is_control) {
            return Err(ClientError::Unusable);
        }
        let message = [authzid.as_bytes(), authcid.as_bytes(), password.expose()].join(&0);
        Ok(Self { message: Secret::from(&message[..]), sent: false })
    }
}

impl ClientSide for PlainClient {
    fn initial(&mut self) -> Option<Bytes> {
        self.sent = true;
        Some(Bytes::copy_from_slice(self.message.expose()))
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
    use super::super::{Client, Context, Mechanism, Server, Verify};
    use super::*;

    fn server() -> Server {
        Server::start("PLAIN", &Context::trusted(), [0; 32]).unwrap()
    }

    fn asked(authzid: Option<&str>, authcid: &str, password: &str) -> ServerStep {
        ServerStep::Verify(Verify::Password {
            authzid: authzid.map(str::to_owned),
            authcid: authcid.to_owned(),
            password: password.into(),
            shown: None,
        })
    }

    /// RFC 4616 §2.
    #[test]
    fn what_preparing_changes_is_told_too() {
        for (shown, prepared) in
            [("m²-x", "m2-x"), ("e\u{301}", "é"), ("a\u{a0}b", "a b"), ("I\u{ad}X", "IX")]
        {
            let ServerStep::Verify(Verify::Password { password, shown: told, .. }) =
                server().step(Some(format!("\0tim\0{shown}").as_bytes()))
            else {
                panic!("no password")
            };
            assert_eq!((password, told), (prepared.into(), Some(shown.into())), "{shown}");
        }
    }

    #[test]
    fn asks_about_what_was_shown() {
        // RFC 4616 §4.
        for (message, expected) in [
            ("\0tim\0tanstaaftanstaaf", asked(None, "tim", "tanstaaftanstaaf")),
            ("Ursel\0Kurt\0xipj3plmq", asked(Some("Ursel"), "Kurt", "xipj3plmq")),
            // Not ours to judge.
            ("\0x' OR '1'='1\0p", asked(None, "x' OR '1'='1", "p")),
            ("\0*)(uid=*\0p", asked(None, "*)(uid=*", "p")),
            ("\0../../etc/passwd\0p", asked(None, "../../etc/passwd", "p")),
        ] {
            assert_eq!(server().step(Some(message.as_bytes())), expected);
            let mut late = server();
            assert_eq!(late.step(None), ServerStep::Challenge(Bytes::new()));
            assert_eq!(late.step(Some(message.as_bytes())), expected);
        }
        let mut server = server();
        let _ = server.step(Some(b"\0tim\0x"));
        let ServerStep::Done(identity) = server.resume(Verdict::Accept) else { panic!() };
        assert_eq!((identity.authcid.as_str(), identity.authzid), ("tim", None));
        assert_eq!(server.step(Some(b"\0tim\0x")), ServerStep::Refuse(AuthRefusal::Malformed));
    }

    #[test]
    fn malformed_messages_are_refused() {
        // Too few parts, too many, or none.
        for message in [
            &b""[..],
            b"tim",
            b"\0tim",
            b"\0\0",
            b"\0\0password",
            b"\0tim\0",
            b"a\0b\0c\0d",
            b"\0tim\0pass\0",
            b"\0t\xffm\0password",
            b"\0tim\0\xc3\x28",
            b"\0tim\r\nX-Header: y\0password",
            b"a\r\nb\0tim\0password",
            b"\0tim\0pass\x07word",
        ] {
            let mut server = server();
            assert_eq!(server.step(Some(message)), ServerStep::Refuse(AuthRefusal::Malformed), "{message:?}");
        }
        assert_eq!(server().resume(Verdict::Accept), ServerStep::Refuse(AuthRefusal::Unavailable));
        assert_eq!(Server::start("PLAIN", &Context::plaintext(), [0; 32]).err(), Some(AuthRefusal::NeedsTls));
    }

    #[test]
    fn the_client_says_it_once_and_only_inside_tls() {
        let plain = Mechanism::find("PLAIN").unwrap();
        let credentials = Credentials::new("tim", "tanstaaftanstaaf".into());
        let start = |context: &Context| Client::new(plain, &credentials, context, [0; 32]);
        assert_eq!(start(&Context::plaintext()).err(), Some(ClientError::NeedsTls("PLAIN")));
        assert_eq!(Client::choose(["PLAIN", "LOGIN"], &credentials, &Context::plaintext()), None);

        let mut client = start(&Context::trusted()).unwrap();
        assert_eq!(client.initial().as_deref(), Some(&b"\0tim\0tanstaaftanstaaf"[..]));
        assert_eq!(client.finish(None), Ok(()));
        assert_eq!(client.respond(b""), Err(ClientError::Over));

        let mut client = start(&Context::plaintext().allow_secrets_in_clear()).unwrap();
        assert_eq!(client.finish(None), Err(ClientError::Unproven), "nothing was sent yet");
        assert_eq!(client.respond(b"").as_deref(), Ok(&b"\0tim\0tanstaaftanstaaf"[..]));
        for credentials in [
            Credentials::new("t\0m", "x".into()),
            Credentials::new("tim", "".into()),
            Credentials::new("tim", "x".into()).acting_as("a\0b"),
        ] {
            let client = Client::new(plain, &credentials, &Context::trusted(), [0; 32]);
            assert_eq!(client.err(), Some(ClientError::Unusable));
        }
    }
}
