//! A client without a wire: what it is told, and what it says.
#![allow(dead_code, reason = "each test program uses a part of this")]

use std::{sync::Arc, time::Instant};

use bytes::{Buf, BytesMut};
use mailwright_imap_proto::{
    client::{Client, Config, Event},
    command::Select,
};
use mailwright_line_proto::{Machine, Output};
use mailwright_mail_model::MailboxName;

/// A client and what the server sent to it.
pub(crate) struct Desk {
    pub(crate) client: Client,
    pub(crate) rx: BytesMut,
    pub(crate) now: Instant,
}

/// A configuration for a wire that nobody listens at.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.allow_plaintext_auth = true;
    config
}

impl Desk {
    pub(crate) fn new(config: Config) -> Self {
        Self { client: Client::new(Arc::new(config), [0; 32]), rx: BytesMut::new(), now: Instant::now() }
    }

    pub(crate) fn logged_in(config: Config) -> Self {
        let mut desk = Self::new(config);
        assert!(matches!(
            desk.hear("* PREAUTH ready\r\n")[..],
            [Event::Greeting { preauthenticated: true, .. }]
        ));
        desk
    }

    /// With a mailbox of nine messages open.
    pub(crate) fn selected() -> Self {
        let mut desk = Self::logged_in(config());
        desk.client.call(Select::new(MailboxName::inbox(), false)).unwrap();
        assert!(matches!(desk.hear("* 9 EXISTS\r\naaaa1 OK done\r\n")[..], [Event::Select(_, Ok(_))]));
        desk.sent();
        desk
    }

    pub(crate) fn sent(&mut self) -> String {
        let transmit = self.client.transmit();
        let length = transmit.remaining();
        String::from_utf8(transmit.copy_to_bytes(length).to_vec()).unwrap()
    }

    pub(crate) fn hear(&mut self, input: &str) -> Vec<Event> {
        self.rx.extend_from_slice(input.as_bytes());
        let mut events = Vec::new();
        while let Output::Event(event) = self.client.poll(self.now, &mut self.rx) {
            events.push(event);
        }
        events
    }
}
