//! Lists outside of scripts (`extlists`, RFC 6134) and conversions (`convert`, RFC 6558), in the running server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::{fs, os::unix::fs::PermissionsExt};

use common::{PASSWORD, Server, USER, run, wait_for};

const BOB: &str = "bob@example.org";
const CAROL: &str = "carol@example.org";

/// A server whose users have this script, with these keys in `[sieve]` and these files.
fn server(script: &str, keys: &str, files: &[(&str, &str)]) -> Server {
    let mut server = Server::prepare("allow_plaintext_auth = true");
    let folder = server.folder.path();
    fs::write(folder.join("default.sieve"), script).unwrap();
    for (name, text) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }
    let file = folder.join("mailwright.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}\n[sieve]\ndefault = \"default.sieve\"\n{keys}\n")).unwrap();
    for user in [USER, BOB, CAROL] {
        server.add_user(user, PASSWORD);
    }
    server.serve();
    server
}

fn deliver(server: &Server, from: &str, to: &str, rest: &str) {
    let mut talk = server.talk(server.port("lmtp", "none"));
    talk.reply();
    talk.smtp("LHLO client.example");
    talk.smtp(&format!("MAIL FROM:<{from}>"));
    assert!(talk.smtp(&format!("RCPT TO:<{to}>")).starts_with("250"));
    assert!(talk.smtp("DATA").starts_with("354"));
    talk.send(format!("From: {from}\r\nTo: {to}\r\n{rest}\r\n.\r\n"));
    let reply = talk.reply();
    assert!(reply.starts_with("250"), "{reply}");
}

/// All messages of a mailbox, one after another.
fn mailbox(server: &Server, user: &str, name: &str) -> String {
    let mut talk = server.talk(server.port("imap", "starttls"));
    talk.line();
    talk.imap("a", &format!("LOGIN {user} {PASSWORD}"));
    if !talk.imap("b", &format!("EXAMINE {name}")).last().unwrap().starts_with("b OK") {
        return String::new();
    }
    talk.imap("c", "FETCH 1:* BODY.PEEK[]").join("\n")
}

const LISTS: &str = r#"address_books = "books"
lists = [
    { name = "tag:example.org,2026:partners", file = "partners" },
    { name = "tag:example.org,2026:others", file = "partners", domains = ["example.net"] },
]"#;

#[test]
fn scripts_look_into_lists() {
    let server = server(
        r#"require ["extlists", "envelope", "fileinto", "mailbox", "variables"];
           if header :list "subject" "tag:example.org,2026:partners" { fileinto :create "Word"; }
           elsif not valid_ext_list "tag:example.org,2026:partners" { fileinto :create "Wrong"; }
           elsif valid_ext_list ["tag:example.org,2026:partners", "tag:example.org,2026:others"] { fileinto :create "Wrong"; }
           elsif valid_ext_list "tag:example.org,2026:nobody" { fileinto :create "Wrong"; }
           elsif envelope :list "from" "tag:example.org,2026:partners" { fileinto :create "Partners"; }
           elsif address :list "from" ["tag:example.org,2026:nobody", ":addrbook:default"] {
               fileinto :create "Friends ${0}";
           }"#,
        LISTS,
        &[
            ("partners", "# those we work with\nAnn@partner.example\n@firm.example\nhello\n"),
            ("books/alice@example.org", "dora@home.example\n"),
        ],
    );
    for from in ["ann@partner.example", "zoe@partner.example", "Anybody@FIRM.example", "dora@home.example"] {
        deliver(&server, from, USER, &format!("Subject: of {from}\r\n\r\nx"));
    }
    deliver(&server, "zoe@partner.example", USER, "Subject: Hello\r\n\r\nx");
    // Bob has no address book, which is no mistake.
    deliver(&server, "dora@home.example", BOB, "Subject: to bob\r\n\r\nx");
    let subjects = |user: &str, name: &str| {
        let all = mailbox(&server, user, name);
        all.lines().filter_map(|line| line.strip_prefix("Subject: ")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(subjects(USER, "Partners"), ["of ann@partner.example", "of Anybody@FIRM.example"]);
    assert_eq!(subjects(USER, "\"Friends dora@home.example\""), ["of dora@home.example"]);
    assert_eq!(subjects(USER, "INBOX"), ["of zoe@partner.example"]);
    assert_eq!(subjects(USER, "Word"), ["Hello"]);
    assert_eq!(subjects(BOB, "INBOX"), ["to bob"]);
    assert_eq!(subjects(USER, "Wrong"), [""; 0]);
    // A list that has changed counts at once.
    let partners = server.folder.path().join("partners");
    fs::write(&partners, "zoe@partner.example\n").unwrap();
    deliver(&server, "zoe@partner.example", USER, "Subject: new\r\n\r\nx");
    assert_eq!(subjects(USER, "Partners").last().unwrap(), "new");
    // Nobody knows who is in a list that cannot be read: what was wanted is not done.
    fs::remove_file(&partners).unwrap();
    deliver(&server, "zoe@partner.example", USER, "Subject: lost list\r\n\r\nx");
    assert_eq!(subjects(USER, "INBOX").last().unwrap(), "lost list");
    let mut talk = server.talk(server.port("managesieve", "starttls"));
    assert!(talk.until("OK").join("\n").contains("\"EXTLISTS\" \"tag urn\""));
}

#[test]
fn mail_is_sent_to_all_of_a_list() {
    let many: String = (0..101).map(|number| format!("user{number}@example.org\n")).collect();
    let server = server(
        r#"require ["extlists", "copy", "envelope"];
           if envelope :is "to" "alice@example.org" {
               if header :is "subject" "team" { redirect :list "tag:example.org,2026:team"; }
               elsif header :is "subject" "copy" { redirect :copy :list "tag:example.org,2026:team"; }
               elsif header :is "subject" "many" { redirect :list "tag:example.org,2026:many"; }
               else { redirect :list "tag:example.org,2026:none"; }
           }"#,
        r#"lists = [{ name = "tag:example.org,2026:team", file = "team" }, { name = "tag:example.org,2026:many", file = "many" }]"#,
        &[("team", "bob@example.org\nCarol@example.org\n@example.com\n"), ("many", &many)],
    );
    for subject in ["team", "copy", "many", "none"] {
        deliver(&server, "zoe@example.net", USER, &format!("Subject: {subject}\r\n\r\nx"));
    }
    for user in [BOB, CAROL] {
        let found = wait_for("the messages", || {
            let found = mailbox(&server, user, "INBOX");
            (found.matches("Subject: ").count() == 2).then_some(found)
        });
        assert!(found.contains("Subject: team") && found.contains("Subject: copy"), "{found}");
    }
    let kept = mailbox(&server, USER, "INBOX");
    assert!(!kept.contains("Subject: team"), "{kept}");
    for subject in ["copy", "many", "none"] {
        assert!(kept.contains(&format!("Subject: {subject}")), "{subject}: {kept}");
    }
}

/// RFC 6558 §4
#[test]
fn parts_are_converted() {
    let server = server(
        r#"require ["convert", "fileinto", "mailbox"];
           if convert "image/tiff" "image/jpeg" ["pix-x=320", "pix-y=240"] { fileinto :create "Converted"; }"#,
        "programs = \"programs\"\nconverter = \"convert-part\"",
        &[(
            "programs/convert-part",
            "#!/bin/sh\nread line\n[ \"$line\" = bad ] && exit 1\necho \"$line as $*\"\n",
        )],
    );
    let part = |body: &str| {
        format!(
            "Subject: picture\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nsee\r\n\
             --b\r\nContent-Type: image/tiff\r\nContent-Transfer-Encoding: base64\r\n\r\n{body}\r\n--b--"
        )
    };
    // "good\n" and "bad\n"
    deliver(&server, "zoe@example.net", USER, &part("Z29vZAo="));
    deliver(&server, "zoe@example.net", USER, &part("YmFkCg=="));
    deliver(&server, "zoe@example.net", USER, "Subject: no picture\r\n\r\nx");
    let converted = mailbox(&server, USER, "Converted");
    assert_eq!(converted.matches("Subject: ").count(), 1, "{converted}");
    // "good as image/tiff image/jpeg pix-x=320 pix-y=240\n"
    let text = "Z29vZCBhcyBpbWFnZS90aWZmIGltYWdlL2pwZWcgcGl4LXg9MzIwIHBpeC15PTI0MAo=";
    assert!(converted.contains("image/jpeg") && !converted.contains("image/tiff"), "{converted}");
    assert!(converted.contains(text), "{converted}");
    let kept = mailbox(&server, USER, "INBOX");
    assert!(
        kept.contains("image/tiff") && kept.contains("YmFkCg==") && kept.contains("no picture"),
        "{kept}"
    );
}

#[test]
fn what_is_not_there_is_told_before_the_start() {
    let server = Server::prepare("");
    let file = server.folder.path().join("mailwright.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::create_dir(server.folder.path().join("programs")).unwrap();
    for (keys, told) in [
        ("converter = \"convert\"", "needs programs"),
        ("programs = \"programs\"\nconverter = \"convert\"", "no executable file"),
        ("address_books = \"books\"", "is no directory"),
        ("lists = [{ name = \"tag:example.org,2026:team\", file = \"team\" }]", "cannot be read"),
        ("lists = [{ name = \"team\", file = \"mailwright.toml\" }]", "is no URI"),
    ] {
        fs::write(&file, format!("{text}\n[sieve]\n{keys}\n")).unwrap();
        let output = run(&mut server.command(&["config", "check"]));
        assert!(!output.status.success());
        let output = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.contains(told), "{keys}: {output}");
    }
}
