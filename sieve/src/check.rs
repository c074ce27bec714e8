//! The checker, which is the compiler too: a syntax tree in, a program or every error out.

mod arguments;
mod variables;

use std::collections::BTreeMap;

use crate::{
    Call, CompileError, Diagnostic, Language, Limits, Position, Program, Script, Severity,
    definition::{Code, Control},
    diagnostic::ENOUGH,
    language::Known,
    program::Instruction,
    text::Variable,
    tree::{Literal, Node, Nodes, Tree},
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
    /// Everything that is wrong with it, up to [`Limits::errors`]; where its syntax is wrong, only that.
    pub fn compile(&self, script: &[u8]) -> Result<Program, CompileError> {
        let tree = Tree::parse(script, &self.limits, false);
        self.check_tree(&tree.map_err(|errors| CompileError::of_syntax(errors, self.limits.errors))?)
    }

    /// Checks and compiles a script that has been parsed.
    ///
    /// # Errors
    /// As [`compile`](Self::compile).
    pub fn check(&self, script: &Script) -> Result<Program, CompileError> {
        self.check_tree(&Tree::of(script))
    }

    fn check_tree(&self, tree: &Tree<'_>) -> Result<Program, CompileError> {
        let mut checker = Checker {
            language: self,
            active: vec![false; self.numbers()],
            diagnostics: Vec::new(),
            // As much as scripts mostly need: what is held at once is given back at once, and has to be got again for the next.
            code: Vec::with_capacity(tree.len() + tree.len() / 4),
            calls: Vec::with_capacity(tree.len() - tree.len() / 4),
            scope: BTreeMap::new(),
            locals: 0,
            lenient: false,
            variables: false,
            encoded: false,
            blocks: Vec::new(),
            jumps: Vec::new(),
            regexes: 0,
        };
        checker.commands(tree.top(), true);
        let mut diagnostics = std::mem::take(&mut checker.diagnostics);
        diagnostics.sort_by_key(|diagnostic| diagnostic.position);
        if diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
            return Err(CompileError { diagnostics });
        }
        let extensions = self.numbered().filter(|(_, number)| checker.has_number(*number));
        let extensions = extensions.map(|(name, _)| name.to_owned()).collect();
        let captures = checker.is_active("variables");
        checker.code.shrink_to_fit();
        checker.calls.shrink_to_fit();
        Ok(Program {
            code: checker.code,
            calls: checker.calls,
            variables: checker.locals,
            captures,
            extensions,
            warnings: diagnostics,
        })
    }
}

/// A script on its way to a program. Depth is bounded: the parser refuses what is nested deeper than [`Limits::nesting`].
#[derive(Debug)]
pub(crate) struct Checker<'l> {
    language: &'l Language,
    /// Which extensions have been required, by their numbers.
    active: Vec<bool>,
    diagnostics: Vec<Diagnostic>,
    code: Vec<Instruction>,
    calls: Vec<Call>,
    scope: BTreeMap<String, Variable>,
    locals: usize,
    /// RFC 5463 §4: in a script that requires `ihave`, what is wrong is an error only where control comes to it.
    lenient: bool,
    /// Whether strings have variables, and encoded characters, in them: extensions that change how every string is read.
    variables: bool,
    encoded: bool,
    /// The blocks around what is compiled, but for those of `if`: the command, and what it is called.
    blocks: Vec<(String, Option<String>)>,
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
        self.language.extension(extension).is_some_and(|extension| self.has_number(extension.number))
    }

    fn has_number(&self, extension: usize) -> bool {
        self.active.get(extension).copied().unwrap_or_default()
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
                let message = ENOUGH.to_owned();
                self.diagnostics.push(Diagnostic { position, severity: Severity::Error, message });
            }
            std::cmp::Ordering::Greater => {}
        }
    }

    /// Compiles something; in a lenient script what is wrong with it becomes an instruction that fails.
    fn attempt(&mut self, position: Position, compile: impl FnOnce(&mut Self)) {
        let (said, compiled, called) = (self.diagnostics.len(), self.code.len(), self.calls.len());
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
            self.calls.truncate(called);
            self.code.push(Instruction::Raise { position, message });
        }
    }

    fn commands(&mut self, commands: Nodes<'_>, top: bool) {
        // RFC 5228 §3.2: `require` comes before all else.
        let mut may_require = top;
        // Whether the last command was a branch of an `if`; the ends of such branches jump to behind the last of them.
        let mut branches = false;
        let outer = self.jumps.len();
        let mut ended: Option<&str> = None;
        for command in commands {
            let known = self.language.command(command.name());
            let control = match known.first().map(|known| &known.definition.code) {
                Some(Code::Control(control)) => Some(*control),
                _ => None,
            };
            if let Some(end) = ended.take() {
                self.warn(command.position(), format!("nothing behind `{end}` is ever reached"));
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
                        let message = format!("expected `if` before this `{}`", command.name());
                        self.error(command.position(), message);
                    }
                    self.branch(command, control);
                    // RFC 5228 §3.1: nothing follows `else`.
                    branches = control != Control::Else;
                    if !branches {
                        self.land(outer);
                    }
                }
                _ => {
                    self.attempt(command.position(), |checker| checker.command(command, known));
                    if matches!(command.name(), "stop" | "return" | "break" | "error") {
                        ended = Some(command.name());
                    }
                }
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
    fn branch(&mut self, command: Node<'_>, control: Control) {
        self.no_arguments(command);
        let skip = match (control, command.tests().next(), command.only_test()) {
            (Control::Else, None, _) => None,
            (Control::Else, Some(test), _) => {
                self.error(test.position(), "`else` takes no test");
                None
            }
            (_, _, Some(test)) => {
                self.test(test);
                Some(self.emit(Instruction::JumpIf { when: false, to: 0 }))
            }
            _ => {
                self.error(command.position(), format!("`{}` takes one test", command.name()));
                None
            }
        };
        match command.block() {
            Some(block) => self.commands(block, false),
            None => self.error(command.position(), format!("`{}` takes a block", command.name())),
        }
        if control != Control::Else {
            self.jump(Instruction::Jump { to: 0 });
        }
        let here = self.code.len();
        if let Some(Instruction::JumpIf { to, .. }) = skip.and_then(|skip| self.code.get_mut(skip)) {
            *to = here;
        }
    }

    fn require(&mut self, command: Node<'_>, allowed: bool) {
        if !allowed {
            self.error(command.position(), "`require` comes before all other commands");
        }
        if command.block().is_some() || command.tests().next().is_some() {
            self.error(command.position(), "`require` takes a list of extensions and a semicolon");
        }
        let Some(names) = only_literals(command) else {
            self.error(command.position(), "`require` takes one list of extensions");
            return;
        };
        for name in names {
            if !self.activate(&name.value) {
                self.error(name.position, format!("the extension `{}` is not known here", name.value));
            }
        }
        let language = self.language;
        for name in names {
            let conflicts = language.extension(&name.value).map(|extension| &extension.conflicts);
            for other in conflicts.into_iter().flatten() {
                if self.is_active(other) {
                    self.error(name.position, format!("`{}` and `{other}` exclude each other", name.value));
                }
            }
        }
    }

    fn activate(&mut self, name: &str) -> bool {
        let Some(extension) = self.language.extension(name) else { return false };
        let active = self.active.get_mut(extension.number);
        if active.is_some_and(|active| !std::mem::replace(active, true)) {
            self.lenient |= name == "ihave";
            self.variables |= name == "variables";
            self.encoded |= name == "encoded-character";
            for implied in &extension.implies {
                self.activate(implied);
            }
        }
        true
    }

    fn command(&mut self, command: Node<'_>, known: &'l [Known]) {
        let Some(known) = self.active(known) else {
            self.missing("command", command);
            // What is inside may have more to say.
            if let Some(block) = command.block() {
                self.commands(block, false);
            }
            return;
        };
        if let Some(test) = command.tests().next() {
            self.error(test.position(), format!("`{}` takes no test", command.name()));
        }
        let call = self.call(known, command);
        match (&known.definition.code, command.block()) {
            (Code::Command(_), None) => {
                self.emit(Instruction::Command(call));
            }
            (Code::Block(_), Some(block)) => {
                let called = self.calls.get(call).and_then(|call| call.tag_constant("name"));
                self.blocks.push((command.name().to_owned(), called.map(str::to_owned)));
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
                self.error(command.position(), format!("`{}` takes a block", command.name()));
            }
            (_, block) => {
                self.error(command.position(), format!("`{}` takes no block", command.name()));
                if let Some(block) = block {
                    self.commands(block, false);
                }
            }
        }
    }

    /// Compiles a test, which leaves its result to the next instruction.
    fn test(&mut self, test: Node<'_>) {
        self.attempt(test.position(), |checker| checker.strict_test(test));
    }

    fn strict_test(&mut self, test: Node<'_>) {
        let Some(known) = self.active(self.language.test(test.name())) else {
            return self.missing("test", test);
        };
        if let Code::Control(control) = known.definition.code {
            return self.control_test(test, control);
        }
        if let Some(inner) = test.tests().next() {
            self.error(inner.position(), format!("`{}` takes no test", test.name()));
        }
        let call = self.call(known, test);
        self.emit(Instruction::Test(call));
    }

    fn control_test(&mut self, test: Node<'_>, control: Control) {
        if control != Control::IHave {
            self.no_arguments(test);
        }
        let mut tests = test.tests().peekable();
        let has_tests = tests.peek().is_some();
        match control {
            Control::AllOf | Control::AnyOf if has_tests => {
                let outer = self.jumps.len();
                while let Some(inner) = tests.next() {
                    self.test(inner);
                    if tests.peek().is_some() {
                        self.jump(Instruction::JumpIf { when: control == Control::AnyOf, to: 0 });
                    }
                }
                self.land(outer);
            }
            Control::AllOf | Control::AnyOf => {
                self.error(test.position(), format!("`{}` takes a list of tests", test.name()));
            }
            Control::Not => match test.only_test() {
                Some(inner) => {
                    self.test(inner);
                    self.emit(Instruction::Not);
                }
                None => self.error(test.position(), "`not` takes one test"),
            },
            Control::IHave if !has_tests => {
                let known = self.i_have(test);
                self.emit(Instruction::Set(known));
            }
            Control::True | Control::False if !has_tests => {
                self.emit(Instruction::Set(control == Control::True));
            }
            _ => self.error(test.position(), format!("`{}` takes no test", test.name())),
        }
    }

    /// RFC 5463 §4: known extensions may be used from here on.
    fn i_have(&mut self, test: Node<'_>) -> bool {
        let Some(names) = only_literals(test) else {
            self.error(test.position(), "`ihave` takes one list of extensions");
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

    fn no_arguments(&mut self, node: Node<'_>) {
        if let Some(argument) = node.arguments().first() {
            self.error(argument.position, format!("`{}` takes no argument here", node.name()));
        }
    }

    /// The definition whose extension has been required.
    fn active(&self, known: &'l [Known]) -> Option<&'l Known> {
        known.iter().find(|known| known.extension.is_empty() || self.has_number(known.number))
    }

    /// Says why a name cannot be used.
    fn missing(&mut self, what: &str, node: Node<'_>) {
        let name = node.name();
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
        self.error(node.position(), message);
    }
}

/// The strings of the only argument, if it is a string or a list of them.
fn only_literals<'t>(node: Node<'t>) -> Option<&'t [Literal<'t>]> {
    match node.arguments() {
        [argument] => node.tree.literals(argument),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
