//! The files of a backup: a line that names the format, what the generation is, records, and a record that ends it.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::directory::PART;
use super::keys::Keys;
use crate::embedded::row::Fields;
use crate::{Result, StoreError};

/// The format of earlier programs, whose generations do not say what they are.
const UNMARKED: &[u8; 16] = b"mailwright-bak1\n";
const MAGIC: &[u8; 16] = b"mailwright-bak2\n";
/// The kind of the records that have chunks of bodies.
pub(super) const BODY: u8 = 0;
/// The kind of the record that ends a file, and of the one that begins it.
const END: u8 = u8::MAX;
const BEGIN: u8 = u8::MAX - 1;

/// What a generation is called, by number and by a random number of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) number: u32,
    pub(super) id: u128,
}

/// What is at the beginning of both files of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) id: u128,
    /// Those that have bodies which this one does not repeat.
    pub(super) bases: Vec<Mark>,
}

impl Origin {
    fn encode(&self) -> Vec<u8> {
        let marks = self.bases.iter();
        marks.flat_map(|base| [&base.number.to_be_bytes()[..], &base.id.to_be_bytes()].concat()).collect()
    }

    fn decode(id: &[u8], bases: &[u8]) -> Option<Self> {
        let mut fields = Fields(bases);
        let mut origin = Self { id: u128::from_be_bytes(id.try_into().ok()?), bases: Vec::new() };
        while let Some(number) = fields.u32() {
            origin.bases.push(Mark { number, id: u128::from_be_bytes(fields.take()?) });
        }
        Some(origin)
    }
}

/// A file on its way.
pub(super) struct Writer {
    path: PathBuf,
    part: PathBuf,
    file: BufWriter<File>,
}

impl Writer {
    pub(super) fn create(path: &Path, origin: &Origin) -> Result<Self> {
        let wrong = |error: io::Error| io_failed(path, &error);
        let mut part = path.as_os_str().to_owned();
        part.push(PART);
        let part = PathBuf::from(part);
        let file = private().write(true).create_new(true).open(&part).map_err(wrong)?;
        let mut file = BufWriter::with_capacity(1 << 20, file);
        file.write_all(MAGIC).map_err(wrong)?;
        let mut writer = Self { path: path.to_owned(), part, file };
        writer.record(BEGIN, &origin.id.to_be_bytes(), &origin.encode())?;
        Ok(writer)
    }

    /// Writes a record: kind, length of key, length of value, checksum, key, value.
    pub(super) fn record(&mut self, kind: u8, key: &[u8], value: &[u8]) -> Result<u64> {
        let head = Head::of(kind, key, value);
        let parts = [&head.encode()[..], key, value];
        let wrong = |error: io::Error| io_failed(&self.path, &error);
        parts.into_iter().try_for_each(|part| self.file.write_all(part)).map_err(wrong)?;
        Ok(parts.iter().map(|part| part.len() as u64).sum())
    }

    /// The file, which is whole and on disk now.
    pub(super) fn finish(mut self) -> Result<Whole> {
        self.record(END, b"", b"")?;
        let Self { path, part, file } = self;
        let flush = || file.into_inner()?.sync_all();
        flush().map_err(|error: io::Error| io_failed(&path, &error))?;
        Ok(Whole { path, part })
    }
}

/// A file that is whole and has no name yet.
#[must_use]
pub(super) struct Whole {
    path: PathBuf,
    part: PathBuf,
}

impl Whole {
    /// Gives it its name.
    pub(super) fn name(self) -> Result<()> {
        let Self { path, part } = self;
        let name = || {
            fs::rename(part, &path)?;
            path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
        };
        name().map_err(|error: io::Error| io_failed(&path, &error))
    }
}

/// What is before a record.
pub(super) struct Head {
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

    /// Whether these are what it was written for.
    fn fits(&self, key: &[u8], value: &[u8]) -> bool {
        self.checksum(key, value) == self.sum
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

    /// Whether a whole record begins here.
    pub(super) fn is_at(octets: &[u8]) -> bool {
        let Some((head, rest)) = octets.split_first_chunk() else { return false };
        let head = Self::decode(*head);
        let record = rest.split_at_checked(head.key as usize);
        record.is_some_and(|(key, rest)| {
            rest.get(..head.value as usize).is_some_and(|value| head.fits(key, value))
        })
    }

    fn decode(octets: [u8; Self::OCTETS]) -> Self {
        let mut fields = Fields(&octets);
        let kind = fields.u8().unwrap_or(END);
        let mut number = || fields.u32().unwrap_or(0);
        Self { kind, key: number(), value: number(), sum: number() }
    }
}

/// A record: kind, key and value.
pub(super) type Record = (u8, Vec<u8>, Vec<u8>);

/// A file of which every record is checked.
pub(super) struct Reader {
    pub(super) path: PathBuf,
    pub(super) file: BufReader<File>,
    origin: Option<Origin>,
    /// How many octets were passed over; `None` if damage is an error.
    pub(super) lost: Option<u64>,
    /// How many octets it has, if it has no end.
    pub(super) cut: Option<u64>,
    /// How many records were read of one that may be damaged.
    pub(super) records: u64,
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let wrong = |error: io::Error| io_failed(path, &error);
        let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(wrong)?);
        let mut magic = [0; MAGIC.len()];
        file.read_exact(&mut magic).map_err(|_| damaged(path))?;
        let mut reader =
            Self { path: path.to_owned(), file, origin: None, lost: None, cut: None, records: 0 };
        match &magic {
            UNMARKED => {}
            MAGIC => {
                let (kind, id, bases) = reader.record()?.ok_or_else(|| damaged(path))?;
                let origin = Origin::decode(&id, &bases).filter(|_| kind == BEGIN);
                reader.origin = Some(origin.ok_or_else(|| damaged(path))?);
            }
            _ => return Err(damaged(path)),
        }
        Ok(reader)
    }

    /// What the generation is; `None` from an earlier program.
    pub(super) const fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    fn head(&mut self) -> Result<Head> {
        let mut octets = [0; Head::OCTETS];
        self.file.read_exact(&mut octets).map_err(|_| damaged(&self.path))?;
        let head = Head::decode(octets);
        // No key is this long, and no value.
        if head.key > 1 << 16 || head.value > 1 << 26 {
            return Err(damaged(&self.path));
        }
        Ok(head)
    }

    fn octets(&mut self, length: u32) -> Result<Vec<u8>> {
        let mut octets = vec![0; length as usize];
        self.file.read_exact(&mut octets).map_err(|_| damaged(&self.path))?;
        Ok(octets)
    }

    /// The next record; `None` at the end.
    pub(super) fn record(&mut self) -> Result<Option<Record>> {
        if self.lost.is_some() { Ok(self.salvage()) } else { self.checked() }
    }

    /// The same of a file that is to be whole.
    pub(super) fn checked(&mut self) -> Result<Option<Record>> {
        let head = self.head()?;
        let (key, value) = (self.octets(head.key)?, self.octets(head.value)?);
        if !head.fits(&key, &value) {
            return Err(self.damaged());
        }
        Ok(Some((head.kind, key, value)).filter(|_| head.kind != END))
    }

    /// Adds the keys of bodies, passing over the values.
    pub(super) fn keys(&mut self, keys: &mut Keys) -> Result<()> {
        loop {
            let head = self.head()?;
            if head.kind == END {
                return Ok(());
            }
            if head.kind != BODY {
                return Err(self.damaged());
            }
            keys.insert(&self.octets(head.key)?);
            self.file.seek_relative(i64::from(head.value)).map_err(|_| damaged(&self.path))?;
        }
    }

    pub(super) fn damaged(&self) -> StoreError {
        damaged(&self.path)
    }
}

/// How a file is made that holds mail: for its owner alone.
pub(super) fn private() -> fs::OpenOptions {
    let mut options = File::options();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes a directory, if it is not there, that holds mail.
pub(in crate::embedded) fn make_directory(path: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| io_failed(path, &error))
}

pub(super) fn io_failed(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}

fn damaged(path: &Path) -> StoreError {
    StoreError::Corrupt(format!("the backup file {}", path.display()))
}
