//! All services over one store in memory, each listener with its own kind of TLS.
#![allow(unreachable_pub, reason = "a module of a test program")]

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use mailwright::{
    Admission, Authenticator, ConnectionLimits, Listener, ListenerTls,
    client::{Endpoint, Security},
    imap::{Groups, Imap, Referrals},
    line_proto::{Secret, sasl, testing::MockRealm, tls},
    mailstore::{
        ScriptLimits, User,
        accounts::{
            Accounts, Credentials, LoginError, LoginRequest, Recipients, ScramHash, ScramKeys, StoredKeys,
        },
        memory::Memory,
    },
    managesieve::ManageSieve,
    pop3::Pop3,
    relay_policy::{Chain, LocalDomains, OnlyLocalRecipients},
    sieve::Language,
    smtp::{Smtp, StoreInbox},
};
use rustls::ClientConfig;
use tokio_util::sync::CancellationToken;

pub const USER: &str = "ann@example.org";
pub const BOB: &str = "bob@example.org";
pub const CAROL: &str = "carol@example.org";
/// The group of Ann and Bob.
pub const STAFF: &str = "staff@example.org";
pub const PASSWORD: &str = "correct horse";
const HOST: &str = "mail.example.org";

/// How a connection is protected.
#[derive(Clone, Copy, PartialEq)]
pub enum Protection {
    Plain,
    Starttls,
    Implicit,
}

/// Ends its services when dropped.
pub struct World {
    smtp: [SocketAddr; 3],
    imap: [SocketAddr; 3],
    pop3: [SocketAddr; 3],
    managesieve: [SocketAddr; 3],
    /// What all services are over.
    pub store: Memory,
    lmtp: SocketAddr,
    client: Arc<ClientConfig>,
    logins: Arc<Mutex<&'static str>>,
    stop: CancellationToken,
}

impl World {
    pub async fn new(scram: bool) -> Self {
        Self::with(scram, None, |authenticator| authenticator).await
    }

    /// With mail on other servers too.
    #[allow(dead_code, reason = "one of the tests that share this needs it")]
    pub async fn sending_on(referrals: Arc<dyn Referrals>) -> Self {
        Self::with(false, Some(referrals), |authenticator| authenticator).await
    }

    /// Where tickets of this realm log in, and passwords.
    pub async fn with_realm(realm: &MockRealm) -> Self {
        let realm = realm.clone();
        Self::with(false, None, |authenticator| authenticator.with_gssapi(move |_| Ok(realm.acceptor())))
            .await
    }

    async fn with(
        scram: bool,
        referrals: Option<Arc<dyn Referrals>>,
        prepare: impl FnOnce(Authenticator<People>) -> Authenticator<People>,
    ) -> Self {
        let made = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let server = Arc::new(tls::server_config(chain.as_bytes(), key.as_bytes()).unwrap());
        let client = Arc::new(tls::client_config(tls::roots(chain.as_bytes()).unwrap()).unwrap());
        let logins = Arc::new(Mutex::new("none"));
        let people = People { scram, logins: Arc::clone(&logins) };
        let authenticator = Authenticator::new(people.clone(), Secret::from("salt of the unknown"));
        let authenticator = Arc::new(prepare(authenticator));
        let store = Memory::new();
        let domains = LocalDomains::new(["example.org"]).unwrap();
        let policy = || Chain::default().then(OnlyLocalRecipients::new(domains.clone()));
        let inbox = || Arc::new(StoreInbox::new(store.clone(), people.clone(), policy(), HOST));
        let stop = CancellationToken::new();
        let unset = SocketAddr::from(([127, 0, 0, 1], 0));
        let (mut smtp, mut imap, mut pop3, mut managesieve) =
            ([unset; 3], [unset; 3], [unset; 3], [unset; 3]);
        for (index, tls) in
            [ListenerTls::None, ListenerTls::Starttls(Arc::clone(&server)), ListenerTls::Implicit(server)]
                .into_iter()
                .enumerate()
        {
            let mut config = mailwright::smtp_proto::server::Config::smtp(HOST).unwrap();
            config.allow_plaintext_auth = index == 0;
            let service = Smtp::new(inbox(), Some(Arc::clone(&authenticator)), tls.clone(), config);
            let listener = listener(&stop).await;
            smtp[index] = listener.local_addr().unwrap();
            tokio::spawn(Arc::new(service).serve(listener, stop.clone()));

            let mut config = mailwright::imap_proto::server::Config::default();
            config.allow_plaintext_auth = index == 0;
            let service = Imap::new(Arc::new(store.clone()), Arc::clone(&authenticator), tls.clone(), config)
                .with_groups(Arc::new(Staff));
            let service = match &referrals {
                Some(referrals) => service.with_referrals(Arc::clone(referrals)),
                None => service,
            };
            let listener = self::listener(&stop).await;
            imap[index] = listener.local_addr().unwrap();
            tokio::spawn(Arc::new(service).serve(listener, stop.clone()));

            let mut config = mailwright::pop3_proto::server::Config::default();
            config.allow_plaintext_auth = index == 0;
            let service = Pop3::new(Arc::new(store.clone()), Arc::clone(&authenticator), tls.clone(), config);
            let listener = self::listener(&stop).await;
            pop3[index] = listener.local_addr().unwrap();
            tokio::spawn(Arc::new(service).serve(listener, stop.clone()));

            let mut config = mailwright::sieve::managesieve::server::Config::default();
            config.allow_plaintext_auth = index == 0;
            let service = ManageSieve::new(
                Arc::new(store.clone()),
                Arc::clone(&authenticator),
                Arc::new(Language::standard()),
                tls,
                config,
                ScriptLimits::new(2, 1000),
            );
            let listener = self::listener(&stop).await;
            managesieve[index] = listener.local_addr().unwrap();
            tokio::spawn(Arc::new(service).serve(listener, stop.clone()));
        }
        let mut config = mailwright::smtp_proto::server::Config::smtp(HOST).unwrap();
        config.protocol = mailwright::smtp_proto::server::Protocol::Lmtp;
        let service = Smtp::<_, People>::new(inbox(), None, ListenerTls::None, config);
        let listener = listener(&stop).await;
        let lmtp = listener.local_addr().unwrap();
        tokio::spawn(Arc::new(service).serve(listener, stop.clone()));
        Self { smtp, imap, pop3, managesieve, store, lmtp, client, logins, stop }
    }

    /// How somebody logged in last: with a `password` that the server saw, or a `proof`.
    pub fn last_login(&self) -> &'static str {
        *self.logins.lock().unwrap()
    }

    pub fn smtp(&self, protection: Protection) -> Endpoint {
        self.smtp_called(HOST, protection)
    }

    pub fn imap(&self, protection: Protection) -> Endpoint {
        self.imap_called(HOST, protection)
    }

    pub fn pop3(&self, protection: Protection) -> Endpoint {
        self.endpoint(HOST, self.pop3, protection)
    }

    pub fn managesieve(&self, protection: Protection) -> Endpoint {
        self.endpoint(HOST, self.managesieve, protection)
    }

    pub fn lmtp(&self) -> Endpoint {
        Endpoint::new(HOST, 0, Security::Plain).at(self.lmtp)
    }

    pub fn smtp_called(&self, name: &str, protection: Protection) -> Endpoint {
        self.endpoint(name, self.smtp, protection)
    }

    pub fn imap_called(&self, name: &str, protection: Protection) -> Endpoint {
        self.endpoint(name, self.imap, protection)
    }

    /// Asks for STARTTLS where there is none.
    pub fn without_starttls(&self) -> Endpoint {
        Endpoint::new(HOST, 0, Security::Starttls(Arc::clone(&self.client))).at(self.smtp[0])
    }

    /// Where IMAP is served.
    #[allow(dead_code, reason = "one of the tests that share this needs it")]
    pub fn address(&self, protection: Protection) -> SocketAddr {
        self.imap[protection as usize]
    }

    fn endpoint(&self, name: &str, addresses: [SocketAddr; 3], protection: Protection) -> Endpoint {
        let client = Arc::clone(&self.client);
        let (address, security) = match protection {
            Protection::Plain => (addresses[0], Security::Plain),
            Protection::Starttls => (addresses[1], Security::Starttls(client)),
            Protection::Implicit => (addresses[2], Security::Implicit(client)),
        };
        Endpoint::new(name, 0, security).at(address)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn listener(stop: &CancellationToken) -> Listener {
    let listener = Listener::bind("127.0.0.1:0", stop.clone()).await.unwrap();
    listener.with_admission(Admission::new(ConnectionLimits::NONE))
}

macro_rules! configs {
    ($($name:ident $protocol:ident)*) => {$(
        /// Logs in without TLS where there is none.
        pub fn $name(protection: Protection) -> mailwright::$protocol::client::Config {
            let mut config = mailwright::$protocol::client::Config::default();
            config.allow_plaintext_auth = protection == Protection::Plain;
            config
        }
    )*};
}

configs! { smtp_config smtp_proto imap_config imap_proto pop3_config pop3_proto }

/// Logs in without TLS where there is none.
pub fn managesieve_config(protection: Protection) -> mailwright::sieve::managesieve::client::Config {
    let mut config = mailwright::sieve::managesieve::client::Config::default();
    config.allow_plaintext_auth = protection == Protection::Plain;
    config
}

/// Ann, Bob and Carol, who has no address.
#[derive(Clone)]
struct People {
    scram: bool,
    logins: Arc<Mutex<&'static str>>,
}

impl Accounts for People {
    async fn login(&self, request: &LoginRequest) -> Result<User, LoginError> {
        let kind = match request.credentials {
            Credentials::Proven => "proof",
            _ if request.credentials.is_password(PASSWORD.as_bytes()) => "password",
            _ => return Err(LoginError::Credentials),
        };
        if ![USER, BOB, CAROL].contains(&&*request.user) {
            return Err(LoginError::Credentials);
        }
        if request.authorization.as_ref().is_some_and(|other| *other != request.user) {
            return Err(LoginError::NotAuthorized);
        }
        *self.logins.lock().unwrap() = kind;
        Ok(User::new(&request.user).unwrap())
    }

    fn scram(&self) -> Option<&impl ScramKeys> {
        self.scram.then_some(self)
    }
}

#[derive(Debug)]
struct Staff;

impl Groups for Staff {
    fn groups_of(&self, user: &User) -> Vec<String> {
        let member = [USER, BOB].contains(&user.as_str());
        member.then(|| STAFF.to_owned()).into_iter().collect()
    }

    fn is_group(&self, user: &User) -> bool {
        user.as_str() == STAFF
    }
}

impl ScramKeys for People {
    async fn keys(&self, user: &str, _: ScramHash) -> Result<Option<StoredKeys>, LoginError> {
        if user != USER {
            return Ok(None);
        }
        let (salt, iterations) = (b"salt".to_vec(), 4096);
        let keys =
            sasl::ScramKeys::derive(sasl::ScramHash::Sha256, &Secret::from(PASSWORD), &salt, iterations)
                .unwrap();
        let (stored, server) = (keys.stored_key().expose().to_vec(), keys.server_key().expose().to_vec());
        Ok(Some(StoredKeys::new(salt, iterations, stored, server)))
    }
}

impl Recipients for People {
    async fn lookup(&self, address: &str) -> mailwright::mailstore::Result<Option<User>> {
        Ok([USER, "bob@example.org"].contains(&address).then(|| User::new(address).unwrap()))
    }
}
