//! The fields that a delivery puts in front of a message (RFC 5321 §4.4): pure functions.

use std::{
    fmt::Write as _,
    net::IpAddr,
    time::{SystemTime, UNIX_EPOCH},
};

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
    let mut field = String::with_capacity(256);
    field.push_str("Received: from ");
    field.push_str(session.hello.as_ref().map_or("unknown", |hello| hello.name.as_str()));
    // A String takes whatever is written.
    let _written = match (&session.local, session.peer.remote.map(|remote| remote.ip().to_canonical())) {
        // RFC 5321 §4.4: the comment is free text; the user is one of this machine.
        (Some(user), _) => write!(field, " (local user {})", comment(user)),
        (None, Some(IpAddr::V4(address))) => write!(field, " ([{address}])"),
        (None, Some(IpAddr::V6(address))) => write!(field, " ([IPv6:{address}])"),
        (None, None) => Ok(()),
    };
    let [utf8, base, tls, auth] = protocol(session, message);
    let words = ["\r\n\tby ", hostname, " with ", utf8, base, tls, auth, " id ", id];
    field.extend(words);
    if let [only] = &message.recipients[..]
        && let ForwardPath::Address(address) = &only.to
    {
        field.extend(["\r\n\tfor <", address.as_str(), ">"]);
    }
    field.extend([";\r\n\t", &now.to_rfc5322(), "\r\n"]);
    field
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

/// How the message came, in the words of RFC 3848 and RFC 6531 §4.3, in parts.
fn protocol(session: &Conversation, message: &Message) -> [&'static str; 4] {
    let utf8 = message.mail.parameters.smtputf8;
    let base = match session.hello.as_ref().map(|hello| hello.kind) {
        Some(HelloKind::Lhlo) => "LMTP",
        Some(HelloKind::Ehlo) if utf8 => "SMTP",
        Some(HelloKind::Ehlo) => "ESMTP",
        _ => return ["", "SMTP", "", ""],
    };
    let when = |is_so: bool, word| if is_so { word } else { "" };
    [when(utf8, "UTF8"), base, when(session.tls, "S"), when(session.user.is_some(), "A")]
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
