//! `* n EXISTS`, `* n RECENT` and `* n EXPUNGE`: a number before its name.

use std::num::NonZeroU32;

use crate::grammar::Wire;

/// Writes `* n EXISTS` (RFC 9051 §7.4.1).
pub fn encode_exists(messages: u32, wire: &mut impl Wire) {
    encode(messages, b" EXISTS\r\n", wire);
}

/// Writes `* n RECENT` (RFC 3501 §7.3.2).
pub fn encode_recent(messages: u32, wire: &mut impl Wire) {
    encode(messages, b" RECENT\r\n", wire);
}

/// Writes `* n EXPUNGE` (RFC 9051 §7.5.1).
pub fn encode_expunge(sequence: NonZeroU32, wire: &mut impl Wire) {
    encode(sequence.get(), b" EXPUNGE\r\n", wire);
}

fn encode(number: u32, rest: &[u8], wire: &mut impl Wire) {
    wire.put(b"* ");
    wire.put_number(number.into());
    wire.put(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::{Leniency, Response};

    #[test]
    fn numbers_before_names() {
        let mut octets = Vec::new();
        encode_exists(0, &mut octets);
        assert_eq!(octets, b"* 0 EXISTS\r\n");
        assert_eq!(Response::parse(&octets, Leniency::strict()), Ok(Response::Exists(0)));
        octets.clear();
        encode_recent(u32::MAX, &mut octets);
        assert_eq!(Response::parse(&octets, Leniency::strict()), Ok(Response::Recent(u32::MAX)));
        octets.clear();
        encode_expunge(NonZeroU32::MIN, &mut octets);
        assert_eq!(Response::parse(&octets, Leniency::strict()), Ok(Response::Expunge(NonZeroU32::MIN)));
        for bad in ["* 0 EXPUNGE", "* -1 EXISTS", "* 4294967296 EXISTS", "* 1EXISTS", "* 1 EXISTSX"] {
            assert!(Response::parse(format!("{bad}\r\n").as_bytes(), Leniency::tolerant()).is_err(), "{bad}");
        }
    }
}
