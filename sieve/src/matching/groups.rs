//! The groups of a regular expression that a script can see. Each more would cost memory for every state of it.

use regex_syntax::hir::{Capture, Hir, HirKind, Repetition};

/// The same expression with so many groups at most, the whole match among them; those behind them group and capture nothing.
pub(super) fn with_groups(hir: Hir, most: usize) -> Hir {
    match hir.properties().explicit_captures_len() < most {
        true => hir,
        false => without_others(hir, most),
    }
}

/// Its depth is that of the expression, which is limited.
fn without_others(hir: Hir, most: usize) -> Hir {
    if hir.properties().explicit_captures_len() == 0 {
        return hir;
    }
    let all = |inner: Vec<Hir>| inner.into_iter().map(|hir| without_others(hir, most)).collect();
    let boxed = |inner: Box<Hir>| Box::new(without_others(*inner, most));
    match hir.into_kind() {
        HirKind::Repetition(repetition) => {
            Hir::repetition(Repetition { sub: boxed(repetition.sub), ..repetition })
        }
        HirKind::Capture(capture) => match usize::try_from(capture.index) {
            Ok(index) if index < most => Hir::capture(Capture { sub: boxed(capture.sub), ..capture }),
            _ => without_others(*capture.sub, most),
        },
        HirKind::Concat(inner) => Hir::concat(all(inner)),
        HirKind::Alternation(inner) => Hir::alternation(all(inner)),
        // Nothing is in these.
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Class(class) => Hir::class(class),
        HirKind::Look(look) => Hir::look(look),
    }
}

#[cfg(test)]
mod tests {
    use regex_automata::{meta, util::syntax};

    use super::*;

    fn built(key: &str, most: usize) -> meta::Regex {
        let hir = syntax::parse(key).unwrap();
        meta::Builder::new().build_from_hir(&with_groups(hir, most)).unwrap()
    }

    #[test]
    fn groups_that_nobody_sees_capture_nothing() {
        for (key, value) in [
            ("((a)|(b))+(c(d)?)*(?:(e)|f)", "xabbcdcfe"),
            ("(((x)))(^|(y))(z{2}|(\\b))", "xxyzz x"),
            ("((((((a))))))(?i)(B)", "aab"),
        ] {
            let all = built(key, 99);
            for most in 1..9 {
                let few = built(key, most);
                assert_eq!(few.captures_len(), all.captures_len().min(most), "{key} {most}");
                let (mut expected, mut found) = (all.create_captures(), few.create_captures());
                all.captures(value, &mut expected);
                few.captures(value, &mut found);
                assert!(expected.is_match() && found.iter().eq(expected.iter().take(most)), "{key} {most}");
            }
        }
    }
}
