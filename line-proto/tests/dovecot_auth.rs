//! The protocol of Dovecot's authentication service: both sides by transcripts and through the laws.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use mailwright_line_proto::{
    AuthRefusal, Closed, Gone, Secret,
    dovecot_auth::{
        Answer, AuthRequest, Client, ClientEvent, Exchange, MechanismOffer, Outcome, Server, ServerConfig,
        ServerEvent,
    },
    testing::{Pair, Seen, Side, Subject, Transcript, check_laws},
};

/// Takes `tim` with `pass`, asks everybody for a response to `Password:` first who sends none.
struct Serving;

fn config() -> ServerConfig {
    let mut config = ServerConfig::new(vec![
        MechanismOffer::new("PLAIN", true),
        MechanismOffer::new("SCRAM-SHA-256", false),
    ]);
    config.exchanges = 4;
    config
}

fn decide(exchange: &Exchange) -> Answer {
    let response = match exchange {
        Exchange::Begin(request) => request.initial.as_ref(),
        Exchange::Response(response) => Some(response),
        _ => None,
    };
    match response.map(Secret::expose) {
        None => Answer::Challenge("Password:".into()),
        Some(b"\0tim\0pass") => Answer::Accept("tim\t@example.org".into()),
        Some(b"later") => Answer::Refuse(AuthRefusal::Unavailable),
        Some(_) => Answer::Refuse(AuthRefusal::Credentials),
    }
}

impl Subject for Serving {
    type Machine = Server;

    fn build(&self) -> Server {
        Server::new(config())
    }

    fn side(&self) -> Side {
        Side::Server
    }

    fn react(&mut self, machine: &mut Server, event: ServerEvent) -> Seen {
        match event {
            ServerEvent::Exchange(ask) => {
                let seen = Seen::Event(format!("{} {ask:?}", ask.id()));
                let answer = decide(&ask);
                let _ = machine.answer(ask, answer);
                seen
            }
            ServerEvent::Closed(why) => Seen::Closed(format!("{why:?}")),
            other => Seen::Event(format!("{other:?}")),
        }
    }
}

const HANDSHAKE: &str = "S| VERSION\\t1\\t2\\nMECH\\tPLAIN\\tplaintext\\nMECH\\tSCRAM-SHA-256\\nSPID\\t1\\nCUID\\t1\\n\
    COOKIE\\t00000000000000000000000000000000\\nDONE\\n\n";

fn session(text: &str) -> Transcript {
    // One step a line; tabs and line ends of the protocol are written as escapes.
    Transcript::parse(&format!("{HANDSHAKE}{text}")).unwrap()
}

#[test]
fn the_server_keeps_the_laws() {
    let sessions = [
        session(
            "C| VERSION\\t1\\t0\\nCPID\\t7\\nAUTH\\t1\\tPLAIN\\tservice=smtp\\tnologin\\tresp=AHRpbQBwYXNz\\n\n\
             S| OK\\t1\\tuser=tim\\x01t@example.org\\n\n\
             C| AUTH\\t2\\tPLAIN\\tservice=smtp\\tresp=AHRpbQBwYXM=\\n\n\
             S| FAIL\\t2\\n\n\
             C| AUTH\\t3\\tGSSAPI\\tservice=smtp\\n\n\
             S| FAIL\\t3\\treason=The mechanism is not offered\\n",
        ),
        session(
            "C| VERSION\\t1\\t2\\nAUTH\\t9\\tPLAIN\\tservice=imap\\n\n\
             S| CONT\\t9\\tUGFzc3dvcmQ6\\n\n\
             C| CONT\\t9\\tbGF0ZXI=\\n\n\
             S| FAIL\\t9\\ttemp\\tcode=temp_fail\\n\n\
             C| AUTH\\t10\\tPLAIN\\tservice=imap\\n\n\
             S| CONT\\t10\\tUGFzc3dvcmQ6\\n\n\
             C| CONT\\t10\\t!\\n\n\
             S| FAIL\\t10\\tcode=invalid_base64\\treason=Invalid base64 data\\n\n\
             C| AUTH\\t11\\tPLAIN\\tservice=imap\\n\n\
             S| CONT\\t11\\tUGFzc3dvcmQ6\\n\n\
             C| CANCEL\\t11\\nCONT\\t11\\tx\\n",
        ),
        // What one user's program says ends nobody else's login.
        session(
            "C| VERSION\\t1\\t2\\nAUTH\\t9\\tPLAIN\\tservice=imap\\n\n\
             S| CONT\\t9\\tUGFzc3dvcmQ6\\n\n\
             C| AUTH\\t10\\tPLAIN\\tservice=smtp\\tresp=!!!\\n\n\
             S| FAIL\\t10\\tcode=invalid_base64\\treason=Invalid base64 data\\n\n\
             C| AUTH\\t11\\tPLAIN\\tservice=smtp\\tlocal_name=\\xff\\tresp=\\xff\\n\n\
             S| FAIL\\t11\\tcode=invalid_base64\\treason=Invalid base64 data\\n\n\
             C| AUTH\\t12\\tPLAIN\\tservice=smtp\\tlocal_name=\\xff\\tresp=AHRpbQBwYXNz\\n\n\
             S| OK\\t12\\tuser=tim\\x01t@example.org\\n\n\
             C| CANCEL\\t9\\n",
        ),
        // Nobody waits for ever.
        session(
            "C| VERSION\\t1\\t2\\nAUTH\\t9\\tPLAIN\\tservice=imap\\n\n\
             S| CONT\\t9\\tUGFzc3dvcmQ6\\n\n\
             T: 150\n\
             S| FAIL\\t9\\n\n\
             T: 1800",
        ),
        session("C| VERSION\\t2\\t0\\n"),
        session("C| VERSION\\t1\\t2\\nAUTH\\tx\\n"),
    ];
    check_laws(|| Serving, &sessions, None);
}

/// Asks once, as soon as it may.
struct Asking;

impl Subject for Asking {
    type Machine = Client;

    fn build(&self) -> Client {
        Client::new(7)
    }

    fn side(&self) -> Side {
        Side::Client
    }

    fn react(&mut self, machine: &mut Client, event: ClientEvent) -> Seen {
        let seen = Seen::Event(format!("{event:?}"));
        match event {
            ClientEvent::Ready(offers) => {
                if offers.iter().any(|offer| offer.name == "PLAIN") {
                    machine.authenticate(&AuthRequest::new("PLAIN", "imap")).unwrap();
                }
                seen
            }
            ClientEvent::Challenge(id, _) => {
                machine.respond(id, &Secret::from("\0tim\0pass")).unwrap();
                seen
            }
            ClientEvent::Closed(why) => Seen::Closed(format!("{why:?}")),
            _ => seen,
        }
    }
}

#[test]
fn the_client_keeps_the_laws() {
    let session = |text: &str| {
        Transcript::parse(&format!(
            "C| VERSION\\t1\\t2\\nCPID\\t7\\n\nS| VERSION\\t1\\t2\\nMECH\\tPLAIN\\tplaintext\\nSPID\\t1\\nCOOKIE\\tx\\nDONE\\n\n\
             C| AUTH\\t1\\tPLAIN\\tservice=imap\\n\n{text}"
        ))
        .unwrap()
    };
    let sessions = [
        session(
            "S| CONT\\t1\\t\\n\nC| CONT\\t1\\tAHRpbQBwYXNz\\n\nS| OK\\t1\\tuser=tim\\tother=x\\tresp=dj0=\\n",
        ),
        session("S| FAIL\\t1\\tuser=tim\\ttemp\\treason=come\\x01nback\\n"),
        session("S| OK\\t1\\tuser=tim\\tnologin\\treason=suspended\\n"),
        session("T: 150"),
        session("S| OK\\t2\\tuser=tim\\n"),
        session("S| OK\\t1\\n"),
    ];
    check_laws(|| Asking, &sessions, None);
}

#[test]
fn both_sides_understand_each_other() {
    for split in [1, 3, 1000] {
        let mut pair = Pair::new(Server::new(config()), Client::new(1), split);
        let (mut outcomes, mut closed) = (Vec::new(), None);
        for round in 0..2 {
            if round == 1 {
                let client = &mut pair.client.machine;
                let mut request = AuthRequest::new("PLAIN", "smtp");
                request.secured = true;
                client.authenticate(&request).unwrap();
                request.initial = Some(Secret::from("\0tim\0nopass"));
                client.authenticate(&request).unwrap();
                assert!(client.authenticate(&AuthRequest::new("LOGIN", "smtp")).is_err());
            }
            pair.run(
                |server, event| {
                    if let ServerEvent::Exchange(ask) = event {
                        let answer = decide(&ask);
                        server.answer(ask, answer).unwrap();
                    }
                },
                |client, event| match event {
                    ClientEvent::Challenge(id, challenge) => {
                        assert_eq!(challenge.expose(), b"Password:");
                        client.respond(id, &Secret::from("\0tim\0pass")).unwrap();
                    }
                    ClientEvent::Done(id, outcome) => outcomes.push((id, outcome)),
                    ClientEvent::Closed(why) => closed = Some(why),
                    _ => {}
                },
            );
        }
        outcomes.sort_by_key(|(id, _)| *id);
        let [(1, Outcome::Accepted { user, .. }), (2, Outcome::Refused { temporary: false, .. })] =
            &outcomes[..]
        else {
            panic!("{outcomes:?}")
        };
        assert_eq!(user, "tim\t@example.org");
        assert_eq!(closed, None);
    }
}

#[test]
fn who_may_not_log_in_there_is_refused_though_the_password_is_right() {
    use bytes::BytesMut;
    use mailwright_line_proto::{Machine, Output};
    let now = std::time::Instant::now();
    for (said, reason, accepted) in [
        ("user=tim\tnologin\treason=Account suspended", Some("Account suspended"), false),
        ("user=tim\tproxy\thost=10.9.9.9", None, false),
        ("nologin=y\tuser=tim", None, false),
        // What is not theirs: a field of the user's data, and a value that looks like one.
        ("user=tim\tuserdb_nologin\tother=nologin", None, true),
    ] {
        let mut client = Client::new(7);
        let mut rx = BytesMut::from("VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nDONE\n");
        assert!(matches!(client.poll(now, &mut rx), Output::Event(ClientEvent::Ready(_))));
        let id = client.authenticate(&AuthRequest::new("PLAIN", "imap")).unwrap();
        rx.extend_from_slice(format!("OK\t{id}\t{said}\n").as_bytes());
        let Output::Event(ClientEvent::Done(done, outcome)) = client.poll(now, &mut rx) else { panic!() };
        assert_eq!(done, id);
        let reason = reason.map(str::to_owned);
        let expected = match accepted {
            true => Outcome::Accepted { user: "tim".into(), last: None },
            false => Outcome::Refused { temporary: false, expired: false, denied: true, reason },
        };
        assert_eq!(outcome, expected, "{said}");
    }
}

/// What Dovecot writes since 2.3, and wrote before.
#[test]
fn a_server_that_cannot_tell_refuses_nobody() {
    use bytes::BytesMut;
    use mailwright_line_proto::{Machine, Output};
    let now = std::time::Instant::now();
    for (said, temporary, expired, denied) in [
        ("user=tim", false, false, false),
        ("user=tim\ttemp", true, false, false),
        ("user=tim\tcode=temp_fail", true, false, false),
        ("user=tim\tcode=temp_fail\treason=later", true, false, false),
        ("user=tim\tcode=pass_expired", false, true, false),
        ("user=tim\tcode=user_disabled", false, false, true),
        ("user=tim\tcode=authz_fail", false, false, true),
    ] {
        let mut client = Client::new(7);
        let mut rx = BytesMut::from("VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nDONE\n");
        assert!(matches!(client.poll(now, &mut rx), Output::Event(ClientEvent::Ready(_))));
        let id = client.authenticate(&AuthRequest::new("PLAIN", "imap")).unwrap();
        rx.extend_from_slice(format!("FAIL\t{id}\t{said}\n").as_bytes());
        let Output::Event(ClientEvent::Done(_, outcome)) = client.poll(now, &mut rx) else { panic!() };
        let reason = said.split_once("reason=").map(|(_, reason)| reason.to_owned());
        assert_eq!(outcome, Outcome::Refused { temporary, expired, denied, reason }, "{said}");
    }
}

#[test]
fn an_answer_to_a_cancelled_exchange_is_gone() {
    use bytes::BytesMut;
    use mailwright_line_proto::{Machine, Output};
    let now = std::time::Instant::now();
    let mut server = Server::new(config());
    let mut rx = BytesMut::from("VERSION\t1\t2\nAUTH\t1\tPLAIN\tservice=smtp\nCANCEL\t1\n");
    let Output::Event(ServerEvent::Exchange(ask)) = server.poll(now, &mut rx) else { panic!() };
    // Whoever works on the answer can leave off.
    assert!(matches!(server.poll(now, &mut rx), Output::Event(ServerEvent::Cancelled(1))));
    assert!(matches!(server.poll(now, &mut rx), Output::Wait(_)));
    assert_eq!(server.answer(ask, Answer::Challenge("x".into())), Err(Gone));
    // Four questions open: no more is read until one is answered.
    rx.extend_from_slice(
        &(2..9).map(|id| format!("AUTH\t{id}\tPLAIN\tservice=smtp\n")).collect::<String>().into_bytes(),
    );
    let mut asks = Vec::new();
    while let Output::Event(ServerEvent::Exchange(ask)) = server.poll(now, &mut rx) {
        asks.push(ask);
    }
    assert_eq!(asks.len(), 4);
    server.answer(asks.remove(0), Answer::Refuse(AuthRefusal::Busy)).unwrap();
    assert!(matches!(server.poll(now, &mut rx), Output::Event(ServerEvent::Exchange(_))));
    // Four that are challenged are as many: a fifth is told to come back.
    for ask in asks.drain(..3) {
        server.answer(ask, Answer::Challenge("x".into())).unwrap();
    }
    while let Output::Event(ServerEvent::Exchange(ask)) = server.poll(now, &mut rx) {
        asks.push(ask);
    }
    let length = server.transmit().len();
    let sent = bytes::Buf::copy_to_bytes(server.transmit(), length);
    assert!(sent.ends_with(b"\ttemp\tcode=temp_fail\n"), "{sent:?}");
    rx.extend_from_slice(b"CONT\t3\tYQ==\n");
    let Output::Event(ServerEvent::Exchange(ask)) = server.poll(now, &mut rx) else { panic!() };
    asks.push(ask);
    server.shutdown(mailwright_line_proto::Shutdown::Stopping);
    assert!(matches!(server.poll(now, &mut rx), Output::Event(ServerEvent::Closed(Closed::Shutdown(_)))));
    assert_eq!(server.answer(asks.remove(0), Answer::Accept("x".into())), Err(Gone));
}
