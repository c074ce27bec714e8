//! Several messages at one moment, and what else messages carry.

use bytes::Bytes;
use mailwright_mail_model::{DateTime, MailboxName, UidSet};

use super::{
    Outcome, append, date, ensure, equal, filled, message, name, read_all, refused, some, user, writer,
};
use crate::{
    Batch, CommitError, Folders, Joined, MailboxRef, Status, Store, StoreError, Target, User, Write,
};

pub(super) async fn a_list_counts_as_status_does(store: &impl Store) -> Outcome {
    let user = user("list")?;
    filled(store, &user, &["(\\Seen)", "()", "(\\Deleted)"]).await?;
    if let Some(folders) = store.folders() {
        folders.create(&user, &name("Empty")?, None).await?;
    }
    let mut list = store.list(&user).await?;
    let mut mailboxes = store.mailboxes(&user).await?;
    list.sort_by(|a, b| a.0.name.cmp(&b.0.name));
    mailboxes.sort_by(|a, b| a.name.cmp(&b.name));
    equal("mailboxes listed", list.iter().map(|(mailbox, _)| mailbox.clone()).collect(), mailboxes)?;
    for (mailbox, status) in &list {
        equal("counts", status, &store.status(&user, &mailbox.name).await?)?;
        let snapshot = store.open(&user, &mailbox.name).await?;
        equal("counts", Status { recent: None, ..status.clone() }, Status::from(&*snapshot))?;
    }
    Ok(())
}

pub(super) async fn messages_tell_when_they_were_saved(store: &impl Store) -> Outcome {
    let user = user("saved")?;
    let (mailbox, uids) = filled(store, &user, &["()"]).await?;
    let snapshot = store.open(&user, mailbox.name()).await?;
    let original = message(&snapshot, some(uids.first().copied(), "a UID")?)?.clone();
    let Some(saved) = original.saved() else { return Ok(()) };
    // RFC 8514 §2: the time of the save, not the internal date.
    ensure(saved.seconds() > date()?.seconds(), "a save date of its own")?;
    let copied = writer(store)?.copy(&mailbox, &original.uid.into(), mailbox.name()).await?;
    let snapshot = store.open(&user, mailbox.name()).await?;
    let copy = message(&snapshot, some(copied.target.first(), "a copy")?)?;
    ensure(copy.saved().is_some_and(|copied| copied.seconds() >= saved.seconds()), "a copy is saved later")?;
    equal("the internal date of a copy", copy.internal_date, original.internal_date)?;
    equal("the identity of a copy", copy.object, original.object)?;
    equal("the thread of a copy", copy.thread, original.thread)
}

pub(super) async fn an_answer_continues_its_thread(store: &impl Store) -> Outcome {
    let (one, other) = (user("thread")?, user("thread-other")?);
    let ids =
        |ids: &[&'static str]| ids.iter().map(|id| Bytes::from_static(id.as_bytes())).collect::<Vec<_>>();
    let messages = [
        ids(&["1@example"]),
        ids(&["2@example", "1@example"]),
        ids(&["3@example"]),
        ids(&["4@example", "5@example"]),
    ];
    let late = ids(&["5@example"]);
    let mut uids = Vec::new();
    for ids in messages.into_iter().chain([late]) {
        let mut upload = writer(store)?.begin(None).await?;
        upload.write(Bytes::from_static(b"text")).await?;
        upload.relate(ids);
        let targets = [&one, &other].map(|user| (user, MailboxName::inbox()));
        let date = date()?;
        let targets = targets.map(|(user, inbox)| Target::new(user.clone(), inbox, date));
        uids.push(some(upload.commit(&targets).await?.first().copied(), "an answer")?.uid);
    }
    let snapshot = store.open(&one, &MailboxName::inbox()).await?;
    let threads = uids.iter().map(|uid| message(&snapshot, *uid).map(|found| found.thread));
    let threads = threads.collect::<Outcome<Vec<_>>>()?;
    let [first, answer, alone, early, late] = threads.as_slice() else { return Ok(()) };
    if first.is_none() {
        return equal("threads", threads.iter().flatten().count(), 0);
    }
    ensure(first == answer, "an answer is in the thread of what it answers")?;
    ensure(alone != first && alone.is_some(), "a message that refers to none begins a thread")?;
    ensure(early == late && early != first, "an answer that came first is in the thread too")
}

pub(super) async fn recent_messages_are_claimed_once(store: &impl Store) -> Outcome {
    let user = user("recent")?;
    let (mailbox, uids) = filled(store, &user, &["()", "()"]).await?;
    let status = store.status(&user, mailbox.name()).await?;
    let Some(from) = writer(store)?.claim_recent(&mailbox).await? else {
        return equal("recent messages", status.recent, None);
    };
    ensure(uids.iter().all(|uid| *uid >= from), "new messages are recent")?;
    let recent = |status: Status, count| equal("recent messages", status.recent.unwrap_or(count), count);
    recent(status, 2)?;
    recent(store.status(&user, mailbox.name()).await?, 0)?;
    let new = append(store, &user, mailbox.name(), "new", "()").await?;
    recent(store.status(&user, mailbox.name()).await?, 1)?;
    let from = some(writer(store)?.claim_recent(&mailbox).await?, "a UID")?;
    ensure(from <= new.uid && uids.iter().all(|uid| *uid < from), "those claimed before are recent no more")
}

pub(super) async fn several_messages_come_at_one_moment(store: &impl Store) -> Outcome {
    let (user, inbox) = (user("several")?, MailboxName::inbox());
    let date = date()?;
    let target = || Target::new(user.clone(), inbox.clone(), date);
    let texts = ["one".to_owned(), "two".repeat(200_000), String::new(), "four".to_owned()];
    let mut upload = writer(store)?.begin(None).await?;
    for (number, text) in texts.iter().enumerate() {
        if number > 0 {
            upload.next(&[target()]).await?;
        }
        upload.write(Bytes::copy_from_slice(text.as_bytes())).await?;
    }
    let unknown = Target::new(user.clone(), name("conformance-unknown")?, date);
    match upload.commit(&[unknown]).await {
        Err(CommitError { target, error, .. }) => {
            equal("the target at fault", (target, error), (Some(3), StoreError::NotFound))?;
        }
        Ok(appended) => equal("an unknown target", appended, Vec::new())?,
    }
    ensure(store.open(&user, &inbox).await?.is_empty(), "none is there if one is refused")?;
    let appended = upload.commit(&[target()]).await?;
    equal("answers", appended.len(), texts.len())?;
    ensure(appended.is_sorted_by(|a, b| a.uid < b.uid), "UIDs rise in the order of the messages")?;
    let snapshot = store.open(&user, &inbox).await?;
    let mailbox = MailboxRef::new(user.clone(), inbox.clone(), &snapshot);
    for (appended, text) in appended.iter().zip(&texts) {
        let octets = read_all(store, &mailbox.message(message(&snapshot, appended.uid)?), 1 << 30).await?;
        ensure(octets == text.as_bytes(), "each message has its octets")?;
    }
    let again = upload.next(&[target()]).await;
    refused(again, &StoreError::Invalid(String::new()))
}

pub(super) async fn uploads_are_committed_together(store: &impl Store) -> Outcome {
    let (one, other) = (user("joined")?, user("joined-other")?);
    let (inbox, date) = (MailboxName::inbox(), date()?);
    let target = |user: &User| Target::new(user.clone(), inbox.clone(), date);
    let unknown = Target::new(other.clone(), name("conformance-unknown")?, date);
    let mut uploads = Vec::new();
    for text in ["own", "first", "second"] {
        let mut upload = writer(store)?.begin(None).await?;
        upload.write(Bytes::from(text.repeat(200_000))).await?;
        uploads.push(upload);
    }
    let (mut second, mut first) = (some(uploads.pop(), "three")?, some(uploads.pop(), "three")?);
    let mut own = some(uploads.pop(), "three")?;
    let octets = first.read(0..5).await?;
    first.set_aside().await?;
    equal("octets of what was set aside", first.read(0..5).await?, octets)?;
    let (batch, fine) = (Batch::to([target(&one)]), Batch::to([target(&one), target(&other)]));
    let faulty = Batch::to([target(&one), unknown]);
    let joined = vec![Joined::new(&mut first, &fine), Joined::new(&mut second, &faulty)];
    match own.commit_joined(&batch, joined).await {
        Err(CommitError { target, joined, error }) => {
            let expected = (Some(1), Some(1), StoreError::NotFound);
            equal("the joined target at fault", (target, joined, error), expected)?;
        }
        Ok(committed) => equal("an unknown target", committed.appended, Vec::new())?,
    }
    for user in [&one, &other] {
        ensure(store.open(user, &inbox).await?.is_empty(), "none is there if one is refused")?;
    }
    // An own message that goes nowhere stops none of the others.
    let nowhere = Batch::default();
    let committed = own.commit_joined(&nowhere, vec![Joined::new(&mut second, &batch)]).await?;
    equal("answers of others", committed.appended, Vec::new())?;
    let committed = own.commit_joined(&batch, vec![Joined::new(&mut first, &fine)]).await?;
    equal("answers", committed.appended.len(), 1)?;
    for (user, texts) in [(&one, &["second", "own", "first"][..]), (&other, &["first"])] {
        let snapshot = store.open(user, &inbox).await?;
        equal("messages", snapshot.messages().count(), texts.len())?;
        let mailbox = MailboxRef::new(user.clone(), inbox.clone(), &snapshot);
        for (message, text) in snapshot.messages().zip(texts) {
            let octets = read_all(store, &mailbox.message(message), 1 << 30).await?;
            ensure(octets == text.repeat(200_000).as_bytes(), "each message has its octets")?;
        }
    }
    let again = first.commit(&[target(&one)]).await.map_err(|failed| failed.error);
    refused(again, &StoreError::Invalid(String::new()))
}

pub(super) async fn one_replaces_another(store: &impl Store) -> Outcome {
    let user = user("replace")?;
    let (mailbox, uids) = filled(store, &user, &["()", "()"]).await?;
    let old = some(uids.first().copied(), "a UID")?;
    let mut upload = writer(store)?.begin(None).await?;
    upload.write(Bytes::from_static(b"draft 2")).await?;
    upload.replace(&mailbox, &UidSet::from(old))?;
    let saved = some(DateTime::new(1_600_000_000, 0), "a date")?;
    let target = Target::new(user.clone(), mailbox.name().clone(), date()?).with_saved(saved);
    let appended = some(upload.commit(&[target]).await?.pop(), "an answer")?;
    let snapshot = store.open(&user, mailbox.name()).await?;
    equal("messages", snapshot.len(), 2)?;
    ensure(snapshot.message(old).is_none(), "what is replaced is gone")?;
    let saved = message(&snapshot, appended.uid)?.saved();
    ensure(saved.is_none_or(|saved| saved.seconds() == 1_600_000_000), "the save date that was given")?;
    // Whoever is second replaces nothing: not even what is still there.
    let mut upload = writer(store)?.begin(None).await?;
    upload.write(Bytes::from_static(b"draft 3")).await?;
    upload.replace(&mailbox, &uids.iter().copied().collect())?;
    let target = Target::new(user.clone(), mailbox.name().clone(), date()?);
    refused(upload.commit(&[target]).await.map_err(|failed| failed.error), &StoreError::Conflict)?;
    equal("messages", store.open(&user, mailbox.name()).await?.uids(), snapshot.uids())
}
