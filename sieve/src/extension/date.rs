//! `date` and `index` (RFC 5260).

use mailwright_mail_model::{Date, DateTime};

use super::header::{check_names, fields};
use crate::{Call, Context, Definition, Extension, Matcher, Parameter, Stop, Tag, Target, check::Checker};

pub(super) fn extensions() -> Vec<Extension> {
    let date = Definition::test("date", date_test)
        .tag(Tag::new("zone").value(Parameter::String).group("zone"))
        .tag(Tag::new("originalzone").group("zone"))
        .parameter(Parameter::String)
        .parameter(Parameter::String)
        .parameter(Parameter::Strings)
        .matching()
        .checked(check_names)
        .checked(|checker, call| check_part(checker, call, 1));
    let current = Definition::test("currentdate", current_date)
        .tag(Tag::new("zone").value(Parameter::String).group("zone"))
        .parameter(Parameter::String)
        .parameter(Parameter::Strings)
        .matching()
        .checked(|checker, call| check_part(checker, call, 0));
    let targets = Target::Named(&["header", "address", "date"]);
    vec![
        Extension::new("date").test(date).test(current),
        Extension::new("index")
            .tag_on(targets.clone(), Tag::new("index").value(Parameter::Number))
            .tag_on(targets, Tag::new("last")),
    ]
}

/// What of a date (RFC 5260 §4.2).
const PARTS: [&str; 13] = [
    "year", "month", "day", "date", "julian", "hour", "minute", "second", "time", "iso8601", "std11", "zone",
    "weekday",
];

fn check_part(checker: &mut Checker<'_>, call: &Call, index: usize) {
    if let Some(part) = call.constant(index)
        && !PARTS.iter().any(|known| known.eq_ignore_ascii_case(part))
    {
        let message = format!("`{part}` is no part of a date");
        checker.error(call.position, message);
    }
    if let Some(zone) = call.tag_constant("zone")
        && parse_zone(zone).is_none()
    {
        let message = format!("expected a zone such as \"+0100\", found `{zone}`");
        checker.error(call.position, message);
    }
    check_last(checker, call);
}

/// RFC 5260 §6: which end to count from says nothing without a number.
pub(super) fn check_last(checker: &mut Checker<'_>, call: &Call) {
    if call.has("last") && !call.has("index") {
        checker.error(call.position, "`:last` needs `:index`");
    }
    if call.tag_number("index") == Some(0) {
        checker.error(call.position, "`:index` counts from 1");
    }
}

fn date_test(context: &mut Context, call: &Call) -> Result<bool, Stop> {
    let names = context.strings(call, 0)?;
    let part = context.text(call, 1)?;
    let mut matcher = context.matcher(call)?;
    // RFC 5260 §4: the first field alone, unless `:index` says which.
    let found = fields(context, 0, &names, call)?;
    if let Some(field) = found.first() {
        let is_date = names.iter().any(|name| name.eq_ignore_ascii_case("date"));
        let value = context.field_value(*field)?;
        // RFC 5260 §4: the date of a field like Received stands behind its last semicolon.
        let text = match value.iter().rposition(|octet| *octet == b';') {
            Some(at) if !is_date => value.get(at + 1..).unwrap_or_default(),
            _ => value,
        };
        let moment = DateTime::from_rfc5322(text).ok();
        let zone = zone(context, call, moment)?;
        let moment = moment.and_then(|moment| DateTime::new(moment.seconds(), zone));
        if let Some(moment) = moment
            && part_matches(context, &mut matcher, &part, moment)?
        {
            return Ok(true);
        }
    }
    matcher.finish(context)
}

/// RFC 5260 §5
fn current_date(context: &mut Context, call: &Call) -> Result<bool, Stop> {
    let part = context.text(call, 0)?;
    let mut matcher = context.matcher(call)?;
    let now = context.input().now;
    let zone = zone(context, call, None)?;
    if let Some(moment) = DateTime::new(now.seconds(), zone)
        && part_matches(context, &mut matcher, &part, moment)?
    {
        return Ok(true);
    }
    matcher.finish(context)
}

/// Minutes east of UTC: of `:zone`, of the date itself, or of the user (RFC 5260 §4.1).
fn zone(context: &mut Context, call: &Call, original: Option<DateTime>) -> Result<i16, Stop> {
    let local = context.input().now.offset_minutes();
    Ok(match context.tag_text(call, "zone")? {
        Some(zone) => {
            parse_zone(&zone).ok_or_else(|| Stop::error(format!("expected a zone, found `{zone}`")))?
        }
        None if call.has("originalzone") => original.map_or(local, DateTime::offset_minutes),
        None => local,
    })
}

fn parse_zone(zone: &str) -> Option<i16> {
    let (sign, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = digits.split_at_checked(2).filter(|_| digits.len() == 4)?;
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let minutes: i16 = minutes.parse().ok().filter(|minutes| *minutes < 60)?;
    Some(sign * (hours.parse::<i16>().ok()? * 60 + minutes))
}

fn part_matches(
    context: &mut Context,
    matcher: &mut Matcher<'_>,
    part: &str,
    moment: DateTime,
) -> Result<bool, Stop> {
    date_part(part, moment).map_or(Ok(false), |value| matcher.value(context, &value))
}

/// RFC 5260 §4.2
pub(super) fn date_part(part: &str, moment: DateTime) -> Option<String> {
    let date = moment.date();
    let of_day = time_of_day(moment);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let sign = if moment.offset_minutes() < 0 { '-' } else { '+' };
    let offset = moment.offset_minutes().unsigned_abs();
    Some(match &*part.to_ascii_lowercase() {
        "year" => format!("{:04}", date.year()),
        "month" => format!("{:02}", date.month()),
        "day" => format!("{:02}", date.day()),
        "date" => format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day()),
        // RFC 5260 §4.2: the modified Julian Day; 1970-01-01 was 40587.
        "julian" => (date.days() + 40_587).to_string(),
        "hour" => format!("{hour:02}"),
        "minute" => format!("{minute:02}"),
        "second" => format!("{second:02}"),
        "time" => format!("{hour:02}:{minute:02}:{second:02}"),
        "iso8601" => iso8601(moment),
        "std11" => moment.to_rfc5322(),
        "zone" => format!("{sign}{:02}{:02}", offset / 60, offset % 60),
        "weekday" => (date.days() + 4).rem_euclid(7).to_string(),
        _ => return None,
    })
}

/// Seconds since midnight in the moment's own zone.
pub(super) fn time_of_day(moment: DateTime) -> i64 {
    (moment.seconds() + i64::from(moment.offset_minutes()) * 60).rem_euclid(86_400)
}

/// RFC 3339 §5.6
pub(super) fn iso8601(moment: DateTime) -> String {
    let date = moment.date();
    let of_day = time_of_day(moment);
    let sign = if moment.offset_minutes() < 0 { '-' } else { '+' };
    let offset = moment.offset_minutes().unsigned_abs();
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{sign}{:02}:{:02}",
        date.year(),
        date.month(),
        date.day(),
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60,
        offset / 60,
        offset % 60
    )
}

/// RFC 3339 §5.6 `date-time`.
pub(super) fn parse_iso8601(text: &str) -> Option<DateTime> {
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let mut numbers = date.split('-').map(str::parse::<u16>);
    let (year, month, day) = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
    let date = Date::new(year, u8::try_from(month).ok()?, u8::try_from(day).ok()?)?;
    let at = rest.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = rest.split_at_checked(at)?;
    let time = time.split('.').next()?;
    let mut numbers = time.split(':').map(str::parse::<i64>);
    let (hour, minute, second) = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
    let offset = if zone.eq_ignore_ascii_case("z") { 0 } else { parse_zone(&zone.replace(':', ""))? };
    let seconds = date.days() * 86_400 + hour * 3600 + minute * 60 + second - i64::from(offset) * 60;
    DateTime::new(seconds, offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_date() {
        let moment = DateTime::from_rfc5322(b"Sun, 9 Mar 2008 01:02:03 -0730").unwrap();
        for (part, expected) in [
            ("year", "2008"),
            ("month", "03"),
            ("day", "09"),
            ("date", "2008-03-09"),
            ("julian", "54534"),
            ("hour", "01"),
            ("minute", "02"),
            ("second", "03"),
            ("time", "01:02:03"),
            ("iso8601", "2008-03-09T01:02:03-07:30"),
            ("std11", "Sun, 09 Mar 2008 01:02:03 -0730"),
            ("zone", "-0730"),
            ("weekday", "0"),
        ] {
            let found = date_part(part, moment).unwrap();
            assert_eq!(found.replace(", 9 ", ", 09 "), expected, "{part}");
        }
        assert_eq!(parse_iso8601(&iso8601(moment)), Some(moment));
        assert_eq!(parse_iso8601("2008-03-09T08:32:03.5Z").unwrap().seconds(), moment.seconds());
        assert_eq!(parse_zone("+0160"), None);
        assert_eq!(parse_zone("0100"), None);
    }
}
