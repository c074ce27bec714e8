//! `notify` as it was before RFC 5435 (draft-martin-sieve-notify-01), by mail only: scripts of that time are still there.

use mailwright_mail_model::header;

use super::{base::addr_spec, parts::read_text, variables::escaped};
use crate::{
    Action, Call, Comparator, Context, Definition, Extension, Flow, Notify, Parameter, Request, Stop, Tag,
    check::Checker, matching::Glob,
};

/// What took its place.
const NEW: &str = "enotify";
pub(super) const OLD: &str = "notify";

/// The most recipients of one notification.
const RECIPIENTS: usize = 8;

/// What is told if the script does not say.
const MESSAGE: &str = "$from$: $subject$";

pub(super) fn extensions() -> Vec<Extension> {
    let notify = importance(
        Definition::command("notify", notify)
            .tag(Tag::new("method").value(Parameter::Constant))
            .tag(Tag::new("id").value(Parameter::Constant))
            .tag(Tag::new("options").value(Parameter::Strings))
            .tag(Tag::new("message").value(Parameter::String)),
    );
    let tag = |name: &'static str| Tag::new(name).value(Parameter::String).group("match type");
    // Here the match type takes what it is held against, and may stand behind the importance or before it.
    let denotify = importance(Definition::command("denotify", denotify));
    let denotify = MATCH_TYPES.iter().fold(denotify, |denotify, name| denotify.tag(tag(name)));
    vec![
        Extension::new(OLD)
            .conflicts(NEW)
            .command(notify.checked(check).checked(super::fcc::check))
            .command(denotify),
    ]
}

const MATCH_TYPES: [&str; 3] = ["is", "contains", "matches"];

/// How important, and what number RFC 5435 §3.4 has for it.
const IMPORTANCE: [(&str, u8); 3] = [("high", 1), ("normal", 2), ("low", 3)];

fn importance(definition: Definition) -> Definition {
    let tag = |name: &'static str| Tag::new(name).group("importance");
    IMPORTANCE.iter().fold(definition, |definition, (name, _)| definition.tag(tag(name)))
}

fn importance_of(call: &Call) -> Option<u8> {
    IMPORTANCE.iter().find(|(name, _)| call.has(name)).map(|(_, number)| *number)
}

fn check(checker: &mut Checker<'_>, call: &mut Call) {
    if let Some(method) = call.tag_constant("method")
        && !method.eq_ignore_ascii_case("mailto")
    {
        let message = format!("there is no way to notify by `{method}`, but by `mailto`");
        checker.error(call.position, message);
    }
    if !call.has("options") {
        checker.error(call.position, "`notify` takes `:options`, the addresses to notify");
    }
    let mut options = call.tag_texts("options").iter().filter_map(|text| text.constant());
    if let Some(other) = options.find(|address| addr_spec(address).is_none()) {
        let message = format!("`{other}` is no address");
        checker.error(call.position, message);
    }
}

/// What a notification is to say, once that is known: it may take reading, and is not read again for each question to the host.
struct Ready(String);

fn notify(context: &mut Context, call: &Call) -> Result<Flow, Stop> {
    let method = match context.progress::<Ready>() {
        Some(Ready(method)) => method,
        None => method(context, call)?,
    };
    let done = tell(context, call, &method);
    if done.is_err() {
        context.save(Ready(method));
    }
    done.map(|()| Flow::Next)
}

/// The URI of whom to tell, and what.
fn method(context: &mut Context, call: &Call) -> Result<String, Stop> {
    let mut method = "mailto:".to_owned();
    let options = context.tag_texts(call, "options")?.unwrap_or_default();
    if options.len() > RECIPIENTS {
        return Err(Stop::error(format!("a notification goes to at most {RECIPIENTS} addresses")));
    }
    for (number, option) in options.iter().enumerate() {
        let address = addr_spec(option).ok_or_else(|| Stop::error(format!("`{option}` is no address")))?;
        method.push_str(if number > 0 { "," } else { "" });
        address.chars().for_each(|letter| escaped(letter, &mut method));
    }
    let message = context.tag_text(call, "message")?.unwrap_or_else(|| MESSAGE.into());
    let message = filled_in(context, &message)?;
    context.charge(message.len())?;
    method.push_str("?body=");
    message.chars().for_each(|letter| escaped(letter, &mut method));
    Ok(method)
}

fn tell(context: &mut Context, call: &Call, method: &str) -> Result<(), Stop> {
    if !context.ask_truth(Request::NotifyMethod(method.to_owned()))? {
        return Err(Stop::error("there is no way to notify by mail"));
    }
    let fcc = super::fcc::delivery(context, call)?;
    let about = super::enotify::about(context)?;
    context.act(Action::Notify(Box::new(Notify {
        about,
        method: method.to_owned(),
        importance: importance_of(call).unwrap_or(2),
        id: call.tag_constant("id").map(str::to_owned),
        fcc,
        ..Notify::default()
    })))
}

/// A text with what stands between dollars filled in: `$from$`, `$env-from$`, `$subject$`, `$text$`, and so many characters of it, `$text[n]$`.
fn filled_in(context: &mut Context, text: &str) -> Result<String, Stop> {
    let most = context.limits().variable;
    let header = context.header(0)?;
    let field = |name: &str| {
        header::find(&header, name).map(|field| super::header::text(field.value())).unwrap_or_default()
    };
    let body = if text.contains("$text") { first_text(context)? } else { String::new() };
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('$') {
        filled.push_str(before);
        let name = behind.split_once('$').map(|(name, _)| name);
        let value = match name {
            Some("from") => Some(field("From")),
            Some("subject") => Some(field("Subject")),
            Some("env-from") => Some(context.input().envelope.from.clone().unwrap_or_default()),
            Some("text") => Some(body.clone()),
            Some(name) => limit_of(name).map(|limit| body.chars().take(limit).collect()),
            None => None,
        };
        rest = match (name, value) {
            (Some(name), Some(value)) => {
                filled.push_str(value.trim_end());
                behind.get(name.len() + 1..).unwrap_or_default()
            }
            _ => {
                filled.push('$');
                behind
            }
        };
        if filled.len() > most {
            break;
        }
    }
    filled.push_str(rest);
    let end = (0..=most.min(filled.len())).rev().find(|at| filled.is_char_boundary(*at));
    filled.truncate(end.unwrap_or_default());
    Ok(filled)
}

fn limit_of(name: &str) -> Option<usize> {
    name.strip_prefix("text[")?.strip_suffix(']')?.parse().ok()
}

/// The first text of the message.
fn first_text(context: &mut Context) -> Result<String, Stop> {
    let first = context.current.structure.parts().position(|part| {
        let media = part.content().media_type();
        media.is("text", "plain")
    });
    first.map_or(Ok(String::new()), |part| read_text(context, part, true))
}

/// Takes back notifications of this script: those of an `:id` that matches, and of that importance, as far as either is given.
fn denotify(context: &mut Context, call: &Call) -> Result<Flow, Stop> {
    let mut wanted = None;
    for name in MATCH_TYPES {
        if let Some(key) = context.tag_text(call, name)? {
            wanted = Some((name, key.to_ascii_lowercase()));
        }
    }
    let mut gone = Vec::new();
    for index in context.committed..context.actions.len() {
        let Some(Action::Notify(notify)) = context.actions.get(index) else { continue };
        if importance_of(call).is_some_and(|importance| importance != notify.importance) {
            continue;
        }
        // RFC 5228 §2.7.3: by `i;ascii-casemap`, as nothing else is said.
        let id = notify.id.clone().unwrap_or_default().to_ascii_lowercase();
        let matches = match &wanted {
            None => true,
            Some(("is", key)) => id == *key,
            Some(("contains", key)) => id.contains(key),
            Some((_, key)) => {
                let pay = |steps| context.charge(steps);
                Glob::new(key).matches(Comparator::AsciiCasemap, &id, false, pay)?.is_some()
            }
        };
        if matches {
            gone.push(index);
        }
    }
    let mut index = 0;
    context.actions.retain(|_| {
        index += 1;
        !gone.contains(&(index - 1))
    });
    Ok(Flow::Next)
}
