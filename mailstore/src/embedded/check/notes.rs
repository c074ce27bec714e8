//! What is noted about messages: how much of it, and whether each message is there.

use std::collections::{BTreeMap, HashMap};

use mailwright_mail_model::Uid;

use super::{Check, Repair};
use crate::Result;
use crate::embedded::row::Fields;
use crate::embedded::{annotations, detail};

/// What was seen of it.
#[derive(Default)]
pub(super) struct Notes {
    /// By the number of the rows: the octets of what is noted about its messages.
    octets: HashMap<u64, u64>,
    /// The messages that something is noted about and that were not seen yet, and the keys of the rows.
    open: BTreeMap<(u64, u32), Vec<Vec<u8>>>,
}

impl Notes {
    /// There is this message.
    pub(super) fn see(&mut self, rows: u64, uid: Uid) {
        self.open.remove(&(rows, uid.get()));
    }

    pub(super) fn octets_of(&self, rows: u64) -> u64 {
        self.octets.get(&rows).copied().unwrap_or(0)
    }
}

impl Check<'_> {
    /// A row of the details, and what is in it if that can be read.
    pub(super) fn note(&mut self, key: &[u8], value: Option<&[u8]>) {
        let Some((rows, uid, _)) = annotations::parts(key) else { return };
        *self.notes.octets.entry(rows).or_default() += value.map_or(0, annotations::octets);
        self.notes.open.entry((rows, uid)).or_default().push(key.to_vec());
    }

    /// Rows about messages that are not there: of expunged ones that can be had back, of mailboxes that wait to be taken away, and of none.
    /// The last ones go, unless the message may be one that could not be seen.
    pub(super) fn stray_notes(&mut self) -> Result<()> {
        if self.notes.open.is_empty() {
            return Ok(());
        }
        let discarded = self.discarded_rows()?;
        let mut kept = std::collections::HashSet::new();
        self.walk(&self.core.database.details, "expunged messages", |_, key, _| {
            if key.first() == Some(&detail::EXPUNGED) {
                kept.extend(key.last_chunk::<8>().and_then(|identity| Fields(identity).u64()));
            }
        })?;
        let certain = !self.gaps.mailboxes && !self.gaps.references && self.gaps.aside == 0;
        for ((rows, uid), keys) in std::mem::take(&mut self.notes.open) {
            if discarded.contains(&rows) || uid == 0 && kept.contains(&rows) {
                continue;
            }
            let owner = self.owner(rows).unwrap_or_else(|| format!("a mailbox that is gone ({rows})"));
            for key in keys {
                let remove = Repair::Remove(self.core.database.details.clone(), key);
                let what = format!("annotations of UID {uid} in {owner}: there is no such message");
                self.find(what, certain.then_some(remove));
            }
        }
        Ok(())
    }
}
