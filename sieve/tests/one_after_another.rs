//! Scripts that run one after another, those of the server before and after that of the user: none is in the way of another.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::sync::Arc;

use mailwright_sieve::{Action, Language, MemoryHost, Outcome, Run, extension};

const REQUIRE: &str = r#"require ["fileinto", "copy", "imap4flags", "reject", "vacation", "ihave", "editheader", "enotify", "duplicate",
    "vnd.dovecot.report", "vnd.dovecot.pipe"];"#;

fn run(scripts: &[&str]) -> Outcome {
    let language = extension::programs().into_iter().fold(Language::standard(), Language::with);
    let mut host = MemoryHost::new(
        *b"From: ann@example.org\r\nTo: bob@example.com\r\nMessage-ID: <1@example.org>\r\nSubject: tea\r\n\r\nx\r\n",
    );
    host.input.envelope.from = Some("ann@example.org".into());
    host.input.envelope.to = Some("bob@example.com".into());
    let mut programs = scripts.iter().map(|script| {
        let compiled = language.compile(format!("{REQUIRE}{script}").as_bytes());
        Arc::new(compiled.unwrap_or_else(|error| panic!("{script}: {error}")))
    });
    let first = Run::new(programs.next().unwrap(), host.input.clone());
    let run = programs.fold(first, Run::then);
    host.drive(run)
}

/// What is done, in few words.
fn words(outcome: &Outcome) -> String {
    let said = outcome.in_words();
    let words = outcome.actions.iter().zip(&said).map(|(action, said)| match action {
        Action::Vacation(_) => "vacation",
        _ => said.as_str(),
    });
    words.collect::<Vec<_>>().join(", ")
}

/// Scripts, and what is done in the end.
type Case<'a> = (&'a [&'a str], &'a str);

fn check(cases: &[Case<'_>]) {
    for (scripts, expected) in cases {
        let outcome = run(scripts);
        assert_eq!(words(&outcome), *expected, "{scripts:?}: {:?}", outcome.error);
    }
}

/// RFC 5232 §4, and Pigeonhole's way with scripts that follow one another.
#[test]
fn flags_last_through_the_scripts_that_follow() {
    const NOTHING: &str = "# nothing";
    check(&[
        (&[NOTHING, r#"addflag "\\Flagged";"#, NOTHING], r"implicit keep flags (\Flagged)"),
        (&[NOTHING, r#"keep :flags "\\Flagged";"#, NOTHING], r"implicit keep flags (\Flagged)"),
        (&[NOTHING, r#"addflag "\\Flagged"; keep;"#, NOTHING], r"implicit keep flags (\Flagged)"),
        (
            &[NOTHING, r#"fileinto :copy :flags "\\Flagged" "INBOX";"#, NOTHING],
            r#"fileinto "INBOX" flags (\Flagged)"#,
        ),
        (&[r#"addflag "\\Flagged";"#, "stop;"], r"implicit keep flags (\Flagged)"),
        (&[r#"addflag "\\Flagged";"#, "keep;"], r"keep flags (\Flagged)"),
        (&[r#"addflag "\\Flagged";"#, r#"fileinto "a";"#], r#"fileinto "a" flags (\Flagged)"#),
        (
            &[r#"addflag "\\Flagged";"#, r#"if hasflag "\\Flagged" { addflag "\\Seen"; }"#],
            r"implicit keep flags (\Flagged \Seen)",
        ),
        (&[r#"addflag "\\Flagged"; keep;"#, r#"removeflag "\\Flagged";"#], "implicit keep"),
        // What `keep` names is for where the message is kept, and not for copies of it elsewhere.
        (&[r#"keep :flags "\\Flagged";"#, "keep;"], r"keep flags (\Flagged)"),
        (&[r#"keep :flags "\\Flagged";"#, r#"addflag "\\Seen";"#], r"implicit keep flags (\Flagged \Seen)"),
        (
            &[r#"keep :flags "\\Flagged";"#, r#"keep :flags "\\Seen";"#, NOTHING],
            r"implicit keep flags (\Seen)",
        ),
        (&[r#"keep :flags "\\Flagged";"#, r#"fileinto "a";"#], r#"fileinto "a""#),
        // Where a copy is already, what `keep` names counts, and not what is in the variable.
        (
            &[r#"setflag "q"; fileinto :copy "INBOX"; keep :flags "\\Flagged"; setflag "z";"#],
            r#"fileinto "INBOX" flags (\Flagged)"#,
        ),
        // What failed says nothing, what came before it does.
        (&[r#"addflag "\\Flagged";"#, r#"addflag "\\Seen"; error "x";"#], r"implicit keep flags (\Flagged)"),
    ]);
}

/// What a script before it wants is done, and a script does not fail for it.
#[test]
fn scripts_are_in_nobodys_way() {
    check(&[
        (&[r#"redirect :copy "a@b.example";"#, r#"reject "no";"#], r#"redirect "a@b.example", reject: no"#),
        (&[r#"fileinto :copy "a";"#, r#"reject "no";"#], r#"fileinto "a", reject: no"#),
        (&[r#"pipe :copy "a";"#, r#"reject "no";"#], r#"pipe "a" [], reject: no"#),
        (&[r#"pipe :copy "a";"#, r#"pipe :copy "a" "b"; discard;"#], r#"pipe "a" [], pipe "a" ["b"]"#),
        (&[r#"vacation "one";"#, r#"vacation "two"; fileinto "a";"#], r#"vacation, fileinto "a""#),
        // RFC 5429 §2.4: nobody is answered and refused.
        (&[r#"vacation "one";"#, r#"reject "no";"#], "vacation, implicit keep"),
        // In one script nothing has changed.
        (
            &[r#"redirect :copy "a@b.example";"#, r#"fileinto :copy "a"; reject "no";"#],
            r#"redirect "a@b.example", implicit keep"#,
        ),
        (&["keep;", r#"vacation "one"; vacation "two";"#], "implicit keep"),
    ]);
    let refused = run(&[r#"vacation "one";"#, r#"reject "no";"#]);
    assert!(refused.error.is_none() && refused.log[0].message.contains("not refused"), "{refused:?}");
}

/// RFC 5228 §2.10.3: whoever wants it, once.
#[test]
fn nobody_gets_a_message_twice() {
    let report = r#"report "abuse" "x" "a@b.example";"#;
    let notify = r#"notify "mailto:a@b.example";"#;
    let to = r#"redirect :copy "a@b.example";"#;
    check(&[
        (&[to, r#"redirect "A@B.example";"#], r#"redirect "a@b.example""#),
        (&[to, to, to], r#"redirect "a@b.example", implicit keep"#),
        (&[report, report], r#"report "abuse" to a@b.example, implicit keep"#),
        (&[notify, notify], "notify mailto:a@b.example, implicit keep"),
        (&[r#"fileinto :copy "a";"#, r#"fileinto "a";"#], r#"fileinto "a", fileinto "a""#),
    ]);
}

/// RFC 5804 §1.7: MAXREDIRECTS says what one script can do.
#[test]
fn each_script_has_its_own_redirects() {
    let many = |prefix: &str, count: usize| -> String {
        (0..count).map(|number| format!("redirect :copy \"{prefix}{number}@example.net\";")).collect()
    };
    let redirects = |scripts: &[&str]| {
        let outcome = run(scripts);
        let count = outcome.actions.iter().filter(|action| matches!(action, Action::Redirect(_))).count();
        (count, outcome.error.is_some())
    };
    assert_eq!(redirects(&[&many("a", 4), &many("b", 4), &many("c", 1)]), (9, false));
    assert_eq!(redirects(&[&many("a", 1), &many("b", 5)]), (1, true));
    // A report is sent to somebody as well.
    let reports = many("a", 4).replace("redirect :copy ", "report \"abuse\" \"x\" ");
    assert_eq!(redirects(&[&format!("{reports}{}", many("b", 1))]), (0, true));
    assert_eq!(redirects(&[&reports, &many("b", 4)]), (4, false));
}

#[test]
fn what_scripts_before_it_want_stays_done_when_one_fails() {
    let seen = |scripts: &[&str]| run(scripts).seen.len();
    let first = "if duplicate { discard; stop; }";
    assert_eq!(seen(&[first, r#"error "x";"#]), 1);
    assert_eq!(seen(&[first, r#"if duplicate :handle "b" {} error "x";"#]), 1);
    assert_eq!(seen(&[r#"if duplicate { discard; } error "x";"#]), 0);
    // The same for what goes wrong when it is carried out: of the script whose action that was, and behind it, nothing is left.
    let scripts = [
        r#"fileinto :copy "a"; addflag "\\Flagged";"#,
        r#"if duplicate {} fileinto :copy "b"; pipe :copy "c";"#,
        "# nothing",
        r#"fileinto :copy "d"; pipe "e";"#,
    ];
    for (failed, expected, remembered) in [
        (0, "implicit keep", 0),
        (1, r#"fileinto "a", implicit keep flags (\Flagged)"#, 0),
        (2, r#"fileinto "a", implicit keep flags (\Flagged)"#, 0),
        (3, r#"fileinto "a", fileinto "b" flags (\Flagged), pipe "c" [], implicit keep flags (\Flagged)"#, 1),
        (4, r#"fileinto "a", fileinto "b" flags (\Flagged), pipe "c" [], implicit keep flags (\Flagged)"#, 1),
    ] {
        let mut outcome = run(&scripts);
        assert_eq!(outcome.actions.len(), 5);
        outcome.undo(failed, 10);
        assert_eq!((words(&outcome).as_str(), outcome.seen.len()), (expected, remembered), "{failed}");
        assert!(outcome.unless_piped.is_none());
    }
    // Actions that were taken out count for nothing.
    let mut outcome = run(&scripts);
    outcome.retain(|action| !matches!(action, Action::FileInto(_)));
    assert_eq!(words(&outcome), r#"pipe "c" [], pipe "e" []"#);
    outcome.undo(1, 10);
    assert_eq!(words(&outcome), r#"pipe "c" [], implicit keep flags (\Flagged)"#);
}
