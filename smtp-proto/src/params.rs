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

use crate::{
    Capabilities, SyntaxError,
    words::{Index, Key, WORD, all_in, split_before},
};

/// The parameters of a command.
pub(crate) struct Table<P: 'static> {
    rows: &'static [Row<P>],
    index: Index,
}

impl<P> Table<P> {
    const fn of(rows: &'static [Row<P>]) -> Self {
        let (mut index, mut rest) = (Index::EMPTY, rows);
        while let [row, others @ ..] = rest {
            index = index.with(row.key);
            rest = others;
        }
        Self { rows, index }
    }
}

/// One parameter.
pub(crate) struct Row<P> {
    keyword: &'static str,
    key: Key,
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

/// Reads what follows the path into parameters of which none is set: nothing, or parameters with a space before each. There
/// is no control character in it.
pub(crate) fn parse<P: Keep>(
    table: &Table<P>,
    mut rest: &str,
    parameters: &mut P,
) -> Result<(), SyntaxError> {
    const WRONG: SyntaxError = SyntaxError::Arguments("<address> [KEYWORD[=value] ...]");
    let mut seen = 0_u64;
    while !rest.is_empty() {
        let (keyword, value, after) = rest.strip_prefix(' ').and_then(parameter).ok_or(WRONG)?;
        rest = after;
        if keyword.is_empty() {
            continue;
        }
        let key = Key::of(keyword);
        let row = table.index.row(key, table.rows).filter(|(_, row)| row.key == key);
        let Some((index, row)) = row else {
            if !is_keyword(keyword) {
                return Err(WRONG);
            }
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
        (row.parse)(parameters, value).unwrap_or(Err(SyntaxError::Value(row.keyword)))?;
    }
    Ok(())
}

/// Writes the parameters that are set, a space before each.
pub(crate) fn encode<P: Keep>(
    table: &Table<P>,
    parameters: &P,
    formatter: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    table
        .rows
        .iter()
        .filter_map(|row| (row.encode)(parameters))
        .try_for_each(|text| write!(formatter, " {text}"))?;
    parameters.other().iter().try_for_each(|other| write!(formatter, " {other}"))
}

/// The parameters that may be sent to a server of these capabilities: what is not announced and not needed is left
/// out; what is needed is the error. Those without a row are the caller's.
pub(crate) fn fit<P: Keep>(
    table: &Table<P>,
    parameters: &P,
    capabilities: &Capabilities,
) -> Result<P, &'static str> {
    let mut fitting = P::default();
    for row in table.rows {
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
    table: &Table<P>,
    parameters: &P,
    capabilities: &Capabilities,
    taken: impl Fn(&str) -> bool,
) -> Option<String> {
    let of_table = table
        .rows
        .iter()
        .find(|row| (row.encode)(parameters).is_some() && !(row.announced)(parameters, capabilities))
        .map(|row| row.keyword);
    let other = || parameters.other().iter().map(Parameter::keyword).find(|keyword| !taken(keyword));
    of_table.or_else(other).map(str::to_owned)
}

/// What may be the keyword and is the value of the parameter that stands first, and what follows them: nothing, or something
/// behind a space. The keyword is empty where nothing stands before the space.
///
/// RFC 5321 §4.1.2: esmtp-param = esmtp-keyword ["=" esmtp-value]; RFC 6531 §3.3 adds UTF-8 to the value.
fn parameter(text: &str) -> Option<(&str, Option<&str>, &str)> {
    let (keyword, rest) = split_before(text, *b" =");
    let Some(behind) = rest.strip_prefix('=') else { return Some((keyword, None, rest)) };
    let (value, rest) = split_before(behind, *b" =");
    if keyword.is_empty() {
        return None;
    }
    if rest.starts_with('=') {
        // Postfix's XVERP is older than the rule that no value has an equals sign.
        let (value, rest) = split_before(behind, *b"  ");
        return keyword.eq_ignore_ascii_case("XVERP").then_some((keyword, Some(value), rest));
    }
    Some((keyword, Some(value), rest))
}

/// RFC 5321 §4.1.2: esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
fn is_keyword(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('-') && all_in(text, WORD)
}

#[cfg(test)]
mod tests;
