//! Header fields, found in place: nothing is copied, nothing fails, what is malformed is passed over.

use std::borrow::Cow;
use std::iter;
use std::ops::Range;

use memchr::{memchr, memchr_iter};

/// The fields of a header, in order, up to the empty line that ends it or the end of the octets.
///
/// Lines end with CRLF or LF alone. A line that starts with a space or tab continues the field before
/// it. A line without a colon, or whose name holds anything but printable ASCII, is no field and is
/// passed over together with its continuation lines. Time is linear in the octets read.
///
/// ```
/// use mailwright_mail_model::header::Fields;
///
/// let message = b"Subject: first\r\n mail\r\nnonsense\r\nTo : ann@example.org\r\n\r\nbody: no field\r\n";
/// let fields: Vec<_> = Fields::new(message).map(|field| (field.name(), field.text().into_owned())).collect();
/// assert_eq!(fields, [("Subject", b"first mail".to_vec()), ("To", b"ann@example.org".to_vec())]);
/// ```
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    octets: &'a [u8],
    offset: usize,
}

/// One field of a header, where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Printable ASCII.
    name: &'a [u8],
    value: &'a [u8],
    raw: &'a [u8],
    offset: usize,
    value_offset: usize,
}

impl<'a> Fields<'a> {
    /// The fields of the header that `octets` begin with.
    pub const fn new(octets: &'a [u8]) -> Self {
        Self { octets, offset: 0 }
    }

    /// Passes over lines up to one that begins with an octet that is `wanted`, or to the end of the header. What begins so is a
    /// field whose name does, or none: lines that continue others begin with white space, which nobody may want.
    pub(crate) fn skip_to(&mut self, wanted: impl Fn(u8) -> bool) {
        let rest = self.octets.get(self.offset..).unwrap_or_default();
        let stays = |start: &usize| match rest.get(*start) {
            Some(first) => matches!(first, b'\r' | b'\n') || wanted(*first),
            None => true,
        };
        let mut starts = iter::once(0).chain(memchr_iter(b'\n', rest).map(|end| end + 1));
        self.offset += starts.find(stays).unwrap_or(rest.len());
    }

    /// The next physical line with its end; `None` at the empty line or the end.
    fn line_at(&self, offset: usize) -> Option<&'a [u8]> {
        let rest = self.octets.get(offset..)?;
        let line = rest.get(..memchr(b'\n', rest).map_or(rest.len(), |index| index + 1))?;
        (!matches!(line, b"" | b"\n" | b"\r\n")).then_some(line)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        loop {
            let start = self.offset;
            let first = self.line_at(start)?;
            self.offset += first.len();
            while let Some(b' ' | b'\t') = self.octets.get(self.offset) {
                self.offset += self.line_at(self.offset).map_or(1, <[u8]>::len);
            }
            let Some((name, name_end)) = name(first) else { continue };
            let raw = self.octets.get(start..self.offset)?;
            let value_offset = start + name_end + 1;
            let value = without_line_end(raw.get(name_end + 1..).unwrap_or_default());
            return Some(Field { name, value, raw, offset: start, value_offset });
        }
    }
}

/// The name a line begins with, and the index of the colon after it.
fn name(line: &[u8]) -> Option<(&[u8], usize)> {
    // RFC 5322 §2.2: printable ASCII without the colon; so `Fr om:` is no field.
    let length = line.iter().position(|octet| *octet == b':' || !octet.is_ascii_graphic())?;
    let (name, rest) = line.split_at_checked(length)?;
    // RFC 5322 §4.5: spaces before the colon are obsolete but must be understood.
    let blanks = rest.iter().position(|octet| !matches!(octet, b' ' | b'\t'))?;
    let has_colon = rest.get(blanks) == Some(&b':');
    (has_colon && !name.is_empty()).then_some((name, length + blanks))
}

fn without_line_end(octets: &[u8]) -> &[u8] {
    let octets = octets.strip_suffix(b"\n").unwrap_or(octets);
    octets.strip_suffix(b"\r").unwrap_or(octets)
}

impl<'a> Field<'a> {
    /// The name as it was written, without the colon.
    pub const fn name(&self) -> &'a str {
        match str::from_utf8(self.name) {
            Ok(name) => name,
            // Names are ASCII.
            Err(_) => "",
        }
    }

    /// Whether this is the field of that name; case does not matter.
    pub const fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// Everything after the colon but the last line end: folded, and with its leading space.
    pub const fn value(&self) -> &'a [u8] {
        self.value
    }

    /// The value unfolded and without white space at its ends.
    pub fn text(&self) -> Cow<'a, [u8]> {
        match unfold(self.value) {
            Cow::Borrowed(value) => Cow::Borrowed(value.trim_ascii()),
            Cow::Owned(value) => Cow::Owned(value.trim_ascii().to_vec()),
        }
    }

    /// The whole field: name, colon, value, and the last line end if it has one.
    pub const fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Where [`raw`](Self::raw) stands in the octets given to [`Fields::new`].
    pub const fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.raw.len()
    }

    /// Where [`value`](Self::value) stands in the octets given to [`Fields::new`].
    pub const fn value_range(&self) -> Range<usize> {
        self.value_offset..self.value_offset + self.value.len()
    }
}

/// The first field of that name in a header; case does not matter.
pub fn find<'a>(header: &'a [u8], name: &str) -> Option<Field<'a>> {
    Fields::new(header).find(|field| field.is(name))
}

/// Every field of that name in a header, in order; case does not matter.
pub fn find_all<'a>(header: &'a [u8], name: &str) -> impl Iterator<Item = Field<'a>> {
    Fields::new(header).filter(move |field| field.is(name))
}

/// Where the body begins: after the first empty line, which still belongs to the header. `None` if there
/// is no empty line, so that the message is all header.
///
/// ```
/// use mailwright_mail_model::header;
///
/// assert_eq!(header::body_offset(b"A: b\r\n\r\nbody"), Some(8));
/// assert_eq!(header::body_offset(b"\nbody"), Some(1));
/// assert_eq!(header::body_offset(b"A: b\r\n"), None);
/// ```
pub fn body_offset(message: &[u8]) -> Option<usize> {
    let mut line_start = 0;
    loop {
        let rest = message.get(line_start..)?;
        let next = line_start + memchr(b'\n', rest)? + 1;
        if rest.starts_with(b"\n") || rest.starts_with(b"\r\n") {
            return Some(next);
        }
        line_start = next;
    }
}

/// A value with its line ends taken out (RFC 5322 §2.2.3); the white space that followed them stays.
pub fn unfold(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'\n', value).is_none() {
        return Cow::Borrowed(value);
    }
    let mut unfolded = Vec::with_capacity(value.len());
    for line in value.split_inclusive(|byte| *byte == b'\n') {
        let content = if line.ends_with(b"\n") { without_line_end(line) } else { line };
        unfolded.extend_from_slice(content);
    }
    Cow::Owned(unfolded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn fields_lie_in_order_within_the_header(octets in "[Ab:\\r\\n \\t\\x00é]{0,60}") {
            let octets = octets.as_bytes();
            let header = octets.get(..body_offset(octets).unwrap_or(octets.len())).unwrap();
            let mut end = 0;
            for field in Fields::new(octets) {
                prop_assert!(field.range().start >= end);
                end = field.range().end;
                prop_assert!(end <= header.len());
                prop_assert_eq!(&octets[field.range()], field.raw());
                prop_assert_eq!(&octets[field.value_range()], field.value());
                prop_assert!(field.raw().starts_with(field.name().as_bytes()));
                prop_assert!(!unfold(field.value()).contains(&b'\n'));
            }
            prop_assert!(Fields::new(octets).eq(Fields::new(header)));
        }

        #[test]
        fn what_is_written_is_read(fields in prop::collection::vec(("[!-9;-~]{1,8}", "[ -~]{0,8}(\r\n [ -~]{1,8}){0,2}"), 0..8)) {
            let text: String = fields.iter().map(|(name, value)| format!("{name}:{value}\r\n")).collect();
            let read: Vec<_> = Fields::new(text.as_bytes()).map(|field| (field.name(), field.value())).collect();
            let written: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
            prop_assert_eq!(read, written);
        }
    }

    fn names(header: &str) -> Vec<&str> {
        Fields::new(header.as_bytes()).map(|field| field.name()).collect()
    }

    #[test]
    fn malformed_lines_are_passed_over_with_their_continuations() {
        assert_eq!(names("Fr om: a\n b\nTo: c\n"), ["To"]);
        assert_eq!(names("From ann Thu Jan  1\nTo: c\n"), ["To"]);
        assert_eq!(names(" lead\n more\nTo: c"), ["To"]);
        assert_eq!(names(": a\nFröm: a\n\u{7f}: b\n:\nTo:\n"), ["To"]);
        assert_eq!(names("\nTo: body"), [""; 0]);
        assert_eq!(names(""), [""; 0]);
    }

    #[test]
    fn odd_spacing_and_line_ends() {
        let field = find(b"A: 1\nsubject \t:\tfolded\n\t twice\r\n  \r\nB: 2\r\n", "SUBJECT").unwrap();
        assert_eq!(field.name(), "subject");
        assert_eq!(field.value(), b"\tfolded\n\t twice\r\n  ");
        assert_eq!(&*field.text(), b"folded\t twice");
        assert_eq!(find_all(b"A: 1\nB: 2\na: 3\n\nA: 4", "a").count(), 2);
        assert_eq!(find(b"A: 1\rB: 2\n", "a").unwrap().value(), b" 1\rB: 2");
    }

    #[test]
    fn only_the_line_end_is_unfolded() {
        assert_eq!(&*unfold(b"a\r\n b\n\tc\rd\r"), b"a b\tc\rd\r");
        assert!(matches!(unfold(b"a b"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_field_folded_half_a_million_times_is_one_field() {
        let header = "A: x".to_owned() + &"\r\n y".repeat(500_000);
        let field = find(header.as_bytes(), "a").unwrap();
        assert_eq!(field.raw().len(), header.len());
        assert_eq!(unfold(field.value()).len(), 2 + 500_000 * 2);
    }
}
