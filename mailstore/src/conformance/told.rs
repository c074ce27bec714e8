//! Each kind of change is told, to whoever waits at one mailbox and to whoever follows all; none is slept through.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use mailwright_mail_model::{MailboxName, UidSet};

use super::limit::{Reached, both, pause, poll_times, told};
use super::sharing::{entry, identifier, rights};
use super::{Outcome, append, date, ensure, equal, filled, flags, name, refused, some, user, writer};
use crate::{
    Acl, AclChange, Annotated, Expunge, Feed, FeedEvent, FlagChange, FlagOperation, Folders, MailboxRef,
    Metadata, Result, Store, StoreError, Target, User, Watch, Write,
};

/// In how many places of a wait a change is made. No store takes more steps to look.
const PLACES: usize = 5;

async fn there(store: &impl Store, user: &User, name: &MailboxName) -> Outcome<(MailboxRef, UidSet)> {
    let snapshot = store.open(user, name).await?;
    Ok((MailboxRef::new(user.clone(), name.clone(), &snapshot), snapshot.uids()))
}

pub(super) async fn whoever_waits_at_a_mailbox_is_told(store: &impl Store) -> Outcome {
    let (user, inbox, kept) = (user("waits")?, MailboxName::inbox(), name("Kept")?);
    let (box_name, leaves) = (name("Box")?, name("Leaves")?);
    let folders = some(store.folders(), "the folders that were there before")?;
    let watch = some(store.watch(), "the watch that was there before")?;
    folders.create(&user, &box_name, None).await?;
    folders.create(&user, &leaves, None).await?;
    let (mailbox, _) = filled(store, &user, &["()", "()", "()"]).await?;
    let facet = writer(store)?;
    let (_, all) = there(store, &user, &inbox).await?;
    let first: UidSet = some(all.first(), "a UID")?.into();
    macro_rules! after {
        ($what:literal, $name:expr, $change:expr) => {{
            let seen = store.open(&user, $name).await?;
            let waiting = told($what, watch.changed(&user, $name, &seen));
            let (now, changed) = both(waiting, $change).await;
            changed?;
            (seen, now?)
        }};
    }
    let (seen, now) = after!("a copy that comes", &box_name, facet.copy(&mailbox, &first, &box_name));
    equal("messages that came", now?.len(), seen.len() + 1)?;
    let (seen, now) = after!("a move to elsewhere", &inbox, facet.move_to(&mailbox, &first, &box_name));
    equal("messages that went", now?.len(), seen.len() - 1)?;
    let (_, two) = there(store, &user, &inbox).await?;
    let (seen, now) = after!("a move from elsewhere", &box_name, facet.move_to(&mailbox, &two, &box_name));
    equal("messages that came", now?.len(), seen.len() + 2)?;
    let (_, now) = after!("a new name", &leaves, folders.rename(&user, &leaves, &name("Left")?));
    refused(now, &StoreError::NotFound)?;
    append(store, &user, &inbox, "once more", "()").await?;
    let (_, now) = after!("a new name of INBOX", &inbox, folders.rename(&user, &inbox, &kept));
    equal("messages left", now?.len(), 0)?;
    let (_, now) = after!("an erasure", &kept, folders.erase(&user));
    refused(now, &StoreError::NotFound)
}

/// A change between a look and the wait that follows it: whoever looks first and counts then sleeps through it.
pub(super) async fn no_change_is_slept_through(store: &impl Store) -> Outcome {
    let (user, inbox) = (user("awake")?, MailboxName::inbox());
    let watch = some(store.watch(), "the watch that was there before")?;
    for round in 0..PLACES * 4 {
        let (place, change_first) = (round / 4, round % 2 == 0);
        let mut upload = writer(store)?.begin(None).await?;
        upload.write(Bytes::from_static(b"new")).await?;
        let targets = [Target::new(user.clone(), inbox.clone(), date()?)];
        let seen = store.open(&user, &inbox).await?;
        let mut waiting = pin!(watch.changed(&user, &inbox, &seen));
        let reached = poll_times(waiting.as_mut(), place, Duration::from_millis(50)).await;
        ensure(reached != Reached::End, "no notice without a change")?;
        let waiting = told("a message that comes while somebody looks", waiting);
        let now = if change_first {
            let (appended, now) = both(upload.commit(&targets), waiting).await;
            appended?;
            now
        } else {
            let (now, appended) = both(waiting, upload.commit(&targets)).await;
            appended?;
            now
        };
        equal("messages", now??.len(), seen.len() + 1)?;
        if reached == Reached::Rest && round % 4 == 3 {
            break;
        }
    }
    Ok(())
}

/// Follows a feed until it tells this, or that anything may have happened.
async fn follows(
    store: &impl Store,
    user: &User,
    what: &str,
    event: &FeedEvent,
    change: impl Future<Output = Result<()>>,
) -> Outcome {
    let feed = some(store.feed(), "the feed that was there before")?;
    let mut position = feed.position(user).await?;
    let following = async {
        loop {
            let news = feed.after(user, position).await?;
            ensure(news.position > position, "the position rises")?;
            position = news.position;
            if news.events.contains(event) || news.events.contains(&FeedEvent::Anything) {
                return Outcome::Ok(());
            }
        }
    };
    let (news, changed) = both(told(what, following), change).await;
    changed?;
    news?
}

pub(super) async fn whoever_follows_all_is_told(store: &impl Store) -> Outcome {
    let (user, inbox, list) = (user("follows")?, MailboxName::inbox(), name("List")?);
    let folders = some(store.folders(), "the folders that were there before")?;
    folders.create(&user, &list, None).await?;
    let (mailbox, uids) = filled(store, &user, &["()", "()", "()"]).await?;
    let facet = writer(store)?;
    let messages = |name: &MailboxName| FeedEvent::Messages(name.clone());
    let seen = FlagChange::new(FlagOperation::Add, flags("(\\Seen)")?);
    let (first, second): (UidSet, UidSet) = match uids[..] {
        [first, second, ..] => (first.into(), second.into()),
        _ => return ensure(false, "three messages"),
    };
    macro_rules! tells {
        ($what:literal, $event:expr, $change:expr) => {
            follows(store, &user, $what, &$event, async { $change.await.map(drop) }).await?
        };
    }
    tells!("a change of flags", messages(&inbox), facet.store_flags(&mailbox, &first, &seen));
    tells!("a copy", messages(&list), facet.copy(&mailbox, &first, &list));
    tells!("an expunge", messages(&inbox), facet.expunge(&mailbox, &Expunge::Exactly(first.clone())));
    tells!("a move, where it comes", messages(&list), facet.move_to(&mailbox, &second, &list));
    let (place, all) = there(store, &user, &list).await?;
    tells!("a move, where it goes", messages(&list), facet.move_to(&place, &all, &inbox));
    tells!("a subscription", FeedEvent::Subscriptions, folders.subscribe(&user, &list));
    tells!("a subscription taken back", FeedEvent::Subscriptions, folders.unsubscribe(&user, &list));
    let renamed = name("Renamed")?;
    tells!("a new name", FeedEvent::Mailboxes, folders.rename(&user, &list, &renamed));
    tells!("a mailbox that is deleted", FeedEvent::Mailboxes, folders.delete(&user, &renamed));
    if let Some(acl) = store.acl() {
        let (who, change) = (identifier("anyone")?, AclChange::Add(rights("l")?));
        tells!("a list", FeedEvent::Mailboxes, acl.change_access(&user, &inbox, &who, change));
        let change = AclChange::Remove(rights("l")?);
        tells!("a list", FeedEvent::Mailboxes, acl.change_access(&user, &inbox, &who, change));
    }
    if let Some(metadata) = store.metadata() {
        let place = Annotated::Mailbox { owner: user.clone(), name: inbox.clone() };
        let changes = [(entry("/shared/comment")?, Some(Bytes::from_static(b"x")))];
        let event = FeedEvent::Annotations(Some(inbox.clone()));
        tells!("an annotation", event, metadata.annotate(&place, &user, &changes));
        let changes = [(entry("/private/comment")?, Some(Bytes::from_static(b"x")))];
        let event = FeedEvent::Annotations(None);
        tells!("an annotation of the server", event, metadata.annotate(&Annotated::Server, &user, &changes));
    }
    let kept = name("Kept")?;
    tells!("a new name of INBOX", FeedEvent::Mailboxes, folders.rename(&user, &inbox, &kept));
    // What was told already may come late, where other programs change mail too.
    pause(Duration::from_millis(1)).await;
    append(store, &user, &inbox, "new", "()").await?;
    let emptied = name("Again")?;
    tells!("messages that INBOX gives away", messages(&inbox), folders.rename(&user, &inbox, &emptied));
    Ok(())
}

/// As [`no_change_is_slept_through`], of a feed.
pub(super) async fn no_news_is_slept_through(store: &impl Store) -> Outcome {
    let user = user("news")?;
    let folders = some(store.folders(), "the folders that were there before")?;
    let feed = some(store.feed(), "the feed that was there before")?;
    store.open(&user, &MailboxName::inbox()).await?;
    for round in 0..PLACES * 2 {
        let list = name(&format!("List {round}"))?;
        let position = feed.position(&user).await?;
        let mut waiting = pin!(feed.after(&user, position));
        // News of the last round may be told late.
        if poll_times(waiting.as_mut(), round / 2, Duration::from_millis(50)).await == Reached::End {
            continue;
        }
        let waiting = told("a mailbox that is made while somebody looks", waiting);
        let made = folders.create(&user, &list, None);
        if round % 2 == 0 {
            let (made, news) = both(made, waiting).await;
            made?;
            news??;
        } else {
            let (news, made) = both(waiting, made).await;
            made?;
            news??;
        }
    }
    Ok(())
}
