//! What names and passwords are once they are prepared, and whose secrets a name stands for.

use std::time::Instant;

use mailwright_mailstore::accounts::from_fn;
use mailwright_pop3_proto::{Apop, Timestamp};

use super::*;

fn from(address: &str) -> Peer {
    Peer::new(Some(format!("{address}:1").parse().unwrap()), None)
}

/// RFC 4616 §2: what is compared is prepared; what was hashed elsewhere need not have been.
#[tokio::test(start_paused = true)]
async fn a_password_is_right_as_it_is_prepared_and_as_it_was_shown_and_is_one_guess() {
    for (shown, prepared) in [("m²-x", "m2-x"), ("e\u{301}", "é"), ("a\u{a0}b", "a b"), ("pencil", "pencil")]
    {
        for stored in [shown, prepared, "another"] {
            let accounts = from_fn(move |request: LoginRequest| async move {
                match request.credentials.is_password(stored.as_bytes()) {
                    true => User::new(&request.user).map_err(|_| LoginError::Unavailable),
                    false => Err(LoginError::Credentials),
                }
            });
            let limits = ThrottleLimits { failures_per_address: 4, ..ThrottleLimits::default() };
            let authenticator =
                Authenticator::new(accounts, "secret".into()).with_throttle(Arc::new(Throttle::new(limits)));
            let (peer, login) = (from("192.0.2.1"), Login::new("tim", shown.into()));
            let mut opened = Vec::new();
            for service in [Service::Imap, Service::Pop3, Service::Submission] {
                opened.push(authenticator.password(&login, &peer, true, service).await.map(|_| ()));
            }
            let plain =
                Authenticate::new("PLAIN".to_owned(), Some(format!("\0tim\0{shown}").as_str().into()));
            let (step, _) = authenticator.step(&mut None, &plain, &peer, Some(&tls()), Service::Imap).await;
            opened.push(if step == AuthStep::Accept { Ok(()) } else { Err(AuthRefusal::Credentials) });
            let right = stored != "another";
            let expected = if right { Ok(()) } else { Err(AuthRefusal::Credentials) };
            assert_eq!(opened, vec![expected; 4], "{shown} stored as {stored}");
            let bans = authenticator.throttle().bans(Instant::now());
            assert_eq!(
                bans.iter().map(|ban| ban.failures).collect::<Vec<_>>(),
                [4].repeat(usize::from(!right))
            );
        }
    }
}

/// What no protocol takes for text is no password but IMAP's, whose octets are what they are.
#[tokio::test]
async fn what_cannot_be_prepared() {
    let authenticator = Authenticator::new(
        from_fn(|request: LoginRequest| async move {
            match request.credentials.is_password(b"caf\xe9") {
                true => User::new(&request.user).map_err(|_| LoginError::Unavailable),
                false => Err(LoginError::Credentials),
            }
        }),
        "secret".into(),
    );
    let login = Login::new("tim", Secret::from(&b"caf\xe9"[..]));
    for (service, right) in [(Service::Imap, true), (Service::Pop3, false)] {
        let opened = authenticator.password(&login, &Peer::unknown(), true, service).await;
        assert_eq!(opened.is_ok(), right, "{service}");
    }
}

/// Begins an exchange of SCRAM: the salt that is told.
async fn salt(
    authenticator: &Authenticator<Everything>,
    name: &str,
    peer: &Peer,
) -> Result<String, AuthRefusal> {
    let first = format!("n,,n={name},r=fyko+d2lbbFgONRv9qkxdawL");
    let ask = Authenticate::new("SCRAM-SHA-256".to_owned(), Some(first.as_str().into()));
    match authenticator.step(&mut None, &ask, peer, Some(&tls()), Service::Imap).await.0 {
        AuthStep::Challenge(challenge) => {
            let challenge = String::from_utf8(challenge.to_vec()).unwrap();
            Ok(challenge.split(',').find(|part| part.starts_with("s=")).unwrap().to_owned())
        }
        AuthStep::Refuse(why) => Err(why),
        other => panic!("{other:?}"),
    }
}

/// An account has one salt by whatever spelling it is asked for; so has a name that is nobody's.
#[tokio::test]
async fn salts_do_not_tell_which_names_have_accounts() {
    let peer = Peer::unknown();
    let plain = everything();
    // One main name for two domains, as a directory has it.
    let spelled = everything()
        .with_spellings(|name| Some(name.to_lowercase().replace('"', "").replace("@second.test", "@a.test")));
    for (authenticator, same) in [
        (&plain, &["nobody@a.test", "Nobody@A.TEST", "\"nobody\"@a.test", "NOBODY@a.test"][..]),
        (&plain, &["nobody", "Nobody"]),
        (&spelled, &["nobody@a.test", "\"Nobody\"@Second.test", "NOBODY@a.test"]),
    ] {
        let first = salt(authenticator, same[0], &peer).await.unwrap();
        for name in same {
            assert_eq!(salt(authenticator, name, &peer).await.as_ref(), Ok(&first), "{name}");
        }
        assert_ne!(salt(authenticator, "somebody@a.test", &peer).await.unwrap(), first);
    }
}

/// Nothing is guessed by it, but who asks for salts of many names wants to know something.
#[tokio::test(start_paused = true)]
async fn exchanges_left_behind_the_salt_count_after_a_while() {
    let limits = ThrottleLimits { failures_per_address: 3, ..ThrottleLimits::default() };
    let authenticator = everything().with_throttle(Arc::new(Throttle::new(limits)));
    let (home, away) = (from("192.0.2.1"), from("198.51.100.1"));
    let right = Proof::new("alice", "pencil".into());
    // Those that go on to their end are none of them, from wherever.
    for _ in 0..50 {
        play(&authenticator, "SCRAM-SHA-256", &right, &home).await.unwrap();
    }
    let mut told = 0;
    while salt(&authenticator, &format!("user{told}"), &away).await.is_ok() {
        told += 1;
        assert!(told < 100, "never banned");
    }
    assert_eq!(told, 23);
    assert_eq!(salt(&authenticator, "alice", &away).await, Err(AuthRefusal::Unavailable));
    play(&authenticator, "SCRAM-SHA-256", &right, &home).await.unwrap();
    // A malformed end is none.
    let elsewhere = from("203.0.113.1");
    let mut told = 0;
    loop {
        let mut exchange = None;
        let first = Some("n,,n=nobody,r=fyko+d2lbbFgONRv9qkxdawL".into());
        let begin = Authenticate::new("SCRAM-SHA-256".to_owned(), first);
        let tls = tls();
        let step = authenticator.step(&mut exchange, &begin, &elsewhere, Some(&tls), Service::Imap).await.0;
        if !matches!(step, AuthStep::Challenge(_)) {
            break;
        }
        let end = Authenticate::response("SCRAM-SHA-256".to_owned(), "nonsense".into());
        let step = authenticator.step(&mut exchange, &end, &elsewhere, Some(&tls), Service::Imap).await.0;
        assert_eq!(step, AuthStep::Refuse(AuthRefusal::Malformed));
        told += 1;
        assert!(told < 100, "never banned");
    }
    assert_eq!(told, 23);
}

/// The proof is the master's, as the password is.
#[tokio::test]
async fn a_master_proves_what_the_master_knows() {
    let limits = ThrottleLimits { failures_per_user: 3, ..ThrottleLimits::default() };
    let authenticator = everything()
        .with_masters(MasterUsers::new(["admin"], Some('*')))
        .with_throttle(Arc::new(Throttle::new(limits)));
    let peer = Peer::unknown();
    let proof = |name: &str, password: &str| Proof::new(name, password.into());
    for name in ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512-PLUS", "CRAM-MD5"] {
        let opened = play(&authenticator, name, &proof("alice*admin", "pencil"), &peer).await.unwrap();
        assert_eq!((opened.as_str(), opened.opener()), ("alice", Some("admin")), "{name}");
        for (user, password) in [
            ("alice*admin", "pen"),
            ("nobody*admin", "pencil"),
            ("admin*alice", "pencil"),
            ("alice*nobody", "pencil"),
        ] {
            let refused = play(&authenticator, name, &proof(user, password), &peer).await;
            assert!(refused.is_err(), "{name} {user}");
        }
    }
    // With an authorization identity the whole name is who logs in.
    let acting = proof("alice*admin", "pencil").acting_as("alice");
    assert!(play(&authenticator, "SCRAM-SHA-256", &acting, &peer).await.is_err());
    let timestamp = Timestamp::new("<1896.697170952@dbc.mtview.ca.us>").unwrap();
    for (name, password, opened) in [
        ("alice*admin", "pencil", Some("alice")),
        ("alice*admin", "pen", None),
        ("admin*alice", "pencil", None),
        ("alice", "pencil", Some("alice")),
    ] {
        let login = Apop::new(name, sasl::apop_digest(timestamp.as_str(), &password.into()));
        let user = authenticator.apop(&login, &timestamp, &peer, true, Service::Pop3).await;
        assert_eq!(user.ok().as_ref().map(User::as_str), opened, "{name}");
    }
}

/// RFC 4616 §2: mutt says that it acts as whom it logs in as. Accounts that know passwords and nothing else let it in.
#[tokio::test]
async fn who_acts_as_themselves_logs_in() {
    let accounts = from_fn(|request: LoginRequest| async move {
        let known = request.user == "tim" && request.credentials.is_password(b"pencil");
        let opened = known.then(|| User::new("tim@example.org"));
        opened.and_then(Result::ok).ok_or(LoginError::Credentials)
    });
    let authenticator = Authenticator::new(accounts, "secret".into());
    for (other, accepted) in [("", true), ("tim", true), ("tim@example.org", true), ("tom", false)] {
        let plain =
            Authenticate::new("PLAIN".to_owned(), Some(format!("{other}\0tim\0pencil").as_str().into()));
        let (peer, inside) = (Peer::unknown(), tls());
        let (step, _) = authenticator.step(&mut None, &plain, &peer, Some(&inside), Service::Imap).await;
        assert_eq!(step == AuthStep::Accept, accepted, "{other}: {step:?}");
    }
}
