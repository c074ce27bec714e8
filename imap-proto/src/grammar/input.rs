//! A cursor over one complete command or response.

use std::{borrow::Cow, ops::Deref};

use mailwright_mail_model::{Flag, FlagError, MailboxName, MailboxNameError};
use nom::Parser;
use thiserror::Error;

use super::terminal::{self, is_word_char};

/// What is left to parse of one complete command or response, whose literals stand in place: `{3}`, CRLF, three
/// octets.
///
/// Every method takes what it names from the front or leaves the input as it was.
///
/// ```
/// use mailwright_imap_proto::grammar::Input;
///
/// let mut input = Input::new(b"LOGIN fred {3}\r\nx y");
/// assert!(input.keyword("login"));
/// input.space()?;
/// assert_eq!(&*input.astring()?, b"fred");
/// input.space()?;
/// assert_eq!(&*input.astring()?, b"x y");
/// input.end()?;
/// # Ok::<(), mailwright_imap_proto::grammar::GrammarError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Input<'a> {
    rest: &'a [u8],
    length: usize,
    utf8: bool,
    extra_separator: bool,
}

/// Why a command or response is not understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GrammarError {
    /// Not what the grammar allows here.
    #[error("expected {expected} at octet {at}")]
    Syntax {
        /// What would have been right.
        expected: &'static str,
        /// Where: octets from the start of the command, literals counted.
        at: usize,
    },
    /// More of something than a bound allows.
    #[error("more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// A string where a mailbox name belongs, but not the name of any mailbox.
    #[error(transparent)]
    Mailbox(#[from] MailboxNameError),
    /// A keyword too long.
    #[error(transparent)]
    Flag(#[from] FlagError),
    /// A charset that SEARCH does not know.
    #[error("unknown charset")]
    Charset,
    /// A message sequence number for which there is no message.
    #[error("there are {messages} messages only")]
    OutOfRange {
        /// How many there are.
        messages: u64,
    },
    /// A message sequence number, where the client has said that it uses none (RFC 9586 §3).
    #[error("sequence numbers are not used")]
    UidRequired,
    /// A filter that is not known (RFC 5466 §3.1).
    #[error("there is no filter {0}")]
    Filter(Box<str>),
    /// A filter that names itself, or others too deep (RFC 5466 §3.1).
    #[error("the filter {0} leads too deep")]
    FilterLoop(Box<str>),
    /// A filter that is no search (RFC 5466 §3.2): where in it, counted from its start.
    #[error("in the filter {name}: expected {expected} at octet {at}")]
    FilterSyntax {
        /// Which it is.
        name: Box<str>,
        /// What would have been right.
        expected: &'static str,
        /// Where: octets from the start of the filter.
        at: usize,
    },
    /// A filter beside a charset that is not that of filters (RFC 5466 §3.1).
    #[error("filters are in UTF-8 and so must be what they are searched with")]
    FilterCharset,
}

type Result<T> = std::result::Result<T, GrammarError>;

impl<'a> Input<'a> {
    /// The whole of `octets`, without the last line end.
    pub fn new(octets: &'a [u8]) -> Self {
        Self { rest: octets, length: octets.len(), utf8: false, extra_separator: false }
    }

    /// The same, with mailbox names and quoted strings in UTF-8 (RFC 6855 §3, RFC 9051 §5.1).
    #[must_use]
    pub fn with_utf8(self, utf8: bool) -> Self {
        Self { utf8, ..self }
    }

    /// The same, with names of mailboxes that may end with the separator of levels, which is passed over.
    #[must_use]
    pub(crate) fn with_extra_separator(self, extra_separator: bool) -> Self {
        Self { extra_separator, ..self }
    }

    /// Whether mailbox names are in UTF-8.
    pub fn is_utf8(&self) -> bool {
        self.utf8
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many octets were taken.
    pub fn position(&self) -> usize {
        self.length - self.rest.len()
    }

    /// The next octet, left where it is.
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The error that `expected` should stand here.
    pub fn expected(&self, expected: &'static str) -> GrammarError {
        GrammarError::Syntax { expected, at: self.position() }
    }

    /// Takes what `parser` takes.
    ///
    /// # Errors
    /// [`GrammarError::Syntax`] if the parser does not match here.
    pub fn take<T>(
        &mut self,
        expected: &'static str,
        mut parser: impl Parser<&'a [u8], Output = T, Error = ()>,
    ) -> Result<T> {
        let (rest, taken) = parser.parse(self.rest).map_err(|_| self.expected(expected))?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes `octet` if it is next; says whether it was.
    pub fn eat(&mut self, octet: u8) -> bool {
        match self.rest.split_first() {
            Some((first, rest)) if *first == octet => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Takes `octets` if they are next; says whether they were.
    pub(crate) fn eat_octets(&mut self, octets: &[u8]) -> bool {
        let rest = self.rest.strip_prefix(octets);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Takes `octet`.
    ///
    /// # Errors
    /// If another is next.
    pub fn octet(&mut self, octet: u8, expected: &'static str) -> Result<()> {
        if self.eat(octet) { Ok(()) } else { Err(self.expected(expected)) }
    }

    /// Takes one space.
    ///
    /// # Errors
    /// If there is none.
    pub fn space(&mut self) -> Result<()> {
        self.octet(b' ', "a space")
    }

    /// Makes sure that nothing is left.
    ///
    /// # Errors
    /// If something is.
    pub fn end(&self) -> Result<()> {
        if self.is_empty() { Ok(()) } else { Err(self.expected("the end of the line")) }
    }

    /// Takes `word` in any case, if it is next and not the start of a longer atom.
    pub fn keyword(&mut self, word: &str) -> bool {
        match self.rest.split_at_checked(word.len()) {
            Some((start, rest))
                if start.eq_ignore_ascii_case(word.as_bytes())
                    && !rest.first().copied().is_some_and(is_word_char) =>
            {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Takes `text` in any case, whatever follows it.
    pub fn prefix(&mut self, text: &str) -> bool {
        match self.rest.split_at_checked(text.len()) {
            Some((start, rest)) if start.eq_ignore_ascii_case(text.as_bytes()) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Takes an atom.
    ///
    /// # Errors
    /// If none is here.
    pub fn atom(&mut self) -> Result<&'a str> {
        self.take("an atom", terminal::atom)
    }

    /// Takes an atom that is compared with others only.
    pub(crate) fn word(&mut self) -> Result<&'a [u8]> {
        self.take("an atom", terminal::atom_octets)
    }

    /// Takes a tag: an astring's characters but `+`.
    ///
    /// # Errors
    /// If none is here.
    pub fn tag(&mut self) -> Result<&'a str> {
        self.take("a tag", terminal::tag)
    }

    /// Takes digits that fit into 32 bits.
    ///
    /// # Errors
    /// If there are none, or the number is larger.
    pub fn number(&mut self) -> Result<u32> {
        self.take("a number of 32 bits", terminal::number)
    }

    /// Takes digits that fit into 63 bits (RFC 9051 §9, `number64`).
    ///
    /// # Errors
    /// If there are none, or the number is larger.
    pub fn number64(&mut self) -> Result<u64> {
        self.take("a number of 63 bits", terminal::number64)
    }

    /// Takes a quoted string.
    ///
    /// # Errors
    /// If none is here, it is not closed, or it holds a line end, NUL or an octet of 8 bits.
    pub fn quoted(&mut self) -> Result<Cow<'a, [u8]>> {
        self.take("a quoted string", if self.utf8 { terminal::quoted_utf8 } else { terminal::quoted })
    }

    /// Takes what stands in a quoted string, if it is one of the simplest kind: most are.
    pub(crate) fn plain_quoted(&mut self) -> Option<&'a [u8]> {
        let (text, rest) = terminal::plain_quoted(self.rest)?;
        self.rest = rest;
        Some(text)
    }

    /// Takes `NIL`, as [`keyword`](Self::keyword) does.
    pub(crate) fn nil(&mut self) -> bool {
        match self.rest {
            [b'N' | b'n', b'I' | b'i', b'L' | b'l', rest @ ..]
                if !rest.first().copied().is_some_and(is_word_char) =>
            {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Takes a quoted string or a literal.
    ///
    /// # Errors
    /// If neither is here.
    pub fn string(&mut self) -> Result<Cow<'a, [u8]>> {
        if self.utf8 && self.peek() == Some(b'"') {
            return self.quoted();
        }
        self.take("a string", terminal::string)
    }

    /// Takes an atom or a string.
    ///
    /// # Errors
    /// If neither is here.
    pub fn astring(&mut self) -> Result<Cow<'a, [u8]>> {
        if self.utf8 && self.peek() == Some(b'"') {
            return self.quoted();
        }
        self.take("an atom or string", terminal::astring)
    }

    /// Takes a string or `NIL`.
    ///
    /// # Errors
    /// If neither is here.
    pub fn nstring(&mut self) -> Result<Option<Cow<'a, [u8]>>> {
        if self.nil() { Ok(None) } else { self.string().map(Some) }
    }

    /// Takes an astring that is UTF-8.
    ///
    /// # Errors
    /// If there is no astring, or another charset in it.
    pub fn text(&mut self) -> Result<String> {
        let before = self.clone();
        let text = self.astring()?.into_owned();
        String::from_utf8(text).map_err(|_| before.expected("UTF-8"))
    }

    /// Takes the pattern of a mailbox name: an astring, or an atom with wildcards in it.
    ///
    /// # Errors
    /// If neither is here.
    pub fn list_mailbox(&mut self) -> Result<Cow<'a, [u8]>> {
        if self.utf8 && self.peek() == Some(b'"') {
            return self.quoted();
        }
        self.take("a mailbox pattern", terminal::list_mailbox)
    }

    /// Takes a mailbox name: in modified UTF-7, or in UTF-8 where that is agreed on.
    ///
    /// # Errors
    /// [`GrammarError::Mailbox`] if there is a string, but no mailbox can be called so.
    pub fn mailbox(&mut self) -> Result<MailboxName> {
        if !self.utf8 {
            let name = self.astring()?;
            return Ok(MailboxName::from_utf7(self.without_separator(&name))?);
        }
        let name = self.text()?;
        let name = self.without_separator(name.as_bytes());
        Ok(MailboxName::lookup(&String::from_utf8_lossy(name))?)
    }

    fn without_separator<'n>(&self, name: &'n [u8]) -> &'n [u8] {
        let shorter = name.strip_suffix(b"/").filter(|shorter| self.extra_separator && !shorter.is_empty());
        shorter.unwrap_or(name)
    }

    /// Takes a flag. `\Recent` is no flag that anybody could set, so it is an error.
    ///
    /// # Errors
    /// If there is none, or it is a system flag without a meaning.
    pub fn flag(&mut self) -> Result<Flag> {
        let name = self.take("a flag", terminal::flag)?;
        name.parse().map_err(|error| match error {
            FlagError::UnknownSystemFlag => self.expected("a known system flag or a keyword before this"),
            error => GrammarError::Flag(error),
        })
    }

    /// Takes a list in parentheses, what `item` takes between single spaces. It may be empty.
    ///
    /// # Errors
    /// If it is malformed or has more than `limit` items.
    pub fn list<T>(
        &mut self,
        what: &'static str,
        limit: usize,
        mut item: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.octet(b'(', "a list in parentheses")?;
        if self.eat(b')') {
            return Ok(Vec::new());
        }
        let mut items = Vec::with_capacity(FEW_ITEMS);
        loop {
            if items.len() == limit {
                return Err(GrammarError::TooMany { what, limit });
            }
            items.push(item(self)?);
            if self.eat(b')') {
                return Ok(items);
            }
            self.space()?;
        }
    }
}

/// For so many items of a list there is room at once.
pub(crate) const FEW_ITEMS: usize = 4;

/// The longest of the words that [`upper_case`] is for, and a little more.
const LONGEST_WORD: usize = 24;

/// A word in upper case, to be compared with those that are known: a longer one becomes the empty word, without an allocation.
pub(crate) fn upper_case(word: &[u8]) -> impl Deref<Target = [u8]> {
    let mut upper = Upper { octets: [0; LONGEST_WORD], length: 0 };
    if let Some(octets) = upper.octets.get_mut(..word.len()) {
        octets.copy_from_slice(word);
        octets.make_ascii_uppercase();
        upper.length = word.len();
    }
    upper
}

struct Upper {
    octets: [u8; LONGEST_WORD],
    length: usize,
}

impl Deref for Upper {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.octets.get(..self.length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_whole() {
        let mut input = Input::new(b"rfc822.size BODY[]");
        assert!(!input.keyword("RFC822"));
        assert!(input.keyword("RFC822.SIZE"));
        assert!(input.space().is_ok() && input.keyword("BODY"));
        assert_eq!(input.rest(), b"[]");
    }

    #[test]
    fn errors_say_where() {
        let mut input = Input::new(b"abc (d");
        input.atom().unwrap();
        assert_eq!(input.atom().unwrap_err().to_string(), "expected an atom at octet 3");
        input.space().unwrap();
        assert_eq!(
            input.list("items", 9, |input| input.atom().map(str::len)).unwrap_err().to_string(),
            "expected a space at octet 6"
        );
    }

    #[test]
    fn lists_are_bounded() {
        let list = |text: &[u8]| Input::new(text).list("items", 2, |input| input.number());
        assert_eq!(list(b"()"), Ok(vec![]));
        assert_eq!(list(b"(1 2)"), Ok(vec![1, 2]));
        assert_eq!(list(b"(1 2 3)"), Err(GrammarError::TooMany { what: "items", limit: 2 }));
        assert!(list(b"(1  2)").is_err());
    }

    #[test]
    fn mailbox_names_are_decoded_and_checked() {
        let mailbox = |text: &[u8]| Input::new(text).mailbox();
        assert_eq!(mailbox(b"inbox").unwrap().as_str(), "INBOX");
        assert_eq!(mailbox(b"\"a b\"").unwrap().as_str(), "a b");
        assert_eq!(mailbox(b"Entw&APw-rfe").unwrap().as_str(), "Entwürfe");
        assert!(matches!(mailbox(b"{4}\r\na\xc3\xa9b"), Err(GrammarError::Mailbox(_))));
        assert!(matches!(mailbox(b"&AC8-etc"), Err(GrammarError::Mailbox(_))));
        assert!(matches!(mailbox(b"\"\""), Err(GrammarError::Mailbox(_))));
        assert!(matches!(mailbox(b"(x)"), Err(GrammarError::Syntax { .. })));
    }
}
