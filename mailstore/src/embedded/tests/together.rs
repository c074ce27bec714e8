//! Messages that are read together, and summaries of many: the same as one by one, whatever lies between and whatever is damaged.

use super::*;
use crate::{Column, Summary};

/// All messages of the INBOX, and what reading them one by one gives; nothing where it fails, or of what is no one chunk.
fn one_by_one(store: &Embedded) -> (Vec<MessageRef>, Vec<Option<Bytes>>) {
    let (mailbox, snapshot) = inbox(store, "alice");
    let wanted: Vec<_> = snapshot.messages().map(|message| mailbox.message(message)).collect();
    let whole = |message: &MessageRef| {
        let octets = block_on(store.read(message, 0..message.size)).ok()?;
        (octets.len() as u64 == message.size).then_some(octets)
    };
    let octets = wanted.iter().map(whole).collect();
    (wanted, octets)
}

fn filled(directory: &Path) -> Embedded {
    let store = open(directory);
    for number in 0..60_u32 {
        // Some of others between them, a large one, empty ones.
        block_on(deliver(&store, "bob", b"for bob"));
        let size = match number {
            20 => 300_000,
            30 | 31 => 0,
            _ => number as usize * 100 + 1,
        };
        block_on(deliver(&store, "alice", &vec![b'a' + (number % 26) as u8; size]));
        if number == 40 {
            for _ in 0..20 {
                block_on(deliver(&store, "bob", b"more for bob"));
            }
        }
    }
    store
}

#[test]
fn messages_are_what_they_are_one_by_one() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(directory.path());
    let (wanted, expected) = one_by_one(&store);
    assert_eq!(expected.iter().filter(|octets| octets.is_none()).count(), 1);
    assert_eq!(block_on(store.read_together(&wanted)).unwrap(), expected);
    drop(store);
    let store = open(directory.path());
    assert_eq!(block_on(store.read_together(&wanted)).unwrap(), expected);
    assert_eq!(block_on(store.read_together(&[])).unwrap(), []);
}

#[test]
fn damaged_ones_are_nothing_and_the_rest_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(directory.path());
    let (wanted, _) = one_by_one(&store);
    let core = store.shared.core().unwrap();
    for (place, missing) in [(7, true), (8, false), (33, false), (59, true)] {
        let body = row::number_of(wanted[place].object.unwrap()).unwrap();
        let (key, bodies) = (body::key(body, 0), &core.database.bodies);
        if missing {
            bodies.remove(key).unwrap();
        } else {
            let mut row = bodies.get(&key).unwrap().unwrap().to_vec();
            *row.last_mut().unwrap() ^= 1;
            bodies.insert(key, row).unwrap();
        }
    }
    let (wanted, expected) = one_by_one(&store);
    assert_eq!(expected.iter().filter(|octets| octets.is_none()).count(), 5);
    assert_eq!(block_on(store.read_together(&wanted)).unwrap(), expected);
}

#[test]
fn summaries_of_several_users_are_theirs() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(directory.path());
    let mut wanted = Vec::new();
    for name in ["alice", "bob", "alice"] {
        let (mailbox, snapshot) = inbox(&store, name);
        wanted.extend(snapshot.messages().map(|message| mailbox.message(message)));
    }
    for (number, message) in wanted.iter().enumerate().filter(|(number, _)| number % 3 > 0) {
        let header = Bytes::from(format!("{number} {}", message.uid));
        block_on(store.save(message, &Summary::default().with_header(header))).unwrap();
    }
    let together = block_on(store.column(&wanted, Column::Header)).unwrap();
    assert_eq!(together.len(), wanted.len());
    for (message, found) in wanted.iter().zip(together) {
        let alone = block_on(store.column(std::slice::from_ref(message), Column::Header)).unwrap();
        assert_eq!(alone, std::slice::from_ref(&found));
        assert!(found.is_none_or(|found| found.ends_with(format!(" {}", message.uid).as_bytes())));
    }
}
