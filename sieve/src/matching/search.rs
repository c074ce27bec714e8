//! Searches for regular expressions in long values, a piece at a time: between two of them the host can end the run
//! ([`Run::until`](crate::Run::until)).

use std::ops::Range;

use regex_automata::{
    Anchored, Input,
    hybrid::{
        LazyStateID,
        dfa::{Cache, Config, DFA},
        regex::Regex,
    },
    nfa::thompson,
    util::syntax,
};

use crate::{Context, Stop};

/// What is looked at without a pause, in octets times states of the expression: some milliseconds if it is as slow as it can be.
pub(super) const PIECE: usize = 1 << 20;

/// What came of a search.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Search {
    Nothing,
    /// Where the leftmost match is.
    Match(Range<usize>),
    /// This cannot be searched for in pieces by automata.
    Unable,
}

/// Goes over a value in one direction.
struct Walk<'r> {
    automaton: &'r DFA,
    cache: Cache,
    state: LazyStateID,
    /// Where the match ends that was found last, or where it begins if this goes back.
    found: Option<usize>,
}

/// How a walk goes on.
#[derive(PartialEq, Eq)]
enum Next {
    On,
    Done,
    Unable,
}

/// An automaton in each direction, made while it is used.
#[derive(Debug)]
pub(super) struct Stepped(Regex);

impl Stepped {
    /// `None` if it would be larger than that.
    pub(super) fn new(key: &str, rules: syntax::Config, limit: usize) -> Option<Self> {
        let automaton =
            Config::new().cache_capacity(limit).skip_cache_capacity_check(true).unicode_word_boundary(true);
        let states = thompson::Config::new().nfa_size_limit(Some(limit));
        Regex::builder().syntax(rules).thompson(states).dfa(automaton).build(key).ok().map(Self)
    }

    /// Looks for the leftmost match, with a pause after each `piece` octets. Where it begins is found out only if that is wanted.
    ///
    /// # Errors
    /// If the host says that it takes too long.
    pub(super) fn find(
        &self,
        context: &mut Context,
        value: &str,
        piece: usize,
        wants_start: bool,
    ) -> Result<Search, Stop> {
        let octets = value.as_bytes();
        let Some(mut ahead) = Walk::new(self.0.forward(), &Input::new(value)) else {
            return Ok(Search::Unable);
        };
        let mut next = Next::On;
        for (number, part) in octets.chunks(piece.max(1)).enumerate() {
            context.pause()?;
            let before = number * piece.max(1);
            next = ahead.go(part.iter().enumerate().map(|(at, octet)| (before + at, *octet)));
            if next != Next::On || (ahead.found.is_some() && !wants_start) {
                break;
            }
        }
        if next == Next::On && (ahead.found.is_none() || wants_start) {
            next = ahead.finish(octets.len());
        }
        let end = match (next, ahead.found) {
            (Next::Unable, _) => return Ok(Search::Unable),
            (_, None) => return Ok(Search::Nothing),
            (_, Some(end)) if !wants_start => return Ok(Search::Match(0..end)),
            (_, Some(end)) => end,
        };
        let input = Input::new(value).range(..end).anchored(Anchored::Yes);
        let Some(mut back) = Walk::new(self.0.reverse(), &input) else { return Ok(Search::Unable) };
        next = Next::On;
        let mut behind = end;
        for part in octets.get(..end).unwrap_or_default().rchunks(piece.max(1)) {
            context.pause()?;
            let first = behind - part.len();
            // A match is known one octet later, which here is the one before it.
            next = back.go(part.iter().enumerate().rev().map(|(at, octet)| (first + at + 1, *octet)));
            behind = first;
            if next != Next::On {
                break;
            }
        }
        if next == Next::On {
            next = back.finish(0);
        }
        Ok(match back.found {
            Some(start) if next != Next::Unable => Search::Match(start..end),
            _ => Search::Unable,
        })
    }
}

impl<'r> Walk<'r> {
    fn new(automaton: &'r DFA, input: &Input<'_>) -> Option<Self> {
        let mut cache = automaton.create_cache();
        let state = match input.get_anchored() {
            Anchored::No => automaton.start_state_forward(&mut cache, input),
            _ => automaton.start_state_reverse(&mut cache, input),
        };
        Some(Self { automaton, cache, state: state.ok()?, found: None })
    }

    /// Over some octets; with each comes the place that a match has if this octet makes it known.
    fn go(&mut self, octets: impl Iterator<Item = (usize, u8)>) -> Next {
        for (place, octet) in octets {
            let Ok(state) = self.automaton.next_state(&mut self.cache, self.state, octet) else {
                return Next::Unable;
            };
            self.state = state;
            if state.is_tagged() {
                if state.is_match() {
                    self.found = Some(place);
                } else if state.is_dead() {
                    return Next::Done;
                } else if state.is_quit() {
                    return Next::Unable;
                }
            }
        }
        Next::On
    }

    /// Over the end of the value.
    fn finish(&mut self, place: usize) -> Next {
        let Ok(state) = self.automaton.next_eoi_state(&mut self.cache, self.state) else {
            return Next::Unable;
        };
        if state.is_match() {
            self.found = Some(place);
        }
        if state.is_quit() { Next::Unable } else { Next::Done }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mailwright_mail_model::{DateTime, mime::Structure};
    use proptest::prelude::*;
    use regex_automata::meta;

    use super::*;
    use crate::{Limits, Run, Step};

    fn context() -> Context {
        let input = crate::Input::new(Arc::new(Structure::of(b"Subject: tea\r\n\r\n")), DateTime::EPOCH);
        Context::new(input, Limits::default())
    }

    fn find(key: &str, value: &str, piece: usize, wants_start: bool) -> Search {
        let stepped = Stepped::new(key, syntax::Config::new(), 1 << 20).unwrap();
        stepped.find(&mut context(), value, piece, wants_start).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn pieces_find_what_the_whole_finds(
            key in "(\\^|\\(\\?s\\))?([abé.]|\\[ab\\]|\\(a\\|ab\\)|\\(b\\|ba\\)\\+\\??)([*+?]\\??|\\{1,2\\})?[abé\\n]{0,2}\\$?",
            value in "[abé\n]{0,12}",
            piece in 1..9_usize,
        ) {
            let whole = meta::Regex::new(&key).unwrap().find(&value).map(|found| found.range());
            let expected = whole.clone().map_or(Search::Nothing, Search::Match);
            prop_assert_eq!(find(&key, &value, piece, true), expected, "{}", key);
            prop_assert_eq!(find(&key, &value, piece, false) != Search::Nothing, whole.is_some(), "{}", key);
        }
    }

    #[test]
    fn what_cannot_be_cut_says_so() {
        assert_eq!(find("\\bx", "é tea", 2, true), Search::Unable);
        assert_eq!(find("\\btea", "more tea", 2, true), Search::Match(5..8));
    }

    /// A script that looks at all of a long value, in pieces: what it finds is what it finds in a short one.
    #[test]
    fn long_values_are_taken_apart_as_short_ones_are() {
        let long = "x".repeat(300_000);
        let script = "require [\"regex\", \"variables\", \"fileinto\"];\r\n\
            if header :regex \"subject\" \"(t[eé]a) *(time|[0-9]{2,})$\" { fileinto \"${2}/${1}/${0}\"; }\r\n\
            if not header :regex \"subject\" [\"coffee\", \"^tea\"] { fileinto \"none\"; }";
        for subject in ["tea 42".to_owned(), format!("{long} tea 42"), format!("{long}é tea 42")] {
            let message = format!("Subject: {subject}\r\n\r\n");
            let program = crate::Language::standard().compile(script.as_bytes()).unwrap();
            let outcome = crate::MemoryHost::new(message).run(program);
            assert_eq!(outcome.error, None);
            let lines = outcome.in_words();
            let found = lines.iter().filter(|line| line.contains("42/tea/tea 42")).count();
            assert_eq!(found, 1, "{lines:?}");
            assert_eq!(lines.len(), if subject.len() > 100 { 2 } else { 1 }, "{lines:?}");
        }
    }

    /// A search of one long value is asked about many times.
    #[test]
    fn a_search_ends_when_its_host_says_so() {
        let message = format!("Subject: tea\r\n\r\n{}", "abba".repeat(100_000));
        let script = "require [\"regex\", \"body\"]; if body :raw :regex \"a(a|b){40}c\" { discard; }";
        let program = Arc::new(crate::Language::standard().compile(script.as_bytes()).unwrap());
        for most in [5, u32::MAX] {
            let input = crate::Input::new(Arc::new(Structure::of(message.as_bytes())), DateTime::EPOCH);
            let asked = Arc::new(std::sync::atomic::AtomicU32::new(0));
            let counted = Arc::clone(&asked);
            let over = move || counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1 >= most;
            let mut run = Run::new(Arc::clone(&program), input).until(over);
            let outcome = loop {
                match run.poll() {
                    Step::Need(crate::Request::Octets { range, .. }) => {
                        let range =
                            usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
                        run.answer(crate::Answer::Octets(message.as_bytes()[range].to_vec().into()));
                    }
                    Step::Need(other) => panic!("{other:?}"),
                    Step::Done(outcome) => break outcome,
                }
            };
            let asked = asked.load(std::sync::atomic::Ordering::Relaxed);
            match most {
                5 => assert!(
                    asked == 5 && outcome.error.is_some_and(|error| error.message.contains("too long"))
                ),
                _ => assert!(asked > 40 && outcome.error.is_none(), "{asked}"),
            }
        }
    }
}
