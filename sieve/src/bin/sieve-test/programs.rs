//! Programs that scripts of a test suite run.

use std::{
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use mailwright_sieve::{
    ProgramOutput,
    testsuite::{ProgramCall, RunProgram},
};

/// So many octets of the output of a program are read.
const OUTPUT: u64 = 16 << 20;

/// How often a program is asked whether it has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// What runs the programs that a test script in this directory names.
pub(crate) fn from(directory: PathBuf) -> RunProgram {
    Box::new(move |call| run(&directory, call))
}

fn run(directory: &Path, call: &ProgramCall) -> ProgramOutput {
    let path = directory.join(&call.path);
    // A name alone would be looked for in PATH.
    let Ok(path) = path.canonicalize() else { return ProgramOutput::Unknown };
    let mut command = Command::new(path);
    command.args(&call.arguments).envs(call.environment.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    // With a group of its own it can be ended with all that it has started.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let Ok(mut child) = command.spawn() else { return ProgramOutput::Aborted };
    let (input, stdin, stdout) = (call.input.clone(), child.stdin.take(), child.stdout.take());
    // What a program has started may keep these open: nobody waits for that.
    thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&input)));
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut output = Vec::new();
        let read = stdout.map(|stdout| stdout.take(OUTPUT).read_to_end(&mut output));
        sender.send(read.map(|_| output))
    });
    let until = Instant::now() + Duration::from_secs(call.seconds);
    let ended = wait(&mut child, until);
    let output = receiver.recv_timeout(until.saturating_duration_since(Instant::now()));
    match (ended, output) {
        (Some(status), Ok(Some(output))) if status.success() => ProgramOutput::Success(output.into()),
        (Some(status), _) if status.code().is_some_and(|code| code != 0) => ProgramOutput::Failure,
        _ => ProgramOutput::Aborted,
    }
}

/// How a program has ended; `None` if it had to be ended.
fn wait(child: &mut Child, until: Instant) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < until => thread::sleep(PAUSE),
            _ => {
                let group = format!("-{}", child.id());
                let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}
