//! FETCH responses, whose bodies are streamed.

use std::{num::NonZeroU32, time::Instant};

use bytes::{Bytes, BytesMut};
use mailwright_line_proto::{Wait, frame::Counted};
use mailwright_mail_model::Uid;

use super::{Client, Event, Reading, frames::Frame, shown};
use crate::response::{
    Fetched, FetchedItem,
    fetch::{Item, read_item},
    reader::Reader,
};

/// A FETCH response that is being read, item by item.
#[derive(Debug)]
pub(super) struct Fetching {
    sequence: NonZeroU32,
    uid: Option<Uid>,
    items: Vec<FetchedItem>,
    /// What is here of it, up to the next body or to its end.
    part: Bytes,
    /// How far that was read.
    at: usize,
    /// The length of the body that comes behind it.
    next: Option<u64>,
    /// An item is next, not what parts two of them.
    item: bool,
    body: Body,
    /// It cannot be read: the rest of it is passed over.
    broken: bool,
    /// How it began.
    start: Bytes,
    /// How many octets of it were held, one after the other.
    held: usize,
}

/// Where the octets of a body come from.
#[derive(Debug)]
enum Body {
    /// None is being read.
    None,
    /// They stood in quotes.
    Here(Bytes),
    /// They come as a literal.
    Literal(Counted),
    /// All were told.
    End,
    /// The literal is read: the response goes on with its next part.
    Behind,
}

impl Fetching {
    /// A response, if it is one to FETCH: as far as it is here, and the length of the body behind that.
    pub(super) fn begin(part: &Bytes, next: Option<u64>, client: &Client) -> Option<Self> {
        let mut reader = Reader::new(part, client.config.leniency);
        if !reader.eat(b'*') {
            return None;
        }
        reader.space().ok()?;
        let sequence = NonZeroU32::new(reader.number().ok()?)?;
        reader.space().ok()?;
        if !reader.keyword("FETCH") {
            return None;
        }
        let broken = reader.space().and_then(|()| reader.open()).is_err();
        Some(Self {
            sequence,
            uid: client.messages.uid(sequence.get()),
            items: Vec::new(),
            part: part.clone(),
            at: reader.input.position(),
            next,
            item: true,
            body: Body::None,
            broken,
            start: shown(part),
            held: part.len(),
        })
    }
}

impl Client {
    /// The next event of the FETCH response that is being read.
    pub(super) fn fetch(&mut self, now: Instant, rx: &mut BytesMut) -> Result<Option<Event>, Wait> {
        let Reading::Fetch(fetching) = &mut self.reading else { return Ok(None) };
        match &mut fetching.body {
            Body::Here(octets) => {
                let octets = std::mem::take(octets);
                fetching.body = Body::End;
                Ok((!octets.is_empty()).then_some(Event::Body(octets)))
            }
            Body::End => {
                fetching.body = Body::None;
                Ok(Some(Event::BodyEnd))
            }
            Body::Literal(counted) if counted.is_done() => {
                fetching.body = Body::Behind;
                Ok((!fetching.broken).then_some(Event::BodyEnd))
            }
            Body::Literal(counted) => match counted.next(rx) {
                Some(chunk) => {
                    let event = (!fetching.broken).then_some(Event::Body(chunk));
                    self.heard = Some(now);
                    self.comes_of_messages();
                    Ok(event)
                }
                None => self.nothing(now),
            },
            Body::Behind => self.next_part(now, rx),
            Body::None => Ok(self.items()),
        }
    }

    fn next_part(&mut self, now: Instant, rx: &mut BytesMut) -> Result<Option<Event>, Wait> {
        let frame = self.next_frame(now, rx);
        let Reading::Fetch(fetching) = &mut self.reading else { return Ok(None) };
        let (part, next) = match frame {
            Frame::Partial => return self.nothing(now),
            Frame::Whole(part) => (part, None),
            Frame::Body(part, next) => (part, Some(next)),
            Frame::Skipped(_) => {
                fetching.broken = true;
                (Bytes::new(), None)
            }
            Frame::Endless => {
                self.endless();
                return Ok(None);
            }
        };
        fetching.held += part.len();
        if fetching.held > self.config.response {
            self.endless();
            return Ok(None);
        }
        (fetching.part, fetching.at, fetching.next, fetching.body) = (part, 0, next, Body::None);
        Ok(None)
    }

    /// Reads items up to the next event.
    fn items(&mut self) -> Option<Event> {
        let Reading::Fetch(fetching) = &mut self.reading else { return None };
        while !fetching.broken {
            let rest = fetching.part.get(fetching.at..).unwrap_or_default();
            let mut reader = Reader::new(rest, self.config.leniency);
            let closes = match fetching.item {
                // An empty list has no item at all.
                true => Ok(fetching.items.is_empty() && reader.eat(b')')),
                false => reader.closes(),
            };
            match closes {
                Ok(true) if reader.end().is_ok() && fetching.next.is_none() => return self.fetched(),
                Ok(false) => {}
                _ => break,
            }
            fetching.item = true;
            let item = read_item(&mut reader);
            fetching.at += reader.input.position();
            match item {
                Ok(Item::Small(item)) => {
                    if let FetchedItem::Uid(uid) = item {
                        fetching.uid = Some(uid);
                    }
                    fetching.items.push(item);
                }
                Ok(Item::Unknown) => {}
                Ok(Item::Section(section)) => {
                    let length = match fetching.next.take_if(|_| reader.input.is_empty()) {
                        Some(length) => {
                            fetching.body = Body::Literal(Counted::new(length));
                            Some(length)
                        }
                        None => {
                            let before = reader.input.position();
                            let Ok(octets) = reader.nstring() else { break };
                            fetching.at += reader.input.position() - before;
                            let length = octets.as_ref().map(|octets| octets.len() as u64);
                            let octets = octets.map(|octets| Bytes::copy_from_slice(&octets));
                            fetching.body = Body::Here(octets.unwrap_or_default());
                            length
                        }
                    };
                    fetching.item = false;
                    let (sequence, uid) = (fetching.sequence, fetching.uid);
                    return Some(Event::FetchBody { sequence, uid, section, length });
                }
                Err(_) => break,
            }
            fetching.item = false;
        }
        fetching.broken = true;
        match fetching.next.take() {
            Some(length) => fetching.body = Body::Literal(Counted::new(length)),
            None => return self.unreadable(),
        }
        None
    }

    /// The end of a response that was read whole.
    fn fetched(&mut self) -> Option<Event> {
        let Reading::Fetch(fetching) = std::mem::take(&mut self.reading) else { return None };
        let Fetching { sequence, uid, items, held, .. } = *fetching;
        self.response_length = held;
        self.comes_of_messages();
        if let Some(uid) = uid {
            self.messages.learn(sequence.get(), uid);
        }
        Some(Event::Fetched { uid, fetched: Fetched::new(sequence, items) })
    }

    /// The end of one that was not.
    fn unreadable(&mut self) -> Option<Event> {
        let Reading::Fetch(fetching) = std::mem::take(&mut self.reading) else { return None };
        self.response_length = fetching.start.len();
        let Fetching { start, uid, .. } = *fetching;
        self.skip(start, uid)
    }
}
