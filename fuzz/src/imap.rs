//! imap-proto: machines against any peer, with an application that does as the input says.

use std::sync::Arc;

use bytes::Bytes;
use mailwright_imap_proto::{
    MessageSet, SequenceSet,
    client::{self, Capability, Client, Close, Event, Idle, Logout, Noop, StartTls},
    command::{
        Append, BodySection, Copy, Fetch, FetchItem, Id, List, Move, Namespace, Section, Select, Status,
        StatusItem,
    },
};
use mailwright_line_proto::{
    Authenticate, Login, Secret,
    testing::{Seen, Side, Subject},
};
use mailwright_mail_model::MailboxName;

use crate::machine::{Choices, Plan};

/// An IMAP client against any server.
pub fn imap_client(data: &[u8]) {
    let Some(plan) = Plan::new(data) else { return };
    plan.play(|| Calling { choices: plan.choices.clone() });
}

struct Calling {
    choices: Choices,
}

impl Calling {
    /// One call, of whatever kind; what the machine does not allow at the moment is none of the peer's.
    fn call(&mut self, client: &mut Client) {
        let inbox = MailboxName::inbox;
        let messages = match self.choices.below(2) {
            0 => MessageSet::Sequence(SequenceSet::all()),
            _ => MessageSet::Uid(SequenceSet::all()),
        };
        let called = match self.choices.below(16) {
            0 => client.call(Capability).is_ok(),
            1 => client.call(StartTls).is_ok(),
            2 => client.call(Authenticate::new("PLAIN".to_owned(), Some(Secret::from("x")))).is_ok(),
            3 => client.call(List::new("", "*")).is_ok(),
            4 => client.call(Status::new(inbox(), StatusItem::ALL)).is_ok(),
            5 => client.call(Select::new(inbox(), self.choices.below(2) == 0)).is_ok(),
            6 => {
                let body = FetchItem::Section(BodySection::peek(Section::default()));
                let ticket =
                    client.call(Fetch::new(messages, [FetchItem::Envelope, FetchItem::BodyStructure, body]));
                ticket.map(|ticket| (self.choices.below(4) == 0).then(|| client.cancel(ticket))).is_ok()
            }
            7 => client.call(Copy::new(messages, inbox())).is_ok(),
            8 => client.call(Move::new(messages, inbox())).is_ok(),
            9 => client.call(Append::new(inbox(), 5)).is_ok(),
            10 => client.call(Idle).is_ok(),
            11 => client.call(Namespace).is_ok(),
            12 => client.call(Id::default()).is_ok(),
            13 => client.call(Close).is_ok(),
            14 => client.call(Logout).is_ok(),
            _ => false,
        };
        if !called {
            let login = client.call(Login::new("\u{e9}", Secret::from("password"))).is_ok();
            let _ = login || client.call(Noop).is_ok();
        }
    }
}

impl Subject for Calling {
    type Machine = Client;

    fn build(&self) -> Client {
        let mut config = client::Config::default();
        config.allow_plaintext_auth = true;
        Client::new(Arc::new(config), [0; 32])
    }

    fn side(&self) -> Side {
        Side::Client
    }

    fn react(&mut self, client: &mut Client, event: Event) -> Seen {
        let seen = format!("{event:?}");
        match event {
            Event::Body(chunk) => return Seen::Body(chunk),
            Event::Closed(_) => return Seen::Closed(seen),
            Event::Challenge(ticket, _) if self.choices.below(2) == 0 => client.cancel(ticket),
            Event::Challenge(..) => {
                let response = Some(Secret::from("response"));
                client.call(Authenticate::new("PLAIN".to_owned(), response)).unwrap();
            }
            Event::Ready(_) => {
                client.send_body(Bytes::from("hello")).unwrap();
                client.end_body().unwrap();
            }
            Event::Idling(ticket) if self.choices.below(2) == 0 => client.cancel(ticket),
            Event::FetchBody { .. } | Event::BodyEnd => {}
            _ => {
                self.call(client);
                self.call(client);
            }
        }
        Seen::Event(seen)
    }
}
