//! What a server is told once, for all its connections.

use mailwright_line_proto::{Limits, Timeouts, frame::LineEnds};

/// How servers behave. One is shared by many connections.
///
/// ```
/// use mailwright_sieve::managesieve::server::Config;
///
/// let mut config = Config::default();
/// config.starttls = true;
/// config.mechanisms = vec!["SCRAM-SHA-256".to_owned(), "PLAIN".to_owned()];
/// config.extensions = vec!["fileinto".to_owned(), "vacation".to_owned()];
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// What CAPABILITY says of the software, which it must say (RFC 5804 §1.7). Names no product by default.
    pub implementation: String,
    /// Whether STARTTLS is offered. The machine must then be wrapped in a TLS layer. Off by default.
    pub starttls: bool,
    /// Whether logins are taken without TLS, of any kind. Off by default (RFC 8314 §4.1).
    pub allow_plaintext_auth: bool,
    /// The SASL mechanisms that are offered, in upper case, the best first. None by default. Those that end in
    /// `-PLUS` are offered inside TLS with a channel to bind only, EXTERNAL to a client that has shown a certificate.
    pub mechanisms: Vec<String>,
    /// The Sieve extensions that scripts may require: what the engine that will run them knows.
    pub extensions: Vec<String>,
    /// How many redirects one run of a script may perform, if that is to be said.
    pub max_redirects: Option<u32>,
    /// The URI schemes of `notify`, if the engine knows `enotify`.
    pub notify: Vec<String>,
    /// The URI schemes of the names of external lists, if the engine knows `extlists` (RFC 6134 §2.8).
    pub external_lists: Vec<String>,
    /// The language of texts for people (RFC 5646), if that is to be said.
    pub language: Option<String>,
    /// Whether UNAUTHENTICATE is offered. On by default.
    pub unauthenticate: bool,
    /// The largest script, in octets. 1 MiB by default.
    pub script: u32,
    /// What ends a line. Lenient by default: people type at such servers, and scripts are counted.
    pub line_ends: LineEnds,
    /// Sizes and counts.
    pub limits: Limits,
    /// Times.
    pub timeouts: Timeouts,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            implementation: "ManageSieve".to_owned(),
            starttls: false,
            allow_plaintext_auth: false,
            mechanisms: Vec::new(),
            extensions: Vec::new(),
            max_redirects: None,
            notify: Vec::new(),
            external_lists: Vec::new(),
            language: None,
            unauthenticate: true,
            script: 1 << 20,
            line_ends: LineEnds::Lenient,
            limits: Limits::managesieve(),
            timeouts: Timeouts::managesieve(),
        }
    }
}
