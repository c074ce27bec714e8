//! What becomes of the actions of a script: mail that is stored, sent and given to programs.

use mailwright_mail_model::{
    MailboxName,
    address_list::{self, Entry},
    header, word,
};

use super::{
    ProgramCall, settings,
    world::{Sent, World, mailbox_name},
};
use crate::{
    Action, Context, Delivery, Message, ProgramOutput, Segment,
    compose::{Mailto, Stamp},
    redirect::{self, Verdict},
};

/// Who sends what nobody else does.
const POSTMASTER: &str = "postmaster@suite.example";

impl World {
    /// What is to be done, but for the implicit keep.
    pub(super) fn explicit(&self) -> impl Iterator<Item = &Action> {
        self.actions.iter().filter(|action| !(self.implicit_keep && matches!(action, Action::Keep(_))))
    }

    /// The names of what is to be done, as test scripts know them.
    pub(super) fn action_names(&self) -> Vec<String> {
        self.explicit().map(action_name).collect()
    }

    /// Where no script was run, what the test script itself has done so far counts.
    pub(super) fn take_own(&mut self, context: &mut Context) {
        if !self.ran {
            (self.actions, self.implicit_keep) = context.so_far();
        }
    }

    /// Does what the script wants done. What a test script did itself, and what was done before other scripts were run behind that, is
    /// done once, however often it is asked for.
    pub(super) fn execute(&mut self) -> Result<(), String> {
        let actions: Vec<Action> = self.explicit().cloned().collect();
        let kept = self.actions.iter().find(|action| self.implicit_keep && matches!(action, Action::Keep(_)));
        let kept = kept.cloned();
        if self.ran && self.done == 0 {
            self.kept = false;
        }
        let mut result = actions.iter().skip(self.done).try_for_each(|action| self.carry_out(action));
        if result.is_err() {
            self.keep_original()?;
        } else if let Some(kept) = kept.filter(|_| !self.kept) {
            self.kept = true;
            result = self.carry_out(&kept);
        }
        self.executed = actions.len();
        if !self.ran {
            self.done = actions.len();
        }
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
                let own = [owner.clone(), recipient];
                let header = self.host.octets(&redirect.message);
                match redirect::verdict(&header, &redirect.address, &own) {
                    Verdict::Send => {}
                    Verdict::Keep | Verdict::Loop => return self.keep_original(),
                }
                let from = self.source("sieve_redirect_envelope_from", &sender);
                let trace = Segment::Octets(redirect::trace_field(&owner).into());
                let segments = redirect.message.segments().iter().cloned();
                let message = std::iter::once(trace).chain(segments).collect();
                self.send(&message, &from, &redirect.address);
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
                // RFC 5436 §2.2: what no person has sent is nothing to be told of.
                let by_program =
                    field("Auto-Submitted").is_some_and(|value| !value.eq_ignore_ascii_case("no"));
                if by_program {
                    return Ok(());
                }
                let Some(mailto) = Mailto::parse(&notify.method) else {
                    return Err(format!("`{}` is no mailto URI", notify.method));
                };
                let message = mailto.message(notify, &stamp, &owner, (&notify.about.0, &notify.about.1));
                // RFC 5436 §2.7: whom `:from` names, or the recipient.
                let named = notify.from.as_deref().and_then(address_of).unwrap_or(recipient);
                let from = self.source("sieve_notify_mailto_envelope_from", &named);
                for to in &mailto.recipients {
                    self.send(&message, &from, to);
                }
                notify.fcc.clone().map(|fcc| (fcc, message))
            }
            Action::Report(report) => {
                let stamp = Stamp { from: self.source("sieve_report_from", POSTMASTER), ..stamp };
                let original = Message::original(self.message.len() as u64);
                let length = header::body_offset(&self.message).unwrap_or(self.message.len()) as u64;
                let message = report.message(&original, length, &self.host.input.envelope, &stamp);
                self.send(&message, "", &report.recipient);
                None
            }
            Action::Pipe(pipe) if self.programs.is_some() => {
                let message = self.host.octets(&pipe.message);
                return match self.run_program("pipe", &pipe.program, &pipe.arguments, &message) {
                    ProgramOutput::Success(_) => Ok(()),
                    _ if pipe.ignore_failure => Ok(()),
                    _ => Err(format!("the program `{}` did not take the message", pipe.program)),
                };
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
                self.config.get("sieve_user_email").cloned().unwrap_or_else(|| text(&envelope.to))
            }
            Some("postmaster") => POSTMASTER.into(),
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
        let mut name = mailbox_name(&found.unwrap_or(name));
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

    /// RFC 5228 §2.10.6: what cannot be done as it was meant leaves the message where it would be without any script.
    fn keep_original(&mut self) -> Result<(), String> {
        if std::mem::replace(&mut self.kept, true) {
            return Ok(());
        }
        let octets = self.message.to_vec();
        self.host.mailboxes.entry("INBOX".into()).or_default().messages.push((octets, Vec::new()));
        Ok(())
    }

    /// Runs a program from the directory that a setting names.
    pub(super) fn run_program(
        &mut self,
        kind: &str,
        program: &str,
        arguments: &[String],
        input: &[u8],
    ) -> ProgramOutput {
        let setting = |name: &str| self.config.get(&format!("sieve_{kind}_{name}")).map(|value| value.trim());
        let Some(directory) = setting("bin_dir") else { return ProgramOutput::Unknown };
        // RFC 5228 §2.4.2: lines in Sieve end with CR LF.
        let input = with_line_ends(input, setting("input_eol") != Some("lf"));
        let envelope = &self.host.input.envelope;
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let call = ProgramCall {
            path: format!("{}/{program}", directory.trim_end_matches('/')),
            arguments: arguments.to_vec(),
            input,
            environment: vec![
                ("SENDER".into(), text(&envelope.from)),
                ("RECIPIENT".into(), text(&envelope.to)),
                ("ORIG_RECIPIENT".into(), text(&envelope.original_to)),
                ("HOST".into(), text(&self.host.environment.get("host").cloned())),
                ("HOME".into(), directory.to_owned()),
                ("USER".into(), "user".into()),
            ],
            // 0 is no limit.
            seconds: match setting("exec_timeout").and_then(settings::period) {
                Some(0) => u64::from(u32::MAX),
                Some(seconds) => seconds,
                None => 10,
            },
        };
        self.programs.as_mut().map_or(ProgramOutput::Unknown, |run| run(&call))
    }
}

/// With CR LF, or LF alone, at the ends of lines.
pub(super) fn with_line_ends(octets: &[u8], crlf: bool) -> Vec<u8> {
    let mut lines = Vec::with_capacity(octets.len() + octets.len() / 32);
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => {
                lines.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
                lines.extend_from_slice(if crlf { b"\r\n" } else { b"\n" });
            }
            None => lines.extend_from_slice(line),
        }
    }
    lines
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
