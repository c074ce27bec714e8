//! A mailbox as one client has been told of it.

use std::collections::BTreeMap;

use crate::wire::{Item, Response};

#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    /// Unknown until the server says it.
    pub(crate) uid: Option<u64>,
    pub(crate) flags: Option<Vec<String>>,
    pub(crate) mod_seq: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) name: String,
    pub(crate) validity: u64,
    pub(crate) read_only: bool,
    pub(crate) entries: Vec<Entry>,
    /// From where it would ask if it came back (RFC 7162 §6).
    pub(crate) mod_seq: u64,
    told: u64,
    said: Option<u64>,
}

/// What a FETCH response said.
#[derive(Clone, Debug, Default)]
pub(crate) struct News {
    pub(crate) uid: Option<u64>,
    pub(crate) flags: Option<Vec<String>>,
    pub(crate) size: Option<u64>,
    pub(crate) subject: Option<String>,
    pub(crate) whole: Option<Vec<u8>>,
}

impl View {
    pub(crate) fn new(name: &str, read_only: bool) -> Self {
        Self { name: name.to_owned(), read_only, ..Self::default() }
    }

    pub(crate) fn mailbox(&self) -> (String, u64) {
        (self.name.clone(), self.validity)
    }

    pub(crate) fn uids(&self) -> Vec<u64> {
        self.entries.iter().filter_map(|entry| entry.uid).collect()
    }

    /// Whether UIDs and flags of all messages are known.
    pub(crate) fn is_complete(&self) -> bool {
        self.entries.iter().all(|entry| entry.uid.is_some() && entry.flags.is_some())
    }

    /// Believes an untagged response, if that can be.
    pub(crate) fn believe(
        &mut self,
        response: &Response,
        items: &[Item],
        may_expunge: bool,
        qresync: bool,
    ) -> Result<Option<News>, String> {
        match (items.get(1).map(Item::word), items.get(2).map(Item::word)) {
            (Some(number), Some("EXISTS")) => {
                let count: usize = number.parse().map_err(|_| "no number")?;
                if count < self.entries.len() {
                    return Err(format!("EXISTS fell from {} to {count}", self.entries.len()));
                }
                self.entries.resize_with(count, Entry::default);
            }
            (Some(number), Some("EXPUNGE")) => {
                let at: usize = number.parse().map_err(|_| "no number")?;
                if !may_expunge || qresync {
                    return Err("EXPUNGE is not allowed here".into());
                }
                if at == 0 || at > self.entries.len() {
                    return Err(format!("EXPUNGE of {at} where {} are", self.entries.len()));
                }
                self.entries.remove(at - 1);
            }
            (Some("VANISHED"), Some(set)) if !set.is_empty() => {
                if !may_expunge || !qresync {
                    return Err("VANISHED is not allowed here".into());
                }
                for uid in numbers(set) {
                    self.vanish(uid)?;
                }
            }
            (Some(number), Some("FETCH")) => {
                let at: usize = number.parse().map_err(|_| "no number")?;
                return self.fetched(at, items.get(3).map_or(&[], Item::list)).map(Some);
            }
            (Some("OK"), _) => self.hear(response),
            _ => {}
        }
        Ok(None)
    }

    fn vanish(&mut self, uid: u64) -> Result<(), String> {
        let known = self.entries.iter().position(|entry| entry.uid == Some(uid));
        // One whose UID was not asked for yet: where it must be, one is as good as another.
        let place = known.or_else(|| {
            let above = self.entries.iter().position(|entry| entry.uid.is_some_and(|other| other > uid));
            let end = above.unwrap_or(self.entries.len());
            let last = self.entries[..end].last()?;
            last.uid.is_none().then(|| end - 1)
        });
        let place = place.ok_or_else(|| format!("VANISHED {uid}, of which nobody has been told"))?;
        self.entries.remove(place);
        if known.is_none() {
            // What was told of it by number may have been told of its neighbour.
            for entry in self.entries.iter_mut().filter(|entry| entry.uid.is_none()) {
                *entry = Entry::default();
            }
        }
        Ok(())
    }

    fn fetched(&mut self, at: usize, items: &[Item]) -> Result<News, String> {
        if at == 0 || at > self.entries.len() {
            return Err(format!("FETCH of {at} where {} are", self.entries.len()));
        }
        let mut news = News::default();
        for pair in items.chunks(2) {
            let [name, value] = pair else { return Err("an item without a value".into()) };
            match name.word() {
                "UID" => news.uid = value.number(),
                "FLAGS" => {
                    let flags = value.list().iter().map(|flag| flag.word().to_owned());
                    let mut flags: Vec<String> = flags.filter(|flag| flag != "\\Recent").collect();
                    flags.sort();
                    news.flags = Some(flags);
                }
                "MODSEQ" => {
                    let mod_seq = value.list().first().and_then(Item::number).ok_or("MODSEQ of nothing")?;
                    let entry = &mut self.entries[at - 1];
                    if mod_seq < entry.mod_seq {
                        return Err(format!("MODSEQ fell from {} to {mod_seq}", entry.mod_seq));
                    }
                    entry.mod_seq = mod_seq;
                    self.told = self.told.max(mod_seq);
                }
                "RFC822.SIZE" => news.size = value.number(),
                "BODY[]" => {
                    if let Item::Text(text) = value {
                        news.whole = Some(text.clone());
                    }
                }
                name if name.starts_with("BODY[HEADER") => {
                    if let Item::Text(text) = value {
                        news.subject = Some(String::from_utf8_lossy(text).trim().to_owned());
                    }
                }
                _ => {}
            }
        }
        if let Some(uid) = news.uid {
            self.learn(at, uid)?;
        }
        news.uid = self.entries[at - 1].uid;
        if let Some(flags) = &news.flags {
            self.entries[at - 1].flags = Some(flags.clone());
        }
        Ok(news)
    }

    /// The UID of a number: never another one, and in the order of the numbers.
    pub(crate) fn learn(&mut self, at: usize, uid: u64) -> Result<(), String> {
        let (before, rest) = self.entries.split_at_mut(at - 1);
        let (entry, behind) = rest.split_first_mut().ok_or("no such number")?;
        if entry.uid.is_some_and(|known| known != uid) {
            return Err(format!("number {at} was UID {:?} and is {uid}", entry.uid));
        }
        entry.uid = Some(uid);
        let below = before.iter().rev().find_map(|entry| entry.uid);
        let above = behind.iter().find_map(|entry| entry.uid);
        if below.is_some_and(|below| below >= uid) || above.is_some_and(|above| above <= uid) {
            return Err(format!("UID {uid} of number {at} stands between {below:?} and {above:?}"));
        }
        Ok(())
    }

    fn hear(&mut self, response: &Response) {
        let code = response.code().unwrap_or_default();
        if let Some(mod_seq) = code.strip_prefix("HIGHESTMODSEQ ").and_then(|number| number.parse().ok()) {
            self.said = Some(mod_seq);
        }
    }

    /// A command has ended.
    pub(crate) fn ended(&mut self, response: &Response) {
        self.hear(response);
        let told = std::mem::take(&mut self.told);
        self.mod_seq = self.said.take().unwrap_or_else(|| self.mod_seq.max(told));
    }

    /// Flags by UID, as far as they are known.
    pub(crate) fn flags(&self) -> BTreeMap<u64, Vec<String>> {
        self.entries.iter().filter_map(|entry| Some((entry.uid?, entry.flags.clone()?))).collect()
    }
}

/// The numbers of a set like `3:5,9`.
pub(crate) fn numbers(set: &str) -> Vec<u64> {
    let mut all = Vec::new();
    for part in set.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once(':').unwrap_or((part, part));
        let (first, last): (u64, u64) = (first.parse().unwrap_or(0), last.parse().unwrap_or(0));
        all.extend(first.min(last)..=first.max(last));
    }
    all
}
