//! Strings with their variables put in, and variables.

use std::borrow::Cow;

use super::{Context, Stop};
use crate::{
    Call, Request,
    text::{Piece, Text, Variable},
};

/// The strings of an argument: as they stand in the script, or with their variables put in.
#[derive(Debug, Clone)]
pub(crate) struct Strings<'c> {
    /// All of them, if no variable is in any.
    constant: &'c [Text],
    expanded: Vec<Cow<'c, str>>,
}

impl<'c> Strings<'c> {
    pub(crate) fn len(&self) -> usize {
        self.constant.len() + self.expanded.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        let constant = self.constant.iter().filter_map(Text::constant);
        constant.chain(self.expanded.iter().map(|text| &**text))
    }
}

impl<'c> From<Vec<Cow<'c, str>>> for Strings<'c> {
    fn from(expanded: Vec<Cow<'c, str>>) -> Self {
        Self { constant: &[], expanded }
    }
}

impl Context {
    /// The strings of the positional argument at that index, from 0; nothing is copied if there is no variable in them.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub(crate) fn strings<'c>(&mut self, call: &'c Call, index: usize) -> Result<Strings<'c>, Stop> {
        let texts = call.texts(index);
        match texts.iter().all(|text| matches!(text, Text::Constant(_))) {
            true => Ok(Strings { constant: texts, expanded: Vec::new() }),
            false => self.texts(call, index).map(Strings::from),
        }
    }

    /// The one string of the positional argument at that index, from 0; empty if it was left out.
    ///
    /// # Errors
    /// If the host has to be asked for a variable, or a limit is reached.
    pub fn text<'c>(&mut self, call: &'c Call, index: usize) -> Result<Cow<'c, str>, Stop> {
        call.texts(index).first().map_or(Ok(Cow::Borrowed("")), |text| self.expand(text))
    }

    /// The strings of the positional argument at that index, from 0.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn texts<'c>(&mut self, call: &'c Call, index: usize) -> Result<Vec<Cow<'c, str>>, Stop> {
        call.texts(index).iter().map(|text| self.expand(text)).collect()
    }

    /// The one string that is the value of that tag; `None` if the call does not have it.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn tag_text<'c>(&mut self, call: &'c Call, tag: &str) -> Result<Option<Cow<'c, str>>, Stop> {
        call.tag_texts(tag).first().map(|text| self.expand(text)).transpose()
    }

    /// The strings that are the value of that tag; `None` if the call does not have it.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn tag_texts<'c>(&mut self, call: &'c Call, tag: &str) -> Result<Option<Vec<Cow<'c, str>>>, Stop> {
        let Some(_) = call.tag(tag) else { return Ok(None) };
        call.tag_texts(tag).iter().map(|text| self.expand(text)).collect::<Result<_, _>>().map(Some)
    }

    pub(crate) fn expand<'t>(&mut self, text: &'t Text) -> Result<Cow<'t, str>, Stop> {
        let pieces = match text {
            Text::Constant(text) => return Ok(Cow::Borrowed(text)),
            Text::Template(pieces) => pieces,
        };
        let mut expanded = String::new();
        for piece in pieces {
            match piece {
                Piece::Literal(literal) => expanded.push_str(literal),
                Piece::Variable(variable) => {
                    let value = self.variable(variable)?;
                    expanded.push_str(&value);
                }
            }
            truncate(&mut expanded, self.limits().string);
        }
        self.charge(expanded.len())?;
        self.expanded = self.expanded.saturating_add(expanded.len());
        let most = self.limits().memory;
        if self.expanded > most {
            return Err(Stop::error(format!("the strings of one command hold more than {most} octets")));
        }
        Ok(Cow::Owned(expanded))
    }

    fn variable(&mut self, variable: &Variable) -> Result<Cow<'_, str>, Stop> {
        Ok(match variable {
            Variable::Local(index) => Cow::Borrowed(self.locals.get(*index).map_or("", String::as_str)),
            Variable::Global(name) => Cow::Borrowed(self.globals.get(name).map_or("", String::as_str)),
            Variable::Match(index) => Cow::Borrowed(self.captures.get(*index).map_or("", String::as_str)),
            Variable::Environment(name) => {
                Cow::Owned(self.ask_text(Request::Environment(name.to_string()))?.unwrap_or_default())
            }
        })
    }

    /// What the variable that is the positional argument at that index holds.
    pub(crate) fn target_value(&mut self, target: &Text) -> Result<String, Stop> {
        self.expand(target).map(Cow::into_owned)
    }

    /// Sets the variable that an argument of [`Parameter::Variable`](crate::Parameter::Variable) names.
    ///
    /// # Errors
    /// If variables would hold more than [`Limits::memory`](crate::Limits::memory) together, or be too many.
    pub(crate) fn assign(&mut self, target: &Text, mut value: String) -> Result<(), Stop> {
        // RFC 5229 §6: what is too long is cut off, and that is no error.
        truncate(&mut value, self.limits().variable);
        value.shrink_to_fit();
        let Text::Template(pieces) = target else { return Ok(()) };
        let length = value.len();
        match pieces.first() {
            Some(Piece::Variable(Variable::Local(index))) => {
                if let Some(slot) = self.locals.get_mut(*index) {
                    *slot = value;
                }
            }
            Some(Piece::Variable(Variable::Global(name))) => {
                let most = self.limits().variables;
                if !self.globals.contains_key(name) && self.globals.len() >= most {
                    return Err(Stop::error(format!("there are more than {most} global variables")));
                }
                self.globals.insert(name.clone(), value);
            }
            _ => {}
        }
        self.charge(length)?;
        let held = self.locals.iter().chain(self.globals.values()).map(String::len).sum::<usize>();
        if held > self.limits().memory {
            return Err(Stop::error(format!("the variables hold more than {} octets", self.limits().memory)));
        }
        Ok(())
    }

    /// Sets the variable that is the positional argument at that index.
    ///
    /// # Errors
    /// If variables would hold more than [`Limits::memory`](crate::Limits::memory) together, or be too many.
    pub fn set_variable(&mut self, call: &Call, index: usize, value: String) -> Result<(), Stop> {
        call.texts(index).first().map_or(Ok(()), |target| self.assign(target, value))
    }
}

pub(super) fn truncate(text: &mut String, most: usize) {
    if text.len() > most {
        let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
}
