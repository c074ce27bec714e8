//! What a script is compiled to.

use std::{borrow::Cow, sync::Arc};

use crate::{Definition, Diagnostic, Position, few::Few, matching::Matching, text::Text};

/// A script that has been checked, ready to [run](crate::Run). Cheap to share.
#[derive(Debug, Clone)]
pub struct Program {
    pub(crate) code: Vec<Instruction>,
    /// What instructions refer to by its number.
    pub(crate) calls: Vec<Call>,
    /// How many variables it has of its own.
    pub(crate) variables: usize,
    /// Whether match variables can be read.
    pub(crate) captures: bool,
    pub(crate) extensions: Vec<String>,
    pub(crate) warnings: Vec<Diagnostic>,
}

impl Program {
    /// What may not do what was meant.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// The extensions it uses: those it requires, those they imply, and those it has asked for by `ihave`.
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }

    /// How many instructions it has.
    pub const fn len(&self) -> usize {
        self.code.len()
    }

    /// The block that starts at an instruction: what it is, and where it ends.
    pub(crate) fn block(&self, start: usize) -> Option<(&Call, usize)> {
        match self.code.get(start)? {
            Instruction::Enter { call, end } => Some((self.calls.get(*call)?, *end)),
            _ => None,
        }
    }

    /// Whether it does nothing, so that every message is kept.
    pub const fn is_empty(&self) -> bool {
        self.code.is_empty()
    }
}

/// One step of a run.
#[derive(Debug, Clone)]
pub(crate) enum Instruction {
    Set(bool),
    Not,
    JumpIf {
        when: bool,
        to: usize,
    },
    Jump {
        to: usize,
    },
    Test(usize),
    Command(usize),
    /// The start of a block: behind `end` if it is not entered.
    Enter {
        call: usize,
        end: usize,
    },
    /// The end of the block that starts at `start`.
    Again {
        start: usize,
    },
    /// Something the checker refused, in a script where `ihave` may keep control from it (RFC 5463 §4).
    Raise {
        position: Position,
        message: Box<str>,
    },
}

/// A command or test of a script with its arguments.
#[derive(Debug, Clone)]
pub struct Call {
    pub(crate) definition: Arc<Definition>,
    pub(crate) position: Position,
    pub(crate) tags: Few<TagUse, 1>,
    /// One for each parameter of the definition.
    pub(crate) values: Few<Option<Value>, 2>,
    pub(crate) matching: Option<Matching>,
}

/// A tag and its values.
#[derive(Debug, Clone)]
pub(crate) struct TagUse {
    pub(crate) name: Cow<'static, str>,
    pub(crate) values: Vec<Value>,
}

impl TagUse {
    /// Its string, if that is constant; else an empty one.
    pub(crate) fn constant(&self) -> &str {
        let texts = self.values.first().map_or(&[][..], Value::texts);
        texts.first().and_then(Text::constant).unwrap_or_default()
    }
}

/// An argument.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Number(u64),
    String(Text),
    Strings(Vec<Text>),
}

impl Value {
    fn texts(&self) -> &[Text] {
        match self {
            Self::Number(_) => &[],
            Self::String(text) => std::slice::from_ref(text),
            Self::Strings(texts) => texts,
        }
    }
}

impl Call {
    /// The name of the command or test.
    pub fn name(&self) -> &str {
        &self.definition.name
    }

    /// Where it stands in the script.
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Whether it has that tag, given without the colon.
    pub fn has(&self, tag: &str) -> bool {
        self.tag(tag).is_some()
    }

    /// The number at the positional argument of that index, from 0.
    pub fn number(&self, index: usize) -> Option<u64> {
        match self.values.get(index) {
            Some(Some(Value::Number(number))) => Some(*number),
            _ => None,
        }
    }

    /// The number that is the first value of that tag.
    pub fn tag_number(&self, tag: &str) -> Option<u64> {
        match self.tag(tag)?.values.first()? {
            Value::Number(number) => Some(*number),
            Value::String(_) | Value::Strings(_) => None,
        }
    }

    pub(crate) fn tag(&self, name: &str) -> Option<&TagUse> {
        self.tags.iter().find(|tag| tag.name == name)
    }

    pub(crate) fn texts(&self, index: usize) -> &[Text] {
        self.values.get(index).and_then(Option::as_ref).map_or(&[], Value::texts)
    }

    pub(crate) fn tag_texts(&self, tag: &str) -> &[Text] {
        self.tag(tag).and_then(|tag| tag.values.first()).map_or(&[], Value::texts)
    }

    /// The one string of a positional argument, if it is constant.
    pub(crate) fn constant(&self, index: usize) -> Option<&str> {
        self.texts(index).first().and_then(Text::constant)
    }

    /// The one string of a tag, if it is constant.
    pub(crate) fn tag_constant(&self, tag: &str) -> Option<&str> {
        self.tag_texts(tag).first().and_then(Text::constant)
    }
}
