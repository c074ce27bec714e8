//! The table of what a script may say: extensions, and the commands, tests and tags each of them adds.

mod names;

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use names::Names;

use crate::{Definition, Limits, Tag, extension};

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
    /// How many extensions have been added so far, those that are gone included: the number of the next.
    added: usize,
    pub(crate) limits: Limits,
}

/// A definition, the extension it came with, and the tags that extensions add to it, in the order of their names.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) extension: Cow<'static, str>,
    pub(crate) number: usize,
    pub(crate) definition: Arc<Definition>,
    pub(crate) tags: Vec<Added>,
}

/// A tag, and the extension it came with.
#[derive(Debug, Clone)]
pub(crate) struct Added {
    pub(crate) extension: Cow<'static, str>,
    pub(crate) number: usize,
    pub(crate) tag: Tag,
}

impl Known {
    fn take_tags(&mut self, extension: &Extension) {
        let taken =
            extension.tags.iter().filter(|(target, _)| target.is(&self.definition)).map(|(_, tag)| Added {
                extension: extension.name.clone(),
                number: extension.number,
                tag: tag.clone(),
            });
        self.tags.extend(taken);
        self.tags.sort_by(|one, other| one.extension.cmp(&other.extension));
    }
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
        self.numbered().map(|(name, _)| name)
    }

    /// The same with their numbers.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (&str, usize)> {
        let named = self.extensions.values().filter(|extension| !extension.name.is_empty());
        named.map(|extension| (&*extension.name, extension.number))
    }

    /// The bounds of scripts.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn extension(&self, name: &str) -> Option<&Extension> {
        self.extensions.get(name).filter(|extension| !extension.name.is_empty())
    }

    pub(crate) fn command(&self, name: &str) -> &[Known] {
        self.commands.get(name)
    }

    pub(crate) fn test(&self, name: &str) -> &[Known] {
        self.tests.get(name)
    }

    /// How many extensions have a number.
    pub(crate) const fn numbers(&self) -> usize {
        self.added
    }

    fn add(&mut self, mut extension: Extension) {
        extension.number = self.added;
        self.added += 1;
        let known = self.commands.known().chain(self.tests.known());
        known.for_each(|known| known.take_tags(&extension));
        for (definitions, table) in
            [(&extension.commands, &mut self.commands), (&extension.tests, &mut self.tests)]
        {
            for definition in definitions {
                let mut known = Known {
                    extension: extension.name.clone(),
                    number: extension.number,
                    definition: Arc::clone(definition),
                    tags: Vec::new(),
                };
                let all = self.extensions.values().chain([&extension]);
                all.for_each(|extension| known.take_tags(extension));
                table.push(definition.name.clone(), known);
            }
        }
        self.extensions.insert(extension.name.clone(), extension);
    }

    fn remove(&mut self, name: &str) {
        if self.extensions.remove(name).is_some() {
            for table in [&mut self.commands, &mut self.tests] {
                table.retain(|known| known.extension != name);
                table.known().for_each(|known| known.tags.retain(|added| added.extension != name));
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
    /// Which one it is of those that a language has been given.
    pub(crate) number: usize,
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
            number: 0,
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
