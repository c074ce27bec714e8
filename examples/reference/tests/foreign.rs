//! The names of mailboxes of others are theirs: whatever files mail under one, files it where it can be read, or says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::{fs, io::Write, process::Stdio};

use base64::{Engine, prelude::BASE64_STANDARD};
use common::{PASSWORD, Server, Talk, USER, deliver, login, run, succeed, tell, wait_for};

const BOB: &str = "bob@example.org";
const OFFICE: &str = "office@example.org";
const TWO: [&str; 2] = ["", "store = { kind = \"maildir\", path = \"mail/%u\" }\n"];

fn server(extra: &str) -> Server {
    let mut server = Server::prepare(&format!("allow_plaintext_auth = true\n{extra}"));
    for user in [USER, BOB] {
        server.add_user(user, PASSWORD);
    }
    server.serve();
    server
}

fn done(talk: &mut Talk, command: &str) -> String {
    let lines = talk.imap("x", command);
    assert!(lines.last().unwrap().starts_with("x OK"), "{command}: {lines:?}");
    lines.join("\n")
}

fn no(talk: &mut Talk, command: &str) -> String {
    let last = talk.imap("x", command).pop().unwrap();
    assert!(last.starts_with("x NO"), "{command}: {last}");
    last
}

fn append(talk: &mut Talk, mailbox: &str, subject: &str) {
    let text = format!("From: ann@example.net\r\nSubject: {subject}\r\n\r\nx\r\n");
    done(talk, &format!("APPEND \"{mailbox}\" {{{}+}}\r\n{text}", text.len()));
}

/// How many messages a mailbox has; `None` if nobody can open it.
fn messages(talk: &mut Talk, mailbox: &str) -> Option<usize> {
    let lines = talk.imap("x", &format!("STATUS \"{mailbox}\" (MESSAGES)"));
    let (_, number) = lines[0].split_once("(MESSAGES ")?;
    number.trim_end_matches(')').parse().ok()
}

/// Makes this alice's script.
fn script(server: &Server, text: &str) {
    let mut talk = server.talk(server.port("managesieve", "starttls"));
    talk.until("OK");
    let plain = BASE64_STANDARD.encode(format!("\0{USER}\0{PASSWORD}"));
    talk.send(format!("AUTHENTICATE \"PLAIN\" \"{plain}\"\r\n"));
    assert!(talk.line().starts_with("OK"));
    talk.send(format!("PUTSCRIPT \"a\" {{{}+}}\r\n{text}\r\nSETACTIVE \"a\"\r\n", text.len()));
    for _ in 0..2 {
        let answer = talk.line();
        assert!(answer.starts_with("OK"), "{answer}");
    }
}

#[test]
fn scripts_file_into_mailboxes_of_others_as_far_as_they_may() {
    for store in TWO {
        let server = server(store);
        tell(&server, &format!("group add {OFFICE} --shared-folder {USER}"));
        let (mut alice, mut bob) = (login(&server, USER), login(&server, BOB));
        for (mailbox, rights) in [("open", "lrswi"), ("posted", "lrp"), ("readable", "lrk")] {
            done(&mut bob, &format!("CREATE {mailbox}"));
            done(&mut bob, &format!("SETACL {mailbox} {USER} {rights}"));
        }
        let text = format!(
            r#"require ["fileinto", "mailbox", "imap4flags", "variables", "special-use"];
            if mailboxexists "Shared Folders/{OFFICE}" {{ set "office" "there"; }}
            if mailboxexists "Other Users/{BOB}/readable" {{ set "office" "wrong"; }}
            if header :is "subject" "office" {{ fileinto :flags "\\Flagged" :create "Shared Folders/{OFFICE}"; }}
            elsif header :is "subject" "open" {{ fileinto :flags ["\\Flagged", "\\Deleted"] "Other Users/{BOB}/open"; keep; }}
            elsif header :is "subject" "posted" {{ fileinto "Other Users/{BOB}/posted"; }}
            elsif header :is "subject" "readable" {{ fileinto "Other Users/{BOB}/readable"; }}
            elsif header :is "subject" "below" {{ fileinto :create "Other Users/{BOB}/readable/below"; }}
            elsif header :is "subject" "nowhere" {{ fileinto :create "Other Users/eve@example.org/x"; }}
            elsif header :is "subject" "special" {{ fileinto :specialuse "\\Archive" :create "Other Users/eve@example.org/y"; }}
            elsif header :is "subject" "there" {{ if string "${{office}}" "there" {{ fileinto :create "right"; }} }}"#
        );
        script(&server, &text);
        for subject in ["office", "open", "posted", "readable", "nowhere", "special", "there"] {
            deliver(&server, USER, &format!("Subject: {subject}\r\n\r\nx\r\n"));
        }
        assert_eq!(messages(&mut alice, &format!("Shared Folders/{OFFICE}")), Some(1));
        done(&mut alice, &format!("SELECT \"Shared Folders/{OFFICE}\""));
        assert!(done(&mut alice, "FETCH 1 FLAGS").contains("\\Flagged"));
        assert_eq!(messages(&mut bob, "open"), Some(1));
        // What may not be set there is not set.
        done(&mut bob, "SELECT open");
        let flags = done(&mut bob, "FETCH 1 FLAGS");
        assert!(flags.contains("\\Flagged") && !flags.contains("\\Deleted"), "{flags}");
        assert_eq!(messages(&mut bob, "posted"), Some(1));
        assert_eq!(messages(&mut bob, "readable"), Some(0));
        assert_eq!(messages(&mut alice, "right"), Some(1), "mailboxexists");
        // That of `open`, and those that could not be filed.
        assert_eq!(messages(&mut alice, "INBOX"), Some(4));
        let log = tell(&server, &format!("sieve log {USER}"));
        assert!(log.contains("Other Users/bob@example.org/readable") && log.contains("INBOX"), "{log}");
        assert!(log.contains("Other Users/eve@example.org/x"), "{log}");
        // Nothing was made of one's own that has such a name.
        let listed = done(&mut alice, "LIST \"\" *");
        assert!(!listed.contains("eve@"), "{listed}");
        // With the right to make mailboxes there and to put mail into them, one is made.
        done(&mut bob, &format!("SETACL readable {USER} lrki"));
        deliver(&server, USER, "Subject: below\r\n\r\nx\r\n");
        assert_eq!(messages(&mut bob, "readable/below"), Some(1));
    }
}

#[test]
fn a_full_mailbox_of_others_keeps_nobodys_mail_away() {
    let server = server("");
    let mut bob = login(&server, BOB);
    done(&mut bob, "CREATE open");
    done(&mut bob, &format!("SETACL open {USER} lrswi"));
    script(&server, &format!("require \"fileinto\"; fileinto \"Other Users/{BOB}/open\";"));
    append(&mut bob, "INBOX", "one");
    tell(&server, &format!("user quota {BOB} --messages 1"));
    deliver(&server, USER, "Subject: x\r\n\r\nx\r\n");
    assert_eq!(messages(&mut login(&server, USER), "INBOX"), Some(1));
    assert_eq!(messages(&mut bob, "open"), Some(0));
}

#[test]
fn nobody_makes_what_its_owner_cannot_open() {
    for store in TWO {
        let server = server(store);
        let (mut alice, mut bob) = (login(&server, USER), login(&server, BOB));
        done(&mut bob, &format!("SETACL INBOX {USER} lrswipkxte"));
        for name in ["Other Users/zz", "Shared Folders", "Shared Folders/x"] {
            no(&mut alice, &format!("CREATE \"Other Users/{BOB}/{name}\""));
        }
        done(&mut alice, &format!("CREATE \"Other Users/{BOB}/tea\""));
        no(&mut alice, &format!("RENAME \"Other Users/{BOB}/tea\" \"Other Users/{BOB}/Other Users/tea\""));
        let listed = done(&mut bob, "LIST \"\" *");
        assert!(listed.contains("tea") && !listed.contains("zz") && !listed.contains("Shared"), "{listed}");
    }
}

#[test]
fn what_comes_back_and_what_is_taken_over_has_a_name_of_its_own() {
    let mut server = server("store.undelete = \"1h\"");
    let mut alice = login(&server, USER);
    append(&mut alice, "INBOX", "back");
    done(&mut alice, "SELECT INBOX");
    done(&mut alice, "STORE 1 +FLAGS (\\Deleted)");
    done(&mut alice, "EXPUNGE");
    for name in ["Shared Folders/q", "Other Users"] {
        let output = run(&mut server.command(&["undelete", USER, "--into", name]));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(name) && said.contains("others"), "{said}");
    }
    assert_eq!(tell(&server, &format!("undelete {USER} --into q")), "1 messages are back\n");
    assert_eq!(messages(&mut alice, "q"), Some(1));
    server.stop();
    let tree = server.folder.path().join("tree");
    for folder in ["", ".Other Users.x"] {
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(tree.join(folder).join(part)).unwrap();
        }
    }
    fs::write(tree.join(".Other Users.x/cur/1.a:2,S"), "Subject: x\n\nx\n").unwrap();
    let from = format!("maildir:{}", tree.display());
    let output = run(&mut server.command(&["migrate", "--from", &from, "--to", USER]));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("Other Users/x"), "{said}");
    fs::rename(tree.join(".Other Users.x"), tree.join(".Others.x")).unwrap();
    succeed(&mut server.command(&["migrate", "--from", &from, "--to", USER]));
}

#[test]
fn fetching_all_folders_leaves_those_of_others_alone() {
    let (foreign, home) = (server(""), server("fetch = { first_retry_seconds = 1 }"));
    let (mut alice, mut bob) = (login(&foreign, USER), login(&foreign, BOB));
    tell(&foreign, &format!("group add {OFFICE} --shared-folder {USER}"));
    done(&mut bob, "CREATE pub");
    done(&mut bob, &format!("SETACL pub {USER} lrswite"));
    done(&mut alice, "CREATE own");
    append(&mut bob, "pub", "of bob");
    append(&mut alice, "own", "own");
    append(&mut alice, "INBOX", "inbox");
    append(&mut alice, &format!("Shared Folders/{OFFICE}"), "office");
    let source = format!("imap://{USER}@127.0.0.1:{}", foreign.port("imap", "starttls"));
    let words = ["fetch", "add", USER, &source, "--all-folders", "--in-clear", "--delete", "--every", "1s"];
    let mut command = home.command(&words);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{PASSWORD}\n").as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    let mut here = login(&home, USER);
    // INBOX is the last that is looked into.
    wait_for("the mail", || (messages(&mut here, "INBOX") == Some(1)).then_some(()));
    wait_for("the end", || (messages(&mut alice, "INBOX") == Some(0)).then_some(()));
    assert_eq!(messages(&mut here, "own"), Some(1));
    assert_eq!(messages(&mut bob, "pub"), Some(1));
    assert_eq!(messages(&mut alice, &format!("Shared Folders/{OFFICE}")), Some(1));
    assert_eq!(home.log().matches(" fetched id=").count(), 2, "{}", home.log());
}

/// A server that knows no namespaces has mailboxes of such names that are the user's own.
#[test]
fn fetched_mail_of_such_a_name_goes_into_inbox() {
    let home = server("fetch = { first_retry_seconds = 1 }");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            std::thread::spawn(move || old_server(socket.unwrap()));
        }
    });
    let source = format!("imap://{USER}@127.0.0.1:{port}");
    let mut command =
        home.command(&["fetch", "add", USER, &source, "--all-folders", "--in-clear", "--every", "1s"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{PASSWORD}\n").as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    let mut here = login(&home, USER);
    wait_for("the mail", || (messages(&mut here, "INBOX") == Some(1)).then_some(()));
    let listed = done(&mut here, "LIST \"\" *");
    assert!(!listed.contains("Other Users"), "{listed}");
}

/// IMAP4rev1 as it was: one message, in a mailbox of a name that means nothing to it.
fn old_server(socket: std::net::TcpStream) {
    use std::io::{BufRead, BufReader};
    let mut writer = socket.try_clone().unwrap();
    let mut lines = BufReader::new(socket).lines();
    let mut empty = true;
    let _ = writer.write_all(b"* OK [CAPABILITY IMAP4rev1] ready\r\n");
    while let Some(Ok(line)) = lines.next() {
        let (tag, command) = line.split_once(' ').unwrap_or((&line, ""));
        let message = "Subject: own\r\n\r\nx\r\n";
        let said = match command.to_uppercase() {
            command if command.starts_with("CAPABILITY") => "* CAPABILITY IMAP4rev1\r\n".to_owned(),
            command if command.starts_with("LIST") => {
                "* LIST () \"/\" INBOX\r\n* LIST () \"/\" \"Other Users/old\"\r\n".to_owned()
            }
            command if command.starts_with("SELECT") || command.starts_with("EXAMINE") => {
                empty = command.ends_with("INBOX") || command.ends_with("\"INBOX\"");
                let count = u32::from(!empty);
                format!("* {count} EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT {}] x\r\n", count + 1)
            }
            command if command.contains("SEARCH") && !empty => "* SEARCH 1\r\n".to_owned(),
            command if command.contains("SEARCH") => "* SEARCH\r\n".to_owned(),
            command if command.contains("BODY") => format!(
                "* 1 FETCH (UID 1 INTERNALDATE \" 1-Jan-2024 00:00:00 +0000\" FLAGS () BODY[] {{{}}}\r\n{message})\r\n",
                message.len()
            ),
            command if command.contains("FETCH") => {
                format!("* 1 FETCH (UID 1 FLAGS () RFC822.SIZE {})\r\n", message.len())
            }
            _ => String::new(),
        };
        if writer.write_all(format!("{said}{tag} OK done\r\n").as_bytes()).is_err() {
            return;
        }
    }
}
