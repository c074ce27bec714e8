//! Why mail for a recipient is not taken.

use mailwright_smtp_proto::Reply;

/// Why a recipient cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Nobody has this address.
    #[error("User unknown in local recipient table")]
    Unknown,
    /// There is somebody, but no mailbox.
    #[error("This account receives no mail")]
    NoMailbox,
    /// Only our own networks and users may write to it.
    #[error("This address takes mail from local senders only")]
    LocalOnly,
    /// It leads to nobody but itself.
    #[error("The alias leads round in a circle")]
    Circle,
    /// It leads through more aliases and forwards than can be right.
    #[error("Aliases or forwards nested too deeply")]
    TooDeep,
    /// It stands for more recipients than one message may have.
    #[error("The alias stands for too many recipients")]
    TooMany,
    /// A list, or what is entered at the address, could not be read.
    #[error("What is behind the address cannot be read now")]
    Unreadable(String),
}

impl Refusal {
    /// What the client is told (RFC 5321 §4.2, RFC 3463).
    pub fn reply(&self, address: &str) -> Reply {
        let text = format!("<{address}>: Recipient address rejected: {self}");
        match self {
            Self::Unknown => Reply::permanent((1, 1), text),
            Self::NoMailbox => Reply::permanent((2, 1), text),
            Self::LocalOnly => Reply::permanent((7, 1), text),
            // RFC 3463 §3.5: X.4.6, a routing loop
            Self::Circle | Self::TooDeep => Reply::permanent((4, 6), text),
            Self::TooMany => Reply::permanent((5, 3), text),
            // RFC 3463 §3.4: X.3.0, and it may be mended soon.
            Self::Unreadable(_) => Reply::transient((3, 0), text),
        }
    }
}
