//! The syntax tree of RFC 5228 §8.2. What commands and tests mean is not known here. Names and most strings are short: they are kept in place.

use smol_str::SmolStr;

/// A whole script.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script {
    /// Its commands, in order.
    pub commands: Vec<Command>,
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

/// One argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Where it begins.
    pub position: Position,
    /// What it is.
    pub kind: ArgumentKind,
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
