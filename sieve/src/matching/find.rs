//! Looks for a key in a value without a copy of either.

use memchr::{memchr2, memmem};

/// So many octets are compared for nothing, and as many times those of the value: few need as many.
const FOR_NOTHING: usize = 256;
const TIMES: usize = 8;

/// Whether a value has a key in it, letters of ASCII in either case being the same. In linear time.
pub(super) fn ignoring_case(value: &[u8], key: &[u8]) -> bool {
    let Some((first, rest)) = key.split_first() else { return true };
    let Some(last) = value.len().checked_sub(key.len()) else { return false };
    let (lower, upper) = (first.to_ascii_lowercase(), first.to_ascii_uppercase());
    let mut left = value.len().saturating_mul(TIMES).saturating_add(FOR_NOTHING);
    let mut at = 0;
    while let Some(found) = memchr2(lower, upper, value.get(at..=last).unwrap_or_default()) {
        at += found + 1;
        if value.get(at..at + rest.len()).is_some_and(|behind| behind.eq_ignore_ascii_case(rest)) {
            return true;
        }
        match left.checked_sub(key.len()) {
            Some(less) => left = less,
            // The key begins everywhere.
            None => {
                let behind = value.get(at..).unwrap_or_default().to_ascii_lowercase();
                return memmem::find(&behind, &key.to_ascii_lowercase()).is_some();
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn what_is_there_is_found(value in "[aAbBzé@`{\\[]{0,40}", key in "[aAbBzé@`{\\[]{0,4}") {
            let expected = value.to_ascii_lowercase().contains(&key.to_ascii_lowercase());
            prop_assert_eq!(ignoring_case(value.as_bytes(), key.as_bytes()), expected);
        }

        #[test]
        fn what_begins_everywhere_is_found_too(many in 0..3000_usize, length in 1..300_usize, there in any::<bool>()) {
            let value = "aA".repeat(many) + if there { "b" } else { "" };
            let key = "a".repeat(length) + "B";
            prop_assert_eq!(ignoring_case(value.as_bytes(), key.as_bytes()), there && length <= 2 * many);
        }
    }

    /// To compare the key wherever it may begin would take minutes.
    #[test]
    fn hostile_values_take_no_longer() {
        let (value, key) = ("a".repeat(4 << 20), "a".repeat(1 << 20) + "b");
        assert!(!ignoring_case(value.as_bytes(), key.as_bytes()));
    }
}
