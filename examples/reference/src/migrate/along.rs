//! What goes along with mail: annotations, access control lists, Sieve scripts. What is only here stays, but for rights that were given
//! by the mailbox above.

use bytes::Bytes;
use mailwright::{
    mail_model::{AnnotationEntry, AnnotationScope, MailboxName, ScriptName, Uid, UidSet},
    mailstore::{
        Acl, AclChange, AclEntry, Annotate, Annotated, AnnotationChange, EntryName, Folders, MailboxRef,
        Metadata, Noted, Rights, Scripts, Snapshot, Store, StoreError,
    },
};

use super::{
    MigrateError, Report, Run,
    places::Places,
    source::{Entry, Folder, Source},
};
use crate::companion::Along;

/// So many messages are asked about at a time.
const BATCH: usize = 100;

/// What there is at the source, and why some of it cannot be had.
#[derive(Debug)]
pub(super) struct Found<T> {
    pub(super) all: Vec<T>,
    pub(super) missing: Vec<String>,
}

impl<T> Default for Found<T> {
    fn default() -> Self {
        Self { all: Vec::new(), missing: Vec::new() }
    }
}

impl<T> Found<T> {
    /// All there is, or nothing.
    pub(super) fn new(what: &str, found: Result<Vec<T>, impl std::fmt::Display>) -> Self {
        match found {
            Ok(all) => Self { all, missing: Vec::new() },
            Err(error) => Self { all: Vec::new(), missing: vec![format!("{what}: {error}")] },
        }
    }
}

/// What is around the messages of a mailbox.
#[derive(Debug, Default)]
pub(super) struct Around {
    pub(super) access: Found<AclEntry>,
    pub(super) metadata: Found<(EntryName, Bytes)>,
}

/// What there is of an account beside its mailboxes.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) subscriptions: Vec<MailboxName>,
    pub(super) metadata: Found<(EntryName, Bytes)>,
    pub(super) scripts: Found<Script>,
}

/// A Sieve script.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) name: ScriptName,
    pub(super) content: Bytes,
    pub(super) active: bool,
}

impl Run<'_> {
    /// What is of the account rather than of a mailbox. Gives what is not the same at the end.
    pub(super) async fn account(&self, account: Account) -> Result<(Along, Vec<String>), MigrateError> {
        let mut along = Along::default();
        let mut differences = account.metadata.missing;
        differences.extend(account.scripts.missing);
        if let Some(folders) = self.store.folders() {
            let there = folders.subscriptions(&self.user).await?;
            for name in account.subscriptions.iter().filter(|name| !there.contains(name)) {
                folders.subscribe(&self.user, name).await?;
            }
        }
        self.annotate(&Annotated::Server, &account.metadata.all, &mut along, &mut differences).await;
        self.scripts(&account.scripts.all, &mut along, &mut differences).await?;
        Ok((along, differences))
    }

    async fn scripts(
        &self,
        wanted: &[Script],
        along: &mut Along,
        differences: &mut Vec<String>,
    ) -> Result<(), MigrateError> {
        let Some(scripts) = self.store.scripts() else {
            differences.extend(nowhere(wanted.len(), "Sieve scripts"));
            return Ok(());
        };
        let user = &self.user;
        for Script { name, content, .. } in wanted {
            let put = match scripts.script(user, name).await {
                Ok(here) if here == *content => Ok(()),
                // Somebody goes on with it here.
                Ok(_) => Err("another one of this name is here".to_owned()),
                Err(StoreError::NotFound) => {
                    let put = scripts.put_script(user, name, content.clone(), self.scripts).await;
                    put.map_err(|error| error.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            match put {
                Ok(()) => along.scripts += 1,
                Err(error) => differences.push(format!("the Sieve script {name}: {error}")),
            }
        }
        let Some(wanted) = wanted.iter().find(|script| script.active) else { return Ok(()) };
        let active = match scripts.active_script(user).await? {
            Some((name, _)) => Some(name),
            None => {
                scripts.activate_script(user, Some(&wanted.name)).await.ok().map(|()| wanted.name.clone())
            }
        };
        if active.as_ref() != Some(&wanted.name) {
            let active = active.map_or_else(|| "none".to_owned(), |name| name.to_string());
            differences.push(format!("the Sieve script {} is active, here {active}", wanted.name));
        }
        Ok(())
    }

    /// What is around the messages of a mailbox that was made just now, or not.
    pub(super) async fn around(
        &self,
        folder: &Folder,
        made: bool,
        around: Around,
        report: &mut Report,
    ) -> Result<(), MigrateError> {
        let place = Annotated::Mailbox { owner: self.user.clone(), name: folder.name.clone() };
        report.differences.extend(around.metadata.missing);
        self.annotate(&place, &around.metadata.all, &mut report.along, &mut report.differences).await;
        report.differences.extend(around.access.missing);
        self.access(&folder.name, made, &around.access.all, report).await
    }

    async fn annotate(
        &self,
        place: &Annotated,
        wanted: &[(EntryName, Bytes)],
        along: &mut Along,
        differences: &mut Vec<String>,
    ) {
        let Some(metadata) = self.store.metadata() else {
            differences.extend(nowhere(wanted.len(), "annotations"));
            return;
        };
        for (entry, value) in wanted {
            let change = [(entry.clone(), Some(value.clone()))];
            match metadata.annotate(place, &self.user, &change).await {
                Ok(()) => along.metadata += 1,
                Err(error) => differences.push(format!("the annotation {entry}: {error}")),
            }
        }
    }

    async fn access(
        &self,
        name: &MailboxName,
        made: bool,
        wanted: &[AclEntry],
        report: &mut Report,
    ) -> Result<(), MigrateError> {
        let Some(acl) = self.store.acl() else {
            report.differences.extend(nowhere(wanted.len(), "entries of the access control list"));
            return Ok(());
        };
        let here = acl.access_list(&self.user, name).await?;
        // A new mailbox has the list of the one above it: nobody is to see more than at the source.
        for entry in here.iter().filter(|_| made || !wanted.is_empty()) {
            if !wanted.iter().any(|wanted| wanted.identifier == entry.identifier) {
                let nothing = AclChange::Replace(Rights::NONE);
                acl.change_access(&self.user, name, &entry.identifier, nothing).await?;
            }
        }
        for AclEntry { identifier, rights, .. } in wanted {
            match acl.change_access(&self.user, name, identifier, AclChange::Replace(*rights)).await {
                Ok(()) => report.along.access += 1,
                Err(error) => report.differences.push(format!("rights of {identifier}: {error}")),
            }
        }
        Ok(())
    }

    /// What is noted about messages that are here.
    pub(super) async fn notes(
        &self,
        source: &mut Source,
        folder: &Folder,
        (entries, places, snapshot): (&[Entry], &Places, &Snapshot),
        report: &mut Report,
    ) -> Result<(), MigrateError> {
        let mailbox = MailboxRef::new(self.user.clone(), folder.name.clone(), snapshot);
        for batch in entries.chunks(BATCH) {
            let uids: UidSet = batch.iter().map(|entry| entry.uid).collect();
            let wanted = source.annotations(folder, &uids).await?;
            let mut wanted: Vec<_> =
                wanted.into_iter().filter_map(|(uid, noted)| Some((places.here(uid)?, noted))).collect();
            wanted.sort_by_key(|(uid, _)| *uid);
            let uids: UidSet = wanted.iter().map(|(uid, _)| *uid).collect();
            if wanted.is_empty() {
                continue;
            }
            let Some(annotator) = self.store.annotator() else {
                let count = wanted.iter().map(|(_, noted)| noted.len()).sum();
                report.differences.extend(nowhere(count, "annotations of messages"));
                continue;
            };
            let here = self.noted(&mailbox, &uids).await?;
            for (uid, wanted) in &wanted {
                let missing = wanted.iter().filter(|noted| !is_among(&here, *uid, noted)).cloned().collect();
                self.note(annotator, &mailbox, *uid, missing).await?;
            }
            let here = self.noted(&mailbox, &uids).await?;
            for (uid, wanted) in &wanted {
                let (there, left): (Vec<_>, Vec<_>) =
                    wanted.iter().partition(|noted| is_among(&here, *uid, noted));
                report.along.annotations += there.len() as u64;
                if !left.is_empty() {
                    let names: Vec<_> = left.iter().map(|(entry, ..)| entry.as_str()).collect();
                    report.differences.push(format!("UID {uid} is here without {}", names.join(", ")));
                }
            }
        }
        Ok(())
    }

    /// All at once, or as much as there is room for.
    async fn note(
        &self,
        annotator: &impl Annotate,
        mailbox: &MailboxRef,
        uid: Uid,
        values: Vec<Noted>,
    ) -> Result<(), MigrateError> {
        if values.is_empty() {
            return Ok(());
        }
        let uids = UidSet::from(uid);
        let change = AnnotationChange::new(values);
        match annotator.annotate_messages(mailbox, &uids, &self.user, &change).await {
            Err(StoreError::TooLarge { .. } | StoreError::TooMany { .. }) => {}
            done => return done.map(drop).map_err(Into::into),
        }
        for value in change.values {
            let change = AnnotationChange::new(vec![value]);
            match annotator.annotate_messages(mailbox, &uids, &self.user, &change).await {
                Ok(_) | Err(StoreError::TooLarge { .. } | StoreError::TooMany { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn noted(&self, mailbox: &MailboxRef, uids: &UidSet) -> Result<Vec<(Uid, Vec<Here>)>, StoreError> {
        let Some(annotator) = self.store.annotator() else { return Ok(Vec::new()) };
        let all = annotator.message_annotations(mailbox, uids, &self.user).await?;
        let all = all.into_iter().map(|(uid, noted)| {
            (uid, noted.into_iter().map(|noted| (noted.entry, noted.scope, noted.value)).collect())
        });
        Ok(all.collect())
    }
}

type Here = (AnnotationEntry, AnnotationScope, Option<Bytes>);

fn is_among(here: &[(Uid, Vec<Here>)], uid: Uid, noted: &Noted) -> bool {
    here.binary_search_by_key(&uid, |(uid, _)| *uid)
        .ok()
        .and_then(|at| here.get(at))
        .is_some_and(|(_, here)| here.contains(noted))
}

/// What this store has no place for.
fn nowhere(count: usize, what: &str) -> Option<String> {
    (count > 0).then(|| format!("{count} {what}: this store keeps none"))
}
