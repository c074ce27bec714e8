//! What is made at the first start, and what a first-time user is told.

use std::{fs, io, os::unix::fs::DirBuilderExt, path::Path};

use crate::{
    certificate::Certificate,
    config::{Config, ListenAddress, Listener, Protocol, TlsMode},
    directory::{Directory, DirectoryError},
};

/// Letters and digits that are not taken for one another.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// 100 bits.
const PASSWORD_LENGTH: usize = 20;

/// The two accounts of a first start, with their passwords.
pub(crate) struct Accounts {
    sender: (String, String),
    reader: (String, String),
}

/// Makes a directory that only we can enter, if there is none.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// A password that nobody can guess.
pub(crate) fn random_password() -> Result<String, DirectoryError> {
    let mut octets = [0; PASSWORD_LENGTH];
    getrandom::fill(&mut octets).map_err(|error| DirectoryError::Randomness(error.to_string()))?;
    Ok(octets
        .iter()
        .filter_map(|octet| ALPHABET.get(usize::from(octet % 32)))
        .map(|octet| char::from(*octet))
        .collect())
}

/// The same, if they can be made; the server starts without them too.
pub(crate) fn try_accounts(directory: &Directory, config: &Config) -> Option<Accounts> {
    make_accounts(directory, config)
        .inspect_err(|error| {
            tracing::error!(%error, "no accounts were made to try; `mailwrightd user add` makes some");
        })
        .ok()
}

/// Makes two accounts, so that there is somebody to write and somebody to read.
fn make_accounts(directory: &Directory, config: &Config) -> Result<Accounts, DirectoryError> {
    let domain = config.domains.first().map_or("localhost", String::as_str);
    let make = |local: &str| {
        let (name, password) = (format!("{local}@{domain}"), random_password()?);
        directory.add(&name, &password, true).map(|()| (name, password))
    };
    Ok(Accounts { sender: make("alice")?, reader: make("bob")? })
}

/// How to send a first message and to read it, ready to be pasted.
pub(crate) fn recipe(
    config: &Config,
    bound: &[(&Listener, ListenAddress)],
    certificate: &Certificate,
    accounts: &Accounts,
) -> String {
    let port = |protocol: Protocol| {
        let find = |tls: TlsMode| {
            bound.iter().find(|(listener, _)| listener.protocol == protocol && listener.tls == tls)
        };
        find(TlsMode::Implicit).and_then(|(_, address)| Some(address.network()?.port()))
    };
    let (sender, reader) = (&accounts.sender, &accounts.reader);
    let mut text = format!(
        "\nThis is the first start. Everything is kept in {}.\nTwo accounts were made; their passwords are shown this once:\n\n  {}  {}\n  {}  {}\n",
        config.data.display(),
        sender.0,
        sender.1,
        reader.0,
        reader.1
    );
    if let (Some(submission), Some(imap)) = (port(Protocol::Submission), port(Protocol::Imap)) {
        let trust = if certificate.self_signed {
            format!(" --cacert '{}'", certificate.chain_file.display())
        } else {
            String::new()
        };
        text += &format!(
            "\nSend a first message:\n\n  printf 'From: {0}\\r\\nTo: {2}\\r\\nSubject: Hello\\r\\n\\r\\nIt works.\\r\\n' | \\\n    \
             curl -sS{trust} --user '{0}:{1}' --mail-from '{0}' --mail-rcpt '{2}' -T - smtps://localhost:{submission}\n\n\
             Read it:\n\n  curl -sS{trust} --user '{2}:{3}' 'imaps://localhost:{imap}/INBOX;UID=1'\n",
            sender.0, sender.1, reader.0, reader.1
        );
    }
    text += "\nAccounts are managed with `mailwrightd user`, also while this server runs. Every setting is explained by\n\
             `mailwrightd config default`.\n\n";
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_long_and_differ() {
        let (one, other) = (random_password().unwrap(), random_password().unwrap());
        assert_eq!(one.len(), PASSWORD_LENGTH);
        assert_ne!(one, other);
    }
}
