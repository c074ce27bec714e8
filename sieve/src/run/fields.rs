//! The fields of a header: found once, and decoded once, however many tests look at them.

use std::sync::Arc;

use bytes::Bytes;
use mailwright_mail_model::{
    address_list::{self, Entry},
    header::{Field, Fields},
    word,
};

use super::{Context, Stop};

/// A header, and what was found out about it.
#[derive(Debug, Default)]
pub(crate) struct Header {
    octets: Bytes,
    /// Its fields, once somebody has looked for one, and for each a number that is the same for equal names: most are not what is looked
    /// for, and told from it by that.
    places: Option<Vec<Place>>,
    marks: Vec<u64>,
    /// What fields say, by their numbers.
    texts: Vec<(usize, Arc<str>)>,
    mailboxes: Vec<(usize, Arc<[Mailbox]>)>,
    /// The octets of the values that are kept decoded.
    kept: usize,
}

/// Where a field stands. Limits keep headers far below 4 GiB.
#[derive(Debug)]
struct Place {
    start: u32,
    value: u32,
    end: u32,
}

/// A field of the header of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    part: usize,
    /// The how-manieth of that header it is.
    number: usize,
}

/// An address of a field.
#[derive(Debug)]
pub(crate) struct Mailbox {
    whole: Box<str>,
    /// How long the local part is.
    local: usize,
}

/// So many octets of values are kept decoded, and so many values. Few headers have more of what scripts ask for.
const KEPT: usize = 64 << 10;
const KEPT_VALUES: usize = 64;

/// How many letters of a name are in its mark.
const MARKED: usize = 7;

/// The first letters of a name as small ones, and its length modulo 256: of names that are no longer than that it tells all.
fn mark(name: &[u8]) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let letters = name.iter().take(MARKED).fold(0, |letters, octet| letters << 8 | u64::from(*octet));
    // All eight octets at once: the high bit of those from A and of those behind Z, but for octets that have it themselves.
    let low = letters & !HIGH;
    let from_a = low + ONES * u64::from(0x80 - b'A');
    let behind_z = low + ONES * u64::from(0x7F - b'Z');
    let capitals = (from_a ^ behind_z) & !letters & HIGH;
    (letters | capitals >> 2) << 8 | u64::from(name.len().to_le_bytes()[0])
}

impl Place {
    fn new(field: &Field<'_>) -> Option<Self> {
        let value = field.value_range();
        Some(Self {
            start: u32::try_from(field.range().start).ok()?,
            value: u32::try_from(value.start).ok()?,
            end: u32::try_from(value.end).ok()?,
        })
    }
}

impl Header {
    pub(super) fn new(octets: Bytes) -> Self {
        Self { octets, ..Self::default() }
    }

    pub(super) const fn octets(&self) -> &Bytes {
        &self.octets
    }

    /// The number of the first field of a name that is not before that number.
    fn find(&mut self, name: &str, from: usize) -> Option<usize> {
        if self.places.is_none() {
            let fields = Fields::new(&self.octets);
            let marked =
                fields.filter_map(|field| Some((Place::new(&field)?, mark(field.name().as_bytes()))));
            let (places, marks) = marked.unzip();
            (self.places, self.marks) = (Some(places), marks);
        }
        let (wanted, mut from) = (mark(name.as_bytes()), from);
        loop {
            from += self.marks.get(from..)?.iter().position(|mark| *mark == wanted)?;
            if name.len() <= MARKED || self.is_called(from, name) {
                return Some(from);
            }
            from += 1;
        }
    }

    /// Whether that is the name of a field whose mark it has.
    fn is_called(&self, number: usize, name: &str) -> bool {
        let Some(place) = self.places.as_ref().and_then(|places| places.get(number)) else { return false };
        let start = place.start as usize;
        let (begins, behind) =
            (self.octets.get(start..start + name.len()), self.octets.get(start + name.len()));
        begins.is_some_and(|begins| begins.eq_ignore_ascii_case(name.as_bytes()))
            // RFC 5322 §4.5: there may be blanks before the colon.
            && behind.is_some_and(|next| matches!(next, b':' | b' ' | b'\t'))
    }

    /// The value of a field, as it stands.
    fn value(&self, number: usize) -> &[u8] {
        let place = self.places.as_ref().and_then(|places| places.get(number));
        place.and_then(|place| self.octets.get(place.value as usize..place.end as usize)).unwrap_or_default()
    }

    fn text(&mut self, number: usize) -> Arc<str> {
        if let Some((_, text)) = self.texts.iter().find(|(known, _)| *known == number) {
            return Arc::clone(text);
        }
        let text: Arc<str> = trimmed(&word::text(self.value(number))).into();
        if self.has_room(number) {
            self.texts.push((number, Arc::clone(&text)));
        }
        text
    }

    fn mailboxes(&mut self, number: usize) -> Arc<[Mailbox]> {
        if let Some((_, mailboxes)) = self.mailboxes.iter().find(|(known, _)| *known == number) {
            return Arc::clone(mailboxes);
        }
        let mailbox = |entry: Entry| match entry {
            Entry::Mailbox(found) => Some(Mailbox::new(
                &String::from_utf8_lossy(&found.local),
                &String::from_utf8_lossy(&found.domain),
            )),
            _ => None,
        };
        let mailboxes: Arc<[Mailbox]> =
            address_list::parse(self.value(number)).into_iter().filter_map(mailbox).collect();
        if self.has_room(number) {
            self.mailboxes.push((number, Arc::clone(&mailboxes)));
        }
        mailboxes
    }

    /// Whether there is room to keep what a value is decoded to.
    fn has_room(&mut self, number: usize) -> bool {
        self.kept = self.kept.saturating_add(self.value(number).len());
        self.kept <= KEPT && self.texts.len() + self.mailboxes.len() < KEPT_VALUES
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
        let whole = if domain.is_empty() { local.into() } else { [local, "@", domain].concat().into() };
        Self { whole, local: local.len() }
    }
}

impl Context {
    /// The first field of a name in the header of a part that is not before that number: a look at all of them begins with 0, and goes on
    /// behind the one found last ([`Found::next`]).
    ///
    /// # Errors
    /// If the host has to be asked first, or a limit is reached.
    pub(crate) fn field(&mut self, part: usize, name: &str, from: usize) -> Result<Option<Found>, Stop> {
        if from == 0 {
            let length = self.known_header(part)?.octets.len();
            self.charge(length)?;
        }
        let number = self.known_header(part)?.find(name, from);
        Ok(number.map(|number| Found { part, number }))
    }

    /// The fields of these names in the header of a part, name by name.
    ///
    /// # Errors
    /// If the host has to be asked first, or a limit is reached.
    pub(crate) fn fields<'n>(
        &mut self,
        part: usize,
        names: impl Iterator<Item = &'n str>,
    ) -> Result<Vec<Found>, Stop> {
        let mut found = Vec::new();
        for name in names {
            let mut from = 0;
            while let Some(field) = self.field(part, name, from)? {
                from = field.next();
                found.push(field);
            }
        }
        Ok(found)
    }

    /// The value of a field as it stands.
    pub(crate) fn field_value(&mut self, field: Found) -> Result<&[u8], Stop> {
        Ok(self.known_header(field.part)?.value(field.number))
    }

    /// RFC 5228 §2.7.2, §5.7: the value decoded, and without white space at its ends.
    pub(crate) fn field_text(&mut self, field: Found) -> Result<Arc<str>, Stop> {
        Ok(self.known_header(field.part)?.text(field.number))
    }

    /// The addresses in the value.
    pub(crate) fn field_mailboxes(&mut self, field: Found) -> Result<Arc<[Mailbox]>, Stop> {
        Ok(self.known_header(field.part)?.mailboxes(field.number))
    }
}

impl Found {
    /// The number of the field behind it.
    pub(crate) const fn next(self) -> usize {
        self.number + 1
    }
}

/// RFC 5228 §2.7.2, §5.7: decoded, and without white space at its ends.
pub(crate) fn text(value: &[u8]) -> String {
    trimmed(&word::text(value)).to_owned()
}

fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r', '\n'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<'h>(header: &'h mut Header, name: &str) -> Vec<&'h [u8]> {
        let mut numbers = Vec::new();
        while let Some(number) = header.find(name, numbers.last().map_or(0, |last| last + 1)) {
            numbers.push(number);
        }
        let header = &*header;
        numbers.into_iter().map(|number| header.value(number)).collect()
    }

    #[test]
    fn fields_are_found_by_their_whole_names() {
        let octets =
            b"To: a@b\r\nTo : c@d,\r\n e@f\r\nTotal: 3\r\nnonsense\r\n to x: y\r\ntO:\r\nTno: 1\r\nT\x4f\t:\r\n\r\nTo: body\r\n";
        let mut header = Header::new(Bytes::from_static(octets));
        assert_eq!(values(&mut header, "to"), [&b" a@b"[..], b" c@d,\r\n e@f", b"", b""]);
        for other in ["tot", "nonsense", "", "to:", "to ", "to\0", "\0to", "tlo", "o", "[o"] {
            assert_eq!(values(&mut header, other), [&b""[..]; 0], "{other}");
        }
        assert_eq!(values(&mut header, "TOTAL"), [b" 3"]);
    }

    /// All of them and no others, whatever their names have in common.
    #[test]
    fn many_fields() {
        let long = "x".repeat(300);
        let names =
            ["aba", "aca", "[b", "{b", "abcdefg", "abcdefgh", "abcdefgH-i", "abcdefgh-j", &long[..44], &long];
        let lines: String = (0..500).map(|n| format!("{}: {n}\r\n", names[n * 7 % names.len()])).collect();
        let mut header = Header::new(lines.clone().into());
        for name in names {
            let all = Fields::new(lines.as_bytes()).filter(|field| field.is(name));
            let all: Vec<_> = all.map(|field| field.value()).collect();
            assert!(all.len() == 50 && values(&mut header, &name.to_ascii_uppercase()) == all, "{name}");
        }
    }

    #[test]
    fn little_is_kept() {
        let line = |length: usize| format!("Subject: {}\r\n", "x".repeat(length));
        let mut header = Header::new((line(60 << 10) + &line(5 << 10) + &line(1)).into());
        for number in 0..3 {
            header.find("subject", 0);
            header.text(number);
        }
        assert_eq!(header.texts.len(), 1);
        let mut header = Header::new(line(1).repeat(1000).into());
        header.find("subject", 0);
        for number in 0..1000 {
            assert_eq!(&*header.text(number), "x");
            assert_eq!(&*header.mailboxes(number)[0].whole, "x");
        }
        assert_eq!(header.texts.len() + header.mailboxes.len(), KEPT_VALUES);
    }
}
