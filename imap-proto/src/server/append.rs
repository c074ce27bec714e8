//! APPEND and REPLACE: messages stream through, and nothing of them is kept here.

use std::{collections::VecDeque, time::Instant};

use bytes::BytesMut;
use mailwright_line_proto::{
    Ask, Closed, Deadline, Output, PeerMisbehaved,
    frame::{Counted, LiteralMark},
};
use mailwright_mail_model::{MailboxName, Uid, UidSet};

use super::{
    AppendUid, Commit, Event, Include, Message, Phase, Server, State,
    answer::Reply,
    intake::Taken,
    run::{completed, not_understood},
    slots::{Kind, Slot},
    wait,
};
use crate::{
    Answered, MessageSet, Refusal,
    command::{Place, Replace, Spec, Step, Steps},
    grammar::{GrammarError, Input},
    response::{ResponseCode, Status, StatusKind},
};

/// A command whose messages are coming in.
#[derive(Debug)]
pub(super) struct Incoming {
    tag: Box<str>,
    spec: &'static Spec,
    mailbox: MailboxName,
    /// The message whose place is taken.
    replaces: Option<Uid>,
    /// What is understood and not yet done.
    steps: VecDeque<Step>,
    /// The octets that are coming in.
    octets: Option<Counted>,
    /// Where the grammar goes on behind them; `None` if the command is at its end.
    place: Option<Place>,
    /// How many messages have begun.
    messages: u32,
    /// How many octets the last of them has.
    size: u64,
    /// Why they are not wanted, if they are not: they are taken to their end nevertheless.
    refusal: Option<Box<Status>>,
    /// Whether the application holds something that must not be kept if there is a refusal.
    held: bool,
}

/// What stands before the first message.
struct Head {
    tag: Box<str>,
    spec: &'static Spec,
    replaces: Option<MessageSet>,
    mailbox: MailboxName,
}

impl Head {
    fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        let tag = input.tag()?.into();
        input.space()?;
        let spec = Spec::find(input)?;
        let replaces = match spec.name {
            "REPLACE" => Some(Replace::parse_message(input, false)?),
            "UID REPLACE" => Some(Replace::parse_message(input, true)?),
            _ => None,
        };
        input.space()?;
        Ok(Self { tag, spec, replaces, mailbox: input.mailbox()? })
    }
}

impl Server {
    /// An APPEND or REPLACE has come to its end or to the octets of its first message, and nothing else runs.
    pub(super) fn start_message(&mut self, octets: &[u8]) -> Option<Output<Event>> {
        let mut input = Input::new(octets)
            .with_utf8(self.enabled.is_utf8())
            .with_extra_separator(self.workarounds.extra_separator);
        let mut start = Input::new(octets);
        let parsed = Head::parse(&mut input).and_then(|head| {
            let steps = Steps::parse(&mut input, Place::Message)?;
            Ok((head, steps))
        });
        let (head, steps) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => {
                let (Ok(tag), Ok(()), Ok(spec)) = (start.tag(), start.space(), Spec::find(&mut start)) else {
                    return self.bad(None, &Status::bad(error.to_string()));
                };
                let status = not_understood(spec, error);
                return match LiteralMark::find(octets) {
                    // What it announces comes whatever is said, and is no command.
                    Ok(Some(mark)) if !mark.synchronizing => self.misbehaved(
                        PeerMisbehaved::Endless { limit: self.config.limits.literal },
                        "a message behind a command that is not understood",
                    ),
                    _ => self.bad(Some(tag), &status),
                };
            }
        };
        let replaced = head.replaces.as_ref().map(|message| self.replaced(head.spec, message)).transpose();
        let (replaces, refusal) = match replaced {
            Ok(uid) => (uid, (!self.config.abilities.write).then(|| Refusal::cannot().into())),
            Err(status) => (None, Some(*status)),
        };
        self.phase = Phase::Body(Incoming {
            tag: head.tag,
            spec: head.spec,
            mailbox: head.mailbox,
            replaces,
            steps: steps.steps.into(),
            octets: None,
            place: steps.place,
            messages: 0,
            size: 0,
            refusal: refusal.map(Box::new),
            held: false,
        });
        self.since = None;
        None
    }

    /// Which message a REPLACE takes the place of.
    fn replaced(&self, spec: &Spec, message: &MessageSet) -> Result<Uid, Box<Status>> {
        let State::Selected { read_only, .. } = &self.state else {
            return Err(Status::bad("not without a selected mailbox").into());
        };
        if self.enabled.uid_only && !message.is_uid() {
            // RFC 9586 §3.1
            let status = Status::bad("sequence numbers are not used").with(ResponseCode::UidRequired);
            return Err(status.into());
        }
        if !self.config.abilities.several {
            return Err(Status::from(Refusal::cannot()).into());
        }
        if *read_only {
            return Err(Status::from(Refusal::no_permission()).into());
        }
        let uids = self.resolve(message).map_err(|error| not_understood(spec, error))?;
        let mut uids = uids.iter();
        match (uids.next(), uids.next()) {
            (Some(uid), None) => Ok(uid),
            (None, _) => Err(Status::no("there is no such message").into()),
            // RFC 8508 §5: a number, not a set.
            (Some(_), Some(_)) => Err(Status::bad("expected one message").into()),
        }
    }

    /// The application has said what it thinks of a message, or of a part of one.
    pub(super) fn message_answered(&mut self, answer: Answered<u64>) {
        let Phase::Body(incoming) = &mut self.phase else { return };
        match answer {
            Ok(octets) => {
                incoming.held = true;
                incoming.grow(octets, self.config.max_message_size);
            }
            Err(refusal) => incoming.refuse(refusal.into()),
        }
        self.since = None;
    }

    pub(super) fn take_body(&mut self, now: Instant, rx: &mut BytesMut) -> Option<Output<Event>> {
        let Phase::Body(incoming) = &mut self.phase else { return None };
        if incoming.refusal.is_some() && std::mem::take(&mut incoming.held) {
            return Some(Output::Event(Event::BodyAborted));
        }
        if let Some(octets) = &mut incoming.octets {
            if let Some(octets) = octets.next(rx) {
                self.since = None;
                return incoming.refusal.is_none().then_some(Output::Event(Event::Body(octets)));
            }
            if !octets.is_done() {
                return self.wait_for_body(now);
            }
            incoming.octets = None;
        }
        if let Some(step) = incoming.steps.pop_front() {
            return self.take_step(step);
        }
        let Some(place) = incoming.place else {
            if incoming.refusal.is_some() || incoming.size > 0 {
                return self.end_of_messages();
            }
            // What was put together of pieces may have no octets either.
            incoming.refuse(empty());
            return None;
        };
        match self.intake.behind(place, rx, &self.config.limits, self.config.literals) {
            Taken::Partial => self.wait_for_body(now),
            Taken::Consent => {
                self.transmit.put(b"+ OK\r\n");
                None
            }
            Taken::Command(line) | Taken::Message { head: line } => self.go_on(&line, place),
            Taken::TooBig { .. } => {
                self.go_wrong(Refusal::new(ResponseCode::TooBig, "literal too large").into())
            }
            Taken::Endless { limit } => {
                self.misbehaved(PeerMisbehaved::Endless { limit }, "line or literal too long")
            }
        }
    }

    fn wait_for_body(&mut self, now: Instant) -> Option<Output<Event>> {
        if self.ended {
            return self.close(Closed::Eof);
        }
        let until = *self.since.get_or_insert(now) + self.config.timeouts.body;
        if until <= now { self.time_out(Deadline::Body) } else { wait(true, Some(until)) }
    }

    /// This has come behind the octets of a message.
    fn go_on(&mut self, line: &[u8], place: Place) -> Option<Output<Event>> {
        self.since = None;
        let mut input = Input::new(line).with_utf8(self.enabled.is_utf8());
        match (Steps::parse(&mut input, place), &mut self.phase) {
            (Ok(steps), Phase::Body(incoming)) => {
                incoming.steps.extend(steps.steps);
                incoming.place = steps.place;
                None
            }
            _ if matches!(LiteralMark::find(line), Ok(Some(mark)) if !mark.synchronizing) => {
                // Octets follow that are no commands, and this is not the place to count them.
                let limit = self.config.max_message_size;
                self.misbehaved(PeerMisbehaved::Endless { limit }, "something behind the message")
            }
            _ => self.go_wrong(Status::bad("expected the end of the command behind the message")),
        }
    }

    /// The command ends here, and in failure.
    fn go_wrong(&mut self, status: Status) -> Option<Output<Event>> {
        if let Phase::Body(incoming) = &mut self.phase {
            incoming.refuse(status);
            incoming.steps.clear();
            incoming.place = None;
        }
        None
    }

    fn take_step(&mut self, step: Step) -> Option<Output<Event>> {
        let (config, enabled) = (&self.config, self.enabled);
        let Phase::Body(incoming) = &mut self.phase else { return None };
        match step {
            Step::Begin { flags, internal_date, annotations, size, utf8 } => {
                let sequel = incoming.messages > 0;
                if sequel && incoming.size == 0 {
                    incoming.refuse(empty());
                }
                incoming.messages = incoming.messages.saturating_add(1);
                incoming.size = 0;
                // RFC 8508 §4.7: one message takes the place of one.
                if sequel && incoming.replaces.is_some() {
                    incoming.refuse(Status::bad("expected one message"));
                } else if let Some(limit) =
                    config.message_limit.filter(|limit| incoming.messages > limit.get())
                {
                    // RFC 9738: all of the messages are taken or none (RFC 3502 §6.3.11).
                    let code = ResponseCode::MessageLimit { limit: limit.get(), lowest: None };
                    incoming.refuse(Status::no("too many messages at once").with(code));
                } else if sequel && !config.abilities.several
                    || size.is_none() && !config.abilities.derives
                    || !annotations.is_empty() && !config.abilities.annotates
                {
                    incoming.refuse(Refusal::cannot().into());
                } else if utf8 && !enabled.utf8 {
                    // RFC 6855 §4
                    incoming.refuse(Status::no("expected ENABLE UTF8=ACCEPT before this"));
                } else if size == Some(0) {
                    incoming.refuse(empty());
                } else if size.is_some_and(|size| size > config.max_message_size) {
                    incoming.refuse(too_large());
                }
                if incoming.refusal.is_some() {
                    return None;
                }
                let (mailbox, replaces) = (incoming.mailbox.clone(), incoming.replaces);
                let id = self.slots.open(Slot::new(incoming.tag.clone(), incoming.spec.name, Kind::Message));
                let message = Message { mailbox, flags, internal_date, annotations, size, sequel, replaces };
                Some(Output::Event(Event::Message(Ask::new(id, message))))
            }
            Step::Url(_) if incoming.refusal.is_some() => None,
            Step::Url(url) => {
                let id = self.slots.open(Slot::new(incoming.tag.clone(), incoming.spec.name, Kind::Include));
                Some(Output::Event(Event::Include(Ask::new(id, Include::new(url)))))
            }
            Step::Octets { length, synchronizing } => {
                incoming.grow(length, config.max_message_size);
                match (synchronizing, incoming.refusal.is_some()) {
                    // RFC 3501 §7.5: the client does not send it then.
                    (true, true) => {
                        incoming.steps.clear();
                        incoming.place = None;
                        return None;
                    }
                    (true, false) => self.transmit.put(b"+ OK\r\n"),
                    (false, _) => {}
                }
                incoming.octets = Some(Counted::new(length));
                None
            }
        }
    }

    /// The command has come whole.
    fn end_of_messages(&mut self) -> Option<Output<Event>> {
        let Phase::Body(incoming) = std::mem::replace(&mut self.phase, Phase::Commands) else { return None };
        self.since = None;
        let Incoming { tag, spec, replaces, refusal, .. } = incoming;
        match refusal {
            Some(status) if status.kind == StatusKind::Bad => self.bad(Some(&tag), &status),
            Some(status) => {
                self.finish(&tag, &status, true);
                None
            }
            None => {
                let replaced = replaces.map(UidSet::from).unwrap_or_default();
                let id = self.slots.open(Slot::new(tag, spec.name, Kind::Commit { replaced }));
                Some(Output::Event(Event::BodyEnd(Ask::new(id, Commit))))
            }
        }
    }
}

impl Incoming {
    /// The first thing that is wrong is told.
    fn refuse(&mut self, status: Status) {
        self.refusal.get_or_insert_with(|| Box::new(status));
    }

    fn grow(&mut self, octets: u64, limit: u64) {
        self.size = self.size.saturating_add(octets);
        if self.size > limit {
            self.refuse(too_large());
        }
    }
}

/// RFC 3502 §6.3.11: a message without octets is an error, and NO the answer: it is how a client thinks better of it, and none of its
/// messages is kept.
fn empty() -> Status {
    Status::no("a message of no octets: nothing is appended")
}

fn too_large() -> Status {
    Refusal::new(ResponseCode::TooBig, "message too large").into()
}

impl Reply for Message {
    fn reply(server: &mut Server, _: Slot, _: Self, answer: Answered<()>) {
        server.message_answered(answer.map(|()| 0));
    }
}

impl Reply for Include {
    fn reply(server: &mut Server, _: Slot, _: Self, answer: Answered<u64>) {
        server.message_answered(answer);
    }
}

impl Reply for Commit {
    fn reply(server: &mut Server, slot: Slot, _: Self, answer: Answered<Option<AppendUid>>) {
        let replaced = match slot.kind {
            Kind::Commit { replaced } => replaced,
            _ => UidSet::new(),
        };
        let ok = Status::ok(completed(slot.name));
        let status = match answer {
            Ok(appended) => {
                let code = appended.map(|AppendUid { uid_validity: validity, uids }| {
                    ResponseCode::AppendUid { validity, uids }
                });
                match code {
                    Some(code) if replaced.is_empty() => ok.with(code),
                    Some(code) => {
                        // RFC 8508 §4.3: before the message is announced as expunged, so untagged.
                        server.say(None, &Status::ok("replacement message ready").with(code));
                        ok
                    }
                    None => ok,
                }
            }
            Err(refusal) => return server.finish(&slot.tag, &refusal.into(), true),
        };
        server.removed(replaced);
        server.finish(&slot.tag, &status, true);
    }
}
