//! Changes to any mailbox of a user are told.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use mailwright_mail_model::MailboxName;

use super::limit::both;
use super::{
    Outcome, append, ensure, limit, name,
    sharing::{identifier, rights},
    some, user,
};
use crate::{Acl, AclChange, Feed, FeedEvent, FeedPosition, Folders, Store};

pub(super) async fn changes_anywhere_are_told(store: &impl Store) -> Outcome {
    let (user, other) = (user("feed")?, user("feed-other")?);
    let feed = some(store.feed(), "the feed that was there before")?;
    let folders = some(store.folders(), "the folders that were there before")?;
    store.open(&user, &MailboxName::inbox()).await?;
    let start = feed.position(&user).await?;
    let mut waiting = pin!(feed.after(&user, start));
    append(store, &other, &MailboxName::inbox(), "not ours", "()").await?;
    let early = poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context).is_ready())).await;
    ensure(!early, "no news without a change")?;
    let lists = name("Lists")?;
    let (news, made) = both(limit::told("a new mailbox", waiting), folders.create(&user, &lists, None)).await;
    made?;
    let news = news??;
    let told = |news: &crate::News, event: FeedEvent| {
        news.events.contains(&event) || news.events.contains(&FeedEvent::Anything)
    };
    ensure(told(&news, FeedEvent::Mailboxes), "a new mailbox is told")?;
    append(store, &user, &lists, "one", "()").await?;
    append(store, &user, &lists, "two", "()").await?;
    append(store, &user, &MailboxName::inbox(), "three", "()").await?;
    folders.subscribe(&user, &lists).await?;
    let (mut position, mut events) = (news.position, Vec::new());
    while events.len() < 3 && !events.contains(&FeedEvent::Anything) {
        let news = limit::told("all that happened", feed.after(&user, position)).await??;
        ensure(news.position > position, "the position rises")?;
        position = news.position;
        for event in news.events {
            ensure(!events.contains(&event), "each thing once")?;
            events.push(event);
        }
    }
    let all = [
        FeedEvent::Messages(lists.clone()),
        FeedEvent::Messages(MailboxName::inbox()),
        FeedEvent::Subscriptions,
    ];
    ensure(
        events.contains(&FeedEvent::Anything) || all.iter().all(|event| events.contains(event)),
        "all of it",
    )?;
    folders.delete(&user, &lists).await?;
    let news = limit::told("a deleted mailbox", feed.after(&user, position)).await??;
    ensure(told(&news, FeedEvent::Mailboxes), "a deleted mailbox is told")?;
    if let Some(acl) = store.acl() {
        let position = feed.position(&other).await?;
        let rights = AclChange::Add(rights("l")?);
        acl.change_access(&user, &MailboxName::inbox(), &identifier(other.as_str())?, rights).await?;
        let news = limit::told("a right that is given", feed.after(&other, position)).await??;
        ensure(told(&news, FeedEvent::Mailboxes), "a right that is given is told")?;
    }
    // A position of another life of the store.
    let waiting = feed.after(&user, FeedPosition::new(u64::MAX));
    let news = limit::told("a position that cannot be", waiting).await??;
    ensure(news.events.contains(&FeedEvent::Anything), "what the store does not know is told as anything")
}
