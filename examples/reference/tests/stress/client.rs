//! One client that does anything at any time, and knows what it may be told.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    ledger::Ledger,
    view::{Entry, News, View, numbers},
    wire::{Item, Response, Wire},
};

#[path = "acts.rs"]
mod acts;

const NAMES: [&str; 3] = ["INBOX", "Work", "Later"];
/// How much of what was said is kept for the day when something goes wrong.
const KEPT: usize = 3_000;

pub(crate) type Check<T = ()> = Result<T, String>;

/// What came with a command.
struct Answer {
    said: Vec<Vec<Item>>,
    last: Response,
}

impl Answer {
    fn is(&self, word: &str) -> bool {
        self.last.text().split(' ').nth(1) == Some(word)
    }

    fn found(&self) -> BTreeSet<u64> {
        let mut found = BTreeSet::new();
        for items in &self.said {
            match items.get(1).map(Item::word) {
                Some("SEARCH" | "SORT") => found.extend(items[2..].iter().filter_map(Item::number)),
                Some("ESEARCH") => {
                    let all = items.iter().position(|item| item.word() == "ALL");
                    let set = all.and_then(|at| items.get(at + 1)).map_or("", Item::word);
                    found.extend(numbers(set));
                }
                _ => {}
            }
        }
        found
    }
}

pub(crate) struct Client {
    index: u64,
    address: SocketAddr,
    login: (String, String),
    ledger: Arc<Ledger>,
    dice: u64,
    /// Whether it is our own server, of which more is expected.
    ours: bool,
    wire: Option<Wire>,
    qresync: bool,
    view: Option<View>,
    tags: u64,
    texts: u64,
    /// A keyword that nobody else touches, and which messages have it for certain.
    keyword: String,
    mine: BTreeMap<(String, u64), BTreeMap<u64, bool>>,
    memory: BTreeMap<String, View>,
    transcript: VecDeque<String>,
}

impl Client {
    pub(crate) fn new(
        index: u64,
        address: SocketAddr,
        login: (String, String),
        ledger: Arc<Ledger>,
        seed: u64,
        ours: bool,
    ) -> Self {
        Self {
            index,
            address,
            login,
            ledger,
            dice: seed.wrapping_mul(1000).wrapping_add(index),
            ours,
            wire: None,
            qresync: false,
            view: None,
            tags: 0,
            texts: 0,
            keyword: format!("c{index}"),
            mine: BTreeMap::new(),
            memory: BTreeMap::new(),
            transcript: VecDeque::new(),
        }
    }

    pub(crate) fn transcript(&self) -> String {
        self.transcript.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    fn note(&mut self, text: String) {
        if self.transcript.len() == KEPT {
            self.transcript.pop_front();
        }
        self.transcript.push_back(text);
    }

    fn below(&mut self, end: usize) -> usize {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.dice;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end.max(1) as u64) as usize
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    /// Makes the mailboxes that all play in.
    pub(crate) fn prepare(&mut self) -> Check {
        while self.wire.is_none() {
            self.connect()?;
        }
        for name in &NAMES[1..] {
            self.simple(&format!("CREATE {name}"))?;
        }
        self.leave_off();
        Ok(())
    }

    pub(crate) fn play(&mut self, end: Instant) -> Check {
        while Instant::now() < end {
            self.act()?;
        }
        self.leave_off();
        Ok(())
    }

    fn act(&mut self) -> Check {
        if self.wire.is_none() {
            return self.connect();
        }
        if self.view.is_none() {
            return match self.below(6) {
                0 => self.append(),
                1 => self.simple("STATUS INBOX (MESSAGES UIDNEXT UNSEEN)"),
                2 => self.simple("LIST \"\" *"),
                _ => self.select(),
            };
        }
        match self.below(40) {
            0..=4 => self.append(),
            5..=8 => self.simple("NOOP"),
            9..=12 => self.fetch(),
            13..=20 => self.store(),
            21 | 22 => self.search(),
            23 | 24 => self.all_are_there(),
            25..=27 => self.copy(),
            28..=31 => self.expunge(),
            32 => self.idle(),
            33 => self.simple("STATUS Work (MESSAGES UIDNEXT)"),
            34 => self.learn(),
            35 => self.pipeline(),
            36 => self.select(),
            37 => self.close(),
            38 => {
                self.simple("LOGOUT")?;
                self.leave_off();
                Ok(())
            }
            _ => {
                self.leave_off();
                Ok(())
            }
        }
    }

    /// Goes without a word.
    fn leave_off(&mut self) {
        self.remember();
        self.note(format!("{} -- is gone", self.index));
        (self.wire, self.view) = (None, None);
    }

    fn remember(&mut self) {
        let Some(view) = &self.view else { return };
        if self.qresync && view.is_complete() && view.mod_seq > 0 {
            self.memory.insert(view.name.clone(), view.clone());
        }
    }

    fn connect(&mut self) -> Check {
        let mut wire = Wire::connect(self.address).map_err(|error| format!("connecting: {error}"))?;
        let greeting = wire.next().map_err(|error| format!("no greeting: {error}"))?;
        if !greeting.text().starts_with("* OK") {
            return Err(greeting.text());
        }
        self.wire = Some(wire);
        self.qresync = false;
        let (name, password) = self.login.clone();
        let answer = self.run(&format!("LOGIN {name} {password}"))?;
        if answer.is("NO") && answer.last.code().is_some_and(|code| code == "UNAVAILABLE") {
            // So many want to log in at once that their passwords cannot be checked in time.
            self.wire = None;
            thread::sleep(Duration::from_millis(50));
            return Ok(());
        }
        if !answer.is("OK") {
            return Err("LOGIN was refused".into());
        }
        match self.below(3) {
            0 => {
                self.ok("ENABLE QRESYNC")?;
                self.qresync = true;
            }
            1 => drop(self.ok("ENABLE CONDSTORE")?),
            _ => {}
        }
        Ok(())
    }

    fn ok(&mut self, command: &str) -> Check<Answer> {
        let answer = self.run(command)?;
        if answer.is("OK") { Ok(answer) } else { Err(format!("{command} was refused")) }
    }

    /// A command that may be refused, but not misunderstood.
    fn simple(&mut self, command: &str) -> Check {
        self.run(command).map(drop)
    }

    fn run(&mut self, command: &str) -> Check<Answer> {
        let tag = self.send(command)?;
        self.until(&tag, command)
    }

    fn send(&mut self, command: &str) -> Check<String> {
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        self.note(format!("{} C: {tag} {}", self.index, command.trim_end()));
        let word = command.split(' ').take(if command.starts_with("UID ") { 2 } else { 1 });
        self.ledger.count(&word.collect::<Vec<_>>().join(" "));
        let wire = self.wire.as_mut().ok_or("no connection")?;
        wire.send(&format!("{tag} {command}\r\n")).map_err(|error| format!("sending: {error}"))?;
        Ok(tag)
    }

    /// Reads up to the end of a command, and believes what is said before.
    fn until(&mut self, tag: &str, command: &str) -> Check<Answer> {
        let seqs = ["FETCH ", "STORE ", "SEARCH "].iter().any(|word| command.starts_with(word));
        let mut said = Vec::new();
        loop {
            let response = self.next()?;
            if response.0.starts_with(b"+ ") {
                return Ok(Answer { said, last: response });
            }
            if !response.0.starts_with(b"* ") {
                if !response.text().starts_with(&format!("{tag} ")) {
                    return Err(format!("expected the end of {tag}"));
                }
                if response.text().starts_with(&format!("{tag} BAD")) {
                    return Err(format!("{command} was not understood"));
                }
                if let Some(view) = &mut self.view {
                    view.ended(&response);
                }
                return Ok(Answer { said, last: response });
            }
            if response.text().starts_with("* BYE") && command != "LOGOUT" {
                return Err("BYE".into());
            }
            let selects = command.starts_with("SELECT") || command.starts_with("EXAMINE");
            said.push(self.believe(&response, !seqs, selects)?);
        }
    }

    fn next(&mut self) -> Check<Response> {
        let wire = self.wire.as_mut().ok_or("no connection")?;
        let response = wire.next().map_err(|error| format!("reading: {error}"))?;
        self.note(format!("{} S: {}", self.index, response.text()));
        Ok(response)
    }

    fn believe(&mut self, response: &Response, may_expunge: bool, selects: bool) -> Check<Vec<Item>> {
        let text = response.text();
        let is_status = ["OK", "NO", "BAD", "BYE"].iter().any(|word| text.starts_with(&format!("* {word} ")));
        let items = match is_status {
            true => text.split(' ').map(|word| Item::Word(word.to_owned())).collect(),
            false => response.items()?,
        };
        let (Some(view), false) = (&mut self.view, selects) else { return Ok(items) };
        let news = view.believe(response, &items, may_expunge, self.qresync)?;
        let mailbox = view.mailbox();
        if let Some(News { uid: Some(uid), flags, size, subject, whole }) = &news {
            if let Some(flags) = flags {
                let has = flags.contains(&self.keyword);
                // What nobody else touches is as this client has left it.
                let known = self.mine.entry(mailbox.clone()).or_default().entry(*uid).or_insert(has);
                if *known != has {
                    return Err(format!("UID {uid}: {} is {has}, and was left {known}", self.keyword));
                }
            }
            if let Some(subject) = subject {
                self.ledger.text(&mailbox, *uid, subject)?;
            }
            if let Some(whole) = whole {
                let whole = String::from_utf8_lossy(whole);
                let (subject, _) = whole.split_once("\r\n").ok_or("half a message")?;
                self.ledger.text(&mailbox, *uid, subject)?;
                if *whole != text_of(subject) || size.is_some_and(|size| size != whole.len() as u64) {
                    return Err(format!("UID {uid} is not {subject}"));
                }
            }
        }
        Ok(items)
    }
}

/// The whole message with this subject line.
fn text_of(subject: &str) -> String {
    let length = subject.len() * 7 % 50;
    format!("{subject}\r\n\r\n{}\r\n", "line\r\n".repeat(length))
}
