//! What goes along with mail: annotations, access control lists, Sieve scripts, subscriptions.

use bytes::Bytes;
use mailwright::{
    mail_model::{AnnotationScope, MailboxName, ScriptName, UidSet},
    mailstore::{
        Acl, AclEntry, Annotate, Annotated, AnyStore, EntryName, Mailbox, Metadata, Scripts, Store,
        StoreError, User, block_on,
    },
};

use super::{Export, Source};
use crate::{
    cli::ExportFormat,
    companion::{Line, Message, Note},
};

/// So many messages are asked about at a time.
const BATCH: u64 = 100;

/// What there is of an account beside its mailboxes.
pub(super) struct Account {
    /// Subscribed names that no mailbox has.
    pub(super) missing: Vec<MailboxName>,
    /// All subscribed names.
    pub(super) subscriptions: Vec<MailboxName>,
    /// What the user has noted about the server.
    pub(super) metadata: Vec<(EntryName, Bytes)>,
    pub(super) scripts: Vec<Script>,
}

/// A Sieve script.
pub(super) struct Script {
    pub(super) name: ScriptName,
    pub(super) content: Bytes,
    pub(super) active: bool,
}

/// How many annotations of a mailbox and of its messages these users keep to themselves, its owner aside.
pub(super) fn of_others(source: &Source<'_>, users: &[User]) -> usize {
    let (mailbox, store) = (&source.mailbox, source.store);
    let place = Annotated::Mailbox { owner: mailbox.user().clone(), name: source.entry.name.clone() };
    let mut count = 0;
    for user in users.iter().filter(|user| *user != mailbox.user()) {
        let noted = store.metadata().map(|metadata| block_on(metadata.annotations(&place, user)));
        let noted = noted.and_then(Result::ok).unwrap_or_default();
        count += noted.iter().filter(|annotation| annotation.entry.is_private()).count();
        let Some(annotator) = store.annotator() else { continue };
        for uids in batches(&source.snapshot.uids()) {
            // What cannot be read was told of with the owner's.
            let noted = block_on(annotator.message_annotations(mailbox, &uids, user)).unwrap_or_default();
            let all = noted.iter().flat_map(|(_, noted)| noted);
            count += all.filter(|noted| noted.scope == AnnotationScope::Private).count();
        }
    }
    count
}

fn batches(all: &UidSet) -> impl Iterator<Item = UidSet> {
    (0..all.len()).step_by(BATCH as usize).map(|start| all.at(start..start + BATCH))
}

impl Export<'_> {
    pub(super) fn account(
        &mut self,
        store: &AnyStore,
        user: &User,
        subscriptions: &[MailboxName],
        mailboxes: &[Mailbox],
    ) -> Account {
        let is_there = |name: &&MailboxName| mailboxes.iter().any(|mailbox| mailbox.name == **name);
        Account {
            missing: subscriptions.iter().filter(|name| !is_there(name)).cloned().collect(),
            subscriptions: subscriptions.to_vec(),
            metadata: self.metadata(store, user, None),
            scripts: self.scripts(store, user),
        }
    }

    fn scripts(&mut self, store: &AnyStore, user: &User) -> Vec<Script> {
        let Some(scripts) = store.scripts() else { return Vec::new() };
        let all = block_on(scripts.all_scripts(user));
        let mut found = Vec::new();
        for entry in self.or_miss("Sieve scripts", all) {
            match block_on(scripts.script(user, &entry.name)) {
                Ok(content) => found.push(Script { name: entry.name, content, active: entry.active }),
                Err(error) => self.miss(format!("the Sieve script {}: {error}", entry.name)),
            }
        }
        found
    }

    /// The access control list of a mailbox.
    pub(super) fn access(&mut self, store: &AnyStore, user: &User, name: &MailboxName) -> Vec<AclEntry> {
        let list = store.acl().map_or_else(|| Ok(Vec::new()), |acl| block_on(acl.access_list(user, name)));
        self.or_miss(&format!("the access control list of {name}"), list)
    }

    /// What is noted about a mailbox, or by the user alone about the server.
    pub(super) fn metadata(
        &mut self,
        store: &AnyStore,
        user: &User,
        name: Option<&MailboxName>,
    ) -> Vec<(EntryName, Bytes)> {
        let Some(metadata) = store.metadata() else { return Vec::new() };
        let place = name
            .map_or(Annotated::Server, |name| Annotated::Mailbox { owner: user.clone(), name: name.clone() });
        let all = block_on(metadata.annotations(&place, user));
        let what = name.map_or_else(|| "the server".to_owned(), ToString::to_string);
        let all = self.or_miss(&format!("annotations of {what}"), all);
        // What is shared of the server is not the user's.
        let is_theirs = |entry: &EntryName| name.is_some() || entry.is_private();
        let all = all.into_iter().filter(|annotation| is_theirs(&annotation.entry));
        all.map(|annotation| (annotation.entry, annotation.value)).collect()
    }

    /// Writes what is known of the messages of a mailbox and is not in the export yet.
    pub(super) fn notes(&mut self, source: &Source<'_>, format: ExportFormat) -> Result<(), String> {
        let (mailbox, name) = (&source.mailbox, &source.entry.name);
        for uids in batches(&source.snapshot.uids()) {
            let noted = match source.store.annotator() {
                Some(annotator) => {
                    let noted = block_on(annotator.message_annotations(mailbox, &uids, mailbox.user()));
                    self.or_miss(&format!("annotations of messages in {name}"), noted)
                }
                None => Vec::new(),
            };
            let mut noted = noted.into_iter().peekable();
            for uid in uids.iter() {
                let noted =
                    noted.next_if(|(next, _)| *next == uid).map(|(_, noted)| noted).unwrap_or_default();
                let annotations: Vec<_> = noted
                    .into_iter()
                    .filter_map(|noted| Note::of_message(&(noted.entry, noted.scope, noted.value)))
                    .collect();
                let id = source.unique_ids.get(&uid).filter(|_| format == ExportFormat::Mbox);
                if annotations.is_empty() && id.is_none() {
                    continue;
                }
                self.done.along.annotations += annotations.len() as u64;
                let mailbox = name.as_str().to_owned();
                let message = Message { mailbox, uid: uid.get(), unique_id: id.cloned(), annotations };
                self.companion.write(&Line::Message(message))?;
            }
        }
        Ok(())
    }

    /// What was found, or nothing and a word about it.
    fn or_miss<T>(&mut self, what: &str, found: Result<Vec<T>, StoreError>) -> Vec<T> {
        found.unwrap_or_else(|error| {
            self.miss(format!("{what}: {error}"));
            Vec::new()
        })
    }
}
