//! Accepting connections: limits by address, proxies in front of us, and a graceful stop.

mod admission;
mod probation;
mod proxy;

use std::{
    future::Future,
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use mailwright_line_proto::Peer;
use mailwright_relay_policy::networks::AddressRange;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream, ToSocketAddrs},
    time,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::proxy::Proxies;

pub use self::admission::{Admission, Admitted, ConnectionLimits, Stress, TooMany};
pub(crate) use self::probation::{News, Probation};

/// How long a listener rests when the system has no more file descriptors or memory for it.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// A connection that was let in.
#[derive(Debug)]
#[non_exhaustive]
pub struct Accepted {
    /// What it speaks over.
    pub socket: TcpStream,
    /// Who is there, by the PROXY protocol if that is believed.
    pub peer: Peer,
    /// It counts until the last of these is dropped; the listener keeps one until the session has ended.
    pub admitted: Arc<Admitted>,
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
    /// How long to wait for what is under way, if nobody else does.
    farewell: Option<Duration>,
}

/// How long [`Listener::run`] waits for sessions that are in the middle of something.
const FAREWELL: Duration = Duration::from_secs(30);

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
        let listener =
            Self::new(socket, Admission::new(ConnectionLimits::default()), stop, TaskTracker::new());
        Ok(listener.with_farewell(FAREWELL))
    }

    /// Listens on a socket. `stop` ends the accepting; `tasks` then knows when the last connection is gone: whoever has it waits
    /// for that before the program ends.
    pub fn new(
        socket: TcpListener,
        admission: Arc<Admission>,
        stop: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        Self { socket, admission, refusal: b"", proxies: Proxies::default(), stop, tasks, farewell: None }
    }

    /// Once told to stop, [`run`](Self::run) waits so long for the connections it has to end, which hear of `stop` by
    /// themselves: a message that was taken and not answered would come again. Half a minute, unless the tasks are the caller's.
    #[must_use]
    pub fn with_farewell(mut self, patience: Duration) -> Self {
        self.farewell = Some(patience);
        self
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

    /// Accepts and serves until told to stop, and [a while longer](Self::with_farewell). A panic in `serve` ends that connection and no other.
    pub async fn run<F, T>(self, serve: F)
    where
        F: Fn(Accepted) -> T + Send + Sync + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let local = self.socket.local_addr().ok();
        let Self { socket, admission, refusal, proxies, stop, tasks, farewell } = self;
        let gate = Arc::new(Gate { admission, refusal, serve });
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                () = stop.cancelled() => break,
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
        // Nobody new gets in while the rest goes on.
        drop(socket);
        if let Some(patience) = farewell {
            tasks.close();
            if time::timeout(patience, tasks.wait()).await.is_err() {
                tracing::warn!(connections = tasks.len(), "not all connections ended in time");
            }
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
    F: Fn(Accepted) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    /// Serves the connection in a task of its own, or tells it that there are too many.
    fn enter(&self, tasks: &TaskTracker, socket: TcpStream, peer: Peer) {
        let address = peer.remote.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |remote| remote.ip());
        match self.admission.admit(address) {
            Ok(admitted) => {
                // Replies are written whole; waiting for more would only delay them.
                let _ = socket.set_nodelay(true);
                let admitted = Arc::new(admitted);
                let accepted = Accepted { socket, peer, admitted: Arc::clone(&admitted) };
                // In a box: the task would otherwise hold room for the session twice, before and while it runs.
                let session = Box::pin((self.serve)(accepted));
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
