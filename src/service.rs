//! What the ready-made services have in common.

mod offered;
mod reading;
mod visit;

use std::{fmt::Write as _, sync::Arc};

use mailwright_line_proto::{Machine, Peer, Secure, TlsSide};
use rustls::ServerConfig;

use crate::{Connection, Stream};

pub(crate) use offered::Latest;
pub(crate) use reading::octets_of;
pub(crate) use visit::{Visit, abandon, attend, release, revoke, tell_end, warn};

/// A server machine behind its TLS layer, on whatever it speaks over.
pub(crate) type Session<M> = Connection<Secure<M>, Stream>;

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

    /// The same for a service with these application protocols (RFC 7301), the first the one it likes best. A client
    /// that offers others only, a browser led here, is refused with `no_application_protocol` (RFC 7301 §3.2, ALPACA);
    /// one that offers none is welcome. A configuration that has protocols already keeps them.
    pub(crate) fn speaking(self, protocols: &[&[u8]]) -> Self {
        let speaking = |config: Arc<ServerConfig>| {
            if !config.alpn_protocols.is_empty() {
                return config;
            }
            let mut config = ServerConfig::clone(&config);
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            Arc::new(config)
        };
        match self {
            Self::None => Self::None,
            Self::Starttls(config) => Self::Starttls(speaking(config)),
            Self::Implicit(config) => Self::Implicit(speaking(config)),
        }
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

/// The application protocols of each service, as IANA registered them.
pub(crate) const ALPN_IMAP: &[&[u8]] = &[b"imap"];
pub(crate) const ALPN_MANAGESIEVE: &[&[u8]] = &[b"managesieve"];
pub(crate) const ALPN_POP3: &[&[u8]] = &[b"pop3"];
/// SMTP has none registered; these are what Exim and others offer and take.
pub(crate) const ALPN_SMTP: &[&[u8]] = &[b"smtp", b"esmtp"];

/// The peer's address, for a line of the log.
pub(crate) fn shown(peer: &Peer) -> String {
    let mut text = String::with_capacity("255.255.255.255:65535".len());
    // A String takes whatever is written.
    let _written = match peer.remote {
        Some(remote) => write!(text, "{remote}"),
        None => text.write_str("unknown"),
    };
    text
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

#[cfg(test)]
mod tests {
    use mailwright_line_proto::tls;

    use super::*;

    #[test]
    fn a_service_says_what_it_speaks_and_leaves_what_was_said_already() {
        let made = rcgen::generate_simple_self_signed(["mail.test".to_owned()]).unwrap();
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let config = tls::server_config(chain.as_bytes(), key.as_bytes()).unwrap();
        let mut own = config.clone();
        own.alpn_protocols = vec![b"x-own".to_vec()];
        for (config, expected) in [(config, b"imap".to_vec()), (own, b"x-own".to_vec())] {
            let config = Arc::new(config);
            for tls in [ListenerTls::Starttls(Arc::clone(&config)), ListenerTls::Implicit(config)] {
                let (ListenerTls::Starttls(found) | ListenerTls::Implicit(found)) = tls.speaking(ALPN_IMAP)
                else {
                    panic!("no TLS")
                };
                assert_eq!(found.alpn_protocols, std::slice::from_ref(&expected));
            }
        }
    }
}
