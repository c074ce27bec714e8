//! Mailboxes: listed, made, renamed, counted.

use super::*;

impl App {
    /// What is asked about mailboxes.
    pub(super) fn mailboxes(&mut self, server: &mut Server, event: Event) -> Result<(), Gone> {
        match event {
            Event::Namespace(ask) => {
                let mut namespaces = Namespaces::personal('/');
                if server.language_of_texts().is_some() {
                    namespaces.other_users.push(Namespace::new("Other Users/", Some('/')));
                    namespaces.shared.push(Namespace::new("Shared Folders/", Some('/')));
                }
                server.answer(ask, Ok(namespaces))
            }
            Event::Mailboxes(ask) => {
                let entries = self.folders.iter().map(|(name, folder)| {
                    let mut entry = ListEntry::new(MailboxName::new(name).unwrap());
                    if ask.wants_status_of(&entry.mailbox) {
                        let mut status = MailboxStatus::new(entry.mailbox.clone());
                        status.messages = Some(folder.messages.len() as u32);
                        status.unseen = Some(folder.unseen().count() as u32);
                        entry.status = Some(status);
                    }
                    entry.subscribed = folder.subscribed;
                    entry.has_children =
                        Some(self.folders.keys().any(|other| other.starts_with(&format!("{name}/"))));
                    entry.rights = ask.rights.then(|| sharing::RIGHTS.into());
                    if ask.annotations {
                        entry.annotations = Some(self.sharing.notes(Some(name)));
                    }
                    if name == "Sent" {
                        entry.special_use = vec![SpecialUse::Sent];
                    }
                    entry
                });
                let mut entries: Vec<ListEntry> = entries.collect();
                entries.extend(self.names.iter().map(|name| {
                    let mut entry = ListEntry::new(name.clone());
                    (entry.exists, entry.subscribed) = (false, true);
                    let below = format!("{name}/");
                    entry.has_children = Some(self.folders.keys().any(|other| other.starts_with(&below)));
                    entry
                }));
                if ask.remote {
                    let mut entry = ListEntry::new(MailboxName::new("SHARED/FOO").unwrap());
                    (entry.remote, entry.subscribed, entry.has_children) = (true, true, Some(false));
                    entries.push(entry);
                }
                server.answer(ask, Ok(entries))
            }
            Event::Create(ask) => {
                let answer = self.create(&ask.mailbox);
                server.answer(ask, answer)
            }
            Event::Delete(ask) => {
                let gone = self.folders.remove(ask.mailbox.as_str());
                let mut entry = ListEntry::new(ask.mailbox.clone());
                entry.exists = false;
                server.notify_mailbox(&entry, None);
                server.answer(ask, gone.map(drop).ok_or_else(Refusal::non_existent))
            }
            Event::Rename(ask) => {
                let answer = match self.folders.remove(ask.from.as_str()) {
                    Some(folder) => {
                        self.folders.insert(ask.to.to_string(), folder);
                        server.notify_mailbox(&ListEntry::new(ask.to.clone()), Some(&ask.from));
                        Ok(())
                    }
                    None => Err(Refusal::non_existent()),
                };
                server.answer(ask, answer)
            }
            Event::Subscribe(ask) => {
                // RFC 3501 §6.3.6: whether there is such a mailbox or not.
                let elsewhere = ask.mailbox.as_str().starts_with("SHARED");
                let answer = match self.folder(&ask.mailbox) {
                    Ok(folder) => {
                        folder.subscribed = true;
                        Ok(())
                    }
                    Err(refusal) if elsewhere => Err(refusal),
                    Err(_) => {
                        self.names.insert(ask.mailbox.clone());
                        Ok(())
                    }
                };
                let mut entry = ListEntry::new(ask.mailbox.clone());
                entry.subscribed = true;
                server.notify_mailbox(&entry, None);
                server.answer(ask, answer)
            }
            Event::Unsubscribe(ask) => {
                let answer = self.folder(&ask.mailbox).map(|folder| folder.subscribed = false);
                server.answer(ask, answer)
            }
            Event::Status(ask) => {
                let name = ask.mailbox.clone();
                let answer = self.folder(&name).map(|folder| {
                    let mut status = MailboxStatus::new(name);
                    status.messages = Some(folder.messages.len() as u32);
                    status.recent = Some(0);
                    status.uid_next = Uid::new(folder.next);
                    status.uid_validity = Some(validity());
                    status.unseen = Some(folder.unseen().count() as u32);
                    status.size =
                        Some(folder.messages.iter().map(|message| message.octets.len() as u64).sum());
                    status.deleted = Some(1);
                    status.deleted_storage = Some(430);
                    status.highest_mod_seq = ModSeq::new(folder.mod_seq);
                    status.mailbox_id = Some("F2212ea87".into());
                    status
                });
                assert!(!ask.items.is_empty() && ask.items.len() <= StatusItem::ALL.len());
                server.answer(ask, answer)
            }
            Event::Notify(ask) => {
                let below = |name: &str| {
                    ask.groups.iter().any(|group| match &group.mailboxes {
                        NotifyMailboxes::Subtree(names) => {
                            names.iter().any(|above| name.starts_with(above.as_str()))
                        }
                        _ => false,
                    })
                };
                let folders = self.folders.iter().filter(|(name, _)| ask.status && below(name));
                let statuses = folders.map(|(name, folder)| folder.counts(name)).collect();
                server.answer(ask, Ok(statuses))
            }
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn create(&mut self, name: &MailboxName) -> Result<(), Refusal> {
        if self.folders.contains_key(name.as_str()) {
            return Err(Refusal::already_exists());
        }
        // The examples of RFC 4469 know its messages by their UIDs.
        let next = if name.as_str() == "Drafts" { 20 } else { 1 };
        self.folders.insert(name.to_string(), Folder { next, ..Folder::default() });
        Ok(())
    }
}
