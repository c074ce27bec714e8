//! The flags of a message: the five system flags of IMAP and keywords.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::Keyword;

/// A flag that stays with a message (RFC 9051 §2.3.2).
///
/// `\Recent` is not one: it is told by a session and cannot be set.
///
/// ```
/// use mailwright_mail_model::{Flag, Keyword};
///
/// assert_eq!("\\seen".parse::<Flag>()?, Flag::Seen);
/// assert_eq!("$forwarded".parse::<Flag>()?, Flag::Keyword(Keyword::FORWARDED));
/// assert!("\\Recent".parse::<Flag>().is_err());
/// # Ok::<(), mailwright_mail_model::FlagError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Flag {
    /// `\Seen`: the message has been read.
    Seen,
    /// `\Answered`: the message has been answered.
    Answered,
    /// `\Flagged`: the message is marked for attention.
    Flagged,
    /// `\Deleted`: the message will be removed by EXPUNGE.
    Deleted,
    /// `\Draft`: the message is not finished.
    Draft,
    /// A name the client chose, without a backslash.
    Keyword(Keyword),
}

/// The system flags in the order of their bits in [`FlagSet::system_bits`], and their wire forms.
const SYSTEM: [(Flag, &str); 5] = [
    (Flag::Seen, "\\Seen"),
    (Flag::Answered, "\\Answered"),
    (Flag::Flagged, "\\Flagged"),
    (Flag::Deleted, "\\Deleted"),
    (Flag::Draft, "\\Draft"),
];

impl Flag {
    /// The wire form, such as `\Seen` or `$Junk`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Keyword(keyword) => keyword.as_str(),
            system => SYSTEM.iter().find(|(flag, _)| flag == system).map_or("", |(_, name)| name),
        }
    }

    /// The bit of a system flag; none for keywords.
    const fn bit(&self) -> u8 {
        match self {
            Self::Seen => 1,
            Self::Answered => 2,
            Self::Flagged => 4,
            Self::Deleted => 8,
            Self::Draft => 16,
            Self::Keyword(_) => 0,
        }
    }
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Flag {
    type Err = FlagError;

    /// Names are compared without regard to ASCII case (RFC 9051 §2.3.2).
    fn from_str(text: &str) -> Result<Self, FlagError> {
        if !text.starts_with('\\') {
            return Keyword::new(text).map(Self::Keyword);
        }
        let system = SYSTEM.iter().find(|(_, name)| name.eq_ignore_ascii_case(text));
        system.map(|(flag, _)| flag.clone()).ok_or(FlagError::UnknownSystemFlag)
    }
}

impl From<Keyword> for Flag {
    fn from(keyword: Keyword) -> Self {
        Self::Keyword(keyword)
    }
}

/// Why a text is not a [`Flag`], [`Keyword`] or [`FlagSet`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlagError {
    /// A backslash before a name other than the five system flags'; `\Recent` cannot be set.
    #[error(
        "expected \\Seen, \\Answered, \\Flagged, \\Deleted, \\Draft or a keyword, got another system flag"
    )]
    UnknownSystemFlag,
    /// No octet at all.
    #[error("expected a keyword, got nothing")]
    Empty,
    /// More than [`Keyword::MAX_OCTETS`].
    #[error("expected a keyword of at most 255 octets, got {0}")]
    TooLong(usize),
    /// A character that no atom may hold.
    #[error("expected a keyword made of atom characters, got one with {0:?}")]
    NotAtom(char),
}

/// The flags of one message. Sixteen octets unless there are keywords; cheap to clone either way.
///
/// ```
/// use mailwright_mail_model::{Flag, FlagSet};
///
/// let mut flags: FlagSet = "(\\Seen $Junk)".parse()?;
/// flags.insert(Flag::Draft);
/// assert!(flags.contains(&"$JUNK".parse()?));
/// assert_eq!(flags.to_string(), "(\\Seen \\Draft $Junk)");
/// # Ok::<(), mailwright_mail_model::FlagError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct FlagSet {
    system: u8,
    /// Sorted, each once, never empty.
    keywords: Option<Arc<Vec<Keyword>>>,
}

impl FlagSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self { system: 0, keywords: None }
    }

    /// A set of system flags from the bits [`system_bits`](Self::system_bits) gave; `None` if others are set.
    pub const fn from_system_bits(bits: u8) -> Option<Self> {
        if bits < 1 << SYSTEM.len() { Some(Self { system: bits, keywords: None }) } else { None }
    }

    /// The system flags as bits fit for storage: `\Seen` 1, `\Answered` 2, `\Flagged` 4, `\Deleted` 8, `\Draft` 16.
    pub const fn system_bits(&self) -> u8 {
        self.system
    }

    /// The keywords, sorted without regard to ASCII case.
    pub fn keywords(&self) -> &[Keyword] {
        self.keywords.as_deref().map_or(&[], Vec::as_slice)
    }

    /// How many flags are set.
    pub fn len(&self) -> usize {
        self.system.count_ones() as usize + self.keywords().len()
    }

    /// Whether no flag is set.
    pub const fn is_empty(&self) -> bool {
        self.system == 0 && self.keywords.is_none()
    }

    /// Whether `flag` is set.
    pub fn contains(&self, flag: &Flag) -> bool {
        match flag {
            Flag::Keyword(keyword) => self.keywords().binary_search(keyword).is_ok(),
            system => self.system & system.bit() != 0,
        }
    }

    /// Sets `flag`; `false` if it was set already. A keyword keeps the case it was first set with.
    pub fn insert(&mut self, flag: Flag) -> bool {
        let Flag::Keyword(keyword) = flag else {
            let new = self.system & flag.bit() == 0;
            self.system |= flag.bit();
            return new;
        };
        let Err(index) = self.keywords().binary_search(&keyword) else { return false };
        Arc::make_mut(self.keywords.get_or_insert_default()).insert(index, keyword);
        true
    }

    /// Clears `flag`; `false` if it was not set.
    pub fn remove(&mut self, flag: &Flag) -> bool {
        let Flag::Keyword(keyword) = flag else {
            let old = self.system & flag.bit() != 0;
            self.system &= !flag.bit();
            return old;
        };
        let Ok(index) = self.keywords().binary_search(keyword) else { return false };
        if let Some(keywords) = &mut self.keywords {
            Arc::make_mut(keywords).remove(index);
        }
        self.keywords.take_if(|keywords| keywords.is_empty());
        true
    }

    /// The flags in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut result = self.clone();
        result.system |= other.system;
        if result.keywords.is_none() {
            result.keywords.clone_from(&other.keywords);
        } else {
            result.extend(other.keywords().iter().cloned().map(Flag::Keyword));
        }
        result
    }

    /// The flags in this set that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut result = self.clone();
        result.system &= !other.system;
        for keyword in other.keywords() {
            result.remove(&Flag::Keyword(keyword.clone()));
        }
        result
    }

    /// Every flag: system flags first, then keywords, sorted.
    pub fn iter(&self) -> impl Iterator<Item = Flag> + '_ {
        let system = SYSTEM.into_iter().map(|(flag, _)| flag).filter(|flag| self.system & flag.bit() != 0);
        system.chain(self.keywords().iter().cloned().map(Flag::Keyword))
    }
}

impl FromIterator<Flag> for FlagSet {
    fn from_iter<I: IntoIterator<Item = Flag>>(flags: I) -> Self {
        let mut set = Self::new();
        set.extend(flags);
        set
    }
}

impl Extend<Flag> for FlagSet {
    fn extend<I: IntoIterator<Item = Flag>>(&mut self, flags: I) {
        for flag in flags {
            self.insert(flag);
        }
    }
}

/// The wire form of RFC 9051 §9 `flag-list`, with its parentheses.
impl fmt::Display for FlagSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        for (index, flag) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(flag.as_str())?;
        }
        f.write_str(")")
    }
}

impl fmt::Debug for FlagSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FlagSet{self}")
    }
}

impl FromStr for FlagSet {
    type Err = FlagError;

    /// Flags separated by single spaces, in parentheses or (as STORE allows) without.
    fn from_str(text: &str) -> Result<Self, FlagError> {
        let list = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(text);
        if list.is_empty() { Ok(Self::new()) } else { list.split(' ').map(str::parse).collect() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn flags() -> impl Strategy<Value = Flag> {
        prop_oneof![
            prop::sample::select(SYSTEM.map(|(flag, _)| flag).to_vec()),
            "[a-cA-C$]{1,2}".prop_map(|name| Flag::Keyword(Keyword::new(&name).unwrap())),
        ]
    }

    proptest! {
        #[test]
        fn a_set_behaves_like_a_set(
            a in prop::collection::vec(flags(), 0..12),
            b in prop::collection::vec(flags(), 0..12),
        ) {
            let (model_a, model_b): (BTreeSet<_>, BTreeSet<_>) = (a.iter().cloned().collect(), b.iter().cloned().collect());
            let (set_a, set_b): (FlagSet, FlagSet) = (a.into_iter().collect(), b.into_iter().collect());
            prop_assert!(set_a.iter().eq(model_a.iter().cloned()));
            prop_assert_eq!(set_a.len(), model_a.len());
            prop_assert!(set_a.union(&set_b).iter().eq(model_a.union(&model_b).cloned()));
            prop_assert!(set_a.difference(&set_b).iter().eq(model_a.difference(&model_b).cloned()));
            prop_assert_eq!(set_a.difference(&set_a), FlagSet::new());
            for flag in &model_b {
                prop_assert_eq!(set_a.contains(flag), model_a.contains(flag));
            }
            prop_assert_eq!(set_a.to_string().parse::<FlagSet>().unwrap(), set_a);
        }
    }

    #[test]
    fn sixteen_octets() {
        assert_eq!(size_of::<FlagSet>(), 16);
    }

    #[test]
    fn the_bits_are_those_of_the_table() {
        for (index, (flag, _)) in SYSTEM.iter().enumerate() {
            assert_eq!(flag.bit(), 1 << index);
            let set = FlagSet::from_system_bits(1 << index).unwrap();
            assert!(set.iter().eq([flag.clone()]));
            assert_eq!(set.system_bits(), 1 << index);
        }
        assert_eq!(FlagSet::from_system_bits(32), None);
    }

    #[test]
    fn system_flags_ignore_case_and_others_are_refused() {
        assert_eq!("\\DELETED".parse(), Ok(Flag::Deleted));
        for text in ["\\Recent", "\\", "\\*", "\\Seen "] {
            assert_eq!(text.parse::<Flag>(), Err(FlagError::UnknownSystemFlag), "{text:?}");
        }
    }

    #[test]
    fn lists_with_and_without_parentheses() {
        let bare: FlagSet = "\\Seen \\Draft".parse().unwrap();
        assert_eq!(bare.to_string(), "(\\Seen \\Draft)");
        assert_eq!("()".parse(), Ok(FlagSet::new()));
        for text in ["(\\Seen", "\\Seen)", "(\\Seen  \\Draft)", "( \\Seen)", "(a (b))"] {
            assert!(text.parse::<FlagSet>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_keyword_keeps_its_first_case_and_the_empty_list_is_given_back() {
        let mut set: FlagSet = "$Junk".parse().unwrap();
        assert!(!set.insert("$JUNK".parse().unwrap()));
        assert_eq!(set.to_string(), "($Junk)");
        assert!(set.remove(&"$junk".parse().unwrap()));
        assert!(set.is_empty());
        assert_eq!(set, FlagSet::new());
    }
}
