//! Match types: how keys are held against values (RFC 5228 §2.7.1, RFC 5231, the regex draft, RFC 6134 §2.4).

mod glob;
mod pattern;
mod search;
mod size;

use std::borrow::Cow;

pub(crate) use glob::Glob;
pub(crate) use pattern::Pattern;

use smol_str::SmolStr;

use crate::{Answer, Call, Comparator, Context, Limits, Request, Stop, text::Text};

/// So many regular expressions of one test keep what they have found out of one value for the next.
const FEW: usize = 32;

/// So many octets are searched before they are paid for.
const DEBT: usize = 64 << 10;

/// How a test matches, as far as that is known when it is compiled.
#[derive(Debug, Clone)]
pub(crate) struct Matching {
    pub(crate) kind: MatchKind,
    pub(crate) comparator: Comparator,
    /// For each key that is constant and has to be compiled, that.
    pub(crate) patterns: Vec<Option<Pattern>>,
    folded: Folded,
}

/// The keys as the comparator sees them, where parts are looked for.
#[derive(Debug, Clone)]
enum Folded {
    /// Not all keys are constant.
    Unknown,
    /// Just as they stand in the script.
    Same,
    Known(Box<[SmolStr]>),
}

impl Folded {
    fn of(keys: &[Text], comparator: Comparator) -> Self {
        let mut same = true;
        for key in keys {
            let Some(key) = key.constant() else { return Self::Unknown };
            same = same && matches!(comparator.folded(key), Cow::Borrowed(_));
        }
        if same {
            return Self::Same;
        }
        let fold = |key: &Text| comparator.folded(key.constant().unwrap_or_default()).into();
        Self::Known(keys.iter().map(fold).collect())
    }
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
    pub(crate) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "gt" => Self::Greater,
            "ge" => Self::GreaterEqual,
            "lt" => Self::Less,
            "le" => Self::LessEqual,
            "eq" => Self::Equal,
            "ne" => Self::NotEqual,
            _ => return None,
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
    keys: Vec<Cow<'c, str>>,
    /// The keys as the comparator sees them, or compiled.
    folded: Vec<Cow<'c, str>>,
    patterns: Vec<Option<Cow<'c, Pattern>>>,
    count: u64,
}

impl<'c> Matcher<'c> {
    pub(crate) fn new(context: &mut Context, call: &'c Call) -> Result<Self, Stop> {
        let keys = context.texts(call, call.definition.keys)?;
        let folded = call.matching.as_ref().map_or(&Folded::Unknown, |matching| &matching.folded);
        Self::build(context, call, keys, folded)
    }

    /// The same with other keys than those the call holds.
    pub(crate) fn with_keys(
        context: &mut Context,
        call: &'c Call,
        keys: Vec<Cow<'c, str>>,
    ) -> Result<Self, Stop> {
        Self::build(context, call, keys, &Folded::Unknown)
    }

    fn build(
        context: &mut Context,
        call: &'c Call,
        keys: Vec<Cow<'c, str>>,
        known: &'c Folded,
    ) -> Result<Self, Stop> {
        static DEFAULT: Matching = Matching {
            kind: MatchKind::Is,
            comparator: Comparator::AsciiCasemap,
            patterns: Vec::new(),
            folded: Folded::Unknown,
        };
        let matching = call.matching.as_ref().unwrap_or(&DEFAULT);
        let mut patterns = Vec::new();
        let mut folded = Vec::new();
        match matching.kind {
            MatchKind::Matches | MatchKind::Regex => {
                let most = context.limits().regexes;
                let mut octets = 0_usize;
                for (index, key) in keys.iter().enumerate() {
                    patterns.push(match matching.patterns.get(index) {
                        Some(Some(pattern)) => Some(pattern.ready()?),
                        _ => {
                            context.charge(key.len())?;
                            let built =
                                Pattern::compile(matching.kind, matching.comparator, key, context.limits())
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
                            built.map(Cow::Owned)
                        }
                    });
                }
            }
            MatchKind::Contains => {
                let fold = |key: &Cow<'_, str>| Cow::Owned(matching.comparator.folded(key).into_owned());
                folded = match known {
                    Folded::Known(known) => known.iter().map(|key| Cow::Borrowed(key.as_str())).collect(),
                    Folded::Same => keys.clone(),
                    Folded::Unknown => keys.iter().map(fold).collect(),
                };
            }
            _ => {}
        }
        Ok(Self { matching, keys, folded, patterns, count: 0 })
    }

    /// Whether the test is about how many values there are, not what they are.
    pub fn counts(&self) -> bool {
        matches!(self.matching.kind, MatchKind::Count(_))
    }

    /// Whether a value of any length can be held against the keys piece by piece.
    pub(crate) fn searches(&self) -> bool {
        self.matching.kind == MatchKind::Contains
    }

    /// The comparator, and the keys as it sees them.
    pub(crate) fn needles(&self) -> (Comparator, &[Cow<'c, str>]) {
        (self.matching.comparator, &self.folded)
    }

    /// One value more; `true` if it matches, so that the test is true and the rest need not be seen.
    ///
    /// # Errors
    /// If the host has to be asked first, or a limit is reached.
    pub fn value(&mut self, context: &mut Context, value: &str) -> Result<bool, Stop> {
        self.count += 1;
        let comparator = self.matching.comparator;
        match self.matching.kind {
            MatchKind::Count(_) => return Ok(false),
            MatchKind::Contains => {
                let folded = comparator.folded(value);
                let (mut found, mut unpaid) = (false, 0_usize);
                for key in &self.folded {
                    unpaid = unpaid.saturating_add(value.len());
                    if unpaid >= DEBT {
                        context.charge(std::mem::take(&mut unpaid))?;
                    }
                    found = memchr::memmem::find(folded.as_bytes(), key.as_bytes()).is_some();
                    if found {
                        break;
                    }
                }
                context.charge(unpaid)?;
                return Ok(found);
            }
            MatchKind::Matches | MatchKind::Regex => {
                // What few of them hold is kept for the next value; that of many would add up.
                let few = self.patterns.len() <= FEW;
                for pattern in self.patterns.iter().flatten() {
                    let found = match few || !pattern.grows() {
                        true => pattern.matches(context, comparator, value)?,
                        false => pattern.as_ref().clone().matches(context, comparator, value)?,
                    };
                    if found {
                        return Ok(true);
                    }
                }
                return Ok(false);
            }
            _ => {}
        }
        for key in &self.keys {
            context.charge(value.len().min(key.len()))?;
            let found = match self.matching.kind {
                MatchKind::Is => comparator.equal(value, key),
                MatchKind::Value(relation) => relation.holds(comparator.compare(value, key)),
                MatchKind::List => {
                    let request =
                        Request::ListMember { list: key.clone().into_owned(), value: value.to_owned() };
                    let member = context.ask_truth(request)?;
                    if member {
                        // RFC 6134 §2.4: the value that was found is `${0}`.
                        context.set_captures(vec![value.to_owned()]);
                    }
                    member
                }
                _ => false,
            };
            if found {
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

impl Call {
    /// What `:comparator` and the match tag say; errors are for the author of the script.
    pub(crate) fn work_out_matching(&mut self, limits: &Limits) -> Result<(), String> {
        let comparator = match self.tag_constant("comparator") {
            Some(name) => {
                Comparator::of(name).ok_or_else(|| format!("the comparator `{name}` is not known here"))?
            }
            None => Comparator::default(),
        };
        let relation = |tag: &str| {
            let name = self.tag_constant(tag).unwrap_or_default().to_ascii_lowercase();
            Relation::of(&name).ok_or_else(|| format!("expected gt, ge, lt, le, eq or ne, found `{name}`"))
        };
        let kind = if self.has("contains") {
            MatchKind::Contains
        } else if self.has("matches") {
            MatchKind::Matches
        } else if self.has("regex") {
            MatchKind::Regex
        } else if self.has("list") {
            MatchKind::List
        } else if self.has("value") {
            MatchKind::Value(relation("value")?)
        } else if self.has("count") {
            MatchKind::Count(relation("count")?)
        } else {
            MatchKind::Is
        };
        if matches!(kind, MatchKind::Contains | MatchKind::Matches) && !comparator.substrings() {
            // RFC 4790 §9.1.1: it has no substring operation.
            return Err(format!("the comparator `{}` cannot look for parts of strings", comparator.as_str()));
        }
        let keys = self.texts(self.definition.keys);
        let patterns = match kind {
            MatchKind::Matches | MatchKind::Regex => {
                let prepare = |key: &Text| match key.constant() {
                    Some(key) => Pattern::prepare(kind, comparator, key, limits),
                    None => Ok(None),
                };
                keys.iter().map(prepare).collect::<Result<_, _>>()?
            }
            _ => Vec::new(),
        };
        let folded = match kind {
            MatchKind::Contains => Folded::of(keys, comparator),
            _ => Folded::Unknown,
        };
        self.matching = Some(Matching { kind, comparator, patterns, folded });
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
