//! The text of a record (RFC 7208 §4.5 to §7), read whole before any of it is asked.

use std::net::IpAddr;

use super::{SpfResult, expand::MacroText};
use crate::networks::AddressRange;

/// A record that was understood.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    pub(super) directives: Vec<Directive>,
    pub(super) redirect: Option<MacroText>,
    pub(super) explanation: Option<MacroText>,
}

/// What is said of those whom a mechanism is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directive {
    pub(super) result: SpfResult,
    pub(super) mechanism: Mechanism,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mechanism {
    All,
    Include(MacroText),
    Addresses { domain: Option<MacroText>, v4: u32, v6: u32 },
    Exchangers { domain: Option<MacroText>, v4: u32, v6: u32 },
    Pointers(Option<MacroText>),
    Network(AddressRange),
    Exists(MacroText),
}

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a record of SPF, got {0:?} in it")]
pub struct RecordError(String);

impl Record {
    /// Whether a text is meant to be a record.
    pub fn is_meant(text: &str) -> bool {
        let version = text.split(' ').next().unwrap_or_default();
        version.eq_ignore_ascii_case("v=spf1")
    }

    /// Reads a record.
    ///
    /// ```
    /// use mailwright_relay_policy::authentication::spf::Record;
    ///
    /// assert!(Record::parse("v=spf1 ip4:192.0.2.0/24 a:mail.example.org -all").is_ok());
    /// assert!(Record::parse("v=spf1 ip4:192.0.2.0/33 -all").is_err());
    /// ```
    ///
    /// # Errors
    /// [`RecordError`], which names the term that is wrong.
    pub fn parse(text: &str) -> Result<Self, RecordError> {
        let mut record = Self::default();
        for term in text.split(' ').skip(1).filter(|term| !term.is_empty()) {
            let wrong = || RecordError(term.to_owned());
            if let Some((name, value)) = modifier(term) {
                let place = match &*name.to_ascii_lowercase() {
                    "redirect" => &mut record.redirect,
                    "exp" => &mut record.explanation,
                    // RFC 7208 §6: others are for others.
                    _ => {
                        MacroText::parse(value).ok_or_else(wrong)?;
                        continue;
                    }
                };
                if place.replace(domain(value).ok_or_else(wrong)?).is_some() {
                    return Err(wrong());
                }
                continue;
            }
            record.directives.push(directive(term).ok_or_else(wrong)?);
        }
        Ok(record)
    }
}

/// The name and value of a modifier: an equals sign behind a name, and no colon or slash before it.
fn modifier(term: &str) -> Option<(&str, &str)> {
    let (name, value) = term.split_once('=')?;
    let fits = name.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.'));
    fits.then_some((name, value))
}

fn directive(term: &str) -> Option<Directive> {
    let (result, term) = match term.split_at_checked(1)? {
        ("+", rest) => (SpfResult::Pass, rest),
        ("-", rest) => (SpfResult::Fail, rest),
        ("~", rest) => (SpfResult::SoftFail, rest),
        ("?", rest) => (SpfResult::Neutral, rest),
        _ => (SpfResult::Pass, term),
    };
    let end = term.find([':', '/']).unwrap_or(term.len());
    let (name, rest) = term.split_at_checked(end)?;
    let argument = rest.strip_prefix(':');
    let mechanism = match &*name.to_ascii_lowercase() {
        "all" if rest.is_empty() => Mechanism::All,
        "include" => Mechanism::Include(domain(argument?)?),
        "exists" => Mechanism::Exists(domain(argument?)?),
        "ptr" if rest.is_empty() => Mechanism::Pointers(None),
        "ptr" => Mechanism::Pointers(Some(domain(argument?)?)),
        "ip4" => Mechanism::Network(network(argument?, true)?),
        "ip6" => Mechanism::Network(network(argument?, false)?),
        kind @ ("a" | "mx") => {
            let (name, v4, v6) = lengths(rest)?;
            let domain = match name.strip_prefix(':') {
                Some(name) => Some(domain(name)?),
                None if name.is_empty() => None,
                None => return None,
            };
            if kind == "a" {
                Mechanism::Addresses { domain, v4, v6 }
            } else {
                Mechanism::Exchangers { domain, v4, v6 }
            }
        }
        _ => return None,
    };
    Some(Directive { result, mechanism })
}

/// RFC 7208 §7.1: a domain ends with a label that is not all digits, or with a macro.
fn domain(text: &str) -> Option<MacroText> {
    // RFC 7208 §7.2: some letters are for explanations.
    let parsed = MacroText::parse(text).filter(|parsed| !parsed.is_for_explanations())?;
    let ends_with_macro = ["}", "%%", "%_", "%-"].iter().any(|end| text.ends_with(end));
    let top = text.trim_end_matches('.').rsplit('.').next()?;
    let is_top = !top.is_empty()
        && text.trim_end_matches('.').contains('.')
        && !top.starts_with('-')
        && !top.ends_with('-')
        && top.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-')
        && !top.chars().all(|letter| letter.is_ascii_digit());
    (ends_with_macro || is_top).then_some(parsed)
}

/// The two lengths of prefixes at the end: `/24`, `//64` or `/24//64`.
fn lengths(text: &str) -> Option<(&str, u32, u32)> {
    // A slash can also be a delimiter in a macro, or a part of a name.
    let is_length = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    let (text, v6) = match text.rsplit_once("//") {
        Some((rest, length)) if is_length(length) => (rest, length_of(length, 128)?),
        _ => (text, 128),
    };
    match text.rsplit_once('/') {
        Some((rest, length)) if is_length(length) => Some((rest, length_of(length, 32)?, v6)),
        _ => Some((text, 32, v6)),
    }
}

fn length_of(text: &str, longest: u32) -> Option<u32> {
    let fits = text.bytes().all(|octet| octet.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|length| fits && *length <= longest)
}

fn network(text: &str, v4: bool) -> Option<AddressRange> {
    let longest = if v4 { 32 } else { 128 };
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, length_of(length, longest)?),
        None => (text, longest),
    };
    let address: IpAddr = address.parse().ok()?;
    if address.is_ipv4() != v4 {
        return None;
    }
    // An IPv4 address in IPv6 clothes would be judged by the length of the wrong family.
    let mapped = !v4 && address.to_canonical().is_ipv4();
    let length = if mapped { length.checked_sub(96)? } else { length };
    Some(AddressRange::network(address, length))
}
