//! Scripts at work on messages: the base language and what every run promises.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::sync::Arc;

use mailwright_mail_model::{DateTime, mime::Structure};
use mailwright_sieve::{Action, Answer, Input, Language, Limits, MemoryHost, Outcome, Request, Run, Step};

const MESSAGE: &str = "From: Ann <ann@Example.org>\r\nTo: bob+tea@example.com, Carl <carl@example.net>\r\n\
    Subject: =?utf-8?q?Caf=C3=A9?= and tea\r\nX-Number: 17\r\nX-Original-To: tea\r\n\r\nBody.\r\n";

fn host() -> MemoryHost {
    let mut host = MemoryHost::new(MESSAGE);
    host.input.envelope.from = Some("ann@example.org".into());
    host.input.envelope.to = Some("bob+tea@example.com".into());
    host
}

fn run(script: &str) -> Outcome {
    host().run(
        Language::standard().compile(script.as_bytes()).unwrap_or_else(|error| panic!("{script}\n{error}")),
    )
}

/// What is done, in a word or two each.
fn actions(outcome: &Outcome) -> String {
    let words = outcome.actions.iter().map(|action| match action {
        Action::Keep(_) if outcome.implicit_keep => "implicit".to_owned(),
        Action::Keep(_) => "keep".to_owned(),
        Action::FileInto(delivery) => format!("into {}", delivery.mailbox.as_deref().unwrap_or_default()),
        Action::Redirect(redirect) => format!("to {}", redirect.address),
        Action::Reject(_) => "reject".to_owned(),
        other => format!("{other:?}"),
    });
    words.collect::<Vec<_>>().join(", ")
}

const REQUIRE: &str = "require [\"fileinto\", \"copy\", \"envelope\", \"subaddress\", \"variables\", \"relational\", \"regex\", \
    \"comparator-i;ascii-numeric\", \"comparator-i;unicode-casemap\", \"reject\", \"index\", \"imap4flags\", \"editheader\", \"ihave\"];\n";

#[test]
fn what_scripts_do() {
    for (script, expected) in [
        ("", "implicit"),
        ("keep;", "keep"),
        ("discard;", ""),
        ("discard; keep;", "keep"),
        ("stop; discard;", "implicit"),
        ("fileinto :copy \"INBOX\";", "into INBOX"),
        ("setflag \"a\"; keep; addflag \"b\";", "keep"),
        ("fileinto \"a\";", "into a"),
        ("fileinto \"inbox\"; fileinto \"INBOX\";", "into INBOX"),
        ("fileinto :copy \"a\";", "into a, implicit"),
        ("fileinto \"a\"; keep; keep;", "into a, keep"),
        ("redirect \"x@y.example\"; redirect \"X@Y.example\";", "to x@y.example"),
        ("redirect :copy \"x@y.example\";", "to x@y.example, implicit"),
        ("reject \"no\";", "reject"),
        ("if false { discard; } elsif true { fileinto \"b\"; } else { discard; }", "into b"),
        ("if false { discard; } elsif false { discard; } else { fileinto \"c\"; }", "into c"),
        ("if allof (true, not false, anyof (false, true)) { discard; }", ""),
        ("if not anyof (false, allof (true, false)) { discard; }", ""),
    ] {
        let outcome = run(&format!("{REQUIRE}{script}"));
        assert_eq!(actions(&outcome), expected, "{script}");
        assert_eq!(outcome.error, None, "{script}");
    }
}

/// RFC 8580 §3.2: with `:fcc` the tags of `fileinto` say how the copy is filed.
#[test]
fn copies_of_what_is_sent_are_filed_with_the_tags_of_fileinto() {
    let require = "require [\"vacation\", \"enotify\", \"fcc\", \"mailbox\", \"mailboxid\", \"special-use\", \"imap4flags\"];";
    let outcome = run(&format!(
        "{require} setflag \"mine\";\r\n\
         vacation :fcc \"Sent/Answers\" :create :flags [\"\\\\Seen\", \"auto\"] :specialuse \"\\\\Sent\" :addresses \"bob@example.com\" \"Away.\";\r\n\
         notify :flags \"told\" :mailboxid \"Fx\" :fcc \"Sent\" \"mailto:cell@example.org\"; notify :fcc \"Sent\" \"mailto:b@example.org\";"
    ));
    assert_eq!(outcome.error, None);
    let [Action::Vacation(reply), Action::Notify(first), Action::Notify(second), Action::Keep(_)] =
        &outcome.actions[..]
    else {
        panic!("{:?}", outcome.actions)
    };
    let answer = reply.fcc.as_ref().unwrap();
    assert_eq!(answer.mailbox.as_deref(), Some("Sent/Answers"));
    assert_eq!(answer.special_use.as_deref(), Some("\\Sent"));
    assert_eq!(answer.flags.as_deref(), Some(&["\\Seen".to_owned(), "auto".to_owned()][..]));
    assert!(answer.create);
    let told = first.fcc.as_ref().unwrap();
    assert_eq!(told.mailbox_id.as_deref(), Some("Fx"));
    assert_eq!(told.flags.as_deref(), Some(&["told".to_owned()][..]));
    let plain = second.fcc.as_ref().unwrap();
    assert!(plain.flags.is_none() && !plain.create, "the internal variable is for the message that came");
}

#[test]
fn what_tests_say() {
    for (test, expected) in [
        ("header \"subject\" \"CAFÉ and TEA\"", false),
        ("header \"subject\" \"café and TEA\"", true),
        ("header :comparator \"i;unicode-casemap\" \"subject\" \"CAFÉ and TEA\"", true),
        ("header :contains \"subject\" [\"x\", \"AND\"]", true),
        ("header :contains :comparator \"i;octet\" \"subject\" \"AND\"", false),
        ("header :matches \"SUBJECT\" \"caf? *\"", true),
        ("header :regex \"subject\" \"^caf. and (tea|coffee)$\"", true),
        ("header :is [\"x-none\", \"x-number\"] [\"1\", \"17\"]", true),
        ("header :value \"ge\" :comparator \"i;ascii-numeric\" \"x-number\" \"9\"", true),
        ("header :count \"eq\" :comparator \"i;ascii-numeric\" [\"to\", \"from\", \"none\"] \"2\"", true),
        ("header :contains \"x-none\" \"\"", false),
        ("address \"from\" \"ann@example.org\"", true),
        ("address :domain \"from\" \"EXAMPLE.ORG\"", true),
        ("address :localpart \"to\" [\"carl\"]", true),
        ("address :user \"to\" \"bob\"", true),
        ("address :detail \"to\" \"tea\"", true),
        ("address :detail \"from\" \"\"", false),
        ("address :count \"eq\" :comparator \"i;ascii-numeric\" \"to\" \"2\"", true),
        ("address :detail :count \"eq\" :comparator \"i;ascii-numeric\" \"to\" \"2\"", true),
        ("envelope \"from\" \"ann@example.org\"", true),
        ("envelope :detail \"to\" \"tea\"", true),
        ("envelope \"auth\" \"\"", false),
        ("address :localpart \"x-original-to\" \"tea\"", false),
        ("address \"x-original-to\" \"tea\"", true),
        ("header :index 2 [\"x-number\", \"x-original-to\"] \"tea\"", true),
        ("header :index 2 :last [\"x-number\", \"x-original-to\"] \"tea\"", false),
        ("exists [\"from\", \"to\"]", true),
        ("exists [\"from\", \"x-none\"]", false),
        ("size :over 10", true),
        ("size :under 1K", true),
        ("size :over 1M", false),
        ("string :is \"${undefined}\" \"\"", true),
        ("ihave [\"fileinto\", \"nonsense\"]", false),
        ("ihave \"fileinto\"", true),
    ] {
        let outcome = run(&format!("{REQUIRE}if {test} {{ discard; }}"));
        assert_eq!(outcome.actions.is_empty(), expected, "{test}\n{outcome:?}");
    }
}

#[test]
fn a_null_sender_is_the_empty_string() {
    let mut host = host();
    host.input.envelope.from = Some(String::new());
    let script = b"require \"envelope\"; if allof (envelope \"from\" \"\", envelope :domain \"from\" \"\") { discard; }";
    assert!(host.run(Language::standard().compile(script).unwrap()).actions.is_empty());
}

#[test]
fn variables_and_what_matched() {
    let script = "if header :matches \"subject\" \"* and *\" { set :upper \"x\" \"${2}\"; }
        set :length \"l\" \"${1}\"; set :quotewildcard \"q\" \"a*b\"; set :upperfirst :lower \"f\" \"juMBlEd\";
        fileinto \"${x}-${l}-${q}-${f}-${0}\";";
    assert_eq!(actions(&run(&format!("{REQUIRE}{script}"))), r"into TEA-4-a\*b-Jumbled-Café and tea");
}

#[test]
fn errors_keep_the_message() {
    for (script, expected) in [
        ("fileinto \"${x}\";", "is no name of a mailbox"),
        ("set \"p\" \"../..\"; fileinto \"a/${p}/b\";", "is no name of a mailbox"),
        ("redirect \"${x}\";", "is no address"),
        ("error \"as \\\"wished\\\"\";", "as \"wished\""),
        ("reject \"a\"; keep;", "cannot be refused and have `keep` as well"),
        ("fileinto \"a\"; reject \"a\";", "cannot be refused and have `fileinto` as well"),
        ("nonsense;", "unknown command `nonsense`"),
    ] {
        let outcome = run(&format!("{REQUIRE}{script}"));
        assert_eq!(actions(&outcome), "implicit", "{script}");
        let error = outcome.error.unwrap();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.position.line, 2);
    }
}

/// Scripts that would take forever, or all memory, and the limit that ends each.
#[test]
fn bombs_end_at_their_limit() {
    let doubled = "set \"a\" \"${a}${a}\";".repeat(60);
    let many = |count: usize, line: &dyn Fn(usize) -> String| (0..count).map(line).collect::<String>();
    let wide: String = format!("set \"a\" \"{}\";", "a".repeat(60_000))
        + &many(120, &|n| format!("set \"b{}\" \"${{a}}${{a}}\";", n));
    let long = "a".repeat(50_000);
    let stars = format!("*{}", "a".repeat(1000));
    for (script, expected) in [
        (many(40, &|n| format!("fileinto \"m{n}\";")), "more than 32 actions"),
        (many(5, &|n| format!("redirect \"m{n}@example.org\";")), "more than 4 addresses"),
        (many(33, &|n| format!("addheader \"x{n}\" \"\";")), "more than 32 header fields"),
        (format!("set \"a\" \"{long}\"; {}", format!("if string :matches \"${{a}}\" \"{stars}b\" {{}}").repeat(40)), "steps"),
        (format!("set \"a\" \"{long}\"; {}", "if string :regex \"${a}${a}${a}\" \"^(a+)+(a+)+b$\" {}".repeat(300)), "steps"),
        ("if string :regex \"a\" \"${long}\" {} set \"r\" \"((a{100}){100}){100}\"; if string :regex \"a\" \"${r}\" {}".into(), "regular expression needs more than"),
    ] {
        let mut host = host();
        host.limits.instructions = 100_000;
        let program = Language::standard().compile(format!("{REQUIRE}{script}").as_bytes()).unwrap();
        let outcome = host.run(program);
        let error = outcome.error.as_ref().unwrap_or_else(|| panic!("{}", &script[..60])).to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(outcome.actions.len(), 1);
    }
    for (script, error) in [(doubled, false), (wide, false)] {
        let outcome = run(&format!("{REQUIRE}set \"a\" \"x\"; {script}"));
        assert_eq!(outcome.error.is_some(), error, "{:?}", outcome.error);
    }
    let mut limits = Limits::default();
    limits.memory = 1 << 20;
    let mut host = host();
    host.limits = limits;
    let wide = format!("{REQUIRE}set \"a\" \"{}\";", "a".repeat(60_000))
        + &many(30, &|n| format!("set \"b{n}\" \"${{a}}\";"));
    let outcome = host.run(Language::standard().compile(wide.as_bytes()).unwrap());
    assert!(outcome.error.unwrap().message.contains("hold more than 1048576 octets"));
    assert!(Language::standard().compile("if true {".repeat(100_000).as_bytes()).is_err());
    assert!(Language::standard().compile(format!("if {}", "not ".repeat(100_000)).as_bytes()).is_err());
    assert!(Language::standard().compile(" ".repeat(2 << 20).as_bytes()).is_err());
}

#[test]
fn header_changes_are_in_what_is_stored_and_not_in_what_went_before() {
    let script = "fileinto \"before\"; addheader \"X-Tea\" \"one\r\nX-Evil: 1\"; addheader :last \"X-Last\" \"é\"; deleteheader \"x-number\"; fileinto \"after\";";
    let mut host = host();
    let outcome = host.run(Language::standard().compile(format!("{REQUIRE}{script}").as_bytes()).unwrap());
    let [Action::FileInto(before), Action::FileInto(after)] = &outcome.actions[..] else {
        panic!("{outcome:?}")
    };
    assert!(before.message.is_original());
    let text = String::from_utf8(host.octets(&after.message)).unwrap();
    assert_eq!(
        text,
        "X-Tea: one X-Evil: 1\r\n".to_owned()
            + &MESSAGE
                .replace("X-Number: 17\r\n", "")
                .replace("tea\r\n\r\n", "tea\r\nX-Last: =?UTF-8?B?w6k=?=\r\n\r\n")
    );
}

#[test]
fn scripts_follow_one_another_while_the_message_is_kept() {
    let language = Language::standard();
    let compile = |script: &str| Arc::new(language.compile(script.as_bytes()).unwrap());
    let copy = compile("require [\"fileinto\", \"copy\"]; fileinto :copy \"before\";");
    let personal = compile("require \"fileinto\"; fileinto \"mine\";");
    let keep = compile("keep;");
    let discard = compile("discard;");
    let broken = compile("require \"ihave\"; error \"x\";");
    for (scripts, expected) in [
        (vec![&copy, &personal, &discard], "into before, into mine"),
        (vec![&copy, &keep, &discard], "into before"),
        (vec![&copy, &broken, &discard], "into before, implicit"),
        (vec![&keep], "keep"),
    ] {
        let mut host = host();
        let mut run = Run::new(Arc::clone(scripts[0]), host.input.clone());
        for script in &scripts[1..] {
            run = run.then(Arc::clone(script));
        }
        assert_eq!(actions(&host.drive(run)), expected);
    }
}

/// A host may answer in pieces of any size, and is asked for the header of a large message but not for its body.
#[test]
fn only_what_is_needed_is_read() {
    let message = format!("{MESSAGE}{}", "0123456789abcdef\r\n".repeat(100_000));
    let script = format!(
        "{REQUIRE}if allof (header :contains \"subject\" \"tea\", address :user \"to\" \"bob\") {{ fileinto \"x\"; }}"
    );
    for piece in [1_u64, 7, 1 << 20] {
        let input = Input::new(Arc::new(Structure::of(message.as_bytes())), DateTime::EPOCH);
        let mut run = Run::new(Arc::new(Language::standard().compile(script.as_bytes()).unwrap()), input);
        let mut read = 0;
        let outcome = loop {
            match run.poll() {
                Step::Need(Request::Octets { range, .. }) => {
                    let end = range.end.min(range.start + piece);
                    read += end - range.start;
                    run.answer(Answer::Octets(
                        message.as_bytes()[range.start as usize..end as usize].to_vec().into(),
                    ));
                }
                Step::Need(other) => panic!("{other:?}"),
                Step::Done(outcome) => break outcome,
            }
        };
        assert_eq!(actions(&outcome), "into x");
        assert!(read < 400, "{read}");
    }
}

#[test]
fn a_host_that_fails_or_answers_nonsense_keeps_the_message() {
    for answer in [Answer::Failed("the disk is gone".into()), Answer::Truth(true)] {
        let program =
            Language::standard().compile(b"if header \"a\" \"b\" { discard; } else { discard; }").unwrap();
        let mut run = Run::new(Arc::new(program), host().input);
        let Step::Need(_) = run.poll() else { panic!() };
        let Step::Need(_) = run.poll() else { panic!() };
        run.answer(answer);
        let Step::Done(outcome) = run.poll() else { panic!() };
        assert_eq!(actions(&outcome), "implicit");
        assert!(outcome.error.is_some());
        let Step::Done(again) = run.poll() else { panic!() };
        assert_eq!(again, outcome);
    }
}

/// RFC 5435 §3.2, §4: what is notified by is looked at when it is known, as the checker does where it is written down.
#[test]
fn a_wrong_uri_to_notify_by_is_an_error_at_run_time() {
    let require = "require [\"enotify\", \"variables\", \"fileinto\"]; ";
    for (uri, valid) in [
        ("mailto:ann@example.org", true),
        ("MAILTO:ann@example.org?subject=x", true),
        ("mailto:stephan", false),
        ("mailto:", false),
        ("xmpp:ann@example.org", false),
    ] {
        let outcome = run(&format!("{require} set \"u\" \"{uri}\"; notify \"${{u}}\"; fileinto \"a\";"));
        assert_eq!(outcome.error.is_none(), valid, "{uri}: {outcome:?}");
        assert_eq!(outcome.implicit_keep, !valid, "{uri}");
        let script = format!(
            "{require} set \"u\" \"{uri}\"; if valid_notify_method \"${{u}}\" {{ fileinto \"valid\"; }}"
        );
        assert_eq!(actions(&run(&script)), if valid { "into valid" } else { "implicit" }, "{uri}");
    }
}

#[test]
fn what_stands_around_parts_is_found_with_either_line_end() {
    let script = "require [\"body\", \"fileinto\"]; if body :content \"multipart\" :is \"Before.\" { fileinto \"before\"; } \
        if body :content \"multipart\" :contains \"Behind.\" { fileinto \"behind\"; } \
        if body :content \"multipart\" :contains \"--\" { fileinto \"boundary\"; }";
    let message = "Content-Type: multipart/mixed; boundary=b\n\nBefore.\n--b\n\nx\n--b--\nBehind.\n";
    for message in [message.to_owned(), message.replace('\n', "\r\n")] {
        let program = Language::standard().compile(script.as_bytes()).unwrap();
        assert_eq!(
            actions(&MemoryHost::new(message.as_str()).run(program)),
            "into before, into behind",
            "{message}"
        );
    }
}
