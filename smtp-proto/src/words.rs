//! Words of a command line. They are short: a plain loop finds their ends sooner than a searcher is set up.

/// A word of at most sixteen octets, to be compared with others at once: how long it is, what it begins and what it ends
/// with, without regard to case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    length: usize,
    front: u64,
    back: u64,
}

impl Key {
    /// The key of a word. Those of longer words are none that a shorter one has.
    pub(crate) const fn of(word: &str) -> Self {
        Self::of_octets(word.as_bytes())
    }

    /// The key of octets of which none is a control character.
    pub(crate) const fn of_octets(word: &[u8]) -> Self {
        if word.len() > 16 {
            return Self { length: word.len(), front: 0, back: 0 };
        }
        // Front and back have all octets between them, some of them twice.
        let (front, back) = if let (Some(front), Some(back)) = (word.first_chunk(), word.last_chunk()) {
            (u64::from_be_bytes(*front), u64::from_be_bytes(*back))
        } else if let (Some(front), Some(back)) = (word.first_chunk(), word.last_chunk()) {
            (u32::from_be_bytes(*front) as u64, u32::from_be_bytes(*back) as u64)
        } else if let (Some(front), Some(back)) = (word.first_chunk(), word.last_chunk()) {
            (u16::from_be_bytes(*front) as u64, u16::from_be_bytes(*back) as u64)
        } else {
            (if let [octet] = word { *octet as u64 } else { 0 }, 0)
        };
        // Only the two cases of a letter become that letter with these bits, and nothing else becomes a digit or a hyphen.
        Self { length: word.len(), front: front | LOWER, back: back | LOWER }
    }

    /// A number below `count`, to find it in a table by.
    pub(crate) const fn slot(self, count: usize) -> usize {
        (self.front % count as u64) as usize
    }
}

/// The bit that tells the cases of a letter apart, of eight octets.
const LOWER: u64 = u64::MAX / 0xff * 0x20;

/// What stands before the first such octet, which is ASCII, and what follows it if there is one.
pub(crate) fn split_at_octet(text: &str, octet: u8) -> (&str, Option<&str>) {
    let end = text.bytes().position(|found| found == octet).unwrap_or(text.len());
    let (before, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    (before, rest.get(1..))
}

/// What follows the spaces that it may begin with.
pub(crate) fn skip_spaces(mut text: &str) -> &str {
    while let Some(rest) = text.strip_prefix(' ') {
        text = rest;
    }
    text
}

/// The number that these digits are, at most so many and nothing else.
pub(crate) fn number(text: &str, most: usize) -> Option<u64> {
    if text.is_empty() || text.len() > most {
        return None;
    }
    text.bytes().try_fold(0_u64, |number, octet| {
        let digit = octet.wrapping_sub(b'0');
        if digit < 10 { number.checked_mul(10)?.checked_add(digit.into()) } else { None }
    })
}

/// Letters, digits and hyphens.
pub(crate) const WORD: u8 = 1;
/// The octets of values of parameters, of which [`EQUALS`] is none.
pub(crate) const VALUE: u8 = 2;
/// The equals sign.
pub(crate) const EQUALS: u8 = 4;
/// What stands for itself in xtext (RFC 3461 §4).
pub(crate) const XTEXT: u8 = 8;
/// What names of hosts are written with, at their most liberal.
pub(crate) const HOST: u8 = 16;
/// The colon.
pub(crate) const COLON: u8 = 32;
/// Printable ASCII and space.
pub(crate) const PRINTABLE: u8 = 64;

/// What each octet may stand in.
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let (mut rest, mut octet): (&mut [u8], u8) = (&mut classes, 0);
    while let [class, after @ ..] = rest {
        *class = match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => WORD | VALUE | XTEXT | HOST | PRINTABLE,
            b'.' | b'_' => VALUE | XTEXT | HOST | PRINTABLE,
            b'=' => EQUALS | PRINTABLE,
            b'+' => VALUE | PRINTABLE,
            b':' => VALUE | XTEXT | COLON | PRINTABLE,
            b' ' => PRINTABLE,
            b'!'..=b'~' => VALUE | XTEXT | PRINTABLE,
            0x80.. => VALUE,
            _ => 0,
        };
        octet = octet.wrapping_add(1);
        rest = after;
    }
    classes
};

/// Whether an octet belongs to one of these classes.
pub(crate) fn is_in(octet: u8, classes: u8) -> bool {
    CLASSES.get(usize::from(octet)).is_some_and(|found| found & classes != 0)
}

/// Whether all octets do.
pub(crate) fn all_in(text: &str, classes: u8) -> bool {
    text.bytes().all(|octet| is_in(octet, classes))
}

/// Splits before the first octet that does not.
pub(crate) fn split_behind(text: &str, classes: u8) -> (&str, &str) {
    let end = text.bytes().position(|octet| !is_in(octet, classes)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// Whether there is a control character of ASCII.
pub(crate) fn has_control(octets: &[u8]) -> bool {
    // The last eight may have been looked at before; so may those in the middle of less than eight.
    if let Some(last) = octets.last_chunk() {
        let has_one = |chunk| controls(u64::from_le_bytes(chunk)) != 0;
        return octets.as_chunks().0.iter().any(|chunk| has_one(*chunk)) || has_one(*last);
    }
    match (octets.first_chunk(), octets.last_chunk()) {
        (Some(first), Some(last)) => {
            let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
            controls((u64::from(first) << 32) | u64::from(last)) != 0
        }
        _ => octets.iter().any(u8::is_ascii_control),
    }
}

/// Bits that are set if one of eight octets is a control character.
const fn controls(octets: u64) -> u64 {
    const EACH: u64 = u64::MAX / 0xff;
    let del = octets ^ (EACH * 0x7f);
    // An octet borrows from the highest bit of its own, which was not set, if it is less than what is subtracted.
    let (below_space, is_del) = (octets.wrapping_sub(EACH * 0x20) & !octets, del.wrapping_sub(EACH) & !del);
    (below_space | is_del) & (EACH * 0x80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_are_found_wherever_they_are() {
        for length in 0..70 {
            let mut octets = "aé ~".repeat(20).into_bytes();
            octets.truncate(length);
            assert!(!has_control(&octets), "{length}");
            for (at, control) in (0..length).zip([0, 0x1f, 0x7f, b'\r', b'\n'].into_iter().cycle()) {
                let mut octets = octets.clone();
                octets[at] = control;
                assert!(has_control(&octets), "{control} at {at} of {length}");
            }
        }
    }

    #[test]
    fn splits_at_the_first() {
        assert_eq!(split_at_octet("a;b;c", b';'), ("a", Some("b;c")));
        assert_eq!(split_at_octet("ä;", b';'), ("ä", Some("")));
        assert_eq!(split_at_octet("ä", b';'), ("ä", None));
        assert_eq!(split_at_octet("", b';'), ("", None));
    }

    #[test]
    fn keys_are_those_of_the_same_word_only() {
        let words = [
            "",
            "a",
            "b",
            "1",
            "ab",
            "ba",
            "abc",
            "aaa",
            "a-1",
            "aaaa",
            "aaaaa",
            "abcd",
            "abcdabc",
            "abcdabcd",
            "aaaaaaaa",
            "aaaaaaaaa",
            "abcdefghi",
            "abcdefghabcdefgh",
            "abcdefghxabcdefgh",
        ];
        for (one, word) in words.iter().enumerate() {
            for (two, other) in words.iter().enumerate() {
                let same = Key::of(word) == Key::of(&other.to_uppercase());
                assert_eq!(same, one == two, "{word} {other}");
            }
        }
    }

    #[test]
    fn numbers_are_exact_or_none() {
        assert_eq!(number("18446744073709551615", 20), Some(u64::MAX));
        assert_eq!(number("007", 3), Some(7));
        for text in ["", "18446744073709551616", "99999999999999999999", "+1", "-1", "1 ", "1/", "1:", "１"]
        {
            assert_eq!(number(text, 20), None, "{text}");
        }
        assert_eq!(number("1234", 3), None);
    }
}
