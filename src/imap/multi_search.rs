//! ESEARCH: the mailboxes that are meant, one after the other.

use std::collections::{BTreeMap, HashSet};

use mailwright_imap_proto::{
    Answered, Refusal,
    command::{MultiSearch, NotifyMailboxes},
    server::{Find, Found, FoundIn, ModSeqOf},
};
use mailwright_mail_model::MailboxName;
use mailwright_mailstore::{Folders, MailboxRef, Store, StoreError, accounts::Accounts};

use super::{Visit, refusal, selected::Selected};

impl<S: Store, A: Accounts> Visit<'_, S, A> {
    pub(super) async fn search_several(&self, search: &MultiSearch) -> Answered<Vec<FoundIn>> {
        let mut all = Vec::new();
        let scores = search.returns.is_some_and(|returns| returns.relevancy);
        let own = self.selected.as_ref().map(|selected| selected.mailbox.name().clone());
        if search.names_selected() {
            let selected = self.selected.as_ref().ok_or_else(Refusal::unavailable)?;
            let mut find = Find::new(search.query.clone(), ModSeqOf::None);
            find.scores = scores;
            let found = self.find(&find).await?;
            let name = selected.mailbox.name().clone();
            let mut found = FoundIn::new(name, selected.snapshot.uid_validity(), found);
            found.selected = true;
            all.push(found);
        }
        for name in self.meant(search).await? {
            if search.names_selected() && own.as_ref() == Some(&name) {
                continue;
            }
            let user = self.user()?;
            let snapshot = match self.store.open(user, &name).await {
                Ok(snapshot) => snapshot,
                // RFC 7377 §2.2: what is not there, or not for this user, is passed over.
                Err(StoreError::NotFound | StoreError::Denied) => continue,
                Err(error) => return Err(refusal(&error)),
            };
            let Some(query) = search.query_in(&snapshot.uids()) else { continue };
            let mailbox = MailboxRef::new(user.clone(), name.clone(), &snapshot);
            let uid_validity = snapshot.uid_validity();
            let looked_at = Selected { mailbox, snapshot, read_only: true, opening: false };
            let (uids, scores) = self.scored(&looked_at, &query, scores).await?;
            if !uids.is_empty() {
                all.push(FoundIn::new(name, uid_validity, Found::new(uids).with_scores(scores)));
            }
        }
        Ok(all)
    }

    /// The mailboxes beside the selected one, each once.
    async fn meant(&self, search: &MultiSearch) -> Answered<Vec<MailboxName>> {
        if search.names_only_selected() {
            return Ok(Vec::new());
        }
        let user = self.user()?;
        let mailboxes = self.store.mailboxes(user).await.map_err(|error| refusal(&error))?;
        let subscribed: HashSet<MailboxName> = match self.store.folders() {
            Some(folders) => {
                folders.subscriptions(user).await.map_err(|error| refusal(&error))?.into_iter().collect()
            }
            None => mailboxes.iter().map(|mailbox| mailbox.name.clone()).collect(),
        };
        let is_meant = |name: &MailboxName| {
            search.sources.iter().any(|source| match source {
                // Mail is delivered wherever a script of the user's files it (RFC 5465 §6.3).
                NotifyMailboxes::Personal | NotifyMailboxes::Inboxes => true,
                NotifyMailboxes::Subscribed => subscribed.contains(name),
                NotifyMailboxes::Subtree(names) => {
                    names.iter().any(|above| name == above || name.starts_with_level(above))
                }
                NotifyMailboxes::SubtreeOne(names) => {
                    names.iter().any(|above| name == above || name.parent().as_ref() == Some(above))
                }
                NotifyMailboxes::Mailboxes(names) => names.contains(name),
                _ => false,
            })
        };
        let meant = mailboxes.into_iter().map(|mailbox| mailbox.name).filter(|name| is_meant(name));
        let sorted: BTreeMap<String, MailboxName> =
            meant.map(|name| (name.as_str().to_owned(), name)).collect();
        Ok(sorted.into_values().collect())
    }
}
