//! What a process did to the files of a directory, as strace saw it.

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

/// The calls that matter.
pub(crate) const CALLS: &str = "trace=openat,write,pwrite64,writev,pwritev,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,\
                         link,linkat,ftruncate,fallocate,mkdir,mkdirat,rmdir,lseek,close,fcntl,dup,sendto,copy_file_range";

/// One thing that happened. Files are numbered in the order of their making, names are below the directory.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Write {
        file: usize,
        offset: u64,
        octets: Arc<[u8]>,
    },
    Length {
        file: usize,
        length: u64,
    },
    Name {
        path: String,
        file: usize,
    },
    Directory(String),
    Rename {
        from: String,
        to: String,
    },
    Remove(String),
    /// The file's changes before the step `upto` are on disk.
    Flush {
        file: usize,
        upto: usize,
    },
    /// The same of the names in a directory.
    FlushNames {
        directory: String,
        upto: usize,
    },
    /// What the process said.
    Said(String),
}

/// Everything that happened, over several processes one after another.
#[derive(Default)]
pub(crate) struct Trace {
    pub(crate) steps: Vec<Step>,
    /// How many files there were, names that were removed included.
    pub(crate) files: usize,
    names: HashMap<String, usize>,
}

enum Open {
    File { file: usize, offset: u64, append: bool },
    Directory(String),
}

/// What a process has open, and calls that have not returned.
#[derive(Default)]
struct Process {
    open: HashMap<i64, Open>,
    pending: HashMap<String, (String, usize)>,
    lengths: HashMap<usize, u64>,
}

impl Trace {
    /// Adds what a process did, of which strace wrote `log`.
    pub(crate) fn read(&mut self, log: &Path, directory: &Path) {
        let mut reader = BufReader::new(std::fs::File::open(log).unwrap());
        let (mut process, mut line) = (Process::default(), String::new());
        let root = format!("{}", directory.display());
        while {
            line.clear();
            reader.read_line(&mut line).unwrap() > 0
        } {
            let Some((id, rest)) = line.trim_end().split_once(' ') else { continue };
            let rest = rest.trim_start();
            if let Some(start) = rest.strip_suffix("<unfinished ...>") {
                self.begin(&mut process, start);
                process.pending.insert(id.to_owned(), (start.trim_end().to_owned(), self.steps.len()));
            } else if rest.starts_with("<... ") {
                let Some((_, end)) = rest.split_once("resumed>") else { continue };
                let Some((start, upto)) = process.pending.remove(id) else { continue };
                self.call(&mut process, &format!("{start}{end}"), upto, &root);
            } else if rest.contains('(') {
                self.begin(&mut process, rest);
                let upto = self.steps.len();
                self.call(&mut process, rest, upto, &root);
            }
        }
    }

    /// A number is free as soon as the call that closes it begins.
    fn begin(&self, process: &mut Process, call: &str) {
        if let Some(number) = call.strip_prefix("close(") {
            process.open.remove(&leading(number));
        }
    }

    fn call(&mut self, process: &mut Process, call: &str, upto: usize, root: &str) {
        let Some((name, rest)) = call.split_once('(') else { return };
        let Some((arguments, result)) = rest.rsplit_once(" = ") else { return };
        let result = leading(result);
        if result < 0 {
            return;
        }
        let strings = strings(arguments);
        let path = |index: usize| {
            let path = String::from_utf8(strings[index].clone()).unwrap();
            path.strip_prefix(root).map(|path| path.trim_start_matches('/').to_owned())
        };
        let descriptor = leading(arguments);
        match name {
            "openat" => {
                let Some(path) = path(0) else { return };
                let open = self.open(process, path, arguments);
                process.open.insert(result, open);
            }
            "write" | "pwrite64" => {
                let Some(Open::File { file, offset, append }) = process.open.get_mut(&descriptor) else {
                    return;
                };
                let octets: Arc<[u8]> = strings[0][..usize::try_from(result).unwrap()].into();
                let length = process.lengths.entry(*file).or_default();
                let place = match (name, *append) {
                    ("pwrite64", _) => arguments.rsplit(", ").next().map(leading).unwrap().unsigned_abs(),
                    (_, true) => *length,
                    (_, false) => *offset,
                };
                let end = place + octets.len() as u64;
                *length = end.max(*length);
                if name == "write" {
                    *offset = end;
                }
                self.steps.push(Step::Write { file: *file, offset: place, octets });
            }
            "lseek" => {
                if let Some(Open::File { offset, .. }) = process.open.get_mut(&descriptor) {
                    *offset = result.unsigned_abs();
                }
            }
            "ftruncate" => {
                let Some(Open::File { file, .. }) = process.open.get(&descriptor) else { return };
                let length = arguments.split(", ").nth(1).map(leading).unwrap().unsigned_abs();
                process.lengths.insert(*file, length);
                self.steps.push(Step::Length { file: *file, length });
            }
            "fsync" | "fdatasync" => match process.open.get(&descriptor) {
                Some(Open::File { file, .. }) => self.steps.push(Step::Flush { file: *file, upto }),
                Some(Open::Directory(directory)) => {
                    self.steps.push(Step::FlushNames { directory: directory.clone(), upto });
                }
                None => {}
            },
            "mkdir" | "mkdirat" => {
                if let Some(path) = path(0).filter(|path| !path.is_empty()) {
                    self.steps.push(Step::Directory(path));
                }
            }
            "rename" | "renameat" | "renameat2" => {
                let (Some(from), Some(to)) = (path(0), path(1)) else { return };
                let file = self.names.remove(&from).expect("a file is renamed");
                self.names.insert(to.clone(), file);
                self.steps.push(Step::Rename { from, to });
            }
            "link" | "linkat" => {
                let (Some(from), Some(to)) = (path(0), path(1)) else { return };
                let file = self.names[&from];
                self.names.insert(to.clone(), file);
                self.steps.push(Step::Name { path: to, file });
            }
            "unlink" | "unlinkat" | "rmdir" => {
                // Below a directory that is open: only whole trees are removed so, and none is.
                let Some(path) = strings.first().and_then(|_| path(0)) else { return };
                self.names.remove(&path);
                self.steps.push(Step::Remove(path));
            }
            "sendto" => {
                let line = String::from_utf8(strings[0].clone()).unwrap();
                self.steps.push(Step::Said(line));
            }
            "fcntl" if arguments.contains("F_DUPFD") => {
                assert!(!process.open.contains_key(&descriptor), "a file of the store is open twice: {call}");
            }
            "writev" | "pwritev" | "copy_file_range" | "fallocate" | "dup" => {
                assert!(!process.open.contains_key(&descriptor), "not understood: {name}");
            }
            _ => {}
        }
    }

    fn open(&mut self, process: &mut Process, path: String, arguments: &str) -> Open {
        let flags: BTreeSet<&str> = arguments.split(", ").flat_map(|part| part.split('|')).collect();
        let is_directory = path.is_empty()
            || self.steps.iter().any(|step| matches!(step, Step::Directory(made) if *made == path));
        if is_directory {
            return Open::Directory(path);
        }
        let append = flags.contains("O_APPEND");
        if let Some(&file) = self.names.get(&path) {
            if flags.contains("O_TRUNC") {
                process.lengths.insert(file, 0);
                self.steps.push(Step::Length { file, length: 0 });
            } else {
                process.lengths.entry(file).or_insert_with(|| self.length(file));
            }
            return Open::File { file, offset: 0, append };
        }
        assert!(flags.contains("O_CREAT"), "{path} is opened, but was never made");
        let file = self.files;
        self.files += 1;
        self.names.insert(path.clone(), file);
        process.lengths.insert(file, 0);
        self.steps.push(Step::Name { path, file });
        Open::File { file, offset: 0, append }
    }

    /// How long a file is after all that happened.
    fn length(&self, wanted: usize) -> u64 {
        self.steps.iter().fold(0, |length, step| match step {
            Step::Write { file, offset, octets } if *file == wanted => {
                length.max(offset + octets.len() as u64)
            }
            Step::Length { file, length } if *file == wanted => *length,
            _ => length,
        })
    }
}

/// The number at the beginning.
fn leading(text: &str) -> i64 {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(text.len());
    text[..end].parse().unwrap_or(-1)
}

/// The strings among the arguments, which are written in hexadecimal throughout.
fn strings(arguments: &str) -> Vec<Vec<u8>> {
    arguments
        .split('"')
        .skip(1)
        .step_by(2)
        .map(|string| {
            let digit = |octet: u8| (octet as char).to_digit(16).unwrap() as u8;
            string.as_bytes().chunks_exact(4).map(|four| digit(four[2]) << 4 | digit(four[3])).collect()
        })
        .collect()
}
