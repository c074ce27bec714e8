//! The special use of a mailbox as an annotation (RFC 6154 §4).

use bytes::Bytes;
use mailwright_imap_proto::{Answered, Refusal};
use mailwright_mail_model::{MailboxName, SpecialUse};
use mailwright_mailstore::{Annotated, EntryName, Store, accounts::Accounts};

use super::{Visit, refusal};

/// The entry. What clients noted by this name before it was tied to the use is not shown.
const ENTRY: &str = "/private/specialuse";

/// Whether an annotation is the special use.
pub(super) fn is_special_use(entry: &EntryName) -> bool {
    entry.as_str().eq_ignore_ascii_case(ENTRY)
}

/// The special use of a mailbox, as it is noted about it.
pub(super) fn noted(special_use: Option<SpecialUse>) -> Option<(String, Bytes)> {
    special_use.map(|special_use| (ENTRY.to_owned(), Bytes::from_static(special_use.as_str().as_bytes())))
}

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    /// What is noted about the user's own mailbox by its special use.
    pub(super) async fn special_use_of(&self, place: &Annotated) -> Answered<Option<(String, Bytes)>> {
        let Annotated::Mailbox { owner, name } = place else { return Ok(None) };
        let user = self.user()?;
        if user != owner || user.is_guest() {
            return Ok(None);
        }
        let all = self.store.mailboxes(owner).await.map_err(|error| refusal(&error))?;
        Ok(all.iter().find(|mailbox| mailbox.name == *name).and_then(|mailbox| noted(mailbox.special_use)))
    }

    /// Special uses are given when mailboxes are made (RFC 6154 §4: servers may allow to change them).
    pub(super) fn keeps_special_use(entry: &EntryName, mailbox: Option<&MailboxName>) -> Answered<()> {
        if mailbox.is_some() && is_special_use(entry) { Err(Refusal::cannot()) } else { Ok(()) }
    }
}
