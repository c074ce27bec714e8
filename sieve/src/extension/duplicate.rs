//! `duplicate` (RFC 7352).

use mailwright_mail_model::header;

use super::header::{is_name, text};
use crate::{
    Call, Context, Definition, Extension, Parameter, Request, Seen, Stop, Tag, check::Checker, compose,
};

/// So many identifiers of one message are remembered.
const MOST: usize = 1_000;

pub(super) fn extensions() -> Vec<Extension> {
    let test = |unique: &'static str| {
        Definition::test("duplicate", duplicate)
            .tag(Tag::new("handle").value(Parameter::String))
            .tag(Tag::new("header").value(Parameter::String).group("way to tell messages apart"))
            .tag(Tag::new(unique).value(Parameter::String).group("way to tell messages apart"))
            .tag(Tag::new("seconds").value(Parameter::Number))
            .tag(Tag::new("last"))
            .checked(check)
    };
    vec![
        Extension::new("duplicate").conflicts(OLD).test(test("uniqueid")),
        // As it was called in Pigeonhole before RFC 7352: scripts of that time are still there.
        Extension::new(OLD).conflicts("duplicate").test(test("value")),
    ]
}

const OLD: &str = "vnd.dovecot.duplicate";

fn check(checker: &mut Checker<'_>, call: &mut Call) {
    if let Some(name) = call.tag_constant("header")
        && !is_name(name)
    {
        let message = format!("`{name}` is no name of a header field");
        checker.error(call.position, message);
    }
}

fn duplicate(context: &mut Context, call: &Call) -> Result<bool, Stop> {
    let handle = context.tag_text(call, "handle")?.unwrap_or_default();
    let unique = if call.has("value") { "value" } else { "uniqueid" };
    let id = match context.tag_text(call, unique)? {
        Some(id) => id.into_owned(),
        None => {
            let name = context.tag_text(call, "header")?.unwrap_or_else(|| "Message-ID".into());
            let header = context.header(0)?;
            context.charge(header.len())?;
            match header::find(&header, &name) {
                Some(field) => text(field.value()),
                // RFC 7352 §3.1: what cannot be told apart is no duplicate.
                None => return Ok(false),
            }
        }
    };
    let options = &context.input().options;
    let seconds = call.tag_number("seconds").unwrap_or(options.duplicate_default).min(options.duplicate_most);
    // RFC 7352 §3.1: identifiers of `:uniqueid` and those of header fields are told apart, and handles keep both apart.
    let kind = if call.has(unique) { "id" } else { "header" };
    let key = format!("duplicate:{kind}:{:032x}:{:032x}", compose::hash(&[&*handle]), compose::hash(&[&*id]));
    let request = Request::Duplicate { key: key.clone(), seconds, last: call.has("last") };
    let known = context.ask_truth(request)?;
    let here = context.seen.iter().any(|seen| seen.key == key);
    if (!known || call.has("last")) && !here {
        // RFC 7352 §3: it is remembered when the script has ended well, and is no duplicate of itself within it.
        if context.seen.len() >= MOST {
            return Err(Stop::error(format!("the script tells more than {MOST} identifiers apart")));
        }
        context.seen.push(Seen { key, seconds, known });
    }
    Ok(known)
}
