//! Where mail comes from: one of three, asked for the same things.

use std::path::Path;

use mailwright::{
    line_proto::Secret,
    mail_model::{DateTime, FlagSet, MailboxName, SpecialUse, Uid, UidSet, UidValidity},
    mailstore::Noted,
};

use super::{
    MigrateError,
    along::{Account, Around},
    brought::Content,
    imap::Imap,
    incoming::Incoming,
    mbox::Mboxes,
    tree::Tree,
};
use crate::{
    cli::Migrate,
    companion::{Companion, Message, Note},
};

/// Where mail comes from.
pub(super) enum Source {
    Tree(Tree),
    Mbox(Mboxes),
    Imap(Box<Imap>),
}

/// A mailbox there.
pub(super) struct Folder {
    /// Its name here.
    pub(super) name: MailboxName,
    /// What it is called there.
    pub(super) original: String,
    pub(super) special_use: Option<SpecialUse>,
    pub(super) subscribed: bool,
    /// UIDVALIDITY and UIDNEXT, if it has any.
    pub(super) numbers: Option<(UidValidity, Option<Uid>)>,
    /// Whether it shows the messages of other mailboxes too: then only those that are nowhere else come.
    pub(super) view: bool,
}

/// A message there.
pub(super) struct Entry {
    pub(super) uid: Uid,
    pub(super) flags: FlagSet,
    pub(super) date: DateTime,
    pub(super) size: u64,
    pub(super) unique_id: Option<String>,
    /// The same for messages that are the same, if there is a view.
    pub(super) likeness: u64,
    /// All of it, where that is at hand: of a source that numbers its messages anew each time.
    pub(super) content: Option<Content>,
}

impl Source {
    pub(super) async fn open(options: &Migrate, password: Option<Secret>) -> Result<Self, MigrateError> {
        match options.from.split_once(':') {
            Some(("maildir", path)) => Tree::open(path, options).map(Self::Tree),
            Some(("mbox", path)) => Mboxes::open(path).map(Self::Mbox),
            Some((scheme @ ("imap" | "imaps"), place)) => {
                let imap =
                    Imap::open(scheme == "imaps", place, options, password.unwrap_or_default()).await?;
                Ok(Self::Imap(Box::new(imap)))
            }
            _ => Err(MigrateError::Source(options.from.clone())),
        }
    }

    /// The mailboxes.
    pub(super) async fn folders(&mut self) -> Result<Vec<Folder>, MigrateError> {
        match self {
            Self::Tree(tree) => tree.folders().await,
            Self::Mbox(mboxes) => mboxes.folders(),
            Self::Imap(imap) => imap.folders().await,
        }
    }

    /// The mailboxes that are not among these although the account has them, and why.
    pub(super) fn left_out(&mut self) -> Vec<String> {
        match self {
            Self::Imap(imap) => std::mem::take(&mut imap.left_out),
            Self::Tree(tree) => std::mem::take(&mut tree.left_out),
            Self::Mbox(_) => Vec::new(),
        }
    }

    /// The mailboxes that show messages of the others, which is no loss.
    pub(super) fn views(&mut self) -> Vec<String> {
        match self {
            Self::Imap(imap) => std::mem::take(&mut imap.views),
            Self::Tree(_) | Self::Mbox(_) => Vec::new(),
        }
    }

    /// The messages of a mailbox, ascending.
    pub(super) async fn index(&mut self, folder: &Folder) -> Result<Vec<Entry>, MigrateError> {
        match self {
            Self::Tree(tree) => tree.index(folder).await,
            Self::Mbox(mboxes) => mboxes.index(folder),
            Self::Imap(imap) => imap.index(folder).await,
        }
    }

    /// What there is of the account beside its mailboxes.
    pub(super) async fn account(&mut self) -> Result<Account, MigrateError> {
        match self {
            Self::Tree(tree) => tree.account().await,
            Self::Mbox(mboxes) => Ok(mboxes.account()),
            Self::Imap(imap) => imap.account().await,
        }
    }

    /// What is around the messages of a mailbox.
    pub(super) async fn around(&mut self, folder: &Folder) -> Result<Around, MigrateError> {
        match self {
            Self::Tree(tree) => tree.around(folder).await,
            Self::Mbox(mboxes) => Ok(mboxes.around(folder)),
            Self::Imap(imap) => imap.around(folder).await,
        }
    }

    /// Writes the octets of a message; ascending within a mailbox, which was the last to be listed.
    pub(super) async fn body(
        &mut self,
        folder: &Folder,
        entry: &Entry,
        upload: &mut Incoming,
    ) -> Result<(), MigrateError> {
        match self {
            Self::Tree(tree) => tree.body(folder, entry, upload).await,
            Self::Mbox(mboxes) => mboxes.body(folder, entry, upload).await,
            Self::Imap(imap) => imap.body(folder, entry, upload).await,
        }
    }

    /// What is noted about messages of the mailbox that was the last to be listed, of those about which something is.
    pub(super) async fn annotations(
        &mut self,
        folder: &Folder,
        uids: &UidSet,
    ) -> Result<Vec<(Uid, Vec<Noted>)>, MigrateError> {
        match self {
            Self::Tree(tree) => tree.annotations(folder, uids),
            Self::Mbox(mboxes) => mboxes.annotations(folder, uids),
            Self::Imap(imap) => imap.annotations(uids).await,
        }
    }
}

/// What the file of an export tells of messages.
pub(super) fn noted_in(
    companion: Option<&mut Companion>,
    path: &Path,
    folder: &Folder,
    uids: &UidSet,
) -> Result<Vec<(Uid, Vec<Noted>)>, MigrateError> {
    let Some(companion) = companion else { return Ok(Vec::new()) };
    let failed = |error| MigrateError::File { path: path.display().to_string(), error };
    let messages = companion.messages(&folder.name, uids).map_err(failed)?;
    let noted = |message: Message| {
        let noted: Vec<_> = message.annotations.iter().filter_map(Note::noted).collect();
        Uid::new(message.uid).filter(|_| !noted.is_empty()).map(|uid| (uid, noted))
    };
    Ok(messages.into_iter().filter_map(noted).collect())
}

/// What Dovecot tells POP3 clients a message is called, unless it is configured otherwise.
pub(super) fn dovecot_id(uid: Uid, validity: UidValidity) -> String {
    format!("{:08x}{:08x}", uid.get(), validity.get())
}
