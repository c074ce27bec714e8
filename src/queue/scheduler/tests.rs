use std::collections::BTreeMap;

use mailwright_mailstore::Due;

use super::*;

fn entry(number: u64, sender: &str, destination: &str) -> Scheduled {
    Scheduled::new(Due::new(1, QueueNumber::new(number)), destination.into(), sender.into())
}

fn scheduler(change: impl FnOnce(&mut Concurrency)) -> Scheduler {
    let mut limits = Concurrency::default();
    change(&mut limits);
    Scheduler::new(limits)
}

fn start_all(scheduler: &mut Scheduler, now: u64) -> Vec<Scheduled> {
    std::iter::from_fn(|| scheduler.next(now)).collect()
}

#[test]
fn a_window_grows_with_success_and_ends_at_its_limit() {
    let mut scheduler = scheduler(|_| {});
    for number in 0..200 {
        assert_eq!(scheduler.offer(entry(number, "a", "x"), 0), Offer::Taken);
    }
    assert_eq!(scheduler.offer(entry(3, "a", "x"), 0), Offer::Known);
    let mut running: VecDeque<_> = start_all(&mut scheduler, 0).into();
    assert_eq!(running.len(), 5);
    let mut most = 0;
    while let Some(done) = running.pop_front() {
        assert!(scheduler.finished(&done, Contact::Reached, 0).is_empty());
        running.extend(start_all(&mut scheduler, 0));
        most = most.max(running.len());
    }
    assert_eq!((most, scheduler.active()), (20, 0));
}

#[test]
fn a_dead_destination_gives_everything_back_and_comes_alive_by_one() {
    let mut scheduler = scheduler(|_| {});
    for number in 0..50 {
        scheduler.offer(entry(number, "a", "dead"), 0);
    }
    let running = start_all(&mut scheduler, 0);
    assert_eq!(running.len(), 5);
    let mut drained = Vec::new();
    for attempt in &running {
        drained.extend(scheduler.finished(attempt, Contact::Failed, 1_000));
    }
    assert_eq!(drained.len(), 45);
    assert_eq!(scheduler.offer(entry(100, "a", "dead"), 2_000), Offer::Dead);
    assert_eq!(scheduler.offer(entry(101, "a", "live"), 2_000), Offer::Taken);
    assert_eq!(start_all(&mut scheduler, 2_000).len(), 1);
    // After a minute one is let through; while it fails, the rest doubles.
    let mut now = 61_001;
    for rest in [120_000, 240_000, 480_000, 960_000, 1_800_000, 1_800_000] {
        for number in 0..3 {
            assert_eq!(scheduler.offer(entry(number, "a", "dead"), now), Offer::Taken);
        }
        let probe = start_all(&mut scheduler, now);
        assert_eq!(probe.len(), 1);
        assert_eq!(scheduler.finished(&probe[0], Contact::Failed, now).len(), 2);
        assert_eq!(scheduler.offer(entry(0, "a", "dead"), now + rest - 1), Offer::Dead);
        now += rest;
    }
    scheduler.revive();
    for number in 0..9 {
        assert_eq!(scheduler.offer(entry(number, "a", "dead"), now), Offer::Taken);
    }
    let probe = start_all(&mut scheduler, now);
    assert!(scheduler.finished(&probe[0], Contact::Reached, now).is_empty());
    assert_eq!(start_all(&mut scheduler, now).len(), 2);
    assert_eq!(scheduler.doubtful, 0);
}

#[test]
fn one_failure_among_successes_is_no_death() {
    let mut scheduler = scheduler(|_| {});
    for number in 0..200 {
        scheduler.offer(entry(number, "a", "x"), 0);
    }
    for round in 0..30 {
        let Some(attempt) = scheduler.next(0) else { panic!("dead in round {round}") };
        let contact = if round % 3 == 0 { Contact::Failed } else { Contact::Reached };
        assert!(scheduler.finished(&attempt, contact, 0).is_empty());
    }
}

#[test]
fn senders_and_destinations_take_turns() {
    let mut scheduler = scheduler(|limits| limits.total = 4);
    for number in 0..1_000 {
        scheduler.offer(entry(number, "bulk", ["x", "y"][number as usize % 2]), 0);
    }
    scheduler.offer(entry(5_000, "ann", "x"), 0);
    let first = start_all(&mut scheduler, 0);
    assert_eq!(first.len(), 4);
    assert!(first[..2].iter().any(|entry| entry.sender == "ann"), "{first:?}");
    let mut by_destination = BTreeMap::<_, usize>::new();
    for entry in &first {
        *by_destination.entry(entry.destination.clone()).or_default() += 1;
    }
    assert_eq!(by_destination.len(), 2);
}

#[test]
fn what_is_held_is_bounded_and_those_sent_away_are_asked_for() {
    let mut scheduler = scheduler(|limits| (limits.waiting, limits.waiting_per_destination) = (6, 4));
    let offers: Vec<_> = (0..3).map(|number| scheduler.offer(entry(number, "a", "x"), 0)).collect();
    // One sender has half of the room, and no more.
    assert_eq!(offers, [Offer::Taken, Offer::Taken, Offer::LaneFull]);
    let offers: Vec<_> = (3..6).map(|number| scheduler.offer(entry(number, "b", "x"), 0)).collect();
    assert_eq!(offers, [Offer::Taken, Offer::Taken, Offer::LaneFull]);
    for (number, sender) in [(10, "a"), (11, "c")] {
        assert_eq!(scheduler.offer(entry(number, sender, "y"), 0), Offer::Taken);
    }
    assert_eq!(scheduler.offer(entry(20, "d", "z"), 0), Offer::Full);
    assert_eq!(scheduler.take_starved(), None);
    let running = start_all(&mut scheduler, 0);
    assert_eq!(running.len(), 6);
    assert_eq!(scheduler.take_starved(), Some(entry(2, "a", "x").due), "the first that was sent away");
    assert_eq!(scheduler.take_starved(), None);
}

#[test]
fn a_pace_is_kept() {
    let pace = HashMap::from([("slow".to_owned(), Duration::from_secs(2))]);
    let mut scheduler = scheduler(|limits| limits.pace = pace);
    for number in 0..3 {
        scheduler.offer(entry(number, "a", "slow"), 0);
    }
    let mut starts = Vec::new();
    let mut now = 0;
    while starts.len() < 3 {
        match scheduler.next(now) {
            Some(_) => starts.push(now),
            None => now = scheduler.wake_at(now).unwrap(),
        }
    }
    assert_eq!(starts, [0, 2_000, 4_000]);
}

#[test]
fn a_hundred_hanging_destinations_leave_room_for_live_ones() {
    let mut scheduler = scheduler(|limits| limits.total = 40);
    // All of them have failed once and are to be tried again.
    for number in 0..100 {
        let destination = format!("dead{number}");
        for _ in 0..5 {
            scheduler.offer(entry(number, "a", &destination), 0);
            for attempt in start_all(&mut scheduler, 0) {
                scheduler.finished(&attempt, Contact::Failed, 0);
            }
        }
    }
    let now = 2_000_000;
    for number in 0..100 {
        assert_eq!(scheduler.offer(entry(number, "a", &format!("dead{number}")), now), Offer::Taken);
    }
    assert_eq!(start_all(&mut scheduler, now).len(), 10);
    for number in 1_000..1_030 {
        scheduler.offer(entry(number, "a", &format!("live{number}")), now);
    }
    let started = start_all(&mut scheduler, now);
    assert_eq!(started.len(), 30);
    assert!(started.iter().all(|entry| entry.destination.starts_with("live")));
}

#[test]
fn the_urgent_goes_first_and_has_room_when_there_is_none() {
    let mut scheduler = scheduler(|limits| {
        (limits.total, limits.waiting, limits.waiting_per_destination) = (1, 10, 20);
    });
    let of = |number, priority| {
        let mut entry = entry(number, &format!("s{number}"), "x");
        entry.priority = priority;
        entry
    };
    for number in 0..10 {
        assert_eq!(scheduler.offer(of(number, if number == 4 { -3 } else { 0 }), 0), Offer::Taken);
    }
    assert_eq!(scheduler.offer(of(10, 0), 0), Offer::Full);
    assert_eq!(scheduler.offer(of(11, 5), 0), Offer::Taken);
    assert_eq!(scheduler.offer(of(12, 9), 0), Offer::Full);
    let mut order = Vec::new();
    while let Some(next) = scheduler.next(0) {
        order.push(next.due.number.get());
        scheduler.finished(&next, Contact::Reached, 0);
    }
    assert_eq!(order, [11, 0, 1, 2, 3, 5, 6, 7, 8, 9, 4]);
}
