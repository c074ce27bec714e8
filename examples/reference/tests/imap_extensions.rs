//! Extensions of IMAP on the running server, as clients see them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::{fs, io::Read, path::Path, process::Command};

use common::{PASSWORD, Server, USER, have, inbox, run};

fn server(more: &str) -> Server {
    let mut server = Server::prepare("allow_plaintext_auth = true");
    let path = server.folder.path().join("mailwright.toml");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(&path, config.replace("[limits]\n", &format!("[limits]\n{more}\n"))).unwrap();
    server.add_user(USER, PASSWORD);
    server.serve();
    server
}

/// From here on the peak is counted anew.
fn forget_peak(server: &Server) {
    fs::write(format!("/proc/{}/clear_refs", server.pid()), "5").unwrap();
}

/// RFC 3516: 64 MB of base64 come out decoded, and the server never holds more than a little of them.
#[test]
fn a_large_part_is_decoded_while_it_is_sent() {
    let server = server("message_size = 0");
    let mut talk = inbox(&server);
    let head = "Subject: large\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n\
                Content-Transfer-Encoding: base64\r\n\r\n";
    // 57 octets a line, as RFC 2045 has them: "AAAA" is three NULs, and the number of the line follows.
    const LINES: usize = 64_000_000 / 78;
    let line = |number: usize| format!("{number:08}{}\r\n", "AAAA".repeat(17));
    let size = head.len() + LINES * line(0).len();
    talk.send(format!("a APPEND INBOX {{{size}+}}\r\n{head}"));
    for start in (0..LINES).step_by(10_000) {
        talk.send((start..LINES.min(start + 10_000)).map(line).collect::<String>());
    }
    talk.send("\r\n");
    assert!(talk.until("a").last().unwrap().starts_with("a OK"));
    forget_peak(&server);
    let before = server.memory().0;
    let decoded = LINES * 57;
    let told = talk.imap("b", "FETCH 1 BINARY.SIZE[1]");
    assert_eq!(told[0], format!("* 1 FETCH (BINARY.SIZE[1] {decoded})"));
    talk.send("c FETCH 1 (BINARY.PEEK[1] RFC822.SIZE)\r\n");
    assert_eq!(talk.line(), format!("* 1 FETCH (BINARY[1] ~{{{decoded}}}"));
    let mut octets = vec![0; decoded];
    talk.stream.read_exact(&mut octets).unwrap();
    for number in [0, 1, 2, LINES / 2, LINES - 1] {
        let digits: Vec<u8> = format!("{number:08}").into_bytes();
        // Six bits a digit: '0' to '9' are 52 to 61.
        let bits = digits.iter().fold(0_u64, |bits, digit| bits << 6 | u64::from(digit - b'0' + 52));
        let line = &octets[number * 57..][..57];
        assert_eq!(line[..6], bits.to_be_bytes()[2..], "{number}");
        assert!(line[6..].iter().all(|octet| *octet == 0));
    }
    assert_eq!(talk.line(), format!(" RFC822.SIZE {size})"));
    assert!(talk.line().starts_with("c OK"));
    // A part of it, from the middle.
    let offset = LINES / 2 * 57;
    talk.send(format!("d FETCH 1 BINARY.PEEK[1]<{offset}.100000>\r\n"));
    assert_eq!(talk.line(), format!("* 1 FETCH (BINARY[1]<{offset}> ~{{100000}}"));
    let mut part = vec![0; 100_000];
    talk.stream.read_exact(&mut part).unwrap();
    assert_eq!(part, octets[offset..offset + 100_000]);
    assert!(talk.until("d").last().unwrap().starts_with("d OK"));
    let peak = server.memory().1;
    // Pages of the file that is read count too, but neither form of the part fits in here.
    assert!(peak.saturating_sub(before) < 40 << 10, "{before} KiB before, {peak} KiB at the peak");
}

#[test]
fn compressed_sessions() {
    if !have("python3") {
        return;
    }
    let server = server("");
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/imap_compress.py");
    let port = server.port("imap", "implicit").to_string();
    let output = run(Command::new("python3").arg(program).args([USER, PASSWORD, &port]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (_, peak) = server.memory();
    assert!(peak < 200 << 10, "{peak} KiB");
    assert!(!server.log().contains("panicked"));
}
