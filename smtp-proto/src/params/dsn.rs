//! RET and ENVID of MAIL, NOTIFY and ORCPT of RCPT: what reports of delivery are wanted (RFC 3461).

use std::fmt;

use crate::{SyntaxError, words::split_at_octet, xtext};

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
        [Self::Full, Self::Headers].into_iter().find(|content| content.name().eq_ignore_ascii_case(value))
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
pub struct EnvelopeId(String);

impl EnvelopeId {
    /// Printable ASCII, at most 100 octets in xtext.
    ///
    /// # Errors
    /// If it is not.
    pub fn new(text: impl Into<String>) -> Result<Self, SyntaxError> {
        let text = text.into();
        // RFC 3461 §4.4: at most 100 characters in all, and nothing but printable ASCII once decoded
        let fits = !text.is_empty() && is_printable(&text) && xtext::encoded_length(&text) <= 100;
        if fits { Ok(Self(text)) } else { Err(SyntaxError::Value("ENVID")) }
    }

    /// It, decoded.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn parse(value: &str) -> Option<Self> {
        // The length counts as it was sent.
        xtext::decode(value).filter(|_| value.len() <= 100).and_then(|text| Self::new(text).ok())
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
        if value.eq_ignore_ascii_case("NEVER") {
            return Some(Self::Never);
        }
        let (mut success, mut failure, mut delay) = (false, false, false);
        let mut rest = Some(value);
        while let Some(words) = rest {
            let (word, after) = split_at_octet(words, b',');
            match word {
                _ if word.eq_ignore_ascii_case("SUCCESS") => success = true,
                _ if word.eq_ignore_ascii_case("FAILURE") => failure = true,
                _ if word.eq_ignore_ascii_case("DELAY") => delay = true,
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
    kind: String,
    address: String,
}

impl OriginalRecipient {
    /// An address of this kind: `rfc822`, or `utf-8` where it has more letters than ASCII.
    ///
    /// # Errors
    /// If the kind is no word, the address has octets it must not have, or all of it is longer than 500 octets.
    pub fn new(kind: impl Into<String>, address: impl Into<String>) -> Result<Self, SyntaxError> {
        let made = Self { kind: kind.into(), address: address.into() };
        let is_word = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-';
        let fits = !made.kind.is_empty()
            && made.kind.bytes().all(is_word)
            && !made.address.is_empty()
            && (is_printable(&made.address)
                || (made.is_unicode() && !made.address.chars().any(char::is_control)))
            // RFC 3461 §4.2. An octet becomes six at most.
            && (made.kind.len() + 1 + made.address.len() * 6 <= 500 || made.encoded_length() <= 500);
        if fits { Ok(made) } else { Err(SyntaxError::Value("ORCPT")) }
    }

    /// The kind of address: `rfc822`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The address, decoded.
    pub fn address(&self) -> &str {
        &self.address
    }

    fn is_unicode(&self) -> bool {
        self.kind.eq_ignore_ascii_case("utf-8")
    }

    pub(super) fn parse(value: &str) -> Option<Self> {
        let (kind, address) = split_at_octet(value, b';');
        let address = address?;
        let decode = if kind.eq_ignore_ascii_case("utf-8") { decode_unicode } else { xtext::decode };
        let decoded = decode(address)?;
        // Postfix calls them all rfc822. RFC 6533 §3: beyond ASCII they are utf-8.
        let kind = if kind.eq_ignore_ascii_case("rfc822") && !decoded.is_ascii() { "utf-8" } else { kind };
        Self::new(kind, decoded).ok().filter(|_| value.len() <= 500)
    }

    fn encoded_length(&self) -> usize {
        let address = if self.is_unicode() {
            encode_unicode(&self.address).len()
        } else {
            xtext::encoded_length(&self.address)
        };
        self.kind.len() + 1 + address
    }

    pub(super) fn encode(&self) -> String {
        let encode = if self.is_unicode() { encode_unicode } else { xtext::encode };
        format!("{};{}", self.kind, encode(&self.address))
    }
}

impl fmt::Display for OriginalRecipient {
    /// As a report has it (RFC 3464 §2.3.1), decoded.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{};{}", self.kind, self.address)
    }
}

fn is_printable(text: &str) -> bool {
    text.bytes().all(|octet| matches!(octet, b' '..=b'~'))
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
fn decode_unicode(text: &str) -> Option<String> {
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
    Some(decoded)
}
