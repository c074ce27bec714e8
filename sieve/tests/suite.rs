//! The suites of `suite/`, in the language of test suites.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::{fs, path::Path};

use mailwright_sieve::{ProgramOutput, testsuite};

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

/// What suites that were written for Pigeonhole expect.
#[test]
fn a_suite_of_another_server_finds_what_it_expects() {
    let report = run("compatible.svtest");
    assert_eq!(report.failed(), 0, "{report}");
    assert!(report.passed() >= 25, "{report}");
}

#[test]
fn programs_are_run_where_they_may_be() {
    let script = br#"
        require ["vnd.dovecot.testsuite", "vnd.dovecot.pipe", "vnd.dovecot.filter", "vnd.dovecot.execute", "variables", "fileinto", "mailbox",
            "spamtest"];
        test_config_set "sieve_execute_bin_dir" "${tst.path}/bin"; test_config_set "sieve_execute_input_eol" "lf";
        test_config_set "sieve_filter_bin_dir" "filters"; test_config_set "sieve_filter_exec_timeout" "3s"; test_config_reload;
        test "execute" {
            execute :input "a
" :output "out" "echo" ["x", "y"];
            if not string "${out}" "./bin/echo x y SENDER=sender@example.com 10 0D0A-free" { test_fail "${out}"; }
        }
        test "filter" {
            filter "mark";
            if not header "x-marked" "filters/mark 3" { test_fail "not marked"; }
            fileinto :create "Marked"; test_result_execute;
            test_message :folder "Marked" 0;
            if not header "x-marked" "filters/mark 3" { test_fail "not stored as it is"; }
            test_result_reset;
        }
        test "what is not there" {
            if execute "none" { test_fail "run"; }
            pipe "none";
            if test_result_execute { test_fail "taken"; }
            test_result_reset;
            pipe :try "none";
            if not test_result_execute { test_fail "must not fail"; }
        }
    "#;
    let mut asked = Vec::new();
    let programs = move |call: &testsuite::ProgramCall| {
        asked.push(call.path.clone());
        let (name, value) = &call.environment[0];
        let lines = if call.input.contains(&b'\r') { "with CR" } else { "0D0A-free" };
        match call.path.as_str() {
            "./bin/echo" => ProgramOutput::Success(
                format!("{} {} {name}={value} {} {lines}", call.path, call.arguments.join(" "), call.seconds)
                    .into(),
            ),
            "filters/mark" => {
                let head = format!("X-Marked: {} {}\n", call.path, call.seconds);
                ProgramOutput::Success([head.as_bytes(), &call.input].concat().into())
            }
            _ => ProgramOutput::Unknown,
        }
    };
    let run = |programs| testsuite::run_with_programs(script, Box::new(|_| None), programs).unwrap();
    let report = run(Some(Box::new(programs)));
    assert_eq!((report.passed(), report.failed()), (3, 0), "{report}");
    // Without leave there are none.
    let report = run(None);
    assert_eq!((report.passed(), report.failed()), (0, 3), "{report}");
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
