//! The PROXY protocol, version 1 and 2: whom a proxy in front of us connects for.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use mailwright_line_proto::Peer;
use mailwright_relay_policy::networks::AddressRange;
use ppp::{v1, v2};
use tokio::{io::AsyncReadExt, net::TcpStream, time};

/// The specification's longest line of version 1, its end included.
const LONGEST_LINE: usize = 107;
/// The longest header of version 2 that is taken. The addresses take 52 octets at most; what follows is what the proxy
/// adds, and that we do not use.
const LONGEST_HEADER: usize = 4096;
/// The shortest header there is, `PROXY UNKNOWN` and its line end: so much can be read without taking what is not ours.
const SHORTEST: usize = 15;
/// The fixed part of version 2.
const FIXED: usize = 16;
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
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
    #[error("expected a PROXY header of at most {LONGEST_HEADER} octets, received {0:?}")]
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
        let mut header = Vec::with_capacity(LONGEST_LINE);
        loop {
            match parse(&header) {
                Header::Whole(Some((source, destination))) => {
                    return Ok(Peer::new(Some(source), Some(destination)));
                }
                Header::Whole(None) => return Ok(peer),
                Header::Malformed => {
                    let shown = header.escape_ascii().to_string();
                    return Err(ProxyError::Malformed(shown.chars().take(128).collect()));
                }
                Header::Wants(more) => {
                    let start = header.len();
                    header.resize(start + more, 0);
                    socket.read_exact(header.get_mut(start..).unwrap_or_default()).await?;
                }
            }
        }
    };
    time::timeout(PATIENCE, reading).await.map_err(|_| ProxyError::Late)?
}

/// What the octets so far are.
#[derive(Debug, PartialEq, Eq)]
enum Header {
    /// So many more belong to the header whatever they are.
    Wants(usize),
    /// Source and destination, if it says so.
    Whole(Option<(SocketAddr, SocketAddr)>),
    Malformed,
}

fn parse(octets: &[u8]) -> Header {
    if octets.len() < SHORTEST {
        return Header::Wants(SHORTEST - octets.len());
    }
    if octets.starts_with(SIGNATURE) {
        return parse_binary(octets);
    }
    if !octets.starts_with(b"PROXY ") {
        return Header::Malformed;
    }
    match octets.ends_with(b"\r\n") {
        true => parse_line(octets),
        // Until the line end comes each octet may be the last.
        false if octets.len() < LONGEST_LINE && !octets.contains(&b'\n') => Header::Wants(1),
        false => Header::Malformed,
    }
}

fn parse_line(octets: &[u8]) -> Header {
    let Ok(header) = v1::Header::try_from(octets) else { return Header::Malformed };
    match header.addresses {
        v1::Addresses::Unknown => Header::Whole(None),
        v1::Addresses::Tcp4(found) => Header::Whole(Some((
            SocketAddr::from((found.source_address, found.source_port)),
            SocketAddr::from((found.destination_address, found.destination_port)),
        ))),
        v1::Addresses::Tcp6(found) => Header::Whole(Some((
            SocketAddr::from((found.source_address, found.source_port)),
            SocketAddr::from((found.destination_address, found.destination_port)),
        ))),
    }
}

fn parse_binary(octets: &[u8]) -> Header {
    let Some(&[high, low]) = octets.get(FIXED - 2..FIXED) else { return Header::Wants(FIXED - octets.len()) };
    let length = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST_HEADER {
        return Header::Malformed;
    }
    if octets.len() < length {
        return Header::Wants(length - octets.len());
    }
    let Ok(header) = v2::Header::try_from(octets) else { return Header::Malformed };
    match (header.command, header.addresses) {
        (v2::Command::Local, _) | (_, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => {
            Header::Whole(None)
        }
        (v2::Command::Proxy, v2::Addresses::IPv4(found)) => Header::Whole(Some((
            SocketAddr::from((found.source_address, found.source_port)),
            SocketAddr::from((found.destination_address, found.destination_port)),
        ))),
        (v2::Command::Proxy, v2::Addresses::IPv6(found)) => Header::Whole(Some((
            SocketAddr::from((found.source_address, found.source_port)),
            SocketAddr::from((found.destination_address, found.destination_port)),
        ))),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    fn addresses(source: &str, destination: &str) -> Header {
        Header::Whole(Some((source.parse().unwrap(), destination.parse().unwrap())))
    }

    /// Feeds it as `read` does: what it came to, and how much was taken.
    fn feed(input: &[u8]) -> (Header, usize) {
        let mut taken = 0;
        loop {
            match parse(&input[..taken]) {
                Header::Wants(more) if taken + more <= input.len() => taken += more,
                found => return (found, taken),
            }
        }
    }

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[0x20 | command, family], &length, rest].concat()
    }

    #[test]
    fn headers_are_read_to_their_end_and_not_further() {
        let four = [&[192, 0, 2, 1, 198, 51, 100, 2][..], &[0xC0, 1, 0, 25]].concat();
        let six =
            [&[0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 15], &[1, 0xC0, 1, 0, 25]]
                .concat();
        let added = [&four[..], &[4, 0, 200], &[0; 200]].concat();
        for (header, expected) in [
            (
                b"PROXY TCP4 192.0.2.1 198.51.100.2 49153 25\r\n".to_vec(),
                addresses("192.0.2.1:49153", "198.51.100.2:25"),
            ),
            (
                b"PROXY TCP6 2001:db8::1 ::1 49153 25\r\n".to_vec(),
                addresses("[2001:db8::1]:49153", "[::1]:25"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), Header::Whole(None)),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), Header::Whole(None)),
            (binary(1, 0x11, &four), addresses("192.0.2.1:49153", "198.51.100.2:25")),
            (binary(1, 0x21, &six), addresses("[2001:db8::1]:49153", "[::1]:25")),
            (binary(1, 0x11, &added), addresses("192.0.2.1:49153", "198.51.100.2:25")),
            (binary(0, 0x11, &four), Header::Whole(None)),
            (binary(0, 0, b""), Header::Whole(None)),
            (binary(1, 0, b"xyz"), Header::Whole(None)),
        ] {
            let input = [&header[..], b"EHLO me\r\n"].concat();
            assert_eq!(feed(&input), (expected, header.len()), "{}", header.escape_ascii());
        }
    }

    #[test]
    fn whatever_is_changed_in_a_header_ends_within_bounds() {
        let four = [&[192, 0, 2, 1, 198, 51, 100, 2][..], &[0xC0, 1, 0, 25]].concat();
        let lines = [
            b"PROXY TCP4 192.0.2.1 198.51.100.2 49153 25\r\n".to_vec(),
            b"PROXY TCP6 2001:db8::1 ::1 49153 25\r\n".to_vec(),
            b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(),
            binary(1, 0x11, &[&four[..], &[4, 0, 3, 1, 2, 3]].concat()),
            binary(1, 0x31, &[7; 216]),
        ];
        for line in &lines {
            for place in 0..line.len() {
                for octet in 0..=u8::MAX {
                    let mut input = [&line[..], &[b'x'; LONGEST_HEADER]].concat();
                    input[place] = octet;
                    let (found, taken) = feed(&input);
                    // What is waited for is within the longest header, and never what is known already.
                    assert!(!matches!(found, Header::Wants(0)), "{:?}", input[..line.len()].escape_ascii());
                    assert!(taken <= LONGEST_HEADER);
                    let (found, _) = feed(&input[..place]);
                    assert!(!matches!(found, Header::Whole(_)) || place >= SHORTEST);
                }
            }
        }
    }

    #[test]
    fn hostile_headers_are_refused_in_bounded_memory() {
        let mut long = binary(1, 0x11, &[0; 4080]);
        assert!(!matches!(feed(&long).0, Header::Wants(_)));
        long = binary(1, 0x11, &[0; 4081]);
        let mut wrong_version = binary(1, 0x11, &[0; 12]);
        wrong_version[12] = 0x11;
        for input in [
            &b"EHLO mail.example.org\r\n"[..],
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\x02\0\x01\0\x01\xFC\x03\x03\0\0\0\0\0",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 49153\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 49153 99999\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 49153 25 26\r\n",
            b"PROXY TCP4 2001:db8::1 ::1 49153 25\r\n",
            b"PROXY TCP4 300.0.2.1 198.51.100.2 49153 25\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 49153 25\nEHLO\r\n",
            b"PROXY UDP4 192.0.2.1 198.51.100.2 49153 25\r\n",
            b"proxy unknown  \r\n",
            &[&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat(),
            &long,
            &wrong_version,
            &binary(2, 0x11, &[0; 12]),
            &binary(1, 0x11, &[0; 4]),
            &binary(1, 0x41, &[0; 12]),
        ] {
            let (found, taken) = feed(input);
            assert_eq!(found, Header::Malformed, "{}", input.escape_ascii());
            assert!(taken <= LONGEST_LINE);
        }
        // One that never ends is waited for, and no longer than the patience lasts.
        assert_eq!(feed(&binary(1, 0x11, &[0; 12])[..20]).0, Header::Wants(12));
    }

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
