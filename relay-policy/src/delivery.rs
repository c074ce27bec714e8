//! What became of a message, and who is told: reports (RFC 3464), written and read, variable senders (VERP), addresses not to be tried again; and
//! files and programs of this machine that it is delivered to.

mod command_line;
mod exit;
mod local;
mod notification;
mod report;
mod suppression;
mod verp;

use std::fmt;

use mailwright_smtp_proto::Reply;

pub use command_line::{CommandLine, CommandLineError};
pub use exit::exit_reply;
pub use local::{Identity, LocalKind, LocalTarget, NotLocal};
pub use notification::{DeliveryStatus, RecipientStatus};
pub use report::{Action, Report, ReportedRecipient, Returned};
pub use suppression::{Bounces, Suppression};
pub use verp::Verp;

/// What was said about a recipient: by whom, with which reply.
///
/// ```
/// use mailwright_relay_policy::delivery::Diagnosis;
/// use mailwright_smtp_proto::Reply;
///
/// let reply = Reply::parse(b"451 4.7.1 Come back later\r\n")?;
/// let diagnosis = Diagnosis::said("mx.b.example[192.0.2.1]", &reply);
/// assert_eq!(diagnosis.to_string(), "host mx.b.example[192.0.2.1] said: 451 4.7.1 Come back later");
/// assert_eq!(diagnosis.status_text(), "4.7.1");
/// assert!(!diagnosis.is_permanent());
/// # Ok::<(), &'static str>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnosis {
    /// The host that it is about; none if it did not come to one.
    pub host: Option<String>,
    /// Whether these are the host's own words.
    pub quoted: bool,
    /// Whether it said them to RCPT: of the recipient, and not of the message or of us.
    pub of_recipient: bool,
    /// What it said, or what is wrong.
    pub reply: Reply,
}

impl Diagnosis {
    /// A host's own words.
    pub fn said(host: impl Into<String>, reply: &Reply) -> Self {
        Self { host: Some(host.into()), quoted: true, of_recipient: false, reply: reply.clone() }
    }

    /// A host's own words to RCPT.
    pub fn said_of_recipient(host: impl Into<String>, reply: &Reply) -> Self {
        Self { of_recipient: true, ..Self::said(host, reply) }
    }

    /// What was found out here.
    pub const fn found(reply: Reply) -> Self {
        Self { host: None, quoted: false, of_recipient: false, reply }
    }

    /// What was found out here about a host.
    pub fn found_at(host: impl Into<String>, reply: Reply) -> Self {
        Self { host: Some(host.into()), quoted: false, of_recipient: false, reply }
    }

    /// Whether trying again would bring the same.
    pub fn is_permanent(&self) -> bool {
        self.reply.is_permanent()
    }

    /// The enhanced status code (RFC 3463); where the host gave none, the one that says no more than its reply.
    pub fn status(&self) -> (u8, u16, u16) {
        let class = u8::try_from(self.reply.code() / 100).unwrap_or(4);
        self.reply.enhanced().unwrap_or((class, 0, 0))
    }

    /// The status as text.
    pub fn status_text(&self) -> String {
        let (class, subject, detail) = self.status();
        format!("{class}.{subject}.{detail}")
    }

    /// What the host said, on one line.
    pub fn text(&self) -> String {
        self.reply.in_one_line()
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) if self.quoted => write!(f, "host {host} said: {}", self.text()),
            host => {
                let lines: Vec<&str> = self.reply.lines().collect();
                let at = host.as_ref().map_or_else(String::new, |host| format!("host {host}: "));
                write!(f, "{at}{}", lines.join(" "))
            }
        }
    }
}
