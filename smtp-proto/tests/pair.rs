//! Client and server back to back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod support;

use std::{cell::RefCell, sync::Arc};

use bytes::Bytes;
use mailwright_line_proto::{
    Authenticate, Closed, Peer, Secret,
    testing::{Pair, Seen},
};
use mailwright_mail_model::{ForwardPath, ReversePath};
use mailwright_smtp_proto::{
    Atrn, Hello, Mail, MailParameters, Message, Outcome, Quit, Rcpt, StartTls, Turn, TurnEvent,
    client::{self, Client},
    server::{self, Server},
};

fn message(count: usize) -> Message {
    let mut parameters = MailParameters::default();
    parameters.size = Some(7);
    let mail = Mail::new(ReversePath::parse(b"<ann@example.org>").unwrap()).with_parameters(parameters);
    let rcpt = |number| Rcpt::new(ForwardPath::parse(format!("<{number}@example.com>").as_bytes()).unwrap());
    Message::new(mail, (0..count).map(rcpt).collect())
}

/// Sends one message over TLS, after a login, and says what the server saw and the client heard.
fn converse(
    server: server::Config,
    client: client::Config,
    split: usize,
) -> (Vec<Seen>, Option<Outcome>, Vec<u8>) {
    let server = Server::new(Arc::new(server), Peer::unknown());
    let client = Client::new(Arc::new(client));
    let mut pair = Pair::new(server, client, split);
    let (seen, heard) = (RefCell::new(Vec::new()), RefCell::new(None));
    let body = RefCell::new(Vec::new());
    let mut secure = false;
    pair.run(
        |server, event| match support::receive(server, event) {
            Seen::Body(chunk) => body.borrow_mut().extend_from_slice(&chunk),
            other => seen.borrow_mut().push(other),
        },
        |client, event| match event {
            client::Event::Greeting(_) => {
                client.call(Hello::new("client.example.org".parse().unwrap())).map(drop).unwrap();
            }
            client::Event::Hello(_, answer) if !secure => {
                answer.unwrap();
                assert!(client.capabilities().auth.is_empty(), "no AUTH before TLS");
                client.call(StartTls).map(drop).unwrap();
            }
            client::Event::StartTls(..) => {
                secure = true;
                client.call(Hello::new("client.example.org".parse().unwrap())).map(drop).unwrap();
            }
            client::Event::Hello(..) => {
                let response = Some(Secret::from("\0user\0pass"));
                client.call(Authenticate::new("PLAIN".to_owned(), response)).map(drop).unwrap();
            }
            client::Event::Authenticate(_, reply) => {
                assert_eq!(reply.code(), 235);
                client.call(message(50)).map(drop).unwrap();
            }
            client::Event::Message(_, addressed) => {
                assert!(addressed.is_ready());
                for line in ["one\r\n", ".", "two\n", "..\r"] {
                    client.send_body(Bytes::from(line)).unwrap();
                }
                client.end_body().map(drop).unwrap();
            }
            client::Event::BodyEnd(_, outcome) => {
                *heard.borrow_mut() = Some(outcome);
                client.call(Quit).map(drop).unwrap();
            }
            client::Event::Quit(_, reply) => assert_eq!(reply.code(), 221),
            client::Event::Closed(why) => assert_eq!(why, Closed::Farewell),
            other => panic!("{other:?}"),
        },
    );
    assert!(pair.server.closed && pair.client.closed);
    (seen.into_inner(), heard.into_inner(), body.into_inner())
}

/// Fetches mail: the roles turn, and the message goes the other way.
fn fetch(split: usize) -> (Vec<Seen>, Vec<u8>) {
    let mut provider = server::Config::smtp("provider.example").unwrap();
    provider.starttls = true;
    provider.auth_mechanisms = vec!["PLAIN".to_owned()];
    provider.abilities.turn = true;
    let provider =
        Turn::server(Server::new(Arc::new(provider), Peer::unknown()), Arc::new(client::Config::default()));
    let customer = Turn::client(
        Client::new(Arc::new(client::Config::default())),
        Arc::new(server::Config::smtp("customer.example").unwrap()),
        Peer::unknown(),
    );
    let mut pair = Pair::new(provider, customer, split);
    let (seen, body) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
    let mut secure = false;
    pair.run(
        |provider, event| match event {
            TurnEvent::Server(event) => drop(support::receive(provider.as_server().unwrap(), event)),
            TurnEvent::Client(client::Event::Closed(why)) => assert_eq!(why, Closed::Farewell),
            TurnEvent::Client(event) => {
                let client = provider.as_client().unwrap();
                match event {
                    client::Event::Greeting(_) => {
                        client.call(Hello::new("provider.example".parse().unwrap())).map(drop).unwrap();
                    }
                    client::Event::Hello(..) => client.call(message(1)).map(drop).unwrap(),
                    client::Event::Message(..) => {
                        client.send_body(Bytes::from("for you\r\n")).unwrap();
                        client.end_body().map(drop).unwrap();
                    }
                    client::Event::BodyEnd(..) => client.call(Quit).map(drop).unwrap(),
                    client::Event::Quit(..) => {}
                    other => panic!("{other:?}"),
                }
            }
            other => panic!("{other:?}"),
        },
        |customer, event| match event {
            TurnEvent::Server(event) => match support::receive(customer.as_server().unwrap(), event) {
                Seen::Body(chunk) => body.borrow_mut().extend_from_slice(&chunk),
                other => seen.borrow_mut().push(other),
            },
            TurnEvent::Client(event) => {
                let client = customer.as_client().unwrap();
                match event {
                    client::Event::Hello(..) if !secure => client.call(StartTls).map(drop).unwrap(),
                    client::Event::Greeting(_) | client::Event::StartTls(..) => {
                        secure = matches!(event, client::Event::StartTls(..));
                        client.call(Hello::new("customer.example".parse().unwrap())).map(drop).unwrap();
                    }
                    client::Event::Hello(..) => {
                        let response = Some(Secret::from("\0user\0pass"));
                        client.call(Authenticate::new("PLAIN".to_owned(), response)).map(drop).unwrap();
                    }
                    client::Event::Authenticate(..) => client.call(Atrn::default()).map(drop).unwrap(),
                    client::Event::Atrn(_, answer) => answer.unwrap(),
                    other => panic!("{other:?}"),
                }
            }
            other => panic!("{other:?}"),
        },
    );
    assert!(pair.server.closed && pair.client.closed);
    (seen.into_inner(), body.into_inner())
}

#[test]
fn the_roles_turn_whatever_the_split() {
    // RFC 2645 §6
    let whole = fetch(usize::MAX);
    assert_eq!(whole.1, b"for you\r\n");
    assert!(matches!(&whole.0[0], Seen::Event(text) if text.contains("provider.example")), "{:?}", whole.0);
    for split in [1, 2, 3, 7, 64] {
        assert_eq!(fetch(split), whole, "{split}");
    }
}

#[test]
fn a_message_crosses_whatever_the_split() {
    for lmtp in [false, true] {
        let mut config =
            if lmtp { server::Config::lmtp("mx.example") } else { server::Config::submission("mx.example") }
                .unwrap();
        config.starttls = true;
        config.require_tls = true;
        config.auth_mechanisms = vec!["PLAIN".to_owned()];
        let mut own = if lmtp { client::Config::lmtp() } else { client::Config::default() };
        own.require_tls = true;
        if !lmtp {
            // By BDAT, all the same.
            let mut chunking = own.clone();
            chunking.chunking = client::Chunking::WhenOffered;
            for split in [usize::MAX, 1, 7, 64] {
                assert_eq!(converse(config.clone(), chunking.clone(), split).2, b"one\r\n.two\r\n..\r\n");
            }
        }
        let whole = converse(config.clone(), own.clone(), usize::MAX);
        assert_eq!(whole.2, b"one\r\n.two\r\n..\r\n");
        match whole.1.as_ref().unwrap() {
            Outcome::All(reply) => assert!(!lmtp && reply.is_positive()),
            Outcome::Each(replies) => assert!(lmtp && replies.len() == 50 && replies[1].is_transient()),
            other => panic!("{other:?}"),
        }
        for split in [1, 2, 3, 5, 7, 64, 1000] {
            assert_eq!(converse(config.clone(), own.clone(), split), whole, "{split}");
        }
    }
}
