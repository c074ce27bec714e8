//! Where messages go: `fileinto` (RFC 5228 §4.1) and what other extensions add to it and to `keep`: `copy` (RFC 3894), `mailbox`
//! (RFC 5490), `mailboxid` (RFC 9042), `special-use` (RFC 8579).

use mailwright_mail_model::{MailboxName, MailboxNameError};

use super::imap4flags;
use crate::{
    Action, Call, Context, Definition, Delivery, Extension, Flow, Parameter, Request, Stop, Tag, Target,
    check::Checker,
};

/// What files messages, or copies of them by `:fcc` (RFC 8580 §3.2: with the same tags, where their extensions are required).
const FILING: Target = Target::Named(&["fileinto", "vacation", "notify"]);

pub(super) fn extensions() -> Vec<Extension> {
    vec![
        Extension::new("fileinto").command(
            Definition::command("fileinto", file_into).parameter(Parameter::String).checked(check_mailbox),
        ),
        Extension::new("copy").tag_on(Target::Named(&["fileinto", "redirect", "pipe"]), Tag::new("copy")),
        Extension::new("mailbox")
            .test(Definition::test("mailboxexists", mailbox_exists).parameter(Parameter::Strings))
            .tag_on(FILING, Tag::new("create")),
        Extension::new("mailboxid")
            .test(Definition::test("mailboxidexists", mailbox_id_exists).parameter(Parameter::Strings))
            .tag_on(FILING, Tag::new("mailboxid").value(Parameter::String).group("way to find the mailbox")),
        Extension::new("special-use")
            .test(
                Definition::test("specialuse_exists", special_use_exists)
                    .optional(Parameter::String)
                    .parameter(Parameter::Strings),
            )
            .tag_on(FILING, Tag::new("specialuse").value(Parameter::String).group("way to find the mailbox")),
    ]
}

fn file_into(context: &mut Context, call: &Call) -> Result<Flow, Stop> {
    let mailbox = context.text(call, 0)?.into_owned();
    let mailbox = valid_mailbox(&mailbox).map_err(Stop::error)?;
    let delivery = delivery(context, call, Some(mailbox))?;
    let copy = delivery.copy;
    context.act(Action::FileInto(delivery))?;
    if !copy {
        context.cancel_keep();
    }
    Ok(Flow::Next)
}

/// What the tags of a command say of where the message goes and how.
pub(super) fn delivery(
    context: &mut Context,
    call: &Call,
    mailbox: Option<String>,
) -> Result<Delivery, Stop> {
    let flags = match context.tag_texts(call, "flags")? {
        Some(flags) => Some(imap4flags::normal(flags.iter().map(|flag| &**flag))),
        // RFC 5232 §4: without `:flags` the internal variable is used.
        None => (context.input().tells_flags() || !context.flags.is_empty()).then(|| context.flags.clone()),
    };
    let special_use = context.tag_text(call, "specialuse")?;
    Ok(Delivery {
        mailbox,
        mailbox_id: context.tag_text(call, "mailboxid")?.map(Into::into),
        special_use: special_use.map(Into::into),
        create: call.has("create"),
        flags,
        copy: call.has("copy"),
        message: context.current.message(),
    })
}

/// A name that stays inside of the account, or what is wrong with it.
pub(super) fn valid_mailbox(name: &str) -> Result<String, String> {
    looked_up(name).map(|name| name.as_str().to_owned())
}

fn looked_up(name: &str) -> Result<MailboxName, String> {
    MailboxName::lookup(name).map_err(|error| is_no_name(name, &error))
}

fn is_no_name(name: &str, error: &MailboxNameError) -> String {
    format!("`{name}` is no name of a mailbox: {error}")
}

fn check_mailbox(checker: &mut Checker<'_>, call: &mut Call) {
    if let Some(name) = call.constant(0)
        && let Err(error) = MailboxName::check(name)
    {
        let message = is_no_name(name, &error);
        checker.error(call.position, message);
    }
}

/// RFC 5490 §3.1: all of them.
fn mailbox_exists(context: &mut Context, call: &Call) -> Result<bool, Stop> {
    for name in context.texts(call, 0)? {
        let Ok(name) = valid_mailbox(&name) else { return Ok(false) };
        if !context.ask_truth(Request::Mailbox(name))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// RFC 9042 §5: all of them.
fn mailbox_id_exists(context: &mut Context, call: &Call) -> Result<bool, Stop> {
    for id in context.texts(call, 0)? {
        if !context.ask_truth(Request::MailboxById(id.into_owned()))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// RFC 8579 §3: all of them.
fn special_use_exists(context: &mut Context, call: &Call) -> Result<bool, Stop> {
    let mailbox = match call.texts(0) {
        [] => None,
        _ => Some(context.text(call, 0)?.into_owned()),
    };
    for attribute in context.texts(call, 1)? {
        let request = Request::SpecialUse { mailbox: mailbox.clone(), attribute: attribute.into_owned() };
        if !context.ask_truth(request)? {
            return Ok(false);
        }
    }
    Ok(true)
}
