//! Terminals as nom parsers over complete input.

use std::borrow::Cow;

use mailwright_line_proto::frame::LiteralMark;
use memchr::memchr2;
use nom::{
    IResult,
    bytes::complete::{take, take_while1},
};

type Parsed<'a, T> = IResult<&'a [u8], T, ()>;

/// Whether an atom may hold this octet: no control, space, `(`, `)`, `{`, `%`, `*`, `"`, `\` or `]`.
pub fn is_atom_char(octet: u8) -> bool {
    octet.is_ascii_graphic() && !matches!(octet, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}

/// Whether an unquoted astring may hold this octet: as an atom, and `]`.
pub fn is_astring_char(octet: u8) -> bool {
    is_atom_char(octet) || octet == b']'
}

/// Whether a tag may hold this octet: as an astring, but no `+`.
pub fn is_tag_char(octet: u8) -> bool {
    is_astring_char(octet) && octet != b'+'
}

/// Whether an unquoted pattern of LIST may hold this octet: as an astring, and the wildcards.
pub fn is_list_char(octet: u8) -> bool {
    is_astring_char(octet) || matches!(octet, b'%' | b'*')
}

/// Whether a quoted string or free text may hold this octet: 7 bits, no NUL and no line end.
pub fn is_text_char(octet: u8) -> bool {
    matches!(octet, 1..=127) && !matches!(octet, b'\r' | b'\n')
}

pub(super) fn atom(input: &[u8]) -> Parsed<'_, &str> {
    ascii(take_while1(is_atom_char)(input)?)
}

pub(super) fn tag(input: &[u8]) -> Parsed<'_, &str> {
    ascii(take_while1(is_tag_char)(input)?)
}

pub(super) fn number(input: &[u8]) -> Parsed<'_, u32> {
    let (rest, number) = number64(input)?;
    u32::try_from(number).map(|number| (rest, number)).map_err(|_| error())
}

pub(super) fn number64(input: &[u8]) -> Parsed<'_, u64> {
    let (rest, digits) = ascii(take_while1(|octet: u8| octet.is_ascii_digit())(input)?)?;
    let number = digits.parse::<u64>().ok().filter(|number| i64::try_from(*number).is_ok());
    number.map(|number| (rest, number)).ok_or_else(error)
}

/// A flag as text: `\Seen` or `$Junk`.
pub(crate) fn flag(input: &[u8]) -> Parsed<'_, &str> {
    let (start, backslash) = match input.split_first() {
        Some((b'\\', rest)) => (rest, 1),
        _ => (input, 0),
    };
    let (rest, name) = take_while1(is_atom_char)(start)?;
    let (flag, _) = input.split_at_checked(name.len() + backslash).ok_or_else(error)?;
    ascii((rest, flag))
}

pub(super) fn quoted(input: &[u8]) -> Parsed<'_, Cow<'_, [u8]>> {
    quoted_of(is_text_char, input)
}

/// With UTF-8 in it (RFC 9051 §9, `UTF8-2`); whether it is that, is for whoever reads the text.
pub(super) fn quoted_utf8(input: &[u8]) -> Parsed<'_, Cow<'_, [u8]>> {
    quoted_of(|octet| is_text_char(octet) || octet >= 0x80, input)
}

fn quoted_of(is_char: fn(u8) -> bool, input: &[u8]) -> Parsed<'_, Cow<'_, [u8]>> {
    let Some((b'"', mut rest)) = input.split_first() else { return Err(error()) };
    let mut text = Cow::Borrowed(&[][..]);
    loop {
        let at = memchr2(b'"', b'\\', rest).ok_or_else(error)?;
        let (plain, after) = rest.split_at_checked(at).ok_or_else(error)?;
        if !plain.iter().copied().all(is_char) {
            return Err(error());
        }
        if text.is_empty() {
            text = Cow::Borrowed(plain);
        } else {
            text.to_mut().extend_from_slice(plain);
        }
        rest = match after {
            [b'"', after @ ..] => return Ok((after, text)),
            // RFC 3501 §9: only the two specials may be escaped.
            [b'\\', special @ (b'"' | b'\\'), after @ ..] => {
                text.to_mut().push(*special);
                after
            }
            _ => return Err(error()),
        };
    }
}

/// A literal with its octets in place. Its mark was checked already when the octets were waited for; it is read
/// again because strings may look like marks.
pub(super) fn literal(input: &[u8]) -> Parsed<'_, &[u8]> {
    if !matches!(input, [b'{', ..]) {
        return Err(error());
    }
    // Enough for 20 digits, so that a search for the brace never runs through the whole command.
    let start = input.get(..24).unwrap_or(input);
    let end = memchr::memchr(b'}', start).ok_or_else(error)?;
    let (mark, rest) = input.split_at_checked(end + 1).ok_or_else(error)?;
    let mark = LiteralMark::find(mark).ok().flatten().filter(|mark| mark.start == 0).ok_or_else(error)?;
    let rest = rest.strip_prefix(b"\r\n").ok_or_else(error)?;
    take(usize::try_from(mark.length).map_err(|_| error())?)(rest)
}

pub(super) fn string(input: &[u8]) -> Parsed<'_, Cow<'_, [u8]>> {
    match input {
        [b'"', ..] => quoted(input),
        _ => literal(input).map(|(rest, octets)| (rest, Cow::Borrowed(octets))),
    }
}

pub(super) fn astring(input: &[u8]) -> Parsed<'_, Cow<'_, [u8]>> {
    atom_of(is_astring_char, input)
}

pub(super) fn list_mailbox(input: &[u8]) -> Parsed<'_, Cow<'_, [u8]>> {
    atom_of(is_list_char, input)
}

fn atom_of(is_char: fn(u8) -> bool, input: &[u8]) -> Parsed<'_, Cow<'_, [u8]>> {
    match input {
        [b'"' | b'{', ..] => string(input),
        _ => take_while1(is_char)(input).map(|(rest, atom)| (rest, Cow::Borrowed(atom))),
    }
}

/// Octets known to be ASCII, as text.
fn ascii<'a>((rest, octets): (&'a [u8], &'a [u8])) -> Parsed<'a, &'a str> {
    str::from_utf8(octets).map(|text| (rest, text)).map_err(|_| error())
}

fn error() -> nom::Err<()> {
    nom::Err::Error(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_bounds() {
        assert_eq!(number(b"4294967295x"), Ok((&b"x"[..], u32::MAX)));
        for bad in ["", "-1", "4294967296", "99999999999999999999999"] {
            assert!(number(bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(number64(b"9223372036854775807").unwrap().1, i64::MAX as u64);
        assert!(number64(b"9223372036854775808").is_err());
    }

    #[test]
    fn quoted_strings() {
        for (text, expected) in [
            (r#""""#, Some("")),
            (r#""a b""#, Some("a b")),
            (r#""\\\"x""#, Some("\\\"x")),
            (r#""x\\""#, Some("x\\")),
            (r#""\\\\y""#, Some("\\\\y")),
            (r#""a"#, None),
            (r#""a\"#, None),
            (r#""a\n""#, None),
            ("\"a\r\n\"", None),
            ("\"\0\"", None),
            ("\"\u{e9}\"", None),
        ] {
            let found = quoted(text.as_bytes()).ok().map(|(_, text)| text.into_owned());
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{text:?}");
        }
    }

    #[test]
    fn literals() {
        assert_eq!(literal(b"{3}\r\na\rbc"), Ok((&b"c"[..], &b"a\rb"[..])));
        assert_eq!(literal(b"{0+}\r\n)"), Ok((&b")"[..], &b""[..])));
        for bad in ["{4}\r\nabc", "{3}\nabc", "{x}\r\nabc", "{}\r\n", "{3", "~{3}\r\nabc"] {
            assert!(literal(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn astrings_and_flags() {
        assert_eq!(astring(b"a]b c").unwrap(), (&b" c"[..], Cow::Borrowed(&b"a]b"[..])));
        assert!(astring(b"%").is_err());
        assert_eq!(list_mailbox(b"%/* x").unwrap().1, Cow::Borrowed(&b"%/*"[..]));
        assert_eq!(flag(b"\\Seen)"), Ok((&b")"[..], "\\Seen")));
        assert!(flag(b"\\)").is_err());
        assert!(flag(b"\\*").is_err());
        assert_eq!(flag(b"a{b").unwrap().1, "a");
    }
}
