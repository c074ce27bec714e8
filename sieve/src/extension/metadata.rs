//! `mboxmetadata` and `servermetadata` (RFC 5490).

use super::delivery::valid_mailbox;
use crate::{Call, Context, Definition, Extension, Parameter, Request, Stop};

pub(super) fn extensions() -> Vec<Extension> {
    let mailbox = Definition::test("metadata", |context, call| metadata(context, call, true))
        .parameter(Parameter::String)
        .parameter(Parameter::String)
        .parameter(Parameter::Strings)
        .matching();
    let mailbox_exists = Definition::test("metadataexists", |context, call| exists(context, call, true))
        .parameter(Parameter::String)
        .parameter(Parameter::Strings);
    let server = Definition::test("servermetadata", |context, call| metadata(context, call, false))
        .parameter(Parameter::String)
        .parameter(Parameter::Strings)
        .matching();
    let server_exists =
        Definition::test("servermetadataexists", |context, call| exists(context, call, false))
            .parameter(Parameter::Strings);
    vec![
        Extension::new("mboxmetadata").test(mailbox).test(mailbox_exists),
        Extension::new("servermetadata").test(server).test(server_exists),
    ]
}

/// RFC 5490 §3.3, §4.1
fn metadata(context: &mut Context, call: &Call, of_mailbox: bool) -> Result<bool, Stop> {
    let mailbox = mailbox(context, call, of_mailbox)?;
    let annotation = context.text(call, usize::from(of_mailbox))?.into_owned();
    let mut matcher = context.matcher(call)?;
    if let Some(value) = context.ask_text(Request::Metadata { mailbox, annotation })?
        && matcher.value(context, &value)?
    {
        return Ok(true);
    }
    matcher.finish(context)
}

/// RFC 5490 §3.4, §4.2: all of them.
fn exists(context: &mut Context, call: &Call, of_mailbox: bool) -> Result<bool, Stop> {
    let mailbox = mailbox(context, call, of_mailbox)?;
    for annotation in context.texts(call, usize::from(of_mailbox))? {
        let request = Request::Metadata { mailbox: mailbox.clone(), annotation: annotation.into_owned() };
        if context.ask_text(request)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn mailbox(context: &mut Context, call: &Call, of_mailbox: bool) -> Result<Option<String>, Stop> {
    if !of_mailbox {
        return Ok(None);
    }
    let name = context.text(call, 0)?;
    valid_mailbox(&name).map(Some).map_err(Stop::error)
}
