//! ATRN (RFC 2645): a host that has no address of its own comes for its mail, and gets it on the connection it came on.

use std::{fmt, sync::Arc};

use mailwright_mail_model::Domain;
use mailwright_mailstore::{Spool, Store};
use mailwright_relay_policy::{Session as Conversation, dns::Resolve};
use mailwright_smtp_proto::{Atrn, Reply, server::Server};

use super::{Addressing, SendBack, StoreInbox};
use crate::{
    filter::Filter,
    queue::{HandOver, Queue, waits_for},
    service::{Session, shown},
};

/// A connection on which the roles have turned: the client that came is the server now, and is to greet.
#[derive(Debug)]
pub struct TurnedServer(pub(crate) Session<Server>);

/// Who may come for the mail of which domains, and what sends it.
#[derive(Clone)]
pub struct OnDemand {
    domains: Arc<OwnDomains>,
    queue: Arc<dyn HandOver>,
}

/// Says which domains are an account's.
type OwnDomains = dyn Fn(&str) -> Vec<Domain> + Send + Sync;

impl OnDemand {
    /// `domains` says whose mail an account may come for; it waits in `queue`.
    pub fn new<S, R, P>(
        domains: impl Fn(&str) -> Vec<Domain> + Send + Sync + 'static,
        queue: Arc<Queue<S, R, P>>,
    ) -> Self
    where
        S: Store + 'static,
        R: Resolve + 'static,
        P: Addressing + 'static,
    {
        Self { domains: Arc::new(domains), queue }
    }
}

impl fmt::Debug for OnDemand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnDemand").finish_non_exhaustive()
    }
}

/// How many entries are read together.
const PAGE: usize = 1_000;

impl<S: Store, R: Addressing, F: Filter> SendBack for StoreInbox<S, R, F> {
    async fn grant(&self, session: &Conversation, atrn: &Atrn) -> Result<Vec<Domain>, Reply> {
        let Some((on_demand, spool)) = self.on_demand.as_ref().zip(self.store.spool()) else {
            return Err(not_now());
        };
        let own = session.user.as_deref().map(|user| (on_demand.domains)(user)).unwrap_or_default();
        let theirs = |domain: &Domain| own.iter().any(|own| own.key() == domain.key());
        // RFC 2645 §5.2.1: none if any of them is not the client's.
        if own.is_empty() || !atrn.domains.iter().all(theirs) {
            tracing::info!(protocol = "smtp", peer = shown(&session.peer), user = session.user, %atrn, "not its domains");
            return Err(reply(450, (4, 7, 1), "Not for this account"));
        }
        let domains = if atrn.domains.is_empty() { own } else { atrn.domains.clone() };
        if on_demand.queue.is_busy(&domains) {
            return Err(reply(451, (4, 5, 1), "Somebody has come for this mail and is getting it"));
        }
        let mut after = None;
        loop {
            let page = spool.entries(after, PAGE).await.map_err(|_| not_now())?;
            if page.iter().any(|entry| !entry.held && waits_for(entry, &domains)) {
                return Ok(domains);
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.number),
                _ => return Err(reply(453, (4, 0, 0), "You have no mail")),
            }
        }
    }

    async fn send_back(&self, domains: Vec<Domain>, turned: TurnedServer) {
        if let Some(on_demand) = &self.on_demand {
            on_demand.queue.hand_over(domains, turned).await;
        }
    }
}

fn not_now() -> Reply {
    reply(451, (4, 3, 0), "Not possible now")
}

fn reply(code: u16, status: (u8, u16, u16), text: &'static str) -> Reply {
    Reply::new(code, status, text).unwrap_or(Reply::INTERNAL)
}
