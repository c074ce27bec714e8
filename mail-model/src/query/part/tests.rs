#![allow(clippy::enum_glob_use)]

use super::*;
use crate::{
    DateTime, FlagSet, ModSeq, Uid,
    mime::Structure,
    query::{Key, Matcher, Metadata, Verdict},
};

const MESSAGE: &str = "From: Ann <a@b.example>\r\nSubject: Hi there\r\nMIME-Version: 1.0\r\n\
Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\
Content-Description: the letter\r\nContent-ID: <one@x>\r\nX-Own: First\r\n\r\nHello   world\r\n--b\r\n\
Content-Type: application/pdf; name=\"x.pdf\"\r\n\
Content-Disposition: attachment; filename*=UTF-8''M%C3%BCll%20Report.PDF\r\n\
Content-Transfer-Encoding: base64\r\nContent-Language: de\r\nContent-Location: http://a/b\r\nContent-MD5: abc==\r\n\r\n\
SGVsbG8=\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nFrom: =?utf-8?q?C=C3=A4rol?= <carol@d.example>\r\n\
To: dan@e.example\r\nSubject: inner\r\nDate: Thu, 18 Jul 1996 02:23:25 -0700\r\nMessage-ID: <m2@x>\r\n\
In-Reply-To: <m0@x>\r\n\r\ninner body\r\n--b--\r\n";

fn key(key: PartKey) -> PartQuery {
    key.into()
}

fn text(text: &str) -> Box<str> {
    text.into()
}

/// Whether the message answers: by its octets in pieces of any size, and by its structure if that tells.
fn answers(query: &PartQuery) -> bool {
    let whole = Key::Part(query.clone().into()).into();
    let structure = Structure::of(MESSAGE.as_bytes());
    let flags = FlagSet::new();
    let metadata = Metadata::new(Uid::MIN, &flags, DateTime::EPOCH, MESSAGE.len() as u64, ModSeq::MIN);
    let mut found = Vec::new();
    let mut matcher = Matcher::new(&whole);
    for piece in [1, 7, MESSAGE.len()] {
        assert_eq!(matcher.metadata(&metadata), Verdict::NeedsMessage);
        MESSAGE.as_bytes().chunks(piece).for_each(|chunk| {
            matcher.message_chunk(chunk);
        });
        found.push(matcher.finish());
    }
    matcher.metadata(&metadata);
    match matcher.structure(&structure) {
        Verdict::True => found.push(true),
        Verdict::False => found.push(false),
        _ => assert!(!query.is_structural()),
    }
    let first = found[0];
    assert!(found.iter().all(|answer| *answer == first), "{query:?}: {found:?}");
    first
}

#[test]
fn conditions_on_one_part() {
    use PartKey::*;
    let day = |text: &str| text.parse::<Date>().unwrap();
    for (condition, expected) in [
        (Type(text("APPLICATION")), true),
        (Type(text("appl")), false),
        (Type(text("multipart")), true),
        (Subtype(text("pdf")), true),
        (Subtype(text("pd")), false),
        (Parameter(text("NAME"), text("x.pdf")), true),
        (Parameter(text("name"), text("")), true),
        (Parameter(text("name"), text("y")), false),
        (Parameter(text("filename"), text("")), false),
        (Disposition(text("Attachment")), true),
        (Disposition(text("attach")), false),
        (DispositionParameter(text("filename"), text("M\u{dc}LL")), true),
        (Encoding(text("BASE64")), true),
        (Encoding(text("base")), false),
        (Encoding(text("7bit")), true),
        (Id(text("<one@x>")), true),
        (Id(text("one@x")), false),
        (Description(text("LETTER")), true),
        (Description(text("envelope")), false),
        (Language(text("DE")), true),
        (Language(text("d")), false),
        (Location(text("http://a/b")), true),
        (Location(text("http")), false),
        (Md5(text("abc==")), true),
        (Md5(text("ABC==")), false),
        (FileName(FileNameMatch::Is, text("m\u{fc}ll report.pdf")), true),
        (FileName(FileNameMatch::Is, text("m\u{fc}ll")), false),
        (FileName(FileNameMatch::Begins, text("M\u{fc}")), true),
        (FileName(FileNameMatch::Begins, text("report")), false),
        (FileName(FileNameMatch::Ends, text(".pdf")), true),
        (FileName(FileNameMatch::Ends, text("report")), false),
        (FileName(FileNameMatch::Contains, text("report")), true),
        // Of two names that of the disposition counts.
        (FileName(FileNameMatch::Contains, text("x.pdf")), false),
        (Size(Compare::Equal(8)), true),
        (Size(Compare::Smaller(8)), false),
        (Size(Compare::Larger(10_000)), false),
        (Depth(Compare::Equal(2)), true),
        (Depth(Compare::AtLeast(3)), false),
        (Depth(Compare::AtMost(0)), true),
        (Index(3), true),
        (Index(4), false),
        // Of messages in it, not of itself.
        (Address(AddressField::From, text("c\u{c4}rol")), true),
        (Address(AddressField::From, text("carol@d.example")), true),
        (Address(AddressField::From, text("Ann")), false),
        (Address(AddressField::To, text("dan")), true),
        (Address(AddressField::Sender, text("carol")), true),
        (Address(AddressField::ReplyTo, text("carol")), true),
        (Address(AddressField::Cc, text("dan")), false),
        (Address(AddressField::Bcc, text("")), false),
        (Subject(text("INNER")), true),
        (Subject(text("Hi")), false),
        (MessageId(text("m2")), true),
        (InReplyTo(text("<m0@x>")), true),
        (SentOn(day("18-Jul-1996")), true),
        (SentBefore(day("18-Jul-1996")), false),
        (SentBefore(day("19-Jul-1996")), true),
        (SentSince(day("18-Jul-1996")), true),
        (SentSince(day("19-Jul-1996")), false),
        (Header(text("x-own"), text("first")), true),
        (Header(text("x-own"), text("second")), false),
        (Header(text("X-None"), text("")), false),
        (Body(text("HELLO")), true),
        // Not in what is no text.
        (Body(text("SGVsbG8")), false),
        (Body(text("first")), false),
        (Text(text("x-own: first")), true),
        (Text(text("inner body")), true),
        (Text(text("nowhere")), false),
        (Body(text("")), true),
    ] {
        assert_eq!(answers(&key(condition.clone())), expected, "{condition:?}");
    }
}

#[test]
fn conditions_on_the_same_part_and_on_others() {
    use PartKey::*;
    let and = |keys: Vec<PartQuery>| PartQuery::and(keys).unwrap();
    let plain = || key(Type(text("text")));
    let pdf = || key(Subtype(text("pdf")));
    let mixed = || key(Subtype(text("mixed")));
    for (query, expected) in [
        (and(vec![pdf(), key(Encoding(text("base64")))]), true),
        // Both are there, in different parts.
        (and(vec![plain(), key(Encoding(text("base64")))]), false),
        (and(vec![plain(), key(Body(text("hello"))), key(Header(text("X-Own"), text("")))]), true),
        (and(vec![plain(), key(Body(text("inner"))), key(Header(text("X-Own"), text("")))]), false),
        (PartQuery::or(vec![key(Type(text("image"))), pdf()]).unwrap(), true),
        (PartQuery::or(vec![key(Type(text("image"))), key(Type(text("video")))]).unwrap(), false),
        // Some part is none.
        (PartQuery::not(plain()).unwrap(), true),
        (PartQuery::not(key(Depth(Compare::AtLeast(0)))).unwrap(), false),
        (PartQuery::parent(None).unwrap(), true),
        (and(vec![key(Depth(Compare::Equal(0))), PartQuery::parent(None).unwrap()]), false),
        (PartQuery::child(Some(pdf())).unwrap(), true),
        (and(vec![plain(), PartQuery::child(None).unwrap()]), false),
        (and(vec![pdf(), PartQuery::parent(Some(mixed())).unwrap()]), true),
        (and(vec![key(Depth(Compare::Equal(2))), PartQuery::parent(Some(mixed())).unwrap()]), false),
        (PartQuery::parent(Some(PartQuery::parent(Some(mixed())).unwrap())).unwrap(), true),
        (PartQuery::child(Some(key(Body(text("inner body"))))).unwrap(), true),
        (and(vec![mixed(), PartQuery::child(Some(key(Body(text("inner body"))))).unwrap()]), false),
        (and(vec![key(Index(1)), key(Depth(Compare::Equal(2)))]), true),
        // Of the part that the message holds.
        (and(vec![key(Subject(text("inner"))), key(Depth(Compare::Equal(2)))]), true),
        (and(vec![key(Subject(text("inner"))), key(Depth(Compare::Equal(1)))]), false),
    ] {
        assert_eq!(answers(&query), expected, "{query:?}");
    }
}

#[test]
fn trees_are_bounded() {
    let leaf = || key(PartKey::Index(1));
    let deep = (0..40).try_fold(leaf(), |query, _| PartQuery::not(query));
    assert!(matches!(deep, Err(QueryError::TooDeep(33))));
    assert_eq!(PartQuery::and(vec![leaf(); 1001]), Err(QueryError::TooMany(1001)));
    assert_eq!(PartQuery::and(vec![leaf()]), Ok(leaf()));
}
