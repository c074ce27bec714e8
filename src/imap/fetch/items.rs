//! The items of one message, with what they need at hand.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use mailwright_imap_proto::{
    command::{BinarySection, BodySection, Fetch, FetchItem, FuzzyName, SectionText},
    server::FetchData,
};
use mailwright_line_proto::Ask;
use mailwright_mail_model::{
    UidSet,
    header::Fields,
    mime::{self, Structure},
};
use mailwright_mailstore::{Message, MessageRef, Store, StoreError, accounts::Accounts};

use super::is_whole;
use crate::imap::{
    Visit, at_hand::at_hand, derived::Decoding, described::short, known::Known, preview::preview,
};
use crate::service::octets_of;

/// Sections up to this many octets are sent in one piece; larger ones are streamed.
pub(super) const INLINE: u64 = 64 * 1024;

/// One item of the answer, with what it needs at hand.
pub(super) enum Item<'a> {
    Ready(FetchData<'a>),
    Octets(&'a BodySection, Option<Bytes>),
    /// With its first octets: what cannot be read is known before its length is named, which nothing takes back.
    Stream(&'a BodySection, Range<u64>, Bytes),
    EmailId(String),
    ThreadId(Option<String>),
    Preview(Option<String>),
    FuzzyPreview(FuzzyName, Option<String>),
    Binary(&'a BinarySection, Option<Bytes>),
    /// So many octets come out of it.
    Decode(&'a BinarySection, u64, Decoding),
}

impl Item<'_> {
    /// Whether its octets are sent piece by piece, so that nothing can stand behind it.
    pub(super) fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(..) | Self::Decode(..))
    }
}

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    pub(super) async fn items<'a>(
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
                (FetchItem::Annotations(asked), _) => FetchData::Annotations(asked, &known.annotations),
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
                (FetchItem::FuzzyPreview { name, .. }, Some(structure)) => {
                    items.push(Item::FuzzyPreview(*name, preview(self.store, reference, structure).await?));
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
                (FetchItem::Section(section), _) => {
                    items.push(self.section(section, message, reference, known).await?);
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
        known: &Known,
    ) -> Result<Item<'a>, StoreError> {
        let whole = if is_whole(section) {
            Some(0..message.size)
        } else {
            known.structure.as_ref().and_then(|structure| structure.locate(&located(section)?))
        };
        let Some(whole) = whole else { return Ok(Item::Octets(section, None)) };
        if let SectionText::HeaderFields(_) | SectionText::HeaderFieldsNot(_) = &section.section.text {
            return Ok(chosen(section, &read(self.store, reference, whole).await?));
        }
        let range = part_of(whole, section);
        if let Some(octets) = &known.whole
            && range.end <= octets.len() as u64
        {
            let octets = octets.slice(range.start as usize..range.end as usize);
            return Ok(Item::Octets(section, Some(octets)));
        }
        if range.end - range.start > INLINE {
            let first = read(self.store, reference, range.start..range.start + INLINE).await?;
            return Ok(Item::Stream(section, range, first));
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
        decoding.check(self.store, reference).await?;
        Ok(Item::Decode(section, length, decoding))
    }
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

pub(in crate::imap) async fn read(
    store: &impl Store,
    message: &MessageRef,
    range: Range<u64>,
) -> Result<Bytes, StoreError> {
    let mut octets = BytesMut::new();
    let mut offset = range.start;
    while offset < range.end {
        let chunk = octets_of(store, message, offset..range.end).await?;
        if chunk.is_empty() {
            return Err(short());
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
