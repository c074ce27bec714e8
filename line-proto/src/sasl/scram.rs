//! SCRAM (RFC 5802) with SHA-256 (RFC 7677), and with the channel bound by `tls-exporter` (RFC 9266).
//!
//! Another hash is an arm of [`ScramHash`] and two rows.

mod client;
mod keys;
mod message;
mod server;

pub use keys::{KeysError, MAX_ITERATIONS, MIN_ITERATIONS, ScramHash, ScramKeys};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};

use self::{client::ScramClient, server::ScramServer};
use super::mechanism::Row;

/// The one channel binding that works with TLS 1.3 (RFC 9266 §3).
const BINDING: &str = "tls-exporter";

pub(super) static SHA_256: Row = Row {
    name: "SCRAM-SHA-256",
    shows_secret: false,
    binds_channel: false,
    server: |context, entropy| {
        Box::new(ScramServer::new(ScramHash::Sha256, false, context.exporter, nonce(entropy)))
    },
    client: |credentials, context, entropy| {
        let side = ScramClient::new(ScramHash::Sha256, credentials, false, context.exporter, nonce(entropy))?;
        Ok(Box::new(side))
    },
};

pub(super) static SHA_256_PLUS: Row = Row {
    name: "SCRAM-SHA-256-PLUS",
    shows_secret: false,
    binds_channel: true,
    server: |context, entropy| {
        Box::new(ScramServer::new(ScramHash::Sha256, true, context.exporter, nonce(entropy)))
    },
    client: |credentials, context, entropy| {
        let side = ScramClient::new(ScramHash::Sha256, credentials, true, context.exporter, nonce(entropy))?;
        Ok(Box::new(side))
    },
};

/// RFC 5802 §5.1: printable, without a comma.
fn nonce(entropy: [u8; 32]) -> String {
    STANDARD_NO_PAD.encode(entropy)
}

#[cfg(test)]
mod tests;
