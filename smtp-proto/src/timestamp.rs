//! Dates and times as SMTP parameters write them (RFC 3339).

use mailwright_mail_model::{Date, DateTime};

/// Reads `2014-04-03T23:01:00Z`. `None` if it is no such moment. Fractions of a second are dropped.
pub(crate) fn parse(text: &str) -> Option<DateTime> {
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix(['T', 't'])?;
    let (time, rest) = rest.split_at_checked(8)?;
    let date = match date.split('-').map(str::as_bytes).collect::<Vec<_>>()[..] {
        [year @ [_, _, _, _], month @ [_, _], day @ [_, _]] => {
            Date::new(number(year)?, u8::try_from(number(month)?).ok()?, u8::try_from(number(day)?).ok()?)?
        }
        _ => return None,
    };
    let second_of_day = match time.split(':').map(str::as_bytes).collect::<Vec<_>>()[..] {
        [hour @ [_, _], minute @ [_, _], second @ [_, _]] => {
            let (hour, minute, second) = (number(hour)?, number(minute)?, number(second)?);
            // RFC 3339 §5.6: 60 is a leap second.
            if hour > 23 || minute > 59 || second > 60 {
                return None;
            }
            i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second)
        }
        _ => return None,
    };
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|digit: char| digit.is_ascii_digit());
            if zone.len() == fraction.len() {
                return None;
            }
            zone
        }
        None => rest,
    };
    let offset = offset(zone)?;
    DateTime::new(date.days() * 86_400 + second_of_day - i64::from(offset) * 60, offset)
}

/// Writes it.
pub(crate) fn encode(moment: DateTime) -> String {
    let date = moment.date();
    let offset = moment.offset_minutes();
    let of_day = (moment.seconds() + i64::from(offset) * 60).rem_euclid(86_400);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let zone = match offset {
        0 => "Z".to_owned(),
        _ => {
            let sign = if offset < 0 { '-' } else { '+' };
            format!("{sign}{:02}:{:02}", offset.unsigned_abs() / 60, offset.unsigned_abs() % 60)
        }
    };
    format!(
        "{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}{zone}",
        date.year(),
        date.month(),
        date.day()
    )
}

/// RFC 3339 §5.6: time-offset = "Z" / time-numoffset
fn offset(zone: &str) -> Option<i16> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, rest) = zone.split_at_checked(1)?;
    let (hours, minutes) = rest.split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let (hours, minutes) = (number(hours.as_bytes())?, number(minutes.as_bytes())?);
    let total = i16::try_from(hours * 60 + minutes).ok().filter(|_| hours < 24 && minutes < 60)?;
    match sign {
        "+" => Some(total),
        "-" => Some(-total),
        _ => None,
    }
}

/// At most four digits.
fn number(digits: &[u8]) -> Option<u16> {
    digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u16::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_moments_are_read() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1985-04-12T23:20:50.52Z", Some(482_196_050)),
            ("1996-12-19T16:39:57-08:00", Some(851_042_397)),
            ("1990-12-31T23:59:60Z", Some(662_688_000)),
            ("1990-13-31T23:59:00Z", None),
            ("1990-12-31T24:00:00Z", None),
            ("1990-12-31 23:59:00Z", None),
            ("1990-12-31T23:59:00", None),
            ("1990-12-31T23:59:00.Z", None),
            ("1990-12-31T23:59:00+0100", None),
            ("1990-12-31T23:59:00+24:00", None),
            ("1990-12-3éT23:59:00Z", None),
            ("+990-12-31T23:59:00Z", None),
            ("", None),
        ] {
            assert_eq!(parse(text).map(DateTime::seconds), seconds, "{text}");
        }
    }

    proptest! {
        #[test]
        fn comes_round(seconds in 0_i64..200_000_000_000, offset in -1439_i16..=1439) {
            let moment = DateTime::new(seconds, offset).unwrap();
            prop_assert_eq!(parse(&encode(moment)), Some(moment));
        }
    }
}
