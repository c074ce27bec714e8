//! What FETCH needs of messages beside the snapshot: no more than was asked for, and what is kept before what must be found out.

use std::vec::IntoIter;

use bytes::Bytes;
use mailwright_imap_proto::{
    command::{AnnotationValue, BodySection, FetchItem, SectionText},
    response::ChosenFields,
};
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
    /// All of it, if it is small and was asked for.
    pub(super) whole: Option<Bytes>,
    /// What the user sees of its annotations, if that is wanted.
    pub(super) annotations: Vec<AnnotationValue>,
}

/// Whether an item is made of fields that are kept of each message. To be asked once and not for every message.
pub(super) fn is_kept_item(item: &FetchItem) -> bool {
    let FetchItem::Section(BodySection { section, .. }) = item else { return false };
    let is_kept = |names: &Vec<String>| names.iter().all(|name| is_kept(name));
    section.part.is_empty() && matches!(&section.text, SectionText::HeaderFields(names) if is_kept(names))
}

/// The fields that an item is made of, if they are kept and all of their octets are wanted. As [`is_kept_item`].
pub(super) fn chosen_fields(item: &FetchItem) -> Option<ChosenFields> {
    let FetchItem::Section(section) = item else { return None };
    if is_kept_item(item) { ChosenFields::new(section) } else { None }
}

/// What is known of messages, column by column as stores keep it.
#[derive(Debug, Default)]
pub(super) struct Columns {
    structures: IntoIter<Option<Structure>>,
    envelopes: IntoIter<Option<Bytes>>,
    body_structures: IntoIter<Option<Bytes>>,
    headers: IntoIter<Option<Bytes>>,
}

impl Columns {
    /// The structures of the messages that are next, in their order; none where none was needed.
    pub(super) fn structures(&self) -> &[Option<Structure>] {
        self.structures.as_slice()
    }

    /// Whether what is needed of one of the messages that are next is known.
    pub(super) fn meets(&self, index: usize, needs: Needs) -> bool {
        fn has<T>(column: &IntoIter<Option<T>>, index: usize) -> bool {
            column.as_slice().get(index).is_some_and(Option::is_some)
        }
        let structure = has(&self.structures, index);
        (structure || !needs.structure)
            && (has(&self.envelopes, index) || structure || !needs.envelope)
            && (has(&self.body_structures, index) || structure || !needs.body_structure)
            && (has(&self.headers, index) || !needs.header)
    }

    /// What is known of the next message.
    pub(super) fn next(&mut self) -> Known {
        Known {
            structure: self.structures.next().flatten(),
            envelope: self.envelopes.next().flatten(),
            body_structure: self.body_structures.next().flatten(),
            header: self.headers.next().flatten(),
            ..Known::default()
        }
    }
}

/// What is known of messages, or found out about them.
pub(super) async fn known(store: &impl Store, needs: Needs, messages: &[MessageRef]) -> Result<Columns> {
    let (mut columns, mut structure) = (Columns::default(), needs.structure);
    let lacks = |kept: &[Option<Bytes>]| kept.len() < messages.len() || kept.iter().any(Option::is_none);
    if needs.envelope {
        let envelopes = written_before(store, messages, Column::Envelope).await?;
        structure |= lacks(&envelopes);
        columns.envelopes = envelopes.into_iter();
    }
    if needs.body_structure {
        let written = written_before(store, messages, Column::BodyStructure).await?;
        structure |= lacks(&written);
        columns.body_structures = written.into_iter();
    }
    if needs.header {
        columns.headers = headers(store, messages).await?.into_iter();
    }
    if structure {
        columns.structures = structures(store, messages).await?.into_iter();
    }
    Ok(columns)
}
