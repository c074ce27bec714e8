//! POP3: messages downloaded a second over loopback, one after another as clients do.
//!
//! `pop3 [--peer HOST:PORT USER PASSWORD]`. The peer, such as Dovecot, must have the same messages: 2,000 of those that `pop3 --print`
//! writes. It is asked in the same way, after our server. So is a thread that does nothing but send octets it has: no server that answers one
//! command after another is faster on the machine.

use std::{
    io::{BufRead as _, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Instant,
};

use mailwright_benches::{PASSWORD, Result, Server, USER};

const MESSAGES: usize = 2000;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if words == ["--print"] {
        print!("{}", message());
        return Ok(());
    }
    let server = Server::start()?;
    let mut lmtp = server.connect("lmtp", false)?;
    lmtp.until("220 ")?;
    lmtp.ask("LHLO client.example", "250 ")?;
    for _ in 0..MESSAGES {
        lmtp.ask("MAIL FROM:<a@example.net>", "250 ")?;
        lmtp.ask(&format!("RCPT TO:<{USER}>"), "250 ")?;
        lmtp.ask("DATA", "354 ")?;
        lmtp.send(format!("{}.\r\n", message()).as_bytes())?;
        lmtp.until("250 ")?;
    }
    let ours = measure("mailwright", &server.address("pop3", false)?, USER, PASSWORD)?;
    let floor = measure("octets", &octets_at_hand()?, USER, PASSWORD)?;
    println!("ratio to octets at hand {:.2}", ours / floor);
    match words[..] {
        [] => {}
        ["--peer", address, user, password] => {
            let theirs = measure("peer", address, user, password)?;
            println!("ratio {:.2}", ours / theirs);
        }
        _ => return Err("expected --peer HOST:PORT USER PASSWORD, or --print, or nothing".into()),
    }
    Ok(())
}

fn message() -> String {
    format!(
        "From: a@example.net\r\nSubject: x\r\n\r\n{}",
        "The quick brown fox jumps over the lazy dog.\r\n".repeat(180)
    )
}

/// The address of a thread that answers RETR with the same octets ever again, and everything else with the number of messages.
fn octets_at_hand() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let answer = format!("+OK\r\n{}.\r\n", message());
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let _ = serve(socket, answer.as_bytes());
        }
    });
    Ok(address)
}

fn serve(mut socket: TcpStream, answer: &[u8]) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let (mut commands, mut command) = (BufReader::new(socket.try_clone()?), String::new());
    let other = format!("+OK {MESSAGES} 0\r\n");
    socket.write_all(other.as_bytes())?;
    while commands.read_line(&mut command)? > 0 {
        let answer = if command.starts_with("RETR") { answer } else { other.as_bytes() };
        socket.write_all(answer)?;
        command.clear();
    }
    Ok(())
}

/// Messages a second; the best of three sessions.
fn measure(name: &str, address: &str, user: &str, password: &str) -> Result<f64> {
    let mut best: f64 = 0.0;
    for _ in 0..3 {
        let mut session = Session::new(address)?;
        session.line("+OK")?;
        session.ask(&format!("USER {user}"))?;
        session.ask(&format!("PASS {password}"))?;
        let stat = session.ask("STAT")?;
        let count: usize = stat.split(' ').nth(1).ok_or("no count in the answer to STAT")?.parse()?;
        if count < MESSAGES {
            return Err(format!("{name} has {count} messages, expected {MESSAGES}").into());
        }
        let (begun, mut octets) = (Instant::now(), 0);
        for number in 1..=MESSAGES {
            octets += session.retrieve(number)?;
        }
        let seconds = begun.elapsed().as_secs_f64();
        let rate = MESSAGES as f64 / seconds;
        println!("{name:10} {rate:8.0} messages/s  {:7.1} MB/s", octets as f64 / seconds / 1e6);
        best = best.max(rate);
        session.ask("QUIT")?;
    }
    Ok(best)
}

/// A client that does next to nothing itself.
struct Session {
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl Session {
    fn new(address: &str) -> Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, buffer: vec![0; 256 * 1024] })
    }

    /// Reads until what came ends so; nothing is pipelined, so that nothing follows.
    fn until(&mut self, end: &[u8]) -> Result<usize> {
        let mut filled = 0;
        loop {
            let room = self.buffer.get_mut(filled..).filter(|room| !room.is_empty());
            let got = self.socket.read(room.ok_or("an answer that is longer than expected")?)?;
            if got == 0 {
                return Err("the server closed the connection".into());
            }
            filled += got;
            if self.buffer.get(..filled).is_some_and(|read| read.ends_with(end) || read.starts_with(b"-ERR"))
            {
                return Ok(filled);
            }
        }
    }

    fn line(&mut self, start: &str) -> Result<String> {
        let length = self.until(b"\r\n")?;
        let line = String::from_utf8_lossy(self.buffer.get(..length).unwrap_or_default()).trim().to_owned();
        if line.starts_with(start) { Ok(line) } else { Err(format!("expected {start}, got {line}").into()) }
    }

    fn ask(&mut self, command: &str) -> Result<String> {
        self.socket.write_all(format!("{command}\r\n").as_bytes())?;
        self.line("+OK")
    }

    fn retrieve(&mut self, number: usize) -> Result<usize> {
        self.socket.write_all(format!("RETR {number}\r\n").as_bytes())?;
        let length = self.until(b"\r\n.\r\n")?;
        match self.buffer.get(..3) {
            Some(b"+OK") => Ok(length),
            _ => Err(format!("message {number} is refused").into()),
        }
    }
}
