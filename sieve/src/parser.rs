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
        Tree::parse(script, limits, true).map(Tree::into_script)
    }
}

impl<'a> Tree<'a> {
    /// Parses a script; comments are for scripts that are to be printed, not to be run.
    pub(crate) fn parse(script: &'a [u8], limits: &Limits, comments: bool) -> Result<Self, SyntaxError> {
        let start = Position { line: 1, column: 1 };
        if script.len() > limits.script {
            return Err(SyntaxError::new(start, SyntaxErrorKind::TooLarge(limits.script)));
        }
        let text = std::str::from_utf8(script).map_err(|error| {
            let before = script.get(..error.valid_up_to()).unwrap_or_default();
            SyntaxError::new(position_behind(before), SyntaxErrorKind::NotUtf8)
        })?;
        if let Some(at) = memchr::memchr(0, script) {
            let before = script.get(..at).unwrap_or_default();
            return Err(SyntaxError::new(position_behind(before), SyntaxErrorKind::Nul));
        }
        let mut parser = Parser {
            lexer: Lexer::new(text, comments),
            nesting: limits.nesting,
            tree: Self::for_octets(text.len()),
        };
        parser.lexer.advance()?;
        parser.commands(0)?;
        match parser.lexer.token {
            Token::End => {
                parser.tree.end(std::iter::from_fn(|| parser.lexer.comment(false)).collect());
                Ok(parser.tree)
            }
            _ => Err(parser.expected("a command")),
        }
    }
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
}

impl<'a> Parser<'a> {
    /// `*command`, up to what begins none.
    fn commands(&mut self, depth: usize) -> Result<(), SyntaxError> {
        if depth > self.nesting {
            return Err(SyntaxError::new(self.lexer.position, SyntaxErrorKind::TooDeep(self.nesting)));
        }
        while let Token::Identifier(name) = self.lexer.token {
            let mut comments = None;
            self.comments(&mut comments, false, |comments| &mut comments.before);
            let open = self.begin(name)?;
            self.arguments(open, depth)?;
            self.comments(&mut comments, false, |comments| &mut comments.before);
            let has_block = self.accept(b'{')?;
            if has_block {
                self.comments(&mut comments, true, |comments| &mut comments.opening);
                self.commands(depth + 1)?;
                self.comments(&mut comments, false, |comments| &mut comments.closing);
                if !self.accept(b'}')? {
                    return Err(self.expected("a command or `}`"));
                }
            } else if !self.accept(b';')? {
                return Err(self.expected("`;` or a block"));
            }
            self.comments(&mut comments, true, |comments| &mut comments.behind);
            self.tree.close(open, has_block, comments);
        }
        Ok(())
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
mod tests {
    use super::*;
    use crate::ArgumentKind;

    fn error(script: &str) -> String {
        Script::parse(script.as_bytes(), &Limits::default()).unwrap_err().to_string()
    }

    #[test]
    fn parses_every_construct() {
        let script = "# comment\r\nREQUIRE [\"fileinto\", \"reject\"]; /* more\n */\r\n\
            if anyof (size :over 100K, not header :contains \"a\\\"b\\\\c\" \"x\") {\r\n  reject text: # why\r\n\
            first\r\n..dot\r\n.\r\n;\r\n} else { stop; }\r\n";
        let script = Script::parse(script.as_bytes(), &Limits::default()).unwrap();
        let names: Vec<_> = script.commands.iter().map(|command| command.name.as_str()).collect();
        assert_eq!(names, ["require", "if", "else"]);
        let test = &script.commands[1].tests[0];
        assert_eq!(test.tests[0].arguments[1].kind, ArgumentKind::Number(102_400));
        assert_eq!((test.tests[0].position.line, test.tests[0].position.column), (4, 11));
        let ArgumentKind::String(escaped) = &test.tests[1].tests[0].arguments[1].kind else { panic!() };
        assert_eq!(escaped.value, "a\"b\\c");
        let block = script.commands[1].block.as_ref().unwrap();
        let ArgumentKind::String(text) = &block[0].arguments[0].kind else { panic!() };
        assert_eq!(text.value, "first\r\n.dot\r\n");
    }

    #[test]
    fn comments_stay_with_their_commands() {
        let text = "# before\r\nif # within\r\n true { # opening\n/* in\nside */ keep; # behind\n# closing\n} # done\n\
            /* last */";
        let script = Script::parse(text.as_bytes(), &Limits::default()).unwrap();
        let texts = |comments: &[Comment]| {
            comments.iter().map(|comment| comment.text().to_owned()).collect::<Vec<_>>()
        };
        let comments = script.commands[0].comments.as_ref().unwrap();
        assert_eq!(texts(&comments.before), ["# before", "# within"]);
        assert_eq!(texts(&comments.opening), ["# opening"]);
        assert_eq!(texts(&comments.closing), ["# closing"]);
        assert_eq!(texts(&comments.behind), ["# done"]);
        assert_eq!(comments.before[1].position, Position { line: 2, column: 4 });
        let inner = script.commands[0].block.as_ref().unwrap()[0].comments.as_ref().unwrap();
        assert_eq!(texts(&inner.before), ["/* in\r\nside */"]);
        assert_eq!(texts(&inner.behind), ["# behind"]);
        assert_eq!(texts(&script.comments), ["/* last */"]);
        let without = Tree::parse(text.as_bytes(), &Limits::default(), false).unwrap().into_script();
        assert!(
            without.comments.is_empty() && without.commands.iter().all(|command| command.comments.is_none())
        );
    }

    #[test]
    fn says_where_and_what_is_wrong() {
        for (script, expected) in [
            ("keep", "line 1, column 5: expected `;` or a block, found the end of the script"),
            ("keep;\n}", "line 2, column 1: expected a command, found `}`"),
            ("redirect \"a", "line 1, column 10: this string is never closed"),
            ("/* x", "line 1, column 1: this comment is never closed"),
            ("/*/ keep;", "line 1, column 1: this comment is never closed"),
            ("redirect text::\n.\n;", "line 1, column 14: only a comment can stand behind `text:`"),
            ("a [\"b\" \"c\"];", "line 1, column 8: expected `,` or `]`, found a string"),
            ("size 99999999999999999999;", "line 1, column 6: this number is too large"),
            ("size 18446744073709551615K;", "line 1, column 6: this number is too large"),
            ("a text: b\n.\n;", "line 1, column 7: only a comment can stand behind `text:`"),
            ("é;", "line 1, column 1: unexpected 'é'"),
            ("a\0;", "line 1, column 2: a NUL cannot be in a script"),
            ("a :;", "line 1, column 3: unexpected ':'"),
        ] {
            assert_eq!(error(script), expected, "{script:?}");
        }
        let not_utf8 = Script::parse(b"a;\n\xff", &Limits::default()).unwrap_err();
        assert_eq!(not_utf8.to_string(), "line 2, column 1: this is not UTF-8");
    }

    #[test]
    fn nesting_and_size_are_bounded() {
        let nested = |depth: usize| format!("{}{}", "if true {".repeat(depth), "}".repeat(depth));
        assert!(Script::parse(nested(32).as_bytes(), &Limits::default()).is_ok());
        assert!(error(&nested(33)).contains("nested deeper than 32"));
        assert!(error(&nested(100_000)).contains("nested deeper than 32"));
        assert!(error(&format!("if {}true;", "not ".repeat(100_000))).contains("nested deeper"));
        assert!(error(&" ".repeat((1 << 20) + 1)).contains("1048576"));
    }
}
