//! URLs that let others read a part of a message, and messages that are sent from such parts: URLAUTH and BURL on the running server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{PASSWORD, Server, Talk, USER, deliver, inbox, login};

const BOB: &str = "bob@example.org";

fn server() -> Server {
    let mut server = Server::prepare("allow_plaintext_auth = true");
    for user in [USER, BOB] {
        server.add_user(user, PASSWORD);
    }
    server.serve();
    server
}

fn ok(lines: &[String]) -> bool {
    lines.last().unwrap().split(' ').nth(1) == Some("OK")
}

/// The URL with its token.
fn authorized(talk: &mut Talk, url: &str) -> String {
    let lines = talk.imap("g", &format!("GENURLAUTH \"{url}\" INTERNAL"));
    let whole = lines[0].strip_prefix("* GENURLAUTH \"").unwrap_or_else(|| panic!("{lines:?}"));
    whole.strip_suffix('"').unwrap().to_owned()
}

fn url(rest: &str) -> String {
    format!("imap://{}@mail.example.org/INBOX/;uid=1{rest}", USER.replace('@', "%40"))
}

const MESSAGE: &str = "Subject: pictures\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n\
Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC/w==\r\n--b--\r\n";

#[test]
fn parts_are_read_by_those_they_were_given_to() {
    let server = server();
    deliver(&server, USER, MESSAGE);
    let mut talk = inbox(&server);
    let capability = talk.imap("a", "CAPABILITY").remove(0);
    for name in ["URLAUTH", "URLAUTH=BINARY", "URL-PARTIAL"] {
        assert!(capability.split(' ').any(|word| word == name), "{name}: {capability}");
    }
    let for_bob = authorized(&mut talk, &url("/;section=1;urlauth=user+bob@example.org"));
    let for_all = authorized(&mut talk, &url("/;section=2;urlauth=authuser"));
    let part = authorized(&mut talk, &url("/;section=1;partial=1.3;urlauth=anonymous"));
    let ended = authorized(&mut talk, &url("/;section=1;expire=2001-01-01T00:00:00Z;urlauth=authuser"));
    let sent = authorized(&mut talk, &url("/;section=1;urlauth=submit+bob@example.org"));
    let nothing = authorized(&mut talk, &url("/;section=7;urlauth=authuser"));
    assert!(for_bob.contains(":internal:"), "{for_bob}");

    let mut bob = login(&server, BOB);
    assert_eq!(
        bob.imap("b", &format!("URLFETCH \"{for_bob}\""))[..2],
        [format!("* URLFETCH \"{for_bob}\" {{5}}"), "hello".into()]
    );
    assert_eq!(bob.imap("c", &format!("URLFETCH \"{part}\""))[1], "ell");
    let lines = bob.imap("d", &format!("URLFETCH (\"{for_all}\" BODYPARTSTRUCTURE BODY)"));
    assert_eq!(
        lines[0],
        format!(
            "* URLFETCH \"{for_all}\" (BODYPARTSTRUCTURE (\"image\" \"png\" NIL NIL NIL \"base64\" 8 NIL NIL NIL NIL)) (BODY {{8}}"
        )
    );
    assert_eq!(lines[1], "AAEC/w==)");
    bob.send(format!("e URLFETCH (\"{for_all}\" BINARY)\r\n"));
    assert_eq!(bob.line(), format!("* URLFETCH \"{for_all}\" (BINARY ~{{4}}"));
    let mut octets = [0; 7];
    std::io::Read::read_exact(&mut bob.stream, &mut octets).unwrap();
    assert_eq!(&octets, b"\0\x01\x02\xff)\r\n");
    assert!(ok(&bob.until("e")));
    // Not for her, not any more, not for reading, not there, not as it was given out.
    let other = format!("{}0", &for_bob[..for_bob.len() - 1]);
    let forged = if other == for_bob { format!("{}1", &for_bob[..for_bob.len() - 1]) } else { other };
    for url in [&ended, &sent, &nothing, &forged, &for_bob.replace("section=1", "section=2")] {
        assert_eq!(bob.imap("f", &format!("URLFETCH \"{url}\""))[0], format!("* URLFETCH \"{url}\" NIL"));
    }
    assert_eq!(
        talk.imap("g", &format!("URLFETCH \"{for_bob}\""))[0],
        format!("* URLFETCH \"{for_bob}\" NIL")
    );
    // A URL of another server is not given a token (RFC 4467 §7); a port, or another case, makes none of it.
    let far = url(";urlauth=authuser").replace("mail.example.org", "mail.example.net");
    assert!(!ok(&talk.imap("h", &format!("GENURLAUTH \"{far}\" INTERNAL"))));
    let near = url(";urlauth=authuser").replace("mail.example.org", "Mail.Example.org:143");
    assert!(ok(&talk.imap("h", &format!("GENURLAUTH \"{near}\" INTERNAL"))));
    // Nobody gives out what is another's, and nobody sees the key.
    assert!(!ok(&bob.imap("h", &format!("GENURLAUTH \"{}\" INTERNAL", url(";urlauth=authuser")))));
    let notes = talk.imap("i", "GETMETADATA INBOX (DEPTH infinity) /private");
    assert!(!notes.concat().contains("url-key"), "{notes:?}");
    assert!(!ok(&talk.imap("j", "SETMETADATA INBOX (/private/vendor/mailwright/server/url-key NIL)")));
    // All of them end at once.
    assert_eq!(talk.imap("k", "RESETKEY INBOX INTERNAL"), ["k OK [URLMECH INTERNAL] RESETKEY completed"]);
    assert_eq!(bob.imap("l", &format!("URLFETCH \"{for_bob}\""))[0], format!("* URLFETCH \"{for_bob}\" NIL"));
    let again = authorized(&mut talk, &url("/;section=1;urlauth=user+bob@example.org"));
    assert_ne!(again, for_bob);
    assert_eq!(bob.imap("m", &format!("URLFETCH \"{again}\""))[1], "hello");
}

#[test]
fn messages_are_sent_from_parts_of_others() {
    let server = server();
    deliver(&server, USER, MESSAGE);
    deliver(&server, USER, "Subject: bare\r\n\r\nx\r\n");
    let mut talk = inbox(&server);
    let mine = authorized(&mut talk, &url(";urlauth=submit+alice@example.org"));
    let bobs = authorized(&mut talk, &url(";urlauth=submit+bob@example.org"));
    talk.send("x APPEND INBOX {14+}\r\nA: b\r\n\r\nline\nx\r\n");
    let lines = talk.until("x");
    assert!(ok(&lines), "{lines:?}");
    let bare = authorized(&mut talk, &url(";urlauth=submit+alice@example.org").replace("uid=1", "uid=3"));

    let mut smtp = server.talk(server.port("submission", "starttls"));
    assert!(smtp.reply().starts_with("220 "));
    assert!(!smtp.smtp("EHLO client.example").contains("BURL"));
    assert!(smtp.smtp("BURL imap://x LAST").starts_with("530 "));
    // NUL alice@example.org NUL correct-horse-7
    assert!(smtp.smtp("AUTH PLAIN AGFsaWNlQGV4YW1wbGUub3JnAGNvcnJlY3QtaG9yc2UtNw==").starts_with("235 "));
    let capabilities = smtp.smtp("EHLO client.example");
    assert!(capabilities.contains("BURL imap imap://mail.example.org"), "{capabilities}");
    let begin = |smtp: &mut Talk| {
        assert!(smtp.smtp(&format!("MAIL FROM:<{USER}>")).starts_with("250 "));
        assert!(smtp.smtp(&format!("RCPT TO:<{BOB}>")).starts_with("250 "));
    };
    begin(&mut smtp);
    smtp.send("BDAT 21\r\nX-Forwarded-By: me\r\n\r\n".replace("me\r\n\r\n", "me!\r\n"));
    assert!(smtp.reply().starts_with("250 "));
    let reply = smtp.smtp(&format!("BURL {mine} LAST"));
    assert!(reply.starts_with("250 2.0.0 Ok: queued as "), "{reply}");
    for (url, code) in
        [(&bobs, "554 5.7.0 "), (&bare, "550 5.6.0 "), (&mine.replace("uid=1", "uid=9"), "554 5.7.0 ")]
    {
        begin(&mut smtp);
        let reply = smtp.smtp(&format!("BURL {url} LAST"));
        assert!(reply.starts_with(code), "{url}: {reply}");
        smtp.smtp("RSET");
    }
    begin(&mut smtp);
    let reply = smtp.smtp(&format!("BURL {mine} LAST"));
    assert!(reply.starts_with("250 2.0.0 Ok: queued as "), "{reply}");

    let mut bob = login(&server, BOB);
    let mut count = String::new();
    common::wait_for("both messages", || {
        count = bob.imap("s", "STATUS INBOX (MESSAGES)")[0].clone();
        (count == "* STATUS INBOX (MESSAGES 2)").then_some(())
    });
    assert!(ok(&bob.imap("a", "SELECT INBOX")));
    let lines = bob.imap("b", "FETCH 1 BODY.PEEK[]");
    assert!(
        lines.iter().any(|line| line == "X-Forwarded-By: me!") && lines.iter().any(|line| line == "AAEC/w=="),
        "{lines:?}"
    );
}

// RFC 1870 §6.3
#[test]
fn parts_of_both_kinds_make_one_message_that_may_be_so_large() {
    let mut server = Server::prepare("allow_plaintext_auth = true");
    let path = server.folder.path().join("mailwright.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config.replace("[limits]\n", "[limits]\nmessage_size = 65536\n")).unwrap();
    server.add_user(USER, PASSWORD);
    server.serve();
    deliver(&server, USER, &format!("Subject: large\r\n\r\n{}", "0123456789abcd\r\n".repeat(2_500)));
    let mine = authorized(&mut inbox(&server), &url(";urlauth=submit+alice@example.org"));
    let mut smtp = server.talk(server.port("submission", "starttls"));
    smtp.reply();
    smtp.smtp("EHLO client.example");
    assert!(smtp.smtp("AUTH PLAIN AGFsaWNlQGV4YW1wbGUub3JnAGNvcnJlY3QtaG9yc2UtNw==").starts_with("235 "));
    let begin = |smtp: &mut Talk| {
        smtp.smtp("RSET");
        assert!(smtp.smtp(&format!("MAIL FROM:<{USER}>")).starts_with("250 "));
        assert!(smtp.smtp(&format!("RCPT TO:<{USER}>")).starts_with("250 "));
    };
    let large = "y".repeat(58) + "\r\n";
    let large = large.repeat(600);
    begin(&mut smtp);
    assert!(smtp.smtp(&format!("BURL {mine}")).starts_with("250 "));
    smtp.send(format!("BDAT {} LAST\r\n{large}", large.len()));
    let told = smtp.reply();
    assert!(told.starts_with("552 5.3.4 "), "{told}");
    begin(&mut smtp);
    smtp.send(format!("BDAT {}\r\nSubject: x\r\n\r\n{large}", large.len() + 14));
    assert!(smtp.reply().starts_with("250 "));
    let told = smtp.smtp(&format!("BURL {mine} LAST"));
    assert!(told.starts_with("552 5.3.4 "), "{told}");
    // Each of them alone is none too large.
    begin(&mut smtp);
    let told = smtp.smtp(&format!("BURL {mine} LAST"));
    assert!(told.starts_with("250 "), "{told}");
}
