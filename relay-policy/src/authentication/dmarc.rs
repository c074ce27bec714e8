//! DMARC (RFC 9989): whether a message comes from whom its From field names, and what the domain wants done if it does not.
//!
//! The organization that a domain belongs to is found by walking up the tree of names, without any list of public suffixes.

mod destinations;
mod evaluate;
mod organization;
mod record;

pub use destinations::{DestinationError, destinations};
pub use evaluate::{Author, DmarcFinding, DmarcResult, evaluate};
pub use organization::same_organization;
pub use record::{Record, RecordError};

/// What the owner of a domain wants done with what does not come from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum Wish {
    /// Nothing.
    #[default]
    None,
    /// That it is held with suspicion.
    Quarantine,
    /// That it is refused.
    Reject,
}

impl Wish {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let all = [Self::None, Self::Quarantine, Self::Reject];
        all.into_iter().find(|wish| text.eq_ignore_ascii_case(wish.as_str()))
    }

    /// The next milder one.
    fn milder(self) -> Self {
        match self {
            Self::Reject => Self::Quarantine,
            _ => Self::None,
        }
    }
}
