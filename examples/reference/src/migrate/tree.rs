//! From a Maildir++ tree, such as Dovecot's.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use mailwright::{
    mail_model::{MailboxName, Uid, UidSet},
    mailstore::{
        Acl, Annotated, EntryName, Folders, MailboxRef, Metadata, Noted, Origins, Scripts, Store, StoreError,
        User,
        maildir::{Maildir, Options, Template},
    },
};

use super::{
    MigrateError,
    along::{Account, Around, Found, Script},
    incoming::Incoming,
    source::{Entry, Folder, dovecot_id, noted_in},
};
use crate::{
    cli::{ExportFormat, Migrate, Pop3Ids},
    companion::{self, Companion},
};

/// A tree, which may be in use meanwhile.
pub(super) struct Tree {
    store: Maildir,
    user: User,
    ids: Pop3Ids,
    /// What an export has beside the tree, and where.
    companion: Option<Companion>,
    beside: PathBuf,
    /// Mailboxes that do not come, and why.
    pub(super) left_out: Vec<String>,
}

impl Tree {
    pub(super) fn open(path: &str, options: &Migrate) -> Result<Self, MigrateError> {
        if !Path::new(path).join("cur").is_dir() {
            let error = std::io::Error::new(std::io::ErrorKind::NotFound, "there is no Maildir");
            return Err(MigrateError::File { path: path.into(), error });
        }
        let user = User::new(&options.to).map_err(|_| MigrateError::Name(options.to.clone()))?;
        let mut setting = Options::default();
        // There are no annotations of a server here, and INBOX has its own in the root.
        setting.own = Some(Path::new(path).join("tmp"));
        let store = Maildir::new(Template::one(path), setting);
        let beside = companion::path(Path::new(path), ExportFormat::Maildir);
        let companion = Companion::open(&beside)
            .map_err(|error| MigrateError::File { path: beside.display().to_string(), error })?;
        let ids = options.pop3_ids.unwrap_or(Pop3Ids::Dovecot);
        Ok(Self { store, user, ids, companion, beside, left_out: Vec::new() })
    }

    pub(super) async fn account(&self) -> Result<Account, MigrateError> {
        let subscriptions = match self.store.folders() {
            Some(folders) => folders.subscriptions(&self.user).await.map_err(MigrateError::Read)?,
            None => Vec::new(),
        };
        let scripts = Found::new("Sieve scripts", self.scripts().await);
        Ok(Account { subscriptions, metadata: self.metadata(&Annotated::Server).await, scripts })
    }

    async fn scripts(&self) -> Result<Vec<Script>, StoreError> {
        let mut found = Vec::new();
        let Some(scripts) = self.store.scripts() else { return Ok(found) };
        for entry in scripts.all_scripts(&self.user).await? {
            let content = scripts.script(&self.user, &entry.name).await?;
            found.push(Script { name: entry.name, content, active: entry.active });
        }
        // Pigeonhole's, if it was written by hand.
        if !found.iter().any(|script| script.active)
            && let Some((name, content)) = scripts.active_script(&self.user).await?
        {
            found.push(Script { name, content, active: true });
        }
        Ok(found)
    }

    async fn metadata(&self, place: &Annotated) -> Found<(EntryName, bytes::Bytes)> {
        let Some(metadata) = self.store.metadata() else { return Found::default() };
        let all = metadata.annotations(place, &self.user).await;
        let all = all.map(|all| all.into_iter().map(|noted| (noted.entry, noted.value)).collect());
        Found::new("annotations", all)
    }

    pub(super) async fn around(&self, folder: &Folder) -> Result<Around, MigrateError> {
        let access = match self.store.acl() {
            Some(acl) => {
                Found::new("the access control list", acl.access_list(&self.user, &folder.name).await)
            }
            None => Found::default(),
        };
        let place = Annotated::Mailbox { owner: self.user.clone(), name: folder.name.clone() };
        Ok(Around { access, metadata: self.metadata(&place).await })
    }

    pub(super) fn annotations(
        &mut self,
        folder: &Folder,
        uids: &UidSet,
    ) -> Result<Vec<(Uid, Vec<Noted>)>, MigrateError> {
        noted_in(self.companion.as_mut(), &self.beside, folder, uids)
    }

    pub(super) async fn folders(&mut self) -> Result<Vec<Folder>, MigrateError> {
        let failed = MigrateError::Read;
        let unnamed = self.store.unnamed(&self.user).await.map_err(failed)?;
        let why = "does not come: what it is called is no name of a mailbox (modified UTF-7)";
        self.left_out = unnamed.into_iter().map(|name| format!("the directory {name} {why}")).collect();
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
                view: false,
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
            likeness: 0,
            content: None,
        });
        Ok(entries.collect())
    }

    pub(super) async fn body(
        &self,
        folder: &Folder,
        entry: &Entry,
        upload: &mut Incoming,
    ) -> Result<(), MigrateError> {
        let failed = MigrateError::Read;
        let snapshot = self.store.open(&self.user, &folder.name).await.map_err(failed)?;
        let mailbox = MailboxRef::new(self.user.clone(), folder.name.clone(), &snapshot);
        let Some(message) = snapshot.message(entry.uid).map(|message| mailbox.message(message)) else {
            return Err(MigrateError::Read(StoreError::NotFound));
        };
        let mut done = 0;
        while done < message.size {
            let octets = self.store.read(&message, done..message.size).await.map_err(failed)?;
            if done == 0
                && let Some(how) = compression(&octets)
            {
                return Err(MigrateError::Compressed { mailbox: folder.name.clone(), uid: entry.uid, how });
            }
            done += octets.len() as u64;
            upload.write(octets).await?;
        }
        Ok(())
    }
}

/// How a file is compressed that should be a message: no header begins so.
fn compression(octets: &[u8]) -> Option<&'static str> {
    const BEGINNINGS: [(&[u8], &str); 5] = [
        (b"\x1f\x8b", "gzip"),
        (b"BZh", "bzip2"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"Dovecot-LZ4", "lz4"),
    ];
    BEGINNINGS.iter().find(|(beginning, _)| octets.starts_with(beginning)).map(|(_, how)| *how)
}
