//! GETQUOTA, GETQUOTAROOT and SETQUOTA (RFC 9208).

use mailwright_line_proto::Request;
use mailwright_mail_model::MailboxName;

use crate::{
    grammar::{GrammarError, Input, Wire},
    refusal::Answered,
    response::QuotaRoot,
};

/// How many limits one SETQUOTA may name.
const MAX_LIMITS: usize = 32;

/// How much of what a quota root allows is used?
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GetQuota {
    /// The quota root.
    pub root: String,
}

/// Which quota roots count for a mailbox, and how much of them is used?
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GetQuotaRoot {
    /// The mailbox.
    pub mailbox: MailboxName,
}

/// Gives a quota root these limits and no others.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetQuota {
    /// The quota root.
    pub root: String,
    /// The resources, in upper case, and how much there may be of each, in the units of the resource.
    pub limits: Vec<(String, u64)>,
}

impl GetQuota {
    /// Asks for this quota root.
    pub fn new(root: impl Into<String>) -> Self {
        Self { root: root.into() }
    }

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        input.space()?;
        Ok(Self { root: text(input)? })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"GETQUOTA ");
        wire.put_astring(self.root.as_bytes());
    }
}

impl GetQuotaRoot {
    /// Asks for the quota roots of this mailbox.
    pub fn new(mailbox: MailboxName) -> Self {
        Self { mailbox }
    }

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        input.space()?;
        Ok(Self { mailbox: input.mailbox()? })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"GETQUOTAROOT ");
        wire.put_mailbox(&self.mailbox);
    }
}

impl SetQuota {
    /// Gives this quota root these limits.
    pub fn new(root: impl Into<String>, limits: Vec<(String, u64)>) -> Self {
        Self { root: root.into(), limits }
    }

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        input.space()?;
        let root = text(input)?;
        input.space()?;
        let limits = input.list("limits", MAX_LIMITS, |input| {
            let name = input.atom()?.to_ascii_uppercase();
            input.space()?;
            Ok((name, input.number64()?))
        })?;
        Ok(Self { root, limits })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"SETQUOTA ");
        wire.put_astring(self.root.as_bytes());
        wire.put(b" ");
        wire.put_list(&self.limits, |wire, (name, limit)| {
            wire.put(name.as_bytes());
            wire.put(b" ");
            wire.put_number(*limit);
        });
    }
}

/// A name in UTF-8.
pub(super) fn text(input: &mut Input<'_>) -> Result<String, GrammarError> {
    let here = input.clone();
    let text = input.astring()?;
    String::from_utf8(text.into_owned()).map_err(|_| here.expected("UTF-8"))
}

impl Request for GetQuota {
    type Answer = Answered<QuotaRoot>;
}

impl Request for GetQuotaRoot {
    /// All of them.
    type Answer = Answered<Vec<QuotaRoot>>;
}

impl Request for SetQuota {
    /// What is allowed from now on.
    type Answer = Answered<QuotaRoot>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_the_rfc_are_read_as_they_were_written() {
        let mut wire = Vec::new();
        let root = GetQuota::parse(&mut Input::new(b" \"!partition/sda4\"")).unwrap();
        assert_eq!(root, GetQuota::new("!partition/sda4"));
        let set = SetQuota::parse(&mut Input::new(b" \"#user/alice\" (storage 510 MESSAGE 7)")).unwrap();
        assert_eq!(set.limits, [("STORAGE".to_owned(), 510), ("MESSAGE".to_owned(), 7)]);
        set.encode(&mut wire);
        assert_eq!(wire, b"SETQUOTA #user/alice (STORAGE 510 MESSAGE 7)");
        assert_eq!(SetQuota::parse(&mut Input::new(b" \"\" ()")).unwrap().limits, []);
        assert!(SetQuota::parse(&mut Input::new(b" \"\" (STORAGE)")).is_err());
    }
}
