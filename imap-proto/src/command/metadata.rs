//! GETMETADATA and SETMETADATA (RFC 5464).

use bytes::Bytes;
use mailwright_line_proto::Request;
use mailwright_mail_model::MailboxName;

use super::quota::text;
use crate::{
    grammar::{GrammarError, Input, Wire},
    refusal::Answered,
};

/// How many entries one command may name.
const MAX_ENTRIES: usize = 1_000;

/// What is noted about a mailbox or the server?
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GetMetadata {
    /// The mailbox; the server if `None`.
    pub mailbox: Option<MailboxName>,
    /// The names of the entries.
    pub entries: Vec<String>,
    /// How long a value may be; longer ones are left out.
    pub max_size: Option<u32>,
    /// Which entries below those that are named are meant too.
    pub depth: Depth,
}

/// How deep below an entry others are meant too (RFC 5464 §4.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::exhaustive_enums, reason = "RFC 5464 §4.2.2 has these three")]
pub enum Depth {
    /// None but the entry itself.
    #[default]
    Zero,
    /// Those directly below it.
    One,
    /// All.
    Infinity,
}

impl Depth {
    const WORDS: [(&'static str, Self); 3] =
        [("0", Self::Zero), ("1", Self::One), ("INFINITY", Self::Infinity)];

    /// Whether `entry` is meant where `ancestor` is named.
    pub(crate) fn reaches(self, ancestor: &str, entry: &str) -> bool {
        let Some(rest) = entry
            .split_at_checked(ancestor.len())
            .filter(|(start, _)| start.eq_ignore_ascii_case(ancestor))
            .map(|(_, rest)| rest)
        else {
            return false;
        };
        match self {
            _ if rest.is_empty() => true,
            Self::Zero => false,
            Self::One => rest.strip_prefix('/').is_some_and(|below| !below.contains('/')),
            Self::Infinity => rest.starts_with('/'),
        }
    }
}

impl GetMetadata {
    /// Asks for these entries and nothing below them.
    pub fn new<E: Into<String>>(mailbox: Option<MailboxName>, entries: impl IntoIterator<Item = E>) -> Self {
        let entries = entries.into_iter().map(Into::into).collect();
        Self { mailbox, entries, max_size: None, depth: Depth::Zero }
    }

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        let mut all = Self::new::<String>(None, []);
        // RFC 5464 §5 has the options before the mailbox, its examples behind.
        let mut options = false;
        if input.rest().starts_with(b" (") {
            input.space()?;
            all.options(input)?;
            options = true;
        }
        input.space()?;
        all.mailbox = mailbox(input)?;
        input.space()?;
        if !options && input.peek() == Some(b'(') {
            let mut ahead = input.clone();
            if all.options(&mut ahead).is_ok() && ahead.space().is_ok() {
                *input = ahead;
            }
        }
        all.entries = entries(input)?;
        Ok(all)
    }

    fn options(&mut self, input: &mut Input<'_>) -> Result<(), GrammarError> {
        let (mut max_size, mut depth) = (None, Depth::Zero);
        input.list("options", 4, |input| {
            if input.keyword("MAXSIZE") {
                input.space()?;
                max_size = Some(input.number()?);
            } else if input.keyword("DEPTH") {
                input.space()?;
                let known = Depth::WORDS.into_iter().find(|(word, _)| input.keyword(word));
                depth = known.ok_or_else(|| input.expected("0, 1 or infinity"))?.1;
            } else {
                return Err(input.expected("MAXSIZE or DEPTH"));
            }
            Ok(())
        })?;
        (self.max_size, self.depth) = (max_size, depth);
        Ok(())
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"GETMETADATA ");
        if self.max_size.is_some() || self.depth != Depth::Zero {
            let mut options = Vec::new();
            options.extend(self.max_size.map(|size| format!("MAXSIZE {size}")));
            let depth = Depth::WORDS.into_iter().find(|(_, depth)| *depth == self.depth);
            options.extend(
                depth.filter(|(_, depth)| *depth != Depth::Zero).map(|(word, _)| format!("DEPTH {word}")),
            );
            wire.put_list(options, |wire, option| wire.put(option.as_bytes()));
            wire.put(b" ");
        }
        put_mailbox(self.mailbox.as_ref(), wire);
        wire.put(b" ");
        wire.put_list(&self.entries, |wire, entry| wire.put_astring(entry.as_bytes()));
    }
}

/// Notes something about a mailbox or the server: all of it or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetMetadata {
    /// The mailbox; the server if `None`.
    pub mailbox: Option<MailboxName>,
    /// The names of the entries and their values; one without a value is removed.
    pub changes: Vec<(String, Option<Bytes>)>,
}

impl SetMetadata {
    /// Notes these values.
    pub fn new(mailbox: Option<MailboxName>, changes: Vec<(String, Option<Bytes>)>) -> Self {
        Self { mailbox, changes }
    }

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        input.space()?;
        let mailbox = mailbox(input)?;
        input.space()?;
        let here = input.clone();
        let changes = input.list("entries", MAX_ENTRIES, |input| {
            let entry = entry(input)?;
            input.space()?;
            // A literal8 too: a value is any octets.
            let value = match input.eat(b'~') {
                true => Some(input.string()?),
                false => input.nstring()?,
            };
            Ok((entry, value.map(|value| Bytes::from(value.into_owned()))))
        })?;
        if changes.is_empty() {
            return Err(here.expected("at least one entry"));
        }
        Ok(Self { mailbox, changes })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"SETMETADATA ");
        put_mailbox(self.mailbox.as_ref(), wire);
        wire.put(b" ");
        wire.put_list(&self.changes, |wire, (entry, value)| {
            wire.put_astring(entry.as_bytes());
            wire.put(b" ");
            wire.put_nstring(value.as_deref());
        });
    }
}

/// Entries, one alone or several in parentheses. RFC 5464 §4.4.1 has an example of several without.
pub(super) fn entries(input: &mut Input<'_>) -> Result<Vec<String>, GrammarError> {
    let here = input.clone();
    let entries = if input.peek() == Some(b'(') {
        input.list("entries", MAX_ENTRIES, entry)?
    } else {
        let mut entries = vec![entry(input)?];
        while input.eat(b' ') {
            if entries.len() == MAX_ENTRIES {
                return Err(GrammarError::TooMany { what: "entries", limit: MAX_ENTRIES });
            }
            entries.push(entry(input)?);
        }
        entries
    };
    if entries.is_empty() { Err(here.expected("at least one entry")) } else { Ok(entries) }
}

/// RFC 5464 §3.2: the name of an entry.
fn entry(input: &mut Input<'_>) -> Result<String, GrammarError> {
    let here = input.clone();
    let name = text(input)?;
    let whole = name.strip_prefix('/').is_some_and(|rest| rest.split('/').all(|level| !level.is_empty()));
    let plain =
        name.chars().all(|letter| letter.is_ascii_graphic() && !matches!(letter, '*' | '%') || letter == ' ');
    if whole && plain { Ok(name) } else { Err(here.expected("an entry such as /private/comment")) }
}

fn mailbox(input: &mut Input<'_>) -> Result<Option<MailboxName>, GrammarError> {
    if input.prefix("\"\"") { Ok(None) } else { input.mailbox().map(Some) }
}

fn put_mailbox(mailbox: Option<&MailboxName>, wire: &mut impl Wire) {
    match mailbox {
        Some(mailbox) => wire.put_mailbox(mailbox),
        None => wire.put(b"\"\""),
    }
}

impl Request for GetMetadata {
    /// Every entry that the user may see, with its value: the machine picks what is asked for.
    type Answer = Answered<Vec<(String, Bytes)>>;
}

impl Request for SetMetadata {
    type Answer = Answered<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> Result<GetMetadata, GrammarError> {
        let mut input = Input::new(text);
        let parsed = GetMetadata::parse(&mut input)?;
        input.end().map(|()| parsed)
    }

    #[test]
    fn those_of_the_rfc_are_read() {
        let server = parse(b" \"\" /shared/comment").unwrap();
        assert_eq!(server, GetMetadata::new(None, ["/shared/comment"]));
        let both = ["/shared/comment", "/private/comment"];
        let inbox = MailboxName::inbox();
        assert_eq!(
            parse(b" \"INBOX\" (/shared/comment /private/comment)"),
            Ok(GetMetadata::new(Some(inbox), both))
        );
        assert_eq!(parse(b" INBOX /shared/comment /private/comment").unwrap().entries, both);
        for text in [
            &b" \"INBOX\" (MAXSIZE 1024 DEPTH infinity) (/shared/comment /private/comment)"[..],
            b" (MAXSIZE 1024 DEPTH INFINITY) INBOX (/shared/comment /private/comment)",
        ] {
            let limited = parse(text).unwrap();
            assert_eq!((limited.max_size, limited.depth), (Some(1024), Depth::Infinity));
            assert_eq!(limited.entries, both);
            let mut wire = Vec::new();
            limited.encode(&mut wire);
            assert_eq!(parse(wire.strip_prefix(b"GETMETADATA").unwrap()), Ok(limited));
        }
        for bad in
            [" INBOX ()", " INBOX comment", " INBOX /a//b", " INBOX /a/", " INBOX /a*", " INBOX (DEPTH 2) /a"]
        {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_are_any_octets() {
        let text = b" INBOX (/private/comment ~{3}\r\na\0b /shared/comment NIL)";
        let set = SetMetadata::parse(&mut Input::new(text)).unwrap();
        assert_eq!(set.changes[0], ("/private/comment".into(), Some(Bytes::from_static(b"a\0b"))));
        assert_eq!(set.changes[1], ("/shared/comment".into(), None));
        assert!(SetMetadata::parse(&mut Input::new(b" INBOX ()")).is_err());
    }

    #[test]
    fn depths_reach_so_far() {
        for (depth, one, two) in
            [(Depth::Zero, false, false), (Depth::One, true, false), (Depth::Infinity, true, true)]
        {
            assert!(depth.reaches("/a", "/A"));
            assert_eq!(depth.reaches("/a", "/a/b"), one);
            assert_eq!(depth.reaches("/a", "/a/b/c"), two);
            assert!(!depth.reaches("/a", "/ab"));
            assert!(!depth.reaches("/a/b", "/a"));
        }
    }
}
