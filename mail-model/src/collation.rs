//! `i;unicode-casemap` (RFC 5051): texts as they are compared and searched, in whatever script.

use std::borrow::Cow;

use unicode_normalization::char::decompose_compatible;

/// A text without what the collation does not see: letters in either case are the same, and so are composed and decomposed
/// characters. What folds to the same octets is equal, what is less is before it.
///
/// Characters are folded one by one, so a text may be folded in pieces.
///
/// ```
/// use mailwright_mail_model::collation;
///
/// assert_eq!(collation::folded("Café"), collation::folded("cafe\u{301}"));
/// assert!(collation::folded("Émile") < collation::folded("fred"));
/// ```
pub fn folded(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| byte.is_ascii_lowercase() || !byte.is_ascii()) {
        return Cow::Borrowed(text);
    }
    let mut folded = Vec::with_capacity(text.len());
    fold(text, &mut folded);
    Cow::Owned(String::from_utf8(folded).unwrap_or_default())
}

/// Appends the [folded](folded) text.
pub(crate) fn fold(text: &str, folded: &mut Vec<u8>) {
    if text.is_ascii() {
        let start = folded.len();
        folded.extend_from_slice(text.as_bytes());
        folded.get_mut(start..).unwrap_or_default().make_ascii_uppercase();
        return;
    }
    let mut buffer = [0; 4];
    let mut put = |letter: char| folded.extend_from_slice(letter.encode_utf8(&mut buffer).as_bytes());
    for letter in text.chars() {
        match letter {
            '\0'..='\x7f' => put(letter.to_ascii_uppercase()),
            // RFC 5051 §2: title case, then decomposed. Upper case stands in for title case: what is one in one is one in the other.
            letter => decompose_compatible(upper(letter), &mut put),
        }
    }
}

/// The upper case where that is one character: the mapping of RFC 5051 is the simple one.
fn upper(letter: char) -> char {
    let mut upper = letter.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(single), None) => single,
        _ => letter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_composition_are_not_seen() {
        for (one, other) in [
            ("tea", "TEA"),
            ("\u{e4}\u{f6}", "A\u{308}O\u{308}"),
            ("\u{3b4}", "\u{394}"),
            ("\u{44f}", "\u{42f}"),
            ("\u{ff21}", "a"),
            ("\u{1c6}", "\u{1c4}"),
        ] {
            assert_eq!(folded(one), folded(other), "{one} {other}");
        }
        assert_eq!(folded("A1 -"), "A1 -");
        assert!(folded("a") < folded("B"));
        assert_ne!(folded("stra\u{df}e"), folded("strasse"));
        assert_ne!(folded("cafe"), folded("caf\u{e9}"));
    }
}
