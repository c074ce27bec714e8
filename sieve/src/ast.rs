//! The syntax tree of RFC 5228 §8.2. What commands and tests mean is not known here. Names and most strings are short: they are kept in place.

use smol_str::SmolStr;

use crate::Comment;

/// A whole script.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script {
    /// Its commands, in order.
    pub commands: Vec<Command>,
    /// The comments behind the last command.
    pub comments: Vec<Comment>,
}

impl Script {
    /// The same with every position at zero: so are scripts compared by what they say, wherever in the text it stands.
    ///
    /// ```
    /// use mailwright_sieve::{Limits, Script};
    ///
    /// let script = Script::parse(b"# always\nkeep   ;", &Limits::default())?;
    /// let printed = script.to_string();
    /// assert_eq!(printed, "# always\r\nkeep;\r\n");
    /// let again = Script::parse(printed.as_bytes(), &Limits::default())?;
    /// assert_eq!(again.without_positions(), script.without_positions());
    /// # Ok::<(), mailwright_sieve::SyntaxError>(())
    /// ```
    #[must_use]
    pub fn without_positions(mut self) -> Self {
        self.commands.iter_mut().for_each(Command::forget_positions);
        forget(&mut self.comments);
        self
    }
}

/// A place in a script, counted from 1; columns in characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

/// `identifier arguments ( ";" / block )`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Command {
    /// Where its name begins.
    pub position: Position,
    /// Its name, in lower case (RFC 5228 §2.1: identifiers are case-insensitive).
    pub name: SmolStr,
    /// What stands before the tests.
    pub arguments: Vec<Argument>,
    /// Its test, or the tests of a test list.
    pub tests: Vec<Test>,
    /// The commands in braces, if it has braces in place of a semicolon.
    pub block: Option<Vec<Self>>,
    /// The comments around it, if there are any.
    pub comments: Option<Box<Comments>>,
}

impl Command {
    fn forget_positions(&mut self) {
        self.position = Position::default();
        self.arguments.iter_mut().for_each(Argument::forget_positions);
        self.tests.iter_mut().for_each(Test::forget_positions);
        self.block.iter_mut().flatten().for_each(Self::forget_positions);
        if let Some(comments) = &mut self.comments {
            let Comments { before, opening, closing, behind } = &mut **comments;
            [before, opening, closing, behind].into_iter().for_each(|list| forget(list));
        }
    }
}

/// The comments around a command. Those within it, between its arguments, are told before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comments {
    /// On lines of their own before it.
    pub before: Vec<Comment>,
    /// Behind its `{`, on the same line; not printed where there is no block.
    pub opening: Vec<Comment>,
    /// Before its `}`, behind the last command of the block; not printed where there is no block.
    pub closing: Vec<Comment>,
    /// Behind its semicolon or its `}`, on the same line.
    pub behind: Vec<Comment>,
}

fn forget(comments: &mut [Comment]) {
    comments.iter_mut().for_each(|comment| comment.position = Position::default());
}

/// `identifier arguments`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Test {
    /// Where its name begins.
    pub position: Position,
    /// Its name, in lower case.
    pub name: SmolStr,
    /// What stands before the tests.
    pub arguments: Vec<Argument>,
    /// Its test, or the tests of a test list: of `not`, `allof`, `anyof`.
    pub tests: Vec<Self>,
}

impl Test {
    fn forget_positions(&mut self) {
        self.position = Position::default();
        self.arguments.iter_mut().for_each(Argument::forget_positions);
        self.tests.iter_mut().for_each(Self::forget_positions);
    }
}

/// One argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Where it begins.
    pub position: Position,
    /// What it is.
    pub kind: ArgumentKind,
}

impl Argument {
    fn forget_positions(&mut self) {
        self.position = Position::default();
        let strings = match &mut self.kind {
            ArgumentKind::Tag(_) | ArgumentKind::Number(_) => return,
            ArgumentKind::String(string) => std::slice::from_mut(string),
            ArgumentKind::StringList(strings) => strings,
        };
        strings.iter_mut().for_each(|string| string.position = Position::default());
    }
}

/// The kinds of arguments (RFC 5228 §2.6).
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the grammar of RFC 5228 §8 is closed")]
pub enum ArgumentKind {
    /// `:name`, in lower case and without the colon.
    Tag(SmolStr),
    /// A number, its quantifier multiplied out.
    Number(u64),
    /// A string.
    String(StringLiteral),
    /// A list in brackets.
    StringList(Vec<StringLiteral>),
}

/// A string: quoted or multi-line, which makes no difference to its meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StringLiteral {
    /// Where it begins.
    pub position: Position,
    /// Its content, with escapes and dot-stuffing undone.
    pub value: SmolStr,
}
