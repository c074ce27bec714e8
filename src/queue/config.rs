//! How the queue behaves.

use std::{collections::HashMap, fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use mailwright_line_proto::Secret;
use mailwright_mail_model::Address;
use mailwright_mailstore::{QueueEntry, QueueRecipient};
use mailwright_relay_policy::{
    delivery::{Diagnosis, LocalTarget},
    retry::RetrySchedule,
    route::{Lookup, RouteTable},
};
use mailwright_smtp_proto::{HelloName, SyntaxError};
use rustls::ClientConfig;
use tokio::io::AsyncRead;

use super::{Concurrency, DeliveryObserver, StsPolicies, TlsObserver};
use crate::smtp::Authentication;

/// The configuration of a [`Queue`](super::Queue).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct QueueConfig {
    /// The name we say hello by, and sign reports with.
    pub hostname: HelloName,
    /// Where mail goes: the transport map and the smarthost. The same as at the inbox.
    pub routes: Arc<RouteTable>,
    /// How hosts are looked up.
    pub lookup: Lookup,
    /// When it is tried again, and for how long.
    pub retry: RetrySchedule,
    /// How much at once.
    pub concurrency: Concurrency,
    /// How to log in to hosts that want it: by destination, as [`NextHop`](mailwright_relay_policy::route::NextHop) prints it.
    pub relays: HashMap<String, Relay>,
    /// What stands in where the mail exchangers of a domain, or the smarthost, cannot be reached at all, or refuse since they have our
    /// address on a list. Never for rows of the transport map that name a host, nor for hosts whom TLS does not prove to be the ones
    /// that were meant, nor for destinations of [`Tls::levels`] that need a certificate.
    pub fallback: Option<mailwright_relay_policy::route::NextHop>,
    /// What knows whether lists of unwanted senders have our address. If so, the fallback gets what would go to the mail exchangers of a
    /// domain, unless that has published how they are known (DANE, MTA-STS), or the sender requires TLS all the way (REQUIRETLS).
    pub own_listings: Option<Arc<dyn super::OwnListings>>,
    /// How connections are secured.
    pub tls: Tls,
    /// How long it may take until a host answers the call.
    pub connect_timeout: Duration,
    /// How long what is being sent may go on after [`run`](super::Queue::run) was told to stop: one transaction or program of each
    /// message. What does not end in time is tried again, and may arrive twice (RFC 1047).
    pub farewell: Duration,
    /// How long a connection is kept for the next message.
    pub idle: Duration,
    /// How many messages go over one connection.
    pub messages_per_connection: u32,
    /// How many octets of a message a report of failure returns; of a longer one its header.
    pub returned_octets: u64,
    /// What hands mail to files and programs; without it, that waits.
    pub pipes: Option<Arc<dyn Pipes>>,
    /// What knows which addresses are left alone; without it, none are.
    pub suppressions: Option<Arc<dyn Suppressions>>,
    /// Whether a message with a signature of another domain is encoded for a host of seven bits, which breaks the signature (RFC 6376
    /// §5.3). If not, it comes back to the sender.
    pub encode_signed: bool,
    /// What signs what [`Queue::enqueue`](super::Queue::enqueue) takes and reports, and signs again what has to be encoded for a host; without it, none of that is signed.
    pub signing: Option<Arc<Authentication>>,
    /// What hears of each attempt and what came of it.
    pub observer: Option<Arc<dyn DeliveryObserver>>,
}

impl QueueConfig {
    /// What does for most; to be changed field by field.
    ///
    /// # Errors
    /// If the name is not one a host can have.
    pub fn new(hostname: &str) -> Result<Self, SyntaxError> {
        let mut lookup = Lookup::default();
        lookup.own = vec![hostname.to_owned()];
        Ok(Self {
            hostname: hostname.parse()?,
            routes: Arc::default(),
            lookup,
            retry: RetrySchedule::default(),
            concurrency: Concurrency::default(),
            relays: HashMap::new(),
            fallback: None,
            own_listings: None,
            tls: Tls::default(),
            connect_timeout: Duration::from_secs(30),
            farewell: Duration::from_secs(10),
            idle: Duration::from_secs(4),
            messages_per_connection: 100,
            returned_octets: 64 * 1024,
            pipes: None,
            suppressions: None,
            // RFC 6376 §6.3: a signature that does not verify counts as none, and mail without one is delivered; mail that is sent
            // back is not.
            encode_signed: true,
            signing: None,
            observer: None,
        })
    }
}

/// How to log in to a host that relays for us.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Relay {
    /// The user name there.
    pub user: String,
    /// The password.
    pub password: Secret,
    /// Whether the password may be shown without TLS.
    pub in_clear: bool,
}

impl Relay {
    /// With TLS only.
    pub fn new(user: impl Into<String>, password: Secret) -> Self {
        Self { user: user.into(), password, in_clear: false }
    }
}

/// How much protection a connection must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[non_exhaustive]
pub enum TlsLevel {
    /// None, though it be offered.
    None,
    /// TLS where it is offered, with whatever certificate; in the clear where it is not, or does not work (RFC 7435).
    #[default]
    May,
    /// TLS, with whatever certificate.
    Encrypt,
    /// TLS, with a certificate for the host's name by an authority that is trusted.
    Verify,
    /// TLS, with a certificate that signed records of the name system name (RFC 7672). Without such records, mail waits.
    Dane,
    /// TLS as with [`Verify`](Self::Verify), with a host that the domain's MTA-STS policy names (RFC 8461). Without a policy, mail waits.
    Sts,
}

/// How connections are secured.
///
/// Where [`May`](TlsLevel::May) or [`Encrypt`](TlsLevel::Encrypt) hold, what the recipient's domain has published counts on top: TLSA
/// records, if the resolver checks signatures, and an MTA-STS policy, if something knows those.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Tls {
    /// What is done where nothing else is said.
    pub default: TlsLevel,
    /// What is done for some destinations.
    pub levels: HashMap<String, TlsLevel>,
    /// Whom [`Verify`](TlsLevel::Verify) and MTA-STS trust; without it, such mail waits.
    pub verified: Option<Arc<ClientConfig>>,
    /// Destinations that speak TLS from the first octet on (port 465), at every level: where that does not work, mail waits.
    pub implicit: std::collections::HashSet<String>,
    /// What knows the MTA-STS policies of domains; without it, none are obeyed.
    pub sts: Option<Arc<dyn StsPolicies>>,
    /// What hears how TLS went with mail exchangers.
    pub observer: Option<Arc<dyn TlsObserver>>,
}

impl Tls {
    /// What a destination must have.
    pub(super) fn level(&self, destination: &str) -> TlsLevel {
        self.levels.get(destination).copied().unwrap_or(self.default)
    }
}

/// Hands mail to files and programs of this machine. What they are is for the configuration and for aliases to say, never for a
/// message.
pub trait Pipes: Send + Sync {
    /// Hands the message to a place, for one recipient of the entry.
    fn run<'a>(
        &'a self,
        place: &'a Place,
        entry: &'a QueueEntry,
        recipient: &'a QueueRecipient,
        body: Pin<Box<dyn AsyncRead + Send + 'a>>,
    ) -> Pin<Box<dyn Future<Output = Result<(), Diagnosis>> + Send + 'a>>;
}

/// What mail is handed to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// The transport of this name: `pipe:NAME` in the transport map.
    Transport(String),
    /// What an alias or a forward leads to.
    Target(LocalTarget),
}

impl fmt::Debug for dyn Pipes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pipes")
    }
}

/// Remembers which addresses refused for good, and decides which are left alone. What is told of here is asked about for every recipient, so
/// it answers from memory and writes behind.
pub trait Suppressions: Send + Sync {
    /// Why nothing is sent to an address, if so.
    fn suppressed(&self, address: &Address) -> Option<String>;

    /// A host said for good that nobody has the address.
    fn refused(&self, address: &Address);

    /// A host took mail for the address.
    fn taken(&self, address: &Address);
}

impl fmt::Debug for dyn Suppressions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Suppressions")
    }
}
