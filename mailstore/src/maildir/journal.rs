//! `mailwright-changes`: when what changed in a mailbox, beside the files that Dovecot keeps and does not miss it in.
//!
//! ```text
//! mailwright-changes 1 1275660208 1700000000000000 1
//! + 1700000000000001 7 FSa 1355 1276528487 -90 . 1276533073
//! f 1700000000000002 7 S
//! x 1700000000000003 7
//! ```
//!
//! The first line has the UIDVALIDITY, the mod-sequence the file begins at, and the lowest UID it may speak of. A message that
//! came has its mod-sequence, UID, letters, size, internal date, zone, and `.` if its file holds what is shown
//! or `L` if its lines end with LF alone, and when it came into this mailbox; then there are changes of letters, and sets of UIDs that are gone.
//!
//! Nothing is lost with this file but history: what differs between it and the mailbox has changed since, and gets new
//! mod-sequences. Those are microseconds, so that they rise even where the file's last lines did not survive.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use mailwright_mail_model::{DateTime, ModSeq, Uid, UidSet, UidValidity};

use super::failed;
use super::file_name::Letters;
use crate::{Result, StoreError};

const NAME: &str = "mailwright-changes";
const NEXT: &str = "mailwright-changes.tmp";
/// So many sets of expunged UIDs are remembered.
const HISTORY: usize = 1_000;

/// What is known of a message beside its UID and its file's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) letters: Letters,
    pub(super) modseq: ModSeq,
    /// As it is shown, with CRLF at the end of each line.
    pub(super) size: u64,
    pub(super) date: DateTime,
    /// Whether lines end with LF in the file, and with CRLF when they are shown.
    pub(super) bare: bool,
    /// When it came into its mailbox, in seconds after 1970; 0 if that is not known.
    pub(super) saved: u32,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Added(Uid, Known),
    Letters(Uid, Letters),
    Gone(UidSet),
}

/// What is known of all messages, and the file it is in.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    pub(super) messages: BTreeMap<Uid, Known>,
    expunged: Vec<(ModSeq, UidSet)>,
    pub(super) highest: ModSeq,
    /// What was expunged before this is not known.
    since: ModSeq,
    /// Above every UID it speaks of.
    pub(super) next: u32,
    file: Option<File>,
    inode: u64,
    length: u64,
    lines: usize,
}

impl Journal {
    /// Reads the journal of a folder; one that is absent, of another UIDVALIDITY or broken begins anew.
    pub(super) fn read(folder: &Path, validity: UidValidity) -> Result<Self> {
        let path = folder.join(NAME);
        let mut journal = Self {
            path,
            messages: BTreeMap::new(),
            expunged: Vec::new(),
            highest: ModSeq::ZERO,
            since: ModSeq::ZERO,
            next: 1,
            file: None,
            inode: 0,
            length: 0,
            lines: 0,
        };
        if journal.load(validity).is_none() {
            (journal.messages, journal.expunged, journal.next) = (BTreeMap::new(), Vec::new(), 1);
            journal.highest = moment();
            journal.since = journal.highest;
            // Mail can be read where nothing can be written.
            let _later = journal.write(validity);
        }
        Ok(journal)
    }

    fn load(&mut self, validity: UidValidity) -> Option<()> {
        let file = OpenOptions::new().read(true).write(true).open(&self.path).ok()?;
        self.inode = file.metadata().ok()?.ino();
        let text = text_from(&file, 0)?;
        self.file = Some(file);
        let (head, rest) = text.split_once('\n')?;
        let mut fields = head.strip_prefix("mailwright-changes 1 ")?.split(' ');
        fields.next()?.parse().ok().filter(|found: &u32| *found == validity.get())?;
        self.since = modseq(fields.next()?)?;
        self.highest = self.since;
        self.next = fields.next()?.parse().ok()?;
        self.length = head.len() as u64 + 1;
        self.apply_text(rest)
    }

    /// Reads what other processes have added. `None` if there is another file now.
    pub(super) fn refresh(&mut self) -> Option<()> {
        let data = fs::metadata(&self.path).ok()?;
        if data.ino() != self.inode || data.len() < self.length {
            return None;
        }
        if data.len() == self.length {
            return Some(());
        }
        let text = text_from(self.file.as_ref()?, self.length)?;
        self.apply_text(&text)
    }

    fn apply_text(&mut self, text: &str) -> Option<()> {
        for line in text.lines() {
            let (modseq, change) = parse(line)?;
            self.length += line.len() as u64 + 1;
            self.lines += 1;
            self.apply(modseq, change);
        }
        Some(())
    }

    fn apply(&mut self, modseq: ModSeq, change: Change) {
        self.highest = self.highest.max(modseq);
        match change {
            Change::Added(uid, known) => {
                self.next = self.next.max(uid.get().saturating_add(1));
                self.messages.insert(uid, known);
            }
            Change::Letters(uid, letters) => {
                if let Some(known) = self.messages.get_mut(&uid) {
                    (known.letters, known.modseq) = (letters, modseq);
                }
            }
            Change::Gone(uids) => {
                for uid in uids.iter() {
                    self.messages.remove(&uid);
                }
                if let Some(last) = uids.last() {
                    self.next = self.next.max(last.get().saturating_add(1));
                }
                self.expunged.push((modseq, uids));
            }
        }
    }

    /// The mod-sequence of the next change.
    pub(super) fn next_modseq(&self) -> Result<ModSeq> {
        let next = self.highest.next().map(|next| next.max(moment()));
        next.ok_or_else(|| StoreError::Unavailable("no mod-sequence is left".into()))
    }

    /// Notes changes of one mod-sequence. That they cannot be written is no error: they are found again.
    pub(super) fn append(&mut self, modseq: ModSeq, changes: Vec<Change>, validity: UidValidity) {
        let mut text = String::new();
        for change in changes {
            text.push_str(&format(modseq, &change));
            self.lines += 1;
            self.apply(modseq, change);
        }
        let written = self.file.as_ref().and_then(|file| {
            // Half a line, of somebody who was killed.
            if file.metadata().ok()?.len() > self.length {
                file.set_len(self.length).ok()?;
            }
            let written = file.write_all_at(text.as_bytes(), self.length).ok();
            if written.is_none() {
                let _undone = file.set_len(self.length);
            }
            written
        });
        match written {
            Some(()) => self.length += text.len() as u64,
            // What is in memory is still right; the next to write does it in whole.
            None => self.file = None,
        }
        let useful = self.messages.len() + self.expunged.len().min(HISTORY);
        if self.file.is_none() || self.lines > 2 * useful + 2_000 {
            let _later = self.write(validity);
        }
    }

    /// Writes it anew, without what is of no use any more.
    fn write(&mut self, validity: UidValidity) -> Result<()> {
        let superfluous = self.expunged.len().saturating_sub(HISTORY);
        if let Some((modseq, _)) = self.expunged.drain(..superfluous).next_back() {
            self.since = modseq;
        }
        let mut text = format!("mailwright-changes 1 {validity} {} {}\n", self.since, self.next);
        for (uid, known) in &self.messages {
            text.push_str(&format(known.modseq, &Change::Added(*uid, *known)));
        }
        for (modseq, uids) in &self.expunged {
            text.push_str(&format(*modseq, &Change::Gone(uids.clone())));
        }
        // The highest mod-sequence may be that of a message that is gone, with a history that is too.
        text.push_str(&format(self.highest, &Change::Letters(Uid::MAX, Letters::default())));
        let next = self.path.with_file_name(NEXT);
        let error = |error| failed(&self.path, &error);
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&next).map_err(error)?;
        if let Err(problem) = file.write_all(text.as_bytes()).and_then(|()| fs::rename(&next, &self.path)) {
            let _removed = fs::remove_file(&next);
            return Err(error(problem));
        }
        self.inode = file.metadata().map_err(error)?.ino();
        (self.length, self.file) = (text.len() as u64, Some(file));
        self.lines = self.messages.len() + self.expunged.len() + 1;
        Ok(())
    }

    /// What was expunged after this mod-sequence, if that is known.
    pub(super) fn expunged_since(&self, modseq: ModSeq) -> Option<UidSet> {
        let first = self.expunged.partition_point(|(expunged, _)| *expunged <= modseq);
        let later = self.expunged.get(first..).unwrap_or_default();
        (modseq >= self.since).then(|| later.iter().flat_map(|(_, uids)| uids.ranges()).collect())
    }
}

/// Microseconds since 1970.
fn moment() -> ModSeq {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    u64::try_from(now).ok().and_then(ModSeq::new).unwrap_or(ModSeq::MIN)
}

/// The whole lines from here on.
fn text_from(mut file: &File, start: u64) -> Option<String> {
    let mut octets = Vec::new();
    file.seek(SeekFrom::Start(start)).and_then(|_| file.read_to_end(&mut octets)).ok()?;
    let end = octets.iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
    octets.truncate(end);
    String::from_utf8(octets).ok()
}

fn modseq(text: &str) -> Option<ModSeq> {
    text.parse().ok().and_then(ModSeq::new)
}

fn format(modseq: ModSeq, change: &Change) -> String {
    match change {
        Change::Added(uid, known) => {
            let (letters, end) = (dash(known.letters), if known.bare { "L" } else { "." });
            let (seconds, zone) = (known.date.seconds(), known.date.offset_minutes());
            let (size, saved) = (known.size, known.saved);
            format!("+ {modseq} {uid} {letters} {size} {seconds} {zone} {end} {saved}\n")
        }
        Change::Letters(uid, letters) => format!("f {modseq} {uid} {}\n", dash(*letters)),
        Change::Gone(uids) => format!("x {modseq} {uids}\n"),
    }
}

fn dash(letters: Letters) -> String {
    let text = letters.to_text();
    if text.is_empty() { "-".into() } else { text }
}

fn parse(line: &str) -> Option<(ModSeq, Change)> {
    let mut fields = line.split(' ');
    let (kind, modseq) = (fields.next()?, modseq(fields.next()?)?);
    let change = match kind {
        "x" => Change::Gone(fields.next()?.parse().ok()?),
        "f" => Change::Letters(uid(fields.next()?)?, Letters::from_text(fields.next()?)),
        "+" => {
            let (uid, letters) = (uid(fields.next()?)?, Letters::from_text(fields.next()?));
            let size = fields.next()?.parse().ok()?;
            let date = DateTime::new(fields.next()?.parse().ok()?, fields.next()?.parse().ok()?)?;
            let bare = fields.next()? == "L";
            // Once there was nothing behind this.
            let saved = fields.next().map_or(Some(0), |saved| saved.parse().ok())?;
            Change::Added(uid, Known { letters, modseq, size, date, bare, saved })
        }
        _ => return None,
    };
    Some((modseq, change))
}

fn uid(text: &str) -> Option<Uid> {
    text.parse().ok().and_then(Uid::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(journal: &Journal, letters: &str, size: u64) -> Known {
        let date = DateTime::new(1_234_567_890, -90).unwrap();
        let modseq = journal.next_modseq().unwrap();
        Known { letters: Letters::from_text(letters), modseq, size, date, bare: size > 100, saved: 17 }
    }

    fn number(uid: u32) -> Uid {
        Uid::new(uid).unwrap()
    }

    #[test]
    fn what_is_written_is_read_by_all() {
        let (folder, validity) = (tempfile::tempdir().unwrap(), UidValidity::new(7).unwrap());
        let mut journal = Journal::read(folder.path(), validity).unwrap();
        let start = journal.highest;
        let mut other = Journal::read(folder.path(), validity).unwrap();
        assert_eq!(other.highest, start);
        for (uid, letters) in [(1, ""), (2, "Sa"), (5, "DFRST")] {
            let known = known(&journal, letters, u64::from(uid) * 50);
            journal.append(known.modseq, vec![Change::Added(number(uid), known)], validity);
        }
        let modseq = journal.next_modseq().unwrap();
        journal.append(modseq, vec![Change::Letters(number(1), Letters::from_text("T"))], validity);
        let modseq = journal.next_modseq().unwrap();
        journal.append(modseq, vec![Change::Gone("5,7".parse().unwrap())], validity);
        for reader in [&mut other, &mut Journal::read(folder.path(), validity).unwrap()] {
            reader.refresh().unwrap();
            assert_eq!(reader.messages, journal.messages);
            assert_eq!((reader.highest, reader.next, reader.length), (modseq, 8, journal.length));
            assert_eq!(reader.expunged_since(start), Some("5,7".parse().unwrap()));
            assert_eq!(reader.expunged_since(modseq), Some(UidSet::new()));
            assert_eq!(reader.expunged_since(ModSeq::MIN), None);
        }
        // Half a line is not there, and the next one takes its place.
        let path = folder.path().join(NAME);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}f 17")).unwrap();
        let modseq = other.next_modseq().unwrap();
        other.append(modseq, vec![Change::Letters(number(2), Letters::default())], validity);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{text}f {modseq} 2 -\n"));
    }

    #[test]
    fn it_does_not_grow_for_ever() {
        let (folder, validity) = (tempfile::tempdir().unwrap(), UidValidity::new(7).unwrap());
        let mut journal = Journal::read(folder.path(), validity).unwrap();
        let known = known(&journal, "", 10);
        journal.append(known.modseq, vec![Change::Added(number(1), known)], validity);
        let mut first = None;
        for round in 2..6_000 {
            let modseq = journal.next_modseq().unwrap();
            first.get_or_insert(modseq);
            let change = match round % 2 {
                0 => Change::Letters(number(1), Letters::from_text("S")),
                _ => Change::Gone(number(round).into()),
            };
            journal.append(modseq, vec![change], validity);
        }
        assert!(journal.lines < 5_000);
        let again = Journal::read(folder.path(), validity).unwrap();
        assert_eq!((&again.messages, again.highest, again.next), (&journal.messages, journal.highest, 6_000));
        assert_eq!(again.expunged_since(first.unwrap()), None);
        assert_eq!(again.expunged_since(journal.highest), Some(UidSet::new()));
        // Of another mailbox it says nothing.
        let other = Journal::read(folder.path(), UidValidity::new(8).unwrap()).unwrap();
        assert!(other.messages.is_empty() && other.highest >= journal.highest);
    }
}
