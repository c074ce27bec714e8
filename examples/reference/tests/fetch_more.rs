//! Mail fetched from another of these servers: with an OAuth 2.0 access token, from all mailboxes, and deleted there later.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;
#[path = "fetch/odd.rs"]
mod odd;
#[path = "identity/web.rs"]
mod web;

use std::{fs, io::Write, os::unix::fs::PermissionsExt, process::Stdio, thread, time::Duration};

use common::{PASSWORD, Server, USER, deliver, imap, run, succeed, wait_for, write_private};
use odd::{Mailbox, Mailboxes, Maildrop, Odd};
use web::Web;

/// A server that lets tokens in if they are fresh, with a message in it.
fn foreign(web: &Web) -> Server {
    let mut server = Server::prepare("allow_plaintext_auth = true");
    let file = server.folder.path().join("mailwright.toml");
    let text = fs::read_to_string(&file).unwrap();
    let section = format!(
        "[auth]\npenalty_milliseconds = 0\n[auth.oauth]\nurl = \"https://localhost:{}/introspect\"\ntrust = \"web.pem\"\nclient = \"mail\"\n\
         secret_file = \"secret\"\naccount_field = \"email\"\n",
        web.port
    );
    fs::write(&file, format!("{text}\n{section}")).unwrap();
    write_private(&server.folder.path().join("secret"), "secret\n");
    fs::write(server.folder.path().join("web.pem"), &web.certificate).unwrap();
    server.add_user(USER, PASSWORD);
    server.serve();
    deliver(&server, USER, "Subject: one\r\n\r\nx\r\n");
    server
}

fn subjects(server: &Server) -> Vec<String> {
    let mut talk = imap(server);
    talk.imap("e", "EXAMINE INBOX");
    let all = talk.imap("f", "FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]");
    all.iter().filter_map(|line| line.strip_prefix("Subject: ")).map(str::to_owned).collect()
}

#[test]
fn tokens_let_in_while_they_are_fresh() {
    let web = Web::start(|request| {
        let fresh = ["token=from-file", "token=from-program"].iter().any(|token| request.contains(token));
        let answer = if fresh {
            format!("{{\"active\":true,\"email\":\"{USER}\"}}")
        } else {
            "{\"active\":false}".into()
        };
        (200, String::new(), answer)
    });
    let foreign = foreign(&web);
    for (protocol, option) in [("imap", "--token-file"), ("pop3", "--token-program")] {
        let quick = "fetch = { first_retry_seconds = 1, longest_retry_seconds = 1, login_retry_seconds = 1 }";
        let home = Server::start(&format!("allow_plaintext_auth = true\n{quick}"));
        let file = home.folder.path().join("token");
        let program = home.folder.path().join("program");
        fs::write(&file, "stale\n").unwrap();
        fs::write(&program, format!("#!/bin/sh\n[ \"$1\" = alice ] && cat {}\n", file.display())).unwrap();
        fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let token = match option {
            "--token-file" => file.display().to_string(),
            _ => format!("{} alice", program.display()),
        };
        let source = format!("{protocol}://{USER}@127.0.0.1:{}", foreign.port(protocol, "starttls"));
        let every = ["--in-clear", "--every", "1s"];
        // Nobody is asked for a password.
        succeed(home.command(&["fetch", "add", USER, &source, option, &token]).args(every));
        let status = || String::from_utf8(succeed(&mut home.command(&["fetch", "status"]))).unwrap();
        wait_for("the refusal", || status().contains("does not let us in").then_some(()));
        assert!(status().contains("by a token"), "{}", status());
        assert_eq!(subjects(&home), [""; 0]);
        // Somebody made a new one: it counts with the next login.
        let fresh = if option == "--token-file" { "from-file" } else { "from-program" };
        fs::write(&file, format!("{fresh}\n")).unwrap();
        wait_for("the message", || (subjects(&home) == ["one"]).then_some(()));
        // The token is nowhere but where it was.
        assert!(!home.log().contains("from-"), "{}", home.log());
        fs::remove_file(&file).unwrap();
        if protocol == "pop3" {
            wait_for("the next login", || status().contains("no access token").then_some(()));
        }
    }
    let home = Server::start("");
    let refused =
        run(&mut home.command(&["fetch", "add", USER, "imaps://a@b.test", "--token-file", "relative"]));
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("begins with /"));
}

const QUICK: &str =
    "allow_plaintext_auth = true\nfetch = { first_retry_seconds = 1, longest_retry_seconds = 2 }";

/// `fetch add` with the password.
fn add(home: &Server, source: &str, options: &[&str]) {
    add_with(home, source, &[&["--in-clear", "--every", "1s"], options].concat());
}

fn add_with(home: &Server, source: &str, options: &[&str]) {
    let mut command = home.command(&["fetch", "add", USER, source]);
    let mut child = command.args(options).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{PASSWORD}\n").as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// Puts a message into a mailbox.
fn put(server: &Server, mailbox: &str, flags: &str, subject: &str) {
    let mut talk = imap(server);
    let text = format!("Message-ID: <{subject}@example.net>\r\nSubject: {subject}\r\n\r\nx\r\n");
    let answer = talk.imap("p", &format!("APPEND {mailbox} ({flags}) {{{}+}}\r\n{text}", text.len()));
    assert!(answer.last().unwrap().starts_with("p OK"), "{answer:?}");
}

/// The subjects of a mailbox, each with its flags.
fn mailbox(server: &Server, name: &str) -> Vec<String> {
    let mut talk = imap(server);
    if !talk.imap("e", &format!("EXAMINE {name}")).last().unwrap().starts_with("e OK") {
        return Vec::new();
    }
    let all = talk.imap("f", "FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])").join("\n");
    let one = |message: &str| {
        let subject = message.split("Subject: ").nth(1)?.lines().next()?;
        let flags = message.split("FLAGS (").nth(1)?.split(')').next()?;
        Some(format!("{subject} {}", flags.replace("\\Recent", "")).trim().to_owned())
    };
    all.split("\n* ").filter_map(one).collect()
}

#[test]
fn all_mailboxes_come_each_into_its_own() {
    let foreign = Server::start("allow_plaintext_auth = true");
    for name in ["Archive", "Archive/2025", "Sent"] {
        imap(&foreign).imap("c", &format!("CREATE {name}"));
    }
    put(&foreign, "INBOX", "\\Seen", "new");
    put(&foreign, "Archive/2025", "\\Seen \\Flagged", "old");
    put(&foreign, "Archive/2025", "", "older");
    put(&foreign, "Sent", "\\Seen", "sent");
    let mut home = Server::prepare(QUICK);
    let script = "require [\"fileinto\", \"mailbox\"]; fileinto :create \"Filtered\";";
    fs::write(home.folder.path().join("default.sieve"), script).unwrap();
    let file = home.folder.path().join("mailwright.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}\n[sieve]\ndefault = \"default.sieve\"\n")).unwrap();
    home.add_user(USER, PASSWORD);
    home.serve();
    let source = format!("imap://{USER}@127.0.0.1:{}", foreign.port("imap", "starttls"));
    add(&home, &source, &["--all-folders"]);
    let seen = |home: &Server| {
        ["Filtered", "Archive/2025", "Sent", "INBOX"].map(|name| {
            let mut all = mailbox(home, name);
            all.sort();
            all
        })
    };
    let expected = [
        vec!["new".to_owned()],
        vec!["old \\Seen \\Flagged".to_owned(), "older".to_owned()],
        vec!["sent \\Seen".to_owned()],
        vec![],
    ];
    wait_for("the mail", || (seen(&home) == expected).then_some(()));
    // What moves there does not come twice, and what is new comes.
    let mut talk = imap(&foreign);
    talk.imap("s", "SELECT Archive/2025");
    assert!(talk.imap("m", "MOVE 1 Sent").last().unwrap().starts_with("m OK"));
    put(&foreign, "Archive/2025", "", "later");
    put(&foreign, "INBOX", "", "newer");
    wait_for("the new mail", || {
        (mailbox(&home, "Filtered").len() == 2 && mailbox(&home, "Archive/2025").len() == 3).then_some(())
    });
    home.stop();
    home.serve();
    put(&foreign, "Sent", "", "last");
    wait_for("the last", || (mailbox(&home, "Sent").len() == 2).then_some(()));
    assert_eq!(mailbox(&home, "Archive/2025").len(), 3);
    assert_eq!(mailbox(&home, "Filtered"), ["new", "newer"]);
    // Nothing is changed there.
    assert_eq!(mailbox(&foreign, "INBOX"), ["new \\Seen", "newer"]);
}

#[test]
fn what_is_new_in_any_mailbox_comes_at_once() {
    let foreign = Server::start("allow_plaintext_auth = true");
    imap(&foreign).imap("c", "CREATE Archive");
    let home = Server::start(QUICK);
    let source = format!("imap://{USER}@127.0.0.1:{}", foreign.port("imap", "starttls"));
    let options = ["--in-clear", "--every", "1h", "--all-folders"];
    add_with(&home, &source, &options);
    let status = || String::from_utf8(succeed(&mut home.command(&["fetch", "status"]))).unwrap();
    for (number, name) in ["INBOX", "Archive", "Archive", "INBOX"].into_iter().enumerate() {
        wait_for("the wait for news", || status().contains("): listening").then_some(()));
        put(&foreign, name, "", &format!("news{number}"));
        wait_for("the news", || {
            mailbox(&home, name).iter().any(|one| *one == format!("news{number}")).then_some(())
        });
    }
}

#[test]
fn what_has_been_here_for_long_is_deleted_there() {
    let foreign = Server::start("allow_plaintext_auth = true");
    for subject in ["one", "two", "three"] {
        put(&foreign, "INBOX", "", subject);
    }
    let source = format!("pop3://{USER}@127.0.0.1:{}", foreign.port("pop3", "starttls"));
    let home = Server::start(QUICK);
    add(&home, &source, &["--delete-after", "30d"]);
    wait_for("the mail", || (mailbox(&home, "INBOX").len() == 3).then_some(()));
    let looks = || {
        let status = succeed(&mut home.command(&["fetch", "status", "--json"]));
        serde_json::from_slice::<serde_json::Value>(&status).unwrap()["succeeded"].as_u64()
    };
    let first = wait_for("a look", looks);
    wait_for("another look", || looks().filter(|now| *now > first));
    assert_eq!(mailbox(&foreign, "INBOX").len(), 3);
    // The same for a shorter time.
    add(&home, &source, &["--delete-after", "1s"]);
    wait_for("the end of their time", || mailbox(&foreign, "INBOX").is_empty().then_some(()));
    assert_eq!(mailbox(&home, "INBOX").len(), 3);
}

fn status(home: &Server) -> String {
    String::from_utf8(succeed(&mut home.command(&["fetch", "status", "--json"]))).unwrap()
}

#[test]
fn nothing_is_fetched_for_who_is_gone() {
    for options in [&["--no-push"][..], &["--all-folders"]] {
        let foreign = Server::start("allow_plaintext_auth = true");
        deliver(&foreign, USER, "Subject: one\r\n\r\nx\r\n");
        let home = Server::start(QUICK);
        // Whoever gets what is for nobody gets nothing of hers.
        let bob = "bob@example.org";
        home.add_user(bob, PASSWORD);
        succeed(&mut home.command(&["domain", "set", "example.org", "--unknown", bob]));
        add(&home, &format!("imap://{USER}@127.0.0.1:{}", foreign.port("imap", "starttls")), options);
        wait_for("the first message", || (subjects(&home) == ["one"]).then_some(()));
        succeed(&mut home.command(&["user", "remove", USER]));
        wait_for("the look that is none", || status(&home).contains("does not take mail").then_some(()));
        deliver(&foreign, USER, "Subject: two\r\n\r\nx\r\n");
        let logins = || foreign.log().matches("login protocol=imap").count();
        let before = logins();
        thread::sleep(Duration::from_secs(3));
        assert_eq!(logins(), before, "nobody logs in for her");
        succeed(&mut home.command(&["user", "restore", USER]));
        wait_for("the second message", || (subjects(&home) == ["one", "two"]).then_some(()));
        let mut talk = home.talk(home.port("imap", "starttls"));
        talk.line();
        assert!(talk.imap("a", &format!("LOGIN {bob} {PASSWORD}")).last().unwrap().starts_with("a OK"));
        assert!(talk.imap("b", "STATUS INBOX (MESSAGES)")[0].contains("MESSAGES 0"));
        // When her mail goes, the account elsewhere goes with it.
        succeed(&mut home.command(&["user", "remove", USER]));
        succeed(&mut home.command(&["user", "erase", USER]));
        assert_eq!(String::from_utf8(succeed(&mut home.command(&["fetch", "list"]))).unwrap(), "");
    }
}

#[test]
fn accounts_that_are_added_at_once_are_all_there() {
    let home = Server::start(QUICK);
    let begin = |number: usize| {
        let source = format!("imap://somebody{number}@127.0.0.1:1");
        let mut command = home.command(&["fetch", "add", USER, &source, "--in-clear"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"secret\n").unwrap();
        child
    };
    let children: Vec<_> = (0..12).map(begin).collect();
    assert!(children.into_iter().all(|mut child| child.wait().unwrap().success()));
    let list = String::from_utf8(succeed(&mut home.command(&["fetch", "list"]))).unwrap();
    assert_eq!(list.matches("somebody").count(), 12, "{list}");
}

#[test]
fn what_was_too_large_comes_when_the_limit_is_raised() {
    let foreign = Server::start("allow_plaintext_auth = true");
    deliver(&foreign, USER, "Subject: small\r\n\r\nx\r\n");
    let large = format!("Subject: large\r\n\r\n{}", "a line of text\r\n".repeat(10_000));
    deliver(&foreign, USER, &large);
    for protocol in ["imap", "pop3"] {
        let mut home = Server::prepare("allow_plaintext_auth = true");
        let file = home.folder.path().join("mailwright.toml");
        let text = fs::read_to_string(&file).unwrap();
        let limited = text.replace("[limits]\n", "[limits]\nmessage_size = 100000\n");
        assert_ne!(text, limited);
        fs::write(&file, limited).unwrap();
        home.add_user(USER, PASSWORD);
        home.serve();
        add(&home, &format!("{protocol}://{USER}@127.0.0.1:{}", foreign.port(protocol, "starttls")), &[]);
        wait_for("the refusal", || status(&home).contains("too large: 1").then_some(()));
        assert_eq!(subjects(&home), ["small"]);
        home.stop();
        fs::write(&file, &text).unwrap();
        home.serve();
        wait_for("the large one", || (subjects(&home) == ["small", "large"]).then_some(()));
        let told: serde_json::Value = serde_json::from_str(status(&home).lines().next().unwrap()).unwrap();
        assert_eq!((told["here"].as_u64(), told["refused"].as_u64()), (Some(2), Some(0)), "{told}");
    }
}

/// What a scanner sends: page after page under one header.
fn page(text: &str) -> String {
    format!("From: scanner@lan\r\nSubject: scan\r\n\r\n{text}\r\n")
}

/// Looks now, and waits until that look has ended.
fn look(home: &Server) {
    let told = || serde_json::from_str::<serde_json::Value>(status(home).lines().next().unwrap()).unwrap();
    let before = told()["tried"].as_u64();
    // Moments are told in seconds.
    thread::sleep(Duration::from_millis(1_100));
    succeed(&mut home.command(&["fetch", "now"]));
    wait_for("a look", || (told()["tried"].as_u64() > before && told()["phase"] != "fetching").then_some(()));
}

/// The texts of a mailbox, sorted.
fn texts(home: &Server, mailbox: &str) -> Vec<String> {
    let mut talk = imap(home);
    if !talk.imap("e", &format!("EXAMINE {mailbox}")).last().unwrap().starts_with("e OK") {
        return Vec::new();
    }
    let all = talk.imap("f", "FETCH 1:* BODY.PEEK[TEXT]").join("\n");
    let mut texts: Vec<String> =
        all.split("}\n").skip(1).filter_map(|part| Some(part.lines().next()?.to_owned())).collect();
    texts.sort();
    texts
}

const SLOWLY: [&str; 4] = ["--in-clear", "--every", "1h", "--no-push"];

#[test]
fn nothing_is_deleted_there_that_never_came_although_headers_are_alike() {
    let delete = [&SLOWLY[..], &["--delete"]].concat();
    // Unique ids as they should be, one for all, and none.
    for (first, next, nameless) in [("a", "b", false), ("same", "same", false), ("same", "same", true)] {
        let home = Server::start(QUICK);
        let drop = Odd::start(Maildrop { nameless, ..Maildrop::default() }, odd::pop3);
        drop.with(|drop| drop.messages.push((first, page("one"))));
        add_with(&home, &format!("pop3://ann@127.0.0.1:{}", drop.port), &delete);
        wait_for("the first", || (texts(&home, "INBOX") == ["one"]).then_some(()));
        wait_for("its end there", || drop.with(|drop| drop.messages.is_empty()).then_some(()));
        if !nameless {
            look(&home);
        }
        // Of the same size or not.
        drop.with(|drop| drop.messages.push((next, page("two"))));
        look(&home);
        assert_eq!(texts(&home, "INBOX"), ["one", "two"], "{first} {next} {nameless}");
        drop.with(|drop| drop.messages.push((first, page("another"))));
        look(&home);
        assert_eq!(texts(&home, "INBOX"), ["another", "one", "two"], "{first} {next} {nameless}");
        wait_for("the end of all", || drop.with(|drop| drop.messages.is_empty()).then_some(()));
        // Two of one name, the second of which cannot be had: when the first goes, its name is the second's.
        drop.with(|drop| {
            drop.refused = Some(page("four"));
            drop.messages = vec![("same", page("three")), ("same", page("four"))];
        });
        look(&home);
        let told = status(&home);
        assert!(told.contains("1 message is not given: "), "{told}");
        assert_eq!(drop.with(|drop| drop.messages.len()), 2, "none goes before all are here");
        drop.with(|drop| drop.refused = None);
        look(&home);
        assert_eq!(texts(&home, "INBOX"), ["another", "four", "one", "three", "two"]);
        assert!(!status(&home).contains("not given"));
        wait_for("the end of both", || drop.with(|drop| drop.messages.is_empty()).then_some(()));
    }
    let home = Server::start(QUICK);
    let server = Odd::start(Mailboxes::of(vec![Mailbox::new("INBOX", "", &[page("one")])]), odd::imap);
    add_with(&home, &format!("imap://ann@127.0.0.1:{}", server.port), &delete);
    wait_for("the first", || (texts(&home, "INBOX") == ["one"]).then_some(()));
    for (uid, text) in [(2, "two"), (3, "another")] {
        wait_for("an empty mailbox", || server.with(|all| all.count("INBOX") == 0).then_some(()));
        server.with(|all| all.all[0].messages.push((uid, page(text))));
        look(&home);
    }
    assert_eq!(texts(&home, "INBOX"), ["another", "one", "two"]);
}

#[test]
fn without_unique_ids_nothing_comes_twice() {
    let home = Server::start(QUICK);
    let drop = Odd::start(Maildrop { nameless: true, ..Maildrop::default() }, odd::pop3);
    drop.with(|drop| drop.messages = ["one", "two", "longer"].map(|text| ("", page(text))).into());
    add_with(&home, &format!("pop3://ann@127.0.0.1:{}", drop.port), &SLOWLY);
    wait_for("the mail", || (texts(&home, "INBOX").len() == 3).then_some(()));
    look(&home);
    assert_eq!(drop.with(|drop| drop.given.len()), 3, "what is known is not read again");
    // Somebody else deletes the first: the others have the names of those before them.
    drop.with(|drop| drop.messages.remove(0));
    drop.with(|drop| drop.messages.push(("", page("four"))));
    look(&home);
    look(&home);
    assert_eq!(texts(&home, "INBOX"), ["four", "longer", "one", "two"]);
}

#[test]
fn what_cannot_be_deleted_or_is_not_given_keeps_nothing_else_back_and_is_told() {
    let home = Server::start(QUICK);
    let mut all = Mailboxes::of(vec![
        Mailbox::new("Archive", "", &[page("archived")]),
        Mailbox::new("Closed", "", &[page("closed")]),
        Mailbox::new("Work", "", &[page("work")]),
        Mailbox::new("INBOX", "", &[page("new"), page("withheld")]),
    ]);
    (all.all[0].fixed, all.all[1].read_only) = (true, true);
    all.refused = Some(page("withheld"));
    let server = Odd::start(all, odd::imap);
    let delete = [&SLOWLY[..], &["--delete", "--all-folders"]].concat();
    add_with(&home, &format!("imap://ann@127.0.0.1:{}", server.port), &delete);
    let counts = || server.with(|all| ["Archive", "Closed", "Work", "INBOX"].map(|name| all.count(name)));
    wait_for("what can go", || (counts() == [1, 1, 0, 1]).then_some(()));
    look(&home);
    let told = String::from_utf8(succeed(&mut home.command(&["fetch", "status"]))).unwrap();
    for part in [
        "\"Archive\" keeps its messages: ",
        "\"Closed\" keeps its messages: it can only be read",
        "1 message is not given: ",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(told.contains("never all was well") && !told.contains("failed"), "{told}");
    let stores = server.with(|all| all.log.iter().filter(|line| line.contains("UID STORE 1 ")).count());
    assert!(stores >= 3, "{stores}");
    for (name, text) in [("Archive", "archived"), ("Closed", "closed"), ("Work", "work"), ("INBOX", "new")] {
        assert_eq!(texts(&home, name), [text]);
    }
    let (log, told) = (home.log(), "the server does not give a message that it lists");
    assert!(log.contains(told) && log.contains("host=\"127.0.0.1\""), "{log}");
    server.with(|all| (all.refused, all.tricks) = (None, vec![(2, "nothing")]));
    look(&home);
    let told = status(&home);
    assert!(told.contains("1 message is not given: part of the server's answer cannot be read"), "{told}");
    server.with(|all| all.tricks.clear());
    look(&home);
    assert_eq!(texts(&home, "INBOX"), ["new", "withheld"]);
}

#[test]
fn mailboxes_of_any_name_come_and_views_do_not() {
    let home = Server::start(QUICK);
    let deep = "a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t/u";
    let all = Mailboxes::of(vec![
        Mailbox::new("INBOX", "", &[page("new")]),
        Mailbox::new("A&B", "", &[page("ampersand")]),
        Mailbox::new("A&-B", "", &[page("encoded")]),
        Mailbox::new(deep, "", &[page("deep")]),
        Mailbox::new("Foo//Bar", "", &[page("empty level")]),
        Mailbox::new("50%", "", &[page("wildcard")]),
        Mailbox::new("Important", "\\Important", &[page("new")]),
        Mailbox::new("Starred", "\\Flagged", &[page("new")]),
        Mailbox::new("All Mail", "\\All", &[page("new")]),
    ]);
    let server = Odd::start(all, odd::imap);
    let options = [&SLOWLY[..], &["--all-folders"]].concat();
    add_with(&home, &format!("imap://ann@127.0.0.1:{}", server.port), &options);
    wait_for("the mail", || (texts(&home, "INBOX") == ["new"]).then_some(()));
    look(&home);
    for (name, text) in [
        ("A&-B", "encoded"),
        ("\"A&-B (2)\"", "ampersand"),
        ("a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p_q_r_s_t_u", "deep"),
        ("Foo/_/Bar", "empty level"),
        ("\"50%\"", "wildcard"),
    ] {
        assert_eq!(texts(&home, name), [text], "{name}");
    }
    let listed = imap(&home).imap("l", "LIST \"\" *").join("\n");
    assert!(["Important", "Starred", "All Mail"].iter().all(|name| !listed.contains(name)), "{listed}");
    assert!(
        status(&home).contains("\"here\":6") && status(&home).contains("\"notes\":[]"),
        "{}",
        status(&home)
    );
    // Whoever has mail in none but All Mail is told that it does not come; that is no failure, and the log says it once.
    assert!(status(&home).contains("\"views\":[\"All Mail\"]"), "{}", status(&home));
    let shown = String::from_utf8(succeed(&mut home.command(&["fetch", "status"]))).unwrap();
    assert!(shown.contains("\"All Mail\" is left out") && shown.contains("all was well"), "{shown}");
    look(&home);
    assert_eq!(home.log().matches("All Mail").count(), 1, "{}", home.log());
}

#[test]
fn a_message_that_breaks_the_connection_holds_up_no_others() {
    let home = Server::start(&QUICK.replace("= 2 }", "= 10 }"));
    let drop = Maildrop {
        messages: vec![("1", page("one")), ("2", page("breaks")), ("3", page("three"))],
        breaks: Some(page("breaks")),
        ..Maildrop::default()
    };
    let server = Odd::start(drop, odd::pop3);
    add(&home, &format!("pop3://ann@127.0.0.1:{}", server.port), &["--delete"]);
    wait_for("the others", || (texts(&home, "INBOX") == ["one", "three"]).then_some(()));
    wait_for("what is deleted", || server.with(|drop| drop.messages.len() == 1).then_some(()));
    assert!(status(&home).contains("1 message waits: the connection breaks"), "{}", status(&home));
    server.with(|drop| drop.breaks = None);
    wait_for("the message", || (texts(&home, "INBOX").len() == 3).then_some(()));
}
