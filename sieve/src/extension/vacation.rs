//! `vacation` (RFC 5230) and `vacation-seconds` (RFC 6131).

use std::sync::Arc;

use mailwright_mail_model::address_list::{self, Entry};

use crate::{
    Action, Call, Context, Definition, Extension, Flow, Parameter, Stop, Tag, Target,
    check::Checker,
    compose,
    vacation::{self, Vacation},
};

pub(super) fn extensions() -> Vec<Extension> {
    let command = Definition::command("vacation", command)
        .tag(Tag::new("days").value(Parameter::Number).group("period"))
        .tag(Tag::new("subject").value(Parameter::String))
        .tag(Tag::new("from").value(Parameter::String))
        .tag(Tag::new("addresses").value(Parameter::Strings))
        .tag(Tag::new("mime"))
        .tag(Tag::new("handle").value(Parameter::String))
        .parameter(Parameter::String)
        .checked(check)
        .checked(super::fcc::check);
    vec![
        Extension::new("vacation").command(command),
        Extension::new("vacation-seconds").implies("vacation").tag_on(
            Target::Named(&["vacation"]),
            Tag::new("seconds").value(Parameter::Number).group("period"),
        ),
    ]
}

fn command(context: &mut Context, call: &Call) -> Result<Flow, Stop> {
    if context.input().event {
        // RFC 6785 §3.11
        return Err(Stop::error("a message that is not being delivered is not answered"));
    }
    let from = context.tag_text(call, "from")?.map(String::from);
    if let Some(from) = &from
        && !is_mailbox(from)
    {
        return Err(Stop::error(format!("`{from}` is no address")));
    }
    let options = Arc::clone(&context.input().options);
    let addresses = context.tag_texts(call, "addresses")?.unwrap_or_default();
    let vacation = Vacation {
        reason: context.text(call, 0)?.into_owned(),
        subject: context.tag_text(call, "subject")?.map(String::from),
        from,
        addresses: addresses.into_iter().map(String::from).collect(),
        mime: call.has("mime"),
        handle: context.tag_text(call, "handle")?.map(String::from),
        seconds: options.vacation_period(call.tag_number("seconds"), call.tag_number("days")),
        unaddressed: options.vacation_unaddressed,
        final_recipient: options.vacation_final_recipient,
        fcc: super::fcc::delivery(context, call)?,
        subject_default: options.vacation_subject_default.clone(),
        subject_template: options.vacation_subject_template.clone(),
        subject_most: options.vacation_subject_most,
        to_header_sender: options.vacation_to_header_sender,
    };
    // RFC 5293 §4: what the script has made of the message.
    let header = context.header(0)?;
    let input = context.input();
    let mut envelope = input.envelope.clone();
    if input.shared_recipient {
        (envelope.to, envelope.original_to) = (None, None);
    }
    match vacation::reply(&vacation, &header, &envelope, &input.addresses) {
        Ok(reply) => context.act(Action::Vacation(Box::new(reply)))?,
        Err(silence) => context.log(format!("no vacation answer: {silence}")),
    }
    Ok(Flow::Next)
}

fn check(checker: &mut Checker<'_>, call: &mut Call) {
    if let Some(from) = call.tag_constant("from")
        && !is_mailbox(from)
    {
        let message = format!("`{from}` is no address");
        checker.error(call.position, message);
    }
    // RFC 5230 §4.5
    if call.has("mime")
        && let Some(reason) = call.constant(0)
        && compose::mime_part(&compose::lines(reason)).is_none()
    {
        let message = "what `:mime` sends begins with its fields, such as `Content-Type: text/plain; charset=utf-8`, and an empty line; this is sent as a text";
        checker.warn(call.position, message);
    }
    let mut addresses = call.tag_texts("addresses").iter().filter_map(|text| text.constant());
    if let Some(other) = addresses.find(|address| !is_mailbox(address)) {
        let message = format!("`{other}` is no address");
        checker.warn(call.position, message);
    }
}

/// RFC 5322 §3.4 `mailbox`: one address, perhaps with a name.
pub(super) fn is_mailbox(text: &str) -> bool {
    let entries = address_list::parse(text.as_bytes());
    matches!(entries.as_slice(), [Entry::Mailbox(mailbox)] if !mailbox.local.is_empty() && !mailbox.domain.is_empty())
        && !text.contains(['\r', '\n'])
}
