//! A command or reply from its first line to its last, across the literals in it.

use bytes::{Bytes, BytesMut};
use mailwright_line_proto::frame::{Counted, Line, LineEnds, Lines, LiteralMark};

use super::token::{Malformed, Token, scan};

/// Puts a command or reply together. What is held is bounded by its caller, who decides about every literal.
#[derive(Debug)]
pub(super) struct Gather {
    lines: Lines,
    inside: Inside,
    tokens: Vec<Token>,
    /// Of lines and literals, so far.
    held: u64,
    /// How many literals there were.
    literals: u32,
    malformed: bool,
    /// The rest is of no use: nothing of it is kept.
    discarding: bool,
}

#[derive(Debug)]
enum Inside {
    Line,
    Held(Counted, BytesMut),
    Skipped(Counted),
}

/// What [`Gather::next`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Gathered {
    Partial,
    /// All of it.
    Whole(Vec<Token>),
    /// All of it, and it is not made of tokens.
    Malformed,
    /// A literal of this length comes next: [`Gather::hold`] or [`Gather::skip`] it, or take it from the buffer.
    Literal(u64),
    /// Where it ends cannot be known.
    Lost,
}

impl Gather {
    pub(super) fn new(ends: LineEnds) -> Self {
        Self {
            lines: Lines::new(ends),
            inside: Inside::Line,
            tokens: Vec::new(),
            held: 0,
            literals: 0,
            malformed: false,
            discarding: false,
        }
    }

    pub(super) fn next(&mut self, rx: &mut BytesMut, line: usize) -> Gathered {
        loop {
            match &mut self.inside {
                Inside::Held(counted, octets) => {
                    while let Some(chunk) = counted.next(rx) {
                        octets.extend_from_slice(&chunk);
                    }
                    if !counted.is_done() {
                        return Gathered::Partial;
                    }
                    let string = std::mem::take(octets).freeze();
                    self.push(Token::String(string));
                    self.inside = Inside::Line;
                }
                Inside::Skipped(counted) => {
                    while counted.next(rx).is_some() {}
                    if !counted.is_done() {
                        return Gathered::Partial;
                    }
                    self.inside = Inside::Line;
                }
                Inside::Line => {
                    // What follows a line that is too long could be a literal, and its content must not be taken for
                    // commands: there is no skipping it.
                    return match self.lines.next(rx, line, line as u64) {
                        Line::Whole(line) => self.line(&line),
                        Line::Partial if self.lines.is_skipping() => Gathered::Lost,
                        Line::Partial => Gathered::Partial,
                        Line::TooLong | Line::Endless => Gathered::Lost,
                    };
                }
            }
        }
    }

    fn line(&mut self, line: &[u8]) -> Gathered {
        let Ok(mark) = LiteralMark::find(line) else { return Gathered::Lost };
        self.held += line.len() as u64;
        let text = mark.and_then(|mark| line.get(..mark.start)).unwrap_or(line);
        let joined = self.literals > 0 && !matches!(text.first(), None | Some(b' ' | b')'));
        let badly_marked =
            mark.is_some_and(|mark| mark.binary || !matches!(text.last(), None | Some(b' ' | b'(')));
        if self.discarding {
            // Nothing to look at.
        } else if joined || badly_marked || scan(text, &mut self.tokens) == Err(Malformed) {
            self.malformed = true;
        }
        match mark {
            Some(mark) => {
                self.literals += 1;
                Gathered::Literal(mark.length)
            }
            None => self.finish(),
        }
    }

    fn finish(&mut self) -> Gathered {
        let tokens = std::mem::take(&mut self.tokens);
        let malformed = std::mem::take(&mut self.malformed);
        (self.held, self.literals, self.discarding) = (0, 0, false);
        if malformed { Gathered::Malformed } else { Gathered::Whole(tokens) }
    }

    /// What came before the literal.
    pub(super) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// Whether what came so far is not made of tokens.
    pub(super) fn is_malformed(&self) -> bool {
        self.malformed
    }

    /// How many octets came so far, those of the literal that comes next not counted.
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    /// Takes the literal that comes next into memory.
    pub(super) fn hold(&mut self, length: u64) {
        self.held += length;
        self.inside = Inside::Held(Counted::new(length), BytesMut::new());
    }

    /// Passes over the literal that comes next.
    pub(super) fn skip(&mut self, length: u64) {
        self.inside = Inside::Skipped(Counted::new(length));
    }

    /// Keeps nothing of what came and of what is still to come of this command.
    pub(super) fn discard(&mut self) {
        self.tokens = Vec::new();
        self.malformed = false;
        self.discarding = true;
    }

    /// Begins anew, for when the layer beneath changed.
    pub(super) fn reset(&mut self, ends: LineEnds) {
        *self = Self::new(ends);
    }

    fn push(&mut self, token: Token) {
        if !self.discarding {
            self.tokens.push(token);
        }
    }
}

/// A body that is passed on as it comes.
#[derive(Debug)]
pub(super) enum Source {
    /// So much of the buffer.
    Literal(Counted),
    /// It was quoted, and is here already.
    Quoted(Option<Bytes>),
}

impl Source {
    /// The next part, if it is there.
    pub(super) fn next(&mut self, rx: &mut BytesMut) -> Option<Bytes> {
        match self {
            Self::Literal(counted) => counted.next(rx),
            Self::Quoted(octets) => octets.take().filter(|octets| !octets.is_empty()),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Literal(counted) => counted.is_done(),
            Self::Quoted(octets) => octets.as_ref().is_none_or(Bytes::is_empty),
        }
    }
}
