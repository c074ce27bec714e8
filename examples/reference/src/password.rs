//! Passwords as they are stored: hashed, in the `{SCHEME}hash` form of Dovecot's passwd-file.

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use sha_crypt::ShaCrypt;
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;
use thiserror::Error;

/// A password hash with its scheme; shown as `{SCHEME}hash`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct StoredPassword {
    scheme: Scheme,
    hash: String,
}

/// The schemes that can be verified. New passwords are always ARGON2ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Plain,
    Sha512Crypt,
    Sha256Crypt,
    Ssha,
    BlfCrypt,
    Argon2id,
}

/// Each scheme by its name.
const SCHEMES: &[(&str, Scheme)] = &[
    ("ARGON2ID", Scheme::Argon2id),
    ("BLF-CRYPT", Scheme::BlfCrypt),
    ("SHA512-CRYPT", Scheme::Sha512Crypt),
    ("SHA256-CRYPT", Scheme::Sha256Crypt),
    ("SSHA", Scheme::Ssha),
    ("PLAIN", Scheme::Plain),
];

/// Why a stored password cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum BadPassword {
    #[error("a password is written {{SCHEME}}hash, and there is no scheme here")]
    NoScheme,
    #[error(
        "the scheme {0} is not known; known are ARGON2ID, BLF-CRYPT, SHA512-CRYPT, SHA256-CRYPT, SSHA, PLAIN"
    )]
    UnknownScheme(String),
    #[error("this is not a {0} hash")]
    Malformed(&'static str),
    #[error("the password cannot be hashed: {0}")]
    Hash(String),
}

impl StoredPassword {
    /// Reads `{SCHEME}hash`.
    pub(crate) fn parse(text: &str) -> Result<Self, BadPassword> {
        let (name, hash) =
            text.strip_prefix('{').and_then(|rest| rest.split_once('}')).ok_or(BadPassword::NoScheme)?;
        let (known, scheme) = SCHEMES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .ok_or_else(|| BadPassword::UnknownScheme(name.into()))?;
        let well_formed = match scheme {
            Scheme::Plain => true,
            Scheme::Argon2id => phc::PasswordHash::new(hash).is_ok(),
            Scheme::BlfCrypt => hash.len() == 60 && hash.starts_with("$2"),
            Scheme::Sha512Crypt => hash.starts_with("$6$"),
            Scheme::Sha256Crypt => hash.starts_with("$5$"),
            Scheme::Ssha => BASE64_STANDARD.decode(hash).is_ok_and(|octets| octets.len() > SHA1_LENGTH),
        };
        if well_formed {
            Ok(Self { scheme: *scheme, hash: hash.into() })
        } else {
            Err(BadPassword::Malformed(known))
        }
    }

    /// Hashes a new password. Slow on purpose: not for an async thread.
    pub(crate) fn new(password: &[u8]) -> Result<Self, BadPassword> {
        // The crate's defaults are OWASP's first choice: Argon2id, 19 MiB, two passes, one lane.
        let hash: phc::PasswordHash = Argon2::default()
            .hash_password(password)
            .map_err(|error| BadPassword::Hash(error.to_string()))?;
        Ok(Self { scheme: Scheme::Argon2id, hash: hash.to_string() })
    }

    /// Whether this is the password. Slow on purpose: not for an async thread.
    pub(crate) fn verify(&self, password: &[u8]) -> bool {
        match self.scheme {
            Scheme::Plain => self.hash.as_bytes().ct_eq(password).into(),
            Scheme::Argon2id => verify_argon2(&self.hash, password).unwrap_or(false),
            Scheme::BlfCrypt => bcrypt::verify(password, &self.hash).unwrap_or(false),
            Scheme::Sha512Crypt | Scheme::Sha256Crypt => sha_crypt::PasswordHashRef::new(&self.hash)
                .is_ok_and(|hash| ShaCrypt::default().verify_password(password, hash).is_ok()),
            Scheme::Ssha => verify_ssha(&self.hash, password),
        }
    }

    /// The password itself, if it is kept in clear.
    pub(crate) fn plain(&self) -> Option<&str> {
        (self.scheme == Scheme::Plain).then_some(&self.hash)
    }

    /// What it costs to verify: the scheme with its parameters.
    pub(crate) fn cost(&self) -> String {
        let mut parts = self.hash.split('$');
        let parameters = match self.scheme {
            Scheme::Plain | Scheme::Ssha => String::new(),
            Scheme::BlfCrypt => parts.nth(2).unwrap_or_default().to_owned(),
            Scheme::Argon2id | Scheme::Sha512Crypt | Scheme::Sha256Crypt => {
                parts.filter(|part| part.contains('=')).collect::<Vec<_>>().join(" ")
            }
        };
        format!("{} {parameters}", self.scheme())
    }

    /// The name of the scheme.
    pub(crate) fn scheme(&self) -> &'static str {
        SCHEMES.iter().find(|(_, scheme)| *scheme == self.scheme).map_or("", |(name, _)| name)
    }
}

/// The memory that a hash is computed in is asked for in pieces of at least this size, in octets. Allocators map such
/// pieces and give them back to the system at once (32 MiB is the highest `M_MMAP_THRESHOLD` of glibc); of smaller ones
/// every thread would keep some, and guessing passwords would drive our memory up to hundreds of MiB. What is not used
/// of a piece is never touched, and costs nothing.
const MAPPED: usize = 33 << 20;

/// `None` if the hash cannot be used.
fn verify_argon2(hash: &str, password: &[u8]) -> Option<bool> {
    let hash = phc::PasswordHash::new(hash).ok()?;
    let (salt, expected) = (hash.salt.as_ref()?, hash.hash.as_ref()?);
    let algorithm = Algorithm::try_from(hash.algorithm.as_str()).ok()?;
    let version = match hash.version {
        Some(version) => Version::try_from(version).ok()?,
        None => Version::default(),
    };
    let params = Params::try_from(&hash).ok()?;
    let blocks = params.block_count();
    let mut memory = Vec::new();
    memory.try_reserve_exact(blocks.max(MAPPED / Block::SIZE)).ok()?;
    memory.resize(blocks, Block::new());
    let mut found = vec![0; expected.as_bytes().len()];
    let argon2 = Argon2::new(algorithm, version, params);
    argon2.hash_password_into_with_memory(password, salt.as_ref(), &mut found, &mut memory).ok()?;
    Some(found.ct_eq(expected.as_bytes()).into())
}

const SHA1_LENGTH: usize = 20;

/// The hash of password and salt, the salt behind it (RFC 2307 and its salted form).
fn verify_ssha(hash: &str, password: &[u8]) -> bool {
    let Ok(octets) = BASE64_STANDARD.decode(hash) else { return false };
    let Some((digest, salt)) = octets.split_at_checked(SHA1_LENGTH) else { return false };
    Sha1::new().chain_update(password).chain_update(salt).finalize().as_slice().ct_eq(digest).into()
}

impl std::fmt::Display for StoredPassword {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{{{}}}{}", self.scheme(), self.hash)
    }
}

impl std::fmt::Debug for StoredPassword {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "StoredPassword({:?}, ..)", self.scheme)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_knows_its_password() {
        assert_eq!(StoredPassword::parse("{plain}secret").unwrap().to_string(), "{PLAIN}secret");
        let argon = StoredPassword::new(b"secret").unwrap();
        assert_eq!(StoredPassword::parse(&argon.to_string()).unwrap(), argon);
        let blowfish =
            StoredPassword::parse(&format!("{{BLF-CRYPT}}{}", bcrypt::hash("secret", 4).unwrap())).unwrap();
        let crypt = PasswordHasher::hash_password(&ShaCrypt::default(), b"secret").unwrap();
        let crypt = StoredPassword::parse(&format!("{{sha512-crypt}}{}", crypt.as_str())).unwrap();
        let salted = [Sha1::new().chain_update(b"secretsalt").finalize().as_slice(), b"salt"].concat();
        let salted = StoredPassword::parse(&format!("{{SSHA}}{}", BASE64_STANDARD.encode(salted))).unwrap();
        let plain = StoredPassword::parse("{PLAIN}secret").unwrap();
        let costs = [&argon, &blowfish, &crypt, &salted, &plain].map(StoredPassword::cost);
        assert_eq!(costs[0], "ARGON2ID v=19 m=19456,t=2,p=1");
        assert_eq!(costs[1], "BLF-CRYPT 04");
        assert!(costs[2].starts_with("SHA512-CRYPT "), "{costs:?}");
        assert_eq!(costs[3..], ["SSHA ", "PLAIN "]);
        assert_eq!(StoredPassword::new(b"other").unwrap().cost(), costs[0]);
        for stored in [argon, blowfish, crypt, salted, plain] {
            assert!(stored.verify(b"secret"), "{stored:?}");
            assert!(!stored.verify(b"Secret"), "{stored:?}");
            assert!(!stored.verify(b""), "{stored:?}");
        }
    }

    #[test]
    fn the_reference_vector_of_sha512_crypt() {
        // What `openssl passwd -6 -salt saltstring 'Hello world!'` prints.
        let stored = "{SHA512-CRYPT}$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1";
        assert!(StoredPassword::parse(stored).unwrap().verify(b"Hello world!"));
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        assert_eq!(StoredPassword::parse("secret"), Err(BadPassword::NoScheme));
        assert!(StoredPassword::parse("{MD5}x").unwrap_err().to_string().contains("ARGON2ID"));
        assert_eq!(StoredPassword::parse("{SSHA}x"), Err(BadPassword::Malformed("SSHA")));
        assert_eq!(
            format!("{:?}", StoredPassword::parse("{PLAIN}secret").unwrap()),
            "StoredPassword(Plain, ..)"
        );
    }
}
