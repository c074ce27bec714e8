//! The facets that extensions need.

use std::iter;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use mailwright_mail_model::{DateTime, Flag, FlagSet, MailboxName, ModSeq, Uid, UidValidity};

use super::write::plus;
use super::{Annotations, Gone, Memory, State, annotate};
use crate::acl::changed_list;
use crate::metadata::{MOST_ENTRIES, MOST_VALUE};
use crate::{
    Acl, AclChange, AclEntry, Annotated, Annotation, Appended, Delivery, EntryName, ExpungedMessage, Feed,
    FeedEvent, FeedPosition, Identifier, Identity, Import, MailboxRef, Message, MessageRef, Metadata, News,
    ObjectId, Origins, Quota, QuotaLimits, QuotaStatus, QuotaUsage, Result, SharedMailbox, Snapshot,
    StoreError, Subject, Undelete, User,
};

/// The time by the clock, if that is within reason.
pub(super) fn now() -> Option<DateTime> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    DateTime::new(i64::try_from(since).ok()?, 0)
}

impl State {
    fn usage(&mut self, user: &User) -> Result<QuotaUsage> {
        let account = self.account(user)?;
        let mut usage = QuotaUsage { mailboxes: account.mailboxes.len() as u64, ..QuotaUsage::NOTHING };
        for folder in account.mailboxes.values() {
            usage.messages += u64::from(folder.snapshot.len());
            usage.storage += folder.snapshot.size();
            usage.annotations += octets(&folder.annotations);
            usage.annotations += folder.notes.values().map(annotate::octets).sum::<u64>();
        }
        Ok(usage)
    }

    fn quota_status(&mut self, user: &User) -> Result<QuotaStatus> {
        let (usage, default) = (self.usage(user)?, self.quota);
        let own = self.account(user)?.limits;
        Ok(QuotaStatus::new(user.clone(), usage, own.unwrap_or(default), own.is_some()))
    }

    /// Whether a user may have this more, less what goes at the same time.
    pub(super) fn admit(&mut self, user: &User, more: &QuotaUsage, less: &QuotaUsage) -> Result<()> {
        let status = self.quota_status(user)?;
        let net = QuotaUsage {
            storage: more.storage.saturating_sub(less.storage),
            messages: more.messages.saturating_sub(less.messages),
            mailboxes: more.mailboxes.saturating_sub(less.mailboxes),
            annotations: more.annotations.saturating_sub(less.annotations),
        };
        status.limits.admit(&status.usage, &net)
    }

    /// The thread of a message with these identifiers, its own first.
    pub(super) fn thread(&mut self, user: &User, ids: &[Bytes]) -> ObjectId {
        let (own, others) = ids.split_at(ids.len().min(1));
        let known =
            others.iter().rev().chain(own).find_map(|id| self.threads.get(&(user.clone(), id.clone())));
        let thread = known.copied().unwrap_or_else(|| self.id());
        for id in ids {
            self.threads.entry((user.clone(), id.clone())).or_insert(thread);
        }
        thread
    }

    /// Keeps a message that is expunged, so that it can be had back.
    pub(super) fn keep(
        &mut self,
        user: &User,
        name: &MailboxName,
        message: &Message,
        notes: annotate::Notes,
    ) -> Result<()> {
        let id = self.id();
        let when = now().unwrap_or(message.internal_date);
        let gone = Gone { name: name.clone(), when, message: message.clone(), notes };
        self.account(user)?.expunged.insert(id, gone);
        Ok(())
    }

    /// Notes another message with this body.
    pub(super) fn refer(&mut self, object: ObjectId) {
        if let Some(body) = self.bodies.get_mut(&object) {
            body.references += 1;
        }
    }

    fn annotated(&mut self, place: &Annotated) -> Result<&mut Annotations> {
        match place {
            Annotated::Server => Ok(&mut self.annotations),
            Annotated::Mailbox { owner, name } => {
                self.find(owner, name).map(|folder| &mut folder.annotations)
            }
        }
    }
}

fn octets(annotations: &Annotations) -> u64 {
    annotations.iter().map(|((_, name), value)| (name.as_str().len() + value.len()) as u64).sum()
}

impl Quota for Memory {
    async fn quota_of(&self, user: &User) -> Result<QuotaStatus> {
        self.state().quota_status(user)
    }

    async fn set_quota(&self, user: &User, limits: Option<QuotaLimits>) -> Result<()> {
        self.state().account(user)?.limits = limits;
        Ok(())
    }

    async fn quotas(&self) -> Result<Vec<QuotaStatus>> {
        let mut state = self.state();
        let mut users: Vec<User> = state.users.keys().cloned().collect();
        users.sort_unstable();
        users.iter().map(|user| state.quota_status(user)).collect()
    }
}

impl Acl for Memory {
    async fn access_list(&self, owner: &User, name: &MailboxName) -> Result<Vec<AclEntry>> {
        self.state().find(owner, name).map(|folder| folder.access.clone())
    }

    async fn change_access(
        &self,
        owner: &User,
        name: &MailboxName,
        identifier: &Identifier,
        change: AclChange,
    ) -> Result<()> {
        let other = identifier.subject().account().and_then(|name| User::new(name).ok());
        let told: Vec<_> = iter::once(owner).chain(&other).map(|user| (user, FeedEvent::Mailboxes)).collect();
        self.change(&told, |state| {
            let folder = state.find(owner, name)?;
            folder.access = changed_list(owner, folder.access.clone(), identifier, change)?;
            Ok(())
        })
    }

    async fn shared_with(&self, who: &Identity) -> Result<Vec<SharedMailbox>> {
        let state = self.state();
        let mut shared = Vec::new();
        for (owner, account) in state.users.iter().filter(|(owner, _)| *owner != who.user()) {
            for (name, folder) in &account.mailboxes {
                let rights = who.rights(owner, &folder.access);
                if !rights.is_empty() {
                    shared.push(SharedMailbox::new(owner.clone(), folder.describe(name), rights));
                }
            }
        }
        shared.sort_by(|a, b| (&a.owner, &a.mailbox.name).cmp(&(&b.owner, &b.mailbox.name)));
        Ok(shared)
    }

    async fn listing(&self, subject: &Subject) -> Result<Vec<(User, MailboxName)>> {
        let state = self.state();
        let mut listing = Vec::new();
        for (owner, account) in &state.users {
            for (name, folder) in &account.mailboxes {
                if folder.access.iter().any(|entry| entry.identifier.subject() == subject) {
                    listing.push((owner.clone(), name.clone()));
                }
            }
        }
        listing.sort_unstable();
        Ok(listing)
    }
}

impl Metadata for Memory {
    async fn annotations(&self, place: &Annotated, reader: &User) -> Result<Vec<Annotation>> {
        let mut state = self.state();
        let visible =
            state.annotated(place)?.iter().filter(|((of, _), _)| of.as_ref().is_none_or(|of| of == reader));
        let mut seen: Vec<_> =
            visible.map(|((_, entry), value)| Annotation::new(entry.clone(), value.clone())).collect();
        seen.sort_by(|a, b| a.entry.cmp(&b.entry));
        Ok(seen)
    }

    async fn annotate(
        &self,
        place: &Annotated,
        writer: &User,
        changes: &[(EntryName, Option<Bytes>)],
    ) -> Result<()> {
        if changes.iter().flat_map(|(_, value)| value).any(|value| value.len() > MOST_VALUE) {
            return Err(StoreError::TooLarge { limit: MOST_VALUE as u64 });
        }
        let (teller, name) = match place {
            Annotated::Server => (writer, None),
            Annotated::Mailbox { owner, name } => (owner, Some(name.clone())),
        };
        self.change(&[(teller, FeedEvent::Annotations(name))], |state| {
            let before = state.annotated(place)?.clone();
            let mut after = before.clone();
            for (entry, value) in changes {
                let key = (entry.is_private().then(|| writer.clone()), entry.clone());
                match value {
                    Some(value) => after.insert(key, value.clone()),
                    None => after.remove(&key),
                };
            }
            if after.len() > MOST_ENTRIES.max(before.len()) {
                return Err(StoreError::TooMany { limit: MOST_ENTRIES as u64 });
            }
            if let Annotated::Mailbox { owner, .. } = place {
                let usage = |of| QuotaUsage { annotations: octets(of), ..QuotaUsage::NOTHING };
                state.admit(owner, &usage(&after), &usage(&before))?;
            }
            *state.annotated(place)? = after;
            Ok(())
        })
    }
}

impl Origins for Memory {
    async fn deliveries(&self, messages: &[MessageRef]) -> Result<Vec<Option<Arc<Delivery>>>> {
        let mut state = self.state();
        let mut delivery = |message: &MessageRef| {
            let folder = state.selected(&message.mailbox).ok()?;
            folder.origins.get(&message.uid)?.delivery.clone()
        };
        Ok(messages.iter().map(&mut delivery).collect())
    }

    async fn unique_ids(&self, mailbox: &MailboxRef) -> Result<Vec<(Uid, String)>> {
        let mut state = self.state();
        let origins = state.selected(mailbox)?.origins.iter();
        Ok(origins.filter_map(|(uid, origin)| Some((*uid, origin.unique_id.clone()?))).collect())
    }
}

impl Import for Memory {
    async fn adopt(
        &self,
        user: &User,
        name: &MailboxName,
        uid_validity: UidValidity,
        uid_next: Option<Uid>,
    ) -> Result<()> {
        self.change(&[], |state| {
            let folder = state.find(user, name)?;
            if folder.snapshot.uid_validity() == uid_validity {
                Arc::make_mut(&mut folder.snapshot).advance(uid_next, ModSeq::ZERO);
                return Ok(());
            }
            if !folder.snapshot.is_empty() {
                return Err(StoreError::Exists);
            }
            let modseq = folder.next_modseq()?;
            let builder = Snapshot::builder(uid_validity).uid_next(uid_next).highest_modseq(modseq);
            let builder = match folder.snapshot.id() {
                Some(id) => builder.id(id),
                None => builder,
            };
            folder.snapshot = Arc::new(builder.build());
            folder.recent_from = Some(Uid::MIN);
            folder.expunged.clear();
            state.last_validity = state.last_validity.max(uid_validity.get());
            Ok(())
        })
    }
}

impl Feed for Memory {
    async fn position(&self, user: &User) -> Result<FeedPosition> {
        Ok(self.0.feeds.position(user.as_str().as_bytes()))
    }

    async fn after(&self, user: &User, since: FeedPosition) -> Result<News> {
        Ok(self.0.feeds.after(user.as_str().as_bytes(), since).await)
    }
}

impl Undelete for Memory {
    async fn expunged_messages(&self, user: &User) -> Result<Vec<ExpungedMessage>> {
        let mut state = self.state();
        let kept = state.account(user)?.expunged.iter();
        Ok(kept
            .map(|(id, gone)| ExpungedMessage::new(*id, gone.name.clone(), &gone.message, gone.when))
            .collect())
    }

    async fn bring_back(&self, user: &User, id: ObjectId, target: &MailboxName) -> Result<Appended> {
        self.change(&[(user, FeedEvent::Messages(target.clone()))], |state| {
            let gone = state.account(user)?.expunged.get(&id).cloned().ok_or(StoreError::NotFound)?;
            let Gone { message, notes, .. } = gone;
            state.find(user, target)?;
            let more = plus(annotate::usage(annotate::octets(&notes)), &message);
            state.admit(user, &more, &QuotaUsage::NOTHING)?;
            let folder = state.find(user, target)?;
            let flags = message.flags.difference(&FlagSet::from_iter([Flag::Deleted]));
            let uid = folder.append(Message { flags, ..message }.with_saved(now()), None)?;
            if !notes.is_empty() {
                folder.notes.insert(uid, notes);
            }
            let appended = Appended::new(folder.snapshot.uid_validity(), uid);
            state.account(user)?.expunged.remove(&id);
            Ok(appended)
        })
    }
}

impl Memory {
    /// Ends the undelete window of everything that was expunged so far, and lets go of it.
    pub fn forget_expunged(&self) {
        let mut state = self.state();
        let gone: Vec<_> =
            state.users.values_mut().flat_map(|account| std::mem::take(&mut account.expunged)).collect();
        for object in gone.into_iter().filter_map(|(_, gone)| gone.message.object) {
            state.release_body(object);
        }
    }
}
