//! What the ready-made services have in common.

use std::sync::Arc;

use mailwright_line_proto::{Machine, Peer, Secure, TlsSide};
use rustls::ServerConfig;
use tokio::net::TcpStream;

use crate::Connection;

/// A server machine behind its TLS layer, on a socket.
pub(crate) type Session<M> = Connection<Secure<M>, TcpStream>;

/// When TLS begins at a listener, and with which certificate.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum ListenerTls {
    /// Never.
    #[default]
    None,
    /// When the client asks for it.
    Starttls(Arc<ServerConfig>),
    /// At once (RFC 8314 §3).
    Implicit(Arc<ServerConfig>),
}

impl ListenerTls {
    /// Whether STARTTLS is to be offered.
    pub fn is_starttls(&self) -> bool {
        matches!(self, Self::Starttls(_))
    }

    /// What a connection that is refused at once can be told: nothing where TLS would have to come first.
    pub(crate) fn refusal(&self, line: &'static [u8]) -> &'static [u8] {
        if matches!(self, Self::Implicit(_)) { b"" } else { line }
    }

    /// Puts the layer around a machine.
    pub fn secure<M: Machine>(&self, machine: M) -> Secure<M> {
        match self {
            Self::None => Secure::plain(machine),
            Self::Starttls(config) => Secure::starttls(machine, TlsSide::Server(Arc::clone(config))),
            Self::Implicit(config) => Secure::implicit(machine, TlsSide::Server(Arc::clone(config))),
        }
    }
}

/// The peer's address, for a line of the log.
pub(crate) fn shown(peer: &Peer) -> String {
    peer.remote.map_or_else(|| "unknown".into(), |remote| remote.to_string())
}

/// 32 octets that nobody can guess: what a machine is given in place of a source of randomness.
///
/// # Errors
/// If the system has none to give.
pub(crate) fn entropy() -> std::io::Result<[u8; 32]> {
    let mut octets = [0; 32];
    getrandom::fill(&mut octets).map_err(std::io::Error::other)?;
    Ok(octets)
}
