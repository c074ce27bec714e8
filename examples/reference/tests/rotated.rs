//! What the server asks others by, when it is another: secrets in files, and names that can be written in two ways.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use common::{PASSWORD, Server, Talk, USER, refused, succeed, tell, write_private};

/// An authorization server that knows us by this secret, and says of every token that it is Alice's.
fn authorization_server(secret: Arc<Mutex<String>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let mut reader = BufReader::new(socket.try_clone().unwrap());
            let (mut length, mut shown) = (0, String::new());
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap() <= 2 {
                    break;
                }
                let (name, value) = line.split_once(':').unwrap_or_default();
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.trim().parse().unwrap(),
                    "authorization" => value.trim().trim_start_matches("Basic ").clone_into(&mut shown),
                    _ => {}
                }
            }
            reader.read_exact(&mut vec![0; length]).unwrap();
            let right = BASE64_STANDARD.encode(format!("mail:{}", secret.lock().unwrap()));
            let (status, body) = match shown == right {
                true => ("200 OK", format!("{{\"active\":true,\"username\":\"{USER}\"}}")),
                false => ("401 Unauthorized", String::new()),
            };
            let length = body.len();
            let _ = write!(
                socket,
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
        }
    });
    port
}

fn is_let_in(server: &Server, token: &str) -> bool {
    let mut talk = Talk::connect(server.port("imap", "starttls"));
    talk.line();
    let message = BASE64_STANDARD.encode(format!("n,,\x01auth=Bearer {token}\x01\x01"));
    talk.send(format!("a AUTHENTICATE OAUTHBEARER {message}\r\n"));
    talk.line().starts_with("a OK")
}

#[test]
fn a_secret_that_is_another_is_read_again_with_the_configuration() {
    let secret = Arc::new(Mutex::new("one".to_owned()));
    let port = authorization_server(Arc::clone(&secret));
    let mut server = Server::prepare("allow_plaintext_auth = true");
    let (path, file) = (server.folder.path().join("mailwright.toml"), server.folder.path().join("secret"));
    let authority = server.folder.path().join("ca.pem");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(&authority, made.cert.pem()).unwrap();
    write_private(&file, "one\n");
    let config = fs::read_to_string(&path).unwrap();
    let oauth = format!(
        "[auth.oauth]\nurl = \"http://127.0.0.1:{port}/x\"\nclient = \"mail\"\nsecret_file = {file:?}\ntrust = {authority:?}\n"
    );
    fs::write(&path, config + &oauth).unwrap();
    server.add_user(USER, PASSWORD);
    server.serve();
    assert!(is_let_in(&server, "t1"));
    "two".clone_into(&mut secret.lock().unwrap());
    write_private(&file, "two\n");
    assert!(!is_let_in(&server, "t2"));
    tell(&server, "reload");
    assert!(is_let_in(&server, "t3"));
    // One that cannot be used changes nothing.
    write_private(&file, "\n");
    let said = refused(&server, "reload");
    assert!(said.contains("nothing was changed") && said.contains("auth.oauth.secret_file"), "{said}");
    assert!(is_let_in(&server, "t4"));
}

#[test]
fn names_beyond_ascii_are_the_same_in_both_of_their_forms() {
    let mut server = Server::prepare("allow_plaintext_auth = true");
    let path = server.folder.path().join("mailwright.toml");
    let config = fs::read_to_string(&path).unwrap();
    let config = config.replace("[\"example.org\"]", "[\"example.org\", \"m\u{fc}ller.example\"]");
    let more = "[auth]\nmaster_users = [\"Zoe@m\u{fc}ller.example\"]\nmaster_separator = \"*\"\n[http]\nlisten = [\"127.0.0.1:0\"]\n";
    fs::write(&path, config + more).unwrap();
    server.add_user(USER, PASSWORD);
    server.add_user("zoe@m\u{fc}ller.example", PASSWORD);
    server.serve();
    tell(&server, &format!("alias add info@m\u{fc}ller.example {USER}"));
    tell(&server, &format!("alias add b\u{fc}ro {USER} --all-domains"));

    let mut talk = Talk::connect(server.port("pop3", "starttls"));
    talk.line();
    talk.send(format!("USER {USER}*zoe@xn--mller-kva.example\r\nPASS {PASSWORD}\r\n"));
    talk.line();
    let answer = talk.line();
    assert!(answer.starts_with("+OK"), "{answer}");

    let token = succeed(&mut server.command(&["http", "token", "add", "reader"]));
    let token = String::from_utf8(token).unwrap();
    let get = |path: &str| {
        let mut socket = TcpStream::connect(("127.0.0.1", server.port("http", "none"))).unwrap();
        let token = token.trim();
        write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    };
    for (path, expected) in [
        ("/v1/users/zoe@xn--mller-kva.example", "200"),
        ("/v1/users/Zoe@M%C3%BCller.example", "200"),
        ("/v1/users/%22alice%22@example.org", "200"),
        ("/v1/users/nobody@m%C3%BCller.example", "404"),
        ("/v1/aliases/Info@m%C3%BCller.example", "200"),
        ("/v1/pseudonyms/B%C3%BCro", "200"),
        ("/v1/domains/m%C3%BCller.example", "200"),
        ("/v1/domains/XN--mller-kva.example", "200"),
        ("/v1/domains/m%C3%BCller.test", "404"),
    ] {
        let answer = get(path);
        assert_eq!(answer.split(' ').nth(1), Some(expected), "{path}: {answer}");
    }
}
