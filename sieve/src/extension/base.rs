//! The commands and tests of RFC 5228 that need no `require`, and `encoded-character`.

use mailwright_mail_model::{
    Address, LocalPart,
    address_list::{self, Entry},
};

use super::{address, delivery, header};
use crate::{
    Action, Call, Context, Definition, Extension, Flow, Parameter, Redirect, Stop, Tag, check::Checker,
    definition::Control,
};

pub(super) fn extension() -> Extension {
    let mut extension = Extension::new("");
    for (name, control) in [
        ("require", Control::Require),
        ("if", Control::If),
        ("elsif", Control::ElseIf),
        ("else", Control::Else),
    ] {
        extension = extension.command(Definition::control(name, control));
    }
    for (name, control) in [
        ("allof", Control::AllOf),
        ("anyof", Control::AnyOf),
        ("not", Control::Not),
        ("true", Control::True),
        ("false", Control::False),
    ] {
        extension = extension.test(Definition::control(name, control));
    }
    extension
        .command(Definition::command("stop", |_, _| Ok(Flow::Stop)))
        .command(Definition::command("keep", keep))
        .command(Definition::command("discard", discard))
        .command(
            Definition::command("redirect", redirect).parameter(Parameter::String).checked(check_redirect),
        )
        .test(header::header())
        .test(address::address())
        .test(Definition::test("exists", exists).parameter(Parameter::Strings).checked(header::check_names))
        .test(
            Definition::test("size", size)
                .tag(Tag::new("over").group("comparison"))
                .tag(Tag::new("under").group("comparison"))
                .parameter(Parameter::Number)
                .checked(check_size),
        )
}

/// What RFC 5228 has beside: each is a name to require and no more.
pub(super) fn optional() -> Vec<Extension> {
    [
        "encoded-character",
        "comparator-i;octet",
        "comparator-i;ascii-casemap",
        "comparator-i;ascii-numeric",
        "comparator-i;unicode-casemap",
    ]
    .map(Extension::new)
    .into()
}

/// RFC 5228 §4.3
fn keep(context: &mut Context, call: &Call) -> Result<Flow, Stop> {
    let mut delivery = delivery::delivery(context, call, None)?;
    if !call.has("flags") {
        delivery.flags = context.implicit_flags();
    }
    context.act(Action::Keep(delivery))?;
    context.explicit_keep = true;
    Ok(Flow::Next)
}

/// RFC 5228 §4.4
fn discard(context: &mut Context, _: &Call) -> Result<Flow, Stop> {
    context.cancel_keep();
    Ok(Flow::Next)
}

/// RFC 5228 §4.2
fn redirect(context: &mut Context, call: &Call) -> Result<Flow, Stop> {
    let mut address = context.text(call, 0)?.into_owned();
    let list = call.has("list");
    if !list {
        let found = addr_spec(&address);
        address = found.ok_or_else(|| Stop::error(format!("`{address}` is no address to redirect to")))?;
    }
    let copy = call.has("copy");
    let notify = context.tag_texts(call, "notify")?;
    let ret = context.tag_text(call, "ret")?;
    let by = super::envelope::deliver_by(context, call)?;
    let redirect = Redirect {
        address,
        list,
        copy,
        notify: notify.map(|values| values.into_iter().map(|value| value.to_ascii_uppercase()).collect()),
        ret: ret.map(|ret| ret.to_ascii_uppercase()),
        by,
        message: context.current.message(),
    };
    context.act(Action::Redirect(redirect))?;
    if !copy {
        context.cancel_keep();
    }
    Ok(Flow::Next)
}

fn check_redirect(checker: &mut Checker<'_>, call: &mut Call) {
    if let Some(address) = call.constant(0)
        && !call.has("list")
        && addr_spec(address).is_none()
    {
        checker.error(call.position, format!("`{address}` is no address to redirect to"));
    }
}

/// The address that mail is sent to, without the name that may stand before it: `addr-spec / phrase "<" addr-spec ">"`
/// (RFC 5228 §2.4.2.3).
pub(super) fn addr_spec(text: &str) -> Option<String> {
    if let Ok(address) = Address::parse(text.as_bytes()) {
        // RFC 5321 §4.1.2: quotes that are not needed say nothing.
        let local = LocalPart::from_unquoted(address.local().unquoted());
        let plain = local.and_then(|local| Address::new(local, address.domain().clone()));
        return Some(plain.unwrap_or(address).to_string());
    }
    let (entries, whole) = address_list::parse_telling(text.as_bytes());
    match entries.as_slice() {
        [Entry::Mailbox(mailbox)] if whole && !text.contains(['\r', '\n']) => {
            Some(mailbox.address()?.to_string())
        }
        _ => None,
    }
}

/// RFC 5228 §5.5
fn exists(context: &mut Context, call: &Call) -> Result<bool, Stop> {
    let names = context.strings(call, 0)?;
    let parts = header::parts(context, call);
    for name in names.iter() {
        let mut found = false;
        for part in &parts {
            if context.field(*part, name, 0)?.is_some() {
                found = true;
                break;
            }
        }
        if !found {
            return Ok(false);
        }
    }
    Ok(true)
}

/// RFC 5228 §5.9
fn size(context: &mut Context, call: &Call) -> Result<bool, Stop> {
    let limit = call.number(0).unwrap_or_default();
    let octets = context.current.octets();
    Ok(if call.has("over") { octets > limit } else { octets < limit })
}

fn check_size(checker: &mut Checker<'_>, call: &mut Call) {
    if !call.has("over") && !call.has("under") {
        checker.error(call.position, "`size` takes `:over` or `:under`");
    }
}
