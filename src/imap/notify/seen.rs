//! The mailboxes that a user can see, at one moment: two of them compared tell what happened in between.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use mailwright_imap_proto::{
    command::{NotifyEvents, NotifyMailboxes},
    server::ListEntry,
};
use mailwright_mail_model::{MailboxName, SpecialUse};
use mailwright_mailstore::{
    Annotated, Folders, Metadata, Result, Right, Status, Store, StoreError, User, accounts::Accounts,
};

use super::Notifier;
use crate::imap::{Visit, sharing::is_hidden};

/// The mailboxes of a user and those of others that the user may see.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// By name, as the user knows them.
    pub(super) mailboxes: BTreeMap<String, Known>,
    /// Those of others that are there still, and that the user may see no more.
    pub(super) lost: BTreeMap<String, Known>,
    pub(super) subscribed: HashSet<MailboxName>,
    /// Of the mailboxes whose annotations are told of, and of the server under the empty name.
    pub(super) annotations: BTreeMap<String, Annotations>,
}

/// What each annotation was, told apart by a hash: only whether it changed matters.
pub(super) type Annotations = BTreeMap<String, u64>;

/// What is remembered of the value of an annotation.
pub(super) fn hashed(value: &Bytes) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// A mailbox.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// As the user knows it.
    pub(super) name: MailboxName,
    pub(super) special_use: Option<SpecialUse>,
    pub(super) status: Status,
    /// Whose it is, if it is not the user's own.
    pub(super) owner: Option<User>,
    /// As its owner knows it.
    pub(super) inner: MailboxName,
    /// Whether the user may read it.
    pub(super) readable: bool,
}

impl Seen {
    /// Whether this mailbox was there under any name, for all that is known.
    pub(super) fn had(&self, mailbox: &Known) -> bool {
        let same = |known: &Known| {
            known.name == mailbox.name || known.status.id.is_some() && known.status.id == mailbox.status.id
        };
        self.mailboxes.values().chain(self.lost.values()).any(same)
    }

    /// Looks at everything that a client was promised to be told of.
    pub(super) async fn look<S: Store + 'static, A: Accounts + 'static>(
        visit: &Visit<'_, S, A>,
        user: &User,
        notifier: &Notifier,
    ) -> Result<Self> {
        let mut seen = Self::default();
        for (mailbox, status) in visit.store.list(user).await? {
            let (name, special_use) = (mailbox.name, mailbox.special_use);
            let inner = name.clone();
            let known = Known { name, special_use, status, owner: None, inner, readable: true };
            seen.mailboxes.insert(known.name.as_str().to_owned(), known);
        }
        if let Some(folders) = visit.store.folders() {
            seen.subscribed = folders.subscriptions(user).await?.into_iter().collect();
        }
        // Those that are no longer subscribed to are there all the same.
        let subscribed = seen.subscribed.union(&notifier.seen.subscribed);
        if notifier.minds_others(subscribed) {
            for (name, shared) in visit.shared().await? {
                if !shared.rights.contains(Right::Lookup) {
                    continue;
                }
                let (owner, inner) = (shared.owner, shared.mailbox.name);
                // Deleted since it was listed.
                let Ok(status) = visit.store.status(&owner, &inner).await else { continue };
                let readable = shared.rights.contains(Right::Read);
                let owner = Some(owner);
                let known = Known { name, special_use: None, status, owner, inner, readable };
                seen.mailboxes.insert(known.name.as_str().to_owned(), known);
            }
            seen.look_for_lost(visit, &notifier.seen).await;
        }
        seen.look_at_annotations(visit, user, notifier).await?;
        Ok(seen)
    }

    /// Finds out which mailboxes of others that were seen earlier are there still.
    async fn look_for_lost<S: Store + 'static, A: Accounts + 'static>(
        &mut self,
        visit: &Visit<'_, S, A>,
        before: &Self,
    ) {
        for (name, known) in before.mailboxes.iter().chain(&before.lost) {
            let Some(owner) = known.owner.as_ref().filter(|_| !self.mailboxes.contains_key(name)) else {
                continue;
            };
            let Ok(status) = visit.store.status(owner, &known.inner).await else { continue };
            if (status.id, status.uid_validity) == (known.status.id, known.status.uid_validity) {
                self.lost.insert(name.clone(), Known { status, readable: false, ..known.clone() });
            }
        }
    }

    async fn look_at_annotations<S: Store + 'static, A: Accounts + 'static>(
        &mut self,
        visit: &Visit<'_, S, A>,
        user: &User,
        notifier: &Notifier,
    ) -> Result<()> {
        let Some(metadata) = visit.store.metadata() else { return Ok(()) };
        let mut places = Vec::new();
        if notifier.wants_server_annotations() {
            places.push((String::new(), Annotated::Server));
        }
        for (name, known) in &self.mailboxes {
            if known.readable && notifier.events_of(&known.name, self).annotations {
                let owner = known.owner.clone().unwrap_or_else(|| user.clone());
                places.push((name.clone(), Annotated::Mailbox { owner, name: known.inner.clone() }));
            }
        }
        for (name, place) in places {
            let all = match metadata.annotations(&place, user).await {
                Ok(all) => all,
                Err(StoreError::NotFound) => continue,
                Err(error) => return Err(error),
            };
            // What is private is the account's, and no guest's.
            let shown = all.into_iter().filter(|annotation| {
                !(is_hidden(&annotation.entry) || user.is_guest() && annotation.entry.is_private())
            });
            let hashes = shown.map(|annotation| (annotation.entry.to_string(), hashed(&annotation.value)));
            self.annotations.insert(name, hashes.collect());
        }
        Ok(())
    }

    /// Whether a mailbox was shown as one of which nothing is told.
    pub(super) fn is_barred(&self, name: &str) -> bool {
        self.lost.contains_key(name) || self.mailboxes.get(name).is_some_and(|known| !known.readable)
    }

    /// Whose mailboxes are among them, beside the user's own.
    pub(super) fn owners(&self) -> HashSet<User> {
        self.mailboxes.values().chain(self.lost.values()).filter_map(|known| known.owner.clone()).collect()
    }

    /// How a mailbox is listed.
    pub(super) fn entry(&self, name: &MailboxName) -> ListEntry {
        let mut entry = ListEntry::new(name.clone());
        let known = self.mailboxes.get(name.as_str());
        entry.exists = known.is_some() || self.lost.contains_key(name.as_str());
        entry.special_use.extend(known.and_then(|known| known.special_use));
        entry.subscribed = self.subscribed.contains(name);
        let below = |known: &Known| known.name.starts_with_level(name) && known.name != *name;
        let has_children = self.mailboxes.values().any(below);
        entry.has_children = (entry.exists || has_children).then_some(has_children);
        entry
    }

    /// Which annotations are not as they were, and of which mailbox, by its name.
    pub(super) fn changed_annotations(&self, before: &Self) -> Vec<(String, Vec<String>)> {
        let mut all = Vec::new();
        for (name, now) in &self.annotations {
            // Of a mailbox that was not there nothing was known that could have changed.
            let Some(known) = before.annotations.get(name) else { continue };
            let changed = now.iter().filter(|(entry, hash)| known.get(*entry) != Some(*hash));
            let gone = known.keys().filter(|entry| !now.contains_key(*entry));
            let entries: Vec<String> = changed.map(|(entry, _)| entry).chain(gone).cloned().collect();
            if !entries.is_empty() {
                all.push((name.clone(), entries));
            }
        }
        all
    }
}

impl Notifier {
    /// What is told of a mailbox by all groups together, but for the one about the selected mailbox.
    pub(super) fn events_of(&self, name: &MailboxName, seen: &Seen) -> NotifyEvents {
        let foreign = self.is_foreign(name);
        let mut all = NotifyEvents::default();
        for group in &self.request.groups {
            let meant = match &group.mailboxes {
                // Mail is delivered wherever a script of the user's files it (RFC 5465 §6.3).
                NotifyMailboxes::Personal | NotifyMailboxes::Inboxes => !foreign,
                NotifyMailboxes::Subscribed => seen.subscribed.contains(name),
                NotifyMailboxes::Subtree(names) => {
                    names.iter().any(|above| name == above || name.starts_with_level(above))
                }
                NotifyMailboxes::Mailboxes(names) => names.contains(name),
                _ => false,
            };
            if meant {
                all.new = all.new.or_else(|| group.events.new.clone());
                all.expunge |= group.events.expunge;
                all.flags |= group.events.flags;
                all.message_annotations |= group.events.message_annotations;
                all.names |= group.events.names;
                all.subscriptions |= group.events.subscriptions;
                all.annotations |= group.events.annotations;
            }
        }
        all
    }

    fn wants_server_annotations(&self) -> bool {
        self.request.groups.iter().any(|group| group.events.server_annotations)
    }

    /// Whether mailboxes of others are among those that are told of.
    fn minds_others<'a>(&self, subscribed: impl Iterator<Item = &'a MailboxName> + Clone) -> bool {
        self.request.groups.iter().any(|group| match &group.mailboxes {
            NotifyMailboxes::Subscribed => subscribed.clone().any(|name| self.is_foreign(name)),
            NotifyMailboxes::Subtree(names) | NotifyMailboxes::Mailboxes(names) => {
                names.iter().any(|name| self.is_foreign(name))
            }
            _ => false,
        })
    }

    /// Whether a name is that of a mailbox of others, there or not.
    fn is_foreign(&self, name: &MailboxName) -> bool {
        let first = name.as_str().split('/').next().unwrap_or_default();
        self.foreign.contains(&first)
    }

    /// The mailboxes that are named.
    pub(super) fn named(&self) -> impl Iterator<Item = &MailboxName> {
        self.request.groups.iter().flat_map(|group| match &group.mailboxes {
            NotifyMailboxes::Subtree(names) | NotifyMailboxes::Mailboxes(names) => names.as_slice(),
            _ => &[],
        })
    }
}
