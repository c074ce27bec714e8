//! Fetching mail from elsewhere: accounts on POP3 and IMAP servers whose messages come into mailboxes here, each exactly once.
//!
//! A [`Fetcher`] runs any number of [`FetchAccount`]s, started and stopped while it runs. What it brings goes through
//! [`Receive`], the path of all mail: filters and Sieve scripts see it. Which messages are here already is in a [`Ledger`];
//! where the store can do so, the line of the ledger is written in the same commit as the message, so that no crash comes between.
//!
//! Messages are known by the server's names for them, and by a fingerprint of their header with their size or the digest of their body.
//! A server that gives all of its messages new names, a new UIDVALIDITY or new unique ids, is therefore seen through, and so is one that
//! hides them for a while. What is deleted there is never one that was not brought: where names are shared, it is looked into first.

mod account;
mod book;
mod fingerprint;
mod folders;
mod imap;
mod ledger;
mod names;
mod notes;
mod pass;
mod patience;
mod pieces;
mod pop3;
mod run;
mod status;
mod stumbling;
mod token;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use mailwright_line_proto::tls::rustls::ClientConfig;
use mailwright_mailstore::StoreError;
use mailwright_smtp_proto::Reply;
use thiserror::Error;
use tokio::sync::{Notify, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::client::{AuthError, ClientError};

pub use account::{FetchAccount, FetchPolicy, FetchProtocol, UnknownProtocol};
pub use fingerprint::{BodyDigest, Fingerprint};
pub use ledger::{Entry, EntryState, Ledger, MessageName, TableLedger};
pub use names::local_names;
pub use pieces::{Arrival, Broken, End, Pieces, Receive, Received};
pub use status::{FetchPhase, FetchStatus};
pub use token::FetchToken;

/// How a [`Fetcher`] behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FetchConfig {
    /// Our name in trace fields, by which a message that goes round in a loop is known.
    pub hostname: String,
    /// Whom to trust; without it only accounts in the clear can be used.
    pub tls: Option<Arc<ClientConfig>>,
    /// How many accounts are fetched from at once; those that wait for news do not count.
    pub connections: usize,
    /// How long to wait after a failure: this, and twice as long after each further one, up to `longest_retry`.
    pub first_retry: Duration,
    /// The longest wait after a failure.
    pub longest_retry: Duration,
    /// The shortest wait after the server did not take the password: servers lock out who keeps trying.
    pub login_retry: Duration,
    /// Larger messages are left where they are, in octets; `None` for no limit but the client's own.
    pub largest: Option<u64>,
    /// How long a message is remembered that the server no longer shows, should it come back.
    pub remember: Duration,
}

impl FetchConfig {
    /// For a server of this name: 16 at a time, waits of one minute to one hour, 15 minutes after a refused login.
    pub fn new(hostname: impl Into<String>) -> Self {
        Self {
            hostname: hostname.into(),
            tls: None,
            connections: 16,
            first_retry: Duration::from_secs(60),
            longest_retry: Duration::from_secs(3_600),
            login_retry: Duration::from_secs(900),
            largest: None,
            remember: Duration::from_secs(90 * 24 * 3_600),
        }
    }
}

/// Why mail could not be fetched.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The server, or the way to it.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The server did not take the login.
    #[error("the server does not let us in: {0}")]
    Login(ClientError),
    /// There is no token to log in with.
    #[error("no access token: {0}")]
    Token(String),
    /// The server does what no server may.
    #[error("the server breaks the protocol: {0}")]
    Server(String),
    /// The server takes so long that nothing comes of it.
    #[error("the server is too slow: nothing comes to an end")]
    Slow,
    /// The account asks for TLS and nobody is trusted.
    #[error("no certificate authority is trusted, and without TLS the password would be shown")]
    NoTrust,
    /// The ledger cannot be read or written: nothing is fetched then, for nobody knows what is here already.
    #[error("the ledger cannot be used: {0}")]
    Ledger(#[from] StoreError),
    /// Nothing can be delivered now.
    #[error("the mailbox does not take mail: {}", .0.to_string().trim_end())]
    Delivery(Reply),
}

impl FetchError {
    /// A refusal at login is one of the login, all else is what it is.
    fn at_login(error: ClientError) -> Self {
        match error {
            ClientError::Refused(_) | ClientError::Auth(_) if !error.is_temporary() => Self::Login(error),
            other => Self::Client(other),
        }
    }

    /// Whether trying again soon would be held against us.
    const fn is_login(&self) -> bool {
        matches!(self, Self::Login(_) | Self::Client(ClientError::Auth(AuthError::NoMechanism { .. })))
    }
}

/// Fetches mail for accounts, until they are stopped. Cheap to clone.
#[derive(Debug)]
pub struct Fetcher<D, L>(Arc<Inner<D, L>>);

impl<D, L> Clone for Fetcher<D, L> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
struct Inner<D, L> {
    current: RwLock<Arc<Current<D>>>,
    ledger: L,
    slots: Semaphore,
    running: Mutex<HashMap<u64, Running>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What each look at an account goes by.
#[derive(Debug)]
struct Current<D> {
    delivery: Arc<D>,
    config: FetchConfig,
}

impl<D, L> Inner<D, L> {
    fn current(&self) -> Arc<Current<D>> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An account that is being fetched from.
#[derive(Debug)]
struct Running {
    stop: CancellationToken,
    done: CancellationToken,
    wake: Arc<Notify>,
    status: Arc<Mutex<FetchStatus>>,
}

impl<D: Receive + 'static, L: Ledger + 'static> Fetcher<D, L> {
    /// Delivers by `delivery` what `ledger` does not know. It ends with `stop`; what is under way then is one of `tasks`.
    pub fn new(
        delivery: Arc<D>,
        ledger: L,
        config: FetchConfig,
        stop: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        let slots = Semaphore::new(config.connections.clamp(1, Semaphore::MAX_PERMITS));
        let current = RwLock::new(Arc::new(Current { delivery, config }));
        Self(Arc::new(Inner { current, ledger, slots, running: Mutex::default(), stop, tasks }))
    }

    /// From the next look on at each account mail is delivered by this, and fetched as this says; but for [`FetchConfig::connections`], which stay as
    /// many as they were.
    pub fn reconfigure(&self, delivery: Arc<D>, config: FetchConfig) {
        let current = Arc::new(Current { delivery, config });
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = current;
    }

    /// Fetches from an account from now on. One of the same id is stopped first, and has ended before this one begins.
    pub fn start(&self, account: FetchAccount) {
        let id = account.id;
        let before = self.running().remove(&id).map(|running| {
            running.stop.cancel();
            running.done
        });
        let running = Running {
            stop: self.0.stop.child_token(),
            done: CancellationToken::new(),
            wake: Arc::default(),
            status: Arc::default(),
        };
        let (stop, wake) = (running.stop.clone(), Arc::clone(&running.wake));
        let (done, status) = (running.done.clone().drop_guard(), Arc::clone(&running.status));
        self.running().insert(id, running);
        let inner = Arc::clone(&self.0);
        self.0.tasks.spawn(async move {
            let _done = done;
            if let Some(before) = before {
                before.cancelled().await;
            }
            inner.run(account, stop, wake, status).await;
        });
    }

    /// Ends fetching from an account, and waits until what is under way has ended. What is known of its messages stays, until
    /// [`Ledger::forget`].
    pub async fn stop(&self, id: u64) {
        let done = self.running().remove(&id).map(|running| {
            running.stop.cancel();
            running.done
        });
        if let Some(done) = done {
            done.cancelled().await;
        }
    }

    /// Fetches now, if the account runs; whether it does.
    pub fn now(&self, id: u64) -> bool {
        let running = self.running();
        running.get(&id).map(|running| running.wake.notify_one()).is_some()
    }

    /// How an account does; `None` if it is not fetched from.
    pub fn status(&self, id: u64) -> Option<FetchStatus> {
        let running = self.running();
        let status = running.get(&id)?.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Some(status)
    }

    /// What is known of its messages.
    pub fn ledger(&self) -> &L {
        &self.0.ledger
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Running>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
