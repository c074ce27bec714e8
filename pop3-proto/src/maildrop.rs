//! What a maildrop holds, as the session sees it from its opening to its end.

use std::{fmt, num::NonZeroU32};

use thiserror::Error;

use crate::Expire;

/// The listing of a maildrop: for each message its size, its unique id and the application's own key.
///
/// Message numbers are the order of [`push`](Self::push), from 1, and hold for the whole session (RFC 1939 §5).
/// A message costs 24 octets and its id.
///
/// ```
/// use mailwright_pop3_proto::{Maildrop, UniqueId};
///
/// let mut maildrop = Maildrop::default();
/// maildrop.push(4711, 120, &UniqueId::new("whqtswO00WBw418f9t5JxYwZ")?)?;
/// assert_eq!((maildrop.len(), maildrop.octets()), (1, 120));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Maildrop {
    entries: Vec<Entry>,
    /// All ids, one behind the other.
    ids: String,
    octets: u64,
    /// One bit a message whose time is over; nothing is allotted before the first.
    expired: Marks,
    expire: Option<Expire>,
    login_delay: Option<u32>,
    read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    key: u64,
    octets: u64,
    /// Where the id of this message ends in `ids`; it begins where the one before ends.
    id_end: u32,
}

/// One message of a [`Maildrop`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message<'a> {
    /// Its number in this session.
    pub number: NonZeroU32,
    /// What the application calls it.
    pub key: u64,
    /// Its size as it is transmitted: every line end counted as CRLF (RFC 1939 §11), dots not stuffed.
    pub octets: u64,
    /// Its id for `UIDL`.
    pub unique_id: &'a str,
}

impl Maildrop {
    /// Adds a message behind the others. `octets` is its size with every line end counted as CRLF (RFC 1939 §11).
    /// The id must not be another message's, nor have been one that is gone (RFC 1939 §7).
    ///
    /// # Errors
    /// If the ids of all messages together would pass 4 GiB.
    pub fn push(&mut self, key: u64, octets: u64, unique_id: &UniqueId) -> Result<(), MaildropFull> {
        let end = self.ids.len() + unique_id.as_str().len();
        let id_end = u32::try_from(end).map_err(|_| MaildropFull)?;
        self.ids.push_str(unique_id.as_str());
        self.entries.push(Entry { key, octets, id_end });
        self.octets = self.octets.saturating_add(octets);
        Ok(())
    }

    /// Has a message deleted at QUIT, whether the peer asks for it or not: its time on the server is over. It is there until
    /// then. What `EXPIRE` announces should say so (RFC 2449 §6.7).
    pub fn expire(&mut self, number: NonZeroU32) {
        if self.message(number).is_some() {
            self.expired.set(number, self.len());
        }
    }

    /// Sets the policies for this user, where they are not those of the configuration: what CAPA says of `EXPIRE` and, in
    /// seconds, of `LOGIN-DELAY` after login.
    pub fn set_policies(&mut self, expire: Option<Expire>, login_delay: Option<u32>) {
        (self.expire, self.login_delay) = (expire, login_delay);
    }

    /// Has nothing deleted: DELE is refused, and what [`expire`](Self::expire) or a policy would delete at QUIT stays.
    pub fn set_read_only(&mut self) {
        self.read_only = true;
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only
    }

    pub(crate) fn policies(&self) -> (Option<Expire>, Option<u32>) {
        (self.expire, self.login_delay)
    }

    pub(crate) fn is_expired(&self, number: NonZeroU32) -> bool {
        self.expired.contain(number)
    }

    /// How many messages there are.
    pub fn len(&self) -> u32 {
        // An id has at least one octet and all of them end within 32 bits.
        self.entries.len() as u32
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The sizes of all messages together.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// The message of that number.
    pub fn message(&self, number: NonZeroU32) -> Option<Message<'_>> {
        let index = number.get() as usize - 1;
        let entry = self.entries.get(index)?;
        let start = match index.checked_sub(1) {
            Some(before) => self.entries.get(before)?.id_end as usize,
            None => 0,
        };
        let unique_id = self.ids.get(start..entry.id_end as usize)?;
        Some(Message { number, key: entry.key, octets: entry.octets, unique_id })
    }
}

/// A set of messages, one bit each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Marks(Vec<u64>);

impl Marks {
    /// Adds a message, of so many that there are.
    pub(crate) fn set(&mut self, number: NonZeroU32, length: u32) {
        let words = length as usize / 64 + 1;
        if self.0.len() < words {
            self.0.resize(words, 0);
        }
        let (word, bit) = place(number);
        if let Some(word) = self.0.get_mut(word) {
            *word |= bit;
        }
    }

    pub(crate) fn contain(&self, number: NonZeroU32) -> bool {
        let (word, bit) = place(number);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }
}

fn place(number: NonZeroU32) -> (usize, u64) {
    let index = number.get() - 1;
    (index as usize / 64, 1 << (index % 64))
}

/// A maildrop's ids need more than 4 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a maildrop's unique ids have at most 4 GiB together")]
pub struct MaildropFull;

/// A message's id for `UIDL`: 1 to 70 characters from `!` to `~` (RFC 1939 §7).
///
/// ```
/// use mailwright_pop3_proto::UniqueId;
///
/// assert!(UniqueId::new("QhdPYR:00WBw1Ph7x7").is_ok());
/// assert!(UniqueId::new("with space").is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UniqueId(Box<str>);

impl UniqueId {
    /// The most characters.
    pub const LIMIT: usize = 70;

    /// Takes an id.
    ///
    /// # Errors
    /// If it is empty, longer than [`UniqueId::LIMIT`], or has a character beyond `!` to `~`.
    pub fn new(id: impl Into<String>) -> Result<Self, UniqueIdError> {
        let id = id.into();
        // RFC 1939 §7
        let fits = (1..=Self::LIMIT).contains(&id.len()) && id.bytes().all(|octet| octet.is_ascii_graphic());
        if fits { Ok(Self(id.into())) } else { Err(UniqueIdError(id.chars().take(80).collect())) }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UniqueId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Not a unique id; holds its first 80 characters.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a unique id has 1 to 70 characters from ! to ~, not {0:?}")]
pub struct UniqueIdError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_and_printable() {
        for (length, fits) in [(0, false), (1, true), (69, true), (70, true), (71, false)] {
            assert_eq!(UniqueId::new("x".repeat(length)).is_ok(), fits, "{length}");
        }
        for bad in ["a b", "a\r\n", "é", "\u{7f}", "a\tb"] {
            assert!(UniqueId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn finds_every_message_again() {
        let mut maildrop = Maildrop::default();
        assert!(maildrop.is_empty());
        for key in 0..300_u64 {
            let id = UniqueId::new("i".repeat(1 + key as usize % 70)).unwrap();
            maildrop.push(key, key * 10, &id).unwrap();
        }
        for number in 1..=300_u32 {
            let message = maildrop.message(NonZeroU32::new(number).unwrap()).unwrap();
            assert_eq!((message.number.get(), message.key), (number, u64::from(number) - 1));
            assert_eq!(message.octets, message.key * 10);
            assert_eq!(message.unique_id.len(), 1 + message.key as usize % 70);
        }
        assert_eq!(maildrop.message(NonZeroU32::new(301).unwrap()), None);
        assert_eq!(maildrop.message(NonZeroU32::MAX), None);
        assert_eq!(maildrop.octets(), (0..300).sum::<u64>() * 10);
    }
}
