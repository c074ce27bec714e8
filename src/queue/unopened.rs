//! Why there is no connection on which mail can be sent.

use mailwright_line_proto::{Closed, Misuse, PeerMisbehaved};
use mailwright_relay_policy::delivery::Diagnosis;
use mailwright_smtp_proto::Reply;

use super::TlsFailure;
use crate::client::{ClientError, NotOpened, Refusal};

/// Why there is no connection.
#[derive(Default)]
pub(super) struct Unopened {
    /// None if the host has no address.
    pub(super) diagnosis: Option<Diagnosis>,
    /// Whether TLS as it must be could not be had, which may be somebody's doing.
    pub(super) untrusted: bool,
}

impl Unopened {
    pub(super) fn trusted(diagnosis: Diagnosis) -> Self {
        Self { diagnosis: Some(diagnosis), untrusted: false }
    }

    pub(super) fn untrusted(diagnosis: Diagnosis) -> Self {
        Self { diagnosis: Some(diagnosis), untrusted: true }
    }
}

/// What of TLS failed, if it was that.
pub(super) fn tls_failure(failed: &NotOpened) -> Option<TlsFailure> {
    match &failed.error {
        ClientError::Closed(Closed::Misbehaved(PeerMisbehaved::Tls(why))) => Some(TlsFailure::of_tls(why)),
        ClientError::Misuse(Misuse::NotOffered(_)) => Some(TlsFailure::StarttlsNotSupported),
        ClientError::Refused(_) if failed.starting_tls => Some(TlsFailure::StarttlsNotSupported),
        _ if failed.starting_tls => Some(TlsFailure::ValidationFailure),
        _ => None,
    }
}

/// Why there is no connection.
pub(super) fn connecting(host: &str, error: &ClientError) -> Diagnosis {
    let reply = match error {
        // Refused at the greeting or at hello: not this message is refused, but all mail; it may change.
        ClientError::Refused(Refusal::Smtp(reply)) => return said_for_now(host, reply),
        ClientError::Closed(Closed::Refused(text)) => match Reply::parse(format!("{text}\r\n").as_bytes()) {
            Ok(reply) => return said_for_now(host, &reply),
            Err(_) => Reply::transient((4, 1), text.clone()),
        },
        ClientError::Closed(Closed::Misbehaved(PeerMisbehaved::Tls(_))) => {
            Reply::transient((7, 5), error.to_string())
        }
        ClientError::Misuse(Misuse::NotOffered(what)) => {
            Reply::transient((7, 10), format!("The host does not offer {what}"))
        }
        _ => Reply::transient((4, 1), error.to_string()),
    };
    Diagnosis::found_at(host, reply)
}

/// TLS that does not work with a host that has nothing else: it speaks TLS from the first octet on (RFC 8314 §3.3), and there is no going on
/// without at the same port, whatever may go in the clear elsewhere.
pub(super) fn without_another_form(host: &str, error: &ClientError) -> Diagnosis {
    let text =
        format!("TLS from the first octet on is configured for the host, and it does not work: {error}");
    Diagnosis::found_at(host, Reply::transient((7, 5), text))
}

/// A refusal of everything, which the sender of one message cannot help.
pub(super) fn said_for_now(host: &str, reply: &Reply) -> Diagnosis {
    if reply.is_permanent() {
        let reply = Reply::transient((4, 1), reply.in_one_line());
        return Diagnosis::found_at(host, reply);
    }
    Diagnosis::said(host, reply)
}
