//! A message on its way here, and whether it is here already.

use bytes::Bytes;
use mailwright::{
    mail_model::{DateTime, Uid},
    mailstore::{AnyStore, MailboxRef, Snapshot, Store, StoreError, Upload, Write as _},
};
use ring::digest::{Context, Digest, SHA256};

use super::{MigrateError, places::Places};

/// A message that is written, and looked at on its way.
pub(super) struct Incoming {
    pub(super) upload: Upload,
    octets: u64,
    all: Context,
}

impl Incoming {
    /// Of so many octets, if that is known.
    pub(super) async fn begin(store: &AnyStore, size: Option<u64>) -> Result<Self, MigrateError> {
        let writer = store.writer().ok_or(MigrateError::NoImport)?;
        Ok(Self { upload: writer.begin(size).await?, octets: 0, all: Context::new(&SHA256) })
    }

    pub(super) async fn write(&mut self, octets: Bytes) -> Result<(), StoreError> {
        self.octets += octets.len() as u64;
        self.all.update(&octets);
        self.upload.write(octets).await
    }

    /// Which of the messages here it is, octet by octet, and how large.
    pub(super) async fn found(
        &self,
        store: &AnyStore,
        (mailbox, snapshot): (&MailboxRef, &Snapshot),
        places: &Places,
        date: DateTime,
    ) -> Option<(Uid, u64)> {
        let candidates = places.candidates(date, self.octets);
        if candidates.is_empty() {
            return None;
        }
        let wanted = self.all.clone().finish();
        for uid in candidates {
            // One that cannot be read may be another: then it is brought.
            if let Ok(found) = digest(store, (mailbox, snapshot), *uid).await
                && found.as_ref() == wanted.as_ref()
            {
                return Some((*uid, self.octets));
            }
        }
        None
    }
}

/// All of a message that is here.
async fn digest(
    store: &AnyStore,
    (mailbox, snapshot): (&MailboxRef, &Snapshot),
    uid: Uid,
) -> Result<Digest, StoreError> {
    let message = snapshot.message(uid).ok_or(StoreError::NotFound)?;
    let (place, mut done, mut all) = (mailbox.message(message), 0, Context::new(&SHA256));
    while done < message.size {
        let octets = store.read(&place, done..message.size).await?;
        if octets.is_empty() {
            return Err(StoreError::NotFound);
        }
        done += octets.len() as u64;
        all.update(&octets);
    }
    Ok(all.finish())
}
