//! What becomes of sessions while the server's connections run out: those that have proved nothing make room for others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use common::{PASSWORD, Server, Talk, USER};

/// Less than this is at once: a server that waits for a session to end by itself takes longer.
const AT_ONCE: Duration = Duration::from_secs(5);

/// How far apart sessions begin of which it must be known who is idle for longest. A session is idle only when it waits for its
/// client, which is after the client has its greeting; how long after, the machine's load decides.
const APART: Duration = Duration::from_millis(100);

/// A server with so many connections, and more of `[limits]`.
fn server(connections: u32, limits: &str) -> Server {
    server_with(connections, limits, |_| String::new())
}

fn server_with(connections: u32, limits: &str, more: impl Fn(&Server) -> String) -> Server {
    let mut server = Server::prepare("allow_plaintext_auth = true");
    let path = server.folder.path().join("mailwright.toml");
    let config = fs::read_to_string(&path).unwrap();
    let config = config.replace("[limits]\n", &format!("[limits]\nconnections = {connections}\n{limits}\n"));
    // Where the same user has several sessions.
    let shared = "[pop3]\nexclusive = false\n";
    fs::write(&path, config + shared + &more(&server)).unwrap();
    server.add_user(USER, PASSWORD);
    server.serve();
    server
}

/// The places where clients connect that prove something later, and what they are told when they have to go.
const PLACES: &[(&str, &str, &str)] = &[
    ("smtp", "starttls", "421 4.3.2 "),
    ("submission", "starttls", "421 4.3.2 "),
    ("lmtp", "none", "421 4.3.2 "),
    ("imap", "starttls", "* BYE [UNAVAILABLE]"),
    ("pop3", "starttls", "-ERR [SYS/TEMP]"),
    ("managesieve", "starttls", "BYE"),
    // Nothing can be told before there is TLS.
    ("imap", "implicit", ""),
];

/// A session that was greeted and proves nothing.
fn idle(server: &Server, protocol: &str, tls: &str) -> Talk {
    let mut talk = server.talk(server.port(protocol, tls));
    match (protocol, tls) {
        (_, "implicit") => {}
        ("managesieve", _) => drop(talk.until("OK")),
        _ => drop(talk.reply()),
    }
    talk
}

/// Sessions that have logged in, or named a recipient.
fn proved(server: &Server) -> Vec<(Talk, &'static str, &'static str)> {
    let login = STANDARD.encode(format!("\0{USER}\0{PASSWORD}"));
    let mut sessions = Vec::new();
    let mut smtp = idle(server, "smtp", "starttls");
    smtp.smtp("EHLO client.example");
    smtp.smtp("MAIL FROM:<bob@elsewhere.example>");
    assert_eq!(smtp.smtp(&format!("RCPT TO:<{USER}>")), "250 2.1.5 Ok");
    sessions.push((smtp, "NOOP\r\n", "250"));
    let mut submission = idle(server, "submission", "starttls");
    submission.smtp("EHLO client.example");
    assert!(submission.smtp(&format!("AUTH PLAIN {login}")).starts_with("235"));
    sessions.push((submission, "NOOP\r\n", "250"));
    let mut imap = idle(server, "imap", "starttls");
    assert!(imap.imap("a", &format!("AUTHENTICATE PLAIN {login}")).last().unwrap().starts_with("a OK"));
    sessions.push((imap, "b NOOP\r\n", "b OK"));
    let mut pop3 = idle(server, "pop3", "starttls");
    pop3.send(format!("AUTH PLAIN {login}\r\n"));
    assert!(pop3.line().starts_with("+OK"));
    sessions.push((pop3, "NOOP\r\n", "+OK"));
    let mut sieve = idle(server, "managesieve", "starttls");
    sieve.send(format!("AUTHENTICATE \"PLAIN\" \"{login}\"\r\n"));
    assert!(sieve.until("OK").last().unwrap().starts_with("OK"));
    sessions.push((sieve, "NOOP\r\n", "OK"));
    sessions
}

/// What the server says until it closes, of its own accord.
fn to_end(talk: &mut Talk) -> String {
    let mut said = Vec::new();
    let ended = talk.stream.read_to_end(&mut said);
    let patient = !matches!(ended, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
    assert!(patient, "no end after {:?}", String::from_utf8_lossy(&said));
    String::from_utf8_lossy(&said).into_owned()
}

fn assert_told_to_go(talk: &mut Talk, farewell: &str) {
    let told = to_end(talk);
    assert!(told.starts_with(farewell) && told.is_empty() == farewell.is_empty(), "{told:?}");
}

fn assert_all_go_on(sessions: &mut [(Talk, &'static str, &'static str)]) {
    for (talk, command, answer) in sessions {
        talk.send(*command);
        let told = talk.line();
        assert!(told.starts_with(*answer), "{command:?}: {told:?}");
    }
}

#[test]
fn who_has_proved_nothing_and_is_idle_for_longest_makes_room() {
    let server = server(12, "stress_seconds = 3600");
    let mut proved = proved(&server);
    let mut waiting: Vec<_> = PLACES
        .iter()
        .map(|(protocol, tls, farewell)| {
            let talk = idle(&server, protocol, tls);
            thread::sleep(APART);
            (talk, *farewell)
        })
        .collect();
    thread::sleep(Duration::from_secs(1));
    let begun = Instant::now();
    let mut kept = Vec::new();
    for (talk, farewell) in &mut waiting {
        let mut clean = idle(&server, "smtp", "starttls");
        assert!(clean.smtp("EHLO client.example").starts_with("250"));
        assert!(clean.smtp("MAIL FROM:<bob@elsewhere.example>").starts_with("250"));
        assert!(clean.smtp(&format!("RCPT TO:<{USER}>")).starts_with("250"));
        kept.push(clean);
        assert_told_to_go(talk, farewell);
        assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    }
    // Now all have proved something: the next is refused, and nobody else is.
    assert_eq!(idle_line(&server), "421 4.7.0 Too many connections");
    assert_all_go_on(&mut proved);
    for clean in &mut kept {
        assert!(clean.smtp("NOOP").starts_with("250"));
    }
}

fn idle_line(server: &Server) -> String {
    server.talk(server.port("smtp", "starttls")).line()
}

#[test]
fn who_has_proved_nothing_has_little_time_while_most_connections_are_in_use() {
    let server = server(16, "stress_seconds = 1");
    let mut sessions = proved(&server);
    let calm: Vec<_> = PLACES.iter().map(|(protocol, tls, _)| idle(&server, protocol, tls)).collect();
    thread::sleep(Duration::from_millis(2500));
    // Twelve of sixteen are not more than 80 percent.
    for mut talk in calm {
        talk.stream.get_ref().set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        assert_eq!(talk.stream.get_mut().read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
    assert!(!server.log().contains("most connections are in use"));
    sessions.extend(proved(&server));
    sessions.extend(proved(&server));
    for (protocol, tls, farewell) in PLACES {
        let (begun, mut talk) = (Instant::now(), idle(&server, protocol, tls));
        assert_told_to_go(&mut talk, farewell);
        let passed = begun.elapsed();
        assert!(passed >= Duration::from_secs(1) && passed < AT_ONCE, "{protocol} {tls}: {passed:?}");
    }
    assert_all_go_on(&mut sessions);
    assert!(server.log().contains("most connections are in use"), "{}", server.log());
}

#[test]
fn who_has_proved_nothing_has_few_errors_while_most_connections_are_in_use() {
    let server = server(10, "stress_errors = 2");
    let mut proved = proved(&server);
    let mut calm = idle(&server, "smtp", "starttls");
    for _ in 0..4 {
        assert!(calm.smtp("NONSENSE").starts_with("5"));
    }
    let _more: Vec<_> = (0..2).map(|_| idle(&server, "lmtp", "none")).collect();
    for (protocol, command) in
        [("smtp", "NONSENSE"), ("imap", "a NONSENSE"), ("pop3", "NONSENSE"), ("managesieve", "NONSENSE")]
    {
        let mut talk = idle(&server, protocol, "starttls");
        let begun = Instant::now();
        talk.send_anyway(format!("{command}\r\n").repeat(3));
        let told = to_end(&mut talk);
        assert!(told.lines().count() <= 3 && begun.elapsed() < AT_ONCE, "{protocol}: {told}");
    }
    // It was told, too, while it was idle.
    assert!(calm.smtp("NONSENSE").contains("Too many errors"));
    for (talk, ..) in &mut proved {
        for _ in 0..5 {
            talk.send("x NONSENSE\r\n");
            assert!(!talk.line().is_empty());
        }
    }
    assert_all_go_on(&mut proved);
}

#[test]
fn programs_of_this_machine_count_and_come_in() {
    let server = server_with(5, "stress_seconds = 3600", |server| {
        let path = server.folder.path().join("lmtp");
        format!("[[listener]]\nprotocol = \"lmtp\"\naddress = \"unix:{}\"\ntls = \"none\"\n", path.display())
    });
    let connect = || {
        let stream = UnixStream::connect(server.folder.path().join("lmtp")).unwrap();
        stream.set_read_timeout(Some(common::PATIENCE)).unwrap();
        stream
    };
    let greeting = |stream: &mut UnixStream| {
        let mut octets = [0; 4];
        stream.read_exact(&mut octets).unwrap();
        String::from_utf8(octets.into()).unwrap()
    };
    let mut first = connect();
    assert_eq!(greeting(&mut first), "220 ");
    let mut network: Vec<_> = (0..4)
        .map(|_| {
            thread::sleep(APART);
            idle(&server, "smtp", "starttls")
        })
        .collect();
    thread::sleep(Duration::from_millis(1200));
    // The one that waits for longest goes, wherever it came from.
    let begun = Instant::now();
    network.push(idle(&server, "smtp", "starttls"));
    let mut rest = String::new();
    first.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("\r\n421 4.3.2 "), "{rest:?}");
    let mut second = connect();
    assert_eq!(greeting(&mut second), "220 ");
    assert_told_to_go(&mut network[0], "421 4.3.2 ");
    assert!(begun.elapsed() < AT_ONCE);
    second.write_all(b"QUIT\r\n").unwrap();
}

#[test]
fn without_it_whoever_comes_last_is_refused() {
    let server = server(5, "stress_percent = 0");
    let mut waiting: Vec<_> = (0..5).map(|_| idle(&server, "smtp", "starttls")).collect();
    thread::sleep(Duration::from_millis(1200));
    assert_eq!(idle_line(&server), "421 4.7.0 Too many connections");
    for talk in &mut waiting {
        assert!(talk.smtp("NOOP").starts_with("250"));
    }
}
