//! Mail that waits to be sent on. Destinations of other mail in the queue must not begin with `conformance-`.

use bytes::Bytes;
use mailwright_mail_model::{Address, MailboxName, ReversePath};

use super::{Outcome, Wrong, date, ensure, equal, name, some, user, writer};
use crate::{
    Batch, Committed, Deadline, Due, Expunge, MailboxRef, Notify, QueueEntry, QueueNews, QueueNumber,
    QueueRecipient, RecipientState, Scheduled, Settlement, Spool, Store, StoreError, Target, ValidSince,
    Write,
};

fn spool(store: &impl Store) -> Outcome<&impl Spool> {
    some(store.spool(), "the queue that was there before")
}

fn entry(destination: &str, due: u64) -> Outcome<QueueEntry> {
    let wrong = |error: mailwright_mail_model::AddressError| Wrong(error.to_string());
    let sender = ReversePath::parse(b"<ann@a.example>").map_err(wrong)?;
    let mut entry = QueueEntry::new("1D", sender, format!("conformance-{destination}"), due);
    entry.recipients.push(QueueRecipient::new("bob@b.example".parse().map_err(wrong)?));
    entry.skip = 2;
    Ok(entry)
}

async fn commit(store: &impl Store, text: &'static str, batch: &Batch) -> Outcome<Committed> {
    let mut upload = writer(store)?.begin(None).await?;
    upload.write(Bytes::from_static(text.as_bytes())).await?;
    Ok(upload.commit_batch(batch).await?)
}

/// What is due of these destinations.
async fn due(store: &impl Store, destination: &str, until: u64) -> Outcome<Vec<Scheduled>> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = spool(store)?.due(until, after, 2).await?;
        let last = page.len() < 2;
        ensure(page.is_sorted_by(|a, b| a.due < b.due), "entries in the order in which they are due")?;
        ensure(page.iter().all(|entry| Some(entry.due) > after), "entries behind the one given")?;
        after = page.last().map(|entry| entry.due).or(after);
        found.extend(
            page.into_iter().filter(|entry| entry.destination == format!("conformance-{destination}")),
        );
        if last {
            return Ok(found);
        }
    }
}

async fn octets(store: &impl Store, entry: &QueueEntry) -> Outcome<Vec<u8>> {
    let mut octets = Vec::new();
    while (octets.len() as u64) < entry.size {
        let chunk = spool(store)?.octets(entry, octets.len() as u64..entry.size).await?;
        ensure(!chunk.is_empty(), "a read gives some octets")?;
        octets.extend_from_slice(&chunk);
    }
    Ok(octets)
}

pub(super) async fn a_message_goes_into_mailboxes_and_queue_at_once(store: &impl Store) -> Outcome {
    let (user, inbox) = (user("queue")?, MailboxName::inbox());
    let target = Target::new(user.clone(), inbox.clone(), date()?);
    let mut one = entry("both", 100)?;
    one.recipients.extend(one.recipients.clone());
    one.solicitation = Some("net.example:ADV".into());
    one.verp = Some("-=".into());
    if let Some(first) = one.recipients.first_mut() {
        (first.notify, first.original) = (Notify::asked(true, false, false), Some("rfc822;x".into()));
    }
    let batch = Batch::to([target.clone()]).with_queue(vec![one.clone(), entry("both", 101)?]);
    let bad = Target::new(user.clone(), name("conformance-unknown")?, date()?);
    let mut upload = writer(store)?.begin(None).await?;
    upload.write(Bytes::from_static(b"to both")).await?;
    let refused = upload.commit_batch(&Batch::to([target, bad]).with_queue(batch.queue.clone())).await;
    equal("an unknown mailbox", refused.map_err(|error| error.error), Err(StoreError::NotFound))?;
    ensure(due(store, "both", 1_000).await?.is_empty(), "nothing is queued if a mailbox refuses")?;
    let committed = upload.commit_batch(&batch).await?;
    equal("mailboxes", committed.appended.len(), 1)?;
    equal("entries", committed.queued.len(), 2)?;
    ensure(committed.queued.is_sorted_by(|a, b| a < b), "numbers that rise")?;
    let (number, other) =
        (some(committed.queued.first(), "a number")?, some(committed.queued.last(), "another")?);
    let found = some(spool(store)?.entry(*number).await?, "the entry that was committed")?;
    let expected = QueueEntry { number: *number, size: 7, object: found.object, ..one };
    equal("the entry", &found, &expected)?;
    equal("octets", octets(store, &found).await?, b"to both".to_vec())?;
    equal("a part", spool(store)?.octets(&found, 3..5).await?, Bytes::from_static(b"bo"))?;
    let all = spool(store)?.entries(None, usize::MAX).await?;
    ensure(all.iter().any(|entry| entry.number == *number), "the entry among all")?;
    let behind = spool(store)?.entries(Some(*number), 1).await?;
    equal("the next entry", behind.first().map(|entry| entry.number), Some(*other))?;
    equal("messages", store.open(&user, &inbox).await?.len(), 1)
}

pub(super) async fn what_is_due_comes_in_order(store: &impl Store) -> Outcome {
    let queue = [50, 10, 30, 30, 20].map(|due| entry("order", due));
    let queue = queue.into_iter().collect::<Outcome<Vec<_>>>()?;
    let committed = commit(store, "x", &Batch::default().with_queue(queue)).await?;
    let times = |found: Vec<Scheduled>| found.into_iter().map(|entry| entry.due.at).collect::<Vec<_>>();
    equal("due at 30", times(due(store, "order", 30).await?), vec![10, 20, 30, 30])?;
    equal("due at 9", times(due(store, "order", 9).await?), vec![])?;
    let next = spool(store)?.next_due(30).await?;
    ensure(next.is_some_and(|next| next > 30 && next <= 50), "the next entry is due at 50 or before")?;
    let remove: Vec<_> = committed.queued.iter().map(|number| Settlement::Remove(*number)).collect();
    spool(store)?.settle(&remove).await?;
    equal("due after removal", times(due(store, "order", 100).await?), vec![])
}

pub(super) async fn nothing_is_due_before_it_is_released(store: &impl Store) -> Outcome {
    let mut held = entry("later", 10)?;
    (held.release, held.priority) = (Some(70), 3);
    held.deadline = Some(Deadline::new(90, true, true));
    if let Some(first) = held.recipients.first_mut() {
        first.valid_since = Some(ValidSince::new(5, true));
    }
    let batch = Batch::default().with_queue(vec![held.clone(), entry("later", 20)?]);
    let committed = commit(store, "later", &batch).await?;
    let (one, other) =
        (some(committed.queued.first(), "a number")?, some(committed.queued.last(), "another")?);
    let found = some(spool(store)?.entry(*one).await?, "the entry that was committed")?;
    let (size, object) = (found.size, found.object);
    let expected = QueueEntry { number: *one, due: 70, size, object, ..held };
    equal("the entry", &found, &expected)?;
    equal("due before", due(store, "later", 69).await?.len(), 1)?;
    // Nor if somebody wants all of the queue sent now.
    spool(store)?.settle(&[Settlement::Due(*one, 15), Settlement::Due(*other, 15)]).await?;
    let found = due(store, "later", 70).await?;
    let orders: Vec<_> = found.iter().map(|entry| (entry.due.at, entry.priority, entry.release)).collect();
    equal("due with it", orders, vec![(15, 0, None), (70, 3, Some(70))])?;
    // But if it is released.
    let released = QueueEntry { release: None, due: 16, ..expected };
    spool(store)?.settle(&[Settlement::Update(Box::new(released))]).await?;
    let times: Vec<_> = due(store, "later", 16).await?.iter().map(|entry| entry.due.at).collect();
    equal("due after the release", times, vec![15, 16])?;
    spool(store)?.settle(&[Settlement::Remove(*one), Settlement::Remove(*other)]).await?;
    equal("due at the end", due(store, "later", 99).await?.len(), 0)
}

pub(super) async fn settlements_change_what_is_there_and_nothing_else(store: &impl Store) -> Outcome {
    let batch = Batch::default().with_queue(vec![entry("settle", 10)?, entry("settle", 20)?]);
    let committed = commit(store, "first", &batch).await?;
    let (one, other) =
        (some(committed.queued.first(), "a number")?, some(committed.queued.last(), "another")?);
    let mut changed = some(spool(store)?.entry(*one).await?, "the entry")?;
    (changed.due, changed.attempts, changed.attempted) = (40, 1, Some(11));
    changed.last_error = Some("451 later".into());
    changed.recipients.iter_mut().for_each(|recipient| recipient.state = RecipientState::Failed);
    // What was said to hold it meanwhile counts, and so does what comes after in the same change.
    let settle = [
        Settlement::Hold(*one, true),
        Settlement::Update(Box::new(changed.clone())),
        Settlement::Due(*one, 35),
    ];
    spool(store)?.settle(&settle).await?;
    let found = some(spool(store)?.entry(*one).await?, "the entry that was changed")?;
    equal("the entry", found, QueueEntry { held: true, due: 35, ..changed.clone() })?;
    let numbers = |found: Vec<Scheduled>| found.into_iter().map(|entry| entry.due).collect::<Vec<_>>();
    equal("due without the held one", numbers(due(store, "settle", 99).await?), vec![Due::new(20, *other)])?;
    // Settled with a new message, as a report about the old one is.
    let settle = vec![Settlement::Hold(*one, false), Settlement::Remove(*other)];
    let batch = Batch::default().with_queue(vec![entry("settle", 60)?]).with_settlements(settle);
    let report = some(commit(store, "report", &batch).await?.queued.pop(), "a number")?;
    let expected = vec![Due::new(35, *one), Due::new(60, report)];
    equal("due after release", numbers(due(store, "settle", 99).await?), expected)?;
    spool(store)?
        .settle(&[
            Settlement::Remove(*one),
            Settlement::Remove(report),
            Settlement::Update(Box::new(changed)),
        ])
        .await?;
    equal("an entry that is gone", spool(store)?.entry(*one).await?, None)?;
    equal("due at the end", numbers(due(store, "settle", 99).await?), vec![])
}

pub(super) async fn recipients_are_removed_while_an_entry_is_being_sent(store: &impl Store) -> Outcome {
    let address = |text: &str| text.parse::<Address>().map_err(|error| Wrong(error.to_string()));
    let mut wanted = entry("several", 10)?;
    for name in ["two@several.example", "three@several.example"] {
        wanted.recipients.push(QueueRecipient::new(address(name)?));
    }
    let commit = commit(store, "several", &Batch::default().with_queue(vec![wanted])).await?;
    let number = *some(commit.queued.first(), "a number")?;
    let taken = some(spool(store)?.entry(number).await?, "the entry")?;
    let names = |entry: &QueueEntry| {
        entry.recipients.iter().map(|recipient| recipient.address.to_string()).collect::<Vec<_>>()
    };
    let all = names(&taken);
    let remove = |name: &str| Ok::<_, Wrong>(Settlement::RemoveRecipients(number, vec![address(name)?]));
    spool(store)?.settle(&[remove("two@several.example")?, remove("nobody@several.example")?]).await?;
    // Whoever is sending it knows nothing of that.
    let mut told = taken.clone();
    told.due = 20;
    if let Some(first) = told.recipients.first_mut() {
        first.state = RecipientState::Delivered;
    }
    spool(store)?.settle(&[Settlement::Update(Box::new(told.clone()))]).await?;
    let found = some(spool(store)?.entry(number).await?, "the entry that is left")?;
    equal(
        "who is left",
        names(&found),
        all.iter().filter(|name| !name.starts_with("two@")).cloned().collect(),
    )?;
    equal("when it is due", found.due, 20)?;
    // With the last who waits, it goes.
    spool(store)?.settle(&[remove("three@several.example")?]).await?;
    equal("the entry", spool(store)?.entry(number).await?, None)?;
    spool(store)?.settle(&[Settlement::Update(Box::new(told))]).await?;
    equal("the entry that was told of", spool(store)?.entry(number).await?, None)?;
    equal("due at the end", due(store, "several", 99).await?.len(), 0)
}

pub(super) async fn what_is_set_by_hand_stays_while_an_entry_is_being_sent(store: &impl Store) -> Outcome {
    let commit = commit(store, "orders", &Batch::default().with_queue(vec![entry("before", 10)?])).await?;
    let number = *some(commit.queued.first(), "a number")?;
    let taken = some(spool(store)?.entry(number).await?, "the entry")?;
    let route = "conformance-behind".to_owned();
    let orders = [Settlement::Expire(number, Some(70)), Settlement::Reroute(number, Some(route.clone()))];
    spool(store)?.settle(&orders).await?;
    // Whoever is sending it knows nothing of that.
    spool(store)?.settle(&[Settlement::Update(Box::new(QueueEntry { due: 20, ..taken.clone() }))]).await?;
    let found = some(spool(store)?.entry(number).await?, "the entry that was changed")?;
    let destination = route.clone();
    let expected = QueueEntry { due: 20, expires: Some(70), route: Some(route), destination, ..taken };
    equal("the entry", found, expected)?;
    equal("due by its old way", due(store, "before", 99).await?.len(), 0)?;
    equal("due by its new way", due(store, "behind", 99).await?.len(), 1)?;
    spool(store)?.settle(&[Settlement::Expire(number, None), Settlement::Reroute(number, None)]).await?;
    let found = some(spool(store)?.entry(number).await?, "the entry as it was")?;
    equal("what was set by hand", (found.expires, found.route), (None, None))?;
    Ok(spool(store)?.settle(&[Settlement::Remove(number)]).await?)
}

pub(super) async fn what_is_set_by_hand_says_when_an_entry_is_tried_next(store: &impl Store) -> Outcome {
    let route = Some("conformance-orders".to_owned());
    type Orders = fn(QueueNumber, Option<String>) -> Vec<Settlement>;
    let cases: [(&str, Orders, u64); 6] = [
        ("nothing", |_, _| vec![], 40),
        // What was tried says nothing of the other way.
        ("another way", |n, route| vec![Settlement::Reroute(n, route), Settlement::Due(n, 12)], 12),
        ("another way alone", |n, route| vec![Settlement::Reroute(n, route)], 10),
        ("another try", |n, _| vec![Settlement::Due(n, 12)], 12),
        ("another try that is later", |n, _| vec![Settlement::Due(n, 60)], 40),
        ("an end", |n, _| vec![Settlement::Expire(n, Some(25))], 25),
    ];
    for (what, orders, due) in cases {
        let commit = commit(store, what, &Batch::default().with_queue(vec![entry("orders", 10)?])).await?;
        let number = *some(commit.queued.first(), "a number")?;
        let taken = some(spool(store)?.entry(number).await?, "the entry")?;
        spool(store)?.settle(&orders(number, route.clone())).await?;
        // Whoever is sending it knows nothing of that.
        let told = QueueEntry { due: 40, attempts: 1, attempted: Some(15), ..taken };
        spool(store)?.settle(&[Settlement::Attempted(Box::new(told), 10)]).await?;
        let found = some(spool(store)?.entry(number).await?, "the entry that was attempted")?;
        equal(what, (found.due, found.attempts, found.attempted), (due, 1, Some(15)))?;
        // It counts once: the next attempt has its say again, past the end as well, where there may be no room for the report.
        let told = QueueEntry { due: 50, attempts: 2, ..found };
        spool(store)?.settle(&[Settlement::Attempted(Box::new(told), due)]).await?;
        let found = some(spool(store)?.entry(number).await?, "the entry that was attempted again")?;
        equal(what, (found.due, found.attempts), (50, 2))?;
        spool(store)?.settle(&[Settlement::Remove(number)]).await?;
    }
    Ok(())
}

pub(super) async fn what_became_of_recipients_is_written_down_while_an_entry_is_being_sent(
    store: &impl Store,
) -> Outcome {
    let address = |text: &str| text.parse::<Address>().map_err(|error| Wrong(error.to_string()));
    let mut wanted = entry("told", 10)?;
    for name in ["two@told.example", "three@told.example"] {
        wanted.recipients.push(QueueRecipient::new(address(name)?));
    }
    let committed = commit(store, "told", &Batch::default().with_queue(vec![wanted])).await?;
    let number = *some(committed.queued.first(), "a number")?;
    let taken = some(spool(store)?.entry(number).await?, "the entry")?;
    let told = |name: &str| {
        let mut recipient = QueueRecipient::new(address(name)?);
        (recipient.state, recipient.last_error) = (RecipientState::Delivered, Some("250 taken".into()));
        Ok::<_, Wrong>(recipient)
    };
    let gone = vec![address("three@told.example")?];
    let settle = [
        Settlement::RemoveRecipients(number, gone),
        Settlement::Due(number, 12),
        Settlement::Recipients(number, vec![told("two@told.example")?, told("three@told.example")?]),
    ];
    spool(store)?.settle(&settle).await?;
    let mut expected = QueueEntry { due: 12, ..taken.clone() };
    expected.recipients.pop();
    if let Some(last) = expected.recipients.last_mut() {
        *last = told("two@told.example")?;
    }
    equal("the entry", spool(store)?.entry(number).await?, Some(expected.clone()))?;
    let times: Vec<_> = due(store, "told", 99).await?.iter().map(|entry| entry.due.at).collect();
    equal("due", times, vec![12])?;
    // With a new message, as when a report is made of it. Whoever else waits, the entry stays until it is settled.
    for recipient in &mut expected.recipients {
        recipient.state = RecipientState::Delivered;
    }
    let settle = vec![Settlement::Recipients(number, expected.recipients.clone())];
    let batch = Batch::default().with_queue(vec![entry("told", 60)?]).with_settlements(settle);
    let report = some(commit(store, "a report", &batch).await?.queued.pop(), "a number")?;
    equal("the entry", spool(store)?.entry(number).await?, Some(expected))?;
    spool(store)?.settle(&[Settlement::Remove(number), Settlement::Remove(report)]).await?;
    let settle = [Settlement::Recipients(number, taken.recipients)];
    spool(store)?.settle(&settle).await?;
    equal("an entry that is gone", spool(store)?.entry(number).await?, None)
}

pub(super) async fn a_body_stays_as_long_as_an_entry_has_it(store: &impl Store) -> Outcome {
    let (user, inbox) = (user("queue-body")?, MailboxName::inbox());
    let target = Target::new(user.clone(), inbox.clone(), date()?);
    let batch = Batch::to([target]).with_queue(vec![entry("body", 10)?, entry("body", 10)?]);
    let committed = commit(store, "the body", &batch).await?;
    let snapshot = store.open(&user, &inbox).await?;
    let mailbox = MailboxRef::new(user, inbox, &snapshot);
    writer(store)?.expunge(&mailbox, &Expunge::Exactly(snapshot.uids())).await?;
    for number in committed.queued {
        let found = some(spool(store)?.entry(number).await?, "the entry")?;
        equal("octets", octets(store, &found).await?, b"the body".to_vec())?;
        spool(store)?.settle(&[Settlement::Remove(number)]).await?;
    }
    Ok(())
}

pub(super) async fn what_is_added_wakes_who_waits(store: &impl Store) -> Outcome {
    let batch = Batch::default().with_queue(vec![entry("wake", 10)?]);
    let number = some(commit(store, "x", &batch).await?.queued.pop(), "a number")?;
    // Since something was added, this does not wait.
    let seen = spool(store)?.added(0).await;
    let (mark, _) = spool(store)?.news(0);
    spool(store)?.settle(&[Settlement::Due(number, 5)]).await?;
    ensure(spool(store)?.added(seen).await > seen, "an entry made due is counted")?;
    // Where something is new is known before anybody is woken.
    let told = |news| match news {
        QueueNews::Nothing => false,
        QueueNews::From(first) => first <= Due::new(5, number),
        QueueNews::Anywhere => true,
    };
    let (mark, news) = spool(store)?.news(mark);
    ensure(told(news), "news of an entry made due")?;
    for settlement in [Settlement::Hold(number, true), Settlement::Hold(number, false)] {
        spool(store)?.settle(&[settlement]).await?;
    }
    ensure(told(spool(store)?.news(mark).1), "news of an entry that was released")?;
    let (mark, _) = spool(store)?.news(mark);
    let batch = Batch::default().with_queue(vec![entry("wake", 20)?, entry("wake", 4)?]);
    let others = commit(store, "y", &batch).await?.queued;
    ensure(told(spool(store)?.news(mark).1), "news of an entry that was added")?;
    let others = others.into_iter().map(Settlement::Remove).collect::<Vec<_>>();
    spool(store)?.settle(&others).await?;
    Ok(spool(store)?.settle(&[Settlement::Remove(number)]).await?)
}
