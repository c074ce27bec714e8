//! Sending messages: straight into what waits for the socket, as much as the client takes.

use std::num::NonZeroU32;

use bytes::Bytes;
use mailwright_line_proto::{Ask, Closed, Misuse, Transmit};
use mailwright_mail_model::{DateTime, Envelope, FlagSet, ModSeq, Uid, UidSet, mime::Structure};

use super::{Server, State};
use crate::{
    command::{
        AnnotationValue, BinarySection, BodySection, Fetch, FetchAnnotations, FetchItem, FuzzyName, Store,
    },
    response::{ChosenFields, FetchWriter, FetchedSection, encode_vanished, fetch::without_nul},
};

/// One thing about a message, in the answer to FETCH.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum FetchData<'a> {
    /// `FLAGS`. `\Recent` is added where it belongs.
    Flags(&'a FlagSet),
    /// `INTERNALDATE`.
    InternalDate(DateTime),
    /// `RFC822.SIZE`.
    Size(u64),
    /// `ENVELOPE`.
    Envelope(&'a Envelope),
    /// `BODY`: the structure without extension data.
    Body(&'a Structure),
    /// `BODYSTRUCTURE`: with extension data.
    BodyStructure(&'a Structure),
    /// The octets of a section as asked for, cut to its partial; `None` if the message has no such section.
    Section(&'a BodySection, Option<&'a Bytes>),
    /// `BODY[HEADER.FIELDS (...)]`: those of the fields that this header begins with. Nothing is kept or allocated for a message.
    Fields(&'a ChosenFields, &'a [u8]),
    /// `MODSEQ`: passed over unless the client knows mod-sequences.
    ModSeq(ModSeq),
    /// `SAVEDATE`.
    SaveDate(Option<DateTime>),
    /// `EMAILID`.
    EmailId(&'a str),
    /// `THREADID`.
    ThreadId(Option<&'a str>),
    /// `PREVIEW`.
    Preview(Option<&'a str>),
    /// `SNIPPET` or `PREVIEW` with the algorithm `FUZZY` beside it.
    FuzzyPreview(FuzzyName, Option<&'a str>),
    /// `BINARY.SIZE` of this part.
    BinarySize(&'a [NonZeroU32], u64),
    /// The octets of a part without its encoding, cut to its partial; `None` if there is no such part.
    Binary(&'a BinarySection, Option<&'a Bytes>),
    /// `ANNOTATION`: all that is noted about the message and the user may see, of which what is asked for is told; not at all if that is
    /// nothing (RFC 5257 §4.4).
    Annotations(&'a FetchAnnotations, &'a [AnnotationValue]),
    /// `ENVELOPE`, `BODY` or `BODYSTRUCTURE` as [`written`](crate::response::written) it was before.
    Written(&'a FetchItem, &'a [u8]),
    /// As `Section`, but so many octets come with [`Server::send_body`]. Nothing can stand behind it.
    Stream(&'a BodySection, u64),
    /// As `Binary`, but so many octets, the encoding taken off, come with [`Server::send_body`]. Nothing can stand behind it.
    StreamBinary(&'a BinarySection, u64),
}

/// A section that is being sent.
#[derive(Debug)]
pub(super) struct Stream {
    id: u32,
    tail: Tail,
    announced: u64,
    remaining: u64,
    /// Whether the literal is one that may hold NUL.
    any: bool,
}

/// What stands behind the octets of a section.
#[derive(Debug, Clone, Copy)]
pub(super) enum Tail {
    /// Other items of a FETCH response, or its end.
    Items(Look),
    /// These octets.
    Literal(&'static [u8]),
}

impl Stream {
    /// So many octets are next, and then this.
    pub(super) fn new(id: u32, tail: Tail, announced: u64) -> Self {
        Self { id, tail, announced, remaining: announced, any: false }
    }

    /// The same, with octets of any kind (RFC 3516 §4.2).
    pub(super) fn of_any(self, any: bool) -> Self {
        Self { any, ..self }
    }
}

impl Server {
    /// Sends what was asked for of one message. The UID is added by itself where it was asked for.
    ///
    /// Send the messages in the order of their UIDs. Keep to [`transmit_room`](Self::transmit_room): when there is
    /// none, let the driver write first. If the last of `data` is a stream, the response stays open:
    /// go on with [`send_body`](Self::send_body), and then [`fetch_more`](Self::fetch_more) or
    /// [`end_body`](Self::end_body).
    ///
    /// The result says whether anything was sent: not if the client does not know of the message (any more). Then
    /// there is no body to send either.
    ///
    /// # Errors
    /// [`Misuse::BodyOpen`] while another response is open, [`Misuse::Argument`] if the request is gone or a stream is
    /// not the last of the items.
    pub fn fetch(
        &mut self,
        ask: &Ask<Fetch<UidSet>>,
        uid: Uid,
        data: &[FetchData<'_>],
    ) -> Result<bool, Misuse> {
        // RFC 7162 §3.2.4: what was set by reading is told as if another had set it.
        let sets = data.iter().any(|item| matches!(item, FetchData::ModSeq(_)))
            && !ask.items.contains(&FetchItem::ModSeq);
        self.respond(ask.id(), uid, data, sets)
    }

    /// Goes on with the open response behind a section that was sent whole: as [`fetch`](Self::fetch).
    ///
    /// # Errors
    /// [`Misuse::NoBody`] if no response is open, [`Misuse::BodyOpen`] if octets of its section are missing.
    pub fn fetch_more(&mut self, data: &[FetchData<'_>]) -> Result<(), Misuse> {
        check_order(data)?;
        let stream = self.stream.as_ref().ok_or(Misuse::NoBody)?;
        if stream.remaining > 0 {
            return Err(Misuse::BodyOpen);
        }
        let id = stream.id;
        let Tail::Items(look) = stream.tail else {
            return Err(Misuse::Argument("the response has no items"));
        };
        self.slots.touch(id);
        self.stream = None;
        let writer = FetchWriter::resume(&mut self.transmit);
        match put(writer, look, data) {
            Put::Ended(writer) => {
                writer.end();
                self.transmit.append(&mut self.held);
            }
            Put::Streams(announced, any) => {
                self.stream = Some(Stream::new(id, Tail::Items(look), announced).of_any(any));
            }
        }
        Ok(())
    }

    /// Sends the flags that a message has after STORE; nothing if the client does not want to know.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn fetch_flags(
        &mut self,
        ask: &Ask<Store<UidSet>>,
        uid: Uid,
        flags: &FlagSet,
        mod_seq: Option<ModSeq>,
    ) -> Result<bool, Misuse> {
        let mod_seq = mod_seq.filter(|_| self.enabled.mod_sequences);
        // A change that this client has not been told of yet: what it works out by itself would be wrong, and what it is
        // told of that change later would be old.
        let unknown = matches!(&self.state, State::Selected { view, .. } if view.awaits_flags(uid));
        match (ask.silent && !unknown, mod_seq) {
            (true, None) => {
                self.slots.touch(ask.id());
                Ok(false)
            }
            // RFC 7162 §3.1.3: the new mod-sequence is told even so.
            (true, Some(mod_seq)) => self.respond(ask.id(), uid, &[FetchData::ModSeq(mod_seq)], true),
            (false, None) => self.respond(ask.id(), uid, &[FetchData::Flags(flags)], true),
            (false, Some(mod_seq)) => {
                self.respond(ask.id(), uid, &[FetchData::Flags(flags), FetchData::ModSeq(mod_seq)], true)
            }
        }
    }

    /// Says which messages were expunged, of those that [`Fetch::vanished`](crate::command::Fetch) names. Before the first message is sent.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn vanished(&mut self, ask: &Ask<Fetch<UidSet>>, uids: &UidSet) -> Result<(), Misuse> {
        if self.stream.is_some() {
            return Err(Misuse::BodyOpen);
        }
        self.slots.find(ask.id()).ok_or(Misuse::Argument("the request is gone"))?;
        self.slots.touch(ask.id());
        if !uids.is_empty() {
            encode_vanished(true, uids, &mut self.transmit);
        }
        Ok(())
    }

    /// Sends octets of the section that was announced with [`FetchData::Stream`]. In the place of NUL, which only a part without its
    /// encoding may hold, 0x80 is sent (RFC 9051 §9).
    ///
    /// # Errors
    /// [`Misuse::NoBody`] if none was, [`Misuse::BodyLength`] if these are too many: the connection then closes.
    pub fn send_body(&mut self, chunk: Bytes) -> Result<(), Misuse> {
        let stream = self.stream.as_mut().ok_or(Misuse::NoBody)?;
        let length = chunk.len() as u64;
        match stream.remaining.checked_sub(length) {
            Some(remaining) => {
                stream.remaining = remaining;
                let (id, any) = (stream.id, stream.any);
                self.slots.touch(id);
                let shown = if any { None } else { without_nul(&chunk) };
                self.transmit.put_bytes(shown.map_or(chunk, Bytes::from));
                Ok(())
            }
            None => Err(self.broken_stream()),
        }
    }

    /// Ends the open response.
    ///
    /// # Errors
    /// [`Misuse::NoBody`] if there is none, [`Misuse::BodyLength`] if octets of its section are missing: the
    /// connection then closes.
    pub fn end_body(&mut self) -> Result<(), Misuse> {
        let stream = self.stream.as_ref().ok_or(Misuse::NoBody)?;
        if stream.remaining > 0 {
            return Err(self.broken_stream());
        }
        match stream.tail {
            Tail::Items(_) => FetchWriter::resume(&mut self.transmit).end(),
            Tail::Literal(octets) => self.transmit.put(octets),
        }
        self.stream = None;
        self.transmit.append(&mut self.held);
        Ok(())
    }

    /// How many octets may be sent now before the driver should write.
    pub fn transmit_room(&self) -> usize {
        self.config.limits.transmit.saturating_sub(self.transmit.len())
    }

    /// `sets` is whether the response tells of a change.
    pub(super) fn respond(
        &mut self,
        id: u32,
        uid: Uid,
        data: &[FetchData<'_>],
        sets: bool,
    ) -> Result<bool, Misuse> {
        check_order(data)?;
        if self.stream.is_some() {
            return Err(Misuse::BodyOpen);
        }
        let slot = self.slots.find(id).ok_or(Misuse::Argument("the request is gone"))?;
        let says_uid = slot.says_uid || sets && self.enabled.mod_sequences;
        self.slots.touch(id);
        let State::Selected { view, .. } = &mut self.state else { return Ok(false) };
        let sequence = view.sequence(uid).and_then(|sequence| u32::try_from(sequence).ok());
        let Some(sequence) = sequence.and_then(NonZeroU32::new) else { return Ok(false) };
        if data.iter().any(|item| matches!(item, FetchData::Flags(_))) {
            view.flags_sent(uid);
        }
        // RFC 3501 §9: a response about nothing has no form.
        let enabled = self.enabled;
        let look =
            Look { recent: view.is_recent(uid) && !enabled.rev2, mod_sequences: enabled.mod_sequences };
        let is_shown = |item: &FetchData<'_>| match item {
            FetchData::ModSeq(_) => look.mod_sequences,
            FetchData::Annotations(asked, all) => asked.tells_of(all),
            _ => true,
        };
        let shows = data.iter().any(is_shown);
        // RFC 9586 §3.3: there the UID stands before, and is an item only where there is no other.
        let puts_uid = if enabled.uid_only { !shows } else { says_uid };
        if !says_uid && !shows {
            return Ok(true);
        }
        let mut writer = match enabled.uid_only {
            true => FetchWriter::by_uid(uid, &mut self.transmit),
            false => FetchWriter::new(sequence, &mut self.transmit),
        };
        if puts_uid {
            writer.uid(uid);
        }
        match put(writer, look, data) {
            Put::Ended(writer) => writer.end(),
            Put::Streams(announced, any) => {
                self.stream = Some(Stream::new(id, Tail::Items(look), announced).of_any(any));
            }
        }
        Ok(true)
    }

    /// The client would take what follows for octets of the section: nothing can be sent any more.
    pub(super) fn broken_stream(&mut self) -> Misuse {
        let announced = self.stream.as_ref().map_or(0, |stream| stream.announced);
        let misuse = Misuse::BodyLength { announced };
        let _ = self.close(Closed::Misuse(misuse));
        misuse
    }

    /// Whether the octets of a section are being sent for this request.
    pub(super) fn is_streaming(&self, id: u32) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.id == id)
    }
}

/// What depends on the session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// Whether the message is recent in it.
    recent: bool,
    /// Whether it knows mod-sequences.
    mod_sequences: bool,
}

/// How a response goes on.
enum Put<'a> {
    /// All items are written.
    Ended(FetchWriter<'a, Transmit>),
    /// So many octets come next, and whether they are of any kind.
    Streams(u64, bool),
}

fn put<'a>(mut writer: FetchWriter<'a, Transmit>, look: Look, data: &[FetchData<'_>]) -> Put<'a> {
    for item in data {
        match item {
            FetchData::Flags(flags) => writer.flags(flags, look.recent),
            FetchData::InternalDate(date) => writer.internal_date(*date),
            FetchData::Size(size) => writer.size(*size),
            FetchData::Envelope(envelope) => writer.envelope_of(envelope),
            FetchData::Body(structure) => writer.body_of(structure),
            FetchData::BodyStructure(structure) => writer.body_structure_of(structure),
            FetchData::ModSeq(_) if !look.mod_sequences => {}
            FetchData::ModSeq(mod_seq) => writer.mod_seq(*mod_seq),
            FetchData::SaveDate(date) => writer.save_date(*date),
            FetchData::EmailId(id) => writer.email_id(id),
            FetchData::ThreadId(id) => writer.thread_id(*id),
            FetchData::Preview(text) => writer.preview(*text),
            FetchData::FuzzyPreview(name, text) => writer.fuzzy_preview(*name, *text),
            FetchData::BinarySize(part, size) => writer.binary_size(part, *size),
            FetchData::Binary(section, octets) => writer.binary(section, octets.map(|octets| &octets[..])),
            FetchData::Annotations(asked, all) => writer.annotations(asked, all),
            FetchData::Written(item, value) => writer.written(item.name(), value),
            FetchData::Section(section, octets) => {
                writer.asked_section(section, *octets);
            }
            FetchData::Fields(chosen, header) => writer.chosen(chosen, header),
            FetchData::Stream(section, length) => {
                writer.begin_section(&fetched(section), *length);
                return Put::Streams(*length, false);
            }
            FetchData::StreamBinary(section, length) => {
                writer.begin_binary(section, *length);
                return Put::Streams(*length, true);
            }
        }
    }
    Put::Ended(writer)
}

/// A stream leaves the response open, so it must be the last.
fn check_order(data: &[FetchData<'_>]) -> Result<(), Misuse> {
    let before = data.split_last().map_or(data, |(_, before)| before);
    if before.iter().any(|item| matches!(item, FetchData::Stream(..) | FetchData::StreamBinary(..))) {
        return Err(Misuse::Argument("a stream must be the last item"));
    }
    Ok(())
}

fn fetched(section: &BodySection) -> FetchedSection {
    FetchedSection {
        name: section.name,
        section: section.section.clone(),
        origin: section.partial.map(|partial| partial.offset),
    }
}
