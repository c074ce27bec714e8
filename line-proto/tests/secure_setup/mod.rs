//! Both sides of a TLS connection for the tests, with certificates made on the spot.

use std::{
    sync::{Arc, LazyLock},
    time::Instant,
};

use bytes::{Buf, Bytes, BytesMut};
use mailwright_line_proto::{
    Closed, Machine, Output, Secure, TlsSide,
    testing::Pair,
    tls::{
        self,
        rustls::{ClientConfig, ServerConfig, pki_types::ServerName},
    },
};

use super::support::{Caller, CallerEvent, Toy, ToyEvent};

pub(crate) struct Keys {
    pub(crate) chain: String,
    pub(crate) key: String,
}

pub(crate) fn make(name: &str) -> Keys {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    Keys { chain: made.cert.pem(), key: made.signing_key.serialize_pem() }
}

pub(crate) static SERVER: LazyLock<Keys> = LazyLock::new(|| make("mail.test"));
pub(crate) static CLIENT: LazyLock<Keys> = LazyLock::new(|| make("client.test"));

pub(crate) fn server_config() -> ServerConfig {
    tls::server_config(SERVER.chain.as_bytes(), SERVER.key.as_bytes()).unwrap()
}

pub(crate) fn client_config() -> ClientConfig {
    tls::client_config(tls::roots(SERVER.chain.as_bytes()).unwrap()).unwrap()
}

pub(crate) fn server_side() -> TlsSide {
    TlsSide::Server(Arc::new(server_config()))
}

pub(crate) fn client_side() -> TlsSide {
    named("mail.test", client_config())
}

pub(crate) fn named(name: &str, config: ClientConfig) -> TlsSide {
    TlsSide::Client(Arc::new(config), ServerName::try_from(name.to_owned()).unwrap())
}

pub(crate) type Both = Pair<Secure<Toy>, Secure<Caller>>;

pub(crate) fn pair(server: TlsSide, client: TlsSide, starttls: bool, split: usize) -> Both {
    let mut caller = Caller::default();
    caller.starttls = starttls;
    if starttls {
        caller.say("STARTTLS\r\n");
        Pair::new(Secure::starttls(Toy::new(), server), Secure::starttls(caller, client), split)
    } else {
        Pair::new(Secure::implicit(Toy::new(), server), Secure::implicit(caller, client), split)
    }
}

#[derive(Default)]
pub(crate) struct Log {
    pub(crate) heard: Vec<u8>,
    pub(crate) taken: Vec<u8>,
    pub(crate) server: Option<Closed>,
    pub(crate) client: Option<Closed>,
    pub(crate) secured: usize,
}

/// Runs until nothing moves; the client says `script` once it is secure.
pub(crate) fn run(pair: &mut Both, script: &[u8], log: &mut Log) {
    let Log { heard, taken, server, client, secured } = log;
    pair.run(
        |machine, event| match event {
            ToyEvent::Give(ask) => machine.inner_mut().give(body(*ask)),
            ToyEvent::Body(chunk) => taken.extend_from_slice(&chunk),
            ToyEvent::Taken => {}
            ToyEvent::Closed(why) => assert_eq!(server.replace(why), None),
        },
        |machine, event| match event {
            CallerEvent::Secured => {
                *secured += 1;
                machine.inner_mut().say(Bytes::copy_from_slice(script));
            }
            CallerEvent::Heard(chunk) => heard.extend_from_slice(&chunk),
            CallerEvent::Closed(why) => assert_eq!(client.replace(why), None),
        },
    );
}

pub(crate) fn body(length: usize) -> Bytes {
    (0..length).map(|index| (index * 7 + index / 251) as u8).collect()
}

/// A pair after its handshake.
pub(crate) fn connected() -> (Secure<Toy>, Secure<Caller>) {
    let mut pair = pair(server_side(), client_side(), false, usize::MAX);
    let mut log = Log::default();
    run(&mut pair, b"", &mut log);
    assert!(pair.server.machine.is_secure() && pair.client.machine.is_secure());
    assert_eq!(log.heard, b"220 toy\r\n");
    (pair.server.machine, pair.client.machine)
}

pub(crate) fn sent<M: Machine>(machine: &mut M) -> Vec<u8> {
    let mut all = Vec::new();
    while machine.transmit().has_remaining() {
        let transmit = machine.transmit();
        all.extend_from_slice(transmit.chunk());
        let length = transmit.chunk().len();
        transmit.advance(length);
    }
    all
}

/// Polls to the end of the session; says why it closed.
pub(crate) fn closes(server: &mut Secure<Toy>, now: Instant, rx: &mut BytesMut) -> Closed {
    let Output::Event(ToyEvent::Closed(why)) = server.poll(now, rx) else { panic!("no closing event") };
    for _ in 0..3 {
        assert_eq!(server.poll(now, rx), Output::Close);
    }
    why
}

pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
