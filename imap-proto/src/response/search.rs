//! `* SEARCH`: the numbers found.

use mailwright_mail_model::ModSeq;

use super::reader::{Reader, Result};
use crate::grammar::Wire;

/// Sequence numbers, or UIDs if UID SEARCH asked for them (RFC 3501 §7.2.5).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Search {
    /// The numbers, in the server's order.
    pub numbers: Vec<u32>,
}

impl Search {
    /// These numbers.
    pub fn new(numbers: Vec<u32>) -> Self {
        Self { numbers }
    }

    /// Writes the response.
    pub fn encode(&self, wire: &mut impl Wire) {
        Self::encode_numbers(self.numbers.iter().copied(), None, wire);
    }

    /// Writes the response from numbers that are nowhere collected, with the highest mod-sequence of those messages if that was
    /// asked for (RFC 7162 §3.1.5).
    pub fn encode_numbers(
        numbers: impl IntoIterator<Item = u32>,
        mod_seq: Option<ModSeq>,
        wire: &mut impl Wire,
    ) {
        wire.put(b"* SEARCH");
        Self::put_numbers(numbers, mod_seq, wire);
    }

    /// What follows the word.
    pub(super) fn put_numbers(
        numbers: impl IntoIterator<Item = u32>,
        mod_seq: Option<ModSeq>,
        wire: &mut impl Wire,
    ) {
        for number in numbers {
            wire.put(b" ");
            wire.put_number(number.into());
        }
        if let Some(mod_seq) = mod_seq {
            wire.put(b" (MODSEQ ");
            wire.put_number(mod_seq.get());
            wire.put(b")");
        }
        wire.put(b"\r\n");
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let mut numbers = Vec::new();
        while reader.input.peek() == Some(b' ') {
            reader.space()?;
            if reader.input.is_empty() && reader.leniency.spaces {
                break;
            }
            // RFC 7162 §3.1.5: a mod-sequence may follow; it is of no use without CONDSTORE.
            if reader.input.peek() == Some(b'(') {
                reader.skip_value()?;
                continue;
            }
            numbers.push(reader.number()?);
        }
        Ok(Self { numbers })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::response::{Leniency, Response};

    proptest! {
        #[test]
        fn what_is_written_is_read(numbers in prop::collection::vec(any::<u32>(), 0..20)) {
            let search = Search::new(numbers);
            let mut octets = Vec::new();
            search.encode(&mut octets);
            prop_assert_eq!(Response::parse(&octets, Leniency::strict()), Ok(Response::Search(search)));
        }
    }

    #[test]
    fn spaces_and_mod_sequences() {
        let read = |text: &[u8]| Response::parse(text, Leniency::tolerant());
        let one = Ok(Response::Search(Search::new(vec![1])));
        assert_eq!(read(b"* SEARCH 1 \r\n"), one);
        assert_eq!(read(b"* SEARCH 1 (MODSEQ 9)\r\n"), one);
        assert_eq!(read(b"* SEARCH \r\n"), Ok(Response::Search(Search::default())));
        assert!(read(b"* SEARCH x\r\n").is_err());
    }
}
