//! The same tree as another parser finds, on well-formed messages.
//!
//! Left out because the two differ on purpose: a boundary in the middle of a line (the other cuts there),
//! and parts after the end of a multipart. And since the other panics there: a message right in a message.

use mail_parser::{MessageParser, MimeHeaders, PartType};
use proptest::prelude::*;

use super::*;

/// A part to write.
#[derive(Clone, Debug)]
enum Tree {
    Text(String),
    Html(String),
    Data(String),
    Multipart(Vec<Self>),
    Message(Box<Self>),
}

fn trees() -> impl Strategy<Value = Tree> {
    let leaf = "([a-zA-Z0-9 ]{1,12}(\r\n)?){0,4}x";
    let leaves =
        prop_oneof![leaf.prop_map(Tree::Text), leaf.prop_map(Tree::Html), leaf.prop_map(Tree::Data),];
    leaves.prop_recursive(6, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..5).prop_map(Tree::Multipart),
            inner.prop_map(|tree| match tree {
                Tree::Message(_) => tree,
                tree => Tree::Message(Box::new(tree)),
            }),
        ]
    })
}

fn write(tree: &Tree, count: &mut usize, text: &mut String) {
    match tree {
        Tree::Text(body) => text.push_str(&format!("Content-Type: text/plain\r\n\r\n{body}")),
        Tree::Html(body) => text.push_str(&format!("Content-Type: text/html\r\n\r\n{body}")),
        Tree::Data(body) => text.push_str(&format!("Content-Type: application/octet-stream\r\n\r\n{body}")),
        Tree::Multipart(parts) => {
            *count += 1;
            let boundary = format!("=_b{count}_");
            text.push_str(&format!("Content-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\n"));
            for part in parts {
                text.push_str(&format!("\r\n--{boundary}\r\n"));
                write(part, count, text);
            }
            text.push_str(&format!("\r\n--{boundary}--\r\n"));
        }
        Tree::Message(inner) => {
            text.push_str("Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n");
            write(inner, count, text);
        }
    }
}

/// Kind and body of every leaf, in order.
fn theirs(text: &str, message: &mail_parser::Message<'_>, found: &mut Vec<(String, String)>) {
    for part in &message.parts {
        let kind = part
            .content_type()
            .map(|kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or_default()));
        let raw = &text[part.raw_body_offset() as usize..part.raw_end_offset() as usize];
        match &part.body {
            PartType::Multipart(_) => {}
            PartType::Message(inner) => theirs(text, inner, found),
            _ => found.push((kind.unwrap_or_default(), raw.to_owned())),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_same_leaves(tree in trees()) {
        let mut text = "Subject: outer\r\n".to_owned();
        write(&tree, &mut 0, &mut text);
        let structure = Structure::of(text.as_bytes());
        let ours: Vec<_> = structure
            .parts()
            .filter(|part| part.shape() == Shape::Leaf)
            .map(|part| {
                let media = part.content().media_type();
                let body = String::from_utf8_lossy(range(text.as_bytes(), part.body())).into_owned();
                (format!("{}/{}", media.kind(), media.subtype()), body)
            })
            .collect();
        let message = MessageParser::default().parse(text.as_bytes()).unwrap();
        let mut found = Vec::new();
        theirs(&text, &message, &mut found);
        prop_assert_eq!(ours, found);
    }
}
