//! Flags change, and messages go: all of it is renaming and removing files.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use mailwright_mail_model::{FlagSet, Uid, UidSet, UidValidity};

use super::expunged::Keep;
use super::failed;
use super::folder::{Locked, sync_directory};
use super::journal::Change;
use super::keywords::Excess;
use super::scan::scan;
use super::state::{Found, State};
use crate::{Expunge, Expunged, FlagChange, FlagsStored, Result, StoreError};

/// How often others may rename a file while we do something with it. Those who know our locks do not; Dovecot and mail programs that
/// read Maildirs do, but hardly twice in the time of a look at the directory.
const ATTEMPTS: usize = 10;

impl Locked<'_> {
    /// As [`with`](Self::with), if the mailbox is still the one of this UIDVALIDITY.
    pub(super) fn with_valid<T>(
        &self,
        validity: UidValidity,
        work: impl FnOnce(&mut State) -> Result<T>,
    ) -> Result<T> {
        let same = self.with(|state| Ok(state.list.header.validity == validity))?;
        if same { self.with(work) } else { Err(StoreError::NotFound) }
    }

    pub(super) fn store_flags(
        &self,
        validity: UidValidity,
        uids: &UidSet,
        change: &FlagChange,
    ) -> Result<FlagsStored> {
        let mut changed = false;
        let stored = self.with_valid(validity, |state| {
            let (mut stored, mut changes) = (FlagsStored::default(), Vec::new());
            let modseq = state.journal.next_modseq()?;
            let before = Arc::clone(&state.snapshot);
            let mut failure = None;
            for message in before.among(uids) {
                if change.unchanged_since.is_some_and(|limit| message.modseq > limit) {
                    stored.modified.insert(message.uid);
                    continue;
                }
                let flags = change.apply(&message.flags);
                if flags == message.flags {
                    stored.messages.push((message.uid, flags, message.modseq));
                    continue;
                }
                match self.change_flags(state, message.uid, &flags) {
                    Ok(Some(change)) => {
                        changes.push(change);
                        stored.messages.push((message.uid, flags, modseq));
                    }
                    Ok(None) => {}
                    Err(error) => {
                        failure = Some(error);
                        break;
                    }
                }
            }
            if changes.is_empty() {
                return failure.map_or(Ok(stored), Err);
            }
            // What was renamed has changed, whatever became of the rest.
            changed = true;
            state.commit(modseq, changes);
            state.settle(&self.folder.path);
            failure.map_or(Ok(stored), Err)
        });
        self.folder.changed.raise();
        let stored = stored?;
        if changed {
            self.flush()?;
        }
        Ok(stored)
    }

    /// Gives a file the name that says these flags; `None` if it is gone.
    fn change_flags(&self, state: &mut State, uid: Uid, flags: &FlagSet) -> Result<Option<Change>> {
        let Some(known) = state.journal.messages.get(&uid).copied() else { return Ok(None) };
        let (path, host) = (&*self.folder.path, &*self.setting.host);
        let letters = state.keywords.letters(path, host, flags, known.letters, Excess::Refused)?;
        let renamed = with_file(state, path, uid, |file, base| {
            let info = letters.to_info();
            fs::rename(file, path.join("cur").join(format!("{base}{info}"))).map(|()| info)
        })?;
        let Some(info) = renamed else { return Ok(None) };
        if let Some(entry) = state.entries.get_mut(&uid) {
            entry.file = Some(Found { is_new: false, info: info.into() });
        }
        Ok(Some(Change::Letters(uid, letters)))
    }

    /// Removes messages, or keeps them elsewhere. Says as well which of those that are gone it was that removed them, and nobody else at the
    /// same time.
    pub(super) fn expunge(
        &self,
        validity: UidValidity,
        which: &Expunge,
        keep: Option<&Keep>,
    ) -> Result<(Expunged, UidSet)> {
        let mut ours = UidSet::new();
        let expunged = self.with_valid(validity, |state| {
            let snapshot = Arc::clone(&state.snapshot);
            let uids = which.select(&snapshot);
            let mut gone = UidSet::new();
            let mut failure = None;
            for uid in uids.iter() {
                match self.remove(state, uid, keep) {
                    Ok(removed) => {
                        gone.insert(uid);
                        if removed {
                            ours.insert(uid);
                        }
                    }
                    Err(error) => {
                        failure = Some(error);
                        break;
                    }
                }
            }
            if !gone.is_empty() {
                let modseq = state.journal.next_modseq()?;
                state.commit(modseq, vec![Change::Gone(gone.clone())]);
                state.settle(&self.folder.path);
            }
            match failure {
                Some(error) => Err(error),
                None => Ok(Expunged::new(gone, state.snapshot.highest_modseq())),
            }
        });
        self.folder.changed.raise();
        let expunged = expunged?;
        if !expunged.uids.is_empty() {
            // What is kept is there before it is gone where it was.
            keep.map_or(Ok(()), Keep::flush)?;
            self.flush()?;
        }
        Ok((expunged, ours))
    }

    /// Removes a file; says whether it was there.
    fn remove(&self, state: &mut State, uid: Uid, keep: Option<&Keep>) -> Result<bool> {
        let path = &*self.folder.path;
        let (message, known) =
            (state.snapshot.message(uid).cloned(), state.journal.messages.get(&uid).copied());
        let entry = state.entries.get(&uid).filter(|_| keep.is_some());
        let fields = entry.map(|entry| (entry.guid().to_owned(), entry.fields.clone()));
        let removed = with_file(state, path, uid, |file, _| match (keep, &message, &known, &fields) {
            (Some(keep), Some(message), Some(known), Some((guid, fields))) => {
                keep.take(message, (guid, fields), known, file)
            }
            _ => fs::remove_file(file),
        })?;
        if let Some(entry) = state.entries.get_mut(&uid) {
            entry.file = None;
        }
        Ok(removed.is_some())
    }

    /// Makes what happened to the names of files last.
    fn flush(&self) -> Result<()> {
        sync_directory(&self.folder.path.join("cur"))?;
        sync_directory(&self.folder.path.join("new"))
    }
}

/// Does something with the file of a message, which is told with its name without flags; `None` if it is gone.
///
/// Programs that do not know our locks may rename it at any moment: then it is looked for, and tried again. A file that is renamed while a
/// directory is read may be in no listing under either name, so that only one that two looks miss is gone.
pub(super) fn with_file<T>(
    state: &mut State,
    folder: &Path,
    uid: Uid,
    mut act: impl FnMut(&Path, &str) -> std::io::Result<T>,
) -> Result<Option<T>> {
    for _ in 0..ATTEMPTS {
        let Some(entry) = state.entries.get(&uid) else { return Ok(None) };
        let Some(found) = &entry.file else { return Ok(None) };
        let file = entry.path(folder, found);
        match act(&file, &entry.base) {
            Ok(done) => return Ok(Some(done)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let base = entry.base.clone();
                let mut files = scan(folder)?;
                if !files.contains_key(&base) {
                    files = scan(folder)?;
                }
                // Whoever renames one renames others too.
                for entry in state.entries.values_mut().filter(|entry| entry.file.is_some()) {
                    match files.get(&entry.base) {
                        Some(found) => entry.file = Some(found.clone()),
                        None if entry.base == base => entry.file = None,
                        None => {}
                    }
                }
                state.distrust();
            }
            Err(error) => return Err(failed(&file, &error)),
        }
    }
    Err(StoreError::Unavailable("other programs rename a message's file again and again".into()))
}
