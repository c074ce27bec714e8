//! ESEARCH: a search in several mailboxes (RFC 7377).

use mailwright_mail_model::{UidSet, query::Query};

use super::{
    FetchItem, NotifyMailboxes, SearchContext, SearchReturn,
    search::{is_ascii, program, put_program},
};
use crate::grammar::{GrammarError, Input, Wire};

/// The most groups of mailboxes of one command.
const MOST: usize = 100;

/// Finds messages in mailboxes that need not be selected; they are always told by UID.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MultiSearch {
    /// Where to search; the selected mailbox alone if nothing is said.
    pub sources: Vec<NotifyMailboxes>,
    /// How to tell what was found.
    pub returns: Option<SearchReturn>,
    /// What a server with NOTIFY sends of each message that comes to results which are kept up to date (RFC 5465 §7).
    pub sent: Vec<FetchItem>,
    /// What to search for. On the server's side numbers in it are those of the selected mailbox; see
    /// [`query_in`](Self::query_in).
    pub query: Query,
    /// The program as it was sent: what its numbers mean depends on the mailbox.
    program: Box<[u8]>,
    utf8: bool,
    filters: Box<[(Box<str>, Box<str>)]>,
}

impl MultiSearch {
    /// Searches in these mailboxes.
    pub fn new(sources: Vec<NotifyMailboxes>, query: Query) -> Self {
        Self {
            sources,
            returns: None,
            sent: Vec::new(),
            query,
            program: Box::default(),
            utf8: false,
            filters: Box::default(),
        }
    }

    /// Whether the selected mailbox is searched.
    pub fn names_selected(&self) -> bool {
        self.sources.is_empty()
            || self.sources.iter().any(|source| matches!(source, NotifyMailboxes::Selected { .. }))
    }

    /// Whether no other mailbox is.
    pub fn names_only_selected(&self) -> bool {
        self.sources.iter().all(|source| matches!(source, NotifyMailboxes::Selected { .. }))
    }

    /// What to search for in a mailbox with these messages; `None` if it means nothing there.
    pub fn query_in(&self, messages: &UidSet) -> Option<Query> {
        if self.program.is_empty() {
            return Some(self.query.clone());
        }
        let none = UidSet::new();
        let mut input = Input::new(&self.program).with_utf8(self.utf8);
        program(&mut input, SearchContext::new(messages, &none).with_filters(&self.filters)).ok()
    }

    pub(super) fn parse(input: &mut Input<'_>, context: SearchContext<'_>) -> Result<Self, GrammarError> {
        input.space()?;
        let sources = sources(input)?;
        let (returns, sent) = SearchReturn::parse(input)?;
        let octets = input.rest();
        let query = program(input, context)?;
        Ok(Self {
            sources,
            returns,
            sent,
            query,
            program: octets.into(),
            utf8: input.is_utf8(),
            filters: context.filters.into(),
        })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"ESEARCH ");
        if !self.sources.is_empty() {
            wire.put(b"IN ");
            wire.put_list(&self.sources, |wire, source| source.encode(wire));
            wire.put(b" ");
        }
        if let Some(returns) = &self.returns {
            returns.encode(&self.sent, wire);
        }
        if !is_ascii(&self.query) {
            wire.put(b"CHARSET UTF-8 ");
        }
        put_program(&self.query, wire);
    }
}

/// Takes `IN (…)` and the space behind it, if it is here.
pub(super) fn sources(input: &mut Input<'_>) -> Result<Vec<NotifyMailboxes>, GrammarError> {
    let mut sources = Vec::new();
    if input.keyword("IN") {
        input.space()?;
        input.octet(b'(', "an opening parenthesis")?;
        loop {
            if sources.len() == MOST {
                return Err(GrammarError::TooMany { what: "groups of mailboxes", limit: MOST });
            }
            sources.push(NotifyMailboxes::parse(input, true)?);
            if !input.eat(b' ') {
                break;
            }
        }
        input.octet(b')', "a closing parenthesis")?;
        input.space()?;
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<MultiSearch, GrammarError> {
        let mut input = Input::new(text.as_bytes());
        let search = MultiSearch::parse(&mut input, SearchContext::default())?;
        input.end()?;
        Ok(search)
    }

    #[test]
    fn commands_are_read_as_they_were_written() {
        for text in [
            "ESEARCH SEEN",
            "ESEARCH IN (MAILBOXES (folder1) SUBTREE (folder2)) SEEN",
            "ESEARCH IN (SELECTED SUBTREE-ONE (a b)) RETURN (COUNT) SUBJECT chad",
            "ESEARCH IN (PERSONAL INBOXES SUBSCRIBED) ALL",
        ] {
            let mut wire = Vec::new();
            parse(text.strip_prefix("ESEARCH").unwrap()).unwrap().encode(&mut wire);
            assert_eq!(String::from_utf8(wire).unwrap(), text);
        }
        let search = parse(" IN (mailboxes \"a\" subtree-one b) UID 5:*").unwrap();
        let uids = |text: &str| search.query_in(&text.parse().unwrap()).unwrap().uids().unwrap().to_string();
        assert_eq!((uids("1:9"), uids("1:3")), ("5:9".to_owned(), "3".to_owned()));
        assert!(!search.names_selected() && parse(" ALL").unwrap().names_only_selected());
        for bad in [
            "",
            " ",
            " IN ALL",
            " IN () ALL",
            " IN (SELECTED-DELAYED) ALL",
            " IN (SUBTREE) ALL",
            " IN (PERSONAL)",
            " IN (PERSONAL) X",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
