//! `reject` and `ereject` (RFC 5429).

use crate::{Action, Call, Context, Definition, Extension, Flow, Parameter, Reject, Stop};

pub(super) fn extensions() -> Vec<Extension> {
    ["reject", "ereject"]
        .map(|name| {
            let at_protocol_level = name == "ereject";
            let command =
                Definition::command(name, move |context, call| reject(context, call, at_protocol_level));
            Extension::new(name).command(command.parameter(Parameter::String))
        })
        .into()
}

fn reject(context: &mut Context, call: &Call, at_protocol_level: bool) -> Result<Flow, Stop> {
    if context.input().event {
        // RFC 6785 §3.11
        return Err(Stop::error("a message that is not being delivered cannot be refused"));
    }
    let reason = context.text(call, 0)?.into_owned();
    // RFC 5429 §2.4: it does not go together with `vacation`. Where a script of the server has answered, that is the answer.
    if context.is_answered() {
        context.log("the message is not refused: its sender is answered by another script");
        return Ok(Flow::Next);
    }
    context.act(Action::Reject(Reject { reason, at_protocol_level }))?;
    context.cancel_keep();
    Ok(Flow::Next)
}
