//! `enotify` (RFC 5435); its method `mailto` (RFC 5436) is in [`crate::compose`].

use mailwright_mail_model::header;

use super::vacation::is_mailbox;
use crate::{
    Action, Call, Context, Definition, Extension, Flow, Notify, Parameter, Request, Stop, Tag,
    check::Checker, compose::Mailto,
};

pub(super) fn extensions() -> Vec<Extension> {
    let notify = Definition::command("notify", notify)
        .tag(Tag::new("from").value(Parameter::String))
        .tag(Tag::new("importance").value(Parameter::String))
        .tag(Tag::new("options").value(Parameter::Strings))
        .tag(Tag::new("message").value(Parameter::String))
        .parameter(Parameter::String)
        .checked(check)
        .checked(super::fcc::check);
    vec![
        Extension::new("enotify")
            .conflicts(super::notify::OLD)
            .command(notify)
            .test(Definition::test("valid_notify_method", valid).parameter(Parameter::Strings))
            .test(
                Definition::test("notify_method_capability", capability)
                    .parameter(Parameter::String)
                    .parameter(Parameter::String)
                    .parameter(Parameter::Strings)
                    .matching(),
            ),
    ]
}

fn check(checker: &mut Checker<'_>, call: &mut Call) {
    if let Some(importance) = call.tag_constant("importance")
        && !matches!(importance, "1" | "2" | "3")
    {
        let message = format!("expected importance \"1\", \"2\" or \"3\", found \"{importance}\"");
        checker.error(call.position, message);
    }
    if let Some(from) = call.tag_constant("from")
        && !is_mailbox(from)
    {
        let message = format!("`{from}` is no address");
        checker.error(call.position, message);
    }
    if let Some(method) = call.constant(0) {
        let scheme = method.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
        let message = match scheme.as_deref() {
            None => Some(format!("`{method}` is no URI of a method to notify by")),
            Some("mailto") if Mailto::parse(method).is_none() => Some(format!("`{method}` is no mailto URI")),
            Some(_) => None,
        };
        if let Some(message) = message {
            checker.error(call.position, message);
        }
    }
}

/// RFC 5435 §3
fn notify(context: &mut Context, call: &Call) -> Result<Flow, Stop> {
    let method = context.text(call, 0)?.into_owned();
    if !context.ask_truth(Request::NotifyMethod(method.clone()))? {
        return Err(Stop::error(format!("there is no way to notify by `{method}`")));
    }
    let importance = match context.tag_text(call, "importance")?.as_deref() {
        Some("1") => 1,
        Some("3") => 3,
        None | Some("2") => 2,
        Some(other) => return Err(Stop::error(format!("expected importance 1, 2 or 3, found `{other}`"))),
    };
    let from = context.tag_text(call, "from")?.map(String::from);
    if let Some(from) = &from
        && !is_mailbox(from)
    {
        return Err(Stop::error(format!("`{from}` is no address")));
    }
    let options = context.tag_texts(call, "options")?.unwrap_or_default();
    let options = options.into_iter().map(String::from).collect();
    let message = context.tag_text(call, "message")?.map(String::from);
    let fcc = super::fcc::delivery(context, call)?;
    let about = about(context)?;
    context.act(Action::Notify(Box::new(Notify {
        method,
        from,
        importance,
        options,
        message,
        fcc,
        about,
        id: None,
    })))?;
    Ok(Flow::Next)
}

/// Who and what it is about.
pub(super) fn about(context: &mut Context) -> Result<(String, String), Stop> {
    let header = context.header(0)?;
    let field = |name: &str| {
        let found = header::find(&header, name);
        found.map(|field| String::from_utf8_lossy(&field.text()).into_owned()).unwrap_or_default()
    };
    Ok((field("From"), field("Subject")))
}

/// RFC 5435 §4: all of them.
fn valid(context: &mut Context, call: &Call) -> Result<bool, Stop> {
    for uri in context.texts(call, 0)? {
        if !context.ask_truth(Request::NotifyMethod(uri.into_owned()))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// RFC 5435 §5
fn capability(context: &mut Context, call: &Call) -> Result<bool, Stop> {
    let uri = context.text(call, 0)?.into_owned();
    let capability = context.text(call, 1)?.to_ascii_lowercase();
    let mut matcher = context.matcher(call)?;
    if let Some(value) = context.ask_text(Request::NotifyCapability { uri, capability })?
        && matcher.value(context, &value)?
    {
        return Ok(true);
    }
    matcher.finish(context)
}
