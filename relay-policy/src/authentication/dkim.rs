//! DKIM (RFC 6376, RFC 8301, RFC 8463): who takes responsibility for a message, and says so by a signature.

mod key;
mod sign;
mod signature;
mod verify;

pub use key::{KeyError, PublicKey};
pub use sign::{SignError, Signer, SigningKey, sign};
pub use signature::{Algorithm, Signature, SignatureError};
pub use verify::{Outcome, Verified, verify};

pub(super) use sign::{add_value, sign_for_arc};
pub(super) use signature::without_value;
pub(super) use verify::{data_to_verify, lookup_key};
