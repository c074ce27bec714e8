//! Words and specials of structured header fields (RFC 5322 §3.2), comments and white space set aside.

use std::borrow::Cow;

use crate::word;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// An atom, an encoded word, a domain literal with its brackets, or what a quoted string means.
    Word(Cow<'a, [u8]>),
    /// One of `< > : ; , @ .`
    Special(u8),
}

pub(super) struct Lexer<'a> {
    rest: &'a [u8],
    put_back: Option<(Token<'a>, bool)>,
    /// Whether white space or a comment stood before the last token.
    pub(super) spaced: bool,
    /// The last comment passed over.
    pub(super) comment: Option<Vec<u8>>,
    /// Whether a quoted string or a comment went to the end of the field.
    pub(super) unclosed: bool,
}

impl<'a> Lexer<'a> {
    pub(super) const fn new(value: &'a [u8]) -> Self {
        Self { rest: value, put_back: None, spaced: false, comment: None, unclosed: false }
    }

    pub(super) fn put_back(&mut self, token: Token<'a>) {
        self.put_back = Some((token, self.spaced));
    }

    pub(super) fn next(&mut self) -> Option<Token<'a>> {
        if let Some((token, spaced)) = self.put_back.take() {
            self.spaced = spaced;
            return Some(token);
        }
        self.spaced = false;
        loop {
            let (first, after) = self.rest.split_first()?;
            match first {
                b' ' | b'\t' | b'\r' | b'\n' => self.rest = after,
                b'(' => {
                    self.rest = after;
                    let comment = self.take_comment();
                    self.comment = Some(comment);
                }
                b'<' | b'>' | b':' | b';' | b',' | b'@' | b'.' => {
                    self.rest = after;
                    return Some(Token::Special(*first));
                }
                b'"' => {
                    self.rest = after;
                    return Some(Token::Word(Cow::Owned(self.take_quoted())));
                }
                b'[' => return Some(self.take_word(1, |byte| byte == b']' || ends_literal(byte), true)),
                _ => {
                    let encoded = word::encoded_length(self.rest).unwrap_or(0);
                    return Some(self.take_word(encoded.max(1), ends_atom, false));
                }
            }
            self.spaced = true;
        }
    }

    /// Takes at least `length` octets, and more up to the first that `ends` the word; that one too if it
    /// is the closing bracket of a literal.
    fn take_word(&mut self, length: usize, ends: fn(u8) -> bool, literal: bool) -> Token<'a> {
        let more = self.rest.iter().skip(length).position(|byte| ends(*byte));
        let mut end = more.map_or(self.rest.len(), |more| length + more);
        if literal && self.rest.get(end) == Some(&b']') {
            end += 1;
        }
        let (word, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, &[]));
        self.rest = rest;
        Token::Word(Cow::Borrowed(word))
    }

    /// After the opening quote; up to the closing one, or to the end of the field.
    fn take_quoted(&mut self) -> Vec<u8> {
        let mut meant = Vec::new();
        while let Some((byte, after)) = self.rest.split_first() {
            self.rest = after;
            match byte {
                b'"' => return meant,
                b'\\' => meant.extend(self.take_escaped()),
                // RFC 5322 §3.2.4: line ends are folding, no part of the string.
                b'\r' | b'\n' => {}
                other => meant.push(*other),
            }
        }
        self.unclosed = true;
        meant
    }

    /// After the opening parenthesis; up to the one that closes it, or to the end of the field. What is
    /// nested keeps its parentheses.
    fn take_comment(&mut self) -> Vec<u8> {
        let mut meant = Vec::new();
        let mut depth = 0_usize;
        while let Some((byte, after)) = self.rest.split_first() {
            self.rest = after;
            match byte {
                b')' if depth == 0 => return meant.trim_ascii().to_vec(),
                b'\\' => {
                    meant.extend(self.take_escaped());
                    continue;
                }
                b'\r' | b'\n' => continue,
                b'(' => depth += 1,
                b')' => depth -= 1,
                _ => {}
            }
            meant.push(*byte);
        }
        self.unclosed = true;
        meant.trim_ascii().to_vec()
    }

    /// After a backslash, which may be the last octet of the field.
    fn take_escaped(&mut self) -> Option<u8> {
        let (byte, after) = self.rest.split_first()?;
        self.rest = after;
        Some(*byte)
    }
}

const fn ends_atom(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'\t' | b'\r' | b'\n' | b'(' | b'"' | b'<' | b'>' | b':' | b';' | b',' | b'@' | b'.' | b'['
    )
}

const fn ends_literal(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'<' | b'>' | b',' | b';')
}
