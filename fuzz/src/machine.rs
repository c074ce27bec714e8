//! Any machine against any octets.

use mailwright_line_proto::testing::{Pace, Subject, run_input};

/// How much of the input of one run is used. Larger input finds nothing more, and replies to it would pass
/// what may wait to be sent, where a machine's pace depends on its driver's.
const MOST_INPUT: usize = 8 * 1024;

/// What a target for a machine makes of its octets: `[split] [choice; 7] [what the peer sends…]`.
#[derive(Debug, Clone)]
pub(crate) struct Plan<'a> {
    /// The input comes in pieces of so many octets.
    split: usize,
    /// What the application does, in turn.
    pub(crate) choices: Choices,
    input: &'a [u8],
}

impl<'a> Plan<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Option<Self> {
        let (split, rest) = data.split_first()?;
        let (choices, input) = rest.split_first_chunk::<7>()?;
        let input = input.get(..MOST_INPUT).unwrap_or(input);
        Some(Self { split: 1 + usize::from(*split), choices: Choices { all: *choices, next: 0 }, input })
    }

    /// Plays the plan twice, whole and in pieces; the harness checks the laws that can be seen from outside.
    ///
    /// # Panics
    /// If a law is broken, or the two sessions differ.
    pub(crate) fn play<S: Subject>(&self, make: impl Fn() -> S) {
        let whole = run_input(&mut make(), self.input, Pace::default(), true);
        let pieces = run_input(&mut make(), self.input, Pace { split: self.split, lazy: false }, true);
        // Octets behind STARTTLS may come too early in one of them and just in time in the other.
        if whole.layers.is_empty() && pieces.layers.is_empty() {
            assert_eq!(whole.seen, pieces.seen, "the split of the input matters");
            let text = |sent: &[u8]| String::from_utf8_lossy(sent).into_owned();
            assert_eq!(text(&whole.sent), text(&pieces.sent), "the split of the input matters");
        }
    }
}

/// An endless stream of choices.
#[derive(Debug, Clone)]
pub(crate) struct Choices {
    all: [u8; 7],
    next: usize,
}

impl Choices {
    /// The next one, below `bound`.
    pub(crate) fn below(&mut self, bound: u8) -> u8 {
        let choice = self.all.get(self.next).copied().unwrap_or_default();
        self.next = (self.next + 1) % self.all.len();
        choice % bound
    }
}
