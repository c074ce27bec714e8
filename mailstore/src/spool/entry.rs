//! A message that waits to be sent on.

use std::fmt;

use mailwright_mail_model::{Address, ReversePath};

use crate::ObjectId;

/// Which entry of a queue; higher than that of every entry that came before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueNumber(u64);

impl QueueNumber {
    /// For stores, and for who wrote it down.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for QueueNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A message for recipients that are reached by one way. All times are seconds since 1970-01-01, UTC.
///
/// ```
/// use mailwright_mail_model::ReversePath;
/// use mailwright_mailstore::{QueueEntry, QueueRecipient};
///
/// let mut entry = QueueEntry::new("9C4DCEE3382", ReversePath::parse(b"<ann@a.example>")?, "b.example", 1_700_000_000);
/// entry.recipients.push(QueueRecipient::new("bob@b.example".parse()?));
/// assert_eq!(entry.due, entry.arrival);
/// assert_eq!(entry.waiting().count(), 1);
/// # Ok::<(), mailwright_mail_model::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueEntry {
    /// The store's number for it; 0 before it is committed.
    pub number: QueueNumber,
    /// What the message is called in replies, trace fields and the log. Entries of one message share it.
    pub id: String,
    /// The sender of the envelope.
    pub sender: ReversePath,
    /// The account that submitted it, if one did.
    pub user: Option<String>,
    /// The message's own `Message-ID`, if it has one.
    pub message_id: Option<String>,
    /// By what entries are put together that go one way: a domain or a host. Whoever queues chooses it.
    pub destination: String,
    /// Whom it is for. Those that are done with stay in the list until all are.
    pub recipients: Vec<QueueRecipient>,
    /// When it arrived.
    pub arrival: u64,
    /// When to try next. Never before [`release`](Self::release): a store puts it there.
    pub due: u64,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was tried last.
    pub attempted: Option<u64>,
    /// Why it is still here.
    pub last_error: Option<String>,
    /// Whether the sender was told that it takes long.
    pub warned: bool,
    /// Whether it stays until it is released.
    pub held: bool,
    /// ENVID (RFC 3461 §4.4), decoded.
    pub envelope_id: Option<String>,
    /// RET (RFC 3461 §4.3).
    pub return_content: Option<ReturnContent>,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// BODY=8BITMIME (RFC 6152).
    pub eight_bit: bool,
    /// REQUIRETLS (RFC 8689).
    pub require_tls: bool,
    /// MT-PRIORITY (RFC 6710), -9 to 9: the higher goes first.
    pub priority: i8,
    /// BY (RFC 2852).
    pub deadline: Option<Deadline>,
    /// HOLDFOR and HOLDUNTIL (RFC 4865): nothing is done with it before.
    pub release: Option<u64>,
    /// When it is given up, if somebody has set that: in place of what the schedule says. Changed by
    /// [`Settlement::Expire`](super::Settlement::Expire) alone.
    pub expires: Option<u64>,
    /// The next hop, if somebody has set that: in place of what routes say. Changed by
    /// [`Settlement::Reroute`](super::Settlement::Reroute) alone.
    pub route: Option<String>,
    /// SOLICIT (RFC 3865): the classes of advertising that it belongs to.
    pub solicitation: Option<String>,
    /// XVERP: the two characters with which each recipient gets a sender of its own, in a message that is held back until its
    /// [`release`](Self::release).
    pub verp: Option<String>,
    /// How many octets at the start of the body are for the mailboxes here and are not sent: `Return-Path`.
    pub skip: u64,
    /// The octets of the body, `skip` included. The store's to say.
    pub size: u64,
    /// The body. The store's to say.
    pub object: Option<ObjectId>,
}

impl QueueEntry {
    /// A message that is due at once, without recipients yet.
    pub fn new(
        id: impl Into<String>,
        sender: ReversePath,
        destination: impl Into<String>,
        arrival: u64,
    ) -> Self {
        Self {
            number: QueueNumber::default(),
            id: id.into(),
            sender,
            user: None,
            message_id: None,
            destination: destination.into(),
            recipients: Vec::new(),
            arrival,
            due: arrival,
            attempts: 0,
            attempted: None,
            last_error: None,
            warned: false,
            held: false,
            envelope_id: None,
            return_content: None,
            smtputf8: false,
            eight_bit: false,
            require_tls: false,
            priority: 0,
            deadline: None,
            release: None,
            expires: None,
            route: None,
            solicitation: None,
            verp: None,
            skip: 0,
            size: 0,
            object: None,
        }
    }

    /// Since when it has been waiting to be sent: since it arrived, or was released.
    pub fn began(&self) -> u64 {
        self.release.map_or(self.arrival, |release| release.max(self.arrival))
    }

    /// The recipients that nothing is decided about yet.
    pub fn waiting(&self) -> impl Iterator<Item = &QueueRecipient> {
        self.recipients.iter().filter(|recipient| recipient.state == RecipientState::Waiting)
    }
}

/// By when a message is to be delivered, and what happens otherwise (RFC 2852).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Deadline {
    /// When it passes, in seconds since 1970-01-01, UTC.
    pub at: u64,
    /// Whether the message is given up then; else its sender is told, once, and the trying goes on.
    pub gives_up: bool,
    /// Whether the sender is told of each host that passes the message on.
    pub traced: bool,
    /// Whether the sender was told that it has passed.
    pub told: bool,
}

impl Deadline {
    /// A deadline that nobody was told of yet.
    pub const fn new(at: u64, gives_up: bool, traced: bool) -> Self {
        Self { at, gives_up, traced, told: false }
    }
}

/// Who a recipient has to be (RFC 7293).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ValidSince {
    /// Since when whoever has the mailbox must have had it, in seconds since 1970-01-01, UTC.
    pub moment: i64,
    /// Whether the message goes on to a host that cannot look.
    pub continues: bool,
}

impl ValidSince {
    /// Whoever has had the mailbox since this moment.
    pub const fn new(moment: i64, continues: bool) -> Self {
        Self { moment, continues }
    }
}

/// One recipient of a [`QueueEntry`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueRecipient {
    /// Where it goes.
    pub address: Address,
    /// ORCPT (RFC 3461 §4.2), as it was given: `rfc822;ann@a.example`, decoded.
    pub original: Option<String>,
    /// NOTIFY (RFC 3461 §4.1).
    pub notify: Notify,
    /// RRVS (RFC 7293).
    pub valid_since: Option<ValidSince>,
    /// What became of it.
    pub state: RecipientState,
    /// What was said about it last: by which host, with which reply.
    pub last_error: Option<String>,
}

impl QueueRecipient {
    /// A recipient that nothing special was asked for.
    pub const fn new(address: Address) -> Self {
        Self {
            address,
            original: None,
            notify: Notify::DEFAULT,
            valid_since: None,
            state: RecipientState::Waiting,
            last_error: None,
        }
    }
}

/// What became of a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "there is no fourth way")]
pub enum RecipientState {
    /// Nothing yet.
    Waiting,
    /// The next host has it.
    Delivered,
    /// It was given up.
    Failed,
}

/// What the sender wants to hear of (RFC 3461 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Notify {
    /// Of success.
    pub success: bool,
    /// Of failure.
    pub failure: bool,
    /// Of delay.
    pub delay: bool,
    /// Whether the sender said so; if not, the next host is not told either.
    pub asked: bool,
}

impl Notify {
    /// What is meant where nothing is said: failure, and delay if we think it useful.
    pub const DEFAULT: Self = Self { success: false, failure: true, delay: true, asked: false };
    /// Nothing at all.
    pub const NEVER: Self = Self { success: false, failure: false, delay: false, asked: true };

    /// What the sender asked for.
    pub const fn asked(success: bool, failure: bool, delay: bool) -> Self {
        Self { success, failure, delay, asked: true }
    }
}

impl Default for Notify {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// How much of the message a report of failure returns (RFC 3461 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "RFC 3461 has two")]
pub enum ReturnContent {
    /// All of it.
    Full,
    /// Its header.
    Headers,
}
