//! A script as the checker walks over it: its commands and tests one after another as they stand in the text, their arguments, and the
//! strings of these, in a list each. What needs no change stays in the text, so that a script is read without an allocation for each of
//! its words.

use std::{borrow::Cow, ops::Range};

use smol_str::SmolStr;

use crate::{
    Argument, ArgumentKind, Command, Comment, Comments, Position, Script, StringLiteral, Test, lexer::Raw,
};

/// A whole script.
#[derive(Debug, Default)]
pub(crate) struct Tree<'a> {
    entries: Vec<Entry<'a>>,
    arguments: Vec<Given<'a>>,
    strings: Vec<Literal<'a>>,
    /// The comments behind the last command.
    comments: Vec<Comment>,
}

/// A command or a test; those that are in it follow it: first its tests, then the commands of its block.
#[derive(Debug)]
struct Entry<'a> {
    position: Position,
    name: Cow<'a, str>,
    arguments: Range<usize>,
    /// Behind its tests.
    tests_end: usize,
    /// Behind all that is in it.
    end: usize,
    has_block: bool,
    comments: Option<Box<Comments>>,
}

/// An argument.
#[derive(Debug)]
pub(crate) struct Given<'a> {
    pub(crate) position: Position,
    pub(crate) kind: Kind<'a>,
}

#[derive(Debug)]
pub(crate) enum Kind<'a> {
    /// In lower case and without the colon.
    Tag(Cow<'a, str>),
    Number(u64),
    /// The number of the string.
    String(usize),
    List(Range<usize>),
}

/// A string, with escapes and dot-stuffing undone.
#[derive(Debug)]
pub(crate) struct Literal<'a> {
    pub(crate) position: Position,
    pub(crate) value: Cow<'a, str>,
    /// Whether there is neither a variable nor an encoded character in it, whatever is required; if not, there may be.
    pub(crate) is_plain: bool,
}

/// Which entry is being put together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Open(usize);

impl<'a> Tree<'a> {
    /// One for a text of so many octets.
    pub(crate) fn for_octets(octets: usize) -> Self {
        // Scripts as people have them need no more; others make the lists grow.
        Self {
            entries: Vec::with_capacity(octets / 24),
            arguments: Vec::with_capacity(octets / 20),
            strings: Vec::with_capacity(octets / 24),
            comments: Vec::new(),
        }
    }

    /// A script that has been parsed, once more.
    pub(crate) fn of(script: &'a Script) -> Self {
        let mut tree = Self::default();
        tree.commands(&script.commands);
        tree
    }

    /// Begins a command or a test. Its arguments, its tests and its block follow in this order.
    pub(crate) fn open(&mut self, position: Position, name: Cow<'a, str>) -> Open {
        let open = Open(self.entries.len());
        let arguments = self.arguments.len();
        self.entries.push(Entry {
            position,
            name,
            arguments: arguments..arguments,
            tests_end: 0,
            end: 0,
            has_block: false,
            comments: None,
        });
        open
    }

    pub(crate) fn argument(&mut self, open: Open, position: Position, kind: Kind<'a>) {
        self.arguments.push(Given { position, kind });
        let end = self.arguments.len();
        self.change(open, |entry| entry.arguments.end = end);
    }

    /// One string more; gives its number.
    fn string(&mut self, position: Position, value: Cow<'a, str>) -> usize {
        self.strings.push(Literal { position, value, is_plain: false });
        self.strings.len() - 1
    }

    /// The same as it is read.
    pub(crate) fn token(&mut self, position: Position, raw: Raw<'a>) -> usize {
        let is_plain = matches!(raw, Raw::Plain(_));
        self.strings.push(Literal { position, value: raw.value(), is_plain });
        self.strings.len() - 1
    }

    /// How many strings there are so far.
    pub(crate) const fn strings(&self) -> usize {
        self.strings.len()
    }

    /// All tests of an entry are there.
    pub(crate) fn tested(&mut self, open: Open) {
        let end = self.entries.len();
        self.change(open, |entry| (entry.tests_end, entry.end) = (end, end));
    }

    /// A command is there as a whole.
    pub(crate) fn close(&mut self, open: Open, has_block: bool, comments: Option<Box<Comments>>) {
        let end = self.entries.len();
        self.change(open, |entry| {
            (entry.end, entry.has_block) = (end, has_block);
            entry.comments = comments;
        });
    }

    /// The comments behind the last command.
    pub(crate) fn end(&mut self, comments: Vec<Comment>) {
        self.comments = comments;
    }

    fn change(&mut self, open: Open, change: impl FnOnce(&mut Entry<'a>)) {
        if let Some(entry) = self.entries.get_mut(open.0) {
            change(entry);
        }
    }

    fn commands(&mut self, commands: &'a [Command]) {
        for command in commands {
            let open = self.open(command.position, Cow::Borrowed(&command.name));
            self.arguments(open, &command.arguments);
            self.tests(&command.tests);
            self.tested(open);
            self.commands(command.block.as_deref().unwrap_or_default());
            self.close(open, command.block.is_some(), None);
        }
    }

    fn tests(&mut self, tests: &'a [Test]) {
        for test in tests {
            let open = self.open(test.position, Cow::Borrowed(&test.name));
            self.arguments(open, &test.arguments);
            self.tests(&test.tests);
            self.tested(open);
        }
    }

    fn arguments(&mut self, open: Open, arguments: &'a [Argument]) {
        for Argument { position, kind } in arguments {
            let kind = match kind {
                ArgumentKind::Tag(name) => Kind::Tag(Cow::Borrowed(name)),
                ArgumentKind::Number(number) => Kind::Number(*number),
                ArgumentKind::String(string) => {
                    Kind::String(self.string(string.position, Cow::Borrowed(&string.value)))
                }
                ArgumentKind::StringList(strings) => {
                    let start = self.strings();
                    for string in strings {
                        self.string(string.position, Cow::Borrowed(&string.value));
                    }
                    Kind::List(start..self.strings())
                }
            };
            self.argument(open, *position, kind);
        }
    }

    /// How many commands and tests it has.
    pub(crate) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// The commands that are in no block.
    pub(crate) fn top(&self) -> Nodes<'_> {
        Nodes { tree: self, at: 0, end: self.entries.len() }
    }

    /// The strings of an argument that is a string or a list of them.
    pub(crate) fn literals(&self, given: &Given<'_>) -> Option<&[Literal<'a>]> {
        let range = match &given.kind {
            Kind::String(at) => *at..*at + 1,
            Kind::List(range) => range.clone(),
            Kind::Tag(_) | Kind::Number(_) => return None,
        };
        Some(self.strings.get(range).unwrap_or_default())
    }

    /// The same as people and the printer see it.
    pub(crate) fn into_script(mut self) -> Script {
        let comments = std::mem::take(&mut self.comments);
        let around: Vec<_> = self.entries.iter_mut().map(|entry| entry.comments.take()).collect();
        let mut around = around.into_iter();
        Script { commands: self.top().map(|node| node.to_command(&mut around)).collect(), comments }
    }
}

/// A command or a test of a script.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node<'t> {
    pub(crate) tree: &'t Tree<'t>,
    entry: &'t Entry<'t>,
    index: usize,
}

impl<'t> Node<'t> {
    /// In lower case (RFC 5228 §2.1: identifiers are case-insensitive).
    pub(crate) fn name(&self) -> &'t str {
        &self.entry.name
    }

    pub(crate) const fn position(&self) -> Position {
        self.entry.position
    }

    pub(crate) fn arguments(&self) -> &'t [Given<'t>] {
        self.tree.arguments.get(self.entry.arguments.clone()).unwrap_or_default()
    }

    /// Its test, or the tests of a test list.
    pub(crate) const fn tests(&self) -> Nodes<'t> {
        Nodes { tree: self.tree, at: self.index + 1, end: self.entry.tests_end }
    }

    /// Its test, if it has exactly one.
    pub(crate) fn only_test(&self) -> Option<Self> {
        let mut tests = self.tests();
        tests.next().filter(|_| tests.next().is_none())
    }

    /// The commands in braces, if it has braces.
    pub(crate) fn block(&self) -> Option<Nodes<'t>> {
        let block = Nodes { tree: self.tree, at: self.entry.tests_end, end: self.entry.end };
        self.entry.has_block.then_some(block)
    }

    /// The comments are those of the entries from here on: a command takes its own before those in it take theirs.
    fn to_command(self, comments: &mut impl Iterator<Item = Option<Box<Comments>>>) -> Command {
        let own = comments.next().flatten();
        let tests: Vec<_> = self.tests().map(Self::to_test).collect();
        // Tests have none.
        for _ in self.index + 1..self.entry.tests_end {
            comments.next();
        }
        Command {
            position: self.position(),
            name: self.name().into(),
            arguments: self.to_arguments(),
            tests,
            block: self.block().map(|block| block.map(|command| command.to_command(comments)).collect()),
            comments: own,
        }
    }

    fn to_test(self) -> Test {
        Test {
            position: self.position(),
            name: self.name().into(),
            arguments: self.to_arguments(),
            tests: self.tests().map(Self::to_test).collect(),
        }
    }

    fn to_arguments(self) -> Vec<Argument> {
        let string = |literal: &Literal<'_>| StringLiteral {
            position: literal.position,
            value: SmolStr::new(&literal.value),
        };
        let argument = |given: &Given<'_>| {
            let literals = self.tree.literals(given).unwrap_or_default();
            let kind = match (&given.kind, literals) {
                (Kind::Tag(name), _) => ArgumentKind::Tag(SmolStr::new(name)),
                (Kind::Number(number), _) => ArgumentKind::Number(*number),
                (Kind::String(_), [literal]) => ArgumentKind::String(string(literal)),
                (Kind::String(_) | Kind::List(_), literals) => {
                    ArgumentKind::StringList(literals.iter().map(string).collect())
                }
            };
            Argument { position: given.position, kind }
        };
        self.arguments().iter().map(argument).collect()
    }
}

/// Commands of a block, or tests of a list, in order.
#[derive(Debug, Clone)]
pub(crate) struct Nodes<'t> {
    tree: &'t Tree<'t>,
    at: usize,
    end: usize,
}

impl<'t> Iterator for Nodes<'t> {
    type Item = Node<'t>;

    fn next(&mut self) -> Option<Node<'t>> {
        if self.at >= self.end {
            return None;
        }
        let (tree, index) = (self.tree, self.at);
        let entry = tree.entries.get(index)?;
        self.at = entry.end;
        Some(Node { tree, entry, index })
    }
}
