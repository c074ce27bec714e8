//! Who sent a message and who is to have it, where nobody says: what its header tells, as with Pigeonhole's `sieve-test`.

use mailwright_mail_model::{
    address_list::{self, Entry},
    header,
};

/// Where the sender is looked for, in this order.
pub(crate) const SENDER: [&str; 3] = ["Return-Path", "Sender", "From"];
/// Where the recipient is looked for, in this order.
pub(crate) const RECIPIENT: [&str; 3] = ["Delivered-To", "Envelope-To", "To"];

/// The first address in the first of these fields that is there; empty for the null sender.
pub(crate) fn told(message: &[u8], fields: &[&str]) -> Option<String> {
    let header = message.get(..header::body_offset(message).unwrap_or(message.len()))?;
    let field = fields.iter().find_map(|name| header::find(header, name))?;
    let first = address_list::parse(&field.text()).into_iter().find_map(|entry| match entry {
        Entry::Mailbox(mailbox) => Some(mailbox),
        _ => None,
    });
    let Some(mailbox) = first else { return Some(String::new()) };
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    Some(match mailbox.domain.is_empty() {
        true => text(&mailbox.local),
        false => format!("{}@{}", text(&mailbox.local), text(&mailbox.domain)),
    })
}
