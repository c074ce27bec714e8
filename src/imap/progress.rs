//! What takes long tells how far it has come (RFC 9585).

use std::{
    pin::pin,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use mailwright_imap_proto::server::{Serve, Server};
use mailwright_line_proto::{Ask, Deflate};
use mailwright_mailstore::{Store, StoreError, accounts::Accounts};

use super::{Visit, refusal};
use crate::service::Session;

/// How many of how many messages were looked at.
#[derive(Debug, Default)]
pub(super) struct Progress {
    done: AtomicU64,
    goal: AtomicU64,
    /// Why a message could not be looked into, if one could not. In a box, for it is seldom there and each session has room for it.
    trouble: Mutex<Option<Box<StoreError>>>,
}

impl Progress {
    /// So many more are to be looked at.
    pub(super) fn expect(&self, messages: u64) {
        self.goal.fetch_add(messages, Ordering::Relaxed);
    }

    /// So many more were.
    pub(super) fn add(&self, messages: u64) {
        self.done.fetch_add(messages, Ordering::Relaxed);
    }

    /// A message could not be looked into.
    pub(super) fn note(&self, error: StoreError) {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| Box::new(error));
    }

    fn trouble(&self) -> Option<StoreError> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take().map(|error| *error)
    }

    fn begin(&self) {
        self.trouble();
        self.done.store(0, Ordering::Relaxed);
        self.goal.store(0, Ordering::Relaxed);
    }
}

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    /// Does what a command asks for, and tells from time to time how far it has come.
    pub(super) async fn telling<R: Serve, T>(
        &self,
        connection: &mut Session<Deflate<Server>>,
        ask: &Ask<R>,
        work: impl Future<Output = T>,
    ) -> T {
        self.progress.begin();
        let mut work = pin!(work);
        let interval = self.service.options.progress_interval;
        let mut before = 0;
        loop {
            if let Ok(done) = tokio::time::timeout(interval, work.as_mut()).await {
                if let Some(error) = self.progress.trouble() {
                    // RFC 9051 §6.4.4 has NO for what cannot be searched for at all; here the rest is found (§7.1.2).
                    connection.machine().inner_mut().inner_mut().warn(refusal(&error));
                }
                return done;
            }
            let (done, goal) =
                (self.progress.done.load(Ordering::Relaxed), self.progress.goal.load(Ordering::Relaxed));
            // Where nothing goes on nothing is told: the client would wait for ever, and nobody would see that the store hangs.
            if std::mem::replace(&mut before, done) == done {
                continue;
            }
            connection.machine().inner_mut().inner_mut().progress(ask, Some(done), Some(goal));
            // If the connection is broken, its end says so.
            let _ = connection.flush_below(self.service.config.limits.transmit / 2).await;
        }
    }
}
