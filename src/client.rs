//! Clients: the protocol machines on a socket, in sequential style.
//!
//! Each is a thin layer over its machine. Bodies are streamed both ways, one thing is done at a time, and a server's
//! refusal comes back as the protocol's own type in [`ClientError::Refused`].
//!
//! Logins begin with the strongest mechanism that both sides know. Servers may offer what they cannot do for an account,
//! so what follows is up to the refusal ([`sasl::Attempts`]): the next mechanism if it is about the mechanism, or came
//! before there was a proof of the password to look at; the password itself, once and only inside TLS, if a proof was
//! refused; else nothing. Four mechanisms are tried at most, and none that the endpoint and the configuration do not allow.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use mailwright::{
//!     client::{Endpoint, Security, SmtpClient, system_roots},
//!     line_proto::{Secret, tls},
//!     smtp_proto::{Mail, Message, Rcpt, client::Config},
//! };
//!
//! # async fn example(mail: Mail, rcpt: Rcpt) -> Result<(), Box<dyn std::error::Error>> {
//! let security = Security::Starttls(Arc::new(tls::client_config(system_roots()?)?));
//! let endpoint = Endpoint::new("mail.example.org", 587, security);
//! let mut client = SmtpClient::connect(&endpoint, "laptop.example.org".parse()?, Arc::new(Config::default())).await?;
//! client.login("ann", &Secret::from("correct horse")).await?;
//! let replies = client.send(Message::new(mail, vec![rcpt]), b"Subject: hello\r\n\r\nHello.\r\n").await?;
//! assert!(replies.iter().all(|reply| reply.is_positive()));
//! client.quit().await?;
//! # Ok(()) }
//! ```

/// Calls, and passes over events up to the one that answers the call.
macro_rules! answer {
    ($link:expr, $kind:ident, $request:expr) => {{
        let ticket = $link.machine().call($request)?;
        loop {
            if let Event::$kind(answered, answer) = $link.next().await?
                && answered == ticket
            {
                break answer;
            }
        }
    }};
}

/// Goes through the SASL exchanges of a login, up to the one that the server accepts, telling `note` of events that are no
/// part of them: the login, and what came with its acceptance.
macro_rules! exchange {
    ($link:expr, $attempts:expr, $note:expr) => {
        loop {
            let mut login = $attempts.begin()?;
            let request = Authenticate::new(login.mechanism(), login.initial());
            let ticket = $link.machine().call(request).map_err(ClientError::from)?;
            let outcome = loop {
                match $link.next().await.map_err(|error| $attempts.cut_short(error))? {
                    Event::Challenge(_, challenge) => match login.respond(&challenge) {
                        Some(response) => {
                            let response = Authenticate::new(login.mechanism(), Some(response));
                            $link.machine().call(response).map_err(ClientError::from)?;
                        }
                        None => $link.machine().cancel(ticket),
                    },
                    Event::Authenticate(_, outcome) => break outcome.map_err(Refusal::from),
                    other => $note(other),
                }
            };
            match outcome {
                Ok(last) => break (login, last),
                Err(refusal) => $attempts.refused(login, refusal),
            }
        }
    };
}

pub mod imap;
pub mod managesieve;
pub mod pop3;

mod connect;
mod link;
mod login;
mod smtp;
mod trust;

use std::{fmt, io};

use mailwright_imap_proto::response::ResponseCode as ImapCode;
use mailwright_line_proto::{Closed, Deadline, Misuse, sasl};
use mailwright_pop3_proto::ResponseCode as Pop3Code;
use mailwright_sieve::managesieve::ResponseCode as SieveCode;
use thiserror::Error;

pub use connect::{Endpoint, Security};
pub(crate) use imap::Wanted;
pub use imap::{FetchingBody, ImapClient, Replica, SyncMethod, Synced};
pub use managesieve::ManageSieveClient;
pub use pop3::Pop3Client;
pub(crate) use smtp::{NotOpened, Sent};
pub use smtp::{Sending, SmtpClient, TurnedClient};
pub use trust::system_roots;

/// Why a client could not do what it was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The socket failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// The source or the sink of a body failed. A body that was being sent takes the connection with it; one that was
    /// being read is passed over by the next call.
    #[error("the body could not be read or written: {0}")]
    Body(io::Error),
    /// The server said no. The connection goes on.
    #[error("the server refused: {0}")]
    Refused(Refusal),
    /// The connection is over. Whether an unanswered call was carried out is not known.
    #[error("the connection is over: {}", Reason(.0))]
    Closed(Closed),
    /// The server gave another message than the one that was asked for, and what came is that one's. The connection goes on.
    #[error("the server gave another message than the one that was asked for")]
    AnotherMessage,
    /// A response that is part of the answer cannot be read, or is over the limits: this is how it began. What the server did is done, but
    /// what it said of it has not come as a whole. The connection goes on.
    #[error("part of the server's answer cannot be read: {0}")]
    Unreadable(String),
    /// The server tells of fewer messages than it says that there are, when it is asked for all of them. The connection goes on.
    #[error("the server says that there are {exists} messages, and tells of {told}")]
    MessagesMissing {
        /// How many it tells of.
        told: u64,
        /// How many there are.
        exists: u32,
    },
    /// The call cannot be made: not now, not with these arguments, or not with this server.
    #[error("{0}")]
    Misuse(#[from] Misuse),
    /// There was no login that may be used or believed.
    #[error("login: {0}")]
    Auth(#[from] AuthError),
}

impl ClientError {
    /// Whether the same may succeed later without anybody's doing.
    ///
    /// A broken connection counts, a server that breaks the protocol does not, and of a refusal the codes tell: 4yz,
    /// `[UNAVAILABLE]`, `[INUSE]`, `[SYS/TEMP]`, `[IN-USE]`, `[LOGIN-DELAY]`.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Io(_) => true,
            Self::Closed(why) => {
                matches!(why, Closed::Eof | Closed::TimedOut(_) | Closed::Refused(_) | Closed::Farewell)
            }
            Self::Refused(refusal) => refusal.is_temporary(),
            Self::Body(_)
            | Self::AnotherMessage
            | Self::Unreadable(_)
            | Self::MessagesMissing { .. }
            | Self::Misuse(_)
            | Self::Auth(_) => false,
        }
    }
}

impl<R: Into<Refusal>> From<R> for ClientError {
    fn from(refusal: R) -> Self {
        Self::Refused(refusal.into())
    }
}

/// A server's refusal, as its protocol has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// A reply of 4yz or 5yz.
    Smtp(mailwright_smtp_proto::Reply),
    /// `-ERR`.
    Pop3(mailwright_pop3_proto::Refusal),
    /// `NO` or `BAD`.
    Imap(Box<mailwright_imap_proto::client::Refused>),
    /// `NO` or `BYE` of ManageSieve.
    ManageSieve(mailwright_sieve::managesieve::Refusal),
}

impl Refusal {
    fn is_temporary(&self) -> bool {
        match self {
            Self::Smtp(reply) => reply.is_transient(),
            Self::Pop3(refusal) => {
                matches!(refusal.code(), Some(Pop3Code::InUse | Pop3Code::LoginDelay | Pop3Code::SysTemp))
            }
            Self::ManageSieve(refusal) => refusal.code() == Some(&SieveCode::TryLater),
            Self::Imap(refused) => {
                matches!(refused.0.code, Some(ImapCode::Unavailable | ImapCode::InUse))
            }
        }
    }
}

impl From<mailwright_smtp_proto::Reply> for Refusal {
    fn from(reply: mailwright_smtp_proto::Reply) -> Self {
        Self::Smtp(reply)
    }
}

impl From<mailwright_pop3_proto::Refusal> for Refusal {
    fn from(refusal: mailwright_pop3_proto::Refusal) -> Self {
        Self::Pop3(refusal)
    }
}

impl From<mailwright_sieve::managesieve::Refusal> for Refusal {
    fn from(refusal: mailwright_sieve::managesieve::Refusal) -> Self {
        Self::ManageSieve(refusal)
    }
}

impl From<mailwright_imap_proto::client::Refused> for Refusal {
    fn from(refused: mailwright_imap_proto::client::Refused) -> Self {
        Self::Imap(Box::new(refused))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Smtp(reply) => formatter.write_str(reply.to_string().trim_end()),
            Self::Pop3(refusal) => refusal.fmt(formatter),
            Self::Imap(refused) => refused.fmt(formatter),
            Self::ManageSieve(refusal) => refusal.fmt(formatter),
        }
    }
}

/// Why a login was given up, other than by the server's refusal.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The server offers nothing that may be used on this connection and with these credentials. Without TLS, what
    /// shows the password may not, unless the configuration allows it.
    #[error("none of the mechanisms that the server offers can be used here: {}", shown_offer(.offered))]
    NoMechanism {
        /// What it does offer.
        offered: Vec<String>,
    },
    /// The exchange went wrong, or the server did not prove what it had to: it may be somebody else.
    #[error("{0}")]
    Exchange(#[from] sasl::ClientError),
}

/// The mechanisms of a server that has none for us, and what may be done about it.
fn shown_offer(offered: &[String]) -> String {
    let shows = |name: &String| name.eq_ignore_ascii_case("PLAIN") || name.eq_ignore_ascii_case("LOGIN");
    match offered {
        [] => "it offers none".to_owned(),
        _ if offered.iter().any(shows) => {
            format!(
                "{} (without TLS, passwords are shown to nobody unless `allow_plaintext_auth` is set)",
                offered.join(" ")
            )
        }
        _ => offered.join(" "),
    }
}

/// Says why a connection is over, for people.
struct Reason<'a>(&'a Closed);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Closed::Farewell => formatter.write_str("both sides took leave"),
            Closed::Eof => formatter.write_str("the server ended it"),
            Closed::TimedOut(Deadline::Write) => formatter.write_str("the server took nothing any more"),
            Closed::TimedOut(Deadline::Tls) => formatter.write_str("the TLS handshake took too long"),
            Closed::TimedOut(_) => formatter.write_str("the server did not answer in time"),
            Closed::Misbehaved(how) => how.fmt(formatter),
            Closed::Shutdown(_) => formatter.write_str("it was given up"),
            Closed::Misuse(misuse) => misuse.fmt(formatter),
            Closed::Refused(text) => write!(formatter, "the server said: {text}"),
            other => write!(formatter, "{other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use mailwright_imap_proto::{client::Refused, response::Status};
    use mailwright_line_proto::PeerMisbehaved;
    use mailwright_smtp_proto::Reply;

    use super::*;

    #[test]
    fn tells_what_may_pass_from_what_will_not() {
        let imap = |code| ClientError::from(Refused(Status::no("x").with(code)));
        let broken = PeerMisbehaved::PlaintextBehindTls;
        for (error, temporary, text) in [
            (Reply::transient((2, 0), "later").into(), true, "the server refused: 450 4.2.0 later"),
            (Reply::permanent((1, 1), "no").into(), false, "the server refused: 550 5.1.1 no"),
            (mailwright_pop3_proto::Refusal::temporary().into(), true, "SYS/TEMP"),
            (mailwright_pop3_proto::Refusal::permanent().into(), false, "SYS/PERM"),
            (imap(ImapCode::InUse), true, "NO x"),
            (imap(ImapCode::TryCreate), false, "NO x"),
            (ClientError::Closed(Closed::Eof), true, "the server ended it"),
            (ClientError::Closed(Closed::Misbehaved(broken)), false, "octets behind the command"),
            (Misuse::Closed.into(), false, "closed"),
            (AuthError::NoMechanism { offered: Vec::new() }.into(), false, "it offers none"),
            (
                AuthError::NoMechanism { offered: vec!["PLAIN".into()] }.into(),
                false,
                "`allow_plaintext_auth`",
            ),
            (AuthError::NoMechanism { offered: vec!["GSSAPI".into()] }.into(), false, "here: GSSAPI"),
        ] {
            assert_eq!(error.is_temporary(), temporary, "{error}");
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}
