//! Accounts of passwd-files on the running server: who of them may log in, what becomes of them when a file or the store is another one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::fs;

use common::{PASSWORD, Server, Talk, USER, run, tell, wait_for};

const CONFIG: &str = "allow_plaintext_auth = true\nproxies = [\"127.0.0.1\"]\nauth = { passwd_files = [\"users\"], failures_per_address = 0, penalty_milliseconds = 0 }\n";

fn prepare(users: &str) -> Server {
    let server = Server::prepare(CONFIG);
    write(&server, users);
    server
}

fn write(server: &Server, users: &str) {
    // As a program does it that replaces the file: nobody sees half of it.
    let new = server.folder.path().join("users.new");
    fs::write(&new, users).unwrap();
    fs::rename(new, server.folder.path().join("users")).unwrap();
}

/// A session of IMAP from this address that has tried to log in, and what it was told.
fn login(server: &Server, from: &str, user: &str, password: &str) -> (Talk, String) {
    let mut talk = Talk::connect(server.port("imap", "starttls"));
    let family = if from.contains(':') { "TCP6" } else { "TCP4" };
    let to = if from.contains(':') { "2001:db8::99" } else { "198.51.100.1" };
    talk.send(format!("PROXY {family} {from} {to} 40000 143\r\n"));
    talk.line();
    let answer = talk.imap("a", &format!("LOGIN {user}@example.org {password}"));
    let last = answer.last().unwrap().split(' ').take(3).collect::<Vec<_>>().join(" ");
    (talk, last)
}

fn is_let_in(server: &Server, from: &str, user: &str, password: &str) -> bool {
    let (_, answer) = login(server, from, user, password);
    assert!(answer.starts_with("a OK") || answer == "a NO [AUTHENTICATIONFAILED]", "{user}: {answer}");
    answer.starts_with("a OK")
}

#[test]
fn who_may_not_log_in_with_dovecot_may_not_here() {
    let file = "carol@example.org:{PLAIN}one\nnina@example.org:{PLAIN}one::::::nologin reason=gone\n\
                neta@example.org:{PLAIN}one::::::allow_nets=10.0.0.0/8,2001:db8::/32\n\
                dup@example.org:{PLAIN}first\ndup@example.org:{PLAIN}second\n";
    let mut server = prepare(file);
    server.serve();
    for (from, user, password, expected) in [
        ("203.0.113.50", "carol", "one", true),
        ("203.0.113.50", "nina", "one", false),
        ("203.0.113.50", "neta", "one", false),
        ("10.2.3.4", "neta", "one", true),
        ("10.2.3.4", "neta", "two", false),
        ("2001:db8::5", "neta", "one", true),
        ("203.0.113.50", "dup", "first", true),
        ("203.0.113.50", "dup", "second", false),
    ] {
        assert_eq!(is_let_in(&server, from, user, password), expected, "{user} {password} from {from}");
    }
    assert!(server.log().contains("another line for dup@example.org does not count"), "{}", server.log());

    // A file that says the same ends no session; who is suspended in it is out at once.
    let (mut dup, _) = login(&server, "203.0.113.50", "dup", "first");
    let (mut carol, _) = login(&server, "203.0.113.50", "carol", "one");
    write(
        &server,
        &file.replace("carol@example.org:{PLAIN}one\n", "carol@example.org:{PLAIN}one::::::nologin\n"),
    );
    assert!(carol.line().starts_with("* BYE [EXPIRED]"));
    assert_eq!(dup.imap("b", "NOOP").len(), 1);
    assert!(!is_let_in(&server, "203.0.113.50", "carol", "one"));
    // It is kept with the account, and shown.
    let list = tell(&server, "user list --json");
    assert!(list.contains(r#""login":{"nologin":true},"origin":"passwd-file""#), "{list}");
    assert!(tell(&server, "directory export").contains("nologin = true"));

    write(&server, "carol@example.org:{PLAIN}one\nneta@example.org:{PLAIN}one::::::allow_nets=nonsense\n");
    wait_for("the line to be told", || {
        server
            .log()
            .contains("users, line 2: allow_nets: \\\"nonsense\\\"")
            .then_some(())
            .or_else(|| server.log().contains("users, line 2: allow_nets: \"nonsense\"").then_some(()))
    });
    assert!(!is_let_in(&server, "203.0.113.50", "carol", "one"), "nothing changes");
}

#[test]
fn what_a_restore_brings_back_goes_with_its_line() {
    let mut server = prepare("carol@example.org:{PLAIN}one\nmallory@example.org:{PLAIN}two\n");
    server.add_user(USER, PASSWORD);
    server.serve();
    let backup = server.folder.path().join("backup").to_str().unwrap().to_owned();
    assert!(run(&mut server.command(&["backup", &backup])).status.success());
    server.stop();
    fs::rename(server.folder.path().join("data"), server.folder.path().join("lost")).unwrap();
    write(&server, "carol@example.org:{PLAIN}one\n");
    assert!(run(&mut server.command(&["restore", &backup])).status.success());
    server.serve();
    assert_eq!(tell(&server, "user list"), format!("{USER}\ncarol@example.org\n"));
    assert!(!is_let_in(&server, "192.0.2.1", "mallory", "two"));
}

#[test]
fn a_file_that_cannot_be_used_keeps_no_server_from_starting_and_is_looked_at_again() {
    let mut server = prepare("nonsense\n");
    server.add_user(USER, PASSWORD);
    server.serve();
    let problem = "the accounts of the passwd-files stay as they are";
    wait_for("the problem to be told", || server.log().contains(problem).then_some(()));
    assert!(is_let_in(&server, "192.0.2.1", "alice", PASSWORD));

    // Right by itself, and not yet here.
    write(&server, "carol@example.org:{PLAIN}one\ndave@new.example:{PLAIN}two\n");
    wait_for("the domain to be missed", || server.log().contains("new.example is not one of").then_some(()));
    assert!(!is_let_in(&server, "192.0.2.1", "carol", "one"));
    tell(&server, "domain add new.example");
    wait_for("the accounts", || tell(&server, "user list").contains("dave@new.example").then_some(()));
    assert!(is_let_in(&server, "192.0.2.1", "carol", "one"));
    assert_eq!(server.log().matches("new.example is not one of").count(), 1, "{}", server.log());

    // What is read again by a command is read then, however long nobody has looked.
    write(&server, "carol@example.org:{PLAIN}three\n");
    tell(&server, "reload");
    assert!(is_let_in(&server, "192.0.2.1", "carol", "three"));
}

#[test]
fn a_server_without_accounts_starts_and_makes_none() {
    let mut server = Server::prepare("");
    assert!(server.serve().contains("This is the first start"));
    tell(&server, "user remove alice@example.org");
    tell(&server, "user remove bob@example.org");
    server.stop();
    let said = server.serve();
    assert!(!said.contains("This is the first start"), "{said}");
    assert_eq!(tell(&server, "user list"), "");
    tell(&server, "user restore bob@example.org");
    assert_eq!(tell(&server, "user list"), "bob@example.org\n");
}
