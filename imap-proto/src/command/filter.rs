//! FILTER: a search that is kept on the server under a name (RFC 5466).

use mailwright_line_proto::Request;

use crate::refusal::Answered;

/// What is searched for by this name?
///
/// Asked before a SEARCH, SORT, THREAD or ESEARCH that names it: the name is not a command by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filter {
    /// The name, in lower case: an atom without `/`.
    pub name: String,
}

impl Filter {
    /// The search of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }
}

impl Request for Filter {
    /// The keys of the search, in UTF-8, as they would stand in a command; `None` if there is no such filter.
    type Answer = Answered<Option<String>>;
}
