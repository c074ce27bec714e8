//! What is noted about messages: how much of it, and whether each message is there.

use std::collections::{HashMap, HashSet};

use fjall::Readable;
use mailwright_mail_model::Uid;

use super::{Check, Repair};
use crate::Result;
use crate::embedded::row;
use crate::embedded::{annotations, detail};

/// What was seen of it.
#[derive(Default)]
pub(super) struct Notes {
    any: bool,
    /// By the number of the rows: the octets of what is noted about its messages.
    octets: HashMap<u64, u64>,
    /// What expunged messages are kept by that something is noted about.
    aside: HashSet<u64>,
}

impl Notes {
    pub(super) fn octets_of(&self, rows: u64) -> u64 {
        self.octets.get(&rows).copied().unwrap_or(0)
    }
}

impl Check<'_> {
    /// A row of the details, and what is in it if that can be read.
    pub(super) fn note(&mut self, key: &[u8], value: Option<&[u8]>) {
        let Some((rows, uid, _)) = annotations::parts(key) else { return };
        self.notes.any = true;
        if uid == 0 {
            self.notes.aside.insert(rows);
        } else {
            *self.notes.octets.entry(rows).or_default() += value.map_or(0, annotations::octets);
        }
    }

    /// Rows about messages that are not there: of expunged ones that can be had back, of mailboxes that wait to be taken away, and of none.
    /// The last ones go, unless the message may be one that could not be seen.
    pub(super) fn stray_notes(&mut self) -> Result<()> {
        if !self.notes.any {
            return Ok(());
        }
        let discarded = self.discarded_rows()?;
        let mut aside = std::mem::take(&mut self.notes.aside);
        let (mut strays, told) = (Vec::new(), self.report.findings.len());
        let details = self.core.database.details.clone();
        // Expunged messages come before what is noted about them.
        let holes = self.walk(&details, "annotations", |check, key, _| {
            let kept = key.last_chunk::<8>().filter(|_| key.first() == Some(&detail::EXPUNGED));
            if let Some(identity) = kept {
                aside.remove(&u64::from_be_bytes(*identity));
            }
            let Some((rows, uid, _)) = annotations::parts(key) else { return };
            let is_stray = match Uid::new(uid) {
                Some(uid) => !check.may_be_there(rows, uid),
                None => aside.contains(&rows),
            };
            if is_stray && !discarded.contains(&rows) {
                strays.push((rows, uid, key.to_vec()));
            }
        })?;
        // What cannot be read was told by the first walk.
        self.report.findings.truncate(told);
        let seen = holes.is_empty() && !self.gaps.mailboxes && !self.gaps.references;
        let certain = seen && self.gaps.aside == 0;
        for (rows, uid, key) in strays {
            let owner = self.owner(rows).unwrap_or_else(|| format!("a mailbox that is gone ({rows})"));
            let what = format!("annotations of UID {uid} in {owner}: there is no such message");
            self.find(what, certain.then(|| Repair::Remove(details.clone(), key)));
        }
        Ok(())
    }

    /// Whether a message has a row, or one that cannot be looked at.
    fn may_be_there(&self, rows: u64, uid: Uid) -> bool {
        let key = row::key(rows, &uid.get().to_be_bytes());
        self.moment.get(&self.core.database.rows, key).map_or(true, |row| row.is_some())
    }
}
