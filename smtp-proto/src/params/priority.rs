//! MT-PRIORITY of MAIL (RFC 6710).

use std::fmt;

/// How urgent a message is, -9 to 9; 0 is what all messages have that do not say.
///
/// ```
/// use mailwright_smtp_proto::Priority;
///
/// assert!(Priority::new(3) > Some(Priority::default()));
/// assert_eq!(Priority::new(10), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Priority(i8);

impl Priority {
    /// `None` beyond -9 and 9.
    pub fn new(level: i8) -> Option<Self> {
        (-9..=9).contains(&level).then_some(Self(level))
    }

    /// -9 to 9.
    pub fn level(self) -> i8 {
        self.0
    }

    /// RFC 6710 §7: "-" NZDIGIT, "0" or [+] NZDIGIT; a plus is not written.
    pub(super) fn parse(value: &str) -> Option<Self> {
        let (sign, digit) = match value.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, value),
        };
        match digit.as_bytes() {
            [digit @ b'1'..=b'9'] => i8::try_from(digit - b'0').ok().map(|level| Self(sign * level)),
            b"0" if sign == 1 => Some(Self(0)),
            _ => None,
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}
