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

#[test]
fn files_that_differ_in_their_flags_alone_are_two_messages() {
    let directory = tempfile::tempdir().unwrap();
    let name = "100.M1P1.host";
    let files = [(format!("cur/{name}:2,S"), "one\r\n"), (format!("cur/{name}:2,F"), "other\r\n")];
    let root = tree(directory.path(), "", &[(&files[0].0, files[0].1)]);
    let store = store(directory.path());
    assert_eq!(flags(&open(&store, &inbox()).1), ["1 (\\Seen)"]);
    fs::write(root.join(&files[1].0), files[1].1).unwrap();
    // One in `new` too, and one that is the same file twice.
    fs::write(root.join("new").join(name), "third\r\n").unwrap();
    fs::write(root.join("cur/200.M1P1.host:2,S"), "linked\r\n").unwrap();
    fs::hard_link(root.join("cur/200.M1P1.host:2,S"), root.join("cur/200.M1P1.host:2,T")).unwrap();
    for store in [&store, &super::store(directory.path())] {
        let (mailbox, snapshot) = open(store, &inbox());
        assert_eq!(snapshot.len(), 4);
        assert_eq!(flags(&snapshot)[0], "1 (\\Seen)");
        assert_eq!(text(store, &mailbox, &snapshot, 1), "one\r\n");
        let mut texts: Vec<_> = snapshot
            .messages()
            .map(|message| (text(store, &mailbox, &snapshot, message.uid.get()), message.flags.to_string()))
            .collect();
        texts.sort();
        assert_eq!(texts[2], ("other\r\n".to_owned(), "(\\Flagged)".to_owned()));
        assert_eq!(texts[3], ("third\r\n".to_owned(), "()".to_owned()));
    }
    assert_eq!(fs::read_dir(root.join("cur")).unwrap().count(), 5);
}

#[test]
fn sizes_that_cannot_be_are_not_believed() {
    let directory = tempfile::tempdir().unwrap();
    let files: Vec<_> =
        (1..=3).map(|number| format!("cur/{number}00.M1P1.host,W={}:2,S", u64::MAX)).collect();
    let more = format!("cur/400.M1P1.host,S={0},W={0}:2,S", u64::MAX);
    let files: Vec<_> = files.iter().chain([&more]).map(|name| (&**name, "a\n")).collect();
    tree(directory.path(), "", &files);
    let mut options = options(directory.path());
    options.quota.storage = Some(1_000);
    let store = Maildir::new(template(directory.path()), options);
    for _ in 0..2 {
        let (mailbox, snapshot) = open(&store, &inbox());
        assert_eq!(snapshot.messages().map(|message| message.size).collect::<Vec<_>>(), [3; 4]);
        assert_eq!(text(&store, &mailbox, &snapshot, 4), "a\r\n");
    }
}

#[test]
fn sizes_that_are_wrong_are_corrected_when_the_message_is_read() {
    let lines = "a line\n".repeat(60_000);
    let stored = lines.len();
    let shown = stored + 60_000;
    // As if its lines ended with CRLF; too many octets; too few.
    for told in [stored, shown + 1_000, shown - 1_000] {
        let directory = tempfile::tempdir().unwrap();
        let name = format!("cur/100.M1P1.host,W={told}:2,S");
        tree(directory.path(), "", &[(&name, &lines)]);
        let store = store(directory.path());
        let (mailbox, snapshot) = open(&store, &inbox());
        let message = mailbox.message(snapshot.messages().next().unwrap());
        assert_eq!(message.size, told as u64);
        let mut done = 0;
        let error = loop {
            match block_on(store.read(&message, done..message.size)) {
                Ok(octets) => done += octets.len() as u64,
                Err(error) => break error,
            }
            assert!(done < message.size, "{told}: all was given");
        };
        assert!(matches!(error, StoreError::Corrupt(_)), "{told}: {error}");
        // Whoever still has the old size is told again.
        assert!(block_on(store.read(&message, 0..10)).is_err());
        for store in [&store, &super::store(directory.path())] {
            let (mailbox, after) = open(store, &inbox());
            assert!(after.highest_modseq() > snapshot.highest_modseq());
            assert!(text(store, &mailbox, &after, 1) == lines.replace('\n', "\r\n"), "{told}");
        }
    }
}

#[test]
fn what_is_left_of_an_attempt_to_erase_goes_with_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    deliver(&store, "private\r\n", "");
    let (_, before) = open(&store, &inbox());
    // As it is when its files cannot be removed.
    let (root, left) = (directory.path().join("alice@example.org"), "alice@example.org.mailwright-erased");
    fs::rename(&root, directory.path().join(left)).unwrap();
    let store = super::store(directory.path());
    assert_eq!(template(directory.path()).users().unwrap(), []);
    block_on(store.erase(&alice())).unwrap();
    assert!(!directory.path().join(left).exists());
    // A new mailbox is another one.
    assert!(open(&store, &inbox()).1.uid_validity() > before.uid_validity());
}

/// What comes in while its mailbox is deleted, and is told to be there, can be had back as what was there before.
#[test]
fn nothing_goes_with_a_mailbox_without_a_trace() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { undelete: Duration::from_secs(3_600), ..options(directory.path()) };
    let store = Maildir::new(template(directory.path()), options);
    deliver(&store, "first\r\n", "()");
    let into = |name: MailboxName, text: &'static str| {
        let store = &store;
        block_on(async move {
            let mut upload = store.begin(None).await?;
            upload.write(Bytes::from_static(text.as_bytes())).await?;
            let target = Target::new(alice(), name, DateTime::new(1_000_000_000, 0).unwrap());
            upload.commit(&[target]).await
        })
    };
    let mut taken = 0;
    for _ in 0..40 {
        block_on(store.create(&alice(), &archive(), None)).unwrap();
        taken += std::thread::scope(|scope| {
            let coming = scope.spawn(|| {
                let mut taken = 0;
                // A mailbox that is gone takes nothing, and nothing else ends this.
                while into(archive(), "later\r\n").is_ok() {
                    taken += 1;
                }
                taken
            });
            std::thread::sleep(Duration::from_millis(3));
            block_on(store.delete(&alice(), &archive())).unwrap();
            coming.join().unwrap()
        });
        let kept = block_on(store.undelete().unwrap().expunged_messages(&alice())).unwrap();
        assert_eq!(kept.len(), taken);
    }
    assert!(taken > 0);
}
