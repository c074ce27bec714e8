//! What a script is told that asks.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use mailwright_mail_model::{MailboxName, SpecialUse};
use mailwright_mailstore::{Annotated, Mailbox, Metadata, Scripts, Store, Upload, Write};
use mailwright_sieve::{Answer, Message, ProgramInput, ProgramOutput, Request, compose::Mailto};

use super::{
    Happened, Mail, Remember, SieveFilter, Sources,
    actions::elsewhere,
    header_of,
    lists::{Consulted, Members},
    programs::{Call, Input, Output, Programs, Ran, TEXT},
    scores::score,
};

/// How many programs the scripts of one message may start.
const PROGRAMS: u32 = 32;

/// Answers the questions of one run.
pub(super) struct Host<'r, 'm, S, M> {
    filter: &'r SieveFilter<S, M>,
    mail: &'r mut Mail<'m>,
    mailboxes: Option<Vec<Mailbox>>,
    /// What programs made of the message.
    others: Vec<Mutex<Upload>>,
    /// How many programs were started.
    started: u32,
    /// What the user is told of programs that did not what the script asked of them.
    problems: Vec<String>,
    lists: Consulted,
}

impl<'r, 'm, S: Store, M: Remember> Host<'r, 'm, S, M> {
    pub(super) fn new(filter: &'r SieveFilter<S, M>, mail: &'r mut Mail<'m>) -> Self {
        let (others, problems) = (Vec::new(), Vec::new());
        Self { filter, mail, mailboxes: None, others, started: 0, problems, lists: Consulted::default() }
    }

    /// What programs made of the message, for the actions; and what the user is told of those that failed.
    pub(super) fn finish(self) -> (Vec<Mutex<Upload>>, Vec<String>) {
        (self.others, self.problems)
    }

    /// Notes how a program of the user's script ended. What ends the script is told as its error.
    fn note(&mut self, ran: Ran, program: &str) {
        if matches!(ran, Ran::Failed | Ran::Unknown) {
            self.problems.push(ran.problem(program));
        }
    }

    pub(super) async fn answer(&mut self, request: Request) -> Answer {
        match request {
            Request::Octets { source, range } => match self.sources().read(source, range).await {
                Ok(octets) => Answer::Octets(octets),
                Err(error) => Answer::Failed(error.to_string()),
            },
            Request::Mailbox(name) => {
                let name = name.parse::<MailboxName>();
                if let Ok(name) = &name
                    && self.filter.names.is_foreign(&self.filter.store, name)
                {
                    // RFC 5490 §3.1: whether the user may deliver into it.
                    let SieveFilter { names, store, .. } = self.filter;
                    return Answer::Truth(
                        elsewhere(names, store, self.mail.account, name, false).await.is_ok(),
                    );
                }
                self.has(|mailbox| name.as_ref().is_ok_and(|name| mailbox.name == *name)).await
            }
            Request::MailboxById(id) => {
                self.has(|mailbox| mailbox.id.is_some_and(|found| found.to_string() == id)).await
            }
            Request::SpecialUse { mailbox: name, attribute } => {
                let wanted = attribute.parse::<SpecialUse>().ok();
                let name = name.map(|name| name.parse::<MailboxName>());
                self.has(|mailbox| {
                    let named = name
                        .as_ref()
                        .is_none_or(|name| name.as_ref().is_ok_and(|name| mailbox.name == *name));
                    named && wanted.is_some() && mailbox.special_use == wanted
                })
                .await
            }
            Request::Metadata { mailbox, annotation } => self.annotation(mailbox, &annotation).await,
            Request::Duplicate { key, .. } => {
                let now = u64::try_from(self.mail.now.seconds()).unwrap_or(0);
                match self.filter.memory.remembers(self.mail.account, &key, now) {
                    Ok(seen) => Answer::Truth(seen),
                    Err(error) => Answer::Failed(error.to_string()),
                }
            }
            Request::Environment(item) => Answer::Text(self.environment(&item)),
            Request::Script { global: true, name } => {
                Answer::Script(self.filter.server.included.get(&name).cloned())
            }
            Request::Script { global: false, name } => self.script(&name).await,
            Request::NotifyMethod(uri) => Answer::Truth(Mailto::parse(&uri).is_some()),
            Request::NotifyCapability { uri, capability } => {
                // RFC 5436 §2.5: nobody knows whether a reader of mail is there.
                let known = is_mailto(&uri) && capability.eq_ignore_ascii_case("online");
                Answer::Text(known.then(|| "maybe".to_owned()))
            }
            Request::ListMember { list, value } => {
                self.list(&list, |members| members.is_some_and(|members| members.contain(&value))).await
            }
            Request::List(list) => self.list(&list, |members| members.is_some()).await,
            Request::Score(wanted) => {
                let header = header_of(self.mail.upload, &self.mail.structure).await;
                let options = &self.filter.options;
                Answer::Text(score(options.spam.as_ref(), options.virus.as_ref(), wanted, &header))
            }
            Request::Execute { program, arguments, input } => {
                let input = match &input {
                    ProgramInput::Text(text) => Input::Text(text),
                    ProgramInput::Message(message) => Input::Message(message),
                    _ => Input::Nothing,
                };
                let mut output = Output::octets(TEXT);
                let Some(programs) = &self.filter.options.programs else {
                    return Answer::Program(ProgramOutput::Unknown);
                };
                let ran = match self.start(programs, &program, &arguments, input, &mut output).await {
                    Ok(ran) => ran,
                    Err(failed) => return failed,
                };
                self.note(ran, &program);
                Answer::Program(
                    ran.output(output.into_octets().map_or_else(Bytes::new, |(octets, _)| octets)),
                )
            }
            Request::Filter { program, arguments, message } => {
                self.filtered(&program, &arguments, &message).await
            }
            Request::Convert { from, to, parameters, body } => {
                self.convert(&from, &to, &parameters, &body).await
            }
            other => Answer::Failed(format!("this server does not know how to answer {other:?}")),
        }
    }

    fn sources(&mut self) -> Sources<'_> {
        Sources { own: &mut *self.mail.upload, others: &mut self.others }
    }

    /// Looks into a list of the user's. One that cannot be read ends the script, for nobody knows who is in it.
    async fn list(&mut self, name: &str, is: impl FnOnce(Option<&Members>) -> bool) -> Answer {
        let lists = self.filter.options.lists.as_ref();
        match self.lists.members(lists, self.mail.account, name).await {
            Ok(members) => Answer::Truth(is(members.as_deref())),
            Err(error) => Answer::Failed(error.to_string()),
        }
    }

    /// RFC 6558 §2: what is not converted stays as it is.
    async fn convert(&mut self, from: &str, to: &str, parameters: &[String], body: &[u8]) -> Answer {
        let Some(converter) = &self.filter.options.converter else { return Answer::Converted(None) };
        let mut arguments = vec![from.to_owned(), to.to_owned()];
        arguments.extend_from_slice(parameters);
        let mut output = Output::octets(converter.largest);
        let programs = &converter.programs;
        let program = &converter.program;
        match self.start(programs, program, &arguments, Input::Octets(body), &mut output).await {
            Err(failed) => failed,
            Ok(Ran::Succeeded) => {
                // Half a body is none.
                Answer::Converted(output.into_octets().filter(|(_, whole)| *whole).map(|(octets, _)| octets))
            }
            Ok(_) => Answer::Converted(None),
        }
    }

    /// Runs a program, if this run has not started too many.
    async fn start(
        &mut self,
        programs: &Programs,
        program: &str,
        arguments: &[String],
        input: Input<'_>,
        output: &mut Output,
    ) -> Result<Ran, Answer> {
        let filter = self.filter;
        self.started += 1;
        if self.started > PROGRAMS {
            return Err(Answer::Failed(format!("the script starts more than {PROGRAMS} programs")));
        }
        let environment = filter.environment(self.mail);
        let call = Call { program, arguments, environment: &environment, id: self.mail.id };
        // It is never closed.
        let _turn = filter.turns.acquire().await;
        Ok(programs.run(call, input, &mut self.sources(), output).await)
    }

    /// A message that a program makes of this one: held like one that comes in, and never committed.
    async fn filtered(&mut self, program: &str, arguments: &[String], message: &Message) -> Answer {
        let Some(programs) = &self.filter.options.programs else {
            return Answer::Program(ProgramOutput::Unknown);
        };
        let longest = programs.message;
        let Some(writer) = self.filter.store.writer() else {
            return Answer::Failed("the store takes no mail".into());
        };
        let upload = match writer.begin(None).await {
            Ok(upload) => upload,
            Err(error) => return Answer::Failed(error.to_string()),
        };
        let mut output = Output::message(upload, longest);
        let ran = match self.start(programs, program, arguments, Input::Message(message), &mut output).await {
            Ok(ran) => ran,
            Err(failed) => return failed,
        };
        self.note(ran, program);
        let Output::Message(made) = output else { return Answer::Program(ran.output(Bytes::new())) };
        match made.finish().filter(|_| ran == Ran::Succeeded) {
            Some((upload, structure)) => {
                self.others.push(Mutex::new(upload));
                let source = u32::try_from(self.others.len()).unwrap_or(u32::MAX);
                Answer::Message { source, structure: Arc::new(structure) }
            }
            None => Answer::Program(ran.output(Bytes::new())),
        }
    }

    async fn has(&mut self, is: impl Fn(&Mailbox) -> bool) -> Answer {
        if self.mailboxes.is_none() {
            match self.filter.store.mailboxes(self.mail.account).await {
                Ok(mailboxes) => self.mailboxes = Some(mailboxes),
                Err(error) => return Answer::Failed(error.to_string()),
            }
        }
        Answer::Truth(self.mailboxes.iter().flatten().any(is))
    }

    #[expect(clippy::needless_pass_by_ref_mut, reason = "an upload cannot be shared between threads")]
    async fn annotation(&mut self, mailbox: Option<String>, name: &str) -> Answer {
        let Some(metadata) = self.filter.store.metadata() else { return Answer::Text(None) };
        let place = match mailbox.map(|name| name.parse::<MailboxName>()) {
            None => Annotated::Server,
            // What others note of theirs is not for scripts.
            Some(Ok(name)) if self.filter.names.is_foreign(&self.filter.store, &name) => {
                return Answer::Text(None);
            }
            Some(Ok(name)) => Annotated::Mailbox { owner: self.mail.account.clone(), name },
            Some(Err(_)) => return Answer::Text(None),
        };
        match metadata.annotations(&place, self.mail.account).await {
            Ok(all) => {
                let found =
                    all.iter().find(|annotation| annotation.entry.as_str().eq_ignore_ascii_case(name));
                Answer::Text(found.map(|annotation| String::from_utf8_lossy(&annotation.value).into_owned()))
            }
            Err(_) => Answer::Text(None),
        }
    }

    #[expect(clippy::needless_pass_by_ref_mut, reason = "an upload cannot be shared between threads")]
    async fn script(&mut self, name: &str) -> Answer {
        let Some(scripts) = self.filter.store.scripts() else { return Answer::Script(None) };
        let Ok(name) = name.parse() else { return Answer::Script(None) };
        let program = match scripts.script(self.mail.account, &name).await {
            Ok(text) => self.filter.language.compile(&text).ok().map(Arc::new),
            Err(_) => None,
        };
        Answer::Script(program)
    }

    /// RFC 6785 §4.2 to §4.5; empty at delivery.
    fn of_event(&self, item: &str) -> Option<String> {
        let of = |text: fn(&Happened) -> String| Some(self.mail.event.as_ref().map(text).unwrap_or_default());
        match item {
            "user" | "email" => of(|event| event.user.clone()),
            "cause" => of(|event| event.cause.as_str().to_owned()),
            "mailbox" => of(|event| event.mailbox.clone()),
            "changedflags" => of(|event| event.changed.clone()),
            _ => None,
        }
    }

    /// spec-bosch-sieve-dovecot-environment §3
    fn of_dovecot(&self, item: &str) -> Option<String> {
        if let Some(wanted) = item.strip_prefix("config.") {
            // §4: a variable cannot have a hyphen in its name.
            let key = |name: &str| name.to_ascii_lowercase().replace('_', "-");
            let mut known = self.filter.options.environment.iter();
            let wanted = key(wanted);
            return known.find(|(name, _)| key(name) == wanted).map(|(_, value)| value.clone());
        }
        match item {
            "default-mailbox" => Some(MailboxName::inbox().to_string()),
            "username" => Some(self.mail.account.as_str().to_owned()),
            _ => None,
        }
    }

    /// RFC 5183 §4.1
    fn environment(&self, item: &str) -> Option<String> {
        let host = &self.filter.hostname;
        let item = item.to_ascii_lowercase();
        if let Some(item) = item.strip_prefix("imap.").filter(|_| self.filter.options.events) {
            return self.of_event(item);
        }
        if let Some(item) = item.strip_prefix("vnd.dovecot.") {
            return self.of_dovecot(item);
        }
        match item.as_str() {
            // RFC 6785 §4.1
            "location" if self.mail.event.is_some() || self.mail.again.is_some() => Some("MS".into()),
            "phase" if self.mail.event.is_some() || self.mail.again.is_some() => Some("post".into()),
            "host" => Some(host.clone()),
            "domain" => host.split_once('.').map(|(_, domain)| domain.to_owned()),
            "location" => Some("MDA".into()),
            "phase" => Some("during".into()),
            "name" => Some("mailwright".into()),
            "version" => Some(env!("CARGO_PKG_VERSION").into()),
            _ => None,
        }
    }
}

fn is_mailto(uri: &str) -> bool {
    uri.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("mailto:"))
}
