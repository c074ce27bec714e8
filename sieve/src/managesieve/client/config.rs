//! What a client is told once, for all its connections.

use mailwright_line_proto::{Limits, Timeouts};

/// How clients behave. One is shared by many connections.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Whether a login may be sent without TLS, of any kind. Off by default (RFC 8314 §4.1).
    pub allow_plaintext_auth: bool,
    /// The most octets of one script. A longer one is taken for an attack, and the connection is closed. 64 MiB by
    /// default.
    pub script: u64,
    /// The most scripts of a list. 10,000 by default.
    pub listing: usize,
    /// The most capabilities. 128 by default.
    pub capabilities: usize,
    /// Sizes and counts. `literal` is for names and texts: 64 KiB by default. `in_flight` is how many calls may be
    /// under way: 32 by default.
    pub limits: Limits,
    /// Times. A server is given 10 minutes for a reply by default.
    pub timeouts: Timeouts,
}

impl Default for Config {
    fn default() -> Self {
        let mut limits = Limits::managesieve();
        limits.literal = 64 * 1024;
        limits.command = 128 * 1024;
        limits.in_flight = 32;
        let mut timeouts = Timeouts::managesieve();
        timeouts.command = timeouts.body_end;
        Self {
            allow_plaintext_auth: false,
            script: 64 << 20,
            listing: 10_000,
            capabilities: 128,
            limits,
            timeouts,
        }
    }
}
