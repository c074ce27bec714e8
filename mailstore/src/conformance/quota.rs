//! What users have is counted, and what is too much is refused.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use mailwright_mail_model::{MailboxName, UidSet};

use super::{
    Outcome, append, date, ensure, equal, filled, limit, name, refused, sharing, some, user, writer,
};
use crate::{
    Annotated, Expunge, Folders, MailboxRef, Metadata, Quota, QuotaLimits, QuotaWarning, Resource, Store,
    StoreError, Target, User, Write,
};

fn quota(store: &impl Store) -> Outcome<&impl Quota> {
    some(store.quota(), "the quota that was there before")
}

async fn has(store: &impl Store, user: &User) -> Outcome<(u64, u64)> {
    let usage = quota(store)?.quota_of(user).await?.usage;
    Ok((usage.messages, usage.storage))
}

pub(super) async fn what_is_there_is_counted(store: &impl Store) -> Outcome {
    let user = user("usage")?;
    equal("messages and octets of a new user", has(store, &user).await?, (0, 0))?;
    let (mailbox, uids) = filled(store, &user, &["()", "()", "()"]).await?;
    // Each is "message N\r\n".
    equal("messages and octets", has(store, &user).await?, (3, 33))?;
    let first = some(uids.first().copied(), "a UID")?;
    writer(store)?.copy(&mailbox, &first.into(), mailbox.name()).await?;
    equal("with a copy", has(store, &user).await?, (4, 44))?;
    writer(store)?.move_to(&mailbox, &first.into(), mailbox.name()).await?;
    equal("after a move", has(store, &user).await?, (4, 44))?;
    let last = some(uids.last().copied(), "a UID")?;
    writer(store)?.expunge(&mailbox, &Expunge::Exactly(last.into())).await?;
    equal("after an expunge", has(store, &user).await?, (3, 33))?;
    if let Some(folders) = store.folders() {
        let archive = name("Archive")?;
        let status = quota(store)?.quota_of(&user).await?;
        folders.rename(&user, &MailboxName::inbox(), &archive).await?;
        equal("after INBOX got a new name", has(store, &user).await?, (3, 33))?;
        let after = quota(store)?.quota_of(&user).await?;
        equal("mailboxes", after.usage.mailboxes, status.usage.mailboxes + 1)?;
        folders.delete(&user, &archive).await?;
        equal("after all is deleted", has(store, &user).await?, (0, 0))?;
        equal(
            "mailboxes",
            quota(store)?.quota_of(&user).await?.usage,
            status_of_nothing(status.usage.mailboxes),
        )?;
    }
    let all = quota(store)?.quotas().await?;
    let mine = all.iter().find(|status| status.user == user);
    equal("among all", mine.cloned(), Some(quota(store)?.quota_of(&user).await?))
}

const fn status_of_nothing(mailboxes: u64) -> crate::QuotaUsage {
    let mut usage = crate::QuotaUsage::of_messages(0, 0);
    usage.mailboxes = mailboxes;
    usage
}

pub(super) async fn too_much_is_refused(store: &impl Store) -> Outcome {
    let (full, other, inbox) = (user("full")?, user("not-full")?, MailboxName::inbox());
    let (mailbox, uids) = filled(store, &full, &["()", "()"]).await?;
    let default = quota(store)?.quota_of(&full).await?;
    ensure(!default.own, "limits of the default at first")?;
    let limits = QuotaLimits::NONE.storage(Some(30)).messages(Some(100));
    quota(store)?.set_quota(&full, Some(limits)).await?;
    let status = quota(store)?.quota_of(&full).await?;
    equal("limits", (status.limits, status.own), (limits, true))?;
    equal("at RCPT", quota(store)?.check_quota(&full, 8).await, Ok(()))?;
    refused(quota(store)?.check_quota(&full, 9).await, &StoreError::OverQuota)?;
    let mut upload = writer(store)?.begin(None).await?;
    upload.write(Bytes::from_static(b"nine octe")).await?;
    let date = date()?;
    let targets = [&other, &full].map(|user| Target::new(user.clone(), inbox.clone(), date));
    match upload.commit(&targets).await {
        Err(error) => {
            equal("the target at fault", (error.target, error.error), (Some(1), StoreError::OverQuota))?
        }
        Ok(appended) => equal("a message too large", appended, Vec::new())?,
    }
    ensure(store.open(&other, &inbox).await?.is_empty(), "no target has it if one refuses it")?;
    upload.commit(&targets[..1]).await?;
    let first = some(uids.first().copied(), "a UID")?;
    refused(writer(store)?.copy(&mailbox, &first.into(), &inbox).await, &StoreError::OverQuota)?;
    let nowhere = name("not there")?;
    refused(writer(store)?.copy(&mailbox, &first.into(), &nowhere).await, &StoreError::NotFound)?;
    writer(store)?.move_to(&mailbox, &first.into(), &inbox).await?;
    append(store, &full, &inbox, "8 octets", "()").await?;
    refused(quota(store)?.check_quota(&full, 1).await, &StoreError::OverQuota)?;
    quota(store)?.set_quota(&full, Some(QuotaLimits::NONE.messages(Some(3)))).await?;
    refused(quota(store)?.check_quota(&full, 0).await, &StoreError::OverQuota)?;
    let mut notice = writer(store)?.begin(None).await?;
    notice.write(Bytes::from_static(b"your mailbox is full")).await?;
    notice.commit(&[Target::new(full.clone(), inbox.clone(), date).exempt()]).await?;
    equal("what the server has to tell counts", has(store, &full).await?.0, 4)?;
    quota(store)?.set_quota(&full, None).await?;
    equal("the default again", quota(store)?.quota_of(&full).await?.limits, default.limits)?;
    append(store, &full, &inbox, "there is room again", "()").await.map(|_| ())
}

/// What comes together counts together.
pub(super) async fn room_for_one_is_not_room_for_two(store: &impl Store) -> Outcome {
    let (user, inbox) = (user("room")?, MailboxName::inbox());
    let mut uids = UidSet::new();
    for _ in 0..2 {
        uids.insert(append(store, &user, &inbox, "0123456789", "()").await?.uid);
    }
    for limits in [QuotaLimits::NONE.messages(Some(3)), QuotaLimits::NONE.storage(Some(35))] {
        quota(store)?.set_quota(&user, Some(limits)).await?;
        let snapshot = store.open(&user, &inbox).await?;
        let mailbox = MailboxRef::new(user.clone(), inbox.clone(), &snapshot);
        refused(writer(store)?.copy(&mailbox, &uids, &inbox).await, &StoreError::OverQuota)?;
        equal("messages", store.open(&user, &inbox).await?.uids(), uids.clone())?;
        let mut upload = writer(store)?.begin(None).await?;
        upload.write(Bytes::from_static(b"0123456789")).await?;
        let target = Target::new(user.clone(), inbox.clone(), date()?);
        let both = [target.clone(), target];
        refused(upload.commit(&both).await.map_err(|failed| failed.error), &StoreError::OverQuota)?;
        equal("messages", store.open(&user, &inbox).await?.uids(), uids.clone())?;
        let one = some(upload.commit(&both[..1]).await?.pop(), "an answer")?.uid;
        writer(store)?.expunge(&mailbox, &Expunge::Exactly(one.into())).await?;
    }
    Ok(quota(store)?.set_quota(&user, None).await?)
}

/// A store need not count annotations. What it counts, it limits.
pub(super) async fn annotations_that_count_are_limited(store: &impl Store) -> Outcome {
    let (user, inbox) = (user("annotated")?, MailboxName::inbox());
    let metadata = some(store.metadata(), "the metadata that was there before")?;
    store.open(&user, &inbox).await?;
    let place = Annotated::Mailbox { owner: user.clone(), name: inbox };
    let comment = sharing::entry("/shared/comment")?;
    let put = async |value: Option<&'static [u8]>| {
        let change = (comment.clone(), value.map(Bytes::from_static));
        metadata.annotate(&place, &user, &[change]).await
    };
    let used = async || Outcome::Ok(quota(store)?.quota_of(&user).await?.usage.annotations);
    let before = used().await?;
    put(Some(b"short")).await?;
    let short = used().await?;
    if short > before {
        quota(store)?.set_quota(&user, Some(QuotaLimits::NONE.annotations(Some(short + 20)))).await?;
        refused(put(Some(&[b'x'; 500])).await, &StoreError::OverQuota)?;
        equal("annotations", used().await?, short)?;
        put(Some(b"other")).await?;
        quota(store)?.set_quota(&user, None).await?;
    }
    put(None).await?;
    equal("annotations", used().await?, before)
}

pub(super) async fn mailboxes_count_too(store: &impl Store) -> Outcome {
    let user = user("many")?;
    let folders = some(store.folders(), "the folders that were there before")?;
    let has = quota(store)?.quota_of(&user).await?.usage.of(Resource::Mailbox);
    quota(store)?.set_quota(&user, Some(QuotaLimits::NONE.mailboxes(Some(has + 2)))).await?;
    refused(folders.create(&user, &name("A/B/C")?, None).await, &StoreError::OverQuota)?;
    refused(store.open(&user, &name("A")?).await, &StoreError::NotFound)?;
    folders.create(&user, &name("A/B")?, None).await?;
    refused(folders.create(&user, &name("C")?, None).await, &StoreError::OverQuota)?;
    folders.delete(&user, &name("A/B")?).await?;
    folders.create(&user, &name("C")?, None).await.map(|_| ())?;
    equal("mailboxes", quota(store)?.quota_of(&user).await?.usage.mailboxes, has + 2)?;
    // A new name makes none, but those above it that are missing, and INBOX stays.
    refused(folders.rename(&user, &name("C")?, &name("X/Y/C")?).await, &StoreError::OverQuota)?;
    refused(folders.rename(&user, &MailboxName::inbox(), &name("Old")?).await, &StoreError::OverQuota)?;
    refused(store.open(&user, &name("X")?).await, &StoreError::NotFound)?;
    folders.rename(&user, &name("C")?, &name("D")?).await?;
    folders.rename(&user, &name("D")?, &name("A/D")?).await?;
    equal("mailboxes", quota(store)?.quota_of(&user).await?.usage.mailboxes, has + 2)
}

/// The warnings of a user that come within half a second: a store that has none waits for ever.
async fn warnings_of(store: &impl Store, user: &User) -> Outcome<Vec<QuotaWarning>> {
    let mut coming = Box::pin(quota(store)?.quota_warnings());
    for _ in 0..50 {
        if let Poll::Ready(told) = poll_fn(|context| Poll::Ready(coming.as_mut().poll(context))).await {
            let mine: Vec<_> = told?.into_iter().filter(|warning| warning.user == *user).collect();
            if !mine.is_empty() {
                return Ok(mine);
            }
            coming = Box::pin(quota(store)?.quota_warnings());
        }
        limit::pause(Duration::from_millis(10)).await;
    }
    Ok(Vec::new())
}

/// Whether the store gives warnings at all.
pub(super) async fn warnings_are_told_until_they_are_settled(store: &impl Store) -> Outcome<bool> {
    let (user, inbox) = (user("warned")?, MailboxName::inbox());
    quota(store)?.set_quota(&user, Some(QuotaLimits::NONE.messages(Some(2)))).await?;
    let (mailbox, _) = filled(store, &user, &["()", "()"]).await?;
    let told = warnings_of(store, &user).await?;
    if told.is_empty() {
        return Ok(false);
    }
    let right = |warning: &QuotaWarning| warning.resource == Resource::Message && warning.percent <= 100;
    ensure(told.iter().all(right), "warnings of the messages alone, of which there is a limit")?;
    equal("before they are settled", warnings_of(store, &user).await?, told.clone())?;
    quota(store)?.settle_warnings(&told).await?;
    equal("after they are settled", warnings_of(store, &user).await?, Vec::new())?;
    let snapshot = store.open(&user, &inbox).await?;
    writer(store)?.expunge(&mailbox, &Expunge::Exactly(snapshot.uids())).await?;
    filled(store, &user, &["()", "()"]).await?;
    let again = warnings_of(store, &user).await?;
    ensure(!again.is_empty(), "a threshold that is passed again is told of again")?;
    quota(store)?.settle_warnings(&again).await?;
    quota(store)?.set_quota(&user, None).await?;
    Ok(true)
}
