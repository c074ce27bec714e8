//! `* QUOTA` and `* QUOTAROOT` (RFC 9208 §4.2).

use mailwright_mail_model::MailboxName;

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

impl QuotaResource {
    /// So much of this resource.
    pub fn new(name: impl Into<String>, usage: u64, limit: u64) -> Self {
        Self { name: name.into(), usage, limit }
    }
}
