//! Arguments, held against what the definition takes.

use std::{borrow::Cow, fmt, sync::Arc};

use memchr::memchr;
use smol_str::SmolStr;

use super::{Checker, literals};
use crate::{
    Argument, ArgumentKind, Call, Definition, Parameter, Position, StringLiteral, Tag,
    program::{TagUse, Value},
    text::{self, Text},
};

impl<'l> Checker<'l> {
    /// A call of a definition with these arguments; what is wrong with them has been said.
    pub(super) fn call(
        &mut self,
        definition: &Arc<Definition>,
        position: Position,
        arguments: &[Argument],
    ) -> Call {
        let mut call = Call {
            definition: Arc::clone(definition),
            position,
            tags: Vec::with_capacity(arguments.iter().filter(|argument| is_tag(argument)).count()),
            values: Vec::with_capacity(definition.parameters.len()),
            matching: None,
        };
        let said = self.diagnostics.len();
        let mut rest = arguments.iter();
        while let Some(Argument { position, kind: ArgumentKind::Tag(name) }) = rest.as_slice().first() {
            rest.next();
            let Some(tag) = self.tag(definition, *position, name) else {
                // Its values are unknown, and so is what follows.
                return call;
            };
            self.tag_use(&mut call, tag, *position, &mut rest);
        }
        for argument in rest.as_slice() {
            // RFC 5228 §2.6.2: they stand before the positional arguments.
            if let ArgumentKind::Tag(name) = &argument.kind {
                self.error(argument.position, format!("`:{name}` must stand before the other arguments"));
                return call;
            }
        }
        self.positional(&mut call, definition, rest.as_slice());
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

    fn tag<'d>(&mut self, definition: &'d Definition, position: Position, name: &str) -> Option<&'d Tag>
    where
        'l: 'd,
    {
        if let Some(tag) = definition.tags.iter().find(|tag| tag.name == name) {
            return Some(tag);
        }
        let language = self.language;
        let mut needed = None;
        for (extension, tag) in language.tags_on(definition).filter(|(_, tag)| tag.name == name) {
            if self.is_active(extension) {
                return Some(tag);
            }
            needed = needed.or(Some(extension));
        }
        self.error(
            position,
            match needed {
                Some(extension) => format!("`:{name}` needs `require \"{extension}\";`"),
                None => format!("`{}` knows no `:{name}`", definition.name),
            },
        );
        None
    }

    fn tag_use<'a>(
        &mut self,
        call: &mut Call,
        tag: &Tag,
        position: Position,
        rest: &mut impl Iterator<Item = &'a Argument>,
    ) {
        if call.has(&tag.name) {
            self.error(position, format!("`:{}` is here twice", tag.name));
        } else if let Some(group) = tag.group {
            let tags = call.tags.iter().find(|other| self.is_in_group(call, &other.name, group));
            if let Some(other) = tags {
                self.error(position, format!("there is another {group} already: `:{}`", other.name));
            }
        }
        let mut values = Vec::new();
        for kind in &tag.values {
            match rest.next() {
                Some(argument) => values.extend(self.value(*kind, argument, Taker::Tag(&tag.name))),
                None => self.error(position, format!("`:{}` takes {}", tag.name, kind.describe())),
            }
        }
        call.tags.push(TagUse { name: SmolStr::new(&*tag.name), values });
    }

    fn is_in_group(&self, call: &Call, name: &str, group: &str) -> bool {
        let same = |tag: &Tag| tag.name == name && tag.group == Some(group);
        call.definition.tags.iter().any(same)
            || self.language.tags_on(&call.definition).any(|(_, tag)| same(tag))
    }

    /// Gives positional arguments to parameters. Where there are fewer of them, optional parameters get one from the left.
    fn positional(&mut self, call: &mut Call, definition: &Definition, arguments: &[Argument]) {
        let required = definition.parameters.iter().filter(|(_, required)| *required).count();
        let mut spare = arguments.len().saturating_sub(required);
        let mut rest = arguments.iter();
        for (kind, required) in &definition.parameters {
            let given = *required || spare > 0;
            spare -= usize::from(!*required && spare > 0);
            let argument = if given { rest.next() } else { None };
            let value = argument
                .and_then(|argument| self.value(*kind, argument, Taker::Definition(&definition.name)));
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

    fn value(&mut self, kind: Parameter, argument: &Argument, of: Taker<'_>) -> Option<Value> {
        let unexpected = |checker: &mut Self| {
            let found = match &argument.kind {
                ArgumentKind::Tag(name) => format!("`:{name}`"),
                ArgumentKind::Number(_) => "a number".into(),
                ArgumentKind::String(_) => "a string".into(),
                ArgumentKind::StringList(_) => "a list of strings".into(),
            };
            checker.error(argument.position, format!("{of} takes {}, found {found}", kind.describe()));
            None
        };
        if let (Parameter::Number, ArgumentKind::Number(number)) = (kind, &argument.kind) {
            return Some(Value::Number(*number));
        }
        let Some(strings) = literals(&argument.kind).filter(|_| kind != Parameter::Number) else {
            return unexpected(self);
        };
        let list = matches!(kind, Parameter::Strings | Parameter::Constants | Parameter::Variables);
        // RFC 5228 §2.4.2.1: a list of one string is not a string, but the other way round.
        if !list && matches!(argument.kind, ArgumentKind::StringList(_)) {
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

    fn string(&mut self, kind: Parameter, literal: &StringLiteral, of: Taker<'_>) -> Option<Text> {
        let is_name = matches!(kind, Parameter::Variable | Parameter::Variables);
        // Nearly no string has a variable or an encoded character.
        let plain = !(self.encoded || self.variables) || memchr(b'$', literal.value.as_bytes()).is_none();
        if !is_name && plain {
            return Some(Text::Constant(literal.value.clone()));
        }
        let decoded = match self.encoded {
            true => text::decode_characters(&literal.value),
            false => Ok(Cow::Borrowed(literal.value.as_str())),
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

const fn is_tag(argument: &Argument) -> bool {
    matches!(argument.kind, ArgumentKind::Tag(_))
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
