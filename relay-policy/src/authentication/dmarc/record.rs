//! The record of a domain (RFC 9989 §4.7).

use super::{super::tags::Tags, Wish};

/// What a domain says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// For the domain itself.
    pub policy: Wish,
    /// For domains below it.
    pub below: Wish,
    /// For domains below it that do not exist.
    pub missing: Wish,
    /// Whether DKIM must be by the very domain.
    pub strict_dkim: bool,
    /// Whether SPF must be for the very domain.
    pub strict_spf: bool,
    /// Whether the owner only tries it out: wishes are then one step milder.
    pub testing: bool,
    /// Whether the domain is a public suffix, if it says.
    pub public_suffix: Option<bool>,
    /// Where reports of many messages go: addresses.
    pub reports: Vec<String>,
}

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a record of DMARC")]
pub struct RecordError;

impl Record {
    /// Reads a record.
    ///
    /// ```
    /// use mailwright_relay_policy::authentication::dmarc::{Record, Wish};
    ///
    /// let record = Record::parse("v=DMARC1; p=reject; sp=none; rua=mailto:dmarc@example.org")?;
    /// assert_eq!((record.policy, record.below), (Wish::Reject, Wish::None));
    /// assert_eq!(record.reports, ["dmarc@example.org"]);
    /// # Ok::<(), mailwright_relay_policy::authentication::dmarc::RecordError>(())
    /// ```
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self, RecordError> {
        let tags = Tags::parse(text).ok_or(RecordError)?;
        // RFC 9989 §4.7: the version is first, and in capitals.
        if tags.first() != Some(("v", "DMARC1")) {
            return Err(RecordError);
        }
        let wish = |tag: &str| tags.value(tag).and_then(Wish::parse);
        let reports: Vec<String> = tags
            .value("rua")
            .unwrap_or_default()
            .split(',')
            .filter_map(|uri| {
                let uri = uri.trim();
                let scheme = uri.get(..7)?;
                let address = scheme.eq_ignore_ascii_case("mailto:").then(|| uri.get(7..))??;
                // RFC 7489 §6.2 put a largest size behind an exclamation mark.
                let address = address.split(['!', '?']).next()?;
                address.parse::<mailwright_mail_model::Address>().ok().map(|address| address.to_string())
            })
            .collect();
        // RFC 9989 §4.7: without a policy that can be read, and with an address for reports, it is none.
        let policy = match wish("p") {
            Some(policy) => policy,
            None if tags.value("p").is_none() || !reports.is_empty() => Wish::None,
            None => return Err(RecordError),
        };
        let below = wish("sp").unwrap_or(policy);
        let strict = |tag: &str| tags.value(tag).is_some_and(|value| value.eq_ignore_ascii_case("s"));
        let flag = |tag: &str| tags.value(tag).map(str::to_ascii_lowercase);
        // RFC 9989 §A.7: pct=0 is how the same was said before.
        let testing = flag("t").as_deref() == Some("y") || flag("pct").as_deref() == Some("0");
        Ok(Self {
            policy,
            below,
            missing: wish("np").unwrap_or(below),
            strict_dkim: strict("adkim"),
            strict_spf: strict("aspf"),
            testing,
            public_suffix: match flag("psd").as_deref() {
                Some("y") => Some(true),
                Some("n") => Some(false),
                _ => None,
            },
            reports,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read() {
        let record = Record::parse(
            "v=DMARC1; p=Quarantine; np=reject; adkim=s; aspf=r; pct=0; psd=n; rua=mailto:a@b.example!10m, http://x , mailto:c@d.example;",
        )
        .unwrap();
        assert_eq!(
            (record.policy, record.below, record.missing),
            (Wish::Quarantine, Wish::Quarantine, Wish::Reject)
        );
        assert!(record.strict_dkim && !record.strict_spf && record.testing);
        assert_eq!(record.public_suffix, Some(false));
        assert_eq!(record.reports, ["a@b.example", "c@d.example"]);
        assert_eq!(Record::parse("v=DMARC1").unwrap().policy, Wish::None);
        assert_eq!(Record::parse("v=DMARC1; p=maybe; rua=mailto:a@b.example").unwrap().policy, Wish::None);
        for wrong in
            ["v=DMARC1; p=maybe", "v=dmarc1; p=none", "p=none; v=DMARC1", "v=DMARC2; p=none", "hello"]
        {
            assert_eq!(Record::parse(wrong), Err(RecordError), "{wrong}");
        }
    }
}
