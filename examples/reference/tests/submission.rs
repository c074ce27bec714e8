//! Who may send as whom, and how listeners for mail are set up: TLS that must be, logins at port 25, both families, sockets of the
//! file system.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    process::Command,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use common::{PASSWORD, Server, Talk, USER, count, free_port, have, inbox, run, succeed};

const BOSS: &str = "boss@b.example";

/// A server with Alice at one domain and her boss at another, both with keys, and what of the configuration else.
fn two_domains(extra: &str) -> Server {
    let server = Server::start(&format!("allow_plaintext_auth = true\n{extra}"));
    succeed(&mut server.command(&["domain", "add", "b.example"]));
    server.add_user(BOSS, PASSWORD);
    succeed(&mut server.command(&["dkim", "key", "add", "b.example", "--ed25519", "--selector", "b"]));
    server
}

/// A session of a user.
fn submission(server: &Server, user: &str) -> Talk {
    let mut talk = server.talk(server.port("submission", "starttls"));
    assert!(talk.reply().starts_with("220 "));
    assert!(talk.smtp("EHLO client.example").starts_with("250"));
    log_in(&mut talk, user);
    talk
}

fn log_in(talk: &mut Talk, user: &str) {
    let login = STANDARD.encode(format!("\0{user}\0{PASSWORD}"));
    let told = talk.smtp(&format!("AUTH PLAIN {login}"));
    assert!(told.starts_with("235 "), "{told}");
}

/// What becomes of a message to Alice by this user, with this sender and this header.
fn send(server: &Server, user: &str, sender: &str, header: &str) -> String {
    let mut talk = submission(server, user);
    let told = talk.smtp(&format!("MAIL FROM:<{sender}>"));
    if !told.starts_with("250 ") {
        return told;
    }
    assert_eq!(talk.smtp(&format!("RCPT TO:<{USER}>")), "250 2.1.5 Ok");
    assert!(talk.smtp("DATA").starts_with("354 "));
    talk.send(format!("{header}\r\n\r\nHello\r\n"));
    talk.smtp(".")
}

/// Of which domains the last message that Alice got has signatures.
fn signed(server: &Server) -> Vec<String> {
    let header = inbox(server).imap("fetch", "FETCH * BODY.PEEK[HEADER]").join(" ");
    let signatures = header.split("DKIM-Signature:").skip(1);
    let domain = |field: &str| field.split(" d=").nth(1).unwrap().split(';').next().unwrap().to_owned();
    signatures.map(domain).collect()
}

#[test]
fn users_write_as_nobody_else_in_the_message_either() {
    let server = two_domains("");
    let boss = format!("From: The Boss <{BOSS}>");
    for header in [
        &boss,
        &format!("From: <{USER}>, <{BOSS}>"),
        &format!("From: <{USER}>\r\nfrom: <{BOSS}>"),
        &format!("From: <{USER}>\r\nSender: {BOSS}"),
        &format!("From: team: {BOSS};"),
    ] {
        let told = send(&server, USER, USER, header);
        assert!(
            told.starts_with("553 5.7.1 ") && told.ends_with(&format!("not owned by user {USER}")),
            "{header}: {told}"
        );
        // Nor does a report that nobody has sent.
        assert!(send(&server, USER, "", header).starts_with("553 5.7.1 "), "{header}");
    }
    for header in ["From: somebody", "From:", &format!("From: <{USER}>\r\nX: {}", "x".repeat(900).as_str())] {
        let unreadable = !header.contains(USER);
        let told = send(&server, USER, USER, header);
        assert_eq!(told.starts_with("553 5.7.1 "), unreadable, "{header}: {told}");
    }
    for header in [
        &format!("From: Alice <{USER}>\r\nReply-To: {BOSS}"),
        "From: alice+lists@EXAMPLE.org",
        // RFC 6409 §8: the server may complete it, and nobody is named.
        "Subject: no author",
    ] {
        let told = send(&server, USER, USER, header);
        assert!(told.starts_with("250 "), "{header}: {told}");
    }
    assert!(send(&server, BOSS, BOSS, &boss).starts_with("250 "));
    assert_eq!(signed(&server), ["b.example"]);
    assert_eq!(count(&server), 5);
    // What comes from outside is for DMARC to judge.
    common::deliver(&server, USER, &format!("{boss}\r\n\r\nHello\r\n"));
    assert!(signed(&server).is_empty());
}

#[test]
fn no_domain_signs_for_who_is_not_its_author() {
    let server = two_domains("auth.sender_login = \"envelope\"\n");
    let boss = format!("From: The Boss <{BOSS}>");
    assert!(send(&server, USER, BOSS, &boss).starts_with("553 5.7.1 "));
    assert!(send(&server, USER, USER, &boss).starts_with("250 "));
    assert!(signed(&server).is_empty(), "{:?}", signed(&server));
    assert!(send(&server, USER, "", &boss).starts_with("250 "));
    assert!(signed(&server).is_empty(), "{:?}", signed(&server));
    // With a key of its own, the user's domain says that it comes from there, and no more.
    succeed(&mut server.command(&["dkim", "key", "add", "example.org", "--ed25519", "--selector", "a"]));
    for sender in [USER, ""] {
        assert!(send(&server, USER, sender, &boss).starts_with("250 "));
        assert_eq!(signed(&server), ["example.org"], "{sender:?}");
        // But not that a colleague has written it.
        assert!(send(&server, USER, sender, "From: colleague@example.org").starts_with("250 "));
        assert!(signed(&server).is_empty(), "{sender:?}: {:?}", signed(&server));
    }
}

#[test]
fn further_senders_are_for_accounts_and_groups() {
    let server = two_domains(&format!(
        "auth.senders.\"{USER}\" = [\"{BOSS}\"]\nauth.senders.\"team@example.org\" = [\"news.example\"]\n\
         auth.senders.\"shop@example.org\" = [\"*\"]\n"
    ));
    for user in ["bob@example.org", "carol@example.org"] {
        server.add_user(user, PASSWORD);
    }
    succeed(&mut server.command(&["group", "add", "team@example.org", "bob@example.org"]));
    succeed(&mut server.command(&["alias", "add", "shop@example.org", "carol@example.org"]));
    for (user, sender, allowed) in [
        (USER, BOSS, true),
        (USER, "other@b.example", false),
        (USER, "letter@news.example", false),
        ("bob@example.org", "letter@news.example", true),
        ("bob@example.org", "letter@sub.news.example", false),
        ("bob@example.org", BOSS, false),
        ("carol@example.org", "anybody@anywhere.example", true),
    ] {
        let told = send(&server, user, sender, &format!("From: {sender}"));
        let expected = if allowed { "250 " } else { "553 5.7.1 " };
        assert!(told.starts_with(expected), "{user} as {sender}: {told}");
        let own = send(&server, user, user, &format!("From: {sender}"));
        assert!(own.starts_with(expected), "{user} as {sender} in the message: {own}");
    }
    // An author's domain signs for whoever may write as the author.
    assert!(send(&server, USER, USER, &format!("From: {BOSS}")).starts_with("250 "));
    assert_eq!(signed(&server), ["b.example"]);
    let explain = ["explain", "--client", "192.0.2.1", "--to", USER, "--auth", USER, "--from"];
    let explained = |from: &str| String::from_utf8(succeed(server.command(&explain).arg(from))).unwrap();
    assert!(!explained(BOSS).contains("553 5.7.1") && explained("x@b.example").contains("553 5.7.1"));
}

/// Says that it is a client at an address outside, which goes by this name; what its EHLO is answered.
fn outside(talk: &mut Talk, name: &str) -> String {
    assert!(talk.reply().starts_with("220 "));
    assert!(talk.smtp("EHLO proxy.example").starts_with("250"));
    assert!(talk.smtp("XCLIENT ADDR=198.51.100.7").starts_with("220 "));
    talk.smtp(&format!("EHLO {name}"))
}

/// A listener more, in the file of a server that does not run yet.
fn add_listener(server: &Server, listener: &str) {
    let path = server.folder.path().join("mailwright.toml");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{config}\n[[listener]]\n{listener}\n")).unwrap();
}

#[test]
fn users_may_call_themselves_by_our_domain_before_they_log_in() {
    let mut server = Server::prepare("allow_plaintext_auth = true\nsmtp.xclient = [\"127.0.0.0/8\"]\n");
    add_listener(&server, "protocol = \"smtp\"\naddress = \"127.0.0.1:0\"\ntls = \"none\"\nauth = true");
    server.add_user(USER, PASSWORD);
    server.serve();
    // Nobody logs in there: who says it is us lies.
    let mut talk = server.talk(server.port("smtp", "starttls"));
    let told = outside(&mut talk, "example.org");
    assert!(told.starts_with("550 5.7.1 "), "{told}");
    assert!(!talk.smtp("EHLO client.example").contains("AUTH"));

    for (protocol, tls) in [("submission", "starttls"), ("smtp", "none")] {
        let mut talk = server.talk(server.port(protocol, tls));
        let told = outside(&mut talk, "example.org");
        assert!(told.starts_with("250-") && told.contains("AUTH SCRAM-SHA-512 "), "{protocol}: {told}");
        log_in(&mut talk, USER);
        assert_eq!(talk.smtp(&format!("MAIL FROM:<{USER}>")), "250 2.1.0 Ok", "{protocol}");
        // Of ours it takes mail for everywhere.
        assert_eq!(talk.smtp("RCPT TO:<x@elsewhere.example>"), "250 2.1.5 Ok", "{protocol}");
    }
    // Whoever does not log in is a stranger at port 25, by its own name.
    let mut talk = server.talk(server.port("smtp", "none"));
    outside(&mut talk, "Example.ORG");
    let told = talk.smtp("MAIL FROM:<ann@a.example>");
    assert!(told.starts_with("550 5.7.1 "), "{told}");
    assert!(talk.smtp("EHLO client.example").starts_with("250"));
    assert_eq!(talk.smtp("MAIL FROM:<ann@a.example>"), "250 2.1.0 Ok");
    assert_eq!(talk.smtp(&format!("RCPT TO:<{USER}>")), "250 2.1.5 Ok");
    assert!(talk.smtp("RCPT TO:<x@elsewhere.example>").starts_with("554 5.7.1 "));
}

#[test]
fn nothing_is_said_before_tls_where_it_must_be() {
    if !have("curl") {
        return;
    }
    let mut server = Server::prepare("allow_plaintext_auth = true\n");
    add_listener(&server, "protocol = \"smtp\"\naddress = \"127.0.0.1:0\"\ntls = \"required\"");
    server.add_user(USER, PASSWORD);
    server.serve();
    let port = server.port("smtp", "required");
    let mut talk = server.talk(port);
    assert!(talk.reply().starts_with("220 "));
    assert!(talk.smtp("EHLO client.example").contains("STARTTLS"));
    for command in ["MAIL FROM:<ann@a.example>", "VRFY alice"] {
        let told = talk.smtp(command);
        assert!(told.starts_with("530 5.7.0 "), "{command}: {told}");
    }
    assert!(talk.smtp("QUIT").starts_with("221 "));
    let message = server.folder.path().join("message");
    fs::write(&message, "Subject: inside\r\n\r\nHello\r\n").unwrap();
    let send = |tls: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--mail-from", "ann@a.example", "--mail-rcpt", USER, "-T"]).arg(&message);
        curl.args(tls).arg("--cacert").arg(server.certificate()).arg(format!("smtp://localhost:{port}"));
        run(&mut curl).status.success()
    };
    assert!(!send(&[]) && send(&["--ssl-reqd"]));
    assert_eq!(count(&server), 1);
}

#[test]
fn each_family_of_addresses_has_its_own_listener() {
    let port = free_port();
    let mut server = Server::prepare("allow_plaintext_auth = true\n");
    let listener = |host: &str, port: u16| {
        format!("protocol = \"smtp\"\naddress = \"{host}:{port}\"\nsyntax = \"lenient\"")
    };
    add_listener(&server, &listener("[::]", port));
    add_listener(&server, &listener("0.0.0.0", port));
    // IPv6 alone is IPv6 alone.
    let alone = free_port();
    add_listener(&server, &listener("[::]", alone));
    server.add_user(USER, PASSWORD);
    server.serve();
    let greeting = |host: &str, port: u16| {
        let stream = TcpStream::connect(format!("{host}:{port}"))?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).map(|_| line)
    };
    for (host, port) in [("[::1]", port), ("127.0.0.1", port), ("[::1]", alone)] {
        let line = greeting(host, port).unwrap();
        assert!(line.starts_with("220 "), "{host} {line}");
    }
    assert!(greeting("127.0.0.1", alone).is_err());
    // A client of one family is never taken for one of the other.
    let seen = server.log();
    assert!(!seen.contains("::ffff:"), "{seen}");
}

#[test]
fn lmtp_comes_by_a_socket_of_the_file_system() {
    let mut server = Server::prepare("allow_plaintext_auth = true\n");
    let path = server.folder.path().join("lmtp");
    add_listener(
        &server,
        &format!(
            "protocol = \"lmtp\"\naddress = \"unix:{}\"\nsocket_mode = \"0600\"\ntls = \"none\"",
            path.display()
        ),
    );
    server.add_user(USER, PASSWORD);
    for round in 1..=2 {
        // The second time after a server that could not clean up.
        let said = server.serve();
        assert!(said.contains(&format!("listening lmtp none strict unix:{}", path.display())), "{said}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut stream = UnixStream::connect(&path).unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let mut reply = || loop {
            let line = lines.next().unwrap().unwrap();
            if line.as_bytes()[3] == b' ' {
                return line;
            }
        };
        assert!(reply().starts_with("220 "));
        for (command, expected) in [
            ("LHLO localhost", "250 "),
            ("MAIL FROM:<ann@a.example>", "250 2.1.0"),
            (&format!("RCPT TO:<{USER}>"), "250 2.1.5"),
            // Whoever reaches it delivers, and sends nothing elsewhere.
            ("RCPT TO:<x@elsewhere.example>", "554 5.7.1"),
            ("DATA", "354 "),
            ("Subject: by hand\r\n\r\nHello\r\n.", "250 2.0.0"),
        ] {
            stream.write_all(format!("{command}\r\n").as_bytes()).unwrap();
            let told = reply();
            assert!(told.starts_with(expected), "{command}: {told}");
        }
        assert_eq!(count(&server), round);
        server.kill();
    }
}

#[test]
fn what_has_no_room_is_refused_before_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let free = succeed(Command::new("df").args(["--output=avail", "-B1"]).arg(folder.path()));
    let free: u64 = String::from_utf8(free).unwrap().lines().last().unwrap().trim().parse().unwrap();
    // A quarter of the reserve may be taken for small changes, such as that account.
    let full = Server::start(&format!("allow_plaintext_auth = true\nstore.reserve = {}", free / 2 * 3));
    let mut talk = submission(&full, USER);
    let told = talk.smtp(&format!("MAIL FROM:<{USER}>"));
    assert!(told.starts_with("452 4.3.1 "), "{told}");

    // What MAIL announces counts.
    let mut little = Server::prepare(&format!("allow_plaintext_auth = true\nstore.reserve = {}", free / 2));
    let path = little.folder.path().join("mailwright.toml");
    let config = fs::read_to_string(&path).unwrap().replace("[limits]\n", "[limits]\nmessage_size = 0\n");
    fs::write(&path, config).unwrap();
    little.add_user(USER, PASSWORD);
    little.serve();
    let mut talk = submission(&little, USER);
    let told = talk.smtp(&format!("MAIL FROM:<{USER}> SIZE={}", free / 4 * 3));
    assert!(told.starts_with("452 4.3.1 "), "{told}");
    assert_eq!(talk.smtp(&format!("MAIL FROM:<{USER}> SIZE=1000")), "250 2.1.0 Ok");
}

#[test]
fn another_name_of_an_account_logs_in_nowhere() {
    let server = two_domains("");
    succeed(&mut server.command(&["alias", "add", "al@example.org", USER]));
    for (name, right) in
        [("al@example.org", false), ("alice", false), ("alice+x@example.org", false), (USER, true)]
    {
        let login = STANDARD.encode(format!("\0{name}\0{PASSWORD}"));
        let mut talk = server.talk(server.port("submission", "starttls"));
        talk.reply();
        talk.smtp("EHLO client.example");
        let told = talk.smtp(&format!("AUTH PLAIN {login}"));
        assert_eq!(told.starts_with("235 "), right, "{name}: {told}");
        assert_eq!(told.starts_with("535 "), !right, "{name}: {told}");
        let mut talk = server.talk(server.port("managesieve", "starttls"));
        talk.until("OK");
        talk.send(format!("AUTHENTICATE \"PLAIN\" \"{login}\"\r\n"));
        let told = talk.line();
        assert_eq!(told.starts_with("OK"), right, "{name}: {told}");
        assert_eq!(told.starts_with("NO"), !right, "{name}: {told}");
    }
}

#[test]
fn the_doctor_finds_an_open_relay() {
    let port = free_port();
    let mut server = Server::prepare("allow_plaintext_auth = true\n");
    add_listener(
        &server,
        &format!("protocol = \"smtp\"\naddress = \"0.0.0.0:{port}\"\nsyntax = \"lenient\""),
    );
    let implicit = free_port();
    add_listener(
        &server,
        &format!("protocol = \"submission\"\naddress = \"127.0.0.1:{implicit}\"\ntls = \"implicit\""),
    );
    server.add_user(USER, PASSWORD);
    server.serve();
    let examined = || {
        let output = run(&mut server.command(&["doctor", "relay"]));
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let (good, told) = examined();
    assert!(good && !told.contains("BAD"), "{told}");
    assert!(told.contains("ok   a client at 2001:db8::1: recipients: 554 5.7.1"), "{told}");
    assert!(told.contains(&format!("ok   the smtp listener 0.0.0.0:{port}: 554 5.7.1")), "{told}");
    assert!(
        told.contains(&format!("ok   the submission listener 127.0.0.1:{implicit}: 530 5.7.0")),
        "{told}"
    );
    // Who may send from there is no stranger, but the doctor cannot know.
    succeed(&mut server.command(&["network", "add", "world", "192.0.2.0/24", "--relay"]));
    let (good, told) = examined();
    assert!(
        !good
            && told.contains(
                "BAD  a client at 192.0.2.1: mail from <> to <relay-test@relay-test.invalid> would be sent"
            ),
        "{told}"
    );
    succeed(&mut server.command(&["network", "remove", "world"]));
    succeed(&mut server.command(&["network", "add", "here", "127.0.0.1", "--relay"]));
    let (good, told) = examined();
    assert!(
        good && told.contains(&format!("0.0.0.0:{port}: not tried: this machine may send anywhere")),
        "{told}"
    );
    let waits = succeed(&mut server.command(&["mailq"]));
    assert!(!String::from_utf8(waits).unwrap().contains("relay-test"), "nothing was sent");
}
