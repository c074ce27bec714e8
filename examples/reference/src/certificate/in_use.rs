//! The certificates that clients are shown: chosen by name, replaced while sessions go on.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use mailwright::line_proto::tls::{
    self,
    rustls::{
        server::{ClientHello, ResolvesServerCert},
        sign::CertifiedKey,
    },
};

use super::{Certificate, CertificateError, ascii};
use crate::config::Config;

/// All certificates. A handshake takes what is there at its moment; sessions that are open keep what they began with.
#[derive(Debug)]
pub(crate) struct Certificates {
    /// Where they are.
    config: RwLock<Arc<Config>>,
    current: RwLock<Arc<Set>>,
}

/// Those of a configuration, read and not in use yet.
pub(crate) struct Read(Arc<Config>, Set);

#[derive(Debug)]
struct Set {
    default: Arc<CertifiedKey>,
    /// By name in lower case; `*.example.org` for the names below.
    named: HashMap<String, Arc<CertifiedKey>>,
}

impl Certificates {
    /// Reads all of them; the first is the one for clients that ask for no name or an unknown one.
    pub(crate) fn load(config: &Config) -> Result<(Self, Certificate), CertificateError> {
        let (set, default) = Set::load(config)?;
        let config = RwLock::new(Arc::new(config.clone()));
        Ok((Self { config, current: RwLock::new(Arc::new(set)) }, default))
    }

    /// Reads all of them again. If one cannot be used, all that are in use stay.
    #[cfg(any(test, feature = "acme"))]
    pub(crate) fn reload(&self) -> Result<(), CertificateError> {
        let config = Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner));
        self.replace(Self::read(&config)?);
        Ok(())
    }

    /// Reads those that a configuration names. Those in use stay.
    pub(crate) fn read(config: &Arc<Config>) -> Result<Read, CertificateError> {
        let (set, _) = Set::load(config)?;
        Ok(Read(Arc::clone(config), set))
    }

    /// Takes these from the next handshake on.
    pub(crate) fn replace(&self, Read(config, set): Read) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
        tracing::info!("the certificates were read again");
    }

    fn choose(&self, name: Option<&str>) -> Arc<CertifiedKey> {
        let set = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        let found = name.and_then(|name| {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            let wildcard = name.split_once('.').map(|(_, parent)| format!("*.{parent}"));
            set.named.get(&name).or_else(|| set.named.get(&wildcard?)).cloned()
        });
        found.unwrap_or_else(|| Arc::clone(&set.default))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.choose(hello.server_name()))
    }
}

impl Set {
    fn load(config: &Config) -> Result<(Self, Certificate), CertificateError> {
        let key = |certificate: &Certificate| {
            tls::certified_key(&certificate.chain, &certificate.key)
                .map(Arc::new)
                .map_err(|source| CertificateError::Unusable { path: certificate.chain_file.clone(), source })
        };
        let certificate = Certificate::load(config)?;
        let default = key(&certificate)?;
        let mut named = HashMap::new();
        for entry in &config.certificates {
            let found = key(&Certificate::read(&entry.certificate, &entry.key, false)?)?;
            named.extend(entry.names.iter().map(|name| (asked_for(name), Arc::clone(&found))));
        }
        Ok((Self { default, named }, certificate))
    }
}

/// A name as clients ask for it, which may be a wildcard.
fn asked_for(name: &str) -> String {
    match name.strip_prefix("*.") {
        Some(parent) => format!("*.{}", ascii(parent)),
        None => ascii(name),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::Path};

    use super::*;
    use crate::config::NamedCertificate;

    fn make(folder: &Path, name: &str) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        fs::write(folder.join("c.pem"), made.cert.pem()).unwrap();
        fs::write(folder.join("k.pem"), made.signing_key.serialize_pem()).unwrap();
        fs::set_permissions(folder.join("k.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    }

    #[test]
    fn certificates_are_chosen_by_name_and_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path(), "mail.example.net");
        let config = Config {
            data: folder.path().into(),
            certificates: vec![NamedCertificate {
                names: ["Mail.example.net", "*.example.com", "Mail.Müller.example", "*.bücher.example"]
                    .map(str::to_owned)
                    .into(),
                certificate: folder.path().join("c.pem"),
                key: folder.path().join("k.pem"),
            }],
            ..Config::default()
        };
        let (certificates, _) = Certificates::load(&config).unwrap();
        let default = certificates.choose(None);
        let named = certificates.choose(Some("mail.example.net"));
        assert!(!Arc::ptr_eq(&default, &named));
        for (name, is_named) in [
            ("MAIL.EXAMPLE.NET.", true),
            ("a.example.com", true),
            ("mail.xn--mller-kva.example", true),
            ("a.xn--bcher-kva.example", true),
            ("xn--bcher-kva.example", false),
            ("example.com", false),
            ("a.b.example.com", false),
            ("other.example", false),
        ] {
            assert_eq!(Arc::ptr_eq(&certificates.choose(Some(name)), &named), is_named, "{name}");
        }

        make(folder.path(), "mail.example.net");
        certificates.reload().unwrap();
        let renewed = certificates.choose(Some("mail.example.net"));
        assert_ne!(renewed.cert, named.cert);
        assert_eq!(certificates.choose(None).cert, default.cert);

        // What cannot be used changes nothing: a key that others can read, a key of another certificate.
        fs::set_permissions(folder.path().join("k.pem"), fs::Permissions::from_mode(0o604)).unwrap();
        let error = certificates.reload().unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
        let old = fs::read(folder.path().join("c.pem")).unwrap();
        make(folder.path(), "mail.example.net");
        fs::write(folder.path().join("c.pem"), old).unwrap();
        assert!(certificates.reload().unwrap_err().to_string().contains("c.pem"));
        assert_eq!(certificates.choose(Some("mail.example.net")).cert, renewed.cert);
    }
}
