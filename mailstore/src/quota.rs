//! The facet of a store that counts what users take up, and refuses what is too much (RFC 9208).

use crate::store::Never;
use crate::{Result, StoreError, User};

/// What each user has, and may have. Every user is one quota root, named as the user is.
///
/// The store refuses by itself, with [`OverQuota`](StoreError::OverQuota): a delivery, APPEND or COPY past the limits of
/// octets or messages, CREATE and RENAME past that of mailboxes, SETMETADATA past that of annotations. Limits below what is there
/// already take nothing away.
pub trait Quota: Send + Sync {
    /// What a user has and may have. Costs the same whatever there is.
    fn quota_of(&self, user: &User) -> impl Future<Output = Result<QuotaStatus>> + Send;

    /// Gives a user limits in place of the default; with `None`, the default again.
    fn set_quota(&self, user: &User, limits: Option<QuotaLimits>) -> impl Future<Output = Result<()>> + Send;

    /// Every user that has mail or limits of their own, in time proportional to their number.
    fn quotas(&self) -> impl Future<Output = Result<Vec<QuotaStatus>>> + Send;

    /// Whether a message of so many octets would be taken: what RCPT asks before it arrives.
    ///
    /// # Errors
    /// [`OverQuota`](StoreError::OverQuota).
    fn check_quota(&self, user: &User, octets: u64) -> impl Future<Output = Result<()>> + Send {
        async move {
            let status = self.quota_of(user).await?;
            let more = QuotaUsage { storage: octets, messages: 1, ..QuotaUsage::default() };
            status.limits.admit(&status.usage, &more)
        }
    }

    /// Waits until a user's usage passes one of the thresholds the store was given, then tells of all that did since
    /// [`settle_warnings`](Self::settle_warnings). A threshold is told of again only after the usage fell below it.
    ///
    /// A store that gives no warnings waits for ever.
    fn quota_warnings(&self) -> impl Future<Output = Result<Vec<QuotaWarning>>> + Send {
        std::future::pending()
    }

    /// Notes that these warnings were passed on, so that they are not told again, even after a crash.
    fn settle_warnings(&self, warnings: &[QuotaWarning]) -> impl Future<Output = Result<()>> + Send {
        let _ = warnings;
        std::future::ready(Ok(()))
    }
}

/// How much of each resource of RFC 9208 §5 there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuotaUsage {
    /// STORAGE: octets of all messages. The protocol counts in units of 1,024.
    pub storage: u64,
    /// MESSAGE: messages.
    pub messages: u64,
    /// MAILBOX: mailboxes.
    pub mailboxes: u64,
    /// ANNOTATION-STORAGE: octets of all annotations, names and values. The protocol counts in units of 1,024.
    pub annotations: u64,
}

impl QuotaUsage {
    /// Nothing of anything.
    pub const NOTHING: Self = Self { storage: 0, messages: 0, mailboxes: 0, annotations: 0 };

    /// So many messages, of so many octets together.
    pub const fn of_messages(messages: u64, storage: u64) -> Self {
        Self { storage, messages, ..Self::NOTHING }
    }

    /// How much there is of one resource.
    pub const fn of(&self, resource: Resource) -> u64 {
        match resource {
            Resource::Storage => self.storage,
            Resource::Message => self.messages,
            Resource::Mailbox => self.mailboxes,
            Resource::AnnotationStorage => self.annotations,
        }
    }
}

/// How much of each resource there may be; `None` is no limit.
///
/// ```
/// use mailwright_mailstore::{QuotaLimits, QuotaUsage, StoreError};
///
/// let limits = QuotaLimits::default().storage(Some(1_000));
/// let (has, comes) = (QuotaUsage::of_messages(7, 900), QuotaUsage::of_messages(1, 101));
/// assert_eq!(limits.admit(&has, &comes), Err(StoreError::OverQuota));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuotaLimits {
    /// Octets of all messages.
    pub storage: Option<u64>,
    /// Messages.
    pub messages: Option<u64>,
    /// Mailboxes, `INBOX` among them.
    pub mailboxes: Option<u64>,
    /// Octets of all annotations.
    pub annotations: Option<u64>,
}

impl QuotaLimits {
    /// No limit at all.
    pub const NONE: Self = Self { storage: None, messages: None, mailboxes: None, annotations: None };

    /// The same limits, with this many octets of messages.
    #[must_use]
    pub const fn storage(mut self, octets: Option<u64>) -> Self {
        self.storage = octets;
        self
    }

    /// The same limits, with this many messages.
    #[must_use]
    pub const fn messages(mut self, messages: Option<u64>) -> Self {
        self.messages = messages;
        self
    }

    /// The same limits, with this many mailboxes.
    #[must_use]
    pub const fn mailboxes(mut self, mailboxes: Option<u64>) -> Self {
        self.mailboxes = mailboxes;
        self
    }

    /// The same limits, with this many octets of annotations.
    #[must_use]
    pub const fn annotations(mut self, octets: Option<u64>) -> Self {
        self.annotations = octets;
        self
    }

    /// The limit of one resource.
    pub const fn of(&self, resource: Resource) -> Option<u64> {
        match resource {
            Resource::Storage => self.storage,
            Resource::Message => self.messages,
            Resource::Mailbox => self.mailboxes,
            Resource::AnnotationStorage => self.annotations,
        }
    }

    /// Whether there may be `more` beside what there is. Only what grows is looked at.
    ///
    /// # Errors
    /// [`OverQuota`](StoreError::OverQuota).
    pub fn admit(&self, usage: &QuotaUsage, more: &QuotaUsage) -> Result<()> {
        let over = Resource::ALL.iter().copied().any(|resource| {
            let grown = usage.of(resource).saturating_add(more.of(resource));
            more.of(resource) > 0 && self.of(resource).is_some_and(|limit| grown > limit)
        });
        if over { Err(StoreError::OverQuota) } else { Ok(()) }
    }
}

/// What RFC 9208 §5 counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Resource {
    /// STORAGE (§5.1).
    Storage,
    /// MESSAGE (§5.2).
    Message,
    /// MAILBOX (§5.3).
    Mailbox,
    /// ANNOTATION-STORAGE (§5.4).
    AnnotationStorage,
}

impl Resource {
    /// All four.
    pub const ALL: &'static [Self] = &[Self::Storage, Self::Message, Self::Mailbox, Self::AnnotationStorage];

    /// Its name in the protocol.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Storage => "STORAGE",
            Self::Message => "MESSAGE",
            Self::Mailbox => "MAILBOX",
            Self::AnnotationStorage => "ANNOTATION-STORAGE",
        }
    }
}

/// What a user has and may have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuotaStatus {
    /// Whose it is.
    pub user: User,
    /// What there is.
    pub usage: QuotaUsage,
    /// What there may be.
    pub limits: QuotaLimits,
    /// Whether the limits are the user's own, and not the default.
    pub own: bool,
}

impl QuotaStatus {
    /// For stores.
    pub const fn new(user: User, usage: QuotaUsage, limits: QuotaLimits, own: bool) -> Self {
        Self { user, usage, limits, own }
    }
}

/// A user's usage has passed a threshold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuotaWarning {
    /// Whose.
    pub user: User,
    /// Of what.
    pub resource: Resource,
    /// The threshold, in percent of the limit.
    pub percent: u8,
}

impl QuotaWarning {
    /// For stores.
    pub const fn new(user: User, resource: Resource, percent: u8) -> Self {
        Self { user, resource, percent }
    }
}

impl Quota for Never {
    async fn quota_of(&self, _: &User) -> Result<QuotaStatus> {
        match *self {}
    }

    async fn set_quota(&self, _: &User, _: Option<QuotaLimits>) -> Result<()> {
        match *self {}
    }

    async fn quotas(&self) -> Result<Vec<QuotaStatus>> {
        match *self {}
    }
}
