//! What is noted about messages stays with them, counts, and goes with them.

use mailwright_mail_model::AnnotationScope;

use super::*;
use crate::{Annotate, AnnotationChange, QuotaLimits};

fn note(store: &Embedded, mailbox: &MailboxRef, uids: &str, who: &str, value: &str) {
    let shared = (
        "/comment".parse().unwrap(),
        if who.is_empty() { AnnotationScope::Shared } else { AnnotationScope::Private },
        Some(Bytes::copy_from_slice(value.as_bytes())),
    );
    let writer = if who.is_empty() { mailbox.user().clone() } else { user(who) };
    let change = AnnotationChange::new(vec![shared]);
    block_on(store.annotate_messages(mailbox, &uids.parse().unwrap(), &writer, &change)).unwrap();
}

fn seen(store: &Embedded, mailbox: &MailboxRef, who: &str) -> String {
    let uids = "1:*".replace('*', "4294967295").parse().unwrap();
    let all = block_on(store.message_annotations(mailbox, &uids, &user(who))).unwrap();
    let values = all.iter().flat_map(|(uid, all)| all.iter().map(move |one| (uid, one)));
    let told = values.filter_map(|(uid, one)| {
        let value = String::from_utf8_lossy(one.value.as_ref()?).into_owned();
        Some(format!("{uid}{}={value}", one.scope.suffix()))
    });
    told.collect::<Vec<_>>().join(" ")
}

fn used(store: &Embedded, who: &str) -> u64 {
    block_on(store.quota_of(&user(who))).unwrap().usage.annotations
}

fn notes(store: &Embedded) -> usize {
    store.shared.core().unwrap().database.details.prefix([detail::NOTES]).count()
}

fn findings(store: &Embedded, repair: bool) -> Vec<String> {
    let report = block_on(store.check(repair, &mut |_| {})).unwrap();
    report.findings.into_iter().map(|finding| finding.what).collect()
}

fn noted(directory: &Path) -> (Embedded, MailboxRef) {
    let options = Options { undelete: Duration::from_secs(1_000), ..Options::default() };
    let store = Embedded::open(directory, options).unwrap();
    for _ in 0..3 {
        block_on(deliver(&store, "alice", b"Subject: x\r\n\r\n"));
    }
    let (mailbox, _) = inbox(&store, "alice");
    note(&store, &mailbox, "1:3", "", "tea");
    note(&store, &mailbox, "2", "alice", "mine");
    note(&store, &mailbox, "2", "bob", "yours");
    (store, mailbox)
}

#[test]
fn a_backup_has_them_too() {
    let (directory, backup, target) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, mailbox) = noted(directory.path());
    store.back_up(backup.path(), &mut |_| {}).unwrap();
    restore(backup.path(), None, target.path(), &mut |_| {}).unwrap();
    let restored = open(target.path());
    let (there, _) = inbox(&restored, "alice");
    let before = seen(&store, &mailbox, "alice");
    assert!(before.contains("1.shared=tea"), "{before}");
    assert_eq!(seen(&restored, &there, "alice"), before);
    assert_eq!(used(&restored, "alice"), used(&store, "alice"));
    assert_eq!(findings(&restored, false), Vec::<String>::new());
}

#[test]
fn notes_are_there_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let mailbox = noted(directory.path()).1;
    let store = open(directory.path());
    assert_eq!(seen(&store, &mailbox, "alice"), "1.shared=tea 2.priv=mine 2.shared=tea 3.shared=tea");
    assert_eq!(seen(&store, &mailbox, "bob"), "1.shared=tea 2.priv=yours 2.shared=tea 3.shared=tea");
    assert_eq!(used(&store, "alice"), 3 * 11 + 12 + 13);
    assert_eq!(findings(&store, false), [""; 0]);
}

#[test]
fn notes_follow_a_renamed_inbox_and_end_with_a_mailbox() {
    let directory = tempfile::tempdir().unwrap();
    let (store, old) = noted(directory.path());
    block_on(store.rename(&user("alice"), &MailboxName::inbox(), &name("Old"))).unwrap();
    let snapshot = block_on(store.open(&user("alice"), &name("Old"))).unwrap();
    let mailbox = MailboxRef::new(user("alice"), name("Old"), &snapshot);
    assert_eq!(seen(&store, &mailbox, "bob"), "1.shared=tea 2.priv=yours 2.shared=tea 3.shared=tea");
    assert_eq!(seen(&store, &old, "bob"), "");
    assert_eq!((used(&store, "alice"), findings(&store, false)), (58, Vec::new()));
    // With an undelete window they wait for their messages to be had back.
    block_on(store.delete(&user("alice"), &name("Old"))).unwrap();
    assert_eq!((used(&store, "alice"), notes(&store)), (0, 5));
    assert_eq!(findings(&store, false), [""; 0]);
    let kept = block_on(store.expunged_messages(&user("alice"))).unwrap();
    let back = kept.iter().find(|message| message.uid.get() == 2).unwrap();
    block_on(store.bring_back(&user("alice"), back.id, &MailboxName::inbox())).unwrap();
    let (mailbox, _) = inbox(&store, "alice");
    assert_eq!(seen(&store, &mailbox, "bob"), "4.priv=yours 4.shared=tea");
    assert_eq!((used(&store, "alice"), findings(&store, false)), (36, Vec::new()));
    block_on(store.erase(&user("alice"))).unwrap();
    drop(store);
    let store = open(directory.path());
    let mut tries = 0;
    while notes(&store) > 0 {
        tries += 1;
        assert!(tries < 600, "{} are left", notes(&store));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_check_finds_notes_of_nothing_and_wrong_sums() {
    let directory = tempfile::tempdir().unwrap();
    let (store, mailbox) = noted(directory.path());
    let rows = {
        let core = store.shared.core().unwrap();
        let header = core.header_of(&mailbox).unwrap();
        let key = annotations::Place::of(header.rows, Uid::new(9).unwrap()).key("");
        let of_first = annotations::Place::of(header.rows, Uid::MIN).key("");
        let value = core.detail(&of_first).unwrap().unwrap();
        let mut batch = core.database.handle.batch();
        batch.insert(&core.database.details, key.clone(), row::seal(&key, value.to_vec()));
        core.database.commit(batch, 0).unwrap();
        header.rows
    };
    let found = findings(&store, true);
    assert!(found.iter().any(|what| what.starts_with("annotations of UID 9 in alice")), "{found:?}");
    assert!(rows > 0);
    // The sums are those of what is there; the row of nothing is gone by then.
    findings(&store, true);
    assert_eq!(findings(&store, false), [""; 0]);
    assert_eq!(used(&store, "alice"), 58);
}

#[test]
fn a_quota_holds_for_what_comes_with_a_message() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let limits = QuotaLimits::NONE.annotations(Some(20));
    block_on(store.set_quota(&user("alice"), Some(limits))).unwrap();
    let come = |value: &'static [u8]| {
        let noted = ("/comment".parse().unwrap(), AnnotationScope::Shared, Some(Bytes::from_static(value)));
        let target = target("alice").with_annotations(user("alice"), vec![noted]);
        block_on(async { upload(&store, b"x").await.commit(&[target]).await.map_err(|failed| failed.error) })
    };
    assert_eq!(come(b"0123456789012"), Err(StoreError::OverQuota));
    assert!(come(b"0123").is_ok());
    assert_eq!(come(b"0123"), Err(StoreError::OverQuota));
    assert_eq!(used(&store, "alice"), 12);
}

#[cfg(feature = "encryption")]
#[test]
fn notes_about_encrypted_mail_are_encrypted() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    block_on(store.encrypt(&user("alice"), b"swordfish")).unwrap();
    block_on(deliver(&store, "alice", b"Subject: x\r\n\r\n"));
    let alice = block_on(store.unlock(&user("alice"), b"swordfish")).unwrap();
    let snapshot = block_on(store.open(&alice, &MailboxName::inbox())).unwrap();
    let opened = MailboxRef::new(alice, MailboxName::inbox(), &snapshot);
    note(&store, &opened, "1", "", "The eagle lands at midnight.");
    assert_eq!(seen(&store, &opened, "alice"), "1.shared=The eagle lands at midnight.");
    let (locked, _) = inbox(&store, "alice");
    let uids = "1".parse().unwrap();
    let refused = block_on(store.message_annotations(&locked, &uids, &user("alice")));
    assert!(matches!(refused, Err(StoreError::Locked(_))), "{refused:?}");
    // What nobody can read goes along with copies all the same.
    block_on(store.copy(&locked, &uids, &MailboxName::inbox())).unwrap();
    assert_eq!(
        seen(&store, &opened, "alice"),
        "1.shared=The eagle lands at midnight. 2.shared=The eagle lands at midnight."
    );
    assert_eq!(findings(&store, false), [""; 0]);
    drop(store);
    let core = open(directory.path()).shared.core().unwrap();
    for entry in core.database.details.iter() {
        let (_, value) = entry.into_inner().unwrap();
        assert!(!String::from_utf8_lossy(&value).contains("eagle"));
    }
}
