//! SELECT and EXAMINE (RFC 3501 §6.3.1, §6.3.2), with the parameters of CONDSTORE and QRESYNC (RFC 7162 §3.1.8, §3.2.5) and of ANNOTATE
//! (RFC 5257 §4.2).

use bytes::Bytes;
use mailwright_mail_model::{MailboxName, ModSeq, Uid, UidSet, UidValidity};

use crate::{
    SequenceSet,
    grammar::{GrammarError, Input, Wire},
    response::ListedName,
};

/// Opens a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Select {
    /// Which.
    pub mailbox: MailboxName,
    /// What a client sends in place of that: the octets of a name that the server lists and that is none here, as they came.
    pub as_listed: Option<Bytes>,
    /// EXAMINE: nothing may change, not even by reading.
    pub read_only: bool,
    /// `CONDSTORE`: mod-sequences are wanted from now on.
    pub mod_sequences: bool,
    /// `ANNOTATE`: changes of annotations by others are to be told (RFC 5257 §4.2).
    pub annotations: bool,
    /// `QRESYNC`: what happened since the client saw the mailbox last is to be told at once.
    pub resync: Option<Resync>,
}

/// What a client knows of a mailbox it saw before (RFC 7162 §3.2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resync {
    /// The validity of its UIDs: under another, all that follows means nothing.
    pub uid_validity: UidValidity,
    /// The highest mod-sequence it knows.
    pub mod_seq: ModSeq,
    /// The messages it knows; all that there were if `None`.
    pub known: Option<UidSet>,
    /// Some sequence numbers and the UIDs they had, in ascending order: expunges below them need not be looked for. Both
    /// sets are as long as each other.
    pub matches: Option<(UidSet, UidSet)>,
}

impl Resync {
    /// Since this mod-sequence.
    pub fn new(uid_validity: UidValidity, mod_seq: ModSeq) -> Self {
        Self { uid_validity, mod_seq, known: None, matches: None }
    }

    fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        input.octet(b'(', "an opening parenthesis")?;
        let here = input.clone();
        let validity =
            UidValidity::new(input.number()?).ok_or_else(|| here.expected("a UIDVALIDITY above 0"))?;
        input.space()?;
        let mut resync = Self::new(validity, mod_seq(input)?);
        if input.peek() == Some(b' ') && input.rest().get(1) != Some(&b'(') {
            input.space()?;
            resync.known = Some(numbers(input)?);
        }
        if input.eat(b' ') {
            input.octet(b'(', "an opening parenthesis")?;
            let sequences = numbers(input)?;
            input.space()?;
            let here = input.clone();
            let uids = numbers(input)?;
            if sequences.len() != uids.len() {
                return Err(here.expected("as many UIDs as sequence numbers"));
            }
            input.octet(b')', "a closing parenthesis")?;
            resync.matches = Some((sequences, uids));
        }
        input.octet(b')', "a closing parenthesis")?;
        Ok(resync)
    }

    fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"QRESYNC (");
        wire.put_number(self.uid_validity.get().into());
        wire.put(b" ");
        wire.put_number(self.mod_seq.get());
        if let Some(known) = &self.known {
            wire.put(b" ");
            wire.put_display(known);
        }
        if let Some((sequences, uids)) = &self.matches {
            wire.put(b" (");
            wire.put_display(sequences);
            wire.put(b" ");
            wire.put_display(uids);
            wire.put(b")");
        }
        wire.put(b")");
    }
}

/// A set without `*` and `$`.
fn numbers(input: &mut Input<'_>) -> Result<UidSet, GrammarError> {
    let here = input.clone();
    let set = SequenceSet::parse(input)?;
    let numbers = set.numbers_to(Uid::MAX);
    if set.is_saved()
        || here.rest().get(..here.rest().len() - input.rest().len()).is_some_and(|text| text.contains(&b'*'))
    {
        return Err(here.expected("numbers"));
    }
    Ok(numbers)
}

/// A mod-sequence above 0.
pub(super) fn mod_seq(input: &mut Input<'_>) -> Result<ModSeq, GrammarError> {
    let here = input.clone();
    let number = input.number64()?;
    ModSeq::new(number).filter(|_| number > 0).ok_or_else(|| here.expected("a mod-sequence above 0"))
}

impl Select {
    /// Opens this mailbox.
    pub fn new(mailbox: MailboxName, read_only: bool) -> Self {
        let (as_listed, resync) = (None, None);
        Self { mailbox, as_listed, read_only, mod_sequences: false, annotations: false, resync }
    }

    /// Opens a mailbox by the name that the server lists it under, whether that is one here or not.
    pub fn listed(name: &ListedName, read_only: bool) -> Self {
        match name {
            ListedName::Name(name) => Self::new(name.clone(), read_only),
            ListedName::Other(octets) => {
                Self { as_listed: Some(octets.clone()), ..Self::new(MailboxName::inbox(), read_only) }
            }
        }
    }

    pub(super) fn parse_select(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        input.space()?;
        let mut select = Self::new(input.mailbox()?, false);
        if input.eat(b' ') {
            input.list("parameters", 16, |input| {
                if input.keyword("CONDSTORE") {
                    select.mod_sequences = true;
                } else if input.keyword("ANNOTATE") {
                    select.annotations = true;
                } else if input.keyword("QRESYNC") {
                    input.space()?;
                    select.resync = Some(Resync::parse(input)?);
                } else {
                    return Err(input.expected("CONDSTORE, QRESYNC or ANNOTATE"));
                }
                Ok(())
            })?;
        }
        Ok(select)
    }

    pub(super) fn parse_examine(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        Ok(Self { read_only: true, ..Self::parse_select(input)? })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(if self.read_only { b"EXAMINE " } else { b"SELECT " });
        match &self.as_listed {
            Some(octets) => wire.put_astring(octets),
            None => wire.put_mailbox(&self.mailbox),
        }
        let mut before: &[u8] = b" (";
        for (wanted, word) in [(self.mod_sequences, b"CONDSTORE"), (self.annotations, b"ANNOTATE ")] {
            if wanted {
                wire.put(std::mem::replace(&mut before, b" "));
                wire.put(word.trim_ascii_end());
            }
        }
        if let Some(resync) = &self.resync {
            wire.put(std::mem::replace(&mut before, b" "));
            resync.encode(wire);
        }
        if before == b" " {
            wire.put(b")");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_goes_back_as_it_was_listed() {
        let written = |name: &ListedName| {
            let mut wire = Vec::new();
            Select::listed(name, true).encode(&mut wire);
            String::from_utf8(wire).unwrap()
        };
        assert_eq!(written(&ListedName::Name(MailboxName::new("A&B").unwrap())), "EXAMINE A&-B");
        assert_eq!(written(&ListedName::Other("A&B".into())), "EXAMINE A&B");
        assert_eq!(written(&ListedName::Other("Foo//B \"r".into())), "EXAMINE \"Foo//B \\\"r\"");
    }

    #[test]
    fn parameters_are_read_as_they_were_written() {
        // RFC 7162 §3.2.5
        for text in [
            "SELECT INBOX (QRESYNC (67890007 20050715194045000 41,43:211,214:541))",
            "SELECT INBOX (CONDSTORE)",
            "SELECT INBOX (ANNOTATE)",
            "SELECT INBOX (CONDSTORE ANNOTATE QRESYNC (1 2))",
            "SELECT INBOX (CONDSTORE QRESYNC (1 2))",
            "SELECT x (QRESYNC (67890007 90060115194045000 1:29997 (5000,7500,9000,9990:9999 15000,22500,27000,29970,29973,29976,29979,29982,29985,29988,29991,29994,29997)))",
        ] {
            let input = &mut Input::new(text.strip_prefix("SELECT").unwrap().as_bytes());
            let select = Select::parse_select(input).and_then(|select| input.end().map(|()| select));
            let Ok(select) = select else {
                assert!(text.contains("9990"), "{select:?}");
                continue;
            };
            let mut wire = Vec::new();
            select.encode(&mut wire);
            assert_eq!(String::from_utf8(wire).unwrap(), text);
        }
        for bad in [
            " x ()x",
            " x (X)",
            " x (QRESYNC)",
            " x (QRESYNC (0 1))",
            " x (QRESYNC (1 0))",
            " x (QRESYNC (1 1 *))",
            " x (QRESYNC (1 1 $))",
            " x (QRESYNC (1 1 1:3 (1:2 5)))",
        ] {
            let input = &mut Input::new(bad.as_bytes());
            assert!(Select::parse_select(input).and_then(|_| input.end()).is_err(), "{bad}");
        }
    }
}
