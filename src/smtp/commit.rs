//! The commit of a message for everybody who gets it.

use std::collections::HashMap;

use mailwright_mail_model::DateTime;
use mailwright_mailstore::{CommitError, Row, Settlement, StoreError, Upload, User};
use mailwright_relay_policy::{directory::Expansion, route::RouteTable};
use mailwright_smtp_proto::Reply;

use super::{
    journal,
    plan::{Origin, Plan, Way},
};
use crate::filter::Filtered;

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
}

/// Commits for everybody at once. If a recipient is at fault: without `each`, nobody gets the message; with it, the
/// others do. A mailbox that can never take it is left out where its recipient leads to others too, and the sender is told.
/// One reply a recipient.
pub(super) async fn commit(
    upload: &mut Upload,
    mut way: Way,
    filtered: &HashMap<User, Filtered>,
    about: &About<'_>,
    each: bool,
) -> Vec<Reply> {
    let origin = about.origin;
    loop {
        let refused = way.recipients.iter().filter_map(|(_, expansion)| expansion.as_ref().err()).count();
        if refused == way.recipients.len() || (refused > 0 && !each) {
            return replies(way, origin);
        }
        let plan = match Plan::new(&origin.message.mail.from, &way) {
            Ok(plan) => plan,
            Err(reply) => return vec![reply; way.recipients.len()],
        };
        let (mut batch, places) = plan.batch(origin, filtered, about.routes);
        batch.rows.extend_from_slice(about.rows);
        if let Some(settled) = about.settled {
            batch = batch.with_settlements(vec![settled(&way)]);
        }
        if let Some(date) = about.date {
            batch.targets.iter_mut().for_each(|target| target.internal_date = date);
        }
        let Err(CommitError { target, error, .. }) = upload.commit_batch(&batch).await else {
            journal::committed(origin.id, &batch, "");
            return replies(way, origin);
        };
        tracing::warn!(id = origin.id, %error, "delivery failed");
        let reply = refusal(&error);
        let place = target.and_then(|target| places.get(target).copied());
        let Some(account) = place.and_then(|place| plan.account(place)) else {
            return vec![reply; way.recipients.len()];
        };
        // Every round leaves something out, so they end.
        if !way.leave_out(account, &reply) {
            return vec![reply; way.recipients.len()];
        }
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
