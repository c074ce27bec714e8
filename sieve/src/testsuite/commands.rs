//! The commands of test scripts.

use std::sync::Arc;

use bytes::Bytes;
use mailwright_mail_model::DateTime;

use super::{
    State, lock, paths, settings,
    world::{World, mailbox_name},
};
use crate::{
    Call, Context, Definition, Extension, Flow, Message, Parameter, Round, Segment, Stop, Tag, run::Current,
};

pub(super) fn add(extension: Extension, state: &State) -> Extension {
    let with = |code: fn(&State, &mut Context, &Call) -> Result<(), Stop>| {
        let state = Arc::clone(state);
        move |context: &mut Context, call: &Call| code(&state, context, call).map(|()| Flow::Next)
    };
    let tests = Arc::clone(state);
    let test = Definition::block("test", move |context, call, round| test(&tests, context, call, round))
        .parameter(Parameter::String)
        .catching();
    let failing = Arc::clone(state);
    let fail = Definition::command("test_fail", move |context, call| {
        let reason = context.text(call, 0)?.into_owned();
        let mut world = lock(&failing);
        // In a script that a test runs, that is what has failed.
        if world.test.is_none() || world.running > 0 {
            return Err(Stop::error(reason));
        }
        world.failure = Some(reason);
        Ok(Flow::Leave("test".into(), None))
    });
    let extension = extension
        .command(test)
        .command(fail.parameter(Parameter::String))
        .command(
            Definition::command("test_set", with(set))
                .parameter(Parameter::Constant)
                .parameter(Parameter::String),
        )
        .command(
            Definition::command("test_config_set", with(config_set))
                .parameter(Parameter::String)
                .parameter(Parameter::String),
        )
        .command(Definition::command("test_config_unset", with(config_unset)).parameter(Parameter::String))
        .command(
            Definition::command("test_config_reload", with(config_reload))
                .tag(Tag::new("extension").value(Parameter::String)),
        )
        .command(Definition::command("test_mailbox_create", with(create)).parameter(Parameter::String))
        .command(Definition::command("test_mailbox_delete", with(delete)).parameter(Parameter::String))
        .command(
            Definition::command("test_mailbox", with(mailbox))
                .tag(Tag::new("create").group("operation"))
                .tag(Tag::new("delete").group("operation"))
                .parameter(Parameter::String),
        )
        .command(
            Definition::command("test_imap_metadata_set", with(metadata))
                .tag(Tag::new("mailbox").value(Parameter::String))
                .parameter(Parameter::String)
                .parameter(Parameter::String),
        )
        .command(Definition::command("test_result_reset", with(reset)));
    // Programs are not stored, and nothing is printed: these are taken and do nothing.
    ["test_binary_load", "test_binary_save"]
        .into_iter()
        .fold(extension, |extension, name| {
            extension
                .command(Definition::command(name, |_, _| Ok(Flow::Next)).parameter(Parameter::String))
                .test(Definition::test(name, |_, _| Ok(true)).parameter(Parameter::String))
        })
        .command(Definition::command("test_result_print", |_, _| Ok(Flow::Next)))
        .command(Definition::command("test_message_print", |_, _| Ok(Flow::Next)))
}

fn test(state: &State, context: &mut Context, call: &Call, round: Round) -> Result<bool, Stop> {
    match round {
        Round::First => {
            let name = context.text(call, 0)?.into_owned();
            let mut world = lock(state);
            if world.test.is_some() {
                return Err(Stop::error("a test cannot be within another"));
            }
            world.test = Some(name);
            Ok(true)
        }
        Round::Again => {
            lock(state).end_test(None);
            Ok(false)
        }
        Round::Left => {
            let caught = context.caught().map(ToString::to_string);
            let mut world = lock(state);
            let failure = caught.or_else(|| world.failure.take()).unwrap_or_default();
            world.end_test(Some(failure));
            Ok(false)
        }
    }
}

/// The message that tests are about from now on.
pub(super) fn use_message(state: &State, context: &mut Context, message: Bytes) {
    let structure = World::structure(&message);
    context.current = Current::of(structure, Message::of(vec![Segment::Octets(message.clone())]));
    context.set_flags(Vec::new());
    let mut world = lock(state);
    world.set_message(message);
    context.set_input(world.host.input.clone());
}

fn set(state: &State, context: &mut Context, call: &Call) -> Result<(), Stop> {
    let name = call.constant(0).unwrap_or_default().to_ascii_lowercase();
    let value = context.text(call, 1)?.into_owned();
    if name == "message" {
        use_message(state, context, value.into());
        return Ok(());
    }
    let mut world = lock(state);
    let input = &mut world.host.input;
    // What is no path is none: no test about the envelope is true then.
    let path = || paths::path(&value);
    match name.as_str() {
        "envelope.from" => input.envelope.from = path(),
        "envelope.to" => {
            input.envelope.to = path();
            input.envelope.original_to.clone_from(&input.envelope.to);
        }
        "envelope.orig_to" => input.envelope.original_to = path(),
        "envelope.auth" => input.envelope.auth = Some(value),
        "now" => {
            let now = DateTime::from_rfc5322(value.as_bytes());
            input.now = now.map_err(|error| Stop::error(format!("`{value}`: {error}")))?;
        }
        other => return Err(Stop::error(format!("a test cannot set `{other}`"))),
    }
    context.set_input(world.host.input.clone());
    Ok(())
}

fn config_set(state: &State, context: &mut Context, call: &Call) -> Result<(), Stop> {
    let (name, value) = (context.text(call, 0)?.into_owned(), context.text(call, 1)?.into_owned());
    let mut world = lock(state);
    if !settings::is_known(&name) {
        world.warn(format!("the setting `{name}` has no effect here"));
    }
    world.config.insert(name, value);
    Ok(())
}

fn config_unset(state: &State, context: &mut Context, call: &Call) -> Result<(), Stop> {
    let name = context.text(call, 0)?.into_owned();
    lock(state).config.remove(&name);
    Ok(())
}

fn config_reload(state: &State, context: &mut Context, _: &Call) -> Result<(), Stop> {
    let mut world = lock(state);
    settings::reload(&mut world);
    context.set_input(world.host.input.clone());
    // What the test script itself keeps in variables is limited as in other scripts.
    context.limit_variables(world.host.limits.variable);
    Ok(())
}

fn create(state: &State, context: &mut Context, call: &Call) -> Result<(), Stop> {
    let name = context.text(call, 0)?.into_owned();
    lock(state).host.mailboxes.entry(mailbox_name(&name)).or_default();
    Ok(())
}

fn delete(state: &State, context: &mut Context, call: &Call) -> Result<(), Stop> {
    let name = context.text(call, 0)?.into_owned();
    lock(state).host.mailboxes.remove(&name);
    Ok(())
}

fn mailbox(state: &State, context: &mut Context, call: &Call) -> Result<(), Stop> {
    if call.has("delete") { delete(state, context, call) } else { create(state, context, call) }
}

fn metadata(state: &State, context: &mut Context, call: &Call) -> Result<(), Stop> {
    let mailbox = context.tag_text(call, "mailbox")?.unwrap_or_default().into_owned();
    let annotation = context.text(call, 0)?.to_ascii_lowercase();
    let value = context.text(call, 1)?.into_owned();
    lock(state).host.metadata.insert((mailbox, annotation), value);
    Ok(())
}

fn reset(state: &State, context: &mut Context, _: &Call) -> Result<(), Stop> {
    let mut world = lock(state);
    context.forget_actions();
    // What was done to the message goes, too.
    world.scored = world.message.clone();
    let message = world.message.clone();
    let octets = Message::of(vec![Segment::Octets(message.clone())]);
    context.current = Current::of(World::structure(&message), octets);
    (world.ran, world.done, world.executed, world.kept) = (false, 0, 0, false);
    world.actions.clear();
    world.errors.clear();
    world.sent.clear();
    world.implicit_keep = false;
    Ok(())
}
