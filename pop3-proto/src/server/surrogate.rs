//! What a client that did not ask for UTF-8 is sent in the place of it.

/// The longest word that is held, in octets, but for the rest of its last character: encoded it has at most the 75
/// characters of RFC 2047 §2.
const WORD: usize = 14;

/// Makes a header ASCII, as it streams by: words with other octets become encoded-words (RFC 2047). That is what of
/// RFC 6858 can be done without knowing fields.
///
/// A header that is ASCII costs a look at it, and nothing is copied.
#[derive(Debug, Default)]
pub(super) struct Surrogate {
    /// The word under way, while nothing but it is held.
    word: Vec<u8>,
    /// White space behind an encoded-word: readers drop it if another one follows (RFC 2047 §6.2), so it must be told again.
    gap: Option<Vec<u8>>,
}

impl Surrogate {
    /// The next part of a header as it is to be sent; nothing if that is as it came.
    pub(super) fn take(&mut self, part: &[u8]) -> Option<Vec<u8>> {
        if self.word.is_empty() && self.gap.is_none() && part.is_ascii() && !ends_inside(part) {
            return None;
        }
        let mut out = Vec::with_capacity(part.len() + part.len() / 4);
        for octet in part {
            self.octet(*octet, &mut out);
        }
        Some(out)
    }

    /// What was held back: the header, or the message, is over.
    pub(super) fn end(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        self.end_word(&mut out);
        out.append(&mut self.gap.take().unwrap_or_default());
        out
    }

    fn octet(&mut self, octet: u8, out: &mut Vec<u8>) {
        if matches!(octet, b' ' | b'\t' | b'\r' | b'\n') {
            self.end_word(out);
            match &mut self.gap {
                Some(gap) if gap.len() < WORD => gap.push(octet),
                _ => {
                    out.append(&mut self.gap.take().unwrap_or_default());
                    out.push(octet);
                }
            }
            return;
        }
        if b"()<>[]:;@\\,\"".contains(&octet) {
            self.end_word(out);
            out.append(&mut self.gap.take().unwrap_or_default());
            return out.push(octet);
        }
        if self.word.len() >= WORD && is_boundary(octet) {
            // The rest of a word of more than one encoded-word, or a long one of ASCII.
            let encoded = !self.word.is_ascii();
            self.end_word(out);
            if encoded {
                out.push(b' ');
                self.gap = None;
            }
        }
        self.word.push(octet);
        if self.word.len() >= WORD + 4 {
            // Not UTF-8: there is no boundary to wait for.
            self.end_word(out);
            out.push(b' ');
            self.gap = None;
        }
    }

    fn end_word(&mut self, out: &mut Vec<u8>) {
        if self.word.is_empty() {
            return;
        }
        if self.word.is_ascii() {
            out.append(&mut self.gap.take().unwrap_or_default());
            out.append(&mut self.word);
            return;
        }
        let gap = self.gap.replace(Vec::new());
        let charset: &[u8] =
            if std::str::from_utf8(&self.word).is_ok() { b"=?utf-8?q?" } else { b"=?unknown-8bit?q?" };
        if let Some(gap) = &gap {
            out.extend_from_slice(gap);
        }
        out.extend_from_slice(charset);
        if gap.is_some_and(|gap| !gap.is_empty()) {
            out.push(b'_');
        }
        for octet in self.word.drain(..) {
            if octet.is_ascii_alphanumeric() {
                out.push(octet);
            } else {
                let digit = |value: u8| {
                    char::from_digit(value.into(), 16).map_or(b'0', |digit| digit.to_ascii_uppercase() as u8)
                };
                out.extend_from_slice(&[b'=', digit(octet >> 4), digit(octet & 15)]);
            }
        }
        out.extend_from_slice(b"?=");
    }
}

/// Whether a word goes on behind this part: it may turn out not to be ASCII.
fn ends_inside(part: &[u8]) -> bool {
    part.last().is_some_and(|octet| !matches!(octet, b' ' | b'\t' | b'\r' | b'\n'))
}

/// Whether a character of UTF-8 may begin with this octet.
fn is_boundary(octet: u8) -> bool {
    octet & 0xC0 != 0x80
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn made(header: &[u8], split: usize) -> Vec<u8> {
        let (mut surrogate, mut out) = (Surrogate::default(), Vec::new());
        for part in header.chunks(split) {
            match surrogate.take(part) {
                Some(mut other) => out.append(&mut other),
                None => out.extend_from_slice(part),
            }
        }
        out.append(&mut surrogate.end());
        out
    }

    #[test]
    fn words_become_encoded_words() {
        for (header, expected) in [
            ("Subject: hello\r\n\r\n", "Subject: hello\r\n\r\n"),
            ("Subject: Gr\u{fc}\u{df}e\r\n\r\n", "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\n"),
            // The space between is told in the second one, for it is dropped where it stands.
            (
                "S: \u{fc} \u{fc} a \u{fc}\r\n",
                "S: =?utf-8?q?=C3=BC?= =?utf-8?q?_=C3=BC?= a =?utf-8?q?=C3=BC?=\r\n",
            ),
            (
                "From: J\u{fc}rgen <j\u{fc}rgen@a.example>\r\n",
                "From: =?utf-8?q?J=C3=BCrgen?= <=?utf-8?q?j=C3=BCrgen?=@a.example>\r\n",
            ),
            (
                "S: \u{20ac}\u{20ac}\u{20ac}\u{20ac}\u{20ac}\u{20ac}\u{20ac}\u{20ac}\r\n",
                "S: =?utf-8?q?=E2=82=AC=E2=82=AC=E2=82=AC=E2=82=AC=E2=82=AC?= =?utf-8?q?=E2=82=AC=E2=82=AC=E2=82=AC?=\r\n",
            ),
        ] {
            for split in 1..=header.len() {
                let found = String::from_utf8(made(header.as_bytes(), split)).unwrap();
                assert_eq!(found, expected, "by {split}");
            }
        }
        assert_eq!(made(b"S: a\xffb\r\n", 3), b"S: =?unknown-8bit?q?a=FFb?=\r\n");
    }

    proptest! {
        #[test]
        fn is_ascii_and_the_same_for_every_split(
            header in prop::collection::vec(prop_oneof![Just(b' '), Just(b'<'), 0x20_u8..=0xff, Just(0xc3)], 0..120),
            split in 1_usize..120,
        ) {
            let whole = made(&header, usize::MAX);
            prop_assert!(whole.is_ascii());
            prop_assert!(!header.is_ascii() || whole == header);
            prop_assert_eq!(made(&header, split), whole);
        }
    }
}
