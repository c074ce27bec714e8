//! Which bodies the rows of a generation refer to.
//!
//! A generation builds upon the bodies of earlier ones, and not all of these are its own: what was deleted since is not to come back.
//! Nor is what waits to be taken away, or an upload that had not ended: the store finds nothing left to remove of them.

use std::collections::HashMap;

use super::keys::first_missing;
use super::missing::Has;
use crate::QueueNumber;
use crate::embedded::row::{self, Fields};
use crate::embedded::{detail, undelete};
use mailwright_mail_model::Uid;

/// The keyspaces that matter here, as [`Database::index`](crate::embedded::database::Database::index) numbers them.
const ROWS: u8 = 3;
const DETAILS: u8 = 10;
const QUEUE: u8 = 11;
const LOST: u8 = 17;

/// A body, if there is one, and how many octets it has.
type Body = (Option<crate::ObjectId>, u64);

/// What is referred to, in 16 octets and a little for each body.
#[derive(Debug, Default)]
pub(super) struct Referred {
    /// How many octets each has.
    bodies: HashMap<u64, u64>,
    /// Whether there is something that may refer to any body.
    unknown: bool,
}

impl Referred {
    /// Notes what a row refers to.
    pub(super) fn see(&mut self, kind: u8, key: &[u8], value: &[u8]) {
        let body = match kind {
            ROWS => Self::message(key, value),
            QUEUE => Self::entry(key, value),
            DETAILS if key.first() == Some(&detail::EXPUNGED) => {
                let kept = row::open(key, value).and_then(undelete::decode);
                kept.map(|(_, _, message)| (message.object, message.size))
            }
            // Rows that cannot be read.
            LOST => None,
            _ => return,
        };
        match body {
            Some((object, size)) => {
                self.bodies.extend(object.and_then(row::number_of).map(|body| (body, size)))
            }
            None => self.unknown = true,
        }
    }

    fn message(key: &[u8], value: &[u8]) -> Option<Body> {
        let mut fields = Fields(key);
        let (_, uid) = (fields.u64()?, fields.u32().and_then(Uid::new)?);
        let message = row::decode_message(uid, row::open(key, value)?)?;
        Some((message.object, message.size))
    }

    fn entry(key: &[u8], value: &[u8]) -> Option<Body> {
        let number = QueueNumber::new(Fields(key).u64()?);
        let entry = crate::spool::row::decode(number, row::open(key, value)?)?;
        Some((entry.object, entry.size))
    }

    /// Whether all are there from the first octet to the last.
    pub(super) fn are_whole(&self, has: Has<'_>) -> bool {
        self.bodies.iter().all(|(body, size)| first_missing(*body, *size, has).is_none())
    }

    /// Whether the chunk with this key may be needed.
    pub(super) fn needs(&self, key: &[u8]) -> bool {
        self.unknown || Fields(key).u64().is_none_or(|body| self.bodies.contains_key(&body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Message, ObjectId};
    use mailwright_mail_model::DateTime;

    #[test]
    fn what_cannot_be_read_may_refer_to_anything() {
        let key = row::key(9, &1_u32.to_be_bytes());
        let mut message = Message::new(Uid::MIN, 3, DateTime::new(0, 0).unwrap());
        message.object = Some(ObjectId::from(7_u128));
        let good = row::seal(&key, row::encode_message(&message));
        let chunk = |body: u64| row::key(body, &0_u32.to_be_bytes());
        let mut referred = Referred::default();
        referred.see(ROWS, &key, &good);
        referred.see(1, b"format", b"anything");
        assert_eq!([6, 7].map(|body| referred.needs(&chunk(body))), [false, true]);
        for (kind, value) in [(ROWS, &good[1..]), (QUEUE, b"xxxxx"), (LOST, &good[..])] {
            let mut referred = Referred::default();
            referred.see(kind, &key, value);
            assert!(referred.needs(&chunk(6)), "{kind}");
        }
    }
}
