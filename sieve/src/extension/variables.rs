//! `variables` (RFC 5229).

use crate::{
    Call, Context, Definition, Extension, Flow, Parameter, Stop, Tag, check::Checker, matching::MatchKind,
};

pub(super) fn extensions() -> Vec<Extension> {
    let mut set = Definition::command("set", set);
    for (name, group) in MODIFIERS {
        set = set.tag(Tag::new(*name).group(group));
    }
    let string = Definition::test("string", string)
        .parameter(Parameter::Strings)
        .parameter(Parameter::Strings)
        .matching();
    vec![
        Extension::new("variables")
            .command(set.parameter(Parameter::Variable).parameter(Parameter::String).checked(check))
            .test(string),
    ]
}

/// RFC 5229 §4.1, in the order in which they are applied; there can be one of each group.
pub(super) const MODIFIERS: &[(&str, &str)] = &[
    ("lower", "modifier of letters"),
    ("upper", "modifier of letters"),
    ("lowerfirst", "modifier of the first letter"),
    ("upperfirst", "modifier of the first letter"),
    ("quotewildcard", "modifier that quotes"),
    ("quoteregex", "modifier that quotes"),
    ("encodeurl", "modifier that encodes"),
    ("length", "modifier of length"),
];

/// `:quoteregex` comes with `regex`, `:encodeurl` with `enotify` (RFC 5435 §6).
fn check(checker: &mut Checker<'_>, call: &mut Call) {
    for (tag, extension) in [("quoteregex", "regex"), ("encodeurl", "enotify")] {
        if call.has(tag) && !checker.is_active(extension) {
            checker.error(call.position, format!("`:{tag}` needs `require \"{extension}\";`"));
        }
    }
}

fn set(context: &mut Context, call: &Call) -> Result<Flow, Stop> {
    let value = context.text(call, 1)?.into_owned();
    let value = modified(call, value, context.limits().variable);
    context.set_variable(call, 0, value)?;
    Ok(Flow::Next)
}

/// A value with the modifiers of a call applied. What they would make longer than `most` octets is cut off behind what they make of a whole
/// character.
pub(super) fn modified(call: &Call, mut value: String, most: usize) -> String {
    for (name, _) in MODIFIERS.iter().filter(|(name, _)| call.has(name)) {
        value = modify(name, value, most);
    }
    value
}

fn modify(modifier: &str, mut value: String, most: usize) -> String {
    let first = |value: &mut String, change: fn(&mut str)| {
        if let Some(first) = value.get_mut(..1) {
            change(first);
        }
    };
    match modifier {
        "lower" => value.make_ascii_lowercase(),
        "upper" => value.make_ascii_uppercase(),
        "lowerfirst" => first(&mut value, str::make_ascii_lowercase),
        "upperfirst" => first(&mut value, str::make_ascii_uppercase),
        "quotewildcard" => return each(&value, most, |letter, made| quoted(letter, "*?\\", made)),
        "quoteregex" => return each(&value, most, |letter, made| quoted(letter, ".\\+*?()[]{}|^$", made)),
        "encodeurl" => return each(&value, most, escaped),
        "length" => return value.chars().count().to_string(),
        _ => {}
    }
    value
}

/// What is made of each character, as long as it fits as a whole.
fn each(value: &str, most: usize, mut make: impl FnMut(char, &mut String)) -> String {
    let mut made = String::with_capacity(value.len());
    for letter in value.chars() {
        let before = made.len();
        make(letter, &mut made);
        if made.len() > most {
            made.truncate(before);
            break;
        }
    }
    made
}

fn quoted(letter: char, special: &str, made: &mut String) {
    if special.contains(letter) {
        made.push('\\');
    }
    made.push(letter);
}

/// RFC 3986 §2.3: all but the unreserved characters.
pub(super) fn escaped(letter: char, made: &mut String) {
    if letter.is_ascii_alphanumeric() || "-._~".contains(letter) {
        made.push(letter);
        return;
    }
    for octet in letter.encode_utf8(&mut [0; 4]).bytes() {
        made.push('%');
        for digit in [octet >> 4, octet & 15] {
            made.extend(char::from_digit(u32::from(digit), 16).map(|digit| digit.to_ascii_uppercase()));
        }
    }
}

/// RFC 5229 §5
fn string(context: &mut Context, call: &Call) -> Result<bool, Stop> {
    let mut matcher = context.matcher(call)?;
    let counting = matches!(call.matching.as_ref().map(|matching| matching.kind), Some(MatchKind::Count(_)));
    for value in context.texts(call, 0)? {
        // RFC 5229 §5: an empty string counts for nothing.
        if counting && value.is_empty() {
            continue;
        }
        if matcher.value(context, &value)? {
            return Ok(true);
        }
    }
    matcher.finish(context)
}
