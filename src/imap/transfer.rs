//! COPY and MOVE to mailboxes of somebody else: the store copies within one account, so the messages are written anew.

use std::sync::{Mutex, PoisonError};

use mailwright_imap_proto::{Answered, Refusal, command::CopyUid};
use mailwright_mail_model::UidSet;
use mailwright_mailstore::{Message, Store, Target, Upload, Write, accounts::Accounts};

use super::{
    Visit,
    access::{Located, permitted},
    described::{CHUNK, Describer},
    refusal, target_refusal,
};

impl<S: Store, A: Accounts> Visit<'_, S, A> {
    /// Puts copies of messages of the open mailbox there, all of them or none, and takes the originals away if that is wanted, at the
    /// same moment.
    pub(super) async fn transfer(
        &self,
        uids: &UidSet,
        to: &Located,
        moves: bool,
    ) -> Answered<Option<CopyUid>> {
        let (Some(selected), Some(writer)) = (&self.selected, self.store.writer()) else {
            return Err(Refusal::no_permission());
        };
        let messages: Vec<&Message> = selected.snapshot.among(uids).collect();
        if messages.is_empty() {
            return Ok(None);
        }
        if !writer.takes_several() {
            return Err(Refusal::cannot());
        }
        self.store.status(&to.owner, &to.name).await.map_err(|error| target_refusal(&error))?;
        // Never locked: so that the future can be sent, which holds it.
        let mut upload = Mutex::new(writer.begin(None).await.map_err(|error| target_refusal(&error))?);
        let mut last: Option<Target> = None;
        for message in &messages {
            if let Some(done) = last.take() {
                open(&mut upload).next(&[done]).await.map_err(|error| target_refusal(&error))?;
            }
            let reference = selected.mailbox.message(message);
            let (mut describer, mut offset) = (Describer::default(), 0);
            while offset < message.size {
                let end = message.size.min(offset + CHUNK);
                let chunk =
                    self.store.read(&reference, offset..end).await.map_err(|error| refusal(&error))?;
                if chunk.is_empty() {
                    return Err(Refusal::unavailable());
                }
                offset += chunk.len() as u64;
                describer.push(&chunk);
                open(&mut upload).write(chunk).await.map_err(|error| target_refusal(&error))?;
            }
            open(&mut upload).summarize(describer.finish().1);
            let target = Target::new(to.owner.clone(), to.name.clone(), message.internal_date);
            last = Some(target.with_flags(permitted(to.rights, &message.flags)));
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
}

fn open(upload: &mut Mutex<Upload>) -> &mut Upload {
    upload.get_mut().unwrap_or_else(PoisonError::into_inner)
}
