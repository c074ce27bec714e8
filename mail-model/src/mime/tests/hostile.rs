//! Hostile messages: each has a structure that is small and well formed, found in one pass.

use super::*;

/// The structure, checked for what every reader relies on.
fn scan(message: &[u8]) -> Structure {
    let mut scanner = Scanner::new();
    for piece in message.chunks(1460) {
        scanner.push(piece);
        assert!(scanner.held() <= 2 * Limits::FIELD);
    }
    let structure = scanner.finish();
    assert!(structure.len() <= Limits::PARTS && depth(&structure) <= Limits::DEPTH);
    assert_eq!(structure.octets(), message.len() as u64);
    assert_eq!(Structure::from_bytes(&structure.to_bytes()).unwrap(), structure);
    structure
}

fn depth(structure: &Structure) -> usize {
    let mut depths: Vec<usize> = Vec::new();
    for part in structure.parts() {
        depths.push(part.parent().map_or(1, |parent| depths[parent] + 1));
    }
    depths.into_iter().max().unwrap()
}

#[test]
fn ten_thousand_nested_multiparts() {
    let mut message = String::new();
    for level in 0..10_000 {
        message
            .push_str(&format!("Content-Type: multipart/mixed; boundary=b{level}.\r\n\r\n--b{level}.\r\n"));
    }
    let structure = scan(message.as_bytes());
    assert_eq!((structure.len(), depth(&structure)), (100, 100));
}

#[test]
fn a_hundred_thousand_siblings() {
    let message =
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_owned() + &"--b\r\n\r\nx\r\n".repeat(100_000);
    let structure = scan(message.as_bytes());
    assert_eq!(structure.len(), Limits::PARTS);
    assert_eq!(structure.children(0).count(), Limits::PARTS - 1);
    let last = structure.part(Limits::PARTS - 1).unwrap();
    assert_eq!(last.body().end, message.len() as u64);
}

#[test]
fn five_thousand_nested_messages() {
    let message = "Content-Type: message/rfc822\r\n\r\n".repeat(5_000);
    let structure = scan(message.as_bytes());
    assert_eq!((structure.len(), depth(&structure)), (100, 100));
}

/// At its end: a hundred messages whose headers all end with the octets.
#[test]
fn nested_messages_without_a_body() {
    let structure = scan("Content-Type: message/rfc822\r\n\r\n".repeat(50).as_bytes());
    assert_eq!((structure.len(), depth(&structure)), (51, 51));
}

/// Long fields and many fields.
#[test]
fn headers_are_cut_not_held() {
    let to = format!("To: {}\r\n\r\n", "a@x,".repeat(100_000));
    let many = "To: a@x\r\n".repeat(100_000) + "\r\n";
    let folded = format!("To: a@x{}\r\n\r\n", "\r\n ,b@x".repeat(500_000));
    let words = format!("Subject: {}\r\n\r\n", "=?utf-8?q?a ".repeat(60_000));
    let references = format!("References:{}\r\n\r\n", " <a@b>".repeat(50_000));
    let id = format!("Message-ID: <{}>\r\n\r\n", "m".repeat(2 << 20));
    for message in [to, many, folded, words, references, id] {
        let structure = scan(message.as_bytes());
        let part = structure.part(0).unwrap();
        assert_eq!(part.header(), 0..message.len() as u64);
        assert!(structure.to_bytes().len() <= Limits::FIELD + 100);
    }
}

/// What all headers together leave behind is bounded, not only what each does.
#[test]
fn many_long_headers_are_cut() {
    let part = format!("--b\r\nContent-Description: {}\r\n\r\n", "d".repeat(500_000));
    let message = "Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_owned() + &part.repeat(30);
    let structure = scan(message.as_bytes());
    assert_eq!(structure.len(), 31);
    assert!(structure.to_bytes().len() <= Limits::HEADER);
}

/// Nor can short values in many headers grow to many times the message.
#[test]
fn addresses_and_parameters_of_all_headers_are_cut() {
    let addresses = "a,".repeat(10_000);
    let nested =
        format!("Content-Type: message/rfc822\r\nTo: {addresses}\r\nCc: {addresses}\r\n\r\n").repeat(90);
    let structure = scan(nested.as_bytes());
    // What is cut of the last headers is also that they hold messages.
    assert!((10..=91).contains(&structure.len()));
    let entries: usize =
        structure.parts().filter_map(|part| part.envelope()).map(|envelope| envelope.entries()).sum();
    assert!((10_000..=Limits::HEADER / 128).contains(&entries), "{entries}");

    let part = format!("--b\r\nContent-Type: a/b{}\r\n\r\n", ";a=".repeat(128));
    let message = "Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_owned() + &part.repeat(5_000);
    let structure = scan(message.as_bytes());
    let parameters: usize =
        structure.parts().map(|part| part.content().media_type().parameters().len()).sum();
    assert!((10_000..=Limits::HEADER / 128 + 5_000).contains(&parameters), "{parameters}");
}

#[test]
fn fifty_thousand_parameters() {
    let pieces: String = (0..50_000).map(|number| format!("; n*{number}=x")).collect();
    let structure = scan(format!("Content-Type: text/plain{pieces}\r\n\r\n").as_bytes());
    let parameters = structure.part(0).unwrap().content().media_type().parameters();
    assert_eq!(parameters.iter().map(|parameter| parameter.value().len()).sum::<usize>(), Limits::PARAMETERS);
}

/// Little messages that are no messages.
#[test]
fn malformed_messages() {
    let messages: [&[u8]; 13] = [
        b"",
        b"\r",
        b"\n",
        b"x",
        b"-",
        b"no header at all\r\nbut two lines\r\n",
        b"Subject: no end of header",
        b"Content-Type: text/plain (comment \\",
        b"From ann Thu Jan  1 00:00:00 1970\n>From bob\nSubject: tea\n\nbody\n",
        b"Date: 99 Foo 99999999999999999999 99:99:99 +9999\r\n\r\n",
        b"Subject: a\rb\0c\r\nContent-Type: \0/\0; \0=\0\r\n\r\n\0\r\0",
        b": empty\r\n :\r\n\xff\xfe: x\r\nContent-Type:\r\n\r\n",
        b"\r\r\n\r\r\n\r\n",
    ];
    for message in messages {
        let structure = scan(message);
        assert_eq!(structure.len(), 1, "{message:?}");
    }
    assert_eq!(scan(b"Subject: no end").part(0).unwrap().envelope().unwrap().subject(), Some(&b"no end"[..]));
}

/// The innermost multipart of that boundary takes the parts.
#[test]
fn a_digest_with_one_boundary_at_every_level() {
    let level = "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\n";
    let structure = scan(level.repeat(2_000).as_bytes());
    assert!(depth(&structure) <= Limits::DEPTH);
    let structure = scan((level.repeat(20) + &"--b--\r\n".repeat(30)).as_bytes());
    assert_eq!(depth(&structure), 20 * 2 + 1);
}

/// Each line could be a boundary, and each of a hundred is open.
#[test]
fn a_flood_of_near_boundaries() {
    let mut message = String::new();
    for level in 0..99 {
        message.push_str(&format!(
            "Content-Type: multipart/mixed; boundary={}{level}\r\n\r\n--",
            "b".repeat(70)
        ));
        message.push_str(&format!("{}{level}\r\n", "b".repeat(70)));
    }
    message.push_str("\r\n");
    message.push_str(&format!("--{}\r\n", "b".repeat(70)).repeat(20_000));
    let structure = scan(message.as_bytes());
    assert_eq!(structure.len(), 100);
    assert_eq!(structure.part(99).unwrap().lines(), 20_000);
}

/// A line without an end is not held, whatever it begins with.
#[test]
fn a_boundary_line_without_an_end() {
    let head = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n--";
    let structure = scan((head.to_owned() + "b" + &" ".repeat(1_000_000)).as_bytes());
    assert_eq!(structure.len(), 3);
    assert_eq!((structure.part(1).unwrap().body_octets, structure.part(2).unwrap().body_octets), (0, 0));
    let structure = scan((head.to_owned() + &" ".repeat(1_000_000)).as_bytes());
    assert_eq!(structure.len(), 2);
    assert_eq!(structure.part(1).unwrap().body_octets, 1_000_002);
}

/// Parts that lie too deep are seen by the boundaries around them that start theirs, and cost no more for it.
#[test]
fn nested_boundaries_that_start_each_other() {
    let mut message = String::new();
    for level in 0..10_000 {
        message.push_str(&format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n"));
    }
    let structure = scan(message.as_bytes());
    assert!(structure.len() > 100 && depth(&structure) == 100);
}
