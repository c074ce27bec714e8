//! The dates of header fields (RFC 5322 §3.3, with the obsolete forms of §4.3).

use super::imap::parse_zone;
use super::{Date, DateError, DateTime, Time, month_of, number};

impl DateTime {
    /// The date and time of a Date field's value, which may be folded and hold comments.
    ///
    /// Read kindly: years of two or three digits, zones by name, and white space anywhere. The day of the
    /// week may be missing or wrong; a zone that is missing or unknown is taken for UTC, and what follows
    /// it is ignored.
    ///
    /// # Errors
    /// If there is no day, month, year, hour and minute, or there is no such day or time.
    ///
    /// ```
    /// use mailwright_mail_model::DateTime;
    ///
    /// let sent = DateTime::from_rfc5322(b"Thu,\r\n 13 (Friday) Feb 69 23 : 32 EST (of old)")?;
    /// assert_eq!(sent.to_rfc5322(), "Thu, 13 Feb 1969 23:32:00 -0500");
    /// # Ok::<(), mailwright_mail_model::DateError>(())
    /// ```
    pub fn from_rfc5322(value: &[u8]) -> Result<Self, DateError> {
        Tokens { rest: value }
            .date_time()
            .ok_or(DateError { expected: "a date and time such as Fri, 21 Nov 1997 09:55:06 -0600" })
    }

    /// The value of a Date field, with the day of the week.
    pub fn to_rfc5322(self) -> String {
        let (date, time) = (self.date(), self.time());
        // One for every message that comes, so this is done without the machinery of formatting.
        let mut text = String::with_capacity("Thu, 13 Feb 1969 23:32:00 -0500".len());
        text.push_str(date.weekday_name());
        text.push_str(", ");
        put(date.day().into(), if date.day() < 10 { 1 } else { 2 }, &mut text);
        text.push(' ');
        text.push_str(date.month_name());
        text.push(' ');
        put(date.year(), 4, &mut text);
        for (before, number) in [(' ', time.hour), (':', time.minute), (':', time.second)] {
            text.push(before);
            put(number.into(), 2, &mut text);
        }
        text.push_str(if self.offset_minutes < 0 { " -" } else { " +" });
        let minutes = self.offset_minutes.unsigned_abs();
        put(minutes / 60, 2, &mut text);
        put(minutes % 60, 2, &mut text);
        text
    }
}

/// Appends the last so many digits of a number, of which it has no more.
fn put(number: u16, digits: u32, text: &mut String) {
    for place in (0..digits).rev() {
        let digit = number / 10_u16.pow(place) % 10;
        text.push(char::from(b'0' + u8::try_from(digit).unwrap_or(0)));
    }
}

/// RFC 5322 §4.3: the zones with a name that has a meaning, in hours. All others mean UTC.
const ZONES: [(&str, i16); 8] =
    [("EST", -5), ("EDT", -4), ("CST", -6), ("CDT", -5), ("MST", -7), ("MDT", -6), ("PST", -8), ("PDT", -7)];

struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Tokens<'a> {
    fn date_time(&mut self) -> Option<DateTime> {
        if self.take_while(|byte| byte.is_ascii_alphabetic()).is_some() {
            self.take(b'.');
            self.take(b',');
        }
        let day = self.digits().filter(|digits| digits.len() <= 2)?;
        let month = self.take_while(|byte| byte.is_ascii_alphabetic())?;
        let year = year(self.digits()?)?;
        let date = Date::new(year, month_of(month.get(..3)?)?, number(day)?)?;
        let hour = number(self.digits()?)?;
        if !self.take(b':') {
            return None;
        }
        let minute = number(self.digits()?)?;
        let second = if self.take(b':') { number(self.digits()?)? } else { 0 };
        DateTime::from_local(date, Time { hour, minute, second }, self.zone())
    }

    /// Minutes east of UTC; 0 for what is not understood.
    fn zone(&mut self) -> i16 {
        if let Some(name) = self.take_while(|byte| byte.is_ascii_alphabetic()) {
            let zone = ZONES.iter().find(|(zone, _)| zone.as_bytes().eq_ignore_ascii_case(name));
            return zone.map_or(0, |(_, hours)| hours * 60);
        }
        let text = self.take_while(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-'));
        text.and_then(parse_zone).unwrap_or(0)
    }

    fn digits(&mut self) -> Option<&'a [u8]> {
        self.take_while(|byte| byte.is_ascii_digit())
    }

    fn take(&mut self, wanted: u8) -> bool {
        self.skip_blanks();
        let rest = self.rest.strip_prefix(&[wanted]);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// At least one octet that `belongs`.
    fn take_while(&mut self, belongs: fn(&u8) -> bool) -> Option<&'a [u8]> {
        self.skip_blanks();
        let end = self.rest.iter().position(|byte| !belongs(byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        (!taken.is_empty()).then_some(taken)
    }

    /// Passes over white space and comments, which nest.
    fn skip_blanks(&mut self) {
        let mut depth = 0_usize;
        let mut escaped = false;
        let end = self.rest.iter().position(|byte| {
            if std::mem::take(&mut escaped) {
                return false;
            }
            match byte {
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                b'\\' if depth > 0 => escaped = true,
                byte => return depth == 0 && !byte.is_ascii_whitespace(),
            }
            false
        });
        self.rest = end.and_then(|end| self.rest.get(end..)).unwrap_or_default();
    }
}

/// RFC 5322 §4.3: two digits are of 1950 to 2049, three count from 1900.
fn year(digits: &[u8]) -> Option<u16> {
    let value: u16 = number(digits)?;
    match digits.len() {
        2 if value < 50 => Some(value + 2000),
        2 | 3 => Some(value + 1900),
        4 => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn moments_round_trip(moment in super::super::tests::moments()) {
            prop_assert_eq!(DateTime::from_rfc5322(moment.to_rfc5322().as_bytes()), Ok(moment));
        }

        #[test]
        fn no_octets_break_it(octets in any::<Vec<u8>>(), near in "(Mon,? )?[0-9]{1,3} (Feb|Febr) [0-9]{1,10} [0-9:]{4,9} ?[+\\-A-Z0-9]{0,6}") {
            let _ = DateTime::from_rfc5322(&octets);
            let _ = DateTime::from_rfc5322(near.as_bytes());
        }
    }

    fn shown(value: &str) -> Option<String> {
        DateTime::from_rfc5322(value.as_bytes()).ok().map(DateTime::to_rfc5322)
    }

    #[test]
    fn forms_new_and_old() {
        for (value, meant) in [
            ("Tue, 1 Jul 2003 10:52:37 +0200", "Tue, 1 Jul 2003 10:52:37 +0200"),
            (" 1 jul 2003 10:52 +0200", "Tue, 1 Jul 2003 10:52:00 +0200"),
            ("Fri, 01 JUL 2003 10:52:37 -0000", "Tue, 1 Jul 2003 10:52:37 +0000"),
            ("21 Nov 97 09:55:06 GMT", "Fri, 21 Nov 1997 09:55:06 +0000"),
            ("Tue 21 November 1997 9:5:6 pdt", "Fri, 21 Nov 1997 09:05:06 -0700"),
            ("1 Jan 49 00:00 Z", "Fri, 1 Jan 2049 00:00:00 +0000"),
            ("1 Jan 50 00:00 A", "Sun, 1 Jan 1950 00:00:00 +0000"),
            ("1 Jan 103 00:00 CEST", "Wed, 1 Jan 2003 00:00:00 +0000"),
            ("1 Jan 2003 00:00", "Wed, 1 Jan 2003 00:00:00 +0000"),
            ("1 Jan 2003 00:00 +99", "Wed, 1 Jan 2003 00:00:00 +0000"),
            ("1 Jan 2003 00:00 +0199", "Wed, 1 Jan 2003 00:00:00 +0000"),
            ("31 Dec 1998 23:59:60 +0000", "Thu, 31 Dec 1998 23:59:59 +0000"),
            (
                "Fri\r\n ,(a (b\\)) c)21\r\n\tNov 1997(x)09:55:06 -0600 (CST",
                "Fri, 21 Nov 1997 09:55:06 -0600",
            ),
        ] {
            assert_eq!(shown(value).as_deref(), Some(meant), "{value}");
        }
    }

    #[test]
    fn what_is_no_date() {
        for value in [
            "",
            "Tue, ",
            "yesterday",
            "1 Foo 2003 00:00 +0000",
            "1 Ja 2003 00:00 +0000",
            "32 Jan 2003 00:00 +0000",
            "001 Jan 2003 00:00 +0000",
            "29 Feb 2003 00:00 +0000",
            "1 Jan 3 00:00 +0000",
            "1 Jan 20030 00:00 +0000",
            "1 Jan 99999999999999999999 00:00 +0000",
            "1 Jan 2003 24:00 +0000",
            "1 Jan 2003 00:99999999999 +0000",
            "1 Jan 2003 00:00:61 +0000",
            "1 Jan 2003 00 +0000",
            "1 Jan 2003 (open 00:00 +0000",
            "1 Jan 2003 (open \\",
        ] {
            assert_eq!(shown(value), None, "{value}");
        }
    }
}
