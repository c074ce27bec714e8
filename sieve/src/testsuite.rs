//! Tests of scripts, written in Sieve itself: the language `vnd.dovecot.testsuite` of Pigeonhole.
//!
//! A test script sets a message, compiles and runs other scripts on it, and looks at what they did with the tests of Sieve. Mailboxes,
//! annotations and the mail that is sent are in memory; files are read by whoever runs the suite.

mod commands;
mod execution;
mod paths;
mod scores;
mod settings;
mod tests;
mod world;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use world::World;

use crate::{
    CompileError, Extension, Input, Language, Limits, ProgramOutput, Run, RuntimeError, Step, extension,
};

/// Reads a file that a test script names, by its path from the directory of the test script.
pub type ReadFile = Box<dyn FnMut(&str) -> Option<Vec<u8>> + Send>;

/// Runs a program for a script, and says what came of it.
pub type RunProgram = Box<dyn FnMut(&ProgramCall) -> ProgramOutput + Send>;

/// A program that a script wants to be run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProgramCall {
    /// The program: its name in the directory that a setting such as `sieve_pipe_bin_dir` names.
    pub path: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its standard input.
    pub input: Vec<u8>,
    /// Variables of its environment.
    pub environment: Vec<(String, String)>,
    /// For how many seconds it may run.
    pub seconds: u64,
}

/// How the tests of one script went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The tests, in the order they were run.
    pub results: Vec<TestResult>,
    /// What ended the script outside of any test.
    pub error: Option<RuntimeError>,
    /// What was asked for and had no effect: settings that are not known, or cannot be understood. Each is told once.
    pub warnings: Vec<String>,
}

/// How one test went.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TestResult {
    /// Its name.
    pub name: String,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

impl Report {
    /// How many tests passed.
    pub fn passed(&self) -> usize {
        self.results.iter().filter(|result| result.failure.is_none()).count()
    }

    /// How many tests failed; an error outside of any test counts as one.
    pub fn failed(&self) -> usize {
        self.results.len() - self.passed() + usize::from(self.error.is_some())
    }
}

impl fmt::Display for Report {
    /// A line for each warning and each test, and `N passed, N failed`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for warning in &self.warnings {
            writeln!(formatter, "warning: {warning}")?;
        }
        for (number, result) in self.results.iter().enumerate() {
            match &result.failure {
                None => writeln!(formatter, "{:3}: {}: ok", number + 1, result.name)?,
                Some(failure) => writeln!(formatter, "{:3}: {}: FAILED: {failure}", number + 1, result.name)?,
            }
        }
        if let Some(error) = &self.error {
            writeln!(formatter, "FAILED outside of a test: {error}")?;
        }
        write!(formatter, "{} passed, {} failed", self.passed(), self.failed())
    }
}

/// Runs a test script.
///
/// ```
/// use mailwright_sieve::testsuite;
///
/// let script = br#"
///     require ["vnd.dovecot.testsuite", "envelope"];
///     test_set "message" text:
/// Subject: tea
///
/// Now.
/// .
///     ;
///     test_set "envelope.from" "ann@example.org";
///     test "subject" { if not header "subject" "tea" { test_fail "no tea"; } }
///     test "sender" { if not envelope "from" "bob@example.org" { test_fail "not bob"; } }
/// "#;
/// let report = testsuite::run(script, Box::new(|_| None))?;
/// assert_eq!(report.to_string(), "  1: subject: ok\n  2: sender: FAILED: not bob\n1 passed, 1 failed");
/// # Ok::<(), mailwright_sieve::CompileError>(())
/// ```
///
/// # Errors
/// If the test script does not compile.
pub fn run(script: &[u8], files: ReadFile) -> Result<Report, CompileError> {
    run_with_programs(script, files, None)
}

/// The same, where scripts may run programs: `vnd.dovecot.pipe`, `vnd.dovecot.filter` and `vnd.dovecot.execute` find there what the settings
/// of the test script name. Without `programs` there are none.
///
/// # Errors
/// As [`run`].
pub fn run_with_programs(
    script: &[u8],
    files: ReadFile,
    programs: Option<RunProgram>,
) -> Result<Report, CompileError> {
    let state = Arc::new(Mutex::new(World::new(files, programs)));
    let language = whole_language().with(extension(&state));
    lock(&state).set_language(language.clone());
    let report = run_in(script, &state, language);
    // The language holds the world that its commands are about: it goes first.
    lock(&state).set_language(Language::default());
    lock(&state).program = None;
    report
}

fn run_in(script: &[u8], state: &State, mut language: Language) -> Result<Report, CompileError> {
    let limits = Limits { variables: 1024, log: 0, instructions: u64::MAX, ..Limits::default() };
    language = language.limited(limits.clone());
    let program = language.compile(script)?;
    let input: Input = lock(state).host.input.clone();
    let mut run = Run::with_limits(Arc::new(program), input, limits);
    let outcome = loop {
        match run.poll() {
            Step::Need(request) => {
                let answer = lock(state).answer(&request);
                run.answer(answer);
            }
            Step::Done(outcome) => break outcome,
        }
    };
    let mut world = lock(state);
    let (results, warnings) = (std::mem::take(&mut world.results), std::mem::take(&mut world.warnings));
    Ok(Report { results, error: outcome.error, warnings })
}

/// Every extension this crate has but that of test suites.
pub fn whole_language() -> Language {
    let mut language = Language::standard()
        .with(extension::convert())
        .with(extension::process_calendar())
        .with(extension::snooze());
    for program in extension::programs() {
        language = language.with(program);
    }
    language
}

/// What test scripts require.
const NAME: &str = "vnd.dovecot.testsuite";

/// `vnd.dovecot.testsuite`, whose tests are about the mail in `state`.
fn extension(state: &Arc<Mutex<World>>) -> Extension {
    let extension = Extension::new(NAME).environment_namespace("tst");
    tests::add(commands::add(extension, state), state)
}

type State = Arc<Mutex<World>>;

fn lock(state: &State) -> std::sync::MutexGuard<'_, World> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
