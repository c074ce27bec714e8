//! How messages come in: side by side, with a size that is wrong, many at once, with dates and keywords of all kinds.

use bytes::Bytes;
use mailwright_mail_model::{DateTime, MailboxName};

use super::{Outcome, date, ensure, equal, flags, message, read_all, refused, some, user, writer};
use crate::{Expunge, MailboxRef, Status, Store, StoreError, Target, Write};

/// Each has a place of its own for what is not committed yet.
pub(super) async fn uploads_side_by_side_are_not_mixed(store: &impl Store) -> Outcome {
    let (user, inbox) = (user("mixed")?, MailboxName::inbox());
    let target = Target::new(user.clone(), inbox.clone(), date()?);
    let mut first = writer(store)?.begin(None).await?;
    let mut second = writer(store)?.begin(None).await?;
    for _ in 0..20 {
        first.write(Bytes::from(vec![b'a'; 30_001])).await?;
        second.write(Bytes::from(vec![b'b'; 20_001])).await?;
    }
    let mut places = Vec::new();
    for (mut upload, octets) in [(second, vec![b'b'; 400_020]), (first, vec![b'a'; 600_020])] {
        let appended = upload.commit(std::slice::from_ref(&target)).await?;
        places.push((some(appended.first(), "an answer")?.uid, octets));
    }
    let snapshot = store.open(&user, &inbox).await?;
    let mailbox = MailboxRef::new(user, inbox, &snapshot);
    for (uid, octets) in places {
        let found = message(&snapshot, uid)?;
        equal("size", found.size, octets.len() as u64)?;
        ensure(read_all(store, &mailbox.message(found), 1 << 20).await? == octets, "octets of one upload")?;
    }
    Ok(())
}

/// [`Write::begin`]: a store may refuse by the size that is expected, but must not believe it.
pub(super) async fn the_size_expected_is_not_believed(store: &impl Store) -> Outcome {
    let (user, inbox) = (user("expected")?, MailboxName::inbox());
    let target = Target::new(user.clone(), inbox.clone(), date()?);
    let text = vec![b'x'; 100_000];
    for expected in [0, 5, 500_000] {
        let before = store.open(&user, &inbox).await?.len();
        let outcome = async {
            let mut upload = writer(store)?.begin(Some(expected)).await?;
            for chunk in text.chunks(30_000) {
                upload.write(Bytes::copy_from_slice(chunk)).await?;
            }
            Outcome::Ok(upload.commit(std::slice::from_ref(&target)).await?.pop())
        };
        // To refuse it is right, too.
        let Ok(appended) = outcome.await else {
            equal("messages", store.open(&user, &inbox).await?.len(), before)?;
            continue;
        };
        let snapshot = store.open(&user, &inbox).await?;
        let found = message(&snapshot, some(appended, "an answer")?.uid)?;
        equal("size", found.size, text.len() as u64)?;
        let mailbox = MailboxRef::new(user.clone(), inbox.clone(), &snapshot);
        ensure(
            read_all(store, &mailbox.message(found), 1 << 20).await? == text,
            "the octets that were written",
        )?;
    }
    Ok(())
}

/// Nobody sees a message before it is committed, nor one that never is.
pub(super) async fn nothing_is_seen_before_it_is_committed(store: &impl Store) -> Outcome {
    let (user, inbox) = (user("unseen")?, MailboxName::inbox());
    let before = super::append(store, &user, &inbox, "before", "()").await?;
    let old = store.open(&user, &inbox).await?;
    let status = store.status(&user, &inbox).await?;
    let mut upload = writer(store)?.begin(Some(900_000)).await?;
    for _ in 0..9 {
        upload.write(Bytes::from(vec![b'x'; 100_000])).await?;
        equal("messages", store.open(&user, &inbox).await?.uids(), before.uid.into())?;
        equal("counts", store.status(&user, &inbox).await?, status.clone())?;
    }
    equal("the mailbox", store.open(&user, &inbox).await?, old.clone())?;
    drop(upload);
    equal("the mailbox", store.open(&user, &inbox).await?, old)
}

/// More than anybody shows on a page.
pub(super) async fn many_messages_are_all_there(store: &impl Store) -> Outcome {
    let (user, inbox) = (user("lots")?, MailboxName::inbox());
    let date = date()?;
    let seen = flags("(\\Seen)")?;
    let target = |number| {
        let target = Target::new(user.clone(), inbox.clone(), date);
        if number % 3 == 0 { target.with_flags(seen.clone()) } else { target }
    };
    let mut upload = writer(store)?.begin(None).await?;
    upload.write(Bytes::from_static(b"0123456789")).await?;
    // More targets than a message ever has: a store may have a limit of them.
    for round in 0..6 {
        let targets: Vec<_> = (0..50).map(target).collect();
        let appended = upload.commit(&targets).await?;
        equal("answers", appended.len(), 50)?;
        if round < 5 {
            upload = writer(store)?.begin(None).await?;
            upload.write(Bytes::from_static(b"0123456789")).await?;
        }
    }
    let snapshot = store.open(&user, &inbox).await?;
    equal("messages and unseen ones", (snapshot.len(), snapshot.unseen()), (300, 198))?;
    let status = store.status(&user, &inbox).await?;
    equal("counts", Status { recent: None, ..status }, (&*snapshot).into())?;
    let mailbox = MailboxRef::new(user.clone(), inbox.clone(), &snapshot);
    let copied = writer(store)?.copy(&mailbox, &snapshot.uids(), &inbox).await?;
    equal("copies", (copied.source, copied.target.len()), (snapshot.uids(), 300))?;
    let gone = writer(store)?.expunge(&mailbox, &Expunge::Exactly(snapshot.uids())).await?;
    equal("expunged", gone.uids, snapshot.uids())?;
    equal("messages", store.open(&user, &inbox).await?.uids(), copied.target)?;
    if let Some(changes) = store.changes() {
        use crate::Changes;
        let known = changes.expunged(&mailbox, snapshot.highest_modseq()).await?;
        ensure(known.is_none_or(|known| known == snapshot.uids()), "all that went, or that nobody knows")?;
    }
    Ok(())
}

/// Mail that is moved to a server is older than it, and clients have keywords without end.
pub(super) async fn dates_and_keywords_of_all_kinds(store: &impl Store) -> Outcome {
    let (user, inbox) = (user("kinds")?, MailboxName::inbox());
    let most = store.keyword_limit().unwrap_or(20).min(20);
    let keywords: Vec<_> = (0..most).map(|number| format!("keyword-{number}")).collect();
    let with = flags(&format!("(\\Seen {})", keywords.join(" ")))?;
    for (seconds, zone) in [
        (-400 * 86_400, -300),
        (-1, 0),
        (0, 0),
        (951_782_400, 345),
        (4_102_444_800, 840),
        (1_600_000_000, -720),
    ] {
        let arrived = some(DateTime::new(seconds, zone), "a date")?;
        let mut upload = writer(store)?.begin(None).await?;
        upload.write(Bytes::from_static(b"text")).await?;
        let target = Target::new(user.clone(), inbox.clone(), arrived).with_flags(with.clone());
        let appended = some(upload.commit(&[target]).await?.pop(), "an answer")?;
        let snapshot = store.open(&user, &inbox).await?;
        let found = message(&snapshot, appended.uid)?;
        equal("internal date", found.internal_date, arrived)?;
        equal("flags", &found.flags, &with)?;
        // A copy is no other.
        let mailbox = MailboxRef::new(user.clone(), inbox.clone(), &snapshot);
        let copied = writer(store)?.copy(&mailbox, &appended.uid.into(), &inbox).await?.target;
        let snapshot = store.open(&user, &inbox).await?;
        let copy = message(&snapshot, some(copied.first(), "a copy")?)?;
        equal("internal date and flags", (copy.internal_date, &copy.flags), (arrived, &with))?;
    }
    Ok(())
}

/// The identity of content (RFC 8474 §5.1) is of that content alone.
pub(super) async fn other_content_has_another_identity(store: &impl Store) -> Outcome {
    let user = user("objects")?;
    let (mailbox, _) = super::filled(store, &user, &["()", "()", "()"]).await?;
    let snapshot = store.open(&user, mailbox.name()).await?;
    let known = || snapshot.messages().filter_map(|message| message.object);
    if !store.keeps_object_ids() && known().count() == 0 {
        return Ok(());
    }
    equal("identities", known().collect::<std::collections::HashSet<_>>().len(), 3)
}

/// A limit of the octets of a message that the store tells is one that it keeps, and takes all below.
pub(super) async fn what_is_larger_than_the_limit_is_refused(store: &impl Store) -> Outcome {
    let Some(limit) = store.append_limit().filter(|limit| *limit < 1 << 20) else { return Ok(()) };
    let (user, inbox) = (user("limit")?, MailboxName::inbox());
    let target = Target::new(user.clone(), inbox.clone(), date()?);
    for (size, fits) in [(limit, true), (limit + 1, false)] {
        let outcome = async {
            let mut upload = writer(store).map_err(|_| StoreError::NotFound)?.begin(None).await?;
            upload.write(Bytes::from(vec![b'x'; size as usize])).await?;
            upload.commit(std::slice::from_ref(&target)).await.map_err(|failed| failed.error)
        };
        match outcome.await {
            Ok(_) => ensure(fits, "a message above the limit is refused")?,
            refusal => {
                ensure(!fits, "a message at the limit is taken")?;
                refused(refusal, &StoreError::TooLarge { limit: 0 })?;
            }
        }
    }
    equal("messages", store.open(&user, &inbox).await?.len(), 1)
}
