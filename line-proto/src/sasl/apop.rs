//! The digest of POP3's APOP, which is no mechanism of SASL but needs the same.

use md5::{Digest, Md5};

use super::prepare;
use crate::Secret;

/// The MD5 of a greeting's timestamp and the password (RFC 1939 §7), prepared as RFC 6856 §2.2 has it.
///
/// ```
/// use mailwright_line_proto::{Secret, sasl::apop_digest};
///
/// let digest = apop_digest("<1896.697170952@dbc.mtview.ca.us>", &Secret::from("tanstaaf"));
/// assert_eq!(u128::from_be_bytes(digest), 0xc4c9334bac560ecc979e58001b3e22fb);
/// ```
pub fn apop_digest(timestamp: &str, password: &Secret) -> [u8; 16] {
    let prepared = prepare::password(password.expose());
    let password = prepared.as_ref().unwrap_or(password);
    Md5::new().chain_update(timestamp).chain_update(password.expose()).finalize().into()
}
