//! IDLE: waiting for the server's news.

use std::{future::Future, pin::pin, time::Duration};

use mailwright_imap_proto::{
    client::{Event, Idle},
    response::Response,
};
use tokio::time::{Instant, sleep_until};

use super::ImapClient;
use crate::client::ClientError;

/// How long an IDLE lasts at least before the next one begins, whoever has ended it.
const LEAST: Duration = Duration::from_secs(5);

impl ImapClient {
    /// Waits for the next change of the open mailbox: [`Event::Exists`], [`Event::Recent`], [`Event::Expunged`],
    /// [`Event::Fetched`] or [`Event::Flags`], or [`Response::Vanished`] after [`sync`](Self::sync) from a server that has QRESYNC; or of the
    /// counts of another one, if NOTIFY asks for these. One that is among the [`news`](Self::news) already is given at once.
    /// `None` once `stop` has completed: a timer, a token, or [`pending`](std::future::pending) to wait for ever.
    ///
    /// If the server has not begun by then, the next call ends it. IDLE is begun anew as often as RFC 2177 §3 wants, after a pause if the server ends it at once. This future may be dropped instead of
    /// stopped.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn idle(&mut self, stop: impl Future<Output = ()>) -> Result<Option<Event>, ClientError> {
        let mut stop = pin!(stop);
        let mut stopped = false;
        while !stopped && !self.news.iter().any(is_change) {
            // The one before may be waiting to begin, too.
            tokio::select! {
                biased;
                settled = self.settle() => settled?,
                () = &mut stop => break,
            }
            let ticket = self.link.machine().call(Idle)?;
            let again = Instant::now() + LEAST.min(self.config.idle);
            self.idling = Some(ticket);
            let mut begun = false;
            while self.idling.is_some() {
                let event = tokio::select! {
                    event = self.link.next() => event?,
                    () = &mut stop, if !stopped => {
                        stopped = true;
                        self.link.machine().cancel(ticket);
                        if !begun {
                            // Nobody knows when it will begin. The next call ends it.
                            return Ok(self.news.take_first(is_change));
                        }
                        continue;
                    }
                };
                match event {
                    Event::Idle(answered, outcome) if answered == ticket => {
                        self.idling = None;
                        outcome?;
                    }
                    Event::Idling(_) => begun = true,
                    event => {
                        let changed = is_change(&event);
                        if changed {
                            self.link.machine().cancel(ticket);
                        }
                        // Kept even if it is the one that is waited for, so that it outlives this future.
                        self.note(event);
                        if changed && !begun {
                            return Ok(self.news.take_first(is_change));
                        }
                    }
                }
            }
            if !stopped && !self.news.iter().any(is_change) {
                tokio::select! {
                    () = sleep_until(again) => {}
                    () = &mut stop => stopped = true,
                }
            }
        }
        Ok(self.news.take_first(is_change))
    }
}

/// Whether it is about the mailbox that is open.
pub(super) fn is_of_mailbox(event: &Event) -> bool {
    is_change(event) && !matches!(event, Event::Unasked(Response::MailboxStatus(_)))
}

fn is_change(event: &Event) -> bool {
    matches!(
        event,
        Event::Exists(_)
            | Event::Recent(_)
            | Event::Expunged { .. }
            | Event::Fetched { .. }
            | Event::Flags(_)
            // RFC 5465 §5.1
            | Event::Unasked(Response::MailboxStatus(_))
            // RFC 7162 §3.2.10: instead of EXPUNGE, once QRESYNC is enabled.
            | Event::Unasked(Response::Vanished { earlier: false, .. })
    )
}
