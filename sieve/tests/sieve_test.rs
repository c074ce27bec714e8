//! The program `sieve-test`, as people start it; and beside Pigeonhole's, where that is installed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_sieve-test");

/// A directory of its own for a test, with files in it.
struct Files(PathBuf);

impl Files {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if directory.exists() {
            fs::remove_dir_all(&directory).unwrap();
        }
        fs::create_dir_all(&directory).unwrap();
        for (name, content) in files {
            fs::write(directory.join(name), content).unwrap();
        }
        Self(directory)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(PROGRAM).current_dir(&self.0).args(arguments).output().unwrap()
    }
}

/// The exit code, and what was written to standard output.
fn said(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), String::from_utf8(output.stdout.clone()).unwrap())
}

const MESSAGE: &str = "From: ann@example.org\nTo: bob+tea@example.com\nSubject: tea\n\nNow.\n";

#[test]
fn check_says_what_is_wrong() {
    let files = Files::new(
        "check",
        &[
            ("good.sieve", "keep;\n"),
            ("warned.sieve", "stop;\nkeep;\n"),
            ("bad.sieve", "fileinto \"Tea\";\nkeep 3;\n"),
        ],
    );
    assert_eq!(said(&files.run(&["check", "good.sieve"])), (0, String::new()));
    let warned =
        (0, "warned.sieve: line 2, column 1: warning: nothing behind `stop` is ever reached\n".to_owned());
    assert_eq!(said(&files.run(&["check", "good.sieve", "warned.sieve"])), warned);
    let bad = "bad.sieve: line 1, column 1: `fileinto` needs `require \"fileinto\";`\n\
        bad.sieve: line 2, column 6: `keep` takes no argument here\n";
    assert_eq!(said(&files.run(&["check", "bad.sieve", "good.sieve"])), (1, bad.to_owned()));
    let missing = files.run(&["check", "missing.sieve"]);
    assert_eq!(said(&missing), (2, String::new()));
    let error = String::from_utf8(missing.stderr).unwrap();
    assert!(error.starts_with("sieve-test: missing.sieve: "), "{error}");
}

#[test]
fn format_gives_the_script_back() {
    let script =
        "# rule:[tea]\nif size :over 100K {\n    fileinto \"a\"; # large\n    reject text:\nNo.\n.\n;\n}\n";
    let files = Files::new("format", &[("a.sieve", script), ("b.sieve", &script.replace('\n', "\r\n"))]);
    assert_eq!(said(&files.run(&["format", "a.sieve"])), (0, script.to_owned()));
    assert_eq!(said(&files.run(&["format", "b.sieve"])), (0, script.replace('\n', "\r\n")));
    fs::write(files.0.join("c.sieve"), "IF(true){/* x */}").unwrap();
    assert_eq!(said(&files.run(&["format", "c.sieve"])), (0, "if true { /* x */\n}\n".to_owned()));
    fs::write(files.0.join("d.sieve"), "keep").unwrap();
    let broken = files.run(&["format", "d.sieve"]);
    assert_eq!(said(&broken), (2, String::new()));
    assert!(String::from_utf8(broken.stderr).unwrap().contains("line 1, column 5: expected"));
}

#[test]
fn run_prints_what_would_be_done() {
    let script = "require [\"fileinto\", \"envelope\", \"subaddress\", \"copy\", \"mailbox\", \"include\"];\n\
        if envelope :detail \"to\" \"tea\" { fileinto :copy \"Tea\"; }\n\
        if mailboxexists \"Other\" { fileinto :copy \"Other\"; }\ninclude \"more\";\n";
    let more = "redirect \"carl@example.net\";\n";
    let files = Files::new("run", &[("a.sieve", script), ("more.sieve", more), ("m.eml", MESSAGE)]);
    let plain = ["run", "a.sieve", "m.eml", "-f", "ann@example.org", "-a", "bob+tea@example.com"];
    let actions = "fileinto \"Tea\"\nredirect \"carl@example.net\"\n";
    assert_eq!(said(&files.run(&plain)), (0, actions.to_owned()));
    let with_mailbox = "fileinto \"Tea\"\nfileinto \"Other\"\nredirect \"carl@example.net\"\n";
    assert_eq!(said(&files.run(&[&plain[..], &["-m", "Other"]].concat())), (0, with_mailbox.to_owned()));
    let trace = "   2: envelope is true\n   2: fileinto\n   3: mailboxexists is false\n   4: include\n     1: redirect\n";
    assert_eq!(said(&files.run(&[&plain[..], &["--trace"]].concat())), (0, format!("{trace}{actions}")));
    fs::create_dir(files.0.join("out")).unwrap();
    assert_eq!(said(&files.run(&[&plain[..], &["--write", "out"]].concat())).0, 0);
    assert_eq!(fs::read_to_string(files.0.join("out/0.eml")).unwrap(), MESSAGE.replace('\n', "\r\n"));
    fs::write(files.0.join("fails.sieve"), "require [\"fileinto\", \"variables\"];\nfileinto \"${none}\";\n")
        .unwrap();
    let (code, failed) = said(&files.run(&["run", "fails.sieve", "m.eml"]));
    assert_eq!(code, 1);
    assert!(failed.starts_with("implicit keep\nerror: line 2, column 1: "), "{failed}");
    let broken = files.run(&["run", "more.sieve", "missing.eml"]);
    assert_eq!(broken.status.code(), Some(2));
}

/// Without options the header tells who sent the message and to whom.
#[test]
fn the_header_stands_in_for_the_envelope() {
    let script = "require [\"fileinto\", \"envelope\", \"variables\", \"copy\"];\n\
        if envelope :matches \"from\" \"*\" { fileinto :copy \"from ${1}!\"; }\n\
        if envelope :matches \"to\" \"*\" { fileinto :copy \"to ${1}!\"; }\n";
    let returned = format!("Return-Path: <>\nDelivered-To: carl@example.com\n{MESSAGE}");
    let files = Files::new(
        "envelope",
        &[("a.sieve", script), ("a.eml", MESSAGE), ("b.eml", &returned), ("c.eml", "\n")],
    );
    for (message, options, expected) in [
        (
            "a.eml",
            &[][..],
            "fileinto \"from ann@example.org!\"\nfileinto \"to bob+tea@example.com!\"\nimplicit keep\n",
        ),
        ("b.eml", &[], "fileinto \"from !\"\nfileinto \"to carl@example.com!\"\nimplicit keep\n"),
        (
            "b.eml",
            &["-f", "d@x.example"],
            "fileinto \"from d@x.example!\"\nfileinto \"to carl@example.com!\"\nimplicit keep\n",
        ),
        ("c.eml", &[], "implicit keep\n"),
    ] {
        let output = files.run(&[&["run", "a.sieve", message], options].concat());
        assert_eq!(said(&output), (0, expected.to_owned()), "{message}");
    }
}

#[test]
fn scores_are_those_that_are_told() {
    let script = "require [\"fileinto\", \"spamtestplus\", \"virustest\", \"relational\", \"comparator-i;ascii-numeric\"];\n\
        if spamtest :value \"ge\" :comparator \"i;ascii-numeric\" \"8\" { fileinto \"eight\"; }\n\
        if spamtest :percent :value \"ge\" :comparator \"i;ascii-numeric\" \"80\" { fileinto \"eighty\"; }\n\
        if virustest :is \"5\" { fileinto \"virus\"; }\n";
    let files = Files::new("scores", &[("a.sieve", script), ("m.eml", MESSAGE)]);
    for (options, expected) in [
        (&[][..], "implicit keep\n"),
        (&["--spam", "80"], "fileinto \"eight\"\nfileinto \"eighty\"\n"),
        (&["--spam", "70", "--virus", "1"], "implicit keep\n"),
        (&["--spam", "0", "--virus", "5"], "fileinto \"virus\"\n"),
    ] {
        let output = files.run(&[&["run", "a.sieve", "m.eml"], options].concat());
        assert_eq!(said(&output), (0, expected.to_owned()), "{options:?}");
    }
    assert_eq!(files.run(&["run", "a.sieve", "m.eml", "--spam", "101"]).status.code(), Some(2));
}

#[test]
fn suite_counts_and_says_how_it_went() {
    let suite = "require \"vnd.dovecot.testsuite\";\ntest_set \"message\" text:\nSubject: tea\n\nNow.\n.\n;\n\
        test_config_set \"mail_location\" \"mbox:~/mail\";\n\
        test \"subject\" { if not header \"subject\" \"tea\" { test_fail \"no tea\"; } }\n\
        test \"script\" { if not test_script_compile \"keep.sieve\" { test_fail \"not found\"; } }\n";
    let failing = "require \"vnd.dovecot.testsuite\";\ntest \"it\" { test_fail \"as it must\"; }\n";
    let files = Files::new(
        "suite",
        &[("a.svtest", suite), ("b.svtest", failing), ("c.svtest", "nonsense;\n"), ("keep.sieve", "keep;\n")],
    );
    let good = "a.svtest:\nwarning: the setting `mail_location` has no effect here\n  1: subject: ok\n  2: script: ok\n";
    assert_eq!(said(&files.run(&["suite", "a.svtest"])), (0, format!("{good}2 passed, 0 failed\n")));
    let bad = "b.svtest:\n  1: it: FAILED: as it must\nc.svtest:\nFAILED: it does not compile:\n\
        line 1, column 1: unknown command `nonsense`\n2 passed, 2 failed\n";
    let (code, text) = said(&files.run(&["suite", "a.svtest", "b.svtest", "c.svtest"]));
    assert_eq!((code, text), (1, format!("{good}{bad}")));
    // The files that a suite names are beside it, wherever the program is started.
    let elsewhere =
        Command::new(PROGRAM).args(["suite", &files.0.join("a.svtest").display().to_string()]).output();
    assert!(said(&elsewhere.unwrap()).1.ends_with("2 passed, 0 failed\n"));
}

/// A suite of programs that stand beside it.
#[cfg(unix)]
#[test]
fn suites_run_programs_if_they_are_let() {
    use std::os::unix::fs::PermissionsExt as _;

    let suite = r#"require ["vnd.dovecot.testsuite", "vnd.dovecot.execute", "vnd.dovecot.pipe", "variables"];
test_config_set "sieve_execute_bin_dir" "${tst.path}/bin";
test_config_set "sieve_pipe_bin_dir" "${tst.path}/bin"; test_config_set "sieve_pipe_exec_timeout" "1s";
test_config_reload;
test "output" {
    execute :input "tea" :output "out" "say" ["more", "${hex:41}"];
    if not string "${out}" "more ${hex:41} tea recipient@example.org" { test_fail "${out}"; }
    if execute "no" { test_fail "it said no"; }
}
test "too long" {
    pipe "wait";
    if test_result_execute { test_fail "nobody waits so long"; }
}
"#;
    let files = Files::new(
        "programs",
        &[("s.svtest", suite), ("failing.svtest", "require \"vnd.dovecot.testsuite\"; test_fail \"x\";\n")],
    );
    fs::create_dir(files.0.join("bin")).unwrap();
    // The wait leaves a program behind it that holds its output open.
    for (name, script) in [
        ("say", "printf '%s %s ' \"$@\"; cat; printf ' %s' \"$RECIPIENT\""),
        ("no", "exit 3"),
        ("wait", "sleep 5 & sleep 5"),
    ] {
        let path = files.0.join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let begun = std::time::Instant::now();
    let (code, text) = said(&files.run(&["suite", "--programs", "s.svtest"]));
    assert_eq!((code, text.lines().last()), (0, Some("2 passed, 0 failed")), "{text}");
    assert!(begun.elapsed().as_secs() < 4, "{:?}", begun.elapsed());
    // Without leave there are none, though the test script names them.
    let (code, text) = said(&files.run(&["suite", "s.svtest"]));
    assert!(code == 1 && text.contains("there is no program `say`"), "{text}");

    // Each file is to fail.
    let (code, text) = said(&files.run(&["suite", "--expect-failure", "failing.svtest"]));
    assert!(code == 0 && text.ends_with("0 passed, 1 failed\n"), "{text}");
    let both = ["suite", "--expect-failure", "--programs", "s.svtest", "failing.svtest"];
    assert_eq!(said(&files.run(&both)).0, 1);
}

#[test]
fn extensions_are_listed() {
    let files = Files::new("extensions", &[]);
    let (code, text) = said(&files.run(&["extensions"]));
    assert_eq!(code, 0);
    let names: Vec<_> = text.lines().collect();
    assert!(
        names.is_sorted() && names.contains(&"fileinto") && names.contains(&"vnd.dovecot.execute"),
        "{names:?}"
    );
}

/// Generated scripts and messages: both programs would do the same. More of them: see `differential/run.py`.
#[test]
fn pigeonhole_would_do_the_same() {
    let there = |name: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|directory| directory.join(name).is_file())
    };
    if !there("sieve-test") || !there("python3") {
        assert!(
            std::env::var_os("CI").is_none(),
            "Pigeonhole's sieve-test is not installed, and CI must have it"
        );
        eprintln!("skipped: Pigeonhole's sieve-test, or python3, is not installed");
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential/run.py");
    let output = Command::new("python3").arg(script).args([PROGRAM, "200", "7"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let summary = text.lines().last().unwrap_or_default();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && summary.ends_with(", 0 differences"), "{text}{error}");
    // What the other one refuses is compared with nothing.
    let refused =
        summary.strip_prefix("200 scripts, ").and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok());
    assert!(refused.is_some_and(|refused| refused < 50), "{summary}");
}
