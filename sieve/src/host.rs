//! A host with everything in memory: for tests, for embedders with little to ask, and to learn from.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use mailwright_mail_model::{DateTime, mime::Structure};

use crate::{
    Answer, CalendarOutcome, CalendarRequest, Input, Language, Limits, Message, Outcome, Program,
    ProgramInput, ProgramOutput, Request, Run, Score, Segment, Step,
};

/// Answers every [`Request`] out of maps that are yours to fill.
///
/// ```
/// use mailwright_sieve::{Action, Language, MemoryHost};
///
/// let program = Language::standard().compile(br#"
///     require ["fileinto", "mailbox", "imap4flags"];
///     if allof (header :contains "subject" "tea", mailboxexists "Tea") {
///         fileinto :flags "\\Flagged" "Tea";
///     }
/// "#)?;
/// let mut host = MemoryHost::new(*b"From: ann@example.org\r\nSubject: More tea?\r\n\r\nNow.\r\n");
/// host.mailboxes.entry("Tea".into()).or_default();
/// let outcome = host.run(program);
/// let [Action::FileInto(delivery)] = &outcome.actions[..] else { panic!("{outcome:?}") };
/// assert_eq!(delivery.mailbox.as_deref(), Some("Tea"));
/// assert_eq!(delivery.flags.as_deref(), Some(&["\\Flagged".to_owned()][..]));
/// # Ok::<(), mailwright_sieve::CompileError>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct MemoryHost {
    /// What each run is told; its structure is that of the message.
    pub input: Input,
    /// The bounds of each run.
    pub limits: Limits,
    /// The mailboxes there are, besides INBOX.
    pub mailboxes: BTreeMap<String, Folder>,
    /// Annotations: of a mailbox, or of the server if it is empty, and their names in lower case.
    pub metadata: BTreeMap<(String, String), String>,
    /// Items of the environment.
    pub environment: BTreeMap<String, String>,
    /// External lists.
    pub lists: BTreeMap<String, BTreeSet<String>>,
    /// Scripts to include: whether they are the server's, and their names.
    pub scripts: BTreeMap<(bool, String), Vec<u8>>,
    /// What compiles them.
    pub language: Language,
    /// The keys that `duplicate` knows, and until when.
    pub duplicates: BTreeMap<String, DateTime>,
    /// The scores of filters.
    pub scores: Vec<(Score, u8)>,
    /// Programs: what they make of their arguments and input.
    pub programs: BTreeMap<String, ProgramFunction>,
    /// Converters: from what, to what, and how.
    pub converters: BTreeMap<(String, String), Converter>,
    /// What is done with calendar objects.
    pub calendar: Option<CalendarFunction>,
    messages: Vec<Bytes>,
}

/// A program of a [`MemoryHost`].
pub type ProgramFunction = fn(&[String], &[u8]) -> ProgramOutput;
/// A converter of a [`MemoryHost`].
pub type Converter = fn(&[u8]) -> Option<Vec<u8>>;
/// What a [`MemoryHost`] does with calendar objects.
pub type CalendarFunction = fn(&CalendarRequest) -> CalendarOutcome;

/// A mailbox of a [`MemoryHost`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Folder {
    /// Its identifier.
    pub id: Option<String>,
    /// Its special uses, such as `\Junk`.
    pub special_use: Vec<String>,
    /// The messages in it, with their flags.
    pub messages: Vec<(Vec<u8>, Vec<String>)>,
}

impl MemoryHost {
    /// A host of this message, in 1970 and without an envelope.
    pub fn new(message: impl Into<Vec<u8>>) -> Self {
        let message = Bytes::from(message.into());
        Self {
            input: Input::new(Arc::new(Structure::of(&message)), DateTime::EPOCH),
            limits: Limits::default(),
            mailboxes: BTreeMap::from([("INBOX".to_owned(), Folder::default())]),
            metadata: BTreeMap::new(),
            environment: BTreeMap::new(),
            lists: BTreeMap::new(),
            scripts: BTreeMap::new(),
            language: Language::standard(),
            duplicates: BTreeMap::new(),
            scores: Vec::new(),
            programs: BTreeMap::new(),
            converters: BTreeMap::new(),
            calendar: None,
            messages: vec![message],
        }
    }

    /// Another message for the next run.
    pub fn set_message(&mut self, message: impl Into<Vec<u8>>) {
        let message = Bytes::from(message.into());
        self.input.structure = Arc::new(Structure::of(&message));
        self.messages = vec![message];
    }

    /// Runs a program on the message, and remembers what it wants remembered.
    pub fn run(&mut self, program: impl Into<Arc<Program>>) -> Outcome {
        let run = Run::with_limits(program.into(), self.input.clone(), self.limits.clone());
        self.drive(run)
    }

    /// Runs what has been begun.
    pub fn drive(&mut self, mut run: Run) -> Outcome {
        loop {
            match run.poll() {
                Step::Need(request) => {
                    let answer = self.answer(&request);
                    run.answer(answer);
                }
                Step::Done(outcome) => {
                    for seen in &outcome.seen {
                        self.remember(&seen.key, seen.seconds);
                    }
                    return *outcome;
                }
            }
        }
    }

    /// The octets of a message that a run has made.
    pub fn octets(&self, message: &Message) -> Vec<u8> {
        let mut octets = Vec::new();
        for segment in message.segments() {
            match segment {
                Segment::Octets(own) => octets.extend_from_slice(own),
                Segment::Source { source, range } => {
                    octets.extend_from_slice(&self.range(*source, range.start, range.end));
                }
            }
        }
        octets
    }

    /// The answer to a request.
    pub fn answer(&mut self, request: &Request) -> Answer {
        match request {
            Request::Octets { source, range } => Answer::Octets(self.range(*source, range.start, range.end)),
            Request::Mailbox(name) => Answer::Truth(self.mailboxes.contains_key(name)),
            Request::MailboxById(id) => {
                Answer::Truth(self.mailboxes.values().any(|folder| folder.id.as_ref() == Some(id)))
            }
            Request::SpecialUse { mailbox, attribute } => {
                let has = |folder: &Folder| {
                    folder.special_use.iter().any(|use_| use_.eq_ignore_ascii_case(attribute))
                };
                Answer::Truth(match mailbox {
                    Some(name) => self.mailboxes.get(name).is_some_and(has),
                    None => self.mailboxes.values().any(has),
                })
            }
            Request::Metadata { mailbox, annotation } => {
                let key = (mailbox.clone().unwrap_or_default(), annotation.to_ascii_lowercase());
                Answer::Text(self.metadata.get(&key).cloned())
            }
            Request::Duplicate { key, seconds, last } => {
                let known = self.duplicates.get(key).is_some_and(|until| *until > self.input.now);
                if known && *last {
                    self.remember(key, *seconds);
                }
                Answer::Truth(known)
            }
            Request::ListMember { list, value } => {
                let member = |entries: &BTreeSet<String>| {
                    entries.iter().any(|entry| entry.eq_ignore_ascii_case(value))
                };
                Answer::Truth(self.lists.get(list).is_some_and(member))
            }
            Request::List(list) => Answer::Truth(self.lists.contains_key(list)),
            Request::Environment(name) => Answer::Text(self.environment.get(name).cloned()),
            Request::Script { global, name } => {
                let script = self.scripts.get(&(*global, name.clone()));
                let program = script.and_then(|script| self.language.compile(script).ok());
                Answer::Script(program.map(Arc::new))
            }
            Request::NotifyMethod(uri) => Answer::Truth(crate::compose::Mailto::parse(uri).is_some()),
            Request::NotifyCapability { capability, .. } => {
                Answer::Text((capability == "online").then(|| "maybe".to_owned()))
            }
            Request::Score(kind) => {
                let score = self.scores.iter().find(|(known, _)| known == kind);
                Answer::Text(score.map(|(_, score)| score.to_string()))
            }
            Request::Execute { program, arguments, input } => {
                let input = match input {
                    ProgramInput::Nothing => Vec::new(),
                    ProgramInput::Text(text) => text.clone().into_bytes(),
                    ProgramInput::Message(message) => self.octets(message),
                };
                Answer::Program(self.execute(program, arguments, &input))
            }
            Request::Filter { program, arguments, message } => {
                match self.execute(program, arguments, &self.octets(message)) {
                    ProgramOutput::Success(octets) if !octets.is_empty() => self.hold(octets),
                    other => Answer::Program(other),
                }
            }
            Request::Convert { from, to, body, .. } => {
                let converter = self.converters.get(&(from.clone(), to.clone()));
                Answer::Converted(converter.and_then(|convert| convert(body)).map(Bytes::from))
            }
            Request::Calendar(request) => {
                let outcome = self.calendar.map_or(CalendarOutcome::NoAction, |process| process(request));
                Answer::Calendar { outcome, reason: String::new() }
            }
            Request::Custom { .. } => request.unanswered(),
        }
    }

    /// One message more, which a program has made of another.
    pub(crate) fn hold(&mut self, octets: Bytes) -> Answer {
        let structure = Arc::new(Structure::of(&octets));
        self.messages.push(octets);
        let source = u32::try_from(self.messages.len() - 1).unwrap_or(u32::MAX);
        Answer::Message { source, structure }
    }

    fn execute(&self, program: &str, arguments: &[String], input: &[u8]) -> ProgramOutput {
        self.programs.get(program).map_or(ProgramOutput::Unknown, |run| run(arguments, input))
    }

    fn remember(&mut self, key: &str, seconds: u64) {
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        let until = DateTime::new(self.input.now.seconds().saturating_add(seconds), 0);
        if let Some(until) = until {
            self.duplicates.insert(key.to_owned(), until);
        }
    }

    fn range(&self, source: u32, start: u64, end: u64) -> Bytes {
        let message = usize::try_from(source).ok().and_then(|source| self.messages.get(source));
        let Some(message) = message else { return Bytes::new() };
        let at = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).min(message.len());
        message.slice(at(start)..at(end).max(at(start)))
    }
}
