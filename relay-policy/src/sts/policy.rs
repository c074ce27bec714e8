//! What a domain publishes: the record that there is a policy, and the policy.

use std::fmt;

/// The `id` of a policy: when it changes, the policy has changed (RFC 8461 §3.1).
///
/// ```
/// use mailwright_relay_policy::sts::PolicyId;
///
/// let texts = ["v=spf1 -all", "v=STSv1; id=20260101T000000Z;"];
/// assert_eq!(PolicyId::of(texts).unwrap().as_str(), "20260101T000000Z");
/// assert!(PolicyId::of(["v=STSv1; id=1", "v=STSv1; id=2"]).is_none(), "two are none");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyId(String);

impl PolicyId {
    /// The one in the texts at `_mta-sts.DOMAIN`, if there is one and no other.
    pub fn of<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Option<Self> {
        let mut found = None;
        for text in texts {
            let Some(id) = record(text.as_ref()) else { continue };
            // RFC 8461 §3.1: where there are several, there is none.
            if found.replace(id).is_some() {
                return None;
            }
        }
        found?.map(Self)
    }

    /// One that was written down.
    pub fn new(text: &str) -> Option<Self> {
        let fits = (1..=32).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_alphanumeric());
        fits.then(|| Self(text.to_owned()))
    }

    /// Up to 32 letters and digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a text is a record of this kind, and then its id, if that can be read.
fn record(text: &str) -> Option<Option<String>> {
    let mut fields = text.split(';').map(|field| field.trim_matches([' ', '\t']));
    if fields.next()? != "v=STSv1" {
        return None;
    }
    let id = fields.find_map(|field| field.strip_prefix("id=").and_then(PolicyId::new));
    Some(id.map(|id| id.0))
}

/// What is done with hosts that do not fit (RFC 8461 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "RFC 8461 §3.2 has three")]
pub enum StsMode {
    /// They get no mail.
    Enforce,
    /// They get it, and the domain is told.
    Testing,
    /// There is no policy any more.
    None,
}

impl StsMode {
    /// As in a policy.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Testing => "testing",
            Self::None => "none",
        }
    }
}

/// Which hosts take a domain's mail.
///
/// ```
/// use mailwright_relay_policy::sts::{StsMode, StsPolicy};
///
/// let text = "version: STSv1\r\nmode: enforce\r\nmx: mx.b.example\r\nmx: *.mail.example\r\nmax_age: 604800\r\n";
/// let policy = StsPolicy::parse(text.as_bytes())?;
/// assert_eq!(policy.mode, StsMode::Enforce);
/// assert!(policy.allows("MX.b.example") && policy.allows("a.mail.example"));
/// assert!(!policy.allows("mail.example") && !policy.allows("a.b.mail.example"));
/// assert_eq!(policy.to_string(), text);
/// # Ok::<(), mailwright_relay_policy::sts::PolicyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StsPolicy {
    /// What is done with other hosts.
    pub mode: StsMode,
    /// Names, or `*.` and what is behind it; in A-labels, lower case.
    pub hosts: Vec<String>,
    /// How long it holds, in seconds: a year at most.
    pub max_age: u64,
}

/// Why a text is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// It is not text.
    #[error("expected a policy in UTF-8")]
    NotText,
    /// It is for another version, or none.
    #[error("expected the line \"version: STSv1\"")]
    Version,
    /// A line is wrong.
    #[error("expected \"name: value\", got {0:?}")]
    Line(String),
    /// No mode, or an unknown one.
    #[error("expected a mode of enforce, testing or none")]
    Mode,
    /// No age, or none that is a number.
    #[error("expected max_age in seconds")]
    MaxAge,
    /// A policy that allows nobody.
    #[error("expected at least one line \"mx: host\"")]
    NoHosts,
}

/// RFC 8461 §3.2: a year, roughly.
const LONGEST: u64 = 31_557_600;
/// More hosts than this nobody has.
const MOST_HOSTS: usize = 1_000;

impl StsPolicy {
    /// Of a mode, for these hosts, which may begin with `*.`.
    pub fn new(mode: StsMode, hosts: impl IntoIterator<Item = String>, max_age: u64) -> Self {
        Self { mode, hosts: hosts.into_iter().collect(), max_age: max_age.min(LONGEST) }
    }

    /// Reads a policy. Lines may end in CRLF or LF; fields that are not known are passed over, and of a field that may be there
    /// once the first counts (RFC 8461 §3.2).
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn parse(octets: &[u8]) -> Result<Self, PolicyError> {
        let text = str::from_utf8(octets).map_err(|_| PolicyError::NotText)?;
        let (mut version, mut mode, mut max_age, mut hosts) = (None, None, None, Vec::new());
        for line in text.split('\n').map(|line| line.trim_matches([' ', '\t', '\r'])) {
            if line.is_empty() {
                continue;
            }
            let (key, value) = line.split_once(':').ok_or_else(|| PolicyError::Line(shortened(line)))?;
            let value = value.trim_matches([' ', '\t']);
            match key.trim_end_matches([' ', '\t']) {
                "version" => version = version.or(Some(value)),
                "mode" => mode = mode.or(Some(value)),
                "max_age" => max_age = max_age.or(Some(value)),
                "mx" if hosts.len() < MOST_HOSTS => {
                    hosts.push(value.trim_end_matches('.').to_ascii_lowercase())
                }
                _ => {}
            }
        }
        if version != Some("STSv1") {
            return Err(PolicyError::Version);
        }
        let mode = match mode {
            Some("enforce") => StsMode::Enforce,
            Some("testing") => StsMode::Testing,
            Some("none") => StsMode::None,
            _ => return Err(PolicyError::Mode),
        };
        let digits =
            |text: &&str| (1..=10).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_digit());
        let max_age = max_age.filter(digits).and_then(|text| text.parse().ok());
        let max_age: u64 = max_age.ok_or(PolicyError::MaxAge)?;
        if hosts.is_empty() && mode != StsMode::None {
            return Err(PolicyError::NoHosts);
        }
        Ok(Self::new(mode, hosts, max_age))
    }

    /// Whether a host may take the mail. A `*` stands for one label, at the left (RFC 8461 §4.1).
    pub fn allows(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let above = host.split_once('.').map(|(_, above)| above);
        self.hosts.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(pattern) => above == Some(pattern),
            None => *pattern == host,
        })
    }
}

impl fmt::Display for StsPolicy {
    /// As it is published.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version: STSv1\r\nmode: {}\r\n", self.mode.as_str())?;
        self.hosts.iter().try_for_each(|host| write!(f, "mx: {host}\r\n"))?;
        write!(f, "max_age: {}\r\n", self.max_age)
    }
}

fn shortened(line: &str) -> String {
    line.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_that_are_none() {
        for (text, expected) in [
            ("", PolicyError::Version),
            ("mode: enforce\nmx: a\nmax_age: 1\n", PolicyError::Version),
            ("version: STSv2\nmode: enforce\nmx: a\nmax_age: 1\n", PolicyError::Version),
            ("version: STSv1\nmode: strict\nmx: a\nmax_age: 1\n", PolicyError::Mode),
            ("version: STSv1\nmx: a\nmax_age: 1\n", PolicyError::Mode),
            ("version: STSv1\nmode: enforce\nmx: a\n", PolicyError::MaxAge),
            ("version: STSv1\nmode: enforce\nmx: a\nmax_age: -1\n", PolicyError::MaxAge),
            ("version: STSv1\nmode: enforce\nmx: a\nmax_age: 99999999999\n", PolicyError::MaxAge),
            ("version: STSv1\nmode: enforce\nmax_age: 1\n", PolicyError::NoHosts),
            ("<html>", PolicyError::Line("<html>".into())),
        ] {
            assert_eq!(StsPolicy::parse(text.as_bytes()), Err(expected), "{text:?}");
        }
        assert_eq!(StsPolicy::parse(b"version: \xff"), Err(PolicyError::NotText));
    }

    #[test]
    fn what_is_not_known_is_passed_over() {
        let text = "version: STSv1\nx-new: 1\nmode: testing\nmode: enforce\nmx: MX.B.example.\nmax_age: 9999999999\n\n";
        let policy = StsPolicy::parse(text.as_bytes()).unwrap();
        assert_eq!((policy.mode, policy.max_age), (StsMode::Testing, LONGEST));
        assert_eq!(policy.hosts, ["mx.b.example"]);
        let none = StsPolicy::parse(b"version: STSv1\nmode: none\nmax_age: 86400\n").unwrap();
        assert!(!none.allows("mx.b.example"));
    }

    #[test]
    fn records() {
        for (texts, expected) in [
            (&["v=STSv1; id=1;"][..], Some("1")),
            (&["v=STSv1;id=abcDEF123; x=y"], Some("abcDEF123")),
            (&["v=STSv1"], None),
            (&["v=STSv1; id="], None),
            (&["v=STSv1; id=with-dash"], None),
            (&["v=STSv1; id=012345678901234567890123456789012"], None),
            (&["v=STSv10; id=1"], None),
            (&["V=STSv1; id=1"], None),
            (&["something", "v=STSv1; id=2"], Some("2")),
            (&["v=STSv1; id=1", "v=STSv1; id=1"], None),
            (&[], None),
        ] {
            assert_eq!(PolicyId::of(texts).as_ref().map(PolicyId::as_str), expected, "{texts:?}");
        }
    }
}
