//! What is special about this store, beside what every store does.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use mailwright_mail_model::{DateTime, MailboxName, ScriptName, SpecialUse, Uid, UidSet};

use super::{Maildir, Options, Template};
use crate::{
    Appended, Changes, Expunge, FlagChange, FlagOperation, Folders, MailboxRef, Quota, QuotaLimits,
    ScriptLimits, Scripts, Snapshot, Store, StoreError, Target, Undelete, User, Watch, Write, block_on,
    conformance,
};

mod facets;
mod moved;

fn template(path: &Path) -> Template {
    Template::new(&format!("{}/%u", path.display())).unwrap()
}

fn options(path: &Path) -> Options {
    let (look, spool) = (Duration::from_millis(50), path.join("spool"));
    Options { look, spool, patience: Duration::from_secs(5), ..Options::default() }
}

fn store(path: &Path) -> Maildir {
    Maildir::new(template(path), options(path))
}

fn alice() -> User {
    User::new("alice@example.org").unwrap()
}

fn inbox() -> MailboxName {
    MailboxName::inbox()
}

fn open(store: &Maildir, name: &MailboxName) -> (MailboxRef, std::sync::Arc<Snapshot>) {
    let snapshot = block_on(store.open(&alice(), name)).unwrap();
    (MailboxRef::new(alice(), name.clone(), &snapshot), snapshot)
}

fn deliver(store: &Maildir, text: &str, flags: &str) -> Appended {
    block_on(async {
        let mut upload = store.begin(None).await.unwrap();
        upload.write(Bytes::copy_from_slice(text.as_bytes())).await.unwrap();
        let target = Target::new(alice(), inbox(), DateTime::new(1_000_000_000, 120).unwrap());
        let target = target.with_flags(flags.parse().unwrap());
        upload.commit(&[target]).await.unwrap().pop().unwrap()
    })
}

fn text(store: &Maildir, mailbox: &MailboxRef, snapshot: &Snapshot, uid: u32) -> String {
    let message = mailbox.message(snapshot.message(Uid::new(uid).unwrap()).unwrap());
    let mut octets = Vec::new();
    while (octets.len() as u64) < message.size {
        let range = octets.len() as u64..message.size;
        octets.extend_from_slice(&block_on(store.read(&message, range)).unwrap());
    }
    String::from_utf8(octets).unwrap()
}

fn flags(snapshot: &Snapshot) -> Vec<String> {
    snapshot.messages().map(|message| format!("{} {}", message.uid, message.flags)).collect()
}

/// The names of the files in a directory, without what differs from run to run.
fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| name.find(",S=").map_or_else(|| name.clone(), |at| name[at..].to_owned()))
        .collect();
    names.sort();
    names
}

/// A Maildir with this list of UIDs and these files.
fn tree(directory: &Path, list: &str, files: &[(&str, &str)]) -> PathBuf {
    let root = directory.join("alice@example.org");
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(root.join(part)).unwrap();
    }
    if !list.is_empty() {
        fs::write(root.join("dovecot-uidlist"), list).unwrap();
    }
    for (name, text) in files {
        fs::write(root.join(name), text).unwrap();
        let time = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        File::options().write(true).open(root.join(name)).unwrap().set_modified(time).unwrap();
    }
    root
}

#[test]
fn it_conforms() {
    for inotify in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let mut options = options(directory.path());
        (options.undelete, options.inotify) = (Duration::from_secs(3_600), inotify);
        let store = Maildir::new(template(directory.path()), options);
        let report = block_on(conformance::check(&store)).unwrap();
        assert_eq!(report.skipped, ["several", "rows", "spool", "annotate", "search"]);
        assert_eq!(fs::read_dir(directory.path().join("spool")).unwrap().count(), 0);
    }
}

#[test]
fn another_process_sees_the_same() {
    let directory = tempfile::tempdir().unwrap();
    // Two stores share nothing but the files, as two processes do.
    let (one, other) = (store(directory.path()), store(directory.path()));
    for number in 0..20 {
        deliver([&one, &other][number % 2], &format!("{number}\r\n"), "");
        let (mailbox, snapshot) = open([&one, &other][number / 2 % 2], &inbox());
        let change =
            FlagChange::new(FlagOperation::Add, format!("(\\Seen k{})", number % 5).parse().unwrap());
        let uids = UidSet::from(Uid::new(number as u32 / 2 + 1).unwrap());
        block_on([&one, &other][number / 3 % 2].store_flags(&mailbox, &uids, &change)).unwrap();
        if number % 4 == 3 {
            let first = snapshot.messages().next().unwrap().uid;
            block_on(one.expunge(&mailbox, &Expunge::Exactly(first.into()))).unwrap();
        }
    }
    let ((mailbox, ours), (_, theirs)) = (open(&one, &inbox()), open(&other, &inbox()));
    assert_eq!(ours, theirs);
    assert_eq!(ours.len(), 15);
    let (again, third) = (store(directory.path()), store(directory.path()));
    assert_eq!(open(&again, &inbox()).1, ours);
    let since = mailwright_mail_model::ModSeq::new(ours.highest_modseq().get() - 1).unwrap();
    assert_eq!(
        block_on(third.expunged(&mailbox, since)).unwrap(),
        block_on(one.expunged(&mailbox, since)).unwrap()
    );
}

#[test]
fn a_tree_of_another_program_is_read_as_it_is_meant() {
    let directory = tempfile::tempdir().unwrap();
    let root = tree(
        directory.path(),
        "3 V1275660208 N30 G3085f01b7f11094c501100008c4a11c1\n7 :100.a.h,S=4,W=4\n9 W9 :90.b.h\n12 :gone\n",
        &[
            ("cur/100.a.h,S=4,W=4:2,FSab", "a\r\nb"),
            ("cur/90.b.h:2,", "a\nb\nc\r\n"),
            ("new/95.c.h", "bare\n"),
            ("new/9.d.h", "older"),
            ("cur/.hidden", "no message"),
        ],
    );
    fs::write(root.join("dovecot-keywords"), "0 $Forwarded\n1 Work\n").unwrap();
    fs::write(root.join("subscriptions"), "Old.Box\nINBOX\n").unwrap();
    fs::create_dir_all(root.join(".Old.Box/cur")).unwrap();
    fs::create_dir_all(root.join(".Old.Box/new")).unwrap();
    fs::create_dir_all(root.join(".Old.Box/tmp")).unwrap();
    fs::create_dir_all(root.join(".none")).unwrap();
    let store = store(directory.path());
    let (mailbox, snapshot) = open(&store, &inbox());
    assert_eq!(snapshot.uid_validity().get(), 1_275_660_208);
    assert_eq!(
        flags(&snapshot),
        ["7 (\\Seen \\Flagged $Forwarded Work)", "9 ()", "30 ()", "31 ()"].map(str::to_owned)
    );
    assert_eq!(text(&store, &mailbox, &snapshot, 9), "a\r\nb\r\nc\r\n");
    assert_eq!(text(&store, &mailbox, &snapshot, 30), "older");
    assert_eq!(text(&store, &mailbox, &snapshot, 31), "bare\r\n");
    assert_eq!(snapshot.message(Uid::new(9).unwrap()).unwrap().internal_date.seconds(), 1_000_000_000);
    assert!(fs::read_to_string(root.join("dovecot-uidlist")).unwrap().ends_with("30 :9.d.h\n31 :95.c.h\n"));
    let names = |mailboxes: Vec<crate::Mailbox>| {
        mailboxes.into_iter().map(|mailbox| mailbox.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(block_on(store.mailboxes(&alice())).unwrap()), ["INBOX", "Old/Box"]);
    let subscribed = block_on(store.subscriptions(&alice())).unwrap();
    assert_eq!(subscribed.iter().map(MailboxName::as_str).collect::<Vec<_>>(), ["INBOX", "Old/Box"]);
    let old_box = MailboxName::new("Old/Box").unwrap();
    block_on(store.unsubscribe(&alice(), &old_box)).unwrap();
    assert_eq!(fs::read_to_string(root.join("subscriptions")).unwrap(), "V\t2\n\nINBOX\n");
}

#[test]
fn what_others_do_is_seen() {
    let directory = tempfile::tempdir().unwrap();
    let root = tree(directory.path(), "", &[]);
    let store = store(directory.path());
    deliver(&store, "one\r\n", "");
    deliver(&store, "two\r\n", "(\\Seen)");
    let (_, before) = open(&store, &inbox());
    // One is renamed, one goes, one comes.
    let file = |part: &str| fs::read_dir(root.join(part)).unwrap().next().unwrap().unwrap();
    let (first, second) = (file("new"), file("cur"));
    let name = first.file_name().into_string().unwrap();
    fs::rename(first.path(), root.join("cur").join(format!("{name}:2,RX"))).unwrap();
    fs::remove_file(second.path()).unwrap();
    fs::write(root.join("new/1.x"), "three\n").unwrap();
    let after = block_on(async {
        // Nobody says anything; the store looks.
        store.watch().unwrap().changed(&alice(), &inbox(), &before).await.unwrap()
    });
    let after = if after.len() == 2 { after } else { open(&store, &inbox()).1 };
    assert_eq!(flags(&after), ["1 (\\Answered)", "3 ()"]);
    let difference = before.difference(&after).unwrap();
    assert_eq!(difference.removed.to_string(), "2");
    assert!(after.highest_modseq() > before.highest_modseq());
    // Letters that mean nothing to us stay.
    let (mailbox, _) = open(&store, &inbox());
    let change = FlagChange::new(FlagOperation::Replace, "(\\Draft)".parse().unwrap());
    block_on(store.store_flags(&mailbox, &"1:3".parse().unwrap(), &change)).unwrap();
    assert_eq!(names(&root.join("cur")), [",S=5,W=5:2,DX", "1.x:2,D"]);
    assert_eq!(names(&root.join("new")), [""; 0]);
    // What comes back is another message.
    fs::rename(root.join("cur/1.x:2,D"), root.join("tmp/1.x")).unwrap();
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(open(&store, &inbox()).1.len(), 1);
    fs::rename(root.join("tmp/1.x"), root.join("cur/1.x:2,S")).unwrap();
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(flags(&open(&store, &inbox()).1), ["1 (\\Draft)", "4 (\\Seen)"]);
}

#[test]
fn a_session_reads_on_while_others_rename() {
    let directory = tempfile::tempdir().unwrap();
    let root = tree(directory.path(), "", &[]);
    let store = store(directory.path());
    deliver(&store, "text\r\n", "");
    let (mailbox, snapshot) = open(&store, &inbox());
    let file = fs::read_dir(root.join("new")).unwrap().next().unwrap().unwrap();
    fs::rename(file.path(), root.join("cur").join(format!("{}:2,S", file.file_name().to_str().unwrap())))
        .unwrap();
    assert_eq!(text(&store, &mailbox, &snapshot, 1), "text\r\n");
    block_on(store.expunge(&mailbox, &Expunge::Exactly("1".parse().unwrap()))).unwrap();
    let message = mailbox.message(snapshot.messages().next().unwrap());
    assert_eq!(block_on(store.read(&message, 0..6)), Err(StoreError::NotFound));
}

#[test]
fn everything_is_private_and_in_its_place() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    deliver(&store, "a\r\n", "(\\Seen Work)");
    let sent = MailboxName::new("Stra\u{df}e/v1.0").unwrap();
    block_on(store.create(&alice(), &sent, Some(SpecialUse::Sent))).unwrap();
    block_on(store.subscribe(&alice(), &sent)).unwrap();
    let root = directory.path().join("alice@example.org");
    let mut left = vec![root.clone()];
    while let Some(path) = left.pop() {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        if path.is_dir() {
            assert_eq!(mode, 0o700, "{path:?}");
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            assert!(mode == 0o600 || mode == 0o444, "{path:?} {mode:o}");
        }
    }
    assert!(root.join(".Stra&AN8-e.v1&AC4-0/maildirfolder").exists());
    assert_eq!(names(&root.join("tmp")), [""; 0]);
    // A user whose name would lead elsewhere has no mail.
    let stray = User::new("../alice@example.org").unwrap();
    assert!(matches!(block_on(store.open(&stray, &inbox())), Err(StoreError::Invalid(_))));
}

#[test]
fn a_list_that_cannot_be_understood_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let root = tree(directory.path(), "3 V99 N2\n1 :1.a\n", &[("cur/1.a:2,S", "x")]);
    let (_, before) = open(&store(directory.path()), &inbox());
    fs::write(root.join("dovecot-uidlist"), "what is this\n").unwrap();
    let store = store(directory.path());
    let appended = deliver(&store, "new\r\n", "");
    let (_, after) = open(&store, &inbox());
    assert!(after.uid_validity() > before.uid_validity());
    assert_eq!((after.len(), after.uid_validity()), (2, appended.uid_validity));
    assert!(after.message(appended.uid).is_some_and(|message| message.size == 5));
}

#[test]
fn mail_that_cannot_be_placed_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    deliver(&store, "a\r\n", "");
    block_on(async {
        let mut upload = store.begin(None).await.unwrap();
        upload.write(Bytes::from_static(b"b\r\n")).await.unwrap();
        let date = DateTime::EPOCH;
        let bob = User::new("bob@example.org").unwrap();
        let targets = [
            Target::new(bob.clone(), inbox(), date),
            Target::new(alice(), inbox(), date).with_unique_id("x".repeat(71)),
        ];
        let error = upload.commit(&targets).await.unwrap_err();
        assert_eq!(error.target, Some(1));
        assert!(store.open(&bob, &inbox()).await.unwrap().is_empty());
        assert_eq!(upload.commit(&targets[..1]).await.unwrap().len(), 1);
    });
    for part in ["alice@example.org/tmp", "bob@example.org/tmp", "alice@example.org/cur"] {
        assert_eq!(names(&directory.path().join(part)), [""; 0], "{part}");
    }
}

#[test]
fn what_others_bring_and_take_is_counted_after_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    let root = directory.path().join("alice@example.org");
    let has = || {
        let usage = block_on(store.quota_of(&alice())).unwrap().usage;
        (usage.messages, usage.storage)
    };
    deliver(&store, "0123456789\r\n", "");
    assert_eq!(has(), (1, 12));
    deliver(&store, "0123456789\r\n", "");
    assert_eq!(fs::read_to_string(root.join("maildirsize")).unwrap(), "\n12 1\n12 1\n");
    // A program that does not count delivers; one that counts does, too.
    fs::write(root.join("new/1000000001.M1P1.elsewhere,S=5"), b"12345").unwrap();
    fs::write(root.join("new/1000000002.M1P1.elsewhere"), b"123").unwrap();
    assert_eq!(has(), (2, 24));
    fs::OpenOptions::new()
        .append(true)
        .open(root.join("maildirsize"))
        .and_then(|mut file| std::io::Write::write_all(&mut file, b"3 1\n"))
        .unwrap();
    assert_eq!(has(), (3, 27));
    // Other limits, and it is made anew; so is one that makes no sense.
    block_on(store.set_quota(&alice(), Some(QuotaLimits::NONE.messages(Some(4))))).unwrap();
    assert_eq!(has(), (4, 32));
    assert_eq!(fs::read_to_string(root.join("maildirsize")).unwrap(), "4C\n32 4\n");
    fs::write(root.join("maildirsize"), "4C\n99 99\nwhat?\n").unwrap();
    assert_eq!(has(), (4, 32));
    // Nothing is refused for what others have taken away meanwhile.
    assert_eq!(block_on(store.check_quota(&alice(), 1)), Err(StoreError::OverQuota));
    let mut upload = block_on(store.begin(None)).unwrap();
    block_on(upload.write(Bytes::from_static(b"x"))).unwrap();
    let target = Target::new(alice(), inbox(), DateTime::new(0, 0).unwrap());
    let refused = block_on(upload.commit(std::slice::from_ref(&target))).unwrap_err();
    assert_eq!((refused.target, refused.error), (Some(0), StoreError::OverQuota));
    fs::remove_file(root.join("new/1000000002.M1P1.elsewhere")).unwrap();
    block_on(upload.commit(&[target])).unwrap();
    assert_eq!(has(), (4, 30));
    let warnings = block_on(store.quota_warnings()).unwrap();
    assert!(warnings.iter().all(|warning| warning.user == alice() && warning.percent == 95), "{warnings:?}");
    block_on(store.settle_warnings(&warnings)).unwrap();
    let all = block_on(store.quotas()).unwrap();
    assert_eq!(all.iter().map(|status| status.user.clone()).collect::<Vec<_>>(), [alice()]);
}

#[test]
fn scripts_are_where_pigeonhole_has_them() {
    let directory = tempfile::tempdir().unwrap();
    let template = Template::new(&format!("{}/%d/%n/Maildir", directory.path().display())).unwrap();
    let store = Maildir::new(template, Options::default());
    let home = directory.path().join("example.org/alice");
    let (name, limits) = (|name: &str| ScriptName::new(name).unwrap(), ScriptLimits::default());
    let put = |script: &str| {
        block_on(store.put_script(&alice(), &name(script), Bytes::from_static(b"keep;"), limits)).unwrap();
    };
    put("one");
    block_on(store.activate_script(&alice(), Some(&name("one")))).unwrap();
    assert_eq!(fs::read_link(home.join(".dovecot.sieve")).unwrap(), Path::new("sieve/one.sieve"));
    assert_eq!(fs::read(home.join("sieve/one.sieve")).unwrap(), b"keep;");
    // As `sievec` and an editor leave it.
    fs::write(home.join("sieve/one.svbin"), b"\0").unwrap();
    fs::write(home.join("sieve/two.sieve"), b"stop;").unwrap();
    let all = || -> Vec<_> {
        let all = block_on(store.all_scripts(&alice())).unwrap();
        all.into_iter().map(|script| (script.name.to_string(), script.active)).collect()
    };
    assert_eq!(all(), [("one".to_owned(), true), ("two".to_owned(), false)]);
    // Written by hand: it filters, and is kept when another takes its place.
    fs::remove_file(home.join(".dovecot.sieve")).unwrap();
    fs::write(home.join(".dovecot.sieve"), b"discard;").unwrap();
    let active = || block_on(store.active_script(&alice())).unwrap();
    assert_eq!(active(), Some((name("dovecot.orig"), Bytes::from_static(b"discard;"))));
    block_on(store.activate_script(&alice(), Some(&name("two")))).unwrap();
    assert_eq!(active(), Some((name("two"), Bytes::from_static(b"stop;"))));
    assert_eq!(block_on(store.script(&alice(), &name("dovecot.orig"))).unwrap(), "discard;");
    // Nobody else's file is shown by a link to it.
    let secret = directory.path().join("secret");
    fs::write(&secret, b"secret").unwrap();
    std::os::unix::fs::symlink(&secret, home.join("sieve/link.sieve")).unwrap();
    assert!(block_on(store.script(&alice(), &name("link"))).is_err());
    fs::remove_file(home.join(".dovecot.sieve")).unwrap();
    std::os::unix::fs::symlink(&secret, home.join(".dovecot.sieve")).unwrap();
    assert_eq!(active(), None);
    block_on(store.erase(&alice())).unwrap();
    assert!(!home.join("sieve").exists());
}

#[test]
fn files_of_the_same_name_are_not_taken_for_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let (name, work) = ("cur/5000.M1P1.host:2,S", MailboxName::new("work").unwrap());
    let texts = ["a\n".repeat(200_000), format!("{}\n", "b".repeat(70)).repeat(6_000)];
    let root = tree(directory.path(), "", &[(name, &texts[0])]);
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(root.join(".work").join(part)).unwrap();
    }
    fs::write(root.join(".work").join(name), &texts[1]).unwrap();
    let store = store(directory.path());
    for (name, stored) in [inbox(), work].iter().zip(&texts) {
        let (mailbox, snapshot) = open(&store, name);
        let message = mailbox.message(snapshot.messages().next().unwrap());
        let shown = stored.replace('\n', "\r\n");
        let part = block_on(store.read(&message, 200_000..200_300)).unwrap();
        assert!(part == shown[200_000..200_300], "{name}");
        assert!(text(&store, &mailbox, &snapshot, 1) == shown, "{name}");
    }
    // Nor is another file that has come in its place.
    fs::write(root.join(name), &texts[1]).unwrap();
    File::open(root.join(name)).unwrap().set_modified(UNIX_EPOCH).unwrap();
    let (mailbox, snapshot) = open(&store, &inbox());
    let message = mailbox.message(snapshot.messages().next().unwrap());
    let part = block_on(store.read(&message, 200_000..200_300)).unwrap();
    assert!(part == texts[1].replace('\n', "\r\n")[200_000..200_300]);
}
