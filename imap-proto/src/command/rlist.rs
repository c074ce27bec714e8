//! RLIST and RLSUB (RFC 2193 §5): LIST and LSUB for clients that follow referrals.

use super::List;
use crate::grammar::{GrammarError, Input, Wire};

/// Which mailboxes are there, here and on other servers?
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rlist {
    /// Reference and pattern.
    pub list: List,
}

/// Which mailboxes is the user subscribed to, here and on other servers?
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rlsub {
    /// Reference and pattern.
    pub list: List,
}

impl Rlist {
    /// Asks for the mailboxes that match.
    pub fn new(list: List) -> Self {
        Self { list }
    }

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        Ok(Self { list: List::parse_plain(input)? })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"RLIST ");
        self.list.encode_arguments(wire);
    }
}

impl Rlsub {
    /// Asks for the subscribed names that match.
    pub fn new(list: List) -> Self {
        Self { list }
    }

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        Ok(Self { list: List::parse_plain(input)? })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"RLSUB ");
        self.list.encode_arguments(wire);
    }
}
