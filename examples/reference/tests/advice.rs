//! What commands say to administrators, above all where something is not as they think.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::fs;

use common::{PASSWORD, Server, USER, run, succeed, wait_for};

fn prints(server: &Server, arguments: &[&str]) -> String {
    String::from_utf8(succeed(&mut server.command(arguments))).unwrap()
}

/// What a command that must fail says.
fn fails(server: &Server, arguments: &[&str]) -> String {
    let output = run(&mut server.command(arguments));
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_check_of_the_configuration_reads_the_alias_file() {
    let server = Server::prepare("aliases = { file = \"aliases\" }");
    let file = server.folder.path().join("aliases");
    for (text, word) in [
        ("sales: alice\nfilter: \"|/usr/bin/cat\"\n", "filter: |/usr/bin/cat names a program"),
        ("sales: alice\nsales\n", "aliases, line 2"),
    ] {
        fs::write(&file, text).unwrap();
        let said = fails(&server, &["config", "check"]);
        assert!(said.contains(word), "{said}");
    }
    fs::remove_file(&file).unwrap();
    let said = fails(&server, &["config", "check"]);
    assert!(said.contains("cannot read the alias file"), "{said}");
    fs::write(&file, "sales: alice\n").unwrap();
    assert_eq!(prints(&server, &["config", "check"]), "the configuration is right\n");
    assert!(!server.folder.path().join("data").exists(), "a check makes nothing");
}

#[test]
fn an_address_is_told_as_strangers_meet_it() {
    let mut server = Server::prepare("aliases = { file = \"aliases\" }");
    let (aliases, list) = (server.folder.path().join("aliases"), server.folder.path().join("list"));
    fs::write(&aliases, format!("all: :include:{}\n", list.display())).unwrap();
    fs::write(&list, "alice, bob smith\n").unwrap();
    server.add_user(USER, PASSWORD);
    server.serve();
    let elsewhere = "bob@elsewhere.example";
    let told = prints(&server, &["address", elsewhere]);
    assert_eq!(told, format!("sent on to {elsewhere}\nstrangers are told: 554 5.7.1 Relay access denied\n"));
    assert_eq!(prints(&server, &["address", USER]), format!("delivered to {USER}\n"));
    let told = prints(&server, &["address", "all@example.org"]);
    assert!(told.starts_with("cannot be told: ") && told.contains("list, line 1"), "{told}");
    assert!(told.contains("\nstrangers are told: 450 4.3.0 "), "{told}");
    let told = prints(&server, &["address", "all@example.org", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert!(told["problem"].as_str().unwrap().contains("list, line 1"), "{told}");
    // A domain that mail is passed on for is another matter.
    prints(&server, &["domain", "add", "elsewhere.example", "--relay"]);
    assert_eq!(prints(&server, &["address", elsewhere]), format!("sent on to {elsewhere}\n"));
}

#[test]
fn mistakes_are_named() {
    let mut server = Server::prepare("");
    server.add_user(USER, PASSWORD);
    for runs in [false, true] {
        if runs {
            server.serve();
        }
        let said = fails(&server, &["alias", "add", "@example.org", USER]);
        assert!(said.contains("`mailwrightd domain set example.org --unknown ADDRESS`"), "{said}");
        let said = fails(&server, &["alias", "add", "sales", USER]);
        assert_eq!(said, "mailwrightd: \"sales\" is not a mail address, like alice@example.org\n");
        let said = fails(&server, &["queue", "show", "4711"]);
        assert!(said.contains("nothing in the queue has the id 4711"), "{said}");
        let said =
            prints(&server, &["alias", "add", "sales@example.org", USER, "aluce@example.org", "--replace"]);
        assert_eq!(said, "added the alias sales@example.org\n  nobody has aluce@example.org yet\n");
        let said =
            prints(&server, &["alias", "add", "round@example.org", "round@example.org", USER, "--replace"]);
        assert_eq!(said, "added the alias round@example.org\n");
        let said = prints(&server, &["alias", "add", "round@example.org", "round@example.org", "--replace"]);
        let why = "round@example.org leads back to itself: mail for it is refused";
        assert_eq!(said, format!("added the alias round@example.org\n  {why}\n"));
        let said = prints(&server, &["group", "add", "team@example.org", USER, "--replace"]);
        assert_eq!(said, "added the group team@example.org\n");
        let said = prints(&server, &["group", "join", "team@example.org", "aluce@example.org"]);
        assert_eq!(said, "changed the group team@example.org\n  nobody has aluce@example.org yet\n");
        let said = prints(&server, &["domain", "set", "example.org", "--journal", "aluce@example.org"]);
        assert_eq!(said, "changed the domain example.org\n  nobody has aluce@example.org yet\n");
        let said = prints(&server, &["domain", "set", "example.org", "--journal", "none"]);
        assert_eq!(said, "changed the domain example.org\n");
        let plan = prints(&server, &["dns", "plan", "typo.example"]);
        assert!(plan.contains("; typo.example is not a domain of this server"), "{plan}");
        assert!(!prints(&server, &["dns", "plan", "example.org"]).contains("is not a domain"));
        let said = prints(&server, &["explain", "--client", "192.0.2.1", "--to", USER]);
        assert!(said.contains("not judged: nobody is the author") && !said.contains("permerror"), "{said}");
    }
}

/// All of it on another machine, with what is needed to log in there; and what is told if that is left out.
#[test]
fn a_directory_moves_to_another_server() {
    let mut old = Server::prepare("");
    old.add_user(USER, PASSWORD);
    prints(&old, &["domain", "add", "b.example"]);
    old.add_user("bob@b.example", PASSWORD);
    prints(&old, &["user", "set", "bob@b.example", "--forward", USER, "--keep", "true"]);
    prints(&old, &["alias", "add", "sales@b.example", "bob@b.example", "x@elsewhere.example"]);
    prints(&old, &["alias", "add", "abuse", USER, "--all-domains"]);
    prints(&old, &["group", "add", "team@b.example", USER, "bob@b.example"]);
    prints(&old, &["domain", "alias", "c.example", "b.example"]);
    prints(&old, &["network", "add", "office", "192.0.2.0/24", "--relay"]);
    old.serve();
    let (open, secret) =
        (prints(&old, &["directory", "export"]), prints(&old, &["directory", "export", "--secrets"]));
    assert!(!open.contains("ARGON2ID") && secret.contains("{ARGON2ID}"), "{open}");
    let mut new = Server::prepare("allow_plaintext_auth = true");
    let file = new.folder.path().join("directory.toml");
    let path = file.to_str().unwrap();
    fs::write(&file, &open).unwrap();
    let said = fails(&new, &["directory", "import", path]);
    assert!(said.contains("`directory export --secrets`"), "{said}");
    assert_eq!(prints(&new, &["user", "list"]), "", "nothing of it was done");
    fs::write(&file, &secret).unwrap();
    assert_eq!(prints(&new, &["directory", "import", path]), "9 entries written\n");
    new.serve();
    assert_eq!(prints(&new, &["directory", "export", "--secrets"]), secret);
    assert_eq!(prints(&new, &["directory", "import", path, "--only"]), "9 entries written\n");
    assert_eq!(prints(&new, &["directory", "export", "--secrets"]), secret);
    // They log in as ever, and so does who shows nobody the password.
    let mut talk = common::login(&new, "bob@b.example");
    assert!(talk.imap("a", "CAPABILITY").last().unwrap().starts_with("a OK"));
    let greeting = new.talk(new.port("imap", "starttls")).line();
    assert!(greeting.contains("AUTH=SCRAM-SHA-256"), "{greeting}");
    // A secret of nobody is a mistake.
    fs::write(&file, "[secret.\"eve@b.example\"]\npassword = \"{PLAIN}x\"\n").unwrap();
    let said = fails(&new, &["directory", "import", path]);
    assert!(said.contains("no account eve@b.example"), "{said}");
}

/// By SMTP a message is taken for everybody or nobody: the log and `trace` say of each what became of it.
#[test]
fn nobody_is_said_to_have_what_was_refused_for_another() {
    let mut server = Server::prepare("");
    let other = "bob@example.org";
    server.add_user(USER, PASSWORD);
    server.add_user(other, PASSWORD);
    server.serve();
    prints(&server, &["user", "quota", other, "--storage", "2000"]);
    let mut talk = server.talk(server.port("smtp", "starttls"));
    talk.reply();
    talk.smtp("EHLO client.example");
    talk.smtp("MAIL FROM:<ann@example.net>");
    for to in [USER, other] {
        assert!(talk.smtp(&format!("RCPT TO:<{to}>")).starts_with("250"));
    }
    assert!(talk.smtp("DATA").starts_with("354"));
    talk.send(format!("From: <ann@example.net>\r\nSubject: large\r\n\r\n{}", "0123456789\r\n".repeat(900)));
    let reply = talk.smtp(".");
    assert!(reply.starts_with("552 5.2.2"), "{reply}");
    for to in [USER, other] {
        // It is written down a moment later.
        let traced = wait_for("the trace", || {
            let printed = run(&mut server.command(&["trace", to])).stdout;
            let traced = String::from_utf8(printed).unwrap();
            traced.contains(&format!("for <{to}>: replied")).then_some(traced)
        });
        assert!(traced.contains(&format!("for <{to}>: replied 552 5.2.2")), "{traced}");
        assert!(!traced.contains("250"), "{traced}");
    }
    assert!(!server.log().contains("queued as"), "{}", server.log());
}
