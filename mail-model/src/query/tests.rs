//! Tests of the query and the matcher: examples, laws, and a reference that has everything in memory.

use proptest::prelude::*;

use super::*;
use crate::{DateTime, FlagSet, Keyword, Uid};

const MESSAGE: &str = concat!(
    "Date: Fri, 21 Nov 1997 23:55:06 -0600\r\nFrom: =?utf-8?q?J=C3=A9r=C3=B4me?= <j@example.org>\r\n",
    "Subject: Tea\r\n and more\r\nX-Empty:\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n",
    "--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n",
    "Le caf=\r\n=E9 est pr=EAt.\r\n",
    "--b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\nPHA+QmFzZSBTaXh0eSBGb3VyPC9wPg==\r\n",
    "--b\r\nContent-Type: application/octet-stream; name=hidden.bin\r\n\r\nopaque data\r\n",
    "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: =?utf-8?b?aW5uZXI=?= subject\r\n\r\nnested body\r\n",
    "--b--\r\nepilogue\r\n",
);

fn metadata(flags: &FlagSet) -> Metadata<'_> {
    let date = DateTime::new(880_178_106, -360).unwrap();
    Metadata::new(Uid::new(7).unwrap(), flags, date, MESSAGE.len() as u64, ModSeq::new(5).unwrap())
}

fn flags() -> FlagSet {
    [Flag::Seen, Flag::Keyword(Keyword::JUNK)].into_iter().collect()
}

/// Whether a message answers, at once and octet by octet.
fn answers(message: &str, key: Key) -> bool {
    let (query, flags) = (Query::from(key), flags());
    let run = |piece: usize| {
        let mut matcher = Matcher::new(&query);
        matcher.metadata(&metadata(&flags));
        for piece in message.as_bytes().chunks(piece) {
            matcher.message_chunk(piece);
        }
        matcher.finish()
    };
    let (whole, split) = (run(message.len()), run(1));
    assert_eq!(whole, split, "{query:?}");
    whole
}

#[test]
fn what_is_shown_as_text_is_searched() {
    let body = |text: &str| Key::Body(text.into());
    let multipart = "Content-Type: multipart/mixed; boundary=b\r\n";
    let unsplit = format!("{multipart}\r\nmarmalade in here\r\n--c\r\n");
    assert!(answers(&unsplit, body("marmalade")) && answers(&unsplit, Key::Text("marmalade".into())));
    let inner = format!(
        "{multipart}\r\npreamble\r\n--b\r\n{}\r\nmarmalade\r\n--b--\r\nepilogue\r\n",
        multipart.replace("=b", "=x")
    );
    assert!(answers(&inner, body("marmalade")));
    assert!(!answers(&inner, body("preamble")) && !answers(&inner, body("epilogue")));
}

/// The verdict with the header given first, checked against that without and against every piece size.
fn matches(query: &Query) -> bool {
    let flags = flags();
    let mut matcher = Matcher::new(query);
    let mut run = |header: bool, piece: usize| {
        let mut verdict = matcher.metadata(&metadata(&flags));
        if header && verdict == Verdict::NeedsHeader {
            verdict = matcher.header(MESSAGE.as_bytes());
            assert_ne!(verdict, Verdict::NeedsHeader);
        }
        for piece in MESSAGE.as_bytes().chunks(piece) {
            if matches!(verdict, Verdict::True | Verdict::False) {
                break;
            }
            verdict = matcher.message_chunk(piece);
            assert_ne!(verdict, Verdict::NeedsHeader);
        }
        let answer = matcher.finish();
        match verdict {
            Verdict::True => assert!(answer),
            Verdict::False => assert!(!answer),
            _ => {}
        }
        answer
    };
    let answer = run(true, 100);
    assert_eq!(
        [run(false, 1), run(true, 1), run(false, 7), run(false, MESSAGE.len())],
        [answer; 4],
        "{query:?}"
    );
    answer
}

fn day(text: &str) -> Date {
    text.parse().unwrap()
}

#[test]
fn every_key_that_is_met() {
    let keys = [
        Key::All,
        Key::Flag(Flag::Seen),
        Key::Flag("$junk".parse().unwrap()),
        Key::Uid("1,5:9".parse().unwrap()),
        Key::Before(day("22-Nov-1997")),
        Key::On(day("21-Nov-1997")),
        Key::Since(day("21-Nov-1997")),
        Key::SentBefore(day("22-Nov-1997")),
        Key::SentOn(day("21-Nov-1997")),
        Key::SentSince(day("1-Jan-1997")),
        Key::Larger(MESSAGE.len() as u64 - 1),
        Key::Smaller(MESSAGE.len() as u64 + 1),
        Key::ModSeq(ModSeq::new(5).unwrap()),
        Key::header("from", "JÉRÔME"),
        Key::header("From", "j@EXAMPLE"),
        Key::header("Subject", "tea and"),
        Key::header("x-empty", ""),
        Key::Text("jérôme".into()),
        Key::Text("subject: TEA".into()),
        Key::Text("CAFÉ EST PRÊT".into()),
        Key::Body("café est prêt".into()),
        Key::Body("base sixty four".into()),
        Key::Text("inner subject".into()),
        Key::Body("nested BODY".into()),
        Key::Text("hidden.bin".into()),
        Key::Body("".into()),
        Key::Text("".into()),
    ];
    for key in keys {
        assert!(matches(&key.clone().into()), "{key:?}");
        assert!(!matches(&Query::not(key.clone().into()).unwrap()), "{key:?}");
    }
}

#[test]
fn every_key_that_is_not_met() {
    let keys = [
        Key::Body("inner subject".into()),
        Key::Body("hidden.bin".into()),
        Key::Flag(Flag::Draft),
        Key::Uid("1:6".parse().unwrap()),
        Key::Before(day("21-Nov-1997")),
        Key::On(day("22-Nov-1997")),
        Key::Since(day("22-Nov-1997")),
        Key::SentBefore(day("21-Nov-1997")),
        Key::SentOn(day("22-Nov-1997")),
        Key::SentSince(day("22-Nov-1997")),
        Key::Larger(MESSAGE.len() as u64),
        Key::Smaller(MESSAGE.len() as u64),
        Key::ModSeq(ModSeq::new(6).unwrap()),
        Key::header("To", ""),
        Key::header("Subject", "subject"),
        Key::header("Subject", "inner"),
        Key::Body("tea".into()),
        Key::Body("jérôme".into()),
        Key::Body("opaque data".into()),
        Key::Body("PHA+".into()),
        Key::Text("caf=\r\n".into()),
        Key::Text("prêt.<p>".into()),
    ];
    for key in keys {
        assert!(!matches(&key.clone().into()), "{key:?}");
    }
}

#[test]
fn no_more_is_asked_for_than_is_needed() {
    let flags = flags();
    let first = |query: Query| Matcher::new(&query).metadata(&metadata(&flags));
    let body: Query = Key::Body("x".into()).into();
    let subject: Query = Key::header("Subject", "x").into();
    let unmet: Query = Key::Flag(Flag::Draft).into();
    assert_eq!(first(Query::and(vec![body.clone(), unmet.clone()]).unwrap()), Verdict::False);
    assert_eq!(first(Query::or(vec![body.clone(), Query::all()]).unwrap()), Verdict::True);
    assert_eq!(first(Query::or(vec![body.clone(), unmet]).unwrap()), Verdict::NeedsMessage);
    let both = Query::and(vec![body, subject]).unwrap();
    assert_eq!(first(both.clone()), Verdict::NeedsHeader);
    let mut matcher = Matcher::new(&both);
    matcher.metadata(&metadata(&flags));
    assert_eq!(matcher.header(b"Subject: tea\r\n"), Verdict::False);
}

#[test]
fn a_text_found_early_ends_the_search() {
    let flags = flags();
    let mut matcher = Matcher::new(&Key::Text("needle".into()).into());
    matcher.metadata(&metadata(&flags));
    assert_eq!(matcher.message_chunk(b"Subject: Needle\r\n\r\nbody"), Verdict::True);
    // The next message starts anew.
    matcher.metadata(&metadata(&flags));
    assert_eq!(matcher.message_chunk(b"\r\nhay\r\n"), Verdict::NeedsMessage);
    assert!(!matcher.finish());
}

/// Headers of fields that are looked at and of others, plain, folded, encoded, in other charsets, and lines that are no fields.
fn headers() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(vec![
        "Subject",
        "sUBJECT ",
        "Sender",
        "From",
        "Date",
        "X",
        "",
        " Subject",
        "\tSubject",
        "\rX",
    ]);
    let value = prop_oneof![
        3 => "[ a-cA-C=]{0,8}",
        1 => "[ \ta-c]{0,3}\r?\n[ \t][a-c ]{0,4}",
        1 => "[éÀßıſﬀ\u{85}\u{3000}abc]{0,5}",
        1 => Just(" =?utf-8?q?a_B?= =?iso-8859-1?q?=E9c?=".to_owned()),
        1 => Just(" Fri, 21 Nov 1997 23:55:06 -0600".to_owned()),
    ];
    let field = (name, prop::sample::select(vec![":", ":", ":", ""]), value, any::<Option<u8>>()).prop_map(
        |(name, colon, value, stray)| {
            let stray = stray.filter(|octet| !matches!(octet, b'\r' | b'\n'));
            [name.as_bytes(), colon.as_bytes(), value.as_bytes(), stray.as_slice(), b"\r\n"].concat()
        },
    );
    prop::collection::vec(field, 0..6).prop_map(|fields| fields.concat())
}

proptest! {
    /// What passes over fields finds what is found by whoever looks at all.
    #[test]
    fn a_header_by_itself_tells_what_the_message_does(
        header in headers(),
        name in prop::sample::select(vec!["subject", "FROM", "x", "Date", ""]),
        text in "[ a-cA-Cé=]{0,3}",
        fuzzy in any::<bool>(),
    ) {
        let sent: Query = Key::SentOn(day("21-Nov-1997")).into();
        let named: Query = Key::header(name, &text).into();
        let named = if fuzzy { Query::fuzzy(named).unwrap() } else { named };
        let flags = flags();
        for query in [named.clone(), sent.clone(), Query::or(vec![named, sent]).unwrap()] {
            let mut matcher = Matcher::new(&query);
            matcher.metadata(&metadata(&flags));
            let alone = matcher.header(&header);
            matcher.metadata(&metadata(&flags));
            matcher.message_chunk(&header);
            prop_assert_eq!(alone == Verdict::True, matcher.finish(), "{:?}", query);
        }
    }
}

#[test]
fn a_message_without_a_date_was_sent_on_no_day() {
    let flags = flags();
    for header in ["Subject: x\r\n\r\n", "Date: tomorrow\r\n\r\n", ""] {
        let mut matcher = Matcher::new(&Key::SentSince(day("1-Jan-1970")).into());
        matcher.metadata(&metadata(&flags));
        assert_eq!(matcher.header(header.as_bytes()), Verdict::False);
    }
}

#[test]
fn depth_and_number_are_bounded() {
    let mut query: Query = Key::Flag(Flag::Seen).into();
    let mut levels = 1;
    let error = loop {
        let other = Key::Flag(Flag::Draft).into();
        let next =
            if levels % 2 == 0 { Query::and(vec![query, other]) } else { Query::or(vec![query, other]) };
        match next {
            Ok(next) => query = next,
            Err(error) => break error,
        }
        levels += 1;
    };
    assert_eq!((levels, error), (Query::MAX_DEPTH, QueryError::TooDeep(33)));
    let many = |count| Query::or(vec![Query::all(); count]).map(|query| query.keys());
    assert_eq!((many(1000), many(1001)), (Ok(1000), Err(QueryError::TooMany(1001))));
}

/// Clients ask for a list of things by a chain of ORs; it is one level however long.
#[test]
fn chains_are_one_level() {
    let mut query: Query = Key::Larger(0).into();
    for size in 1..1000 {
        query = Query::or(vec![Key::Larger(size).into(), query]).unwrap();
    }
    assert_eq!((query.depth(), query.keys()), (2, 1000));
    assert_eq!(Query::not(Query::not(query.clone()).unwrap()).unwrap(), query);
    assert!(matches(&Query::and(vec![]).unwrap()));
    assert!(!matches(&Query::or(vec![]).unwrap()));
    assert_eq!(Query::and(vec![query.clone()]).unwrap(), query);
}

/// The worst that a body can be, among it one that is nearly the needle everywhere: the haystack stays small.
#[test]
fn hostile_bodies_are_searched_in_bounds() {
    let flags = flags();
    let tags = "<b>".repeat(300_000);
    let near = "a".repeat(1_000_000);
    let escapes = "\u{1b}$B\u{1b}(B".repeat(100_000);
    for (body, charset) in [(tags, "utf-8"), (near, "utf-8"), (escapes, "iso-2022-jp")] {
        let needle = "a".repeat(1000) + "b";
        let query =
            Query::or((0..50).map(|number| Key::Body(format!("{needle}{number}").into()).into()).collect());
        let mut matcher = Matcher::new(&query.unwrap());
        matcher.metadata(&metadata(&flags));
        let head = format!("Content-Type: text/html; charset={charset}\r\n\r\n");
        assert_eq!(matcher.message_chunk(head.as_bytes()), Verdict::NeedsMessage);
        for piece in body.as_bytes().chunks(1460) {
            assert_eq!(matcher.message_chunk(piece), Verdict::NeedsMessage);
        }
        assert!(!matcher.finish());
    }
}

/// Little fields by the hundred thousand cost by the octet, not each.
#[test]
fn hostile_fields_are_searched_in_bounds() {
    let flags = flags();
    let query = Query::or((0..1000).map(|number| Key::Text(format!("n{number}n").into()).into()).collect());
    let mut matcher = Matcher::new(&query.unwrap());
    matcher.metadata(&metadata(&flags));
    let part = "--b\r\n".to_owned() + &"a:\r\n".repeat(9_000) + "\r\n\r\n";
    let message = "Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_owned() + &part.repeat(10);
    for piece in message.as_bytes().chunks(1460) {
        assert_eq!(matcher.message_chunk(piece), Verdict::NeedsMessage);
    }
    assert!(!matcher.finish());
}

/// Conditions whose answers are plain to see.
fn keys() -> impl Strategy<Value = (Key, bool)> {
    prop::sample::select(vec![
        (Key::All, true),
        (Key::Flag(Flag::Draft), false),
        (Key::header("Subject", "tea"), true),
        (Key::header("Subject", "coffee"), false),
        (Key::Body("nested".into()), true),
        (Key::Body("absent".into()), false),
        (Key::Text("tea".into()), true),
    ])
}

fn trees() -> impl Strategy<Value = (Query, bool)> {
    let leaves = keys().prop_map(|(key, answer)| (Query::from(key), answer));
    leaves.prop_recursive(5, 30, 4, |inner| {
        let several = prop::collection::vec(inner.clone(), 0..4);
        prop_oneof![
            inner.prop_map(|(query, answer)| (Query::not(query).unwrap(), !answer)),
            (several, any::<bool>()).prop_map(|(inner, and)| {
                let (queries, answers): (Vec<_>, Vec<_>) = inner.into_iter().unzip();
                match and {
                    true => (Query::and(queries).unwrap(), answers.iter().all(|answer| *answer)),
                    false => (Query::or(queries).unwrap(), answers.iter().any(|answer| *answer)),
                }
            }),
        ]
    })
}

proptest! {
    #[test]
    fn trees_are_evaluated_as_logic_says((query, answer) in trees()) {
        prop_assert_eq!(matches(&query), answer);
    }
}

/// RFC 6203: words in any order, spelled nearly so.
#[test]
fn fuzzy_keys() {
    let fuzzy = |key: Key| matches(&Query::fuzzy(key.into()).unwrap());
    let header = |text| Key::header("Subject", text);
    for (key, answers) in [
        (header("tea"), true),
        (header("more tee"), false),
        (header("mroe tea"), true),
        (header("more or teas"), false),
        (Key::Text("jerome MENU".into()), false),
        (Key::Text("jerome pret".into()), true),
        (Key::Body("jerome".into()), false),
        (Key::Body("nested boddy".into()), true),
        (Key::Body("opaque".into()), false),
        (Key::Text("iner subject".into()), true),
        (Key::Body("baze sixty".into()), true),
        (Key::Body(".".into()), true),
        (Key::Body("?!".into()), false),
        (Key::Text("".into()), true),
        (Key::Flag(Flag::Seen), true),
        (Key::Flag(Flag::Draft), false),
    ] {
        assert_eq!(fuzzy(key.clone()), answers, "{key:?}");
    }
    let not = Query::not(Query::fuzzy(Key::Body("boddy".into()).into()).unwrap()).unwrap();
    assert!(!matches(&not));
}

#[test]
fn scores_do_not_depend_on_the_pieces() {
    let flags = flags();
    let either = Query::or(vec![Key::Body("nestet".into()).into(), Key::header("Subject", "tea").into()]);
    let query = Query::fuzzy(either.unwrap()).unwrap();
    for (query, score) in [
        (query, 87),
        (Query::fuzzy(Key::header("Subject", "teas").into()).unwrap(), 75),
        (Query::fuzzy(Key::Text("mor tea".into()).into()).unwrap(), 95),
        (Key::Text("tea".into()).into(), 100),
    ] {
        for piece in [1, 7, MESSAGE.len()] {
            for header in [false, true] {
                let mut matcher = Matcher::scoring(&query);
                if matcher.metadata(&metadata(&flags)) == Verdict::NeedsHeader && header {
                    matcher.header(MESSAGE.as_bytes());
                }
                for piece in MESSAGE.as_bytes().chunks(piece) {
                    matcher.message_chunk(piece);
                }
                assert!(matcher.finish(), "{query:?}");
                assert_eq!(matcher.score(), score, "{query:?}");
            }
        }
    }
}
