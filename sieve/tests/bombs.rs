//! Scripts and messages made to cost without end: each ends at the limit that is there for it, and the message is kept.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use mailwright_sieve::{Action, Limits, MemoryHost, Outcome, testsuite};

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
    let cases: [Case<'_>; 13] = [
        ("actions", repeat(40, |n| format!("fileinto :copy \"m{n}\";")), &small, &[], "more than 32 actions"),
        (
            "redirects",
            repeat(5, |n| format!("redirect \"u{n}@example.org\";")),
            &small,
            &[],
            "more than 4 addresses",
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
