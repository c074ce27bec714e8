//! The certificate and its key: from files, or self-signed at the first start.

mod clients;
mod in_use;

use std::{
    fs, io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use mailwright::{line_proto::tls::TlsConfigError, mail_model::Domain};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use thiserror::Error;

pub(crate) use self::{clients::ServerConfigs, in_use::Certificates};
use crate::config::Config;

/// The certificate that an authority issued by ACME and its key, in one file of the folder `tls`.
pub(crate) const ACME_FILE: &str = "acme.pem";

/// PEM texts of a certificate chain and its key.
pub(crate) struct Certificate {
    pub(crate) chain: Vec<u8>,
    pub(crate) key: Vec<u8>,
    /// The file of the chain, for the recipe and the log.
    pub(crate) chain_file: PathBuf,
    /// Whether it was made by us, so that clients cannot verify it without being given it.
    pub(crate) self_signed: bool,
}

/// Why there is no certificate, and what to do.
#[derive(Debug, Error)]
pub(crate) enum CertificateError {
    #[error(
        "cannot read {path}: {source}\n  it is named in [tls] of the configuration; leave certificate and key out for a self-signed one"
    )]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "the key {path} can be read by others (mode {mode:o}), so it is not secret any more\n  mend it with: chmod 600 {path}"
    )]
    Readable { path: PathBuf, mode: u32 },
    #[error("the certificate {path} or its key cannot be used: {source}")]
    Unusable { path: PathBuf, source: TlsConfigError },
    #[error(
        "cannot read {path}: {source}\n  it is named as client_ca in [tls] of the configuration: the authorities of clients' certificates"
    )]
    ReadAuthorities { path: PathBuf, source: io::Error },
    #[error("{path}, named as client_ca in [tls] of the configuration, cannot be used: {source}")]
    Authorities { path: PathBuf, source: TlsConfigError },
    #[error("clients cannot be asked for certificates of the authorities of client_ca: {0}")]
    Clients(TlsConfigError),
    #[error("cannot write the self-signed certificate {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot make a self-signed certificate for {hostname}: {source}")]
    Make { hostname: String, source: rcgen::Error },
}

impl Certificate {
    /// Loads the configured certificate, or the self-signed one, which is made if it is not there yet.
    pub(crate) fn load(config: &Config) -> Result<Self, CertificateError> {
        if let (Some(chain), Some(key)) = (&config.tls.certificate, &config.tls.key) {
            return Self::read(chain, key, false);
        }
        let folder = config.data.join("tls");
        let issued = folder.join(ACME_FILE);
        if config.acme.is_some() && issued.exists() {
            return Self::read(&issued, &issued, false);
        }
        let (chain, key) = (folder.join("self-signed.pem"), folder.join("self-signed.key"));
        if !chain.exists() || !key.exists() {
            make(&config.hostname, &config.domains, &folder, &chain, &key)?;
        }
        Self::read(&chain, &key, true)
    }

    fn read(chain_file: &Path, key_file: &Path, self_signed: bool) -> Result<Self, CertificateError> {
        let read = |path: &Path| {
            fs::read(path).map_err(|source| CertificateError::Read { path: path.into(), source })
        };
        let (chain, key) = (read(chain_file)?, read(key_file)?);
        let metadata = fs::metadata(key_file)
            .map_err(|source| CertificateError::Read { path: key_file.into(), source })?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(CertificateError::Readable { path: key_file.into(), mode });
        }
        Ok(Self { chain, key, chain_file: chain_file.into(), self_signed })
    }
}

/// A host name as certificates and clients of TLS have it: names beyond ASCII are written as A-labels, in lower case (RFC 5280 §7.2,
/// RFC 6066 §3).
pub(crate) fn ascii(name: &str) -> String {
    name.parse().map_or_else(|_| name.to_ascii_lowercase(), |name: Domain| name.key().to_owned())
}

fn make(
    hostname: &str,
    domains: &[String],
    folder: &Path,
    chain: &Path,
    key: &Path,
) -> Result<(), CertificateError> {
    let failed = |source| CertificateError::Make { hostname: hostname.into(), source };
    let mut names = vec![ascii(hostname)];
    names.extend(domains.iter().map(|domain| ascii(domain)));
    names.extend(["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()]);
    names.sort();
    names.dedup();
    let mut parameters = CertificateParams::new(names).map_err(failed)?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, ascii(hostname));
    parameters.distinguished_name = name;
    let pair = KeyPair::generate().map_err(failed)?;
    let certificate = parameters.self_signed(&pair).map_err(failed)?;
    let written = |path: &Path| {
        let path = path.to_owned();
        move |source| CertificateError::Write { path, source }
    };
    fs::create_dir_all(folder).map_err(written(folder))?;
    write_new(key, pair.serialize_pem().as_bytes(), 0o600).map_err(written(key))?;
    write_new(chain, certificate.pem().as_bytes(), 0o644).map_err(written(chain))
}

/// Writes a file that is whole or not there, never readable by more than `mode` says.
pub(crate) fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
    io::Write::write_all(&mut file, content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_self_signed_certificate_is_made_once_and_its_key_is_secret() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { data: folder.path().into(), ..Config::default() };
        let first = Certificate::load(&config).unwrap();
        let second = Certificate::load(&config).unwrap();
        assert!(first.self_signed);
        assert_eq!(first.key, second.key);
        let key = folder.path().join("tls/self-signed.key");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        let error = Certificate::load(&config).err().unwrap().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }
}
