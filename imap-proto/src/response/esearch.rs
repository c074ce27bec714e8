//! `* ESEARCH`: what a search found, in as few words as were asked for (RFC 4731, RFC 9394).

use mailwright_mail_model::{MailboxName, ModSeq, UidSet, UidValidity};

use super::reader::{Reader, Result};
use crate::{command::ResultRange, grammar::Wire, sequence::numbers_in_response};

/// The answer to a SEARCH that said how it wants to be told. Numbers are sequence numbers unless `by_uid`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Esearch {
    /// The tag of the command it answers.
    pub tag: Option<String>,
    /// The mailbox that was searched, if it need not be the selected one (RFC 7377 §2.1).
    pub mailbox: Option<MailboxName>,
    /// The validity of the UIDs in it.
    pub uid_validity: Option<UidValidity>,
    /// Whether the numbers are UIDs.
    pub by_uid: bool,
    /// The lowest number.
    pub min: Option<u32>,
    /// The highest number.
    pub max: Option<u32>,
    /// How many were found.
    pub count: Option<u32>,
    /// All numbers; of a SORT they are in another order on the wire.
    pub all: Option<UidSet>,
    /// Some of the results, and which of them.
    pub partial: Option<(ResultRange, UidSet)>,
    /// The highest mod-sequence of those found.
    pub mod_seq: Option<ModSeq>,
    /// How well each of the messages told answers, from 1 to 100, in the order in which they are told (RFC 6203 §4).
    pub relevancy: Option<Vec<u8>>,
}

impl Esearch {
    /// Nothing but the correlator.
    pub fn new(tag: Option<String>, by_uid: bool) -> Self {
        Self { tag, by_uid, ..Self::default() }
    }

    /// Writes the response.
    pub fn encode(&self, wire: &mut impl Wire) {
        let listed = |set: &UidSet| set.to_string();
        self.encode_with(
            self.all.as_ref().map(listed),
            self.partial.as_ref().map(|(range, set)| (*range, listed(set))),
            wire,
        );
    }

    /// The same with numbers that are in an order of their own.
    pub(crate) fn encode_with(
        &self,
        all: Option<String>,
        partial: Option<(ResultRange, String)>,
        wire: &mut impl Wire,
    ) {
        wire.put(b"* ESEARCH");
        if let Some(tag) = &self.tag {
            wire.put(b" (TAG ");
            wire.put_string(tag.as_bytes());
            if let Some(mailbox) = &self.mailbox {
                wire.put(b" MAILBOX ");
                wire.put_mailbox(mailbox);
            }
            if let Some(validity) = self.uid_validity {
                wire.put(b" UIDVALIDITY ");
                wire.put_number(validity.get().into());
            }
            wire.put(b")");
        }
        if self.by_uid {
            wire.put(b" UID");
        }
        for (name, number) in [("MIN", self.min), ("MAX", self.max), ("COUNT", self.count)] {
            if let Some(number) = number {
                wire.put(b" ");
                wire.put(name.as_bytes());
                wire.put(b" ");
                wire.put_number(number.into());
            }
        }
        // RFC 4731 §3.1: of nothing found there is no ALL.
        if let Some(all) = all.filter(|all| !all.is_empty()) {
            wire.put(b" ALL ");
            wire.put(all.as_bytes());
        }
        if let Some((range, set)) = partial {
            wire.put(b" PARTIAL (");
            range.encode(wire);
            wire.put(b" ");
            wire.put(if set.is_empty() { b"NIL" } else { set.as_bytes() });
            wire.put(b")");
        }
        if let Some(mod_seq) = self.mod_seq {
            wire.put(b" MODSEQ ");
            wire.put_number(mod_seq.get());
        }
        if let Some(scores) = &self.relevancy {
            wire.put(b" RELEVANCY ");
            wire.put_list(scores, |wire, score| wire.put_number((*score).into()));
        }
        wire.put(b"\r\n");
    }

    /// What follows the word.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let mut found = Self::default();
        if reader.input.rest().starts_with(b" (") {
            reader.space()?;
            reader.list(|reader| {
                let name = reader.atom()?.to_ascii_uppercase();
                reader.space()?;
                let value = reader.astring()?;
                match name.as_str() {
                    "TAG" => found.tag = Some(String::from_utf8_lossy(&value).into_owned()),
                    "MAILBOX" => found.mailbox = MailboxName::from_utf7(&value).ok(),
                    "UIDVALIDITY" => {
                        let number = str::from_utf8(&value).ok().and_then(|number| number.parse().ok());
                        found.uid_validity = number.and_then(UidValidity::new);
                    }
                    _ => {}
                }
                Ok(())
            })?;
        }
        while reader.input.peek() == Some(b' ') {
            reader.space()?;
            let name = reader.atom()?.to_ascii_uppercase();
            if name == "UID" {
                found.by_uid = true;
                continue;
            }
            reader.space()?;
            match name.as_str() {
                "MIN" => found.min = Some(reader.number()?),
                "MAX" => found.max = Some(reader.number()?),
                "COUNT" => found.count = Some(reader.number()?),
                "MODSEQ" => found.mod_seq = ModSeq::new(reader.number64()?),
                "RELEVANCY" => {
                    found.relevancy = Some(reader.list(|reader| {
                        let score = u8::try_from(reader.number()?).ok();
                        score
                            .filter(|score| *score <= 100)
                            .ok_or_else(|| reader.expected("a score up to 100"))
                    })?);
                }
                "ALL" => found.all = Some(numbers_in_response(&mut reader.input)?),
                "PARTIAL" => {
                    reader.open()?;
                    let range = ResultRange::parse(&mut reader.input)?;
                    reader.space()?;
                    let set = match reader.keyword("NIL") {
                        true => UidSet::new(),
                        false => numbers_in_response(&mut reader.input)?,
                    };
                    reader.input.octet(b')', "a closing parenthesis")?;
                    found.partial = Some((range, set));
                }
                _ => reader.skip_value()?,
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use crate::response::{Leniency, Response};

    #[test]
    fn what_is_written_is_read() {
        for line in [
            "* ESEARCH (TAG \"A282\") MIN 2 COUNT 3\r\n",
            "* ESEARCH (TAG \"A283\") UID MIN 7 MAX 3800 COUNT 15 ALL 2,10:11\r\n",
            "* ESEARCH (TAG \"A01\") UID PARTIAL (-1:-100 NIL) MODSEQ 917162500\r\n",
            "* ESEARCH (TAG \"tag1\" MAILBOX folder1 UIDVALIDITY 1) UID ALL 4001,4003\r\n",
            "* ESEARCH (TAG \"B1\") ALL 1,5,10 RELEVANCY (4 99 42)\r\n",
            "* ESEARCH\r\n",
        ] {
            let Ok(Response::Esearch(found)) = Response::parse(line.as_bytes(), Leniency::strict()) else {
                panic!("{line}")
            };
            let mut octets = Vec::new();
            found.encode(&mut octets);
            assert_eq!(String::from_utf8(octets).unwrap(), line);
        }
        assert!(Response::parse(b"* ESEARCH ALL x\r\n", Leniency::tolerant()).is_err());
        assert!(Response::parse(b"* ESEARCH (TAG) ALL 1\r\n", Leniency::tolerant()).is_err());
    }
}
