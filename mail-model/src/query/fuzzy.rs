//! Finding words that are nearly those searched for (RFC 6203).

use unicode_normalization::char::is_combining_mark;

use super::haystack::Needle;
use crate::collation::fold;

/// How much of a word is looked at, in characters.
const LONGEST: usize = 48;
/// How much of a text is folded at a time, in octets.
const PIECE: usize = 4 * 1024;
/// The score of what is exactly as it was searched for.
pub(super) const BEST: u8 = 100;

/// A text to find roughly: its words, in whatever order and spelled nearly so.
#[derive(Clone, Debug)]
pub(super) struct Phrase {
    words: Vec<Box<[char]>>,
    /// A text without words is found as it stands, or not at all.
    exact: Option<Needle>,
}

impl Phrase {
    pub(super) fn new(text: &str) -> Self {
        let mut words: Vec<Box<[char]>> = Vec::new();
        let mut reader = Words::default();
        let mut keep = |word: &[char]| {
            if !words.iter().any(|known| **known == *word) {
                words.push(word.into());
            }
        };
        reader.push(text, &mut keep);
        reader.finish(&mut keep);
        let exact = words.is_empty().then(|| Needle::new(text));
        Self { words, exact }
    }

    /// What stands for the text where it has no words.
    pub(super) const fn exact(&self) -> Option<&Needle> {
        self.exact.as_ref()
    }

    /// How well each word was found: not at all, before anything was looked at.
    pub(super) fn start(&self) -> Box<[u8]> {
        vec![0; self.words.len()].into()
    }

    /// Takes a word of the text into account.
    pub(super) fn meet(&self, word: &[char], found: &mut [u8]) {
        for (wanted, best) in self.words.iter().zip(found) {
            if *best < BEST {
                *best = (*best).max(likeness(wanted, word));
            }
        }
    }
}

/// How well a text was found in the end, from 1 to 100; `None` if one of its words was not.
pub(super) fn score(found: &[u8]) -> Option<u8> {
    if found.contains(&0) {
        return None;
    }
    let sum: usize = found.iter().map(|score| usize::from(*score)).sum();
    Some(sum.checked_div(found.len()).map_or(BEST, |mean| mean.clamp(1, BEST.into()) as u8))
}

/// The words of a text that comes in pieces: runs of letters and digits, case and accents apart. A character of a
/// script without spaces is a word by itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Words {
    word: Vec<char>,
}

impl Words {
    /// The next piece of the text; `take` is called with each word that has ended.
    pub(super) fn push(&mut self, text: &str, take: &mut impl FnMut(&[char])) {
        let mut folded = Vec::with_capacity(text.len().min(PIECE));
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, behind) =
                rest.split_at_checked(rest.floor_char_boundary(PIECE)).unwrap_or((rest, ""));
            rest = behind;
            folded.clear();
            fold(piece, &mut folded);
            for letter in String::from_utf8_lossy(&folded).chars() {
                self.letter(letter, take);
            }
        }
    }

    fn letter(&mut self, letter: char, take: &mut impl FnMut(&[char])) {
        if is_combining_mark(letter) {
            return;
        }
        if !letter.is_alphanumeric() {
            return self.finish(take);
        }
        if stands_alone(letter) {
            self.finish(take);
            return take(&[letter]);
        }
        if self.word.len() < LONGEST {
            self.word.push(letter);
        }
    }

    /// The text has ended, and with it its last word.
    pub(super) fn finish(&mut self, take: &mut impl FnMut(&[char])) {
        if !self.word.is_empty() {
            take(&self.word);
            self.word.clear();
        }
    }
}

/// Ideographs and kana: no space tells their words apart.
const fn stands_alone(letter: char) -> bool {
    matches!(letter, '\u{2e80}'..='\u{a4cf}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3fffd}')
}

/// How like a word is to the one searched for, from 1 to 100; 0 if it is another.
fn likeness(wanted: &[char], word: &[char]) -> u8 {
    if wanted == word {
        return BEST;
    }
    let longer = word.len().saturating_sub(wanted.len());
    if wanted.len() >= 3 && word.starts_with(wanted) {
        return 95_usize.saturating_sub(longer.saturating_mul(5)).max(60) as u8;
    }
    // In short words every letter counts.
    let most = match wanted.len() {
        0..=3 => 0,
        4..=7 => 1,
        _ => 2,
    };
    match distance(wanted, word, most) {
        Some(1) => 75,
        Some(2) => 50,
        _ => 0,
    }
}

/// How many letters were left out, put in, taken for others or swapped with their neighbours; `None` if more than `most`.
fn distance(one: &[char], other: &[char], most: usize) -> Option<usize> {
    if most == 0 || one.len().abs_diff(other.len()) > most {
        return None;
    }
    let width = other.len() + 1;
    let mut before_last = vec![0; width];
    let mut last: Vec<usize> = (0..width).collect();
    let mut previous = None;
    for (row, letter) in one.iter().enumerate() {
        let mut now = Vec::with_capacity(width);
        now.push(row + 1);
        for (column, theirs) in other.iter().enumerate() {
            let at = |line: &[usize], place: usize| line.get(place).copied().unwrap_or(usize::MAX / 2);
            let mut least = at(&last, column) + usize::from(letter != theirs);
            least = least.min(at(&last, column + 1) + 1).min(at(&now, column) + 1);
            let before = column.checked_sub(1).and_then(|place| other.get(place));
            if let (Some(mine), Some(before)) = (previous, before)
                && mine == theirs
                && before == letter
            {
                least = least.min(at(&before_last, column - 1) + 1);
            }
            now.push(least);
        }
        if now.iter().all(|cost| *cost > most) {
            return None;
        }
        before_last = std::mem::replace(&mut last, now);
        previous = Some(letter);
    }
    last.last().copied().filter(|cost| *cost <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn like(wanted: &str, word: &str) -> u8 {
        let letters = |text: &str| text.to_uppercase().chars().collect::<Vec<_>>();
        likeness(&letters(wanted), &letters(word))
    }

    #[test]
    fn words_are_alike() {
        for (wanted, word, score) in [
            ("tea", "tea", 100),
            ("tea", "tee", 0),
            ("tea", "teatime", 75),
            ("te", "tea", 0),
            ("helo", "hello", 75),
            ("helo", "help", 75),
            ("helo", "world", 0),
            ("recieved", "received", 75),
            ("conferense", "konference", 50),
            ("invoices", "invoice", 75),
        ] {
            assert_eq!(like(wanted, word), score, "{wanted} {word}");
        }
    }

    #[test]
    fn texts_have_words_however_they_come() {
        let words = |pieces: &[&str]| {
            let (mut reader, mut words) = (Words::default(), Vec::new());
            let mut take = |word: &[char]| words.push(word.iter().collect::<String>());
            pieces.iter().for_each(|piece| reader.push(piece, &mut take));
            reader.finish(&mut take);
            words
        };
        assert_eq!(
            words(&["Caf\u{e9}, t", "ea-time\u{4f60}\u{597d}x"]),
            ["CAFE", "TEA", "TIME", "\u{4f60}", "\u{597d}", "X"]
        );
        assert_eq!(words(&[&"a".repeat(100_000)]), ["A".repeat(LONGEST)]);
        assert!(words(&["\u{e4} ".repeat(5_000).as_str()]).iter().all(|word| word == "A"));
    }

    #[test]
    fn a_phrase_is_found_with_all_its_words() {
        let phrase = Phrase::new("IMAP break");
        let mut found = phrase.start();
        let mut meet = |word: &str| phrase.meet(&word.chars().collect::<Vec<_>>(), &mut found);
        meet("BREAKS");
        assert_eq!(score(&found), None);
        let mut meet = |word: &str| phrase.meet(&word.chars().collect::<Vec<_>>(), &mut found);
        meet("IMAP");
        assert_eq!(score(&found), Some(95));
        assert!(Phrase::new("!?").exact().is_some());
    }
}
