//! ENVELOPE, BODY and BODYSTRUCTURE of messages at hand, straight from what is known of them.

use std::num::NonZeroU32;

use mailwright_mail_model::{
    BodyKind, BodyStructure, Envelope,
    address_list::Entry,
    mime::{Parameter, Structure},
};

use super::envelope::put_text;
use crate::grammar::Wire;

/// Writes the envelope in its parentheses (RFC 9051 §7.5.2).
pub(super) fn put_envelope(envelope: &Envelope, wire: &mut impl Wire) {
    wire.put(b"(");
    put_text(envelope.date(), wire);
    wire.put(b" ");
    put_text(envelope.subject(), wire);
    for entries in [
        envelope.from(),
        envelope.sender(),
        envelope.reply_to(),
        envelope.to(),
        envelope.cc(),
        envelope.bcc(),
    ] {
        wire.put(if entries.is_empty() { b" NIL" } else { b" (" });
        entries.iter().for_each(|entry| put_entry(entry, wire));
        if !entries.is_empty() {
            wire.put(b")");
        }
    }
    wire.put(b" ");
    put_text(envelope.in_reply_to(), wire);
    wire.put(b" ");
    put_text(envelope.message_id(), wire);
    wire.put(b")");
}

/// RFC 9051 §7.5.2: a group begins with an entry without a host and ends with one that has no mailbox either. So an
/// address that lacks them has empty ones.
fn put_entry(entry: &Entry, wire: &mut impl Wire) {
    let (name, route, mailbox, host) = match entry {
        Entry::Mailbox(mailbox) => (
            mailbox.name.as_deref(),
            mailbox.route.as_deref(),
            Some(&mailbox.local[..]),
            Some(&mailbox.domain[..]),
        ),
        Entry::GroupStart(name) => (None, None, Some(&name[..]), None),
        _ => (None, None, None, None),
    };
    wire.put(b"(");
    put_text(name, wire);
    for field in [route, mailbox, host] {
        wire.put(b" ");
        put_text(field, wire);
    }
    wire.put(b")");
}

/// Writes the structure of a message in its parentheses, with its extension data if it is for BODYSTRUCTURE.
pub(super) fn put_structure(structure: &Structure, extended: bool, wire: &mut impl Wire) {
    if let Some(message) = BodyStructure::of(structure, 0) {
        put_part(&message, extended, wire);
    }
}

/// Writes the structure of one part, with its extension data; NIL if there is no such part.
pub(crate) fn put_part_structure(structure: &Structure, path: &[NonZeroU32], wire: &mut impl Wire) {
    let index = if path.is_empty() { Some(0) } else { structure.find(path) };
    match index.and_then(|index| BodyStructure::of(structure, index)) {
        Some(part) => put_part(&part, true, wire),
        None => wire.put(b"NIL"),
    }
}

/// Recurses as deep as structures are, which the scanner bounds.
fn put_part(part: &BodyStructure<'_>, extended: bool, wire: &mut impl Wire) {
    wire.put(b"(");
    let kind = part.kind();
    if matches!(kind, BodyKind::Multipart) {
        part.children().for_each(|child| put_part(&child, extended, wire));
        wire.put(b" ");
        put_text(Some(part.media_subtype().as_bytes()), wire);
        if extended {
            wire.put(b" ");
            put_parameters(part.parameters(), wire);
            put_extension(part, wire);
        }
        return wire.put(b")");
    }
    put_text(Some(part.media_kind().as_bytes()), wire);
    wire.put(b" ");
    put_text(Some(part.media_subtype().as_bytes()), wire);
    wire.put(b" ");
    put_parameters(part.parameters(), wire);
    for field in [part.id(), part.description(), Some(part.encoding().as_bytes())] {
        wire.put(b" ");
        put_text(field, wire);
    }
    wire.put(b" ");
    wire.put_number(part.octets());
    match kind {
        BodyKind::Message { envelope, body, lines } => {
            wire.put(b" ");
            put_envelope(envelope, wire);
            wire.put(b" ");
            put_part(&body, extended, wire);
            wire.put(b" ");
            wire.put_number(lines);
        }
        BodyKind::Text { lines } => {
            wire.put(b" ");
            wire.put_number(lines);
        }
        _ => {}
    }
    if extended {
        wire.put(b" ");
        put_text(part.md5(), wire);
        put_extension(part, wire);
    }
    wire.put(b")");
}

/// What all parts have at their end: disposition, languages, location.
fn put_extension(part: &BodyStructure<'_>, wire: &mut impl Wire) {
    match part.disposition() {
        Some(disposition) => {
            wire.put(b" (");
            put_text(Some(disposition.kind().as_bytes()), wire);
            wire.put(b" ");
            put_parameters(disposition.parameters(), wire);
            wire.put(b") ");
        }
        None => wire.put(b" NIL "),
    }
    let mut languages = part.languages();
    match languages.len() {
        0 => wire.put(b"NIL"),
        1 => put_text(languages.next().map(str::as_bytes), wire),
        _ => wire.put_list(languages, |wire, language| wire.put_string(language.as_bytes())),
    }
    wire.put(b" ");
    put_text(part.location(), wire);
}

fn put_parameters(parameters: &[Parameter], wire: &mut impl Wire) {
    if parameters.is_empty() {
        return wire.put(b"NIL");
    }
    wire.put_list(parameters, |wire, parameter| {
        put_text(Some(parameter.name().as_bytes()), wire);
        wire.put(b" ");
        put_text(Some(parameter.value()), wire);
    });
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;

    use super::*;
    use crate::response::{Content, FetchWriter, Fetched, FetchedItem, Leniency, Response};

    /// What a client makes of all three items of a message.
    fn read(message: &[u8]) -> Fetched {
        let structure = Structure::of(message);
        let mut octets = Vec::new();
        let mut writer = FetchWriter::new(NonZeroU32::MIN, &mut octets);
        writer.envelope_of(&Envelope::of(message));
        writer.body_of(&structure);
        writer.body_structure_of(&structure);
        writer.end();
        match Response::parse(&octets, Leniency { eight_bit_quoted: false, ..Leniency::strict() }) {
            Ok(Response::Fetch(fetched)) => fetched,
            other => panic!("{other:?}: {}", String::from_utf8_lossy(&octets)),
        }
    }

    #[test]
    fn a_message_with_everything() {
        let message = b"From: \"Ann \\\"A\\\" Doe\" <ann@a.example>\r\nTo: team: bob@b.example, root;\r\n\
            Subject: caf\xc3\xa9 \0\r\nDate: Fri, 21 Nov 1997 09:55:06 -0600\r\nMessage-ID: <1@a.example>\r\n\
            Content-Type: multipart/mixed; boundary=b\r\nContent-Language: de, en\r\n\r\n--b\r\n\
            Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: inline; filename=\"a b\"\r\n\r\nhello\r\n\r\n\
            --b\r\nContent-Type: message/rfc822\r\nContent-ID: <x@y>\r\n\r\nSubject: inner\r\n\r\ntext\r\n--b--\r\n";
        let fetched = read(message);
        let [FetchedItem::Envelope(envelope), FetchedItem::Body(body), FetchedItem::BodyStructure(full)] =
            &fetched.items[..]
        else {
            panic!("{fetched:?}")
        };
        assert_eq!(envelope.from[0].name.as_deref(), Some(&b"Ann \"A\" Doe"[..]));
        assert_eq!(envelope.sender, envelope.from);
        assert_eq!(envelope.subject.as_deref(), Some("caf\u{e9} ".as_bytes()));
        let hosts: Vec<_> =
            envelope.to.iter().map(|to| (to.mailbox.as_deref(), to.host.as_deref())).collect();
        assert_eq!(
            hosts,
            [
                (Some(&b"team"[..]), None),
                (Some(b"bob"), Some(&b"b.example"[..])),
                (Some(b"root"), Some(b"")),
                (None, None)
            ]
        );
        let Content::Multipart(parts) = &full.content else { panic!("{full:?}") };
        assert_eq!(full.extension.as_ref().unwrap().language, ["de", "en"]);
        assert_eq!(full.parameters, [("boundary".to_owned(), "b".to_owned())]);
        assert_eq!((parts[0].size, &parts[0].content), (7, &Content::Text { lines: 1 }));
        let disposition = parts[0].extension.as_ref().unwrap().disposition.as_ref().unwrap();
        assert_eq!(disposition.1, [("filename".to_owned(), "a b".to_owned())]);
        let Content::Message { envelope, lines: 2, .. } = &parts[1].content else { panic!("{:?}", parts[1]) };
        assert_eq!(envelope.subject.as_deref(), Some(&b"inner"[..]));
        assert_eq!(body.extension, None);
        assert_eq!(body.parameters, []);
        let Content::Multipart(plain) = &body.content else { panic!("{body:?}") };
        assert_eq!((plain.len(), &plain[0].extension), (2, &None));
    }

    proptest! {
        #[test]
        fn every_message_can_be_described(
            fields in prop::collection::vec("(Subject|From|To|Content-Type|Content-Disposition|Content-Language): [ -~é\0]{0,20}", 0..5),
            parts in prop::collection::vec("(Content-Type: (text|image|message/rfc822|multipart)[ -~\"]{0,8}\r\n)?\r\n[ -~]{0,9}\r\n", 0..3),
        ) {
            let body: String = parts.iter().map(|part| format!("--b\r\n{part}")).collect();
            let header = fields.join("\r\n");
            let message = format!("{header}\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{body}--b--\r\n");
            prop_assert_eq!(read(message.as_bytes()).items.len(), 3);
        }

        #[test]
        fn every_octets_can_be_described(message in any::<Vec<u8>>()) {
            prop_assert_eq!(read(&message).items.len(), 3);
        }
    }
}
