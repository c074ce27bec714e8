//! `* QUOTA` and `* QUOTAROOT` (RFC 9208 §4.2).

use mailwright_mail_model::MailboxName;

use super::{
    ListedName,
    reader::{Reader, Result},
    sharing::astring,
};
use crate::grammar::Wire;

/// A quota root, and how much of what it allows is used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct QuotaRoot {
    /// Its name.
    pub name: String,
    /// What is limited in it.
    pub resources: Vec<QuotaResource>,
}

/// How much there is of a resource, and may be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct QuotaResource {
    /// The resource: `STORAGE`, `MESSAGE`, `MAILBOX`, `ANNOTATION-STORAGE` or another.
    pub name: String,
    /// How much there is, in the units of the resource.
    pub usage: u64,
    /// How much there may be.
    pub limit: u64,
}

impl QuotaRoot {
    /// A quota root with these limits.
    pub fn new(name: impl Into<String>, resources: Vec<QuotaResource>) -> Self {
        Self { name: name.into(), resources }
    }

    /// Writes the response.
    pub fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"* QUOTA ");
        wire.put_string(self.name.as_bytes());
        wire.put(b" ");
        wire.put_list(&self.resources, |wire, resource| {
            wire.put_display(format_args!("{} {} {}", resource.name, resource.usage, resource.limit));
        });
        wire.put(b"\r\n");
    }

    /// Writes which quota roots a mailbox has.
    pub fn encode_roots(mailbox: &MailboxName, roots: &[Self], wire: &mut impl Wire) {
        wire.put(b"* QUOTAROOT ");
        wire.put_mailbox(mailbox);
        for root in roots {
            wire.put(b" ");
            wire.put_string(root.name.as_bytes());
        }
        wire.put(b"\r\n");
    }
}

impl QuotaRoot {
    /// What follows `QUOTA`.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        reader.space()?;
        let name = astring(reader)?;
        reader.space()?;
        let resources = reader.list(|reader| {
            let name = reader.atom()?.to_ascii_uppercase();
            reader.space()?;
            let usage = reader.number64()?;
            reader.space()?;
            Ok(QuotaResource::new(name, usage, reader.number64()?))
        })?;
        Ok(Self { name, resources })
    }
}

/// Which quota roots count for a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct QuotaRootNames {
    /// The mailbox.
    pub mailbox: ListedName,
    /// The names of its quota roots.
    pub roots: Vec<String>,
}

impl QuotaRootNames {
    /// What follows `QUOTAROOT`.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        reader.space()?;
        let (mailbox, mut roots) = (ListedName::read(reader)?, Vec::new());
        while reader.input.peek() == Some(b' ') {
            reader.space()?;
            if reader.input.is_empty() {
                break;
            }
            roots.push(astring(reader)?);
        }
        Ok(Self { mailbox, roots })
    }
}

impl QuotaResource {
    /// So much of this resource.
    pub fn new(name: impl Into<String>, usage: u64, limit: u64) -> Self {
        Self { name: name.into(), usage, limit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::{Leniency, Response};

    #[test]
    fn what_is_written_is_read() {
        let storage = QuotaResource::new("STORAGE", 10, 512);
        for root in [QuotaRoot::new("", vec![storage.clone()]), QuotaRoot::new("#user/alice", vec![])] {
            let mut octets = Vec::new();
            root.encode(&mut octets);
            assert_eq!(Response::parse(&octets, Leniency::strict()), Ok(Response::Quota(root)));
        }
        let roots = [QuotaRoot::new("", vec![storage]), QuotaRoot::new("a b", vec![])];
        for count in 0..=2 {
            let mut octets = Vec::new();
            QuotaRoot::encode_roots(&MailboxName::inbox(), roots.get(..count).unwrap(), &mut octets);
            let Ok(Response::QuotaRoots(names)) = Response::parse(&octets, Leniency::strict()) else {
                panic!("{}", String::from_utf8_lossy(&octets))
            };
            assert!(names.roots.iter().eq(roots.iter().take(count).map(|root| &root.name)));
        }
        assert!(Response::parse(b"* QUOTA x (STORAGE 1)\r\n", Leniency::tolerant()).is_err());
    }
}
