//! Many IMAP clients at once over real sockets, each in a random state and each knowing what it may be told: what
//! Dovecot's imaptest does for servers, as a test of ours.
//!
//! `STRESS_SECONDS=600` plays for ten minutes, `STRESS_CLIENTS=n` with so many clients, `STRESS_SEED=n` with the same dice.
//! `STRESS_SERVER=127.0.0.1:143` tries another server, with the accounts `STRESS_USERS=name:password,name:password`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "stress/client.rs"]
mod client;
mod common;
#[path = "common/dovecot.rs"]
mod dovecot;
#[path = "stress/ledger.rs"]
mod ledger;
#[path = "stress/view.rs"]
mod view;
#[path = "stress/wire.rs"]
mod wire;

use std::{
    env,
    net::SocketAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use client::Client;
use common::{PASSWORD, Server, USER, assert_well, free_port};
use dovecot::Dovecot;
use ledger::Ledger;

/// How long it takes unless told otherwise.
const SECONDS: u64 = 5;
const CLIENTS: u64 = 50;
const ACCOUNTS: usize = 4;

fn number(name: &str, otherwise: u64) -> u64 {
    env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}: a number")))
}

/// Whom to play against.
struct Arena {
    server: Option<Server>,
    address: SocketAddr,
    users: Vec<(String, String)>,
}

impl Arena {
    fn new() -> Self {
        if let Ok(address) = env::var("STRESS_SERVER") {
            let users = env::var("STRESS_USERS").expect("STRESS_USERS=name:password,…");
            let users = users.split(',').map(|user| {
                let (name, password) = user.split_once(':').expect("name:password");
                (name.to_owned(), password.to_owned())
            });
            return Self { server: None, address: address.parse().unwrap(), users: users.collect() };
        }
        let mut server = Server::prepare("allow_plaintext_auth = true");
        let users: Vec<_> =
            (0..ACCOUNTS).map(|index| (format!("user{index}@example.org"), PASSWORD.to_owned())).collect();
        for (name, password) in &users {
            server.add_user(name, password);
        }
        server.add_user(USER, PASSWORD);
        server.serve();
        let address = SocketAddr::from(([127, 0, 0, 1], server.port("imap", "starttls")));
        Self { server: Some(server), address, users }
    }
}

#[test]
fn fifty_clients_are_told_nothing_that_cannot_be() {
    play(&Arena::new());
}

/// What is expected is of the protocol, not of one server.
#[test]
fn dovecot_meets_the_same_expectations() {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let Some(_dovecot) = Dovecot::for_anybody(folder.path(), port, PASSWORD) else { return };
    let users = (0..ACCOUNTS).map(|index| (format!("user{index}@example.org"), PASSWORD.to_owned()));
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    play(&Arena { server: None, address, users: users.collect() });
}

fn play(arena: &Arena) {
    let ours = arena.server.is_some();
    let seed = number("STRESS_SEED", u64::from(std::process::id()));
    let end = Instant::now() + Duration::from_secs(number("STRESS_SECONDS", SECONDS));
    let ledgers: Vec<Arc<Ledger>> = arena.users.iter().map(|_| Arc::default()).collect();
    for ((name, password), ledger) in arena.users.iter().zip(&ledgers) {
        let login = (name.clone(), password.clone());
        let mut first = Client::new(u64::MAX, arena.address, login, Arc::clone(ledger), seed, ours);
        first.prepare().unwrap_or_else(|why| panic!("{}\n{why}", first.transcript()));
    }
    let clients: Vec<_> = (0..number("STRESS_CLIENTS", CLIENTS))
        .map(|index| {
            let at = index as usize % arena.users.len();
            let ((name, password), ledger) = (arena.users[at].clone(), Arc::clone(&ledgers[at]));
            let address = arena.address;
            thread::spawn(move || {
                let mut client = Client::new(index, address, (name, password), ledger, seed, ours);
                let played = client.play(end);
                (client, played)
            })
        })
        .collect();
    let mut failures = Vec::new();
    let mut at_rest = Vec::new();
    for client in clients {
        let (client, played) = client.join().expect("a client panicked");
        match played {
            Ok(()) => at_rest.push(client),
            Err(why) => failures.push(format!("{}\n{why}", client.transcript())),
        }
    }
    assert!(failures.is_empty(), "STRESS_SEED={seed}: {} clients\n{}", failures.len(), failures[0]);
    // Now that nothing changes any more, all see the same.
    for client in &mut at_rest {
        if let Err(why) = client.settle() {
            panic!("STRESS_SEED={seed}: {}\n{why}", client.transcript());
        }
    }
    let mut total = 0;
    for (ledger, (name, _)) in ledgers.iter().zip(&arena.users) {
        ledger.agree().unwrap_or_else(|why| panic!("STRESS_SEED={seed}: {name}: {why}"));
        let counts = ledger.counts();
        total += counts.values().sum::<u64>();
        println!("{name}: {counts:?}");
    }
    println!("{} clients, {total} commands, seed {seed}", at_rest.len());
    assert!(total > 0);
    if let Some(server) = &arena.server {
        assert_well(server, 400);
    }
}
