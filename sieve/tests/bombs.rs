//! Scripts and messages made to cost without end: each ends at the limit that is there for it, and the message is kept.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use mailwright_mail_model::{DateTime, mime::Structure};
use mailwright_sieve::{Action, Answer, Input, Limits, MemoryHost, Outcome, Request, Run, Step, testsuite};

const REQUIRE: &str = r#"require ["fileinto", "variables", "include", "mime", "foreverypart", "regex", "editheader", "copy",
    "enotify", "vnd.dovecot.pipe", "vnd.dovecot.debug", "body", "extracttext", "replace", "enclose", "duplicate"];"#;

fn repeat(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect()
}

/// A host whose user has these scripts to include.
fn host(message: &str, scripts: &[(&str, String)]) -> MemoryHost {
    let mut host = MemoryHost::new(message.as_bytes());
    host.language = testsuite::whole_language();
    host.input.envelope.from = Some("ann@example.org".into());
    for (name, script) in scripts {
        let script = format!("{REQUIRE}{script}").into_bytes();
        host.scripts.insert((false, (*name).to_owned()), script);
    }
    host
}

/// A kind of cost, the script, its limits, scripts that can be included, and what is told in the end.
type Case<'a> = (&'a str, String, &'a Limits, &'a [(&'a str, String)], &'a str);

const MESSAGE: &str = "From: ann@example.org\r\nSubject: tea\r\n\r\nmore tea?\r\n";

fn run(script: &str, limits: &Limits, host: &mut MemoryHost) -> Outcome {
    host.limits = limits.clone();
    let program = host.language.compile(format!("{REQUIRE}{script}").as_bytes());
    host.run(program.unwrap_or_else(|error| panic!("{error}")))
}

/// What is wrong with a script that is not even compiled.
#[test]
fn what_is_too_much_to_compile() {
    let language = testsuite::whole_language();
    for (kind, script, expected) in [
        ("size", "# tea\r\n".repeat(200_000), "octets"),
        ("blocks", "if true {".repeat(100_000), "deep"),
        ("tests", format!("if {}true {{}}", "not ".repeat(100_000)), "deep"),
        ("lists of tests", format!("if {}true", "anyof (".repeat(100_000)), "deep"),
        ("errors", "nonsense;\r\n".repeat(10_000), "enough"),
        (
            "regular expressions",
            repeat(2000, |n| format!("if header :regex \"subject\" \"[a-z]{{1000}}{n}\" {{}}\r\n")),
            "the regular expressions of the script need more than 67108864 octets",
        ),
    ] {
        let Err(error) = language.compile(format!("{REQUIRE}{script}").as_bytes()) else { panic!("{kind}") };
        let error = error.to_string();
        assert!(error.contains(expected), "{kind}: {}", &error[error.len().saturating_sub(300)..]);
        assert!(error.len() < 100_000, "{kind}: {}", error.len());
    }
}

/// Each kind of cost, what a script does to run it up, and what it is told in the end.
#[test]
fn each_kind_ends_at_its_limit() {
    let mut small = Limits::default();
    small.instructions = 100_000;
    let mut little_memory = Limits::default();
    little_memory.memory = 1 << 20;
    let long = "a".repeat(60_000);
    let tree: Vec<(String, String)> = (0..9)
        .map(|level| (format!("s{level}"), format!("include \"s{}\";", level + 1).repeat(4)))
        .chain([("s9".to_owned(), "keep;".to_owned())])
        .collect();
    let tree: Vec<(&str, String)> = tree.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
    let mut little_regex = Limits::default();
    little_regex.regexes = 1 << 20;
    let cases: [Case<'_>; 19] = [
        (
            "strings of one command",
            format!("set \"a\" \"{long}\"; if header \"subject\" [\"\"{}] {{}}", ",\"${a}${a}\"".repeat(20)),
            &little_memory,
            &[],
            "the strings of one command hold more than 1048576 octets",
        ),
        (
            "strings of actions",
            format!("set \"a\" \"{long}\";")
                + &repeat(30, |n| format!("notify :message \"${{a}}\" \"mailto:u{n}@example.org\";")),
            &little_memory,
            &[],
            "the actions hold more than 1048576 octets",
        ),
        (
            "strings of header fields",
            format!("set \"a\" \"{long}\";") + &repeat(30, |n| format!("addheader \"X-{n}\" \"${{a}}\";")),
            &little_memory,
            &[],
            "the actions hold more than 1048576 octets",
        ),
        (
            "identifiers",
            repeat(1100, |n| format!("if duplicate :uniqueid \"{n}\" {{}}")),
            &small,
            &[],
            "more than 1000 identifiers",
        ),
        (
            "regular expressions of one test",
            format!(
                "set \"r\" \"[a-z]{{1000}}\"; if string :regex \"a\" [\"x\"{}] {{}}",
                ",\"${r}\"".repeat(200)
            ),
            &little_regex,
            &[],
            "the regular expressions of this test need more than 1048576 octets",
        ),
        ("actions", repeat(40, |n| format!("fileinto :copy \"m{n}\";")), &small, &[], "more than 32 actions"),
        (
            "redirects",
            repeat(5, |n| format!("redirect \"u{n}@example.org\";")),
            &small,
            &[],
            "more than 4 addresses",
        ),
        (
            "reports",
            "require \"vnd.dovecot.report\";".to_owned()
                + &repeat(5, |n| format!("report \"abuse\" \"x\" \"u{n}@example.org\";")),
            &small,
            &[],
            "redirects and reports to more than 4 addresses",
        ),
        ("pipes", repeat(40, |n| format!("pipe :copy \"p{n}\";")), &small, &[], "more than 32 actions"),
        (
            "header fields",
            repeat(40, |n| format!("addheader \"X-{n}\" \"x\";")),
            &small,
            &[],
            "more than 32 header fields",
        ),
        (
            "memory",
            format!("set \"a\" \"{long}\";") + &repeat(60, |n| format!("set \"b{n}\" \"${{a}}\";")),
            &little_memory,
            &[],
            "hold more than 1048576 octets",
        ),
        (
            "patterns",
            format!(
                "set \"a\" \"{long}\";{}",
                format!("if string :matches \"${{a}}\" \"*{}b\" {{}}", "a".repeat(1000)).repeat(60)
            ),
            &small,
            &[],
            "steps",
        ),
        (
            "regular expressions at work",
            format!("set \"a\" \"{long}\";{}", "if string :regex \"${a}${a}\" \"^(a+)+$b\" {}".repeat(2000)),
            &small,
            &[],
            "steps",
        ),
        (
            "large regular expressions",
            "set \"r\" \"((a{100}){100}){100}\"; if string :regex \"a\" \"${r}\" {}".to_owned(),
            &small,
            &[],
            "regular expression needs more than",
        ),
        (
            "a script that includes itself",
            "include \"me\";".to_owned(),
            &small,
            &[("me", "include \"me\";".to_owned())],
            "more than 10 deep",
        ),
        (
            "two scripts that include each other",
            "include \"you\";".to_owned(),
            &small,
            &[("you", "include \"me\";".to_owned()), ("me", "include \"you\";".to_owned())],
            "more than 10 deep",
        ),
        ("a tree of scripts", "include \"s0\";".to_owned(), &small, &tree, "more than 255 scripts"),
        (
            "instructions",
            "if header \"subject\" \"x\" {}".repeat(9000),
            &{
                let mut few = Limits::default();
                few.instructions = 10_000;
                few
            },
            &[],
            "steps",
        ),
        (
            "the body again and again",
            "if body :contains \"nowhere in it\" {}".repeat(9000),
            &{
                let mut few = Limits::default();
                few.instructions = 10_000;
                few
            },
            &[],
            "steps",
        ),
    ];
    for (kind, script, limits, scripts, expected) in cases {
        let outcome = run(&script, limits, &mut host(MESSAGE, scripts));
        let error = outcome.error.unwrap_or_else(|| panic!("{kind}: no error"));
        assert!(error.to_string().contains(expected), "{kind}: {error}");
        assert!(matches!(&outcome.actions[..], [Action::Keep(_)]), "{kind}: {:?}", outcome.actions);
    }
}

/// What grows is cut off, where a limit says how long it may be: no error, and no more memory (RFC 5229 §6).
#[test]
fn what_is_too_long_is_cut_off() {
    let doubling = format!(
        "set \"a\" \"x\";{} set :length \"l\" \"${{a}}\"; debug_log \"${{l}}\";",
        "set \"a\" \"${a}${a}\";".repeat(64)
    );
    let outcome = run(&doubling, &Limits::default(), &mut host(MESSAGE, &[]));
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(outcome.log[0].message, Limits::default().variable.to_string());
    let chatter = "debug_log \"x\";".repeat(5000);
    let outcome = run(&chatter, &Limits::default(), &mut host(MESSAGE, &[]));
    assert!(outcome.log.len() <= Limits::default().log, "{}", outcome.log.len());
    let most = Limits::default().variable;
    let long = format!("set \"a\" \"{}\";", "a".repeat(60_000));
    let lines = format!(
        "{long} debug_log \"${{a}}${{a}}\"; if string :matches \"${{a}}${{a}}\" \"*\" {{ debug_log \"${{1}}${{1}}\"; \
         set :length \"l\" \"${{0}}\"; debug_log \"${{l}}\"; }}"
    );
    let outcome = run(&lines, &Limits::default(), &mut host(MESSAGE, &[]));
    let lengths: Vec<_> = outcome.log.iter().map(|line| line.message.len()).collect();
    assert_eq!(lengths, [most, most, 5]);
    assert_eq!(outcome.log[2].message, most.to_string());
    let flags =
        format!("require \"imap4flags\"; {long} {}", repeat(40, |n| format!("addflag \"${{a}}{n}\";")));
    let outcome = run(&flags, &Limits::default(), &mut host(MESSAGE, &[]));
    let [Action::Keep(keep)] = &outcome.actions[..] else { panic!("{:?}", outcome.error) };
    let flags = keep.flags.as_ref().unwrap();
    assert!(flags.len() == 1 && flags[0].ends_with("a0"), "{}", flags.len());
}

/// Runs a script on a message until its host has been asked so often whether it is over; how often it was asked.
fn run_until(asked: u32, script: &str) -> (Outcome, u32) {
    let language = testsuite::whole_language();
    let program = language.compile(format!("{REQUIRE}{script}").as_bytes()).unwrap();
    let input = Input::new(Arc::new(Structure::of(MESSAGE.as_bytes())), DateTime::EPOCH);
    let count = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&count);
    let mut run = Run::new(Arc::new(program), input)
        .until(move || counted.fetch_add(1, Ordering::Relaxed) + 1 >= asked);
    loop {
        match run.poll() {
            Step::Need(Request::Octets { range, .. }) => {
                let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
                run.answer(Answer::Octets(MESSAGE.as_bytes()[range].to_vec().into()));
            }
            Step::Need(other) => panic!("{other:?}"),
            Step::Done(outcome) => return (*outcome, count.load(Ordering::Relaxed)),
        }
    }
}

/// The host has a clock, this crate has none.
#[test]
fn a_run_ends_when_its_host_says_so() {
    let steps = "if header \"subject\" \"x\" {}".repeat(2_000);
    let within_one = format!("if header \"subject\" [\"x\"{}] {{}}", ",\"y\"".repeat(5_000));
    let parts = format!("foreverypart {{ {steps} }}");
    for script in [&steps, &within_one, &parts] {
        let script = format!("fileinto \"before\"; {script} fileinto \"after\";");
        let (outcome, asked) = run_until(3, &script);
        assert_eq!(asked, 3, "it is not asked again");
        assert!(outcome.error.unwrap().message.contains("takes too long"));
        assert!(matches!(&outcome.actions[..], [Action::Keep(_)]), "{:?}", outcome.actions);
        let (outcome, asked) = run_until(u32::MAX, &script);
        assert!(outcome.error.is_none() && outcome.actions.len() == 2, "{:?}", outcome.error);
        assert!((10..100).contains(&asked), "{asked}");
    }
    let (outcome, asked) = run_until(1, "fileinto \"soon\";");
    assert!(outcome.error.is_none() && asked == 0, "what is short is not asked about: {asked}");
}

/// Messages of a thousand levels or ten thousand parts, in loops within loops.
#[test]
fn deep_and_wide_messages_end() {
    let open: String =
        repeat(1000, |n| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n"));
    let deep = format!("Subject: tea\r\n{open}\r\nend\r\n");
    let wide = format!(
        "Subject: tea\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{}--b--\r\n",
        "--b\r\nContent-Type: text/plain\r\n\r\nx\r\n".repeat(10_000)
    );
    let forwarded =
        format!("Subject: tea\r\n{}\r\nend\r\n", "Content-Type: message/rfc822\r\n\r\n".repeat(1000));
    let nested = "foreverypart { foreverypart { foreverypart { if header :mime :anychild :contains \"content-type\" \"zz\" { stop; } } } }";
    let reading =
        "foreverypart { extracttext \"a\"; if header :mime :anychild :contains \"*\" \"zz\" { stop; } }";
    let changing = "foreverypart { replace \"x\"; enclose \"y\"; }";
    let mut limits = Limits::default();
    limits.instructions = 200_000;
    for message in [&deep, &wide, &forwarded] {
        for script in [nested, reading, changing] {
            let mut host = host(message, &[]);
            let outcome = run(script, &limits, &mut host);
            // To the end, or to a limit that says so; kept in either case.
            assert_eq!(outcome.actions.len(), 1, "{script}");
            if let Some(error) = &outcome.error {
                let text = error.to_string();
                assert!(
                    text.contains("steps") || text.contains("more than") || text.contains("deep"),
                    "{script}: {text}"
                );
            }
        }
    }
}
