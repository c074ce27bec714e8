//! NOTIFY: what happens in all mailboxes of a user, told as it happens.

use std::collections::{BTreeMap, HashMap, HashSet};

use mailwright_imap_proto::{
    Answered, Refusal,
    command::{Notify, NotifyEvents, NotifyMailboxes},
    response::MailboxStatus,
    server::{ListEntry, Server},
};
use mailwright_line_proto::Deflate;
use mailwright_mail_model::MailboxName;
use mailwright_mailstore::{
    Feed, FeedEvent, FeedPosition, Folders, Mailbox, News, ObjectId, Result, Status, Store, User,
    accounts::Accounts,
};

use super::{Visit, refusal, selected::Selected};
use crate::service::Session;

/// What a client wants to be told, and what it knows.
#[derive(Debug)]
pub(super) struct Notifier {
    request: Notify,
    position: FeedPosition,
    seen: Seen,
}

/// The mailboxes of a user at one moment.
#[derive(Debug, Default)]
struct Seen {
    mailboxes: BTreeMap<String, (Mailbox, Status)>,
    subscribed: HashSet<MailboxName>,
}

impl Seen {
    async fn look(store: &impl Store, user: &User) -> Result<Self> {
        let list = store.list(user).await?;
        let mailboxes = list
            .into_iter()
            .map(|(mailbox, status)| (mailbox.name.as_str().to_owned(), (mailbox, status)))
            .collect();
        let subscribed = match store.folders() {
            Some(folders) => folders.subscriptions(user).await?.into_iter().collect(),
            None => HashSet::new(),
        };
        Ok(Self { mailboxes, subscribed })
    }
}

impl Notifier {
    /// What is told of a mailbox by all groups together, but for the one about the selected mailbox.
    fn events_of(&self, name: &MailboxName, seen: &Seen) -> NotifyEvents {
        let mut all = NotifyEvents::default();
        for group in &self.request.groups {
            let meant = match &group.mailboxes {
                NotifyMailboxes::Personal => true,
                // Mail is delivered wherever a script of the user's files it (RFC 5465 §6.3).
                NotifyMailboxes::Inboxes => true,
                NotifyMailboxes::Subscribed => seen.subscribed.contains(name),
                NotifyMailboxes::Subtree(names) => {
                    names.iter().any(|above| name == above || name.starts_with_level(above))
                }
                NotifyMailboxes::Mailboxes(names) => names.contains(name),
                _ => false,
            };
            if meant {
                all.new = all.new.or_else(|| group.events.new.clone());
                all.expunge |= group.events.expunge;
                all.flags |= group.events.flags;
                all.names |= group.events.names;
                all.subscriptions |= group.events.subscriptions;
            }
        }
        all
    }
}

impl<S: Store, A: Accounts> Visit<'_, S, A> {
    pub(super) async fn begin_to_notify(&mut self, request: &Notify) -> Answered<Vec<MailboxStatus>> {
        self.notifier = None;
        let user = self.user()?;
        let feed = self.store.feed().ok_or_else(Refusal::cannot)?;
        // The position first: what happens after it is told, if it was seen or not.
        let position = feed.position(user).await.map_err(|error| refusal(&error))?;
        let seen = Seen::look(self.store, user).await.map_err(|error| refusal(&error))?;
        let notifier = Notifier { request: request.clone(), position, seen };
        let mut statuses = Vec::new();
        if request.status {
            let knows = self.store.changes().is_some();
            for (mailbox, status) in notifier.seen.mailboxes.values() {
                let events = notifier.events_of(&mailbox.name, &notifier.seen);
                if events.expunge && !self.is_selected(&mailbox.name) {
                    let mut told = counts(mailbox, status);
                    told.uid_validity = Some(status.uid_validity);
                    told.highest_mod_seq = Some(status.highest_modseq).filter(|_| events.flags && knows);
                    statuses.push(told);
                }
            }
        }
        if !request.groups.is_empty() {
            self.notifier = Some(Box::new(notifier));
        }
        Ok(statuses)
    }

    fn is_selected(&self, name: &MailboxName) -> bool {
        let own = |selected: &Selected| Some(selected.mailbox.user()) == self.user.as_ref();
        self.selected.as_ref().is_some_and(|selected| own(selected) && selected.mailbox.name() == name)
    }

    /// Tells what has happened since the client was told last. What the client does itself it is not told of
    /// (RFC 5465 §5): then `silent`.
    pub(super) async fn tell_news(
        &mut self,
        connection: &mut Session<Deflate<Server>>,
        news: Option<Result<News>>,
        silent: bool,
    ) {
        let (Some(notifier), Some(user)) = (&mut self.notifier, &self.user) else { return };
        match news {
            Some(Ok(news)) => {
                notifier.position = news.position;
                let in_open = |event: &FeedEvent| matches!((event, &self.selected), (FeedEvent::Messages(name), Some(selected)) if selected.mailbox.name() == name);
                if news.events.iter().all(in_open) {
                    return;
                }
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "cannot follow a feed");
                tokio::time::sleep(super::POLL).await;
            }
            None => {}
        }
        let now = match Seen::look(self.store, user).await {
            Ok(now) => now,
            // Not now: the next change will tell.
            Err(error) => return tracing::warn!(%error, "cannot look at mailboxes"),
        };
        let before = std::mem::replace(&mut notifier.seen, now);
        if silent {
            return;
        }
        let (Some(notifier), knows) = (&self.notifier, self.store.changes().is_some()) else { return };
        let now = &notifier.seen;
        let server = connection.machine().inner_mut().inner_mut();
        tell_names(notifier, &before, server);
        for (name, (mailbox, status)) in &now.mailboxes {
            let Some((_, known)) = before.mailboxes.get(name) else { continue };
            let events = notifier.events_of(&mailbox.name, now);
            if known == status || !events.expunge || self.is_selected(&mailbox.name) {
                continue;
            }
            let is_new = known.uid_validity != status.uid_validity;
            let moved = known.messages != status.messages || known.uid_next != status.uid_next;
            if moved || is_new {
                // RFC 5465 §5.2, §5.3
                let mut told = counts(mailbox, status);
                told.uid_validity = Some(status.uid_validity).filter(|_| is_new);
                told.highest_mod_seq = Some(status.highest_modseq).filter(|_| knows);
                told.unseen = Some(status.unseen).filter(|unseen| events.flags && *unseen != known.unseen);
                server.notify_status(&told);
            } else if events.flags && (knows || known.unseen != status.unseen) {
                // RFC 5465 §5.1
                let mut told = MailboxStatus::new(mailbox.name.clone());
                told.uid_validity = Some(status.uid_validity);
                told.highest_mod_seq = Some(status.highest_modseq).filter(|_| knows);
                told.unseen = Some(status.unseen).filter(|unseen| *unseen != known.unseen);
                server.notify_status(&told);
            }
        }
    }
}

/// Waits for news of the user's mailboxes, if the client wants to be told.
pub(super) async fn news<S: Store>(
    store: &S,
    user: Option<&User>,
    notifier: Option<&Notifier>,
) -> Result<News> {
    match (store.feed(), user, notifier) {
        (Some(feed), Some(user), Some(notifier)) => feed.after(user, notifier.position).await,
        _ => std::future::pending().await,
    }
}

fn counts(mailbox: &Mailbox, status: &Status) -> MailboxStatus {
    let mut told = MailboxStatus::new(mailbox.name.clone());
    told.messages = Some(status.messages);
    told.uid_next = status.uid_next;
    told
}

/// RFC 5465 §5.4, §5.5: mailboxes made, deleted and renamed, and subscriptions.
fn tell_names(notifier: &Notifier, before: &Seen, server: &mut Server) {
    let now = &notifier.seen;
    let ids: HashMap<ObjectId, &MailboxName> = before
        .mailboxes
        .values()
        .filter(|(mailbox, _)| !now.mailboxes.contains_key(mailbox.name.as_str()))
        .filter_map(|(mailbox, status)| Some((status.id?, &mailbox.name)))
        .collect();
    let mut renamed: HashSet<&MailboxName> = HashSet::new();
    let mut told: HashSet<&MailboxName> = HashSet::new();
    for (name, (mailbox, status)) in &now.mailboxes {
        if before.mailboxes.contains_key(name) {
            continue;
        }
        let earlier = status.id.and_then(|id| ids.get(&id).copied());
        renamed.extend(earlier);
        let wanted = notifier.events_of(&mailbox.name, now).names
            || earlier.is_some_and(|earlier| notifier.events_of(earlier, before).names);
        // Children go with their parent, and nothing is said of them.
        let parent_moved = earlier.and_then(MailboxName::parent).is_some_and(|parent| {
            !now.mailboxes.contains_key(parent.as_str()) && before.mailboxes.contains_key(parent.as_str())
        });
        if wanted && !parent_moved {
            server.notify_mailbox(&entry(&mailbox.name, now), earlier);
            told.insert(&mailbox.name);
        }
    }
    for (mailbox, _) in before.mailboxes.values() {
        let gone = !now.mailboxes.contains_key(mailbox.name.as_str()) && !renamed.contains(&mailbox.name);
        if gone && notifier.events_of(&mailbox.name, before).names {
            server.notify_mailbox(&entry(&mailbox.name, now), None);
            told.insert(&mailbox.name);
        }
    }
    for name in now.subscribed.symmetric_difference(&before.subscribed) {
        let wanted =
            notifier.events_of(name, now).subscriptions || notifier.events_of(name, before).subscriptions;
        if wanted && !told.contains(name) {
            server.notify_mailbox(&entry(name, now), None);
        }
    }
}

fn entry(name: &MailboxName, seen: &Seen) -> ListEntry {
    let mut entry = ListEntry::new(name.clone());
    let mailbox = seen.mailboxes.get(name.as_str());
    entry.exists = mailbox.is_some();
    entry.special_use.extend(mailbox.and_then(|(mailbox, _)| mailbox.special_use));
    entry.subscribed = seen.subscribed.contains(name);
    if entry.exists {
        let below =
            |(mailbox, _): &(Mailbox, Status)| mailbox.name.starts_with_level(name) && mailbox.name != *name;
        entry.has_children = Some(seen.mailboxes.values().any(below));
    }
    entry
}
