//! Reading the keys of a search.

use std::borrow::Cow;

use mailwright_mail_model::{
    AnnotationScope, Date, Flag, Keyword, ModSeq, Uid, charset,
    query::{Key, Query, QueryError},
};

use super::words::Word;
use crate::{
    SequenceSet,
    command::{SearchContext, annotate::pattern},
    grammar::{FEW_ITEMS, GrammarError, Input, upper_case},
};

/// What was expected where no key is.
const KEY: &str = "a search key";
/// How many times the text of a filter is put in the place of its name, one within the other (RFC 5466 §3.1).
const FILTER_PASSES: usize = 3;

/// The charset and the keys of SEARCH and its kin, to the end.
pub(in crate::command) fn program(
    input: &mut Input<'_>,
    context: SearchContext<'_>,
) -> Result<Query, GrammarError> {
    let (here, mut label) = (input.clone(), None);
    if input.keyword("CHARSET") {
        if context.utf8_only {
            // RFC 6855 §3: the labels would be in conflict.
            return Err(here.expected("no charset after ENABLE UTF8=ACCEPT"));
        }
        input.space()?;
        label = charset_name(input)?;
        input.space()?;
    }
    keys_in(label.as_deref(), input, context)
}

/// The name of a known charset; `None` if texts need no conversion from it.
pub(in crate::command) fn charset_name(input: &mut Input<'_>) -> Result<Option<String>, GrammarError> {
    let name = input.text()?;
    charset::decode(&name, b"").ok_or(GrammarError::Charset)?;
    // A byte order mark is a character like any other to search for, so UTF-8 is not for the decoder.
    let is_default = ["UTF-8", "US-ASCII"].iter().any(|label| label.eq_ignore_ascii_case(&name));
    Ok((!is_default).then_some(name))
}

/// The keys behind the name of a charset that has been read already.
pub(in crate::command) fn keys_in(
    label: Option<&str>,
    input: &mut Input<'_>,
    context: SearchContext<'_>,
) -> Result<Query, GrammarError> {
    Reader { context, charset: label, keys: 0, passes: 0 }.row(input, 0)
}

pub(super) struct Reader<'a> {
    context: SearchContext<'a>,
    charset: Option<&'a str>,
    pub(super) keys: usize,
    /// In how many filters this is.
    passes: usize,
}

impl Reader<'_> {
    /// Keys with spaces between them, all of which must hold.
    fn row(&mut self, input: &mut Input<'_>, depth: usize) -> Result<Query, GrammarError> {
        let first = self.key(input, depth)?;
        if input.peek() != Some(b' ') {
            return Ok(first);
        }
        let mut queries = Vec::with_capacity(FEW_ITEMS);
        queries.push(first);
        while input.eat(b' ') {
            queries.push(self.key(input, depth)?);
        }
        Query::and(queries).map_err(too_many)
    }

    /// One key. It calls itself no deeper than a query may be, so a long row of NOTs is an error and no danger.
    fn key(&mut self, input: &mut Input<'_>, depth: usize) -> Result<Query, GrammarError> {
        self.count(depth)?;
        if input.eat(b'(') {
            let query = self.row(input, depth + 1)?;
            input.octet(b')', "a closing parenthesis")?;
            return Ok(query);
        }
        if input.eat(b'$') {
            return Ok(Key::Uid(self.context.saved.intersection(self.context.messages)).into());
        }
        if input.peek().is_some_and(|octet| octet.is_ascii_digit() || octet == b'*') {
            if self.context.uid_only {
                return Err(GrammarError::UidRequired);
            }
            let numbers = SequenceSet::parse(input)?;
            return numbers.sequence_numbers_in(self.context.messages).map(|uids| Key::Uid(uids).into());
        }
        let (here, Ok(word)) = (input.clone(), input.word()) else { return Err(input.expected(KEY)) };
        match &*upper_case(word) {
            b"NOT" => {
                input.space()?;
                Query::not(self.key(input, depth + 1)?).map_err(too_many)
            }
            b"OR" => {
                input.space()?;
                let one = self.key(input, depth + 1)?;
                input.space()?;
                let other = self.key(input, depth + 1)?;
                Query::or(vec![one, other]).map_err(too_many)
            }
            b"FUZZY" => {
                // RFC 6203 §3
                input.space()?;
                Query::fuzzy(self.key(input, depth + 1)?).map_err(too_many)
            }
            b"FILTER" => self.filter(input, depth),
            b"MIMEPART" => {
                input.space()?;
                Ok(Key::Part(self.part(input, depth + 1)?.into()).into())
            }
            word => self.simple(word, input, &here),
        }
    }

    /// A search that is kept on the server, in the place of its name (RFC 5466 §3.1).
    fn filter(&mut self, input: &mut Input<'_>, depth: usize) -> Result<Query, GrammarError> {
        input.space()?;
        let here = input.clone();
        let name = input.atom()?;
        if name.contains('/') {
            return Err(here.expected("the name of a filter"));
        }
        if self.charset.is_some() {
            return Err(GrammarError::FilterCharset);
        }
        let unknown = || GrammarError::Filter(name.to_ascii_lowercase().into());
        // RFC 5466 §3.1: one that names itself is none.
        if self.passes == FILTER_PASSES {
            return Err(GrammarError::FilterLoop(name.into()));
        }
        let found = self.context.filters.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let (_, text) = found.ok_or_else(unknown)?;
        let mut text = Input::new(text.as_bytes()).with_utf8(true);
        self.passes += 1;
        let query = self.row(&mut text, depth + 1);
        let query = query.and_then(|query| match text.is_empty() {
            true => Ok(query),
            false => Err(text.expected("the end of the filter")),
        });
        self.passes -= 1;
        query.map_err(|error| match error {
            // The client sees its own command, where nothing is wrong.
            GrammarError::Syntax { expected, at } => {
                GrammarError::FilterSyntax { name: name.into(), expected, at }
            }
            error => error,
        })
    }

    /// A key that holds no others. `word` is in upper case, and `here` is where it stands.
    fn simple(&self, word: &[u8], input: &mut Input<'_>, here: &Input<'_>) -> Result<Query, GrammarError> {
        let recent = || Query::from(Key::Uid(self.context.recent.clone()));
        let not = |query| Query::not(query).map_err(too_many);
        Ok(match word {
            b"ALL" => Query::all(),
            b"NEW" => Query::and(vec![recent(), not(Key::Flag(Flag::Seen).into())?]).map_err(too_many)?,
            b"RECENT" => recent(),
            b"OLD" => not(recent())?,
            b"BODY" => Key::Body(self.string(input)?).into(),
            b"TEXT" => Key::Text(self.string(input)?).into(),
            b"HEADER" => {
                let name = self.string(input)?;
                Key::Header { name, text: self.string(input)? }.into()
            }
            b"KEYWORD" => keyword(input)?,
            b"UNKEYWORD" => not(keyword(input)?)?,
            b"LARGER" => Key::Larger(number(input)?).into(),
            b"SMALLER" => Key::Smaller(number(input)?).into(),
            b"UID" => {
                input.space()?;
                let set = SequenceSet::parse(input)?;
                let uids = match set.is_saved() {
                    true => self.context.saved.intersection(self.context.messages),
                    false => set.uids_in(self.context.messages),
                };
                Key::Uid(uids).into()
            }
            b"UIDAFTER" => {
                // RFC 9738 §3.2: greater than this one, so that a client need not count beyond it. No `*` means anything here.
                let after = uid(input)?.next();
                let uids = after.map(|first| self.context.messages.within(first..=Uid::MAX));
                Key::Uid(uids.unwrap_or_default()).into()
            }
            b"UIDBEFORE" => {
                let before = uid(input)?.previous();
                let uids = before.map(|last| self.context.messages.within(Uid::MIN..=last));
                Key::Uid(uids.unwrap_or_default()).into()
            }
            b"OLDER" => Key::Older(interval(input)?).into(),
            b"YOUNGER" => Key::Younger(interval(input)?).into(),
            b"MODSEQ" => Key::ModSeq(search_mod_seq(input)?).into(),
            b"EMAILID" => Key::EmailId(object_id(input)?).into(),
            b"THREADID" => Key::ThreadId(object_id(input)?).into(),
            b"ANNOTATION" => self.annotation(input)?,
            b"SAVEDATESUPPORTED" => Key::SaveDateSupported.into(),
            word => match Word::of(word) {
                Some(Word::Flag(flag)) => Key::Flag(flag.clone()).into(),
                Some(Word::NoFlag(flag)) => not(Key::Flag(flag.clone()).into())?,
                Some(Word::Field(field)) => {
                    Key::Header { name: field.into(), text: self.string(input)? }.into()
                }
                Some(Word::Date(key)) => key(date(input)?).into(),
                None => return Err(here.expected(KEY)),
            },
        })
    }

    /// RFC 5257 §4.8: only values can be searched.
    fn annotation(&self, input: &mut Input<'_>) -> Result<Query, GrammarError> {
        input.space()?;
        let entry = pattern(input)?;
        input.space()?;
        let here = input.clone();
        let name = input.astring()?;
        let scopes = [None, Some(AnnotationScope::Private), Some(AnnotationScope::Shared)];
        let suffix = |scope: &Option<AnnotationScope>| scope.map_or("", AnnotationScope::suffix);
        let rest = name.strip_prefix(b"value");
        let scope = scopes.into_iter().find(|scope| rest == Some(suffix(scope).as_bytes()));
        let scope = scope.ok_or_else(|| here.expected("value, value.priv or value.shared"))?;
        Ok(Key::Annotation { entry, scope, text: self.string(input)? }.into())
    }

    /// A string in the charset of the command.
    pub(super) fn string(&self, input: &mut Input<'_>) -> Result<Box<str>, GrammarError> {
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

pub(super) fn date(input: &mut Input<'_>) -> Result<Date, GrammarError> {
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

fn uid(input: &mut Input<'_>) -> Result<Uid, GrammarError> {
    input.space()?;
    let here = input.clone();
    Uid::new(input.number()?).ok_or_else(|| here.expected("a number above 0"))
}

pub(super) fn number(input: &mut Input<'_>) -> Result<u64, GrammarError> {
    input.space()?;
    input.number64()
}

pub(super) fn too_many(error: QueryError) -> GrammarError {
    match error {
        QueryError::TooDeep(_) => {
            GrammarError::TooMany { what: "levels of search keys", limit: Query::MAX_DEPTH }
        }
        _ => GrammarError::TooMany { what: "search keys", limit: Query::MAX_KEYS },
    }
}
