//! From a Maildir++ tree, such as Dovecot's.

use std::{collections::HashMap, path::Path};

use mailwright::{
    mail_model::MailboxName,
    mailstore::{
        Folders, MailboxRef, Origins, Store, Upload, User,
        maildir::{Maildir, Options, Template},
    },
};

use super::{
    MigrateError,
    source::{Entry, Folder, dovecot_id},
};
use crate::cli::{Migrate, Pop3Ids};

/// A tree, which may be in use meanwhile.
pub(super) struct Tree {
    store: Maildir,
    user: User,
    ids: Pop3Ids,
}

impl Tree {
    pub(super) fn open(path: &str, options: &Migrate) -> Result<Self, MigrateError> {
        if !Path::new(path).join("cur").is_dir() {
            let error = std::io::Error::new(std::io::ErrorKind::NotFound, "there is no Maildir");
            return Err(MigrateError::File { path: path.into(), error });
        }
        let user = User::new(&options.to).map_err(|_| MigrateError::Account(options.to.clone()))?;
        let store = Maildir::new(Template::one(path), Options::default());
        Ok(Self { store, user, ids: options.pop3_ids.unwrap_or(Pop3Ids::Dovecot) })
    }

    pub(super) async fn folders(&self) -> Result<Vec<Folder>, MigrateError> {
        let failed = MigrateError::Read;
        let mailboxes = self.store.mailboxes(&self.user).await.map_err(failed)?;
        let subscribed = match self.store.folders() {
            Some(folders) => folders.subscriptions(&self.user).await.map_err(failed)?,
            None => Vec::new(),
        };
        let mut folders = Vec::new();
        for mailbox in mailboxes {
            let snapshot = self.store.open(&self.user, &mailbox.name).await.map_err(failed)?;
            folders.push(Folder {
                original: mailbox.name.to_string(),
                special_use: mailbox.special_use,
                subscribed: subscribed.contains(&mailbox.name),
                numbers: Some((snapshot.uid_validity(), snapshot.uid_next())),
                name: mailbox.name,
            });
        }
        Ok(folders)
    }

    pub(super) async fn index(&self, folder: &Folder) -> Result<Vec<Entry>, MigrateError> {
        let failed = MigrateError::Read;
        let snapshot = self.store.open(&self.user, &folder.name).await.map_err(failed)?;
        let validity = snapshot.uid_validity();
        let mailbox = MailboxRef::new(self.user.clone(), folder.name.clone(), &snapshot);
        let ids = self.store.unique_ids(&mailbox).await.map_err(failed)?;
        let mut ids: HashMap<_, _> = ids.into_iter().collect();
        // POP3 shows INBOX alone.
        let made = folder.name == MailboxName::inbox() && self.ids == Pop3Ids::Dovecot;
        let entries = snapshot.messages().map(|message| Entry {
            uid: message.uid,
            flags: message.flags.clone(),
            date: message.internal_date,
            size: message.size,
            unique_id: ids.remove(&message.uid).or_else(|| made.then(|| dovecot_id(message.uid, validity))),
        });
        Ok(entries.collect())
    }

    pub(super) async fn body(
        &self,
        folder: &Folder,
        entry: &Entry,
        upload: &mut Upload,
    ) -> Result<(), MigrateError> {
        let failed = MigrateError::Read;
        let snapshot = self.store.open(&self.user, &folder.name).await.map_err(failed)?;
        let mailbox = MailboxRef::new(self.user.clone(), folder.name.clone(), &snapshot);
        let Some(message) = snapshot.message(entry.uid).map(|message| mailbox.message(message)) else {
            return Err(MigrateError::Read(mailwright::mailstore::StoreError::NotFound));
        };
        let mut done = 0;
        while done < message.size {
            let octets = self.store.read(&message, done..message.size).await.map_err(failed)?;
            done += octets.len() as u64;
            upload.write(octets).await?;
        }
        Ok(())
    }
}
