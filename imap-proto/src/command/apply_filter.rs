//! FILTER: a Sieve script is run on messages that are here already (draft-bosch-imap-filter-sieve).

use bytes::Bytes;
use mailwright_line_proto::Request;
use mailwright_mail_model::query::Query;

use super::{
    SearchContext,
    search::{is_ascii, program, put_program},
};
use crate::{
    grammar::{GrammarError, Input, Wire},
    refusal::Answered,
};

/// Runs a script on the messages of the open mailbox that a search finds.
///
/// A server tells of each message that something was done with by [`Server::filtered`](crate::server::Server::filtered), and of what is
/// wrong with the script itself by [`Server::filter_problem`](crate::server::Server::filter_problem); then it answers.
///
/// As in [`Search`](super::Search), sequence numbers are turned into UIDs when the command is read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApplyFilter {
    /// Which script.
    pub script: FilterScript,
    /// On which messages.
    pub query: Query,
    /// `UID FILTER`: whether the answers say UIDs beside the sequence numbers.
    pub by_uid: bool,
}

/// Which script.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FilterScript {
    /// Those that run at delivery.
    Delivery,
    /// One of the user's own, by its name.
    Personal(String),
    /// One of the server's that scripts can include, by its name.
    Global(String),
    /// This one.
    Text(Bytes),
}

impl ApplyFilter {
    /// Runs this script on these messages; the answers say UIDs.
    pub fn new(script: FilterScript, query: Query) -> Self {
        Self { script, query, by_uid: true }
    }

    pub(super) fn parse(
        input: &mut Input<'_>,
        by_uid: bool,
        context: SearchContext<'_>,
    ) -> Result<Self, GrammarError> {
        input.space()?;
        if !input.keyword("SIEVE") {
            return Err(input.expected("SIEVE"));
        }
        input.space()?;
        let script = FilterScript::parse(input)?;
        input.space()?;
        Ok(Self { script, query: program(input, context)?, by_uid })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(if self.by_uid { b"UID FILTER SIEVE " } else { b"FILTER SIEVE " });
        match &self.script {
            FilterScript::Delivery => wire.put(b"DELIVERY"),
            FilterScript::Personal(name) => {
                wire.put(b"PERSONAL ");
                wire.put_astring(name.as_bytes());
            }
            FilterScript::Global(name) => {
                wire.put(b"GLOBAL ");
                wire.put_astring(name.as_bytes());
            }
            FilterScript::Text(text) => {
                wire.put(b"SCRIPT ");
                wire.put_string(text);
            }
        }
        wire.put(b" ");
        if !is_ascii(&self.query) {
            wire.put(b"CHARSET UTF-8 ");
        }
        put_program(&self.query, wire);
    }
}

impl FilterScript {
    fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        if input.keyword("DELIVERY") {
            return Ok(Self::Delivery);
        }
        let here = input.clone();
        let named = [("PERSONAL", Self::Personal as fn(String) -> Self), ("GLOBAL", Self::Global)];
        if let Some((_, script)) = named.into_iter().find(|(word, _)| input.keyword(word)) {
            input.space()?;
            let name = String::from_utf8(input.astring()?.into_owned());
            return name.map(script).map_err(|_| here.expected("the name of a script in UTF-8"));
        }
        if input.keyword("SCRIPT") {
            input.space()?;
            return Ok(Self::Text(input.string()?.into_owned().into()));
        }
        Err(here.expected("DELIVERY, PERSONAL, GLOBAL or SCRIPT"))
    }
}

impl Request for ApplyFilter {
    type Answer = Answered<()>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        command::Command,
        grammar::{CommandWriter, LiteralMode},
    };

    #[test]
    fn commands_are_read_as_they_were_written() {
        for text in [
            "UID FILTER SIEVE DELIVERY ALL",
            "FILTER SIEVE PERSONAL new NOT SEEN",
            "UID FILTER SIEVE GLOBAL \"of the house\" SUBJECT tea",
            "UID FILTER SIEVE SCRIPT \"discard;\" SEEN",
            "FILTER SIEVE SCRIPT {10+}\r\ndiscard;\r\n SEEN",
        ] {
            let read = Command::parse(&mut Input::new(text.as_bytes()), SearchContext::default()).unwrap();
            let mut writer = CommandWriter::new(LiteralMode::Plus);
            read.encode(&mut writer);
            assert_eq!(String::from_utf8_lossy(writer.as_slice()), text);
        }
        for bad in [
            "FILTER",
            "FILTER SIEVE",
            "FILTER SIEVE DELIVERY",
            "FILTER SIEVE DELIVERY x ALL",
            "FILTER SIEVE PERSONAL ALL",
            "FILTER SIEVE SCRIPT discard; ALL",
            "FILTER PROCMAIL DELIVERY ALL",
            "FILTER SIEVE SOMETHING ALL",
            "FILTER SIEVE PERSONAL {1+}\r\n\u{e9} ALL",
        ] {
            let read = Command::parse(&mut Input::new(bad.as_bytes()), SearchContext::default());
            assert!(read.is_err(), "{bad}");
        }
    }
}
