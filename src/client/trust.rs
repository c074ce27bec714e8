//! Whom this machine trusts.

use std::{env, fs, io};

use mailwright_line_proto::tls::{self, rustls::RootCertStore};

/// Where systems keep the certificates of the authorities they trust: Debian and Alpine, Fedora, openSUSE, the BSDs and macOS.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The authorities that this machine trusts: those in the file that the environment names as `SSL_CERT_FILE`, else those that the system
/// came with.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use mailwright::{
///     client::{Endpoint, Security, system_roots},
///     line_proto::tls,
/// };
///
/// let trusted = tls::client_config(system_roots()?)?;
/// let endpoint = Endpoint::new("mail.example.org", 993, Security::Implicit(Arc::new(trusted)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If the file cannot be read or has no certificates, or if there is none where one is looked for.
pub fn system_roots() -> io::Result<RootCertStore> {
    roots_of(env::var("SSL_CERT_FILE").ok(), &BUNDLES)
}

fn roots_of(named: Option<String>, bundles: &[&str]) -> io::Result<RootCertStore> {
    let found = bundles.iter().find(|path| fs::exists(path).unwrap_or(false)).map(|path| (*path).to_owned());
    let Some(path) = named.or(found) else {
        let expected = format!(
            "expected certificates in the file that SSL_CERT_FILE names, or in {}",
            bundles.join(", ")
        );
        return Err(io::Error::new(io::ErrorKind::NotFound, expected));
    };
    let told = |error: &dyn std::fmt::Display| format!("the certificates of authorities in {path}: {error}");
    let pem = fs::read(&path).map_err(|error| io::Error::new(error.kind(), told(&error)))?;
    tls::roots(&pem).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, told(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_is_named_goes_before_those_of_the_system() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let made = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap();
        fs::write(path("system"), made.cert.pem()).unwrap();
        fs::write(path("empty"), "nothing").unwrap();
        let bundles = [path("absent"), path("system")];
        let bundles: Vec<_> = bundles.iter().map(String::as_str).collect();
        assert_eq!(roots_of(None, &bundles).unwrap().len(), 1);
        let error = roots_of(Some(path("empty")), &bundles).unwrap_err();
        assert!(error.kind() == io::ErrorKind::InvalidData && error.to_string().contains("empty"), "{error}");
        let error = roots_of(Some(path("absent")), &bundles).unwrap_err();
        assert!(error.kind() == io::ErrorKind::NotFound && error.to_string().contains("absent"), "{error}");
        let error = roots_of(None, &bundles[..1]).unwrap_err();
        assert!(error.to_string().contains("SSL_CERT_FILE"), "{error}");
    }
}
