//! HTTP behind a proxy: who asks is whom the proxy names, and nobody whom the client itself does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::{fs, io::Read};

use common::{Server, Talk, tell, wait_for};

const HEADER: &str = "PROXY TCP4 192.0.2.66 198.51.100.1 40000 80\r\n";

fn start(proxies: &str) -> Server {
    let mut server = Server::prepare(&format!("proxies = [{proxies}]"));
    let path = server.folder.path().join("mailwright.toml");
    let config = fs::read_to_string(&path).unwrap()
        + "[http]\nlisten = [\"127.0.0.1:0\"]\n\
           [auth]\nexempt = []\nfailures_per_address = 2\npenalty_milliseconds = 0\n";
    fs::write(&path, config).unwrap();
    server.serve();
    server
}

/// Asks with a token; the status, none if there was no answer.
fn ask(server: &Server, header: &str, token: &str, fields: &str) -> Option<u16> {
    let mut talk = Talk::connect(server.port("http", "none"));
    let request = format!(
        "GET /v1/queue HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{fields}Connection: close\r\n\r\n"
    );
    talk.send(format!("{header}{request}"));
    let mut answer = String::new();
    // Where nobody is heard the connection is reset, perhaps.
    let _ = talk.stream.read_to_string(&mut answer);
    answer.split(' ').nth(1).map(|status| status.parse().unwrap())
}

#[test]
fn who_guesses_behind_a_proxy_is_banned_and_the_proxy_is_not() {
    let server = start("\"127.0.0.1\"");
    let token = tell(&server, "http token add all");
    let token = token.trim();
    assert_eq!(ask(&server, HEADER, token, ""), Some(200));
    // What the proxy passes on of the client's own words changes nothing.
    for _ in 0..2 {
        let forged = "X-Forwarded-For: 203.0.113.1\r\nForwarded: for=203.0.113.1\r\n";
        assert_eq!(ask(&server, HEADER, "guess", forged), Some(401));
    }
    assert_eq!(ask(&server, HEADER, "guess", ""), Some(429));
    let bans = tell(&server, "ban list");
    assert!(bans.starts_with("192.0.2.66 ") && bans.lines().count() == 1, "{bans}");
    assert_eq!(ask(&server, &HEADER.replace("66", "67"), "guess", ""), Some(401));
    // Who may name others does, or is not heard.
    assert_eq!(ask(&server, "", token, ""), None);
    wait_for("the log", || server.log().contains("expected a PROXY header").then_some(()));
}

#[test]
fn who_is_no_proxy_is_told_nothing_by_a_header() {
    let server = start("\"10.0.0.1\"");
    let token = tell(&server, "http token add all");
    assert_eq!(ask(&server, "", token.trim(), ""), Some(200));
    assert_eq!(ask(&server, HEADER, token.trim(), ""), Some(400));
    // Everything else that believes proxies does so from now on, and that here is told.
    let path = server.folder.path().join("mailwright.toml");
    fs::write(&path, fs::read_to_string(&path).unwrap().replace("10.0.0.1", "127.0.0.1")).unwrap();
    assert!(tell(&server, "reload").contains("proxies, for [http]"));
    assert_eq!(ask(&server, "", token.trim(), ""), Some(200));
}
