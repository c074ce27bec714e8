//! Whether what is in a backup can be brought back, without bringing it back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::directory::{self as files, Generations, without_index};
use super::file::{BODY, Mark, Origin, Reader};
use super::keys::Holders;
use super::missing::Missing;
use super::restoring::Wanted;
use crate::{Result, StoreError};

/// What a check of a backup found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupCheck {
    /// The generations that can be restored whole.
    pub whole: Vec<u32>,
    /// Those that cannot.
    pub damaged: Vec<u32>,
    /// How many rows and chunks of bodies were read.
    pub records: u64,
    /// How many octets these have.
    pub octets: u64,
    /// What is wrong, in words.
    pub findings: Vec<String>,
}

/// Reads every record of the backup in `directory`, and looks whether each generation has all that its messages need. Changes nothing,
/// and needs no store. Blocks; tells `progress` now and then how far it is.
///
/// # Errors
/// [`Unavailable`](StoreError::Unavailable) if the directory cannot be read, [`NotFound`](StoreError::NotFound) if there is no
/// generation in it.
pub fn check_backup(
    directory: impl AsRef<Path>,
    progress: &mut dyn FnMut(&BackupCheck),
) -> Result<BackupCheck> {
    let directory = directory.as_ref();
    let generations = Generations::find(directory)?;
    if generations.next() == 1 {
        return Err(StoreError::NotFound);
    }
    let (report, bodies) = (BackupCheck::default(), BTreeMap::new());
    let mut check = Check { report, bodies, holders: Holders::default(), progress };
    for &number in &generations.bodies {
        check.bodies(directory, number)?;
    }
    for &number in &generations.indexes {
        let before = check.report.findings.len();
        let whole = check.generation(directory, number, &generations.indexes)?;
        let report = &mut check.report;
        let place =
            if whole && report.findings.len() == before { &mut report.whole } else { &mut report.damaged };
        place.push(number);
    }
    for &number in generations.bodies.iter().filter(|number| !generations.indexes.contains(number)) {
        check.report.damaged.push(number);
        check.report.findings.push(without_index(directory, number));
    }
    check.report.damaged.sort_unstable();
    Ok(check.report)
}

struct Check<'p> {
    report: BackupCheck,
    /// By generation with bodies: the number of its own, unless an earlier program made it, and whether they are whole.
    bodies: BTreeMap<u32, (Option<u128>, bool)>,
    holders: Holders,
    progress: &'p mut dyn FnMut(&BackupCheck),
}

/// How often progress is told, in records.
const OFTEN: u64 = 1_024;

impl Check<'_> {
    /// A file, unless nothing of it can be read, which is told.
    fn open(&mut self, path: &Path) -> Result<Option<Reader>> {
        match Reader::open(path) {
            Ok(reader) => Ok(Some(reader.passing_over())),
            Err(StoreError::Corrupt(what)) => {
                self.report.findings.push(format!("{what} is damaged at its beginning"));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// All records of a file, which have to be wanted there; whether it is whole.
    fn read(&mut self, reader: &mut Reader, see: Wanted<'_>) -> Result<bool> {
        let mut strange = 0_u64;
        while let Some((kind, key, value)) = reader.record()? {
            self.report.records += 1;
            self.report.octets += (key.len() + value.len()) as u64;
            strange += u64::from(!see(kind, &key, &value));
            if self.report.records.is_multiple_of(OFTEN) {
                (self.progress)(&self.report);
            }
        }
        let path = reader.path.display();
        let strange = (strange > 0).then(|| format!("{strange} records of {path} do not belong there"));
        let told: Vec<String> = reader.told().into_iter().chain(strange).collect();
        let whole = told.is_empty();
        self.report.findings.extend(told);
        Ok(whole)
    }

    fn bodies(&mut self, directory: &Path, number: u32) -> Result<()> {
        let Some(mut reader) = self.open(&files::bodies(directory, number))? else { return Ok(()) };
        let id = reader.origin().map(|origin| origin.id);
        let mut holders = std::mem::take(&mut self.holders);
        let read = self.read(&mut reader, &mut |kind, key, _| {
            holders.insert(key, number);
            kind == BODY
        });
        self.holders = holders;
        self.bodies.insert(number, (id, read?));
        Ok(())
    }

    /// Whether a generation is whole, and all that it builds upon.
    fn generation(&mut self, directory: &Path, number: u32, all: &[u32]) -> Result<bool> {
        let Some(mut reader) = self.open(&files::index(directory, number))? else { return Ok(false) };
        let mut whole = true;
        let mut bases = BTreeSet::new();
        for (base, id) in bases_of(number, reader.origin(), all) {
            match self.bodies.get(&base) {
                Some((found, is_whole)) if *found == id => {
                    whole &= *is_whole;
                    bases.insert(base);
                }
                // Of earlier programs nobody knows whose generations they are.
                Some(_) if id.is_none() => {}
                _ => {
                    whole = false;
                    let path = files::bodies(directory, base);
                    let what = format!("generation {number} needs the {} of its time", path.display());
                    self.report.findings.push(what);
                }
            }
        }
        let mut missing = Missing::default();
        let holders = std::mem::take(&mut self.holders);
        let has = |chunk| holders.has(chunk, &bases);
        let read = self.read(&mut reader, &mut |kind, key, value| {
            missing.row(kind, key, value, &has);
            kind != BODY
        });
        self.holders = holders;
        whole &= read?;
        let missing = missing.told();
        whole &= missing.is_empty();
        let missing = missing.into_iter().map(|what| format!("generation {number}: {what}"));
        self.report.findings.extend(missing);
        Ok(whole)
    }
}

/// The generations that one needs bodies of, its own among them, and their numbers of their own.
fn bases_of(number: u32, origin: Option<&Origin>, all: &[u32]) -> Vec<(u32, Option<u128>)> {
    match origin {
        Some(origin) => {
            let own = Mark { number, id: origin.id };
            origin.bases.iter().chain([&own]).map(|mark| (mark.number, Some(mark.id))).collect()
        }
        None => all.iter().filter(|earlier| **earlier <= number).map(|earlier| (*earlier, None)).collect(),
    }
}
