//! `* SORT`: messages in the order that was asked for (RFC 5256 §4).

use mailwright_mail_model::ModSeq;

use super::{
    Search,
    reader::{Reader, Result},
};
use crate::grammar::Wire;

/// Sequence numbers, or UIDs if UID SORT asked for them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Sort {
    /// The numbers, the first first.
    pub numbers: Vec<u32>,
}

impl Sort {
    /// These numbers.
    pub fn new(numbers: Vec<u32>) -> Self {
        Self { numbers }
    }

    /// Writes the response.
    pub fn encode(&self, wire: &mut impl Wire) {
        Self::encode_numbers(self.numbers.iter().copied(), None, wire);
    }

    /// As [`Search::encode_numbers`].
    pub(crate) fn encode_numbers(
        numbers: impl IntoIterator<Item = u32>,
        mod_seq: Option<ModSeq>,
        wire: &mut impl Wire,
    ) {
        wire.put(b"* SORT");
        Search::put_numbers(numbers, mod_seq, wire);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Search::read(reader).map(|found| Self { numbers: found.numbers })
    }
}

/// Numbers in an order of their own as a set: those that follow each other are a range (RFC 5267 §3.2).
///
/// ```text
/// 5, 2, 3, 4, 9  is  5,2:4,9
/// ```
pub(crate) fn set_of(numbers: impl IntoIterator<Item = u32>) -> String {
    use std::fmt::Write as _;

    let mut text = String::new();
    let mut range: Option<(u32, u32)> = None;
    let mut put = |range: Option<(u32, u32)>| {
        let Some((first, last)) = range else { return };
        if !text.is_empty() {
            text.push(',');
        }
        // Writing to a string never fails.
        let _ = match first == last {
            true => write!(text, "{first}"),
            false => write!(text, "{first}:{last}"),
        };
    };
    for number in numbers {
        range = Some(match range {
            Some((first, last)) if last.checked_add(1) == Some(number) => (first, number),
            other => {
                put(other);
                (number, number)
            }
        });
    }
    put(range);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::{Leniency, Response};

    #[test]
    fn sets_keep_their_order() {
        assert_eq!(set_of([]), "");
        assert_eq!(set_of([5, 2, 3, 4, 9]), "5,2:4,9");
        assert_eq!(set_of([3, 2, 1]), "3,2,1");
        assert_eq!(set_of([u32::MAX, 1]), "4294967295,1");
    }

    #[test]
    fn what_is_written_is_read() {
        for line in ["* SORT 2 84 882\r\n", "* SORT\r\n"] {
            let Ok(Response::Sort(sort)) = Response::parse(line.as_bytes(), Leniency::strict()) else {
                panic!("{line}")
            };
            let mut octets = Vec::new();
            sort.encode(&mut octets);
            assert_eq!(String::from_utf8(octets).unwrap(), line);
        }
        assert!(Response::parse(b"* SORT 0x\r\n", Leniency::tolerant()).is_err());
    }
}
