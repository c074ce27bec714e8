//! A client to talk to, line by line.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use mailwright_line_proto::{Closed, Login, Machine, Misuse, Output, Secret, Wait};
use mailwright_pop3_proto::{
    Client, Noop,
    client::{Config, Event},
};

use super::client_config;

/// A client and what the server sent to it.
pub(crate) struct Caller {
    pub(crate) client: Client,
    pub(crate) rx: BytesMut,
    pub(crate) now: Instant,
}

impl Caller {
    pub(crate) fn new(config: Config) -> Self {
        Self { client: Client::new(Arc::new(config)), rx: BytesMut::new(), now: Instant::now() }
    }

    pub(crate) fn greeted(config: Config) -> Self {
        let mut desk = Self::new(config);
        assert!(matches!(desk.hear("+OK ready\r\n")[..], [Event::Greeting(_)]));
        desk
    }

    pub(crate) fn logged_in() -> Self {
        Self::logged_in_with(client_config())
    }

    pub(crate) fn logged_in_with(config: Config) -> Self {
        let mut desk = Self::greeted(config);
        desk.client.call(Login::new("a", Secret::from("b"))).unwrap();
        assert!(matches!(desk.hear("+OK\r\n+OK\r\n")[..], [Event::Login(_, Ok(()))]));
        desk.sent();
        desk
    }

    pub(crate) fn sent(&mut self) -> String {
        let transmit = self.client.transmit();
        let length = transmit.remaining();
        String::from_utf8(transmit.copy_to_bytes(length).to_vec()).unwrap()
    }

    /// What the server says, and the events of it.
    pub(crate) fn hear(&mut self, input: &str) -> Vec<Event> {
        self.rx.extend_from_slice(input.as_bytes());
        let mut events = Vec::new();
        loop {
            match self.client.poll(self.now, &mut self.rx) {
                Output::Event(event) => events.push(event),
                _ => return events,
            }
        }
    }

    pub(crate) fn wait(&mut self) -> Wait {
        match self.client.poll(self.now, &mut self.rx) {
            Output::Wait(wait) => wait,
            other => panic!("no wait but {other:?}"),
        }
    }

    pub(crate) fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    #[track_caller]
    pub(crate) fn closes(&mut self, input: &str) -> Closed {
        let mut events = self.hear(input);
        let Some(Event::Closed(why)) = events.pop() else { panic!("not closed: {events:?}") };
        assert_eq!(self.client.poll(self.now, &mut self.rx), Output::Close);
        assert_eq!(self.client.call(Noop), Err(Misuse::Closed));
        why
    }
}
