//! SNIPPET and PREVIEW with an algorithm, as Dovecot has had them since before RFC 8970 left the algorithms out: `SNIPPET=FUZZY` and
//! `PREVIEW=FUZZY`. There is no text about them but its source.

use super::FetchItem;
use crate::grammar::{GrammarError, Input, Wire};

/// How many modifiers may stand in the parentheses.
const MOST: usize = 4;

/// By which name the beginning of a text is asked for, and answered, with its algorithm beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FuzzyName {
    /// `SNIPPET`.
    Snippet,
    /// `PREVIEW`.
    Preview,
}

impl FuzzyName {
    /// The word.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Snippet => "SNIPPET",
            Self::Preview => "PREVIEW",
        }
    }
}

/// What stands behind `SNIPPET`: nothing, or modifiers in parentheses.
pub(super) fn snippet(input: &mut Input<'_>) -> Result<FetchItem, GrammarError> {
    let lazy = match input.rest().starts_with(b" (") {
        true => modifiers(input)?.lazy,
        false => false,
    };
    Ok(FetchItem::FuzzyPreview { name: FuzzyName::Snippet, lazy })
}

/// What stands behind `PREVIEW`: with an algorithm, the answer names it too; without, it is RFC 8970's.
pub(super) fn preview(input: &mut Input<'_>) -> Result<FetchItem, GrammarError> {
    let Modifiers { lazy, fuzzy } = modifiers(input)?;
    Ok(match fuzzy {
        true => FetchItem::FuzzyPreview { name: FuzzyName::Preview, lazy },
        false => FetchItem::Preview { lazy },
    })
}

struct Modifiers {
    /// Whether all of them are: what is not lazy may cost something, in whatever order they stand.
    lazy: bool,
    fuzzy: bool,
}

fn modifiers(input: &mut Input<'_>) -> Result<Modifiers, GrammarError> {
    input.space()?;
    let mut fuzzy = false;
    let all = input.list("PREVIEW modifiers", MOST, |input| {
        // The longer word first: no keyword ends before an equals sign.
        for (word, lazy, names_it) in
            [("LAZY=FUZZY", true, true), ("LAZY", true, false), ("FUZZY", false, true)]
        {
            if input.keyword(word) {
                fuzzy |= names_it;
                return Ok(lazy);
            }
        }
        Err(input.expected("LAZY, FUZZY or LAZY=FUZZY"))
    })?;
    Ok(Modifiers { lazy: !all.is_empty() && all.iter().all(|lazy| *lazy), fuzzy })
}

pub(super) fn encode(name: FuzzyName, lazy: bool, wire: &mut impl Wire) {
    wire.put(name.as_str().as_bytes());
    wire.put(if lazy { b" (LAZY=FUZZY)" } else { b" (FUZZY)" });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_that_dovecot_takes_and_that_it_does_not() {
        let snippet = |lazy| FetchItem::FuzzyPreview { name: FuzzyName::Snippet, lazy };
        let fuzzy = |lazy| FetchItem::FuzzyPreview { name: FuzzyName::Preview, lazy };
        for (text, item) in [
            ("SNIPPET", snippet(false)),
            ("SNIPPET (FUZZY)", snippet(false)),
            ("snippet (lazy=fuzzy)", snippet(true)),
            ("SNIPPET (LAZY)", snippet(true)),
            ("SNIPPET (LAZY=FUZZY FUZZY)", snippet(false)),
            ("PREVIEW (FUZZY)", fuzzy(false)),
            ("PREVIEW (LAZY=FUZZY)", fuzzy(true)),
            ("PREVIEW (FUZZY LAZY)", fuzzy(false)),
            ("PREVIEW", FetchItem::Preview { lazy: false }),
            ("PREVIEW (LAZY)", FetchItem::Preview { lazy: true }),
            ("PREVIEW ()", FetchItem::Preview { lazy: false }),
        ] {
            let mut input = Input::new(text.as_bytes());
            assert_eq!(FetchItem::parse(&mut input).unwrap(), item, "{text}");
            assert!(input.is_empty(), "{text}");
            let mut wire = Vec::new();
            item.encode(&mut wire);
            assert_eq!(FetchItem::parse(&mut Input::new(&wire)).unwrap(), item);
        }
        for bad in ["SNIPPET (X)", "SNIPPET (FUZZY", "PREVIEW (LAZY=X)", "PREVIEW (LAZY= FUZZY)", "SNIPPETS"]
        {
            let mut input = Input::new(bad.as_bytes());
            assert!(FetchItem::parse(&mut input).is_err() || !input.is_empty(), "{bad}");
        }
    }
}
