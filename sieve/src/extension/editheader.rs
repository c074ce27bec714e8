//! `editheader` (RFC 5293).

use mailwright_mail_model::{header::Fields, word};

use super::{
    date::check_last,
    header::{is_name, text},
};
use crate::{Call, Context, Definition, Extension, Flow, Parameter, Stop, Tag, check::Checker};

pub(super) fn extensions() -> Vec<Extension> {
    let add = Definition::command("addheader", add)
        .tag(Tag::new("last"))
        .parameter(Parameter::String)
        .parameter(Parameter::String)
        .checked(check_name);
    // RFC 5293 §5: the list of patterns may be left out.
    let delete = Definition::command("deleteheader", delete)
        .tag(Tag::new("index").value(Parameter::Number))
        .tag(Tag::new("last"))
        .parameter(Parameter::String)
        .optional(Parameter::Strings)
        .matching()
        .checked(check_name);
    vec![Extension::new("editheader").command(add).command(delete)]
}

fn check_name(checker: &mut Checker<'_>, call: &mut Call) {
    if let Some(name) = call.constant(0)
        && !is_name(name)
    {
        let message = format!("`{name}` is no name of a header field");
        checker.error(call.position, message);
    }
    if call.name() == "deleteheader" {
        check_last(checker, call);
    }
}

fn add(context: &mut Context, call: &Call) -> Result<Flow, Stop> {
    let name = context.text(call, 0)?.into_owned();
    if !is_name(&name) {
        return Err(Stop::error(format!("`{name}` is no name of a header field")));
    }
    if !context.input().options.may_add(&name) {
        // RFC 5293 §6: what is not permitted is ignored without an error.
        return Ok(Flow::Next);
    }
    let value = context.text(call, 1)?;
    let most = context.input().options.added_value;
    if value.len() > most {
        return Err(Stop::error(format!("the value of `{name}` has more than {most} octets")));
    }
    // What follows a line break would be another field, or the body (RFC 5293 §4).
    let value = unfolded(value.trim_matches([' ', '\t', '\r', '\n']));
    let header = context.header(0)?;
    let most = context.limits().added_headers;
    if context.added_headers >= most {
        return Err(Stop::error(format!("the script adds more than {most} header fields")));
    }
    context.added_headers += 1;
    context.hold()?;
    let field = folded(&name, &word::encode(&value));
    let mut edited = Vec::with_capacity(header.len() + field.len());
    if call.has("last") {
        let end = end_of_fields(&header);
        edited.extend_from_slice(header.get(..end).unwrap_or_default());
        if !edited.is_empty() && !edited.ends_with(b"\n") {
            edited.extend_from_slice(b"\r\n");
        }
        edited.extend_from_slice(&field);
        edited.extend_from_slice(header.get(end..).unwrap_or_default());
    } else {
        edited.extend_from_slice(&field);
        edited.extend_from_slice(&header);
    }
    context.current.set_header(edited);
    Ok(Flow::Next)
}

/// A value in one line: a line break and the blanks of the line behind it are one blank (RFC 5322 §2.2.3), and so is any other control.
fn unfolded(value: &str) -> String {
    let mut line = String::with_capacity(value.len());
    let mut broken = false;
    for letter in value.chars() {
        match letter {
            '\r' | '\n' => {
                if !broken && !line.ends_with(' ') {
                    line.push(' ');
                }
                broken = true;
            }
            ' ' | '\t' if broken => {}
            other => {
                broken = false;
                line.push(if other.is_control() { ' ' } else { other });
            }
        }
    }
    line
}

/// Where the empty line that ends the header begins.
fn end_of_fields(header: &[u8]) -> usize {
    let mut start = 0;
    for line in header.split_inclusive(|octet| *octet == b'\n') {
        if matches!(line, b"\r\n" | b"\n") {
            return start;
        }
        start += line.len();
    }
    header.len()
}

/// A field in lines of 78 characters where it has blanks (RFC 5322 §2.2.3).
fn folded(name: &str, value: &str) -> Vec<u8> {
    let mut field = format!("{name}:");
    let mut column = field.len();
    for (index, word) in value.split(' ').enumerate() {
        // A line of nothing but blanks would be no continuation.
        if index > 0 && column + word.len() >= 78 && !word.is_empty() {
            field.push_str("\r\n");
            column = 0;
        }
        field.push(' ');
        field.push_str(word);
        column += word.len() + 1;
    }
    field.push_str("\r\n");
    field.into_bytes()
}

fn delete(context: &mut Context, call: &Call) -> Result<Flow, Stop> {
    let name = context.text(call, 0)?.into_owned();
    if !is_name(&name) {
        return Err(Stop::error(format!("`{name}` is no name of a header field")));
    }
    if !context.input().options.may_delete(&name) {
        // RFC 5293 §6
        return Ok(Flow::Next);
    }
    let header = context.header(0)?;
    let fields: Vec<_> = Fields::new(&header).filter(|field| field.is(&name)).collect();
    let chosen: Vec<_> = match call.tag_number("index") {
        Some(index) => {
            let index = usize::try_from(index).unwrap_or(usize::MAX).checked_sub(1);
            let index = match call.has("last") {
                true => index.and_then(|index| fields.len().checked_sub(index + 1)),
                false => index,
            };
            index.and_then(|index| fields.get(index)).into_iter().collect()
        }
        None => fields.iter().collect(),
    };
    let mut gone = Vec::new();
    let matching = !call.texts(1).is_empty();
    let counts = matching && context.matcher(call)?.counts();
    if counts {
        // RFC 5293 §5 and RFC 5231 §4.2: the number of fields decides about all of them.
        let mut matcher = context.matcher(call)?;
        chosen.iter().for_each(|_| matcher.counted());
        if matcher.finish(context)? {
            gone.extend(chosen.iter().map(|field| field.range()));
        }
    } else {
        for field in chosen {
            if !matching || context.matcher(call)?.value(context, &text(field.value()))? {
                gone.push(field.range());
            }
        }
    }
    if gone.is_empty() {
        return Ok(Flow::Next);
    }
    let mut edited = Vec::with_capacity(header.len());
    let mut at = 0;
    for range in gone {
        edited.extend_from_slice(header.get(at..range.start).unwrap_or_default());
        at = range.end;
    }
    edited.extend_from_slice(header.get(at..).unwrap_or_default());
    context.current.set_header(edited);
    Ok(Flow::Next)
}
