//! Flags change and messages go.

use mailwright_mail_model::MailboxName;

use super::{Outcome, ensure, equal, filled, flags, message, modseq_is_known, some, uids, user, writer};
use crate::{Expunge, FlagChange, FlagOperation, Status, Store, Write};

pub(super) async fn flags_are_added_removed_and_replaced(store: &impl Store) -> Outcome {
    let user = user("flags")?;
    let (mailbox, numbers) = filled(store, &user, &["(\\Draft)", "(\\Seen $Junk)", "()"]).await?;
    let both = numbers.iter().copied().take(2).collect();
    for (operation, change, first, second) in [
        (FlagOperation::Add, "(\\Seen Work)", "(\\Seen \\Draft Work)", "(\\Seen $Junk Work)"),
        (FlagOperation::Remove, "(\\Seen $JUNK)", "(\\Draft Work)", "(Work)"),
        (FlagOperation::Replace, "(\\Deleted)", "(\\Deleted)", "(\\Deleted)"),
    ] {
        let before = store.open(&user, mailbox.name()).await?;
        let stored =
            writer(store)?.store_flags(&mailbox, &both, &FlagChange::new(operation, flags(change)?)).await?;
        let expected = vec![flags(first)?, flags(second)?];
        let answered: Vec<_> = stored.messages.iter().map(|(_, flags, _)| flags.clone()).collect();
        equal("flags answered", answered, expected.clone())?;
        let after = store.open(&user, mailbox.name()).await?;
        for ((uid, expected), (_, _, modseq)) in numbers.iter().zip(expected).zip(&stored.messages) {
            let found = message(&after, *uid)?;
            equal("flags stored", &found.flags, &expected)?;
            equal("mod-sequence", found.modseq, *modseq)?;
            if modseq_is_known(store) {
                ensure(found.modseq > before.highest_modseq(), "a change has a higher mod-sequence")?;
            }
        }
        equal("the others", message(&after, some(numbers.get(2).copied(), "a UID")?)?.flags.len(), 0)?;
    }
    let nothing = FlagChange::new(FlagOperation::Add, flags("(\\Deleted)")?);
    let before = store.open(&user, mailbox.name()).await?;
    let stored = writer(store)?.store_flags(&mailbox, &both, &nothing).await?;
    equal("messages", stored.messages.len(), 2)?;
    let after = store.open(&user, mailbox.name()).await?;
    equal("mod-sequence after no change", after.highest_modseq(), before.highest_modseq())?;
    // UIDs that do not exist are no error, however many.
    let stored = writer(store)?.store_flags(&mailbox, &uids("4000000000:4294967295")?, &nothing).await?;
    equal("messages", stored.messages.len(), 0)
}

/// [`FlagChange::within`]: what the rights do not cover stays as each message has it (RFC 4314 §4).
pub(super) async fn flags_beyond_the_rights_stay(store: &impl Store) -> Outcome {
    let user = user("flag-rights")?;
    let (mailbox, numbers) = filled(store, &user, &["(\\Flagged \\Deleted)", "(\\Seen Work)"]).await?;
    let all = numbers.iter().copied().collect();
    for (operation, change, with, first, second) in [
        (FlagOperation::Replace, "(\\Seen \\Draft)", "s", "(\\Seen \\Flagged \\Deleted)", "(\\Seen Work)"),
        (FlagOperation::Remove, "(\\Seen \\Deleted Work)", "w", "(\\Seen \\Flagged \\Deleted)", "(\\Seen)"),
        (
            FlagOperation::Add,
            "(\\Deleted \\Draft)",
            "t",
            "(\\Seen \\Flagged \\Deleted)",
            "(\\Seen \\Deleted)",
        ),
        (FlagOperation::Replace, "()", "swt", "()", "()"),
        (FlagOperation::Add, "(\\Seen \\Deleted Work)", "lr", "()", "()"),
    ] {
        let change = FlagChange::new(operation, flags(change)?).within(super::sharing::rights(with)?);
        let stored = writer(store)?.store_flags(&mailbox, &all, &change).await?;
        let expected = vec![flags(first)?, flags(second)?];
        let answered: Vec<_> = stored.messages.iter().map(|(_, flags, _)| flags.clone()).collect();
        equal("flags answered", answered, expected.clone())?;
        let snapshot = store.open(&user, mailbox.name()).await?;
        for (uid, expected) in numbers.iter().zip(&expected) {
            equal("flags stored", &message(&snapshot, *uid)?.flags, expected)?;
        }
    }
    Ok(())
}

pub(super) async fn unchanged_since_protects(store: &impl Store) -> Outcome {
    if !modseq_is_known(store) {
        return Ok(());
    }
    let user = user("condition")?;
    let (mailbox, numbers) = filled(store, &user, &["()", "()"]).await?;
    let known = store.open(&user, mailbox.name()).await?.highest_modseq();
    let (first, all) = (numbers.iter().copied().take(1).collect(), numbers.iter().copied().collect());
    let seen = FlagChange::new(FlagOperation::Add, flags("(\\Seen)")?);
    writer(store)?.store_flags(&mailbox, &first, &seen).await?;
    let deleted = FlagChange::new(FlagOperation::Add, flags("(\\Deleted)")?).unchanged_since(known);
    let stored = writer(store)?.store_flags(&mailbox, &all, &deleted).await?;
    equal("messages left alone", stored.modified, first)?;
    let changed: Vec<_> = stored.messages.iter().map(|(uid, ..)| *uid).collect();
    equal("messages changed", changed, numbers.into_iter().skip(1).collect())
}

pub(super) async fn expunge_takes_what_is_deleted(store: &impl Store) -> Outcome {
    let user = user("expunge")?;
    let (mailbox, numbers) =
        filled(store, &user, &["(\\Deleted)", "()", "(\\Deleted)", "(\\Deleted)", "()"]).await?;
    let pick = |indices: &[usize]| indices.iter().filter_map(|index| numbers.get(*index).copied()).collect();
    let writer = writer(store)?;
    let before = store.open(&user, mailbox.name()).await?.highest_modseq();
    let expunged = writer.expunge(&mailbox, &Expunge::DeletedAmong(pick(&[0, 1]))).await?;
    equal("UID EXPUNGE", expunged.uids, pick(&[0]))?;
    if modseq_is_known(store) {
        ensure(expunged.highest_modseq > before, "an expunge raises the mod-sequence of the mailbox")?;
    }
    equal("EXPUNGE", writer.expunge(&mailbox, &Expunge::Deleted).await?.uids, pick(&[2, 3]))?;
    equal("again", writer.expunge(&mailbox, &Expunge::Deleted).await?.uids, pick(&[]))?;
    equal("a set", writer.expunge(&mailbox, &Expunge::Exactly(pick(&[0, 4]))).await?.uids, pick(&[4]))?;
    let snapshot = store.open(&user, mailbox.name()).await?;
    equal("the rest", snapshot.uids(), pick(&[1]))?;
    if modseq_is_known(store) {
        ensure(snapshot.highest_modseq() > expunged.highest_modseq, "each expunge counts")?;
    }
    Ok(())
}

pub(super) async fn an_old_snapshot_stays_as_it_was(store: &impl Store) -> Outcome {
    let user = user("snapshot")?;
    let (mailbox, numbers) = filled(store, &user, &["()", "()", "(\\Deleted)"]).await?;
    let old = store.open(&user, mailbox.name()).await?;
    let first = numbers.iter().copied().take(1).collect();
    let seen = FlagChange::new(FlagOperation::Add, flags("(\\Seen)")?);
    writer(store)?.store_flags(&mailbox, &first, &seen).await?;
    writer(store)?.expunge(&mailbox, &Expunge::Deleted).await?;
    let added = super::append(store, &user, mailbox.name(), "new", "()").await?;
    equal("messages in the old snapshot", old.uids(), numbers.iter().copied().collect())?;
    equal("unseen in the old snapshot", old.unseen(), 3)?;
    let new = store.open(&user, mailbox.name()).await?;
    let difference = some(old.difference(&new), "a difference between snapshots of one mailbox")?;
    equal("added", difference.added, added.uid.into())?;
    equal("changed", difference.changed, first)?;
    equal("removed", difference.removed, numbers.iter().copied().skip(2).collect())
}

pub(super) async fn status_is_what_the_snapshot_counts(store: &impl Store) -> Outcome {
    let (user, inbox) = (user("status")?, MailboxName::inbox());
    let (mailbox, _) = filled(store, &user, &["(\\Seen)", "(\\Deleted)", "(\\Seen \\Deleted)", "()"]).await?;
    let status = store.status(&user, &inbox).await?;
    equal("counts", (status.messages, status.unseen, status.deleted), (4, 2, 2))?;
    equal("size", status.size, 4 * "message 0\r\n".len() as u64)?;
    writer(store)?.expunge(&mailbox, &Expunge::Deleted).await?;
    let snapshot = store.open(&user, &inbox).await?;
    let status = store.status(&user, &inbox).await?;
    equal("status", Status { recent: None, ..status }, (&*snapshot).into())?;
    let counts = (snapshot.len(), snapshot.unseen(), snapshot.deleted());
    equal("counts", counts, (2, 1, 0))
}
