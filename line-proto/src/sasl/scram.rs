//! SCRAM (RFC 5802) with SHA-512, SHA-256 (RFC 7677) and SHA-1, and with the channel bound by `tls-exporter` (RFC 9266).
//!
//! Another hash is an arm of [`ScramHash`] and two rows.

mod client;
mod keys;
mod message;
mod server;

pub(super) use self::message::{decode_name, encode_name};
pub use keys::{KeysError, MAX_ITERATIONS, MIN_ITERATIONS, ScramHash, ScramKeys};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};

use self::{client::ScramClient, server::ScramServer};
use super::mechanism::Row;

/// The one channel binding that works with TLS 1.3 (RFC 9266 §3).
const BINDING: &str = "tls-exporter";

macro_rules! row {
    ($row:ident, $name:literal, $hash:ident, plus: $plus:literal, legacy: $legacy:literal) => {
        pub(super) static $row: Row = Row {
            name: $name,
            shows_secret: false,
            binds_channel: $plus,
            needs_certificate: false,
            legacy: $legacy,
            server: Some(|context, entropy| {
                Box::new(ScramServer::new(ScramHash::$hash, $plus, context.exporter, nonce(entropy)))
            }),
            client: |credentials, context, entropy| {
                let (hash, exporter) = (ScramHash::$hash, context.exporter);
                let side = ScramClient::new(hash, credentials, $plus, exporter, nonce(entropy))?;
                Ok(Box::new(side))
            },
        };
    };
}

row!(SHA_512_PLUS, "SCRAM-SHA-512-PLUS", Sha512, plus: true, legacy: false);
row!(SHA_512, "SCRAM-SHA-512", Sha512, plus: false, legacy: false);
row!(SHA_256_PLUS, "SCRAM-SHA-256-PLUS", Sha256, plus: true, legacy: false);
row!(SHA_256, "SCRAM-SHA-256", Sha256, plus: false, legacy: false);
row!(SHA_1_PLUS, "SCRAM-SHA-1-PLUS", Sha1, plus: true, legacy: true);
row!(SHA_1, "SCRAM-SHA-1", Sha1, plus: false, legacy: true);

/// RFC 5802 §5.1: printable, without a comma.
fn nonce(entropy: [u8; 32]) -> String {
    STANDARD_NO_PAD.encode(entropy)
}

#[cfg(test)]
mod tests;
