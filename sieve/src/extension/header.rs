//! `header` (RFC 5228 §5.7), with `:index` (RFC 5260 §6) and `:mime` (RFC 5703 §4.1).

use mailwright_mail_model::parameter::Parameters;

use super::date::check_last;
pub(super) use crate::run::text;
use crate::{
    Call, Context, Definition, Matcher, Parameter, Stop,
    check::Checker,
    run::{Found, Strings},
};

pub(super) fn header() -> Definition {
    Definition::test("header", test)
        .parameter(Parameter::Strings)
        .parameter(Parameter::Strings)
        .matching()
        .checked(check_names)
        .checked(|checker, call| check_last(checker, call))
}

fn test(context: &mut Context, call: &Call) -> Result<bool, Stop> {
    let names = context.strings(call, 0)?;
    let mut matcher = context.matcher(call)?;
    if !matcher.is_plain() {
        return by_tags(context, call, &names, matcher);
    }
    for name in names.iter() {
        let mut from = 0;
        while let Some(field) = context.field(0, name, from)? {
            from = field.next();
            if of_field(context, &mut matcher, field)? {
                return Ok(true);
            }
        }
    }
    matcher.finish(context)
}

/// One field more for a test.
fn of_field(context: &mut Context, matcher: &mut Matcher<'_>, field: Found) -> Result<bool, Stop> {
    if matcher.counts() {
        matcher.counted();
        return Ok(false);
    }
    let text = context.field_text(field)?;
    matcher.value(context, &text)
}

/// The test with tags that say which fields it is about, and what of them.
fn by_tags(
    context: &mut Context,
    call: &Call,
    names: &Strings<'_>,
    mut matcher: Matcher<'_>,
) -> Result<bool, Stop> {
    let parameters = context.tag_texts(call, "param")?;
    let by_media_type = call.has("type") || call.has("subtype") || call.has("contenttype");
    for part in parts(context, call) {
        for field in fields(context, part, names, call)? {
            if by_media_type {
                let value = media_type(context.field_value(field)?, call);
                if matcher.value(context, &value)? {
                    return Ok(true);
                }
            } else if let Some(names) = &parameters {
                let given = Parameters::parse(context.field_value(field)?);
                let values: Vec<_> = names.iter().filter_map(|name| given.decoded(name)).collect();
                for value in values {
                    if matcher.value(context, &value)? {
                        return Ok(true);
                    }
                }
            } else if of_field(context, &mut matcher, field)? {
                return Ok(true);
            }
        }
    }
    matcher.finish(context)
}

/// The parts whose headers a test is about: that of the message, or with `:mime` that of the part a loop is at, and with `:anychild`
/// those of all parts in it.
pub(super) fn parts(context: &Context, call: &Call) -> Vec<usize> {
    if !call.has("mime") && !call.has("anychild") {
        return vec![0];
    }
    let here = context.part_here();
    if call.has("anychild") { within(context, here).collect() } else { vec![here] }
}

/// A part and all parts in it.
pub(super) fn within(context: &Context, part: usize) -> std::ops::Range<usize> {
    let mut after = part + 1;
    let structure = &context.current.structure;
    let mut rest = vec![part];
    // The last of the children, and of its children, and so on, is the last part.
    while let Some(last) = rest.pop().and_then(|part| structure.children(part).last()) {
        after = last + 1;
        rest.push(last);
    }
    part..after
}

/// The fields of these names, name by name; with `:index` only the one that counts (RFC 5260 §6: all named fields are counted, in the
/// order of the list).
pub(super) fn fields(
    context: &mut Context,
    part: usize,
    names: &Strings<'_>,
    call: &Call,
) -> Result<Vec<Found>, Stop> {
    let mut found = context.fields(part, names.iter())?;
    if let Some(index) = call.tag_number("index") {
        if call.has("last") {
            found.reverse();
        }
        let index = usize::try_from(index).unwrap_or(usize::MAX).checked_sub(1);
        found = index.and_then(|index| found.get(index).copied()).into_iter().collect();
    }
    Ok(found)
}

/// RFC 5703 §4.2: what stands before the parameters.
fn media_type(value: &[u8], call: &Call) -> String {
    let text = text(value);
    let full = text.split(';').next().unwrap_or_default().trim();
    let (kind, subtype) = full.split_once('/').unwrap_or((full, ""));
    match (call.has("type"), call.has("subtype")) {
        (true, _) => kind.trim().to_owned(),
        (_, true) => subtype.trim().to_owned(),
        _ => full.to_owned(),
    }
}

/// The first argument names header fields (RFC 5322 §2.2).
pub(super) fn check_names(checker: &mut Checker<'_>, call: &mut Call) {
    for name in call.texts(0).iter().filter_map(|text| text.constant()) {
        if !is_name(name) {
            checker.warn(call.position, format!("`{name}` is no name of a header field"));
        }
    }
}

/// RFC 5322 §3.6.8: printable ASCII without the colon.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_graphic() && octet != b':')
}
