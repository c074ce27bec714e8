//! The fields that a delivery puts in front of a message.

use std::time::{SystemTime, UNIX_EPOCH};

use mailwright_mail_model::{DateTime, ForwardPath, ReversePath};
use mailwright_relay_policy::Session as Conversation;
use mailwright_smtp_proto::{HelloKind, Message};

/// This moment, told in UTC.
pub(crate) fn now() -> DateTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // A clock beyond the year 9999 is wrong in any case.
    i64::try_from(since.as_secs())
        .ok()
        .and_then(|seconds| DateTime::new(seconds, 0))
        .unwrap_or(DateTime::EPOCH)
}

/// Return-Path and Received (RFC 5321 §4.4).
pub(super) fn trace_fields(
    session: &Conversation,
    message: &Message,
    hostname: &str,
    id: &str,
    now: DateTime,
) -> String {
    let sender = match &message.mail.from {
        ReversePath::Address(address) => address.as_str(),
        _ => "",
    };
    let hello = session.hello.as_ref().map_or("unknown", |hello| hello.name.as_str());
    let remote = session.peer.remote.map_or_else(String::new, |remote| match remote.ip().to_canonical() {
        std::net::IpAddr::V4(address) => format!(" ([{address}])"),
        std::net::IpAddr::V6(address) => format!(" ([IPv6:{address}])"),
    });
    // RFC 5321 §7.6: several recipients may not want to know of each other.
    let recipient = match &message.recipients[..] {
        [only] => match &only.to {
            ForwardPath::Address(address) => format!("\r\n\tfor <{address}>"),
            _ => String::new(),
        },
        _ => String::new(),
    };
    let protocol = with_protocol(session, message);
    format!(
        "Return-Path: <{sender}>\r\nReceived: from {hello}{remote}\r\n\tby {hostname} with {protocol} id {id}{recipient};\r\n\t{}\r\n",
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
