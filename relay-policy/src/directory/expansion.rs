//! What a recipient stands for.

use mailwright_mail_model::Address;

use crate::delivery::LocalTarget;

/// Who asks.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Context {
    /// Whether the client is one of our users or in a network of ours: it may write to local-only addresses.
    pub trusted: bool,
}

impl Context {
    /// One of ours, or a stranger.
    pub const fn new(trusted: bool) -> Self {
        Self { trusted }
    }
}

/// What a recipient stands for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expansion {
    /// Mailboxes here, each once.
    pub deliveries: Vec<Delivery>,
    /// Addresses elsewhere, each once.
    pub onward: Vec<Onward>,
    /// Files and programs of this machine, each once.
    pub handed: Vec<Handed>,
    /// Targets of aliases that nobody has: not the sender's fault, so they are left out, and somebody should be told.
    pub dangling: Vec<Address>,
}

impl Expansion {
    /// One mailbox and nothing else.
    pub fn to(delivery: Delivery) -> Self {
        Self { deliveries: vec![delivery], ..Self::default() }
    }

    /// One address elsewhere and nothing else.
    pub fn elsewhere(onward: Onward) -> Self {
        Self { onward: vec![onward], ..Self::default() }
    }

    /// Has somebody else hear of trouble with what goes on, where no list's owner does.
    pub fn report_to(&mut self, sender: Option<&Address>) {
        let Some(sender) = sender else { return };
        for onward in self.onward.iter_mut().filter(|onward| onward.owner.is_none()) {
            onward.sender = Some(sender.clone());
        }
        for handed in self.handed.iter_mut().filter(|handed| handed.owner.is_none()) {
            handed.owner = Some(sender.clone());
        }
    }

    /// Whether nothing would be done.
    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty() && self.onward.is_empty() && self.handed.is_empty()
    }
}

/// One mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// The canonical name of the account, or of the group for its shared folder.
    pub account: String,
    /// What stood behind the separator in the address (RFC 5233).
    pub detail: Option<String>,
    /// Whether it is the folder that a group shares.
    pub shared: bool,
    /// Who the sender is from here on, if a list on the way has an owner.
    pub owner: Option<Address>,
    /// [`Account::since`](super::Account::since), if the recipient is this account itself and no other name of it.
    pub since: Option<i64>,
}

impl Delivery {
    /// Into the mailbox of an account.
    pub fn new(account: impl Into<String>) -> Self {
        Self { account: account.into(), detail: None, shared: false, owner: None, since: None }
    }
}

/// One file or program.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Handed {
    /// Which.
    pub target: LocalTarget,
    /// The canonical name of the entry that leads there.
    pub by: String,
    /// Who the sender is from here on, if a list on the way has an owner.
    pub owner: Option<Address>,
}

impl Handed {
    /// To this file or program, as the entry of this canonical name says.
    pub fn new(target: LocalTarget, by: impl Into<String>) -> Self {
        Self { target, by: by.into(), owner: None }
    }
}

/// One address elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Onward {
    /// Where to.
    pub to: Address,
    /// Why.
    pub reason: OnwardReason,
    /// Who the sender is from here on, if a list on the way has an owner.
    pub owner: Option<Address>,
    /// Who the sender is from here on, if we answer for mail that we forward (see [`Srs`](crate::srs::Srs)).
    pub sender: Option<Address>,
}

impl Onward {
    /// A recipient that is not here.
    pub const fn remote(to: Address) -> Self {
        Self { to, reason: OnwardReason::Remote, owner: None, sender: None }
    }

    /// A recipient in a domain that we relay for.
    pub const fn relayed(to: Address) -> Self {
        Self { to, reason: OnwardReason::Relay, owner: None, sender: None }
    }

    /// A recipient here, by its canonical name, that leads to an address elsewhere.
    pub fn forwarded(to: Address, by: impl Into<String>) -> Self {
        Self { to, reason: OnwardReason::Forward(by.into()), owner: None, sender: None }
    }
}

/// Why a message goes elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnwardReason {
    /// The recipient itself is not here. Whether the client may send there is for a policy to say.
    Remote,
    /// The recipient is in a domain that we relay for.
    Relay,
    /// An entry here leads there: its canonical name.
    Forward(String),
}
