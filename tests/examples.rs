//! The examples, as programs that are started and talked to. `cargo test --workspace` builds them before.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program that runs until this is dropped.
struct Example {
    child: Child,
    address: String,
}

impl Example {
    /// Starts an example that listens at the address it is given first; nothing if it was not built.
    fn start(name: &str, more: &[&str]) -> Option<Self> {
        // Beside the folder that this test is in.
        let path = env::current_exe().unwrap().parent()?.parent()?.join("examples").join(name);
        if !path.is_file() {
            assert!(env::var_os("CI").is_none(), "{} is missing", path.display());
            println!("skipped: `cargo test --workspace` builds {}", path.display());
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new(path);
        command.arg(&address).args(more).stdin(Stdio::null()).stdout(Stdio::piped());
        let example = Self { child: command.spawn().unwrap(), address };
        wait_for("an example to listen", || TcpStream::connect(&example.address).is_ok().then_some(()));
        Some(example)
    }

    fn talk(&self) -> Talk {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Talk(BufReader::new(stream))
    }

    /// Ends it; what it has printed.
    fn printed(mut self) -> String {
        self.child.kill().unwrap();
        let mut text = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Talk(BufReader<TcpStream>);

impl Talk {
    fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The lines up to one that begins so.
    fn until(&mut self, start: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            lines.push(self.line());
            let line = lines.last().unwrap();
            assert!(!line.is_empty(), "{lines:?}");
            if line.starts_with(start) {
                return lines;
            }
        }
    }

    /// Begins a message by SMTP.
    fn begin(&mut self) {
        assert!(self.line().starts_with("220 "));
        self.send("EHLO client.example\r\n");
        self.until("250 ");
        for (command, answer) in
            [("MAIL FROM:<>", "250 "), ("RCPT TO:<bob@example.org>", "250 "), ("DATA", "354 ")]
        {
            self.send(&format!("{command}\r\n"));
            assert!(self.line().starts_with(answer), "{command}");
        }
    }
}

/// Sends a message; what was answered.
fn deliver(example: &Example, text: &str) -> String {
    let mut talk = example.talk();
    talk.begin();
    talk.send(&format!("{text}.\r\n"));
    talk.line()
}

/// Sends a part of a message and goes.
fn break_off(example: &Example, text: &str) {
    let mut talk = example.talk();
    talk.begin();
    talk.send(text);
}

fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        sleep(Duration::from_millis(10));
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn a_gateway_hands_on_to_a_sink_and_says_what_that_said() {
    let Some(sink) = Example::start("test_sink", &[]) else { return };
    let Some(gateway) = Example::start("gateway", &[&sink.address]) else { return };
    let answer = deliver(&gateway, "Subject: hello\r\n\r\n..dots\r\n");
    assert!(answer.starts_with("250 ") && answer.contains("printed"), "{answer}");
    break_off(&gateway, "Subject: half\r\n\r\nhalf");
    let printed = sink.printed();
    let whole = "--- from <>\n--- to <bob@example.org>\nX-Gateway: gateway.localhost\r\n";
    assert!(printed.contains(whole), "{printed}");
    assert!(printed.contains("Subject: hello\r\n\r\n.dots\r\n"), "{printed}");
    // Nobody is behind it any more.
    assert!(deliver(&gateway, "Subject: later\r\n\r\nx\r\n").starts_with("451 "));
}

#[test]
fn a_hook_has_whole_messages_and_its_word_counts() {
    let folder = tempfile::tempdir().unwrap();
    let script = "echo $$ > pid; cat > part; mv part whole; ! grep -q refuse whole";
    let script = format!("cd {}; {script}", folder.path().display());
    let Some(hook) = Example::start("webhook", &["sh", "-c", &script]) else { return };
    let text = format!("Subject: hello\r\n\r\n{}", "The quick brown fox.\r\n".repeat(20_000));
    assert!(deliver(&hook, &text).starts_with("250 "));
    let whole = folder.path().join("whole");
    assert!(fs::read_to_string(&whole).unwrap().ends_with(&text));
    assert!(deliver(&hook, "Subject: refuse\r\n\r\nx\r\n").starts_with("451 "));
    // Of half a message there is none.
    fs::remove_file(&whole).unwrap();
    fs::remove_file(folder.path().join("pid")).unwrap();
    break_off(&hook, &text);
    let pid = wait_for("the command", || {
        fs::read_to_string(folder.path().join("pid")).ok().filter(|text| text.ends_with('\n'))
    });
    let process = Path::new("/proc").join(pid.trim());
    wait_for("the command to end", || (!process.exists()).then_some(()));
    assert!(!whole.exists());
}

#[test]
fn parts_come_into_files_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let Some(example) = Example::start("attachments", &[&folder.path().display().to_string()]) else {
        return;
    };
    let text = "Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\nMIME-Version: 1.0\r\n\
                Content-Type: multipart/mixed; boundary=b\r\n\r\n\
                --b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
                a=3Db\r\n--b\r\nContent-Type: image/png\r\nContent-Disposition: attachment; filename=../dot.png\r\n\
                Content-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n--b--\r\n";
    break_off(&example, text);
    assert!(deliver(&example, text).starts_with("250 "));
    // What broke off has left nothing.
    let files =
        wait_for("the files of one message", || Some(files(folder.path())).filter(|files| files.len() == 2));
    let contents: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert_eq!(contents, [&b"a=b"[..], b"\x89PNG\r\n\x1a\n"]);
    let told: serde_json::Value = serde_json::from_str(&example.printed()).unwrap();
    assert_eq!((&told["subject"], &told["from"]), (&"grüße".into(), &"<>".into()));
    assert_eq!(told["parts"][1]["type"], "image/png");
    assert_eq!(told["parts"][0]["file"], files[0].display().to_string());
}

#[test]
fn a_folder_of_files_is_a_mailbox() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("1.eml"), "Subject: one\n\nfirst\n").unwrap();
    fs::write(folder.path().join("2.eml"), "Subject: two\r\n\r\nsecond").unwrap();
    let Some(example) = Example::start("read_only_imap", &[&folder.path().display().to_string()]) else {
        return;
    };
    let mut talk = example.talk();
    assert!(talk.line().starts_with("* OK "));
    for (command, answer) in [
        ("LOGIN me you", "a NO [AUTHENTICATIONFAILED]"),
        ("LOGIN me me", "a OK"),
        ("SELECT INBOX", "a OK [READ-ONLY]"),
        ("STORE 1 +FLAGS (\\Seen)", "a NO"),
        ("APPEND INBOX {1+}\r\nx", "a NO"),
        ("SELECT other", "a NO [NONEXISTENT]"),
        ("EXAMINE INBOX", "a OK"),
    ] {
        talk.send(&format!("a {command}\r\n"));
        let said = talk.until("a ");
        assert!(said.last().unwrap().starts_with(answer), "{command}: {said:?}");
    }
    talk.send("a FETCH 1:* (RFC822.SIZE BODY.PEEK[TEXT])\r\n");
    let mut said = talk.until("* 1 FETCH");
    for _ in 0..5 {
        said.push(talk.line());
    }
    let said = said.join("\n");
    assert!(said.contains("RFC822.SIZE 23 ") && said.contains("{7}\nfirst\n"), "{said}");
    assert!(said.contains("RFC822.SIZE 22 ") && said.contains("{6}\nsecond)"), "{said}");
    talk.send("b SEARCH SUBJECT two\r\n");
    assert_eq!(talk.until("b OK")[0], "* SEARCH 2");
}

#[test]
fn threads_that_block_serve_a_maildrop() {
    let Some(example) = Example::start("blocking_pop3", &[]) else { return };
    let mut talk = example.talk();
    assert!(talk.line().starts_with("+OK"));
    for (command, answer) in [
        ("USER anybody", "+OK"),
        ("PASS wrong", "-ERR [AUTH]"),
        ("USER anybody", "+OK"),
        ("PASS sesame", "+OK"),
        ("UIDL 1", "+OK 1 hello"),
        ("RETR 1", "+OK"),
    ] {
        talk.send(&format!("{command}\r\n"));
        let said = talk.line();
        assert!(said.starts_with(answer), "{command}: {said}");
    }
    let mut text = Vec::new();
    while text.last().is_none_or(|line| line != ".") {
        text.push(talk.line());
    }
    assert_eq!(text, ["From: postmaster@localhost", "Subject: hello", "", "Hello.", "."]);
}
