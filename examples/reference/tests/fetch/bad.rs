//! Servers that misbehave as they are told to.
#![allow(unreachable_pub, reason = "a module of a test program")]

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// A POP3 server.
pub struct Pop3 {
    pub port: u16,
    drop: Arc<Mutex<Maildrop>>,
}

/// What it has, and how it behaves.
pub struct Maildrop {
    pub messages: Vec<String>,
    /// Whether it shows nothing.
    pub hidden: bool,
    /// What UIDL says: "old" and "new" names, the "same" for all, or "none", and no TOP either.
    pub names: &'static str,
    /// Whether it answers everything with nonsense.
    pub nonsense: bool,
    /// How many messages it has given.
    given: usize,
}

impl Pop3 {
    pub fn start(messages: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let maildrop = Maildrop { messages, hidden: false, names: "old", nonsense: false, given: 0 };
        let drop = Arc::new(Mutex::new(maildrop));
        let shared = Arc::clone(&drop);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve_pop3(stream.unwrap(), &shared));
            }
        });
        Self { port, drop }
    }

    pub fn change(&self, how: impl FnOnce(&mut Maildrop)) {
        how(&mut self.drop.lock().unwrap());
    }
}

fn serve_pop3(stream: TcpStream, drop: &Mutex<Maildrop>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let say =
        |stream: &mut BufReader<TcpStream>, text: &str| stream.get_mut().write_all(text.as_bytes()).ok();
    say(&mut stream, "+OK here\r\n")?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let words: Vec<String> = line.split_whitespace().map(str::to_ascii_uppercase).collect();
        let mut state = drop.lock().unwrap();
        let count = if state.hidden { 0 } else { state.messages.len() };
        let number = words.get(1).and_then(|word| word.parse::<usize>().ok());
        let message = number.and_then(|number| state.messages.get(number - 1).cloned());
        let stuffed = |text: &str| text.replace("\r\n.", "\r\n..");
        let answer = match words[0].as_str() {
            _ if state.nonsense => "\0*\r\n250 what?\r\n".to_owned(),
            "CAPA" => "-ERR no\r\n".to_owned(),
            "LIST" => {
                let list: String = (0..count)
                    .map(|place| format!("{} {}\r\n", place + 1, state.messages[place].len()))
                    .collect();
                format!("+OK\r\n{list}.\r\n")
            }
            "UIDL" if state.names == "none" => "-ERR what is that?\r\n".to_owned(),
            "UIDL" => {
                let name = |place: usize| match state.names {
                    "same" => "same".to_owned(),
                    names => format!("{names}{place}"),
                };
                let list: String =
                    (0..count).map(|place| format!("{} {}\r\n", place + 1, name(place))).collect();
                format!("+OK\r\n{list}.\r\n")
            }
            "TOP" if state.names == "none" => "-ERR what is that?\r\n".to_owned(),
            "TOP" => {
                let message = message.unwrap();
                format!("+OK\r\n{}\r\n\r\n.\r\n", message.split("\r\n\r\n").next().unwrap())
            }
            "RETR" => {
                state.given += 1;
                let message = stuffed(&message.unwrap());
                if state.given.is_multiple_of(5) && state.names != "none" {
                    say(&mut stream, &format!("+OK\r\n{}", &message[..message.len() / 2]))?;
                    return None;
                }
                format!("+OK\r\n{message}.\r\n")
            }
            "STAT" => format!("+OK {count} 0\r\n"),
            "AUTH" => "-ERR no\r\n".to_owned(),
            "QUIT" => {
                say(&mut stream, "+OK bye\r\n")?;
                return None;
            }
            _ => "+OK\r\n".to_owned(),
        };
        std::mem::drop(state);
        say(&mut stream, &answer)?;
    }
}

/// An IMAP server.
pub struct Imap {
    pub port: u16,
    mailbox: Arc<Mutex<Mailbox>>,
}

/// What it has, and how it behaves.
pub struct Mailbox {
    pub messages: Vec<String>,
    pub validity: u32,
    /// Whether it gives another message than that which is asked for.
    pub mixed_up: bool,
    /// What it says to SEARCH, if not the truth.
    pub found: Option<&'static str>,
    /// Whether it can do IDLE, and says each time that there is news. How often it was asked for it.
    pub restless: bool,
    pub idles: usize,
}

impl Imap {
    pub fn start(messages: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mailbox = Arc::new(Mutex::new(Mailbox {
            messages,
            validity: 1,
            mixed_up: true,
            found: None,
            restless: false,
            idles: 0,
        }));
        let shared = Arc::clone(&mailbox);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve_imap(stream.unwrap(), &shared));
            }
        });
        Self { port, mailbox }
    }

    pub fn change(&self, how: impl FnOnce(&mut Mailbox)) {
        how(&mut self.mailbox.lock().unwrap());
    }

    pub fn idles(&self) -> usize {
        self.mailbox.lock().unwrap().idles
    }
}

fn serve_imap(stream: TcpStream, mailbox: &Mutex<Mailbox>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let say =
        |stream: &mut BufReader<TcpStream>, text: &str| stream.get_mut().write_all(text.as_bytes()).ok();
    say(&mut stream, "* OK here\r\n")?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let words: Vec<String> =
            line.split_whitespace().map(|word| word.trim_matches('"').to_ascii_uppercase()).collect();
        let (tag, mut state) = (line.split(' ').next().unwrap().to_owned(), mailbox.lock().unwrap());
        let count = state.messages.len();
        let verb = if words[1] == "UID" { format!("UID {}", words[2]) } else { words[1].clone() };
        let before = match verb.as_str() {
            "CAPABILITY" if state.restless => "* CAPABILITY IMAP4rev1 IDLE\r\n".to_owned(),
            "CAPABILITY" => "* CAPABILITY IMAP4rev1\r\n".to_owned(),
            "IDLE" => {
                state.idles += 1;
                say(&mut stream, &format!("+ idling\r\n* {count} EXISTS\r\n"))?;
                let mut done = String::new();
                drop(state);
                stream.read_line(&mut done).ok()?;
                say(&mut stream, &format!("{tag} OK done\r\n"))?;
                continue;
            }
            "SELECT" | "EXAMINE" => format!(
                "* {count} EXISTS\r\n* 0 RECENT\r\n* FLAGS ()\r\n* OK [UIDVALIDITY {}] x\r\n* OK [UIDNEXT {}] x\r\n",
                state.validity,
                count + 1
            ),
            "UID SEARCH" if state.found.is_some() => state.found.unwrap().to_owned(),
            "UID SEARCH" => {
                let all: Vec<String> = (1..=count).map(|uid| uid.to_string()).collect();
                format!("* SEARCH {}\r\n", all.join(" "))
            }
            "UID FETCH" if line.contains("RFC822.SIZE") => (1..=count)
                .map(|uid| {
                    format!("* {uid} FETCH (UID {uid} RFC822.SIZE {})\r\n", state.messages[uid - 1].len())
                })
                .collect(),
            "UID FETCH" => {
                let uid: usize = words[3].parse().unwrap();
                let given = if state.mixed_up { uid % count + 1 } else { uid };
                let text = &state.messages[given - 1];
                let (section, text) = match line.contains("HEADER") {
                    true => ("HEADER", format!("{}\r\n\r\n", text.split("\r\n\r\n").next().unwrap())),
                    false => ("", text.clone()),
                };
                format!("* {given} FETCH (UID {given} BODY[{section}] {{{}}}\r\n{text})\r\n", text.len())
            }
            "LOGOUT" => {
                say(&mut stream, &format!("* BYE\r\n{tag} OK\r\n"))?;
                return None;
            }
            _ => String::new(),
        };
        drop(state);
        say(&mut stream, &format!("{before}{tag} OK done\r\n"))?;
    }
}
