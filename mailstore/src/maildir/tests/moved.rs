//! Messages that others rename, remove and move while we do something with them.

use std::sync::Arc;

use super::*;
use crate::maildir::{
    change::with_file,
    copy::{self, Placed},
    folder::Folder,
};

fn first() -> Uid {
    Uid::new(1).unwrap()
}

fn archive() -> MailboxName {
    MailboxName::new("Archive").unwrap()
}

fn folder(store: &Maildir, name: &MailboxName) -> Arc<Folder> {
    store.shared.existing(&alice(), name).unwrap()
}

/// The file of the only message of a mailbox.
fn file_of(folder: &Folder) -> PathBuf {
    let files = ["new", "cur"].into_iter().flat_map(|part| fs::read_dir(folder.path.join(part)).unwrap());
    let files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    files[0].clone()
}

/// Does something with the file of the first message, which a program that knows no locks renames before the first `renames` tries.
fn act(store: &Maildir, renames: usize) -> crate::Result<Option<()>> {
    let (folder, mut tries) = (folder(store, &inbox()), 0);
    let locked = folder.lock(&store.shared.setting).unwrap();
    locked.with(|state| {
        with_file(state, &folder.path, first(), |file, base| {
            if tries < renames {
                let now = file_of(&folder);
                let flags = if now.ends_with(format!("{base}:2,S")) { "FS" } else { "S" };
                fs::rename(now, folder.path.join(format!("cur/{base}:2,{flags}"))).unwrap();
                tries += 1;
            }
            fs::metadata(file).map(drop)
        })
    })
}

#[test]
fn a_file_that_is_renamed_is_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    deliver(&store, "one\r\n", "()");
    open(&store, &inbox());
    for renames in 0..9 {
        assert_eq!(act(&store, renames), Ok(Some(())), "{renames} times");
    }
    // Somebody who never leaves off is not waited for, and the message is there all the while.
    assert!(matches!(act(&store, usize::MAX), Err(StoreError::Unavailable(_))));
    let (mailbox, snapshot) = open(&store, &inbox());
    assert_eq!(text(&store, &mailbox, &snapshot, 1), "one\r\n");
    // What is gone is gone, and no fault of anybody's.
    let file = file_of(&folder(&store, &inbox()));
    let folder = folder(&store, &inbox());
    let locked = folder.lock(&store.shared.setting).unwrap();
    let found = locked.with(|state| {
        with_file(state, &folder.path, first(), |path, _| {
            let _gone = fs::remove_file(&file);
            fs::metadata(path).map(drop)
        })
    });
    assert_eq!(found, Ok(None));
}

#[test]
fn what_others_do_with_a_message_that_is_being_copied_does_not_matter() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (store(directory.path()), store(directory.path()));
    block_on(one.create(&alice(), &archive(), None)).unwrap();
    deliver(&one, "one\r\n", "()");
    let (mailbox, snapshot) = open(&one, &inbox());
    let (source, target) = (folder(&one, &inbox()), folder(&one, &archive()));
    let (setting, validity) = (&one.shared.setting, snapshot.uid_validity());
    let mut staged = Placed::default();
    let drafts = target.path.join("tmp");
    let originals =
        source.lock(setting).unwrap().stage(validity, &snapshot.uids(), &drafts, &mut staged).unwrap();
    // Another process marks it and expunges it before it is in its place.
    let change = FlagChange::new(FlagOperation::Add, "(\\Seen)".parse().unwrap());
    block_on(other.store_flags(&mailbox, &snapshot.uids(), &change)).unwrap();
    block_on(other.expunge(&mailbox, &Expunge::Exactly(snapshot.uids()))).unwrap();
    let (_, pairs) = target.lock(setting).unwrap().link(&originals).unwrap();
    staged.0.clear();
    assert_eq!(pairs.len(), 1);
    let (mailbox, copied) = open(&one, &archive());
    assert_eq!(text(&one, &mailbox, &copied, 1), "one\r\n");
    assert_eq!(fs::read_dir(&drafts).unwrap().count(), 0);
    // What was gone before is not copied, which is no error; nor is anything left of what does not come about.
    let mailbox = MailboxRef::new(alice(), inbox(), &snapshot);
    let none = block_on(one.copy(&mailbox, &snapshot.uids(), &archive())).unwrap();
    assert!(none.source.is_empty() && none.target.is_empty());
    drop(Placed(vec![drafts.join("x")]));
}

#[test]
fn of_two_who_move_a_message_at_once_one_does() {
    let directory = tempfile::tempdir().unwrap();
    let stores = [store(directory.path()), store(directory.path())];
    block_on(stores[0].create(&alice(), &archive(), None)).unwrap();
    for number in 1..=3 {
        deliver(&stores[0], &format!("{number}\r\n"), "()");
    }
    let (_, snapshot) = open(&stores[0], &inbox());
    let validity = snapshot.uid_validity();
    // The second wants less than the first, and both have their copies before any message goes.
    let begun: Vec<_> = stores
        .iter()
        .zip(["1:3", "2"])
        .map(|(store, uids)| {
            let (source, target) = (folder(store, &inbox()), folder(store, &archive()));
            let uids: UidSet = uids.parse().unwrap();
            let copied = copy::copy(&source, &target, &store.shared.setting, validity, &uids).unwrap();
            (source, target, &store.shared.setting, copied)
        })
        .collect();
    let moved: Vec<_> = begun
        .into_iter()
        .rev()
        .map(|(source, target, setting, copied)| {
            copy::leave(&source, &target, setting, validity, copied).unwrap()
        })
        .collect();
    let told: Vec<_> =
        moved.iter().map(|copied| (copied.source.to_string(), copied.target.to_string())).collect();
    assert_eq!(told, [("2".into(), "4".into()), ("1,3".into(), "1,3".into())]);
    let (_, left) = open(&stores[0], &inbox());
    assert!(left.is_empty());
    let (mailbox, archived) = open(&stores[1], &archive());
    let texts: Vec<_> =
        archived.uids().iter().map(|uid| text(&stores[1], &mailbox, &archived, uid.get())).collect();
    assert_eq!(texts, ["1\r\n", "3\r\n", "2\r\n"]);
}
