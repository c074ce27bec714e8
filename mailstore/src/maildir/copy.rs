//! Messages are copied and moved: their files are linked.
//!
//! One mailbox is locked at a time, so that no two of these wait for each other. While the source is locked its files are linked into `tmp`
//! of the target; from then on it does not matter what becomes of them, and they are put in their places while the target is locked.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mailwright_mail_model::{FlagSet, Uid, UidSet, UidValidity};

use super::change::with_file;
use super::folder::{Folder, Locked, Setting, sync_directory};
use super::journal::{Change, Known};
use super::keywords::Excess;
use super::uid_list::Line;
use super::uid_validity::of_the_time;
use super::{failed, file_name};
use crate::{Copied, Expunge, Result};

/// A message to copy.
pub(super) struct Original {
    pub(super) uid: Uid,
    pub(super) base: Box<str>,
    /// A file in `tmp` of the target.
    pub(super) path: PathBuf,
    pub(super) flags: FlagSet,
    /// Its letters without keywords, which are others elsewhere.
    pub(super) known: Known,
    /// With the identity that copies share.
    pub(super) fields: Box<str>,
}

/// Another name for a file, or a copy of it, in `tmp` of a mailbox.
pub(super) fn draft_of(path: &Path, draft: &Path) -> std::io::Result<()> {
    match fs::hard_link(path, draft) {
        Err(error) if error.kind() != ErrorKind::NotFound => copy_file(path, draft),
        // Another file system, or one without links.
        linked => linked,
    }
}

impl Locked<'_> {
    /// Links these messages, as far as they are there, into a folder of drafts.
    pub(super) fn stage(
        &self,
        validity: UidValidity,
        uids: &UidSet,
        drafts: &Path,
        staged: &mut Placed,
    ) -> Result<Vec<Original>> {
        let (path, host) = (&*self.folder.path, &*self.setting.host);
        self.with_valid(validity, |state| {
            let (snapshot, saved) = (Arc::clone(&state.snapshot), of_the_time());
            let mut originals = Vec::new();
            for message in snapshot.among(uids) {
                let uid = message.uid;
                let Some(known) = state.journal.messages.get(&uid).copied() else { continue };
                let draft = drafts.join(file_name::unique(host));
                if with_file(state, path, uid, |file, _| draft_of(file, &draft))?.is_none() {
                    continue;
                }
                staged.0.push(draft.clone());
                let Some(entry) = state.entries.get(&uid) else { continue };
                let guid = format!("G{}", entry.guid());
                let fields = entry.fields.split(' ');
                let fields = fields.filter(|field| !field.is_empty() && !field.starts_with(['G', 'T']));
                let fields = fields.chain([&*guid]).collect::<Vec<_>>().join(" ");
                originals.push(Original {
                    uid,
                    base: entry.base.clone(),
                    path: draft,
                    flags: message.flags.clone(),
                    known: Known { letters: known.letters.with(0, []), saved, ..known },
                    fields: fields.into(),
                });
            }
            Ok(originals)
        })
    }

    /// Adds messages: all or none.
    pub(super) fn link(&self, originals: &[Original]) -> Result<(UidValidity, Vec<(Uid, Uid)>)> {
        let mut placed = Placed::default();
        let linked = self.with(|state| {
            let (path, modseq) = (&*self.folder.path, state.journal.next_modseq()?);
            let (mut lines, mut changes, mut pairs) = (Vec::new(), Vec::new(), Vec::new());
            for original in originals {
                let known = original.known;
                let letters = state.keywords.letters(
                    path,
                    &self.setting.host,
                    &original.flags,
                    known.letters,
                    Excess::LeftOut,
                )?;
                let sizes = original.base.get(file_name::without_sizes(&original.base).len()..);
                let base = format!("{}{}", file_name::unique(&self.setting.host), sizes.unwrap_or_default());
                let info = letters.to_info();
                let target = path.join("cur").join(format!("{base}{info}"));
                fs::rename(&original.path, &target).map_err(|error| failed(&target, &error))?;
                placed.0.push(target);
                let uid = state.list.next_uid()?;
                lines.push(Line { uid, fields: original.fields.clone(), base: base.into() });
                changes.push(Change::Added(uid, Known { letters, modseq, ..known }));
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

/// Copies a file and its time, durably.
fn copy_file(path: &Path, draft: &Path) -> std::io::Result<()> {
    let copied = (|| {
        let mut from = fs::File::open(path)?;
        let mut to = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
        std::io::copy(&mut from, &mut to)?;
        to.set_modified(from.metadata()?.modified()?)?;
        to.sync_all()
    })();
    if copied.is_err() {
        let _removed = fs::remove_file(draft);
    }
    copied
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

/// Copies messages.
pub(super) fn copy(
    source: &Arc<Folder>,
    target: &Arc<Folder>,
    setting: &Setting,
    validity: UidValidity,
    uids: &UidSet,
) -> Result<Copied> {
    let mut staged = Placed::default();
    let drafts = target.path.join("tmp");
    let originals = source.lock(setting)?.stage(validity, uids, &drafts, &mut staged)?;
    let (uid_validity, pairs) = target.lock(setting)?.link(&originals)?;
    staged.0.clear();
    super::cache::copy(source, target, (validity, uid_validity), pairs.iter().copied());
    let (from, to) = pairs.into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
    let highest = source.snapshot(setting)?.highest_modseq();
    Ok(Copied::new(uid_validity, from.into_iter().collect(), to.into_iter().collect(), highest))
}

/// Moves messages.
pub(super) fn move_messages(
    source: &Arc<Folder>,
    target: &Arc<Folder>,
    setting: &Setting,
    validity: UidValidity,
    uids: &UidSet,
) -> Result<Copied> {
    let copied = copy(source, target, setting, validity, uids)?;
    leave(source, target, setting, validity, copied)
}

/// Removes what was copied where it was. What others removed or moved in the meantime was not moved from here, and its copy goes again: of two
/// who move a message at once, one does.
pub(super) fn leave(
    source: &Arc<Folder>,
    target: &Arc<Folder>,
    setting: &Setting,
    validity: UidValidity,
    mut copied: Copied,
) -> Result<Copied> {
    let which = Expunge::Exactly(copied.source.clone());
    let (expunged, ours) = source.lock(setting)?.expunge(validity, &which, None)?;
    copied.highest_modseq = expunged.highest_modseq;
    let lost = copied.source.difference(&ours);
    if !lost.is_empty() {
        let pairs = copied.source.iter().zip(copied.target.iter());
        let superfluous = pairs.filter(|(from, _)| lost.contains(*from)).map(|(_, to)| to).collect();
        copied.target = copied.target.difference(&superfluous);
        copied.source = ours;
        target.lock(setting)?.expunge(copied.uid_validity, &Expunge::Exactly(superfluous), None)?;
    }
    Ok(copied)
}
