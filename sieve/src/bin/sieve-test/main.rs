//! `sieve-test`: checks scripts, runs them on messages, and runs suites of tests.

mod envelope;
mod programs;
mod show;

use std::{
    error::Error,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::{Parser, Subcommand};
use mailwright_mail_model::DateTime;
use mailwright_sieve::{Answer, Language, MemoryHost, Request, Run, Score, Script, Step, testsuite};

/// Checks Sieve scripts, runs them on messages, and runs suites of tests.
#[derive(Debug, Parser)]
#[command(name = "sieve-test", version)]
struct Arguments {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Say what is wrong with scripts.
    Check {
        /// The scripts.
        #[arg(required = true)]
        scripts: Vec<PathBuf>,
    },
    /// Print a script again, in its standard form, with its comments.
    Format {
        /// The script.
        script: PathBuf,
    },
    /// Run a script on a message and print what it would do.
    Run(RunArguments),
    /// Run test scripts (vnd.dovecot.testsuite): a line for each test.
    Suite {
        /// The test scripts.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Let scripts run programs, as whoever runs this: those in the directories that the test scripts name by sieve_pipe_bin_dir,
        /// sieve_filter_bin_dir and sieve_execute_bin_dir. Otherwise there are none.
        #[arg(long)]
        programs: bool,
        /// Succeed if no test script passes: each has a test that fails, or does not compile.
        #[arg(long)]
        expect_failure: bool,
    },
    /// List the extensions.
    Extensions,
}

#[derive(Debug, clap::Args)]
struct RunArguments {
    /// The script.
    script: PathBuf,
    /// The message.
    message: PathBuf,
    /// The envelope sender, empty for the null sender; otherwise that of Return-Path, Sender or From.
    #[arg(long, short = 'f')]
    from: Option<String>,
    /// The envelope recipient; otherwise that of Delivered-To, Envelope-To or To.
    #[arg(long, short = 'a')]
    to: Option<String>,
    /// The address the recipient had before aliases were resolved.
    #[arg(long, short = 'r')]
    original_to: Option<String>,
    /// A mailbox that exists; may be repeated.
    #[arg(long, short = 'm')]
    mailbox: Vec<String>,
    /// The moment, as in a Date field; otherwise now, in UTC.
    #[arg(long)]
    now: Option<String>,
    /// What a filter of spam found, from 0 to 100 percent (spamtest, spamtestplus); otherwise there was none.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(..=100))]
    spam: Option<u8>,
    /// What a scanner of viruses found, from 1, which is nothing, to 5 (virustest); otherwise there was none.
    #[arg(long, value_name = "RESULT", value_parser = clap::value_parser!(u8).range(1..=5))]
    virus: Option<u8>,
    /// Where included scripts are; otherwise beside the script.
    #[arg(long)]
    scripts: Option<PathBuf>,
    /// Print every step.
    #[arg(long, short = 't')]
    trace: bool,
    /// Write what would be stored or sent into files of this directory.
    #[arg(long)]
    write: Option<PathBuf>,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Subcommands::Check { scripts } => check(&scripts),
        Subcommands::Format { script } => format(&script),
        Subcommands::Run(arguments) => run(&arguments),
        Subcommands::Suite { files, programs, expect_failure } => suite(&files, programs, expect_failure),
        Subcommands::Extensions => {
            print(&testsuite::whole_language().extensions().collect::<Vec<_>>().join("\n")).map(|()| true)
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sieve-test: {error}");
            ExitCode::from(2)
        }
    }
}

type Done = Result<bool, Box<dyn Error>>;

/// A line on standard output.
fn print(line: &str) -> Result<(), Box<dyn Error>> {
    write(&format!("{line}\n"))
}

/// Text on standard output; a reader that has gone is no fault.
fn write(text: &str) -> Result<(), Box<dyn Error>> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn check(scripts: &[PathBuf]) -> Done {
    let language = testsuite::whole_language();
    let mut good = true;
    for path in scripts {
        match language.compile(&read(path)?) {
            Ok(program) => {
                for warning in program.warnings() {
                    print(&format!("{}: {warning}", path.display()))?;
                }
            }
            Err(error) => {
                good = false;
                for diagnostic in error.diagnostics() {
                    print(&format!("{}: {diagnostic}", path.display()))?;
                }
            }
        }
    }
    Ok(good)
}

fn format(path: &Path) -> Done {
    let source = read(path)?;
    let mut text = Script::parse(&source, Language::standard().limits())?.to_string();
    // The line ends are those of the file: where it has no CR LF, all that are printed come from the printer or from `text:`.
    if !source.windows(2).any(|pair| pair == b"\r\n") {
        text = text.replace("\r\n", "\n");
    }
    write(&text)?;
    Ok(true)
}

fn run(arguments: &RunArguments) -> Done {
    let language = testsuite::whole_language();
    let program = language.compile(&read(&arguments.script)?).map_err(|error| {
        let script = arguments.script.display();
        format!("{script} does not compile:\n{error}")
    })?;
    let message = with_line_ends(read(&arguments.message)?);
    let sender = arguments.from.clone().or_else(|| envelope::told(&message, &envelope::SENDER));
    let recipient = arguments.to.clone().or_else(|| envelope::told(&message, &envelope::RECIPIENT));
    let mut host = MemoryHost::new(message);
    host.input.now = match &arguments.now {
        Some(now) => DateTime::from_rfc5322(now.as_bytes())?,
        None => {
            let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
            DateTime::new(i64::try_from(seconds)?, 0).ok_or("the clock is out of range")?
        }
    };
    host.input.trace = arguments.trace;
    host.input.envelope.from = sender;
    host.input.envelope.to = recipient;
    host.input.envelope.original_to.clone_from(&arguments.original_to);
    for mailbox in &arguments.mailbox {
        host.mailboxes.entry(mailbox.clone()).or_default();
    }
    if let Some(percent) = arguments.spam {
        // RFC 5235 §2.2: 1 to 10 of those that were tested.
        let of_ten = 1 + (u16::from(percent) * 9 + 50) / 100;
        host.scores.push((Score::Spam, u8::try_from(of_ten)?));
        host.scores.push((Score::SpamPercent, percent));
    }
    host.scores.extend(arguments.virus.map(|virus| (Score::Virus, virus)));
    let beside = arguments.script.parent().unwrap_or_else(|| Path::new("."));
    let directory = arguments.scripts.as_deref().unwrap_or(beside);
    let mut run = Run::new(program.into(), host.input.clone());
    let outcome = loop {
        match run.poll() {
            Step::Need(Request::Script { name, .. }) => {
                let script = fs::read(directory.join(format!("{name}.sieve"))).ok();
                let program = script.and_then(|script| language.compile(&script).ok());
                run.answer(Answer::Script(program.map(Into::into)));
            }
            Step::Need(request) => {
                let answer = host.answer(&request);
                run.answer(answer);
            }
            Step::Done(outcome) => break outcome,
        }
    };
    for line in &outcome.trace {
        print(&line.to_string())?;
    }
    for line in outcome.in_words() {
        print(&line)?;
    }
    for line in &outcome.log {
        print(&format!("log: line {}: {}", line.position.line, line.message))?;
    }
    if let Some(directory) = &arguments.write {
        for (number, message) in show::messages(&outcome).into_iter().enumerate() {
            fs::write(directory.join(format!("{number}.eml")), host.octets(message))?;
        }
    }
    if let Some(error) = &outcome.error {
        print(&format!("error: {error}"))?;
    }
    Ok(outcome.error.is_none())
}

/// Messages in files often have the line ends of the system; Sieve is about those of mail.
fn with_line_ends(message: Vec<u8>) -> Vec<u8> {
    if message.windows(2).any(|pair| pair == b"\r\n") {
        return message;
    }
    let mut lines = Vec::with_capacity(message.len() + message.len() / 32);
    for octet in message {
        if octet == b'\n' {
            lines.push(b'\r');
        }
        lines.push(octet);
    }
    lines
}

fn suite(files: &[PathBuf], with_programs: bool, expect_failure: bool) -> Done {
    let (mut passed, mut failed, mut good) = (0, 0, true);
    for path in files {
        let failed_before = failed;
        let directory = path.parent().unwrap_or_else(|| Path::new(".")).to_owned();
        let programs = with_programs.then(|| programs::from(directory.clone()));
        let reader = move |name: &str| fs::read(directory.join(name)).ok();
        print(&format!("{}:", path.display()))?;
        match testsuite::run_with_programs(&read(path)?, Box::new(reader), programs) {
            Ok(report) => {
                passed += report.passed();
                failed += report.failed();
                let text = report.to_string();
                if let Some((lines, _)) = text.rsplit_once('\n') {
                    print(lines)?;
                }
            }
            Err(error) => {
                failed += 1;
                print(&format!("FAILED: it does not compile:\n{error}"))?;
            }
        }
        good &= (failed > failed_before) == expect_failure;
    }
    print(&format!("{passed} passed, {failed} failed"))?;
    Ok(good)
}
