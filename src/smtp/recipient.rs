//! Whether a recipient is accepted, and what it stands for.

use mailwright_mailstore::{Quota, Store, User};
use mailwright_relay_policy::{Session as Conversation, Verdict, directory::Expansion};
use mailwright_smtp_proto::{Rcpt, Reply};

use super::{Addressing, StoreInbox, commit::refusal, solicited};
use crate::{filter::Filter, service::shown};

impl<S: Store, R: Addressing, F: Filter> StoreInbox<S, R, F> {
    /// What a recipient stands for, if it is accepted.
    ///
    /// # Errors
    /// What RCPT is answered.
    pub(super) async fn expanded(&self, session: &Conversation, rcpt: &Rcpt) -> Result<Expansion, Reply> {
        let decision = self.policy.decide_rcpt(session, rcpt).await;
        if let Verdict::Reject(reply) = decision.verdict {
            tracing::info!(peer = shown(&session.peer), rcpt = %rcpt.to, rule = decision.rule, "refused by policy");
            return Err(reply);
        }
        let expansion = self.addressing.expand(session, &rcpt.to).await;
        let expansion = expansion.and_then(|expansion| self.possible(expansion));
        let classes = session.mail.as_ref().and_then(|mail| mail.parameters.solicitation.as_ref());
        let expansion =
            expansion.and_then(|expansion| solicited::wanted(self.unwanted.as_ref(), classes, expansion));
        let expansion = expansion.and_then(|expansion| same_owner(rcpt, expansion))?;
        self.room(session, &expansion).await?;
        Ok(expansion)
    }

    /// Whether there is room for the message in any mailbox that the recipient leads to: for as many octets as MAIL said, or for
    /// any at all. One full mailbox does not keep a message from the others of a group.
    async fn room(&self, session: &Conversation, expansion: &Expansion) -> Result<(), Reply> {
        let Some(quota) = self.store.quota() else { return Ok(()) };
        let announced = session.mail.as_ref().and_then(|mail| mail.parameters.size);
        let mut refused = Ok(());
        for delivery in &expansion.deliveries {
            let user = User::new(&delivery.account).map_err(|_| Reply::INTERNAL)?;
            match quota.check_quota(&user, announced.unwrap_or(0).max(1)).await {
                Ok(()) => return Ok(()),
                Err(error) => refused = Err(refusal(&error)),
            }
        }
        let only_here = expansion.onward.is_empty() && expansion.handed.is_empty();
        if only_here { refused } else { Ok(()) }
    }
}

/// The same, if whoever has the mailbox has had it for as long as the sender wants (RFC 7293 §5).
pub(super) fn same_owner(rcpt: &Rcpt, expansion: Expansion) -> Result<Expansion, Reply> {
    let Some(wanted) = rcpt.parameters.valid_since else { return Ok(expansion) };
    let later = |since: i64| since > wanted.moment.seconds();
    if expansion.deliveries.iter().any(|delivery| delivery.since.is_some_and(later)) {
        let text = "The mailbox was given to somebody after the time that the sender knows of";
        return Err(Reply::permanent((7, 17), text));
    }
    Ok(expansion)
}
