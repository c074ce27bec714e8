//! What lines are made of: atoms, strings and parentheses (RFC 5804 §4).

use bytes::Bytes;
use mailwright_mail_model::ScriptName;

/// The longest quoted string, in octets between its quotation marks (RFC 5804 §4).
const QUOTED: usize = 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// Anything without quotation marks, numbers among them.
    Atom(String),
    /// Quoted or literal, which makes no difference.
    String(Bytes),
    Open,
    Close,
}

impl Token {
    pub(super) fn is(&self, atom: &str) -> bool {
        matches!(self, Self::Atom(found) if found.eq_ignore_ascii_case(atom))
    }
}

/// The line is not made of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// Takes a line, or what of it stands before a literal, apart.
pub(super) fn scan(line: &[u8], tokens: &mut Vec<Token>) -> Result<(), Malformed> {
    let mut rest = line.trim_ascii_start();
    while let Some(first) = rest.first() {
        rest = match first {
            b'"' => {
                let (string, after) = quoted(rest.get(1..).unwrap_or_default())?;
                tokens.push(Token::String(string));
                after
            }
            b'(' => {
                tokens.push(Token::Open);
                rest.get(1..).unwrap_or_default().trim_ascii_start()
            }
            b')' => {
                tokens.push(Token::Close);
                separated(rest.get(1..).unwrap_or_default())?
            }
            _ => {
                let end = rest.iter().position(|octet| matches!(octet, b' ' | b'\t' | b'(' | b')' | b'"'));
                let (atom, after) = rest.split_at_checked(end.unwrap_or(rest.len())).ok_or(Malformed)?;
                if !atom.iter().all(u8::is_ascii_graphic) {
                    return Err(Malformed);
                }
                tokens.push(Token::Atom(String::from_utf8_lossy(atom).into_owned()));
                separated(after)?
            }
        };
    }
    Ok(())
}

/// What follows an opening quotation mark, and what follows the closing one.
fn quoted(text: &[u8]) -> Result<(Bytes, &[u8]), Malformed> {
    let mut octets = Vec::new();
    let mut rest = text.iter();
    loop {
        match rest.next() {
            Some(b'"') => break,
            // RFC 5804 §4: QUOTED-SPECIALS
            Some(b'\\') => match rest.next() {
                Some(octet @ (b'"' | b'\\')) => octets.push(*octet),
                _ => return Err(Malformed),
            },
            Some(0 | b'\r' | b'\n') | None => return Err(Malformed),
            Some(octet) => octets.push(*octet),
        }
    }
    if octets.len() > QUOTED {
        return Err(Malformed);
    }
    Ok((octets.into(), separated(rest.as_slice())?))
}

/// What follows a token, without the space between.
fn separated(rest: &[u8]) -> Result<&[u8], Malformed> {
    match rest.first() {
        None | Some(b' ' | b'\t') => Ok(rest.trim_ascii_start()),
        Some(b')') => Ok(rest),
        Some(_) => Err(Malformed),
    }
}

/// The arguments of a command, taken one after the other.
pub(super) struct Arguments(std::vec::IntoIter<Token>);

impl Arguments {
    pub(super) fn new(tokens: Vec<Token>) -> Self {
        Self(tokens.into_iter())
    }

    pub(super) fn string(&mut self) -> Option<Bytes> {
        match self.0.next()? {
            Token::String(octets) => Some(octets),
            _ => None,
        }
    }

    pub(super) fn text(&mut self) -> Option<String> {
        self.string().and_then(|octets| std::str::from_utf8(&octets).ok().map(str::to_owned))
    }

    pub(super) fn name(&mut self) -> Option<ScriptName> {
        self.text().and_then(|text| ScriptName::new(&text).ok())
    }

    /// RFC 5804 §4: 32 bits, no leading zeros.
    pub(super) fn number(&mut self) -> Option<u32> {
        match self.0.next()? {
            Token::Atom(digits) => number(&digits),
            _ => None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.as_slice().is_empty()
    }

    /// The value, if there are no more arguments.
    pub(super) fn end<T>(self, value: T) -> Option<T> {
        self.is_empty().then_some(value)
    }
}

fn number(digits: &str) -> Option<u32> {
    let clean =
        digits.bytes().all(|octet| octet.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    if clean { digits.parse().ok() } else { None }
}

/// Writes a string: quoted where that can hold it, else as a literal whose mark ends with `plus`.
pub(super) fn put_string(line: &mut Vec<u8>, string: &[u8], plus: &str) {
    let fits = string.len() <= QUOTED
        && !string.iter().any(|octet| matches!(octet, 0 | b'\r' | b'\n'))
        && std::str::from_utf8(string).is_ok();
    if !fits {
        line.extend_from_slice(format!("{{{}{plus}}}\r\n", string.len()).as_bytes());
        line.extend_from_slice(string);
        return;
    }
    line.push(b'"');
    for octet in string {
        if matches!(octet, b'"' | b'\\') {
            line.push(b'\\');
        }
        line.push(*octet);
    }
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scanned(line: &str) -> Result<Vec<Token>, Malformed> {
        let mut tokens = Vec::new();
        scan(line.as_bytes(), &mut tokens).map(|()| tokens)
    }

    #[test]
    fn takes_lines_apart() {
        let (atom, string) =
            (|text: &str| Token::Atom(text.into()), |text: &'static str| Token::String(text.into()));
        for (line, tokens) in [
            ("", vec![]),
            ("OK", vec![atom("OK")]),
            (
                "NO (QUOTA/MAXSIZE) \"a \\\"b\\\\\"",
                vec![atom("NO"), Token::Open, atom("QUOTA/MAXSIZE"), Token::Close, string("a \"b\\")],
            ),
            (
                "A (TAG \"\")  7 ",
                vec![atom("A"), Token::Open, atom("TAG"), string(""), Token::Close, atom("7")],
            ),
        ] {
            assert_eq!(scanned(line), Ok(tokens), "{line}");
        }
        for bad in [
            "\"",
            "\"a",
            "\"a\\",
            "\"a\\n\"",
            "\"a\"b",
            "a\"b\"",
            "\"a\"\"b\"",
            "\u{e9}",
            "a\0",
            ")a",
            "\"\0\"",
        ] {
            assert_eq!(scanned(bad), Err(Malformed), "{bad:?}");
        }
        for (length, fits) in [(1023, true), (1024, true), (1025, false)] {
            assert_eq!(scanned(&format!("\"{}\"", "x".repeat(length))).is_ok(), fits);
        }
    }

    #[test]
    fn numbers_have_32_bits_and_no_leading_zeros() {
        for (digits, value) in [
            ("0", Some(0)),
            ("7", Some(7)),
            ("4294967295", Some(u32::MAX)),
            ("4294967296", None),
            ("07", None),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1x", None),
        ] {
            assert_eq!(number(digits), value, "{digits}");
        }
    }

    proptest! {
        #[test]
        fn strings_survive_the_wire(text in "[ -~é]{0,40}") {
            let mut line = Vec::new();
            put_string(&mut line, text.as_bytes(), "+");
            let mut tokens = Vec::new();
            scan(&line, &mut tokens).unwrap();
            prop_assert_eq!(tokens, vec![Token::String(text.into())]);
        }
    }
}
