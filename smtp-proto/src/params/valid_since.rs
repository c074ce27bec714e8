//! RRVS of RCPT: is the recipient still who it was (RFC 7293)?

use mailwright_mail_model::DateTime;

use crate::timestamp;

/// The message is only for whoever has had the mailbox since this moment without a break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ValidSince {
    /// When the sender knew whose the mailbox was.
    pub moment: DateTime,
    /// What a server does that has to pass the message on to one that does not know of this.
    pub changed: Changed,
}

/// What becomes of RRVS at a server that does not know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Changed {
    /// The message is returned.
    #[default]
    Reject,
    /// It goes on, with a header field in the place of the parameter.
    Continue,
}

impl ValidSince {
    /// For whoever has had the mailbox since then.
    pub fn new(moment: DateTime, changed: Changed) -> Self {
        Self { moment, changed }
    }

    /// `date-time [";" ("C" / "R")]`
    pub(super) fn parse(value: &str) -> Option<Self> {
        let (moment, changed) = value.split_once(';').unwrap_or((value, "R"));
        let changed = match changed {
            "C" | "c" => Changed::Continue,
            "R" | "r" => Changed::Reject,
            _ => return None,
        };
        Some(Self { moment: timestamp::parse(moment)?, changed })
    }

    pub(super) fn encode(self) -> String {
        let changed = if self.changed == Changed::Continue { ";C" } else { "" };
        format!("{}{changed}", timestamp::encode(self.moment))
    }
}
