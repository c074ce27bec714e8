//! The few tokens that POP3 arguments are made of. Only complete lines come here.

use std::num::NonZeroU32;

use nom::{
    IResult, Parser,
    character::complete::{char, digit1},
    combinator::{all_consuming, map, map_opt},
    sequence::separated_pair,
};

/// `1*DIGIT` that fits: a sign, a space or a number beyond the type is no number.
pub(crate) fn number<N: std::str::FromStr>(input: &[u8]) -> IResult<&[u8], N> {
    map_opt(digit1, |digits| std::str::from_utf8(digits).ok()?.parse().ok()).parse(input)
}

/// A message number: they begin with 1 (RFC 1939 §5).
pub(crate) fn message_number(input: &[u8]) -> Option<NonZeroU32> {
    all_consuming(map_opt(number, NonZeroU32::new)).parse(input).ok().map(|(_, number)| number)
}

/// A message number, one space and a count of lines: RFC 1939 §7 has no most of them, and what is more than any message has means all.
pub(crate) fn message_number_and_lines(input: &[u8]) -> Option<(NonZeroU32, u32)> {
    let lines = map(digit1, |digits: &[u8]| {
        std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or(u32::MAX)
    });
    let pair = separated_pair(map_opt(number, NonZeroU32::new), char(' '), lines);
    all_consuming(pair).parse(input).ok().map(|(_, pair)| pair)
}

/// The fields of a server's line, however it spaces them.
pub(crate) fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty())
}

/// A whole field as a number.
pub(crate) fn whole_number<N: std::str::FromStr>(field: &[u8]) -> Option<N> {
    all_consuming(number).parse(field).ok().map(|(_, number)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_that_fit() {
        for bad in ["", "0", "-1", "+1", " 1", "1 ", "4294967296", "4294967297", "1x", "１", "0x1"] {
            assert_eq!(message_number(bad.as_bytes()), None, "{bad:?}");
        }
        for good in ["1", "01", "4294967295"] {
            assert!(message_number(good.as_bytes()).is_some(), "{good:?}");
        }
        for bad in ["1", "1 ", "0 0", "1  2", "1 -1", "1 2 3", "1\t2"] {
            assert_eq!(message_number_and_lines(bad.as_bytes()), None, "{bad:?}");
        }
        for (lines, expected) in [("0", 0), ("4294967295", u32::MAX), ("99999999999999999999999", u32::MAX)] {
            let found = message_number_and_lines(format!("7 {lines}").as_bytes());
            assert_eq!(found, NonZeroU32::new(7).map(|number| (number, expected)));
        }
    }
}
