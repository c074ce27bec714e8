//! The configuration of tokens.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use mailwright::{
    TokenIntrospection,
    https::{Https, HttpsLimits},
    line_proto::{Secret, tls},
};
use serde::{Deserialize, Serialize};

/// Who says whose an OAuth token is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Oauth {
    /// Where it is asked (RFC 7662).
    pub(crate) url: String,
    /// The name and the file of the secret by which it knows us.
    pub(crate) client: String,
    pub(crate) secret_file: PathBuf,
    /// The field of the answer that names the account.
    pub(crate) account_field: String,
    /// What a token must be good for.
    pub(crate) scopes: Vec<String>,
    pub(crate) audience: String,
    /// How long an answer is believed.
    pub(crate) remember_seconds: u64,
    pub(crate) timeout_seconds: u64,
    /// The authorities that are trusted to say who the server is: PEM.
    pub(crate) trust: PathBuf,
}

impl Default for Oauth {
    fn default() -> Self {
        Self {
            url: String::new(),
            client: String::new(),
            secret_file: PathBuf::new(),
            account_field: "username".into(),
            scopes: Vec::new(),
            audience: String::new(),
            remember_seconds: 60,
            timeout_seconds: 10,
            trust: "/etc/ssl/certs/ca-certificates.crt".into(),
        }
    }
}

impl Oauth {
    /// Asks as configured.
    pub(crate) fn tokens(&self) -> Result<TokenIntrospection, String> {
        let pem = fs::read(&self.trust)
            .map_err(|error| format!("auth.oauth.trust: {}: {error}", self.trust.display()))?;
        let roots = tls::roots(&pem).and_then(tls::client_config);
        let roots = roots.map_err(|error| format!("auth.oauth.trust: {}: {error}", self.trust.display()))?;
        let https = Https::new(roots).with_cleartext(is_near(&self.url));
        let limits = HttpsLimits::default().with_timeout(Duration::from_secs(self.timeout_seconds));
        let mut tokens = TokenIntrospection::new(https, &self.url)
            .with_account_field(&self.account_field)
            .with_scopes(&self.scopes)
            .with_remembering(Duration::from_secs(self.remember_seconds))
            .with_limits(limits);
        if !self.audience.is_empty() {
            tokens = tokens.with_audience(&self.audience);
        }
        if !self.client.is_empty() {
            tokens = tokens.with_client(&self.client, secret("auth.oauth.secret_file", &self.secret_file)?);
        }
        Ok(tokens)
    }

    /// Everything that is wrong.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !self.url.starts_with("https://") && !is_near(&self.url) {
            problems.push(format!(
                "auth.oauth.url = {:?} is no https URL: write where the authorization server is asked about tokens (RFC 7662); http only on this machine",
                self.url
            ));
        }
        if self.client.is_empty() != self.secret_file.as_os_str().is_empty() {
            problems.push("[auth.oauth] needs both client and secret_file, or neither".into());
        }
        if self.account_field.is_empty() {
            problems.push(
                "auth.oauth.account_field is empty: name the field with the mail address, like \"email\""
                    .into(),
            );
        }
        if self.timeout_seconds == 0 {
            problems.push("auth.oauth.timeout_seconds = 0 would ask nobody: 10 is enough for most".into());
        }
        problems
    }
}

/// A secret from a file that nobody else may read, without the end of its line.
pub(crate) fn secret(key: &str, path: &Path) -> Result<Secret, String> {
    let failed = |error: std::io::Error| format!("{key}: {}: {error}", path.display());
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(format!(
            "{key}: {0} can be read by others (mode {mode:o})\n  mend it with: chmod 600 {0}",
            path.display()
        ));
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(format!("{key}: {} is empty", path.display())),
        secret => Ok(secret.into()),
    }
}

/// Whether a URL without TLS leads to this machine.
fn is_near(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said() {
        let right = Oauth { url: "https://login.example/introspect".into(), ..Oauth::default() };
        assert!(right.problems().is_empty());
        for url in ["http://127.0.0.1:8080/x", "http://localhost/x", "http://[::1]:80/"] {
            assert!(Oauth { url: url.into(), ..Oauth::default() }.problems().is_empty(), "{url}");
        }
        for url in ["", "http://login.example/", "http://127.0.0.1.example/", "ftp://localhost/"] {
            assert_eq!(Oauth { url: url.into(), ..Oauth::default() }.problems().len(), 1, "{url}");
        }
        let wrong = Oauth { client: "us".into(), account_field: String::new(), timeout_seconds: 0, ..right };
        let problems = wrong.problems().join("\n");
        for word in ["secret_file", "account_field", "timeout_seconds"] {
            assert!(problems.contains(word), "{word}: {problems}");
        }
    }

    #[test]
    fn a_secret_is_kept_from_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "s3cret\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(secret("key", &path).unwrap_err().contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(secret("key", &path).unwrap(), Secret::from("s3cret"));
        fs::write(&path, "\n").unwrap();
        assert!(secret("key", &path).unwrap_err().contains("empty"));
    }
}
