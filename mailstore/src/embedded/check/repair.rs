//! What is made anew after a check.

use std::collections::BTreeSet;

use bytes::Bytes;
use fjall::Keyspace;

use crate::embedded::committer::Group;
use crate::embedded::header::Header;
use crate::embedded::row;
use crate::{Message, QuotaUsage, Result};

/// One thing to put right.
pub(super) enum Repair {
    /// A row that can be found out anew goes.
    Remove(Keyspace, Vec<u8>),
    /// The row of a message is written anew.
    Row(Vec<u8>, Vec<u8>),
    /// The row of a message that cannot be read leaves the mailbox, but is kept.
    SetAside(Vec<u8>, Bytes),
    /// A mailbox gets these numbers.
    Header(Vec<u8>, Header),
    /// A body is shared by so many.
    References(u64, u32),
    /// The rows of the threads of these owners go.
    Threads(BTreeSet<u64>),
    /// A user has this.
    Usage(Vec<u8>, QuotaUsage),
}

impl Repair {
    /// The row of a message of the mailbox with these rows.
    pub(super) fn message(rows: u64, message: &Message) -> Self {
        let key = row::key(rows, &message.uid.get().to_be_bytes());
        let value = row::seal(&key, row::encode_message(message));
        Self::Row(key, value)
    }

    pub(super) fn stage(self, group: &mut Group<'_>) -> Result<()> {
        let database = &group.core.database;
        match self {
            Self::Remove(keyspace, key) => group.delete(&keyspace, key),
            Self::Row(key, value) => group.put(&database.rows, key, value),
            Self::SetAside(key, value) => {
                group.put(&database.lost, key.clone(), value);
                group.delete(&database.rows, key);
            }
            Self::Header(key, header) => {
                if let Some(staged) = group.find(&key)? {
                    *staged.header()? = header;
                    staged.touch();
                }
            }
            Self::References(body, count) => {
                let key = body.to_be_bytes().to_vec();
                let sealed = row::seal(&key, count.to_be_bytes().to_vec());
                group.put(&database.references, key, sealed);
            }
            Self::Threads(owners) => {
                owners.into_iter().for_each(|owner| group.discard_threads(owner, u64::MAX));
            }
            Self::Usage(user, usage) => group.account(&user)?.set_usage(usage),
        }
        Ok(())
    }
}
