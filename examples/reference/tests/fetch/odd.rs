//! Servers from which messages can be deleted, and which have what few have.
#![allow(unreachable_pub, dead_code, reason = "a module of several test programs")]

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// A server whose state can be changed while it runs.
pub struct Odd<T> {
    pub port: u16,
    state: Arc<Mutex<T>>,
}

impl<T: Send + 'static> Odd<T> {
    pub fn start(state: T, serve: fn(BufReader<TcpStream>, &Mutex<T>) -> Option<()>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(BufReader::new(stream.unwrap()), &shared));
            }
        });
        Self { port, state }
    }

    pub fn with<R>(&self, how: impl FnOnce(&mut T) -> R) -> R {
        how(&mut self.state.lock().unwrap())
    }
}

/// A maildrop: unique ids and messages.
#[derive(Default)]
pub struct Maildrop {
    pub messages: Vec<(&'static str, String)>,
    /// Whether there is no UIDL.
    pub nameless: bool,
    /// What RETR does not give.
    pub refused: Option<String>,
    /// At which RETR the server hangs up, in the middle.
    pub breaks: Option<String>,
    /// The messages that were given, whole.
    pub given: Vec<String>,
}

pub fn pop3(mut stream: BufReader<TcpStream>, state: &Mutex<Maildrop>) -> Option<()> {
    let messages = state.lock().unwrap().messages.clone();
    let mut deleted = BTreeSet::new();
    stream.get_mut().write_all(b"+OK here\r\n").ok()?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let mut state = state.lock().unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let place = words.get(1).and_then(|word| word.parse::<usize>().ok()).map(|number| number - 1);
        let list = |line: &dyn Fn(&(&'static str, String)) -> String| {
            let lines = messages.iter().enumerate();
            lines.map(|(at, message)| format!("{} {}\r\n", at + 1, line(message))).collect::<String>()
        };
        let answer = match words[0] {
            "CAPA" | "AUTH" => "-ERR no\r\n".to_owned(),
            "LIST" => format!("+OK\r\n{}.\r\n", list(&|(_, text)| text.len().to_string())),
            "UIDL" if state.nameless => "-ERR what?\r\n".to_owned(),
            "UIDL" => format!("+OK\r\n{}.\r\n", list(&|(id, _)| (*id).to_owned())),
            "TOP" => format!("+OK\r\n{}\r\n\r\n.\r\n", messages[place?].1.split("\r\n\r\n").next()?),
            "RETR" if state.refused.as_ref() == Some(&messages[place?].1) => {
                "-ERR [SYS/TEMP] later\r\n".to_owned()
            }
            "RETR" if state.breaks.as_ref() == Some(&messages[place?].1) => {
                stream.get_mut().write_all(b"+OK\r\nSubject: bro").ok()?;
                return None;
            }
            "RETR" => {
                state.given.push(messages[place?].1.clone());
                format!("+OK\r\n{}.\r\n", messages[place?].1)
            }
            "DELE" => {
                deleted.insert(place?);
                "+OK\r\n".to_owned()
            }
            "QUIT" => {
                let mut at = 0;
                state.messages.retain(|_| {
                    at += 1;
                    !deleted.contains(&(at - 1))
                });
                stream.get_mut().write_all(b"+OK bye\r\n").ok()?;
                return None;
            }
            _ => "+OK\r\n".to_owned(),
        };
        drop(state);
        stream.get_mut().write_all(answer.as_bytes()).ok()?;
    }
}

/// Mailboxes.
#[derive(Default)]
pub struct Mailboxes {
    pub all: Vec<Mailbox>,
    pub delimiter: Option<char>,
    /// The text of a message that FETCH does not give.
    pub refused: Option<String>,
    /// What is wrong with the message of a UID.
    pub tricks: Vec<(u32, &'static str)>,
    /// The commands that came.
    pub log: Vec<String>,
}

/// A mailbox as it is called on the wire, with the UIDs and texts of its messages.
#[derive(Clone)]
pub struct Mailbox {
    pub name: &'static str,
    pub attributes: &'static str,
    pub messages: Vec<(u32, String)>,
    /// What SELECT says, and whether STORE does something.
    pub read_only: bool,
    pub fixed: bool,
    /// Whether it is listed only.
    pub closed: bool,
}

impl Mailbox {
    pub fn new(name: &'static str, attributes: &'static str, texts: &[String]) -> Self {
        let messages = (1..).zip(texts.iter().cloned()).collect();
        Self { name, attributes, messages, read_only: false, fixed: false, closed: false }
    }
}

impl Mailboxes {
    pub fn of(all: Vec<Mailbox>) -> Self {
        Self { all, delimiter: Some('/'), ..Self::default() }
    }

    /// How many messages a mailbox has.
    pub fn count(&self, name: &str) -> usize {
        self.all.iter().find(|mailbox| mailbox.name == name).unwrap().messages.len()
    }
}

/// The numbers that a set names.
fn set(text: &str) -> BTreeSet<u32> {
    let range = |part: &str| {
        let (first, last) = part.split_once(':').unwrap_or((part, part));
        first.parse::<u32>().unwrap()..=last.parse::<u32>().unwrap()
    };
    text.split(',').flat_map(range).collect()
}

pub fn imap(mut stream: BufReader<TcpStream>, state: &Mutex<Mailboxes>) -> Option<()> {
    const ABLE: &str = "IMAP4rev1 UIDPLUS SPECIAL-USE";
    let mut open = 0;
    stream.get_mut().write_all(format!("* OK [CAPABILITY {ABLE}] here\r\n").as_bytes()).ok()?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let mut state = state.lock().unwrap();
        state.log.push(line.trim_end().to_owned());
        let (tag, command) = line.trim_end().split_once(' ')?;
        let words: Vec<&str> = command.split(' ').collect();
        let verb = match words[0] {
            "UID" => format!("UID {}", words[1]),
            verb => verb.to_owned(),
        };
        let (mut said, mut end) = (String::new(), "OK done");
        match verb.as_str() {
            "CAPABILITY" => said = format!("* CAPABILITY {ABLE}\r\n"),
            "LSUB" if !state.tricks.is_empty() => end = "BAD what?",
            "LIST" if command.contains("SUBSCRIBED") => end = "BAD what is that?",
            "LIST" => {
                let delimiter = state.delimiter.map_or_else(|| "NIL".to_owned(), |one| format!("\"{one}\""));
                for Mailbox { name, attributes, .. } in &state.all {
                    said += &format!("* LIST ({attributes}) {delimiter} \"{name}\"\r\n");
                }
            }
            "SELECT" | "EXAMINE" => {
                let name = command.split_once(' ')?.1.trim_matches('"');
                match state.all.iter().position(|mailbox| mailbox.name == name && !mailbox.closed) {
                    Some(found) => {
                        open = found;
                        let mailbox = &state.all[found];
                        let next = mailbox.messages.iter().map(|(uid, _)| uid + 1).max().unwrap_or(1);
                        said = format!(
                            "* {} EXISTS\r\n* FLAGS (\\Seen \\Deleted)\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT {next}] x\r\n",
                            mailbox.messages.len()
                        );
                        end = if mailbox.read_only { "OK [READ-ONLY] x" } else { "OK [READ-WRITE] x" };
                    }
                    None => end = "NO there is none",
                }
            }
            "UID SEARCH" => {
                let uids: Vec<_> = state.all[open].messages.iter().map(|(uid, _)| uid.to_string()).collect();
                said = format!("* SEARCH {}\r\n", uids.join(" "));
            }
            "UID FETCH" => {
                let wanted = set(words[2]);
                for (at, (uid, text)) in state.all[open].messages.iter().enumerate() {
                    if !wanted.contains(uid) {
                        continue;
                    }
                    if command.contains("BODY") && state.refused.as_ref() == Some(text) {
                        end = "NO later";
                        continue;
                    }
                    if command.contains("BODY") && state.tricks.contains(&(*uid, "break")) {
                        let begun = format!("* {} FETCH (UID {uid} BODY[] {{{}}}\r\nSub", at + 1, text.len());
                        stream.get_mut().write_all(begun.as_bytes()).ok()?;
                        return None;
                    }
                    let envelope = match command.contains("ENVELOPE") {
                        true => {
                            let subject = text.lines().find_map(|line| line.strip_prefix("Subject: "))?;
                            format!(" ENVELOPE (NIL \"{subject}\" NIL NIL NIL NIL NIL NIL NIL NIL)")
                        }
                        false => String::new(),
                    };
                    let has = |trick| state.tricks.contains(&(*uid, trick));
                    let date = match (has("date"), command.contains("INTERNALDATE")) {
                        (true, true) => " INTERNALDATE \"99-Foo-2024\"",
                        (true, false) => "",
                        _ => " INTERNALDATE \"01-Jan-2024 00:00:00 +0000\"",
                    };
                    let size = if has("nothing") { "none".to_owned() } else { text.len().to_string() };
                    let named = if has("other") && command.contains("BODY") { 99 } else { *uid };
                    let head = format!(
                        "* {} FETCH (UID {named} FLAGS (\\Seen){date} RFC822.SIZE {size}{envelope}",
                        at + 1
                    );
                    let header = format!("{}\r\n\r\n", text.split("\r\n\r\n").next()?);
                    said += &match (command.contains("HEADER"), command.contains("BODY")) {
                        (true, _) => format!("{head} BODY[HEADER] {{{}}}\r\n{header})\r\n", header.len()),
                        (_, true) if has("nil") => format!("{head} BODY[] NIL)\r\n"),
                        (_, true) => format!("{head} BODY[] {{{}}}\r\n{text})\r\n", text.len())
                            .repeat(if has("twice") { 2 } else { 1 }),
                        _ => format!("{head})\r\n"),
                    };
                }
            }
            "UID STORE" if state.all[open].fixed || state.all[open].read_only => end = "NO [NOPERM] not here",
            "UID EXPUNGE" => {
                let gone = set(words[2]);
                state.all[open].messages.retain(|(uid, _)| !gone.contains(uid));
            }
            "LOGOUT" => said = "* BYE\r\n".to_owned(),
            _ => {}
        }
        drop(state);
        stream.get_mut().write_all(format!("{said}{tag} {end}\r\n").as_bytes()).ok()?;
        if verb == "LOGOUT" {
            return None;
        }
    }
}
