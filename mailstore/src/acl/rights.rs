//! The rights of RFC 4314 §2.1.

use std::fmt;
use std::str::FromStr;

use mailwright_mail_model::{Flag, FlagSet};

/// One right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "RFC 4314 §2.1 and RFC 5257 §4.10 have these twelve")]
pub enum Right {
    /// `l`: see the mailbox in lists, subscribe to it.
    Lookup,
    /// `r`: open it, read it, copy from it.
    Read,
    /// `s`: change `\Seen`.
    Seen,
    /// `w`: change other flags than `\Seen` and `\Deleted`.
    Write,
    /// `i`: append and copy into it.
    Insert,
    /// `p`: send mail to its submission address.
    Post,
    /// `k`: make mailboxes below it, or rename into it.
    CreateBelow,
    /// `x`: delete or rename it.
    DeleteMailbox,
    /// `t`: change `\Deleted`.
    DeleteMessages,
    /// `e`: expunge.
    Expunge,
    /// `a`: see and change the access control list.
    Administer,
    /// `n`: change what is noted about messages for everybody (RFC 5257 §3.4). Means something where the store has
    /// [`Annotate`](crate::Annotate).
    Annotate,
}

/// Every right and its letter, in the order in which RFC 4314 shows them, and then that of RFC 5257.
const LETTERS: [(Right, char); 12] = [
    (Right::Lookup, 'l'),
    (Right::Read, 'r'),
    (Right::Seen, 's'),
    (Right::Write, 'w'),
    (Right::Insert, 'i'),
    (Right::Post, 'p'),
    (Right::CreateBelow, 'k'),
    (Right::DeleteMailbox, 'x'),
    (Right::DeleteMessages, 't'),
    (Right::Expunge, 'e'),
    (Right::Administer, 'a'),
    (Right::Annotate, 'n'),
];

/// A set of rights.
///
/// Reads the letters of RFC 4314 and RFC 5257, and `c` and `d` of RFC 2086 as §2.1.1 maps them (`c` to `k`, `d` to `xte`); shows only the
/// former.
///
/// ```
/// use mailwright_mailstore::{Right, Rights};
///
/// let rights: Rights = "lrsd".parse()?;
/// assert_eq!(rights.to_string(), "lrsxte");
/// assert!(rights.contains(Right::Expunge));
/// assert!("lrz".parse::<Rights>().is_err());
/// # Ok::<(), mailwright_mailstore::RightsError>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Rights(u16);

impl Rights {
    /// None.
    pub const NONE: Self = Self(0);
    /// Every one: what an owner has.
    pub const ALL: Self = Self((1 << LETTERS.len()) - 1);

    /// Whether this right is among them.
    pub const fn contains(self, right: Right) -> bool {
        self.0 & Self::of(right).0 != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// One right alone.
    pub const fn of(right: Right) -> Self {
        Self(1 << right as u16)
    }

    /// The rights of either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The rights that `other` has not.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those of these flags that may be set and taken away (RFC 4314 §4).
    #[must_use]
    pub fn flags(self, flags: &FlagSet) -> FlagSet {
        if [Right::Seen, Right::DeleteMessages, Right::Write].iter().all(|right| self.contains(*right)) {
            return flags.clone();
        }
        let seen = FlagSet::from_iter([Flag::Seen]);
        let deleted = FlagSet::from_iter([Flag::Deleted]);
        let others = flags.difference(&seen).difference(&deleted);
        let mut all = flags.clone();
        for (right, covered) in
            [(Right::Seen, &seen), (Right::DeleteMessages, &deleted), (Right::Write, &others)]
        {
            if !self.contains(right) {
                all = all.difference(covered);
            }
        }
        all
    }

    /// One after another, in the order in which they are shown.
    pub fn iter(self) -> impl Iterator<Item = Right> {
        LETTERS.into_iter().map(|(right, _)| right).filter(move |right| self.contains(*right))
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        rights.into_iter().fold(Self::NONE, |all, right| all.union(Self::of(right)))
    }
}

impl FromStr for Rights {
    type Err = RightsError;

    fn from_str(text: &str) -> Result<Self, RightsError> {
        let mut rights = Self::NONE;
        for letter in text.chars() {
            let known = LETTERS.iter().find(|(_, known)| *known == letter).map(|(right, _)| Self::of(*right));
            let given = match (known, letter) {
                (Some(known), _) => known,
                // RFC 4314 §2.1.1
                (None, 'c') => Self::of(Right::CreateBelow),
                (None, 'd') => Self::from_iter([Right::DeleteMailbox, Right::DeleteMessages, Right::Expunge]),
                (None, letter) => return Err(RightsError(letter)),
            };
            rights = rights.union(given);
        }
        Ok(rights)
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = LETTERS.iter().filter(|(right, _)| self.contains(*right));
        letters.map(|(_, letter)| *letter).try_for_each(|letter| fmt::Write::write_char(f, letter))
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rights({self})")
    }
}

/// Why a text is not [`Rights`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected letters among lrswipkxteancd, got {0:?}")]
pub struct RightsError(pub char);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_go_both_ways() {
        assert_eq!(Rights::ALL.to_string(), "lrswipkxtean");
        assert_eq!("naetxkpiwsrl".parse(), Ok(Rights::ALL));
        assert_eq!("c".parse::<Rights>().unwrap().to_string(), "k");
        assert_eq!(Rights::ALL.iter().count(), 12);
        assert_eq!(Rights::ALL.difference("lr".parse().unwrap()).to_string(), "swipkxtean");
        assert_eq!("lR".parse::<Rights>(), Err(RightsError('R')));
    }
}
