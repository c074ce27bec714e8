//! A server with the mailboxes of two, and what is said to it by IMAP.
#![allow(unreachable_pub, reason = "a module of several test programs")]
#![allow(dead_code, reason = "each test program uses a part of this")]

use std::fs;

use crate::common::{PASSWORD, Server, Talk, USER};

pub const BOB: &str = "bob@example.org";

/// A server with more in its configuration.
pub fn server(more: &str) -> Server {
    let mut server = Server::prepare("allow_plaintext_auth = true");
    let path = server.folder.path().join("mailwright.toml");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{config}\n{more}\n")).unwrap();
    for user in [USER, BOB] {
        server.add_user(user, PASSWORD);
    }
    server.serve();
    server
}

/// A command that has to succeed.
pub fn done(talk: &mut Talk, command: &str) -> Vec<String> {
    let lines = talk.imap("x", command);
    assert!(lines.last().unwrap().starts_with("x OK"), "{command}: {lines:?}");
    lines
}
