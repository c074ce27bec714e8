//! How much room a session takes that only waits: a server holds thousands of them.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{mem::size_of_val, sync::Arc};

use mailwright::{
    Authenticator, ListenerTls, Pipe, imap, imap_proto,
    line_proto::{Peer, Secret},
    mailstore::{
        self, ScriptLimits, User,
        accounts::{Accounts, LoginError, LoginRequest, Recipients},
        memory::Memory,
    },
    managesieve::ManageSieve,
    pop3::Pop3,
    pop3_proto,
    relay_policy::Chain,
    sieve::{self, Language},
    smtp::{Smtp, StoreInbox},
    smtp_proto,
};
use tokio_util::sync::CancellationToken;

/// In octets. Whoever needs more asks whether it must be there while the session waits.
const MOST: usize = 4_500;

struct Nobody;

impl Accounts for Nobody {
    async fn login(&self, _: &LoginRequest) -> Result<User, LoginError> {
        Err(LoginError::Credentials)
    }
}

impl Recipients for Nobody {
    async fn lookup(&self, _: &str) -> mailstore::Result<Option<User>> {
        Ok(None)
    }
}

/// The future of a session is what its task is made of, with the machine in it. What a session does now and then is in boxes
/// that are there while it does it.
#[test]
fn sessions_that_wait_are_small() {
    let store = Arc::new(Memory::new());
    let authenticator = Arc::new(Authenticator::new(Nobody, Secret::from("salt")));
    let (peer, stop) = (Peer::unknown(), CancellationToken::new());
    let pipe = || Pipe::pair(1).0;
    let config = smtp_proto::server::Config::smtp("mail.example.org").unwrap();
    let inbox = StoreInbox::new(Memory::new(), Nobody, Chain::default(), "mail.example.org");
    let smtp = Smtp::new(Arc::new(inbox), Some(Arc::clone(&authenticator)), ListenerTls::None, config);
    let imap = imap::Imap::new(
        Arc::clone(&store),
        Arc::clone(&authenticator),
        ListenerTls::None,
        imap_proto::server::Config::default(),
    );
    let pop3 = Pop3::new(
        Arc::clone(&store),
        Arc::clone(&authenticator),
        ListenerTls::None,
        pop3_proto::server::Config::default(),
    );
    let managesieve = ManageSieve::new(
        store,
        authenticator,
        Arc::new(Language::standard()),
        ListenerTls::None,
        sieve::managesieve::server::Config::default(),
        ScriptLimits::new(1, 1),
    );
    let sizes = [
        ("smtp", size_of_val(&smtp.session(pipe(), peer, stop.clone()))),
        ("imap", size_of_val(&imap.session(pipe(), peer, stop.clone()))),
        ("pop3", size_of_val(&pop3.session(pipe(), peer, stop.clone()))),
        ("managesieve", size_of_val(&managesieve.session(pipe(), peer, stop))),
    ];
    println!("{sizes:?}");
    for (protocol, size) in sizes {
        assert!(size <= MOST, "a session of {protocol} takes {size} octets, more than {MOST}");
    }
}
