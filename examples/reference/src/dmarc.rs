//! Reports of DMARC (RFC 7489 §7.2, RFC 9990): what others say of mail in our name, and what we say of theirs.

mod collect;
mod report;
mod send;

use std::collections::BTreeMap;

use report::{Record, Report};
use serde::Serialize;

use crate::{
    admin::{Request, Response},
    cli::DmarcCommand,
    command::{CommandError, print_json, read_file, request},
    config::Config,
    live::LiveRequest,
};

pub(crate) use collect::Collector;
pub(crate) use send::{Reports, seconds};

/// Does it.
pub(crate) fn run(config: &Config, command: DmarcCommand) -> Result<(), CommandError> {
    let (files, json) = match command {
        DmarcCommand::Report { files, json } => (files, json),
        DmarcCommand::Send { today } => {
            if let Response::Written { entries } =
                request(config, Request::Live(LiveRequest::Reports { today }))?
            {
                println!("{entries} reports are on their way");
            }
            return Ok(());
        }
    };
    for file in files {
        let report = read_file(&file, Report::read)?;
        if json {
            for record in &report.records {
                print_json(&Line::new(&report, record))?;
            }
        } else {
            print(&report);
        }
    }
    Ok(())
}

/// A record, as one JSON object.
#[derive(Serialize)]
struct Line<'a> {
    reporter: &'a str,
    report: &'a str,
    begin: u64,
    end: u64,
    domain: &'a str,
    #[serde(flatten)]
    record: &'a Record,
}

impl<'a> Line<'a> {
    fn new(report: &'a Report, record: &'a Record) -> Self {
        let Report { reporter, id, begin, end, domain, .. } = report;
        Self { reporter, report: id, begin: *begin, end: *end, domain, record }
    }
}

/// Sends what was collected of the days before, and of this one if that is wanted.
pub(crate) fn send(reports: Option<&std::sync::Arc<Reports>>, today: bool) -> Response {
    let Some(reports) = reports else {
        return Response::refused("no reports are collected; say reports = true in [authentication]");
    };
    let day = seconds() / collect::DAY + u64::from(today);
    match tokio::runtime::Handle::current().block_on(reports.send_before(day)) {
        Ok(entries) => Response::Written { entries },
        Err(message) => Response::refused(message),
    }
}

/// The sum of what passed and what did not, and the sources, those with most failures first.
fn print(report: &Report) {
    let Report { reporter, domain, policy, .. } = report;
    let day = |seconds: u64| {
        let date = mailwright::mail_model::DateTime::new(i64::try_from(seconds).unwrap_or(0), 0);
        let date = date.unwrap_or(mailwright::mail_model::DateTime::EPOCH).date();
        format!("{}-{:02}-{:02}", date.year(), date.month(), date.day())
    };
    let total: u64 = report.records.iter().map(|record| record.count).sum();
    let passed: u64 = report.records.iter().filter(|record| record.passes()).map(|record| record.count).sum();
    println!(
        "{domain} (p={policy}) at {reporter}, {} to {}: {total} messages, {passed} passed, {} failed",
        day(report.begin),
        day(report.end),
        total - passed
    );
    let mut sources: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for record in &report.records {
        let (failed, all) = sources.entry(&record.source).or_default();
        *all += record.count;
        *failed += if record.passes() { 0 } else { record.count };
    }
    let mut sources: Vec<_> = sources.into_iter().collect();
    sources.sort_by_key(|(_, (failed, all))| std::cmp::Reverse((*failed, *all)));
    for (source, (failed, all)) in sources {
        println!("  {source:39} {all:>8} messages {failed:>8} failed");
        for record in report.records.iter().filter(|record| record.source == source && !record.passes()) {
            println!(
                "    {:>8} from {}: dkim={} spf={}, {}",
                record.count, record.author, record.dkim, record.spf, record.done
            );
        }
    }
}
