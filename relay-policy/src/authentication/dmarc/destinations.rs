//! Where reports of many messages may go (RFC 9990 §4, RFC 7489 §7.1).

use std::collections::HashMap;

use mailwright_mail_model::Address;

use super::{
    super::tags::Tags,
    Record,
    evaluate::{Later, Tree},
};
use crate::dns::{LookupError, RecordType, Resolve, name};

/// RFC 7489 §7.1: more than two may be left out; these many are enough for anybody.
const MOST: usize = 5;

/// Nobody can tell now whether an address wants the reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("name servers cannot tell now whether reports are wanted")]
pub struct DestinationError;

/// The addresses that get reports about `domain`, where the record was found, of those that the record names.
///
/// An address in another organization gets them only if that domain says that it wants them, so that nobody is flooded with
/// reports by a stranger's record.
///
/// ```
/// use mailwright_relay_policy::{authentication::dmarc::destinations, dns::CannedAnswers};
///
/// let zone = CannedAnswers::default().txt("a.example._report._dmarc.collector.example", "v=DMARC1");
/// let named = ["dmarc@a.example", "a@collector.example", "victim@b.example"].map(str::to_owned);
/// # let ready = async {
/// let wanted = destinations(&zone, "a.example", &named).await?;
/// let wanted: Vec<_> = wanted.iter().map(|address| address.as_str()).collect();
/// assert_eq!(wanted, ["dmarc@a.example", "a@collector.example"]);
/// # Ok::<(), mailwright_relay_policy::authentication::dmarc::DestinationError>(())
/// # };
/// # let mut context = std::task::Context::from_waker(std::task::Waker::noop());
/// # assert!(matches!(std::pin::pin!(ready).poll(&mut context), std::task::Poll::Ready(Ok(()))));
/// ```
///
/// # Errors
/// If that cannot be found out now.
pub async fn destinations<R: Resolve>(
    resolve: &R,
    domain: &str,
    named: &[String],
) -> Result<Vec<Address>, DestinationError> {
    let mut tree = Tree { resolve, known: HashMap::new() };
    let mut wanted: Vec<Address> = Vec::new();
    for address in named.iter().take(MOST).filter_map(|address| address.parse::<Address>().ok()) {
        let host = address.domain().key().to_owned();
        let more = if host == domain || same_organization(&mut tree, domain, &host).await? {
            vec![address]
        } else {
            consent(resolve, domain, &host, address).await?
        };
        more.into_iter().for_each(|address| {
            if !wanted.contains(&address) {
                wanted.push(address);
            }
        });
    }
    Ok(wanted)
}

async fn same_organization<R: Resolve>(
    tree: &mut Tree<'_, R>,
    domain: &str,
    host: &str,
) -> Result<bool, DestinationError> {
    let later = |_: Later| DestinationError;
    let organization = tree.find(domain).await.map_err(later)?.organization;
    // A stranger costs no more questions.
    let below =
        host.strip_suffix(&*organization).is_some_and(|above| above.is_empty() || above.ends_with('.'));
    Ok(below && tree.find(host).await.map_err(later)?.organization == organization)
}

/// What the other domain says: nothing, that it wants them, or that it wants them at another address of its own.
async fn consent<R: Resolve>(
    resolve: &R,
    domain: &str,
    host: &str,
    address: Address,
) -> Result<Vec<Address>, DestinationError> {
    let Ok(at) = name(&format!("{domain}._report._dmarc.{host}")) else { return Ok(Vec::new()) };
    let answer = match resolve.lookup(&at, RecordType::TXT).await {
        Ok(answer) => answer,
        Err(LookupError::NoName | LookupError::NotAName(_)) => return Ok(Vec::new()),
        Err(_) => return Err(DestinationError),
    };
    let says = |text: &String| Tags::parse(text).is_some_and(|tags| tags.first() == Some(("v", "DMARC1")));
    let Some(text) = answer.texts().find(says) else { return Ok(Vec::new()) };
    // RFC 7489 §7.1, step 7: it may name another address, but none elsewhere.
    let others = Record::parse(&text).map(|record| record.reports).unwrap_or_default();
    if others.is_empty() {
        return Ok(vec![address]);
    }
    let others = others.iter().filter_map(|other| other.parse::<Address>().ok());
    Ok(others.filter(|other| other.domain().key() == host).take(MOST).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{authentication::tests::ready, dns::CannedAnswers};

    #[test]
    fn strangers_get_reports_if_they_want_them() {
        let zone = CannedAnswers::default()
            .txt("_dmarc.a.example", "v=DMARC1; p=none")
            .txt("sub.a.example._report._dmarc.yes.example", "v=DMARC1")
            .txt("sub.a.example._report._dmarc.moved.example", "v=DMARC1; rua=mailto:new@moved.example")
            .txt("sub.a.example._report._dmarc.away.example", "v=DMARC1; rua=mailto:x@victim.example")
            .txt("sub.a.example._report._dmarc.no.example", "no");
        for (named, expected) in [
            ("x@sub.a.example", Some("x@sub.a.example")),
            ("x@A.example", Some("x@A.example")),
            ("x@other.a.example", Some("x@other.a.example")),
            ("x@yes.example", Some("x@yes.example")),
            ("old@moved.example", Some("new@moved.example")),
            ("x@away.example", None),
            ("x@no.example", None),
            ("x@nothing.example", None),
            ("x@na.example", None),
        ] {
            let found = ready(destinations(&zone, "sub.a.example", &[named.to_owned()])).unwrap();
            assert_eq!(found.first().map(Address::as_str), expected, "{named}");
        }
        let many: Vec<_> = (0..100).map(|number| format!("r{number}@a.example")).collect();
        assert_eq!(ready(destinations(&zone, "a.example", &many)).unwrap().len(), MOST);
    }
}
