//! Tokens (RFC 5228 §8.1).

use memchr::{memchr, memchr2};
use smol_str::{SmolStr, StrExt as _};

use crate::{Position, SyntaxError, SyntaxErrorKind};

/// One token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    Identifier(SmolStr),
    Tag(SmolStr),
    Number(u64),
    String(SmolStr),
    /// One of `( ) [ ] { } , ;`.
    Mark(char),
    End,
}

/// Cuts a script into tokens, one at a time.
#[derive(Debug)]
pub(crate) struct Lexer<'a> {
    rest: &'a str,
    position: Position,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(script: &'a str) -> Self {
        Self { rest: script, position: Position { line: 1, column: 1 } }
    }

    /// The next token and where it begins.
    pub(crate) fn next(&mut self) -> Result<(Position, Token), SyntaxError> {
        self.skip_blanks()?;
        let position = self.position;
        let Some(first) = self.rest.chars().next() else { return Ok((position, Token::End)) };
        let token = match first {
            '(' | ')' | '[' | ']' | '{' | '}' | ',' | ';' => {
                self.take_word(1);
                Token::Mark(first)
            }
            '"' => Token::String(self.quoted()?),
            ':' => {
                self.take_word(1);
                let name = self.name();
                if name.is_empty() {
                    return Err(SyntaxError::new(position, SyntaxErrorKind::Unexpected(':')));
                }
                Token::Tag(name)
            }
            '0'..='9' => Token::Number(self.number()?),
            'a'..='z' | 'A'..='Z' | '_' => {
                let name = self.name();
                if name == "text" && self.rest.starts_with(':') {
                    Token::String(self.multi_line()?)
                } else {
                    Token::Identifier(name)
                }
            }
            other => return Err(SyntaxError::new(position, SyntaxErrorKind::Unexpected(other))),
        };
        Ok((position, token))
    }

    /// White space and comments of both kinds.
    fn skip_blanks(&mut self) -> Result<(), SyntaxError> {
        loop {
            let mut blanks = 0;
            for octet in self.rest.bytes() {
                match octet {
                    b'\n' => self.begin_line(),
                    b' ' | b'\t' | b'\r' => self.move_by(1),
                    _ => break,
                }
                blanks += 1;
            }
            self.rest = self.rest.get(blanks..).unwrap_or_default();
            if self.rest.starts_with('#') {
                self.take(self.rest.find('\n').unwrap_or(self.rest.len()));
            } else if self.rest.starts_with("/*") {
                let end = self.rest.find("*/").ok_or_else(|| self.error(SyntaxErrorKind::OpenComment))?;
                self.take(end + 2);
            } else {
                return Ok(());
            }
        }
    }

    fn name(&mut self) -> SmolStr {
        let is_part = |octet: &u8| octet.is_ascii_alphanumeric() || *octet == b'_';
        let length = self.rest.bytes().take_while(is_part).count();
        self.take_word(length).to_ascii_lowercase_smolstr()
    }

    fn number(&mut self) -> Result<u64, SyntaxError> {
        let too_large = self.error(SyntaxErrorKind::NumberTooLarge);
        let length = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let digits = self.take_word(length);
        // RFC 5228 §2.4.1: powers of 1,024.
        let shift = match self.rest.chars().next().map(|letter| letter.to_ascii_uppercase()) {
            Some('K') => 10,
            Some('M') => 20,
            Some('G') => 30,
            _ => 0,
        };
        if shift > 0 {
            self.take_word(1);
        }
        digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift)).ok_or(too_large)
    }

    fn quoted(&mut self) -> Result<SmolStr, SyntaxError> {
        let open = self.error(SyntaxErrorKind::OpenString);
        let mut value = String::new();
        let mut at = 1;
        loop {
            let behind = self.rest.get(at..).unwrap_or_default();
            let Some(length) = memchr2(b'"', b'\\', behind.as_bytes()) else { return Err(open) };
            let (plain, mark) = behind.split_at_checked(length).unwrap_or_default();
            at += length + 1;
            if mark.starts_with('"') {
                self.take(at);
                if value.is_empty() {
                    return Ok(plain.into());
                }
                value.push_str(plain);
                return Ok(value.into());
            }
            value.push_str(plain);
            // RFC 5228 §2.4.2: an escape before any other character is that character.
            let Some(escaped) = mark.chars().nth(1) else { return Err(open) };
            value.push(escaped);
            at += escaped.len_utf8();
        }
    }

    /// `text:` and its lines, up to a line of one dot; the name is taken already.
    fn multi_line(&mut self) -> Result<SmolStr, SyntaxError> {
        let open = self.error(SyntaxErrorKind::OpenString);
        let (head, _) = self.rest.split_once('\n').ok_or_else(|| open.clone())?;
        let after = head.trim_start_matches(':').trim_matches([' ', '\t', '\r']);
        if !after.is_empty() && !after.starts_with('#') {
            return Err(self.error(SyntaxErrorKind::TextBehindMultiLine));
        }
        self.take(head.len() + 1);
        let mut value = String::new();
        loop {
            let line_end = self.rest.find('\n').ok_or_else(|| open.clone())?;
            let line = self.take(line_end + 1);
            let text = line.trim_end_matches('\n').trim_end_matches('\r');
            if text == "." {
                return Ok(value.into());
            }
            value.push_str(text.strip_prefix('.').unwrap_or(text));
            value.push_str("\r\n");
        }
    }

    fn error(&self, kind: SyntaxErrorKind) -> SyntaxError {
        SyntaxError::new(self.position, kind)
    }

    /// Goes on by so many octets, which must end at a character; gives what was passed.
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        let mut last = taken;
        while let Some(end) = memchr(b'\n', last.as_bytes()) {
            self.begin_line();
            last = last.get(end + 1..).unwrap_or_default();
        }
        let columns = if last.is_ascii() { last.len() } else { last.chars().count() };
        self.move_by(columns);
        self.rest = rest;
        taken
    }

    /// The same by octets that are ASCII and no line ends.
    fn take_word(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.move_by(taken.len());
        self.rest = rest;
        taken
    }

    const fn begin_line(&mut self) {
        self.position = Position { line: self.position.line.saturating_add(1), column: 1 };
    }

    fn move_by(&mut self, columns: usize) {
        self.position.column =
            self.position.column.saturating_add(u32::try_from(columns).unwrap_or(u32::MAX));
    }
}
