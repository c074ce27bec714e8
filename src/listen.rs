//! Accepting connections: limits by address, proxies in front of us, and a graceful stop.

mod proxy;

use std::{
    collections::HashMap,
    future::Future,
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use mailwright_line_proto::Peer;
use mailwright_relay_policy::networks::AddressRange;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream, ToSocketAddrs},
    time,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::proxy::Proxies;

/// After this many new connections the table of addresses is tidied.
const TIDY_EVERY: u32 = 4096;
/// How long a listener rests when the system has no more file descriptors or memory for it.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// How many connections an address may have. An IPv6 address stands for its /64. Zero is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections at once from one address.
    pub per_address: u32,
    /// New connections a minute from one address.
    pub new_per_minute: u32,
    /// Connections at once in all.
    pub total: u32,
}

impl ConnectionLimits {
    /// No limits: for tests, and behind something else that counts.
    pub const NONE: Self = Self { per_address: 0, new_per_minute: 0, total: 0 };
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { per_address: 100, new_per_minute: 300, total: 20_000 }
    }
}

/// Counts the connections of every address. Shared by all listeners that count together.
#[derive(Debug)]
pub struct Admission {
    limits: ConnectionLimits,
    rate: Option<DefaultKeyedRateLimiter<IpAddr>>,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    by_address: HashMap<IpAddr, u32>,
    total: u32,
    since_tidy: u32,
}

impl Admission {
    /// Counts from zero.
    pub fn new(limits: ConnectionLimits) -> Arc<Self> {
        let rate =
            NonZeroU32::new(limits.new_per_minute).map(|count| RateLimiter::keyed(Quota::per_minute(count)));
        Arc::new(Self { limits, rate, counts: Mutex::default() })
    }

    /// Admits one more connection of this address, as long as the guard lives.
    ///
    /// # Errors
    /// Which limit it would pass.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Admitted, TooMany> {
        let address = network(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rate) = &self.rate {
            counts.since_tidy += 1;
            if counts.since_tidy >= TIDY_EVERY {
                counts.since_tidy = 0;
                rate.retain_recent();
            }
            if rate.check_key(&address).is_err() {
                return Err(TooMany::New);
            }
        }
        if self.limits.total != 0 && counts.total >= self.limits.total {
            return Err(TooMany::Total);
        }
        let count = counts.by_address.entry(address).or_insert(0);
        if self.limits.per_address != 0 && *count >= self.limits.per_address {
            return Err(TooMany::FromAddress);
        }
        *count += 1;
        counts.total += 1;
        Ok(Admitted { admission: Arc::clone(self), address })
    }
}

/// A connection that was admitted; counted until dropped.
#[derive(Debug)]
pub struct Admitted {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = self.admission.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total = counts.total.saturating_sub(1);
        if let Some(count) = counts.by_address.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

/// Which limit on connections was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TooMany {
    /// [`ConnectionLimits::per_address`].
    #[error("too many connections from this address")]
    FromAddress,
    /// [`ConnectionLimits::new_per_minute`].
    #[error("too many new connections from this address")]
    New,
    /// [`ConnectionLimits::total`].
    #[error("too many connections")]
    Total,
}

/// Accepts connections until told to stop, each in a task of its own.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    admission: Arc<Admission>,
    refusal: &'static [u8],
    proxies: Proxies,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Listener {
    /// Listens on an address, port 0 for any that is free, within [`ConnectionLimits::default`] and with counts of its own; `stop` ends
    /// the accepting. A test that makes hundreds of connections a minute wants [`ConnectionLimits::NONE`]:
    ///
    /// ```
    /// # async fn example() -> std::io::Result<()> {
    /// use mailwright::{Admission, CancellationToken, ConnectionLimits, Listener};
    ///
    /// let stop = CancellationToken::new();
    /// let listener = Listener::bind("127.0.0.1:0", stop.clone()).await?;
    /// let listener = listener.with_admission(Admission::new(ConnectionLimits::NONE));
    /// println!("listening on {}", listener.local_addr()?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The system's.
    pub async fn bind(address: impl ToSocketAddrs, stop: CancellationToken) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        Ok(Self::new(socket, Admission::new(ConnectionLimits::default()), stop, TaskTracker::new()))
    }

    /// Listens on a socket. `stop` ends the accepting; `tasks` then knows when the last connection is gone.
    pub fn new(
        socket: TcpListener,
        admission: Arc<Admission>,
        stop: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        Self { socket, admission, refusal: b"", proxies: Proxies::default(), stop, tasks }
    }

    /// Counts connections here in place of what it has.
    #[must_use]
    pub fn with_admission(mut self, admission: Arc<Admission>) -> Self {
        self.admission = admission;
        self
    }

    /// What a connection over the limits is told before it is closed, if anything: a line of its protocol.
    pub fn with_refusal(mut self, line: &'static [u8]) -> Self {
        self.refusal = line;
        self
    }

    /// Connections from these networks begin with a header of the PROXY protocol, version 1 or 2, which says whom the
    /// proxy connects for: that is then the peer, for limits, logs and decisions. One without is closed. Connections from
    /// everywhere else are as ever, and are told nothing by a header.
    #[must_use]
    pub fn behind_proxies(mut self, networks: Vec<AddressRange>) -> Self {
        self.proxies = Proxies(networks);
        self
    }

    /// The address that is listened on.
    ///
    /// # Errors
    /// The socket's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts and serves. A panic in `serve` ends that connection and no other.
    pub async fn run<F, T>(self, serve: F)
    where
        F: Fn(TcpStream, Peer) -> T + Send + Sync + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let local = self.socket.local_addr().ok();
        let Self { socket, admission, refusal, proxies, stop, tasks } = self;
        let gate = Arc::new(Gate { admission, refusal, serve });
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let (socket, remote) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // A connection reset before it was accepted is nobody's fault; without descriptors or memory,
                    // accepting at once again would only spin.
                    if error.kind() != io::ErrorKind::ConnectionAborted {
                        tracing::error!(%error, "cannot accept a connection");
                        time::sleep(EXHAUSTED_PAUSE).await;
                    }
                    continue;
                }
            };
            let peer = Peer::new(Some(remote), local);
            if !proxies.include(remote.ip()) {
                gate.enter(&tasks, socket, peer);
                continue;
            }
            let (gate, inner) = (Arc::clone(&gate), tasks.clone());
            tasks.spawn(async move {
                let mut socket = socket;
                match proxy::read(&mut socket, peer).await {
                    Ok(peer) => gate.enter(&inner, socket, peer),
                    Err(why) => tracing::warn!(proxy = %remote, %why, "connection refused"),
                }
            });
        }
    }
}

/// Where connections are counted and let in.
struct Gate<F> {
    admission: Arc<Admission>,
    refusal: &'static [u8],
    serve: F,
}

impl<F, T> Gate<F>
where
    F: Fn(TcpStream, Peer) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    /// Serves the connection in a task of its own, or tells it that there are too many.
    fn enter(&self, tasks: &TaskTracker, socket: TcpStream, peer: Peer) {
        let address = peer.remote.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |remote| remote.ip());
        match self.admission.admit(address) {
            Ok(admitted) => {
                // Replies are written whole; waiting for more would only delay them.
                let _ = socket.set_nodelay(true);
                // In a box: the task would otherwise hold room for the session twice, before and while it runs.
                let session = Box::pin((self.serve)(socket, peer));
                tasks.spawn(async move {
                    session.await;
                    drop(admitted);
                });
            }
            Err(why) => {
                tracing::warn!(peer = %address, %why, "connection refused");
                let line = self.refusal;
                tasks.spawn(async move {
                    let mut socket = socket;
                    let farewell = async {
                        socket.write_all(line).await?;
                        socket.shutdown().await
                    };
                    let _ = time::timeout(Duration::from_secs(1), farewell).await;
                });
            }
        }
    }
}

/// The unit by which addresses are counted and judged: an address of IPv4 (an IPv4 address in IPv6 is one), and the 2^64 addresses of
/// IPv6 that one subscriber has at least.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(per_address: u32, new_per_minute: u32, total: u32) -> ConnectionLimits {
        ConnectionLimits { per_address, new_per_minute, total }
    }

    #[test]
    fn an_address_has_so_many_connections_and_no_more() {
        let admission = Admission::new(limits(2, 0, 3));
        let [one, two, three] = ["192.0.2.1", "2001:db8::1", "2001:db8::ffff"].map(|ip| ip.parse().unwrap());
        let first = admission.admit(one).unwrap();
        let _second = admission.admit(two).unwrap();
        let third = admission.admit(three).unwrap();
        assert_eq!(admission.admit(one).unwrap_err(), TooMany::Total);
        drop(first);
        assert_eq!(admission.admit(two).unwrap_err(), TooMany::FromAddress);
        drop(third);
        assert!(admission.admit(three).is_ok());
    }

    #[test]
    fn an_address_makes_so_many_connections_a_minute() {
        let admission = Admission::new(limits(0, 5, 0));
        let address = "192.0.2.1".parse().unwrap();
        for _ in 0..5 {
            admission.admit(address).unwrap();
        }
        assert_eq!(admission.admit(address).unwrap_err(), TooMany::New);
        assert!(admission.admit("192.0.2.2".parse().unwrap()).is_ok());
    }
}
