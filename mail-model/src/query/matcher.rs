//! Decides whether messages answer a query, asking for no more of each than it needs.

use super::fuzzy::Phrase;
use super::haystack::Needle;
use super::message::Search;
use super::{Key, Node, PartQuery, Query};
use crate::mime::{Scanner, Structure};
use crate::{Date, DateTime, FlagSet, ModSeq, Uid};

/// Runs a [`Query`] over messages, one after the other.
///
/// For each message call [`metadata`](Self::metadata) first. While the verdict asks for more, give the header or
/// the message; then [`finish`](Self::finish). Memory is bounded whatever the message; time is linear in it, times
/// the texts searched for. Text is compared case apart, after transfer encodings, charsets and encoded words were
/// decoded; parts that are neither text nor message are not searched.
///
/// ```
/// use mailwright_mail_model::query::{Key, Matcher, Metadata, Query, Verdict};
/// use mailwright_mail_model::{DateTime, FlagSet, ModSeq, Uid};
///
/// let query = Query::and(vec![Key::Smaller(1000).into(), Key::Text("CAFÉ".into()).into()])?;
/// let mut matcher = Matcher::new(&query);
/// let message = b"Subject: menu\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nle caf=\r\n=C3=A9\r\n";
/// let date = DateTime::new(0, 0).ok_or("no date")?;
/// let flags = FlagSet::new();
/// let metadata = Metadata::new(Uid::MIN, &flags, date, message.len() as u64, ModSeq::MIN);
/// assert_eq!(matcher.metadata(&metadata), Verdict::NeedsHeader);
/// assert_eq!(matcher.header(message), Verdict::NeedsMessage);
/// for chunk in message.chunks(10) {
///     matcher.message_chunk(chunk);
/// }
/// assert!(matcher.finish());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Matcher {
    /// The tree in postfix order.
    operations: Vec<Operation>,
    search: Search,
    /// Some from the first chunk of a message on.
    scanner: Option<Scanner>,
    /// Of the message at hand.
    verdict: Verdict,
    /// Whether it is wanted how well messages answer.
    scores: bool,
    /// Room for the values of the tree, empty between two looks at it.
    values: Vec<Option<bool>>,
}

/// What is known of whether a message answers a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It does.
    True,
    /// It does not.
    False,
    /// Its header will tell, or at least may: give it to [`Matcher::header`]. Or go on with the whole message.
    NeedsHeader,
    /// All of it is needed, from its first octet on: give it to [`Matcher::message_chunk`].
    NeedsMessage,
}

/// What a store knows of a message without reading it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Metadata<'a> {
    /// Its UID.
    pub uid: Uid,
    /// Its flags.
    pub flags: &'a FlagSet,
    /// When it came to the mailbox (RFC 9051 §2.3.3).
    pub internal_date: DateTime,
    /// Its octets.
    pub size: u64,
    /// Its mod-sequence.
    pub mod_seq: ModSeq,
    /// When it came into this mailbox; the internal date counts where that is not kept (RFC 8514 §4.3).
    pub saved: Option<DateTime>,
    /// The identities of the message and of its thread, where they are kept.
    pub ids: [Option<&'a str>; 2],
    /// The time now, in seconds since 1970.
    pub now: i64,
}

impl<'a> Metadata<'a> {
    /// What is known of a message.
    pub const fn new(
        uid: Uid,
        flags: &'a FlagSet,
        internal_date: DateTime,
        size: u64,
        mod_seq: ModSeq,
    ) -> Self {
        Self { uid, flags, internal_date, size, mod_seq, saved: None, ids: [None; 2], now: 0 }
    }

    /// With the time now, in seconds since 1970, which OLDER and YOUNGER count from.
    #[must_use]
    pub const fn at(mut self, now: i64) -> Self {
        self.now = now;
        self
    }

    /// With the moment it came into this mailbox.
    #[must_use]
    pub const fn saved(mut self, saved: Option<DateTime>) -> Self {
        self.saved = saved;
        self
    }

    /// With the identities of the message and of its thread.
    #[must_use]
    pub const fn identified(mut self, message: Option<&'a str>, thread: Option<&'a str>) -> Self {
        self.ids = [message, thread];
        self
    }

    /// Seconds since it was received.
    const fn age(&self) -> i64 {
        self.now.saturating_sub(self.internal_date.seconds())
    }

    fn saved_on(&self) -> Date {
        self.saved.unwrap_or(self.internal_date).date()
    }

    /// Whether the message meets a condition; `None` if that cannot be told from here.
    fn meets(&self, key: &Key) -> Option<bool> {
        Some(match key {
            Key::All => true,
            Key::Flag(flag) => self.flags.contains(flag),
            Key::Uid(uids) => uids.contains(self.uid),
            Key::Before(date) => self.internal_date.date() < *date,
            Key::On(date) => self.internal_date.date() == *date,
            Key::Since(date) => self.internal_date.date() >= *date,
            Key::Larger(size) => self.size > *size,
            Key::Smaller(size) => self.size < *size,
            Key::ModSeq(mod_seq) => self.mod_seq >= *mod_seq,
            Key::Older(seconds) => self.age() >= i64::from(*seconds),
            Key::Younger(seconds) => self.age() <= i64::from(*seconds),
            Key::SavedBefore(date) => self.saved_on() < *date,
            Key::SavedOn(date) => self.saved_on() == *date,
            Key::SavedSince(date) => self.saved_on() >= *date,
            Key::SaveDateSupported => self.saved.is_some(),
            Key::EmailId(id) => self.ids.first().copied().flatten() == Some(id),
            Key::ThreadId(id) => self.ids.last().copied().flatten() == Some(id),
            Key::SentBefore(_) | Key::SentOn(_) | Key::SentSince(_) => return None,
            Key::Header { .. } | Key::Body(_) | Key::Text(_) | Key::Part(_) => return None,
            // RFC 5257 §4.8: none is known here.
            Key::Annotation { .. } => false,
        })
    }
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    /// The condition at this index.
    Condition(usize),
    Not,
    /// Of so many before it.
    And(usize),
    Or(usize),
}

/// A condition, ready to be tested.
#[derive(Debug)]
pub(super) enum Condition {
    Metadata(Key),
    Sent(Sent, Date),
    Header(Box<str>, Needle),
    Body(Needle),
    Text(Needle),
    Part(Box<PartQuery>),
    FuzzyHeader(Box<str>, Phrase),
    FuzzyBody(Phrase),
    FuzzyText(Phrase),
    /// Never met and never given up: reads all there is to read.
    Everything,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Sent {
    Before,
    On,
    Since,
}

impl Condition {
    /// Whether it looks at the texts of bodies.
    pub(super) const fn reads_bodies(&self) -> bool {
        matches!(self, Self::Body(_) | Self::FuzzyBody(_)) || self.reads_all()
    }

    /// Whether it looks at the texts of headers and of bodies.
    pub(super) const fn reads_all(&self) -> bool {
        matches!(self, Self::Text(_) | Self::FuzzyText(_) | Self::Everything)
    }

    /// How well each of its words was found before anything was looked at; nothing unless it is fuzzy.
    pub(super) fn start(&self) -> Box<[u8]> {
        match self {
            Self::FuzzyHeader(_, phrase) | Self::FuzzyBody(phrase) | Self::FuzzyText(phrase) => {
                phrase.start()
            }
            _ => Box::default(),
        }
    }

    /// The field of a header that it looks at, if it is no more than one.
    pub(super) fn field(&self) -> Option<&str> {
        match self {
            Self::Header(name, _) | Self::FuzzyHeader(name, _) => Some(name),
            Self::Sent(..) => Some("Date"),
            _ => None,
        }
    }

    /// Whether it need only nearly be met.
    pub(super) const fn is_fuzzy(&self) -> bool {
        matches!(self, Self::FuzzyHeader(..) | Self::FuzzyBody(_) | Self::FuzzyText(_))
    }

    fn new(key: &Key, fuzzy: bool) -> Self {
        match key {
            Key::Header { name, text } if fuzzy => Self::FuzzyHeader(name.clone(), Phrase::new(text)),
            Key::Body(text) if fuzzy => Self::FuzzyBody(Phrase::new(text)),
            Key::Text(text) if fuzzy => Self::FuzzyText(Phrase::new(text)),
            Key::SentBefore(date) => Self::Sent(Sent::Before, *date),
            Key::SentOn(date) => Self::Sent(Sent::On, *date),
            Key::SentSince(date) => Self::Sent(Sent::Since, *date),
            Key::Header { name, text } => Self::Header(name.clone(), Needle::new(text)),
            Key::Body(text) => Self::Body(Needle::new(text)),
            Key::Text(text) => Self::Text(Needle::new(text)),
            Key::Part(query) => Self::Part(query.clone()),
            other => Self::Metadata(other.clone()),
        }
    }
}

impl Matcher {
    /// A matcher of `query`.
    pub fn new(query: &Query) -> Self {
        let mut operations = Vec::new();
        let mut conditions = Vec::new();
        compile(query, false, &mut operations, &mut conditions);
        let search = Search::new(conditions, false);
        let values = Vec::with_capacity(operations.len());
        Self { operations, search, scanner: None, verdict: Verdict::NeedsMessage, scores: false, values }
    }

    /// The same, with the [score](Self::score) of every message that answers: more of each has to be read for that.
    ///
    /// ```
    /// use mailwright_mail_model::query::{Key, Matcher, Metadata, Query};
    /// use mailwright_mail_model::{DateTime, FlagSet, ModSeq, Uid};
    ///
    /// let query = Query::fuzzy(Key::header("Subject", "helo").into())?;
    /// let mut matcher = Matcher::scoring(&query);
    /// let flags = FlagSet::new();
    /// matcher.metadata(&Metadata::new(Uid::MIN, &flags, DateTime::EPOCH, 30, ModSeq::MIN));
    /// matcher.message_chunk(b"Subject: hello world\r\n\r\n");
    /// assert!(matcher.finish());
    /// assert_eq!(matcher.score(), 75);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn scoring(query: &Query) -> Self {
        let mut matcher = Self::new(query);
        matcher.scores = true;
        matcher.search.score_all();
        matcher
    }

    /// How well the message answers a fuzzy query, from 1 to 100; 100 where nothing about it is fuzzy, and for a matcher that was
    /// not asked to know.
    pub fn score(&self) -> u8 {
        self.search.score()
    }

    /// Turns to the next message, of which this much is known.
    pub fn metadata(&mut self, metadata: &Metadata<'_>) -> Verdict {
        self.scanner = None;
        self.search.reset(|condition| match condition {
            Condition::Metadata(key) => metadata.meets(key),
            // RFC 9051 §6.4.4 speaks of substrings, and the empty one is in every text.
            Condition::Body(needle) | Condition::Text(needle) if needle.len() == 0 => Some(true),
            Condition::FuzzyBody(phrase) | Condition::FuzzyText(phrase)
                if phrase.exact().is_some_and(|needle| needle.len() == 0) =>
            {
                Some(true)
            }
            _ => None,
        });
        self.judge()
    }

    /// The structure of the message, where that is known: no more is read for what it can tell about the parts.
    pub fn structure(&mut self, structure: &Structure) -> Verdict {
        if self.is_open() {
            self.search.parts(structure, false);
            self.judge();
        }
        self.verdict
    }

    /// The header of the message, which may be followed by any of its body.
    pub fn header(&mut self, header: &[u8]) -> Verdict {
        if self.is_open() && self.scanner.is_none() && !self.search.header_seen() {
            self.search.header(header);
            self.judge();
        }
        self.verdict
    }

    /// The next octets of the message, from the first of its header on.
    pub fn message_chunk(&mut self, octets: &[u8]) -> Verdict {
        if self.is_open() {
            let scanner = self.scanner.get_or_insert_with(|| match self.search.looks_at_parts() {
                true => Scanner::new(),
                false => Scanner::new().without_envelopes(),
            });
            scanner.push_to(octets, &mut self.search);
            if self.search.take_change() {
                self.judge();
            }
        }
        if self.is_open() { Verdict::NeedsMessage } else { self.verdict }
    }

    /// Whether the message answers the query. What was not given of it is taken for empty.
    pub fn finish(&mut self) -> bool {
        if self.is_open() {
            let scanner = self.scanner.take().unwrap_or_default();
            let structure = scanner.finish_to(&mut self.search);
            self.search.parts(&structure, true);
            self.search.finish();
            self.judge();
        }
        self.verdict == Verdict::True
    }

    fn is_open(&self) -> bool {
        !matches!(self.verdict, Verdict::True | Verdict::False)
    }

    fn judge(&mut self) -> Verdict {
        let scored = !self.scores || self.search.is_scored();
        self.verdict = match self.evaluate().filter(|answers| scored || !answers) {
            Some(true) => Verdict::True,
            Some(false) => Verdict::False,
            None if self.search.header_helps() => Verdict::NeedsHeader,
            None => Verdict::NeedsMessage,
        };
        self.verdict
    }

    /// True or false if the conditions known decide it, whatever the others are.
    fn evaluate(&mut self) -> Option<bool> {
        let stack = &mut self.values;
        for operation in &self.operations {
            let value = match *operation {
                Operation::Condition(index) => self.search.result(index),
                Operation::Not => stack.pop().flatten().map(|value: bool| !value),
                Operation::And(count) => fold(stack, count, false),
                Operation::Or(count) => fold(stack, count, true),
            };
            stack.push(value);
        }
        stack.pop().flatten()
    }
}

/// Takes so many values; `decisive` if one is, its opposite if all are that, else unknown.
fn fold(stack: &mut Vec<Option<bool>>, count: usize, decisive: bool) -> Option<bool> {
    let kept = stack.len().saturating_sub(count);
    let values = stack.get(kept..).unwrap_or_default();
    let folded = match values.contains(&Some(decisive)) {
        true => Some(decisive),
        false => values.iter().all(Option::is_some).then_some(!decisive),
    };
    stack.truncate(kept);
    folded
}

/// Recurses no deeper than [`Query::MAX_DEPTH`].
fn compile(query: &Query, fuzzy: bool, operations: &mut Vec<Operation>, conditions: &mut Vec<Condition>) {
    let operation = match query.node() {
        Node::Fuzzy(inner) => return compile(inner, true, operations, conditions),
        Node::Key(key) => {
            conditions.push(Condition::new(key, fuzzy));
            Operation::Condition(conditions.len() - 1)
        }
        Node::Not(inner) => {
            compile(inner, fuzzy, operations, conditions);
            Operation::Not
        }
        Node::And(queries) | Node::Or(queries) => {
            queries.iter().for_each(|query| compile(query, fuzzy, operations, conditions));
            match query.node() {
                Node::And(_) => Operation::And(queries.len()),
                _ => Operation::Or(queries.len()),
            }
        }
    };
    operations.push(operation);
}
