//! `ihave` (RFC 5463).

use crate::{Definition, Extension, Parameter, Stop, definition::Control};

pub(super) fn extensions() -> Vec<Extension> {
    // RFC 5463 §5
    let error = Definition::command("error", |context, call| {
        let message = context.text(call, 0)?;
        Err(Stop::error(message))
    });
    vec![
        Extension::new("ihave")
            .test(Definition::control("ihave", Control::IHave))
            .command(error.parameter(Parameter::String)),
    ]
}
