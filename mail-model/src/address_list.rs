//! Address lists of header fields such as From and To (RFC 5322 §3.4, with the obsolete forms of §4.4).
//!
//! Whatever a field holds, [`parse`] makes the best of it: it neither fails nor recurses, takes linear
//! time, and stops at [`MAX_ENTRIES`].

use lexer::{Lexer, Token};

use crate::{Address, LocalPart};

mod lexer;
#[cfg(test)]
mod tests;

/// The most entries taken from one field; the rest of the field is ignored.
///
/// A defence against fields of a hundred thousand addresses (CVE-2024-23184).
pub const MAX_ENTRIES: usize = 10_000;

/// One thing in an address list, in the order of the field.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Entry {
    /// A mailbox, in a group or not.
    Mailbox(Mailbox),
    /// The start of a group, with its name. Each is followed by one [`GroupEnd`](Self::GroupEnd) before the next.
    GroupStart(Vec<u8>),
    /// The end of a group.
    GroupEnd,
}

/// A mailbox as a header field names it: octets, since a header may hold any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mailbox {
    /// The display name without quotes, or else the comment beside the address. Encoded words are left as
    /// they are: [`word::decode`](crate::word::decode) turns them into text.
    pub name: Option<Vec<u8>>,
    /// The obsolete source route, such as `@a.example,@b.example`.
    pub route: Option<Vec<u8>>,
    /// The local part without quotes; empty if there is none.
    pub local: Vec<u8>,
    /// The domain; empty if there is none.
    pub domain: Vec<u8>,
}

impl Mailbox {
    /// The address alone, with quotes where it needs them; `None` if it is none that mail can be sent to.
    ///
    /// ```
    /// use mailwright_mail_model::address_list::{Entry, parse};
    ///
    /// let [Entry::Mailbox(mailbox)] = &parse(b"Bob <\"b b\"@example.org>")[..] else { panic!() };
    /// assert_eq!(mailbox.address().unwrap().to_string(), "\"b b\"@example.org");
    /// ```
    pub fn address(&self) -> Option<Address> {
        let local = LocalPart::from_unquoted(std::str::from_utf8(&self.local).ok()?).ok()?;
        Address::new(local, std::str::from_utf8(&self.domain).ok()?.parse().ok()?).ok()
    }
}

/// The entries of a field's value, which may be folded.
///
/// ```
/// use mailwright_mail_model::address_list::{Entry, parse};
///
/// let entries = parse(b"\"Doe, Ann\" <ann@example.org>, team: bob@example.org (Bob);");
/// let [Entry::Mailbox(ann), Entry::GroupStart(team), Entry::Mailbox(bob), Entry::GroupEnd] = &entries[..] else {
///     panic!("{entries:?}");
/// };
/// assert_eq!(ann.name.as_deref(), Some(&b"Doe, Ann"[..]));
/// assert_eq!(team, b"team");
/// assert_eq!(bob.name.as_deref(), Some(&b"Bob"[..]));
/// assert_eq!((&bob.local[..], &bob.domain[..]), (&b"bob"[..], &b"example.org"[..]));
/// ```
pub fn parse(value: &[u8]) -> Vec<Entry> {
    parse_telling(value).0
}

/// The entries of a field's value, and whether they are all there is in it.
///
/// They are not if something had to be passed over that belongs to no address: others may read an address where this
/// parser reads none, which matters to whoever decides by the addresses.
///
/// ```
/// use mailwright_mail_model::address_list::parse_telling;
///
/// assert!(parse_telling(b"Ann (the first) <ann@example.org>, bob@example.org").1);
/// assert!(!parse_telling(b"eve@example.net: ann@example.org;").1);
/// ```
pub fn parse_telling(value: &[u8]) -> (Vec<Entry>, bool) {
    let mut parser = Parser { lexer: Lexer::new(value), entries: Vec::new(), in_group: false, whole: true };
    let mut more = true;
    while parser.entries.len() < MAX_ENTRIES && more {
        more = parser.element();
    }
    parser.close_group();
    (parser.entries, parser.whole && !parser.lexer.unclosed && !more)
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    entries: Vec<Entry>,
    in_group: bool,
    /// Nothing was passed over so far.
    whole: bool,
}

impl Parser<'_> {
    /// Reads up to the end of one element of the list; `false` at the end of the field.
    fn element(&mut self) -> bool {
        self.lexer.comment = None;
        let mut words = Words::default();
        loop {
            match self.lexer.next() {
                Some(Token::Word(word)) => words.push(&word, self.lexer.spaced),
                Some(Token::Special(b'.')) => words.push_dot(self.lexer.spaced),
                Some(Token::Special(b'<')) => {
                    self.angle(words.phrase);
                    return true;
                }
                Some(Token::Special(b'@')) => {
                    self.bare_address(words);
                    return true;
                }
                Some(Token::Special(b':')) if !words.phrase.is_empty() => {
                    // RFC 5322 §3.4: groups do not nest; an open one ends here.
                    self.close_group();
                    self.entries.push(Entry::GroupStart(words.phrase));
                    self.in_group = true;
                    return true;
                }
                end @ (None | Some(Token::Special(b',' | b';'))) => {
                    // Words alone, as `To: root`.
                    if !words.phrase.is_empty() {
                        self.push(None, None, words.phrase, Vec::new());
                    }
                    if end == Some(Token::Special(b';')) {
                        self.close_group();
                    }
                    return end.is_some();
                }
                // A `>` that closes nothing, or a `:` that names no group.
                Some(Token::Special(_)) => {
                    self.whole = false;
                    words.break_off();
                }
            }
        }
    }

    /// After `local@`, where no bracket was.
    fn bare_address(&mut self, words: Words) {
        let domain = self.domain();
        if self.skip() == Some(b'<') {
            // `ann@example.org <ann@example.org>`: what looked like an address is a name without quotes.
            self.lexer.next();
            let name = [words.phrase.as_slice(), b"@", &domain].concat();
            return self.angle(name);
        }
        let (name, local) = words.into_name_and_local();
        self.whole &= name.is_none();
        self.push(name, None, local, domain);
    }

    /// After `name <`.
    fn angle(&mut self, name: Vec<u8>) {
        let (mut route, mut words, mut domain) = (None, Words::default(), Vec::new());
        // What stands behind a domain is no part of the address, unless it turns out to be another.
        let mut behind = Words::default();
        loop {
            match self.lexer.next() {
                Some(Token::Word(word)) if domain.is_empty() => words.push(&word, self.lexer.spaced),
                Some(Token::Special(b'.')) if domain.is_empty() => words.push_dot(self.lexer.spaced),
                Some(Token::Word(word)) => {
                    self.whole = false;
                    behind.push(&word, self.lexer.spaced);
                }
                Some(Token::Special(b'.')) => {
                    self.whole = false;
                    behind.push_dot(self.lexer.spaced);
                }
                Some(Token::Special(b'@')) if words.phrase.is_empty() && route.is_none() => {
                    match self.route() {
                        Ok(found) => route = Some(found),
                        Err(no_route) => domain = no_route,
                    }
                }
                Some(Token::Special(b'@')) => {
                    // Of several domains the last counts.
                    self.whole &= domain.is_empty();
                    domain = self.domain();
                    if !behind.phrase.is_empty() {
                        words = std::mem::take(&mut behind);
                    }
                }
                Some(Token::Special(b'>')) => break,
                None => {
                    self.whole = false;
                    break;
                }
                Some(token @ Token::Special(b',' | b';' | b'<')) => {
                    self.whole = false;
                    self.lexer.put_back(token);
                    break;
                }
                // RFC 5322 §3.4.1 has no colon in a local part: that of `<mailto:ann@example.org>` follows it.
                Some(Token::Special(_)) => {
                    self.whole = false;
                    if domain.is_empty() {
                        words = Words::default();
                    }
                    behind = Words::default();
                }
            }
        }
        self.skip();
        let name = (!name.is_empty()).then_some(name);
        if domain.is_empty() && words.apart > 0 {
            return self.push(name, route, words.phrase, domain);
        }
        let (more, local) = words.into_name_and_local();
        self.whole &= more.is_none();
        self.push(name, route, local, domain);
    }

    /// After `<@`: the source route up to its colon (RFC 5322 §4.4 `obs-route`), or what stood there instead.
    fn route(&mut self) -> Result<Vec<u8>, Vec<u8>> {
        let mut route = b"@".to_vec();
        loop {
            match self.lexer.next() {
                Some(Token::Word(word))
                    if !self.lexer.spaced || matches!(route.last(), Some(b'@' | b'.' | b',')) =>
                {
                    route.extend_from_slice(&word);
                }
                Some(Token::Special(b':')) => return Ok(route),
                Some(Token::Special(special @ (b'@' | b'.' | b','))) => route.push(special),
                end => {
                    if let Some(token) = end {
                        self.lexer.put_back(token);
                    }
                    return Err(route.split_off(1));
                }
            }
        }
    }

    /// After `@`: atoms and dots, or a literal, white space and comments left out.
    fn domain(&mut self) -> Vec<u8> {
        let mut domain: Vec<u8> = Vec::with_capacity(LENGTH);
        loop {
            match self.lexer.next() {
                Some(Token::Special(b'.')) => domain.push(b'.'),
                Some(Token::Word(word))
                    if !self.lexer.spaced || matches!(domain.last(), None | Some(b'.')) =>
                {
                    domain.extend_from_slice(&word);
                }
                Some(token) => {
                    self.lexer.put_back(token);
                    return domain;
                }
                None => return domain,
            }
        }
    }

    /// Passes over what does not belong to any address, up to (but not over) the special returned.
    /// Only `,` is taken, as it belongs to the element it ends.
    fn skip(&mut self) -> Option<u8> {
        loop {
            match self.lexer.next()? {
                Token::Special(b',') => return Some(b','),
                Token::Special(special @ (b';' | b'<')) => {
                    self.lexer.put_back(Token::Special(special));
                    return Some(special);
                }
                _ => self.whole = false,
            }
        }
    }

    fn push(&mut self, name: Option<Vec<u8>>, route: Option<Vec<u8>>, local: Vec<u8>, domain: Vec<u8>) {
        // The way before display names, and still in use: `ann@example.org (Ann)`.
        let name = name.or_else(|| self.lexer.comment.take().filter(|comment| !comment.is_empty()));
        self.entries.push(Entry::Mailbox(Mailbox { name, route, local, domain }));
    }

    fn close_group(&mut self) {
        if std::mem::take(&mut self.in_group) {
            self.entries.push(Entry::GroupEnd);
        }
    }
}

/// Most local parts, domains and names are no longer, and nothing shorter takes less memory.
const LENGTH: usize = 24;

/// Words as they come, until it is known whether they are a display name or a local part.
#[derive(Default)]
struct Words {
    /// With one space wherever there was white space.
    phrase: Vec<u8>,
    /// Where in it the words begin that dots join: RFC 5322 §4.4 `obs-local-part` has no other between its words.
    apart: usize,
    /// Those words without white space beside dots; as long as there was none, nothing.
    local: Option<Vec<u8>>,
    /// What follows belongs to no word before.
    broken_off: bool,
}

impl Words {
    fn push(&mut self, word: &[u8], spaced: bool) {
        if self.phrase.capacity() == 0 {
            self.phrase.reserve_exact(word.len().max(LENGTH));
        }
        let broken_off = std::mem::take(&mut self.broken_off);
        if (spaced || broken_off) && !self.phrase.is_empty() {
            if !broken_off && self.phrase.last() == Some(&b'.') {
                self.keep_local();
                self.phrase.push(b' ');
            } else {
                self.begin_local();
            }
        }
        self.phrase.extend_from_slice(word);
        if let Some(local) = &mut self.local {
            local.extend_from_slice(word);
        }
    }

    fn push_dot(&mut self, spaced: bool) {
        if std::mem::take(&mut self.broken_off) && !self.phrase.is_empty() {
            self.begin_local();
        } else if spaced && !self.phrase.is_empty() {
            self.keep_local();
            self.phrase.push(b' ');
        }
        self.phrase.push(b'.');
        if let Some(local) = &mut self.local {
            local.push(b'.');
        }
    }

    fn break_off(&mut self) {
        self.broken_off = true;
    }

    fn begin_local(&mut self) {
        self.phrase.push(b' ');
        self.apart = self.phrase.len();
        self.local = None;
    }

    fn keep_local(&mut self) {
        self.local.get_or_insert_with(|| self.phrase.get(self.apart..).unwrap_or_default().to_vec());
    }

    /// What stands before the local part, and the local part.
    fn into_name_and_local(self) -> (Option<Vec<u8>>, Vec<u8>) {
        let mut phrase = self.phrase;
        if self.apart == 0 {
            return (None, self.local.unwrap_or(phrase));
        }
        let last = phrase.split_off(self.apart.min(phrase.len()));
        phrase.pop();
        (Some(phrase), self.local.unwrap_or(last))
    }
}
