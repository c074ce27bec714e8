//! The suites of `suite/`, in the language of test suites.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::{fs, path::Path};

use mailwright_sieve::testsuite;

fn run(name: &str) -> testsuite::Report {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite");
    let script = fs::read(directory.join(name)).unwrap();
    testsuite::run(&script, Box::new(move |path| fs::read(directory.join(path)).ok())).unwrap()
}

#[test]
fn a_suite_passes() {
    let report = run("actions.svtest");
    assert_eq!(report.failed(), 0, "{report}");
    assert!(report.passed() >= 8, "{report}");
}

#[test]
fn settings_have_their_effects() {
    let report = run("settings.svtest");
    assert_eq!((report.passed(), report.failed()), (14, 0), "{report}");
    let expected = [
        "the setting `mail_location` has no effect here",
        "the setting `sieve_extensions` cannot be `+none-such`",
        "the setting `sieve_vacation_min_period` cannot be `a day`",
    ];
    assert_eq!(report.warnings, expected);
    assert!(report.to_string().starts_with("warning: the setting `mail_location`"), "{report}");
}

#[test]
fn tests_that_must_fail_do() {
    let report = run("failing.svtest");
    assert_eq!((report.passed(), report.failed()), (1, 4), "{report}");
    let text = report.to_string();
    assert!(text.contains("by a test: FAILED: as it must"), "{text}");
    assert!(text.contains("by an error: FAILED: line "), "{text}");
    assert!(text.ends_with("1 passed, 4 failed"), "{text}");
}
