//! Blind copies that the server makes by itself.

use std::collections::HashSet;

use mailwright_mail_model::Address;

use super::{Directory, DomainEntry, JournalReports};

/// A copy to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlindCopy {
    /// Who gets it: an address here or elsewhere.
    pub to: Address,
    /// Who hears what becomes of the copy; none: whoever wrote the message, as the sender of the envelope stays who it was.
    pub sender: Option<Address>,
    /// Why.
    pub reason: CopyReason,
}

/// Why a copy is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CopyReason {
    /// The journal of a domain.
    Journal,
    /// The always-Bcc of a domain or of the server.
    Bcc,
}

impl Directory {
    /// The copies of a message: at most one for each address that gets copies, none for one that is a recipient
    /// anyway.
    ///
    /// `sender` is who wrote it, if it is one of ours who proved it: a stranger's claim to be one does not make a
    /// message that our domain sent.
    pub fn copies<'a>(
        &self,
        sender: Option<&Address>,
        recipients: impl IntoIterator<Item = &'a Address>,
    ) -> Vec<BlindCopy> {
        let mut copies: Vec<BlindCopy> = Vec::new();
        let mut there: HashSet<String> = HashSet::new();
        let mut wanted: Vec<(&Address, Option<&Address>, CopyReason)> = Vec::new();
        if let Some(entry) = sender.and_then(|sender| self.domain(sender.domain())) {
            wanted.extend(self.journal(entry));
        }
        for recipient in recipients {
            there.insert(self.canonical(recipient));
            if let Some(entry) = self.domain(recipient.domain()) {
                wanted.extend(self.journal(entry));
                wanted.extend(entry.bcc.iter().map(|to| (to, None, CopyReason::Bcc)));
            }
        }
        wanted.extend(self.bcc.iter().map(|to| (to, None, CopyReason::Bcc)));
        for (to, sender, reason) in wanted {
            if there.insert(self.canonical(to)) {
                copies.push(BlindCopy { to: to.clone(), sender: sender.cloned(), reason });
            }
        }
        copies
    }

    /// A domain's journal, and who hears of trouble with it in place of the author.
    fn journal<'a>(
        &'a self,
        entry: &'a DomainEntry,
    ) -> Option<(&'a Address, Option<&'a Address>, CopyReason)> {
        let sender = match entry.journal_reports {
            JournalReports::Author => None,
            JournalReports::Postmaster => entry.postmaster.as_ref().or(self.postmaster.as_ref()),
        };
        entry.journal.as_ref().map(|to| (to, sender, CopyReason::Journal))
    }
}
