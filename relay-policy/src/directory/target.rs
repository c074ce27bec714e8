//! Where an alias or a forward leads.

use std::{fmt, str::FromStr};

use mailwright_mail_model::{Address, AddressError};

use crate::delivery::Identity;

/// One target of an alias or a forward, as `/etc/aliases` and `~/.forward` write them.
///
/// ```
/// use mailwright_relay_policy::directory::Target;
///
/// assert!(matches!("eve@example.net".parse()?, Target::Address(_)));
/// assert_eq!("|/usr/bin/procmail -a x".parse(), Ok(Target::Command("/usr/bin/procmail -a x".into())));
/// assert_eq!("/var/mail/archive".parse(), Ok(Target::File("/var/mail/archive".into())));
/// assert_eq!(":include:/etc/list".parse(), Ok(Target::Include("/etc/list".into())));
/// # Ok::<(), mailwright_relay_policy::directory::TargetError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Target {
    /// An address, here or elsewhere.
    Address(Address),
    /// The mailbox of an account, whatever that account forwards: `\alice@example.org`.
    Mailbox(Address),
    /// A file that messages are appended to.
    File(String),
    /// A program that is handed the message, with its arguments.
    Command(String),
    /// A file that lists more targets.
    Include(String),
}

/// What is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// Neither an address nor one of the other forms.
    #[error("expected an address, /file, |command or :include:/file, got {text:?}: {source}")]
    Address {
        /// What was there.
        text: String,
        /// What is wrong with it.
        source: AddressError,
    },
    /// A program without a name, or a list without a path.
    #[error("expected something behind {0:?}")]
    Empty(&'static str),
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let text = text.trim();
        if let Some(command) = text.strip_prefix('|') {
            return some(command, "|").map(Self::Command);
        }
        if let Some(path) = text.strip_prefix(":include:") {
            return some(path, ":include:").map(Self::Include);
        }
        if text.starts_with('/') {
            return Ok(Self::File(text.to_owned()));
        }
        let (bare, mailbox) = match text.strip_prefix('\\') {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let address: Address =
            bare.parse().map_err(|source| TargetError::Address { text: text.to_owned(), source })?;
        Ok(if mailbox { Self::Mailbox(address) } else { Self::Address(address) })
    }
}

fn some(text: &str, behind: &'static str) -> Result<String, TargetError> {
    match text.trim() {
        "" => Err(TargetError::Empty(behind)),
        text => Ok(text.to_owned()),
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Mailbox(address) => write!(f, "\\{address}"),
            Self::File(path) => f.write_str(path),
            Self::Command(command) => write!(f, "|{command}"),
            Self::Include(path) => write!(f, ":include:{path}"),
        }
    }
}

/// Reads what aliases and forwards leave to files: lists that `:include:` names, and users' own forward files.
pub trait Includes {
    /// The targets listed in a file: addresses only. If a user's forward file names it, it is read with that user's rights.
    ///
    /// # Errors
    /// What is wrong, for the log: mail for the alias is then to be tried again later.
    fn include(&self, path: &str, identity: Option<Identity>) -> Result<Vec<Target>, String>;

    /// What the forward file of an account says, if it has one: by default nobody has.
    ///
    /// # Errors
    /// What is wrong, for the log: mail for the account is then to be tried again later.
    fn forward(&self, _account: &str) -> Result<Option<Forwarding>, String> {
        Ok(None)
    }
}

/// What a user's own forward file says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forwarding {
    /// Where mail goes in place of the mailbox.
    pub targets: Vec<Target>,
    /// With whose rights the files and programs among them are reached.
    pub identity: Identity,
}

impl Forwarding {
    /// To these, with the rights of that user.
    pub const fn new(targets: Vec<Target>, identity: Identity) -> Self {
        Self { targets, identity }
    }
}

/// Lists are not read: an alias with one is temporarily undeliverable. Nobody has a forward file.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoIncludes;

impl Includes for NoIncludes {
    fn include(&self, path: &str, _: Option<Identity>) -> Result<Vec<Target>, String> {
        Err(format!(":include:{path} is not allowed here"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_reads_the_same() {
        for text in ["a@b.example", "\\a@b.example", "/f", "|x 'y z'", ":include:/l"] {
            let target: Target = text.parse().unwrap();
            assert_eq!(target.to_string(), text);
        }
    }

    #[test]
    fn nonsense_is_named() {
        for text in ["", "|", "| ", ":include:", "alice", "\\", "a@@b"] {
            let error = text.parse::<Target>().unwrap_err().to_string();
            assert!(error.contains("expected"), "{text:?}: {error}");
        }
    }
}
