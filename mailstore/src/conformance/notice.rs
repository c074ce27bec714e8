//! Changes are told and remembered, and so is what was found out about messages.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use mailwright_mail_model::{MailboxName, ModSeq};

use super::limit::{both, told};
use super::{Outcome, append, ensure, equal, filled, flags, message, name, refused, some, user, writer};
use crate::{
    Cache, Changes, Column, Expunge, FlagChange, FlagOperation, Folders, Store, StoreError, Summary, Watch,
    Write,
};

pub(super) async fn a_change_wakes_who_waits(store: &impl Store) -> Outcome {
    let (user, inbox) = (user("watch")?, MailboxName::inbox());
    let (mailbox, _) = filled(store, &user, &["()"]).await?;
    let watch = some(store.watch(), "the watch that was there before")?;
    let delivery = append(store, &user, &inbox, "elsewhere", "()").await?;
    let mut seen = store.open(&user, &inbox).await?;
    for step in 0..3 {
        let waiting = seen.clone();
        let mut changed = pin!(watch.changed(&user, &inbox, &waiting));
        let early = poll_fn(|context| Poll::Ready(changed.as_mut().poll(context).is_ready())).await;
        ensure(!early, "no notice without a change")?;
        // Who waits goes on: it may hold what the change needs.
        let change = async {
            match step {
                0 => drop(append(store, &user, &inbox, "new", "()").await?),
                1 => {
                    let change = FlagChange::new(FlagOperation::Add, flags("(\\Deleted)")?);
                    writer(store)?.store_flags(&mailbox, &delivery.uid.into(), &change).await?;
                }
                _ => drop(writer(store)?.expunge(&mailbox, &Expunge::Deleted).await?),
            }
            Outcome::Ok(())
        };
        let (now, changed) = both(told("a change", changed), change).await;
        changed?;
        let now = now??;
        let difference = some(seen.difference(&now), "the same UIDVALIDITY")?;
        let counts = (difference.added.len(), difference.changed.len(), difference.removed.len());
        equal("what was told", counts, (u64::from(step == 0), u64::from(step == 1), u64::from(step == 2)))?;
        seen = now;
    }
    Ok(())
}

pub(super) async fn a_change_before_the_wait_is_told_at_once(store: &impl Store) -> Outcome {
    let (user, inbox) = (user("late")?, MailboxName::inbox());
    let seen = store.open(&user, &inbox).await?;
    append(store, &user, &inbox, "new", "()").await?;
    let watch = some(store.watch(), "the watch that was there before")?;
    equal("messages", told("a change before the wait", watch.changed(&user, &inbox, &seen)).await??.len(), 1)
}

pub(super) async fn a_deleted_mailbox_ends_the_wait(store: &impl Store) -> Outcome {
    let (user, gone) = (user("gone")?, name("gone")?);
    let Some(folders) = store.folders() else { return Ok(()) };
    folders.create(&user, &gone, None).await?;
    let seen = store.open(&user, &gone).await?;
    let watch = some(store.watch(), "the watch that was there before")?;
    let mut changed = pin!(watch.changed(&user, &gone, &seen));
    let early = poll_fn(|context| Poll::Ready(changed.as_mut().poll(context).is_ready())).await;
    ensure(!early, "no notice without a change")?;
    let (ended, deleted) =
        both(told("a mailbox that is deleted", changed), folders.delete(&user, &gone)).await;
    deleted?;
    refused(ended?, &StoreError::NotFound)
}

pub(super) async fn expunges_are_remembered(store: &impl Store) -> Outcome {
    let user = user("history")?;
    let (mailbox, numbers) = filled(store, &user, &["()", "()", "()", "()"]).await?;
    let changes = some(store.changes(), "the changes that were there before")?;
    let start = store.open(&user, mailbox.name()).await?;
    let mut known = Vec::new();
    for uid in &numbers {
        known.push(writer(store)?.expunge(&mailbox, &Expunge::Exactly((*uid).into())).await?.highest_modseq);
    }
    ensure(known.is_sorted_by(|a, b| a < b), "each expunge has a higher mod-sequence")?;
    let all: mailwright_mail_model::UidSet = numbers.iter().copied().collect();
    for since in [start.highest_modseq(), ModSeq::ZERO] {
        let expunged = changes.expunged(&mailbox, since).await?;
        ensure(expunged.is_none_or(|expunged| expunged == all), "all four, or that nobody knows")?;
    }
    let second = some(known.get(1).copied(), "a mod-sequence")?;
    let expunged = changes.expunged(&mailbox, second).await?;
    let last_two = numbers.iter().copied().skip(2).collect();
    ensure(expunged.is_none_or(|expunged| expunged == last_two), "the last two, or that nobody knows")?;
    let latest = some(known.last().copied(), "a mod-sequence")?;
    equal(
        "nothing since",
        changes.expunged(&mailbox, latest).await?,
        Some(mailwright_mail_model::UidSet::new()),
    )?;
    // What is left of the changes, the snapshot tells.
    let added = append(store, &user, mailbox.name(), "new", "()").await?;
    let snapshot = store.open(&user, mailbox.name()).await?;
    let changed: Vec<_> = snapshot.changed_since(latest).map(|message| message.uid).collect();
    equal("changed since", changed, vec![added.uid])
}

pub(super) async fn a_summary_stays_with_the_content(store: &impl Store) -> Outcome {
    let user = user("cache")?;
    let (mailbox, numbers) = filled(store, &user, &["()", "()"]).await?;
    let cache = some(store.cache(), "the cache that was there before")?;
    let copied =
        writer(store)?.copy(&mailbox, &numbers.iter().copied().take(1).collect(), mailbox.name()).await?;
    let snapshot = store.open(&user, mailbox.name()).await?;
    let summary = Summary::new(Bytes::from_static(b"envelope"), Bytes::from_static(b"structure"))
        .with_body_structure(Bytes::from_static(b"body structure"))
        .with_header(Bytes::from_static(b"header"));
    let messages: Vec<_> = snapshot.messages().map(|message| mailbox.message(message)).collect();
    equal("before", cache.load(&messages).await?, vec![None, None, None])?;
    cache.save(some(messages.first(), "a message")?, &summary).await?;
    // A cache may forget, but must not make things up.
    let loaded = cache.load(&messages).await?;
    ensure(loaded.iter().flatten().all(|loaded| *loaded == summary), "what was saved")?;
    let other = some(numbers.get(1).copied(), "a UID")?;
    let place = messages.iter().position(|message| message.uid == other);
    equal("another message", some(place.and_then(|place| loaded.get(place)), "an answer")?, &None)?;
    for column in Column::ALL.iter().copied() {
        let found = cache.column(&messages, column).await?;
        let mut known = found.iter().flatten().filter(|octets| !octets.is_empty());
        ensure(known.all(|octets| octets == summary.column(column)), "a column of what was saved")?;
    }
    message(&snapshot, some(copied.target.first(), "a copy")?).map(|_| ())
}
