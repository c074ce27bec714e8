//! What a server is told once, for all its connections.

use mailwright_line_proto::{Limits, Timeouts, frame::LineEnds};

use crate::{Text, TextError};

/// How servers behave. One is shared by many connections.
///
/// ```
/// use mailwright_pop3_proto::server::Config;
///
/// let mut config = Config::default();
/// config.starttls = true;
/// config.mechanisms = vec!["SCRAM-SHA-256".to_owned(), "PLAIN".to_owned()];
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// What follows `+OK` in the greeting. Names no product by default.
    pub greeting: Text,
    /// What CAPA says of the software (RFC 2449 §6.9). Nothing by default.
    pub implementation: Option<Text>,
    /// Whether STLS is offered. The machine must then be wrapped in a TLS layer. Off by default.
    pub starttls: bool,
    /// Whether logins are taken without TLS, of any kind. Off by default (RFC 8314 §4.1).
    pub allow_plaintext_auth: bool,
    /// Whether USER and PASS are offered. On by default.
    pub password_login: bool,
    /// The SASL mechanisms that are offered, in upper case, the best first. None by default. Those that end in
    /// `-PLUS` are offered inside TLS with a channel to bind only, EXTERNAL to a client that has shown a certificate.
    pub mechanisms: Vec<String>,
    /// What ends a command line. Lenient by default: people type at POP3 servers, and no command holds a message.
    pub line_ends: LineEnds,
    /// Sizes and counts.
    pub limits: Limits,
    /// Times.
    pub timeouts: Timeouts,
}

impl Config {
    /// Sets the greeting.
    ///
    /// # Errors
    /// If the text cannot stand in a reply.
    pub fn greet_with(&mut self, text: &str) -> Result<&mut Self, TextError> {
        self.greeting = Text::new(text)?;
        Ok(self)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            greeting: Text::fixed("POP3 server ready"),
            implementation: None,
            starttls: false,
            allow_plaintext_auth: false,
            password_login: true,
            mechanisms: Vec::new(),
            line_ends: LineEnds::Lenient,
            limits: Limits::pop3(),
            timeouts: Timeouts::pop3(),
        }
    }
}
