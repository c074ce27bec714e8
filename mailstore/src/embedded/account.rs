//! What users have and may have: a row each, changed in the same batch as what it counts.

use bytes::Bytes;
use fjall::Readable;

use super::committer::Group;
use super::database::failed;
use super::header::Header;
use super::row::{self, Fields};
use super::{Core, detail, sweep};
use crate::{QuotaLimits, QuotaStatus, QuotaUsage, QuotaWarning, Resource, Result, StoreError, User};

/// A user's row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) usage: QuotaUsage,
    /// `None` for the default.
    pub(super) limits: Option<QuotaLimits>,
    /// The threshold of each resource that was warned of, in percent; 0 for none.
    warned: [u8; Resource::ALL.len()],
    /// How many messages have gone since the last [sweep](super::sweep) of threads; those that were moved may be among them.
    gone: u64,
    dirty: bool,
    /// Whether there was no such row, or an unreadable one.
    pub(super) counted: bool,
}

impl Account {
    /// Of somebody who has nothing any more.
    pub(super) fn erased() -> Self {
        Self { dirty: true, ..Self::default() }
    }

    /// Whether there is nothing to keep in a row.
    fn is_nothing(&self) -> bool {
        self.usage == QuotaUsage::NOTHING && self.limits.is_none()
    }

    pub(super) const fn add_messages(&mut self, messages: u64, octets: u64) {
        self.usage.messages = self.usage.messages.saturating_add(messages);
        self.usage.storage = self.usage.storage.saturating_add(octets);
        self.dirty = true;
    }

    pub(super) const fn remove_messages(&mut self, messages: u64, octets: u64) {
        self.usage.messages = self.usage.messages.saturating_sub(messages);
        self.usage.storage = self.usage.storage.saturating_sub(octets);
        self.left_for_good(messages);
    }

    /// Notes messages that cannot be had back any more.
    pub(super) const fn left_for_good(&mut self, messages: u64) {
        self.gone = self.gone.saturating_add(messages);
        self.dirty = true;
    }

    /// How many messages have gone, if they are many beside those that are left: to sweep costs no more then than it cost to remove them.
    pub(super) fn wants_sweep(&self) -> Option<u64> {
        Some(self.gone).filter(|gone| *gone >= sweep::LEAST.max(self.usage.messages / 2))
    }

    /// Threads of so many messages that have gone were swept.
    pub(super) const fn swept(&mut self, gone: u64) {
        self.gone = self.gone.saturating_sub(gone);
        self.dirty = true;
    }

    pub(super) const fn add_mailbox(&mut self) {
        self.usage.mailboxes = self.usage.mailboxes.saturating_add(1);
        self.dirty = true;
    }

    pub(super) const fn remove_mailbox(&mut self) {
        self.usage.mailboxes = self.usage.mailboxes.saturating_sub(1);
        self.dirty = true;
    }

    /// Annotations grow from so many octets to so many.
    pub(super) const fn change_annotations(&mut self, before: u64, after: u64) {
        self.usage.annotations = self.usage.annotations.saturating_add(after).saturating_sub(before);
        self.dirty = true;
    }

    pub(super) fn set_limits(&mut self, limits: Option<QuotaLimits>) {
        self.limits = limits;
        self.dirty = true;
    }

    pub(super) const fn set_usage(&mut self, usage: QuotaUsage) {
        self.usage = usage;
        self.dirty = true;
    }

    /// The thresholds passed since the last look.
    fn warn(&mut self, default: &QuotaLimits, thresholds: &[u8]) -> Vec<(Resource, u8)> {
        let limits = self.limits.unwrap_or(*default);
        let mut passed = Vec::new();
        for (resource, warned) in Resource::ALL.iter().copied().zip(&mut self.warned) {
            let Some(limit) = limits.of(resource).filter(|limit| *limit > 0) else {
                *warned = 0;
                continue;
            };
            let reached = |percent: &u8| {
                u128::from(self.usage.of(resource)) * 100 >= u128::from(limit) * u128::from(*percent)
            };
            let now = thresholds.iter().copied().filter(reached).max().unwrap_or(0);
            if now > *warned {
                passed.push((resource, now));
            }
            *warned = now;
        }
        passed
    }

    pub(super) fn encode(&self, user: &[u8]) -> Vec<u8> {
        let mut value =
            Vec::with_capacity(2 * 8 * Resource::ALL.len() + self.warned.len() + 1 + 8 + row::SUM);
        for resource in Resource::ALL.iter().copied() {
            value.extend_from_slice(&self.usage.of(resource).to_be_bytes());
        }
        value.extend_from_slice(&self.warned);
        value.push(u8::from(self.limits.is_some()));
        for resource in Resource::ALL.iter().copied() {
            let limit = self.limits.and_then(|limits| limits.of(resource));
            value.extend_from_slice(&limit.unwrap_or(u64::MAX).to_be_bytes());
        }
        value.extend_from_slice(&self.gone.to_be_bytes());
        row::seal(user, value)
    }

    pub(super) fn decode(user: &[u8], sealed: &[u8]) -> Option<Self> {
        let mut fields = Fields(row::open(user, sealed)?);
        let mut usage = || {
            Some(QuotaUsage {
                storage: fields.u64()?,
                messages: fields.u64()?,
                mailboxes: fields.u64()?,
                annotations: fields.u64()?,
            })
        };
        let usage = usage()?;
        let warned = fields.take()?;
        let own = fields.u8()? != 0;
        let mut limit = || fields.u64().map(|limit| Some(limit).filter(|limit| *limit != u64::MAX));
        let limits =
            QuotaLimits::NONE.storage(limit()?).messages(limit()?).mailboxes(limit()?).annotations(limit()?);
        // There are rows without it.
        let gone = fields.u64().unwrap_or(0);
        Some(Self { usage, limits: own.then_some(limits), warned, gone, dirty: false, counted: false })
    }
}

impl Core {
    /// What a user has, as committed. A row that is not there or cannot be read is made of the headers.
    pub(super) fn account(&self, user: &[u8]) -> Result<Account> {
        let row = self.database.users.get(user).map_err(failed)?;
        match row.and_then(|sealed| Account::decode(user, &sealed)) {
            Some(account) => Ok(account),
            None => Ok(Account { usage: self.recount(user)?, counted: true, ..Account::default() }),
        }
    }

    /// What a user has, by the headers of the mailboxes.
    pub(super) fn recount(&self, user: &[u8]) -> Result<QuotaUsage> {
        let prefix = [user, b"\0"].concat();
        let mut usage = QuotaUsage::NOTHING;
        for entry in self.database.moment().prefix(&self.database.names, &prefix) {
            let (key, sealed) = entry.into_inner().map_err(failed)?;
            usage.mailboxes += 1;
            let Ok(header) = Header::decode(&key, &sealed) else { continue };
            usage.messages += u64::from(header.messages);
            usage.storage += header.size;
            usage.annotations += self.annotation_octets(header.id)? + header.annotated.unwrap_or(0);
        }
        Ok(usage)
    }

    pub(super) fn quota_status(&self, user: &User, account: &Account) -> QuotaStatus {
        let limits = account.limits.unwrap_or(self.options.quota);
        QuotaStatus::new(user.clone(), account.usage, limits, account.limits.is_some())
    }

    pub(super) fn quotas(&self) -> Result<Vec<QuotaStatus>> {
        let mut quotas = Vec::new();
        for entry in self.database.users.iter() {
            let (key, sealed) = entry.into_inner().map_err(failed)?;
            let name = str::from_utf8(&key).ok().and_then(|name| User::new(name).ok());
            let name = name.ok_or_else(|| StoreError::Corrupt("the name of a user".into()))?;
            let account = match Account::decode(&key, &sealed) {
                Some(account) => account,
                None => self.account(&key)?,
            };
            quotas.push(self.quota_status(&name, &account));
        }
        Ok(quotas)
    }

    /// The warnings nobody has settled yet.
    pub(super) fn warnings(&self) -> Result<Vec<QuotaWarning>> {
        let mut warnings = Vec::new();
        for entry in self.database.details.prefix([detail::WARNING]) {
            let key = entry.key().map_err(failed)?;
            warnings.extend(decode_warning(&key));
        }
        Ok(warnings)
    }
}

impl Group<'_> {
    /// What a user has, to be changed.
    pub(super) fn account(&mut self, user: &[u8]) -> Result<&mut Account> {
        if !self.accounts.contains_key(user) {
            let account = self.core.account(user)?;
            self.accounts.insert(user.into(), account);
        }
        self.accounts.get_mut(user).ok_or(StoreError::NotFound)
    }

    /// Whether a user may have this more, less what goes at the same time.
    pub(super) fn admit(&mut self, user: &[u8], more: &QuotaUsage, less: &QuotaUsage) -> Result<()> {
        let default = self.core.options.quota;
        let account = self.account(user)?;
        let net = QuotaUsage {
            storage: more.storage.saturating_sub(less.storage),
            messages: more.messages.saturating_sub(less.messages),
            mailboxes: more.mailboxes.saturating_sub(less.mailboxes),
            annotations: more.annotations.saturating_sub(less.annotations),
        };
        account.limits.unwrap_or(default).admit(&account.usage, &net)
    }

    /// Stages the rows of the users who have more or less now, and the warnings that follow.
    pub(super) fn stage_accounts(&mut self) {
        let core = self.core;
        let mut accounts = std::mem::take(&mut self.accounts);
        for (user, account) in accounts.iter_mut().filter(|(_, account)| account.dirty) {
            for (resource, percent) in account.warn(&core.options.quota, &core.options.quota_warnings) {
                self.put(&core.database.details, warning_key(user, resource, percent), Bytes::new());
                self.warned = true;
            }
            if account.is_nothing() {
                self.delete(&core.database.users, user.to_vec());
            } else {
                self.put(&core.database.users, user.to_vec(), account.encode(user));
            }
            if account.wants_sweep().is_some() {
                core.sweeping.want(user);
            }
        }
    }

    pub(super) fn settle_warnings(&mut self, warnings: &[QuotaWarning]) {
        for warning in warnings {
            let key = warning_key(warning.user.as_str().as_bytes(), warning.resource, warning.percent);
            self.delete(&self.core.database.details, key);
        }
    }
}

fn warning_key(user: &[u8], resource: Resource, percent: u8) -> Vec<u8> {
    let number = Resource::ALL.iter().position(|known| *known == resource).unwrap_or(0);
    let mut key = warning_prefix(user);
    key.extend_from_slice(&[u8::try_from(number).unwrap_or(0), percent]);
    key
}

pub(super) fn warning_prefix(user: &[u8]) -> Vec<u8> {
    [&[detail::WARNING][..], user, b"\0"].concat()
}

fn decode_warning(key: &[u8]) -> Option<QuotaWarning> {
    let (rest, [_, number, percent]) = key.get(1..)?.split_last_chunk::<3>()?;
    let user = User::new(str::from_utf8(rest).ok()?).ok()?;
    let resource = Resource::ALL.get(usize::from(*number))?;
    Some(QuotaWarning::new(user, *resource, *percent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back_and_a_threshold_is_told_once() {
        let mut account = Account::default();
        account.set_limits(Some(QuotaLimits::NONE.storage(Some(1_000)).mailboxes(Some(0))));
        account.add_messages(3, 799);
        let thresholds = [80, 95];
        assert_eq!(account.warn(&QuotaLimits::NONE, &thresholds), []);
        account.add_messages(1, 1);
        assert_eq!(account.warn(&QuotaLimits::NONE, &thresholds), [(Resource::Storage, 80)]);
        assert_eq!(account.warn(&QuotaLimits::NONE, &thresholds), []);
        account.add_messages(1, 200);
        assert_eq!(account.warn(&QuotaLimits::NONE, &thresholds), [(Resource::Storage, 95)]);
        let read = Account::decode(b"alice", &account.encode(b"alice")).unwrap();
        assert_eq!(Account { dirty: true, ..read }, account);
        account.remove_messages(2, 500);
        assert_eq!(account.wants_sweep(), None);
        let mut gone = account.clone();
        gone.remove_messages(sweep::LEAST, 0);
        assert_eq!(Account::decode(b"a", &gone.encode(b"a")).unwrap().wants_sweep(), Some(sweep::LEAST + 2));
        gone.swept(sweep::LEAST);
        assert_eq!(gone.wants_sweep(), None);
        assert_eq!(account.warn(&QuotaLimits::NONE, &thresholds), []);
        account.add_messages(1, 400);
        assert_eq!(account.warn(&QuotaLimits::NONE, &thresholds), [(Resource::Storage, 80)]);
        let warning = QuotaWarning::new(User::new("a@b").unwrap(), Resource::Mailbox, 95);
        assert_eq!(decode_warning(&warning_key(b"a@b", Resource::Mailbox, 95)), Some(warning));
    }
}
