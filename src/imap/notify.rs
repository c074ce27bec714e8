//! NOTIFY: what happens in all mailboxes of a user, and in those of others, told as it happens.

mod own;
mod seen;

use std::{
    collections::{BTreeMap, HashMap, HashSet, btree_map::Entry},
    future::poll_fn,
    iter::successors,
    pin::Pin,
    task::Poll,
};

use mailwright_imap_proto::{
    Answered, Refusal,
    command::{Notify, NotifyEvents},
    response::{MailboxStatus, ResponseCode},
    server::Server,
};
use mailwright_line_proto::Deflate;
use mailwright_mail_model::MailboxName;
use mailwright_mailstore::{
    Feed, FeedEvent, FeedPosition, News, ObjectId, Result, Snapshot, Status, Store, User, accounts::Accounts,
};

pub(super) use self::own::Own;
use self::seen::{Known, Seen};
use super::{
    Visit, foreign, refusal,
    session::{LONG_REST, REST, rest},
};
use crate::service::Session;

/// The most others whose mailboxes are followed for one session.
const MOST_OTHERS: usize = 256;

/// What a client wants to be told, and what it knows.
#[derive(Debug)]
pub(super) struct Notifier {
    request: Notify,
    position: FeedPosition,
    /// The others whose mailboxes it is told of, and up to where.
    others: BTreeMap<User, FeedPosition>,
    /// The levels that the names of others' mailboxes begin with.
    foreign: Vec<&'static str>,
    seen: Seen,
}

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    pub(super) async fn begin_to_notify(&mut self, request: &Notify) -> Answered<Vec<MailboxStatus>> {
        let user = self.user()?.clone();
        let feed = self.store.feed().ok_or_else(Refusal::cannot)?;
        // The position first: what happens after it is told, if it was seen or not.
        let position = feed.position(&user).await.map_err(|error| refusal(&error))?;
        let foreign = foreign::LEVELS.into_iter();
        let is_foreign = |level: &&str| MailboxName::new(level).is_ok_and(|level| self.is_foreign(&level));
        let mut notifier = Notifier {
            request: request.clone(),
            position,
            others: BTreeMap::new(),
            foreign: foreign.filter(is_foreign).collect(),
            seen: Seen::default(),
        };
        // Twice: the first look says whom to follow, and nothing that happens behind the second is missed.
        let seen = Seen::look(self, &user, &notifier).await.map_err(|error| refusal(&error))?;
        if !self.follow_others(&mut notifier, &seen).await.map_err(|error| refusal(&error))? {
            // RFC 5465 §3.1
            let code = ResponseCode::other("NOTIFICATIONOVERFLOW", None).unwrap_or(ResponseCode::Limit);
            return Err(Refusal::new(code, "too many others' mailboxes to tell of"));
        }
        notifier.seen = match notifier.others.is_empty() {
            true => seen,
            false => Seen::look(self, &user, &notifier).await.map_err(|error| refusal(&error))?,
        };
        let mut statuses = Vec::new();
        if request.status {
            let knows = self.store.changes().is_some();
            for known in notifier.seen.mailboxes.values() {
                let events = notifier.events_of(&known.name, &notifier.seen);
                if events.expunge && known.readable && !self.is_selected(known) {
                    let mut told = counts(known);
                    told.uid_validity = Some(known.status.uid_validity);
                    told.highest_mod_seq =
                        Some(known.status.highest_modseq).filter(|_| events.tells_flags() && knows);
                    statuses.push(told);
                }
            }
        }
        // If it is refused, that of an earlier command stays.
        self.notifier = Some(Box::new(notifier)).filter(|_| !request.groups.is_empty());
        Ok(statuses)
    }

    /// RFC 5465 §3.1, §5: all events take the right to read.
    pub(super) fn tell_no_access(&self, server: &mut Server) {
        let Some(notifier) = self.notifier.as_deref() else { return };
        let seen = &notifier.seen;
        for known in seen.mailboxes.values().filter(|known| !known.readable) {
            if notifier.events_of(&known.name, seen) != NotifyEvents::default() {
                server.notify_no_access(&seen.entry(&known.name));
            }
        }
    }

    /// Follows those whose mailboxes are seen or named: who gives a right to one later is heard too. False if they are too many.
    async fn follow_others(&self, notifier: &mut Notifier, seen: &Seen) -> Result<bool> {
        let Some(feed) = self.store.feed() else { return Ok(true) };
        let mut owners = seen.owners();
        owners.extend(notifier.named().filter_map(|name| self.owner_named(name)));
        owners.retain(|owner| Some(owner) != self.user.as_ref());
        if owners.len() > MOST_OTHERS {
            return Ok(false);
        }
        notifier.others.retain(|owner, _| owners.contains(owner));
        for owner in owners {
            if let Entry::Vacant(place) = notifier.others.entry(owner) {
                let position = feed.position(place.key()).await?;
                place.insert(position);
            }
        }
        Ok(true)
    }

    fn is_selected(&self, known: &Known) -> bool {
        let owner = known.owner.as_ref().or(self.user.as_ref());
        self.selected.as_ref().is_some_and(|selected| {
            Some(selected.mailbox.user()) == owner && *selected.mailbox.name() == known.inner
        })
    }

    /// Tells what has happened since the client was told last.
    pub(super) async fn tell_news(
        &mut self,
        connection: &mut Session<Deflate<Server>>,
        (owner, news): (Option<User>, Result<News>),
    ) {
        let (Some(mut notifier), Some(user)) = (self.notifier.take(), self.user.clone()) else { return };
        match news {
            Ok(news) => {
                let whose = owner.as_ref().unwrap_or(&user);
                let in_open = |event: &FeedEvent| matches!((event, &self.selected), (FeedEvent::Messages(name), Some(selected)) if selected.mailbox.name() == name && selected.mailbox.user() == whose);
                let only_open = news.events.iter().all(in_open);
                match owner {
                    Some(owner) => drop(notifier.others.insert(owner, news.position)),
                    None => notifier.position = news.position,
                }
                if only_open {
                    self.notifier = Some(notifier);
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot follow a feed");
            }
        }
        let now = match Seen::look(self, &user, &notifier).await {
            Ok(now) => now,
            // Not now: the next change will tell.
            Err(error) => {
                self.notifier = Some(notifier);
                return tracing::warn!(%error, "cannot look at mailboxes");
            }
        };
        let known: HashSet<User> = notifier.others.keys().cloned().collect();
        let followed = self.follow_others(&mut notifier, &now).await;
        // What happened at those before they were followed is seen by another look.
        let now = match notifier.others.keys().any(|owner| !known.contains(owner)) {
            true => Seen::look(self, &user, &notifier).await.unwrap_or(now),
            false => now,
        };
        match followed {
            Ok(true) => {}
            // RFC 5465 §5.8: the notifier is gone.
            Ok(false) => return connection.machine().inner_mut().inner_mut().notify_overflow(),
            Err(error) => tracing::warn!(%error, "cannot follow a feed"),
        }
        let before = std::mem::replace(&mut notifier.seen, now);
        self.tell_changes(&notifier, &before, connection.machine().inner_mut().inner_mut());
        self.notifier = Some(notifier);
    }

    /// Tells how what is seen now differs from what was seen before.
    fn tell_changes(&self, notifier: &Notifier, before: &Seen, server: &mut Server) {
        let (now, knows) = (&notifier.seen, self.store.changes().is_some());
        tell_access(notifier, before, server);
        tell_names(notifier, before, server);
        for (name, mailbox) in &now.mailboxes {
            let made;
            let known = match before.mailboxes.get(name) {
                Some(Known { status, .. }) => status,
                // One of somebody else may have been there, and not been seen.
                None if mailbox.owner.is_some() || before.had(mailbox) => continue,
                // What came into it since it was made.
                None => {
                    made = Status::from(&Snapshot::builder(mailbox.status.uid_validity).build());
                    &made
                }
            };
            let (status, events) = (&mailbox.status, notifier.events_of(&mailbox.name, now));
            if known == status || !events.expunge || !mailbox.readable || self.is_selected(mailbox) {
                continue;
            }
            let is_new = known.uid_validity != status.uid_validity;
            let moved = known.messages != status.messages || known.uid_next != status.uid_next;
            if moved || is_new {
                // RFC 5465 §5.2, §5.3
                let mut told = counts(mailbox);
                told.uid_validity = Some(status.uid_validity).filter(|_| is_new);
                told.highest_mod_seq = Some(status.highest_modseq).filter(|_| knows);
                told.unseen =
                    Some(status.unseen).filter(|unseen| events.tells_flags() && *unseen != known.unseen);
                server.notify_status(&told);
            } else if events.tells_flags() && (knows || known.unseen != status.unseen) {
                // RFC 5465 §5.1
                let mut told = MailboxStatus::new(mailbox.name.clone());
                told.uid_validity = Some(status.uid_validity);
                told.highest_mod_seq = Some(status.highest_modseq).filter(|_| knows);
                told.unseen = Some(status.unseen).filter(|unseen| *unseen != known.unseen);
                server.notify_status(&told);
            }
        }
        // RFC 5465 §5.6, §5.7
        for (name, entries) in now.changed_annotations(before) {
            let mailbox = now.mailboxes.get(&name).map(|known| &known.name);
            server.notify_annotations(mailbox, &entries);
        }
    }
}

type Wait<'a> = Pin<Box<dyn Future<Output = Result<News>> + Send + 'a>>;

/// Waits for news of the mailboxes that the client wants to be told of, and says whose they are, if not the user's own.
pub(super) async fn news<S: Store>(
    store: &S,
    user: Option<&User>,
    notifier: Option<&Notifier>,
) -> (Option<User>, Result<News>) {
    let (Some(feed), Some(user), Some(notifier)) = (store.feed(), user, notifier) else {
        return std::future::pending().await;
    };
    if notifier.others.is_empty() {
        // In a box, as those of others below: few sessions wait so.
        return (None, Box::pin(after(feed, user, notifier.position)).await);
    }
    let own = std::iter::once((None, user, notifier.position));
    let others = notifier.others.iter().map(|(owner, position)| (Some(owner), owner, *position));
    let mut waits: Vec<(Option<&User>, Wait<'_>)> = Vec::new();
    for (owner, whose, position) in own.chain(others) {
        waits.push((owner, Box::pin(after(feed, whose, position))));
    }
    poll_fn(|context| {
        for (owner, wait) in &mut waits {
            if let Poll::Ready(news) = wait.as_mut().poll(context) {
                return Poll::Ready((owner.cloned(), news));
            }
        }
        Poll::Pending
    })
    .await
}

/// What has happened since. A store that fails, or says at once that nothing has, is not asked again at once; commands are answered
/// meanwhile.
async fn after(feed: &impl Feed, user: &User, position: FeedPosition) -> Result<News> {
    let news = feed.after(user, position).await;
    match &news {
        Err(_) => rest(LONG_REST).await,
        Ok(news) if news.events.is_empty() => rest(REST).await,
        Ok(_) => {}
    }
    news
}

fn counts(known: &Known) -> MailboxStatus {
    let Status { messages, uid_next, .. } = known.status;
    let mut told = MailboxStatus::new(known.name.clone());
    told.messages = Some(messages);
    told.uid_next = uid_next;
    told
}

/// RFC 5465 §5.9: mailboxes that the user may not see or read any more, and those that may be again.
fn tell_access(notifier: &Notifier, before: &Seen, server: &mut Server) {
    let now = &notifier.seen;
    for (name, known) in now.mailboxes.iter().chain(&now.lost) {
        let barred = now.is_barred(name);
        let was_there = before.mailboxes.contains_key(name) || before.is_barred(name);
        if barred == before.is_barred(name)
            || !was_there
            || notifier.events_of(&known.name, now) == NotifyEvents::default()
        {
            continue;
        }
        match barred {
            true => server.notify_no_access(&now.entry(&known.name)),
            false => server.notify_mailbox(&now.entry(&known.name), None),
        }
    }
}

/// RFC 5465 §5.4, §5.5: mailboxes made, deleted and renamed, and subscriptions.
fn tell_names(notifier: &Notifier, before: &Seen, server: &mut Server) {
    let now = &notifier.seen;
    let ids: HashMap<ObjectId, &MailboxName> = before
        .mailboxes
        .values()
        .filter(|known| !now.mailboxes.contains_key(known.name.as_str()))
        .filter_map(|known| Some((known.status.id?, &known.name)))
        .collect();
    let mut renamed: HashSet<&MailboxName> = HashSet::new();
    let mut told: HashSet<&MailboxName> = HashSet::new();
    // Of what is made or deleted the parent is affected too, there or not; but what stands before the names of others' mailboxes is none.
    let mut parents: Vec<MailboxName> = Vec::new();
    let parent = |known: &Known| {
        let is_there = |name: &str| now.mailboxes.contains_key(name) || before.mailboxes.contains_key(name);
        known.name.parent().filter(|parent| known.owner.is_none() || is_there(parent.as_str()))
    };
    for (name, known) in &now.mailboxes {
        if before.mailboxes.contains_key(name) || before.lost.contains_key(name) {
            continue;
        }
        let earlier = known.status.id.and_then(|id| ids.get(&id).copied());
        renamed.extend(earlier);
        parents.extend(earlier.is_none().then(|| parent(known)).flatten());
        let wanted = notifier.events_of(&known.name, now).names
            || earlier.is_some_and(|earlier| notifier.events_of(earlier, before).names);
        // Children go with what is above them, and nothing is said of them.
        let mut above = successors(earlier.and_then(MailboxName::parent), MailboxName::parent);
        let parent_moved = above.any(|parent| {
            !now.mailboxes.contains_key(parent.as_str()) && before.mailboxes.contains_key(parent.as_str())
        });
        if wanted && !parent_moved {
            server.notify_mailbox(&now.entry(&known.name), earlier);
            told.insert(&known.name);
        }
    }
    for known in before.mailboxes.values() {
        let there = |seen: &BTreeMap<String, Known>| seen.contains_key(known.name.as_str());
        let gone = !there(&now.mailboxes) && !there(&now.lost) && !renamed.contains(&known.name);
        parents.extend(gone.then(|| parent(known)).flatten());
        if gone && notifier.events_of(&known.name, before).names {
            server.notify_mailbox(&now.entry(&known.name), None);
            told.insert(&known.name);
        }
    }
    for name in &parents {
        if notifier.events_of(name, now).names && told.insert(name) {
            server.notify_mailbox(&now.entry(name), None);
        }
    }
    for name in now.subscribed.symmetric_difference(&before.subscribed) {
        let wanted =
            notifier.events_of(name, now).subscriptions || notifier.events_of(name, before).subscriptions;
        if wanted && !told.contains(name) {
            server.notify_mailbox(&now.entry(name), None);
        }
    }
}
