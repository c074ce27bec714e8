//! Messages that Sieve scripts put away, and that come back later.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use common::{PASSWORD, Server, Talk, USER, deliver, imap, succeed, wait_for};

const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The time of day in a zone so many hours east of UTC, so many seconds from now.
fn clock(seconds: u64, zone: u64) -> String {
    let time = (now() + seconds + zone * 3_600) % 86_400;
    format!("{:02}:{:02}:{:02}", time / 3_600, time / 60 % 60, time % 60)
}

/// A session of ManageSieve that is logged in, and what its server can do.
fn managesieve(server: &Server) -> (Talk, String) {
    let mut talk = server.talk(server.port("managesieve", "starttls"));
    let greeting = talk.until("OK").join("\n");
    let plain = BASE64_STANDARD.encode(format!("\0{USER}\0{PASSWORD}"));
    talk.send(format!("AUTHENTICATE \"PLAIN\" \"{plain}\"\r\n"));
    assert!(talk.until("OK").last().unwrap().starts_with("OK"));
    (talk, greeting)
}

/// Makes this the user's script.
fn script(server: &Server, script: &str) {
    let (mut talk, _) = managesieve(server);
    talk.send(format!("PUTSCRIPT \"mine\" {{{}+}}\r\n{script}\r\n", script.len()));
    let answer = talk.line();
    assert!(answer.starts_with("OK"), "{answer}");
    talk.send("SETACTIVE \"mine\"\r\n");
    let answer = talk.line();
    assert!(answer.starts_with("OK"), "{answer}");
}

/// The subjects of a mailbox, in order, each with the flags in front; nothing if there is none.
fn messages(server: &Server, mailbox: &str) -> Vec<String> {
    let mut talk = imap(server);
    if !talk.imap("x", &format!("EXAMINE {mailbox}")).last().unwrap().starts_with("x OK") {
        return Vec::new();
    }
    let lines = talk.imap("f", "FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])");
    let mut found = Vec::new();
    let mut flags = String::new();
    for line in lines {
        if let Some((_, rest)) = line.split_once("FLAGS (") {
            let mut all: Vec<&str> = rest.split(')').next().unwrap().split(' ').collect();
            all.retain(|flag| !flag.is_empty() && *flag != "\\Recent");
            all.sort_unstable();
            flags = all.join(" ");
        }
        if let Some(subject) = line.strip_prefix("Subject: ") {
            found.push(format!("{flags} {subject}").trim_start().to_owned());
        }
    }
    found
}

#[test]
fn a_message_comes_back_while_the_server_runs() {
    let server = Server::start("allow_plaintext_auth = true");
    let (_, greeting) = managesieve(&server);
    assert!(greeting.contains(" snooze"), "{greeting}");
    // Whenever it comes, one of these is next.
    let times: Vec<_> = (1..90).map(|next| format!("\"{}\"", clock(2 * next, 0))).collect();
    script(
        &server,
        &format!(
            "require [\"snooze\"];\nsnooze :tzid \"UTC\" :addflags \"\\\\Flagged\" [{}];\n",
            times.join(", ")
        ),
    );
    deliver(&server, USER, "Subject: soon\r\n\r\nx\r\n");
    wait_for("the message", || (messages(&server, "INBOX") == ["\\Flagged soon"]).then_some(()));
    assert!(messages(&server, "Snoozed").is_empty());
    // It was made for this.
    let lines = imap(&server).imap("l", "LIST \"\" % RETURN (SPECIAL-USE SUBSCRIBED)");
    let line = lines.iter().find(|line| line.ends_with(" Snoozed")).unwrap_or_else(|| panic!("{lines:?}"));
    assert!(line.contains("\\Snoozed") && line.contains("\\Subscribed"), "{line}");
    // Nothing is snoozed by one that is not right.
    let (mut talk, _) = managesieve(&server);
    for wrong in ["snooze \"25:00\";", "snooze :weekdays \"7\" \"12:00\";", "snooze;"] {
        let wrong = format!("require \"snooze\"; {wrong}");
        talk.send(format!("CHECKSCRIPT {{{}+}}\r\n{wrong}\r\n", wrong.len()));
        let answer = talk.line();
        assert!(answer.starts_with("NO"), "{wrong}: {answer}");
        if answer.ends_with('}') {
            talk.line();
        }
    }
}

/// The one that notes when a message is to come back is heard of by the one that brings it, before a configuration is read again and after.
#[test]
fn messages_come_back_on_time() {
    let server = Server::start("allow_plaintext_auth = true");
    for round in 0..4 {
        if round == 2 {
            succeed(&mut server.command(&["reload"]));
        }
        let due = now() + 3;
        script(&server, &format!("require \"snooze\"; snooze :tzid \"UTC\" \"{}\";", clock(3, 0)));
        deliver(&server, USER, &format!("Subject: m{round}\r\n\r\nx\r\n"));
        // Beside the clock's own second, one to look at it and one for a machine that is busy.
        thread::sleep(Duration::from_secs((due + 3).saturating_sub(now())));
        assert_eq!(messages(&server, "INBOX").len(), round + 1, "{round}");
    }
}

#[test]
fn messages_wait_through_a_kill_and_come_back_at_their_time() {
    if !Path::new(LIBRARY).exists() {
        assert!(std::env::var_os("CI").is_none(), "faketime is not installed, and CI must have it");
        return println!("skipped: faketime is not installed");
    }
    let mut server = Server::prepare("allow_plaintext_auth = true");
    let path = server.folder.path().join("mailwright.toml");
    let text = fs::read_to_string(&path).unwrap() + "[sieve]\ntime_zone = \"Asia/Tokyo\"\n";
    fs::write(&path, text).unwrap();
    let shifts = server.folder.path().join("shift");
    fs::write(&shifts, "+0d\n").unwrap();
    server.environment = vec![
        ("LD_PRELOAD".into(), LIBRARY.into()),
        ("FAKETIME_TIMESTAMP_FILE".into(), shifts.display().to_string()),
        ("FAKETIME_NO_CACHE".into(), "1".into()),
        ("DONT_FAKE_MONOTONIC".into(), "1".into()),
    ];
    server.add_user(USER, PASSWORD);
    server.serve();
    // In twelve hours by clocks in several places. Tokyo is the server's own, nine hours ahead of UTC at all times.
    const HALF_A_DAY: u64 = 12 * 3_600;
    let (utc, tokyo, kolkata) = (clock(HALF_A_DAY, 0), clock(HALF_A_DAY, 9), clock(HALF_A_DAY - 1_800, 6));
    script(
        &server,
        &format!(
            r#"require ["snooze", "imap4flags", "mailbox", "variables", "editheader"];
               if header :is "Subject" "plain" {{
                   setflag "first"; snooze :tzid "utc" :addflags ["\\Flagged"] :removeflags "first" "{utc}";
               }}
               elsif header :is "Subject" "boxed" {{ snooze :mailbox "New/Place" :create "{tokyo}"; }}
               elsif header :is "Subject" "lost" {{ snooze :mailbox "Nowhere" :tzid "Mars/Olympus_Mons" "{tokyo}"; }}
               elsif header :is "Subject" "half" {{ addheader "X-Half" "an hour"; snooze :tzid "Asia/Kolkata" "{kolkata}"; }}
               elsif header :is "Subject" "taken" {{ snooze "{tokyo}"; }}
               elsif header :is "Subject" "twice" {{ keep; snooze "{tokyo}"; }}"#
        ),
    );
    for subject in ["plain", "boxed", "lost", "half", "taken", "twice", "other"] {
        deliver(&server, USER, &format!("Subject: {subject}\r\n\r\nx\r\n"));
    }
    let waiting = ["first plain", "boxed", "lost", "half", "taken", "twice"];
    assert_eq!(messages(&server, "Snoozed"), waiting);
    assert_eq!(messages(&server, "INBOX"), ["twice", "other"]);
    // By hand: it is not to come back from there.
    let mut talk = imap(&server);
    for command in ["CREATE Kept", "SELECT Snoozed", "MOVE 5 Kept"] {
        let done = talk.imap("m", command);
        assert!(done.last().unwrap().starts_with("m OK"), "{command}: {done:?}");
    }
    server.kill();
    server.serve();
    // It is still on its way, and the clock is set while it is.
    let waiting = ["first plain", "boxed", "lost", "half", "twice"];
    assert_eq!(messages(&server, "Snoozed"), waiting);
    fs::write(&shifts, "-1d\n").unwrap();
    deliver(&server, USER, "Subject: yesterday\r\n\r\nx\r\n");
    assert_eq!(messages(&server, "Snoozed"), waiting);
    server.kill();
    // What was to come back while it did not run comes back now.
    fs::write(&shifts, "+13h\n").unwrap();
    server.serve();
    wait_for("the messages", || messages(&server, "Snoozed").is_empty().then_some(()));
    let mut back = messages(&server, "INBOX").split_off(3);
    back.sort_unstable();
    assert_eq!(back, ["\\Flagged plain", "half", "lost", "twice"]);
    assert_eq!(messages(&server, "New/Place"), ["boxed"]);
    assert_eq!(messages(&server, "Kept"), ["taken"]);
    let mut talk = imap(&server);
    talk.imap("x", "EXAMINE INBOX");
    let changed = talk.imap("s", "SEARCH HEADER X-Half hour");
    assert_eq!(changed[0].split(' ').count(), 3, "{changed:?}");
    // And by the clock of the running server.
    let times: Vec<_> = (1..24).map(|hour| format!("\"{}\"", clock(13 * 3_600 + hour * 3_600, 0))).collect();
    script(&server, &format!("require \"snooze\"; snooze :tzid \"UTC\" [{}];", times.join(", ")));
    deliver(&server, USER, "Subject: once more\r\n\r\nx\r\n");
    assert_eq!(messages(&server, "Snoozed"), ["once more"]);
    fs::write(&shifts, "+15h\n").unwrap();
    wait_for("the last one", || messages(&server, "INBOX").contains(&"once more".into()).then_some(()));
}

#[test]
fn mail_that_is_encrypted_comes_back_while_nobody_is_logged_in() {
    let mut server = Server::start("allow_plaintext_auth = true");
    let password = server.folder.path().join("password");
    fs::write(&password, format!("{PASSWORD}\n")).unwrap();
    let mut encrypt = server.command(&["user", "encrypt", USER, "--password-stdin"]);
    let encrypted = encrypt.stdin(fs::File::open(&password).unwrap()).output().unwrap();
    assert!(encrypted.status.success(), "{encrypted:?}");
    let times: Vec<_> = (4..90).map(|next| format!("\"{}\"", clock(2 * next, 0))).collect();
    let soon = times.join(", ");
    script(&server, &format!("require \"snooze\"; snooze :tzid \"UTC\" [{soon}];"));
    deliver(&server, USER, "Subject: sealed\r\n\r\nquinquereme of Nineveh\r\n");
    // The new process has seen no password yet when the time comes.
    server.kill();
    server.serve();
    thread::sleep(Duration::from_secs(12));
    assert_eq!(messages(&server, "INBOX"), ["sealed"]);
    let mut talk = imap(&server);
    talk.imap("x", "EXAMINE INBOX");
    let body = talk.imap("f", "FETCH 1 BODY.PEEK[TEXT]").join("\n");
    assert!(body.contains("quinquereme of Nineveh"), "{body}");
    assert!(messages(&server, "Snoozed").is_empty());
}

#[test]
fn it_is_announced_where_it_works() {
    for (extra, section) in
        [("", "[sieve]\nsnooze = false\n"), ("store = { kind = \"maildir\", path = \"mail/%u\" }", "")]
    {
        let mut server = Server::prepare(&format!("allow_plaintext_auth = true\n{extra}"));
        let path = server.folder.path().join("mailwright.toml");
        let text = fs::read_to_string(&path).unwrap() + section;
        fs::write(&path, text).unwrap();
        server.add_user(USER, PASSWORD);
        server.serve();
        let (_, greeting) = managesieve(&server);
        assert!(greeting.contains("fileinto") && !greeting.contains("snooze"), "{greeting}");
    }
    let server = Server::prepare("sieve = { time_zone = \"Mars/Olympus_Mons\" }");
    let output = common::run(&mut server.command(&["config", "check"]));
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("time_zone") && said.contains("Mars/Olympus_Mons"),
        "{said}"
    );
}
