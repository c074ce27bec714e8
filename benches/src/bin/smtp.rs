//! SMTP without a network: parsing commands and finding the end of data against the crate `smtp-proto`, and whole
//! sessions in memory.
//!
//! The two take turns in many short rounds, and what is told are medians: whatever else the machine does falls on both.
//!
//! They do not do the same. What `smtp-proto` makes of a command borrows from the input; it is measured so, and once more with what
//! whoever keeps it has to do beside, as ours has done it: the copy, and of AUTH the Base64. It looks for the end of the line, which ours
//! is given; ours checks what names of hosts are made of, and that no control character is anywhere.
//!
//! With a command as its argument and `ours`, `theirs` or `owned` behind it, it is parsed ten thousand times and nothing else is done,
//! for a profiler.

use std::{
    hint::black_box,
    io::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
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

/// How long whole sessions are measured, of which the best of several rounds counts.
const ROUND: Duration = Duration::from_millis(200);
/// How often the two take turns, and how many commands a turn has.
const TURNS: usize = 401;
const COMMANDS_A_TURN: u32 = 2_000;
/// How often they take turns at a body of about a megabyte.
const BODIES: usize = 201;

const COMMANDS: &[&str] = &[
    "EHLO client.example.org",
    "MAIL FROM:<ann@example.org>",
    "MAIL FROM:<ann@example.org> SIZE=12345 BODY=8BITMIME SMTPUTF8",
    "MAIL FROM:<ann@example.org> RET=HDRS ENVID=QQ314159 MT-PRIORITY=3 BY=120;R",
    "RCPT TO:<bob@example.com>",
    "RCPT TO:<bob@example.com> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;bob@example.com",
    "BDAT 65536 LAST",
    "AUTH PLAIN AGFubgBzZWNyZXQ=",
    "DATA",
    "NOOP",
    "QUIT",
];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, whose] = &arguments[..] {
        let parser = match &**whose {
            "ours" => Parser::Ours,
            "owned" => Parser::Owned,
            _ => Parser::Theirs,
        };
        repeat(command, parser, 10_000);
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:<82} {:>9} {:>11} {:>6} {:>9} {:>6}",
        "command, ns", "this", "smtp-proto", "ratio", "as values", "ratio"
    )?;
    for command in COMMANDS {
        let timed = |parser| {
            let begun = Instant::now();
            repeat(command, parser, COMMANDS_A_TURN);
            begun.elapsed()
        };
        let against = |other| in_turns(TURNS, || timed(Parser::Ours), || timed(other));
        let ([ours, theirs, ratio], [_, owned, owned_ratio]) =
            (against(Parser::Theirs), against(Parser::Owned));
        let [ours, theirs, owned] =
            [ours, theirs, owned].map(|seconds| seconds * 1e9 / f64::from(COMMANDS_A_TURN));
        writeln!(
            out,
            "{command:<82} {ours:>9.1} {theirs:>11.1} {ratio:>6.2} {owned:>9.1} {owned_ratio:>6.2}"
        )?;
    }
    writeln!(out, "\n{:<82} {:>9} {:>11} {:>6}", "end of data, MB/s", "this", "smtp-proto", "ratio")?;
    let text = "The quick brown fox jumps over the lazy dog, again and again and again.\r\n".repeat(14_000);
    let base64 = format!("{}\r\n", "QUJD".repeat(19)).repeat(13_000);
    let dots = "..\r\n".repeat(200_000);
    let binary = "x".repeat(1 << 20) + "\r\n";
    for (name, body) in [("text", text), ("base64", base64), ("dots", dots), ("one line", binary)] {
        let wire = format!("{body}.\r\n").into_bytes();
        let size = wire.len() as f64 / 1e6;
        let [ours, theirs, ratio] = in_turns(BODIES, || scan(&wire), || scan_theirs(&wire));
        writeln!(out, "{name:<82} {:>9.0} {:>11.0} {ratio:>6.2}", size / ours, size / theirs)?;
    }
    let session = mailwright_benches::rate(ROUND, || {
        black_box(session());
    });
    writeln!(out, "\nmessages of 4 KiB through a whole session in memory: {session:.0} a second")?;
    Ok(())
}

/// Whose parser, and whether what it makes is copied out of the line.
#[derive(Clone, Copy)]
enum Parser {
    Ours,
    Theirs,
    Owned,
}

/// What is kept of a command of `smtp-proto`.
#[expect(dead_code, reason = "to be made is all that becomes of it")]
enum Kept {
    Auth(u64, std::result::Result<Vec<u8>, base64::DecodeError>),
    Other(Request<String>),
}

/// Parses a command so many times.
fn repeat(command: &str, parser: Parser, times: u32) {
    let line = format!("{command}\r\n");
    let line = line.as_bytes();
    // What is made is looked at where it is, and not copied once more.
    match parser {
        Parser::Ours => {
            for _ in 0..times {
                black_box(&Command::parse(black_box(command.as_bytes()), Syntax::Strict));
            }
        }
        Parser::Theirs => {
            for _ in 0..times {
                black_box(&Request::parse(&mut black_box(line).iter()));
            }
        }
        Parser::Owned => {
            for _ in 0..times {
                black_box(&Request::parse(&mut black_box(line).iter()).map(|request| match request {
                    Request::Auth { mechanism, initial_response } => {
                        Kept::Auth(mechanism, STANDARD.decode(initial_response.as_bytes()))
                    }
                    request => Kept::Other(request.into_owned()),
                }));
            }
        }
    }
}

/// The median of the seconds that each takes, and of how many times as long the second takes in the same turn.
fn in_turns(
    turns: usize,
    mut ours: impl FnMut() -> Duration,
    mut theirs: impl FnMut() -> Duration,
) -> [f64; 3] {
    let mut all = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..turns {
        let (ours, theirs) = (ours().as_secs_f64(), theirs().as_secs_f64());
        for (values, value) in all.iter_mut().zip([ours, theirs, theirs / ours]) {
            values.push(value);
        }
    }
    all.map(|mut values| {
        values.sort_by(f64::total_cmp);
        values.get(turns / 2).copied().unwrap_or_default()
    })
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
