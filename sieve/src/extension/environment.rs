//! `environment` (RFC 5183), with the items of `imapsieve` (RFC 6785) and of `vnd.dovecot.environment`.

use crate::{Call, Context, Definition, Extension, Parameter, Request, Stop};

pub(super) fn extensions() -> Vec<Extension> {
    let test = Definition::test("environment", environment)
        .parameter(Parameter::String)
        .parameter(Parameter::Strings)
        .matching();
    vec![
        Extension::new("environment").test(test),
        // Its items, `imap.cause` and others, are the host's (RFC 6785 §4).
        Extension::new("imapsieve").implies("environment"),
        Extension::new("vnd.dovecot.environment").implies("environment").environment_namespace("env"),
    ]
}

fn environment(context: &mut Context, call: &Call) -> Result<bool, Stop> {
    let name = context.text(call, 0)?.to_ascii_lowercase();
    let mut matcher = context.matcher(call)?;
    let value = context.ask_text(Request::Environment(name.clone()))?;
    let value = value.or_else(|| match name.as_str() {
        "name" => Some("mailwright".to_owned()),
        "version" => Some(env!("CARGO_PKG_VERSION").to_owned()),
        _ => None,
    });
    // RFC 5183 §4: with an item that is not known the test fails, whatever it asks.
    let Some(value) = value else { return Ok(false) };
    if matcher.value(context, &value)? {
        return Ok(true);
    }
    matcher.finish(context)
}
