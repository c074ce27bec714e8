//! FETCH: what a client wants to know of messages, from the snapshot, the structure, and ranges of octets.

use std::{io, ops::Range};

use bytes::{Bytes, BytesMut};
use mailwright_imap_proto::{
    Refusal,
    command::{BodySection, Fetch, FetchItem, SectionText},
    server::{FetchData, Server},
};
use mailwright_line_proto::Ask;
use mailwright_mail_model::{
    Flag, FlagSet, UidSet,
    header::Fields,
    mime::{self, Structure},
};
use mailwright_mailstore::{
    FlagChange, FlagOperation, Message, MessageRef, Store, StoreError, Write, accounts::Accounts,
};

use super::{
    Visit,
    described::{CHUNK, structures},
    refusal,
};
use crate::service::Session;

/// How many messages' structures are loaded at a time.
const BATCH: usize = 64;
/// Sections up to this many octets are sent in one piece; larger ones are streamed.
const INLINE: u64 = 16 * 1024;

/// One item of the answer, with what it needs at hand.
enum Item<'a> {
    Ready(FetchData<'a>),
    Octets(&'a BodySection, Option<Bytes>),
    Stream(&'a BodySection, Range<u64>),
}

impl<S: Store, A: Accounts> Visit<'_, S, A> {
    pub(super) async fn fetch(
        &mut self,
        connection: &mut Session<Server>,
        ask: Ask<Fetch<UidSet>>,
    ) -> io::Result<()> {
        self.refresh(connection).await;
        let sent = match self.mark_seen(connection, &ask).await {
            Ok(seen) => self.send(connection, &ask, &seen).await?,
            Err(error) => Err(refusal(&error)),
        };
        let _ = connection.machine().inner_mut().answer(ask, sent);
        Ok(())
    }

    /// Sets `\Seen` where reading does so; gives the messages whose flags changed by that.
    async fn mark_seen(
        &mut self,
        connection: &mut Session<Server>,
        ask: &Ask<Fetch<UidSet>>,
    ) -> Result<UidSet, StoreError> {
        let (Some(selected), Some(writer)) = (&self.selected, self.store.writer()) else {
            return Ok(UidSet::new());
        };
        if selected.read_only || !ask.sets_seen() {
            return Ok(UidSet::new());
        }
        let unseen =
            selected.snapshot.among(&ask.messages).filter(|message| !message.flags.contains(&Flag::Seen));
        let unseen: UidSet = unseen.map(|message| message.uid).collect();
        if !unseen.is_empty() {
            let change = FlagChange::new(FlagOperation::Add, FlagSet::from_iter([Flag::Seen]));
            writer.store_flags(&selected.mailbox, &unseen, &change).await?;
            self.refresh_but(connection, &unseen).await;
        }
        Ok(unseen)
    }

    async fn send(
        &self,
        connection: &mut Session<Server>,
        ask: &Ask<Fetch<UidSet>>,
        seen: &UidSet,
    ) -> io::Result<Result<(), Refusal>> {
        let Some(selected) = &self.selected else { return Ok(Err(Refusal::unavailable())) };
        let described = ask.items.iter().any(needs_structure);
        let snapshot = selected.snapshot.clone();
        let mut messages = snapshot.among(&ask.messages);
        loop {
            // A store whose reads never wait would otherwise keep this thread from everybody else.
            tokio::task::yield_now().await;
            let batch: Vec<&Message> = messages.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                return Ok(Ok(()));
            }
            let found = if described {
                let references: Vec<MessageRef> =
                    batch.iter().map(|message| selected.mailbox.message(message)).collect();
                match structures(self.store, &references).await {
                    Ok(found) => found,
                    Err(error) => return Ok(Err(refusal(&error))),
                }
            } else {
                Vec::new()
            };
            let mut found = found.into_iter();
            for message in batch {
                let structure = found.next().flatten();
                // Expunged meanwhile, by another session: there is nothing to tell of it.
                if described && structure.is_none() {
                    continue;
                }
                let reference = selected.mailbox.message(message);
                let told = seen.contains(message.uid);
                let Ok(items) = self.items(ask, message, &reference, structure.as_ref(), told).await else {
                    continue;
                };
                self.send_one(connection, ask, &reference, &items).await?;
                if connection.machine().inner().transmit_room() == 0 {
                    connection.flush_below(self.service.config.limits.transmit / 2).await?;
                }
            }
        }
    }

    async fn items<'a>(
        &self,
        ask: &'a Ask<Fetch<UidSet>>,
        message: &'a Message,
        reference: &MessageRef,
        structure: Option<&'a Structure>,
        told: bool,
    ) -> Result<Vec<Item<'a>>, StoreError> {
        let mut items = Vec::with_capacity(ask.items.len() + 1);
        // RFC 3501 §6.4.5: the flags come along if they changed by this.
        if told && !ask.items.contains(&FetchItem::Flags) {
            items.push(Item::Ready(FetchData::Flags(&message.flags)));
        }
        for item in &ask.items {
            let ready = match (item, structure) {
                (FetchItem::Flags, _) => FetchData::Flags(&message.flags),
                (FetchItem::InternalDate, _) => FetchData::InternalDate(message.internal_date),
                (FetchItem::Size, _) => FetchData::Size(message.size),
                (FetchItem::Envelope, Some(structure)) => {
                    match structure.part(0).and_then(mime::Part::envelope) {
                        Some(envelope) => FetchData::Envelope(envelope),
                        None => continue,
                    }
                }
                (FetchItem::Body, Some(structure)) => FetchData::Body(structure),
                (FetchItem::BodyStructure, Some(structure)) => FetchData::BodyStructure(structure),
                (FetchItem::Section(section), structure) => {
                    items.push(self.section(section, message, reference, structure).await?);
                    continue;
                }
                _ => continue,
            };
            items.push(Item::Ready(ready));
        }
        Ok(items)
    }

    async fn section<'a>(
        &self,
        section: &'a BodySection,
        message: &Message,
        reference: &MessageRef,
        structure: Option<&Structure>,
    ) -> Result<Item<'a>, StoreError> {
        let whole = if is_whole(section) {
            Some(0..message.size)
        } else {
            structure.and_then(|structure| structure.locate(&located(section)?))
        };
        let Some(whole) = whole else { return Ok(Item::Octets(section, None)) };
        if let SectionText::HeaderFields(names) | SectionText::HeaderFieldsNot(names) = &section.section.text
        {
            let wanted = matches!(section.section.text, SectionText::HeaderFields(_));
            let header = read(self.store, reference, whole).await?;
            let chosen = choose(&header, names, wanted);
            let range = part_of(0..chosen.len() as u64, section);
            let (from, to) = (range.start as usize, range.end as usize);
            return Ok(Item::Octets(section, Some(chosen.slice(from..to))));
        }
        let range = part_of(whole, section);
        if range.end - range.start > INLINE {
            return Ok(Item::Stream(section, range));
        }
        Ok(Item::Octets(section, Some(read(self.store, reference, range).await?)))
    }

    async fn send_one(
        &self,
        connection: &mut Session<Server>,
        ask: &Ask<Fetch<UidSet>>,
        reference: &MessageRef,
        items: &[Item<'_>],
    ) -> io::Result<()> {
        let (mut begun, mut open) = (false, false);
        let mut rest = items;
        while !(rest.is_empty() && begun) {
            // Up to and with the next section that is streamed: nothing can stand behind that.
            let length =
                rest.iter().position(|item| matches!(item, Item::Stream(..))).map_or(rest.len(), |at| at + 1);
            let (now, later) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            rest = later;
            let data: Vec<FetchData<'_>> = now
                .iter()
                .map(|item| match item {
                    Item::Ready(data) => *data,
                    Item::Octets(section, octets) => FetchData::Section(section, octets.as_ref()),
                    Item::Stream(section, range) => FetchData::Stream(section, range.end - range.start),
                })
                .collect();
            let server = connection.machine().inner_mut();
            let sent = if begun {
                server.fetch_more(&data).map(|()| true)
            } else {
                server.fetch(ask, reference.uid, &data)
            };
            match sent {
                Ok(true) => begun = true,
                // The client does not know of the message, or the request is gone.
                Ok(false) | Err(_) => return Ok(()),
            }
            if let Some(Item::Stream(_, range)) = now.last() {
                open = true;
                if !self.stream(connection, reference, range.clone()).await? {
                    return Ok(());
                }
            }
        }
        if open {
            // If the connection is gone, its closing event says so next.
            let _ = connection.machine().inner_mut().end_body();
        }
        Ok(())
    }

    /// Sends octets of a message; says whether all of them could be had.
    async fn stream(
        &self,
        connection: &mut Session<Server>,
        reference: &MessageRef,
        range: Range<u64>,
    ) -> io::Result<bool> {
        let mut offset = range.start;
        while offset < range.end {
            let chunk = self.store.read(reference, offset..range.end.min(offset + CHUNK)).await;
            let server = connection.machine().inner_mut();
            match chunk {
                Ok(chunk) if !chunk.is_empty() => {
                    offset += chunk.len() as u64;
                    if server.send_body(chunk).is_err() {
                        return Ok(false);
                    }
                }
                failed => {
                    tracing::error!(
                        uid = reference.uid.get(),
                        ?failed,
                        "cannot read a message that is being sent"
                    );
                    // Short of what was announced: the machine closes, so that nobody takes the part for the whole.
                    let _ = server.end_body();
                    return Ok(false);
                }
            }
            connection.flush_below(self.service.config.limits.transmit).await?;
        }
        Ok(true)
    }
}

fn needs_structure(item: &FetchItem) -> bool {
    match item {
        FetchItem::Envelope | FetchItem::Body | FetchItem::BodyStructure => true,
        FetchItem::Section(section) => !is_whole(section),
        _ => false,
    }
}

fn is_whole(section: &BodySection) -> bool {
    section.section.part.is_empty() && section.section.text == SectionText::Whole
}

/// The section in the words of the MIME structure; of chosen fields, the header they stand in.
fn located(section: &BodySection) -> Option<mime::Section> {
    let text = match &section.section.text {
        SectionText::Whole => mime::SectionText::All,
        SectionText::Header | SectionText::HeaderFields(_) | SectionText::HeaderFieldsNot(_) => {
            mime::SectionText::Header
        }
        SectionText::Text => mime::SectionText::Text,
        SectionText::Mime => mime::SectionText::Mime,
        _ => return None,
    };
    mime::Section::new(section.section.part.clone(), text).ok()
}

/// What of a range is asked for by `<offset.length>`.
fn part_of(range: Range<u64>, section: &BodySection) -> Range<u64> {
    let Some(partial) = section.partial else { return range };
    let start = range.start.saturating_add(partial.offset).min(range.end);
    start..start.saturating_add(partial.length).min(range.end)
}

async fn read(store: &impl Store, message: &MessageRef, range: Range<u64>) -> Result<Bytes, StoreError> {
    let mut octets = BytesMut::new();
    let mut offset = range.start;
    while offset < range.end {
        let chunk = store.read(message, offset..range.end).await?;
        if chunk.is_empty() {
            return Err(StoreError::NotFound);
        }
        offset += chunk.len() as u64;
        if octets.is_empty() && offset == range.end {
            return Ok(chunk);
        }
        octets.extend_from_slice(&chunk);
    }
    Ok(octets.freeze())
}

/// The fields of a header that are named, or those that are not, and the empty line.
fn choose(header: &[u8], names: &[String], wanted: bool) -> Bytes {
    let mut chosen = BytesMut::new();
    for field in Fields::new(header) {
        if names.iter().any(|name| field.name().eq_ignore_ascii_case(name)) == wanted {
            chosen.extend_from_slice(field.raw());
        }
    }
    chosen.extend_from_slice(b"\r\n");
    chosen.freeze()
}
