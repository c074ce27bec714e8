use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use mailwright_mail_model::{Address, MailboxName};
use mailwright_mailstore::{QueueRecipient, QuotaLimits, RecipientState, User, memory::Memory};
use mailwright_relay_policy::{
    directory::{Delivery, Onward},
    dns::CannedAnswers,
    route::{NextHop, RouteTable},
};
use tokio::{io::AsyncRead, time};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::queue::{Pipes, Place, QueueConfig};

/// What `ann@a.example` is: nobody can tell; an account; or two.
const UNCLEAR: u8 = 0;
const HERSELF: u8 = 1;
const BOTH: u8 = 2;
const GONE: u8 = 3;

struct Moody(AtomicU8);

impl Addressing for Moody {
    async fn expand(&self, _: &Session, recipient: &ForwardPath) -> Result<Expansion, Reply> {
        let Some(address) = recipient.address() else {
            return Ok(Expansion::to(Delivery::new("root@a.example")));
        };
        if address.domain().key() != "a.example" {
            return Ok(Expansion::elsewhere(Onward::remote(address.clone())));
        }
        match (address.as_str(), self.0.load(Ordering::Relaxed)) {
            ("ann@a.example", UNCLEAR) => Err(Reply::transient((3, 0), "The forward file cannot be read")),
            ("ann@a.example", GONE) => Err(Reply::permanent((1, 1), "Nobody any more")),
            ("ann@a.example", BOTH) => {
                let mut both = Expansion::to(Delivery::new("ann@a.example"));
                both.deliveries.push(Delivery::new("bob@a.example"));
                Ok(both)
            }
            (name, _) => Ok(Expansion::to(Delivery::new(name))),
        }
    }
}

/// Takes what is for anybody whose name does not begin with "bad", and counts it; of reports, whether they are of eight bits.
#[derive(Default)]
struct Program(AtomicUsize, Mutex<Vec<bool>>);

impl Pipes for Program {
    fn run<'a>(
        &'a self,
        _: &'a Place,
        entry: &'a QueueEntry,
        recipient: &'a QueueRecipient,
        _: Pin<Box<dyn AsyncRead + Send + 'a>>,
    ) -> Pin<Box<dyn Future<Output = Result<(), Diagnosis>> + Send + 'a>> {
        let bad = recipient.address.as_str().starts_with("bad");
        if entry.sender == ReversePath::Null {
            self.1.lock().unwrap().push(entry.eight_bit);
        }
        if !bad {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        let refused = || Diagnosis::found(Reply::permanent((1, 1), "nobody"));
        Box::pin(async move { if bad { Err(refused()) } else { Ok(()) } })
    }
}

struct World {
    store: Memory,
    queue: Arc<Queue<Memory, CannedAnswers, Moody>>,
    program: Arc<Program>,
}

impl World {
    fn new(ann: u8, store: Memory) -> Self {
        let (program, mut config) =
            (Arc::new(Program::default()), QueueConfig::new("mail.a.example").unwrap());
        let routes = RouteTable::default().with_transport("*", NextHop::Pipe("program".into())).unwrap();
        config.routes = Arc::new(routes);
        config.pipes = Some(Arc::clone(&program) as Arc<dyn Pipes>);
        config.concurrency.initial = 1;
        config.concurrency.per_destination = 1;
        let addressing = Arc::new(Moody(AtomicU8::new(ann)));
        let resolver = Arc::new(CannedAnswers::default());
        let queue = Arc::new(Queue::new(Arc::new(store.clone()), resolver, addressing, config));
        Self { store, queue, program }
    }

    async fn send(&self, from: &str, to: &[&str]) {
        let rcpt = |to: &&str| Rcpt::new(to.parse::<Address>().unwrap().into());
        let mut mail = Mail::new(from.parse::<Address>().unwrap().into());
        mail.parameters.smtputf8 = !to.iter().all(|to| to.is_ascii());
        let message = Message::new(mail, to.iter().map(rcpt).collect());
        self.queue.enqueue(message, &mut "Subject: x\r\n\r\nx\r\n".as_bytes()).await.unwrap();
    }

    async fn waiting(&self) -> Vec<QueueEntry> {
        self.store.spool().unwrap().entries(None, 100).await.unwrap()
    }

    /// How many messages are in an INBOX.
    async fn inbox(&self, user: &str) -> usize {
        let user = User::new(user).unwrap();
        self.store.open(&user, &MailboxName::inbox()).await.map_or(0, |found| found.messages().count())
    }

    /// Runs the queue until this holds of what waits.
    async fn run_until(&self, holds: impl Fn(&[QueueEntry]) -> bool) -> Vec<QueueEntry> {
        let stop = CancellationToken::new();
        let running = tokio::spawn(Arc::clone(&self.queue).run(stop.clone()));
        let all = async {
            loop {
                let waiting = self.waiting().await;
                if holds(&waiting) {
                    return waiting;
                }
                time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waiting = time::timeout(Duration::from_secs(20), all).await.unwrap();
        stop.cancel();
        running.await.unwrap().unwrap();
        waiting
    }

    /// Has the report that waits tried now, as one that came at that time.
    async fn due(&self, arrival: Option<u64>) {
        let mut entry = self.waiting().await.remove(0);
        entry.arrival = arrival.unwrap_or(entry.arrival);
        entry.due = crate::queue::report::seconds();
        let settle = [Settlement::Update(Box::new(entry))];
        self.store.spool().unwrap().settle(&settle).await.unwrap();
    }
}

fn untold(waiting: &[QueueEntry]) -> usize {
    waiting.iter().filter(|entry| entry.destination == UNTOLD).count()
}

#[tokio::test]
async fn a_sender_who_cannot_be_told_now_holds_nobody_up() {
    let world = World::new(UNCLEAR, Memory::new());
    for number in 0..6 {
        world.send("ann@a.example", &["good@b.example", &format!("bad{number}@b.example")]).await;
    }
    world.send("eve@a.example", &["good@b.example"]).await;
    let waiting = world.run_until(|waiting| waiting.len() == 6 && untold(waiting) == 6).await;
    assert_eq!(world.program.0.load(Ordering::Relaxed), 7, "each once");
    for entry in &waiting {
        assert_eq!((entry.sender.clone(), entry.attempts), (ReversePath::Null, 1));
        assert_eq!(entry.recipients.len(), 1);
        assert_eq!(entry.recipients[0].address.as_str(), "ann@a.example");
        assert!(entry.due >= entry.arrival + 60, "as after any first attempt");
        assert!(entry.last_error.as_ref().unwrap().contains("The forward file cannot be read"));
    }
    // Started again, nothing is sent again; and once she can be found, she hears of all.
    world.queue.addressing.0.store(HERSELF, Ordering::Relaxed);
    for _ in 0..6 {
        let before = world.waiting().await.len();
        world.due(None).await;
        world.run_until(|waiting| waiting.len() < before).await;
    }
    assert_eq!((world.inbox("ann@a.example").await, world.inbox("root@a.example").await), (6, 0));
    assert_eq!(world.program.0.load(Ordering::Relaxed), 7);
}

#[tokio::test]
async fn a_report_that_nobody_gets_goes_to_the_postmaster_in_the_end() {
    for (then, age) in [(UNCLEAR, 5 * 86_400), (GONE, 0)] {
        let world = World::new(UNCLEAR, Memory::new());
        world.send("ann@a.example", &["bad@b.example"]).await;
        let waiting = world.run_until(|waiting| untold(waiting) == 1).await;
        let tried = |waiting: &[QueueEntry]| waiting[0].attempts == 2;
        world.due(None).await;
        let again = world.run_until(tried).await;
        assert_eq!(again[0].recipients[0].state, RecipientState::Waiting, "it has time");
        assert_eq!(world.inbox("root@a.example").await, 0);
        world.queue.addressing.0.store(then, Ordering::Relaxed);
        world.due(Some(waiting[0].arrival - age)).await;
        world.run_until(<[QueueEntry]>::is_empty).await;
        assert_eq!(world.inbox("root@a.example").await, 1);
    }
}

#[tokio::test]
async fn one_full_mailbox_keeps_a_report_from_nobody_else() {
    let world = World::new(BOTH, Memory::new().with_quota(QuotaLimits::NONE.messages(Some(1))));
    let fill = |name: &str| {
        let (queue, to) = (Arc::clone(&world.queue), name.parse().unwrap());
        async move { queue.post(&to, "Subject: x\r\n\r\nx\r\n".into()).await.unwrap() }
    };
    // Ann's is full, by a message to another name of hers.
    world.queue.addressing.0.store(HERSELF, Ordering::Relaxed);
    fill("ann@a.example").await;
    world.queue.addressing.0.store(BOTH, Ordering::Relaxed);
    world.send("ann@a.example", &["bad@b.example"]).await;
    world.run_until(<[QueueEntry]>::is_empty).await;
    assert_eq!((world.inbox("ann@a.example").await, world.inbox("bob@a.example").await), (1, 1));
    // Now both are: it waits, and is not lost.
    world.send("ann@a.example", &["bad@b.example"]).await;
    let waiting = world.run_until(|waiting| untold(waiting) == 1).await;
    assert!(waiting[0].last_error.as_ref().unwrap().contains("quota"), "{waiting:?}");
}

#[tokio::test]
async fn a_report_that_names_an_address_beyond_ascii_is_of_eight_bits() {
    for (to, eight_bit) in [("bad@b.example", false), ("badj\u{f6}rg@b.example", true)] {
        let world = World::new(HERSELF, Memory::new());
        world.send("shop@c.example", &[to]).await;
        world.run_until(<[QueueEntry]>::is_empty).await;
        // RFC 6152 §3
        assert_eq!(*world.program.1.lock().unwrap(), [eight_bit], "{to}");
    }
}
