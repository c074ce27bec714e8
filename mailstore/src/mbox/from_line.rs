//! The line that begins a message in a file of many.

use mailwright_mail_model::DateTime;

use super::FROM;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// What is longer is no such line.
const LONGEST: usize = 1_000;

/// Whether a line behind an empty one begins a message.
///
/// It says when the message came (RFC 4155 appendix A). Many programs quote no other line of a text, where sentences often begin with
/// that word.
pub(super) fn begins_message(line: &[u8]) -> bool {
    let rest = line.strip_prefix(FROM).filter(|rest| rest.len() <= LONGEST);
    rest.is_some_and(|rest| Moment::find(&String::from_utf8_lossy(rest)).is_some())
}

/// When the message came, taken as UTC where no zone is said.
pub(super) fn moment(text: &str) -> Option<DateTime> {
    Moment::find(text)?.date()
}

/// The words that say when.
struct Moment<'a> {
    day: &'a str,
    month: &'a str,
    time: &'a str,
    /// What stands behind, and a year that stands before the time.
    others: Vec<&'a str>,
}

impl<'a> Moment<'a> {
    /// `Jan  1 00:00:00 1970` or `1 Jan 1970 00:00:00`, behind a sender of any words.
    fn find(text: &'a str) -> Option<Self> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let is_month = |word: &str| MONTHS.iter().any(|month| month.eq_ignore_ascii_case(word));
        let is_day = |word: &str| word.parse().is_ok_and(|day: u8| (1..=31).contains(&day));
        let is_time = |word: &str| {
            let mut parts = word.split(':');
            let numbers = parts.clone().all(|part| part.len() <= 2 && part.parse::<u8>().is_ok());
            numbers && (2..=3).contains(&parts.by_ref().count())
        };
        (0..words.len()).find_map(|at| match words.get(at..)? {
            [month, day, time, rest @ ..] if is_month(month) && is_day(day) && is_time(time) => {
                Some(Self { day, month, time, others: rest.to_vec() })
            }
            [day, month, year, time, rest @ ..] if is_day(day) && is_month(month) && is_time(time) => {
                Some(Self { day, month, time, others: [&[*year], rest].concat() })
            }
            _ => None,
        })
    }

    fn date(&self) -> Option<DateTime> {
        let Self { day, month, time, others } = self;
        let is_year = |word: &&&str| word.len() == 4 && word.bytes().all(|octet| octet.is_ascii_digit());
        let year = others.iter().find(is_year)?;
        let zone = others.iter().find(|word| word.starts_with(['+', '-'])).unwrap_or(&"+0000");
        DateTime::from_rfc5322(format!("{day} {month} {year} {time} {zone}").as_bytes()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_says_when() {
        let seconds = |text: &str| moment(text).map(DateTime::seconds);
        for line in [
            "From ann@example.org Thu Jan  1 00:01:00 1970\n",
            "From - Thu Jan 01 00:01:00 1970\r\n",
            "From ???@??? thu jan  1 00:01 1970 UTC",
            "From Ann B. Example Thu Jan 1 01:01:00 1970 +0100",
            "From \"ann b\"@example.org Thu Jan  1 00:01:00 1970 remote from here",
            "From ann@example.org Thu, 1 Jan 1970 00:01:00 +0000",
        ] {
            assert!(begins_message(line.as_bytes()), "{line}");
            assert_eq!(seconds(line.strip_prefix("From ").unwrap()), Some(60), "{line}");
        }
        assert!(begins_message(b"From ann Thu Jan  1 00:00:00"));
        assert_eq!(seconds("ann Thu Jan  1 00:00:00"), None);
        for line in [
            "From here on\n",
            "From May 5 we are closed\n",
            "From 10:30 to 11:30 in Jan\n",
            "From Jan 1 to Feb 2 at 10:00\n",
            "From: ann@example.org Thu Jan  1 00:00:00 1970\n",
            "From ann\n",
            "From \n",
        ] {
            assert!(!begins_message(line.as_bytes()), "{line}");
        }
        assert!(!begins_message(format!("From {} Jan 1 00:00:00 1970", "x".repeat(2_000)).as_bytes()));
    }
}
