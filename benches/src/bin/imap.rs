//! IMAP without a network: reading commands and responses beside the crate `imap-codec`, and that the time grows with the length.

use std::{
    hint::black_box,
    io::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use imap_codec::{CommandCodec, ResponseCodec, decode::Decoder};
use mailwright_benches::Result;
use mailwright_imap_proto::{
    MessageSet, SequenceSet,
    client::{Client, Config, Event},
    command::{Command, Fetch, FetchItem, SearchContext, Select},
    grammar::Input,
    response::{Leniency, Response},
};
use mailwright_line_proto::{Login, Machine, Output, Secret};
use mailwright_mail_model::{MailboxName, UidSet};

/// How long each row is measured, of which the best of several rounds counts.
const ROUND: Duration = Duration::from_millis(100);

/// What both crates know.
const COMMANDS: &[&str] = &[
    "NOOP",
    "LOGIN SMITH SESAME",
    "SELECT INBOX",
    "LIST \"\" *",
    "STATUS blurdybloop (UIDNEXT MESSAGES)",
    "FETCH 2:4 (FLAGS BODY[HEADER.FIELDS (DATE FROM)])",
    "UID FETCH 4827313:4828442 (FLAGS ENVELOPE BODYSTRUCTURE)",
    "STORE 2:4 +FLAGS (\\Deleted)",
    "SEARCH FLAGGED SINCE 1-Feb-1994 NOT FROM \"Smith\"",
    "COPY 2:4 MEETING",
    "IDLE",
];

const RESPONSES: &[(&str, &str)] = &[
    ("an OK", "* OK [UIDVALIDITY 3857529045] UIDs valid\r\n"),
    ("a count", "* 23 EXISTS\r\n"),
    ("flags of a mailbox", "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n"),
    ("a mailbox", "* LIST (\\Noselect) \"/\" foo\r\n"),
    ("flags of a message", "* 12 FETCH (FLAGS (\\Seen) UID 4827313 RFC822.SIZE 44827)\r\n"),
    (
        "an envelope",
        "* 12 FETCH (ENVELOPE (\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev1 WG mtg summary and minutes\" \
         ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) \
         ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((NIL NIL \"imap\" \"cac.washington.edu\")) \
         ((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL \
         \"<B27397-0100000@cac.washington.edu>\"))\r\n",
    ),
    (
        "a structure",
        "* 12 FETCH (BODYSTRUCTURE ((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 1152 23 NIL NIL NIL NIL)\
         (\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\" \"NAME\" \"cc.diff\") \"<960723163407.20117h@cac.washington.edu>\" \
         \"Compiler diff\" \"BASE64\" 4554 73 NIL NIL NIL NIL) \"MIXED\" (\"BOUNDARY\" \"x\") NIL NIL NIL))\r\n",
    ),
];

fn main() -> Result<()> {
    let mut out = std::io::stdout().lock();
    let head = |out: &mut dyn std::io::Write, title: &str, theirs: &str| {
        writeln!(out, "\n{title:<60} {:>9} {theirs:>11} {:>6}", "this", "ratio")
    };
    head(&mut out, "command, ns", "imap-codec")?;
    let codec = CommandCodec::default();
    let messages: UidSet = "1:5000000".parse()?;
    let none = UidSet::new();
    for command in COMMANDS {
        let line = format!("A001 {command}\r\n");
        codec
            .decode(line.as_bytes())
            .map_err(|error| format!("imap-codec does not know {command}: {error:?}"))?;
        let read = || {
            let mut input = Input::new(black_box(line.trim_end().as_bytes()));
            input.tag()?;
            input.space()?;
            Command::parse(&mut input, SearchContext::new(&messages, &none))
        };
        read().map_err(|error| format!("{command}: {error}"))?;
        let ours = rate(|| drop(black_box(read())));
        let theirs = rate(|| drop(black_box(codec.decode(black_box(line.as_bytes())))));
        row(&mut out, command, 1e9 / ours, 1e9 / theirs)?;
    }
    head(&mut out, "response, ns", "imap-codec")?;
    let codec = ResponseCodec::default();
    for (name, line) in RESPONSES {
        codec
            .decode(line.as_bytes())
            .map_err(|error| format!("imap-codec does not know {name}: {error:?}"))?;
        let read = || Response::parse(black_box(line.as_bytes()), Leniency::strict());
        read().map_err(|error| format!("{name}: {error}"))?;
        let ours = rate(|| drop(black_box(read())));
        let theirs = rate(|| drop(black_box(codec.decode(black_box(line.as_bytes())))));
        row(&mut out, name, 1e9 / ours, 1e9 / theirs)?;
    }
    writeln!(
        out,
        "\n{:<60} {:>9} {:>11} {:>6}",
        "response in reads of 4 KiB, ms", "256 KiB", "2 MiB", "times"
    )?;
    for (name, make) in LENGTHS {
        let (small, large) = (make(256 << 10), make(2 << 20));
        let (small, large) = (client(&small), client(&large));
        let (small, large) = (small.as_secs_f64() * 1e3, large.as_secs_f64() * 1e3);
        writeln!(out, "{name:<60} {small:>9.2} {large:>11.2} {:>6.1}", large / small)?;
    }
    Ok(())
}

/// Both in nanoseconds; a ratio above 1 means that this is the faster one.
fn row(out: &mut dyn std::io::Write, name: &str, ours: f64, theirs: f64) -> std::io::Result<()> {
    writeln!(out, "{name:<60} {ours:>9.0} {theirs:>11.0} {:>6.1}", theirs / ours)
}

type Make = fn(usize) -> Vec<u8>;

/// What could cost by squares: eight times the length should cost eight times the time.
const LENGTHS: &[(&str, Make)] = &[
    ("a literal", |size| format!("* 1 FETCH (X {{{size}}}\r\n{})\r\n", "x".repeat(size)).into_bytes()),
    ("a body", |size| format!("* 1 FETCH (BODY[] {{{size}}}\r\n{})\r\n", "x".repeat(size)).into_bytes()),
    ("numbers", |size| format!("* SEARCH{}\r\n", " 1234567".repeat(size / 8)).into_bytes()),
    ("flags", |size| format!("* 1 FETCH (FLAGS ({}x))\r\n", "keyword ".repeat(size / 8)).into_bytes()),
    ("parentheses", |size| format!("* X {}\r\n", "(".repeat(size)).into_bytes()),
    ("many responses", |size| "* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n".repeat(size / 33).into_bytes()),
];

/// The least time that a client takes for this.
fn client(octets: &[u8]) -> Duration {
    (0..7).map(|_| read_all(octets)).min().unwrap_or_default()
}

fn read_all(octets: &[u8]) -> Duration {
    let mut config = Config::default();
    config.allow_plaintext_auth = true;
    let mut client = Client::new(Arc::new(config), [0; 32]);
    let mut events = 0_usize;
    let mut hear = |client: &mut Client, octets: &[u8]| {
        let (mut rx, now) = (BytesMut::new(), Instant::now());
        for piece in octets.chunks(4096) {
            rx.extend_from_slice(piece);
            while let Output::Event(event) = client.poll(now, &mut rx) {
                events += usize::from(!matches!(event, Event::Closed(_)));
            }
        }
    };
    hear(&mut client, b"* OK [CAPABILITY IMAP4rev1] ready\r\n");
    let _ = client.call(Login::new("ann", Secret::from("x")));
    hear(&mut client, b"aaaa1 OK in\r\n");
    let _ = client.call(Select::new(MailboxName::inbox(), false));
    hear(&mut client, b"* 9000 EXISTS\r\naaaa2 OK [READ-WRITE] open\r\n");
    let _ = client.call(Fetch::new(MessageSet::Uid(SequenceSet::all()), [FetchItem::Flags]));
    let begun = Instant::now();
    hear(&mut client, octets);
    let taken = begun.elapsed();
    black_box(events);
    taken
}

/// How often a second, at best.
fn rate(work: impl FnMut()) -> f64 {
    mailwright_benches::rate(ROUND, work)
}
