//! Whether a message may be sent on: never round in circles (RFC 5228 §4.2, RFC 5321 §6.3).

use mailwright_mail_model::header::Fields;

/// The field that tells on whose behalf a message was sent on.
pub const TRACE_FIELD: &str = "X-Sieve-Redirected-From";

/// The most Received fields of a message that is sent on (RFC 5321 §6.3).
pub const HOPS: usize = 100;

/// What to do about a redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Send it, with [`trace_field`] before its header.
    Send,
    /// It would come back here: keep it, which is what sending it would come to.
    Keep,
    /// It has been here before, or has gone through too many hands: do not send it. Keep it if nothing else is done with it.
    Loop,
}

/// Whether a message with this header may be sent on to an address by the user with these addresses.
///
/// ```
/// use mailwright_sieve::redirect::{Verdict, trace_field, verdict};
///
/// let own = ["bob@example.com".to_owned()];
/// let header = "Subject: tea\r\n\r\n".to_owned();
/// assert_eq!(verdict(header.as_bytes(), "ann@example.org", &own), Verdict::Send);
/// assert_eq!(verdict(header.as_bytes(), "Bob@example.com", &own), Verdict::Keep);
/// let back = trace_field("bob@example.com") + &header;
/// assert_eq!(verdict(back.as_bytes(), "ann@example.org", &own), Verdict::Loop);
/// ```
pub fn verdict(header: &[u8], address: &str, own: &[String]) -> Verdict {
    if own.iter().any(|own| own.eq_ignore_ascii_case(address)) {
        return Verdict::Keep;
    }
    let mut hops = 0;
    for field in Fields::new(header) {
        if field.is("Received") {
            hops += 1;
        } else if field.is(TRACE_FIELD) {
            let before = field.text();
            if own.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(&before)) {
                return Verdict::Loop;
            }
        }
    }
    if hops > HOPS { Verdict::Loop } else { Verdict::Send }
}

/// The field to put before the header of a message that is sent on for a user.
pub fn trace_field(owner: &str) -> String {
    let owner: String = owner.chars().filter(|letter| !letter.is_control()).collect();
    format!("{TRACE_FIELD}: {owner}\r\n")
}
