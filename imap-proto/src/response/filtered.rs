//! `* 3 FILTERED` and `* FILTER`: what a script has made of a message (draft-bosch-imap-filter-sieve).

use std::num::NonZeroU32;

use mailwright_mail_model::Uid;

use super::reader::{Reader, Result};
use crate::grammar::Wire;

/// What came of a FILTER: for one message, or for the script as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filtered {
    /// The message; `None` if the script as a whole is meant, which is never [`FilterResult::Done`].
    pub sequence: Option<NonZeroU32>,
    /// The tag of the command.
    pub tag: String,
    /// The UID of the message, if UID FILTER was asked for.
    pub uid: Option<Uid>,
    /// What came of it.
    pub result: FilterResult,
}

/// What a script has made of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FilterResult {
    /// What it wanted is done.
    Done,
    /// That too, but it may not be what was meant; for people.
    Warnings(String),
    /// Nothing is done, for this reason; for people.
    Errors(String),
}

impl Filtered {
    /// Writes the response.
    pub fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"* ");
        match self.sequence {
            Some(sequence) => {
                wire.put_number(sequence.get().into());
                wire.put(b" FILTERED (TAG ");
            }
            None => wire.put(b"FILTER (TAG "),
        }
        wire.put_string(self.tag.as_bytes());
        wire.put(b") ");
        if let Some(uid) = self.uid {
            wire.put(b"UID ");
            wire.put_number(uid.get().into());
            wire.put(b" ");
        }
        match &self.result {
            FilterResult::Done => wire.put(b"OK"),
            FilterResult::Warnings(text) => {
                wire.put(b"WARNINGS ");
                wire.put_string(text.as_bytes());
            }
            FilterResult::Errors(text) => {
                wire.put(b"ERRORS ");
                wire.put_string(text.as_bytes());
            }
        }
        wire.put(b"\r\n");
    }

    pub(super) fn read(sequence: Option<NonZeroU32>, reader: &mut Reader<'_>) -> Result<Self> {
        reader.space()?;
        reader.open()?;
        if !reader.keyword("TAG") {
            return Err(reader.expected("TAG"));
        }
        reader.space()?;
        let tag = text(reader)?;
        if !reader.closes()? {
            return Err(reader.expected("the end of the list"));
        }
        reader.space()?;
        let uid = match reader.keyword("UID") {
            true => {
                reader.space()?;
                let uid = Uid::new(reader.number()?).ok_or_else(|| reader.expected("a UID before this"))?;
                reader.space()?;
                Some(uid)
            }
            false => None,
        };
        let result = match reader.atom()?.to_ascii_uppercase().as_str() {
            "OK" if sequence.is_some() => FilterResult::Done,
            // The examples of the draft have the words without their last letters too.
            "WARNINGS" | "WARNING" => {
                reader.space()?;
                FilterResult::Warnings(text(reader)?)
            }
            "ERRORS" | "ERROR" => {
                reader.space()?;
                FilterResult::Errors(text(reader)?)
            }
            _ => return Err(reader.expected("OK, WARNINGS or ERRORS before this")),
        };
        Ok(Self { sequence, tag, uid, result })
    }
}

fn text(reader: &mut Reader<'_>) -> Result<String> {
    Ok(String::from_utf8_lossy(&reader.string()?).into_owned())
}

#[cfg(test)]
mod tests {
    use crate::response::{Leniency, Response};

    #[test]
    fn what_is_written_is_read() {
        for line in [
            "* 3 FILTERED (TAG \"A001\") OK\r\n",
            "* 117 FILTERED (TAG \"A002\") UID 3322 OK\r\n",
            "* 21 FILTERED (TAG \"A001\") ERRORS {10}\r\nline 15:\r\n\r\n",
            "* 118 FILTERED (TAG \"A002\") UID 3323 WARNINGS \"saved elsewhere\"\r\n",
            "* FILTER (TAG \"A003\") ERRORS \"line 1: unknown test\"\r\n",
        ] {
            let read = Response::parse(line.as_bytes(), Leniency::strict());
            let Ok(Response::Filtered(filtered)) = read else { panic!("{line}: {read:?}") };
            let mut octets = Vec::new();
            filtered.encode(&mut octets);
            assert_eq!(String::from_utf8(octets).unwrap(), line);
        }
        for bad in [
            "* FILTER (TAG \"A003\") OK\r\n",
            "* 0 FILTERED (TAG \"A003\") OK\r\n",
            "* 3 FILTERED OK\r\n",
            "* 3 FILTERED (TAG \"a\") UID 0 OK\r\n",
            "* 3 FILTERED (TAG \"a\") MAYBE\r\n",
        ] {
            assert!(Response::parse(bad.as_bytes(), Leniency::tolerant()).is_err(), "{bad}");
        }
    }
}
