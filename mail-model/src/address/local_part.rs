//! The part of an address that only its host understands.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use super::{AddressError, LOCAL, Part};

/// The part of an address before the `@` (RFC 5321 §4.1.2 `Local-part`, with UTF-8 as of RFC 6531 §3.3).
///
/// Equal to another if both are the same text once unquoted: the same mailbox (RFC 5321 §4.1.2).
///
/// ```
/// use mailwright_mail_model::LocalPart;
///
/// let local: LocalPart = "\"ann\\\"e\"".parse()?;
/// assert_eq!(local.as_str(), "\"ann\\\"e\"");
/// assert_eq!(local.unquoted(), "ann\"e");
/// assert_eq!("\"ann\"".parse::<LocalPart>()?, "ann".parse()?);
/// # Ok::<(), mailwright_mail_model::AddressError>(())
/// ```
#[derive(Clone)]
pub struct LocalPart(pub(super) Part);

/// The [`LocalPart`] of an [`Address`](super::Address), where it stands in it.
#[derive(Clone, Copy)]
pub struct LocalPartRef<'a> {
    written: &'a str,
    meant: &'a str,
}

impl LocalPart {
    /// The longest local part, quotes included, in octets (RFC 5321 §4.5.3.1.1).
    pub const MAX_OCTETS: usize = 64;

    /// The local part for this unquoted text, put in quotes only if need be.
    ///
    /// # Errors
    /// If the text is empty, too long, or holds a control character.
    pub fn from_unquoted(text: &str) -> Result<Self, AddressError> {
        match text.parse() {
            Ok(local) if !text.starts_with('"') => Ok(local),
            _ => {
                let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
                format!("\"{escaped}\"").parse()
            }
        }
    }

    /// Exactly as it was written.
    pub fn as_str(&self) -> &str {
        self.0.written()
    }

    /// What it means: without the quotes around it and the backslashes in it.
    pub fn unquoted(&self) -> &str {
        self.0.meant()
    }
}

impl<'a> LocalPartRef<'a> {
    pub(super) fn of(written: &'a str, meant: &'a str) -> Self {
        Self { written, meant }
    }

    /// Exactly as it was written.
    pub fn as_str(self) -> &'a str {
        self.written
    }

    /// What it means: without the quotes around it and the backslashes in it.
    pub fn unquoted(self) -> &'a str {
        self.meant
    }
}

impl From<LocalPartRef<'_>> for LocalPart {
    fn from(local: LocalPartRef<'_>) -> Self {
        Self(Part::alone(local.written, (local.written != local.meant).then_some(local.meant)))
    }
}

/// Splits a text after the local part it begins with: before the first `@` that is not in quotes.
pub(super) fn split(text: &str) -> Result<(&str, &str), AddressError> {
    let end = if text.starts_with('"') {
        let mut escaped = false;
        let closing = text.bytes().enumerate().skip(1).find(|(_, byte)| {
            let closes = *byte == b'"' && !escaped;
            escaped = *byte == b'\\' && !escaped;
            closes
        });
        closing.map(|(index, _)| index + 1).ok_or(AddressError::OpenQuote)?
    } else {
        text.bytes().position(|octet| octet == b'@').unwrap_or(text.len())
    };
    text.split_at_checked(end).ok_or(AddressError::OpenQuote)
}

impl FromStr for LocalPart {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Ok(Self(Part::alone(text, unquoted(text)?.as_deref())))
    }
}

/// What a local part means, if it is in quotes.
pub(super) fn unquoted(text: &str) -> Result<Option<String>, AddressError> {
    if text.is_empty() {
        return Err(AddressError::EmptyLocalPart);
    }
    if text.len() > LocalPart::MAX_OCTETS {
        return Err(AddressError::LocalPartTooLong(text.len()));
    }
    match text.strip_prefix('"') {
        Some(rest) => unquote(rest.strip_suffix('"').ok_or(AddressError::OpenQuote)?).map(Some),
        None => check_dot_string(text).map(|()| None),
    }
}

/// RFC 5321 §4.1.2 `Dot-string`.
fn check_dot_string(text: &str) -> Result<(), AddressError> {
    if LOCAL.run(text.as_bytes()).length() == Some(text.len()) {
        return Ok(());
    }
    if let Some(stray) = text.chars().find(|character| *character != '.' && !is_atom_text(*character)) {
        return Err(AddressError::LocalPartCharacter(stray));
    }
    if text.split('.').any(str::is_empty) { Err(AddressError::EmptyAtom) } else { Ok(()) }
}

/// RFC 5321 §4.1.2 `QcontentSMTP`, what stands between the quotes.
fn unquote(content: &str) -> Result<String, AddressError> {
    let mut unquoted = String::with_capacity(content.len());
    let mut characters = content.chars();
    while let Some(character) = characters.next() {
        let meant = match character {
            // A backslash may stand before printable ASCII only.
            '\\' => {
                characters.next().filter(|next| matches!(next, ' '..='~')).ok_or(AddressError::OpenQuote)?
            }
            '"' => return Err(AddressError::LocalPartCharacter('"')),
            other => other,
        };
        if meant.is_control() {
            return Err(AddressError::LocalPartCharacter(meant));
        }
        unquoted.push(meant);
    }
    // Legal by the grammar, but such mailboxes have only ever served to crash servers.
    if unquoted.is_empty() { Err(AddressError::EmptyLocalPart) } else { Ok(unquoted) }
}

/// RFC 5322 §3.2.3 `atext`, and RFC 6531 §3.3 `UTF8-non-ascii` without the C1 controls.
fn is_atom_text(character: char) -> bool {
    u8::try_from(character).is_ok_and(|octet| LOCAL.is_letter(octet))
        || (!character.is_ascii() && !character.is_control())
}

impl PartialEq for LocalPart {
    fn eq(&self, other: &Self) -> bool {
        self.unquoted() == other.unquoted()
    }
}

impl Eq for LocalPart {}

impl Hash for LocalPart {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.unquoted().hash(state);
    }
}

impl fmt::Display for LocalPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for LocalPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalPart({})", self.as_str())
    }
}

impl PartialEq for LocalPartRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.unquoted() == other.unquoted()
    }
}

impl Eq for LocalPartRef<'_> {}

impl Hash for LocalPartRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.unquoted().hash(state);
    }
}

impl fmt::Display for LocalPartRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for LocalPartRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalPart({})", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_can_be_quoted_and_read_back(text in "[ -~é\u{1F600}]{1,12}") {
            let local = LocalPart::from_unquoted(&text).unwrap();
            prop_assert_eq!(local.unquoted(), &text);
            let again: LocalPart = local.as_str().parse().unwrap();
            prop_assert_eq!(again.as_str(), local.as_str());
            prop_assert_eq!(again, local);
        }

        #[test]
        fn never_panics(text in any::<String>()) {
            let _ = text.parse::<LocalPart>();
            let _ = split(&text);
        }
    }

    #[test]
    fn dot_strings() {
        for text in ["a", "a.b", "o'brien+tag", "用户", "!#$%&'*+-/=?^_`{|}~", "-oQ/tmp", "|sh"] {
            assert_eq!(text.parse::<LocalPart>().unwrap().unquoted(), text);
        }
        for text in [".", ".a", "a.", "a..b", "../../etc/passwd"] {
            assert_eq!(text.parse::<LocalPart>(), Err(AddressError::EmptyAtom), "{text}");
        }
        for stray in
            [' ', '"', '(', ')', ',', ':', ';', '<', '>', '@', '[', '\\', ']', '\r', '\n', '\0', '\u{85}']
        {
            let text = format!("a{stray}b");
            assert_eq!(text.parse::<LocalPart>(), Err(AddressError::LocalPartCharacter(stray)));
        }
    }

    #[test]
    fn quoted_strings() {
        assert_eq!("\"a@b c\\\\\"".parse::<LocalPart>().unwrap().unquoted(), "a@b c\\");
        for text in ["\"", "\"a", "\"a\\\"", "\"\\é\""] {
            assert_eq!(text.parse::<LocalPart>(), Err(AddressError::OpenQuote), "{text}");
        }
        for text in ["\"a\r\nb\"", "\"a\rb\"", "\"\\\r\"", "\"a\0\"", "\"a\"b\"", "\"\t\""] {
            assert!(text.parse::<LocalPart>().is_err(), "{text:?}");
        }
        assert_eq!("\"\"".parse::<LocalPart>(), Err(AddressError::EmptyLocalPart));
    }

    #[test]
    fn at_most_64_octets_quotes_and_backslashes_included() {
        assert!("a".repeat(63).parse::<LocalPart>().is_ok());
        assert!("a".repeat(64).parse::<LocalPart>().is_ok());
        assert_eq!("a".repeat(65).parse::<LocalPart>(), Err(AddressError::LocalPartTooLong(65)));
        let pairs = format!("\"{}\"", "\\a".repeat(200));
        assert_eq!(pairs.parse::<LocalPart>(), Err(AddressError::LocalPartTooLong(402)));
    }
}
