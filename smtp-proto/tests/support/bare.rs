//! A server with no harness around it.

use std::{sync::Arc, time::Instant};

use bytes::{Buf, BytesMut};
use mailwright_line_proto::{Ask, Machine, Output, Peer, Wait};
use mailwright_smtp_proto::{
    Rcpt, Reply,
    server::{Config, Event, Server},
};

pub fn config() -> Config {
    let mut config = Config::smtp("mx.example").unwrap();
    config.allow_plaintext_auth = true;
    config.auth_mechanisms = vec!["PLAIN".to_owned()];
    config
}

/// The server, what it has not read yet, and its clock.
pub struct Bare {
    pub server: Server,
    pub rx: BytesMut,
    pub now: Instant,
}

impl Bare {
    pub fn new(config: Config) -> Self {
        let server = Server::new(Arc::new(config), Peer::unknown());
        Self { server, rx: BytesMut::new(), now: Instant::now() }
    }

    pub fn poll(&mut self) -> Output<Event> {
        self.server.poll(self.now, &mut self.rx)
    }

    pub fn event(&mut self) -> Event {
        match self.poll() {
            Output::Event(event) => event,
            other => panic!("{other:?}"),
        }
    }

    pub fn wait(&mut self) -> Wait {
        match self.poll() {
            Output::Wait(wait) => wait,
            other => panic!("{other:?}"),
        }
    }

    pub fn sent(&mut self) -> String {
        let transmit = self.server.transmit();
        String::from_utf8(transmit.copy_to_bytes(transmit.remaining()).to_vec()).unwrap()
    }

    /// With a transaction begun.
    pub fn addressing(config: Config, then: &[u8]) -> Self {
        let mut bare = Self::new(config);
        bare.rx.extend_from_slice(b"HELO a.example\r\nMAIL FROM:<a@example.org>\r\n");
        bare.rx.extend_from_slice(then);
        let Event::Hello(ask) = bare.event() else { panic!() };
        bare.server.answer(ask, Ok(())).unwrap();
        let Event::Mail(ask) = bare.event() else { panic!() };
        bare.server.answer(ask, Reply::SENDER_OK).unwrap();
        bare
    }

    pub fn rcpt(&mut self) -> Ask<Rcpt> {
        match self.event() {
            Event::Rcpt(ask) => ask,
            other => panic!("{other:?}"),
        }
    }
}
