//! `:matches`: `*` is any characters, as few as will do, `?` is one; `\` takes their meaning away.

use std::borrow::Cow;

use crate::{Comparator, Stop};

/// A compiled pattern, of a key as the comparator sees it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Glob(Vec<Item>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Octet(u8),
    One,
    Many,
}

impl Glob {
    pub(crate) fn new(key: &str) -> Self {
        let mut items = Vec::with_capacity(key.len());
        let mut octets = key.bytes();
        while let Some(octet) = octets.next() {
            items.push(match octet {
                b'*' => Item::Many,
                b'?' => Item::One,
                b'\\' => Item::Octet(octets.next().unwrap_or(b'\\')),
                other => Item::Octet(other),
            });
        }
        Self(items)
    }

    /// What the whole value and each wildcard matched, the former first, if the pattern matches.
    ///
    /// Pays for its steps while it goes on. Only the last `*` is ever tried again: an earlier one that took less leaves no fewer ways to
    /// go on.
    ///
    /// # Errors
    /// What `pay` says.
    pub(crate) fn matches(
        &self,
        comparator: Comparator,
        value: &str,
        capture: bool,
        mut pay: impl FnMut(usize) -> Result<(), Stop>,
    ) -> Result<Option<Vec<String>>, Stop> {
        /// So many steps are made before they are paid for.
        const DEBT: usize = 8 << 10;
        let mut steps = 0;
        let (folded, origins) = fold(comparator, value);
        let octets = folded.as_bytes();
        // The key has none but small letters then.
        let small = comparator == Comparator::AsciiCasemap;
        let same = |expected: u8, found: u8| {
            expected == found
                || (small && found.is_ascii_uppercase() && found.to_ascii_lowercase() == expected)
        };
        let (mut item, mut at) = (0, 0);
        // Where to go on if what follows the last `*` fails: its item, and what it has taken up to.
        let mut star: Option<(usize, usize)> = None;
        let mut spans: Vec<(usize, usize)> = Vec::new();
        // How many spans there were when the last `*` was opened, itself included.
        let mut kept = 0;
        loop {
            steps += 1;
            if steps == DEBT {
                pay(std::mem::take(&mut steps))?;
            }
            let advanced = match (self.0.get(item), octets.get(at)) {
                (None, None) => break,
                (Some(Item::Many), _) => {
                    star = Some((item, at));
                    if capture {
                        spans.push((at, at));
                        kept = spans.len();
                    }
                    item += 1;
                    true
                }
                (Some(Item::One), Some(_)) => {
                    let length =
                        folded.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
                    if capture {
                        spans.push((at, at + length));
                    }
                    item += 1;
                    at += length;
                    true
                }
                (Some(Item::Octet(expected)), Some(found)) if same(*expected, *found) => {
                    item += 1;
                    at += 1;
                    true
                }
                _ => false,
            };
            if advanced {
                continue;
            }
            // The last `*` takes one character more, if there is one.
            let longer = star.and_then(|(star_item, taken)| {
                Some((star_item, taken, folded.get(taken..)?.chars().next()?.len_utf8()))
            });
            let Some((star_item, taken, length)) = longer else {
                pay(steps)?;
                return Ok(None);
            };
            star = Some((star_item, taken + length));
            spans.truncate(kept);
            if let Some(span) = spans.last_mut() {
                span.1 = taken + length;
            }
            item = star_item + 1;
            at = taken + length;
        }
        pay(steps + if capture { value.len() } else { 0 })?;
        if !capture {
            return Ok(Some(Vec::new()));
        }
        let origin = |at: usize| origins.as_ref().map_or(Some(at), |origins| origins.get(at).copied());
        let whole = std::iter::once(value.to_owned());
        let parts = spans.iter().map(|(start, end)| {
            let span = origin(*start).zip(origin(*end)).and_then(|(start, end)| value.get(start..end));
            span.unwrap_or_default().to_owned()
        });
        Ok(Some(whole.chain(parts).collect()))
    }
}

/// The value as the comparator sees it, but for letters of ASCII that are made small, and, unless that is of the same length, where each octet
/// of it comes from.
fn fold(comparator: Comparator, value: &str) -> (Cow<'_, str>, Option<Vec<usize>>) {
    if comparator != Comparator::UnicodeCasemap {
        return (Cow::Borrowed(value), None);
    }
    if value.is_ascii() {
        return (Cow::Owned(value.to_ascii_uppercase()), None);
    }
    let mut folded = String::with_capacity(value.len());
    let mut origins = Vec::with_capacity(value.len() + 1);
    for (at, letter) in value.char_indices() {
        folded.push_str(&comparator.folded(letter.encode_utf8(&mut [0; 4])));
        origins.resize(folded.len(), at);
    }
    origins.push(value.len());
    (Cow::Owned(folded), Some(origins))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn captures(pattern: &str, value: &str, comparator: Comparator) -> Option<Vec<String>> {
        Glob::new(&comparator.folded(pattern)).matches(comparator, value, true, |_| Ok(())).unwrap()
    }

    #[test]
    fn patterns_and_what_they_capture() {
        for (pattern, value, expected) in [
            ("*", "abc", Some(vec!["abc"])),
            ("", "", Some(vec![])),
            ("", "a", None),
            ("a?c", "AbC", Some(vec!["b"])),
            ("*<*@*", "list <a@b>", Some(vec!["list ", "a", "b>"])),
            (
                "[*] *",
                "[acme-users] [fwd] version 1.0 is out",
                Some(vec!["acme-users", "[fwd] version 1.0 is out"]),
            ),
            ("coyote@**.com", "coyote@ACME.Example.COM", Some(vec!["", "ACME.Example"])),
            (r"\*\?\\", r"*?\", Some(vec![])),
            ("*a?", "xaaaé", Some(vec!["xaa", "é"])),
            ("??", "é", None),
            ("*b", "abab", Some(vec!["aba"])),
            ("*?*", "", None),
            ("*ab*ab", "ababab", Some(vec!["", "ab"])),
        ] {
            let found = captures(pattern, value, Comparator::AsciiCasemap);
            let expected = expected.map(|rest| [vec![value], rest].concat());
            assert_eq!(
                found,
                expected.map(|all| all.into_iter().map(str::to_owned).collect()),
                "{pattern} {value}"
            );
        }
        assert_eq!(captures("É*x", "e\u{301}ßX", Comparator::UnicodeCasemap).unwrap(), ["e\u{301}ßX", "ß"]);
        assert_eq!(captures("A*", "abc", Comparator::Octet), None);
    }

    #[test]
    fn many_stars_end_at_the_limit() {
        let pattern = Glob::new(&"*a".repeat(1000));
        let value = "b".repeat(100_000);
        let mut left = 50_000_usize;
        let found = pattern.matches(Comparator::Octet, &value, false, |steps| {
            left = left.checked_sub(steps).ok_or_else(|| Stop::error("enough"))?;
            Ok(())
        });
        assert!(found.is_err() && left < 10_000, "{left}");
    }

    /// The pattern, tried in every way.
    fn naive(pattern: &[u8], value: &[u8]) -> bool {
        match (pattern.split_first(), value.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), None) => naive(rest, value),
            (Some((b'*', rest)), Some((_, after))) => naive(rest, value) || naive(pattern, after),
            (Some((b'?', rest)), Some((_, after))) => naive(rest, after),
            (Some((left, rest)), Some((right, after))) => left == right && naive(rest, after),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matches_what_trying_everything_matches(pattern in "[ab*?]{0,8}", value in "[ab]{0,10}") {
            let found = captures(&pattern, &value, Comparator::Octet);
            prop_assert_eq!(found.is_some(), naive(pattern.as_bytes(), value.as_bytes()));
            if let Some(captures) = found {
                let mut parts = captures[1..].iter();
                let rebuilt: String = pattern
                    .chars()
                    .map(|letter| if matches!(letter, '*' | '?') { parts.next().unwrap().clone() } else { letter.into() })
                    .collect();
                prop_assert_eq!(rebuilt, value);
            }
        }
    }
}
