//! Strings of a script: escapes of `encoded-character` undone when compiled, variables put in when run.

use std::{borrow::Cow, sync::Arc};

use memchr::memchr;
use smol_str::SmolStr;

/// A string as it is compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Text {
    Constant(SmolStr),
    Template(Box<[Piece]>),
}

/// A piece of a string with variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Literal(Box<str>),
    Variable(Variable),
}

/// Where a variable is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Variable {
    /// Of this script, by number.
    Local(usize),
    /// RFC 6609 §3.4.
    Global(Arc<str>),
    /// RFC 5229 §3.2.
    Match(usize),
    /// Of a namespace whose variables are items of the environment.
    Environment(Arc<str>),
}

impl Text {
    /// The string, if no variable is in it.
    pub(crate) fn constant(&self) -> Option<&str> {
        match self {
            Self::Constant(text) => Some(text),
            Self::Template(_) => None,
        }
    }
}

/// A variable as a script names it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Name<'a> {
    /// A match variable.
    Number(&'a str),
    /// `identifier`.
    Plain(&'a str),
    /// `namespace.rest`.
    Namespaced(&'a str, &'a str),
}

/// RFC 5229 §3 `variable-ref` without its marks.
pub(crate) fn variable_name(text: &str) -> Option<Name<'_>> {
    let identifier = |part: &str| {
        let mut letters = part.bytes();
        letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
            && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == b'_')
    };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|letter| letter.is_ascii_digit());
    match text.split_once('.') {
        None if digits(text) => Some(Name::Number(text)),
        None => identifier(text).then_some(Name::Plain(text)),
        Some((namespace, rest)) => (identifier(namespace)
            && rest.split('.').all(|part| identifier(part) || digits(part)))
        .then_some(Name::Namespaced(namespace, rest)),
    }
}

/// Whether there may be anything to put into a string, or to decode in it.
pub(crate) fn may_have_references(text: &str) -> bool {
    // Most strings are so short that to look at them well takes less than to begin a search.
    const SHORT: usize = 32;
    match text.len() <= SHORT {
        true => text.as_bytes().windows(2).any(|pair| pair == b"${"),
        false => memchr(b'$', text.as_bytes()).is_some(),
    }
}

/// Cuts a string at its variables: each is given to `resolve`, which says what it is, or `None` to leave it as it stands.
pub(crate) fn template<E>(
    text: &str,
    mut resolve: impl FnMut(Name<'_>) -> Result<Variable, E>,
) -> Result<Text, E> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        literal.push_str(before);
        let found = after.split_once('}').and_then(|(name, behind)| Some((variable_name(name)?, behind)));
        match found {
            Some((name, behind)) => {
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal).into()));
                }
                pieces.push(Piece::Variable(resolve(name)?));
                rest = behind;
            }
            None => {
                // RFC 5229 §3: what is no reference stays; `${BAD${a}` has a good one inside.
                literal.push_str("${");
                rest = after;
            }
        }
    }
    if pieces.is_empty() {
        return Ok(Text::Constant(text.into()));
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal.into()));
    }
    Ok(Text::Template(pieces.into()))
}

/// Undoes `${hex: …}` and `${unicode: …}` (RFC 5228 §2.4.2.4).
pub(crate) fn decode_characters(text: &str) -> Result<Cow<'_, str>, String> {
    if memchr(b'$', text.as_bytes()).is_none() {
        return Ok(Cow::Borrowed(text));
    }
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        octets.extend_from_slice(before.as_bytes());
        match encoded(after)? {
            Some((decoded, behind)) => {
                octets.extend(decoded);
                rest = behind;
            }
            None => {
                octets.extend_from_slice(b"${");
                rest = after;
            }
        }
    }
    octets.extend_from_slice(rest.as_bytes());
    match String::from_utf8(octets) {
        Ok(decoded) => Ok(Cow::Owned(decoded)),
        Err(_) => Err("the octets of `${hex:…}` make no UTF-8 here".into()),
    }
}

type Encoded<'a> = Option<(Vec<u8>, &'a str)>;

fn encoded(after: &str) -> Result<Encoded<'_>, String> {
    let Some((inside, behind)) = after.split_once('}') else { return Ok(None) };
    let Some((kind, list)) = inside.split_once(':') else { return Ok(None) };
    let numbers = list.split([' ', '\t', '\r', '\n']).filter(|number| !number.is_empty());
    let mut octets = Vec::new();
    let mut any = false;
    if kind.eq_ignore_ascii_case("hex") {
        for number in numbers {
            any = true;
            if number.len() > 2 || !number.bytes().all(|letter| letter.is_ascii_hexdigit()) {
                return Ok(None);
            }
            let Ok(octet) = u8::from_str_radix(number, 16) else { return Ok(None) };
            octets.push(octet);
        }
    } else if kind.eq_ignore_ascii_case("unicode") {
        for number in numbers {
            any = true;
            if !number.bytes().all(|letter| letter.is_ascii_hexdigit()) {
                return Ok(None);
            }
            let digits = number.trim_start_matches('0');
            let scalar = u32::from_str_radix(if digits.is_empty() { "0" } else { digits }, 16);
            // RFC 5228 §2.4.2.4: it is an error if it is no character of Unicode.
            let Some(character) = scalar.ok().and_then(char::from_u32) else {
                return Err(format!("`{number}` in `${{unicode:…}}` is no character of Unicode"));
            };
            octets.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    Ok(any.then_some((octets, behind)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Text {
        let resolve = |name: Name<'_>| match name {
            Name::Number(digits) => Ok::<_, ()>(Variable::Match(digits.parse().unwrap())),
            Name::Plain(name) => Ok(Variable::Global(name.into())),
            Name::Namespaced(..) => Ok(Variable::Local(0)),
        };
        template(text, resolve).unwrap()
    }

    /// The examples of RFC 5229 §3.
    #[test]
    fn references() {
        let company = || Piece::Variable(Variable::Global("company".into()));
        assert_eq!(pieces("&%${}!"), Text::Constant("&%${}!".into()));
        assert_eq!(pieces("${doh!}"), Text::Constant("${doh!}".into()));
        assert_eq!(pieces("${company}"), Text::Template([company()].into()));
        assert_eq!(
            pieces("${BAD${company}"),
            Text::Template([Piece::Literal("${BAD".into()), company()].into())
        );
        assert_eq!(
            pieces("${President, ${company} Inc.}"),
            Text::Template(
                [Piece::Literal("${President, ".into()), company(), Piece::Literal(" Inc.}".into())].into()
            )
        );
        assert_eq!(
            pieces("a${07}"),
            Text::Template([Piece::Literal("a".into()), Piece::Variable(Variable::Match(7))].into())
        );
        assert_eq!(pieces("${a.1.b}"), Text::Template([Piece::Variable(Variable::Local(0))].into()));
        assert_eq!(pieces("${1a} ${a b} ${a.} ${"), Text::Constant("${1a} ${a b} ${a.} ${".into()));
    }

    /// The examples of RFC 5228 §2.4.2.4.
    #[test]
    fn encoded_characters() {
        for (text, expected) in [
            ("$${hex:40}", "$@"),
            ("${hex: 40 }", "@"),
            ("${HEX: 40}", "@"),
            ("${hex:40", "${hex:40"),
            ("${hex:400}", "${hex:400}"),
            ("${hex:4${hex:30}}", "${hex:40}"),
            ("${unicode:40}", "@"),
            ("${ unicode:40}", "${ unicode:40}"),
            ("${UNICODE:40}", "@"),
            ("${UnICoDE:0000040}", "@"),
            ("${Unicode:40}", "@"),
            ("${Unicode:Cool}", "${Unicode:Cool}"),
            ("${unicode:200000}", "error"),
            ("${Unicode:DF01}", "error"),
            ("${hex:c3 a9}${unicode: e9 20ac}", "éé€"),
            ("${hex: }", "${hex: }"),
            ("${hex:+1}", "${hex:+1}"),
        ] {
            let decoded = decode_characters(text);
            assert_eq!(decoded.as_deref().unwrap_or("error"), expected, "{text}");
        }
    }
}
