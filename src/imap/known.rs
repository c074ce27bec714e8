//! What FETCH needs of messages beside the snapshot: no more than was asked for, and what is kept before what must be found out.

use bytes::Bytes;
use mailwright_imap_proto::command::{AnnotationValue, BodySection, FetchItem, SectionText};
use mailwright_mail_model::mime::Structure;
use mailwright_mailstore::{Column, MessageRef, Result, Store};

use super::{
    described::{structures, written_before},
    fetch::is_whole,
    headers::{headers, is_kept},
    noting::parts_named,
};

/// What is needed of messages beside the snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) structure: bool,
    pub(super) envelope: bool,
    pub(super) body_structure: bool,
    pub(super) header: bool,
}

impl Needs {
    pub(super) const NOTHING: Self =
        Self { structure: false, envelope: false, body_structure: false, header: false };

    pub(super) fn of(items: &[FetchItem]) -> Self {
        let mut needs = Self::NOTHING;
        for item in items {
            match item {
                FetchItem::Envelope => needs.envelope = true,
                FetchItem::BodyStructure => needs.body_structure = true,
                FetchItem::Body => needs.structure = true,
                FetchItem::Preview { .. }
                | FetchItem::FuzzyPreview { .. }
                | FetchItem::Binary(_)
                | FetchItem::BinarySize(_) => {
                    needs.structure = true;
                }
                // RFC 5257 §3.2.1: whether there is such a part.
                FetchItem::Annotations(_) => {
                    needs.structure |= !parts_named(std::slice::from_ref(item)).is_empty();
                }
                FetchItem::Section(_) if is_kept_item(item) => needs.header = true,
                FetchItem::Section(section) => needs.structure |= !is_whole(section),
                _ => {}
            }
        }
        needs
    }
}

/// What is known of a message.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) structure: Option<Structure>,
    /// As it is sent.
    pub(super) envelope: Option<Bytes>,
    /// As it is sent.
    pub(super) body_structure: Option<Bytes>,
    /// The fields of its header that are kept.
    pub(super) header: Option<Bytes>,
    /// What the user sees of its annotations, if that is wanted.
    pub(super) annotations: Vec<AnnotationValue>,
}

impl Known {
    pub(super) fn meets(&self, needs: Needs) -> bool {
        (self.structure.is_some() || !needs.structure)
            && (self.envelope.is_some() || self.structure.is_some() || !needs.envelope)
            && (self.body_structure.is_some() || self.structure.is_some() || !needs.body_structure)
            && (self.header.is_some() || !needs.header)
    }
}

/// Whether an item is made of fields that are kept of each message. To be asked once and not for every message.
pub(super) fn is_kept_item(item: &FetchItem) -> bool {
    let FetchItem::Section(BodySection { section, .. }) = item else { return false };
    let is_kept = |names: &Vec<String>| names.iter().all(|name| is_kept(name));
    section.part.is_empty() && matches!(&section.text, SectionText::HeaderFields(names) if is_kept(names))
}

/// What is known of messages, or found out about them.
pub(super) async fn known(store: &impl Store, needs: Needs, messages: &[MessageRef]) -> Result<Vec<Known>> {
    let mut known: Vec<Known> = messages.iter().map(|_| Known::default()).collect();
    let mut structure = needs.structure;
    if needs.envelope {
        let envelopes = written_before(store, messages, Column::Envelope).await?;
        known.iter_mut().zip(envelopes).for_each(|(known, envelope)| known.envelope = envelope);
        structure |= known.iter().any(|known| known.envelope.is_none());
    }
    if needs.body_structure {
        let written = written_before(store, messages, Column::BodyStructure).await?;
        known.iter_mut().zip(written).for_each(|(known, written)| known.body_structure = written);
        structure |= known.iter().any(|known| known.body_structure.is_none());
    }
    if needs.header {
        for (known, header) in known.iter_mut().zip(headers(store, messages).await?) {
            known.header = header;
        }
    }
    if structure {
        for (known, structure) in known.iter_mut().zip(structures(store, messages).await?) {
            known.structure = structure;
        }
    }
    Ok(known)
}
