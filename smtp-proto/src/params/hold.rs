//! HOLDFOR and HOLDUNTIL of MAIL: deliver later (RFC 4865).

use std::num::NonZeroU32;

use mailwright_mail_model::DateTime;

use crate::{timestamp, words::number};

/// How long a message is to be held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Hold {
    /// HOLDFOR: so many seconds, at most nine digits.
    For(NonZeroU32),
    /// HOLDUNTIL: until this moment, told in UTC.
    Until(DateTime),
}

impl Hold {
    pub(super) fn parse_for(value: &str) -> Option<Self> {
        let seconds = u32::try_from(number(value, 9)?).ok()?;
        // RFC 4865: the first digit is not 0
        NonZeroU32::new(seconds).filter(|_| !value.starts_with('0')).map(Self::For)
    }

    pub(super) fn parse_until(value: &str) -> Option<Self> {
        timestamp::parse(value).filter(|moment| moment.offset_minutes() == 0).map(Self::Until)
    }
}
