//! Rows of messages that are not there, or older than they were, though the messages are packed.
//!
//! Whatever changes or removes a message takes back what is packed in the same batch. So a message that is packed still and has no row has
//! lost it: with a journal that was damaged, say. What is packed may be all that is left of it.

use std::collections::HashSet;

use mailwright_mail_model::{Uid, UidSet};

use super::bodies::Who;
use super::{Check, Repair};
use crate::Snapshot;
use crate::embedded::header::Header;
use crate::embedded::losses::is_older;
use crate::embedded::walk::shown;

impl Check<'_> {
    /// Finds messages that are packed and whose rows are missing, or those of a time before.
    pub(super) fn revive(
        &mut self,
        key: &[u8],
        packed: &Snapshot,
        own: &Snapshot,
        rescued: &mut HashSet<Uid>,
        counted: &mut Header,
    ) {
        let (mut missing, mut older) = (UidSet::default(), UidSet::default());
        for message in packed.messages() {
            match own.message(message.uid) {
                _ if rescued.contains(&message.uid) => continue,
                None => {
                    self.take(counted, message);
                    self.refer_rescued(message, Who::Message(counted.rows, message.uid));
                    missing.insert(message.uid);
                }
                Some(row) if is_older(row, message) => {
                    counted.discount(row);
                    counted.count(message);
                    counted.highest_modseq = counted.highest_modseq.max(message.modseq);
                    older.insert(message.uid);
                }
                Some(_) => continue,
            }
            rescued.insert(message.uid);
            self.repairs.rows.push(Repair::message(counted.rows, message));
        }
        // Other rows may be lost as well.
        self.gaps.references |= !missing.is_empty();
        let told = [(missing, "missing"), (older, "those of a time before")];
        for (uids, what) in told.into_iter().filter(|(uids, _)| !uids.is_empty()) {
            let what = format!("UID {uids} in {}: rows of messages are {what}; they are packed", shown(key));
            self.report.findings.push(super::Finding { what, repaired: true });
        }
    }
}
