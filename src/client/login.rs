//! Logins: one exchange after the other, as the server's refusals leave it.

use mailwright_imap_proto::response::{ResponseCode as ImapCode, StatusKind};
use mailwright_line_proto::{
    Secret,
    sasl::{self, About, Context, Credentials},
};
use mailwright_pop3_proto::ResponseCode as Pop3Code;
use mailwright_sieve::managesieve::ResponseCode as SieveCode;
use mailwright_smtp_proto::Reply;

use super::{AuthError, ClientError, Refusal};
use crate::service::entropy;

/// The exchanges of one login.
pub(super) struct Attempts {
    mechanisms: sasl::Attempts,
    offered: Vec<String>,
    /// What became of the last.
    failure: Option<ClientError>,
}

/// Why no exchange logged in.
pub(super) struct NoLogin {
    pub(super) error: ClientError,
    /// Whether the password may still be tried by other means than SASL.
    pub(super) is_open: bool,
}

/// A SASL exchange under way.
pub(super) struct Login {
    exchange: sasl::Client,
    failure: Option<sasl::ClientError>,
}

impl Attempts {
    pub(super) fn new(offered: Vec<String>, credentials: &Credentials, context: &Context) -> Self {
        let mechanisms = sasl::Attempts::new(offered.iter().map(String::as_str), credentials, context);
        Self { mechanisms, offered, failure: None }
    }

    /// Begins the next exchange, or says what became of the last if there is none.
    pub(super) fn begin(&mut self) -> Result<Login, NoLogin> {
        let exchange = self.mechanisms.begin(entropy().map_err(ClientError::from)?);
        match exchange {
            Some(exchange) => Ok(Login {
                exchange: exchange.map_err(|error| ClientError::from(AuthError::from(error)))?,
                failure: None,
            }),
            None => {
                let offered = std::mem::take(&mut self.offered);
                let error = self.failure.take().unwrap_or_else(|| AuthError::NoMechanism { offered }.into());
                Err(NoLogin { error, is_open: self.mechanisms.is_open() })
            }
        }
    }

    /// Takes note that the server has refused.
    pub(super) fn refused(&mut self, login: Login, refusal: Refusal) {
        let about = match &login.failure {
            None => about(&refusal),
            Some(failure) => about_failure(failure),
        };
        self.mechanisms.refused(&login.exchange, about);
        self.failure = Some(match login.failure {
            // What was wrong with the challenge says more than the refusal of our cancelling.
            Some(failure) => AuthError::from(failure).into(),
            None => refusal.into(),
        });
    }

    /// What is said of a connection that ended in the middle: why the login was refused, if it was before.
    pub(super) fn cut_short(&mut self, error: ClientError) -> NoLogin {
        NoLogin::from(self.failure.take().unwrap_or(error))
    }
}

impl NoLogin {
    /// What is said if the other means failed as well. That they could not be used, or that the server had enough, says
    /// less than the refusal.
    pub(super) fn and_then(self, error: ClientError) -> ClientError {
        match (&self.error, &error) {
            (ClientError::Auth(AuthError::NoMechanism { .. }), _) | (_, ClientError::Refused(_)) => error,
            _ => self.error,
        }
    }
}

impl From<ClientError> for NoLogin {
    fn from(error: ClientError) -> Self {
        Self { error, is_open: false }
    }
}

impl Login {
    /// The mechanism's name.
    pub(super) fn mechanism(&self) -> String {
        self.exchange.mechanism().name().to_owned()
    }

    /// What is sent with the command.
    pub(super) fn initial(&mut self) -> Option<Secret> {
        self.exchange.initial().map(|response| Secret::from(&response[..]))
    }

    /// The response to a challenge; `None` if the exchange is to be cancelled.
    pub(super) fn respond(&mut self, challenge: &[u8]) -> Option<Secret> {
        match self.exchange.respond(challenge) {
            Ok(response) => Some(Secret::from(&response[..])),
            Err(failure) => {
                self.failure = Some(failure);
                None
            }
        }
    }

    /// Whether the server's acceptance may be believed, which may bear what it had still to say.
    pub(super) fn finish(self, last: Option<&[u8]>) -> Result<(), AuthError> {
        let Self { mut exchange, failure } = self;
        Ok(failure.map_or_else(|| exchange.finish(last), Err)?)
    }
}

/// What a refusal of a login is about, by the codes of its protocol.
fn about(refusal: &Refusal) -> About {
    match refusal {
        Refusal::Smtp(reply) => about_reply(reply),
        Refusal::Imap(refused) => match (&refused.0.code, refused.0.kind) {
            // RFC 5530 §3. RFC 9051 §6.2.2: BAD is for commands that are not known.
            (Some(ImapCode::Cannot), _) | (None, StatusKind::Bad) => About::Mechanism,
            (None | Some(ImapCode::AuthenticationFailed), _) => About::Credentials,
            _ => About::Account,
        },
        // RFC 3206 §5; there is no code for mechanisms.
        Refusal::Pop3(refusal) => match refusal.code() {
            None | Some(Pop3Code::Auth | Pop3Code::Other(_)) => About::Credentials,
            _ => About::Account,
        },
        // RFC 5804 §1.3
        Refusal::ManageSieve(refusal) => match refusal.code() {
            Some(SieveCode::AuthTooWeak) => About::Mechanism,
            Some(SieveCode::TransitionNeeded) => About::Keys,
            None | Some(SieveCode::Other(_)) => About::Credentials,
            _ => About::Account,
        },
    }
}

/// RFC 4954 §6, and the codes that servers had before it.
fn about_reply(reply: &Reply) -> About {
    match (reply.code(), reply.enhanced()) {
        (432, _) | (_, Some((4, 7, 12))) => About::Keys,
        (504 | 534, _) | (_, Some((5, 7, 9))) => About::Mechanism,
        // RFC 5248 §2.4, and the registry it founded: the account is disabled, or not for this host.
        (_, Some((5, 7, 13 | 14))) => About::Account,
        (500 | 501 | 535 | 550 | 554, _) => About::Credentials,
        _ => About::Account,
    }
}

/// What the server says within an exchange (RFC 5802 §7).
fn about_failure(failure: &sasl::ClientError) -> About {
    match failure {
        sasl::ClientError::Refused(error) => match error.as_str() {
            "unsupported-channel-binding-type"
            | "channel-binding-not-supported"
            | "extensions-not-supported" => About::Mechanism,
            "invalid-proof" | "unknown-user" | "other-error" => About::Credentials,
            _ => About::Account,
        },
        // Whoever this is, it is not asked again.
        _ => About::Account,
    }
}

#[cfg(test)]
mod tests {
    use mailwright_imap_proto::{client::Refused, response::Status};
    use mailwright_pop3_proto::Refusal as Pop3Refusal;
    use mailwright_sieve::managesieve::Refusal as SieveRefusal;

    use super::*;

    #[test]
    fn codes_tell_what_a_refusal_is_about() {
        let smtp = |text: &str| Refusal::from(Reply::parse(text.as_bytes()).unwrap());
        let imap = |code: Option<ImapCode>| {
            let status = Status::no("x");
            Refusal::from(Refused(match code {
                Some(code) => status.with(code),
                None => status,
            }))
        };
        let sieve = |code| Refusal::from(SieveRefusal::new(code, "x"));
        for (refusal, expected) in [
            (smtp("504 5.5.4 what?\r\n"), About::Mechanism),
            (smtp("534 5.7.9 too weak\r\n"), About::Mechanism),
            (smtp("535 5.7.9 too weak\r\n"), About::Mechanism),
            (smtp("432 4.7.12 transition\r\n"), About::Keys),
            (smtp("535 5.7.8 no\r\n"), About::Credentials),
            (smtp("535 no\r\n"), About::Credentials),
            (smtp("535 5.7.13 disabled\r\n"), About::Account),
            (smtp("454 4.7.0 later\r\n"), About::Account),
            (smtp("538 5.7.11 encrypt\r\n"), About::Account),
            (imap(None), About::Credentials),
            (imap(Some(ImapCode::AuthenticationFailed)), About::Credentials),
            (imap(Some(ImapCode::Cannot)), About::Mechanism),
            (imap(Some(ImapCode::Unavailable)), About::Account),
            (imap(Some(ImapCode::Expired)), About::Account),
            (Refused(Status::bad("what?")).into(), About::Mechanism),
            (Pop3Refusal::temporary().into(), About::Account),
            (Pop3Refusal::permanent().into(), About::Account),
            (sieve(None), About::Credentials),
            (sieve(Some(SieveCode::AuthTooWeak)), About::Mechanism),
            (sieve(Some(SieveCode::TransitionNeeded)), About::Keys),
            (sieve(Some(SieveCode::EncryptNeeded)), About::Account),
            (sieve(Some(SieveCode::TryLater)), About::Account),
        ] {
            assert_eq!(about(&refusal), expected, "{refusal}");
        }
        let within = |error: &str| about_failure(&sasl::ClientError::Refused(error.to_owned()));
        assert_eq!(within("unsupported-channel-binding-type"), About::Mechanism);
        assert_eq!(within("unknown-user"), About::Credentials);
        // RFC 5802 §6: somebody has taken the -PLUS from what the server offers.
        assert_eq!(within("server-does-support-channel-binding"), About::Account);
        assert_eq!(about_failure(&sasl::ClientError::Nonce), About::Account);
    }
}
