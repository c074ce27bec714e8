//! What one look passes over although it goes well: told to whoever asks how the account does.

use std::{collections::BTreeSet, fmt::Display};

use super::FetchAccount;

/// So many mailboxes are named.
const NAMED: usize = 20;

/// What was passed over since the last time that it was told.
#[derive(Debug, Default)]
pub(super) struct Notes {
    mailboxes: Vec<String>,
    more: usize,
    /// The messages that the server lists and does not give, and what it says to the last of them.
    not_given: BTreeSet<u32>,
    refusal: String,
}

impl Notes {
    /// Something cannot be done in a mailbox.
    pub(super) fn mailbox(&mut self, account: &FetchAccount, mailbox: &str, what: &str, why: impl Display) {
        tracing::warn!(user = %account.user, host = account.host, mailbox, what, %why, "a mailbox elsewhere is passed over");
        match self.mailboxes.len() < NAMED {
            true => self.mailboxes.push(format!("{mailbox:?} {what}: {why}")),
            false => self.more += 1,
        }
    }

    /// The server does not give a message that it lists.
    pub(super) fn not_given(&mut self, account: &FetchAccount, handle: u32, why: impl Display) {
        self.refusal = why.to_string();
        if self.not_given.insert(handle) {
            let (user, host, why) = (&account.user, &account.host, &self.refusal);
            tracing::warn!(%user, host, why, "the server does not give a message that it lists");
        }
    }

    /// What is to be told, a line each.
    pub(super) fn take(&mut self) -> Vec<String> {
        let Self { mut mailboxes, more, not_given, refusal } = std::mem::take(self);
        mailboxes.extend((more > 0).then(|| format!("and {more} more mailboxes")));
        match not_given.len() {
            0 => {}
            1 => mailboxes.push(format!("1 message is not given: {refusal}")),
            count => mailboxes.push(format!("{count} messages are not given: {refusal}")),
        }
        mailboxes
    }
}

#[cfg(test)]
mod tests {
    use mailwright_line_proto::Secret;
    use mailwright_mailstore::User;

    use super::*;
    use crate::fetch::FetchProtocol;

    #[test]
    fn what_is_passed_over_is_told_once_and_in_bounds() {
        let user = User::new("ann").unwrap();
        let account = FetchAccount::new(1, user, FetchProtocol::Imaps, "a.test", "ann", Secret::from("x"));
        let mut notes = Notes::default();
        assert!(notes.take().is_empty());
        notes.not_given(&account, 7, "later");
        notes.not_given(&account, 7, "later");
        assert_eq!(notes.take(), ["1 message is not given: later"]);
        for number in 0..30 {
            notes.mailbox(&account, "Archive", "cannot be opened", "NO");
            notes.not_given(&account, number, "never");
        }
        let told = notes.take();
        assert_eq!(told.len(), 22, "{told:?}");
        assert_eq!(told[0], "\"Archive\" cannot be opened: NO");
        assert_eq!(told[20..], ["and 10 more mailboxes", "30 messages are not given: never"]);
        assert!(notes.take().is_empty());
    }
}
