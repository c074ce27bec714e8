//! The table of what a script may say: extensions, and the commands, tests and tags each of them adds.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use crate::{Call, Context, Flow, Limits, Stop, check::Checker, extension};

/// The commands, tests and extensions that scripts may use.
///
/// [`standard`](Self::standard) has everything that needs no more than the host's answers. A host takes away what it does not want
/// and adds its own.
///
/// ```
/// use mailwright_sieve::Language;
///
/// let language = Language::standard().without("editheader");
/// assert!(language.extensions().any(|name| name == "vacation"));
/// let error = language.compile(b"require \"editheader\";").unwrap_err();
/// assert_eq!(error.to_string(), "line 1, column 9: the extension `editheader` is not known here");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Language {
    extensions: BTreeMap<Cow<'static, str>, Extension>,
    commands: Names,
    tests: Names,
    pub(crate) limits: Limits,
}

type Names = HashMap<Cow<'static, str>, Vec<Known>, BuildHasherDefault<NameHasher>>;

/// FNV-1a. What is in the tables is the language's own, so that nobody can choose names that collide; each command is looked up.
#[derive(Debug, Clone)]
struct NameHasher(u64);

impl Default for NameHasher {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, octets: &[u8]) {
        for octet in octets {
            self.0 = (self.0 ^ u64::from(*octet)).wrapping_mul(0x100_0000_01B3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A definition and the extension it came with.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) extension: Cow<'static, str>,
    pub(crate) definition: Arc<Definition>,
}

impl Language {
    /// RFC 5228 alone, and no extension of it.
    pub fn base() -> Self {
        let mut language = Self::default();
        language.add(extension::base());
        language
    }

    /// Every extension of this crate but those that start programs, those that must have a part of the host behind them
    /// ([`extension::convert`], [`extension::process_calendar`], …), and the language of test suites.
    pub fn standard() -> Self {
        let mut language = Self::base();
        for extension in extension::standard() {
            language.add(extension);
        }
        language
    }

    /// The same with other bounds for scripts.
    #[must_use]
    pub fn limited(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The same with one extension more; one of the same name is replaced.
    #[must_use]
    pub fn with(mut self, extension: Extension) -> Self {
        self.remove(&extension.name.clone());
        self.add(extension);
        self
    }

    /// The same without the extension of that name, if it was there.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.remove(name);
        self
    }

    /// The names that `require` takes, in order: what the `SIEVE` capability of RFC 5804 §1.7 lists.
    pub fn extensions(&self) -> impl Iterator<Item = &str> {
        self.extensions.keys().map(|name| &**name).filter(|name| !name.is_empty())
    }

    /// The bounds of scripts.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn extension(&self, name: &str) -> Option<&Extension> {
        self.extensions.get(name).filter(|extension| !extension.name.is_empty())
    }

    pub(crate) fn command(&self, name: &str) -> &[Known] {
        self.commands.get(name).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn test(&self, name: &str) -> &[Known] {
        self.tests.get(name).map_or(&[], Vec::as_slice)
    }

    /// The tags that extensions add to a definition, with the name of the extension.
    pub(crate) fn tags_on<'l>(
        &'l self,
        definition: &'l Definition,
    ) -> impl Iterator<Item = (&'l str, &'l Tag)> + 'l {
        self.extensions.values().flat_map(move |extension| {
            extension
                .tags
                .iter()
                .filter(|(target, _)| target.is(definition))
                .map(|(_, tag)| (&*extension.name, tag))
        })
    }

    fn add(&mut self, extension: Extension) {
        for (definitions, table) in
            [(&extension.commands, &mut self.commands), (&extension.tests, &mut self.tests)]
        {
            for definition in definitions {
                let known = Known { extension: extension.name.clone(), definition: Arc::clone(definition) };
                table.entry(definition.name.clone()).or_default().push(known);
            }
        }
        self.extensions.insert(extension.name.clone(), extension);
    }

    fn remove(&mut self, name: &str) {
        if self.extensions.remove(name).is_some() {
            for table in [&mut self.commands, &mut self.tests] {
                table.values_mut().for_each(|known| known.retain(|known| known.extension != name));
                table.retain(|_, known| !known.is_empty());
            }
        }
    }
}

/// What one name in `require` brings.
///
/// ```
/// use mailwright_sieve::{Answer, Definition, Extension, Flow, Language, Parameter, Request};
///
/// // A test of the host's own, `weather "sunny"`, which asks the host.
/// let weather = Definition::test("weather", |context, call| {
///     let wanted = context.text(call, 0)?;
///     match context.ask(Request::custom("weather", []))? {
///         Answer::Text(found) => Ok(found.as_deref() == Some(&*wanted)),
///         _ => Ok(false),
///     }
/// });
/// let language = Language::standard().with(Extension::new("vnd.example.weather").test(weather.parameter(Parameter::String)));
/// assert!(language.compile(br#"require "vnd.example.weather"; if weather "sunny" { discard; }"#).is_ok());
/// ```
#[derive(Debug, Clone)]
pub struct Extension {
    pub(crate) name: Cow<'static, str>,
    commands: Vec<Arc<Definition>>,
    tests: Vec<Arc<Definition>>,
    tags: Vec<(Target, Tag)>,
    pub(crate) implies: Vec<Cow<'static, str>>,
    pub(crate) conflicts: Vec<Cow<'static, str>>,
    pub(crate) namespace: Option<Cow<'static, str>>,
}

/// What an extension adds a tag to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// The commands or tests of these names.
    Named(&'static [&'static str]),
    /// Every test that takes a match type.
    Matching,
    /// Every test that takes an address part.
    Addresses,
}

impl Target {
    fn is(&self, definition: &Definition) -> bool {
        match self {
            Self::Named(names) => names.contains(&&*definition.name),
            Self::Matching => definition.matches,
            Self::Addresses => definition.addresses,
        }
    }
}

impl Extension {
    /// An extension that brings nothing yet but its name.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.into(),
            commands: Vec::new(),
            tests: Vec::new(),
            tags: Vec::new(),
            implies: Vec::new(),
            conflicts: Vec::new(),
            namespace: None,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds a command.
    #[must_use]
    pub fn command(mut self, definition: Definition) -> Self {
        self.commands.push(Arc::new(definition));
        self
    }

    /// Adds a test.
    #[must_use]
    pub fn test(mut self, definition: Definition) -> Self {
        self.tests.push(Arc::new(definition));
        self
    }

    /// Adds a tag to commands or tests of other extensions.
    #[must_use]
    pub fn tag_on(mut self, target: Target, tag: Tag) -> Self {
        self.tags.push((target, tag));
        self
    }

    /// Whoever requires this one has that one too.
    #[must_use]
    pub fn implies(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.implies.push(name.into());
        self
    }

    /// Nobody may require this one and that one (RFC 5429 §2.2 has such a pair for some actions; RFC 5435 for `notify`).
    #[must_use]
    pub fn conflicts(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.conflicts.push(name.into());
        self
    }

    /// Variables of this namespace (RFC 5229 §3) are asked of the host as environment items, with their underscores as hyphens.
    #[must_use]
    pub fn environment_namespace(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.namespace = Some(name.into());
        self
    }
}

/// A command or test: what it takes and what it does.
#[derive(Clone)]
pub struct Definition {
    pub(crate) name: Cow<'static, str>,
    pub(crate) parameters: Vec<(Parameter, bool)>,
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
