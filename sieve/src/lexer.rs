//! Tokens (RFC 5228 §8.1).

use std::{borrow::Cow, collections::VecDeque};

use memchr::memchr;

use crate::{Comment, Position, SyntaxError, SyntaxErrorKind, comment};

/// Part of an identifier, behind its first letter.
const NAME: u8 = 1;
/// What a quoted string goes over without a closer look.
const PLAIN: u8 = 2;
/// A letter that stands for its lower case in an identifier.
const UPPER: u8 = 4;

/// What each octet may stand in.
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let (mut rest, mut octet): (&mut [u8], u8) = (&mut classes, 0);
    while let [class, after @ ..] = rest {
        *class = match octet {
            b'A'..=b'Z' => NAME | PLAIN | UPPER,
            b'a'..=b'z' | b'0'..=b'9' | b'_' => NAME | PLAIN,
            b'"' | b'\\' | b'\n' | 0x80.. => 0,
            _ => PLAIN,
        };
        octet = octet.wrapping_add(1);
        rest = after;
    }
    classes
};

/// How many octets of a class there are before any other, and which classes they have together.
fn span(class: u8, octets: &[u8]) -> (usize, u8) {
    let (mut rest, mut together) = (octets, 0);
    while let [octet, behind @ ..] = rest {
        let classes = CLASSES.get(usize::from(*octet)).copied().unwrap_or_default();
        if classes & class == 0 {
            break;
        }
        together |= classes;
        rest = behind;
    }
    (octets.len() - rest.len(), together)
}

/// How many octets a string can go over at least without a closer look, eight at a time.
fn plain(octets: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    // The high bit of the first octet that is zero is set, and of none before it.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let mut rest = octets;
    while let Some((eight, behind)) = rest.split_first_chunk() {
        let word = u64::from_le_bytes(*eight);
        let is = |octet: u8| zero(word ^ u64::from_ne_bytes([octet; 8]));
        let found = (word | is(b'"') | is(b'\\') | is(b'\n')) & HIGH;
        if found != 0 {
            return octets.len() - rest.len() + (found.trailing_zeros() / 8) as usize;
        }
        rest = behind;
    }
    octets.len() - rest.len()
}

/// One token, as it stands in the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    Identifier(Name<'a>),
    Tag(Name<'a>),
    Number(u64),
    String(Raw<'a>),
    /// One of `( ) [ ] { } , ;`.
    Mark(u8),
    End,
}

/// An identifier in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name<'a> {
    text: &'a str,
    has_upper: bool,
}

/// A string before escapes and dot-stuffing are undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Raw<'a> {
    /// Just as it stands, and without a dollar, which variables and encoded characters begin with.
    Plain(&'a str),
    /// Just as it stands; there may be a dollar in it.
    Unescaped(&'a str),
    Escaped(&'a str),
    Lines(&'a str),
}

impl<'a> Name<'a> {
    /// RFC 5228 §2.1: identifiers are case-insensitive.
    pub(crate) fn lower(self) -> Cow<'a, str> {
        match self.has_upper {
            true => Cow::Owned(self.text.to_ascii_lowercase()),
            false => Cow::Borrowed(self.text),
        }
    }
}

impl<'a> Raw<'a> {
    pub(crate) fn value(self) -> Cow<'a, str> {
        let mut value = String::new();
        match self {
            Self::Plain(text) | Self::Unescaped(text) => return Cow::Borrowed(text),
            Self::Escaped(text) => {
                value.reserve_exact(text.len());
                let mut rest = text;
                while let Some((plain, behind)) = rest.split_once('\\') {
                    value.push_str(plain);
                    // RFC 5228 §2.4.2: an escape before any other character is that character.
                    let mut behind = behind.chars();
                    value.extend(behind.next());
                    rest = behind.as_str();
                }
                value.push_str(rest);
            }
            Self::Lines(text) => {
                for line in text.split_terminator('\n').map(|line| line.trim_end_matches('\r')) {
                    // RFC 5228 §2.4.2: a dot goes if another one follows; ".foo" is a line as it is.
                    value.push_str(
                        line.strip_prefix('.').filter(|rest| rest.starts_with('.')).unwrap_or(line),
                    );
                    value.push_str("\r\n");
                }
            }
        }
        Cow::Owned(value)
    }
}

/// Cuts a script into tokens, one at a time.
#[derive(Debug)]
pub(crate) struct Lexer<'a> {
    /// The token it is at, and where that begins.
    pub(crate) token: Token<'a>,
    pub(crate) position: Position,
    text: &'a str,
    at: usize,
    line: u32,
    /// Where the line began, had all its characters up to here one octet: columns are counted from it.
    line_start: usize,
    /// Where the first dollar is that no string has been asked about, or the end: most scripts have few.
    dollar: usize,
    /// The comments that nobody has taken yet, if they are wanted.
    comments: Option<VecDeque<Found>>,
    /// Whether a line has begun behind the last token, but for those within comments.
    new_line: bool,
}

/// A comment, and whether it begins on the line of the token before.
#[derive(Debug)]
struct Found {
    comment: Comment,
    same_line: bool,
}

impl<'a> Lexer<'a> {
    /// Comments cost time and memory: they are kept only if they are wanted.
    pub(crate) fn new(script: &'a str, comments: bool) -> Self {
        let comments = comments.then(VecDeque::new);
        Self {
            token: Token::End,
            position: Position { line: 1, column: 1 },
            text: script,
            at: 0,
            line: 1,
            line_start: 0,
            dollar: memchr(b'$', script.as_bytes()).unwrap_or(script.len()),
            comments,
            new_line: false,
        }
    }

    /// The next comment that was passed on the way to the last token; with `same_line` only if it begins on the line of the token before.
    pub(crate) fn comment(&mut self, same_line: bool) -> Option<Comment> {
        let comments = self.comments.as_mut()?;
        if comments.front()?.same_line || !same_line {
            comments.pop_front().map(|found| found.comment)
        } else {
            None
        }
    }

    /// Goes on to the next token.
    pub(crate) fn advance(&mut self) -> Result<(), SyntaxError> {
        self.new_line = false;
        let octets = self.text.as_bytes();
        let first = loop {
            match octets.get(self.at) {
                // Most tokens begin behind all these.
                Some(first) if *first > b'/' => break *first,
                Some(b' ' | b'\t' | b'\r') => self.at += 1,
                Some(b'\n') => {
                    self.at += 1;
                    self.begin_line();
                    self.new_line = true;
                }
                Some(b'#') => self.skip_comment()?,
                Some(b'/') if self.octets().starts_with(b"/*") => self.skip_comment()?,
                Some(first) => break *first,
                None => break 0,
            }
        };
        self.position = self.here();
        self.token = match first {
            mark @ (b'(' | b')' | b'[' | b']' | b'{' | b'}' | b',' | b';') => {
                self.at += 1;
                Token::Mark(mark)
            }
            b'"' => Token::String(self.quoted()?),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let name = self.name();
                if self.octets().first() == Some(&b':') && name.text.eq_ignore_ascii_case("text") {
                    Token::String(self.multi_line()?)
                } else {
                    Token::Identifier(name)
                }
            }
            b':' => {
                self.at += 1;
                match self.name() {
                    Name { text: "", .. } => return Err(self.unexpected(':')),
                    name => Token::Tag(name),
                }
            }
            b'0'..=b'9' => Token::Number(self.number()?),
            _ => match self.rest().chars().next() {
                Some(other) => return Err(self.unexpected(other)),
                None => Token::End,
            },
        };
        Ok(())
    }

    /// What begins nothing; it is passed, so that something else comes next.
    #[cold]
    fn unexpected(&mut self, found: char) -> SyntaxError {
        if self.here() == self.position {
            self.pass(found.len_utf8());
        }
        SyntaxError::new(self.position, SyntaxErrorKind::Unexpected(found))
    }

    /// What is never closed; nothing follows it.
    #[cold]
    fn open(&mut self, kind: SyntaxErrorKind, position: Position) -> SyntaxError {
        self.at = self.text.len();
        SyntaxError::new(position, kind)
    }

    /// A comment of either kind.
    fn skip_comment(&mut self) -> Result<(), SyntaxError> {
        let length = comment::end(self.rest());
        let Some(length) = length else { return Err(self.open(SyntaxErrorKind::OpenComment, self.here())) };
        self.found(length);
        self.pass(length);
        Ok(())
    }

    /// A comment of so many octets begins here.
    fn found(&mut self, length: usize) {
        let (position, text) = (self.here(), self.rest());
        if let Some(comments) = &mut self.comments {
            let comment = Comment::cut(position, text.get(..length).unwrap_or_default());
            comments.push_back(Found { comment, same_line: !self.new_line });
        }
    }

    fn name(&mut self) -> Name<'a> {
        let (length, classes) = span(NAME, self.octets());
        Name { text: self.take(length), has_upper: classes & UPPER != 0 }
    }

    fn number(&mut self) -> Result<u64, SyntaxError> {
        let too_large = self.error(SyntaxErrorKind::NumberTooLarge);
        let length = self.octets().iter().take_while(|octet| octet.is_ascii_digit()).count();
        let digits = self.take(length);
        // RFC 5228 §2.4.1: powers of 1,024.
        let shift = match self.octets().first().map(u8::to_ascii_uppercase) {
            Some(b'K') => 10,
            Some(b'M') => 20,
            Some(b'G') => 30,
            _ => 0,
        };
        self.at += usize::from(shift > 0);
        digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift)).ok_or(too_large)
    }

    fn quoted(&mut self) -> Result<Raw<'a>, SyntaxError> {
        self.at += 1;
        let (start, inner) = (self.at, self.rest());
        let mut length = plain(inner.as_bytes());
        // What is too short for that, or not plain.
        length += span(PLAIN, inner.as_bytes().get(length..).unwrap_or_default()).0;
        self.at += length;
        if self.octets().first() == Some(&b'"') {
            self.at += 1;
            let text = inner.get(..length).unwrap_or_default();
            return Ok(if self.dollar < self.at { self.with_dollar(text) } else { Raw::Plain(text) });
        }
        self.quoted_from(start)
    }

    /// A string that ends here, and in or before which there was the dollar.
    #[cold]
    fn with_dollar(&mut self, text: &'a str) -> Raw<'a> {
        self.dollar = self.at + memchr(b'$', self.octets()).unwrap_or(self.text.len() - self.at);
        match memchr(b'$', text.as_bytes()) {
            Some(_) => Raw::Unescaped(text),
            None => Raw::Plain(text),
        }
    }

    /// The rest of a string that began there, and has something in it that must be looked at.
    fn quoted_from(&mut self, start: usize) -> Result<Raw<'a>, SyntaxError> {
        let mut escaped = false;
        loop {
            let behind = self.octets();
            if behind.is_empty() {
                return Err(self.open(SyntaxErrorKind::OpenString, self.position));
            }
            self.at += 1;
            match behind {
                [b'"', ..] => {
                    let text = self.text.get(start..self.at - 1).unwrap_or_default();
                    return Ok(if escaped { Raw::Escaped(text) } else { Raw::Unescaped(text) });
                }
                [b'\\', next, ..] => {
                    escaped = true;
                    // Anything else is looked at as if it stood alone.
                    self.at += usize::from(matches!(next, b'"' | b'\\'));
                }
                [b'\n', ..] => self.begin_line(),
                [other, ..] => self.line_start += usize::from(is_continuation(*other)),
                [] => {}
            }
            self.at += plain(self.octets());
            self.at += span(PLAIN, self.octets()).0;
        }
    }

    /// `text:` and its lines, up to a line of one dot; the name is taken already.
    fn multi_line(&mut self) -> Result<Raw<'a>, SyntaxError> {
        let begun = self.here();
        let Some((head, _)) = self.rest().split_once('\n') else {
            return Err(self.open(SyntaxErrorKind::OpenString, begun));
        };
        // RFC 5228 §8.1: "text:" *(SP / HTAB) (hash-comment / CRLF)
        let before = head.get(1..).unwrap_or_default().trim_start_matches([' ', '\t', '\r']);
        if !before.is_empty() && !before.starts_with('#') {
            let error = self.error(SyntaxErrorKind::TextBehindMultiLine);
            self.pass(head.len());
            return Err(error);
        }
        self.at += head.len() - before.len();
        if !before.is_empty() {
            self.found(before.len());
        }
        self.at += before.len() + 1;
        self.begin_line();
        let start = self.at;
        loop {
            let Some(length) = self.rest().find('\n') else {
                return Err(self.open(SyntaxErrorKind::OpenString, begun));
            };
            let before = self.at;
            let line = self.take(length + 1);
            self.begin_line();
            if line.trim_end_matches(['\r', '\n']) == "." {
                return Ok(Raw::Lines(self.text.get(start..before).unwrap_or_default()));
            }
        }
    }

    fn error(&self, kind: SyntaxErrorKind) -> SyntaxError {
        SyntaxError::new(self.here(), kind)
    }

    fn here(&self) -> Position {
        let column = u32::try_from(self.at - self.line_start).unwrap_or(u32::MAX).saturating_add(1);
        Position { line: self.line, column }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn octets(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// Goes on by so many octets, which are ASCII or end with a line; gives them.
    fn take(&mut self, length: usize) -> &'a str {
        let start = self.at;
        self.at += length;
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// Goes on by so many octets of any kind.
    fn pass(&mut self, length: usize) {
        for octet in self.octets().iter().take(length) {
            self.at += 1;
            match *octet {
                b'\n' => self.begin_line(),
                other => self.line_start += usize::from(is_continuation(other)),
            }
        }
    }

    /// A line begins here.
    const fn begin_line(&mut self) {
        self.line = self.line.saturating_add(1);
        self.line_start = self.at;
    }
}

/// Whether an octet goes on with a character (RFC 3629 §3).
const fn is_continuation(octet: u8) -> bool {
    matches!(octet, 0x80..=0xBF)
}
