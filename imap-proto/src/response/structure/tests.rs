//! Structures that are read as they were written, and structures no honest server sends.

use proptest::prelude::*;

use super::*;
use crate::response::{Leniency, envelope::tests::envelopes};

fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec(("[a-z]{1,5}", "[ -~é]{0,5}"), 0..3)
}

fn extensions() -> impl Strategy<Value = Option<Extension>> {
    let text = || prop::option::of("[ -~]{0,5}");
    let extension = (
        text(),
        prop::option::of(("[a-z]{1,5}", pairs())),
        prop::collection::vec("[a-z]{0,3}", 0..3),
        text(),
    )
        .prop_map(|(md5, disposition, language, location)| Extension {
            md5,
            disposition,
            language,
            location,
        });
    prop::option::of(extension)
}

fn singles() -> impl Strategy<Value = BodyStructure> {
    let content =
        prop_oneof![Just(Content::Basic), (0..=i64::MAX as u64).prop_map(|lines| Content::Text { lines })];
    let texts = (prop::option::of("[ -~]{0,5}"), prop::option::of("[ -~é]{0,5}"), "[a-z]{0,5}");
    ("[a-z]{1,5}", "[a-z]{1,5}", pairs(), texts, 0..=i64::MAX as u64, content, extensions()).prop_map(
        |(media_type, subtype, parameters, (id, description, encoding), size, content, extension)| {
            BodyStructure {
                media_type,
                subtype,
                parameters,
                id,
                description,
                encoding,
                size,
                content,
                extension,
            }
        },
    )
}

pub(crate) fn structures() -> impl Strategy<Value = BodyStructure> {
    singles().prop_recursive(4, 12, 3, |inner| {
        let message =
            (singles(), envelopes(), inner.clone(), 0..99_u64).prop_map(|(part, envelope, body, lines)| {
                BodyStructure {
                    content: Content::Message { envelope: envelope.into(), body: body.into(), lines },
                    ..part
                }
            });
        let multipart = (prop::collection::vec(inner, 1..4), "[a-z]{1,5}", pairs(), extensions()).prop_map(
            |(parts, subtype, parameters, extension)| BodyStructure {
                media_type: "multipart".into(),
                subtype,
                parameters: if extension.is_some() { parameters } else { Vec::new() },
                extension: extension.map(|extension| Extension { md5: None, ..extension }),
                content: Content::Multipart(parts),
                ..BodyStructure::default()
            },
        );
        prop_oneof![message, multipart]
    })
}

fn read(text: &[u8], leniency: Leniency) -> Result<BodyStructure> {
    let mut reader = Reader::new(text, leniency);
    BodyStructure::read(&mut reader).and_then(|structure| reader.end().map(|()| structure))
}

proptest! {
    #[test]
    fn what_is_written_is_read(structure in structures()) {
        let mut octets = Vec::new();
        structure.encode(&mut octets);
        prop_assert_eq!(read(&octets, Leniency::strict()), Ok(structure.clone()));
        prop_assert_eq!(read(&octets, Leniency::tolerant()), Ok(structure));
    }
}

#[test]
fn the_example_of_the_rfc() {
    let text =
        b"((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 1152 23)(\"TEXT\" \"PLAIN\" \
        (\"CHARSET\" \"US-ASCII\" \"NAME\" \"cc.diff\") \"<960723163407.20117h@cac.washington.edu>\" \
        \"Compiler diff\" \"BASE64\" 4554 73) \"MIXED\")";
    let structure = read(text, Leniency::strict()).unwrap();
    let Content::Multipart(parts) = &structure.content else { panic!("{structure:?}") };
    assert_eq!(parts[1].content, Content::Text { lines: 73 });
    assert_eq!(parts[1].description.as_deref(), Some("Compiler diff"));
    let mut octets = Vec::new();
    structure.encode(&mut octets);
    assert_eq!(octets, text);
}

#[test]
fn what_servers_send_instead() {
    for text in [
        // No lines, no envelope, NIL for an encoding, more extension data than is known, spaces between parts.
        "(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 12)",
        "(\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 12 NIL NIL NIL)",
        "(\"TEXT\" \"PLAIN\" NIL NIL NIL NIL 12 1)",
        "(\"A\" \"B\" NIL NIL NIL \"7BIT\" 12 NIL NIL NIL NIL (1 (2 \"x\")) y)",
        "((\"A\" \"B\" NIL NIL NIL \"7BIT\" 1) (\"A\" \"B\" NIL NIL NIL \"7BIT\" 1) \"MIXED\" NIL)",
    ] {
        assert!(read(text.as_bytes(), Leniency::tolerant()).is_ok(), "{text}");
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| {
        let leaf = "(\"A\" \"B\" NIL NIL NIL \"7BIT\" 1)";
        format!("{}{leaf}{}", "(".repeat(depth - 1), " \"MIXED\")".repeat(depth - 1)).into_bytes()
    };
    for (depth, fits) in
        [(MAX_DEPTH - 1, true), (MAX_DEPTH, true), (MAX_DEPTH + 1, false), (1_000_000, false)]
    {
        assert_eq!(read(&nested(depth), Leniency::tolerant()).is_ok(), fits, "{depth}");
    }
}
