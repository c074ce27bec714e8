//! Reading replies, line by line.

use std::borrow::Cow;

use nom::{
    IResult, Parser,
    bytes::complete::tag,
    character::complete::{one_of, u16 as number},
    combinator::verify,
};

use super::Reply;

/// The most lines a reply may have.
pub(crate) const MOST_LINES: usize = 512;
/// The most octets of text a reply may have.
const MOST_TEXT: usize = 64 * 1024;

/// Puts a reply together from its lines.
#[derive(Debug, Default)]
pub(crate) struct ReplyReader {
    begun: Option<Reply>,
    lines: usize,
}

/// What a line did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The reply goes on.
    More,
    /// It is complete, and the reader ready for the next.
    Done(Reply),
}

impl ReplyReader {
    /// Takes the next line, without its CRLF. The error says what was expected.
    pub(crate) fn line(&mut self, line: &[u8]) -> Result<Step, &'static str> {
        let Ok((text, (code, mark))) = head(line) else {
            return Err("a reply code of three digits");
        };
        let (enhanced, text) = match enhanced(text) {
            Ok((rest, found)) if u16::from(found.0) == code / 100 => (Some(found), rest),
            _ => (None, text),
        };
        self.lines += 1;
        if code < 200 && self.begun.is_none() {
            // RFC 5321 §4.2.1 has no 1yz; RFC 821's are notes that something is under way, and the reply is still to
            // come.
            return if self.lines > MOST_LINES {
                Err("at most 512 lines in a reply")
            } else {
                Ok(Step::More)
            };
        }
        let clean = clean(text);
        match &mut self.begun {
            None => self.begun = Some(Reply { code, enhanced, text: Cow::Owned(clean) }),
            // RFC 5321 §4.2.1: all lines of a reply carry the same code
            Some(reply) if reply.code != code => return Err("the same code on every line of a reply"),
            Some(_) if self.lines > MOST_LINES => return Err("at most 512 lines in a reply"),
            Some(reply) => {
                let text = reply.text.to_mut();
                if enhanced != reply.enhanced && enhanced.is_some() {
                    // Another enhanced code than the first line's: kept as text.
                    text.push('\n');
                    text.push_str(&self::clean(line.get(4..).unwrap_or_default()));
                } else {
                    text.push('\n');
                    text.push_str(&clean);
                }
                if text.len() > MOST_TEXT {
                    return Err("at most 64 KiB in a reply");
                }
            }
        }
        if mark == Some('-') {
            return Ok(Step::More);
        }
        self.lines = 0;
        Ok(self.begun.take().map_or(Step::More, Step::Done))
    }
}

/// The code and what follows it: a space, a hyphen, or the end of the line.
fn head(line: &[u8]) -> IResult<&[u8], (u16, Option<char>)> {
    // RFC 5321 §4.2.1 has no second digit above 5. Refusals have: 571 is about, and what it says is plain.
    let digits = (one_of("12345"), one_of("0123456789"), one_of("0123456789"));
    let mut digits = verify(digits, |(first, second, _)| *second <= '5' || matches!(first, '4' | '5'));
    let (rest, (first, second, third)) = digits.parse(line)?;
    let value = |digit: char| digit.to_digit(10).unwrap_or(0) as u16;
    let code = value(first) * 100 + value(second) * 10 + value(third);
    if rest.is_empty() {
        // RFC 5321 §4.2.1: a bare code is to be accepted too.
        return Ok((rest, (code, None)));
    }
    let (rest, mark) = one_of("- ").parse(rest)?;
    Ok((rest, (code, Some(mark))))
}

/// RFC 3463 §2: class "." subject "." detail
fn enhanced(text: &[u8]) -> IResult<&[u8], (u8, u16, u16)> {
    let part = || verify(number, |value: &u16| *value <= 999);
    let (rest, class) = one_of("245").parse(text)?;
    let (rest, (_, subject, _, detail)) = (tag(&b"."[..]), part(), tag(&b"."[..]), part()).parse(rest)?;
    let class = class.to_digit(10).unwrap_or(0) as u8;
    if rest.is_empty() {
        return Ok((rest, (class, subject, detail)));
    }
    let (rest, _) = tag(&b" "[..]).parse(rest)?;
    Ok((rest, (class, subject, detail)))
}

fn clean(text: &[u8]) -> String {
    text.iter().map(|octet| if matches!(octet, b'\t' | b' '..=b'~') { *octet as char } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_real_codes_are_codes() {
        for line in [
            "", "2", "25", "2500 x", "999 x", "25O x", "x", "-250", "099 x", "260 x", "250x", " 250 x",
            "360 x",
        ] {
            assert!(ReplyReader::default().line(line.as_bytes()).is_err(), "{line:?}");
        }
        for line in ["250", "250 ", "250 x", "250 2.0.0", "250 2.0.0 "] {
            assert!(
                matches!(ReplyReader::default().line(line.as_bytes()), Ok(Step::Done(reply)) if reply.code() == 250),
                "{line:?}"
            );
        }
    }

    #[test]
    fn refusals_of_any_number_are_refusals() {
        for line in ["571 5.7.1 Delivery not authorized", "499 x", "560", "599-x"] {
            let mut reader = ReplyReader::default();
            let reply = match reader.line(line.as_bytes()) {
                Ok(Step::More) => reader.line(b"599 y"),
                read => read,
            };
            let Ok(Step::Done(reply)) = reply else { panic!("{line}") };
            assert!(line.starts_with(&reply.code().to_string()) && !reply.is_positive(), "{line}");
        }
    }

    #[test]
    fn preliminary_replies_are_passed_over() {
        let mut reader = ReplyReader::default();
        for line in ["120 Wait", "150-Still", "150 Working"] {
            assert_eq!(reader.line(line.as_bytes()), Ok(Step::More));
        }
        assert!(matches!(reader.line(b"250 Ok"), Ok(Step::Done(reply)) if reply.code() == 250));
        assert_eq!(reader.line(b"250-a"), Ok(Step::More));
        assert!(reader.line(b"120 Wait").is_err(), "not within a reply");
        let mut reader = ReplyReader::default();
        assert!((0..512).all(|_| reader.line(b"120 Wait").is_ok()));
        assert!(reader.line(b"120 Wait").is_err());
    }

    #[test]
    fn codes_must_not_differ() {
        let mut reader = ReplyReader::default();
        assert_eq!(reader.line(b"250-a"), Ok(Step::More));
        assert!(reader.line(b"550 b").is_err());
    }

    #[test]
    fn lines_are_counted() {
        for (count, fits) in [(511, true), (512, true), (513, false)] {
            let mut reader = ReplyReader::default();
            let taken = (1..count).all(|_| reader.line(b"250-x").is_ok());
            assert_eq!(taken && reader.line(b"250 x").is_ok(), fits, "{count}");
        }
        let mut reader = ReplyReader::default();
        let long = [b"250-".as_slice(), &[b'x'; 8000]].concat();
        assert!((0..9).any(|_| reader.line(&long).is_err()));
    }

    #[test]
    fn enhanced_codes_must_fit_the_code() {
        for (line, enhanced, text) in [
            ("550 5.1.1 a", Some((5, 1, 1)), "a"),
            ("550 4.1.1 a", None, "4.1.1 a"),
            ("550 5.1 a", None, "5.1 a"),
            ("550 5.1.1000 a", None, "5.1.1000 a"),
            ("550 5.1.99999999999999999999 a", None, "5.1.99999999999999999999 a"),
            ("550 5.1.1a", None, "5.1.1a"),
            ("354 3.0.0 a", None, "3.0.0 a"),
        ] {
            let Ok(Step::Done(reply)) = ReplyReader::default().line(line.as_bytes()) else {
                panic!("{line}")
            };
            assert_eq!((reply.enhanced(), reply.lines().next()), (enhanced, Some(text)), "{line}");
        }
    }
}
