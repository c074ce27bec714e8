//! SETACL, DELETEACL, GETACL, LISTRIGHTS and MYRIGHTS (RFC 4314).

use mailwright_line_proto::Request;
use mailwright_mail_model::MailboxName;

use super::quota::text;
use crate::{
    grammar::{GrammarError, Input, Wire},
    refusal::Answered,
};

/// Changes an entry of the access control list of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetAcl {
    /// The mailbox.
    pub mailbox: MailboxName,
    /// Whose entry.
    pub identifier: String,
    /// What is done with the rights.
    pub change: RightsChange,
    /// The rights, one letter for each.
    pub rights: String,
}

/// What SETACL does with rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "RFC 4314 §3.1 has these three")]
pub enum RightsChange {
    /// These and no others.
    Replace,
    /// These too.
    Add,
    /// Not these.
    Remove,
}

impl SetAcl {
    /// Gives these rights and no others.
    pub fn new(mailbox: MailboxName, identifier: impl Into<String>, rights: impl Into<String>) -> Self {
        Self { mailbox, identifier: identifier.into(), change: RightsChange::Replace, rights: rights.into() }
    }

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        let (mailbox, identifier) = mailbox_and_identifier(input)?;
        input.space()?;
        let here = input.clone();
        let given = text(input)?;
        let (change, rights) = match given.split_at_checked(1) {
            Some(("+", rights)) => (RightsChange::Add, rights),
            Some(("-", rights)) => (RightsChange::Remove, rights),
            _ => (RightsChange::Replace, &*given),
        };
        // RFC 4314 §3.1: lower case only, and an unknown right is no right.
        if !rights.bytes().all(|right| right.is_ascii_lowercase() || right.is_ascii_digit()) {
            return Err(here.expected("rights, each a letter in lower case or a digit"));
        }
        Ok(Self { mailbox, identifier, change, rights: rights.to_owned() })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        encode_both(b"SETACL ", &self.mailbox, &self.identifier, wire);
        let sign = match self.change {
            RightsChange::Replace => "",
            RightsChange::Add => "+",
            RightsChange::Remove => "-",
        };
        wire.put(b" ");
        wire.put_astring(format!("{sign}{}", self.rights).as_bytes());
    }
}

fn mailbox_and_identifier(input: &mut Input<'_>) -> Result<(MailboxName, String), GrammarError> {
    input.space()?;
    let mailbox = input.mailbox()?;
    input.space()?;
    Ok((mailbox, text(input)?))
}

fn encode_both(name: &[u8], mailbox: &MailboxName, identifier: &str, wire: &mut impl Wire) {
    wire.put(name);
    wire.put_mailbox(mailbox);
    wire.put(b" ");
    wire.put_astring(identifier.as_bytes());
}

macro_rules! about_somebody {
    ($($(#[$attribute:meta])* $name:ident $word:literal -> $answer:ty;)*) => {$(
        $(#[$attribute])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name {
            /// The mailbox.
            pub mailbox: MailboxName,
            /// Whose entry.
            pub identifier: String,
        }

        impl $name {
            /// About this entry of the list of this mailbox.
            pub fn new(mailbox: MailboxName, identifier: impl Into<String>) -> Self {
                Self { mailbox, identifier: identifier.into() }
            }

            pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
                let (mailbox, identifier) = mailbox_and_identifier(input)?;
                Ok(Self { mailbox, identifier })
            }

            pub(super) fn encode(&self, wire: &mut impl Wire) {
                encode_both($word, &self.mailbox, &self.identifier, wire);
            }
        }

        impl Request for $name {
            type Answer = Answered<$answer>;
        }
    )*};
}

about_somebody! {
    /// Removes an entry of the access control list of a mailbox.
    DeleteAcl b"DELETEACL " -> ();
    /// Which rights can be given to somebody?
    ListRights b"LISTRIGHTS " -> ListedRights;
}

macro_rules! about_a_mailbox {
    ($($(#[$attribute:meta])* $name:ident $word:literal -> $answer:ty;)*) => {$(
        $(#[$attribute])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name {
            /// The mailbox.
            pub mailbox: MailboxName,
        }

        impl $name {
            /// About this mailbox.
            pub fn new(mailbox: MailboxName) -> Self {
                Self { mailbox }
            }

            pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
                input.space()?;
                Ok(Self { mailbox: input.mailbox()? })
            }

            pub(super) fn encode(&self, wire: &mut impl Wire) {
                wire.put($word);
                wire.put_mailbox(&self.mailbox);
            }
        }

        impl Request for $name {
            type Answer = Answered<$answer>;
        }
    )*};
}

about_a_mailbox! {
    /// Who may do what with a mailbox? Answered with identifiers and their rights.
    GetAcl b"GETACL " -> Vec<(String, String)>;
    /// What may the user do with a mailbox?
    MyRights b"MYRIGHTS " -> String;
}

impl Request for SetAcl {
    type Answer = Answered<()>;
}

/// Which rights can be given to somebody (RFC 4314 §3.7).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedRights {
    /// Those that are always theirs.
    pub required: String,
    /// Those that can be given, in groups of rights that go together.
    pub optional: Vec<String>,
}

impl ListedRights {
    /// These are theirs, and each of those can be given.
    pub fn new(required: impl Into<String>, optional: Vec<String>) -> Self {
        Self { required: required.into(), optional }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_the_rfc_are_read_as_they_were_written() {
        for (text, change) in [
            ("INBOX/Drafts John lrswikda", RightsChange::Replace),
            ("INBOX Fred +rwipslxetad", RightsChange::Add),
            ("INBOX \"-a b\" -lr", RightsChange::Remove),
        ] {
            let parsed = SetAcl::parse(&mut Input::new(format!(" {text}").as_bytes())).unwrap();
            assert_eq!(parsed.change, change);
            let mut wire = Vec::new();
            parsed.encode(&mut wire);
            assert_eq!(String::from_utf8(wire).unwrap(), format!("SETACL {text}"));
        }
        assert!(SetAcl::parse(&mut Input::new(b" INBOX Fred LR")).is_err());
        assert!(SetAcl::parse(&mut Input::new(b" INBOX \"\xff\" l")).is_err());
    }
}
