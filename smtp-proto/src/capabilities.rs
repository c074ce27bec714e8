//! What a server announces in its reply to EHLO or LHLO: one table row a keyword.

use crate::Reply;

/// The extensions a server announces (RFC 5321 §4.1.1.1).
///
/// ```
/// use mailwright_smtp_proto::{Capabilities, Reply, SizeLimit};
///
/// let reply = Reply::parse(b"250-mail.example.org\r\n250-SIZE 1000\r\n250 AUTH PLAIN\r\n").unwrap();
/// let capabilities = Capabilities::parse(&reply);
/// assert_eq!(capabilities.size, Some(SizeLimit::AtMost(1000)));
/// assert!(capabilities.has_mechanism("plain"));
/// assert!(!capabilities.pipelining);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Capabilities {
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// SIZE (RFC 1870).
    pub size: Option<SizeLimit>,
    /// VRFY: it gives real answers.
    pub vrfy: bool,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// The mechanisms of AUTH (RFC 4954), in upper case. None means no AUTH.
    pub auth: Vec<String>,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    pub enhanced_status_codes: bool,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// Lines with keywords not named above, as they were sent.
    pub other: Vec<String>,
}

/// The largest message a server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SizeLimit {
    /// It does not say, or says that there is no fixed limit (RFC 1870 §4: zero).
    Unknown,
    /// So many octets.
    AtMost(u64),
}

/// One keyword.
struct Row {
    keyword: &'static str,
    parse: fn(&mut Capabilities, &str),
    encode: fn(&Capabilities) -> Option<String>,
}

/// The keywords, in the order in which they are announced.
const TABLE: &[Row] = &[
    Row {
        keyword: "PIPELINING",
        parse: |capabilities, _| capabilities.pipelining = true,
        encode: |capabilities| flag(capabilities.pipelining),
    },
    Row {
        keyword: "SIZE",
        parse: |capabilities, value| {
            // C128: what is no number says nothing about the limit.
            capabilities.size = Some(match value.parse() {
                Ok(limit) if limit > 0 => SizeLimit::AtMost(limit),
                _ => SizeLimit::Unknown,
            });
        },
        encode: |capabilities| match capabilities.size? {
            SizeLimit::Unknown => Some(String::new()),
            SizeLimit::AtMost(limit) => Some(limit.to_string()),
        },
    },
    Row {
        keyword: "VRFY",
        parse: |capabilities, _| capabilities.vrfy = true,
        encode: |capabilities| flag(capabilities.vrfy),
    },
    Row {
        keyword: "STARTTLS",
        parse: |capabilities, _| capabilities.starttls = true,
        encode: |capabilities| flag(capabilities.starttls),
    },
    Row {
        keyword: "AUTH",
        parse: |capabilities, value| {
            for mechanism in value.split_ascii_whitespace().map(str::to_ascii_uppercase) {
                if !capabilities.auth.contains(&mechanism) {
                    capabilities.auth.push(mechanism);
                }
            }
        },
        encode: |capabilities| (!capabilities.auth.is_empty()).then(|| capabilities.auth.join(" ")),
    },
    Row {
        keyword: "ENHANCEDSTATUSCODES",
        parse: |capabilities, _| capabilities.enhanced_status_codes = true,
        encode: |capabilities| flag(capabilities.enhanced_status_codes),
    },
    Row {
        keyword: "8BITMIME",
        parse: |capabilities, _| capabilities.eight_bit_mime = true,
        encode: |capabilities| flag(capabilities.eight_bit_mime),
    },
    Row {
        keyword: "SMTPUTF8",
        parse: |capabilities, _| capabilities.smtputf8 = true,
        encode: |capabilities| flag(capabilities.smtputf8),
    },
];

/// Keywords of extensions not spoken here, known so that a line of them is not taken for anything else.
const FOREIGN: &[&str] = &[
    "ATRN",
    "BINARYMIME",
    "BURL",
    "CHECKPOINT",
    "CHUNKING",
    "CONNEG",
    "CONPERM",
    "DELIVERBY",
    "DSN",
    "ETRN",
    "EXPN",
    "FUTURERELEASE",
    "HELP",
    "LIMITS",
    "MT-PRIORITY",
    "MTRK",
    "NO-SOLICITING",
    "REQUIRETLS",
    "RRVS",
    "SAML",
    "SEND",
    "SOML",
    "SUBMITTER",
    "TURN",
    "XCLIENT",
    "XFORWARD",
];

impl Capabilities {
    /// Reads them from the reply to EHLO: every line but the first.
    pub fn parse(reply: &Reply) -> Self {
        let mut capabilities = Self::default();
        reply.lines().skip(1).for_each(|line| capabilities.add(line));
        capabilities
    }

    /// The reply to EHLO with these capabilities.
    pub fn reply(&self, hostname: &str) -> Reply {
        let announced = TABLE.iter().filter_map(|row| {
            let value = (row.encode)(self)?;
            Some(if value.is_empty() { row.keyword.to_owned() } else { format!("{} {value}", row.keyword) })
        });
        let lines = [hostname.to_owned()].into_iter().chain(announced).chain(self.other.iter().cloned());
        Reply::of_lines(250, &lines.collect::<Vec<_>>())
    }

    /// Whether AUTH offers this mechanism.
    pub fn has_mechanism(&self, name: &str) -> bool {
        self.auth.iter().any(|mechanism| mechanism.eq_ignore_ascii_case(name))
    }

    /// Whether every line of the reply is one of an EHLO reply: the rest of one that ended too early, because a line
    /// in its middle had a space where a hyphen belongs.
    pub(crate) fn are_in(reply: &Reply) -> bool {
        let known = |keyword: &str| {
            let is = |known: &&str| known.eq_ignore_ascii_case(keyword);
            TABLE.iter().any(|row| is(&row.keyword)) || FOREIGN.iter().any(is)
        };
        reply.code() == 250 && reply.enhanced().is_none() && reply.lines().all(|line| known(split(line).0))
    }

    /// Adds what one line announces.
    pub(crate) fn add(&mut self, line: &str) {
        let (keyword, value) = split(line);
        match TABLE.iter().find(|row| row.keyword.eq_ignore_ascii_case(keyword)) {
            Some(row) => (row.parse)(self, value),
            None if line.is_empty() => {}
            None => self.other.push(line.to_owned()),
        }
    }
}

/// The keyword of a line and what follows it. Old servers write `AUTH=LOGIN`.
fn split(line: &str) -> (&str, &str) {
    let line = line.trim_matches(' ');
    let (keyword, value) = line.split_once([' ', '=']).unwrap_or((line, ""));
    (keyword, value.trim_start_matches(' '))
}

fn flag(set: bool) -> Option<String> {
    set.then(String::new)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn odd_lists_are_read_sanely() {
        // C128
        let text = "250-mx\r\n250-SIZE -1\r\n250-DSN\r\n250-DSN\r\n250-AUTH=LOGIN\r\n250-auth login PLAIN\r\n\
            250-\r\n250-8bitmime\r\n250 pipelining\r\n";
        let found = Capabilities::parse(&Reply::parse(text.as_bytes()).unwrap());
        assert_eq!(found.size, Some(SizeLimit::Unknown));
        assert_eq!(found.auth, ["LOGIN", "PLAIN"]);
        assert!(found.pipelining && found.eight_bit_mime && !found.starttls);
        assert_eq!(found.other, ["DSN", "DSN"]);
    }

    #[test]
    fn the_rest_of_a_torn_list_is_known() {
        for (text, is) in [
            ("250-STARTTLS\r\n250 DSN\r\n", true),
            ("250 SIZE 100\r\n", true),
            ("250 2.1.0 Ok\r\n", false),
            ("250 Ok\r\n", false),
            ("550 SIZE\r\n", false),
            ("250-STARTTLS\r\n250 Ok\r\n", false),
        ] {
            assert_eq!(Capabilities::are_in(&Reply::parse(text.as_bytes()).unwrap()), is, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn comes_round(
            flags in any::<[bool; 6]>(),
            size in prop::option::of(any::<u64>()),
            auth in prop::collection::btree_set("[A-Z0-9-]{1,20}", 0..6),
            other in prop::collection::vec("X[A-Z]{1,8}( [a-z0-9]{1,8})?", 0..4),
        ) {
            let size = size.map(|limit| if limit == 0 { SizeLimit::Unknown } else { SizeLimit::AtMost(limit) });
            let [pipelining, vrfy, starttls, enhanced_status_codes, eight_bit_mime, smtputf8] = flags;
            let capabilities = Capabilities {
                pipelining, size, vrfy, starttls, auth: auth.into_iter().collect(),
                enhanced_status_codes, eight_bit_mime, smtputf8,
                other: other.into_iter().filter(|line| !line.starts_with("XCLIENT")).collect(),
            };
            let reply = capabilities.reply("mail.example.org");
            let read = Reply::parse(&reply.encode()).unwrap();
            prop_assert_eq!(Capabilities::parse(&read), capabilities);
        }
    }
}
