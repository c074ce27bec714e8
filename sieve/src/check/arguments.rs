//! Arguments, held against what the definition takes.

use std::{borrow::Cow, fmt, sync::Arc};

use super::Checker;
use crate::{
    Call, Definition, Parameter, Position, Tag,
    few::Few,
    language::Known,
    program::{TagUse, Value},
    text::{self, Text},
    tree::{Given, Kind, Literal, Node, Tree},
};

impl<'l> Checker<'l> {
    /// Adds a call of a definition as it stands in the script, and gives its number; what is wrong with it has been said.
    pub(super) fn call(&mut self, known: &'l Known, node: Node<'_>) -> usize {
        let call = self.called(known, node);
        self.calls.push(call);
        self.calls.len() - 1
    }

    #[inline]
    fn called(&mut self, known: &'l Known, node: Node<'_>) -> Call {
        let definition = &known.definition;
        let mut call = Call {
            definition: Arc::clone(definition),
            position: node.position(),
            tags: Few::new(),
            values: Few::new(),
            matching: None,
        };
        let said = self.diagnostics.len();
        let mut rest = node.arguments().iter();
        while let Some(Given { position, kind: Kind::Tag(name) }) = rest.as_slice().first() {
            rest.next();
            let Some(tag) = self.tag(known, *position, name) else {
                // Its values are unknown, and so is what follows.
                return call;
            };
            self.tag_use(&mut call, known, tag, *position, node.tree, &mut rest);
        }
        for argument in rest.as_slice() {
            // RFC 5228 §2.6.2: they stand before the positional arguments.
            if let Kind::Tag(name) = &argument.kind {
                self.error(argument.position, format!("`:{name}` must stand before the other arguments"));
                return call;
            }
        }
        if self.diagnostics.len() > said {
            // Where a tag has not got what it takes, what is left for the others says nothing.
            return call;
        }
        self.positional(&mut call, definition, node.tree, rest.as_slice());
        if self.diagnostics.len() > said {
            return call;
        }
        if definition.matches {
            self.matching(&mut call);
        }
        for check in &definition.checks {
            check(self, &mut call);
        }
        call
    }

    fn matching(&mut self, call: &mut Call) {
        if let Some(name) = call.tag_constant("comparator") {
            let required = format!("comparator-{name}");
            // RFC 5228 §2.7.3: these two are always there.
            let always = matches!(name, "i;octet" | "i;ascii-casemap");
            if !always && !self.is_active(&required) && self.language.extension(&required).is_some() {
                let message = format!("the comparator `{name}` needs `require \"{required}\";`");
                self.error(call.position, message);
                return;
            }
        }
        if let Err(message) = call.work_out_matching(self.limits()) {
            self.error(call.position, message);
            return;
        }
        let patterns = call.matching.iter().flat_map(|matching| &matching.patterns).flatten();
        self.regexes = patterns.fold(self.regexes, |octets, pattern| octets.saturating_add(pattern.octets()));
        let most = self.limits().regexes;
        if self.regexes > most {
            self.error(
                call.position,
                format!("the regular expressions of the script need more than {most} octets"),
            );
            // They go at once: so much is held at most, whatever follows.
            call.matching = None;
        }
    }

    fn tag(&mut self, known: &'l Known, position: Position, name: &str) -> Option<&'l Tag> {
        if let Some(tag) = known.definition.tags.iter().find(|tag| tag.name == name) {
            return Some(tag);
        }
        let mut needed = None;
        for added in known.tags.iter().filter(|added| added.tag.name == name) {
            if self.has_number(added.number) {
                return Some(&added.tag);
            }
            needed = needed.or(Some(&added.extension));
        }
        self.error(
            position,
            match needed {
                Some(extension) => format!("`:{name}` needs `require \"{extension}\";`"),
                None => format!("`{}` knows no `:{name}`", known.definition.name),
            },
        );
        None
    }

    fn tag_use<'t>(
        &mut self,
        call: &mut Call,
        known: &Known,
        tag: &Tag,
        position: Position,
        tree: &Tree<'_>,
        rest: &mut impl Iterator<Item = &'t Given<'t>>,
    ) {
        if call.tags.is_empty() {
            // Nothing to be told from.
        } else if call.has(&tag.name) {
            self.error(position, format!("`:{}` is here twice", tag.name));
        } else if let Some(group) = tag.group {
            let other = call.tags.iter().find(|other| is_in_group(known, &other.name, group));
            if let Some(other) = other {
                self.error(position, format!("there is another {group} already: `:{}`", other.name));
            }
        }
        let mut values = Vec::new();
        for kind in &tag.values {
            match rest.next() {
                Some(argument) => values.extend(self.value(*kind, tree, argument, Taker::Tag(&tag.name))),
                None => self.error(position, format!("`:{}` takes {}", tag.name, kind.describe())),
            }
        }
        call.tags.push(TagUse { name: tag.name.clone(), values });
    }

    /// Gives positional arguments to parameters. Where there are fewer of them, optional parameters get one from the left.
    fn positional(
        &mut self,
        call: &mut Call,
        definition: &Definition,
        tree: &Tree<'_>,
        arguments: &[Given<'_>],
    ) {
        let mut spare = arguments.len().saturating_sub(definition.required);
        let mut rest = arguments.iter();
        for (kind, required) in &definition.parameters {
            let given = *required || spare > 0;
            spare -= usize::from(!*required && spare > 0);
            let argument = if given { rest.next() } else { None };
            let value = argument
                .and_then(|argument| self.value(*kind, tree, argument, Taker::Definition(&definition.name)));
            if *required && argument.is_none() {
                self.error(
                    call.position,
                    format!("`{}` is missing an argument: {}", definition.name, kind.describe()),
                );
                return;
            }
            call.values.push(value);
        }
        if let Some(argument) = rest.next() {
            let none = definition.parameters.is_empty();
            let message =
                format!("`{}` takes no {}argument here", definition.name, if none { "" } else { "other " });
            self.error(argument.position, message);
        }
    }

    fn value(
        &mut self,
        kind: Parameter,
        tree: &Tree<'_>,
        argument: &Given<'_>,
        of: Taker<'_>,
    ) -> Option<Value> {
        let unexpected = |checker: &mut Self| {
            let found = match &argument.kind {
                Kind::Tag(name) => format!("`:{name}`"),
                Kind::Number(_) => "a number".into(),
                Kind::String(_) => "a string".into(),
                Kind::List(_) => "a list of strings".into(),
            };
            checker.error(argument.position, format!("{of} takes {}, found {found}", kind.describe()));
            None
        };
        if let (Parameter::Number, Kind::Number(number)) = (kind, &argument.kind) {
            return Some(Value::Number(*number));
        }
        let Some(strings) = tree.literals(argument).filter(|_| kind != Parameter::Number) else {
            return unexpected(self);
        };
        let list = matches!(kind, Parameter::Strings | Parameter::Constants | Parameter::Variables);
        // RFC 5228 §2.4.2.1: a list of one string is not a string, but the other way round.
        if !list && matches!(argument.kind, Kind::List(_)) {
            return unexpected(self);
        }
        if let [string] = strings {
            return self.string(kind, string, of).map(Value::String);
        }
        let mut texts = Vec::with_capacity(strings.len());
        for string in strings {
            texts.push(self.string(kind, string, of)?);
        }
        Some(Value::Strings(texts))
    }

    fn string(&mut self, kind: Parameter, literal: &Literal<'_>, of: Taker<'_>) -> Option<Text> {
        let is_name = matches!(kind, Parameter::Variable | Parameter::Variables);
        let value = whole_lines(&literal.value);
        // Nearly no string has a variable or an encoded character.
        let plain =
            literal.is_plain || !(self.encoded || self.variables) || !text::may_have_references(&value);
        if !is_name && plain {
            return Some(Text::Constant((*value).into()));
        }
        let decoded = match self.encoded {
            true => text::decode_characters(&value),
            false => Ok(Cow::Borrowed(&*value)),
        };
        let decoded = match decoded {
            Ok(decoded) => decoded,
            Err(message) => {
                self.error(literal.position, message);
                return None;
            }
        };
        if is_name {
            return self.target(literal.position, &decoded);
        }
        if !self.variables {
            return Some(Text::Constant(decoded.into()));
        }
        let compiled = text::template(&decoded, |name| {
            self.variable(name).map_err(|message| (literal.position, message))
        });
        match compiled {
            Ok(Text::Template(_)) if matches!(kind, Parameter::Constant | Parameter::Constants) => {
                self.error(literal.position, format!("{of} takes no variable here"));
                None
            }
            Ok(compiled) => Some(compiled),
            Err((position, message)) => {
                self.error(position, message);
                None
            }
        }
    }
}

/// A string whose lines end with CR LF, as in mail (RFC 5228 §2.4.2), where those of the script end with LF alone.
fn whole_lines<'t>(value: &'t Cow<'t, str>) -> Cow<'t, str> {
    let octets = value.as_bytes();
    let bare = |at: usize| at == 0 || octets.get(at - 1) != Some(&b'\r');
    if !memchr::memchr_iter(b'\n', octets).any(bare) {
        return Cow::Borrowed(value);
    }
    let mut whole = String::with_capacity(value.len() + 16);
    for line in value.split_inclusive('\n') {
        match line.strip_suffix('\n') {
            Some(line) => {
                whole.push_str(line.strip_suffix('\r').unwrap_or(line));
                whole.push_str("\r\n");
            }
            None => whole.push_str(line),
        }
    }
    Cow::Owned(whole)
}

fn is_in_group(known: &Known, name: &str, group: &str) -> bool {
    let added = known.tags.iter().map(|added| &added.tag);
    known.definition.tags.iter().chain(added).any(|tag| tag.name == name && tag.group == Some(group))
}

/// What takes an argument.
#[derive(Debug, Clone, Copy)]
enum Taker<'a> {
    Definition(&'a str),
    Tag(&'a str),
}

impl fmt::Display for Taker<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Definition(name) => write!(formatter, "`{name}`"),
            Self::Tag(name) => write!(formatter, "`:{name}`"),
        }
    }
}

impl Parameter {
    const fn describe(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::String | Self::Constant => "a string",
            Self::Variable => "the name of a variable",
            Self::Variables => "the names of variables",
            Self::Strings | Self::Constants => "a string or a list of strings",
        }
    }
}
