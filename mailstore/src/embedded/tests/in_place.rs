//! Who commits: the thread of the store, or the one that asks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::channel;
use std::thread::{self, ThreadId};

use super::*;
use crate::embedded::committer::Group;

fn in_place(directory: &Path) -> Embedded {
    let options = Options { in_place: Some(|work| work()), ..Options::default() };
    Embedded::open(directory, options).unwrap()
}

/// The thread on which a change is made.
fn committed_by(store: &Embedded) -> ThreadId {
    let change = |group: &mut Group<'_>| {
        group.must_last();
        Ok::<_, StoreError>(thread::current().id())
    };
    block_on(store.shared.committer.submit(change)).unwrap()
}

/// Waits until the thread of the store has nothing to do.
fn settle(store: &Embedded) {
    while !store.shared.committer.is_settled() {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_single_caller_commits_where_that_is_wanted_and_possible() {
    let here = thread::current().id();
    let directory = tempfile::tempdir().unwrap();
    {
        let store = in_place(directory.path());
        settle(&store);
        assert_eq!(committed_by(&store), here);
        block_on(deliver(&store, "alice", b"tea"));
        assert_eq!(read(&store, &first(&store, "alice")), Ok(b"tea".to_vec()));
    }
    assert_ne!(committed_by(&open(directory.path())), here);
    let refusing = Options { in_place: Some(|_| {}), ..Options::default() };
    let store = Embedded::open(directory.path(), refusing).unwrap();
    settle(&store);
    assert_ne!(committed_by(&store), here);
    assert_eq!(read(&store, &first(&store, "alice")), Ok(b"tea".to_vec()));
}

#[test]
fn what_comes_while_one_commits_is_left_to_the_thread_as_one_group() {
    let directory = tempfile::tempdir().unwrap();
    let store = in_place(directory.path());
    settle(&store);
    let ((begun, has_begun), (go, may_go)) = (channel(), channel());
    thread::scope(|scope| {
        let leading = scope.spawn(|| {
            let change = move |group: &mut Group<'_>| {
                group.must_last();
                begun.send(thread::current().id()).unwrap();
                may_go.recv().unwrap();
                Ok::<_, StoreError>(thread::current().id())
            };
            block_on(store.shared.committer.submit(change)).unwrap()
        });
        let leader = has_begun.recv().unwrap();
        let others: Vec<_> = (0..3)
            .map(|_| {
                let other = scope.spawn(|| (committed_by(&store), thread::current().id()));
                thread::sleep(Duration::from_millis(20));
                other
            })
            .collect();
        let waiting = others.iter().all(|other| !other.is_finished());
        let leading_thread = leading.thread().id();
        go.send(()).unwrap();
        leading.join().unwrap();
        // Only now: who waits for `go` would keep a test that fails from ending.
        assert_eq!((leader, waiting), (leading_thread, true));
        let others: Vec<_> = others.into_iter().map(|other| other.join().unwrap()).collect();
        let (by, _) = others[0];
        assert!(others.iter().all(|(found, own)| *found == by && *found != *own), "{others:?}");
    });
    // Several came at a time: the thread does the next one, and hears that it was alone.
    settle_crowd(&store);
    assert_eq!(committed_by(&store), thread::current().id());
}

/// After several came at a time the thread does one more; it was alone, so that the next is in place again.
fn settle_crowd(store: &Embedded) {
    assert_ne!(committed_by(store), thread::current().id());
    settle(store);
}

#[test]
fn an_operation_that_panics_takes_nothing_along() {
    let directory = tempfile::tempdir().unwrap();
    let store = in_place(directory.path());
    settle(&store);
    let panics = |_: &mut Group<'_>| -> Result<()> { panic!("as if something were wrong") };
    let panicked = catch_unwind(AssertUnwindSafe(|| block_on(store.shared.committer.submit(panics))));
    assert!(panicked.is_err());
    block_on(deliver(&store, "alice", b"tea"));
    drop(store);
    let store = open(directory.path());
    assert_eq!(read(&store, &first(&store, "alice")), Ok(b"tea".to_vec()));
}

#[test]
fn what_was_left_to_the_thread_is_done_before_the_store_closes() {
    let directory = tempfile::tempdir().unwrap();
    for number in 1..20 {
        let store = in_place(directory.path());
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| block_on(deliver(&store, "alice", b"tea")));
            }
        });
        assert_eq!(inbox(&store, "alice").1.len(), number * 4);
    }
    assert_eq!(inbox(&open(directory.path()), "alice").1.len(), 19 * 4);
}
