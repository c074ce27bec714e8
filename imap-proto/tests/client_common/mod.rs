//! A client's application that does what the comments of a transcript say.

use std::{collections::VecDeque, fs, path::Path, sync::Arc};

use bytes::Bytes;
use mailwright_imap_proto::{
    client::{self, Client, Config, Event},
    command::{Command, SearchContext},
    grammar::Input,
};
use mailwright_line_proto::{
    Authenticate, Misuse, Secret, Ticket,
    testing::{Seen, Side, Subject, Transcript},
};

/// A configuration for a wire that nobody listens at.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.allow_plaintext_auth = true;
    config
}

/// The transcripts of a directory, by name, with the script of each.
pub(crate) fn transcripts(directory: &str) -> Vec<(String, Transcript, Vec<Step>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(directory);
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let transcript = Transcript::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, transcript, text.lines().filter_map(Step::parse).collect())
    };
    let all: Vec<_> = files.iter().map(|path| read(path)).collect();
    assert!(!all.is_empty());
    all
}

/// What was seen, one line an event.
pub(crate) fn lines(seen: &[Seen]) -> String {
    let line = |seen: &Seen| match seen {
        Seen::Event(text) => text.clone(),
        Seen::Body(octets) => format!("Body({})", octets.escape_ascii()),
        Seen::Closed(text) => format!("Closed({text})"),
        other => panic!("{other:?}"),
    };
    seen.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What the application does.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Calls, when everything before is answered.
    Call(Command),
    /// Calls besides.
    With(Command),
    /// The message of the APPEND before.
    Body(Vec<u8>),
    /// The response to the next challenge.
    Respond(Vec<u8>),
    /// Gives up at the next challenge.
    Cancel,
    /// Ends the IDLE before after so many events.
    Events(usize),
}

impl Step {
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.strip_prefix("# ")?.split_once(':')?;
        let octets = unescape(rest.strip_prefix(' ').unwrap_or(rest));
        let command = || {
            Command::parse(&mut Input::new(&octets), SearchContext::default())
                .unwrap_or_else(|error| panic!("{line}: {error}"))
        };
        Some(match word {
            "call" => Self::Call(command()),
            "with" => Self::With(command()),
            "body" => Self::Body(octets),
            "respond" => Self::Respond(octets),
            "cancel" => Self::Cancel,
            "events" => Self::Events(rest.trim().parse().unwrap()),
            _ => return None,
        })
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let escaped = text.replace("\\r", "\r").replace("\\n", "\n");
    let mut parts = escaped.split("\\x");
    let mut octets = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        let (hex, rest) = part.split_at(2);
        octets.push(u8::from_str_radix(hex, 16).unwrap());
        octets.extend_from_slice(rest.as_bytes());
    }
    octets
}

/// The application.
pub(crate) struct Script {
    config: Arc<Config>,
    steps: VecDeque<Step>,
    outstanding: usize,
    body: Vec<u8>,
    idle: Option<(Ticket<client::Idle>, usize)>,
    mechanism: String,
}

impl Script {
    pub(crate) fn new(config: Config, steps: &[Step]) -> Self {
        Self {
            config: Arc::new(config),
            steps: steps.iter().cloned().collect(),
            outstanding: 0,
            body: Vec::new(),
            idle: None,
            mechanism: String::new(),
        }
    }

    /// Makes the next call, and those beside it. What is misuse at this moment is passed over.
    fn go_on(&mut self, client: &mut Client) {
        while let Some(step) = self.steps.front().cloned() {
            match step {
                Step::Call(_) if self.outstanding > 0 => return,
                Step::Call(command) | Step::With(command) => {
                    self.steps.pop_front();
                    if let Some(Step::Body(body)) = self.steps.front() {
                        self.body = body.clone();
                        self.steps.pop_front();
                    }
                    let events = match self.steps.front() {
                        Some(Step::Events(events)) => *events,
                        _ => 0,
                    };
                    if events > 0 {
                        self.steps.pop_front();
                    }
                    if self.call(client, command, events).is_ok() {
                        self.outstanding += 1;
                    }
                }
                // They wait for what they are for.
                _ if self.outstanding > 0 => return,
                _ => drop(self.steps.pop_front()),
            }
        }
    }

    fn call(&mut self, client: &mut Client, command: Command, events: usize) -> Result<(), Misuse> {
        match command {
            Command::Capability => client.call(client::Capability).map(drop),
            Command::Noop => client.call(client::Noop).map(drop),
            Command::Logout => client.call(client::Logout).map(drop),
            Command::StartTls => client.call(client::StartTls).map(drop),
            Command::Check => client.call(client::Check).map(drop),
            Command::Close => client.call(client::Close).map(drop),
            Command::Unselect => client.call(client::Unselect).map(drop),
            Command::Idle => {
                let ticket = client.call(client::Idle)?;
                self.idle = Some((ticket, events));
                Ok(())
            }
            Command::Authenticate(request) => {
                self.mechanism = request.mechanism.clone();
                client.call(request).map(drop)
            }
            Command::Namespace => client.call(mailwright_imap_proto::command::Namespace).map(drop),
            Command::Login(request) => client.call(request).map(drop),
            Command::Id(request) => client.call(request).map(drop),
            Command::Enable(request) => client.call(request).map(drop),
            Command::Select(request) => client.call(request).map(drop),
            Command::Create(request) => client.call(request).map(drop),
            Command::Delete(request) => client.call(request).map(drop),
            Command::Rename(request) => client.call(request).map(drop),
            Command::Subscribe(request) => client.call(request).map(drop),
            Command::Unsubscribe(request) => client.call(request).map(drop),
            Command::List(request) => client.call(request).map(drop),
            Command::Lsub(request) => client.call(request).map(drop),
            Command::Rlist(request) => client.call(request).map(drop),
            Command::Rlsub(request) => client.call(request).map(drop),
            Command::Status(request) => client.call(request).map(drop),
            Command::Append(request) => client.call(request).map(drop),
            Command::Expunge(request) => client.call(request).map(drop),
            Command::Search(request) => client.call(request).map(drop),
            Command::Sort(request) => client.call(request).map(drop),
            Command::Thread(request) => client.call(request).map(drop),
            Command::CancelUpdate(request) => client.call(request).map(drop),
            Command::Notify(request) => client.call(request).map(drop),
            Command::Fetch(request) => client.call(request).map(drop),
            Command::Store(request) => client.call(request).map(drop),
            Command::Copy(request) => client.call(request).map(drop),
            Command::Move(request) => client.call(request).map(drop),
            other => panic!("{other:?}"),
        }
    }

    fn act(&mut self, client: &mut Client, event: &Event) {
        match event {
            Event::Greeting { .. } => self.go_on(client),
            Event::Ready(_) => {
                let body = Bytes::from(std::mem::take(&mut self.body));
                if client.send_body(body).is_ok() {
                    let _ = client.end_body();
                }
            }
            Event::Challenge(ticket, _) => match self.steps.pop_front() {
                Some(Step::Respond(response)) => {
                    let response = Some(Secret::from(&response[..]));
                    let _ = client.call(Authenticate::new(self.mechanism.clone(), response));
                }
                _ => client.cancel(*ticket),
            },
            Event::Idling(ticket) if self.idle.is_none_or(|(_, events)| events == 0) => {
                client.cancel(*ticket)
            }
            Event::FetchBody { .. }
            | Event::Body(_)
            | Event::BodyEnd
            | Event::Fetched { .. }
            | Event::MailboxClosed
            | Event::Exists(_)
            | Event::Recent(_)
            | Event::Expunged { .. }
            | Event::Flags(_)
            | Event::Capabilities(_)
            | Event::Notice(_)
            | Event::Unasked(_)
            | Event::Skipped(_)
            | Event::Idling(_) => {
                if let Some((ticket, events)) = &mut self.idle {
                    // The event that says that it began does not count.
                    if !matches!(event, Event::Idling(_)) {
                        *events = events.saturating_sub(1);
                    }
                    if *events == 0 {
                        client.cancel(*ticket);
                    }
                }
            }
            Event::Closed(_) => {}
            _ => {
                self.idle = None;
                self.outstanding = self.outstanding.saturating_sub(1);
                self.go_on(client);
            }
        }
    }
}

impl Subject for Script {
    type Machine = Client;

    fn build(&self) -> Client {
        Client::new(self.config.clone(), [0; 32])
    }

    fn side(&self) -> Side {
        Side::Client
    }

    fn react(&mut self, client: &mut Client, event: Event) -> Seen {
        self.act(client, &event);
        match event {
            Event::Body(body) => Seen::Body(body),
            Event::Closed(why) => Seen::Closed(format!("{why:?}")),
            event => Seen::Event(format!("{event:?}")),
        }
    }
}
