//! UIDBATCHES: where a client that takes its mailbox in batches begins and ends each.

use crate::grammar::{GrammarError, Input, Wire};

/// The UIDs that the batches of a mailbox begin and end with, from the newest messages to the oldest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct UidBatches {
    /// How many messages are in a batch: above 0.
    pub size: u32,
    /// Which batches are wanted, the first and the last, counted from 1; all if `None`.
    pub range: Option<(u32, u32)>,
}

impl UidBatches {
    /// All batches of so many messages.
    pub fn new(size: u32) -> Self {
        Self { size, range: None }
    }

    /// Those from one to another, counted from 1.
    #[must_use]
    pub fn between(self, one: u32, other: u32) -> Self {
        Self { range: Some((one.min(other), one.max(other))), ..self }
    }

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        let number = |input: &mut Input<'_>| {
            let here = input.clone();
            let number = input.number()?;
            if number == 0 { Err(here.expected("a number above 0")) } else { Ok(number) }
        };
        input.space()?;
        let all = Self::new(number(input)?);
        if !input.eat(b' ') {
            return Ok(all);
        }
        let one = number(input)?;
        input.octet(b':', "a colon")?;
        Ok(all.between(one, number(input)?))
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"UIDBATCHES ");
        wire.put_number(self.size.into());
        if let Some((first, last)) = self.range {
            wire.put(b" ");
            wire.put_number(first.into());
            wire.put(b":");
            wire.put_number(last.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ranges() {
        let parse = |text: &str| {
            let mut input = Input::new(text.as_bytes());
            let batches = UidBatches::parse(&mut input)?;
            input.end().map(|()| batches)
        };
        for (text, batches) in
            [(" 2000", UidBatches::new(2_000)), (" 500 1:10", UidBatches::new(500).between(10, 1))]
        {
            assert_eq!(parse(text).unwrap(), batches);
            let mut wire = Vec::new();
            batches.encode(&mut wire);
            assert_eq!(wire, format!("UIDBATCHES{text}").into_bytes());
        }
        for bad in ["", " 0", " 500 0:1", " 500 1", " 500 1:", " x", " 500 1:2 3"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
