//! `BODY[HEADER.FIELDS (...)]` of many messages: what is the same for all of them is worked out once.

use std::ops::Range;

use mailwright_mail_model::header::Fields;

use super::{put_name, without_nul};
use crate::{
    command::{BodySection, SectionText},
    grammar::Wire,
};

/// How many pieces of a header are noted before they are copied out one by one. Fields that stand together are one piece.
const PIECES: usize = 16;

/// Fields of a header that a client has asked for, all of their octets: found in the header of each message and written from there.
///
/// ```
/// use mailwright_imap_proto::{command::{BodySection, Section}, grammar::Input, response::ChosenFields};
///
/// let section = Section::parse(&mut Input::new(b"[HEADER.FIELDS (subject x)]"))?;
/// let chosen = ChosenFields::new(&BodySection::peek(section)).ok_or("fields that are named")?;
/// let mut octets = Vec::new();
/// chosen.encode(b"To: ann\r\nSubject: tea\r\n time\r\n\r\n", &mut octets);
/// assert_eq!(octets, b"BODY[HEADER.FIELDS (subject x)] {23}\r\nSubject: tea\r\n time\r\n\r\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ChosenFields {
    /// What the item is called, with the space behind it.
    item: Vec<u8>,
    /// In the order of their first octets, in lower case.
    names: Vec<Vec<u8>>,
    /// Where those are among them that begin with an octet, in either case.
    begins: Box<[Range<u16>]>,
}

impl ChosenFields {
    /// `None` if it is not fields that are named, or not all of their octets, or names beyond number.
    pub fn new(asked: &BodySection) -> Option<Self> {
        let SectionText::HeaderFields(names) = &asked.section.text else { return None };
        if asked.partial.is_some() {
            return None;
        }
        let mut item = Vec::new();
        put_name(asked.name, &asked.section, None, &mut item);
        item.push(b' ');
        let first = |name: &[u8]| name.first().map(u8::to_ascii_lowercase);
        let mut names: Vec<Vec<u8>> = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        names.sort_by_key(|name| first(name));
        let begins = (0..=u8::MAX).map(|octet| {
            let octet = Some(octet.to_ascii_lowercase());
            let place = |found: usize| u16::try_from(found).ok();
            let start = place(names.partition_point(|name| first(name) < octet))?;
            Some(start..place(names.partition_point(|name| first(name) <= octet))?)
        });
        let begins = begins.collect::<Option<_>>()?;
        Some(Self { item, names, begins })
    }

    /// Writes the item: those of the fields that this header begins with, and the empty line.
    pub fn encode(&self, header: &[u8], wire: &mut impl Wire) {
        wire.put(&self.item);
        let mut pieces = Pieces::default();
        self.find(header, &mut pieces);
        match pieces.all() {
            Some(pieces) if memchr::memchr(0, header).is_none() => {
                let length: usize = pieces.iter().map(ExactSizeIterator::len).sum();
                wire.put(b"{");
                wire.put_number(length as u64 + 2);
                wire.put(b"}\r\n");
                for piece in pieces {
                    wire.put(header.get(piece.clone()).unwrap_or_default());
                }
                wire.put(b"\r\n");
            }
            _ => self.encode_copy(header, wire),
        }
    }

    /// The same for a header with fields all over it, or with NUL.
    #[cold]
    fn encode_copy(&self, header: &[u8], wire: &mut impl Wire) {
        let chosen = Fields::new(header)
            .filter(|field| self.names.iter().any(|name| is(field.name(), name.as_slice())));
        let mut octets: Vec<u8> = chosen.flat_map(|field| field.raw()).copied().collect();
        octets.extend_from_slice(b"\r\n");
        wire.put_literal(without_nul(&octets).as_deref().unwrap_or(&octets));
    }

    /// Finds the fields, without a look at the lines of others but for their ends. What it takes for a field is what
    /// [`Fields`] does.
    fn find(&self, header: &[u8], pieces: &mut Pieces) {
        let mut ends = memchr::memchr_iter(b'\n', header).map(|end| end + 1).chain([header.len()]);
        let mut start = 0;
        // Whether lines that continue the last one belong to a chosen field.
        let mut chosen = false;
        while let Some(first) = header.get(start) {
            let Some(end) = ends.next() else { return };
            match first {
                b' ' | b'\t' => {}
                b'\n' => return,
                b'\r' if header.get(start..end) == Some(b"\r\n") => return,
                first => {
                    let names = self.begins.get(usize::from(*first)).cloned().unwrap_or_default();
                    let names = self.names.get(usize::from(names.start)..usize::from(names.end));
                    let line = header.get(start..end).unwrap_or_default();
                    chosen = names.unwrap_or_default().iter().any(|name| begins_with(line, name));
                }
            }
            if chosen {
                pieces.add(start..end);
            }
            start = end;
        }
    }
}

/// Whether a line is the first of a field of this name.
fn begins_with(line: &[u8], name: &[u8]) -> bool {
    let Some((begins, rest)) = line.split_at_checked(name.len()) else { return false };
    match rest {
        [b':', ..] => begins.eq_ignore_ascii_case(name),
        // RFC 5322 §4.5: spaces before the colon are obsolete but must be understood.
        [b' ' | b'\t', ..] => {
            let colon = rest.iter().find(|octet| !matches!(octet, b' ' | b'\t'));
            colon == Some(&b':') && begins.eq_ignore_ascii_case(name)
        }
        _ => false,
    }
}

fn is(name: &str, wanted: &[u8]) -> bool {
    name.as_bytes().eq_ignore_ascii_case(wanted)
}

/// Pieces of a header, in order, without an allocation.
#[derive(Default)]
struct Pieces {
    pieces: [Range<usize>; PIECES],
    /// How many there are, if there was room for them.
    count: usize,
}

impl Pieces {
    fn add(&mut self, piece: Range<usize>) {
        if let Some(last) = self.count.checked_sub(1).and_then(|last| self.pieces.get_mut(last))
            && last.end == piece.start
        {
            last.end = piece.end;
            return;
        }
        if let Some(place) = self.pieces.get_mut(self.count) {
            *place = piece;
        }
        self.count = self.count.saturating_add(1);
    }

    fn all(&self) -> Option<&[Range<usize>]> {
        self.pieces.get(..self.count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{command::Section, grammar::Input};

    fn asked(section: &str) -> BodySection {
        BodySection::peek(Section::parse(&mut Input::new(section.as_bytes())).unwrap())
    }

    /// What a section is without any of this.
    fn plainly(asked: &BodySection, header: &[u8]) -> Vec<u8> {
        let mut octets = Vec::new();
        put_name(asked.name, &asked.section, None, &mut octets);
        octets.push(b' ');
        let chosen = asked.section.select(header).unwrap();
        octets.put_literal(without_nul(&chosen).as_deref().unwrap_or(&chosen));
        octets
    }

    fn written(asked: &BodySection, header: &[u8]) -> Vec<u8> {
        let mut octets = Vec::new();
        ChosenFields::new(asked).unwrap().encode(header, &mut octets);
        octets
    }

    proptest! {
        #[test]
        fn fields_are_those_of_the_section(header in "([AaBb]{0,2}[ \\t]?:?[ab:\\t \\x00é]{0,3}(\r\n|\n|\r)?( b)?){0,12}") {
            let asked = asked("[HEADER.FIELDS (a AB bb)]");
            prop_assert_eq!(written(&asked, header.as_bytes()), plainly(&asked, header.as_bytes()));
        }
    }

    #[test]
    fn any_number_of_fields_is_chosen() {
        for count in [0, 1, 15, 16, 17, 100] {
            let header = "a: 1\r\n b\r\nc: 2\r\n".repeat(count) + "\r\na: body\r\n";
            let asked = asked("[HEADER.FIELDS (a d)]");
            let written = written(&asked, header.as_bytes());
            assert_eq!(written, plainly(&asked, header.as_bytes()));
            assert_eq!(memchr::memmem::find_iter(&written, "a: 1\r\n b\r\n").count(), count);
        }
    }

    #[test]
    fn only_whole_fields_that_are_named_are_chosen() {
        assert!(ChosenFields::new(&asked("[HEADER.FIELDS.NOT (a)]")).is_none());
        assert!(ChosenFields::new(&asked("[HEADER]")).is_none());
        let mut partial = asked("[HEADER.FIELDS (a)]");
        partial.partial = Some(crate::command::Partial::new(0, 5));
        assert!(ChosenFields::new(&partial).is_none());
    }
}
