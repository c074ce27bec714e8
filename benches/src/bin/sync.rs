//! A copy of a large mailbox kept up to date by our own client: everything at first, then what 100 changed flags and 100 expunged messages
//! have come to, told by QRESYNC, by CONDSTORE alone, and found out by comparing all there is.
//!
//! `sync [MESSAGES]`, 100,000 if none are given. Our server is asked, and Dovecot too where it is installed and root runs this. Each
//! line is a process of its own, so that its memory is nobody else's.

use std::{
    fs,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::chown,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use mailwright::{
    client::{
        Endpoint, ImapClient, Replica, Security,
        imap::{SyncMethod, Synced},
    },
    imap_proto::client::Config,
    line_proto::Secret,
    mail_model::MailboxName,
};
use mailwright_benches::{PASSWORD, Result, Server, USER, processor_time};
use tempfile::TempDir;

/// How many messages are changed, and how many go.
const CHANGES: usize = 100;
/// How many messages one APPEND brings (RFC 3502).
const TOGETHER: usize = 500;
/// Whom Dovecot's mail belongs to: it serves none as root.
const OWNER: u32 = 5000;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--client", method, port, kept] => client(method, port.parse()?, Path::new(kept)),
        [] => compare(100_000),
        [count] => compare(count.parse()?),
        _ => Err("expected a number of messages, or nothing".into()),
    }
}

fn compare(messages: usize) -> Result<()> {
    println!(
        "{messages} messages; {CHANGES} changed and {CHANGES} expunged between the first line and the others"
    );
    println!(
        "{:10} {:14} {:>8} {:>10} {:>10} {:>12} {:>10}",
        "server", "how", "seconds", "client ms", "server ms", "octets", "peak KiB"
    );
    let server = Server::start()?;
    measure("mailwright", &server.address("imap", false)?, messages, || server.processor_time())?;
    drop(server);
    match Dovecot::start()? {
        Some(dovecot) => measure("dovecot", &dovecot.address(), messages, || dovecot.processor_time())?,
        None => println!("no Dovecot here, or not for this user"),
    }
    Ok(())
}

/// Asks one server in every way. `server_time` says how long that has kept processors busy.
fn measure(
    name: &str,
    address: &str,
    messages: usize,
    server_time: impl Fn() -> Result<Duration>,
) -> Result<()> {
    fill(address, messages)?;
    let folder = tempfile::tempdir()?;
    let first = folder.path().join("first");
    fs::write(&first, "")?;
    let relay = Relay::start(address)?;
    let ask = |method: &str, kept: &Path| -> Result<()> {
        relay.octets.store(0, Ordering::Relaxed);
        let before = server_time()?;
        let output = Command::new(std::env::current_exe()?)
            .args(["--client", method, &relay.port.to_string()])
            .arg(kept)
            .stderr(Stdio::inherit())
            .output()?;
        let told = String::from_utf8(output.stdout)?;
        let [how, seconds, processor, peak, changed, gone] = told.split_whitespace().collect::<Vec<_>>()[..]
        else {
            return Err(format!("{name} cannot be asked by {method}: {told}").into());
        };
        println!(
            "{name:10} {how:14} {seconds:>8} {processor:>10} {:>10} {:>12} {peak:>10}",
            (server_time()? - before).as_millis(),
            relay.octets.load(Ordering::Relaxed),
        );
        let expected = if method == "first" { (0, 0) } else { (CHANGES, CHANGES) };
        if (changed.parse()?, gone.parse()?) != expected {
            return Err(format!("{changed} changed and {gone} gone, expected {expected:?}").into());
        }
        Ok(())
    };
    ask("first", &first)?;
    change(address, messages)?;
    for method in ["qresync", "condstore", "comparing"] {
        let kept = folder.path().join(method);
        fs::copy(&first, &kept)?;
        ask(method, &kept)?;
    }
    Ok(())
}

/// Puts small messages into INBOX, with flags as they come.
fn fill(address: &str, messages: usize) -> Result<()> {
    let mut talk = Talk::new(address)?;
    let mut made = 0;
    while made < messages {
        let some = TOGETHER.min(messages - made);
        let mut command = String::from("a APPEND INBOX");
        for number in made..made + some {
            let flags = ["", "\\Seen", "\\Seen \\Answered", "\\Seen $Work"];
            let flags = flags.get(number % flags.len()).unwrap_or(&"");
            let text = format!("From: a@example.net\r\nSubject: number {number}\r\n\r\nHello.\r\n");
            command += &format!(" ({flags}) {{{}+}}\r\n{text}", text.len());
        }
        talk.ask(&command)?;
        made += some;
    }
    Ok(())
}

/// What happens between two looks: spread over the mailbox.
fn change(address: &str, messages: usize) -> Result<()> {
    let mut talk = Talk::new(address)?;
    talk.ask("a SELECT INBOX")?;
    let step = messages / CHANGES;
    let set = |offset: usize| {
        let uids: Vec<String> = (0..CHANGES).map(|index| (index * step + offset).to_string()).collect();
        uids.join(",")
    };
    talk.ask(&format!("a UID STORE {} +FLAGS.SILENT (\\Flagged)", set(1)))?;
    talk.ask(&format!("a UID STORE {} +FLAGS.SILENT (\\Deleted)", set(2)))?;
    talk.ask("a EXPUNGE")?;
    Ok(())
}

/// One sync in this process: prints how it was done, how long it took, and what it cost.
fn client(method: &str, port: u16, kept: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let best = match method {
        "comparing" => SyncMethod::Full,
        "condstore" => SyncMethod::ChangedSince,
        _ => SyncMethod::Resync,
    };
    let (begun, before) = (Instant::now(), processor_time(std::process::id())?);
    let mut replica: Replica = fs::read_to_string(kept)?.parse()?;
    let synced: Result<Synced> = runtime.block_on(async {
        let mut config = Config::default();
        config.allow_plaintext_auth = true;
        let endpoint = Endpoint::new("localhost", port, Security::Plain).at(([127, 0, 0, 1], port).into());
        let mut client = ImapClient::connect(&endpoint, Arc::new(config)).await?;
        client.login(USER, &Secret::from(PASSWORD)).await?;
        let synced = client.sync_by(best, MailboxName::inbox(), true, &mut replica).await?;
        client.logout().await?;
        Ok(synced)
    });
    let synced = synced?;
    fs::write(kept, replica.to_string())?;
    let (seconds, processor) = (begun.elapsed().as_secs_f64(), processor_time(std::process::id())? - before);
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no peak")?;
    let peak = peak.trim().trim_end_matches(" kB");
    let how = match (method, synced.method) {
        ("first", _) => "first",
        (_, SyncMethod::Resync) => "QRESYNC",
        (_, SyncMethod::ChangedSince) => "CONDSTORE",
        _ => "comparing",
    };
    println!(
        "{how} {seconds:.3} {} {peak} {} {}",
        processor.as_millis(),
        synced.changed.len(),
        synced.removed.len()
    );
    Ok(())
}

/// What stands between, and counts what the server sends.
struct Relay {
    port: u16,
    octets: Arc<AtomicU64>,
}

impl Relay {
    fn start(address: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (port, octets, address) =
            (listener.local_addr()?.port(), Arc::new(AtomicU64::new(0)), address.to_owned());
        let counter = Arc::clone(&octets);
        thread::spawn(move || {
            for client in listener.incoming().map_while(io::Result::ok) {
                let _ended = relay(client, &address, &counter);
            }
        });
        Ok(Self { port, octets })
    }
}

fn relay(client: TcpStream, address: &str, octets: &AtomicU64) -> io::Result<()> {
    let server = TcpStream::connect(address)?;
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    let (mut up, mut down) = ((client.try_clone()?, server.try_clone()?), (server, client));
    thread::spawn(move || io::copy(&mut up.0, &mut up.1));
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = down.0.read(&mut buffer)?;
        if read == 0 {
            return down.1.shutdown(std::net::Shutdown::Both);
        }
        octets.fetch_add(read as u64, Ordering::Relaxed);
        down.1.write_all(buffer.get(..read).unwrap_or_default())?;
    }
}

/// A session for what is not measured.
struct Talk(io::BufReader<TcpStream>);

impl Talk {
    fn new(address: &str) -> Result<Self> {
        let mut talk = Self(io::BufReader::new(TcpStream::connect(address)?));
        talk.line()?;
        talk.ask(&format!("a LOGIN {USER} {PASSWORD}"))?;
        Ok(talk)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        match io::BufRead::read_line(&mut self.0, &mut line)? {
            0 => Err("the server closed the connection".into()),
            _ => Ok(line),
        }
    }

    fn ask(&mut self, command: &str) -> Result<()> {
        self.0.get_mut().write_all(format!("{command}\r\n").as_bytes())?;
        loop {
            let line = self.line()?;
            match line.strip_prefix("a ") {
                Some(done) if done.starts_with("OK") => return Ok(()),
                Some(refused) => return Err(format!("refused: {refused}").into()),
                None => {}
            }
        }
    }
}

/// A Dovecot with a Maildir and one user, as long as this is there.
struct Dovecot {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Dovecot {
    /// Nothing if it is not installed, or this is not root.
    fn start() -> Result<Option<Self>> {
        if !Path::new("/usr/lib/dovecot/imap").exists() {
            return Ok(None);
        }
        let folder = tempfile::tempdir_in(std::env::var_os("BENCH_DIR").unwrap_or_else(|| ".".into()))?;
        let path = folder.path().canonicalize()?;
        for part in [path.clone(), path.join("mail")] {
            fs::create_dir_all(&part)?;
            if chown(&part, Some(OWNER), Some(OWNER)).is_err() {
                return Ok(None);
            }
        }
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let base = path.display();
        let config = format!(
            "base_dir = {base}/run\nstate_dir = {base}/run\nlog_path = {base}/log\nlisten = 127.0.0.1\nssl = no\n\
             disable_plaintext_auth = no\nfirst_valid_uid = 1\nprotocols = imap\n\
             passdb {{\n  driver = static\n  args = password={PASSWORD}\n}}\n\
             userdb {{\n  driver = static\n  args = uid={OWNER} gid={OWNER} home={base}/mail allow_all_users=yes\n}}\n\
             mail_fsync = never\nmail_location = maildir:{base}/mail/Maildir\nnamespace inbox {{\n  inbox = yes\n}}\n\
             service imap-login {{\n  inet_listener imap {{\n    port = {port}\n  }}\n  inet_listener imaps {{\n    port = 0\n  }}\n}}\n"
        );
        fs::write(path.join("dovecot.conf"), config)?;
        let mut command = Command::new("dovecot");
        command.args(["-F", "-c"]).arg(path.join("dovecot.conf"));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let dovecot = Self { child, port, _folder: folder };
        for _ in 0..100 {
            if TcpStream::connect(dovecot.address()).is_ok() {
                return Ok(Some(dovecot));
            }
            thread::sleep(Duration::from_millis(100));
        }
        Err("Dovecot does not answer".into())
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Of all its processes, those that have ended too.
    fn processor_time(&self) -> Result<Duration> {
        let mut family = vec![self.child.id()];
        let mut all = Duration::ZERO;
        while let Some(process) = family.pop() {
            // One that ends meanwhile is counted with who waited for it, the next time.
            all += processor_time(process).unwrap_or_default();
            let children = format!("/proc/{process}/task/{process}/children");
            let children = fs::read_to_string(children).unwrap_or_default();
            family.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        Ok(all)
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        // It ends its children, which it cannot when it is killed.
        let _asked = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ended = self.child.wait();
    }
}
