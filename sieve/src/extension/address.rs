//! `address` (RFC 5228 §5.1) and the parts of addresses (RFC 5228 §2.7.4, RFC 5233).

use mailwright_mail_model::address_list::{self, Entry};

use super::header::{check_names, fields, parts};
use crate::{Call, Context, Definition, Matcher, Parameter, Stop, check::Checker};

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
    let names = context.texts(call, 0)?;
    let mut matcher = context.matcher(call)?;
    for part in parts(context, call) {
        let header = context.header(part)?;
        context.charge(header.len().saturating_mul(names.len()))?;
        for value in fields(&header, names.iter().map(|name| &**name), call) {
            for entry in address_list::parse(&value) {
                let Entry::Mailbox(mailbox) = entry else { continue };
                let local = String::from_utf8_lossy(&mailbox.local);
                let domain = String::from_utf8_lossy(&mailbox.domain);
                if matches(context, call, &mut matcher, &local, &domain)? {
                    return Ok(true);
                }
            }
        }
    }
    matcher.finish(context)
}

/// One address more for a test.
pub(super) fn matches(
    context: &mut Context,
    call: &Call,
    matcher: &mut Matcher<'_>,
    local: &str,
    domain: &str,
) -> Result<bool, Stop> {
    if matcher.counts() {
        // RFC 5231 §5: addresses are counted, not their parts.
        matcher.counted();
        return Ok(false);
    }
    let separator = context.input().separator.clone();
    let split = if separator.is_empty() { None } else { local.split_once(separator.as_str()) };
    // What has no domain is no address, and has no parts; it is compared as it stands.
    let partial = ["localpart", "domain", "user", "detail"].iter().any(|part| call.has(part));
    if domain.is_empty() {
        if partial { Ok(false) } else { matcher.value(context, local) }
    } else if call.has("localpart") {
        matcher.value(context, local)
    } else if call.has("domain") {
        matcher.value(context, domain)
    } else if call.has("user") {
        matcher.value(context, split.map_or(local, |(user, _)| user))
    } else if call.has("detail") {
        // RFC 5233 §4: without a separator there is no detail, and the test is false.
        split.map_or(Ok(false), |(_, detail)| matcher.value(context, detail))
    } else {
        matcher.value(context, &format!("{local}@{domain}"))
    }
}
