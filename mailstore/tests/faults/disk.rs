//! What a disk may hold after a power cut: all that was flushed, and any part of what was not.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use crate::trace::{Step, Trace};

const PAGE: usize = 4_096;

/// What becomes of what was not flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Nothing is lost: a killed process.
    Nothing,
    /// All is.
    Everything,
    /// The last write was cut short, everything before it is there.
    Torn(u64),
    /// Everything from some step on: a journal that keeps the order.
    Tail(u64),
    /// Any pages and lengths, while names are kept.
    Pages(u64),
    /// Any names, while what is in files is kept.
    Names(u64),
    /// Any of everything.
    Anything(u64),
}

/// A disk on which the steps of a trace happen.
pub(crate) struct Disk<'a> {
    trace: &'a Trace,
    files: Vec<Contents>,
    /// The steps of each file that were not flushed.
    pending: Vec<Vec<usize>>,
    /// `None` is a directory.
    names: BTreeMap<String, Option<usize>>,
    pending_names: Vec<usize>,
}

#[derive(Clone, Default)]
struct Contents {
    octets: Vec<u8>,
    /// Zeros follow up to here.
    length: u64,
}

impl Contents {
    fn write(&mut self, offset: u64, octets: &[u8]) {
        let start = usize::try_from(offset).unwrap();
        if self.octets.len() < start + octets.len() {
            self.octets.resize(start + octets.len(), 0);
        }
        self.octets[start..start + octets.len()].copy_from_slice(octets);
        self.length = self.length.max((start + octets.len()) as u64);
    }

    fn set_length(&mut self, length: u64) {
        self.octets.truncate(usize::try_from(length).unwrap());
        self.length = length;
    }
}

impl<'a> Disk<'a> {
    pub(crate) fn new(trace: &'a Trace) -> Self {
        Self {
            trace,
            files: vec![Contents::default(); trace.files],
            pending: vec![Vec::new(); trace.files],
            names: BTreeMap::new(),
            pending_names: Vec::new(),
        }
    }

    /// The next step happens.
    pub(crate) fn step(&mut self, index: usize) {
        match &self.trace.steps[index] {
            Step::Write { file, .. } | Step::Length { file, .. } => self.pending[*file].push(index),
            Step::Name { .. } | Step::Directory(_) | Step::Rename { .. } | Step::Remove(_) => {
                self.pending_names.push(index)
            }
            Step::Flush { file, upto } => {
                let (done, pending) = self.pending[*file].iter().partition(|step| **step < *upto);
                self.pending[*file] = pending;
                let done: Vec<usize> = done;
                for step in done {
                    apply(&mut self.files[*file], &self.trace.steps[step], |_| true);
                }
                // A file that is flushed for the first time takes its name along: so do ext4, XFS, btrfs and F2FS.
                let trace = self.trace;
                self.settle_names(
                    |step| matches!(step, Step::Name { file: named, .. } if named == file),
                    *upto,
                    trace,
                );
            }
            Step::FlushNames { directory, upto } => {
                let trace = self.trace;
                let within = |path: &str| parent(path) == directory;
                let concerned = |step: &Step| match step {
                    Step::Name { path, .. } | Step::Directory(path) | Step::Remove(path) => within(path),
                    Step::Rename { from, to, .. } => within(from) || within(to),
                    _ => false,
                };
                self.settle_names(concerned, *upto, trace);
            }
            Step::Said(_) => {}
        }
    }

    fn settle_names(&mut self, concerned: impl Fn(&Step) -> bool, upto: usize, trace: &Trace) {
        let names = &mut self.names;
        self.pending_names.retain(|index| {
            let step = &trace.steps[*index];
            let settled = *index < upto && concerned(step);
            if settled {
                apply_name(names, step);
            }
            !settled
        });
    }

    /// How many steps may be lost.
    pub(crate) fn at_risk(&self) -> usize {
        self.pending_names.len() + self.pending.iter().map(Vec::len).sum::<usize>()
    }

    /// Makes `directory` what the disk may hold if the power is cut now.
    pub(crate) fn cut(&self, loss: Loss, directory: &Path) {
        let _ = fs::remove_dir_all(directory);
        fs::create_dir_all(directory).unwrap();
        let steps = &self.trace.steps;
        let mut all: Vec<usize> = self.pending.iter().flatten().chain(&self.pending_names).copied().collect();
        all.sort_unstable();
        let mut random = Random::new(loss);
        let tail = random.below(all.len() as u64 + 1);
        let first_lost = all.get(usize::try_from(tail).unwrap()).copied().unwrap_or(usize::MAX);
        let last_write = all.iter().copied().filter(|step| matches!(steps[*step], Step::Write { .. })).max();
        let mut names = self.names.clone();
        for step in &self.pending_names {
            let kept = match loss {
                Loss::Nothing | Loss::Torn(_) | Loss::Pages(_) => true,
                Loss::Everything => false,
                Loss::Tail(_) => *step < first_lost,
                Loss::Names(_) | Loss::Anything(_) => random.coin(),
            };
            if kept {
                apply_name(&mut names, &steps[*step]);
            }
        }
        for (path, file) in &names {
            let place = directory.join(path);
            // With the directory everything in it is lost.
            if !place.parent().is_some_and(Path::exists) {
                continue;
            }
            let Some(file) = file else {
                fs::create_dir(&place).unwrap();
                continue;
            };
            let mut contents = self.files[*file].clone();
            for step in &self.pending[*file] {
                match loss {
                    Loss::Nothing | Loss::Names(_) => apply(&mut contents, &steps[*step], |_| true),
                    Loss::Everything => {}
                    Loss::Tail(_) if *step >= first_lost => {}
                    Loss::Tail(_) => apply(&mut contents, &steps[*step], |_| true),
                    Loss::Torn(_) if Some(*step) == last_write => {
                        let Step::Write { offset, octets, .. } = &steps[*step] else { unreachable!() };
                        let length = usize::try_from(random.below(octets.len() as u64)).unwrap();
                        contents.write(*offset, &octets[..length]);
                    }
                    Loss::Torn(_) => apply(&mut contents, &steps[*step], |_| true),
                    Loss::Pages(_) | Loss::Anything(_) => {
                        apply(&mut contents, &steps[*step], |_| random.coin())
                    }
                }
            }
            let mut made = File::create(&place).unwrap();
            made.seek(SeekFrom::Start(0)).unwrap();
            made.write_all(&contents.octets).unwrap();
            made.set_len(contents.length).unwrap();
        }
    }
}

/// Does to a file what a step did, in those pages that are `kept`.
fn apply(contents: &mut Contents, step: &Step, mut kept: impl FnMut(usize) -> bool) {
    match step {
        Step::Write { offset, octets, .. } => {
            let mut place = usize::try_from(*offset).unwrap();
            let mut rest = &octets[..];
            while !rest.is_empty() {
                let (now, later) = rest.split_at((PAGE - place % PAGE).min(rest.len()));
                if kept(place / PAGE) {
                    contents.write(place as u64, now);
                }
                (place, rest) = (place + now.len(), later);
            }
        }
        Step::Length { length, .. } if kept(0) => contents.set_length(*length),
        _ => {}
    }
}

fn apply_name(names: &mut BTreeMap<String, Option<usize>>, step: &Step) {
    match step {
        Step::Name { path, file } => drop(names.insert(path.clone(), Some(*file))),
        Step::Directory(path) => drop(names.insert(path.clone(), None)),
        Step::Rename { from, to } => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        Step::Remove(path) => drop(names.remove(path)),
        _ => {}
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

struct Random(u64);

impl Random {
    fn new(loss: Loss) -> Self {
        let seed = match loss {
            Loss::Nothing | Loss::Everything => 0,
            Loss::Torn(seed)
            | Loss::Tail(seed)
            | Loss::Pages(seed)
            | Loss::Names(seed)
            | Loss::Anything(seed) => seed,
        };
        Self((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 20
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn coin(&mut self) -> bool {
        self.next().is_multiple_of(2)
    }
}
