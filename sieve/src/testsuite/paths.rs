//! Paths of envelopes as test scripts write them, and those that a message tells where none is set.

use mailwright_mail_model::{
    address_list::{self, Entry},
    header,
};

use crate::Envelope;

/// Where the sender of a message is looked for, and its recipient, in this order.
const SENDER: [&str; 3] = ["Return-Path", "Sender", "From"];
const RECIPIENT: [&str; 2] = ["Envelope-To", "To"];

/// The envelope of a message that a test script sets: what its header tells.
pub(super) fn told(message: &[u8]) -> Envelope {
    let header = message.get(..header::body_offset(message).unwrap_or(message.len())).unwrap_or_default();
    let from = first(header, &SENDER).unwrap_or_else(|| "sender@example.com".into());
    let to = first(header, &RECIPIENT).unwrap_or_else(|| "recipient@example.com".into());
    Envelope { original_to: Some(to.clone()), ..Envelope::new(from, to) }
}

/// The first address in any of these fields.
fn first(header: &[u8], fields: &[&str]) -> Option<String> {
    fields.iter().find_map(|name| {
        let field = header::find(header, name)?;
        match address_list::parse(&field.text()).into_iter().next()? {
            Entry::Mailbox(mailbox) if !mailbox.local.is_empty() => Some(mailbox.address()?.to_string()),
            _ => None,
        }
    })
}

/// `Path` of RFC 5321 §4.1.2, its brackets left out or not, without its source route; `None` if it is none. Dots may stand anywhere in the
/// local part, as some providers had them, and domains may have underscores and hyphens where hosts may not.
pub(super) fn path(text: &str) -> Option<String> {
    let text = text.trim();
    let inside = match text.strip_prefix('<') {
        Some(rest) => rest.strip_suffix('>')?,
        None => text,
    };
    let mut mailbox = inside;
    if inside.starts_with('@') {
        let (route, rest) = inside.split_once(':')?;
        let hops = route.split(',').all(|hop| hop.strip_prefix('@').is_some_and(is_domain));
        mailbox = Some(rest).filter(|rest| hops && !rest.is_empty())?;
    }
    let (local, domain) = match mailbox.rsplit_once('@') {
        Some((local, domain)) => (local, Some(domain)),
        None => (mailbox, None),
    };
    let quoted = local.len() > 1 && local.starts_with('"') && local.ends_with('"');
    let atom = |letter: char| !letter.is_control() && !" \"(),:;<>@[\\]".contains(letter);
    let good = match domain {
        Some(domain) => !local.is_empty() && is_domain(domain),
        None => true,
    };
    (good && (quoted || local.chars().all(atom))).then(|| mailbox.to_owned())
}

fn is_domain(domain: &str) -> bool {
    let literal = domain.starts_with('[') && domain.ends_with(']');
    let label = |label: &str| {
        !label.is_empty() && label.chars().all(|letter| letter.is_alphanumeric() || "-_".contains(letter))
    };
    literal || domain.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_and_without_brackets() {
        for (text, expected) in [
            ("", Some("")),
            ("<>", Some("")),
            ("ann@example.org", Some("ann@example.org")),
            (" <ann@example.org> ", Some("ann@example.org")),
            ("<@a.example,@b.example:ann@example.org>", Some("ann@example.org")),
            ("<\"a b\"@[192.0.2.1]>", Some("\"a b\"@[192.0.2.1]")),
            ("..ann.@_tcp.example", Some("..ann.@_tcp.example")),
            ("<postmaster>", Some("postmaster")),
            ("<ann@example.org", None),
            ("ann@example.org>", None),
            ("<<ann@example.org>", None),
            ("ann@", None),
            ("ann@@example.org", None),
            ("ann example.org", None),
            ("<@a.example:>", None),
            ("<a.example:ann@example.org>", None),
            ("<@a.example,b.example:ann@example.org>", None),
            ("<@a..example:ann@example.org>", None),
        ] {
            assert_eq!(path(text).as_deref(), expected, "{text}");
        }
    }
}
