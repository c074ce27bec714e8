//! ETRN (RFC 1985): a host that was away asks that what waits for it be sent now.

use std::{fmt, sync::Arc};

use mailwright_mailstore::{QueueEntry, Settlement, Spool, Store};
use mailwright_relay_policy::{Session as Conversation, networks::AddressRange};
use mailwright_smtp_proto::{Etrn, Reply};

use super::{Addressing, StartQueue, StoreInbox, trace_fields::now};
use crate::filter::Filter;

/// Who may have the queue of an inbox run, and what runs it.
#[derive(Clone)]
pub struct QueueStarter {
    allowed: Vec<AddressRange>,
    flush: Arc<dyn Fn() + Send + Sync>,
}

impl QueueStarter {
    /// For clients in these networks; `flush` makes the [`Queue`](crate::queue::Queue) look at once.
    pub fn new(allowed: Vec<AddressRange>, flush: impl Fn() + Send + Sync + 'static) -> Self {
        Self { allowed, flush: Arc::new(flush) }
    }
}

impl fmt::Debug for QueueStarter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueStarter").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

/// How many entries are read together.
const PAGE: usize = 1_000;

impl<S: Store, R: Addressing, F: Filter> StartQueue for StoreInbox<S, R, F> {
    async fn start(&self, session: &Conversation, etrn: &Etrn) -> Reply {
        let client = session.peer.remote.map(|remote| remote.ip().to_canonical());
        let Some((starter, spool)) = self.starter.as_ref().zip(self.store.spool()) else {
            return not_allowed();
        };
        // RFC 1985 §7: who may ask is for the configuration to say, for each costs work.
        if !client.is_some_and(|client| starter.allowed.iter().any(|range| range.contains(client))) {
            return not_allowed();
        }
        if matches!(etrn, Etrn::Queue(_)) {
            return reply(459, (5, 4), "There are no queues by name here; ask for a domain");
        }
        let (at, mut after, mut count) = (u64::try_from(now().seconds()).unwrap_or(0), None, 0_usize);
        loop {
            let Ok(page) = spool.entries(after, PAGE).await else { return Reply::INTERNAL };
            let wanted = page.iter().filter(|entry| !entry.held && is_for(entry, etrn));
            let settle: Vec<_> = wanted.map(|entry| Settlement::Due(entry.number, at)).collect();
            if count == 0 && !settle.is_empty() {
                // Before anything is due: for a destination that is left alone it would be put off.
                (starter.flush)();
            }
            count += settle.len();
            if !settle.is_empty() && spool.settle(&settle).await.is_err() {
                return Reply::INTERNAL;
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.number),
                _ => break,
            }
        }
        tracing::info!(protocol = "smtp", peer = ?client, %etrn, count, "the queue is run");
        if count == 0 {
            return reply(251, (0, 0), "Nothing waits");
        }
        (starter.flush)();
        reply(253, (0, 0), &format!("{count} messages are being sent"))
    }
}

/// Whether an entry waits for what is named.
fn is_for(entry: &QueueEntry, etrn: &Etrn) -> bool {
    entry.waiting().any(|recipient| {
        let domain = recipient.address.domain().key();
        match etrn {
            Etrn::Domain(wanted) => domain == wanted.key(),
            Etrn::Subdomains(wanted) => {
                let below = domain.strip_suffix(wanted.key());
                below.is_some_and(|below| below.is_empty() || below.ends_with('.'))
            }
            _ => false,
        }
    })
}

fn not_allowed() -> Reply {
    reply(459, (7, 1), "Not for this client")
}

/// RFC 1985 §5.3 has codes of its own.
fn reply(code: u16, status: (u16, u16), text: &str) -> Reply {
    let line = format!("{code} {}.{}.{} {text}\r\n", code / 100, status.0, status.1);
    Reply::parse(line.as_bytes()).unwrap_or(Reply::INTERNAL)
}

#[cfg(test)]
mod tests {
    use mailwright_mail_model::ReversePath;
    use mailwright_mailstore::QueueRecipient;

    use super::*;

    #[test]
    fn what_is_meant() {
        let mut entry = QueueEntry::new("1D", ReversePath::Null, "b.example", 0);
        entry.recipients.push(QueueRecipient::new("bob@Mail.B.example".parse().unwrap()));
        let domain = |text: &str| text.parse().unwrap();
        for (etrn, expected) in [
            (Etrn::Domain(domain("mail.b.example")), true),
            (Etrn::Domain(domain("b.example")), false),
            (Etrn::Subdomains(domain("b.example")), true),
            (Etrn::Subdomains(domain("mail.b.example")), true),
            (Etrn::Subdomains(domain("il.b.example")), false),
            (Etrn::Queue("b".into()), false),
        ] {
            assert_eq!(is_for(&entry, &etrn), expected, "{etrn}");
        }
        assert_eq!(not_allowed().to_string(), "459 4.7.1 Not for this client\r\n");
    }
}
