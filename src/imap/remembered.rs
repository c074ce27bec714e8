//! Header fields that were looked at lately: who searches or sorts a mailbox soon does so again, with a letter more or less.

mod page;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use mailwright_mail_model::query::{Key, Node, Query};
use mailwright_mailstore::{MessageRef, Result, Store, accounts::Accounts};
use tokio::time::{Instant, sleep};

use self::page::{Page, number};
use super::{Visit, headers::headers, identity::MailboxKey, selected::Selected};

/// For how long fields are remembered that nobody looks at.
const KEPT_FOR: Duration = Duration::from_secs(120);
/// Of headers with more octets nothing is remembered.
const HEADER: usize = 16 * 1024;
/// Where more fields are looked at, none is remembered.
const NAMES: usize = 8;

/// The fields that a service remembers.
#[derive(Debug, Clone)]
pub(super) struct Remembered(Arc<Mutex<Memory>>);

/// Whose look at which mailbox, by the name of the user: what one has seen is shown to no other, who may not be able to read it.
type Place = (Box<str>, MailboxKey);

#[derive(Debug, Default)]
struct Memory {
    /// By whose they are, and the name of the field.
    columns: HashMap<(Arc<Place>, Arc<str>), Column>,
    /// How many octets all of it takes, and may take.
    octets: usize,
    most: usize,
    /// Whether somebody sees to it that it is forgotten.
    swept: bool,
}

/// One field of the messages of a mailbox.
#[derive(Debug)]
struct Column {
    used: Instant,
    octets: usize,
    /// By their numbers.
    pages: BTreeMap<u32, Arc<Page>>,
}

impl Remembered {
    /// So many octets of them.
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Mutex::new(Memory { most, ..Memory::default() })))
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fields of a mailbox that somebody is going to look at.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    remembered: Remembered,
    place: Arc<Place>,
    /// In lower case.
    names: Arc<[Arc<str>]>,
    remembers: bool,
}

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    /// Fields of these names, of the messages of an open mailbox.
    pub(super) fn wanted<'a>(&self, selected: &Selected, names: impl IntoIterator<Item = &'a str>) -> Wanted {
        let mut names: Vec<Arc<str>> =
            names.into_iter().map(|name| name.to_ascii_lowercase().into()).collect();
        names.sort_unstable();
        names.dedup();
        let user = self.user.as_ref().unwrap_or_else(|| selected.mailbox.user());
        // What only a key opens is not kept beyond the session that has it: another one of the same name may have none.
        let remembers = names.len() <= NAMES && !user.has_key() && self.service.options.remembered_octets > 0;
        let key = MailboxKey::new(&selected.mailbox, &selected.snapshot);
        Wanted {
            remembered: self.service.remembered.clone(),
            place: Arc::new((user.as_str().into(), key)),
            names: names.into(),
            remembers,
        }
    }
}

/// The fields that a query looks at. As deep as the query is, which is bounded.
pub(super) fn fields_of(query: &Query) -> Vec<&str> {
    match query.node() {
        Node::Key(Key::Header { name, .. }) => vec![name],
        Node::Key(Key::SentBefore(_) | Key::SentOn(_) | Key::SentSince(_)) => vec!["Date"],
        Node::Not(query) | Node::Fuzzy(query) => fields_of(query),
        Node::And(queries) | Node::Or(queries) => queries.iter().flat_map(fields_of).collect(),
        _ => Vec::new(),
    }
}

impl Wanted {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// What is known of the headers of messages that stand in the order of their UIDs: these fields at least, those of one name in their
    /// order. Nothing of one that cannot be read any more.
    pub(super) async fn of(&self, store: &impl Store, messages: &[MessageRef]) -> Result<Vec<Option<Bytes>>> {
        if !self.remembers {
            return headers(store, messages).await;
        }
        let mut known = self.look(messages);
        let is_missing = |known: &Option<Bytes>| known.is_none();
        if !known.iter().any(is_missing) {
            return Ok(known);
        }
        let both = messages.iter().zip(&known).filter(|(_, known)| is_missing(known));
        let missing: Vec<MessageRef> = both.map(|(message, _)| message.clone()).collect();
        let read = headers(store, &missing).await?;
        self.note(&missing, &read);
        let mut read = read.into_iter();
        for known in known.iter_mut().filter(|known| is_missing(known)) {
            *known = read.next().flatten();
        }
        Ok(known)
    }

    /// What is remembered of messages.
    fn look(&self, messages: &[MessageRef]) -> Vec<Option<Bytes>> {
        let ends = messages.first().zip(messages.last());
        let Some((first, last)) = ends.map(|(first, last)| (number(first.uid), number(last.uid))) else {
            return Vec::new();
        };
        let mut columns: Vec<Vec<(u32, Arc<Page>)>> = Vec::with_capacity(self.names.len());
        let mut memory = self.remembered.memory();
        for name in &*self.names {
            let Some(column) = memory.columns.get_mut(&self.key(name)) else { break };
            column.used = Instant::now();
            let pages = column.pages.range(first..=last);
            columns.push(pages.map(|(number, page)| (*number, Arc::clone(page))).collect());
        }
        drop(memory);
        if columns.len() < self.names.len() {
            return vec![None; messages.len()];
        }
        let mut columns: Vec<_> = columns.into_iter().map(|pages| pages.into_iter().peekable()).collect();
        let of = |message: &MessageRef| {
            let wanted = number(message.uid);
            let fields = columns.iter_mut().map(|pages| {
                while pages.next_if(|(number, _)| *number < wanted).is_some() {}
                pages.peek().filter(|(number, _)| *number == wanted)?.1.field(message.uid)
            });
            let fields: Option<Vec<Bytes>> = fields.collect();
            fields.map(joined)
        };
        messages.iter().map(of).collect()
    }

    /// Remembers what was read of messages.
    fn note(&self, messages: &[MessageRef], headers: &[Option<Bytes>]) {
        let both = messages.iter().zip(headers).filter_map(|(message, header)| {
            let header = header.as_ref().filter(|header| header.len() <= HEADER)?;
            Some((message.uid, header))
        });
        let both: Vec<_> = both.collect();
        for same in both.chunk_by(|(one, _), (other, _)| number(*one) == number(*other)) {
            let Some((first, _)) = same.first() else { continue };
            for name in &*self.names {
                let page = Page::of(name, same.iter().map(|(uid, header)| (*uid, header.as_ref())));
                if !self.keep(name, number(*first), &page) {
                    return;
                }
            }
        }
    }

    /// Adds to what is kept of a field; whether there was room.
    fn keep(&self, name: &Arc<str>, number: u32, page: &Page) -> bool {
        let mut memory = self.remembered.memory();
        let (memory, key) = (&mut *memory, self.key(name));
        let before = memory.columns.get(&key).and_then(|column| column.pages.get(&number));
        let freed = before.map_or(0, |before| before.octets());
        let page = before.map_or_else(|| page.clone(), |before| before.with(page));
        while (memory.octets + page.octets()).saturating_sub(freed) > memory.most {
            if !memory.forget_oldest(|(place, name)| *place == self.place && self.names.contains(name)) {
                return false;
            }
        }
        let now = Instant::now();
        let column = memory.columns.entry(key);
        let column = column.or_insert_with(|| Column { used: now, octets: 0, pages: BTreeMap::new() });
        for octets in [&mut memory.octets, &mut column.octets] {
            *octets = (*octets + page.octets()).saturating_sub(freed);
        }
        column.used = now;
        column.pages.insert(number, Arc::new(page));
        if !std::mem::replace(&mut memory.swept, true) {
            tokio::spawn(sweep(Arc::downgrade(&self.remembered.0)));
        }
        true
    }

    fn key(&self, name: &Arc<str>) -> (Arc<Place>, Arc<str>) {
        (Arc::clone(&self.place), Arc::clone(name))
    }
}

/// Fields, one behind the other.
fn joined(mut fields: Vec<Bytes>) -> Bytes {
    match fields.len() {
        1 => fields.pop().unwrap_or_default(),
        _ => fields.concat().into(),
    }
}

impl Memory {
    /// Makes room: forgets the field that was not looked at for longest, but for those that are looked at now; whether there was one.
    fn forget_oldest(&mut self, is_looked_at: impl Fn(&(Arc<Place>, Arc<str>)) -> bool) -> bool {
        let others = self.columns.iter().filter(|(key, _)| !is_looked_at(key));
        let oldest = others.min_by_key(|(_, column)| column.used).map(|(key, _)| key.clone());
        let forgotten = oldest.and_then(|oldest| self.columns.remove(&oldest));
        self.octets = self.octets.saturating_sub(forgotten.as_ref().map_or(0, |column| column.octets));
        forgotten.is_some()
    }

    /// Forgets what nobody has looked at for long.
    fn forget(&mut self, now: Instant) {
        self.columns.retain(|_, column| column.used + KEPT_FOR > now);
        self.octets = self.columns.values().map(|column| column.octets).sum();
    }
}

/// Forgets from time to time, until nothing is left.
async fn sweep(memory: Weak<Mutex<Memory>>) {
    loop {
        sleep(KEPT_FOR / 2).await;
        let Some(memory) = memory.upgrade() else { return };
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.forget(Instant::now());
        memory.swept = !memory.columns.is_empty();
        if !memory.swept {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
