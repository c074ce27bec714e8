//! What test scripts are about: the message, the mailboxes, the script that was compiled last and what it did.

use std::{collections::BTreeMap, fmt, sync::Arc};

use bytes::Bytes;
use mailwright_mail_model::{DateTime, mime::Structure};

use super::{ReadFile, RunProgram, TestResult, execution::with_line_ends, paths, scores, whole_language};
use crate::{
    Action, Answer, Language, MemoryHost, Options, Outcome, Program, ProgramInput, ProgramOutput, Request,
    Run, Severity,
};

pub(super) struct World {
    files: ReadFile,
    pub(super) programs: Option<RunProgram>,
    pub(super) host: MemoryHost,
    /// All that scripts may require before the settings take some of it away.
    pub(super) whole: Language,
    /// What compiles the scripts of users, and those of the server.
    pub(super) language: Language,
    pub(super) global_language: Language,
    pub(super) config: BTreeMap<String, String>,
    /// What the settings make of the site's choices, once they are reloaded.
    pub(super) options: Options,
    pub(super) message: Bytes,
    /// What the scores of filters are found in: the message, or what a program has made of it.
    pub(super) scored: Bytes,
    pub(super) program: Option<Arc<Program>>,
    pub(super) errors: Vec<String>,
    pub(super) actions: Vec<Action>,
    /// Whether these are those of a script that was run; else they are what the test script does itself.
    pub(super) ran: bool,
    /// How many of them are not carried out again, and how many were, the implicit keep apart.
    pub(super) done: usize,
    pub(super) executed: usize,
    pub(super) implicit_keep: bool,
    /// Whether the implicit keep was carried out.
    pub(super) kept: bool,
    /// How many scripts are being run that the test script has compiled.
    pub(super) running: usize,
    /// The messages that were sent.
    pub(super) sent: Vec<Sent>,
    /// The test that is being run, and why it has failed.
    pub(super) test: Option<String>,
    pub(super) failure: Option<String>,
    pub(super) results: Vec<TestResult>,
    pub(super) warnings: Vec<String>,
}

/// The message that tests are about before any is set.
const DEFAULT_MESSAGE: &str =
    "From: sender@example.com\r\nTo: recipient@example.org\r\nSubject: Tea\r\n\r\nNow.\r\n";

/// A message for the tests that follow.
pub(super) struct Found {
    pub(super) message: Bytes,
    pub(super) flags: Vec<String>,
    /// The sender, empty for the null sender, and the recipient.
    pub(super) envelope: Option<(String, String)>,
}

/// A message that was sent, and its envelope.
pub(super) struct Sent {
    pub(super) message: Bytes,
    /// Empty for the null sender.
    pub(super) from: String,
    pub(super) to: String,
}

impl fmt::Debug for World {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("World").field("host", &self.host).finish_non_exhaustive()
    }
}

impl World {
    pub(super) fn new(files: ReadFile, programs: Option<RunProgram>) -> Self {
        let mut host = MemoryHost::new(*b"");
        // A Monday in 2026, so that there is a date at all.
        host.input.now = DateTime::new(1_767_607_200, 0).unwrap_or(DateTime::EPOCH);
        let items = [
            ("path", "."),
            ("host", "suite.example"),
            // RFC 5183 §4.1: neither is a message being delivered nor stored, but what is stored can be looked at.
            ("location", "MS"),
            ("vnd.dovecot.default-mailbox", "INBOX"),
            ("vnd.dovecot.username", "user"),
        ];
        host.environment.extend(items.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let mut world = Self {
            files,
            programs,
            host,
            whole: whole_language(),
            language: whole_language(),
            global_language: whole_language(),
            config: BTreeMap::new(),
            options: super::settings::options(),
            message: Bytes::new(),
            scored: Bytes::new(),
            program: None,
            errors: Vec::new(),
            actions: Vec::new(),
            ran: false,
            done: 0,
            executed: 0,
            implicit_keep: false,
            kept: false,
            running: 0,
            sent: Vec::new(),
            test: None,
            failure: None,
            results: Vec::new(),
            warnings: Vec::new(),
        };
        world.host.input.options = Arc::new(world.options.clone());
        world.set_message(DEFAULT_MESSAGE.into());
        world
    }

    /// What the scripts that are compiled may require, too.
    pub(super) fn set_language(&mut self, language: Language) {
        (self.language, self.global_language) = (language.clone(), language.clone());
        self.whole = language;
    }

    /// Something was asked for that has no effect.
    pub(super) fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// The message, and the envelope that its header tells.
    pub(super) fn set_message(&mut self, message: Bytes) {
        self.host.input.envelope = paths::told(&message);
        self.host.set_message(message.to_vec());
        self.scored = message.clone();
        self.message = message;
    }

    pub(super) fn read(&mut self, path: &str) -> Option<Vec<u8>> {
        let path = path.strip_prefix("./").unwrap_or(path);
        (self.files)(path)
    }

    pub(super) fn compile(&mut self, path: &str) -> bool {
        self.errors.clear();
        self.program = None;
        let Some(script) = self.read(path) else {
            self.errors.push(format!("there is no file `{path}`"));
            return false;
        };
        let language = self.language.clone().limited(self.host.limits.clone());
        match language.compile(&script) {
            Ok(program) => self.program = Some(Arc::new(program)),
            Err(error) => {
                let errors = error.diagnostics().iter().filter(|found| found.severity == Severity::Error);
                self.errors = errors.map(ToString::to_string).collect();
                // Suites count it with the others.
                self.errors.push(format!("`{path}` does not compile"));
            }
        }
        self.program.is_some()
    }

    /// A run of scripts one after the other, behind those that have been run if their actions are to stay.
    pub(super) fn begin(&mut self, programs: Vec<Arc<Program>>, append: bool) -> Option<Run> {
        let mut programs = programs.into_iter();
        let mut run = Run::with_limits(programs.next()?, self.host.input.clone(), self.host.limits.clone());
        for program in programs {
            run = run.then(program);
        }
        if append {
            self.done = self.executed;
            run = run.behind(self.explicit().cloned().collect());
        } else {
            (self.done, self.executed, self.kept) = (0, 0, false);
        }
        self.running += 1;
        Some(run)
    }

    /// A run has ended; whether it went well.
    pub(super) fn ended(&mut self, outcome: Outcome) -> bool {
        self.running = self.running.saturating_sub(1);
        self.ran = true;
        self.errors = outcome.error.iter().map(ToString::to_string).collect();
        self.implicit_keep = outcome.implicit_keep;
        self.actions = outcome.actions;
        for seen in &outcome.seen {
            let until = i64::try_from(seen.seconds).unwrap_or(i64::MAX);
            let until = DateTime::new(self.host.input.now.seconds().saturating_add(until), 0);
            self.host.duplicates.insert(seen.key.clone(), until.unwrap_or(self.host.input.now));
        }
        outcome.error.is_none()
    }

    pub(super) fn answer(&mut self, request: &Request) -> Answer {
        match request {
            Request::Script { global, name } => self.included(*global, name),
            Request::Score(score) if scores::are_set(&self.config, *score) => {
                Answer::Text(scores::score(&self.config, &self.scored, *score))
            }
            Request::Execute { program, arguments, input } if self.programs.is_some() => {
                let input = match input {
                    ProgramInput::Nothing => Vec::new(),
                    ProgramInput::Text(text) => text.clone().into_bytes(),
                    ProgramInput::Message(message) => self.host.octets(message),
                };
                Answer::Program(self.run_program("execute", program, arguments, &input))
            }
            Request::Filter { program, arguments, message } if self.programs.is_some() => {
                let message = self.host.octets(message);
                match self.run_program("filter", program, arguments, &message) {
                    ProgramOutput::Success(octets) if !octets.is_empty() => {
                        let octets = Bytes::from(with_line_ends(&octets, true));
                        self.scored = octets.clone();
                        self.host.hold(octets)
                    }
                    other => Answer::Program(other),
                }
            }
            other => self.host.answer(other),
        }
    }

    /// A script to include: from where the settings say; else beside the test script, where Pigeonhole's own suites have them.
    fn included(&mut self, global: bool, name: &str) -> Answer {
        let (setting, beside) =
            if global { ("sieve_global", "included-global") } else { ("sieve", "included") };
        let script = match self.config.get(setting).cloned() {
            Some(path) if path.starts_with("dict:") => self.in_dictionary(&path, name),
            Some(path) => {
                let path = path.trim_start_matches("file:").split(';').next().unwrap_or(".").to_owned();
                self.read(&format!("{}/{name}.sieve", path.trim_end_matches('/')))
            }
            None => {
                self.read(&format!("{beside}/{name}.sieve")).or_else(|| self.read(&format!("{name}.sieve")))
            }
        };
        let language = if global { &self.global_language } else { &self.language };
        let language = language.clone().limited(self.host.limits.clone());
        let program = script.and_then(|script| language.compile(&script).ok());
        Answer::Script(program.map(Arc::new))
    }

    /// A script in a dictionary that is a file: lines of keys and of values by turns. The name of a script leads to its number, that to it.
    fn in_dictionary(&mut self, location: &str, name: &str) -> Option<Vec<u8>> {
        let path = location.strip_prefix("dict:file:")?.split(';').next()?;
        let text = String::from_utf8(self.read(path)?).ok()?;
        let value = |key: &str| {
            let mut lines = text.lines();
            while let Some(line) = lines.next() {
                let value = lines.next()?;
                if line == key {
                    return Some(value);
                }
            }
            None
        };
        let number = value(&format!("priv/sieve/name/{name}"))?;
        Some(value(&format!("priv/sieve/data/{number}"))?.as_bytes().to_vec())
    }

    /// The test that is being run has ended.
    pub(super) fn end_test(&mut self, failure: Option<String>) {
        if let Some(name) = self.test.take() {
            self.results.push(TestResult { name, failure });
        }
        self.failure = None;
    }

    /// A message that was stored, with its flags, or one that was sent, with its envelope.
    pub(super) fn message_of(&self, folder: Option<&str>, index: u64) -> Option<Found> {
        let index = usize::try_from(index).ok()?;
        match folder {
            None => {
                let sent = self.sent.get(index)?;
                let envelope = Some((sent.from.clone(), sent.to.clone()));
                Some(Found { message: sent.message.clone(), flags: Vec::new(), envelope })
            }
            Some(folder) => {
                let messages = &self.host.mailboxes.get(&mailbox_name(folder))?.messages;
                let (message, flags) = messages.get(index)?;
                Some(Found { message: message.clone().into(), flags: flags.clone(), envelope: None })
            }
        }
    }

    pub(super) fn structure(message: &Bytes) -> Arc<Structure> {
        Arc::new(Structure::of(message))
    }
}

/// The name of a mailbox: INBOX is the same in any case (RFC 9051 §5.1), here also as the first level of a name.
pub(super) fn mailbox_name(name: &str) -> String {
    let end = name.find(['.', '/']).unwrap_or(name.len());
    match name.split_at_checked(end) {
        Some((first, rest)) if first.eq_ignore_ascii_case("INBOX") => format!("INBOX{rest}"),
        _ => name.to_owned(),
    }
}
