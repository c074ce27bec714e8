//! Messages come in and are read.

use bytes::Bytes;
use mailwright_mail_model::MailboxName;

use super::{
    Outcome, append, date, ensure, equal, filled, flags, message, name, read_all, refused, some, user, writer,
};
use crate::{Expunge, MailboxRef, Status, Store, StoreError, Target, Write};

pub(super) async fn a_new_user_has_an_empty_inbox(store: &impl Store) -> Outcome {
    let user = user("new")?;
    let mailboxes = store.mailboxes(&user).await?;
    ensure(mailboxes.iter().any(|mailbox| mailbox.name.is_inbox()), "INBOX is among the mailboxes")?;
    let snapshot = store.open(&user, &MailboxName::inbox()).await?;
    let again = store.open(&user, &MailboxName::inbox()).await?;
    equal("UIDVALIDITY of INBOX opened twice", again.uid_validity(), snapshot.uid_validity())?;
    let status = store.status(&user, &MailboxName::inbox()).await?;
    equal("status", Status { recent: None, ..status }, (&*snapshot).into())
}

pub(super) async fn an_unknown_mailbox_is_not_found(store: &impl Store) -> Outcome {
    let (user, unknown) = (user("new")?, name("conformance-unknown")?);
    refused(store.open(&user, &unknown).await, &StoreError::NotFound)?;
    refused(store.status(&user, &unknown).await, &StoreError::NotFound)
}

pub(super) async fn a_message_comes_back_as_it_was(store: &impl Store) -> Outcome {
    let (user, inbox) = (user("append")?, MailboxName::inbox());
    let text = "From: a@example.org\r\n\r\nbare \n and \0 and \u{e4}\r\n.\r\n";
    let with = "(\\Seen \\Flagged $Junk Custom-1)";
    let appended = append(store, &user, &inbox, text, with).await?;
    let empty = append(store, &user, &inbox, "", "()").await?;
    let snapshot = store.open(&user, &inbox).await?;
    equal("UIDVALIDITY", appended.uid_validity, snapshot.uid_validity())?;
    let found = message(&snapshot, appended.uid)?;
    equal("size", found.size, text.len() as u64)?;
    equal("flags", &found.flags, &flags(with)?)?;
    equal("internal date", found.internal_date, date()?)?;
    let mailbox = MailboxRef::new(user, inbox, &snapshot);
    for piece in [1, 7, 1 << 30] {
        let octets = read_all(store, &mailbox.message(found), piece).await?;
        equal("octets", octets, text.as_bytes().to_vec())?;
    }
    equal("size of nothing", message(&snapshot, empty.uid)?.size, 0)?;
    read_all(store, &mailbox.message(message(&snapshot, empty.uid)?), 10).await.map(|_| ())
}

/// A store need not be able to; if it is, it gives what was written.
pub(super) async fn what_is_not_committed_is_read_back(store: &impl Store) -> Outcome {
    let text: Vec<u8> = (0..700_000_u32).map(|place| (place / 7 % 251) as u8).collect();
    let mut upload = writer(store)?.begin(None).await?;
    if matches!(upload.read(0..1).await, Err(StoreError::Invalid(_))) {
        return Ok(());
    }
    equal("octets of nothing", upload.read(0..10).await?, Bytes::new())?;
    for chunk in text.chunks(70_001) {
        upload.write(Bytes::copy_from_slice(chunk)).await?;
    }
    for range in [0..700_000, 0..1, 262_143..262_145, 524_288..700_000, 699_999..800_000, 700_000..700_001] {
        let mut read = Vec::new();
        let mut rest: std::ops::Range<u64> = range.clone();
        loop {
            let octets = upload.read(rest.clone()).await?;
            if octets.is_empty() {
                break;
            }
            rest.start += octets.len() as u64;
            read.extend_from_slice(&octets);
        }
        let within = text.get(range.start as usize..text.len().min(range.end as usize));
        equal("octets", &read[..], within.unwrap_or_default())?;
    }
    Ok(())
}

pub(super) async fn uids_rise_and_are_never_used_again(store: &impl Store) -> Outcome {
    let user = user("uids")?;
    let (mailbox, uids) = filled(store, &user, &["()", "()", "()"]).await?;
    ensure(uids.is_sorted_by(|a, b| a < b), "UIDs rise")?;
    let last = some(uids.last().copied(), "a UID")?;
    writer(store)?.expunge(&mailbox, &Expunge::Exactly(uids.into_iter().collect())).await?;
    let snapshot = store.open(&user, mailbox.name()).await?;
    ensure(snapshot.is_empty(), "an expunged mailbox is empty")?;
    ensure(snapshot.uid_next() > Some(last), "UIDNEXT stays above the UIDs that were")?;
    let next = append(store, &user, mailbox.name(), "next", "()").await?;
    ensure(next.uid > last && Some(next.uid) >= snapshot.uid_next(), "a UID at or above UIDNEXT")
}

pub(super) async fn every_target_or_none(store: &impl Store) -> Outcome {
    let (one, other, inbox) = (user("one")?, user("other")?, MailboxName::inbox());
    let mut upload = writer(store)?.begin(None).await?;
    upload.write(Bytes::from_static(b"to ")).await?;
    upload.write(Bytes::from_static(b"many")).await?;
    let first = Target::new(one.clone(), inbox.clone(), date()?);
    let second = Target::new(other.clone(), inbox.clone(), date()?);
    let bad = [first.clone(), Target::new(other.clone(), name("conformance-unknown")?, date()?)];
    match upload.commit(&bad).await {
        Err(error) => {
            equal("the target at fault", (error.target, error.error), (Some(1), StoreError::NotFound))?
        }
        Ok(appended) => equal("an unknown target", appended, Vec::new())?,
    }
    ensure(store.open(&one, &inbox).await?.is_empty(), "no target has the message if one refuses it")?;
    let twice = [first.clone(), second.clone(), first.clone().with_flags(flags("(\\Seen)")?)];
    let appended = upload.commit(&twice).await?;
    equal("answers", appended.len(), 3)?;
    refused(upload.commit(&[first]).await.map_err(|error| error.error), &StoreError::Invalid(String::new()))?;
    refused(upload.write(Bytes::from_static(b"more")).await, &StoreError::Invalid(String::new()))?;
    for (target, appended) in twice.iter().zip(&appended) {
        let snapshot = store.open(&target.user, &inbox).await?;
        let found = message(&snapshot, appended.uid)?;
        equal("flags", &found.flags, &target.flags)?;
        let mailbox = MailboxRef::new(target.user.clone(), inbox.clone(), &snapshot);
        equal("octets", read_all(store, &mailbox.message(found), 100).await?, b"to many".to_vec())?;
    }
    equal("messages of one user", store.open(&one, &inbox).await?.len(), 2)?;
    // What one user expunges, the other keeps.
    let snapshot = store.open(&one, &inbox).await?;
    let mailbox = MailboxRef::new(one, inbox.clone(), &snapshot);
    writer(store)?.expunge(&mailbox, &Expunge::Exactly(snapshot.uids())).await?;
    let snapshot = store.open(&other, &inbox).await?;
    let mailbox = MailboxRef::new(other, inbox, &snapshot);
    let found = some(snapshot.messages().next(), "the other user's message")?;
    equal("octets", read_all(store, &mailbox.message(found), 100).await?, b"to many".to_vec())
}

pub(super) async fn what_is_dropped_was_never_there(store: &impl Store) -> Outcome {
    let (user, inbox) = (user("dropped")?, MailboxName::inbox());
    let mut upload = writer(store)?.begin(None).await?;
    upload.write(Bytes::from(vec![b'x'; 700_000])).await?;
    drop(upload);
    let snapshot = store.open(&user, &inbox).await?;
    ensure(snapshot.is_empty(), "an upload that is dropped leaves no message")
}

pub(super) async fn a_large_message_streams_through(store: &impl Store) -> Outcome {
    let (user, inbox) = (user("large")?, MailboxName::inbox());
    let octets: Vec<u8> =
        (0..1_500_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut upload = writer(store)?.begin(Some(octets.len() as u64)).await?;
    for chunk in octets.chunks(70_001) {
        upload.write(Bytes::copy_from_slice(chunk)).await?;
    }
    let appended = upload.commit(&[Target::new(user.clone(), inbox.clone(), date()?)]).await?;
    let snapshot = store.open(&user, &inbox).await?;
    let found = message(&snapshot, some(appended.first(), "an answer")?.uid)?;
    equal("size", found.size, octets.len() as u64)?;
    let reference = MailboxRef::new(user, inbox, &snapshot).message(found);
    for piece in [65_536, 1_000_003, u64::from(u32::MAX)] {
        ensure(read_all(store, &reference, piece).await? == octets, "the octets that were written")?;
    }
    let middle = store.read(&reference, 600_000..600_010).await?;
    ensure(octets.get(600_000..600_000 + middle.len()) == Some(&*middle), "the octets of the range")
}

pub(super) async fn small_messages_are_read_together(store: &impl Store) -> Outcome {
    let user = user("together")?;
    let (mailbox, uids) = filled(store, &user, &["()"; 12]).await?;
    let snapshot = store.open(&user, mailbox.name()).await?;
    let mut wanted = Vec::new();
    for uid in &uids {
        wanted.push(mailbox.message(message(&snapshot, *uid)?));
    }
    let mut expected = Vec::new();
    for reference in &wanted {
        expected.push(Some(Bytes::from(read_all(store, reference, 100).await?)));
    }
    equal("messages", store.read_together(&wanted).await?, expected.clone())?;
    // In any order, with gaps, and one twice.
    let some_of = |places: &[usize]| -> (Vec<_>, Vec<_>) {
        let pairs = places
            .iter()
            .filter_map(|place| Some((wanted.get(*place)?.clone(), expected.get(*place)?.clone())));
        pairs.unzip()
    };
    for places in [&[0, 2, 4, 5, 9, 11][..], &[11, 3, 2, 2, 7], &[6], &[]] {
        let (wanted, expected) = some_of(places);
        equal("some of them", store.read_together(&wanted).await?, expected)?;
    }
    let gone = uids.iter().copied().skip(3).take(2).collect();
    writer(store)?.expunge(&mailbox, &Expunge::Exactly(gone)).await?;
    let together = store.read_together(&wanted).await?;
    equal("as many as were wanted", together.len(), wanted.len())?;
    for (index, (octets, expected)) in together.iter().zip(&expected).enumerate() {
        // For a while they may be there.
        let right = octets == expected || octets.is_none() && (3..5).contains(&index);
        ensure(right, "each message whole, and nothing for those that were expunged")?;
    }
    Ok(())
}
