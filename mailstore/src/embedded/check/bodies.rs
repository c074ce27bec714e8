//! What refers to bodies, and whether they are whole.
//!
//! Only so many bodies are kept in mind at a time: those of the lowest numbers first. Then whatever refers to bodies is walked over again
//! for the next ones, while the walk over the bodies themselves goes on.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use mailwright_mail_model::{MailboxName, Uid};

use super::orphans::Orphans;
use super::{Check, Course, Repair};
use crate::embedded::body::{CHUNK, CHUNK_HEAD};
use crate::embedded::row::{self, Fields};
use crate::embedded::walk::shown;
use crate::embedded::{chunk, detail, undelete};
use crate::{Message, QueueNumber, Result};

/// How many bodies are kept in mind, in some 100 octets each.
const MOST: usize = if cfg!(test) { 7 } else { 1 << 20 };
/// Of how many messages that share a damaged body the names are told.
const NAMES: usize = 20;

/// Bodies that are kept in mind.
#[derive(Default)]
pub(super) struct Bodies {
    known: BTreeMap<u64, Referred>,
    /// The first that are, and the first that are no more, if there are any.
    low: u64,
    high: Option<u64>,
    /// What messages refer to whose own rows cannot be read.
    rescued: Vec<(u64, u64, Who)>,
}

/// What is known of a body.
struct Referred {
    /// How many refer to it, and what is recorded of that.
    count: u32,
    recorded: Option<Option<u32>>,
    /// How many octets it has, and how many of them have been seen, from the first on.
    size: u64,
    there: u64,
    who: Who,
}

/// What refers to a body.
#[derive(Clone)]
pub(super) enum Who {
    /// A message of the mailbox with these rows.
    Message(u64, Uid),
    Entry(QueueNumber),
    Expunged(MailboxName),
}

impl Bodies {
    fn refer(&mut self, body: u64, size: u64, who: Who) {
        if body < self.low || self.high.is_some_and(|high| body >= high) {
            return;
        }
        let new = || Referred { count: 0, recorded: None, size, there: 0, who };
        let known = self.known.entry(body).or_insert_with(new);
        known.count = known.count.saturating_add(1);
        if self.known.len() > MOST {
            self.high = self.known.pop_last().map(|(body, _)| body);
        }
    }

    /// The size of a body, as what refers to it has it.
    fn size(&self, body: u64) -> u64 {
        self.known.get(&body).map_or(0, |known| known.size)
    }
}

impl Check<'_> {
    pub(super) fn refer(&mut self, message: &Message, who: Who) {
        if let Some(body) = message.object.and_then(row::number_of) {
            self.bodies.refer(body, message.size, who);
        }
    }

    /// As [`refer`](Self::refer), for a message that later walks do not see.
    pub(super) fn refer_rescued(&mut self, message: &Message, who: Who) {
        if let Some(body) = message.object.and_then(row::number_of) {
            self.bodies.rescued.push((body, message.size, who.clone()));
            self.bodies.refer(body, message.size, who);
        }
    }

    fn tell(&self, who: &Who) -> String {
        match who {
            Who::Message(rows, uid) => match self.owner(*rows) {
                Some(owner) => format!("UID {uid} in {owner}"),
                None => format!("a message of a mailbox that is gone ({rows})"),
            },
            Who::Entry(number) => format!("entry {number} of the queue"),
            Who::Expunged(name) => format!("an expunged message of {name}"),
        }
    }

    /// Entries of the queue, and expunged messages that can be had back.
    pub(super) fn others_with_bodies(&mut self) -> Result<()> {
        let queue = self.walk(&self.core.database.queue, "queue", |check, key, value| {
            let number = Fields(key).u64().map(QueueNumber::new);
            let entry = number.zip(row::open(key, value));
            let Some(entry) = entry.and_then(|(number, row)| crate::spool::row::decode(number, row)) else {
                check.gaps.references = true;
                return;
            };
            if let Some(body) = entry.object.and_then(row::number_of) {
                check.bodies.refer(body, entry.size, Who::Entry(entry.number));
            }
        })?;
        let kept = self.walk(&self.core.database.details, "expunged messages", |check, key, value| {
            if key.first() == Some(&detail::EXPUNGED) {
                match row::open(key, value).and_then(undelete::decode) {
                    Some((_, name, message)) => check.refer(&message, Who::Expunged(name)),
                    None => check.gaps.references = true,
                }
            }
        })?;
        self.gaps.references |= !(queue.is_empty() && kept.is_empty());
        // Those that were set aside before have bodies that nobody knows of, too.
        let lost = self.walk(&self.core.database.lost, "rows set aside", |check, _, _| {
            check.gaps.aside = check.gaps.aside.saturating_add(1);
        })?;
        self.gaps.references |= !lost.is_empty();
        Ok(())
    }

    /// Walks over all that refers to bodies again, for those from `low` on.
    fn gather(&mut self, low: u64) -> Result<()> {
        let rescued = std::mem::take(&mut self.bodies.rescued);
        self.bodies = Bodies { low, rescued: rescued.clone(), ..Bodies::default() };
        rescued.into_iter().for_each(|(body, size, who)| self.bodies.refer(body, size, who));
        // What cannot be read was told by the first walk.
        let (told, aside) = (self.report.findings.len(), self.gaps.aside);
        self.walk(&self.core.database.rows, "messages again", |check, key, value| {
            let mut fields = Fields(key);
            let (Some(rows), Some(uid)) = (fields.u64(), fields.u32().and_then(Uid::new)) else { return };
            if let Some(message) = row::open(key, value).and_then(|value| row::decode_message(uid, value)) {
                check.refer(&message, Who::Message(rows, uid));
            }
        })?;
        self.others_with_bodies()?;
        self.report.findings.truncate(told);
        self.gaps.aside = aside;
        Ok(())
    }

    /// Every octet of every body, whether all are there, and how many share each.
    pub(super) fn bodies(&mut self) -> Result<()> {
        let database = &self.core.database;
        let mut waiting = HashSet::new();
        let holes = self.walk(&database.uploads, "uploads", |_, key, _| waiting.extend(Fields(key).u64()))?;
        waiting.extend(self.discarded_rows()?);
        let mut orphans = Orphans::new(waiting, self.sees_all() && holes.is_empty());
        let mut chunks = Course::new(&self.moment, &database.bodies, "bodies");
        let mut references = Course::new(&self.moment, &database.references, "references");
        let mut kept = 0;
        loop {
            self.chunks(&mut chunks, &mut orphans)?;
            kept += self.references(&mut references);
            match self.bodies.high {
                Some(low) => self.gather(low)?,
                None => break,
            }
        }
        self.tell_orphans(orphans, chunks.holes.is_empty());
        if kept > 0 {
            let what = format!(
                "{kept} bodies are shared by fewer than is counted; rows that cannot be read may be of them, so the counts are kept"
            );
            self.find(what, None);
        }
        Ok(())
    }

    /// The octets of the bodies that are kept in mind, and of those between them that nobody knows.
    fn chunks(&mut self, course: &mut Course, orphans: &mut Orphans) -> Result<()> {
        let mut damaged: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        self.walk_on(course, self.bodies.high, |check, key, chunk| {
            let mut fields = Fields(key);
            let (Some(body), Some(number)) = (fields.u64(), fields.u32()) else { return };
            let first = u64::from(number) * CHUNK as u64;
            let octets = chunk.as_ref().map(|chunk| chunk::unpack(key, &Bytes::copy_from_slice(chunk)));
            // What is damaged is told once, so it counts as whole.
            let length = match (&octets, &chunk) {
                (Ok(Some(octets)), _) => octets.len(),
                (_, Ok(chunk)) => chunk.len().saturating_sub(CHUNK_HEAD) as u64,
                _ => check.bodies.size(body).saturating_sub(first).min(CHUNK as u64),
            };
            check.report.octets += length;
            match check.bodies.known.get_mut(&body) {
                // Chunks come in order; a hole is seen in the sum.
                Some(known) if known.there == first => {
                    known.there += length;
                    let size = known.size;
                    if let Ok(Some(octets)) = octets {
                        check.describe(body, size, first, key, octets);
                        return;
                    }
                }
                Some(_) => {}
                None => orphans.see(body, length),
            }
            match octets {
                Ok(Some(_)) => {}
                Ok(None) => {
                    damaged.entry(body).or_default().push(format!("octets from {first} on are damaged"));
                }
                Err(error) => damaged
                    .entry(body)
                    .or_default()
                    .push(format!("octets from {first} on are damaged: {error}")),
            }
        });
        let lacks = |(body, known): (&u64, &Referred)| (known.there != known.size).then_some(*body);
        let lacking: Vec<u64> = self.bodies.known.iter().filter_map(lacks).collect();
        let names = self.names(&damaged.keys().chain(&lacking).copied().collect())?;
        for (body, parts) in damaged {
            let who = match (names.get(&body), self.bodies.known.get(&body)) {
                (Some(names), _) => names.join(", "),
                (None, Some(known)) => self.tell(&known.who),
                // It goes as it is, so that nobody has to know.
                (None, None) if orphans.may_go() => continue,
                (None, None) => "a body nobody refers to".to_owned(),
            };
            parts.into_iter().for_each(|part| self.find(format!("{who}: {part}"), None));
        }
        let lacking = lacking.iter().filter_map(|body| Some((body, self.bodies.known.get(body)?)));
        let mut wrong: Vec<String> = lacking
            .map(|(body, known)| {
                let who = names.get(body).map_or_else(|| self.tell(&known.who), |names| names.join(", "));
                format!("{who}: of {} octets {} are there", known.size, known.there)
            })
            .collect();
        wrong.sort_unstable();
        wrong.into_iter().for_each(|what| self.find(what, None));
        Ok(())
    }

    /// The names of all messages that share one of these bodies: they are looked for only when something is wrong.
    fn names(&mut self, bodies: &HashSet<u64>) -> Result<HashMap<u64, Vec<String>>> {
        let mut names: HashMap<u64, Vec<String>> = HashMap::new();
        let mut more: HashMap<u64, u64> = HashMap::new();
        if bodies.is_empty() {
            return Ok(names);
        }
        let told = self.report.findings.len();
        self.walk(&self.core.database.rows, "messages", |check, key, value| {
            let mut fields = Fields(key);
            let (Some(rows), Some(uid)) = (fields.u64(), fields.u32().and_then(Uid::new)) else { return };
            let message = row::open(key, value).and_then(|value| row::decode_message(uid, value));
            let body = message.and_then(|message| message.object).and_then(row::number_of);
            if let Some(body) = body.filter(|body| bodies.contains(body)) {
                let names = names.entry(body).or_default();
                match names.len() {
                    0..NAMES => names.push(check.tell(&Who::Message(rows, uid))),
                    _ => *more.entry(body).or_default() += 1,
                }
            }
        })?;
        for (body, more) in more {
            names.entry(body).or_default().push(format!("and {more} more"));
        }
        // What this walk could not read was told by an earlier one.
        self.report.findings.truncate(told);
        Ok(names)
    }

    /// How many share each body that is kept in mind; of how many a count was left as it is because of what cannot be seen.
    ///
    /// As long as something may refer to bodies that was not seen, no count is lowered: a body that goes too early is mail lost, one
    /// that stays costs room.
    fn references(&mut self, course: &mut Course) -> u64 {
        self.walk_on(course, self.bodies.high, |check, key, value| {
            let count = match value {
                Ok(value) => row::open(key, &value).and_then(|value| Fields(value).u32()),
                Err(error) => {
                    check.find(format!("references: the row {:?}: {error}", shown(key)), None);
                    return;
                }
            };
            let known = Fields(key).u64().and_then(|body| check.bodies.known.get_mut(&body));
            known.into_iter().for_each(|known| known.recorded = Some(count));
        });
        let (whole, aside) = (course.holes.is_empty(), self.gaps.aside);
        let seen_all = !self.gaps.references && whole;
        let (mut wrong, mut kept) = (Vec::new(), 0_u64);
        for (body, Referred { count, recorded, who, .. }) in &self.bodies.known {
            let known = recorded.unwrap_or(Some(1));
            let right = match known {
                Some(known) if known == *count => continue,
                // Nothing is recorded of a body that one message has, and of one whose row was not seen.
                Some(1) if !whole => continue,
                Some(known) if known < *count => Some(*count),
                Some(_) if aside > 0 => {
                    kept += 1;
                    continue;
                }
                // A count that cannot be read is taken for a very high one.
                _ => seen_all.then(|| count.saturating_add(aside)),
            };
            let known = known.map_or_else(|| "something unreadable".to_owned(), |known| known.to_string());
            let what = format!("{}: {known} references are counted, there are {count}", self.tell(who));
            wrong.push((what, *body, right));
        }
        wrong.sort_unstable();
        for (what, body, right) in wrong {
            match right {
                Some(count) => self.find(what, Some(Repair::References(body, count))),
                None => self.find(format!("{what} that could be seen; the count is kept"), None),
            }
        }
        kept
    }
}
