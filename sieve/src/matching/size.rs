//! How much memory a regular expression takes at most once it is built, which is far more work than to find that out.

use regex_syntax::{
    ast::{
        Ast, ClassSet, ClassSetItem, GroupKind, Literal, RepetitionKind, RepetitionRange,
        parse::ParserBuilder,
    },
    hir::{Class, Hir, HirKind},
    utf8::Utf8Sequences,
};

/// No fewer octets than what is built of an expression takes, in either direction.
pub(super) fn octets(hir: &Hir) -> usize {
    of_states(states(hir))
}

const fn of_states(states: usize) -> usize {
    /// Of one state, with the ways out of it.
    const STATE: usize = 128;
    /// The search for where a match begins, the whole match, and its end.
    const AROUND: usize = 8;
    states.saturating_add(AROUND).saturating_mul(STATE)
}

/// No fewer states than Thompson's construction makes. Its depth is that of the expression, which is limited.
fn states(hir: &Hir) -> usize {
    let sum = |of: &[Hir], each: usize| {
        of.iter().fold(2_usize, |sum, hir| sum.saturating_add(states(hir)).saturating_add(each))
    };
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        // Literals that are alternatives become a tree, with two states where they part.
        HirKind::Literal(literal) => literal.0.len().saturating_mul(3),
        HirKind::Class(Class::Bytes(class)) => class.ranges().len().saturating_add(2),
        HirKind::Class(Class::Unicode(class)) => {
            let octets = class.iter().flat_map(|range| Utf8Sequences::new(range.start(), range.end()));
            octets.fold(2, |sum: usize, sequence| sum.saturating_add(sequence.len()))
        }
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min).max(1);
            let once = states(&repetition.sub).saturating_add(2);
            once.saturating_mul(usize::try_from(times).unwrap_or(usize::MAX)).saturating_add(2)
        }
        HirKind::Capture(capture) => states(&capture.sub).saturating_add(2),
        HirKind::Concat(all) => sum(all, 0),
        HirKind::Alternation(all) => sum(all, 2),
    }
}

/// No fewer octets than [`octets`] of what a key means, with or without regard to case, if the key is of the simple kind that can be
/// told by its look, and is right: ASCII, without flags and without classes of Unicode. `None` for any other key.
pub(super) fn simple_octets(key: &str, nesting: u32) -> Option<usize> {
    let parsed = ParserBuilder::new().nest_limit(nesting).build().parse(key).ok()?;
    simple_states(&parsed).map(of_states)
}

/// A letter in either case, of which some have a relative outside of ASCII.
const LETTER: usize = 8;
/// Any character but a line end, in UTF-8.
const ANY: usize = 40;

fn simple_states(parsed: &Ast) -> Option<usize> {
    let sum = |of: &[Ast], each: usize| {
        of.iter()
            .try_fold(2_usize, |sum, ast| Some(sum.saturating_add(simple_states(ast)?).saturating_add(each)))
    };
    match parsed {
        Ast::Empty(_) | Ast::Assertion(_) => Some(1),
        Ast::Literal(literal) => is_ascii(literal).then_some(LETTER),
        Ast::Dot(_) => Some(ANY),
        Ast::ClassBracketed(class) => match &class.kind {
            ClassSet::Item(item) if !class.negated => simple_item(item),
            _ => None,
        },
        Ast::Repetition(repetition) => {
            let times = match &repetition.op.kind {
                RepetitionKind::Range(RepetitionRange::Exactly(times) | RepetitionRange::AtLeast(times)) => {
                    *times
                }
                RepetitionKind::Range(RepetitionRange::Bounded(_, times)) => *times,
                RepetitionKind::ZeroOrOne | RepetitionKind::ZeroOrMore | RepetitionKind::OneOrMore => 1,
            };
            let once = simple_states(&repetition.ast)?.saturating_add(2);
            Some(once.saturating_mul(usize::try_from(times.max(1)).ok()?).saturating_add(2))
        }
        Ast::Group(group) => match &group.kind {
            GroupKind::NonCapturing(flags) if !flags.items.is_empty() => None,
            _ => Some(simple_states(&group.ast)?.saturating_add(2)),
        },
        Ast::Concat(concat) => sum(&concat.asts, 0),
        Ast::Alternation(alternation) => sum(&alternation.asts, 2),
        Ast::Flags(_) | Ast::ClassUnicode(_) | Ast::ClassPerl(_) => None,
    }
}

fn simple_item(item: &ClassSetItem) -> Option<usize> {
    match item {
        ClassSetItem::Empty(_) => Some(1),
        ClassSetItem::Literal(literal) => is_ascii(literal).then_some(LETTER),
        // Both cases of both ends, and the two relatives outside of ASCII.
        ClassSetItem::Range(range) => (is_ascii(&range.start) && is_ascii(&range.end)).then_some(2 * LETTER),
        ClassSetItem::Union(union) => {
            let items = union.items.iter();
            items.map(simple_item).try_fold(2_usize, |sum, item| Some(sum.saturating_add(item?)))
        }
        ClassSetItem::Ascii(_)
        | ClassSetItem::Unicode(_)
        | ClassSetItem::Perl(_)
        | ClassSetItem::Bracketed(_) => None,
    }
}

const fn is_ascii(literal: &Literal) -> bool {
    literal.c.is_ascii()
}
