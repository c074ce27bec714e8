//! FETCH: what a client wants to know of messages, from the snapshot, the structure, and ranges of octets.

use std::{collections::HashMap, io, sync::Arc};

use mailwright_imap_proto::{
    Refusal,
    command::{BodySection, Fetch, FetchItem, SectionText},
    response::{ChosenFields, ResponseCode},
    server::Server,
};
use mailwright_line_proto::{Ask, Deflate};
use mailwright_mail_model::{Flag, UidSet};
use mailwright_mailstore::{Message, MessageRef, Store, StoreError, accounts::Accounts};

use super::{
    Visit,
    ahead::Ahead,
    at_hand::Ready,
    described::unreadable,
    known::{Needs, chosen_fields, is_kept_item, known},
    noting::{self, parts_named},
    refusal,
    selected::expunged,
};
use crate::service::Session;

mod items;
mod marking;
mod sending;
mod together;

pub(super) use items::read;
use marking::{check, decoded, unknown_encoding};
use together::Together;

/// How many messages are looked up at a time, and how many if their structures are needed, which are large. Three times as many are at hand.
const BATCH: usize = 256;
const STRUCTURES: usize = 64;

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    pub(super) async fn fetch(
        &mut self,
        connection: &mut Session<Deflate<Server>>,
        ask: Ask<Fetch<UidSet>>,
    ) -> io::Result<()> {
        if !self.selected.as_mut().is_some_and(|selected| std::mem::take(&mut selected.opening)) {
            self.refresh(connection).await;
        }
        let sent = self.send(connection, &ask).await?;
        let _ = connection.machine().inner_mut().inner_mut().answer(ask, sent);
        Ok(())
    }

    async fn send(
        &mut self,
        connection: &mut Session<Deflate<Server>>,
        ask: &Ask<Fetch<UidSet>>,
    ) -> io::Result<Result<(), Refusal>> {
        // Who may no longer read it has just left it.
        let Some(selected) = &self.selected else { return Ok(Err(Refusal::no_permission())) };
        let needs = Needs::of(&ask.items);
        let notes = ask.items.iter().any(|item| matches!(item, FetchItem::Annotations(_)));
        let parts = if notes { parts_named(&ask.items) } else { Vec::new() };
        let size = match (notes, needs.structure) {
            (true, _) => noting::BATCH,
            (false, true) => STRUCTURES,
            (false, false) => BATCH,
        };
        let kept: Vec<bool> = ask.items.iter().map(is_kept_item).collect();
        let chosen: Vec<Option<ChosenFields>> = ask.items.iter().map(chosen_fields).collect();
        let decoded = decoded(&ask.items);
        let (mailbox, snapshot) = (selected.mailbox.clone(), Arc::clone(&selected.snapshot));
        let marks = self.may_mark(ask).await;
        if let (Some(named), Some(since), Some(changes)) =
            (&ask.vanished, ask.changed_since, self.store.changes())
        {
            match expunged(changes, &mailbox, &snapshot, since, named).await {
                Ok(vanished) => {
                    let _ = connection.machine().inner_mut().inner_mut().vanished(ask, &vanished);
                }
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        let mut messages = snapshot.among(&ask.messages);
        // RFC 7162 §3.1.4.1: as the mailbox was before anything of it is marked.
        let is_wanted = |message: &&Message| ask.changed_since.is_none_or(|since| message.modseq > since);
        let (mut there, mut lost, mut trouble) = (0_u64, false, None);
        let (mut together, mut ahead) = (Together::new(&ask.items), Ahead::new());
        loop {
            // A store whose reads never wait would otherwise keep this thread from everybody else.
            tokio::task::yield_now().await;
            let batch: Vec<&Message> = messages.by_ref().take(size).inspect(|_| there += 1).collect();
            let next = match batch.is_empty() {
                true => ahead.next().await,
                false => {
                    let more = batch.len() == size && needs != Needs::NOTHING;
                    let batch: Vec<&Message> = batch.into_iter().filter(is_wanted).collect();
                    let references: Arc<[MessageRef]> = match needs {
                        Needs::NOTHING if !together.is_wanted() => Arc::default(),
                        _ => batch.iter().map(|message| mailbox.message(message)).collect(),
                    };
                    let (store, wanted) = (Arc::clone(&self.service.store), Arc::clone(&references));
                    let read = async move { known(&*store, needs, &wanted).await };
                    match ahead.begin((batch, references), read, more).await {
                        None => continue,
                        next => next,
                    }
                }
            };
            let Some(((batch, references), known)) = next else {
                if let Some(error) = trouble {
                    // RFC 5530 §3: it is there, and why it cannot be had is another matter.
                    return Ok(Err(refusal(&error)));
                }
                // RFC 2180 §4.1.2: who asks by number of what another session has expunged is told so.
                let gone = lost || there < ask.messages.len();
                let text = "some of the messages were expunged by another session";
                return Ok(if gone { Err(Refusal::new(ResponseCode::ExpungeIssued, text)) } else { Ok(()) });
            };
            let mut known = match known {
                Ok(known) => known,
                Err(error) => return Ok(Err(refusal(&error))),
            };
            if let Err(wrong) = check(&references, known.structures(), &parts, &decoded) {
                return Ok(Err(wrong));
            }
            let readable = batch.iter().enumerate().filter(|(index, _)| known.meets(*index, needs));
            let unseen = readable.filter(|(_, message)| marks && !message.flags.contains(&Flag::Seen));
            let unseen: UidSet = unseen.map(|(_, message)| message.uid).collect();
            if let Err(error) = self.mark_seen(connection, &mailbox, &unseen).await {
                return Ok(Err(refusal(&error)));
            }
            // Who may no longer read it has just left it.
            let Some(selected) = &self.selected else { return Ok(Err(Refusal::no_permission())) };
            // What the session has been told of meanwhile is not taken back.
            let now = Arc::clone(&selected.snapshot);
            let mut annotations = match notes {
                true => {
                    let uids = batch.iter().map(|message| message.uid).collect();
                    match self.annotations_of(&mailbox, &uids).await {
                        Ok(annotations) => annotations,
                        Err(error) => return Ok(Err(refusal(&error))),
                    }
                }
                false => HashMap::new(),
            };
            for (index, message) in batch.into_iter().enumerate() {
                let is_readable = known.meets(0, needs);
                let mut known = known.next();
                known.whole = together.next(self.store, references.get(index..).unwrap_or_default()).await;
                if notes {
                    known.annotations = annotations.remove(&message.uid).unwrap_or_default();
                }
                if !is_readable {
                    match unreadable(self.store, &mailbox.message(message)).await {
                        // Expunged meanwhile, by another session: there is nothing to tell of it.
                        StoreError::NotFound => lost = true,
                        error => trouble = trouble.or(Some(error)),
                    }
                    continue;
                }
                let message = match Arc::ptr_eq(&now, &snapshot) {
                    true => Some(message),
                    false => now.message(message.uid),
                };
                let Some(message) = message else {
                    lost = true;
                    continue;
                };
                let told = unseen.contains(message.uid);
                // What many clients ask of all messages of a mailbox is at hand: nothing is allocated for it.
                let sent = match Ready::of(&ask.items, &chosen, message, &known, told) {
                    Some(ready) => {
                        let server = connection.machine().inner_mut().inner_mut();
                        // The client does not know of the message, or the request is gone: no matter.
                        let _ = server.fetch(ask, message.uid, ready.data());
                        true
                    }
                    None => false,
                };
                if sent {
                    if connection.machine().inner().inner().transmit_room() == 0 {
                        connection.flush_below(self.service.config.limits.transmit / 2).await?;
                    }
                    continue;
                }
                let reference = mailbox.message(message);
                let items = match self.items(ask, &kept, message, &reference, &known, told).await {
                    Ok(items) => items,
                    Err(StoreError::Invalid(_)) => return Ok(Err(unknown_encoding())),
                    Err(StoreError::NotFound) => {
                        lost = true;
                        continue;
                    }
                    Err(error) => {
                        trouble = trouble.or(Some(error));
                        continue;
                    }
                };
                self.send_one(connection, ask, &reference, &items).await?;
                if connection.machine().inner().inner().transmit_room() == 0 {
                    connection.flush_below(self.service.config.limits.transmit / 2).await?;
                }
            }
        }
    }
}

pub(super) fn is_whole(section: &BodySection) -> bool {
    section.section.part.is_empty() && section.section.text == SectionText::Whole
}
