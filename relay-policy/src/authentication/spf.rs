//! SPF (RFC 7208): whether a client may send for a domain.

mod evaluate;
mod expand;
mod record;
#[cfg(test)]
mod tests;

pub use record::{Record, RecordError};

use super::Origin;
use crate::dns::Resolve;

/// What SPF says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SpfResult {
    /// Nothing: the domain has no record.
    #[default]
    None,
    /// That the domain says nothing.
    Neutral,
    /// Yes.
    Pass,
    /// No.
    Fail,
    /// Probably not.
    SoftFail,
    /// Nobody can tell now.
    TempError,
    /// The domain's records are wrong.
    PermError,
}

impl SpfResult {
    /// The word for it (RFC 8601 §2.7.2).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Neutral => "neutral",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

/// What SPF says of a message, and of whom.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SpfFinding {
    /// What it says.
    pub result: SpfResult,
    /// The domain that was asked, lower case.
    pub domain: String,
    /// Whether that was the sender's; it is the one of the greeting where the sender has none.
    pub of_sender: bool,
    /// The sender that was judged: for the null sender, postmaster at the name of the greeting (RFC 7208 §2.4).
    pub sender: String,
    /// What the domain has to say to those it does not let send.
    pub explanation: Option<String>,
}

/// Asks for the sender, or for the name of the greeting if there is no sender.
pub async fn check<R: Resolve>(resolve: &R, origin: &Origin) -> SpfFinding {
    let of_sender = !origin.sender.is_empty();
    let domain = match origin.sender.rsplit_once('@') {
        Some((_, domain)) => domain,
        None => &*origin.helo,
    };
    let sender = if of_sender { origin.sender.clone() } else { format!("postmaster@{}", origin.helo) };
    let domain = match domain.parse::<mailwright_mail_model::Domain>() {
        Ok(domain) => domain.key().to_owned(),
        Err(_) => domain.to_ascii_lowercase(),
    };
    let (result, explanation) = evaluate::check_host(resolve, origin, &sender, &domain).await;
    SpfFinding { result, domain, of_sender, sender, explanation }
}
