//! From a Maildir++ tree, such as Dovecot's.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use mailwright::{
    mail_model::{MailboxName, MailboxNameError, Uid, UidSet},
    mailstore::{
        Acl, Annotated, EntryName, Folders, MailboxRef, MessageRef, Metadata, Noted, Origins, Scripts, Store,
        StoreError, User,
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
        self.left_out = unnamed
            .iter()
            .map(|name| format!("the directory {name} does not come: {}", why_unnamed(name)))
            .collect();
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

    /// A message that was listed.
    async fn find(&self, folder: &Folder, uid: Uid) -> Result<MessageRef, MigrateError> {
        for look in 0..MISSES {
            // A file that is moved from `new` to `cur` may be seen in neither.
            if look > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let snapshot = self.store.open(&self.user, &folder.name).await.map_err(MigrateError::Read)?;
            let mailbox = MailboxRef::new(self.user.clone(), folder.name.clone(), &snapshot);
            if let Some(message) = snapshot.message(uid) {
                return Ok(mailbox.message(message));
            }
        }
        Err(MigrateError::Gone)
    }

    pub(super) async fn body(
        &self,
        folder: &Folder,
        entry: &Entry,
        upload: &mut Incoming,
    ) -> Result<(), MigrateError> {
        let mut message = self.find(folder, entry.uid).await?;
        let (mut done, mut misses) = (0, 0);
        while done < message.size {
            let octets = match self.store.read(&message, done..message.size).await {
                Ok(octets) => octets,
                // Its file has another name since, which may not have been seen yet; or none any more.
                Err(StoreError::NotFound | StoreError::Unavailable(_)) if misses < MISSES => {
                    misses += 1;
                    message = self.find(folder, entry.uid).await?;
                    continue;
                }
                Err(StoreError::NotFound) => return Err(MigrateError::Gone),
                Err(error) => return Err(MigrateError::Read(error)),
            };
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

/// How often a message is looked for whose file is renamed meanwhile, or in a mailbox that changes as it is listed.
const MISSES: u32 = 3;

/// Why a directory of this name is no mailbox here.
fn why_unnamed(directory: &str) -> String {
    let name = directory.trim_start_matches('.').replace('.', "/");
    match MailboxName::from_utf7(name.as_bytes()) {
        Err(error @ MailboxNameError::TooDeep(_)) => error.to_string(),
        _ => "what it is called is no name of a mailbox (modified UTF-7)".into(),
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

#[cfg(test)]
mod tests {
    use std::fs;

    use mailwright::mailstore::{
        AnyStore,
        embedded::{self, Embedded},
    };

    use super::*;

    #[test]
    fn a_message_is_found_under_its_new_name_and_one_that_was_removed_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join("tree").join(name);
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(path(part)).unwrap();
        }
        for number in 1..=3 {
            fs::write(path(&format!("new/{number}.a")), format!("Subject: {number}\n\nx\n")).unwrap();
        }
        let store = Embedded::open(folder.path().join("data"), embedded::Options::default()).unwrap();
        let store = AnyStore::new(store);
        let options = Migrate {
            from: String::new(),
            to: "alice@example.org".into(),
            login: None,
            master: None,
            certificate: None,
            plaintext: false,
            pop3_ids: None,
            missing: false,
            dry_run: false,
            json: false,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut tree = Tree::open(path("").to_str().unwrap(), &options).unwrap();
            let folders = tree.folders().await.unwrap();
            let entries = tree.index(&folders[0]).await.unwrap();
            assert_eq!(entries.len(), 3);
            fs::rename(path("new/1.a"), path("cur/1.a:2,S")).unwrap();
            fs::remove_file(path("new/2.a")).unwrap();
            for (entry, there) in entries.iter().zip([true, false, true]) {
                let mut incoming = Incoming::begin(&store, None).await.unwrap();
                match tree.body(&folders[0], entry, &mut incoming).await {
                    Ok(()) => assert!(there),
                    Err(MigrateError::Gone) => assert!(!there),
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
}
