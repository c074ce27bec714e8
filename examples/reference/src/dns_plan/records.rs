//! The records, as the configuration and the keys make them.

use mailwright::{
    line_proto::tls::rustls::{
        pki_types::{CertificateDer, pem::PemObject},
        server::ParsedCertificate,
    },
    relay_policy::{
        dane::{Certificate as Named, Tlsa},
        sts::{StsMode, StsPolicy},
    },
};

use crate::{
    certificate::Certificate,
    config::{Config, Protocol, TlsMode},
    dkim::KeyEntry,
};

/// A record that should be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Without the last dot.
    pub(super) name: String,
    pub(super) kind: &'static str,
    /// As in a zone file; texts without quotes.
    pub(super) value: String,
    pub(super) purpose: &'static str,
    /// Whether another value may be as good.
    pub(super) choice: bool,
}

/// All that should be there.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) records: Vec<Record>,
    /// The MTA-STS policy, and where it is served.
    pub(super) policy: StsText,
    pub(super) policy_url: String,
    pub(super) notes: Vec<String>,
    /// The domain, and the name that others know this server by.
    pub(super) domain: String,
    pub(super) hostname: String,
}

/// The text of a policy.
#[derive(Debug)]
pub(super) struct StsText(String);

impl StsText {
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.lines()
    }
}

/// What plans are made of.
pub(super) struct Publisher<'a> {
    pub(super) config: &'a Config,
    pub(super) keys: Vec<KeyEntry>,
    pub(super) certificate: &'a Certificate,
}

impl Record {
    fn new(name: String, kind: &'static str, value: impl Into<String>, purpose: &'static str) -> Self {
        Self { name, kind, value: value.into(), purpose, choice: false }
    }

    /// One that may be otherwise.
    fn choice(self) -> Self {
        Self { choice: true, ..self }
    }

    /// As a line of a zone file; strings have at most 255 octets (RFC 1035 §3.3.14).
    pub(super) fn zone_line(&self) -> String {
        let value = if self.kind == "TXT" { strings(&self.value) } else { self.value.clone() };
        format!("{}. IN {} {value}", self.name, self.kind)
    }
}

fn strings(text: &str) -> String {
    let (mut strings, mut rest) = (Vec::new(), text);
    while let Some((part, behind)) = rest.split_at_checked(255) {
        strings.push(format!("\"{part}\""));
        rest = behind;
    }
    strings.push(format!("\"{rest}\""));
    strings.join(" ")
}

impl Publisher<'_> {
    pub(super) fn plan(&self, domain: &str) -> Plan {
        let host = &self.config.hostname;
        let mut records = vec![
            Record::new(
                domain.into(),
                "MX",
                format!("10 {host}."),
                "Where mail for the domain goes (RFC 5321)",
            ),
            Record::new(domain.into(), "TXT", "v=spf1 mx -all", "Who sends mail in its name: SPF (RFC 7208)")
                .choice(),
        ];
        if host != domain {
            let purpose = "The same of the server's own name, for reports";
            records.push(Record::new(host.clone(), "TXT", "v=spf1 a -all", purpose).choice());
        }
        for key in &self.keys {
            let name = format!("{}._domainkey.{domain}", key.selector);
            records.push(Record::new(
                name,
                "TXT",
                key.record.clone(),
                "A key that signs its mail: DKIM (RFC 6376)",
            ));
        }
        let reports = format!("v=DMARC1; p=quarantine; rua=mailto:postmaster@{domain}");
        let purpose = "What others do with mail that is not signed: DMARC (RFC 9989)";
        records.push(Record::new(format!("_dmarc.{domain}"), "TXT", reports, purpose).choice());

        let policy = StsPolicy::new(StsMode::Enforce, [host.to_lowercase()], 604_800).to_string();
        let value = format!("v=STSv1; id={};", id(&policy));
        let purpose = "That there is an MTA-STS policy (RFC 8461); the id changes with the policy";
        records.push(Record::new(format!("_mta-sts.{domain}"), "TXT", value, purpose).choice());
        let value = format!("v=TLSRPTv1; rua=mailto:postmaster@{domain}");
        let purpose = "Whom others tell of TLS that failed: TLSRPT (RFC 8460)";
        records.push(Record::new(format!("_smtp._tls.{domain}"), "TXT", value, purpose).choice());
        let mut notes = Vec::new();
        match tlsa(self.certificate) {
            Some(value) => {
                let name = format!("_25._tcp.{host}");
                let purpose = "The key of the server's certificate: DANE (RFC 7672); the zone must be signed";
                records.push(Record::new(name, "TLSA", value, purpose));
            }
            None => notes.push("the certificate cannot be read, so there is no TLSA record".into()),
        }
        records.extend(self.services(domain));
        notes.push(format!("{host} needs A or AAAA records, and its addresses PTR records with that name"));
        notes.push(format!(
            "mta-sts.{domain} needs the address of a web server with a certificate for that name"
        ));
        if self.keys.is_empty() {
            notes.push(format!(
                "no key signs mail of {domain}: `mailwrightd dkim key add {domain}` makes one"
            ));
        }
        if self.certificate.self_signed {
            notes.push(
                "the certificate is self-signed: MTA-STS with mode enforce needs one by an authority".into(),
            );
        }
        let policy_url = format!("https://mta-sts.{domain}/.well-known/mta-sts.txt");
        Plan {
            records,
            policy: StsText(policy),
            policy_url,
            notes,
            domain: domain.to_owned(),
            hostname: host.clone(),
        }
    }

    /// Where clients find the services (RFC 6186, RFC 8314 §5.1, RFC 5804 §1.8); those that are not there are said not to be.
    fn services(&self, domain: &str) -> Vec<Record> {
        let rows = [
            ("_submissions", Protocol::Submission, TlsMode::Implicit),
            ("_submission", Protocol::Submission, TlsMode::Starttls),
            ("_imaps", Protocol::Imap, TlsMode::Implicit),
            ("_imap", Protocol::Imap, TlsMode::Starttls),
            ("_pop3s", Protocol::Pop3, TlsMode::Implicit),
            ("_pop3", Protocol::Pop3, TlsMode::Starttls),
            ("_sieve", Protocol::ManageSieve, TlsMode::Starttls),
        ];
        rows.into_iter()
            .map(|(service, protocol, tls)| {
                let mut listeners = self.config.listeners.iter();
                let fits = |found: TlsMode| found == tls || (found.is_starttls() && tls.is_starttls());
                let found = listeners.find(|listener| listener.protocol == protocol && fits(listener.tls));
                let value = match found.and_then(|listener| Some(listener.address.network()?.port())) {
                    Some(port) => format!("0 1 {port} {}.", self.config.hostname),
                    None => "0 0 0 .".into(),
                };
                let purpose = "Where mail programs find the service (RFC 6186)";
                Record::new(format!("{service}._tcp.{domain}"), "SRV", value, purpose)
            })
            .collect()
    }
}

/// The record of the certificate's key, which stays when the certificate is renewed with the same key.
fn tlsa(certificate: &Certificate) -> Option<String> {
    let own = CertificateDer::pem_slice_iter(&certificate.chain).next()?.ok()?;
    let key = ParsedCertificate::try_from(&own).ok()?.subject_public_key_info().to_vec();
    Tlsa::of(3, 1, 1, &Named::new(&own, &key)).map(|record| record.to_string())
}

/// Letters and digits that follow from the policy (RFC 8461 §3.1).
fn id(policy: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, policy.as_bytes());
    digest.as_ref().iter().take(10).map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan() {
        let folder = tempfile::tempdir().unwrap();
        let config =
            Config { data: folder.path().into(), hostname: "mail.example.org".into(), ..Config::default() };
        let certificate = Certificate::load(&config).unwrap();
        let key = KeyEntry {
            domain: "example.org".into(),
            selector: "s1".into(),
            algorithm: "rsa-sha256".into(),
            record: format!("v=DKIM1; k=rsa; p={}", "A".repeat(392)),
        };
        let plan =
            Publisher { config: &config, keys: vec![key], certificate: &certificate }.plan("example.org");
        let lines: Vec<_> = plan.records.iter().map(Record::zone_line).collect();
        for expected in [
            "example.org. IN MX 10 mail.example.org.",
            "example.org. IN TXT \"v=spf1 mx -all\"",
            "mail.example.org. IN TXT \"v=spf1 a -all\"",
            "_smtp._tls.example.org. IN TXT \"v=TLSRPTv1; rua=mailto:postmaster@example.org\"",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected}: {lines:#?}");
        }
        let dkim = lines.iter().find(|line| line.starts_with("s1._domainkey")).unwrap();
        assert_eq!(dkim.matches("AAAA\"").count(), 2, "two strings: {dkim}");
        assert!(lines.iter().any(|line| line.starts_with("_25._tcp.mail.example.org. IN TLSA 3 1 1 ")));
        assert!(lines.iter().any(|line| line.starts_with("_imap._tcp.example.org. IN SRV ")));
        let sts = lines.iter().find(|line| line.starts_with("_mta-sts.")).unwrap();
        let text = sts.split('"').nth(1).unwrap();
        assert!(mailwright::relay_policy::sts::PolicyId::of([text]).is_some(), "{sts}");
        let policy: Vec<_> = plan.policy.lines().collect();
        assert_eq!(policy, ["version: STSv1", "mode: enforce", "mx: mail.example.org", "max_age: 604800"]);
    }
}
