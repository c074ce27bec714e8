//! `imap4flags` (RFC 5232).

use std::collections::BTreeSet;

use crate::{
    Call, Context, Definition, Extension, Flow, Parameter, Stop, Tag, Target, check::Checker,
    matching::MatchKind, text::Text,
};

pub(super) fn extensions() -> Vec<Extension> {
    vec![
        Extension::new("imap4flags")
            .conflicts(OLD)
            .command(command("setflag", |_, new| new).checked(check))
            .command(command("addflag", added).checked(check))
            .command(command("removeflag", removed).checked(check))
            .test(
                Definition::test("hasflag", has_flag)
                    .optional(Parameter::Variables)
                    .parameter(Parameter::Strings)
                    .matching()
                    .checked(check),
            )
            .tag_on(
                Target::Named(&["keep", "fileinto", "vacation", "notify"]),
                Tag::new("flags").value(Parameter::Strings),
            ),
        // What RFC 5232 took the place of (draft-melnikov-sieve-imapflags-03): scripts of that time are still there.
        Extension::new(OLD)
            .conflicts("imap4flags")
            .command(old("setflag", |_, new| new))
            .command(old("addflag", added))
            .command(old("removeflag", removed))
            .command(marking("mark", added))
            .command(marking("unmark", removed)),
    ]
}

const OLD: &str = "imapflags";

/// A command that changes the internal variable, or the one that it names.
fn command(name: &'static str, change: Change) -> Definition {
    Definition::command(name, move |context, call| flags(context, call, change))
        .optional(Parameter::Variable)
        .parameter(Parameter::Strings)
}

/// A command of `imapflags`, which knew the internal variable only.
fn old(name: &'static str, change: Change) -> Definition {
    Definition::command(name, move |context, call| {
        let given = context.texts(call, 0)?;
        change_internal(context, change, normal(given.iter().map(|flag| &**flag)));
        Ok(Flow::Next)
    })
    .parameter(Parameter::Strings)
}

fn marking(name: &'static str, change: Change) -> Definition {
    Definition::command(name, move |context, _| {
        change_internal(context, change, vec!["\\Flagged".to_owned()]);
        Ok(Flow::Next)
    })
}

fn added(mut old: Vec<String>, new: Vec<String>) -> Vec<String> {
    old.extend(new);
    old
}

fn removed(mut old: Vec<String>, new: Vec<String>) -> Vec<String> {
    old.retain(|flag| !new.iter().any(|other| other.eq_ignore_ascii_case(flag)));
    old
}

fn change_internal(context: &mut Context, change: Change, given: Vec<String>) {
    let old = std::mem::take(&mut context.flags);
    context.set_flags(distinct(change(old, given)));
}

type Change = fn(Vec<String>, Vec<String>) -> Vec<String>;

/// RFC 5232 §3: variables other than the internal one need `variables`.
fn check(checker: &mut Checker<'_>, call: &mut Call) {
    if !call.texts(0).is_empty() && !checker.is_active("variables") {
        checker.error(call.position, "a list of flags in a variable needs `require \"variables\";`");
    }
}

fn flags(context: &mut Context, call: &Call, change: Change) -> Result<Flow, Stop> {
    let given = context.texts(call, 1)?;
    let given = normal(given.iter().map(|flag| &**flag));
    match call.texts(0).first() {
        None => change_internal(context, change, given),
        Some(target) => {
            let old = context.target_value(target)?;
            let new = distinct(change(normal(std::iter::once(old.as_str())), given));
            context.assign(target, new.join(" "))?;
        }
    }
    Ok(Flow::Next)
}

/// RFC 5232 §4: each flag of the variables against each key; `:count` counts flags.
fn has_flag(context: &mut Context, call: &Call) -> Result<bool, Stop> {
    let mut held = Vec::new();
    if call.texts(0).is_empty() {
        held.clone_from(&context.flags);
    } else {
        for name in call.texts(0) {
            held.extend(variable_flags(context, name)?);
        }
    }
    let keys = context.texts(call, 1)?;
    // RFC 5232 §2: a key may hold several flags too.
    let patterns = call.matching.as_ref().is_some_and(|matching| {
        matches!(matching.kind, MatchKind::Matches | MatchKind::Regex | MatchKind::Count(_))
    });
    let keys: Vec<_> = match patterns {
        false => keys.iter().flat_map(|key| key.split(' ')).map(|key| key.to_owned().into()).collect(),
        true => keys,
    };
    let mut matcher = crate::Matcher::with_keys(context, call, keys)?;
    for flag in held {
        if matcher.value(context, &flag)? {
            return Ok(true);
        }
    }
    matcher.finish(context)
}

fn variable_flags(context: &mut Context, name: &Text) -> Result<Vec<String>, Stop> {
    let value = context.target_value(name)?;
    Ok(normal(std::iter::once(value.as_str())))
}

/// The flags that strings hold, each once (RFC 5232 §2: several in one string are separated by blanks).
pub(super) fn normal<'a>(strings: impl Iterator<Item = &'a str>) -> Vec<String> {
    let flags = strings.flat_map(|string| string.split([' ', '\t', '\r', '\n']));
    distinct(flags.filter(|flag| is_flag(flag)).map(str::to_owned).collect())
}

fn distinct(mut flags: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    flags.retain(|flag| seen.insert(flag.to_ascii_lowercase()));
    flags
}

/// RFC 9051 §9 `flag` without `\Recent`, which nobody can set. RFC 5232 §2: what is no flag is ignored.
fn is_flag(flag: &str) -> bool {
    let atom = flag.strip_prefix('\\').unwrap_or(flag);
    let letters = |octet: u8| octet.is_ascii_graphic() && !b"(){%*\"\\]".contains(&octet);
    let system = ["\\answered", "\\flagged", "\\deleted", "\\seen", "\\draft"];
    !atom.is_empty()
        && atom.bytes().all(letters)
        && (!flag.starts_with('\\') || system.iter().any(|known| known.eq_ignore_ascii_case(flag)))
}
