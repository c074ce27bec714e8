//! The fields of a header: found once, and decoded once, however many tests look at them.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use mailwright_mail_model::{
    address_list::{self, Entry},
    header::Fields,
    word,
};

use super::{Context, Stop};

/// A header, and what was found out about it.
#[derive(Debug, Default)]
pub(crate) struct Header {
    octets: Bytes,
    /// Where each field begins.
    starts: Option<Vec<u32>>,
    texts: BTreeMap<usize, Arc<str>>,
    mailboxes: BTreeMap<usize, Arc<[Mailbox]>>,
    /// The octets of the values that are kept decoded.
    kept: usize,
}

/// A field of the header of a part.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    part: usize,
    start: usize,
    /// As it stands.
    pub(crate) value: Bytes,
}

/// An address of a field.
#[derive(Debug)]
pub(crate) struct Mailbox {
    whole: Box<str>,
    /// How long the local part is.
    local: usize,
}

/// So many octets of values are kept decoded. Few headers have more of what scripts ask for.
const KEPT: usize = 64 << 10;

impl Header {
    pub(super) fn new(octets: Bytes) -> Self {
        Self { octets, ..Self::default() }
    }

    pub(super) const fn octets(&self) -> &Bytes {
        &self.octets
    }

    /// The fields of a name, in their order.
    fn find(&mut self, part: usize, name: &str, found: &mut Vec<Found>) {
        let octets = &self.octets;
        let starts = self.starts.get_or_insert_with(|| {
            // Limits keep headers far below 4 GiB.
            let start =
                |field: mailwright_mail_model::header::Field<'_>| u32::try_from(field.range().start).ok();
            Fields::new(octets).filter_map(start).collect()
        });
        for start in starts.iter().filter_map(|start| usize::try_from(*start).ok()) {
            let begins = octets.get(start..start.saturating_add(name.len()));
            if !begins.is_some_and(|begins| begins.eq_ignore_ascii_case(name.as_bytes())) {
                continue;
            }
            let field = Fields::new(octets.get(start..).unwrap_or_default()).next();
            if let Some(field) = field.filter(|field| field.is(name)) {
                let range = field.value_range();
                found.push(Found {
                    part,
                    start,
                    value: octets.slice(start + range.start..start + range.end),
                });
            }
        }
    }

    /// Whether there is room to keep what such a value is decoded to.
    fn has_room(&mut self, value: &[u8]) -> bool {
        self.kept = self.kept.saturating_add(value.len());
        self.kept <= KEPT
    }
}

impl Mailbox {
    /// The whole address, or what has no domain as it stands.
    pub(crate) fn whole(&self) -> &str {
        &self.whole
    }

    /// The local part.
    pub(crate) fn local(&self) -> &str {
        self.whole.get(..self.local).unwrap_or_default()
    }

    /// The domain; empty if there is none.
    pub(crate) fn domain(&self) -> &str {
        self.whole.get(self.local + 1..).unwrap_or_default()
    }

    /// An address of these parts.
    pub(crate) fn new(local: &str, domain: &str) -> Self {
        let whole = if domain.is_empty() { local.into() } else { format!("{local}@{domain}").into() };
        Self { whole, local: local.len() }
    }
}

impl Context {
    /// The fields of these names in the header of a part, name by name.
    ///
    /// # Errors
    /// If the host has to be asked first, or a limit is reached.
    pub(crate) fn fields<N: AsRef<str>>(&mut self, part: usize, names: &[N]) -> Result<Vec<Found>, Stop> {
        let length = self.known_header(part)?.octets.len();
        self.charge(length.saturating_mul(names.len()))?;
        let header = self.known_header(part)?;
        let mut found = Vec::new();
        names.iter().for_each(|name| header.find(part, name.as_ref(), &mut found));
        Ok(found)
    }

    /// RFC 5228 §2.7.2, §5.7: the value decoded, and without white space at its ends.
    pub(crate) fn field_text(&mut self, field: &Found) -> Result<Arc<str>, Stop> {
        let header = self.known_header(field.part)?;
        if let Some(text) = header.texts.get(&field.start) {
            return Ok(Arc::clone(text));
        }
        let text: Arc<str> = text(&field.value).into();
        if header.has_room(&field.value) {
            header.texts.insert(field.start, Arc::clone(&text));
        }
        Ok(text)
    }

    /// The addresses in the value.
    pub(crate) fn field_mailboxes(&mut self, field: &Found) -> Result<Arc<[Mailbox]>, Stop> {
        let header = self.known_header(field.part)?;
        if let Some(mailboxes) = header.mailboxes.get(&field.start) {
            return Ok(Arc::clone(mailboxes));
        }
        let mailbox = |entry: Entry| match entry {
            Entry::Mailbox(found) => {
                let (local, domain) =
                    (String::from_utf8_lossy(&found.local), String::from_utf8_lossy(&found.domain));
                Some(Mailbox::new(&local, &domain))
            }
            _ => None,
        };
        let mailboxes: Arc<[Mailbox]> =
            address_list::parse(&field.value).into_iter().filter_map(mailbox).collect();
        if header.has_room(&field.value) {
            header.mailboxes.insert(field.start, Arc::clone(&mailboxes));
        }
        Ok(mailboxes)
    }
}

/// RFC 5228 §2.7.2, §5.7: decoded, and without white space at its ends.
pub(crate) fn text(value: &[u8]) -> String {
    let text = word::decode(value);
    let trimmed = text.trim_matches([' ', '\t', '\r', '\n']);
    if trimmed.len() == text.len() { text } else { trimmed.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_names() {
        let octets =
            b"To: a@b\r\nTo : c@d,\r\n e@f\r\nTotal: 3\r\nnonsense\r\n to x: y\r\ntO:\r\n\r\nTo: body\r\n";
        let mut header = Header::new(Bytes::from_static(octets));
        let mut found = Vec::new();
        header.find(0, "to", &mut found);
        let values: Vec<_> = found.iter().map(|field| &field.value[..]).collect();
        assert_eq!(values, [&b" a@b"[..], b" c@d,\r\n e@f", b""]);
        header.find(0, "tot", &mut found);
        header.find(0, "nonsense", &mut found);
        assert_eq!(found.len(), 3);
        header.find(0, "TOTAL", &mut found);
        assert_eq!(&found[3].value[..], b" 3");
    }

    #[test]
    fn little_is_kept() {
        let mut header = Header::default();
        assert!(header.has_room(&[0; 60 << 10]) && !header.has_room(&[0; 5 << 10]));
    }
}
