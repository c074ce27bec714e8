//! All mail of a user, written as other programs read it: a Maildir or mbox files. `migrate` reads both back.

mod along;
mod maildir;
mod mbox;

use std::{
    collections::HashMap,
    fmt::Display,
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use mailwright::mail_model::Uid;
use mailwright::mailstore::{
    AclEntry, AnyStore, EntryName, Folders, Mailbox, MailboxRef, MessageRef, Origins, Quota, Snapshot, Store,
    StoreError, User, block_on,
};
use serde::{Deserialize, Serialize};

use crate::{
    cli::ExportFormat,
    companion::{self, Along, Writer},
    life::Life,
};

/// How much of what could not be exported is told.
const TOLD: usize = 1_000;

/// What an export did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exported {
    pub(crate) mailboxes: u64,
    pub(crate) messages: u64,
    pub(crate) octets: u64,
    /// What went along with the messages.
    #[serde(default)]
    pub(crate) along: Along,
    /// What no export has.
    #[serde(default)]
    pub(crate) left: Vec<String>,
    /// What could not be exported, and why.
    pub(crate) missing: Vec<String>,
}

/// A mailbox as it is at one moment.
struct Source<'a> {
    store: &'a AnyStore,
    mailbox: MailboxRef,
    snapshot: &'a Snapshot,
    entry: &'a Mailbox,
    subscribed: bool,
    access: Vec<AclEntry>,
    metadata: Vec<(EntryName, Bytes)>,
    /// What POP3 clients know messages by, where they came with that.
    unique_ids: HashMap<Uid, String>,
}

/// An export under way.
struct Export<'a> {
    done: Exported,
    companion: Writer,
    tell: &'a mut dyn FnMut(u64, u64),
}

/// Writes all mail of a user into a directory, which must not be there or be empty. Blocks; tells now and then how many messages and
/// octets there are.
pub(crate) fn export(
    life: &Life,
    name: &str,
    directory: &Path,
    format: ExportFormat,
    tell: &mut dyn FnMut(u64, u64),
) -> Result<Exported, String> {
    let user = User::new(name).map_err(text)?;
    if !is_known(life, &user) {
        return Err(format!("there is neither an account nor mail of {name}"));
    }
    prepare(directory)?;
    let companion = Writer::new(companion::path(directory, format));
    let mut export = Export { done: Exported::default(), companion, tell };
    let store = &life.store;
    let subscribed = match store.folders() {
        Some(folders) => block_on(folders.subscriptions(&user)).map_err(text)?,
        None => Vec::new(),
    };
    let target = maildir::Target::new(directory, &user);
    let mut hidden = 0;
    let mailboxes = block_on(store.mailboxes(&user)).map_err(text)?;
    let account = export.account(store, &user, &subscribed, &mailboxes);
    match format {
        ExportFormat::Maildir => target.account(&account, &mut export)?,
        ExportFormat::Mbox => mbox::account(&account, &mut export)?,
    }
    for entry in mailboxes {
        let snapshot = match block_on(store.open(&user, &entry.name)) {
            Ok(snapshot) => snapshot,
            // Deleted meanwhile.
            Err(StoreError::NotFound) => continue,
            Err(error) => {
                export.miss(format!("{}: {error}", entry.name));
                continue;
            }
        };
        let mailbox = MailboxRef::new(user.clone(), entry.name.clone(), &snapshot);
        let subscribed = subscribed.contains(&entry.name);
        let unique_ids = store.origins().map(|origins| block_on(origins.unique_ids(&mailbox)));
        let access = export.access(store, &user, &entry.name);
        let source = Source {
            store,
            snapshot: &snapshot,
            entry: &entry,
            subscribed,
            access,
            metadata: export.metadata(store, &user, Some(&entry.name)),
            unique_ids: unique_ids.and_then(Result::ok).unwrap_or_default().into_iter().collect(),
            mailbox,
        };
        match format {
            ExportFormat::Maildir => target.mailbox(&source, &mut export)?,
            ExportFormat::Mbox => mbox::mailbox(directory, &source, &mut export)?,
        }
        export.notes(&source, format)?;
        // Nobody else has had a way to note anything there.
        if !source.access.is_empty() {
            hidden += along::of_others(&source, &life.directory.users());
        }
        export.done.mailboxes += 1;
    }
    if store.keeps_object_ids() && export.done.messages > 0 {
        let count = export.done.messages;
        export.done.left.push(format!("object ids and thread ids of {count} messages, which get others"));
    }
    if hidden > 0 {
        export.done.left.push(format!("{hidden} private annotations of others, which are not the user's"));
    }
    export.companion.finish()?;
    Ok(export.done)
}

/// Whether there is such an account, was one, or is mail of somebody who is found elsewhere. Asking a store for the mail of
/// somebody gives them an INBOX.
fn is_known(life: &Life, user: &User) -> bool {
    life.directory.users().contains(user)
        || life.directory.removed().iter().any(|entry| entry.name == user.as_str())
        || life.store.quota().is_some_and(|quota| {
            block_on(quota.quotas()).is_ok_and(|all| all.iter().any(|status| status.user == *user))
        })
}

/// Makes the directory, for its owner alone.
fn prepare(directory: &Path) -> Result<(), String> {
    let wrong = |error: std::io::Error| format!("{}: {error}", directory.display());
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(wrong)?;
    match fs::read_dir(directory).map_err(wrong)?.next() {
        None => Ok(()),
        Some(_) => Err(format!("{} is not empty", directory.display())),
    }
}

impl Export<'_> {
    fn miss(&mut self, what: String) {
        match self.done.missing.len() {
            0..TOLD => self.done.missing.push(what),
            TOLD => self.done.missing.push("and more".into()),
            _ => {}
        }
    }

    /// A message was written.
    fn count(&mut self, octets: u64) {
        self.done.messages += 1;
        self.done.octets += octets;
        (self.tell)(self.done.messages, self.done.octets);
    }
}

impl Source<'_> {
    /// The octets of a message that begin at `start`: some of them.
    fn read(&self, message: &MessageRef, start: u64) -> Result<Bytes, StoreError> {
        let octets = block_on(self.store.read(message, start..message.size))?;
        if octets.is_empty() { Err(StoreError::Corrupt(format!("UID {}", message.uid))) } else { Ok(octets) }
    }
}

fn text(error: impl Display) -> String {
    error.to_string()
}

fn failed(path: PathBuf) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{}: {error}", path.display())
}
