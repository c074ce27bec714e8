//! What mailboxes may hold, and how long things are kept.

use std::{fmt, str::FromStr};

use mailwright::mailstore::QuotaLimits;
use serde::{Deserialize, Serialize};

/// What a user may have who has nothing of their own. Zero is no limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Quota {
    /// Octets of all messages.
    pub(crate) storage: u64,
    pub(crate) messages: u64,
    pub(crate) mailboxes: u64,
    /// Octets of all annotations.
    pub(crate) annotations: u64,
    /// At which parts of a limit, in percent, the user is told.
    pub(crate) warn_percent: Vec<u8>,
    /// The program that tells, in place of a message.
    pub(crate) warn_command: Vec<String>,
}

/// How long things are kept that nobody wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Expiry {
    pub(crate) trash: Period,
    pub(crate) junk: Period,
    /// Whether messages with the flag \Flagged stay all the same.
    pub(crate) spare_flagged: bool,
    /// The mail of accounts that were removed.
    pub(crate) removed_users: Period,
    /// How often to look.
    pub(crate) every: Period,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            storage: 0,
            messages: 0,
            mailboxes: 0,
            annotations: 0,
            warn_percent: vec![80, 95],
            warn_command: Vec::new(),
        }
    }
}

impl Default for Expiry {
    fn default() -> Self {
        Self {
            trash: Period(0),
            junk: Period(0),
            spare_flagged: true,
            removed_users: Period(30 * 86_400),
            every: Period(3_600),
        }
    }
}

impl Quota {
    /// As stores have it.
    pub(crate) fn limits(&self) -> QuotaLimits {
        let limit = |value: u64| Some(value).filter(|value| *value > 0);
        QuotaLimits::NONE
            .storage(limit(self.storage))
            .messages(limit(self.messages))
            .mailboxes(limit(self.mailboxes))
            .annotations(limit(self.annotations))
    }

    pub(super) fn problems(&self, counts_annotations: bool) -> Vec<String> {
        let mut problems = Vec::new();
        if self.annotations > 0 && !counts_annotations {
            problems.push(
                "[quota] annotations needs [store] kind = \"embedded\": Maildirs do not count them".into(),
            );
        }
        if let Some(percent) = self.warn_percent.iter().find(|percent| !(1..=100).contains(*percent)) {
            problems.push(format!("[quota] warn_percent: {percent} is not between 1 and 100"));
        }
        problems
    }
}

impl Expiry {
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.every.is_never() {
            problems.push("[expiry] every must be at least \"1s\"".into());
        }
        problems
    }
}

/// A span of time, as `30d`, `12h`, `15m` or `90s`; `0` is never, or none at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Period(u64);

const UNITS: [(&str, u64); 5] = [("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

impl Period {
    pub(crate) const fn days(days: u64) -> Self {
        Self(days * 86_400)
    }

    pub(crate) const fn seconds(self) -> u64 {
        self.0
    }

    pub(crate) const fn is_never(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, length): &&(&str, u64)| self.0 > 0 && self.0.is_multiple_of(*length);
        match UNITS.iter().find(fits) {
            Some((unit, length)) => write!(f, "{}{unit}", self.0 / length),
            None => f.write_str("0"),
        }
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("expected a span of time, like 30d, 12h, 15m, 90s or 0, got {text:?}");
        if text == "0" {
            return Ok(Self(0));
        }
        let (number, length) = UNITS
            .iter()
            .find_map(|(unit, length)| Some((text.strip_suffix(unit)?, *length)))
            .ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        number.checked_mul(length).filter(|seconds| *seconds < 1 << 40).map(Self).ok_or_else(wrong)
    }
}

impl TryFrom<String> for Period {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Period> for String {
    fn from(period: Period) -> Self {
        period.to_string()
    }
}

/// A number of octets, as `1500`, `300K`, `20M` or `2G`; `none` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("expected a size, like 1500, 300K, 20M, 2G or none, got {text:?}");
        if text == "none" {
            return Ok(Self(0));
        }
        let upper = text.to_ascii_uppercase();
        let (number, shift) = [("K", 10), ("M", 20), ("G", 30), ("T", 40)]
            .iter()
            .find_map(|(unit, shift)| Some((upper.strip_suffix(unit)?, *shift)))
            .unwrap_or((&upper, 0));
        let number: u64 = number.parse().map_err(|_| wrong())?;
        number.checked_mul(1 << shift).map(Self).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time() {
        for (text, seconds) in [("0", 0), ("90s", 90), ("15m", 900), ("36h", 129_600), ("30d", 2_592_000)] {
            let period: Period = text.parse().unwrap();
            assert_eq!((period.seconds(), period.to_string()), (seconds, text.to_owned()));
        }
        assert_eq!("14d".parse::<Period>().unwrap().to_string(), "2w");
        for wrong in ["", "d", "30", "-1d", "1.5h", "99999999999999w", "1y"] {
            assert!(wrong.parse::<Period>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes() {
        for (text, octets) in [("none", 0), ("1500", 1_500), ("2K", 2_048), ("3g", 3 << 30)] {
            assert_eq!(text.parse(), Ok(Size(octets)));
        }
        for wrong in ["", "K", "-1", "1.5G", "99999999999T", "1 G"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }
}
