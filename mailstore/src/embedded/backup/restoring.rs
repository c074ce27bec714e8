//! How a backup becomes a store again.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fjall::Keyspace;

use super::directory::{self as files, Generations, without_index};
use super::file::{BODY, Mark, Origin, Reader, io_failed, make_directory};
use super::keys::Keys;
use super::missing::{Has, Missing, TELLING};
use super::referred::Referred;
use super::settling::settle;
use super::{BackupReport, mark_row};
use crate::embedded::Options;
use crate::embedded::database::{self, Database, failed, now};
use crate::embedded::leap::Leap;
use crate::embedded::walk::{Step, Walk};
use crate::{Result, StoreError};

/// How many octets a batch has.
const BATCH: usize = 8 << 20;

/// Makes a store in `directory`, where none may be, of a generation of the backup in `from`: the latest, if it is not said. A
/// restore that was cut short is begun anew, and until one has come to its end, nobody can open the store. UIDs, mod-sequences and
/// identities go on far above those of the backup, so that none is given out again that clients may know from the time after it.
/// Blocks; tells `progress` now and then how far it is.
///
/// # Errors
/// [`Exists`](StoreError::Exists) if there is something already, [`NotFound`](StoreError::NotFound) if there is no such
/// generation, [`Corrupt`](StoreError::Corrupt) if the backup is damaged, or another generation that this one needs is gone.
pub fn restore(
    from: impl AsRef<Path>,
    generation: Option<u32>,
    directory: impl AsRef<Path>,
    progress: &mut dyn FnMut(&BackupReport),
) -> Result<BackupReport> {
    run(from.as_ref(), generation, directory.as_ref(), Damage::Refused, progress)
}

/// As [`restore`], of a backup that is damaged: what can be read of it comes back, and the report tells what is missing. Where parts of
/// messages are missing, the store names the messages when they are read or [checked](crate::embedded::Embedded::check).
///
/// # Errors
/// As for `restore`, but [`Corrupt`](StoreError::Corrupt) only if nothing can be read of the generation's index.
pub fn restore_damaged(
    from: impl AsRef<Path>,
    generation: Option<u32>,
    directory: impl AsRef<Path>,
    progress: &mut dyn FnMut(&BackupReport),
) -> Result<BackupReport> {
    run(from.as_ref(), generation, directory.as_ref(), Damage::PassedOver, progress)
}

/// What becomes of what is damaged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Damage {
    Refused,
    PassedOver,
}

impl Damage {
    /// A file, read so.
    fn open(self, path: &Path) -> Result<Reader> {
        let reader = Reader::open(path)?;
        Ok(if self == Self::PassedOver { reader.passing_over() } else { reader })
    }
}

fn run(
    from: &Path,
    generation: Option<u32>,
    directory: &Path,
    damage: Damage,
    progress: &mut dyn FnMut(&BackupReport),
) -> Result<BackupReport> {
    let generations = Generations::find(from)?;
    let mut report = BackupReport::default();
    report.generation = choose(from, generation, &generations, damage, &mut report.missing)?;
    let wanted = report.generation;
    let mut index = damage.open(&files::index(from, wanted))?;
    let origin = index.origin().cloned();
    let mut bodies = Vec::new();
    for reader in bodies_of(from, wanted, origin.as_ref(), (&generations.indexes, damage)) {
        match reader {
            Err(error) if damage == Damage::PassedOver => report.missing.push(error.to_string()),
            reader => bodies.push(reader?),
        }
    }
    let sign = begin(directory)?;
    let database = Database::open_empty(directory, &Options::default())?;
    let mut leap = Leap::new(now());
    let keyspaces = database.index();
    let find = |kind| keyspaces.iter().find(|(known, _)| *known == kind).map(|(_, keyspace)| *keyspace);
    let (mut referred, mut last) = (Referred::default(), 0);
    let mut see = |kind, key: &[u8], value: &[u8]| {
        referred.see(kind, key, value);
        last = kind;
        true
    };
    report.rows = pour(&mut index, &database, (&find, &mut see), &mut leap, &mut report.octets)?;
    report.missing.extend(index.told());
    if index.is_cut() {
        let behind = keyspaces.iter().filter(|(kind, _)| *kind >= last).map(|(_, keyspace)| keyspace.name());
        // Accounts and addresses are in tables of the server's.
        let plain =
            |name: &str| if name == "tables" { format!("{name} (accounts too)") } else { name.to_owned() };
        let behind: Vec<String> = behind.map(|name| plain(name)).collect();
        report.missing.push(format!("with it rows of these kinds: {}", behind.join(", ")));
    }
    progress(&report);
    let mut keys = Keys::default();
    for mut reader in bodies {
        let find = |kind| Some(&database.bodies).filter(|_| kind == BODY);
        let mut needs = |_, key: &[u8], _: &[u8]| {
            let needs = referred.needs(key);
            if needs {
                keys.insert(key);
            }
            needs
        };
        report.chunks += pour(&mut reader, &database, (&find, &mut needs), &mut leap, &mut report.octets)?;
        report.missing.extend(reader.told());
        progress(&report);
    }
    let has = |chunk| keys.has_chunk(chunk);
    if !referred.are_whole(&has) {
        // First, for these are what somebody will miss.
        report.missing.splice(0..0, without_bodies(&database, &has));
    }
    leap.finish(&database)?;
    if let Some(origin) = origin {
        // From here on it goes its own way: a later backup may build upon this generation, and on none that came after it.
        let (key, value) = mark_row(origin.id);
        database.meta.insert(key, value).map_err(failed)?;
    }
    settle(database, directory)?;
    database::flush_names(directory)?;
    end(directory, &sign)?;
    progress(&report);
    Ok(report)
}

/// Which generation is wanted.
fn choose(
    from: &Path,
    generation: Option<u32>,
    generations: &Generations,
    damage: Damage,
    missing: &mut Vec<String>,
) -> Result<u32> {
    let Generations { indexes, bodies } = generations;
    if let Some(wanted) = generation {
        if !indexes.contains(&wanted) && bodies.contains(&wanted) {
            return Err(StoreError::Corrupt(without_index(from, wanted)));
        }
        return Some(wanted).filter(|wanted| indexes.contains(wanted)).ok_or(StoreError::NotFound);
    }
    let latest = indexes.last().copied();
    if let Some(headless) = generations.headless() {
        let what = without_index(from, headless);
        match latest {
            Some(latest) if damage == Damage::PassedOver => {
                missing.push(format!("{what}; so this is generation {latest}"));
            }
            Some(latest) => {
                let what = format!("{what}; the latest that has one is generation {latest}");
                return Err(StoreError::Corrupt(what));
            }
            None => return Err(StoreError::Corrupt(what)),
        }
    }
    latest.ok_or(StoreError::NotFound)
}

/// The messages that lack octets, in words.
fn without_bodies(database: &Database, has: Has<'_>) -> Vec<String> {
    let (mut missing, moment) = (Missing::default(), database.handle.snapshot());
    for (number, keyspace) in database.index().into_iter().filter(|(number, _)| TELLING.contains(number)) {
        let mut walk = Walk::new(&moment, keyspace);
        while let Some(step) = walk.step(|_| true) {
            if let Step::Row(key, Some(value)) = step {
                missing.row(number, &key, &value, has);
            }
        }
    }
    missing.told()
}

/// The files with the bodies of a generation.
fn bodies_of(
    from: &Path,
    wanted: u32,
    origin: Option<&Origin>,
    (all, damage): (&[u32], Damage),
) -> Vec<Result<Reader>> {
    let Some(origin) = origin else {
        // Of an earlier program: all of its generations are of one store, as far as anybody knows.
        let earlier = all.iter().filter(|number| **number <= wanted);
        let bodies = earlier.map(|number| damage.open(&files::bodies(from, *number)));
        let unmarked =
            |reader: &Result<Reader>| reader.as_ref().map_or(true, |reader| reader.origin().is_none());
        return bodies.filter(unmarked).collect();
    };
    let own = Mark { number: wanted, id: origin.id };
    let open = |mark: &Mark| {
        let path = files::bodies(from, mark.number);
        let missing = || {
            let name = path.display();
            StoreError::Corrupt(format!("the backup: generation {wanted} needs the {name} of its time"))
        };
        if !path.exists() {
            return Err(missing());
        }
        let reader = damage.open(&path)?;
        if reader.origin().is_some_and(|found| found.id == mark.id) { Ok(reader) } else { Err(missing()) }
    };
    origin.bases.iter().chain([&own]).map(open).collect()
}

/// Where records of a kind go.
type Find<'f, 'd> = &'f dyn Fn(u8) -> Option<&'d Keyspace>;
/// Whether a record is wanted, by its kind, key and value.
pub(super) type Wanted<'f> = &'f mut dyn FnMut(u8, &[u8], &[u8]) -> bool;

/// Puts every record into the keyspace that `find` gives, if `wanted` says so of its kind, key and value; how many these were.
fn pour<'a>(
    reader: &mut Reader,
    database: &'a Database,
    (find, wanted): (Find<'_, 'a>, Wanted<'_>),
    leap: &mut Leap,
    octets: &mut u64,
) -> Result<u64> {
    let (mut count, mut size) = (0, 0);
    let mut batch = database.handle.batch();
    while let Some((kind, key, mut value)) = reader.record()? {
        let Some(keyspace) = find(kind) else { return Err(reader.damaged()) };
        if !wanted(kind, &key, &value) {
            continue;
        }
        size += key.len() + value.len();
        *octets += (key.len() + value.len()) as u64;
        count += 1;
        let is = |other| std::ptr::eq(keyspace, other);
        if is(&database.expunged) || is(&database.meta) && leap.takes(&key, &value) {
            continue;
        }
        if is(&database.names) {
            value = leap.header(&key, value)?;
        } else if is(&database.rows) {
            value = leap.message(&key, value);
        }
        batch.insert(keyspace, Bytes::from(key), Bytes::from(value));
        if size > BATCH {
            std::mem::replace(&mut batch, database.handle.batch()).commit().map_err(failed)?;
            size = 0;
        }
    }
    batch.commit().map_err(failed)?;
    Ok(count)
}

/// The file that says that a store is not whole yet.
const SIGN: &str = "restore-unfinished";

/// Whether a restore into this directory was cut short.
pub(in crate::embedded) fn is_unfinished(directory: &Path) -> bool {
    directory.join(SIGN).exists()
}

/// Makes sure that the directory is empty but for the sign.
fn begin(directory: &Path) -> Result<PathBuf> {
    let sign = directory.join(SIGN);
    let wrong = |error: std::io::Error| io_failed(directory, &error);
    make_directory(directory)?;
    let mut entries =
        fs::read_dir(directory).map_err(wrong)?.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    if !entries.is_empty() && !is_unfinished(directory) {
        return Err(StoreError::Exists);
    }
    // Whoever is at it still has it open.
    database::is_free(directory)?;
    entries.retain(|entry| entry.path() != sign);
    for entry in entries {
        let path = entry.path();
        let is_directory = entry.file_type().map_err(wrong)?.is_dir();
        let removed = if is_directory { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(|error| io_failed(&path, &error))?;
    }
    File::create(&sign).and_then(|sign| sign.sync_all()).map_err(wrong)?;
    flush(directory)?;
    Ok(sign)
}

/// The store is whole.
fn end(directory: &Path, sign: &Path) -> Result<()> {
    fs::remove_file(sign).map_err(|error| io_failed(sign, &error))?;
    flush(directory)
}

fn flush(directory: &Path) -> Result<()> {
    #[cfg(unix)]
    File::open(directory)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| io_failed(directory, &error))?;
    Ok(())
}
