//! COPY and MOVE.

use mailwright_mail_model::MailboxName;

use super::{Outcome, ensure, equal, filled, message, name, read_all, refused, some, user, writer};
use crate::{Expunge, MailboxRef, Store, StoreError, Write};

pub(super) async fn a_copy_is_a_message_of_its_own(store: &impl Store) -> Outcome {
    let Some(folders) = store.folders() else { return Ok(()) };
    use crate::Folders;
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
    let nothing =
        writer(store)?.copy(&mailbox, &mailwright_mail_model::UidSet::new(), mailbox.name()).await?;
    ensure(nothing.source.is_empty() && nothing.target.is_empty(), "nothing to copy is no error")
}

pub(super) async fn a_move_takes_the_original_away(store: &impl Store) -> Outcome {
    let Some(folders) = store.folders() else { return Ok(()) };
    use crate::Folders;
    let (user, trash) = (user("move")?, name("Trash")?);
    folders.create(&user, &trash, None).await?;
    let (mailbox, numbers) = filled(store, &user, &["(\\Seen)", "()"]).await?;
    let before = store.open(&user, mailbox.name()).await?;
    let moved = writer(store)?.move_to(&mailbox, &numbers.iter().copied().take(1).collect(), &trash).await?;
    let inbox = store.open(&user, &MailboxName::inbox()).await?;
    equal("what is left", inbox.uids(), numbers.into_iter().skip(1).collect())?;
    equal("the source's mod-sequence", moved.highest_modseq, inbox.highest_modseq())?;
    if super::modseq_is_known(store) {
        ensure(inbox.highest_modseq() > before.highest_modseq(), "a move raises the source's mod-sequence")?;
    }
    let target = store.open(&user, &trash).await?;
    equal("what has come", target.uids(), moved.target)?;
    let first = some(target.messages().next(), "the moved message")?;
    let place = MailboxRef::new(user, trash, &target);
    equal("octets", read_all(store, &place.message(first), 100).await?, b"message 0\r\n".to_vec())
}
