//! URLs of messages and of parts of messages (RFC 5092), as CATENATE and URLAUTH take them.

mod authorized;
mod referral;

use mailwright_mail_model::{MailboxName, Uid, UidValidity};
use thiserror::Error;

pub use authorized::{AuthorizedUrl, UrlAccess, UrlToken};
pub use referral::Referral;

use crate::{command::Section, grammar::Input};

/// The longest URL that is looked at, in octets.
const MAX_OCTETS: usize = 8_192;

/// A URL of a message or of a part of one.
///
/// ```
/// use mailwright_imap_proto::ImapUrl;
///
/// let url: ImapUrl = "/Drafts;UIDVALIDITY=385759045/;UID=20/;section=1.MIME;PARTIAL=0.100".parse()?;
/// assert_eq!(url.mailbox.unwrap().as_str(), "Drafts");
/// assert_eq!(url.uid.get(), 20);
/// assert_eq!(url.partial, Some((0, Some(100))));
/// # Ok::<(), mailwright_imap_proto::UrlError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImapUrl {
    /// The user and the host with its port, of an absolute URL.
    pub server: Option<(String, String)>,
    /// The mailbox; `None` if it is the selected one.
    pub mailbox: Option<MailboxName>,
    /// What the UID is valid with.
    pub uid_validity: Option<UidValidity>,
    /// The message.
    pub uid: Uid,
    /// The part; the whole message if `None`.
    pub section: Option<Section>,
    /// From which octet on, and how many: all to the end if `None` (RFC 5550 §4.2).
    pub partial: Option<(u64, Option<u64>)>,
}

/// Why a text is not an [`ImapUrl`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected the URL of a message, such as /INBOX/;UID=20/;SECTION=1.2")]
#[non_exhaustive]
pub struct UrlError;

impl std::str::FromStr for ImapUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        Self::read(text).ok_or(UrlError)
    }
}

impl ImapUrl {
    fn read(text: &str) -> Option<Self> {
        if text.len() > MAX_OCTETS {
            return None;
        }
        let (server, path) = authority(text)?;
        let (mailbox, mut rest) = path.split_at_checked(path.find(';').unwrap_or(path.len()))?;
        let mailbox = mailbox.strip_prefix('/').unwrap_or(mailbox);
        let mailbox = mailbox.strip_suffix('/').unwrap_or(mailbox);
        let mailbox = match mailbox {
            "" if server.is_some() => return None,
            "" => None,
            // RFC 5092 §5: UTF-8 and not the encoding of IMAP4rev1.
            name => Some(MailboxName::lookup(&percent_decoded(name)?).ok()?),
        };
        let (mut uid_validity, mut uid, mut section, mut partial) = (None, None, None, None);
        while let Some(parameter) = rest.strip_prefix(';') {
            let (parameter, behind) =
                parameter.split_at_checked(parameter.find(';').unwrap_or(parameter.len()))?;
            rest = behind;
            let (name, value) = parameter.split_once('=')?;
            let value = value.strip_suffix('/').unwrap_or(value);
            match name.to_ascii_uppercase().as_str() {
                "UIDVALIDITY" if uid.is_none() && uid_validity.is_none() => {
                    uid_validity = Some(UidValidity::new(number(value)?.try_into().ok()?)?);
                }
                "UID" if uid.is_none() => uid = Some(Uid::new(number(value)?.try_into().ok()?)?),
                "SECTION" if uid.is_some() && section.is_none() && partial.is_none() => {
                    let text = format!("[{}]", percent_decoded(value)?);
                    let mut input = Input::new(text.as_bytes());
                    section = Some(Section::parse(&mut input).ok().filter(|_| input.is_empty())?);
                }
                "PARTIAL" if uid.is_some() && partial.is_none() => {
                    partial = Some(match value.split_once('.') {
                        Some((offset, length)) => (number(offset)?, Some(number(length)?)),
                        None => (number(value)?, None),
                    });
                }
                _ => return None,
            }
        }
        let uid = uid.filter(|_| rest.is_empty())?;
        Some(Self { server, mailbox, uid_validity, uid, section, partial })
    }
}

type Authority = Option<(String, String)>;

fn authority(text: &str) -> Option<(Authority, &str)> {
    let scheme = text.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("imap://"));
    let Some(rest) = scheme.and_then(|_| text.get(7..)) else { return Some((None, text)) };
    let (server, path) = rest.split_at_checked(rest.find('/')?)?;
    let (user, host) = server.rsplit_once('@').unwrap_or(("", server));
    // RFC 5092 §3.2: how to log in is no matter of this server's.
    let user = user.split(';').next().unwrap_or_default();
    (!host.is_empty()).then(|| Some((Some((percent_decoded(user)?, host.to_ascii_lowercase())), path)))?
}

fn number(text: &str) -> Option<u64> {
    // No sign, which `parse` would take.
    text.bytes().all(|octet| octet.is_ascii_digit()).then(|| text.parse().ok())?
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'%' => {
                let digit = |octet: Option<u8>| char::from(octet?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            octet => octet,
        });
    }
    String::from_utf8(octets).ok().filter(|text| !text.contains(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_the_rfcs_are_read() {
        let url = |text: &str| text.parse::<ImapUrl>();
        // RFC 4469 §3
        let drafts = url("/Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER").unwrap();
        assert_eq!(drafts.uid_validity.unwrap().get(), 385_759_045);
        assert_eq!(drafts.section, Some(Section::parse(&mut Input::new(b"[HEADER]")).unwrap()));
        assert_eq!(url("/Drafts/;UID=3002").unwrap().section, None);
        let here = url(";UID=7").unwrap();
        assert_eq!((here.mailbox, here.uid.get()), (None, 7));
        let far = url("imap://joe;AUTH=*@example.com/INBOX/%C3%A9/;uid=20/;section=1.2;partial=5").unwrap();
        assert_eq!(far.server, Some(("joe".into(), "example.com".into())));
        assert_eq!(far.mailbox.unwrap().as_str(), "INBOX/é");
        assert_eq!(far.partial, Some((5, None)));
    }

    #[test]
    fn others_are_not() {
        for text in [
            "",
            "/",
            "/INBOX",
            "/INBOX/;UID=0",
            "/INBOX/;UID=x",
            "/INBOX/;UID=1;UID=2",
            "/INBOX/;SECTION=1;UID=2",
            "/INBOX/;UID=1/;SECTION=1]x",
            "/%zz/;UID=1",
            "/%00/;UID=1",
            "imap:///INBOX/;UID=1",
            "http://a/b;UID=1x",
            "/INBOX/;UID=+1",
            "/INBOX/;UID=1/;PARTIAL=.5",
            "imap://host/;UID=1",
        ] {
            assert_eq!(text.parse::<ImapUrl>(), Err(UrlError), "{text}");
        }
    }
}
