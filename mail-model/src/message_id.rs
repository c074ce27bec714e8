//! Message identifiers in Message-ID, In-Reply-To and References (RFC 5322 §3.6.4).

use std::borrow::Cow;

/// The most identifiers taken from one field. A thread of more replies loses the middle of its ancestry only.
pub const MAX_IDS: usize = 1_000;

/// The longest identifier, in octets; longer ones are passed over. RFC 5322 §2.1.1: a line has no more.
pub const MAX_OCTETS: usize = 998;

/// The identifiers in a field's value, which may be folded: each without its angle brackets, without white
/// space, and with a quoted left side unquoted, so that octet by octet comparison is right
/// (RFC 5256 §3).
///
/// Words and comments around them are passed over, as In-Reply-To of old has them. Time is linear.
///
/// ```
/// use mailwright_mail_model::message_id;
///
/// let ids: Vec<_> = message_id::extract(b"<1@example.org>\r\n (of \\) Monday) <\"2\"@example.org>").collect();
/// assert_eq!(ids, [&b"1@example.org"[..], b"2@example.org"]);
/// ```
pub fn extract(value: &[u8]) -> impl Iterator<Item = Cow<'_, [u8]>> {
    Ids { rest: value }.take(MAX_IDS)
}

struct Ids<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Ids<'a> {
    type Item = Cow<'a, [u8]>;

    fn next(&mut self) -> Option<Cow<'a, [u8]>> {
        loop {
            let (byte, after) = self.rest.split_first()?;
            self.rest = after;
            match byte {
                b'<' => {
                    let id = normal(self.id());
                    if (1..=MAX_OCTETS).contains(&id.len()) {
                        return Some(id);
                    }
                }
                b'(' => self.skip(b')', true),
                b'"' => self.skip(b'"', false),
                _ => {}
            }
        }
    }
}

impl<'a> Ids<'a> {
    /// After `<`: up to the `>` that is not in quotes, or to the next `<` if this one is not closed.
    fn id(&mut self) -> &'a [u8] {
        let start = self.rest;
        let (mut quoted, mut escaped) = (false, false);
        let end = start.iter().position(|byte| {
            if std::mem::take(&mut escaped) {
                return false;
            }
            escaped = quoted && *byte == b'\\';
            quoted ^= *byte == b'"';
            !quoted && matches!(byte, b'<' | b'>')
        });
        let (id, rest) = start.split_at_checked(end.unwrap_or(start.len())).unwrap_or((start, &[]));
        self.rest = rest;
        if rest.starts_with(b">") { id } else { &[] }
    }

    /// Passes over a comment or quoted string, of which the opening octet is taken.
    fn skip(&mut self, closing: u8, nests: bool) {
        let mut depth = 1_usize;
        while let Some((byte, after)) = self.rest.split_first() {
            self.rest = after;
            match byte {
                b'\\' => self.rest = after.split_first().map_or(&[][..], |(_, after)| after),
                byte if *byte == closing => depth -= 1,
                b'(' if nests => depth += 1,
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }
}

/// The identifier without white space, quotes, and the backslashes in them.
fn normal(id: &[u8]) -> Cow<'_, [u8]> {
    if !id.iter().any(|byte| byte.is_ascii_whitespace() || *byte == b'"') {
        return Cow::Borrowed(id);
    }
    let (mut quoted, mut escaped) = (false, false);
    let keeps = |byte: &u8| {
        if std::mem::take(&mut escaped) {
            return true;
        }
        escaped = quoted && *byte == b'\\';
        quoted ^= *byte == b'"';
        !escaped && *byte != b'"' && (quoted || !byte.is_ascii_whitespace())
    };
    Cow::Owned(id.iter().copied().filter(keeps).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(value: &str) -> Vec<String> {
        extract(value.as_bytes()).map(|id| String::from_utf8_lossy(&id).into_owned()).collect()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(written in prop::collection::vec("[a-z0-9.]{1,9}@[a-z0-9.]{1,9}", 0..9)) {
            let value: Vec<_> = written.iter().map(|id| format!("<{id}>")).collect();
            prop_assert_eq!(ids(&value.join("\r\n ")), written);
        }

        #[test]
        fn no_octets_break_it(octets in any::<Vec<u8>>(), value in "[<>()\"\\\\a@ ]{0,30}") {
            for octets in [octets.as_slice(), value.as_bytes()] {
                prop_assert!(extract(octets).all(|id| !id.is_empty() && id.len() <= MAX_OCTETS));
            }
        }
    }

    #[test]
    fn oddities() {
        assert_eq!(ids("Your message of Monday \"<no@x>\" (<no@y>) <a@b>"), ["a@b"]);
        assert_eq!(ids("<a@b><c@d>,<e@f>"), ["a@b", "c@d", "e@f"]);
        assert_eq!(ids("<a\r\n b@c>"), ["ab@c"]);
        assert_eq!(ids("<\"a \\\"b>\"@c>"), ["a \"b>@c"]);
        assert_eq!(ids("<open <a@b> <open"), ["a@b"]);
        assert_eq!(ids("<> < > <\"\">"), [""; 0]);
        assert_eq!(ids("a@b"), [""; 0]);
        assert_eq!(ids("(open\\"), [""; 0]);
    }

    #[test]
    fn limits() {
        for (octets, fits) in [(997, true), (998, true), (999, false), (2 << 20, false)] {
            let value = format!("<{}> <after@x>", "a".repeat(octets));
            assert_eq!(ids(&value).len(), if fits { 2 } else { 1 }, "{octets}");
        }
        for (count, kept) in [(999, 999), (1_000, 1_000), (1_001, 1_000)] {
            assert_eq!(ids(&"<a@b>".repeat(count)).len(), kept);
        }
        for hostile in ["<", "<\"", "(", "<>", "< >", "\\"] {
            ids(&hostile.repeat(500_000));
        }
    }
}
