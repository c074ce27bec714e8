#![doc = include_str!("../README.md")]

use std::{
    collections::HashMap,
    error::Error,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, pki_types::pem::PemObject};
use tempfile::TempDir;

/// Anything that ends a benchmark.
pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The one account.
pub const USER: &str = "alice@example.org";
/// Its password.
pub const PASSWORD: &str = "correct-horse-7";

/// Of how many rounds the best counts.
const ROUNDS: usize = 5;

/// How often a second some work is done, at best of several rounds that each take so long. It is repeated a hundred times between two looks
/// at the clock.
pub fn rate(round: Duration, mut work: impl FnMut()) -> f64 {
    let mut best = 0.0_f64;
    for _ in 0..ROUNDS {
        let (begun, mut count) = (Instant::now(), 0_u32);
        while begun.elapsed() < round {
            (0..100).for_each(|_| work());
            count += 100;
        }
        best = best.max(f64::from(count) / begun.elapsed().as_secs_f64());
    }
    best
}

/// A `mailwrightd` with data of its own, on ports of its own.
#[derive(Debug)]
pub struct Server {
    child: Child,
    folder: TempDir,
    ports: HashMap<String, u16>,
}

impl Server {
    /// Starts it.
    ///
    /// # Errors
    /// If it is not built or does not start.
    pub fn start() -> Result<Self> {
        let program = program()?;
        let folder = tempfile::tempdir_in(std::env::var_os("BENCH_DIR").unwrap_or_else(|| ".".into()))?;
        let mut config = String::from(
            "data = \"data\"\nhostname = \"mail.example.org\"\ndomains = [\"example.org\"]\nallow_plaintext_auth = true\n\
             [limits]\nconnections_per_address = 0\nnew_connections_per_minute = 0\nmessage_size = 0\n",
        );
        for (protocol, tls) in
            [("smtp", "none"), ("lmtp", "none"), ("imap", "none"), ("imap", "implicit"), ("pop3", "none")]
        {
            config += &format!(
                "[[listener]]\nprotocol = \"{protocol}\"\naddress = \"127.0.0.1:0\"\ntls = \"{tls}\"\n"
            );
        }
        let file = folder.path().join("mailwright.toml");
        fs::write(&file, config)?;
        let command = |arguments: &[&str]| {
            let mut command = Command::new(&program);
            command.arg("--config").arg(&file).args(arguments);
            command
        };
        let mut adding = command(&["user", "add", USER, "--password-stdin"]).stdin(Stdio::piped()).spawn()?;
        adding.stdin.take().ok_or("no standard input")?.write_all(format!("{PASSWORD}\n").as_bytes())?;
        if !adding.wait()?.success() {
            return Err("the account could not be added".into());
        }
        let mut child = command(&["serve"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no standard output")?).lines();
        let mut ports = HashMap::new();
        loop {
            let line = lines.next().ok_or("the server ended before it was ready")??;
            if line == "ready" {
                break;
            }
            if let ["listening", protocol, tls, _, address] = line.split_whitespace().collect::<Vec<_>>()[..]
            {
                let port = address.rsplit(':').next().unwrap_or_default().parse()?;
                ports.insert(format!("{protocol} {tls}"), port);
            }
        }
        thread::spawn(move || lines.for_each(drop));
        Ok(Self { child, folder, ports })
    }

    /// The address of a listener.
    ///
    /// # Errors
    /// If there is no such listener.
    pub fn address(&self, protocol: &str, tls: bool) -> Result<String> {
        let mode = if tls { "implicit" } else { "none" };
        let port = self.ports.get(&format!("{protocol} {mode}")).ok_or("no such listener")?;
        Ok(format!("127.0.0.1:{port}"))
    }

    /// A connection to a listener, plain or TLS as the listener has it.
    ///
    /// # Errors
    /// If there is no such listener, or it cannot be reached.
    pub fn connect(&self, protocol: &str, tls: bool) -> Result<Stream> {
        let mode = if tls { "implicit" } else { "none" };
        let port = self.ports.get(&format!("{protocol} {mode}")).ok_or("no such listener")?;
        let socket = TcpStream::connect(("127.0.0.1", *port))?;
        socket.set_nodelay(true)?;
        if !tls {
            return Ok(Stream(BufReader::with_capacity(4096, Box::new(socket))));
        }
        let mut roots = RootCertStore::empty();
        roots.add(PemObject::from_pem_file(self.folder.path().join("data/tls/self-signed.pem"))?)?;
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connection = ClientConnection::new(Arc::new(config), "localhost".try_into()?)?;
        Ok(Stream(BufReader::with_capacity(4096, Box::new(StreamOwned::new(connection, socket)))))
    }

    /// How long it has kept processors busy, in steps of a hundredth of a second.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn processor_time(&self) -> Result<Duration> {
        processor_time(self.child.id())
    }

    /// Resident memory in KiB: now and at its peak.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn memory(&self) -> Result<(u64, u64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let field = |name: &str| -> Result<u64> {
            let line = status.lines().find(|line| line.starts_with(name)).ok_or("no such field")?;
            Ok(line.split_whitespace().nth(1).ok_or("no value")?.parse()?)
        };
        Ok((field("VmRSS:")?, field("VmHWM:")?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("MAILWRIGHTD") {
        return Ok(path.into());
    }
    let beside = std::env::current_exe()?.parent().unwrap_or_else(|| Path::new(".")).join("mailwrightd");
    if beside.exists() {
        Ok(beside)
    } else {
        Err(format!("{} is not built: cargo build --release --workspace", beside.display()).into())
    }
}

/// How long a process has kept processors busy, and those of its children that have ended, in steps of a hundredth of a second.
///
/// # Errors
/// If the process is gone.
pub fn processor_time(process: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name of the program may hold anything, and ends with the last bracket.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = fields.get(11..15).ok_or("no times in /proc")?.iter().map(|ticks| ticks.parse::<u64>());
    let ticks: u64 = ticks.sum::<std::result::Result<_, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}

/// A conversation with the server.
pub struct Stream(BufReader<Box<dyn ReadWrite>>);

/// Both directions of a stream.
pub trait ReadWrite: Read + Write + Send {}

impl<T: Read + Write + Send> ReadWrite for T {}

impl Stream {
    /// Sends octets as they are.
    ///
    /// # Errors
    /// The socket's.
    pub fn send(&mut self, octets: &[u8]) -> Result<()> {
        self.0.get_mut().write_all(octets)?;
        Ok(self.0.get_mut().flush()?)
    }

    /// The next line, its end included.
    ///
    /// # Errors
    /// The socket's, or the end of the stream.
    pub fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err("the server closed the connection".into());
        }
        Ok(line)
    }

    /// Reads lines up to one that begins so; gives that line.
    ///
    /// # Errors
    /// The socket's, or the end of the stream.
    pub fn until(&mut self, start: &str) -> Result<String> {
        loop {
            let line = self.line()?;
            if line.starts_with(start) {
                return Ok(line);
            }
        }
    }

    /// Sends a line and reads up to a line that begins so.
    ///
    /// # Errors
    /// The socket's, or the end of the stream.
    pub fn ask(&mut self, line: &str, start: &str) -> Result<String> {
        self.send(format!("{line}\r\n").as_bytes())?;
        self.until(start)
    }

    /// Reads exactly so many octets and gives their CRC-free checksum: enough to see that they are the right ones.
    ///
    /// # Errors
    /// The socket's, or the end of the stream.
    pub fn skip(&mut self, mut count: u64) -> Result<u64> {
        let (mut buffer, mut sum) = (vec![0; 256 * 1024], 0_u64);
        while count > 0 {
            let most = usize::try_from(count).unwrap_or(usize::MAX).min(buffer.len());
            let got = self.0.read(buffer.get_mut(..most).unwrap_or_default())?;
            if got == 0 {
                return Err("the server closed the connection".into());
            }
            sum = checksum(sum, buffer.get(..got).unwrap_or_default());
            count -= got as u64;
        }
        Ok(sum)
    }
}

/// A sum that depends on every octet, in any cut.
pub fn checksum(start: u64, octets: &[u8]) -> u64 {
    octets.iter().fold(start, |sum, octet| sum.wrapping_add(u64::from(*octet)))
}
