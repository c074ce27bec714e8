//! RET and ENVID of MAIL, NOTIFY and ORCPT of RCPT: what reports of delivery are wanted (RFC 3461).

use std::{borrow::Cow, fmt};

use smol_str::{SmolStr, format_smolstr};

use crate::{
    SyntaxError,
    words::{Key, PRINTABLE, WORD, all_in, short, split_at_octet},
    xtext,
};

/// How much of the message a report of failure returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReturnContent {
    /// All of it.
    Full,
    /// The header.
    Headers,
}

impl ReturnContent {
    pub(super) fn parse(value: &str) -> Option<Self> {
        const FULL: Key = Key::of("FULL");
        const HEADERS: Key = Key::of("HDRS");
        match Key::of(value) {
            FULL => Some(Self::Full),
            HEADERS => Some(Self::Headers),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Headers => "HDRS",
        }
    }
}

/// What the sender calls the message; a report of delivery says it again.
///
/// ```
/// use mailwright_smtp_proto::EnvelopeId;
///
/// assert_eq!(EnvelopeId::new("QQ314159")?.as_str(), "QQ314159");
/// assert!(EnvelopeId::new("x".repeat(101)).is_err());
/// # Ok::<(), mailwright_smtp_proto::SyntaxError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EnvelopeId(SmolStr);

impl EnvelopeId {
    /// Printable ASCII, at most 100 octets in xtext.
    ///
    /// # Errors
    /// If it is not.
    pub fn new(text: impl Into<String>) -> Result<Self, SyntaxError> {
        Self::checked(&text.into()).ok_or(SyntaxError::Value("ENVID"))
    }

    /// It, decoded.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn parse(value: &str) -> Option<Self> {
        // The length counts as it was sent.
        if value.len() > 100 {
            return None;
        }
        match xtext::decode(value)? {
            // What had nothing to decode is printable.
            Cow::Borrowed(text) if !text.is_empty() => Some(Self(short(text))),
            text => Self::checked(&text),
        }
    }

    fn checked(text: &str) -> Option<Self> {
        // RFC 3461 §4.4: at most 100 characters in all, and nothing but printable ASCII once decoded. An octet becomes
        // three at most.
        let is_short = text.len() * 3 <= 100 || xtext::encoded_length(text) <= 100;
        if text.is_empty() || !all_in(text, PRINTABLE) || !is_short {
            return None;
        }
        Some(Self(text.into()))
    }

    pub(super) fn encode(&self) -> String {
        xtext::encode(&self.0)
    }
}

/// When a report is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Notify {
    /// Never.
    Never,
    /// On one or more of these.
    On {
        /// When the message is delivered.
        success: bool,
        /// When it cannot be.
        failure: bool,
        /// When it takes long.
        delay: bool,
    },
}

impl Notify {
    /// Words with commas between them, `NEVER` alone (RFC 3461 §4.1).
    pub(super) fn parse(value: &str) -> Option<Self> {
        const NEVER: Key = Key::of("NEVER");
        const SUCCESS: Key = Key::of("SUCCESS");
        const FAILURE: Key = Key::of("FAILURE");
        const DELAY: Key = Key::of("DELAY");
        let (mut success, mut failure, mut delay) = (false, false, false);
        let mut rest = Some(value);
        while let Some(words) = rest {
            let (word, after) = split_at_octet(words, b',');
            match Key::of(word) {
                SUCCESS => success = true,
                FAILURE => failure = true,
                DELAY => delay = true,
                NEVER if word.len() == value.len() => return Some(Self::Never),
                _ => return None,
            }
            rest = after;
        }
        Some(Self::On { success, failure, delay })
    }

    /// `None` if it asks for nothing, which cannot be said.
    pub(super) fn encode(self) -> Option<String> {
        let Self::On { success, failure, delay } = self else { return Some("NEVER".to_owned()) };
        let words = [(success, "SUCCESS"), (failure, "FAILURE"), (delay, "DELAY")];
        let words: Vec<_> = words.iter().filter(|(set, _)| *set).map(|(_, word)| *word).collect();
        (!words.is_empty()).then(|| words.join(","))
    }
}

/// Who the sender named as the recipient, before any alias or list changed it.
///
/// ```
/// use mailwright_smtp_proto::OriginalRecipient;
///
/// let original = OriginalRecipient::new("rfc822", "Bob@Example.COM")?;
/// assert_eq!(original.to_string(), "rfc822;Bob@Example.COM");
/// # Ok::<(), mailwright_smtp_proto::SyntaxError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OriginalRecipient {
    /// Both, with a semicolon between.
    text: SmolStr,
    kind_length: usize,
}

impl OriginalRecipient {
    /// An address of this kind: `rfc822`, or `utf-8` where it has more letters than ASCII.
    ///
    /// # Errors
    /// If the kind is no word, the address has octets it must not have, or all of it is longer than 500 octets.
    pub fn new(kind: impl Into<String>, address: impl Into<String>) -> Result<Self, SyntaxError> {
        Self::checked(&kind.into(), &address.into()).ok_or(SyntaxError::Value("ORCPT"))
    }

    /// The kind of address: `rfc822`.
    pub fn kind(&self) -> &str {
        self.parts().0
    }

    /// The address, decoded.
    pub fn address(&self) -> &str {
        self.parts().1
    }

    pub(super) fn parse(value: &str) -> Option<Self> {
        let (kind, address) = split_at_octet(value, b';');
        let address = address.filter(|_| value.len() <= 500)?;
        let decode = if is_unicode(kind) { decode_unicode } else { xtext::decode };
        match decode(address)? {
            // What had nothing to decode is printable.
            Cow::Borrowed(address) if !kind.is_empty() && !address.is_empty() && all_in(kind, WORD) => {
                Some(Self { text: short(value), kind_length: kind.len() })
            }
            // Postfix calls them all rfc822. RFC 6533 §3: beyond ASCII they are utf-8.
            address if !address.is_ascii() && kind.eq_ignore_ascii_case("rfc822") => {
                Self::checked("utf-8", &address)
            }
            address => Self::checked(kind, &address),
        }
    }

    fn checked(kind: &str, address: &str) -> Option<Self> {
        if kind.is_empty() || address.is_empty() || !all_in(kind, WORD) {
            return None;
        }
        let is_unicode = || is_unicode(kind) && !address.chars().any(char::is_control);
        if !all_in(address, PRINTABLE) && !is_unicode() {
            return None;
        }
        // RFC 3461 §4.2. An octet becomes six at most.
        if kind.len() + 1 + address.len() * 6 > 500 && encoded_length(kind, address) > 500 {
            return None;
        }
        Some(Self { text: format_smolstr!("{kind};{address}"), kind_length: kind.len() })
    }

    fn parts(&self) -> (&str, &str) {
        let (kind, address) = self.text.split_at_checked(self.kind_length).unwrap_or_default();
        (kind, address.get(1..).unwrap_or_default())
    }

    pub(super) fn encode(&self) -> String {
        let (kind, address) = self.parts();
        let encode = if is_unicode(kind) { encode_unicode } else { xtext::encode };
        format!("{kind};{}", encode(address))
    }
}

impl fmt::Display for OriginalRecipient {
    /// As a report has it (RFC 3464 §2.3.1), decoded.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

fn is_unicode(kind: &str) -> bool {
    kind.eq_ignore_ascii_case("utf-8")
}

fn encoded_length(kind: &str, address: &str) -> usize {
    let length =
        if is_unicode(kind) { encode_unicode(address).len() } else { xtext::encoded_length(address) };
    kind.len() + 1 + length
}

/// RFC 6533 §3: utf-8-addr-xtext, `\x{` the number `}`
fn encode_unicode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '!'..='~' if !matches!(letter, '+' | '=' | '\\') => encoded.push(letter),
            _ => encoded.push_str(&format!("\\x{{{:02X}}}", u32::from(letter))),
        }
    }
    encoded
}

/// RFC 6533 §3: also utf-8-addr-unitext, with the letters themselves.
fn decode_unicode(text: &str) -> Option<Cow<'_, str>> {
    let (mut decoded, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(letter) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("\\x{") {
            let (digits, after) = after.split_once('}')?;
            let number = u32::from_str_radix(digits, 16).ok().filter(|_| (2..=6).contains(&digits.len()))?;
            decoded.push(char::from_u32(number).filter(|letter| !letter.is_control())?);
            rest = after;
            continue;
        }
        if matches!(letter, '\\' | '+' | '=' | ' ') || letter.is_control() {
            return None;
        }
        decoded.push(letter);
        rest = rest.get(letter.len_utf8()..)?;
    }
    Some(decoded.into())
}
