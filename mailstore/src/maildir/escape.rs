//! Octets as words of a line: whatever could end a word or a line is written as `%` and two digits.

use std::fmt::Write as _;

/// A word for these octets; nothing at all is `%`.
pub(super) fn encode(octets: &[u8]) -> String {
    if octets.is_empty() {
        return "%".into();
    }
    let mut text = String::with_capacity(octets.len());
    for octet in octets {
        if octet.is_ascii_graphic() && !matches!(octet, b'%' | b':' | b',') {
            text.push(char::from(*octet));
        } else {
            let _never_fails = write!(text, "%{octet:02X}");
        }
    }
    text
}

/// The octets of a word; `None` if it is none that was made here.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    if text == "%" {
        return Some(Vec::new());
    }
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet == b'%' {
            let digit = |octet: u8| char::from(octet).to_digit(16);
            let value = digit(rest.next()?)? * 16 + digit(rest.next()?)?;
            octets.push(u8::try_from(value).ok()?);
        } else {
            octets.push(octet);
        }
    }
    Some(octets)
}

/// A text; `None` if its word is none that was made here.
pub(super) fn decode_text(text: &str) -> Option<String> {
    String::from_utf8(decode(text)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_octets_are_one_word() {
        let all: Vec<u8> = (0..=255).collect();
        for octets in [&all[..], b"", b"%", b"plain@example.org"] {
            let word = encode(octets);
            assert!(word.bytes().all(|octet| octet.is_ascii_graphic() && octet != b':'), "{word}");
            assert_eq!(decode(&word).unwrap(), octets);
        }
        assert_eq!(encode(b"a b"), "a%20b");
        for wrong in ["%1", "%zz", "a%"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
