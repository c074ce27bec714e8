//! The checker, which is the compiler too: a syntax tree in, a program or every error out.

mod arguments;
mod variables;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use smol_str::SmolStr;

use crate::{
    Argument, ArgumentKind, Command, CompileError, Diagnostic, Language, Limits, Position, Program, Script,
    Severity, StringLiteral, Test,
    language::{Code, Control, Definition, Known},
    program::Instruction,
    text::Variable,
};

impl Language {
    /// Parses, checks and compiles a script.
    ///
    /// ```
    /// use mailwright_sieve::Language;
    ///
    /// let error = Language::standard().compile(b"keep 3;\nfileinto \"a\";\nif header :is :contains \"a\" \"b\" {}").unwrap_err();
    /// let lines: Vec<_> = error.diagnostics().iter().map(ToString::to_string).collect();
    /// assert_eq!(lines, [
    ///     "line 1, column 6: `keep` takes no argument here",
    ///     "line 2, column 1: `fileinto` needs `require \"fileinto\";`",
    ///     "line 3, column 15: there is another match type already: `:is`",
    /// ]);
    /// ```
    ///
    /// # Errors
    /// Everything that is wrong with it, up to [`Limits::errors`].
    pub fn compile(&self, script: &[u8]) -> Result<Program, CompileError> {
        self.check(&Script::parse_without_comments(script, &self.limits)?)
    }

    /// Checks and compiles a script that has been parsed.
    ///
    /// # Errors
    /// As [`compile`](Self::compile).
    pub fn check(&self, script: &Script) -> Result<Program, CompileError> {
        let mut checker = Checker {
            language: self,
            active: BTreeSet::from([String::new()]),
            diagnostics: Vec::new(),
            code: Vec::new(),
            scope: BTreeMap::new(),
            locals: 0,
            lenient: false,
            variables: false,
            encoded: false,
            blocks: Vec::new(),
            jumps: Vec::new(),
            regexes: 0,
        };
        checker.commands(&script.commands, true);
        let mut diagnostics = checker.diagnostics;
        diagnostics.sort_by_key(|diagnostic| diagnostic.position);
        if diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
            return Err(CompileError { diagnostics });
        }
        Ok(Program {
            code: checker.code,
            variables: checker.locals,
            captures: checker.active.contains("variables"),
            extensions: checker.active.into_iter().filter(|name| !name.is_empty()).collect(),
            warnings: diagnostics,
        })
    }
}

/// A script on its way to a program. Depth is bounded: the parser refuses what is nested deeper than [`Limits::nesting`].
#[derive(Debug)]
pub(crate) struct Checker<'l> {
    language: &'l Language,
    /// The extensions that have been required; the empty name is that of the base language.
    active: BTreeSet<String>,
    diagnostics: Vec<Diagnostic>,
    code: Vec<Instruction>,
    scope: BTreeMap<String, Variable>,
    locals: usize,
    /// RFC 5463 §4: in a script that requires `ihave`, what is wrong is an error only where control comes to it.
    lenient: bool,
    /// Whether strings have variables, and encoded characters, in them: extensions that change how every string is read.
    variables: bool,
    encoded: bool,
    /// The blocks around what is compiled, but for those of `if`: the command, and what it is called.
    blocks: Vec<(SmolStr, Option<String>)>,
    /// The jumps that do not know yet where they lead, those of inner commands and tests last.
    jumps: Vec<usize>,
    /// The octets that the regular expressions so far need.
    regexes: usize,
}

impl<'l> Checker<'l> {
    pub(crate) const fn limits(&self) -> &'l Limits {
        &self.language.limits
    }

    pub(crate) fn error(&mut self, position: Position, message: impl Into<String>) {
        self.say(position, Severity::Error, message.into());
    }

    pub(crate) fn warn(&mut self, position: Position, message: impl Into<String>) {
        self.say(position, Severity::Warning, message.into());
    }

    pub(crate) fn is_active(&self, extension: &str) -> bool {
        self.active.contains(extension)
    }

    /// Whether a block of that command, and of that `:name` if one is given, is around.
    pub(crate) fn is_within(&self, command: &str, name: Option<&str>) -> bool {
        self.blocks
            .iter()
            .any(|(block, called)| block == command && (name.is_none() || called.as_deref() == name))
    }

    fn say(&mut self, position: Position, severity: Severity, message: String) {
        // One over the limit says that there were more.
        match self.diagnostics.len().cmp(&self.language.limits.errors) {
            std::cmp::Ordering::Less => {
                self.diagnostics.push(Diagnostic { position, severity, message });
            }
            std::cmp::Ordering::Equal => {
                let message = "there is more to say, but this is enough".to_owned();
                self.diagnostics.push(Diagnostic { position, severity: Severity::Error, message });
            }
            std::cmp::Ordering::Greater => {}
        }
    }

    /// Compiles something; in a lenient script what is wrong with it becomes an instruction that fails.
    fn attempt(&mut self, position: Position, compile: impl FnOnce(&mut Self)) {
        let (said, compiled) = (self.diagnostics.len(), self.code.len());
        compile(self);
        if !self.lenient {
            return;
        }
        let mut message = None;
        for diagnostic in self.diagnostics.iter_mut().skip(said) {
            if diagnostic.severity == Severity::Error {
                diagnostic.severity = Severity::Warning;
                message.get_or_insert_with(|| diagnostic.message.as_str().into());
            }
        }
        if let Some(message) = message {
            self.code.truncate(compiled);
            self.code.push(Instruction::Raise { position, message });
        }
    }

    fn commands(&mut self, commands: &[Command], top: bool) {
        // RFC 5228 §3.2: `require` comes before all else.
        let mut may_require = top;
        // Whether the last command was a branch of an `if`; the ends of such branches jump to behind the last of them.
        let mut branches = false;
        let outer = self.jumps.len();
        let mut ended: Option<&str> = None;
        for command in commands {
            let known = self.language.command(&command.name);
            let control = match known.first().map(|known| &known.definition.code) {
                Some(Code::Control(control)) => Some(*control),
                _ => None,
            };
            if let Some(end) = ended.take() {
                self.warn(command.position, format!("nothing behind `{end}` is ever reached"));
            }
            if !matches!(control, Some(Control::ElseIf | Control::Else)) {
                self.land(outer);
                branches = false;
            }
            match control {
                Some(Control::Require) => {
                    self.require(command, may_require);
                    continue;
                }
                Some(control @ (Control::If | Control::ElseIf | Control::Else)) => {
                    if control != Control::If && !branches {
                        self.error(command.position, format!("expected `if` before this `{}`", command.name));
                    }
                    self.branch(command, control);
                    // RFC 5228 §3.1: nothing follows `else`.
                    branches = control != Control::Else;
                    if !branches {
                        self.land(outer);
                    }
                }
                _ => self.attempt(command.position, |checker| checker.command(command, known)),
            }
            if matches!(command.name.as_str(), "stop" | "return" | "break" | "error") {
                ended = Some(&command.name);
            }
            may_require = false;
        }
        self.land(outer);
    }

    /// Makes the open jumps lead to here, but for so many outer ones.
    fn land(&mut self, outer: usize) {
        let here = self.code.len();
        for jump in self.jumps.drain(outer..) {
            if let Some(Instruction::JumpIf { to, .. } | Instruction::Jump { to }) = self.code.get_mut(jump) {
                *to = here;
            }
        }
    }

    fn emit(&mut self, instruction: Instruction) -> usize {
        self.code.push(instruction);
        self.code.len() - 1
    }

    /// Emits a jump to where [`land`](Self::land) is called.
    fn jump(&mut self, instruction: Instruction) {
        let jump = self.emit(instruction);
        self.jumps.push(jump);
    }

    /// One branch of an `if`, with an open jump at its end.
    fn branch(&mut self, command: &Command, control: Control) {
        self.no_arguments(&command.name, &command.arguments);
        let skip = match (control, command.tests.as_slice()) {
            (Control::Else, []) => None,
            (Control::Else, [test, ..]) => {
                self.error(test.position, "`else` takes no test");
                None
            }
            (_, [test]) => {
                self.test(test);
                Some(self.emit(Instruction::JumpIf { when: false, to: 0 }))
            }
            _ => {
                self.error(command.position, format!("`{}` takes one test", command.name));
                None
            }
        };
        match &command.block {
            Some(block) => self.commands(block, false),
            None => self.error(command.position, format!("`{}` takes a block", command.name)),
        }
        if control != Control::Else {
            self.jump(Instruction::Jump { to: 0 });
        }
        let here = self.code.len();
        if let Some(Instruction::JumpIf { to, .. }) = skip.and_then(|skip| self.code.get_mut(skip)) {
            *to = here;
        }
    }

    fn require(&mut self, command: &Command, allowed: bool) {
        if !allowed {
            self.error(command.position, "`require` comes before all other commands");
        }
        if command.block.is_some() || !command.tests.is_empty() {
            self.error(command.position, "`require` takes a list of extensions and a semicolon");
        }
        let [Argument { kind, .. }] = command.arguments.as_slice() else {
            self.error(command.position, "`require` takes one list of extensions");
            return;
        };
        let Some(names) = literals(kind) else {
            self.error(command.position, "`require` takes one list of extensions");
            return;
        };
        for name in names {
            if !self.activate(&name.value) {
                self.error(name.position, format!("the extension `{}` is not known here", name.value));
            }
        }
        for name in names {
            let conflicts = self.language.extension(&name.value).map(|extension| extension.conflicts.clone());
            for other in conflicts.unwrap_or_default() {
                if self.is_active(&other) {
                    self.error(name.position, format!("`{}` and `{other}` exclude each other", name.value));
                }
            }
        }
    }

    fn activate(&mut self, name: &str) -> bool {
        let Some(extension) = self.language.extension(name) else { return false };
        if self.active.insert(name.to_owned()) {
            self.lenient |= name == "ihave";
            self.variables |= name == "variables";
            self.encoded |= name == "encoded-character";
            for implied in &extension.implies {
                self.activate(implied);
            }
        }
        true
    }

    fn command(&mut self, command: &Command, known: &'l [Known]) {
        let Some(definition) = self.active(known) else {
            self.missing("command", command.position, &command.name);
            // What is inside may have more to say.
            if let Some(block) = &command.block {
                self.commands(block, false);
            }
            return;
        };
        if let Some(test) = command.tests.first() {
            self.error(test.position, format!("`{}` takes no test", command.name));
        }
        let call = Arc::new(self.call(definition, command.position, &command.arguments));
        match (&definition.code, &command.block) {
            (Code::Command(_), None) => {
                self.emit(Instruction::Command(call));
            }
            (Code::Block(_), Some(block)) => {
                let called = call.tag_constant("name").map(str::to_owned);
                self.blocks.push((command.name.clone(), called));
                let start = self.emit(Instruction::Enter { call, end: 0 });
                self.commands(block, false);
                self.emit(Instruction::Again { start });
                self.blocks.pop();
                let here = self.code.len();
                if let Some(Instruction::Enter { end, .. }) = self.code.get_mut(start) {
                    *end = here;
                }
            }
            (Code::Block(_), None) => {
                self.error(command.position, format!("`{}` takes a block", command.name))
            }
            _ => {
                self.error(command.position, format!("`{}` takes no block", command.name));
                self.commands(command.block.as_deref().unwrap_or_default(), false);
            }
        }
    }

    /// Compiles a test, which leaves its result to the next instruction.
    fn test(&mut self, test: &Test) {
        self.attempt(test.position, |checker| checker.strict_test(test));
    }

    fn strict_test(&mut self, test: &Test) {
        let Some(definition) = self.active(self.language.test(&test.name)) else {
            return self.missing("test", test.position, &test.name);
        };
        if let Code::Control(control) = definition.code {
            return self.control_test(test, control);
        }
        if let Some(inner) = test.tests.first() {
            self.error(inner.position, format!("`{}` takes no test", test.name));
        }
        let call = self.call(definition, test.position, &test.arguments);
        self.emit(Instruction::Test(Arc::new(call)));
    }

    fn control_test(&mut self, test: &Test, control: Control) {
        if control != Control::IHave {
            self.no_arguments(&test.name, &test.arguments);
        }
        match (control, test.tests.as_slice()) {
            (Control::AllOf | Control::AnyOf, tests @ [_, ..]) => {
                let outer = self.jumps.len();
                for (index, inner) in tests.iter().enumerate() {
                    self.test(inner);
                    if index + 1 < tests.len() {
                        self.jump(Instruction::JumpIf { when: control == Control::AnyOf, to: 0 });
                    }
                }
                self.land(outer);
            }
            (Control::AllOf | Control::AnyOf, []) => {
                self.error(test.position, format!("`{}` takes a list of tests", test.name));
            }
            (Control::Not, [inner]) => {
                self.test(inner);
                self.emit(Instruction::Not);
            }
            (Control::Not, _) => self.error(test.position, "`not` takes one test"),
            (Control::IHave, []) => {
                let known = self.i_have(test);
                self.emit(Instruction::Set(known));
            }
            (Control::True, []) => {
                self.emit(Instruction::Set(true));
            }
            (Control::False, []) => {
                self.emit(Instruction::Set(false));
            }
            _ => self.error(test.position, format!("`{}` takes no test", test.name)),
        }
    }

    /// RFC 5463 §4: known extensions may be used from here on.
    fn i_have(&mut self, test: &Test) -> bool {
        let [Argument { kind, .. }] = test.arguments.as_slice() else {
            self.error(test.position, "`ihave` takes one list of extensions");
            return false;
        };
        let Some(names) = literals(kind) else {
            self.error(test.position, "`ihave` takes one list of extensions");
            return false;
        };
        // RFC 5463 §4: what changes how scripts are read cannot be switched on by a test.
        let grammar = |name: &str| matches!(name, "variables" | "encoded-character");
        let known = names.iter().all(|name| {
            let allowed = !grammar(&name.value) || self.is_active(&name.value);
            allowed && self.language.extension(&name.value).is_some()
        });
        if known {
            for name in names {
                self.activate(&name.value);
            }
        }
        known
    }

    fn no_arguments(&mut self, name: &str, arguments: &[Argument]) {
        if let Some(argument) = arguments.first() {
            self.error(argument.position, format!("`{name}` takes no argument here"));
        }
    }

    /// The definition whose extension has been required.
    fn active(&self, known: &'l [Known]) -> Option<&'l Arc<Definition>> {
        let active = |known: &&Known| known.extension.is_empty() || self.is_active(&known.extension);
        known.iter().find(active).map(|known| &known.definition)
    }

    /// Says why a name cannot be used.
    fn missing(&mut self, what: &str, position: Position, name: &str) {
        let (known, other) = match what {
            "test" => (self.language.test(name), self.language.command(name)),
            _ => (self.language.command(name), self.language.test(name)),
        };
        let message = match (known.first(), other.first()) {
            (Some(known), _) => format!("`{name}` needs `require \"{}\";`", known.extension),
            (None, Some(_)) if what == "test" => format!("expected a test, but `{name}` is a command"),
            (None, Some(_)) => format!("expected a command, but `{name}` is a test"),
            (None, None) => format!("unknown {what} `{name}`"),
        };
        self.error(position, message);
    }
}

/// The strings of an argument that is a string or a list of them.
fn literals(kind: &ArgumentKind) -> Option<&[StringLiteral]> {
    match kind {
        ArgumentKind::String(literal) => Some(std::slice::from_ref(literal)),
        ArgumentKind::StringList(literals) => Some(literals),
        ArgumentKind::Tag(_) | ArgumentKind::Number(_) => None,
    }
}

#[cfg(test)]
mod tests;
