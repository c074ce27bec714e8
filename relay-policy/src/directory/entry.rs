//! What there is at a domain or an address.

use mailwright_mail_model::Address;

use super::Target;

/// A domain whose mail we take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DomainEntry {
    /// Whether mail for it ends here.
    pub mode: DomainMode,
    /// Of a domain in relay mode: which addresses mail is taken for.
    pub recipients: RelayRecipients,
    /// Who gets what is addressed to nobody; none: it is refused.
    pub unknown: Option<Target>,
    /// The domain's postmaster; none: the server's.
    pub postmaster: Option<Address>,
    /// Who gets one blind copy of each message that the domain sends or receives.
    pub journal: Option<Address>,
    /// Who hears that a copy could not be delivered to the journal.
    pub journal_reports: JournalReports,
    /// Who gets one blind copy of each message that the domain receives.
    pub bcc: Option<Address>,
}

/// What becomes of the mail of a domain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DomainMode {
    /// It is delivered to the addresses entered here; others are unknown.
    #[default]
    Deliver,
    /// It is accepted for any address, or for [those that are entered](RelayRecipients), and goes on to where the transport map says, or to the domain's mail
    /// exchangers: we are a backup or a border for it.
    Relay,
}

/// Which addresses of a domain in relay mode mail is taken for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RelayRecipients {
    /// Any. What the next hop refuses comes back to senders, who may be forged ones: for hosts that cannot be asked who is there.
    #[default]
    Any,
    /// Those that are entered here; others are unknown. An alias that names itself is passed on.
    Listed,
    /// Any that the next host does not refuse when it is asked, which is for whoever takes the mail to do.
    Verified,
}

/// Who hears that a copy could not be delivered to a journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JournalReports {
    /// Whoever wrote the message.
    #[default]
    Author,
    /// The domain's postmaster, or the server's.
    Postmaster,
}

/// What there is at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Entry {
    /// Somebody who may log in.
    Account(Account),
    /// Another name for others. It can never log in.
    Alias(Alias),
    /// Several who get mail together.
    Group(Group),
}

impl Entry {
    /// What it is called in messages to people.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Account(_) => "an account",
            Self::Alias(_) => "an alias",
            Self::Group(_) => "a group",
        }
    }

    /// Whether only our own networks and users may write to it.
    pub const fn local_only(&self) -> bool {
        match self {
            Self::Account(account) => account.local_only,
            Self::Alias(alias) => alias.local_only,
            Self::Group(group) => group.local_only,
        }
    }
}

/// Somebody who may log in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Account {
    /// Whether there is a mailbox to deliver to. Without one, an account can send, and what it is sent is forwarded
    /// or refused.
    pub mailbox: bool,
    /// Where its mail goes on to.
    pub forward: Vec<Target>,
    /// Whether mail that is forwarded is kept, too.
    pub keep: bool,
    /// Whether only our own networks and users may write to it.
    pub local_only: bool,
    /// Since when it is whose it is, in seconds since 1970-01-01, UTC, if that is known (RFC 7293).
    pub since: Option<i64>,
}

impl Account {
    /// One with a mailbox, and nothing forwarded.
    pub fn with_mailbox() -> Self {
        Self { mailbox: true, ..Self::default() }
    }
}

/// Another name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Alias {
    /// Whose name it is: accounts, other aliases, addresses elsewhere.
    pub targets: Vec<Target>,
    /// Whether only our own networks and users may write to it.
    pub local_only: bool,
}

impl Alias {
    /// A name of these.
    pub fn to(targets: impl IntoIterator<Item = Target>) -> Self {
        Self { targets: targets.into_iter().collect(), local_only: false }
    }
}

/// Several who get mail together. It is there for as long as one of its members has a mailbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Group {
    /// Who they are: accounts, aliases, other groups, addresses elsewhere.
    pub members: Vec<Address>,
    /// How they get it.
    pub delivery: GroupDelivery,
    /// Where its mail goes on to.
    pub forward: Vec<Target>,
    /// Whether mail that is forwarded is delivered to the members, too.
    pub keep: bool,
    /// Whether only our own networks and users may write to it.
    pub local_only: bool,
}

impl Group {
    /// A group whose members get a copy each.
    pub fn of(members: impl IntoIterator<Item = Address>) -> Self {
        Self { members: members.into_iter().collect(), ..Self::default() }
    }
}

/// How the members of a group get its mail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupDelivery {
    /// A copy for each.
    #[default]
    Copies,
    /// One message in a folder that all of them see.
    SharedFolder,
}
