//! The tests of test scripts.

use std::sync::Arc;

use super::{State, commands::use_message, lock};
use crate::{Call, Context, Definition, Extension, Flow, Parameter, Program, Step, Stop, Tag};

type Test = fn(&State, &mut Context, &Call) -> Result<bool, Stop>;
type Arguments = fn(Definition) -> Definition;
type Values = fn(&State, &mut Context) -> Vec<String>;

pub(super) fn add(mut extension: Extension, state: &State) -> Extension {
    // Those that may stand as commands too: what is false is then an error.
    let both: [(&'static str, Test, Arguments); 5] = [
        ("test_script_compile", compile, |definition| definition.parameter(Parameter::String)),
        ("test_script_run", run, |definition| {
            definition.tag(Tag::new("append_result")).optional(Parameter::String)
        }),
        ("test_multiscript", multiscript, |definition| definition.parameter(Parameter::Strings)),
        ("test_result_execute", execute, |definition| definition),
        ("test_message", message, |definition| {
            definition
                .tag(Tag::new("smtp").group("place"))
                .tag(Tag::new("folder").value(Parameter::String).group("place"))
                .parameter(Parameter::Number)
        }),
    ];
    for (name, code, arguments) in both {
        let (as_test, as_command) = (Arc::clone(state), Arc::clone(state));
        let test = Definition::test(name, move |context, call| code(&as_test, context, call));
        let command = Definition::command(name, move |context, call| {
            if code(&as_command, context, call)? {
                return Ok(Flow::Next);
            }
            let why = lock(&as_command).errors.join("; ");
            Err(Stop::error(format!("`{}` failed: {why}", call.name())))
        });
        extension = extension.test(arguments(test)).command(arguments(command));
    }
    let values: [(&'static str, Values); 2] = [
        ("test_result_action", |state, context| {
            let mut world = lock(state);
            world.take_own(context);
            world.action_names()
        }),
        ("test_error", |state, _| lock(state).errors.clone()),
    ];
    for (name, values) in values {
        let state = Arc::clone(state);
        let test = Definition::test(name, move |context, call| {
            let values = values(&state, context);
            matches(context, call, values)
        })
        .tag(Tag::new("index").value(Parameter::Number))
        .parameter(Parameter::Strings)
        .matching();
        extension = extension.test(test);
    }
    extension
}

/// A match over values, or over the one that `:index` names, from 1.
fn matches(context: &mut Context, call: &Call, mut values: Vec<String>) -> Result<bool, Stop> {
    if let Some(index) = call.tag_number("index") {
        let index = usize::try_from(index).ok().and_then(|index| index.checked_sub(1));
        values = index.and_then(|index| values.get(index).cloned()).into_iter().collect();
    }
    let mut matcher = context.matcher(call)?;
    for value in values {
        if matcher.value(context, &value)? {
            return Ok(true);
        }
    }
    matcher.finish(context)
}

fn compile(state: &State, context: &mut Context, call: &Call) -> Result<bool, Stop> {
    let path = context.text(call, 0)?.into_owned();
    Ok(lock(state).compile(&path))
}

fn run(state: &State, context: &mut Context, call: &Call) -> Result<bool, Stop> {
    let path = context.text(call, 0)?.into_owned();
    let program = {
        let mut world = lock(state);
        if !path.is_empty() && !world.compile(&path) {
            return Ok(false);
        }
        world.program.clone()
    };
    let Some(program) = program else {
        return Err(Stop::error("no script has been compiled"));
    };
    Ok(drive(state, vec![program], call.has("append_result")))
}

/// What a script is told and asks for; it may itself be a test script, so that nothing is held while it runs.
fn drive(state: &State, programs: Vec<Arc<Program>>, append: bool) -> bool {
    let begun = lock(state).begin(programs, append);
    let Some(mut run) = begun else { return false };
    loop {
        match run.poll() {
            Step::Need(request) => {
                let answer = lock(state).answer(&request);
                run.answer(answer);
            }
            Step::Done(outcome) => return lock(state).ended(*outcome),
        }
    }
}

/// Runs scripts one after the other, and does what they want done.
fn multiscript(state: &State, context: &mut Context, call: &Call) -> Result<bool, Stop> {
    let paths = context.texts(call, 0)?;
    let mut programs = Vec::new();
    for path in paths {
        let mut world = lock(state);
        if !world.compile(&path) {
            return Ok(false);
        }
        programs.extend(world.program.clone());
    }
    if !drive(state, programs, false) {
        return Ok(false);
    }
    execute(state, context, call)
}

fn execute(state: &State, context: &mut Context, _: &Call) -> Result<bool, Stop> {
    let mut world = lock(state);
    world.take_own(context);
    match world.execute() {
        Ok(()) => Ok(true),
        Err(error) => {
            world.errors.push(error);
            Ok(false)
        }
    }
}

fn message(state: &State, context: &mut Context, call: &Call) -> Result<bool, Stop> {
    let folder = context.tag_text(call, "folder")?;
    let index = call.number(0).unwrap_or_default();
    let found = lock(state).message_of(folder.as_deref(), index);
    let Some(found) = found else { return Ok(false) };
    use_message(state, context, found.message);
    if let Some((from, to)) = found.envelope {
        let mut world = lock(state);
        let envelope = &mut world.host.input.envelope;
        (envelope.from, envelope.to) = (Some(from), Some(to));
        context.set_input(world.host.input.clone());
    }
    // RFC 5232 §4: what `hasflag` looks at is what the message has.
    context.set_flags(found.flags);
    Ok(true)
}
