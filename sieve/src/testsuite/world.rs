//! What test scripts are about: the message, the mailboxes, the script that was compiled last and what it did.

use std::{collections::BTreeMap, fmt, sync::Arc};

use bytes::Bytes;
use mailwright_mail_model::{
    DateTime, MailboxName,
    address_list::{self, Entry},
    header,
    mime::Structure,
    word,
};

use super::{ReadFile, TestResult, scores, settings, whole_language};
use crate::{
    Action, Answer, Context, Delivery, Language, MemoryHost, Message, Options, Outcome, Program, Request,
    Run, Step,
    compose::{Mailto, Stamp},
};

pub(super) struct World {
    files: ReadFile,
    pub(super) host: MemoryHost,
    /// What compiles the scripts of users, and those of the server.
    pub(super) language: Language,
    pub(super) global_language: Language,
    pub(super) config: BTreeMap<String, String>,
    /// What the settings make of the site's choices, once they are reloaded.
    pub(super) options: Options,
    pub(super) message: Bytes,
    pub(super) program: Option<Arc<Program>>,
    pub(super) errors: Vec<String>,
    pub(super) actions: Vec<Action>,
    /// Whether these are those of a script that was run; else they are what the test script does itself.
    pub(super) ran: bool,
    /// How many of the test script's own were carried out.
    pub(super) done: usize,
    pub(super) implicit_keep: bool,
    /// The messages that were sent.
    pub(super) sent: Vec<Sent>,
    /// The test that is being run, and why it has failed.
    pub(super) test: Option<String>,
    pub(super) failure: Option<String>,
    pub(super) results: Vec<TestResult>,
    pub(super) warnings: Vec<String>,
}

/// A message that was sent, and its envelope.
pub(super) struct Sent {
    pub(super) message: Bytes,
    /// Empty for the null sender.
    pub(super) from: String,
    pub(super) to: String,
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
            global_language: whole_language(),
            config: BTreeMap::new(),
            options: Options::default(),
            message: Bytes::new(),
            program: None,
            errors: Vec::new(),
            actions: Vec::new(),
            ran: false,
            done: 0,
            implicit_keep: false,
            sent: Vec::new(),
            test: None,
            failure: None,
            results: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Something was asked for that has no effect.
    pub(super) fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
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
        self.ran = true;
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
        let (global, name) = match request {
            Request::Script { global, name } => (global, name),
            Request::Score(score) if scores::are_set(&self.config, *score) => {
                return Answer::Text(scores::score(&self.config, &self.message, *score));
            }
            other => return self.host.answer(other),
        };
        let setting = if *global { "sieve_global" } else { "sieve" };
        let path = self.config.get(setting).map_or(".", String::as_str).trim_start_matches("file:");
        let path = path.split(';').next().unwrap_or(".").trim_end_matches('/').to_owned();
        let script = self.read(&format!("{path}/{name}.sieve"));
        let language = if *global { &self.global_language } else { &self.language };
        let language = language.clone().limited(self.host.limits.clone());
        let program = script.and_then(|script| language.compile(&script).ok());
        Answer::Script(program.map(Arc::new))
    }

    /// The names of what is to be done, as test scripts know them.
    pub(super) fn action_names(&self) -> Vec<String> {
        let explicit = |action: &&Action| !(self.implicit_keep && matches!(action, Action::Keep(_)));
        self.actions.iter().filter(explicit).map(action_name).collect()
    }

    /// Where no script was run, what the test script itself has done so far counts.
    pub(super) fn take_own(&mut self, context: &mut Context) {
        if !self.ran {
            (self.actions, self.implicit_keep) = context.so_far();
        }
    }

    /// Does what the script wants done. What a test script did itself is done once, however often it is asked for.
    pub(super) fn execute(&mut self) -> Result<(), String> {
        let actions = std::mem::take(&mut self.actions);
        let done = if self.ran { 0 } else { self.done };
        let result = actions.iter().skip(done).try_for_each(|action| self.carry_out(action));
        if !self.ran {
            self.done = actions.len();
        }
        self.actions = actions;
        result
    }

    fn carry_out(&mut self, action: &Action) -> Result<(), String> {
        let number = self.sent.len();
        let envelope = self.host.input.envelope.clone();
        let (sender, recipient) = (envelope.from.unwrap_or_default(), envelope.to.unwrap_or_default());
        let owner = self.config.get("sieve_user_email").unwrap_or(&recipient).clone();
        let stamp =
            Stamp::new(self.host.input.now, format!("<{number}@suite.example>"), format!("<{owner}>"));
        let fcc = match action {
            Action::Keep(delivery) | Action::FileInto(delivery) => return self.store(delivery),
            Action::Redirect(redirect) => {
                let from = self.source("sieve_redirect_envelope_from", &sender);
                self.send(&redirect.message, &from, &redirect.address);
                None
            }
            Action::Vacation(reply) => {
                let message = reply.message(&stamp);
                // RFC 5230 §5: the null sender, unless the site wants another.
                let from_recipient = self.config.get("sieve_vacation_send_from_recipient");
                let from_recipient = from_recipient.is_some_and(|value| settings::truth(value) == Some(true));
                self.send(&message, if from_recipient { &recipient } else { "" }, &reply.recipient);
                reply.fcc.clone().map(|fcc| (fcc, message))
            }
            Action::Reject(reject) => {
                let length = header::body_offset(&self.message).unwrap_or(self.message.len());
                let header = self.message.slice(..length);
                let original = Message::original(self.message.len() as u64);
                let notification = reject.notification(&header, &self.host.input.envelope, &original, &stamp);
                if let Some(message) = notification {
                    self.send(&message, "", &sender);
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
                // RFC 5436 §2.7: whom `:from` names, or the recipient.
                let named = notify.from.as_deref().and_then(address_of).unwrap_or(recipient);
                let from = self.source("sieve_notify_mailto_envelope_from", &named);
                for to in &mailto.recipients {
                    self.send(&message, &from, to);
                }
                notify.fcc.clone().map(|fcc| (fcc, message))
            }
            Action::Report(report) => {
                let original = Message::original(self.message.len() as u64);
                let length = header::body_offset(&self.message).unwrap_or(self.message.len()) as u64;
                let message = report.message(&original, length, &self.host.input.envelope, &stamp);
                self.send(&message, "", &report.recipient);
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

    fn send(&mut self, message: &Message, from: &str, to: &str) {
        let message = self.host.octets(message).into();
        self.sent.push(Sent { message, from: from.to_owned(), to: to.to_owned() });
    }

    /// Whom a message is sent from, as such a setting says. What was sent by nobody is never answered, so it stays that way.
    fn source(&self, setting: &str, default: &str) -> String {
        let envelope = &self.host.input.envelope;
        if envelope.from.as_deref() == Some("") {
            return String::new();
        }
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        match self.config.get(setting).map(|value| value.trim()) {
            Some("sender") => text(&envelope.from),
            Some("recipient") => text(&envelope.to),
            Some("orig_recipient") => envelope.original_to.clone().unwrap_or_else(|| text(&envelope.to)),
            Some("user_email") => {
                self.config.get("sieve_user_email").cloned().unwrap_or_else(|| text(&envelope.from))
            }
            Some("postmaster") => "postmaster@suite.example".into(),
            Some(other) if other.starts_with('<') => other.trim_matches(['<', '>']).to_owned(),
            _ => default.to_owned(),
        }
    }

    fn store(&mut self, delivery: &Delivery) -> Result<(), String> {
        let octets = self.host.octets(&delivery.message);
        let name = delivery.mailbox.clone().unwrap_or_else(|| "INBOX".into());
        let found = self.host.mailboxes.iter().find_map(|(name, folder)| {
            let by_id = delivery.mailbox_id.is_some() && folder.id == delivery.mailbox_id;
            let by_use = delivery.special_use.as_ref().is_some_and(|use_| folder.special_use.contains(use_));
            (by_id || by_use).then(|| name.clone())
        });
        let mut name = found.unwrap_or(name);
        if delivery.create && !self.host.mailboxes.contains_key(&name) {
            // RFC 9051 §5.1: names of new mailboxes are in NFC.
            let made = MailboxName::lookup(&name).and_then(|name| name.normalized());
            name = made.map_err(|error| error.to_string())?.as_str().to_owned();
        }
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

    /// A message that was stored, with its flags, or one that was sent: then its envelope is that of the next tests.
    pub(super) fn message_of(&mut self, folder: Option<&str>, index: u64) -> Option<(Bytes, Vec<String>)> {
        let index = usize::try_from(index).ok()?;
        match folder {
            None => {
                let sent = self.sent.get(index)?;
                let envelope = &mut self.host.input.envelope;
                (envelope.from, envelope.to) = (Some(sent.from.clone()), Some(sent.to.clone()));
                Some((sent.message.clone(), Vec::new()))
            }
            Some(folder) => {
                let messages = &self.host.mailboxes.get(folder)?.messages;
                messages.get(index).map(|(message, flags)| (Bytes::from(message.clone()), flags.clone()))
            }
        }
    }

    pub(super) fn structure(message: &Bytes) -> Arc<Structure> {
        Arc::new(Structure::of(message))
    }
}

/// The address of a mailbox with or without a name.
fn address_of(mailbox: &str) -> Option<String> {
    match address_list::parse(mailbox.as_bytes()).first()? {
        Entry::Mailbox(mailbox) => {
            let [local, domain] = [&mailbox.local, &mailbox.domain].map(|part| String::from_utf8_lossy(part));
            Some(format!("{local}@{domain}"))
        }
        _ => None,
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
