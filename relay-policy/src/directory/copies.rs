//! Blind copies that the server makes by itself.

use std::collections::HashSet;

use mailwright_mail_model::Address;

use super::Directory;

/// A copy to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlindCopy {
    /// Who gets it: an address here or elsewhere. The sender of the envelope stays who it was, so that what becomes of the
    /// copy is told to whoever wrote the message.
    pub to: Address,
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
        let mut wanted: Vec<(&Address, CopyReason)> = Vec::new();
        if let Some(entry) = sender.and_then(|sender| self.domain(sender.domain())) {
            wanted.extend(entry.journal.iter().map(|to| (to, CopyReason::Journal)));
        }
        for recipient in recipients {
            there.insert(self.canonical(recipient));
            if let Some(entry) = self.domain(recipient.domain()) {
                wanted.extend(entry.journal.iter().map(|to| (to, CopyReason::Journal)));
                wanted.extend(entry.bcc.iter().map(|to| (to, CopyReason::Bcc)));
            }
        }
        wanted.extend(self.bcc.iter().map(|to| (to, CopyReason::Bcc)));
        for (to, reason) in wanted {
            if there.insert(self.canonical(to)) {
                copies.push(BlindCopy { to: to.clone(), reason });
            }
        }
        copies
    }
}
