//! Comparators: what makes two strings equal, or one less than the other (RFC 4790).

use std::{borrow::Cow, cmp::Ordering};

use mailwright_mail_model::collation;

/// A comparator that scripts can name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Comparator {
    /// `i;octet`: octet by octet (RFC 4790 §9.3).
    Octet,
    /// `i;ascii-casemap`: letters of ASCII in either case are the same (RFC 4790 §9.2). The default (RFC 5228 §2.7.3).
    #[default]
    AsciiCasemap,
    /// `i;ascii-numeric`: the number that a string begins with; what begins with none is above every number
    /// (RFC 4790 §9.1).
    AsciiNumeric,
    /// `i;unicode-casemap`: letters in either case, and composed and decomposed characters, are the same (RFC 5051 §2).
    UnicodeCasemap,
}

const NAMES: [(&str, Comparator); 4] = [
    ("i;octet", Comparator::Octet),
    ("i;ascii-casemap", Comparator::AsciiCasemap),
    ("i;ascii-numeric", Comparator::AsciiNumeric),
    ("i;unicode-casemap", Comparator::UnicodeCasemap),
];

impl Comparator {
    /// The comparator of that name.
    ///
    /// ```
    /// use mailwright_sieve::Comparator;
    ///
    /// let numeric = Comparator::of("i;ascii-numeric").ok_or("unknown")?;
    /// assert!(numeric.compare("007 men", "10").is_lt());
    /// assert!(numeric.compare("99999999999999999999", "none").is_lt());
    /// # Ok::<(), &str>(())
    /// ```
    pub fn of(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, comparator)| *comparator)
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        NAMES.iter().find(|(_, comparator)| *comparator == self).map_or("", |(name, _)| name)
    }

    /// Whether it can look for a string in another (RFC 4790 §4.2.3).
    pub fn substrings(self) -> bool {
        self != Self::AsciiNumeric
    }

    /// How two strings compare.
    pub fn compare(self, left: &str, right: &str) -> Ordering {
        match self {
            Self::Octet => left.as_bytes().cmp(right.as_bytes()),
            Self::AsciiCasemap => {
                let upper =
                    |text: &'_ str| text.bytes().map(|byte| byte.to_ascii_uppercase()).collect::<Vec<_>>();
                upper(left).cmp(&upper(right))
            }
            Self::AsciiNumeric => number(left).cmp(&number(right)),
            Self::UnicodeCasemap => collation::folded(left).cmp(&collation::folded(right)),
        }
    }

    /// Whether two strings are the same.
    pub fn equal(self, left: &str, right: &str) -> bool {
        match self {
            Self::Octet => left == right,
            Self::AsciiCasemap => left.eq_ignore_ascii_case(right),
            Self::AsciiNumeric | Self::UnicodeCasemap => self.compare(left, right).is_eq(),
        }
    }

    /// A string with all that the comparator does not see taken out of it, to look for substrings in.
    pub(crate) fn folded(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Octet | Self::AsciiNumeric => Cow::Borrowed(text),
            Self::AsciiCasemap if !text.bytes().any(|byte| byte.is_ascii_uppercase()) => Cow::Borrowed(text),
            Self::AsciiCasemap => Cow::Owned(text.to_ascii_lowercase()),
            Self::UnicodeCasemap => collation::folded(text),
        }
    }
}

/// Ordered as `i;ascii-numeric` has it: numbers of any length, then all else.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Numeric<'a> {
    Number(usize, &'a str),
    Infinity,
}

fn number(text: &str) -> Numeric<'_> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    match text.get(..end) {
        Some("") | None => Numeric::Infinity,
        Some(digits) => {
            let digits = digits.trim_start_matches('0');
            Numeric::Number(digits.len(), digits)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders() {
        for (comparator, left, right, expected) in [
            (Comparator::Octet, "a", "B", Ordering::Greater),
            (Comparator::AsciiCasemap, "a", "B", Ordering::Less),
            (Comparator::AsciiCasemap, "É", "é", Ordering::Less),
            (Comparator::AsciiCasemap, "[", "a", Ordering::Greater),
            (Comparator::AsciiNumeric, "0010x", "10", Ordering::Equal),
            (Comparator::AsciiNumeric, "9", "10", Ordering::Less),
            (Comparator::AsciiNumeric, "-1", "", Ordering::Equal),
            (Comparator::AsciiNumeric, "18446744073709551617", "18446744073709551616", Ordering::Greater),
            (Comparator::UnicodeCasemap, "e\u{301}", "É", Ordering::Equal),
            (Comparator::UnicodeCasemap, "\u{ff21}\u{1c6}", "a\u{1c4}", Ordering::Equal),
            (Comparator::UnicodeCasemap, "ß", "SS", Ordering::Greater),
            (Comparator::UnicodeCasemap, "ǆ", "ǅ", Ordering::Equal),
        ] {
            assert_eq!(comparator.compare(left, right), expected, "{left} {right}");
            assert_eq!(comparator.equal(left, right), expected.is_eq(), "{left} {right}");
        }
        for (name, comparator) in NAMES {
            assert_eq!(Comparator::of(name), Some(comparator));
            assert_eq!(comparator.as_str(), name);
        }
    }
}
