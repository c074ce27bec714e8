//! An account elsewhere.

use std::{fmt, net::SocketAddr, str::FromStr, time::Duration};

use mailwright_line_proto::{Secret, sasl::Credentials};
use mailwright_mail_model::MailboxName;
use mailwright_mailstore::User;
use thiserror::Error;

use super::{FetchError, FetchToken};

/// An account on another server, and whose mailbox here its mail goes to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FetchAccount {
    /// Names the account in the ledger, for as long as it exists.
    pub id: u64,
    /// Who gets the mail.
    pub user: User,
    /// What the server speaks.
    pub protocol: FetchProtocol,
    /// Its name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Where it is, if not where its name leads.
    pub address: Option<SocketAddr>,
    /// The user's name there.
    pub login: String,
    /// The user's password there.
    pub password: Secret,
    /// Where the access token is that is shown in place of the password (OAUTHBEARER or XOAUTH2), if there is one.
    pub token: Option<FetchToken>,
    /// What becomes of messages that are here.
    pub policy: FetchPolicy,
    /// The mailbox that is fetched from; IMAP only.
    pub folder: MailboxName,
    /// Whether all mailboxes are fetched from instead: that of INBOX goes the way of all mail, and that of each other one into the
    /// mailbox of its name here, which is made if need be, with its flags and past all filters; IMAP only.
    pub all_folders: bool,
    /// How often to look.
    pub poll: Duration,
    /// Whether to wait for news in between, where the server tells them (RFC 2177); IMAP only.
    pub push: bool,
    /// Whether the password may be sent without TLS.
    pub in_clear: bool,
}

impl FetchAccount {
    /// An account whose messages stay there, looked at every five minutes and at news.
    pub fn new(
        id: u64,
        user: User,
        protocol: FetchProtocol,
        host: impl Into<String>,
        login: impl Into<String>,
        password: Secret,
    ) -> Self {
        Self {
            id,
            user,
            protocol,
            host: host.into(),
            port: protocol.default_port(),
            address: None,
            login: login.into(),
            password,
            token: None,
            policy: FetchPolicy::Keep,
            folder: MailboxName::inbox(),
            all_folders: false,
            poll: Duration::from_secs(300),
            push: true,
            in_clear: false,
        }
    }
}

impl FetchAccount {
    /// What is shown at the login; `None` if it is the password.
    pub(super) async fn bearer(&self) -> Result<Option<Credentials>, FetchError> {
        let Some(token) = &self.token else { return Ok(None) };
        Ok(Some(Credentials::bearer(&self.login, token.have().await?)))
    }
}

/// What a server speaks, and when TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FetchProtocol {
    /// POP3 with STLS.
    Pop3,
    /// POP3 in TLS from the beginning.
    Pop3s,
    /// IMAP with STARTTLS.
    Imap,
    /// IMAP in TLS from the beginning.
    Imaps,
}

const NAMES: [(FetchProtocol, &str, u16); 4] = [
    (FetchProtocol::Pop3, "pop3", 110),
    (FetchProtocol::Pop3s, "pop3s", 995),
    (FetchProtocol::Imap, "imap", 143),
    (FetchProtocol::Imaps, "imaps", 993),
];

impl FetchProtocol {
    /// Its name, as in a URL.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(protocol, ..)| *protocol == self).map_or("", |(_, name, _)| name)
    }

    /// Its port, if nothing else is said.
    pub fn default_port(self) -> u16 {
        NAMES.iter().find(|(protocol, ..)| *protocol == self).map_or(0, |(.., port)| *port)
    }

    /// Whether it is POP3.
    pub const fn is_pop3(self) -> bool {
        matches!(self, Self::Pop3 | Self::Pop3s)
    }

    /// Whether TLS is there from the beginning (RFC 8314 §3).
    pub const fn is_implicit(self) -> bool {
        matches!(self, Self::Pop3s | Self::Imaps)
    }
}

impl fmt::Display for FetchProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No protocol that mail is fetched by.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected pop3, pop3s, imap or imaps, got {0:?}")]
pub struct UnknownProtocol(String);

impl FromStr for FetchProtocol {
    type Err = UnknownProtocol;

    fn from_str(text: &str) -> Result<Self, UnknownProtocol> {
        let found = NAMES.iter().find(|(_, name, _)| name.eq_ignore_ascii_case(text));
        found.map(|(protocol, ..)| *protocol).ok_or_else(|| UnknownProtocol(text.to_owned()))
    }
}

/// What becomes of messages on the other server once they are here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchPolicy {
    /// They stay.
    Keep,
    /// They are deleted.
    Delete,
    /// They are deleted when they have been here for so long.
    DeleteAfter(Duration),
}

impl FetchPolicy {
    /// Whether a message goes that is here since a moment.
    pub(super) fn deletes(self, delivered: u64, now: u64) -> bool {
        match self {
            Self::Keep => false,
            Self::Delete => true,
            Self::DeleteAfter(time) => now >= delivered.saturating_add(time.as_secs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ports_are_those_of_iana() {
        for (text, port) in [("pop3", 110), ("POP3S", 995), ("imap", 143), ("imaps", 993)] {
            let protocol: FetchProtocol = text.parse().unwrap();
            assert_eq!((protocol.name(), protocol.default_port()), (&*text.to_lowercase(), port));
        }
        assert!("smtp".parse::<FetchProtocol>().is_err());
    }

    #[test]
    fn a_message_goes_when_its_time_is_over() {
        let week = FetchPolicy::DeleteAfter(Duration::from_secs(7 * 86_400));
        assert!(!week.deletes(1_000, 1_000 + 7 * 86_400 - 1));
        assert!(week.deletes(1_000, 1_000 + 7 * 86_400));
        assert!(FetchPolicy::Delete.deletes(1, 1) && !FetchPolicy::Keep.deletes(0, u64::MAX));
    }
}
