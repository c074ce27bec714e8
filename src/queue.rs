//! Mail going out: what waits in a store's [`Spool`] is sent on, tried again, and reported on.
//!
//! [`StoreInbox`](crate::smtp::StoreInbox) puts messages into the queue in the same commit as into mailboxes; [`Queue`] takes them from
//! there. The store is the truth: what is in memory is only what is under way, and a light note of what is next.

mod attempt;
mod config;
mod enqueue;
mod envelope;
mod fallback;
mod handed;
mod judge;
mod local;
mod look;
mod observer;
mod onward;
mod open;
mod own_address;
mod pipe;
mod post;
mod probe;
mod release;
mod report;
mod run;
mod scheduler;
mod security;
mod sessions;
mod signing;
mod source;
mod sts;
mod tls_report;
mod transaction;
mod under_way;
mod unopened;
mod untold;
mod verifier;
mod wishes;

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use mailwright_mailstore::{Spool, Store, StoreError};
use mailwright_relay_policy::dns::Resolve;
use tokio::sync::Notify;

use crate::smtp::Addressing;

pub use config::{Pipes, Place, QueueConfig, Relay, Suppressions, Tls, TlsLevel};
pub use enqueue::EnqueueError;
pub(crate) use handed::{HandOver, waits_for};
pub use judge::Outcome;
pub use local::is_local;
pub use observer::DeliveryObserver;
pub use own_address::{OwnAddress, OwnListing, OwnListings, OwnLists};
pub use probe::Probed;
pub(crate) use release::{RELEASE, released_message};
pub use release::{Release, Released};
pub use scheduler::Concurrency;
pub use sts::{FetchError, FetchPolicy, KeepPolicies, StsCache, StsFound, StsPolicies};
pub use tls_report::{AppliedPolicy, TlsFailure, TlsObserver, TlsSession};

/// The destination of entries that are not sent: the message is delivered, and the sender is to be told.
pub(crate) const DELIVERED: &str = "report:delivered";
/// The same of a recipient that became several elsewhere.
pub(crate) const EXPANDED: &str = "report:expanded";
/// The same of a member of a group who could not get it; what was said is the recipient's last error, as a reply.
pub(crate) const UNDELIVERED: &str = "report:undelivered";

/// Sends on what waits in a store.
///
/// A program that has mail of its own to send needs this and a store:
///
/// ```no_run
/// use std::sync::Arc;
///
/// use mailwright::{
///     CancellationToken,
///     mail_model::Address,
///     mailstore::{QueueEntry, RecipientState, embedded::Embedded},
///     queue::{DeliveryObserver, Queue, QueueConfig},
///     resolve::{Resolver, ResolverOptions},
///     smtp::Elsewhere,
///     smtp_proto::{Mail, Message, Rcpt},
/// };
///
/// struct Results;
///
/// impl DeliveryObserver for Results {
///     fn attempted(&self, entry: &QueueEntry, tried: &[usize]) {
///         for recipient in tried.iter().filter_map(|place| entry.recipients.get(*place)) {
///             let said = recipient.last_error.as_deref().unwrap_or_default();
///             match recipient.state {
///                 RecipientState::Delivered => println!("{}: {} has it: {said}", entry.id, recipient.address),
///                 RecipientState::Failed => println!("{}: {} was given up: {said}", entry.id, recipient.address),
///                 RecipientState::Waiting => println!("{}: again at {}: {said}", entry.id, entry.due),
///             }
///         }
///     }
/// }
///
/// # async fn example(store: Embedded) -> Result<(), Box<dyn std::error::Error>> {
/// let resolver = Resolver::new(&ResolverOptions::default())?;
/// let mut config = QueueConfig::new("mail.example.org")?;
/// config.observer = Some(Arc::new(Results));
/// let queue = Arc::new(Queue::new(Arc::new(store), Arc::new(resolver), Arc::new(Elsewhere), config));
/// let stop = CancellationToken::new();
/// let running = tokio::spawn(Arc::clone(&queue).run(stop.clone()));
///
/// let from: Address = "shop@example.org".parse()?;
/// let to: Address = "ann@example.net".parse()?;
/// let message = Message::new(Mail::new(from.into()), vec![Rcpt::new(to.into())]);
/// let mut octets = "From: shop@example.org\r\nTo: ann@example.net\r\nSubject: Your order\r\n\r\nIt is on its way.\r\n".as_bytes();
/// let id = queue.enqueue(message, &mut octets).await?;
/// println!("{id} is on the disk");
/// # running.await??;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Queue<S, R, P> {
    store: Arc<S>,
    resolver: Arc<R>,
    addressing: Arc<P>,
    /// What this one goes by: an attempt that has begun ends with it.
    config: Arc<QueueConfig>,
    /// What those go by that begin from now on.
    latest: Arc<RwLock<Arc<QueueConfig>>>,
    sessions: Arc<sessions::Sessions>,
    handings: Arc<handed::Handings>,
    releases: Arc<release::Releases>,
    probes: Arc<probe::Probes>,
    under_way: Arc<under_way::UnderWay>,
    revive: Arc<AtomicBool>,
    called: Arc<Notify>,
    delivered: Arc<AtomicU64>,
    active: Arc<AtomicU64>,
}

impl<S, R, P> Queue<S, R, P>
where
    S: Store + 'static,
    R: Resolve + 'static,
    P: Addressing + 'static,
{
    /// A queue over a store that has a [`Spool`]. `addressing` says whose mailboxes are here: reports to senders go there, and those of others
    /// out by the queue if it sends them on, as [`Elsewhere`](crate::smtp::Elsewhere) does with everything.
    pub fn new(store: Arc<S>, resolver: Arc<R>, addressing: Arc<P>, config: QueueConfig) -> Self {
        let config = Arc::new(config);
        Self {
            store,
            resolver,
            addressing,
            latest: Arc::new(RwLock::new(Arc::clone(&config))),
            config,
            sessions: Arc::default(),
            handings: Arc::default(),
            releases: Arc::default(),
            probes: Arc::default(),
            under_way: Arc::default(),
            revive: Arc::default(),
            called: Arc::default(),
            delivered: Arc::default(),
            active: Arc::default(),
        }
    }

    /// From now on it behaves so. What is being sent at this moment is sent as it was begun, and connections that wait for another message
    /// are given up; what waits goes by the new routes, when it is due. For code that runs in a runtime of tokio.
    pub fn reconfigure(&self, config: QueueConfig) {
        *self.latest.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        // They may be to hosts that are to be asked for more now than they were.
        self.sessions.sweep(Duration::ZERO);
        self.called.notify_one();
    }

    /// The same queue, by the latest configuration.
    fn current(&self) -> Arc<Self> {
        Arc::new(Self {
            store: Arc::clone(&self.store),
            resolver: Arc::clone(&self.resolver),
            addressing: Arc::clone(&self.addressing),
            config: Arc::clone(&self.latest.read().unwrap_or_else(PoisonError::into_inner)),
            latest: Arc::clone(&self.latest),
            sessions: Arc::clone(&self.sessions),
            handings: Arc::clone(&self.handings),
            releases: Arc::clone(&self.releases),
            probes: Arc::clone(&self.probes),
            under_way: Arc::clone(&self.under_way),
            revive: Arc::clone(&self.revive),
            called: Arc::clone(&self.called),
            delivered: Arc::clone(&self.delivered),
            active: Arc::clone(&self.active),
        })
    }

    /// Looks at once at what is due, also at destinations that are left alone since they could not be reached. To have entries sent now, call
    /// this, make them due with [`Settlement::Due`](mailwright_mailstore::Settlement::Due), and call it again: what became due for a
    /// destination that is left alone would be put off.
    pub fn flush(&self) {
        self.revive.store(true, Ordering::Release);
        self.called.notify_one();
    }

    /// How many recipients were delivered to since the start.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// How many entries are being sent now.
    pub fn active(&self) -> u64 {
        self.active.load(Ordering::Relaxed)
    }

    /// Whether those that begin now go by the same configuration.
    fn is_current(&self) -> bool {
        Arc::ptr_eq(&self.config, &self.latest.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn spool(&self) -> Result<&impl Spool, StoreError> {
        self.store.spool().ok_or_else(|| StoreError::Invalid("expected a store with a queue".into()))
    }
}
