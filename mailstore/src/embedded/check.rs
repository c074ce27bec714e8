//! A check of everything in the store: every checksum, every reference, every count.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use fjall::{Keyspace, Readable, Snapshot};
use mailwright_mail_model::{ModSeq, Uid};

use super::account::Account;
use super::body::{CHUNK, CHUNK_HEAD};
use super::chunk;
use super::committer::Group;
use super::database::failed;
use super::header::Header;
use super::row::{self, Fields};
use super::{Core, Embedded, detail, summary, undelete};
use crate::{Message, Offload, QuotaUsage, Result};

mod repair;

use repair::Repair;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckReport {
    /// How many mailboxes, messages, and octets of bodies were looked at.
    pub mailboxes: u64,
    /// Messages.
    pub messages: u64,
    /// Octets of bodies.
    pub octets: u64,
    /// What is wrong, in the order in which it was found.
    pub findings: Vec<Finding>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What, in words, with the names of what is concerned.
    pub what: String,
    /// Whether it was put right.
    pub repaired: bool,
}

/// How far a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckProgress {
    /// What it looks at.
    pub step: &'static str,
    /// How many rows it has looked at in this step.
    pub rows: u64,
}

impl<O: Offload + Clone> Embedded<O> {
    /// Looks at every row of the store as it is at this moment, and at every octet of every body. Blocks.
    ///
    /// With `repair`, what can be derived is made anew: counts of mailboxes, users and references, what was found out about
    /// messages, threads, orders. Nobody else may use the store then. Rows of messages that cannot be read are set aside, and
    /// bodies that nothing refers to, which may be theirs, are kept. A message whose body is damaged stays as it is.
    ///
    /// # Errors
    /// If the database cannot be read at all, or not be written.
    pub async fn check(
        &self,
        repair: bool,
        progress: &mut (dyn FnMut(CheckProgress) + Send),
    ) -> Result<CheckReport> {
        let (mut report, repairs) = self.shared.core()?.check(progress)?;
        if repair && !repairs.is_empty() {
            self.shared.committer.submit(move |group| group.repair(repairs)).await?;
            report.findings.iter_mut().for_each(|finding| finding.repaired = finding.repaired_by_now());
        }
        report.findings.iter_mut().filter(|_| !repair).for_each(|finding| finding.repaired = false);
        Ok(report)
    }
}

impl Finding {
    /// Those that can be put right were marked so when they were found.
    const fn repaired_by_now(&self) -> bool {
        self.repaired
    }
}

/// A check under way.
struct Check<'a> {
    core: &'a Core,
    moment: Snapshot,
    progress: &'a mut (dyn FnMut(CheckProgress) + Send),
    report: CheckReport,
    repairs: Vec<Repair>,
    /// By the number of the rows: the mailbox.
    mailboxes: HashMap<u64, (Bytes, Header)>,
    /// The numbers of those of which a row cannot be read.
    broken: HashSet<u64>,
    usage: BTreeMap<Bytes, QuotaUsage>,
    /// By body: how many refer to it, of what size it is, and who does.
    bodies: HashMap<u64, (u32, u64, String)>,
}

impl Core {
    fn check(&self, progress: &mut (dyn FnMut(CheckProgress) + Send)) -> Result<(CheckReport, Vec<Repair>)> {
        let mut check = Check {
            core: self,
            moment: self.database.handle.snapshot(),
            progress,
            report: CheckReport::default(),
            repairs: Vec::new(),
            mailboxes: HashMap::new(),
            broken: HashSet::new(),
            usage: BTreeMap::new(),
            bodies: HashMap::new(),
        };
        check.sums()?;
        check.mailboxes()?;
        check.messages()?;
        check.others_with_bodies()?;
        check.bodies()?;
        check.references()?;
        check.users()?;
        Ok((check.report, check.repairs))
    }
}

impl Check<'_> {
    fn find(&mut self, what: String, repair: Option<Repair>) {
        self.report.findings.push(Finding { what, repaired: repair.is_some() });
        self.repairs.extend(repair);
    }

    fn step(&mut self, step: &'static str, rows: u64) {
        if rows.is_multiple_of(16_384) {
            (self.progress)(CheckProgress { step, rows });
        }
    }

    /// Every row of a keyspace. Those that the database cannot read are told, and end the walk.
    fn walk(
        &mut self,
        keyspace: &Keyspace,
        step: &'static str,
        mut look: impl FnMut(&mut Self, &[u8], &[u8]),
    ) -> Result<()> {
        let mut rows = 0;
        for entry in self.moment.iter(keyspace) {
            match entry.into_inner() {
                Ok((key, value)) => look(self, &key, &value),
                Err(error) => {
                    let error = failed(error);
                    self.find(format!("{step}: {error}; rows behind this were not looked at"), None);
                    break;
                }
            }
            rows += 1;
            self.step(step, rows);
        }
        Ok(())
    }

    /// The rows that only have a checksum. Those that can be found out anew go if they are wrong.
    fn sums(&mut self) -> Result<()> {
        let database = &self.core.database;
        let derived = [(&database.summaries, "summaries"), (&database.threads, "threads")];
        for (keyspace, step) in derived {
            self.walk(keyspace, step, |check, key, value| {
                if row::open(key, value).is_none() && !summary::is_sealed(key, value) {
                    let remove = Repair::Remove(keyspace.clone(), key.to_vec());
                    check.find(format!("{step}: a row with a wrong checksum"), Some(remove));
                }
            })?;
        }
        let told = [
            (&database.meta, "numbers"),
            (&database.origins, "origins"),
            (&database.expunged, "history"),
            (&database.tables, "tables"),
            (&database.queue, "queue"),
            (&database.queue_due, "order of the queue"),
        ];
        for (keyspace, step) in told {
            self.walk(keyspace, step, |check, key, value| {
                if row::open(key, value).is_none() {
                    let key = String::from_utf8_lossy(key).into_owned();
                    check.find(format!("{step}: the row {key:?} has a wrong checksum"), None);
                }
            })?;
        }
        self.walk(&database.details, "details", |check, key, value| {
            let bare = matches!(key.first(), Some(&(detail::SHARED | detail::EXPUNGED_AT | detail::WARNING)));
            if !bare && row::open(key, value).is_none() {
                let key = String::from_utf8_lossy(key).into_owned();
                check.find(format!("details: the row {key:?} has a wrong checksum"), None);
            }
        })
    }

    fn mailboxes(&mut self) -> Result<()> {
        self.walk(&self.core.database.names, "mailboxes", |check, key, value| {
            match Header::decode(key, value) {
                Ok(header) => {
                    let usage = check.usage.entry(Bytes::copy_from_slice(row::user_of(key))).or_default();
                    usage.mailboxes += 1;
                    check.report.mailboxes += 1;
                    check.mailboxes.insert(header.rows, (Bytes::copy_from_slice(key), header));
                }
                Err(error) => check.find(format!("{error}; its messages cannot be reached"), None),
            }
        })
    }

    /// Every message, and what the headers count of them.
    fn messages(&mut self) -> Result<()> {
        let mut counted: HashMap<u64, Header> = HashMap::new();
        for (rows, (_, header)) in &self.mailboxes {
            let fresh = Header::new(header.id, header.uid_validity, header.special_use);
            counted.insert(*rows, Header { recent_from: header.recent_from, rows: *rows, ..fresh });
        }
        let discarded = self.discarded_rows()?;
        let mut strays: HashMap<u64, u64> = HashMap::new();
        self.walk(&self.core.database.rows, "messages", |check, key, value| {
            let mut fields = Fields(key);
            let (Some(rows), Some(uid)) = (fields.u64(), fields.u32().and_then(Uid::new)) else {
                check.find("messages: a row without a UID".into(), None);
                return;
            };
            let owner =
                check.mailboxes.get(&rows).map(|(name, _)| String::from_utf8_lossy(name).replace('\0', " "));
            let message = row::open(key, value).and_then(|value| row::decode_message(uid, value));
            match (owner, message) {
                (Some(owner), Some(message)) => {
                    check.report.messages += 1;
                    check.refer(&message, format!("UID {uid} in {owner}"));
                    if let Some(counted) = counted.get_mut(&rows) {
                        counted.count(&message);
                        counted.uid_next = counted.uid_next.max(uid.next());
                        counted.highest_modseq = counted.highest_modseq.max(message.modseq);
                    }
                }
                (Some(owner), None) => {
                    check.broken.insert(rows);
                    let repair = Repair::SetAside(key.to_vec(), Bytes::copy_from_slice(value));
                    check.find(format!("UID {uid} in {owner}: its row cannot be read"), Some(repair));
                }
                (None, message) => {
                    if let Some(message) = &message {
                        check.refer(message, format!("a message of a mailbox that is gone ({rows})"));
                    }
                    if !discarded.contains(&rows) {
                        *strays.entry(rows).or_default() += 1;
                    }
                }
            }
        })?;
        for (rows, count) in strays {
            self.find(format!("{count} messages of a mailbox that cannot be found (rows {rows})"), None);
        }
        self.compare(&counted)
    }

    fn refer(&mut self, message: &Message, who: String) {
        if let Some(body) = message.object.and_then(row::number_of) {
            let entry = self.bodies.entry(body).or_insert_with(|| (0, message.size, who));
            entry.0 = entry.0.saturating_add(1);
        }
    }

    /// Rows that wait to be taken away.
    fn discarded_rows(&mut self) -> Result<HashSet<u64>> {
        let mut discarded = HashSet::new();
        self.walk(&self.core.database.trash, "trash", |_, key, _| {
            let mut fields = Fields(key.get(9..).unwrap_or_default());
            discarded.extend(fields.u64());
        })?;
        Ok(discarded)
    }

    fn compare(&mut self, counted: &HashMap<u64, Header>) -> Result<()> {
        let mailboxes = std::mem::take(&mut self.mailboxes);
        for (rows, (key, header)) in &mailboxes {
            let Some(counted) = counted.get(rows) else { continue };
            let name = String::from_utf8_lossy(key).replace('\0', " ");
            let numbers = |header: &Header| (header.messages, header.unseen, header.deleted, header.size);
            let mut right = header.clone();
            (right.messages, right.unseen, right.deleted, right.size) = numbers(counted);
            right.recent = counted.recent;
            if header.uid_next.is_some_and(|next| counted.uid_next.is_none_or(|found| found > next)) {
                right.uid_next = counted.uid_next;
            }
            right.highest_modseq = header.highest_modseq.max(counted.highest_modseq).max(ModSeq::MIN);
            if right != *header || self.broken.contains(rows) {
                right.packed = None;
            }
            self.packed(key, header)?;
            if right != *header {
                let what = format!(
                    "{name}: counts {:?} and next UID {:?}, but has {:?} and needs {:?}",
                    numbers(header),
                    header.uid_next,
                    numbers(&right),
                    right.uid_next
                );
                self.find(what, Some(Repair::Header(key.to_vec(), right)));
            }
            let annotations = self.core.annotation_octets(header.id)?;
            let usage = self.usage.entry(Bytes::copy_from_slice(row::user_of(key))).or_default();
            usage.messages += u64::from(counted.messages);
            usage.storage += counted.size;
            usage.annotations += annotations;
        }
        self.mailboxes = mailboxes;
        Ok(())
    }

    /// Whether packed messages are those of the rows.
    fn packed(&mut self, key: &[u8], header: &Header) -> Result<()> {
        let rows = Header { packed: None, ..header.clone() };
        if header.packed.is_some()
            && self.core.load_rows(key, header, &self.moment)?
                != self.core.load_rows(key, &rows, &self.moment)?
        {
            let name = String::from_utf8_lossy(key).replace('\0', " ");
            self.find(
                format!("{name}: its packed messages are others"),
                Some(Repair::Header(key.to_vec(), rows)),
            );
        }
        Ok(())
    }

    /// Entries of the queue, and expunged messages that can be had back.
    fn others_with_bodies(&mut self) -> Result<()> {
        self.walk(&self.core.database.queue, "queue", |check, key, value| {
            let number = Fields(key).u64().map(crate::QueueNumber::new);
            let entry = number.zip(row::open(key, value));
            if let Some(entry) = entry.and_then(|(number, row)| crate::spool::row::decode(number, row))
                && let Some(body) = entry.object.and_then(row::number_of)
            {
                let who = format!("entry {} of the queue", entry.number);
                let known = check.bodies.entry(body).or_insert_with(|| (0, entry.size, who));
                known.0 = known.0.saturating_add(1);
            }
        })?;
        self.walk(&self.core.database.details, "expunged messages", |check, key, value| {
            if key.first() == Some(&detail::EXPUNGED)
                && let Some((_, name, message)) = row::open(key, value).and_then(undelete::decode)
            {
                check.refer(&message, format!("an expunged message of {name}"));
            }
        })
    }

    /// Every octet of every body, and whether all are there.
    fn bodies(&mut self) -> Result<()> {
        let mut found: HashMap<u64, u64> = HashMap::new();
        let mut waiting = HashSet::new();
        self.walk(&self.core.database.uploads, "uploads", |_, key, _| waiting.extend(Fields(key).u64()))?;
        waiting.extend(self.discarded_rows()?);
        self.walk(&self.core.database.bodies, "bodies", |check, key, chunk| {
            let mut fields = Fields(key);
            let (Some(body), Some(number)) = (fields.u64(), fields.u32()) else { return };
            let octets = chunk::unpack(key, &Bytes::copy_from_slice(chunk));
            let right = octets.is_some();
            // What is damaged is told once, so it counts as whole.
            let length =
                octets.map_or_else(|| chunk.len().saturating_sub(CHUNK_HEAD) as u64, |octets| octets.len());
            check.report.octets += length;
            let whole = found.entry(body).or_default();
            // Chunks come in order; a hole is seen in the sum.
            if *whole == u64::from(number) * CHUNK as u64 {
                *whole += length;
            }
            if !right {
                let who =
                    check.bodies.get(&body).map_or("a body nobody refers to", |(_, _, who)| who).to_owned();
                check.find(
                    format!("{who}: octets from {} on are damaged", u64::from(number) * CHUNK as u64),
                    None,
                );
            }
        })?;
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

    /// How many share each body.
    fn references(&mut self) -> Result<()> {
        let mut recorded: HashMap<u64, Option<u32>> = HashMap::new();
        self.walk(&self.core.database.references, "references", |_, key, value| {
            let count = row::open(key, value).and_then(|value| Fields(value).u32());
            recorded.extend(Fields(key).u64().map(|body| (body, count)));
        })?;
        let mut wrong = Vec::new();
        for (body, (count, _, who)) in &self.bodies {
            let known = recorded.remove(body).unwrap_or(Some(1));
            if known != Some(*count) {
                let known =
                    known.map_or_else(|| "something unreadable".to_owned(), |known| known.to_string());
                wrong.push((
                    format!("{who}: {known} references are counted, there are {count}"),
                    *body,
                    *count,
                ));
            }
        }
        wrong.sort_unstable();
        for (what, body, count) in wrong {
            self.find(what, Some(Repair::References(body, count)));
        }
        Ok(())
    }

    /// What users have, and are said to have.
    fn users(&mut self) -> Result<()> {
        let mut recorded: HashMap<Bytes, Option<QuotaUsage>> = HashMap::new();
        self.walk(&self.core.database.users, "users", |_, key, value| {
            let usage = Account::decode(key, value).map(|account| account.usage);
            recorded.insert(Bytes::copy_from_slice(key), usage);
        })?;
        let users: Vec<_> = self.usage.iter().map(|(user, usage)| (user.clone(), *usage)).collect();
        for (user, usage) in users {
            let known = recorded.remove(&user);
            if known != Some(Some(usage)) {
                let name = String::from_utf8_lossy(&user).into_owned();
                let what = format!("{name}: the usage is said to be {:?}, but is {usage:?}", known.flatten());
                self.find(what, Some(Repair::Usage(user.to_vec(), usage)));
            }
        }
        Ok(())
    }
}

impl Group<'_> {
    fn repair(&mut self, repairs: Vec<Repair>) -> Result<()> {
        repairs.into_iter().try_for_each(|repair| repair.stage(self))
    }
}
