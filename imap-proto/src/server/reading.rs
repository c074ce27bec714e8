//! FETCH: what is asked of the application; and what makes the connection itself another one.

use mailwright_line_proto::{Ask, Output};
use mailwright_mail_model::{Uid, UidSet};

use super::{
    Event, Phase, Server, State,
    run::Turn,
    slots::{Kind, Slot},
};
use crate::{
    Refusal,
    command::{BinarySection, BodySection, Fetch, FetchItem},
    response::{ResponseCode, Status},
};

impl Server {
    pub(super) fn fetch_messages(
        &mut self,
        turn: Turn,
        fetch: Fetch,
        messages: UidSet,
    ) -> Option<Output<Event>> {
        if fetch.vanished.is_some() && !self.enabled.resync {
            // RFC 7162 §3.2.6
            return self.bad(Some(&turn.tag), &Status::bad("expected ENABLE QRESYNC before this"));
        }
        let changed_since = fetch.changed_since;
        let seen = self.changes_flags(&fetch);
        let by_uid = fetch.messages.is_uid();
        let says_uid = by_uid || fetch.items.contains(&FetchItem::Uid);
        let items = fetch.items.into_iter().filter(|item| *item != FetchItem::Uid).map(|item| match item {
            // RFC 3501 §6.3.2: nothing changes in a mailbox that is open for reading only.
            FetchItem::Section(section) if !seen => FetchItem::Section(BodySection { peek: true, ..section }),
            FetchItem::Binary(section) if !seen => FetchItem::Binary(BinarySection { peek: true, ..section }),
            item => item,
        });
        let mut items: Vec<FetchItem> = items.collect();
        if changed_since.is_some() && !items.contains(&FetchItem::ModSeq) {
            // RFC 7162 §3.1.4.1
            items.push(FetchItem::ModSeq);
        }
        let mut slot = Slot::new(turn.tag, turn.spec.name, Kind::Plain);
        (slot.says_uid, slot.by_uid) = (says_uid, by_uid);
        slot.uses_seqs = turn.spec.uses_seqs;
        slot.reads = !seen;
        let mut messages = fetch.partial.map_or_else(|| messages.clone(), |range| range.of(&messages));
        slot.limited = self.keep_within_limit(&mut messages);
        let last = match &self.state {
            State::Selected { view, .. } => view.known().last().unwrap_or(Uid::MIN),
            _ => Uid::MIN,
        };
        let vanished = fetch.vanished.map(|named| named.set().numbers_to(last));
        let request = Fetch { messages, items, changed_since, vanished, partial: None };
        let id = self.slots.open(slot);
        Some(Output::Event(Event::Fetch(Ask::new(id, request))))
    }

    /// Whether the application does not know something that is asked for.
    pub(super) fn is_fetch_beyond(&self, fetch: &Fetch) -> bool {
        let abilities = &self.config.abilities;
        let beyond = fetch.items.iter().any(|item| match item {
            FetchItem::ModSeq => !abilities.mod_sequences,
            FetchItem::SaveDate => !abilities.save_dates,
            FetchItem::Annotations(_) => !abilities.annotates,
            FetchItem::EmailId | FetchItem::ThreadId => !abilities.object_ids,
            FetchItem::Preview { .. }
            | FetchItem::FuzzyPreview { .. }
            | FetchItem::Binary(_)
            | FetchItem::BinarySize(_) => !abilities.derives,
            _ => false,
        });
        beyond || (fetch.changed_since.is_some() && !abilities.mod_sequences)
    }

    /// COMPRESS (RFC 4978).
    pub(super) fn compress(&mut self, turn: &Turn) -> Option<Output<Event>> {
        if self.compressed {
            let refusal = Refusal::new(ResponseCode::CompressionActive, "DEFLATE active already");
            return self.no(turn, refusal);
        }
        if !self.config.compress {
            return self.no(turn, Refusal::cannot());
        }
        // The answer itself still goes as it is (RFC 4978 §3).
        self.ok(turn);
        self.compressed = true;
        self.phase = Phase::Deflate;
        None
    }
}
