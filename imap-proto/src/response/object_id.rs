//! What identities of messages, threads and mailboxes are made of.

/// Whether this is an identity as RFC 8474 §7 has them: 1 to 255 letters, digits, `_` and `-`. Servers send no others, since nothing marks
/// where one ends.
///
/// ```
/// use mailwright_imap_proto::response::is_object_id;
///
/// assert!(is_object_id("M6d99ac3275bb4e"));
/// assert!(!is_object_id("1)\r\n* BYE"));
/// ```
pub fn is_object_id(id: &str) -> bool {
    (1..=255).contains(&id.len()) && id.bytes().all(is_part)
}

/// Whether an identity may have this octet.
pub(super) const fn is_part(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'_' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_else_is_one() {
        for id in ["", "a b", "a)", "a\r\n", "\u{e9}", "a\"", &"a".repeat(256)] {
            assert!(!is_object_id(id), "{id:?}");
        }
        assert!(is_object_id(&"aZ0_-".repeat(51)));
    }
}
