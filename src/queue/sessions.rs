//! Connections that wait for the next message to the same destination.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::client::SmtpClient;

/// An open connection, said hello and logged in.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) client: SmtpClient,
    /// The host, as it is named in errors: `mx.b.example[192.0.2.1]`.
    pub(super) host: String,
    /// Its name alone, as the exchangers of a destination have it.
    pub(super) exchanger: String,
    /// How many messages went over it.
    pub(super) messages: u32,
    /// For which messages it is kept; none if it is for one only.
    pub(super) lane: Option<String>,
}

impl Open {
    /// Takes leave, beside everything else.
    pub(super) fn leave(self) {
        tokio::spawn(async move {
            // Whoever does not answer the farewell is left standing.
            let _ = tokio::time::timeout(Duration::from_secs(5), self.client.quit()).await;
        });
    }
}

/// The connections that nobody uses now.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<String, Vec<(Instant, Open)>>>);

impl Sessions {
    /// A connection of this kind, the last one that was used.
    pub(super) fn take(&self, lane: &str, idle: Duration) -> Option<Open> {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = sessions.get_mut(lane)?;
        let (since, open) = kept.pop()?;
        (since.elapsed() < idle).then_some(open)
    }

    /// Keeps a connection for the next message.
    pub(super) fn keep(&self, open: Open) {
        let Some(lane) = open.lane.clone() else { return open.leave() };
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.entry(lane).or_default().push((Instant::now(), open));
    }

    /// Takes leave of those that have waited for long enough.
    pub(super) fn sweep(&self, idle: Duration) {
        let mut old = Vec::new();
        {
            let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.retain(|_, kept| {
                let (gone, stay): (Vec<_>, Vec<_>) =
                    kept.drain(..).partition(|(since, _)| since.elapsed() >= idle);
                old.extend(gone);
                *kept = stay;
                !kept.is_empty()
            });
        }
        for (_, open) in old {
            open.leave();
        }
    }
}
