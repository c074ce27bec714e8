//! What test scripts are about: the message, the mailboxes, the script that was compiled last and what it did.

use std::{collections::BTreeMap, fmt, sync::Arc};

use bytes::Bytes;
use mailwright_mail_model::{DateTime, header, mime::Structure, word};

use super::{ReadFile, TestResult, whole_language};
use crate::{
    Action, Answer, Delivery, Language, MemoryHost, Message, Outcome, Program, Request, Run, Step,
    compose::{Mailto, Stamp},
};

pub(super) struct World {
    files: ReadFile,
    pub(super) host: MemoryHost,
    pub(super) language: Language,
    pub(super) config: BTreeMap<String, String>,
    pub(super) message: Bytes,
    pub(super) program: Option<Arc<Program>>,
    pub(super) errors: Vec<String>,
    pub(super) actions: Vec<Action>,
    pub(super) implicit_keep: bool,
    /// The messages that were sent.
    pub(super) sent: Vec<Bytes>,
    /// The test that is being run, and why it has failed.
    pub(super) test: Option<String>,
    pub(super) failure: Option<String>,
    pub(super) results: Vec<TestResult>,
}

impl fmt::Debug for World {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("World").field("host", &self.host).finish_non_exhaustive()
    }
}

impl World {
    pub(super) fn new(files: ReadFile) -> Self {
        let mut host = MemoryHost::new(*b"");
        // A Monday in 2026, so that there is a date at all.
        host.input.now = DateTime::new(1_767_607_200, 0).unwrap_or(DateTime::EPOCH);
        host.input.envelope.from = Some("sender@example.com".into());
        host.input.envelope.to = Some("recipient@example.com".into());
        host.environment.insert("path".into(), ".".into());
        Self {
            files,
            host,
            language: whole_language(),
            config: BTreeMap::new(),
            message: Bytes::new(),
            program: None,
            errors: Vec::new(),
            actions: Vec::new(),
            implicit_keep: false,
            sent: Vec::new(),
            test: None,
            failure: None,
            results: Vec::new(),
        }
    }

    pub(super) fn set_message(&mut self, message: Bytes) {
        self.host.set_message(message.to_vec());
        self.message = message;
    }

    pub(super) fn read(&mut self, path: &str) -> Option<Vec<u8>> {
        let path = path.strip_prefix("./").unwrap_or(path);
        (self.files)(path)
    }

    pub(super) fn compile(&mut self, path: &str) -> bool {
        self.errors.clear();
        self.program = None;
        let Some(script) = self.read(path) else {
            self.errors.push(format!("there is no file `{path}`"));
            return false;
        };
        let language = self.language.clone().limited(self.host.limits.clone());
        match language.compile(&script) {
            Ok(program) => self.program = Some(Arc::new(program)),
            Err(error) => self.errors = error.diagnostics().iter().map(ToString::to_string).collect(),
        }
        self.program.is_some()
    }

    /// Runs scripts one after the other.
    pub(super) fn run(&mut self, programs: Vec<Arc<Program>>, append: bool) -> bool {
        let mut programs = programs.into_iter();
        let Some(first) = programs.next() else { return false };
        let mut run = Run::with_limits(first, self.host.input.clone(), self.host.limits.clone());
        for program in programs {
            run = run.then(program);
        }
        let outcome: Box<Outcome> = loop {
            match run.poll() {
                Step::Need(request) => {
                    let answer = self.answer(&request);
                    run.answer(answer);
                }
                Step::Done(outcome) => break outcome,
            }
        };
        if !append {
            self.actions.clear();
        }
        self.errors = outcome.error.iter().map(ToString::to_string).collect();
        self.implicit_keep = outcome.implicit_keep;
        self.actions.extend(outcome.actions);
        for seen in &outcome.seen {
            let until = i64::try_from(seen.seconds).unwrap_or(i64::MAX);
            let until = DateTime::new(self.host.input.now.seconds().saturating_add(until), 0);
            self.host.duplicates.insert(seen.key.clone(), until.unwrap_or(self.host.input.now));
        }
        outcome.error.is_none()
    }

    pub(super) fn answer(&mut self, request: &Request) -> Answer {
        let Request::Script { global, name } = request else { return self.host.answer(request) };
        let setting = if *global { "sieve_global" } else { "sieve" };
        let path = self.config.get(setting).map_or(".", String::as_str).trim_start_matches("file:");
        let path = path.split(';').next().unwrap_or(".").trim_end_matches('/').to_owned();
        let script = self.read(&format!("{path}/{name}.sieve"));
        let program = script.and_then(|script| self.language.compile(&script).ok());
        Answer::Script(program.map(Arc::new))
    }

    /// The names of what is to be done, as test scripts know them.
    pub(super) fn action_names(&self) -> Vec<String> {
        let explicit = |action: &&Action| !(self.implicit_keep && matches!(action, Action::Keep(_)));
        self.actions.iter().filter(explicit).map(action_name).collect()
    }

    /// Does what the script wants done.
    pub(super) fn execute(&mut self) -> Result<(), String> {
        let actions = std::mem::take(&mut self.actions);
        let result = actions.iter().try_for_each(|action| self.carry_out(action));
        self.actions = actions;
        result
    }

    fn carry_out(&mut self, action: &Action) -> Result<(), String> {
        let number = self.sent.len();
        let owner = self.host.input.envelope.to.clone().unwrap_or_default();
        let stamp =
            Stamp::new(self.host.input.now, format!("<{number}@suite.example>"), format!("<{owner}>"));
        let fcc = match action {
            Action::Keep(delivery) | Action::FileInto(delivery) => return self.store(delivery),
            Action::Redirect(redirect) => {
                self.send(&redirect.message);
                None
            }
            Action::Vacation(reply) => {
                let message = reply.message(&stamp);
                self.send(&message);
                reply.fcc.clone().map(|fcc| (fcc, message))
            }
            Action::Reject(reject) => {
                let length = header::body_offset(&self.message).unwrap_or(self.message.len());
                let header = self.message.slice(..length);
                let original = Message::original(self.message.len() as u64);
                let notification = reject.notification(&header, &self.host.input.envelope, &original, &stamp);
                if let Some(message) = notification {
                    self.send(&message);
                }
                None
            }
            Action::Notify(notify) => {
                let field = |name: &str| {
                    header::find(&self.message, name)
                        .map(|field| word::decode(field.value()).trim().to_owned())
                };
                let about = (field("From").unwrap_or_default(), field("Subject").unwrap_or_default());
                let Some(mailto) = Mailto::parse(&notify.method) else {
                    return Err(format!("`{}` is no mailto URI", notify.method));
                };
                let message = mailto.message(notify, &stamp, &owner, (&about.0, &about.1));
                for _ in &mailto.recipients {
                    self.send(&message);
                }
                notify.fcc.clone().map(|fcc| (fcc, message))
            }
            Action::Report(report) => {
                let original = Message::original(self.message.len() as u64);
                let length = header::body_offset(&self.message).unwrap_or(self.message.len()) as u64;
                self.send(&report.message(&original, length, &self.host.input.envelope, &stamp));
                None
            }
            _ => None,
        };
        match fcc {
            Some((mut delivery, message)) => {
                delivery.message = message;
                self.store(&delivery)
            }
            None => Ok(()),
        }
    }

    fn send(&mut self, message: &Message) {
        let octets = self.host.octets(message);
        self.sent.push(octets.into());
    }

    fn store(&mut self, delivery: &Delivery) -> Result<(), String> {
        let octets = self.host.octets(&delivery.message);
        let name = delivery.mailbox.clone().unwrap_or_else(|| "INBOX".into());
        let found = self.host.mailboxes.iter().find_map(|(name, folder)| {
            let by_id = delivery.mailbox_id.is_some() && folder.id == delivery.mailbox_id;
            let by_use = delivery.special_use.as_ref().is_some_and(|use_| folder.special_use.contains(use_));
            (by_id || by_use).then(|| name.clone())
        });
        let name = found.unwrap_or(name);
        if !delivery.create && !self.host.mailboxes.contains_key(&name) {
            return Err(format!("there is no mailbox `{name}`"));
        }
        let flags = delivery.flags.clone().unwrap_or_default();
        self.host.mailboxes.entry(name).or_default().messages.push((octets, flags));
        Ok(())
    }

    /// The test that is being run has ended.
    pub(super) fn end_test(&mut self, failure: Option<String>) {
        if let Some(name) = self.test.take() {
            self.results.push(TestResult { name, failure });
        }
        self.failure = None;
    }

    pub(super) fn message_of(&self, folder: Option<&str>, index: u64) -> Option<Bytes> {
        let index = usize::try_from(index).ok()?;
        match folder {
            None => self.sent.get(index).cloned(),
            Some(folder) => {
                let messages = &self.host.mailboxes.get(folder)?.messages;
                messages.get(index).map(|(message, _)| Bytes::from(message.clone()))
            }
        }
    }

    pub(super) fn structure(message: &Bytes) -> Arc<Structure> {
        Arc::new(Structure::of(message))
    }
}

fn action_name(action: &Action) -> String {
    match action {
        Action::Keep(_) => "keep",
        Action::FileInto(_) => "store",
        Action::Redirect(_) => "redirect",
        Action::Reject(_) => "reject",
        Action::Vacation(_) => "vacation",
        Action::Notify(_) => "notify",
        Action::Pipe(_) => "pipe",
        Action::Report(_) => "report",
        Action::Snooze(_) => "snooze",
        Action::Custom { name, .. } => name,
    }
    .to_owned()
}
