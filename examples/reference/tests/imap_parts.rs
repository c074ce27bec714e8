//! What some servers have and others do not, on the running server: texts in other languages, XLIST, SNIPPET, searches for parts of
//! messages, and special uses as annotations. Dovecot is asked the same where it knows the answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;
#[path = "common/dovecot.rs"]
mod dovecot;

use std::{fs, os::unix::fs::chown};

use common::{PASSWORD, Server, Talk, USER, deliver, free_port, imap, inbox};
use dovecot::{Dovecot, OWNER, is_installed};

const MIXED: &str = "From: Ann <a@b.example>\r\nTo: Bob <bob@c.example>\r\nSubject: Hi there\r\n\
Date: Wed, 17 Jul 1996 02:23:25 -0700\r\nMessage-ID: <m1@x>\r\nMIME-Version: 1.0\r\n\
Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\
Content-Description: the letter\r\nContent-ID: <one@x>\r\n\r\nHello   world\r\nyes\r\n--b\r\n\
Content-Type: application/pdf; name=\"x.pdf\"\r\n\
Content-Disposition: attachment; filename=\"Report 2024.PDF\"\r\nContent-Transfer-Encoding: base64\r\n\
Content-Language: de\r\nContent-Location: http://a/b\r\nContent-MD5: abc==\r\n\r\nSGVsbG8=\r\n--b\r\n\
Content-Type: message/rfc822\r\n\r\nFrom: carol@d.example\r\nTo: dan@e.example\r\nCc: cc@e.example\r\n\
Subject: inner\r\nDate: Thu, 18 Jul 1996 02:23:25 -0700\r\nMessage-ID: <m2@x>\r\nIn-Reply-To: <m0@x>\r\n\r\n\
inner body\r\n--b--\r\n";
const PLAIN: &str = "From: Eve <e@b.example>\r\nSubject: plain\r\nMIME-Version: 1.0\r\n\r\nHi\r\n";
const HTML: &str = "From: Eve <e@b.example>\r\nSubject: page\r\nMIME-Version: 1.0\r\n\
Content-Type: text/html; charset=utf-8\r\nContent-Disposition: inline; filename=page.html\r\n\r\n<p>Hello</p>\r\n";

/// Keys to which Dovecot 2.3 knows the answer too. It does not look into bodies or headers of parts, asks no part
/// for its file name that is not an attachment, and keys behind PARENT end it.
const BOTH: [&str; 62] = [
    "(DISPOSITION TYPE attachment)",
    "(DISPOSITION TYPE INLINE)",
    "(DISPOSITION TYPE attach)",
    "(DISPOSITION PARAM filename 2024)",
    "(DISPOSITION PARAM filename \"\")",
    "(FILENAME IS \"Report 2024.PDF\")",
    "(FILENAME IS \"report 2024.pdf\")",
    "(FILENAME CONTAINS 2024)",
    "(FILENAME CONTAINS \"x.pdf\")",
    "(FILENAME BEGINS rep)",
    "(FILENAME ENDS pdf)",
    "(TYPE application)",
    "(TYPE appl)",
    "(TYPE multipart)",
    "(TYPE text)",
    "(SUBTYPE html)",
    "(SUBTYPE pd)",
    "(TYPE text SUBTYPE plain)",
    "(PARAM name x.pdf)",
    "(PARAM name \"\")",
    "(PARAM charset utf)",
    "(ENCODING base64)",
    "(ENCODING 7bit)",
    "(ENCODING base)",
    "(ID \"<one@x>\")",
    "(ID one@x)",
    "(DESCRIPTION letter)",
    "(LANGUAGE DE)",
    "(LANGUAGE d)",
    "(LOCATION http://a/b)",
    "(LOCATION http)",
    "(MD5 abc==)",
    "(MD5 ABC==)",
    "(SIZE 8)",
    "(SIZE 4)",
    "(SIZE LARGER 9)",
    "(SIZE SMALLER 9)",
    "(DEPTH 2)",
    "(DEPTH MIN 1)",
    "(DEPTH MAX 0)",
    "(INDEX 3)",
    "(INDEX 4)",
    "(TYPE text INDEX 1 DEPTH 2)",
    "(PARENT EXISTS)",
    "(CHILD EXISTS)",
    "(CHILD (TYPE application))",
    "(CHILD SUBTYPE pdf)",
    "(TYPE text CHILD (TYPE application))",
    "(SUBJECT inner)",
    "(SUBJECT Hi)",
    "(SUBJECT inner DEPTH 1)",
    "(SUBJECT inner TYPE text)",
    "(FROM carol@d.example)",
    "(CC cc)",
    "(SENDER carol)",
    "(IN-REPLY-TO m0)",
    "(MESSAGE-ID \"<m2@x>\")",
    "(SENTON 18-Jul-1996)",
    "(SENTBEFORE 18-Jul-1996)",
    "(SENTSINCE 18-Jul-1996)",
    "NOT TYPE text",
    "OR TYPE application SUBTYPE html",
];

fn server(more: &str) -> Server {
    Server::start(&format!("allow_plaintext_auth = true\n{more}"))
}

fn with_mail() -> Server {
    let server = server("");
    for message in [MIXED, PLAIN, HTML] {
        deliver(&server, USER, message);
    }
    server
}

fn ok(lines: &[String]) -> bool {
    lines.last().unwrap().split(' ').nth(1) == Some("OK")
}

/// RFC 5255 §3
#[test]
fn texts_are_in_the_language_that_is_chosen() {
    let server = server("imap = { language = \"de\" }\n");
    let mut talk = imap(&server);
    assert_eq!(talk.imap("a", "SELECT nowhere"), ["a NO [NONEXISTENT] there is no such mailbox"]);
    assert_eq!(
        talk.imap("b", "LANGUAGE default"),
        [
            "* LANGUAGE (de)",
            "* NAMESPACE ((\"\" \"/\")) ((\"Other Users/\" \"/\" \"TRANSLATION\" (\"Andere Benutzer/\"))) \
             ((\"Shared Folders/\" \"/\" \"TRANSLATION\" (\"Gemeinsame Ordner/\")))",
            "b OK LANGUAGE ausgeführt"
        ]
    );
    assert_eq!(talk.imap("c", "SELECT nowhere"), ["c NO [NONEXISTENT] dieses Postfach gibt es nicht"]);
    assert_eq!(talk.imap("d", "LANGUAGE tlh"), ["d NO nicht unterstützte Sprache tlh"]);
    // Another session is spoken to in English.
    assert_eq!(imap(&server).imap("a", "NOOP"), ["a OK NOOP completed"]);
}

#[test]
fn special_uses_are_told_in_old_ways() {
    let server = server("");
    let mut talk = imap(&server);
    assert!(talk.imap("a", "CAPABILITY")[0].contains(" XLIST "));
    assert!(ok(&talk.imap("b", "CREATE Rubbish (USE (\\Junk))")));
    let lines = talk.imap("c", "XLIST \"\" *");
    for line in
        ["* XLIST (\\HasNoChildren \\Inbox) \"/\" INBOX", "* XLIST (\\HasNoChildren \\Spam) \"/\" Rubbish"]
    {
        assert!(lines.iter().any(|found| found == line), "{line}: {lines:?}");
    }
    assert_eq!(talk.imap("d", "LIST \"\" Rub%")[0], "* LIST (\\HasNoChildren \\Junk) \"/\" Rubbish");
    // RFC 6154 §4
    assert_eq!(
        talk.imap("e", "GETMETADATA Rubbish /private/specialuse")[0],
        "* METADATA Rubbish (/private/specialuse \"\\\\Junk\")"
    );
    let listed = talk.imap("f", "LIST \"\" Rub% RETURN (METADATA (/private/specialuse))");
    assert_eq!(listed[1], "* METADATA Rubbish (/private/specialuse \"\\\\Junk\")");
    let refused = talk.imap("g", "SETMETADATA Rubbish (/private/specialuse \"\\\\Sent\")");
    assert!(refused[0].starts_with("g NO [CANNOT] "), "{refused:?}");
    assert!(
        !talk.imap("h", "GETMETADATA INBOX /private/specialuse").iter().any(|line| line.contains("\\\\"))
    );
}

#[test]
fn parts_are_searched_for() {
    let server = with_mail();
    let mut talk = inbox(&server);
    assert!(talk.imap("a", "CAPABILITY")[0].contains(" SEARCH=MIMEPART "));
    for (keys, found) in [
        ("MIMEPART (BODY hello)", " 1 3"),
        ("MIMEPART (TYPE text SUBTYPE plain BODY hello)", " 1"),
        ("MIMEPART (BODY SGVs)", ""),
        ("MIMEPART (DEPTH 2 BODY \"inner body\")", " 1"),
        ("MIMEPART (HEADER Content-Description letter)", " 1"),
        ("MIMEPART (FIELD Content-Type html)", " 3"),
        ("MIMEPART (TEXT \"content-id: <one\")", " 1"),
        ("MIMEPART (PARENT (SUBTYPE mixed) TYPE application)", " 1"),
        ("MIMEPART (PARENT (TYPE message) BODY inner)", " 1"),
        ("MIMEPART (CID <one@x>)", " 1"),
        ("MIMEPART (DESCRIPTION LETTER)", " 1"),
        ("MIMEPART (FILENAME BEGINS page)", " 3"),
        ("NOT MIMEPART (TYPE application)", " 2 3"),
        ("SUBJECT hi MIMEPART (SIZE 8)", " 1"),
        ("OR SUBJECT plain MIMEPART (FILENAME ENDS .html)", " 2 3"),
    ] {
        assert_eq!(
            talk.imap("b", &format!("SEARCH {keys}")),
            [format!("* SEARCH{found}"), "b OK SEARCH completed".into()]
        );
    }
    assert_eq!(talk.imap("c", "SORT (SUBJECT) UTF-8 MIMEPART TYPE text")[0], "* SORT 1 3 2");
    assert_eq!(
        talk.imap("d", "SEARCH RETURN (COUNT MIN) MIMEPART (DISPOSITION TYPE inline)")[0],
        "* ESEARCH (TAG \"d\") MIN 3 COUNT 1"
    );
    assert!(
        ok(&talk.imap("e", "SETMETADATA \"\" (/private/filters/values/papers \"MIMEPART SUBTYPE pdf\")"))
    );
    assert_eq!(talk.imap("f", "SEARCH FILTER papers")[0], "* SEARCH 1");
    assert!(talk.imap("g", "SEARCH MIMEPART (FILENAME x)")[0].starts_with("g BAD "));
}

#[test]
fn dovecot_finds_the_same_parts_and_shows_the_same_beginnings() {
    if !is_installed(&["imap"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().display();
    for part in ["", "home", "home/alice", "home/alice/Maildir"] {
        let path = folder.path().join(part);
        fs::create_dir_all(&path).unwrap();
        if chown(&path, Some(OWNER), Some(OWNER)).is_err() {
            println!("skipped: only root can run Dovecot for another user");
            return;
        }
    }
    let port = free_port();
    let lines = format!(
        "protocols = imap\npassdb {{\n  driver = static\n  args = password={PASSWORD}\n}}\n\
         userdb {{\n  driver = static\n  args = uid={OWNER} gid={OWNER} home={base}/home/%u allow_all_users=yes\n}}\n\
         mail_location = maildir:~/Maildir\nnamespace inbox {{\n  inbox = yes\n  separator = /\n}}\n\
         service imap-login {{\n  inet_listener imap {{\n    port = {port}\n  }}\n  inet_listener imaps {{\n    port = 0\n  }}\n}}\n"
    );
    let _dovecot = Dovecot::start(folder.path(), &lines, &[port]);
    let server = with_mail();
    let mut theirs = server.talk(port);
    theirs.line();
    assert!(ok(&theirs.imap("a", &format!("LOGIN alice {PASSWORD}"))));
    for message in [MIXED, PLAIN, HTML] {
        theirs.send(format!("x APPEND INBOX {{{}+}}\r\n{message}\r\n", message.len()));
        assert!(ok(&theirs.until("x")));
    }
    assert!(ok(&theirs.imap("b", "SELECT INBOX")));
    // What was delivered has trace fields before it: no part is another by that, but for the message itself.
    let mut ours = inbox(&server);
    let answer = |talk: &mut Talk, command: &str| talk.imap("q", command).remove(0);
    for keys in BOTH {
        let command = format!("SEARCH MIMEPART {keys}");
        assert_eq!(answer(&mut ours, &command), answer(&mut theirs, &command), "{keys}");
    }
    for items in [
        "SNIPPET",
        "(SNIPPET)",
        "(SNIPPET (FUZZY))",
        "(SNIPPET (LAZY=FUZZY))",
        "(PREVIEW (FUZZY))",
        "PREVIEW",
        "(SNIPPET (LAZY))",
    ] {
        for number in 1..=2 {
            let command = format!("FETCH {number} {items}");
            assert_eq!(answer(&mut ours, &command), answer(&mut theirs, &command), "{command}");
        }
    }
}
