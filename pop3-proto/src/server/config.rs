//! What a server is told once, for all its connections.

use mailwright_line_proto::{Language, Limits, Timeouts, frame::LineEnds};

use crate::{Expire, Text, TextError};

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
    /// How long messages may stay on the server, if that is to be said, for users who have no policy of their own. What was
    /// retrieved is deleted at QUIT if it is no day; all else is up to the application, by
    /// [`Maildrop::expire`](crate::Maildrop::expire).
    pub expire: Option<Expire>,
    /// How many seconds must lie between two logins of a user, if that is to be said, for users who have no policy of their own.
    /// The application sees to it, by [`Refusal::login_delay`](crate::Refusal::login_delay).
    pub login_delay: Option<u32>,
    /// What CAPA says of these two before login, where users differ in them: nobody knows yet who it is. It is announced and
    /// nothing else; what holds is found out at login. `None`, which is the default, if they are the same for all.
    pub announced: Option<Announced>,
    /// Whether names and passwords of USER and PASS may hold more than ASCII, prepared by the application as RFC 6856 §2.2
    /// has it. Off by default.
    pub utf8_logins: bool,
    /// Whether clients that have not said UTF8 are sent header fields beyond ASCII as encoded-words, which RFC 6856 §2.1
    /// demands. On by default. Off, everybody is sent messages as they are, which most clients bear, and of the size that LIST
    /// says.
    pub surrogates: bool,
    /// The language that `LANG *` stands for (RFC 6856 §3.2). English by default.
    pub preferred_language: Language,
    /// What is done for clients that are wrong. Nothing by default.
    pub workarounds: Workarounds,
    /// What ends a command line. Lenient by default: people type at POP3 servers, and no command holds a message.
    pub line_ends: LineEnds,
    /// Sizes and counts.
    pub limits: Limits,
    /// Times.
    pub timeouts: Timeouts,
}

/// What is said of the policies before it is known for whom: of all users, the strictest (RFC 2449 §6.5, §6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Announced {
    /// The shortest time that messages may stay.
    pub expire: Option<Expire>,
    /// The longest delay between two logins, in seconds.
    pub login_delay: Option<u32>,
}

impl Announced {
    /// These two.
    pub const fn new(expire: Option<Expire>, login_delay: Option<u32>) -> Self {
        Self { expire, login_delay }
    }
}

/// What is done for clients that are wrong. All of it changes messages, so nothing is done unless it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Workarounds {
    /// Sends the octet 0x80 in the place of NUL, which Outlook up to 2003 and Outlook Express wait behind for ever.
    pub no_nuls: bool,
    /// Sends the empty line behind the header of a message that ends before it, without which Outlook Express and Netscape
    /// Mail take the next message for a part of this one.
    pub end_of_header: bool,
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
            expire: None,
            login_delay: None,
            announced: None,
            utf8_logins: false,
            surrogates: true,
            preferred_language: Language::default(),
            workarounds: Workarounds::default(),
            line_ends: LineEnds::Lenient,
            limits: Limits::pop3(),
            timeouts: Timeouts::pop3(),
        }
    }
}
