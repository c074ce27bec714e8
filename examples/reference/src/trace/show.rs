//! `trace`: what the journal has of a message or an address.

use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

use mailwright::mail_model::DateTime;
use thiserror::Error;

use super::{FOLDER, Record, files::files};
use crate::{
    command::{CommandError, print_json},
    config::{Config, Period},
};

/// So many messages are shown: the last ones.
const MOST: usize = 1_000;
/// So many refusals of no message are.
const MOST_LOOSE: usize = 1_000;

/// Why nothing is told.
#[derive(Debug, Error)]
pub(crate) enum TraceError {
    #[error("nothing is kept: set keep in [trace] of the configuration")]
    NotKept,
    #[error(
        "nothing about {wanted} in the last {kept}; a message is named by its Message-ID, by the id in the reply to it, or by an address"
    )]
    Nothing { wanted: String, kept: Period },
    #[error("cannot read {folder}: {source}")]
    Read { folder: String, source: io::Error },
}

/// The life of every message that is meant.
pub(crate) fn life_of(config: &Config, wanted: &str) -> Result<Found, TraceError> {
    let folder = config.data.join(FOLDER);
    let found = find(&folder, wanted)
        .map_err(|source| TraceError::Read { folder: folder.display().to_string(), source })?;
    match (found.lives.is_empty() && found.loose.is_empty(), config.trace.keep) {
        (false, _) => Ok(found),
        (true, kept) if kept.is_never() => Err(TraceError::NotKept),
        (true, kept) => Err(TraceError::Nothing { wanted: wanted.to_owned(), kept }),
    }
}

/// Prints the life of every message that is meant.
pub(crate) fn run(config: &Config, wanted: &str, json: bool) -> Result<(), CommandError> {
    let found = life_of(config, wanted)?;
    for (number, record) in found.records().enumerate() {
        if json {
            print_json(record)?;
            continue;
        }
        let first = record.what == "accepted" || record.what == "fetched";
        if number > 0 && first {
            println!();
        }
        println!("{}  {}", moment(record.at), phrase(record));
    }
    if found.left_out > 0 {
        eprintln!("{} older messages are not shown", found.left_out);
    }
    Ok(())
}

/// What there is.
#[derive(Default)]
pub(crate) struct Found {
    /// Of each message, in the order in which they came.
    lives: Vec<Vec<Record>>,
    /// What was refused before there was a message.
    loose: VecDeque<Record>,
    pub(crate) left_out: usize,
}

impl Found {
    /// All of them, in the order in which they are told.
    pub(crate) fn into_records(self) -> Vec<Record> {
        self.loose.into_iter().chain(self.lives.into_iter().flatten()).collect()
    }

    fn records(&self) -> impl Iterator<Item = &Record> {
        self.loose.iter().chain(self.lives.iter().flatten())
    }
}

fn find(folder: &Path, wanted: &str) -> io::Result<Found> {
    let files = match files(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::default()),
        files => files?,
    };
    let wanted = wanted.trim().trim_matches(['<', '>']).to_lowercase();
    let mut found = Found::default();
    // Which messages are meant, by what is said of them; a report about one of them belongs to it.
    let (mut places, mut order): (HashMap<String, usize>, VecDeque<String>) = Default::default();
    each(&files, |record, line| {
        let id = record.field("id").to_owned();
        let about = places.contains_key(&id) || (line.contains(&wanted) && names(&record, &wanted));
        if !about {
            return;
        }
        if id.is_empty() {
            found.loose.push_back(record);
            if found.loose.len() > MOST_LOOSE {
                found.loose.pop_front();
            }
            return;
        }
        for id in [id, record.field("report").to_owned()] {
            if !id.is_empty() && !places.contains_key(&id) {
                places.insert(id.clone(), 0);
                order.push_back(id);
            }
        }
        while order.len() > MOST {
            found.left_out += 1;
            if let Some(oldest) = order.pop_front() {
                places.remove(&oldest);
            }
        }
    })?;
    for (place, id) in order.iter().enumerate() {
        places.insert(id.clone(), place);
    }
    found.lives.resize(order.len(), Vec::new());
    each(&files, |record, _| {
        if let Some(life) = places.get(record.field("id")).and_then(|place| found.lives.get_mut(*place)) {
            life.push(record);
        }
    })?;
    Ok(found)
}

/// Every record, and its line in lower case. Lines that cannot be read are left out: a process that was killed left them.
fn each(files: &[std::path::PathBuf], mut visit: impl FnMut(Record, &str)) -> io::Result<()> {
    for path in files {
        let mut lines = BufReader::new(File::open(path)?);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            let text = String::from_utf8_lossy(&line);
            if let Ok(record) = serde_json::from_str::<Record>(&text) {
                visit(record, &text.to_lowercase());
            }
            line.clear();
        }
    }
    Ok(())
}

/// Whether a record is about this id, Message-ID or address.
fn names(record: &Record, wanted: &str) -> bool {
    let bare = |text: &str| text.trim_matches(['<', '>']).to_lowercase();
    ["id", "message_id", "from", "to", "user", "rcpt", "name"]
        .iter()
        .any(|field| record.field(field).split(", ").any(|value| bare(value) == wanted))
}

fn moment(at: u64) -> String {
    let seconds = i64::try_from(at / 1_000).unwrap_or(0);
    let text = DateTime::new(seconds, 0).unwrap_or(DateTime::EPOCH).to_rfc5322();
    text.trim_end_matches(" +0000").to_owned()
}

/// A record in words.
fn phrase(record: &Record) -> String {
    let field = |name: &str| record.field(name);
    let some = |before: &str, name: &str, after: &str| match record.field(name) {
        "" => String::new(),
        value => format!("{before}{value}{after}"),
    };
    let id = some("", "id", "  ");
    let words = match &*record.what {
        "accepted" => {
            let by = [
                some(", hello ", "hello", ""),
                some(", logged in as ", "user", ""),
                some(", local user ", "local", ""),
            ];
            let tls = if field("tls") == "true" { ", by TLS" } else { "" };
            let message = some(", Message-ID ", "message_id", "");
            format!(
                "accepted from {}{}{tls}: sender {}, {} octets{message}",
                field("peer"),
                by.concat(),
                field("from"),
                field("size")
            )
        }
        "recipient" => format!("for {}: {}", field("to"), right(field("rule"))),
        "filtered" => {
            let into = if field("into").is_empty() { "no mailbox" } else { field("into") };
            let more = [some(", sends to ", "sent", ""), some(", refuses: ", "refused", "")];
            format!("the filter of {} chose {into}{}", field("user"), more.concat())
        }
        "delivered" => {
            format!("delivered to {}, {}{}", field("user"), field("mailbox"), some(" (", "why", ")"))
        }
        "queued" => {
            format!("in the queue for {}: {}{}", field("destination"), field("to"), some(" (", "why", ")"))
        }
        "message" => format!("for {}: replied {}", field("to"), field("reply")),
        "sent on" => {
            let after = format!("after {} s", field("delay"));
            format!("{} {}, {after}: {}", field("status"), field("to"), field("reply"))
        }
        "sender told" => format!(
            "the sender {} is told ({}), by message {}",
            field("to"),
            field("action"),
            field("report")
        ),
        "refused by policy" => {
            format!(
                "refused to take mail for {} from {}: rule {}",
                field("rcpt"),
                field("peer"),
                field("rule")
            )
        }
        what => {
            let rest: Vec<String> = record
                .fields
                .iter()
                .filter(|(name, _)| *name != "id")
                .map(|(name, value)| format!("{name} {value}"))
                .collect();
            format!("{what}: {}", rest.join(", "))
        }
    };
    format!("{id}{words}")
}

/// The right by which somebody could write to a recipient.
fn right(rule: &str) -> String {
    match rule {
        "logged-in" => "allowed, for the client is logged in",
        "local-user" => "allowed, for it comes from a program of this machine",
        "network" => "allowed, for the client is in a network that may relay",
        "relay-domain" => "allowed, for we relay for its domain",
        "recipient-here" => "allowed, for it is one of ours",
        "journal-or-bcc" => "a copy, as journal or always-Bcc",
        other => other,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_found_by_whatever_is_known_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let lines = [
            r#"{"at":1,"what":"refused by policy","rcpt":"<Bob@b.example>","peer":"192.0.2.1:7","rule":"recipients"}"#,
            r#"{"at":2,"what":"accepted","id":"AA","from":"<ann@a.example>","message_id":"<1@a.example>","peer":"p","size":"9"}"#,
            r#"{"at":3,"what":"recipient","id":"AA","to":"bob@b.example","rule":"logged-in"}"#,
            r#"{"at":3,"what":"accepted","id":"BB","from":"<x@c.example>","message_id":"<2@c.example>"}"#,
            r#"{"at":4,"what":"sent on","id":"AA","to":"bob@b.example","status":"bounced","reply":"550 no"}"#,
            r#"{"at":5,"what":"sender told","id":"AA","report":"CC","to":"ann@a.example"}"#,
            r#"{"at":5,"what":"delivered","id":"CC","user":"ann@a.example","mailbox":"INBOX"}"#,
            r#"{"at":6,"wha"#,
        ];
        std::fs::write(folder.path().join("2024-01-01.jsonl"), lines.join("\n")).unwrap();
        for (wanted, ids, loose) in [
            ("aa", "AA CC", 0),
            ("<1@a.example>", "AA CC", 0),
            ("1@A.example", "AA CC", 0),
            ("bob@b.example", "AA CC", 1),
            ("ann@a.example", "AA CC", 0),
            ("BB", "BB", 0),
            ("x@c.example", "BB", 0),
            ("b@b.example", "", 0),
            ("example", "", 0),
        ] {
            let found = find(folder.path(), wanted).unwrap();
            let shown: Vec<&str> =
                found.lives.iter().filter_map(|life| Some(life.first()?.field("id"))).collect();
            assert_eq!((shown.join(" ").as_str(), found.loose.len()), (ids, loose), "{wanted}");
        }
        let found = find(folder.path(), "AA").unwrap();
        let told: Vec<String> = found.records().map(phrase).collect();
        assert!(told[1].contains("for the client is logged in"), "{told:?}");
        assert!(told[2].contains("bounced bob@b.example"), "{told:?}");
        assert_eq!(find(Path::new("/nowhere"), "x").unwrap().lives.len(), 0);
    }
}
