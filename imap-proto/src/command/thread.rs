//! THREAD (RFC 5256 §3).

use mailwright_mail_model::{query::Query, thread::ThreadAlgorithm};

use super::{
    SearchContext,
    search::{charset_name, keys_in, put_program},
};
use crate::grammar::{GrammarError, Input, Wire};

/// Finds messages and gathers them to threads.
///
/// As in [`Search`](super::Search), sequence numbers are turned into UIDs when the command is read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Thread {
    /// How.
    pub algorithm: ThreadAlgorithm,
    /// What to search for.
    pub query: Query,
    /// `UID THREAD`: whether the answer is UIDs rather than sequence numbers.
    pub by_uid: bool,
}

impl Thread {
    /// Threads of what is searched for, to be answered with UIDs.
    pub fn new(algorithm: ThreadAlgorithm, query: Query) -> Self {
        Self { algorithm, query, by_uid: true }
    }

    pub(super) fn parse(
        input: &mut Input<'_>,
        by_uid: bool,
        context: SearchContext<'_>,
    ) -> Result<Self, GrammarError> {
        input.space()?;
        let known = ThreadAlgorithm::ALL.into_iter().find(|algorithm| input.keyword(algorithm.as_str()));
        let algorithm = known.ok_or_else(|| input.expected("a threading algorithm"))?;
        input.space()?;
        let charset = charset_name(input)?;
        input.space()?;
        Ok(Self { algorithm, query: keys_in(charset.as_deref(), input, context)?, by_uid })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(if self.by_uid { b"UID THREAD " } else { b"THREAD " });
        wire.put(self.algorithm.as_str().as_bytes());
        wire.put(b" UTF-8 ");
        put_program(&self.query, wire);
    }
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
        for text in
            ["UID THREAD ORDEREDSUBJECT UTF-8 ALL", "THREAD REFERENCES UTF-8 SEEN", "THREAD REFS UTF-8 SEEN"]
        {
            let read = Command::parse(&mut Input::new(text.as_bytes()), SearchContext::default()).unwrap();
            let mut writer = CommandWriter::new(LiteralMode::Plus);
            read.encode(&mut writer);
            assert_eq!(String::from_utf8_lossy(writer.as_slice()), text);
        }
        for bad in [
            "THREAD",
            "THREAD REFS",
            "THREAD REFS UTF-8",
            "THREAD AGE UTF-8 ALL",
            "THREAD REFERENCESX UTF-8 ALL",
        ] {
            let read = Command::parse(&mut Input::new(bad.as_bytes()), SearchContext::default());
            assert!(read.is_err(), "{bad}");
        }
    }
}
