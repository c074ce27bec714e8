//! Terminals as nom parsers over complete input.

use std::borrow::Cow;

use mailwright_line_proto::frame::LiteralMark;
use nom::{IResult, bytes::complete::take};

type Parsed<'a, T> = IResult<&'a [u8], T, ()>;

const ATOM: u8 = 1;
const ASTRING: u8 = 2;
const TAG: u8 = 4;
const LIST: u8 = 8;
const TEXT: u8 = 16;
/// Text that needs no backslash in a quoted string.
const QUOTED: u8 = 32;
/// The same, or an octet of eight bits.
const QUOTED_UTF8: u8 = 64;
const WORD: u8 = 128;

/// What each octet may stand in.
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let (mut rest, mut octet): (&mut [u8], u8) = (&mut classes, 0);
    while let [class, after @ ..] = rest {
        *class = match octet {
            0 | b'\r' | b'\n' => 0,
            b'"' | b'\\' => TEXT,
            ..=b' ' | b'(' | b')' | b'{' | 0x7f => TEXT | QUOTED | QUOTED_UTF8,
            b'%' | b'*' => TEXT | QUOTED | QUOTED_UTF8 | LIST,
            b']' => TEXT | QUOTED | QUOTED_UTF8 | LIST | ASTRING | TAG,
            b'+' => TEXT | QUOTED | QUOTED_UTF8 | LIST | ASTRING | ATOM,
            b'!'..=b'~' => TEXT | QUOTED | QUOTED_UTF8 | LIST | ASTRING | TAG | ATOM,
            0x80.. => QUOTED_UTF8,
        };
        if octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'_') {
            *class |= WORD;
        }
        octet = octet.wrapping_add(1);
        rest = after;
    }
    classes
};

fn is(class: u8, octet: u8) -> bool {
    CLASSES.get(usize::from(octet)).is_some_and(|classes| classes & class != 0)
}

/// Whether an atom may hold this octet: no control, space, `(`, `)`, `{`, `%`, `*`, `"`, `\` or `]`.
pub fn is_atom_char(octet: u8) -> bool {
    is(ATOM, octet)
}

/// Whether an unquoted astring may hold this octet: as an atom, and `]`.
pub fn is_astring_char(octet: u8) -> bool {
    is(ASTRING, octet)
}

/// Whether a tag may hold this octet: as an astring, but no `+`.
pub fn is_tag_char(octet: u8) -> bool {
    is(TAG, octet)
}

/// Whether an unquoted pattern of LIST may hold this octet: as an astring, and the wildcards.
pub fn is_list_char(octet: u8) -> bool {
    is(LIST, octet)
}

/// Whether a quoted string or free text may hold this octet: 7 bits, no NUL and no line end.
pub fn is_text_char(octet: u8) -> bool {
    is(TEXT, octet)
}

/// What may go on an atom of the protocol: `RFC822` is not the start of `RFC822.SIZE`.
pub(super) fn is_word_char(octet: u8) -> bool {
    is(WORD, octet)
}

/// The octets of that class, and what is behind them.
fn split(class: u8, input: &[u8]) -> (&[u8], &[u8]) {
    let length = input.iter().position(|octet| !is(class, *octet)).unwrap_or(input.len());
    input.split_at_checked(length).unwrap_or((input, &[]))
}

/// The same for a class of quoted strings, where most is plain text: eight octets are looked at together until one may be none.
fn split_quoted(class: u8, input: &[u8]) -> (&[u8], &[u8]) {
    let mut rest = input;
    while let Some((eight, after)) = rest.split_first_chunk::<8>() {
        let found = unusual(u64::from_le_bytes(*eight));
        if found != 0 {
            let plain = usize::try_from(found.trailing_zeros() / 8).unwrap_or(0);
            rest = rest.get(plain..).unwrap_or(rest);
            break;
        }
        rest = after;
    }
    let (_, rest) = split(class, rest);
    input.split_at_checked(input.len() - rest.len()).unwrap_or((input, &[]))
}

/// Of eight octets the highest bit of those that are no printable ASCII or stand for something in a quoted string. Only the lowest
/// bit that is set counts: a borrow may set others above it.
const fn unusual(eight: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHEST: u64 = 0x8080_8080_8080_8080;
    let quotes = eight ^ (ONES * b'"' as u64);
    let backslashes = eight ^ (ONES * b'\\' as u64);
    let controls = eight.wrapping_sub(ONES * b' ' as u64) & !eight;
    let specials = (quotes.wrapping_sub(ONES) & !quotes) | (backslashes.wrapping_sub(ONES) & !backslashes);
    (eight | controls | specials) & HIGHEST
}

/// At least one octet of that class.
fn run(class: u8, input: &[u8]) -> Parsed<'_, &[u8]> {
    match split(class, input) {
        ([], _) => Err(error()),
        (run, rest) => Ok((rest, run)),
    }
}

pub(super) fn atom(input: &[u8]) -> Parsed<'_, &str> {
    ascii(run(ATOM, input)?)
}

pub(super) fn atom_octets(input: &[u8]) -> Parsed<'_, &[u8]> {
    run(ATOM, input)
}

pub(super) fn tag(input: &[u8]) -> Parsed<'_, &str> {
    ascii(run(TAG, input)?)
}

pub(super) fn number(input: &[u8]) -> Parsed<'_, u32> {
    let (rest, number) = number64(input)?;
    u32::try_from(number).map(|number| (rest, number)).map_err(|_| error())
}

pub(super) fn number64(input: &[u8]) -> Parsed<'_, u64> {
    let (mut rest, mut number) = (input, 0_u64);
    while let [digit @ b'0'..=b'9', after @ ..] = rest {
        // What is too much stays too much.
        number = number.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
        rest = after;
    }
    let fits = rest.len() < input.len() && i64::try_from(number).is_ok();
    if fits { Ok((rest, number)) } else { Err(error()) }
}

/// A flag as text: `\Seen` or `$Junk`.
pub(crate) fn flag(input: &[u8]) -> Parsed<'_, &str> {
    let (start, backslash) = match input.split_first() {
        Some((b'\\', rest)) => (rest, 1),
        _ => (input, 0),
    };
    let (rest, name) = run(ATOM, start)?;
    let (flag, _) = input.split_at_checked(name.len() + backslash).ok_or_else(error)?;
    ascii((rest, flag))
}

/// RFC 3501 §9: only the two specials may be escaped.
pub(super) fn quoted(input: &[u8]) -> Parsed<'_, Cow<'_, [u8]>> {
    quoted_of(QUOTED, |octet| matches!(octet, b'"' | b'\\'), input)
}

/// With UTF-8 in it (RFC 9051 §9, `UTF8-2`); whether it is that, is for whoever reads the text.
pub(super) fn quoted_utf8(input: &[u8]) -> Parsed<'_, Cow<'_, [u8]>> {
    quoted_of(QUOTED_UTF8, |octet| matches!(octet, b'"' | b'\\'), input)
}

/// With octets of any kind in it but NUL and line ends, and backslashes before any of them.
pub(crate) fn quoted_leniently(input: &[u8]) -> Parsed<'_, Cow<'_, [u8]>> {
    quoted_of(QUOTED_UTF8, |octet| !matches!(octet, 0 | b'\r' | b'\n'), input)
}

/// What stands in a quoted string without backslashes and octets of eight bits, which all readers understand alike; and what is behind it.
pub(super) fn plain_quoted(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (plain, rest) = split_quoted(QUOTED, input.strip_prefix(b"\"")?);
    Some((plain, rest.strip_prefix(b"\"")?))
}

/// A quoted string of octets of that class, with a backslash before others of which some may be escaped.
fn quoted_of(class: u8, is_escaped: impl Fn(u8) -> bool, input: &[u8]) -> Parsed<'_, Cow<'_, [u8]>> {
    let Some((b'"', rest)) = input.split_first() else { return Err(error()) };
    let (plain, mut rest) = split_quoted(class, rest);
    // Most have no backslash.
    if let [b'"', rest @ ..] = rest {
        return Ok((rest, Cow::Borrowed(plain)));
    }
    let mut text = plain.to_vec();
    loop {
        match rest {
            [b'"', rest @ ..] => return Ok((rest, Cow::Owned(text))),
            [b'\\', special, after @ ..] if is_escaped(*special) => {
                text.push(*special);
                let (plain, after) = split_quoted(class, after);
                text.extend_from_slice(plain);
                rest = after;
            }
            _ => return Err(error()),
        }
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
    atom_of(ASTRING, input)
}

pub(super) fn list_mailbox(input: &[u8]) -> Parsed<'_, Cow<'_, [u8]>> {
    atom_of(LIST, input)
}

fn atom_of(class: u8, input: &[u8]) -> Parsed<'_, Cow<'_, [u8]>> {
    match input {
        [b'"' | b'{', ..] => string(input),
        _ => run(class, input).map(|(rest, atom)| (rest, Cow::Borrowed(atom))),
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

    /// The definitions of RFC 3501 §9.
    #[test]
    fn classes_are_what_the_grammar_says() {
        for octet in 0..=u8::MAX {
            let atom = octet.is_ascii_graphic() && !b"(){%*\"\\]".contains(&octet);
            let text = octet.is_ascii() && !b"\0\r\n".contains(&octet);
            assert_eq!(is_atom_char(octet), atom, "{octet}");
            assert_eq!(is_astring_char(octet), atom || octet == b']', "{octet}");
            assert_eq!(is_tag_char(octet), (atom || octet == b']') && octet != b'+', "{octet}");
            assert_eq!(is_list_char(octet), atom || b"]%*".contains(&octet), "{octet}");
            assert_eq!(is_text_char(octet), text, "{octet}");
            let quoted = [b'"', octet, b'"'];
            let plain = text && !b"\"\\".contains(&octet);
            assert_eq!(super::quoted(&quoted).is_ok_and(|(rest, _)| rest.is_empty()), plain, "{octet}");
            let utf8 = plain || !octet.is_ascii();
            assert_eq!(quoted_utf8(&quoted).is_ok_and(|(rest, _)| rest.is_empty()), utf8, "{octet}");
        }
    }

    /// Any octet at any place, before others and behind others: where the class ends is found as if each were looked at alone.
    #[test]
    fn eight_at_once_are_as_one_by_one() {
        for octet in 0..=u8::MAX {
            for before in 0..20 {
                for behind in 0..20 {
                    let input = [vec![b'a'; before], vec![octet], vec![b'~'; behind]].concat();
                    for class in [QUOTED, QUOTED_UTF8] {
                        assert_eq!(split_quoted(class, &input), split(class, &input), "{input:?}");
                    }
                }
            }
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
