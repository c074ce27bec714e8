//! Tests of the scanner: examples, any split, hostile messages, and another parser.

mod differential;
mod hostile;
mod sections;
mod splits;

use super::{Limits, Part, Scanner, Shape, Sink, Structure};

/// The tree in one line: type and body of leaves, containers with brackets.
fn outline(structure: &Structure, message: &[u8]) -> String {
    let mut text = String::new();
    let mut open: Vec<(u32, char)> = Vec::new();
    for (index, part) in structure.parts().enumerate() {
        while let Some((_, bracket)) = open.pop_if(|(after, _)| *after as usize == index) {
            text.push(bracket);
        }
        let media = part.content().media_type();
        match part.shape() {
            Shape::Leaf => {
                let body = String::from_utf8_lossy(range(message, part.body()));
                text.push_str(&format!("{}/{}={body:?};", media.kind(), media.subtype()));
            }
            Shape::Multipart => {
                text.push('[');
                open.push((part.after, ']'));
            }
            Shape::Message => {
                text.push('<');
                open.push((part.after, '>'));
            }
        }
    }
    text.extend(open.iter().rev().map(|(_, bracket)| bracket));
    text
}

fn range(message: &[u8], range: std::ops::Range<u64>) -> &[u8] {
    &message[range.start as usize..range.end as usize]
}

fn outline_of(message: &str) -> String {
    outline(&Structure::of(message.as_bytes()), message.as_bytes())
}

#[test]
fn a_message_with_lf_and_one_with_crlf() {
    let message = concat!(
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"b\"\n\npreamble\n",
        "--b\n\nfirst\n--b \t\nContent-Type: text/html\n\n<p>\n\n--b--\nepilogue\n--b\n\nno part\n",
    );
    let outline = "[text/plain=\"first\";text/html=\"<p>\\n\";]";
    assert_eq!(outline_of(message), outline);
    assert_eq!(outline_of(&message.replace('\n', "\r\n")), outline.replace("\\n", "\\r\\n"));
}

#[test]
fn only_the_start_of_a_line_is_a_boundary() {
    let message = concat!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n",
        "--b\r\n\r\nmid --b line\r\n --b\r\n-b\r\n--B\r\n--\r\n--b--\r\n",
    );
    assert_eq!(outline_of(message), r#"[text/plain="mid --b line\r\n --b\r\n-b\r\n--B\r\n--";]"#);
}

/// RFC 2046 §5.1.1: "An exact match of the entire candidate line is not required".
#[test]
fn a_boundary_with_anything_behind_it() {
    let head = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nsee\r\n";
    for behind in ["junk", " x", "\t;y", "-", "-b", "\rx", "\u{e9}", ": x"] {
        let message = format!("{head}--b{behind}\r\nContent-Type: text/html\r\n\r\nhidden\r\n--b--\r\n");
        assert_eq!(outline_of(&message), r#"[text/plain="see";text/html="hidden";]"#, "{behind:?}");
    }
    for behind in ["junk", " x", "-", "--"] {
        let message = format!("{head}--b--{behind}\r\nepilogue\r\n--b\r\n\r\nno part\r\n");
        assert_eq!(outline_of(&message), r#"[text/plain="see";]"#, "{behind:?}");
    }
    // Of a line of any length, and where no line of the header ended.
    for length in [0, 1, 1081, 1082, 1083, 1084, 5000] {
        let message =
            format!("{head}--b{}\r\nA: b\r\n--b{0}\r\n\r\nhidden\r\n--b--{0}\n\r\n", "x".repeat(length));
        assert_eq!(
            outline_of(&message),
            r#"[text/plain="see";text/plain="";text/plain="hidden";]"#,
            "{length}"
        );
    }
}

/// A boundary that starts another, on either side.
#[test]
fn a_boundary_that_starts_another() {
    let message = concat!(
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=bc\n\n",
        "--bc\n\none\n--bc--\n--b\nContent-Type: multipart/mixed; boundary=\"b--\"\n\n--b--\n\ntwo\n--b----\n--b--\n",
    );
    assert_eq!(outline_of(message), r#"[[text/plain="one";][text/plain="two";]]"#);
}

#[test]
fn nested_messages_and_digests() {
    let message = concat!(
        "Content-Type: multipart/digest; boundary=d\n\n--d\n\nSubject: one\n\nbody\n--d\nContent-Type: text/plain\n\n",
        "two\n--d\n\nContent-Type: multipart/mixed; boundary=e\n\n--e\n\nthree\n--d--\n",
    );
    let structure = Structure::of(message.as_bytes());
    assert_eq!(
        outline(&structure, message.as_bytes()),
        r#"[<text/plain="body";>text/plain="two";<[text/plain="three";]>]"#
    );
    let nested = structure.part(2).unwrap();
    assert_eq!(nested.envelope().unwrap().subject(), Some(&b"one"[..]));
    assert_eq!(nested.parent(), Some(1));
    assert_eq!(structure.part(1).unwrap().envelope(), None);
    assert!(structure.children(0).eq([1, 3, 4]));
    assert_eq!((structure.len(), structure.octets()), (7, message.len() as u64));
}

/// RFC 2045 §6.4 forbids it; what is encoded cannot be looked into by ranges.
#[test]
fn an_encoded_message_is_a_leaf() {
    let message = "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogYQ==\n";
    assert_eq!(outline_of(message), r#"message/rfc822="U3ViamVjdDogYQ==\n";"#);
}

#[test]
fn lines_and_octets() {
    let message = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\ntwo\r\n--b\r\n\r\n--b\r\n\r\n\r\n\r\n--b--\r\n";
    let structure = Structure::of(message);
    let lines: Vec<_> = structure.parts().map(|part| (part.lines(), part.body_octets)).collect();
    assert_eq!(lines, [(11, 42), (1, 8), (0, 0), (1, 2)]);
    assert_eq!(Structure::of(b"A: b\n\none\ntwo").part(0).unwrap().lines(), 1);
}

#[test]
fn parts_without_an_end() {
    let head = "Content-Type: multipart/mixed; boundary=b\n\n";
    assert_eq!(outline_of(head), r#"multipart/mixed="";"#);
    assert_eq!(outline_of(&format!("{head}text\n")), r#"multipart/mixed="text\n";"#);
    assert_eq!(outline_of(&format!("{head}--b")), r#"[text/plain="";]"#);
    assert_eq!(outline_of(&format!("{head}--b\n\ntext\n--b--")), r#"[text/plain="text";]"#);
    assert_eq!(outline_of(&format!("{head}--b\n\ntext\n")), r#"[text/plain="text\n";]"#);
    assert_eq!(
        outline_of(&format!("{head}--b\nContent-Type: text/html\n--b\n\nx\n")),
        r#"[text/html="";text/plain="x\n";]"#
    );
    assert_eq!(
        outline_of(&format!("{head}--b\nContent-Type: message/rfc822\n--b--\n")),
        r#"[<text/plain="";>]"#
    );
    assert_eq!(outline_of("Content-Type: multipart/mixed\n\n--b\n\nx\n"), r#"multipart/mixed="--b\n\nx\n";"#);
}

#[test]
fn a_closed_multipart_leaves_the_outer_one_open() {
    let message = concat!(
        "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=b\n\n",
        "--b\n\none\n--b--\n--b\n\nepilogue\n--a\n\ntwo\n--a--\n",
    );
    assert_eq!(outline_of(message), r#"[[text/plain="one";]text/plain="two";]"#);
}

#[test]
fn the_last_part_allowed_takes_the_rest() {
    let limits = Limits { parts: 2, ..Limits::default() };
    let message = b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\n\ntwo\n--b--\n";
    let mut scanner = Scanner::with_limits(limits);
    scanner.push(message);
    assert_eq!(outline(&scanner.finish(), message), r#"[text/plain="one\n--b\n\ntwo\n--b--\n";]"#);
}

/// What a sink hears, put together.
#[derive(Default, PartialEq, Eq, Debug)]
struct Heard {
    fields: Vec<(usize, Vec<u8>)>,
    bodies: Vec<Vec<u8>>,
    ends: Vec<usize>,
}

impl Sink for Heard {
    fn wants_fields(&self) -> bool {
        true
    }

    fn field(&mut self, part: usize, field: &[u8]) {
        self.fields.push((part, field.to_vec()));
    }

    fn header_end(&mut self, part: usize, _: &Part) {
        assert_eq!(part, self.bodies.len());
        self.bodies.push(Vec::new());
    }

    fn body(&mut self, part: usize, octets: &[u8]) {
        self.bodies[part].extend_from_slice(octets);
    }

    fn part_end(&mut self, part: usize) {
        self.ends.push(part);
    }
}
