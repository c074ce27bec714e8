//! Tests the conditions of a query on what a scanner tells of a message, decoding text on the way.

use super::decoded::{PIECE, TextDecoder, Unsplit};
use super::fuzzy::{BEST, Words, score};
use super::haystack::Haystack;
use super::matcher::{Condition, Sent};
use super::part::texts::PartTexts;
use super::trigrams::Seen;
use crate::collation::fold;
use crate::header::{Field, Fields};
use crate::mime::{Limits, Part, Shape, Sink, Structure};
use crate::{DateTime, word};

/// The conditions of a query and what is known of each for the message at hand.
#[derive(Debug)]
pub(super) struct Search {
    conditions: Vec<Condition>,
    results: Vec<Option<bool>>,
    /// The longest text to find in bodies, in folded octets.
    longest: usize,
    /// What the names of fields begin with that are looked at: a bit for each octet, by what letters of both cases have in common.
    initials: u32,
    header_seen: bool,
    /// What comes is of a body, and not of the header of a part.
    in_body: bool,
    /// A Date field was met; only the first counts.
    date_seen: bool,
    /// A result came that [`take_change`](Self::take_change) has not told.
    changed: bool,
    text: Option<TextDecoder>,
    /// The same, of a multipart that may have no parts.
    unsplit: Option<Unsplit>,
    haystack: Haystack,
    /// Whether there are fuzzy conditions, and what they look at.
    fuzzy: bool,
    words: Words,
    /// How well each word of each condition was found; of those that are not fuzzy, nothing.
    likeness: Vec<Box<[u8]>>,
    /// Whether what was found well enough may be found better.
    scores: bool,
    /// Room for a piece of a body without its encodings, empty between pieces.
    scratch: (Vec<u8>, String),
    /// The texts that are looked for in parts.
    part_texts: Option<PartTexts>,
    /// Where everything is noted that is read, if that is all that is wanted.
    seen: Option<Seen>,
}

impl Search {
    pub(super) fn new(conditions: Vec<Condition>, scores: bool) -> Self {
        let fuzzy = conditions.iter().any(Condition::is_fuzzy);
        let longest = conditions.iter().map(|condition| match condition {
            Condition::Body(needle) | Condition::Text(needle) => needle.len(),
            Condition::FuzzyBody(phrase) | Condition::FuzzyText(phrase) => {
                phrase.exact().map_or(0, super::haystack::Needle::len)
            }
            _ => 0,
        });
        let initials = conditions.iter().map(|condition| match condition.field() {
            Some(name) => name.bytes().next().map_or(0, initial),
            None if condition.reads_all() => u32::MAX,
            None => 0,
        });
        let mut part_texts = PartTexts::default();
        for condition in &conditions {
            if let Condition::Part(query) = condition {
                part_texts.want(query);
            }
        }
        let part_texts = Some(part_texts).filter(|texts| !texts.is_empty());
        Self {
            results: vec![None; conditions.len()],
            likeness: conditions.iter().map(Condition::start).collect(),
            longest: longest.max().unwrap_or(0),
            initials: initials.fold(0, |all, bit| all | bit),
            conditions,
            header_seen: false,
            in_body: false,
            date_seen: false,
            changed: false,
            text: None,
            unsplit: None,
            haystack: Haystack::default(),
            fuzzy,
            words: Words::default(),
            scores,
            scratch: (Vec::new(), String::new()),
            part_texts,
            seen: None,
        }
    }

    /// Finds nothing and notes everything.
    pub(super) fn collecting() -> Self {
        let mut search = Self::new(vec![Condition::Everything], false);
        // Stretches of text overlap by all of a run but one octet.
        search.longest = 3;
        search.seen = Some(Seen::default());
        search
    }

    /// What was noted.
    pub(super) fn into_seen(self) -> Seen {
        self.seen.unwrap_or_default()
    }

    /// Looks for the best from now on, not only for what is good enough.
    pub(super) const fn score_all(&mut self) {
        self.scores = true;
    }

    /// Whether no fuzzy condition is open any more.
    pub(super) fn is_scored(&self) -> bool {
        !self.open().any(Condition::is_fuzzy)
    }

    /// The mean of the fuzzy conditions that are met.
    pub(super) fn score(&self) -> u8 {
        let both = self.conditions.iter().zip(self.results.iter().zip(&self.likeness));
        let met = both.filter(|(condition, (result, _))| condition.is_fuzzy() && **result == Some(true));
        let scores: Vec<u8> = met.filter_map(|(_, (_, found))| score(found)).collect();
        let sum: usize = scores.iter().map(|score| usize::from(*score)).sum();
        sum.checked_div(scores.len()).map_or(BEST, |mean| mean.clamp(1, BEST.into()) as u8)
    }

    /// Turns to another message, of which `known` tells what it can.
    pub(super) fn reset(&mut self, known: impl Fn(&Condition) -> Option<bool>) {
        self.results.clear();
        self.results.extend(self.conditions.iter().map(known));
        (self.header_seen, self.in_body, self.date_seen, self.changed) = (false, false, false, false);
        (self.text, self.unsplit) = (None, None);
        self.haystack.clear();
        if let Some(texts) = &mut self.part_texts {
            texts.reset();
        }
        if self.fuzzy {
            self.words = Words::default();
            self.likeness.clear();
            self.likeness.extend(self.conditions.iter().map(Condition::start));
        }
    }

    pub(super) fn result(&self, index: usize) -> Option<bool> {
        self.results.get(index).copied().flatten()
    }

    pub(super) const fn header_seen(&self) -> bool {
        self.header_seen
    }

    /// Whether the header could tell something that is not known.
    pub(super) fn header_helps(&self) -> bool {
        !self.header_seen
            && self.open().any(|condition| {
                !matches!(condition, Condition::Body(_) | Condition::FuzzyBody(_) | Condition::Part(_))
            })
    }

    /// Whether a result came since this was last asked.
    pub(super) const fn take_change(&mut self) -> bool {
        std::mem::replace(&mut self.changed, false)
    }

    pub(super) fn header(&mut self, header: &[u8]) {
        let mut fields = Fields::new(header);
        // As many as a scanner tells of. What is passed over is not counted, but each takes two octets at least.
        let short = header.len() / 2 < Limits::FIELDS;
        for _ in 0..Limits::FIELDS {
            if short {
                fields.skip_to(|first| first > b' ' && self.initials & initial(first) != 0);
            }
            let Some(field) = fields.next() else { break };
            self.header_field(&field);
        }
        self.end_header();
    }

    /// Whether a condition is about the parts.
    pub(super) fn looks_at_parts(&self) -> bool {
        self.conditions.iter().any(|condition| matches!(condition, Condition::Part(_)))
    }

    /// What the structure of the message tells about its parts; and the texts in them, once it has been read to its end.
    pub(super) fn parts(&mut self, structure: &Structure, read: bool) {
        let mut found = self.part_texts.iter().flat_map(PartTexts::found);
        for (condition, result) in self.conditions.iter().zip(&mut self.results) {
            let Condition::Part(query) = condition else { continue };
            // Even if it is known: those of the next are behind these.
            let met = query.is_met_by(structure, &mut found);
            if result.is_none() && (read || query.is_structural()) {
                *result = Some(met);
                self.changed = true;
            }
        }
    }

    /// The message has ended: what was not found is not there.
    pub(super) fn finish(&mut self) {
        let both = self.results.iter_mut().zip(self.conditions.iter().zip(&self.likeness));
        for (result, (condition, found)) in both {
            result.get_or_insert_with(|| condition.is_fuzzy() && !found.is_empty() && score(found).is_some());
        }
    }

    fn open(&self) -> impl Iterator<Item = &Condition> {
        let both = self.conditions.iter().zip(&self.results);
        both.filter(|(_, result)| result.is_none()).map(|(condition, _)| condition)
    }

    /// Settles the open conditions for which `test` knows an answer.
    fn settle(&mut self, test: impl Fn(&Condition) -> Option<bool>) {
        for (condition, result) in self.conditions.iter().zip(&mut self.results) {
            if result.is_none() {
                *result = test(condition);
                self.changed |= result.is_some();
            }
        }
    }

    /// A field of the header of the message itself.
    fn header_field(&mut self, field: &Field<'_>) {
        let sent = |condition: &Condition| matches!(condition, Condition::Sent(..));
        if field.is("Date") && !std::mem::replace(&mut self.date_seen, true) && self.open().any(sent) {
            let sent = DateTime::from_rfc5322(field.value()).ok().map(DateTime::date);
            self.settle(|condition| match condition {
                Condition::Sent(Sent::Before, date) => Some(sent.is_some_and(|sent| sent < *date)),
                Condition::Sent(Sent::On, date) => Some(sent == Some(*date)),
                Condition::Sent(Sent::Since, date) => Some(sent.is_some_and(|sent| sent >= *date)),
                _ => None,
            });
        }
        let named = |condition: &Condition| matches!(condition, Condition::Header(name, _) | Condition::FuzzyHeader(name, _) if field.is(name));
        if self.open().any(named) {
            let text = word::text(field.value());
            let mut value = std::mem::take(&mut self.scratch.0);
            fold(text.trim_start(), &mut value);
            self.settle(|condition| match condition {
                Condition::Header(name, needle) => (field.is(name) && needle.is_in(&value)).then_some(true),
                Condition::FuzzyHeader(name, phrase) => {
                    let exact = phrase.exact()?;
                    (field.is(name) && exact.is_in(&value)).then_some(true)
                }
                _ => None,
            });
            value.clear();
            self.scratch.0 = value;
            let fits = |condition: &Condition| matches!(condition, Condition::FuzzyHeader(name, _) if field.is(name));
            if self.fuzzy && self.open().any(fits) {
                let mut words = Words::default();
                words.push(&text, &mut |word| self.meet(word, fits));
                words.finish(&mut |word| self.meet(word, fits));
            }
        }
        if self.open().any(Condition::reads_all) {
            self.push_field(field);
        }
    }

    fn end_header(&mut self) {
        self.end_text();
        (self.header_seen, self.in_body) = (true, true);
        for (index, condition) in self.conditions.iter().enumerate() {
            let (Condition::FuzzyHeader(..), Some(result)) = (condition, self.results.get_mut(index)) else {
                continue;
            };
            let found = self.likeness.get(index).filter(|found| !found.is_empty());
            if result.is_none() {
                *result = Some(found.is_some_and(|found| score(found).is_some()));
                self.changed = true;
            }
        }
        self.settle(|condition| match condition {
            Condition::Header(..) | Condition::Sent(..) => Some(false),
            _ => None,
        });
    }

    /// A word of the text, for the open fuzzy conditions that look there.
    fn meet(&mut self, word: &[char], looks: impl Fn(&Condition) -> bool) {
        let both = self.results.iter_mut().zip(&mut self.likeness);
        for (condition, (result, found)) in self.conditions.iter().zip(both) {
            let (Condition::FuzzyHeader(_, phrase)
            | Condition::FuzzyBody(phrase)
            | Condition::FuzzyText(phrase)) = condition
            else {
                continue;
            };
            if result.is_some() || phrase.exact().is_some() || !looks(condition) {
                continue;
            }
            phrase.meet(word, found);
            let settled = match self.scores {
                true => found.iter().all(|best| *best == BEST),
                false => score(found).is_some(),
            };
            if settled {
                *result = Some(true);
                self.changed = true;
            }
        }
    }

    /// Whether anything is still to be found in the body.
    fn wants_body(&self) -> bool {
        self.open().any(Condition::reads_bodies)
    }

    /// Looks for what is open in folded text of headers or of bodies.
    fn find(&mut self, text: &[u8]) {
        if let Some(seen) = &mut self.seen {
            return seen.note(text);
        }
        let in_body = self.in_body;
        self.settle(|condition| match condition {
            Condition::Text(needle) => needle.is_in(text).then_some(true),
            Condition::Body(needle) => (in_body && needle.is_in(text)).then_some(true),
            Condition::FuzzyText(phrase) => phrase.exact()?.is_in(text).then_some(true),
            Condition::FuzzyBody(phrase) => (in_body && phrase.exact()?.is_in(text)).then_some(true),
            _ => None,
        });
    }

    /// RFC 9051 §6.4.4: TEXT looks at the headers of parts too, BODY at no header.
    fn looks_at_fields(&self) -> bool {
        (!self.header_seen && self.initials != 0) || self.open().any(Condition::reads_all)
    }

    /// A field as text, name and all, on a line of its own.
    fn push_field(&mut self, field: &Field<'_>) {
        self.push_text(field.name());
        self.push_text(": ");
        self.push_text(word::text(field.value()).trim_start());
        self.push_text("\n");
    }

    /// Which fuzzy conditions look at what comes now.
    fn looks(in_body: bool) -> impl Fn(&Condition) -> bool {
        move |condition| match condition {
            Condition::FuzzyText(_) => true,
            Condition::FuzzyBody(_) => in_body,
            _ => false,
        }
    }

    fn push_text(&mut self, text: &str) {
        if self.fuzzy && self.open().any(Self::looks(self.in_body)) {
            let (mut words, in_body) = (std::mem::take(&mut self.words), self.in_body);
            words.push(text, &mut |word| self.meet(word, Self::looks(in_body)));
            self.words = words;
        }
        let mut haystack = std::mem::take(&mut self.haystack);
        haystack.push(text, self.longest, |folded| self.find(folded));
        self.haystack = haystack;
    }

    fn end_text(&mut self) {
        let (mut words, in_body) = (std::mem::take(&mut self.words), self.in_body);
        words.finish(&mut |word| self.meet(word, Self::looks(in_body)));
        let mut haystack = std::mem::take(&mut self.haystack);
        haystack.finish(|folded| self.find(folded));
        self.haystack = haystack;
    }
}

/// The bit of an octet in [`Search::initials`].
const fn initial(octet: u8) -> u32 {
    1 << (octet & 0x1f)
}

impl Sink for Search {
    fn wants_fields(&self) -> bool {
        self.looks_at_fields() || self.part_texts.as_ref().is_some_and(PartTexts::wants_fields)
    }

    fn field(&mut self, part: usize, field: &[u8]) {
        if let Some(texts) = &mut self.part_texts {
            texts.field(part, field);
        }
        let Some(field) = Fields::new(field).next() else { return };
        if part == 0 {
            if !self.header_seen {
                self.header_field(&field);
            }
        } else if self.looks_at_fields() {
            self.in_body = false;
            self.push_field(&field);
        }
    }

    fn header_end(&mut self, part: usize, details: &Part) {
        if let Some(texts) = &mut self.part_texts {
            texts.header_end(part, details);
        }
        if part > 0 {
            self.end_text();
            self.in_body = true;
        } else if !self.header_seen {
            self.end_header();
        }
        let leaf = details.shape() == Shape::Leaf;
        let wants = self.wants_body();
        self.text = (leaf && wants).then(|| TextDecoder::of(part, details)).flatten();
        self.unsplit = Unsplit::of(part, details).filter(|_| wants);
    }

    fn body(&mut self, part: usize, octets: &[u8]) {
        if let Some(texts) = &mut self.part_texts {
            texts.body(part, octets);
        }
        if let Some(unsplit) = self.unsplit.as_mut().filter(|unsplit| unsplit.is_of(part)) {
            return unsplit.push(octets);
        }
        let Some(mut decoder) = self.text.take_if(|decoder| decoder.is_of(part)) else { return };
        let (mut decoded, mut text) = std::mem::take(&mut self.scratch);
        for piece in octets.chunks(PIECE) {
            decoder.transfer.push(piece, &mut decoded);
            decoder.charset.push(&decoded, &mut text);
            self.push_text(&text);
            decoded.clear();
            text.clear();
        }
        self.scratch = (decoded, text);
        self.text = Some(decoder);
    }

    fn part_end(&mut self, part: usize) {
        if let Some(texts) = &mut self.part_texts {
            texts.part_end(part);
        }
        if let Some(unsplit) = self.unsplit.take_if(|unsplit| unsplit.is_of(part)) {
            unsplit.finish(|text| self.push_text(text));
            return self.end_text();
        }
        let Some(decoder) = self.text.take_if(|decoder| decoder.is_of(part)) else { return };
        let text = decoder.finish();
        self.push_text(&text);
        self.end_text();
    }
}
