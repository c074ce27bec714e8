//! Parts of messages: `foreverypart`, `mime`, `extracttext`, `replace`, `enclose` (RFC 5703), and `convert` (RFC 6558).

use bytes::Bytes;
use mailwright_mail_model::header::Fields;

use super::{
    body::{Reading, decoded},
    header::{is_name, within},
};
use crate::{
    Answer, Call, Context, Definition, Extension, Flow, Parameter, Request, Round, Stop, Tag, Target,
    check::Checker, compose, run::PartLoop,
};

pub(super) fn extensions() -> Vec<Extension> {
    let every =
        Definition::block("foreverypart", for_every_part).tag(Tag::new("name").value(Parameter::Constant));
    let leave = Definition::command("break", |_, call| {
        Ok(Flow::Leave("foreverypart".into(), call.tag_constant("name").map(str::to_owned)))
    })
    .tag(Tag::new("name").value(Parameter::Constant))
    .checked(check_break);
    let targets = Target::Named(&["header", "address", "exists"]);
    let option = |name: &'static str| Tag::new(name).group("MIME option");
    let header = Target::Named(&["header"]);
    let mime = Extension::new("mime")
        .tag_on(targets.clone(), Tag::new("mime"))
        .tag_on(targets, Tag::new("anychild"))
        .tag_on(header.clone(), option("type"))
        .tag_on(header.clone(), option("subtype"))
        .tag_on(header.clone(), option("contenttype"))
        .tag_on(header, option("param").value(Parameter::Strings));
    let mut extract =
        Definition::command("extracttext", extract_text).tag(Tag::new("first").value(Parameter::Number));
    for (name, group) in super::variables::MODIFIERS {
        extract = extract.tag(Tag::new(*name).group(group));
    }
    let replace = Definition::command("replace", replace)
        .tag(Tag::new("mime"))
        .tag(Tag::new("subject").value(Parameter::String))
        .tag(Tag::new("from").value(Parameter::String))
        .parameter(Parameter::String);
    let enclose = Definition::command("enclose", enclose)
        .tag(Tag::new("subject").value(Parameter::String))
        .tag(Tag::new("headers").value(Parameter::Strings))
        .parameter(Parameter::String);
    vec![
        Extension::new("foreverypart").command(every).command(leave),
        mime,
        Extension::new("extracttext").command(extract.parameter(Parameter::Variable).checked(check_extract)),
        Extension::new("replace").command(replace),
        Extension::new("enclose").command(enclose),
    ]
}

/// `convert` (RFC 6558), for a host that answers [`Request::Convert`].
pub(super) fn convert_extension() -> Extension {
    let parameters = |definition: Definition| {
        definition.parameter(Parameter::String).parameter(Parameter::String).parameter(Parameter::Strings)
    };
    let command = Definition::command("convert", |context, call| convert(context, call).map(|_| Flow::Next));
    Extension::new("convert")
        .command(parameters(command))
        .test(parameters(Definition::test("convert", convert)))
}

/// RFC 5703 §3: the parts of the part that the loop around this one is at, in the order they stand in.
fn for_every_part(context: &mut Context, _: &Call, round: Round) -> Result<bool, Stop> {
    match round {
        Round::First => {
            let root = context.part_here();
            let nested = !context.loops.is_empty();
            // The message itself is the first part of an outer loop; within a part its own parts are.
            let part = if nested { root + 1 } else { root };
            let any = part == root || is_inside(context, root, part);
            if any {
                context.loops.push(PartLoop { root, part });
            }
            Ok(any)
        }
        Round::Again => {
            let Some(here) = context.loops.last_mut() else { return Ok(false) };
            here.part += 1;
            let (root, part) = (here.root, here.part);
            let any = is_inside(context, root, part);
            if !any {
                context.loops.pop();
            }
            Ok(any)
        }
        Round::Left => {
            context.loops.pop();
            Ok(false)
        }
    }
}

/// Whether the part behind one that is in `root`, or behind `root` itself, is in it too. What stands behind the last one of them has a
/// parent that stands before `root`: nobody has to look at all of them.
fn is_inside(context: &Context, root: usize, part: usize) -> bool {
    context.current.part(part).and_then(|part| part.parent()).is_some_and(|parent| parent >= root)
}

fn check_break(checker: &mut Checker<'_>, call: &mut Call) {
    let name = call.tag_constant("name");
    if !checker.is_within("foreverypart", name) {
        let message = match name {
            Some(name) => format!("there is no `foreverypart` called `{name}` around this"),
            None => "there is no `foreverypart` around this".into(),
        };
        checker.error(call.position, message);
    }
}

fn check_extract(checker: &mut Checker<'_>, call: &mut Call) {
    if !checker.is_active("variables") {
        checker.error(call.position, "`extracttext` needs `require \"variables\";`");
    } else if !checker.is_within("foreverypart", None) {
        // RFC 5703 §7
        checker.error(call.position, "there is no `foreverypart` around this");
    }
}

/// RFC 5703 §7: the text of the part, in UTF-8.
fn extract_text(context: &mut Context, call: &Call) -> Result<Flow, Stop> {
    let mut text = read_text(context, context.part_here(), true)?;
    if let Some(first) = call.tag_number("first") {
        let end = usize::try_from(first).ok().and_then(|first| text.char_indices().nth(first));
        if let Some((end, _)) = end {
            text.truncate(end);
        }
    }
    text = super::variables::modified(call, text, context.limits().variable);
    context.set_variable(call, 0, text)?;
    Ok(Flow::Next)
}

/// The decoded text of a part; empty if it is not text and only text is wanted.
pub(super) fn read_text(context: &mut Context, part: usize, only_text: bool) -> Result<String, Stop> {
    let structure = std::sync::Arc::clone(&context.current.structure);
    let Some(details) = structure.part(part) else { return Ok(String::new()) };
    if only_text && !details.content().media_type().is("text", "*") {
        return Ok(String::new());
    }
    let mut reading = match context.progress::<Reading>() {
        Some(reading) => reading,
        None => Reading::new(context, decoded(details), false),
    };
    loop {
        match reading.advance(context, None) {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(reading.into_text()),
            Err(stop) => {
                context.save(reading);
                return Err(stop);
            }
        }
    }
}

/// RFC 5703 §5: the part, or the message outside of a loop, becomes this text.
fn replace(context: &mut Context, call: &Call) -> Result<Flow, Stop> {
    let text = context.text(call, 0)?;
    let content = match call.has("mime") {
        true => compose::lines(&text),
        false => compose::text_part(&text),
    };
    let part = context.part_here();
    let header = context.header(part)?;
    let mut new = Vec::new();
    if part == 0 {
        // RFC 5703 §5: other fields of the message stay, and these two can be given.
        let subject = context.tag_text(call, "subject")?;
        let from = context.tag_text(call, "from")?;
        for field in Fields::new(&header) {
            let content = field.name().get(..8).is_some_and(|start| start.eq_ignore_ascii_case("content-"));
            let given = (field.is("Subject") && subject.is_some()) || (field.is("From") && from.is_some());
            if content || given || field.is("MIME-Version") {
                continue;
            }
            new.extend_from_slice(field.raw());
        }
        let mut fields = compose::Fields::bare();
        if let Some(from) = from {
            fields.raw("From", &from);
        }
        if let Some(subject) = subject {
            fields.text("Subject", &subject);
        }
        fields.raw("MIME-Version", "1.0");
        new.extend_from_slice(fields.header().as_bytes());
    }
    new.extend_from_slice(content.as_bytes());
    replace_part(context, part, new.into())?;
    Ok(Flow::Next)
}

/// Puts other octets in the place of a part, header and all. The loop goes on behind it.
fn replace_part(context: &mut Context, part: usize, new: Bytes) -> Result<(), Stop> {
    let Some(details) = context.current.part(part) else { return Ok(()) };
    let range = details.header().start..details.body().end;
    let message = context.current.replaced(range, new);
    let (before, inside) = (context.current.structure.len(), within(context, part).len());
    context.replace_message(message)?;
    // What is new is not looked at: the loop is at the last of the parts that have come.
    let grown = (context.current.structure.len() + inside).saturating_sub(before);
    if let Some(here) = context.loops.last_mut() {
        here.part = part + grown.saturating_sub(1);
    }
    Ok(())
}

/// RFC 5703 §6: the message becomes part of a new one, with a text before it.
fn enclose(context: &mut Context, call: &Call) -> Result<Flow, Stop> {
    let text = context.text(call, 0)?;
    let subject = context.tag_text(call, "subject")?;
    let fields = context.tag_texts(call, "headers")?.unwrap_or_default();
    let header = context.header(0)?;
    let mut new = compose::Fields::bare();
    // The new message needs fields of its own; those that say from whom, to whom and when are those of the old one.
    for field in Fields::new(&header) {
        let kept = ["From", "To", "Cc", "Date", "Message-ID"].iter().any(|name| field.is(name));
        if kept || (field.is("Subject") && subject.is_none()) {
            new.raw_field(field.raw());
        }
    }
    if let Some(subject) = subject {
        new.text("Subject", &subject);
    }
    for field in &fields {
        let (name, value) = field.split_once(':').unwrap_or((field, ""));
        if !is_name(name.trim()) {
            return Err(Stop::error(format!("`{field}` is no header field")));
        }
        new.raw(name.trim(), value.trim());
    }
    let old = context.current.message();
    let hash = compose::hash(&[&text, &String::from_utf8_lossy(&header)]);
    let message = new.enclosing(&text, hash, old.segments());
    context.replace_message(message)?;
    context.loops.clear();
    Ok(Flow::Next)
}

/// RFC 6558 §2: the parts here that are of one media type become of another.
fn convert(context: &mut Context, call: &Call) -> Result<bool, Stop> {
    let from = context.text(call, 0)?.to_ascii_lowercase();
    let to = context.text(call, 1)?.to_ascii_lowercase();
    let parameters: Vec<String> = context.texts(call, 2)?.into_iter().map(String::from).collect();
    let here = context.part_here();
    let mut done =
        context.progress::<Converted>().unwrap_or(Converted { next: here, ..Converted::default() });
    // Outside of a loop all parts of the type are converted, in one only the part it is at.
    while done.next < context.current.structure.len() && (context.loops.is_empty() || done.next == here) {
        match convert_part(context, &mut done, &from, &to, &parameters) {
            Ok(()) => done.next += 1,
            Err(stop) => {
                context.save(done);
                return Err(stop);
            }
        }
    }
    Ok(done.any)
}

fn convert_part(
    context: &mut Context,
    done: &mut Converted,
    from: &str,
    to: &str,
    parameters: &[String],
) -> Result<(), Stop> {
    let Some(details) = context.current.part(done.next) else { return Ok(()) };
    let media = details.content().media_type();
    if !format!("{}/{}", media.kind(), media.subtype()).eq_ignore_ascii_case(from) {
        return Ok(());
    }
    if done.converted.is_none() {
        let body = match done.body.clone() {
            Some(body) => body,
            None => match context.body(done.next)? {
                Some(body) => done.body.insert(body).clone(),
                None => return Ok(()),
            },
        };
        let (from, to, parameters) = (from.to_owned(), to.to_owned(), parameters.to_vec());
        match context.ask(Request::Convert { from, to, parameters, body })? {
            Answer::Converted(None) => return Ok(()),
            Answer::Converted(new) => {
                context.forget();
                done.converted = new;
            }
            other => return Err(Stop::error(format!("the host answered {other:?} to a conversion"))),
        }
    }
    if let Some(new) = done.converted.clone() {
        replace_part(context, done.next, compose::binary_part(to, &new).into())?;
        done.any = true;
    }
    (done.body, done.converted) = (None, None);
    Ok(())
}

/// How far a conversion of several parts has come.
#[derive(Debug, Default)]
struct Converted {
    next: usize,
    any: bool,
    body: Option<Bytes>,
    converted: Option<Bytes>,
}
