//! A server to talk to, line by line.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use mailwright_line_proto::{Closed, Machine, Output, Peer, Wait};
use mailwright_pop3_proto::{
    Server,
    server::{Config, Event},
};

use super::{Pop, server_config};

/// A server, its unread input and its clock.
pub(crate) struct Desk {
    pub(crate) server: Server,
    pub(crate) pop: Pop,
    pub(crate) rx: BytesMut,
    pub(crate) now: Instant,
}

impl Desk {
    /// A server that has greeted.
    pub(crate) fn new(config: Config) -> Self {
        let mut desk = Self::silent(config);
        assert_eq!(desk.say(""), "+OK POP3 server ready\r\n");
        desk
    }

    /// A server that was not polled yet.
    pub(crate) fn silent(config: Config) -> Self {
        let pop = Pop::new(config);
        let server = Server::new(Arc::clone(&pop.config), Peer::unknown());
        Self { server, pop, rx: BytesMut::new(), now: Instant::now() }
    }

    pub(crate) fn logged_in() -> Self {
        let mut desk = Self::new(server_config());
        desk.log_in();
        desk
    }

    pub(crate) fn log_in(&mut self) {
        assert!(
            self.say("USER mrose\r\nPASS tanstaaf\r\n")
                .ends_with("+OK maildrop has 2 messages (320 octets)\r\n")
        );
    }

    /// The next event or wait, the application silent.
    pub(crate) fn poll(&mut self) -> Output<Event> {
        self.server.poll(self.now, &mut self.rx)
    }

    pub(crate) fn event(&mut self) -> Event {
        match self.poll() {
            Output::Event(event) => event,
            other => panic!("no event but {other:?}"),
        }
    }

    pub(crate) fn wait(&mut self) -> Wait {
        match self.poll() {
            Output::Wait(wait) => wait,
            other => panic!("no wait but {other:?}"),
        }
    }

    pub(crate) fn sent(&mut self) -> String {
        let transmit = self.server.transmit();
        let length = transmit.remaining();
        String::from_utf8(transmit.copy_to_bytes(length).to_vec()).unwrap()
    }

    /// Input, and what it brings with the application of the tests.
    pub(crate) fn say(&mut self, input: &str) -> String {
        self.rx.extend_from_slice(input.as_bytes());
        loop {
            match self.poll() {
                Output::Event(Event::Closed(why)) => panic!("closed: {why:?}"),
                Output::Event(event) => self.pop.serve(&mut self.server, event),
                Output::Wait(_) => return self.sent(),
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) fn input(&mut self, input: &str) {
        self.rx.extend_from_slice(input.as_bytes());
    }

    pub(crate) fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    pub(crate) fn poll_until_read(&mut self) {
        while !self.wait().read {
            self.sent();
        }
    }

    /// What is left to say, the reason, and the end.
    #[track_caller]
    pub(crate) fn closes(&mut self, why: &Closed, last_words: &str) {
        loop {
            match self.poll() {
                Output::Event(Event::Closed(found)) => break assert_eq!(found, *why),
                Output::Event(event) => self.pop.serve(&mut self.server, event),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(self.sent(), last_words);
        assert_eq!(self.poll(), Output::Close);
        assert!(self.pop.deleted.is_empty());
    }
}
