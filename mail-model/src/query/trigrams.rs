//! What an index of texts keeps of a message, so that it can tell which messages need not be searched.

use std::fmt;

use super::message::Search;
use super::{Key, Node, Query};
use crate::collation::fold;
use crate::mime::Scanner;

/// How many runs of three octets there are, one bit for each.
const WORDS: usize = (1 << 24) / 64;

/// Every run of three octets in the text of a message, as a search sees that text: decoded, case apart. A text that a message contains
/// has no run that the message lacks.
///
/// Memory is 3 MiB, whatever the message; time is linear in it.
///
/// ```
/// use mailwright_mail_model::query::{Candidates, Key, Trigrams};
///
/// let mut trigrams = Trigrams::new();
/// trigrams.push(b"Subject: =?utf-8?q?caf=C3=A9?=\r\n\r\nTea time\r\n");
/// let trigrams = trigrams.finish().ok_or("more than anybody writes")?;
/// let may = |key: Key| match Candidates::of(&key.into()) {
///     Some(candidates) => candidates.admit(&|trigram| trigrams.binary_search(&trigram).is_ok()),
///     None => true,
/// };
/// assert!(may(Key::Text("TEA".into())) && may(Key::header("Subject", "CAFÉ")) && !may(Key::Text("coffee".into())));
/// // Too short to say anything about.
/// assert!(may(Key::Text("x".into())));
/// # Ok::<(), &str>(())
/// ```
#[derive(Debug)]
pub struct Trigrams {
    scanner: Scanner,
    search: Search,
    /// How many octets of the header may still come.
    header: usize,
    /// Whether they were not enough.
    too_much: bool,
}

impl Default for Trigrams {
    fn default() -> Self {
        Self::new()
    }
}

impl Trigrams {
    /// The most runs that are told of a message. Few have more.
    pub const MOST: usize = 200_000;
    /// The most octets of a header. Nothing is told of a message with more: what is told of a header must not depend on the limits of
    /// whoever reads it.
    pub const HEADER: usize = 256 * 1024;

    /// Before the first octet of a message.
    pub fn new() -> Self {
        Self {
            scanner: Scanner::default(),
            search: Search::collecting(),
            header: Self::HEADER,
            too_much: false,
        }
    }

    /// The next octets of the message, from the first of its header on.
    pub fn push(&mut self, octets: &[u8]) {
        let (first, rest) = octets.split_at_checked(self.header).unwrap_or((octets, &[]));
        self.scanner.push_to(first, &mut self.search);
        self.header -= first.len();
        if !rest.is_empty() {
            self.too_much |= !self.search.header_seen();
            // What comes now is of the body, or does not matter any more.
            self.scanner.push_to(rest, &mut self.search);
        }
    }

    /// The message has ended: its runs in ascending order, each once, below 2^24. None if there are more than [`Trigrams::MOST`], or
    /// if its header has more than [`Trigrams::HEADER`] octets: then it may contain any text.
    pub fn finish(self) -> Option<Vec<u32>> {
        let Self { scanner, mut search, too_much, .. } = self;
        scanner.finish_to(&mut search);
        search.into_seen().finish().filter(|_| !too_much)
    }
}

/// Which runs have been seen.
pub(super) struct Seen {
    bits: Box<[u64]>,
    /// Each of them once, as they came: a message has a few thousand of sixteen million. One more than are told at most.
    found: Vec<u32>,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen").field("count", &self.found.len()).finish()
    }
}

impl Default for Seen {
    fn default() -> Self {
        Self { bits: vec![0; WORDS].into(), found: Vec::new() }
    }
}

impl Seen {
    /// Those of a stretch of folded text.
    pub(super) fn note(&mut self, folded: &[u8]) {
        for trigram in runs(folded) {
            let bit = 1 << (trigram % 64);
            let Some(word) = self.bits.get_mut(trigram as usize / 64).filter(|word| **word & bit == 0) else {
                continue;
            };
            *word |= bit;
            if self.found.len() <= Trigrams::MOST {
                self.found.push(trigram);
            }
        }
    }

    /// All of them in ascending order, if they are not too many.
    fn finish(mut self) -> Option<Vec<u32>> {
        self.found.sort_unstable();
        (self.found.len() <= Trigrams::MOST).then_some(self.found)
    }
}

fn runs(folded: &[u8]) -> impl Iterator<Item = u32> {
    folded.windows(3).map(|run| run.iter().fold(0, |run, octet| run << 8 | u32::from(*octet)))
}

/// Which messages may answer a query, as far as their [`Trigrams`] tell: all that do, and perhaps others.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Candidates {
    /// Those that have all of these runs, of which there are at least one and at most [`Candidates::MOST`].
    Having(Vec<u32>),
    /// Those that are among all of these.
    All(Vec<Self>),
    /// Those that are among any of these.
    Any(Vec<Self>),
}

impl Candidates {
    /// Of so many runs of a text messages are asked. More would cost more and tell little more.
    pub const MOST: usize = 32;

    /// What a query narrows it to; `None` if any message may answer it. As deep as the query is, which is bounded.
    pub fn of(query: &Query) -> Option<Self> {
        match query.node() {
            Node::Key(Key::Text(text) | Key::Body(text) | Key::Header { text, .. }) => Self::having(text),
            Node::And(queries) => {
                let all: Vec<Self> = queries.iter().filter_map(Self::of).collect();
                (!all.is_empty()).then_some(Self::All(all))
            }
            Node::Or(queries) => queries.iter().map(Self::of).collect::<Option<_>>().map(Self::Any),
            // What is not so, or nearly so, or known without the text.
            _ => None,
        }
    }

    fn having(text: &str) -> Option<Self> {
        let mut folded = Vec::with_capacity(text.len());
        fold(text, &mut folded);
        let runs: Vec<u32> = runs(&folded).collect();
        // From all over the text: what is next to each other comes together anyway.
        let mut wanted: Vec<u32> =
            runs.iter().copied().step_by(runs.len().div_ceil(Self::MOST).max(1)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        (!wanted.is_empty()).then_some(Self::Having(wanted))
    }

    /// Whether a message with these runs is among them.
    pub fn admit(&self, has: &impl Fn(u32) -> bool) -> bool {
        match self {
            Self::Having(wanted) => wanted.iter().all(|trigram| has(*trigram)),
            Self::All(all) => all.iter().all(|some| some.admit(has)),
            Self::Any(any) => any.iter().any(|some| some.admit(has)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(message: &[u8], piece: usize) -> Option<Vec<u32>> {
        let mut trigrams = Trigrams::new();
        message.chunks(piece).for_each(|piece| trigrams.push(piece));
        trigrams.finish()
    }

    fn texts(trigrams: &[u32]) -> Vec<String> {
        let text =
            |trigram: &u32| String::from_utf8_lossy(trigram.to_be_bytes().get(1..).unwrap()).into_owned();
        trigrams.iter().map(text).collect()
    }

    #[test]
    fn runs_are_those_of_the_decoded_text() {
        let message = b"A: =?utf-8?q?x=79?=\r\nContent-Type: multipart/x; boundary=b\r\n\r\nnot\r\n--b\r\n\r\nA=\r\n--b\r\n\
            Content-Transfer-Encoding: base64\r\n\r\nY2Rl\r\n--b--\r\nneither";
        let runs = texts(&of(message, 3).unwrap());
        for run in ["A: ", ": X", "XY\n", "CDE"] {
            assert!(runs.iter().any(|found| found == run), "{run:?} in {runs:?}");
        }
        for run in ["NOT", "NEI", "=\nC", "=CD", "Y2R"] {
            assert!(!runs.iter().any(|found| found == run), "{run:?} in {runs:?}");
        }
    }

    #[test]
    fn what_is_out_of_all_measure_may_be_anything() {
        let header = |octets: usize| format!("A: {}\r\n\r\nbody", "x".repeat(octets));
        for piece in [1_000, usize::MAX] {
            assert!(of(header(Trigrams::HEADER - 100).as_bytes(), piece).is_some());
            assert!(of(header(Trigrams::HEADER + 100).as_bytes(), piece).is_none());
        }
        let all_of = |letters: u8| -> String {
            let letter = |index: u32| char::from(b'!' + u8::try_from(index % u32::from(letters)).unwrap());
            let letters = u32::from(letters);
            let all = (0..letters.pow(3)).flat_map(|n| [n, n / letters, n / letters / letters]);
            "A: b\r\n\r\n".chars().chain(all.map(letter)).collect()
        };
        assert!(of(all_of(50).as_bytes(), 10_000).unwrap().len() >= 125_000);
        assert!(of(all_of(64).as_bytes(), 10_000).is_none());
    }

    #[test]
    fn long_texts_are_asked_for_in_part() {
        let text: String = (0..5_000).map(|number| number.to_string()).collect();
        let Some(Candidates::Having(wanted)) = Candidates::of(&Key::Body(text.as_str().into()).into()) else {
            panic!()
        };
        assert!((Candidates::MOST / 2..=Candidates::MOST).contains(&wanted.len()), "{}", wanted.len());
        let runs = of(format!("\r\n\r\n{text}").as_bytes(), 100).unwrap();
        assert!(wanted.iter().all(|run| runs.binary_search(run).is_ok()));
    }

    #[test]
    fn only_what_must_be_there_narrows() {
        let key = |text: &str| Query::from(Key::Text(text.into()));
        let having = |text: &str| Candidates::of(&key(text)).unwrap();
        let tea = || key("tea");
        assert_eq!(having("Tea"), having("TEA"));
        assert_eq!(Candidates::of(&key("te")), None);
        assert_eq!(Candidates::of(&Query::not(tea()).unwrap()), None);
        assert_eq!(Candidates::of(&Query::fuzzy(tea()).unwrap()), None);
        assert_eq!(Candidates::of(&Query::all()), None);
        let and = Query::and(vec![tea(), Key::Larger(5).into()]).unwrap();
        assert_eq!(Candidates::of(&and), Some(Candidates::All(vec![having("tea")])));
        assert_eq!(Candidates::of(&Query::or(vec![tea(), Key::Larger(5).into()]).unwrap()), None);
        let or = Query::or(vec![tea(), key("cup")]).unwrap();
        assert_eq!(Candidates::of(&or), Some(Candidates::Any(vec![having("tea"), having("cup")])));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn any_split_tells_the_same(message in "[aé:= \r\n-]{0,80}", piece in 1_usize..20) {
            prop_assert_eq!(of(message.as_bytes(), piece), of(message.as_bytes(), usize::MAX));
        }
    }
}
