//! Servers, name servers and hosts that misbehave, all on the loopback network.
#![allow(unreachable_pub, reason = "a module of a test program")]

mod encoding;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tempfile::TempDir;

pub use encoding::{base64, unbase64};

use crate::common::{PASSWORD, PATIENCE, Talk, free_port, have, succeed, wait_for};

/// A name server, or the address of none.
pub struct Names {
    child: Option<Child>,
    pub port: u16,
    /// The keys of the root, if answers are signed.
    anchors: Option<PathBuf>,
}

impl Names {
    /// Another program than dnsmasq, with the keys of its root.
    #[allow(dead_code, reason = "not every test program has signed names")]
    pub fn signed(child: Child, port: u16, anchors: PathBuf) -> Self {
        Self { child: Some(child), port, anchors: Some(anchors) }
    }

    /// dnsmasq with these lines of configuration, and no other knowledge.
    pub fn start(lines: &[&str]) -> Self {
        let port = free_port();
        let mut command = Command::new("dnsmasq");
        command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-hosts", "--no-resolv"]);
        command.args(["--listen-address=127.0.0.1", "--bind-interfaces", "--no-daemon"]);
        // All of .example is known here: what is not listed does not exist.
        command.args([&format!("--port={port}"), "--local=/example/"]);
        command.args(lines.iter().map(|line| format!("--{line}")));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for("the name server", || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { child: Some(child), port, anchors: None }
    }

    /// Nobody.
    pub fn none() -> Self {
        Self { child: None, port: free_port(), anchors: None }
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A server with a domain, an address and users.
pub struct Site {
    child: Option<Child>,
    pub folder: TempDir,
    address: String,
    ports: std::collections::HashMap<String, u16>,
}

impl Site {
    /// Starts one that takes mail for its domain at this address and port.
    pub fn start(domain: &str, address: &str, port: u16, names: &Names, extra: &str, users: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // One table must not be there twice: what goes into [relay] is put together here.
        let (relay, rest) = match extra.split_once("[relay]\n") {
            Some((before, behind)) => (behind.to_owned(), before.to_owned()),
            None => (String::new(), extra.to_owned()),
        };
        let dnssec = match &names.anchors {
            Some(file) => format!("dnssec = true\ntrust_anchors = {file:?}"),
            None => "dnssec = false".to_owned(),
        };
        // IPv4 alone, where nothing else is said.
        let families = if relay.contains("families") { "" } else { "families = \"ipv4\"" };
        // A key of the whole file stands in front of all tables.
        let (front, rest) = match rest.starts_with("inet_protocols") {
            true => rest.split_at(rest.find('\n').unwrap_or(rest.len())),
            false => ("", &*rest),
        };
        let mut config = format!(
            "{front}\ndata = \"data\"\nhostname = \"mx.{domain}\"\ndomains = [\"{domain}\"]\nallow_plaintext_auth = true\n\
             [limits]\nconnections_per_address = 0\nnew_connections_per_minute = 0\nstop_seconds = 2\n\
             [dns]\nservers = [\"127.0.0.1:{}\"]\n{dnssec}\n{rest}\n[relay]\nport = {port}\n{families}\n{relay}\n",
            names.port
        );
        if rest.contains("[relay.transport]") {
            let (before, map) = rest.split_once("[relay.transport]").unwrap();
            config = config.replace(rest, before) + "[relay.transport]" + map;
        }
        for (protocol, listen) in [("smtp", port), ("submission", 0), ("imap", 0), ("pop3", 0)] {
            config += &format!("[[listener]]\nprotocol = \"{protocol}\"\naddress = \"{address}:{listen}\"\n");
        }
        fs::write(folder.path().join("mailwright.toml"), config).unwrap();
        let ports = std::collections::HashMap::new();
        let mut site = Self { child: None, folder, address: address.into(), ports };
        for user in users {
            let mut child = site
                .command(&["user", "add", &format!("{user}@{domain}"), "--password-stdin"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(format!("{PASSWORD}\n").as_bytes()).unwrap();
            assert!(child.wait().unwrap().success());
        }
        site.serve();
        site
    }

    /// Two that find each other by names: a.example and b.example, each with its users. `None` without the name server.
    #[allow(dead_code, reason = "not every test program has two")]
    pub fn pair(a: &[&str], b: &[&str]) -> Option<(Names, Self, Self)> {
        if !have("dnsmasq") {
            return None;
        }
        let port = free_port();
        let names = Names::start(&[
            "mx-host=b.example,mx.b.example,10",
            "address=/mx.b.example/127.0.0.3",
            "mx-host=a.example,mx.a.example,10",
            "address=/mx.a.example/127.0.0.2",
        ]);
        let a = Self::start("a.example", "127.0.0.2", port, &names, "", a);
        let b = Self::start("b.example", "127.0.0.3", port, &names, "", b);
        Some((names, a, b))
    }

    pub fn serve(&mut self) {
        let log =
            fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let mut child =
            self.command(&["serve"]).stdout(Stdio::piped()).stderr(Stdio::from(log)).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        loop {
            let line = lines.next().unwrap_or_else(|| panic!("it does not start: {}", self.log())).unwrap();
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["listening", protocol, _, _, address] => {
                    let port = address.rsplit(':').next().unwrap().parse().unwrap();
                    self.ports.insert(protocol.into(), port);
                }
                ["ready"] => break,
                _ => {}
            }
        }
        thread::spawn(move || lines.for_each(drop));
        self.child = Some(child);
    }

    /// The same after it was killed and started again.
    pub fn again(mut self) -> Self {
        self.kill();
        self.serve();
        self
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGTERM, and wait for the end.
    #[allow(dead_code, reason = "not every test program stops one")]
    pub fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        wait_for("the server to stop", || child.try_wait().unwrap());
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailwrightd"));
        command.arg("--config").arg(self.folder.path().join("mailwright.toml")).args(arguments);
        command
    }

    /// What a command prints.
    pub fn run(&self, arguments: &[&str]) -> String {
        String::from_utf8(succeed(&mut self.command(arguments))).unwrap()
    }

    /// From now on commands ask this name server; the running server does not.
    #[allow(dead_code, reason = "not every test program changes it")]
    pub fn asks(&self, names: &Names) {
        let file = self.folder.path().join("mailwright.toml");
        let text = fs::read_to_string(&file).unwrap();
        let lines = text.lines().map(|line| match line.starts_with("servers = ") {
            true => format!("servers = [\"127.0.0.1:{}\"]\n", names.port),
            false => format!("{line}\n"),
        });
        fs::write(&file, lines.collect::<String>()).unwrap();
    }

    /// What a command that must fail says.
    #[allow(dead_code, reason = "not every test program has one")]
    pub fn fails(&self, arguments: &[&str]) -> String {
        let output = crate::common::run(&mut self.command(arguments));
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// What a command that must fail prints before it does.
    #[allow(dead_code, reason = "not every test program has one")]
    pub fn prints(&self, arguments: &[&str]) -> String {
        let output = crate::common::run(&mut self.command(arguments));
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a queue command prints.
    pub fn queue(&self, arguments: &[&str]) -> String {
        self.run(&[&["queue"], arguments].concat())
    }

    /// The self-signed certificate.
    #[allow(dead_code, reason = "not every test program needs it")]
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("data/tls/self-signed.pem")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub fn talk(&self, protocol: &str) -> Talk {
        let address = self.address.trim_matches(['[', ']']);
        let stream = TcpStream::connect((address, self.port(protocol))).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Talk { stream: BufReader::new(stream) }
    }

    /// The port of a listener.
    pub fn port(&self, protocol: &str) -> u16 {
        self.ports[protocol]
    }

    /// The command that logs a user in.
    pub fn auth(&self, user: &str) -> String {
        format!("AUTH PLAIN {}", base64(format!("\0{user}\0{PASSWORD}").as_bytes()))
    }

    /// A message in the INBOX of a user, if it is there.
    pub fn fetch(&self, user: &str, number: u32) -> Option<String> {
        let mut talk = self.talk("imap");
        talk.line();
        talk.imap("a", &format!("LOGIN {user} {PASSWORD}"));
        talk.imap("b", "SELECT INBOX");
        let lines = talk.imap("c", &format!("FETCH {number} BODY.PEEK[]"));
        lines.iter().any(|line| line.contains("FETCH (")).then(|| lines.join("\r\n"))
    }

    /// The first message of a user, by POP3.
    pub fn pop3(&self, user: &str) -> String {
        let mut talk = self.talk("pop3");
        talk.line();
        for command in [format!("USER {user}"), format!("PASS {PASSWORD}")] {
            talk.send(format!("{command}\r\n"));
            assert!(talk.line().starts_with("+OK"));
        }
        talk.send("RETR 1\r\n");
        talk.until(".").join("\r\n")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "--- the end of a server's log ---\n{}",
                lines[lines.len().saturating_sub(30)..].join("\n")
            );
        }
    }
}

/// How a host treats the first that calls; after that it behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Behaviour {
    /// It refuses every recipient the first time.
    Greylist,
    /// It puts every recipient off, always.
    Busy,
    /// It hangs up in place of answering this.
    DropAt(&'static str),
    /// It answers this to that.
    Answer(&'static str, &'static str),
    /// It takes the call and never says anything.
    Silent,
    /// It takes mail from those who log in, always.
    WantsLogin,
    /// It offers STARTTLS and always answers it with this, and hangs up if that is nothing or agrees.
    StartTls(&'static str),
}

/// A host that takes mail, in its way.
pub struct Host {
    pub port: u16,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    messages: Mutex<Vec<String>>,
    commands: Mutex<Vec<String>>,
    logins: Mutex<Vec<String>>,
    limit: AtomicU64,
    offences: AtomicU64,
}

impl Host {
    pub fn start(behaviour: Behaviour) -> Self {
        Self::at(0, behaviour)
    }

    /// At a port that was known before.
    pub fn at(port: u16, behaviour: Behaviour) -> Self {
        Self::on(TcpListener::bind(("127.0.0.1", port)).unwrap(), behaviour)
    }

    /// Where somebody listens already.
    pub fn on(listener: TcpListener, behaviour: Behaviour) -> Self {
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let seen = Arc::clone(&shared);
                thread::spawn(move || serve(stream, behaviour, &seen));
            }
        });
        Self { port, seen }
    }

    pub fn received(&self) -> Vec<String> {
        self.seen.messages.lock().unwrap().clone()
    }

    pub fn commands(&self, verb: &str) -> Vec<String> {
        let commands = self.seen.commands.lock().unwrap();
        commands.iter().filter(|command| command.starts_with(verb)).cloned().collect()
    }

    pub fn logins(&self) -> Vec<String> {
        self.seen.logins.lock().unwrap().clone()
    }

    /// Whether it behaves from now on, or offends once more.
    pub fn behave(&self, well: bool) {
        self.seen.offences.store(u64::from(well), Ordering::Relaxed);
    }

    /// From now on it takes messages of so many octets.
    pub fn limit(&self, octets: u64) {
        self.seen.limit.store(octets, Ordering::Relaxed);
    }
}

fn serve(stream: TcpStream, behaviour: Behaviour, seen: &Seen) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    if behaviour == Behaviour::Silent {
        thread::sleep(Duration::from_secs(120));
        return None;
    }
    // The first offence is the only one, but for refusals that are for good.
    let misbehaves = |at: &str| {
        let wrong = match behaviour {
            Behaviour::Greylist | Behaviour::Busy => at == "RCPT",
            Behaviour::DropAt(place) | Behaviour::Answer(place, _) => at == place,
            _ => false,
        };
        let permanent = matches!(behaviour, Behaviour::Answer(place, text) if text.starts_with('5') && place != "greeting");
        let always = permanent || behaviour == Behaviour::Busy;
        wrong && (seen.offences.fetch_add(1, Ordering::Relaxed) == 0 || always)
    };
    let mut answer = |at: &str, good: &str| {
        let text = match (misbehaves(at), behaviour) {
            (false, _) => good.to_owned(),
            (true, Behaviour::Greylist) => "450 4.7.1 Greylisted".into(),
            (true, Behaviour::Busy) => "451 4.3.2 later".into(),
            (true, Behaviour::Answer(_, text)) => text.into(),
            (true, _) => return None,
        };
        writer.write_all(format!("{text}\r\n").as_bytes()).ok()?;
        if text.starts_with("421") || text.starts_with("!!!") {
            None
        } else {
            Some(text.starts_with(['2', '3']))
        }
    };
    answer("greeting", "220 host.example ESMTP")?;
    let (mut begun, mut accepted) = (false, 0);
    let mut logged_in = behaviour != Behaviour::WantsLogin;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        seen.commands.lock().unwrap().push(line.clone());
        let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        match &*verb {
            "EHLO" => {
                let limit = seen.limit.load(Ordering::Relaxed);
                let offered = match behaviour {
                    Behaviour::WantsLogin => "250-AUTH PLAIN\r\n",
                    Behaviour::StartTls(_) => "250-STARTTLS\r\n",
                    _ => "",
                };
                answer("EHLO", &format!("250-host.example\r\n{offered}250-PIPELINING\r\n250 SIZE {limit}"))?;
            }
            "AUTH" => {
                let secret = line.rsplit(' ').next().unwrap_or_default();
                seen.logins.lock().unwrap().push(String::from_utf8(unbase64(secret)).unwrap());
                logged_in = true;
                answer("AUTH", "235 2.7.0 in")?;
            }
            "MAIL" if !logged_in => drop(answer("MAIL", "530 5.7.0 who are you?")?),
            "DATA" if accepted == 0 => drop(answer("DATA", "503 5.5.1 for whom?")?),
            "MAIL" => begun = answer("MAIL", "250 2.1.0 fine")?,
            "RCPT" if !begun => drop(answer("RCPT", "503 5.5.1 from whom?")?),
            "RCPT" => accepted += usize::from(answer("RCPT", "250 2.1.5 fine")?),
            "DATA" => {
                accepted = 0;
                if answer("DATA", "354 go on")? {
                    let mut text = String::new();
                    loop {
                        let mut line = String::new();
                        if reader.read_line(&mut line).ok()? == 0 {
                            return None;
                        }
                        if line == ".\r\n" {
                            break;
                        }
                        text += line.strip_prefix('.').unwrap_or(&line);
                    }
                    if answer(".", "250 2.0.0 taken")? {
                        seen.messages.lock().unwrap().push(text);
                    }
                }
            }
            "STARTTLS" if let Behaviour::StartTls(text) = behaviour => {
                if text.is_empty() {
                    return None;
                }
                if answer("STARTTLS", text)? {
                    // What comes now is the beginning of TLS.
                    let _ = reader.fill_buf();
                    return None;
                }
            }
            "QUIT" => {
                answer("QUIT", "221 2.0.0 bye")?;
                return None;
            }
            verb => drop(answer(verb, "250 2.0.0 fine")?),
        }
    }
}
