//! The grammar of RFC 5228 §8.2.

use std::ops::Range;

use thiserror::Error;

use crate::{
    Comment, Comments, Limits, Position, Script,
    lexer::{Lexer, Name, Token},
    tree::{Kind, Open, Tree},
};

/// Where a script is not Sieve, and how.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {}, column {}: {kind}", position.line, position.column)]
pub struct SyntaxError {
    /// Where.
    pub position: Position,
    /// What is wrong there.
    pub kind: SyntaxErrorKind,
}

/// What can be wrong with the syntax of a script.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SyntaxErrorKind {
    /// The script is too large.
    #[error("the script has more than {0} octets")]
    TooLarge(usize),
    /// The script is not UTF-8.
    #[error("this is not UTF-8")]
    NotUtf8,
    /// There is a NUL in the script.
    #[error("a NUL cannot be in a script")]
    Nul,
    /// Blocks or tests are nested too deep.
    #[error("nested deeper than {0}")]
    TooDeep(usize),
    /// A character that begins nothing.
    #[error("unexpected {0:?}")]
    Unexpected(char),
    /// A comment without an end.
    #[error("this comment is never closed")]
    OpenComment,
    /// A string without an end.
    #[error("this string is never closed")]
    OpenString,
    /// Something stands behind `text:` on its line.
    #[error("only a comment can stand behind `text:`")]
    TextBehindMultiLine,
    /// A number that does not fit into 64 bits.
    #[error("this number is too large")]
    NumberTooLarge,
    /// Another token was expected.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What was expected.
        expected: &'static str,
        /// What was there.
        found: String,
    },
}

impl SyntaxError {
    pub(crate) fn new(position: Position, kind: SyntaxErrorKind) -> Self {
        Self { position, kind }
    }
}

impl Script {
    /// Parses a script, with its comments.
    ///
    /// # Errors
    /// The first thing in it that is not Sieve, with its place.
    pub fn parse(script: &[u8], limits: &Limits) -> Result<Self, SyntaxError> {
        Tree::parse(script, limits, true).map(Tree::into_script).map_err(|errors| errors.first)
    }
}

impl<'a> Tree<'a> {
    /// Parses a script; comments are for scripts that are to be printed, not to be run.
    pub(crate) fn parse(script: &'a [u8], limits: &Limits, comments: bool) -> Result<Self, SyntaxErrors> {
        let start = Position { line: 1, column: 1 };
        let fatal =
            |position, kind| SyntaxErrors { first: SyntaxError::new(position, kind), others: Vec::new() };
        if script.len() > limits.script {
            return Err(fatal(start, SyntaxErrorKind::TooLarge(limits.script)));
        }
        let text = std::str::from_utf8(script).map_err(|error| {
            let before = script.get(..error.valid_up_to()).unwrap_or_default();
            fatal(position_behind(before), SyntaxErrorKind::NotUtf8)
        })?;
        if let Some(at) = memchr::memchr(0, script) {
            let before = script.get(..at).unwrap_or_default();
            return Err(fatal(position_behind(before), SyntaxErrorKind::Nul));
        }
        let mut parser = Parser {
            lexer: Lexer::new(text, comments),
            nesting: limits.nesting,
            tree: Self::for_octets(text.len()),
            errors: Vec::new(),
            most: limits.errors.max(1),
            unexpected: None,
        };
        // The error that ends it all is written down as well.
        let _ = parser.script();
        let mut errors = parser.errors.into_iter();
        match errors.next() {
            Some(first) => Err(SyntaxErrors { first, others: errors.collect() }),
            None => {
                let mut lexer = parser.lexer;
                parser.tree.end(std::iter::from_fn(|| lexer.comment(false)).collect());
                Ok(parser.tree)
            }
        }
    }
}

/// Where a script is not Sieve: each place, as far as one does not follow from another.
#[derive(Debug)]
pub(crate) struct SyntaxErrors {
    pub(crate) first: SyntaxError,
    pub(crate) others: Vec<SyntaxError>,
}

fn position_behind(before: &[u8]) -> Position {
    let before = String::from_utf8_lossy(before);
    let lines = before.matches('\n').count();
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).saturating_add(1);
    Position { line: count(lines), column: count(column) }
}

/// One token of look-ahead over the lexer, and what has been read so far.
struct Parser<'a> {
    lexer: Lexer<'a>,
    nesting: usize,
    tree: Tree<'a>,
    /// What was wrong so far. The tree is of no use then, but there may be more to say.
    errors: Vec<SyntaxError>,
    most: usize,
    /// Behind the last character that begins nothing.
    unexpected: Option<Position>,
}

/// There is no use in going on.
struct GivenUp;

impl<'a> Parser<'a> {
    fn script(&mut self) -> Result<(), GivenUp> {
        self.next()?;
        loop {
            self.commands(0)?;
            match self.lexer.token {
                Token::End => return Ok(()),
                Token::Mark(b'}') => {
                    let closed = Err(self.expected("a command"));
                    self.told(closed)?;
                    self.next()?;
                }
                _ => {
                    let other = Err(self.expected("a command"));
                    self.told(other)?;
                    self.recover(0)?;
                }
            }
        }
    }

    /// Writes down what is wrong, unless it is only what follows from the error before.
    fn told(&mut self, result: Result<(), SyntaxError>) -> Result<(), GivenUp> {
        let Err(error) = result else { return Ok(()) };
        if let SyntaxErrorKind::Unexpected(_) = error.kind {
            // Characters beside one another that begin nothing are one mistake.
            let Position { line, column } = error.position;
            let beside = self.unexpected.replace(Position { line, column: column.saturating_add(1) });
            if beside == Some(error.position) {
                return Ok(());
            }
        }
        if self.errors.last().is_none_or(|last| last.position != error.position) {
            self.errors.push(error);
        }
        if self.errors.len() > self.most { Err(GivenUp) } else { Ok(()) }
    }

    /// Goes to the next token that is one.
    fn next(&mut self) -> Result<(), GivenUp> {
        loop {
            match self.lexer.advance() {
                Ok(()) => return Ok(()),
                wrong => self.told(wrong)?,
            }
        }
    }

    /// Goes on behind something that is wrong: behind the next semicolon or block, or before the end of the block around it.
    fn recover(&mut self, depth: usize) -> Result<(), GivenUp> {
        loop {
            match self.lexer.token {
                Token::End | Token::Mark(b'}') => return Ok(()),
                Token::Mark(b';') => return self.next(),
                Token::Mark(b'{') => {
                    self.next()?;
                    return self.block(depth, &mut None);
                }
                _ => self.next()?,
            }
        }
    }

    /// What follows `{`, and the `}`.
    fn block(&mut self, depth: usize, comments: &mut Option<Box<Comments>>) -> Result<(), GivenUp> {
        if depth >= self.nesting {
            let too_deep = SyntaxError::new(self.lexer.position, SyntaxErrorKind::TooDeep(self.nesting));
            self.told(Err(too_deep))?;
            self.skip_block()?;
        }
        loop {
            self.commands(depth + 1)?;
            match self.lexer.token {
                Token::Mark(b'}') => {
                    self.comments(comments, false, |comments| &mut comments.closing);
                    return self.next();
                }
                Token::End => {
                    let open = Err(self.expected("a command or `}`"));
                    return self.told(open);
                }
                _ => {
                    let other = Err(self.expected("a command or `}`"));
                    self.told(other)?;
                    self.recover(depth + 1)?;
                }
            }
        }
    }

    /// Goes to the `}` that ends the block, whatever is in it.
    fn skip_block(&mut self) -> Result<(), GivenUp> {
        let mut open = 0_usize;
        loop {
            match self.lexer.token {
                Token::End => return Ok(()),
                Token::Mark(b'{') => open += 1,
                Token::Mark(b'}') if open == 0 => return Ok(()),
                Token::Mark(b'}') => open -= 1,
                _ => {}
            }
            self.next()?;
        }
    }

    /// `*command`, up to what begins none.
    fn commands(&mut self, depth: usize) -> Result<(), GivenUp> {
        while let Token::Identifier(name) = self.lexer.token {
            let mut comments = None;
            self.comments(&mut comments, false, |comments| &mut comments.before);
            let (open, has_block) = match self.head(name, depth, &mut comments) {
                Ok(begun) => begun,
                Err(error) => {
                    self.told(Err(error))?;
                    self.recover(depth)?;
                    continue;
                }
            };
            if has_block {
                self.comments(&mut comments, true, |comments| &mut comments.opening);
                self.block(depth, &mut comments)?;
            }
            self.comments(&mut comments, true, |comments| &mut comments.behind);
            self.tree.close(open, has_block, comments);
        }
        Ok(())
    }

    /// A command up to its semicolon or `{`, and whether it is the latter.
    fn head(
        &mut self,
        name: Name<'a>,
        depth: usize,
        comments: &mut Option<Box<Comments>>,
    ) -> Result<(Open, bool), SyntaxError> {
        let open = self.begin(name)?;
        self.arguments(open, depth)?;
        self.comments(comments, false, |comments| &mut comments.before);
        let has_block = self.accept(b'{')?;
        if !has_block && !self.accept(b';')? {
            return Err(self.expected("`;` or a block"));
        }
        Ok((open, has_block))
    }

    /// Puts the comments before the token that is next into a place; with `same_line` those on the line of the token before.
    fn comments(
        &mut self,
        comments: &mut Option<Box<Comments>>,
        same_line: bool,
        place: fn(&mut Comments) -> &mut Vec<Comment>,
    ) {
        while let Some(comment) = self.lexer.comment(same_line) {
            place(comments.get_or_insert_default()).push(comment);
        }
    }

    /// The name of a command or test, which is the token that is next.
    fn begin(&mut self, name: Name<'a>) -> Result<Open, SyntaxError> {
        let open = self.tree.open(self.lexer.position, name.lower());
        self.lexer.advance()?;
        Ok(open)
    }

    /// `*argument [ test / test-list ]`.
    fn arguments(&mut self, open: Open, depth: usize) -> Result<(), SyntaxError> {
        loop {
            let position = self.lexer.position;
            let kind = match self.lexer.token {
                Token::Tag(name) => Kind::Tag(name.lower()),
                Token::Number(number) => Kind::Number(number),
                Token::String(raw) => Kind::String(self.tree.token(position, raw)),
                Token::Mark(b'[') => Kind::List(self.string_list()?),
                Token::Mark(b'(') => {
                    self.lexer.advance()?;
                    self.test_list(depth + 1)?;
                    break;
                }
                Token::Identifier(_) => {
                    self.test(depth + 1)?;
                    break;
                }
                Token::Mark(_) | Token::End => break,
            };
            self.lexer.advance()?;
            self.tree.argument(open, position, kind);
        }
        self.tree.tested(open);
        Ok(())
    }

    /// What follows `[`, up to the `]`.
    fn string_list(&mut self) -> Result<Range<usize>, SyntaxError> {
        let start = self.tree.strings();
        loop {
            self.lexer.advance()?;
            let Token::String(raw) = self.lexer.token else { return Err(self.expected("a string")) };
            self.tree.token(self.lexer.position, raw);
            self.lexer.advance()?;
            match self.lexer.token {
                Token::Mark(b',') => {}
                Token::Mark(b']') => return Ok(start..self.tree.strings()),
                _ => return Err(self.expected("`,` or `]`")),
            }
        }
    }

    /// What follows `(`, and the `)`.
    fn test_list(&mut self, depth: usize) -> Result<(), SyntaxError> {
        loop {
            self.test(depth)?;
            if self.accept(b')')? {
                return Ok(());
            }
            if !self.accept(b',')? {
                return Err(self.expected("`,` or `)`"));
            }
        }
    }

    fn test(&mut self, depth: usize) -> Result<(), SyntaxError> {
        if depth > 2 * self.nesting {
            return Err(SyntaxError::new(self.lexer.position, SyntaxErrorKind::TooDeep(self.nesting)));
        }
        let Token::Identifier(name) = self.lexer.token else { return Err(self.expected("a test")) };
        let open = self.begin(name)?;
        self.arguments(open, depth)
    }

    fn accept(&mut self, mark: u8) -> Result<bool, SyntaxError> {
        let found = matches!(self.lexer.token, Token::Mark(found) if found == mark);
        if found {
            self.lexer.advance()?;
        }
        Ok(found)
    }

    fn expected(&self, expected: &'static str) -> SyntaxError {
        let found = match self.lexer.token {
            Token::Identifier(name) => format!("`{}`", name.lower()),
            Token::Tag(name) => format!("`:{}`", name.lower()),
            Token::Number(number) => number.to_string(),
            Token::String(_) => "a string".into(),
            Token::Mark(mark) => format!("`{}`", char::from(mark)),
            Token::End => "the end of the script".into(),
        };
        SyntaxError::new(self.lexer.position, SyntaxErrorKind::Expected { expected, found })
    }
}

#[cfg(test)]
mod tests;
