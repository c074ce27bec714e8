//! Sending what was collected to the domains that want it, every day.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use mailwright::{
    https::{Https, HttpsLimits},
    mail_model::{Address, DateTime, ReversePath},
    relay_policy::{
        authentication::{Examiner, dkim::sign},
        dns::{AnyResolver, LookupError, RecordType, Resolve, name},
    },
};
use tokio_util::sync::CancellationToken;

use super::{
    collect::{Collected, today},
    mail::Letter,
    report::{PolicyResult, Range, Report},
};
use crate::{
    directory::Directory,
    first_run::random_password,
    queue::{Outbound, unix_time},
};

const DAY: u64 = 86_400;
/// How often what was counted is written down, and how often there is a look for a day that is over.
const SAVE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_secs(600);
/// So many days after its own, a report that could not be sent is dropped (RFC 8460 §5.4: 24 hours).
const PATIENCE: u64 = 2;
/// RFC 8460 §3: more destinations than this nobody needs.
const MOST_DESTINATIONS: usize = 5;

/// What sends reports.
#[derive(Clone)]
pub(crate) struct Reporter {
    pub(crate) collected: Collected,
    pub(crate) resolver: AnyResolver,
    pub(crate) https: Option<Https>,
    pub(crate) queue: Arc<Outbound>,
    pub(crate) directory: Arc<Directory>,
    /// In whose name: the first domain that is served here.
    pub(crate) domain: String,
}

/// Reports every day, until it is to stop. What was counted is written down even if nothing is reported by itself.
pub(crate) async fn watch(reporter: Reporter, stop: CancellationToken) {
    let (mut save, mut look) = (tokio::time::interval(SAVE), tokio::time::interval(LOOK));
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = save.tick() => {
                let collected = reporter.collected.clone();
                let _ = tokio::task::spawn_blocking(move || collected.save()).await;
            }
            _ = look.tick() => {
                reporter.send(today()).await;
            }
        }
    }
    let collected = reporter.collected.clone();
    let _ = tokio::task::spawn_blocking(move || collected.save()).await;
}

impl Reporter {
    /// Sends all that was collected before this day; says how many reports went out.
    pub(crate) async fn send(&self, before: u64) -> usize {
        let mut sent = 0;
        for (place, results) in self.collected.before(before) {
            let (day, domain) = &place;
            match self.report(*day, domain, &results).await {
                Ok(destinations) => {
                    sent += usize::from(destinations > 0);
                    tracing::info!(domain, destinations, "how TLS went is reported");
                }
                Err(error) if today() > day + PATIENCE => {
                    tracing::warn!(domain, %error, "how TLS went cannot be reported, and is forgotten");
                }
                Err(error) => {
                    tracing::info!(domain, %error, "how TLS went cannot be reported now");
                    continue;
                }
            }
            if let Err(error) = self.collected.settle(&place, &results) {
                tracing::error!(%error, "what was reported cannot be forgotten");
            }
        }
        sent
    }

    /// Also what was collected today.
    pub(crate) async fn send_all(&self) -> usize {
        self.send(today() + 1).await
    }

    /// Reports to all that the domain names; says to how many.
    async fn report(&self, day: u64, domain: &str, results: &[PolicyResult]) -> Result<usize, String> {
        let destinations = self.destinations(domain).await?;
        if destinations.is_empty() {
            return Ok(0);
        }
        let begin = day * DAY;
        let end = (begin + DAY - 1).min(unix_time());
        let report = Report {
            organization: self.domain.clone(),
            range: Range { begin: rfc3339(begin), end: rfc3339(end) },
            contact: format!("postmaster@{}", self.domain),
            id: random_password().map_err(|error| error.to_string())?,
            policies: results.to_vec(),
        };
        let packed = report.packed().map_err(|error| error.to_string())?;
        let (mut reached, mut failure) = (0, None);
        for destination in destinations {
            let done = match destination.split_once(':') {
                Some(("mailto", to)) => self.mail(&report, &packed, domain, to, (begin, end)).await,
                _ => self.post(&destination, &packed).await,
            };
            match done {
                Ok(()) => reached += 1,
                Err(error) => failure = Some(format!("{destination}: {error}")),
            }
        }
        match failure {
            Some(failure) if reached == 0 => Err(failure),
            _ => Ok(reached),
        }
    }

    /// What the record of a domain says (RFC 8460 §3).
    async fn destinations(&self, domain: &str) -> Result<Vec<String>, String> {
        let at = name(&format!("_smtp._tls.{domain}")).map_err(|error| error.to_string())?;
        match self.resolver.lookup(&at, RecordType::TXT).await {
            Ok(answer) => Ok(wanted(answer.texts())),
            Err(LookupError::NoName) => Ok(Vec::new()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn mail(
        &self,
        report: &Report,
        packed: &[u8],
        domain: &str,
        to: &str,
        (begin, end): (u64, u64),
    ) -> Result<(), String> {
        let address: Address = to.parse().map_err(|_| format!("{to:?} is no address"))?;
        let from = format!("postmaster@{}", self.domain);
        let sender: Address = from.parse().map_err(|_| format!("{from:?} is no address"))?;
        let now = DateTime::new(i64::try_from(unix_time()).unwrap_or(0), 0).unwrap_or(DateTime::EPOCH);
        let submitter = &self.domain;
        let letter = Letter { report, packed, domain, submitter, from: &from, to, now, begin, end };
        let text = letter.text();
        // RFC 8460 §3: signed, or it is not believed.
        let mut examiner = Examiner::new().for_signing();
        examiner.push(text.as_bytes());
        let examined = examiner.finish();
        let mut signed = String::new();
        for signer in self.directory.keys.of(&self.domain) {
            signed += &sign(&signer, &examined, unix_time()).map_err(|error| error.to_string())?;
        }
        if signed.is_empty() {
            tracing::warn!(
                domain = self.domain,
                "a report of TLS is not signed: `mailwrightd dkim key add` makes a key"
            );
        }
        let (sender, id) = (ReversePath::Address(sender), Some(letter.message_id()));
        let submitted = self.queue.submit(sender, address, id, Bytes::from(signed + &text)).await;
        submitted.map(drop).map_err(|error| error.to_string())
    }

    async fn post(&self, url: &str, packed: &[u8]) -> Result<(), String> {
        let https = self.https.as_ref().ok_or("no authorities are configured to trust (relay.trust)")?;
        let body = packed.to_vec();
        let answer = https.post(url, "application/tlsrpt+gzip", body, &HttpsLimits::default()).await;
        match answer {
            Ok(answer) if answer.is_success() => Ok(()),
            Ok(answer) => Err(format!("the server answers {}", answer.status())),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The addresses and URLs of the record; of several records none (RFC 8460 §3).
fn wanted(texts: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut records = texts
        .into_iter()
        .filter(|text| text.split(';').next().is_some_and(|version| version.trim() == "v=TLSRPTv1"));
    let (Some(record), None) = (records.next(), records.next()) else { return Vec::new() };
    let rua = record.split(';').find_map(|field| field.trim().strip_prefix("rua=").map(str::to_owned));
    let uris = rua.unwrap_or_default();
    let uris =
        uris.split(',').map(str::trim).filter(|uri| uri.starts_with("mailto:") || uri.starts_with("https:"));
    uris.take(MOST_DESTINATIONS).map(str::to_owned).collect()
}

/// `2026-11-21T00:00:00Z`
fn rfc3339(seconds: u64) -> String {
    let time = DateTime::new(i64::try_from(seconds).unwrap_or(0), 0).unwrap_or(DateTime::EPOCH);
    let (date, rest) = (time.date(), seconds % DAY);
    let (hours, minutes, seconds) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{}-{:02}-{:02}T{hours:02}:{minutes:02}:{seconds:02}Z", date.year(), date.month(), date.day())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wants_reports() {
        for (texts, expected) in [
            (&["v=TLSRPTv1; rua=mailto:tls@b.example"][..], &["mailto:tls@b.example"][..]),
            (
                &["v=TLSRPTv1;rua=mailto:a@b.example, https://b.example/tls"],
                &["mailto:a@b.example", "https://b.example/tls"],
            ),
            (&["v=spf1 -all", "v=TLSRPTv1; rua=mailto:a@b.example;"], &["mailto:a@b.example"]),
            (&["v=TLSRPTv1; rua=mailto:a@b.example", "v=TLSRPTv1; rua=mailto:c@b.example"], &[]),
            (&["v=TLSRPTv1; rua=http://b.example/"], &[]),
            (&["v=TLSRPTv2; rua=mailto:a@b.example"], &[]),
            (&[], &[]),
        ] {
            assert_eq!(wanted(texts.iter().map(|text| (*text).to_owned())), expected, "{texts:?}");
        }
        assert_eq!(rfc3339(1_700_000_000), "2023-11-14T22:13:20Z");
    }
}
