//! What is in memory of a mailbox, and how it is brought up to what is on disk.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mailwright_mail_model::{DateTime, ModSeq, Uid, UidSet, UidValidity};

use super::failed;
use super::file_name::{self, Letters};
use super::folder::{Folder, list_of};
use super::journal::{Change, Journal, Known};
use super::keywords::Keywords;
use super::scan::{scan_all, separate};
use super::uid_list::{Line, Refreshed, UidList, field};
use crate::{Message, ObjectId, Result, Snapshot};

/// A mailbox in memory.
pub(super) struct State {
    pub(super) list: UidList,
    pub(super) entries: BTreeMap<Uid, Entry>,
    pub(super) journal: Journal,
    pub(super) keywords: Keywords,
    pub(super) snapshot: Arc<Snapshot>,
    /// The directories at the last look; `None` if they must be looked at again.
    seen: Option<Seen>,
    /// Since when changes may have happened that the directories' times do not show.
    doubt: Option<Instant>,
    scan_took: Duration,
}

/// A line of the list, and the file it is about.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) base: Box<str>,
    pub(super) fields: Box<str>,
    pub(super) file: Option<Found>,
}

/// Where a message's file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// In `new` rather than in `cur`.
    pub(super) is_new: bool,
    /// What is behind the name.
    pub(super) info: Box<str>,
}

/// The inodes and times of `cur` and `new`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen([(u64, i64, i64); 2]);

/// Two changes so close together may leave a directory with the same time.
const TICK: Duration = Duration::from_millis(20);
/// How soon to look again when there is doubt.
const DOUBT: Duration = Duration::from_millis(500);

impl State {
    /// Begins with nothing known but what is in our own and Dovecot's files; [`sync`](Self::sync) does the rest.
    pub(super) fn load(folder: &Folder) -> Result<Self> {
        remove_leftovers(&folder.path.join("tmp"));
        let (list, lines) = list_of(folder)?;
        let journal = Journal::read(&folder.path, list.header.validity)?;
        let snapshot = Arc::new(Snapshot::builder(list.header.validity).build());
        let mut state = Self {
            list,
            entries: BTreeMap::new(),
            journal,
            keywords: Keywords::default(),
            snapshot,
            seen: None,
            doubt: None,
            scan_took: Duration::ZERO,
        };
        state.take(lines);
        Ok(state)
    }

    /// Whether nobody else has changed anything since the last look, as far as that can be told cheaply.
    pub(super) fn is_fresh(&self, path: &Path) -> bool {
        let doubtful = self.doubt.is_some_and(|since| since.elapsed() > DOUBT.max(self.scan_took * 20));
        !doubtful && self.seen.is_some() && self.seen == Seen::of(path).ok() && self.list.is_current()
    }

    /// Whether changes may have happened that the directories' times do not show.
    pub(super) const fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// Whether there is a message of this UID.
    pub(super) fn has(&self, validity: UidValidity, uid: Uid) -> bool {
        self.list.header.validity == validity
            && self.entries.get(&uid).is_some_and(|entry| entry.file.is_some())
    }

    /// Notes that what is on disk now is in memory: after changes of our own.
    pub(super) fn settle(&mut self, path: &Path) {
        self.seen = Seen::of(path).ok();
        self.doubt.get_or_insert_with(Instant::now);
    }

    /// Has the directories looked at before anything else is done.
    pub(super) fn distrust(&mut self) {
        self.seen = None;
    }

    /// Brings everything up to what is on disk. The mailbox is locked.
    pub(super) fn sync(&mut self, folder: &Folder) -> Result<()> {
        let (began, path) = (Instant::now(), &*folder.path);
        let seen = Seen::of(path)?;
        match self.list.refresh()? {
            Some(Refreshed::More(lines)) => self.take(lines),
            Some(Refreshed::Anew(lines)) if self.list.header.validity == self.snapshot.uid_validity() => {
                self.entries.clear();
                self.take(lines);
            }
            // It is another mailbox now.
            _ => *self = Self::load(folder)?,
        }
        let before = self.journal.highest;
        if self.journal.refresh().is_none() {
            self.journal = Journal::read(path, self.list.header.validity)?;
        }
        let renamed = self.keywords.refresh(path)?;
        let (mut files, mut others) = scan_all(path)?;
        if self.misses(&files) {
            // Whoever renames a file while the directory is read may hide it. A second look does not miss it too.
            let (again, more) = scan_all(path)?;
            for (base, found) in again {
                files.entry(base).or_insert(found);
            }
            others.extend(more);
        }
        if !others.is_empty() {
            separate(&self.entries, path, &mut files, others)?;
        }
        let live = files.len();
        self.assign(files)?;
        if self.seen.is_none() || renamed || before != self.journal.highest {
            self.rebuild();
        }
        self.find_changes(folder)?;
        if self.entries.len() > 2 * live + 100 {
            self.compact(path)?;
        }
        self.scan_took = began.elapsed();
        self.doubt = seen.is_recent().then_some(began);
        self.seen = Some(seen);
        Ok(())
    }

    fn take(&mut self, lines: Vec<Line>) {
        for line in lines {
            self.entries.insert(line.uid, Entry { base: line.base, fields: line.fields, file: None });
        }
    }

    /// Whether a message that was there is not among the files.
    fn misses(&self, files: &HashMap<Box<str>, Found>) -> bool {
        let entries = self.journal.messages.keys().map(|uid| self.entries.get(uid));
        entries.into_iter().any(|entry| entry.is_none_or(|entry| !files.contains_key(&entry.base)))
    }

    /// Finds out whose files these are, and gives UIDs to those that have none.
    fn assign(&mut self, files: HashMap<Box<str>, Found>) -> Result<()> {
        let mut unknown = Vec::new();
        {
            // Of two lines with the same name the later one counts.
            let by_base: HashMap<&str, Uid> =
                self.entries.iter().map(|(uid, entry)| (&*entry.base, *uid)).collect();
            let mut located = HashMap::new();
            for (base, found) in files {
                match by_base.get(&*base) {
                    // What comes back after it was gone cannot have its UID back.
                    Some(uid)
                        if self.journal.messages.contains_key(uid) || uid.get() >= self.journal.next =>
                    {
                        located.insert(*uid, found);
                    }
                    _ => unknown.push((base, found)),
                }
            }
            for (uid, entry) in &mut self.entries {
                entry.file = located.remove(uid);
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        unknown.sort_by(|(one, _), (other, _)| moment(one).cmp(&moment(other)).then(one.cmp(other)));
        let mut lines = Vec::new();
        for (base, _) in &unknown {
            lines.push(Line { uid: self.list.next_uid()?, fields: "".into(), base: base.clone() });
        }
        self.list.append(&lines)?;
        self.list.handle()?.sync_data().map_err(|error| failed(Path::new(super::uid_list::NAME), &error))?;
        for (line, (base, found)) in lines.into_iter().zip(unknown) {
            self.entries.insert(line.uid, Entry { base, fields: line.fields, file: Some(found) });
        }
        Ok(())
    }

    /// Compares what was known with the files, and notes what has changed.
    fn find_changes(&mut self, folder: &Folder) -> Result<()> {
        let modseq = self.journal.next_modseq()?;
        let (mut changes, mut gone) = (Vec::new(), UidSet::new());
        let is_there = |uid: &Uid| self.entries.get(uid).is_some_and(|entry| entry.file.is_some());
        gone.extend(self.journal.messages.keys().copied().filter(|uid| !is_there(uid)));
        if self.journal.next > 1 && self.journal.next < self.list.header.next {
            // UIDs that were given out, and perhaps seen by somebody, but not noted before they were gone.
            let unseen = Uid::new(self.journal.next).zip(Uid::new(self.list.header.next - 1));
            if let Some((first, last)) = unseen {
                let all: UidSet = UidSet::from_iter([first..=last]);
                let there = self.entries.range(first..=last).filter(|(_, entry)| entry.file.is_some());
                gone = gone.union(&all.difference(&there.map(|(uid, _)| *uid).collect()));
            }
        }
        if !gone.is_empty() {
            changes.push(Change::Gone(gone));
        }
        for (uid, entry) in &self.entries {
            let Some(found) = &entry.file else { continue };
            let letters = Letters::parse(&found.info);
            match self.journal.messages.get(uid) {
                None => {
                    let described = describe(entry, &entry.path(&folder.path, found), modseq)?;
                    changes.extend(described.map(|known| Change::Added(*uid, known)));
                }
                Some(known) if known.letters != letters => changes.push(Change::Letters(*uid, letters)),
                Some(_) => {}
            }
        }
        self.commit(modseq, changes);
        Ok(())
    }

    /// Makes changes that have happened on disk known: to the journal and to everybody who looks.
    pub(super) fn commit(&mut self, modseq: ModSeq, changes: Vec<Change>) {
        let uid_next = Uid::new(self.list.header.next);
        if changes.is_empty() {
            if self.snapshot.uid_next() != uid_next {
                Arc::make_mut(&mut self.snapshot).advance(uid_next, ModSeq::ZERO);
            }
            return;
        }
        let lowest = self.snapshot.uid_next().unwrap_or(Uid::MAX);
        let late = changes.iter().any(|change| matches!(change, Change::Added(uid, _) if *uid < lowest));
        self.journal.append(modseq, changes.clone(), self.list.header.validity);
        if late {
            self.rebuild();
            return;
        }
        for change in changes {
            match change {
                Change::Added(uid, known) => {
                    let message = self.message(uid, &known);
                    Arc::make_mut(&mut self.snapshot).add(message);
                }
                Change::Letters(uid, letters) => {
                    let flags = self.keywords.flags(letters);
                    Arc::make_mut(&mut self.snapshot).set_flags(uid, flags, modseq);
                }
                Change::Gone(uids) => Arc::make_mut(&mut self.snapshot).remove(&uids, modseq),
            }
        }
        Arc::make_mut(&mut self.snapshot).advance(uid_next, modseq);
    }

    /// Makes the snapshot anew.
    fn rebuild(&mut self) {
        let known: Vec<_> = self.journal.messages.iter().map(|(uid, known)| (*uid, *known)).collect();
        let messages: Vec<_> = known.iter().map(|(uid, known)| self.message(*uid, known)).collect();
        let builder = Snapshot::builder(self.list.header.validity)
            .messages(messages)
            .uid_next(Uid::new(self.list.header.next))
            .highest_modseq(self.journal.highest);
        let builder = match self.list.header.guid {
            Some(guid) => builder.id(ObjectId::from(guid)),
            None => builder,
        };
        self.snapshot = Arc::new(builder.build());
    }

    fn message(&mut self, uid: Uid, known: &Known) -> Message {
        Message {
            flags: self.keywords.flags(known.letters),
            modseq: known.modseq,
            object: self.entries.get(&uid).map(|entry| object(entry.guid())),
            ..Message::new(uid, known.size, known.date)
                .with_saved(DateTime::new(known.saved.into(), 0).filter(|_| known.saved != 0))
        }
    }

    /// Writes the list anew, without the lines of what is gone.
    fn compact(&mut self, path: &Path) -> Result<()> {
        self.entries.retain(|_, entry| entry.file.is_some());
        let lines: Vec<_> = self
            .entries
            .iter()
            .map(|(uid, entry)| Line { uid: *uid, fields: entry.fields.clone(), base: entry.base.clone() })
            .collect();
        self.list = UidList::create(path, self.list.header.clone(), &lines)?;
        Ok(())
    }
}

impl Entry {
    /// The path of the file, which is here.
    pub(super) fn path(&self, folder: &Path, found: &Found) -> PathBuf {
        let name = format!("{}{}", self.base, found.info);
        folder.join(if found.is_new { "new" } else { "cur" }).join(name)
    }

    /// What is the same for all copies of a message.
    pub(super) fn guid(&self) -> &str {
        field(&self.fields, 'G').unwrap_or(&self.base)
    }
}

impl Seen {
    fn of(path: &Path) -> Result<Self> {
        let look = |part: &str| {
            let path = path.join(part);
            match fs::metadata(&path) {
                Ok(data) => Ok((data.ino(), data.mtime(), data.mtime_nsec())),
                Err(error) if error.kind() == ErrorKind::NotFound => Err(crate::StoreError::NotFound),
                Err(error) => Err(failed(&path, &error)),
            }
        };
        Ok(Self([look("cur")?, look("new")?]))
    }

    /// Whether something happened so short ago that more may happen at the same time.
    fn is_recent(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i128::from(now.as_secs()) * 1_000_000_000 + i128::from(now.subsec_nanos());
        let edge = now - i128::try_from(TICK.as_nanos()).unwrap_or_default();
        self.0
            .iter()
            .any(|(_, seconds, nanos)| i128::from(*seconds) * 1_000_000_000 + i128::from(*nanos) > edge)
    }
}

/// When a file was delivered, by its name.
fn moment(base: &str) -> u64 {
    let digits = base.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(base.len());
    base.get(..digits).and_then(|digits| digits.parse().ok()).unwrap_or(u64::MAX)
}

/// What is to be known of a message; `None` if its file has another name by now.
pub(super) fn describe(entry: &Entry, path: &Path, modseq: ModSeq) -> Result<Option<Known>> {
    let data = match fs::metadata(path) {
        Ok(data) => data,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path, &error)),
    };
    let told = file_name::number(&entry.base, 'S').is_none_or(|size| size == data.len());
    let shown = file_name::number(&entry.base, 'W')
        .or_else(|| field(&entry.fields, 'W')?.parse().ok())
        // At most every octet is a line end.
        .filter(|shown| told && (data.len()..=data.len().saturating_mul(2)).contains(shown));
    let size = match (field(&entry.fields, 'X'), shown) {
        (Some(_), _) => data.len(),
        (None, Some(shown)) => shown,
        (None, None) => data.len() + bare_lines(path)?,
    };
    let zone = field(&entry.fields, 'Z').and_then(|zone| zone.parse().ok()).unwrap_or(0);
    let date = DateTime::new(data.mtime(), zone).unwrap_or(DateTime::EPOCH);
    let (_, info) = path.file_name().and_then(|name| name.to_str()).map(file_name::split).unwrap_or_default();
    let bare = size != data.len();
    // When it got this name or another: what is known of somebody else's delivery.
    let changed = || u32::try_from(data.ctime()).unwrap_or_default();
    let saved = field(&entry.fields, 'T').and_then(|saved| saved.parse().ok()).unwrap_or_else(changed);
    Ok(Some(Known { letters: Letters::parse(info), modseq, size, date, bare, saved }))
}

/// How many lines of a file end with LF alone.
pub(super) fn bare_lines(path: &Path) -> Result<u64> {
    let error = |error| failed(path, &error);
    let mut file = BufReader::with_capacity(1 << 16, fs::File::open(path).map_err(error)?);
    let (mut count, mut last) = (0, 0);
    loop {
        let octets = file.fill_buf().map_err(error)?;
        if octets.is_empty() {
            return Ok(count);
        }
        (count, last) = octets.iter().fold((count, last), |(count, last), octet| {
            (count + u64::from(*octet == b'\n' && last != b'\r'), *octet)
        });
        let length = octets.len();
        file.consume(length);
    }
}

/// An identity made of a name: FNV-1a.
fn object(guid: &str) -> ObjectId {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    ObjectId::from(guid.bytes().fold(OFFSET, |hash, octet| (hash ^ u128::from(octet)).wrapping_mul(PRIME)))
}

/// Removes what deliveries left that did not come to an end: the rule of Maildir is 36 hours.
fn remove_leftovers(path: &Path) {
    let Ok(entries) = fs::read_dir(path) else { return };
    for entry in entries.flatten() {
        let Ok(data) = entry.metadata() else { continue };
        // Not by the time of the content, which is that of the message.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = now.saturating_sub(Duration::from_secs(data.ctime().try_into().unwrap_or_default()));
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|name| name.starts_with("mailwright."));
        if data.is_file() && age > Duration::from_secs(36 * 3600) {
            let _removed = fs::remove_file(entry.path());
        } else if data.is_dir() && ours && age > Duration::from_secs(3600) {
            let _removed = fs::remove_dir_all(entry.path());
        }
    }
}
