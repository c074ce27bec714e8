//! Which parts of a structure answer.

use std::collections::BTreeSet;

use super::{AddressField, FileNameMatch, PartKey, PartNode, PartQuery};
use crate::{
    DateTime, Envelope,
    address_list::Entry,
    collation::folded,
    mime::{Part, Structure},
    word,
};

impl PartQuery {
    /// Whether any part of a message answers. `found` tells of the conditions on texts, in the order in which they stand in the tree,
    /// the parts in which these were found.
    pub(in crate::query) fn is_met_by<'a>(
        &self,
        structure: &Structure,
        found: &mut impl Iterator<Item = &'a BTreeSet<usize>>,
    ) -> bool {
        self.parts_of(&Places::of(structure), found).contains(&true)
    }

    /// Of each part, whether it answers. As deep as the tree is, which is bounded.
    fn parts_of<'a>(
        &self,
        places: &Places<'_>,
        found: &mut impl Iterator<Item = &'a BTreeSet<usize>>,
    ) -> Vec<bool> {
        let fold = |queries: &[Self], found: &mut _, start: bool, join: fn(bool, bool) -> bool| {
            queries.iter().fold(vec![start; places.0.len()], |all, query| {
                let more = Self::parts_of(query, places, found);
                all.into_iter().zip(more).map(|(one, other)| join(one, other)).collect()
            })
        };
        match &self.node {
            PartNode::Key(PartKey::Header(..) | PartKey::Body(_) | PartKey::Text(_)) => {
                let parts = found.next();
                (0..places.0.len()).map(|index| parts.is_some_and(|parts| parts.contains(&index))).collect()
            }
            PartNode::Key(key) => places.0.iter().map(|place| place.meets(key)).collect(),
            PartNode::Not(query) => query.parts_of(places, found).into_iter().map(|met| !met).collect(),
            PartNode::And(queries) => fold(queries, found, true, |one, other| one && other),
            PartNode::Or(queries) => fold(queries, found, false, |one, other| one || other),
            PartNode::Parent(query) => {
                let above = query.as_ref().map(|query| query.parts_of(places, found));
                let met = |parent: usize| above.as_ref().is_none_or(|above| above.get(parent) == Some(&true));
                places.0.iter().map(|place| place.part.parent().is_some_and(met)).collect()
            }
            PartNode::Child(query) => {
                let below = query.as_ref().map(|query| query.parts_of(places, found));
                let mut met = vec![false; places.0.len()];
                for (index, place) in places.0.iter().enumerate() {
                    let answers = below.as_ref().is_none_or(|below| below.get(index) == Some(&true));
                    if let Some(parent) = place.part.parent().and_then(|parent| met.get_mut(parent)) {
                        *parent |= answers;
                    }
                }
                met
            }
        }
    }
}

/// The parts of a message, each with where it stands.
struct Places<'a>(Vec<Place<'a>>);

struct Place<'a> {
    part: &'a Part,
    /// 0 for the message.
    depth: u32,
    /// From 1.
    index: u32,
    /// Of the part that a message in the message holds: its header is that message's. The message itself is asked about with the
    /// other keys of a search.
    envelope: Option<&'a Envelope>,
}

impl<'a> Places<'a> {
    fn of(structure: &'a Structure) -> Self {
        let mut places: Vec<Place<'a>> = Vec::with_capacity(structure.len());
        let mut children = vec![0_u32; structure.len()];
        for part in structure.parts() {
            let above = part.parent().and_then(|parent| places.get(parent)).map(|place| place.depth + 1);
            let index = match part.parent().and_then(|parent| children.get_mut(parent)) {
                Some(count) => {
                    *count += 1;
                    *count
                }
                None => 1,
            };
            let envelope = part.envelope().filter(|_| above.is_some());
            places.push(Place { part, depth: above.unwrap_or(0), index, envelope });
        }
        Self(places)
    }
}

impl Place<'_> {
    fn meets(&self, key: &PartKey) -> bool {
        let content = self.part.content();
        let media_type = content.media_type();
        match key {
            PartKey::Type(text) => media_type.kind().eq_ignore_ascii_case(text),
            PartKey::Subtype(text) => media_type.subtype().eq_ignore_ascii_case(text),
            PartKey::Parameter(name, text) => {
                media_type.decoded(name).is_some_and(|value| contains(&value, text))
            }
            PartKey::Disposition(text) => {
                content.disposition().is_some_and(|disposition| disposition.kind().eq_ignore_ascii_case(text))
            }
            PartKey::DispositionParameter(name, text) => {
                let value = content.disposition().and_then(|disposition| disposition.decoded(name));
                value.is_some_and(|value| contains(&value, text))
            }
            PartKey::Encoding(text) => content.encoding_name().eq_ignore_ascii_case(text),
            PartKey::Id(text) => content.id() == Some(text.as_bytes()),
            PartKey::Description(text) => {
                content.description().is_some_and(|value| contains(&word::decode(value), text))
            }
            PartKey::Language(text) => content.languages().any(|tag| tag.eq_ignore_ascii_case(text)),
            PartKey::Location(text) => content.location() == Some(text.as_bytes()),
            PartKey::Md5(text) => content.md5() == Some(text.as_bytes()),
            PartKey::FileName(how, text) => content.file_name().is_some_and(|name| {
                let (name, text) = (folded(&name), folded(text));
                match how {
                    FileNameMatch::Is => name == text,
                    FileNameMatch::Contains => name.contains(&*text),
                    FileNameMatch::Begins => name.starts_with(&*text),
                    FileNameMatch::Ends => name.ends_with(&*text),
                }
            }),
            PartKey::Size(size) => {
                let body = self.part.body();
                size.is_met_by(body.end.saturating_sub(body.start))
            }
            PartKey::Depth(depth) => depth.is_met_by(self.depth),
            PartKey::Index(index) => self.index == *index,
            PartKey::Address(field, text) => self.envelope.is_some_and(|envelope| {
                addresses(envelope, *field).iter().any(|entry| contains(&shown(entry), text))
            }),
            PartKey::Subject(text) => self.has(Envelope::subject, text),
            PartKey::MessageId(text) => self.has(Envelope::message_id, text),
            PartKey::InReplyTo(text) => self.has(Envelope::in_reply_to, text),
            PartKey::SentBefore(date) => self.sent().is_some_and(|sent| sent < *date),
            PartKey::SentOn(date) => self.sent() == Some(*date),
            PartKey::SentSince(date) => self.sent().is_some_and(|sent| sent >= *date),
            PartKey::Header(..) | PartKey::Body(_) | PartKey::Text(_) => false,
        }
    }

    fn has(&self, field: fn(&Envelope) -> Option<&[u8]>, text: &str) -> bool {
        self.envelope.and_then(field).is_some_and(|value| contains(&word::decode(value), text))
    }

    fn sent(&self) -> Option<crate::Date> {
        let date = self.envelope.and_then(Envelope::date)?;
        DateTime::from_rfc5322(date).ok().map(DateTime::date)
    }
}

fn contains(text: &str, part: &str) -> bool {
    folded(text).contains(&*folded(part))
}

fn addresses(envelope: &Envelope, field: AddressField) -> &[Entry] {
    match field {
        AddressField::From => envelope.from(),
        AddressField::Sender => envelope.sender(),
        AddressField::ReplyTo => envelope.reply_to(),
        AddressField::To => envelope.to(),
        AddressField::Cc => envelope.cc(),
        AddressField::Bcc => envelope.bcc(),
    }
}

/// An entry as people read it.
fn shown(entry: &Entry) -> String {
    match entry {
        Entry::Mailbox(mailbox) => {
            let name = mailbox.name.as_deref().map(word::decode).unwrap_or_default();
            let (local, domain) =
                (String::from_utf8_lossy(&mailbox.local), String::from_utf8_lossy(&mailbox.domain));
            format!("{name} <{local}@{domain}>")
        }
        Entry::GroupStart(name) => word::decode(name),
        Entry::GroupEnd => String::new(),
    }
}
