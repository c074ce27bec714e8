//! `fcc` (RFC 8580): where an answer or notification is filed too.

use super::delivery::valid_mailbox;
use crate::{Call, Context, Delivery, Extension, Parameter, Stop, Tag, Target, check::Checker};

/// The commands that send a message (RFC 8580 §3.1).
const SENDERS: Target = Target::Named(&["vacation", "notify"]);

pub(super) fn extensions() -> Vec<Extension> {
    vec![Extension::new("fcc").tag_on(SENDERS, Tag::new("fcc").value(Parameter::String))]
}

/// The tags of `fileinto` say how the copy is filed, and nothing where there is none (RFC 8580 §3.2).
pub(super) fn check(checker: &mut Checker<'_>, call: &mut Call) {
    let filing = ["create", "flags", "mailboxid", "specialuse"].into_iter().find(|tag| call.has(tag));
    if let Some(tag) = filing.filter(|_| !call.has("fcc")) {
        checker.error(call.position, format!("`{}` takes `:{tag}` only with `:fcc`", call.name()));
    }
}

/// What `:fcc`, and the tags of `fileinto` beside it, say.
pub(super) fn delivery(context: &mut Context, call: &Call) -> Result<Option<Delivery>, Stop> {
    let Some(mailbox) = context.tag_text(call, "fcc")? else { return Ok(None) };
    let mailbox = valid_mailbox(&mailbox).map_err(Stop::error)?;
    let mut delivery = super::delivery::delivery(context, call, Some(mailbox))?;
    // RFC 8580 §3.3: the internal variable is for the message that came, not for this one.
    if !call.has("flags") {
        delivery.flags = None;
    }
    Ok(Some(delivery))
}
