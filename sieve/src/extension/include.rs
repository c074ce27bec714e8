//! `include` (RFC 6609).

use crate::{
    Answer, Call, Context, Definition, Extension, Flow, Parameter, Request, Stop, Tag, check::Checker,
    text::Text,
};

pub(super) fn extensions() -> Vec<Extension> {
    let include = Definition::command("include", include)
        .tag(Tag::new("personal").group("location"))
        .tag(Tag::new("global").group("location"))
        .tag(Tag::new("once"))
        .tag(Tag::new("optional"))
        .parameter(Parameter::Constant)
        .checked(check);
    let global =
        Definition::command("global", |_, _| Ok(Flow::Next)).parameter(Parameter::Constants).checked(declare);
    vec![
        Extension::new("include")
            .command(include)
            .command(Definition::command("return", |_, _| Ok(Flow::Return)))
            .command(global),
    ]
}

fn check(checker: &mut Checker<'_>, call: &mut Call) {
    if call.constant(0).is_some_and(|name| !is_name(name)) {
        checker.error(call.position, "this is no name of a script");
    }
}

/// RFC 5804 §1.6: no control characters and no path.
fn is_name(name: &str) -> bool {
    let control = |letter: char| letter.is_control() || matches!(letter, '/' | '\u{2028}' | '\u{2029}');
    !name.is_empty() && name.len() <= 512 && !name.chars().any(control)
}

fn declare(checker: &mut Checker<'_>, call: &mut Call) {
    let names: Vec<_> = call.texts(0).iter().filter_map(Text::constant).map(str::to_owned).collect();
    if !checker.is_active("variables") {
        checker.error(call.position, "`global` needs `require \"variables\";`");
        return;
    }
    for name in names {
        checker.declare_global(call.position, &name);
    }
}

fn include(context: &mut Context, call: &Call) -> Result<Flow, Stop> {
    let name = call.constant(0).unwrap_or_default().to_owned();
    let global = call.has("global");
    let key = (global, name.clone());
    // RFC 6609 §3.2: with `:once` only if it has not been included before in any way.
    if call.has("once") && context.once.contains(&key) {
        return Ok(Flow::Next);
    }
    match context.ask(Request::Script { global, name: name.clone() })? {
        Answer::Script(Some(program)) => {
            if !context.once.contains(&key) {
                context.once.push(key);
            }
            Ok(Flow::Run(program, name))
        }
        // RFC 6609 §3.2: `:optional` is about scripts that are not there.
        Answer::Script(None) if call.has("optional") => Ok(Flow::Next),
        Answer::Script(None) => Err(Stop::error(format!("there is no script `{name}` to include"))),
        other => Err(Stop::error(format!("the host answered {other:?} where a script was asked"))),
    }
}
