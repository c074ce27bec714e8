//! The dates of IMAP (RFC 9051 §9 `date`, `date-time`).

use std::fmt;
use std::str::FromStr;

use super::{Date, DateError, DateTime, Time, month_of, number};

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{:04}", self.day, self.month_name(), self.year)
    }
}

impl FromStr for Date {
    type Err = DateError;

    /// RFC 9051 §9 `date-text`: quotes around it are the protocol's.
    fn from_str(text: &str) -> Result<Self, DateError> {
        parse_date(text.as_bytes()).ok_or(DateError { expected: "a date such as 1-Feb-1994" })
    }
}

impl DateTime {
    /// The `date-time` of APPEND and INTERNALDATE, without its quotes. The day may have one digit, with or
    /// without a space before it.
    ///
    /// # Errors
    /// If the text has another form, or names no day, time or zone there is.
    ///
    /// ```
    /// use mailwright_mail_model::DateTime;
    ///
    /// let moment = DateTime::from_imap(" 1-Feb-1994 21:52:25 -0800")?;
    /// assert_eq!(moment.seconds(), 760_168_345);
    /// assert_eq!(moment.to_imap(), " 1-Feb-1994 21:52:25 -0800");
    /// # Ok::<(), mailwright_mail_model::DateError>(())
    /// ```
    pub fn from_imap(text: &str) -> Result<Self, DateError> {
        parse_date_time(text.as_bytes())
            .ok_or(DateError { expected: "a date and time such as  1-Feb-1994 21:52:25 -0800" })
    }

    /// The `date-time` of INTERNALDATE, without quotes: 26 characters.
    pub fn to_imap(self) -> String {
        let (date, time) = (self.date(), self.time());
        let (sign, zone) =
            if self.offset_minutes < 0 { (" -", -self.offset_minutes) } else { (" +", self.offset_minutes) };
        // Digit by digit: a mailbox has as many of these as messages, and formatting takes several times as long.
        let mut text = String::with_capacity(26);
        text.push_str(if date.day() < 10 { " " } else { "" });
        push_digits(&mut text, date.day().into(), if date.day() < 10 { 1 } else { 2 });
        text.push('-');
        text.push_str(date.month_name());
        text.push('-');
        push_digits(&mut text, date.year(), 4);
        for (before, number) in [(" ", time.hour), (":", time.minute), (":", time.second)] {
            text.push_str(before);
            push_digits(&mut text, number.into(), 2);
        }
        text.push_str(sign);
        push_digits(&mut text, zone.unsigned_abs() / 60 * 100 + zone.unsigned_abs() % 60, 4);
        text
    }
}

/// The last so many digits of a number.
fn push_digits(text: &mut String, number: u16, digits: u32) {
    for place in (0..digits).rev() {
        text.push(char::from(b'0' + (number / 10_u16.pow(place) % 10) as u8));
    }
}

fn parse_date(text: &[u8]) -> Option<Date> {
    let mut parts = text.split(|byte| *byte == b'-');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || day.len() > 2 || year.len() != 4 {
        return None;
    }
    Date::new(number(year)?, month_of(month)?, number(day)?)
}

fn parse_date_time(text: &[u8]) -> Option<DateTime> {
    let text = text.strip_prefix(b" ").unwrap_or(text);
    let mut parts = text.split(|byte| *byte == b' ');
    let (date, time, zone) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    DateTime::from_local(parse_date(date)?, parse_time(time)?, parse_zone(zone)?)
}

fn parse_time(text: &[u8]) -> Option<Time> {
    let [h1, h2, b':', m1, m2, b':', s1, s2] = text else { return None };
    let [hour, minute, second] = [[*h1, *h2], [*m1, *m2], [*s1, *s2]].map(|digits| number::<u8>(&digits));
    Some(Time { hour: hour?, minute: minute?, second: second? })
}

/// `+hhmm` or `-hhmm`, as RFC 5322 writes it too.
pub(super) fn parse_zone(text: &[u8]) -> Option<i16> {
    let [sign @ (b'+' | b'-'), h1, h2, m1, m2] = text else { return None };
    let (hours, minutes) = (number::<i16>(&[*h1, *h2])?, number::<i16>(&[*m1, *m2])?);
    let offset = hours * 60 + minutes;
    (minutes < 60).then_some(if *sign == b'-' { -offset } else { offset })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn moments_round_trip(moment in super::super::tests::moments()) {
            let text = moment.to_imap();
            prop_assert_eq!(text.len(), 26);
            prop_assert_eq!(DateTime::from_imap(&text), Ok(moment));
        }

        #[test]
        fn days_round_trip(days in -719_528..2_932_897_i64) {
            let date = Date::from_days(days).unwrap();
            prop_assert_eq!(date.to_string().parse(), Ok(date));
        }

        #[test]
        fn no_text_breaks_it(text in any::<String>(), near in "[ 0-9]{1,3}-(Feb|feb|x)-[0-9]{3,5} [0-9:]{7,9} [+-][0-9]{3,5}") {
            for text in [text, near] {
                let _ = (text.parse::<Date>(), DateTime::from_imap(&text));
            }
        }
    }

    #[test]
    fn what_is_no_date() {
        for text in [
            "",
            "1-Feb-94",
            "01-02-1994",
            "1-February-1994",
            "31-Feb-1994",
            "0-Feb-1994",
            "001-Feb-1994",
            "1-Feb-19940",
            "1-Feb-1994-",
            " 1-Feb-1994",
            "+1-Feb-1994",
        ] {
            assert!(text.parse::<Date>().is_err(), "{text:?}");
        }
        assert_eq!("01-fEB-1994".parse(), Ok(Date::new(1994, 2, 1).unwrap()));
    }

    #[test]
    fn what_is_no_moment() {
        for text in [
            "1-Feb-1994",
            "1-Feb-1994 21:52:25",
            "1-Feb-1994 24:00:00 +0000",
            "1-Feb-1994 00:60:00 +0000",
            "1-Feb-1994 00:00:61 +0000",
            "1-Feb-1994 0:00:00 +0000",
            "1-Feb-1994 00:00:00 0000",
            "1-Feb-1994 00:00:00 +0060",
            "1-Feb-1994 00:00:00 GMT",
            "1-Feb-1994  00:00:00 +0000",
            "1-Feb-1994 00:00:00 +0000 ",
        ] {
            assert!(DateTime::from_imap(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_day_is_that_of_the_zone() {
        let moment = DateTime::from_imap("01-Jan-2024 00:30:00 +0100").unwrap();
        assert_eq!(moment.date(), Date::new(2024, 1, 1).unwrap());
        assert_eq!(DateTime::new(moment.seconds(), 0).unwrap().date(), Date::new(2023, 12, 31).unwrap());
        assert!(DateTime::from_imap("1-Jan-2024 00:30:00 +0000").is_ok());
    }
}
