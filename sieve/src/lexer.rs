//! Tokens (RFC 5228 §8.1).

use crate::{Position, SyntaxError, SyntaxErrorKind};

/// One token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    Identifier(String),
    Tag(String),
    Number(u64),
    String(String),
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
                self.take(1);
                Token::Mark(first)
            }
            '"' => Token::String(self.quoted()?),
            ':' => {
                self.take(1);
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
            let blanks = self.rest.len() - self.rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
            self.take(blanks);
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

    fn name(&mut self) -> String {
        let end = self
            .rest
            .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
            .unwrap_or(self.rest.len());
        self.take(end).to_ascii_lowercase()
    }

    fn number(&mut self) -> Result<u64, SyntaxError> {
        let too_large = self.error(SyntaxErrorKind::NumberTooLarge);
        let end = self.rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(self.rest.len());
        let digits = self.take(end);
        // RFC 5228 §2.4.1: powers of 1,024.
        let shift = match self.rest.chars().next().map(|letter| letter.to_ascii_uppercase()) {
            Some('K') => 10,
            Some('M') => 20,
            Some('G') => 30,
            _ => 0,
        };
        if shift > 0 {
            self.take(1);
        }
        digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift)).ok_or(too_large)
    }

    fn quoted(&mut self) -> Result<String, SyntaxError> {
        let open = self.error(SyntaxErrorKind::OpenString);
        let mut value = String::new();
        let mut letters = self.rest.char_indices().skip(1);
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' => {
                    self.take(at + 1);
                    return Ok(value);
                }
                // RFC 5228 §2.4.2: an escape before any other character is that character.
                '\\' => match letters.next() {
                    Some((_, escaped)) => value.push(escaped),
                    None => break,
                },
                other => value.push(other),
            }
        }
        Err(open)
    }

    /// `text:` and its lines, up to a line of one dot; the name is taken already.
    fn multi_line(&mut self) -> Result<String, SyntaxError> {
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
                return Ok(value);
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
        for letter in taken.chars() {
            if letter == '\n' {
                self.position.line = self.position.line.saturating_add(1);
                self.position.column = 1;
            } else {
                self.position.column = self.position.column.saturating_add(1);
            }
        }
        self.rest = rest;
        taken
    }
}
