//! A message on its way in, and its delivery: written in `tmp`, flushed, moved to its place, and told to the list.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use mailwright_mail_model::{DateTime, Uid};

use super::copy::Placed;
use super::file_name::{self, Letters};
use super::folder::{Folder, Locked, sync_directory};
use super::journal::{Change, Known};
use super::keywords::{Excess, Keywords};
use super::state::{Entry, Found};
use super::uid_list::{Line, UidList};
use super::{Shared, failed};
use crate::{Appended, CommitError, Offload, Result, Sink, StoreError, Summary, Target};

/// What is larger than this goes to a file while it comes in.
const MEMORY: usize = 256 << 10;

/// A message being written.
pub(super) struct Incoming<O> {
    shared: Arc<Shared>,
    offload: O,
    buffer: BytesMut,
    spool: Option<Arc<Spool>>,
    measure: Measure,
    summary: Summary,
    state: Progress,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Open,
    /// A part could not be written, so the message has a hole.
    Broken,
    Committed,
}

/// A file that goes with whoever holds it.
struct Spool {
    file: File,
    path: PathBuf,
}

impl Drop for Spool {
    fn drop(&mut self) {
        let _removed = fs::remove_file(&self.path);
    }
}

/// How large a message is.
#[derive(Clone, Copy, Default)]
struct Measure {
    octets: u64,
    /// The line ends without CR.
    bare: u64,
    after_cr: bool,
}

impl Measure {
    fn count(&mut self, octets: &[u8]) {
        self.octets += octets.len() as u64;
        for octet in octets {
            self.bare += u64::from(*octet == b'\n' && !self.after_cr);
            self.after_cr = *octet == b'\r';
        }
    }
}

impl<O: Offload + Clone> Incoming<O> {
    pub(super) fn begin(shared: Arc<Shared>, offload: O) -> Self {
        let (measure, state) = (Measure::default(), Progress::Open);
        let summary = Summary::default();
        Self { shared, offload, buffer: BytesMut::new(), spool: None, measure, summary, state }
    }

    /// Moves what is in memory to the file.
    async fn spill(&mut self) -> Result<()> {
        // A dropped future leaves the upload broken: nobody knows how much was written.
        self.state = Progress::Broken;
        let (octets, spool) = (self.buffer.split().freeze(), self.spool.take());
        let shared = Arc::clone(&self.shared);
        let work = move || {
            let spool = match spool {
                Some(spool) => spool,
                None => Arc::new(shared.spool()?),
            };
            (&spool.file).write_all(&octets).map_err(|error| failed(&spool.path, &error))?;
            Ok(spool)
        };
        self.spool = Some(self.offload.run(work).await?);
        self.state = Progress::Open;
        Ok(())
    }

    fn check(&self) -> Result<()> {
        match self.state {
            Progress::Open => Ok(()),
            Progress::Broken => {
                Err(StoreError::Unavailable("an earlier part of the message was not stored".into()))
            }
            Progress::Committed => {
                Err(StoreError::Invalid("expected an upload that is not committed yet".into()))
            }
        }
    }
}

impl Shared {
    fn spool(&self) -> Result<Spool> {
        let mut builder = fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let folder = &self.options.spool;
        builder.recursive(true).create(folder).map_err(|error| failed(folder, &error))?;
        let path = folder.join(file_name::unique(&self.setting.host));
        let opened = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        Ok(Spool { file: opened.map_err(|error| failed(&path, &error))?, path })
    }
}

impl<O: Offload + Clone> Sink for Incoming<O> {
    async fn write(&mut self, octets: Bytes) -> Result<()> {
        self.check()?;
        self.measure.count(&octets);
        self.buffer.extend_from_slice(&octets);
        if self.buffer.len() > MEMORY {
            self.spill().await?;
        }
        Ok(())
    }

    async fn read(&mut self, range: Range<u64>) -> Result<Bytes> {
        self.check()?;
        let before = self.measure.octets - self.buffer.len() as u64;
        let end = range.end.min(self.measure.octets);
        if range.start >= end {
            return Ok(Bytes::new());
        }
        if let Some(start) = range.start.checked_sub(before) {
            let within = usize::try_from(start).ok().zip(usize::try_from(end - before).ok());
            let found = within.and_then(|(start, end)| self.buffer.get(start..end));
            return Ok(found.map(Bytes::copy_from_slice).unwrap_or_default());
        }
        let Some(spool) = self.spool.clone() else { return Ok(Bytes::new()) };
        // A part at a time: whoever wants more reads on.
        let length = usize::try_from(end.min(before) - range.start).unwrap_or(MEMORY).min(MEMORY);
        let work = move || {
            let mut octets = vec![0; length];
            let read = std::os::unix::fs::FileExt::read_exact_at(&spool.file, &mut octets, range.start);
            read.map_err(|error| failed(&spool.path, &error))?;
            Ok(Bytes::from(octets))
        };
        self.offload.run(work).await
    }

    async fn set_aside(&mut self) -> Result<()> {
        self.check()?;
        if self.buffer.is_empty() { Ok(()) } else { self.spill().await }
    }

    fn summarize(&mut self, summary: Summary) {
        self.summary = summary;
    }

    async fn commit(&mut self, targets: &[Target]) -> Result<Vec<Appended>, CommitError> {
        self.check()?;
        if self.spool.is_some() && !self.buffer.is_empty() {
            self.spill().await?;
        }
        let content = Content {
            memory: self.buffer.clone().freeze(),
            spool: self.spool.clone(),
            measure: self.measure,
            summary: self.summary.clone(),
        };
        let (shared, targets) = (Arc::clone(&self.shared), targets.to_vec());
        // Until the answer is there the message may or may not be in.
        self.state = Progress::Committed;
        let result = self.offload.run(move || deliver(&shared, &content, &targets)).await;
        if result.is_err() {
            self.state = Progress::Open;
        }
        result
    }
}

/// A whole message.
struct Content {
    memory: Bytes,
    spool: Option<Arc<Spool>>,
    measure: Measure,
    summary: Summary,
}

/// A file in `tmp` that is to be moved to its place.
struct Draft<'a> {
    path: PathBuf,
    base: String,
    target: &'a Target,
    /// Which of the mailboxes it is for.
    place: usize,
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        let _removed = fs::remove_file(&self.path);
    }
}

fn deliver(shared: &Shared, content: &Content, targets: &[Target]) -> Result<Vec<Appended>, CommitError> {
    let mut folders: Vec<Arc<Folder>> = Vec::new();
    for (index, target) in targets.iter().enumerate() {
        let found = shared.existing(&target.user, &target.mailbox);
        folders.push(found.map_err(|error| CommitError::of_target(index, error))?);
    }
    let admitted = shared.admit_delivery(targets, content.measure.octets);
    admitted.map_err(|(index, error)| CommitError::of_target(index, error))?;
    let mut places = folders.clone();
    places.sort_by(|one, other| one.path.cmp(&other.path));
    places.dedup_by(|one, other| Arc::ptr_eq(one, other));
    let mut drafts: Vec<Draft<'_>> = Vec::new();
    for (index, (target, folder)) in targets.iter().zip(&folders).enumerate() {
        let place = places.iter().position(|place| Arc::ptr_eq(place, folder)).unwrap_or_default();
        let same = |draft: &&Draft<'_>| draft.target.internal_date == target.internal_date;
        let twin = drafts.iter().find(same).map(|draft| draft.path.clone());
        let draft = draft(shared, content, folder, target, place, twin.as_deref());
        drafts.push(draft.map_err(|error| CommitError::of_target(index, error))?);
    }
    let mut deliveries = Vec::new();
    // In the order of their paths, so that no two wait for each other.
    for folder in &places {
        let locked = folder.lock(&shared.setting);
        let delivery = locked.and_then(Delivery::new);
        deliveries.push(delivery.map_err(|error| of_folder(&folders, folder, error))?);
    }
    let mut placed = Placed::default();
    let mut appended = Vec::new();
    for (index, draft) in drafts.iter().enumerate() {
        let delivery = deliveries.get_mut(draft.place).ok_or(StoreError::NotFound)?;
        let uid = delivery.place(content, draft, &mut placed);
        let uid = uid.map_err(|error| CommitError::of_target(index, error))?;
        appended.push(Appended::new(delivery.list.header.validity, uid));
    }
    let mut listed: Result<()> = Ok(());
    for delivery in &mut deliveries {
        listed = listed.and_then(|()| delivery.list());
    }
    if let Err(error) = listed {
        deliveries.iter_mut().for_each(Delivery::undo);
        return Err(error.into());
    }
    // Others may see it from here on; it lasts when all of this is flushed.
    let mut flushes = Vec::new();
    for delivery in deliveries {
        flushes.push(delivery.finish()?);
    }
    for flush in flushes {
        flush.run()?;
    }
    placed.0.clear();
    for (folder, appended) in folders.iter().zip(&appended) {
        folder.keep_summary(appended.uid_validity, appended.uid, &content.summary);
    }
    for folder in &places {
        folder.changed.raise();
    }
    for target in targets {
        shared.tell_messages(&target.user, &target.mailbox);
        shared.note(&target.user, i64::try_from(content.measure.octets).unwrap_or(i64::MAX), 1);
    }
    Ok(appended)
}

fn of_folder(folders: &[Arc<Folder>], folder: &Arc<Folder>, error: StoreError) -> CommitError {
    match folders.iter().position(|other| Arc::ptr_eq(other, folder)) {
        Some(index) => CommitError::of_target(index, error),
        None => error.into(),
    }
}

/// Writes the message into a mailbox's `tmp`, or links it there if it has been written elsewhere.
fn draft<'a>(
    shared: &Shared,
    content: &Content,
    folder: &Folder,
    target: &'a Target,
    place: usize,
    twin: Option<&Path>,
) -> Result<Draft<'a>> {
    let size = content.measure.octets;
    let shown = size + content.measure.bare;
    let base = format!("{},S={size},W={shown}", file_name::unique(&shared.setting.host));
    let path = folder.path.join("tmp").join(&base);
    let draft = Draft { path, base, target, place };
    if twin.is_some_and(|twin| fs::hard_link(twin, &draft.path).is_ok()) {
        return Ok(draft);
    }
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft.path)?;
        match &content.spool {
            Some(spool) => drop(std::io::copy(&mut File::open(&spool.path)?, &mut file)?),
            None => file.write_all(&content.memory)?,
        }
        file.set_modified(time(target.internal_date))?;
        file.sync_all()
    })();
    written.map_err(|error| failed(&draft.path, &error))?;
    Ok(draft)
}

fn time(date: DateTime) -> std::time::SystemTime {
    let seconds = Duration::from_secs(date.seconds().unsigned_abs());
    let time =
        if date.seconds() < 0 { UNIX_EPOCH.checked_sub(seconds) } else { UNIX_EPOCH.checked_add(seconds) };
    time.unwrap_or(UNIX_EPOCH)
}

/// What happens to one mailbox.
struct Delivery<'a> {
    locked: Locked<'a>,
    /// A list that was read only at its end: the mailbox need not be in memory to get mail.
    list: UidList,
    start: u64,
    /// Whether what is in memory was up to date before.
    fresh: bool,
    lines: Vec<Line>,
    added: Vec<(Uid, Found, Known)>,
}

impl<'a> Delivery<'a> {
    fn new(locked: Locked<'a>) -> Result<Self> {
        let list = match UidList::read_end(&locked.folder.path)? {
            Some(list) => list,
            // It was never used, or cannot be understood.
            None => super::folder::make_list(locked.folder)?,
        };
        let start = list.length();
        let path = &*locked.folder.path;
        let fresh = locked.with_memory(|state| state.as_ref().is_some_and(|state| state.is_fresh(path)));
        Ok(Self { locked, list, start, fresh, lines: Vec::new(), added: Vec::new() })
    }

    /// Moves a file to its place, under the next UID.
    fn place(&mut self, content: &Content, draft: &Draft<'_>, placed: &mut Placed) -> Result<Uid> {
        let (folder, target) = (&*self.locked.folder.path, draft.target);
        let letters = if target.flags.keywords().is_empty() {
            Letters::default().with(target.flags.system_bits(), [])
        } else {
            // Nobody else has new letters made while we have the mailbox.
            let mut keywords = Keywords::default();
            keywords.refresh(folder)?;
            let host = &self.locked.setting.host;
            keywords.letters(folder, host, &target.flags, Letters::default(), Excess::LeftOut)?
        };
        target.check_unique_id()?;
        let uid = match target.uid {
            Some(uid) => self.list.take_uid(uid)?,
            None => self.list.next_uid()?,
        };
        let is_new = letters == Letters::default();
        let info = if is_new { String::new() } else { letters.to_info() };
        let path = folder.join(if is_new { "new" } else { "cur" }).join(format!("{}{info}", draft.base));
        fs::rename(&draft.path, &path).map_err(|error| failed(&path, &error))?;
        placed.0.push(path);
        let mut fields = Vec::new();
        if target.internal_date.offset_minutes() != 0 {
            fields.push(format!("Z{}", target.internal_date.offset_minutes()));
        }
        if let Some(id) = &target.unique_id {
            fields.push(format!("P{id}"));
        }
        if content.measure.bare > 0 {
            fields.push("X1".into());
        }
        let given = target.saved.and_then(|saved| u32::try_from(saved.seconds()).ok());
        fields.extend(given.map(|saved| format!("T{saved}")));
        fields.extend(target.delivery.as_deref().and_then(super::origins::to_field));
        self.lines.push(Line { uid, fields: fields.join(" ").into(), base: draft.base.as_str().into() });
        let modseq = mailwright_mail_model::ModSeq::ZERO;
        let (size, date) = (content.measure.octets, target.internal_date);
        let saved = given.unwrap_or_else(super::uid_validity::of_the_time);
        let known = Known { letters, modseq, size, date, bare: false, saved };
        self.added.push((uid, Found { is_new, info: info.into() }, known));
        Ok(uid)
    }

    fn list(&mut self) -> Result<()> {
        self.list.append(&self.lines)
    }

    /// Takes the lines back; the files are taken away elsewhere.
    fn undo(&mut self) {
        self.list.truncate(self.start);
    }

    /// Brings what is in memory up to this, and lets others go on.
    fn finish(self) -> Result<Flush> {
        let (folder, fresh, lines, added) = (self.locked.folder, self.fresh, self.lines, self.added);
        let used = |is_new: bool| added.iter().any(|(_, found, _)| found.is_new == is_new);
        let parts = [("new", used(true)), ("cur", used(false))].into_iter().filter(|(_, used)| *used);
        let directories = parts.map(|(part, _)| folder.path.join(part)).collect();
        self.locked.with_memory(|slot| {
            let Some(state) = slot else { return };
            // Only if nothing else has happened meanwhile; if it has, this is found with it.
            if !fresh || state.list.refresh().is_err() {
                state.distrust();
                return;
            }
            let Ok(modseq) = state.journal.next_modseq() else { return };
            let renamed = state.keywords.refresh(&folder.path);
            let mut changes = Vec::new();
            for (line, (uid, found, known)) in lines.into_iter().zip(added) {
                let entry = Entry { base: line.base, fields: line.fields, file: Some(found) };
                state.entries.insert(uid, entry);
                changes.push(Change::Added(uid, Known { modseq, ..known }));
            }
            state.commit(modseq, changes);
            state.settle(&folder.path);
            if renamed.is_err() {
                state.distrust();
            }
        });
        Ok(Flush { list: self.list.handle()?, directories })
    }
}

/// What must be on disk before the message is told to be there.
struct Flush {
    list: File,
    directories: Vec<PathBuf>,
}

impl Flush {
    fn run(self) -> Result<()> {
        for directory in &self.directories {
            sync_directory(directory)?;
        }
        self.list.sync_data().map_err(|error| failed(Path::new(super::uid_list::NAME), &error))
    }
}
