//! xtext (RFC 3461 §4): text in a parameter's value, with `+` and two hexadecimal digits for what is not allowed.

use std::borrow::Cow;

use crate::words::{XTEXT, all_in, is_in};

/// Writes text so that it can be a value.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for octet in text.bytes() {
        if is_in(octet, XTEXT) {
            encoded.push(octet as char);
        } else {
            encoded.push_str(&format!("+{octet:02X}"));
        }
    }
    encoded
}

/// How long [`encode`] makes it.
pub(crate) fn encoded_length(text: &str) -> usize {
    text.bytes().map(|octet| if is_in(octet, XTEXT) { 1 } else { 3 }).sum()
}

/// Reads it again. `None` if it is not xtext, or not UTF-8 once decoded, or holds control characters.
pub(crate) fn decode(text: &str) -> Option<Cow<'_, str>> {
    // Nearly none has anything to decode.
    if all_in(text, XTEXT) {
        return Some(text.into());
    }
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'+' => (digit(rest.next()?)? << 4) | digit(rest.next()?)?,
            _ if is_in(octet, XTEXT) => octet,
            _ => return None,
        });
    }
    let decoded = String::from_utf8(octets).ok()?;
    (!decoded.bytes().any(|octet| octet.is_ascii_control())).then_some(decoded.into())
}

fn digit(octet: u8) -> Option<u8> {
    (octet as char).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_only_what_is_right() {
        assert_eq!(decode("a+2Bb+3dc").as_deref(), Some("a+b=c"));
        for bad in ["+", "+4", "+4G", "a=b", "a b", "+0D+0A", "+00", "+FF"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
