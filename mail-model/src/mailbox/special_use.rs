//! What a mailbox is used for, so that clients need not guess from its name.

use std::fmt;
use std::str::FromStr;

/// A special use of a mailbox (RFC 6154 §2, RFC 8457, draft-ietf-extra-sieve-snooze).
///
/// ```
/// use mailwright_mail_model::SpecialUse;
///
/// assert_eq!("\\sent".parse::<SpecialUse>()?.as_str(), "\\Sent");
/// # Ok::<(), mailwright_mail_model::SpecialUseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SpecialUse {
    /// `\All`: a view of all messages.
    All,
    /// `\Archive`: messages put away.
    Archive,
    /// `\Drafts`: messages not yet finished.
    Drafts,
    /// `\Flagged`: a view of the messages marked for attention.
    Flagged,
    /// `\Junk`: unwanted messages.
    Junk,
    /// `\Sent`: copies of messages sent.
    Sent,
    /// `\Trash`: messages deleted or about to be.
    Trash,
    /// `\Important`: a view of the messages the server holds for important.
    Important,
    /// `\Snoozed`: messages that come back later.
    Snoozed,
}

impl SpecialUse {
    /// Every special use.
    pub const ALL: [Self; 9] = [
        Self::All,
        Self::Archive,
        Self::Drafts,
        Self::Flagged,
        Self::Junk,
        Self::Sent,
        Self::Trash,
        Self::Important,
        Self::Snoozed,
    ];

    /// The wire form, with its backslash.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "\\All",
            Self::Archive => "\\Archive",
            Self::Drafts => "\\Drafts",
            Self::Flagged => "\\Flagged",
            Self::Junk => "\\Junk",
            Self::Sent => "\\Sent",
            Self::Trash => "\\Trash",
            Self::Important => "\\Important",
            Self::Snoozed => "\\Snoozed",
        }
    }
}

impl fmt::Display for SpecialUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is not a [`SpecialUse`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a special use such as \\Sent")]
pub struct SpecialUseError;

impl FromStr for SpecialUse {
    type Err = SpecialUseError;

    fn from_str(text: &str) -> Result<Self, SpecialUseError> {
        Self::ALL.into_iter().find(|usage| usage.as_str().eq_ignore_ascii_case(text)).ok_or(SpecialUseError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_forms_round_trip_in_any_case() {
        for usage in SpecialUse::ALL {
            assert_eq!(usage.to_string().parse(), Ok(usage));
            assert_eq!(usage.as_str().to_uppercase().parse(), Ok(usage));
        }
        assert_eq!("Sent".parse::<SpecialUse>(), Err(SpecialUseError));
    }
}
