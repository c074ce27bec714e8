//! What policies and routes ask the domain name system: one method, and the types of hickory-proto.

mod any;
mod canned;

use std::{future::Future, net::IpAddr};

pub use any::AnyResolver;
pub use canned::CannedAnswers;
/// The library whose types are in these interfaces, for what answers are made of: `hickory_proto::rr::rdata`.
pub use hickory_proto;
pub use hickory_proto::rr::{Name, RData, Record, RecordType};

/// Somebody who can be asked about names.
///
/// An implementation asks servers, follows aliases, keeps what it heard, and checks signatures if it can; a policy is a
/// script over the answers. [`CannedAnswers`] serves tests.
pub trait Resolve: Send + Sync {
    /// The records of this kind at this name. Where the name is an alias, the answer is that of the name it stands for.
    /// A name that has records of other kinds only is no error: the answer is empty.
    ///
    /// # Errors
    /// [`LookupError`] if there is no such name, or nobody can tell.
    fn lookup(
        &self,
        name: &Name,
        kind: RecordType,
    ) -> impl Future<Output = Result<Answer, LookupError>> + Send;
}

/// What was found at a name.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Answer {
    /// The records, aliases on the way to them included.
    pub records: Vec<Record>,
    /// Whether the answer was checked by DNSSEC, and is what the zone's owner signed.
    pub authentic: bool,
}

impl Answer {
    /// These records.
    pub const fn new(records: Vec<Record>, authentic: bool) -> Self {
        Self { records, authentic }
    }

    /// The mail exchangers among the records: preference and name.
    pub fn exchangers(&self) -> impl Iterator<Item = (u16, &Name)> {
        self.records.iter().filter_map(|record| match &record.data {
            RData::MX(mx) => Some((mx.preference, &mx.exchange)),
            _ => None,
        })
    }

    /// The addresses among the records.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.records.iter().filter_map(|record| match &record.data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        })
    }

    /// The name at the end of the aliases on the way from a name; `None` if it is no alias.
    pub fn canonical(&self, from: &Name) -> Option<Name> {
        let mut at = None;
        // No longer way than there are records, for aliases may go round.
        for _ in &self.records {
            let here = at.as_ref().unwrap_or(from);
            let next = self.records.iter().find_map(|record| match &record.data {
                RData::CNAME(target) if record.name == *here => Some(target.0.clone()),
                _ => None,
            });
            match next {
                Some(next) => at = Some(next),
                None => break,
            }
        }
        at
    }

    /// The texts among the records, the strings of each joined.
    pub fn texts(&self) -> impl Iterator<Item = String> {
        self.records.iter().filter_map(|record| match &record.data {
            RData::TXT(text) => Some(String::from_utf8_lossy(&text.txt_data.concat()).into_owned()),
            _ => None,
        })
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// There is no such name (NXDOMAIN).
    #[error("there is no such name")]
    NoName,
    /// Somebody answered, but not who should have: the signatures are wrong.
    #[error("the answer is forged or its signatures are broken: {0}")]
    Bogus(String),
    /// Nobody can tell now; the text says why.
    #[error("no name server can tell now: {0}")]
    Temporary(String),
    /// The text is no name that could be asked about.
    #[error("{0:?} is not a domain name")]
    NotAName(String),
}

/// A text as an absolute name.
///
/// # Errors
/// [`LookupError::NotAName`].
pub fn name(text: &str) -> Result<Name, LookupError> {
    let mut name =
        Name::from_ascii(text.trim_end_matches('.')).map_err(|_| LookupError::NotAName(text.to_owned()))?;
    name.set_fqdn(true);
    Ok(name)
}

/// The name as texts are compared: lower case, without the last dot.
pub fn key(name: &Name) -> String {
    let text = name.to_lowercase().to_ascii();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}
