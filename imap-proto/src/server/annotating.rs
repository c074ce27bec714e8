//! STORE of annotations (RFC 5257 §4.5).

use mailwright_line_proto::{Ask, Misuse, Output};
use mailwright_mail_model::{ModSeq, Uid, UidSet};

use super::{
    Event, FetchData, Server, State,
    answer::Reply,
    run::Turn,
    slots::{Kind, Slot},
};
use crate::{command::Annotate, refusal::Answered};

impl Server {
    pub(super) fn annotate(
        &mut self,
        mut turn: Turn,
        annotate: Annotate,
        mut messages: UidSet,
    ) -> Option<Output<Event>> {
        turn.limited = self.keep_within_limit(&mut messages);
        let Annotate { values, unchanged_since, .. } = annotate;
        self.ask(turn, Kind::Plain, Annotate { messages, values, unchanged_since }, Event::Annotate)
    }

    /// Whether annotations can be changed in the open mailbox. RFC 5257 §3.4: what is private can be with the right to read, so in one
    /// that is open for reading only, too.
    pub(super) fn may_annotate(&self) -> bool {
        let opened = matches!(&self.state, State::Selected { annotates: true, .. });
        opened && self.config.abilities.annotates && self.config.abilities.write
    }

    /// Sends the mod-sequence that a message has after STORE of annotations, to a client that knows these; nothing to others, who know what
    /// they have set (RFC 5257 §4.5).
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn fetch_mod_seq(
        &mut self,
        ask: &Ask<Annotate<UidSet>>,
        uid: Uid,
        mod_seq: ModSeq,
    ) -> Result<bool, Misuse> {
        if self.enabled.mod_sequences {
            return self.respond(ask.id(), uid, &[FetchData::ModSeq(mod_seq)], true);
        }
        self.slots.touch(ask.id());
        Ok(false)
    }
}

impl Reply for Annotate<UidSet> {
    fn reply(server: &mut Server, slot: Slot, _: Self, answer: Answered<UidSet>) {
        server.stored(&slot, answer);
    }
}
