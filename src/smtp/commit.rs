//! The commit of a message for everybody who gets it.

use std::sync::Arc;

use mailwright_mail_model::{DateTime, mime::Structure};
use mailwright_mailstore::{Batch, CommitError, Row, Settlement, Store, StoreError, Upload};
use mailwright_relay_policy::{directory::Expansion, route::RouteTable};
use mailwright_smtp_proto::Reply;

use super::{
    Addressing, StoreInbox,
    filtering::{Decided, Told},
    journal,
    parts::{Fault, keep_instead},
    plan::{Origin, Plan, Way},
};
use crate::filter::{Filter, Given};

/// So often a message is filtered again because others were faster: each time, what they had remembered is known.
pub(super) const TRIES: usize = 8;

/// Somebody else has meanwhile had something remembered that decides about the message.
pub(super) struct Conflict;

/// What a commit needs to know of the message.
pub(super) struct About<'a> {
    pub(super) origin: &'a Origin<'a>,
    pub(super) routes: &'a RouteTable,
    /// When it came, if that was not now.
    pub(super) date: Option<DateTime>,
    /// What else is written at the same moment.
    pub(super) rows: &'a [Row],
    /// What becomes of the entry of the queue that the message comes from, by who gets it.
    pub(super) settled: Option<&'a (dyn Fn(&Way) -> Settlement + Sync)>,
    /// Whether it is suspicious.
    pub(super) quarantine: bool,
}

impl<S: Store, R: Addressing, F: Filter> StoreInbox<S, R, F> {
    /// Asks the filter of each account that the message is for, and commits what they say. If they say it of what has changed meanwhile,
    /// such as that no message of its kind was here before, they are asked again. One reply a recipient.
    pub(super) async fn filter_and_commit(
        &self,
        upload: &mut Upload,
        structure: &Arc<Structure>,
        way: Way,
        about: &About<'_>,
        told: Told,
        each: bool,
    ) -> Vec<Reply> {
        let (origin, given) = (about.origin, Given::default());
        for _ in 0..TRIES {
            let mut way = way.clone();
            let mut decided = self.filter_all(upload, structure, origin, &mut way, told, &given).await;
            if about.quarantine {
                self.quarantine(origin, &way, &mut decided.filtered).await;
            }
            match self.commit(upload, way, decided, about, each).await {
                Ok(replies) => return replies,
                Err(Conflict) => {
                    tracing::debug!(id = origin.id, "filtered again: others were faster");
                    given.again();
                }
            }
        }
        vec![refusal(&StoreError::Conflict); way.recipients.len()]
    }

    /// Commits for everybody at once, with what filters made of the message. If a recipient is at fault: without `each`, nobody gets
    /// the message; with it, the others do. A mailbox that can never take it is left out where its recipient leads to others
    /// too, and the sender is told. What was made for whoever does not get it is not sent; what cannot be sent is left out, and
    /// the message is kept. One reply a recipient.
    ///
    /// # Errors
    /// If the filters are to be asked again. Nothing has happened then.
    pub(super) async fn commit(
        &self,
        upload: &mut Upload,
        mut way: Way,
        mut decided: Decided,
        about: &About<'_>,
        each: bool,
    ) -> Result<Vec<Reply>, Conflict> {
        let origin = about.origin;
        loop {
            let refused = way.recipients.iter().filter(|(_, expansion)| expansion.is_err()).count();
            if refused == way.recipients.len() || (refused > 0 && !each) {
                self.commit_refused(upload, decided, origin).await?;
                return Ok(replies(way, origin));
            }
            let known = decided.plan.take();
            let plan = match known.map_or_else(|| Plan::new(&origin.message.mail.from, &way), Ok) {
                Ok(plan) => plan,
                Err(reply) => return Ok(vec![reply; way.recipients.len()]),
            };
            let (mut batch, places) = plan.batch(origin, &decided.filtered, about.routes);
            batch.rows.extend_from_slice(about.rows);
            if let Some(settled) = about.settled {
                batch = batch.with_settlements(vec![settled(&way)]);
            }
            if let Some(date) = about.date {
                batch.targets.iter_mut().for_each(|target| target.internal_date = date);
            }
            let accounts = plan.accounts().map(|(user, _)| user);
            let seen = decided.seen(accounts.chain(&decided.refused));
            let committed = self.commit_with(origin.id, upload, &mut batch, &mut decided.parts, &seen).await;
            let CommitError { target, error, .. } = match committed {
                Ok(()) => {
                    journal::committed(origin.id, &batch, "");
                    return Ok(replies(way, origin));
                }
                Err(fault) if fault.is_conflict() => return Err(Conflict),
                Err(Fault::Part(number, error)) => {
                    tracing::error!(id = origin.id, %error, "what the filter made cannot be sent");
                    // Every round leaves something out, so they end.
                    if let Some(user) = decided.parts.leave_out(number) {
                        keep_instead(decided.filtered.entry(user).or_default());
                        if about.quarantine {
                            self.quarantine(origin, &way, &mut decided.filtered).await;
                        }
                    }
                    continue;
                }
                Err(Fault::Message(failed)) => failed,
            };
            tracing::warn!(id = origin.id, %error, "delivery failed");
            let reply = refusal(&error);
            let place = target.and_then(|target| places.get(target).copied());
            let Some(account) = place.and_then(|place| plan.account(place)) else {
                return Ok(vec![reply; way.recipients.len()]);
            };
            let owner = target.and_then(|target| batch.targets.get(target)).map(|target| &target.user);
            if let Some(filtered) = decided.filtered.get_mut(account)
                && owner.is_some_and(|owner| filtered.keep_instead_of(owner))
            {
                // What others have no room for is no reason to refuse the user's own mail.
                continue;
            }
            decided.parts.leave_out_account(account);
            if !way.leave_out(account, &reply) {
                return Ok(vec![reply; way.recipients.len()]);
            }
        }
    }

    /// Nobody gets the message. What those made of it who refuse it for good is sent all the same: their scripts have ended well.
    async fn commit_refused(
        &self,
        upload: &mut Upload,
        mut decided: Decided,
        origin: &Origin<'_>,
    ) -> Result<(), Conflict> {
        decided.parts.retain(&decided.refused);
        let seen = decided.seen(decided.refused.iter());
        while !(decided.parts.is_empty() && seen.is_empty()) {
            let mut batch = Batch::default();
            match self.commit_with(origin.id, upload, &mut batch, &mut decided.parts, &seen).await {
                Ok(()) => return Ok(()),
                Err(fault) if fault.is_conflict() => return Err(Conflict),
                Err(Fault::Part(number, error)) => {
                    tracing::error!(id = origin.id, %error, "what the filter made cannot be sent");
                    decided.parts.leave_out(number);
                }
                Err(Fault::Message(CommitError { error, .. })) => {
                    tracing::error!(id = origin.id, %error, "what the filter made cannot be sent");
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

fn replies(way: Way, origin: &Origin<'_>) -> Vec<Reply> {
    let reply =
        |expansion: Result<Expansion, Reply>| expansion.err().unwrap_or_else(|| Reply::queued(origin.id));
    way.recipients.into_iter().map(|(_, expansion)| reply(expansion)).collect()
}

/// What the store's refusal says to whoever sent the message.
pub(super) fn refusal(error: &StoreError) -> Reply {
    tracing::warn!(%error, "the store refuses a message");
    let (code, status) = error.smtp_status();
    let mut parts = status.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    let enhanced = (u8::try_from(next()).unwrap_or(4), next(), next());
    let text = match error {
        StoreError::OverQuota => "The mailbox is full",
        StoreError::TooLarge { .. } => "The message is too large",
        _ if code < 500 => "The message cannot be stored now; try again later",
        _ => "The message cannot be stored",
    };
    Reply::new(code, enhanced, text).unwrap_or(Reply::INTERNAL)
}
