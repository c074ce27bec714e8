//! A running `mailwrightd` for tests: a directory of its own, ports that the system chose, one account.
#![allow(unreachable_pub, reason = "a module of several test programs")]
#![allow(dead_code, reason = "each test program uses a part of this")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream, UdpSocket},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

pub const USER: &str = "alice@example.org";
pub const PASSWORD: &str = "correct-horse-7";
/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A server process with its data.
pub struct Server {
    child: Option<Child>,
    pub folder: TempDir,
    ports: HashMap<String, u16>,
    /// The user and group that the server runs as, if not those of the test.
    pub identity: Option<u32>,
    /// What the server finds in its environment beside ours.
    pub environment: Vec<(String, String)>,
    /// How many files the system lets the server open, if not as many as ever.
    pub open_files: Option<u32>,
}

impl Server {
    /// Starts with one account; `extra` goes to the front of the configuration.
    pub fn start(extra: &str) -> Self {
        let mut server = Self::prepare(extra);
        server.add_user(USER, PASSWORD);
        server.serve();
        server
    }

    /// Everything but the process itself.
    pub fn prepare(extra: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = format!(
            "{extra}\ndata = \"data\"\nhostname = \"mail.example.org\"\ndomains = [\"example.org\"]\n\
             [limits]\nconnections_per_address = 0\nnew_connections_per_minute = 0\n"
        );
        for (protocol, tls) in [
            ("smtp", "starttls"),
            ("submission", "starttls"),
            ("submission", "implicit"),
            ("lmtp", "none"),
            ("imap", "starttls"),
            ("imap", "implicit"),
            ("pop3", "starttls"),
            ("pop3", "implicit"),
            ("managesieve", "starttls"),
        ] {
            config += &format!(
                "[[listener]]\nprotocol = \"{protocol}\"\naddress = \"127.0.0.1:0\"\ntls = \"{tls}\"\n"
            );
        }
        config += "[[listener]]\nprotocol = \"smtp\"\naddress = \"127.0.0.1:0\"\ntls = \"none\"\nsyntax = \"lenient\"\n";
        fs::write(folder.path().join("mailwright.toml"), config).unwrap();
        Self {
            child: None,
            folder,
            ports: HashMap::new(),
            identity: None,
            environment: Vec::new(),
            open_files: None,
        }
    }

    /// The program with its configuration, for a command.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailwrightd"));
        command.arg("--config").arg(self.folder.path().join("mailwright.toml")).args(arguments);
        if let Some(identity) = self.identity {
            command.uid(identity).gid(identity);
        }
        command
    }

    pub fn add_user(&self, name: &str, password: &str) {
        let mut child = self
            .command(&["user", "add", name, "--password-stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "user add: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Starts the process and waits until it says that it is ready; gives what it said before.
    pub fn serve(&mut self) -> String {
        let mut command = self.command(&["serve"]);
        if let Some(files) = self.open_files {
            let mut limited = Command::new("prlimit");
            limited.arg(format!("--nofile={files}")).arg(command.get_program()).args(command.get_args());
            command = limited;
        }
        let mut child = command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("mailwrightd starts");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = String::new();
        self.ports.clear();
        // "listening smtp starttls strict 127.0.0.1:2525" for each, then "ready".
        loop {
            let line = match lines.next() {
                Some(line) => line.unwrap(),
                None => {
                    let mut said = String::new();
                    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
                    panic!("the server ended before it was ready: {said}");
                }
            };
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["listening", protocol, tls, syntax, address] => {
                    // A socket of the file system has none.
                    let port = address.rsplit(':').next().unwrap().parse().unwrap_or(0);
                    self.ports.insert(format!("{protocol} {tls} {syntax}"), port);
                }
                ["ready"] => break,
                _ => {}
            }
            said += &line;
            said.push('\n');
        }
        // The pipes must not fill up.
        thread::spawn(move || lines.for_each(drop));
        let mut log = child.stderr.take().unwrap();
        let path = self.folder.path().join("log");
        thread::spawn(move || {
            let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
            let _ = std::io::copy(&mut log, &mut file);
        });
        self.child = Some(child);
        said
    }

    /// Starts anew with an allocator that gives back at once what is free: memory is then what the server holds, and not also
    /// what one thread had a moment ago and another could not take.
    pub fn hold_nothing_free(&mut self) {
        self.stop();
        self.environment
            .push(("_RJEM_MALLOC_CONF".to_owned(), "dirty_decay_ms:0,muzzy_decay_ms:0".to_owned()));
        self.serve();
    }

    /// The port of a listener: `("imap", "implicit")`.
    pub fn port(&self, protocol: &str, tls: &str) -> u16 {
        self.ports[&format!("{protocol} {tls} strict")]
    }

    /// The port of the lenient SMTP listener.
    pub fn lenient_port(&self) -> u16 {
        self.ports["smtp none lenient"]
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// The self-signed certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("data/tls/self-signed.pem")
    }

    /// What was logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// SIGKILL: nothing is flushed, nobody is told.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGTERM, and wait for the end.
    pub fn stop(&mut self) {
        if self.child.is_some() {
            self.signal("-TERM");
        }
    }

    /// Sends a signal that ends it; gives how it ended.
    pub fn signal(&mut self, signal: &str) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        wait_for("the server to stop", || child.try_wait().unwrap())
    }

    /// A plain conversation at one of the ports.
    pub fn talk(&self, port: u16) -> Talk {
        Talk::connect(port)
    }

    /// Resident memory in KiB, now and at its peak.
    pub fn memory(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        (field("VmRSS:"), field("VmHWM:"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "--- the end of the server's log ---\n{}",
                lines[lines.len().saturating_sub(30)..].join("\n")
            );
        }
    }
}

/// Lines to and from a server.
pub struct Talk {
    pub stream: BufReader<TcpStream>,
}

impl Talk {
    pub fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Sends octets as they are.
    pub fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(octets.as_ref()).unwrap();
    }

    /// The next line without its end; empty at the end of the stream.
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        let _ = self.stream.read_until(b'\n', &mut line);
        String::from_utf8_lossy(&line).trim_end().to_owned()
    }

    /// A whole SMTP reply, lines joined by LF.
    pub fn reply(&mut self) -> String {
        let mut reply = self.line();
        let mut last = reply.clone();
        while last.as_bytes().get(3) == Some(&b'-') {
            last = self.line();
            reply = format!("{reply}\n{last}");
        }
        reply
    }

    /// Sends a line and reads an SMTP reply.
    pub fn smtp(&mut self, command: &str) -> String {
        self.send(format!("{command}\r\n"));
        self.reply()
    }

    /// Sends a tagged IMAP command and reads up to its completion.
    pub fn imap(&mut self, tag: &str, command: &str) -> Vec<String> {
        self.send(format!("{tag} {command}\r\n"));
        self.until(tag)
    }

    /// Reads lines up to and with the one that begins with a word.
    pub fn until(&mut self, word: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            let done = line.split(' ').next() == Some(word);
            let ended = line.is_empty() && self.stream.buffer().is_empty() && self.at_end();
            lines.push(line);
            if done || ended {
                return lines;
            }
        }
    }

    /// Sends octets to a server that may have closed already.
    pub fn send_anyway(&mut self, octets: impl AsRef<[u8]>) {
        let _ = self.stream.get_mut().write_all(octets.as_ref());
    }

    /// Says that nothing more comes, and reads what the server has left to say.
    pub fn rest(&mut self) -> String {
        let _ = self.stream.get_ref().shutdown(Shutdown::Write);
        let mut said = Vec::new();
        // A server that closes with our octets unread resets the connection: what came before counts.
        let ended = self.stream.read_to_end(&mut said);
        let patient = !matches!(ended, Err(error) if error.kind() == ErrorKind::WouldBlock);
        assert!(patient, "no end after {:?}", String::from_utf8_lossy(&said));
        String::from_utf8_lossy(&said).into_owned()
    }

    /// Whether the server closed.
    pub fn at_end(&mut self) -> bool {
        matches!(self.stream.fill_buf(), Ok([]) | Err(_))
    }
}

/// Delivers one message through the plain SMTP port.
pub fn deliver(server: &Server, to: &str, message: &str) {
    let mut talk = server.talk(server.port("smtp", "starttls"));
    assert!(talk.reply().starts_with("220 "));
    assert!(talk.smtp("EHLO client.example").starts_with("250"));
    assert_eq!(talk.smtp("MAIL FROM:<bob@example.net>"), "250 2.1.0 Ok");
    assert_eq!(talk.smtp(&format!("RCPT TO:<{to}>")), "250 2.1.5 Ok");
    assert!(talk.smtp("DATA").starts_with("354 "));
    talk.send(message.replace("\r\n.", "\r\n.."));
    let reply = talk.smtp(".");
    assert!(reply.starts_with("250 2.0.0 Ok: queued as "), "{reply}");
    assert_eq!(talk.smtp("QUIT"), "221 2.0.0 Bye");
}

/// A command that must succeed, its words apart by spaces; gives what it printed.
pub fn tell(server: &Server, command: &str) -> String {
    let words: Vec<&str> = command.split_whitespace().collect();
    let output = run(&mut server.command(&words));
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A command that must fail; gives what it said.
pub fn refused(server: &Server, command: &str) -> String {
    let words: Vec<&str> = command.split_whitespace().collect();
    let output = run(&mut server.command(&words));
    assert_eq!(output.status.code(), Some(1), "{command}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

/// A session of IMAP that is logged in; for servers with `allow_plaintext_auth`.
pub fn imap(server: &Server) -> Talk {
    login(server, USER)
}

/// The same, of some user.
pub fn login(server: &Server, user: &str) -> Talk {
    let mut talk = server.talk(server.port("imap", "starttls"));
    talk.line();
    let answer = talk.imap("login", &format!("LOGIN {user} {PASSWORD}"));
    assert!(answer.last().unwrap().starts_with("login OK"), "{answer:?}");
    talk
}

/// A session of IMAP in INBOX.
pub fn inbox(server: &Server) -> Talk {
    let mut talk = imap(server);
    let answer = talk.imap("select", "SELECT INBOX");
    assert!(answer.last().unwrap().starts_with("select OK"), "{answer:?}");
    talk
}

/// How many messages INBOX has.
pub fn count(server: &Server) -> usize {
    let answer = imap(server).imap("count", "STATUS INBOX (MESSAGES)");
    let (_, number) = answer[0].split_once("MESSAGES ").unwrap_or_else(|| panic!("{answer:?}"));
    number.trim_end_matches(')').parse().unwrap()
}

/// What must hold after any attack: mail goes in and comes out at once, nothing panicked, memory is bounded (in MiB).
pub fn assert_well(server: &Server, memory: u64) {
    let begun = Instant::now();
    deliver(server, USER, "Subject: clean\r\n\r\nclean\r\n");
    let answer = inbox(server).imap("fetch", "FETCH * BODY.PEEK[TEXT]");
    assert!(answer.iter().any(|line| line == "clean"), "{answer:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "a clean session took {:?}", begun.elapsed());
    assert!(!server.log().contains("panicked"), "{}", server.log());
    let (now, peak) = server.memory();
    assert!(peak < memory << 10, "{now} KiB now, {peak} KiB at the peak");
}

/// Whether a program is there. Where it must be (in CI) its absence fails the test; elsewhere it is said and skipped.
pub fn have(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()));
    if !found {
        assert!(std::env::var_os("CI").is_none(), "{program} is not installed, and CI must have it");
        eprintln!("skipped: {program} is not installed");
    }
    found
}

/// Runs a program to its end, with patience; gives what it printed.
pub fn run(command: &mut Command) -> Output {
    let shown = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{shown}: {error}"));
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let reader = thread::spawn(move || {
        let mut octets = Vec::new();
        stdout.read_to_end(&mut octets).unwrap();
        octets
    });
    let errors = thread::spawn(move || {
        let mut octets = Vec::new();
        stderr.read_to_end(&mut octets).unwrap();
        octets
    });
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > PATIENCE * 3 {
            let _ = child.kill();
            panic!("{shown} does not end: {}", String::from_utf8_lossy(&errors.join().unwrap()));
        }
        thread::sleep(Duration::from_millis(10));
    };
    Output { status, stdout: reader.join().unwrap(), stderr: errors.join().unwrap() }
}

/// Runs a program that must succeed; gives its standard output.
pub fn succeed(command: &mut Command) -> Vec<u8> {
    let output = run(command);
    assert!(
        output.status.success(),
        "{command:?} failed with {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Asks until there is something.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited too long for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A port that nobody listens at, for a program that cannot tell which one it took. It lies below those that the system
/// hands out by itself, so that no connection of another test takes it before the program does.
pub fn free_port() -> u16 {
    use std::hash::{BuildHasher, RandomState};
    loop {
        // Every RandomState has other keys, also in other processes.
        let port = 10_000 + u16::try_from(RandomState::new().hash_one(0) % 22_000).unwrap();
        let listens =
            TcpListener::bind(("0.0.0.0", port)).is_ok() && UdpSocket::bind(("0.0.0.0", port)).is_ok();
        if listens {
            return port;
        }
    }
}

/// Writes a file that only we can read, as several clients demand of their configuration.
pub fn write_private(path: &Path, content: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}
