//! Random sessions against a simple model of a mailbox: many users' clients over one store, in simulated time and
//! without sockets. What a client is told must always add up to what the model says.
//!
//! `MODEL_SEED=n` plays one seed and shows its transcript if it fails; `MODEL_SEEDS=n` plays so many.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

#[path = "model/mail.rs"]
mod mail;
#[path = "model/messages.rs"]
mod messages;
#[path = "model/play.rs"]
mod play;
#[path = "model/resync.rs"]
mod resync;
#[path = "model/search.rs"]
mod search;
#[path = "model/session.rs"]
mod session;
#[path = "model/view.rs"]
mod view;
#[path = "model/world.rs"]
mod world;

use std::{
    env,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

/// How many seeds are played unless told otherwise.
const SEEDS: u64 = 2000;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

#[test]
fn what_random_clients_are_told_adds_up() {
    let seeds = match number("MODEL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("MODEL_SEEDS").unwrap_or(SEEDS),
    };
    let next = AtomicU64::new(seeds.start);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    if let Err(why) = play::play(seed) {
                        next.store(u64::MAX / 2, Ordering::Relaxed);
                        panic!("{why}\nMODEL_SEED={seed} plays this again");
                    }
                }
            });
        }
    });
}
