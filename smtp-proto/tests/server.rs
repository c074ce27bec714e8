//! Sessions as text, played against the server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod support;

use std::sync::Arc;

use mailwright_line_proto::{
    Machine, Peer, TlsInfo,
    testing::{Pace, Seen, check_laws, run},
};
use mailwright_smtp_proto::server::Server;
use support::{Receiving, marked, server_config, transcripts};

#[test]
fn every_transcript_is_followed_and_every_law_kept() {
    for (name, text, transcript) in transcripts("server") {
        println!("{name}");
        let config = Arc::new(server_config(&text));
        let make = || Receiving(Arc::clone(&config));
        if text.contains("C: STARTTLS\n") && !name.contains("refused") {
            // What follows STARTTLS in one piece is refused, so the split matters there and nowhere else.
            for split in [usize::MAX, 1, 2, 7] {
                for lazy in [false, true] {
                    run(&mut make(), &transcript, Pace { split, lazy });
                }
            }
        } else {
            check_laws(make, std::slice::from_ref(&transcript), None);
        }
        let seen = run(&mut make(), &transcript, Pace::default()).seen;
        let closed = seen.iter().find_map(|seen| match seen {
            Seen::Closed(why) => Some(why.as_str()),
            _ => None,
        });
        assert_eq!(closed, marked(&text, "# closed:").next(), "{name}");
        let messages = seen
            .iter()
            .filter(|seen| matches!(seen, Seen::Event(text) if text.starts_with("BodyEnd")))
            .count();
        let expected = marked(&text, "# messages:").next().map_or(0, |count| count.parse().unwrap());
        assert_eq!(messages, expected, "{name}: messages");
    }
}

#[test]
fn octets_behind_starttls_are_never_run() {
    let (_, text, _) = transcripts("server").into_iter().find(|(name, ..)| name == "starttls.txt").unwrap();
    let until = text.find("# TLS").unwrap();
    let start = mailwright_line_proto::testing::Transcript::parse(&text[..until]).unwrap();
    let config = Arc::new(server_config(&text));
    let session = mailwright_line_proto::testing::Transcript::parse(
        "S: 220 mail.example.com ESMTP\nC: QUIT\nS: 221 2.0.0 Bye\n",
    )
    .unwrap();
    check_laws(|| Receiving(Arc::clone(&config)), &[session], Some(&start));
}

#[test]
fn a_mechanism_that_binds_the_channel_is_offered_where_there_is_one() {
    let mut config = server_config("");
    config.allow_plaintext_auth = true;
    config.auth_mechanisms = ["PLAIN", "SCRAM-SHA-256-PLUS"].map(String::from).to_vec();
    let offered = |tls: Option<Option<[u8; 32]>>| {
        let mut server = Server::new(Arc::new(config.clone()), Peer::unknown());
        if let Some(exporter) = tls {
            let mut info = TlsInfo::default();
            info.exporter = exporter;
            server.handle_tls(info);
        }
        server.capabilities().has_mechanism("SCRAM-SHA-256-PLUS")
    };
    assert_eq!([None, Some(None), Some(Some([1; 32]))].map(offered), [false, false, true]);
}
