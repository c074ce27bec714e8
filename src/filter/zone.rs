//! Time zones by their names.

use jiff::{
    Timestamp,
    civil::{Date, Time},
    tz::TimeZone,
};
use mailwright_mail_model::DateTime;
use thiserror::Error;

/// A time zone: how far its clocks are from UTC at any moment.
///
/// ```
/// use mailwright::filter::Zone;
///
/// let zone = Zone::new("Europe/Berlin")?;
/// assert_eq!(zone.to_string(), "Europe/Berlin");
/// assert!(Zone::new("Mars/Olympus_Mons").is_err());
/// # Ok::<(), mailwright::filter::ZoneError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

/// Why there is no such zone.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected the name of a time zone such as Europe/Berlin, got {0:?}")]
pub struct ZoneError(String);

impl Zone {
    /// The zone of this name in the IANA database: that of the system, or where it has none the one that was new when this was built.
    ///
    /// # Errors
    /// If the database does not have it.
    pub fn new(name: &str) -> Result<Self, ZoneError> {
        TimeZone::get(name).map(Self).map_err(|_| ZoneError(name.to_owned()))
    }

    /// The zone that this machine is set to; UTC if it does not say.
    pub fn system() -> Self {
        TimeZone::try_system().map_or_else(|_| Self::default(), Self)
    }

    /// The same moment, as it is written there.
    pub(super) fn write(&self, moment: DateTime) -> DateTime {
        let offset = timestamp(moment.seconds()).map(|at| self.0.to_offset(at).seconds() / 60);
        let written =
            offset.and_then(|minutes| DateTime::new(moment.seconds(), i16::try_from(minutes).ok()?));
        written.unwrap_or(moment)
    }

    /// The next of these times of day, in seconds after midnight, on one of these days, 0 is Sunday, or any if there are none; behind
    /// this moment. Both are in seconds since 1970. A time that clocks leave out is as much later as they do.
    pub(super) fn next(&self, after: i64, weekdays: &[u8], times: &[u32]) -> Option<i64> {
        let today = self.0.to_datetime(timestamp(after)?).date();
        // A week later it is the same day again.
        let days = std::iter::successors(Some(today), |day| day.tomorrow().ok()).take(8);
        let mut days = days.filter(|day| weekdays.is_empty() || weekdays.contains(&weekday(*day)));
        days.find_map(|day| {
            let moments = times.iter().filter_map(|time| self.moment(day, *time));
            moments.filter(|moment| *moment > after).min()
        })
    }

    fn moment(&self, day: Date, time: u32) -> Option<i64> {
        let part = |number: u32| i8::try_from(number).ok();
        let time = Time::new(part(time / 3_600)?, part(time / 60 % 60)?, part(time % 60)?, 0).ok()?;
        self.0.to_timestamp(day.to_datetime(time)).ok().map(Timestamp::as_second)
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl std::fmt::Display for Zone {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.0.iana_name().unwrap_or("the zone of this machine"))
    }
}

fn timestamp(seconds: i64) -> Option<Timestamp> {
    Timestamp::from_second(seconds).ok()
}

fn weekday(day: Date) -> u8 {
    day.weekday().to_sunday_zero_offset().unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        DateTime::from_rfc5322(text.as_bytes()).unwrap().seconds()
    }

    #[test]
    fn the_next_of_some_times_is_found_on_the_right_day() {
        let zone = Zone::new("Europe/Berlin").unwrap();
        const HOUR: u32 = 3_600;
        // 21 November 2026 is a Saturday.
        for (now, days, times, next) in [
            ("21 Nov 2026 06:59:59 +0100", &[][..], &[7 * HOUR, 17 * HOUR][..], "21 Nov 2026 07:00:00 +0100"),
            ("21 Nov 2026 07:00:00 +0100", &[], &[7 * HOUR, 17 * HOUR], "21 Nov 2026 17:00:00 +0100"),
            ("21 Nov 2026 23:30:00 +0000", &[], &[7 * HOUR], "22 Nov 2026 07:00:00 +0100"),
            ("21 Nov 2026 17:00:01 +0100", &[1, 3], &[7 * HOUR], "23 Nov 2026 07:00:00 +0100"),
            ("21 Nov 2026 17:00:01 +0100", &[6], &[7 * HOUR, 17 * HOUR], "28 Nov 2026 07:00:00 +0100"),
            ("21 Nov 2026 16:00:01 +0100", &[6], &[7 * HOUR, 17 * HOUR], "21 Nov 2026 17:00:00 +0100"),
            // Clocks go from 2 to 3 on 29 March, and from 3 to 2 on 25 October.
            ("28 Mar 2026 12:00:00 +0100", &[], &[9_000], "29 Mar 2026 03:30:00 +0200"),
            ("28 Mar 2026 12:00:00 +0100", &[], &[9_000, 11_000], "29 Mar 2026 03:03:20 +0200"),
            ("25 Oct 2026 00:00:00 +0200", &[], &[9_000], "25 Oct 2026 02:30:00 +0200"),
        ] {
            assert_eq!(zone.next(at(now), days, times), Some(at(next)), "{now} {days:?} {times:?}");
        }
        assert_eq!(zone.next(0, &[], &[]), None);
        assert_eq!(zone.next(i64::MAX, &[], &[0]), None);
        assert_eq!(zone.next(0, &[], &[86_400]), None);
    }

    #[test]
    fn a_moment_is_written_as_clocks_show_it() {
        let zone = Zone::new("america/st_johns").unwrap();
        let moment = DateTime::from_rfc5322(b"21 Jul 2026 12:00:00 +0000").unwrap();
        assert_eq!(zone.write(moment).to_imap(), "21-Jul-2026 09:30:00 -0230");
        assert_eq!(Zone::default().write(moment), moment);
        for wrong in ["", "/etc/passwd", "../../etc/passwd", "Europe", "x\0y"] {
            assert!(Zone::new(wrong).is_err(), "{wrong}");
        }
    }
}
