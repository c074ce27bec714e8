//! mail-model: any octets are read without harm, and what was understood can be written and read again.

use mailwright_mail_model::{
    Address, Date, DateTime, MailboxName,
    address_list::{self},
    header::Fields,
    mailbox::utf7,
    mime::{Scanner, Structure},
    parameter::Parameters,
    word,
};

/// An address.
pub fn model_address(data: &[u8]) {
    if let Ok(address) = Address::parse(data) {
        let again = Address::parse(address.to_string().as_bytes());
        assert_eq!(again, Ok(address), "what an address shows is the address");
    }
}

/// The value of a field like To.
pub fn model_address_list(data: &[u8]) {
    let entries = address_list::parse(data);
    assert!(entries.len() <= data.len() + 1);
}

/// Dates, as messages and IMAP write them.
pub fn model_date(data: &[u8]) {
    if let Ok(date) = DateTime::from_rfc5322(data) {
        assert_eq!(DateTime::from_rfc5322(date.to_rfc5322().as_bytes()), Ok(date), "RFC 5322");
        assert_eq!(DateTime::from_imap(&date.to_imap()), Ok(date), "IMAP");
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(date) = DateTime::from_imap(text) {
        assert_eq!(DateTime::from_imap(&date.to_imap()), Ok(date), "IMAP");
    }
    if let Ok(date) = text.parse::<Date>() {
        assert_eq!(date.to_string().parse(), Ok(date), "day");
    }
}

/// The fields of a header.
pub fn model_header(data: &[u8]) {
    let mut octets = 0;
    for field in Fields::new(data) {
        octets += field.raw().len();
        let _ = field.text();
    }
    assert!(octets <= data.len(), "fields overlap");
}

/// The structure of a message.
pub fn model_mime(data: &[u8]) {
    let Some((split, message)) = data.split_first() else { return };
    let whole = Structure::of(message);
    let mut scanner = Scanner::new();
    for piece in message.chunks(1 + usize::from(*split)) {
        scanner.push(piece);
    }
    assert_eq!(whole, scanner.finish(), "the split of the message matters");
    assert_eq!(whole.octets(), message.len() as u64);
    for part in whole.parts() {
        let body = part.body();
        assert!(body.start <= body.end && body.end <= message.len() as u64, "a body beyond the message");
    }
    let stored = whole.to_bytes();
    assert_eq!(Structure::from_bytes(&stored).as_ref(), Ok(&whole), "what is stored is read again");
    // What was not stored by us must not do harm either.
    let _ = Structure::from_bytes(message);
}

/// The parameters of a field like Content-Type.
pub fn model_parameter(data: &[u8]) {
    let parameters = Parameters::parse(data);
    for parameter in parameters.iter() {
        let _ = parameters.decoded(parameter.name());
        assert!(parameters.value(parameter.name()).is_some(), "a parameter is found by its name");
    }
}

/// The names of mailboxes in modified UTF-7.
pub fn model_utf7(data: &[u8]) {
    if let Ok(text) = utf7::decode(data) {
        assert_eq!(utf7::encode(&text).as_bytes(), data, "each text has one encoding");
    }
    if let Ok(text) = std::str::from_utf8(data) {
        assert_eq!(
            utf7::decode(utf7::encode(text).as_bytes()).as_deref(),
            Ok(text),
            "any text can be encoded"
        );
    }
    if let Ok(name) = MailboxName::from_utf7(data) {
        assert_eq!(MailboxName::from_utf7(name.to_utf7().as_bytes()), Ok(name));
    }
}

/// Encoded words.
pub fn model_word(data: &[u8]) {
    let text = word::decode(data);
    let encoded = word::encode(&text);
    assert!(encoded.is_ascii() || encoded == text, "encoded words are ASCII");
}
