//! Backups while the store serves, and how they come back.
//!
//! A backup is a directory of generations. Generation N has two files: `N.bodies` with the chunks of bodies that the generations it
//! builds upon do not have, and `N.index` with every other row, as they were at one moment. Bodies never change, so a generation
//! costs the index and what is new.
//!
//! Bodies are told apart by numbers, which another store uses too, and a copy or an older state of this one for other bodies. So a
//! generation has a random number, and the store keeps the number of each that was made of it. Only who has it has that
//! generation in its own past, and builds upon it; anybody else begins anew in the same directory. A restored store has those of the
//! generation it was made of and of the ones before.
//!
//! Each record of a file has a checksum, and the files take their names only when both are whole and on disk. As long as a generation is
//! being added a file of the directory is locked, so that there is one at a time, whatever process or task adds it.

use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::path::Path;

use super::database::failed;
use super::walk::{Step, Walk};
use super::{Core, Embedded, row};
use crate::{Offload, Result, StoreError};

mod directory;
mod file;
mod keys;
mod missing;
mod referred;
mod restoring;
mod salvage;
mod settling;
mod verifying;

use directory::{Generations, Turn};
pub(super) use file::make_directory;
use file::{BODY, Mark, Origin, Reader, Writer};
use keys::Keys;
use missing::Missing;
pub(super) use restoring::is_unfinished;
pub use restoring::{restore, restore_damaged};
pub use verifying::{BackupCheck, check_backup};

/// What a backup or a restore did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupReport {
    /// Which generation it was, counted from 1.
    pub generation: u32,
    /// How many earlier generations it builds upon. With none, a backup has copied everything.
    pub bases: u32,
    /// How many rows of the index were copied.
    pub rows: u64,
    /// How many chunks of bodies were copied.
    pub chunks: u64,
    /// How many octets were written.
    pub octets: u64,
    /// What could not be read and so was not copied, in words.
    pub missing: Vec<String>,
}

impl<O: Offload + Clone> Embedded<O> {
    /// Adds a generation to the backup in `directory`, which is made if it does not exist, of the store as it is at this moment.
    /// Everybody else goes on meanwhile. Blocks; tells `progress` now and then how far it is.
    ///
    /// Bodies that generations of this store have are not copied again; those of other stores are left alone. What the disk has
    /// lost is told in the report, and everything else is copied; and so is an earlier generation that is seen to be damaged, and what
    /// it has is copied again.
    ///
    /// # Errors
    /// [`Unavailable`](crate::StoreError::Unavailable) if the directory cannot be read or written, or another backup into it is
    /// running. A generation is there whole or not at all.
    pub fn back_up(
        &self,
        directory: impl AsRef<Path>,
        progress: &mut dyn FnMut(&BackupReport),
    ) -> Result<BackupReport> {
        self.back_up_while(directory, &mut |report| {
            progress(report);
            ControlFlow::Continue(())
        })
    }

    /// As [`back_up`](Self::back_up), as long as `progress` wants it to go on: what it breaks off leaves no generation.
    ///
    /// # Errors
    /// As `back_up`, and [`Unavailable`](crate::StoreError::Unavailable) if it was broken off.
    pub fn back_up_while(
        &self,
        directory: impl AsRef<Path>,
        progress: &mut dyn FnMut(&BackupReport) -> ControlFlow<()>,
    ) -> Result<BackupReport> {
        let directory = directory.as_ref();
        let turn = Turn::take(directory)?;
        let report = self.add_generation(directory, &mut |report| match progress(report) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => {
                Err(StoreError::Unavailable("the backup was broken off before its end".into()))
            }
        });
        if report.is_err() {
            // What is left otherwise, the next backup removes.
            let _ = turn.clear();
        }
        report
    }

    fn add_generation(&self, directory: &Path, progress: Progress<'_>) -> Result<BackupReport> {
        let core = self.shared.core()?;
        let mut missing = Missing::default();
        let generations = Generations::find(directory)?;
        let (bases, mut known) = core.bases(directory, &generations, &mut missing)?;
        let origin = Origin { id: random(), bases };
        let mut report = BackupReport {
            generation: generations.next(),
            bases: u32::try_from(origin.bases.len()).unwrap_or(u32::MAX),
            ..BackupReport::default()
        };
        let moment = core.database.moment();
        // After the moment, so that whoever has the mark has all of this generation in its past. Where it cannot be written the
        // backup is as good, but no later one builds upon it.
        let (key, value) = mark_row(origin.id);
        let _ = crate::block_on(self.shared.committer.submit(move |group| {
            group.put(&group.core.database.meta, key, value);
            Ok::<(), StoreError>(())
        }));
        progress(&report)?;
        let mut bodies = Writer::create(&directory::bodies(directory, report.generation), &origin)?;
        let mut walk = Walk::new(&moment, &core.database.bodies);
        let mut steps = 0_u64;
        while let Some(step) = walk.step(|key| !known.has(key)) {
            match step {
                Step::Row(_, None) => {}
                Step::Row(key, Some(chunk)) => {
                    report.octets += bodies.record(BODY, &key, &chunk)?;
                    known.insert(&key);
                    report.chunks += 1;
                    if report.chunks.is_multiple_of(CHUNKS) {
                        progress(&report)?;
                    }
                }
                Step::Unreadable(key, error) => missing.chunk(&key, &error),
                Step::Hole(hole, error) => missing.hole("bodies", &hole, &error),
            }
            steps += 1;
            if steps.is_multiple_of(ROWS) {
                progress(&report)?;
            }
        }
        let bodies = bodies.finish()?;
        let mut index = Writer::create(&directory::index(directory, report.generation), &origin)?;
        for (number, keyspace) in core.database.index() {
            let mut walk = Walk::new(&moment, keyspace);
            while let Some(step) = walk.step(|_| true) {
                match step {
                    Step::Row(key, value) => {
                        let value = value.unwrap_or_default();
                        missing.row(number, &key, &value, &|chunk| known.has_chunk(chunk));
                        report.octets += index.record(number, &key, &value)?;
                        report.rows += 1;
                        if report.rows.is_multiple_of(ROWS) {
                            progress(&report)?;
                        }
                    }
                    Step::Unreadable(key, error) => missing.unreadable(keyspace.name(), &key, &error),
                    Step::Hole(hole, error) => missing.hole(keyspace.name(), &hole, &error),
                }
            }
        }
        // The index gets its name last, for it is what makes the generation one. Until both are whole neither has a name, so bodies
        // without an index are those of a generation that has lost it.
        let index = index.finish()?;
        bodies.name()?;
        index.name()?;
        report.missing = missing.told();
        // It is there, whoever listens.
        let _ = progress(&report);
        Ok(report)
    }
}

/// Tells how far a backup is; an error ends it.
type Progress<'p> = &'p mut dyn FnMut(&BackupReport) -> Result<()>;

/// How often this is told: after so many chunks that were copied, and rows that were looked at.
const CHUNKS: u64 = 64;
const ROWS: u64 = 8_192;

impl Core {
    /// The generations in a directory that are in this store's past, and the chunks they have. One that has lost its index can be built
    /// upon as well as any other.
    fn bases(
        &self,
        directory: &Path,
        generations: &Generations,
        missing: &mut Missing,
    ) -> Result<(Vec<Mark>, Keys)> {
        let (mut bases, mut known) = (Vec::new(), Keys::default());
        for &number in &generations.bodies {
            match self.base(directory, number) {
                Ok(Some((id, keys))) => {
                    bases.push(Mark { number, id });
                    known.extend(keys);
                }
                Ok(None) => {}
                Err(StoreError::Corrupt(what)) => missing.generation(&format!("{what} is damaged")),
                Err(error) => return Err(error),
            }
        }
        for &number in generations.indexes.iter().filter(|number| !generations.bodies.contains(number)) {
            missing.generation(&format!("{} is gone", directory::bodies(directory, number).display()));
        }
        Ok((bases, known))
    }

    fn base(&self, directory: &Path, number: u32) -> Result<Option<(u128, Keys)>> {
        let mut reader = Reader::open(&directory::bodies(directory, number))?;
        let Some(id) = reader.origin().map(|origin| origin.id) else { return Ok(None) };
        if !self.database.meta.contains_key(mark_row(id).0).map_err(failed)? {
            return Ok(None);
        }
        let mut keys = Keys::default();
        reader.keys(&mut keys)?;
        Ok(Some((id, keys)))
    }
}

/// The row by which a store knows a generation.
fn mark_row(id: u128) -> (Vec<u8>, Vec<u8>) {
    let key = [b"backup", &id.to_be_bytes()[..]].concat();
    let value = row::seal(&key, Vec::new());
    (key, value)
}

/// 128 random bits.
fn random() -> u128 {
    // Each of these is keyed with randomness of the system's.
    let half = |place: u8| u128::from(RandomState::new().hash_one((place, std::process::id())));
    half(0) << 64 | half(1)
}
