use std::collections::BTreeSet;

use mailwright_mail_model::{MailboxName, Uid, UidValidity};
use mailwright_mailstore::{MailboxRef, Message, Snapshot, User};

use super::*;

fn wanted(remembered: &Remembered, reader: &str, name: &str, fields: &[&str]) -> (Wanted, MailboxRef) {
    let snapshot = Snapshot::builder(UidValidity::new(7).unwrap()).build();
    let owner = User::new("owner@example.org").unwrap();
    let mailbox = MailboxRef::new(owner, name.parse::<MailboxName>().unwrap(), &snapshot);
    let wanted = Wanted {
        remembered: remembered.clone(),
        place: Arc::new((reader.into(), MailboxKey::new(&mailbox, &snapshot))),
        names: fields.iter().map(|name| (*name).into()).collect(),
        remembers: true,
    };
    (wanted, mailbox)
}

fn references(mailbox: &MailboxRef, uids: impl IntoIterator<Item = u32>) -> Vec<MessageRef> {
    let date = mailwright_mail_model::DateTime::EPOCH;
    let message = |uid| mailbox.message(&Message::new(Uid::new(uid).unwrap(), 9, date));
    uids.into_iter().map(message).collect()
}

fn header(uid: u32) -> Option<Bytes> {
    Some(format!("From: a{uid}@b\r\nSUBJECT : s{uid}\r\n folded\r\nX: y\r\nSubject: again").into())
}

impl Wanted {
    fn notes(&self, messages: &[MessageRef]) {
        let headers: Vec<_> = messages.iter().map(|message| header(message.uid.get())).collect();
        self.note(messages, &headers);
    }
}

#[tokio::test]
async fn fields_come_back_to_who_looked_and_to_nobody_else() {
    let remembered = Remembered::new(1 << 20);
    let (subjects, mailbox) = wanted(&remembered, "ann@example.org", "INBOX", &["subject"]);
    let messages = references(&mailbox, [3, 255, 256, 70_000]);
    assert_eq!(subjects.look(&messages), vec![None; 4]);
    subjects.note(&messages, &[header(3), None, Some("".into()), header(70_000)]);
    let subject = |uid| Some(Bytes::from(format!("SUBJECT : s{uid}\r\n folded\r\nSubject: again\r\n")));
    assert_eq!(subjects.look(&messages), [subject(3), None, Some("".into()), subject(70_000)]);
    // With another field only where both are known.
    let (both, _) = wanted(&remembered, "ann@example.org", "INBOX", &["from", "subject"]);
    assert_eq!(both.look(&messages), vec![None; 4]);
    let (from, _) = wanted(&remembered, "ann@example.org", "INBOX", &["from"]);
    from.notes(&messages[..2]);
    let all = Some(Bytes::from("From: a3@b\r\nSUBJECT : s3\r\n folded\r\nSubject: again\r\n"));
    assert_eq!(both.look(&messages), [all, None, None, None]);
    for (reader, name) in [("bob@example.org", "INBOX"), ("ann@example.org", "Other")] {
        assert_eq!(wanted(&remembered, reader, name, &["subject"]).0.look(&messages), vec![None; 4]);
    }
    assert!(wanted(&remembered, "ann@example.org", "INBOX", &[]).0.is_empty() && !both.is_empty());
}

#[tokio::test]
async fn no_more_is_remembered_than_may_be() {
    let remembered = Remembered::new(100_000);
    let octets = || {
        let memory = remembered.memory();
        (memory.octets, memory.columns.len())
    };
    let (one, mailbox) = wanted(&remembered, "ann@example.org", "one", &["subject"]);
    let messages = references(&mailbox, 1..=5_000);
    messages.chunks(100).for_each(|messages| one.notes(messages));
    let known = one.look(&messages).iter().flatten().count();
    assert!((500..4_999).contains(&known) && octets().0 <= 100_000, "{known} {:?}", octets());
    // The rest stays unknown, and what is known is known.
    messages.chunks(100).for_each(|messages| one.notes(messages));
    assert_eq!(one.look(&messages).iter().flatten().count(), known);
    let (two, mailbox) = wanted(&remembered, "ann@example.org", "two", &["subject"]);
    let few = references(&mailbox, 1..=10);
    two.notes(&few);
    assert_eq!((octets().1, two.look(&few).iter().flatten().count()), (1, 10));
    assert!(one.look(&messages).iter().all(Option::is_none));
    // A header out of all measure is not remembered.
    two.note(&few[..1], &[Some(vec![b'x'; HEADER + 1].into())]);
    let more = references(&mailbox, [11]);
    two.note(&more, &[Some(vec![b'x'; HEADER + 1].into())]);
    assert_eq!(two.look(&more), [None]);
}

#[tokio::test]
async fn another_field_of_the_same_mailbox_takes_the_room_of_the_first() {
    let remembered = Remembered::new(30_000);
    let fields = ["from", "subject", "x"];
    let mailbox = wanted(&remembered, "ann@example.org", "INBOX", &fields).1;
    let messages = references(&mailbox, 1..=5_000);
    for field in fields {
        let (one, _) = wanted(&remembered, "ann@example.org", "INBOX", &[field]);
        messages.chunks(100).for_each(|messages| one.notes(messages));
        assert!(one.look(&messages).iter().flatten().count() >= 500, "{field}");
        assert_eq!(remembered.memory().columns.len(), 1);
    }
    // None of those that are looked at together takes that of the others.
    let (both, _) = wanted(&remembered, "ann@example.org", "INBOX", &fields[..2]);
    both.notes(&messages[..50]);
    assert!(both.look(&messages[..50]).iter().all(Option::is_some));
    assert_eq!(remembered.memory().columns.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_looks_at_is_forgotten() {
    let remembered = Remembered::new(1 << 20);
    let (wanted, mailbox) = wanted(&remembered, "ann@example.org", "INBOX", &["subject"]);
    let messages = references(&mailbox, 1..=3);
    for _ in 0..2 {
        wanted.notes(&messages);
        for _ in 0..6 {
            sleep(KEPT_FOR / 2).await;
            assert!(wanted.look(&messages).iter().all(Option::is_some));
        }
        sleep(KEPT_FOR * 2).await;
        assert!(wanted.look(&messages).iter().all(Option::is_none));
        let memory = remembered.memory();
        assert_eq!((memory.octets, memory.swept), (0, false));
    }
}

/// Numbers that look like dice, the same each time.
fn dice() -> impl FnMut(u32) -> u32 {
    let mut state = 7_u64;
    move |sides| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32 % sides
    }
}

#[tokio::test]
async fn whatever_was_looked_at_in_whatever_order() {
    let mut dice = dice();
    for _ in 0..50 {
        let remembered = Remembered::new(1 << 20);
        let (wanted, mailbox) = wanted(&remembered, "ann@example.org", "INBOX", &["x"]);
        let mut known = BTreeSet::new();
        for _ in 0..10 {
            let many = dice(60);
            let uids: BTreeSet<u32> = (0..many).map(|_| 1 + dice(1_200)).collect();
            let messages = references(&mailbox, uids.iter().copied());
            let seen: Vec<bool> = wanted.look(&messages).iter().map(Option::is_some).collect();
            assert_eq!(seen, uids.iter().map(|uid| known.contains(uid)).collect::<Vec<_>>());
            let headers: Vec<_> = uids.iter().map(|uid| Some(Bytes::from(format!("X: {uid}\n")))).collect();
            wanted.note(&messages, &headers);
            known.extend(uids);
            let all = references(&mailbox, known.iter().copied());
            for (message, field) in all.iter().zip(wanted.look(&all)) {
                assert_eq!(field, Some(Bytes::from(format!("X: {}\n", message.uid))));
            }
            let memory = remembered.memory();
            let pages = memory.columns.values().flat_map(|column| column.pages.values());
            let octets: usize = pages.map(|page| page.octets()).sum();
            assert_eq!(memory.octets, octets);
        }
    }
}
