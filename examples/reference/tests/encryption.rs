//! Mail that is encrypted at rest: no word of it is on disk, and a login with the password reads it as ever.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::{fs, io::Write, path::Path, process::Output, process::Stdio};

use common::{PASSWORD, Server, Talk, USER, deliver, imap, inbox, succeed};

const BOB: &str = "bob@example.org";
const NEW: &str = "another-horse-8";
/// What no file may hold.
const WORDS: &str = "quinquereme of Nineveh";
const SUBJECT: &str = "cargo of ivory";

fn message() -> String {
    format!(
        "From: Masefield <john@example.net>\r\nTo: <{USER}>\r\nSubject: {SUBJECT}\r\nMessage-ID: <1@example.net>\r\n\r\n\
         A {WORDS}\r\n{}",
        "from distant Ophir\r\n".repeat(40_000)
    )
}

/// Runs a command with lines on its standard input.
fn tell(server: &Server, arguments: &[&str], lines: &[&str]) -> Output {
    let mut command = server.command(arguments);
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    child.stdin.take().unwrap().write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

fn encrypt(server: &Server) -> String {
    let output = tell(server, &["user", "encrypt", USER, "--password-stdin"], &[PASSWORD]);
    assert!(output.status.success(), "{}", said(&output));
    let said = said(&output);
    let key =
        said.lines().find_map(|line| line.strip_prefix("recovery key: ")).unwrap_or_else(|| panic!("{said}"));
    key.to_owned()
}

/// Whether the words are in any file below a directory.
fn is_on_disk(directory: &Path, words: &str) -> bool {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap()).any(|entry| {
        let kind = entry.file_type().unwrap();
        let found = || String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).contains(words);
        if kind.is_dir() { is_on_disk(&entry.path(), words) } else { kind.is_file() && found() }
    })
}

fn login(server: &Server, user: &str, password: &str) -> (Talk, bool) {
    let mut talk = server.talk(server.port("imap", "starttls"));
    talk.line();
    let answer = talk.imap("a", &format!("LOGIN {user} {password}"));
    let opened = answer.last().unwrap().starts_with("a OK");
    (talk, opened)
}

/// Reads the message in every way there is.
fn read(server: &Server, password: &str) {
    let (mut talk, opened) = login(server, USER, password);
    assert!(opened);
    talk.imap("b", "SELECT INBOX");
    let fetched = talk
        .imap("c", "FETCH 1 (ENVELOPE BODYSTRUCTURE PREVIEW BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        .join("\n");
    assert!(fetched.contains(SUBJECT) && fetched.contains("\"john\""), "{fetched}");
    assert!(fetched.contains("c OK"), "{fetched}");
    let body = talk.imap("d", "FETCH 1 BODY.PEEK[TEXT]");
    assert!(body.iter().any(|line| line.contains(WORDS)), "{:?}", body.first());
    assert_eq!(body.iter().filter(|line| *line == "from distant Ophir").count(), 40_000);
    let part = talk.imap("e", "FETCH 1 BODY.PEEK[TEXT]<600000.18>").join("\n");
    assert!(part.contains("{18}"), "{part}");
    for search in ["TEXT Nineveh", "SUBJECT ivory", "FROM Masefield"] {
        let found = talk.imap("f", &format!("SEARCH {search}"));
        assert!(found[0].starts_with("* SEARCH 1"), "{search}: {found:?}");
    }
    let mut talk = server.talk(server.port("pop3", "starttls"));
    talk.line();
    for command in [format!("USER {USER}"), format!("PASS {password}"), "RETR 1".into()] {
        talk.send(format!("{command}\r\n"));
        let answer = talk.line();
        assert!(answer.starts_with("+OK"), "{command}: {answer}");
    }
    assert!(talk.until(".").iter().any(|line| line.contains(WORDS)));
}

#[test]
fn no_word_is_on_disk_and_a_login_reads_it() {
    let mut server = Server::prepare("allow_plaintext_auth = true");
    server.add_user(USER, PASSWORD);
    server.add_user(BOB, PASSWORD);
    server.serve();
    let wrong = tell(&server, &["user", "encrypt", USER, "--password-stdin"], &["guess"]);
    assert!(!wrong.status.success() && said(&wrong).contains("not the password"), "{}", said(&wrong));
    let recovery = encrypt(&server);
    deliver(&server, USER, &message());
    // One that a session stores is sealed as one that is delivered.
    let mut talk = imap(&server);
    let draft = format!("Subject: draft\r\n\r\nthe {WORDS} again\r\n");
    let stored = talk.imap("b", &format!("APPEND INBOX {{{}+}}\r\n{draft}", draft.len()));
    assert!(stored.last().unwrap().starts_with("b OK"), "{stored:?}");
    read(&server, PASSWORD);
    assert!(!login(&server, USER, &recovery).1, "the recovery key opens the mail, not the account");
    let data = server.folder.path().join("data");
    for _ in 0..2 {
        for words in [WORDS, SUBJECT, "Ophir", "john@example.net", PASSWORD, &recovery] {
            assert!(!is_on_disk(&data, words), "{words}");
        }
        server.stop();
        server.serve();
    }
    // SCRAM would show the server no password to open the mail with.
    let capabilities = server.talk(server.port("imap", "starttls")).line();
    assert!(capabilities.contains("AUTH=PLAIN") && !capabilities.contains("SCRAM"), "{capabilities}");
    read(&server, PASSWORD);
    succeed(&mut server.command(&["fsck"]));
    let backup = server.folder.path().join("backup");
    succeed(server.command(&["backup"]).arg(&backup));
    assert!(!is_on_disk(&backup, WORDS));
    // Bob's mail is as it was.
    deliver(&server, BOB, "Subject: plain\r\n\r\nnot at all secret\r\n");
    assert!(is_on_disk(&data, "not at all secret"));
}

#[test]
fn the_password_changes_with_the_old_one_or_the_recovery_key_alone() {
    let server = Server::start("allow_plaintext_auth = true");
    let recovery = encrypt(&server);
    deliver(&server, USER, &message());
    let forgotten = tell(&server, &["user", "password", USER, "--password-stdin"], &[NEW]);
    assert!(!forgotten.status.success() && said(&forgotten).contains("recovery key"), "{}", said(&forgotten));
    read(&server, PASSWORD);
    let change = ["user", "password", USER, "--password-stdin", "--old-stdin"];
    assert!(!tell(&server, &change, &[NEW, "guess"]).status.success());
    let changed = tell(&server, &change, &[NEW, PASSWORD]);
    assert!(changed.status.success(), "{}", said(&changed));
    assert!(!login(&server, USER, PASSWORD).1);
    read(&server, NEW);
    let changed = tell(&server, &change, &[PASSWORD, &recovery.to_lowercase()]);
    assert!(changed.status.success(), "{}", said(&changed));
    read(&server, PASSWORD);
    succeed(&mut server.command(&["user", "encrypt", USER, "--off"]));
    deliver(&server, USER, "Subject: clear\r\n\r\nin the clear again\r\n");
    assert!(is_on_disk(&server.folder.path().join("data"), "in the clear again"));
    read(&server, PASSWORD);
    // Another recovery key takes the place of the first, which is said.
    let again = tell(&server, &["user", "encrypt", USER, "--password-stdin"], &[PASSWORD]);
    assert!(
        said(&again).contains("recovery key of before, which opens nothing any more"),
        "{}",
        said(&again)
    );
    assert!(!tell(&server, &change, &[NEW, &recovery]).status.success());
}

#[test]
fn others_see_that_it_is_locked() {
    let server = Server::start("allow_plaintext_auth = true");
    server.add_user(BOB, PASSWORD);
    encrypt(&server);
    deliver(&server, USER, &message());
    let shared = inbox(&server).imap("a", &format!("SETACL INBOX {BOB} lrs"));
    assert!(shared.last().unwrap().starts_with("a OK"), "{shared:?}");
    let (mut talk, opened) = login(&server, BOB, PASSWORD);
    assert!(opened);
    let listed = talk.imap("b", "LIST \"\" *");
    let name = listed.iter().find(|line| line.contains(USER));
    let name =
        name.unwrap_or_else(|| panic!("{listed:?}")).rsplit('"').find(|part| part.contains(USER)).unwrap();
    let selected = talk.imap("c", &format!("SELECT \"{name}\""));
    assert!(selected.last().unwrap().starts_with("c OK"), "{selected:?}");
    let fetched = talk.imap("d", "FETCH 1 BODY.PEEK[TEXT]").join("\n");
    assert!(!fetched.contains(WORDS), "{fetched}");
    assert!(fetched.contains("d NO"), "{fetched}");
}

/// What a search remembers of an unlocked session is not for another one in the same name that has no key.
#[test]
fn administrators_find_nothing_of_what_its_owner_has_just_searched() {
    let server = Server::start(&format!("allow_plaintext_auth = true\nauth.master_users = [\"{BOB}\"]"));
    server.add_user(BOB, PASSWORD);
    encrypt(&server);
    deliver(&server, USER, &message());
    for _ in 0..2 {
        let found = inbox(&server).imap("a", "SEARCH SUBJECT ivory");
        assert!(found[0].starts_with("* SEARCH 1"), "{found:?}");
        let (mut talk, opened) = login(&server, &format!("\"{USER}*{BOB}\""), PASSWORD);
        assert!(opened);
        talk.imap("b", "SELECT INBOX");
        let found = talk.imap("c", "SEARCH SUBJECT ivory");
        assert!(found[0].starts_with("* NO [NOPERM] ") && found[1] == "* SEARCH", "{found:?}");
    }
}

/// What cannot be opened is there nevertheless: it is not called expunged, the others are found, and no connection ends for it.
#[test]
fn what_is_locked_is_said_to_be() {
    let server = Server::start("allow_plaintext_auth = true");
    server.add_user(BOB, PASSWORD);
    deliver(&server, USER, "Subject: plain\r\n\r\nthe quinquereme, in the clear\r\n");
    encrypt(&server);
    deliver(&server, USER, &message());
    let mut alice = inbox(&server);
    let shared = alice.imap("a", &format!("SETACL INBOX {BOB} lrs"));
    assert!(shared.last().unwrap().starts_with("a OK"), "{shared:?}");
    let url = format!("imap://{}@mail.example.org/INBOX/;uid=2", USER.replace('@', "%40"));
    let mut urls = Vec::new();
    for section in ["", "/;section=HEADER", "/;section=1"] {
        let given = alice.imap("b", &format!("GENURLAUTH \"{url}{section};urlauth=authuser\" INTERNAL"));
        let url = given[0].strip_prefix("* GENURLAUTH \"").unwrap_or_else(|| panic!("{given:?}"));
        urls.push(url.strip_suffix('"').unwrap().to_owned());
    }
    let (mut talk, opened) = login(&server, BOB, PASSWORD);
    assert!(opened);
    let selected = talk.imap("c", &format!("SELECT \"Other Users/{USER}\""));
    assert!(selected.last().unwrap().starts_with("c OK"), "{selected:?}");
    for command in
        ["FETCH 1:2 BODY.PEEK[TEXT]", "FETCH 1:2 ENVELOPE", "FETCH 2 BODY.PEEK[]", "UID FETCH 1:2 PREVIEW"]
    {
        let lines = talk.imap("d", command);
        let last = lines.last().unwrap();
        assert!(last.starts_with("d NO [NOPERM] ") && last.contains("encrypted"), "{command}: {lines:?}");
        assert_eq!(
            lines.iter().any(|line| line.starts_with("* 1 FETCH")),
            command.contains("1:2"),
            "{lines:?}"
        );
    }
    for (command, found) in [
        ("SEARCH BODY quinquereme", "1"),
        ("SEARCH NOT BODY quinquereme", ""),
        ("SEARCH NOT SUBJECT tea", "1"),
    ] {
        let lines = talk.imap("e", command);
        assert!(lines[0].starts_with("* NO [NOPERM] "), "{command}: {lines:?}");
        assert_eq!(lines[1], format!("* SEARCH {found}").trim_end(), "{command}");
        assert!(lines[2].starts_with("e OK"), "{command}: {lines:?}");
    }
    assert_eq!(talk.imap("f", "SEARCH UID 2")[0], "* SEARCH 2");
    for url in &urls {
        let lines = talk.imap("g", &format!("URLFETCH \"{url}\""));
        assert_eq!(lines[0], format!("* URLFETCH \"{url}\" NIL"));
        assert!(lines[1].starts_with("g OK"), "{lines:?}");
        let own = alice.imap("h", &format!("URLFETCH \"{url}\""));
        assert!(own[0].ends_with('}'), "{own:?}");
    }
    assert!(talk.imap("i", "NOOP")[0].starts_with("i OK"));
}
