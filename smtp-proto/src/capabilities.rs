//! What a server announces in its reply to EHLO or LHLO: one table row a keyword.

mod table;
mod values;

pub use values::{FutureRelease, SessionLimits, SizeLimit};

use crate::{Reply, Solicitation};
use table::{FOREIGN, TABLE};

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
    /// EXPN: it names the members of lists.
    pub expn: bool,
    /// ETRN (RFC 1985).
    pub etrn: bool,
    /// ATRN (RFC 2645).
    pub atrn: bool,
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
    /// CHUNKING (RFC 3030): BDAT.
    pub chunking: bool,
    /// BINARYMIME (RFC 3030).
    pub binary_mime: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// DELIVERBY (RFC 2852): the shortest time in seconds that BY may name, if there is one.
    pub deliver_by: Option<Option<u32>>,
    /// FUTURERELEASE (RFC 4865).
    pub future_release: Option<FutureRelease>,
    /// MT-PRIORITY (RFC 6710): the name of the profile, often empty.
    pub priority: Option<String>,
    /// REQUIRETLS (RFC 8689).
    pub require_tls: bool,
    /// RRVS (RFC 7293).
    pub valid_since: bool,
    /// NO-SOLICITING (RFC 3865): the classes that are not wanted, if they are named.
    pub no_soliciting: Option<Option<Solicitation>>,
    /// BURL (RFC 4468): the words behind it.
    pub burl: Option<Vec<String>>,
    /// PRDR (draft-hall-prdr): a reply for each recipient behind the message.
    pub each_recipient: bool,
    /// LIMITS (RFC 9422).
    pub limits: Option<SessionLimits>,
    /// The attributes of XCLIENT that this client may set. None means no XCLIENT.
    pub xclient: Vec<String>,
    /// The attributes of XFORWARD that this client may set. None means no XFORWARD.
    pub xforward: Vec<String>,
    /// XVERP (Postfix): senders that tell who a message was for.
    pub verp: bool,
    /// AUTH is announced also in the form `AUTH=PLAIN`, which programs older than RFC 2554 look for.
    pub legacy_auth: bool,
    /// Lines with keywords not named above, as they were sent.
    pub other: Vec<String>,
}

impl Capabilities {
    /// Reads them from the reply to EHLO: every line but the first.
    pub fn parse(reply: &Reply) -> Self {
        let mut capabilities = Self::default();
        reply.lines().skip(1).for_each(|line| capabilities.add(line));
        capabilities
    }

    /// The reply to EHLO with these capabilities.
    pub fn reply(&self, hostname: &str) -> Reply {
        let announced = TABLE.iter().flat_map(|row| {
            let line = (row.encode)(self).map(|value| match &value[..] {
                "" => row.keyword.to_owned(),
                value => format!("{} {value}", row.keyword),
            });
            let legacy = line.as_ref().filter(|_| row.keyword == "AUTH" && self.legacy_auth);
            let legacy = legacy.map(|line| line.replacen(' ', "=", 1));
            [line, legacy].into_iter().flatten()
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
        self.legacy_auth |=
            line.trim_start().get(..5).is_some_and(|start| start.eq_ignore_ascii_case("AUTH="));
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Rcpt;
    use mailwright_mail_model::ForwardPath;

    #[test]
    fn odd_lists_are_read_sanely() {
        let text = "250-mx\r\n250-SIZE -1\r\n250-MTRK\r\n250-MTRK\r\n250-AUTH=LOGIN\r\n250-auth login PLAIN\r\n\
            250-\r\n250-8bitmime\r\n250 pipelining\r\n";
        let found = Capabilities::parse(&Reply::parse(text.as_bytes()).unwrap());
        assert_eq!(found.size, Some(SizeLimit::Unknown));
        assert_eq!(found.auth, ["LOGIN", "PLAIN"]);
        assert!(found.pipelining && found.eight_bit_mime && !found.starttls);
        assert_eq!(found.other, ["MTRK", "MTRK"]);
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

    #[test]
    fn values_that_are_none_say_nothing() {
        let text = "250-mx\r\n250-LIMITS RCPTMAX=10 MAILMAX=x RCPTDOMAINMAX=1234567 FOO=1\r\n250-DELIVERBY soon\r\n\
            250-NO-SOLICITING 1\r\n250-FUTURERELEASE\r\n250-MT-PRIORITY\r\n250 BURL imap\r\n";
        let found = Capabilities::parse(&Reply::parse(text.as_bytes()).unwrap());
        let limits = found.limits.unwrap();
        assert_eq!((limits.recipients, limits.messages, limits.recipient_domains), (Some(10), None, None));
        assert_eq!(limits.other, ["FOO=1"]);
        assert_eq!((found.deliver_by, found.no_soliciting), (Some(None), Some(None)));
        assert_eq!((found.future_release, found.priority.as_deref()), (None, Some("")));
        assert_eq!(found.burl.unwrap(), ["IMAP"]);
    }

    #[test]
    fn as_many_recipients_as_there_is_room_for() {
        let to = ["a@x.example", "b@X.example", "c@y.example", "d@z.example"];
        let all: Vec<_> = to
            .iter()
            .map(|to| Rcpt::new(ForwardPath::parse(format!("<{to}>").as_bytes()).unwrap()))
            .collect();
        for (line, room) in
            [("SIZE", 4), ("LIMITS RCPTMAX=3", 3), ("LIMITS RCPTDOMAINMAX=1", 2), ("LIMITS RCPTMAX=9", 4)]
        {
            let mut capabilities = Capabilities::default();
            capabilities.add(line);
            assert_eq!(capabilities.room_for(&all), room, "{line}");
        }
    }

    proptest! {
        #[test]
        fn comes_round(
            flags in any::<[bool; 17]>(),
            size in prop::option::of(any::<u64>()),
            auth in prop::collection::btree_set("[A-Z0-9-]{1,20}", 0..6),
            words in prop::collection::vec("[A-Z]{1,8}", 1..4),
            numbers in any::<[Option<u16>; 4]>(),
            other in prop::collection::vec("XQ[A-Z]{1,8}( [a-z0-9]{1,8})?", 0..4),
        ) {
            let mut some = flags.into_iter();
            let mut next = || some.next().unwrap();
            let [messages, recipients, domains, least] = numbers.map(|number| number.filter(|n| *n > 0).map(u32::from));
            let limits = SessionLimits { messages, recipients, recipient_domains: domains, other: Vec::new() };
            let latest = mailwright_mail_model::DateTime::new(4_000_000_000, 0).unwrap();
            let capabilities = Capabilities {
                pipelining: next(), vrfy: next(), starttls: next(), enhanced_status_codes: next(),
                eight_bit_mime: next(), smtputf8: next(), expn: next(), etrn: next(), atrn: next(),
                chunking: next(), binary_mime: next(), dsn: next(), require_tls: next(), valid_since: next(),
                each_recipient: next(), verp: next(),
                legacy_auth: next() && !auth.is_empty(),
                size: size.map(|limit| if limit == 0 { SizeLimit::Unknown } else { SizeLimit::AtMost(limit) }),
                auth: auth.into_iter().collect(),
                limits: (limits != SessionLimits::default()).then_some(limits),
                deliver_by: flags[0].then_some(least),
                future_release: least.map(|seconds| FutureRelease::new(seconds, latest)),
                priority: flags[1].then(|| words[0].clone()),
                no_soliciting: flags[2].then(|| words[0].parse().ok()),
                burl: flags[3].then(|| words.clone()),
                xclient: if flags[4] { words.clone() } else { Vec::new() },
                xforward: if flags[5] { words } else { Vec::new() },
                other,
            };
            let reply = capabilities.reply("mail.example.org");
            let read = Reply::parse(&reply.encode()).unwrap();
            prop_assert_eq!(Capabilities::parse(&read), capabilities);
        }
    }
}
