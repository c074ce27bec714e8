//! How TLS goes between servers (RFC 8460): reports to other domains about their hosts, and what others report of ours.

mod collect;
mod mail;
mod report;
mod send;

use serde::Serialize;

pub(crate) use collect::Collected;
pub(crate) use send::{Reporter, watch};

use crate::{
    admin::{Request, Response},
    cli::TlsrptCommand,
    command::{CommandError, print_json, read_file, request},
    config::Config,
    live::LiveRequest,
};
use report::{PolicyResult, Report};

/// Does it.
pub(crate) fn run(config: &Config, command: TlsrptCommand) -> Result<(), CommandError> {
    match command {
        TlsrptCommand::Report { files, json } => {
            for file in files {
                let report = read_file(&file, Report::read)?;
                if json {
                    for result in &report.policies {
                        print_json(&Line::new(&report, result))?;
                    }
                } else {
                    print(&report);
                }
            }
        }
        TlsrptCommand::Send => match request(config, Request::Live(LiveRequest::SendTlsReports))? {
            Response::Written { entries } => println!("{entries} sent"),
            _ => println!("nothing was sent"),
        },
    }
    Ok(())
}

/// A policy's results, as one JSON object.
#[derive(Serialize)]
struct Line<'a> {
    reporter: &'a str,
    report: &'a str,
    begin: &'a str,
    end: &'a str,
    #[serde(flatten)]
    result: &'a PolicyResult,
}

impl<'a> Line<'a> {
    fn new(report: &'a Report, result: &'a PolicyResult) -> Self {
        let Report { organization, range, id, .. } = report;
        Self { reporter: organization, report: id, begin: &range.begin, end: &range.end, result }
    }
}

/// The sum of what was secured and what was not, and why not, what failed most often in front.
fn print(report: &Report) {
    let Report { organization, range, policies, .. } = report;
    let day = |text: &str| text.split('T').next().unwrap_or_default().to_owned();
    for PolicyResult { policy, summary, failures } in policies {
        println!(
            "{} ({}) at {organization}, {} to {}: {} sessions were secured, {} were not",
            policy.domain,
            policy.kind,
            day(&range.begin),
            day(&range.end),
            summary.successful,
            summary.failed
        );
        let mut failures: Vec<_> = failures.iter().collect();
        failures.sort_by_key(|failure| std::cmp::Reverse(failure.count));
        for failure in failures {
            let (host, address) = (failure.host.as_deref(), failure.address.as_deref());
            let place = host.or(address).unwrap_or("-");
            let reason = failure.reason.as_deref().map_or_else(String::new, |reason| format!(": {reason}"));
            println!("  {:>8} {:28} {place}{reason}", failure.count, failure.kind);
        }
    }
}
