//! What a client is told once, for all its connections.

use mailwright_line_proto::{Limits, Timeouts};

/// How clients behave. One is shared by many connections.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Whether a login may be sent without TLS, of any kind. Off by default (RFC 8314 §4.1).
    pub allow_plaintext_auth: bool,
    /// The most octets of one message. A longer one is taken for an attack, and the connection is closed: a server's
    /// LIST is a promise that it may break. 256 MiB by default.
    pub body: u64,
    /// The most lines of one listing. 1,000,000 by default.
    pub listing: u32,
    /// The most lines of an answer to CAPA or LANG that are kept. 128 by default.
    pub capabilities: usize,
    /// Sizes and counts. `line` is for replies: 8 KiB by default, though RFC 2449 §4 has 512 octets. `in_flight` is how
    /// many calls may be under way at a server that announced PIPELINING: 32 by default.
    pub limits: Limits,
    /// Times.
    pub timeouts: Timeouts,
}

impl Default for Config {
    fn default() -> Self {
        let mut limits = Limits::pop3();
        limits.line = 8 * 1024;
        limits.in_flight = 32;
        Self {
            allow_plaintext_auth: false,
            body: 256 << 20,
            listing: 1_000_000,
            capabilities: 128,
            limits,
            timeouts: Timeouts::pop3(),
        }
    }
}
