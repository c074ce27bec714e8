//! Any split of a message gives the same structure, and a sink hears the same.

use proptest::prelude::*;

use super::super::StructureError;
use super::*;

/// Messages made of what matters to the scanner.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "Content-Type: multipart/mixed; boundary=a\r\n",
        "Content-Type: multipart/digest;\r\n boundary=\"b\"\n",
        "Content-Type: message/rfc822\n",
        "Content-Type: multipart/mixed; boundary=ab\n",
        "Content-Transfer-Encoding: base64\r\n",
        "Subject: tea\r\n",
        "To: g: a@b, c;\n",
        "\r\n",
        "\n",
        "\n\n",
        "\r",
        " ",
        "--a",
        "--b",
        "--ab",
        "--a\r\n",
        "--a x\r\n",
        "--b--x\n",
        "--abx",
        "--a\n\n",
        "--b\r\n",
        "--b\n\n",
        "--ab\n",
        "--a--\r\n",
        "--b--\n",
        "--",
        "-",
        "text",
        "line\r\n",
        "\r\r\n",
    ]);
    let start = prop::sample::select(vec![
        "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n",
        "Content-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=b\n\n",
        "",
    ]);
    (start, prop::collection::vec(piece, 0..40))
        .prop_map(|(start, pieces)| (start.to_owned() + &pieces.concat()).into_bytes())
}

fn scan<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Structure, Heard) {
    let mut scanner = Scanner::new();
    let mut heard = Heard::default();
    for piece in pieces {
        scanner.push_to(piece, &mut heard);
    }
    (scanner.finish_to(&mut heard), heard)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn any_split_gives_the_same(message in messages(), cuts in prop::collection::vec(0_usize..400, 0..4)) {
        let whole = scan([&message[..]]);
        prop_assert_eq!(&scan(message.chunks(1)), &whole);
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(message.len())).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut rest = &message[..];
        let mut at = 0;
        for cut in cuts {
            let (piece, after) = rest.split_at(cut - at);
            pieces.push(piece);
            (rest, at) = (after, cut);
        }
        pieces.push(rest);
        prop_assert_eq!(&scan(pieces), &whole);
        prop_assert_eq!(Structure::of(&message), whole.0);
    }

    #[test]
    fn limits_cut_at_the_same_place_however_it_is_split(
        message in messages(),
        (depth, parts, boundary) in (0_usize..4, 0_usize..5, 0_usize..3),
        (field, header, fields, parameters) in (0_usize..60, 0_usize..120, 0_usize..4, 0_usize..2),
        piece in 1_usize..20,
    ) {
        let limits = Limits { depth, parts, boundary, field, header, fields, parameters };
        let scan = |piece: usize| {
            let mut scanner = Scanner::with_limits(limits.clone());
            let mut heard = Heard::default();
            message.chunks(piece).for_each(|piece| scanner.push_to(piece, &mut heard));
            (scanner.finish_to(&mut heard), heard)
        };
        let (structure, heard) = scan(usize::MAX);
        prop_assert!(structure.len() <= parts.max(1));
        prop_assert_eq!(structure.octets(), message.len() as u64);
        prop_assert!(heard.fields.iter().all(|(_, heard)| heard.len() <= field));
        prop_assert_eq!(&Structure::from_bytes(&structure.to_bytes()).unwrap(), &structure);
        prop_assert_eq!(scan(piece), (structure, heard));
    }

    #[test]
    fn parts_lie_in_order_and_a_sink_hears_them(message in messages()) {
        let (structure, heard) = scan([&message[..]]);
        prop_assert_eq!(structure.octets(), message.len() as u64);
        prop_assert_eq!(heard.ends.len(), structure.len());
        for (index, part) in structure.parts().enumerate() {
            let body = range(&message, part.body());
            prop_assert_eq!(part.lines(), body.iter().filter(|byte| **byte == b'\n').count() as u64);
            match part.shape() {
                // A multipart without a part is not heard whole: its boundary lines are no body.
                Shape::Leaf if part.content().media_type().is("multipart", "*") => {}
                Shape::Leaf => prop_assert_eq!(body, &heard.bodies[index][..]),
                Shape::Message => prop_assert_eq!(structure.children(index).count(), 1),
                Shape::Multipart => prop_assert!(structure.children(index).count() > 0),
            }
            let mut from = part.body().start;
            for child in structure.children(index) {
                let child_part = structure.part(child).unwrap();
                prop_assert_eq!(child_part.parent(), Some(index));
                prop_assert!(child_part.header().start >= from);
                from = child_part.body().end;
                prop_assert!(from <= part.body().end);
            }
            let header = range(&message, part.header());
            let fields: Vec<_> = crate::header::Fields::new(header).map(|field| field.raw().to_vec()).collect();
            let heard: Vec<_> = heard
                .fields
                .iter()
                .filter(|(part, field)| *part == index && crate::header::Fields::new(field).next().is_some())
                .map(|(_, field)| field.clone())
                .collect();
            prop_assert_eq!(heard, fields);
        }
    }

    #[test]
    fn storage_round_trips(message in messages()) {
        let structure = Structure::of(&message);
        prop_assert_eq!(Structure::from_bytes(&structure.to_bytes()), Ok(structure));
    }

    #[test]
    fn damage_is_told_not_met_with_panic(
        message in messages(),
        garbage in prop::collection::vec(any::<u8>(), 0..60),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let _ = Structure::from_bytes(&garbage);
        let mut bytes = Structure::of(&message).to_bytes();
        prop_assert!(Structure::from_bytes(&bytes[..cut.index(bytes.len())]).is_err());
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(structure) = Structure::from_bytes(&bytes) {
            for index in 0..structure.len() {
                prop_assert!(structure.children(index).all(|child| structure.part(child).is_some()));
            }
            prop_assert_eq!(Structure::from_bytes(&structure.to_bytes()), Ok(structure));
        }
    }
}

#[test]
fn other_versions_are_refused() {
    let mut bytes = Structure::of(b"").to_bytes();
    bytes[0] = 2;
    assert_eq!(Structure::from_bytes(&bytes), Err(StructureError::Version(2)));
    assert_eq!(Structure::from_bytes(b""), Err(StructureError::Damaged));
}
