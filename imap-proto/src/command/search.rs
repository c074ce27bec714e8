//! SEARCH (RFC 3501 §6.4.4).

mod parts;
mod reader;
mod words;
mod writer;

use mailwright_mail_model::query::{Key, Node, Query};

pub(super) use self::{
    reader::{charset_name, keys_in, program},
    writer::{is_ascii, put_program},
};
use super::{FetchItem, SearchContext, SearchReturn};
use crate::grammar::{GrammarError, Input, Wire};

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
    /// What a server with NOTIFY sends of each message that comes to results which are kept up to date (RFC 5465 §7).
    pub sent: Vec<FetchItem>,
}

impl Search {
    /// Searches for this, to be answered with UIDs.
    pub fn new(query: Query) -> Self {
        Self { query, by_uid: true, returns: None, sent: Vec::new() }
    }

    pub(super) fn parse(
        input: &mut Input<'_>,
        by_uid: bool,
        context: SearchContext<'_>,
    ) -> Result<Self, GrammarError> {
        input.space()?;
        let (returns, sent) = SearchReturn::parse(input)?;
        let query = program(input, context)?;
        Ok(Self { query, by_uid, returns, sent })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(if self.by_uid { b"UID SEARCH " } else { b"SEARCH " });
        if let Some(returns) = &self.returns {
            returns.encode(&self.sent, wire);
        }
        if !is_ascii(&self.query) {
            wire.put(b"CHARSET UTF-8 ");
        }
        put_program(&self.query, wire);
    }
}

/// Whether mod-sequences are searched for, which makes a client one that knows them (RFC 7162 §3.1.5).
pub(crate) fn names_mod_seq(query: &Query) -> bool {
    match query.node() {
        Node::Key(Key::ModSeq(_)) => true,
        Node::Not(query) | Node::Fuzzy(query) => names_mod_seq(query),
        Node::And(queries) | Node::Or(queries) => queries.iter().any(names_mod_seq),
        _ => false,
    }
}

/// Whether annotations are searched for, which a server has to keep for that (RFC 5257 §4.8).
pub(crate) fn names_annotations(query: &Query) -> bool {
    !query.annotations().is_empty()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use mailwright_mail_model::{AnnotationScope, Date, Flag, Keyword, ModSeq, UidSet};

    use super::{
        words::{DATES, FLAGS},
        *,
    };

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
            (prop::sample::select(vec!["/comment", "*", "/1/%", "/vendor/a b*"]), 0..3_u8, text()).prop_map(
                |(entry, scope, text)| {
                    let scope = match scope {
                        0 => None,
                        1 => Some(AnnotationScope::Private),
                        _ => Some(AnnotationScope::Shared),
                    };
                    Key::Annotation { entry: entry.parse().unwrap(), scope, text }
                }
            ),
        ]
    }

    pub(crate) fn queries() -> impl Strategy<Value = Query> {
        let leaf = keys().prop_map(Query::from);
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                inner.clone().prop_map(|query| Query::not(query).unwrap()),
                inner.clone().prop_map(|query| Query::fuzzy(query).unwrap()),
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

    proptest! {
        /// RFC 9738 §3.2
        #[test]
        fn what_is_after_or_before_a_uid(
            messages in prop::collection::btree_set(prop_oneof![1_u32..30, u32::MAX - 3..=u32::MAX], 0..9),
            uid in prop_oneof![1_u32..30, u32::MAX - 3..=u32::MAX],
        ) {
            let set = |is: &dyn Fn(u32) -> bool| -> UidSet {
                let some = messages.iter().filter(|uid| is(**uid));
                some.filter_map(|uid| mailwright_mail_model::Uid::new(*uid)).collect()
            };
            let (all, recent) = (set(&|_| true), UidSet::new());
            for (word, expected) in
                [("UIDAFTER", set(&|other| other > uid)), ("uidbefore", set(&|other| other < uid))]
            {
                let text = format!(" {word} {uid}");
                let mut input = Input::new(text.as_bytes());
                let found = Search::parse(&mut input, false, SearchContext::new(&all, &recent)).unwrap();
                prop_assert_eq!(found.query, Query::from(Key::Uid(expected)));
            }
        }
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
            " UIDAFTER",
            " UIDAFTER 0",
            " UIDAFTER *",
            " UIDBEFORE 1:2",
            " UIDBEFORE 4294967296",
            " BOGUS",
            " ANNOTATION /comment size \"x\"",
            " ANNOTATION /comment VALUE \"x\"",
            " ANNOTATION comment value \"x\"",
            " ANNOTATION /comment value",
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
