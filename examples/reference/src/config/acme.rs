//! The configuration of certificates by ACME.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

/// Who issues our certificate, and how it is asked (RFC 8555).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Acme {
    /// The URL of the authority's directory.
    pub(crate) directory: String,
    /// Whether its terms are agreed to.
    pub(crate) agree_terms: bool,
    /// Where it writes to when something is wrong; may be empty.
    pub(crate) contact: String,
    /// The names of the certificate; the host name if empty.
    pub(crate) names: Vec<String>,
    /// How it is shown that the names are ours.
    pub(crate) challenge: Challenge,
    /// Where it sees that by HTTP: port 80 of each of them must lead here.
    pub(crate) http: SocketAddr,
    /// And by TLS: port 443 of each of them must lead here.
    pub(crate) tls: SocketAddr,
    /// How long to wait after a failure.
    pub(crate) retry_seconds: u64,
    /// The authorities that are trusted to say who the server is: PEM.
    pub(crate) trust: PathBuf,
}

/// How the authority is shown that a name is ours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Challenge {
    /// RFC 8555 §8.3
    #[default]
    #[serde(rename = "http-01")]
    Http,
    /// RFC 8737
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn,
}

impl Default for Acme {
    fn default() -> Self {
        Self {
            directory: String::new(),
            agree_terms: false,
            contact: String::new(),
            names: Vec::new(),
            challenge: Challenge::Http,
            http: ([0, 0, 0, 0], 80).into(),
            tls: ([0, 0, 0, 0], 443).into(),
            retry_seconds: 3600,
            trust: "/etc/ssl/certs/ca-certificates.crt".into(),
        }
    }
}

impl Acme {
    /// Everything that is wrong; `files` says whether a certificate is configured otherwise.
    pub(super) fn problems(&self, files: bool) -> Vec<String> {
        let mut problems = Vec::new();
        if !cfg!(feature = "acme") {
            problems.push(
                "[acme] is set, but this program was built without it: build it with --features acme".into(),
            );
        }
        if files {
            problems.push(
                "[acme] and the certificate of [tls] are both set: leave out tls.certificate and tls.key, or [acme]".into(),
            );
        }
        if !self.directory.starts_with("https://") {
            problems.push(format!(
                "acme.directory = {:?} is no https URL: Let's Encrypt's is https://acme-v02.api.letsencrypt.org/directory",
                self.directory
            ));
        }
        if !self.agree_terms {
            problems.push(
                "acme.agree_terms = false: the authority issues nothing to those who do not agree to its terms; read them, and set it to true".into(),
            );
        }
        if !self.contact.is_empty() && !self.contact.contains('@') {
            problems.push(format!("acme.contact = {:?} is no mail address", self.contact));
        }
        if self.names.iter().any(|name| name.starts_with("*.") || name.parse::<std::net::IpAddr>().is_ok()) {
            problems.push(
                "acme.names: names with *. and addresses cannot be proved by http-01 and tls-alpn-01; write host names"
                    .into(),
            );
        }
        if self.retry_seconds == 0 {
            problems.push("acme.retry_seconds = 0 would ask without end: 3600 is the default".into());
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = Acme {
            contact: "me".into(),
            names: vec!["*.example.org".into()],
            retry_seconds: 0,
            ..Acme::default()
        };
        let problems = wrong.problems(true).join("\n");
        for word in ["letsencrypt", "agree_terms", "acme.contact", "acme.names", "retry_seconds", "both set"]
        {
            assert!(problems.contains(word), "{word}: {problems}");
        }
        let right = Acme { directory: "https://a.example/".into(), agree_terms: true, ..Acme::default() };
        assert_eq!(right.problems(false).is_empty(), cfg!(feature = "acme"));
    }
}
