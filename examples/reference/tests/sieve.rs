//! Sieve at delivery, in the running server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::fs;

use base64::{Engine, prelude::BASE64_STANDARD};
use common::{PASSWORD, Server, Talk, USER, succeed};

/// A server whose users have this script, unless they have one of their own; with bob beside alice.
fn server(script: &str, extra: &str) -> Server {
    let mut server = Server::prepare("allow_plaintext_auth = true");
    fs::write(server.folder.path().join("default.sieve"), script).unwrap();
    let file = server.folder.path().join("mailwright.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}\n[sieve]\ndefault = \"default.sieve\"\n{extra}\n")).unwrap();
    server.add_user(USER, PASSWORD);
    server.add_user("bob@example.org", PASSWORD);
    server.serve();
    server
}

/// The messages of a mailbox, each whole.
fn messages(server: &Server, user: &str, mailbox: &str) -> Vec<String> {
    let mut talk = server.talk(server.port("imap", "starttls"));
    talk.line();
    assert!(talk.imap("a", &format!("LOGIN {user} {PASSWORD}")).last().unwrap().starts_with("a OK"));
    if !talk.imap("b", &format!("EXAMINE {mailbox}")).last().unwrap().starts_with("b OK") {
        return Vec::new();
    }
    let all = talk.imap("c", "FETCH 1:* (FLAGS BODY.PEEK[])").join("\n");
    all.split("\n* ").filter(|part| part.contains("FETCH (")).map(str::to_owned).collect()
}

/// What is said to the end of a message by SMTP.
fn send(server: &Server, to: &[&str], message: &str) -> String {
    let mut talk = server.talk(server.port("smtp", "starttls"));
    talk.reply();
    talk.smtp("EHLO client.example");
    talk.smtp("MAIL FROM:<bob@example.org>");
    data(&mut talk, to, message);
    talk.reply()
}

fn data(talk: &mut Talk, to: &[&str], message: &str) {
    for to in to {
        assert_eq!(talk.smtp(&format!("RCPT TO:<{to}>")), "250 2.1.5 Ok");
    }
    assert!(talk.smtp("DATA").starts_with("354"));
    talk.send(format!("{message}\r\n.\r\n"));
}

#[test]
fn messages_are_filed_flagged_and_discarded() {
    let server = server(
        r#"require ["fileinto", "mailbox", "imap4flags", "body"];
           if header :contains "Subject" "tea" { fileinto :create :flags "\\Flagged" "Hot/Tea"; }
           elsif header :is "Subject" "nothing" { discard; }
           elsif body :contains "secret word" { fileinto "Nowhere"; }"#,
        "",
    );
    for subject in ["more tea", "nothing", "coffee"] {
        assert!(send(&server, &[USER], &format!("Subject: {subject}\r\n\r\n{subject}")).starts_with("250"));
    }
    assert!(send(&server, &[USER], "Subject: long\r\n\r\nthe secret word").starts_with("250"));
    let tea = messages(&server, USER, "Hot/Tea");
    assert_eq!(tea.len(), 1, "{tea:?}");
    assert!(tea[0].contains("\\Flagged") && tea[0].contains("more tea"), "{tea:?}");
    // A mailbox that is not there loses no mail.
    let inbox = messages(&server, USER, "INBOX");
    assert_eq!(inbox.len(), 2, "{inbox:?}");
    assert!(inbox[0].contains("coffee") && inbox[1].contains("secret"), "{inbox:?}");
}

#[test]
fn a_redirect_to_a_user_here_arrives_and_does_not_go_round() {
    let server = server(
        r#"if envelope :is "to" "alice@example.org" { redirect "bob@example.org"; }
           else { redirect "alice@example.org"; }"#
            .replace("if envelope", "require \"envelope\"; if envelope")
            .as_str(),
        "",
    );
    assert!(send(&server, &[USER], "Subject: round\r\n\r\nround").starts_with("250"));
    let (alice, bob) = (messages(&server, USER, "INBOX"), messages(&server, "bob@example.org", "INBOX"));
    // alice -> bob -> alice, and there it is known already.
    assert_eq!((alice.len(), bob.len()), (1, 0), "{alice:?} {bob:?}");
    assert!(alice[0].contains("X-Sieve-Redirected-From"), "{alice:?}");
}

#[test]
fn a_reject_is_said_to_the_client_where_that_is_possible() {
    let server = server(
        r#"require ["reject", "envelope"];
           if envelope :is "to" "alice@example.org" { reject "Not today, thank you."; }"#,
        "",
    );
    assert_eq!(send(&server, &[USER], "Subject: x\r\n\r\nx"), "550 5.7.1 Not today, thank you.");
    // With others beside her the message is taken, and she tells the sender by mail.
    assert!(send(&server, &[USER, "bob@example.org"], "Subject: y\r\n\r\ny").starts_with("250"));
    assert_eq!(messages(&server, USER, "INBOX"), [""; 0]);
    let bob = messages(&server, "bob@example.org", "INBOX");
    assert_eq!(bob.len(), 2, "{bob:?}");
    assert!(
        bob.iter()
            .any(|message| message.contains("disposition-notification") && message.contains("Not today"))
    );
    // LMTP has a reply for each.
    let mut talk = server.talk(server.port("lmtp", "none"));
    talk.reply();
    talk.smtp("LHLO client.example");
    talk.smtp("MAIL FROM:<bob@example.org>");
    data(&mut talk, &[USER, "bob@example.org"], "Subject: z\r\n\r\nz");
    assert_eq!(talk.reply(), "550 5.7.1 Not today, thank you.");
    assert!(talk.reply().starts_with("250"));
}

/// RFC 5429 §2.2: what no reply can say is said by mail; `ereject` would rather be early than exact.
#[test]
fn a_reason_that_no_reply_can_say_is_sent() {
    let long = format!("{}The end.", "No. ".repeat(120));
    let script = format!(
        r#"require ["reject", "ereject", "envelope"];
           if envelope :is "to" "alice@example.org" {{
               if header :is "subject" "early" {{ ereject "Grüße, nein."; }}
               elsif header :is "subject" "long" {{ reject "{long}"; }}
               else {{ reject "Grüße, nein."; }}
           }}"#
    );
    let server = server(&script, "");
    assert_eq!(send(&server, &[USER], "Subject: early\r\n\r\nx"), "550 5.7.1 Gr??e, nein.");
    for subject in ["exact", "long"] {
        assert!(send(&server, &[USER], &format!("Subject: {subject}\r\n\r\nx")).starts_with("250"));
    }
    assert_eq!(messages(&server, USER, "INBOX"), [""; 0]);
    let bob = messages(&server, "bob@example.org", "INBOX");
    assert_eq!(bob.len(), 2, "{bob:?}");
    assert!(bob.iter().all(|message| message.contains("disposition-notification")), "{bob:?}");
    assert!(bob.iter().any(|message| message.contains("The end.")), "{bob:?}");
}

#[test]
fn a_vacation_answers_once_and_not_to_machines() {
    let server = server(
        r#"require ["vacation", "envelope"];
           if envelope :is "to" "alice@example.org" { vacation :days 1 :subject "Away" "I am at sea."; }"#,
        "",
    );
    let mail = "From: bob@example.org\r\nTo: alice@example.org\r\nSubject: hello\r\n\r\nhello";
    for _ in 0..3 {
        assert!(send(&server, &[USER], mail).starts_with("250"));
    }
    let list =
        "From: bob@example.org\r\nTo: alice@example.org\r\nList-Id: <x.example>\r\nSubject: list\r\n\r\nx";
    assert!(send(&server, &[USER], list).starts_with("250"));
    assert_eq!(messages(&server, USER, "INBOX").len(), 4);
    let bob = messages(&server, "bob@example.org", "INBOX");
    assert_eq!(bob.len(), 1, "{bob:?}");
    for word in ["I am at sea.", "Subject: Away", "Auto-Submitted: auto-replied", "Return-Path: <>"] {
        assert!(bob[0].contains(word), "{word}: {bob:?}");
    }
}

#[test]
fn a_script_that_fails_keeps_the_message_and_changes_nothing() {
    let server = server(
        r#"require ["fileinto", "variables", "include"];
           fileinto "INBOX"; include :global "missing";"#,
        "",
    );
    assert!(send(&server, &[USER], "Subject: kept\r\n\r\nkept").starts_with("250"));
    assert_eq!(messages(&server, USER, "INBOX").len(), 1);
    assert!(server.log().contains("the sieve script failed"), "{}", server.log());
}

/// Text in which an automaton finds something new at every letter.
fn noise(letters: usize) -> String {
    let mut state = 1_u32;
    let mut letter = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if state >> 31 == 0 { 'a' } else { 'b' }
    };
    (0..letters).map(|_| letter()).collect()
}

#[test]
fn a_script_that_takes_too_long_is_ended_and_its_user_is_told() {
    let slow = r#"if string :regex "${a}" "${r}" { discard; }"#.repeat(150);
    let set = format!(r#"set "a" "{}"; set "r" "[ab]*a[ab]{{900}}[^ab]";"#, noise(60_000));
    let script = format!(r#"require ["variables", "regex"]; {set} {slow} discard;"#);
    let server = server(&script, "run_seconds = 1");
    assert!(send(&server, &[USER], "Subject: kept\r\n\r\nkept").starts_with("250"));
    assert_eq!(messages(&server, USER, "INBOX").len(), 1);
    let told = String::from_utf8(succeed(&mut server.command(&["sieve", "log", USER]))).unwrap();
    assert!(told.contains("the script takes too long; the message is kept"), "{told}");
}

#[test]
fn the_configuration_says_what_extensions_may_do() {
    let server = server(
        r#"require ["editheader", "vacation", "vacation-seconds", "copy"];
           if header "subject" "two" { redirect :copy "bob@example.org"; redirect "carl@example.org"; stop; }
           addheader "X-Verified" "yes"; addheader "X-Other" "yes"; deleteheader "X-Spam"; deleteheader "X-Gone";
           vacation :seconds 0 "I am at sea.";"#,
        "disabled = [\"editheader\"]\nredirects = 1\nunaddable_fields = [\"x-verified\"]\nundeletable_fields = [\"X-Spam\"]\n\
         vacation_unaddressed = true\nvacation_least_seconds = 3600",
    );
    let mail = "To: somebody@example.net\r\nX-Spam: no\r\nX-Gone: yes\r\nSubject: one\r\n\r\nx";
    for _ in 0..2 {
        assert!(send(&server, &[USER], mail).starts_with("250"));
    }
    let inbox = messages(&server, USER, "INBOX");
    assert_eq!(inbox.len(), 2, "{inbox:?}");
    assert!(inbox[0].contains("X-Other: yes") && inbox[0].contains("X-Spam: no"), "{inbox:?}");
    assert!(!inbox[0].contains("X-Verified") && !inbox[0].contains("X-Gone"), "{inbox:?}");
    // Though nobody is addressed, and once: :seconds 0 is less than the least.
    let bob = messages(&server, "bob@example.org", "INBOX");
    assert_eq!(bob.iter().filter(|message| message.contains("at sea")).count(), 1, "{bob:?}");
    assert!(send(&server, &[USER], "Subject: two\r\n\r\nx").starts_with("250"));
    let told = String::from_utf8(succeed(&mut server.command(&["sieve", "log", USER]))).unwrap();
    assert!(told.contains("redirects to more than 1 addresses"), "{told}");
    // What only the server's own scripts may use.
    let mut talk = server.talk(server.port("managesieve", "starttls"));
    let greeting = talk.until("OK").join("\n");
    assert!(!greeting.contains("editheader") && greeting.contains("\"MAXREDIRECTS\" \"1\""), "{greeting}");
}

#[test]
fn a_changed_header_is_what_is_filed() {
    let server = server(
        r#"require ["editheader", "fileinto"]; addheader "X-Seen-By" "sieve"; deleteheader "X-Spam"; keep;"#,
        "",
    );
    let mail = "X-Spam: yes\r\nSubject: s\r\n\r\nbody";
    assert!(send(&server, &[USER], mail).starts_with("250"));
    let inbox = messages(&server, USER, "INBOX");
    assert_eq!(inbox.len(), 1, "{inbox:?}");
    assert!(inbox[0].contains("X-Seen-By: sieve") && !inbox[0].contains("X-Spam"), "{inbox:?}");
}

#[test]
fn a_script_of_the_server_that_is_not_right_is_told_at_the_start() {
    let server = Server::prepare("");
    let file = server.folder.path().join("mailwright.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}\n[sieve]\nbefore = [\"bad.sieve\"]\n")).unwrap();
    let output = common::run(&mut server.command(&["serve"]));
    assert!(String::from_utf8_lossy(&output.stderr).contains("bad.sieve"));
    fs::write(server.folder.path().join("bad.sieve"), "keep;\nfileinto \"x\";\n").unwrap();
    let output = common::run(&mut server.command(&["serve"]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("bad.sieve") && said.contains("line 2"), "{said}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_users_own_script_filters_and_is_checked_as_it_is_run() {
    let server = server("discard;", "");
    let mut talk = server.talk(server.port("managesieve", "starttls"));
    talk.until("OK");
    let plain = BASE64_STANDARD.encode(format!("\0{USER}\0{PASSWORD}"));
    talk.send(format!("AUTHENTICATE \"PLAIN\" \"{plain}\"\r\n"));
    let answer = talk.until("OK");
    assert!(answer.last().unwrap().starts_with("OK"), "{answer:?}");
    // What the filter here cannot do, is refused when it is put.
    let mut put = |script: &str| {
        talk.send(format!("PUTSCRIPT \"mine\" {{{}+}}\r\n{script}\r\n", script.len()));
        talk.line()
    };
    let refused = put("require \"extlists\";");
    assert!(refused.starts_with("NO") || refused.starts_with("NO ("), "{refused}");
    let answer = put("require [\"fileinto\", \"mailbox\"]; fileinto :create \"Mine\";");
    assert!(answer.starts_with("OK"), "{answer}");
    talk.send("SETACTIVE \"mine\"\r\n");
    let active = talk.until("OK");
    assert!(active.last().unwrap().starts_with("OK"), "{active:?}");
    assert!(send(&server, &[USER, "bob@example.org"], "Subject: x\r\n\r\nx").starts_with("250"));
    assert_eq!(messages(&server, USER, "Mine").len(), 1);
    // Who has none has the server's default.
    assert_eq!(messages(&server, "bob@example.org", "INBOX"), [""; 0]);
}

#[test]
fn what_filters_before_us_found_can_be_tested() {
    let server = server(
        r#"require ["spamtestplus", "virustest", "relational", "comparator-i;ascii-numeric", "fileinto", "mailbox"];
           if virustest :value "ge" :comparator "i;ascii-numeric" "4" { fileinto :create "Virus"; }
           elsif spamtest :percent :value "ge" :comparator "i;ascii-numeric" "70" { fileinto :create "Spam"; }"#,
        "spam_field = \"X-Spam-Score\"\nvirus_field = \"X-Virus\"",
    );
    for (subject, fields) in [
        ("ham", "X-Spam-Score: 1.5\r\nX-Virus: clean"),
        ("spam", "X-Spam-Score: 8.2\r\nX-Virus: Clean"),
        ("worm", "X-Spam-Score: 0\r\nX-Virus: Worm.A found"),
        ("unseen", "X-Other: 99"),
    ] {
        let message = format!("Subject: {subject}\r\n{fields}\r\n\r\nx");
        assert!(send(&server, &[USER], &message).starts_with("250"));
    }
    assert_eq!(messages(&server, USER, "INBOX").len(), 2);
    assert!(messages(&server, USER, "Spam").concat().contains("Subject: spam"));
    assert!(messages(&server, USER, "Virus").concat().contains("Subject: worm"));
}

#[test]
fn abuse_is_reported_in_the_form_for_it() {
    let server = server(
        r#"require "vnd.dovecot.report";
           if header :is "Subject" "win" { report :headers_only "abuse" "This is spam." "bob@example.org"; discard; }"#,
        "",
    );
    assert!(send(&server, &[USER], "Subject: win\r\n\r\nthe body").starts_with("250"));
    let reports = messages(&server, "bob@example.org", "INBOX");
    assert_eq!(reports.len(), 1, "{reports:?}");
    for part in [
        "multipart/report",
        "Feedback-Type: abuse",
        "This is spam.",
        "Subject: win",
        "Original-Rcpt-To: <alice@",
    ] {
        assert!(reports[0].contains(part), "{part}: {}", reports[0]);
    }
    assert!(!reports[0].contains("the body"));
    assert!(messages(&server, USER, "INBOX").is_empty());
}

#[test]
fn a_message_is_explained_and_nothing_happens() {
    let mut server = server(
        r#"require ["fileinto", "mailbox", "vacation"];
           if header :contains "Subject" "tea" {
               fileinto :create "Tea";
               vacation :addresses "alice@example.org" "away";
           }"#,
        "",
    );
    let file = server.folder.path().join("message");
    fs::write(&file, "From: bob@example.org\r\nTo: alice@example.org\r\nSubject: more tea\r\n\r\nNow.\r\n")
        .unwrap();
    let explain = |server: &Server, options: &[&str]| {
        let mut command = server.command(&["sieve", "explain", USER, file.to_str().unwrap()]);
        String::from_utf8(succeed(command.args(["--from", "bob@example.org"]).args(options))).unwrap()
    };
    let words = explain(&server, &[]);
    for line in ["scripts: default", "  line 2: header is true", "  line 3: fileinto", "  line 4: vacation"] {
        assert!(words.lines().any(|found| found == line), "{line}: {words}");
    }
    assert!(
        words.contains("would: fileinto \"Tea\"") && words.contains("would: vacation to bob@"),
        "{words}"
    );
    let json: serde_json::Value = serde_json::from_str(&explain(&server, &["--json"])).unwrap();
    assert_eq!((&json["steps"][0]["line"], &json["steps"][0]["script"]), (&2.into(), &"default".into()));
    assert_eq!(json["implicit_keep"], false);
    assert!(messages(&server, USER, "Tea").is_empty() && messages(&server, USER, "INBOX").is_empty());
    assert!(messages(&server, "bob@example.org", "INBOX").is_empty());
    // The same without a server.
    server.stop();
    assert_eq!(explain(&server, &[]), words);
}
