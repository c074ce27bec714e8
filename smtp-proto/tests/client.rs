//! Sessions as text, played against the client.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod support;

use mailwright_line_proto::testing::{Pace, Seen, Transcript, check_laws, run};
use support::{Sending, marked, transcripts};

#[test]
fn every_transcript_is_followed_and_every_law_kept() {
    for (name, text, transcript) in transcripts("client") {
        println!("{name}");
        let make = || Sending::new(&text);
        if text.contains("C: STARTTLS\n") {
            // What follows the consent in one piece is refused, so the split matters there and nowhere else.
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
        for expected in marked(&text, "# event:") {
            assert!(
                seen.iter().any(|seen| matches!(seen, Seen::Event(text) if text.contains(expected))),
                "{name}: no event with {expected:?} in {seen:#?}"
            );
        }
    }
}

#[test]
fn octets_behind_the_consent_to_tls_are_never_read() {
    let (_, text, _) = transcripts("client").into_iter().find(|(name, ..)| name == "starttls.txt").unwrap();
    // Up to the line with which the client goes on inside TLS.
    let (before, after) = text.split_once("# TLS\n").unwrap();
    let start = Transcript::parse(&format!("{before}{}", after.lines().next().unwrap())).unwrap();
    let session = Transcript::parse("S: 220 mail.example.com ESMTP\nC: EHLO client.example.org\n").unwrap();
    check_laws(|| Sending::new(&text), &[session], Some(&start));
}
