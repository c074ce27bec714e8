//! Debian's Postfix beside the running server: it sends to it, takes from it, asks it about passwords, and delivers
//! into it by LMTP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;
#[path = "postfix/daemon.rs"]
mod daemon;
#[path = "relay/world.rs"]
#[allow(dead_code, reason = "this uses a part of it")]
mod world;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use common::{PASSWORD, Server, USER, count, inbox, wait_for};
use daemon::{HOME, Postfix};
use world::{Names, Site};

/// Eight-bit text, dots at the starts of lines, and a line as long as may be.
fn message(subject: &str) -> String {
    format!(
        "From: Bob <bob@{HOME}>\r\nTo: alice@example.org\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
         Hellö\r\n.dot\r\n..two\r\n.\r\n{}\r\nbye\r\n",
        "long".repeat(249)
    )
}

/// The newest message of alice.
fn newest(server: &Server) -> String {
    inbox(server).imap("text", "FETCH * BODY.PEEK[]").join("\n")
}

#[test]
fn postfix_sends_in_every_way() {
    let Some(mut postfix) = Postfix::find() else { return };
    // A whole site sends by one account: who writes as whom there is for the site to watch over.
    let server = Server::start("allow_plaintext_auth = true\nauth.sender_login = \"envelope\"");
    let (smtp, submission) = (server.port("smtp", "starttls"), server.port("submission", "starttls"));
    let implicit = server.port("submission", "implicit");
    let passwords = [submission, implicit].map(|port| format!("[127.0.0.1]:{port} {USER}:{PASSWORD}\n"));
    let passwords = postfix.write("passwords", &passwords.concat());
    let tls = |level: &str| format!("smtp_tls_security_level={level}");
    let login = |mechanism: &str| {
        vec![
            tls("encrypt"),
            "smtp_sasl_auth_enable=yes".to_owned(),
            format!("smtp_sasl_password_maps=texthash:{}", passwords.display()),
            "smtp_sasl_tls_security_options=noanonymous".to_owned(),
            format!("smtp_sasl_mechanism_filter={mechanism}"),
        ]
    };
    // It speaks no CHUNKING as a client. The address says which way to go; the protocol is in our trace field.
    let cases = [
        ("plain", smtp, vec![tls("none")], "ESMTP"),
        ("lines", smtp, vec![tls("none"), "smtp_discard_ehlo_keywords=pipelining".into()], "ESMTP"),
        ("helo", smtp, vec![tls("none"), "smtp_never_send_ehlo=yes".into()], "SMTP"),
        ("tls", smtp, vec![tls("encrypt")], "ESMTPS"),
        ("in-plain", submission, login("plain"), "ESMTPSA"),
        ("in-login", submission, login("login"), "ESMTPSA"),
        ("in-scram", submission, login("scram-sha-256"), "ESMTPSA"),
        ("implicit", implicit, [login("plain"), vec!["smtp_tls_wrappermode=yes".into()]].concat(), "ESMTPSA"),
    ];
    let mut map = format!("example.org plain:[127.0.0.1]:{smtp}\n");
    for (name, port, options, _) in &cases {
        postfix.client(name, "smtp", options);
        map += &format!("alice+{name}@example.org {name}:[127.0.0.1]:{port}\n");
    }
    let map = postfix.write("transport", &map);
    postfix.start(&format!("transport_maps = texthash:{}", map.display()));
    for (sent, (name, _, _, protocol)) in cases.iter().enumerate() {
        let to = format!("alice+{name}@example.org");
        // A submission is only from an address of whoever logs in.
        postfix.send(USER, &[&to], " BODY=8BITMIME", &message(name));
        let line = postfix.logged(&[&format!("to=<{to}>"), "status="]);
        assert!(line.contains("status=sent (250 2.0.0 Ok: queued as"), "{line}");
        assert_eq!(count(&server), sent + 1, "{name}");
        let text = newest(&server);
        assert!(text.contains(&format!("with {protocol} id")), "{name}: {text}");
        // Whom it greets by HELO, it takes for one of seven bits.
        let hello = if *name == "helo" { "Hell=C3=B6" } else { "Hellö" };
        assert!(text.contains(&format!("\n{hello}\n.dot\n..two\n.\n")), "{name}: {text}");
        assert!(
            text.contains("\nbye\n") && (*name == "helo" || text.contains(&"long".repeat(249))),
            "{name}: {text}"
        );
    }
    // An address and header fields beyond ASCII (RFC 6531).
    let to = "alice+grüße@example.org";
    let text = message("über allem").replace("Bob", "Bücherwurm");
    postfix.send("büro@postfix.example", &[to], " BODY=8BITMIME SMTPUTF8", &text);
    let line = postfix.logged(&[&format!("to=<{to}>"), "status="]);
    assert!(line.contains("status=sent (250"), "{line}");
    let text = newest(&server);
    assert!(text.contains("Subject: über allem") && text.contains("with UTF8SMTP id"), "{text}");
    assert!(text.contains("büro@postfix.example"), "{text}");
    // Several recipients in one pipeline, one of them unknown; then all of them.
    postfix.send("", &["nobody@example.org", "alice@example.org"], "", &message("one of two"));
    postfix.logged(&["to=<alice@example.org>", "status=sent"]);
    postfix.logged(&["to=<nobody@example.org>", "status=bounced", "550"]);
    let unknown = ["a@example.org", "b@example.org", "c@example.org"];
    postfix.send("", &unknown, "", &message("to nobody"));
    for to in unknown {
        postfix.logged(&[&format!("to=<{to}>"), "status=bounced", "550"]);
    }
    wait_for("an empty queue", || postfix.is_idle().then_some(()));
    assert_eq!(count(&server), cases.len() + 2);
}

#[test]
fn postfix_delivers_by_lmtp() {
    let Some(mut postfix) = Postfix::find() else { return };
    let server = Server::start("allow_plaintext_auth = true");
    server.add_user("carol@example.org", PASSWORD);
    let port = server.port("lmtp", "none");
    postfix.start(&format!(
        "virtual_mailbox_domains = example.org\nvirtual_mailbox_maps =\n\
         virtual_transport = lmtp:inet:127.0.0.1:{port}\nlmtp_destination_recipient_limit = 50"
    ));
    let to = ["alice@example.org", "nobody@example.org", "carol@example.org"];
    postfix.send("bob@example.net", &to, " BODY=8BITMIME", &message("by LMTP"));
    for to in ["alice@example.org", "carol@example.org"] {
        let line = postfix.logged(&[&format!("to=<{to}>"), "status="]);
        assert!(line.contains("postfix/lmtp") && line.contains("status=sent (250 2.0.0"), "{line}");
    }
    let line = postfix.logged(&["to=<nobody@example.org>", "status="]);
    assert!(line.contains("status=bounced") && line.contains("550 5.1.1"), "{line}");
    assert_eq!(count(&server), 1);
    let text = newest(&server);
    assert!(text.contains("with LMTP id") && text.contains("Return-Path: <bob@example.net>"), "{text}");
    assert!(text.contains("\nHellö\n.dot\n..two\n.\n"), "{text}");
}

/// A session of submission that is logged in.
fn submit(site: &Site, user: &str) -> common::Talk {
    let mut talk = site.talk("submission");
    assert!(talk.reply().starts_with("220"));
    talk.smtp("EHLO client.example");
    assert!(talk.smtp(&site.auth(user)).starts_with("235"));
    talk
}

#[test]
fn postfix_takes_what_is_relayed() {
    let Some(mut postfix) = Postfix::find() else { return };
    postfix.start("");
    let relay =
        |tls: &str| format!("[relay]\nsmarthost = \"[127.0.0.1]:[{}]\"\ntls = \"{tls}\"\n", postfix.port);
    for (number, tls) in ["none", "encrypt"].into_iter().enumerate() {
        let site =
            Site::start("a.example", "127.0.0.1", common::free_port(), &Names::none(), &relay(tls), &["ann"]);
        let mut talk = submit(&site, "ann@a.example");
        for (body, parameters) in [("eight", " BODY=8BITMIME"), ("wörld", " BODY=8BITMIME SMTPUTF8")] {
            let subject = format!("{body} {tls}");
            let from = format!("MAIL FROM:<ann@a.example>{parameters}");
            assert!(talk.smtp(&from).starts_with("250"));
            assert!(talk.smtp(&format!("RCPT TO:<bob@{HOME}>")).starts_with("250"));
            assert!(talk.smtp(&format!("RCPT TO:<nobody@{HOME}>")).starts_with("250"));
            assert!(talk.smtp("DATA").starts_with("354"));
            let text = message(&subject).replace(&format!("Bob <bob@{HOME}>"), "ann@a.example");
            talk.send(text.replace("\r\n.", "\r\n.."));
            assert!(talk.smtp(".").starts_with("250"));
            let mail = wait_for("the message to be there", || {
                let mail = postfix.mail("bob");
                mail.contains(&format!("Subject: {subject}\n")).then_some(mail)
            });
            let one = mail.split("\nFrom ").last().unwrap();
            assert!(one.contains("\nHellö\n.dot\n..two\n.\n") && one.contains("\nbye\n"), "{one}");
        }
        let log = postfix.log();
        assert_eq!(log.contains("TLS connection established from"), tls == "encrypt", "{log}");
        // Those that Postfix refused come back, for each message.
        let report = wait_for("the second report", || site.fetch("ann@a.example", 2));
        assert!(report.contains(&format!("nobody@{HOME}")) && report.contains("Action: failed"), "{report}");
        wait_for("an empty queue", || site.queue(&["list"]).is_empty().then_some(()));
        assert_eq!(postfix.mail("bob").matches("\nSubject: ").count(), 2 * (number + 1));
    }
}

/// Lets others than root into the folder of something that runs as root.
fn open(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o711)).unwrap();
}

#[test]
fn postfix_asks_us_about_passwords_and_lets_in_whom_we_know() {
    let Some(mut postfix) = Postfix::find() else { return };
    // Ours has the accounts of Postfix, and another one of ours sends through Postfix as one of them.
    let mut accounts = Server::prepare("allow_plaintext_auth = true");
    let socket = accounts.folder.path().join("auth");
    let path = accounts.folder.path().join("mailwright.toml");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{config}[auth]\nlisten = [{socket:?}]\nsocket_mode = \"0666\"\n")).unwrap();
    accounts.add_user(USER, PASSWORD);
    open(accounts.folder.path());
    accounts.serve();
    postfix.start(&format!(
        "smtpd_sasl_type = dovecot\nsmtpd_sasl_path = {}\nsmtpd_sasl_auth_enable = yes\nsmtpd_tls_auth_only = yes\n\
         mynetworks =\nsmtpd_recipient_restrictions = permit_sasl_authenticated, reject",
        socket.display()
    ));
    let start = |name: &str, password: &str| {
        let file = postfix.folder.path().join(name);
        common::write_private(&file, &format!("{password}\n"));
        let relay = format!(
            "[relay]\nsmarthost = \"[127.0.0.1]:[{}]\"\nuser = \"{USER}\"\npassword_file = \"{}\"\ntls = \"encrypt\"\n",
            postfix.port,
            file.display()
        );
        Site::start("a.example", "127.0.0.1", common::free_port(), &Names::none(), &relay, &["ann"])
    };
    let send = |site: &Site, subject: &str| {
        let mut talk = submit(site, "ann@a.example");
        assert!(talk.smtp("MAIL FROM:<ann@a.example>").starts_with("250"));
        assert!(talk.smtp(&format!("RCPT TO:<bob@{HOME}>")).starts_with("250"));
        assert!(talk.smtp("DATA").starts_with("354"));
        talk.send(format!("From: ann@a.example\r\nSubject: {subject}\r\n\r\nhello\r\n"));
        assert!(talk.smtp(".").starts_with("250"));
    };
    let stranger = start("wrong", "not-the-password");
    send(&stranger, "by a stranger");
    postfix.logged(&["SASL", "authentication failed"]);
    let friend = start("right", PASSWORD);
    send(&friend, "by a friend");
    wait_for("the message to be there", || postfix.mail("bob").contains("by a friend").then_some(()));
    let line = postfix.logged(&["sasl_username=alice@example.org"]);
    assert!(line.contains("sasl_method=SCRAM-SHA-"), "{line}");
    assert!(!postfix.mail("bob").contains("by a stranger"));
}
