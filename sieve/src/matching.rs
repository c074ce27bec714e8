//! Match types: how keys are held against values (RFC 5228 §2.7.1, RFC 5231, the regex draft, RFC 6134 §2.4).

mod find;
mod glob;
mod groups;
mod pattern;
mod search;
mod size;
mod threads;

use std::{borrow::Cow, cell::OnceCell};

pub(crate) use glob::Glob;
pub(crate) use pattern::Pattern;

use crate::{Answer, Call, Comparator, Context, Limits, Request, Stop, run::Strings, text::Text};

/// So many octets are searched before they are paid for.
const DEBT: usize = 64 << 10;

/// So many instructions are carried out before they are paid for.
const UNPAID: u64 = 64;

/// How a test matches, as far as that is known when it is compiled.
#[derive(Debug, Clone)]
pub(crate) struct Matching {
    pub(crate) kind: MatchKind,
    pub(crate) comparator: Comparator,
    /// Whether the test has no tags but those that say how it matches.
    pub(crate) plain: bool,
    /// For each key that is constant and has to be compiled, that.
    pub(crate) patterns: Vec<Option<Pattern>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MatchKind {
    Is,
    Contains,
    Matches,
    Regex,
    Value(Relation),
    Count(Relation),
    List,
}

/// RFC 5231 §4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    Equal,
    NotEqual,
}

impl Relation {
    /// # Errors
    /// For the author of the script.
    fn named(name: &str) -> Result<Self, String> {
        Ok(match name.to_ascii_lowercase().as_str() {
            "gt" => Self::Greater,
            "ge" => Self::GreaterEqual,
            "lt" => Self::Less,
            "le" => Self::LessEqual,
            "eq" => Self::Equal,
            "ne" => Self::NotEqual,
            other => return Err(format!("expected gt, ge, lt, le, eq or ne, found `{other}`")),
        })
    }

    fn holds(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Self::Greater => ordering.is_gt(),
            Self::GreaterEqual => ordering.is_ge(),
            Self::Less => ordering.is_lt(),
            Self::LessEqual => ordering.is_le(),
            Self::Equal => ordering.is_eq(),
            Self::NotEqual => ordering.is_ne(),
        }
    }
}

/// Holds the values of one test against its keys, one value after the other.
#[derive(Debug)]
pub struct Matcher<'c> {
    matching: &'c Matching,
    keys: Strings<'c>,
    patterns: Patterns<'c>,
    /// The keys as the comparator sees them, if somebody wants to know.
    folded: OnceCell<Vec<Cow<'c, str>>>,
    count: u64,
}

/// The keys, compiled.
#[derive(Debug)]
enum Patterns<'c> {
    /// With the script.
    Known(&'c [Option<Pattern>]),
    /// Now, some of them, since there are variables in them.
    Now(Vec<Option<Pattern>>),
}

impl Patterns<'_> {
    fn as_slice(&self) -> &[Option<Pattern>] {
        match self {
            Self::Known(patterns) => patterns,
            Self::Now(patterns) => patterns,
        }
    }
}

impl<'c> Matcher<'c> {
    pub(crate) fn new(context: &mut Context, call: &'c Call) -> Result<Self, Stop> {
        let keys = context.strings(call, call.definition.keys)?;
        Self::build(context, call, keys)
    }

    /// The same with other keys than those the call holds.
    pub(crate) fn with_keys(
        context: &mut Context,
        call: &'c Call,
        keys: Vec<Cow<'c, str>>,
    ) -> Result<Self, Stop> {
        Self::build(context, call, keys.into())
    }

    fn build(context: &mut Context, call: &'c Call, keys: Strings<'c>) -> Result<Self, Stop> {
        static DEFAULT: Matching = Matching {
            kind: MatchKind::Is,
            comparator: Comparator::AsciiCasemap,
            plain: false,
            patterns: Vec::new(),
        };
        let matching = call.matching.as_ref().unwrap_or(&DEFAULT);
        let known = &matching.patterns;
        let compiled = known.len() == keys.len() && known.iter().all(Option::is_some);
        let patterns = match matching.kind {
            MatchKind::Matches | MatchKind::Regex if !compiled => {
                Patterns::Now(compile(context, matching, &keys)?)
            }
            _ => Patterns::Known(known),
        };
        Ok(Self { matching, keys, patterns, folded: OnceCell::new(), count: 0 })
    }

    /// Whether the test is about how many values there are, not what they are.
    pub fn counts(&self) -> bool {
        matches!(self.matching.kind, MatchKind::Count(_))
    }

    /// Whether the test has no tags but those that say how it matches.
    pub(crate) const fn is_plain(&self) -> bool {
        self.matching.plain
    }

    /// Whether a value of any length can be held against the keys piece by piece.
    pub(crate) fn searches(&self) -> bool {
        self.matching.kind == MatchKind::Contains
    }

    /// The comparator, and the keys as it sees them.
    pub(crate) fn needles(&self) -> (Comparator, &[Cow<'c, str>]) {
        let comparator = self.matching.comparator;
        let fold = |key: &str| Cow::Owned(comparator.folded(key).into_owned());
        (comparator, self.folded.get_or_init(|| self.keys.iter().map(fold).collect()))
    }

    /// One value more; `true` if it matches, so that the test is true and the rest need not be seen.
    ///
    /// # Errors
    /// If the host has to be asked first, or a limit is reached.
    pub fn value(&mut self, context: &mut Context, value: &str) -> Result<bool, Stop> {
        self.count += 1;
        match self.matching.kind {
            MatchKind::Count(_) => Ok(false),
            MatchKind::Is => {
                let comparator = self.matching.comparator;
                self.compare(context, value, |key| comparator.equal(value, key))
            }
            MatchKind::Value(relation) => {
                let comparator = self.matching.comparator;
                self.compare(context, value, |key| relation.holds(comparator.compare(value, key)))
            }
            MatchKind::Contains => self.contains(context, value),
            MatchKind::Matches | MatchKind::Regex => {
                for pattern in self.patterns.as_slice().iter().flatten() {
                    if pattern.matches(context, self.matching.comparator, value)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            MatchKind::List => self.is_listed(context, value),
        }
    }

    /// Whether anything is so for one of the keys.
    fn compare(
        &self,
        context: &mut Context,
        value: &str,
        is_so: impl Fn(&str) -> bool,
    ) -> Result<bool, Stop> {
        let mut unpaid = 0;
        for key in self.keys.iter() {
            unpaid += 1 + (value.len().min(key.len()) as u64 >> 10);
            if unpaid >= UNPAID {
                context.spend(std::mem::take(&mut unpaid))?;
            }
            if is_so(key) {
                context.spend(unpaid)?;
                return Ok(true);
            }
        }
        context.spend(unpaid)?;
        Ok(false)
    }

    fn contains(&self, context: &mut Context, value: &str) -> Result<bool, Stop> {
        let mut search = |keys: &mut dyn Iterator<Item = &str>, is_in: &dyn Fn(&str) -> bool| {
            let mut unpaid = 0_usize;
            for key in keys {
                unpaid = unpaid.saturating_add(value.len());
                if unpaid >= DEBT {
                    context.charge(std::mem::take(&mut unpaid))?;
                }
                if is_in(key) {
                    context.charge(unpaid)?;
                    return Ok(true);
                }
            }
            context.charge(unpaid)?;
            Ok(false)
        };
        if self.matching.comparator == Comparator::AsciiCasemap {
            return search(&mut self.keys.iter(), &|key| {
                find::ignoring_case(value.as_bytes(), key.as_bytes())
            });
        }
        let (comparator, needles) = self.needles();
        let value = comparator.folded(value);
        search(&mut needles.iter().map(|needle| &**needle), &|key| {
            memchr::memmem::find(value.as_bytes(), key.as_bytes()).is_some()
        })
    }

    /// RFC 6134 §2.4
    fn is_listed(&self, context: &mut Context, value: &str) -> Result<bool, Stop> {
        for key in self.keys.iter() {
            context.charge(value.len().min(key.len()))?;
            let request = Request::ListMember { list: key.to_owned(), value: value.to_owned() };
            if context.ask_truth(request)? {
                // RFC 6134 §2.4: the value that was found is `${0}`.
                context.set_captures(vec![value.to_owned()]);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// One value more that is only counted.
    pub fn counted(&mut self) {
        self.count += 1;
    }

    /// All values have been seen and none has matched.
    ///
    /// # Errors
    /// If a limit is reached.
    pub fn finish(&mut self, context: &mut Context) -> Result<bool, Stop> {
        let MatchKind::Count(relation) = self.matching.kind else { return Ok(false) };
        context.charge(self.keys.len())?;
        // RFC 5231 §4.2: the number of values, as a string.
        let count = self.count.to_string();
        Ok(self.keys.iter().any(|key| relation.holds(self.matching.comparator.compare(&count, key))))
    }
}

/// The keys that have to be compiled; of those that were, what was made of them.
fn compile(
    context: &mut Context,
    matching: &Matching,
    keys: &Strings<'_>,
) -> Result<Vec<Option<Pattern>>, Stop> {
    let most = context.limits().regexes;
    let mut octets = 0_usize;
    let mut patterns = Vec::with_capacity(keys.len());
    for (index, key) in keys.iter().enumerate() {
        if let Some(Some(known)) = matching.patterns.get(index) {
            patterns.push(Some(known.clone()));
            continue;
        }
        context.charge(key.len())?;
        let built = Pattern::compile(matching.kind, matching.comparator, key, context.limits())
            .map_err(Stop::error)?;
        let more = built.as_ref().map_or(0, Pattern::octets);
        // To build one takes far longer than to copy as much.
        context.charge(more)?;
        octets = octets.saturating_add(more);
        if octets > most {
            return Err(Stop::error(format!(
                "the regular expressions of this test need more than {most} octets"
            )));
        }
        patterns.push(built);
    }
    Ok(patterns)
}

impl Call {
    /// What `:comparator` and the match tag say; errors are for the author of the script.
    pub(crate) fn work_out_matching(&mut self, limits: &Limits) -> Result<(), String> {
        let (mut kind, mut comparator, mut plain) = (MatchKind::Is, Comparator::default(), true);
        for tag in self.tags.iter() {
            match &*tag.name {
                "is" => {}
                "contains" => kind = MatchKind::Contains,
                "matches" => kind = MatchKind::Matches,
                "regex" => kind = MatchKind::Regex,
                "list" => kind = MatchKind::List,
                "value" => kind = MatchKind::Value(Relation::named(tag.constant())?),
                "count" => kind = MatchKind::Count(Relation::named(tag.constant())?),
                "comparator" => {
                    let name = tag.constant();
                    comparator = Comparator::of(name)
                        .ok_or_else(|| format!("the comparator `{name}` is not known here"))?;
                }
                _ => plain = false,
            }
        }
        if matches!(kind, MatchKind::Contains | MatchKind::Matches) && !comparator.substrings() {
            // RFC 4790 §9.1.1: it has no substring operation.
            return Err(format!("the comparator `{}` cannot look for parts of strings", comparator.as_str()));
        }
        let patterns = match kind {
            MatchKind::Matches | MatchKind::Regex => {
                let prepare = |key: &Text| match key.constant() {
                    Some(key) => Pattern::prepare(kind, comparator, key, limits),
                    None => Ok(None),
                };
                self.texts(self.definition.keys).iter().map(prepare).collect::<Result<_, _>>()?
            }
            _ => Vec::new(),
        };
        self.matching = Some(Matching { kind, comparator, plain, patterns });
        Ok(())
    }
}

impl Context {
    /// The keys and the match type of a test defined with [`Definition::matching`](crate::Definition::matching).
    ///
    /// # Errors
    /// If a key that is put together at run time is no pattern, or a limit is reached.
    pub fn matcher<'c>(&mut self, call: &'c Call) -> Result<Matcher<'c>, Stop> {
        Matcher::new(self, call)
    }

    pub(crate) fn ask_truth(&mut self, request: Request) -> Result<bool, Stop> {
        match self.ask(request)? {
            Answer::Truth(truth) => Ok(truth),
            other => Err(Stop::error(format!("the host answered {other:?} where yes or no was asked"))),
        }
    }
}
