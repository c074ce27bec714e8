//! A report as a message (RFC 8460 §5.3).

use base64::{Engine, engine::general_purpose::STANDARD};
use mailwright::mail_model::DateTime;

use super::report::Report;

/// What is around a report.
pub(super) struct Letter<'a> {
    pub(super) report: &'a Report,
    /// In gzip.
    pub(super) packed: &'a [u8],
    /// The domain it is about.
    pub(super) domain: &'a str,
    /// The domain that reports.
    pub(super) submitter: &'a str,
    pub(super) from: &'a str,
    pub(super) to: &'a str,
    pub(super) now: DateTime,
    /// In seconds since 1970.
    pub(super) begin: u64,
    pub(super) end: u64,
}

impl Letter<'_> {
    /// Its `Message-ID`.
    pub(super) fn message_id(&self) -> String {
        format!("<{}@{}>", self.report.id, self.submitter)
    }

    /// All of it, without signatures.
    pub(super) fn text(&self) -> String {
        let Self { report, domain, submitter, from, to, .. } = self;
        let (id, boundary) = (&report.id, format!("=_{}", report.id));
        // RFC 8460 §5.1
        let file = format!("{submitter}!{domain}!{}!{}!{id}.json.gz", self.begin, self.end);
        let mut encoded = String::new();
        let text = STANDARD.encode(self.packed);
        let mut rest = &*text;
        while let Some((line, behind)) = rest.split_at_checked(76) {
            encoded.push_str(line);
            encoded.push_str("\r\n");
            rest = behind;
        }
        encoded.push_str(rest);
        format!(
            "From: <{from}>\r\n\
             To: <{to}>\r\n\
             Date: {}\r\n\
             Message-ID: {}\r\n\
             Subject: Report Domain: {domain} Submitter: {submitter}\r\n\x20Report-ID: <{id}>\r\n\
             TLS-Report-Domain: {domain}\r\n\
             TLS-Report-Submitter: {submitter}\r\n\
             TLS-Required: No\r\n\
             Auto-Submitted: auto-generated\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n\x20boundary=\"{boundary}\"\r\n\
             \r\n\
             --{boundary}\r\n\
             Content-Type: text/plain; charset=us-ascii\r\n\
             \r\n\
             This is a report of how TLS went with the mail servers of {domain}\r\n\
             from {} to {}.\r\n\
             \r\n\
             --{boundary}\r\n\
             Content-Type: application/tlsrpt+gzip\r\n\
             Content-Transfer-Encoding: base64\r\n\
             Content-Disposition: attachment;\r\n\x20filename=\"{file}\"\r\n\
             \r\n\
             {encoded}\r\n\
             --{boundary}--\r\n",
            self.now.to_rfc5322(),
            self.message_id(),
            report.range.begin,
            report.range.end,
        )
    }
}
