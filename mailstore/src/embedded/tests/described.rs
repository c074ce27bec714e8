//! What is kept of messages and would be found otherwise now.

use super::*;
use crate::{Column, Describe, Describer, Summary};

/// Finds how many lines a message has.
#[derive(Default)]
struct Lines(u64);

impl Describe for Lines {
    fn push(&mut self, octets: &[u8]) {
        self.0 += octets.iter().filter(|octet| **octet == b'\n').count() as u64;
    }

    fn finish(self: Box<Self>) -> Summary {
        Summary::new(format!("{} lines", self.0).into(), "structure".into())
    }
}

fn describing(version: u32) -> Options {
    let describer = Describer::new(version, || Box::new(Lines::default()));
    Options { describer: Some(describer), ..Options::default() }
}

fn deliver_described(store: &Embedded, octets: &[u8], summary: Option<&str>) {
    block_on(async {
        let mut upload = upload(store, octets).await;
        if let Some(summary) = summary {
            let summary = Summary::new(Bytes::copy_from_slice(summary.as_bytes()), "structure".into());
            upload.summarize(summary.with_header("old".into()));
        }
        upload.commit(&[target("alice")]).await.unwrap();
    });
}

fn kept(store: &Embedded, column: Column) -> Vec<Option<String>> {
    let (mailbox, snapshot) = inbox(store, "alice");
    let messages: Vec<_> = snapshot.messages().map(|message| mailbox.message(message)).collect();
    let kept = block_on(store.cache().unwrap().column(&messages, column)).unwrap();
    kept.into_iter().map(|kept| Some(String::from_utf8(kept?.to_vec()).unwrap())).collect()
}

fn envelopes(store: &Embedded) -> Vec<Option<String>> {
    kept(store, Column::Envelope)
}

fn check(store: &Embedded, repair: bool) -> Vec<(String, bool)> {
    let report = block_on(store.check(repair, &mut |_| {})).unwrap();
    report.findings.into_iter().map(|found| (found.what, found.repaired)).collect()
}

#[test]
fn what_another_version_found_is_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let large = [b"x\n".repeat(200_000), b"\r\n".to_vec()].concat();
    let store = open(directory.path());
    assert!(!store.is_described_by_another(), "nobody says who describes");
    deliver_described(&store, b"a\r\nb\r\n", Some("1 lines"));
    deliver_described(&store, b"c\r\n", None);
    deliver_described(&store, &large, Some("7 lines"));
    drop(store);
    let store = Embedded::open(directory.path(), describing(3)).unwrap();
    assert!(store.is_described_by_another());
    // Bodies that others share a number of passes with.
    for _ in 0..20 {
        deliver_described(&store, b"one\r\n", Some("1 lines"));
    }
    let what = "what is kept of 22 messages (envelope, structure, header) is not what is found in them";
    assert_eq!(check(&store, false), [(what.to_owned(), false)]);
    assert_eq!(envelopes(&store)[..3], [Some("1 lines".into()), None, Some("7 lines".into())]);
    assert!(store.is_described_by_another());

    assert_eq!(check(&store, true), [(what.to_owned(), true)]);
    let mut expected = vec![Some("1 lines".to_owned()); 23];
    // What was not kept is found out by whoever asks.
    expected[..3].clone_from_slice(&[Some("2 lines".into()), None, Some("200001 lines".into())]);
    assert_eq!(envelopes(&store), expected);
    assert_eq!(kept(&store, Column::Header), vec![None; 23], "what is found no more is kept no more");
    assert_eq!(kept(&store, Column::Structure)[0].as_deref(), Some("structure"));
    assert_eq!(check(&store, false), []);
    assert!(!store.is_described_by_another());
    drop(store);
    let store = Embedded::open(directory.path(), describing(3)).unwrap();
    assert!(!store.is_described_by_another());
    drop(store);
    assert!(Embedded::open(directory.path(), describing(4)).unwrap().is_described_by_another());
}

#[test]
fn a_new_store_has_nothing_of_another_version() {
    let directory = tempfile::tempdir().unwrap();
    for version in [3, 3, 4] {
        let store = Embedded::open(directory.path(), describing(version)).unwrap();
        assert_eq!(store.is_described_by_another(), version == 4);
    }
}
