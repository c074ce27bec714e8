//! Identities that outlive names and UIDs.

use std::fmt;

/// The identity of a mailbox or of a message's content (RFC 8474): 128 bits of the store's choosing, never used again
/// for anything else in that store.
///
/// Shown as RFC 8474 §4 `objectid`: a letter and hexadecimal digits.
///
/// ```
/// use mailwright_mailstore::ObjectId;
///
/// assert_eq!(ObjectId::from(0x2a_u128).to_string(), "o2a");
/// assert_eq!("o2a".parse(), Ok(ObjectId::from(42_u128)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
// Octets rather than one integer, whose alignment would cost each row of a snapshot up to fifteen octets.
pub struct ObjectId([u8; 16]);

impl From<u128> for ObjectId {
    fn from(value: u128) -> Self {
        Self(value.to_be_bytes())
    }
}

impl From<ObjectId> for u128 {
    fn from(id: ObjectId) -> Self {
        Self::from_be_bytes(id.0)
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "o{:x}", u128::from(*self))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectId({self})")
    }
}

impl std::str::FromStr for ObjectId {
    type Err = ObjectIdError;

    /// What [`Display`](fmt::Display) shows.
    fn from_str(text: &str) -> Result<Self, ObjectIdError> {
        let digits = text.strip_prefix('o').ok_or(ObjectIdError)?;
        let id = u128::from_str_radix(digits, 16).map(Self::from).map_err(|_| ObjectIdError)?;
        // One spelling each: no leading zero, sign or capital.
        if id.to_string() == text { Ok(id) } else { Err(ObjectIdError) }
    }
}

/// Why a text is not an [`ObjectId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `o` and up to 32 hexadecimal digits")]
pub struct ObjectIdError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_each() {
        for text in ["", "o", "o02a", "o+2a", "o2A", "2a", "o100000000000000000000000000000000"] {
            assert_eq!(text.parse::<ObjectId>(), Err(ObjectIdError), "{text:?}");
        }
        assert_eq!(ObjectId::from(u128::MAX).to_string().parse(), Ok(ObjectId::from(u128::MAX)));
    }
}
