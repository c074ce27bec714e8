//! APPEND: a message streams from the client into the store.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use mailwright_imap_proto::{
    Answered, Refusal,
    server::{AppendUid, Message},
};
use mailwright_mailstore::{Quota, Store, StoreError, Target, Upload, Write, accounts::Accounts};

use super::{Visit, described::Describer, target_refusal};
use crate::smtp::now;

/// A message on its way in.
pub(super) struct Incoming {
    /// Never locked: the mutex only lets a session that holds it be shared, which its futures need.
    upload: Mutex<Upload>,
    target: Target,
    describer: Describer,
    /// The first thing that went wrong. The rest of the message is taken and dropped.
    failed: Option<StoreError>,
}

impl<S: Store, A: Accounts> Visit<'_, S, A> {
    pub(super) async fn begin_append(&mut self, message: &Message) -> Answered<()> {
        let user = self.user()?.clone();
        let writer = self.store.writer().ok_or_else(Refusal::no_permission)?;
        // RFC 3501 §6.3.11: a mailbox that is not there is not made, and the client is told before it sends.
        self.store.status(&user, &message.mailbox).await.map_err(|error| target_refusal(&error))?;
        if let Some(quota) = self.store.quota() {
            // RFC 9208 §4.3: before the client sends what would be refused.
            quota.check_quota(&user, message.size).await.map_err(|error| target_refusal(&error))?;
        }
        let upload = writer.begin(Some(message.size)).await.map_err(|error| target_refusal(&error))?;
        let date = message.internal_date.unwrap_or_else(now);
        let target = Target::new(user, message.mailbox.clone(), date).with_flags(message.flags.clone());
        self.incoming = Some(Box::new(Incoming {
            upload: Mutex::new(upload),
            target,
            describer: Describer::default(),
            failed: None,
        }));
        Ok(())
    }

    pub(super) async fn append_chunk(&mut self, chunk: Bytes) {
        let Some(incoming) = &mut self.incoming else { return };
        if incoming.failed.is_none() {
            incoming.describer.push(&chunk);
            incoming.failed = upload(&mut incoming.upload).write(chunk).await.err();
        }
    }

    pub(super) async fn commit_append(&mut self) -> Answered<Option<AppendUid>> {
        let Some(mut incoming) = self.incoming.take() else { return Err(Refusal::unavailable()) };
        if let Some(error) = incoming.failed {
            return Err(target_refusal(&error));
        }
        let upload = upload(&mut incoming.upload);
        upload.summarize(incoming.describer.finish().1);
        let appended = upload.commit(std::slice::from_ref(&incoming.target)).await;
        let appended = appended.map_err(|failed| target_refusal(&failed.error))?;
        Ok(appended.first().map(|appended| AppendUid::new(appended.uid_validity, appended.uid)))
    }
}

fn upload(upload: &mut Mutex<Upload>) -> &mut Upload {
    upload.get_mut().unwrap_or_else(PoisonError::into_inner)
}
