//! mail-model and imap-proto: what names and numbers are written as, URLs, and what bodies are encoded by.

use std::{fmt::Display, str::FromStr};

use mailwright_imap_proto::{AuthorizedUrl, ImapUrl};
use mailwright_mail_model::{
    Flag, FlagSet, Keyword, MailboxName, ModSeq, ScriptName, SpecialUse, Uid, UidSet, UidValidity, charset,
    encoding::{Base64Encoder, QuotedPrintableEncoder, TransferEncoding},
    mime::Section,
};

/// What is read is written so that the same is read again.
fn round<T: FromStr + Display + PartialEq + std::fmt::Debug>(text: &str) {
    if let Ok(read) = text.parse::<T>() {
        let written = read.to_string();
        assert_eq!(written.parse().ok(), Some(read), "{written:?}");
    }
}

/// Names of mailboxes, flags and scripts, numbers and sets of them.
pub fn model_names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    round::<Flag>(&text);
    round::<FlagSet>(&text);
    round::<Keyword>(&text);
    round::<MailboxName>(&text);
    round::<ModSeq>(&text);
    round::<ScriptName>(&text);
    round::<Section>(&text);
    round::<SpecialUse>(&text);
    round::<Uid>(&text);
    round::<UidSet>(&text);
    round::<UidValidity>(&text);
    if let Ok(name) = MailboxName::from_utf7(data) {
        let coded = mailwright_mail_model::mailbox::utf7::encode(name.as_str());
        assert_eq!(MailboxName::from_utf7(coded.as_bytes()), Ok(name));
    }
}

/// URLs of messages (RFC 5092), and those that give a right to them (RFC 4467).
pub fn imap_url(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let plain = text.parse::<ImapUrl>();
    if let Ok(url) = text.parse::<AuthorizedUrl>() {
        assert!(text.starts_with(url.rump()) && url.url.server.is_some());
        let whole = url.with_token("INTERNAL", b"\0\xff");
        let again = whole.parse::<AuthorizedUrl>().expect("one with a token");
        assert_eq!(again.rump().len(), url.rump().len());
        assert_eq!((&again.url, &again.access), (&url.url, &url.access));
        assert_eq!(again.token.expect("the token").octets, b"\0\xff");
        assert!(plain.is_err(), "a URL that gives a right is no other one");
    }
}

/// The first octet says how the rest is split: it is decoded the same in any pieces, and what is encoded is decoded to what it was.
pub fn model_encoding(data: &[u8]) {
    let Some((split, body)) = data.split_first() else { return };
    let split = 1 + usize::from(*split);
    for name in [&b"base64"[..], b"quoted-printable"] {
        let decoded = |body: &[u8], split: usize| {
            let mut decoder = TransferEncoding::of(name).decoder().expect("a known encoding");
            let mut octets = Vec::new();
            body.chunks(split).for_each(|piece| decoder.push(piece, &mut octets));
            decoder.finish(&mut octets);
            octets
        };
        let whole = decoded(body, usize::MAX);
        assert_eq!(whole, decoded(body, split), "the split of the input matters");
        assert!(whole.len() <= body.len() + 2, "{} octets of {}", whole.len(), body.len());
        let mut encoded = Vec::new();
        if name == b"base64" {
            let mut encoder = Base64Encoder::new();
            body.chunks(split).for_each(|piece| encoder.push(piece, &mut encoded));
            encoder.finish(&mut encoded);
            assert_eq!(decoded(&encoded, split), body);
        } else {
            let mut encoder = QuotedPrintableEncoder::new();
            body.chunks(split).for_each(|piece| encoder.push(piece, &mut encoded));
            encoder.finish(&mut encoded);
            // Ends of lines are the encoding's own.
            let tidy = |octets: &[u8]| {
                octets.iter().copied().filter(|octet| !b"\r\n".contains(octet)).collect::<Vec<_>>()
            };
            assert_eq!(tidy(&decoded(&encoded, split)), tidy(body));
        }
        assert!(encoded.is_ascii() && encoded.split(|octet| *octet == b'\n').all(|line| line.len() <= 77));
    }
    for label in ["utf-8", "iso-8859-1", "iso-2022-jp", "utf-16", "gb18030", "utf-7", ""] {
        let whole = charset::decode(label, body);
        let Some(mut decoder) = charset::Decoder::new(label) else { continue };
        let mut text = String::new();
        body.chunks(split).for_each(|piece| decoder.push(piece, &mut text));
        decoder.finish(&mut text);
        if let Some(whole) = whole {
            assert_eq!(text, whole, "{label}");
        }
    }
}
