//! Into a Maildir++ tree, as Dovecot has it: UIDs, flags, keywords and dates stay.

use std::path::Path;

use mailwright::{
    mail_model::{Flag, FlagSet},
    mailstore::{
        self, CommitError, Folders, Import, Message, Store, StoreError, User, Write, block_on,
        maildir::{Maildir, Options, Template},
    },
};

use super::{Export, Source, text};

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
        let store = Maildir::new(Template::one(directory.display().to_string()), options);
        Self { store, user: user.clone() }
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
        block_on(upload.commit(&[target])).map_err(|CommitError { error, .. }| Failure::Write(error))?;
        Ok(())
    }
}

/// Why a message is not there: it alone cannot be read, or nothing can be written.
enum Failure {
    Read(StoreError),
    Write(StoreError),
}
