//! `processcalendar` (RFC 9671), for a host that answers [`Request::Calendar`].

use crate::{
    Answer, CalendarRequest, Call, Context, Definition, Extension, Flow, Parameter, Request, Stop, Tag,
    check::Checker,
};

pub(super) fn extension() -> Extension {
    let command = Definition::command("processcalendar", process)
        .tag(Tag::new("allowpublic"))
        .tag(Tag::new("addresses").value(Parameter::Strings))
        .tag(Tag::new("updatesonly").group("choice of calendar"))
        .tag(Tag::new("calendarid").value(Parameter::String).group("choice of calendar"))
        .tag(Tag::new("deletecancelled"))
        .tag(Tag::new("organizers").value(Parameter::String))
        .tag(Tag::new("outcome").value(Parameter::Variable))
        .tag(Tag::new("reason").value(Parameter::Variable))
        .checked(check);
    Extension::new("processcalendar").command(command)
}

fn check(checker: &mut Checker<'_>, call: &mut Call) {
    // RFC 9671 §4
    for (tag, extension) in [("outcome", "variables"), ("reason", "variables"), ("organizers", "extlists")] {
        if call.has(tag) && !checker.is_active(extension) {
            checker.error(call.position, format!("`:{tag}` needs `require \"{extension}\";`"));
        }
    }
}

fn process(context: &mut Context, call: &Call) -> Result<Flow, Stop> {
    let mut objects = Vec::new();
    for part in 0..context.current.structure.len() {
        let details = context.current.part(part);
        if details.is_some_and(|part| part.content().media_type().is("text", "calendar")) {
            objects.extend(context.body(part)?);
        }
    }
    let addresses = context.tag_texts(call, "addresses")?.unwrap_or_default();
    let request = CalendarRequest {
        addresses: addresses.into_iter().map(String::from).collect(),
        updates_only: call.has("updatesonly"),
        organizers: context.tag_text(call, "organizers")?.map(String::from),
        calendar_id: context.tag_text(call, "calendarid")?.map(String::from),
        delete_cancelled: call.has("deletecancelled"),
        allow_public: call.has("allowpublic"),
        objects,
    };
    let (outcome, reason) = match request.objects.is_empty() {
        true => (crate::CalendarOutcome::NoAction, "the message has no calendar object".to_owned()),
        false => match context.ask(Request::Calendar(Box::new(request)))? {
            Answer::Calendar { outcome, reason } => (outcome, reason),
            other => return Err(Stop::error(format!("the host answered {other:?} about a calendar object"))),
        },
    };
    for (tag, value) in [("outcome", outcome.as_str().to_owned()), ("reason", reason)] {
        if let Some(target) = call.tag_texts(tag).first() {
            context.assign(target, value)?;
        }
    }
    Ok(Flow::Next)
}
