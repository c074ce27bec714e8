//! `snooze` (draft-ietf-extra-email-snooze), for a host that can bring messages back.

use super::imap4flags;
use crate::{
    Action, Call, Context, Definition, Extension, Flow, Parameter, Snooze, Stop, Tag, check::Checker,
    text::Text,
};

pub(super) fn extension() -> Extension {
    let command = Definition::command("snooze", snooze)
        .tag(Tag::new("mailbox").value(Parameter::String))
        .tag(Tag::new("mailboxid").value(Parameter::String).group("way to find the mailbox"))
        .tag(Tag::new("specialuse").value(Parameter::String).group("way to find the mailbox"))
        .tag(Tag::new("create"))
        .tag(Tag::new("addflags").value(Parameter::Strings))
        .tag(Tag::new("removeflags").value(Parameter::Strings))
        .tag(Tag::new("weekdays").value(Parameter::Strings))
        .tag(Tag::new("tzid").value(Parameter::String))
        .parameter(Parameter::Strings)
        .checked(check);
    Extension::new("snooze").command(command)
}

fn check(checker: &mut Checker<'_>, call: &mut Call) {
    let mut times = call.texts(0).iter().filter_map(Text::constant);
    if let Some(wrong) = times.find(|time| time_of_day(time).is_none()) {
        let message = format!("expected a time such as \"17:30\", found \"{wrong}\"");
        checker.error(call.position, message);
    }
    let mut days = call.tag_texts("weekdays").iter().filter_map(Text::constant);
    if let Some(wrong) = days.find(|day| weekday(day).is_none()) {
        let message = format!("expected a day from \"0\", Sunday, to \"6\", found \"{wrong}\"");
        checker.error(call.position, message);
    }
}

fn snooze(context: &mut Context, call: &Call) -> Result<Flow, Stop> {
    let mailbox = match context.tag_text(call, "mailbox")? {
        Some(name) => Some(super::delivery::valid_mailbox(&name).map_err(Stop::error)?),
        None => None,
    };
    let mut times = Vec::new();
    for time in context.texts(call, 0)? {
        times.push(time_of_day(&time).ok_or_else(|| Stop::error(format!("`{time}` is no time of day")))?);
    }
    times.sort_unstable();
    times.dedup();
    let mut weekdays = Vec::new();
    for day in context.tag_texts(call, "weekdays")?.unwrap_or_default() {
        weekdays.push(weekday(&day).ok_or_else(|| Stop::error(format!("`{day}` is no day of the week")))?);
    }
    let flags = |texts: Option<Vec<std::borrow::Cow<'_, str>>>| {
        imap4flags::normal(texts.unwrap_or_default().iter().map(|flag| &**flag))
    };
    let snooze = Snooze {
        awaken: super::delivery::delivery(context, call, mailbox)?,
        add_flags: flags(context.tag_texts(call, "addflags")?),
        remove_flags: flags(context.tag_texts(call, "removeflags")?),
        weekdays,
        times,
        zone: context.tag_text(call, "tzid")?.map(String::from),
    };
    context.act(Action::Snooze(Box::new(snooze)))?;
    context.cancel_keep();
    Ok(Flow::Next)
}

/// `hh:mm` or `hh:mm:ss`, in seconds.
fn time_of_day(text: &str) -> Option<u32> {
    let mut numbers = text.split(':').map(|number| {
        let digits = number.len() == 2 && number.bytes().all(|digit| digit.is_ascii_digit());
        digits.then(|| number.parse::<u32>().ok()).flatten()
    });
    let (hour, minute, second) = (numbers.next()??, numbers.next()??, numbers.next().unwrap_or(Some(0))?);
    let fits = hour < 24 && minute < 60 && second < 60 && numbers.next().is_none();
    fits.then_some(hour * 3600 + minute * 60 + second)
}

fn weekday(text: &str) -> Option<u8> {
    text.parse().ok().filter(|day| *day < 7)
}
