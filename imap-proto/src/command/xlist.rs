//! XLIST, by which Gmail told special uses before RFC 6154 had names for them: clients of those days still ask so.

use super::List;
use crate::grammar::{GrammarError, Input, Wire};

/// Which mailboxes are there, and what for? As [`List`] without options; special uses have their old names in the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Xlist {
    /// Reference and pattern.
    pub list: List,
}

impl Xlist {
    /// Asks for the mailboxes that match.
    pub fn new(list: List) -> Self {
        Self { list }
    }

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        Ok(Self { list: List::parse_plain(input)? })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"XLIST ");
        self.list.encode_arguments(wire);
    }
}
