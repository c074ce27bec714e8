//! Which bodies the rows of a generation refer to.
//!
//! A generation builds upon the bodies of earlier ones, and not all of these are its own: what was deleted since is not to come back.
//! Nor is what waits to be taken away, or an upload that had not ended: the store finds nothing left to remove of them.

use std::collections::HashSet;

use crate::QueueNumber;
use crate::embedded::row::{self, Fields};
use crate::embedded::{detail, undelete};
use mailwright_mail_model::Uid;

/// The keyspaces that matter here, as [`Database::index`](crate::embedded::database::Database::index) numbers them.
const ROWS: u8 = 3;
const DETAILS: u8 = 10;
const QUEUE: u8 = 11;
const LOST: u8 = 17;

/// What is referred to, in 8 octets and a little for each body.
#[derive(Debug, Default)]
pub(super) struct Referred {
    bodies: HashSet<u64>,
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
                row::open(key, value).and_then(undelete::decode).map(|(_, _, message)| message.object)
            }
            // Rows that cannot be read.
            LOST => None,
            _ => return,
        };
        match body {
            Some(object) => self.bodies.extend(object.and_then(row::number_of)),
            None => self.unknown = true,
        }
    }

    fn message(key: &[u8], value: &[u8]) -> Option<Option<crate::ObjectId>> {
        let mut fields = Fields(key);
        let (_, uid) = (fields.u64()?, fields.u32().and_then(Uid::new)?);
        Some(row::decode_message(uid, row::open(key, value)?)?.object)
    }

    fn entry(key: &[u8], value: &[u8]) -> Option<Option<crate::ObjectId>> {
        let number = QueueNumber::new(Fields(key).u64()?);
        Some(crate::spool::row::decode(number, row::open(key, value)?)?.object)
    }

    /// Whether the chunk with this key may be needed.
    pub(super) fn needs(&self, key: &[u8]) -> bool {
        self.unknown || Fields(key).u64().is_none_or(|body| self.bodies.contains(&body))
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
