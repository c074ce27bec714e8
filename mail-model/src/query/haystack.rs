//! Finding texts in a text that comes in pieces, case apart.

use memchr::memmem::Finder;

use crate::collation::fold;

/// How much text is gathered before it is searched, in octets.
const GATHER: usize = 16 * 1024;

/// A text to find: folded, with its searcher built once.
#[derive(Clone, Debug)]
pub(super) struct Needle(Finder<'static>);

impl Needle {
    pub(super) fn new(text: &str) -> Self {
        let mut folded = Vec::with_capacity(text.len());
        fold(text, &mut folded);
        Self(Finder::new(&folded).into_owned())
    }

    /// Whether `folded` contains the text. Linear time.
    pub(super) fn is_in(&self, folded: &[u8]) -> bool {
        self.0.find(folded).is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.0.needle().len()
    }
}

/// The folded text between what was searched and what is yet to come.
#[derive(Clone, Debug, Default)]
pub(super) struct Haystack {
    folded: Vec<u8>,
}

impl Haystack {
    /// Takes the next piece of a text; `search` is called with stretches of it that overlap by `longest` octets
    /// but one, so that it meets every occurrence of a needle at most that long.
    pub(super) fn push(&mut self, text: &str, longest: usize, search: impl FnMut(&[u8])) {
        fold(text, &mut self.folded);
        // At least as much anew as is kept, or small pieces would have it searched again and again.
        if self.folded.len() >= GATHER.max(longest.saturating_mul(2)) {
            self.search(longest.saturating_sub(1), search);
        }
    }

    /// Another text comes; what was not searched of this one never will be.
    pub(super) fn clear(&mut self) {
        self.folded.clear();
    }

    /// The text has ended; the next one is another.
    pub(super) fn finish(&mut self, search: impl FnMut(&[u8])) {
        if !self.folded.is_empty() {
            self.search(0, search);
        }
    }

    fn search(&mut self, keep: usize, mut search: impl FnMut(&[u8])) {
        search(&self.folded);
        let searched = self.folded.len().saturating_sub(keep);
        self.folded.drain(..searched);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_split_finds_the_same(
            text in "[abé]{0,60}",
            needle in "[abAÉ]{1,6}",
            fill in prop::sample::select(vec![0_usize, GATHER - 20, GATHER, 2 * GATHER - 10]),
            piece in 1_usize..40,
        ) {
            let text = "x".repeat(fill) + &text;
            let needle = Needle::new(&needle);
            let characters: Vec<char> = text.chars().collect();
            let mut haystack = Haystack::default();
            let mut found = false;
            for piece in characters.chunks(piece) {
                let piece: String = piece.iter().collect();
                haystack.push(&piece, needle.len(), |folded| found |= needle.is_in(folded));
                prop_assert!(haystack.folded.len() < GATHER + 40 * 2);
            }
            haystack.finish(|folded| found |= needle.is_in(folded));
            prop_assert_eq!(found, needle.is_in(crate::collation::folded(&text).as_bytes()));
        }
    }
}
