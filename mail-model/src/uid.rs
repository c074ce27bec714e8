//! The numbers IMAP names messages by: UIDs, the UIDVALIDITY of a mailbox, and mod-sequences.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

/// The unique identifier of a message in a mailbox, 1 to 4,294,967,295.
///
/// UIDs rise strictly in the order messages are added and are never used again
/// while the [`UidValidity`] of the mailbox stays the same (RFC 9051 §2.3.1.1).
///
/// ```
/// use mailwright_mail_model::Uid;
///
/// let uid: Uid = "42".parse()?;
/// assert_eq!(uid.next(), Uid::new(43));
/// assert_eq!(Uid::new(0), None);
/// # Ok::<(), mailwright_mail_model::NumberError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(NonZeroU32);

impl Uid {
    /// The first UID a mailbox can give out.
    pub const MIN: Self = Self(NonZeroU32::MIN);
    /// The last UID a mailbox can give out.
    pub const MAX: Self = Self(NonZeroU32::MAX);

    /// The UID of this value; `None` for zero.
    pub const fn new(value: u32) -> Option<Self> {
        match NonZeroU32::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// The value, never zero.
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// The UID after this one; `None` after [`Uid::MAX`].
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// The UID before this one; `None` before [`Uid::MIN`].
    pub const fn previous(self) -> Option<Self> {
        Self::new(self.get() - 1)
    }
}

/// The UIDVALIDITY of a mailbox: as long as it stays the same, so does what each [`Uid`] names
/// (RFC 9051 §2.3.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UidValidity(NonZeroU32);

impl UidValidity {
    /// The lowest one: for mailboxes that never change theirs.
    pub const MIN: Self = Self(NonZeroU32::MIN);

    /// The UIDVALIDITY of this value; `None` for zero.
    pub const fn new(value: u32) -> Option<Self> {
        match NonZeroU32::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// The value, never zero.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

/// A mod-sequence, 0 to 2⁶³ − 1: each change to a message's metadata gives it a higher one (RFC 7162 §3.1).
///
/// A message or mailbox has at least 1. Zero is written only in conditions: `UNCHANGEDSINCE 0` and
/// `MODSEQ 0`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModSeq(u64);

impl ModSeq {
    /// Below every mod-sequence a message can have.
    pub const ZERO: Self = Self(0);
    /// The lowest mod-sequence of a message.
    pub const MIN: Self = Self(1);
    /// The highest mod-sequence. RFC 7162 §7: 63 bits, so that signed 64-bit columns can hold it.
    pub const MAX: Self = Self(i64::MAX as u64);

    /// The mod-sequence of this value; `None` above [`ModSeq::MAX`].
    pub const fn new(value: u64) -> Option<Self> {
        if value <= Self::MAX.0 { Some(Self(value)) } else { None }
    }

    /// The value.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The mod-sequence after this one; `None` after [`ModSeq::MAX`].
    pub const fn next(self) -> Option<Self> {
        Self::new(self.0 + 1)
    }
}

/// Why a text is not a [`Uid`], [`UidValidity`] or [`ModSeq`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} in decimal digits without leading zeros")]
pub struct NumberError {
    expected: &'static str,
}

macro_rules! decimal {
    ($type:ident, $primitive:ident, $expected:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl From<$type> for $primitive {
            fn from(value: $type) -> Self {
                value.get()
            }
        }

        impl TryFrom<$primitive> for $type {
            type Error = NumberError;

            fn try_from(value: $primitive) -> Result<Self, NumberError> {
                Self::new(value).ok_or(NumberError { expected: $expected })
            }
        }

        impl FromStr for $type {
            type Err = NumberError;

            fn from_str(text: &str) -> Result<Self, NumberError> {
                canonical(text)
                    .and_then(|digits| digits.parse().ok())
                    .and_then(Self::new)
                    .ok_or(NumberError { expected: $expected })
            }
        }
    };
}

decimal!(Uid, u32, "a number from 1 to 4294967295");
decimal!(UidValidity, u32, "a number from 1 to 4294967295");
decimal!(ModSeq, u64, "a number from 0 to 9223372036854775807");

/// RFC 9051 §9: `nz-number` has no leading zero, and no number has a sign.
fn canonical(text: &str) -> Option<&str> {
    let leading_zero = text.len() > 1 && text.starts_with('0');
    (!leading_zero && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_stop_at_both_ends() {
        assert_eq!(Uid::MIN.previous(), None);
        assert_eq!(Uid::MAX.next(), None);
        assert_eq!(Uid::MIN.next(), Uid::new(2));
        assert_eq!(Uid::new(2).and_then(Uid::previous), Some(Uid::MIN));
    }

    #[test]
    fn only_canonical_decimals_are_uids() {
        assert_eq!("4294967295".parse(), Ok(Uid::MAX));
        for text in ["", "0", "01", "+1", "-1", "1 ", "4294967296", "*", "１"] {
            assert!(text.parse::<Uid>().is_err(), "{text:?}");
            assert!(text.parse::<UidValidity>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn mod_sequences_have_63_bits() {
        assert_eq!("9223372036854775807".parse(), Ok(ModSeq::MAX));
        assert_eq!("0".parse(), Ok(ModSeq::ZERO));
        assert!("9223372036854775808".parse::<ModSeq>().is_err());
        assert!("00".parse::<ModSeq>().is_err());
        assert_eq!(ModSeq::MAX.next(), None);
        assert_eq!(ModSeq::ZERO.next(), Some(ModSeq::MIN));
    }
}
