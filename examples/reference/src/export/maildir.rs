//! Into a Maildir++ tree, as Dovecot has it: UIDs, flags, keywords and dates stay.

use std::path::Path;

use bytes::Bytes;
use mailwright::{
    mail_model::{Flag, FlagSet, MailboxName},
    mailstore::{
        self, Acl, AclChange, AclEntry, Annotated, CommitError, EntryName, Folders, Import, Message,
        Metadata, Rights, ScriptLimits, Scripts, Store, StoreError, User, Write, block_on,
        maildir::{Maildir, Options, Template},
    },
};

use super::{
    Export, Source,
    along::{Account, Script},
    text,
};

/// As many keywords as there are letters for in the names of a mailbox's files.
const KEYWORDS: usize = 26;

/// The tree.
pub(super) struct Target {
    store: Maildir,
    user: User,
}

impl Target {
    pub(super) fn new(directory: &Path, user: &User) -> Self {
        let mut options = Options::default();
        // Nobody else looks on, and large messages wait where the others go.
        (options.inotify, options.spool) = (false, directory.join("tmp"));
        options.own = Some(directory.join("tmp"));
        let store = Maildir::new(Template::one(directory.display().to_string()), options);
        Self { store, user: user.clone() }
    }

    /// Where Pigeonhole and a server of ours look for it.
    pub(super) fn account(&self, account: &Account, export: &mut Export<'_>) -> Result<(), String> {
        let user = &self.user;
        // INBOX comes first: it makes the tree.
        block_on(self.store.open(user, &MailboxName::inbox())).map_err(text)?;
        if let Some(folders) = self.store.folders() {
            for name in &account.missing {
                if let Err(error) = block_on(folders.subscribe(user, name)) {
                    export.miss(format!("the subscription of {name}: {error}"));
                }
            }
        }
        self.annotate(&Annotated::Server, &account.metadata, export);
        let Some(scripts) = self.store.scripts() else { return Ok(()) };
        for Script { name, content, active } in &account.scripts {
            let put = async {
                scripts
                    .put_script(user, name, content.clone(), ScriptLimits::new(u64::MAX, u64::MAX))
                    .await?;
                if *active { scripts.activate_script(user, Some(name)).await } else { Ok(()) }
            };
            match block_on(put) {
                Ok(()) => export.done.along.scripts += 1,
                Err(error) => export.miss(format!("the Sieve script {name}: {error}")),
            }
        }
        Ok(())
    }

    fn annotate(&self, place: &Annotated, all: &[(EntryName, Bytes)], export: &mut Export<'_>) {
        let Some(metadata) = self.store.metadata() else { return };
        for (entry, value) in all {
            let change = [(entry.clone(), Some(value.clone()))];
            match block_on(metadata.annotate(place, &self.user, &change)) {
                Ok(()) => export.done.along.metadata += 1,
                Err(error) => export.miss(format!("the annotation {entry}: {error}")),
            }
        }
    }

    /// What is around the messages of a mailbox.
    fn around(&self, source: &Source<'_>, export: &mut Export<'_>) {
        let (user, name) = (&self.user, &source.entry.name);
        let place = Annotated::Mailbox { owner: user.clone(), name: name.clone() };
        self.annotate(&place, &source.metadata, export);
        let Some(acl) = self.store.acl() else { return };
        // It may have the list of the mailbox above it already.
        let inherited = block_on(acl.access_list(user, name)).unwrap_or_default();
        for entry in inherited {
            if !source.access.iter().any(|wanted| wanted.identifier == entry.identifier) {
                let nothing = AclChange::Replace(Rights::NONE);
                if let Err(error) = block_on(acl.change_access(user, name, &entry.identifier, nothing)) {
                    export.miss(format!("{name} without rights of {}: {error}", entry.identifier));
                }
            }
        }
        for AclEntry { identifier, rights, .. } in &source.access {
            match block_on(acl.change_access(user, name, identifier, AclChange::Replace(*rights))) {
                Ok(()) => export.done.along.access += 1,
                Err(error) => export.miss(format!("rights of {identifier} in {name}: {error}")),
            }
        }
    }

    pub(super) fn mailbox(&self, source: &Source<'_>, export: &mut Export<'_>) -> Result<(), String> {
        let (user, name) = (&self.user, &source.entry.name);
        let nothing = || "a Maildir cannot be written".to_owned();
        let folders = self.store.folders().ok_or_else(nothing)?;
        match block_on(folders.create(user, name, source.entry.special_use)) {
            Ok(_) | Err(StoreError::Exists) => {}
            Err(error @ StoreError::Invalid(_)) => {
                export.miss(format!("{name}: {error}"));
                return Ok(());
            }
            Err(error) => return Err(text(error)),
        }
        if source.subscribed {
            block_on(folders.subscribe(user, name)).map_err(text)?;
        }
        self.around(source, export);
        let import = self.store.import().ok_or_else(nothing)?;
        let (validity, next) = (source.snapshot.uid_validity(), source.snapshot.uid_next());
        block_on(import.adopt(user, name, validity, next.filter(|_| source.snapshot.is_empty())))
            .map_err(text)?;
        let kept = self.keywords(source, export);
        for message in source.snapshot.messages() {
            match self.copy(source, message, &kept) {
                Ok(()) => export.count(message.size),
                Err(Failure::Read(error)) => export.miss(format!("UID {} in {name}: {error}", message.uid)),
                Err(Failure::Write(error)) => return Err(text(error)),
            }
        }
        block_on(import.adopt(user, name, validity, next)).map_err(text)
    }

    /// The flags that a mailbox of a Maildir has room for.
    fn keywords(&self, source: &Source<'_>, export: &mut Export<'_>) -> FlagSet {
        let all = source.snapshot.keywords();
        let dropped: Vec<String> = all.keywords().iter().skip(KEYWORDS).map(ToString::to_string).collect();
        if !dropped.is_empty() {
            let (name, dropped) = (&source.entry.name, dropped.join(", "));
            export.miss(format!("{name}: a Maildir has {KEYWORDS} keywords at most, so without {dropped}"));
        }
        all.keywords().iter().take(KEYWORDS).cloned().map(Flag::Keyword).collect()
    }

    fn copy(&self, source: &Source<'_>, message: &Message, kept: &FlagSet) -> Result<(), Failure> {
        let writer = self.store.writer().ok_or(Failure::Write(StoreError::Denied))?;
        let reference = source.mailbox.message(message);
        let mut upload = block_on(writer.begin(Some(message.size))).map_err(Failure::Write)?;
        let mut place = 0;
        while place < message.size {
            let octets = source.read(&reference, place).map_err(Failure::Read)?;
            place += octets.len() as u64;
            block_on(upload.write(octets)).map_err(Failure::Write)?;
        }
        let flags = message.flags.iter();
        let flags = flags.filter(|flag| !matches!(flag, Flag::Keyword(_)) || kept.contains(flag)).collect();
        let (user, name) = (self.user.clone(), source.entry.name.clone());
        let mut target =
            mailstore::Target::new(user, name, message.internal_date).with_uid(message.uid).with_flags(flags);
        if let Some(saved) = message.saved() {
            target = target.with_saved(saved);
        }
        target.unique_id = source.unique_ids.get(&message.uid).cloned();
        block_on(upload.commit(&[target])).map_err(|CommitError { error, .. }| Failure::Write(error))?;
        Ok(())
    }
}

/// Why a message is not there: it alone cannot be read, or nothing can be written.
enum Failure {
    Read(StoreError),
    Write(StoreError),
}
