//! SEARCH (RFC 3501 §6.4.4).

use std::borrow::Cow;

use mailwright_mail_model::{
    Date, Flag, Keyword, ModSeq, UidSet, charset,
    query::{Key, Node, Query, QueryError},
};

use super::{SearchContext, SearchReturn};
use crate::{
    SequenceSet,
    grammar::{GrammarError, Input, Wire},
};

/// Finds messages.
///
/// Sequence numbers, and what depends on the session, are turned into UIDs when the command is read. A client
/// therefore names messages by UID in what it searches for; `by_uid` says how it wants to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Search {
    /// What to search for.
    pub query: Query,
    /// `UID SEARCH`: whether the answer is UIDs rather than sequence numbers.
    pub by_uid: bool,
    /// How to tell what was found (RFC 4731).
    pub returns: Option<SearchReturn>,
}

impl Search {
    /// Searches for this, to be answered with UIDs.
    pub fn new(query: Query) -> Self {
        Self { query, by_uid: true, returns: None }
    }

    pub(super) fn parse(
        input: &mut Input<'_>,
        by_uid: bool,
        context: SearchContext<'_>,
    ) -> Result<Self, GrammarError> {
        input.space()?;
        let returns = SearchReturn::parse(input)?;
        let query = program(input, context)?;
        Ok(Self { query, by_uid, returns })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(if self.by_uid { b"UID SEARCH " } else { b"SEARCH " });
        if let Some(returns) = &self.returns {
            returns.encode(wire);
        }
        if !is_ascii(&self.query) {
            wire.put(b"CHARSET UTF-8 ");
        }
        put_program(&self.query, wire);
    }
}

/// The charset and the keys of SEARCH and its kin, to the end.
pub(super) fn program(input: &mut Input<'_>, context: SearchContext<'_>) -> Result<Query, GrammarError> {
    let mut label = None;
    if input.keyword("CHARSET") {
        input.space()?;
        label = charset_name(input)?;
        input.space()?;
    }
    keys_in(label.as_deref(), input, context)
}

/// The name of a known charset; `None` if texts need no conversion from it.
pub(super) fn charset_name(input: &mut Input<'_>) -> Result<Option<String>, GrammarError> {
    let name = input.text()?;
    charset::decode(&name, b"").ok_or(GrammarError::Charset)?;
    // A byte order mark is a character like any other to search for, so UTF-8 is not for the decoder.
    let is_default = ["UTF-8", "US-ASCII"].iter().any(|label| label.eq_ignore_ascii_case(&name));
    Ok((!is_default).then_some(name))
}

/// The keys behind the name of a charset that has been read already.
pub(super) fn keys_in(
    label: Option<&str>,
    input: &mut Input<'_>,
    context: SearchContext<'_>,
) -> Result<Query, GrammarError> {
    Reader { context, charset: label, keys: 0 }.row(input, 0)
}

struct Reader<'a> {
    context: SearchContext<'a>,
    charset: Option<&'a str>,
    keys: usize,
}

/// Keys whose argument is a string, and the header field they are short for.
const FIELDS: [(&str, &str); 5] =
    [("BCC", "Bcc"), ("CC", "Cc"), ("FROM", "From"), ("SUBJECT", "Subject"), ("TO", "To")];

/// Keys for flags; with `UN` before them for messages without.
const FLAGS: [(&str, &str, Flag); 5] = [
    ("ANSWERED", "UNANSWERED", Flag::Answered),
    ("DELETED", "UNDELETED", Flag::Deleted),
    ("DRAFT", "UNDRAFT", Flag::Draft),
    ("FLAGGED", "UNFLAGGED", Flag::Flagged),
    ("SEEN", "UNSEEN", Flag::Seen),
];

type OfDate = fn(Date) -> Key;

/// Keys whose argument is a date.
const DATES: [(&str, OfDate); 9] = [
    ("SAVEDBEFORE", Key::SavedBefore),
    ("SAVEDON", Key::SavedOn),
    ("SAVEDSINCE", Key::SavedSince),
    ("BEFORE", Key::Before),
    ("ON", Key::On),
    ("SINCE", Key::Since),
    ("SENTBEFORE", Key::SentBefore),
    ("SENTON", Key::SentOn),
    ("SENTSINCE", Key::SentSince),
];

impl Reader<'_> {
    /// Keys with spaces between them, all of which must hold.
    fn row(&mut self, input: &mut Input<'_>, depth: usize) -> Result<Query, GrammarError> {
        let mut queries = vec![self.key(input, depth)?];
        while input.eat(b' ') {
            queries.push(self.key(input, depth)?);
        }
        Query::and(queries).map_err(too_many)
    }

    /// One key. It calls itself no deeper than a query may be, so a long row of NOTs is an error and no danger.
    fn key(&mut self, input: &mut Input<'_>, depth: usize) -> Result<Query, GrammarError> {
        if depth == Query::MAX_DEPTH {
            return Err(GrammarError::TooMany { what: "levels of search keys", limit: Query::MAX_DEPTH });
        }
        self.keys += 1;
        if self.keys > 2 * Query::MAX_KEYS {
            // ANDs and the like are counted here too; the exact bound is the query's.
            return Err(GrammarError::TooMany { what: "search keys", limit: Query::MAX_KEYS });
        }
        if input.eat(b'(') {
            let query = self.row(input, depth + 1)?;
            input.octet(b')', "a closing parenthesis")?;
            return Ok(query);
        }
        if input.eat(b'$') {
            return Ok(Key::Uid(self.context.saved.intersection(self.context.messages)).into());
        }
        if input.peek().is_some_and(|octet| octet.is_ascii_digit() || octet == b'*') {
            let numbers = SequenceSet::parse(input)?;
            return numbers.sequence_numbers_in(self.context.messages).map(|uids| Key::Uid(uids).into());
        }
        if input.keyword("NOT") {
            input.space()?;
            return Query::not(self.key(input, depth + 1)?).map_err(too_many);
        }
        if input.keyword("OR") {
            input.space()?;
            let one = self.key(input, depth + 1)?;
            input.space()?;
            let other = self.key(input, depth + 1)?;
            return Query::or(vec![one, other]).map_err(too_many);
        }
        self.simple(input)
    }

    fn simple(&self, input: &mut Input<'_>) -> Result<Query, GrammarError> {
        let recent = || Query::from(Key::Uid(self.context.recent.clone()));
        let not = |query| Query::not(query).map_err(too_many);
        for (with, without, flag) in FLAGS {
            if input.keyword(with) {
                return Ok(Key::Flag(flag).into());
            }
            if input.keyword(without) {
                return not(Key::Flag(flag).into());
            }
        }
        if let Some((_, field)) = FIELDS.iter().find(|(word, _)| input.keyword(word)) {
            return self.string(input).map(|text| Key::header(field, &text).into());
        }
        if let Some((_, key)) = DATES.iter().find(|(word, _)| input.keyword(word)) {
            return date(input).map(|date| key(date).into());
        }
        Ok(if input.keyword("ALL") {
            Query::all()
        } else if input.keyword("NEW") {
            Query::and(vec![recent(), not(Key::Flag(Flag::Seen).into())?]).map_err(too_many)?
        } else if input.keyword("RECENT") {
            recent()
        } else if input.keyword("OLD") {
            not(recent())?
        } else if input.keyword("BODY") {
            Key::Body(self.string(input)?).into()
        } else if input.keyword("TEXT") {
            Key::Text(self.string(input)?).into()
        } else if input.keyword("HEADER") {
            let name = self.string(input)?;
            Key::Header { name, text: self.string(input)? }.into()
        } else if input.keyword("KEYWORD") {
            keyword(input)?
        } else if input.keyword("UNKEYWORD") {
            not(keyword(input)?)?
        } else if input.keyword("LARGER") {
            Key::Larger(number(input)?).into()
        } else if input.keyword("SMALLER") {
            Key::Smaller(number(input)?).into()
        } else if input.keyword("UID") {
            input.space()?;
            let set = SequenceSet::parse(input)?;
            let uids = match set.is_saved() {
                true => self.context.saved.intersection(self.context.messages),
                false => set.uids_in(self.context.messages),
            };
            Key::Uid(uids).into()
        } else if input.keyword("OLDER") {
            Key::Older(interval(input)?).into()
        } else if input.keyword("YOUNGER") {
            Key::Younger(interval(input)?).into()
        } else if input.keyword("MODSEQ") {
            Key::ModSeq(search_mod_seq(input)?).into()
        } else if input.keyword("EMAILID") {
            Key::EmailId(object_id(input)?).into()
        } else if input.keyword("THREADID") {
            Key::ThreadId(object_id(input)?).into()
        } else if input.keyword("SAVEDATESUPPORTED") {
            Key::SaveDateSupported.into()
        } else {
            return Err(input.expected("a search key"));
        })
    }

    /// A string in the charset of the command.
    fn string(&self, input: &mut Input<'_>) -> Result<Box<str>, GrammarError> {
        input.space()?;
        let octets = input.astring()?;
        let text = match self.charset {
            Some(label) => charset::decode(label, &octets).ok_or(GrammarError::Charset)?,
            // RFC 3501 §6.4.4: US-ASCII; clients that send more without saying so mean UTF-8.
            None => String::from_utf8_lossy(&octets),
        };
        Ok(match text {
            Cow::Borrowed(text) => text.into(),
            Cow::Owned(text) => text.into(),
        })
    }
}

fn date(input: &mut Input<'_>) -> Result<Date, GrammarError> {
    input.space()?;
    let here = input.clone();
    let quoted = input.eat(b'"');
    let text = input.atom()?;
    if quoted {
        input.octet(b'"', "a closing quote")?;
    }
    text.parse().map_err(|_| here.expected("a date such as 1-Feb-1994"))
}

fn keyword(input: &mut Input<'_>) -> Result<Query, GrammarError> {
    input.space()?;
    let keyword = Keyword::new(input.atom()?)?;
    Ok(Key::Flag(Flag::Keyword(keyword)).into())
}

/// Seconds, at least one (RFC 5032 §3).
fn interval(input: &mut Input<'_>) -> Result<u32, GrammarError> {
    input.space()?;
    let here = input.clone();
    let seconds = input.number()?;
    if seconds == 0 { Err(here.expected("a number of seconds above 0")) } else { Ok(seconds) }
}

/// A mod-sequence, 0 for any, and perhaps before it the name and kind of a flag: all flags share one mod-sequence here, as
/// RFC 7162 §3.1.5 allows.
fn search_mod_seq(input: &mut Input<'_>) -> Result<ModSeq, GrammarError> {
    input.space()?;
    if input.peek() == Some(b'"') {
        input.quoted()?;
        input.space()?;
        if !["all", "priv", "shared"].iter().any(|kind| input.keyword(kind)) {
            return Err(input.expected("all, priv or shared"));
        }
        input.space()?;
    }
    Ok(ModSeq::new(input.number64()?).unwrap_or(ModSeq::MIN))
}

/// RFC 8474 §7: 1 to 255 letters, digits, `-` and `_`.
fn object_id(input: &mut Input<'_>) -> Result<Box<str>, GrammarError> {
    input.space()?;
    let here = input.clone();
    let id = input.atom()?;
    let fits = id.len() <= 255
        && id.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'));
    if fits { Ok(id.into()) } else { Err(here.expected("an object id")) }
}

fn number(input: &mut Input<'_>) -> Result<u64, GrammarError> {
    input.space()?;
    input.number64()
}

fn too_many(error: QueryError) -> GrammarError {
    match error {
        QueryError::TooDeep(_) => {
            GrammarError::TooMany { what: "levels of search keys", limit: Query::MAX_DEPTH }
        }
        _ => GrammarError::TooMany { what: "search keys", limit: Query::MAX_KEYS },
    }
}

pub(super) fn is_ascii(query: &Query) -> bool {
    match query.node() {
        Node::Key(Key::Header { name, text }) => name.is_ascii() && text.is_ascii(),
        Node::Key(Key::Body(text) | Key::Text(text)) => text.is_ascii(),
        Node::Not(query) => is_ascii(query),
        Node::And(queries) | Node::Or(queries) => queries.iter().all(is_ascii),
        _ => true,
    }
}

/// Whether mod-sequences are searched for, which makes a client one that knows them (RFC 7162 §3.1.5).
pub(crate) fn names_mod_seq(query: &Query) -> bool {
    match query.node() {
        Node::Key(Key::ModSeq(_)) => true,
        Node::Not(query) => names_mod_seq(query),
        Node::And(queries) | Node::Or(queries) => queries.iter().any(names_mod_seq),
        _ => false,
    }
}

/// Writes a query as the keys of a command.
pub(super) fn put_program(query: &Query, wire: &mut impl Wire) {
    match query.node() {
        Node::And(queries) => put_row(queries, wire),
        _ => put(query, wire),
    }
}

fn put_row(queries: &[Query], wire: &mut impl Wire) {
    for (index, query) in queries.iter().enumerate() {
        if index > 0 {
            wire.put(b" ");
        }
        put(query, wire);
    }
}

/// Writes a query as one key. As deep as the query is, which is bounded.
fn put(query: &Query, wire: &mut impl Wire) {
    match query.node() {
        Node::Key(key) => put_key(key, wire),
        Node::Not(query) => {
            wire.put(b"NOT ");
            put(query, wire);
        }
        Node::And(queries) => {
            wire.put(b"(");
            put_row(queries, wire);
            wire.put(b")");
        }
        Node::Or(queries) => put_or(queries, wire),
        // A kind of node that is newer than this file cannot be put into words.
        _ => wire.put(b"ALL"),
    }
}

/// OR takes two keys: halved again and again, many make a shallow tree.
fn put_or(queries: &[Query], wire: &mut impl Wire) {
    if let [only] = queries {
        return put(only, wire);
    }
    let Some((one, other)) = queries.split_at_checked(queries.len().div_ceil(2)) else { return };
    wire.put(b"OR ");
    put_or(one, wire);
    wire.put(b" ");
    put_or(other, wire);
}

fn put_key(key: &Key, wire: &mut impl Wire) {
    let mut argument = |word: &str, text: &str| {
        wire.put(word.as_bytes());
        wire.put(b" ");
        wire.put_astring(text.as_bytes());
    };
    match key {
        Key::Flag(Flag::Keyword(keyword)) => argument("KEYWORD", keyword.as_str()),
        Key::Flag(flag) => {
            let word = FLAGS.iter().find(|(.., known)| known == flag).map_or("ALL", |(word, ..)| word);
            wire.put(word.as_bytes());
        }
        Key::Uid(uids) => put_uids(uids, wire),
        Key::Before(date) => argument("BEFORE", &date.to_string()),
        Key::On(date) => argument("ON", &date.to_string()),
        Key::Since(date) => argument("SINCE", &date.to_string()),
        Key::SentBefore(date) => argument("SENTBEFORE", &date.to_string()),
        Key::SentOn(date) => argument("SENTON", &date.to_string()),
        Key::SentSince(date) => argument("SENTSINCE", &date.to_string()),
        Key::Larger(size) => argument("LARGER", &size.to_string()),
        Key::Smaller(size) => argument("SMALLER", &size.to_string()),
        Key::SavedBefore(date) => argument("SAVEDBEFORE", &date.to_string()),
        Key::SavedOn(date) => argument("SAVEDON", &date.to_string()),
        Key::SavedSince(date) => argument("SAVEDSINCE", &date.to_string()),
        Key::SaveDateSupported => wire.put(b"SAVEDATESUPPORTED"),
        Key::Older(seconds) => argument("OLDER", &seconds.to_string()),
        Key::Younger(seconds) => argument("YOUNGER", &seconds.to_string()),
        Key::EmailId(id) => argument("EMAILID", id),
        Key::ThreadId(id) => argument("THREADID", id),
        Key::ModSeq(sequence) => argument("MODSEQ", &sequence.to_string()),
        Key::Body(text) => argument("BODY", text),
        Key::Text(text) => argument("TEXT", text),
        Key::Header { name, text } => match FIELDS.iter().find(|(_, field)| *field == &**name) {
            Some((word, _)) => argument(word, text),
            None => {
                argument("HEADER", name);
                wire.put(b" ");
                wire.put_astring(text.as_bytes());
            }
        },
        _ => wire.put(b"ALL"),
    }
}

/// The wire has no word for an empty set.
fn put_uids(uids: &UidSet, wire: &mut impl Wire) {
    if uids.is_empty() {
        return wire.put(b"NOT ALL");
    }
    wire.put(b"UID ");
    wire.put_display(uids);
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> impl Strategy<Value = Key> {
        let date = (0_i64..40_000).prop_map(|days| Date::from_days(days).unwrap());
        let text = || ".{0,8}".prop_map(Box::<str>::from);
        let name = prop::sample::select(vec!["From", "Subject", "X-Spam", "a b"]);
        prop_oneof![
            Just(Key::All),
            prop::sample::select(FLAGS.map(|(.., flag)| flag).to_vec()).prop_map(Key::Flag),
            "[a-z$]{1,6}".prop_map(|name| Key::Flag(Keyword::new(&name).unwrap().into())),
            prop::collection::vec(1_u32..50, 1..5).prop_map(|uids| Key::Uid(
                uids.into_iter().filter_map(mailwright_mail_model::Uid::new).collect()
            )),
            (prop::sample::select(DATES.to_vec()), date).prop_map(|((_, key), date)| key(date)),
            (1..1_u64 << 40).prop_map(|seq| Key::ModSeq(ModSeq::new(seq).unwrap())),
            (1..u32::MAX).prop_map(Key::Older),
            "[a-zA-Z0-9_-]{1,9}".prop_map(|id| Key::ThreadId(id.into())),
            (0..1_u64 << 40).prop_map(Key::Larger),
            (0..1_u64 << 40).prop_map(Key::Smaller),
            text().prop_map(Key::Body),
            text().prop_map(Key::Text),
            (name, text()).prop_map(|(name, text)| Key::Header { name: name.into(), text }),
        ]
    }

    pub(crate) fn queries() -> impl Strategy<Value = Query> {
        let leaf = keys().prop_map(Query::from);
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                inner.clone().prop_map(|query| Query::not(query).unwrap()),
                prop::collection::vec(inner.clone(), 1..5).prop_map(|queries| Query::and(queries).unwrap()),
                prop::collection::vec(inner, 1..5).prop_map(|queries| Query::or(queries).unwrap()),
            ]
        })
    }

    fn parse(text: &[u8]) -> Result<Query, GrammarError> {
        let messages: UidSet = "10:14,20".parse().unwrap();
        let recent: UidSet = "14,20".parse().unwrap();
        let mut input = Input::new(text);
        let search = Search::parse(&mut input, false, SearchContext::new(&messages, &recent))?;
        input.end().map(|()| search.query)
    }

    #[test]
    fn numbers_and_recent_become_uids() {
        let uids = |text: &str| Query::from(Key::Uid(text.parse().unwrap()));
        let seen = || Query::from(Key::Flag(Flag::Seen));
        assert_eq!(parse(b" 2:3,*").unwrap(), uids("11:12,20"));
        assert_eq!(parse(b" UID 1:11,900").unwrap(), uids("10:11"));
        assert_eq!(parse(b" RECENT").unwrap(), uids("14,20"));
        assert_eq!(parse(b" OLD").unwrap(), Query::not(uids("14,20")).unwrap());
        assert_eq!(
            parse(b" NEW").unwrap(),
            Query::and(vec![uids("14,20"), Query::not(seen()).unwrap()]).unwrap()
        );
        assert_eq!(parse(b" 7"), Err(GrammarError::OutOfRange { messages: 6 }));
    }

    #[test]
    fn charsets() {
        let subject = |text| Ok(Query::from(Key::header("Subject", text)));
        assert_eq!(parse(b" CHARSET UTF-8 SUBJECT {2}\r\n\xc3\xa9"), subject("\u{e9}"));
        assert_eq!(parse(b" CHARSET iso-8859-1 SUBJECT {1}\r\n\xe9"), subject("\u{e9}"));
        assert_eq!(parse(b" CHARSET BOGUS-8 SUBJECT x"), Err(GrammarError::Charset));
    }

    #[test]
    fn bounds_on_depth_and_number() {
        let deep = |word: &str, count: usize, end: &str| format!(" {}{end}", word.repeat(count));
        assert!(parse(deep("NOT ", 31, "ALL").as_bytes()).is_ok());
        assert!(
            parse(deep("(", 31, "ALL").replace("ALL", &format!("ALL{}", ")".repeat(31))).as_bytes()).is_ok()
        );
        for (word, count, end) in [
            ("NOT ", 30_000, "ALL"),
            ("(", 50_000, "ALL"),
            ("OR ALL ", 20_000, "ALL"),
            ("ALL ", 5_000, "ALL"),
        ] {
            let found = parse(deep(word, count, end).as_bytes());
            assert!(matches!(found, Err(GrammarError::TooMany { .. })), "{word}: {found:?}");
        }
        let uids = vec!["1"; 50_000].join(",");
        assert!(matches!(parse(format!(" UID {uids}").as_bytes()), Err(GrammarError::TooMany { .. })));
    }

    #[test]
    fn refuses_what_is_no_search() {
        for bad in [
            "",
            " ",
            " ALL ",
            " BEFORE 32-Foo-99999",
            " BEFORE \"1-Feb-1994",
            " (ALL",
            " ALL)",
            " KEYWORD \\Seen",
            " OR ALL",
            " NOT",
            " FROM",
            " HEADER a",
            " LARGER x",
            " UID *:x",
            " BOGUS",
            " CHARSET UTF-8",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn is_read_as_it_was_written(query in queries()) {
            let messages: UidSet = "1:100".parse().unwrap();
            let mut wire = Vec::new();
            Search::new(query.clone()).encode(&mut wire);
            let mut input = Input::new(wire.strip_prefix(b"UID SEARCH").unwrap());
            let read = Search::parse(&mut input, true, SearchContext::new(&messages, &messages)).unwrap();
            prop_assert!(input.is_empty());
            prop_assert_eq!(read.query, query);
        }
    }
}
