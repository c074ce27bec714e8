//! Parameters of MAIL and RCPT (RFC 5321 §4.1.1.11): one table row each.

mod body;
mod deliver_by;
mod dsn;
mod hold;
mod mail;
mod other;
mod priority;
mod rcpt;
mod solicitation;
mod valid_since;
mod verp;

use std::fmt;

pub use body::{BodyKind, Submitter};
pub use deliver_by::{ByMode, DeliverBy};
pub use dsn::{EnvelopeId, Notify, OriginalRecipient, ReturnContent};
pub use hold::Hold;
pub use mail::MailParameters;
pub use other::Parameter;
pub use priority::Priority;
pub use rcpt::RcptParameters;
pub use solicitation::Solicitation;
pub use valid_since::{Changed, ValidSince};
pub use verp::VerpDelimiters;

pub(crate) use mail::MAIL;
pub(crate) use rcpt::RCPT;

use crate::{Capabilities, SyntaxError};

/// One parameter.
pub(crate) struct Row<P> {
    keyword: &'static str,
    /// The keyword as [`key`] has it.
    key: u128,
    parse: Parse<P>,
    /// The parameter as it is written, with the value behind `=` if it has one.
    encode: fn(&P) -> Option<String>,
    /// Whether a server that announced this takes it.
    announced: fn(&P, &Capabilities) -> bool,
    /// Whether a client must not send the message without it. If not, it is left out for a server that does not
    /// take it.
    needed: fn(&P) -> bool,
}

/// Takes the value, if there is one; `None` if it is none for this parameter.
type Parse<P> = fn(&mut P, Option<&str>) -> Option<Result<(), SyntaxError>>;

/// Parameters that keep those without a row.
pub(crate) trait Keep: Default {
    fn other(&self) -> &[Parameter];
    fn other_mut(&mut self) -> &mut Vec<Parameter>;
}

/// Reads what follows the path: nothing, or parameters with a space before each.
pub(crate) fn parse<P: Keep>(table: &[Row<P>], mut rest: &str) -> Result<P, SyntaxError> {
    let wrong = SyntaxError::Arguments("<address> [KEYWORD[=value] ...]");
    let (mut parameters, mut seen) = (P::default(), 0_u64);
    while !rest.is_empty() {
        let Some(behind) = rest.strip_prefix(' ') else { return Err(wrong) };
        let Some((keyword, value, after)) = parameter(behind) else { return Err(wrong) };
        rest = after;
        if keyword.is_empty() {
            continue;
        }
        let key = key(keyword);
        let row = table.iter().enumerate().find(|(_, row)| row.key == key && key != 0);
        let Some((index, row)) = row else {
            let other = Parameter::read(keyword, value);
            if parameters.other().iter().any(|earlier| earlier.keyword() == other.keyword()) {
                return Err(SyntaxError::Twice(other.keyword().to_owned()));
            }
            parameters.other_mut().push(other);
            continue;
        };
        if seen & (1 << index) != 0 {
            return Err(SyntaxError::Twice(row.keyword.to_owned()));
        }
        seen |= 1 << index;
        (row.parse)(&mut parameters, value).unwrap_or(Err(SyntaxError::Value(row.keyword)))?;
    }
    Ok(parameters)
}

/// Writes the parameters that are set, a space before each.
pub(crate) fn encode<P: Keep>(
    table: &[Row<P>],
    parameters: &P,
    formatter: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    table
        .iter()
        .filter_map(|row| (row.encode)(parameters))
        .try_for_each(|text| write!(formatter, " {text}"))?;
    parameters.other().iter().try_for_each(|other| write!(formatter, " {other}"))
}

/// The parameters that may be sent to a server of these capabilities: what is not announced and not needed is left
/// out; what is needed is the error. Those without a row are the caller's.
pub(crate) fn fit<P: Keep>(
    table: &[Row<P>],
    parameters: &P,
    capabilities: &Capabilities,
) -> Result<P, &'static str> {
    let mut fitting = P::default();
    for row in table {
        let Some(text) = (row.encode)(parameters) else { continue };
        if (row.announced)(parameters, capabilities) {
            let value = text.split_once('=').map(|(_, value)| value);
            // What was encoded can be parsed.
            let _ = (row.parse)(&mut fitting, value);
        } else if (row.needed)(parameters) {
            return Err(row.keyword);
        }
    }
    fitting.other_mut().extend_from_slice(parameters.other());
    Ok(fitting)
}

/// The first parameter that a server which announced this does not take.
pub(crate) fn not_taken<P: Keep>(
    table: &[Row<P>],
    parameters: &P,
    capabilities: &Capabilities,
    taken: impl Fn(&str) -> bool,
) -> Option<String> {
    let of_table = table
        .iter()
        .find(|row| (row.encode)(parameters).is_some() && !(row.announced)(parameters, capabilities))
        .map(|row| row.keyword);
    let other = || parameters.other().iter().map(Parameter::keyword).find(|keyword| !taken(keyword));
    of_table.or_else(other).map(str::to_owned)
}

/// The keyword and the value that stand first, and what follows them: nothing, or something behind a space. The keyword
/// is empty where nothing stands before the space.
///
/// RFC 5321 §4.1.2: esmtp-param = esmtp-keyword ["=" esmtp-value]; RFC 6531 §3.3 adds UTF-8 to the value.
fn parameter(text: &str) -> Option<(&str, Option<&str>, &str)> {
    let keyword_end = end(text, KEYWORD);
    let (keyword, rest) = text.split_at_checked(keyword_end)?;
    if keyword.starts_with('-') {
        return None;
    }
    let (value, rest) = match rest.strip_prefix('=') {
        Some(_) if keyword.is_empty() => return None,
        Some(behind) => {
            // Postfix's XVERP is older than the rule that no value has an equals sign.
            let class = if keyword.eq_ignore_ascii_case("XVERP") { VALUE | EQUALS } else { VALUE };
            let (value, rest) = behind.split_at_checked(end(behind, class))?;
            (Some(value), rest)
        }
        None => (None, rest),
    };
    (rest.is_empty() || rest.starts_with(' ')).then_some((keyword, value, rest))
}

/// Where the octets of that class end.
fn end(text: &str, class: u8) -> usize {
    let fits = |octet: u8| CLASSES.get(usize::from(octet)).is_some_and(|classes| classes & class != 0);
    text.bytes().position(|octet| !fits(octet)).unwrap_or(text.len())
}

/// A keyword of at most sixteen octets as one number, the same for both cases of its letters; 0 for any other.
const fn key(keyword: &str) -> u128 {
    let (mut rest, mut key) = (keyword.as_bytes(), 0);
    if rest.len() > 16 {
        return 0;
    }
    while let [octet, after @ ..] = rest {
        // Of the octets of keywords, only the two cases of a letter become that letter with this bit.
        key = (key << 8) | (*octet | 0x20) as u128;
        rest = after;
    }
    key
}

const KEYWORD: u8 = 1;
const VALUE: u8 = 2;
const EQUALS: u8 = 4;

/// What each octet may stand in.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let (mut rest, mut octet): (&mut [u8], u8) = (&mut classes, 0);
    while let [class, after @ ..] = rest {
        *class = match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => KEYWORD | VALUE,
            b'=' => EQUALS,
            0..=b' ' | 0x7f => 0,
            _ => VALUE,
        };
        octet = octet.wrapping_add(1);
        rest = after;
    }
    classes
};

/// At most so many digits and nothing else.
fn digits(text: &str, most: usize) -> Option<u64> {
    let fits = !text.is_empty() && text.len() <= most && text.bytes().all(|octet| octet.is_ascii_digit());
    text.parse().ok().filter(|_| fits)
}

#[cfg(test)]
mod tests;
