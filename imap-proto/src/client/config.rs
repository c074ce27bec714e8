//! What a client is told once, for all its connections.

use std::time::Duration;

use mailwright_line_proto::{Limits, Timeouts};

use crate::response::Leniency;

/// How clients behave. One is shared by many connections.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Whether a login may be sent without TLS, and a server that says PREAUTH without TLS be believed. Off by default
    /// (RFC 8314 §4.1).
    pub allow_plaintext_auth: bool,
    /// What is forgiven.
    pub leniency: Leniency,
    /// The most octets of one response, bodies of messages not counted. 16 MiB by default: a SEARCH that finds two
    /// million messages.
    pub response: usize,
    /// The most octets of all responses that are collected for one call: of LIST, SEARCH and so on; a number that stands in a range counts as
    /// four. What is told in events is not collected here: whoever keeps it counts it, as `ImapClient` does with this limit for `items` and
    /// `sync`. Beyond it the connection is closed ([`PeerMisbehaved::TooLongAnswer`](mailwright_line_proto::PeerMisbehaved::TooLongAnswer)).
    /// 64 MiB by default: `sync` of more than two million messages.
    pub answer: u64,
    /// Up to how many messages of a mailbox the client remembers which UID has which number. 1,048,576 by default.
    pub messages: u32,
    /// How many challenges a SASL exchange may have. 32 by default.
    pub challenges: u32,
    /// After this time IDLE is ended, so that the server does not hang up: 29 minutes (RFC 2177).
    pub idle: Duration,
    /// Sizes and counts. `literal` is for strings that are no bodies, `in_flight` for calls: 32 by default. A response with more octets than
    /// `response`, or with a longer string, is not held but read over, and told of as [`Event::Skipped`](super::Event::Skipped); `skip` is how
    /// many octets more it may have, 1 MiB by default: after that the connection is closed
    /// ([`PeerMisbehaved::Endless`](mailwright_line_proto::PeerMisbehaved::Endless)).
    pub limits: Limits,
    /// Times. `command` is how long nothing may come of an answer that is awaited, whatever else the server says meanwhile: 10 minutes by
    /// default. The half an hour of [`Timeouts::imap`] is for servers.
    pub timeouts: Timeouts,
}

impl Default for Config {
    fn default() -> Self {
        let mut limits = Limits::imap();
        limits.in_flight = 32;
        let mut timeouts = Timeouts::imap();
        timeouts.command = Duration::from_secs(10 * 60);
        Self {
            allow_plaintext_auth: false,
            leniency: Leniency::tolerant(),
            response: 16 << 20,
            answer: 64 << 20,
            messages: 1 << 20,
            challenges: 32,
            idle: Duration::from_secs(29 * 60),
            limits,
            timeouts,
        }
    }
}
