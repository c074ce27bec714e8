//! Names of variables (RFC 5229 §3, RFC 6609 §3.4).

use std::sync::Arc;

use super::Checker;
use crate::{
    Position,
    text::{self, Name, Piece, Text, Variable},
};

impl Checker<'_> {
    /// A reference in a string.
    pub(super) fn variable(&mut self, name: Name<'_>) -> Result<Variable, String> {
        match name {
            Name::Number(digits) => {
                let most = self.limits().match_values.saturating_sub(1);
                let index = digits.parse().ok().filter(|index| *index <= most);
                // RFC 5229 §6: too high an index is an error, best found here.
                index
                    .map(Variable::Match)
                    .ok_or_else(|| format!("there are no match variables above ${{{most}}}"))
            }
            Name::Plain(name) => self.plain(name),
            Name::Namespaced("global", name) if self.is_active("include") => {
                Ok(Variable::Global(name.to_ascii_lowercase().into()))
            }
            Name::Namespaced(namespace, rest) => {
                let lower = namespace.to_ascii_lowercase();
                if lower == "global" && self.is_active("include") {
                    return self.variable(Name::Namespaced("global", rest));
                }
                let language = self.language;
                let mut known = language.extensions().filter_map(|name| language.extension(name));
                let known = known.any(|extension| {
                    extension.namespace.as_deref() == Some(&lower) && self.is_active(&extension.name)
                });
                // RFC 5229 §3: a namespace whose extension is not required is an error.
                if !known {
                    return Err(format!(
                        "no required extension has variables in the namespace `{namespace}`"
                    ));
                }
                Ok(Variable::Environment(rest.to_ascii_lowercase().replace('_', "-").into()))
            }
        }
    }

    fn plain(&mut self, name: &str) -> Result<Variable, String> {
        let name = name.to_ascii_lowercase();
        if let Some(variable) = self.scope.get(&name) {
            return Ok(variable.clone());
        }
        if self.scope.len() >= self.limits().variables {
            return Err(format!("there are more than {} variables", self.limits().variables));
        }
        let variable = Variable::Local(self.locals);
        self.locals += 1;
        self.scope.insert(name, variable.clone());
        Ok(variable)
    }

    /// A variable that is to be set, as a string that is this variable.
    pub(super) fn target(&mut self, position: Position, name: &str) -> Option<Text> {
        let found = match text::variable_name(name) {
            Some(Name::Number(_)) => Err("match variables cannot be set".to_owned()),
            Some(name @ Name::Plain(_)) => self.variable(name),
            Some(name) => match self.variable(name) {
                Ok(Variable::Environment(_)) => Err("variables of this namespace cannot be set".to_owned()),
                other => other,
            },
            None => Err(format!("`{name}` is no name of a variable")),
        };
        match found {
            Ok(variable) => Some(Text::Template([Piece::Variable(variable)].into())),
            Err(message) => {
                self.error(position, message);
                None
            }
        }
    }

    /// `global`: the name is one variable in all scripts (RFC 6609 §3.4.1).
    pub(crate) fn declare_global(&mut self, position: Position, name: &str) {
        let lower = name.to_ascii_lowercase();
        if !matches!(text::variable_name(name), Some(Name::Plain(_))) {
            self.error(position, format!("`{name}` is no name of a variable"));
        } else if let Some(Variable::Local(_)) = self.scope.get(&lower) {
            self.error(position, format!("`{name}` has been used before it is made global"));
        } else {
            self.scope.insert(lower.clone(), Variable::Global(Arc::from(lower)));
        }
    }
}
