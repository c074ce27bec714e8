//! Messages that begin with their text.

use bytes::{Bytes, BytesMut};

/// Puts the empty line in front of a message that has no header (RFC 5322 §3.5), while it streams by.
///
/// The trace fields of every host on the way stand in front of a message. Without the empty line its first lines would be taken for
/// more of the header, or for the rest of a folded field, and shown to nobody.
#[derive(Debug, Default)]
pub(super) struct Opening {
    is_known: bool,
    /// What came before it was known.
    begun: BytesMut,
}

/// Where a field's name must have ended: no longer line is a field (RFC 5322 §2.1.1).
const LONGEST: usize = 998;

impl Opening {
    /// What becomes of the next octets. Before it is known how the message begins, they wait.
    pub(super) fn push(&mut self, chunk: Bytes) -> Bytes {
        if self.is_known {
            return chunk;
        }
        if self.begun.is_empty() && begins_with_header(&chunk) == Some(true) {
            self.is_known = true;
            return chunk;
        }
        self.begun.extend_from_slice(&chunk);
        match begins_with_header(&self.begun) {
            None => Bytes::new(),
            Some(header) => self.settle(header),
        }
    }

    /// What waited when the message ended.
    pub(super) fn finish(&mut self) -> Bytes {
        if self.is_known || self.begun.is_empty() { Bytes::new() } else { self.settle(false) }
    }

    fn settle(&mut self, header: bool) -> Bytes {
        self.is_known = true;
        let begun = self.begun.split();
        if header { begun.freeze() } else { [b"\r\n", &*begun].concat().into() }
    }
}

/// Whether a message begins with a field or with the empty line that ends a header; `None` as long as that cannot be said.
fn begins_with_header(octets: &[u8]) -> Option<bool> {
    const EMPTY: &[u8] = b"\r\n";
    // The line that stands before a message in an mbox file: fields follow, from which it parts nobody who reads them.
    const SEPARATOR: &[u8] = b"From ";
    if octets.first() == Some(&b'\n') {
        return Some(true);
    }
    for whole in [EMPTY, SEPARATOR] {
        if octets.starts_with(whole) {
            return Some(true);
        }
        if whole.starts_with(octets) {
            return None;
        }
    }
    // RFC 5322 §2.2, and the blanks of §4.5 before the colon
    let end = octets.iter().position(|octet| !octet.is_ascii_graphic() || *octet == b':');
    let (name, rest) = match end {
        Some(end) => octets.split_at_checked(end)?,
        None if octets.len() > LONGEST => return Some(false),
        None => return None,
    };
    match rest.trim_ascii_start().first() {
        _ if name.is_empty() || name.len() > LONGEST => Some(false),
        Some(b':') => {
            Some(!rest.iter().take_while(|octet| **octet != b':').any(|octet| matches!(octet, b'\r' | b'\n')))
        }
        Some(_) => Some(false),
        None if rest.len() > LONGEST || rest.contains(&b'\n') => Some(false),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stands_behind_an_empty_line() {
        for (message, is_text) in [
            ("", false),
            ("\r\n", false),
            ("\r\n\r\ntext\r\n", false),
            ("\ntext\n", false),
            ("Subject: a\n\ntext\n", false),
            ("Subject: a\r\n\r\ntext\r\n", false),
            ("Subject : a\r\n", false),
            ("X: a", false),
            ("From ann Mon Jan  1 00:00:00 2026\r\nSubject: a\r\n\r\n", false),
            ("From: ann@example.org\r\n", false),
            ("text", true),
            ("just text\r\n", true),
            ("just text: and a colon\r\n", true),
            (" Subject: a\r\n", true),
            ("\tx\r\n", true),
            (": x\r\n", true),
            ("Subject\r\n: x\r\n", true),
            ("Subject \r\n", true),
            ("Fro", true),
            ("From", true),
            ("\r", true),
            ("naïve: text\r\n", true),
            (&format!("{}: a\r\n", "x".repeat(999)), true),
            (&format!("{}: a\r\n", "x".repeat(998)), false),
        ] {
            let expected = if is_text { format!("\r\n{message}") } else { message.to_owned() };
            for split in (1..=message.len().clamp(1, 40)).chain([1_000]) {
                let (mut opening, mut output) = (Opening::default(), Vec::new());
                for piece in message.as_bytes().chunks(split) {
                    output.extend_from_slice(&opening.push(Bytes::copy_from_slice(piece)));
                }
                output.extend_from_slice(&opening.finish());
                assert_eq!(String::from_utf8_lossy(&output), expected, "{message:?}/{split}");
            }
        }
    }

    #[test]
    fn little_waits() {
        let mut opening = Opening::default();
        assert_eq!(opening.push(vec![b'x'; 900].into()), "");
        assert_eq!(opening.push(vec![b'x'; 900].into()).len(), 1_802);
        assert_eq!(opening.push("y".into()), "y");
    }
}
