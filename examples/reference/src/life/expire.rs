//! Trash and Junk are emptied of what is there for too long, and mail of removed accounts is erased.

use std::time::Duration;

use mailwright::{
    filter::Remembered,
    mail_model::{DateTime, Flag, MailboxName, SpecialUse, Uid, UidSet},
    mailstore::{Expunge, Mailbox, MailboxRef, Store, StoreError, User, Write, clock},
};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{Life, LifeError};
use crate::config::Period;

/// How soon after the start to look first.
const FIRST: Duration = Duration::from_secs(60);
/// How many messages are removed in one commit.
const TOGETHER: usize = 10_000;

/// What went, or would go, from one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gone {
    pub(crate) user: String,
    /// Empty for all that a removed account had.
    pub(crate) mailbox: String,
    pub(crate) messages: u64,
    pub(crate) octets: u64,
}

/// What went, or would go, altogether.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Expired {
    /// Accounts that were looked at.
    pub(crate) accounts: u64,
    pub(crate) messages: u64,
    pub(crate) octets: u64,
    /// Removed accounts whose mail was erased.
    pub(crate) erased: u64,
}

/// Looks again and again, until it is to stop.
pub(crate) async fn watch(life: Life, remembered: Remembered, stop: CancellationToken) {
    let every = Duration::from_secs(life.expiry.every.seconds().max(1));
    let mut wait = every.min(FIRST);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => wait = every,
        }
        let mut tell = |_, gone: Option<Gone>| {
            if let Some(gone) = gone {
                tracing::info!(user = gone.user, mailbox = gone.mailbox, messages = gone.messages, "expired");
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            expired = expire(&life, false, &mut tell) => tracing::debug!(?expired, "looked for what is there for too long"),
        }
        if let Err(error) = remembered.tidy(clock::read().to_judge_age()).await {
            tracing::error!(%error, "what Sieve scripts remember cannot be tidied");
        }
    }
}

/// Looks once; only says what would go if it is `dry`. What went is told as it goes, with the number of accounts looked at.
pub(crate) async fn expire(
    life: &Life,
    dry: bool,
    tell: &mut (dyn FnMut(u64, Option<Gone>) + Send),
) -> Expired {
    let mut expired = Expired::default();
    let now = clock::read().to_judge_age();
    for user in life.directory.users() {
        tell(expired.accounts, None);
        expired.accounts += 1;
        let (trash, junk) = life.periods_of(user.as_str().as_bytes());
        if trash.is_never() && junk.is_never() {
            continue;
        }
        let mut tell = |gone: Gone| {
            expired.messages += gone.messages;
            expired.octets += gone.octets;
            tell(expired.accounts, Some(gone));
        };
        if let Err(error) = expire_user(life, &user, (trash, junk), now, dry, &mut tell).await {
            tracing::error!(user = user.as_str(), %error, "what is there for too long cannot be removed");
        }
    }
    if life.expiry.removed_users.is_never() {
        return expired;
    }
    for entry in life.directory.removed() {
        if entry.removed.saturating_add(life.expiry.removed_users.seconds()) > now && !entry.erasing {
            continue;
        }
        match erase(life, &entry.name, dry).await {
            Ok(gone) => {
                expired.erased += 1;
                tell(expired.accounts, Some(gone));
            }
            Err(error) => {
                tracing::error!(user = entry.name, %error, "the mail of a removed account cannot be erased")
            }
        }
    }
    expired
}

async fn erase(life: &Life, name: &str, dry: bool) -> Result<Gone, LifeError> {
    let user = User::new(name).map_err(|error| LifeError::Refused(error.to_string()))?;
    let mut gone = Gone { user: name.to_owned(), mailbox: String::new(), messages: 0, octets: 0 };
    for (_, status) in life.store.list(&user).await? {
        gone.messages += u64::from(status.messages);
        gone.octets += status.size;
    }
    if !dry {
        life.erase(name).await?;
    }
    Ok(gone)
}

async fn expire_user(
    life: &Life,
    user: &User,
    (trash, junk): (Period, Period),
    now: u64,
    dry: bool,
    tell: &mut (dyn FnMut(Gone) + Send),
) -> Result<(), StoreError> {
    let list = life.store.list(user).await?;
    let mailboxes: Vec<&Mailbox> = list.iter().map(|(mailbox, _)| mailbox).collect();
    for (period, used, name) in [(trash, SpecialUse::Trash, "Trash"), (junk, SpecialUse::Junk, "Junk")] {
        if period.is_never() {
            continue;
        }
        let limit = i64::try_from(now.saturating_sub(period.seconds())).unwrap_or(0);
        let tops = tops(&mailboxes, used, name);
        for (mailbox, status) in &list {
            let within = tops.iter().any(|top| mailbox.name.starts_with_level(top));
            if !within || mailbox.name.is_inbox() || status.messages == 0 {
                continue;
            }
            match empty(life, user, &mailbox.name, limit, dry).await {
                Ok(Some(gone)) => tell(gone),
                // Deleted meanwhile.
                Ok(None) | Err(StoreError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// The mailboxes for a use; the one of the usual name if none is marked.
fn tops(mailboxes: &[&Mailbox], used: SpecialUse, name: &str) -> Vec<MailboxName> {
    let marked: Vec<_> = mailboxes
        .iter()
        .filter(|mailbox| mailbox.special_use == Some(used))
        .map(|mailbox| mailbox.name.clone())
        .collect();
    if marked.is_empty() { MailboxName::new(name).into_iter().collect() } else { marked }
}

/// Removes what came into a mailbox before `limit`, but for flagged messages if these are to be spared.
async fn empty(
    life: &Life,
    user: &User,
    name: &MailboxName,
    limit: i64,
    dry: bool,
) -> Result<Option<Gone>, StoreError> {
    let snapshot = life.store.open(user, name).await?;
    let old = |saved: Option<DateTime>| saved.is_some_and(|saved| saved.seconds() <= limit);
    let mut gone = Gone { user: user.as_str().into(), mailbox: name.to_string(), messages: 0, octets: 0 };
    let mut uids: Vec<Uid> = Vec::new();
    let spared = |flagged: bool| flagged && life.expiry.spare_flagged;
    for message in snapshot.messages() {
        if !old(message.saved()) || spared(message.flags.contains(&Flag::Flagged)) {
            continue;
        }
        uids.push(message.uid);
        gone.messages += 1;
        gone.octets += message.size;
    }
    let mailbox = MailboxRef::new(user.clone(), name.clone(), &snapshot);
    let writer = life.store.writer().filter(|_| !dry);
    for some in uids.chunks(TOGETHER) {
        if let Some(writer) = &writer {
            let some: UidSet = some.iter().copied().collect();
            writer.expunge(&mailbox, &Expunge::Exactly(some)).await?;
        }
    }
    Ok((gone.messages > 0).then_some(gone))
}
