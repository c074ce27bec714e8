//! Backups while the store serves, and how they come back.
//!
//! A backup is a directory of generations. Generation N has two files: `N.bodies` with the chunks of bodies that no earlier
//! generation has, and `N.index` with every other row, as they were at one moment. Bodies never change, so a generation costs the
//! index and what is new. To restore one takes its index and the bodies of all generations up to it.
//!
//! A file is a line that names its format, records, and a record that ends it. Each record has a checksum, and a file takes its
//! name only when it is whole and on disk.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fjall::Readable;

use super::database::{Database, failed};
use super::{Embedded, Options};
use crate::{Offload, Result, StoreError};

const MAGIC: &[u8; 16] = b"mailwright-bak1\n";
/// The kind of the record that ends a file.
const END: u8 = u8::MAX;
/// How many octets a batch of a restore has.
const BATCH: usize = 8 << 20;

/// What a backup or a restore did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupReport {
    /// Which generation it was, counted from 1.
    pub generation: u32,
    /// How many rows of the index were copied.
    pub rows: u64,
    /// How many chunks of bodies were copied.
    pub chunks: u64,
    /// How many octets were written.
    pub octets: u64,
}

impl<O: Offload + Clone> Embedded<O> {
    /// Adds a generation to the backup in `directory`, which is made if it does not exist, of the store as it is at this moment.
    /// Everybody else goes on meanwhile. Blocks; tells `progress` now and then how far it is.
    ///
    /// # Errors
    /// [`Corrupt`](StoreError::Corrupt) if an earlier generation is damaged, [`Unavailable`](StoreError::Unavailable) if
    /// something cannot be read or written. A generation is there whole or not at all.
    pub fn back_up(
        &self,
        directory: impl AsRef<Path>,
        progress: &mut dyn FnMut(&BackupReport),
    ) -> Result<BackupReport> {
        let directory = directory.as_ref();
        fs::create_dir_all(directory).map_err(|error| io_failed(directory, &error))?;
        let earlier = generations(directory)?;
        let mut report =
            BackupReport { generation: earlier.last().map_or(1, |last| last + 1), ..BackupReport::default() };
        let mut known = HashSet::new();
        for generation in &earlier {
            Reader::open(&path(directory, *generation, "bodies"))?.keys(&mut known)?;
        }
        let core = self.shared.core()?;
        let database = &core.database;
        let moment = database.handle.snapshot();
        let mut bodies = Writer::create(&path(directory, report.generation, "bodies"))?;
        for entry in moment.iter(&database.bodies) {
            let key = Bytes::from(entry.key().map_err(failed)?);
            if known.contains(&key) {
                continue;
            }
            let Some(chunk) = moment.get(&database.bodies, &key).map_err(failed)? else { continue };
            report.octets += bodies.record(0, &key, &chunk)?;
            report.chunks += 1;
            if report.chunks.is_multiple_of(1_024) {
                progress(&report);
            }
        }
        bodies.finish()?;
        let mut index = Writer::create(&path(directory, report.generation, "index"))?;
        for (number, keyspace) in database.index() {
            for entry in moment.iter(keyspace) {
                let (key, value) = entry.into_inner().map_err(failed)?;
                report.octets += index.record(number, &key, &value)?;
                report.rows += 1;
                if report.rows.is_multiple_of(65_536) {
                    progress(&report);
                }
            }
        }
        // Last, for it is what makes the generation one.
        index.finish()?;
        progress(&report);
        Ok(report)
    }
}

/// Makes a store in `directory`, where none may be, of a generation of the backup in `from`: the latest, if it is not said.
/// Blocks; tells `progress` now and then how far it is.
///
/// # Errors
/// [`Exists`](StoreError::Exists) if there is something already, [`NotFound`](StoreError::NotFound) if there is no such
/// generation, [`Corrupt`](StoreError::Corrupt) if the backup is damaged.
pub fn restore(
    from: impl AsRef<Path>,
    generation: Option<u32>,
    directory: impl AsRef<Path>,
    progress: &mut dyn FnMut(&BackupReport),
) -> Result<BackupReport> {
    let (from, directory) = (from.as_ref(), directory.as_ref());
    let all = generations(from)?;
    let wanted = generation.or_else(|| all.last().copied()).filter(|wanted| all.contains(wanted));
    let wanted = wanted.ok_or(StoreError::NotFound)?;
    if fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(StoreError::Exists);
    }
    let database = Database::open_empty(directory, &Options::default())?;
    let mut report = BackupReport { generation: wanted, ..BackupReport::default() };
    for generation in all.iter().filter(|generation| **generation <= wanted) {
        let mut reader = Reader::open(&path(from, *generation, "bodies"))?;
        report.chunks += reader.pour(&database, &mut |_| Some(&database.bodies), &mut report.octets)?;
        progress(&report);
    }
    let index = database.index();
    let find = |number: u8| index.iter().find(|(known, _)| *known == number).map(|(_, keyspace)| *keyspace);
    report.rows =
        Reader::open(&path(from, wanted, "index"))?.pour(&database, &mut { find }, &mut report.octets)?;
    database.handle.persist(fjall::PersistMode::SyncAll).map_err(failed)?;
    progress(&report);
    drop(database);
    Ok(report)
}

/// The generations that are whole, ascending.
fn generations(directory: &Path) -> Result<Vec<u32>> {
    let mut generations = Vec::new();
    for entry in fs::read_dir(directory).map_err(|error| io_failed(directory, &error))? {
        let name = entry.map_err(|error| io_failed(directory, &error))?.file_name();
        let number: Option<u32> = name.to_str().and_then(|name| name.strip_suffix(".index")?.parse().ok());
        generations.extend(number);
    }
    generations.sort_unstable();
    Ok(generations)
}

fn path(directory: &Path, generation: u32, kind: &str) -> PathBuf {
    directory.join(format!("{generation:06}.{kind}"))
}

fn io_failed(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}

fn damaged(path: &Path) -> StoreError {
    StoreError::Corrupt(format!("the backup file {}", path.display()))
}

/// A file on its way.
struct Writer {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Writer {
    fn create(path: &Path) -> Result<Self> {
        let wrong = |error: io::Error| io_failed(path, &error);
        let file = File::create(path.with_extension("part")).map_err(wrong)?;
        let mut file = BufWriter::with_capacity(1 << 20, file);
        file.write_all(MAGIC).map_err(wrong)?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Writes a record: kind, length of key, length of value, checksum, key, value.
    fn record(&mut self, kind: u8, key: &[u8], value: &[u8]) -> Result<u64> {
        let head = Head::of(kind, key, value);
        let parts = [&head.encode()[..], key, value];
        let wrong = |error: io::Error| io_failed(&self.path, &error);
        parts.into_iter().try_for_each(|part| self.file.write_all(part)).map_err(wrong)?;
        Ok(parts.iter().map(|part| part.len() as u64).sum())
    }

    fn finish(mut self) -> Result<()> {
        self.record(END, b"", b"")?;
        let Self { path, file } = self;
        let write = || {
            let file = file.into_inner()?;
            file.sync_all()?;
            fs::rename(path.with_extension("part"), &path)?;
            path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
        };
        write().map_err(|error: io::Error| io_failed(&path, &error))
    }
}

/// What is before a record.
struct Head {
    kind: u8,
    key: u32,
    value: u32,
    sum: u32,
}

impl Head {
    const OCTETS: usize = 13;

    fn of(kind: u8, key: &[u8], value: &[u8]) -> Self {
        let length = |octets: &[u8]| u32::try_from(octets.len()).unwrap_or(u32::MAX);
        let mut head = Self { kind, key: length(key), value: length(value), sum: 0 };
        head.sum = head.checksum(key, value);
        head
    }

    fn checksum(&self, key: &[u8], value: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&[self.kind]);
        hasher.update(&self.key.to_be_bytes());
        hasher.update(key);
        hasher.update(value);
        hasher.finalize()
    }

    fn encode(&self) -> [u8; Self::OCTETS] {
        let mut octets = [self.kind; Self::OCTETS];
        let numbers = [self.key, self.value, self.sum].into_iter().flat_map(u32::to_be_bytes);
        octets.iter_mut().skip(1).zip(numbers).for_each(|(octet, number)| *octet = number);
        octets
    }

    fn decode(octets: [u8; Self::OCTETS]) -> Self {
        let mut fields = super::row::Fields(&octets);
        let kind = fields.u8().unwrap_or(END);
        let mut number = || fields.u32().unwrap_or(0);
        Self { kind, key: number(), value: number(), sum: number() }
    }
}

struct Reader {
    path: PathBuf,
    file: BufReader<File>,
}

impl Reader {
    fn open(path: &Path) -> Result<Self> {
        let wrong = |error: io::Error| io_failed(path, &error);
        let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(wrong)?);
        let mut magic = [0; MAGIC.len()];
        file.read_exact(&mut magic).map_err(|_| damaged(path))?;
        if magic == *MAGIC { Ok(Self { path: path.to_owned(), file }) } else { Err(damaged(path)) }
    }

    fn head(&mut self) -> Result<Option<Head>> {
        let mut octets = [0; Head::OCTETS];
        self.file.read_exact(&mut octets).map_err(|_| damaged(&self.path))?;
        let head = Head::decode(octets);
        // No key is this long, and no value.
        if head.key > 1 << 16 || head.value > 1 << 26 {
            return Err(damaged(&self.path));
        }
        Ok(Some(head).filter(|head| head.kind != END))
    }

    fn octets(&mut self, length: u32) -> Result<Vec<u8>> {
        let mut octets = vec![0; length as usize];
        self.file.read_exact(&mut octets).map_err(|_| damaged(&self.path))?;
        Ok(octets)
    }

    /// Adds the keys, passing over the values.
    fn keys(&mut self, keys: &mut HashSet<Bytes>) -> Result<()> {
        while let Some(head) = self.head()? {
            keys.insert(self.octets(head.key)?.into());
            self.file.seek_relative(i64::from(head.value)).map_err(|_| damaged(&self.path))?;
        }
        Ok(())
    }

    /// Puts every record into the keyspace that `find` gives; how many there were.
    fn pour<'a>(
        &mut self,
        database: &'a Database,
        find: &mut dyn FnMut(u8) -> Option<&'a fjall::Keyspace>,
        octets: &mut u64,
    ) -> Result<u64> {
        let (mut count, mut size) = (0, 0);
        let mut batch = database.handle.batch();
        while let Some(head) = self.head()? {
            let (key, value) = (self.octets(head.key)?, self.octets(head.value)?);
            let keyspace = find(head.kind).filter(|_| head.checksum(&key, &value) == head.sum);
            let Some(keyspace) = keyspace else { return Err(damaged(&self.path)) };
            size += key.len() + value.len();
            *octets += (key.len() + value.len()) as u64;
            count += 1;
            batch.insert(keyspace, Bytes::from(key), Bytes::from(value));
            if size > BATCH {
                std::mem::replace(&mut batch, database.handle.batch()).commit().map_err(failed)?;
                size = 0;
            }
        }
        batch.commit().map_err(failed)?;
        Ok(count)
    }
}
