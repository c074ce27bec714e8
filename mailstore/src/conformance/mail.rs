//! Users and mail that checks begin with.

use bytes::Bytes;
use mailwright_mail_model::{DateTime, FlagSet, MailboxName, Uid, UidSet};

use super::expect::{Outcome, Wrong, ensure, some};
use crate::{Appended, MailboxRef, Message, MessageRef, Snapshot, Store, Target, User, Write};

pub(super) fn user(name: &str) -> Outcome<User> {
    User::new(&format!("conformance-{name}@example.org")).map_err(|error| Wrong(error.to_string()))
}

pub(super) fn name(name: &str) -> Outcome<MailboxName> {
    MailboxName::new(name).map_err(|error| Wrong(error.to_string()))
}

pub(super) fn flags(text: &str) -> Outcome<FlagSet> {
    text.parse().map_err(|_| Wrong(format!("{text} is no list of flags")))
}

pub(super) fn uids(text: &str) -> Outcome<UidSet> {
    text.parse().map_err(|_| Wrong(format!("{text} is no set of UIDs")))
}

pub(super) fn date() -> Outcome<DateTime> {
    some(DateTime::new(1_234_567_890, -90), "a date")
}

pub(super) fn writer(store: &impl Store) -> Outcome<&impl Write> {
    some(store.writer(), "the writer that was there before")
}

/// Appends a message to one mailbox.
pub(super) async fn append(
    store: &impl Store,
    user: &User,
    mailbox: &MailboxName,
    text: &str,
    with: &str,
) -> Outcome<Appended> {
    let mut upload = writer(store)?.begin(Some(text.len() as u64)).await?;
    upload.write(Bytes::copy_from_slice(text.as_bytes())).await?;
    let target = Target::new(user.clone(), mailbox.clone(), date()?).with_flags(flags(with)?);
    some(upload.commit(&[target]).await?.pop(), "one answer for one target")
}

/// A user with an INBOX of messages with these flags, whose UIDs are 1 and so on in every sensible store, but
/// need not be.
pub(super) async fn filled(
    store: &impl Store,
    user: &User,
    each: &[&str],
) -> Outcome<(MailboxRef, Vec<Uid>)> {
    let inbox = MailboxName::inbox();
    let mut uids = Vec::new();
    for (number, with) in each.iter().enumerate() {
        uids.push(append(store, user, &inbox, &format!("message {number}\r\n"), with).await?.uid);
    }
    let snapshot = store.open(user, &inbox).await?;
    Ok((MailboxRef::new(user.clone(), inbox, &snapshot), uids))
}

/// All octets of a message, read in pieces of at most `piece`.
pub(super) async fn read_all(store: &impl Store, message: &MessageRef, piece: u64) -> Outcome<Vec<u8>> {
    let mut octets = Vec::new();
    while (octets.len() as u64) < message.size {
        let start = octets.len() as u64;
        let chunk = store.read(message, start..(start + piece).min(message.size)).await?;
        ensure(
            !chunk.is_empty() && chunk.len() as u64 <= piece,
            "a read gives some octets, and no more than asked",
        )?;
        octets.extend_from_slice(&chunk);
    }
    ensure(store.read(message, message.size..message.size + 10).await?.is_empty(), "nothing behind the end")?;
    Ok(octets)
}

pub(super) fn message(snapshot: &Snapshot, uid: Uid) -> Outcome<&Message> {
    some(snapshot.message(uid), &format!("UID {uid} in the snapshot"))
}

pub(super) fn modseq_is_known(store: &impl Store) -> bool {
    store.changes().is_some()
}
