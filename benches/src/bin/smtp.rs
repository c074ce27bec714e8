//! SMTP without a network: parsing commands and finding the end of data against the crate `smtp-proto`, and whole
//! sessions in memory.

use std::{
    hint::black_box,
    io::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use mailwright_benches::Result;
use mailwright_line_proto::{
    Machine, Output, Peer,
    frame::{BodyPart, DotReader},
};
use mailwright_smtp_proto::{
    Command, Reply, Syntax,
    server::{Config, Event, Server},
};
use smtp_proto::{Request, request::receiver::DataReceiver};

/// How long each row is measured, of which the best of several rounds counts.
const ROUND: Duration = Duration::from_millis(200);

const COMMANDS: &[&str] = &[
    "EHLO client.example.org",
    "MAIL FROM:<ann@example.org>",
    "MAIL FROM:<ann@example.org> SIZE=12345 BODY=8BITMIME SMTPUTF8",
    "MAIL FROM:<ann@example.org> RET=HDRS ENVID=QQ314159 MT-PRIORITY=3 BY=120;R",
    "RCPT TO:<bob@example.com>",
    "RCPT TO:<bob@example.com> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;bob@example.com",
    "BDAT 65536 LAST",
    "DATA",
    "NOOP",
    "QUIT",
];

fn main() -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:<82} {:>9} {:>11} {:>6}", "command, ns", "this", "smtp-proto", "ratio")?;
    for command in COMMANDS {
        let line = format!("{command}\r\n");
        let ours = rate(|| {
            let _ = black_box(Command::parse(black_box(command.as_bytes()), Syntax::Strict));
        });
        let theirs = rate(|| {
            let _ = black_box(Request::parse(&mut black_box(line.as_bytes()).iter()));
        });
        let (ours, theirs) = (1e9 / ours, 1e9 / theirs);
        writeln!(out, "{command:<82} {ours:>9.0} {theirs:>11.0} {:>6.1}", theirs / ours)?;
    }
    writeln!(out, "\n{:<82} {:>9} {:>11} {:>6}", "end of data, MB/s", "this", "smtp-proto", "ratio")?;
    let text = "The quick brown fox jumps over the lazy dog, again and again and again.\r\n".repeat(14_000);
    let base64 = format!("{}\r\n", "QUJD".repeat(19)).repeat(13_000);
    let dots = "..\r\n".repeat(200_000);
    let binary = "x".repeat(1 << 20) + "\r\n";
    for (name, body) in [("text", text), ("base64", base64), ("dots", dots), ("one line", binary)] {
        let wire = format!("{body}.\r\n").into_bytes();
        let size = wire.len() as f64 / 1e6;
        let ours = best(|| scan(&wire));
        let theirs = best(|| scan_theirs(&wire));
        let (ours, theirs) = (size / ours.as_secs_f64(), size / theirs.as_secs_f64());
        writeln!(out, "{name:<82} {ours:>9.0} {theirs:>11.0} {:>6.1}", ours / theirs)?;
    }
    let session = rate(|| {
        black_box(session());
    });
    writeln!(out, "\nmessages of 4 KiB through a whole session in memory: {session:.0} a second")?;
    Ok(())
}

/// How often a second, at best.
fn rate(work: impl FnMut()) -> f64 {
    mailwright_benches::rate(ROUND, work)
}

/// The shortest time.
fn best(mut work: impl FnMut() -> Duration) -> Duration {
    (0..20).map(|_| work()).min().unwrap_or_default()
}

/// In reads of 64 KiB, as from a socket. Filling the buffer is not measured on either side.
fn scan(wire: &[u8]) -> Duration {
    let (mut reader, mut total) = (DotReader::default(), 0);
    let mut buffer = BytesMut::new();
    let mut taken = Duration::ZERO;
    for piece in wire.chunks(64 * 1024) {
        buffer.extend_from_slice(piece);
        let begun = Instant::now();
        while let BodyPart::Chunk(chunk) = reader.next(&mut buffer) {
            total += chunk.len();
        }
        taken += begun.elapsed();
    }
    black_box(total);
    taken
}

fn scan_theirs(wire: &[u8]) -> Duration {
    let mut receiver = DataReceiver::new();
    let mut body = Vec::new();
    let mut taken = Duration::ZERO;
    for piece in wire.chunks(64 * 1024) {
        let begun = Instant::now();
        let done = receiver.ingest(&mut piece.iter(), &mut body);
        taken += begun.elapsed();
        if done {
            break;
        }
    }
    black_box(body.len());
    taken
}

/// One connection, one message.
fn session() -> usize {
    thread_local! {
        static CONFIG: Arc<Config> =
            Arc::new(Config::smtp("mail.example.com").unwrap_or_else(|error| unreachable!("{error}")));
        static INPUT: Vec<u8> = format!(
            "EHLO client.example.org\r\nMAIL FROM:<ann@example.org> SIZE=4096\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n\
             Subject: x\r\n\r\n{}.\r\nQUIT\r\n",
            "The quick brown fox jumps over the lazy dog.\r\n".repeat(88)
        )
        .into_bytes();
    }
    let mut server = Server::new(CONFIG.with(Arc::clone), Peer::unknown());
    let mut rx = INPUT.with(|input| BytesMut::from(&input[..]));
    let (now, mut size) = (Instant::now(), 0);
    loop {
        match server.poll(now, &mut rx) {
            Output::Event(Event::Hello(ask)) => drop(server.answer(ask, Ok(()))),
            Output::Event(Event::Mail(ask)) => drop(server.answer(ask, Reply::SENDER_OK)),
            Output::Event(Event::Rcpt(ask)) => drop(server.answer(ask, Reply::RECIPIENT_OK)),
            Output::Event(Event::Message(ask)) => drop(server.answer(ask, Ok(()))),
            Output::Event(Event::Body(chunk)) => size += chunk.len(),
            Output::Event(Event::BodyEnd(ask)) => drop(server.answer(ask, Reply::OK.into())),
            Output::Event(other) => server.decline(other),
            Output::Close => return size + server.transmit().remaining(),
            Output::Wait(_) | Output::Start(_) => return 0,
        }
    }
}
