//! What a peer may cost us: sizes, counts and times, each with the place its default comes from.

use std::time::Duration;

const KIB: usize = 1024;

/// Sizes and counts that bound the memory and patience of one connection. Sizes are in octets.
///
/// The defaults differ by protocol: start from [`Limits::smtp`], [`Limits::imap`], [`Limits::pop3`] or
/// [`Limits::managesieve`]. Limits that only one protocol knows stand in that protocol's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The longest command line before login, line end included.
    pub line_before_login: usize,
    /// The longest command line after login, line end included.
    pub line: usize,
    /// The longest line that carries a SASL response, line end included.
    pub sasl_line: usize,
    /// How many octets of an over-long line are skipped, looking for its end, before the connection is closed. An IMAP client: of a response that
    /// is over its limits.
    pub skip: u64,
    /// The largest literal that is held in memory (everything but message bodies and scripts).
    pub literal: u64,
    /// The sum of the literals of one command.
    pub command: u64,
    /// How many questions to the application may be open at once.
    pub in_flight: usize,
    /// How many octets may wait to be sent before the machine stops taking commands.
    pub transmit: usize,
    /// How many bad commands a session may send before it is closed: since the last that went well, once somebody has logged in; SMTP: since the
    /// last message that was taken.
    pub errors: u32,
    /// How many failed logins a session may have before it is closed.
    pub logins: u32,
}

impl Limits {
    /// For SMTP, submission and LMTP.
    pub fn smtp() -> Self {
        Self {
            // RFC 5321 §4.5.3.1.4 asks for 512 and what extensions add; Postfix's line_length_limit is 2,048.
            line_before_login: 2 * KIB,
            line: 2 * KIB,
            sasl_line: 12_288, // RFC 4954 §4
            skip: 64 * KIB as u64,
            literal: 0,
            command: 0,
            in_flight: 32,
            transmit: 256 * KIB,
            errors: 20, // Postfix smtpd_hard_error_limit
            logins: 5,
        }
    }

    /// For IMAP.
    pub fn imap() -> Self {
        Self {
            line_before_login: 8 * KIB, // RFC 7162 §4 asks for 8,192; Dovecot's limit before login is the same
            line: 64 * KIB,             // Dovecot imap_max_line_length
            sasl_line: 12_288,          // as RFC 4954 §4
            skip: 1024 * KIB as u64,
            literal: 64 * KIB as u64,
            command: 1024 * KIB as u64, // CVE-2024-34055: literals are bounded together, not one by one
            in_flight: 4,               // Dovecot CLIENT_COMMAND_QUEUE_MAX_SIZE
            transmit: 256 * KIB,
            errors: 20,
            logins: 5,
        }
    }

    /// For POP3.
    pub fn pop3() -> Self {
        Self {
            // RFC 2449 §4: a command is at most 255 octets; longer user names exist.
            line_before_login: KIB,
            line: KIB,
            sasl_line: 12_288, // as RFC 4954 §4
            skip: 64 * KIB as u64,
            literal: 0,
            command: 0,
            in_flight: 1,
            transmit: 256 * KIB,
            errors: 20,
            logins: 5,
        }
    }

    /// For ManageSieve.
    pub fn managesieve() -> Self {
        Self {
            line_before_login: 8 * KIB,
            line: 8 * KIB,
            sasl_line: 12_288,
            skip: 64 * KIB as u64,
            literal: 12 * KIB as u64, // CVE-2026-27858: a literal before login is small
            command: 64 * KIB as u64,
            in_flight: 1,
            transmit: 256 * KIB,
            errors: 20,
            logins: 5,
        }
    }
}

/// How long each thing may take.
///
/// Start from [`Timeouts::smtp`], [`Timeouts::imap`], [`Timeouts::pop3`] or [`Timeouts::managesieve`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// A client waits this long for the greeting.
    pub greeting: Duration,
    /// A server waits this long for the next command of a peer that has logged in, or need not; a client waits
    /// this long for the reply to a command.
    pub command: Duration,
    /// A peer that has to log in must have done so after this time.
    pub login: Duration,
    /// How long the next octets of a body may take.
    pub body: Duration,
    /// A client waits this long for the reply to the end of a body.
    pub body_end: Duration,
    /// How long the application may take over an answer; then the machine refuses in its place. Ours, not the
    /// peer's fault.
    pub answer: Duration,
    /// How long the application may be at work for a session while nothing comes from the peer and nothing goes to it; then its driver lets
    /// go of that, and ends the session with [`Shutdown::Unanswered`](crate::Shutdown::Unanswered). For drivers: no machine looks at it.
    pub work: Duration,
    /// How long the TLS handshake may take.
    pub tls: Duration,
    /// How long the peer may take nothing of what waits to be sent.
    pub write: Duration,
}

impl Timeouts {
    /// For SMTP, submission and LMTP.
    pub fn smtp() -> Self {
        Self {
            greeting: minutes(5), // RFC 5321 §4.5.3.2.1
            command: minutes(5),  // RFC 5321 §4.5.3.2.7
            login: minutes(5),
            body: minutes(3),      // RFC 5321 §4.5.3.2.5
            body_end: minutes(10), // RFC 5321 §4.5.3.2.6
            answer: minutes(4),    // less than the five minutes a client waits, RFC 5321 §4.5.3.2.2
            work: minutes(9), // less than the ten that it waits at the end of a message, RFC 5321 §4.5.3.2.6
            tls: Duration::from_secs(30),
            write: Duration::from_secs(60),
        }
    }

    /// For IMAP.
    pub fn imap() -> Self {
        Self {
            greeting: minutes(5),
            command: minutes(30), // RFC 9051 §5.4: at least 30 minutes
            login: Duration::from_secs(60),
            body: minutes(3),
            body_end: minutes(10),
            answer: minutes(4),
            work: minutes(9),
            tls: Duration::from_secs(30),
            write: Duration::from_secs(60),
        }
    }

    /// For POP3.
    pub fn pop3() -> Self {
        Self {
            command: minutes(10), // RFC 1939 §3: at least 10 minutes
            ..Self::imap()
        }
    }

    /// For ManageSieve.
    pub fn managesieve() -> Self {
        Self {
            command: minutes(30), // RFC 5804 §1.4: at least 30 minutes
            ..Self::imap()
        }
    }
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}
