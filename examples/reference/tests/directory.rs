//! Domains, aliases and groups of the running server, changed while sessions are open.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::fs;

use base64::{Engine, prelude::BASE64_STANDARD};
use common::{PASSWORD, Server, Talk, USER, refused, run, tell};

/// A session that has named a sender.
fn sender(server: &Server) -> Talk {
    let mut talk = server.talk(server.port("smtp", "starttls"));
    talk.reply();
    talk.smtp("EHLO client.example");
    assert!(talk.smtp("MAIL FROM:<eve@elsewhere.example>").starts_with("250"));
    talk
}

/// The reply to a recipient, without its text.
fn code(talk: &mut Talk, to: &str) -> String {
    talk.smtp(&format!("RCPT TO:<{to}>")).chars().take(9).collect()
}

const TAKEN: &str = "250 2.1.5";
const UNKNOWN: &str = "550 5.1.1";

#[test]
fn a_domain_comes_and_goes_while_a_session_is_open() {
    let server = Server::start("");
    let mut talk = sender(&server);
    assert_eq!(code(&mut talk, "carol@new.example"), "554 5.7.1");
    tell(&server, "domain add new.example");
    assert_eq!(code(&mut talk, "carol@new.example"), UNKNOWN);
    server.add_user("carol@new.example", PASSWORD);
    assert_eq!(code(&mut talk, "carol@new.example"), TAKEN);
    tell(&server, "domain alias second.example new.example");
    assert_eq!(code(&mut talk, "Carol@Second.example"), TAKEN);
    assert!(refused(&server, "domain add new.example").contains("already"));
    assert!(refused(&server, "domain alias new.example second.example").contains("domain of its own"));
    assert_eq!(tell(&server, "domain list"), "example.org\nnew.example\nsecond.example  = new.example\n");
    tell(&server, "domain remove new.example");
    assert_eq!(code(&mut talk, "carol@new.example"), "554 5.7.1");
    assert_eq!(code(&mut talk, "carol@second.example"), "554 5.7.1");
    assert!(refused(&server, "domain remove example.org").contains("configuration"));
    assert!(refused(&server, "domain remove none.example").contains("no domain"));
}

#[test]
fn the_mail_of_a_removed_domain_can_still_be_read() {
    let server = Server::start("allow_plaintext_auth = true");
    tell(&server, "domain add new.example");
    server.add_user("carol@new.example", PASSWORD);
    common::deliver(&server, "carol@new.example", "Subject: kept\r\n\r\nkept\r\n");
    tell(&server, "domain remove new.example");
    let mut talk = server.talk(server.port("imap", "starttls"));
    talk.line();
    assert!(
        talk.imap("a", &format!("LOGIN carol@new.example {PASSWORD}")).last().unwrap().starts_with("a OK")
    );
    assert!(talk.imap("b", "STATUS INBOX (MESSAGES)")[0].contains("MESSAGES 1"));
}

#[test]
fn members_share_the_folder_of_their_group() {
    let server = Server::start("allow_plaintext_auth = true");
    for user in ["bob@example.org", "carol@example.org"] {
        server.add_user(user, PASSWORD);
    }
    tell(&server, "alias add office@example.org bob@example.org");
    tell(&server, "group add team@example.org alice@example.org office@example.org --shared-folder");
    assert!(tell(&server, "group list").contains("(shared folder)"));
    common::deliver(&server, "team@example.org", "Subject: all of us\r\n\r\nonce\r\n");
    let folder = "\"Shared Folders/team@example.org\"";
    let login = |user: &str| {
        let mut talk = server.talk(server.port("imap", "starttls"));
        talk.line();
        assert!(talk.imap("a", &format!("LOGIN {user} {PASSWORD}")).last().unwrap().starts_with("a OK"));
        talk
    };
    for user in [USER, "bob@example.org"] {
        let mut talk = login(user);
        assert!(talk.imap("b", "NAMESPACE")[0].ends_with("((\"Shared Folders/\" \"/\"))"));
        assert!(talk.imap("c", "LIST \"\" *").iter().any(|line| line.contains(folder)));
        // Once, and in the folder alone.
        assert!(talk.imap("d", &format!("STATUS {folder} (MESSAGES)"))[0].contains("MESSAGES 1"));
        assert!(talk.imap("e", "STATUS INBOX (MESSAGES)")[0].contains("MESSAGES 0"));
        talk.imap("f", &format!("SELECT {folder}"));
        let text = talk.imap("g", "FETCH 1 (BODY.PEEK[TEXT])");
        assert!(text.iter().any(|line| line == "once"), "{text:?}");
        assert!(talk.imap("h", "COPY 1 INBOX").last().unwrap().starts_with("h OK [COPYUID"));
        talk.imap("i", "SELECT INBOX");
        talk.imap("j", "STORE 1 +FLAGS (\\Deleted)");
        talk.imap("k", "EXPUNGE");
    }
    // Who is no member sees nothing of it, nor does who is no member any more.
    let sees_nothing = |user: &str| {
        let mut talk = login(user);
        assert!(!talk.imap("b", "LIST \"\" *").iter().any(|line| line.contains("Shared")));
        for command in ["SELECT", "GETACL", "DELETE"] {
            let answer = talk.imap("c", &format!("{command} {folder}"));
            assert!(answer.last().unwrap().starts_with("c NO [NONEXISTENT]"), "{answer:?}");
        }
    };
    sees_nothing("carol@example.org");
    tell(&server, "group leave team@example.org office@example.org");
    sees_nothing("bob@example.org");
}

#[test]
fn an_alias_receives_and_never_logs_in() {
    let mut server = Server::start("allow_plaintext_auth = true");
    tell(&server, "alias add sales@example.org alice@example.org");
    tell(&server, "alias add info alice@example.org --all-domains");
    tell(&server, "domain add new.example");
    common::deliver(&server, "sales@example.org", "Subject: 1\r\n\r\n1\r\n");
    common::deliver(&server, "INFO@new.example", "Subject: 2\r\n\r\n2\r\n");
    common::deliver(&server, "alice+tag@example.org", "Subject: 3\r\n\r\n3\r\n");
    assert_eq!(common::count(&server), 3);
    // One copy, though three of its names are addressed.
    let mut talk = sender(&server);
    for to in ["sales@example.org", "alice@example.org", "info@example.org"] {
        assert_eq!(code(&mut talk, to), TAKEN);
    }
    talk.smtp("DATA");
    assert!(talk.smtp("Subject: 4\r\n\r\n4\r\n.").starts_with("250"));
    assert_eq!(common::count(&server), 4);
    for name in
        ["sales@example.org", "info@example.org", "alice+tag@example.org", "alice", "info@new.example"]
    {
        let mut imap = server.talk(server.port("imap", "starttls"));
        imap.line();
        let answer = imap.imap("a", &format!("LOGIN {name} {PASSWORD}"));
        assert!(answer.last().unwrap().starts_with("a NO"), "{name}: {answer:?}");
        let mut pop3 = server.talk(server.port("pop3", "starttls"));
        pop3.line();
        pop3.send(format!("USER {name}\r\n"));
        pop3.line();
        pop3.send(format!("PASS {PASSWORD}\r\n"));
        let answer = pop3.line();
        assert!(answer.starts_with("-ERR"), "{name}: {answer}");
    }
    // All of it lives through a restart.
    server.stop();
    server.serve();
    assert_eq!(
        tell(&server, "alias list"),
        "sales@example.org  alice@example.org\ninfo@*  alice@example.org\n"
    );
    tell(&server, "alias remove sales@example.org");
    tell(&server, "alias remove info --all-domains");
    let mut talk = sender(&server);
    assert_eq!(code(&mut talk, "sales@example.org"), UNKNOWN);
    assert_eq!(code(&mut talk, "info@example.org"), UNKNOWN);
    assert!(refused(&server, "alias remove sales@example.org").contains("no alias"));
    assert!(refused(&server, "alias add alice@example.org x@example.org").contains("an account already"));
}

#[test]
fn some_addresses_are_for_our_own_people() {
    let server = Server::start("allow_plaintext_auth = true");
    tell(&server, "group add everyone@example.org alice@example.org --local-only");
    let mut talk = sender(&server);
    assert_eq!(code(&mut talk, "everyone@example.org"), "550 5.7.1");
    let mut talk = submission(&server);
    assert!(talk.smtp(&format!("MAIL FROM:<{USER}>")).starts_with("250"));
    assert_eq!(code(&mut talk, "everyone@example.org"), TAKEN);
    let shown = tell(&server, "address everyone@example.org");
    assert!(shown.contains("delivered to alice@example.org"), "{shown}");
    assert!(shown.contains("strangers are told: 550 5.7.1"), "{shown}");
}

#[test]
fn a_catch_all_and_a_postmaster() {
    let server = Server::start("allow_plaintext_auth = true");
    server.add_user("bob@example.org", PASSWORD);
    let mut talk = sender(&server);
    assert_eq!(code(&mut talk, "whoever@example.org"), UNKNOWN);
    assert_eq!(code(&mut talk, "Postmaster"), TAKEN);
    tell(&server, "domain set example.org --unknown bob@example.org --postmaster bob@example.org");
    assert_eq!(code(&mut talk, "whoever@example.org"), TAKEN);
    assert_eq!(tell(&server, "address postmaster@example.org"), "delivered to bob@example.org\n");
    tell(&server, "domain set example.org --unknown none");
    assert_eq!(code(&mut talk, "whoever@example.org"), UNKNOWN);
    assert_eq!(tell(&server, "domain list"), "example.org  postmaster bob@example.org\n");
    assert!(refused(&server, "domain set other.example --unknown none").contains("no domain"));
}

#[test]
fn a_group_is_there_while_a_member_has_a_mailbox() {
    let server = Server::start("");
    tell(&server, "user add bob@example.org --no-mailbox");
    tell(&server, "group add team@example.org bob@example.org eve@elsewhere.example");
    let mut talk = sender(&server);
    assert_eq!(code(&mut talk, "bob@example.org"), "550 5.2.1");
    assert_eq!(code(&mut talk, "team@example.org"), UNKNOWN);
    tell(&server, "user set bob@example.org --mailbox true");
    assert_eq!(code(&mut talk, "team@example.org"), TAKEN);
    tell(&server, "user set bob@example.org --mailbox false");
    assert_eq!(code(&mut talk, "team@example.org"), UNKNOWN);
    tell(&server, "group join team@example.org alice@example.org");
    assert_eq!(code(&mut talk, "team@example.org"), TAKEN);
    tell(&server, "group leave team@example.org alice@example.org");
    assert_eq!(code(&mut talk, "team@example.org"), UNKNOWN);
    assert!(refused(&server, "group leave team@example.org alice@example.org").contains("no member"));
    assert!(refused(&server, "group join nobody@example.org alice@example.org").contains("no group"));
    tell(&server, "group remove team@example.org");
    assert_eq!(tell(&server, "group list"), "");
}

#[test]
fn the_whole_directory_goes_to_a_file_and_back() {
    let server = Server::start("");
    tell(&server, "domain add new.example --journal alice@example.org");
    tell(&server, "domain alias second.example new.example");
    tell(&server, "alias add a@new.example alice@example.org eve@elsewhere.example");
    tell(&server, "alias add info alice@example.org --all-domains --local-only");
    tell(&server, "group add team@new.example alice@example.org --shared-folder");
    tell(&server, "network add office 192.0.2.0/24 2001:db8::/64 --relay");
    tell(&server, "user set alice@example.org --forward eve@elsewhere.example --keep true");
    let exported = tell(&server, "directory export");
    let file = server.folder.path().join("directory.toml");
    fs::write(&file, &exported).unwrap();
    let import = format!("directory import {} --only", file.display());

    // Elsewhere it makes the same.
    let other = Server::prepare("");
    assert!(refused(&other, &import).contains("alice@example.org"), "an account cannot come from nowhere");
    other.add_user(USER, PASSWORD);
    tell(&other, "alias add gone@example.org alice@example.org");
    tell(&other, &import);
    assert_eq!(tell(&other, "directory export"), exported);

    // A mistake anywhere changes nothing.
    fs::write(&file, exported.replace("eve@elsewhere.example", "not an address")).unwrap();
    assert!(refused(&other, &import).contains("not an address"));
    assert_eq!(tell(&other, "directory export"), exported);
    fs::write(&file, format!("{exported}\n[aliass]\n")).unwrap();
    assert!(refused(&other, &import).contains("aliass"));
    let json: serde_json::Value = serde_json::from_str(&tell(&other, "directory export --json")).unwrap();
    assert_eq!(json["domain-alias"]["second.example"], "new.example");
}

#[test]
fn an_alias_file_is_imported() {
    let server = Server::prepare("");
    server.add_user(USER, PASSWORD);
    let file = server.folder.path().join("aliases");
    fs::write(&file, "# office\nroot: alice\nstaff: alice, eve@elsewhere.example\n").unwrap();
    let import = format!("alias import {} --domain example.org", file.display());
    assert_eq!(tell(&server, &import), "2 entries written\n");
    assert_eq!(
        tell(&server, "alias list"),
        "root@example.org  alice@example.org\nstaff@example.org  alice@example.org, eve@elsewhere.example\n"
    );
    fs::write(&file, "root: alice\nroot: eve@elsewhere.example\n").unwrap();
    let words: Vec<&str> = import.split_whitespace().collect();
    let output = run(&mut server.command(&words));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1 entries written\n");
    assert!(String::from_utf8_lossy(&output.stderr).contains("line 2: the alias root"));
    assert!(tell(&server, "alias list").starts_with("root@example.org  alice@example.org\n"));
    fs::write(&file, "root: alice\nlog: \"|/bin/true\"\n").unwrap();
    assert!(refused(&server, &import).contains("|/bin/true"));
    fs::write(&file, "root alice\n").unwrap();
    assert!(refused(&server, &import).contains("line 1"));
    assert_eq!(tell(&server, "user propose donald.duck"), "donald.duck@example.org\n");
}

/// A session of submission that is logged in.
fn submission(server: &Server) -> Talk {
    let mut talk = server.talk(server.port("submission", "starttls"));
    talk.reply();
    talk.smtp("EHLO client.example");
    let plain = BASE64_STANDARD.encode(format!("\0{USER}\0{PASSWORD}"));
    assert!(talk.smtp(&format!("AUTH PLAIN {plain}")).starts_with("235"));
    talk
}

#[test]
fn who_is_logged_in_writes_as_nobody_else() {
    let server = Server::start("allow_plaintext_auth = true");
    server.add_user("bob@example.org", PASSWORD);
    tell(&server, "alias add sales@example.org alice@example.org");
    for (from, expected) in [
        (USER, "250"),
        ("Sales@Example.org", "250"),
        ("alice+shop@example.org", "250"),
        ("", "250"),
        ("bob@example.org", "553 5.7.1"),
        ("alice@elsewhere.example", "553 5.7.1"),
    ] {
        let answer = submission(&server).smtp(&format!("MAIL FROM:<{from}>"));
        assert!(answer.starts_with(expected), "{from}: {answer}");
    }
}

#[test]
fn networks_are_changed_live_and_an_open_relay_is_refused() {
    let server = Server::start("");
    tell(&server, "group add everyone@example.org alice@example.org --local-only");
    let mut talk = sender(&server);
    assert_eq!(code(&mut talk, "everyone@example.org"), "550 5.7.1");
    tell(&server, "network add here 127.0.0.1 ::1 --relay");
    assert_eq!(code(&mut talk, "everyone@example.org"), TAKEN);
    assert_eq!(tell(&server, "network list"), "here  127.0.0.1, ::1  (may relay)\n");
    tell(&server, "network leave here 127.0.0.1/32");
    assert_eq!(code(&mut talk, "everyone@example.org"), "550 5.7.1");
    tell(&server, "network join here 127.0.0.0/8");
    assert_eq!(code(&mut talk, "everyone@example.org"), TAKEN);
    tell(&server, "network remove here");
    assert_eq!(code(&mut talk, "everyone@example.org"), "550 5.7.1");
    for members in ["0.0.0.0/0", "::/0", "0.0.0.0/1 128.0.0.0/1", "1.0.0.0-255.255.255.255"] {
        assert!(
            refused(&server, &format!("network add all {members} --relay")).contains("open relay"),
            "{members}"
        );
    }
    // Nor do several make one together.
    tell(&server, "network add low 0.0.0.0/4 --relay");
    tell(&server, "network add high 224.0.0.0/4");
    assert!(refused(&server, "network add more 16.0.0.0/4 --relay").contains("open relay"));
    tell(&server, "network remove low");
    assert!(refused(&server, "network add x 192.0.2.1/24").contains("did you mean 192.0.2.0/24"));
    assert!(refused(&server, "network leave x 192.0.2.1").contains("no network x"));
}

#[test]
fn decisions_are_explained_rule_by_rule() {
    let server = Server::start("");
    // What DMARC would say of the message comes behind the commands.
    let last = |command: &str| {
        let told = tell(&server, command);
        let rules = |line: &&str| !line.starts_with("message") && !line.starts_with("delivery");
        let line = told.lines().rfind(rules).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let explain = "explain --client 198.51.100.7 --from eve@elsewhere.example";
    assert_eq!(last(&format!("{explain} --to alice@example.org")), "rcpt - no objection");
    assert!(last(&format!("{explain} --to x@elsewhere.example")).starts_with("rcpt recipients 554 5.7.1"));
    assert!(last(&format!("{explain} --to nobody@example.org")).starts_with("rcpt recipients 550 5.1.1"));
    let forged = last(&format!("{explain} --to alice@example.org --helo Mail.Example.Org"));
    assert!(forged.starts_with("hello our-own-name 550 5.7.1"), "{forged}");
    let other = last(&format!("{explain} --to alice@example.org --auth {USER}"));
    assert!(other.starts_with("mail sender-login 553 5.7.1"), "{other}");
    assert_eq!(
        last(&format!("explain --client ::1 --from {USER} --to {USER} --auth {USER}")),
        "rcpt - no objection"
    );
    assert!(refused(&server, &format!("{explain} --to @@")).contains("not a recipient"));
    let json = tell(&server, &format!("{explain} --to alice@example.org --json"));
    let stages = json.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let stages: Vec<_> = stages.map(|stage| stage["stage"].clone()).collect();
    assert_eq!(stages[..5], ["rules", "connect", "hello", "mail", "rcpt"]);
}

#[test]
fn where_it_would_go_is_explained() {
    let server = Server::start("");
    for user in ["bob@example.org", "carol@example.org"] {
        server.add_user(user, PASSWORD);
    }
    for command in [
        "domain set example.org --journal journal@archive.example",
        "alias add away@example.org eve@elsewhere.example",
        "alias add list@example.org joe@elsewhere.example bob@example.org",
        "alias add owner-list@example.org carol@example.org",
        "group add team@example.org alice@example.org bob@example.org --shared-folder",
        "group add crew@example.org alice@example.org bob@example.org",
    ] {
        tell(&server, command);
    }
    let way = |from: &str, to: &str| {
        let told = tell(&server, &format!("explain --client 198.51.100.7 --from {from} --to {to}"));
        let lines = told.lines().filter(|line| line.starts_with("delivery"));
        let words = |line: &str| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ");
        lines.map(words).collect::<Vec<_>>()
    };
    let copy = "journal a blind copy to journal@archive.example";
    let from = "ann@a.example";
    assert_eq!(way(from, "alice+x@example.org"), ["mailbox alice@example.org, with the detail \"x\"", copy]);
    let away = way(from, "away@example.org");
    assert!(
        away[0].starts_with("forward sent on to eve@elsewhere.example for away@example.org, as SRS0="),
        "{away:?}"
    );
    assert!(away[0].ends_with("=a.example=ann@example.org (SRS)"), "{away:?}");
    assert_eq!(
        way(from, "list@example.org"),
        [
            "mailbox bob@example.org",
            "forward sent on to joe@elsewhere.example for list@example.org, as owner-list@example.org (the list's owner)",
            copy
        ]
    );
    assert_eq!(way(from, "team@example.org")[0], "group once into the folder that team@example.org shares");
    assert_eq!(way(from, "crew@example.org")[..2], ["mailbox alice@example.org", "mailbox bob@example.org"]);
    assert!(way(from, "nobody@example.org").is_empty(), "what is refused goes nowhere");
    assert!(way(from, "x@elsewhere.example").is_empty());
}

/// How many messages an account has.
fn count(server: &Server, name: &str) -> usize {
    let mut talk = server.talk(server.port("imap", "starttls"));
    talk.line();
    assert!(talk.imap("a", &format!("LOGIN {name} {PASSWORD}")).last().unwrap().starts_with("a OK"));
    let answer = talk.imap("b", "STATUS INBOX (MESSAGES)");
    answer[0].split_once("MESSAGES ").unwrap().1.trim_end_matches(')').parse().unwrap()
}

#[test]
fn a_group_a_forward_and_a_journal_each_make_one_copy() {
    let server = Server::start("allow_plaintext_auth = true");
    for name in ["bob@example.org", "carol@example.org", "journal@example.org"] {
        server.add_user(name, PASSWORD);
    }
    let counts = || {
        let names = ["alice@example.org", "bob@example.org", "carol@example.org", "journal@example.org"];
        names.map(|name| count(&server, name))
    };
    tell(&server, "group add team@example.org alice@example.org bob@example.org");
    common::deliver(&server, "team@example.org", "Subject: 1\r\n\r\n1\r\n");
    assert_eq!(counts(), [1, 1, 0, 0]);
    // A forwards to B, B to A: one hop each.
    tell(&server, "user set alice@example.org --forward carol@example.org --keep true");
    tell(&server, "user set carol@example.org --forward alice@example.org --keep true");
    common::deliver(&server, "alice@example.org", "Subject: 2\r\n\r\n2\r\n");
    assert_eq!(counts(), [2, 1, 1, 0]);
    tell(&server, "user set carol@example.org --forward none");
    tell(&server, "user set alice@example.org --keep false");
    common::deliver(&server, "alice@example.org", "Subject: 3\r\n\r\n3\r\n");
    assert_eq!(counts(), [2, 1, 2, 0]);
    // Mail inside the domain is sent and received there: one copy in the journal all the same.
    tell(&server, "domain set example.org --journal journal@example.org");
    let mut talk = submission(&server);
    talk.smtp(&format!("MAIL FROM:<{USER}>"));
    for to in ["bob@example.org", "carol@example.org"] {
        assert_eq!(code(&mut talk, to), TAKEN);
    }
    talk.smtp("DATA");
    assert!(talk.smtp("Subject: 4\r\n\r\n4\r\n.").starts_with("250"));
    assert_eq!(counts(), [2, 2, 3, 1]);
    common::deliver(&server, "journal@example.org", "Subject: 5\r\n\r\n5\r\n");
    assert_eq!(counts(), [2, 2, 3, 2]);
}

#[test]
fn copies_are_made_for_the_whole_server_and_come_back_to_the_author() {
    let mut server = Server::prepare("allow_plaintext_auth = true\nalways_bcc = \"all@example.org\"");
    let config = server.folder.path().join("mailwright.toml");
    let text = fs::read_to_string(&config).unwrap();
    let transport =
        "[relay.transport]\n\"archive.example\" = \"pipe:full\"\n\"out.example\" = \"[127.0.0.1]:1\"\n";
    let pipe = "[relay.pipes.full]\ncommand = [\"/bin/false\"]\n[users]\nmailbox = false\n";
    fs::write(&config, format!("{text}{transport}{pipe}")).unwrap();
    for name in [USER, "all@example.org"] {
        server.add_user(name, PASSWORD);
        tell(&server, &format!("user set {name} --mailbox true"));
    }
    server.serve();
    // In, out and within: one copy each.
    common::deliver(&server, USER, "Subject: in\r\n\r\nx\r\n");
    assert_eq!((count(&server, USER), count(&server, "all@example.org")), (1, 1));
    let send = |to: &str| {
        let mut talk = submission(&server);
        talk.smtp(&format!("MAIL FROM:<{USER}>"));
        assert_eq!(code(&mut talk, to), TAKEN);
        talk.smtp("DATA");
        assert!(talk.smtp("Subject: x\r\n\r\nx\r\n.").starts_with("250"));
    };
    send("eve@out.example");
    send(USER);
    assert_eq!((count(&server, USER), count(&server, "all@example.org")), (2, 3));
    // A journal that refuses is told of to whoever wrote the message.
    tell(&server, "domain set example.org --journal journal@archive.example");
    send(USER);
    common::wait_for("the report", || (count(&server, USER) == 4).then_some(()));
    // New accounts have no mailbox here, and their names at other domains are proposed.
    tell(&server, "domain add second.example");
    let said = tell(&server, "user add donald.duck@example.org");
    assert!(said.starts_with("added donald.duck@example.org, without a mailbox"), "{said}");
    assert!(
        said.contains("mailwrightd alias add donald.duck@second.example donald.duck@example.org"),
        "{said}"
    );
    let mut talk = sender(&server);
    assert_eq!(code(&mut talk, "donald.duck@example.org"), "550 5.2.1");
}
