//! LSUB (RFC 3501 §6.3.9).

use super::List;
use crate::grammar::{GrammarError, Input, Wire};

/// Which mailboxes is the user subscribed to?
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lsub {
    /// Reference and pattern.
    pub list: List,
}

impl Lsub {
    /// Asks for the subscribed names that match.
    pub fn new(list: List) -> Self {
        Self { list }
    }

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        Ok(Self { list: List::parse_plain(input)? })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"LSUB ");
        self.list.encode_arguments(wire);
    }
}
