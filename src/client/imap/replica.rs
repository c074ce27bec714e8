//! What is kept of a mailbox between sessions.

use std::{collections::BTreeMap, fmt, str::FromStr};

use mailwright_mail_model::{FlagSet, ModSeq, Uid, UidValidity};
use thiserror::Error;

/// What a client keeps of a mailbox between its sessions. Empty before the first one.
///
/// It is kept as a text: a line with the validity and the mod-sequence, `-` where there is none, and one for each message.
///
/// ```
/// use mailwright::client::Replica;
///
/// let replica: Replica = "7 1204\n1 (\\Seen)\n5 ()\n".parse()?;
/// assert_eq!(replica.flags.len(), 2);
/// assert_eq!(replica.to_string().parse(), Ok(replica));
/// # Ok::<(), mailwright::client::imap::ReplicaError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replica {
    /// The validity of the UIDs.
    pub uid_validity: Option<UidValidity>,
    /// The mod-sequence up to which everything is known, from a server that has them.
    pub mod_seq: Option<ModSeq>,
    /// Every message and its flags.
    pub flags: BTreeMap<Uid, FlagSet>,
}

impl fmt::Display for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.uid_validity {
            Some(validity) => write!(f, "{validity} ")?,
            None => f.write_str("- ")?,
        }
        match self.mod_seq {
            Some(mod_seq) => writeln!(f, "{mod_seq}")?,
            None => f.write_str("-\n")?,
        }
        self.flags.iter().try_for_each(|(uid, flags)| writeln!(f, "{uid} {flags}"))
    }
}

impl FromStr for Replica {
    type Err = ReplicaError;

    /// What [`Display`](fmt::Display) shows; an empty text is an empty replica.
    fn from_str(text: &str) -> Result<Self, ReplicaError> {
        let mut replica = Self::default();
        for (index, line) in text.lines().enumerate() {
            let read = match index {
                0 => replica.read_head(line),
                _ => replica.read_message(line),
            };
            read.ok_or(ReplicaError { line: index + 1 })?;
        }
        Ok(replica)
    }
}

impl Replica {
    fn read_head(&mut self, line: &str) -> Option<()> {
        let (validity, mod_seq) = line.split_once(' ')?;
        self.uid_validity = match validity {
            "-" => None,
            validity => Some(UidValidity::new(validity.parse().ok()?)?),
        };
        self.mod_seq = match mod_seq {
            "-" => None,
            mod_seq => Some(ModSeq::new(mod_seq.parse().ok()?)?),
        };
        Some(())
    }

    fn read_message(&mut self, line: &str) -> Option<()> {
        let (uid, flags) = line.split_once(' ')?;
        self.flags.insert(Uid::new(uid.parse().ok()?)?, flags.parse().ok()?);
        Some(())
    }
}

/// Why a text is no [`Replica`]: begin with an empty one then.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected what is kept of a mailbox, found something else in line {line}")]
pub struct ReplicaError {
    line: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_as_they_were_written() {
        assert_eq!("".parse(), Ok(Replica::default()));
        for text in ["- -\n", "1 -\n4294967295 ()\n", "7 9223372036854775807\n1 (\\Seen $work x)\n2 ()\n"] {
            assert_eq!(text.parse::<Replica>().unwrap().to_string(), text);
        }
        for (text, line) in [("x", 1), ("0 -", 1), ("1", 1), ("1 2\n0 ()", 2), ("1 2\n1 ()\n2 (\\Foo)", 3)] {
            assert_eq!(text.parse::<Replica>(), Err(ReplicaError { line }), "{text}");
        }
    }
}
