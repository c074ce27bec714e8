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
        octets: Bytes,
    ) -> Option<Output<Event>> {
        let slot = Slot::new(tag, spec.name, Kind::Filter { octets });
        if self.filters.len() >= MOST_FILTERS {
            self.filters.clear();
            self.refuse(&slot, Refusal::new(ResponseCode::Limit, "too many filters in one search"));
            return None;
        }
        let id = self.slots.open(slot);
        Some(Output::Event(Event::Filter(Ask::new(id, Filter::new(name)))))
    }
}

impl Reply for Filter {
    fn reply(server: &mut Server, mut slot: Slot, request: Self, answer: Answered<Option<String>>) {
        let octets = match std::mem::replace(&mut slot.kind, Kind::Plain) {
            Kind::Filter { octets } => octets,
            _ => Bytes::new(),
        };
        match answer {
            Ok(Some(text)) => {
                server.filters.push((request.name.into(), text.into()));
                // Nothing else can have become ready while this was asked.
                server.ready = Some(Ready::Command(octets));
            }
            Ok(None) => {
                server.filters.clear();
                server.refuse(&slot, undefined_filter(&request.name));
            }
            Err(refusal) => {
                server.filters.clear();
                server.refuse(&slot, refusal);
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
