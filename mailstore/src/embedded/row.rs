//! How rows are written: fields one after another, and a checksum over key and value at the end.

use mailwright_mail_model::{DateTime, Flag, FlagSet, Keyword, ModSeq, Uid};

use crate::{Message, ObjectId};

/// The value of a row, sealed with a checksum that also covers its key: a row in the wrong place is corrupt too.
pub(super) fn seal(key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    let sum = checksum(key, &value);
    value.extend_from_slice(&sum.to_be_bytes());
    value
}

/// A sealed row of these fields, with no room to spare: the database keeps rows in memory as they are for a while.
pub(super) fn sealed(key: &[u8], fields: &[&[u8]]) -> Vec<u8> {
    let mut value = Vec::with_capacity(fields.iter().map(|field| field.len()).sum::<usize>() + SUM);
    fields.iter().for_each(|field| value.extend_from_slice(field));
    seal(key, value)
}

/// How long the checksum of a row is.
pub(super) const SUM: usize = 4;

/// The value within a sealed row; `None` if it is corrupt.
pub(super) fn open<'a>(key: &[u8], sealed: &'a [u8]) -> Option<&'a [u8]> {
    let (value, sum) = sealed.split_last_chunk::<4>()?;
    (checksum(key, value).to_be_bytes() == *sum).then_some(value)
}

/// The checksum of a value under its key.
pub(super) fn checksum(key: &[u8], value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(value);
    hasher.finalize()
}

/// A key made of numbers.
pub(super) fn key(first: u64, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(8 + rest.len());
    key.extend_from_slice(&first.to_be_bytes());
    key.extend_from_slice(rest);
    key
}

/// The key of a user's mailbox, and with an empty name the prefix of all of them. Neither part can hold NUL.
pub(super) fn name_key(user: &str, mailbox: &str) -> Box<[u8]> {
    [user.as_bytes(), b"\0", mailbox.as_bytes()].concat().into_boxed_slice()
}

/// The user in the key of one of their mailboxes.
pub(super) fn user_of(key: &[u8]) -> &[u8] {
    key.split(|octet| *octet == 0).next().unwrap_or(key)
}

/// The number in the last eight octets of an identity. Only this store makes the identities it reads.
pub(super) fn number_of(id: ObjectId) -> Option<u64> {
    u64::try_from(u128::from(id)).ok()
}

/// Reads fields from the front of a row.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[octet]| octet)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    pub(super) fn octets(&mut self, length: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(field)
    }
}

/// A message row: all but the UID, which is in the key.
pub(super) fn encode_message(message: &Message) -> Vec<u8> {
    let keywords = message.flags.keywords().iter().map(|keyword| 1 + keyword.as_str().len());
    let mut row = Vec::with_capacity(8 + 8 + 2 + 8 + 8 + 8 + 8 + 1 + keywords.sum::<usize>() + SUM);
    row.extend_from_slice(&message.size.to_be_bytes());
    row.extend_from_slice(&message.internal_date.seconds().to_be_bytes());
    row.extend_from_slice(&message.internal_date.offset_minutes().to_be_bytes());
    row.extend_from_slice(&message.modseq.get().to_be_bytes());
    row.extend_from_slice(&message.object.and_then(number_of).unwrap_or(0).to_be_bytes());
    row.extend_from_slice(&message.thread.and_then(number_of).unwrap_or(0).to_be_bytes());
    row.extend_from_slice(&message.saved().map_or(0, DateTime::seconds).to_be_bytes());
    row.push(message.flags.system_bits());
    for keyword in message.flags.keywords() {
        // A keyword has at most 255 octets.
        row.push(u8::try_from(keyword.as_str().len()).unwrap_or(u8::MAX));
        row.extend_from_slice(keyword.as_str().as_bytes());
    }
    row
}

/// The message of a row; `None` if it is none.
pub(super) fn decode_message(uid: Uid, row: &[u8]) -> Option<Message> {
    let mut fields = Fields(row);
    let size = fields.u64()?;
    let seconds = i64::from_be_bytes(fields.take()?);
    let internal_date = DateTime::new(seconds, i16::from_be_bytes(fields.take()?))?;
    let mut message = Message::new(uid, size, internal_date);
    message.modseq = ModSeq::new(fields.u64()?)?;
    message.object = Some(ObjectId::from(u128::from(fields.u64()?)));
    message.thread =
        Some(fields.u64()?).filter(|thread| *thread > 0).map(|thread| ObjectId::from(u128::from(thread)));
    let saved = i64::from_be_bytes(fields.take()?);
    message = message.with_saved(DateTime::new(saved, 0).filter(|_| saved != 0));
    message.flags = FlagSet::from_system_bits(fields.u8()?)?;
    while let Some(length) = fields.u8() {
        let keyword = str::from_utf8(fields.octets(usize::from(length))?).ok()?;
        message.flags.insert(Flag::Keyword(Keyword::new(keyword).ok()?));
    }
    Some(message)
}

/// The thread of a message row, 0 if it has none, without a look at the rest; `None` if it is no row.
pub(super) fn thread_of(row: &[u8]) -> Option<u64> {
    // Behind size, date, zone, mod-sequence and object.
    row.get(8 + 8 + 2 + 8 + 8..).and_then(|rest| Fields(rest).u64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_and_a_changed_octet_is_found() {
        let uid = Uid::new(77).unwrap();
        let mut message = Message::new(uid, 1 << 40, DateTime::new(-5, -720).unwrap());
        message.flags = "(\\Seen \\Draft $Junk custom)".parse().unwrap();
        message.modseq = ModSeq::MAX;
        message.object = Some(ObjectId::from(99));
        message.thread = Some(ObjectId::from(98));
        let message = message.with_saved(DateTime::new(1_700_000_000, 0));
        let row = encode_message(&message);
        assert_eq!(thread_of(&row), Some(98));
        assert_eq!(decode_message(uid, &row), Some(message));
        let sealed = seal(b"key", row.clone());
        assert_eq!(open(b"key", &sealed), Some(&row[..]));
        assert_eq!(open(b"kez", &sealed), None);
        for index in 0..sealed.len() {
            let mut broken = sealed.clone();
            broken[index] ^= 0x10;
            assert_eq!(open(b"key", &broken), None, "octet {index}");
        }
        assert_eq!(open(b"key", b"abc"), None);
    }
}
