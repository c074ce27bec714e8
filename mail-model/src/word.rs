//! Encoded words: text of any charset in header fields (RFC 2047).

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use memchr::{memchr, memchr2, memmem};

use crate::{charset, header};

/// The most encoded words decoded in one field; the rest stay as they are written.
pub const MAX_WORDS: usize = 1_000;

/// RFC 2047 §2: the longest encoded word to write, in octets.
const MAX_OCTETS: usize = 75;

/// RFC 2047 §2 bounds charset and words at 75 octets; what exceeds it is still read, but no name is this long.
const MAX_CHARSET_OCTETS: usize = 64;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The text of a field's value, which may be folded: its encoded words decoded, the white space between
/// adjacent ones dropped (RFC 2047 §6.2).
///
/// A character split over two words of one charset is put together. A word that is malformed or in an
/// unknown charset stays as it is. Octets outside words are taken for UTF-8.
///
/// ```
/// use mailwright_mail_model::word;
///
/// assert_eq!(word::decode(b"Re: =?ISO-8859-1?Q?caf=E9?= =?utf-8?B?IOKYlQ==?= time"), "Re: café ☕ time");
/// assert_eq!(word::decode(b"=?unheard-of?Q?a?="), "=?unheard-of?Q?a?=");
/// ```
pub fn decode(value: &[u8]) -> String {
    text(value).into_owned()
}

/// The same as [`decode`], in place where a value is on one line and has no encoded word: most are.
///
/// ```
/// use std::borrow::Cow;
/// use mailwright_mail_model::word;
///
/// assert!(matches!(word::text(b"More tea?"), Cow::Borrowed("More tea?")));
/// ```
pub fn text(value: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(value) {
        Ok(text) if memchr2(b'\n', b'=', value).is_none() => Cow::Borrowed(text),
        _ => Cow::Owned(decode_words(value)),
    }
}

fn decode_words(value: &[u8]) -> String {
    let value = header::unfold(value);
    // Most that are folded have none either.
    if memchr(b'=', &value).is_none()
        && let Ok(text) = str::from_utf8(&value)
    {
        return text.to_owned();
    }
    let mut text = String::with_capacity(value.len());
    // Adjacent words of one charset, not yet turned into text.
    let mut pending: Option<Pending<'_>> = None;
    let mut rest: &[u8] = &value;
    for _ in 0..MAX_WORDS {
        let Some((before, word, after)) = next_word(rest) else { break };
        rest = after;
        let adjacent = pending.is_some() && before.iter().all(u8::is_ascii_whitespace);
        match &mut pending {
            Some(words) if adjacent && words.charset.eq_ignore_ascii_case(word.charset) => {
                words.ends.push(words.octets.len());
                words.octets.extend_from_slice(&word.octets);
            }
            _ => {
                pending.take().into_iter().for_each(|words| words.flush(&mut text));
                if !adjacent {
                    text.push_str(&String::from_utf8_lossy(before));
                }
                pending = Some(Pending { charset: word.charset, octets: word.octets, ends: Vec::new() });
            }
        }
    }
    pending.into_iter().for_each(|words| words.flush(&mut text));
    text.push_str(&String::from_utf8_lossy(rest));
    text
}

/// Adjacent words of one charset.
struct Pending<'a> {
    charset: &'a str,
    octets: Vec<u8>,
    /// Where each of them ends but the last.
    ends: Vec<usize>,
}

impl Pending<'_> {
    fn flush(self, text: &mut String) {
        let decode =
            |octets| charset::decode(self.charset, octets).unwrap_or_else(|| String::from_utf8_lossy(octets));
        let together = decode(&self.octets);
        let marked = self.charset.get(..6).is_some_and(|name| name.eq_ignore_ascii_case("utf-16"));
        let strange = |text: &str| {
            text.chars().filter(|letter| *letter == '\u{FFFD}' || marked && *letter == '\u{FEFF}').count()
        };
        // RFC 2047 §5: each word is whole by itself. What shifts between character sets (ISO-2022-JP) or begins with a byte order mark
        // (UTF-16) has to be read so; many split a character all the same, which is read together.
        if !self.ends.is_empty() && strange(&together) > 0 {
            let begins = [0].into_iter().chain(self.ends.iter().copied());
            let ends = self.ends.iter().copied().chain([self.octets.len()]);
            let words = begins.zip(ends).filter_map(|(begin, end)| self.octets.get(begin..end));
            let apart: String = words.map(decode).collect();
            if strange(&apart) < strange(&together) {
                text.push_str(&apart);
                return;
            }
        }
        text.push_str(&together);
    }
}

/// The text as a field's value: as it is if that is printable ASCII, else in encoded words of UTF-8, each
/// on a line of its own, at most 75 octets long. Fit for unstructured fields and display names.
///
/// ```
/// use mailwright_mail_model::word;
///
/// assert_eq!(word::encode("plain"), "plain");
/// assert_eq!(word::encode("café"), "=?UTF-8?Q?caf=C3=A9?=");
/// assert_eq!(word::encode("日本"), "=?UTF-8?B?5pel5pys?=");
/// ```
pub fn encode(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) && !text.contains("=?") {
        return Cow::Borrowed(text);
    }
    let quoted: usize = text.bytes().map(quoted_length).sum();
    // Q stays readable while most of the text is ASCII.
    let base64 = quoted > text.len() * 2;
    let prefix = if base64 { "=?UTF-8?B?" } else { "=?UTF-8?Q?" };
    let room = MAX_OCTETS - prefix.len() - "?=".len();
    let mut encoded = String::with_capacity(text.len() * 2);
    let mut rest = text;
    while !rest.is_empty() {
        let (word, after) = rest.split_at(fitting(rest, base64, room));
        if !encoded.is_empty() {
            encoded.push_str("\r\n ");
        }
        encoded.push_str(prefix);
        if base64 {
            BASE64.encode_string(word, &mut encoded);
        } else {
            word.bytes().for_each(|byte| push_quoted(&mut encoded, byte));
        }
        encoded.push_str("?=");
        rest = after;
    }
    Cow::Owned(encoded)
}

/// How many octets from the start of `text` fit in a word. RFC 2047 §5: no character is split over two.
fn fitting(text: &str, base64: bool, room: usize) -> usize {
    let (mut end, mut quoted) = (0, 0);
    for character in text.chars() {
        let next = end + character.len_utf8();
        quoted += character.encode_utf8(&mut [0; 4]).bytes().map(quoted_length).sum::<usize>();
        if room < if base64 { base64_length(next) } else { quoted } {
            break;
        }
        end = next;
    }
    end
}

const fn base64_length(octets: usize) -> usize {
    octets.div_ceil(3) * 4
}

/// RFC 2047 §5 (3): what may stand for itself in a word of a display name, which is the narrowest rule.
const fn is_direct(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'!' | b'*' | b'+' | b'-' | b'/')
}

const fn quoted_length(byte: u8) -> usize {
    if is_direct(byte) || byte == b' ' { 1 } else { 3 }
}

fn push_quoted(encoded: &mut String, byte: u8) {
    match byte {
        b' ' => encoded.push('_'),
        byte if is_direct(byte) => encoded.push(char::from(byte)),
        byte => encoded.push_str(&format!("={byte:02X}")),
    }
}

struct Word<'a> {
    charset: &'a str,
    octets: Vec<u8>,
}

/// The length of the encoded word that `octets` begin with, decodable or not.
pub(crate) fn encoded_length(octets: &[u8]) -> Option<usize> {
    Shape::of(octets).map(|shape| shape.length)
}

/// The first encoded word in `octets` that can be decoded, with what stands before and after it.
///
/// Linear over all calls: an attempt looks no farther than the fourth `?`, so each octet is looked at by
/// at most four attempts.
fn next_word(octets: &[u8]) -> Option<(&[u8], Word<'_>, &[u8])> {
    memmem::find_iter(octets, b"=?").find_map(|start| {
        let (before, rest) = octets.split_at_checked(start)?;
        let shape = Shape::of(rest)?;
        Some((before, shape.decode()?, rest.get(shape.length..)?))
    })
}

/// The parts of `=?charset?encoding?text?=`.
struct Shape<'a> {
    charset: &'a [u8],
    encoding: u8,
    text: &'a [u8],
    length: usize,
}

impl<'a> Shape<'a> {
    fn of(octets: &'a [u8]) -> Option<Self> {
        let rest = octets.strip_prefix(b"=?")?;
        let end = memchr(b'?', rest.get(..MAX_CHARSET_OCTETS.min(rest.len()))?)?;
        let (charset, rest) = rest.split_at_checked(end)?;
        let [b'?', encoding @ (b'B' | b'b' | b'Q' | b'q'), b'?', rest @ ..] = rest else { return None };
        if charset.is_empty() || !charset.iter().all(u8::is_ascii_graphic) {
            return None;
        }
        let (text, rest) = rest.split_at_checked(memchr(b'?', rest)?)?;
        let rest = rest.strip_prefix(b"?=")?;
        Some(Self { charset, encoding: *encoding, text, length: octets.len() - rest.len() })
    }

    fn decode(&self) -> Option<Word<'a>> {
        let charset = str::from_utf8(self.charset).ok()?;
        // RFC 2231 §5: a language may follow the charset.
        let charset = charset.split('*').next()?;
        charset::decode(charset, b"")?;
        let octets = match self.encoding {
            b'B' | b'b' => {
                let text: Vec<u8> =
                    self.text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
                BASE64.decode(text).ok()?
            }
            _ => unquote(self.text),
        };
        Some(Word { charset, octets })
    }
}

/// RFC 2047 §4.2. An `=` without two hexadecimal digits stands for itself.
fn unquote(text: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'_', _) => octets.push(b' '),
            (b'=', [high, low, after @ ..]) => match hexadecimal(*high, *low) {
                Some(octet) => {
                    octets.push(octet);
                    rest = after;
                }
                None => octets.push(b'='),
            },
            (other, _) => octets.push(*other),
        }
    }
    octets
}

/// The octet that two hexadecimal digits of either case spell.
pub(crate) fn hexadecimal(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_text_round_trips(text in prop_oneof![any::<String>(), "[a-zé日 ]{0,90}", "[ -~]{0,99}"]) {
            let text = text.trim_start_matches('\u{FEFF}');
            let encoded = encode(text);
            prop_assert!(encoded.is_ascii());
            if encoded != text {
                prop_assert!(encoded.split("\r\n ").all(|word| word.len() <= 75 && word.ends_with("?=")));
            }
            prop_assert_eq!(decode(encoded.as_bytes()), text);
        }

        #[test]
        fn no_octets_break_it(octets in any::<Vec<u8>>(), words in "(=\\?|utf-8|\\?[bq]\\?|[a=_ ]|\\?=){0,20}") {
            prop_assert_eq!(text(&octets), decode_words(&octets));
            prop_assert_eq!(text(words.as_bytes()), decode_words(words.as_bytes()));
            decode(words.as_bytes());
        }
    }

    #[test]
    fn examples_of_white_space() {
        for (value, text) in [
            ("=?ISO-8859-1?Q?a?=", "a"),
            ("=?ISO-8859-1?Q?a?= b", "a b"),
            ("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
            ("=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?=", "ab"),
            ("=?ISO-8859-1?Q?a_b?=", "a b"),
            ("=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"),
            ("x =?utf-8*en?q?a?= y", "x a y"),
            ("(=?utf-8?q?a?=)", "(a)"),
        ] {
            assert_eq!(decode(value.as_bytes()), text, "{value}");
        }
    }

    #[test]
    fn a_character_may_be_split_over_words() {
        assert_eq!(decode(b"=?utf-8?Q?=C3?= =?UTF-8?B?qQ?="), "\u{e9}");
        assert_eq!(decode(b"=?utf-8?Q?=C3?= x"), "\u{fffd} x");
    }

    #[test]
    fn what_shifts_is_whole_in_each_word() {
        let words = "=?ISO-2022-JP?B?GyRCMnE1RCROTT0bKEI=?=\r\n =?iso-2022-jp?B?GyRCRGokSyREJCQkRhsoQg==?=";
        assert_eq!(decode(words.as_bytes()), "会議の予定について");
        let words = "=?UTF-16?B?//4fBEAEOAQ=?= =?utf-16?B?//4yBDUEQgQ=?=";
        assert_eq!(decode(words.as_bytes()), "Привет");
        // Torn within a shift sequence's text: read together.
        let torn = "=?ISO-2022-JP?B?GyRCMnE1?= =?ISO-2022-JP?B?RBsoQg==?=";
        assert_eq!(decode(torn.as_bytes()), "会議");
    }

    #[test]
    fn the_malformed_stays() {
        for value in [
            "=?",
            "=??=",
            "=?utf-8?=",
            "=?utf-8?q?open",
            "=?utf-8?x?a?=",
            "=?utf-8?b?!?=",
            "=?no such?q?a?=",
            "=??q?a?=",
            "=?utf-8?q?a?",
        ] {
            assert_eq!(decode(value.as_bytes()), value);
        }
        assert_eq!(decode(b"=?utf-8?q?=ZZ=4?="), "=ZZ=4");
        assert_eq!(decode(b"=?utf-8?q?open =?utf-8?q?b?="), "=?utf-8?q?open b");
        assert_eq!(decode(b"caf\xe9"), "caf\u{fffd}");
    }

    #[test]
    fn a_thousand_words_and_no_more() {
        let word = "=?utf-8?q?a?= ";
        for count in [999, 1_000, 1_001] {
            let text = decode(word.repeat(count).as_bytes());
            assert!(text.starts_with(&"a".repeat(count.min(1_000))));
            assert_eq!(text.contains("=?"), count > 1_000);
        }
        for hostile in ["=?utf-8?q?a?= =?utf-8?q?", "=?", "=?a?q?", "=?a", "=?utf-8?b?!?="] {
            decode(hostile.repeat(60_000).as_bytes());
        }
    }
}
