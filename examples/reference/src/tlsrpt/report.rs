//! A report: JSON, plain or in gzip (RFC 8460 §4).

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// No honest report is larger.
const LONGEST: u64 = 64 << 20;

/// What one server saw in a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    #[serde(rename = "organization-name", default)]
    pub(super) organization: String,
    #[serde(rename = "date-range")]
    pub(super) range: Range,
    #[serde(rename = "contact-info", default)]
    pub(super) contact: String,
    #[serde(rename = "report-id")]
    pub(super) id: String,
    #[serde(default)]
    pub(super) policies: Vec<PolicyResult>,
}

/// From when to when, in the form of RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Range {
    #[serde(rename = "start-datetime")]
    pub(super) begin: String,
    #[serde(rename = "end-datetime")]
    pub(super) end: String,
}

/// What came of one policy of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PolicyResult {
    pub(super) policy: Policy,
    pub(super) summary: Summary,
    #[serde(rename = "failure-details", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) failures: Vec<Failure>,
}

/// What was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Policy {
    /// tlsa, sts or no-policy-found
    #[serde(rename = "policy-type")]
    pub(super) kind: String,
    #[serde(rename = "policy-string", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) lines: Vec<String>,
    #[serde(rename = "policy-domain")]
    pub(super) domain: String,
    #[serde(
        rename = "mx-host",
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "one_or_many"
    )]
    pub(super) hosts: Vec<String>,
}

/// How many sessions there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Summary {
    #[serde(rename = "total-successful-session-count", default)]
    pub(super) successful: u64,
    #[serde(rename = "total-failure-session-count", default)]
    pub(super) failed: u64,
}

/// What failed, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure {
    #[serde(rename = "result-type")]
    pub(super) kind: String,
    #[serde(rename = "sending-mta-ip", default, skip_serializing_if = "Option::is_none")]
    pub(super) sender: Option<String>,
    #[serde(rename = "receiving-mx-hostname", default, skip_serializing_if = "Option::is_none")]
    pub(super) host: Option<String>,
    #[serde(rename = "receiving-ip", default, skip_serializing_if = "Option::is_none")]
    pub(super) address: Option<String>,
    #[serde(rename = "failed-session-count", default)]
    pub(super) count: u64,
    #[serde(rename = "failure-reason-code", default, skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
}

/// Why a file is no report.
#[derive(Debug, Error)]
pub(super) enum ReportError {
    #[error("cannot be unpacked: {0}")]
    Unpack(#[from] io::Error),
    #[error("is larger than {LONGEST} octets when unpacked: no report is")]
    Long,
    #[error("is no report of TLS in JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl Report {
    /// Reads a report; whether it is packed is seen from its first octets.
    pub(super) fn read(octets: &[u8]) -> Result<Self, ReportError> {
        let text = match octets {
            [0x1f, 0x8b, ..] => whole(flate2::read::MultiGzDecoder::new(octets))?,
            _ => whole(octets)?,
        };
        let mut report: Self = serde_json::from_slice(&text)?;
        report.make_printable();
        Ok(report)
    }

    /// As it is sent: JSON in gzip.
    pub(super) fn packed(&self) -> Result<Vec<u8>, ReportError> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&serde_json::to_vec(self)?)?;
        Ok(encoder.finish()?)
    }

    /// A stranger's words, as they can be shown on a terminal.
    fn make_printable(&mut self) {
        let clean = |text: &mut String| {
            *text =
                text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).take(320).collect();
        };
        [&mut self.organization, &mut self.contact, &mut self.id].into_iter().for_each(clean);
        [&mut self.range.begin, &mut self.range.end].into_iter().for_each(clean);
        for result in &mut self.policies {
            [&mut result.policy.kind, &mut result.policy.domain].into_iter().for_each(clean);
            result.policy.lines.iter_mut().chain(&mut result.policy.hosts).for_each(clean);
            for failure in &mut result.failures {
                clean(&mut failure.kind);
                let Failure { sender, host, address, reason, .. } = failure;
                [sender, host, address, reason].into_iter().flatten().for_each(clean);
            }
        }
    }
}

fn whole(reader: impl Read) -> Result<Vec<u8>, ReportError> {
    let mut octets = Vec::new();
    reader.take(LONGEST + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > LONGEST { Err(ReportError::Long) } else { Ok(octets) }
}

/// Some reporters write one host as a string: the example of RFC 8460 does.
fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Hosts {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Hosts::deserialize(deserializer)? {
        Hosts::One(host) => vec![host],
        Hosts::Many(hosts) => hosts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the manner of RFC 8460, appendix B.
    const EXAMPLE: &str = r#"{
        "organization-name": "Company-X",
        "date-range": {"start-datetime": "2016-04-01T00:00:00Z", "end-datetime": "2016-04-01T23:59:59Z"},
        "contact-info": "sts-reporting@company-x.example",
        "report-id": "5065427c-23d3-47ca-b6e0-946ea0e8c4be",
        "policies": [{
            "policy": {
                "policy-type": "sts",
                "policy-string": ["version: STSv1", "mode: testing", "mx: *.mail.company-y.example", "max_age: 86400"],
                "policy-domain": "company-y.example",
                "mx-host": "*.mail.company-y.example"
            },
            "summary": {"total-successful-session-count": 5326, "total-failure-session-count": 303},
            "failure-details": [{
                "result-type": "certificate-expired",
                "sending-mta-ip": "2001:db8:abcd:0012::1",
                "receiving-mx-hostname": "mx1.mail.company-y.example",
                "failed-session-count": 100
            }]
        }]
    }"#;

    #[test]
    fn reports_are_read_and_written() {
        let report = Report::read(EXAMPLE.as_bytes()).unwrap();
        assert_eq!(report.policies[0].policy.hosts, ["*.mail.company-y.example"]);
        assert_eq!(report.policies[0].summary.failed, 303);
        assert_eq!(report.policies[0].failures[0].kind, "certificate-expired");
        let packed = report.packed().unwrap();
        assert_eq!(packed[..2], [0x1f, 0x8b]);
        assert_eq!(Report::read(&packed).unwrap(), report);
        assert!(Report::read(b"<xml>").unwrap_err().to_string().contains("no report"));
        assert!(Report::read(&packed[..40]).is_err());
    }

    #[test]
    fn strangers_do_not_write_to_the_terminal() {
        let evil = EXAMPLE.replace("Company-X", "\\u001b[2J");
        assert_eq!(Report::read(evil.as_bytes()).unwrap().organization, "?[2J");
    }
}
