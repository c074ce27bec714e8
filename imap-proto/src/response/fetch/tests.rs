//! FETCH responses that are read as they were written, and what servers send instead.

use bytes::Buf;
use mailwright_line_proto::Transmit;
use proptest::prelude::*;

use super::*;
use crate::{
    command::Partial,
    response::{Leniency, Response, envelope::tests::envelopes, structure::tests::structures},
};

fn sections() -> impl Strategy<Value = FetchedSection> {
    let number = (1_u32..).prop_map(|number| NonZeroU32::new(number).unwrap());
    let text = prop_oneof![
        Just(SectionText::Whole),
        Just(SectionText::Text),
        prop::collection::vec("[!-9;-~]{1,5}", 1..3).prop_map(SectionText::HeaderFields),
    ];
    let body = (prop::collection::vec(number, 0..3), text, prop::option::of(0..1_u64 << 40))
        .prop_map(|(part, text, origin)| FetchedSection::new(Section::new(part, text), origin));
    let whole = FetchedSection {
        name: BodyName::Rfc822,
        section: Section::new(Vec::new(), SectionText::Whole),
        origin: None,
    };
    prop_oneof![body, Just(whole)]
}

fn items() -> impl Strategy<Value = FetchedItem> {
    prop_oneof![
        any::<bool>().prop_map(|recent| {
            FetchedItem::Flags(FlagList::new("(\\Seen $x)".parse().unwrap()).recent(recent))
        }),
        (1..u32::MAX).prop_map(|uid| FetchedItem::Uid(Uid::new(uid).unwrap())),
        (0..1_i64 << 32, -700..700_i16)
            .prop_map(|(seconds, offset)| FetchedItem::InternalDate(DateTime::new(seconds, offset).unwrap())),
        (0..1_u64 << 62).prop_map(FetchedItem::Size),
        envelopes().prop_map(|envelope| FetchedItem::Envelope(envelope.into())),
        structures().prop_map(|structure| FetchedItem::Body(structure.into())),
        structures().prop_map(|structure| FetchedItem::BodyStructure(structure.into())),
        (1..1_u64 << 62).prop_map(|number| FetchedItem::ModSeq(ModSeq::new(number).unwrap())),
        (sections(), prop::option::of(prop::collection::vec(any::<u8>(), 0..9)))
            .prop_map(|(section, octets)| FetchedItem::Section(section, octets.map(Bytes::from))),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(number in 1..u32::MAX, items in prop::collection::vec(items(), 0..5)) {
        let fetched = Fetched::new(NonZeroU32::new(number).unwrap(), items);
        let mut octets = Vec::new();
        fetched.encode(&mut octets);
        let expected = Ok(Response::Fetch(in_literals(fetched)));
        prop_assert_eq!(&Response::parse(&octets, Leniency::strict()), &expected);
        prop_assert_eq!(&Response::parse(&octets, Leniency::tolerant()), &expected);
    }
}

/// RFC 9051 §9: NUL is in no literal but a literal8, which is for BINARY.
fn in_literals(mut fetched: Fetched) -> Fetched {
    for item in &mut fetched.items {
        if let FetchedItem::Section(_, Some(octets)) = item {
            *octets = octets.iter().map(|octet| if *octet == 0 { 0x80 } else { *octet }).collect();
        }
    }
    fetched
}

fn read(line: &str) -> Result<Response> {
    Response::parse(line.as_bytes(), Leniency::tolerant())
}

#[test]
fn what_servers_send_instead() {
    let fetched = |line: &str| match read(line) {
        Ok(Response::Fetch(fetched)) => fetched.items,
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(fetched("* 1 FETCH ( UID  7 )"), [FetchedItem::Uid(Uid::new(7).unwrap())]);
    assert_eq!(fetched("* 1 fetch (X-GM-LABELS (\"a\" b]) X-GM-MSGID 12 uid 7)").len(), 1);
    assert_eq!(fetched("* 1 FETCH (BODY[HEADER.FIELDS (\"DATE\")] NIL)").len(), 1);
    for bad in ["* 1 FETCH", "* 1 FETCH UID 7", "* 0 FETCH (UID 7)", "* 1 FETCH (UID 0)", "* 1 FETCH (UID 7"]
    {
        assert!(read(bad).is_err(), "{bad}");
    }
    let deep = format!("* 1 FETCH (BODYSTRUCTURE {})", "(".repeat(1_000_000));
    assert!(read(&deep).is_err());
}

#[test]
fn the_name_in_the_response_is_that_of_the_request() {
    let section = Section::new(vec![NonZeroU32::MIN], SectionText::Mime);
    let request = BodySection::peek(section.clone()).with_partial(Partial::new(5, 9));
    let (mut one, mut other) = (Vec::new(), Vec::new());
    request.encode_in_response(&mut one);
    FetchedSection::new(section, Some(5)).encode(&mut other);
    assert_eq!(one, other);
}

#[test]
fn fifty_thousand_messages_are_written_without_a_second_copy() {
    let (mut transmit, mut octets) = (Transmit::default(), Vec::new());
    let flags: FlagSet = "(\\Seen \\Answered $Forwarded)".parse().unwrap();
    for number in (1..=50_000).filter_map(NonZeroU32::new) {
        let mut writer = FetchWriter::new(number, &mut transmit);
        writer.uid(Uid::new(number.get()).unwrap());
        writer.flags(&flags, false);
        writer.end();
        let mut writer = FetchWriter::new(number, &mut octets);
        writer.uid(Uid::new(number.get()).unwrap());
        writer.flags(&flags, false);
        writer.end();
    }
    assert_eq!(transmit.len(), octets.len());
    assert_eq!(transmit.copy_to_bytes(transmit.len()), octets);
}
