//! More extensions of IMAP on the running server: what is told of other mailboxes, searches with names, quotas, and what is done for
//! clients that are wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::fs;

use common::{PASSWORD, Server, Talk, USER, deliver, imap, inbox};

const BOB: &str = "bob@example.org";
const ROOT: &str = "root@example.org";

fn server(more: &str) -> Server {
    let mut server = Server::prepare("allow_plaintext_auth = true");
    let path = server.folder.path().join("mailwright.toml");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{config}\n{more}\n[auth]\nmaster_users = [\"{ROOT}\"]\n")).unwrap();
    for user in [USER, BOB, ROOT] {
        server.add_user(user, PASSWORD);
    }
    server.serve();
    server
}

fn login(server: &Server, user: &str) -> Talk {
    let mut talk = server.talk(server.port("imap", "starttls"));
    talk.line();
    assert!(ok(&talk.imap("a", &format!("LOGIN {user} {PASSWORD}"))));
    talk
}

fn ok(lines: &[String]) -> bool {
    lines.last().unwrap().split(' ').nth(1) == Some("OK")
}

fn append(talk: &mut Talk, mailbox: &str) {
    talk.send(format!("x APPEND \"{mailbox}\" {{20+}}\r\nSubject: new\r\n\r\nhi\r\n\r\n"));
    assert!(ok(&talk.until("x")));
}

/// RFC 5465 §5.6, §5.7, §5.9: annotations, and the mailboxes of somebody else.
#[test]
fn annotations_and_others_mailboxes_are_told_of() {
    let server = server("");
    let mut bob = login(&server, BOB);
    assert!(ok(&bob.imap("a", "CREATE plans")));
    let mut talk = imap(&server);
    let there = format!("Other Users/{BOB}");
    let answer = talk.imap(
        "a",
        &format!(
            "NOTIFY SET (personal (MailboxMetadataChange ServerMetadataChange)) \
             (subtree \"{there}\" (MessageNew MessageExpunge MailboxName MailboxMetadataChange))"
        ),
    );
    assert!(ok(&answer), "{answer:?}");
    let mut other = inbox(&server);
    assert!(ok(&other.imap("b", "SETMETADATA INBOX (/private/comment \"x\" /shared/comment \"y\")")));
    assert_eq!(talk.line(), "* METADATA INBOX /private/comment /shared/comment");
    assert!(ok(&other.imap("c", "SETMETADATA INBOX (/private/comment NIL /shared/comment \"y\")")));
    assert_eq!(talk.line(), "* METADATA INBOX /private/comment");
    assert!(ok(&other.imap("d", "SETMETADATA \"\" (/private/comment \"z\")")));
    assert_eq!(talk.line(), "* METADATA \"\" /private/comment");
    // What the client notes itself it is not told of.
    assert!(ok(&talk.imap("e", "SETMETADATA INBOX (/private/comment \"own\")")));
    assert_eq!(talk.imap("f", "NOOP").len(), 1);

    // Bob's mailboxes are nobody's business until he gives a right to one, and again when he has taken it away.
    append(&mut bob, "plans");
    assert!(ok(&bob.imap("g", &format!("SETACL plans {USER} lr"))));
    assert_eq!(talk.line(), format!("* LIST (\\HasNoChildren) \"/\" \"{there}/plans\""));
    append(&mut bob, "plans");
    let line = talk.line();
    assert!(line.starts_with(&format!("* STATUS \"{there}/plans\" (MESSAGES 2 UIDNEXT 3 ")), "{line}");
    assert!(ok(&bob.imap("h", "SETMETADATA plans (/shared/comment \"y\" /private/comment \"mine\")")));
    assert_eq!(talk.line(), format!("* METADATA \"{there}/plans\" /shared/comment"));
    assert!(ok(&bob.imap("i", &format!("DELETEACL plans {USER}"))));
    assert_eq!(talk.line(), format!("* LIST (\\NonExistent) \"/\" \"{there}/plans\""));
    append(&mut bob, "plans");
    assert_eq!(talk.imap("j", "NOOP").len(), 1);
}

/// RFC 5466, RFC 5255, RFC 9698 and UIDBATCHES.
#[test]
fn searches_have_names() {
    let server = server("[imap]\njmap_url = \"https://mail.example.org/.well-known/jmap\"\n");
    for subject in ["tea", "coffee"] {
        deliver(&server, USER, &format!("Subject: {subject}\r\n\r\nx\r\n"));
    }
    let mut talk = inbox(&server);
    let capability = talk.imap("a", "CAPABILITY").remove(0);
    for name in ["FILTERS", "LANGUAGE", "JMAPACCESS", "UIDBATCHES"] {
        assert!(capability.split(' ').any(|word| word == name), "{name}: {capability}");
    }
    assert!(!capability.contains("QUOTASET"));
    let set = |talk: &mut Talk, place: &str, text: &str| {
        talk.imap("b", &format!("SETMETADATA \"\" (/{place}/filters/values/hot \"{text}\")"))
    };
    assert!(ok(&set(&mut talk, "private", "OR SUBJECT tea BODY none")));
    assert!(!ok(&set(&mut talk, "private", "OR SUBJECT tea")));
    assert_eq!(talk.imap("c", "SEARCH FILTER hot")[0], "* SEARCH 1");
    assert_eq!(talk.imap("c", "UID SORT (SUBJECT) UTF-8 NOT FILTER HOT")[0], "* SORT 2");
    assert!(talk.imap("c", "SEARCH FILTER cold")[0].starts_with("c NO [UNDEFINED-FILTER cold] "));
    // What is for all only an administrator can say.
    assert!(!ok(&set(&mut talk, "shared", "ALL")));
    let mut root = login(&server, ROOT);
    assert!(ok(&set(&mut root, "shared", "SUBJECT coffee")));
    assert!(ok(&talk.imap("d", "SETMETADATA \"\" (/private/filters/values/hot NIL)")));
    assert_eq!(talk.imap("e", "SEARCH FILTER hot")[0], "* SEARCH 2");
    assert_eq!(talk.imap("f", "LANGUAGE")[0], "* LANGUAGE (en i-default)");
    assert_eq!(
        talk.imap("g", "GETJMAPACCESS")[0],
        "* JMAPACCESS \"https://mail.example.org/.well-known/jmap\""
    );
    assert_eq!(talk.imap("h", "UIDBATCHES 1000")[0], "* UIDBATCHES (TAG \"h\") 2:1");
}

/// RFC 9208 §4.1.3: administrators set the quotas of others, and nobody else does.
#[test]
fn administrators_set_quotas() {
    let server = server("");
    deliver(&server, BOB, "Subject: x\r\n\r\nx\r\n");
    let mut root = login(&server, ROOT);
    assert!(root.imap("a", "CAPABILITY")[0].contains(" QUOTASET"));
    assert_eq!(
        root.imap("b", &format!("SETQUOTA {BOB} (STORAGE 1000 MESSAGE 2)"))[0],
        format!("* QUOTA \"{BOB}\" (STORAGE 1 1000 MESSAGE 1 2)")
    );
    assert!(root.imap("c", "SETQUOTA nobody@example.org ()")[0].starts_with("c NO [NONEXISTENT] "));
    assert!(root.imap("d", &format!("SETQUOTA {BOB} (X-MOON 1)"))[0].starts_with("d NO "));
    let mut bob = login(&server, BOB);
    assert!(!bob.imap("a", "CAPABILITY")[0].contains(" QUOTASET"));
    assert!(bob.imap("b", &format!("SETQUOTA {BOB} ()"))[0].starts_with("b NO "));
    append(&mut bob, "INBOX");
    bob.send("d APPEND INBOX {20}\r\n");
    assert!(bob.line().starts_with("d NO [OVERQUOTA] "));
    // None at all.
    assert!(ok(&root.imap("e", &format!("SETQUOTA {BOB} ()"))));
    append(&mut bob, "INBOX");
}

#[test]
fn what_is_expunged_goes_to_the_trash() {
    let server = server("[imap]\ndeleted_to_trash = true\n");
    for number in 1..=3 {
        deliver(&server, USER, &format!("Subject: {number}\r\n\r\nx\r\n"));
    }
    let mut talk = inbox(&server);
    assert!(ok(&talk.imap("a", "STORE 1:2 +FLAGS.SILENT (\\Deleted \\Seen)")));
    assert_eq!(talk.imap("b", "UID EXPUNGE 2:3")[0], "* 2 EXPUNGE");
    assert!(ok(&talk.imap("c", "CLOSE")));
    assert!(talk.imap("d", "LIST \"\" Trash")[0].contains("\\Trash"));
    assert_eq!(talk.imap("e", "STATUS INBOX (MESSAGES)")[0], "* STATUS INBOX (MESSAGES 1)");
    assert!(ok(&talk.imap("f", "SELECT Trash")));
    let lines = talk.imap("g", "FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])");
    assert!(lines.iter().any(|line| line == "Subject: 1") && lines.iter().any(|line| line == "Subject: 2"));
    assert!(!lines.iter().any(|line| line.contains("\\Deleted")), "{lines:?}");
    // There it is gone.
    assert!(ok(&talk.imap("h", "STORE 1:* +FLAGS.SILENT (\\Deleted)")));
    assert!(ok(&talk.imap("i", "EXPUNGE")));
    assert_eq!(talk.imap("j", "STATUS Trash (MESSAGES)")[0], "* STATUS Trash (MESSAGES 0)");
}

#[test]
fn clients_that_are_wrong_say_who_they_are() {
    let server =
        server("[imap.workarounds]\nOutlook = [\"delay-newmail\"]\n\"*\" = [\"tb-extra-mailbox-sep\"]\n");
    let mut talk = inbox(&server);
    assert!(ok(&talk.imap("a", "CREATE lists")));
    assert!(ok(&talk.imap("a", "SUBSCRIBE \"lists/\"")));
    assert!(ok(&talk.imap("b", "ID (\"name\" \"Microsoft Outlook\" \"version\" \"1\")")));
    append(&mut talk, "lists");
    let mut other = inbox(&server);
    append(&mut other, "INBOX");
    assert_eq!(talk.imap("c", "STATUS lists (MESSAGES)").len(), 2);
    assert_eq!(talk.imap("d", "UID SEARCH ALL").len(), 2);
    assert_eq!(talk.imap("e", "NOOP")[0], "* 1 EXISTS");
    // Another program is told at once.
    assert!(ok(&talk.imap("f", "ID (\"name\" \"mutt\")")));
    append(&mut other, "INBOX");
    assert!(talk.imap("g", "UID SEARCH RETURN (COUNT) ALL").contains(&"* 2 EXISTS".to_owned()));
}

/// RFC 9585: what takes long says how far it has come.
#[test]
fn long_searches_say_how_far_they_are() {
    let server = server("[imap]\nprogress_milliseconds = 1\n");
    let mut talk = inbox(&server);
    assert!(talk.imap("a", "CAPABILITY")[0].contains(" INPROGRESS"));
    for _ in 0..20 {
        talk.send(format!("b APPEND INBOX{}\r\n", " {20+}\r\nSubject: new\r\n\r\nhi\r\n".repeat(100)));
        assert!(ok(&talk.until("b")));
    }
    let lines = talk.imap("c", "SEARCH BODY nothing TEXT nobody");
    assert!(lines[0].starts_with("* OK [INPROGRESS (\"c\" ") && lines[0].contains(" 2000)] "), "{lines:?}");
    assert!(lines.contains(&"* SEARCH".to_owned()), "{lines:?}");
}
