//! Words with dots between them, octet by octet: what local parts and names nearly always are.

/// Between two words, or before the first.
const DOT: u8 = 1;
/// Anywhere in a word.
const LETTER: u8 = 2;
/// In a word, but not at its ends.
const HYPHEN: u8 = 4;
/// A letter that has a lower case.
const UPPER: u8 = 8;

/// What an octet is, and behind what it may stand.
#[derive(Clone, Copy)]
struct Octet {
    is: u8,
    behind: u8,
}

/// What every octet is.
pub(super) struct Grammar([Octet; 256]);

/// The front of a text that follows a grammar.
pub(super) struct Run {
    length: usize,
    last: u8,
    seen: u8,
}

macro_rules! grammar {
    ($($octets:pat => $is:expr, behind $behind:expr;)*) => {{
        let mut table = [Octet { is: 0, behind: 0 }; 256];
        let (mut rest, mut octet): (&mut [Octet], u8) = (&mut table, 0);
        while let [entry, after @ ..] = rest {
            *entry = match octet {
                $($octets => Octet { is: $is, behind: $behind },)*
                _ => Octet { is: 0, behind: 0 },
            };
            octet = octet.wrapping_add(1);
            rest = after;
        }
        Grammar(table)
    }};
}

/// RFC 5321 §4.1.2 `Dot-string`, of RFC 5322 §3.2.3 `atext`.
pub(super) static LOCAL: Grammar = grammar! {
    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'/' | b'=' | b'?'
        | b'^'..=b'`' | b'{'..=b'~' => LETTER, behind DOT | LETTER;
    b'.' => DOT, behind LETTER;
};

/// RFC 5321 §4.1.2 `Domain`.
pub(super) static NAME: Grammar = grammar! {
    b'a'..=b'z' | b'0'..=b'9' => LETTER, behind DOT | LETTER | HYPHEN;
    b'A'..=b'Z' => LETTER | UPPER, behind DOT | LETTER | HYPHEN;
    b'-' => HYPHEN, behind LETTER | HYPHEN;
    b'.' => DOT, behind LETTER;
};

impl Grammar {
    /// How much of a text there is before an octet that must not stand where it stands.
    pub(super) fn run(&self, octets: &[u8]) -> Run {
        let mut run = Run { length: 0, last: DOT, seen: 0 };
        for octet in octets {
            match self.octet(*octet) {
                Octet { is, behind } if behind & run.last != 0 => {
                    run = Run { length: run.length + 1, last: is, seen: run.seen | is };
                }
                _ => break,
            }
        }
        run
    }

    /// Whether words may have this octet.
    pub(super) fn is_letter(&self, octet: u8) -> bool {
        self.octet(octet).is & LETTER != 0
    }

    fn octet(&self, octet: u8) -> Octet {
        // There is one of each.
        self.0.get(usize::from(octet)).copied().unwrap_or(Octet { is: 0, behind: 0 })
    }
}

impl Run {
    /// How long it is, if it ends as a word does.
    pub(super) fn length(&self) -> Option<usize> {
        (self.last & LETTER != 0).then_some(self.length)
    }

    /// Whether there are letters in it that have a lower case.
    pub(super) fn has_upper(&self) -> bool {
        self.seen & UPPER != 0
    }
}
