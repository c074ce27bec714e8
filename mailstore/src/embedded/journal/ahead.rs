//! Room in the journal that is written before it is needed.
//!
//! The database makes a journal of 64 MiB that has no blocks yet. To flush what is written where there are none, the file system has to
//! write down, too, which blocks it took: two writes more, and the second waits for the first. What is flushed by itself after every
//! message takes half as long again for it. So zeros are written where the journal goes on, some way ahead: what stands there reads the
//! same as before, and has its blocks.
//!
//! Only a journal that was begun since the database was opened has room at its end; to an older one the database appends.

use std::fs::OpenOptions;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::numbered;

/// How many octets are written ahead at a time: no more than a flush takes along unnoticed.
const STEP: u64 = 256 * 1024;
/// How many octets a group has at most for which this is done: a large one takes long by itself, and would be written twice.
const SMALL: usize = 16 * 1024;
/// What the journal may hold of a group beside its octets, at most: so much for each of its rows.
const ROW: u64 = 64;

/// What is known of the room ahead.
#[derive(Debug)]
pub(in crate::embedded) struct Ahead {
    directory: PathBuf,
    /// The number of the last journal that is appended to.
    old: Option<u64>,
    /// Whether the file system is one that is the faster for it.
    is_useful: bool,
    /// The journal that was looked at last, and up to where it has blocks at least.
    current: Option<(u64, u64)>,
    /// How many octets may be written before the next look.
    left: u64,
}

impl Ahead {
    /// Of a database that is about to be opened.
    pub(in crate::embedded) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            old: last(directory).map(|(number, _)| number),
            is_useful: system::overwrites(directory),
            current: None,
            left: 0,
        }
    }

    /// Whether it is time to [`fill`](Self::fill), before a group of so many octets and rows is written.
    pub(in crate::embedded) fn is_short(&mut self, octets: usize, rows: usize) -> bool {
        self.left = self.left.saturating_sub(octets as u64 + ROW * rows as u64);
        self.is_useful && self.left == 0 && octets <= SMALL
    }

    /// Writes zeros behind the end of the journal.
    ///
    /// Nobody may write to the journal meanwhile, and nothing may wait in memory to be written to it. A failure changes nothing but how
    /// long flushes take.
    pub(in crate::embedded) fn fill(&mut self) {
        self.left = STEP;
        let Some((number, path)) = last(&self.directory) else { return };
        if self.old.is_none_or(|old| number > old) {
            let known = self.current.filter(|(current, _)| *current == number).map_or(0, |(_, until)| until);
            self.current = fill(&path, known).ok().map(|until| (number, until));
        }
    }
}

fn last(directory: &Path) -> Option<(u64, PathBuf)> {
    numbered(directory).ok()?.pop()
}

/// Writes zeros from the first place on that has no blocks, at `known` or behind; up to where there are blocks then.
fn fill(path: &Path, known: u64) -> io::Result<u64> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let from = system::first_hole(&file, known)?;
    file.seek(SeekFrom::Start(from))?;
    // Where something stands nothing is written, whatever the file system says.
    let mut zeros = Vec::new();
    (&mut file).take(STEP).read_to_end(&mut zeros)?;
    if zeros.iter().all(|octet| *octet == 0) {
        file.seek(SeekFrom::Start(from))?;
        file.write_all(&zeros)?;
    }
    Ok(from.saturating_add(zeros.len() as u64))
}

#[cfg(target_os = "linux")]
mod system {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    use rustix::fs::SeekFrom;

    /// The numbers of ext2 to ext4, of XFS, and of file systems in memory: what is tested there is what runs elsewhere.
    const IN_PLACE: [u64; 3] = [0xef53, 0x5846_5342, 0x0102_1994];

    /// Whether the file system writes in place where something stands already. Others take new blocks for everything.
    pub(super) fn overwrites(directory: &Path) -> bool {
        let system = File::open(directory).ok().and_then(|directory| rustix::fs::fstatfs(directory).ok());
        system
            .and_then(|system| u64::try_from(system.f_type).ok())
            .is_some_and(|kind| IN_PLACE.contains(&kind))
    }

    /// The first place without blocks, there or behind.
    pub(super) fn first_hole(file: &File, from: u64) -> io::Result<u64> {
        Ok(rustix::fs::seek(file, SeekFrom::Hole(from))?)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    pub(super) const fn overwrites(_: &Path) -> bool {
        false
    }

    pub(super) fn first_hole(_: &File, _: u64) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::{FileExt as _, MetadataExt as _};

    use super::*;

    const LENGTH: u64 = 1 << 20;

    /// A directory with journals as the database makes them.
    fn with(names: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for name in names {
            File::create(directory.path().join(name)).unwrap().set_len(LENGTH).unwrap();
        }
        directory
    }

    fn blocks(path: &Path) -> u64 {
        File::open(path).unwrap().sync_all().unwrap();
        std::fs::metadata(path).unwrap().blocks() * 512
    }

    #[test]
    fn room_is_made_behind_the_end_and_changes_nothing() {
        let directory = with(&[]);
        let mut ahead = Ahead { is_useful: true, ..Ahead::new(directory.path()) };
        assert!(ahead.is_short(100, 1));
        ahead.fill();
        let path = directory.path().join("0.jnl");
        let file = File::create_new(&path).unwrap();
        file.set_len(LENGTH).unwrap();
        file.write_all_at(&[7; 10_000], 0).unwrap();
        ahead.fill();
        let mut wanted = vec![0; LENGTH as usize];
        wanted[..10_000].fill(7);
        assert_eq!(std::fs::read(&path).unwrap(), wanted);
        let filled = blocks(&path);
        assert!((STEP + 10_000..STEP + 65_536).contains(&filled), "{filled}");

        // Nothing more while there is room, nor for what is large.
        assert!(!ahead.is_short(1_000, 1));
        assert!(!ahead.is_short(STEP as usize, 1));
        assert!(ahead.is_short(1_000, 1));

        // What was written without room meanwhile stays, and it goes on behind that.
        file.write_all_at(&[8; 500_000], 10_000).unwrap();
        ahead.fill();
        wanted[10_000..510_000].fill(8);
        assert_eq!(std::fs::read(&path).unwrap(), wanted);
        assert!(blocks(&path) >= 510_000 + STEP);

        // Up to its length, and not beyond.
        for _ in 0..5 {
            ahead.fill();
        }
        assert_eq!(std::fs::read(&path).unwrap(), wanted);
        assert!(blocks(&path) >= LENGTH);
    }

    #[test]
    fn journals_that_are_appended_to_are_left_alone() {
        let directory = with(&["9.jnl"]);
        let mut ahead = Ahead { is_useful: true, ..Ahead::new(directory.path()) };
        ahead.fill();
        assert_eq!(blocks(&directory.path().join("9.jnl")), 0);
        File::create(directory.path().join("10.jnl")).unwrap().set_len(LENGTH).unwrap();
        ahead.fill();
        assert_eq!(blocks(&directory.path().join("9.jnl")), 0);
        assert!(blocks(&directory.path().join("10.jnl")) >= STEP);
    }

    #[test]
    fn what_stands_where_no_blocks_are_said_to_be_is_kept() {
        let directory = with(&["0.jnl"]);
        let path = directory.path().join("0.jnl");
        OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&[9], 5_000).unwrap();
        // The first hole is in front of it, as no journal has one.
        assert!(fill(&path, 0).is_ok());
        assert_eq!(std::fs::read(&path).unwrap()[5_000], 9);
    }
}
