//! `* ACL`, `* LISTRIGHTS`, `* MYRIGHTS` (RFC 4314 §3.6) and `* METADATA` (RFC 5464 §4.4), as clients read them.

use bytes::Bytes;

use super::{
    ListedName,
    reader::{Reader, Result},
};
use crate::command::ListedRights;

/// The access control list of a mailbox.
///
/// ```
/// use mailwright_imap_proto::response::{Leniency, Response};
///
/// let line = b"* ACL INBOX Fred rwipsldexta -Eve l\r\n";
/// let Response::Acl(acl) = Response::parse(line, Leniency::strict())? else { panic!() };
/// assert_eq!(acl.entries[0], ("Fred".to_owned(), "rwipsldexta".to_owned()));
/// # Ok::<(), mailwright_imap_proto::grammar::GrammarError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Acl {
    /// The mailbox.
    pub mailbox: ListedName,
    /// Identifiers and their rights.
    pub entries: Vec<(String, String)>,
}

/// Which rights can be given to somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RightsOf {
    /// The mailbox.
    pub mailbox: ListedName,
    /// Who that is.
    pub identifier: String,
    /// The rights.
    pub rights: ListedRights,
}

/// What the user may do with a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct OwnRights {
    /// The mailbox.
    pub mailbox: ListedName,
    /// The rights, one letter for each.
    pub rights: String,
}

/// What is noted about a mailbox or the server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Annotations {
    /// The mailbox; the empty name is the server.
    pub mailbox: ListedName,
    /// Entries and their values, `None` where there is none. If only names were told, because something changed
    /// (RFC 5464 §4.4.2), the values are to be asked for.
    pub entries: Vec<(String, Option<Bytes>)>,
    /// Whether only names were told.
    pub names_only: bool,
}

impl Acl {
    /// What follows the word.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        reader.space()?;
        let mailbox = ListedName::read(reader)?;
        let mut entries = Vec::new();
        while reader.input.peek() == Some(b' ') {
            reader.space()?;
            if reader.input.is_empty() {
                break;
            }
            let identifier = astring(reader)?;
            reader.space()?;
            entries.push((identifier, astring(reader)?));
        }
        Ok(Self { mailbox, entries })
    }
}

impl RightsOf {
    /// What follows the word.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        reader.space()?;
        let mailbox = ListedName::read(reader)?;
        reader.space()?;
        let identifier = astring(reader)?;
        reader.space()?;
        let required = astring(reader)?;
        let mut optional = Vec::new();
        while reader.input.peek() == Some(b' ') {
            reader.space()?;
            if reader.input.is_empty() {
                break;
            }
            optional.push(astring(reader)?);
        }
        Ok(Self { mailbox, identifier, rights: ListedRights::new(required, optional) })
    }
}

impl OwnRights {
    /// What follows the word.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        reader.space()?;
        let mailbox = ListedName::read(reader)?;
        reader.space()?;
        Ok(Self { mailbox, rights: astring(reader)? })
    }
}

impl Annotations {
    /// What follows the word.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        reader.space()?;
        let mailbox = ListedName::read(reader)?;
        reader.space()?;
        if reader.input.peek() == Some(b'(') {
            let entries = reader.list(|reader| {
                let entry = astring(reader)?;
                reader.space()?;
                // RFC 5464 §5: a value with NUL comes as a literal8.
                if reader.input.rest().starts_with(b"~{") {
                    reader.eat(b'~');
                }
                Ok((entry, reader.nstring()?.map(|value| Bytes::from(value.into_owned()))))
            })?;
            return Ok(Self { mailbox, entries, names_only: false });
        }
        let mut entries = vec![(astring(reader)?, None)];
        while reader.input.peek() == Some(b' ') {
            reader.space()?;
            if reader.input.is_empty() {
                break;
            }
            entries.push((astring(reader)?, None));
        }
        Ok(Self { mailbox, entries, names_only: true })
    }
}

pub(super) fn astring(reader: &mut Reader<'_>) -> Result<String> {
    Ok(String::from_utf8_lossy(&reader.astring()?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::{Leniency, Response};

    fn read(text: &str) -> Response {
        Response::parse(text.as_bytes(), Leniency::strict()).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn those_of_the_rfcs_are_read() {
        // RFC 4314 §3.6 and §3.7
        let Response::Acl(acl) = read("* ACL INBOX/Drafts Fred rwipslxetad Chris lrswi") else { panic!() };
        assert_eq!(acl.entries[1], ("Chris".to_owned(), "lrswi".to_owned()));
        let Response::Acl(acl) = read("* ACL x") else { panic!() };
        assert_eq!(acl.entries, []);
        let Response::RightsOf(rights) = read("* LISTRIGHTS ~/Mail/saved smith la r swicdkxte") else {
            panic!()
        };
        assert_eq!(rights.rights, ListedRights::new("la", vec!["r".into(), "swicdkxte".into()]));
        let line = "* LISTRIGHTS archive/imap anyone \"\" l r s w i p k x t e c d a 0 1 2 3 4 5 6 7 8 9";
        let Response::RightsOf(rights) = read(line) else { panic!() };
        assert_eq!((rights.identifier.as_str(), rights.rights.optional.len()), ("anyone", 23));
        let Response::OwnRights(own) = read("* MYRIGHTS INBOX rwiptsldaex") else { panic!() };
        assert_eq!(own.rights, "rwiptsldaex");
        // RFC 5464 §4.4
        let Response::Annotations(told) = read("* METADATA \"\" /shared/comment") else { panic!() };
        assert!(told.names_only && told.entries == [("/shared/comment".to_owned(), None)]);
        let line = "* METADATA INBOX (/private/comment ~{3}\r\na\0b /shared/comment NIL)";
        let Response::Annotations(told) = read(line) else { panic!() };
        assert_eq!(told.entries[0].1.as_deref(), Some(&b"a\0b"[..]));
        assert_eq!(told.entries[1], ("/shared/comment".to_owned(), None));
        for bad in ["* ACL", "* ACL x y", "* MYRIGHTS x", "* METADATA x", "* METADATA x (/a)"] {
            assert!(Response::parse(bad.as_bytes(), Leniency::tolerant()).is_err(), "{bad}");
        }
    }
}
