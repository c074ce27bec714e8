//! Passwords for other servers. They have to be sent, so they cannot be hashed: they are encrypted, by a key that is in a file of
//! its own. Whoever gets a copy of the database or a backup of it has nothing.

use std::{
    fs, io,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use thiserror::Error;

const KEY: &str = "fetch.key";
const KEY_OCTETS: usize = 32;

/// Why a password cannot be kept or had back.
#[derive(Debug, Error)]
pub(crate) enum VaultError {
    #[error("the key of the passwords elsewhere, {path}, cannot be used: {source}")]
    Key { path: PathBuf, source: io::Error },
    #[error(
        "its password cannot be read, as after a restore from a backup: set it again with `mailwrightd fetch add`"
    )]
    Sealed,
}

/// Encrypts and decrypts.
pub(super) struct Vault {
    path: PathBuf,
}

impl Vault {
    /// With the key of this data directory, which is made when it is needed.
    pub(super) fn new(data: &Path) -> Self {
        Self { path: data.join(KEY) }
    }

    /// Encrypts a password that is for `about` and nothing else.
    pub(super) fn seal(&self, password: &str, about: &str) -> Result<String, VaultError> {
        let key = match self.key() {
            Err(VaultError::Key { source, .. }) if source.kind() == io::ErrorKind::NotFound => self.make()?,
            found => found?,
        };
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|error| self.failed(io::Error::other(error)))?;
        let mut octets = password.as_bytes().to_vec();
        let aad = Aad::from(about.as_bytes());
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut octets)
            .map_err(|_| VaultError::Sealed)?;
        Ok(STANDARD.encode([&nonce[..], &octets].concat()))
    }

    /// Decrypts it.
    pub(super) fn open(&self, sealed: &str, about: &str) -> Result<String, VaultError> {
        let octets = STANDARD.decode(sealed).map_err(|_| VaultError::Sealed)?;
        let (nonce, rest) = octets.split_first_chunk::<NONCE_LEN>().ok_or(VaultError::Sealed)?;
        let mut rest = rest.to_vec();
        let key = match self.key() {
            Err(VaultError::Key { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(VaultError::Sealed);
            }
            found => found?,
        };
        let aad = Aad::from(about.as_bytes());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let password = key.open_in_place(nonce, aad, &mut rest).map_err(|_| VaultError::Sealed)?;
        String::from_utf8(password.to_vec()).map_err(|_| VaultError::Sealed)
    }

    fn failed(&self, source: io::Error) -> VaultError {
        VaultError::Key { path: self.path.clone(), source }
    }

    fn key(&self) -> Result<LessSafeKey, VaultError> {
        let octets = fs::read(&self.path).map_err(|source| self.failed(source))?;
        let wrong = |_| self.failed(io::Error::other(format!("expected {KEY_OCTETS} octets")));
        UnboundKey::new(&CHACHA20_POLY1305, &octets).map(LessSafeKey::new).map_err(wrong)
    }

    fn make(&self) -> Result<LessSafeKey, VaultError> {
        let mut octets = [0; KEY_OCTETS];
        getrandom::fill(&mut octets).map_err(|error| self.failed(io::Error::other(error)))?;
        let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path);
        let written = made.and_then(|mut file| {
            file.write_all(&octets)?;
            file.sync_all()
        });
        written.map_err(|source| self.failed(source))?;
        self.key()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_password_comes_back_with_its_key_and_for_its_account_only() {
        let folder = tempfile::tempdir().unwrap();
        let vault = Vault::new(folder.path());
        assert!(matches!(vault.open(&STANDARD.encode([0; 40]), "a"), Err(VaultError::Sealed)));
        let sealed = vault.seal("correct horse", "ann at host").unwrap();
        assert!(!String::from_utf8_lossy(&STANDARD.decode(&sealed).unwrap()).contains("horse"));
        assert_eq!(vault.open(&sealed, "ann at host").unwrap(), "correct horse");
        assert!(vault.open(&sealed, "ann at other").is_err());
        assert_ne!(vault.seal("correct horse", "ann at host").unwrap(), sealed);
        let path = folder.path().join(KEY);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_file(&path).unwrap();
        assert!(matches!(vault.open(&sealed, "ann at host"), Err(VaultError::Sealed)));
    }
}
