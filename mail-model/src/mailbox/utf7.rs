//! Modified UTF-7, the form of mailbox names in IMAP4rev1 (RFC 3501 §5.1.3).
//!
//! Printable ASCII stands for itself, `&-` for `&`, and everything else is UTF-16 in a base64 of its own
//! between `&` and `-`. Each text has exactly one encoding; [`decode`] refuses all others, so that no
//! character can be smuggled past a check.

use base64::Engine as _;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::{GeneralPurpose, general_purpose::NO_PAD};

const BASE64: GeneralPurpose = GeneralPurpose::new(&IMAP_MUTF7, NO_PAD);

/// The modified UTF-7 of a text.
///
/// ```
/// use mailwright_mail_model::mailbox::utf7;
///
/// assert_eq!(utf7::encode("Entwürfe & mehr"), "Entw&APw-rfe &- mehr");
/// ```
pub fn encode(text: &str) -> String {
    if is_all_direct(text) {
        return text.to_owned();
    }
    let mut encoded = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let (plain, after) = rest.split_at(rest.find(|c| !is_direct(c)).unwrap_or(rest.len()));
        encoded.push_str(plain);
        let (shifted, after) = after.split_at(after.find(is_printable).unwrap_or(after.len()));
        if !shifted.is_empty() {
            let utf16: Vec<u8> = shifted.encode_utf16().flat_map(u16::to_be_bytes).collect();
            encoded.push('&');
            BASE64.encode_string(utf16, &mut encoded);
            encoded.push('-');
        }
        rest = match after.strip_prefix('&') {
            Some(after) => {
                encoded.push_str("&-");
                after
            }
            None => after,
        };
    }
    encoded
}

/// The text a modified UTF-7 encodes.
///
/// # Errors
/// If `encoded` is not the encoding [`encode`] gives for some text: a raw control or 8-bit octet, an
/// open or malformed `&` sequence, half a surrogate pair, printable ASCII or needless shifts in base64.
///
/// ```
/// use mailwright_mail_model::mailbox::utf7;
///
/// assert_eq!(utf7::decode(b"Entw&APw-rfe")?, "Entwürfe");
/// assert!(utf7::decode(b"&AC8-etc").is_err()); // a hidden "/"
/// # Ok::<(), utf7::Utf7Error>(())
/// ```
pub fn decode(encoded: &[u8]) -> Result<String, Utf7Error> {
    let encoded = str::from_utf8(encoded).map_err(|_| Utf7Error::Octet)?;
    if is_all_direct(encoded) {
        return Ok(encoded.to_owned());
    }
    if !encoded.chars().all(is_printable) {
        return Err(Utf7Error::Octet);
    }
    let mut text = String::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((plain, after)) = rest.split_once('&') {
        text.push_str(plain);
        let (shifted, after) = after.split_once('-').ok_or(Utf7Error::Open)?;
        if shifted.is_empty() {
            text.push('&');
        } else {
            text.push_str(&unshift(shifted)?);
        }
        rest = after;
    }
    text.push_str(rest);
    // One comparison finds every second spelling: printable ASCII, split sequences, stray bits.
    if encode(&text) == encoded { Ok(text) } else { Err(Utf7Error::NotCanonical) }
}

/// Why octets are not modified UTF-7.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Utf7Error {
    /// An octet outside printable ASCII.
    #[error("expected printable ASCII, got another octet")]
    Octet,
    /// An `&` without a `-` after it.
    #[error("expected `-` to end what `&` began")]
    Open,
    /// Not base64, or not UTF-16 within it.
    #[error("expected UTF-16 in modified base64 between `&` and `-`")]
    Shifted,
    /// A second way to write a text.
    #[error("expected the canonical encoding, got another one of the same text")]
    NotCanonical,
}

fn unshift(shifted: &str) -> Result<String, Utf7Error> {
    let octets = BASE64.decode(shifted).map_err(|_| Utf7Error::Shifted)?;
    let (units, []) = octets.as_chunks::<2>() else { return Err(Utf7Error::Shifted) };
    let units = units.iter().map(|unit| u16::from_be_bytes(*unit));
    char::decode_utf16(units).collect::<Result<_, _>>().map_err(|_| Utf7Error::Shifted)
}

/// RFC 3501 §5.1.3: represented by itself, or as `&-`.
const fn is_printable(character: char) -> bool {
    matches!(character, ' '..='~')
}

/// Whether a text stands for itself: most do.
pub(super) fn is_all_direct(text: &str) -> bool {
    text.bytes().all(|octet| is_direct(octet.into()))
}

const fn is_direct(character: char) -> bool {
    is_printable(character) && character != '&'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_text_round_trips(text in any::<String>()) {
            let encoded = encode(&text);
            prop_assert!(encoded.chars().all(is_printable));
            prop_assert_eq!(decode(encoded.as_bytes()), Ok(text));
        }

        #[test]
        fn what_decodes_is_canonical(encoded in "[&A-D8/g,+ .-]{0,12}") {
            if let Ok(text) = decode(encoded.as_bytes()) {
                prop_assert_eq!(encode(&text), encoded);
            }
        }

        #[test]
        fn no_octets_break_it(octets in any::<Vec<u8>>()) {
            let _ = decode(&octets);
        }
    }

    #[test]
    fn examples() {
        for (text, encoded) in [
            ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
            ("é&", "&AOk-&-"),
            ("&é", "&-&AOk-"),
            ("😀", "&2D3eAA-"),
            ("a\u{0}b", "a&AAA-b"),
            ("", ""),
        ] {
            assert_eq!(encode(text), encoded);
            assert_eq!(decode(encoded.as_bytes()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn second_spellings_are_refused() {
        for (encoded, error) in [
            ("&AC8-etc", Utf7Error::NotCanonical),   // a printable "/"
            ("&AC4ALg-/x", Utf7Error::NotCanonical), // printable dots
            ("&ACY-", Utf7Error::NotCanonical),      // "&" in base64
            ("&AOk-&AOk-", Utf7Error::NotCanonical), // shifted twice
            ("&AOl-", Utf7Error::Shifted),           // stray bits
            ("&AOkA-", Utf7Error::Shifted),          // half a unit
            ("&AOk", Utf7Error::Open),
            ("&", Utf7Error::Open),
            ("&A/8-", Utf7Error::Shifted), // base64's "/" is "," here
            ("&AOk=-", Utf7Error::Shifted),
            ("&2D0-", Utf7Error::Shifted),    // half a surrogate pair
            ("&3gDYPQ-", Utf7Error::Shifted), // the halves swapped
            ("é", Utf7Error::Octet),
            ("a\tb", Utf7Error::Octet),
        ] {
            assert_eq!(decode(encoded.as_bytes()), Err(error), "{encoded}");
        }
        assert_eq!(decode(b"\xff\xfe"), Err(Utf7Error::Octet));
    }
}
