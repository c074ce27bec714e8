//! Writing a search.

use mailwright_mail_model::{
    AnnotationScope, Flag, UidSet,
    query::{Key, Node, Query},
};

use super::{
    parts,
    words::{FIELDS, FLAGS},
};
use crate::{command::annotate::put_pattern, grammar::Wire};

/// Whether all of its texts are ASCII.
pub(in crate::command) fn is_ascii(query: &Query) -> bool {
    match query.node() {
        Node::Key(Key::Header { name, text }) => name.is_ascii() && text.is_ascii(),
        Node::Key(Key::Body(text) | Key::Text(text) | Key::Annotation { text, .. }) => text.is_ascii(),
        Node::Key(Key::Part(query)) => parts::is_ascii(query),
        Node::Not(query) | Node::Fuzzy(query) => is_ascii(query),
        Node::And(queries) | Node::Or(queries) => queries.iter().all(is_ascii),
        _ => true,
    }
}

/// Writes a query as the keys of a command.
pub(in crate::command) fn put_program(query: &Query, wire: &mut impl Wire) {
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
        Node::Fuzzy(query) => {
            wire.put(b"FUZZY ");
            put(query, wire);
        }
        Node::And(queries) => {
            wire.put(b"(");
            put_row(queries, wire);
            wire.put(b")");
        }
        Node::Or(queries) => put_or(queries, wire, &|query, wire| put(query, wire)),
        // A kind of node that is newer than this file cannot be put into words.
        _ => wire.put(b"ALL"),
    }
}

/// OR takes two keys: halved again and again, many make a shallow tree.
pub(super) fn put_or<Q, W: Wire>(queries: &[Q], wire: &mut W, put: &impl Fn(&Q, &mut W)) {
    if let [only] = queries {
        return put(only, wire);
    }
    let Some((one, other)) = queries.split_at_checked(queries.len().div_ceil(2)) else { return };
    wire.put(b"OR ");
    put_or(one, wire, put);
    wire.put(b" ");
    put_or(other, wire, put);
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
        Key::Part(query) => {
            wire.put(b"MIMEPART ");
            parts::put(query, wire);
        }
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
        Key::Annotation { entry, scope, text } => {
            wire.put(b"ANNOTATION ");
            put_pattern(entry, wire);
            wire.put(b" value");
            wire.put(scope.map_or("", AnnotationScope::suffix).as_bytes());
            wire.put(b" ");
            wire.put_astring(text.as_bytes());
        }
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
