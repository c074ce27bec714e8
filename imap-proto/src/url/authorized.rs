//! URLs that carry the right to read what they name (RFC 4467, RFC 5092 §6.1).

use mailwright_mail_model::Date;

use super::{ImapUrl, UrlError, percent_decoded};

/// A URL that gives somebody the right to read a message or a part of one, whole or still without its token.
///
/// ```
/// use mailwright_imap_proto::{AuthorizedUrl, UrlAccess};
///
/// let url: AuthorizedUrl = "imap://joe@example.com/INBOX/;uid=20/;section=1.2;urlauth=submit+fred:internal:91354a47".parse()?;
/// assert_eq!(url.access, UrlAccess::Submit("fred".into()));
/// assert_eq!(url.rump(), "imap://joe@example.com/INBOX/;uid=20/;section=1.2;urlauth=submit+fred");
/// assert_eq!(url.token.as_ref().map(|token| token.mechanism.as_str()), Some("INTERNAL"));
/// # Ok::<(), mailwright_imap_proto::UrlError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthorizedUrl {
    /// What it names. It always says whose, and on which server.
    pub url: ImapUrl,
    /// When it ends to be of use, in seconds since 1970.
    pub expires: Option<i64>,
    /// To whom it gives the right.
    pub access: UrlAccess,
    /// What proves that it does; `None` in what is still to be given one.
    pub token: Option<UrlToken>,
    rump: String,
}

/// To whom a URL gives the right to read (RFC 4467 §3).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlAccess {
    /// A server of submission, for what this user sends.
    Submit(String),
    /// This user.
    User(String),
    /// Everybody who has logged in as somebody.
    Authenticated,
    /// Everybody.
    Anonymous,
}

/// What proves that a URL is what its owner asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UrlToken {
    /// How, in upper case: `INTERNAL`.
    pub mechanism: String,
    /// The proof.
    pub octets: Vec<u8>,
}

impl AuthorizedUrl {
    /// The URL without mechanism and token: what the token is made from.
    pub fn rump(&self) -> &str {
        &self.rump
    }

    /// The whole URL with this token.
    pub fn with_token(&self, mechanism: &str, octets: &[u8]) -> String {
        let mut whole = format!("{}:{}:", self.rump, mechanism.to_ascii_lowercase());
        for octet in octets {
            whole.push_str(&format!("{octet:02x}"));
        }
        whole
    }

    fn read(text: &str) -> Option<Self> {
        let at = text.to_ascii_lowercase().rfind(";urlauth=")?;
        let (before, behind) = text.split_at_checked(at)?;
        let behind = behind.get(";urlauth=".len()..)?;
        let mut fields = behind.splitn(3, ':');
        let access = fields.next()?;
        let token = match (fields.next(), fields.next()) {
            (None, _) => None,
            (Some(mechanism), Some(token)) => Some(UrlToken::read(mechanism, token)?),
            (Some(_), None) => return None,
        };
        let rump = text.get(..text.len() - behind.len() + access.len())?.to_owned();
        let access = UrlAccess::read(access)?;
        let (named, expires) = match before.to_ascii_lowercase().rfind(";expire=") {
            Some(at) => {
                let (named, expire) = before.split_at_checked(at)?;
                (named, Some(seconds(expire.get(";expire=".len()..)?)?))
            }
            None => (before, None),
        };
        let url: ImapUrl = named.parse().ok()?;
        let (user, _) = url.server.as_ref()?;
        let whole = !user.is_empty() && url.mailbox.is_some();
        whole.then_some(Self { url, expires, access, token, rump })
    }
}

impl std::str::FromStr for AuthorizedUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        // No other octet may stand in a URL (RFC 3986 §2), and none of these splits a line.
        let fits = text.len() <= super::MAX_OCTETS && text.bytes().all(|octet| octet.is_ascii_graphic());
        Self::read(text).filter(|_| fits).ok_or(UrlError)
    }
}

impl UrlAccess {
    fn read(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        let user = |prefix: &str| {
            let user = lower.strip_prefix(prefix).and_then(|_| percent_decoded(text.get(prefix.len()..)?))?;
            (!user.is_empty()).then_some(user)
        };
        match lower.as_str() {
            "authuser" => Some(Self::Authenticated),
            "anonymous" => Some(Self::Anonymous),
            _ => user("submit+").map(Self::Submit).or_else(|| user("user+").map(Self::User)),
        }
    }
}

impl UrlToken {
    fn read(mechanism: &str, token: &str) -> Option<Self> {
        let named = !mechanism.is_empty()
            && mechanism.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.'));
        let digit = |octet: &u8| char::from(*octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let pairs = token.as_bytes().chunks_exact(2);
        if !named || token.is_empty() || !pairs.remainder().is_empty() {
            return None;
        }
        let octets: Option<Vec<u8>> = pairs
            .map(|pair| match pair {
                [high, low] => Some(digit(high)? << 4 | digit(low)?),
                _ => None,
            })
            .collect();
        Some(Self { mechanism: mechanism.to_ascii_uppercase(), octets: octets? })
    }
}

/// A date and time of RFC 3339 §5.6, in seconds since 1970.
fn seconds(text: &str) -> Option<i64> {
    let number = |text: Option<&str>| {
        let text =
            text.filter(|text| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit()))?;
        text.parse::<i64>().ok()
    };
    let field = |from: usize, length: usize| number(text.get(from..from + length));
    let is = |at: usize, allowed: &str| {
        text.get(at..=at).is_some_and(|letter| allowed.contains(&letter.to_ascii_lowercase()))
    };
    if !(is(4, "-") && is(7, "-") && is(10, "t") && is(13, ":") && is(16, ":")) {
        return None;
    }
    let (year, month, day) = (field(0, 4)?, field(5, 2)?, field(8, 2)?);
    let (hour, minute, second) = (field(11, 2)?, field(14, 2)?, field(17, 2)?);
    let rest = text.get(19..)?;
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|letter: char| letter.is_ascii_digit()),
        None => rest,
    };
    let offset = match rest {
        "Z" | "z" => 0,
        zone => {
            let (sign, zone) = match zone.split_at_checked(1)? {
                ("+", zone) => (1, zone),
                ("-", zone) => (-1, zone),
                _ => return None,
            };
            let (hours, minutes) = zone.split_once(':')?;
            let (hours, minutes) = (number(Some(hours))?, number(Some(minutes))?);
            (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60)?
        }
    };
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let date = Date::new(u16::try_from(year).ok()?, u8::try_from(month).ok()?, u8::try_from(day).ok()?)?;
    Some(date.days() * 86_400 + hour * 3_600 + minute * 60 + second - offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_the_rfcs_are_read_and_written() {
        let rump = "imap://joe@example.com/INBOX/;uid=20/;section=1.2;expire=2006-10-19T16:39:57-08:00;urlauth=submit+fr%65d";
        let url: AuthorizedUrl = rump.parse().unwrap();
        assert_eq!((url.rump(), &url.token), (rump, &None));
        assert_eq!(url.expires, Some(1_161_304_797));
        assert_eq!(url.access, UrlAccess::Submit("fred".into()));
        let whole = url.with_token("INTERNAL", &[0x91, 0x0a]);
        assert_eq!(whole, format!("{rump}:internal:910a"));
        let again: AuthorizedUrl = whole.parse().unwrap();
        assert_eq!(again.token.unwrap(), UrlToken { mechanism: "INTERNAL".into(), octets: vec![0x91, 0x0a] });
        for (text, access) in [
            ("authuser", UrlAccess::Authenticated),
            ("ANONYMOUS", UrlAccess::Anonymous),
            ("USER+a@b.example", UrlAccess::User("a@b.example".into())),
        ] {
            let url = format!("imap://joe@example.com/INBOX/;uid=20;URLAUTH={text}");
            assert_eq!(url.parse::<AuthorizedUrl>().unwrap().access, access);
        }
    }

    #[test]
    fn times_are_those_of_rfc_3339() {
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("1970-01-02t00:00:00.125+01:30"), Some(81_000));
        for bad in [
            "1970-01-01",
            "1970-01-01 00:00:00Z",
            "1970-02-30T00:00:00Z",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:00:00",
            "1970-01-01T00:00:00+1",
            "+970-01-01T00:00:00Z",
            "1970-01-01T00:00:00\u{e9}",
        ] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn others_are_not() {
        let base = "imap://joe@example.com/INBOX/;uid=20";
        for bad in [
            base.to_owned(),
            format!("{base};urlauth="),
            format!("{base};urlauth=submit+"),
            format!("{base};urlauth=role+x"),
            format!("{base};urlauth=anonymous:internal"),
            format!("{base};urlauth=anonymous:internal:"),
            format!("{base};urlauth=anonymous:internal:abc"),
            format!("{base};urlauth=anonymous:internal:zz"),
            format!("{base};urlauth=anonymous::ab"),
            format!("{base};expire=soon;urlauth=anonymous"),
            "/INBOX/;uid=20;urlauth=anonymous".into(),
            "imap://example.com/INBOX/;uid=20;urlauth=anonymous".into(),
            "imap://joe@example.com/IN BOX/;uid=20;urlauth=anonymous".into(),
        ] {
            assert_eq!(bad.parse::<AuthorizedUrl>(), Err(UrlError), "{bad}");
        }
    }
}
