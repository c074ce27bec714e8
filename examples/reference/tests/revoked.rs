//! Accounts that go or get another password on the running server: whoever is logged in is so no more, by any protocol, and nothing of
//! theirs is left to who has the name next.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::{
    fs,
    io::Write,
    process::{Child, Command, Output, Stdio},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use common::{PASSWORD, Server, Talk, USER, login, tell};

const BOB: &str = "bob@example.org";
const ROOT: &str = "root@example.org";

fn server() -> Server {
    let mut server = Server::prepare("allow_plaintext_auth = true");
    let path = server.folder.path().join("mailwright.toml");
    let config = fs::read_to_string(&path).unwrap();
    let masters = format!("[auth]\nmaster_users = [\"{ROOT}\"]\nmaster_separator = \"*\"\n");
    fs::write(&path, format!("{config}\n{masters}")).unwrap();
    for user in [ROOT, USER, BOB] {
        server.add_user(user, PASSWORD);
    }
    server.serve();
    server
}

fn greeted(server: &Server, protocol: &str) -> Talk {
    let mut talk = server.talk(server.port(protocol, "starttls"));
    match protocol {
        "managesieve" => drop(talk.until("OK")),
        _ => drop(talk.reply()),
    }
    talk
}

fn plain(user: &str) -> String {
    BASE64_STANDARD.encode(format!("\0{user}\0{PASSWORD}"))
}

/// One session by each protocol.
struct Sessions {
    imap: Talk,
    idle: Talk,
    pop3: Talk,
    submission: Talk,
    managesieve: Talk,
}

impl Sessions {
    fn of(server: &Server, user: &str) -> Self {
        let mut idle = login(server, user);
        idle.imap("a", "SELECT INBOX");
        idle.send("b IDLE\r\n");
        assert!(idle.line().starts_with('+'));
        let mut pop3 = greeted(server, "pop3");
        for command in [format!("USER {user}\r\n"), format!("PASS {PASSWORD}\r\n")] {
            pop3.send(command);
            assert!(pop3.line().starts_with("+OK"));
        }
        let mut submission = greeted(server, "submission");
        submission.smtp("EHLO client.example");
        assert!(submission.smtp(&format!("AUTH PLAIN {}", plain(user))).starts_with("235 "));
        let mut managesieve = greeted(server, "managesieve");
        managesieve.send(format!("AUTHENTICATE \"PLAIN\" \"{}\"\r\n", plain(user)));
        assert!(managesieve.line().starts_with("OK"));
        Self { imap: login(server, user), idle, pop3, submission, managesieve }
    }

    fn all(&mut self) -> [(&mut Talk, &'static str); 5] {
        [
            (&mut self.imap, "* BYE [EXPIRED] the account has changed; log in again"),
            (&mut self.idle, "* BYE [EXPIRED] the account has changed; log in again"),
            (&mut self.pop3, "-ERR the account has changed; log in again"),
            (&mut self.submission, "421 4.7.0 mail.example.org The account has changed; log in again"),
            (&mut self.managesieve, "BYE \"the account has changed; log in again\""),
        ]
    }

    fn have_ended(mut self) {
        for (talk, expected) in self.all() {
            assert_eq!(talk.line(), expected);
            assert!(talk.at_end(), "{expected}");
        }
    }

    fn go_on(&mut self) {
        assert_eq!(self.imap.imap("x", "NOOP").len(), 1);
        self.pop3.send("NOOP\r\n");
        assert!(self.pop3.line().starts_with("+OK"));
        assert!(self.submission.smtp("NOOP").starts_with("250 "));
        self.managesieve.send("NOOP\r\n");
        assert!(self.managesieve.line().starts_with("OK"));
    }
}

fn given(mut child: Child, input: &str) -> Output {
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

fn with_password(server: &Server, arguments: &[&str], password: &str) {
    let mut command: Command = server.command(arguments);
    let command = command.arg("--password-stdin").stdin(Stdio::piped()).stdout(Stdio::piped());
    given(command.spawn().unwrap(), &format!("{password}\n"));
}

#[test]
fn sessions_end_with_the_password_and_with_the_account() {
    let server = server();
    let (mut alice, mut bob) = (Sessions::of(&server, USER), Sessions::of(&server, BOB));
    // The same password again is another one, too: nobody can tell that it was not lost.
    tell(&server, &format!("user set {USER} --keep true"));
    alice.go_on();
    with_password(&server, &["user", "password", USER], PASSWORD);
    alice.have_ended();
    bob.go_on();
    let alice = Sessions::of(&server, USER);
    tell(&server, &format!("user remove {USER}"));
    alice.have_ended();
    bob.go_on();
    // Back with all that was hers, and with no session.
    tell(&server, &format!("user restore {USER}"));
    Sessions::of(&server, USER).go_on();
}

/// The connection may have been there before, and somebody else on it: it is the login that counts.
#[test]
fn who_logs_in_with_the_new_password_stays() {
    let server = server();
    let mut talks: Vec<_> =
        ["imap", "pop3", "submission", "managesieve"].map(|name| greeted(&server, name)).into();
    talks[2].smtp("EHLO client.example");
    // Nobody is logged in on these two any more (RFC 8437, RFC 5804 §2.14.1).
    let mut left = [login(&server, BOB), greeted(&server, "managesieve")];
    assert!(left[0].imap("u", "UNAUTHENTICATE")[0].starts_with("u OK"));
    left[1].send(format!("AUTHENTICATE \"PLAIN\" \"{}\"\r\nUNAUTHENTICATE\r\n", plain(BOB)));
    assert!(left[1].line().starts_with("OK") && left[1].line().starts_with("OK"));
    with_password(&server, &["user", "password", USER], PASSWORD);
    with_password(&server, &["user", "password", BOB], PASSWORD);
    let [imap, pop3, submission, managesieve] = &mut talks[..] else { panic!() };
    let [imap_left, managesieve_left] = &mut left;
    for talk in [imap, imap_left] {
        let answer = talk.imap("a", &format!("LOGIN {USER} {PASSWORD}"));
        assert!(answer.last().unwrap().starts_with("a OK"), "{answer:?}");
        for tag in ["b", "c"] {
            assert_eq!(talk.imap(tag, "NOOP").len(), 1);
        }
    }
    for talk in [managesieve, managesieve_left] {
        talk.send(format!("AUTHENTICATE \"PLAIN\" \"{}\"\r\n", plain(USER)));
        assert!(talk.line().starts_with("OK"));
        for _ in 0..2 {
            talk.send("NOOP\r\n");
            assert!(talk.line().starts_with("OK"));
        }
    }
    pop3.send(format!("USER {USER}\r\nPASS {PASSWORD}\r\nNOOP\r\n"));
    assert!((0..3).all(|_| pop3.line().starts_with("+OK")));
    assert!(submission.smtp(&format!("AUTH PLAIN {}", plain(USER))).starts_with("235 "));
    assert!(submission.smtp("NOOP").starts_with("250 "));
    // And they are ended when it changes again.
    with_password(&server, &["user", "password", USER], PASSWORD);
    assert!(imap_left.line().starts_with("* BYE [EXPIRED]"));
    assert!(managesieve_left.line().starts_with("BYE"));
}

/// Whoever has opened an account in its owner's place is there by an account of their own.
#[test]
fn sessions_of_master_users_end_with_either_account() {
    let server = server();
    let opened = || {
        let mut talk = greeted(&server, "imap");
        let answer = talk.imap("a", &format!("LOGIN \"{USER}*{ROOT}\" {PASSWORD}"));
        assert!(answer.last().unwrap().starts_with("a OK"), "{answer:?}");
        talk
    };
    for account in [USER, ROOT] {
        let mut talk = opened();
        with_password(&server, &["user", "password", account], PASSWORD);
        assert!(talk.line().starts_with("* BYE [EXPIRED]"));
    }
    // Others of the account's own go on when it is the master's that changes.
    let mut own = login(&server, USER);
    let mut talk = opened();
    tell(&server, &format!("user remove {ROOT}"));
    assert!(talk.line().starts_with("* BYE [EXPIRED]"));
    assert_eq!(own.imap("x", "NOOP").len(), 1);
}

/// RFC 4467: a URL is good for as long as its owner is there; and rights go with who has them.
#[test]
fn nothing_of_an_account_outlives_it() {
    let server = server();
    let mut alice = login(&server, USER);
    alice.send("a APPEND INBOX {24+}\r\nSubject: x\r\n\r\nsecret\r\n\r\n\r\n");
    assert!(alice.until("a").last().unwrap().starts_with("a OK"));
    let url = format!("imap://{}@mail.example.org/INBOX/;uid=1;urlauth=authuser", USER.replace('@', "%40"));
    let lines = alice.imap("b", &format!("GENURLAUTH \"{url}\" INTERNAL"));
    let url = lines[0].strip_prefix("* GENURLAUTH \"").unwrap().trim_end_matches('"').to_owned();
    let mut bob = login(&server, BOB);
    let fetched = bob.imap("a", &format!("URLFETCH \"{url}\""));
    assert!(fetched.iter().any(|line| line.contains("secret")), "{fetched:?}");
    for command in ["CREATE plans".to_owned(), format!("SETACL plans {USER} lr")] {
        assert!(bob.imap("b", &command).last().unwrap().starts_with("b OK"));
    }
    assert!(alice.imap("c", "LIST \"\" \"Other Users/*\"").len() > 1);

    tell(&server, &format!("user remove {USER}"));
    assert_eq!(bob.imap("c", &format!("URLFETCH \"{url}\""))[0], format!("* URLFETCH \"{url}\" NIL"));
    tell(&server, &format!("user erase {USER}"));
    let list = bob.imap("d", "GETACL plans");
    assert!(!list[0].contains(USER), "{list:?}");
    // Somebody else has the name.
    server.add_user(USER, PASSWORD);
    let mut next = login(&server, USER);
    assert_eq!(next.imap("a", "LIST \"\" \"Other Users/*\"").len(), 1);
    assert_eq!(bob.imap("e", &format!("URLFETCH \"{url}\""))[0], format!("* URLFETCH \"{url}\" NIL"));
}
