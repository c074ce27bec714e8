//! Files and programs of this machine that mail is delivered to.

use std::{fmt, str::FromStr};

/// A user and a group of this machine, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Identity {
    /// The number of the user.
    pub user: u32,
    /// The number of the group.
    pub group: u32,
}

impl Identity {
    /// These two.
    pub const fn new(user: u32, group: u32) -> Self {
        Self { user, group }
    }
}

/// A file or a program that an alias or a forward leads to, and with whose rights it is reached.
///
/// As text it is the destination of an entry of the queue. No host is ever called so.
///
/// ```
/// use mailwright_relay_policy::delivery::{Identity, LocalKind, LocalTarget};
///
/// let copy = LocalTarget::new(LocalKind::File("/home/ann/copy".into()), Some(Identity::new(1000, 100)));
/// assert_eq!(copy.to_string(), "file:1000.100:/home/ann/copy");
/// assert_eq!("file:1000.100:/home/ann/copy".parse(), Ok(copy));
/// let log = LocalTarget::new(LocalKind::Command("logger -t mail".into()), None);
/// assert_eq!(log.to_string(), "command::logger -t mail");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct LocalTarget {
    /// Which.
    pub kind: LocalKind,
    /// Whose forward file named it; none: the server's own aliases.
    pub identity: Option<Identity>,
}

/// A file or a program.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LocalKind {
    /// The path of a file that messages are appended to.
    File(String),
    /// A program with its arguments, as it is written.
    Command(String),
}

/// What is no [`LocalTarget`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected file:USER.GROUP:/path or command:USER.GROUP:program")]
#[non_exhaustive]
pub struct NotLocal;

impl LocalTarget {
    /// Reached with the rights of this user, or of the server's own.
    pub const fn new(kind: LocalKind, identity: Option<Identity>) -> Self {
        Self { kind, identity }
    }
}

impl fmt::Display for LocalTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, text) = match &self.kind {
            LocalKind::File(path) => ("file", path),
            LocalKind::Command(line) => ("command", line),
        };
        match self.identity {
            Some(Identity { user, group }) => write!(f, "{kind}:{user}.{group}:{text}"),
            None => write!(f, "{kind}::{text}"),
        }
    }
}

impl FromStr for LocalTarget {
    type Err = NotLocal;

    fn from_str(text: &str) -> Result<Self, NotLocal> {
        let (kind, rest) = text.split_once(':').ok_or(NotLocal)?;
        let (identity, rest) = rest.split_once(':').ok_or(NotLocal)?;
        let identity = match identity.split_once('.') {
            None if identity.is_empty() => None,
            None => return Err(NotLocal),
            Some((user, group)) => Some(Identity {
                user: user.parse().map_err(|_| NotLocal)?,
                group: group.parse().map_err(|_| NotLocal)?,
            }),
        };
        let kind = match kind {
            "file" => LocalKind::File(rest.to_owned()),
            "command" => LocalKind::Command(rest.to_owned()),
            _ => return Err(NotLocal),
        };
        Ok(Self { kind, identity })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_of_hosts_are_none() {
        for text in [
            "b.example",
            "file:587",
            "command:25",
            "lmtp:unix:/run/lmtp",
            "[2001:db8::1]:26",
            "report:delivered",
            "file:x:/f",
            "file:1.:/f",
        ] {
            assert_eq!(text.parse::<LocalTarget>(), Err(NotLocal), "{text}");
        }
    }
}
