//! Bodies that nothing refers to: restores of earlier versions brought back also those that had gone since.

use std::collections::HashSet;

use super::{Check, CheckProgress, Finding};
use crate::embedded::Embedded;
use crate::embedded::committer::Group;
use crate::embedded::database::failed;
use crate::{Offload, Result};

/// How many bodies go at a time.
const LOT: usize = 1_024;

/// Those that were found, in 8 octets each.
pub(super) struct Orphans {
    /// What is being written, or waits to be taken away already.
    waiting: HashSet<u64>,
    /// Whether all that may refer to bodies was seen.
    certain: bool,
    found: Vec<u64>,
    octets: u64,
}

impl Orphans {
    pub(super) const fn new(waiting: HashSet<u64>, certain: bool) -> Self {
        Self { waiting, certain, found: Vec::new(), octets: 0 }
    }

    /// Notes so many octets of a body that nothing refers to. Bodies come one after the other.
    pub(super) fn see(&mut self, body: u64, octets: u64) {
        if self.waiting.contains(&body) {
            return;
        }
        self.octets += octets;
        if self.found.last() != Some(&body) {
            self.found.push(body);
        }
    }

    /// Whether those that were found are nobody's beyond doubt.
    pub(super) const fn may_go(&self) -> bool {
        self.certain
    }
}

impl Check<'_> {
    /// Whether there is nothing that may refer to a body and cannot be read: now, since the store was opened, or before, as long as what was
    /// set aside then is there.
    pub(super) fn sees_all(&self) -> bool {
        !self.gaps.references && self.gaps.aside == 0 && self.core.damage.all().is_empty()
    }

    /// Tells those that were found. `whole` is whether all bodies could be walked over.
    pub(super) fn tell_orphans(&mut self, orphans: Orphans, whole: bool) {
        if orphans.found.is_empty() {
            return;
        }
        let what =
            format!("{} bodies that nothing refers to, {} octets", orphans.found.len(), orphans.octets);
        if orphans.certain && whole {
            self.report.findings.push(Finding { what, repaired: true });
            self.repairs.orphans = orphans.found;
        } else {
            let why = match self.gaps.aside {
                0 => String::new(),
                rows => format!(" ({rows} rows of messages, those that were set aside included)"),
            };
            let why = format!("something cannot be read that they may belong to, so they are kept{why}");
            self.find(format!("{what}; {why}"), None);
        }
    }
}

impl<O: Offload + Clone> Embedded<O> {
    /// Takes bodies away that nothing refers to. If it is cut short, the next check finds what is left.
    pub(super) async fn remove_orphans(
        &self,
        orphans: &[u64],
        progress: &mut (dyn FnMut(CheckProgress) + Send),
    ) -> Result<()> {
        let mut rows = 0;
        for lot in orphans.chunks(LOT) {
            let lot = lot.to_vec();
            rows += lot.len() as u64;
            self.shared.committer.submit(move |group| group.discard_orphans(&lot)).await?;
            while self.shared.committer.submit(|group| group.collect()).await? {}
            progress(CheckProgress { step: "bodies that nothing refers to", rows });
        }
        Ok(())
    }
}

impl Group<'_> {
    fn discard_orphans(&mut self, orphans: &[u64]) -> Result<()> {
        for body in orphans {
            // Nothing can come to refer to a body that nothing refers to, but for an upload that is being written.
            if !self.core.database.uploads.contains_key(body.to_be_bytes()).map_err(failed)? {
                self.discard_at_once(*body);
            }
        }
        Ok(())
    }
}
