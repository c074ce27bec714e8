//! Gathering messages to threads as THREAD does (RFC 5256).

mod links;

use std::collections::HashMap;

use self::links::Links;
use crate::header::{self, Fields};
use crate::sort::{base_subject, folded};
use crate::{DateTime, Uid, message_id, word};

/// How messages are found to belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ThreadAlgorithm {
    /// By subject: the first message, and all others under it.
    OrderedSubject,
    /// By what messages say they answer, and what is left by subject.
    References,
    /// By what messages say they answer alone; the thread with the newest message is the last.
    Refs,
}

impl ThreadAlgorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::OrderedSubject, Self::References, Self::Refs];

    /// Its name in capabilities and commands.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OrderedSubject => "ORDEREDSUBJECT",
            Self::References => "REFERENCES",
            Self::Refs => "REFS",
        }
    }
}

/// A place in a tree of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing else to a place in a tree")]
pub struct ThreadNode {
    /// How many are above it.
    pub depth: u32,
    /// The message; `None` where one is missing that others answer.
    pub message: Option<Uid>,
}

/// Threads: each place right behind the one it hangs from or a sibling with all that hangs from that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Threads {
    nodes: Vec<ThreadNode>,
}

impl Threads {
    /// The places in this order. Depths that leave out a level are made less.
    pub fn new(mut nodes: Vec<ThreadNode>) -> Self {
        let mut next = 0;
        for node in &mut nodes {
            node.depth = node.depth.min(next);
            next = node.depth.saturating_add(1);
        }
        Self { nodes }
    }

    /// All places.
    pub fn nodes(&self) -> &[ThreadNode] {
        &self.nodes
    }
}

/// Takes messages in the order of their mailbox and gives the threads they make.
///
/// Time is n log n in the messages and linear in what they refer to, whatever they say; memory is what they refer to.
///
/// ```
/// use mailwright_mail_model::thread::{ThreadAlgorithm, Threader};
/// use mailwright_mail_model::{DateTime, Uid};
///
/// let mut threader = Threader::new(ThreadAlgorithm::References);
/// for (uid, header) in [(1, "Message-ID: <a@x>\r\n"), (2, "Message-ID: <b@x>\r\nReferences: <a@x>\r\n")] {
///     threader.add(Uid::new(uid).ok_or("zero")?, DateTime::EPOCH, header.as_bytes());
/// }
/// let threads = threader.finish();
/// assert_eq!(threads.nodes().iter().map(|node| node.depth).collect::<Vec<_>>(), [0, 1]);
/// # Ok::<(), &str>(())
/// ```
#[derive(Debug)]
pub struct Threader {
    algorithm: ThreadAlgorithm,
    messages: Vec<Message>,
    links: Links,
}

#[derive(Debug)]
struct Message {
    uid: Uid,
    /// Seconds since 1970: when it was sent, or came.
    date: i64,
    /// As it is compared.
    subject: Box<str>,
    /// Whether the subject is that of a reply or forward.
    is_reply: bool,
}

impl Message {
    /// What order depends on (RFC 5256 §2.2).
    fn key(&self) -> (i64, Uid) {
        (self.date, self.uid)
    }
}

/// The fields of a header that threads depend on.
pub const FIELDS: [&str; 5] = ["Date", "In-Reply-To", "Message-ID", "References", "Subject"];

impl Threader {
    /// Gathers in this way.
    pub fn new(algorithm: ThreadAlgorithm) -> Self {
        Self { algorithm, messages: Vec::new(), links: Links::default() }
    }

    /// Takes a message with its header, of which [`FIELDS`] are looked at.
    pub fn add(&mut self, uid: Uid, internal_date: DateTime, header: &[u8]) {
        let is_refs = self.algorithm == ThreadAlgorithm::Refs;
        let sent = header::find(header, "Date").and_then(|date| DateTime::from_rfc5322(date.value()).ok());
        let date = sent.unwrap_or(internal_date).seconds();
        let (mut subject, mut is_reply) = (Box::default(), false);
        if !is_refs && let Some(field) = header::find(header, "Subject") {
            let (base, changed) = base_subject(&word::decode(field.value()));
            (subject, is_reply) = (folded(&base), changed);
        }
        let row = self.messages.len();
        self.messages.push(Message { uid, date, subject, is_reply });
        if self.algorithm != ThreadAlgorithm::OrderedSubject {
            self.refer(row, header);
        }
    }

    /// RFC 5256 §3, REFERENCES, step 1.
    fn refer(&mut self, row: usize, header: &[u8]) {
        let mut id = None;
        let (mut references, mut answers) = (Vec::new(), None);
        for field in Fields::new(header) {
            if field.is("Message-ID") && id.is_none() {
                id = message_id::extract(field.value()).next();
            } else if field.is("References") && references.is_empty() {
                references = message_id::extract(field.value()).collect();
            } else if field.is("In-Reply-To") && answers.is_none() {
                answers = message_id::extract(field.value()).next();
            }
        }
        if references.is_empty() {
            references.extend(answers);
        }
        self.links.add(row, id.as_deref(), &references);
    }

    /// The threads.
    pub fn finish(self) -> Threads {
        match self.algorithm {
            ThreadAlgorithm::OrderedSubject => by_subject(&self.messages),
            algorithm => {
                let forest = self.links.prune();
                Gathered {
                    messages: &self.messages,
                    forest,
                    newest_counts: algorithm == ThreadAlgorithm::Refs,
                }
                .finish(algorithm == ThreadAlgorithm::References)
            }
        }
    }
}

/// RFC 5256 §3, ORDEREDSUBJECT.
fn by_subject(messages: &[Message]) -> Threads {
    let mut sorted: Vec<&Message> = messages.iter().collect();
    sorted.sort_unstable_by_key(|message| (&message.subject, message.key()));
    let mut threads: Vec<&[&Message]> = sorted.chunk_by(|one, other| one.subject == other.subject).collect();
    threads.sort_unstable_by_key(|thread| thread.first().map(|message| message.key()));
    let nodes = threads.into_iter().flat_map(|thread| {
        let place = |(index, message): (usize, &&Message)| ThreadNode {
            depth: u32::from(index > 0),
            message: Some(message.uid),
        };
        thread.iter().enumerate().map(place)
    });
    Threads { nodes: nodes.collect() }
}

/// Trees whose places are messages, by their index, and places without a message at the roots alone.
#[derive(Debug, Default)]
struct Forest {
    places: Vec<Place>,
    roots: Vec<usize>,
}

#[derive(Clone, Debug, Default)]
struct Place {
    message: Option<usize>,
    children: Vec<usize>,
}

struct Gathered<'a> {
    messages: &'a [Message],
    forest: Forest,
    /// Whether a thread is as old as its newest message rather than its first.
    newest_counts: bool,
}

impl Gathered<'_> {
    fn finish(mut self, by_subject: bool) -> Threads {
        if by_subject {
            // Step 4. Below a root without a message all have one.
            let mut roots = std::mem::take(&mut self.forest.roots);
            roots.sort_by_cached_key(|root| self.first(*root).map(Message::key));
            self.forest.roots = roots;
            self.gather();
        }
        self.sort();
        self.nodes()
    }

    fn place(&self, place: usize) -> Option<&Place> {
        self.forest.places.get(place)
    }

    fn message(&self, place: usize) -> Option<&Message> {
        self.messages.get(self.place(place)?.message?)
    }

    /// The message of a place; the first below it where it has none.
    fn first(&self, place: usize) -> Option<&Message> {
        let below = || {
            self.place(place)?
                .children
                .iter()
                .filter_map(|child| self.message(*child))
                .min_by_key(|message| message.key())
        };
        self.message(place).or_else(below)
    }

    /// Step 5: threads of one subject are one.
    fn gather(&mut self) {
        let roots = std::mem::take(&mut self.forest.roots);
        let mut table: HashMap<Box<str>, usize> = HashMap::new();
        for root in &roots {
            let Some(first) = self.first(*root).filter(|first| !first.subject.is_empty()) else { continue };
            let known = table.entry(first.subject.clone()).or_insert(*root);
            // A place without a message is best, then what is no reply.
            if let Some(there) = self.message(*known)
                && self.message(*root).is_none_or(|root| there.is_reply && !root.is_reply)
            {
                *known = *root;
            }
        }
        let mut kept = Vec::with_capacity(roots.len());
        let mut replaced: HashMap<usize, usize> = HashMap::new();
        for root in roots {
            let known = self.first(root).and_then(|first| table.get_mut(&first.subject));
            let Some(known) = known.filter(|known| **known != root) else {
                kept.push(root);
                continue;
            };
            match (self.message(*known), self.message(root)) {
                (None, None) => {
                    let mut children = self
                        .forest
                        .places
                        .get_mut(root)
                        .map(|place| std::mem::take(&mut place.children))
                        .unwrap_or_default();
                    self.hang(*known, &mut children);
                }
                (None, Some(_)) => self.hang(*known, &mut vec![root]),
                (Some(there), Some(here)) if here.is_reply && !there.is_reply => {
                    self.hang(*known, &mut vec![root]);
                }
                _ => {
                    let both = Place { message: None, children: vec![*known, root] };
                    let place = self.forest.places.len();
                    self.forest.places.push(both);
                    replaced.insert(*known, place);
                    *known = place;
                }
            }
        }
        self.forest.roots =
            kept.into_iter().map(|root| replaced.get(&root).copied().unwrap_or(root)).collect();
    }

    fn hang(&mut self, place: usize, children: &mut Vec<usize>) {
        if let Some(place) = self.forest.places.get_mut(place) {
            place.children.append(children);
        }
    }

    /// Step 6: siblings by their dates, from the bottom up.
    fn sort(&mut self) {
        let mut order = self.forest.roots.clone();
        let mut done = 0;
        while let Some(place) = order.get(done).and_then(|place| self.place(*place)) {
            let children = place.children.clone();
            order.extend(children);
            done += 1;
        }
        let mut keys: Vec<Option<(i64, Uid)>> = vec![None; self.forest.places.len()];
        let mut newest = keys.clone();
        for place in order.into_iter().rev() {
            let own = self.message(place).map(Message::key);
            let Some(here) = self.forest.places.get_mut(place) else { continue };
            here.children.sort_by_key(|child| keys.get(*child).copied().flatten());
            let key = |child: &usize| keys.get(*child).copied().flatten();
            let first = own.or_else(|| here.children.first().and_then(key));
            let below = here.children.iter().filter_map(|child| newest.get(*child).copied().flatten()).max();
            for (slot, key) in [(keys.get_mut(place), first), (newest.get_mut(place), own.max(below))] {
                if let Some(slot) = slot {
                    *slot = key;
                }
            }
        }
        let keys = if self.newest_counts { newest } else { keys };
        self.forest.roots.sort_by_key(|root| keys.get(*root).copied().flatten());
    }

    fn nodes(self) -> Threads {
        let mut nodes = Vec::with_capacity(self.messages.len());
        let mut stack: Vec<(u32, usize)> = self.forest.roots.iter().rev().map(|root| (0, *root)).collect();
        while let Some((depth, place)) = stack.pop() {
            let Some(here) = self.place(place) else { continue };
            nodes.push(ThreadNode { depth, message: self.message(place).map(|message| message.uid) });
            stack.extend(here.children.iter().rev().map(|child| (depth.saturating_add(1), *child)));
        }
        Threads { nodes }
    }
}

#[cfg(test)]
mod tests;
