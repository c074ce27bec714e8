//! Mail that its host comes for: it is sent on the connection on which the host asked (ATRN, RFC 2645).
//!
//! The loop of the queue sends it as it sends everything, so that no message is under way twice. Here is only the connection, and
//! what is known of how far it has come.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mailwright_mail_model::Domain;
use mailwright_mailstore::{QueueEntry, QueueNumber, Settlement, Spool, Store, StoreError};
use mailwright_relay_policy::{delivery::Diagnosis, dns::Resolve};
use mailwright_smtp_proto::{Reply, client::Config};
use tokio::{sync, time};

use super::{
    Outcome, Queue, attempt::Unreached, open::requires, release::goes_on, report::seconds, sessions::Open,
};
use crate::{
    client::SmtpClient,
    service::shown,
    smtp::{Addressing, TurnedServer},
};

/// How many entries are read together.
const PAGE: usize = 1_000;
/// How often it is looked whether what is waited for is still there: somebody may have taken it out of the queue.
const LOOK: Duration = Duration::from_secs(5);
/// How often it is looked for more: what came meanwhile, or was under way at the beginning.
const PASSES: usize = 10;

/// What hands mail over.
pub(crate) trait HandOver: Send + Sync {
    /// Whether somebody has come for the mail of one of these domains already.
    fn is_busy(&self, domains: &[Domain]) -> bool;

    /// See [`Queue::hand_over`].
    fn hand_over<'a>(
        &'a self,
        domains: Vec<Domain>,
        turned: TurnedServer,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}

/// The connections on which mail is handed over now, by domain.
#[derive(Debug, Default)]
pub(super) struct Handings(Mutex<HashMap<String, Arc<Handing>>>);

/// One of them.
pub(super) struct Handing {
    /// The connection; none before the host has greeted, and none any more if it broke.
    line: sync::Mutex<Option<Open>>,
    progress: Mutex<Progress>,
    changed: sync::Notify,
}

#[derive(Debug, Default)]
struct Progress {
    /// What is to be attempted.
    pending: HashSet<QueueNumber>,
    /// What was sent, or refused.
    tried: HashSet<QueueNumber>,
    /// How often what was to be attempted was, whichever way it went.
    attempts: HashMap<QueueNumber, u32>,
    broken: bool,
}

/// Takes the connection out of the list, however it ends.
struct Listed<'a>(&'a Handings, Arc<Handing>);

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.0.lock().retain(|_, other| !Arc::ptr_eq(other, &self.1));
    }
}

impl Handings {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Handing>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether mail for this domain goes over one of them.
    pub(super) fn has(&self, domain: &str) -> bool {
        self.lock().contains_key(domain)
    }

    fn of(&self, domain: &str) -> Option<Arc<Handing>> {
        self.lock().get(domain).cloned()
    }

    /// An entry was attempted, or is no more to be.
    pub(super) fn attempted(&self, number: QueueNumber) {
        for handing in self.lock().values() {
            {
                let mut progress = handing.progress();
                if progress.pending.remove(&number) {
                    *progress.attempts.entry(number).or_default() += 1;
                }
            }
            handing.changed.notify_one();
        }
    }

    /// Lists it, for those of the domains that nobody has come for yet.
    fn list(&self, domains: &[Domain], handing: &Arc<Handing>) -> Listed<'_> {
        let mut all = self.lock();
        for domain in domains {
            all.entry(domain.key().to_owned()).or_insert_with(|| Arc::clone(handing));
        }
        Listed(self, Arc::clone(handing))
    }
}

impl Progress {
    /// Whether nothing more is to come of it. Once it may have been under way already by another way when its host came, but not twice.
    fn is_over(&self, number: QueueNumber) -> bool {
        self.tried.contains(&number) || self.attempts.get(&number).is_some_and(|count| *count > 1)
    }
}

impl Handing {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Handing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handing").field("progress", &self.progress).finish_non_exhaustive()
    }
}

impl<S, R, P> Queue<S, R, P>
where
    S: Store + 'static,
    R: Resolve + 'static,
    P: Addressing + 'static,
{
    /// Sends all that waits for these domains to the host at the other end of a connection on which the roles have turned (ATRN,
    /// RFC 2645), and takes leave. What the host does not take is judged as ever. [`run`](Self::run) must be running.
    pub async fn hand_over(&self, domains: Vec<Domain>, turned: TurnedServer) {
        let mut connection = turned.0;
        let peer = shown(connection.machine().inner().session().peer());
        let handing = Arc::new(Handing {
            line: sync::Mutex::new(None),
            progress: Mutex::default(),
            changed: sync::Notify::new(),
        });
        // From now on nobody else gets the same.
        let listed = self.handings.list(&domains, &handing);
        let (hello, config) = (self.current().config.hostname.clone(), Arc::new(Config::default()));
        let client = match SmtpClient::turned(connection, hello, config).await {
            Ok(client) => client,
            Err(error) => {
                tracing::info!(protocol = "smtp", peer, %error, "a host that came for its mail does not take it");
                return;
            }
        };
        *handing.line.lock().await =
            Some(Open { client, host: peer.clone(), exchanger: peer.clone(), messages: 0, lane: None });
        for _ in 0..PASSES {
            match self.pass(&domains, &handing).await {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(%error, "the queue cannot be read");
                    break;
                }
            }
        }
        drop(listed);
        let (count, broken) = {
            let progress = handing.progress();
            (progress.tried.len(), progress.broken)
        };
        tracing::info!(protocol = "smtp", peer, count, broken, "mail was handed over");
        let open = handing.line.lock().await.take();
        if let Some(open) = open {
            // What is said to the farewell changes nothing.
            let _ = open.client.quit().await;
        }
    }

    /// Has all that waits attempted once; says how much that was.
    async fn pass(&self, domains: &[Domain], handing: &Handing) -> Result<usize, StoreError> {
        let (spool, mut after, mut count) = (self.spool()?, None, 0);
        loop {
            let page = spool.entries(after, PAGE).await?;
            let wanted: Vec<QueueNumber> = {
                let mut progress = handing.progress();
                let wanted = page.iter().filter(|entry| !entry.held && waits_for(entry, domains));
                let wanted = wanted.map(|entry| entry.number);
                let wanted: Vec<_> = wanted.filter(|number| !progress.is_over(*number)).collect();
                progress.pending.extend(wanted.iter().copied());
                wanted
            };
            if !wanted.is_empty() {
                count += wanted.len();
                let now = seconds();
                let due: Vec<_> = wanted.iter().map(|number| Settlement::Due(*number, now)).collect();
                // Before, too: the destination may be one that is left alone, and what is due for it would be put off.
                self.flush();
                spool.settle(&due).await?;
                self.flush();
                self.attempts(handing).await?;
            }
            match page.last() {
                _ if handing.progress().broken => return Ok(0),
                Some(last) if page.len() == PAGE => after = Some(last.number),
                _ => return Ok(count),
            }
        }
    }

    /// Waits until all that was wanted was attempted, or nothing more can be.
    async fn attempts(&self, handing: &Handing) -> Result<(), StoreError> {
        loop {
            let pending: Vec<QueueNumber> = {
                let progress = handing.progress();
                if progress.broken || progress.pending.is_empty() {
                    return Ok(());
                }
                progress.pending.iter().copied().collect()
            };
            tokio::select! {
                () = handing.changed.notified() => {}
                () = time::sleep(LOOK) => {
                    for number in pending {
                        let entry = self.spool()?.entry(number).await?;
                        if entry.is_none_or(|entry| entry.held || entry.due > seconds()) {
                            handing.progress().pending.remove(&number);
                        }
                    }
                }
            }
        }
    }

    /// Sends to the host that has come for the mail of a domain, if one has.
    pub(super) async fn deliver_on_demand(
        &self,
        domain: &str,
        entry: &Arc<QueueEntry>,
        places: &[usize],
    ) -> Result<Vec<Outcome>, Unreached> {
        let nobody = || {
            let text = format!("The mail of {domain} waits until its host comes for it (ATRN)");
            Unreached::one(Diagnosis::found(Reply::transient((4, 1), text)))
        };
        let handing = self.handings.of(domain).ok_or_else(nobody)?;
        let mut line = handing.line.lock().await;
        let Some(open) = line.as_mut() else { return Err(nobody()) };
        handing.progress().tried.insert(entry.number);
        // RFC 8689 §4.2.1, of a host that has proved by its login who it is
        if requires(entry) && !(open.client.tls().is_some() && open.client.capabilities().require_tls) {
            let text =
                "The sender requires TLS all the way, and the host does not offer REQUIRETLS within TLS";
            let diagnosis = Diagnosis::found_at(&*open.host, Reply::permanent((7, 30), text));
            return Err(Unreached::one(diagnosis));
        }
        let carried = self.transfer(open, "atrn:", entry, places, false).await;
        if !open.client.takes_more() {
            line.take().into_iter().for_each(Open::leave);
            handing.progress().broken = true;
            handing.changed.notify_one();
        }
        carried.outcomes.map_err(|unreached| Unreached::one(unreached.diagnosis))
    }
}

impl<S, R, P> HandOver for Queue<S, R, P>
where
    S: Store + 'static,
    R: Resolve + 'static,
    P: Addressing + 'static,
{
    fn is_busy(&self, domains: &[Domain]) -> bool {
        domains.iter().any(|domain| self.handings.has(domain.key()))
    }

    fn hand_over<'a>(
        &'a self,
        domains: Vec<Domain>,
        turned: TurnedServer,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(self.hand_over(domains, turned))
    }
}

/// Whether an entry has mail for one of these domains.
pub(crate) fn waits_for(entry: &QueueEntry, domains: &[Domain]) -> bool {
    // What is held back until its time does not wait for its host yet, and what was given another way does not at all.
    goes_on(entry)
        && entry.route.is_none()
        && entry.waiting().any(|recipient| {
            let key = recipient.address.domain().key();
            domains.iter().any(|domain| domain.key() == key)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_another_way_though_its_host_is_here_is_attempted_twice_and_no_more() {
        let handing = Arc::new(Handing {
            line: sync::Mutex::new(None),
            progress: Mutex::default(),
            changed: sync::Notify::new(),
        });
        let handings = Handings::default();
        let _listed = handings.list(&["b.example".parse().unwrap()], &handing);
        let number = QueueNumber::new(7);
        // Nobody has wanted it yet.
        handings.attempted(number);
        for over in [false, true] {
            handing.progress().pending.insert(number);
            handings.attempted(number);
            handings.attempted(number);
            assert_eq!(handing.progress().is_over(number), over);
        }
        // What was sent over the line is over at once.
        let other = QueueNumber::new(8);
        handing.progress().tried.insert(other);
        assert!(handing.progress().is_over(other) && handing.progress().pending.is_empty());
    }
}
