//! What users have and may have, in `maildirsize` as other programs of the Maildir++ family keep it.
//!
//! The first line has the limits, `10000S,50C`, each further one a change, `732 1` or `-732 -1`; what there is is their sum. Programs that
//! count append to it, and others do not, so after a while it is made anew from the names of all files.
//! Limits that are a user's own are in `mailwright-quota`.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use mailwright_mail_model::{MailboxName, UidSet};

use super::{Maildir, Shared, failed, file_name, place, scan};
use crate::signal::{Signal, lock};
use crate::{
    Offload, Quota, QuotaLimits, QuotaStatus, QuotaUsage, QuotaWarning, Resource, Result, Snapshot,
    StoreError, Target, User,
};

const SIZE: &str = "maildirsize";
const LIMITS: &str = "mailwright-quota";
/// The longest the file may be before it is made anew; the Maildir++ quota's description says so.
const LONGEST: usize = 5_120;
/// How long others may have changed something without telling.
const TRUST: Duration = Duration::from_secs(900);

/// The warnings nobody has settled yet.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    pending: Mutex<Vec<QuotaWarning>>,
    raised: Signal,
}

impl<O: Offload + Clone> Quota for Maildir<O> {
    async fn quota_of(&self, user: &User) -> Result<QuotaStatus> {
        let user = user.clone();
        self.run(move |shared| shared.quota_status(&user)).await
    }

    async fn set_quota(&self, user: &User, limits: Option<QuotaLimits>) -> Result<()> {
        let user = user.clone();
        self.run(move |shared| shared.set_limits(&user, limits)).await
    }

    async fn quotas(&self) -> Result<Vec<QuotaStatus>> {
        self.run(|shared| {
            let mut quotas = Vec::new();
            for user in shared.template.users()? {
                match shared.quota_status(&user) {
                    Ok(status) => quotas.push(status),
                    // A directory that is no user's after all.
                    Err(StoreError::Invalid(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(quotas)
        })
        .await
    }

    async fn quota_warnings(&self) -> Result<Vec<QuotaWarning>> {
        let warnings = &self.shared.warnings;
        loop {
            // Counted before looking, so that what comes after the look is not slept through.
            let raised = warnings.raised.raised();
            let pending = lock(&warnings.pending).clone();
            if !pending.is_empty() {
                return Ok(pending);
            }
            warnings.raised.wait(raised).await;
        }
    }

    async fn settle_warnings(&self, warnings: &[QuotaWarning]) -> Result<()> {
        lock(&self.shared.warnings.pending).retain(|warning| !warnings.contains(warning));
        Ok(())
    }
}

impl Shared {
    fn quota_status(&self, user: &User) -> Result<QuotaStatus> {
        let root = self.existing(user, &MailboxName::inbox())?.root.clone();
        let (limits, own) = self.limits(&root)?;
        let mut usage = self.usage(&root, &limits)?;
        usage.mailboxes = self.names(&root)?.len() as u64 + 1;
        Ok(QuotaStatus::new(user.clone(), usage, limits, own))
    }

    /// What a user may have, and whether that is their own.
    fn limits(&self, root: &Path) -> Result<(QuotaLimits, bool)> {
        let path = root.join(LIMITS);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok((self.options.quota, false)),
            text => text.map_err(|error| failed(&path, &error))?,
        };
        let of = |resource: Resource| {
            let line = text.lines().find_map(|line| line.strip_prefix(resource.as_str())?.strip_prefix(' '));
            line.and_then(|limit| limit.trim().parse().ok())
        };
        let limits = QuotaLimits::NONE.storage(of(Resource::Storage)).messages(of(Resource::Message));
        Ok((limits.mailboxes(of(Resource::Mailbox)), true))
    }

    fn set_limits(&self, user: &User, limits: Option<QuotaLimits>) -> Result<()> {
        let root = self.existing(user, &MailboxName::inbox())?.root.clone();
        let path = root.join(LIMITS);
        let Some(limits) = limits else {
            return match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(&path, &error)),
                _ => Ok(()),
            };
        };
        let mut text = String::new();
        for resource in Resource::ALL.iter().copied() {
            if let Some(limit) = limits.of(resource) {
                text += &format!("{} {limit}\n", resource.as_str());
            }
        }
        self.replace(&root, &path, &text)
    }

    /// Writes a small file, whole or not at all.
    fn replace(&self, root: &Path, path: &Path, text: &str) -> Result<()> {
        let draft = root.join("tmp").join(file_name::unique(&self.setting.host));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&draft, path)
        })();
        if written.is_err() {
            let _removed = fs::remove_file(&draft);
        }
        written.map_err(|error| failed(path, &error))
    }

    /// What a user has: by the file, if it can be trusted.
    fn usage(&self, root: &Path, limits: &QuotaLimits) -> Result<QuotaUsage> {
        let path = root.join(SIZE);
        let made = fs::metadata(&path).ok().and_then(|data| data.created().or_else(|_| data.modified()).ok());
        let young = made.and_then(|made| made.elapsed().ok()).is_some_and(|age| age < TRUST);
        let text = fs::read_to_string(&path).ok().filter(|text| young && text.len() <= LONGEST);
        match text.and_then(|text| sum(&text, &head(limits))) {
            Some((storage, messages)) => Ok(QuotaUsage::of_messages(messages, storage)),
            None => self.recount(root, limits),
        }
    }

    /// What a user has, by the names of all files; the file is made anew.
    fn recount(&self, root: &Path, limits: &QuotaLimits) -> Result<QuotaUsage> {
        let mut folders = vec![root.to_owned()];
        for name in self.names(root)? {
            folders.push(place::folder(root, &name)?);
        }
        let (mut storage, mut messages) = (0_u64, 0);
        for folder in folders {
            let files = match scan::scan(&folder) {
                // Deleted meanwhile.
                Err(_) if !super::folder::exists(&folder) => continue,
                files => files?,
            };
            for (base, found) in files {
                messages += 1;
                // A name may tell any number.
                storage = storage.saturating_add(file_name::number(&base, 'S').unwrap_or_else(|| {
                    let part = if found.is_new { "new" } else { "cur" };
                    let path = folder.join(part).join(format!("{base}{}", found.info));
                    fs::metadata(path).map_or(0, |data| data.len())
                }));
            }
        }
        let text = format!("{}\n{storage} {messages}\n", head(limits));
        self.replace(root, &root.join(SIZE), &text)?;
        Ok(QuotaUsage::of_messages(messages, storage))
    }

    /// Whether a user may have so much more.
    pub(super) fn admit(&self, user: &User, more: &QuotaUsage) -> Result<()> {
        let root = self.template.path(user)?;
        let (limits, _) = self.limits(&root)?;
        if limits == QuotaLimits::NONE {
            return Ok(());
        }
        let mut usage = self.usage(&root, &limits)?;
        if more.mailboxes > 0 {
            usage.mailboxes = self.names(&root)?.len() as u64 + 1;
        }
        if limits.admit(&usage, more).is_ok() {
            return Ok(());
        }
        // Others may have made room without telling.
        let counted = self.recount(&root, &limits)?;
        limits.admit(&QuotaUsage { mailboxes: usage.mailboxes, ..counted }, more)
    }

    /// Whether all users may have what is delivered to them; which target is at fault if not.
    pub(super) fn admit_delivery(&self, targets: &[Target], octets: u64) -> Result<(), (usize, StoreError)> {
        for (index, target) in targets.iter().enumerate().filter(|(_, target)| !target.exempt) {
            let so_far =
                targets.iter().take(index + 1).filter(|other| other.user == target.user).count() as u64;
            let more = QuotaUsage::of_messages(so_far, so_far.saturating_mul(octets));
            self.admit(&target.user, &more).map_err(|error| (index, error))?;
        }
        Ok(())
    }

    /// Notes that a user has more or less now, if that is counted, and warns.
    pub(super) fn note(&self, user: &User, octets: i64, messages: i64) {
        let Ok(root) = self.template.path(user) else { return };
        let path = root.join(SIZE);
        let line = format!("{octets} {messages}\n");
        // Who has no such file is not counted yet. What cannot be written is counted the next time it is made anew.
        let appended =
            OpenOptions::new().append(true).open(&path).and_then(|mut file| file.write_all(line.as_bytes()));
        if messages > 0
            && let Ok((limits, _)) = self.limits(&root)
            && limits != QuotaLimits::NONE
            && let Ok(usage) = self.usage(&root, &limits)
        {
            let more = QuotaUsage::of_messages(messages.unsigned_abs(), octets.unsigned_abs());
            self.warn(user, &limits, &usage, &more);
        }
        if appended.is_err() {
            let _removed = fs::remove_file(&path);
        }
    }

    /// Notes that messages of a snapshot came to a user, or are gone.
    pub(super) fn note_messages(&self, user: &User, snapshot: &Snapshot, uids: &UidSet, came: bool) {
        let (mut octets, mut messages) = (0_i64, 0_i64);
        for message in snapshot.among(uids) {
            octets = octets.saturating_add(i64::try_from(message.size).unwrap_or(i64::MAX));
            messages += 1;
        }
        if messages > 0 {
            let sign = if came { 1 } else { -1 };
            self.note(user, sign * octets, sign * messages);
        }
    }

    /// Has what a user has counted anew: after more than single messages came or went.
    pub(super) fn miscount(&self, user: &User) {
        if let Ok(root) = self.template.path(user) {
            let _removed = fs::remove_file(root.join(SIZE));
        }
    }

    fn warn(&self, user: &User, limits: &QuotaLimits, usage: &QuotaUsage, more: &QuotaUsage) {
        let mut warned = false;
        for resource in [Resource::Storage, Resource::Message] {
            let Some(limit) = limits.of(resource).filter(|limit| *limit > 0) else { continue };
            let reached =
                |used: u64, percent: u8| u128::from(used) * 100 >= u128::from(limit) * u128::from(percent);
            let (now, before) = (usage.of(resource), usage.of(resource).saturating_sub(more.of(resource)));
            let passed = self.options.quota_warnings.iter().copied();
            let passed = passed.filter(|percent| reached(now, *percent) && !reached(before, *percent)).max();
            if let Some(percent) = passed {
                lock(&self.warnings.pending).push(QuotaWarning::new(user.clone(), resource, percent));
                warned = true;
            }
        }
        if warned {
            self.warnings.raised.raise();
        }
    }
}

/// The first line of the file.
fn head(limits: &QuotaLimits) -> String {
    let storage = limits.storage.map(|limit| format!("{limit}S"));
    let messages = limits.messages.map(|limit| format!("{limit}C"));
    [storage, messages].into_iter().flatten().collect::<Vec<_>>().join(",")
}

/// What the file says; `None` if it is of other limits, or cannot be understood.
fn sum(text: &str, head: &str) -> Option<(u64, u64)> {
    let mut lines = text.strip_suffix('\n')?.lines();
    if lines.next()? != head {
        return None;
    }
    let (mut storage, mut messages) = (0_i64, 0_i64);
    for line in lines {
        let (octets, count) = line.trim().split_once(' ')?;
        storage = storage.checked_add(octets.parse().ok()?)?;
        messages = messages.checked_add(count.trim().parse().ok()?)?;
    }
    Some((u64::try_from(storage).ok()?, u64::try_from(messages).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_summed_if_it_is_of_these_limits() {
        let limits = QuotaLimits::NONE.storage(Some(1_000)).messages(Some(9));
        assert_eq!(head(&limits), "1000S,9C");
        assert_eq!(sum("1000S,9C\n700 7\n-100 -1\n  20   1\n", "1000S,9C"), Some((620, 7)));
        assert_eq!(sum("\n0 0\n", ""), Some((0, 0)));
        for wrong in
            ["", "1000S\n1 1\n", "1000S,9C\n1 1", "1000S,9C\n1\n", "1000S,9C\nx y\n", "1000S,9C\n-1 0\n"]
        {
            assert_eq!(sum(wrong, "1000S,9C"), None, "{wrong:?}");
        }
    }
}
