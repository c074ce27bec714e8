//! What users have and may have.

use mailwright::mailstore::{AnyStore, Quota, QuotaLimits, QuotaStatus, Store};
use serde::{Deserialize, Serialize};

use super::{Life, LifeError, LifeResponse};

/// A change of limits: those that are given, of which 0 is none; nothing given brings back the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    pub(crate) storage: Option<u64>,
    pub(crate) messages: Option<u64>,
    pub(crate) mailboxes: Option<u64>,
    pub(crate) annotations: Option<u64>,
}

/// What a user has and may have, as it is shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct UsageEntry {
    pub(crate) name: String,
    /// Whether there is such an account.
    pub(crate) account: bool,
    pub(crate) storage: u64,
    pub(crate) messages: u64,
    pub(crate) mailboxes: u64,
    pub(crate) annotations: u64,
    /// Without one there is no limit.
    pub(crate) storage_limit: Option<u64>,
    pub(crate) messages_limit: Option<u64>,
    pub(crate) mailboxes_limit: Option<u64>,
    pub(crate) annotations_limit: Option<u64>,
    /// Whether the limits are the user's own.
    pub(crate) own_limits: bool,
}

impl Life {
    /// Shows what a user has and may have, changed before if so wanted.
    pub(super) async fn quota(&self, user: &str, change: Option<Limits>) -> Result<LifeResponse, LifeError> {
        let user = self.directory.account(user)?.user.clone();
        let quota = quota_of(&self.store)?;
        match change {
            Some(change) if change == Limits::default() => quota.set_quota(&user, None).await?,
            Some(change) => {
                let now = quota.quota_of(&user).await?.limits;
                let pick = |wanted: Option<u64>, now: Option<u64>| match wanted {
                    Some(0) => None,
                    Some(limit) => Some(limit),
                    None => now,
                };
                let limits = QuotaLimits::NONE
                    .storage(pick(change.storage, now.storage))
                    .messages(pick(change.messages, now.messages))
                    .mailboxes(pick(change.mailboxes, now.mailboxes))
                    .annotations(pick(change.annotations, now.annotations));
                quota.set_quota(&user, Some(limits)).await?;
            }
            None => {}
        }
        let status = quota.quota_of(&user).await?;
        Ok(LifeResponse::Usage { users: vec![self.entry(&status)] })
    }

    /// All that have mail, in time proportional to their number.
    pub(super) async fn usage(&self) -> Result<LifeResponse, LifeError> {
        let quota = quota_of(&self.store)?;
        let mut statuses = quota.quotas().await?;
        if statuses.iter().any(|status| !status.user.as_str().contains('@')) {
            // Their directories do not say of which domain they are.
            statuses.clear();
            for user in self.directory.users() {
                statuses.push(quota.quota_of(&user).await?);
            }
        }
        let mut users: Vec<_> = statuses.iter().map(|status| self.entry(status)).collect();
        users.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(LifeResponse::Usage { users })
    }

    fn entry(&self, status: &QuotaStatus) -> UsageEntry {
        let (usage, limits) = (&status.usage, &status.limits);
        UsageEntry {
            name: status.user.as_str().to_owned(),
            account: self.directory.has(status.user.as_str()),
            storage: usage.storage,
            messages: usage.messages,
            mailboxes: usage.mailboxes,
            annotations: usage.annotations,
            storage_limit: limits.storage,
            messages_limit: limits.messages,
            mailboxes_limit: limits.mailboxes,
            annotations_limit: limits.annotations,
            own_limits: status.own,
        }
    }
}

fn quota_of(store: &AnyStore) -> Result<&impl Quota, LifeError> {
    store.quota().ok_or_else(|| LifeError::Refused("this store does not count what users have".into()))
}
