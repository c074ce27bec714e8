//! IMAP without a network: reading commands and responses beside the crate `imap-codec`, and that the time grows with the length.
//!
//! `imap --run this|imap-codec ROW COUNT` does the work of one row so often and no more, for programs that count instructions: the
//! difference between two counts is that of the row alone, whatever else the machine does.

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
    "SEARCH ALL",
    "SEARCH UNSEEN",
    "UID SEARCH UID 1:4000 UNDELETED",
    "UID SEARCH OR FROM \"Smith\" SUBJECT \"tea\"",
    "UID SEARCH BEFORE 1-Feb-1994 LARGER 100000",
    "SEARCH FLAGGED SINCE 1-Feb-1994 NOT FROM \"Smith\"",
    "COPY 2:4 MEETING",
    "IDLE",
];

const RESPONSES: &[(&str, &str)] = &[
    ("an OK", "* OK [UIDVALIDITY 3857529045] UIDs valid\r\n"),
    ("a count", "* 23 EXISTS\r\n"),
    ("flags of a mailbox", "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n"),
    ("numbers of a mailbox", "* STATUS blurdybloop (MESSAGES 231 UIDNEXT 44292)\r\n"),
    (
        "more of them",
        "* STATUS INBOX (MESSAGES 231 RECENT 1 UIDNEXT 44292 UIDVALIDITY 3857529045 UNSEEN 17)\r\n",
    ),
    ("what was found", "* SEARCH 2 84 882\r\n"),
    ("what it can do", "* CAPABILITY IMAP4rev1 STARTTLS AUTH=GSSAPI LOGINDISABLED\r\n"),
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

/// A row of a table, and what is done for it by either crate.
struct Row<'a> {
    table: &'static str,
    name: &'static str,
    ours: Box<dyn FnMut() + 'a>,
    theirs: Box<dyn FnMut() + 'a>,
}

fn rows<'a>(messages: &'a UidSet, none: &'a UidSet) -> Result<Vec<Row<'a>>> {
    let mut rows = Vec::new();
    for command in COMMANDS {
        let line = format!("A001 {command}\r\n");
        let codec = CommandCodec::default();
        codec
            .decode(line.as_bytes())
            .map_err(|error| format!("imap-codec does not know {command}: {error:?}"))?;
        let read = move |line: &str| {
            let mut input = Input::new(black_box(line.trim_end().as_bytes()));
            input.tag()?;
            input.space()?;
            Command::parse(&mut input, SearchContext::new(messages, none))
        };
        read(&line).map_err(|error| format!("{command}: {error}"))?;
        let copy = line.clone();
        let ours = Box::new(move || drop(black_box(read(&line))));
        let theirs = Box::new(move || drop(black_box(codec.decode(black_box(copy.as_bytes())))));
        rows.push(Row { table: "command, ns", name: command, ours, theirs });
    }
    for (name, line) in RESPONSES {
        let codec = ResponseCodec::default();
        codec
            .decode(line.as_bytes())
            .map_err(|error| format!("imap-codec does not know {name}: {error:?}"))?;
        let read = move || Response::parse(black_box(line.as_bytes()), Leniency::strict());
        read().map_err(|error| format!("{name}: {error}"))?;
        let ours = Box::new(move || drop(black_box(read())));
        let theirs = Box::new(move || drop(black_box(codec.decode(black_box(line.as_bytes())))));
        rows.push(Row { table: "response, ns", name, ours, theirs });
    }
    Ok(rows)
}

/// Does the work of a row so often.
fn run(rows: Vec<Row<'_>>, whose: &str, name: &str, count: u32) -> Result<()> {
    let row = rows.into_iter().find(|row| row.name == name).ok_or("there is no such row")?;
    let mut work = if whose == "this" { row.ours } else { row.theirs };
    (0..count).for_each(|_| work());
    Ok(())
}

fn main() -> Result<()> {
    let messages: UidSet = "1:5000000".parse()?;
    let none = UidSet::new();
    let rows = rows(&messages, &none)?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [option, whose, row, count] = &arguments[..]
        && option == "--run"
    {
        return run(rows, whose, row, count.parse()?);
    }
    let mut out = std::io::stdout().lock();
    let mut table = "";
    for Row { table: title, name, ours, theirs } in rows {
        if std::mem::replace(&mut table, title) != title {
            writeln!(out, "\n{title:<60} {:>9} {:>11} {:>6}", "this", "imap-codec", "ratio")?;
        }
        row(&mut out, name, 1e9 / rate(ours), 1e9 / rate(theirs))?;
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
