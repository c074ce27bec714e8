//! Searches with names: had from the application before the command that names them is read (RFC 5466).

use bytes::Bytes;
use mailwright_line_proto::{Ask, Output};

use super::{
    Event, Ready, Server,
    answer::Reply,
    slots::{Kind, Slot},
};
use crate::{
    command::{Filter, Spec},
    refusal::{Answered, Refusal},
    response::ResponseCode,
};

/// How many filters one command may name, those that filters name among them.
const MOST_FILTERS: usize = 32;

impl Server {
    pub(super) fn ask_for_filter(
        &mut self,
        tag: Box<str>,
        spec: &'static Spec,
        name: Box<str>,
        (octets, saves): (Bytes, bool),
    ) -> Option<Output<Event>> {
        let mut slot = Slot::new(tag, spec.name, Kind::Filter { octets, saves });
        // RFC 9051 §7.5.1: it is answered as the search is that waits for it.
        slot.uses_seqs = spec.uses_seqs;
        if self.filters.len() >= MOST_FILTERS {
            self.filters.clear();
            self.refuse_search(
                &slot,
                saves,
                Refusal::new(ResponseCode::Limit, "too many filters in one search"),
            );
            return None;
        }
        let id = self.slots.open(slot);
        Some(Output::Event(Event::Filter(Ask::new(id, Filter::new(name)))))
    }
}

impl Reply for Filter {
    fn reply(server: &mut Server, mut slot: Slot, request: Self, answer: Answered<Option<String>>) {
        let (octets, saves) = match std::mem::replace(&mut slot.kind, Kind::Plain) {
            Kind::Filter { octets, saves } => (octets, saves),
            _ => (Bytes::new(), false),
        };
        match answer {
            Ok(Some(text)) => {
                server.filters.push((request.name.into(), text.into()));
                // Nothing else can have become ready while this was asked.
                server.ready = Some(Ready::Command(octets));
            }
            Ok(None) => {
                server.filters.clear();
                server.refuse_search(&slot, saves, undefined_filter(&request.name));
            }
            Err(refusal) => {
                server.filters.clear();
                server.refuse_search(&slot, saves, refusal);
            }
        }
    }
}

/// RFC 5466 §3.1
pub(super) fn undefined_filter(name: &str) -> Refusal {
    let text = "there is no such filter";
    match ResponseCode::other("UNDEFINED-FILTER", Some(name)) {
        Some(code) => Refusal::new(code, text),
        None => Refusal::plain(text),
    }
}
