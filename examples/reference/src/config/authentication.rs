//! The configuration of what is found out about senders.

use mailwright::{mail_model::Domain, relay_policy::authentication::dmarc::Wish};
use serde::{Deserialize, Serialize};

/// Where messages come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Authentication {
    /// Whether SPF, DKIM, ARC and DMARC are verified.
    pub(crate) verify: bool,
    /// What is done at most where DMARC fails.
    pub(crate) dmarc: Done,
    /// Domains for whose authors nothing is done.
    pub(crate) dmarc_exceptions: Vec<String>,
    /// Domains whose ARC seals are believed.
    pub(crate) trusted_sealers: Vec<String>,
    /// Whether mail of domains with a key is signed.
    pub(crate) sign: bool,
    /// Whether what is sent on is sealed.
    pub(crate) seal: bool,
    /// Whether the owners of domains are told what was found out about mail from them.
    pub(crate) reports: bool,
}

/// What is done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Done {
    /// Nothing.
    None,
    /// It goes to Junk.
    #[default]
    Quarantine,
    /// It is refused.
    Reject,
}

impl Default for Authentication {
    fn default() -> Self {
        Self {
            verify: true,
            dmarc: Done::Quarantine,
            dmarc_exceptions: Vec::new(),
            trusted_sealers: Vec::new(),
            sign: true,
            seal: true,
            reports: false,
        }
    }
}

impl Authentication {
    pub(crate) fn at_most(&self) -> Wish {
        match self.dmarc {
            Done::None => Wish::None,
            Done::Quarantine => Wish::Quarantine,
            Done::Reject => Wish::Reject,
        }
    }

    /// Everything that is wrong, each with what to do.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        let exceptions = self.dmarc_exceptions.iter().map(|domain| ("dmarc_exceptions", domain));
        let sealers = self.trusted_sealers.iter().map(|domain| ("trusted_sealers", domain));
        let wrong = exceptions.chain(sealers).filter(|(_, domain)| domain.parse::<Domain>().is_err());
        let nothing = self.reports && !self.verify;
        let nothing = nothing.then(|| "[authentication] reports: nothing is verified, so there is nothing to report; say verify = true".to_owned());
        wrong
            .map(|(key, domain)| format!("[authentication] {key}: {domain:?} is not a domain name"))
            .chain(nothing)
    }
}

/// Domains as they are compared.
pub(crate) fn domain_keys(texts: &[String]) -> impl Iterator<Item = String> {
    texts.iter().filter_map(|text| text.parse::<Domain>().ok()).map(|domain| domain.key().to_owned())
}
