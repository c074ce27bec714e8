//! A clock that jumps a day ahead and a day back under the running server: mail comes in and is sent on, and numbers rise.
//!
//! libfaketime moves the clock (Debian's package faketime); the monotonic clock, which no administrator can set, goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;
#[path = "relay/world.rs"]
#[allow(dead_code, reason = "this uses a part of it")]
mod world;

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

use common::{PASSWORD, Server, USER, deliver, imap, login, tell, wait_for};
use world::{Behaviour, Host, base64};

const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// What is to be seen of the newest message of INBOX: UID, MODSEQ, INTERNALDATE.
fn newest(server: &Server) -> (u32, u64, String) {
    let mut talk = imap(server);
    talk.imap("s", "EXAMINE INBOX");
    let lines = talk.imap("f", "FETCH * (UID MODSEQ INTERNALDATE)");
    let line = lines.into_iter().find(|line| line.contains(" FETCH ")).expect("the newest message");
    let behind = |word: &str| line.split_once(word).unwrap_or_else(|| panic!("{line}")).1.to_owned();
    let number = |text: String| text.split([' ', ')']).next().unwrap().parse::<u64>().unwrap();
    let date = behind("INTERNALDATE \"").split('"').next().unwrap().to_owned();
    (number(behind("UID ")) as u32, number(behind("MODSEQ (")), date)
}

fn validity(server: &Server, name: &str) -> u32 {
    let lines = imap(server).imap("s", &format!("STATUS {name} (UIDVALIDITY)"));
    lines[0].split_once("UIDVALIDITY ").unwrap().1.trim_end_matches(')').parse().unwrap()
}

/// The day of the month by the real clock, so many days from now.
fn day(days: i64) -> u32 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
    // Days since 1 March of the year 0, in eras of 400 years.
    let days = now / 86_400 + days + 719_468;
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    (of_year - (153 * month + 2) / 5 + 1) as u32
}

/// Sends mail on, as a user of ours.
fn submit(server: &Server, to: &str, subject: &str) {
    let mut talk = server.talk(server.port("submission", "starttls"));
    talk.reply();
    talk.smtp("EHLO client.example");
    talk.smtp(&format!("AUTH PLAIN {}", base64(format!("\0{USER}\0{PASSWORD}").as_bytes())));
    talk.smtp(&format!("MAIL FROM:<{USER}>"));
    talk.smtp(&format!("RCPT TO:<{to}>"));
    talk.smtp("DATA");
    let taken = talk.smtp(&format!("From: <{USER}>\r\nSubject: {subject}\r\n\r\n."));
    assert!(taken.starts_with("250"), "{taken}");
}

fn is_installed() -> bool {
    let installed = Path::new(LIBRARY).exists();
    assert!(installed || std::env::var_os("CI").is_none(), "faketime is not installed, and CI must have it");
    if !installed {
        println!("skipped: faketime is not installed");
    }
    installed
}

/// A server that is not started yet, with more in its configuration, and the file that moves its clock.
fn prepare(more: &str) -> (Server, PathBuf) {
    let mut server = Server::prepare("allow_plaintext_auth = true");
    let shifts = server.folder.path().join("shift");
    fs::write(&shifts, "+0d\n").unwrap();
    let path = server.folder.path().join("mailwright.toml");
    fs::write(&path, fs::read_to_string(&path).unwrap() + more).unwrap();
    server.environment = vec![
        ("LD_PRELOAD".into(), LIBRARY.into()),
        ("FAKETIME_TIMESTAMP_FILE".into(), shifts.display().to_string()),
        ("FAKETIME_NO_CACHE".into(), "1".into()),
        ("DONT_FAKE_MONOTONIC".into(), "1".into()),
    ];
    server.add_user(USER, PASSWORD);
    (server, shifts)
}

#[test]
fn nothing_is_removed_by_a_clock_that_is_wrong() {
    if !is_installed() {
        return;
    }
    let late = Host::start(Behaviour::Busy);
    let (mut server, shifts) = prepare(&format!(
        "[queue]\nfirst_retry_seconds = 1\nlongest_retry_seconds = 1\n[relay.transport]\n\"late.example\" = \"smtp:[127.0.0.1]:{}\"\n\
         [expiry]\ntrash = \"30d\"\nremoved_users = \"30d\"\nevery = \"1s\"\n[store]\nundelete = \"30d\"\n[pop3]\nexpire = \"30\"\n",
        late.port
    ));
    server.serve();
    let shift = |days: i64| fs::write(&shifts, format!("{days:+}d\n")).unwrap();
    server.add_user("bob@example.org", PASSWORD);
    deliver(&server, "bob@example.org", "Subject: bob's\r\n\r\n");
    tell(&server, "user remove bob@example.org");
    let mut talk = imap(&server);
    let mut expunged = 0;
    // Until the time is over for what is removed by then, and long enough for what goes on in between.
    let mut wait = |server: &Server| {
        deliver(server, USER, "Subject: kept\r\n\r\n");
        submit(server, "bob@late.example", "late");
        let mut talk = imap(server);
        talk.imap("c", "CREATE Trash");
        for command in
            ["APPEND Trash {17+}\r\nSubject: thrown\r\n", "APPEND Drafts {17+}\r\nSubject: gone..\r\n"]
        {
            talk.imap("a", command);
        }
        talk.imap("s", "SELECT Drafts");
        talk.imap("d", "STORE 1 +FLAGS.SILENT (\\Deleted)");
        talk.imap("e", "EXPUNGE");
        expunged += 1;
        let mut pop3 = server.talk(server.port("pop3", "starttls"));
        pop3.line();
        for command in [format!("USER {USER}"), format!("PASS {PASSWORD}"), "QUIT".into()] {
            pop3.send(format!("{command}\r\n"));
            let answer = pop3.line();
            assert!(answer.starts_with("+OK"), "{answer}");
        }
        let tried = late.commands("RCPT").len();
        wait_for("two more attempts", || (late.commands("RCPT").len() >= tried + 2).then_some(()));
        thread::sleep(Duration::from_secs(2));
        let trash = imap(server).imap("t", "STATUS Trash (MESSAGES)").swap_remove(0);
        assert!(trash.ends_with(&format!("(MESSAGES {expunged})")), "{trash}");
        assert_eq!(common::count(server), expunged);
        let list = tell(server, &format!("undelete {USER} --list --json"));
        assert_eq!(list.lines().count(), expunged, "{list}");
        let waiting = tell(server, "queue list --json");
        assert_eq!(waiting.lines().count(), expunged, "{waiting}");
        assert!(tell(server, "user removed").contains("bob@example.org"));
    };
    let talked = talk.imap("c", "CREATE Drafts");
    assert!(talked[0].starts_with("c OK"), "{talked:?}");
    for days in [0, 40, 0, -40, 0] {
        shift(days);
        wait(&server);
    }
    // It is wrong at the start.
    for (days, kill) in [(40, false), (-40, true), (0, true)] {
        if kill {
            server.kill()
        } else {
            server.stop()
        }
        shift(days);
        server.serve();
        wait(&server);
        assert!(server.log().contains("the clock has jumped"), "{}", server.log());
    }
    tell(&server, "user restore bob@example.org");
    assert_eq!(
        login(&server, "bob@example.org").imap("s", "STATUS INBOX (MESSAGES)")[0],
        "* STATUS INBOX (MESSAGES 1)"
    );
}

#[test]
fn numbers_rise_and_mail_goes_on_whatever_the_clock_says() {
    if !is_installed() {
        return;
    }
    // Whoever does not answer at first has the mail put off.
    let (host, late) = (Host::start(Behaviour::Greylist), Host::start(Behaviour::Greylist));
    let (mut server, shifts) = prepare(&format!(
        "[queue]\nfirst_retry_seconds = 1\nlongest_retry_seconds = 2\n[expiry]\ntrash = \"30d\"\nevery = \"1s\"\n\
         [relay.transport]\n\"b.example\" = \"smtp:[127.0.0.1]:{}\"\n\"late.example\" = \"smtp:[127.0.0.1]:{}\"\n",
        host.port, late.port
    ));
    server.serve();
    let mut talk = imap(&server);
    for command in ["CREATE Trash", "APPEND Trash {17+}\r\nSubject: thrown\r\n"] {
        let done = talk.imap("a", command);
        assert!(done.last().unwrap().starts_with("a OK"), "{done:?}");
    }
    deliver(&server, USER, "Subject: first\r\n\r\n");
    let (mut last, mut made) = (newest(&server), validity(&server, "INBOX"));
    for (number, days) in [1, 0, -1, 1, -1, 0].into_iter().enumerate() {
        fs::write(&shifts, format!("{days:+}d\n")).unwrap();
        let before = day(days);
        submit(&server, "bob@b.example", &format!("onward {number}"));
        deliver(&server, USER, &format!("Subject: {number}\r\n\r\n"));
        let now = newest(&server);
        assert!(now.0 > last.0 && now.1 > last.1, "{days:+} days: {now:?} after {last:?}");
        let arrived: u32 = now.2.trim_start().split('-').next().unwrap().parse().unwrap();
        assert!([before, day(days)].contains(&arrived), "{days:+} days: {now:?}");
        last = now;
        let mut talk = imap(&server);
        talk.imap("c", &format!("CREATE Box{number}"));
        let box_made = validity(&server, &format!("Box{number}"));
        assert!(box_made > made, "UIDVALIDITY {box_made} after {made}");
        made = box_made;
        let subject = format!("Subject: onward {number}");
        wait_for(&subject, || host.received().iter().any(|text| text.contains(&subject)).then_some(()));
    }
    assert_eq!(host.received().len(), 6);
    // What is put off while the clock is ahead waits no day for it.
    fs::write(&shifts, "+1d\n").unwrap();
    submit(&server, "bob@late.example", "late");
    wait_for("the first refusal", || {
        let list = server.command(&["queue", "list", "--json"]).output().unwrap().stdout;
        String::from_utf8_lossy(&list).contains("Greylisted").then_some(())
    });
    fs::write(&shifts, "+0d\n").unwrap();
    server.kill();
    server.serve();
    wait_for("what was put off", || (late.received().len() == 1).then_some(()));
    assert!(
        imap(&server).imap("t", "STATUS Trash (MESSAGES)")[0].ends_with("(MESSAGES 1)"),
        "expired too soon"
    );
    assert_eq!(newest(&server), last);
    assert_eq!(common::count(&server), 7);
}
