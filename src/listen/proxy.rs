//! Reading the header that a proxy in front of us begins with.

use std::{io, net::IpAddr, time::Duration};

use mailwright_line_proto::{Peer, ProxyHeader};
use mailwright_relay_policy::networks::AddressRange;
use tokio::{io::AsyncReadExt, net::TcpStream, time};

/// The longest header without anything that the proxy adds.
const USUAL: usize = 107;
/// The specification advises three seconds and more, for one retransmission.
const PATIENCE: Duration = Duration::from_secs(5);

/// Proxies whose word about their clients is believed. From everywhere else a header is no header: it is given to the
/// protocol, which refuses it as it refuses any nonsense.
#[derive(Debug, Clone, Default)]
pub(super) struct Proxies(pub(super) Vec<AddressRange>);

impl Proxies {
    pub(super) fn include(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(address))
    }
}

/// Why a proxy is hung up on.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyError {
    #[error("expected a PROXY header of at most {longest} octets, received {0:?}", longest = ProxyHeader::LONGEST)]
    Malformed(String),
    #[error("the PROXY header did not come in time")]
    Late,
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Reads the header, and not an octet behind it; the peer it names. A proxy that checks whether we are alive, or does not
/// know whom it connects for, is the peer itself.
pub(super) async fn read(socket: &mut TcpStream, peer: Peer) -> Result<Peer, ProxyError> {
    let reading = async {
        let mut header = Vec::with_capacity(USUAL);
        loop {
            match ProxyHeader::read(&header) {
                ProxyHeader::Whole(client) => return Ok(client.unwrap_or(peer)),
                ProxyHeader::Malformed => {
                    let shown = header.escape_ascii().to_string();
                    return Err(ProxyError::Malformed(shown.chars().take(128).collect()));
                }
                ProxyHeader::Wants(more) => {
                    let start = header.len();
                    header.resize(start + more, 0);
                    socket.read_exact(header.get_mut(start..).unwrap_or_default()).await?;
                }
            }
        }
    };
    time::timeout(PATIENCE, reading).await.map_err(|_| ProxyError::Late)?
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    #[tokio::test]
    async fn what_stands_behind_the_header_is_left_for_the_protocol() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut socket, _) = listener.accept().await.unwrap();
        for piece in [&b"PROXY TCP4 192.0.2.1"[..], b" 198.51.100.2 49153 25\r\nQUIT\r\n"] {
            client.write_all(piece).await.unwrap();
        }
        let peer = read(&mut socket, Peer::unknown()).await.unwrap();
        assert_eq!(peer.remote, Some("192.0.2.1:49153".parse().unwrap()));
        assert_eq!(peer.local, Some("198.51.100.2:25".parse().unwrap()));
        let mut rest = [0; 6];
        socket.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"QUIT\r\n");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_not_waited_for_long() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut socket, _) = listener.accept().await.unwrap();
        assert!(matches!(read(&mut socket, Peer::unknown()).await, Err(ProxyError::Late)));
    }
}
