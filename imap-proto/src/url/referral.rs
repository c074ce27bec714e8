//! URLs of servers and of mailboxes (RFC 2192), as referrals name them (RFC 2221, RFC 2193).

use std::{fmt, str::FromStr};

use mailwright_mail_model::MailboxName;

use super::{MAX_OCTETS, UrlError, percent_decoded};

/// Where a user's mail is, or a mailbox: a server, and how to log in there.
///
/// ```
/// use mailwright_imap_proto::Referral;
///
/// let referral: Referral = "IMAP://user;AUTH=*@server2.example/SHARED/FOO".parse()?;
/// assert_eq!((referral.user.as_deref(), referral.mechanism.as_deref()), (Some("user"), Some("*")));
/// assert_eq!((referral.host.as_str(), referral.port), ("server2.example", None));
/// assert_eq!(referral.mailbox.as_ref().map(|name| name.as_str()), Some("SHARED/FOO"));
/// assert_eq!(referral.to_string(), "imap://user;AUTH=*@server2.example/SHARED/FOO");
/// # Ok::<(), mailwright_imap_proto::UrlError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Referral {
    /// Who is to log in; `None` if that is not said.
    pub user: Option<String>,
    /// The SASL mechanism to log in with, or `*` for whichever is fit (RFC 2192 §3).
    pub mechanism: Option<String>,
    /// The name or address of the server.
    pub host: String,
    /// Its port, if it is not the usual one.
    pub port: Option<u16>,
    /// The mailbox; `None` if all that the user has is meant.
    pub mailbox: Option<MailboxName>,
}

impl Referral {
    /// All the mail of a user on a server, who may log in by any mechanism that is fit: without a word about that, clients would come
    /// as nobody (RFC 2193 §4).
    pub fn new(user: impl Into<String>, host: impl Into<String>) -> Self {
        Self {
            user: Some(user.into()),
            mechanism: Some("*".into()),
            host: host.into(),
            port: None,
            mailbox: None,
        }
    }

    /// A mailbox there.
    #[must_use]
    pub fn of_mailbox(self, mailbox: MailboxName) -> Self {
        Self { mailbox: Some(mailbox), ..self }
    }

    fn read(text: &str) -> Option<Self> {
        let scheme = text.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("imap://"));
        let rest = scheme.and_then(|_| text.get(7..)).filter(|_| text.len() <= MAX_OCTETS)?;
        let (server, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
        let (login, host) = match server.rsplit_once('@') {
            Some((login, host)) => (Some(login), host),
            None => (None, server),
        };
        let (mut user, mut mechanism) = (None, None);
        for (index, piece) in login.iter().flat_map(|login| login.split(';')).enumerate() {
            let auth = piece.get(..5).filter(|word| word.eq_ignore_ascii_case("AUTH="));
            match auth.and_then(|_| piece.get(5..)) {
                Some(value) => mechanism = Some(percent_decoded(value).filter(|value| !value.is_empty())?),
                None if index == 0 => user = Some(percent_decoded(piece)?).filter(|user| !user.is_empty()),
                None => return None,
            }
        }
        // An address of IPv6 is in brackets, and has colons within.
        let (name, port) = match host.rsplit_once(':').filter(|(_, behind)| !behind.ends_with(']')) {
            Some((name, port)) => (name, Some(port.parse().ok()?)),
            None => (host, None),
        };
        let fits = |octet: u8| octet.is_ascii_alphanumeric() || b"-._:[]".contains(&octet);
        if name.is_empty() || !name.bytes().all(fits) {
            return None;
        }
        let path = path.strip_prefix('/').unwrap_or(path);
        // What stands behind is about messages, not about mailboxes.
        let path = path.split([';', '?']).next().unwrap_or_default();
        let mailbox = match path.strip_suffix('/').unwrap_or(path) {
            "" => None,
            path => Some(MailboxName::lookup(&percent_decoded(path)?).ok()?),
        };
        Some(Self { user, mechanism, host: name.to_ascii_lowercase(), port, mailbox })
    }
}

impl FromStr for Referral {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        Self::read(text).ok_or(UrlError)
    }
}

impl fmt::Display for Referral {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("imap://")?;
        if let Some(user) = &self.user {
            encoded(user, b"", formatter)?;
        }
        if let Some(mechanism) = &self.mechanism {
            formatter.write_str(";AUTH=")?;
            encoded(mechanism, b"*", formatter)?;
        }
        if self.user.is_some() || self.mechanism.is_some() {
            formatter.write_str("@")?;
        }
        // Nothing but what hosts are called, whatever the application says.
        let fits = |letter: &char| letter.is_ascii_alphanumeric() || "-._:[]".contains(*letter);
        formatter.write_str(&self.host.chars().filter(fits).collect::<String>())?;
        if let Some(port) = self.port {
            write!(formatter, ":{port}")?;
        }
        formatter.write_str("/")?;
        // RFC 2192 §5: UTF-8 and not the encoding of IMAP4rev1.
        self.mailbox.as_ref().map_or(Ok(()), |mailbox| encoded(mailbox.as_str(), b"/", formatter))
    }
}

/// With everything encoded that is not surely plain.
fn encoded(text: &str, plain: &[u8], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    text.bytes().try_for_each(|octet| {
        if octet.is_ascii_alphanumeric() || b"-._".contains(&octet) || plain.contains(&octet) {
            write!(formatter, "{}", char::from(octet))
        } else {
            write!(formatter, "%{octet:02X}")
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn those_of_the_rfcs_are_read() {
        for (text, written) in [
            ("IMAP://MIKE@SERVER2/", "imap://MIKE@server2/"),
            ("IMAP://user;AUTH=GSSAPI@SERVER2/", "imap://user;AUTH=GSSAPI@server2/"),
            ("IMAP://user;AUTH=*@SERVER2/SHARED/FOO", "imap://user;AUTH=*@server2/SHARED/FOO"),
            ("imap://host", "imap://host/"),
            ("imap://;AUTH=*@host:1143/a%20b/%C3%A9", "imap://;AUTH=*@host:1143/a%20b/%C3%A9"),
            (
                "imap://joe%40a.example@[::1]:143/INBOX;UIDVALIDITY=3",
                "imap://joe%40a.example@[::1]:143/INBOX",
            ),
            ("imap://[::1]/", "imap://[::1]/"),
        ] {
            assert_eq!(text.parse::<Referral>().unwrap().to_string(), written, "{text}");
        }
        for text in [
            "",
            "imap://",
            "imap:///x",
            "http://a/",
            "imap://a:x/",
            "imap://a b/",
            "imap://a;b@c/",
            "imap://u@h/%zz",
        ] {
            assert_eq!(text.parse::<Referral>(), Err(UrlError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            user in prop::option::of("[ -~é]{1,9}"),
            host in "[a-z]{1,5}\\.example",
            port in prop::option::of(1_u16..),
            mailbox in prop::option::of("[a-zé ;?@]{1,5}(/[a-z%]{1,3})?"),
        ) {
            let mailbox = mailbox.and_then(|name| MailboxName::lookup(&name).ok());
            let mechanism = user.is_some().then(|| "*".to_owned());
            let referral = Referral { user, mechanism, host, port, mailbox };
            prop_assert_eq!(referral.to_string().parse(), Ok(referral));
        }
    }
}
