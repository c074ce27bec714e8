//! Whose turn it is: a machine without I/O. Times are milliseconds since a moment of the caller's choice.
//!
//! What holds here:
//!
//! * Every destination has a window of attempts at once, which grows with success and shrinks with failure, as
//!   that of Postfix's queue manager does. One that cannot be reached is left alone for a while, and what waits for it is
//!   handed back at once: it takes no room from others.
//! * The urgent goes first (RFC 6710), and there is always some room for it. Among what is equally urgent, senders take turns, and
//!   so do the destinations of one sender.
//! * What it holds is bounded: the rest waits in the store.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    time::Duration,
};

use mailwright_mailstore::{Due, QueueNumber, Scheduled};

/// What the queue may do at once.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Concurrency {
    /// Attempts at once in all.
    pub total: usize,
    /// Attempts at once to one destination.
    pub per_destination: usize,
    /// With how many a destination begins that nothing is known of.
    pub initial: usize,
    /// After how many failures of a whole window a destination counts as dead.
    pub failed_cohorts: f64,
    /// How long a destination that was found dead is left alone the first time. Doubled each time.
    pub dead_for: Duration,
    /// The longest it is left alone.
    pub dead_for_longest: Duration,
    /// Time between the starts of two attempts to one destination, for those that want it so.
    pub pace: HashMap<String, Duration>,
    /// Entries that are held in memory to choose from.
    pub waiting: usize,
    /// Of these, for one destination.
    pub waiting_per_destination: usize,
}

impl Default for Concurrency {
    /// 100 in all; for a destination 5 to begin with and 20 at most, and after a window of failures one minute of rest, up
    /// to half an hour. 10,000 entries are chosen from.
    fn default() -> Self {
        Self {
            total: 100,
            per_destination: 20,
            initial: 5,
            failed_cohorts: 1.0,
            dead_for: Duration::from_secs(60),
            dead_for_longest: Duration::from_secs(1_800),
            pace: HashMap::new(),
            waiting: 10_000,
            waiting_per_destination: 500,
        }
    }
}

/// What became of an entry that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// It waits for its turn.
    Taken,
    /// It was there already.
    Known,
    /// There is no room for more of its destination, or of its sender, now.
    LaneFull,
    /// There is no room now.
    Full,
    /// Its destination cannot be reached at present.
    Dead,
}

/// How an attempt ended, as far as it tells something of its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contact {
    /// There was somebody.
    Reached,
    /// There was nobody, or somebody who takes nothing at all now.
    Failed,
    /// It never came to that.
    Unknown,
}

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct Scheduler {
    limits: Concurrency,
    sites: HashMap<String, Site>,
    senders: HashMap<(Reverse<i8>, String), Sender>,
    /// The senders of what waits by its priority, whose turn it is first in front.
    turns: BTreeMap<Reverse<i8>, VecDeque<String>>,
    /// Senders and destinations of which entries were sent away for want of room, each with the first of these.
    starved: HashMap<Lane, Due>,
    /// Those of them that have room again, and were not given enough yet.
    hungry: HashSet<Lane>,
    /// All that waits or is under way.
    known: HashSet<QueueNumber>,
    waiting: usize,
    active: usize,
    /// Those of `active` that go to destinations that failed last time.
    doubtful: usize,
}

/// What has room of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Lane {
    Destination(String),
    Sender(Reverse<i8>, String),
}

/// A destination.
#[derive(Debug)]
struct Site {
    window: f64,
    active: usize,
    waiting: usize,
    /// Failures since the last success, in parts of a window.
    cohorts: f64,
    /// How often it was found dead since the last success.
    deaths: u32,
    dead_until: Option<u64>,
    next_start: u64,
}

/// What waits of one sender: destinations in the order of their turns, and the entries for each.
#[derive(Debug, Default)]
struct Sender {
    turns: VecDeque<String>,
    entries: HashMap<String, VecDeque<Scheduled>>,
    /// All of them together.
    waiting: usize,
}

impl Scheduler {
    pub(crate) fn new(limits: Concurrency) -> Self {
        Self {
            limits,
            sites: HashMap::new(),
            senders: HashMap::new(),
            turns: BTreeMap::new(),
            starved: HashMap::new(),
            hungry: HashSet::new(),
            known: HashSet::new(),
            waiting: 0,
            active: 0,
            doubtful: 0,
        }
    }

    /// Sets what may be done at once from now on.
    pub(crate) fn limit(&mut self, limits: Concurrency) {
        self.limits = limits;
    }

    /// An entry that is due.
    pub(crate) fn offer(&mut self, entry: Scheduled, now: u64) -> Offer {
        if self.known.contains(&entry.due.number) {
            return Offer::Known;
        }
        // A tenth more is for what is urgent.
        let room = |limit: usize| if entry.priority > 0 { limit + limit.div_ceil(10) } else { limit };
        if self.waiting >= room(self.limits.waiting) {
            return Offer::Full;
        }
        // What is refused here leaves no trace but the place to begin at when there is room again.
        let site = self.sites.get(&entry.destination);
        if site.and_then(|site| site.dead_until).is_some_and(|until| now < until) {
            return Offer::Dead;
        }
        // However much one sender has, it takes no more than half of the room.
        let lane = (Reverse(entry.priority), entry.sender.clone());
        let own = self.senders.get(&lane);
        let here = own.and_then(|own| own.entries.get(&entry.destination)).map_or(0, VecDeque::len);
        if own.map_or(0, |own| own.waiting) >= self.limits.waiting.div_ceil(2) {
            return self.send_away(Lane::Sender(lane.0, lane.1), entry.due);
        }
        if site.map_or(0, |site| site.waiting) >= room(self.limits.waiting_per_destination)
            || here >= self.limits.waiting_per_destination.div_ceil(2)
        {
            return self.send_away(Lane::Destination(entry.destination), entry.due);
        }
        let initial = self.limits.initial.clamp(1, self.limits.per_destination.max(1));
        let site = self.sites.entry(entry.destination.clone()).or_insert_with(|| Site::new(initial));
        site.waiting += 1;
        self.waiting += 1;
        self.known.insert(entry.due.number);
        let sender = self.senders.entry(lane).or_default();
        sender.waiting += 1;
        if sender.turns.is_empty() {
            self.turns.entry(Reverse(entry.priority)).or_default().push_back(entry.sender.clone());
        }
        let entries = sender.entries.entry(entry.destination.clone()).or_default();
        if entries.is_empty() {
            sender.turns.push_back(entry.destination.clone());
        }
        entries.push_back(entry);
        Offer::Taken
    }

    fn send_away(&mut self, lane: Lane, due: Due) -> Offer {
        self.hungry.remove(&lane);
        self.starved.entry(lane).and_modify(|first| *first = due.min(*first)).or_insert(due);
        Offer::LaneFull
    }

    /// The entry whose turn it is, if there is room for one more attempt.
    pub(crate) fn next(&mut self, now: u64) -> Option<Scheduled> {
        if self.active >= self.limits.total {
            return None;
        }
        let bands: Vec<Reverse<i8>> = self.turns.keys().copied().collect();
        let entry = bands.into_iter().find_map(|band| self.next_of(band, now))?;
        self.started(&entry, now);
        Some(entry)
    }

    /// The entry whose turn it is among those of one priority.
    fn next_of(&mut self, band: Reverse<i8>, now: u64) -> Option<Scheduled> {
        for _ in 0..self.turns.get(&band)?.len() {
            let turns = self.turns.get_mut(&band)?;
            let name = turns.pop_front()?;
            let lane = (band, name);
            let Some(sender) = self.senders.get_mut(&lane) else { continue };
            let mut found = None;
            for _ in 0..sender.turns.len() {
                let Some(destination) = sender.turns.pop_front() else { break };
                let may = self.sites.get(&destination).is_some_and(|site| {
                    // Whoever failed last may hang again: they share a quarter of what there is.
                    let doubted = site.deaths > 0 && self.doubtful >= (self.limits.total / 4).max(1);
                    site.active < site.room() && now >= site.next_start && !doubted
                });
                let entries = sender.entries.get_mut(&destination);
                if may {
                    found = entries.and_then(VecDeque::pop_front);
                }
                if sender.entries.get(&destination).is_some_and(|entries| !entries.is_empty()) {
                    sender.turns.push_back(destination);
                } else {
                    sender.entries.remove(&destination);
                }
                if found.is_some() {
                    sender.waiting -= 1;
                    break;
                }
            }
            if sender.turns.is_empty() {
                self.senders.remove(&lane);
            } else {
                turns.push_back(lane.1);
            }
            if turns.is_empty() {
                self.turns.remove(&band);
            }
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn started(&mut self, entry: &Scheduled, now: u64) {
        self.waiting -= 1;
        self.active += 1;
        if let Some(site) = self.sites.get_mut(&entry.destination) {
            site.waiting -= 1;
            site.active += 1;
            self.doubtful += usize::from(site.deaths > 0);
            if let Some(pace) = self.limits.pace.get(&entry.destination) {
                site.next_start = now.saturating_add(milliseconds(*pace));
            }
        }
    }

    /// An attempt has ended. Gives back what waits for the same destination if that turned out to be dead.
    pub(crate) fn finished(&mut self, entry: &Scheduled, contact: Contact, now: u64) -> Vec<Scheduled> {
        self.known.remove(&entry.due.number);
        self.active -= 1;
        let Some(site) = self.sites.get_mut(&entry.destination) else { return Vec::new() };
        site.active -= 1;
        if site.deaths > 0 {
            self.doubtful = self.doubtful.saturating_sub(1);
        }
        match contact {
            Contact::Reached => {
                if site.deaths > 0 {
                    self.doubtful = self.doubtful.saturating_sub(site.active);
                }
                (site.cohorts, site.deaths, site.dead_until) = (0.0, 0, None);
                let most = count(self.limits.per_destination.max(1));
                site.window = (site.window + 1.0).min(most);
            }
            Contact::Failed => {
                site.cohorts += 1.0 / site.window;
                site.window = (site.window - 1.0).max(1.0);
                // Several attempts that were under way together are one death.
                let dead = site.dead_until.is_some_and(|until| now < until);
                if !dead && (site.cohorts >= self.limits.failed_cohorts || site.deaths > 0) {
                    if site.deaths == 0 {
                        self.doubtful += site.active;
                    }
                    let doubled = 1_u32.checked_shl(site.deaths).unwrap_or(u32::MAX);
                    let rest = self.limits.dead_for.saturating_mul(doubled).min(self.limits.dead_for_longest);
                    site.deaths += 1;
                    (site.cohorts, site.window) = (0.0, 1.0);
                    site.dead_until = Some(now.saturating_add(milliseconds(rest)));
                    self.starved.remove(&Lane::Destination(entry.destination.clone()));
                    return self.drain(&entry.destination);
                }
            }
            Contact::Unknown => {}
        }
        Vec::new()
    }

    /// Takes out all that waits for a destination.
    fn drain(&mut self, destination: &str) -> Vec<Scheduled> {
        let mut drained = Vec::new();
        for sender in self.senders.values_mut() {
            if let Some(entries) = sender.entries.remove(destination) {
                sender.waiting -= entries.len();
                drained.extend(entries);
                sender.turns.retain(|other| other != destination);
            }
        }
        let senders = &mut self.senders;
        senders.retain(|_, sender| !sender.turns.is_empty());
        self.turns.retain(|band, turns| {
            turns.retain(|name| senders.contains_key(&(*band, name.clone())));
            !turns.is_empty()
        });
        for entry in &drained {
            self.known.remove(&entry.due.number);
        }
        self.waiting -= drained.len();
        if let Some(site) = self.sites.get_mut(destination) {
            site.waiting -= drained.len();
        }
        drained
    }

    /// The first entry of those that were sent away and have room again. Told once; it is for the caller to offer that one and what is
    /// due behind it, until nobody [is hungry](Self::is_hungry) any more: so each entry is read a few times, however many there are.
    pub(crate) fn take_starved(&mut self) -> Option<Due> {
        if self.starved.is_empty() {
            return None;
        }
        let Self { starved, hungry, sites, senders, limits, .. } = self;
        let ready = starved.extract_if(|lane, _| match lane {
            Lane::Destination(name) => {
                sites.get(name).is_none_or(|site| site.waiting <= limits.waiting_per_destination / 4)
            }
            Lane::Sender(band, name) => {
                let own = senders.get(&(*band, name.clone()));
                own.is_none_or(|own| own.waiting <= limits.waiting / 4)
            }
        });
        let mut first: Option<Due> = None;
        for (lane, due) in ready {
            first = Some(first.map_or(due, |first| first.min(due)));
            hungry.insert(lane);
        }
        first
    }

    /// Whether somebody whom [`take_starved`](Self::take_starved) told of has room still.
    pub(crate) fn is_hungry(&self) -> bool {
        !self.hungry.is_empty()
    }

    /// All that is due was offered.
    pub(crate) fn sated(&mut self) {
        self.hungry.clear();
    }

    /// When a destination that is to be treated gently may be tried next, if something waits for that.
    pub(crate) fn wake_at(&self, now: u64) -> Option<u64> {
        if self.limits.pace.is_empty() {
            return None;
        }
        let paced = self.sites.values().filter(|site| site.waiting > 0 && site.next_start > now);
        paced.map(|site| site.next_start).min()
    }

    /// Forgets that destinations were dead: somebody wants them tried.
    pub(crate) fn revive(&mut self) {
        self.sites.values_mut().for_each(|site| site.dead_until = None);
    }

    /// Forgets destinations that there is nothing to know of.
    pub(crate) fn tidy(&mut self, now: u64) {
        let rested = milliseconds(self.limits.dead_for_longest);
        self.sites.retain(|_, site| {
            let lately = site.dead_until.is_some_and(|until| now < until.saturating_add(rested));
            site.active > 0 || site.waiting > 0 || lately || site.next_start > now
        });
    }

    /// Whether something is known of a destination.
    pub(crate) fn knows(&self, destination: &str) -> bool {
        self.sites.contains_key(destination)
    }

    pub(crate) fn active(&self) -> usize {
        self.active
    }

    /// Whether there is any room, for one that is not urgent.
    pub(crate) fn takes_more(&self) -> bool {
        self.waiting < self.limits.waiting
    }

    /// Whether entries that are not here yet have room.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting < self.limits.waiting / 2
    }
}

impl Site {
    fn new(initial: usize) -> Self {
        Self {
            window: count(initial),
            active: 0,
            waiting: 0,
            cohorts: 0.0,
            deaths: 0,
            dead_until: None,
            next_start: 0,
        }
    }

    /// How many attempts there may be at once.
    fn room(&self) -> usize {
        // One that was dead is tried by one first.
        if self.deaths > 0 { 1 } else { whole(self.window).max(1) }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Windows are small numbers.
fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "windows are small and positive")]
fn whole(window: f64) -> usize {
    window as usize
}

#[cfg(test)]
#[path = "scheduler/tests.rs"]
mod tests;
