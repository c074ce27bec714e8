//! Writes and flushes that fail, one after another.

use std::{
    collections::HashMap,
    process::{Command, Stdio},
};

use mailwright_mailstore::embedded::Embedded;

use crate::ledger::Ledger;
use crate::workload::{Listener, options};
use crate::{can_trace, number, scratch};

/// How many failures of each kind to look at, unless `MAILSTORE_ERRORS` says another number; 0 is every one there is.
const ERRORS: usize = 10;
const EACH: usize = 10;
/// More calls than opening the store takes: those of the work are what this is about. On a busy machine it takes more work to come to them.
const CALLS: usize = 40;

/// Runs the workload in a new store and lets a call fail; what it was told, how often the call came in the thread where it came
/// most often, and whether it failed.
fn run(call: &str, injection: &str, each: usize) -> (usize, bool, Ledger, tempfile::TempDir) {
    let directory = scratch();
    let (path, log) = (directory.path().join("store"), directory.path().join("log"));
    // The making of a store takes hundreds of flushes, which are not what this is about.
    drop(Embedded::open(&path, options()).unwrap());
    let listener = Listener::start(Ledger::default());
    let mut command = Command::new("strace");
    command.args([
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-s",
        "0",
        "-e",
        "signal=none",
        "-e",
        &format!("trace={call}"),
    ]);
    command.args(["-e", &format!("inject={call}:{injection}"), "-o"]).arg(&log);
    listener.equip(&mut command, &path, 0, each);
    // However it ends: the harness around the workload may be what cannot write.
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    let log = std::fs::read_to_string(&log).unwrap();
    // strace counts for each thread alone.
    let mut calls: HashMap<&str, usize> = HashMap::new();
    for line in log.lines().filter(|line| line.contains(&format!("{call}("))) {
        *calls.entry(line.split(' ').next().unwrap_or_default()).or_default() += 1;
    }
    let calls = calls.into_values().max().unwrap_or(0);
    (calls, log.contains("INJECTED"), listener.finish(), directory)
}

#[test]
fn nothing_is_acknowledged_that_could_not_be_written() {
    if !can_trace() {
        return;
    }
    let most = number("MAILSTORE_ERRORS", ERRORS);
    for (call, error) in [
        ("fdatasync", "EIO"),
        ("fsync", "EIO"),
        ("write", "EIO"),
        ("write", "ENOSPC"),
        ("fdatasync", "ENOSPC"),
    ] {
        // Far behind the end: to count.
        let count = |each: usize| (run(call, &format!("error={error}:when=60000"), each).0, each);
        let mut counts = [EACH, 2 * EACH, 4 * EACH, 8 * EACH].into_iter().map(count);
        let Some((calls, each)) = counts.find(|(calls, _)| *calls > CALLS) else {
            panic!("{call} is hardly ever called");
        };
        let every = calls.checked_div(most).map_or(1, |every| every.max(1));
        let (mut done, mut acknowledged, mut refused) = (0, 0, 0);
        for when in (1..=calls).step_by(every) {
            // Once, or from then on.
            let more = if when / every % 2 == 0 { "" } else { "+" };
            let (_, injected, ledger, directory) =
                run(call, &format!("error={error}:when={when}{more}"), each);
            if !injected {
                continue;
            }
            done += 1;
            (acknowledged, refused) = (acknowledged + ledger.acknowledged, refused + ledger.refused);
            let place = directory.path().join("store");
            if let Err(why) = ledger.check(&place, true) {
                panic!("{call} number {when}{more} of {calls} failed with {error}: {why}");
            }
        }
        println!(
            "{call} failed with {error} at {done} of {calls} places: {acknowledged} acknowledged, {refused} refused"
        );
        assert!(done > 3 && acknowledged > 0 && refused > 0);
    }
}
