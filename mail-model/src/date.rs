//! Dates and times as mail writes them, without a time zone database: a zone is an offset in minutes.

use std::fmt;

mod imap;
mod rfc5322;

/// A day of the Gregorian calendar, year 0 to 9999; its order is that of time.
///
/// Shown and parsed as IMAP does in SEARCH: `1-Feb-1994`.
///
/// ```
/// use mailwright_mail_model::Date;
///
/// let date: Date = "1-feb-1994".parse()?;
/// assert_eq!(Date::new(1994, 2, 1), Some(date));
/// assert_eq!(date.to_string(), "1-Feb-1994");
/// assert_eq!(Date::new(1994, 2, 29), None);
/// # Ok::<(), mailwright_mail_model::DateError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

/// A moment, and the zone it was written in.
///
/// Ordered by the moment, then the offset. The year, in its zone, is 0 to 9999.
///
/// ```
/// use mailwright_mail_model::DateTime;
///
/// let sent = DateTime::from_rfc5322(b"Fri, 21 Nov 1997 09:55:06 -0600")?;
/// assert_eq!(sent.seconds(), 880_127_706);
/// assert_eq!(sent.offset_minutes(), -360);
/// assert_eq!(sent.to_imap(), "21-Nov-1997 09:55:06 -0600");
/// # Ok::<(), mailwright_mail_model::DateError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateTime {
    seconds: i64,
    offset_minutes: i16,
}

/// The time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Time {
    hour: u8,
    minute: u8,
    second: u8,
}

/// Why octets are not a date, or not a date and time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct DateError {
    expected: &'static str,
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

const SECONDS_A_DAY: i64 = 86_400;
/// From the first day of year 0 to that of 1970.
const DAYS_TO_EPOCH: i64 = 719_528;
const LAST_YEAR: u16 = 9999;
/// The bounds of the years 0 to 9999, which have 3,652,425 days.
const FIRST_SECOND: i64 = -DAYS_TO_EPOCH * SECONDS_A_DAY;
const LAST_SECOND: i64 = (3_652_425 - DAYS_TO_EPOCH) * SECONDS_A_DAY - 1;

impl Date {
    /// The date of this year (0 to 9999), month (1 to 12) and day; `None` if there is no such day.
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let exists = year <= LAST_YEAR && (1..=days_in_month(year, month)).contains(&day);
        exists.then_some(Self { year, month, day })
    }

    /// The date this many days after 1970-01-01; `None` outside years 0 to 9999.
    pub fn from_days(days: i64) -> Option<Self> {
        // Counted from the 1st of March of the year 0, a leap day is the last of its year, and every month before has
        // the same share of 153 days in five months. 146,097 days are 400 years.
        let days = days.checked_add(DAYS_TO_EPOCH)?.checked_sub(60)?;
        let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        let year = u16::try_from(era * 400 + year + next).ok()?;
        Self::new(year, u8::try_from(month).ok()?, u8::try_from(day).ok()?)
    }

    /// How many days after 1970-01-01, negative before.
    pub fn days(self) -> i64 {
        let months = (1..self.month).map(|month| i64::from(days_in_month(self.year, month)));
        days_before_year(self.year) - DAYS_TO_EPOCH + months.sum::<i64>() + i64::from(self.day) - 1
    }

    /// The year, 0 to 9999.
    pub const fn year(self) -> u16 {
        self.year
    }

    /// The month, 1 to 12.
    pub const fn month(self) -> u8 {
        self.month
    }

    /// The day of the month, from 1.
    pub const fn day(self) -> u8 {
        self.day
    }

    fn month_name(self) -> &'static str {
        MONTHS.get(usize::from(self.month) - 1).copied().unwrap_or_default()
    }

    /// 1970-01-01 was a Thursday.
    fn weekday_name(self) -> &'static str {
        let weekday = usize::try_from((self.days() + 4).rem_euclid(7)).unwrap_or_default();
        WEEKDAYS.get(weekday).copied().unwrap_or_default()
    }
}

impl DateTime {
    /// 1970-01-01 00:00:00 UTC.
    pub const EPOCH: Self = Self { seconds: 0, offset_minutes: 0 };
    /// The farthest a zone may be from UTC, in minutes: what four digits can say.
    pub const MAX_OFFSET_MINUTES: i16 = 99 * 60 + 59;

    /// The moment this many seconds after 1970-01-01 00:00:00 UTC, in a zone this far east of UTC; `None`
    /// if the zone is too far off or the year in it not 0 to 9999.
    pub fn new(seconds: i64, offset_minutes: i16) -> Option<Self> {
        let moment = Self { seconds, offset_minutes };
        let zone_fits = offset_minutes.unsigned_abs() <= Self::MAX_OFFSET_MINUTES.unsigned_abs();
        let local = seconds.checked_add(moment.offset_seconds())?;
        (zone_fits && (FIRST_SECOND..=LAST_SECOND).contains(&local)).then_some(moment)
    }

    /// Seconds after 1970-01-01 00:00:00 UTC, negative before; leap seconds are not counted.
    pub const fn seconds(self) -> i64 {
        self.seconds
    }

    /// How far east of UTC the zone is, in minutes.
    pub const fn offset_minutes(self) -> i16 {
        self.offset_minutes
    }

    /// The day in its own zone, which is the one SEARCH compares (RFC 9051 §6.4.4).
    pub fn date(self) -> Date {
        // `new` has seen to it that there is one.
        local_date(self.seconds + self.offset_seconds()).unwrap_or(Date { year: 0, month: 1, day: 1 })
    }

    /// The moment of a day and time in a zone. A leap second is the second after it.
    fn from_local(date: Date, time: Time, offset_minutes: i16) -> Option<Self> {
        if time.hour > 23 || time.minute > 59 || time.second > 60 {
            return None;
        }
        // RFC 5322 §3.3 has leap seconds, of which none makes another day.
        let second = time.second.min(59);
        let of_day = i64::from(time.hour) * 3600 + i64::from(time.minute) * 60 + i64::from(second);
        Self::new(date.days() * SECONDS_A_DAY + of_day - i64::from(offset_minutes) * 60, offset_minutes)
    }

    /// The time of day in its zone.
    fn time(self) -> Time {
        let of_day = (self.seconds + self.offset_seconds()).rem_euclid(SECONDS_A_DAY);
        let part = |value: i64| u8::try_from(value).unwrap_or_default();
        Time { hour: part(of_day / 3600), minute: part(of_day / 60 % 60), second: part(of_day % 60) }
    }

    fn offset_seconds(self) -> i64 {
        i64::from(self.offset_minutes) * 60
    }
}

fn local_date(local_seconds: i64) -> Option<Date> {
    Date::from_days(local_seconds.div_euclid(SECONDS_A_DAY))
}

/// From the first day of year 0 to that of `year`: 365 each, and one more for every leap year before it.
fn days_before_year(year: u16) -> i64 {
    let year = i64::from(year);
    year * 365 + (year + 3) / 4 - (year + 99) / 100 + (year + 399) / 400
}

/// 0 if there is no such month.
const fn days_in_month(year: u16, month: u8) -> u8 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + leap as u8,
        _ => 0,
    }
}

/// The month of three letters in any case.
fn month_of(name: &[u8]) -> Option<u8> {
    (1..).zip(MONTHS).find(|(_, month)| month.as_bytes().eq_ignore_ascii_case(name)).map(|(number, _)| number)
}

/// One to nine decimal digits and nothing else.
fn number<T: TryFrom<u32>>(digits: &[u8]) -> Option<T> {
    let fits = (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let value = fits.then(|| digits.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0')))?;
    T::try_from(value).ok()
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Date({:04}-{:02}-{:02})", self.year, self.month, self.day)
    }
}

impl fmt::Debug for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DateTime({})", self.to_imap())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Moments whose year is 0 to 9999 in every zone.
    pub(super) fn moments() -> impl Strategy<Value = DateTime> {
        let zones = -DateTime::MAX_OFFSET_MINUTES..=DateTime::MAX_OFFSET_MINUTES;
        (-62_166_000_000..253_402_000_000_i64, zones)
            .prop_map(|(seconds, offset)| DateTime::new(seconds, offset).unwrap())
    }

    proptest! {
        #[test]
        fn days_round_trip(days in -719_528..2_932_897_i64) {
            let date = Date::from_days(days).unwrap();
            prop_assert_eq!(date.days(), days);
            prop_assert_eq!(Date::new(date.year(), date.month(), date.day()), Some(date));
            if let Some(next) = Date::from_days(days + 1) {
                prop_assert!(next > date);
            }
        }

        #[test]
        fn a_moment_is_its_date_and_time(moment in moments()) {
            let rebuilt = DateTime::from_local(moment.date(), moment.time(), moment.offset_minutes());
            prop_assert_eq!(rebuilt, Some(moment));
        }

        #[test]
        fn no_number_overflows(seconds in any::<i64>(), offset in any::<i16>(), days in any::<i64>()) {
            if let Some(moment) = DateTime::new(seconds, offset) {
                let _ = (moment.date(), moment.time(), moment.to_imap(), moment.to_rfc5322());
            }
            let _ = Date::from_days(days);
        }
    }

    #[test]
    fn moments_end_where_dates_do() {
        for (bound, within, beyond) in [(FIRST_SECOND, 0, -1), (LAST_SECOND, 0, 1)] {
            assert!(local_date(bound + within).is_some() && local_date(bound + beyond).is_none());
            for minutes in [0_i16, 90, -90] {
                let utc = bound - i64::from(minutes) * 60;
                assert!(DateTime::new(utc, minutes).is_some(), "{bound} {minutes}");
                assert_eq!(DateTime::new(utc + beyond, minutes), None, "{bound} {minutes}");
            }
        }
    }

    #[test]
    fn known_days() {
        for (year, month, day, days, weekday) in [
            (1970, 1, 1, 0, "Thu"),
            (1969, 12, 31, -1, "Wed"),
            (2000, 2, 29, 11_016, "Tue"),
            (2100, 3, 1, 47_541, "Mon"),
            (0, 1, 1, -719_528, "Sat"),
            (9999, 12, 31, 2_932_896, "Fri"),
        ] {
            let date = Date::new(year, month, day).unwrap();
            assert_eq!(date.days(), days);
            assert_eq!(Date::from_days(days), Some(date));
            assert_eq!(date.weekday_name(), weekday);
        }
        assert_eq!(Date::from_days(-719_529), None);
        assert_eq!(Date::from_days(2_932_897), None);
    }

    #[test]
    fn days_that_are_not() {
        for (year, month, day) in [
            (2001, 2, 29),
            (1900, 2, 29),
            (2024, 4, 31),
            (2024, 0, 1),
            (2024, 13, 1),
            (2024, 1, 0),
            (10_000, 1, 1),
        ] {
            assert_eq!(Date::new(year, month, day), None);
        }
    }

    #[test]
    fn moments_at_the_bounds() {
        assert!(DateTime::new(253_402_300_799, 0).is_some());
        assert!(DateTime::new(253_402_300_799, 1).is_none());
        assert!(DateTime::new(253_402_300_800, 0).is_none());
        assert!(DateTime::new(-62_167_219_200, 0).is_some());
        assert!(DateTime::new(-62_167_219_200, -1).is_none());
        assert!(DateTime::new(0, 5_999).is_some());
        assert!(DateTime::new(0, -6_000).is_none());
    }
}
