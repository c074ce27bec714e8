//! Delivery into a store, within the transaction.

use std::collections::HashSet;

use bytes::Bytes;
use mailwright_mail_model::{ForwardPath, MailboxName, ReversePath, mime};
use mailwright_mailstore::{
    CommitError, Store, StoreError, Target, Upload, User, Write, accounts::Recipients,
};
use mailwright_relay_policy::{Chain, Session as Conversation, Verdict};
use mailwright_smtp_proto::{Hello, HelloKind, Mail, Message, Outcome, Rcpt, Reply};

use super::{
    Body, Inbox,
    hops::HopCounter,
    trace_fields::{now, trace_fields},
};
use crate::{
    imap::summary,
    service::{entropy, shown},
};

/// RFC 5321 §6.3 wants at least 100 before a loop is assumed; Postfix's hopcount_limit is 50.
const MOST_HOPS: usize = 100;

/// An inbox that delivers into the `INBOX` of each recipient's account: one commit for all of them, and the positive
/// reply only after it.
#[derive(Debug)]
pub struct StoreInbox<S, R> {
    store: S,
    recipients: R,
    policy: Chain,
    hostname: String,
}

impl<S: Store, R: Recipients> StoreInbox<S, R> {
    /// Delivers into `store`, to whom `recipients` knows and `policy` does not refuse. `hostname` goes into the
    /// trace fields.
    pub fn new(store: S, recipients: R, policy: Chain, hostname: impl Into<String>) -> Self {
        Self { store, recipients, policy, hostname: hostname.into() }
    }

    async fn account(&self, rcpt: &Rcpt) -> Result<User, Reply> {
        let address = match &rcpt.to {
            ForwardPath::Address(address) => address.as_str(),
            // RFC 5321 §4.5.1
            _ => "postmaster",
        };
        match self.recipients.lookup(address).await {
            Ok(Some(user)) => Ok(user),
            Ok(None) => Err(Reply::permanent(
                (1, 1),
                format!("<{address}>: Recipient address rejected: User unknown in local recipient table"),
            )),
            Err(error) => Err(refusal(&error)),
        }
    }

    async fn upload(
        &self,
        session: &Conversation,
        message: &Message,
        body: &mut Body<'_>,
        id: &str,
    ) -> Result<(Upload, u64), Reply> {
        let writer = self.store.writer().ok_or(Reply::INTERNAL)?;
        let mut upload = writer.begin(message.mail.parameters.size).await.map_err(|error| refusal(&error))?;
        let (mut scanner, mut hops) = (mime::Scanner::new(), HopCounter::default());
        let trace = Bytes::from(trace_fields(session, message, &self.hostname, id, now()));
        let mut size = trace.len() as u64;
        scanner.push(&trace);
        upload.write(trace).await.map_err(|error| refusal(&error))?;
        // Without its end there is nothing to reply to: the machine has refused the message or is gone.
        while let Some(chunk) = body.next().await.map_err(|_| Reply::INTERNAL)? {
            size += chunk.len() as u64;
            scanner.push(&chunk);
            hops.push(&chunk);
            upload.write(chunk).await.map_err(|error| refusal(&error))?;
        }
        if hops.hops() >= MOST_HOPS {
            return Err(Reply::permanent((4, 6), "Too many hops: this message goes round in a loop"));
        }
        upload.summarize(summary(&scanner.finish()));
        Ok((upload, size))
    }
}

impl<S: Store, R: Recipients> Inbox for StoreInbox<S, R> {
    async fn hello(&self, session: &Conversation, hello: &Hello) -> Result<(), Reply> {
        match self.policy.decide_hello(session, hello).await.verdict {
            Verdict::Reject(reply) => Err(reply),
            _ => Ok(()),
        }
    }

    async fn sender(&self, session: &Conversation, mail: &Mail) -> Reply {
        match self.policy.decide_mail(session, mail).await.verdict {
            Verdict::Reject(reply) => reply,
            _ => Reply::SENDER_OK,
        }
    }

    async fn recipient(&self, session: &Conversation, rcpt: &Rcpt) -> Reply {
        let decision = self.policy.decide_rcpt(session, rcpt).await;
        if let Verdict::Reject(reply) = decision.verdict {
            tracing::info!(peer = shown(&session.peer), rcpt = %rcpt.to, rule = decision.rule, "refused by policy");
            return reply;
        }
        match self.account(rcpt).await {
            Ok(_) => Reply::RECIPIENT_OK,
            Err(reply) => reply,
        }
    }

    async fn deliver(&self, session: &Conversation, message: &Message, body: &mut Body<'_>) -> Outcome {
        let Ok(id) = queue_id() else { return Reply::INTERNAL.into() };
        let mut users = Vec::new();
        for rcpt in &message.recipients {
            users.push(self.account(rcpt).await);
        }
        let (mut upload, size) = match self.upload(session, message, body, &id).await {
            Ok(uploaded) => uploaded,
            Err(reply) => return reply.into(),
        };
        // LMTP has a reply for each recipient (RFC 2033 §4.2); SMTP has one, so it is all or none.
        let each = session.hello.as_ref().is_some_and(|hello| hello.kind == HelloKind::Lhlo);
        let replies = commit(&mut upload, users, each, &id).await;
        let sender = match &message.mail.from {
            ReversePath::Address(address) => address.as_str(),
            _ => "<>",
        };
        for (rcpt, reply) in message.recipients.iter().zip(&replies) {
            tracing::info!(
                id,
                peer = shown(&session.peer),
                from = sender,
                to = %rcpt.to,
                size,
                reply = %reply.to_string().trim_end(),
                "message"
            );
        }
        if each { replies.into() } else { first_refusal(replies).into() }
    }
}

/// Commits for everybody at once. If a recipient is at fault: without `each`, nobody gets the message; with it, the
/// others do. One reply a recipient.
async fn commit(upload: &mut Upload, users: Vec<Result<User, Reply>>, each: bool, id: &str) -> Vec<Reply> {
    let mut replies: Vec<Option<Reply>> = users.iter().map(|user| user.as_ref().err().cloned()).collect();
    if !each && let Some(reply) = replies.iter().flatten().next() {
        return vec![reply.clone(); users.len()];
    }
    let date = now();
    loop {
        // One copy for an account, though several of its addresses were named.
        let mut seen = HashSet::new();
        let accounts: Vec<&User> = users
            .iter()
            .zip(&replies)
            .filter(|(_, reply)| reply.is_none())
            .filter_map(|(user, _)| user.as_ref().ok())
            .filter(|user| seen.insert(user.as_str()))
            .collect();
        let targets: Vec<Target> =
            accounts.iter().map(|user| Target::new((*user).clone(), MailboxName::inbox(), date)).collect();
        let outcome = if targets.is_empty() { Ok(Vec::new()) } else { upload.commit(&targets).await };
        let (at_fault, reply) = match outcome {
            Ok(_) => (None, Reply::queued(id)),
            Err(CommitError { target, error, .. }) => {
                tracing::warn!(id, %error, "delivery failed");
                let at_fault =
                    target.filter(|_| each).and_then(|target| accounts.get(target)).map(|user| user.as_str());
                (at_fault, refusal(&error))
            }
        };
        for (slot, user) in replies.iter_mut().zip(&users) {
            let concerned = at_fault.is_none_or(|name| user.as_ref().is_ok_and(|user| user.as_str() == name));
            if slot.is_none() && concerned {
                *slot = Some(reply.clone());
            }
        }
        if at_fault.is_none() {
            return replies.into_iter().map(|reply| reply.unwrap_or(Reply::INTERNAL)).collect();
        }
    }
}

fn first_refusal(replies: Vec<Reply>) -> Reply {
    let refused = replies.iter().position(|reply| !reply.is_positive()).unwrap_or(0);
    replies.into_iter().nth(refused).unwrap_or(Reply::INTERNAL)
}

fn refusal(error: &StoreError) -> Reply {
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

/// What the message is called in replies, trace fields and the log.
fn queue_id() -> std::io::Result<String> {
    let octets = entropy()?;
    Ok(octets.iter().take(8).map(|octet| format!("{octet:02X}")).collect())
}
