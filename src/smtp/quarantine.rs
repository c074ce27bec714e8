//! Suspicious messages go where users look for such.

use std::collections::HashMap;

use mailwright_mail_model::{MailboxName, SpecialUse};
use mailwright_mailstore::{Folders, Store, StoreError, User};

use super::{
    Addressing,
    deliver::StoreInbox,
    plan::{Origin, Plan, Way},
};
use crate::filter::{Filing, Filter, Filtered};

/// What the mailbox is called where nobody has one yet.
const JUNK: &str = "Junk";

impl<S: Store, R: Addressing, F: Filter> StoreInbox<S, R, F> {
    /// Turns the message away from every INBOX, into the mailbox for junk. What a filter filed elsewhere stays there: its
    /// owner has decided.
    pub(super) async fn quarantine(
        &self,
        origin: &Origin<'_>,
        way: &Way,
        filtered: &mut HashMap<User, Filtered>,
    ) {
        let Ok(plan) = Plan::new(&origin.message.mail.from, way) else { return };
        for (user, _) in plan.accounts() {
            let filtered = filtered.entry(user.clone()).or_insert_with(Filtered::keep);
            if !filtered.filings.iter().any(Filing::is_own_inbox) {
                continue;
            }
            let Some(junk) = self.junk(user).await else {
                tracing::warn!(id = origin.id, %user, "there is no mailbox for junk: the message stays in INBOX");
                continue;
            };
            for filing in filtered.filings.iter_mut().filter(|filing| filing.is_own_inbox()) {
                filing.mailbox = junk.clone();
            }
        }
    }

    /// The user's mailbox for junk, made if need be.
    async fn junk(&self, user: &User) -> Option<MailboxName> {
        let mailboxes = self.store.mailboxes(user).await.ok()?;
        if let Some(found) = mailboxes.iter().find(|mailbox| mailbox.special_use == Some(SpecialUse::Junk)) {
            return Some(found.name.clone());
        }
        let name = MailboxName::new(JUNK).ok()?;
        match self.store.folders()?.create(user, &name, Some(SpecialUse::Junk)).await {
            Ok(_) => self.store.folders()?.subscribe(user, &name).await.ok(),
            Err(StoreError::Exists) => Some(()),
            Err(error) => {
                tracing::warn!(%user, %error, "the mailbox for junk cannot be made");
                None
            }
        }?;
        Some(name)
    }
}
