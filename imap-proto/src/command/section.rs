//! `BODY[section]<partial>` and its elder relatives (RFC 3501 §6.4.5).

use std::{collections::HashSet, num::NonZeroU32};

use mailwright_mail_model::{header::Fields, mime};

use crate::grammar::{GrammarError, Input, Wire};

/// How deep a part may be named.
const MAX_DEPTH: usize = 100;
/// How many header fields one item may name.
const MAX_HEADER_FIELDS: usize = 1_000;

/// A part of a message, its octets as they are stored.
///
/// ```
/// use mailwright_imap_proto::{command::Section, grammar::Input};
///
/// let section = Section::parse(&mut Input::new(b"[4.1.HEADER.FIELDS (Date From)]"))?;
/// assert_eq!(section.part.len(), 2);
/// # Ok::<(), mailwright_imap_proto::grammar::GrammarError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Section {
    /// The number of the part at each level; none for the message itself.
    pub part: Vec<NonZeroU32>,
    /// What of that part.
    pub text: SectionText,
}

/// What of a part is meant by a [`Section`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum SectionText {
    /// All of it: of the message header and body, of a part the body alone.
    #[default]
    Whole,
    /// The header of the message or of the message that this part is, with the empty line behind it.
    Header,
    /// These fields of that header, and the empty line.
    HeaderFields(Vec<String>),
    /// All fields of that header but these, and the empty line.
    HeaderFieldsNot(Vec<String>),
    /// What follows that header.
    Text,
    /// The MIME header of a part.
    Mime,
}

impl Section {
    /// A part of a message.
    pub fn new(part: Vec<NonZeroU32>, text: SectionText) -> Self {
        Self { part, text }
    }

    /// The section as a message's [`Structure`](mime::Structure) knows it: for header fields, the header they are in,
    /// of which [`select`](Self::select) then takes the fields.
    ///
    /// # Errors
    /// If it is deeper than structures are, or MIME without a part number.
    pub fn locator(&self) -> Result<mime::Section, mime::SectionError> {
        let text = match self.text {
            SectionText::Whole => mime::SectionText::All,
            SectionText::Text => mime::SectionText::Text,
            SectionText::Mime => mime::SectionText::Mime,
            SectionText::Header | SectionText::HeaderFields(_) | SectionText::HeaderFieldsNot(_) => {
                mime::SectionText::Header
            }
        };
        mime::Section::new(self.part.clone(), text)
    }

    /// The fields that are asked for, of a whole header, and the empty line behind them; `None` if the section is no
    /// matter of fields.
    ///
    /// ```
    /// use mailwright_imap_proto::{command::Section, grammar::Input};
    ///
    /// let section = Section::parse(&mut Input::new(b"[HEADER.FIELDS (subject x)]"))?;
    /// let header = b"To: ann\r\nSubject: tea\r\n time\r\n\r\n";
    /// assert_eq!(section.select(header).as_deref(), Some(&b"Subject: tea\r\n time\r\n\r\n"[..]));
    /// # Ok::<(), mailwright_imap_proto::grammar::GrammarError>(())
    /// ```
    pub fn select(&self, header: &[u8]) -> Option<Vec<u8>> {
        let (names, wanted) = match &self.text {
            SectionText::HeaderFields(names) => (names, true),
            SectionText::HeaderFieldsNot(names) => (names, false),
            _ => return None,
        };
        // RFC 3501 §6.4.5: names are compared without regard to case.
        let names: HashSet<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        let fields = Fields::new(header);
        let fields = fields.filter(|field| names.contains(&field.name().to_ascii_lowercase()) == wanted);
        let mut selected: Vec<u8> = fields.flat_map(|field| field.raw()).copied().collect();
        selected.extend_from_slice(b"\r\n");
        Some(selected)
    }

    /// Takes a section in its brackets.
    ///
    /// # Errors
    /// If none is here, or it is deeper or names more fields than is reasonable.
    pub fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        input.octet(b'[', "a section in brackets")?;
        Self::parse_after_bracket(input)
    }

    pub(super) fn parse_after_bracket(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        let mut part = Vec::new();
        while input.peek().is_some_and(|octet| octet.is_ascii_digit()) {
            if part.len() == MAX_DEPTH {
                return Err(GrammarError::TooMany { what: "levels of parts", limit: MAX_DEPTH });
            }
            let here = input.clone();
            part.push(
                NonZeroU32::new(input.number()?).ok_or_else(|| here.expected("a part number above 0"))?,
            );
            if !input.eat(b'.') {
                input.octet(b']', "the end of the section")?;
                return Ok(Self { part, text: SectionText::Whole });
            }
        }
        let text = SectionText::parse(input, &part)?;
        input.octet(b']', "the end of the section")?;
        Ok(Self { part, text })
    }

    /// Writes the section in its brackets.
    pub fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"[");
        for (index, number) in self.part.iter().enumerate() {
            if index > 0 {
                wire.put(b".");
            }
            wire.put_number(u64::from(number.get()));
        }
        let (word, fields) = match &self.text {
            SectionText::Whole => return wire.put(b"]"),
            SectionText::Header => ("HEADER", None),
            SectionText::HeaderFields(fields) => ("HEADER.FIELDS ", Some(fields)),
            SectionText::HeaderFieldsNot(fields) => ("HEADER.FIELDS.NOT ", Some(fields)),
            SectionText::Text => ("TEXT", None),
            SectionText::Mime => ("MIME", None),
        };
        if !self.part.is_empty() {
            wire.put(b".");
        }
        wire.put(word.as_bytes());
        if let Some(fields) = fields {
            wire.put_list(fields, |wire, field| wire.put_astring(field.as_bytes()));
        }
        wire.put(b"]");
    }
}

impl SectionText {
    fn parse(input: &mut Input<'_>, part: &[NonZeroU32]) -> Result<Self, GrammarError> {
        if part.is_empty() && input.peek() == Some(b']') {
            return Ok(Self::Whole);
        }
        if input.keyword("HEADER.FIELDS.NOT") {
            return header_fields(input).map(Self::HeaderFieldsNot);
        }
        if input.keyword("HEADER.FIELDS") {
            return header_fields(input).map(Self::HeaderFields);
        }
        if input.keyword("HEADER") {
            return Ok(Self::Header);
        }
        if input.keyword("TEXT") {
            return Ok(Self::Text);
        }
        // RFC 3501 §6.4.5: MIME must have a part number before it.
        if !part.is_empty() && input.keyword("MIME") {
            return Ok(Self::Mime);
        }
        Err(input.expected("a section"))
    }
}

fn header_fields(input: &mut Input<'_>) -> Result<Vec<String>, GrammarError> {
    input.space()?;
    let here = input.clone();
    let fields = input.list("header fields", MAX_HEADER_FIELDS, |input| {
        let here = input.clone();
        let name = input.text()?;
        // RFC 5322 §2.2: printable ASCII but the colon; anything else would end up in the response.
        let is_name = !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_graphic() && octet != b':');
        if is_name { Ok(name) } else { Err(here.expected("the name of a header field")) }
    })?;
    if fields.is_empty() { Err(here.expected("at least one header field")) } else { Ok(fields) }
}

/// `<offset.length>`: some octets of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Partial {
    /// The first octet, from 0.
    pub offset: u64,
    /// How many at most; never 0.
    pub length: u64,
}

impl Partial {
    /// `length` octets from `offset` on. A length of 0 becomes 1: the grammar has no other.
    pub fn new(offset: u64, length: u64) -> Self {
        Self { offset, length: length.max(1) }
    }

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Option<Self>, GrammarError> {
        if !input.eat(b'<') {
            return Ok(None);
        }
        let offset = input.number64()?;
        input.octet(b'.', "a dot")?;
        let here = input.clone();
        let length = input.number64()?;
        input.octet(b'>', "the end of the partial")?;
        // RFC 3501 §9: nz-number
        if length == 0 { Err(here.expected("a length above 0")) } else { Ok(Some(Self { offset, length })) }
    }

    pub(super) fn encode(self, wire: &mut impl Wire) {
        wire.put(b"<");
        wire.put_number(self.offset);
        wire.put(b".");
        wire.put_number(self.length);
        wire.put(b">");
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn sections() -> impl Strategy<Value = Section> {
        let fields = || prop::collection::vec("[!-9;-~]{1,8}", 1..4);
        let text = prop_oneof![
            Just(SectionText::Whole),
            Just(SectionText::Header),
            Just(SectionText::Text),
            Just(SectionText::Mime),
            fields().prop_map(SectionText::HeaderFields),
            fields().prop_map(SectionText::HeaderFieldsNot),
        ];
        let number = (1_u32..).prop_map(|number| NonZeroU32::new(number).unwrap());
        (prop::collection::vec(number, 0..4), text).prop_map(|(part, text)| {
            let text = if part.is_empty() && text == SectionText::Mime { SectionText::Text } else { text };
            Section { part, text }
        })
    }

    fn parse(text: &str) -> Result<Section, GrammarError> {
        let mut input = Input::new(text.as_bytes());
        Section::parse(&mut input).and_then(|section| input.end().map(|()| section))
    }

    #[test]
    fn refuses_what_is_no_section() {
        for bad in [
            "",
            "[",
            "[0]",
            "[1.]",
            "[1",
            "[.1]",
            "[MIME]",
            "[TEXT.1]",
            "[1.HEADER.FIELDS]",
            "[HEADER.FIELDS ()]",
            "[HEADER.FIELDS (a b]",
            "[HEADER.FIELDS (\"a:b\")]",
            "[HEADER.FIELDS ({3}\r\na\r\n)]",
            "[HEADERS]",
            "[ ]",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        assert!(parse(&format!("[{}1]", "1.".repeat(99))).is_ok());
        assert!(parse(&format!("[{}1]", "1.".repeat(100))).is_err());
        assert!(parse(&format!("[HEADER.FIELDS ({}y)]", "x ".repeat(10_000))).is_err());
    }

    #[test]
    fn partials_have_bounds() {
        let parse = |text: &str| Partial::parse(&mut Input::new(text.as_bytes()));
        assert_eq!(parse(""), Ok(None));
        assert_eq!(parse("<0.1>"), Ok(Some(Partial::new(0, 1))));
        assert_eq!(parse("<4294967295.4294967295>"), Ok(Some(Partial::new(4_294_967_295, 4_294_967_295))));
        for bad in ["<0.0>", "<0>", "<99999999999999999999.1>", "<1.1", "<-1.1>"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn is_read_as_it_was_written(section in sections()) {
            let mut wire = Vec::new();
            section.encode(&mut wire);
            prop_assert_eq!(Section::parse(&mut Input::new(&wire)).unwrap(), section);
        }
    }
}
