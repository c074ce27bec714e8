//! Answers known beforehand.

use std::collections::{HashMap, HashSet};

use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, TXT};

use super::{Answer, LookupError, Name, RData, Record, RecordType, Resolve, key, name};

/// A name system that fits into a table: for tests, and for those who have no other.
///
/// ```
/// use mailwright_relay_policy::dns::{CannedAnswers, RecordType, Resolve, name};
///
/// let zone = CannedAnswers::default().mx("b.example", 10, "mx.b.example").a("mx.b.example", "192.0.2.1");
/// # let lookup = async {
/// let answer = zone.lookup(&name("B.example")?, RecordType::MX).await?;
/// assert_eq!(answer.exchangers().map(|(preference, _)| preference).collect::<Vec<_>>(), [10]);
/// # Ok::<(), mailwright_relay_policy::dns::LookupError>(()) };
/// # let mut context = std::task::Context::from_waker(std::task::Waker::noop());
/// # assert!(matches!(std::pin::pin!(lookup).poll(&mut context), std::task::Poll::Ready(Ok(()))));
/// ```
#[derive(Debug, Clone, Default)]
pub struct CannedAnswers {
    records: HashMap<(String, RecordType), Vec<Record>>,
    failures: HashMap<(String, RecordType), LookupError>,
    authentic: bool,
    unsigned: HashSet<String>,
}

/// An alias of an alias of an alias: after so many, it is a loop.
const MOST_ALIASES: usize = 8;

impl CannedAnswers {
    /// With one more record. A text that is no name is left out.
    #[must_use]
    pub fn record(mut self, at: &str, data: RData) -> Self {
        if let Ok(at) = name(at) {
            let records = self.records.entry((key(&at), data.record_type())).or_default();
            records.push(Record::from_rdata(at, 300, data));
        }
        self
    }

    /// With a mail exchanger; `.` is the one that takes no mail (RFC 7505).
    #[must_use]
    pub fn mx(self, at: &str, preference: u16, exchanger: &str) -> Self {
        let exchanger = if exchanger == "." { Ok(Name::root()) } else { name(exchanger) };
        match exchanger {
            Ok(exchanger) => self.record(at, RData::MX(MX::new(preference, exchanger))),
            Err(_) => self,
        }
    }

    /// With an IPv4 address.
    #[must_use]
    pub fn a(self, at: &str, address: &str) -> Self {
        match address.parse() {
            Ok(address) => self.record(at, RData::A(A(address))),
            Err(_) => self,
        }
    }

    /// With an IPv6 address.
    #[must_use]
    pub fn aaaa(self, at: &str, address: &str) -> Self {
        match address.parse() {
            Ok(address) => self.record(at, RData::AAAA(AAAA(address))),
            Err(_) => self,
        }
    }

    /// With an alias.
    #[must_use]
    pub fn cname(self, at: &str, to: &str) -> Self {
        match name(to) {
            Ok(to) => self.record(at, RData::CNAME(CNAME(to))),
            Err(_) => self,
        }
    }

    /// With a text.
    #[must_use]
    pub fn txt(self, at: &str, text: &str) -> Self {
        self.record(at, RData::TXT(TXT::new(vec![text.to_owned()])))
    }

    /// With a failure in place of an answer.
    #[must_use]
    pub fn failure(mut self, at: &str, kind: RecordType, error: LookupError) -> Self {
        self.failures.insert((at.to_ascii_lowercase(), kind), error);
        self
    }

    /// With signatures that hold, for all of it.
    #[must_use]
    pub fn authentic(mut self) -> Self {
        self.authentic = true;
        self
    }

    /// Without signatures at this name, though others have them.
    #[must_use]
    pub fn unsigned(mut self, at: &str) -> Self {
        self.unsigned.insert(at.to_ascii_lowercase());
        self
    }
}

impl Resolve for CannedAnswers {
    async fn lookup(&self, name: &Name, kind: RecordType) -> Result<Answer, LookupError> {
        let (mut at, mut records, mut authentic) = (key(name), Vec::new(), self.authentic);
        for _ in 0..MOST_ALIASES {
            authentic &= !self.unsigned.contains(&at);
            if let Some(error) = self.failures.get(&(at.clone(), kind)) {
                return Err(error.clone());
            }
            if let Some(found) = self.records.get(&(at.clone(), kind)) {
                records.extend(found.iter().cloned());
                return Ok(Answer::new(records, authentic));
            }
            let alias = self.records.get(&(at.clone(), RecordType::CNAME)).and_then(|found| found.first());
            let Some((alias, RData::CNAME(target))) = alias.map(|alias| (alias, &alias.data)) else {
                let known = self.records.keys().any(|(name, _)| *name == at);
                return if known { Ok(Answer::new(records, authentic)) } else { Err(LookupError::NoName) };
            };
            records.push(alias.clone());
            at = key(&target.0);
        }
        Err(LookupError::Temporary("aliases without end".into()))
    }
}
