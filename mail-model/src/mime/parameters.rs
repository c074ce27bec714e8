//! Values of MIME fields: tokens between comments (RFC 2045 §5.1), and parameters made whole (RFC 2231 §3).

use crate::parameter::{Parameters, is_attribute, is_token};

/// A parameter of a MIME field, as raw as IMAP reports it.
///
/// A value that the sender cut in pieces (RFC 2231 §3) is whole again. A name that ends in `*` says that the
/// value is in the form of RFC 2231 §4: charset, language and percent-encoded octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    pub(super) name: Box<str>,
    pub(super) value: Box<[u8]>,
}

impl Parameter {
    /// The name in the case it was written; a token.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value without quotes and escapes. Octets that are not ASCII are as they came.
    pub fn value(&self) -> &[u8] {
        &self.value
    }
}

/// A reader of the value of a field. Lenient: what it does not understand it skips.
#[derive(Clone, Debug)]
pub(super) struct Tokens<'a>(&'a [u8]);

impl<'a> Tokens<'a> {
    pub(super) const fn new(value: &'a [u8]) -> Self {
        Self(value)
    }

    /// The next token of RFC 2045 §5.1, if that is what comes next.
    pub(super) fn token(&mut self) -> Option<&'a str> {
        self.skip_blanks();
        let end = self.0.iter().position(|byte| !is_token(*byte)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at_checked(end)?;
        self.0 = rest;
        str::from_utf8(token).ok().filter(|token| !token.is_empty())
    }

    /// Takes `byte` if it comes next.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        self.skip_blanks();
        let rest = self.0.strip_prefix(&[byte]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// Whether anything but blanks and comments is left.
    pub(super) fn is_empty(&mut self) -> bool {
        self.skip_blanks();
        self.0.is_empty()
    }

    /// White space and comments, which nest (RFC 822 §3.3); one that never closes takes the rest.
    fn skip_blanks(&mut self) {
        let mut depth = 0_usize;
        while let Some((&byte, rest)) = self.0.split_first() {
            match byte {
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                b'\\' if depth > 0 => {
                    self.0 = rest.split_first().map_or(rest, |(_, after)| after);
                    continue;
                }
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ if depth > 0 => {}
                _ => return,
            }
            self.0 = rest;
        }
    }
}

/// The parameters of a field's value, at most `limit`. RFC 2231 §3: servers put the pieces of one together, in
/// the order of their numbers.
pub(super) fn parameters(value: &[u8], limit: usize) -> Vec<Parameter> {
    let found = Parameters::parse(value);
    let mut joined: Vec<Parameter> = Vec::new();
    let mut pieces: Vec<(&str, usize, bool, &[u8])> = Vec::new();
    for parameter in found.iter().take(limit) {
        match piece(parameter.name()) {
            Some((name, number, extended)) => pieces.push((name, number, extended, parameter.value())),
            None => joined.push(Parameter { name: parameter.name().into(), value: parameter.value().into() }),
        }
    }
    // Stable, so that of two pieces with one number the first is taken. At most `Limits::parameters` of them.
    pieces.sort_by_key(|(name, number, ..)| (name.to_ascii_lowercase(), *number));
    for group in pieces.chunk_by(|a, b| a.0.eq_ignore_ascii_case(b.0)) {
        let extended = group.iter().any(|piece| piece.2);
        let mut value = Vec::new();
        let mut expected = 0;
        for (_, number, encoded, piece) in group {
            if *number != expected {
                continue;
            }
            expected += 1;
            match extended && !encoded {
                true => piece.iter().for_each(|byte| percent(*byte, &mut value)),
                false => value.extend_from_slice(piece),
            }
        }
        if let (Some((name, ..)), 1..) = (group.first(), expected) {
            let name = if extended { format!("{name}*") } else { (*name).to_owned() };
            joined.push(Parameter { name: name.into(), value: value.into() });
        }
    }
    joined
}

/// The name, the number and whether it is encoded, of `name*3*`.
fn piece(name: &str) -> Option<(&str, usize, bool)> {
    let (name, extended) = name.strip_suffix('*').map_or((name, false), |name| (name, true));
    let (name, number) = name.rsplit_once('*')?;
    let canonical = number == "0" || !number.starts_with('0');
    let number =
        number.parse().ok().filter(|_| canonical && number.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some((name, number, extended))
}

/// RFC 2231 §7 `attribute-char` as it is, any other octet in hexadecimal.
fn percent(byte: u8, value: &mut Vec<u8>) {
    if is_attribute(byte) {
        value.push(byte);
    } else {
        value.extend(format!("%{byte:02X}").bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Vec<(String, String)> {
        let parameters = parameters(value.as_bytes(), 128);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        parameters.iter().map(|parameter| (parameter.name().to_owned(), text(parameter.value()))).collect()
    }

    fn one(name: &str, value: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), value.to_owned())]
    }

    #[test]
    fn quotes_comments_and_what_senders_forget() {
        assert_eq!(read("; charset=us-ascii (Plain; \"text\")"), one("charset", "us-ascii"));
        assert_eq!(read(" ; a = \"x\\\"; y\""), one("a", "x\"; y"));
        assert_eq!(read("junk; ; =; b; name=a b.txt;"), one("name", "a b.txt"));
        assert_eq!(read(";boundary==_a/b=?="), one("boundary", "=_a/b=?="));
        assert_eq!(read("; a=\"never closed\\"), one("a", "never closed"));
        assert_eq!(read("; (((a=b"), []);
    }

    #[test]
    fn pieces_are_joined_in_order() {
        assert_eq!(read("; u*1=\"b c\"; U*0=\"a\"; u*3=d"), one("U", "ab c"));
        assert_eq!(read("; n*0*=us-ascii'en'a%20; n*1=\"b*'%\""), one("n*", "us-ascii'en'a%20b%2A%27%25"));
        assert_eq!(read("; n*=utf-8''%c3%a9"), one("n*", "utf-8''%c3%a9"));
        assert_eq!(read("; n*1=a; n*2=b"), []);
        assert_eq!(read("; n*01=a"), one("n*01", "a"));
    }

    /// No more than the limit are read, joined or not.
    #[test]
    fn fifty_thousand_pieces_are_cut_short() {
        let value: String = (0..50_000).map(|number| format!("; n*{number}=x")).collect();
        assert_eq!(read(&value), one("n", &"x".repeat(128)));
    }
}
