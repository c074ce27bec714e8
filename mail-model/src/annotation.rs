//! Annotations of messages (RFC 5257): the names of their entries, patterns of such names, and whose a value is.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use crate::collation;

/// Whose a value of an annotation is (RFC 5257 §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "RFC 5257 §3.2.2 has these two")]
pub enum AnnotationScope {
    /// `.priv`: each user has their own.
    Private,
    /// `.shared`: the same to everybody.
    Shared,
}

impl AnnotationScope {
    /// Both, in the order in which they are told.
    pub const ALL: [Self; 2] = [Self::Private, Self::Shared];

    /// The end of the name of an attribute.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Private => ".priv",
            Self::Shared => ".shared",
        }
    }
}

/// The name of an entry (RFC 5257 §3.2), such as `/comment` or `/1.2/flags/seen`. Case counts.
///
/// ```
/// use mailwright_mail_model::AnnotationEntry;
///
/// let entry: AnnotationEntry = "/1.2/comment".parse()?;
/// assert_eq!(entry.part().map(|part| part.len()), Some(2));
/// assert!(entry.is_registered());
/// assert!("/0/comment".parse::<AnnotationEntry>().is_err());
/// assert!("/comment/".parse::<AnnotationEntry>().is_err());
/// # Ok::<(), mailwright_mail_model::AnnotationEntryError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnnotationEntry(Box<str>);

/// What follows `/flags/` of a part (RFC 5257 §3.2.1).
const FLAGS: [&str; 4] = ["seen", "answered", "flagged", "forwarded"];

impl AnnotationEntry {
    /// The longest name, in octets.
    pub const MAX_OCTETS: usize = 512;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The body part that it is about; `None` if it is about the whole message.
    pub fn part(&self) -> Option<Vec<NonZeroU32>> {
        part_of(&self.0).ok().flatten()
    }

    /// What it is called below the part it is about.
    fn below(&self) -> &str {
        let rest = self.0.strip_prefix('/').unwrap_or_default();
        match starts_with_digit(rest) {
            true => rest.split_once('/').map_or("", |(_, rest)| rest),
            false => rest,
        }
    }

    /// Whether it is one that may be written: those that RFC 5257 §3.2.1 registers, and those of vendors.
    pub fn is_registered(&self) -> bool {
        let of_part = self.part().is_some();
        match self.below().split_once('/') {
            None => self.below() == "comment" || self.below() == "altsubject" && !of_part,
            Some(("vendor", token)) => !token.is_empty(),
            Some(("flags", flag)) => of_part && FLAGS.contains(&flag),
            Some(_) => false,
        }
    }

    /// Whether it may have this value: what stands for a flag is `0` or `1` (RFC 5257 §3.2.1).
    pub fn admits(&self, value: &[u8]) -> bool {
        !self.below().starts_with("flags/") || matches!(value, b"0" | b"1")
    }
}

impl FromStr for AnnotationEntry {
    type Err = AnnotationEntryError;

    fn from_str(name: &str) -> Result<Self, AnnotationEntryError> {
        check(name, false)?;
        let rest = name.strip_prefix('/').ok_or(AnnotationEntryError::Shape)?;
        // RFC 5257 §3.2: no component is empty.
        if rest.split('/').any(str::is_empty) {
            return Err(AnnotationEntryError::Shape);
        }
        part_of(name)?;
        Ok(Self(name.into()))
    }
}

impl fmt::Display for AnnotationEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names of entries, in which `*` stands for anything and `%` for anything but `/` (RFC 5257 §4.3).
///
/// ```
/// use mailwright_mail_model::{AnnotationEntry, AnnotationPattern};
///
/// let (pattern, comment): (AnnotationPattern, AnnotationEntry) = ("/%".parse()?, "/comment".parse()?);
/// assert!(pattern.matches(&comment));
/// assert!(!pattern.matches(&"/1/comment".parse()?));
/// assert!("*".parse::<AnnotationPattern>()?.matches(&comment));
/// # Ok::<(), mailwright_mail_model::AnnotationEntryError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AnnotationPattern(Box<str>);

impl AnnotationPattern {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The one entry that it names, if it has no wildcards.
    pub fn exact(&self) -> Option<AnnotationEntry> {
        self.0.parse().ok()
    }

    /// Whether an entry is among those it names. In time proportional to the product of both lengths, whatever the wildcards.
    pub fn matches(&self, entry: &AnnotationEntry) -> bool {
        let text = entry.as_str().as_bytes();
        // At each place, whether as much of the pattern as was looked at matches what is before it.
        let mut reached = vec![false; text.len() + 1];
        if let Some(start) = reached.first_mut() {
            *start = true;
        }
        for wanted in self.0.bytes() {
            let mut before = false;
            for (index, place) in reached.iter_mut().enumerate() {
                let octet = index.checked_sub(1).and_then(|index| text.get(index));
                let here = *place;
                *place = match wanted {
                    b'*' => here || before,
                    b'%' => here || before && octet != Some(&b'/'),
                    wanted => before && octet == Some(&wanted),
                };
                // A wildcard takes one octet after the other; anything else what was reached without it.
                before = if matches!(wanted, b'*' | b'%') { *place } else { here };
            }
        }
        reached.last().copied().unwrap_or_default()
    }
}

impl From<AnnotationEntry> for AnnotationPattern {
    fn from(entry: AnnotationEntry) -> Self {
        Self(entry.0)
    }
}

impl FromStr for AnnotationPattern {
    type Err = AnnotationEntryError;

    fn from_str(pattern: &str) -> Result<Self, AnnotationEntryError> {
        if !pattern.contains(['*', '%']) {
            return pattern.parse::<AnnotationEntry>().map(Self::from);
        }
        check(pattern, true)?;
        let starts = pattern.starts_with(['/', '*', '%']);
        if !starts || pattern.ends_with('/') || pattern.contains("//") {
            return Err(AnnotationEntryError::Shape);
        }
        Ok(Self(pattern.into()))
    }
}

impl fmt::Display for AnnotationPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not the name of an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnnotationEntryError {
    /// More than [`AnnotationEntry::MAX_OCTETS`].
    #[error("expected the name of an entry of at most 512 octets, got {0}")]
    TooLong(usize),
    /// A wildcard, a control, or nothing of ASCII.
    #[error("expected the name of an entry of ASCII without controls and wildcards, got {0:?}")]
    Character(char),
    /// Not below `/`, or with an empty component.
    #[error("expected the name of an entry such as /comment, without empty components")]
    Shape,
    /// What begins with a digit is not the number of a body part.
    #[error("expected the number of a body part such as 1.2")]
    Part,
}

fn check(name: &str, wildcards: bool) -> Result<(), AnnotationEntryError> {
    if name.len() > AnnotationEntry::MAX_OCTETS {
        return Err(AnnotationEntryError::TooLong(name.len()));
    }
    // RFC 5257 §3.2: nothing beyond ASCII, no NUL; other controls are discouraged, and nobody needs them.
    let is_wrong = |letter: &char| {
        !letter.is_ascii() || letter.is_control() || !wildcards && matches!(letter, '*' | '%')
    };
    match name.chars().find(is_wrong) {
        Some(wrong) => Err(AnnotationEntryError::Character(wrong)),
        None => Ok(()),
    }
}

fn starts_with_digit(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_ascii_digit())
}

/// RFC 5257 §3.2.1: what begins with a digit is the number of a part, as in RFC 3501 §9 `section-part`.
fn part_of(name: &str) -> Result<Option<Vec<NonZeroU32>>, AnnotationEntryError> {
    let rest = name.strip_prefix('/').unwrap_or(name);
    let first = rest.split('/').next().unwrap_or_default();
    if !starts_with_digit(first) {
        return Ok(None);
    }
    let number = |text: &str| {
        let is_number =
            !text.is_empty() && !text.starts_with('0') && text.bytes().all(|digit| digit.is_ascii_digit());
        is_number.then(|| text.parse().ok()).flatten().ok_or(AnnotationEntryError::Part)
    };
    first.split('.').map(number).collect::<Result<Vec<_>, _>>().map(Some)
}

/// Whether the value of an annotation contains a text, compared as other texts are (RFC 5257 §4.8, §7; RFC 5255 §4.1).
pub fn annotation_contains(value: &[u8], text: &str) -> bool {
    collation::folded(&String::from_utf8_lossy(value)).contains(&*collation::folded(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> AnnotationEntry {
        text.parse().unwrap()
    }

    #[test]
    fn names_are_checked() {
        for wrong in [
            "",
            "/",
            "comment",
            "//a",
            "/a//b",
            "/a/",
            "/a*",
            "/a%",
            "/\u{e9}",
            "/a\0",
            "/0/comment",
            "/1./comment",
            "/1..2/comment",
            "/01/comment",
            "/1a/comment",
            "/99999999999/comment",
        ] {
            assert!(wrong.parse::<AnnotationEntry>().is_err(), "{wrong:?}");
        }
        assert!("/a".repeat(300).parse::<AnnotationEntry>().is_err());
        assert_ne!(entry("/Comment"), entry("/comment"));
        assert_eq!(entry("/comment").part(), None);
        assert_eq!(entry("/12.3/comment").part().unwrap().len(), 2);
    }

    #[test]
    fn only_what_is_registered_is_written() {
        for (name, may) in [
            ("/comment", true),
            ("/altsubject", true),
            ("/vendor/foobar", true),
            ("/vendor/foobar/label.priv", true),
            ("/1/comment", true),
            ("/1.2/flags/seen", true),
            ("/1.2/flags/forwarded", true),
            ("/1/vendor/x", true),
            ("/vendor", false),
            ("/1", false),
            ("/1/altsubject", false),
            ("/flags", false),
            ("/flags/seen", false),
            ("/1/flags", false),
            ("/1/flags/deleted", false),
            ("/Comment", false),
            ("/comment/more", false),
        ] {
            assert_eq!(entry(name).is_registered(), may, "{name}");
        }
        assert!(entry("/1/flags/seen").admits(b"1"));
        assert!(!entry("/1/flags/seen").admits(b"yes"));
        assert!(entry("/comment").admits(b"yes"));
    }

    #[test]
    fn patterns_match_levels_and_all() {
        for (pattern, name, matches) in [
            ("/comment", "/comment", true),
            ("/comment", "/Comment", false),
            ("*", "/1/comment", true),
            ("/*", "/1/comment", true),
            ("/%", "/comment", true),
            ("/%", "/1/comment", false),
            ("/%/comment", "/1.2/comment", true),
            ("/%/comment", "/1/x/comment", false),
            ("/*/comment", "/1/x/comment", true),
            ("/*c%t", "/vendor/comment", true),
            ("/%m%t", "/comment", true),
            ("/*/%b", "/a/b/cb", true),
            ("/*/%b", "/a/b/c", false),
            ("%", "/comment", false),
            ("*comment", "/comment", true),
            ("/com*x", "/comment", false),
        ] {
            let pattern: AnnotationPattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches(&entry(name)), matches, "{pattern} {name}");
        }
        for wrong in ["", "x*", "/*//a", "/*/", "/\u{e9}*"] {
            assert!(wrong.parse::<AnnotationPattern>().is_err(), "{wrong:?}");
        }
        assert_eq!("/comment".parse::<AnnotationPattern>().unwrap().exact(), Some(entry("/comment")));
        assert_eq!("/%".parse::<AnnotationPattern>().unwrap().exact(), None);
        let slow: AnnotationPattern = "*a".repeat(200).parse().unwrap();
        assert!(!slow.matches(&entry(&format!("/{}b", "a".repeat(500)))));
    }

    #[test]
    fn texts_are_compared_case_apart() {
        assert!(annotation_contains("Caf\u{c9} au lait".as_bytes(), "caf\u{e9}"));
        assert!(annotation_contains(b"x", ""));
        assert!(!annotation_contains(b"tea", "coffee"));
    }
}
