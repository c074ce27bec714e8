//! Power cuts: a workload is recorded, and the power cut after any step of it, with any loss of what was not flushed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::disk::{Disk, Loss};
use crate::ledger::Ledger;
use crate::trace::{CALLS, Step, Trace};
use crate::workload::Listener;
use crate::{can_trace, number, scratch};

/// How many cuts to look at, unless `MAILSTORE_CUTS` says another number; 0 is one of every kind after every step.
const CUTS: usize = 2_000;
const THREADS: usize = 2;

fn record() -> Trace {
    let (directory, log) = (scratch(), scratch());
    let (path, log) = (directory.path().join("store"), log.path().join("log"));
    std::fs::create_dir(&path).unwrap();
    let mut trace = Trace::default();
    for round in 0..2 {
        let listener = Listener::start(Ledger::default());
        let mut command = Command::new("strace");
        command
            .args([
                "-f",
                "--seccomp-bpf",
                "-qq",
                "-xx",
                "-s",
                "4000000",
                "-e",
                "signal=none",
                "-e",
                CALLS,
                "-o",
            ])
            .arg(&log);
        listener.equip(&mut command, &path, round, number("MAILSTORE_CUTS_EACH", 20));
        let output = command.stdout(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        listener.finish();
        trace.read(&log, &path);
    }
    trace
}

fn kinds(seed: u64) -> [Loss; 7] {
    [
        Loss::Nothing,
        Loss::Everything,
        Loss::Torn(seed),
        Loss::Tail(seed),
        Loss::Pages(seed),
        Loss::Names(seed),
        Loss::Anything(seed),
    ]
}

#[test]
fn nothing_acknowledged_is_lost_by_a_power_cut() {
    if !can_trace() {
        return;
    }
    let begun = Instant::now();
    let trace = record();
    let recorded = begun.elapsed();
    let ahead = |step: &Step| matches!(step, Step::Write { octets, .. } if octets.len() > 100_000 && octets.iter().all(|octet| *octet == 0));
    assert!(trace.steps.iter().any(ahead), "no room was made in the journal ahead of what comes");
    let cuts = number("MAILSTORE_CUTS", CUTS);
    let every = (trace.steps.len() * 7).checked_div(cuts).map_or(1, |every| every.max(1));
    // Of every kind the same number.
    let every = every + usize::from(every.is_multiple_of(7));
    let (done, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (trace, done, failures) = (&trace, &done, &failures);
            scope.spawn(move || {
                let place = scratch();
                let place = place.path().join("store");
                let (mut disk, mut ledger, mut cut) = (Disk::new(trace), Ledger::default(), 0);
                for (index, step) in trace.steps.iter().enumerate() {
                    disk.step(index);
                    if let Step::Said(line) = step {
                        ledger.note(line);
                    }
                    for (kind, loss) in kinds(index as u64).into_iter().enumerate() {
                        let now = (index * 7 + kind) % every == 0;
                        cut += usize::from(now);
                        if !now || cut % THREADS != thread || failures.lock().unwrap().len() >= 20 {
                            continue;
                        }
                        disk.cut(loss, &place);
                        let checked = catch_unwind(AssertUnwindSafe(|| ledger.check(&place, cut % 10 == 0)));
                        let checked = checked.unwrap_or_else(|_| Err("panics".into()));
                        done.fetch_add(1, Ordering::Relaxed);
                        if let Err(why) = checked {
                            let at_risk = disk.at_risk();
                            let text = format!(
                                "step {index} of {}, {loss:?}, {at_risk} at risk: {why}",
                                trace.steps.len()
                            );
                            failures.lock().unwrap().push(text);
                        }
                    }
                }
            });
        }
    });
    let (done, failures) = (done.into_inner(), failures.into_inner().unwrap());
    println!(
        "{done} power cuts over {} steps of {} files; recorded in {recorded:.1?}, {:.1?} in all",
        trace.steps.len(),
        trace.files,
        begun.elapsed()
    );
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    assert!(cuts == 0 || done * 10 > cuts * 9, "{done} are too few");
}
