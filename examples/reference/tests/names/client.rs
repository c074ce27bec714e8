//! Servers that ask the name server of a test, and clients that come from where the test says.

use std::fs;

use super::Names;
use crate::common::{PASSWORD, Server, Talk, USER};

/// A server with one account.
pub fn start(names: &Names, extra: &str) -> Server {
    let mut server = Server::prepare(&format!(
        "allow_plaintext_auth = true\nsmtp.xclient = [\"127.0.0.0/8\"]\ndns.servers = [\"127.0.0.1:{}\"]\n{extra}",
        names.port
    ));
    let path = server.folder.path().join("mailwright.toml");
    let config = fs::read_to_string(&path).unwrap().replace("[limits]\n", "[limits]\nmessage_size = 0\n");
    fs::write(&path, config).unwrap();
    server.add_user(USER, PASSWORD);
    server.serve();
    server
}

/// A session of a client at this address, which says this name.
pub fn client(server: &Server, address: &str, name: &str) -> Talk {
    let mut talk = server.talk(server.port("smtp", "starttls"));
    assert!(talk.reply().starts_with("220 "));
    assert!(talk.smtp("EHLO proxy.example").starts_with("250"));
    assert!(talk.smtp(&format!("XCLIENT ADDR={address} NAME={name}")).starts_with("220 "));
    assert!(talk.smtp(&format!("EHLO {name}")).starts_with("250"));
    talk
}
