//! Searching for parts of messages: what SEARCH=MIMEPART asks (draft-bosch-imap-search-mimepart, as Dovecot 2.3 carries it out).

mod structure;
pub(super) mod texts;

#[cfg(test)]
mod tests;

use crate::Date;

use super::{Query, QueryError};

/// A tree of conditions on one part of a message, at most [`Query::MAX_DEPTH`] deep and [`Query::MAX_KEYS`] large. A message answers if
/// any of its parts does, itself among them.
///
/// ```
/// use mailwright_mail_model::query::{Key, PartKey, PartQuery, Query};
///
/// // MIMEPART (TYPE image NOT DISPOSITION TYPE inline)
/// let image = PartKey::Type("image".into()).into();
/// let inline = PartQuery::not(PartKey::Disposition("inline".into()).into())?;
/// let query = Query::from(Key::Part(Box::new(PartQuery::and(vec![image, inline])?)));
/// assert_eq!(query.keys(), 1);
/// # Ok::<(), mailwright_mail_model::query::QueryError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartQuery {
    node: PartNode,
    depth: usize,
    keys: usize,
}

/// What a [`PartQuery`] is at its root.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartNode {
    /// One condition.
    Key(PartKey),
    /// Parts that do not answer a query.
    Not(Box<PartQuery>),
    /// Parts that answer every one of several queries.
    And(Vec<PartQuery>),
    /// Parts that answer at least one of several queries.
    Or(Vec<PartQuery>),
    /// Parts in a part that answers a query; in any, if there is none.
    Parent(Option<Box<PartQuery>>),
    /// Parts that hold a part that answers a query, directly; any, if there is none.
    Child(Option<Box<PartQuery>>),
}

/// A condition on a part. Texts are compared case apart, if it is not said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartKey {
    /// The type of its content, such as `text`; all of it.
    Type(Box<str>),
    /// The subtype; all of it.
    Subtype(Box<str>),
    /// It has a parameter of this name whose text contains this one.
    Parameter(Box<str>, Box<str>),
    /// The kind of its disposition, such as `attachment`; all of it.
    Disposition(Box<str>),
    /// Its disposition has a parameter of this name whose text contains this one.
    DispositionParameter(Box<str>, Box<str>),
    /// Its transfer encoding; all of it.
    Encoding(Box<str>),
    /// Its Content-ID: all of it, with the angle brackets, letters as they are.
    Id(Box<str>),
    /// Its Content-Description contains this.
    Description(Box<str>),
    /// One of the tags of its Content-Language; all of it.
    Language(Box<str>),
    /// Its Content-Location: all of it, letters as they are.
    Location(Box<str>),
    /// Its Content-MD5: all of it, letters as they are.
    Md5(Box<str>),
    /// The name it is to be stored by: `filename` of its disposition, else `name` of its type.
    FileName(FileNameMatch, Box<str>),
    /// So many octets in its body, its transfer encoding not undone.
    Size(Compare<u64>),
    /// On this level: 0 for the message, 1 for what is directly in it.
    Depth(Compare<u32>),
    /// Its place among the parts it stands with, from 1.
    Index(u32),
    /// It is what a message in the message holds, with this in the addresses of a field of the header.
    Address(AddressField, Box<str>),
    /// It is what a message in the message holds, with this in the Subject field.
    Subject(Box<str>),
    /// It is what a message in the message holds, with this in the Message-ID field.
    MessageId(Box<str>),
    /// It is what a message in the message holds, with this in the In-Reply-To field.
    InReplyTo(Box<str>),
    /// It is what a message in the message holds, where the Date field, in its own zone, is of a day before this.
    SentBefore(Date),
    /// It is what a message in the message holds, where the Date field, in its own zone, is of this day.
    SentOn(Date),
    /// It is what a message in the message holds, where the Date field, in its own zone, is of this day or later.
    SentSince(Date),
    /// A field of this name in its header contains this text.
    Header(Box<str>, Box<str>),
    /// Its decoded text contains this; of what is no text, and of parts that hold others, nothing is looked at.
    Body(Box<str>),
    /// Its header or its decoded text contains this.
    Text(Box<str>),
}

/// How the name of a file is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileNameMatch {
    /// It is all of the name.
    Is,
    /// It is in the name.
    Contains,
    /// The name begins with it.
    Begins,
    /// The name ends with it.
    Ends,
}

/// How a number is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compare<N> {
    /// It is this.
    Equal(N),
    /// It is more than this.
    Larger(N),
    /// It is less than this.
    Smaller(N),
    /// It is this or more.
    AtLeast(N),
    /// It is this or less.
    AtMost(N),
}

impl<N: Copy + PartialOrd> Compare<N> {
    fn is_met_by(self, number: N) -> bool {
        match self {
            Self::Equal(other) => number == other,
            Self::Larger(other) => number > other,
            Self::Smaller(other) => number < other,
            Self::AtLeast(other) => number >= other,
            Self::AtMost(other) => number <= other,
        }
    }
}

/// The fields of addresses in the envelope of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "RFC 9051 §7.5.2 has these six")]
#[expect(missing_docs, reason = "each is named as its field")]
pub enum AddressField {
    From,
    Sender,
    ReplyTo,
    To,
    Cc,
    Bcc,
}

impl PartQuery {
    /// Parts that do not answer `query`.
    ///
    /// # Errors
    /// If the tree would be deeper than [`Query::MAX_DEPTH`].
    #[allow(clippy::should_implement_trait)]
    pub fn not(query: Self) -> Result<Self, QueryError> {
        Self::above(query, PartNode::Not)
    }

    /// Parts that answer every one of `queries`.
    ///
    /// # Errors
    /// If the tree would be deeper than [`Query::MAX_DEPTH`] or larger than [`Query::MAX_KEYS`].
    pub fn and(queries: Vec<Self>) -> Result<Self, QueryError> {
        Self::of_many(queries, PartNode::And)
    }

    /// Parts that answer at least one of `queries`.
    ///
    /// # Errors
    /// If the tree would be deeper than [`Query::MAX_DEPTH`] or larger than [`Query::MAX_KEYS`].
    pub fn or(queries: Vec<Self>) -> Result<Self, QueryError> {
        Self::of_many(queries, PartNode::Or)
    }

    /// Parts in a part that answers `query`, or in any.
    ///
    /// # Errors
    /// If the tree would be deeper than [`Query::MAX_DEPTH`].
    pub fn parent(query: Option<Self>) -> Result<Self, QueryError> {
        match query {
            Some(query) => Self::above(query, |query| PartNode::Parent(Some(query))),
            None => Ok(Self { node: PartNode::Parent(None), depth: 1, keys: 1 }),
        }
    }

    /// Parts that hold a part that answers `query`, or any.
    ///
    /// # Errors
    /// If the tree would be deeper than [`Query::MAX_DEPTH`].
    pub fn child(query: Option<Self>) -> Result<Self, QueryError> {
        match query {
            Some(query) => Self::above(query, |query| PartNode::Child(Some(query))),
            None => Ok(Self { node: PartNode::Child(None), depth: 1, keys: 1 }),
        }
    }

    /// The root of the tree.
    pub const fn node(&self) -> &PartNode {
        &self.node
    }

    /// Whether the structure of a message is all that has to be known of it.
    pub fn is_structural(&self) -> bool {
        !self.any(&|key| matches!(key, PartKey::Header(..) | PartKey::Body(_) | PartKey::Text(_)))
    }

    /// Whether there is such a condition in it. As deep as the tree is, which is bounded.
    fn any(&self, is: &impl Fn(&PartKey) -> bool) -> bool {
        match &self.node {
            PartNode::Key(key) => is(key),
            PartNode::Not(query) | PartNode::Parent(Some(query)) | PartNode::Child(Some(query)) => {
                query.any(is)
            }
            PartNode::And(queries) | PartNode::Or(queries) => queries.iter().any(|query| query.any(is)),
            PartNode::Parent(None) | PartNode::Child(None) => false,
        }
    }

    fn above(query: Self, node: impl FnOnce(Box<Self>) -> PartNode) -> Result<Self, QueryError> {
        let (depth, keys) = (query.depth + 1, query.keys);
        Self { node: node(Box::new(query)), depth, keys }.checked()
    }

    fn of_many(mut queries: Vec<Self>, node: fn(Vec<Self>) -> PartNode) -> Result<Self, QueryError> {
        if queries.len() == 1
            && let Some(only) = queries.pop()
        {
            return Ok(only);
        }
        let depth = queries.iter().map(|query| query.depth).max().unwrap_or_default() + 1;
        let keys = queries.iter().map(|query| query.keys).sum();
        Self { node: node(queries), depth, keys }.checked()
    }

    fn checked(self) -> Result<Self, QueryError> {
        if self.depth > Query::MAX_DEPTH {
            return Err(QueryError::TooDeep(self.depth));
        }
        if self.keys > Query::MAX_KEYS {
            return Err(QueryError::TooMany(self.keys));
        }
        Ok(self)
    }
}

impl From<PartKey> for PartQuery {
    fn from(key: PartKey) -> Self {
        Self { node: PartNode::Key(key), depth: 1, keys: 1 }
    }
}
