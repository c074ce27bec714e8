//! Logins over accounts that can do everything.

use std::sync::{
    LazyLock,
    atomic::{AtomicUsize, Ordering},
};

use mailwright_line_proto::{
    AuthStep, Authenticate, Login, TlsInfo,
    sasl::{Client, Context, Credentials as Proof, Mechanism, ScramKeys as Keys},
    testing::MockRealm,
};
use mailwright_mailstore::accounts::{
    BearerTokens, Certificates, ScramKeys, SharedPasswords, StoredKeys, from_fn,
};

use super::*;

mod guessing;
mod names;

/// Accounts with the password `pencil`, of which `keyless` has no keys, and a guest. Alice's alias is `al`.
#[derive(Default)]
struct Everything {
    asked: AtomicUsize,
}

fn known(name: &str) -> Option<&'static str> {
    match name {
        "alice" | "Alice" => Some("alice"),
        "admin" => Some("admin"),
        "guest" => Some("guest"),
        "keyless" => Some("keyless"),
        _ => None,
    }
}

impl Accounts for Everything {
    async fn login(&self, request: &LoginRequest) -> Result<User, LoginError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let account = known(&request.user).ok_or(LoginError::Credentials)?;
        if matches!(request.credentials, Credentials::Password(_))
            && !request.credentials.is_password(b"pencil")
        {
            return Err(LoginError::Credentials);
        }
        if request.authorization.as_deref().is_some_and(|other| known(other) != Some(account)) {
            return Err(LoginError::NotAuthorized);
        }
        User::new(account).map_err(|_| LoginError::Unavailable)
    }

    fn scram(&self) -> Option<&impl ScramKeys> {
        Some(self)
    }

    fn shared(&self) -> Option<&impl SharedPasswords> {
        Some(self)
    }

    fn bearer(&self) -> Option<&impl BearerTokens> {
        Some(self)
    }

    fn certificates(&self) -> Option<&impl Certificates> {
        Some(self)
    }

    fn guest(&self) -> Option<String> {
        Some("guest".into())
    }
}

impl ScramKeys for Everything {
    async fn keys(&self, user: &str, hash: ScramHash) -> Result<Option<StoredKeys>, LoginError> {
        let hash = match hash {
            ScramHash::Sha1 => sasl::ScramHash::Sha1,
            ScramHash::Sha256 => sasl::ScramHash::Sha256,
            _ => sasl::ScramHash::Sha512,
        };
        let keys = Keys::derive(hash, &"pencil".into(), b"saltsaltsaltsalt", 4096).unwrap();
        let stored = |key: &Secret| key.expose().to_vec();
        Ok(known(user).filter(|name| *name != "keyless").map(|_| {
            StoredKeys::new(keys.salt().to_vec(), 4096, stored(keys.stored_key()), stored(keys.server_key()))
        }))
    }

    fn has(&self, _: ScramHash) -> bool {
        true
    }
}

impl SharedPasswords for Everything {
    async fn password(&self, user: &str) -> Result<Option<Vec<u8>>, LoginError> {
        Ok(known(user).map(|_| b"pencil".to_vec()))
    }
}

impl BearerTokens for Everything {
    async fn holder(&self, token: &[u8], _: Option<&str>) -> Result<String, LoginError> {
        if token == b"token" { Ok("alice".into()) } else { Err(LoginError::Credentials) }
    }
}

impl Certificates for Everything {
    async fn holder(&self, chain: &[Vec<u8>]) -> Result<String, LoginError> {
        if chain == [vec![1]] { Ok("alice".into()) } else { Err(LoginError::Credentials) }
    }
}

fn tls() -> TlsInfo {
    let mut tls = TlsInfo::default();
    tls.exporter = Some([9; 32]);
    tls.peer_certificates = vec![vec![1]];
    tls
}

/// Where the tickets are from.
static REALM: LazyLock<MockRealm> = LazyLock::new(|| MockRealm::new(2));

fn ticket(principal: &'static str) -> Proof {
    Proof::gssapi(move || Ok(REALM.initiator(principal)))
}

fn everything() -> Authenticator<Everything> {
    Authenticator::new(Everything::default(), "secret".into())
        .with_legacy(true)
        .with_gssapi(|_| Ok(REALM.acceptor()))
}

/// Plays the client's part to the end.
async fn play(
    authenticator: &Authenticator<Everything>,
    mechanism: &str,
    proof: &Proof,
    peer: &Peer,
) -> Result<User, AuthRefusal> {
    play_after(&mut None, authenticator, mechanism, proof, peer).await
}

/// The same behind what came before on the connection.
async fn play_after(
    exchange: &mut Option<Exchange>,
    authenticator: &Authenticator<Everything>,
    mechanism: &str,
    proof: &Proof,
    peer: &Peer,
) -> Result<User, AuthRefusal> {
    let tls = tls();
    // One that could bind the channel and does not is the victim of a downgrade (RFC 5802 §6).
    let context = Context::tls(&tls).allow_legacy();
    let bound = mechanism.ends_with("-PLUS");
    let context = if bound { context } else { context.without_channel_binding() };
    let mut client = Client::new(Mechanism::find(mechanism).unwrap(), proof, &context, [3; 32]).unwrap();
    let mut continues = false;
    let mut response = client.initial().map(|initial| Secret::from(&initial[..]));
    loop {
        let mut ask = Authenticate::new(mechanism.to_owned(), response.take());
        ask.continues = std::mem::replace(&mut continues, true);
        match authenticator.step(exchange, &ask, peer, Some(&tls), Service::Imap).await {
            (AuthStep::Challenge(challenge), None) => {
                response = Some(Secret::from(&client.respond(&challenge).unwrap_or_default()[..]));
            }
            (AuthStep::Accept, Some(user)) => return Ok(user),
            (AuthStep::Refuse(why), None) => return Err(why),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn every_mechanism_opens_the_account_and_no_other() {
    let authenticator = everything();
    let peer = Peer::unknown();
    let names = authenticator.mechanisms();
    assert_eq!(names.len(), 14, "{names:?}");
    for name in &names {
        let (right, wrong, whom) = match &**name {
            "EXTERNAL" => (Proof::certificate(), Proof::certificate().acting_as("admin"), "alice"),
            "OAUTHBEARER" | "XOAUTH2" => {
                (Proof::bearer("alice", "token".into()), Proof::bearer("alice", "other".into()), "alice")
            }
            "GSSAPI" => (ticket("alice"), ticket("alice").acting_as("admin"), "alice"),
            "ANONYMOUS" => (Proof::anonymous("me"), Proof::anonymous("me"), "guest"),
            _ => (Proof::new("alice", "pencil".into()), Proof::new("alice", "pen".into()), "alice"),
        };
        assert_eq!(play(&authenticator, name, &right, &peer).await.unwrap().as_str(), whom, "{name}");
        if name != "ANONYMOUS" {
            assert!(play(&authenticator, name, &wrong, &peer).await.is_err(), "{name}");
        }
        // An alias and a name that nobody has are refused alike.
        if !matches!(&**name, "EXTERNAL" | "GSSAPI" | "OAUTHBEARER" | "XOAUTH2" | "ANONYMOUS") {
            for nobody in ["al", "nobody"] {
                let refused = play(&authenticator, name, &Proof::new(nobody, "pencil".into()), &peer).await;
                assert_eq!(refused, Err(AuthRefusal::Credentials), "{name} {nobody}");
            }
        }
    }
    // A token of one for the account of another.
    let stolen = play(&authenticator, "XOAUTH2", &Proof::bearer("admin", "token".into()), &peer).await;
    assert_eq!(stolen, Err(AuthRefusal::NotAuthorized));
}

#[tokio::test]
async fn what_the_accounts_cannot_do_is_neither_announced_nor_done() {
    let simple = Authenticator::new(
        from_fn(|_: LoginRequest| async { Err::<User, _>(LoginError::Credentials) }),
        "secret".into(),
    );
    assert_eq!(simple.mechanisms(), ["PLAIN", "LOGIN"]);
    for name in ["SCRAM-SHA-256", "EXTERNAL", "GSSAPI", "ANONYMOUS", "OAUTHBEARER", "CRAM-MD5", "X-NONE"] {
        let ask = Authenticate::new(name.to_owned(), None);
        let peer = Peer::unknown();
        let (step, user) = simple.step(&mut None, &ask, &peer, Some(&tls()), Service::Pop3).await;
        assert_eq!((step, user), (AuthStep::Refuse(AuthRefusal::Mechanism), None), "{name}");
    }
    let modern = Authenticator::new(Everything::default(), "secret".into());
    assert!(!modern.mechanisms().iter().any(|name| name == "CRAM-MD5" || name.starts_with("SCRAM-SHA-1")));
}

#[tokio::test]
async fn guests_are_known_as_such_and_come_where_something_is_read() {
    let (authenticator, peer, inside) = (everything(), Peer::unknown(), tls());
    let guest = play(&authenticator, "ANONYMOUS", &Proof::anonymous("me"), &peer).await.unwrap();
    assert!(guest.is_guest() && guest.as_str() == "guest");
    let named = play(&authenticator, "PLAIN", &Proof::new("guest", "pencil".into()), &peer).await.unwrap();
    assert!(!named.is_guest());
    let ask = Authenticate::new("ANONYMOUS".to_owned(), Some("me".into()));
    for (service, comes) in [
        (Service::Imap, true),
        (Service::Pop3, true),
        (Service::Submission, false),
        (Service::ManageSieve, false),
    ] {
        assert_eq!(authenticator.mechanisms_for(service).contains(&"ANONYMOUS".to_owned()), comes);
        let (step, user) = authenticator.step(&mut None, &ask, &peer, Some(&inside), service).await;
        let refused = AuthStep::Refuse(AuthRefusal::Mechanism);
        assert_eq!((step, user.is_some()), (if comes { AuthStep::Accept } else { refused }, comes));
    }
    // Nor does one come in there whom the accounts themselves take for a guest.
    let (step, user) = without_guests(AuthStep::Accept, Some(guest));
    assert_eq!((step, user), (AuthStep::Refuse(AuthRefusal::NotAuthorized), None));
    assert_eq!(without_guests(AuthStep::Accept, Some(named.clone())), (AuthStep::Accept, Some(named)));
    let master = everything().with_masters(MasterUsers::new(["guest"], None));
    assert!(!master.is_master(&User::new("guest").unwrap().as_guest()));
}

#[tokio::test(start_paused = true)]
async fn a_ticket_is_checked_as_a_password_is() {
    let authenticator = everything().with_masters(MasterUsers::new(["admin"], Some('*')));
    let from = |last: u8| Peer::new(Some(format!("198.51.100.{last}:1").parse().unwrap()), None);
    for (proof, expected) in [
        (ticket("alice"), Ok("alice")),
        // Oneself under another spelling.
        (ticket("alice").acting_as("Alice"), Ok("alice")),
        (ticket("alice").acting_as("admin"), Err(AuthRefusal::NotAuthorized)),
        (ticket("admin").acting_as("alice"), Ok("alice")),
        (ticket("admin").acting_as("bob"), Err(AuthRefusal::Credentials)),
        // A principal that is nobody's here, and one that the host makes no account's name of.
        (ticket("bob"), Err(AuthRefusal::Credentials)),
        (ticket("nobody"), Err(AuthRefusal::Credentials)),
        (Proof::gssapi(|| Ok(MockRealm::new(2).initiator("alice"))), Err(AuthRefusal::Credentials)),
    ] {
        let opened = play(&authenticator, "GSSAPI", &proof, &from(1)).await;
        assert_eq!(opened.as_ref().map(User::as_str), expected.as_ref().map(|name| *name));
    }
    // Forged tickets are guesses: they are counted, and the address is banned.
    let limits = ThrottleLimits { failures_per_address: 3, ..ThrottleLimits::default() };
    let authenticator = everything().with_throttle(Arc::new(Throttle::new(limits)));
    let forged = Proof::gssapi(|| Ok(MockRealm::new(2).initiator("alice")));
    for expected in [AuthRefusal::Credentials; 3].into_iter().chain([AuthRefusal::Unavailable]) {
        assert_eq!(play(&authenticator, "GSSAPI", &forged, &from(2)).await, Err(expected));
    }
    // Without a key table nobody comes in, and nobody is blamed.
    let authenticator =
        everything().with_gssapi(|service| Err(GssError::Unavailable(format!("no key of {service}"))));
    for _ in 0..20 {
        let refused = play(&authenticator, "GSSAPI", &ticket("alice"), &from(3)).await;
        assert_eq!(refused, Err(AuthRefusal::Unavailable));
    }
    play(&authenticator, "PLAIN", &Proof::new("alice", "pencil".into()), &from(3)).await.unwrap();
}

async fn password(authenticator: &Authenticator<Everything>, user: &str, password: &str) -> Option<String> {
    let (login, peer) = (Login::new(user, password.into()), Peer::unknown());
    let opened = authenticator.password(&login, &peer, true, Service::Imap).await;
    opened.ok().map(|user| user.as_str().to_owned())
}

#[tokio::test]
async fn a_master_opens_every_account_where_there_is_one() {
    let nobody = everything();
    assert_eq!(password(&nobody, "alice*admin", "pencil").await, None);
    let masters = MasterUsers::new(["admin"], Some('*'));
    let authenticator = everything().with_masters(masters);
    for (user, secret, opened) in [
        ("alice*admin", "pencil", Some("alice")),
        ("alice*admin", "pen", None),
        ("nobody*admin", "pencil", None),
        // Who is no master opens only what is theirs.
        ("admin*alice", "pencil", None),
        ("Alice*alice", "pencil", Some("alice")),
        ("alice", "pencil", Some("alice")),
    ] {
        assert_eq!(password(&authenticator, user, secret).await.as_deref(), opened, "{user}");
    }
    // The authorization identity does the same, in every mechanism that has one.
    for name in ["PLAIN", "SCRAM-SHA-256-PLUS"] {
        let acting = |user: &str, other: &str| Proof::new(user, "pencil".into()).acting_as(other);
        let peer = Peer::unknown();
        let opened = play(&authenticator, name, &acting("admin", "alice"), &peer).await;
        assert_eq!(opened.unwrap().as_str(), "alice");
        let refused = play(&authenticator, name, &acting("alice", "admin"), &peer).await;
        assert_eq!(refused, Err(AuthRefusal::NotAuthorized));
    }
}

#[tokio::test]
async fn an_exchange_that_was_cancelled_is_over() {
    let (authenticator, peer) = (everything(), Peer::unknown());
    let (inside, proof) = (tls(), Proof::new("alice", "pencil".into()));
    for name in authenticator.mechanisms() {
        // Without TLS first: what was begun before STARTTLS is over, too.
        for tls in [None, Some(&inside)] {
            let mut exchange = None;
            let begin = Authenticate::new(name.clone(), None);
            let (begun, _) = authenticator.step(&mut exchange, &begin, &peer, tls, Service::Imap).await;
            let (again, _) =
                authenticator.step(&mut exchange, &begin, &peer, Some(&inside), Service::Imap).await;
            assert!(
                tls.is_none()
                    || matches!(again, AuthStep::Challenge(_)) == matches!(begun, AuthStep::Challenge(_)),
                "{name}: {begun:?}, then {again:?}"
            );
            assert_ne!(again, AuthStep::Refuse(AuthRefusal::Credentials), "{name}");
        }
    }
    // And a new one ends well.
    for name in ["LOGIN", "SCRAM-SHA-256", "CRAM-MD5"] {
        let mut exchange = None;
        let context = Context::tls(&inside).allow_legacy().without_channel_binding();
        for cancelled in [true, false] {
            let mechanism = Mechanism::find(name).unwrap();
            let mut client = Client::new(mechanism, &proof, &context, [3; 32]).unwrap();
            let initial = client.initial().map(|initial| Secret::from(&initial[..]));
            let mut ask = Authenticate::new(name.to_owned(), initial);
            loop {
                match authenticator.step(&mut exchange, &ask, &peer, Some(&inside), Service::Imap).await {
                    (AuthStep::Challenge(_), None) if cancelled => break,
                    (AuthStep::Challenge(challenge), None) => {
                        let response = client.respond(&challenge).unwrap();
                        ask = Authenticate::response(name.to_owned(), Secret::from(&response[..]));
                    }
                    (AuthStep::Accept, Some(user)) => break assert_eq!(user.as_str(), "alice"),
                    other => panic!("{name}: {other:?}"),
                }
            }
        }
    }
    // A response to nothing is none.
    let response = Authenticate::response("LOGIN".to_owned(), "alice".into());
    let (step, _) = authenticator.step(&mut None, &response, &peer, Some(&inside), Service::Imap).await;
    assert_eq!(step, AuthStep::Refuse(AuthRefusal::Malformed));
}

#[test]
fn a_folder_is_taken_out_of_a_name() {
    for (name, account, folder) in [
        ("alice+Lists@a.example", "alice@a.example", Some("Lists")),
        ("alice+Lists/One", "alice", Some("Lists/One")),
        ("alice+A+B@a.example", "alice@a.example", Some("A+B")),
        ("alice@a.example", "alice@a.example", None),
        ("alice+@a.example", "alice+@a.example", None),
        ("+Lists@a.example", "+Lists@a.example", None),
        ("alice@a+b.example", "alice@a+b.example", None),
        ("alice+Lists@a.example*admin@a.example", "alice@a.example*admin@a.example", Some("Lists")),
    ] {
        let found = without_detail(name.to_owned(), Some('+'));
        assert_eq!(found, (account.to_owned(), folder.map(str::to_owned)), "{name}");
        assert_eq!(without_detail(name.to_owned(), None), (name.to_owned(), None));
    }
}
