//! The fields that a delivery puts in front of a message (RFC 5321 §4.4): pure functions.

use std::time::{SystemTime, UNIX_EPOCH};

use mailwright_mail_model::{Address, DateTime, ForwardPath, ReversePath};
use mailwright_relay_policy::Session as Conversation;
use mailwright_smtp_proto::{HelloKind, Message};

use crate::fetch::Arrival;

/// This moment, told in UTC.
pub(crate) fn now() -> DateTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // A clock beyond the year 9999 is wrong in any case.
    i64::try_from(since.as_secs())
        .ok()
        .and_then(|seconds| DateTime::new(seconds, 0))
        .unwrap_or(DateTime::EPOCH)
}

/// Return-Path: where failure is reported; only the last server writes it.
///
/// ```
/// use mailwright::{mail_model::ReversePath, smtp::return_path};
///
/// assert_eq!(return_path(&ReversePath::parse(b"<ann@example.org>")?), "Return-Path: <ann@example.org>\r\n");
/// assert_eq!(return_path(&ReversePath::Null), "Return-Path: <>\r\n");
/// # Ok::<(), mailwright::mail_model::AddressError>(())
/// ```
pub fn return_path(from: &ReversePath) -> String {
    let sender = match from {
        ReversePath::Address(address) => address.as_str(),
        _ => "",
    };
    format!("Return-Path: <{sender}>\r\n")
}

/// Delivered-To (RFC 9228): which mailbox the message came to. Found in a message that comes to the same again, it
/// tells of a loop.
pub fn delivered_to(address: &Address) -> String {
    format!("Delivered-To: {address}\r\n")
}

/// Received: who gave us the message, how, and when.
///
/// The recipient is named only if there is no other: several may not want to know of each other (RFC 5321 §7.6).
pub fn received(
    session: &Conversation,
    message: &Message,
    hostname: &str,
    id: &str,
    now: DateTime,
) -> String {
    let hello = session.hello.as_ref().map_or("unknown", |hello| hello.name.as_str());
    let remote = session.peer.remote.map_or_else(String::new, |remote| match remote.ip().to_canonical() {
        std::net::IpAddr::V4(address) => format!(" ([{address}])"),
        std::net::IpAddr::V6(address) => format!(" ([IPv6:{address}])"),
    });
    // RFC 5321 §4.4: the comment is free text; the user is one of this machine.
    let remote = session.local.as_ref().map_or(remote, |user| format!(" (local user {})", comment(user)));
    let recipient = match &message.recipients[..] {
        [only] => match &only.to {
            ForwardPath::Address(address) => format!("\r\n\tfor <{address}>"),
            _ => String::new(),
        },
        _ => String::new(),
    };
    let protocol = with_protocol(session, message);
    format!(
        "Received: from {hello}{remote}\r\n\tby {hostname} with {protocol} id {id}{recipient};\r\n\t{}\r\n",
        now.to_rfc5322()
    )
}

/// Without what would end a comment.
fn comment(text: &str) -> String {
    text.chars().filter(|letter| letter.is_ascii_graphic() && !matches!(letter, '(' | ')' | '\\')).collect()
}

/// The words by which a trace field of [`fetched`] is known again, for one user.
pub(crate) fn fetched_words(hostname: &str, user: &str) -> [String; 3] {
    [format!("by {hostname} with "), "(fetched)".to_owned(), format!("for <{user}>")]
}

/// Received, of a message that was fetched: from where, how, and for whom. Found in a message that is fetched for the same
/// user, it tells of a loop.
pub(super) fn fetched(arrival: &Arrival<'_>, hostname: &str, id: &str, now: DateTime) -> String {
    let (host, user) = (arrival.host, arrival.user);
    let protocol = arrival.protocol.name().to_ascii_uppercase();
    format!(
        "Received: from {host}\r\n\tby {hostname} with {protocol} (fetched) id {id}\r\n\tfor <{user}>;\r\n\t{}\r\n",
        now.to_rfc5322()
    )
}

/// How the message came, in the words of RFC 3848 and RFC 6531 §4.3.
fn with_protocol(session: &Conversation, message: &Message) -> String {
    let base = match session.hello.as_ref().map(|hello| hello.kind) {
        Some(HelloKind::Lhlo) => "LMTP",
        Some(HelloKind::Ehlo) => "ESMTP",
        _ => return "SMTP".into(),
    };
    let (prefix, base) =
        if message.mail.parameters.smtputf8 { ("UTF8", base.trim_start_matches('E')) } else { ("", base) };
    let tls = if session.tls { "S" } else { "" };
    let auth = if session.user.is_some() { "A" } else { "" };
    format!("{prefix}{base}{tls}{auth}")
}

#[cfg(test)]
mod tests {
    use mailwright_line_proto::Peer;
    use mailwright_smtp_proto::{Hello, Mail, Rcpt};

    use super::*;

    #[test]
    fn what_is_known_is_said_and_nothing_more() {
        let rcpt = |text: &str| Rcpt::new(ForwardPath::parse(text.as_bytes()).unwrap());
        let mut message = Message::new(Mail::new(ReversePath::Null), vec![rcpt("<b@example.com>")]);
        let mut session = Conversation::default();
        let now = DateTime::new(0, 0).unwrap();
        assert_eq!(
            received(&session, &message, "mx.example", "1F", now),
            "Received: from unknown\r\n\tby mx.example with SMTP id 1F\r\n\tfor <b@example.com>;\r\n\t\
             Thu, 1 Jan 1970 00:00:00 +0000\r\n"
        );
        session.peer = Peer::new(Some("[::ffff:192.0.2.1]:25".parse().unwrap()), None);
        session.hello = Some(Hello::new("a.example".parse().unwrap()));
        session.tls = true;
        session.user = Some("ann".to_owned());
        message.mail.parameters.smtputf8 = true;
        message.recipients.push(rcpt("<c@example.com>"));
        let field = received(&session, &message, "mx.example", "1F", now);
        assert!(field.starts_with(
            "Received: from a.example ([192.0.2.1])\r\n\tby mx.example with UTF8SMTPSA id 1F;\r\n"
        ));
        assert!(!field.contains("example.com"));
        let address = message.recipients[0].to.address().unwrap();
        assert_eq!(delivered_to(address), "Delivered-To: b@example.com\r\n");
    }
}
