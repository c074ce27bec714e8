//! What guesses cost, by whichever mechanism and under whichever name they are made.

use std::time::Instant;

use tokio::time;

use super::*;

#[tokio::test(start_paused = true)]
async fn guessing_is_slowed_down_and_ends_in_a_ban_whatever_the_mechanism() {
    let limits = ThrottleLimits { failures_per_address: 3, ..ThrottleLimits::default() };
    let authenticator = everything().with_throttle(Arc::new(Throttle::new(limits)));
    let peer = |address: &str| Peer::new(Some(address.parse().unwrap()), None);
    let (home, away) = (peer("192.0.2.7:1"), peer("198.51.100.1:1"));
    let alice = Proof::new("alice", "pencil".into());
    play(&authenticator, "PLAIN", &alice, &home).await.unwrap();
    let started = time::Instant::now();
    for (name, user) in [("PLAIN", "alice"), ("SCRAM-SHA-256", "nobody"), ("CRAM-MD5", "alice")] {
        let guess = Proof::new(user, "pen".into());
        assert_eq!(play(&authenticator, name, &guess, &away).await, Err(AuthRefusal::Credentials), "{name}");
    }
    assert_eq!(started.elapsed().as_millis(), 250 + 500 + 1000);
    let asked = authenticator.accounts.asked.load(Ordering::Relaxed);
    // Banned: not even tried, and not told whether it would have been right.
    for name in ["PLAIN", "SCRAM-SHA-512", "CRAM-MD5"] {
        assert_eq!(play(&authenticator, name, &alice, &away).await, Err(AuthRefusal::Unavailable), "{name}");
    }
    assert_eq!(authenticator.accounts.asked.load(Ordering::Relaxed), asked);
    // At home she is let in, and there somebody lifts the ban.
    play(&authenticator, "PLAIN", &alice, &home).await.unwrap();
    let bans = authenticator.throttle().bans(Instant::now());
    let [ban] = &bans[..] else { panic!() };
    assert_eq!(ban.users, ["nobody", "alice"]);
    assert!(authenticator.throttle().lift(ban.network));
    play(&authenticator, "PLAIN", &alice, &away).await.unwrap();
}

/// The server says why, and refuses when the client has said a word to that (RFC 7628 §3.2.3), which a guesser leaves out.
#[tokio::test(start_paused = true)]
async fn a_token_is_counted_when_it_is_refused_and_once() {
    let peer = Peer::new(Some("198.51.100.1:1".parse().unwrap()), None);
    for (name, message) in [
        ("OAUTHBEARER", "n,a=alice,\x01auth=Bearer guess\x01\x01"),
        ("XOAUTH2", "user=alice\x01auth=Bearer guess\x01\x01"),
    ] {
        for goes_on in [false, true] {
            let limits = ThrottleLimits { failures_per_address: 3, ..ThrottleLimits::default() };
            let authenticator = everything().with_throttle(Arc::new(Throttle::new(limits)));
            for count in 1..=3 {
                assert_eq!(authenticator.throttle().bans(Instant::now()), []);
                let mut exchange = None;
                let ask = Authenticate::new(name.to_owned(), Some(message.into()));
                let told = authenticator.step(&mut exchange, &ask, &peer, Some(&tls()), Service::Imap).await;
                assert!(matches!(told, (AuthStep::Challenge(_), None)), "{told:?}");
                if goes_on {
                    let mut ask = Authenticate::new(name.to_owned(), Some("\x01".into()));
                    ask.continues = true;
                    let step =
                        authenticator.step(&mut exchange, &ask, &peer, Some(&tls()), Service::Imap).await;
                    // Not another reason where the third was one too many.
                    assert_eq!(step, (AuthStep::Refuse(AuthRefusal::Credentials), None), "{count}");
                }
            }
            let bans = authenticator.throttle().bans(Instant::now());
            assert_eq!((bans.len(), bans[0].failures, &bans[0].users[..]), (1, 3, &["alice".to_owned()][..]));
            let guess = Proof::bearer("alice", "token".into());
            assert_eq!(play(&authenticator, name, &guess, &peer).await, Err(AuthRefusal::Unavailable));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_password_that_follows_its_own_refused_proof_is_the_same_guess() {
    const SCRAM: &str = "SCRAM-SHA-256";
    const COMMAND: &str = "a command";
    let peer = Peer::new(Some("198.51.100.1:1".parse().unwrap()), None);
    // Who tries what on one connection, and how often that counts.
    for (tried, count) in [
        (&[(SCRAM, "alice", "pen"), ("PLAIN", "alice", "pen")][..], 1),
        (&[(SCRAM, "nobody", "pen"), ("LOGIN", "nobody", "pen")], 1),
        (&[(SCRAM, "alice", "pen"), ("PLAIN", "alice", "pen"), ("PLAIN", "alice", "pen")], 2),
        (&[(SCRAM, "alice", "pen"), ("PLAIN", "alice", "pan")], 2),
        (&[(SCRAM, "alice", "pen"), ("PLAIN", "nobody", "pen")], 2),
        (&[(SCRAM, "alice", "pen"), (SCRAM, "alice", "pen"), ("PLAIN", "alice", "pen")], 2),
        (&[("PLAIN", "alice", "pen"), (SCRAM, "alice", "pen")], 2),
        // An account that has no keys: the proof was no failure.
        (&[(SCRAM, "keyless", "pencil"), ("PLAIN", "keyless", "pencil")], 0),
        (&[(SCRAM, "keyless", "pen"), ("PLAIN", "keyless", "pencil")], 1),
        // LOGIN of IMAP, and USER with PASS of POP3.
        (&[(SCRAM, "alice", "pen"), (COMMAND, "alice", "pen")], 1),
        (&[(SCRAM, "alice", "pen"), (COMMAND, "alice", "pan")], 2),
        (&[(SCRAM, "alice", "pen"), (COMMAND, "nobody", "pen")], 2),
        (&[(SCRAM, "alice", "pen"), (COMMAND, "alice", "pen"), (COMMAND, "alice", "pen")], 2),
        (&[(COMMAND, "alice", "pen"), (SCRAM, "alice", "pen")], 2),
        (&[(SCRAM, "keyless", "pencil"), (COMMAND, "keyless", "pencil")], 0),
    ] {
        let limits = ThrottleLimits { failures_per_address: 5, ..ThrottleLimits::default() };
        let authenticator = everything().with_throttle(Arc::new(Throttle::new(limits)));
        let mut exchange = None;
        for (mechanism, user, password) in tried {
            let told = match *mechanism {
                COMMAND => {
                    let login = Login::new(*user, (*password).into());
                    authenticator.password_after(&mut exchange, &login, &peer, true, Service::Imap).await
                }
                mechanism => {
                    let proof = Proof::new(*user, (*password).into());
                    play_after(&mut exchange, &authenticator, mechanism, &proof, &peer).await
                }
            };
            let right = *password == "pencil" && *mechanism != SCRAM;
            assert_eq!(told.err(), (!right).then_some(AuthRefusal::Credentials), "{tried:?}");
        }
        let guess = Proof::new("admin", "pen".into());
        let mut more = 0;
        while authenticator.throttle().bans(Instant::now()).is_empty() {
            play(&authenticator, "PLAIN", &guess, &peer).await.unwrap_err();
            more += 1;
        }
        assert_eq!(count + more, 5, "{tried:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn guesses_at_one_account_count_together_however_it_is_spelled() {
    let limits =
        ThrottleLimits { failures_per_user: 4, failures_per_address: 0, ..ThrottleLimits::default() };
    let authenticator = |spellings: bool| {
        let made = everything()
            .with_throttle(Arc::new(Throttle::new(limits.clone())))
            .with_masters(MasterUsers::new(["admin"], Some('*')));
        if spellings { made.with_spellings(|name| known(name).map(str::to_owned)) } else { made }
    };
    for (spellings, names) in [
        (false, ["alice@a.test", "Alice@A.TEST", "\"alice\"@a.test", "\"al\\ice\"@a.test", "alice@a.test"]),
        (false, ["admin", "alice*admin", "guest*admin", "nobody*Admin", "admin"]),
        (true, ["alice", "Alice", "alice", "Alice", "alice"]),
    ] {
        let authenticator = authenticator(spellings);
        let mut answers = Vec::new();
        for (number, name) in names.iter().enumerate() {
            // Each from elsewhere, as a botnet does it.
            let peer = Peer::new(Some(format!("198.51.100.{number}:1").parse().unwrap()), None);
            let login = Login::new(*name, "pen".into());
            answers.push(authenticator.password(&login, &peer, true, Service::Imap).await.unwrap_err());
        }
        let expected = [vec![AuthRefusal::Credentials; 4], vec![AuthRefusal::Unavailable]].concat();
        assert_eq!(answers, expected, "{names:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn guests_buy_no_guesses_at_the_password_of_their_account() {
    let limits =
        ThrottleLimits { failures_per_address: 3, failures_per_user: 4, ..ThrottleLimits::default() };
    let authenticator = everything().with_throttle(Arc::new(Throttle::new(limits)));
    let from = |last: u8| Peer::new(Some(format!("198.51.{last}.1:1").parse().unwrap()), None);
    let (guess, anyone) = (Proof::new("guest", "pen".into()), Proof::anonymous("me"));
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(play(&authenticator, "PLAIN", &guess, &from(1)).await.unwrap_err());
        let comes = play(&authenticator, "ANONYMOUS", &anyone, &from(1)).await.is_ok();
        assert_eq!(comes, answers.len() < 3, "banned with the rest");
    }
    assert_eq!(answers, [vec![AuthRefusal::Credentials; 3], vec![AuthRefusal::Unavailable]].concat());
    // Whatever is guessed elsewhere, guests come in.
    play(&authenticator, "PLAIN", &guess, &from(2)).await.unwrap_err();
    assert_eq!(play(&authenticator, "PLAIN", &guess, &from(3)).await, Err(AuthRefusal::Unavailable));
    play(&authenticator, "ANONYMOUS", &anyone, &from(3)).await.unwrap();
}
