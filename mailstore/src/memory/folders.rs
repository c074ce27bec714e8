//! Mailboxes are made, renamed and deleted.

use std::sync::Arc;

use mailwright_mail_model::{MailboxName, SpecialUse};

use super::{Folder, Memory, State};
use crate::folders::{check_rename, parents, renamed};
use crate::{FeedEvent, Folders, Mailbox, Message, QuotaUsage, Result, Snapshot, StoreError, User};

impl Folders for Memory {
    async fn create(
        &self,
        user: &User,
        name: &MailboxName,
        special_use: Option<SpecialUse>,
    ) -> Result<Mailbox> {
        self.change(&[(user, FeedEvent::Mailboxes)], |state| {
            if state.account(user)?.mailboxes.contains_key(name) {
                return Err(StoreError::Exists);
            }
            state.admit_mailboxes(user, name, 1)?;
            state.make_parents(user, name)?;
            let folder = state.folder_below(user, name, special_use)?;
            let mailbox = folder.describe(name);
            state.account(user)?.mailboxes.insert(name.clone(), folder);
            Ok(mailbox)
        })
    }

    async fn delete(&self, user: &User, name: &MailboxName) -> Result<()> {
        if name.is_inbox() {
            return Err(StoreError::Invalid("expected a mailbox other than INBOX to delete".into()));
        }
        self.change(&[(user, FeedEvent::Mailboxes)], |state| {
            let folder = state.account(user)?.mailboxes.remove(name).ok_or(StoreError::NotFound)?;
            for message in folder.snapshot.messages() {
                let notes = folder.notes.get(&message.uid).cloned().unwrap_or_default();
                state.keep(user, name, message, notes)?;
            }
            Ok(())
        })
    }

    async fn erase(&self, user: &User) -> Result<()> {
        self.change(&[(user, FeedEvent::Mailboxes)], |state| {
            state.forget_private(user);
            let Some(account) = state.users.remove(user) else { return Ok(()) };
            let messages = account.mailboxes.values().flat_map(|folder| folder.snapshot.messages());
            let kept = account.expunged.values().map(|gone| &gone.message);
            for object in messages.chain(kept).filter_map(|message| message.object) {
                state.release_body(object);
            }
            state.threads.retain(|(owner, _), _| owner != user);
            Ok(())
        })
    }

    async fn rename(&self, user: &User, from: &MailboxName, to: &MailboxName) -> Result<()> {
        let mut told = vec![(user, FeedEvent::Mailboxes)];
        // INBOX stays, and its messages go.
        told.extend(from.is_inbox().then(|| (user, FeedEvent::Messages(from.clone()))));
        self.change(&told, |state| {
            let existing: Vec<_> = state.account(user)?.mailboxes.keys().cloned().collect();
            let moves = check_rename(&existing, from, to)?;
            state.admit_mailboxes(user, to, from.is_inbox().into())?;
            state.make_parents(user, to)?;
            if from.is_inbox() {
                return state.empty_inbox(user, to);
            }
            let mailboxes = &mut state.account(user)?.mailboxes;
            for name in moves {
                if let Some(folder) = mailboxes.remove(&name) {
                    mailboxes.insert(renamed(&name, from, to)?, folder);
                }
            }
            Ok(())
        })
    }

    async fn subscribe(&self, user: &User, name: &MailboxName) -> Result<()> {
        self.change(&[(user, FeedEvent::Subscriptions)], |state| {
            state.account(user)?.subscriptions.insert(name.clone());
            Ok(())
        })
    }

    async fn unsubscribe(&self, user: &User, name: &MailboxName) -> Result<()> {
        self.change(&[(user, FeedEvent::Subscriptions)], |state| {
            state.account(user)?.subscriptions.remove(name);
            Ok(())
        })
    }

    async fn subscriptions(&self, user: &User) -> Result<Vec<MailboxName>> {
        Ok(self.state().account(user)?.subscriptions.iter().cloned().collect())
    }
}

impl State {
    /// What somebody noted for themselves about mailboxes of others, messages in them and the server.
    fn forget_private(&mut self, user: &User) {
        self.annotations.retain(|(of, _), _| of.as_ref() != Some(user));
        let of_user = Some(user.clone());
        for account in self.users.values_mut() {
            for folder in account.mailboxes.values_mut() {
                folder.annotations.retain(|(of, _), _| *of != of_user);
                folder.notes.values_mut().for_each(|notes| drop(notes.remove(&of_user)));
            }
            account.expunged.values_mut().for_each(|gone| drop(gone.notes.remove(&of_user)));
        }
    }

    fn exists(&mut self, user: &User, name: &MailboxName) -> bool {
        self.find(user, name).is_ok()
    }

    /// Whether a user may have so many mailboxes more, and those above `name` that are missing.
    fn admit_mailboxes(&mut self, user: &User, name: &MailboxName, made: u64) -> Result<()> {
        let missing = parents(name).into_iter().filter(|parent| !self.exists(user, parent)).count() as u64;
        if made + missing == 0 {
            return Ok(());
        }
        let more = QuotaUsage { mailboxes: made + missing, ..QuotaUsage::NOTHING };
        self.admit(user, &more, &QuotaUsage::NOTHING)
    }

    /// A new mailbox, with the access control list of the one above it.
    fn folder_below(
        &mut self,
        user: &User,
        name: &MailboxName,
        special_use: Option<SpecialUse>,
    ) -> Result<Folder> {
        let mut folder = self.folder(special_use)?;
        if let Some(parent) = name.parent()
            && let Ok(above) = self.find(user, &parent)
        {
            folder.access.clone_from(&above.access);
        }
        Ok(folder)
    }

    fn make_parents(&mut self, user: &User, name: &MailboxName) -> Result<()> {
        for parent in parents(name) {
            if !self.exists(user, &parent) {
                let folder = self.folder_below(user, &parent, None)?;
                self.account(user)?.mailboxes.insert(parent, folder);
            }
        }
        Ok(())
    }

    /// RFC 9051 §6.3.6: renaming INBOX moves its messages and leaves it empty.
    fn empty_inbox(&mut self, user: &User, to: &MailboxName) -> Result<()> {
        let mut folder = self.folder(None)?;
        let inbox = self.find(user, &MailboxName::inbox())?;
        let (messages, modseq) = (Arc::clone(&inbox.snapshot), inbox.next_modseq()?);
        let uids = messages.uids();
        Arc::make_mut(&mut inbox.snapshot).remove(&uids, modseq);
        inbox.expunged.push((modseq, uids));
        folder.origins = std::mem::take(&mut inbox.origins);
        folder.notes = std::mem::take(&mut inbox.notes);
        folder.recent_from = inbox.recent_from;
        let builder = Snapshot::builder(folder.snapshot.uid_validity())
            .highest_modseq(messages.highest_modseq())
            .messages(messages.messages().map(Message::clone));
        let builder = match folder.snapshot.id() {
            Some(id) => builder.id(id),
            None => builder,
        };
        folder.snapshot = Arc::new(builder.build());
        self.account(user)?.mailboxes.insert(to.clone(), folder);
        Ok(())
    }
}
