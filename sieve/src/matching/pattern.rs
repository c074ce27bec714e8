//! Keys with wildcards and regular expressions, compiled.

use std::{
    ops::Range,
    sync::{Arc, OnceLock},
};

use regex_automata::{
    Anchored, Input,
    meta::{self, Regex},
    util::syntax,
};
use smol_str::SmolStr;

use super::{
    Glob, MatchKind,
    groups::with_groups,
    search::{PIECE, Search, Stepped},
    size::{octets, simple_octets},
    threads::Threads,
};
use crate::{Comparator, Context, Limits, Stop};

/// How deep groups and the like may be nested in a regular expression.
const NESTING: u32 = 50;

/// What a step of `:matches` costs in octets compared.
const STEP: usize = 8;

/// A regular expression looks at each octet as often as four octets are compared, and once more for so many octets of its own: what is
/// large may be in many states at once.
const STATES: usize = 4 << 10;

/// How many octets a state of a regular expression takes at least, as far as that tells how long a search may take.
const STATE: usize = 32;

/// Values of so many octets are short: to make an automaton for one takes longer than to do without.
const SHORT: usize = 1 << 10;

/// A key that has been compiled.
#[derive(Debug, Clone)]
pub(crate) enum Pattern {
    Glob(Arc<Glob>),
    Regex(Arc<Built>),
    /// A regular expression that is valid and small, and not built yet.
    Later(Arc<Later>),
}

impl Pattern {
    /// # Errors
    /// What is wrong with the key, for the author of the script.
    pub(crate) fn compile(
        kind: MatchKind,
        comparator: Comparator,
        key: &str,
        limits: &Limits,
    ) -> Result<Option<Self>, String> {
        match kind {
            MatchKind::Matches => Ok(Some(Self::Glob(Arc::new(Glob::new(&comparator.folded(key)))))),
            MatchKind::Regex => Built::new(key, comparator, limits.regex, limits.match_values)
                .map(|built| Some(Self::Regex(Arc::new(built)))),
            _ => Ok(None),
        }
    }

    /// The same for a key that a script may never come to.
    pub(crate) fn prepare(
        kind: MatchKind,
        comparator: Comparator,
        key: &str,
        limits: &Limits,
    ) -> Result<Option<Self>, String> {
        if kind == MatchKind::Regex
            && let Some(later) = Later::new(key, comparator, limits.regex, limits.match_values)?
        {
            return Ok(Some(Self::Later(Arc::new(later))));
        }
        Self::compile(kind, comparator, key, limits)
    }

    /// How many octets it takes, or will take once it is built.
    pub(crate) fn octets(&self) -> usize {
        match self {
            Self::Glob(_) => 0,
            Self::Regex(built) => built.regex.memory_usage(),
            Self::Later(later) => later.octets,
        }
    }

    /// Whether a value matches. What it captures is kept if the script can see it.
    pub(super) fn matches(
        &self,
        context: &mut Context,
        comparator: Comparator,
        value: &str,
    ) -> Result<bool, Stop> {
        let capture = context.captures_wanted();
        match self {
            Self::Glob(glob) => {
                let pay = |steps: usize| context.charge(steps.saturating_mul(STEP));
                let Some(captures) = glob.matches(comparator, value, capture, pay)? else { return Ok(false) };
                if capture {
                    context.set_captures(captures);
                }
                Ok(true)
            }
            Self::Later(later) => later.built().map_err(Stop::error)?.matches(context, value, capture),
            Self::Regex(built) => built.matches(context, value, capture),
        }
    }
}

/// A regular expression, ready for searches. What these find out goes with them: programs are kept, and would grow.
#[derive(Debug)]
pub(crate) struct Built {
    regex: Regex,
    key: SmolStr,
    comparator: Comparator,
    limit: usize,
    groups: usize,
    /// The same for long values, once there has been one; nothing if it cannot be made.
    stepped: OnceLock<Option<Stepped>>,
    /// The same for what that cannot tell.
    threads: OnceLock<Option<Threads>>,
}

impl Built {
    /// It is matched in linear time. No automaton is made of it: most that are compiled match a few short values.
    fn new(key: &str, comparator: Comparator, limit: usize, groups: usize) -> Result<Self, String> {
        let config = meta::Config::new().nfa_size_limit(Some(limit)).onepass(false).dfa(false).hybrid(false);
        let parsed =
            syntax::parse_with(key, &rules(comparator)).map_err(|error| wrong(&error.to_string()))?;
        let parsed = with_groups(parsed, groups);
        let built = meta::Builder::new().configure(config).build_from_hir(&parsed);
        let regex = built.map_err(|error| match error.size_limit() {
            Some(limit) => format!("this regular expression needs more than {limit} octets"),
            None => wrong(&error.to_string()),
        })?;
        Ok(Self {
            regex,
            key: key.into(),
            comparator,
            limit,
            groups,
            stepped: OnceLock::new(),
            threads: OnceLock::new(),
        })
    }

    fn matches(&self, context: &mut Context, value: &str, capture: bool) -> Result<bool, Stop> {
        context.charge(value.len().saturating_mul(4 + self.regex.memory_usage() / STATES))?;
        let states = 1 + self.regex.memory_usage() / STATE;
        let groups = match value.len() <= SHORT && value.len().saturating_mul(states) <= PIECE {
            true => self.at_once(context, Input::new(value), capture),
            false => self.in_pieces(context, value, PIECE / states, capture)?,
        };
        let Some(groups) = groups else { return Ok(false) };
        if capture {
            let group =
                |group: Option<Range<usize>>| group.and_then(|range| value.get(range)).unwrap_or_default();
            context.set_captures(groups.into_iter().map(|range| group(range).to_owned()).collect());
        }
        Ok(true)
    }

    /// The groups of the leftmost match, if there is one; none of them if they are not wanted.
    fn at_once(&self, context: &mut Context, input: Input<'_>, capture: bool) -> Option<Groups> {
        let mut scratch = match context.scratch.take() {
            Some(mut scratch) => {
                scratch.reset(&self.regex);
                scratch
            }
            None => Box::new(self.regex.create_cache()),
        };
        let groups = if capture {
            let mut captures = self.regex.create_captures();
            self.regex.search_captures_with(&mut scratch, &input, &mut captures);
            captures.is_match().then(|| captures.iter().map(|span| span.map(|span| span.range())).collect())
        } else {
            self.regex.search_half_with(&mut scratch, &input.earliest(true)).map(|_| Groups::new())
        };
        context.scratch = Some(scratch);
        groups
    }

    /// The same for a long value.
    fn in_pieces(
        &self,
        context: &mut Context,
        value: &str,
        piece: usize,
        capture: bool,
    ) -> Result<Option<Groups>, Stop> {
        let make = || Stepped::new(&self.key, rules(self.comparator), self.limit);
        let search = match self.stepped.get_or_init(make) {
            Some(stepped) => stepped.find(context, value, piece, capture)?,
            None => Search::Unable,
        };
        let (from, just_there) = match search {
            Search::Nothing => return Ok(None),
            Search::Match(_) if !capture => return Ok(Some(Groups::new())),
            Search::Match(found) if found.len() <= SHORT.min(piece) => {
                let input = Input::new(value).range(found).anchored(Anchored::Yes);
                return Ok(self.at_once(context, input, capture));
            }
            Search::Match(found) => (found.start, true),
            Search::Unable => (0, false),
        };
        let make = || Threads::new(&self.key, &rules(self.comparator), self.limit, self.groups);
        match self.threads.get_or_init(make) {
            Some(threads) => threads.find(context, value, from, just_there, capture),
            None => {
                Err(Stop::error(format!("the regular expression `{}` has too much to look at", self.key)))
            }
        }
    }
}

/// Where the groups of a match are, the whole first.
type Groups = Vec<Option<Range<usize>>>;

/// A regular expression that is built when it is first needed: that takes far longer than to see that it can be.
#[derive(Debug)]
pub(crate) struct Later {
    key: SmolStr,
    comparator: Comparator,
    limit: usize,
    groups: usize,
    octets: usize,
    built: OnceLock<Result<Built, String>>,
}

impl Later {
    /// `None` if only building it tells whether it stays within the limit.
    fn new(key: &str, comparator: Comparator, limit: usize, groups: usize) -> Result<Option<Self>, String> {
        // What people mostly write is told by its look; to work out what any other means takes longer.
        let octets = match simple_octets(key).filter(|octets| *octets <= limit) {
            Some(octets) => octets,
            None => {
                let parsed = syntax::parse_with(key, &rules(comparator));
                octets(&parsed.map_err(|error| wrong(&error.to_string()))?)
            }
        };
        let later = || Self { key: key.into(), comparator, limit, groups, octets, built: OnceLock::new() };
        Ok((octets <= limit).then(later))
    }

    fn built(&self) -> Result<&Built, String> {
        let build = || Built::new(&self.key, self.comparator, self.limit, self.groups);
        self.built.get_or_init(build).as_ref().map_err(Clone::clone)
    }
}

fn rules(comparator: Comparator) -> syntax::Config {
    syntax::Config::new().case_insensitive(comparator != Comparator::Octet).nest_limit(NESTING)
}

fn wrong(text: &str) -> String {
    let last = text.lines().last().unwrap_or_default();
    format!("this is no regular expression: {}", last.strip_prefix("error: ").unwrap_or(last))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expression() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "[a-zé*ſ]{1,8}".prop_map(|text| text.replace('*', ".")),
            Just("[a-z0-9_-]".to_owned()),
            Just("[[:alpha:]k.]".to_owned()),
            Just("[sk\\]]".to_owned()),
            Just("[^x]".to_owned()),
            Just("[а-яΑ-ω]".to_owned()),
            Just("\\d".to_owned()),
            Just("\\p{Greek}".to_owned()),
            Just("^".to_owned()),
            Just("\\b".to_owned()),
            Just("(?-u:[a-f])".to_owned()),
            Just("".to_owned()),
        ];
        leaf.prop_recursive(5, 40, 5, |inner| {
            let many = prop::collection::vec(inner.clone(), 1..5);
            prop_oneof![
                many.clone().prop_map(|all| all.concat()),
                many.prop_map(|all| format!("({})", all.join("|"))),
                (inner, "[*+?]|\\{[0-9],\\}|\\{1?[0-9]\\}|\\{[0-4],[5-9]\\}")
                    .prop_map(|(one, times)| format!("(?:{one}){times}")),
            ]
        })
    }

    proptest! {
        /// What is put off to a run does not fail there.
        #[test]
        fn what_is_small_is_built(key in expression()) {
            for comparator in [Comparator::Octet, Comparator::AsciiCasemap] {
                let parsed = syntax::parse_with(&key, &rules(comparator)).unwrap();
                prop_assert!(simple_octets(&key).is_none_or(|simple| simple >= octets(&parsed)), "{}", key);
                prop_assert!(Built::new(&key, comparator, octets(&parsed), 33).is_ok(), "{}", key);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// What is told by its look is right, and told to be no smaller than it is.
        #[test]
        fn what_looks_simple_is(key in "[ab9^$.*+?|()\\[\\]{}\\-\\\\,&:~# ]{0,9}|[abk]?\\[[a-c0-9\\]\\[^&~-]{0,6}\\]?[*+?]?|\\(?(\\?:)?[as]?\\{[0-9,]{0,4}\\}?\\)?") {
            if let Some(simple) = simple_octets(&key) {
                for comparator in [Comparator::Octet, Comparator::AsciiCasemap] {
                    let parsed = syntax::parse_with(&key, &rules(comparator));
                    prop_assert!(parsed.is_ok_and(|parsed| octets(&parsed) <= simple), "{}", key);
                }
            }
        }
    }

    #[test]
    fn errors_are_those_of_building() {
        let large = format!("({}){{1000}}", "[a-zé]".repeat(100));
        for key in [
            "(",
            "a{2,1}",
            "[z-a]",
            "\\1",
            "(?P<n>a)(?P<n>b)",
            "a**{3",
            "a{4294967296}",
            "*",
            "\\p{Nothing}",
            &large,
            "\\w{500}",
            &"(".repeat(60),
        ] {
            let limits = Limits::default();
            let prepared = Pattern::prepare(MatchKind::Regex, Comparator::AsciiCasemap, key, &limits);
            let built = Built::new(key, Comparator::AsciiCasemap, limits.regex, 33);
            assert!(built.is_err(), "{key}");
            assert_eq!(prepared.map(|_| ()), built.map(|_| ()), "{key}");
        }
    }

    #[test]
    fn what_people_mostly_write_looks_simple() {
        for key in [
            "^(re|fwd?): *\\[[a-z]+\\] tea",
            "^\\[([A-Za-z0-9_.-]+)\\]",
            "(?:a|b){2,5}?c{3}d{1,}e?",
            "(viagra|cialis)+.*$",
            "",
            "(|a)",
        ] {
            assert!(simple_octets(key).is_some(), "{key}");
        }
        for key in [
            "[^a]",
            "\\d",
            "é",
            "(?i)a",
            "a**",
            "^*",
            "[[:alpha:]]",
            "[a",
            "a{2,1}",
            "(",
            "a)",
            "[]a]",
            "[b-a]",
        ] {
            assert!(simple_octets(key).is_none(), "{key}");
        }
        assert!(simple_octets(&format!("{}{}", "(".repeat(11), ")".repeat(11))).is_none());
    }

    /// Each of them would take memory for every state: gigabytes.
    #[test]
    fn groups_that_no_script_can_see_are_none() {
        let limits = Limits::default();
        let key = "(x)".repeat(6_000) + "|a*(b)";
        let built = Built::new(&key, Comparator::Octet, limits.regex, limits.match_values).unwrap();
        assert_eq!(built.regex.captures_len(), limits.match_values);
        let message = format!("Subject: {}b\r\n\r\n", "a".repeat(5_000));
        let script = format!(
            "require [\"regex\", \"variables\", \"fileinto\"]; if header :regex \"subject\" \"{key}\" {{ fileinto \"tea${{1}}\"; }}"
        );
        let program = crate::Language::standard().compile(script.as_bytes()).unwrap();
        let outcome = crate::MemoryHost::new(message).run(program);
        assert_eq!(outcome.in_words(), ["fileinto \"tea\""], "{:?}", outcome.error);
    }

    #[test]
    fn only_what_may_be_too_large_is_built_at_once() {
        let prepare = |key: &str| {
            let limits = Limits::default();
            Pattern::prepare(MatchKind::Regex, Comparator::AsciiCasemap, key, &limits).unwrap().unwrap()
        };
        for key in ["^(re|fwd?): *\\[[a-z]+\\] tea", "^.*@.*$", "\\d+", "(a|b){1,20}"] {
            assert!(matches!(prepare(key), Pattern::Later(_)), "{key}");
        }
        assert!(matches!(prepare("[a-z]{1500}"), Pattern::Regex(_)));
    }
}
