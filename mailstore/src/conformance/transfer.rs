//! COPY and MOVE.

use mailwright_mail_model::{DateTime, MailboxName, Uid, UidSet};

use super::{
    Outcome, append, date, ensure, equal, filled, flags, message, modseq_is_known, name, read_all, refused,
    some, user, writer,
};
use crate::{Changes, Expunge, Folders, MailboxRef, Snapshot, Store, StoreError, Target, User, Write};
use bytes::Bytes;

pub(super) async fn a_copy_is_a_message_of_its_own(store: &impl Store) -> Outcome {
    let Some(folders) = store.folders() else { return Ok(()) };
    let (user, archive) = (user("copy")?, name("Archive")?);
    folders.create(&user, &archive, None).await?;
    let (mailbox, numbers) = filled(store, &user, &["(\\Seen)", "($Junk)", "()"]).await?;
    let source = numbers.iter().copied().take(2).collect();
    let copied = writer(store)?.copy(&mailbox, &source, &archive).await?;
    equal("source", &copied.source, &source)?;
    let (inbox, target) = (store.open(&user, mailbox.name()).await?, store.open(&user, &archive).await?);
    equal("copies", &copied.target, &target.uids())?;
    equal("UIDVALIDITY", copied.uid_validity, target.uid_validity())?;
    equal("messages left", inbox.len(), 3)?;
    let place = MailboxRef::new(user.clone(), archive.clone(), &target);
    for (original, copy) in copied.source.iter().zip(copied.target.iter()) {
        let (before, after) = (message(&inbox, original)?, message(&target, copy)?);
        equal("flags", &after.flags, &before.flags)?;
        equal("internal date", after.internal_date, before.internal_date)?;
        equal("identity of the content", after.object, before.object)?;
    }
    // The original goes, the copy stays.
    writer(store)?.expunge(&mailbox, &Expunge::Exactly(source)).await?;
    let first = some(target.messages().next(), "a copy")?;
    equal("octets", read_all(store, &place.message(first), 5).await?, b"message 0\r\n".to_vec())?;
    let unknown = name("conformance-unknown")?;
    refused(writer(store)?.copy(&mailbox, &inbox.uids(), &unknown).await, &StoreError::NotFound)
}

pub(super) async fn a_copy_into_the_same_mailbox(store: &impl Store) -> Outcome {
    let user = user("same")?;
    let (mailbox, numbers) = filled(store, &user, &["()", "()"]).await?;
    let all = numbers.iter().copied().collect();
    let copied = writer(store)?.copy(&mailbox, &all, mailbox.name()).await?;
    let snapshot = store.open(&user, mailbox.name()).await?;
    equal("messages", snapshot.uids(), all.union(&copied.target))?;
    let nothing = writer(store)?.copy(&mailbox, &UidSet::new(), mailbox.name()).await?;
    ensure(nothing.source.is_empty() && nothing.target.is_empty(), "nothing to copy is no error")
}

pub(super) async fn a_move_takes_the_original_away(store: &impl Store) -> Outcome {
    let Some(folders) = store.folders() else { return Ok(()) };
    let (user, trash) = (user("move")?, name("Trash")?);
    folders.create(&user, &trash, None).await?;
    let (mailbox, numbers) = filled(store, &user, &["(\\Seen)", "()"]).await?;
    let before = store.open(&user, mailbox.name()).await?;
    let moved = writer(store)?.move_to(&mailbox, &numbers.iter().copied().take(1).collect(), &trash).await?;
    let inbox = store.open(&user, &MailboxName::inbox()).await?;
    equal("what is left", inbox.uids(), numbers.into_iter().skip(1).collect())?;
    equal("the source's mod-sequence", moved.highest_modseq, inbox.highest_modseq())?;
    if modseq_is_known(store) {
        ensure(inbox.highest_modseq() > before.highest_modseq(), "a move raises the source's mod-sequence")?;
    }
    let target = store.open(&user, &trash).await?;
    equal("what has come", target.uids(), moved.target)?;
    let first = some(target.messages().next(), "the moved message")?;
    let place = MailboxRef::new(user, trash, &target);
    equal("octets", read_all(store, &place.message(first), 100).await?, b"message 0\r\n".to_vec())
}

/// Messages of all kinds, as a mailbox has them after a while: flags, keywords, dates.
async fn various(store: &impl Store, user: &User, name: &MailboxName) -> Outcome<UidSet> {
    let mut uids = UidSet::new();
    for (number, with) in
        ["(\\Seen \\Flagged Work)", "(\\Draft)", "(\\Deleted \\Answered $Junk)"].into_iter().enumerate()
    {
        let mut upload = writer(store)?.begin(None).await?;
        upload.write(Bytes::from(format!("message {number}\r\n"))).await?;
        let seconds = 1_000_000_000 + 86_400 * number as i64;
        let arrived = some(DateTime::new(seconds, 60 * number as i16), "a date")?;
        let saved = some(DateTime::new(seconds + 5, 0), "a date")?;
        let target =
            Target::new(user.clone(), name.clone(), arrived).with_flags(flags(with)?).with_saved(saved);
        uids.insert(some(upload.commit(&[target]).await?.pop(), "an answer")?.uid);
    }
    Ok(uids)
}

/// What goes along from one mailbox to another, message by message.
async fn are_the_same(
    store: &impl Store,
    (before, source): (&Snapshot, &UidSet),
    (mailbox, after): (&MailboxRef, &Snapshot),
    target: &UidSet,
) -> Outcome {
    equal("as many", target.len(), source.len())?;
    for (old, new) in source.iter().zip(target.iter()) {
        let (old, new) = (message(before, old)?, message(after, new)?);
        equal("flags", &new.flags, &old.flags)?;
        equal("internal date", new.internal_date, old.internal_date)?;
        equal("size", new.size, old.size)?;
        equal("identity of the content", new.object, old.object)?;
        equal("thread", new.thread, old.thread)?;
        let number = source.iter().position(|uid| uid == old.uid);
        let text = format!("message {}\r\n", some(number, "a UID")?);
        equal("octets", read_all(store, &mailbox.message(new), 100).await?, text.into_bytes())?;
    }
    Ok(())
}

/// RFC 7162 §3.1: what comes into a mailbox has a mod-sequence of its own there, higher than any before.
fn is_new(store: &impl Store, before: &Snapshot, after: &Snapshot, uids: &UidSet) -> Outcome {
    for uid in uids.iter().filter(|_| modseq_is_known(store)) {
        ensure(
            message(after, uid)?.modseq > before.highest_modseq(),
            "a mod-sequence higher than any before",
        )?;
        ensure(message(after, uid)?.modseq <= after.highest_modseq(), "a mod-sequence of the mailbox")?;
    }
    Ok(())
}

/// QRESYNC (RFC 7162 §3.2.10): whoever was away learns what went.
async fn is_remembered(
    store: &impl Store,
    mailbox: &MailboxRef,
    before: &Snapshot,
    gone: &UidSet,
) -> Outcome {
    let Some(changes) = store.changes() else { return Ok(()) };
    let known = changes.expunged(mailbox, before.highest_modseq()).await?;
    ensure(known.is_none_or(|known| known == *gone), "what went away, or that nobody knows")
}

pub(super) async fn what_is_moved_stays_as_it_was(store: &impl Store) -> Outcome {
    let Some(folders) = store.folders() else { return Ok(()) };
    let (user, trash, inbox) = (user("moved")?, name("Trash")?, MailboxName::inbox());
    folders.create(&user, &trash, None).await?;
    append(store, &user, &trash, "there before", "()").await?;
    let uids = various(store, &user, &inbox).await?;
    let (before, there) = (store.open(&user, &inbox).await?, store.open(&user, &trash).await?);
    let mailbox = MailboxRef::new(user.clone(), inbox.clone(), &before);
    let moved = writer(store)?.move_to(&mailbox, &uids, &trash).await?;
    equal("messages that went", &moved.source, &uids)?;
    let after = store.open(&user, &trash).await?;
    let place = MailboxRef::new(user.clone(), trash.clone(), &after);
    are_the_same(store, (&before, &uids), (&place, &after), &moved.target).await?;
    is_new(store, &there, &after, &moved.target)?;
    is_remembered(store, &mailbox, &before, &uids).await?;
    equal("messages left", store.open(&user, &inbox).await?.len(), 0)?;
    // The same once more, of some of them.
    let some_of: UidSet = moved.target.iter().skip(1).collect();
    let back = writer(store)?.move_to(&place, &some_of, &inbox).await?;
    let last = uids.last().unwrap_or(Uid::MIN);
    ensure(back.target.iter().all(|uid| uid > last), "UIDs that were never used")?;
    is_remembered(store, &place, &after, &some_of).await
}

pub(super) async fn copies_are_new_where_they_are(store: &impl Store) -> Outcome {
    let Some(folders) = store.folders() else { return Ok(()) };
    let (user, there, inbox) = (user("copies")?, name("There")?, MailboxName::inbox());
    folders.create(&user, &there, None).await?;
    for _ in 0..8 {
        append(store, &user, &there, "there before", "()").await?;
    }
    let uids = various(store, &user, &inbox).await?;
    let (before, old) = (store.open(&user, &inbox).await?, store.open(&user, &there).await?);
    let mailbox = MailboxRef::new(user.clone(), inbox.clone(), &before);
    let copied = writer(store)?.copy(&mailbox, &uids, &there).await?;
    let after = store.open(&user, &there).await?;
    let place = MailboxRef::new(user.clone(), there.clone(), &after);
    are_the_same(store, (&before, &uids), (&place, &after), &copied.target).await?;
    is_new(store, &old, &after, &copied.target)?;
    let difference = some(old.difference(&after), "the same UIDVALIDITY")?;
    equal(
        "what a session sees",
        (difference.added, difference.removed),
        (copied.target.clone(), UidSet::new()),
    )?;
    for (from, to) in uids.iter().zip(copied.target.iter()) {
        // RFC 8514 §2: a copy is saved when it is made.
        let (saved, copy) = (message(&before, from)?.saved(), message(&after, to)?.saved());
        let (Some(saved), Some(copy)) = (saved, copy) else { continue };
        ensure(copy > saved && copy.seconds() > date()?.seconds(), "a save date of the copy's own")?;
    }
    // What becomes of one changes nothing of the other.
    writer(store)?.expunge(&mailbox, &Expunge::Exactly(uids.clone())).await?;
    equal("the copies", store.open(&user, &there).await?, after)?;
    is_remembered(store, &mailbox, &before, &uids).await
}

/// RFC 9051 §6.3.6: the messages of INBOX move into the new mailbox.
pub(super) async fn what_inbox_had_stays_as_it_was(store: &impl Store) -> Outcome {
    let (user, old, inbox) = (user("renamed-inbox")?, name("Old")?, MailboxName::inbox());
    let folders = some(store.folders(), "the folders that were there before")?;
    let uids = various(store, &user, &inbox).await?;
    let before = store.open(&user, &inbox).await?;
    let mailbox = MailboxRef::new(user.clone(), inbox.clone(), &before);
    folders.rename(&user, &inbox, &old).await?;
    let after = store.open(&user, &old).await?;
    let place = MailboxRef::new(user.clone(), old.clone(), &after);
    are_the_same(store, (&before, &uids), (&place, &after), &after.uids()).await?;
    let emptied = store.open(&user, &inbox).await?;
    if emptied.uid_validity() == before.uid_validity() {
        let higher = emptied.highest_modseq() > before.highest_modseq();
        ensure(higher || !modseq_is_known(store), "a mod-sequence higher than before")?;
        is_remembered(store, &mailbox, &before, &uids).await?;
    }
    if store.keeps_object_ids() {
        // RFC 8474 §4: it counts as a new mailbox.
        ensure(before.id() == emptied.id() && before.id() != after.id(), "an identity of the new mailbox")?;
    }
    Ok(())
}
