//! What a trace of a message's life is made of, beside what the log has anyway: events of the target `mailwright::journal` at the
//! level `DEBUG`. Whoever wants to keep them subscribes to them; nobody else pays for more than a look.

use std::fmt::{self, Display, Formatter};

use mailwright_mailstore::{Batch, User};
use mailwright_relay_policy::{
    Session as Conversation,
    directory::{Expansion, OnwardReason},
};
use mailwright_smtp_proto::{Message, Reply};

use super::plan::{Origin, Way};
use crate::{filter::Filtered, service::shown};

/// The target of these events.
const TARGET: &str = "mailwright::journal";

/// A message is here whole; what becomes of it is decided next.
pub(super) fn accepted(session: &Conversation, origin: &Origin<'_>, size: u64, way: &Way) {
    if !tracing::enabled!(target: TARGET, tracing::Level::DEBUG) {
        return;
    }
    let hello = session.hello.as_ref().map_or("", |hello| hello.name.as_str());
    let message_id = origin.message_id.as_deref().unwrap_or_default();
    tracing::debug!(
        target: TARGET,
        id = origin.id,
        peer = shown(&session.peer),
        hello,
        user = session.user.as_deref().unwrap_or_default(),
        local = session.local.as_deref().unwrap_or_default(),
        tls = session.tls,
        from = %origin.message.mail.from,
        message_id,
        size,
        "accepted"
    );
    for (to, expansion) in &way.recipients {
        let Ok(expansion) = expansion else { continue };
        tracing::debug!(target: TARGET, id = origin.id, %to, rule = rule(session, expansion), "recipient");
    }
    for (to, _) in &way.copies {
        tracing::debug!(target: TARGET, id = origin.id, %to, rule = "journal-or-bcc", "recipient");
    }
}

/// By what right a recipient is one.
fn rule(session: &Conversation, expansion: &Expansion) -> &'static str {
    let remote = expansion.onward.iter().any(|onward| onward.reason == OnwardReason::Remote);
    match (remote, &session.user, &session.local) {
        (true, Some(_), _) => "logged-in",
        (true, None, Some(_)) => "local-user",
        (true, None, None) => "network",
        _ if expansion.onward.iter().any(|onward| onward.reason == OnwardReason::Relay) => "relay-domain",
        _ => "recipient-here",
    }
}

/// A filter has decided for an account.
pub(super) fn filtered(id: &str, user: &User, filtered: &Filtered) {
    if !tracing::enabled!(target: TARGET, tracing::Level::DEBUG) {
        return;
    }
    let into = Joined(|| filtered.filings.iter().map(|filing| &filing.mailbox));
    let sent = Joined(|| filtered.made.iter().filter_map(|made| Some(&made.send.as_ref()?.1)));
    let refused = filtered.refusal.as_ref().map_or("", |refused| refused.reason.as_str());
    tracing::debug!(
        target: TARGET,
        id,
        %user,
        %into,
        %sent,
        refused,
        "filtered"
    );
}

/// What is shown in one line, commas between.
struct Joined<F>(F);

impl<F: Fn() -> I, I: Iterator<Item: Display>> Display for Joined<F> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        for (number, item) in (self.0)().enumerate() {
            if number > 0 {
                formatter.write_str(", ")?;
            }
            item.fmt(formatter)?;
        }
        Ok(())
    }
}

/// It is in these mailboxes and entries of the queue now.
pub(crate) fn committed(id: &str, batch: &Batch, why: &str) {
    if !tracing::enabled!(target: TARGET, tracing::Level::DEBUG) {
        return;
    }
    for target in &batch.targets {
        tracing::debug!(target: TARGET, id, user = %target.user, mailbox = %target.mailbox, why, "delivered");
    }
    for entry in &batch.queue {
        let to = Joined(|| entry.recipients.iter().map(|recipient| &recipient.address));
        let (from, destination) = (&entry.sender, &entry.destination);
        tracing::debug!(target: TARGET, id, destination, %from, %to, why, "queued");
    }
}

/// It was refused after all.
pub(super) fn refused(id: &str, session: &Conversation, message: &Message, reply: &Reply) {
    let (from, reply) = (message.mail.from.to_string(), reply.to_string());
    tracing::debug!(target: TARGET, id, peer = shown(&session.peer), from, reply = reply.trim_end(), "refused");
}
