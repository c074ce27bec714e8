//! A check of everything in the store: every checksum, every reference, every count.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use fjall::{Keyspace, Snapshot, UserValue};

use super::account::Account;
use super::committer::Group;
use super::header::Header;
use super::row::{self, Fields};
use super::walk::{Hole, Step, Walk, shown};
use super::{Core, Embedded, damage, detail, summary, threads};
use crate::{Offload, QuotaUsage, Result};

mod bodies;
mod described;
mod forget;
mod messages;
mod missing;
mod notes;
mod orphans;
mod repair;

use bodies::Bodies;
use described::Described;
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
    /// messages, threads, orders; and what a [describer](super::Options::describer) finds otherwise now. Nobody else may use the store then. Rows of messages that cannot be read are taken from packed
    /// messages, or set aside if they are not there. Bodies that nothing refers to go, unless there is something that cannot be read,
    /// for they may be its, or a file `*.damaged-*` is in the directory, with which rows may be lost. A message whose body is damaged stays as it is. What is derived of rows of which some could not be read is
    /// not made anew.
    ///
    /// # Errors
    /// If the database cannot be read at all, or not be written.
    pub async fn check(
        &self,
        repair: bool,
        progress: &mut (dyn FnMut(CheckProgress) + Send),
    ) -> Result<CheckReport> {
        let (mut report, Repairs { rows, orphans, described }) = self.shared.core()?.check(progress)?;
        if repair && !rows.is_empty() {
            self.shared.committer.submit(move |group| group.repair(rows)).await?;
            report.findings.iter_mut().for_each(|finding| finding.repaired = finding.repaired_by_now());
        }
        if repair {
            self.remove_orphans(&orphans, progress).await?;
            let sealed = self.describe_again(&described, progress).await?;
            if sealed > 0 {
                let what = format!(
                    "{sealed} encrypted messages were described by an earlier version; whoever reads them finds out anew"
                );
                report.findings.push(Finding { what, repaired: true });
            }
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

/// What is to be put right.
#[derive(Default)]
struct Repairs {
    rows: Vec<Repair>,
    /// Bodies that nothing refers to.
    orphans: Vec<u64>,
    described: Described,
}

/// A check under way.
struct Check<'a> {
    core: &'a Core,
    moment: Snapshot,
    progress: &'a mut (dyn FnMut(CheckProgress) + Send),
    report: CheckReport,
    repairs: Repairs,
    /// By the number of the rows: the mailbox.
    mailboxes: HashMap<u64, (Bytes, Header)>,
    usage: BTreeMap<Bytes, QuotaUsage>,
    bodies: Bodies,
    gaps: Gaps,
    /// What is noted about messages.
    notes: notes::Notes,
    /// What was found in bodies.
    described: Described,
}

/// What could not be looked at, so that sums over it may be too low.
#[derive(Default)]
struct Gaps {
    /// Something that was not seen may be a mailbox.
    mailboxes: bool,
    /// Something that was not seen may refer to a body.
    references: bool,
    /// How many rows of messages cannot be read, those that were set aside before included.
    aside: u32,
    /// Users who have something that was not seen.
    users: HashSet<Bytes>,
}

/// A walk under way.
struct Course {
    walk: Walk,
    step: &'static str,
    /// A row that it came to, but that is for later.
    next: Option<Step>,
    rows: u64,
    holes: Vec<Hole>,
}

impl Course {
    fn new(moment: &Snapshot, keyspace: &Keyspace, step: &'static str) -> Self {
        Self { walk: Walk::new(moment, keyspace), step, next: None, rows: 0, holes: Vec::new() }
    }
}

impl Core {
    fn check(&self, progress: &mut (dyn FnMut(CheckProgress) + Send)) -> Result<(CheckReport, Repairs)> {
        let mut check = Check {
            core: self,
            moment: self.database.moment(),
            progress,
            report: CheckReport::default(),
            repairs: Repairs::default(),
            mailboxes: HashMap::new(),
            usage: BTreeMap::new(),
            bodies: Bodies::default(),
            gaps: Gaps::default(),
            notes: notes::Notes::default(),
            described: Described::default(),
        };
        check.set_aside();
        check.sums()?;
        check.mailboxes()?;
        check.threads()?;
        check.messages()?;
        check.stray_notes()?;
        check.others_with_bodies()?;
        check.bodies()?;
        check.users()?;
        check.tell_described();
        check.repairs.described = check.described;
        Ok((check.report, check.repairs))
    }
}

impl Check<'_> {
    fn find(&mut self, what: String, repair: Option<Repair>) {
        self.report.findings.push(Finding { what, repaired: repair.is_some() });
        self.repairs.rows.extend(repair);
    }

    fn step(&mut self, step: &'static str, rows: u64) {
        if rows.is_multiple_of(16_384) {
            (self.progress)(CheckProgress { step, rows });
        }
    }

    /// Every row of a keyspace. Where there are some that the database cannot read, that is told, and given.
    fn walk(
        &mut self,
        keyspace: &Keyspace,
        step: &'static str,
        mut look: impl FnMut(&mut Self, &[u8], &[u8]),
    ) -> Result<Vec<Hole>> {
        self.walk_values(keyspace, step, |check, key, value| match value {
            Ok(value) => look(check, key, &value),
            Err(error) => check.find(format!("{step}: the row {:?}: {error}", shown(key)), None),
        })
    }

    /// As [`walk`](Self::walk), where values may lie apart from their keys and be damaged alone.
    fn walk_values(
        &mut self,
        keyspace: &Keyspace,
        step: &'static str,
        look: impl FnMut(&mut Self, &[u8], Result<UserValue>),
    ) -> Result<Vec<Hole>> {
        let mut course = Course::new(&self.moment, keyspace, step);
        self.walk_on(&mut course, None, look);
        Ok(course.holes)
    }

    /// Goes on with a walk, up to the rows of the number `end`.
    fn walk_on(
        &mut self,
        course: &mut Course,
        end: Option<u64>,
        mut look: impl FnMut(&mut Self, &[u8], Result<UserValue>),
    ) {
        let beyond =
            |key: &[u8]| end.is_some_and(|end| Fields(key).u64().is_some_and(|number| number >= end));
        while let Some(found) = course.next.take().or_else(|| course.walk.step(|_| true)) {
            match found {
                Step::Row(ref key, _) | Step::Unreadable(ref key, _) if beyond(key) => {
                    course.next = Some(found);
                    return;
                }
                Step::Row(key, value) => look(self, &key, Ok(value.unwrap_or_default())),
                Step::Unreadable(key, error) => look(self, &key, Err(error)),
                Step::Hole(hole, error) => {
                    self.find(format!("{}: {}: {error}", course.step, hole.describe()), None);
                    course.holes.push(hole);
                }
            }
            course.rows += 1;
            self.step(course.step, course.rows);
        }
    }

    /// Tells what was set aside when the store was opened, now or at another time. Rows may be lost with it that nobody knows of.
    fn set_aside(&mut self) {
        match damage::set_aside(&self.core.directory) {
            Ok(files) => files.iter().for_each(|file| {
                self.gaps.references = true;
                self.find(damage::kept(file), None);
            }),
            Err(error) => {
                self.gaps.references = true;
                self.find(format!("{}: {error}", self.core.directory.display()), None);
            }
        }
    }

    /// The user and the name of the mailbox with these rows.
    fn owner(&self, rows: u64) -> Option<String> {
        self.mailboxes.get(&rows).map(|(key, _)| shown(key))
    }

    /// The rows that only have a checksum. Those that can be found out anew go if they are wrong.
    fn sums(&mut self) -> Result<()> {
        let database = &self.core.database;
        let summaries = &database.summaries;
        self.walk(summaries, "summaries", |check, key, value| {
            if row::open(key, value).is_none() && !summary::is_sealed(key, value) {
                let remove = Repair::Remove(summaries.clone(), key.to_vec());
                check.find("summaries: a row with a wrong checksum".into(), Some(remove));
            }
        })?;
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
                    check.find(format!("{step}: the row {:?} has a wrong checksum", shown(key)), None);
                }
            })?;
        }
        // These have none, but the blocks that they are in do.
        self.walk(&database.subscriptions, "subscriptions", |_, _, _| {})?;
        self.walk(&database.details, "details", |check, key, value| {
            let bare = matches!(key.first(), Some(&(detail::SHARED | detail::EXPUNGED_AT | detail::WARNING)));
            let opened = if bare { None } else { row::open(key, value) };
            if !bare && opened.is_none() {
                check.find(format!("details: the row {:?} has a wrong checksum", shown(key)), None);
            }
            check.note(key, opened);
        })?;
        Ok(())
    }

    /// Threads: whether anybody has them, which mailboxes tell.
    fn threads(&mut self) -> Result<()> {
        let threads = &self.core.database.threads;
        let users = self.usage.keys().chain(&self.gaps.users);
        let mut owners: HashSet<u64> = users.map(|user| threads::owner(user)).collect();
        // Those that wait to be taken away.
        owners.extend(self.discarded_rows()?);
        let (mut nobody, mut count) = (BTreeSet::new(), 0_u64);
        self.walk(threads, "threads", |check, key, value| {
            let owner = Fields(key).u64().unwrap_or(0);
            if threads::decode(key, value).is_none() {
                let remove = Repair::Remove(threads.clone(), key.to_vec());
                check.find("threads: a row with a wrong checksum".into(), Some(remove));
            } else if key.len() != threads::KEY || !owners.contains(&owner) {
                count += 1;
                nobody.insert(owner);
            }
        })?;
        if !self.gaps.mailboxes && count > 0 {
            let what = format!("threads: {count} rows of users who are not there");
            self.find(what, Some(Repair::Threads(nobody)));
        }
        Ok(())
    }

    /// What users have, and are said to have.
    fn users(&mut self) -> Result<()> {
        let mut recorded: HashMap<Bytes, Option<QuotaUsage>> = HashMap::new();
        let holes = self.walk(&self.core.database.users, "users", |_, key, value| {
            let usage = Account::decode(key, value).map(|account| account.usage);
            recorded.insert(Bytes::copy_from_slice(key), usage);
        })?;
        if self.gaps.mailboxes || !holes.is_empty() {
            return Ok(());
        }
        let seen = self.usage.iter().filter(|(user, _)| !self.gaps.users.contains(*user));
        let users: Vec<_> = seen.map(|(user, usage)| (user.clone(), *usage)).collect();
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
