//! More extensions of IMAP on the running server: what is told of other mailboxes, searches with names, quotas, and what is done for
//! clients that are wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::fs;

use common::{PASSWORD, Server, Talk, USER, deliver, imap, inbox, login};

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
    assert_eq!(talk.line(), format!("* LIST (\\NoAccess \\HasNoChildren) \"/\" \"{there}/plans\""));
    append(&mut bob, "plans");
    assert_eq!(talk.imap("j", "NOOP").len(), 1);
    // RFC 5465 §5.9: what was said to be out of reach is not any more, and what happens there is told again.
    for (rights, attributes) in
        [("lr", "\\HasNoChildren"), ("l", "\\NoAccess \\HasNoChildren"), ("lr", "\\HasNoChildren")]
    {
        assert!(ok(&bob.imap("k", &format!("SETACL plans {USER} {rights}"))));
        assert_eq!(talk.line(), format!("* LIST ({attributes}) \"/\" \"{there}/plans\""));
        append(&mut bob, "plans");
        if rights == "lr" {
            assert!(talk.line().starts_with(&format!("* STATUS \"{there}/plans\" (MESSAGES ")));
        }
    }
    // One that is gone is, whoever could see it.
    assert!(ok(&bob.imap("l", &format!("DELETEACL plans {USER}"))));
    assert_eq!(talk.line(), format!("* LIST (\\NoAccess \\HasNoChildren) \"/\" \"{there}/plans\""));
    assert!(ok(&bob.imap("m", "DELETE plans")));
    assert_eq!(talk.imap("n", "NOOP").len(), 1);
    assert!(ok(&bob.imap("o", "CREATE plans")));
    assert!(ok(&bob.imap("p", &format!("SETACL plans {USER} lr"))));
    assert_eq!(talk.line(), format!("* LIST (\\HasNoChildren) \"/\" \"{there}/plans\""));
    assert!(ok(&bob.imap("q", "DELETE plans")));
    assert_eq!(talk.line(), format!("* LIST (\\NonExistent) \"/\" \"{there}/plans\""));
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
    assert_eq!(talk.imap("f", "LANGUAGE")[0], "* LANGUAGE (en de fr es it i-default)");
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
    let server = server("[imap]\ndeleted_to_trash = \"expunge\"\n");
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

/// Where the limit of mailboxes leaves no room for a trash, what is to be expunged goes, and CLOSE leaves the mailbox.
#[test]
fn no_room_for_a_trash_stops_nothing() {
    let server = server("[imap]\ndeleted_to_trash = \"expunge\"\n");
    common::tell(&server, &format!("user quota {USER} --mailboxes 1"));
    for number in 1..=3 {
        deliver(&server, USER, &format!("Subject: {number}\r\n\r\nx\r\n"));
    }
    // And the warning that the mailboxes are as many as may be.
    common::wait_for("the mail", || (common::count(&server) == 4).then_some(()));
    let mut talk = inbox(&server);
    assert!(talk.imap("a", "CREATE Trash")[0].starts_with("a NO [OVERQUOTA]"));
    assert!(ok(&talk.imap("b", "STORE 1:2 +FLAGS.SILENT (\\Deleted)")));
    assert_eq!(talk.imap("c", "UID EXPUNGE 1")[0], "* 1 EXPUNGE");
    assert_eq!(talk.imap("d", "CLOSE").len(), 1);
    assert!(talk.imap("e", "FETCH 1 FLAGS")[0].starts_with("e BAD"));
    assert_eq!(talk.imap("f", "STATUS INBOX (MESSAGES)")[0], "* STATUS INBOX (MESSAGES 2)");
    assert_eq!(talk.imap("g", "LIST \"\" Trash").len(), 1);
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

/// RFC 7377 §2.2, RFC 4314: others' mailboxes are searched where that is allowed, and called as the client calls them.
#[test]
fn others_mailboxes_are_searched() {
    let server = server("");
    let mut bob = login(&server, BOB);
    for (name, rights) in [("plans", "lr"), ("hidden", "r"), ("listed", "l"), ("closed", "")] {
        assert!(ok(&bob.imap("a", &format!("CREATE {name}"))));
        append(&mut bob, name);
        if !rights.is_empty() {
            assert!(ok(&bob.imap("a", &format!("SETACL {name} {USER} {rights}"))));
        }
    }
    let mut talk = login(&server, USER);
    assert!(ok(&talk.imap("a", "CREATE plans")));
    append(&mut talk, "plans");
    let there = format!("Other Users/{BOB}");
    let found = |talk: &mut Talk, sources: &str| {
        let lines = talk.imap("s", &format!("ESEARCH IN ({sources}) RETURN (COUNT) SUBJECT new"));
        assert!(ok(&lines), "{lines:?}");
        let name = |line: &String| {
            let (_, rest) = line.split_once(" MAILBOX ")?;
            Some(rest.split_once(" UIDVALIDITY").unwrap().0.trim_matches('"').to_owned())
        };
        lines.iter().filter_map(name).collect::<Vec<_>>()
    };
    let plans = format!("{there}/plans");
    let below = format!("subtree \"{there}\"");
    assert_eq!(found(&mut talk, &below), [plans.as_str()]);
    assert_eq!(found(&mut talk, "subtree \"Other Users\" personal"), [plans.as_str(), "plans"]);
    assert_eq!(found(&mut talk, "personal"), ["plans"]);
    let all = ["plans", "hidden", "listed", "closed", "none"].map(|name| format!("\"{there}/{name}\""));
    assert_eq!(
        found(&mut talk, &format!("mailboxes ({})", all.join(" "))),
        [format!("{there}/hidden"), plans.clone()]
    );
    assert!(ok(&talk.imap("b", &format!("SUBSCRIBE \"{plans}\""))));
    assert_eq!(found(&mut talk, "subscribed"), [plans.as_str()]);
    // What is open is found once, and is not the user's own of the same name.
    assert!(ok(&talk.imap("c", &format!("SELECT \"{plans}\""))));
    assert_eq!(found(&mut talk, "selected"), [plans.as_str()]);
    assert_eq!(found(&mut talk, "selected personal"), [plans.as_str(), "plans"]);
    assert_eq!(found(&mut talk, &format!("selected {below}")), [plans.as_str()]);
    assert!(ok(&bob.imap("d", &format!("DELETEACL plans {USER}"))));
    assert_eq!(found(&mut talk, &below), [""; 0]);
}

/// RFC 6154 §3: a mailbox is made with all of its uses, or not at all.
#[test]
fn mailboxes_are_made_for_what_they_can_be_used_for() {
    let server = server("");
    let mut talk = login(&server, USER);
    for uses in ["\\All", "\\Flagged", "\\Important", "\\Drafts \\Sent", "\\Sent \\All", "\\X-Moon"] {
        let lines = talk.imap("a", &format!("CREATE special (USE ({uses}))"));
        assert!(lines[0].starts_with("a NO [USEATTR] "), "{uses}: {lines:?}");
        assert!(talk.imap("b", "STATUS special (MESSAGES)")[0].starts_with("b NO [NONEXISTENT] "), "{uses}");
    }
    assert!(ok(&talk.imap("c", "CREATE plain (USE ())")));
    assert!(ok(&talk.imap("d", "CREATE drafts (USE (\\Drafts \\Drafts))")));
    assert_eq!(
        talk.imap("e", "LIST (SPECIAL-USE) \"\" *")[0],
        "* LIST (\\HasNoChildren \\Drafts) \"/\" drafts"
    );
}

/// RFC 5465 §3.1: of what may be listed and not read nothing is told, and that is said.
#[test]
fn mailboxes_that_may_not_be_read_are_named() {
    let server = server("");
    let mut bob = login(&server, BOB);
    for (name, rights) in [("open", "lr"), ("listed", "l"), ("hidden", "r"), ("closed", "")] {
        assert!(ok(&bob.imap("a", &format!("CREATE {name}"))));
        if !rights.is_empty() {
            assert!(ok(&bob.imap("a", &format!("SETACL {name} {USER} {rights}"))));
        }
    }
    let mut talk = login(&server, USER);
    let there = format!("Other Users/{BOB}");
    let told = format!("* LIST (\\NoAccess \\HasNoChildren) \"/\" \"{there}/listed\"");
    let names = ["open", "listed", "hidden", "closed", "none"].map(|name| format!("\"{there}/{name}\""));
    let events = "(MessageNew MessageExpunge)";
    let set = format!("NOTIFY SET (mailboxes ({}) {events})", names.join(" "));
    assert_eq!(talk.imap("b", &set), [told.as_str(), "b OK NOTIFY completed"]);
    let set = format!("NOTIFY SET (subtree \"{there}\" {events})");
    assert_eq!(talk.imap("c", &set), [told.as_str(), "c OK NOTIFY completed"]);
    assert_eq!(talk.imap("d", &format!("NOTIFY SET (subtree \"{there}\" NONE)")), ["d OK NOTIFY completed"]);
    assert_eq!(talk.imap("e", &format!("NOTIFY SET (personal {events})")), ["e OK NOTIFY completed"]);
}

/// RFC 4314 §4: of the flags that a STORE names, those are changed that may be.
#[test]
fn flags_are_stored_as_far_as_is_allowed() {
    let server = server("");
    let mut bob = login(&server, BOB);
    assert!(ok(&bob.imap("a", "CREATE plans")));
    append(&mut bob, "plans");
    assert!(ok(&bob.imap("a", "SELECT plans")));
    assert!(ok(&bob.imap("a", "STORE 1 FLAGS (\\Flagged \\Deleted work)")));
    assert!(ok(&bob.imap("a", &format!("SETACL plans {USER} lrs"))));
    let mut talk = login(&server, USER);
    assert!(ok(&talk.imap("b", &format!("SELECT \"Other Users/{BOB}/plans\""))));
    let flags = |talk: &mut Talk, command: &str| {
        let lines = talk.imap("c", command);
        assert!(ok(&lines), "{command}: {lines:?}");
        let lines = talk.imap("d", "FETCH 1 FLAGS");
        let (_, flags) = lines[0].split_once("(FLAGS (").unwrap();
        let mut flags: Vec<String> = flags.trim_end_matches(')').split(' ').map(Into::into).collect();
        flags.retain(|flag| flag != "\\Recent");
        flags.sort();
        flags.join(" ")
    };
    assert_eq!(flags(&mut talk, "STORE 1 FLAGS (\\Seen \\Answered)"), "\\Deleted \\Flagged \\Seen work");
    assert_eq!(flags(&mut talk, "STORE 1 FLAGS.SILENT ()"), "\\Deleted \\Flagged work");
    assert!(!ok(&talk.imap("e", "STORE 1 FLAGS (\\Answered)")));
    assert!(ok(&bob.imap("f", &format!("SETACL plans {USER} lrw"))));
    assert_eq!(flags(&mut talk, "STORE 1 FLAGS (\\Seen play)"), "\\Deleted play");
    // RFC 7162 §3.1.3 goes before it.
    let lines = talk.imap("g", "STORE 1 (UNCHANGEDSINCE 1) FLAGS (\\Draft)");
    assert!(lines.last().unwrap().starts_with("g OK [MODIFIED 1]"), "{lines:?}");
    assert_eq!(flags(&mut talk, "NOOP"), "\\Deleted play");
}

/// Clients that mark messages as deleted and never expunge them: the messages go where deleted ones are looked for.
#[test]
fn what_is_marked_as_deleted_goes_to_the_trash() {
    let server = server(&format!(
        "[imap.users.\"{ROOT}\"]\ndeleted_to_trash = \"store\"\n[imap.workarounds]\nOutlook = [\"deleted-to-trash\"]\n"
    ));
    let marks = |talk: &mut Talk| {
        for _ in 0..3 {
            append(talk, "INBOX");
        }
        assert!(ok(&talk.imap("a", "SELECT INBOX")));
        let lines = talk.imap("b", "STORE 1,3 +FLAGS (\\Deleted)");
        assert!(lines[0].starts_with("* 1 FETCH (FLAGS (\\Deleted"), "{lines:?}");
        assert!(ok(&lines) && !lines.iter().any(|line| line.ends_with("EXPUNGE")), "{lines:?}");
        talk.imap("c", "NOOP")
    };
    let mut talk = login(&server, USER);
    assert!(ok(&talk.imap("a", "ID (\"name\" \"Microsoft Outlook\")")));
    assert_eq!(marks(&mut talk)[..2], ["* 3 EXPUNGE", "* 1 EXPUNGE"]);
    assert!(ok(&talk.imap("d", "SELECT Trash")));
    assert!(talk.imap("e", "FETCH 1:* FLAGS").iter().all(|line| !line.contains("Deleted")));
    // There it is only marked.
    assert!(ok(&talk.imap("f", "STORE 1 +FLAGS.SILENT (\\Deleted)")));
    assert_eq!(talk.imap("g", "STATUS Trash (MESSAGES DELETED)")[0], "* STATUS Trash (MESSAGES 2 DELETED 1)");
    // Who has chosen it, with any client; and nobody else.
    assert_eq!(marks(&mut login(&server, ROOT))[..2], ["* 3 EXPUNGE", "* 1 EXPUNGE"]);
    assert_eq!(marks(&mut login(&server, BOB)), ["c OK NOOP completed"]);
}

/// RFC 5465 §5.2: what comes into a mailbox right when it was made is new there; what has a new name is not.
#[test]
fn mail_in_mailboxes_just_made_is_told_of() {
    let server = server("");
    let (mut other, mut talk) = (inbox(&server), imap(&server));
    assert!(ok(&talk.imap("a", "NOTIFY SET (personal (MessageNew MessageExpunge MailboxName))")));
    for round in 1..=20 {
        let append = format!("b APPEND made{round} {{20+}}\r\nSubject: new\r\n\r\nhi\r\n\r\n");
        other.send(format!("a CREATE made{round}\r\n{append}"));
        assert!(ok(&other.until("b")));
        let told = format!("* STATUS made{round} (MESSAGES 1 ");
        while !talk.line().starts_with(&told) {}
    }
    assert!(ok(&other.imap("c", "RENAME made1 other1")));
    assert!(talk.line().contains("\"OLDNAME\" (made1)"));
    assert_eq!(talk.imap("d", "NOOP"), ["d OK NOOP completed"]);
}
