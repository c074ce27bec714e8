//! Mail fetched from elsewhere comes once, whatever happens on the way: from another of these servers, from Dovecot, and from
//! servers that no one should have to use.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

#[path = "fetch/bad.rs"]
mod bad;
mod common;
#[path = "common/dovecot.rs"]
mod dovecot;

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::chown,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use bad::{Imap, Pop3};
use common::{PASSWORD, Server, Talk, USER, deliver, free_port, imap, run, succeed, wait_for};

const QUICK: &str = "allow_plaintext_auth = true\nfetch = { first_retry_seconds = 1, longest_retry_seconds = 2, login_retry_seconds = 1 }";

fn foreign() -> Server {
    Server::start("allow_plaintext_auth = true")
}

fn home() -> Server {
    Server::start(QUICK)
}

/// Puts messages numbered like this into a mailbox.
fn fill(server: &Server, mailbox: &str, numbers: std::ops::Range<usize>) {
    let mut talk = imap(server);
    for number in numbers {
        let text = message(number);
        let answer = append(&mut talk, mailbox, &text);
        assert!(answer.starts_with("append OK"), "{answer}");
    }
}

fn append(talk: &mut Talk, mailbox: &str, text: &str) -> String {
    talk.send(format!("append APPEND {mailbox} {{{}+}}\r\n{text}\r\n", text.len()));
    talk.until("append").pop().unwrap()
}

fn message(number: usize) -> String {
    format!(
        "Return-Path: <bob@example.net>\r\nMessage-ID: <{number}@example.net>\r\nFrom: bob@example.net\r\n\
         Subject: number {number}.\r\n\r\nThis is {number}.\r\n.\r\n{}\r\n",
        "x".repeat(number % 7 * 1_000)
    )
}

/// `fetch add`; gives the account's number.
fn add(server: &Server, source: &str, options: &[&str]) -> u64 {
    let mut command = server.command(&["fetch", "add", USER, source]);
    let mut child = command
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(format!("{PASSWORD}\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said.split([' ', ':']).nth(1).unwrap().parse().unwrap()
}

fn source(protocol: &str, server: &Server) -> String {
    format!("{protocol}://{USER}@127.0.0.1:{}", server.port(protocol, "starttls"))
}

/// How often each number came.
fn numbers(server: &Server, mailbox: &str) -> BTreeMap<usize, usize> {
    let mut talk = imap(server);
    let mut counts = BTreeMap::new();
    if !talk.imap("e", &format!("EXAMINE {mailbox}")).last().unwrap().starts_with("e OK") {
        return counts;
    }
    for line in talk.imap("f", "FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]") {
        if let Some(number) = line.strip_prefix("Subject: number ") {
            *counts.entry(number.trim_end_matches('.').parse().unwrap()).or_default() += 1;
        }
    }
    counts
}

fn each_once(count: usize) -> BTreeMap<usize, usize> {
    (0..count).map(|number| (number, 1)).collect()
}

fn wait_for_numbers(server: &Server, mailbox: &str, count: usize) {
    wait_for("the mail", || (numbers(server, mailbox).len() >= count).then_some(()));
    assert_eq!(numbers(server, mailbox), each_once(count));
}

fn status(server: &Server) -> serde_json::Value {
    let printed = succeed(&mut server.command(&["fetch", "status", "--json"]));
    serde_json::from_slice(printed.split(|octet| *octet == b'\n').next().unwrap()).unwrap_or_default()
}

/// Looks now, and waits until that look has ended well.
fn look(server: &Server, id: u64) {
    let before = status(server)["tried"].as_u64();
    // Moments are told in seconds.
    thread::sleep(Duration::from_millis(1_100));
    succeed(&mut server.command(&["fetch", "now", &id.to_string()]));
    wait_for("a look", || {
        let status = status(server);
        let new = status["tried"].as_u64() > before;
        (new && status["phase"] != "fetching" && status["error"].is_null()).then_some(())
    });
}

#[test]
fn mail_comes_once_over_restarts_and_through_sieve() {
    let foreign = foreign();
    fill(&foreign, "INBOX", 0..30);
    for protocol in ["imap", "pop3"] {
        let mut home = Server::prepare(QUICK);
        let script = r#"require ["fileinto", "mailbox", "envelope"];
            if allof(header :is "Subject" "number 7.", envelope :is "from" "bob@example.net",
                     envelope :is "to" "alice@example.org") { fileinto :create "Seven"; }"#;
        fs::write(home.folder.path().join("default.sieve"), script).unwrap();
        let file = home.folder.path().join("mailwright.toml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{text}\n[sieve]\ndefault = \"default.sieve\"\n")).unwrap();
        home.add_user(USER, PASSWORD);
        home.serve();
        let id = add(&home, &source(protocol, &foreign), &["--in-clear", "--every", "1s"]);
        wait_for("the mail", || (numbers(&home, "INBOX").len() == 29).then_some(()));
        assert_eq!(numbers(&home, "Seven"), BTreeMap::from([(7, 1)]));
        for _ in 0..3 {
            home.stop();
            home.serve();
            look(&home, id);
        }
        let mut expected = each_once(30);
        expected.remove(&7);
        assert_eq!(numbers(&home, "INBOX"), expected, "{protocol}");
        assert_eq!(numbers(&home, "Seven"), BTreeMap::from([(7, 1)]));
        let status = status(&home);
        assert_eq!((status["here"].as_u64(), status["refused"].as_u64()), (Some(30), Some(0)));
        // It came whole: dots, long lines, and a field that says how.
        let mut talk = imap(&home);
        talk.imap("e", "EXAMINE INBOX");
        let text = talk.imap("f", "UID FETCH 1:* BODY.PEEK[]").join("\n");
        assert!(text.contains("This is 5.\n.\nxxxxx"), "{text}");
        let way = format!("with {} (fetched) id", protocol.to_uppercase());
        assert_eq!(text.matches(&way).count(), 29);
        // Nothing was deleted there.
        assert_eq!(numbers(&foreign, "INBOX"), each_once(30));
    }
}

#[test]
fn a_kill_in_the_middle_loses_nothing_and_doubles_nothing() {
    for protocol in ["imap", "pop3"] {
        killed(home(), protocol, "INBOX", 300);
    }
}

/// A changed message is another one than the one that was fetched: it is taken together with the note that this was.
#[test]
fn a_kill_in_the_middle_doubles_nothing_that_a_script_changes() {
    let mut home = Server::prepare(QUICK);
    let script = r#"require ["editheader", "fileinto", "mailbox"];
        addheader "X-Fetched" "yes"; fileinto :create "Changed";"#;
    fs::write(home.folder.path().join("default.sieve"), script).unwrap();
    let file = home.folder.path().join("mailwright.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}\n[sieve]\ndefault = \"default.sieve\"\n")).unwrap();
    home.add_user(USER, PASSWORD);
    home.serve();
    killed(home, "imap", "Changed", 300);
}

/// Fetches so many messages while the server is killed again and again: in the end each is in the mailbox once.
fn killed(mut home: Server, protocol: &str, mailbox: &str, count: usize) {
    let foreign = foreign();
    fill(&foreign, "INBOX", 0..count);
    add(&home, &source(protocol, &foreign), &["--in-clear", "--every", "1s", "--delete"]);
    let (mut kills, mut random) = (0, 0x2545_F491_4F6C_DD1D_u64);
    let begun = Instant::now();
    loop {
        let counts = numbers(&home, mailbox);
        assert!(counts.values().all(|count| *count == 1), "{protocol}, kill {kills}: {counts:?}");
        if counts.len() == count && numbers(&foreign, "INBOX").is_empty() {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(300), "{kills} kills, {} here", counts.len());
        if kills < 25 {
            succeed(&mut home.command(&["fetch", "now"]));
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            thread::sleep(Duration::from_micros(random % 150_000));
            home.kill();
            home.serve();
            kills += 1;
        } else {
            thread::sleep(Duration::from_millis(200));
        }
    }
    println!("{protocol}: {kills} kills, {count} messages, each once");
    assert_eq!(numbers(&home, mailbox), each_once(count));
}

#[test]
fn a_mailbox_with_a_new_uidvalidity_brings_only_what_is_new() {
    let (foreign, home) = (foreign(), home());
    imap(&foreign).imap("c", "CREATE Work");
    fill(&foreign, "Work", 0..20);
    let options = ["--in-clear", "--every", "1h", "--folder", "Work", "--no-push"];
    let id = add(&home, &source("imap", &foreign), &options);
    wait_for_numbers(&home, "INBOX", 20);
    // Another mailbox of the name, with the same messages in another order, one less, and one more.
    let mut talk = imap(&foreign);
    let validity = |talk: &mut Talk| talk.imap("s", "STATUS Work (UIDVALIDITY)")[0].clone();
    let before = validity(&mut talk);
    talk.imap("d", "DELETE Work");
    talk.imap("c", "CREATE Work");
    assert_ne!(validity(&mut talk), before);
    for number in (1..21).rev() {
        append(&mut talk, "Work", &message(number));
    }
    look(&home, id);
    wait_for_numbers(&home, "INBOX", 21);
    look(&home, id);
    assert_eq!(numbers(&home, "INBOX"), each_once(21));
}

#[test]
fn news_come_at_once_and_over_tls() {
    let foreign = foreign();
    let mut home = Server::prepare(&format!(
        "{}\n",
        QUICK.replace(
            "fetch = { ",
            &format!("fetch = {{ trust = {:?}, ", foreign.certificate().display().to_string())
        )
    ));
    home.add_user(USER, PASSWORD);
    home.serve();
    let imaps = format!("imaps://{USER}@localhost:{}", foreign.port("imap", "implicit"));
    add(&home, &imaps, &["--every", "1h"]);
    wait_for("the wait for news", || (status(&home)["phase"] == "listening").then_some(()));
    for round in 0..3 {
        let begun = Instant::now();
        deliver(&foreign, USER, &format!("Subject: number {round}.\r\n\r\nnow\r\n"));
        wait_for_numbers(&home, "INBOX", round + 1);
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
    // The same mail by POP3 in TLS, to be fetched without a second copy of the account.
    let pop3s = format!("pop3s://{USER}@localhost:{}", foreign.port("pop3", "implicit"));
    let id = add(&home, &pop3s, &["--every", "1h", "--delete"]);
    wait_for("an empty maildrop", || numbers(&foreign, "INBOX").is_empty().then_some(()));
    succeed(&mut home.command(&["fetch", "remove", &id.to_string()]));
    let left = succeed(&mut home.command(&["fetch", "list"]));
    assert_eq!(String::from_utf8(left).unwrap().lines().count(), 1);
}

#[test]
fn passwords_are_for_the_server_only_and_errors_for_the_user() {
    let (foreign, mut home) = (foreign(), home());
    let wrong = format!("imap://nobody@127.0.0.1:{}", foreign.port("imap", "starttls"));
    let id = add(&home, &wrong, &["--in-clear"]);
    let told = wait_for("an error", || status(&home)["error"].as_str().map(str::to_owned));
    assert!(told.contains("does not let us in"), "{told}");
    let printed = String::from_utf8(succeed(&mut home.command(&["fetch", "status"]))).unwrap();
    assert!(printed.contains("does not let us in") && !printed.contains(PASSWORD), "{printed}");
    succeed(&mut home.command(&["fetch", "remove", &id.to_string()]));
    // Without TLS nothing is said, unless it is asked for.
    add(&home, &source("pop3", &foreign), &[]);
    wait_for("an error", || status(&home)["error"].as_str().map(str::to_owned));
    assert!(!run(&mut home.command(&["fetch", "now", "77"])).status.success());
    home.stop();
    let secret = PASSWORD;
    let mut folders = vec![home.folder.path().join("data")];
    let mut looked = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(octets) = fs::read(&path) {
                looked += 1;
                let found = octets.windows(secret.len()).any(|part| part == secret.as_bytes());
                assert!(!found, "the password is in {}", path.display());
            }
        }
    }
    assert!(looked > 3 && !home.log().contains(PASSWORD));
    // What is added while no server runs is fetched when it runs.
    fill(&foreign, "INBOX", 0..3);
    add(&home, &source("imap", &foreign), &["--in-clear", "--every", "1s"]);
    home.serve();
    wait_for_numbers(&home, "INBOX", 3);
}

#[test]
fn a_server_that_hides_renames_and_breaks_off_is_endured() {
    let home = home();
    let pop3 = Pop3::start((0..12).map(message).collect());
    let id = add(&home, &format!("pop3://ann@127.0.0.1:{}", pop3.port), &["--in-clear", "--every", "1s"]);
    // It breaks off in the middle of every fifth message.
    wait_for_numbers(&home, "INBOX", 12);
    // An empty maildrop, then everything again, under new names.
    pop3.change(|drop| drop.hidden = true);
    look(&home, id);
    pop3.change(|drop| (drop.hidden, drop.names) = (false, "new"));
    look(&home, id);
    assert_eq!(numbers(&home, "INBOX"), each_once(12));
    // One name for all.
    pop3.change(|drop| drop.names = "same");
    look(&home, id);
    assert_eq!(numbers(&home, "INBOX"), each_once(12));
    // No UIDL and no TOP, and a new message.
    pop3.change(|drop| {
        drop.names = "none";
        drop.messages.push(message(12));
    });
    look(&home, id);
    wait_for_numbers(&home, "INBOX", 13);
    look(&home, id);
    assert_eq!(numbers(&home, "INBOX"), each_once(13));
    // Nonsense is an error that passes.
    pop3.change(|drop| drop.nonsense = true);
    succeed(&mut home.command(&["fetch", "now"]));
    wait_for("an error", || status(&home)["error"].as_str().map(str::to_owned));
    pop3.change(|drop| drop.nonsense = false);
    look(&home, id);
    assert_eq!(numbers(&home, "INBOX"), each_once(13));
    assert!(!home.log().contains("panicked"));
}

#[test]
fn an_imap_server_that_gives_others_messages_is_not_believed() {
    let home = home();
    let server = Imap::start((0..6).map(message).collect());
    let id = add(&home, &format!("imap://ann@127.0.0.1:{}", server.port), &["--in-clear", "--every", "1s"]);
    wait_for("an error", || status(&home)["error"].as_str().map(str::to_owned));
    assert_eq!(numbers(&home, "INBOX").values().max().copied().unwrap_or(1), 1);
    server.change(|mailbox| mailbox.mixed_up = false);
    wait_for_numbers(&home, "INBOX", 6);
    server.change(|mailbox| mailbox.validity += 1);
    look(&home, id);
    assert_eq!(numbers(&home, "INBOX"), each_once(6));
    // A loop: what was fetched for this user stays there, and is told of.
    let looped = format!(
        "Received: from x by mail.example.org with IMAP (fetched) id 1F\r\n\tfor <{USER}>; today\r\n{}",
        message(77)
    );
    server.change(|mailbox| mailbox.messages.push(looped));
    look(&home, id);
    assert_eq!(numbers(&home, "INBOX"), each_once(6));
    let told = status(&home);
    assert!(told["reasons"][0].as_str().unwrap().contains("loop"), "{told}");
}

/// Four thousand million numbers in a few octets, or more than there are messages.
#[test]
fn an_imap_server_that_finds_what_is_not_there_fills_no_memory() {
    let home = home();
    let server = Imap::start((0..6).map(message).collect());
    server.change(|mailbox| {
        (mailbox.mixed_up, mailbox.found) = (false, Some("* ESEARCH UID ALL 1:4294967295\r\n"));
    });
    add(&home, &format!("imap://ann@127.0.0.1:{}", server.port), &["--in-clear", "--every", "1s"]);
    let told = wait_for("an error", || status(&home)["error"].as_str().map(str::to_owned));
    assert!(
        told.contains("an answer that is too long: more than 16777216 octets of responses and numbers"),
        "{told}"
    );
    server.change(|mailbox| mailbox.found = Some("* ESEARCH UID ALL 1:7\r\n"));
    wait_for("another error", || {
        status(&home)["error"].as_str().is_some_and(|told| told.contains("6 messages")).then_some(())
    });
    server.change(|mailbox| mailbox.found = None);
    wait_for_numbers(&home, "INBOX", 6);
}

/// A server that has news whenever it is listened to is looked at now and then, not as fast as it answers.
#[test]
fn an_imap_server_that_always_has_news_is_not_looked_at_without_a_pause() {
    let home = home();
    let server = Imap::start((0..2).map(message).collect());
    server.change(|mailbox| (mailbox.mixed_up, mailbox.restless) = (false, true));
    add(&home, &format!("imap://ann@127.0.0.1:{}", server.port), &["--in-clear", "--every", "1h"]);
    wait_for_numbers(&home, "INBOX", 2);
    wait_for("many looks", || (server.idles() >= 4).then_some(()));
    let before = server.idles();
    thread::sleep(Duration::from_secs(6));
    let looks = server.idles() - before;
    assert!((1..=4).contains(&looks), "{looks}");
    // And mail comes all the same.
    server.change(|mailbox| mailbox.messages.push(message(2)));
    wait_for_numbers(&home, "INBOX", 3);
}

#[test]
fn dovecot_gives_its_mail_once_by_imap_and_by_pop3() {
    if !dovecot::is_installed(&[]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().display();
    let mail = folder.path().join("mail");
    for path in ["", "new", "cur", "tmp"] {
        fs::create_dir(mail.join(path)).unwrap();
    }
    for number in 0..40 {
        fs::write(mail.join(format!("new/{number}.M1.host")), message(number)).unwrap();
    }
    let mut all = vec![folder.path().to_owned()];
    while let Some(path) = all.pop() {
        if chown(&path, Some(5000), Some(5000)).is_err() {
            println!("skipped: only root can run Dovecot for another user");
            return;
        }
        if path.is_dir() {
            all.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    let (imap_port, pop3_port) = (free_port(), free_port());
    let lines = format!(
        "protocols = imap pop3\n\
         passdb {{\n  driver = static\n  args = password={PASSWORD}\n}}\n\
         userdb {{\n  driver = static\n  args = uid=5000 gid=5000 home={base} allow_all_users=yes\n}}\n\
         mail_location = maildir:{base}/mail\nnamespace inbox {{\n  inbox = yes\n}}\n\
         service imap-login {{\n  inet_listener imap {{\n    port = {imap_port}\n  }}\n  inet_listener imaps {{\n    port = 0\n  }}\n}}\n\
         service pop3-login {{\n  inet_listener pop3 {{\n    port = {pop3_port}\n  }}\n  inet_listener pop3s {{\n    port = 0\n  }}\n}}\n"
    );
    let _dovecot = dovecot::Dovecot::start(folder.path(), &lines, &[imap_port, pop3_port]);
    let home = home();
    let id = add(
        &home,
        &format!("imap://ann@127.0.0.1:{imap_port}"),
        &["--in-clear", "--every", "1s", "--no-push"],
    );
    wait_for_numbers(&home, "INBOX", 40);
    look(&home, id);
    assert_eq!(numbers(&home, "INBOX"), each_once(40));
    succeed(&mut home.command(&["fetch", "remove", &id.to_string()]));
    // The other way, into another mailbox: everything comes, and goes there.
    let mut talk = imap(&home);
    talk.imap("s", "SELECT INBOX");
    talk.imap("d", "STORE 1:* +FLAGS (\\Deleted)");
    talk.imap("x", "EXPUNGE");
    add(&home, &format!("pop3://ann@127.0.0.1:{pop3_port}"), &["--in-clear", "--every", "1s", "--delete"]);
    wait_for_numbers(&home, "INBOX", 40);
    wait_for("an empty maildrop", || {
        let left = |folder: &str| fs::read_dir(mail.join(folder)).unwrap().count();
        (left("cur") + left("new") == 0).then_some(())
    });
    // What comes there by IDLE.
    let pushed = format!("imap://ann@127.0.0.1:{imap_port}");
    add(&home, &pushed, &["--in-clear", "--every", "1h", "--delete"]);
    wait_for("the wait for news", || {
        let printed = succeed(&mut home.command(&["fetch", "list"]));
        String::from_utf8(printed).unwrap().contains("listening").then_some(())
    });
    succeed(&mut home.command(&["fetch", "remove", "2"]));
    fs::write(mail.join("tmp/40.M1.host"), message(40)).unwrap();
    chown(mail.join("tmp/40.M1.host"), Some(5000), Some(5000)).unwrap();
    fs::rename(mail.join("tmp/40.M1.host"), mail.join("new/40.M1.host")).unwrap();
    wait_for_numbers(&home, "INBOX", 41);
}
