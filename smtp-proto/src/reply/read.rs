//! Reading replies, line by line.

use std::borrow::Cow;

use nom::{
    IResult, Parser,
    bytes::complete::tag,
    character::complete::{one_of, u16 as number},
    combinator::verify,
};

use super::Reply;

/// The most lines of a reply that are kept.
pub(crate) const MOST_LINES: usize = 512;
/// From so many octets of text on, no more of a reply is kept. What it says is said by then, and its code tells whether the server has
/// the message: whoever lost that for being talkative would be sent it again.
const MOST_TEXT: usize = 64 * 1024;
/// The most octets of a reply, kept or not.
const MOST_OCTETS: usize = 4 << 20;

/// Puts a reply together from its lines.
#[derive(Debug, Default)]
pub(crate) struct ReplyReader {
    begun: Option<Reply>,
    lines: usize,
    octets: usize,
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
        self.octets += line.len() + 2;
        if self.octets > MOST_OCTETS {
            return Err("at most 4 MiB in a reply");
        }
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
            Some(reply) if self.lines > MOST_LINES || reply.text.len() > MOST_TEXT => {}
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
            }
        }
        if mark == Some('-') {
            return Ok(Step::More);
        }
        (self.lines, self.octets) = (0, 0);
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
    fn of_a_long_reply_the_beginning_is_kept() {
        let long = [b"550-".as_slice(), &[b'x'; 8000]].concat();
        for (line, count, kept) in [(&b"550-x"[..], 511, 512), (b"550-x", 90_000, 512), (&long, 300, 9)] {
            let mut reader = ReplyReader::default();
            assert!((0..count).all(|_| reader.line(line) == Ok(Step::More)));
            let Ok(Step::Done(reply)) = reader.line(b"550 5.1.1 end") else { panic!() };
            assert_eq!((reply.code(), reply.lines().count()), (550, kept));
            // The next one is a reply of its own.
            assert!(matches!(reader.line(b"250 x"), Ok(Step::Done(reply)) if reply.lines().eq(["x"])));
        }
        let mut reader = ReplyReader::default();
        assert!((0..600).any(|_| reader.line(&long).is_err()), "it never ends");
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
