//! The embedded store on disks that fail: power cuts that lose any part of what was not flushed, errors of writes and flushes, disks
//! without room, clocks that jump. What was acknowledged is there each time, once, under its UID and whole.
#![cfg(all(feature = "embedded", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod disk;
mod errors;
mod full;
mod ledger;
mod replay;
mod trace;
mod workload;

use std::path::PathBuf;
use std::process::Command;

/// Whether the program that records and injects is there, and may do so: some containers let no process look into another.
fn can_trace() -> bool {
    let runs = |arguments: &[&str]| {
        Command::new("strace").args(arguments).output().is_ok_and(|output| output.status.success())
    };
    if runs(&["-V"]) {
        let may = runs(&["-f", "--seccomp-bpf", "-qq", "-e", "trace=fsync", "-o", "/dev/null", "true"]);
        return may || skipped("strace must not trace here");
    }
    skipped("strace is missing")
}

/// Tells why nothing is shown, which is a failure where all has to be shown.
fn skipped(why: &str) -> bool {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{why}");
    println!("skipped: {why}");
    false
}

/// A directory where nothing is slow, if there is one.
fn scratch() -> tempfile::TempDir {
    let memory = PathBuf::from("/dev/shm");
    tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).unwrap()
}

/// A number of the environment.
fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}
