//! Who watches a session learns no secret.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod support;

use std::sync::{Arc, Mutex};

use mailwright_line_proto::{Authenticate, Peer, Secret, Trace, testing::Pair};
use mailwright_smtp_proto::{
    Hello, Quit,
    client::{self, Client},
    server::{self, Server},
};

#[test]
fn no_password_is_traced() {
    for (mechanism, response) in
        [("PLAIN", Some(Secret::from("\0user\0pass"))), ("PLAIN", None), ("LOGIN", None)]
    {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let trace = || {
            let lines = Arc::clone(&lines);
            Trace::new(move |line| lines.lock().unwrap().push(format!("{line:?}")))
        };
        let mut config = server::Config::smtp("mx.example").unwrap();
        config.allow_plaintext_auth = true;
        config.auth_mechanisms = vec!["PLAIN".to_owned(), "LOGIN".to_owned()];
        let mut server = Server::new(Arc::new(config), Peer::unknown());
        server.set_trace(trace());
        let mut config = client::Config::default();
        config.allow_plaintext_auth = true;
        let mut client = Client::new(Arc::new(config));
        client.set_trace(trace());
        let mut accepted = false;
        Pair::new(server, client, 7).run(
            |server, event| drop(support::receive(server, event)),
            |client, event| match event {
                client::Event::Greeting(_) => {
                    client.call(Hello::new("a.example".parse().unwrap())).map(drop).unwrap();
                }
                client::Event::Hello(..) => {
                    client.call(Authenticate::new(mechanism.to_owned(), response.clone())).map(drop).unwrap();
                }
                client::Event::Challenge(ticket, challenge) => {
                    let response = match challenge.expose() {
                        b"" => "\0user\0pass",
                        b"Username:" => "user",
                        _ => "pass",
                    };
                    client.respond(ticket, Some(&Secret::from(response))).unwrap();
                }
                client::Event::Authenticate(_, reply) => {
                    accepted = reply.code() == 235;
                    client.call(Quit).map(drop).unwrap();
                }
                _ => {}
            },
        );
        assert!(accepted);
        let lines = lines.lock().unwrap();
        let line = |text: &str| format!("{:?}", text.as_bytes());
        // PLAIN's response, LOGIN's password, LOGIN's user name.
        for secret in ["AHVzZXIAcGFzcw==", "cGFzcw==", "dXNlcg=="] {
            let octets = line(secret);
            let inner = octets.trim_matches(['[', ']']);
            assert!(!lines.iter().any(|line| line.contains(inner)), "{mechanism}: {lines:#?}");
        }
        // That the comparison can find anything at all:
        let farewell = line("221 2.0.0 Bye");
        let seen = lines.iter().filter(|line| line.contains(farewell.trim_matches(['[', ']']))).count();
        assert_eq!(seen, 2, "sent by one, received by the other");
    }
}
