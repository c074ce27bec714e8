//! The parts that are open where the scanner stands, and the boundary lines that would end them.

use std::collections::BTreeMap;
use std::ops::Bound;

/// A stack of open parts, outermost first. Finding a boundary costs the logarithm of how many are open.
#[derive(Clone, Debug, Default)]
pub(super) struct Boundaries {
    open: Vec<Open>,
    /// The levels at which a boundary is open: several when a message uses one twice.
    levels: BTreeMap<Box<[u8]>, Vec<usize>>,
}

#[derive(Clone, Debug)]
struct Open {
    part: usize,
    boundary: Option<Box<[u8]>>,
    digest: bool,
}

/// What a line that is a boundary does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delimiter {
    /// Starts the next part of the multipart at this level of the stack.
    Next(usize),
    /// Ends the last part of the multipart at this level of the stack.
    Last(usize),
}

impl Boundaries {
    pub(super) fn push(&mut self, part: usize) {
        self.open.push(Open { part, boundary: None, digest: false });
    }

    /// How many parts are open.
    pub(super) const fn depth(&self) -> usize {
        self.open.len()
    }

    /// The innermost open part.
    pub(super) fn top(&self) -> usize {
        self.open.last().map_or(0, |open| open.part)
    }

    /// Whether the innermost part is a multipart/digest.
    pub(super) fn is_digest(&self) -> bool {
        self.open.last().is_some_and(|open| open.digest)
    }

    /// Whether any line could be a boundary.
    pub(super) fn watch(&self) -> bool {
        !self.levels.is_empty()
    }

    /// The innermost part is a multipart with this boundary.
    pub(super) fn set_boundary(&mut self, boundary: &[u8], digest: bool) {
        let level = self.open.len().saturating_sub(1);
        if let Some(open) = self.open.last_mut() {
            open.boundary = Some(boundary.into());
            open.digest = digest;
            self.levels.entry(boundary.into()).or_default().push(level);
        }
    }

    /// What `line`, which begins with two hyphens, does. A line that is a boundary but for white space at its end
    /// is that one, so a boundary that starts another is not taken for it; any other is what it begins with.
    pub(super) fn find(&self, line: &[u8]) -> Option<Delimiter> {
        let name = line.strip_prefix(b"--")?.trim_ascii_end();
        let level = |name: &[u8]| self.levels.get(name).and_then(|levels| levels.last()).copied();
        let next = level(name);
        let last = name.strip_suffix(b"--").and_then(level);
        if last > next {
            return last.map(Delimiter::Last);
        }
        next.map(Delimiter::Next).or_else(|| self.find_start(name))
    }

    /// What a line does that has more behind the boundary. RFC 2046 §5.1.1: "An exact match of the entire candidate
    /// line is not required; it is sufficient that the boundary appear in its entirety following the CRLF." Whoever
    /// sees no part there shows none to a filter, and the mail program of the recipient does.
    fn find_start(&self, name: &[u8]) -> Option<Delimiter> {
        let mut start = name;
        loop {
            let below = (Bound::Unbounded, Bound::Included(start));
            let (boundary, levels) = self.levels.range::<[u8], _>(below).next_back()?;
            if let Some(rest) = name.strip_prefix(&boundary[..]) {
                let level = levels.last().copied();
                return level.map(if rest.starts_with(b"--") { Delimiter::Last } else { Delimiter::Next });
            }
            // What starts `name` and sorts lower starts this one, too: the rounds are no more than its octets.
            let same = boundary.iter().zip(start).take_while(|(one, other)| one == other).count();
            start = start.get(..same)?;
        }
    }

    /// Takes the innermost part off if it lies deeper than `level`.
    pub(super) fn pop_below(&mut self, level: usize) -> Option<usize> {
        if self.open.len() <= level + 1 {
            return None;
        }
        self.pop()
    }

    /// Takes the innermost part off.
    pub(super) fn pop(&mut self) -> Option<usize> {
        let open = self.open.pop()?;
        self.forget(open.boundary.as_deref());
        Some(open.part)
    }

    /// What follows in the multipart at `level` is no longer split.
    pub(super) fn close(&mut self, level: usize) {
        let boundary = self.open.get_mut(level).and_then(|open| open.boundary.take());
        self.forget(boundary.as_deref());
    }

    /// Nothing that follows is split.
    pub(super) fn clear(&mut self) {
        self.levels.clear();
        self.open.iter_mut().for_each(|open| open.boundary = None);
    }

    fn forget(&mut self, boundary: Option<&[u8]>) {
        let Some(boundary) = boundary else { return };
        let Some(levels) = self.levels.get_mut(boundary) else { return };
        levels.pop();
        if levels.is_empty() {
            self.levels.remove(boundary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(boundaries: &[&str]) -> Boundaries {
        let mut open = Boundaries::default();
        for (part, boundary) in boundaries.iter().enumerate() {
            open.push(part);
            open.set_boundary(boundary.as_bytes(), false);
        }
        open
    }

    #[test]
    fn a_line_that_is_a_boundary_is_no_shorter_one() {
        let open = open(&["a", "ab", "a--"]);
        assert_eq!(open.find(b"--a"), Some(Delimiter::Next(0)));
        assert_eq!(open.find(b"--ab \t\r"), Some(Delimiter::Next(1)));
        assert_eq!(open.find(b"--a--"), Some(Delimiter::Next(2)));
        assert_eq!(open.find(b"--a----"), Some(Delimiter::Last(2)));
        assert_eq!(open.find(b"--ab--"), Some(Delimiter::Last(1)));
        for line in ["--", "--A", "-- a", "a"] {
            assert_eq!(open.find(line.as_bytes()), None, "{line}");
        }
    }

    /// RFC 2046 §5.1.1.
    #[test]
    fn what_stands_behind_a_boundary_does_not_hide_it() {
        let open = open(&["a", "ab", "abcz", "a-"]);
        assert_eq!(open.find(b"--abcd"), Some(Delimiter::Next(1)));
        assert_eq!(open.find(b"--abcz x"), Some(Delimiter::Next(2)));
        assert_eq!(open.find(b"--ac"), Some(Delimiter::Next(0)));
        assert_eq!(open.find(b"--a x--"), Some(Delimiter::Next(0)));
        assert_eq!(open.find(b"--ab--x\r"), Some(Delimiter::Last(1)));
        assert_eq!(open.find(b"--ab-- --"), Some(Delimiter::Last(1)));
        assert_eq!(open.find(b"--a--"), Some(Delimiter::Last(0)));
        assert_eq!(open.find(b"--a--x"), Some(Delimiter::Next(3)));
        assert_eq!(open.find(b"--\xff"), None);
        assert_eq!(open.find(b"--A"), None);
    }

    /// Every boundary that sorts below the line is looked at, and none of them starts it but the first.
    #[test]
    fn the_longest_start_is_found_among_many() {
        let names: Vec<_> = (1..80).map(|length| format!("{}a", "b".repeat(length))).collect();
        let mut names: Vec<_> = names.iter().map(String::as_str).collect();
        names.push("b");
        let open = open(&names);
        assert_eq!(open.find(format!("--{}", "b".repeat(1000)).as_bytes()), Some(Delimiter::Next(79)));
        assert_eq!(open.find(format!("--{}ac", "b".repeat(7)).as_bytes()), Some(Delimiter::Next(6)));
    }

    #[test]
    fn the_innermost_of_equal_boundaries_is_meant() {
        let mut open = open(&["x", "x", "x"]);
        assert_eq!(open.find(b"--x--"), Some(Delimiter::Last(2)));
        open.close(2);
        assert_eq!(open.find(b"--x"), Some(Delimiter::Next(1)));
        assert_eq!((open.pop_below(1), open.pop_below(1)), (Some(2), None));
        assert_eq!(open.depth(), 2);
        open.clear();
        assert!(!open.watch());
    }
}
