//! What the application's answers become.

use mailwright_line_proto::{Ask, AuthRefusal, Gone};
use mailwright_mail_model::UidSet;

use super::{
    Close, Idle, Phase, Refresh, Server, State,
    run::completed,
    slots::{Kind, Slot},
};
use crate::{
    Answered, Refusal,
    command::{
        Copy, CopyUid, Create, Delete, Expunge, Fetch, Id, Move, Namespace, Rename, Status as StatusCommand,
        StatusItem, Store, Subscribe, Unsubscribe,
    },
    grammar::Utf8Wire,
    response::{MailboxStatus, Namespaces, ResponseCode, ServerId, Status},
    view::Change,
};

/// A request that a server asks about. Implemented for all of [`Event`](super::Event)'s questions and nothing else.
pub trait Serve: Reply {}

impl<R: Reply> Serve for R {}

pub(super) use self::sealed::Reply;

mod sealed {
    use mailwright_line_proto::Request;

    use super::{Server, Slot};

    /// How an answer is carried out.
    #[expect(unnameable_types, reason = "sealed")]
    pub trait Reply: Request + Sized {
        /// Turns the answer into replies.
        fn reply(server: &mut Server, slot: Slot, request: Self, answer: Self::Answer);
    }
}

impl Server {
    /// Answers a question.
    ///
    /// # Errors
    /// [`Gone`] if it was answered before, its time is over, or the connection is closed.
    pub fn answer<R: Serve>(&mut self, ask: Ask<R>, answer: R::Answer) -> Result<(), Gone> {
        let (id, request) = ask.into_parts();
        if self.is_streaming(id) {
            // The octets that are missing cannot be taken back.
            let _ = self.broken_stream();
            return Err(Gone);
        }
        let slot = self.slots.take(id)?;
        self.since = None;
        R::reply(self, slot, request, answer);
        Ok(())
    }

    /// The application took too long: refuses in its place.
    pub(super) fn expire(&mut self, id: u32) {
        if self.is_streaming(id) {
            let _ = self.broken_stream();
            return;
        }
        let Ok(slot) = self.slots.take(id) else { return };
        match slot.kind {
            Kind::Login => self.failed_login(&slot.tag, &Refusal::from(AuthRefusal::Unavailable).into()),
            Kind::Message | Kind::Include => self.message_answered(Err(Refusal::unavailable())),
            Kind::News => {}
            Kind::Close => self.closed(&slot, Err(Refusal::unavailable())),
            // It was chosen.
            Kind::Language => self.succeed(&slot, None),
            Kind::Filter { .. } => {
                self.filters.clear();
                self.refuse(&slot, Refusal::unavailable());
            }
            _ => self.refuse(&slot, Refusal::unavailable()),
        }
    }

    pub(super) fn done(&mut self, slot: &Slot, answer: Answered<()>) {
        match answer {
            Ok(()) => self.succeed(slot, None),
            Err(refusal) => self.refuse(slot, refusal),
        }
    }

    pub(super) fn succeed(&mut self, slot: &Slot, code: Option<ResponseCode>) {
        let status = Status::ok(completed(slot.name));
        let limit = self.config.message_limit.map(|limit| limit.get());
        let code = match (slot.limited, limit, code) {
            (Some(lowest), Some(limit), before) => {
                if let Some(code) = before {
                    let wording = self.wording;
                    wording.put(None, &Status::ok("of those").with(code), self.out());
                }
                Some(ResponseCode::MessageLimit { limit, lowest: Some(lowest) })
            }
            (.., code) => code,
        };
        let status = match code {
            Some(code) => status.with(code),
            None => status,
        };
        self.finish(&slot.tag, &status, !slot.uses_seqs);
    }

    pub(super) fn refuse(&mut self, slot: &Slot, refusal: Refusal) {
        self.finish(&slot.tag, &refusal.into(), !slot.uses_seqs);
    }

    /// Tells that a command has expunged these messages, and ends it (RFC 7162 §3.2.7, RFC 6851 §4.4).
    fn expunged(&mut self, slot: &Slot, expunged: UidSet) {
        let tells = self.enabled.resync && !expunged.is_empty();
        self.removed(expunged);
        // What there is to tell is told first: then it is known what is not told.
        let may_expunge = !slot.uses_seqs && self.slots.may_expunge();
        self.announce(may_expunge, !self.workarounds.delay_new_mail);
        let code = match &self.state {
            State::Selected { view, .. } if tells => view.complete_up_to().map(ResponseCode::HighestModSeq),
            _ => None,
        };
        self.succeed(slot, code);
    }

    /// The mailbox is left. RFC 9051 §6.4.2: that ends in OK, or client and server would not agree on whether one is open; what could not be
    /// expunged is told in passing (§7.1.2).
    fn closed(&mut self, slot: &Slot, answer: Answered<()>) {
        if let Err(refusal) = answer {
            self.say(None, &refusal.into());
        }
        self.succeed(slot, None);
    }

    /// STORE is done; these messages were left alone.
    pub(super) fn stored(&mut self, slot: &Slot, answer: Answered<UidSet>) {
        match answer {
            Ok(modified) if modified.is_empty() => self.succeed(slot, None),
            // RFC 7162 §3.1.3
            Ok(modified) => match self.named(&modified, slot.by_uid) {
                Some(modified) => self.succeed(slot, Some(ResponseCode::Modified(modified))),
                None => self.succeed(slot, None),
            },
            Err(refusal) => self.refuse(slot, refusal),
        }
    }

    /// A command has expunged these messages.
    pub(super) fn removed(&mut self, uids: UidSet) {
        if let State::Selected { view, .. } = &mut self.state {
            view.note(Change::Removed(uids.clone()));
        }
        // RFC 5465 §3.1: a client that wants to hear nothing of the open mailbox means what happens there. What its command has done is
        // the response to that command (§2, RFC 9051 §6.4.3), and without it no number would mean what the client thinks.
        self.announce_expunged(&uids);
    }
}

impl Reply for StatusCommand {
    fn reply(server: &mut Server, slot: Slot, request: Self, answer: Answered<MailboxStatus>) {
        match answer {
            Ok(status) => {
                let mut status = request.only_asked_for(status);
                if request.items.contains(&StatusItem::AppendLimit) {
                    status.append_limit.get_or_insert(Some(server.config.max_message_size));
                }
                match server.enabled.is_utf8() {
                    true => status.encode(&mut Utf8Wire(server.out())),
                    false => status.encode(server.out()),
                }
                server.succeed(&slot, None);
            }
            Err(refusal) => server.refuse(&slot, refusal),
        }
    }
}

impl Reply for Id {
    fn reply(server: &mut Server, slot: Slot, _: Self, answer: Answered<ServerId>) {
        if let Ok(id) = &answer {
            id.encode(server.out());
        }
        server.done(&slot, answer.map(drop));
    }
}

impl Reply for Namespace {
    fn reply(server: &mut Server, slot: Slot, _: Self, answer: Answered<Namespaces>) {
        server.tell_namespaces(&slot, answer);
    }
}

impl Reply for Refresh {
    fn reply(server: &mut Server, slot: Slot, _: Self, (): ()) {
        // For a client that is told of new messages here only.
        server.announce(server.slots.may_expunge(), true);
        server.succeed(&slot, None);
    }
}

impl Reply for Idle {
    fn reply(server: &mut Server, slot: Slot, _: Self, (): ()) {
        server.transmit.put(b"+ idling\r\n");
        server.announce(true, true);
        server.phase = Phase::Idle { tag: slot.tag };
    }
}

impl Reply for Expunge<UidSet> {
    fn reply(server: &mut Server, slot: Slot, _: Self, answer: Answered<UidSet>) {
        match answer {
            Ok(uids) => server.expunged(&slot, uids),
            Err(refusal) => server.refuse(&slot, refusal),
        }
    }
}

impl Reply for Copy<UidSet> {
    fn reply(server: &mut Server, slot: Slot, _: Self, answer: Answered<Option<CopyUid>>) {
        match answer {
            Ok(copied) => server.succeed(&slot, copied.and_then(copy_code)),
            Err(refusal) => server.refuse(&slot, refusal),
        }
    }
}

impl Reply for Move<UidSet> {
    fn reply(server: &mut Server, slot: Slot, _: Self, answer: Answered<CopyUid>) {
        match answer {
            Ok(copied) => {
                let source = copied.source.clone();
                // RFC 6851 §4.3: before the messages are announced as expunged, so untagged.
                if let Some(code) = copy_code(copied) {
                    let wording = server.wording;
                    wording.put(None, &Status::ok("moved").with(code), server.out());
                }
                server.expunged(&slot, source);
            }
            Err(refusal) => server.refuse(&slot, refusal),
        }
    }
}

/// RFC 4315 §3: as many copies as originals, or there is no telling which is which.
fn copy_code(copied: CopyUid) -> Option<ResponseCode> {
    let CopyUid { uid_validity, source, destination } = copied;
    let tells = !source.is_empty() && source.len() == destination.len();
    tells.then_some(ResponseCode::CopyUid { validity: uid_validity, source, target: destination })
}

macro_rules! done {
    ($($request:ty),* $(,)?) => {
        $(impl Reply for $request {
            fn reply(server: &mut Server, slot: Slot, _: Self, answer: Answered<()>) {
                server.done(&slot, answer);
            }
        })*
    };
}

done!(Create, Delete, Rename, Subscribe, Unsubscribe);

impl Reply for Close {
    fn reply(server: &mut Server, slot: Slot, _: Self, answer: Answered<()>) {
        if !matches!(slot.kind, Kind::Leaving) {
            return server.closed(&slot, answer);
        }
        // RFC 8437 §3: what can be done now is another matter.
        server.succeed(&slot, Some(ResponseCode::Capability(server.capabilities())));
        // RFC 8437 §4.1: behind this answer nothing is compressed any more.
        if std::mem::take(&mut server.compressed) {
            server.phase = Phase::EndOfDeflate;
        }
    }
}

impl Reply for Fetch<UidSet> {
    fn reply(server: &mut Server, mut slot: Slot, _: Self, answer: Answered<()>) {
        match (answer, std::mem::replace(&mut slot.kind, Kind::Plain)) {
            // Nobody waits for its end.
            (_, Kind::News) => server.announce_now(),
            // RFC 7162 §3.2.5: the mailbox is open. What came or went while the client was told what it has missed is told
            // with the next command, when it knows all the numbers.
            (
                Ok(()) | Err(Refusal { code: Some(ResponseCode::ExpungeIssued), .. }),
                Kind::Resync { code },
            ) => {
                server.end(&slot.tag, &Status::ok(completed(slot.name)).with(code));
            }
            (Err(refusal), Kind::Resync { .. }) => {
                // RFC 9051 §6.3.2: a SELECT that fails leaves nothing selected.
                server.state = State::Authenticated;
                server.refuse(&slot, refusal);
            }
            // RFC 9051 §6.4.9: a UID that is not there is no error.
            (Err(refusal), _) if slot.by_uid && refusal.code == Some(ResponseCode::ExpungeIssued) => {
                server.succeed(&slot, None);
            }
            (answer, _) => server.done(&slot, answer),
        }
    }
}

impl Reply for Store<UidSet> {
    fn reply(server: &mut Server, slot: Slot, _: Self, answer: Answered<UidSet>) {
        server.stored(&slot, answer);
    }
}
