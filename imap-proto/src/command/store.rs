//! STORE (RFC 3501 §6.4.6).

use mailwright_line_proto::Request;
use mailwright_mail_model::{Flag, FlagSet, ModSeq, UidSet};

use super::{Annotate, Command, annotate::values};
use crate::{
    MessageSet,
    grammar::{GrammarError, Input, Wire},
    refusal::Answered,
};

/// How many flags one command may name.
pub(super) const MAX_FLAGS: usize = 100;

/// Changes flags.
///
/// A server's application reports the flags that each message has then with `Server::fetch_flags`, and answers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Store<M = MessageSet> {
    /// Of which messages.
    pub messages: M,
    /// How.
    pub operation: StoreOperation,
    /// The flags.
    pub flags: FlagSet,
    /// `.SILENT`: the client does not want to be told the outcome.
    pub silent: bool,
    /// `UNCHANGEDSINCE`: leave messages alone whose mod-sequence is higher (RFC 7162 §3.1.3). 0 if `Some(None)`: change none
    /// that there is.
    pub unchanged_since: Option<Option<ModSeq>>,
}

/// What is done with the flags of [`Store`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "there is nothing else to do with a set")]
pub enum StoreOperation {
    /// The message has these flags and no others from now on.
    Replace,
    /// It has these too.
    Add,
    /// It has none of these.
    Remove,
}

impl StoreOperation {
    /// The flags a message has after the operation.
    pub fn apply(self, before: &FlagSet, flags: &FlagSet) -> FlagSet {
        match self {
            Self::Replace => flags.clone(),
            Self::Add => before.union(flags),
            Self::Remove => before.difference(flags),
        }
    }
}

impl<M> Store<M> {
    /// Changes flags of these messages.
    pub fn new(messages: M, operation: StoreOperation, flags: FlagSet) -> Self {
        Self { messages, operation, flags, silent: false, unchanged_since: None }
    }
}

impl Store {
    /// STORE, of flags or of annotations (RFC 5257 §4.5).
    pub(super) fn parse_any(input: &mut Input<'_>, by_uid: bool) -> Result<Command, GrammarError> {
        input.space()?;
        let messages = MessageSet::parse(input, by_uid)?;
        input.space()?;
        let mut unchanged_since = None;
        if input.eat(b'(') {
            if !input.keyword("UNCHANGEDSINCE") {
                return Err(input.expected("UNCHANGEDSINCE"));
            }
            input.space()?;
            unchanged_since = Some(ModSeq::new(input.number64()?));
            input.octet(b')', "a closing parenthesis")?;
            input.space()?;
        }
        if input.keyword("ANNOTATION") {
            let annotate = Annotate::new(messages, values(input)?);
            return Ok(Command::Annotate(Annotate { unchanged_since, ..annotate }));
        }
        let operation = match input.peek() {
            Some(b'+') => StoreOperation::Add,
            Some(b'-') => StoreOperation::Remove,
            _ => StoreOperation::Replace,
        };
        if operation != StoreOperation::Replace {
            let _ = input.eat(b'+') || input.eat(b'-');
        }
        let silent = input.keyword("FLAGS.SILENT");
        if !silent && !input.keyword("FLAGS") {
            return Err(input.expected("FLAGS, FLAGS.SILENT or ANNOTATION"));
        }
        input.space()?;
        Ok(Command::Store(Self { messages, operation, flags: flags(input)?, silent, unchanged_since }))
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(if self.messages.is_uid() { b"UID STORE " } else { b"STORE " });
        self.messages.set().encode(wire);
        if let Some(mod_seq) = self.unchanged_since {
            wire.put(b" (UNCHANGEDSINCE ");
            wire.put_number(mod_seq.map_or(0, ModSeq::get));
            wire.put(b")");
        }
        wire.put(match self.operation {
            StoreOperation::Replace => b" FLAGS",
            StoreOperation::Add => b" +FLAGS",
            StoreOperation::Remove => b" -FLAGS",
        });
        wire.put(if self.silent { b".SILENT " } else { b" " });
        wire.put_flags(&self.flags);
    }
}

impl Request for Store<UidSet> {
    /// The messages left alone because they had changed.
    type Answer = Answered<UidSet>;
}

/// Flags in parentheses, or one or more without (RFC 3501 §9, `store-att-flags`).
fn flags(input: &mut Input<'_>) -> Result<FlagSet, GrammarError> {
    if input.peek() == Some(b'(') {
        return flag_list(input);
    }
    let mut flags = vec![input.flag()?];
    while input.eat(b' ') {
        if flags.len() == MAX_FLAGS {
            return Err(GrammarError::TooMany { what: "flags", limit: MAX_FLAGS });
        }
        flags.push(input.flag()?);
    }
    Ok(flags.into_iter().collect())
}

/// Flags in parentheses. `\Recent` is refused: nobody can set it (RFC 3501 §2.3.2).
pub(super) fn flag_list(input: &mut Input<'_>) -> Result<FlagSet, GrammarError> {
    input.list("flags", MAX_FLAGS, |input| input.flag()).map(|flags: Vec<Flag>| flags.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Store, GrammarError> {
        let mut input = Input::new(text.as_bytes());
        match Store::parse_any(&mut input, false).and_then(|store| input.end().map(|()| store))? {
            Command::Store(store) => Ok(store),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn forms_of_the_arguments() {
        let store = parse(" 2:4 +FLAGS (\\Deleted)").unwrap();
        assert_eq!((store.operation, store.silent), (StoreOperation::Add, false));
        assert_eq!(parse(" 2:4 +flags \\Deleted"), Ok(store));
        let store = parse(" 1 -FLAGS.SILENT \\Seen $Junk").unwrap();
        assert_eq!((store.operation, store.silent, store.flags.len()), (StoreOperation::Remove, true, 2));
        assert_eq!(parse(" 1 FLAGS ()").unwrap().flags, FlagSet::new());
    }

    #[test]
    fn refused_flags() {
        for bad in ["(\\Recent)", "\\Recent", "(\\*)", "(a{b)", "(\\Nonsense)", "(a", "", "(a) b"] {
            assert!(parse(&format!(" 1 FLAGS {bad}")).is_err(), "{bad}");
        }
        let many = (0..3000).map(|number| format!("kw{number}")).collect::<Vec<_>>().join(" ");
        assert!(matches!(parse(&format!(" 1 +FLAGS ({many})")), Err(GrammarError::TooMany { .. })));
        assert!(matches!(parse(&format!(" 1 +FLAGS {many}")), Err(GrammarError::TooMany { .. })));
    }
}
