//! How much memory a regular expression takes at most once it is built, which is far more work than to find that out.

use regex_syntax::{
    hir::{Class, Hir, HirKind},
    utf8::Utf8Sequences,
};

/// No fewer octets than what is built of an expression takes, in either direction.
pub(super) fn octets(hir: &Hir) -> usize {
    of_states(states(hir))
}

const fn of_states(states: usize) -> usize {
    /// Of one state, with the ways out of it.
    const STATE: usize = 128;
    /// The search for where a match begins, the whole match, and its end.
    const AROUND: usize = 8;
    states.saturating_add(AROUND).saturating_mul(STATE)
}

/// No fewer states than Thompson's construction makes. Its depth is that of the expression, which is limited.
fn states(hir: &Hir) -> usize {
    let sum = |of: &[Hir], each: usize| {
        of.iter().fold(2_usize, |sum, hir| sum.saturating_add(states(hir)).saturating_add(each))
    };
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        // Literals that are alternatives become a tree, with two states where they part.
        HirKind::Literal(literal) => literal.0.len().saturating_mul(3),
        HirKind::Class(Class::Bytes(class)) => class.ranges().len().saturating_add(2),
        HirKind::Class(Class::Unicode(class)) => {
            let octets = class.iter().flat_map(|range| Utf8Sequences::new(range.start(), range.end()));
            octets.fold(2, |sum: usize, sequence| sum.saturating_add(sequence.len()))
        }
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min).max(1);
            let once = states(&repetition.sub).saturating_add(2);
            once.saturating_mul(usize::try_from(times).unwrap_or(usize::MAX)).saturating_add(2)
        }
        HirKind::Capture(capture) => states(&capture.sub).saturating_add(2),
        HirKind::Concat(all) => sum(all, 0),
        HirKind::Alternation(all) => sum(all, 2),
    }
}

/// No fewer octets than [`octets`] of what a key means, with or without regard to case, if the key is of the simple kind that people mostly
/// write: ASCII, without flags, named classes and classes of what is not meant. Such a key is right, too. `None` for any other: to read
/// it as a whole takes far longer.
pub(super) fn simple_octets(key: &str) -> Option<usize> {
    let mut look = Look { rest: key.as_bytes(), depth: 0 };
    let states = look.alternatives()?;
    look.rest.is_empty().then(|| of_states(states))
}

/// A letter in either case, of which some have a relative outside of ASCII.
const LETTER: usize = 8;
/// Both cases of both ends of a range, and the two relatives outside of ASCII.
const RANGE: usize = 2 * LETTER;
/// Any character but a line end, in UTF-8.
const ANY: usize = 40;
/// How deep groups may be within one another here: well below what is allowed anywhere.
const DEPTH: usize = 10;

/// Goes over a simple expression, and says of each part of it how many states it takes at most; `None` where it is not simple.
struct Look<'k> {
    rest: &'k [u8],
    depth: usize,
}

impl Look<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn take(&mut self, octet: u8) -> bool {
        let found = self.rest.first() == Some(&octet);
        if found {
            self.next();
        }
        found
    }

    /// Up to the end, or to the `)` of a group.
    fn alternatives(&mut self) -> Option<usize> {
        let mut states = 2_usize;
        loop {
            states = states.saturating_add(self.sequence()?).saturating_add(2);
            if !self.take(b'|') {
                return Some(states);
            }
        }
    }

    fn sequence(&mut self) -> Option<usize> {
        let mut states = 2_usize;
        while self.rest.first().is_some_and(|octet| !matches!(octet, b'|' | b')')) {
            states = states.saturating_add(self.item()?);
        }
        Some(states)
    }

    fn item(&mut self) -> Option<usize> {
        let once = match self.next()? {
            b'^' | b'$' => return (!self.is_repeated()).then_some(1),
            b'.' => ANY,
            b'(' => self.group()?,
            b'[' => self.class()?,
            b'\\' => self.escaped()?,
            octet if octet.is_ascii_alphanumeric() || b" !\"#%&',-/:;<=>@_`~".contains(&octet) => LETTER,
            _ => return None,
        };
        let times = match self.rest.first() {
            Some(b'*' | b'+' | b'?') => {
                self.next();
                1
            }
            Some(b'{') => self.times()?,
            _ => return Some(once),
        };
        // As few as will do.
        self.take(b'?');
        let states = once.saturating_add(2).saturating_mul(times.max(1)).saturating_add(2);
        (!self.is_repeated()).then_some(states)
    }

    fn is_repeated(&self) -> bool {
        matches!(self.rest.first(), Some(b'*' | b'+' | b'?' | b'{'))
    }

    /// What follows `\`: a character that would have a meaning without.
    fn escaped(&mut self) -> Option<usize> {
        b"\\.+*?()|[]{}^$#&-~".contains(&self.next()?).then_some(LETTER)
    }

    /// What follows `(`, and the `)`.
    fn group(&mut self) -> Option<usize> {
        if self.take(b'?') && !self.take(b':') || self.depth == DEPTH {
            return None;
        }
        self.depth += 1;
        let states = self.alternatives()?;
        self.depth -= 1;
        self.take(b')').then(|| states.saturating_add(2))
    }

    /// What follows `[`, and the `]`.
    fn class(&mut self) -> Option<usize> {
        let mut states = 2_usize;
        loop {
            let one = match self.next()? {
                b'\\' => self.escaped()?,
                // The last one stands for itself.
                b'-' if states > 2 && self.rest.first() == Some(&b']') => LETTER,
                first if first.is_ascii_alphanumeric() => match self.rest {
                    [b'-', last, rest @ ..] if *last != b']' => {
                        self.rest = rest;
                        (last.is_ascii_alphanumeric() && first <= *last).then_some(RANGE)?
                    }
                    _ => LETTER,
                },
                octet if b" !\"#%',/:;<=>@_`.+*?()|{}$".contains(&octet) => LETTER,
                b']' if states > 2 => return Some(states),
                _ => return None,
            };
            states = states.saturating_add(one);
        }
    }

    /// `{n}`, `{n,}` or `{n,m}`: the most of them that are told.
    fn times(&mut self) -> Option<usize> {
        self.take(b'{');
        let least = self.number()?;
        let most = match self.take(b',') && self.rest.first() != Some(&b'}') {
            true => self.number()?,
            false => least,
        };
        (self.take(b'}') && least <= most).then_some(most)
    }

    fn number(&mut self) -> Option<usize> {
        /// Nobody means more.
        const DIGITS: usize = 4;
        let length = self.rest.iter().take_while(|octet| octet.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at_checked(length).filter(|_| length <= DIGITS)?;
        self.rest = rest;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }
}
