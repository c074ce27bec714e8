//! Logging in to the running server: proxies, bans, certificates that change, other programs that ask.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use common::{PASSWORD, Server, Talk, USER, succeed, wait_for};

/// In front of `[limits]`, so what stands in a section stands last.
const CONFIG: &str = "allow_plaintext_auth = true\nproxies = [\"127.0.0.1\"]\n\
    [auth]\nfailures_per_address = 3\npenalty_milliseconds = 2\nmaster_users = [\"root@example.org\"]\n";

/// Everything but `auth` has to come first in the file, so the rest is put in front of the section.
fn start() -> Server {
    start_with("")
}

/// With more of `[auth]`.
fn start_with(more: &str) -> Server {
    let mut server = Server::prepare("");
    let path = server.folder.path().join("mailwright.toml");
    let config = fs::read_to_string(&path).unwrap();
    let socket = server.folder.path().join("auth");
    let (front, auth) = CONFIG.split_at(CONFIG.find("[auth]").unwrap());
    fs::write(&path, format!("{front}{config}{auth}{more}listen = [{socket:?}]\n")).unwrap();
    server.add_user(USER, PASSWORD);
    server.add_user("root@example.org", "master-key-1");
    server.serve();
    server
}

/// A session of POP3 behind a proxy, for a client of this address.
fn pop3(server: &Server, client: &str) -> Talk {
    let mut talk = Talk::connect(server.port("pop3", "starttls"));
    talk.send(format!("PROXY TCP4 {client} 198.51.100.1 40000 110\r\n"));
    assert!(talk.line().starts_with("+OK"));
    talk
}

fn login(talk: &mut Talk, user: &str, password: &str) -> String {
    talk.send(format!("USER {user}\r\nPASS {password}\r\n"));
    talk.line();
    talk.line()
}

#[test]
fn guessing_ends_in_a_ban_that_can_be_seen_and_lifted() {
    let server = start();
    let mut home = pop3(&server, "192.0.2.1");
    assert!(login(&mut home, USER, PASSWORD).starts_with("+OK"));
    home.send("QUIT\r\n");
    home.rest();
    let mut away = pop3(&server, "192.0.2.66");
    for user in [USER, "nobody@example.org", "alice"] {
        assert!(login(&mut away, user, "guess").starts_with("-ERR [AUTH]"));
    }
    // Not that it is wrong: nobody is to be asked for another password.
    let banned = login(&mut pop3(&server, "192.0.2.66"), USER, PASSWORD);
    assert!(banned.starts_with("-ERR [SYS/TEMP]"), "{banned}");
    assert!(login(&mut pop3(&server, "192.0.2.1"), USER, PASSWORD).starts_with("+OK"));

    let list = || String::from_utf8(succeed(&mut server.command(&["ban", "list"]))).unwrap();
    assert!(list().starts_with("192.0.2.66 for 89") && list().contains("3 failures"), "{}", list());
    // Each as it is counted, the last one behind the others.
    let names = list().trim_end().split_once(", with ").unwrap().1.to_owned();
    assert!(names.starts_with(USER) && names.contains("nobody@example.org"), "{names}");
    let log = server.log();
    let line = log.lines().find(|line| line.contains("banned for failed logins")).unwrap();
    assert!(line.contains("192.0.2.66") && line.contains("nobody@example.org"), "{line}");
    succeed(&mut server.command(&["ban", "lift", "192.0.2.66"]));
    assert_eq!(list(), "");
    assert!(!server.command(&["ban", "lift", "192.0.2.66"]).output().unwrap().status.success());
    wait_for("the session at home to end", || {
        login(&mut pop3(&server, "192.0.2.66"), USER, PASSWORD).starts_with("+OK").then_some(())
    });
}

#[test]
fn a_proxy_says_whom_it_is_for_and_nobody_else_does() {
    let server = start();
    let mut silent = Talk::connect(server.port("imap", "starttls"));
    silent.send("a CAPABILITY\r\nb CAPABILITY\r\n");
    assert_eq!(silent.rest(), "", "no header, no service");
    let mut talk = Talk::connect(server.port("smtp", "starttls"));
    let header =
        [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C"[..], &[192, 0, 2, 7, 198, 51, 100, 1, 0x9C, 0x40, 0, 25]]
            .concat();
    talk.send(&header);
    talk.reply();
    assert!(talk.smtp("QUIT").starts_with("221"));
    wait_for("the log to name the client", || server.log().contains("192.0.2.7:40000").then_some(()));
}

#[test]
fn a_master_opens_another_account_and_that_is_told() {
    let server = start();
    let name = format!("{USER}*root@example.org");
    assert!(login(&mut pop3(&server, "192.0.2.2"), &name, "guess").starts_with("-ERR [AUTH]"));
    assert!(login(&mut pop3(&server, "192.0.2.2"), &name, "master-key-1").starts_with("+OK"));
    assert!(
        login(&mut pop3(&server, "192.0.2.2"), &format!("root@example.org*{USER}"), PASSWORD)
            .starts_with("-ERR")
    );
    assert!(server.log().contains("master login"), "{}", server.log());
}

#[test]
fn other_programs_ask_by_the_protocol_of_dovecot() {
    let server = start();
    let mut socket = UnixStream::connect(server.folder.path().join("auth")).unwrap();
    let mut lines = BufReader::new(socket.try_clone().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    let mut said = Vec::new();
    while said.last().map(String::as_str) != Some("DONE") {
        said.push(next());
    }
    assert_eq!(said[0], "VERSION\t1\t2");
    assert!(
        said.contains(&"MECH\tPLAIN\tplaintext".to_owned())
            && said.contains(&"MECH\tSCRAM-SHA-256".to_owned())
    );
    // NUL alice@example.org NUL correct-horse-7
    let right = "AGFsaWNlQGV4YW1wbGUub3JnAGNvcnJlY3QtaG9yc2UtNw==";
    for (number, response, expected) in [
        (1, right, format!("OK\t1\tuser={USER}")),
        (2, "AGFsaWNlQGV4YW1wbGUub3JnAHdyb25n", "FAIL\t2".to_owned()),
        (3, right, format!("OK\t3\tuser={USER}")),
        // Exim says so that its client has not said anything yet.
        (4, "", "CONT\t4\t".to_owned()),
    ] {
        if number == 1 {
            socket.write_all(b"VERSION\t1\t0\nCPID\t9\n").unwrap();
        }
        let line = format!("AUTH\t{number}\tPLAIN\tservice=smtp\tnologin\trip=192.0.2.3\tresp={response}\n");
        socket.write_all(line.as_bytes()).unwrap();
        assert_eq!(next(), expected);
    }
}

#[test]
fn certificates_are_read_again_and_sessions_go_on() {
    let server = start();
    let mut open = pop3(&server, "192.0.2.4");
    for file in ["self-signed.pem", "self-signed.key"] {
        fs::remove_file(server.folder.path().join("data/tls").join(file)).unwrap();
    }
    succeed(&mut server.command(&["reload"]));
    assert!(server.folder.path().join("data/tls/self-signed.pem").exists());
    // The log comes by way of a thread of this test.
    wait_for("the log to say so", || server.log().contains("the certificates were read again").then_some(()));
    // The same by a signal.
    fs::remove_file(server.folder.path().join("data/tls/self-signed.pem")).unwrap();
    succeed(std::process::Command::new("kill").args(["-HUP", &server.pid().to_string()]));
    wait_for("the certificate to be made anew", || {
        server.folder.path().join("data/tls/self-signed.pem").exists().then_some(())
    });
    assert!(login(&mut open, USER, PASSWORD).starts_with("+OK"));
}

/// How each protocol begins an exchange, and what stands before a challenge and a good end.
const PROTOCOLS: [(&str, &str, &str, &str); 4] = [
    ("submission", "AUTH {}", "334 ", "235"),
    ("imap", "a AUTHENTICATE {}", "+ ", "a OK"),
    ("pop3", "AUTH {}", "+ ", "+OK"),
    ("managesieve", "AUTHENTICATE \"{}\"", "", "OK"),
];

#[test]
fn an_exchange_that_was_cancelled_leaves_nothing_behind() {
    let server = start();
    let encoded = |text: &str| STANDARD.encode(text);
    for (protocol, begin, challenged, done) in PROTOCOLS {
        let mut talk = Talk::connect(server.port(protocol, "starttls"));
        talk.send("PROXY TCP4 192.0.2.9 198.51.100.1 40000 25\r\n");
        match protocol {
            "submission" => {
                talk.reply();
                talk.smtp("EHLO client.example");
            }
            "managesieve" => drop(talk.until("OK")),
            _ => drop(talk.line()),
        }
        let quoted = |text: &str| match protocol {
            "managesieve" => format!("\"{text}\""),
            _ => text.to_owned(),
        };
        // Whatever ends it: a star, or what is no Base64.
        for end in ["*", "!"] {
            talk.send(format!("{}\r\n", begin.replace("{}", "LOGIN")));
            let challenge = talk.line();
            assert!(
                challenge.starts_with(challenged) && challenge.contains("VXNlcm5hbWU6"),
                "{protocol}: {challenge}"
            );
            talk.send(format!("{}\r\n", quoted(end)));
            let ended = talk.line();
            assert!(!ended.starts_with(done) && !ended.contains("VXNlcm5hbWU6"), "{protocol}: {ended}");
        }
        // SCRAM has a first message from the client, which the second exchange must not take for its second.
        let first = quoted(&encoded(&format!("n,,n={USER},r=fyko+d2lbbFgONRv9qkxdawL")));
        for _ in 0..2 {
            talk.send(format!("{} {first}\r\n", begin.replace("{}", "SCRAM-SHA-256")));
            let challenge = talk.line();
            let text =
                challenge.strip_prefix(challenged).unwrap_or_else(|| panic!("{protocol}: {challenge}"));
            let text = STANDARD.decode(text.trim_matches('"')).unwrap_or_default();
            assert!(text.starts_with(b"r=fyko+d2lbbFgONRv9qkxdawL"), "{protocol}: {challenge}");
            talk.send(format!("{}\r\n", quoted("*")));
            assert!(!talk.line().starts_with(done), "{protocol}");
        }
        talk.send(format!("{}\r\n", begin.replace("{}", "LOGIN")));
        assert!(talk.line().contains("VXNlcm5hbWU6"), "{protocol}");
        talk.send(format!("{}\r\n", quoted(&encoded(USER))));
        assert!(talk.line().contains("UGFzc3dvcmQ6"), "{protocol}");
        talk.send(format!("{}\r\n", quoted(&encoded(PASSWORD))));
        let last = talk.line();
        assert!(last.starts_with(done), "{protocol}: {last}");
    }
}

#[test]
fn a_botnet_counts_as_one_however_it_spells_the_name() {
    let server = start_with("failures_per_user = 4\n");
    succeed(&mut server.command(&["domain", "alias", "second.example", "example.org"]));
    for (number, name) in
        ["alice@example.org", "ALICE@Example.ORG", "\"alice\"@example.org", "alice@second.example"]
            .iter()
            .enumerate()
    {
        let told = login(&mut pop3(&server, &format!("192.0.2.{number}")), name, "guess");
        assert!(told.starts_with("-ERR [AUTH]"), "{name}: {told}");
    }
    let told = login(&mut pop3(&server, "192.0.2.100"), USER, "guess");
    assert!(told.starts_with("-ERR [SYS/TEMP]"), "{told}");
}

/// A login of every kind that shows the password. What it is answered, short of details.
fn logins(server: &Server, user: &str, password: &str) -> Vec<(&'static str, bool)> {
    let plain = STANDARD.encode(format!("\0{user}\0{password}"));
    let greeted = |protocol: &str| {
        let mut talk = Talk::connect(server.port(protocol, "starttls"));
        talk.send("PROXY TCP4 192.0.2.80 198.51.100.1 40000 25\r\n");
        match protocol {
            "submission" => {
                talk.reply();
                talk.smtp("EHLO client.example");
            }
            "managesieve" => drop(talk.until("OK")),
            _ => drop(talk.line()),
        }
        talk
    };
    let mut all = Vec::new();
    let mut talk = greeted("imap");
    talk.send(format!("a LOGIN {user} {{{}+}}\r\n{password}\r\n", password.len()));
    all.push(("LOGIN", talk.line().starts_with("a OK")));
    let mut talk = greeted("imap");
    talk.send(format!("a AUTHENTICATE LOGIN\r\n{}\r\n", STANDARD.encode(user)));
    talk.line();
    talk.line();
    talk.send(format!("{}\r\n", STANDARD.encode(password)));
    all.push(("AUTHENTICATE LOGIN", talk.line().starts_with("a OK")));
    // The next session of POP3 comes once this has let go of the maildrop.
    let mut talk = greeted("pop3");
    all.push(("USER, PASS", login(&mut talk, user, password).starts_with("+OK")));
    talk.send("QUIT\r\n");
    talk.rest();
    for (protocol, begin, _, done) in PROTOCOLS {
        let mut talk = greeted(protocol);
        let response = if protocol == "managesieve" { format!("\"{plain}\"") } else { plain.clone() };
        talk.send(format!("{} {response}\r\n", begin.replace("{}", "PLAIN")));
        all.push((protocol, talk.line().starts_with(done)));
        if protocol == "pop3" {
            talk.send("QUIT\r\n");
            talk.rest();
        }
    }
    all
}

/// RFC 4616 §2, RFC 6856 §2.2: a superscript two is a two, and a letter with an accent one letter.
#[test]
fn passwords_that_are_prepared_are_right_by_every_command() {
    let server = start_with("failures_per_user = 40\n");
    server.add_user("new@example.org", "m²-cafe\u{301}");
    server.add_user("old@example.org", "to be replaced");
    let file = server.folder.path().join("hashes");
    fs::write(&file, "old@example.org:{PLAIN}m²-cafe\u{301}\n").unwrap();
    succeed(server.command(&["user", "import", "--replace"]).arg(&file));
    for user in ["new@example.org", "old@example.org"] {
        for (how, right) in logins(&server, user, "m²-cafe\u{301}") {
            assert!(right, "{user} by {how}: {}", server.log());
        }
    }
    // By the keyboard of another computer, or by what it was prepared to.
    for password in ["m²-café", "m2-café"] {
        for (how, right) in logins(&server, "new@example.org", password) {
            assert!(right, "{password} by {how}: {}", server.log());
        }
    }
    // A guess in other characters is one guess: of three the third is heard, and nothing behind it.
    for number in 0..4 {
        let told = login(&mut pop3(&server, "192.0.2.81"), "new@example.org", "m³-cafe\u{301}");
        assert!(told.starts_with(if number < 3 { "-ERR [AUTH]" } else { "-ERR [SYS/TEMP]" }), "{told}");
    }
}

/// What SCRAM tells of a name must not show whether there is such an account.
#[test]
fn salts_are_the_same_for_every_spelling_of_a_name() {
    let server = start();
    succeed(&mut server.command(&["domain", "alias", "second.example", "example.org"]));
    let salt = |name: &str| {
        let mut talk = Talk::connect(server.port("imap", "starttls"));
        talk.send("PROXY TCP4 192.0.2.90 198.51.100.1 40000 143\r\n");
        talk.line();
        let first = STANDARD.encode(format!("n,,n={name},r=fyko+d2lbbFgONRv9qkxdawL"));
        talk.send(format!("a AUTHENTICATE SCRAM-SHA-256 {first}\r\n"));
        let challenge = talk.line();
        let challenge = challenge.strip_prefix("+ ").unwrap_or_else(|| panic!("{name}: {challenge}"));
        let challenge = String::from_utf8(STANDARD.decode(challenge).unwrap()).unwrap();
        talk.send("*\r\n");
        talk.line();
        challenge.split(',').find(|part| part.starts_with("s=")).unwrap().to_owned()
    };
    let mut salts = Vec::new();
    for local in ["alice", "nobody"] {
        let one = salt(&format!("{local}@example.org"));
        for spelling in [
            format!("{}@Example.org", local.to_uppercase()),
            format!("\"{local}\"@example.org"),
            format!("{local}@second.example"),
        ] {
            assert_eq!(salt(&spelling), one, "{spelling}");
        }
        salts.push(one);
    }
    assert!(salts[0] != salts[1] && salts[0].len() == salts[1].len(), "{salts:?}");
}
