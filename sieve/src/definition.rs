//! What a command or test takes and what it does.

use std::{borrow::Cow, sync::Arc};

use crate::{Call, Context, Flow, Stop, check::Checker};

/// A command or test: what it takes and what it does.
#[derive(Clone)]
pub struct Definition {
    pub(crate) name: Cow<'static, str>,
    pub(crate) parameters: Vec<(Parameter, bool)>,
    /// How many of them may not be left out.
    pub(crate) required: usize,
    pub(crate) tags: Vec<Tag>,
    pub(crate) matches: bool,
    pub(crate) addresses: bool,
    pub(crate) keys: usize,
    pub(crate) code: Code,
    pub(crate) checks: Vec<CheckFunction>,
    pub(crate) catches: bool,
}

pub(crate) type CheckFunction = fn(&mut Checker<'_>, &mut Call);
type TestFunction = dyn Fn(&mut Context, &Call) -> Result<bool, Stop> + Send + Sync;
type CommandFunction = dyn Fn(&mut Context, &Call) -> Result<Flow, Stop> + Send + Sync;
type BlockFunction = dyn Fn(&mut Context, &Call, Round) -> Result<bool, Stop> + Send + Sync;

/// What a definition does.
#[derive(Clone)]
pub(crate) enum Code {
    /// The compiler knows.
    Control(Control),
    Test(Arc<TestFunction>),
    Command(Arc<CommandFunction>),
    Block(Arc<BlockFunction>),
}

/// What the compiler itself makes instructions of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    Require,
    If,
    ElseIf,
    Else,
    AllOf,
    AnyOf,
    Not,
    True,
    False,
    IHave,
}

/// Which time a block is about to be entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Round {
    /// Control comes from before the block.
    First,
    /// The end of the block has been reached.
    Again,
    /// The block is being left by [`Flow::Leave`], or by an error if its definition catches them.
    Left,
}

/// A tagged argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    pub(crate) name: Cow<'static, str>,
    pub(crate) values: Vec<Parameter>,
    pub(crate) group: Option<&'static str>,
}

impl Tag {
    /// `:name`, without a value.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), values: Vec::new(), group: None }
    }

    /// Takes one value more.
    #[must_use]
    pub fn value(mut self, kind: Parameter) -> Self {
        self.values.push(kind);
        self
    }

    /// Of the tags of one group a call can have only one.
    #[must_use]
    pub const fn group(mut self, name: &'static str) -> Self {
        self.group = Some(name);
        self
    }
}

/// What kind of argument is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Parameter {
    /// A number.
    Number,
    /// One string.
    String,
    /// One string, in which no variable is put (RFC 5229 §3: a constant string).
    Constant,
    /// The name of a variable that can be set.
    Variable,
    /// The name of a variable, or a list of them.
    Variables,
    /// A string or a list of strings.
    Strings,
    /// A string or a list of strings, all of them constant.
    Constants,
}

impl Definition {
    /// A test.
    pub fn test(
        name: impl Into<Cow<'static, str>>,
        code: impl Fn(&mut Context, &Call) -> Result<bool, Stop> + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, Code::Test(Arc::new(code)))
    }

    /// A command that ends in a semicolon.
    pub fn command(
        name: impl Into<Cow<'static, str>>,
        code: impl Fn(&mut Context, &Call) -> Result<Flow, Stop> + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, Code::Command(Arc::new(code)))
    }

    /// A command with a block. The code says whether the block is to be entered, first and again at its end.
    pub fn block(
        name: impl Into<Cow<'static, str>>,
        code: impl Fn(&mut Context, &Call, Round) -> Result<bool, Stop> + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, Code::Block(Arc::new(code)))
    }

    pub(crate) fn control(name: &'static str, control: Control) -> Self {
        Self::new(name, Code::Control(control))
    }

    fn new(name: impl Into<Cow<'static, str>>, code: Code) -> Self {
        Self {
            name: name.into(),
            parameters: Vec::new(),
            required: 0,
            tags: Vec::new(),
            matches: false,
            addresses: false,
            keys: 0,
            code,
            checks: Vec::new(),
            catches: false,
        }
    }

    /// Takes one positional argument more.
    #[must_use]
    pub fn parameter(mut self, kind: Parameter) -> Self {
        self.parameters.push((kind, true));
        self.required += 1;
        self
    }

    /// Takes one positional argument more, which may be left out.
    #[must_use]
    pub fn optional(mut self, kind: Parameter) -> Self {
        self.parameters.push((kind, false));
        self
    }

    /// Takes a tag.
    #[must_use]
    pub fn tag(mut self, tag: Tag) -> Self {
        self.tags.push(tag);
        self
    }

    /// A block that is left by an error within it: its code is called with [`Round::Left`], and the script goes on behind it.
    #[must_use]
    pub const fn catching(mut self) -> Self {
        self.catches = true;
        self
    }

    /// Takes a match type and a comparator; the last parameter so far is the list of keys
    /// ([`Context::matcher`](crate::Context::matcher)).
    #[must_use]
    pub fn matching(mut self) -> Self {
        self.matches = true;
        self.keys = self.parameters.len().saturating_sub(1);
        for name in ["is", "contains", "matches"] {
            self.tags.push(Tag::new(name).group("match type"));
        }
        self.tags.push(Tag::new("comparator").value(Parameter::Constant));
        self
    }

    /// Takes an address part (RFC 5228 §2.7.4).
    #[must_use]
    pub(crate) fn addresses(mut self) -> Self {
        self.addresses = true;
        for name in ["localpart", "domain", "all"] {
            self.tags.push(Tag::new(name).group("address part"));
        }
        self
    }

    /// Is checked by this too when a script is compiled.
    #[must_use]
    pub(crate) fn checked(mut self, check: CheckFunction) -> Self {
        self.checks.push(check);
        self
    }
}

impl std::fmt::Debug for Definition {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Definition").field(&self.name).finish()
    }
}
