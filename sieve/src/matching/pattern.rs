//! Keys with wildcards and regular expressions, compiled.

use std::sync::Arc;

use regex_automata::{
    Span,
    meta::{self, Regex},
    util::syntax,
};

use super::{Glob, MatchKind};
use crate::{Comparator, Context, Limits, Stop};

/// What a step of `:matches` costs in octets compared.
const STEP: usize = 8;

/// A key that has been compiled.
#[derive(Debug, Clone)]
pub(crate) enum Pattern {
    Glob(Arc<Glob>),
    Regex(Regex),
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
            MatchKind::Regex => regex(key, comparator, limits).map(|regex| Some(Self::Regex(regex))),
            _ => Ok(None),
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
                let mut steps = 0;
                let most = context.steps_left() / STEP;
                let found = glob.matches(comparator, value, capture, &mut steps, most);
                context.charge(steps.saturating_mul(STEP))?;
                let Some(captures) = found else { return Ok(false) };
                if capture {
                    context.set_captures(captures);
                }
            }
            Self::Regex(regex) => {
                context.charge(value.len().saturating_mul(4))?;
                if !capture {
                    return Ok(regex.is_match(value));
                }
                let mut captures = regex.create_captures();
                regex.captures(value, &mut captures);
                if !captures.is_match() {
                    return Ok(false);
                }
                let limit = context.limits().match_values;
                let group = |span: Option<Span>| {
                    span.and_then(|span| value.get(span.range())).unwrap_or_default().to_owned()
                };
                let captures = captures.iter().take(limit).map(group).collect();
                context.set_captures(captures);
            }
        }
        Ok(true)
    }
}

/// A regular expression, matched in linear time. Its automaton is made while it is used: most that are compiled match a few short values.
fn regex(key: &str, comparator: Comparator, limits: &Limits) -> Result<Regex, String> {
    let config = meta::Config::new()
        .nfa_size_limit(Some(limits.regex))
        .hybrid_cache_capacity(limits.regex)
        .onepass(false)
        .dfa(false);
    let syntax = syntax::Config::new().case_insensitive(comparator != Comparator::Octet).nest_limit(50);
    meta::Builder::new().configure(config).syntax(syntax).build(key).map_err(|error| {
        if let Some(limit) = error.size_limit() {
            return format!("this regular expression needs more than {limit} octets");
        }
        let text = error.syntax_error().map_or_else(|| error.to_string(), ToString::to_string);
        let last = text.lines().last().unwrap_or_default();
        format!("this is no regular expression: {}", last.strip_prefix("error: ").unwrap_or(last))
    })
}
