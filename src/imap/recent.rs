//! `\Recent`: which messages a session is the first to be told of.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use mailwright_mail_model::{Uid, UidSet};
use mailwright_mailstore::{MailboxRef, Snapshot, Store, Write, accounts::Accounts};

use super::{Visit, identity::MailboxKey, selected::Selected};

/// How many mailboxes are remembered. Past that all are forgotten: from a store that keeps no count of its own, messages are recent once
/// too often then, which RFC 3501 §2.3.2 prefers to once too seldom.
const MOST: usize = 100_000;

/// From where on each mailbox was shown to no session that may change it. Kept while the server runs; what the store keeps
/// ([`Write::claim_recent`]) is asked for what is not known here, so that a mailbox in which nothing is new costs no question.
#[derive(Debug, Default)]
pub(super) struct RecentMarks(Mutex<HashMap<MailboxKey, Option<Uid>>>);

impl RecentMarks {
    /// The recent messages of a mailbox; `None` if nothing is known of it. Unless the session only looks (EXAMINE, STATUS), they are
    /// nobody else's then.
    pub(super) fn of(&self, mailbox: &MailboxRef, snapshot: &Snapshot, claim: bool) -> Option<UidSet> {
        let key = MailboxKey::new(mailbox, snapshot);
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = marks.get(&key).copied();
        if claim {
            if marks.len() >= MOST {
                marks.clear();
            }
            marks.insert(key, snapshot.uid_next());
        }
        let first = mark?;
        Some(first.map(|first| snapshot.uids().within(first..=Uid::MAX)).unwrap_or_default())
    }
}

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    /// The recent messages of a mailbox that is opened, or looked at: if `claim`, they are nobody else's then.
    pub(super) async fn recent(&self, mailbox: &MailboxRef, snapshot: &Snapshot, claim: bool) -> UidSet {
        let known = self.service.recent.of(mailbox, snapshot, claim);
        let uids = snapshot.uids();
        if !claim {
            if let Some(known) = known {
                return known;
            }
            let status = self.store.status(mailbox.user(), mailbox.name()).await;
            let count = status.ok().and_then(|status| status.recent).map_or(uids.len(), u64::from);
            return uids.at(uids.len().saturating_sub(count)..uids.len());
        }
        if known.as_ref().is_some_and(UidSet::is_empty) {
            return UidSet::new();
        }
        let from = self.claim(mailbox).await;
        match (known, from) {
            // What came after the snapshot was taken may be claimed with the rest: only the mark says which that is.
            (Some(known), _) => known,
            (None, Some(from)) => uids.within(from..=Uid::MAX),
            (None, None) => uids,
        }
    }

    /// Nothing is open any more. Of what came while a mailbox was, the store learns now, at once, that it is recent no more.
    pub(super) async fn leave(&mut self) -> Option<Selected> {
        let selected = self.selected.take()?;
        if selected.claims {
            self.claim(&selected.mailbox).await;
        }
        Some(selected)
    }

    async fn claim(&self, mailbox: &MailboxRef) -> Option<Uid> {
        let claimed = self.store.writer()?.claim_recent(mailbox).await;
        claimed.unwrap_or_else(|error| {
            // They are recent once more then.
            tracing::debug!(%error, "cannot claim recent messages");
            None
        })
    }
}
