//! Mailboxes are made, renamed and deleted.

use std::sync::Arc;

use mailwright_mail_model::{MailboxName, SpecialUse};

use super::{Memory, State};
use crate::folders::{check_rename, parents, renamed};
use crate::{Folders, Mailbox, Message, Result, Snapshot, StoreError, User};

impl Folders for Memory {
    async fn create(
        &self,
        user: &User,
        name: &MailboxName,
        special_use: Option<SpecialUse>,
    ) -> Result<Mailbox> {
        self.change(|state| {
            if state.account(user)?.mailboxes.contains_key(name) {
                return Err(StoreError::Exists);
            }
            state.make_parents(user, name)?;
            let folder = state.folder(special_use)?;
            let mailbox = folder.describe(name);
            state.account(user)?.mailboxes.insert(name.clone(), folder);
            Ok(mailbox)
        })
    }

    async fn delete(&self, user: &User, name: &MailboxName) -> Result<()> {
        if name.is_inbox() {
            return Err(StoreError::Invalid("expected a mailbox other than INBOX to delete".into()));
        }
        self.change(|state| {
            let folder = state.account(user)?.mailboxes.remove(name).ok_or(StoreError::NotFound)?;
            state.release(folder.snapshot.messages());
            Ok(())
        })
    }

    async fn rename(&self, user: &User, from: &MailboxName, to: &MailboxName) -> Result<()> {
        self.change(|state| {
            let existing: Vec<_> = state.account(user)?.mailboxes.keys().cloned().collect();
            let moves = check_rename(&existing, from, to)?;
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
        self.state().account(user)?.subscriptions.insert(name.clone());
        Ok(())
    }

    async fn unsubscribe(&self, user: &User, name: &MailboxName) -> Result<()> {
        self.state().account(user)?.subscriptions.remove(name);
        Ok(())
    }

    async fn subscriptions(&self, user: &User) -> Result<Vec<MailboxName>> {
        Ok(self.state().account(user)?.subscriptions.iter().cloned().collect())
    }
}

impl State {
    fn make_parents(&mut self, user: &User, name: &MailboxName) -> Result<()> {
        for parent in parents(name) {
            if !self.account(user)?.mailboxes.contains_key(&parent) {
                let folder = self.folder(None)?;
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
