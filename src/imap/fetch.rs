//! FETCH: what a client wants to know of messages, from the snapshot, the structure, and ranges of octets.

use std::{io, ops::Range};

use bytes::{Bytes, BytesMut};
use mailwright_imap_proto::{
    Refusal,
    command::{BinarySection, BodySection, Fetch, FetchItem, SectionText},
    response::ResponseCode,
    server::{FetchData, Server},
};
use mailwright_line_proto::{Ask, Deflate};
use mailwright_mail_model::{
    Flag, FlagSet, UidSet,
    header::Fields,
    mime::{self, Structure},
};
use mailwright_mailstore::{
    FlagChange, FlagOperation, Message, MessageRef, Right, Store, StoreError, Write, accounts::Accounts,
};

use super::{
    Visit,
    at_hand::{Ready, at_hand},
    derived::{Decoding, preview},
    described::CHUNK,
    known::{Known, Needs, is_kept_item, known},
    refusal,
    selected::expunged,
};
use crate::service::Session;

/// How many messages are looked up at a time, and how many if their structures are needed, which are large.
const BATCH: usize = 512;
const STRUCTURES: usize = 64;
/// Sections up to this many octets are sent in one piece; larger ones are streamed.
const INLINE: u64 = 16 * 1024;

/// One item of the answer, with what it needs at hand.
enum Item<'a> {
    Ready(FetchData<'a>),
    Octets(&'a BodySection, Option<Bytes>),
    Stream(&'a BodySection, Range<u64>),
    EmailId(String),
    ThreadId(Option<String>),
    Preview(Option<String>),
    Binary(&'a BinarySection, Option<Bytes>),
    /// So many octets come out of it.
    Decode(&'a BinarySection, u64, Decoding),
}

impl Item<'_> {
    /// Whether its octets are sent piece by piece, so that nothing can stand behind it.
    fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(..) | Self::Decode(..))
    }
}

impl<S: Store, A: Accounts> Visit<'_, S, A> {
    pub(super) async fn fetch(
        &mut self,
        connection: &mut Session<Deflate<Server>>,
        ask: Ask<Fetch<UidSet>>,
    ) -> io::Result<()> {
        if !self.selected.as_mut().is_some_and(|selected| std::mem::take(&mut selected.opening)) {
            self.refresh(connection).await;
        }
        let sent = match self.mark_seen(connection, &ask).await {
            Ok(seen) => self.send(connection, &ask, &seen).await?,
            Err(error) => Err(refusal(&error)),
        };
        let _ = connection.machine().inner_mut().inner_mut().answer(ask, sent);
        Ok(())
    }

    /// Sets `\Seen` where reading does so; gives the messages whose flags changed by that.
    async fn mark_seen(
        &mut self,
        connection: &mut Session<Deflate<Server>>,
        ask: &Ask<Fetch<UidSet>>,
    ) -> Result<UidSet, StoreError> {
        let (Some(selected), Some(writer)) = (&self.selected, self.store.writer()) else {
            return Ok(UidSet::new());
        };
        if selected.read_only
            || !ask.sets_seen()
            || !self.rights().await.is_ok_and(|rights| rights.contains(Right::Seen))
        {
            return Ok(UidSet::new());
        }
        let unseen =
            selected.snapshot.among(&ask.messages).filter(|message| !message.flags.contains(&Flag::Seen));
        let unseen: UidSet = unseen.map(|message| message.uid).collect();
        if !unseen.is_empty() {
            let change = FlagChange::new(FlagOperation::Add, FlagSet::from_iter([Flag::Seen]));
            writer.store_flags(&selected.mailbox, &unseen, &change).await?;
            self.refresh_but(connection, &unseen).await;
            let seen = |uid| (uid, FlagSet::from_iter([Flag::Seen]));
            self.flagged(unseen.iter().map(seen).collect()).await;
        }
        Ok(unseen)
    }

    async fn send(
        &self,
        connection: &mut Session<Deflate<Server>>,
        ask: &Ask<Fetch<UidSet>>,
        seen: &UidSet,
    ) -> io::Result<Result<(), Refusal>> {
        let Some(selected) = &self.selected else { return Ok(Err(Refusal::unavailable())) };
        let needs = Needs::of(&ask.items);
        let size = if needs.structure { STRUCTURES } else { BATCH };
        let kept: Vec<bool> = ask.items.iter().map(is_kept_item).collect();
        let snapshot = selected.snapshot.clone();
        if let (Some(named), Some(since), Some(changes)) =
            (&ask.vanished, ask.changed_since, self.store.changes())
        {
            match expunged(changes, &selected.mailbox, &snapshot, since, named).await {
                Ok(vanished) => {
                    let _ = connection.machine().inner_mut().inner_mut().vanished(ask, &vanished);
                }
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        let mut messages = snapshot.among(&ask.messages);
        let is_wanted = |message: &&Message| ask.changed_since.is_none_or(|since| message.modseq > since);
        let (mut there, mut lost) = (0_u64, false);
        loop {
            // A store whose reads never wait would otherwise keep this thread from everybody else.
            tokio::task::yield_now().await;
            let batch: Vec<&Message> = messages.by_ref().take(size).inspect(|_| there += 1).collect();
            if batch.is_empty() {
                // RFC 2180 §4.1.2: who asks by number of what another session has expunged is told so.
                let gone = lost || there < ask.messages.len();
                let text = "some of the messages were expunged by another session";
                return Ok(if gone { Err(Refusal::new(ResponseCode::ExpungeIssued, text)) } else { Ok(()) });
            }
            let batch: Vec<&Message> = batch.into_iter().filter(is_wanted).collect();
            let references: Vec<MessageRef> = match needs {
                Needs::NOTHING => Vec::new(),
                _ => batch.iter().map(|message| selected.mailbox.message(message)).collect(),
            };
            let mut known = match known(self.store, needs, &references).await {
                Ok(known) => known.into_iter(),
                Err(error) => return Ok(Err(refusal(&error))),
            };
            for message in batch {
                let known = known.next().unwrap_or_default();
                // Expunged meanwhile, by another session: there is nothing to tell of it.
                if !known.meets(needs) {
                    lost = true;
                    continue;
                }
                let told = seen.contains(message.uid);
                // What many clients ask of all messages of a mailbox is at hand: nothing is allocated for it.
                let sent = match Ready::of(&ask.items, message, &known, told) {
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
                let reference = selected.mailbox.message(message);
                let items = match self.items(ask, &kept, message, &reference, &known, told).await {
                    Ok(items) => items,
                    // RFC 3516 §4.3
                    Err(StoreError::Invalid(_)) => {
                        let text = "the transfer encoding of a part is not known";
                        return Ok(Err(Refusal::new(ResponseCode::UnknownCte, text)));
                    }
                    Err(_) => {
                        lost = true;
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

    async fn items<'a>(
        &self,
        ask: &'a Ask<Fetch<UidSet>>,
        kept: &[bool],
        message: &'a Message,
        reference: &MessageRef,
        known: &'a Known,
        told: bool,
    ) -> Result<Vec<Item<'a>>, StoreError> {
        let structure = known.structure.as_ref();
        let mut items = Vec::with_capacity(ask.items.len() + 1);
        // RFC 3501 §6.4.5: the flags come along if they changed by this.
        if told && !ask.items.contains(&FetchItem::Flags) {
            items.push(Item::Ready(FetchData::Flags(&message.flags)));
        }
        // RFC 7162 §3.2.4
        if told && !ask.items.contains(&FetchItem::ModSeq) {
            items.push(Item::Ready(FetchData::ModSeq(message.modseq)));
        }
        for (item, kept) in ask.items.iter().zip(kept) {
            if let Some(data) = at_hand(item, message) {
                items.push(Item::Ready(data));
                continue;
            }
            let ready = match (item, structure) {
                // As it is sent, it need not be taken apart.
                (FetchItem::Envelope, _) if known.envelope.is_some() => match &known.envelope {
                    Some(octets) => FetchData::Written(item, octets),
                    None => continue,
                },
                (FetchItem::Envelope, Some(structure)) => {
                    match structure.part(0).and_then(mime::Part::envelope) {
                        Some(envelope) => FetchData::Envelope(envelope),
                        None => continue,
                    }
                }
                (FetchItem::BodyStructure, _) if known.body_structure.is_some() => {
                    match &known.body_structure {
                        Some(octets) => FetchData::Written(item, octets),
                        None => continue,
                    }
                }
                (FetchItem::Body, Some(structure)) => FetchData::Body(structure),
                (FetchItem::BodyStructure, Some(structure)) => FetchData::BodyStructure(structure),
                (FetchItem::EmailId, _) => {
                    // The store keeps one for each, or the item would have been refused.
                    let Some(id) = message.object else { continue };
                    items.push(Item::EmailId(id.to_string()));
                    continue;
                }
                (FetchItem::ThreadId, _) => {
                    items.push(Item::ThreadId(message.thread.map(|id| id.to_string())));
                    continue;
                }
                (FetchItem::Preview { .. }, Some(structure)) => {
                    items.push(Item::Preview(preview(self.store, reference, structure).await?));
                    continue;
                }
                (FetchItem::Binary(section), Some(structure)) => {
                    items.push(self.binary(section, reference, structure).await?);
                    continue;
                }
                (FetchItem::BinarySize(part), Some(structure)) => {
                    let section = BinarySection::peek(part.clone());
                    let size = match Decoding::new(reference, structure, &section)? {
                        Some(decoding) => decoding.length(self.store, reference).await?,
                        None => 0,
                    };
                    items.push(Item::Ready(FetchData::BinarySize(part, size)));
                    continue;
                }
                (FetchItem::Section(section), _) if known.header.is_some() && *kept => {
                    let fields = known.header.as_deref().unwrap_or_default();
                    items.push(chosen(section, fields));
                    continue;
                }
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
        if let SectionText::HeaderFields(_) | SectionText::HeaderFieldsNot(_) = &section.section.text {
            return Ok(chosen(section, &read(self.store, reference, whole).await?));
        }
        let range = part_of(whole, section);
        if range.end - range.start > INLINE {
            return Ok(Item::Stream(section, range));
        }
        Ok(Item::Octets(section, Some(read(self.store, reference, range).await?)))
    }

    async fn binary<'a>(
        &self,
        section: &'a BinarySection,
        reference: &MessageRef,
        structure: &Structure,
    ) -> Result<Item<'a>, StoreError> {
        let Some(decoding) = Decoding::new(reference, structure, section)? else {
            return Ok(Item::Binary(section, None));
        };
        if decoding.is_at_most(INLINE) {
            return Ok(Item::Binary(section, Some(decoding.whole(self.store, reference).await?)));
        }
        // A literal says its length first. Decoding twice costs less than keeping it.
        let length = decoding.length(self.store, reference).await?;
        Ok(Item::Decode(section, length, decoding))
    }

    async fn send_one(
        &self,
        connection: &mut Session<Deflate<Server>>,
        ask: &Ask<Fetch<UidSet>>,
        reference: &MessageRef,
        items: &[Item<'_>],
    ) -> io::Result<()> {
        let (mut begun, mut open) = (false, false);
        let mut rest = items;
        while !(rest.is_empty() && begun) {
            // Up to and with the next section that is streamed: nothing can stand behind that.
            let length = rest.iter().position(Item::is_stream).map_or(rest.len(), |at| at + 1);
            let (now, later) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            rest = later;
            let data: Vec<FetchData<'_>> = now
                .iter()
                .map(|item| match item {
                    Item::Ready(data) => *data,
                    Item::Octets(section, octets) => FetchData::Section(section, octets.as_ref()),
                    Item::EmailId(id) => FetchData::EmailId(id),
                    Item::ThreadId(id) => FetchData::ThreadId(id.as_deref()),
                    Item::Preview(text) => FetchData::Preview(text.as_deref()),
                    Item::Binary(section, octets) => FetchData::Binary(section, octets.as_ref()),
                    Item::Stream(section, range) => FetchData::Stream(section, range.end - range.start),
                    Item::Decode(section, length, _) => FetchData::StreamBinary(section, *length),
                })
                .collect();
            let server = connection.machine().inner_mut().inner_mut();
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
            let went = match now.last() {
                Some(Item::Stream(_, range)) => self.stream(connection, reference, range.clone()).await?,
                Some(Item::Decode(_, _, decoding)) => self.decode(connection, reference, decoding).await?,
                _ => continue,
            };
            if !went {
                return Ok(());
            }
            open = true;
        }
        if open {
            // If the connection is gone, its closing event says so next.
            let _ = connection.machine().inner_mut().inner_mut().end_body();
        }
        Ok(())
    }

    /// Sends octets of a message; says whether all of them could be had.
    async fn stream(
        &self,
        connection: &mut Session<Deflate<Server>>,
        reference: &MessageRef,
        range: Range<u64>,
    ) -> io::Result<bool> {
        let mut offset = range.start;
        while offset < range.end {
            let chunk = self.store.read(reference, offset..range.end.min(offset + CHUNK)).await;
            offset += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
            if !self.send_chunk(connection, reference, chunk).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The same for a part without its encoding.
    async fn decode(
        &self,
        connection: &mut Session<Deflate<Server>>,
        reference: &MessageRef,
        decoding: &Decoding,
    ) -> io::Result<bool> {
        let mut decoder = decoding.start();
        while let Some(chunk) = decoder.next(self.store, reference).await.transpose() {
            if !self.send_chunk(connection, reference, chunk).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sends the next octets of what is being sent, and waits until the client takes them.
    async fn send_chunk(
        &self,
        connection: &mut Session<Deflate<Server>>,
        reference: &MessageRef,
        chunk: Result<Bytes, StoreError>,
    ) -> io::Result<bool> {
        let server = connection.machine().inner_mut().inner_mut();
        match chunk {
            Ok(chunk) if !chunk.is_empty() => {
                if server.send_body(chunk).is_err() {
                    return Ok(false);
                }
            }
            failed => {
                let uid = reference.uid.get();
                tracing::error!(uid, ?failed, "cannot read a message that is being sent");
                // Short of what was announced: the machine closes, so that nobody takes the part for the whole.
                let _ = server.end_body();
                return Ok(false);
            }
        }
        // Below what is compressed ahead, or the machine's own would grow while nothing is taken of that.
        connection.flush_below(self.service.config.limits.transmit / 2).await?;
        Ok(true)
    }
}

pub(super) fn is_whole(section: &BodySection) -> bool {
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

pub(super) async fn read(
    store: &impl Store,
    message: &MessageRef,
    range: Range<u64>,
) -> Result<Bytes, StoreError> {
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
fn chosen<'a>(section: &'a BodySection, header: &[u8]) -> Item<'a> {
    let (names, wanted) = match &section.section.text {
        SectionText::HeaderFields(names) => (&names[..], true),
        SectionText::HeaderFieldsNot(names) => (&names[..], false),
        _ => (&[][..], false),
    };
    let mut chosen = Vec::with_capacity(header.len() + 2);
    for field in Fields::new(header) {
        if names.iter().any(|name| field.is(name)) == wanted {
            chosen.extend_from_slice(field.raw());
        }
    }
    chosen.extend_from_slice(b"\r\n");
    let range = part_of(0..chosen.len() as u64, section);
    let (from, to) = (range.start as usize, range.end as usize);
    let chosen = Bytes::from(chosen);
    let all = to - from == chosen.len();
    Item::Octets(section, Some(if all { chosen } else { chosen.slice(from..to) }))
}
