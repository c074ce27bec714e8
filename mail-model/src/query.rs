//! Searching for messages: the tree of search keys, and the matcher that runs it over a message.
//!
//! A [`Query`] is what IMAP's SEARCH asks for (RFC 9051 §6.4.4), with sequence numbers, `NEW`, `OLD` and `RECENT`
//! already turned into UIDs. A [`Matcher`] decides for one message after another whether it answers the query, and
//! asks for no more of each than it needs: first what the store knows, then the header, then the whole message.

mod decoded;
mod fuzzy;
mod haystack;
mod matcher;
mod message;
mod part;
mod trigrams;

#[cfg(test)]
mod tests;

pub use matcher::{Matcher, Metadata, Verdict};
pub use part::{AddressField, Compare, FileNameMatch, PartKey, PartNode, PartQuery};
pub use trigrams::{Candidates, Trigrams};

use crate::{AnnotationPattern, AnnotationScope, Date, Flag, ModSeq, UidSet};

/// A tree of search keys, at most [`Query::MAX_DEPTH`] deep and [`Query::MAX_KEYS`] large.
///
/// ```
/// use mailwright_mail_model::query::{Key, Query};
/// use mailwright_mail_model::Flag;
///
/// // UNSEEN OR FROM "ann" SUBJECT "tea"
/// let unseen = Query::not(Key::Flag(Flag::Seen).into())?;
/// let either = Query::or(vec![Key::header("From", "ann").into(), Key::header("Subject", "tea").into()])?;
/// let query = Query::and(vec![unseen, either])?;
/// assert_eq!((query.depth(), query.keys()), (3, 3));
/// # Ok::<(), mailwright_mail_model::query::QueryError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    node: Node,
    depth: usize,
    keys: usize,
}

/// What a [`Query`] is at its root.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Node {
    /// One condition.
    Key(Key),
    /// Messages that do not answer a query.
    Not(Box<Query>),
    /// Messages that answer every one of several queries.
    And(Vec<Query>),
    /// Messages that answer at least one of several queries.
    Or(Vec<Query>),
    /// Messages that answer a query, or nearly do: the words of its texts count, in any order and not to the letter
    /// (RFC 6203).
    Fuzzy(Box<Query>),
}

/// One condition (RFC 9051 §6.4.4).
///
/// Those keys of IMAP that are missing here are others in disguise: `UNSEEN` is `NOT SEEN`, `FROM x` is
/// `HEADER From x`, sequence numbers are UIDs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Key {
    /// Every message.
    All,
    /// Messages that have a flag or keyword.
    Flag(Flag),
    /// Messages with one of these UIDs.
    Uid(UidSet),
    /// Messages whose internal date, in its own zone, is before this day.
    Before(Date),
    /// Messages whose internal date, in its own zone, is this day.
    On(Date),
    /// Messages whose internal date, in its own zone, is this day or later.
    Since(Date),
    /// Messages whose Date field, in its own zone, is before this day.
    SentBefore(Date),
    /// Messages whose Date field, in its own zone, is this day.
    SentOn(Date),
    /// Messages whose Date field, in its own zone, is this day or later.
    SentSince(Date),
    /// Messages of more octets than this.
    Larger(u64),
    /// Messages of fewer octets than this.
    Smaller(u64),
    /// Messages with this mod-sequence or a higher one (RFC 7162 §3.1.5).
    ModSeq(ModSeq),
    /// Messages whose internal date lies at least so many seconds back (RFC 5032 §2.1).
    Older(u32),
    /// Messages whose internal date lies less than so many seconds back, or at most so many (RFC 5032 §2.2).
    Younger(u32),
    /// Messages that came into this mailbox before this day, in UTC (RFC 8514 §4.3).
    SavedBefore(Date),
    /// Messages that came into this mailbox on this day, in UTC.
    SavedOn(Date),
    /// Messages that came into this mailbox on this day or later, in UTC.
    SavedSince(Date),
    /// Every message, if it is kept when messages come into the mailbox.
    SaveDateSupported,
    /// Messages of this identity (RFC 8474 §6).
    EmailId(Box<str>),
    /// Messages of this thread (RFC 8474 §6).
    ThreadId(Box<str>),
    /// Messages that have a field of this name whose text contains this one, case apart; any text contains the
    /// empty one.
    Header {
        /// The name of the field, case apart.
        name: Box<str>,
        /// What its decoded text contains.
        text: Box<str>,
    },
    /// Messages with this text in their body, case apart.
    Body(Box<str>),
    /// Messages with this text in their header or body, case apart.
    Text(Box<str>),
    /// Messages with a part that answers this.
    Part(Box<PartQuery>),
    /// Messages with an annotation whose value contains this text, case apart (RFC 5257 §4.8). A matcher does not know annotations:
    /// whoever keeps them puts the UIDs in its place, see [`Query::resolved`].
    Annotation {
        /// Of which entries.
        entry: AnnotationPattern,
        /// Whose value; any if `None`.
        scope: Option<AnnotationScope>,
        /// What the value contains.
        text: Box<str>,
    },
}

impl Key {
    /// [`Key::Header`] of this name and text.
    pub fn header(name: &str, text: &str) -> Self {
        Self::Header { name: name.into(), text: text.into() }
    }
}

/// Why search keys do not make a [`Query`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// More than [`Query::MAX_DEPTH`] levels.
    #[error("expected search keys nested at most 32 deep, got {0} levels")]
    TooDeep(usize),
    /// More than [`Query::MAX_KEYS`] keys.
    #[error("expected at most 1000 search keys, got {0}")]
    TooMany(usize),
}

impl Query {
    /// The most levels of a tree. A row of ANDs or ORs in one another is a single level.
    pub const MAX_DEPTH: usize = 32;
    /// The most conditions in a tree.
    pub const MAX_KEYS: usize = 1_000;

    /// Every message.
    pub const fn all() -> Self {
        Self { node: Node::Key(Key::All), depth: 1, keys: 1 }
    }

    /// Messages that do not answer `query`.
    ///
    /// # Errors
    /// If the tree would be deeper than [`Query::MAX_DEPTH`].
    #[allow(clippy::should_implement_trait)]
    pub fn not(query: Self) -> Result<Self, QueryError> {
        if let Node::Not(inner) = query.node {
            return Ok(*inner);
        }
        let (depth, keys) = (query.depth + 1, query.keys);
        Self { node: Node::Not(Box::new(query)), depth, keys }.checked()
    }

    /// Messages that answer every one of `queries`; every message if there is none.
    ///
    /// # Errors
    /// If the tree would be deeper than [`Query::MAX_DEPTH`] or larger than [`Query::MAX_KEYS`].
    pub fn and(queries: Vec<Self>) -> Result<Self, QueryError> {
        let flatten = |node| match node {
            Node::And(inner) => Ok(inner),
            other => Err(other),
        };
        match join(queries, |node| matches!(node, Node::And(_)), flatten) {
            Joined::One(query) => Ok(query),
            Joined::Many(queries) if queries.is_empty() => Ok(Self::all()),
            Joined::Many(queries) => Self::of_many(queries, Node::And),
        }
    }

    /// Messages that answer at least one of `queries`; no message if there is none.
    ///
    /// # Errors
    /// If the tree would be deeper than [`Query::MAX_DEPTH`] or larger than [`Query::MAX_KEYS`].
    pub fn or(queries: Vec<Self>) -> Result<Self, QueryError> {
        let flatten = |node| match node {
            Node::Or(inner) => Ok(inner),
            other => Err(other),
        };
        match join(queries, |node| matches!(node, Node::Or(_)), flatten) {
            Joined::One(query) => Ok(query),
            Joined::Many(queries) if queries.is_empty() => Self::not(Self::all()),
            Joined::Many(queries) => Self::of_many(queries, Node::Or),
        }
    }

    /// Messages that answer `query`, or nearly do (RFC 6203 §3).
    ///
    /// # Errors
    /// If the tree would be deeper than [`Query::MAX_DEPTH`].
    ///
    /// ```
    /// use mailwright_mail_model::query::{Key, Query};
    ///
    /// let query = Query::fuzzy(Key::header("Subject", "recieved").into())?;
    /// assert!(query.is_fuzzy());
    /// # Ok::<(), mailwright_mail_model::query::QueryError>(())
    /// ```
    pub fn fuzzy(query: Self) -> Result<Self, QueryError> {
        if matches!(query.node, Node::Fuzzy(_)) {
            return Ok(query);
        }
        let (depth, keys) = (query.depth + 1, query.keys);
        Self { node: Node::Fuzzy(Box::new(query)), depth, keys }.checked()
    }

    /// Whether any of it need only nearly be answered. As deep as the query is, which is bounded.
    pub fn is_fuzzy(&self) -> bool {
        match &self.node {
            Node::Fuzzy(_) => true,
            Node::Not(query) => query.is_fuzzy(),
            Node::And(queries) | Node::Or(queries) => queries.iter().any(Self::is_fuzzy),
            Node::Key(_) => false,
        }
    }

    fn of_many(queries: Vec<Self>, node: fn(Vec<Self>) -> Node) -> Result<Self, QueryError> {
        let depth = queries.iter().map(|query| query.depth).max().unwrap_or(0) + 1;
        let keys = queries.iter().map(|query| query.keys).sum();
        Self { node: node(queries), depth, keys }.checked()
    }

    fn checked(self) -> Result<Self, QueryError> {
        match (self.depth > Self::MAX_DEPTH, self.keys > Self::MAX_KEYS) {
            (true, _) => Err(QueryError::TooDeep(self.depth)),
            (_, true) => Err(QueryError::TooMany(self.keys)),
            _ => Ok(self),
        }
    }

    /// The conditions on annotations, in the order in which they stand.
    pub fn annotations(&self) -> Vec<&Key> {
        let mut keys = Vec::new();
        self.each(&mut |key| {
            if matches!(key, Key::Annotation { .. }) {
                keys.push(key);
            }
        });
        keys
    }

    fn each<'a>(&'a self, see: &mut impl FnMut(&'a Key)) {
        match &self.node {
            Node::Key(key) => see(key),
            Node::Not(query) | Node::Fuzzy(query) => query.each(see),
            Node::And(queries) | Node::Or(queries) => queries.iter().for_each(|query| query.each(see)),
        }
    }

    /// The same query, with the messages that meet each of its [conditions on annotations](Self::annotations) in the place of that
    /// condition; no message in the place of one that is left over.
    ///
    /// ```
    /// use mailwright_mail_model::UidSet;
    /// use mailwright_mail_model::query::{Key, Query};
    ///
    /// let key = Key::Annotation { entry: "/comment".parse()?, scope: None, text: "tea".into() };
    /// let query = Query::not(key.into())?;
    /// let uids: UidSet = "1:3".parse()?;
    /// assert_eq!(query.resolved(vec![uids.clone()]), Query::not(Key::Uid(uids).into())?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn resolved(self, met: Vec<UidSet>) -> Self {
        self.resolve(&mut met.into_iter())
    }

    fn resolve(mut self, met: &mut impl Iterator<Item = UidSet>) -> Self {
        let many =
            |queries: Vec<Self>, met: &mut _| queries.into_iter().map(|query| query.resolve(met)).collect();
        self.node = match self.node {
            Node::Key(Key::Annotation { .. }) => Node::Key(Key::Uid(met.next().unwrap_or_default())),
            Node::Key(key) => Node::Key(key),
            Node::Not(query) => Node::Not(Box::new(query.resolve(met))),
            Node::Fuzzy(query) => Node::Fuzzy(Box::new(query.resolve(met))),
            Node::And(queries) => Node::And(many(queries, met)),
            Node::Or(queries) => Node::Or(many(queries, met)),
        };
        self
    }

    /// What the query is at its root.
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// How many levels the tree has, at least 1.
    pub const fn depth(&self) -> usize {
        self.depth
    }

    /// How many conditions the tree has, at least 1.
    pub const fn keys(&self) -> usize {
        self.keys
    }

    /// UIDs outside of which no message answers the query, if UIDs are among its conditions.
    ///
    /// ```
    /// use mailwright_mail_model::query::{Key, Query};
    ///
    /// let uids: mailwright_mail_model::UidSet = "1:9".parse()?;
    /// let query = Query::and(vec![Key::Uid(uids.clone()).into(), Key::Text("tea".into()).into()])?;
    /// assert_eq!(query.uids(), Some(uids));
    /// assert_eq!(Query::all().uids(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn uids(&self) -> Option<UidSet> {
        match &self.node {
            Node::Key(Key::Uid(uids)) => Some(uids.clone()),
            Node::Fuzzy(query) => query.uids(),
            Node::And(queries) => queries.iter().filter_map(Self::uids).reduce(|a, b| a.intersection(&b)),
            _ => None,
        }
    }
}

impl From<Key> for Query {
    fn from(key: Key) -> Self {
        Self { node: Node::Key(key), depth: 1, keys: 1 }
    }
}

enum Joined {
    One(Query),
    Many(Vec<Query>),
}

/// One list of the queries and, in place of those of the same kind, of what is in them. The order does not
/// matter, so the longer list always takes in the shorter: a chain is joined in linear time.
fn join(
    queries: Vec<Query>,
    is_list: impl Fn(&Node) -> bool,
    flatten: impl Fn(Node) -> Result<Vec<Query>, Node>,
) -> Joined {
    // As most are: nothing to be taken in.
    if queries.len() > 1 && !queries.iter().any(|query| is_list(&query.node)) {
        return Joined::Many(queries);
    }
    let mut joined: Vec<Query> = Vec::with_capacity(queries.len());
    for Query { node, depth, keys } in queries {
        match flatten(node) {
            Ok(mut inner) => {
                if inner.len() > joined.len() {
                    std::mem::swap(&mut inner, &mut joined);
                }
                joined.append(&mut inner);
            }
            Err(node) => joined.push(Query { node, depth, keys }),
        }
    }
    match (joined.len(), joined.pop()) {
        (1, Some(only)) => Joined::One(only),
        (_, last) => {
            joined.extend(last);
            Joined::Many(joined)
        }
    }
}
