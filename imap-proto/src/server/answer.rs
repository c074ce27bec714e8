//! What the application's answers become.

use std::collections::BTreeSet;

use mailwright_line_proto::{Ask, AuthRefusal, Gone, Transmit};
use mailwright_mail_model::UidSet;

use super::{
    Close, Find, Idle, ListEntry, Mailboxes, Open, Opened, Phase, Refresh, Server, State,
    run::completed,
    slots::{Kind, Slot},
};
use crate::{
    Answered, Refusal,
    command::{
        Copy, CopyUid, Create, Delete, Expunge, Fetch, Id, List, Move, Namespace, Rename,
        Status as StatusCommand, Store, Subscribe, Unsubscribe,
    },
    response::{
        FlagList, ListAttribute, Listed, MailboxStatus, Namespaces, ResponseCode, Search, ServerId, Status,
        count,
    },
    view::{Change, View},
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
            Kind::Message { .. } => self.message_answered(slot, Err(Refusal::unavailable())),
            _ => self.refuse(&slot, Refusal::unavailable()),
        }
    }

    fn done(&mut self, slot: &Slot, answer: Answered<()>) {
        match answer {
            Ok(()) => self.succeed(slot, None),
            Err(refusal) => self.refuse(slot, refusal),
        }
    }

    fn succeed(&mut self, slot: &Slot, code: Option<ResponseCode>) {
        let status = Status::ok(completed(slot.name));
        let status = match code {
            Some(code) => status.with(code),
            None => status,
        };
        self.finish(&slot.tag, &status, !slot.uses_seqs);
    }

    fn refuse(&mut self, slot: &Slot, refusal: Refusal) {
        self.finish(&slot.tag, &refusal.into(), !slot.uses_seqs);
    }

    /// The untagged part of the answer to SELECT (RFC 3501 §6.3.1), and the change of state.
    fn opened(&mut self, slot: &Slot, opened: Opened, read_only: bool) {
        let Opened {
            uids,
            recent,
            uid_validity,
            uid_next,
            flags,
            permanent_flags,
            new_keywords,
            first_unseen,
            ..
        } = opened;
        let view = View::new(uids, &recent);
        let wire = &mut self.transmit;
        let number = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        FlagList::new(flags).encode(wire);
        count::encode_exists(number(view.known().len()), wire);
        count::encode_recent(number(view.recent().len()), wire);
        let mut notice = |code, text: &'static str| Status::ok(text).with(code).encode(None, wire);
        let unseen =
            first_unseen.and_then(|uid| view.sequence(uid)).map(number).and_then(std::num::NonZeroU32::new);
        if let Some(unseen) = unseen {
            notice(ResponseCode::Unseen(unseen), "the first unseen message");
        }
        let permanent = if read_only {
            FlagList::default()
        } else {
            FlagList::new(permanent_flags).wildcard(new_keywords)
        };
        notice(ResponseCode::PermanentFlags(permanent), "flags that can be changed");
        if let Some(next) = uid_next {
            notice(ResponseCode::UidNext(next), "the next UID");
        }
        notice(ResponseCode::UidValidity(uid_validity), "UIDs are valid");
        self.state = State::Selected { view: Box::new(view), read_only };
        let code = if read_only { ResponseCode::ReadOnly } else { ResponseCode::ReadWrite };
        self.succeed(slot, Some(code));
    }

    fn removed(&mut self, uids: UidSet) {
        if let State::Selected { view, .. } = &mut self.state {
            view.note(Change::Removed(uids));
        }
    }
}

impl Reply for Open {
    fn reply(server: &mut Server, slot: Slot, _: Self, answer: Answered<Opened>) {
        let read_only = matches!(slot.kind, Kind::Open { read_only: true });
        match answer {
            Ok(opened) => {
                let read_only = read_only || opened.read_only;
                server.opened(&slot, opened, read_only);
            }
            Err(refusal) => server.refuse(&slot, refusal),
        }
    }
}

impl Reply for Mailboxes {
    fn reply(server: &mut Server, slot: Slot, _: Self, answer: Answered<Vec<ListEntry>>) {
        let (Ok(entries), Kind::List { list, subscribed }) = (&answer, &slot.kind) else {
            return server.done(&slot, answer.map(drop));
        };
        let wire = server.out();
        if *subscribed {
            list_subscribed(list, entries, wire);
        } else {
            let matcher = list.matcher();
            let listed = entries.iter().filter(|entry| entry.exists && matcher.matches(&entry.mailbox));
            listed.for_each(|entry| entry.listed().encode(wire));
        }
        server.succeed(&slot, None);
    }
}

fn list_subscribed(list: &List, entries: &[ListEntry], wire: &mut Transmit) {
    let matcher = list.matcher();
    let subscribed = || entries.iter().filter(|entry| entry.subscribed);
    let mut above = BTreeSet::new();
    for entry in subscribed() {
        if matcher.matches(&entry.mailbox) {
            entry.listed().encode_lsub(wire);
            continue;
        }
        // RFC 3501 §6.3.9: a level that matches `%` is listed as \Noselect if only names below it are subscribed.
        let mut parent = entry.mailbox.parent();
        while let Some(name) = parent {
            parent = name.parent();
            if matcher.matches(&name) {
                above.insert(name);
            }
        }
    }
    for entry in subscribed() {
        above.remove(&entry.mailbox);
    }
    for name in above {
        Listed::new(name, vec![ListAttribute::NoSelect]).encode_lsub(wire);
    }
}

impl Reply for StatusCommand {
    fn reply(server: &mut Server, slot: Slot, request: Self, answer: Answered<MailboxStatus>) {
        match answer {
            Ok(status) => {
                request.only_asked_for(status).encode(server.out());
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
        if let Ok(namespaces) = &answer {
            namespaces.encode(server.out());
        }
        server.done(&slot, answer.map(drop));
    }
}

impl Reply for Refresh {
    fn reply(server: &mut Server, slot: Slot, _: Self, (): ()) {
        server.succeed(&slot, None);
    }
}

impl Reply for Idle {
    fn reply(server: &mut Server, slot: Slot, _: Self, (): ()) {
        server.transmit.put(b"+ idling\r\n");
        if let State::Selected { view, .. } = &mut server.state {
            view.announce(true, &mut server.transmit);
        }
        server.phase = Phase::Idle { tag: slot.tag };
    }
}

impl Reply for Find {
    fn reply(server: &mut Server, slot: Slot, _: Self, answer: Answered<UidSet>) {
        if let (Ok(found), State::Selected { view, .. }) = (&answer, &server.state) {
            let found = found.intersection(view.known());
            let by_uid = slot.says_uid;
            let number = |uid: mailwright_mail_model::Uid| {
                if by_uid { Some(uid.get()) } else { u32::try_from(view.sequence(uid)?).ok() }
            };
            let out = if server.stream.is_some() { &mut server.held } else { &mut server.transmit };
            Search::encode_numbers(found.iter().filter_map(number), out);
        }
        server.done(&slot, answer.map(drop));
    }
}

impl Reply for Expunge<UidSet> {
    fn reply(server: &mut Server, slot: Slot, _: Self, answer: Answered<UidSet>) {
        let answer = answer.map(|uids| server.removed(uids));
        server.done(&slot, answer);
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
        let answer = answer.map(|copied| {
            let source = copied.source.clone();
            // RFC 6851 §4.3: before the messages are announced as expunged, so untagged.
            if let Some(code) = copy_code(copied) {
                Status::ok("moved").with(code).encode(None, server.out());
            }
            server.removed(source);
        });
        server.done(&slot, answer);
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

done!(Create, Delete, Rename, Subscribe, Unsubscribe, Close, Fetch<UidSet>, Store<UidSet>);
