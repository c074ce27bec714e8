//! ESEARCH: the mailboxes that are meant, one after the other.

use std::collections::{BTreeMap, HashSet};

use mailwright_imap_proto::{
    Answered, Refusal,
    command::{MultiSearch, NotifyMailboxes},
    server::{Find, Found, FoundIn},
};
use mailwright_mail_model::MailboxName;
use mailwright_mailstore::{Folders, MailboxRef, Right, Store, StoreError, User, accounts::Accounts};

use super::{Visit, refusal, selected::Selected};

/// A mailbox that is searched: its name here, whose it is, and how its owner knows it.
type Meant = (MailboxName, User, MailboxName);

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    pub(super) async fn search_several(&self, search: &MultiSearch) -> Answered<Vec<FoundIn>> {
        let mut all = Vec::new();
        let scores = search.returns.is_some_and(|returns| returns.relevancy);
        let selected = self.selected.as_ref().filter(|_| search.names_selected());
        if search.names_selected() {
            let selected = selected.ok_or_else(Refusal::unavailable)?;
            let mut find = Find::new(search.query.clone(), search.mod_seq());
            find.scores = scores;
            let found = self.find(&find).await?;
            let mut found = FoundIn::new(selected.name.clone(), selected.snapshot.uid_validity(), found);
            found.selected = true;
            all.push(found);
        }
        for (name, owner, inner) in self.meant(search).await? {
            let is_open =
                |selected: &Selected| *selected.mailbox.user() == owner && *selected.mailbox.name() == inner;
            if selected.is_some_and(is_open) {
                continue;
            }
            let snapshot = match self.store.open(&owner, &inner).await {
                Ok(snapshot) => snapshot,
                // RFC 7377 §2.2: what is not there, or not for this user, is passed over.
                Err(StoreError::NotFound | StoreError::Denied) => continue,
                Err(error) => return Err(refusal(&error)),
            };
            let Some(query) = search.query_in(&snapshot.uids()) else { continue };
            let uid_validity = snapshot.uid_validity();
            let looked_at = Selected {
                mailbox: MailboxRef::new(owner, inner, &snapshot),
                name: name.clone(),
                snapshot,
                read_only: true,
                opening: false,
                is_still: false,
                claims: false,
            };
            let (uids, scores) = self.scored(&looked_at, &query, scores).await?;
            if !uids.is_empty() {
                let told = search.mod_seq().of(&uids);
                let mod_seq = looked_at.snapshot.among(&told).map(|message| message.modseq).max();
                let found = Found::new(uids).with_mod_seq(mod_seq).with_scores(scores);
                all.push(FoundIn::new(name, uid_validity, found));
            }
        }
        Ok(all)
    }

    /// The mailboxes beside the selected one, each once.
    async fn meant(&self, search: &MultiSearch) -> Answered<Vec<Meant>> {
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
        let is_meant = |name: &MailboxName, foreign: bool| {
            search.sources.iter().any(|source| match source {
                // Mail is delivered wherever a script of the user's files it (RFC 5465 §6.3).
                NotifyMailboxes::Personal | NotifyMailboxes::Inboxes => !foreign,
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
        let own = mailboxes.into_iter().map(|mailbox| mailbox.name);
        let own = own.filter(|name| is_meant(name, false)).map(|name| (name.clone(), user.clone(), name));
        let mut meant: BTreeMap<String, Meant> =
            own.map(|meant| (meant.0.as_str().to_owned(), meant)).collect();
        let names_others = search.sources.iter().any(|source| match source {
            NotifyMailboxes::Subscribed => subscribed.iter().any(|name| self.is_foreign(name)),
            NotifyMailboxes::Subtree(names)
            | NotifyMailboxes::SubtreeOne(names)
            | NotifyMailboxes::Mailboxes(names) => names.iter().any(|name| self.is_foreign(name)),
            _ => false,
        });
        if names_others {
            for (name, shared) in self.shared().await.map_err(|error| refusal(&error))? {
                // RFC 7377 §2.2; RFC 4314 §4: what may not be listed is found only by who knows its name.
                let is_named = || {
                    search.sources.iter().any(
                        |source| matches!(source, NotifyMailboxes::Mailboxes(names) if names.contains(&name)),
                    )
                };
                let seen = shared.rights.contains(Right::Lookup) || is_named();
                if seen && shared.rights.contains(Right::Read) && is_meant(&name, true) {
                    let found = (name.clone(), shared.owner, shared.mailbox.name);
                    meant.insert(name.as_str().to_owned(), found);
                }
            }
        }
        Ok(meant.into_values().collect())
    }
}
