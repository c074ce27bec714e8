//! `* NAMESPACE`: where the mailboxes of whom begin.

use mailwright_mail_model::mailbox::utf7;

use super::{
    list::{put_delimiter, read_delimiter},
    reader::{Reader, Result},
};
use crate::grammar::Wire;

/// The namespaces of a server (RFC 2342 §5). A kind that it does not have is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Namespaces {
    /// The user's own mailboxes.
    pub personal: Vec<Namespace>,
    /// Those of other users.
    pub other_users: Vec<Namespace>,
    /// Those that belong to nobody.
    pub shared: Vec<Namespace>,
}

/// One namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Namespace {
    /// What the names in it begin with; may be empty.
    pub prefix: String,
    /// What separates the levels of names in it.
    pub delimiter: Option<char>,
    /// The prefix in the language of the session, for people to read (RFC 5255 §3.4). A server says it of the prefixes it knows
    /// a name for if it is `None`.
    pub translation: Option<String>,
}

impl Namespace {
    /// The namespace of names that begin with `prefix`.
    pub fn new(prefix: impl Into<String>, delimiter: Option<char>) -> Self {
        Self { prefix: prefix.into(), delimiter, translation: None }
    }

    /// Whether a name stands in it. The level that is its prefix does too.
    fn holds(&self, name: &str) -> bool {
        let level = self.delimiter.and_then(|delimiter| self.prefix.strip_suffix(delimiter));
        name.starts_with(&self.prefix) || level.is_some_and(|level| !level.is_empty() && name == level)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        reader.open()?;
        let prefix = reader.string()?;
        let prefix = utf7::decode(&prefix).unwrap_or_else(|_| String::from_utf8_lossy(&prefix).into_owned());
        reader.space()?;
        let delimiter = read_delimiter(reader)?;
        // RFC 2342 §6: extensions may follow, each with its values in parentheses.
        let mut translation = None;
        while !reader.closes()? {
            let mut ahead = reader.clone();
            match ahead.string() {
                Ok(name) if name.eq_ignore_ascii_case(b"TRANSLATION") => {
                    *reader = ahead;
                    reader.space()?;
                    reader.open()?;
                    let text = reader.string()?;
                    translation = utf7::decode(&text).ok();
                    while !reader.closes()? {
                        reader.skip_value()?;
                    }
                }
                _ => reader.skip_value()?,
            }
        }
        Ok(Self { prefix, delimiter, translation })
    }
}

impl Namespaces {
    /// One namespace of the user's own without a prefix, and nothing else.
    pub fn personal(delimiter: char) -> Self {
        Self { personal: vec![Namespace::new("", Some(delimiter))], ..Self::default() }
    }

    /// Writes the response.
    pub fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"* NAMESPACE");
        for namespaces in [&self.personal, &self.other_users, &self.shared] {
            if namespaces.is_empty() {
                wire.put(b" NIL");
                continue;
            }
            wire.put(b" (");
            for namespace in namespaces {
                wire.put(b"(");
                wire.put_string(utf7::encode(&namespace.prefix).as_bytes());
                wire.put(b" ");
                put_delimiter(namespace.delimiter, wire);
                if let Some(translation) = &namespace.translation {
                    wire.put(b" \"TRANSLATION\" (");
                    wire.put_string(utf7::encode(translation).as_bytes());
                    wire.put(b")");
                }
                wire.put(b")");
            }
            wire.put(b")");
        }
        wire.put(b"\r\n");
    }

    /// Whether a name that the server lists is that of a mailbox of the user's own. Of two prefixes the longer one decides: a prefix may be
    /// empty, and with RFC 2342 §5 that of shared mailboxes is on some servers. Without any namespace every name is.
    pub fn is_personal(&self, name: &str) -> bool {
        let longest = |namespaces: &[Namespace]| {
            let found = namespaces.iter().filter(|namespace| namespace.holds(name));
            found.map(|namespace| namespace.prefix.len()).max()
        };
        // INBOX is the user's own, whatever it begins with (RFC 9051 §5.1).
        name.eq_ignore_ascii_case("INBOX")
            || longest(&self.personal) >= longest(&self.other_users).max(longest(&self.shared))
    }

    /// What follows the word.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let mut kind = || -> Result<Vec<Namespace>> {
            reader.space()?;
            if reader.keyword("NIL") {
                return Ok(Vec::new());
            }
            let mut namespaces = Vec::new();
            reader.open()?;
            while !reader.eat(b')') {
                namespaces.push(Namespace::read(reader)?);
                reader.padding();
            }
            Ok(namespaces)
        };
        Ok(Self { personal: kind()?, other_users: kind()?, shared: kind()? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::response::{Leniency, Response};

    proptest! {
        #[test]
        fn what_is_written_is_read(
            prefixes in prop::collection::vec("[ -~é]{0,8}", 0..4),
            delimiter in prop::option::of(Just('/')),
        ) {
            let some = |count| {
                let translated = |prefix: &String| Namespace {
                    translation: (prefix.len() > 4).then(|| format!("{prefix}é/")),
                    ..Namespace::new(prefix, delimiter)
                };
                prefixes.iter().take(count).map(translated).collect::<Vec<_>>()
            };
            let namespaces = Namespaces { personal: some(1), other_users: some(4), shared: some(2) };
            let mut octets = Vec::new();
            namespaces.encode(&mut octets);
            prop_assert_eq!(Response::parse(&octets, Leniency::strict()), Ok(Response::Namespace(namespaces)));
        }
    }

    #[test]
    fn names_are_ones_own_or_those_of_others() {
        let of = |prefix: &str| Namespace::new(prefix, Some('/'));
        let usual = Namespaces {
            other_users: vec![of("Other Users/")],
            shared: vec![of("Shared Folders/")],
            ..Namespaces::personal('/')
        };
        for (name, own) in [
            ("INBOX", true),
            ("Other", true),
            ("Other Users", false),
            ("Other Users/ann/tea", false),
            ("Other Users of old", true),
            ("Shared Folders/office", false),
        ] {
            assert_eq!(usual.is_personal(name), own, "{name}");
            assert!(Namespaces::default().is_personal(name), "{name}");
        }
        let below =
            Namespaces { personal: vec![of("INBOX/")], other_users: vec![of("user/")], shared: vec![of("")] };
        for (name, own) in [("inbox", true), ("INBOX/Sent", true), ("user/ann", false), ("news", false)] {
            assert_eq!(below.is_personal(name), own, "{name}");
        }
    }

    #[test]
    fn examples_of_the_rfc() {
        let line = "* NAMESPACE ((\"\" \"/\")(\"#mh/\" \"/\" \"X-PARAM\" (\"FLAG1\" \"FLAG2\"))) NIL NIL\r\n";
        let found = Response::parse(line.as_bytes(), Leniency::strict());
        let Ok(Response::Namespace(namespaces)) = found else { panic!("{found:?}") };
        assert_eq!(namespaces.personal, [Namespace::new("", Some('/')), Namespace::new("#mh/", Some('/'))]);
        let mut octets = Vec::new();
        Namespaces::personal('/').encode(&mut octets);
        assert_eq!(octets, b"* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
    }
}
