//! Who is at the other end.

use std::net::SocketAddr;

/// The addresses of a connection. A driver makes it; without sockets, [`Peer::unknown`] serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// The peer's address, if it has one. Behind a trusted proxy, the client's, not the proxy's.
    pub remote: Option<SocketAddr>,
    /// Our own address that the peer connected to.
    pub local: Option<SocketAddr>,
}

impl Peer {
    /// A peer with these addresses.
    pub fn new(remote: Option<SocketAddr>, local: Option<SocketAddr>) -> Self {
        Self { remote, local }
    }

    /// A peer in the same process, or behind a socket without addresses.
    pub fn unknown() -> Self {
        Self { remote: None, local: None }
    }
}

/// Whether a server can offer a SASL mechanism of this name on a connection with this TLS: one that ends in `-PLUS` only
/// where there is a channel to bind to (RFC 5802 §6), EXTERNAL only to a client that has shown a certificate.
///
/// Whether passwords may be shown without TLS is another question, and the protocol's.
///
/// ```
/// use mailwright_line_proto::{TlsInfo, can_offer};
///
/// let tls = TlsInfo::default();
/// assert!(can_offer("PLAIN", None) && !can_offer("EXTERNAL", Some(&tls)) && !can_offer("SCRAM-SHA-256-PLUS", None));
/// ```
pub fn can_offer(mechanism: &str, tls: Option<&TlsInfo>) -> bool {
    if mechanism.ends_with("-PLUS") {
        return tls.is_some_and(|tls| tls.exporter.is_some());
    }
    mechanism != "EXTERNAL" || tls.is_some_and(|tls| !tls.peer_certificates.is_empty())
}

/// What the TLS handshake agreed on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The protocol version: `TLSv1.3`.
    pub version: String,
    /// The cipher suite, by its IANA name.
    pub cipher: String,
    /// The server name that the client asked for (SNI).
    pub server_name: Option<String>,
    /// The application protocol agreed on (ALPN).
    pub application_protocol: Option<Vec<u8>>,
    /// 32 octets of keying material with the label `EXPORTER-Channel-Binding`: the `tls-exporter` channel binding
    /// (RFC 9266). Absent where the handshake gives no unique one (TLS 1.2 without extended master secret).
    pub exporter: Option<[u8; 32]>,
    /// The peer's certificates, its own first, in DER, if it showed any and they were verified.
    pub peer_certificates: Vec<Vec<u8>>,
}
