//! `RETURN (…)`: how the results of SEARCH and its kin are told (RFC 4731, RFC 5182, RFC 6203, RFC 9394).

use mailwright_mail_model::UidSet;

use super::{FetchItem, esearch::sources};
use crate::grammar::{GrammarError, Input, Wire};

/// The most FETCH items behind UPDATE.
const MOST_ITEMS: usize = 64;

/// What to tell of the messages that were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SearchReturn {
    /// `MIN`: the lowest.
    pub min: bool,
    /// `MAX`: the highest.
    pub max: bool,
    /// `ALL`: all of them.
    pub all: bool,
    /// `COUNT`: how many.
    pub count: bool,
    /// `SAVE`: remember them as `$` (RFC 5182).
    pub save: bool,
    /// `PARTIAL`: some of them (RFC 9394 §3.1).
    pub partial: Option<ResultRange>,
    /// `UPDATE`: tell of changes to the results from now on (RFC 5267 §4.3).
    pub update: bool,
    /// `CONTEXT`: the same will be searched for again (RFC 5267 §4.2).
    pub context: bool,
    /// `RELEVANCY`: how well each answers, where something fuzzy is searched for (RFC 6203 §4).
    pub relevancy: bool,
}

/// Some of a row of results, by their place in it, from 1 on.
///
/// ```
/// use mailwright_imap_proto::command::ResultRange;
///
/// let last_two = ResultRange::last(1, 2);
/// assert_eq!(last_two.places(10), 8..10);
/// assert_eq!(ResultRange::first(9, 20).places(10), 8..10);
/// assert_eq!(ResultRange::first(11, 20).places(10), 10..10);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResultRange {
    first: u32,
    last: u32,
    from_end: bool,
}

impl ResultRange {
    /// From one place to another, both included, in either order.
    pub fn first(one: u32, other: u32) -> Self {
        Self { first: one.min(other).max(1), last: one.max(other).max(1), from_end: false }
    }

    /// The same, counted from the last result: `last(1, 2)` are the last two.
    pub fn last(one: u32, other: u32) -> Self {
        Self { from_end: true, ..Self::first(one, other) }
    }

    /// The places from 0 on, among so many results.
    pub fn places(self, results: u64) -> std::ops::Range<u64> {
        let (first, last) = (u64::from(self.first) - 1, u64::from(self.last));
        if self.from_end {
            return results.saturating_sub(last)..results.saturating_sub(first);
        }
        first.min(results)..last.min(results)
    }

    /// Those of a set that are meant.
    pub fn of(self, uids: &UidSet) -> UidSet {
        uids.at(self.places(uids.len()))
    }

    pub(crate) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        let from_end = input.peek() == Some(b'-');
        let number = |input: &mut Input<'_>| {
            let minus = input.eat(b'-');
            let here = input.clone();
            let number = input.number()?;
            let fits = number > 0 && from_end == minus;
            if fits { Ok(number) } else { Err(here.expected("two numbers above 0 with the same sign")) }
        };
        let one = number(input)?;
        input.octet(b':', "a colon")?;
        let other = number(input)?;
        Ok(if from_end { Self::last(one, other) } else { Self::first(one, other) })
    }

    pub(crate) fn encode(self, wire: &mut impl Wire) {
        let sign: &[u8] = if self.from_end { b"-" } else { b"" };
        wire.put(sign);
        wire.put_number(self.first.into());
        wire.put(b":");
        wire.put(sign);
        wire.put_number(self.last.into());
    }
}

impl SearchReturn {
    /// All of the results: what is meant by `RETURN ()`.
    pub fn all() -> Self {
        Self { all: true, ..Self::default() }
    }

    /// Whether the arguments of a search, whatever else is wrong with them, ask for its result to be saved.
    pub(crate) fn saves(arguments: &mut Input<'_>) -> bool {
        let returns = arguments.space().and_then(|()| {
            // RFC 7377 §2.1: where it is searched stands before that.
            sources(arguments)?;
            Self::parse(arguments)
        });
        matches!(returns, Ok((Some(Self { save: true, .. }), _)))
    }

    /// Takes `RETURN (…)` and the space behind it, if it is here; and what is to be sent of messages that come to the results
    /// (RFC 5465 §7).
    pub(crate) fn parse(input: &mut Input<'_>) -> Result<(Option<Self>, Vec<FetchItem>), GrammarError> {
        if !input.keyword("RETURN") {
            return Ok((None, Vec::new()));
        }
        input.space()?;
        let (mut returns, mut sent) = (Self::default(), Vec::new());
        input.list("result options", 32, |input| {
            if input.keyword("MIN") {
                returns.min = true;
            } else if input.keyword("MAX") {
                returns.max = true;
            } else if input.keyword("ALL") {
                returns.all = true;
            } else if input.keyword("COUNT") {
                returns.count = true;
            } else if input.keyword("SAVE") {
                returns.save = true;
            } else if input.keyword("UPDATE") {
                returns.update = true;
                let mut rest = input.clone();
                if rest.eat(b' ') && rest.peek() == Some(b'(') {
                    *input = rest;
                    sent = input.list("FETCH items", MOST_ITEMS, FetchItem::parse)?;
                }
            } else if input.keyword("CONTEXT") {
                returns.context = true;
            } else if input.keyword("RELEVANCY") {
                returns.relevancy = true;
            } else if input.keyword("PARTIAL") {
                input.space()?;
                let here = input.clone();
                // RFC 9394 §3.1: once.
                if returns.partial.replace(ResultRange::parse(input)?).is_some() {
                    return Err(here.expected("PARTIAL only once"));
                }
            } else {
                return Err(
                    input.expected("MIN, MAX, ALL, COUNT, SAVE, PARTIAL, UPDATE, CONTEXT or RELEVANCY")
                );
            }
            Ok(())
        })?;
        input.space()?;
        // RFC 9394 §3.1: one of them says it all.
        if returns.partial.is_some() && returns.all {
            return Err(input.expected("not both ALL and PARTIAL"));
        }
        // A hint asks for nothing by itself.
        if (Self { context: false, ..returns }) == Self::default() {
            returns.all = true;
        }
        Ok((Some(returns), sent))
    }

    /// Writes it with the space behind it.
    pub(crate) fn encode(&self, sent: &[FetchItem], wire: &mut impl Wire) {
        wire.put(b"RETURN (");
        let mut before: &[u8] = b"";
        for (word, wanted) in [
            ("MIN", self.min),
            ("MAX", self.max),
            ("ALL", self.all),
            ("COUNT", self.count),
            ("SAVE", self.save),
            ("UPDATE", self.update),
            ("CONTEXT", self.context),
            ("RELEVANCY", self.relevancy),
            ("PARTIAL", self.partial.is_some()),
        ] {
            if wanted {
                wire.put(std::mem::replace(&mut before, b" "));
                wire.put(word.as_bytes());
                if word == "UPDATE" && !sent.is_empty() {
                    wire.put(b" ");
                    wire.put_list(sent, |wire, item| item.encode(wire));
                }
            }
        }
        if let Some(range) = self.partial {
            wire.put(b" ");
            range.encode(wire);
        }
        wire.put(b") ");
    }

    /// Whether there is nothing to tell (RFC 5182 §2.1).
    pub(crate) fn only_saves(&self) -> bool {
        self.asks_nothing() && self.save
    }

    /// Whether no answer is asked for, but something else.
    pub(crate) fn asks_nothing(&self) -> bool {
        Self { save: false, update: false, context: false, ..*self } == Self::default()
    }

    /// Whether it is not said which of the messages are to be told.
    pub(crate) fn names_none(&self) -> bool {
        Self { relevancy: false, ..*self }.asks_nothing()
    }

    /// What `$` stands for after it found these (RFC 5182 §2.4, RFC 9394 §3.1).
    pub(crate) fn saved_of(&self, found: &UidSet) -> UidSet {
        if self.all || self.count || self.names_none() {
            return found.clone();
        }
        let ends = [found.first().filter(|_| self.min), found.last().filter(|_| self.max)];
        let ends: UidSet = ends.into_iter().flatten().collect();
        match self.partial {
            Some(range) => ends.union(&range.of(found)),
            None => ends,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<SearchReturn>, GrammarError> {
        SearchReturn::parse(&mut Input::new(text.as_bytes())).map(|(returns, _)| returns)
    }

    #[test]
    fn options_are_read_as_they_were_written() {
        for text in [
            "RETURN (MIN MAX ALL COUNT SAVE) ",
            "RETURN (COUNT UPDATE CONTEXT) ",
            "RETURN (UPDATE) ",
            "RETURN (COUNT PARTIAL -1:-100) ",
            "RETURN (PARTIAL 5:9) ",
            "RETURN (ALL RELEVANCY) ",
            "RETURN (COUNT UPDATE (UID BODY.PEEK[HEADER.FIELDS (TO FROM)]) CONTEXT) ",
        ] {
            let mut wire = Vec::new();
            let (returns, sent) = SearchReturn::parse(&mut Input::new(text.as_bytes())).unwrap();
            returns.unwrap().encode(&sent, &mut wire);
            assert_eq!(wire, text.as_bytes());
        }
        assert_eq!(parse("RETURN () x"), Ok(Some(SearchReturn::all())));
        assert_eq!(parse("ALL"), Ok(None));
        for bad in [
            "RETURN",
            "RETURN (MIN)",
            "RETURN (X) ",
            "RETURN (ALL PARTIAL 1:2) ",
            "RETURN (PARTIAL 1:-2) ",
            "RETURN (PARTIAL 0:1) ",
            "RETURN (PARTIAL 1:2 PARTIAL 1:3) ",
            "RETURN (PARTIAL 1) ",
            "RETURN (UPDATE (UID) ",
            "RETURN (UPDATE (X)) ",
            "RETURN (COUNT (UID)) ",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
