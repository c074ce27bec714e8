//! The SCRAM keys of accounts: made from a password when it is seen in clear.

use std::{
    num::NonZero,
    panic::resume_unwind,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use mailwright::line_proto::{
    Secret,
    sasl::{ScramHash, ScramKeys},
};

use super::{DirectoryError, KeyPair, ScramRow};

/// Iterations of the SCRAM keys of new passwords. RFC 7677 §4: at least 4,096.
const ITERATIONS: u32 = 10_000;

/// After how many passwords it is told how far we are: every few seconds.
const TELL: usize = 500;

/// The SCRAM keys of a password, those of the obsolete hash among them if it is kept in clear.
pub(super) fn scram(password: &str, in_clear: bool) -> Result<ScramRow, DirectoryError> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|error| DirectoryError::Randomness(error.to_string()))?;
    let secret = Secret::from(password);
    let pair = |hash| -> Result<KeyPair, DirectoryError> {
        let keys = ScramKeys::derive(hash, &secret, &salt, ITERATIONS)
            .map_err(|error| DirectoryError::Scram(error.to_string()))?;
        let octets = |key: &Secret| key.expose().to_vec();
        Ok(KeyPair { stored_key: octets(keys.stored_key()), server_key: octets(keys.server_key()) })
    };
    Ok(ScramRow {
        salt: salt.to_vec(),
        iterations: ITERATIONS,
        sha256: pair(ScramHash::Sha256)?,
        sha512: Some(pair(ScramHash::Sha512)?),
        sha1: in_clear.then(|| pair(ScramHash::Sha1)).transpose()?,
    })
}

/// The keys of many passwords that are kept in clear, in their order: some ten milliseconds each, so all processors share the work.
/// A password that SASLprep (RFC 4013) does not take has none, and its account logs in otherwise.
pub(super) fn scram_of_all(passwords: &[&str]) -> Vec<Option<ScramRow>> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let made = AtomicUsize::new(0);
    let each = |password: &&str| {
        let keys = scram(password, true).ok();
        let made = made.fetch_add(1, Ordering::Relaxed) + 1;
        if made.is_multiple_of(TELL) {
            tracing::info!(made, of = passwords.len(), "keys are made of passwords");
        }
        keys
    };
    let share = passwords.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let working: Vec<_> = passwords
            .chunks(share)
            .map(|share| scope.spawn(|| share.iter().map(each).collect::<Vec<_>>()))
            .collect();
        working
            .into_iter()
            .flat_map(|share| share.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_password_gets_its_own_keys_in_order() {
        let passwords = ["one", "two", "a bell: \u{7}", "four", "five"];
        let rows = scram_of_all(&passwords);
        assert_eq!(rows.len(), passwords.len());
        for (password, row) in passwords.iter().zip(&rows) {
            // RFC 4013 §2.3: no control characters.
            assert_eq!(row.is_none(), password.contains('\u{7}'), "{password}");
            let Some(row) = row else { continue };
            let (hash, secret) = (ScramHash::Sha256, Secret::from(*password));
            let keys = ScramKeys::derive(hash, &secret, &row.salt, row.iterations).unwrap();
            assert_eq!(keys.stored_key().expose(), row.sha256.stored_key);
        }
        assert!(scram_of_all(&[]).is_empty());
    }
}
