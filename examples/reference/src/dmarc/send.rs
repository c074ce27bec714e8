//! Reports to the owners of domains (RFC 7489 §7.2), once a day.

use std::{
    fmt::Write as _,
    io::Write as _,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use mailwright::{
    mail_model::{Address, DateTime},
    relay_policy::{authentication::dmarc::destinations, dns::AnyResolver},
};
use tokio_util::sync::CancellationToken;

use super::collect::{Collected, Collector, DAY, Kind};
use crate::queue::Outbound;

/// How often what was counted is written down.
const WRITE: Duration = Duration::from_secs(5);
/// How often it is looked whether a day is over: reports are not all sent in the same second.
const LOOK: Duration = Duration::from_secs(1_800);
/// After so many days nobody waits for a report any more.
const TOO_LATE: u64 = 3;
/// RFC 2045 §6.8
const LINE: usize = 76;

/// What makes reports of what was collected.
pub(crate) struct Reports {
    pub(crate) collector: Arc<Collector>,
    pub(crate) queue: Arc<Outbound>,
    pub(crate) names: AnyResolver,
    pub(crate) hostname: String,
}

/// Now, in seconds since 1970.
pub(crate) fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Reports {
    /// Writes down and sends, until it is to stop.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let (mut write, mut look) = (tokio::time::interval(WRITE), tokio::time::interval(LOOK));
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = write.tick() => self.write().await,
                _ = look.tick() => {
                    if let Err(error) = self.send_before(seconds() / DAY).await {
                        tracing::error!(error, "reports of DMARC cannot be sent");
                    }
                }
            }
        }
        self.write().await;
    }

    async fn write(&self) {
        if let Err(error) = self.collector.write().await {
            tracing::error!(%error, "what is to be reported of DMARC cannot be written down");
        }
    }

    /// Sends reports of all days before this one; gives how many.
    pub(crate) async fn send_before(&self, day: u64) -> Result<usize, String> {
        self.collector.write().await.map_err(|error| error.to_string())?;
        let mut sent = 0;
        for (of, domain) in self.collector.before(day).map_err(|error| error.to_string())? {
            let collected = self.collector.collected(of, &domain).map_err(|error| error.to_string())?;
            let Some(collected) = collected else { continue };
            match destinations(&self.names, &domain, &collected.published.reports).await {
                Ok(wanted) => sent += self.send(&collected, &wanted).await,
                // It is tried again.
                Err(_) if of + TOO_LATE >= day => continue,
                Err(error) => tracing::info!(domain, %error, "a report of DMARC is not sent"),
            }
            self.collector.forget(&collected).await.map_err(|error| error.to_string())?;
        }
        Ok(sent)
    }

    async fn send(&self, collected: &Collected, wanted: &[Address]) -> usize {
        let mut sent = 0;
        for to in wanted.iter().filter(|_| !collected.kinds.is_empty()) {
            let posted = match self.message(collected, to) {
                Ok(message) => self.queue.post(to, message).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            match posted {
                Ok(()) => {
                    tracing::info!(domain = collected.domain, %to, "report of DMARC sent");
                    sent += 1;
                }
                // The other address may work, and one report more or less is no reason to send both again.
                Err(error) => {
                    tracing::warn!(domain = collected.domain, %to, error, "a report of DMARC is not sent")
                }
            }
        }
        sent
    }

    /// RFC 7489 §7.2.1.1
    fn message(&self, collected: &Collected, to: &Address) -> std::io::Result<String> {
        let (host, domain) = (&self.hostname, &collected.domain);
        let told = Told::of(collected, seconds());
        let xml = xml(host, &told, collected);
        let Told { begin, end, id } = told;
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(xml.as_bytes())?;
        let encoded = STANDARD.encode(gzip.finish()?);
        let name = format!("{host}!{domain}!{begin}!{end}.xml.gz");
        let now = i64::try_from(seconds()).ok().and_then(|now| DateTime::new(now, 0));
        let date = now.unwrap_or(DateTime::EPOCH).to_rfc5322();
        let boundary = format!("dmarc-{begin}-{}", encoded.len());
        let mut message = format!(
            "Date: {date}\r\nFrom: DMARC reports <postmaster@{host}>\r\nTo: <{to}>\r\n\
             Subject: Report Domain: {domain}\r\n Submitter: {host}\r\n Report-ID: <{id}>\r\n\
             Message-ID: <dmarc.{id}.{}@{host}>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\n\
             --{boundary}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n\
             This is an aggregate report of DMARC about mail from {domain} that {host} got on one day.\r\n\r\n\
             --{boundary}\r\nContent-Type: application/gzip\r\nContent-Transfer-Encoding: base64\r\n\
             Content-Disposition: attachment;\r\n\tfilename=\"{name}\"\r\n\r\n",
            seconds()
        );
        let mut rest = &*encoded;
        while !rest.is_empty() {
            let (line, behind) = rest.split_at_checked(LINE).unwrap_or((rest, ""));
            message.push_str(line);
            message.push_str("\r\n");
            rest = behind;
        }
        let _ = write!(message, "\r\n--{boundary}--\r\n");
        Ok(message)
    }
}

/// What a report is of.
struct Told {
    /// In seconds since 1970, and the last of them.
    begin: u64,
    end: u64,
    id: String,
}

impl Told {
    /// The day, or as much of it as there is at this time.
    fn of(collected: &Collected, now: u64) -> Self {
        let (begin, domain) = (collected.day * DAY, &collected.domain);
        let over = begin + DAY - 1;
        // The same report has the same number, however often it is sent; and of a day that is not over there may be several, of which whoever
        // gets them must not take one for another (RFC 7489 §7.2.1.1).
        match now {
            now if (begin..over).contains(&now) => {
                Self { begin, end: now, id: format!("{begin}-{now}.{domain}") }
            }
            _ => Self { begin, end: over, id: format!("{begin}.{domain}") },
        }
    }
}

/// The report itself (RFC 7489 appendix C).
fn xml(host: &str, told: &Told, collected: &Collected) -> String {
    let Told { begin, end, id } = told;
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<feedback>\n<version>1.0</version>\n<report_metadata><org_name>{0}</org_name>\
         <email>postmaster@{0}</email><report_id>{1}</report_id><date_range><begin>{begin}</begin><end>{end}</end></date_range>\
         </report_metadata>\n",
        text(host),
        text(id)
    );
    let published = &collected.published;
    let strict = |strict: bool| if strict { "s" } else { "r" };
    let _ = writeln!(
        xml,
        "<policy_published><domain>{}</domain><adkim>{}</adkim><aspf>{}</aspf><p>{}</p><sp>{}</sp><np>{}</np>\
         <pct>{}</pct></policy_published>",
        text(&collected.domain),
        strict(published.strict_dkim),
        strict(published.strict_spf),
        text(&published.policy),
        text(&published.below),
        text(&published.missing),
        // RFC 9989 §A.7: what is only tried out was said by a share of nothing.
        if published.testing { 0 } else { 100 },
    );
    for counted in &collected.kinds {
        record(&mut xml, &counted.kind, counted.count);
    }
    xml.push_str("</feedback>\n");
    xml
}

fn record(xml: &mut String, kind: &Kind, count: u64) {
    let word = |passes: bool| if passes { "pass" } else { "fail" };
    let reason = kind.reason.as_ref().map_or(String::new(), |reason| {
        format!("<reason><type>{}</type><comment></comment></reason>", text(reason))
    });
    let _ = write!(
        xml,
        "<record><row><source_ip>{}</source_ip><count>{count}</count><policy_evaluated><disposition>{}</disposition>\
         <dkim>{}</dkim><spf>{}</spf>{reason}</policy_evaluated></row>\
         <identifiers><envelope_from>{}</envelope_from><header_from>{}</header_from></identifiers><auth_results>",
        text(&kind.source),
        text(&kind.done),
        word(kind.by_dkim),
        word(kind.by_spf),
        text(&kind.envelope),
        text(&kind.author),
    );
    for (domain, selector, result) in &kind.dkim {
        let _ = write!(
            xml,
            "<dkim><domain>{}</domain><selector>{}</selector><result>{}</result></dkim>",
            text(domain),
            text(selector),
            text(result)
        );
    }
    let (domain, scope, result) = &kind.spf;
    let _ = writeln!(
        xml,
        "<spf><domain>{}</domain><scope>{}</scope><result>{}</result></spf></auth_results></record>",
        text(domain),
        text(scope),
        text(result)
    );
}

/// What may be a stranger's words, as text of XML.
fn text(words: &str) -> String {
    let mut text = String::with_capacity(words.len());
    for letter in words.chars() {
        match letter {
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '&' => text.push_str("&amp;"),
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => text.push('?'),
            letter => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use mailwright::{
        mailstore::{
            block_on,
            embedded::{Embedded, Options},
        },
        relay_policy::authentication::{
            Findings,
            arc::ArcResult,
            dmarc::{DmarcResult, Record, Wish},
        },
        smtp::Observation,
    };

    use super::{super::report::Report, *};

    fn told(collected: &Collected) -> Told {
        Told::of(collected, u64::MAX)
    }

    #[test]
    fn a_day_that_is_not_over_is_told_up_to_now_and_under_another_number() {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path().join("store"), Options::default()).unwrap();
        let collector = Collector::new(store.table("dmarc").unwrap());
        let (day, noon) = (20_000, 20_000 * DAY + DAY / 2);
        observe(&collector, "a.example", 1, noon);
        block_on(collector.write()).unwrap();
        let collected = collector.collected(day, "a.example").unwrap().unwrap();
        for (now, end, id) in [
            (noon, noon, format!("{}-{noon}.a.example", day * DAY)),
            (noon + 60, noon + 60, format!("{}-{}.a.example", day * DAY, noon + 60)),
            (noon + DAY, (day + 1) * DAY - 1, format!("{}.a.example", day * DAY)),
            // A clock that is behind.
            (5, (day + 1) * DAY - 1, format!("{}.a.example", day * DAY)),
        ] {
            let told = Told::of(&collected, now);
            let report = Report::read(xml("mx.example", &told, &collected).as_bytes()).unwrap();
            assert_eq!((report.begin, report.end, report.id), (day * DAY, end, id), "{now}");
        }
    }

    /// A message of `from` that fails, and a number of messages that pass.
    fn observe(collector: &Collector, from: &str, passing: usize, now: u64) {
        let mut findings = Findings::default();
        let record = Record::parse("v=DMARC1; p=reject; sp=none; rua=mailto:d@a.example").unwrap();
        findings.dmarc.author.domain = from.to_owned();
        findings.dmarc.author.record = Some(("a.example".into(), record));
        findings.dmarc.result = DmarcResult::Pass;
        findings.dmarc.author.by_spf = true;
        let client = "192.0.2.7".parse().unwrap();
        let observation = Observation::new(client, None, &findings, Wish::None);
        (0..passing).for_each(|_| collector.observe(&observation, now));
        findings.dmarc.result = DmarcResult::Fail;
        findings.dmarc.author.by_spf = false;
        findings.dmarc.wish = Wish::Reject;
        collector.observe(&Observation::new(client, None, &findings, Wish::Quarantine), now);
    }

    #[test]
    fn what_is_collected_over_restarts_can_be_read_in_reports() {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path().join("store"), Options::default()).unwrap();
        let open = || Collector::new(store.table("dmarc").unwrap());
        let day = 20_000;
        for (collector, passing) in [(open(), 2), (open(), 3)] {
            observe(&collector, "a.example", passing, day * DAY + 5);
            observe(&collector, "<&\u{1b}.a.example", 0, day * DAY + 5);
            block_on(collector.write()).unwrap();
        }
        let collector = open();
        assert_eq!(collector.before(day).unwrap(), []);
        assert_eq!(collector.before(day + 1).unwrap(), [(day, "a.example".to_owned())]);
        let collected = collector.collected(day, "a.example").unwrap().unwrap();
        let report = Report::read(xml("mx.example", &told(&collected), &collected).as_bytes()).unwrap();
        assert_eq!(
            (&*report.reporter, &*report.domain, &*report.policy),
            ("mx.example", "a.example", "reject")
        );
        assert_eq!((report.begin, report.end), (day * DAY, day * DAY + DAY - 1));
        let mut records: Vec<_> = report
            .records
            .iter()
            .map(|record| (&*record.author, record.count, record.passes(), &*record.done))
            .collect();
        records.sort_unstable();
        let forged = ("<&?.a.example", 2, false, "quarantine");
        assert_eq!(records, [forged, ("a.example", 2, false, "quarantine"), ("a.example", 5, true, "none")]);
        assert!(
            xml("mx.example", &told(&collected), &collected).contains("<reason><type>local_policy</type>")
        );
        block_on(collector.forget(&collected)).unwrap();
        assert_eq!(open().before(day + 1).unwrap(), []);
    }

    #[test]
    fn a_report_says_why_what_was_wished_was_not_done() {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path().join("store"), Options::default()).unwrap();
        let mut findings = Findings::default();
        let record = Record::parse("v=DMARC1; p=reject; rua=mailto:d@a.example").unwrap();
        findings.dmarc.author.record = Some(("a.example".into(), record));
        (findings.dmarc.result, findings.dmarc.wish) = (DmarcResult::Fail, Wish::Reject);
        // It is sealed in either case; that alone is no reason.
        findings.arc.result = ArcResult::Pass;
        for (day, vouched, reason) in [(1, false, "local_policy"), (2, true, "trusted_forwarder")] {
            let collector = Collector::new(store.table("dmarc").unwrap());
            let mut observation = Observation::new("192.0.2.7".parse().unwrap(), None, &findings, Wish::None);
            observation.vouched = vouched;
            collector.observe(&observation, day * DAY);
            block_on(collector.write()).unwrap();
            let collected = collector.collected(day, "a.example").unwrap().unwrap();
            let written = xml("mx.example", &told(&collected), &collected);
            assert!(written.contains(&format!("<reason><type>{reason}</type>")), "{written}");
        }
    }
}
