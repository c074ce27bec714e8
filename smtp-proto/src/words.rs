//! Words of a command line. They are short: their ends are found sooner than a searcher is set up.

use smol_str::SmolStr;

use crate::SyntaxError;

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

    /// A number below [`SLOTS`], which tells the words of a table apart.
    const fn slot(self) -> usize {
        (self.front.wrapping_mul(SPREAD) >> (u64::BITS - SLOTS.trailing_zeros())) as usize
    }
}

/// How many slots an index has: a power of two.
const SLOTS: usize = 32;

/// With this factor no two words of a table have the same slot. It was found by trying.
const SPREAD: u64 = 0x796f_829c_b96b_7f33;

/// Where the rows of a table are, by their keys.
#[derive(Debug)]
pub(crate) struct Index {
    slots: [u8; SLOTS],
    rows: u8,
}

impl Index {
    pub(crate) const EMPTY: Self = Self { slots: [u8::MAX; SLOTS], rows: 0 };

    /// With the key of the next row.
    pub(crate) const fn with(mut self, key: Key) -> Self {
        if let Some(slot) = self.slots.split_at_mut(key.slot()).1.first_mut() {
            assert!(*slot == u8::MAX, "two words have the same slot: another factor is needed");
            *slot = self.rows;
        }
        self.rows += 1;
        self
    }

    /// The only row that may have this key.
    #[inline]
    pub(crate) fn row<'a, R>(&self, key: Key, rows: &'a [R]) -> Option<(usize, &'a R)> {
        let number = usize::from(*self.slots.get(key.slot())?);
        Some((number, rows.get(number)?))
    }
}

/// The lowest bit of each of eight octets.
const EACH: u64 = u64::MAX / 0xff;
/// The bit that tells the cases of a letter apart, of eight octets.
const LOWER: u64 = EACH * 0x20;

/// What stands before the first such octet, which is ASCII, and what follows it if there is one.
#[inline]
pub(crate) fn split_at_octet(text: &str, octet: u8) -> (&str, Option<&str>) {
    let (before, rest) = split_before(text, [octet, octet]);
    (before, rest.get(1..))
}

/// Splits before the first of two octets, which are ASCII, or at the end.
#[inline]
pub(crate) fn split_before(text: &str, octets: [u8; 2]) -> (&str, &str) {
    let end = find(text.as_bytes(), octets).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// Where the first of two octets is.
#[inline]
fn find(text: &[u8], [one, other]: [u8; 2]) -> Option<usize> {
    let (chunks, rest) = text.as_chunks();
    let (ones, others) = (EACH * u64::from(one), EACH * u64::from(other));
    let mut begin = 0;
    for chunk in chunks {
        let chunk = u64::from_le_bytes(*chunk);
        let found = zeros(chunk ^ ones) | zeros(chunk ^ others);
        if found != 0 {
            return Some(begin + found.trailing_zeros() as usize / 8);
        }
        begin += 8;
    }
    rest.iter().position(|octet| *octet == one || *octet == other).map(|at| begin + at)
}

/// What follows the spaces that it may begin with.
pub(crate) fn skip_spaces(mut octets: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = octets {
        octets = rest;
    }
    octets
}

/// The word up to the first space or the end, and what follows the space.
pub(crate) fn word(octets: &[u8]) -> (&[u8], &[u8]) {
    let (word, rest) = split_word(octets);
    (word, rest.get(1..).unwrap_or_default())
}

/// The word up to the first space or the end, and the rest from the space on.
pub(crate) fn split_word(octets: &[u8]) -> (&[u8], &[u8]) {
    let end = octets.iter().position(|octet| *octet == b' ').unwrap_or(octets.len());
    octets.split_at_checked(end).unwrap_or((octets, &[]))
}

/// The text, which is copied where it becomes part of a value if it is short: elsewhere it would be written and read once more.
#[inline]
pub(crate) fn short(text: &str) -> SmolStr {
    if text.len() <= SmolStr::INLINE_CAP { SmolStr::new_inline(text) } else { text.into() }
}

/// The octets as text, which they are wherever they come from a line that was looked at.
pub(crate) fn text(octets: &[u8]) -> Result<&str, SyntaxError> {
    std::str::from_utf8(octets).map_err(|_| SyntaxError::Octets)
}

/// The number that these digits are, at most so many and nothing else.
#[inline]
pub(crate) fn number(text: impl AsRef<[u8]>, most: usize) -> Option<u64> {
    leading_number(text.as_ref(), most).filter(|(_, rest)| rest.is_empty()).map(|(number, _)| number)
}

/// The number that the digits at the front are, at most so many, and what follows them.
#[inline]
pub(crate) fn leading_number(octets: &[u8], most: usize) -> Option<(u64, &[u8])> {
    let (mut number, mut length) = (0_u64, 0);
    for octet in octets {
        let digit = octet.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        number = number.wrapping_mul(10).wrapping_add(digit.into());
        length += 1;
    }
    if length == 0 || length > most {
        return None;
    }
    let (digits, rest) = octets.split_at_checked(length)?;
    // Nineteen digits fit, whatever they are.
    Some((if length < 20 { number } else { exact_number(digits)? }, rest))
}

/// The number that these digits are, if it is not too large.
#[cold]
fn exact_number(digits: &[u8]) -> Option<u64> {
    digits
        .iter()
        .try_fold(0_u64, |number, octet| number.checked_mul(10)?.checked_add(octet.wrapping_sub(b'0').into()))
}

/// Letters, digits and hyphens.
pub(crate) const WORD: u8 = 1;
/// The octets of values of parameters.
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
    // Without a way out before the end, for they nearly always do.
    !text.bytes().fold(false, |others, octet| others | !is_in(octet, classes))
}

/// Whether there is nothing but printable ASCII and spaces: what nearly all commands are.
pub(crate) fn is_printable(octets: &[u8]) -> bool {
    // The last eight may be looked at twice; so may those in the middle of less than eight.
    if let Some(last) = octets.last_chunk() {
        let chunks = octets.as_chunks().0.iter();
        let eight = |octets| others(u64::from_le_bytes(octets));
        return chunks.fold(eight(*last), |all, chunk| all | eight(*chunk)) & (EACH * 0x80) == 0;
    }
    match (octets.first_chunk(), octets.last_chunk()) {
        (Some(first), Some(last)) => {
            let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
            others((u64::from(first) << 32) | u64::from(last)) & (EACH * 0x80) == 0
        }
        _ => octets.iter().all(|octet| matches!(octet, b' '..=b'~')),
    }
}

/// The highest bit of any of eight octets is set if one of them is a control character or not ASCII.
const fn others(octets: u64) -> u64 {
    // What is below a space borrows from that bit, and DEL carries into it; what others borrow and carry changes nothing in that.
    octets | octets.wrapping_sub(EACH * 0x20) | octets.wrapping_add(EACH)
}

/// Bits that are set if one of eight octets is zero, of which the lowest belongs to the first of them.
const fn zeros(octets: u64) -> u64 {
    octets.wrapping_sub(EACH) & !octets & (EACH * 0x80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_printable_is_found_wherever_it_is() {
        for length in 0..70 {
            let printable: Vec<u8> = (b' '..=b'~').cycle().skip(length * 7).take(length).collect();
            assert!(is_printable(&printable), "{length}");
            for at in 0..length {
                for other in (0..b' ').chain([0x7f, 0x80, 0x9f, 0xa0, 0xff]) {
                    for around in [b' ', b'~'] {
                        let mut octets = vec![around; length];
                        octets[at] = other;
                        assert!(!is_printable(&octets), "{other} at {at} of {length}");
                    }
                }
            }
        }
    }

    #[test]
    fn splits_at_the_first() {
        assert_eq!(split_at_octet("a;b;c", b';'), ("a", Some("b;c")));
        assert_eq!(split_at_octet("ä;", b';'), ("ä", Some("")));
        assert_eq!(split_at_octet("ä", b';'), ("ä", None));
        assert_eq!(split_at_octet("", b';'), ("", None));
        for length in 0..40 {
            let text = "a".repeat(length);
            assert_eq!(split_before(&text, *b" ="), (&*text, ""), "{length}");
            for at in 0..length {
                for (first, second) in [(" ", "="), ("=", " "), ("=", "="), (" ", "!")] {
                    let text = format!("{}{first}{second}é", &text[..at]);
                    let expected = text.split_at(at);
                    assert_eq!(split_before(&text, *b" ="), expected, "{text}");
                    assert_eq!(split_before(&text, *b"= "), expected, "{text}");
                }
            }
        }
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
        assert_eq!(leading_number(b"12 LAST", 20), Some((12, &b" LAST"[..])));
        assert_eq!(leading_number(b"18446744073709551616 LAST", 20), None);
        assert_eq!(leading_number(b" 1", 20), None);
    }
}
