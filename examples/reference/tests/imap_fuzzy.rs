//! Searches that need not be met to the letter, and commands that deal with some messages at a time, on the running server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::fs;

use common::{PASSWORD, Server, Talk, USER, deliver, inbox};

fn server(more: &str) -> Server {
    let mut server = Server::prepare("allow_plaintext_auth = true");
    let path = server.folder.path().join("mailwright.toml");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{config}\n{more}\n")).unwrap();
    server.add_user(USER, PASSWORD);
    server.serve();
    server
}

fn announces(talk: &mut Talk, name: &str) -> bool {
    talk.imap("cap", "CAPABILITY")[0].split(' ').any(|word| word == name)
}

/// RFC 6203
#[test]
fn searches_find_what_is_nearly_meant() {
    let server = server("");
    for (subject, body) in [
        ("Broken IMAP", "=?utf-8?q?caf=C3=A9?="),
        ("IMAP breaks again", "nothing to see"),
        ("lunch", "Shall we say hello to J\u{e9}r\u{f4}me? The recieved invoice is wrong."),
    ] {
        deliver(&server, USER, &format!("From: ann@example.net\r\nSubject: {subject}\r\n\r\n{body}\r\n"));
    }
    let mut talk = inbox(&server);
    assert!(announces(&mut talk, "SEARCH=FUZZY"));
    for (keys, found) in [
        ("FUZZY SUBJECT \"imap braeks\"", "* SEARCH 2"),
        ("FUZZY SUBJECT \"break imap\"", "* SEARCH 2"),
        ("FUZZY TEXT helo", "* SEARCH 3"),
        ("FUZZY BODY \"received invoices\"", "* SEARCH 3"),
        ("FUZZY BODY jerome", "* SEARCH 3"),
        ("FUZZY SUBJECT helo", "* SEARCH"),
        ("NOT FUZZY SUBJECT imap", "* SEARCH 3"),
        ("FUZZY (SUBJECT imap UNSEEN) FROM ann@example.net", "* SEARCH 1 2"),
    ] {
        assert_eq!(talk.imap("a", &format!("SEARCH {keys}"))[0], found, "{keys}");
    }
    let all = "FUZZY (OR SUBJECT breaks TEXT helo)";
    assert_eq!(
        talk.imap("b", &format!("UID SEARCH RETURN (RELEVANCY ALL) {all}"))[0],
        "* ESEARCH (TAG \"b\") UID ALL 2:3 RELEVANCY (100 75)"
    );
    assert_eq!(
        talk.imap("c", &format!("SORT RETURN (RELEVANCY ALL) (REVERSE RELEVANCY) UTF-8 {all}"))[0],
        "* ESEARCH (TAG \"c\") ALL 3,2 RELEVANCY (75 100)"
    );
    assert_eq!(talk.imap("d", &format!("SORT (RELEVANCY SUBJECT) UTF-8 {all}"))[0], "* SORT 2 3");
    let several = format!("ESEARCH IN (PERSONAL) RETURN (ALL RELEVANCY) {all}");
    let told = talk.imap("e", &several).remove(0);
    assert!(told.ends_with(" UID ALL 2:3 RELEVANCY (100 75)"), "{told}");
    assert!(talk.imap("f", "SORT (RELEVANCY) UTF-8 ALL")[0].starts_with("f BAD "));
    // One that is watched tells of what comes.
    talk.imap("g", "UID SEARCH RETURN (ALL UPDATE) FUZZY SUBJECT lunhc");
    deliver(&server, USER, "Subject: late lunch\r\n\r\nx\r\n");
    let news = talk.imap("h", "NOOP");
    assert!(news.iter().any(|line| line.contains("ADDTO (0 4)")), "{news:?}");
}

/// RFC 9738
#[test]
fn of_too_many_messages_the_newest_are_dealt_with() {
    let server = server("[imap]\nmessage_limit = 2\nsave_limit = 3\n");
    for number in 1..=5 {
        deliver(&server, USER, &format!("Subject: {number}\r\n\r\nx\r\n"));
    }
    let mut talk = inbox(&server);
    assert!(announces(&mut talk, "MESSAGELIMIT=2") && announces(&mut talk, "SAVELIMIT=3"));
    let last = |lines: Vec<String>| lines.last().unwrap().clone();
    let fetched = talk.imap("a", "UID FETCH 1:* (FLAGS)");
    assert_eq!(fetched.len(), 3, "{fetched:?}");
    assert!(fetched[0].starts_with("* 4 FETCH ") && fetched[1].starts_with("* 5 FETCH "), "{fetched:?}");
    assert!(fetched[2].starts_with("a OK [MESSAGELIMIT 2 4] "), "{fetched:?}");
    assert!(last(talk.imap("b", "STORE 1:5 +FLAGS (\\Deleted)")).starts_with("b OK [MESSAGELIMIT 2 4] "));
    assert_eq!(talk.imap("c", "SEARCH DELETED")[0], "* SEARCH 4 5");
    assert!(last(talk.imap("d", "SEARCH ALL")).starts_with("d OK [MESSAGELIMIT 2 4] "));
    assert!(last(talk.imap("e", "SEARCH RETURN (SAVE) ALL")).starts_with("e NO [NOTSAVED] "));
    talk.imap("f", "CREATE there");
    let copied = talk.imap("g", "UID COPY 1:* there");
    assert!(copied[0].starts_with("* OK [COPYUID ") && copied[0].contains(" 4:5 1:2] "), "{copied:?}");
    assert!(copied[1].starts_with("g OK [MESSAGELIMIT 2 4] "), "{copied:?}");
    let moved = talk.imap("h", "UID MOVE 1:* there");
    assert!(last(moved).starts_with("h OK [MESSAGELIMIT 2 4] "));
    // What is left is within the limit, after one more.
    assert!(last(talk.imap("i", "UID EXPUNGE 1:*")).starts_with("i OK [MESSAGELIMIT 2 2] "));
    assert_eq!(talk.imap("j", "UID SEARCH 1:2")[0], "* SEARCH 1 2");
}
