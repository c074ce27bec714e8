//! What searches are read against.

use mailwright_mail_model::UidSet;

/// What the sequence numbers of SEARCH are read against: the selected mailbox as the client knows it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct SearchContext<'a> {
    /// The messages, in the order of their sequence numbers.
    pub messages: &'a UidSet,
    /// Those that have `\Recent` in this session.
    pub recent: &'a UidSet,
    /// Those that the last SEARCH with SAVE found: what `$` stands for (RFC 5182).
    pub saved: &'a UidSet,
    /// The searches that have names, and their names (RFC 5466).
    pub filters: &'a [(Box<str>, Box<str>)],
    /// Whether the client has said that it uses no sequence numbers (RFC 9586).
    pub uid_only: bool,
    /// Whether the client has said that its strings are UTF-8 (RFC 6855 §3).
    pub utf8_only: bool,
}

impl<'a> SearchContext<'a> {
    /// A mailbox with these messages.
    pub fn new(messages: &'a UidSet, recent: &'a UidSet) -> Self {
        static EMPTY: UidSet = UidSet::new();
        Self { messages, recent, saved: &EMPTY, filters: &[], uid_only: false, utf8_only: false }
    }

    /// With what `$` stands for.
    #[must_use]
    pub fn with_saved(self, saved: &'a UidSet) -> Self {
        Self { saved, ..self }
    }

    /// With these filters: each is its name and its text.
    #[must_use]
    pub fn with_filters(self, filters: &'a [(Box<str>, Box<str>)]) -> Self {
        Self { filters, ..self }
    }

    /// Where sequence numbers are an error.
    #[must_use]
    pub fn by_uid_only(self, uid_only: bool) -> Self {
        Self { uid_only, ..self }
    }

    /// Where naming a charset is an error.
    #[must_use]
    pub fn in_utf8_only(self, utf8_only: bool) -> Self {
        Self { utf8_only, ..self }
    }
}

impl Default for SearchContext<'_> {
    /// An empty mailbox.
    fn default() -> Self {
        static EMPTY: UidSet = UidSet::new();
        Self::new(&EMPTY, &EMPTY)
    }
}
