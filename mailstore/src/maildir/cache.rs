//! `mailwright-cache`: what was found out about the messages of a mailbox, so that they need not be read for it again.
//!
//! The file begins with [`HEAD`], the UIDVALIDITY and the version of who found it out, four octets each. Then there are records: the mark, the UID, the lengths of the four
//! columns, a checksum of what comes before it but the mark and of what follows it, each four octets, low ones first; then the columns. The last
//! record of a UID counts.
//!
//! Nothing is lost with this file: it is not flushed, and what is missing or damaged is found out anew. Records are
//! appended in one write each, by any number of processes; a file of another UIDVALIDITY or version is replaced.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use mailwright_mail_model::{Uid, UidValidity};

use super::folder::Folder;
use super::{Maildir, Shared, failed, file_name};
use crate::signal::lock;
use crate::{Cache, Column, MessageRef, Offload, Result, StoreError, Summary};

const NAME: &str = "mailwright-cache";
const HEAD: &[u8] = b"mailwright-cache 2\n\0";
const HEAD_OCTETS: usize = HEAD.len() + 8;
const MARK: u32 = 0x6d77_6301;
const COLUMNS: usize = Column::ALL.len();
/// Mark, UID, lengths, checksum.
const RECORD_HEAD: usize = 4 * (2 + COLUMNS + 1);
/// The most octets a column may have.
const LARGEST: usize = 1 << 20;
/// So many records of no use, in octets, are worth a new file if they are more than half of it.
const WASTE: u64 = 1 << 20;

impl<O: Offload + Clone> Cache for Maildir<O> {
    async fn load(&self, messages: &[MessageRef]) -> Result<Vec<Option<Summary>>> {
        let messages = messages.to_vec();
        self.run(move |shared| shared.summaries(&messages)).await
    }

    async fn column(&self, messages: &[MessageRef], column: Column) -> Result<Vec<Option<Bytes>>> {
        let found = self.load(messages).await?;
        let wanted = |summary: Summary| Some(summary.column(column).clone());
        Ok(found.into_iter().map(|summary| summary.and_then(wanted)).collect())
    }

    async fn save(&self, message: &MessageRef, summary: &Summary) -> Result<()> {
        let (message, summary) = (message.clone(), summary.clone());
        self.run(move |shared| {
            let mailbox = &message.mailbox;
            let folder = match shared.existing(mailbox.user(), mailbox.name()) {
                Err(StoreError::NotFound) => return Ok(()),
                folder => folder?,
            };
            if folder.peek(|state| state.has(mailbox.uid_validity(), message.uid)) == Some(true) {
                folder.keep_summary(mailbox.uid_validity(), message.uid, &summary);
            }
            Ok(())
        })
        .await
    }
}

impl Shared {
    fn summaries(&self, messages: &[MessageRef]) -> Result<Vec<Option<Summary>>> {
        let mut found = Vec::with_capacity(messages.len());
        for group in messages.chunk_by(|one, other| one.mailbox == other.mailbox) {
            let Some(mailbox) = group.first().map(|message| &message.mailbox) else { continue };
            let folder = match self.existing(mailbox.user(), mailbox.name()) {
                Err(StoreError::NotFound) => {
                    found.extend(group.iter().map(|_| None));
                    continue;
                }
                folder => folder?,
            };
            let uids = group.iter().map(|message| message.uid);
            found.extend(folder.summaries(mailbox.uid_validity(), uids)?);
        }
        Ok(found)
    }
}

impl Folder {
    /// What was kept of messages, in the order asked.
    pub(super) fn summaries(
        &self,
        validity: UidValidity,
        uids: impl Iterator<Item = Uid>,
    ) -> Result<Vec<Option<Summary>>> {
        let head = Head { validity, described: self.described };
        let mut slot = lock(&self.cache);
        let current = slot.as_mut().is_some_and(|file| file.refresh(head).is_some());
        if !current {
            *slot = CacheFile::open(&self.path, head);
            let superfluous = slot.as_ref().is_some_and(|file| file.is_wasteful(self));
            if superfluous && let Some(file) = &*slot {
                file.rewrite(self);
                *slot = CacheFile::open(&self.path, head);
            }
        }
        let Some(file) = &*slot else { return Ok(uids.map(|_| None).collect()) };
        Ok(uids.map(|uid| file.read(uid)).collect())
    }

    /// Keeps what was found out about a message: what cannot be kept is found out anew, so that is no error.
    pub(super) fn keep_summary(&self, validity: UidValidity, uid: Uid, summary: &Summary) {
        if summary.is_empty() || Column::ALL.iter().any(|column| summary.column(*column).len() > LARGEST) {
            return;
        }
        let head = Head { validity, described: self.described };
        let mut whole = summary.clone();
        let known = {
            let mut slot = lock(&self.cache);
            let current = slot.as_mut().is_some_and(|file| file.refresh(head).is_some());
            slot.as_ref().filter(|_| current).and_then(|file| file.read(uid))
        };
        if let Some(known) = known {
            for column in Column::ALL.iter().copied() {
                if whole.column(column).is_empty() {
                    *whole.column_mut(column) = known.column(column).clone();
                }
            }
            if whole == known {
                return;
            }
        }
        let _forgotten = append(&self.path, head, uid, &whole);
    }
}

/// What the records of a file are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    validity: UidValidity,
    /// The version of who found it out; nothing if the store does not know.
    described: u32,
}

impl Head {
    fn octets(self) -> [u8; HEAD_OCTETS] {
        let mut head = [0; HEAD_OCTETS];
        let numbers = [self.validity.get(), self.described].map(u32::to_le_bytes);
        let octets = HEAD.iter().copied().chain(numbers.into_iter().flatten());
        head.iter_mut().zip(octets).for_each(|(place, octet)| *place = octet);
        head
    }
}

/// A file, and where in it what is.
#[derive(Debug)]
pub(super) struct CacheFile {
    path: PathBuf,
    file: File,
    head: Head,
    inode: u64,
    /// Up to where it was read: the end of a record.
    length: u64,
    /// Where the last record of a UID is, and how long.
    records: HashMap<Uid, (u64, u32)>,
    /// How many octets the records of the same UIDs before them have.
    superseded: u64,
    /// Whether there is something that is no record.
    broken: bool,
}

impl CacheFile {
    /// The file of a folder, if there is one that can be used.
    fn open(folder: &Path, head: Head) -> Option<Self> {
        let path = folder.join(NAME);
        let file = File::open(&path).ok()?;
        let mut found = [0; HEAD_OCTETS];
        file.read_exact_at(&mut found, 0).ok()?;
        if found != head.octets() {
            return None;
        }
        let (inode, length) = (file.metadata().ok()?.ino(), HEAD_OCTETS as u64);
        let records = HashMap::new();
        let mut opened = Self { path, file, head, inode, length, records, superseded: 0, broken: false };
        opened.index()?;
        Some(opened)
    }

    /// Reads what was added; `None` if it is another file now.
    fn refresh(&mut self, head: Head) -> Option<()> {
        let data = fs::metadata(&self.path).ok()?;
        if data.ino() != self.inode || data.len() < self.length || head != self.head {
            return None;
        }
        if data.len() > self.length { self.index() } else { Some(()) }
    }

    fn index(&mut self) -> Option<()> {
        let size = self.file.metadata().ok()?.len();
        let mut reader = BufReader::with_capacity(64 << 10, &self.file);
        reader.seek(SeekFrom::Start(self.length)).ok()?;
        let mut head = [0; RECORD_HEAD];
        while !self.broken && size.saturating_sub(self.length) >= RECORD_HEAD as u64 {
            reader.read_exact(&mut head).ok()?;
            let Some((uid, lengths, _)) = parse_head(&head) else {
                self.broken = true;
                break;
            };
            let content: usize = lengths.iter().sum();
            let length = (RECORD_HEAD + content) as u64;
            // It is still being written, or never was; what comes behind it tells.
            if self.length + length > size {
                break;
            }
            let place = (self.length, u32::try_from(length).ok()?);
            if let Some((_, before)) = self.records.insert(uid, place) {
                self.superseded += u64::from(before);
            }
            reader.seek_relative(i64::try_from(content).ok()?).ok()?;
            self.length += length;
        }
        Some(())
    }

    fn read(&self, uid: Uid) -> Option<Summary> {
        let (start, length) = *self.records.get(&uid)?;
        let mut octets = BytesMut::zeroed(usize::try_from(length).ok()?);
        self.file.read_exact_at(&mut octets, start).ok()?;
        let mut octets = octets.freeze();
        let head = octets.split_to(RECORD_HEAD.min(octets.len()));
        let (found, lengths, checksum) = parse_head(&head)?;
        if found != uid || checksum_of(&head, [&octets]) != checksum {
            return None;
        }
        let mut summary = Summary::default();
        for (column, length) in Column::ALL.iter().copied().zip(lengths) {
            *summary.column_mut(column) = octets.split_to(length.min(octets.len()));
        }
        Some(summary)
    }

    /// Whether much of it is of no use.
    fn is_wasteful(&self, folder: &Folder) -> bool {
        let gone = folder.peek(|state| {
            let gone = self.records.iter().filter(|(uid, _)| !state.has(self.head.validity, **uid));
            gone.map(|(_, (_, length))| u64::from(*length)).sum::<u64>()
        });
        let waste = self.superseded + gone.unwrap_or_default();
        self.broken || (waste > WASTE && waste > self.length / 2)
    }

    /// Writes a new file with what is of use. What somebody adds to the old one meanwhile is found out anew.
    fn rewrite(&self, folder: &Folder) {
        let next = self.path.with_file_name(format!("{NAME}.{}", file_name::unique("tmp")));
        let written = (|| {
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&next)?;
            let mut file = std::io::BufWriter::with_capacity(1 << 18, file);
            file.write_all(&self.head.octets())?;
            let mut uids: Vec<_> = self.records.keys().copied().collect();
            uids.sort_unstable();
            for uid in uids {
                if folder.peek(|state| state.has(self.head.validity, uid)) == Some(false) {
                    continue;
                }
                if let Some(summary) = self.read(uid) {
                    file.write_all(&record(uid, &summary))?;
                }
            }
            file.flush()?;
            fs::rename(&next, &self.path)
        })();
        if written.is_err() {
            let _removed = fs::remove_file(&next);
        }
    }
}

/// Adds a record to the file of a folder, which is made if need be. The file is not read: a delivery costs the same whatever there is.
fn append(folder: &Path, head: Head, uid: Uid, summary: &Summary) -> Result<()> {
    let path = folder.join(NAME);
    let error = |error| failed(&path, &error);
    for _ in 0..2 {
        match OpenOptions::new().read(true).append(true).open(&path) {
            Ok(mut file) => {
                let mut found = [0; HEAD_OCTETS];
                if file.read_exact_at(&mut found, 0).is_ok() && found == head.octets() {
                    return file.write_all(&record(uid, summary)).map_err(error);
                }
                // Of another mailbox that had this name, or of another version.
            }
            Err(problem) if problem.kind() == ErrorKind::NotFound => {}
            Err(problem) => return Err(error(problem)),
        }
        let next = folder.join(format!("{NAME}.{}", file_name::unique("tmp")));
        let made = File::options().write(true).create_new(true).mode(0o600).open(&next);
        let made = made.and_then(|mut file| file.write_all(&head.octets()));
        let made = made.and_then(|()| fs::rename(&next, &path));
        if made.is_err() {
            let _removed = fs::remove_file(&next);
        }
        made.map_err(error)?;
    }
    Ok(())
}

fn record(uid: Uid, summary: &Summary) -> BytesMut {
    let mut record = BytesMut::with_capacity(RECORD_HEAD + summary.len());
    record.put_u32_le(MARK);
    record.put_u32_le(uid.get());
    for column in Column::ALL.iter().copied() {
        record.put_u32_le(u32::try_from(summary.column(column).len()).unwrap_or_default());
    }
    let columns: Vec<_> = Column::ALL.iter().map(|column| summary.column(*column)).collect();
    let checksum = checksum_of(&record, columns.iter().copied());
    record.put_u32_le(checksum);
    columns.iter().for_each(|column| record.put_slice(column));
    record
}

/// UID, lengths, checksum.
fn parse_head(head: &[u8]) -> Option<(Uid, [usize; COLUMNS], u32)> {
    let mut numbers = head.chunks_exact(4).filter_map(|four| Some(u32::from_le_bytes(four.try_into().ok()?)));
    if numbers.next()? != MARK {
        return None;
    }
    let uid = Uid::new(numbers.next()?)?;
    let mut lengths = [0; COLUMNS];
    for length in &mut lengths {
        *length = usize::try_from(numbers.next()?).ok().filter(|length| *length <= LARGEST)?;
    }
    Some((uid, lengths, numbers.next()?))
}

fn checksum_of<'a>(
    head: &[u8],
    columns: impl IntoIterator<Item = &'a (impl AsRef<[u8]> + ?Sized + 'a)>,
) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head.get(4..RECORD_HEAD - 4).unwrap_or_default());
    columns.into_iter().for_each(|column| hasher.update(column.as_ref()));
    hasher.finalize()
}

/// Gives copies what is known of their originals.
pub(super) fn copy(
    source: &Arc<Folder>,
    target: &Arc<Folder>,
    validities: (UidValidity, UidValidity),
    pairs: impl Iterator<Item = (Uid, Uid)> + Clone,
) {
    let Ok(found) = source.summaries(validities.0, pairs.clone().map(|(from, _)| from)) else { return };
    for ((_, to), summary) in pairs.zip(found) {
        if let Some(summary) = summary {
            target.keep_summary(validities.1, to, &summary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(number: u32) -> Uid {
        Uid::new(number).unwrap()
    }

    fn summary(text: &str) -> Summary {
        Summary::new(Bytes::copy_from_slice(text.as_bytes()), Bytes::from_static(b"tree"))
            .with_header(Bytes::copy_from_slice(&[b'h'; 300]))
    }

    #[test]
    fn what_is_kept_is_found_and_what_is_damaged_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let (path, validity) = (directory.path(), UidValidity::new(7).unwrap());
        let other = UidValidity::new(8).unwrap();
        let folder = || Folder::new(path.to_owned(), path.to_owned(), 1);
        let of = |folder: &Folder, numbers: &[u32]| {
            folder.summaries(validity, numbers.iter().map(|number| uid(*number))).unwrap()
        };
        let (one, two) = (folder(), folder());
        assert_eq!(of(&one, &[1]), [None]);
        for number in [1, 2, 3] {
            one.keep_summary(validity, uid(number), &summary(&number.to_string()));
        }
        two.keep_summary(validity, uid(4), &summary("4"));
        assert_eq!(of(&one, &[4, 1, 9]), [Some(summary("4")), Some(summary("1")), None]);
        // What is told later is added to what was told.
        let more = Summary::default().with_body_structure(Bytes::from_static(b"body"));
        one.keep_summary(validity, uid(1), &more);
        let whole = summary("1").with_body_structure(Bytes::from_static(b"body"));
        assert_eq!(of(&two, &[1]), [Some(whole.clone())]);
        let length = fs::metadata(path.join(NAME)).unwrap().len();
        one.keep_summary(validity, uid(1), &more);
        assert_eq!(of(&one, &[1]), [Some(whole.clone())]);
        one.keep_summary(validity, uid(1), &more);
        assert_eq!(fs::metadata(path.join(NAME)).unwrap().len(), length, "nothing new, nothing written");
        one.keep_summary(validity, uid(5), &Summary::new(vec![0; LARGEST + 1].into(), Bytes::new()));
        assert_eq!(of(&one, &[5]), [None]);

        // An octet is wrong: that message is not known, the others are.
        let octets = fs::read(path.join(NAME)).unwrap();
        let place = octets.windows(2).position(|pair| pair == b"2t").unwrap();
        let mut damaged = octets.clone();
        damaged[place] ^= 1;
        fs::write(path.join(NAME), &damaged).unwrap();
        assert_eq!(of(&folder(), &[2, 3]), [None, Some(summary("3"))]);
        // Half a record, of somebody who was killed; then more. What is behind it is given up, and written anew.
        let mut torn = octets;
        torn.extend_from_slice(&record(uid(6), &summary("6"))[..100]);
        fs::write(path.join(NAME), &torn).unwrap();
        let third = folder();
        assert_eq!(of(&third, &[1, 6]), [Some(whole.clone()), None]);
        for number in 7..9 {
            third.keep_summary(validity, uid(number), &summary(&number.to_string()));
        }
        assert_eq!(of(&folder(), &[1, 3, 6]), [Some(whole), Some(summary("3")), None]);
        third.keep_summary(validity, uid(6), &summary("again"));
        assert_eq!(of(&folder(), &[6]), [Some(summary("again"))]);
        // Another mailbox of the name begins anew.
        third.keep_summary(other, uid(1), &summary("other"));
        assert_eq!(of(&third, &[1]), [None]);
        assert_eq!(third.summaries(other, [uid(1)].into_iter()).unwrap(), [Some(summary("other"))]);
        // So does another version of who finds out.
        let later = Folder::new(path.to_owned(), path.to_owned(), 2);
        assert_eq!(later.summaries(other, [uid(1)].into_iter()).unwrap(), [None]);
        later.keep_summary(other, uid(1), &summary("later"));
        assert_eq!(later.summaries(other, [uid(1)].into_iter()).unwrap(), [Some(summary("later"))]);
        assert_eq!(third.summaries(other, [uid(1)].into_iter()).unwrap(), [None]);
    }
}
