//! Keys with wildcards and regular expressions, compiled.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
};

use regex_automata::{
    Anchored, Input, Span,
    meta::{self, Regex},
    util::syntax,
};
use smol_str::SmolStr;

use super::{
    Glob, MatchKind,
    search::{PIECE, Search, Stepped, WHOLE},
    size::{octets, simple_octets},
};
use crate::{Comparator, Context, Limits, Stop};

/// How deep groups and the like may be nested in a regular expression.
const NESTING: u32 = 50;

/// What a step of `:matches` costs in octets compared.
const STEP: usize = 8;

/// A regular expression looks at each octet as often as four octets are compared, and once more for so many octets of its own: what is
/// large may be in many states at once.
const STATES: usize = 8 << 10;

/// How many octets a state of a regular expression takes at least, as far as that tells how long a search may take.
const STATE: usize = 64;

/// A key that has been compiled.
#[derive(Debug, Clone)]
pub(crate) enum Pattern {
    Glob(Arc<Glob>),
    Regex(Built),
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
            MatchKind::Regex => {
                Built::new(key, comparator, limits.regex).map(|built| Some(Self::Regex(built)))
            }
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
            && let Some(later) = Later::new(key, comparator, limits.regex)?
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

    /// Whether it holds matches of its own, which grow with what it is held against.
    pub(super) const fn grows(&self) -> bool {
        matches!(self, Self::Regex(_))
    }

    /// As it is used in one test. A clone of an expression has an automaton of its own, which goes with it: those of programs that are
    /// kept would grow and stay.
    pub(super) fn ready(&self) -> Result<Cow<'_, Self>, Stop> {
        Ok(match self {
            Self::Glob(_) => Cow::Borrowed(self),
            Self::Regex(built) => Cow::Owned(Self::Regex(built.clone())),
            Self::Later(later) => Cow::Owned(Self::Regex(later.built()?)),
        })
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
            Self::Later(later) => later.built()?.matches(context, value, capture),
            Self::Regex(built) => built.matches(context, value, capture),
        }
    }
}

/// What is known of a value before the expression itself is held against it.
enum Look<'v> {
    /// Whether it matches.
    Told(bool),
    /// Where to look: everywhere, or where there is a match, to take it apart.
    Within(Input<'v>),
}

/// A regular expression, ready for searches.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    regex: Regex,
    key: SmolStr,
    comparator: Comparator,
    limit: usize,
    /// The same for long values, once there has been one; nothing if it cannot be made.
    stepped: OnceLock<Option<Arc<Stepped>>>,
}

impl Built {
    /// It is matched in linear time. Its automaton is made while it is used: most that are compiled match a few short values.
    fn new(key: &str, comparator: Comparator, limit: usize) -> Result<Self, String> {
        let config = meta::Config::new()
            .nfa_size_limit(Some(limit))
            .hybrid_cache_capacity(limit)
            .onepass(false)
            .dfa(false);
        let built = meta::Builder::new().configure(config).syntax(rules(comparator)).build(key);
        let regex = built.map_err(|error| {
            if let Some(limit) = error.size_limit() {
                return format!("this regular expression needs more than {limit} octets");
            }
            wrong(&error.syntax_error().map_or_else(|| error.to_string(), ToString::to_string))
        })?;
        Ok(Self { regex, key: key.into(), comparator, limit, stepped: OnceLock::new() })
    }

    fn matches(&self, context: &mut Context, value: &str, capture: bool) -> Result<bool, Stop> {
        context.charge(value.len().saturating_mul(4 + self.regex.memory_usage() / STATES))?;
        let input = match self.look(context, value, capture)? {
            Look::Told(matches) => return Ok(matches),
            Look::Within(input) if !capture => return Ok(self.regex.is_match(input)),
            Look::Within(input) => input,
        };
        let mut captures = self.regex.create_captures();
        self.regex.captures(input, &mut captures);
        if !captures.is_match() {
            return Ok(false);
        }
        let limit = context.limits().match_values;
        let group =
            |span: Option<Span>| span.and_then(|span| value.get(span.range())).unwrap_or_default().to_owned();
        let captures = captures.iter().take(limit).map(group).collect();
        context.set_captures(captures);
        Ok(true)
    }

    /// Goes over a long value in pieces.
    fn look<'v>(&self, context: &mut Context, value: &'v str, capture: bool) -> Result<Look<'v>, Stop> {
        let states = 1 + self.regex.memory_usage() / STATE;
        let all = Input::new(value);
        if value.len().saturating_mul(states) <= PIECE {
            return Ok(Look::Within(all));
        }
        let make = || Stepped::new(&self.key, rules(self.comparator), self.limit).map(Arc::new);
        let search = match self.stepped.get_or_init(make) {
            Some(stepped) => stepped.find(context, value, PIECE / states, capture)?,
            None => Search::Unable,
        };
        let (input, length) = match search {
            Search::Nothing => return Ok(Look::Told(false)),
            Search::Match(_) if !capture => return Ok(Look::Told(true)),
            Search::Match(found) => (all.range(found.clone()).anchored(Anchored::Yes), found.len()),
            Search::Unable => (all, value.len()),
        };
        match length.saturating_mul(states) <= WHOLE {
            true => Ok(Look::Within(input)),
            false => {
                Err(Stop::error(format!("the regular expression `{}` has too much to look at", self.key)))
            }
        }
    }
}

/// A regular expression that is built when it is first needed: that takes far longer than to see that it can be.
#[derive(Debug)]
pub(crate) struct Later {
    key: SmolStr,
    comparator: Comparator,
    limit: usize,
    octets: usize,
    built: OnceLock<Result<Built, String>>,
}

impl Later {
    /// `None` if only building it tells whether it stays within the limit.
    fn new(key: &str, comparator: Comparator, limit: usize) -> Result<Option<Self>, String> {
        // What people mostly write is told by its look; to work out what any other means takes longer.
        let octets = match simple_octets(key).filter(|octets| *octets <= limit) {
            Some(octets) => octets,
            None => {
                let parsed = syntax::parse_with(key, &rules(comparator));
                octets(&parsed.map_err(|error| wrong(&error.to_string()))?)
            }
        };
        let later = || Self { key: key.into(), comparator, limit, octets, built: OnceLock::new() };
        Ok((octets <= limit).then(later))
    }

    fn built(&self) -> Result<Built, Stop> {
        let built = self.built.get_or_init(|| Built::new(&self.key, self.comparator, self.limit));
        built.clone().map_err(Stop::error)
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
                prop_assert!(Built::new(&key, comparator, octets(&parsed)).is_ok(), "{}", key);
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
            let built = Built::new(key, Comparator::AsciiCasemap, limits.regex);
            assert_eq!(prepared.map(|_| ()), built.map(|_| ()), "{key}");
            assert!(Built::new(key, Comparator::AsciiCasemap, limits.regex).is_err(), "{key}");
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
