//! Annotations of messages (RFC 5257): who may read and write which, and what of them clients are told.

use std::{collections::HashMap, io, sync::Arc};

use mailwright_imap_proto::{
    Answered, Refusal,
    command::{Annotate as AnnotateRequest, AnnotationValue, FetchItem},
    response::{AnnotationSupport, ResponseCode},
    server::Server,
};
use mailwright_line_proto::{Ask, Deflate};
use mailwright_mail_model::{
    AnnotationEntry, AnnotationScope, ModSeq, Uid, UidSet, annotation_contains,
    mime::Structure,
    query::{Key, Query},
};
use mailwright_mailstore::{
    Annotate, AnnotationChange, AnnotationsStored, Carried, MailboxRef, MessageAnnotation, MessageRef, Noted,
    Right, Rights, Snapshot, Store, StoreError, accounts::Accounts,
};

use super::{
    Visit,
    access::Located,
    described::structures,
    refusal,
    selected::{Own, Selected},
};
use crate::service::Session;

/// Of how many messages annotations are had at a time, which may be large.
pub(super) const BATCH: usize = 16;
/// Of how many messages the structure is had at a time.
const STRUCTURES: usize = 64;

/// Names of annotations that others have changed, by message.
pub(super) type Renoted = HashMap<Uid, Vec<AnnotationEntry>>;

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    /// What can be noted about the messages of a mailbox that the user may read: RFC 5257 §3.4, that is enough for what is private.
    pub(super) fn annotation_support(&self) -> AnnotationSupport {
        if self.store.annotator().is_some() && !self.has_private() {
            return AnnotationSupport::ReadOnly { private: false };
        }
        match (self.store.annotator(), self.store.writer()) {
            (Some(annotator), Some(_)) => {
                AnnotationSupport::Writable { octets: annotator.annotation_limits().octets, private: true }
            }
            (Some(_), None) => AnnotationSupport::ReadOnly { private: true },
            (None, _) => AnnotationSupport::None,
        }
    }

    /// Whether what is noted for the user alone is for whoever has logged in: it is the owner's, and guests are somebody else.
    fn has_private(&self) -> bool {
        self.user.as_ref().is_some_and(|user| !user.is_guest())
    }

    /// Those rights that mean something here.
    pub(super) fn known_rights(&self, rights: Rights) -> Rights {
        match self.store.annotator() {
            Some(_) => rights,
            None => rights.difference(Rights::of(Right::Annotate)),
        }
    }

    /// STORE of annotations.
    pub(super) async fn store_annotations(
        &mut self,
        connection: &mut Session<Deflate<Server>>,
        ask: Ask<AnnotateRequest<UidSet>>,
    ) -> io::Result<()> {
        let answer = match self.set_annotations(&ask).await {
            Ok(stored) => {
                let own: Own = stored.messages.iter().copied().collect();
                self.refresh_beside(connection, &UidSet::new(), &own).await;
                for (uid, mod_seq) in &stored.messages {
                    let server = connection.machine().inner_mut().inner_mut();
                    // What the client does not know of any more is passed over by the machine.
                    let _ = server.fetch_mod_seq(&ask, *uid, *mod_seq);
                    if connection.machine().inner().inner().transmit_room() == 0 {
                        connection.flush_below(self.service.config.limits.transmit / 2).await?;
                    }
                }
                Ok(stored.modified)
            }
            Err(refusal) => Err(refusal),
        };
        let _ = connection.machine().inner_mut().inner_mut().answer(ask, answer);
        Ok(())
    }

    async fn set_annotations(&self, ask: &AnnotateRequest<UidSet>) -> Answered<AnnotationsStored> {
        let selected = self.selected.as_ref().ok_or_else(Refusal::unavailable)?;
        let annotator = self.store.annotator().ok_or_else(Refusal::cannot)?;
        let rights = self.rights().await?;
        let values = self.noted(&ask.values, rights)?;
        // No mod-sequence is below the lowest, so the number 0 means that nothing is to change (RFC 7162 §3.1.3).
        if ask.unchanged_since == Some(None) {
            let all = selected.snapshot.among(&ask.messages).map(|message| message.uid).collect();
            return Ok(AnnotationsStored::new(Vec::new(), all));
        }
        self.check_parts(selected, &ask.messages, &ask.values).await?;
        let mut change = AnnotationChange::new(values);
        change.unchanged_since = ask.unchanged_since.flatten();
        let stored = annotator.annotate_messages(&selected.mailbox, &ask.messages, self.user()?, &change);
        stored.await.map_err(|error| note_refusal(&error))
    }

    /// The values as the store takes them, if the user may write them with these rights.
    pub(super) fn noted(&self, values: &[AnnotationValue], rights: Rights) -> Answered<Vec<Noted>> {
        let annotator = self.store.annotator().ok_or_else(Refusal::cannot)?;
        let limits = annotator.annotation_limits();
        for value in values {
            // RFC 5257 §3.4
            let right = match value.scope {
                AnnotationScope::Private => Right::Read,
                AnnotationScope::Shared => Right::Annotate,
            };
            if !rights.contains(right) || value.scope == AnnotationScope::Private && !self.has_private() {
                return Err(Refusal::no_permission());
            }
            if !value.entry.is_registered() {
                let text = "expected /comment, /altsubject, /vendor/…, or such an entry of a body part";
                return Err(Refusal::new(ResponseCode::Cannot, text));
            }
            let Some(octets) = &value.value else { continue };
            if !value.entry.admits(octets) {
                return Err(Refusal::new(ResponseCode::Cannot, "expected 1 or 0 for a flag"));
            }
            if octets.len() > limits.octets as usize {
                return Err(note_refusal(&StoreError::TooLarge { limit: limits.octets.into() }));
            }
        }
        for scope in AnnotationScope::ALL {
            let set = values.iter().filter(|value| value.scope == scope && value.value.is_some());
            let mut entries: Vec<_> = set.map(|value| &value.entry).collect();
            entries.sort_unstable();
            entries.dedup();
            if entries.len() > usize::from(limits.entries) {
                return Err(note_refusal(&StoreError::TooMany { limit: limits.entries.into() }));
            }
        }
        Ok(values.iter().map(|value| (value.entry.clone(), value.scope, value.value.clone())).collect())
    }

    /// RFC 5257 §3.2.1: BAD if a message has no such part.
    async fn check_parts(
        &self,
        selected: &Selected,
        uids: &UidSet,
        values: &[AnnotationValue],
    ) -> Answered<()> {
        let entries = values.iter().map(|value| &value.entry);
        let parts: Vec<&AnnotationEntry> = entries.filter(|entry| entry.part().is_some()).collect();
        let mut messages = selected.snapshot.among(uids);
        while !parts.is_empty() {
            tokio::task::yield_now().await;
            let batch: Vec<MessageRef> =
                messages.by_ref().take(STRUCTURES).map(|message| selected.mailbox.message(message)).collect();
            if batch.is_empty() {
                break;
            }
            let structures = structures(self.store, &batch).await.map_err(|error| refusal(&error))?;
            // Of one that was expunged meanwhile there is nothing to say.
            structures
                .iter()
                .flatten()
                .try_for_each(|structure| has_parts(structure, parts.iter().copied()))?;
        }
        Ok(())
    }

    /// What the user sees of annotations of some messages, if that is asked for.
    pub(super) async fn annotations_of(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
    ) -> Result<HashMap<Uid, Vec<AnnotationValue>>, StoreError> {
        let (Some(annotator), Some(user)) = (self.store.annotator(), &self.user) else {
            return Ok(HashMap::new());
        };
        let mut all = annotator.message_annotations(mailbox, uids, user).await?;
        if !self.has_private() {
            all.iter_mut().for_each(|(_, all)| all.retain(|one| one.scope == AnnotationScope::Shared));
        }
        let told = |one: MessageAnnotation| AnnotationValue::new(one.entry, one.scope, one.value);
        Ok(all.into_iter().map(|(uid, all)| (uid, all.into_iter().map(told).collect())).collect())
    }

    /// Which annotations others have changed up to this state of the open mailbox, if the client wants to know (RFC 5257 §4.4).
    pub(super) async fn renoted(
        &self,
        tells: bool,
        now: &Result<Arc<Snapshot>, StoreError>,
        own: &Own,
    ) -> Renoted {
        let mut renoted = Renoted::new();
        let (Some(selected), Some(annotator), Some(user)) =
            (&self.selected, self.store.annotator(), &self.user)
        else {
            return renoted;
        };
        let Ok(later) = now else { return renoted };
        if !tells || Arc::ptr_eq(later, &selected.snapshot) {
            return renoted;
        }
        let Some(difference) = selected.snapshot.difference(later) else { return renoted };
        if difference.changed.is_empty() {
            return renoted;
        }
        let all = match annotator.message_annotations(&selected.mailbox, &difference.changed, user).await {
            Ok(all) => all,
            // The flags and mod-sequences are told all the same.
            Err(error) => {
                tracing::debug!(%error, "cannot look at annotations");
                return renoted;
            }
        };
        for (uid, all) in all {
            let before = selected.snapshot.message(uid).map_or(ModSeq::MIN, |message| message.modseq);
            let by_others = |at: ModSeq| at > before && own.get(&uid) != Some(&at);
            let seen = |one: &MessageAnnotation| one.scope == AnnotationScope::Shared || self.has_private();
            let told = all.into_iter().filter(|one| seen(one) && by_others(one.modseq));
            let mut entries: Vec<AnnotationEntry> = told.map(|one| one.entry).collect();
            entries.dedup();
            if !entries.is_empty() {
                renoted.insert(uid, entries);
            }
        }
        renoted
    }

    /// Which annotations go along with a copy into that mailbox (RFC 5257 §4.6).
    pub(super) fn carried(&self, to: &Located) -> Carried {
        let private =
            self.has_private() && (to.rights.contains(Right::Read) || self.user.as_ref() == Some(&to.owner));
        Carried::new(self.user.clone().filter(|_| private), to.rights.contains(Right::Annotate))
    }

    /// What of the annotations of a message goes along where it is written anew.
    pub(super) async fn carried_values(
        &self,
        mailbox: &MailboxRef,
        uid: Uid,
        carried: &Carried,
    ) -> Answered<Vec<Noted>> {
        let mut all = self.annotations_of(mailbox, &uid.into()).await.map_err(|error| refusal(&error))?;
        let goes = |value: &AnnotationValue| match value.scope {
            AnnotationScope::Private => carried.reader.is_some(),
            AnnotationScope::Shared => carried.shared,
        };
        let values = all.remove(&uid).unwrap_or_default().into_iter();
        let values = values.filter(|value| value.value.is_some() && goes(value));
        Ok(values.map(|value| (value.entry, value.scope, value.value)).collect())
    }

    /// A query with the messages that meet its conditions on annotations in the place of these (RFC 5257 §4.8).
    pub(super) async fn resolved(
        &self,
        selected: &Selected,
        query: &Query,
        among: Option<&UidSet>,
    ) -> Answered<Query> {
        let keys = query.annotations();
        let mut met: Vec<Vec<Uid>> = vec![Vec::new(); keys.len()];
        let all = among
            .map_or_else(|| selected.snapshot.uids(), |among| among.intersection(&selected.snapshot.uids()));
        for uids in batches(&all, if keys.is_empty() { 0 } else { BATCH }) {
            tokio::task::yield_now().await;
            let found = self.annotations_of(&selected.mailbox, &uids).await;
            for (uid, values) in found.map_err(|error| refusal(&error))? {
                for (key, met) in keys.iter().zip(&mut met) {
                    if values.iter().any(|value| meets(key, value)) {
                        met.push(uid);
                    }
                }
            }
        }
        Ok(query.clone().resolved(met.into_iter().map(|uids| uids.into_iter().collect()).collect()))
    }

    /// The values of some annotations, of each message that has any of them (RFC 5257 §4.9).
    pub(super) async fn sorted_by(
        &self,
        selected: &Selected,
        uids: &UidSet,
        wanted: &[(AnnotationEntry, AnnotationScope)],
    ) -> Answered<HashMap<Uid, Vec<Option<String>>>> {
        let mut all = HashMap::new();
        for uids in batches(uids, if wanted.is_empty() { 0 } else { BATCH }) {
            tokio::task::yield_now().await;
            let found = self.annotations_of(&selected.mailbox, &uids).await;
            for (uid, values) in found.map_err(|error| refusal(&error))? {
                let of = |(entry, scope): &(AnnotationEntry, AnnotationScope)| {
                    let found = values.iter().find(|value| value.scope == *scope && value.entry == *entry);
                    let octets = found?.value.as_ref()?;
                    Some(String::from_utf8_lossy(octets).into_owned())
                };
                all.insert(uid, wanted.iter().map(of).collect());
            }
        }
        Ok(all)
    }
}

/// Some of these at a time, none if that is none.
fn batches(all: &UidSet, size: usize) -> impl Iterator<Item = UidSet> {
    let (all, size) = (all.clone(), size as u64);
    let count = if size == 0 { 0 } else { all.len().div_ceil(size) };
    (0..count).map(move |index| all.at(index * size..all.len().min((index + 1) * size)))
}

fn meets(key: &Key, value: &AnnotationValue) -> bool {
    let Key::Annotation { entry, scope, text } = key else { return false };
    let Some(octets) = &value.value else { return false };
    scope.is_none_or(|scope| scope == value.scope)
        && entry.matches(&value.entry)
        && annotation_contains(octets, text)
}

/// Refuses unless a message has the parts that these entries are about (RFC 5257 §3.2.1).
pub(super) fn has_parts<'a>(
    structure: &Structure,
    entries: impl IntoIterator<Item = &'a AnnotationEntry>,
) -> Answered<()> {
    for part in entries.into_iter().filter_map(AnnotationEntry::part) {
        if structure.find(&part).is_none() {
            return Err(Refusal::bad("a message has no such body part"));
        }
    }
    Ok(())
}

/// The entries about body parts that FETCH items name.
pub(super) fn parts_named(items: &[FetchItem]) -> Vec<AnnotationEntry> {
    let asked = items.iter().filter_map(|item| match item {
        FetchItem::Annotations(asked) => Some(asked),
        _ => None,
    });
    let named = asked.flat_map(|asked| &asked.entries).filter_map(|pattern| pattern.exact());
    named.filter(|entry| entry.part().is_some()).collect()
}

/// What a client is told of annotations that the store does not take (RFC 5257 §4.5).
pub(super) fn note_refusal(error: &StoreError) -> Refusal {
    match error {
        StoreError::TooLarge { limit } => {
            Refusal::new(ResponseCode::AnnotateTooBig, format!("expected a value of at most {limit} octets"))
        }
        StoreError::TooMany { limit } => {
            let text = format!("expected at most {limit} annotations of a message");
            Refusal::new(ResponseCode::AnnotateTooMany, text)
        }
        other => refusal(other),
    }
}
