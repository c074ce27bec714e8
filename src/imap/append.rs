//! APPEND and REPLACE: messages stream from the client into the store.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use mailwright_imap_proto::{
    Answered, Refusal,
    response::ResponseCode,
    server::{AppendUid, Message},
};
use mailwright_mail_model::{AnnotationEntry, UidSet};
use mailwright_mailstore::{Quota, Right, Store, StoreError, Target, Upload, Write, accounts::Accounts};

use super::{
    Visit,
    access::permitted,
    described::{CHUNK, Describer},
    events::Cause,
    noting::has_parts,
    target_refusal,
};
use crate::smtp::now;

/// Messages on their way in.
pub(super) struct Incoming {
    /// Never locked: the mutex only lets a session that holds it be shared, which its futures need.
    upload: Mutex<Upload>,
    /// The last message.
    target: Target,
    describer: Describer,
    size: u64,
    /// The first thing that went wrong. The rest is taken and dropped.
    failed: Option<StoreError>,
}

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    pub(super) async fn begin_append(&mut self, message: &Message) -> Answered<()> {
        let before = self.incoming.take().filter(|_| message.sequel);
        self.stays_here(&message.mailbox)?;
        let at = self.locate_for(&message.mailbox, Right::Insert).await;
        let at = at.map_err(|error| target_refusal(&error))?;
        let writer = self.store.writer().ok_or_else(Refusal::no_permission)?;
        let date = message.internal_date.unwrap_or_else(now);
        let mut target =
            Target::new(at.owner, at.name, date).with_flags(permitted(at.rights, &message.flags));
        if !message.annotations.is_empty() {
            let noted = self.noted(&message.annotations, at.rights)?;
            target = target.with_annotations(self.user()?.clone(), noted);
        }
        if let Some(mut incoming) = before {
            // RFC 3502 §6.3.11: all of them or none.
            incoming.next(target).await?;
            self.incoming = Some(incoming);
            return Ok(());
        }
        // RFC 3501 §6.3.11: a mailbox that is not there is not made, and the client is told before it sends.
        self.store.status(&target.user, &target.mailbox).await.map_err(|error| target_refusal(&error))?;
        // RFC 9208 §4.3: before the client sends what would be refused. What is replaced makes room (RFC 8508 §3.4).
        if let (Some(quota), None) = (self.store.quota(), message.replaces) {
            let size = message.size.unwrap_or_default();
            quota.check_quota(&target.user, size).await.map_err(|error| target_refusal(&error))?;
        }
        let mut upload = writer.begin(message.size).await.map_err(|error| target_refusal(&error))?;
        if let Some(uid) = message.replaces {
            // RFC 8508 §4.1
            self.require(&[Right::DeleteMessages, Right::Expunge]).await?;
            let selected = self.selected.as_ref().filter(|selected| !selected.read_only);
            let selected = selected.ok_or_else(Refusal::no_permission)?;
            upload.replace(&selected.mailbox, &UidSet::from(uid)).map_err(|error| target_refusal(&error))?;
        }
        self.incoming = Some(Box::new(Incoming {
            upload: Mutex::new(upload),
            target,
            describer: Describer::default(),
            size: 0,
            failed: None,
        }));
        Ok(())
    }

    pub(super) async fn append_chunk(&mut self, chunk: Bytes) {
        if let Some(incoming) = &mut self.incoming {
            incoming.push(chunk).await;
        }
    }

    /// CATENATE: a part of a message that is here goes into the one that comes in (RFC 4469 §3).
    pub(super) async fn include(&mut self, url: &str) -> Answered<u64> {
        let limit = self.service.config.max_message_size;
        let mut part = self.part(url).await?;
        let Some(incoming) = &mut self.incoming else { return Err(Refusal::unavailable()) };
        let length = part.length();
        if incoming.size.saturating_add(length) > limit {
            return Err(Refusal::new(ResponseCode::TooBig, "message too large"));
        }
        while let Some(chunk) = part.next(self.store, CHUNK).await.map_err(|_| Refusal::bad_url(url))? {
            incoming.push(chunk).await;
        }
        Ok(length)
    }

    pub(super) async fn commit_append(&mut self) -> Answered<Option<AppendUid>> {
        let Some(mut incoming) = self.incoming.take() else { return Err(Refusal::unavailable()) };
        if let Some(error) = incoming.failed {
            return Err(target_refusal(&error));
        }
        let upload = upload(&mut incoming.upload);
        let structure = incoming.describer.finish_into(upload);
        has_parts(&structure, entries(&incoming.target))?;
        let appended = upload.commit(std::slice::from_ref(&incoming.target)).await;
        let appended = appended.map_err(|failed| target_refusal(&failed.error))?;
        let uids: UidSet = appended.iter().map(|appended| appended.uid).collect();
        self.added(Cause::Append, &incoming.target.user, &incoming.target.mailbox, &uids).await;
        Ok(appended.first().map(|appended| AppendUid::new(appended.uid_validity, uids)))
    }
}

impl Incoming {
    async fn push(&mut self, chunk: Bytes) {
        if self.failed.is_none() {
            self.size = self.size.saturating_add(chunk.len() as u64);
            self.describer.push(&chunk);
            self.failed = upload(&mut self.upload).write(chunk).await.err();
        }
    }

    /// Ends this message and begins another.
    async fn next(&mut self, target: Target) -> Answered<()> {
        if let Some(error) = self.failed.take() {
            return Err(target_refusal(&error));
        }
        let done = std::mem::replace(&mut self.target, target);
        let describer = std::mem::take(&mut self.describer);
        self.size = 0;
        let upload = upload(&mut self.upload);
        has_parts(&describer.finish_into(upload), entries(&done))?;
        upload.next(std::slice::from_ref(&done)).await.map_err(|error| target_refusal(&error))
    }
}

/// What is noted about a message that goes there.
fn entries(target: &Target) -> impl Iterator<Item = &AnnotationEntry> {
    target.annotations.iter().flat_map(|noted| &noted.1).map(|(entry, ..)| entry)
}

fn upload(upload: &mut Mutex<Upload>) -> &mut Upload {
    upload.get_mut().unwrap_or_else(PoisonError::into_inner)
}
