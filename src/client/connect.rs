//! Where a server is, and how it is reached.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use mailwright_line_proto::{Machine, Misuse, Secure, TlsSide};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    net::{TcpStream, UnixStream},
    time,
};

use super::ClientError;
use crate::Stream;

/// How long it may take until the server's end of the connection is there, unless told otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// When TLS begins, and whom it trusts.
///
/// There is no falling back unless it is asked for: a server that does not offer STARTTLS is an error then.
///
/// A self-signed certificate that is trusted as it is must not say that it is an authority's: rustls refuses one with `CA:TRUE`, as
/// `openssl req -x509` makes them, with `CaUsedAsEndEntity`. `-addext basicConstraints=critical,CA:FALSE` makes one that is taken.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Security {
    /// Never. Then nothing that shows a password is sent, unless the client's configuration allows it.
    Plain,
    /// By STARTTLS if the server offers it, in the clear if not, or if it refuses that: what mail servers do among each other. For SMTP.
    Opportunistic(Arc<ClientConfig>),
    /// By STARTTLS or STLS, before anything else is said.
    Starttls(Arc<ClientConfig>),
    /// At once (RFC 8314 §3).
    Implicit(Arc<ClientConfig>),
}

/// A server and the way to it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    host: String,
    port: u16,
    place: Place,
    security: Security,
    timeout: Duration,
}

/// Where the socket is.
#[derive(Debug, Clone)]
enum Place {
    /// Where its name says.
    Named,
    Address(SocketAddr),
    /// In the file system of this machine.
    Path(PathBuf),
}

impl Endpoint {
    /// A server by its name, which is looked up and which its certificate must bear. An IP address is a name too.
    pub fn new(host: impl Into<String>, port: u16, security: Security) -> Self {
        Self { host: host.into(), port, place: Place::Named, security, timeout: CONNECT_TIMEOUT }
    }

    /// Connects to this address instead of looking up the name; the certificate must bear the name as before.
    #[must_use]
    pub fn at(self, address: SocketAddr) -> Self {
        Self { place: Place::Address(address), ..self }
    }

    /// Connects to the UNIX socket at this path instead; the certificate must bear the name as before, if there is TLS.
    #[must_use]
    pub fn at_path(self, path: impl Into<PathBuf>) -> Self {
        Self { place: Place::Path(path.into()), ..self }
    }

    /// Sets how long it may take to connect, the lookup included: 60 seconds by default. The protocol's own deadlines
    /// are in the client's configuration.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Whether TLS is to be asked for.
    pub(super) fn is_starttls(&self) -> bool {
        matches!(self.security, Security::Starttls(_))
    }

    /// Whether TLS is to be asked for where it is offered.
    pub(super) fn is_opportunistic(&self) -> bool {
        matches!(self.security, Security::Opportunistic(_))
    }

    /// Puts the TLS layer around a machine.
    pub(super) fn secure<M: Machine>(&self, machine: M) -> Result<Secure<M>, ClientError> {
        let side = |config: &Arc<ClientConfig>| {
            let name = ServerName::try_from(self.host.clone())
                .map_err(|_| Misuse::Argument("the server's name is neither a host name nor an address"))?;
            Ok::<_, ClientError>(TlsSide::Client(Arc::clone(config), name))
        };
        Ok(match &self.security {
            Security::Plain => Secure::plain(machine),
            Security::Starttls(config) | Security::Opportunistic(config) => {
                Secure::starttls(machine, side(config)?)
            }
            Security::Implicit(config) => Secure::implicit(machine, side(config)?),
        })
    }

    /// Opens the socket.
    pub(super) async fn open(&self) -> io::Result<Stream> {
        let connecting = async {
            let socket = match &self.place {
                Place::Path(path) => return UnixStream::connect(path).await.map(Stream::from),
                Place::Address(address) => TcpStream::connect(address).await?,
                Place::Named => TcpStream::connect((self.host.as_str(), self.port)).await?,
            };
            // Commands are small and their answers are waited for.
            socket.set_nodelay(true)?;
            Ok(Stream::from(socket))
        };
        time::timeout(self.timeout, connecting).await?
    }
}
