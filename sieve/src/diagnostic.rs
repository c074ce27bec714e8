//! What the checker says of a script.

use std::fmt;

use crate::{Position, SyntaxError, parser::SyntaxErrors};

/// Something to say about a place in a script.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostic {
    /// Where.
    pub position: Position,
    /// Whether the script cannot run, or only may not do what was meant.
    pub severity: Severity,
    /// What, for the author of the script.
    pub message: String,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::exhaustive_enums, reason = "RFC 5804 §1.3 knows NO and OK (WARNINGS)")]
pub enum Severity {
    /// The script runs.
    Warning,
    /// The script does not run.
    Error,
}

/// Why a script does not compile: every error, and the warnings too, in the order of the script.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct CompileError {
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl CompileError {
    /// Errors and warnings, in the order of the script; at least one is an error.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }
}

impl From<SyntaxError> for CompileError {
    fn from(error: SyntaxError) -> Self {
        let message = error.kind.to_string();
        Self {
            diagnostics: vec![Diagnostic { position: error.position, severity: Severity::Error, message }],
        }
    }
}

impl CompileError {
    /// What is wrong with the syntax of a script, of which there is one more than is told where there are too many.
    pub(crate) fn of_syntax(errors: SyntaxErrors, most: usize) -> Self {
        let error = |error: SyntaxError| Self::from(error).diagnostics;
        let mut diagnostics: Vec<_> =
            std::iter::once(errors.first).chain(errors.others).flat_map(error).collect();
        if let Some(last) = diagnostics.get_mut(most.max(1)) {
            last.message = ENOUGH.to_owned();
        }
        Self { diagnostics }
    }
}

/// There are more errors than are told.
pub(crate) const ENOUGH: &str = "there is more to say, but this is enough";

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning: ",
            Severity::Error => "",
        };
        let Position { line, column } = self.position;
        write!(formatter, "line {line}, column {column}: {severity}{}", self.message)
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            write!(formatter, "{diagnostic}")?;
        }
        Ok(())
    }
}
