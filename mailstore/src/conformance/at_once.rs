//! Several sessions change a mailbox at the same moment, and some hang up half-way.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use mailwright_mail_model::{FlagSet, MailboxName, UidSet};

use super::limit::{Reached, both, pause, poll_times, together};
use super::{Outcome, date, ensure, equal, filled, flags, message, name, read_all, some, user, writer};
use crate::{Expunge, FlagChange, FlagOperation, Folders, MailboxRef, Store, Target, Write};

/// How many do the same.
const MANY: usize = 12;

/// Two that ask for the next UID before either has written it have the same one, and a message is lost.
pub(super) async fn messages_that_come_at_once_are_all_there(store: &impl Store) -> Outcome {
    let (user, inbox, date) = (user("at-once")?, MailboxName::inbox(), date()?);
    let target = Target::new(user.clone(), inbox.clone(), date);
    let texts: Vec<_> = (0..MANY).map(|number| format!("message {number}\r\n").repeat(9)).collect();
    let mut uploads = Vec::new();
    for text in &texts {
        let mut upload = writer(store)?.begin(None).await?;
        upload.write(Bytes::copy_from_slice(text.as_bytes())).await?;
        uploads.push(upload);
    }
    let targets = [target];
    let commits = uploads.iter_mut().map(|upload| upload.commit(&targets)).collect();
    let mut uids = Vec::new();
    for appended in together(commits).await {
        uids.push(some(appended?.pop(), "one answer for one target")?.uid);
    }
    equal("UIDs", uids.iter().collect::<BTreeSet<_>>().len(), MANY)?;
    let snapshot = store.open(&user, &inbox).await?;
    equal("messages", snapshot.uids(), uids.iter().copied().collect())?;
    let mailbox = MailboxRef::new(user, inbox, &snapshot);
    for (uid, text) in uids.into_iter().zip(texts) {
        let octets = read_all(store, &mailbox.message(message(&snapshot, uid)?), 1 << 20).await?;
        ensure(octets == text.as_bytes(), "each message has its octets")?;
    }
    Ok(())
}

/// Flags that were read before another changed them must not be written back.
pub(super) async fn flags_that_change_at_once_all_count(store: &impl Store) -> Outcome {
    let user = user("flags-at-once")?;
    let (mailbox, uids) = filled(store, &user, &["()"]).await?;
    let uid = some(uids.first().copied(), "a UID")?;
    let all = ["\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft", "$Forwarded", "$Junk", "Work"];
    let all = all.into_iter().take(5 + store.keyword_limit().unwrap_or(3)).collect::<Vec<_>>();
    for operation in [FlagOperation::Add, FlagOperation::Remove] {
        let mut changes = Vec::new();
        for flag in &all {
            changes.push(FlagChange::new(operation, flags(&format!("({flag})"))?));
        }
        let uids = UidSet::from(uid);
        let facet = writer(store)?;
        let stored = changes.iter().map(|change| facet.store_flags(&mailbox, &uids, change)).collect();
        for stored in together(stored).await {
            equal("messages", stored?.messages.len(), 1)?;
        }
        let snapshot = store.open(&user, mailbox.name()).await?;
        let expected = match operation {
            FlagOperation::Add => flags(&format!("({})", all.join(" ")))?,
            _ => FlagSet::new(),
        };
        equal("flags", &message(&snapshot, uid)?.flags, &expected)?;
    }
    Ok(())
}

/// RFC 6851 §3.3: a message that two sessions move is moved by one of them.
pub(super) async fn a_message_moved_twice_at_once_is_there_once(store: &impl Store) -> Outcome {
    let (user, one, other) = (user("move-at-once")?, name("One")?, name("Other")?);
    let folders = some(store.folders(), "the folders that were there before")?;
    for name in [&one, &other] {
        folders.create(&user, name, None).await?;
    }
    for _ in 0..4 {
        let (mailbox, uids) = filled(store, &user, &["()"]).await?;
        let uids: UidSet = uids.into_iter().collect();
        let facet = writer(store)?;
        let (first, second) =
            both(facet.move_to(&mailbox, &uids, &one), facet.move_to(&mailbox, &uids, &other)).await;
        let moved = [first?.target, second?.target];
        equal("messages moved", moved.iter().map(UidSet::len).sum(), 1)?;
    }
    let (one, other) = (store.open(&user, &one).await?, store.open(&user, &other).await?);
    equal("messages", one.len() + other.len(), 4)?;
    equal("messages left", store.open(&user, &MailboxName::inbox()).await?.len(), 0)
}

/// Whoever waits for an answer may hang up: what was asked for is done whole or not at all.
pub(super) async fn what_is_dropped_half_way_is_done_or_not(store: &impl Store) -> Outcome {
    let user = user("half-way")?;
    let folders = some(store.folders(), "the folders that were there before")?;
    let (mailbox, _) = filled(store, &user, &["()", "(\\Seen)", "()"]).await?;
    let inbox = store.open(&user, mailbox.name()).await?.uids();
    for moves in [false, true] {
        for steps in 1..10 {
            let there = name(&format!("Half-{}{steps}", if moves { "m" } else { "c" }))?;
            folders.create(&user, &there, None).await?;
            let from = if moves { name(&format!("From-{steps}"))? } else { mailbox.name().clone() };
            let (mut source, mut uids) = (mailbox.clone(), inbox.clone());
            if moves {
                folders.create(&user, &from, None).await?;
                uids = writer(store)?.copy(&mailbox, &inbox, &from).await?.target;
                source = MailboxRef::new(user.clone(), from.clone(), &*store.open(&user, &from).await?);
            }
            let reached = {
                let facet = writer(store)?;
                let change = async {
                    if moves {
                        facet.move_to(&source, &uids, &there).await.map(drop)
                    } else {
                        facet.copy(&source, &uids, &there).await.map(drop)
                    }
                };
                poll_times(pin!(change), steps, Duration::from_secs(5)).await
            };
            whole(store, &user, (&from, &there), moves).await?;
            if reached == Reached::End {
                break;
            }
        }
    }
    Ok(())
}

/// Whether three messages are all in one mailbox, or have all come into the other. What nobody waits for may still be under way.
async fn whole(
    store: &impl Store,
    user: &crate::User,
    (from, to): (&MailboxName, &MailboxName),
    moves: bool,
) -> Outcome {
    let mut seen = (0, 0);
    for _ in 0..100 {
        let come = store.open(user, to).await?.len();
        ensure(come == 0 || come == 3, "a COPY or MOVE that nobody waits for is done whole or not at all")?;
        seen = (store.open(user, from).await?.len(), come);
        // Between two looks the change may be made.
        if seen == (3, 0) || seen == (if moves { 0 } else { 3 }, 3) {
            return Ok(());
        }
        pause(Duration::from_millis(20)).await;
    }
    equal("messages there and here", seen, (3, 0))
}

/// An upload that is committed while another goes on in the same mailbox, and messages that go meanwhile.
pub(super) async fn what_comes_and_goes_at_once_adds_up(store: &impl Store) -> Outcome {
    let user = user("adds-up")?;
    let (mailbox, uids) = filled(store, &user, &["(\\Deleted)", "()", "(\\Deleted)"]).await?;
    let kept = some(uids.get(1).copied(), "a UID")?;
    let mut upload = writer(store)?.begin(None).await?;
    upload.write(Bytes::from_static(b"new")).await?;
    let targets = [Target::new(user.clone(), mailbox.name().clone(), date()?)];
    let facet = writer(store)?;
    let (gone, came) = both(facet.expunge(&mailbox, &Expunge::Deleted), upload.commit(&targets)).await;
    equal("expunged", gone?.uids.len(), 2)?;
    let came = some(came?.pop(), "an answer")?.uid;
    let snapshot = store.open(&user, mailbox.name()).await?;
    equal("what is left", snapshot.uids(), [kept, came].into_iter().collect())?;
    equal("counts", store.status(&user, mailbox.name()).await?.messages, 2)
}
