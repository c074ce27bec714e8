//! COPY and MOVE to mailboxes of somebody else: the store copies within one account, so the messages are written anew.

use std::sync::{Mutex, PoisonError};

use mailwright_imap_proto::{Answered, Refusal, command::CopyUid};
use mailwright_mail_model::{Uid, UidSet, UidValidity};
use mailwright_mailstore::{
    Expunge, MailboxRef, Message, Store, StoreError, Target, Upload, Write, accounts::Accounts,
};

use super::{
    Visit,
    access::{Located, permitted},
    described::{CHUNK, Describer, short},
    gone, refusal,
    selected::Selected,
    target_refusal,
};
use crate::service::octets_of;

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    /// Puts copies of messages of the open mailbox there, all of them or none, and takes the originals away if that is wanted: at the
    /// same moment, if the store can do that.
    pub(super) async fn transfer(
        &self,
        uids: &UidSet,
        to: &Located,
        moves: bool,
    ) -> Answered<Option<CopyUid>> {
        let (Some(selected), Some(writer)) = (&self.selected, self.store.writer()) else {
            return Err(Refusal::no_permission());
        };
        // As they are now: another session may have moved them, or changed their flags.
        let snapshot = self.store.open(selected.mailbox.user(), selected.mailbox.name()).await;
        let snapshot = snapshot.map_err(|error| refusal(&error))?;
        if snapshot.uid_validity() != selected.snapshot.uid_validity() {
            return Err(gone());
        }
        let messages: Vec<&Message> = snapshot.among(uids).collect();
        if messages.is_empty() {
            return Ok(None);
        }
        self.store.status(&to.owner, &to.name).await.map_err(|error| target_refusal(&error))?;
        if !writer.takes_several() {
            return self.transfer_each(writer, selected, &messages, to, moves).await;
        }
        // Never locked: so that the future can be sent, which holds it.
        let mut upload = Mutex::new(writer.begin(None).await.map_err(|error| target_refusal(&error))?);
        let mut last: Option<Target> = None;
        for message in &messages {
            if let Some(done) = last.take() {
                open(&mut upload).next(&[done]).await.map_err(|error| target_refusal(&error))?;
            }
            last = Some(self.write(&mut upload, selected, message, to).await?);
        }
        let source: UidSet = messages.iter().map(|message| message.uid).collect();
        if moves {
            open(&mut upload).replace(&selected.mailbox, &source).map_err(|error| refusal(&error))?;
        }
        let targets: Vec<Target> = last.into_iter().collect();
        let appended = open(&mut upload).commit(&targets).await;
        let appended = appended.map_err(|failed| target_refusal(&failed.error))?;
        let target: UidSet = appended.iter().map(|appended| appended.uid).collect();
        Ok(appended.first().map(|first| CopyUid::new(first.uid_validity, source, target)))
    }

    /// One after the other. What fails is undone (RFC 9051 §6.4.7); whoever looks meanwhile sees some of it, and after a crash in between a
    /// message may be in both mailboxes, but never in none.
    async fn transfer_each(
        &self,
        writer: &impl Write,
        selected: &Selected,
        messages: &[&Message],
        to: &Located,
        moves: bool,
    ) -> Answered<Option<CopyUid>> {
        let (mut copies, mut validity) = (Vec::with_capacity(messages.len()), None);
        let source: UidSet = messages.iter().map(|message| message.uid).collect();
        let mut done = Ok(());
        for message in messages {
            match self.transfer_one(writer, selected, message, to).await {
                Ok((uid_validity, copy)) => {
                    validity = Some(uid_validity);
                    copies.push((message.uid, copy));
                }
                Err(refused) => {
                    done = Err(refused);
                    break;
                }
            }
        }
        if done.is_ok() && moves {
            let expunged = writer.expunge(&selected.mailbox, &Expunge::Exactly(source)).await;
            match expunged {
                Ok(expunged) => {
                    // What another session has taken away meanwhile is where that has put it.
                    let twice: UidSet = uids_of(&copies, |uid| !expunged.uids.contains(uid));
                    copies.retain(|(uid, _)| expunged.uids.contains(*uid));
                    if !twice.is_empty() {
                        self.undo(writer, to, twice).await;
                    }
                    if copies.is_empty() {
                        return Err(gone());
                    }
                }
                Err(error) => done = Err(refusal(&error)),
            }
        }
        if let Err(refused) = done {
            if !copies.is_empty() {
                self.undo(writer, to, uids_of(&copies, |_| true)).await;
            }
            return Err(refused);
        }
        let source = copies.iter().map(|(uid, _)| *uid).collect();
        Ok(validity.map(|validity| CopyUid::new(validity, source, uids_of(&copies, |_| true))))
    }

    async fn transfer_one(
        &self,
        writer: &impl Write,
        selected: &Selected,
        message: &Message,
        to: &Located,
    ) -> Answered<(UidValidity, Uid)> {
        let upload = writer.begin(Some(message.size)).await.map_err(|error| target_refusal(&error))?;
        let mut upload = Mutex::new(upload);
        let target = self.write(&mut upload, selected, message, to).await?;
        let appended = open(&mut upload).commit(&[target]).await;
        let appended = appended.map_err(|failed| target_refusal(&failed.error))?;
        let first = appended.first().ok_or_else(Refusal::unavailable)?;
        Ok((first.uid_validity, first.uid))
    }

    async fn undo(&self, writer: &impl Write, to: &Located, copies: UidSet) {
        let undone = async {
            let snapshot = self.store.open(&to.owner, &to.name).await?;
            let there = MailboxRef::new(to.owner.clone(), to.name.clone(), &snapshot);
            writer.expunge(&there, &Expunge::Exactly(copies)).await
        };
        if let Err(error) = undone.await {
            tracing::warn!(%error, "cannot take back what was copied in part");
        }
    }

    /// Writes a message to where it is to go, which is told.
    async fn write(
        &self,
        upload: &mut Mutex<Upload>,
        selected: &Selected,
        message: &Message,
        to: &Located,
    ) -> Answered<Target> {
        let reference = selected.mailbox.message(message);
        let (mut describer, mut offset) = (Describer::default(), 0);
        while offset < message.size {
            let end = message.size.min(offset + CHUNK);
            let chunk =
                octets_of(self.store, &reference, offset..end).await.map_err(|error| match error {
                    StoreError::NotFound => gone(),
                    error => refusal(&error),
                })?;
            if chunk.is_empty() {
                return Err(refusal(&short()));
            }
            offset += chunk.len() as u64;
            describer.push(&chunk);
            open(upload).write(chunk).await.map_err(|error| target_refusal(&error))?;
        }
        describer.finish_into(open(upload));
        let target = Target::new(to.owner.clone(), to.name.clone(), message.internal_date);
        let target = target.with_flags(permitted(to.rights, &message.flags));
        let Some(user) = self.user.as_ref().filter(|_| self.store.annotator().is_some()) else {
            return Ok(target);
        };
        // RFC 5257 §4.6
        let values = self.carried_values(&selected.mailbox, message.uid, &self.carried(to)).await?;
        Ok(target.with_annotations(user.clone(), values))
    }
}

/// The copies of those originals.
fn uids_of(copies: &[(Uid, Uid)], of: impl Fn(Uid) -> bool) -> UidSet {
    copies.iter().filter(|(original, _)| of(*original)).map(|(_, copy)| *copy).collect()
}

fn open(upload: &mut Mutex<Upload>) -> &mut Upload {
    upload.get_mut().unwrap_or_else(PoisonError::into_inner)
}
