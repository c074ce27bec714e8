//! Flags change, messages go, and are copied: all of it is renaming, removing and linking files.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mailwright_mail_model::{FlagSet, Uid, UidSet, UidValidity};

use super::expunged::Keep;
use super::folder::{Folder, Locked, sync_directory};
use super::journal::Change;
use super::keywords::Excess;
use super::state::{State, scan};
use super::uid_list::Line;
use super::{failed, file_name};
use crate::{Copied, Expunge, Expunged, FlagChange, FlagsStored, Result, StoreError};

/// How often others may rename a file while we do.
const ATTEMPTS: usize = 4;

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
        for _ in 0..ATTEMPTS {
            let Some(entry) = state.entries.get_mut(&uid) else { return Ok(None) };
            let Some(found) = entry.file.clone() else { return Ok(None) };
            let info = letters.to_info();
            let target = path.join("cur").join(format!("{}{info}", entry.base));
            match fs::rename(entry.path(path, &found), &target) {
                Ok(()) => {
                    entry.file = Some(super::state::Found { is_new: false, info: info.into() });
                    return Ok(Some(Change::Letters(uid, letters)));
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    // Somebody who does not know our locks was faster.
                    entry.file = scan(path)?.remove(&entry.base);
                    state.distrust();
                }
                Err(error) => return Err(failed(&target, &error)),
            }
        }
        Err(StoreError::Unavailable(
            "a message was expunged, or renamed again and again, while it was copied".into(),
        ))
    }

    /// Removes messages, or keeps them elsewhere.
    pub(super) fn expunge(
        &self,
        validity: UidValidity,
        which: &Expunge,
        keep: Option<&Keep>,
    ) -> Result<Expunged> {
        let expunged = self.with_valid(validity, |state| {
            let snapshot = Arc::clone(&state.snapshot);
            let uids = which.select(&snapshot);
            let mut gone = UidSet::new();
            let mut failure = None;
            for uid in uids.iter() {
                match self.remove(state, uid, keep) {
                    Ok(()) => drop(gone.insert(uid)),
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
        Ok(expunged)
    }

    fn remove(&self, state: &mut State, uid: Uid, keep: Option<&Keep>) -> Result<()> {
        let path = &*self.folder.path;
        let (message, known) =
            (state.snapshot.message(uid).cloned(), state.journal.messages.get(&uid).copied());
        for _ in 0..ATTEMPTS {
            let Some(entry) = state.entries.get_mut(&uid) else { return Ok(()) };
            let Some(found) = entry.file.take() else { return Ok(()) };
            let file = entry.path(path, &found);
            let removed = match (keep, &message, &known) {
                (Some(keep), Some(message), Some(known)) => keep.take(message, entry, known, &file),
                _ => fs::remove_file(&file),
            };
            match removed {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    entry.file = scan(path)?.remove(&entry.base);
                    state.distrust();
                }
                Err(error) => {
                    entry.file = Some(found);
                    return Err(failed(path, &error));
                }
            }
        }
        Err(StoreError::Unavailable(
            "a message was expunged, or renamed again and again, while it was copied".into(),
        ))
    }

    /// Makes what happened to the names of files last.
    fn flush(&self) -> Result<()> {
        sync_directory(&self.folder.path.join("cur"))?;
        sync_directory(&self.folder.path.join("new"))
    }

    /// Adds links to messages of another mailbox, or of none: all or none.
    pub(super) fn link(
        &self,
        source: Option<&Folder>,
        originals: Vec<Original>,
    ) -> Result<(UidValidity, Vec<(Uid, Uid)>)> {
        let mut placed = Placed::default();
        let linked = self.with(|state| {
            let (path, modseq) = (&*self.folder.path, state.journal.next_modseq()?);
            let (mut lines, mut changes, mut pairs) = (Vec::new(), Vec::new(), Vec::new());
            for original in &originals {
                let known = original.known;
                let (host, flags) = (&self.setting.host, &original.flags);
                let letters = state.keywords.letters(path, host, flags, known.letters, Excess::LeftOut)?;
                let sizes = original.base.get(file_name::without_sizes(&original.base).len()..);
                let base = format!("{}{}", file_name::unique(&self.setting.host), sizes.unwrap_or_default());
                let info = letters.to_info();
                let target = path.join("cur").join(format!("{base}{info}"));
                original.link(source, &target)?;
                placed.0.push(target);
                let uid = state.list.next_uid()?;
                lines.push(Line { uid, fields: original.fields.clone(), base: base.into() });
                changes.push(Change::Added(uid, super::journal::Known { letters, modseq, ..known }));
                pairs.push((original.uid, uid));
            }
            state.list.append(&lines)?;
            for line in lines {
                let info = letters_of(&changes, line.uid).into();
                let file = Some(super::state::Found { is_new: false, info });
                state
                    .entries
                    .insert(line.uid, super::state::Entry { base: line.base, fields: line.fields, file });
            }
            state.commit(modseq, changes);
            state.settle(path);
            let list = state.list.handle()?;
            Ok((state.list.header.validity, pairs, list))
        });
        let (validity, pairs, list) = linked?;
        if !pairs.is_empty() {
            list.sync_data().map_err(|error| failed(&self.folder.path, &error))?;
            sync_directory(&self.folder.path.join("cur"))?;
            self.folder.changed.raise();
        }
        placed.0.clear();
        Ok((validity, pairs))
    }
}

fn letters_of(changes: &[Change], uid: Uid) -> String {
    let letters = changes.iter().find_map(|change| match change {
        Change::Added(added, known) if *added == uid => Some(known.letters),
        _ => None,
    });
    letters.unwrap_or_default().to_info()
}

/// A message to copy.
pub(super) struct Original {
    pub(super) uid: Uid,
    pub(super) base: Box<str>,
    pub(super) path: PathBuf,
    pub(super) flags: FlagSet,
    /// Its letters without keywords, which are others elsewhere.
    pub(super) known: super::journal::Known,
    /// With the identity that copies share.
    pub(super) fields: Box<str>,
}

impl Original {
    /// Links the file, wherever it is by now.
    fn link(&self, source: Option<&Folder>, target: &Path) -> Result<()> {
        let mut path = self.path.clone();
        for _ in 0..ATTEMPTS {
            match fs::hard_link(&path, target) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let source = source.ok_or(StoreError::NotFound)?;
                    // A file that is renamed at this moment may be in no listing, under either name.
                    if let Some(found) = scan(&source.path)?.remove(&self.base) {
                        let part = if found.is_new { "new" } else { "cur" };
                        path = source.path.join(part).join(format!("{}{}", self.base, found.info));
                    }
                }
                // Another file system, or one without links.
                Err(_) => return copy_file(&path, target),
            }
        }
        Err(StoreError::Unavailable(
            "a message was expunged, or renamed again and again, while it was copied".into(),
        ))
    }
}

/// Copies a file and its time, durably and whole, by way of `tmp`.
fn copy_file(path: &Path, target: &Path) -> Result<()> {
    let error = |error| failed(target, &error);
    let name = target.file_name().unwrap_or_default();
    let folder = target.parent().and_then(Path::parent).unwrap_or_else(|| Path::new(""));
    let draft = folder.join("tmp").join(name);
    let copied = (|| {
        let mut from = fs::File::open(path)?;
        use std::os::unix::fs::OpenOptionsExt;
        let mut to = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        std::io::copy(&mut from, &mut to)?;
        to.set_modified(from.metadata()?.modified()?)?;
        to.sync_all()?;
        fs::rename(&draft, target)
    })();
    if copied.is_err() {
        let _removed = fs::remove_file(&draft);
    }
    copied.map_err(error)
}

/// Files that were put in their places; dropped with any in it, they are taken away again.
#[derive(Default)]
pub(super) struct Placed(pub(super) Vec<PathBuf>);

impl Drop for Placed {
    fn drop(&mut self) {
        for path in &self.0 {
            let _removed = fs::remove_file(path);
        }
    }
}

/// Copies messages. One mailbox is locked at a time, so that no two of these wait for each other.
pub(super) fn copy(
    source: &Arc<Folder>,
    target: &Arc<Folder>,
    setting: &super::folder::Setting,
    validity: UidValidity,
    uids: &UidSet,
) -> Result<Copied> {
    let originals = source.lock(setting)?.with_valid(validity, |state| {
        let (snapshot, saved) = (Arc::clone(&state.snapshot), super::uid_validity::of_the_time());
        let originals = snapshot.among(uids).filter_map(|message| {
            let entry = state.entries.get(&message.uid)?;
            let known = *state.journal.messages.get(&message.uid)?;
            let mut fields: Vec<_> = entry
                .fields
                .split(' ')
                .filter(|field| !field.is_empty() && !field.starts_with(['G', 'T']))
                .collect();
            let guid = format!("G{}", entry.guid());
            fields.push(&guid);
            Some(Original {
                uid: message.uid,
                base: entry.base.clone(),
                path: entry.path(&source.path, entry.file.as_ref()?),
                flags: message.flags.clone(),
                known: super::journal::Known { letters: known.letters.with(0, []), saved, ..known },
                fields: fields.join(" ").into(),
            })
        });
        Ok(originals.collect::<Vec<_>>())
    })?;
    let (uid_validity, pairs) = target.lock(setting)?.link(Some(source), originals)?;
    super::cache::copy(source, target, (validity, uid_validity), pairs.iter().copied());
    let (from, to) = pairs.into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
    let highest = source.snapshot(setting)?.highest_modseq();
    Ok(Copied::new(uid_validity, from.into_iter().collect(), to.into_iter().collect(), highest))
}
