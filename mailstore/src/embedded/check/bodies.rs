//! What refers to bodies, and whether they are whole.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use mailwright_mail_model::Uid;

use super::{Check, Repair};
use crate::embedded::body::{CHUNK, CHUNK_HEAD};
use crate::embedded::row::{self, Fields};
use crate::embedded::{chunk, detail, undelete};
use crate::{Message, Result};

/// Of how many messages that share a damaged body the names are told.
const NAMES: usize = 20;

impl Check<'_> {
    pub(super) fn refer(&mut self, message: &Message, who: String) {
        if let Some(body) = message.object.and_then(row::number_of) {
            let entry = self.bodies.entry(body).or_insert_with(|| (0, message.size, who));
            entry.0 = entry.0.saturating_add(1);
        }
    }

    /// Entries of the queue, and expunged messages that can be had back.
    pub(super) fn others_with_bodies(&mut self) -> Result<()> {
        let queue = self.walk(&self.core.database.queue, "queue", |check, key, value| {
            let number = Fields(key).u64().map(crate::QueueNumber::new);
            let entry = number.zip(row::open(key, value));
            let Some(entry) = entry.and_then(|(number, row)| crate::spool::row::decode(number, row)) else {
                check.gaps.references = true;
                return;
            };
            if let Some(body) = entry.object.and_then(row::number_of) {
                let who = format!("entry {} of the queue", entry.number);
                let known = check.bodies.entry(body).or_insert_with(|| (0, entry.size, who));
                known.0 = known.0.saturating_add(1);
            }
        })?;
        let kept = self.walk(&self.core.database.details, "expunged messages", |check, key, value| {
            if key.first() == Some(&detail::EXPUNGED) {
                match row::open(key, value).and_then(undelete::decode) {
                    Some((_, name, message)) => {
                        check.refer(&message, format!("an expunged message of {name}"));
                    }
                    None => check.gaps.references = true,
                }
            }
        })?;
        self.gaps.references |= !(queue.is_empty() && kept.is_empty());
        // Those that were set aside before have bodies that nobody knows of, too.
        self.walk(&self.core.database.lost, "rows set aside", |check, _, _| check.gaps.aside += 1)?;
        Ok(())
    }

    /// Every octet of every body, and whether all are there.
    pub(super) fn bodies(&mut self) -> Result<()> {
        let mut found: HashMap<u64, u64> = HashMap::new();
        let mut waiting = HashSet::new();
        self.walk(&self.core.database.uploads, "uploads", |_, key, _| waiting.extend(Fields(key).u64()))?;
        waiting.extend(self.discarded_rows()?);
        let mut damaged: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        self.walk_values(&self.core.database.bodies, "bodies", |check, key, chunk| {
            let mut fields = Fields(key);
            let (Some(body), Some(number)) = (fields.u64(), fields.u32()) else { return };
            let first = u64::from(number) * CHUNK as u64;
            let octets = chunk.as_ref().map(|chunk| chunk::unpack(key, &Bytes::copy_from_slice(chunk)));
            // What is damaged is told once, so it counts as whole.
            let length = match (&octets, &chunk) {
                (Ok(Some(octets)), _) => octets.len(),
                (_, Ok(chunk)) => chunk.len().saturating_sub(CHUNK_HEAD) as u64,
                _ => {
                    let size = check.bodies.get(&body).map_or(0, |(_, size, _)| *size);
                    size.saturating_sub(first).min(CHUNK as u64)
                }
            };
            check.report.octets += length;
            let whole = found.entry(body).or_default();
            // Chunks come in order; a hole is seen in the sum.
            if *whole == first {
                *whole += length;
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
        })?;
        let names = self.names(&damaged)?;
        for (body, parts) in damaged {
            let who = match (names.get(&body), self.bodies.get(&body)) {
                (Some(names), _) => names.join(", "),
                (None, Some((_, _, who))) => who.clone(),
                (None, None) => "a body nobody refers to".to_owned(),
            };
            parts.into_iter().for_each(|part| self.find(format!("{who}: {part}"), None));
        }
        let mut wrong: Vec<String> = self
            .bodies
            .iter()
            .filter(|(body, (_, size, _))| found.get(body).copied().unwrap_or(0) != *size)
            .map(|(body, (_, size, who))| {
                let there = found.get(body).copied().unwrap_or(0);
                format!("{who}: of {size} octets {there} are there")
            })
            .collect();
        wrong.sort_unstable();
        wrong.into_iter().for_each(|what| self.find(what, None));
        let orphans =
            found.keys().filter(|body| !self.bodies.contains_key(body) && !waiting.contains(body)).count();
        if orphans > 0 {
            self.find(format!("{orphans} bodies that nothing refers to; they are kept"), None);
        }
        Ok(())
    }

    /// The names of all messages that share one of these bodies: they are looked for only when something is wrong.
    fn names(&mut self, bodies: &BTreeMap<u64, Vec<String>>) -> Result<HashMap<u64, Vec<String>>> {
        let mut names: HashMap<u64, Vec<String>> = HashMap::new();
        if bodies.is_empty() {
            return Ok(names);
        }
        let told = self.report.findings.len();
        self.walk(&self.core.database.rows, "messages", |check, key, value| {
            let mut fields = Fields(key);
            let (Some(rows), Some(uid)) = (fields.u64(), fields.u32().and_then(Uid::new)) else { return };
            let message = row::open(key, value).and_then(|value| row::decode_message(uid, value));
            let body = message.and_then(|message| message.object).and_then(row::number_of);
            if let Some(body) = body.filter(|body| bodies.contains_key(body)) {
                let names = names.entry(body).or_default();
                match names.len() {
                    0..NAMES => names.push(match check.owner(rows) {
                        Some(owner) => format!("UID {uid} in {owner}"),
                        None => format!("a message of a mailbox that is gone ({rows})"),
                    }),
                    NAMES => names.push("and more".to_owned()),
                    _ => {}
                }
            }
        })?;
        // What this walk could not read was told by an earlier one.
        self.report.findings.truncate(told);
        Ok(names)
    }

    /// How many share each body.
    ///
    /// As long as something may refer to bodies that was not seen, no count is lowered: a body that goes too early is mail lost, one
    /// that stays costs room.
    pub(super) fn references(&mut self) -> Result<()> {
        let mut recorded: HashMap<u64, Option<u32>> = HashMap::new();
        let holes = self.walk(&self.core.database.references, "references", |_, key, value| {
            let count = row::open(key, value).and_then(|value| Fields(value).u32());
            recorded.extend(Fields(key).u64().map(|body| (body, count)));
        })?;
        let (seen_all, aside) = (!self.gaps.references && holes.is_empty(), self.gaps.aside);
        let (mut wrong, mut kept) = (Vec::new(), 0_u64);
        for (body, (count, _, who)) in &self.bodies {
            let known = recorded.remove(body).unwrap_or(Some(1));
            let right = match known {
                Some(known) if known == *count => continue,
                // Nothing is recorded of a body that one message has, and of one whose row was not seen.
                Some(1) if !holes.is_empty() => continue,
                Some(known) if known < *count => Some(*count),
                Some(_) if aside > 0 => {
                    kept += 1;
                    continue;
                }
                // A count that cannot be read is taken for a very high one.
                _ => seen_all.then(|| count.saturating_add(aside)),
            };
            let known = known.map_or_else(|| "something unreadable".to_owned(), |known| known.to_string());
            let what = format!("{who}: {known} references are counted, there are {count}");
            wrong.push((what, *body, right));
        }
        wrong.sort_unstable();
        for (what, body, right) in wrong {
            match right {
                Some(count) => self.find(what, Some(Repair::References(body, count))),
                None => self.find(format!("{what} that could be seen; the count is kept"), None),
            }
        }
        if kept > 0 {
            let what = format!(
                "{kept} bodies are shared by fewer than is counted; rows that cannot be read may be of them, so the counts are kept"
            );
            self.find(what, None);
        }
        Ok(())
    }
}
