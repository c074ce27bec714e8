use std::sync::atomic::AtomicBool;

use mailwright_mail_model::{Address, ForwardPath};
use mailwright_mailstore::{QueueNumber, RecipientState, memory::Memory};
use mailwright_relay_policy::{Session, directory::Expansion, dns::CannedAnswers, route::RouteTable};
use mailwright_smtp_proto::{Mail, Message, Rcpt};

use super::*;
use crate::{
    queue::{QueueConfig, Release, Released},
    smtp::Elsewhere,
};

/// Everything is elsewhere, until `new.example` is here.
#[derive(Default)]
struct Changing(AtomicBool);

impl Addressing for Changing {
    async fn expand(&self, session: &Session, recipient: &ForwardPath) -> Result<Expansion, Reply> {
        Elsewhere.expand(session, recipient).await
    }

    fn delivers(&self, address: &Address) -> bool {
        self.0.load(Ordering::Relaxed) && address.domain().key() == "new.example"
    }
}

/// Takes whatever comes.
struct Takes;

impl Release for Takes {
    fn release<'a>(&'a self, _: &'a QueueEntry, places: &'a [usize]) -> Released<'a> {
        Box::pin(async { places.iter().map(|place| (*place, Reply::OK)).collect() })
    }
}

fn config(smarthost: &str) -> QueueConfig {
    let mut config = QueueConfig::new("mail.a.example").unwrap();
    config.routes = Arc::new(RouteTable::default().with_smarthost(smarthost.parse().unwrap()));
    config
}

/// A queue with a message for two, and the message.
async fn queue_of_one() -> (Arc<Queue<Memory, CannedAnswers, Changing>>, QueueEntry) {
    let (store, zone) = (Memory::new(), CannedAnswers::default());
    let queue =
        Queue::new(Arc::new(store), Arc::new(zone), Arc::new(Changing::default()), config("[old.example]"));
    let rcpt = |to: &str| Rcpt::new(to.parse::<Address>().unwrap().into());
    let sender: Address = "ann@a.example".parse().unwrap();
    let message =
        Message::new(Mail::new(sender.into()), vec![rcpt("bob@new.example"), rcpt("eve@c.example")]);
    queue.enqueue(message, &mut "Subject: x\r\n\r\nx\r\n".as_bytes()).await.unwrap();
    let queue = Arc::new(queue);
    let entry = only(&queue).await;
    (queue, entry)
}

async fn only(queue: &Queue<Memory, CannedAnswers, Changing>) -> QueueEntry {
    queue.spool().unwrap().entries(None, 10).await.unwrap().pop().unwrap()
}

/// What it is put off with says nothing of the way that it goes now.
#[tokio::test]
async fn what_has_another_way_is_not_put_off_with_the_rest() {
    let (queue, entry) = queue_of_one().await;
    assert_eq!(entry.destination, "[old.example]:25");
    let state = Loop::new(Concurrency::default());
    queue.put_off(&state, vec![Scheduled::of(&entry)]).await;
    let entry = only(&queue).await;
    assert_eq!((&*entry.destination, entry.attempts), ("[old.example]:25", 1), "as if it had been tried");
    queue.spool().unwrap().settle(&[Settlement::Due(entry.number, 1)]).await.unwrap();
    let entry = only(&queue).await;
    queue.reconfigure(config("[new-host.example]"));
    queue.current().put_off(&state, vec![Scheduled::of(&entry)]).await;
    let moved = only(&queue).await;
    assert_eq!((&*moved.destination, moved.attempts), ("[new-host.example]:25", 1));
    assert!(moved.due <= seconds() && moved.due > 1, "it is tried at once");
    // What somebody has given another way keeps it.
    let by_hand = Settlement::Reroute(entry.number, Some("[hand.example]:25".into()));
    queue.spool().unwrap().settle(&[by_hand]).await.unwrap();
    assert_eq!(queue.current().moved(&only(&queue).await), None);
}

#[tokio::test]
async fn those_whose_domain_is_ours_are_taken_in_and_the_others_sent() {
    let (queue, entry) = queue_of_one().await;
    queue.addressing.0.store(true, Ordering::Relaxed);
    // Without somebody who takes it in, it goes where routes lead.
    assert!(queue.ours(&entry).is_empty() && queue.moved(&entry).is_none());
    let inbox = Arc::new(Takes);
    queue.release_to(&inbox);
    let [bob, eve] = ["bob", "eve"].map(|name| {
        entry.recipients.iter().position(|recipient| recipient.address.as_str().starts_with(name)).unwrap()
    });
    assert_eq!(queue.ours(&entry), [bob]);
    assert_eq!(queue.moved(&entry).as_deref(), Some("ours:"));
    let attempted = queue.attempt(&Arc::new(entry)).await;
    let outcomes: Vec<_> = attempted
        .outcomes
        .iter()
        .map(|(place, outcome)| (*place, matches!(outcome, Outcome::Taken { .. })))
        .collect();
    assert_eq!(outcomes, [(bob, true), (eve, false)]);
}

#[tokio::test]
async fn who_has_a_message_is_written_down_once_and_when_more_of_it_is_begun() {
    let (queue, entry) = queue_of_one().await;
    let listed = queue.under_way.list(entry.number);
    let diagnosis = Diagnosis::found(Reply::OK);
    let taken = Outcome::Taken { diagnosis, reports: false, delivered: false, timed: true };
    let begun = queue.begin(&entry).await.unwrap();
    queue.under_way.took(entry.number, [(1, &taken)]);
    drop(begun);
    // There may be no more to come: then this is written down with the rest.
    assert_eq!((only(&queue).await, queue.delivered()), (entry.clone(), 0));
    drop(queue.begin(&entry).await.unwrap());
    let noted = only(&queue).await;
    let states: Vec<_> = noted.recipients.iter().map(|recipient| recipient.state).collect();
    assert_eq!(states, [RecipientState::Waiting, RecipientState::Delivered]);
    assert_eq!((noted.due, noted.attempts), (entry.due, 0), "it is still being sent");
    // Of whom nothing was begun, nothing is judged; and who was told of is told of once.
    queue.under_way.end();
    assert!(queue.begin(&entry).await.is_none());
    let left = queue.leave(&entry, &[0]).remove(0);
    let (outcomes, some_left) = queue.come_of(&entry, vec![(0, left), (1, taken)]);
    assert!(matches!(outcomes[..], [(1, Outcome::Taken { reports: true, .. })]) && some_left, "{outcomes:?}");
    assert_eq!(queue.delivered(), 1);
    drop(listed);
}

#[test]
fn reasons_are_forgotten_with_their_destinations() {
    let mut state = Loop::new(Concurrency::default());
    let dead = Diagnosis::found(Reply::transient((4, 1), "Nobody is there"));
    for number in 0..1_000 {
        let destination = format!("d{number}");
        let due = Due::new(1, QueueNumber::new(number));
        let entry = Scheduled::new(due, destination.clone(), "ann".into());
        state.scheduler.offer(entry.clone(), 0);
        // One of them is dead and is asked about for as long as it is.
        let failed = if number == 7 { Contact::Failed } else { Contact::Unknown };
        for _ in 0..5 {
            state.scheduler.offer(entry.clone(), 0);
            while let Some(next) = state.scheduler.next(0) {
                state.scheduler.finished(&next, failed, 0);
            }
        }
        state.reasons.insert(destination, dead.clone());
    }
    state.tidy();
    assert_eq!(state.reasons.into_keys().collect::<Vec<_>>(), ["d7"]);
}
