//! What this crate writes into header fields, an independent parser reads back as it was meant.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use mail_parser::{MessageParser, MimeHeaders};
use mailwright_mail_model::{DateTime, address_list, parameter, word};
use proptest::prelude::*;

proptest! {
    #[test]
    fn encoded_words(text in "[a-zé日😀:?=_]([ -~é日😀]{0,60}[a-zé日😀?=_])?") {
        let message = format!("Subject: {}\r\n\r\n", word::encode(&text));
        let parsed = MessageParser::default().parse(message.as_bytes()).unwrap();
        prop_assert_eq!(parsed.subject(), Some(text.as_str()));
    }

    #[test]
    fn parameters(text in "[ -~é日😀]{1,90}") {
        prop_assume!(text.trim() == text);
        let message = format!("Content-Disposition: attachment;\r\n {}\r\n\r\n", parameter::encode("filename", &text));
        let parsed = MessageParser::default().parse(message.as_bytes()).unwrap();
        prop_assert_eq!(parsed.parts[0].attachment_name(), Some(text.as_str()));
    }

    #[test]
    fn dates(seconds in -2_000_000_000..32_000_000_000_i64, offset in -1_439..=1_439_i16) {
        let moment = DateTime::new(seconds, offset).unwrap();
        let message = format!("Date: {}\r\n\r\n", moment.to_rfc5322());
        let parsed = MessageParser::default().parse(message.as_bytes()).unwrap();
        prop_assert_eq!(parsed.date().unwrap().to_timestamp(), seconds);
    }

    #[test]
    fn addresses(
        mailboxes in prop::collection::vec(("[A-Za-z]{1,6}( [A-Za-z.]{1,5})?", "[a-z]{1,5}(\\.[a-z]{1,3})?", "[a-z]{1,5}\\.test"), 1..6),
    ) {
        let list: Vec<_> = mailboxes.iter().map(|(name, local, domain)| format!("{name} <{local}@{domain}>")).collect();
        let list = list.join(", ");
        let message = format!("To: {list}\r\n\r\n");
        let parsed = MessageParser::default().parse(message.as_bytes()).unwrap();
        let theirs: Vec<_> = parsed.to().unwrap().iter()
            .map(|address| (address.name().unwrap().to_owned(), address.address().unwrap().to_owned()))
            .collect();
        let ours: Vec<_> = address_list::parse(list.as_bytes()).into_iter()
            .map(|entry| {
                let address_list::Entry::Mailbox(mailbox) = entry else { panic!("{entry:?}") };
                let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
                (text(mailbox.name.as_deref().unwrap()), text(&mailbox.local) + "@" + &text(&mailbox.domain))
            })
            .collect();
        prop_assert_eq!(ours, theirs);
    }
}
