//! APPEND: the message streams through, and nothing of it is kept here.

use std::time::Instant;

use bytes::BytesMut;
use mailwright_line_proto::{
    Ask, Closed, Deadline, Output, PeerMisbehaved,
    frame::{Counted, LiteralMark},
};

use super::{
    AppendUid, Commit, Event, Message, Phase, Server,
    answer::Reply,
    intake::Taken,
    slots::{Kind, Slot},
    wait,
};
use crate::{
    Answered, Refusal,
    command::{Append, Command},
    response::{ResponseCode, Status},
};

/// A message that is coming in.
#[derive(Debug)]
pub(super) struct Incoming {
    tag: Box<str>,
    octets: Counted,
    /// What ends the command behind the message.
    end: &'static [u8],
    /// Why it is not wanted, if it is not: it is taken to its end nevertheless.
    refusal: Option<Box<Status>>,
}

impl Server {
    /// An APPEND has come to the mark of its message, and nothing else runs.
    pub(super) fn start_message(
        &mut self,
        tag: Box<str>,
        append: Append,
        mark: LiteralMark,
    ) -> Option<Output<Event>> {
        let refusal = if !self.config.abilities.write {
            Some(Refusal::cannot())
        } else if append.utf8 && !self.enabled.utf8 {
            // RFC 6855 §4
            Some(Refusal::plain("expected ENABLE UTF8=ACCEPT before this"))
        } else if append.size > self.config.max_message_size {
            Some(Refusal::new(ResponseCode::TooBig, "message too large"))
        } else {
            None
        };
        let kind = Kind::Message { size: append.size, synchronizing: mark.synchronizing, utf8: append.utf8 };
        let slot = Slot::new(tag, "APPEND", kind);
        if let Some(refusal) = refusal {
            self.message_answered(slot, Err(refusal));
            return None;
        }
        let id = self.slots.open(slot);
        let Append { mailbox, flags, internal_date, size, .. } = append;
        Some(Output::Event(Event::Message(Ask::new(id, Message { mailbox, flags, internal_date, size }))))
    }

    pub(super) fn message_answered(&mut self, slot: Slot, answer: Answered<()>) {
        let Kind::Message { size, synchronizing, utf8 } = slot.kind else { return };
        if synchronizing {
            match answer {
                Ok(()) => self.transmit.put(b"+ OK\r\n"),
                // RFC 3501 §7.5: the client does not send it then.
                Err(refusal) => return self.finish(&slot.tag, &refusal.into(), true),
            }
        }
        let refusal = answer.err().map(|refusal| Box::new(refusal.into()));
        self.phase = Phase::Body(Incoming {
            tag: slot.tag,
            octets: Counted::new(size),
            end: if utf8 { b")" } else { b"" },
            refusal,
        });
        self.since = None;
    }

    pub(super) fn take_body(&mut self, now: Instant, rx: &mut BytesMut) -> Option<Output<Event>> {
        let Phase::Body(incoming) = &mut self.phase else { return None };
        if let Some(octets) = incoming.octets.next(rx) {
            self.since = None;
            return incoming.refusal.is_none().then_some(Output::Event(Event::Body(octets)));
        }
        let mut taken = Taken::Partial;
        if incoming.octets.is_done() {
            let limits = &self.config.limits;
            taken = self.intake.line(rx, limits.line, limits.skip);
        }
        match taken {
            Taken::Partial if self.ended => self.close(Closed::Eof),
            Taken::Partial => {
                let until = *self.since.get_or_insert(now) + self.config.timeouts.body;
                if until <= now { self.time_out(Deadline::Body) } else { wait(true, Some(until)) }
            }
            Taken::Command(line) => self.end_of_message(&line),
            _ => self.misbehaved(
                PeerMisbehaved::Endless { limit: self.config.limits.line as u64 },
                "line or literal too long",
            ),
        }
    }

    /// The message has come, and this line behind it.
    fn end_of_message(&mut self, line: &[u8]) -> Option<Output<Event>> {
        let Phase::Body(incoming) = std::mem::replace(&mut self.phase, Phase::Commands) else { return None };
        self.since = None;
        let Incoming { tag, refusal, end, .. } = incoming;
        let more = match LiteralMark::find(line) {
            Ok(mark) => mark.is_some_and(|mark| !mark.synchronizing),
            Err(_) => true,
        };
        if more {
            // Octets follow that are no commands, and this is not the place to count them.
            let limit = self.config.max_message_size;
            return self.misbehaved(PeerMisbehaved::Endless { limit }, "more than one message");
        }
        if line != end {
            let wanted = refusal.is_none();
            let _ = self.bad(Some(&tag), &Status::bad("expected the end of the command behind the message"));
            return wanted.then_some(Output::Event(Event::BodyAborted));
        }
        if let Some(refusal) = refusal {
            self.finish(&tag, &refusal, true);
            return None;
        }
        let id = self.slots.open(Slot::new(tag, "APPEND", Kind::Commit));
        Some(Output::Event(Event::BodyEnd(Ask::new(id, Commit))))
    }

    /// Takes the APPEND apart that stands before the message.
    pub(super) fn parse_message(head: &[u8], utf8: bool) -> Option<(Box<str>, Append)> {
        let mut input = crate::grammar::Input::new(head).with_utf8(utf8);
        let tag = input.tag().ok()?.into();
        input.space().ok()?;
        match Command::parse(&mut input, Default::default()) {
            Ok(Command::Append(append)) => Some((tag, append)),
            _ => None,
        }
    }
}

impl Reply for Message {
    fn reply(server: &mut Server, slot: Slot, _: Self, answer: Answered<()>) {
        server.message_answered(slot, answer);
    }
}

impl Reply for Commit {
    fn reply(server: &mut Server, slot: Slot, _: Self, answer: Answered<Option<AppendUid>>) {
        let status = match answer {
            Ok(None) => Status::ok("APPEND completed"),
            Ok(Some(AppendUid { uid_validity, uid })) => Status::ok("APPEND completed")
                .with(ResponseCode::AppendUid { validity: uid_validity, uids: uid.into() }),
            Err(refusal) => refusal.into(),
        };
        server.finish(&slot.tag, &status, true);
    }
}
