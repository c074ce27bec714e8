//! Searches whose results the client wants to be told of as they change (RFC 5267 §4.3).

use mailwright_line_proto::Output;
use mailwright_mail_model::{Uid, UidSet};

use super::{Event, Find, Order, Phase, Server, State, run::Turn, slots::Slot};
use crate::{
    command::{CancelUpdate, FetchItem, SearchReturn},
    grammar::Wire,
    response::{ResponseCode, Status, set_of},
};

/// The most of them that a session can have.
const MOST: usize = 16;

/// A search that is kept up to date, as [`Server::watched`] gives it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Watched<'a> {
    /// Names it.
    pub tag: &'a str,
    /// What is searched for.
    pub question: &'a Question,
    /// What was found last.
    pub found: &'a [Uid],
}

/// What is kept up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Question {
    /// The messages that match; they are told in the order of the mailbox.
    Find(Find),
    /// The messages that match, sorted.
    Order(Order),
}

#[derive(Debug)]
pub(super) struct Context {
    tag: Box<str>,
    by_uid: bool,
    question: Question,
    /// What the client was told of.
    told: Vec<Uid>,
    /// What it is to be told of next.
    found: Vec<Uid>,
    /// What is sent of messages that come into the mailbox and are found (RFC 5465 §7).
    sent: Vec<FetchItem>,
    /// Whether it was searched since the client was told.
    again: bool,
    /// Up to which message it was searched when the client was told.
    up_to: Option<Uid>,
}

impl Server {
    /// The searches whose results the client wants to hear about. After the open mailbox has changed, and the change was told
    /// with [`notify`](Self::notify), say for each with [`found`](Self::found) what it finds now.
    pub fn watched(&self) -> impl Iterator<Item = Watched<'_>> {
        let contexts = match &self.state {
            State::Selected { contexts, .. } => &contexts[..],
            _ => &[],
        };
        contexts.iter().map(|Context { tag, question, found, .. }| Watched { tag, question, found })
    }

    /// What one of the [`watched`](Self::watched) searches finds now: sorted as it wants, or else by UID.
    pub fn found(&mut self, tag: &str, uids: Vec<Uid>) {
        let State::Selected { contexts, .. } = &mut self.state else { return };
        let Some(context) = contexts.iter_mut().find(|context| *context.tag == *tag) else { return };
        (context.found, context.again) = (uids, true);
        self.announce_now();
    }

    /// From now on tells of all of them by UID (RFC 9586 §3).
    pub(super) fn name_by_uid(&mut self) {
        if let State::Selected { contexts, .. } = &mut self.state {
            contexts.iter_mut().for_each(|context| context.by_uid = true);
        }
    }

    pub(super) fn cancel_update(&mut self, turn: &Turn, cancel: &CancelUpdate) -> Option<Output<Event>> {
        if let State::Selected { contexts, .. } = &mut self.state {
            contexts.retain(|context| !cancel.tags.iter().any(|tag| **tag == *context.tag));
        }
        self.ok(turn)
    }

    /// RFC 5267 §4.3: a tag names one search only.
    #[expect(clippy::option_option, reason = "refused, and what a transition ends in")]
    pub(super) fn reuses_tag(
        &mut self,
        turn: &Turn,
        returns: Option<&SearchReturn>,
    ) -> Option<Option<Output<Event>>> {
        let State::Selected { contexts, .. } = &self.state else { return None };
        let used = contexts.iter().any(|context| context.tag == turn.tag);
        let updates = returns.is_some_and(|returns| returns.update);
        (used && updates).then(|| {
            self.bad(Some(&turn.tag), &Status::bad("this tag names a search that is kept up to date"))
        })
    }

    /// Keeps a search up to date that was just answered, or says that it is not.
    pub(super) fn begin_context(
        &mut self,
        slot: &Slot,
        question: Question,
        told: Vec<Uid>,
        found: Vec<Uid>,
        sent: Vec<FetchItem>,
    ) {
        let State::Selected { contexts, view, .. } = &mut self.state else { return };
        if contexts.len() < MOST {
            let (tag, by_uid, up_to) = (slot.tag.clone(), slot.by_uid, view.known().last());
            contexts.push(Context { tag, by_uid, question, told, found, sent, again: true, up_to });
            return;
        }
        // RFC 5267 §4.3.1. A tag has no octet that must be escaped in a quoted string.
        let code = ResponseCode::Other { name: "NOUPDATE".into(), text: Some(format!("\"{}\"", slot.tag)) };
        self.say(None, &Status::no("too many searches are kept up to date").with(code));
    }

    /// The same, if the client is ready to hear it at any time: during IDLE, and after NOTIFY.
    pub(super) fn announce_now(&mut self) {
        let idle = matches!(self.phase, Phase::Idle { .. });
        let free = matches!(self.phase, Phase::Commands) && self.is_announced_between();
        let at_once = self.notifying.as_ref().is_some_and(|notifying| notifying.at_once);
        if idle || free {
            self.announce(idle || (at_once && self.slots.may_expunge()), true);
        }
    }

    fn is_announced_between(&self) -> bool {
        // While a command is running, its end is when it is told.
        self.notifies_selected() && self.slots.is_empty()
    }

    /// Announces what a command has expunged, if [`announce`](Self::announce) says nothing.
    pub(super) fn announce_expunged(&mut self, uids: &UidSet) {
        if self.notifying.as_ref().is_none_or(|notifying| notifying.selected.new.is_some()) {
            return;
        }
        let out = if self.stream.is_some() { &mut self.held } else { &mut self.transmit };
        let State::Selected { view, contexts, .. } = &mut self.state else { return };
        for context in contexts.iter_mut() {
            let stays = context.told.iter().copied().collect::<UidSet>().difference(uids);
            context.tell(false, &stays, |uid| view.sequence(uid), out);
        }
        view.announce_expunged(uids, self.enabled, out);
    }

    /// Announces what happened in the open mailbox, and what that makes of the searches that are kept up to date; new messages only
    /// if that is said.
    pub(super) fn announce(&mut self, may_expunge: bool, tells_new: bool) {
        let mut enabled = self.enabled;
        if let Some(notifying) = &self.notifying {
            if notifying.selected.new.is_none() {
                // RFC 5465 §3.1: the client wants to hear nothing of it.
                return;
            }
            // RFC 5465 §5.1: with its UID.
            enabled.flags_by_uid = true;
        }
        let out = if self.stream.is_some() { &mut self.held } else { &mut self.transmit };
        let State::Selected { view, contexts, .. } = &mut self.state else { return };
        // RFC 5267 §4.3.4: before the messages are announced as expunged, while their numbers still hold.
        for context in contexts.iter_mut() {
            let removed = view.removed();
            let stays: UidSet = context.found.iter().copied().collect::<UidSet>().difference(removed);
            context.tell(false, &stays, |uid| view.sequence(uid), out);
        }
        if let Some(notifying) = &mut self.notifying {
            if tells_new && let Some(items) = &notifying.selected.new {
                self.news.send(view.added().clone(), items);
            }
            if !notifying.selected.flags {
                view.withhold_flags();
            }
            if !notifying.selected.message_annotations {
                view.forget_annotations();
            }
        }
        view.announce(may_expunge, tells_new, enabled, out);
        // RFC 5267 §4.3.3: after the messages were announced.
        for context in contexts {
            let known = view.known().difference(view.removed());
            if let Some(came) = context.came(&known) {
                self.news.send(came, &context.sent);
            }
            context.tell(true, &known, |uid| view.sequence(uid), out);
        }
    }
}

impl Context {
    /// The messages that have come into the mailbox, of which the client knows these, and are found. RFC 5465 §7: not those that are found
    /// because their flags have changed.
    fn came(&mut self, known: &UidSet) -> Option<UidSet> {
        if self.sent.is_empty() || !std::mem::take(&mut self.again) {
            return None;
        }
        let before = self.up_to;
        self.up_to = known.last().max(before);
        let found = self.found.iter().copied();
        Some(found.filter(|uid| Some(*uid) > before && known.contains(*uid)).collect())
    }

    /// How many of the results that stay, in front, are still in the order in which the client was told of them. It changes with
    /// annotations, and with what answers a fuzzy search better.
    fn in_order(&self, stay: &[Uid]) -> usize {
        let staying: UidSet = stay.iter().copied().collect();
        let now: Vec<Uid> = self.found.iter().copied().filter(|uid| staying.contains(*uid)).collect();
        // What is not found any more is told of when all is.
        if now.len() < stay.len() {
            return stay.len();
        }
        now.iter().zip(stay).take_while(|(now, before)| now == before).count()
    }

    /// Tells what came to the results, or what went. RFC 5267 §4.3.2: what is at another place now goes and comes again.
    fn tell(
        &mut self,
        adds: bool,
        those: &UidSet,
        sequence: impl Fn(Uid) -> Option<u64>,
        wire: &mut impl Wire,
    ) {
        let mut changes: Vec<(usize, Vec<Uid>)> = Vec::new();
        if adds {
            let now: Vec<Uid> = self.found.iter().copied().filter(|uid| those.contains(*uid)).collect();
            if now == self.told {
                return;
            }
            let told: UidSet = self.told.iter().copied().collect();
            let new = now.iter().enumerate().filter(|(_, uid)| !told.contains(**uid));
            // At its place in the end, one after the other: what follows is not there yet.
            gather(&mut changes, new.map(|(place, uid)| (place, *uid)));
            self.told = now;
        } else {
            let mut stay: Vec<Uid> = self.told.iter().copied().filter(|uid| those.contains(*uid)).collect();
            stay.truncate(self.in_order(&stay));
            if stay.len() == self.told.len() {
                return;
            }
            let staying: UidSet = stay.iter().copied().collect();
            let gone = self.told.iter().enumerate().filter(|(_, uid)| !staying.contains(**uid));
            gather(&mut changes, gone.map(|(place, uid)| (place, *uid)));
            // From the last to the first, so that no place changes before it is used.
            changes.reverse();
            self.told = stay;
        }
        // An answer about nothing has no form.
        if changes.is_empty() {
            return;
        }
        let by_uid = self.by_uid;
        let number = |uid: &Uid| match by_uid {
            true => Some(uid.get()),
            false => u32::try_from(sequence(*uid)?).ok(),
        };
        let sorted = matches!(self.question, Question::Order(_));
        if !sorted {
            // RFC 5267 §4.3.3: in the order of the mailbox no place need be named, and one set says it all.
            let all = std::mem::take(&mut changes).into_iter();
            let all: UidSet = all.flat_map(|(_, uids)| uids).collect();
            changes.push((0, all.iter().collect()));
        }
        wire.put(b"* ESEARCH (TAG ");
        wire.put_string(self.tag.as_bytes());
        wire.put(if by_uid { b") UID " } else { b") " });
        wire.put(if adds { b"ADDTO (" } else { b"REMOVEFROM (" });
        for (index, (place, uids)) in changes.iter().enumerate() {
            if index > 0 {
                wire.put(b" ");
            }
            wire.put_number(if sorted { *place as u64 + 1 } else { 0 });
            wire.put(b" ");
            wire.put(set_of(uids.iter().filter_map(number)).as_bytes());
        }
        wire.put(b")\r\n");
    }
}

/// Puts together what stands side by side.
fn gather(changes: &mut Vec<(usize, Vec<Uid>)>, places: impl Iterator<Item = (usize, Uid)>) {
    for (place, uid) in places {
        match changes.last_mut() {
            Some((first, uids)) if *first + uids.len() == place => uids.push(uid),
            _ => changes.push((place, vec![uid])),
        }
    }
}
