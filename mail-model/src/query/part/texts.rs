//! In which parts of a message texts are found, while it passes.

use std::collections::BTreeSet;

use super::{
    super::{
        decoded::{TextDecoder, Unsplit},
        haystack::{Haystack, Needle},
    },
    PartKey, PartNode, PartQuery,
};
use crate::{
    collation::fold,
    header::{Field, Fields},
    mime::{Part, Shape, Sink},
    word,
};

/// The texts that conditions on parts look for, and where they were found.
#[derive(Debug, Default)]
pub(in crate::query) struct PartTexts {
    wanted: Vec<(Place, Needle)>,
    /// The longest text to find in bodies, in folded octets.
    longest: usize,
    /// Of each that is wanted, the parts.
    found: Vec<BTreeSet<usize>>,
    part: usize,
    in_body: bool,
    text: Option<TextDecoder>,
    unsplit: Option<Unsplit>,
    haystack: Haystack,
}

#[derive(Debug)]
enum Place {
    Header(Box<str>),
    Body,
    Text,
}

impl PartTexts {
    /// Looks for the texts of another tree too.
    pub(in crate::query) fn want(&mut self, query: &PartQuery) {
        match &query.node {
            PartNode::Key(PartKey::Header(name, text)) => self.add(Place::Header(name.clone()), text),
            PartNode::Key(PartKey::Body(text)) => self.add(Place::Body, text),
            PartNode::Key(PartKey::Text(text)) => self.add(Place::Text, text),
            PartNode::Key(_) | PartNode::Parent(None) | PartNode::Child(None) => {}
            PartNode::Not(query) | PartNode::Parent(Some(query)) | PartNode::Child(Some(query)) => {
                self.want(query);
            }
            PartNode::And(queries) | PartNode::Or(queries) => {
                queries.iter().for_each(|query| self.want(query));
            }
        }
    }

    fn add(&mut self, place: Place, text: &str) {
        let needle = Needle::new(text);
        if !matches!(place, Place::Header(_)) {
            self.longest = self.longest.max(needle.len());
        }
        self.wanted.push((place, needle));
        self.found.push(BTreeSet::new());
    }

    /// Whether no text is looked for.
    pub(in crate::query) fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Where each text was found, in the order in which they were wanted.
    pub(in crate::query) fn found(&self) -> impl Iterator<Item = &BTreeSet<usize>> {
        self.found.iter()
    }

    /// Turns to another message.
    pub(in crate::query) fn reset(&mut self) {
        self.found.iter_mut().for_each(BTreeSet::clear);
        (self.text, self.unsplit, self.part, self.in_body) = (None, None, 0, false);
        self.haystack.clear();
    }

    fn reads_bodies(&self) -> bool {
        self.wanted.iter().any(|(place, _)| !matches!(place, Place::Header(_)))
    }

    fn header_field(&mut self, field: &Field<'_>) {
        let text = word::text(field.value());
        let text = text.trim_start();
        let mut value = Vec::new();
        fold(text, &mut value);
        let mut all = false;
        for ((place, needle), found) in self.wanted.iter().zip(&mut self.found) {
            match place {
                Place::Header(name) if field.is(name) && needle.is_in(&value) => {
                    found.insert(self.part);
                }
                Place::Text => all = true,
                _ => {}
            }
        }
        if all {
            // Name and all, on a line of its own.
            for piece in [field.name(), ": ", text, "\n"] {
                self.push_text(piece);
            }
        }
    }

    fn push_text(&mut self, text: &str) {
        let mut haystack = std::mem::take(&mut self.haystack);
        haystack.push(text, self.longest, |folded| self.find(folded));
        self.haystack = haystack;
    }

    fn end_text(&mut self) {
        let mut haystack = std::mem::take(&mut self.haystack);
        haystack.finish(|folded| self.find(folded));
        self.haystack = haystack;
    }

    fn find(&mut self, folded: &[u8]) {
        for ((place, needle), found) in self.wanted.iter().zip(&mut self.found) {
            let looks = matches!(place, Place::Text) || self.in_body && matches!(place, Place::Body);
            if looks && !found.contains(&self.part) && needle.is_in(folded) {
                found.insert(self.part);
            }
        }
    }
}

impl Sink for PartTexts {
    fn wants_fields(&self) -> bool {
        self.wanted.iter().any(|(place, _)| !matches!(place, Place::Body))
    }

    fn field(&mut self, part: usize, field: &[u8]) {
        let Some(field) = Fields::new(field).next().filter(|_| self.wants_fields()) else { return };
        if self.part != part {
            self.end_text();
            (self.part, self.in_body) = (part, false);
        }
        self.header_field(&field);
    }

    fn header_end(&mut self, part: usize, details: &Part) {
        self.end_text();
        (self.part, self.in_body) = (part, true);
        for ((place, needle), found) in self.wanted.iter().zip(&mut self.found) {
            // The empty text is in every one.
            if needle.len() == 0 && !matches!(place, Place::Header(_)) {
                found.insert(part);
            }
        }
        let leaf = details.shape() == Shape::Leaf;
        let reads = self.reads_bodies();
        self.text = (leaf && reads).then(|| TextDecoder::of(part, details)).flatten();
        self.unsplit = Unsplit::of(part, details).filter(|_| reads);
    }

    fn body(&mut self, part: usize, octets: &[u8]) {
        if let Some(unsplit) = self.unsplit.as_mut().filter(|unsplit| unsplit.is_of(part)) {
            return unsplit.push(octets);
        }
        let Some(mut decoder) = self.text.take_if(|decoder| decoder.is_of(part)) else { return };
        decoder.push(octets, |text| self.push_text(text));
        self.text = Some(decoder);
    }

    fn part_end(&mut self, part: usize) {
        if let Some(unsplit) = self.unsplit.take_if(|unsplit| unsplit.is_of(part)) {
            unsplit.finish(|text| self.push_text(text));
            return self.end_text();
        }
        let Some(decoder) = self.text.take_if(|decoder| decoder.is_of(part)) else { return };
        let last = decoder.finish();
        self.push_text(&last);
        self.end_text();
    }
}
