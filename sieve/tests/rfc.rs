//! The example scripts of the RFCs, and what they do.
//!
//! Each file of `rfc/` has cases: `== title`, then settings (`key: value`), then `-- script`, `-- message` and `-- expect`. What a case
//! leaves out is that of the case before.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::{fs, path::Path};

use mailwright_mail_model::DateTime;
use mailwright_sieve::{Action, Delivery, MemoryHost, Outcome, Run, Score, Script, Step, testsuite};

#[derive(Default, Clone)]
struct Case {
    title: String,
    settings: Vec<(String, String)>,
    script: String,
    message: String,
    expect: String,
}

fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut section = String::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("== ") {
            let mut next = cases.last().cloned().unwrap_or_default();
            next.title = title.to_owned();
            next.settings.clear();
            cases.push(next);
            section = "settings".into();
            continue;
        }
        let Some(case) = cases.last_mut() else { continue };
        if let Some(name) = line.strip_prefix("-- ") {
            section = name.to_owned();
            match name {
                "script" => case.script.clear(),
                "message" => case.message.clear(),
                "expect" => case.expect.clear(),
                other => panic!("unknown section {other}"),
            }
            continue;
        }
        match section.as_str() {
            "settings" => {
                let Some((key, value)) = line.split_once(": ") else { continue };
                case.settings.push((key.to_owned(), value.to_owned()));
            }
            "script" => case.script += &format!("{line}\r\n"),
            "message" => case.message += &format!("{line}\r\n"),
            "expect" if line.is_empty() => {}
            "expect" => case.expect += &format!("{line}\n"),
            _ => {}
        }
    }
    cases
}

fn host(case: &Case) -> MemoryHost {
    let mut host = MemoryHost::new(case.message.clone().into_bytes());
    host.language = testsuite::whole_language();
    host.input.envelope.from = Some("sender@example.org".into());
    host.input.envelope.to = Some("user@example.com".into());
    host.input.now = DateTime::from_rfc5322(b"Wed, 4 Jul 2007 12:00:00 +0000").unwrap();
    for (key, value) in &case.settings {
        let (head, tail) = value.split_once(' ').unwrap_or((value, ""));
        match key.as_str() {
            "from" => host.input.envelope.from = Some(value.trim_matches(['<', '>']).to_owned()),
            "to" => host.input.envelope.to = Some(value.clone()),
            "now" => host.input.now = DateTime::from_rfc5322(value.as_bytes()).unwrap(),
            "mailbox" => {
                host.mailboxes.entry(value.clone()).or_default();
            }
            "special-use" => host.mailboxes.entry(tail.into()).or_default().special_use.push(head.into()),
            "mailbox-id" => host.mailboxes.entry(tail.into()).or_default().id = Some(head.into()),
            "metadata" => {
                let (name, value) = tail.split_once(' ').unwrap();
                let mailbox = if head == "-" { "" } else { head };
                host.metadata.insert((mailbox.into(), name.into()), value.into());
            }
            "environment" => {
                host.environment.insert(head.into(), tail.into());
            }
            "list" => {
                host.lists.entry(head.into()).or_default().insert(tail.into());
            }
            "spam" => host.scores.push((Score::Spam, value.parse().unwrap())),
            "percent" => host.scores.push((Score::SpamPercent, value.parse().unwrap())),
            "virus" => host.scores.push((Score::Virus, value.parse().unwrap())),
            "flags" => host.input.flags = value.split(' ').map(str::to_owned).collect(),
            "include" | "global" => {
                let script = tail.replace("\\n", "\r\n").into_bytes();
                host.scripts.insert((key == "global", head.into()), script);
            }
            "seen" | "padding" => {}
            other => panic!("unknown setting {other}"),
        }
    }
    host
}

fn delivery(name: &str, delivery: &Delivery) -> String {
    let mut line = name.to_owned();
    line.extend(delivery.mailbox.as_deref().map(|mailbox| format!(" {mailbox}")));
    line.extend(delivery.mailbox_id.as_deref().map(|id| format!(" id {id}")));
    line.extend(delivery.special_use.as_deref().map(|special_use| format!(" use {special_use}")));
    line.extend(delivery.create.then_some(" create"));
    line.extend(delivery.flags.as_ref().map(|flags| format!(" ({})", flags.join(" "))));
    line
}

fn describe(host: &MemoryHost, outcome: &Outcome) -> String {
    let mut text = String::new();
    let original = host.octets(&mailwright_sieve::Message::original(host.input.structure.octets()));
    for action in &outcome.actions {
        let line = match action {
            Action::Keep(keep) if outcome.implicit_keep => delivery("implicit", keep),
            Action::Keep(keep) => delivery("keep", keep),
            Action::FileInto(file) => delivery("fileinto", file),
            Action::Redirect(redirect) => format!("redirect {}", redirect.address),
            Action::Reject(reject) => {
                let name = if reject.at_protocol_level { "ereject" } else { "reject" };
                format!("{name} {}", reject.reason.lines().next().unwrap_or_default())
            }
            Action::Vacation(reply) => {
                let first = reply.reason.lines().next().unwrap_or_default();
                format!("vacation {}s [{}] {first}", reply.seconds, reply.subject)
            }
            Action::Notify(notify) => {
                let message = notify.message.clone().unwrap_or_default();
                format!("notify {} {} {message}", notify.importance, notify.method)
            }
            Action::Report(report) => format!("report {} {}", report.feedback_type, report.recipient),
            Action::Pipe(pipe) => format!("pipe {} {:?}", pipe.program, pipe.arguments),
            other => format!("{other:?}"),
        };
        text += &line;
        text.push('\n');
        if let Action::Keep(stored) | Action::FileInto(stored) = action
            && !stored.message.is_original()
        {
            // Only what is not as it was.
            let octets = host.octets(&stored.message);
            let changed = String::from_utf8_lossy(&octets).into_owned();
            let original = String::from_utf8_lossy(&original).into_owned();
            for line in
                changed.lines().filter(|line| !line.is_empty() && !original.lines().any(|old| old == *line))
            {
                text += &format!("  + {line}\n");
            }
            for line in
                original.lines().filter(|line| !line.is_empty() && !changed.lines().any(|new| new == *line))
            {
                text += &format!("  - {line}\n");
            }
        }
    }
    if outcome.actions.is_empty() {
        text += "discard\n";
    }
    text.extend(outcome.log.iter().map(|line| format!("log {}\n", line.message)));
    text.extend(outcome.error.iter().map(|error| format!("error {}\n", error.message)));
    text
}

fn check(path: &Path) -> usize {
    let cases = cases(&fs::read_to_string(path).unwrap());
    assert!(!cases.is_empty());
    let mut wrong = Vec::new();
    for mut case in cases.clone() {
        if let Some((_, padding)) = case.settings.iter().find(|(key, _)| key == "padding") {
            let lines = padding.parse::<usize>().unwrap() / 10;
            case.message += &"12345678\r\n".repeat(lines);
        }
        let mut host = host(&case);
        let limits = host.language.limits().clone();
        let tree = Script::parse(case.script.as_bytes(), &limits)
            .unwrap_or_else(|error| panic!("{}: {error}", case.title));
        let printed = tree.to_string();
        let again = Script::parse(printed.as_bytes(), &limits).unwrap();
        assert_eq!(again.without_positions(), tree.without_positions(), "{}\n{printed}", case.title);
        let program = match host.language.compile(case.script.as_bytes()) {
            Ok(program) => program,
            Err(error) => {
                wrong.push(format!("{}: does not compile:\n{error}", case.title));
                continue;
            }
        };
        let times = if case.settings.iter().any(|(key, _)| key == "seen") { 2 } else { 1 };
        let mut outcome = Outcome::default();
        for _ in 0..times {
            let mut run = Run::new(program.clone().into(), host.input.clone());
            outcome = loop {
                match run.poll() {
                    // Every method notifies here.
                    Step::Need(mailwright_sieve::Request::NotifyMethod(uri)) => {
                        run.answer(mailwright_sieve::Answer::Truth(uri.contains(':') && uri != "mailto:"));
                    }
                    Step::Need(request) => {
                        let answer = host.answer(&request);
                        run.answer(answer);
                    }
                    Step::Done(outcome) => break *outcome,
                }
            };
            for seen in &outcome.seen {
                let until = DateTime::new(host.input.now.seconds() + seen.seconds as i64, 0).unwrap();
                host.duplicates.insert(seen.key.clone(), until);
            }
        }
        let found = describe(&host, &outcome);
        if found != case.expect {
            wrong.push(format!("{}:\nexpected\n{}found\n{found}", case.title, case.expect));
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", path.display(), wrong.join("\n"));
    cases.len()
}

#[test]
fn examples_do_what_the_rfc_says() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rfc");
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let count: usize = paths.iter().map(|path| check(path)).sum();
    assert!(count >= 130, "{count}");
}
