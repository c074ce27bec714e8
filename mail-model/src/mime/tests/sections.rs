//! Part numbers of IMAP, on the shape of the example in RFC 9051 §6.4.5.1.

use super::super::{Section, SectionError};
use super::*;

/// 1 text, 2 data, 3 message (3.1 text, 3.2 data), 4 multipart (4.1 image, 4.2 message (4.2.1, 4.2.2 multipart)).
const MESSAGE: &str = concat!(
    "Subject: all\nContent-Type: multipart/mixed; boundary=a\n\n",
    "--a\n\n1\n--a\nContent-Type: application/octet-stream\n\n2\n",
    "--a\nContent-Type: message/rfc822\n\nSubject: 3\nContent-Type: multipart/mixed; boundary=b\n\n",
    "--b\n\n3.1\n--b\nContent-Type: application/octet-stream\n\n3.2\n--b--\n",
    "--a\nContent-Type: multipart/mixed; boundary=c\n\n--c\nContent-Type: image/gif\n\n4.1\n",
    "--c\nContent-Type: message/rfc822\n\nSubject: 4.2\nContent-Type: multipart/mixed; boundary=d\n\n",
    "--d\n\n4.2.1\n--d\nContent-Type: multipart/alternative; boundary=e\n\n--e\n\n4.2.2.1\n--e\n\n4.2.2.2\n--e--\n",
    "--d--\n--c--\n--a--\n",
);

fn section(spec: &str) -> Option<&'static str> {
    let structure = Structure::of(MESSAGE.as_bytes());
    let range = structure.locate(&spec.parse().unwrap())?;
    Some(&MESSAGE[range.start as usize..range.end as usize])
}

#[test]
fn leaves_by_their_numbers() {
    for number in ["1", "2", "3.1", "3.2", "4.1", "4.2.1", "4.2.2.1", "4.2.2.2"] {
        assert_eq!(section(number), Some(number));
    }
    for number in ["5", "1.1", "2.1", "3.3", "3.1.1", "4.3", "4.2.2.3", "4.2.2.1.1"] {
        assert_eq!(section(number), None, "{number}");
    }
}

#[test]
fn headers_and_texts() {
    assert_eq!(section(""), Some(MESSAGE));
    assert!(section("HEADER").unwrap().ends_with("boundary=a\n\n"));
    assert!(section("text").unwrap().starts_with("--a\n\n1\n"));
    assert_eq!(section("3.HEADER"), Some("Subject: 3\nContent-Type: multipart/mixed; boundary=b\n\n"));
    assert!(section("3.TEXT").unwrap().starts_with("--b\n\n3.1"));
    assert_eq!(section("3").unwrap(), section("3.HEADER").unwrap().to_owned() + section("3.TEXT").unwrap());
    assert_eq!(section("3.MIME"), Some("Content-Type: message/rfc822\n\n"));
    assert_eq!(section("4.2.HEADER"), Some("Subject: 4.2\nContent-Type: multipart/mixed; boundary=d\n\n"));
    assert_eq!(section("4.1.MIME"), Some("Content-Type: image/gif\n\n"));
    assert_eq!(section("1.MIME"), Some("\n"));
    for number in ["1.HEADER", "1.TEXT", "4.HEADER", "4.TEXT", "4.2.2.TEXT"] {
        assert_eq!(section(number), None, "{number}");
    }
}

#[test]
fn a_message_that_is_no_multipart_has_one_part() {
    let structure = Structure::of(b"A: b\n\ntext");
    let locate = |spec: &str| structure.locate(&spec.parse().unwrap());
    assert_eq!((locate("1"), locate("TEXT"), locate("1.MIME")), (Some(6..10), Some(6..10), Some(0..6)));
    assert_eq!((locate("2"), locate("1.1"), locate("1.TEXT")), (None, None, None));
    let structure = Structure::of(b"Content-Type: message/rfc822\n\nA: b\n\ntext");
    let locate = |spec: &str| structure.locate(&spec.parse().unwrap());
    assert_eq!(
        (locate("1"), locate("1.HEADER"), locate("1.TEXT")),
        (Some(30..40), Some(30..36), Some(36..40))
    );
    assert_eq!((locate("1.1"), locate("1.1.1"), locate("1.2")), (Some(36..40), None, None));
}

#[test]
fn specs_are_read_and_written() {
    for spec in ["", "1", "1.2.3", "HEADER", "TEXT", "1.MIME", "4.2.HEADER", "4294967295"] {
        assert_eq!(spec.parse::<Section>().unwrap().to_string(), spec);
    }
    for spec in
        ["0", "01", "1.", ".1", "1..2", "FOO", "HEADER.1", "1.HEADER.FIELDS", "+1", "4294967296", "1 "]
    {
        assert_eq!(spec.parse::<Section>(), Err(SectionError::Malformed), "{spec}");
    }
    assert_eq!("mime".parse::<Section>(), Err(SectionError::MimeOfNothing));
    assert!(["1"; 100].join(".").parse::<Section>().is_ok());
    assert_eq!(["1"; 101].join(".").parse::<Section>(), Err(SectionError::TooDeep(101)));
    assert!("1.".repeat(1_000_000).parse::<Section>().is_err());
}
