//! The IMAP service over a store in memory, as a client on a socket sees it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

#[path = "client/world.rs"]
#[allow(dead_code, reason = "shared with the tests of the clients")]
mod world;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use world::{PASSWORD, Protection, USER, World};

/// A session that is logged in.
struct Talk {
    socket: TcpStream,
    read: Vec<u8>,
}

impl Talk {
    async fn new(world: &World, user: &str) -> Self {
        let socket = TcpStream::connect(world.address(Protection::Plain)).await.unwrap();
        let mut talk = Self { socket, read: Vec::new() };
        talk.line().await;
        let answer = talk.run(&format!("LOGIN {user} \"{PASSWORD}\"")).await;
        assert!(answer.contains("x OK"), "{answer}");
        talk
    }

    async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.read.iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return String::from_utf8(line).unwrap();
            }
            let count = self.socket.read_buf(&mut self.read).await.unwrap();
            assert_ne!(count, 0, "the server has closed");
        }
    }

    /// A command, and all that is said until it ends.
    async fn run(&mut self, command: &str) -> String {
        self.socket.write_all(format!("x {command}\r\n").as_bytes()).await.unwrap();
        let mut said = String::new();
        loop {
            let line = self.line().await;
            said += &line;
            if line.starts_with("x ") {
                return said;
            }
        }
    }

    /// The text of a message.
    async fn text(&mut self, uid: u32) -> String {
        let said = self.run(&format!("UID FETCH {uid} (BODY.PEEK[])")).await;
        let (_, rest) = said.split_once("}\r\n").unwrap_or_else(|| panic!("{said}"));
        rest.rsplit_once(")\r\nx OK").unwrap().0.to_owned()
    }
}

#[tokio::test]
async fn several_messages_come_at_one_moment_in_pieces_and_in_the_place_of_others() {
    let world = World::new(false).await;
    let mut talk = Talk::new(&world, USER).await;
    let said = talk.run("APPEND INBOX (\\Seen) {8+}\r\nA: 1\r\n\r\n (\\Draft) {9+}\r\nB: 2\r\n\r\nx").await;
    assert!(said.contains(" 1:2] APPEND completed"), "{said}");
    // None of them is there if one cannot be.
    let said = talk.run("APPEND INBOX {8+}\r\nA: 1\r\n\r\n CATENATE (URL /INBOX/;UID=99)").await;
    assert!(said.contains("NO [BADURL /INBOX/;UID=99]"), "{said}");
    let said = talk.run("STATUS INBOX (MESSAGES UIDNEXT)").await;
    assert!(said.contains("(MESSAGES 2 UIDNEXT 3)"), "{said}");
    let said = talk
        .run("APPEND INBOX CATENATE (URL /INBOX/;UID=1/;SECTION=HEADER TEXT {3+}\r\nabc URL \"/INBOX/;UID=2/;SECTION=HEADER.FIELDS%20(B)/;PARTIAL=1.4\")")
        .await;
    assert!(said.contains(" 3] APPEND completed"), "{said}");
    talk.run("SELECT INBOX").await;
    assert_eq!(talk.text(3).await, "A: 1\r\n\r\nabc: 2\r");
    let said = talk.run("REPLACE 2 INBOX (\\Draft) CATENATE (URL \";UID=2\" TEXT {1+}\r\ny)").await;
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("* OK [APPENDUID ") && lines[0].contains(" 4] "), "{said}");
    assert!(lines.contains(&"* 2 EXPUNGE") && lines.last() == Some(&"x OK REPLACE completed"), "{said}");
    assert_eq!(talk.text(4).await, "B: 2\r\n\r\nxy");
    assert!(talk.run("UID SEARCH ALL").await.starts_with("* SEARCH 1 3 4\r\n"));
    let said = talk.run("UID REPLACE 2 INBOX {1+}\r\nx").await;
    assert!(said.ends_with("x NO there is no such message\r\n"), "{said}");
    let said = talk.run("UID REPLACE 1 nowhere {1+}\r\nx").await;
    assert!(said.contains("NO [TRYCREATE]"), "{said}");
}
