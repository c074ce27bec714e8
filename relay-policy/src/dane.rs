//! DANE for SMTP (RFC 7672): what a host's certificate must be, by the signed records of its domain (TLSA, RFC 6698).

mod record;
#[cfg(test)]
mod tests;

use crate::{
    dns::{Answer, LookupError, RData, RecordType, Resolve, name},
    route::Exchanger,
};

pub use record::{Certificate, Tlsa};

/// What the name system says of a host's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Dane {
    /// Nothing that is signed: DANE does not apply.
    #[default]
    Absent,
    /// There are signed records, and none that can be used: TLS is a must, whatever the certificate (RFC 7672 §2.2).
    Unusable,
    /// TLS is a must, and the certificate must be one of these.
    Usable(TlsaSet),
}

/// Signed records that can be used, and the names they hold for.
///
/// ```
/// use mailwright_relay_policy::dane::{Certificate, Tlsa, TlsaSet};
///
/// let records = [Tlsa::new(3, 0, 0, b"certificate".to_vec()), Tlsa::new(1, 0, 0, b"another".to_vec())];
/// let set = TlsaSet::new("mx.b.example", ["b.example"], records).unwrap();
/// assert_eq!(set.records().len(), 1, "usage 1 is not for mail");
/// assert!(set.matches_host(&Certificate::new(b"certificate", b"its key")));
/// assert!(!set.matches_host(&Certificate::new(b"another", b"its key")));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsaSet {
    base: String,
    names: Vec<String>,
    records: Vec<Tlsa>,
}

impl TlsaSet {
    /// What can be used of these records of a host; `None` if that is nothing. `base` is the name they are kept under, which the
    /// client asks for (SNI); a certificate below an authority may bear one of the other names as well.
    pub fn new<'a>(
        base: &str,
        names: impl IntoIterator<Item = &'a str>,
        records: impl IntoIterator<Item = Tlsa>,
    ) -> Option<Self> {
        let usable: Vec<Tlsa> = records.into_iter().filter(Tlsa::is_usable).collect();
        // RFC 7671 §9: of several digests of one kind only the strongest counts.
        let strongest = |record: &Tlsa| {
            let same = |other: &&Tlsa| (other.usage, other.selector) == (record.usage, record.selector);
            let best = usable.iter().filter(same).map(|other| other.matching).max().unwrap_or(0);
            record.matching == 0 || record.matching == best
        };
        let records: Vec<Tlsa> = usable.iter().filter(|record| strongest(record)).cloned().collect();
        let mut known = vec![base.to_owned()];
        for name in names {
            if !known.iter().any(|known| known == name) {
                known.push(name.to_owned());
            }
        }
        (!records.is_empty()).then(|| Self { base: base.to_owned(), names: known, records })
    }

    /// The name the records are kept under, behind `_25._tcp.`: what the client asks the host for.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The names that a certificate below an authority may bear (RFC 7672 §3.2.2), the base first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The records that can be used.
    pub fn records(&self) -> &[Tlsa] {
        &self.records
    }

    /// Whether a record names this certificate as the host's own (usage 3). Then nothing else of it counts: neither its names nor
    /// its dates (RFC 7672 §3.1.1).
    pub fn matches_host(&self, certificate: &Certificate<'_>) -> bool {
        self.records.iter().any(|record| record.usage == 3 && record.matches(certificate))
    }

    /// Whether a record names this certificate as the authority (usage 2). Then the host's must be below it, must bear one of the
    /// [`names`](Self::names), and must not have expired (RFC 7672 §3.1.2).
    pub fn matches_authority(&self, certificate: &Certificate<'_>) -> bool {
        self.records.iter().any(|record| record.usage == 2 && record.matches(certificate))
    }

    /// Certificates of authorities that are in the records whole: a host need not send them (RFC 7671 §5.2.2).
    pub fn authorities(&self) -> impl Iterator<Item = &[u8]> {
        let whole = |record: &&Tlsa| (record.usage, record.selector, record.matching) == (2, 0, 0);
        self.records.iter().filter(whole).map(|record| &*record.data)
    }
}

/// Looks up what a host's certificate must be. `domain` is where the mail goes: the one whose exchanger the host is.
///
/// # Errors
/// If nobody can tell: then the host must not be used (RFC 7672 §2.2).
pub async fn look_up(
    resolver: &impl Resolve,
    exchanger: &Exchanger,
    domain: &str,
) -> Result<Dane, LookupError> {
    let mut refused = false;
    for base in bases(resolver, exchanger).await? {
        let asked = name(&format!("_{}._tcp.{base}", exchanger.port))?;
        let answer = match resolver.lookup(&asked, RecordType::TLSA).await {
            Ok(answer) => answer,
            Err(LookupError::NoName) => continue,
            Err(error) => return Err(error),
        };
        let records: Vec<Tlsa> = records(&answer).collect();
        // Unsigned ones are as none.
        if records.is_empty() || !answer.authentic {
            continue;
        }
        match TlsaSet::new(base, [&*exchanger.name, domain], records) {
            Some(set) => return Ok(Dane::Usable(set)),
            None => refused = true,
        }
        break;
    }
    Ok(if refused { Dane::Unusable } else { Dane::Absent })
}

/// The names that records may be kept under, in the order in which they are asked for (RFC 7672 §2.2.2, §2.2.3).
async fn bases<'a>(resolver: &impl Resolve, exchanger: &'a Exchanger) -> Result<Vec<&'a str>, LookupError> {
    // RFC 7672 §2.2.1: a host that the name system may have been made to name is worth nothing.
    if !exchanger.vouched || exchanger.name.parse::<std::net::IpAddr>().is_ok() {
        return Ok(Vec::new());
    }
    let own = exchanger.name.as_str();
    Ok(match &exchanger.canonical {
        None if exchanger.authentic => vec![own],
        // Domains whose addresses are not signed have no signed records, and some of their servers fail when asked.
        None => Vec::new(),
        Some(canonical) if exchanger.authentic => vec![canonical, own],
        Some(_) => {
            let alias = resolver.lookup(&name(own)?, RecordType::CNAME).await?;
            if alias.authentic && !alias.records.is_empty() { vec![own] } else { Vec::new() }
        }
    })
}

fn records(answer: &Answer) -> impl Iterator<Item = Tlsa> {
    answer.records.iter().filter_map(|record| match &record.data {
        RData::TLSA(tlsa) => Some(Tlsa::new(
            tlsa.cert_usage.into(),
            tlsa.selector.into(),
            tlsa.matching.into(),
            tlsa.cert_data.clone(),
        )),
        _ => None,
    })
}
