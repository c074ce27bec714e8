//! SELECT and EXAMINE: a mailbox becomes the one that the session is about.

use mailwright_line_proto::{Ask, Output};
use mailwright_mail_model::UidSet;

use super::{
    Event, Open, Opened, Server, State,
    answer::Reply,
    news::News,
    run::Turn,
    slots::{Kind, Slot},
    url_fetching::mechanisms,
};
use crate::{
    command::{Fetch, FetchItem, Select},
    grammar::Utf8Wire,
    refusal::Answered,
    response::{AnnotationSupport, FlagList, ResponseCode, Status, count, encode_vanished, is_object_id},
    view::View,
};

impl Server {
    pub(super) fn select(&mut self, turn: Turn, select: Select) -> Option<Output<Event>> {
        let Select { mailbox, read_only, mod_sequences, annotations, resync, .. } = select;
        if resync.is_some() && !self.enabled.resync {
            // RFC 7162 §3.2.5
            return self.bad(Some(&turn.tag), &Status::bad("expected ENABLE QRESYNC before this"));
        }
        self.enabled.mod_sequences |= mod_sequences;
        // RFC 3501 §6.3.1: whatever comes of it, the mailbox before is no longer selected.
        if matches!(std::mem::replace(&mut self.state, State::Authenticated), State::Selected { .. }) {
            // RFC 7162 §3.2.11, RFC 9051 §7.1: what follows is about another mailbox.
            self.say(None, &Status::ok("the mailbox before is closed").with(ResponseCode::Closed));
        }
        let read_only = read_only || !self.config.abilities.write;
        let open = Open::new(mailbox, read_only, annotations, self.enabled.rev2, resync);
        self.ask(turn, Kind::Open { read_only }, open, Event::Open)
    }

    /// The untagged part of the answer to SELECT (RFC 3501 §6.3.1), and the change of state.
    fn opened(&mut self, mut slot: Slot, open: &Open, opened: Opened, read_only: bool) {
        let Opened {
            uids,
            recent,
            uid_validity,
            uid_next,
            flags,
            permanent_flags,
            new_keywords,
            first_unseen,
            highest_mod_seq,
            mailbox_id,
            annotations,
            listed,
            vanished,
            changed,
            ..
        } = opened;
        let (enabled, mod_sequences) = (self.enabled, self.config.abilities.mod_sequences);
        let examined = matches!(slot.kind, Kind::Open { read_only: true });
        let annotations = match annotations {
            AnnotationSupport::Writable { private, .. } if examined => {
                AnnotationSupport::ReadOnly { private }
            }
            support => support,
        };
        let annotates = matches!(annotations, AnnotationSupport::Writable { .. });
        let view = View::new(uids, &recent).up_to(highest_mod_seq).telling_annotations(open.annotations);
        let wording = self.wording;
        let wire = &mut self.transmit;
        let number = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        FlagList::new(flags).encode(wire);
        count::encode_exists(number(view.known().len()), wire);
        if !enabled.rev2 {
            count::encode_recent(number(view.recent().len()), wire);
        }
        let mut notice = |code, text: &'static str| wording.put(None, &Status::ok(text).with(code), wire);
        let unseen = first_unseen.and_then(|uid| view.sequence(uid)).map(number);
        if let Some(unseen) =
            unseen.and_then(std::num::NonZeroU32::new).filter(|_| !enabled.rev2 && !enabled.uid_only)
        {
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
        if self.config.abilities.url_auth {
            // RFC 4467 §8
            notice(mechanisms(), "how URLs are authorized");
        }
        match highest_mod_seq.filter(|_| mod_sequences) {
            Some(mod_seq) => notice(ResponseCode::HighestModSeq(mod_seq), "the highest mod-sequence"),
            // RFC 7162 §3.1.2.2
            None if enabled.mod_sequences => notice(ResponseCode::NoModSeq, "no mod-sequences"),
            None => {}
        }
        if let Some(id) = mailbox_id.filter(|id| self.config.abilities.object_ids && is_object_id(id)) {
            notice(ResponseCode::MailboxId(id), "the identity of the mailbox");
        }
        if self.config.abilities.annotates {
            // RFC 5257 §4.1; nothing changes in what is opened with EXAMINE (RFC 3501 §6.3.2).
            notice(ResponseCode::Annotations(annotations), "what can be noted about messages");
        }
        if enabled.rev2 {
            // RFC 9051 §6.3.2
            let listed = listed.unwrap_or_else(|| super::ListEntry::new(open.mailbox.clone()));
            listed.listed().encode(&mut Utf8Wire(&mut *wire));
        }
        if !vanished.is_empty() {
            encode_vanished(true, &vanished, wire);
        }
        let changed = changed.intersection(view.known());
        self.news = News::default();
        self.state = State::Selected {
            view: Box::new(view),
            read_only,
            annotates,
            saved: UidSet::new(),
            contexts: Vec::new(),
        };
        let code = if read_only { ResponseCode::ReadOnly } else { ResponseCode::ReadWrite };
        if changed.is_empty() {
            return self.succeed(&slot, Some(code));
        }
        slot.kind = Kind::Resync { code };
        slot.says_uid = true;
        self.follow = Some((slot, changed));
    }

    /// Asks for the messages that changed since the client saw the mailbox that is being opened.
    pub(super) fn follow_select(&mut self) -> Option<Output<Event>> {
        let (slot, changed) = self.follow.take()?;
        let id = self.slots.open(slot);
        let fetch = Fetch::new(changed, [FetchItem::Flags, FetchItem::ModSeq]);
        Some(Output::Event(Event::Fetch(Ask::new(id, fetch))))
    }
}

impl Reply for Open {
    fn reply(server: &mut Server, slot: Slot, request: Self, answer: Answered<Opened>) {
        let read_only = matches!(slot.kind, Kind::Open { read_only: true });
        match answer {
            Ok(opened) => {
                let read_only = read_only || opened.read_only;
                server.opened(slot, &request, opened, read_only);
            }
            Err(refusal) => server.refuse(&slot, refusal),
        }
    }
}
