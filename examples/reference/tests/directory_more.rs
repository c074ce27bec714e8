//! What becomes of the directory when the configuration changes under it, and of mail for domains that others have.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::fs;

use common::{PASSWORD, Server, Talk, USER, refused, tell, wait_for};

/// Changes the configuration.
fn configure(server: &Server, from: &str, to: &str) {
    let path = server.folder.path().join("mailwright.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

/// A session that has named a sender.
fn sender(server: &Server, from: &str) -> Talk {
    let mut talk = server.talk(server.port("smtp", "starttls"));
    talk.reply();
    talk.smtp("EHLO client.example");
    assert!(talk.smtp(&format!("MAIL FROM:<{from}>")).starts_with("250"));
    talk
}

/// The reply to a recipient, without its text.
fn code(talk: &mut Talk, to: &str) -> String {
    talk.smtp(&format!("RCPT TO:<{to}>")).chars().take(9).collect()
}

fn count(server: &Server, name: &str) -> usize {
    let mut talk = server.talk(server.port("imap", "starttls"));
    talk.line();
    assert!(talk.imap("a", &format!("LOGIN {name} {PASSWORD}")).last().unwrap().starts_with("a OK"));
    let answer = talk.imap("b", "STATUS INBOX (MESSAGES)");
    answer[0].split_once("MESSAGES ").unwrap().1.trim_end_matches(')').parse().unwrap()
}

const TAKEN: &str = "250 2.1.5";
const UNKNOWN: &str = "550 5.1.1";
const NOT_OURS: &str = "554 5.7.1";

#[test]
fn the_server_starts_though_aliases_have_lost_their_domains() {
    let mut server = Server::prepare("");
    let domains = "domains = [\"example.org\"]";
    configure(&server, domains, "domains = [\"example.org\", \"main.example\"]");
    server.add_user(USER, PASSWORD);
    server.add_user("carol@main.example", PASSWORD);
    tell(&server, "domain alias second.example main.example");
    tell(&server, "domain alias third.example example.org");
    // One is taken out of the configuration, another comes in that was an alias.
    configure(&server, "\"main.example\"", "\"third.example\"");
    server.serve();
    wait_for("the warnings", || {
        let log = server.log();
        ["second.example", "third.example"]
            .iter()
            .all(|name| log.contains(&format!("mailwrightd domain remove {name}")))
            .then_some(())
    });
    let mut talk = sender(&server, "eve@elsewhere.example");
    for (to, expected) in [
        (USER, TAKEN),
        ("alice@third.example", UNKNOWN),
        ("carol@main.example", NOT_OURS),
        ("carol@second.example", NOT_OURS),
    ] {
        assert_eq!(code(&mut talk, to), expected, "{to}");
    }
    assert_eq!(tell(&server, "domain list"), "example.org\nthird.example\n");
    tell(&server, "domain remove third.example");
    assert!(refused(&server, "domain remove third.example").contains("in the configuration"));
    assert_eq!(code(&mut talk, "alice@third.example"), UNKNOWN, "the domain itself stays");
    // With its domain the other alias is there again.
    tell(&server, "domain add main.example");
    assert_eq!(code(&mut talk, "carol@second.example"), TAKEN);
    tell(&server, "domain remove main.example");
    assert!(refused(&server, "domain remove second.example").contains("no domain"));
    server.stop();
    server.serve();
    assert_eq!(tell(&server, "domain list"), "example.org\nthird.example\n");
}

#[test]
fn an_alias_of_a_domain_does_not_become_a_domain_unasked() {
    let server = Server::start("");
    tell(&server, "domain alias second.example example.org");
    let file = server.folder.path().join("directory.toml");
    fs::write(&file, "[domain.\"second.example\"]\n").unwrap();
    for command in ["domain add second.example".to_owned(), format!("directory import {}", file.display())] {
        let said = refused(&server, &command);
        assert!(said.contains("is an alias of the domain example.org"), "{said}");
        assert!(said.contains("mailwrightd domain remove second.example"), "{said}");
    }
    let mut talk = sender(&server, "eve@elsewhere.example");
    assert_eq!(code(&mut talk, "alice@second.example"), TAKEN);
    tell(&server, "domain remove second.example");
    tell(&server, "domain add second.example");
    assert_eq!(code(&mut talk, "alice@second.example"), UNKNOWN);
}

#[test]
fn an_import_is_done_whole_or_not_at_all() {
    let server = Server::start("");
    let long = format!("{}.{}.{}.example", "x".repeat(60), "x".repeat(60), "x".repeat(59));
    let local = "l".repeat(64);
    tell(&server, &format!("domain add {long}"));
    let exported = tell(&server, "directory export");
    // The last one is too long for a row of the database, which is found when it is written.
    let file = server.folder.path().join("directory.toml");
    let mut text = exported.clone();
    for address in ["sales@example.org".to_owned(), format!("{local}@{long}")] {
        assert!(address.len() <= 254);
        text += &format!("[alias.\"{address}\"]\ntargets = [\"alice@example.org\"]\n");
    }
    fs::write(&file, text.replace("mailbox = true", "mailbox = false")).unwrap();
    refused(&server, &format!("directory import {}", file.display()));
    assert_eq!(tell(&server, "directory export"), exported);
    let mut server = server;
    server.stop();
    assert_eq!(tell(&server, "directory export"), exported);
}

#[test]
fn a_relay_takes_no_mail_that_it_would_have_to_send_back() {
    let mut server = Server::prepare("");
    configure(
        &server,
        "[[listener]]\nprotocol = \"lmtp\"",
        "[relay.transport]\n\"gone@branch.example\" = \"error:retired\"\n\"branch.example\" = \"[127.0.0.1]:1\"\n\
         [[listener]]\nprotocol = \"lmtp\"",
    );
    server.serve();
    tell(&server, "domain add branch.example --relay");
    let mut talk = sender(&server, "eve@elsewhere.example");
    assert_eq!(code(&mut talk, "anybody@branch.example"), TAKEN);
    let reply = talk.smtp("RCPT TO:<gone@branch.example>");
    assert!(reply.starts_with("550 5.1.2") && reply.contains("retired"), "{reply}");
    tell(&server, "domain set branch.example --recipients listed");
    tell(&server, "alias add bob@branch.example bob@branch.example");
    assert_eq!(tell(&server, "domain list"), "branch.example  relay of listed recipients\nexample.org\n");
    assert_eq!(code(&mut talk, "anybody@branch.example"), UNKNOWN);
    let mut talk = sender(&server, "eve@elsewhere.example");
    assert_eq!(code(&mut talk, "bob@branch.example"), TAKEN);
    assert_eq!(code(&mut talk, "Bob+list@branch.example"), TAKEN);
    // One address that is gone does not keep mail from the others of an alias.
    tell(&server, "alias add gone@branch.example gone@branch.example");
    tell(&server, "alias add some@branch.example gone@branch.example bob@branch.example");
    let mut another = sender(&server, "eve@elsewhere.example");
    assert_eq!(code(&mut another, "gone@branch.example"), "550 5.1.2");
    assert_eq!(code(&mut another, "some@branch.example"), TAKEN);
    talk.smtp("DATA");
    assert!(talk.smtp("Subject: 1\r\n\r\n1\r\n.").starts_with("250"));
    let listed = tell(&server, "queue list");
    assert!(listed.contains("to <Bob+list@branch.example>"), "{listed}");
    let exported = tell(&server, "directory export");
    assert!(exported.contains("recipients = \"listed\""), "{exported}");
    tell(&server, "domain set branch.example --recipients any");
    assert_eq!(code(&mut sender(&server, "eve@elsewhere.example"), "anybody@branch.example"), TAKEN);
}

#[test]
fn a_journal_has_what_comes_from_our_networks_and_may_answer_to_the_postmaster() {
    let mut server = Server::prepare("allow_plaintext_auth = true");
    configure(
        &server,
        "[[listener]]\nprotocol = \"lmtp\"",
        "[relay.transport]\n\"archive.example\" = \"pipe:full\"\n\"out.example\" = \"[127.0.0.1]:1\"\n\
         [relay.pipes.full]\ncommand = [\"/bin/false\"]\n[[listener]]\nprotocol = \"lmtp\"",
    );
    for name in [USER, "bob@example.org", "journal@example.org"] {
        server.add_user(name, PASSWORD);
    }
    server.serve();
    tell(&server, "domain set example.org --journal journal@example.org");
    let send = |to: &str| {
        let mut talk = sender(&server, USER);
        assert_eq!(code(&mut talk, to), TAKEN);
        talk.smtp("DATA");
        assert!(talk.smtp("Subject: sent\r\n\r\nx\r\n.").starts_with("250"));
    };
    tell(&server, "network add here 127.0.0.1 --relay");
    send("eve@out.example");
    assert_eq!(count(&server, "journal@example.org"), 1);
    tell(
        &server,
        "domain set example.org --journal j@archive.example --journal-reports postmaster --postmaster bob@example.org",
    );
    send("eve@out.example");
    wait_for("the report", || (count(&server, "bob@example.org") == 1).then_some(()));
    assert_eq!(count(&server, USER), 0);
    tell(&server, "domain set example.org --journal-reports author");
    send("eve@out.example");
    wait_for("the report", || (count(&server, USER) == 1).then_some(()));
    assert_eq!(count(&server, "bob@example.org"), 1);
}

#[test]
fn the_next_hop_is_explained() {
    let mut server = Server::prepare("");
    configure(
        &server,
        "[[listener]]\nprotocol = \"lmtp\"",
        "[relay]\nsmarthost = \"[smart.example]:587\"\n[relay.transport]\n\"gone@branch.example\" = \"error:retired\"\n\
         \"branch.example\" = \"branch.example\"\n\"store.example\" = \"lmtp:unix:/run/lmtp\"\n\
         [[listener]]\nprotocol = \"lmtp\"",
    );
    server.add_user(USER, PASSWORD);
    server.serve();
    tell(&server, "domain add branch.example --relay");
    tell(&server, "alias add all@example.org eve@elsewhere.example joe@store.example alice@example.org");
    let routes = |to: &str| {
        let told = tell(&server, &format!("explain --client 198.51.100.7 --from x@a.example --to {to}"));
        let words = |line: &str| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ");
        told.lines().filter(|line| line.starts_with("route")).map(words).collect::<Vec<_>>()
    };
    assert_eq!(
        routes("all@example.org"),
        [
            "smarthost eve@elsewhere.example goes to [smart.example]:587",
            "transport joe@store.example goes to lmtp:unix:/run/lmtp"
        ]
    );
    assert_eq!(
        routes("bob@branch.example"),
        ["mx bob@branch.example goes to the mail exchangers of branch.example"]
    );
    // Who is refused is told so at once; who is one of several is left out later.
    let gone = tell(&server, "explain --client 198.51.100.7 --from x@a.example --to gone@branch.example");
    assert!(gone.contains("550 5.1.2 <gone@branch.example>: retired"), "{gone}");
    assert!(routes("gone@branch.example").is_empty());
    tell(&server, "alias add some@example.org gone@branch.example alice@example.org");
    assert_eq!(routes("some@example.org"), ["error gone@branch.example is refused: retired"]);
    assert!(routes(USER).is_empty());
}

#[test]
fn the_alias_file_is_followed_and_looked_at() {
    let mut server = Server::prepare("");
    let file = server.folder.path().join("aliases");
    fs::write(&file, "one: alice\n").unwrap();
    configure(
        &server,
        "[[listener]]\nprotocol = \"lmtp\"",
        &format!("[aliases]\nfile = {file:?}\n[[listener]]\nprotocol = \"lmtp\""),
    );
    server.add_user(USER, PASSWORD);
    server.serve();
    let mut talk = sender(&server, "eve@elsewhere.example");
    assert_eq!(code(&mut talk, "two@example.org"), UNKNOWN);
    fs::write(&file, "one: alice\ntwo: one\n").unwrap();
    wait_for("the file to be read", || (code(&mut talk, "two@example.org") == TAKEN).then_some(()));
    // What cannot be read changes nothing.
    fs::write(&file, "three\n").unwrap();
    wait_for("the complaint", || server.log().contains("the aliases stay").then_some(()));
    assert_eq!(code(&mut talk, "two@example.org"), TAKEN);
    fs::write(&file, "one: alice, gone\nlost: nobody\na: b\nb: a, alice\nalice: alice, two\ntwo: alice\n")
        .unwrap();
    assert_eq!(
        tell(&server, "newaliases").lines().skip(1).map(str::trim).collect::<Vec<_>>(),
        [
            "a@example.org -> b@example.org -> a@example.org goes round in a circle",
            "alice@example.org -> two@example.org -> alice@example.org goes round in a circle",
            "lost@example.org: nobody has any of the addresses it leads to",
            "one@example.org: nobody has gone@example.org",
        ]
    );
}
