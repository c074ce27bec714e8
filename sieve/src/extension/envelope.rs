//! `envelope` (RFC 5228 §5.4), what RFC 6009 adds to it and to `redirect`, and `subaddress` (RFC 5233).

use mailwright_mail_model::{Address, DateTime};

use super::address;
use crate::{
    Call, Context, Definition, DeliverBy, Extension, Parameter, Stop, Tag, Target, check::Checker,
    run::Mailbox,
};

pub(super) fn extensions() -> Vec<Extension> {
    let envelope = Definition::test("envelope", test)
        .parameter(Parameter::Strings)
        .parameter(Parameter::Strings)
        .matching()
        .addresses()
        .checked(check);
    vec![
        Extension::new("envelope").test(envelope),
        Extension::new("envelope-dsn"),
        Extension::new("envelope-deliverby"),
        Extension::new("redirect-dsn")
            .tag_on(Target::Named(&["redirect"]), Tag::new("notify").value(Parameter::Strings))
            .tag_on(Target::Named(&["redirect"]), Tag::new("ret").value(Parameter::String)),
        Extension::new("redirect-deliverby")
            .tag_on(
                Target::Named(&["redirect"]),
                Tag::new("bytimerelative").value(Parameter::Number).group("time"),
            )
            .tag_on(
                Target::Named(&["redirect"]),
                Tag::new("bytimeabsolute").value(Parameter::String).group("time"),
            )
            .tag_on(Target::Named(&["redirect"]), Tag::new("bymode").value(Parameter::String))
            .tag_on(Target::Named(&["redirect"]), Tag::new("bytrace")),
        Extension::new("subaddress")
            .tag_on(Target::Addresses, Tag::new("user").group("address part"))
            .tag_on(Target::Addresses, Tag::new("detail").group("address part")),
    ]
}

/// The parts of the envelope, and the extension each comes with.
const PARTS: [(&str, &str); 11] = [
    ("from", "envelope"),
    ("to", "envelope"),
    ("auth", "envelope"),
    ("notify", "envelope-dsn"),
    ("orcpt", "envelope-dsn"),
    ("ret", "envelope-dsn"),
    ("envid", "envelope-dsn"),
    ("bytimeabsolute", "envelope-deliverby"),
    ("bytimerelative", "envelope-deliverby"),
    ("bymode", "envelope-deliverby"),
    ("bytrace", "envelope-deliverby"),
];

fn check(checker: &mut Checker<'_>, call: &mut Call) {
    let mut wrong = Vec::new();
    for name in call.texts(0).iter().filter_map(|text| text.constant()) {
        match PARTS.iter().find(|(part, _)| part.eq_ignore_ascii_case(name)) {
            None => wrong.push(format!("`{name}` is no part of the envelope")),
            Some((part, extension)) if !checker.is_active(extension) => {
                wrong.push(format!("`{part}` needs `require \"{extension}\";`"));
            }
            Some(_) => {}
        }
    }
    for message in wrong {
        checker.error(call.position, message);
    }
}

fn test(context: &mut Context, call: &Call) -> Result<bool, Stop> {
    if context.input().event {
        // RFC 6785 §4.6
        return Err(Stop::error("there is no envelope: the message is not being delivered"));
    }
    let names = context.texts(call, 0)?;
    let mut matcher = context.matcher(call)?;
    for name in names {
        let envelope = &context.input().envelope;
        let address = match &*name.to_ascii_lowercase() {
            "from" => envelope.from.clone(),
            "to" => envelope.to.clone(),
            "auth" => envelope.auth.clone(),
            other => {
                for value in value(context, other) {
                    if matcher.value(context, &value)? {
                        return Ok(true);
                    }
                }
                continue;
            }
        };
        let Some(address) = address else { continue };
        let found = if address.is_empty() {
            // RFC 5228 §5.4: the null sender is the empty string, whatever the address part.
            matcher.value(context, "")?
        } else {
            match Address::parse(address.as_bytes()) {
                Ok(address) => {
                    let local = address.local().unquoted();
                    let whole = Mailbox::new(local, address.domain().as_str());
                    // With the quotes that it needs an address is the same.
                    let quoted = matcher.is_plain() && !matcher.counts() && whole.whole() != address.as_str();
                    (quoted && matcher.value(context, address.as_str())?)
                        || address::matches(context, call, &mut matcher, &whole)?
                }
                // Providers have had local parts with dots anywhere, and hosts with underscores; `auth` need not be an address.
                Err(_) => {
                    let parts = address.rsplit_once('@').filter(|(local, domain)| {
                        !local.is_empty() && !domain.is_empty() && !local.contains(['@', ' '])
                    });
                    let (local, domain) = parts.unwrap_or((&address, ""));
                    address::matches(context, call, &mut matcher, &Mailbox::new(local, domain))?
                }
            }
        };
        if found {
            return Ok(true);
        }
    }
    matcher.finish(context)
}

/// RFC 6009 §3 and §5.
fn value(context: &Context, name: &str) -> Vec<String> {
    let envelope = &context.input().envelope;
    let one = |value: Option<String>| value.into_iter().collect();
    match (name, &envelope.by) {
        ("notify", _) => envelope.notify.clone(),
        ("orcpt", _) => one(envelope.original_recipient.clone()),
        ("ret", _) => one(envelope.ret.clone()),
        ("envid", _) => one(envelope.id.clone()),
        ("bytimeabsolute", Some(by)) => one(Some(super::date::iso8601(by.at))),
        ("bytimerelative", Some(by)) => {
            one(Some((by.at.seconds().saturating_sub(context.input().now.seconds())).to_string()))
        }
        ("bymode", Some(by)) => one(Some(by.mode.to_string())),
        ("bytrace", Some(by)) => one(by.trace.then(|| "true".to_owned())),
        _ => Vec::new(),
    }
}

/// The time that `redirect` is given (RFC 6009 §6).
pub(super) fn deliver_by(context: &mut Context, call: &Call) -> Result<Option<DeliverBy>, Stop> {
    let absolute = context.tag_text(call, "bytimeabsolute")?;
    let mode = context.tag_text(call, "bymode")?;
    let seconds = match (call.tag_number("bytimerelative"), absolute) {
        (Some(seconds), _) => i64::try_from(seconds).unwrap_or(i64::MAX),
        (None, Some(absolute)) => {
            let moment: Option<DateTime> = super::date::parse_iso8601(&absolute);
            let moment = moment.ok_or_else(|| Stop::error(format!("`{absolute}` is no time of ISO 8601")))?;
            moment.seconds().saturating_sub(context.input().now.seconds())
        }
        (None, None) => return Ok(None),
    };
    let mode = mode.map_or_else(|| "notify".to_owned(), |mode| mode.to_ascii_lowercase());
    if !matches!(mode.as_str(), "notify" | "return") {
        return Err(Stop::error(format!("expected notify or return for `:bymode`, found `{mode}`")));
    }
    Ok(Some(DeliverBy { seconds, mode, trace: call.has("bytrace") }))
}
