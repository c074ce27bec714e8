//! `address` (RFC 5228 §5.1) and the parts of addresses (RFC 5228 §2.7.4, RFC 5233).

use super::{
    date::check_last,
    header::{check_names, fields, parts},
};
use crate::{
    Call, Context, Definition, Matcher, Parameter, Stop,
    check::Checker,
    run::{Found, Mailbox},
};

/// The fields that hold addresses (RFC 5228 §5.1 wants the test to take no others).
const FIELDS: [&str; 24] = [
    "from",
    "to",
    "cc",
    "bcc",
    "sender",
    "reply-to",
    "resent-from",
    "resent-to",
    "resent-cc",
    "resent-bcc",
    "resent-sender",
    "resent-reply-to",
    "return-path",
    "delivered-to",
    "x-original-to",
    "envelope-to",
    "apparently-to",
    "errors-to",
    "disposition-notification-to",
    "return-receipt-to",
    "mail-followup-to",
    "mail-reply-to",
    "approved",
    "original-recipient",
];

pub(super) fn address() -> Definition {
    Definition::test("address", test)
        .parameter(Parameter::Strings)
        .parameter(Parameter::Strings)
        .matching()
        .addresses()
        .checked(check_names)
        .checked(check_fields)
        .checked(|checker, call| check_last(checker, call))
}

fn check_fields(checker: &mut Checker<'_>, call: &mut Call) {
    let mut names = call.texts(0).iter().filter_map(|text| text.constant());
    let other = names.find(|name| !FIELDS.iter().any(|field| field.eq_ignore_ascii_case(name)));
    if let Some(other) = other {
        let message = format!("there are no addresses in `{other}`: use `header`");
        checker.error(call.position, message);
    }
}

fn test(context: &mut Context, call: &Call) -> Result<bool, Stop> {
    let names = context.strings(call, 0)?;
    let mut matcher = context.matcher(call)?;
    if matcher.is_plain() {
        for name in names.iter() {
            let mut from = 0;
            while let Some(field) = context.field(0, name, from)? {
                from = field.next();
                if of_field(context, call, &mut matcher, field)? {
                    return Ok(true);
                }
            }
        }
        return matcher.finish(context);
    }
    for part in parts(context, call) {
        for field in fields(context, part, &names, call)? {
            if of_field(context, call, &mut matcher, field)? {
                return Ok(true);
            }
        }
    }
    matcher.finish(context)
}

/// One field more for a test.
fn of_field(
    context: &mut Context,
    call: &Call,
    matcher: &mut Matcher<'_>,
    field: Found,
) -> Result<bool, Stop> {
    for mailbox in context.field_mailboxes(field)?.iter() {
        if matches(context, call, matcher, mailbox)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// One address more for a test.
pub(super) fn matches(
    context: &mut Context,
    call: &Call,
    matcher: &mut Matcher<'_>,
    mailbox: &Mailbox,
) -> Result<bool, Stop> {
    if matcher.counts() {
        // RFC 5231 §5: addresses are counted, not their parts.
        matcher.counted();
        return Ok(false);
    }
    if matcher.is_plain() {
        return matcher.value(context, mailbox.whole());
    }
    // What has no domain is no address, and has no parts; it is compared as it stands.
    let has_parts = !mailbox.domain().is_empty();
    if call.has("localpart") {
        if has_parts { matcher.value(context, mailbox.local()) } else { Ok(false) }
    } else if call.has("domain") {
        if has_parts { matcher.value(context, mailbox.domain()) } else { Ok(false) }
    } else if call.has("user") || call.has("detail") {
        let separator = &context.input().separator;
        let split = if separator.is_empty() {
            None
        } else {
            mailbox.local().split_once(|letter| separator.contains(letter))
        };
        match split {
            _ if !has_parts => Ok(false),
            Some((user, _)) if call.has("user") => matcher.value(context, user),
            None if call.has("user") => matcher.value(context, mailbox.local()),
            Some((_, detail)) => matcher.value(context, detail),
            // RFC 5233 §4: without a separator there is no detail, and the test is false.
            None => Ok(false),
        }
    } else {
        matcher.value(context, mailbox.whole())
    }
}
