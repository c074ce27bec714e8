//! SMTP's extensions against the running server: parts of known length, proxies, addresses beyond ASCII, and what
//! must not come in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::process::Command;

use common::{PASSWORD, Server, Talk, USER, count, deliver, have, inbox, succeed, tell};

const PLAINTEXT: &str = "allow_plaintext_auth = true\n";

fn begin(server: &Server) -> Talk {
    let mut talk = server.talk(server.port("smtp", "starttls"));
    assert!(talk.reply().starts_with("220 "));
    assert!(talk.smtp("EHLO client.example").starts_with("250"));
    talk
}

fn address(talk: &mut Talk) {
    assert_eq!(talk.smtp("MAIL FROM:<bob@example.net>"), "250 2.1.0 Ok");
    assert_eq!(talk.smtp(&format!("RCPT TO:<{USER}>")), "250 2.1.5 Ok");
}

#[test]
fn parts_of_a_message_are_content() {
    let server = Server::start(PLAINTEXT);
    let mut talk = begin(&server);
    address(&mut talk);
    let smuggled =
        "one\r\n.\r\nMAIL FROM:<evil@example.net>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\nx\r\n.\r\n";
    talk.send(format!("BDAT 16\r\nSubject: x\r\n\r\n..BDAT {} LAST\r\n{smuggled}", smuggled.len()));
    assert_eq!(talk.reply(), "250 2.0.0 Ok: part received");
    assert!(talk.reply().starts_with("250 2.0.0 Ok: queued as "));
    assert_eq!(talk.smtp("NOOP"), "250 2.0.0 Ok");
    assert_eq!(count(&server), 1);
    let text = inbox(&server).imap("fetch", "FETCH 1 BODY.PEEK[TEXT]");
    assert!(text.iter().any(|line| line == "..one") && text.iter().any(|line| line == "."), "{text:?}");

    // Refused parts are thrown away; where nobody knows how long they are, the connection is.
    address(&mut talk);
    talk.send("BDAT 99999999999999999999999 LAST\r\nMAIL FROM:<evil@example.net>\r\n");
    assert_eq!(talk.reply(), "501 5.5.4 Syntax: BDAT octets [LAST]");
    assert!(talk.at_end());
    let mut talk = begin(&server);
    let group = format!("MAIL FROM:<a@example.net>\r\nRCPT TO:<{USER}>\r\nDATA\r\nx\r\n.\r\n");
    talk.send(format!("BDAT {} LAST\r\n{group}NOOP\r\n", group.len()));
    assert!(talk.reply().starts_with("503 "));
    assert_eq!(talk.reply(), "250 2.0.0 Ok");
    assert_eq!(count(&server), 1);
}

#[test]
fn a_message_without_a_header_is_its_text() {
    let server = Server::start(PLAINTEXT);
    for text in ["What is this?\r\nA letter.\r\n", " indented: more\r\n"] {
        deliver(&server, USER, text);
    }
    let mut talk = inbox(&server);
    let seen =
        talk.imap("fetch", "FETCH 1:2 (BODY.PEEK[TEXT] BODY.PEEK[HEADER.FIELDS (RECEIVED)])").join("\n");
    assert!(seen.contains("What is this?\nA letter.\n") && seen.contains("\n indented: more\n"), "{seen}");
    assert_eq!(talk.imap("search", "SEARCH BODY letter")[0], "* SEARCH 1");
    assert_eq!(talk.imap("search", "SEARCH HEADER RECEIVED indented")[0], "* SEARCH");
}

#[test]
fn nothing_else_ends_a_message() {
    let server = Server::start(PLAINTEXT);
    let second = "MAIL FROM:<evil@example.net>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\nsmuggled\r\n";
    let forged = [
        "\n.\n",
        "\r.\r",
        "\n.\r\n",
        "\r\n.\n",
        "\r\n.\r",
        "\r\n\0.\r\n",
        "\r\n.\0\r\n",
        "\r\n.\r\r\n",
        "\r\n .\r\n",
    ];
    let mut taken = 0;
    for end in forged {
        let mut talk = begin(&server);
        address(&mut talk);
        assert!(talk.smtp("DATA").starts_with("354 "));
        talk.send(format!("Subject: x\r\n\r\none{end}{second}.\r\nQUIT\r\n"));
        let verdict = talk.reply();
        assert_eq!(talk.reply(), "221 2.0.0 Bye", "{end:?}: {verdict}");
        assert!(talk.at_end());
        taken += usize::from(verdict.starts_with("250 "));
        assert_eq!(count(&server), taken, "{end:?}: {verdict}");
    }
    // Pipelined behind STARTTLS, and before the greeting: nothing of it has an effect.
    let mut talk = begin(&server);
    talk.send(format!("STARTTLS\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<{USER}>\r\nDATA\r\nx\r\n.\r\n"));
    assert!(talk.reply().starts_with("554 5.7.0"));
    assert!(talk.at_end());
    let mut early = server.talk(server.port("smtp", "starttls"));
    early.send("NOOP\r\nQUIT\r\n");
    assert!(early.reply().starts_with("220 "), "the greeting comes first");
    assert_eq!(count(&server), taken);
}

#[test]
fn results_of_authentication_from_strangers_are_taken_out() {
    let server = Server::start(PLAINTEXT);
    deliver(
        &server,
        USER,
        "Authentication-Results: mail.example.org; dkim=pass\r\n\theader.d=bank.example\r\n\
         Authentication-Results: other.example; none\r\nSubject: x\r\n\r\nbody\r\n",
    );
    let header = inbox(&server).imap("fetch", "FETCH 1 BODY.PEEK[HEADER]").join("\n");
    assert!(!header.contains("bank.example"), "{header}");
    assert!(
        header.contains("Authentication-Results: other.example") && header.contains("Subject: x"),
        "{header}"
    );
}

#[test]
fn proxies_are_believed_where_they_are_named() {
    let stranger = Server::start("");
    let mut talk = stranger.talk(stranger.port("smtp", "starttls"));
    talk.reply();
    let announced = talk.smtp("EHLO proxy.example");
    assert!(!announced.contains("XCLIENT") && !announced.contains("XFORWARD"), "{announced}");
    assert!(talk.smtp("XCLIENT ADDR=192.0.2.1").starts_with("502 "));

    let server =
        Server::start(&format!("{PLAINTEXT}smtp.xclient = [\"127.0.0.0/8\"]\nsmtp.vrfy = \"ask\"\n"));
    let mut talk = server.talk(server.port("smtp", "starttls"));
    talk.reply();
    let announced = talk.smtp("EHLO proxy.example");
    assert!(announced.contains("XCLIENT NAME ADDR") && announced.contains("VRFY"), "{announced}");
    assert!(talk.smtp("XCLIENT ADDR=192.0.2.77 NAME=client.example").starts_with("220 "));
    assert!(talk.smtp("EHLO client.example").starts_with("250"));
    assert_eq!(talk.smtp(&format!("VRFY {USER}")), format!("250 2.1.5 <{USER}>"));
    assert!(talk.smtp("VRFY nobody@example.org").starts_with("550 5.1.1"));
    assert!(talk.smtp("VRFY somebody@example.com").starts_with("554 5.7.1"));
    // RFC 5321 §3.5.3: what is elsewhere was not verified, though it would be taken from this user; a name here is one, wherever it leads.
    tell(&server, "alias add fw@example.org somebody@example.com");
    let mut users = server.talk(server.port("submission", "starttls"));
    users.reply();
    users.smtp("EHLO client.example");
    assert!(users.smtp(AUTH).starts_with("235 "));
    assert!(users.smtp("VRFY somebody@example.com").starts_with("252 "));
    assert_eq!(users.smtp("VRFY fw@example.org"), "250 2.1.5 <fw@example.org>");
    address(&mut talk);
    talk.send("BDAT 14 LAST\r\nSubject: x\r\n\r\n");
    assert!(talk.reply().starts_with("250 2.0.0 Ok: queued as "));
    let header = inbox(&server).imap("fetch", "FETCH 1 BODY.PEEK[HEADER]").join("\n");
    assert!(header.contains("from client.example ([192.0.2.77])"), "{header}");
}

/// AUTH PLAIN as alice@example.org.
const AUTH: &str = "AUTH PLAIN AGFsaWNlQGV4YW1wbGUub3JnAGNvcnJlY3QtaG9yc2UtNw==";

// RFC 3207 §4.2
#[test]
fn a_login_in_the_clear_does_not_count_behind_starttls() {
    if !have("python3") {
        return;
    }
    let mut server = Server::prepare(PLAINTEXT);
    let path = server.folder.path().join("mailwright.toml");
    // Where strangers come as well, so that nobody has to log in.
    let listener = "protocol = \"smtp\"\naddress = \"127.0.0.1:0\"\ntls = \"starttls\"\n";
    let config =
        std::fs::read_to_string(&path).unwrap().replace(listener, &format!("{listener}auth = true\n"));
    std::fs::write(&path, config).unwrap();
    server.add_user(USER, PASSWORD);
    server.serve();
    let script = format!(
        "import smtplib, ssl\n\
         def passes(c):\n\
        \x20   said = c.mail('{USER}')[0], c.rcpt('far@elsewhere.example')[0]; c.rset(); return said == (250, 250)\n\
         c = smtplib.SMTP('127.0.0.1', {port}); c.ehlo()\n\
         assert not passes(c)\n\
         assert c.docmd('{AUTH}')[0] == 235 and passes(c)\n\
         c.starttls(context=ssl._create_unverified_context()); c.ehlo()\n\
         assert not passes(c)\n\
         assert c.docmd('{AUTH}')[0] == 235 and passes(c)\n",
        port = server.port("smtp", "starttls"),
    );
    succeed(Command::new("python3").args(["-c", &script]));
}

#[test]
fn a_proxy_names_accounts_that_there_are() {
    let server = Server::start(&format!("{PLAINTEXT}smtp.xclient = [\"127.0.0.0/8\"]\n"));
    let login = |name: &str| {
        let mut talk = server.talk(server.port("smtp", "starttls"));
        talk.reply();
        talk.smtp("EHLO proxy.example");
        let told = talk.smtp(&format!("XCLIENT ADDR=192.0.2.77 LOGIN={name}"));
        (talk, told)
    };
    for name in ["alice", "nobody@example.org", "x"] {
        let (mut talk, told) = login(name);
        assert!(told.starts_with("550 5.7.1 "), "{name}: {told}");
        // It is the proxy still.
        assert!(talk.smtp("XCLIENT ADDR=192.0.2.77").starts_with("220 "));
        talk.smtp("EHLO client.example");
        talk.smtp("MAIL FROM:<>");
        assert!(talk.smtp("RCPT TO:<far@elsewhere.example>").starts_with("554 "), "{name}");
    }
    // However it is written, it is the account, with what that may do and no more.
    for name in [USER, "Alice@EXAMPLE.org"] {
        let (mut talk, told) = login(name);
        assert!(told.starts_with("220 "), "{name}: {told}");
        talk.smtp("EHLO client.example");
        assert!(talk.smtp("MAIL FROM:<other@example.org>").starts_with("553 "), "{name}");
        assert_eq!(talk.smtp(&format!("MAIL FROM:<{USER}>")), "250 2.1.0 Ok", "{name}");
        assert_eq!(talk.smtp("RCPT TO:<far@elsewhere.example>"), "250 2.1.5 Ok", "{name}");
    }
    // It has a place among the account's sessions, and ends with them.
    let (mut talk, _) = login(USER);
    talk.smtp("EHLO client.example");
    tell(&server, &format!("user remove {USER}"));
    let told = talk.reply();
    assert!(told.starts_with("421 "), "{told}");
}

#[test]
fn smtplib_sends_in_every_way() {
    if !have("python3") {
        return;
    }
    let server = Server::start(PLAINTEXT);
    let script = format!(
        "import smtplib, ssl, email.message, email.policy\n\
         context = ssl._create_unverified_context()\n\
         message = email.message.EmailMessage(policy=email.policy.SMTPUTF8)\n\
         message['From'] = 'jürgen@example.net'; message['To'] = '{USER}'; message['Subject'] = 'Grüße'\n\
         message.set_content('Grüße\\n.\\n', cte='8bit')\n\
         with smtplib.SMTP('127.0.0.1', {smtp}) as c:\n\
        \x20   c.send_message(message); assert c.does_esmtp and c.has_extn('chunking')\n\
        \x20   c.starttls(context=context)\n\
        \x20   c.sendmail('a@example.net', ['{USER}'], 'Subject: é\\r\\n\\r\\né\\r\\n'.encode(), mail_options=['BODY=8BITMIME'])\n\
        \x20   try:\n\
        \x20       c.sendmail('a@example.net', ['x@example.org', 'y@example.com'], 'x'); assert False\n\
        \x20   except smtplib.SMTPRecipientsRefused as e:\n\
        \x20       assert sorted(code for code, _ in e.recipients.values()) == [550, 554], e.recipients\n\
         with smtplib.SMTP('127.0.0.1', {submission}) as c:\n\
        \x20   c.starttls(context=context); c.login('{USER}', '{PASSWORD}'); c.sendmail('{USER}', ['{USER}'], 'x')\n\
         with smtplib.SMTP_SSL('127.0.0.1', {implicit}, context=context) as c:\n\
        \x20   c.login('{USER}', '{PASSWORD}'); c.sendmail('{USER}', ['{USER}'], 'x')\n",
        smtp = server.port("smtp", "starttls"),
        submission = server.port("submission", "starttls"),
        implicit = server.port("submission", "implicit"),
    );
    succeed(Command::new("python3").args(["-c", &script]));
    assert_eq!(count(&server), 4);
}

#[test]
fn a_full_member_keeps_nobody_from_the_mail_of_a_group() {
    let server = Server::start(PLAINTEXT);
    for name in ["bob@example.org", "carol@example.org"] {
        server.add_user(name, PASSWORD);
    }
    tell(&server, "group add team@example.org bob@example.org carol@example.org");
    tell(&server, "user quota bob@example.org --messages 1");
    let mail = |name: &str| {
        let mut talk = server.talk(server.port("imap", "starttls"));
        talk.line();
        talk.imap("a", &format!("LOGIN {name} {PASSWORD}"));
        talk.imap("b", "SELECT INBOX");
        talk.imap("c", "FETCH 1:* BODY.PEEK[]").join("\n")
    };
    let send = |to: &[&str]| {
        let mut talk = begin(&server);
        assert!(talk.smtp(&format!("MAIL FROM:<{USER}>")).starts_with("250"));
        let replies: Vec<_> = to.iter().map(|to| talk.smtp(&format!("RCPT TO:<{to}>"))).collect();
        assert!(talk.smtp("DATA").starts_with("354"));
        talk.send("Subject: to the team\r\n\r\nhello\r\n");
        (replies, talk.smtp("."))
    };
    let team = "team@example.org";
    assert!(send(&[team]).1.starts_with("250 "));
    // Bob is full now. Whoever writes to him alone is told at once; whoever writes to the team, by a report.
    let (replies, end) = send(&["bob@example.org", team]);
    assert!(replies[0].starts_with("552 5.2.2") && replies[1].starts_with("250 "), "{replies:?}");
    assert!(end.starts_with("250 "), "{end}");
    let report = common::wait_for("the report", || {
        let mail = mail(USER);
        mail.contains("Action: failed").then_some(mail)
    });
    for line in [
        "Original-Recipient: rfc822; team@example.org",
        "Final-Recipient: rfc822; bob@example.org",
        "Status: 5.2.2",
        "The mailbox is full",
        "Subject: to the team",
    ] {
        assert!(report.contains(line), "{line} is missing in {report}");
    }
    assert!(!report.contains("carol@example.org"), "{report}");
    assert_eq!(mail("carol@example.org").matches("Subject: to the team").count(), 2);
    assert_eq!(mail("bob@example.org").matches("Subject: to the team").count(), 1);
    // Where every member is full, the sender is refused and hears nothing else.
    tell(&server, "user quota carol@example.org --messages 2");
    let mut talk = begin(&server);
    assert!(talk.smtp(&format!("MAIL FROM:<{USER}>")).starts_with("250"));
    assert!(talk.smtp(&format!("RCPT TO:<{team}>")).starts_with("552 5.2.2"));
    assert_eq!(count(&server), 1);
}

#[test]
fn lmtp_has_a_reply_and_a_report_for_each_recipient() {
    let server = Server::start(PLAINTEXT);
    for name in ["bob@example.org", "full@example.org"] {
        server.add_user(name, PASSWORD);
    }
    tell(&server, "user quota full@example.org --messages 1");
    let start = || {
        let mut talk = server.talk(server.port("lmtp", "none"));
        assert!(talk.reply().starts_with("220 "));
        let announced = talk.smtp("LHLO mx.example.org");
        for word in ["CHUNKING", "DSN", "PIPELINING", "ENHANCEDSTATUSCODES"] {
            assert!(announced.contains(word), "{announced}");
        }
        assert!(talk.smtp("EHLO mx.example.org").starts_with("50"), "RFC 2033 §4.1");
        talk
    };
    let full = "RCPT TO:<full@example.org>";
    // Two messages for the one who may have one, in the same session and at the same time: both are let in.
    let (mut talk, mut other) = (start(), start());
    for talk in [&mut talk, &mut other] {
        assert!(talk.smtp(&format!("MAIL FROM:<{USER}> RET=HDRS ENVID=Q1")).starts_with("250"));
        assert!(talk.smtp("RCPT TO:<nobody@example.org>").starts_with("550 5.1.1"));
        assert!(
            talk.smtp("RCPT TO:<bob@example.org> NOTIFY=SUCCESS ORCPT=rfc822;b@example.net")
                .starts_with("250")
        );
        assert!(talk.smtp(full).starts_with("250"));
        assert!(talk.smtp("RCPT TO:<bob+x@example.org> NOTIFY=NEVER").starts_with("250"));
    }
    // One reply for each that was taken, in their order: behind DATA,
    assert!(talk.smtp("DATA").starts_with("354"));
    talk.send("Subject: one\r\n\r\nby DATA\r\n.\r\n");
    let replies: Vec<_> = (0..3).map(|_| talk.reply()).collect();
    assert!(replies.iter().all(|reply| reply.starts_with("250 2.0.0")), "{replies:?}");
    // and behind the last part; an earlier one has one.
    other.send("BDAT 16\r\nSubject: two\r\n\r\nBDAT 7 LAST\r\nparts\r\n");
    assert!(other.reply().starts_with("250 "));
    let replies: Vec<_> = (0..3).map(|_| other.reply()).collect();
    let codes: Vec<_> = replies.iter().map(|reply| &reply[..9]).collect();
    assert_eq!(codes, ["250 2.0.0", "552 5.2.2", "250 2.0.0"], "{replies:?}");
    for talk in [&mut talk, &mut other] {
        assert_eq!(talk.smtp("NOOP"), "250 2.0.0 Ok");
    }
    // Success is reported where that was asked for; refusals are told by whoever sent it.
    let reports = common::wait_for("the reports", || {
        let mail = inbox(&server).imap("c", "FETCH 1:* BODY.PEEK[]").join("\n");
        (mail.matches("Action: delivered").count() == 2).then_some(mail)
    });
    for line in [
        "Original-Envelope-Id: Q1",
        "Original-Recipient: rfc822; b@example.net",
        "Final-Recipient: rfc822; bob@example.org",
    ] {
        assert_eq!(reports.matches(line).count(), 2, "{line}: {reports}");
    }
    assert!(!reports.contains("bob+x") && !reports.contains("full@"), "{reports}");
}
