//! Who follows a feed and is told of a change finds it.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::*;

#[test]
fn what_is_told_of_is_there() {
    const LAST: u32 = 200;
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let follower = store.clone();
    let mut position = block_on(follower.position(&user("alice"))).unwrap();
    let (sender, looks) = mpsc::channel();
    thread::spawn(move || {
        loop {
            position = block_on(follower.after(&user("alice"), position)).unwrap().position;
            let status = block_on(follower.status(&user("alice"), &MailboxName::inbox())).unwrap();
            if sender.send(status.messages).is_err() || status.messages == LAST {
                return;
            }
        }
    });
    for number in 1..=LAST {
        block_on(deliver(&store, "alice", b"Subject: x\r\n\r\n"));
        // Nothing more happens until the look finds this one.
        while looks.recv_timeout(Duration::from_secs(20)).expect("a look that finds the message") < number {}
    }
}
