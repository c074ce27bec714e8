//! A report: XML, plain, in gzip or in zip, as it was attached to a message.

use std::io::{self, Cursor, Read};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// No honest report is larger.
const LONGEST: u64 = 64 << 20;

/// What a report says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) reporter: String,
    pub(super) id: String,
    /// In seconds since 1970.
    pub(super) begin: u64,
    pub(super) end: u64,
    /// The domain that it is about, and what that wishes.
    pub(super) domain: String,
    pub(super) policy: String,
    pub(super) records: Vec<Record>,
}

/// What happened to messages of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Record {
    /// The address of the client.
    pub(super) source: String,
    pub(super) count: u64,
    /// The domain in From.
    pub(super) author: String,
    /// Whether it was proved by each.
    pub(super) dkim: String,
    pub(super) spf: String,
    /// What was done.
    pub(super) done: String,
}

/// Why a file is no report.
#[derive(Debug, Error)]
pub(super) enum ReportError {
    #[error("cannot be unpacked: {0}")]
    Unpack(#[from] io::Error),
    #[error("cannot be unpacked: {0}")]
    Zip(#[from] zip::result::ZipError),
    #[error("is larger than {LONGEST} octets when unpacked: no report is")]
    Long,
    #[error("is no report of DMARC in XML: {0}")]
    Xml(#[from] quick_xml::DeError),
}

impl Record {
    /// Whether it comes from whom it names.
    pub(super) fn passes(&self) -> bool {
        self.dkim == "pass" || self.spf == "pass"
    }
}

impl Report {
    /// Reads a report; what it is packed in is seen from its first octets.
    pub(super) fn read(octets: &[u8]) -> Result<Self, ReportError> {
        let text = match octets {
            [0x1f, 0x8b, ..] => whole(flate2::read::MultiGzDecoder::new(octets))?,
            [b'P', b'K', ..] => {
                let mut archive = zip::ZipArchive::new(Cursor::new(octets))?;
                whole(archive.by_index(0)?)?
            }
            _ => whole(octets)?,
        };
        let feedback: Feedback = quick_xml::de::from_reader(&text[..])?;
        let Feedback { metadata, policy, records } = feedback;
        let record = |found: XmlRecord| Record {
            source: shown(&found.row.source),
            count: found.row.count,
            author: shown(&found.identifiers.author),
            dkim: shown(&found.row.evaluated.dkim),
            spf: shown(&found.row.evaluated.spf),
            done: shown(&found.row.evaluated.done),
        };
        Ok(Self {
            reporter: shown(&metadata.reporter),
            id: shown(&metadata.id),
            begin: metadata.dates.begin,
            end: metadata.dates.end,
            domain: shown(&policy.domain),
            policy: shown(&policy.policy),
            records: records.into_iter().map(record).collect(),
        })
    }
}

fn whole(reader: impl Read) -> Result<Vec<u8>, ReportError> {
    let mut octets = Vec::new();
    reader.take(LONGEST + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > LONGEST { Err(ReportError::Long) } else { Ok(octets) }
}

/// A stranger's words, as they can be shown on a terminal.
fn shown(text: &str) -> String {
    text.trim().chars().map(|letter| if letter.is_control() { '?' } else { letter }).take(320).collect()
}

#[derive(Deserialize)]
struct Feedback {
    #[serde(rename = "report_metadata")]
    metadata: Metadata,
    #[serde(rename = "policy_published")]
    policy: Policy,
    #[serde(rename = "record", default)]
    records: Vec<XmlRecord>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "org_name")]
    reporter: String,
    #[serde(rename = "report_id")]
    id: String,
    #[serde(rename = "date_range")]
    dates: Dates,
}

#[derive(Deserialize)]
struct Dates {
    begin: u64,
    end: u64,
}

#[derive(Deserialize)]
struct Policy {
    domain: String,
    #[serde(rename = "p", default)]
    policy: String,
}

#[derive(Deserialize)]
struct XmlRecord {
    row: Row,
    identifiers: Identifiers,
}

#[derive(Deserialize)]
struct Row {
    #[serde(rename = "source_ip")]
    source: String,
    count: u64,
    #[serde(rename = "policy_evaluated")]
    evaluated: Evaluated,
}

#[derive(Deserialize)]
struct Evaluated {
    #[serde(rename = "disposition", default)]
    done: String,
    #[serde(default)]
    dkim: String,
    #[serde(default)]
    spf: String,
}

#[derive(Deserialize)]
struct Identifiers {
    #[serde(rename = "header_from")]
    author: String,
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const XML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\n<feedback>\n<version>1.0</version>\n\
        <report_metadata><org_name>b.example</org_name><email>r@b.example</email><report_id>17\u{1b}[2J</report_id>\
        <date_range><begin>1700000000</begin><end>1700086399</end></date_range></report_metadata>\
        <policy_published><domain>a.example</domain><adkim>r</adkim><p>reject</p><sp>none</sp><pct>100</pct></policy_published>\
        <record><row><source_ip>192.0.2.1</source_ip><count>5</count><policy_evaluated><disposition>none</disposition>\
        <dkim>pass</dkim><spf>fail</spf></policy_evaluated></row><identifiers><header_from>a.example</header_from></identifiers>\
        <auth_results><spf><domain>x.example</domain><result>pass</result></spf></auth_results></record>\
        <record><row><source_ip>2001:db8::1</source_ip><count>2</count><policy_evaluated><disposition>reject</disposition>\
        <dkim>fail</dkim><spf>fail</spf></policy_evaluated></row><identifiers><header_from>a.example</header_from></identifiers>\
        </record></feedback>";

    #[test]
    fn reports_are_read_however_they_are_packed() {
        let plain = Report::read(XML.as_bytes()).unwrap();
        assert_eq!((&*plain.reporter, &*plain.domain, &*plain.policy), ("b.example", "a.example", "reject"));
        assert_eq!(plain.id, "17?[2J");
        assert_eq!(plain.records.iter().map(Record::passes).collect::<Vec<_>>(), [true, false]);
        assert_eq!((plain.records[1].count, &*plain.records[1].done), (2, "reject"));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(XML.as_bytes()).unwrap();
        assert_eq!(Report::read(&gzip.finish().unwrap()).unwrap(), plain);
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        archive.start_file("report.xml", zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(XML.as_bytes()).unwrap();
        assert_eq!(Report::read(&archive.finish().unwrap().into_inner()).unwrap(), plain);
    }

    #[test]
    fn what_is_no_report_is_said() {
        for wrong in [&b""[..], b"<feedback/>", b"PK\x03\x04", b"\x1f\x8b\x08", b"<a><b></a>", b"hello"] {
            assert!(Report::read(wrong).is_err(), "{wrong:?}");
        }
        // A bomb is not unpacked.
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        for _ in 0..=64 {
            gzip.write_all(&vec![b' '; 1 << 20]).unwrap();
        }
        assert!(matches!(Report::read(&gzip.finish().unwrap()), Err(ReportError::Long)));
        // Nor are entities.
        let bomb = format!(
            "<!DOCTYPE x [<!ENTITY a \"{}\">]>{}",
            "x".repeat(100),
            XML.replace("b.example</org", "&a;</org")
        );
        assert!(Report::read(bomb.as_bytes()).is_err());
    }
}
