//! From the results of SPF and DKIM to the one of DMARC (RFC 9989 §4.10, §5.3).

use std::collections::HashMap;

use super::{
    super::{
        Examined,
        dkim::{Outcome, Verified},
        spf::{SpfFinding, SpfResult},
    },
    Record, Wish,
};
use crate::dns::{LookupError, RecordType, Resolve, name};

/// What DMARC says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum DmarcResult {
    /// Nothing: the domain has no record.
    #[default]
    None,
    /// The message comes from the domain that it names.
    Pass,
    /// Nobody can tell whether there is no author that could be asked about.
    PermError,
    /// Nobody can tell now.
    TempError,
    /// It does not.
    Fail,
}

impl DmarcResult {
    /// The word for it (RFC 8601 §2.7.8 and RFC 9989 §8).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::PermError => "permerror",
            Self::TempError => "temperror",
            Self::Fail => "fail",
        }
    }
}

/// What DMARC says of a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DmarcFinding {
    /// What it says: of several authors, of the one for whom it is worst.
    pub result: DmarcResult,
    /// What the domain wants done if the result is [`Fail`](DmarcResult::Fail), or comes to be that: at
    /// [`TempError`](DmarcResult::TempError) too, if its record was found. [`Reject`](Wish::Reject) at
    /// [`PermError`](DmarcResult::PermError) if [not all authors can be told](super::super::Authors::doubtful), whose wish nobody
    /// can know. Otherwise nothing.
    pub wish: Wish,
    /// Of whom.
    pub author: Author,
}

/// The domain of an author.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Author {
    /// The domain in the From field.
    pub domain: String,
    /// Where the record was found, and what is in it.
    pub record: Option<(String, Record)>,
    /// Whether DKIM proved it.
    pub by_dkim: bool,
    /// Whether SPF proved it.
    pub by_spf: bool,
}

/// What DMARC says of a message of which SPF and DKIM say this.
///
/// A message may have several authors, by one From field or by several; it passes only if it comes from every one of their
/// domains, so that nobody gets by with a second author.
pub async fn evaluate<R: Resolve>(
    resolve: &R,
    examined: &Examined,
    spf: &SpfFinding,
    dkim: &[Verified],
) -> DmarcFinding {
    let authors = examined.authors();
    let mut tree = Tree { resolve, known: HashMap::new() };
    let untold = DmarcFinding { result: DmarcResult::PermError, ..DmarcFinding::default() };
    let mut worst = untold.clone();
    for (index, domain) in authors.domains.iter().enumerate() {
        let found = one(&mut tree, domain, spf, dkim).await;
        if index == 0 || (found.result, found.wish) > (worst.result, worst.wish) {
            worst = found;
        }
    }
    if authors.doubtful && worst.wish < Wish::Reject {
        // RFC 7489 §6.6.1: what cannot be attributed is typically rejected; else a second author would get the first by.
        return DmarcFinding { wish: Wish::Reject, ..untold };
    }
    worst
}

async fn one<R: Resolve>(
    tree: &mut Tree<'_, R>,
    domain: &str,
    spf: &SpfFinding,
    dkim: &[Verified],
) -> DmarcFinding {
    let mut author = Author { domain: domain.to_owned(), ..Author::default() };
    let finding = |result, wish, author| DmarcFinding { result, wish, author };
    let Ok(found) = tree.find(domain).await else {
        return finding(DmarcResult::TempError, Wish::None, author);
    };
    let Some((place, record)) = found.record else { return finding(DmarcResult::None, Wish::None, author) };
    let mut temporary = false;
    for verified in dkim {
        let Some(signature) = &verified.signature else { continue };
        let aligned = match verified.outcome {
            Outcome::Pass => true,
            Outcome::TempError(_) => false,
            _ => continue,
        };
        match tree.aligns(domain, &found.organization, &signature.domain, record.strict_dkim).await {
            Ok(true) if aligned => author.by_dkim = true,
            Ok(false) => {}
            // It might pass another time.
            _ => temporary = true,
        }
    }
    if matches!(spf.result, SpfResult::Pass | SpfResult::TempError) {
        match tree.aligns(domain, &found.organization, &spf.domain, record.strict_spf).await {
            Ok(true) if spf.result == SpfResult::Pass => author.by_spf = true,
            Ok(false) => {}
            _ => temporary = true,
        }
    }
    let wish = if place == domain {
        record.policy
    } else if record.missing != record.below && tree.is_missing(domain).await {
        record.missing
    } else {
        record.below
    };
    let wish = if record.testing { wish.milder() } else { wish };
    let passes = author.by_dkim || author.by_spf;
    author.record = Some((place, record));
    match (passes, temporary) {
        (true, _) => finding(DmarcResult::Pass, Wish::None, author),
        (false, true) => finding(DmarcResult::TempError, wish, author),
        (false, false) => finding(DmarcResult::Fail, wish, author),
    }
}

/// Records on the way from domains to the root.
pub(super) struct Tree<'a, R> {
    pub(super) resolve: &'a R,
    pub(super) known: HashMap<String, Option<Record>>,
}

/// What the walk from a domain found.
pub(super) struct Walk {
    /// The record that counts for it, and where it is.
    record: Option<(String, Record)>,
    /// The domain of its organization.
    pub(super) organization: String,
}

/// Nobody can tell now.
pub(super) struct Later;

/// RFC 9989 §4.10: names are asked about from so many labels on; together with the domain itself, that is eight questions.
const MOST_LABELS: usize = 7;

impl<R: Resolve> Tree<'_, R> {
    async fn record(&mut self, domain: &str) -> Result<Option<Record>, Later> {
        if let Some(known) = self.known.get(domain) {
            return Ok(known.clone());
        }
        let found = match name(&format!("_dmarc.{domain}")) {
            Err(_) => None,
            Ok(at) => match self.resolve.lookup(&at, RecordType::TXT).await {
                Ok(answer) => {
                    let mut records = answer.texts().filter_map(|text| Record::parse(&text).ok());
                    // RFC 9989 §4.10: several are none.
                    records.next().filter(|_| records.next().is_none())
                }
                Err(LookupError::NoName | LookupError::NotAName(_)) => None,
                Err(_) => return Err(Later),
            },
        };
        self.known.insert(domain.to_owned(), found.clone());
        Ok(found)
    }

    /// The tree walk (RFC 9989 §4.10).
    pub(super) async fn find(&mut self, domain: &str) -> Result<Walk, Later> {
        let mut found: Vec<(&str, Record)> = Vec::new();
        let mut organization = None;
        let mut last = domain;
        for at in path(domain) {
            let record = self.record(at).await?;
            let suffix = record.as_ref().and_then(|record| record.public_suffix);
            found.extend(record.map(|record| (at, record)));
            match suffix {
                Some(false) => {
                    organization = Some(at);
                    break;
                }
                // The one below it, which may have no record; of a public suffix itself, the same.
                Some(true) => {
                    organization = Some(if at == domain { at } else { last });
                    break;
                }
                None => last = at,
            }
        }
        let highest = found.last().map(|(at, _)| *at);
        let organization = organization.or(highest).unwrap_or(domain);
        // RFC 9989 §4.10.1: the domain's own, else the organization's, else the public suffix's.
        let own = found.iter().find(|(at, _)| *at == domain);
        let of_organization = || found.iter().find(|(at, _)| *at == organization);
        let record = own.or_else(of_organization).or_else(|| found.last());
        Ok(Walk {
            record: record.map(|(at, record)| ((*at).to_owned(), record.clone())),
            organization: organization.to_owned(),
        })
    }

    /// Whether a domain that was proved speaks for the author's.
    async fn aligns(
        &mut self,
        author: &str,
        organization: &str,
        proved: &str,
        strict: bool,
    ) -> Result<bool, Later> {
        let proved = proved.trim_end_matches('.');
        if author == proved {
            return Ok(true);
        }
        // They must share a label at their end at least, so that strangers cost no questions.
        let shares = |name: &str| {
            name.strip_suffix(organization).is_some_and(|above| above.is_empty() || above.ends_with('.'))
        };
        if strict || !shares(proved) {
            return Ok(false);
        }
        Ok(self.find(proved).await?.organization == organization)
    }

    /// Whether there is no such name at all.
    async fn is_missing(&self, domain: &str) -> bool {
        let Ok(at) = name(domain) else { return true };
        matches!(self.resolve.lookup(&at, RecordType::A).await, Err(LookupError::NoName))
    }
}

/// The domain, and those above it that are asked about.
fn path(domain: &str) -> impl Iterator<Item = &str> {
    let labels = domain.split('.').count();
    let above = domain.match_indices('.').filter_map(|(at, _)| domain.get(at + 1..));
    let near = above.enumerate().filter(move |(index, _)| labels - index - 1 <= MOST_LABELS);
    std::iter::once(domain).chain(near.map(|(_, domain)| domain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{authentication::tests::ready, dns::CannedAnswers};

    #[test]
    fn long_names_are_cut() {
        let asked = |domain: &str| path(domain).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(asked("a.b.example"), ["a.b.example", "b.example", "example"]);
        // RFC 9989 §4.10
        assert_eq!(
            asked("a.b.c.d.e.f.g.h.i.j.mail.example.com"),
            [
                "a.b.c.d.e.f.g.h.i.j.mail.example.com",
                "g.h.i.j.mail.example.com",
                "h.i.j.mail.example.com",
                "i.j.mail.example.com",
                "j.mail.example.com",
                "mail.example.com",
                "example.com",
                "com",
            ]
        );
    }

    #[test]
    fn organizations_are_found_in_the_tree() {
        let zone = CannedAnswers::default()
            .txt("_dmarc.example.com", "v=DMARC1; p=reject")
            .txt("_dmarc.giant.bank.example", "v=DMARC1; p=none; psd=n")
            .txt("_dmarc.bank.example", "v=DMARC1; p=reject; psd=y")
            .txt("_dmarc.two.example", "v=DMARC1; p=none")
            .txt("_dmarc.two.example", "v=DMARC1; p=reject");
        let organization = |domain: &str| {
            let mut tree = Tree { resolve: &zone, known: HashMap::new() };
            ready(tree.find(domain)).ok().map(|walk| (walk.organization, walk.record.map(|(at, _)| at)))
        };
        for (domain, expected, record) in [
            ("a.b.example.com", "example.com", Some("example.com")),
            ("example.com", "example.com", Some("example.com")),
            ("x.giant.bank.example", "giant.bank.example", Some("giant.bank.example")),
            ("x.mega.bank.example", "mega.bank.example", Some("bank.example")),
            ("bank.example", "bank.example", Some("bank.example")),
            ("x.nothing.example", "x.nothing.example", None),
            ("two.example", "two.example", None),
        ] {
            let found = organization(domain);
            assert_eq!(found, Some((expected.to_owned(), record.map(str::to_owned))), "{domain}");
        }
    }
}
