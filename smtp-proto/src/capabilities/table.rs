//! The keywords, one row each.

use super::{Capabilities, FutureRelease, SessionLimits, SizeLimit};

/// One keyword.
pub(super) struct Row {
    pub(super) keyword: &'static str,
    pub(super) parse: fn(&mut Capabilities, &str),
    pub(super) encode: fn(&Capabilities) -> Option<String>,
}

/// The keywords, in the order in which they are announced.
pub(super) const TABLE: &[Row] = &[
    Row {
        keyword: "PIPELINING",
        parse: |capabilities, _| capabilities.pipelining = true,
        encode: |capabilities| flag(capabilities.pipelining),
    },
    Row {
        keyword: "SIZE",
        parse: |capabilities, value| {
            // What is no number says nothing about the limit.
            capabilities.size = Some(match value.parse() {
                Ok(limit) if limit > 0 => SizeLimit::AtMost(limit),
                _ => SizeLimit::Unknown,
            });
        },
        encode: |capabilities| match capabilities.size? {
            SizeLimit::Unknown => Some(String::new()),
            SizeLimit::AtMost(limit) => Some(limit.to_string()),
        },
    },
    Row {
        keyword: "VRFY",
        parse: |capabilities, _| capabilities.vrfy = true,
        encode: |capabilities| flag(capabilities.vrfy),
    },
    Row {
        keyword: "EXPN",
        parse: |capabilities, _| capabilities.expn = true,
        encode: |capabilities| flag(capabilities.expn),
    },
    Row {
        keyword: "ETRN",
        parse: |capabilities, _| capabilities.etrn = true,
        encode: |capabilities| flag(capabilities.etrn),
    },
    Row {
        keyword: "ATRN",
        parse: |capabilities, _| capabilities.atrn = true,
        encode: |capabilities| flag(capabilities.atrn),
    },
    Row {
        keyword: "STARTTLS",
        parse: |capabilities, _| capabilities.starttls = true,
        encode: |capabilities| flag(capabilities.starttls),
    },
    Row {
        keyword: "AUTH",
        parse: |capabilities, value| {
            for mechanism in value.split_ascii_whitespace().map(str::to_ascii_uppercase) {
                if !capabilities.auth.contains(&mechanism) {
                    capabilities.auth.push(mechanism);
                }
            }
        },
        encode: |capabilities| (!capabilities.auth.is_empty()).then(|| capabilities.auth.join(" ")),
    },
    Row {
        keyword: "ENHANCEDSTATUSCODES",
        parse: |capabilities, _| capabilities.enhanced_status_codes = true,
        encode: |capabilities| flag(capabilities.enhanced_status_codes),
    },
    Row {
        keyword: "8BITMIME",
        parse: |capabilities, _| capabilities.eight_bit_mime = true,
        encode: |capabilities| flag(capabilities.eight_bit_mime),
    },
    Row {
        keyword: "SMTPUTF8",
        parse: |capabilities, _| capabilities.smtputf8 = true,
        encode: |capabilities| flag(capabilities.smtputf8),
    },
    Row {
        keyword: "CHUNKING",
        parse: |capabilities, _| capabilities.chunking = true,
        encode: |capabilities| flag(capabilities.chunking),
    },
    Row {
        keyword: "BINARYMIME",
        parse: |capabilities, _| capabilities.binary_mime = true,
        encode: |capabilities| flag(capabilities.binary_mime),
    },
    Row {
        keyword: "DSN",
        parse: |capabilities, _| capabilities.dsn = true,
        encode: |capabilities| flag(capabilities.dsn),
    },
    Row {
        keyword: "DELIVERBY",
        parse: |capabilities, value| capabilities.deliver_by = Some(value.parse().ok()),
        encode: |capabilities| {
            Some(capabilities.deliver_by?.map_or_else(String::new, |least| least.to_string()))
        },
    },
    Row {
        keyword: "FUTURERELEASE",
        // Without its two limits it cannot be used.
        parse: |capabilities, value| capabilities.future_release = FutureRelease::parse(value),
        encode: |capabilities| capabilities.future_release.map(FutureRelease::encode),
    },
    Row {
        keyword: "MT-PRIORITY",
        parse: |capabilities, value| capabilities.priority = Some(value.to_owned()),
        encode: |capabilities| capabilities.priority.clone(),
    },
    Row {
        keyword: "REQUIRETLS",
        parse: |capabilities, _| capabilities.require_tls = true,
        encode: |capabilities| flag(capabilities.require_tls),
    },
    Row {
        keyword: "RRVS",
        parse: |capabilities, _| capabilities.valid_since = true,
        encode: |capabilities| flag(capabilities.valid_since),
    },
    Row {
        keyword: "NO-SOLICITING",
        parse: |capabilities, value| capabilities.no_soliciting = Some(value.parse().ok()),
        encode: |capabilities| {
            let classes = capabilities.no_soliciting.as_ref()?;
            Some(classes.as_ref().map_or_else(String::new, ToString::to_string))
        },
    },
    Row {
        keyword: "BURL",
        parse: |capabilities, value| capabilities.burl = Some(words(value)),
        encode: |capabilities| capabilities.burl.as_ref().map(|words| words.join(" ")),
    },
    Row {
        keyword: "PRDR",
        parse: |capabilities, _| capabilities.each_recipient = true,
        encode: |capabilities| flag(capabilities.each_recipient),
    },
    Row {
        keyword: "LIMITS",
        parse: |capabilities, value| capabilities.limits = Some(SessionLimits::parse(value)),
        encode: |capabilities| capabilities.limits.as_ref()?.encode(),
    },
    Row {
        keyword: "XCLIENT",
        parse: |capabilities, value| capabilities.xclient = words(value),
        encode: |capabilities| (!capabilities.xclient.is_empty()).then(|| capabilities.xclient.join(" ")),
    },
    Row {
        keyword: "XFORWARD",
        parse: |capabilities, value| capabilities.xforward = words(value),
        encode: |capabilities| (!capabilities.xforward.is_empty()).then(|| capabilities.xforward.join(" ")),
    },
    Row {
        keyword: "XVERP",
        parse: |capabilities, _| capabilities.verp = true,
        encode: |capabilities| flag(capabilities.verp),
    },
];

/// Keywords of extensions not spoken here, known so that a line of them is not taken for anything else.
pub(super) const FOREIGN: &[&str] =
    &["CHECKPOINT", "CONNEG", "CONPERM", "HELP", "MTRK", "SAML", "SEND", "SOML", "SUBMITTER", "TURN"];

fn flag(set: bool) -> Option<String> {
    set.then(String::new)
}

fn words(value: &str) -> Vec<String> {
    value.split_ascii_whitespace().map(str::to_ascii_uppercase).collect()
}
