//! Client and server back to back: whatever is called, both end with the same belief of the maildrop.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::{
    collections::{BTreeMap, VecDeque},
    num::NonZeroU32,
    sync::Arc,
};

use common::{Pop, client_config, number, server_config};
use mailwright_line_proto::{Authenticate, Closed, Login, Misuse, Peer, Secret, testing::Pair};
use mailwright_pop3_proto::{
    Capa, Client, Dele, List, Noop, Quit, Retr, Rset, Server, Stat, Stls, Top, Totals, Uidl, client::Event,
};
use proptest::prelude::*;

#[derive(Debug, Clone, Copy)]
enum Act {
    Stat,
    List(Option<NonZeroU32>),
    Uidl(Option<NonZeroU32>),
    Retr(NonZeroU32),
    Top(NonZeroU32, u32),
    Dele(NonZeroU32),
    Noop,
    Rset,
}

impl Act {
    fn call(self, client: &mut Client) -> Result<(), Misuse> {
        match self {
            Self::Stat => client.call(Stat).map(drop),
            Self::List(one) => client.call(List(one)).map(drop),
            Self::Uidl(one) => client.call(Uidl(one)).map(drop),
            Self::Retr(number) => client.call(Retr(number)).map(drop),
            Self::Top(number, lines) => client.call(Top { number, lines }).map(drop),
            Self::Dele(number) => client.call(Dele(number)).map(drop),
            Self::Noop => client.call(Noop).map(drop),
            Self::Rset => client.call(Rset).map(drop),
        }
    }
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let message = || (1_u32..8).prop_map(number);
    let act = prop_oneof![
        Just(Act::Stat),
        prop::option::of(message()).prop_map(Act::List),
        prop::option::of(message()).prop_map(Act::Uidl),
        message().prop_map(Act::Retr),
        (message(), 0_u32..4).prop_map(|(message, lines)| Act::Top(message, lines)),
        message().prop_map(Act::Dele),
        Just(Act::Noop),
        Just(Act::Rset),
    ];
    prop::collection::vec(act, 0..40)
}

fn messages() -> impl Strategy<Value = Vec<String>> {
    let line = "[.a]{0,3}".prop_map(|text| text + "\r\n");
    let message = prop::collection::vec(line, 0..7).prop_map(|lines| lines.concat());
    prop::collection::vec(message, 0..6)
}

/// What is believed of the maildrop, by either side.
#[derive(Debug, Default, PartialEq)]
struct Belief {
    totals: Vec<Totals>,
    sizes: BTreeMap<u32, u64>,
    ids: BTreeMap<u32, String>,
    bodies: Vec<String>,
    refusals: u32,
}

/// What an honest maildrop answers.
fn model(messages: &[String], acts: &[Act]) -> (Belief, Vec<u64>) {
    let mut belief = Belief::default();
    let mut there = vec![true; messages.len()];
    let find = |there: &[bool], number: NonZeroU32| {
        let index = number.get() as usize - 1;
        there.get(index).copied().unwrap_or(false).then_some(index)
    };
    for act in acts {
        match *act {
            Act::Stat => {
                let left = messages.iter().zip(&there).filter(|(_, there)| **there);
                let mut totals = Totals::default();
                for (message, _) in left {
                    totals.messages += 1;
                    totals.octets += message.len() as u64;
                }
                belief.totals.push(totals);
            }
            Act::List(None) | Act::Uidl(None) => {
                for (index, message) in messages.iter().enumerate().filter(|(index, _)| there[*index]) {
                    if matches!(act, Act::List(_)) {
                        belief.sizes.insert(index as u32 + 1, message.len() as u64);
                    } else {
                        belief.ids.insert(index as u32 + 1, format!("id-{index}"));
                    }
                }
            }
            Act::List(Some(number)) | Act::Uidl(Some(number)) => match find(&there, number) {
                Some(index) if matches!(act, Act::List(_)) => {
                    belief.sizes.insert(number.get(), messages[index].len() as u64);
                }
                Some(index) => {
                    belief.ids.insert(number.get(), format!("id-{index}"));
                }
                None => belief.refusals += 1,
            },
            Act::Retr(number) => match find(&there, number) {
                Some(index) => belief.bodies.push(messages[index].clone()),
                None => belief.refusals += 1,
            },
            Act::Top(number, lines) => match find(&there, number) {
                Some(index) => belief.bodies.push(top(&messages[index], lines)),
                None => belief.refusals += 1,
            },
            Act::Dele(number) => match find(&there, number) {
                Some(index) => there[index] = false,
                None => belief.refusals += 1,
            },
            Act::Noop => {}
            Act::Rset => there.fill(true),
        }
    }
    let deleted = (0..messages.len()).filter(|index| !there[*index]).map(|index| index as u64);
    (belief, deleted.collect())
}

fn top(message: &str, lines: u32) -> String {
    let mut left = None;
    let mut found = String::new();
    for line in message.split_inclusive("\r\n") {
        match &mut left {
            Some(0) => break,
            Some(left) => *left -= 1,
            None if line == "\r\n" => left = Some(lines),
            None => {}
        }
        found.push_str(line);
    }
    found
}

/// A client's application: logs in, does all acts, as many at once as it may, and quits.
struct Visitor {
    belief: Belief,
    acts: VecDeque<Act>,
    ask_first: bool,
    quitting: bool,
    body: Vec<u8>,
    closed: Option<Closed>,
}

impl Visitor {
    fn go_on(&mut self, client: &mut Client) {
        while let Some(act) = self.acts.front() {
            match act.call(client) {
                Ok(()) => drop(self.acts.pop_front()),
                Err(Misuse::Busy) => return,
                Err(misuse) => panic!("{misuse}"),
            }
        }
        if !self.quitting {
            self.quitting = client.call(Quit).is_ok();
        }
    }

    fn hear(&mut self, client: &mut Client, event: Event) {
        let refused = |refused: bool| u32::from(refused);
        match event {
            Event::Greeting(_) if self.ask_first => drop(client.call(Capa).unwrap()),
            Event::Greeting(_) => drop(client.call(Login::new("mrose", Secret::from("tanstaaf"))).unwrap()),
            Event::Capa(_, Ok(offered)) if offered.mechanisms().count() == 2 => {
                client.call(Stls).unwrap();
            }
            Event::Capa(..) => {
                let response = Secret::from("\0test\0test");
                client.call(Authenticate::new("PLAIN".to_owned(), Some(response))).unwrap();
            }
            Event::Stls(_, answer) => {
                answer.unwrap();
                client.call(Capa).unwrap();
            }
            Event::Login(_, answer) | Event::Authenticate(_, answer) => {
                answer.unwrap();
                self.go_on(client);
            }
            Event::Listed(_, entry) => drop(self.belief.sizes.insert(entry.number.get(), entry.octets)),
            Event::Identified(_, entry) => {
                self.belief.ids.insert(entry.number.get(), entry.unique_id.to_string());
            }
            Event::Stat(_, totals) => {
                self.belief.totals.push(totals.unwrap());
                self.go_on(client);
            }
            Event::List(_, answer) | Event::Uidl(_, answer) => {
                self.belief.refusals += refused(answer.is_err());
                self.go_on(client);
            }
            Event::Retr(_, Ok(())) | Event::Top(_, Ok(())) => {}
            Event::Body(chunk) => self.body.extend_from_slice(&chunk),
            Event::BodyEnd => {
                self.belief.bodies.push(String::from_utf8(std::mem::take(&mut self.body)).unwrap());
                self.go_on(client);
            }
            Event::Retr(_, answer) | Event::Top(_, answer) | Event::Dele(_, answer) => {
                self.belief.refusals += refused(answer.is_err());
                self.go_on(client);
            }
            Event::Noop(_, answer) | Event::Rset(_, answer) => {
                answer.unwrap();
                self.go_on(client);
            }
            Event::Quit(_, answer) => answer.unwrap(),
            Event::Closed(why) => self.closed = Some(why),
            other => panic!("{other:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn both_sides_end_with_the_same_belief(
        messages in messages(),
        acts in acts(),
        ask_first: bool,
        split in 1_usize..60,
    ) {
        let mut pop = Pop::new(server_config());
        pop.messages = messages.clone();
        let server = Server::new(Arc::clone(&pop.config), Peer::unknown());
        let client = Client::new(Arc::new(client_config()));
        let mut pair = Pair::new(server, client, split);
        let mut visitor = Visitor {
            belief: Belief::default(),
            acts: acts.iter().copied().collect(),
            ask_first,
            quitting: false,
            body: Vec::new(),
            closed: None,
        };
        let mut server_closed = None;
        pair.run(
            |server, event| {
                if let mailwright_pop3_proto::server::Event::Closed(why) = &event {
                    server_closed = Some(why.clone());
                }
                pop.serve(server, event);
            },
            |client, event| visitor.hear(client, event),
        );
        let (belief, deleted) = model(&messages, &acts);
        prop_assert_eq!(visitor.belief, belief);
        prop_assert_eq!(pop.deleted, deleted);
        prop_assert_eq!(visitor.closed, Some(Closed::Farewell));
        prop_assert_eq!(server_closed, Some(Closed::Farewell));
        prop_assert!(pair.server.closed && pair.client.closed);
        prop_assert_eq!(ask_first, pair.server.machine.tls().is_some());
    }
}
