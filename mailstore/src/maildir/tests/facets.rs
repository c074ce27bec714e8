//! What is found out, noted, shared and had back, in its files.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use super::*;
use crate::{
    Acl, AclChange, Annotated, Cache, Column, Feed, FeedEvent, Identity, MessageRef, Metadata, Quota,
    Summary, Undelete,
};

fn summary(text: &str) -> Summary {
    Summary::new(Bytes::copy_from_slice(text.as_bytes()), Bytes::from_static(b"tree"))
}

fn deliver_with(store: &Maildir, summary: &Summary) -> Appended {
    block_on(async {
        let mut upload = store.begin(None).await.unwrap();
        upload.write(Bytes::from_static(b"text\r\n")).await.unwrap();
        upload.summarize(summary.clone());
        let target = Target::new(alice(), inbox(), DateTime::EPOCH);
        upload.commit(&[target]).await.unwrap().pop().unwrap()
    })
}

fn all(mailbox: &MailboxRef, snapshot: &Snapshot) -> Vec<MessageRef> {
    snapshot.messages().map(|message| mailbox.message(message)).collect()
}

#[test]
fn what_came_with_a_delivery_is_there_for_everybody_and_for_copies() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (store(directory.path()), store(directory.path()));
    for text in ["a", "b"] {
        deliver_with(&one, &summary(text));
    }
    let (mailbox, snapshot) = open(&other, &inbox());
    let load = |store: &Maildir, messages: &[MessageRef]| block_on(store.load(messages)).unwrap();
    let messages = all(&mailbox, &snapshot);
    assert_eq!(load(&other, &messages), [Some(summary("a")), Some(summary("b"))]);
    deliver_with(&one, &summary("c"));
    let copies = MailboxName::new("Copies").unwrap();
    block_on(one.create(&alice(), &copies, None)).unwrap();
    block_on(one.copy(&mailbox, &"2:3".parse().unwrap(), &copies)).unwrap();
    let (mailbox, snapshot) = open(&other, &copies);
    let found = block_on(other.column(&all(&mailbox, &snapshot), Column::Envelope)).unwrap();
    assert_eq!(found, [Some(Bytes::from_static(b"b")), Some(Bytes::from_static(b"c"))]);
    // Without the file nothing is known, and what is told then is kept.
    let file = directory.path().join("alice@example.org/mailwright-cache");
    fs::remove_file(&file).unwrap();
    assert_eq!(load(&other, &messages), [None, None]);
    block_on(other.save(&messages[1], &summary("again"))).unwrap();
    assert_eq!(load(&one, &messages), [None, Some(summary("again"))]);
    // Of what is gone nothing is kept.
    block_on(one.expunge(&messages[0].mailbox, &Expunge::Exactly(messages[0].uid.into()))).unwrap();
    open(&one, &inbox());
    block_on(one.save(&messages[0], &summary("gone"))).unwrap();
    assert_eq!(load(&one, &messages[..1]), [None]);
}

#[test]
fn the_system_tells_at_once_what_others_do() {
    let directory = tempfile::tempdir().unwrap();
    let root = tree(directory.path(), "", &[]);
    // Looking would take hours.
    let look = Duration::from_secs(7_200);
    let store = Maildir::new(template(directory.path()), Options { look, ..options(directory.path()) });
    let folder = |name: &str| MailboxName::new(name).unwrap();
    block_on(store.create(&alice(), &folder("Work"), None)).unwrap();
    for (part, name) in [("", inbox()), (".Work/", folder("Work"))] {
        let (_, before) = open(&store, &name);
        let alice = alice();
        let mut changed = pin!(store.changed(&alice, &name, &before));
        assert!(block_on(poll_fn(|context| Poll::Ready(changed.as_mut().poll(context).is_pending()))));
        // Directories tell times apart by some milliseconds.
        std::thread::sleep(Duration::from_millis(50));
        fs::write(root.join(part).join("tmp/1.x"), "text\n").unwrap();
        fs::rename(root.join(part).join("tmp/1.x"), root.join(part).join("new/1.x")).unwrap();
        assert_eq!(block_on(changed).unwrap().len(), 1);
    }
    // Anywhere.
    let mut position = block_on(store.position(&alice())).unwrap();
    let mut next = || {
        let news = block_on(store.after(&alice(), position)).unwrap();
        position = news.position;
        news.events
    };
    std::thread::sleep(Duration::from_millis(50));
    fs::write(root.join(".Work/new/2.x"), "text\n").unwrap();
    assert_eq!(next(), [FeedEvent::Messages(folder("Work"))]);
    fs::create_dir_all(root.join("tmp/box/cur")).unwrap();
    fs::create_dir(root.join("tmp/box/new")).unwrap();
    fs::rename(root.join("tmp/box"), root.join(".Box")).unwrap();
    assert_eq!(next(), [FeedEvent::Mailboxes]);
    fs::write(root.join("tmp/subscriptions"), "Box\n").unwrap();
    fs::rename(root.join("tmp/subscriptions"), root.join("subscriptions")).unwrap();
    assert_eq!(next(), [FeedEvent::Subscriptions]);
    fs::write(root.join("tmp/acl"), "user=bob lr\n").unwrap();
    fs::rename(root.join("tmp/acl"), root.join(".Work/dovecot-acl")).unwrap();
    assert_eq!(next(), [FeedEvent::Mailboxes]);
    std::thread::sleep(Duration::from_millis(50));
    fs::write(root.join(".Box/new/1.x"), "text\n").unwrap();
    assert_eq!(next(), [FeedEvent::Messages(folder("Box"))]);
}

#[test]
fn lists_of_dovecot_count_and_stay_readable_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let root = tree(directory.path(), "", &[]);
    let store = store(directory.path());
    let bob = Identity::new(User::new("bob@example.org").unwrap());
    fs::write(root.join("dovecot-acl"), "owner lrwstipekxa\nuser=bob@example.org lr\n-group=guests r\n")
        .unwrap();
    fs::write(root.join("dovecot-acl-list"), "").unwrap();
    let rights = |who: &Identity, name: &MailboxName| {
        block_on(store.rights_of(who, &alice(), name)).unwrap().to_string()
    };
    assert_eq!(rights(&bob, &inbox()), "lr");
    assert_eq!(rights(&bob.clone().group("guests").unwrap(), &inbox()), "l");
    let shared = block_on(store.shared_with(&bob)).unwrap();
    assert_eq!(shared.len(), 1);
    let anyone = "anyone".parse().unwrap();
    block_on(store.change_access(&alice(), &inbox(), &anyone, AclChange::Add("lp".parse().unwrap())))
        .unwrap();
    assert_eq!(
        fs::read_to_string(root.join("dovecot-acl")).unwrap(),
        "anyone lp\n-group=guests r\nuser=bob@example.org lr\nowner lrwstipekxa\n"
    );
    assert!(!root.join("dovecot-acl-list").exists(), "Dovecot makes it anew when it is missing");
    // What is below has it too, with what we do not understand.
    let below = MailboxName::new("Work/Plans").unwrap();
    block_on(store.create(&alice(), &MailboxName::new("Work").unwrap(), None)).unwrap();
    fs::write(root.join(".Work/dovecot-acl"), "user=bob@example.org l\ngroup-override=x r\n").unwrap();
    block_on(store.create(&alice(), &below, None)).unwrap();
    assert_eq!(rights(&bob, &below), "l");
    assert!(
        fs::read_to_string(root.join(".Work.Plans/dovecot-acl")).unwrap().contains("group-override=x r\n")
    );
}

#[test]
fn rights_that_dovecot_takes_are_taken() {
    let directory = tempfile::tempdir().unwrap();
    let root = tree(directory.path(), "", &[]);
    let store = store(directory.path());
    let bob = Identity::new(User::new("bob@example.org").unwrap());
    let rights = |who: &Identity| block_on(store.rights_of(who, &alice(), &inbox())).unwrap().to_string();
    let ann = Identity::new(User::new("ann@example.org").unwrap());
    fs::write(root.join("dovecot-acl"), "anyone lr\nuser=bob@example.org \n").unwrap();
    assert_eq!((rights(&bob), rights(&ann)), (String::new(), "lr".into()));
    assert_eq!(block_on(store.shared_with(&bob)).unwrap(), []);
    assert_eq!(block_on(store.shared_with(&ann)).unwrap().len(), 1);
    let shown = block_on(store.access_list(&alice(), &inbox())).unwrap();
    let shown: Vec<_> = shown.iter().map(|entry| format!("{} {}", entry.identifier, entry.rights)).collect();
    assert_eq!(shown, ["anyone lr", "-bob@example.org lr"]);
    // What is changed beside it takes nothing of that back.
    let other = "carol@example.org".parse().unwrap();
    block_on(store.change_access(&alice(), &inbox(), &other, AclChange::Replace("l".parse().unwrap())))
        .unwrap();
    assert_eq!(
        fs::read_to_string(root.join("dovecot-acl")).unwrap(),
        "anyone lr\nuser=bob@example.org \nuser=carol@example.org l\n"
    );
    assert_eq!((rights(&bob), rights(&ann)), (String::new(), "lr".into()));
    // Who is gone for good is in no list, and whoever has the name next is somebody else.
    block_on(store.withdraw(bob.user())).unwrap();
    assert_eq!(
        fs::read_to_string(root.join("dovecot-acl")).unwrap(),
        "anyone lr\nuser=carol@example.org l\n"
    );
    // What began here adds up.
    fs::remove_file(root.join("dovecot-acl")).unwrap();
    for (who, what) in [("anyone", "lr"), ("bob@example.org", "s")] {
        let change = AclChange::Replace(what.parse().unwrap());
        block_on(store.change_access(&alice(), &inbox(), &who.parse().unwrap(), change)).unwrap();
    }
    assert_eq!(rights(&bob), "lrs");
}

#[test]
fn annotations_of_the_server_are_where_nobodys_mail_is() {
    let directory = tempfile::tempdir().unwrap();
    let own = directory.path().join("own");
    let options = Options { own: Some(own.clone()), ..options(directory.path()) };
    let store = Maildir::new(template(directory.path()), options);
    let set = |entry: &str, value: &'static str| {
        let change = (entry.parse().unwrap(), Some(Bytes::from_static(value.as_bytes())));
        block_on(store.annotate(&Annotated::Server, &alice(), &[change])).unwrap();
    };
    set("/shared/admin", "mailto:postmaster@example.org");
    set("/private/comment", "mine");
    assert_eq!(
        fs::read_to_string(own.join("mailwright-annotations")).unwrap(),
        "* /shared/admin mailto%3Apostmaster@example.org\n"
    );
    let root = directory.path().join("alice@example.org");
    assert!(root.join("mailwright-server-annotations").exists());
    let seen = block_on(store.annotations(&Annotated::Server, &alice())).unwrap();
    assert_eq!(
        seen.iter().map(|seen| seen.entry.as_str()).collect::<Vec<_>>(),
        ["/private/comment", "/shared/admin"]
    );
    block_on(store.erase(&alice())).unwrap();
    assert_eq!(block_on(store.annotations(&Annotated::Server, &alice())).unwrap().len(), 1);
}

#[test]
fn the_undelete_window_ends() {
    let directory = tempfile::tempdir().unwrap();
    let options = |seconds| Options { undelete: Duration::from_secs(seconds), ..options(directory.path()) };
    let store = Maildir::new(template(directory.path()), options(3_600));
    for text in ["one\r\n", "two\n"] {
        deliver(&store, text, "(\\Seen \\Deleted Work)");
    }
    let (mailbox, before) = open(&store, &inbox());
    let work = MailboxName::new("Work").unwrap();
    block_on(store.create(&alice(), &work, None)).unwrap();
    // What moves is not gone.
    block_on(store.move_to(&mailbox, &"1".parse().unwrap(), &work)).unwrap();
    let listed = |store: &Maildir| block_on(store.expunged_messages(&alice())).unwrap();
    assert_eq!(listed(&store), []);
    block_on(store.expunge(&mailbox, &Expunge::Deleted)).unwrap();
    let kept = listed(&store);
    assert_eq!(kept.iter().map(|kept| (kept.uid.get(), kept.size)).collect::<Vec<_>>(), [(2, 4)]);
    // Another program counts nothing of it, and shows nothing.
    assert_eq!(block_on(store.quota_of(&alice())).unwrap().usage.messages, 1);
    let names: Vec<_> = block_on(store.mailboxes(&alice()))
        .unwrap()
        .into_iter()
        .map(|mailbox| mailbox.name.to_string())
        .collect();
    assert_eq!(names, ["INBOX", "Work"]);
    // Into a mailbox that knows the keyword by another letter.
    let (other, _) = open(&store, &work);
    let change = FlagChange::new(FlagOperation::Add, "(first)".parse().unwrap());
    block_on(store.store_flags(&other, &"1".parse().unwrap(), &change)).unwrap();
    block_on(store.bring_back(&alice(), kept[0].id, &work)).unwrap();
    let (mailbox, after) = open(&store, &work);
    assert_eq!(flags(&after)[1], "2 (\\Seen Work)");
    assert_eq!(text(&store, &mailbox, &after, 2), "two\n");
    let back = after.message(Uid::new(2).unwrap()).unwrap();
    let original = before.message(Uid::new(2).unwrap()).unwrap();
    assert_eq!((back.object, back.internal_date), (original.object, original.internal_date));
    // An hour later, which for the file was yesterday.
    block_on(store.expunge(&mailbox, &Expunge::Exactly("2".parse().unwrap()))).unwrap();
    let place = directory.path().join("alice@example.org/mailwright-expunged");
    let files = || fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    assert_eq!(files().len(), 2);
    let info = files().into_iter().find(|path| path.extension().is_some()).unwrap();
    let line = fs::read_to_string(&info).unwrap();
    let when = line.split(' ').nth(1).unwrap();
    let earlier = (when.parse::<u64>().unwrap() - 3_601).to_string();
    fs::write(&info, line.replacen(when, &earlier, 1)).unwrap();
    assert_eq!(listed(&store), []);
    assert_eq!(files().len(), 0);
    // Without a window nothing is kept.
    let store = Maildir::new(template(directory.path()), options(0));
    assert!(store.undelete().is_none());
    block_on(store.expunge(&mailbox, &Expunge::Exactly("1".parse().unwrap()))).unwrap();
    assert_eq!(files().len(), 0);
}
