//! What a row of the table of commands says, and how the row of a name is found.

use super::{Command, SearchContext, TABLE};
use crate::grammar::{GrammarError, Input};

/// When a command is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// At any time.
    Always,
    /// Before login.
    NotAuthenticated,
    /// After login, with a mailbox selected or without.
    Authenticated,
    /// With a mailbox selected.
    Selected,
}

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Spec {
    /// The name, with `UID` before it if that is part of it.
    pub(crate) name: &'static str,
    /// The same as a number.
    key: u128,
    /// When it is allowed.
    pub(crate) when: When,
    /// What it means or answers depends on sequence numbers, so that no message may be announced as expunged
    /// while it runs (RFC 9051 §7.5.1) and it cannot start before such announcements are made.
    pub(crate) uses_seqs: bool,
    /// It changes nothing, so that others that change nothing may run beside it (RFC 3501 §5.5).
    pub(crate) reads: bool,
    parse: Parse,
}

type Parse = fn(&mut Input<'_>, SearchContext<'_>) -> Result<Command, GrammarError>;

impl Spec {
    /// Whether the client names messages by sequence numbers, or is told them.
    pub(crate) fn names_seqs(&self) -> bool {
        self.uses_seqs || matches!(self.name, "COPY" | "MOVE")
    }
}

pub(super) const fn row(name: &'static str, when: When, uses_seqs: bool, reads: bool, parse: Parse) -> Spec {
    let key = match name.as_bytes() {
        [b'U', b'I', b'D', b' ', name @ ..] => key(name, true),
        name => key(name, false),
    };
    Spec { name, key, when, uses_seqs, reads, parse }
}

/// A name of at most fifteen octets as one number, the same for both cases of its letters; 0 for any other.
pub(super) const fn key(name: &[u8], by_uid: bool) -> u128 {
    let (mut rest, mut key) = (name, by_uid as u128);
    if rest.len() > 15 {
        return 0;
    }
    while let [octet, after @ ..] = rest {
        // Of the octets of atoms, only the two cases of a letter become that letter with this bit.
        key = (key << 8) | (*octet | 0x20) as u128;
        rest = after;
    }
    key
}

/// The rows of the table, each at the [`place`] of its key or the next free one.
static PLACES: [Option<&Spec>; 256] = {
    let mut places = [None; 256];
    let mut rows = TABLE.as_slice();
    // Evaluated when the crate is built, where no place is above the last.
    #[allow(clippy::indexing_slicing)]
    while let [row, rest @ ..] = rows {
        let mut place = place(row.key);
        while places[place as usize].is_some() {
            place = place.wrapping_add(1);
        }
        places[place as usize] = Some(row);
        rows = rest;
    }
    places
};

/// Where a key is looked for first.
const fn place(key: u128) -> u8 {
    let folded = (key ^ (key >> 64)) as u64;
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

impl Spec {
    /// Takes the name of a command from the front, `UID` and the name behind it together, and finds its row.
    pub(crate) fn find(input: &mut Input<'_>) -> Result<&'static Self, GrammarError> {
        let before = input.clone();
        let by_uid = input.keyword("UID");
        if by_uid {
            input.space()?;
        }
        let key = key(input.word()?, by_uid);
        let mut place = place(key);
        while let Some(Some(spec)) = PLACES.get(usize::from(place)) {
            if spec.key == key {
                return Ok(spec);
            }
            place = place.wrapping_add(1);
        }
        Err(before.expected("a command"))
    }

    /// Takes the arguments, to the end of the command.
    pub(crate) fn parse(
        &self,
        input: &mut Input<'_>,
        context: SearchContext<'_>,
    ) -> Result<Command, GrammarError> {
        // Changed in place: a command is large.
        let mut parsed = (self.parse)(input, context);
        // What ends with the mark of a message's literal has taken it.
        if parsed.is_ok()
            && let Err(error) = input.end()
        {
            parsed = Err(error);
        }
        parsed
    }
}
