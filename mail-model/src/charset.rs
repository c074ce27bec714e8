//! Charset labels of mail and the way from their octets to Unicode.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, WINDOWS_1252};

/// Names that mail uses and that the labels of the web do not know.
const MAIL_LABELS: [(&str, &str); 20] = [
    ("646", "us-ascii"),
    ("ansi_x3.4-1986", "us-ascii"),
    ("ansi_x3.110-1983", "iso-8859-1"),
    ("cp932", "shift_jis"),
    ("cp936", "gbk"),
    ("cp949", "euc-kr"),
    ("cp950", "big5"),
    ("cp1252", "windows-1252"),
    ("cp367", "us-ascii"),
    ("eucjp", "euc-jp"),
    ("euckr", "euc-kr"),
    ("ibm367", "us-ascii"),
    ("iso646-us", "us-ascii"),
    ("iso_646.irv:1991", "us-ascii"),
    ("latin9", "iso-8859-15"),
    ("uhc", "euc-kr"),
    ("utf-16", "utf-16be"),
    ("utf-8-mac", "utf-8"),
    ("us", "us-ascii"),
    ("x-unknown", "us-ascii"),
];

/// The text that `bytes` spell in the charset `label` (RFC 2046 §4.1.2), or `None` if the charset is unknown.
///
/// Labels are compared without regard to case and surrounding blanks; aliases are known. Octets that mean
/// nothing become U+FFFD. A byte order mark is taken off only where it belongs to the charset. UTF-7 is
/// unknown on purpose: it hides ASCII from whoever looks for it.
///
/// ```
/// use mailwright_mail_model::charset::decode;
///
/// assert_eq!(decode("ISO-8859-1", b"caf\xe9").as_deref(), Some("café"));
/// assert_eq!(decode("us-ascii", b"tea").as_deref(), Some("tea"));
/// assert_eq!(decode("utf-7", b"+AKM-"), None);
/// ```
pub fn decode<'a>(label: &str, bytes: &'a [u8]) -> Option<Cow<'a, str>> {
    let encoding = find(label)?;
    Some(match encoding == UTF_16BE {
        true => encoding.decode(bytes).0,
        false => encoding.decode_with_bom_removal(bytes).0,
    })
}

/// Turns octets of one charset into text as they come, whatever the split.
///
/// ```
/// use mailwright_mail_model::charset::Decoder;
///
/// let mut decoder = Decoder::new("utf-8").ok_or("unknown charset")?;
/// let mut text = String::new();
/// decoder.push(b"caf\xc3", &mut text);
/// decoder.push(b"\xa9", &mut text);
/// decoder.finish(&mut text);
/// assert_eq!(text, "café");
/// # Ok::<(), &str>(())
/// ```
pub struct Decoder(encoding_rs::Decoder);

impl Decoder {
    /// A decoder of the charset `label`; `None` for the same labels as [`decode`].
    pub fn new(label: &str) -> Option<Self> {
        find(label).map(|encoding| Self(start(encoding)))
    }

    /// Appends the text that `bytes` complete to `text`; at most three octets per octet, and a few kept back.
    pub fn push(&mut self, bytes: &[u8], text: &mut String) {
        self.decode(bytes, text, false);
    }

    /// Appends U+FFFD to `text` if a character was cut off, and starts anew.
    pub fn finish(&mut self, text: &mut String) {
        self.decode(b"", text, true);
        self.0 = start(self.0.encoding());
    }

    fn decode(&mut self, mut bytes: &[u8], text: &mut String, last: bool) {
        loop {
            // At most as long as the worst case, which makes a second turn impossible except on overflow.
            let room = self.0.max_utf8_buffer_length(bytes.len()).unwrap_or(bytes.len());
            text.reserve(room);
            let (result, read, _) = self.0.decode_to_string(bytes, text, last);
            bytes = bytes.get(read..).unwrap_or_default();
            if matches!(result, encoding_rs::CoderResult::InputEmpty) {
                return;
            }
        }
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Decoder").field(&self.0.encoding().name()).finish()
    }
}

/// RFC 2781 §4.3: without a byte order mark UTF-16 is big-endian, with one the mark decides.
fn start(encoding: &'static Encoding) -> encoding_rs::Decoder {
    match encoding == UTF_16BE {
        true => encoding.new_decoder(),
        false => encoding.new_decoder_with_bom_removal(),
    }
}

/// The encoding of a label. US-ASCII goes by windows-1252 on the web; in mail raw UTF-8 under that label is
/// far likelier (RFC 6532), and ASCII is the same in both.
fn find(label: &str) -> Option<&'static Encoding> {
    let label = label.trim_ascii();
    let mail = MAIL_LABELS.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(label));
    let label = mail.map_or(label, |(_, name)| name);
    let encoding = Encoding::for_label_no_replacement(label.as_bytes())?;
    let ascii = encoding == WINDOWS_1252 && ASCII.iter().any(|name| name.eq_ignore_ascii_case(label));
    Some(if ascii { UTF_8 } else { encoding })
}

/// The names of US-ASCII (RFC 2046 §4.1.2, RFC 1345).
const ASCII: [&str; 4] = ["us-ascii", "ascii", "ansi_x3.4-1968", "iso-ir-6"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn labels_and_aliases() {
        for label in [
            "US-ASCII",
            "ascii",
            "utf8",
            " UTF-8 ",
            "latin1",
            "cp1252",
            "KOI8-R",
            "gb2312",
            "x-unknown",
            "ISO646-US",
            "uhc",
        ] {
            assert_eq!(decode(label, b"abc").as_deref(), Some("abc"), "{label:?}");
        }
        for label in ["", "utf-7", "unicode-1-1-utf-7", "klingon", "iso-2022-cn", "hz-gb-2312", "x-user"] {
            assert_eq!(decode(label, b"abc"), None, "{label:?}");
        }
    }

    #[test]
    fn octets_of_several_charsets() {
        let cases: [(&str, &[u8], &str); 8] = [
            ("iso-8859-15", b"\xa4", "€"),
            ("us-ascii", "naïve".as_bytes(), "naïve"),
            ("iso-2022-jp", b"\x1b$B%F%9%H\x1b(B", "テスト"),
            ("big5", b"\xa4\xa4", "中"),
            ("utf-16", b"\xff\xfea\0", "a"),
            ("utf-16", b"\xfe\xff\0a", "a"),
            ("utf-16", b"\0a", "a"),
            ("utf-8", b"a\xffb", "a\u{fffd}b"),
        ];
        for (label, bytes, text) in cases {
            assert_eq!(decode(label, bytes).as_deref(), Some(text), "{label}");
        }
    }

    /// Switching character sets on every octet costs no more than the octets themselves.
    #[test]
    fn an_escape_flood_stays_small() {
        let flood = b"\x1b$B\x1b(B".repeat(100_000);
        let text = decode("iso-2022-jp", &flood).unwrap();
        assert!(text.len() <= 3 * flood.len());
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_text(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            split in 0_usize..60,
            label in prop::sample::select(vec!["utf-8", "us-ascii", "iso-2022-jp", "shift_jis", "gb18030", "utf-16le", "koi8-r"]),
        ) {
            let (left, right) = bytes.split_at(split.min(bytes.len()));
            let mut decoder = Decoder::new(label).unwrap();
            let mut text = String::new();
            decoder.push(left, &mut text);
            decoder.push(right, &mut text);
            decoder.finish(&mut text);
            prop_assert_eq!(decode(label, &bytes).unwrap(), text);
        }
    }
}
