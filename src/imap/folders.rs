//! LIST and its kin: the tree of a user's mailboxes.

use std::collections::{BTreeMap, HashSet};

use mailwright_imap_proto::{
    Answered, Refusal,
    command::{Create, Rename, Status, StatusItem},
    response::{MailboxStatus, ServerId},
    server::{Event, ListEntry, Mailboxes, Server},
};
use mailwright_line_proto::Deflate;
use mailwright_mail_model::{Flag, MailboxName, SpecialUse};
use mailwright_mailstore::{
    Annotated, Folders, MailboxRef, Message, Right, Rights, Store, accounts::Accounts,
};

use super::{Visit, refusal, sharing::shown, special_use::noted};
use crate::service::Session;

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    /// Answers what is about mailboxes as a whole; says whether it was done.
    pub(super) async fn handle_folders(
        &self,
        connection: &mut Session<Deflate<Server>>,
        event: Event,
    ) -> bool {
        macro_rules! answer {
            ($ask:ident, $answer:expr) => {{
                let answer = $answer;
                let done = answer.is_ok();
                let _ = connection.machine().inner_mut().inner_mut().answer($ask, answer);
                done
            }};
        }
        match event {
            Event::Mailboxes(ask) => answer!(ask, self.mailboxes(&ask).await),
            Event::Status(ask) => answer!(ask, self.status(&ask).await),
            Event::Create(ask) => answer!(ask, self.create(&ask).await),
            Event::Delete(ask) => answer!(ask, self.delete(&ask.mailbox).await),
            Event::Rename(ask) => answer!(ask, self.rename(&ask).await),
            Event::Subscribe(ask) => answer!(ask, self.subscribe(&ask.mailbox, true).await),
            Event::Unsubscribe(ask) => answer!(ask, self.subscribe(&ask.mailbox, false).await),
            Event::Namespace(ask) => answer!(ask, Ok(self.namespaces())),
            // RFC 2971 §3.3: says nothing of what runs here; a client's bug report needs it less than an attacker does.
            Event::Id(ask) => {
                let workarounds = self.service.options.workarounds_for(self.client.as_deref());
                connection.machine().inner_mut().inner_mut().work_around(workarounds);
                answer!(ask, Ok(ServerId::default()))
            }
            other => self.handle_sharing(connection, other).await,
        }
    }

    fn folders(&self) -> Result<(&mailwright_mailstore::User, &(impl Folders + use<'_, S, A>)), Refusal> {
        Ok((self.user()?, self.store.folders().ok_or_else(Refusal::cannot)?))
    }

    async fn create(&self, request: &Create) -> Answered<()> {
        let (_, folders) = self.folders()?;
        let special_use = match request.special_use.as_slice() {
            [] => None,
            [one] if !is_view(*one) => Some(*one),
            // RFC 6154 §3: all of them or nothing, and stores keep one.
            _ => return Err(Refusal::special_use()),
        };
        self.stays_here(&request.mailbox)?;
        let at = self.locate_new(&request.mailbox).await.map_err(|error| refusal(&error))?;
        let made = folders.create(&at.owner, &at.name, special_use).await;
        made.map(drop).map_err(|error| refusal(&error))
    }

    async fn subscribe(&self, mailbox: &MailboxName, wanted: bool) -> Answered<()> {
        let (_, folders) = self.folders()?;
        let user = self.require_owner()?;
        let done = match wanted {
            true => folders.subscribe(user, mailbox).await,
            false => folders.unsubscribe(user, mailbox).await,
        };
        done.map_err(|error| refusal(&error))
    }

    async fn delete(&self, mailbox: &MailboxName) -> Answered<()> {
        let (_, folders) = self.folders()?;
        self.stays_here(mailbox)?;
        let at = self.locate_for(mailbox, Right::DeleteMailbox).await.map_err(|error| refusal(&error))?;
        folders.delete(&at.owner, &at.name).await.map_err(|error| refusal(&error))
    }

    async fn rename(&self, request: &Rename) -> Answered<()> {
        let (_, folders) = self.folders()?;
        self.both_stay_here(&request.from, &request.to)?;
        // RFC 4314 §4
        let from = self.locate_for(&request.from, Right::DeleteMailbox).await;
        let from = from.map_err(|error| refusal(&error))?;
        let to = self.locate_new(&request.to).await.map_err(|error| refusal(&error))?;
        if from.owner != to.owner {
            // Mail would have to change hands, and what is below it.
            return Err(Refusal::cannot());
        }
        folders.rename(&from.owner, &from.name, &to.name).await.map_err(|error| refusal(&error))
    }

    /// How a mailbox is listed; `None` if the client may know its name alone (RFC 4314 §4).
    pub(super) async fn listed(&self, name: &MailboxName) -> Answered<Option<ListEntry>> {
        let all = self.mailboxes(&Mailboxes::default()).await?;
        Ok(all.into_iter().find(|entry| entry.mailbox == *name))
    }

    async fn mailboxes(&self, request: &Mailboxes) -> Answered<Vec<ListEntry>> {
        let user = self.user()?;
        let mailboxes = self.store.mailboxes(user).await.map_err(|error| refusal(&error))?;
        let subscribed: Option<HashSet<MailboxName>> = match self.store.folders() {
            Some(folders) => {
                let names = folders.subscriptions(user).await.map_err(|error| refusal(&error))?;
                Some(names.into_iter().collect())
            }
            // Without, every mailbox counts as subscribed.
            None => None,
        };
        let mut entries: BTreeMap<String, ListEntry> = BTreeMap::new();
        for mailbox in mailboxes {
            let mut entry = ListEntry::new(mailbox.name.clone());
            if request.wants_status_of(&mailbox.name) {
                let status = Status::new(mailbox.name.clone(), request.status.iter().copied());
                // Of one that is deleted meanwhile there is nothing to tell.
                entry.status = self.status(&status).await.ok();
            }
            entry.special_use.extend(mailbox.special_use);
            entry.can_have_children = self.store.folders().is_some();
            if request.rights {
                entry.rights = Some(shown(self.at_most(Rights::ALL)));
            }
            if request.annotations && request.is_about(&mailbox.name) {
                let place = Annotated::Mailbox { owner: user.clone(), name: mailbox.name.clone() };
                entry.annotations = self.annotations(&place).await.ok();
                if let Some(annotations) = &mut entry.annotations {
                    annotations.extend(noted(mailbox.special_use));
                }
            }
            entries.insert(mailbox.name.as_str().to_owned(), entry);
        }
        self.list_shared(request, &mut entries).await?;
        if request.remote {
            self.list_remote(&mut entries);
        }
        for name in subscribed.iter().flatten() {
            // RFC 3501 §6.3.6: a name can be subscribed to without a mailbox. Then LSUB tells it, and LIST does not.
            entries.entry(name.as_str().to_owned()).or_insert_with(|| {
                let mut entry = unselectable(name.clone());
                entry.exists = false;
                entry
            });
        }
        // A level above a mailbox is listed though there is no mailbox of that name.
        let missing: Vec<MailboxName> = entries
            .values()
            .filter(|entry| entry.selectable)
            .flat_map(|entry| std::iter::successors(entry.mailbox.parent(), MailboxName::parent))
            .collect();
        for name in missing {
            entries.entry(name.as_str().to_owned()).or_insert_with(|| unselectable(name)).exists = true;
        }
        let parents: HashSet<String> = entries
            .values()
            .filter(|entry| entry.selectable)
            .filter_map(|entry| entry.mailbox.parent())
            .flat_map(|parent| std::iter::successors(Some(parent), MailboxName::parent))
            .map(|parent| parent.as_str().to_owned())
            .collect();
        Ok(entries
            .into_values()
            .map(|mut entry| {
                entry.has_children = Some(parents.contains(entry.mailbox.as_str()));
                entry.subscribed = subscribed.as_ref().is_none_or(|names| names.contains(&entry.mailbox));
                entry
            })
            .collect())
    }

    /// The mailboxes of others (RFC 2342).
    async fn list_shared(
        &self,
        request: &Mailboxes,
        entries: &mut BTreeMap<String, ListEntry>,
    ) -> Answered<()> {
        for (name, shared) in self.shared().await.map_err(|error| refusal(&error))? {
            if !shared.rights.contains(Right::Lookup) {
                continue;
            }
            let mut entry = ListEntry::new(name.clone());
            if request.wants_status_of(&name) {
                let status = Status::new(name.clone(), request.status.iter().copied());
                entry.status = self.status(&status).await.ok();
            }
            entry.can_have_children = self.store.folders().is_some();
            if request.rights {
                entry.rights = Some(shown(self.known_rights(shared.rights)));
            }
            if request.annotations && request.is_about(&name) && shared.rights.contains(Right::Read) {
                let place = Annotated::Mailbox { owner: shared.owner, name: shared.mailbox.name };
                entry.annotations = self.annotations(&place).await.ok();
            }
            entries.insert(name.as_str().to_owned(), entry);
        }
        Ok(())
    }

    async fn status(&self, status: &Status) -> Answered<MailboxStatus> {
        self.stays_here(&status.mailbox)?;
        let at = self.locate_for(&status.mailbox, Right::Read).await.map_err(|error| refusal(&error))?;
        let (user, name) = (&at.owner, &at.name);
        let found = self.store.status(user, name).await.map_err(|error| refusal(&error))?;
        let mut answer = MailboxStatus::new(status.mailbox.clone());
        for item in &status.items {
            match item {
                StatusItem::Messages => answer.messages = Some(found.messages),
                StatusItem::UidNext => answer.uid_next = found.uid_next,
                StatusItem::UidValidity => answer.uid_validity = Some(found.uid_validity),
                StatusItem::Unseen => answer.unseen = Some(found.unseen),
                StatusItem::Deleted => answer.deleted = Some(found.deleted),
                StatusItem::Size => answer.size = Some(found.size),
                StatusItem::DeletedStorage => {
                    let snapshot = self.store.open(user, name).await.map_err(|error| refusal(&error))?;
                    let deleted = |message: &&Message| message.flags.contains(&Flag::Deleted);
                    let octets = snapshot.messages().filter(deleted).map(|message| message.size).sum();
                    answer.deleted_storage = Some(octets);
                }
                StatusItem::HighestModSeq => answer.highest_mod_seq = Some(found.highest_modseq),
                StatusItem::MailboxId => answer.mailbox_id = found.id.map(|id| id.to_string()),
                StatusItem::AppendLimit => {
                    answer.append_limit = Some(Some(self.service.config.max_message_size));
                }
                StatusItem::Recent => {
                    let snapshot = self.store.open(user, name).await.map_err(|error| refusal(&error))?;
                    let mailbox = MailboxRef::new(user.clone(), name.clone(), &snapshot);
                    let recent = self.recent(&mailbox, &snapshot, false).await;
                    answer.recent = Some(u32::try_from(recent.len()).unwrap_or(u32::MAX));
                }
                _ => {}
            }
        }
        Ok(answer)
    }
}

/// Whether a mailbox for this use shows messages that lie elsewhere (RFC 6154 §2, RFC 8457 §3): nothing would ever be in it here.
fn is_view(special_use: SpecialUse) -> bool {
    matches!(special_use, SpecialUse::All | SpecialUse::Flagged | SpecialUse::Important)
}

fn unselectable(name: MailboxName) -> ListEntry {
    let mut entry = ListEntry::new(name);
    entry.selectable = false;
    entry
}
