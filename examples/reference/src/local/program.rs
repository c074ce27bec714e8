//! Programs that are handed a message.

use std::{
    io,
    os::unix::process::ExitStatusExt,
    path::Path,
    pin::pin,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use mailwright::{
    ProcessGroup,
    relay_policy::delivery::{Diagnosis, exit_reply},
    smtp_proto::Reply,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, Command},
    time,
};

use super::{Acting, Content, Facts, later};

/// How much of what a program prints is kept, in octets.
const MOST_SAID: u64 = 4_096;
/// How long is listened to what a program has left running.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How much of the message is read at a time.
const CHUNK: usize = 64 * 1024;

/// A program, without a shell and without anything of our environment.
pub(super) struct Run<'a> {
    pub(super) program: &'a Path,
    pub(super) arguments: &'a [String],
    pub(super) patience: Duration,
}

impl Run<'_> {
    /// Hands it a message, with LF at the ends of lines, and waits for its end.
    pub(super) async fn with(&self, facts: &Facts, user: Acting, body: Content<'_>) -> Result<(), Diagnosis> {
        let mut command = Command::new(self.program);
        command.args(self.arguments);
        environment(&mut command, facts, &user);
        self.wait_for(command, facts, body).await
    }

    pub(super) async fn wait_for(
        &self,
        mut command: Command,
        facts: &Facts,
        body: Content<'_>,
    ) -> Result<(), Diagnosis> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // What it starts ends with it.
            .process_group(0)
            .kill_on_drop(true);
        let program = self.program.display();
        let mut child = command
            .spawn()
            .map_err(|error| later((3, 0), format!("The program {program} cannot be started: {error}")))?;
        let (status, said) = match time::timeout(self.patience, feed(&mut child, facts, body)).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(error)) => {
                return Err(later((3, 0), format!("The message could not be handed over: {error}")));
            }
            Err(_) => {
                let seconds = self.patience.as_secs();
                return Err(later(
                    (3, 0),
                    format!("The program {program} takes more than {seconds} seconds"),
                ));
            }
        };
        match status.code() {
            Some(code) => exit_reply(code, &said).map_err(Diagnosis::found),
            None => {
                let signal = status.signal().unwrap_or_default();
                let reply = Reply::transient((3, 0), format!("The program was ended by signal {signal}"));
                Err(Diagnosis::found(reply))
            }
        }
    }
}

/// What the program knows: nothing of ours.
fn environment(command: &mut Command, facts: &Facts, user: &Acting) {
    let home = user.home.as_deref().filter(|home| home.is_dir()).unwrap_or_else(|| Path::new("/"));
    command.env_clear().current_dir(home);
    for (name, value) in [
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("SHELL", "/bin/sh"),
        ("SENDER", &facts.sender),
        ("RECIPIENT", facts.recipient.as_str()),
        ("ORIGINAL_RECIPIENT", &facts.original),
        ("LOCAL", &facts.local),
        ("EXTENSION", &facts.extension),
        ("DOMAIN", facts.recipient.domain().as_str()),
        ("QUEUE_ID", &facts.id),
    ] {
        command.env(name, value);
    }
    command.env("HOME", home);
    if let Some(name) = &user.name {
        command.env("USER", name).env("LOGNAME", name);
    }
    switch(command, user);
}

/// Takes on the user's rights, and nobody else's groups.
pub(super) fn switch(command: &mut Command, user: &Acting) {
    if let Some(identity) = user.switch {
        command.gid(identity.group).uid(identity.user);
    }
}

/// Writes the message while listening to what the program says. Whoever does not wait for the end has killed it, with all that it has
/// started.
async fn feed(child: &mut Child, facts: &Facts, body: Content<'_>) -> io::Result<(ExitStatus, String)> {
    let group = ProcessGroup::of(child);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut hearing = pin!(async { tokio::join!(hear(stdout), hear(stderr)) });
    let mut working = pin!(async { tokio::join!(write(stdin, facts, body, group), child.wait()) });
    let mut heard = None;
    let (written, status) = tokio::select! {
        done = &mut working => done,
        said = &mut hearing => {
            heard = Some(said);
            working.await
        }
    };
    written?.has_ended();
    if heard.is_none() {
        // What it has left running may hold on to its output for ever.
        heard = time::timeout(LAST_WORDS, hearing).await.ok();
    }
    let (out, error) = heard.unwrap_or_default();
    Ok((status?, format!("{out} {error}")))
}

/// Writes the message and gives the group back, which whoever gives up before drops.
async fn write(
    stdin: Option<ChildStdin>,
    facts: &Facts,
    mut body: Content<'_>,
    group: ProcessGroup,
) -> io::Result<ProcessGroup> {
    let Some(mut stdin) = stdin else { return Ok(group) };
    // Dropped before the input, which is open still: the program must not take a part of a message for a whole one.
    let group = group;
    let (mut lines, mut buffer) = (Lines::default(), vec![0; CHUNK]);
    let mut out = Vec::new();
    lines.push(facts.fields.as_bytes(), &mut out);
    loop {
        match stdin.write_all(&out).await {
            // It has read enough; how it ends tells the rest.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(group),
            written => written?,
        }
        out.clear();
        let count = body.read(&mut buffer).await?;
        if count == 0 {
            lines.end(&mut out);
            return match stdin.write_all(&out).await {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
                _ => Ok(group),
            };
        }
        lines.push(buffer.get(..count).unwrap_or_default(), &mut out);
    }
}

async fn hear(from: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut from) = from else { return String::new() };
    let mut said = Vec::new();
    let _ = (&mut from).take(MOST_SAID).read_to_end(&mut said).await;
    // The rest is read too, so that it does not wait for us.
    let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&said).into_owned()
}

/// Makes LF of CRLF, wherever the pieces end.
#[derive(Default)]
struct Lines {
    /// Whether the last octet was a CR that is not written yet.
    cr: bool,
}

impl Lines {
    fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        for octet in octets {
            if self.cr && *octet != b'\n' {
                out.push(b'\r');
            }
            self.cr = *octet == b'\r';
            if !self.cr {
                out.push(*octet);
            }
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.cr) {
            out.push(b'\r');
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// Who gives up, at a timeout or because the server stops, leaves nothing of a program behind that could take what it had for all.
    #[tokio::test]
    async fn what_nobody_waits_for_ends_with_all_it_has_started() {
        let folder = tempfile::tempdir().unwrap();
        let [child, whole] = ["child", "whole"].map(|name| folder.path().join(name));
        let script =
            format!("sleep 300 & echo $! > {}; cat > /dev/null; : > {}", child.display(), whole.display());
        let facts = Facts {
            sender: String::new(),
            recipient: "alice@example.org".parse().unwrap(),
            original: "alice@example.org".into(),
            id: "1".into(),
            size: 0,
            extension: String::new(),
            local: "alice".into(),
            fields: String::new(),
        };
        let arguments = ["-c".to_owned(), script];
        let run = Run { program: Path::new("/bin/sh"), arguments: &arguments, patience: Duration::MAX };
        // Of the message a part has come.
        let (mut message, body) = duplex(1024);
        message.write_all(b"Subject: x\r\n").await.unwrap();
        let user = Acting { switch: None, name: None, home: None };
        let started = async {
            while !std::fs::read_to_string(&child).is_ok_and(|number| number.ends_with('\n')) {
                time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            ended = run.with(&facts, user, Box::pin(body)) => panic!("{ended:?}"),
            () = started => {}
        }
        let number = std::fs::read_to_string(&child).unwrap().trim().to_owned();
        let runs = || {
            let status = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
            status.rsplit_once(')').is_some_and(|(_, state)| !state.starts_with(" Z"))
        };
        for _ in 0..500 {
            if !runs() {
                break;
            }
            time::sleep(Duration::from_millis(10)).await;
        }
        assert!(!runs(), "{number} still runs");
        assert!(!whole.exists());
    }

    #[test]
    fn only_crlf_becomes_lf_wherever_it_is_cut() {
        let text = b"a\r\nb\rc\r\r\nd\n\r";
        for cut in 0..=text.len() {
            let (mut lines, mut out) = (Lines::default(), Vec::new());
            lines.push(&text[..cut], &mut out);
            lines.push(&text[cut..], &mut out);
            lines.end(&mut out);
            assert_eq!(out, b"a\nb\rc\r\nd\n\r", "{cut}");
        }
    }
}
