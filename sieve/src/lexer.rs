//! Tokens (RFC 5228 §8.1).

use std::collections::VecDeque;

use smol_str::{SmolStr, StrExt as _};

use crate::{Comment, Position, SyntaxError, SyntaxErrorKind, comment};

/// Part of an identifier, behind its first letter.
const NAME: u8 = 1;
/// White space within a line.
const BLANK: u8 = 2;
/// What a quoted string goes over without a closer look.
const PLAIN: u8 = 4;

/// What each octet may stand in.
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let (mut rest, mut octet): (&mut [u8], u8) = (&mut classes, 0);
    while let [class, after @ ..] = rest {
        *class = match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => NAME | PLAIN,
            b' ' | b'\t' | b'\r' => BLANK | PLAIN,
            b'"' | b'\\' | b'\n' | 0x80.. => 0,
            _ => PLAIN,
        };
        octet = octet.wrapping_add(1);
        rest = after;
    }
    classes
};

/// How many octets of a class there are before any other.
fn span(class: u8, octets: &[u8]) -> usize {
    let is_in = |octet: &u8| CLASSES.get(usize::from(*octet)).is_some_and(|classes| classes & class != 0);
    octets.iter().position(|octet| !is_in(octet)).unwrap_or(octets.len())
}

/// One token, as it stands in the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    Identifier(Name<'a>),
    Tag(Name<'a>),
    Number(u64),
    String(Raw<'a>),
    /// One of `( ) [ ] { } , ;`.
    Mark(char),
    End,
}

/// An identifier in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name<'a>(&'a str);

/// A string before escapes and dot-stuffing are undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Raw<'a> {
    Plain(&'a str),
    Escaped(&'a str),
    Lines(&'a str),
}

impl Name<'_> {
    /// RFC 5228 §2.1: identifiers are case-insensitive.
    pub(crate) fn lower(self) -> SmolStr {
        match self.0.bytes().any(|octet| octet.is_ascii_uppercase()) {
            true => self.0.to_ascii_lowercase_smolstr(),
            false => self.0.into(),
        }
    }
}

impl Raw<'_> {
    pub(crate) fn value(self) -> SmolStr {
        let mut value = String::new();
        match self {
            Self::Plain(text) => return text.into(),
            Self::Escaped(text) => {
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
                    value.push_str(line.strip_prefix('.').unwrap_or(line));
                    value.push_str("\r\n");
                }
            }
        }
        value.into()
    }
}

/// Cuts a script into tokens, one at a time.
#[derive(Debug)]
pub(crate) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: u32,
    /// Where the line began, had all its characters up to here one octet: columns are counted from it.
    line_start: usize,
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
        Self { text: script, at: 0, line: 1, line_start: 0, comments, new_line: false }
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

    /// The next token and where it begins.
    pub(crate) fn next(&mut self) -> Result<(Position, Token<'a>), SyntaxError> {
        self.skip_blanks()?;
        let position = self.position();
        let Some(first) = self.octets().first() else { return Ok((position, Token::End)) };
        let token = match *first {
            mark @ (b'(' | b')' | b'[' | b']' | b'{' | b'}' | b',' | b';') => {
                self.at += 1;
                Token::Mark(char::from(mark))
            }
            b'"' => Token::String(self.quoted()?),
            b':' => {
                self.at += 1;
                match self.name() {
                    Name("") => return Err(SyntaxError::new(position, SyntaxErrorKind::Unexpected(':'))),
                    name => Token::Tag(name),
                }
            }
            b'0'..=b'9' => Token::Number(self.number()?),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let name = self.name();
                if self.octets().first() == Some(&b':') && name.0.eq_ignore_ascii_case("text") {
                    Token::String(self.multi_line()?)
                } else {
                    Token::Identifier(name)
                }
            }
            _ => {
                let other = self.rest().chars().next().unwrap_or_default();
                return Err(SyntaxError::new(position, SyntaxErrorKind::Unexpected(other)));
            }
        };
        Ok((position, token))
    }

    /// White space and comments of both kinds.
    fn skip_blanks(&mut self) -> Result<(), SyntaxError> {
        self.new_line = false;
        loop {
            self.at += span(BLANK, self.octets());
            match self.octets() {
                [b'\n', ..] => {
                    self.at += 1;
                    self.begin_line();
                    self.new_line = true;
                }
                [b'#', ..] | [b'/', b'*', ..] => {
                    let length = comment::end(self.rest());
                    let length = length.ok_or_else(|| self.error(SyntaxErrorKind::OpenComment))?;
                    self.found(length);
                    self.pass(length);
                }
                _ => return Ok(()),
            }
        }
    }

    /// A comment of so many octets begins here.
    fn found(&mut self, length: usize) {
        let (position, text) = (self.position(), self.rest());
        if let Some(comments) = &mut self.comments {
            let comment = Comment::cut(position, text.get(..length).unwrap_or_default());
            comments.push_back(Found { comment, same_line: !self.new_line });
        }
    }

    fn name(&mut self) -> Name<'a> {
        Name(self.take(span(NAME, self.octets())))
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
        let open = self.position();
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += span(PLAIN, self.octets());
            let behind = self.octets();
            if behind.is_empty() {
                return Err(SyntaxError::new(open, SyntaxErrorKind::OpenString));
            }
            self.at += 1;
            match behind {
                [b'"', ..] => {
                    let text = self.text.get(start..self.at - 1).unwrap_or_default();
                    return Ok(if escaped { Raw::Escaped(text) } else { Raw::Plain(text) });
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
        }
    }

    /// `text:` and its lines, up to a line of one dot; the name is taken already.
    fn multi_line(&mut self) -> Result<Raw<'a>, SyntaxError> {
        let open = self.error(SyntaxErrorKind::OpenString);
        let Some((head, _)) = self.rest().split_once('\n') else { return Err(open) };
        // RFC 5228 §8.1: "text:" *(SP / HTAB) (hash-comment / CRLF)
        let before = head.get(1..).unwrap_or_default().trim_start_matches([' ', '\t', '\r']);
        if !before.is_empty() && !before.starts_with('#') {
            return Err(self.error(SyntaxErrorKind::TextBehindMultiLine));
        }
        self.at += head.len() - before.len();
        if !before.is_empty() {
            self.found(before.len());
        }
        self.at += before.len() + 1;
        self.begin_line();
        let start = self.at;
        loop {
            let Some(length) = self.rest().find('\n') else { return Err(open) };
            let before = self.at;
            let line = self.take(length + 1);
            self.begin_line();
            if line.trim_end_matches(['\r', '\n']) == "." {
                return Ok(Raw::Lines(self.text.get(start..before).unwrap_or_default()));
            }
        }
    }

    fn error(&self, kind: SyntaxErrorKind) -> SyntaxError {
        SyntaxError::new(self.position(), kind)
    }

    fn position(&self) -> Position {
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
